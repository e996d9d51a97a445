//! Comparing this side with its mirror, online: chunks are read here and asked for there, each at the
//! same place of the one ordered stream (see [`Pass`]).
//!
//! What differs is durable here before anybody hears of it: the blocks in the map, and in
//! `segment.meta` that this side is unjudged. And the mirror is told, so that it does not take over
//! before it was recovered.

use super::records::RecordError;
use super::state::{Engine, EngineError, Inner, Part};
use super::storage::{FileId, StorageError};
use crate::core::frame::Frame;
use crate::core::pair::primary::Mirroring;
use crate::core::report::{Soundness, Verification};
use crate::core::track::DirtyMap;
use crate::core::verify::{CHUNK_BYTES, Held, OutOfTurn, Pass, hashes};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use thiserror::Error;

/// How often a comparison that waits for the rate or for the mirror looks whether it is still wanted.
const LOOK: Duration = Duration::from_millis(100);

/// The comparison under way, or the last one. Its lock is taken under the engine's, never around it.
#[derive(Default)]
pub(super) struct Comparison(Mutex<Option<Pass>>);

impl Comparison {
    fn lock(&self) -> MutexGuard<'_, Option<Pass>> {
        // Every change is one call of the pure pass, so it is whole whenever the lock is free.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn report(&self) -> Option<Verification> {
        self.lock().as_ref().map(Pass::report)
    }

    /// Something about the pass of this operation; `None` when another one took its place.
    fn of<T>(&self, op: i64, look: impl FnOnce(&mut Pass) -> T) -> Option<T> {
        self.lock().as_mut().filter(|pass| pass.op() == op).map(look)
    }
}

