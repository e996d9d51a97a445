//! A session's connection and the transaction on it, as PostgreSQL's protocol sees one.

use super::error::SqlError;
use super::queue::WriteTurn;
use crate::segment::vfs::Pass;
use rusqlite::Connection;

/// Where the transaction stands. SQLite does not abort one at an error; PostgreSQL does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Transaction {
    None,
    Open,
    /// Every statement answers 25P02 until it is ended.
    Failed,
}

/// Behind a mutex: the session's thread holds it while it works, a drain takes it in between.
#[derive(Debug)]
pub(super) struct Core {
    pub(super) connection: Connection,
    pub(super) transaction: Transaction,
    /// Nobody said BEGIN: the protocol makes a batch, or everything up to a Sync, one transaction.
    pub(super) implicit: bool,
    /// What failed an implicit transaction from outside; told at its end.
    pub(super) failure: Option<SqlError>,
    pub(super) savepoints: Vec<String>,
    pub(super) turn: Option<WriteTurn>,
    pub(super) pass: Option<Pass>,
    /// The message under way has looked at the database: what it answers, error or not, can show what it saw.
    pub(super) has_looked: bool,
}

impl Core {
    pub(super) fn new(connection: Connection) -> Core {
        Core {
            connection,
            transaction: Transaction::None,
            implicit: false,
            failure: None,
            savepoints: Vec::new(),
            turn: None,
            pass: None,
            has_looked: false,
        }
    }

    pub(super) fn is_failed(&self) -> bool {
        self.transaction == Transaction::Failed
    }

    /// A client sees this transaction.
    pub(super) fn is_explicit(&self) -> bool {
        self.transaction != Transaction::None && !self.implicit
    }

    /// Lets others write, and the checkpointer work, when SQLite has no transaction.
    pub(super) fn release_if_idle(&mut self) {
        if self.connection.is_autocommit() {
            self.turn = None;
            self.pass = None;
        }
    }

    fn roll_back(&mut self) {
        if !self.connection.is_autocommit()
            && let Err(e) = self.connection.execute_batch("ROLLBACK")
        {
            // The storage is gone, then; nothing of the transaction was committed.
            tracing::warn!(error = %e, "ROLLBACK failed");
        }
        self.savepoints.clear();
        self.turn = None;
        self.pass = None;
    }

    /// After an error: PostgreSQL gives back the locks at once, and so do we, unless the client may
    /// still go back to a savepoint.
    pub(super) fn fail(&mut self) {
        if self.transaction == Transaction::Open {
            self.transaction = Transaction::Failed;
            if self.savepoints.is_empty() || self.connection.is_autocommit() {
                self.roll_back();
            }
        }
        self.release_if_idle();
    }

    /// Ends the transaction without a trace.
    pub(super) fn end(&mut self) {
        self.roll_back();
        self.transaction = Transaction::None;
        self.implicit = false;
        self.failure = None;
    }

    /// From outside: rolls back what is open, and fails it. True when there was something.
    pub(super) fn fail_from_outside(&mut self, why: &SqlError) -> bool {
        let open = self.transaction == Transaction::Open;
        if open {
            self.transaction = Transaction::Failed;
            if self.implicit {
                self.failure = Some(why.clone());
            }
        }
        self.roll_back();
        open
    }
}
