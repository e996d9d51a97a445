//! Running one statement: permits, the gate, the write queue, rows, and the transaction around it.

use super::control::Control;
use super::core::{Core, Transaction};
use super::error::{Phase, SqlError, explain_catalog, state, translate, translate_permit};
use super::gucs::Gucs;
use super::host::SqlHost;
use super::kind::{Kind, Tag};
use super::lexer::tokens;
use super::types::PgType;
use super::wire::{Field, Wire, put_row};
use crate::segment::vfs::{take_fault, with_vacuum_allowed};
use bytes::BytesMut;
use rusqlite::ffi;
use rusqlite::types::{Value, ValueRef};
use std::collections::VecDeque;
use std::time::Instant;

/// A result is judged and sent in batches of this size; a smaller one is judged whole.
const BATCH: usize = 1 << 20;
/// What a portal, or a write's RETURNING, may hold back in memory.
const HELD_BACK: usize = 64 << 20;

/// How a statement's rows are wanted.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    /// The simple protocol: describe the rows before the first.
    pub(super) describe: bool,
    /// What the client was told about the columns.
    pub(super) fields: Option<Vec<Field>>,
    /// Result formats of a portal.
    pub(super) formats: Vec<i16>,
    /// At most so many rows now; 0 is all.
    pub(super) limit: usize,
    /// The rows beyond the limit, encoded.
    pub(super) rest: VecDeque<BytesMut>,
}

/// One statement's surroundings.
pub(super) struct Exec<'a> {
    pub(super) wire: &'a mut Wire,
    pub(super) host: &'a dyn SqlHost,
    pub(super) control: &'a Control,
    pub(super) gucs: &'a mut Gucs,
    pub(super) core: &'a mut Core,
}

/// A parameter of a prepared statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Parameter {
    /// SQLite's index.
    index: usize,
    /// The protocol's, from 1.
    pub(super) number: usize,
    pub(super) hint: Option<u32>,
}

