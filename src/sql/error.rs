//! What a client is told when a statement fails: one table from SQLite's codes to SQLSTATEs.

use crate::engine::storage::StorageError;
use crate::segment::vfs::FileFault;
use pgwire::error::ErrorInfo;
use rusqlite::ffi;
use std::borrow::Cow;
use thiserror::Error;

/// An error as the protocol carries it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{message} ({code})")]
pub struct SqlError {
    /// The session ends with it.
    pub fatal: bool,
    /// Five characters.
    pub code: Cow<'static, str>,
    pub message: String,
    pub hint: Option<String>,
    /// Character position in the statement, from 1.
    pub position: Option<usize>,
}

impl SqlError {
    /// An error that fails the statement.
    pub fn new(code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> SqlError {
        SqlError { fatal: false, code: code.into(), message: message.into(), hint: None, position: None }
    }

    /// An error that ends the session.
    pub fn fatal(code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> SqlError {
        SqlError { fatal: true, ..SqlError::new(code, message) }
    }

    /// Adds a next step.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> SqlError {
        self.hint = Some(hint.into());
        self
    }

    /// The words for an open transaction that can only be ended.
    pub fn in_failed_transaction() -> SqlError {
        SqlError::new(
            state::IN_FAILED_TRANSACTION,
            "current transaction is aborted, commands ignored until end of transaction block",
        )
    }

    pub(super) fn to_info(&self) -> ErrorInfo {
        let severity = if self.fatal { "FATAL" } else { "ERROR" };
        let mut info = ErrorInfo::new(severity.to_owned(), self.code.to_string(), self.message.clone());
        info.hint = self.hint.clone();
        info.position = self.position.map(|p| p.to_string());
        info
    }
}

/// The SQLSTATEs this server answers.
pub mod state {
    pub const PROTOCOL: &str = "08P01";
    pub const OUTCOME_UNKNOWN: &str = "08007";
    pub const NOT_SUPPORTED: &str = "0A000";
    pub const BAD_PARAMETER: &str = "22P02";
    pub const BAD_SETTING: &str = "22023";
    pub const ACTIVE_TRANSACTION: &str = "25001";
    pub const READ_ONLY: &str = "25006";
    pub const NO_TRANSACTION: &str = "25P01";
    pub const IN_FAILED_TRANSACTION: &str = "25P02";
    pub const IDLE_IN_TRANSACTION: &str = "25P03";
    pub const NO_STATEMENT: &str = "26000";
    pub const NO_PORTAL: &str = "34000";
    pub const NO_SAVEPOINT: &str = "3B001";
    pub const NO_DATABASE: &str = "3D000";
    pub const SERIALIZATION: &str = "40001";
    pub const SYNTAX: &str = "42601";
    pub const UNKNOWN_SETTING: &str = "42704";
    pub const TYPE_MISMATCH: &str = "42804";
    pub const TOO_LARGE: &str = "54000";
    pub const LOCK_NOT_AVAILABLE: &str = "55P03";
    pub const CANCELED: &str = "57014";
    pub const SHUTDOWN: &str = "57P01";
    pub const CANNOT_CONNECT: &str = "57P03";
    pub const IO: &str = "58030";
    pub const INTERNAL: &str = "XX000";
}

/// How one code of SQLite, or one beginning of its message, is answered.
enum Match {
    /// An extended result code.
    Extended(i32),
    /// A primary result code.
    Primary(i32),
    /// `SQLITE_ERROR` with this in its message.
    Words(&'static str),
}
use Match::{Extended, Primary, Words};

/// The table. The first line that matches holds.
const TABLE: &[(Match, &str)] = &[
    (Extended(ffi::SQLITE_CONSTRAINT_UNIQUE), "23505"),
    (Extended(ffi::SQLITE_CONSTRAINT_PRIMARYKEY), "23505"),
    (Extended(ffi::SQLITE_CONSTRAINT_ROWID), "23505"),
    (Extended(ffi::SQLITE_CONSTRAINT_NOTNULL), "23502"),
    (Extended(ffi::SQLITE_CONSTRAINT_FOREIGNKEY), "23503"),
    (Extended(ffi::SQLITE_CONSTRAINT_CHECK), "23514"),
    (Extended(ffi::SQLITE_CONSTRAINT_DATATYPE), "42804"),
    (Extended(ffi::SQLITE_CONSTRAINT_TRIGGER), "P0001"),
    (Extended(ffi::SQLITE_CONSTRAINT_FUNCTION), "P0001"),
    (Primary(ffi::SQLITE_CONSTRAINT), "23000"),
    (Extended(ffi::SQLITE_BUSY_SNAPSHOT), "40001"),
    (Primary(ffi::SQLITE_BUSY), "55P03"),
    (Primary(ffi::SQLITE_LOCKED), "55P03"),
    (Primary(ffi::SQLITE_INTERRUPT), "57014"),
    (Primary(ffi::SQLITE_READONLY), "25006"),
    (Primary(ffi::SQLITE_FULL), "53100"),
    (Primary(ffi::SQLITE_NOMEM), "53200"),
    (Primary(ffi::SQLITE_TOOBIG), "54000"),
    (Extended(ffi::SQLITE_IOERR_DATA), "XX001"),
    (Primary(ffi::SQLITE_CORRUPT), "XX001"),
    (Primary(ffi::SQLITE_NOTADB), "XX001"),
    (Primary(ffi::SQLITE_IOERR), "58030"),
    (Primary(ffi::SQLITE_CANTOPEN), "58030"),
    (Primary(ffi::SQLITE_MISMATCH), "42804"),
    (Primary(ffi::SQLITE_RANGE), "08P01"),
    (Primary(ffi::SQLITE_AUTH), "42501"),
    (Words("is fixed on a segment"), "0A000"),
    (Words("too many attached databases"), "0A000"),
    (Words("no such table"), "42P01"),
    (Words("no such view"), "42P01"),
    (Words("unknown database"), "3F000"),
    (Words("no such column"), "42703"),
    (Words("has no column named"), "42703"),
    (Words("no such function"), "42883"),
    (Words("wrong number of arguments"), "42883"),
    (Words("no such index"), "42704"),
    (Words("no such trigger"), "42704"),
    (Words("no such savepoint"), "3B001"),
    (Words("already exists"), "42P07"),
    (Words("ambiguous column"), "42702"),
    (Words("duplicate column"), "42701"),
    (Words("syntax error"), "42601"),
    (Words("incomplete input"), "42601"),
    (Words("unrecognized token"), "42601"),
    (Words("near \""), "42601"),
    (Words("values for"), "42601"),
    (Words("values were supplied"), "42601"),
    (Words("within a transaction"), "25001"),
    (Words("no transaction is active"), "25P01"),
    (Words("statements in progress"), "55006"),
    (Words("datatype mismatch"), "42804"),
    (Words("malformed JSON"), "22P02"),
    (Words("integer overflow"), "22003"),
    (Words("misuse of aggregate"), "42803"),
];

fn sqlstate(extended: i32, message: &str) -> Option<&'static str> {
    TABLE
        .iter()
        .find(|(rule, _)| match rule {
            Extended(code) => extended == *code,
            Primary(code) => extended & 0xff == *code,
            Words(words) => extended & 0xff == ffi::SQLITE_ERROR && message.contains(words),
        })
        .map(|(_, state)| *state)
}

/// What was under way when SQLite failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Nothing can have been committed.
    Statement,
    /// A COMMIT, or a write outside a transaction.
    Commit,
}

