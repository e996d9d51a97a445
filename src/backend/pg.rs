//! SQL over the coordinator's PostgreSQL front, with values as scripts see them.

use super::interrupt::Interrupt;
use crate::cluster::{Rows, SqlTarget, Value};
use crate::core::ids::Content;
use std::collections::HashMap;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio_postgres::types::{Format, IsNull, ToSql, Type};
use tokio_postgres::{Client, Config, NoTls, SimpleQueryMessage};

/// One client session for each database that was asked for.
pub struct Pg {
    socket_dir: PathBuf,
    port: u16,
    clients: Mutex<HashMap<String, Session>>,
}

/// A session that is kept, and the task that carries it.
struct Session {
    client: Arc<Client>,
    connection: tokio::task::JoinHandle<()>,
}

#[derive(Debug)]
pub enum PgError {
    Connect(String),
    Sql {
        sqlstate: String,
        message: String,
    },
    /// Ctrl-C came first; what became of the statement.
    Interrupted(String),
}

/// How long a statement that was asked to end is waited for.
const CANCEL_WITHIN: Duration = Duration::from_secs(2);
/// `query_canceled`: the statement was undone.
const CANCELED: &str = "57014";

fn sql_error(error: &tokio_postgres::Error) -> PgError {
    match error.as_db_error() {
        Some(db) => PgError::Sql { sqlstate: db.code().code().to_owned(), message: db.message().to_owned() },
        // The connection ended without an answer: whether the statement was done is unknown.
        None if error.is_closed() => PgError::Sql { sqlstate: "08007".into(), message: error.to_string() },
        None => PgError::Sql { sqlstate: "08000".into(), message: error.to_string() },
    }
}

/// A parameter in text form: the segment's types are those of its values, not of a declaration.
#[derive(Debug)]
struct Text(Option<String>);

impl ToSql for Text {
    fn to_sql(
        &self,
        _ty: &Type,
        out: &mut bytes::BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        let Some(text) = &self.0 else { return Ok(IsNull::Yes) };
        out.extend_from_slice(text.as_bytes());
        Ok(IsNull::No)
    }
    fn accepts(_ty: &Type) -> bool {
        true
    }
    fn encode_format(&self, _ty: &Type) -> Format {
        Format::Text
    }
    tokio_postgres::types::to_sql_checked!();
}

fn parameter(value: &Value) -> (Text, Type) {
    match value {
        Value::Null => (Text(None), Type::TEXT),
        Value::Bool(b) => (Text(Some(if *b { "t" } else { "f" }.into())), Type::BOOL),
        Value::Int(i) => (Text(Some(i.to_string())), Type::INT8),
        Value::Float(f) => (Text(Some(f.to_string())), Type::FLOAT8),
        Value::Text(t) => (Text(Some(t.clone())), Type::TEXT),
        Value::Blob(b) => {
            let hex: String = b.iter().map(|byte| format!("{byte:02x}")).collect();
            (Text(Some(format!("\\x{hex}"))), Type::BYTEA)
        }
    }
}

impl Pg {
    pub fn new(socket_dir: PathBuf, port: u16) -> Pg {
        Pg { socket_dir, port, clients: Mutex::new(HashMap::new()) }
    }

    /// Ends every session that is kept: a smart stop waits for sessions to leave, and these are its own caller's.
    pub async fn end_sessions(&self) {
        let sessions: Vec<Session> = self.clients.lock().await.drain().map(|(_, session)| session).collect();
        for Session { client, connection } in sessions {
            drop(client);
            // The server is told by the connection's own end; one that hangs has nobody to tell.
            let _ = tokio::time::timeout(CANCEL_WITHIN, connection).await;
        }
    }

    /// How many sessions of this shell are open.
    pub fn open(&self) -> usize {
        self.clients
            .try_lock()
            .map_or(0, |clients| clients.values().filter(|session| !session.client.is_closed()).count())
    }

    async fn client(&self, database: &str) -> Result<Arc<Client>, PgError> {
        let mut clients = self.clients.lock().await;
        if let Some(session) = clients.get(database).filter(|s| !s.client.is_closed()) {
            return Ok(session.client.clone());
        }
        let (client, connection) = Config::new()
            .host_path(&self.socket_dir)
            .port(self.port)
            .user("segsh")
            .dbname(database)
            .application_name("segsh")
            .connect_timeout(Duration::from_secs(3))
            .connect(NoTls)
            .await
            .map_err(|e| match e.as_db_error() {
                Some(_) => sql_error(&e),
                None => PgError::Connect(e.to_string()),
            })?;
        let connection = tokio::spawn(async move {
            // The end of a session is seen by whoever uses it next.
            if let Err(error) = connection.await {
                tracing::debug!(%error, "session ended");
            }
        });
        let client = Arc::new(client);
        clients.insert(database.to_owned(), Session { client: client.clone(), connection });
        Ok(client)
    }

