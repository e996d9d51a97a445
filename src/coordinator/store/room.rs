//! Room for decisions on a full disk: blocks that the catalog's log has before it needs them.
//!
//! A change of a row is written to SQLite's log, which is begun anew after a thousand pages and never cut
//! short. While the disk is full a checkpoint may fail, and the log grows into what was set aside here.

use super::{Store, StoreError};
use std::fs::{File, OpenOptions};
use std::io;
use std::path::PathBuf;

/// How much the log may hold before it asks the file system for more, in bytes: a thousand pages, which it
/// has anyway, and as much again for some seventy decisions.
pub(super) const LOG_ROOM_BYTES: u64 = 8 << 20;

impl Store {
    /// Sets the room aside; false where the file system can't do that. To be called while nobody else opens
    /// the catalog: the log is there as long as a connection is.
    pub fn set_room_aside(&self) -> Result<bool, StoreError> {
        let mut log = self.path.clone().into_os_string();
        log.push("-wal");
        let path = PathBuf::from(log);
        let open = OpenOptions::new().write(true).open(&path);
        // The log carries none of SQLite's locks, which closing this file would give up.
        open.and_then(|log| allocate(&log)).map_err(|source| StoreError::Io { path, source })
    }
}

/// Blocks beyond the end: the length stays SQLite's business.
#[cfg(target_os = "linux")]
fn allocate(file: &File) -> io::Result<bool> {
    use rustix::fs::{FallocateFlags, fallocate};
    use rustix::io::Errno;
    match fallocate(file, FallocateFlags::KEEP_SIZE, 0, LOG_ROOM_BYTES) {
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(false),
        result => Ok(result.map(|()| true)?),
    }
}

#[cfg(not(target_os = "linux"))]
fn allocate(_file: &File) -> io::Result<bool> {
    Ok(false)
}
