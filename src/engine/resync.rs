//! The resynchronization, by the documented stages, on a thread of its own.
//!
//! Reads and writes wait twice: while the link opens and the mode flips, and while the last barrier
//! and the mirror's marker are made. Both are timed. Everything else happens online.

use super::link::{Link, read_frame, write_frame};
use super::records;
use super::state::{ACK_DEADLINE, Acting, Engine, Inner, Part};
use super::storage::{FileId, StorageError};
use crate::core::frame::{DATA_BYTES_MAX, Frame, Manifest, Open};
use crate::core::ids::Epoch;
use crate::core::pair::binding::Binding;
use crate::core::report::{CopyState, MirrorLoss, Order, PeerAddress, Progress, Soundness, Stage};
use crate::core::track::{BLOCK_BYTES, DirtyMap, Run};
use std::net::TcpStream;
use std::sync::{Arc, MutexGuard};
use std::time::{Duration, Instant};

/// Bytes of the copy that may wait in the queue, so that a commit never waits behind more.
const COPY_QUEUE_BYTES: usize = 2 << 20;
/// Bytes copied between two syncs of the mirror, so that none of them outlasts the ack deadline.
const COPY_SYNC_BYTES: u64 = 8 << 20;
/// A mirror may take this long to read its own log for the manifest.
const MANIFEST_DEADLINE: Duration = Duration::from_secs(20);

/// One recovery of one mirror.
struct Resync {
    engine: Arc<Engine>,
    link_id: u64,
    epoch: Epoch,
    peer: PeerAddress,
    full_copy: bool,
    rate_bytes: Option<u64>,
    began: Instant,
}

/// The link ended, or an order took its place: not this thread's business any more.
struct Superseded;

enum Ended {
    Superseded,
    Lost(MirrorLoss),
}

impl From<Superseded> for Ended {
    fn from(_: Superseded) -> Ended {
        Ended::Superseded
    }
}

fn closed(error: impl std::fmt::Display) -> Ended {
    Ended::Lost(MirrorLoss::LinkClosed(error.to_string()))
}

impl Engine {
    /// Begins the resynchronization that a row r/r of a new epoch orders.
    pub(super) fn begin_resync(self: &Arc<Engine>, inner: &mut Inner, order: &Order, peer: PeerAddress) {
        inner.link_id += 1;
        let resync = Resync {
            engine: self.clone(),
            link_id: inner.link_id,
            epoch: order.row.epoch,
            peer,
            full_copy: order.full_copy,
            rate_bytes: order.rate_bytes,
            began: Instant::now(),
        };
        if let Part::Acting(acting) = &mut inner.part {
            acting.lost = None;
            acting.progress = Some(Progress {
                stage: Stage::Preparation,
                total_blocks: 0,
                copied_blocks: 0,
                files_created: 0,
                files_dropped: 0,
                pause_open_us: None,
                pause_claim_us: None,
                elapsed_ms: 0,
            });
        }
        let spawned = std::thread::Builder::new().name("resync".into()).spawn(move || resync.run());
        if let (Err(error), Part::Acting(acting)) = (spawned, &mut inner.part) {
            acting.progress = None;
            acting.lost = Some(MirrorLoss::LinkClosed(format!("no thread for the resynchronization: {error}")));
        }
    }
}

impl Resync {
    fn run(self) {
        match self.stages() {
            Ok(()) => tracing::info!(epoch = %self.epoch, elapsed = ?self.began.elapsed(), "claimed in sync"),
            Err(Ended::Superseded) => tracing::info!(epoch = %self.epoch, "resynchronization superseded"),
            Err(Ended::Lost(loss)) => self.engine.mirror_is_lost(self.link_id, loss),
        }
    }

    fn stages(&self) -> Result<(), Ended> {
        let (stream, mirror) = self.prepare()?;
        self.open_link(stream)?;
        self.copy()?;
        self.settle()?;
        self.claim(mirror)
    }