/// Why the mirror's answer could not be used.
#[derive(Debug, Error)]
pub(super) enum AnswerError {
    #[error(transparent)]
    OutOfTurn(#[from] OutOfTurn),
    #[error("a difference could not be kept: {0}")]
    Keep(#[from] RecordError),
}

impl Engine {
    /// Compares every block with the mirror's, for an operation; said again for the same one it changes
    /// nothing. The report says how far it is. `rate_bytes` is a cap in bytes per second.
    pub fn verify(self: &Arc<Engine>, op: i64, rate_bytes: Option<u64>) {
        {
            let mut pass = self.comparison.lock();
            if pass.as_ref().is_some_and(|pass| pass.op() == op) {
                return;
            }
            *pass = Some(Pass::new(op, [0; 2]));
        }
        let engine = self.clone();
        let spawned = std::thread::Builder::new().name("verify".into()).spawn(move || engine.compare(op, rate_bytes));
        if let Err(error) = spawned {
            self.comparison.of(op, |pass| pass.fail(format!("no thread for it: {error}")));
        }
    }

    /// Ends the comparison of an operation.
    pub fn end_verify(&self, op: i64) {
        self.comparison.of(op, |pass| pass.fail("it was cancelled"));
        (self.notify)();
    }

    /// The blocks in which the mirror may differ; none while this is no acting primary.
    pub fn differing(&self) -> DirtyMap {
        match &self.lock().part {
            Part::Acting(acting) => acting.primary.possibly_different(),
            Part::Nobody | Part::Mirror(_) => DirtyMap::default(),
        }
    }

    /// Reads what no write changes half way: a page that a checkpoint is just writing is read before it
    /// or after it.
    pub fn read_settled(&self, file: FileId, offset: u64, buf: &mut [u8]) -> Result<usize, StorageError> {
        let _inner = self.lock();
        self.disk.read(file, offset, buf)
    }

    /// Makes durable whether this side's data may be copied over its mirror's: what is damaged, or nothing.
    pub fn judged(&self, damaged: Option<String>) -> Result<(), EngineError> {
        let mut inner = self.lock();
        if inner.meta.soundness == Soundness::Unjudged {
            let soundness = damaged.map_or(Soundness::Sound, |why| Soundness::Damaged { why });
            self.change_meta(&mut inner, |meta| meta.soundness = soundness)?;
        }
        drop(inner);
        self.announce();
        Ok(())
    }

    fn compare(&self, op: i64, rate_bytes: Option<u64>) {
        let (began, link_id) = (Instant::now(), self.lock().link_id);
        let mut asked_bytes = 0;
        while let Some(file) = self.wait_for_turn(op, link_id, rate_bytes, began, asked_bytes) {
            match self.ask(op, link_id, file) {
                Ok(len) => asked_bytes += len,
                Err(error) => {
                    self.disk_failed(&mut self.lock(), error);
                    break;
                }
            }
        }
        tracing::info!(op, report = ?self.comparison.report(), "comparison");
        (self.notify)();
    }

    /// Waits until one more chunk may be asked for; the file it is of. `None` at the end of the pass,
    /// however that came.
    fn wait_for_turn(
        &self,
        op: i64,
        link_id: u64,
        rate_bytes: Option<u64>,
        began: Instant,
        asked_bytes: u64,
    ) -> Option<FileId> {
        let rate = rate_bytes.filter(|rate| *rate > 0);
        let due = rate.map_or(began, |rate| began + Duration::from_secs_f64(asked_bytes as f64 / rate as f64));
        let mut inner = self.lock();
        loop {
            let in_sync = matches!(&inner.part, Part::Acting(a) if a.primary.mirroring() == Mirroring::InSync);
            if inner.link_id != link_id || !in_sync || inner.fenced.is_some() {
                self.comparison.of(op, |pass| pass.fail("the link to the mirror ended"));
                return None;
            }
            let (running, file, room) =
                self.comparison.of(op, |pass| (pass.is_running(), pass.next_file(), pass.has_room()))?;
            let early = due.checked_duration_since(Instant::now()).filter(|early| !early.is_zero());
            match (running, file, room, early) {
                (false, ..) => return None,
                (true, Some(file), true, None) => return Some(file),
                (true, _, _, early) => inner = self.wait_for(inner, early.unwrap_or(LOOK).min(LOOK)),
            }
        }
    }

    /// Reads the next chunk and puts its request into the stream; how long it is.
    fn ask(&self, op: i64, link_id: u64, file: FileId) -> Result<u64, StorageError> {
        let file_len = self.disk.len(file)?;
        let Some(Some(chunk)) = self.comparison.of(op, |pass| pass.next(file_len)) else { return Ok(0) };
        let mut bytes = vec![0; usize::try_from(CHUNK_BYTES).expect("a chunk fits into memory")];
        bytes.truncate(usize::try_from(chunk.len).expect("a chunk is at most that long"));
        // Read twice: first without the lock, for then no write waits for a disk that is slow to find it.
        self.disk.read(file, chunk.offset, &mut bytes)?;
        let mut inner = self.lock();
        if inner.link_id != link_id {
            return Ok(0);
        }
        let read = self.disk.read(file, chunk.offset, &mut bytes)?;
        let ours = Held { file_len: self.disk.len(file)?, hashes: hashes(&bytes[..read]) };
        if let Part::Acting(acting) = &mut inner.part
            && let Some(link) = &mut acting.link
            && self.comparison.of(op, |pass| pass.asked(chunk, ours)).is_some()
        {
            link.push(Frame::Hash(chunk));
            self.changed.notify_all();
        }
        Ok(chunk.len)
    }

    /// The mirror's hashes of a chunk, under the engine's lock.
    pub(super) fn take_hashes(
        &self,
        inner: &mut Inner,
        file: FileId,
        offset: u64,
        held: &Held,
    ) -> Result<(), AnswerError> {
        // What a pass that ended early had asked for is nobody's any more.
        let mut comparison = self.comparison.lock();
        let Some(pass) = comparison.as_mut().filter(|pass| pass.is_running()) else { return Ok(()) };
        let mut next = pass.clone();
        let runs = next.answered(file, offset, held)?;
        if !runs.is_empty() {
            if inner.meta.soundness == Soundness::Sound {
                self.change_meta(inner, |meta| meta.soundness = Soundness::Unjudged)?;
            }
            if let Part::Acting(acting) = &mut inner.part {
                runs.iter().for_each(|run| acting.primary.differs(*run));
                self.save_map(acting)?;
                if let Some(link) = &mut acting.link {
                    link.push(Frame::Differs);
                }
            }
            tracing::error!(?runs, "the mirror differs");
        }
        let ended = !next.is_running() || !runs.is_empty();
        *pass = next;
        drop(comparison);
        if ended {
            (self.notify)();
        }
        Ok(())
    }
}
