//! The way of SQLite's reads, writes and syncs through the engine.

use super::state::{Engine, Inner};
use super::storage::{FileId, Position, Storage, StorageError};
use crate::core::pair::replica::{Permit, Replica, Synced, Ticket, Time};
use crate::core::wal::WAL_HEADER_BYTES;
use std::convert::Infallible;
use std::sync::MutexGuard;
use std::time::Duration;

/// How often who waits for a read permit is asked whether to go on.
const LOOK: Duration = Duration::from_millis(50);
/// SQLite writes a frame in pieces, and a commit in frames: they leave together, with the sync, unless
/// there are so many bytes.
const SEND_BYTES: usize = 256 << 10;

impl Storage for Engine {
    fn read(&self, file: FileId, offset: u64, buf: &mut [u8]) -> Result<usize, StorageError> {
        self.disk.read(file, offset, buf)
    }

    fn write(&self, file: FileId, offset: u64, data: &[u8]) -> Result<(), StorageError> {
        let mut inner = self.pass_gate(&|| true)?;
        if inner.replica.is_unannounced(file) {
            self.transact(&mut inner, |replica| Ok::<_, Infallible>(replica.note_unannounced()))?;
        }
        match self.disk.write(file, offset, data) {
            Ok(()) => {
                self.forward(&mut inner, file, offset, data);
                Ok(())
            }
            Err(StorageError::Full) => {
                // A short write may have changed the file: what it holds now is what is sent.
                let mut held = vec![0; data.len()];
                match self.disk.read(file, offset, &mut held) {
                    Ok(read) => {
                        self.forward(&mut inner, file, offset, &held[..read]);
                        Err(StorageError::Full)
                    }
                    Err(error) => Err(self.disk_failed(&mut inner, error)),
                }
            }
            Err(error) => Err(self.disk_failed(&mut inner, error)),
        }
    }

    fn truncate(&self, file: FileId, len: u64) -> Result<(), StorageError> {
        let mut inner = self.pass_gate(&|| true)?;
        self.cut(&mut inner, file, len)
    }

    fn sync(&self, file: FileId) -> Result<(), StorageError> {
        let mut inner = self.pass_gate(&|| true)?;
        let noted = self.group.noted();
        let ticket = inner.replica.sync_begins(file, self.now())?;
        drop(inner);
        self.to_send.notify_all();
        self.sync_here(file)?;
        if ticket.needs_map() {
            let mut inner = self.lock();
            let saved = self.transact(&mut inner, Replica::synced_here);
            match saved.map_err(StorageError::from) {
                // No room for the map: the checkpoint fails and is tried again; the log keeps its
                // frames until then, and nothing is lost.
                Err(error @ (StorageError::Full | StorageError::Fenced(_))) => return Err(error),
                Err(error) => return Err(self.disk_failed(&mut inner, error)),
                Ok(_) => {}
            }
        }
        drop(self.wait_for_mirror(ticket, &|| true)?);
        if file == FileId::Wal {
            self.group.made_durable(noted);
        }
        Ok(())
    }

    fn commit(&self) -> Position {
        self.group.note()
    }

    fn position(&self) -> Position {
        self.group.noted()
    }

    fn durable(&self, position: Position, go_on: &dyn Fn() -> bool) -> Result<(), StorageError> {
        let began = self.now();
        self.group.wait(position, go_on, || self.lead(began, go_on))
    }

    fn len(&self, file: FileId) -> Result<u64, StorageError> {
        self.disk.len(file)
    }

    fn checkpoint(&self, running: bool) {
        self.lock().replica.checkpoint(running);
    }

    fn damaged(&self, file: FileId, block: u64) {
        self.met_damage(file, block);
    }

    fn read_permit(&self, go_on: &dyn Fn() -> bool) -> Result<(), StorageError> {
        let mut inner = self.lock();
        loop {
            let wait = match inner.replica.may_read(self.now())? {
                Permit::Granted => return Ok(()),
                Permit::Wait(time) => time,
            };
            if !go_on() {
                return Err(StorageError::GivenUp);
            }
            inner = self.wait_for(inner, wait.clamp(Duration::from_millis(1), LOOK));
        }
    }
}