/// Translates SQLite's error, with what the storage said about it.
pub fn translate(error: &rusqlite::Error, fault: Option<FileFault>, phase: Phase) -> SqlError {
    let (extended, message, offset) = parts(error);
    if extended & 0xff == ffi::SQLITE_IOERR && extended != ffi::SQLITE_IOERR_DATA {
        return io_error(&message, fault, phase);
    }
    if matches!(extended, ffi::SQLITE_ERROR | ffi::SQLITE_CONSTRAINT_FUNCTION)
        && let Some(own) = from_function(&message)
    {
        return own;
    }
    let code = sqlstate(extended, &message).unwrap_or(state::INTERNAL);
    let mut answer = SqlError::new(code, message);
    answer.position = offset;
    if extended == ffi::SQLITE_BUSY_SNAPSHOT {
        // SQLite says that the database is locked, which sends people looking for a lock.
        answer.message = "could not serialize access due to a concurrent write".to_owned();
        answer.hint = Some("Run the transaction again; BEGIN IMMEDIATE waits for its turn first.".to_owned());
    }
    match fault {
        Some(fault @ (FileFault::LogCap(_) | FileFault::Damage(..))) => {
            answer.message = fault.to_string();
        }
        Some(FileFault::Storage(StorageError::Full)) => {
            answer.message = "disk full; nothing was changed".to_owned();
        }
        _ => {}
    }
    answer
}

