//! The way of SQLite's reads, writes and syncs through the engine.

use super::acting::{ACK_DEADLINE, Engine, Inner, Part, READ_LEASE};
use super::storage::{FileId, Storage, StorageError};
use crate::core::frame::Frame;
use crate::core::pair::primary::{Mirroring, Range, SyncNeeds};
use crate::core::report::MirrorLoss;
use std::sync::MutexGuard;
use std::time::{Duration, Instant};

/// How often who waits for a read permit is asked whether to go on.
const LOOK: Duration = Duration::from_millis(50);

impl Storage for Engine {
    fn read(&self, file: FileId, offset: u64, buf: &mut [u8]) -> Result<usize, StorageError> {
        self.disk.read(file, offset, buf)
    }

    fn write(&self, file: FileId, offset: u64, data: &[u8]) -> Result<(), StorageError> {
        let mut inner = self.pass_gate(data.len())?;
        if file == FileId::Main && !inner.checkpointing {
            self.note_write_outside_checkpoint(&mut inner)?;
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
        let mut inner = self.pass_gate(0)?;
        let old = self.disk.len(file)?;
        if let Err(error) = self.disk.set_len(file, len) {
            return Err(match error {
                StorageError::Full => error,
                error => self.disk_failed(&mut inner, error),
            });
        }
        let acting = inner.acting()?;
        if acting.primary.truncated(file, old, len)
            && let Some(link) = &mut acting.link
        {
            link.push(Frame::SetLen { file, len });
            self.changed.notify_all();
        }
        Ok(())
    }

    fn sync(&self, file: FileId) -> Result<(), StorageError> {
        let mut inner = self.pass_gate(0)?;
        let link_id = inner.link_id;
        let acting = inner.acting()?;
        let needs = acting.primary.sync(file);
        if let (SyncNeeds::Both(barrier), Some(link)) = (needs, &mut acting.link) {
            link.push_barrier(barrier);
            self.changed.notify_all();
        }
        drop(inner);
        if let Err(error) = self.disk.sync(file) {
            return Err(self.disk_failed(&mut self.lock(), error));
        }
        match needs {
            SyncNeeds::Local => Ok(()),
            SyncNeeds::LocalAndMap => {
                let mut inner = self.lock();
                match self.save_map(inner.acting()?).map_err(|e| e.as_storage()) {
                    // No room for the map: the checkpoint fails and is tried again; the log keeps its
                    // frames until then, and nothing is lost.
                    Err(StorageError::Full) => Err(StorageError::Full),
                    Err(error) => Err(self.disk_failed(&mut inner, error)),
                    Ok(()) => Ok(()),
                }
            }
            SyncNeeds::Both(barrier) => self.wait_for_mirror(link_id, barrier),
        }
    }

    fn len(&self, file: FileId) -> Result<u64, StorageError> {
        self.disk.len(file)
    }

    fn checkpoint(&self, running: bool) {
        self.lock().checkpointing = running;
    }

    fn read_permit(&self, go_on: &dyn Fn() -> bool) -> Result<(), StorageError> {
        let mut inner = self.lock();
        loop {
            let gate_closed = inner.gate_closed;
            let acting = inner.acting()?;
            let now = Instant::now();
            let too_early = acting.reads_from.is_some_and(|from| now < from);
            let wait = match acting.primary.mirroring() {
                Mirroring::Suspended => ACK_DEADLINE,
                _ if gate_closed => ACK_DEADLINE,
                _ if too_early => acting.reads_from.map_or(READ_LEASE, |from| from - now),
                // While the row says r the mirror can't be promoted, so no lease is needed.
                Mirroring::Mirrorless | Mirroring::Tracking | Mirroring::Resync => return Ok(()),
                Mirroring::InSync if acting.link.as_ref().is_some_and(|l| l.lease_holds()) => return Ok(()),
                Mirroring::InSync => READ_LEASE,
            };
            if !go_on() {
                return Err(StorageError::GivenUp);
            }
            inner = self.wait_for(inner, wait.clamp(Duration::from_millis(1), LOOK));
        }
    }
}

impl Engine {
    /// Waits until a write may pass: the gate is open, the mirror is not lost, the queue has room.
    fn pass_gate(&self, bytes: usize) -> Result<MutexGuard<'_, Inner>, StorageError> {
        let mut inner = self.lock();
        loop {
            let closed = inner.gate_closed;
            let acting = inner.acting()?;
            let full = acting.link.as_ref().is_some_and(|l| !l.has_room(bytes));
            if !closed && !full && acting.primary.mirroring() != Mirroring::Suspended {
                return Ok(inner);
            }
            inner = self.wait(inner);
        }
    }

    /// Sends, or marks, what the local file has just taken.
    fn forward(&self, inner: &mut Inner, file: FileId, offset: u64, data: &[u8]) {
        let Part::Acting(acting) = &mut inner.part else { return };
        let ranges = acting.primary.wrote(file, offset, data.len() as u64);
        let Some(link) = &mut acting.link else { return };
        for Range { offset: from, len } in &ranges {
            let start = usize::try_from(from - offset).expect("a range lies inside its write");
            let end = start + usize::try_from(*len).expect("a range lies inside its write");
            link.push(Frame::Data { file, offset: *from, bytes: data[start..end].to_vec() });
        }
        if !ranges.is_empty() {
            self.changed.notify_all();
        }
    }

    /// Waits for the mirror's answer to a barrier, or for the grant that makes it unnecessary.
    fn wait_for_mirror(&self, link_id: u64, barrier: u64) -> Result<(), StorageError> {
        let mut inner = self.lock();
        loop {
            let current = inner.link_id;
            let acting = inner.acting()?;
            match acting.primary.mirroring() {
                // The link was lost since: its unsynced blocks were marked, and tracking is granted
                // only after that map is durable, so our own sync is enough.
                Mirroring::Tracking | Mirroring::Mirrorless => return Ok(()),
                Mirroring::Resync | Mirroring::InSync if current != link_id => return Ok(()),
                Mirroring::Resync | Mirroring::InSync if acting.primary.is_answered(barrier) => return Ok(()),
                Mirroring::Resync | Mirroring::InSync | Mirroring::Suspended => inner = self.wait(inner),
            }
        }
    }

    /// A write to main.db that no log frame announces: after a crash nothing would name it.
    fn note_write_outside_checkpoint(&self, inner: &mut Inner) -> Result<(), StorageError> {
        if inner.meta.written_outside_checkpoint {
            return Ok(());
        }
        self.change_meta(inner, |meta| meta.written_outside_checkpoint = true).map_err(|e| e.as_storage())?;
        if let Part::Acting(acting) = &mut inner.part {
            acting.map_unusable = Some("main.db was written outside a checkpoint".into());
        }
        Ok(())
    }

    /// An I/O error is never retried: the segment stops, and the coordinator sees a dead primary.
    pub(super) fn disk_failed(&self, inner: &mut Inner, error: StorageError) -> StorageError {
        tracing::error!(%error, "the disk failed; the segment stops");
        inner.fence(&format!("its disk failed: {error}"));
        self.announce();
        error
    }

    /// The mirror is lost, said by a thread of link `link_id`; a stranger's word counts for nothing.
    pub(super) fn mirror_is_lost(&self, link_id: u64, loss: MirrorLoss) {
        let mut inner = self.lock();
        if inner.link_id == link_id && inner.fenced.is_none() {
            inner.lose_mirror(loss);
            drop(inner);
            self.announce();
        }
    }
}