impl Exec<'_> {
    /// Runs a statement and appends its rows; returns the tag of its completion, `None` for an
    /// empty one.
    pub(super) fn run(
        &mut self,
        sql: &str,
        kind: &Kind,
        values: &[Value],
        wanted: &mut Wanted,
    ) -> Result<Option<String>, SqlError> {
        if self.core.is_failed() && !kind.ends_failed_transaction() {
            return Err(SqlError::in_failed_transaction());
        }
        let tag = match kind {
            Kind::Begin { write } => self.begin(*write)?,
            Kind::Commit => self.commit()?,
            Kind::Rollback => self.rollback(),
            Kind::Savepoint | Kind::Release | Kind::RollbackTo => self.savepoint(sql, kind)?,
            Kind::Set { name, value } => {
                let changed = self.gucs.set(name, value)?;
                self.report(changed);
                "SET".to_owned()
            }
            Kind::Reset(name) => {
                let changed = self.gucs.reset(name.as_deref())?;
                self.report(changed);
                "RESET".to_owned()
            }
            Kind::Show(name) => self.show(name, wanted)?,
            Kind::DiscardAll => {
                self.gucs.reset(None)?;
                "DISCARD ALL".to_owned()
            }
            Kind::Deallocate(_) => "DEALLOCATE".to_owned(),
            Kind::Ignored("") => return Ok(None),
            Kind::Ignored(tag) => (*tag).to_owned(),
            Kind::Unsupported(what) => {
                return Err(SqlError::new(
                    state::NOT_SUPPORTED,
                    format!("{what} is not supported"),
                ));
            }
            Kind::Vacuum => self.vacuum(sql)?,
            Kind::Sql(tag) => self.sql(sql, tag, values, wanted)?,
        };
        Ok(Some(tag))
    }

    fn report(&mut self, changed: Option<(&'static str, String)>) {
        if let Some((name, value)) = changed {
            self.wire.parameter(name, &value);
        }
    }

    fn permit(&self) -> Result<(), SqlError> {
        self.host.read_permit().map_err(|e| translate_permit(&e))
    }

    fn failure(&self, error: &rusqlite::Error, phase: Phase) -> SqlError {
        let fault = take_fault();
        if let rusqlite::Error::SqliteFailure(e, _) = error
            && e.extended_code & 0xff == ffi::SQLITE_INTERRUPT
            && let Some(stop) = self.control.stopped()
        {
            return stop.error();
        }
        // A function of ours that was stopped fails with words; the reason is better.
        if let (Some(stop), rusqlite::Error::SqliteFailure(e, _)) = (self.control.stopped(), error)
            && e.extended_code == ffi::SQLITE_ERROR
        {
            return stop.error();
        }
        translate(error, fault, phase)
    }

    /// Waits for the gate. Held until SQLite has no transaction.
    fn pass(&mut self) -> Result<(), SqlError> {
        let Some(gate) = self.host.gate().filter(|_| self.core.pass.is_none()) else {
            return Ok(());
        };
        match gate.enter(&|| self.control.stopped().is_none()) {
            Some(pass) => {
                self.core.pass = Some(pass);
                Ok(())
            }
            None => Err(self.stop_error()),
        }
    }

    fn stop_error(&self) -> SqlError {
        self.control.stopped().map_or_else(
            || {
                SqlError::new(
                    state::LOCK_NOT_AVAILABLE,
                    "canceling statement due to lock timeout",
                )
            },
            |stop| stop.error(),
        )
    }

    /// Waits for the turn to write.
    fn turn(&mut self) -> Result<(), SqlError> {
        if self.core.turn.is_some() {
            return Ok(());
        }
        let until = self.gucs.timeouts().lock.map(|t| Instant::now() + t);
        let go_on = || self.control.stopped().is_none() && until.is_none_or(|t| Instant::now() < t);
        match self.host.write_queue().enter(&go_on) {
            Some(turn) => {
                self.core.turn = Some(turn);
                Ok(())
            }
            None => Err(self.stop_error()),
        }
    }

    fn begin(&mut self, write: bool) -> Result<String, SqlError> {
        if self.core.transaction == Transaction::Open {
            if self.core.implicit {
                self.core.implicit = false;
            } else {
                self.wire.warning(
                    state::ACTIVE_TRANSACTION,
                    "there is already a transaction in progress",
                );
            }
            return Ok("BEGIN".to_owned());
        }
        self.begin_sqlite(write)?;
        Ok("BEGIN".to_owned())
    }

    fn begin_sqlite(&mut self, write: bool) -> Result<(), SqlError> {
        let sql = if write {
            self.permit()?;
            self.pass()?;
            self.turn()?;
            "BEGIN IMMEDIATE"
        } else {
            // A plain BEGIN takes its snapshot at the first read and its turn at the first write.
            "BEGIN"
        };
        let begun = self.core.connection.execute_batch(sql);
        begun.map_err(|e| self.failure(&e, Phase::Statement))?;
        self.core.transaction = Transaction::Open;
        Ok(())
    }

    /// Begins the transaction nobody asked for.
    pub(super) fn begin_implicit(&mut self) -> Result<(), SqlError> {
        if self.core.transaction == Transaction::None {
            self.begin_sqlite(false)?;
            self.core.implicit = true;
        }
        Ok(())
    }

    /// Ends the transaction nobody asked for, if there is one.
    pub(super) fn end_implicit(&mut self) -> Result<(), SqlError> {
        if !self.core.implicit {
            return Ok(());
        }
        if let Some(why) = self.core.failure.take() {
            self.core.end();
            return Err(why);
        }
        self.commit().map(drop)
    }

    fn commit(&mut self) -> Result<String, SqlError> {
        match self.core.transaction {
            Transaction::None => {
                self.wire
                    .warning(state::NO_TRANSACTION, "there is no transaction in progress");
                Ok("COMMIT".to_owned())
            }
            Transaction::Failed => {
                self.core.end();
                Ok("ROLLBACK".to_owned())
            }
            Transaction::Open => {
                self.control.begin_commit()?;
                take_fault();
                let committed = self.core.connection.execute_batch("COMMIT");
                self.control.end_commit();
                let answer = committed.map_err(|e| self.failure(&e, Phase::Commit));
                // After an error nothing stays open: what is left is rolled back.
                self.core.end();
                answer.map(|()| "COMMIT".to_owned())
            }
        }
    }

    fn rollback(&mut self) -> String {
        if self.core.transaction == Transaction::None {
            self.wire
                .warning(state::NO_TRANSACTION, "there is no transaction in progress");
        }
        self.core.end();
        "ROLLBACK".to_owned()
    }

    fn savepoint(&mut self, sql: &str, kind: &Kind) -> Result<String, SqlError> {
        let word = match kind {
            Kind::Savepoint => "SAVEPOINT",
            Kind::Release => "RELEASE",
            _ => "ROLLBACK",
        };
        if !self.core.is_explicit() {
            return Err(SqlError::new(
                state::NO_TRANSACTION,
                format!("{word} can only be used in transaction blocks"),
            ));
        }
        let name = tokens(sql)
            .filter_map(|t| t.name())
            .last()
            .unwrap_or_default()
            .to_ascii_lowercase();
        let at = self.core.savepoints.iter().rposition(|s| *s == name);
        if at.is_none() && !matches!(kind, Kind::Savepoint) {
            return Err(SqlError::new(
                state::NO_SAVEPOINT,
                format!("savepoint \"{name}\" does not exist"),
            ));
        }
        if matches!(kind, Kind::Savepoint) {
            // In a deferred transaction this begins reading.
            self.pass()?;
        }
        let quoted = format!("\"{}\"", name.replace('"', "\"\""));
        let sql = match kind {
            Kind::Savepoint => format!("SAVEPOINT {quoted}"),
            Kind::Release => format!("RELEASE {quoted}"),
            _ => format!("ROLLBACK TO {quoted}"),
        };
        let done = self.core.connection.execute_batch(&sql);
        done.map_err(|e| self.failure(&e, Phase::Statement))?;
        match (kind, at) {
            (Kind::Savepoint, _) => self.core.savepoints.push(name),
            (Kind::Release, Some(at)) => self.core.savepoints.truncate(at),
            (_, Some(at)) => {
                self.core.savepoints.truncate(at + 1);
                self.core.transaction = Transaction::Open;
            }
            _ => {}
        }
        Ok(word.to_owned())
    }

    fn show(&mut self, name: &str, wanted: &Wanted) -> Result<String, SqlError> {
        let rows: Vec<Vec<String>> = if name.eq_ignore_ascii_case("all") {
            let all = self.gucs.all();
            all.into_iter().map(|(n, v)| vec![n, v]).collect()
        } else {
            vec![vec![self.gucs.show(name)?]]
        };
        let fields = show_fields(name);
        if wanted.describe {
            self.wire.describe(&fields);
        }
        for row in rows {
            put_row(&mut self.wire.out, &fields, |i| {
                Ok(ValueRef::Text(row[i].as_bytes()))
            })?;
        }
        Ok("SHOW".to_owned())
    }

    fn vacuum(&mut self, sql: &str) -> Result<String, SqlError> {
        if self.core.transaction != Transaction::None {
            return Err(SqlError::new(
                state::ACTIVE_TRANSACTION,
                "VACUUM cannot run inside a transaction block",
            ));
        }
        self.permit()?;
        self.pass()?;
        self.turn()?;
        take_fault();
        let connection = &self.core.connection;
        let done = with_vacuum_allowed(connection, || connection.execute_batch(sql));
        let answer = done.map_err(|e| self.failure(&e, Phase::Commit));
        self.core.release_if_idle();
        answer.map(|()| "VACUUM".to_owned())
    }

    fn sql(
        &mut self,
        sql: &str,
        tag: &Tag,
        values: &[Value],
        wanted: &mut Wanted,
    ) -> Result<String, SqlError> {
        self.permit()?;
        self.pass()?;
        take_fault();
        let start = self.wire.out.len();
        let mut sent = false;
        let answer = self.rows(sql, values, wanted, &mut sent);
        self.core.release_if_idle();
        let answer = answer.and_then(|done| self.judge(&done).map(|()| done));
        match answer {
            Ok(done) => Ok(complete(tag, &done)),
            Err(error) => {
                // What was not sent yet is taken back: it was not judged, or is half a result.
                self.wire.out.truncate(if sent { 0 } else { start });
                wanted.rest.clear();
                Err(explain_catalog(sql, error))
            }
        }
    }

    /// Whether the result may be given away now that it is ready. A write that was committed is
    /// the barrier's business, not the lease's; but nobody can say then what the client may believe.
    fn judge(&self, done: &Done) -> Result<(), SqlError> {
        match self.permit() {
            Err(error) if done.committed => Err(SqlError::new(
                state::OUTCOME_UNKNOWN,
                format!(
                    "the outcome of the transaction is unknown: {}",
                    error.message
                ),
            )),
            other => other,
        }
    }

    fn rows(
        &mut self,
        sql: &str,
        values: &[Value],
        wanted: &mut Wanted,
        sent: &mut bool,
    ) -> Result<Done, SqlError> {
        let autocommit = self.core.transaction == Transaction::None;
        let reads_only = self.reads_only(sql)?;
        if !reads_only {
            self.turn()?;
        }
        let committing = autocommit && !reads_only;
        let phase = if committing {
            Phase::Commit
        } else {
            Phase::Statement
        };
        let mut statement = self
            .core
            .connection
            .prepare_cached(sql)
            .map_err(|e| self.failure(&e, Phase::Statement))?;
        bind(&mut statement, values)?;
        let columns = declared(&statement);
        let mut rows = statement.raw_query();
        let mut next = rows.next().map_err(|e| self.failure(&e, phase))?;
        let fields = match wanted.fields.take() {
            Some(fields) => fields,
            None => fields(&columns, &wanted.formats, |i| {
                next.and_then(|row| row.get_ref(i).ok())
                    .and_then(PgType::of_value)
            })?,
        };
        if wanted.describe && !fields.is_empty() {
            self.wire.describe(&fields);
        }
        let mut count = 0;
        let mut held_back = 0;
        while let Some(row) = next {
            let value = |i: usize| {
                row.get_ref(i).map_err(|_| {
                    SqlError::new(
                        state::NOT_SUPPORTED,
                        "cached plan must not change result type",
                    )
                })
            };
            count += 1;
            if wanted.limit == 0 || count <= wanted.limit {
                put_row(&mut self.wire.out, &fields, value)?;
            } else {
                let mut encoded = BytesMut::new();
                put_row(&mut encoded, &fields, value)?;
                held_back += encoded.len();
                wanted.rest.push_back(encoded);
            }
            // Rows of a write must not be seen before it is committed.
            if committing {
                held_back = self.wire.out.len();
            } else if self.wire.out.len() >= BATCH {
                self.host.read_permit().map_err(|e| translate_permit(&e))?;
                self.wire
                    .flush()
                    .map_err(|e| SqlError::fatal("08006", format!("the client is gone: {e}")))?;
                *sent = true;
            }
            if held_back > HELD_BACK {
                return Err(SqlError::new(
                    state::TOO_LARGE,
                    "too many rows to hold back in memory",
                )
                .hint("Fetch without a row limit, or in smaller statements."));
            }
            next = rows.next().map_err(|e| self.failure(&e, phase))?;
        }
        drop(rows);
        wanted.fields = Some(fields);
        Ok(Done {
            rows: count,
            changed: self.core.connection.changes(),
            committed: committing,
        })
    }

    fn reads_only(&mut self, sql: &str) -> Result<bool, SqlError> {
        let statement = self
            .core
            .connection
            .prepare_cached(sql)
            .map_err(|e| self.failure(&e, Phase::Statement))?;
        Ok(statement.readonly())
    }

    /// The parameters of a statement and the columns it declares. Undeclared columns are looked up
    /// in a first row, when nothing can happen by making one.
    pub(super) fn inspect(
        &mut self,
        sql: &str,
        values: Option<&[Value]>,
        look: bool,
    ) -> Result<(Vec<Parameter>, Vec<Field>), SqlError> {
        if self.core.is_failed() {
            return Err(SqlError::in_failed_transaction());
        }
        self.permit()?;
        self.pass()?;
        take_fault();
        let answer = self.inspect_inside(sql, values, look);
        self.core.release_if_idle();
        answer.map_err(|error| explain_catalog(sql, error))
    }

    fn inspect_inside(
        &self,
        sql: &str,
        values: Option<&[Value]>,
        look: bool,
    ) -> Result<(Vec<Parameter>, Vec<Field>), SqlError> {
        let mut statement = self
            .core
            .connection
            .prepare_cached(sql)
            .map_err(|e| self.failure(&e, Phase::Statement))?;
        let parameters = parameters(&statement)?;
        let columns = declared(&statement);
        let undeclared = columns.iter().any(|(_, kind)| kind.is_none());
        if !look || !undeclared || !statement.readonly() || !is_harmless(sql) {
            return Ok((parameters, fields(&columns, &[], |_| None)?));
        }
        bind(&mut statement, values.unwrap_or_default())?;
        let mut rows = statement.raw_query();
        // An error here comes again, and is told, when the statement is executed.
        let first = rows.next().unwrap_or_default();
        let fields = fields(&columns, &[], |i| {
            first
                .and_then(|row| row.get_ref(i).ok())
                .and_then(PgType::of_value)
        })?;
        Ok((parameters, fields))
    }
}

