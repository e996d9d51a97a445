//! The mirror's end of a link: one thread a connection, which applies frames in their order.

use super::behind::{Ahead, Behind};
use super::link::{ReadError, read_frame_into};
use super::state::{Engine, EngineError, Inner, Undone};
use super::storage::StorageError;
use crate::core::frame::Frame;
use crate::core::pair::replica::{ACK_DEADLINE, Applier, ApplierEnd, Breach, Effect};
use crate::core::report::Phase;
use std::io::BufReader;
use std::net::TcpStream;
use std::sync::{Arc, MutexGuard, mpsc};
use std::time::Instant;
use thiserror::Error;

/// Bytes read from the socket at a time: a frame's header rarely costs a system call of its own. Longer
/// data go past the buffer.
const READ_BUFFER_BYTES: usize = 32 << 10;

#[derive(Debug, Error)]
pub(super) enum ApplyError {
    #[error("{0}")]
    Link(#[from] ReadError),
    #[error(transparent)]
    Breach(#[from] Breach),
    /// The mirror's own disk failed it; the primary is told why.
    #[error(transparent)]
    Disk(#[from] EngineError),
}

impl From<Undone<Breach>> for ApplyError {
    fn from(undone: Undone<Breach>) -> ApplyError {
        match undone {
            Undone::Event(breach) => ApplyError::Breach(breach),
            Undone::Effect(error) => ApplyError::Disk(error),
        }
    }
}

impl ApplyError {
    fn end(&self) -> ApplierEnd {
        use std::io::ErrorKind::{TimedOut, WouldBlock};
        match self {
            ApplyError::Link(ReadError::Ended) => ApplierEnd::Closed,
            ApplyError::Link(ReadError::Io(e)) if !matches!(e.kind(), WouldBlock | TimedOut) => ApplierEnd::Closed,
            ApplyError::Link(_) | ApplyError::Breach(_) => ApplierEnd::GivenUp,
            ApplyError::Disk(error) => ApplierEnd::Disk(error.to_string()),
        }
    }
}

impl Engine {
    /// Takes the one link of this process, if it waits for one; the applier runs until it ends.
    /// The primary may have heard of the recovery first: then this waits for the order. Blocks.
    pub fn accept_link(self: &Arc<Engine>, stream: TcpStream) -> Result<(), EngineError> {
        let refuse = |e: std::io::Error| EngineError::Refused(e.to_string());
        // A primary that opens a link and then says nothing must not hold the mirror for ever; its
        // pings come ten times as often.
        stream.set_read_timeout(Some(ACK_DEADLINE * 2)).map_err(refuse)?;
        // An answer to a barrier is a small packet that a commit waits for.
        stream.set_nodelay(true).map_err(refuse)?;
        let reader = stream.try_clone().map_err(refuse)?;
        let mut inner = self.await_order();
        let applier = inner.replica.link_arrived()?;
        let engine = self.clone();
        let spawned = std::thread::Builder::new().name("apply".into()).spawn(move || engine.apply(applier, reader));
        match spawned {
            Ok(handle) => inner.appliers.push(handle),
            Err(error) => {
                inner.replica.applier_joined();
                return Err(refuse(error));
            }
        }
        inner.streams.push(stream);
        drop(inner);
        self.announce();
        Ok(())
    }

    /// The engine's state once it is somebody, or once the order is overdue.
    fn await_order(&self) -> MutexGuard<'_, Inner> {
        let asked = Instant::now();
        let mut inner = self.lock();
        while inner.replica.phase() == Phase::Nobody && asked.elapsed() < ACK_DEADLINE {
            inner = self.wait_for(inner, ACK_DEADLINE.saturating_sub(asked.elapsed()));
        }
        inner
    }

    fn apply(&self, mut applier: Applier, stream: TcpStream) {
        let behind = match stream.try_clone() {
            Ok(writer) => Behind::new(writer),
            Err(error) => return tracing::warn!(%error, "link"),
        };
        let mut reader = BufReader::with_capacity(READ_BUFFER_BYTES, stream);
        let (jobs, taken) = mpsc::channel();
        let error = std::thread::scope(|scope| {
            let its = &behind;
            let spawned = std::thread::Builder::new()
                .name("sync".into())
                .spawn_scoped(scope, move || self.sync_behind(its, taken));
            if let Err(error) = spawned {
                return ApplyError::Link(ReadError::Io(error));
            }
            // Dropped at the end of this block, which lets the other thread end.
            let mut ahead = Ahead::new(&behind, jobs);
            let mut room = Vec::new();
            loop {
                if let Err(error) = self.apply_next(&mut applier, &mut reader, &behind, &mut ahead, &mut room) {
                    break behind.failure().unwrap_or(error);
                }
            }
        });
        // A sync that failed while the applier was ending already is the worse news.
        let error = behind.failure().unwrap_or(error);
        tracing::info!(%error, "link ended");
        // The primary may be gone already; then nobody needs to hear why.
        behind.end(&Frame::Failed(error.to_string()));
        self.lock().replica.link_ended(&applier, error.end());
        self.announce();
    }

    /// Applies the next frame; `room` is where its data are read to, and is kept for the one after it.
    fn apply_next(
        &self,
        applier: &mut Applier,
        reader: &mut BufReader<TcpStream>,
        behind: &Behind,
        ahead: &mut Ahead<'_>,
        room: &mut Vec<u8>,
    ) -> Result<(), ApplyError> {
        let mut frame = read_frame_into(reader, std::mem::take(room))?;
        let is_barrier = matches!(frame, Frame::Barrier(_));
        let answers = match applier.data(&mut frame) {
            // Data takes no lock: the link's order is the files' order.
            Some(effects) if is_barrier => {
                return match ahead.barrier(effects)? {
                    Some(effects) => self.answer_barrier(behind, effects),
                    None => Ok(()),
                };
            }
            Some(effects) => self.write_data(effects, ahead, room)?,
            None => {
                if matches!(frame, Frame::Consistent { .. }) {
                    ahead.settle()?;
                }
                let mut inner = self.lock();
                let now = self.now();
                self.transact(&mut inner, |replica| replica.apply(applier, frame, &self.disk, now))?
            }
        };
        for answer in answers {
            let frame = match answer {
                Effect::Answer(frame) => frame,
                Effect::Hash(chunk) => {
                    let held = self.hold(chunk).map_err(EngineError::from)?;
                    Frame::Hashes { file: chunk.file, offset: chunk.offset, held }
                }
                _ => continue,
            };
            behind.answer(&frame)?;
        }
        Ok(())
    }

    /// Carries out what a frame of data asks for; returns what it asks for beside that.
    fn write_data(
        &self,
        effects: Vec<Effect>,
        ahead: &mut Ahead<'_>,
        room: &mut Vec<u8>,
    ) -> Result<Vec<Effect>, EngineError> {
        let mut others = Vec::new();
        for effect in effects {
            let Effect::Write { file, offset, bytes } = effect else {
                others.push(effect);
                continue;
            };
            self.disk.write(file, offset, &bytes)?;
            if let Some((file, offset, len)) = ahead.wrote(file, offset, bytes.len() as u64) {
                self.disk.write_back(file, offset, len);
            }
            *room = bytes;
        }
        self.carry_out(others)
    }

    /// Waits until nobody applies any more (R3); their connections are closed already.
    pub(super) fn join_appliers<'a>(
        &'a self,
        mut inner: MutexGuard<'a, Inner>,
    ) -> Result<MutexGuard<'a, Inner>, EngineError> {
        let appliers = std::mem::take(&mut inner.appliers);
        drop(inner);
        let count = appliers.len();
        for applier in appliers {
            // Half a frame may have been applied, and nobody knows by whom.
            applier.join().map_err(|_| StorageError::Io("an applier failed".into()))?;
        }
        let mut inner = self.lock();
        (0..count).for_each(|_| inner.replica.applier_joined());
        Ok(inner)
    }
}
