//! A server of SQL sessions in the test's own process, and its clients.

use super::sql_support::{FileStorage, unique_name};
use segsh::engine::storage::{Position, Storage, StorageError};
use segsh::segment::vfs::{self, Gate, Handle};
use segsh::sql::{Client, Sessions, SqlError, SqlHost, Timeouts, WriteQueue, accept_unix, listen_unix, state};
use std::path::Path;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio_postgres::{NoTls, SimpleQueryMessage};

pub const PSQL: &str = "/usr/lib/postgresql/15/bin/psql";
pub const PGBENCH: &str = "/usr/lib/postgresql/15/bin/pgbench";
pub const PORT: u16 = 5432;
pub const PATIENCE: Duration = Duration::from_secs(10);

pub struct Host {
    pub vfs: Handle,
    pub queue: Arc<WriteQueue>,
    pub gate: Arc<Gate>,
    pub storage: Arc<FileStorage>,
    pub timeouts: Mutex<Timeouts>,
    /// Statements that were let begin or end.
    pub permits: AtomicU64,
}

impl SqlHost for Host {
    fn open(&self, client: &Client) -> Result<rusqlite::Connection, SqlError> {
        if client.database != "content0" {
            return Err(SqlError::new(state::NO_DATABASE, format!("database \"{}\" does not exist", client.database)));
        }
        vfs::open(&self.vfs).map_err(|e| SqlError::new(state::INTERNAL, e.to_string()))
    }
    fn write_queue(&self) -> &Arc<WriteQueue> {
        &self.queue
    }
    fn gate(&self) -> Option<&Arc<Gate>> {
        Some(&self.gate)
    }
    fn read_permit(&self, go_on: &dyn Fn() -> bool) -> Result<(), StorageError> {
        self.permits.fetch_add(1, Ordering::SeqCst);
        self.storage.read_permit(go_on)
    }
    fn position(&self) -> Position {
        self.storage.position()
    }
    fn durable(&self, position: Position, go_on: &dyn Fn() -> bool) -> Result<(), StorageError> {
        self.storage.durable(position, go_on)
    }
    fn server_version(&self) -> String {
        "15.0 (segsh test)".to_owned()
    }
    fn timeouts(&self) -> Timeouts {
        *self.timeouts.lock().unwrap()
    }
}

/// A server in this process, on a socket of its own.
pub struct Server {
    pub runtime: tokio::runtime::Runtime,
    pub dir: tempfile::TempDir,
    pub host: Arc<Host>,
    pub sessions: Arc<Sessions>,
}

pub fn server() -> Server {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let storage = Arc::new(FileStorage::new(dir.path()));
    let vfs = vfs::register(&unique_name("sql"), storage.clone()).unwrap();
    let host = Arc::new(Host {
        vfs,
        queue: WriteQueue::new(),
        gate: Gate::new(),
        storage,
        timeouts: Mutex::new(Timeouts::default()),
        permits: AtomicU64::new(0),
    });
    let sessions = Sessions::new();
    let listener = {
        let _inside = runtime.enter();
        listen_unix(&dir.path().join("socket"), PORT).unwrap()
    };
    runtime.spawn(accept_unix(host.clone(), sessions.clone(), listener));
    Server { runtime, dir, host, sessions }
}

impl Server {
    pub fn socket_dir(&self) -> std::path::PathBuf {
        self.dir.path().join("socket")
    }

    pub fn psql(&self, sql: &str) -> Output {
        Command::new(PSQL)
            .args(["-X", "-A", "-t", "-v", "VERBOSITY=verbose", "-h"])
            .arg(self.socket_dir())
            .args(["-p", "5432", "-U", "anyone", "-d", "content0", "-c", sql])
            .output()
            .unwrap()
    }

    pub fn pgbench(&self, mode: &str, script: &Path) -> Output {
        Command::new(PGBENCH)
            .args(["-n", "-M", mode, "-c", "4", "-t", "50", "-h"])
            .arg(self.socket_dir())
            .args(["-p", "5432", "-U", "anyone", "-f"])
            .arg(script)
            .arg("content0")
            .output()
            .unwrap()
    }

    pub fn connect(&self) -> tokio_postgres::Client {
        self.runtime.block_on(async {
            let (client, connection) = tokio_postgres::Config::new()
                .host_path(self.socket_dir())
                .port(PORT)
                .user("anyone")
                .dbname("content0")
                .connect(NoTls)
                .await
                .unwrap();
            tokio::spawn(connection);
            client
        })
    }

    pub fn run(&self, client: &tokio_postgres::Client, sql: &str) -> Vec<SimpleQueryMessage> {
        self.runtime.block_on(client.simple_query(sql)).unwrap()
    }

    pub fn fails(&self, client: &tokio_postgres::Client, sql: &str) -> String {
        code(&self.runtime.block_on(client.simple_query(sql)).unwrap_err())
    }

    /// The first value of the first row.
    pub fn value(&self, client: &tokio_postgres::Client, sql: &str) -> String {
        self.run(client, sql)
            .into_iter()
            .find_map(|m| match m {
                SimpleQueryMessage::Row(row) => Some(row.get(0).unwrap_or("NULL").to_owned()),
                _ => None,
            })
            .unwrap()
    }
}

pub fn code(error: &tokio_postgres::Error) -> String {
    error.code().map_or_else(|| format!("no code: {error}"), |c| c.code().to_owned())
}

pub fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

pub fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).trim().to_owned()
}

/// A statement that runs until it is stopped.
pub const ENDLESS: &str = "with recursive n(i) as (select 1 union all select i + 1 from n) select count(*) from n";

pub fn until(what: impl Fn() -> bool) {
    let end = std::time::Instant::now() + PATIENCE;
    while !what() {
        assert!(std::time::Instant::now() < end, "it did not come to pass");
        std::thread::yield_now();
    }
}