/// What a statement did.
#[derive(Debug)]
struct Done {
    rows: usize,
    changed: u64,
    /// It wrote outside a transaction, so it is committed.
    committed: bool,
}

fn complete(tag: &Tag, done: &Done) -> String {
    match tag {
        Tag::Select => format!("SELECT {}", done.rows),
        Tag::Insert => format!("INSERT 0 {}", done.changed),
        Tag::Update => format!("UPDATE {}", done.changed),
        Tag::Delete => format!("DELETE {}", done.changed),
        Tag::Plain(words) => words.clone(),
    }
}

/// The columns of SHOW.
pub(super) fn show_fields(name: &str) -> Vec<Field> {
    let names: &[&str] = if name.eq_ignore_ascii_case("all") {
        &["name", "setting"]
    } else {
        &[name]
    };
    names
        .iter()
        .map(|name| Field {
            name: (*name).to_owned(),
            kind: PgType::Text,
            binary: false,
        })
        .collect()
}

/// Applies a portal's result formats: none is text, one is for all, else one a column.
pub(super) fn binary(formats: &[i16], column: usize, columns: usize) -> Result<bool, SqlError> {
    match formats {
        [] => Ok(false),
        [one] => Ok(*one == 1),
        many if many.len() == columns => Ok(many[column] == 1),
        many => Err(SqlError::new(
            state::PROTOCOL,
            format!("{} result formats for {columns} columns", many.len()),
        )),
    }
}