/// psql's `\d` and its kin ask PostgreSQL's catalog in PostgreSQL's dialect: whatever SQLite dislikes
/// about it first, the answer is the same.
pub(super) fn explain_catalog(sql: &str, error: SqlError) -> SqlError {
    if !error.code.starts_with("42") || !sql.contains("pg_catalog.") {
        return error;
    }
    let hint = if sql.contains("pg_catalog.pg_database") {
        "Databases: postgres, which is the catalog, and content0, content1 and so on: on postgres, \
         select distinct content from gp_segment_configuration where content >= 0."
    } else {
        "Tables: select name from sqlite_schema. Columns: select * from pragma_table_info('TABLE')."
    };
    SqlError::new("42P01", "PostgreSQL's catalog (pg_catalog) is not here").hint(hint)
}

/// An I/O error while committing leaves the frames in the log: whether they hold is not known.
fn io_error(message: &str, fault: Option<FileFault>, phase: Phase) -> SqlError {
    let why = fault.as_ref().map_or_else(|| message.to_owned(), FileFault::to_string);
    match (phase, fault) {
        (Phase::Commit, _) => outcome_unknown(why),
        (Phase::Statement, Some(FileFault::Storage(StorageError::Fenced(why)))) => fenced(&why),
        (Phase::Statement, _) => SqlError::new(state::IO, why),
    }
}

/// An SQL function of the host fails with a [`SqlError`] as its user error; SQLite carries only its
/// words, which end with the SQLSTATE.
fn from_function(message: &str) -> Option<SqlError> {
    let (words, code) = message.strip_suffix(')')?.rsplit_once(" (")?;
    let is_state = code.len() == 5 && code.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_uppercase());
    is_state.then(|| SqlError::new(code.to_owned(), words))
}

/// A commit that is not known to be durable, or that nobody may be told of: it may hold, or not.
pub(super) fn outcome_unknown(why: impl std::fmt::Display) -> SqlError {
    SqlError::new(state::OUTCOME_UNKNOWN, format!("the outcome of the transaction is unknown: {why}"))
        .hint("Look whether it is there before you repeat it.")
}

fn fenced(why: &str) -> SqlError {
    SqlError::fatal(state::SHUTDOWN, format!("this segment no longer serves: {why}"))
}

/// The storage refuses reads: nothing was answered, and this process won't answer again.
pub fn translate_permit(error: &StorageError) -> SqlError {
    match error {
        StorageError::Fenced(why) => fenced(why),
        other => SqlError::fatal(state::SHUTDOWN, other.to_string()),
    }
}

