//! What a process offers to the sessions it serves.

use super::error::SqlError;
use super::queue::WriteQueue;
pub use crate::engine::storage::{Position, StorageError};
pub use crate::segment::vfs::Gate;
use rusqlite::Connection;
use std::sync::Arc;
use std::time::Duration;

/// A session's time limits at its start; `None` is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    pub statement: Option<Duration>,
    pub lock: Option<Duration>,
    pub idle_in_transaction: Option<Duration>,
}

impl Default for Timeouts {
    fn default() -> Self {
        Timeouts { statement: None, lock: None, idle_in_transaction: Some(Duration::from_secs(60)) }
    }
}

/// Who is at the other end, as its startup message says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    pub user: String,
    pub database: String,
    pub application_name: String,
}

/// The segment process for its database; the coordinator for its catalog. Every call is made on the
/// session's own thread and may block.
pub trait SqlHost: Send + Sync + 'static {
    /// A connection for a new session, with the host's own SQL functions. Refuses an unknown
    /// database ([`SqlError`] `3D000`), or everybody for now (`57P03`).
    fn open(&self, client: &Client) -> Result<Connection, SqlError>;
    /// The queue in front of every write. The host's own writes belong in it too.
    fn write_queue(&self) -> &Arc<WriteQueue>;
    /// The checkpointer's gate, when there is one.
    fn gate(&self) -> Option<&Arc<Gate>>;
    /// Asked before a statement begins, and again before its result leaves. Waits while `go_on`
    /// says so; after that it is [`StorageError::GivenUp`].
    fn read_permit(&self, go_on: &dyn Fn() -> bool) -> Result<(), StorageError>;
    /// A place at or behind every commit that a statement can have seen which has ended.
    fn position(&self) -> Position;
    /// Returns once every commit up to there is durable where it must be, and may be told of. Waits while
    /// `go_on` says so; after that it is [`StorageError::GivenUp`].
    fn durable(&self, position: Position, go_on: &dyn Fn() -> bool) -> Result<(), StorageError>;
    /// What `server_version` says, such as `15.0 (segsh 0.1.0)`. Clients parse its beginning.
    fn server_version(&self) -> String {
        crate::sql::SERVER_VERSION.to_owned()
    }
    /// Where sessions start.
    fn timeouts(&self) -> Timeouts {
        Timeouts::default()
    }
}
