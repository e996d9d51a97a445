//! The mirror's end of a link: one thread that applies frames in their order.
//!
//! The files have no SQLite connection here; they are opened only after a promotion, which first
//! ends the link and joins this thread (R3).

use super::disk::Disk;
use super::link::{ReadError, read_frame, write_frame};
use super::records;
use super::state::{ACK_DEADLINE, Engine, EngineError, Inner, MirrorPart, Part};
use super::storage::{FileId, StorageError};
use crate::core::format::TrackMap;
use crate::core::frame::{Frame, Manifest, Open};
use crate::core::pair::binding::Binding;
use crate::core::report::{CopyState, Soundness};
use crate::core::track::{BLOCK_BYTES, DirtyMap};
use crate::core::verify::{Chunk, Held, UNREADABLE, hash, hashes};
use std::io::BufReader;
use std::net::TcpStream;
use std::sync::{Arc, MutexGuard};
use std::time::Instant;
use thiserror::Error;

/// Bytes read from the socket at a time: a frame's header rarely costs a system call of its own.
const READ_BUFFER_BYTES: usize = 256 << 10;

#[derive(Debug, Error)]
enum ApplyError {
    #[error("{0}")]
    Link(#[from] ReadError),
    #[error("{0}")]
    Write(#[from] std::io::Error),
    #[error("the primary broke the protocol: {0}")]
    Protocol(String),
    /// The mirror's own disk failed it; the primary is told why.
    #[error("{0}")]
    Disk(#[from] StorageError),
    #[error("{0}")]
    Record(#[from] records::RecordError),
}

impl Engine {
    /// Takes the one link of this process, if it waits for one; the applier runs until it ends.
    /// The primary may have heard of the recovery first: then this waits for the order. Blocks.
    pub fn accept_link(self: &Arc<Engine>, stream: TcpStream) -> Result<(), EngineError> {
        let mut inner = self.await_order();
        let Part::Mirror(mirror) = &mut inner.part else {
            return Err(EngineError::Refused("no link is awaited here".into()));
        };
        if mirror.had_link {
            return Err(EngineError::Refused("a link is never resumed (R6)".into()));
        }
        let refuse = |e: std::io::Error| EngineError::Refused(e.to_string());
        // A primary that opens a link and then says nothing must not hold the mirror for ever; its
        // pings come ten times as often.
        stream.set_read_timeout(Some(ACK_DEADLINE * 2)).map_err(refuse)?;
        // An answer to a barrier is a small packet that a commit waits for.
        stream.set_nodelay(true).map_err(refuse)?;
        let reader = stream.try_clone().map_err(refuse)?;
        let engine = self.clone();
        let applier = std::thread::Builder::new().name("apply".into()).spawn(move || engine.apply(reader));
        mirror.streams.push(stream);
        mirror.appliers.push(applier.map_err(refuse)?);
        drop(inner);
        self.announce();
        Ok(())
    }

    /// The engine's state once it is somebody, or once the order is overdue.
    fn await_order(&self) -> MutexGuard<'_, Inner> {
        let asked = Instant::now();
        let mut inner = self.lock();
        while matches!(inner.part, Part::Nobody) && asked.elapsed() < ACK_DEADLINE {
            inner = self.wait_for(inner, ACK_DEADLINE.saturating_sub(asked.elapsed()));
        }
        inner
    }

    fn apply(&self, stream: TcpStream) {
        let mut applier = Applier { engine: self, disk: &self.disk, written: Vec::new(), turn: Turn::Open };
        let mut writer = match stream.try_clone() {
            Ok(writer) => writer,
            Err(error) => return tracing::warn!(%error, "link"),
        };
        let mut reader = BufReader::with_capacity(READ_BUFFER_BYTES, stream);
        let error = loop {
            match read_frame(&mut reader).map_err(ApplyError::from).and_then(|f| applier.step(f)) {
                Ok(None) => {}
                Ok(Some(answer)) => {
                    if let Err(error) = write_frame(&mut writer, &answer) {
                        break ApplyError::from(error);
                    }
                }
                Err(error) => break error,
            }
        };
        tracing::info!(%error, "link ended");
        // The primary may be gone already; then nobody needs to hear why.
        let _ = write_frame(&mut writer, &Frame::Failed(error.to_string()));
        let _ = writer.shutdown(std::net::Shutdown::Both);
        let mut inner = self.lock();
        if let Part::Mirror(mirror) = &mut inner.part
            && !matches!(applier.turn, Turn::Open)
        {
            // A silent primary is no end: only a closed connection tells that its lease is void. Nor is
            // an end that we made ourselves.
            mirror.saw_end |= mirror.linked
                && matches!(&error, ApplyError::Link(ReadError::Io(e))
                    if !matches!(e.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut));
            if matches!(error, ApplyError::Disk(_) | ApplyError::Record(_)) {
                mirror.failed = Some(error.to_string());
            }
            mirror.linked = false;
        }
        drop(inner);
        self.announce();
    }
}

/// What applying needs to know from one frame to the next.
struct Applier<'a> {
    engine: &'a Engine,
    disk: &'a Disk,
    /// Files written since the last barrier.
    written: Vec<FileId>,
    turn: Turn,
}

/// Which frames may come next: nothing is applied before the primary proved that this is the link.
#[derive(Clone, Copy)]
enum Turn {
    Open,
    Begin,
    Data,
}

impl Applier<'_> {
    fn step(&mut self, frame: Frame) -> Result<Option<Frame>, ApplyError> {
        match (self.turn, frame) {
            (Turn::Open, Frame::Open(open)) => self.open(&open).map(Some),
            (Turn::Begin, Frame::Begin) => {
                self.engine.change_meta(&mut self.engine.lock(), |meta| {
                    meta.consistent = false;
                    meta.stamps.clear();
                })?;
                self.turn = Turn::Data;
                Ok(Some(Frame::Begun))
            }
            (Turn::Data, Frame::SetLen { file, len }) => {
                self.disk.set_len(file, len)?;
                self.note(file);
                Ok(None)
            }
            (Turn::Data, Frame::Data { file, offset, bytes }) => {
                self.disk.write(file, offset, &bytes)?;
                self.note(file);
                Ok(None)
            }
            (Turn::Data, Frame::Barrier(barrier)) => {
                self.sync()?;
                Ok(Some(Frame::Synced(barrier)))
            }
            (Turn::Data, Frame::Consistent { copy }) => {
                self.sync()?;
                self.become_consistent(copy)?;
                Ok(Some(Frame::IsConsistent))
            }
            (Turn::Data, Frame::Hash(chunk)) => Ok(Some(self.hash(chunk)?)),
            (Turn::Data, Frame::Differs) => {
                if let Part::Mirror(mirror) = &mut self.engine.lock().part {
                    mirror.differs = true;
                }
                self.engine.announce();
                Ok(None)
            }
            (Turn::Data, Frame::Ping(sent)) => {
                if let Part::Mirror(mirror) = &mut self.engine.lock().part {
                    mirror.last_ping = Some(Instant::now());
                }
                Ok(Some(Frame::Pong(sent)))
            }
            (_, other) => Err(ApplyError::Protocol(format!("it is not the turn of {other:?}"))),
        }
    }

    /// What this copy holds of a chunk, after every frame before the request.
    fn hash(&self, chunk: Chunk) -> Result<Frame, StorageError> {
        let mut bytes = vec![0; usize::try_from(chunk.len).expect("a chunk's length was checked")];
        let hashes = match self.disk.read(chunk.file, chunk.offset, &mut bytes) {
            Ok(read) => hashes(&bytes[..read]),
            Err(error) => {
                // One sector that is lost must not hide behind the end of the link: a copy over it may heal it.
                tracing::error!(%error, ?chunk, "can't be read in one piece");
                self.hash_each(chunk)
            }
        };
        let held = Held { file_len: self.disk.len(chunk.file)?, hashes };
        Ok(Frame::Hashes { file: chunk.file, offset: chunk.offset, held })
    }

    /// Block by block, those that can't be read marked as such.
    fn hash_each(&self, chunk: Chunk) -> Vec<u128> {
        let mut hashed = Vec::new();
        let mut block = [0; BLOCK_BYTES as usize];
        for at in (0..chunk.len).step_by(BLOCK_BYTES as usize) {
            let wanted = (chunk.len - at).min(BLOCK_BYTES) as usize;
            match self.disk.read(chunk.file, chunk.offset + at, &mut block[..wanted]) {
                Ok(0) => break,
                Ok(read) => hashed.push(hash(&block[..read])),
                Err(_) => hashed.push(UNREADABLE),
            }
        }
        hashed
    }

    fn note(&mut self, file: FileId) {
        if !self.written.contains(&file) {
            self.written.push(file);
        }
    }

    fn sync(&mut self) -> Result<(), ApplyError> {
        for file in self.written.drain(..) {
            self.disk.sync(file)?;
        }
        Ok(())
    }

    fn open(&mut self, open: &Open) -> Result<Frame, ApplyError> {
        let mut inner = self.engine.lock();
        if open.epoch != inner.meta.epoch || open.mirror != inner.dbid() {
            let (epoch, me) = (inner.meta.epoch, inner.dbid());
            return Err(ApplyError::Protocol(format!("a link for {open:?}; this is dbid {me} in epoch {epoch}")));
        }
        match &mut inner.part {
            Part::Mirror(mirror) if !mirror.had_link => (mirror.had_link, mirror.linked) = (true, true),
            _ => return Err(ApplyError::Protocol("a link is never resumed, and there is one at most (R6)".into())),
        }
        self.turn = Turn::Begin;
        let length = |file| self.disk.len(file).ok().filter(|len| *len > 0);
        let mut contribution = self.disk.pages_named_by_log()?;
        let mut unusable = (inner.meta.written_outside_checkpoint)
            .then(|| "main.db of this copy was written outside a checkpoint".to_owned());
        // A former primary may have found that its mirror differs, and have died before the row said so.
        if self.disk.dir().join(records::MAP).exists() {
            match records::load_map(self.disk.dir()) {
                Ok(map) => contribution.union(&map.dirty),
                Err(error) => unusable = unusable.or_else(|| Some(error.to_string())),
            }
        }
        Ok(Frame::Manifest(Manifest {
            copy: inner.meta.copy_state(),
            lengths: FileId::ALL.map(length),
            contribution: contribution.runs().iter().map(|r| (r.file.number(), r.first, r.count)).collect(),
            touched: inner.meta.touched.clone(),
            unusable,
        }))
    }

    /// The marker of R4: from here on this copy may be promoted.
    fn become_consistent(&mut self, primary: CopyState) -> Result<(), ApplyError> {
        let mut inner = self.engine.lock();
        // The map first: a marker without the map it belongs to could be served with an older one.
        let map = TrackMap { binding: Binding::to(primary), dirty: DirtyMap::default() };
        self.disk.timed(|| records::save_map(self.disk.dir(), &map))?;
        self.engine.change_meta(&mut inner, |meta| {
            meta.consistent = true;
            meta.generation = meta.epoch;
            meta.peer = Some(primary);
            meta.written_outside_checkpoint = false;
            meta.touched.clear();
            meta.soundness = Soundness::Sound;
        })?;
        Ok(())
    }
}

impl MirrorPart {
    /// Ends every connection that came for the link, and lets no other take its place.
    pub fn close(&mut self) {
        (self.had_link, self.linked) = (true, false);
        for stream in self.streams.drain(..) {
            // An error here only says that the connection is gone already.
            let _ = stream.shutdown(std::net::Shutdown::Both);
        }
    }

    /// The same, and the threads that are to be joined before anything else happens (R3).
    pub fn end(&mut self) -> Vec<std::thread::JoinHandle<()>> {
        self.close();
        std::mem::take(&mut self.appliers)
    }
}