/// The columns' names and declared types.
fn declared(statement: &rusqlite::Statement<'_>) -> Vec<(String, Option<PgType>)> {
    statement
        .columns()
        .map(|c| {
            let kind = c.decl_type().map(PgType::of_declaration);
            (c.name().to_owned(), kind)
        })
        .collect()
}

fn fields(
    columns: &[(String, Option<PgType>)],
    formats: &[i16],
    first: impl Fn(usize) -> Option<PgType>,
) -> Result<Vec<Field>, SqlError> {
    columns
        .iter()
        .enumerate()
        .map(|(i, (name, declared))| {
            Ok(Field {
                name: name.clone(),
                kind: declared.or_else(|| first(i)).unwrap_or(PgType::Text),
                binary: binary(formats, i, columns.len())?,
            })
        })
        .collect()
}

fn parameters(statement: &rusqlite::Statement<'_>) -> Result<Vec<Parameter>, SqlError> {
    (1..=statement.parameter_count())
        .map(|index| {
            let Some(name) = statement.parameter_name(index) else {
                return Ok(Parameter {
                    index,
                    number: index,
                    hint: None,
                });
            };
            let bare = name.trim_start_matches(['$', '?']);
            let (digits, hint) = bare.split_once("::").unwrap_or((bare, ""));
            match digits.parse() {
                Ok(number) if number > 0 => Ok(Parameter {
                    index,
                    number,
                    hint: PgType::of_hint(hint),
                }),
                _ => Err(
                    SqlError::new("42P02", format!("there is no parameter {name}"))
                        .hint("Parameters are $1, $2 and so on."),
                ),
            }
        })
        .collect()
}

