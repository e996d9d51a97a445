//! Why a file operation failed, kept for the thread whose SQLite call it failed.
//!
//! SQLite passes on a number only. The session that runs the statement runs its file operations on
//! the same thread, so the words wait for it in a thread-local.

use crate::engine::storage::{FileId, StorageError};
use rusqlite::ffi;
use std::cell::RefCell;
use thiserror::Error;

/// The cause behind SQLite's last I/O error or "full".
#[derive(Debug, Clone, Error)]
pub enum FileFault {
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// One transaction would have outgrown the log.
    #[error("the transaction would outgrow the log's limit of {0} bytes")]
    LogCap(u64),
    #[error("checksum mismatch in block {} of {}", .1, .0.name())]
    Damage(FileId, u64),
    #[error("{0}")]
    Misuse(String),
}

thread_local! {
    static LAST: RefCell<Option<FileFault>> = const { RefCell::new(None) };
}

/// Takes the last fault of this thread, so that it is reported once.
pub fn take_fault() -> Option<FileFault> {
    LAST.with(|last| last.borrow_mut().take())
}

/// Remembers `fault` and returns SQLite's code for it; `io_code` is that of the operation.
pub(super) fn remember(fault: impl Into<FileFault>, io_code: i32) -> i32 {
    let fault = fault.into();
    let code = match fault {
        // A failed sync leaves its frames in the log whatever the reason, so there "full" is an
        // I/O error too: its outcome is unknown.
        FileFault::Storage(StorageError::Full) if io_code != ffi::SQLITE_IOERR_FSYNC => ffi::SQLITE_FULL,
        FileFault::LogCap(_) => ffi::SQLITE_FULL,
        FileFault::Damage(..) => ffi::SQLITE_IOERR_DATA,
        FileFault::Storage(_) | FileFault::Misuse(_) => io_code,
    };
    LAST.with(|last| *last.borrow_mut() = Some(fault));
    code
}