fn parts(error: &rusqlite::Error) -> (i32, String, Option<usize>) {
    match error {
        rusqlite::Error::SqliteFailure(e, message) => {
            (e.extended_code, message.clone().unwrap_or_else(|| e.to_string()), None)
        }
        rusqlite::Error::SqlInputError { error, msg, sql, offset } => {
            let position =
                usize::try_from(*offset).ok().and_then(|n| sql.get(..n)).map(|before| before.chars().count() + 1);
            (error.extended_code, msg.clone(), position)
        }
        rusqlite::Error::MultipleStatement => {
            (ffi::SQLITE_ERROR, "syntax error: a prepared statement is one statement".to_owned(), None)
        }
        other => (ffi::SQLITE_INTERNAL, other.to_string(), None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(code: i32) -> rusqlite::Error {
        rusqlite::Error::SqliteFailure(ffi::Error::new(code), None)
    }

    #[test]
    fn every_line_of_the_table_is_reached() {
        for (rule, expected) in TABLE {
            let (code, words) = match rule {
                Extended(code) | Primary(code) => (*code, ""),
                Words(words) => (ffi::SQLITE_ERROR, *words),
            };
            assert_eq!(sqlstate(code, words), Some(*expected));
        }
    }

    #[test]
    fn real_statements_fail_with_postgresql_s_states() {
        let db = rusqlite::Connection::open_in_memory().unwrap();
        db.execute_batch(
            "pragma foreign_keys = on; create table p(id integer primary key);
             create table t(a int unique, b int not null, c int check (c > 0), p references p);
             insert into t(a, b) values (1, 1)",
        )
        .unwrap();
        for (sql, expected) in [
            ("insert into t(a, b) values (1, 1)", "23505"),
            ("insert into t(a) values (2)", "23502"),
            ("insert into t(a, b, c) values (3, 1, 0)", "23514"),
            ("insert into t(a, b, p) values (4, 1, 9)", "23503"),
            ("insert into p values ('x')", "42804"),
            ("select * from nowhere", "42P01"),
            ("select nosuch from t", "42703"),
            ("insert into t(z) values (1)", "42703"),
            ("selec 1", "42601"),
            ("select 'a", "42601"),
            ("select (", "42601"),
            ("insert into t(a) values (1, 2)", "42601"),
            ("select nofunc(1)", "42883"),
            ("create table t(a)", "42P07"),
            ("select * from pg_catalog.pg_class", "42P01"),
            ("select abs(-9223372036854775808)", "22003"),
        ] {
            let error = db.execute_batch(sql).unwrap_err();
            assert_eq!(translate(&error, None, Phase::Statement).code, expected, "{sql}: {error}");
        }
    }

    #[test]
    fn an_io_error_while_committing_is_an_unknown_outcome_and_a_full_disk_is_not() {
        let fenced = || Some(FileFault::Storage(StorageError::Fenced("x".into())));
        let sync = failure(ffi::SQLITE_IOERR_FSYNC);
        assert_eq!(translate(&sync, fenced(), Phase::Commit).code, "08007");
        let answer = translate(&failure(ffi::SQLITE_IOERR_READ), fenced(), Phase::Statement);
        assert_eq!((&*answer.code, answer.fatal), ("57P01", true));
        let io = Some(FileFault::Storage(StorageError::Io("x".into())));
        let read = failure(ffi::SQLITE_IOERR_READ);
        assert_eq!(translate(&read, io, Phase::Statement).code, "58030");
        let full = failure(ffi::SQLITE_FULL);
        assert_eq!(translate(&full, None, Phase::Commit).code, "53100");
    }

    #[test]
    fn a_write_on_an_old_snapshot_says_what_to_do() {
        let answer = translate(&failure(ffi::SQLITE_BUSY_SNAPSHOT), None, Phase::Statement);
        assert_eq!(answer.code, "40001");
        assert!(answer.message.contains("serialize") && answer.hint.is_some(), "{answer}");
    }

    #[test]
    fn a_host_s_function_fails_with_its_own_state() {
        let db = rusqlite::Connection::open_in_memory().unwrap();
        db.create_scalar_function("f", 0, rusqlite::functions::FunctionFlags::SQLITE_UTF8, |_| {
            let own = SqlError::new("55006", "it is locked");
            Err::<i64, _>(rusqlite::Error::UserFunctionError(Box::new(own)))
        })
        .unwrap();
        let error = db.query_row("select f()", [], |_| Ok(())).unwrap_err();
        let answer = translate(&error, None, Phase::Statement);
        assert_eq!((&*answer.code, &*answer.message), ("55006", "it is locked"));
    }

    #[test]
    fn a_syntax_error_has_its_position_in_characters() {
        let db = rusqlite::Connection::open_in_memory().unwrap();
        let error = db.prepare("select 'ä', nosuch").unwrap_err();
        let answer = translate(&error, None, Phase::Statement);
        assert_eq!(answer.position, Some(13));
    }
}
