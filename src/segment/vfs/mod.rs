//! SQLite's files on the engine's [`Storage`]: the only `unsafe` of this package.
//!
//! One VFS per process and database ([`register`]), one way to open a connection ([`open`]). WAL
//! with the index on this process's heap, `synchronous=FULL`, no memory mapping, no other files; a
//! checksum in every page of `main.db`. A commit is synced before anybody can see it, unless its
//! thread owes the wait ([`owing`]).
//!
//! `methods` and `register` are SQLite's C interface; what they do stands in safe Rust in `file`
//! and `node`.

mod checkpoint;
mod checksum;
mod create;
mod fault;
mod file;
mod gate;
mod hold;
mod methods;
mod node;
mod owed;
mod pragma;
mod register;
mod shm;
mod snapshot;

pub use checkpoint::{CheckpointConfig, Checkpointed, Checkpointer, Mode as CheckpointMode, checkpoint};
pub use checksum::{PAGE_SIZE, PageFault, RESERVED, seal_page, verify_page};
pub use fault::{FileFault, take_fault};
pub use gate::{Closed, Gate, KeptOpen, Pass};
pub use node::Committed;
pub use owed::{owes, owing, take_owed};
pub use snapshot::{Held, Snapshot, SnapshotError};

use crate::engine::storage::{FileId, Storage, StorageError};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use thiserror::Error;

/// The log never grows beyond this: a transaction that would is failed.
pub const DEFAULT_LOG_CAP: u64 = 256 << 20;

/// Sessions queue for writing, so SQLite itself is busy only for moments (a log's recovery, a
/// checkpoint's last step).
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// Prepared statements a connection keeps.
const CACHED_STATEMENTS: usize = 64;

/// Why a database could not be set up.
#[derive(Debug, Error)]
pub enum VfsError {
    #[error("`{0}` can't name a VFS: it is taken, or has a zero byte")]
    Name(String),
    #[error("SQLite refused the VFS (code {0})")]
    Register(i32),
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// `main.db` is empty but its log is not: the two do not belong together.
    #[error("main.db is empty, but its log holds {0} bytes")]
    OrphanedLog(u64),
    #[error("main.db is not a database of this program: {0}")]
    Foreign(String),
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
}

/// A registered database; clones share it. When the last one is dropped no further connection can
/// be opened; those that are open go on.
#[derive(Clone)]
pub struct Handle {
    registration: Arc<register::Registration>,
}

/// Makes `storage` a database under the process-wide unique `name`, and gives it an empty
/// `main.db` when it has none.
pub fn register(name: &str, storage: Arc<dyn Storage>) -> Result<Handle, VfsError> {
    create::create_if_empty(&*storage)?;
    Ok(Handle { registration: Arc::new(register::register(name, storage)?) })
}

/// Opens a connection: the only way to one.
pub fn open(vfs: &Handle) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags_and_vfs(
        FileId::Main.name(),
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
        vfs.registration.name.as_c_str(),
    )?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(CACHED_STATEMENTS);
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    // The last session to leave must not pay for a checkpoint, and a demoted primary must not
    // begin one.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    connection.execute_batch("PRAGMA synchronous = FULL; PRAGMA temp_store = MEMORY; PRAGMA foreign_keys = ON;")?;
    connection.pragma_update_and_check(None, "wal_autocheckpoint", 0, |_| Ok(()))?;
    check_contract(&connection)?;
    register::set_attach_limit(&connection, 0);
    Ok(connection)
}

/// Refuses a database on which the engine's reasoning would not hold.
fn check_contract(connection: &Connection) -> rusqlite::Result<()> {
    let text = |name: &str| {
        connection.query_row(&format!("PRAGMA {name}"), [], |row| {
            row.get_ref(0).map(|v| match v {
                rusqlite::types::ValueRef::Integer(n) => n.to_string(),
                other => other.as_str().unwrap_or_default().to_owned(),
            })
        })
    };
    let reserved = register::reserved_bytes(connection).unwrap_or(-1).to_string();
    let found = [
        ("journal_mode", "wal", text("journal_mode")?),
        ("synchronous", "2", text("synchronous")?),
        ("page_size", "4096", text("page_size")?),
        ("locking_mode", "normal", text("locking_mode")?),
        ("reserved bytes", "8", reserved),
    ];
    match found.iter().find(|(_, want, have)| want != have) {
        None => Ok(()),
        Some((name, want, have)) => Err(rusqlite::Error::SqliteFailure(
            rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_NOTADB),
            Some(format!("{name} is {have}, not {want}")),
        )),
    }
}

/// Runs `body` with the one attached database that VACUUM makes for itself.
pub fn with_vacuum_allowed<T>(connection: &Connection, body: impl FnOnce() -> T) -> T {
    register::set_attach_limit(connection, 1);
    let result = body();
    register::set_attach_limit(connection, 0);
    result
}

impl Handle {
    /// Blocks of `main.db` (4 KiB, from 0) that failed their checksum since the process started.
    pub fn damage(&self) -> Vec<u64> {
        self.registration.node.damage(FileId::Main)
    }

    /// Pages in either file that failed their checksum since the process started.
    pub fn damaged_pages(&self) -> u64 {
        FileId::ALL.into_iter().map(|file| self.registration.node.damage(file).len() as u64).sum()
    }

    /// The committed part of the log, by the index that readers go by; `None` while that changes.
    pub fn committed(&self) -> Option<Committed> {
        self.registration.node.committed()
    }

    /// Where the live part of the log ends; the file may be longer.
    pub fn log_bytes(&self) -> u64 {
        self.registration.node.log_end()
    }

    /// The log's hard limit.
    pub fn log_cap(&self) -> u64 {
        self.registration.node.log_cap.load(Ordering::Relaxed)
    }

    /// Changes the log's hard limit; a transaction that would pass it fails.
    pub fn set_log_cap(&self, bytes: u64) {
        self.registration.node.log_cap.store(bytes, Ordering::Relaxed);
    }

    /// The storage below.
    pub fn storage(&self) -> Option<Arc<dyn Storage>> {
        self.registration.storage()
    }
}
