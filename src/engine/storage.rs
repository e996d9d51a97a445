//! The seam between SQLite's VFS above and the replication engine below.
//!
//! Everything SQLite writes goes through one [`Storage`]. Its calls block the calling thread: a
//! `write` while the gate is closed, a `sync` until the commit barrier is met on both sides. A commit
//! is only noted; whoever tells of it, or of anything that can have seen it, asks for [`Storage::durable`]
//! first.

pub use crate::core::track::FileId;
use thiserror::Error;

#[derive(Debug, Clone, Error)]
pub enum StorageError {
    /// Fails the statement (53100), never the segment.
    #[error("disk full")]
    Full,
    /// This process may no longer touch the files: demoted, or its outcome is unknown.
    #[error("fenced: {0}")]
    Fenced(String),
    /// EIO and the like: the segment stops.
    #[error("I/O error: {0}")]
    Io(String),
    /// Whoever waited did not want to any longer; nothing is wrong with the files.
    #[error("the wait was given up")]
    GivenUp,
}

/// A place in the order of the commits of one process: everything that was noted up to it. The default
/// is the place before the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Position(pub u64);

/// What the VFS needs below it. Shared by every connection of the process.
pub trait Storage: Send + Sync + 'static {
    /// Reads what there is at `offset`, at most `buf.len()` bytes; returns how many.
    fn read(&self, file: FileId, offset: u64, buf: &mut [u8]) -> Result<usize, StorageError>;
    /// Writes all of `data`. Blocks while writes are suspended.
    fn write(&self, file: FileId, offset: u64, data: &[u8]) -> Result<(), StorageError>;
    fn truncate(&self, file: FileId, len: u64) -> Result<(), StorageError>;
    /// The barrier: returns once everything written so far is durable where it must be (R2).
    fn sync(&self, file: FileId) -> Result<(), StorageError>;
    /// Notes that the last frame of a commit is written, and waits for nothing: others may see the commit
    /// from here on, and nobody may be told of it before it is [`Storage::durable`].
    fn commit(&self) -> Position;
    /// A place at or behind every commit that a statement can have seen which has ended.
    fn position(&self) -> Position;
    /// Returns once every commit up to there is durable where it must be (R2). Several that wait share one
    /// sync. Asks `go_on` meanwhile whether to wait on. After an error other than
    /// [`StorageError::GivenUp`] the outcome of those commits is unknown, and stays so in this process.
    fn durable(&self, position: Position, go_on: &dyn Fn() -> bool) -> Result<(), StorageError>;
    /// Bytes; 0 for a file that does not exist.
    fn len(&self, file: FileId) -> Result<u64, StorageError>;
    /// `SQLITE_FCNTL_CKPT_START` (true) and `SQLITE_FCNTL_CKPT_DONE` (false).
    fn checkpoint(&self, running: bool);
    /// A committed part of a file is not what was written there, and is not to be copied anywhere: this block
    /// of 4 KiB, from 0. The reading of it fails.
    fn damaged(&self, _file: FileId, _block: u64) {}
    /// Whether a result computed now may be given to a client: blocks while reads are suspended or
    /// the read lease is gone, and asks `go_on` meanwhile whether to wait on. Called before a read
    /// begins and again when it is ready.
    fn read_permit(&self, go_on: &dyn Fn() -> bool) -> Result<(), StorageError>;
}
