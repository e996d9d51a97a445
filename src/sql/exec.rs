//! Running one statement: permits, the gate, the write queue, and the transaction around it.

use super::control::Control;
use super::core::{Core, Transaction};
use super::error::{Phase, SqlError, outcome_unknown, state, translate, translate_permit};
use super::gucs::Gucs;
use super::host::{SqlHost, StorageError};
use super::kind::Kind;
use super::lexer::tokens;
use super::types::PgType;
use super::wire::{Field, Wire, put_row};
use crate::segment::vfs::{owes, take_fault, take_owed, with_vacuum_allowed};
use bytes::BytesMut;
use rusqlite::ffi;
use rusqlite::types::{Value, ValueRef};
use std::collections::VecDeque;
use std::time::Instant;

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
        if owes() {
            // What follows a COMMIT in a message follows it when it holds.
            self.settle(false)?;
            self.wire.settled();
        }
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
                return Err(SqlError::new(state::NOT_SUPPORTED, format!("{what} is not supported")));
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

    pub(super) fn permit(&self) -> Result<(), SqlError> {
        self.host.read_permit(&|| self.control.stopped().is_none()).map_err(|error| self.not_permitted(&error))
    }

    fn not_permitted(&self, error: &StorageError) -> SqlError {
        match error {
            StorageError::GivenUp => self.stop_error(),
            error => translate_permit(error),
        }
    }

    /// Waits until everything that was committed here, or that can have been seen here, is durable where it
    /// must be; and, if something `was_read`, until a result may be given to a client.
    ///
    /// A commit can't be stopped any more, so nobody stops the wait for it.
    pub(super) fn settle(&self, was_read: bool) -> Result<(), SqlError> {
        let owed = take_owed();
        let settled = match owed {
            Some(position) => {
                self.control.committed();
                let durable = self.host.durable(position, &|| true);
                self.control.end_commit();
                durable
            }
            None => self.host.durable(self.host.position(), &|| self.control.stopped().is_none()),
        };
        let settled = settled.map_err(|error| self.not_permitted(&error));
        match settled.and_then(|()| if was_read { self.permit() } else { Ok(()) }) {
            Err(error) if owed.is_some() => Err(outcome_unknown(error.message)),
            other => other,
        }
    }

    /// The end of a message: its answer, if that may leave; or why nothing of it may.
    pub(super) fn leave(&mut self, answer: Result<(), SqlError>) -> Result<(), SqlError> {
        let has_looked = std::mem::take(&mut self.core.has_looked);
        let settled = if has_looked || owes() { self.settle(has_looked && answer.is_ok()) } else { Ok(()) };
        match settled {
            Ok(()) => {
                self.wire.release();
                answer
            }
            Err(error) => {
                self.wire.take_back();
                Err(answer.err().filter(|told| told.code == state::OUTCOME_UNKNOWN).unwrap_or(error))
            }
        }
    }

    pub(super) fn failure(&self, error: &rusqlite::Error, phase: Phase) -> SqlError {
        let fault = take_fault();
        if let rusqlite::Error::SqliteFailure(e, _) = error
            && e.extended_code & 0xff == ffi::SQLITE_INTERRUPT
            && let Some(stop) = self.control.stopped()
        {
            return stop.error();
        }
        // A function of ours that was stopped fails with words; the reason is better.
        if let (Some(stop), rusqlite::Error::SqliteFailure(e, _)) = (self.control.stopped(), error)
            && matches!(e.extended_code, ffi::SQLITE_ERROR | ffi::SQLITE_CONSTRAINT_FUNCTION)
        {
            return stop.error();
        }
        translate(error, fault, phase)
    }

    /// Waits for the gate. Held until SQLite has no transaction.
    pub(super) fn pass(&mut self) -> Result<(), SqlError> {
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
            || SqlError::new(state::LOCK_NOT_AVAILABLE, "canceling statement due to lock timeout"),
            |stop| stop.error(),
        )
    }

    /// Waits for the turn to write.
    pub(super) fn turn(&mut self) -> Result<(), SqlError> {
        if self.core.turn.is_some() {
            return Ok(());
        }
        let until = self.gucs.timeouts().lock.map(|t| Instant::now() + t);
        let go_on = || self.control.stopped().is_none() && until.is_none_or(|t| Instant::now() < t);
        match self.host.write_queue().enter(&go_on) {
            // Who was stopped in the line writes nothing, though the turn came at the same moment.
            Some(turn) if self.control.stopped().is_none() => {
                self.core.turn = Some(turn);
                Ok(())
            }
            _ => Err(self.stop_error()),
        }
    }

    fn begin(&mut self, write: bool) -> Result<String, SqlError> {
        if self.core.transaction == Transaction::Open {
            if self.core.implicit {
                self.core.implicit = false;
            } else {
                self.wire.warning(state::ACTIVE_TRANSACTION, "there is already a transaction in progress");
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
                self.wire.warning(state::NO_TRANSACTION, "there is no transaction in progress");
                Ok("COMMIT".to_owned())
            }
            Transaction::Failed => {
                self.core.end();
                Ok("ROLLBACK".to_owned())
            }
            Transaction::Open => {
                if let Err(stopped) = self.control.begin_commit() {
                    // Whoever says COMMIT expects to be outside a transaction afterwards.
                    self.core.end();
                    return Err(stopped);
                }
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
            self.wire.warning(state::NO_TRANSACTION, "there is no transaction in progress");
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
            return Err(SqlError::new(state::NO_TRANSACTION, format!("{word} can only be used in transaction blocks")));
        }
        let name = tokens(sql).filter_map(|t| t.name()).last().unwrap_or_default().to_ascii_lowercase();
        let at = self.core.savepoints.iter().rposition(|s| *s == name);
        if at.is_none() && !matches!(kind, Kind::Savepoint) {
            return Err(SqlError::new(state::NO_SAVEPOINT, format!("savepoint \"{name}\" does not exist")));
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
            put_row(&mut self.wire.out, &fields, |i| Ok(ValueRef::Text(row[i].as_bytes())))?;
        }
        Ok("SHOW".to_owned())
    }

    fn vacuum(&mut self, sql: &str) -> Result<String, SqlError> {
        if self.core.transaction != Transaction::None {
            return Err(SqlError::new(state::ACTIVE_TRANSACTION, "VACUUM cannot run inside a transaction block"));
        }
        self.permit()?;
        self.core.has_looked = true;
        self.pass()?;
        self.turn()?;
        take_fault();
        let connection = &self.core.connection;
        let done = with_vacuum_allowed(connection, || connection.execute_batch(sql));
        let answer = done.map_err(|e| self.failure(&e, Phase::Commit));
        self.core.release_if_idle();
        answer.map(|()| "VACUUM".to_owned())
    }
}

/// The columns of SHOW.
pub(super) fn show_fields(name: &str) -> Vec<Field> {
    let names: &[&str] = if name.eq_ignore_ascii_case("all") { &["name", "setting"] } else { &[name] };
    names.iter().map(|name| Field { name: (*name).to_owned(), kind: PgType::Text, binary: false }).collect()
}
