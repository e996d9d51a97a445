//! The acting primary's side of a recovery, by the documented stages.
//!
//! ```text
//!  Greeting -- Open ------------------> AwaitManifest -- union durable, Begin --> AwaitBegun
//!  AwaitBegun -- Begun, map durable, link in its place ------------------------> Copying
//!  Copying -- no block dirty, a barrier ---------------------------------------> Settling
//!  Settling -- answered, gate closed, barrier + marker asked for --------------> Claiming
//!  Claiming -- both sides durably consistent ----------------------------------> Claimed
//! ```
//! Reads and writes wait twice: while the link takes its place, and while the last barrier and the
//! mirror's marker are made. Both are timed. Everything else happens online.

use super::acting::{Acting, Stranger};
use super::link::{Link, LinkId};
use super::{ACK_DEADLINE, COPY_QUEUE_BYTES, Effect, Files, Part, Replica, Time};
use crate::core::frame::{DATA_BYTES_MAX, Frame, Manifest, Open};
use crate::core::ids::Epoch;
use crate::core::pair::binding::Binding;
use crate::core::pair::primary::Barrier;
use crate::core::report::{CopyState, MirrorLoss, Order, PeerAddress, Progress, Soundness, Stage};
use crate::core::track::{BLOCK_BYTES, DirtyMap, FileId, Run};
use std::time::Duration;

/// Bytes copied between two syncs of the mirror: few at first, so that none of them outlasts the ack
/// deadline on a slow disk, and more while they are answered promptly.
const COPY_SYNC_BYTES: u64 = 8 << 20;
const COPY_SYNC_BYTES_MAX: u64 = 64 << 20;
/// An answer that takes no longer than this is prompt; one that takes twice as long is late.
const PROMPT: Duration = Duration::from_millis(125);

/// One recovery of one mirror.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Recovery {
    pub(super) epoch: Epoch,
    peer: PeerAddress,
    full_copy: bool,
    rate_bytes: Option<u64>,
    began: Time,
    syncs: CopySyncs,
    step: Step,
}

/// The mirror's syncs of what is copied.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct CopySyncs {
    /// Bytes to be copied before the next.
    every: u64,
    /// Copied since the last was asked for.
    unsynced: u64,
    /// When the last was asked for, until it is answered.
    asked: Option<Time>,
}

impl CopySyncs {
    fn new() -> CopySyncs {
        CopySyncs { every: COPY_SYNC_BYTES, unsynced: 0, asked: None }
    }

    fn is_due(&self) -> bool {
        self.unsynced >= self.every
    }

    fn asked(&mut self, now: Time) {
        (self.unsynced, self.asked) = (0, Some(now));
    }

