//! Checkpoints, off the commit path, and the cap on the log.
//!
//! A passive checkpoint hinders nobody, and lets the next writer start the log anew when no reader
//! needs the old one. Constant readers prevent that, so a longer log is emptied behind the closed
//! gate. When even that cannot be had and the log nears its cap, whoever holds it up is evicted.

use super::{Gate, Handle, open, register};
use rusqlite::Connection;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// How a checkpoint treats others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Copies what it can without waiting for anybody.
    Passive,
    /// Waits for readers and writers, and empties the log.
    Truncate,
}

/// What a checkpoint did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checkpointed {
    /// Somebody was in the way.
    pub busy: bool,
    /// Frames in the log.
    pub log_frames: i64,
    /// Frames that are in `main.db` now.
    pub copied_frames: i64,
}

impl Checkpointed {
    /// Everything in the log is in `main.db` too.
    pub fn is_complete(&self) -> bool {
        !self.busy && self.log_frames == self.copied_frames
    }
}

/// Runs one checkpoint on a connection from [`open`].
pub fn checkpoint(connection: &Connection, mode: Mode) -> rusqlite::Result<Checkpointed> {
    // The pragma of the same name is refused to sessions, so this goes past it.
    register::run_checkpoint(connection, mode)
}

/// When the checkpointer acts.
#[derive(Debug, Clone, Copy)]
pub struct CheckpointConfig {
    /// New log since the last checkpoint that starts a passive one.
    pub passive_bytes: u64,
    /// Length of the live log that closes the gate.
    pub gate_bytes: u64,
    /// Length of the live log at which whoever holds up the gate is evicted.
    pub evict_bytes: u64,
    /// How long the gate waits for those inside before it opens again.
    pub patience: Duration,
    /// How often the log is looked at.
    pub interval: Duration,
}

impl Default for CheckpointConfig {
    fn default() -> Self {
        CheckpointConfig {
            passive_bytes: 4 << 20,
            gate_bytes: 64 << 20,
            evict_bytes: 192 << 20,
            patience: Duration::from_millis(200),
            interval: Duration::from_millis(50),
        }
    }
}

/// Before the gate closes, the log is copied until no more than this is new.
const CAUGHT_UP_BYTES: u64 = 256 << 10;

#[derive(Default)]
struct Shared {
    stopped: Mutex<bool>,
    wake: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, bool> {
        self.stopped.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The checkpointer's thread. It ends when this is dropped.
pub struct Checkpointer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Checkpointer {
    /// Starts the thread with a connection of its own. `evict` is called when open transactions
    /// keep the log from being emptied although it nears its cap; it should fail them.
    pub fn start(
        vfs: &Handle,
        gate: Arc<Gate>,
        config: CheckpointConfig,
        evict: Box<dyn Fn() + Send>,
    ) -> rusqlite::Result<Checkpointer> {
        let connection = open(vfs)?;
        let shared = Arc::new(Shared::default());
        let mut worker = Worker {
            connection,
            vfs: vfs.clone(),
            gate,
            config,
            evict,
            shared: Arc::clone(&shared),
            copied_to: 0,
            failure: String::new(),
        };
        let thread = std::thread::Builder::new()
            .name("checkpointer".to_owned())
            .spawn(move || worker.run())
            .map_err(|e| rusqlite::Error::ToSqlConversionFailure(Box::new(e)))?;
        Ok(Checkpointer { shared, thread: Some(thread) })
    }

    /// Ends the thread after the checkpoint it is in, if any. Called on drop too.
    pub fn stop(&mut self) {
        *self.shared.lock() = true;
        self.shared.wake.notify_all();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the checkpointer panicked");
        }
    }

    /// Tells the thread to end without waiting for it: for a process that is fenced or leaving,
    /// whose storage may never answer again.
    pub fn abandon(mut self) {
        *self.shared.lock() = true;
        self.shared.wake.notify_all();
        self.thread = None;
    }
}

impl Drop for Checkpointer {
    fn drop(&mut self) {
        self.stop();
    }
}

struct Worker {
    connection: Connection,
    vfs: Handle,
    gate: Arc<Gate>,
    config: CheckpointConfig,
    evict: Box<dyn Fn() + Send>,
    shared: Arc<Shared>,
    /// The log's end at the last complete checkpoint.
    copied_to: u64,
    /// How the last one failed; empty when it did not.
    failure: String,
}

impl Worker {
    fn run(&mut self) {
        loop {
            {
                let stopped = self.shared.lock();
                let (stopped, _) = self
                    .shared
                    .wake
                    .wait_timeout_while(stopped, self.config.interval, |s| !*s)
                    .unwrap_or_else(PoisonError::into_inner);
                if *stopped {
                    return;
                }
            }
            match self.look() {
                Ok(()) => self.failure.clear(),
                // The storage knows why, and ends the process if it must; a full disk passes.
                Err(e) => self.tell(format!("{e} {:?}", super::take_fault())),
            }
        }
    }