    /// Runs a statement to its end, or to Ctrl-C: then the server is asked to cancel it.
    pub async fn run(
        &self,
        target: &SqlTarget,
        text: &str,
        params: &[Value],
        interrupt: &Interrupt,
    ) -> Result<Rows, PgError> {
        let database = match target {
            SqlTarget::Catalog => "postgres".to_owned(),
            SqlTarget::Content(Content(n)) => format!("content{n}"),
        };
        let Some(client) = interrupt.or(self.client(&database)).await else {
            return Err(PgError::Interrupted(String::new()));
        };
        let client = client?;
        let statement = async {
            if params.is_empty() && !reads(text) {
                simple(&client, text).await
            } else {
                extended(&client, text, params).await
            }
        };
        let mut statement = pin!(statement);
        if let Some(ended) = interrupt.or(statement.as_mut()).await {
            return ended;
        }
        // The server answers a cancel request only by ending its connection; whether it can be reached
        // shows by the statement.
        let _ = tokio::time::timeout(CANCEL_WITHIN, client.cancel_token().cancel_query(NoTls)).await;
        match tokio::time::timeout(CANCEL_WITHIN, statement).await {
            Ok(Err(PgError::Sql { sqlstate, .. })) if sqlstate == CANCELED => {
                Err(PgError::Interrupted("the statement was cancelled and undone".into()))
            }
            // It ended by itself before it could be cancelled: that is an answer.
            Ok(ended) => ended,
            Err(_) => {
                self.clients.lock().await.remove(&database);
                let left = "the statement was asked to end and has not answered; its session is closed";
                Err(PgError::Interrupted(left.into()))
            }
        }
    }
}

/// One statement that only answers: it goes by the extended protocol, which brings types. Everything
/// else goes by the simple one, which brings the count of rows affected.
fn reads(text: &str) -> bool {
    let first: String = text.trim_start().chars().take_while(char::is_ascii_alphabetic).collect();
    let one = !text.trim_end().trim_end_matches(';').contains(';');
    one && ["select", "with", "values", "show", "explain"].contains(&first.to_ascii_lowercase().as_str())
}

/// Any number of statements; the simple protocol shows every value as text.
async fn simple(client: &Client, text: &str) -> Result<Rows, PgError> {
    let messages = client.simple_query(text).await.map_err(|e| sql_error(&e))?;
    let mut rows = Rows { columns: Vec::new(), rows: Vec::new(), affected: 0 };
    for message in messages {
        match message {
            SimpleQueryMessage::RowDescription(columns) => {
                rows.columns = columns.iter().map(|c| c.name().to_owned()).collect();
                rows.rows.clear();
            }
            SimpleQueryMessage::Row(row) => {
                rows.rows.push(
                    (0..row.len()).map(|i| row.get(i).map_or(Value::Null, |t| Value::Text(t.to_owned()))).collect(),
                );
            }
            SimpleQueryMessage::CommandComplete(n) => rows.affected = i64::try_from(n).unwrap_or(i64::MAX),
            _ => {}
        }
    }
    Ok(rows)
}

async fn extended(client: &Client, text: &str, params: &[Value]) -> Result<Rows, PgError> {
    let bound: Vec<(Text, Type)> = params.iter().map(parameter).collect();
    let typed: Vec<(&(dyn ToSql + Sync), Type)> =
        bound.iter().map(|(t, ty)| (t as &(dyn ToSql + Sync), ty.clone())).collect();
    let found = client.query_typed(text, &typed).await.map_err(|e| sql_error(&e))?;
    let columns = found.first().map(|r| r.columns().iter().map(|c| c.name().to_owned()).collect()).unwrap_or_default();
    let rows: Vec<Vec<Value>> = found.iter().map(|row| (0..row.len()).map(|i| binary(row, i)).collect()).collect();
    let affected = i64::try_from(rows.len()).unwrap_or(i64::MAX);
    Ok(Rows { columns, rows, affected })
}

fn binary(row: &tokio_postgres::Row, i: usize) -> Value {
    fn value<T>(got: Result<Option<T>, tokio_postgres::Error>, wrap: impl Fn(T) -> Value) -> Value {
        match got {
            Ok(found) => found.map_or(Value::Null, wrap),
            Err(error) => Value::Text(error.to_string()),
        }
    }
    match *row.columns()[i].type_() {
        Type::BOOL => value(row.try_get(i), Value::Bool),
        Type::INT2 => value(row.try_get(i), |n: i16| Value::Int(n.into())),
        Type::INT4 => value(row.try_get(i), |n: i32| Value::Int(n.into())),
        Type::INT8 => value(row.try_get(i), Value::Int),
        Type::FLOAT4 => value(row.try_get(i), |f: f32| Value::Float(f.into())),
        Type::FLOAT8 => value(row.try_get(i), Value::Float),
        Type::BYTEA => value(row.try_get(i), Value::Blob),
        _ => value(row.try_get::<_, Option<String>>(i), Value::Text),
    }
}