    /// The engine's lock, as long as this link is the one.
    fn lock(&self) -> Result<MutexGuard<'_, Inner>, Superseded> {
        let inner = self.engine.lock();
        if inner.link_id == self.link_id && inner.fenced.is_none() { Ok(inner) } else { Err(Superseded) }
    }

    fn wait<'a>(&'a self, inner: MutexGuard<'a, Inner>, time: Duration) -> Result<MutexGuard<'a, Inner>, Superseded> {
        let inner = self.engine.wait_for(inner, time);
        if inner.link_id == self.link_id && inner.fenced.is_none() { Ok(inner) } else { Err(Superseded) }
    }

    /// Stage 1, online: the link is opened, the mirror's contribution joined with ours, durably.
    fn prepare(&self) -> Result<(TcpStream, CopyState), Ended> {
        let mut stream = self.engine.connector.connect(&self.peer, ACK_DEADLINE).map_err(closed)?;
        stream.set_read_timeout(Some(MANIFEST_DEADLINE)).map_err(closed)?;
        stream.set_write_timeout(Some(ACK_DEADLINE)).map_err(closed)?;
        // A barrier is a small packet that a commit waits for.
        stream.set_nodelay(true).map_err(closed)?;
        let open = {
            let inner = self.lock()?;
            let copy = inner.meta.copy_state();
            Open { epoch: self.epoch, primary: inner.dbid(), mirror: self.peer.dbid, copy }
        };
        write_frame(&mut stream, &Frame::Open(open)).map_err(closed)?;
        let manifest = match read_frame(&mut stream).map_err(closed)? {
            Frame::Manifest(manifest) => manifest,
            Frame::Failed(why) => return Err(Ended::Lost(MirrorLoss::LinkClosed(why))),
            other => return Err(closed(format!("expected a manifest, got {other:?}"))),
        };
        self.unite(&manifest)?;
        write_frame(&mut stream, &Frame::Begin).map_err(closed)?;
        match read_frame(&mut stream).map_err(closed)? {
            Frame::Begun => Ok((stream, manifest.copy)),
            Frame::Failed(why) => Err(Ended::Lost(MirrorLoss::MirrorDisk(why))),
            other => Err(closed(format!("expected to begin, got {other:?}"))),
        }
    }

    /// The union of both sides' contributions, durable here before a block is cleared anywhere.
    fn unite(&self, manifest: &Manifest) -> Result<(), Ended> {
        let impossible = |why: String| Ended::Lost(MirrorLoss::IncrementalImpossible(why));
        let mut inner = self.lock()?;
        let touched_here = inner.meta.touched.clone();
        let acting = acting(&mut inner)?;
        let mut union = DirtyMap::default();
        let mut binding = if self.full_copy {
            Binding::to(manifest.copy)
        } else {
            if let Some(why) = acting.map_unusable.as_ref().or(manifest.unusable.as_ref()) {
                return Err(impossible(why.clone()));
            }
            let binding = acting.binding.ok_or_else(|| impossible("there is no map of changes".into()))?;
            binding.explains(manifest.copy).map_err(impossible)?;
            // The mirror may stand at what was the pending generation; that one is its own now, and
            // must not be forgotten when the next one takes its place.
            let binding = Binding { generation: manifest.copy.generation, ..binding };
            union = manifest.contribution_map().ok_or_else(|| impossible("the mirror's log is unreadable".into()))?;
            binding
        };
        binding.pending_generation = Some(self.epoch);
        for (file, theirs) in FileId::ALL.into_iter().zip(manifest.lengths) {
            let ours = self.engine.disk.len(file).map_err(closed)?;
            let name = file.name().to_owned();
            let whole = self.full_copy || manifest.touched.contains(&name) || touched_here.contains(&name);
            if whole || file == FileId::Wal {
                union.mark_whole(file, ours);
            } else {
                // What the tracked changes do not explain: a different length.
                let same = theirs.unwrap_or(0).min(ours);
                union.mark(Run::touching(file, same, ours - same));
            }
        }
        acting.primary.contribute(&union);
        acting.binding = Some(binding);
        if self.full_copy {
            acting.map_unusable = None;
        }
        self.engine.save_map(acting).map_err(closed)?;
        if let Some(progress) = &mut acting.progress {
            progress.total_blocks = acting.primary.dirty().count();
            progress.files_created = manifest.lengths.iter().filter(|l| l.is_none()).count() as u64;
        }
        drop(inner);
        self.engine.announce();
        Ok(())
    }

    /// The first suspension: the link takes its place and the mode flips.
    fn open_link(&self, stream: TcpStream) -> Result<(), Ended> {
        stream.set_read_timeout(None).map_err(closed)?;
        let began = Instant::now();
        let mut inner = self.lock()?;
        let mut link = Link::new(stream.try_clone().map_err(closed)?);
        for file in FileId::ALL {
            link.push(Frame::SetLen { file, len: self.engine.disk.len(file).map_err(closed)? });
        }
        let acting = acting(&mut inner)?;
        // What was marked since the union was saved: from here on a checkpoint's sync saves no map,
        // and after it the log may no longer name those blocks.
        self.engine.save_map(acting).map_err(closed)?;
        acting.primary.resync_begins();
        acting.link = Some(link);
        let elapsed_ms = self.began.elapsed().as_millis() as u64;
        if let Some(progress) = &mut acting.progress {
            progress.stage = Stage::DataCopy;
            progress.total_blocks = acting.primary.dirty().count();
            progress.pause_open_us = Some(began.elapsed().as_micros() as u64);
            progress.elapsed_ms = elapsed_ms;
        }
        drop(inner);
        self.engine.run_link(self.link_id, &stream).map_err(closed)?;
        self.engine.announce();
        Ok(())
    }

    /// Stage 2, online: runs of up to 1 MiB, until no block is dirty.
    fn copy(&self) -> Result<(), Ended> {
        let began = Instant::now();
        let (mut copied_bytes, mut unsynced_bytes) = (0u64, 0u64);
        loop {
            let mut inner = self.lock()?;
            while acting(&mut inner)?.link_mut()?.queued_bytes() > COPY_QUEUE_BYTES
                || (unsynced_bytes >= COPY_SYNC_BYTES && acting(&mut inner)?.link_mut()?.unanswered_barriers() > 0)
            {
                inner = self.wait(inner, ACK_DEADLINE)?;
            }
            if unsynced_bytes >= COPY_SYNC_BYTES {
                let acting = acting(&mut inner)?;
                let barrier = acting.primary.barrier();
                acting.link_mut()?.push_barrier(barrier);
                unsynced_bytes = 0;
            }
            let acting = acting(&mut inner)?;
            let Some(run) = acting.primary.next_copy(DATA_BYTES_MAX / BLOCK_BYTES) else { return Ok(()) };
            let bytes = self.copy_run(acting, run)?;
            (copied_bytes, unsynced_bytes) = (copied_bytes + bytes, unsynced_bytes + bytes);
            let left = acting.primary.dirty().count();
            if let Some(progress) = &mut acting.progress {
                progress.copied_blocks = progress.total_blocks.saturating_sub(left);
                progress.elapsed_ms = self.began.elapsed().as_millis() as u64;
            }
            drop(inner);
            self.engine.changed.notify_all();
            self.keep_rate(began, copied_bytes)?;
            std::thread::yield_now();
        }
    }

    /// Reads a run and queues it, under the lock that orders it with every write.
    fn copy_run(&self, acting: &mut Acting, run: Run) -> Result<u64, Ended> {
        let offset = run.first * BLOCK_BYTES;
        let mut bytes = vec![0; usize::try_from(run.count * BLOCK_BYTES).expect("a run is at most 1 MiB")];
        let read = self.engine.disk.read(run.file, offset, &mut bytes).map_err(closed)?;
        bytes.truncate(read);
        if !bytes.is_empty() {
            acting.link_mut()?.push(Frame::Data { file: run.file, offset, bytes });
        }
        acting.primary.copied(run);
        Ok(read as u64)
    }

    /// Holds the copy to the rate the operator named.
    fn keep_rate(&self, began: Instant, copied_bytes: u64) -> Result<(), Superseded> {
        let Some(rate) = self.rate_bytes.filter(|r| *r > 0) else { return Ok(()) };
        let due = began + Duration::from_secs_f64(copied_bytes as f64 / rate as f64);
        let mut inner = self.lock()?;
        while let Some(early) = due.checked_duration_since(Instant::now()).filter(|d| !d.is_zero()) {
            inner = self.wait(inner, early)?;
        }
        Ok(())
    }

    /// The mirror syncs what was copied while writes go on, so that the last barrier is a small one.
    fn settle(&self) -> Result<(), Ended> {
        let mut inner = self.lock()?;
        let acting_now = acting(&mut inner)?;
        let barrier = acting_now.primary.barrier();
        acting_now.link_mut()?.push_barrier(barrier);
        self.engine.changed.notify_all();
        while !acting(&mut inner)?.primary.is_answered(barrier) {
            inner = self.wait(inner, ACK_DEADLINE)?;
        }
        Ok(())
    }

    /// Stages 3 and 4: the second suspension. When it ends, both sides are durably consistent.
    fn claim(&self, mirror: CopyState) -> Result<(), Ended> {
        let began = Instant::now();
        let mut inner = self.lock()?;
        inner.gate_closed = true;
        let own = CopyState { copy: inner.meta.copy, generation: self.epoch };
        let acting_now = acting(&mut inner)?;
        if let Some(progress) = &mut acting_now.progress {
            progress.stage = Stage::FlatFiles;
        }
        let barrier = acting_now.primary.barrier();
        acting_now.link_mut()?.push_barrier(barrier);
        acting_now.link_mut()?.push(Frame::Consistent { copy: own });
        self.engine.changed.notify_all();
        drop(inner);
        FileId::ALL.into_iter().try_for_each(|f| self.engine.disk.sync(f)).map_err(|e| self.disk_failed(e))?;
        let mut inner = self.lock()?;
        while !acting(&mut inner)?.link_mut()?.is_consistent {
            if began.elapsed() > ACK_DEADLINE {
                return Err(Ended::Lost(MirrorLoss::Silent { waited_ms: began.elapsed().as_millis() as u64 }));
            }
            inner = self.wait(inner, ACK_DEADLINE.saturating_sub(began.elapsed()))?;
        }
        let peer = CopyState { copy: mirror.copy, generation: self.epoch };
        if let Err(error) = self.record_sync(&mut inner, peer) {
            // Nothing is claimed yet, and the pending generation covers a mirror that is one ahead.
            return match error.as_storage() {
                StorageError::Full => Err(closed(format!("no room here for the claim: {error}"))),
                error => {
                    self.engine.disk_failed(&mut inner, error);
                    Err(Ended::Superseded)
                }
            };
        }
        let acting = acting(&mut inner)?;
        acting.primary.claim();
        if let Some(progress) = &mut acting.progress {
            progress.stage = Stage::Claimed;
            progress.copied_blocks = progress.total_blocks;
            progress.pause_claim_us = Some(began.elapsed().as_micros() as u64);
            progress.elapsed_ms = self.began.elapsed().as_millis() as u64;
        }
        inner.gate_closed = false;
        drop(inner);
        self.engine.announce();
        Ok(())
    }

    /// This side's durable record of being in sync: the marker, then a fresh map for the next time.
    fn record_sync(&self, inner: &mut Inner, peer: CopyState) -> Result<(), records::RecordError> {
        self.engine.change_meta(inner, |meta| {
            meta.touched.clear();
            meta.soundness = Soundness::Sound;
            meta.generation = self.epoch;
            meta.peer = Some(peer);
            meta.consistent = true;
            meta.written_outside_checkpoint = false;
        })?;
        if let Part::Acting(acting) = &mut inner.part {
            acting.binding = Some(Binding::to(peer));
            acting.map_unusable = None;
            self.engine.save_map(acting)?;
        }
        Ok(())
    }

    fn disk_failed(&self, error: StorageError) -> Ended {
        self.engine.disk_failed(&mut self.engine.lock(), error);
        Ended::Superseded
    }
}

fn acting(inner: &mut Inner) -> Result<&mut Acting, Superseded> {
    match &mut inner.part {
        Part::Acting(acting) => Ok(acting),
        Part::Nobody | Part::Mirror(_) => Err(Superseded),
    }
}

impl Acting {
    fn link_mut(&mut self) -> Result<&mut Link, Superseded> {
        self.link.as_mut().ok_or(Superseded)
    }
}
