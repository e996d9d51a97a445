//! The mirror's end of a link: one thread a connection, which applies frames in their order.

use super::link::{ReadError, read_frame, write_frame};
use super::state::{Engine, EngineError, Inner, Undone};
use super::storage::StorageError;
use crate::core::frame::Frame;
use crate::core::pair::replica::{ACK_DEADLINE, Applier, ApplierEnd, Breach, Effect};
use crate::core::report::Phase;
use std::io::BufReader;
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, MutexGuard};
use std::time::Instant;
use thiserror::Error;

/// Bytes read from the socket at a time: a frame's header rarely costs a system call of its own.
const READ_BUFFER_BYTES: usize = 256 << 10;

#[derive(Debug, Error)]
enum ApplyError {
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
        let mut writer = match stream.try_clone() {
            Ok(writer) => writer,
            Err(error) => return tracing::warn!(%error, "link"),
        };
        let mut reader = BufReader::with_capacity(READ_BUFFER_BYTES, stream);
        let error = loop {
            if let Err(error) = self.apply_next(&mut applier, &mut reader, &mut writer) {
                break error;
            }
        };
        tracing::info!(%error, "link ended");
        // The primary may be gone already; then nobody needs to hear why.
        let _ = write_frame(&mut writer, &Frame::Failed(error.to_string()));
        let _ = writer.shutdown(Shutdown::Both);
        self.lock().replica.link_ended(&applier, error.end());
        self.announce();
    }

    fn apply_next(
        &self,
        applier: &mut Applier,
        reader: &mut BufReader<TcpStream>,
        writer: &mut TcpStream,
    ) -> Result<(), ApplyError> {
        let mut frame = read_frame(reader)?;
        let answers = match applier.data(&mut frame) {
            // Data takes no lock: the link's order is the files' order.
            Some(effects) => self.carry_out(effects)?,
            None => {
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
            write_frame(writer, &frame).map_err(ReadError::from)?;
        }
        Ok(())
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