impl Engine {
    /// Cuts off what former logs left behind the present one: a recovery copies the log, and this is no part
    /// of it. On a mirror it would be worse than needless, if frames of its own fitted there.
    pub(super) fn cut_former_logs(&self) -> Result<(), StorageError> {
        let mut inner = self.pass_gate(&|| true)?;
        match self.log_len(&inner)? {
            end if end < self.disk.len(FileId::Wal)? => self.cut(&mut inner, FileId::Wal, end),
            _ => Ok(()),
        }
    }

    /// Bytes of the log without what former logs left behind it.
    pub(super) fn log_len(&self, inner: &Inner) -> Result<u64, StorageError> {
        let len = self.disk.len(FileId::Wal)?;
        Ok(inner.log_end.map_or(len, |end| end.min(len)))
    }

    fn cut(&self, inner: &mut MutexGuard<'_, Inner>, file: FileId, len: u64) -> Result<(), StorageError> {
        let old = self.disk.len(file)?;
        if let Err(error) = self.disk.set_len(file, len) {
            return Err(match error {
                StorageError::Full => error,
                error => self.disk_failed(inner, error),
            });
        }
        if inner.replica.truncated(file, old, len) {
            self.to_send.notify_all();
        }
        Ok(())
    }

    /// Waits until a write may pass: the gate is open, the mirror is not lost, the queue has room.
    fn pass_gate(&self, go_on: &dyn Fn() -> bool) -> Result<MutexGuard<'_, Inner>, StorageError> {
        let mut inner = self.lock();
        loop {
            match inner.replica.may_write(self.now())? {
                Permit::Granted => return Ok(inner),
                Permit::Wait(_) if !go_on() => return Err(StorageError::GivenUp),
                Permit::Wait(time) => inner = self.wait_for(inner, time.min(LOOK)),
            }
        }
    }

    /// Leads one round of group commit: the local sync and the mirror's at the same time. Who leads has
    /// waited since `began`.
    fn lead(&self, began: Time, go_on: &dyn Fn() -> bool) -> Result<(), StorageError> {
        let mut inner = self.pass_gate(go_on)?;
        // Under the lock that orders writes: what is noted is written, and lies before the barrier.
        let covers = self.group.barrier_queued();
        let ticket = inner.replica.sync_begins(FileId::Wal, self.now())?;
        drop(inner);
        self.to_send.notify_all();
        self.sync_here(FileId::Wal)?;
        let mut inner = self.wait_for_mirror(ticket, go_on)?;
        self.note_commit(&mut inner, ticket, began);
        drop(inner);
        self.group.made_durable(covers);
        Ok(())
    }

    /// Syncs the local file. A sync that failed is never tried again: the segment stops.
    fn sync_here(&self, file: FileId) -> Result<(), StorageError> {
        self.disk.sync(file).map_err(|error| self.disk_failed(&mut self.lock(), error))
    }

    /// Queues, or marks, what the local file has just taken.
    fn forward(&self, inner: &mut Inner, file: FileId, offset: u64, data: &[u8]) {
        let end = offset + data.len() as u64;
        if file == FileId::Wal {
            let begins_anew = offset == 0 && end == WAL_HEADER_BYTES;
            inner.log_end = if begins_anew { Some(end) } else { inner.log_end.map(|before| before.max(end)) };
        }
        let sends = inner.replica.wrote(file, offset, data);
        let link = inner.replica.acting().ok().and_then(|acting| acting.link());
        if sends && link.is_some_and(|l| l.queued_bytes() >= SEND_BYTES) {
            self.to_send.notify_all();
        }
    }

    /// Waits for the mirror's answer to a sync, or for the grant that makes it unnecessary.
    fn wait_for_mirror(&self, ticket: Ticket, go_on: &dyn Fn() -> bool) -> Result<MutexGuard<'_, Inner>, StorageError> {
        let mut inner = self.lock();
        loop {
            match inner.replica.synced(ticket)? {
                Synced::Yes => return Ok(inner),
                Synced::NotYet if !go_on() => return Err(StorageError::GivenUp),
                Synced::NotYet => inner = self.wait_for(inner, LOOK),
            }
        }
    }
}