    /// A checkpoint that fails is tried again at once and for long: it is told once for each reason.
    fn tell(&mut self, failure: String) {
        if self.failure != failure {
            tracing::warn!(failure, "checkpoint failed");
            self.failure = failure;
        }
    }

    fn look(&mut self) -> rusqlite::Result<()> {
        let log = self.vfs.log_bytes();
        if log < self.copied_to {
            // A writer has started the log anew.
            self.copied_to = 0;
        }
        if log.saturating_sub(self.copied_to) >= self.config.passive_bytes {
            self.passive(log)?;
        }
        if self.vfs.log_bytes() >= self.config.gate_bytes {
            self.catch_up()?;
            // A writer may have begun the log anew meanwhile: then nobody has to wait.
            let log = self.vfs.log_bytes();
            if log >= self.config.gate_bytes {
                self.empty(log)?;
            }
        }
        Ok(())
    }

    /// What is copied now, nobody waits for behind the gate; each round has only what was written during
    /// the one before. One that gets nowhere, because a reader is in the way, is the last; and whoever
    /// writes faster than that has to wait, or the log would grow to its cap.
    fn catch_up(&mut self) -> rusqlite::Result<()> {
        let enough = self.config.gate_bytes + self.config.gate_bytes / 4;
        loop {
            let (log, before) = (self.vfs.log_bytes(), self.copied_to);
            if log.saturating_sub(before) <= CAUGHT_UP_BYTES || log >= enough {
                return Ok(());
            }
            self.passive(log)?;
            if self.copied_to <= before {
                return Ok(());
            }
        }
    }

    fn passive(&mut self, log: u64) -> rusqlite::Result<()> {
        let done = checkpoint(&self.connection, Mode::Passive)?;
        tracing::debug!(?done, log, "passive checkpoint");
        if done.is_complete() {
            self.copied_to = log;
        }
        Ok(())
    }

    fn empty(&mut self, log: u64) -> rusqlite::Result<()> {
        // Whoever keeps it open gives way before the log is full; to evict sessions would not help.
        if self.gate.is_kept_open() {
            return Ok(());
        }
        let shared = Arc::clone(&self.shared);
        let go_on = move || !*shared.lock();
        let gate = Arc::clone(&self.gate);
        let mut closed = gate.close(self.config.patience, &go_on);
        if closed.is_none() && log >= self.config.evict_bytes && go_on() {
            tracing::warn!(log, "open transactions hold up the log; they are failed");
            (self.evict)();
            closed = gate.close(self.config.patience, &go_on);
        }
        if closed.is_none() {
            return Ok(());
        }
        let done = checkpoint(&self.connection, Mode::Truncate)?;
        tracing::debug!(?done, log, "the log was emptied");
        if done.is_complete() {
            self.copied_to = 0;
        }
        Ok(())
    }
}
