//! What a database holds at one moment, kept readable while writing goes on.
//!
//! Commits are held ([`Held`]), what is under way is waited for, and a read transaction is begun. From
//! then on the snapshot is an image made of two parts that stay what they are until it is dropped:
//!
//! - **the log up to the snapshot's last frame**: a log that a reader reads does not begin anew;
//! - **`main.db`**: a checkpoint copies no frame into it that is newer than the oldest reader's. What it
//!   writes meanwhile is what the frames of this very image say, so whether a page is read before, during
//!   or after, replaying the log over it gives the same.
//!
//! A reader that came when everything in the log was in `main.db` reads that alone, and no checkpoint
//! writes to it while there is such a reader; but the log may begin anew. Then the image has no log.

use super::node::Node;
use super::{Committed, Handle, register};
use crate::engine::storage::{FileId, StorageError};
use rusqlite::Connection;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;

/// How often the index is looked at while a writer that has not committed begins the log anew.
const LOOKS: usize = 1_000;

/// Why there is no snapshot.
#[derive(Debug, Error)]
pub enum SnapshotError {
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    /// The hold ended by itself before every commit under way had ended.
    #[error("the commits under way did not end while others were held")]
    TooLate,
    /// The index of the log does not say what it holds.
    #[error("the log's index can't be read")]
    NoIndex,
}

/// Commits wait while this is kept, and no longer than was said; dropped, they go on.
#[derive(Debug)]
pub struct Held {
    node: Arc<Node>,
    id: u64,
}

/// A database at one moment. The log is not emptied while this is kept.
#[derive(Debug)]
pub struct Snapshot {
    /// Its read transaction is what keeps the image.
    _reader: Connection,
    /// Bytes of `main.db` that belong to it.
    pub main_bytes: u64,
    /// Frames of the log that belong to it, by the index that readers go by; `None` when all is in `main.db`.
    pub log: Option<Committed>,
}

impl Handle {
    /// Holds the commits of all connections for at most so long; `None` while somebody holds them already.
    pub fn hold_commits(&self, longest: Duration) -> Option<Held> {
        let node = Arc::clone(&self.registration.node);
        let id = node.commits.hold(longest)?;
        Some(Held { node, id })
    }
}

impl Held {
    /// The database as it is now that nobody can commit: every commit that anybody can have seen is in it, and
    /// none that is made after. The connection is one from [`super::open`], without a transaction.
    pub fn snapshot(&self, vfs: &Handle, reader: Connection) -> Result<Snapshot, SnapshotError> {
        if !self.node.commits.drained(self.id) {
            return Err(SnapshotError::TooLate);
        }
        reader.execute_batch("BEGIN")?;
        reader.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
        let storage = vfs.storage().ok_or_else(|| StorageError::Fenced("the database is closed".into()))?;
        let main_bytes = storage.len(FileId::Main)?;
        match register::reads_log(&reader) {
            Some(false) => Ok(Snapshot { _reader: reader, main_bytes, log: None }),
            Some(true) => {
                let log = (0..LOOKS).find_map(|_| {
                    let committed = self.node.committed();
                    if committed.is_none() {
                        std::thread::yield_now();
                    }
                    committed
                });
                let log = log.ok_or(SnapshotError::NoIndex)?;
                // A page behind the last one was cut off by a commit, and waits for a checkpoint to do so.
                let pages = u64::from(log.pages) * super::PAGE_SIZE as u64;
                Ok(Snapshot { _reader: reader, main_bytes: main_bytes.min(pages), log: Some(log) })
            }
            None => Err(SnapshotError::NoIndex),
        }
    }

    /// Whether nobody has committed since.
    pub fn stands(&self) -> bool {
        self.node.commits.stands(self.id)
    }

    /// Lets commits go on: for how long they were held, or `None` when the time was up before.
    pub fn end(self) -> Option<Duration> {
        self.node.commits.release(self.id)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.node.commits.release(self.id);
    }
}
