//! A recorded run: its operations, and the states that it committed.

use crate::check::{Found, digest, look};
use crate::image::{Image, Op};
use crate::recording::Recording;
use rusqlite::Connection;
use segsh::engine::storage::Storage;
use segsh::segment::vfs::{self, CheckpointMode, Checkpointed, Handle};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A name for a VFS that nothing else of this process has.
pub fn unique_name() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("crash-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// One committed state of the database.
#[derive(Debug, Clone)]
pub struct State {
    /// Operations recorded before the transaction that made it began.
    pub begun: usize,
    /// Operations recorded when it was acknowledged; more than there can be while it is not.
    pub acknowledged: usize,
    /// What the tables hold.
    pub digest: [u8; 32],
}

/// What came of a workload.
pub struct Recorded {
    pub name: &'static str,
    pub ops: Vec<Op>,
    /// In the order they were committed; a segment's counter `acked` numbers them.
    pub states: Vec<State>,
    /// Opens an image of this run and says which of the states stands.
    pub look: fn(&Recorded, Image) -> Found,
}

impl Recorded {
    /// The state that must stand at least after a crash at `cut`; `None` before the first one.
    pub fn least(&self, cut: usize) -> Option<usize> {
        self.states.iter().rposition(|s| s.acknowledged <= cut)
    }

    /// The newest state that can stand after a crash at `cut`.
    pub fn most(&self, cut: usize) -> Option<usize> {
        self.states.iter().rposition(|s| s.begun <= cut)
    }
}

/// A workload under way: a database on a recording storage, opened the production way.
pub struct Session {
    name: &'static str,
    recording: Arc<Recording>,
    pub vfs: Handle,
    pub db: Connection,
    states: Vec<State>,
}

impl Session {
    /// Makes the database with its counter and the workload's tables, which is state 0.
    pub fn start(name: &'static str, tables: &str) -> Session {
        let recording = Arc::new(Recording::default());
        let vfs = vfs::register(&unique_name(), recording.clone()).expect("a new database");
        let db = vfs::open(&vfs).expect("a connection");
        let mut session = Session { name, recording, vfs, db, states: Vec::new() };
        session.transaction(|db| {
            db.execute_batch("CREATE TABLE acked (one INTEGER PRIMARY KEY CHECK (one = 1), n INTEGER NOT NULL)")?;
            db.execute_batch(tables)
        });
        session
    }

    /// One acknowledged transaction: `body`, and the counter with it.
    pub fn transaction(&mut self, body: impl FnOnce(&Connection) -> rusqlite::Result<()>) {
        self.run(body);
        self.acknowledge();
    }

    /// A transaction that everybody can see, and that waits for [`Session::acknowledge`].
    pub fn owed(&mut self, body: impl FnOnce(&Connection) -> rusqlite::Result<()>) {
        vfs::owing(|| self.run(body));
    }

    /// The sync that all transactions share which wait for it; then they are acknowledged.
    pub fn acknowledge(&mut self) {
        if let Some(position) = vfs::take_owed() {
            self.recording.durable(position, &|| true).expect("a recording never fails");
        }
        let now = Recording::position(&self.recording);
        self.states.iter_mut().for_each(|state| state.acknowledged = state.acknowledged.min(now));
    }

    fn run(&mut self, body: impl FnOnce(&Connection) -> rusqlite::Result<()>) {
        let begun = Recording::position(&self.recording);
        let run = |db: &Connection| {
            db.execute_batch("BEGIN IMMEDIATE")?;
            body(db)?;
            db.execute("INSERT OR REPLACE INTO acked VALUES (1, ?1)", [self.states.len() as i64])?;
            db.execute_batch("COMMIT")
        };
        run(&self.db).unwrap_or_else(|e| panic!("{}: {e}", self.name));
        let digest = digest(&self.db).expect("readable tables");
        self.states.push(State { begun, acknowledged: usize::MAX, digest });
    }

    /// Something that leaves the tables as they are: a rolled back transaction, VACUUM.
    pub fn unchanged(&mut self, body: impl FnOnce(&Connection) -> rusqlite::Result<()>) {
        body(&self.db).unwrap_or_else(|e| panic!("{}: {e}", self.name));
        let now = digest(&self.db).expect("readable tables");
        let last = self.states.last().expect("state 0");
        assert_eq!(last.digest, now, "{}: it was to change nothing", self.name);
    }

    pub fn vacuum(&mut self) {
        self.unchanged(|db| vfs::with_vacuum_allowed(db, || db.execute_batch("VACUUM")));
    }

    pub fn checkpoint(&self, mode: CheckpointMode) -> Checkpointed {
        vfs::checkpoint(&self.db, mode).unwrap_or_else(|e| panic!("{}: {e}", self.name))
    }

    /// Another connection to the same database.
    pub fn connect(&self) -> Connection {
        vfs::open(&self.vfs).expect("a connection")
    }

    pub fn finish(self) -> Recorded {
        Recorded { name: self.name, ops: self.recording.ops(), states: self.states, look: |_, image| look(image) }
    }
}
