//! The segment's database as its sessions see it: opened once, when the process becomes the acting
//! primary, and refused to everybody before.

use super::vfs::{self, CheckpointConfig, Checkpointer, Gate, Handle, VfsError};
use crate::core::ids::Content;
use crate::engine::Engine;
use crate::engine::storage::{Position, Storage, StorageError};
use crate::sql::{self, Client, Sessions, SqlError, SqlHost, WriteQueue};
use rusqlite::Connection;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;
use thiserror::Error;
use tokio::net::{TcpStream, UnixListener};

/// How long sessions may take to let go in a drain; then they lose their socket.
const DRAIN_PATIENCE: Duration = Duration::from_secs(2);
/// How long sessions may take to say goodbye when the process leaves.
const GOODBYE_PATIENCE: Duration = Duration::from_millis(500);
/// How often a smart stop looks whether the last session has left.
const SMART_LOOK: Duration = Duration::from_millis(100);

#[derive(Debug, Error)]
pub enum DatabaseError {
    #[error(transparent)]
    Vfs(#[from] VfsError),
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
}

struct Open {
    vfs: Handle,
    /// Runs checkpoints until the process ends.
    _checkpointer: Mutex<Checkpointer>,
}

/// What sessions ask of this segment.
struct Host {
    content: Content,
    engine: Arc<Engine>,
    queue: Arc<WriteQueue>,
    gate: Arc<Gate>,
    open: OnceLock<Open>,
}

impl SqlHost for Host {
    fn open(&self, client: &Client) -> Result<Connection, SqlError> {
        let mine = format!("content{}", self.content);
        if client.database != mine {
            let message = format!("database \"{}\" does not exist; this segment has {mine}", client.database);
            return Err(SqlError::fatal(sql::state::NO_DATABASE, message));
        }
        let Some(open) = self.open.get() else {
            let message = format!("this segment is not the acting primary of content {}", self.content);
            return Err(SqlError::fatal(sql::state::CANNOT_CONNECT, message));
        };
        vfs::open(&open.vfs).map_err(|e| SqlError::fatal(sql::state::CANNOT_CONNECT, e.to_string()))
    }

    fn write_queue(&self) -> &Arc<WriteQueue> {
        &self.queue
    }

    fn gate(&self) -> Option<&Arc<Gate>> {
        Some(&self.gate)
    }

    fn read_permit(&self, go_on: &dyn Fn() -> bool) -> Result<(), StorageError> {
        self.engine.read_permit(go_on)
    }

    fn position(&self) -> Position {
        self.engine.position()
    }

    fn durable(&self, position: Position, go_on: &dyn Fn() -> bool) -> Result<(), StorageError> {
        self.engine.durable(position, go_on)
    }
}

/// The database of one segment process.
pub struct Database {
    host: Arc<Host>,
    sessions: Arc<Sessions>,
    taking: Mutex<()>,
}

impl Database {
    /// A database that nobody may open yet.
    pub fn closed(content: Content, engine: Arc<Engine>) -> Database {
        let host = Host { content, engine, queue: WriteQueue::new(), gate: Gate::new(), open: OnceLock::new() };
        Database { host: Arc::new(host), sessions: Sessions::new(), taking: Mutex::default() }
    }

    /// Opens it: this process is the acting primary now. SQLite replays the log here.
    pub fn open(&self) -> Result<(), DatabaseError> {
        let vfs = vfs::register("segment", self.host.engine.clone())?;
        let sessions = self.sessions.clone();
        let evict = Box::new(move || {
            let drained = sessions.fail_transactions("the log must be emptied", DRAIN_PATIENCE);
            tracing::warn!(?drained, "open transactions kept the log from being emptied");
        });
        let checkpointer = Checkpointer::start(&vfs, self.host.gate.clone(), CheckpointConfig::default(), evict)?;
        let open = Open { vfs, _checkpointer: Mutex::new(checkpointer) };
        if self.host.open.set(open).is_err() {
            unreachable!("a process becomes the acting primary once");
        }
        Ok(())
    }

    /// The open database's files; `None` while this process is not the acting primary.
    pub fn files(&self) -> Option<Handle> {
        self.host.open.get().map(|open| open.vfs.clone())
    }

    /// Held by the one who fills the files, before there is a database.
    pub fn taking(&self) -> &Mutex<()> {
        &self.taking
    }

    /// The gate of the sessions stays open while somebody reads the log for long.
    pub fn keep_gate_open(&self) -> vfs::KeptOpen {
        self.host.gate.keep_open()
    }

    pub async fn serve_stream(&self, stream: TcpStream) -> std::io::Result<()> {
        sql::serve_stream(self.host.clone(), self.sessions.clone(), stream).await
    }

    /// Serves the owner-only socket for as long as the process lives.
    pub async fn serve_local(&self, listener: UnixListener) {
        sql::accept_unix(self.host.clone(), self.sessions.clone(), listener).await;
    }

    /// Sessions that came to the owner-only socket: no front knows of them.
    pub fn local_sessions(&self) -> u64 {
        u64::try_from(self.sessions.count_local()).unwrap_or(u64::MAX)
    }

    /// Holds new statements, cancels running ones with 40001, fails open transactions, finishes
    /// commits in flight. Blocks.
    pub fn drain(&self) {
        let drained = self.sessions.drain("the segment's role is being switched", DRAIN_PATIENCE);
        tracing::info!(?drained, "drained");
    }

    /// Ends every session with the reason, which tells whoever waits behind the drain that nothing of his
    /// statement was committed. Blocks.
    pub fn leave(&self, why: &str) {
        let silent = self.sessions.close_all(why, GOODBYE_PATIENCE);
        tracing::info!(silent, why, "sessions ended");
    }

    pub fn resume(&self) {
        self.sessions.resume();
    }

    /// A smart stop waits for the sessions to leave by themselves.
    pub async fn wait_for_sessions(&self) {
        while self.sessions.count() > 0 {
            tokio::time::sleep(SMART_LOOK).await;
        }
    }
}