/// SQLite numbers `$1` by its first appearance, not by its digits.
fn bind(statement: &mut rusqlite::Statement<'_>, values: &[Value]) -> Result<(), SqlError> {
    for parameter in parameters(statement)? {
        let null = Value::Null;
        let value = values.get(parameter.number - 1).unwrap_or(&null);
        statement
            .raw_bind_parameter(parameter.index, value)
            .map_err(|e| translate(&e, take_fault(), Phase::Statement))?;
    }
    Ok(())
}

/// Functions that do nothing but compute. A statement that calls another one is not run for its
/// types' sake: the admin functions act.
const HARMLESS: &[&str] = &[
    "abs",
    "avg",
    "cast",
    "coalesce",
    "concat",
    "count",
    "date",
    "datetime",
    "exists",
    "group_concat",
    "hex",
    "ifnull",
    "iif",
    "in",
    "instr",
    "json",
    "json_extract",
    "julianday",
    "length",
    "lower",
    "ltrim",
    "max",
    "min",
    "nullif",
    "printf",
    "format",
    "quote",
    "random",
    "replace",
    "round",
    "row_number",
    "rtrim",
    "sign",
    "strftime",
    "substr",
    "substring",
    "sum",
    "time",
    "total",
    "trim",
    "typeof",
    "unicode",
    "unixepoch",
    "upper",
    "values",
    "version",
    "zeroblob",
];

