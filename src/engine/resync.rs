//! The recovery of a mirror, on a thread of its own: [`Replica`] says what is to be done next.
//!
//! [`Replica`]: crate::core::pair::replica::Replica

use super::link::{read_frame, write_frame};
use super::state::{Engine, Inner, Undone};
use super::storage::{FileId, StorageError};
use crate::core::frame::Frame;
use crate::core::pace::Turn;
use crate::core::pair::replica::{ACK_DEADLINE, Broken, Effect, LinkId, Permit, Replica, Work};
use crate::core::report::{MirrorLoss, PeerAddress};
use crate::core::track::{BLOCK_BYTES, Run};
use std::net::TcpStream;
use std::sync::{Arc, MutexGuard};
use std::time::{Duration, Instant};

/// A mirror may take this long to read its own log for the manifest.
const MANIFEST_DEADLINE: Duration = Duration::from_secs(20);
/// Bytes that are read and queued before it is the sessions' turn, and for how long at most.
const TURN_BYTES: u64 = 1 << 20;
const TURN: Duration = Duration::from_millis(1);
/// How often the coordinator is told how far the copy is.
const TELL_EVERY: Duration = Duration::from_millis(200);

/// The thread of one recovery.
struct Resync {
    engine: Arc<Engine>,
    link: LinkId,
    peer: PeerAddress,
}

/// How long the copy has held the lock: scattered blocks are read several at a time, because each turn
/// costs more than a block.
struct CopyTurn {
    began: Instant,
    bytes: u64,
}

impl CopyTurn {
    fn begins() -> CopyTurn {
        CopyTurn { began: Instant::now(), bytes: 0 }
    }

    /// So many bytes more were copied; true when it is the sessions' turn.
    fn is_over(&mut self, bytes: u64) -> bool {
        self.bytes += bytes;
        self.bytes >= TURN_BYTES || self.began.elapsed() >= TURN
    }
}

fn closed(error: impl std::fmt::Display) -> Broken {
    Broken::Lost(MirrorLoss::LinkClosed(error.to_string()))
}

impl Engine {
    /// Begins the recovery that [`Effect::Recover`] asks for.
    pub(super) fn recover(self: &Arc<Engine>, link: LinkId, peer: PeerAddress) {
        let resync = Resync { engine: self.clone(), link, peer };
        if let Err(error) = std::thread::Builder::new().name("resync".into()).spawn(move || resync.run()) {
            self.mirror_is_lost(link, MirrorLoss::LinkClosed(format!("no thread for the recovery: {error}")));
        }
    }
}

impl Resync {
    fn run(self) {
        let began = Instant::now();
        match self.stages() {
            Ok(()) => tracing::info!(link = self.link.0, elapsed = ?began.elapsed(), "claimed in sync"),
            Err(Broken::Superseded) => tracing::info!(link = self.link.0, "the recovery is superseded"),
            Err(Broken::Lost(loss)) => self.engine.mirror_is_lost(self.link, loss),
        }
    }

    fn stages(&self) -> Result<(), Broken> {
        let stream = self.prepare()?;
        self.engine.run_link(self.link, &stream).map_err(closed)?;
        self.engine.announce();
        self.copy_and_claim()?;
        self.engine.announce();
        Ok(())
    }

    /// Stage 1, online: the connection, the log without what former ones left, the mirror's contribution, the
    /// link in its place.
    fn prepare(&self) -> Result<TcpStream, Broken> {
        self.await_permit()?;
        let mut stream = self.engine.connector.connect(&self.peer, ACK_DEADLINE).map_err(closed)?;
        stream.set_read_timeout(Some(MANIFEST_DEADLINE)).map_err(closed)?;
        stream.set_write_timeout(Some(ACK_DEADLINE)).map_err(closed)?;
        // A barrier is a small packet that a commit waits for.
        stream.set_nodelay(true).map_err(closed)?;
        let greeting = self.engine.lock().replica.greeting(self.link)?;
        self.engine.cut_former_logs().map_err(closed)?;
        write_frame(&mut stream, &greeting).map_err(closed)?;
        while let Some(answer) = self.hear(&mut stream)? {
            write_frame(&mut stream, &answer).map_err(closed)?;
        }
        stream.set_read_timeout(None).map_err(closed)?;
        Ok(stream)
    }

    /// A drill may want to look before anything is said to the mirror.
    fn await_permit(&self) -> Result<(), Broken> {
        let mut inner = self.engine.lock();
        while let Permit::Wait(time) = inner.replica.may_greet(self.link)? {
            inner = self.engine.wait_for(inner, time);
        }
        Ok(())
    }