    /// Every barrier so far is answered: how long the last one took says how much the next may cover.
    fn answered(&mut self, now: Time) {
        let Some(asked) = self.asked.take() else { return };
        let took = now.saturating_sub(asked);
        if took <= PROMPT {
            self.every = (self.every * 2).min(COPY_SYNC_BYTES_MAX);
        } else if took > 2 * PROMPT {
            self.every = (self.every / 2).max(COPY_SYNC_BYTES);
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Step {
    Greeting,
    /// The connection is being made: from here on there are deadlines.
    Dialling,
    AwaitManifest,
    AwaitBegun {
        mirror: CopyState,
    },
    Copying {
        mirror: CopyState,
    },
    Settling {
        mirror: CopyState,
        barrier: Barrier,
    },
    Claiming {
        mirror: CopyState,
        since: Time,
        files_synced: bool,
    },
    Claimed,
}

/// What whoever carries out a recovery has to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Work {
    /// Nothing before something changes, or this time has passed.
    Wait(Duration),
    /// A drill holds it at this stage: nothing before it is released.
    Held,
    /// Read this run of the local files, or as much of its beginning as the copy's pace allows now, and
    /// give it to [`Replica::copied`], under one lock.
    Copy(Run),
    /// Sync the local files, then say so by [`Replica::files_synced`].
    SyncFiles,
    /// Make durable what [`Replica::record`] says, then say so by [`Replica::recorded`].
    Record,
    /// Claimed in sync: the recovery is over.
    Done,
}

/// Why a recovery can't go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Broken {
    /// The link ended, or an order took its place: not this recovery's business any more.
    Superseded,
    Lost(MirrorLoss),
}

impl From<Stranger> for Broken {
    fn from(_: Stranger) -> Broken {
        Broken::Superseded
    }
}

fn closed(why: impl std::fmt::Display) -> Broken {
    Broken::Lost(MirrorLoss::LinkClosed(why.to_string()))
}

fn impossible(why: impl Into<String>) -> Broken {
    Broken::Lost(MirrorLoss::IncrementalImpossible(why.into()))
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

impl Recovery {
    pub(super) fn new(order: &Order, peer: PeerAddress, now: Time) -> Recovery {
        Recovery {
            epoch: order.row.epoch,
            peer,
            full_copy: order.full_copy,
            rate_bytes: order.rate_bytes.filter(|rate| *rate > 0),
            began: now,
            syncs: CopySyncs::new(),
            step: Step::Greeting,
        }
    }

    /// Nobody has been dialled yet.
    pub(super) fn is_before_greeting(&self) -> bool {
        self.step == Step::Greeting
    }

    pub(super) fn dials(&mut self) {
        self.step = Step::Dialling;
    }
}

/// The figures of a recovery that has just begun.
pub(super) fn preparing() -> Progress {
    Progress {
        stage: Stage::Preparation,
        total_blocks: 0,
        copied_blocks: 0,
        files_created: 0,
        files_dropped: 0,
        pause_open_us: None,
        pause_claim_us: None,
        elapsed_ms: 0,
        rate_bytes: None,
    }
}

impl Replica {
    fn recovering(&mut self, id: LinkId) -> Result<(&mut Acting, Epoch), Stranger> {
        if !self.is_current(id) {
            return Err(Stranger);
        }
        match &mut self.part {
            Part::Acting(acting) => {
                let epoch = acting.recovery.as_ref().ok_or(Stranger)?.epoch;
                Ok((acting, epoch))
            }
            Part::Nobody | Part::Mirror(_) => Err(Stranger),
        }
    }

    pub(super) fn step_mut(&mut self, id: LinkId) -> Result<&mut Recovery, Stranger> {
        self.recovering(id)?.0.recovery.as_mut().ok_or(Stranger)
    }

    /// The connection to the mirror stands: what is said first on it.
    pub fn greeting(&mut self, id: LinkId) -> Result<Frame, Broken> {
        let (copy, primary) = (self.meta.copy_state(), self.meta.dbid);
        let recovery = self.step_mut(id)?;
        recovery.step = Step::AwaitManifest;
        Ok(Frame::Open(Open { epoch: recovery.epoch, primary, mirror: recovery.peer.dbid, copy }))
    }

    /// What the mirror says before the link carries data. The effects end with the answer to it, or
    /// with none once the link has taken its place.
    pub fn heard_in_preparation(
        &mut self,
        id: LinkId,
        frame: Frame,
        files: &dyn Files,
        now: Time,
    ) -> Result<Vec<Effect>, Broken> {
        match (self.step_mut(id)?.step.clone(), frame) {
            (Step::AwaitManifest, Frame::Manifest(manifest)) => {
                let mut effects = self.unite(id, &manifest, files)?;
                self.step_mut(id)?.step = Step::AwaitBegun { mirror: manifest.copy };
                effects.push(Effect::Answer(Frame::Begin));
                Ok(effects)
            }
            (Step::AwaitManifest, Frame::Failed(why)) => Err(closed(why)),
            (Step::AwaitBegun { mirror }, Frame::Begun) => self.open_link(id, mirror, files, now),
            (Step::AwaitBegun { .. }, Frame::Failed(why)) => Err(Broken::Lost(MirrorLoss::MirrorDisk(why))),
            (Step::AwaitManifest, other) => Err(closed(format!("expected a manifest, got {}", other.name()))),
            (_, other) => Err(closed(format!("expected to begin, got {}", other.name()))),
        }
    }

    /// The union of both sides' contributions, durable here before a block is cleared anywhere.
    fn unite(&mut self, id: LinkId, manifest: &Manifest, files: &dyn Files) -> Result<Vec<Effect>, Broken> {
        let (touched_here, generation) = (self.meta.touched.clone(), self.meta.generation);
        let (acting, epoch) = self.recovering(id)?;
        let full_copy = acting.recovery.as_ref().is_some_and(|r| r.full_copy);
        let mut union = DirtyMap::default();
        let mut binding = if full_copy {
            Binding::to(manifest.copy)
        } else {
            if let Some(why) = acting.map_unusable.as_ref().or(manifest.unusable.as_ref()) {
                return Err(impossible(why.clone()));
            }
            let binding = acting.binding.ok_or_else(|| impossible("there is no map of changes"))?;
            binding.explains(manifest.copy).map_err(impossible)?;
            union = manifest.contribution_map().ok_or_else(|| impossible("the mirror's log is unreadable"))?;
            // The mirror may stand at what was the pending generation; that one is its own now, and
            // must not be forgotten when the next one takes its place.
            Binding { generation: manifest.copy.generation, ..binding }
        };
        binding.pending_generation = Some(epoch);
        for (file, theirs) in FileId::ALL.into_iter().zip(manifest.lengths) {
            let ours = files.len(file).map_err(closed)?;
            let name = file.name().to_owned();
            let whole = full_copy || manifest.touched.contains(&name) || touched_here.contains(&name);
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
        if full_copy {
            acting.map_unusable = None;
        }
        let effects = acting.save_map(generation);
        if let Some(progress) = &mut acting.progress {
            progress.total_blocks = acting.primary.dirty().count();
            progress.files_created = manifest.lengths.iter().filter(|l| l.is_none()).count() as u64;
        }
        Ok(effects)
    }

    /// The first suspension: the link takes its place and the mode flips.
    fn open_link(
        &mut self,
        id: LinkId,
        mirror: CopyState,
        files: &dyn Files,
        now: Time,
    ) -> Result<Vec<Effect>, Broken> {
        let generation = self.meta.generation;
        let (acting, _) = self.recovering(id)?;
        let mut link = Link::new(now);
        let lengths = [files.len(FileId::Main).map_err(closed)?, files.len(FileId::Wal).map_err(closed)?];
        for (file, len) in FileId::ALL.into_iter().zip(lengths) {
            link.push(Frame::SetLen { file, len });
        }
        // What was marked since the union was saved: from here on a checkpoint's sync saves no map,
        // and after it the log may no longer name those blocks.
        let effects = if acting.primary.map_changed() { acting.save_map(generation) } else { Vec::new() };
        acting.primary.resync_begins(lengths);
        acting.link = Some(link);
        let total_blocks = acting.primary.dirty().count();
        if let (Some(recovery), Some(progress)) = (&mut acting.recovery, &mut acting.progress) {
            recovery.step = Step::Copying { mirror };
            progress.stage = Stage::DataCopy;
            progress.total_blocks = total_blocks;
            progress.elapsed_ms = millis(now.saturating_sub(recovery.began));
        }
        Ok(effects)
    }

    /// The link stands in its place: how long reads and writes waited for it.
    pub fn link_opened(&mut self, id: LinkId, waited: Duration) {
        if let Ok((acting, _)) = self.recovering(id)
            && let Some(progress) = &mut acting.progress
        {
            progress.pause_open_us = Some(micros(waited));
        }
    }

    /// The operator's cap on the copy under way, in bytes per second.
    pub fn rate_cap(&self) -> Option<u64> {
        self.acting().ok()?.recovery.as_ref()?.rate_bytes
    }

    /// What is to be done next for the recovery of this link.
    pub fn work(&mut self, id: LinkId, now: Time) -> Result<Work, Broken> {
        let recovery = self.step_mut(id)?;
        match recovery.step.clone() {
            Step::Greeting | Step::Dialling | Step::AwaitManifest | Step::AwaitBegun { .. } => {
                Ok(Work::Wait(ACK_DEADLINE))
            }
            Step::Copying { .. } => self.copy_work(id, now),
            Step::Settling { mirror, barrier } => {
                if !self.recovering(id)?.0.primary.is_answered(barrier) {
                    return Ok(Work::Wait(ACK_DEADLINE));
                }
                if self.comes_to(Stage::FlatFiles) {
                    self.suspend_for_flat_files();
                    return Ok(Work::Held);
                }
                self.begin_claim(id, mirror, now)
            }
            Step::Claiming { files_synced: false, .. } => Ok(Work::SyncFiles),
            Step::Claiming { since, .. } => self.claim_work(id, now.saturating_sub(since)),
            Step::Claimed => Ok(Work::Done),
        }
    }

    /// Stage 2, online: runs of up to 1 MiB, until no block is dirty.
    fn copy_work(&mut self, id: LinkId, now: Time) -> Result<Work, Broken> {
        // Also with nothing left to copy: that is what the next stage begins with.
        if self.comes_to(Stage::DataCopy) {
            return Ok(Work::Held);
        }
        let link = self.link_mut(id)?;
        let (queued, unanswered) = (link.queued_bytes(), link.unanswered_barriers());
        let (acting, _) = self.recovering(id)?;
        let (Some(recovery), Some(link)) = (&mut acting.recovery, &mut acting.link) else {
            return Err(Broken::Superseded);
        };
        let Step::Copying { mirror } = recovery.step else {
            return Err(Broken::Superseded);
        };
        if unanswered == 0 {
            recovery.syncs.answered(now);
        }
        let sync_due = recovery.syncs.is_due();
        if queued > COPY_QUEUE_BYTES || (sync_due && unanswered > 0) {
            return Ok(Work::Wait(ACK_DEADLINE));
        }
        if sync_due {
            recovery.syncs.asked(now);
            link.push_barrier(acting.primary.barrier(), now);
        }
        if let Some(run) = acting.primary.next_copy(DATA_BYTES_MAX / BLOCK_BYTES) {
            return Ok(Work::Copy(run));
        }
        // The mirror syncs what was copied while writes go on, so that the last barrier is a small one.
        let barrier = acting.primary.barrier();
        link.push_barrier(barrier, now);
        recovery.step = Step::Settling { mirror, barrier };
        Ok(Work::Wait(ACK_DEADLINE))
    }

    /// A run was read under the lock that orders it with every write: it is queued for the mirror.
    pub fn copied(&mut self, id: LinkId, run: Run, bytes: Vec<u8>, now: Time) -> Result<(), Stranger> {
        let (acting, _) = self.recovering(id)?;
        let read = bytes.len() as u64;
        acting.primary.copied(run);
        let left = acting.primary.dirty().count();
        if let (Some(link), false) = (&mut acting.link, bytes.is_empty()) {
            link.push(Frame::Data { file: run.file, offset: run.first * BLOCK_BYTES, bytes });
        }
        let Some(recovery) = &mut acting.recovery else { return Err(Stranger) };
        recovery.syncs.unsynced += read;
        if let Some(progress) = &mut acting.progress {
            progress.copied_blocks = progress.total_blocks.saturating_sub(left);
            progress.elapsed_ms = millis(now.saturating_sub(recovery.began));
        }
        Ok(())
    }

    /// Stages 3 and 4: the second suspension. When it ends, both sides are durably consistent.
    fn begin_claim(&mut self, id: LinkId, mirror: CopyState, now: Time) -> Result<Work, Broken> {
        let copy = self.meta.copy;
        self.suspend_for_flat_files();
        let (acting, epoch) = self.recovering(id)?;
        let (Some(recovery), Some(link)) = (&mut acting.recovery, &mut acting.link) else {
            return Err(Broken::Superseded);
        };
        link.push_barrier(acting.primary.barrier(), now);
        link.push(Frame::Consistent { copy: CopyState { copy, generation: epoch } });
        recovery.step = Step::Claiming { mirror, since: now, files_synced: false };
        Ok(Work::SyncFiles)
    }

    /// Reads and writes wait from here on.
    fn suspend_for_flat_files(&mut self) {
        self.gate_closed = true;
        if let Part::Acting(acting) = &mut self.part
            && let Some(progress) = &mut acting.progress
        {
            progress.stage = Stage::FlatFiles;
        }
    }

    /// The local files are synced, while the gate is closed.
    pub fn files_synced(&mut self, id: LinkId) -> Result<(), Stranger> {
        if let Step::Claiming { files_synced, .. } = &mut self.step_mut(id)?.step {
            *files_synced = true;
        }
        Ok(())
    }

    fn claim_work(&mut self, id: LinkId, waited: Duration) -> Result<Work, Broken> {
        if self.link_mut(id)?.is_consistent {
            return Ok(Work::Record);
        }
        match ACK_DEADLINE.checked_sub(waited) {
            Some(left) => Ok(Work::Wait(left)),
            None => Err(Broken::Lost(MirrorLoss::Silent { waited_ms: millis(waited) })),
        }
    }

    /// This side's durable record of being in sync. It makes the map empty, see `Meta::map_in_force`.
    pub fn record(&mut self, id: LinkId) -> Result<Vec<Effect>, Stranger> {
        let (acting, epoch) = self.recovering(id)?;
        let Some(Step::Claiming { mirror, .. }) = acting.recovery.as_ref().map(|r| r.step.clone()) else {
            return Err(Stranger);
        };
        let peer = CopyState { copy: mirror.copy, generation: epoch };
        acting.binding = Some(Binding::to(peer));
        acting.map_unusable = None;
        acting.primary.map_saved();
        let meta = &mut self.meta;
        meta.touched.clear();
        meta.soundness = Soundness::Sound;
        meta.generation = epoch;
        meta.peer = Some(peer);
        meta.consistent = true;
        meta.written_outside_checkpoint = false;
        Ok(vec![self.save_meta()])
    }

    /// The record of being in sync is durable: this is the claim, never withdrawn (R2).
    pub fn recorded(&mut self, id: LinkId, now: Time) -> Result<(), Stranger> {
        let (acting, _) = self.recovering(id)?;
        let Some(recovery) = &mut acting.recovery else { return Err(Stranger) };
        let Step::Claiming { since, .. } = recovery.step else { return Err(Stranger) };
        acting.primary.claim();
        recovery.step = Step::Claimed;
        if let Some(progress) = &mut acting.progress {
            progress.stage = Stage::Claimed;
            progress.copied_blocks = progress.total_blocks;
            progress.pause_claim_us = Some(micros(now.saturating_sub(since)));
            progress.elapsed_ms = millis(now.saturating_sub(recovery.began));
        }
        self.gate_closed = false;
        self.comes_to(Stage::Claimed);
        Ok(())
    }
}