fn is_harmless(sql: &str) -> bool {
    let mut previous: Option<super::lexer::Token<'_>> = None;
    for token in tokens(sql) {
        if token.text == "("
            && let Some(word) = previous
            && word.name().is_some()
            && !HARMLESS.iter().any(|f| word.is(f))
            && !is_syntax(&word)
        {
            return false;
        }
        previous = Some(token);
    }
    true
}

/// Words that stand before a parenthesis without being functions.
fn is_syntax(word: &super::lexer::Token<'_>) -> bool {
    [
        "select",
        "from",
        "where",
        "and",
        "or",
        "not",
        "on",
        "as",
        "join",
        "union",
        "all",
        "except",
        "intersect",
        "when",
        "then",
        "else",
        "case",
        "having",
        "by",
        "using",
        "over",
        "filter",
        "limit",
        "between",
        "like",
        "distinct",
        "is",
    ]
    .iter()
    .any(|k| word.is(k))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_that_calls_an_admin_function_is_not_run_for_its_types() {
        assert!(is_harmless(
            "select count(*), max(a) from t where a in (1, 2)"
        ));
        assert!(!is_harmless("select gp_request_fts_probe_scan()"));
        assert!(!is_harmless("select \"segsh_recover\" ('{}')"));
    }

    #[test]
    fn parameters_are_numbered_by_their_digits() {
        let db = rusqlite::Connection::open_in_memory().unwrap();
        let statement = db.prepare("select $2, $1::int8, $2").unwrap();
        let found = parameters(&statement).unwrap();
        let numbers: Vec<_> = found.iter().map(|p| (p.number, p.hint)).collect();
        assert_eq!(numbers, [(2, None), (1, Some(20))]);
        let named = db.prepare("select :name").unwrap();
        assert_eq!(parameters(&named).unwrap_err().code, "42P02");
    }

    #[test]
    fn result_formats_that_do_not_fit_are_refused() {
        assert!(!binary(&[], 1, 3).unwrap());
        assert!(binary(&[1], 2, 3).unwrap());
        assert!(!binary(&[1, 0, 1], 1, 3).unwrap());
        assert_eq!(binary(&[1, 0], 0, 3).unwrap_err().code, "08P01");
    }
}