    /// What the mirror says next, and what is answered; `None` once the link has taken its place.
    fn hear(&self, stream: &mut TcpStream) -> Result<Option<Frame>, Broken> {
        let frame = read_frame(stream).map_err(closed)?;
        let connection = stream.try_clone().map_err(closed)?;
        let engine = &self.engine;
        let mut inner = engine.lock();
        let (began, now) = (Instant::now(), engine.now());
        let heard =
            engine.transact(&mut inner, |replica| replica.heard_in_preparation(self.link, frame, &engine.disk, now));
        let mut effects = heard.map_err(|undone| match undone {
            Undone::Event(broken) => broken,
            Undone::Effect(error) => closed(error),
        })?;
        if let Some(Effect::Answer(answer)) = effects.pop() {
            drop(inner);
            engine.announce();
            return Ok(Some(answer));
        }
        inner.stream = Some((self.link, connection));
        inner.replica.link_opened(self.link, began.elapsed());
        Ok(None)
    }

    /// Stages 2 to 4.
    fn copy_and_claim(&self) -> Result<(), Broken> {
        let engine = &self.engine;
        let (mut inner, mut told) = (engine.lock(), Instant::now());
        let mut turn = CopyTurn::begins();
        let mut was_held = false;
        loop {
            match inner.replica.work(self.link, engine.now())? {
                Work::Wait(time) => {
                    was_held = false;
                    engine.to_send.notify_all();
                    inner = engine.wait_for(inner, time);
                }
                Work::Held => {
                    // Whoever holds it wants to see that it has come there.
                    if !std::mem::replace(&mut was_held, true) {
                        (engine.notify)();
                    }
                    engine.to_send.notify_all();
                    inner = engine.wait_for(inner, ACK_DEADLINE);
                }
                Work::Copy(run) => {
                    let (now, cap) = (engine.now(), inner.replica.rate_cap());
                    let bytes = match inner.pacing.ask(self.link, cap, now, run.count * BLOCK_BYTES) {
                        Turn::Copy(bytes) => bytes,
                        Turn::Wait(until) => {
                            engine.to_send.notify_all();
                            inner = engine.wait_for(inner, until.saturating_sub(now));
                            continue;
                        }
                    };
                    self.copy_run(&mut inner, Run { count: bytes / BLOCK_BYTES, ..run })?;
                    if !turn.is_over(bytes) {
                        continue;
                    }
                    drop(inner);
                    engine.to_send.notify_all();
                    if told.elapsed() >= TELL_EVERY {
                        (engine.notify)();
                        told = Instant::now();
                    }
                    std::thread::yield_now();
                    inner = engine.lock();
                    turn = CopyTurn::begins();
                }
                Work::SyncFiles => {
                    drop(inner);
                    engine.to_send.notify_all();
                    FileId::ALL.into_iter().try_for_each(|f| engine.disk.sync(f)).map_err(|e| self.disk_failed(e))?;
                    inner = engine.lock();
                    inner.replica.files_synced(self.link)?;
                }
                Work::Record => {
                    self.record(&mut inner)?;
                    inner.replica.recorded(self.link, engine.now())?;
                }
                Work::Done => return Ok(()),
            }
        }
    }

    /// Reads a run and queues it, under the lock that orders it with every write.
    fn copy_run(&self, inner: &mut MutexGuard<'_, Inner>, run: Run) -> Result<(), Broken> {
        let len = usize::try_from(run.count * BLOCK_BYTES).expect("a run is at most 1 MiB");
        let bytes = self.engine.disk.read_run(run.file, run.first * BLOCK_BYTES, len).map_err(closed)?;
        Ok(inner.replica.copied(self.link, run, bytes, self.engine.now())?)
    }

    fn record(&self, inner: &mut Inner) -> Result<(), Broken> {
        match self.engine.transact(inner, |replica: &mut Replica| replica.record(self.link)) {
            Ok(_) => Ok(()),
            // Nothing is claimed yet, and the pending generation covers a mirror that is one ahead.
            Err(undone) => Err(match StorageError::from(undone) {
                error @ StorageError::Full => closed(format!("no room here for the claim: {error}")),
                error => {
                    self.engine.disk_failed(inner, error);
                    Broken::Superseded
                }
            }),
        }
    }

    fn disk_failed(&self, error: StorageError) -> Broken {
        self.engine.disk_failed(&mut self.engine.lock(), error);
        Broken::Superseded
    }
}
