//! One segment process's part in its pair: what happens to it in, what it does out.
//!
//! [`Replica`] knows no clock, socket, file or thread. Whoever holds one gives it the time (since the
//! process started, on a monotonic clock), lets it look at its files through [`Files`], and carries out
//! the [`Effect`]s it answers with, in their order, before anything else happens to it. When an effect
//! fails, those after it are not carried out, and the replica is what it was before the event: so it is
//! changed as a copy, which takes its place when the effects are done.
//!
//! The same code runs in the segment process, in the model checker and in the simulator.

mod acting;
mod compare;
mod hold;
mod link;
mod mirror;
mod recovery;
#[cfg(test)]
mod tests;

use super::binding::Binding;
use super::obey::{Obedience, Standing, obey};
use super::primary::Mirroring;
use crate::core::format::{Meta, Stamp, TrackMap};
use crate::core::frame::Frame;
use crate::core::ids::{CopyId, Epoch};
use crate::core::report::{CopyState, Order, PeerAddress, Phase, RELEASE, Report, Soundness, Stage};
use crate::core::track::{DirtyMap, FileId};
use crate::core::verify::Chunk;
pub use acting::{Acting, Batch, Permit, Stranger, Synced, Ticket};
pub use compare::CompareWork;
use compare::Comparison;
use hold::Hold;
pub use link::{Link, LinkId};
pub use mirror::{Applier, ApplierEnd, Breach, Mirror};
use recovery::Recovery;
pub use recovery::{Broken, Work};
use std::time::Duration;
use thiserror::Error;

/// A moment: time since the process started, on a monotonic clock.
pub type Time = Duration;

/// A mirror that leaves a sync unanswered for longer is lost, whatever its heartbeats say.
pub const ACK_DEADLINE: Duration = Duration::from_secs(2);
/// A primary in sync serves reads only while its mirror answered a ping sent less than this ago.
pub const READ_LEASE: Duration = Duration::from_secs(1);
/// The pace of pings on a link.
pub const PING_INTERVAL: Duration = Duration::from_millis(200);
/// Bytes of the copy that may wait in the queue, so that a commit never waits behind more.
pub const COPY_QUEUE_BYTES: usize = 2 << 20;
/// Bytes queued for a mirror before a writer waits.
pub const QUEUE_BYTES_MAX: usize = 8 << 20;

/// What the replicated files and the engine's records hold: it is only looked at. An error is said in
/// words.
pub trait Files {
    /// Bytes of a file; 0 for one that does not exist.
    fn len(&self, file: FileId) -> Result<u64, String>;
    /// The blocks of main.db that the log's frames name, see [`NamedPages`](crate::core::wal::NamedPages).
    fn pages_named_by_log(&self) -> Result<DirtyMap, String>;
    /// The map as it was last made durable, or why there is none that can be used.
    fn map(&self) -> Result<TrackMap, String>;
}

/// What has to be done. See the module for the order.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Effect {
    /// Replace `segment.meta`, durably.
    SaveMeta(Box<Meta>),
    /// Replace `track.map`, durably.
    SaveMap(TrackMap),
    Write {
        file: FileId,
        offset: u64,
        bytes: Vec<u8>,
    },
    SetLen {
        file: FileId,
        len: u64,
    },
    Sync(FileId),
    /// Send this on the connection whose frame was heard.
    Answer(Frame),
    /// Hash what the file holds of this chunk, and answer with [`Frame::Hashes`].
    Hash(Chunk),
    /// Close every connection that came for the link, and wait until nobody applies any more: each is
    /// told by [`Replica::applier_joined`]. Then give the order again.
    JoinAppliers,
    /// Begin the recovery of this link: dial the mirror, greet it, and go on as [`Work`] says.
    Recover {
        link: LinkId,
        peer: PeerAddress,
    },
    /// Open SQLite and take sessions, then say so by [`Replica::serving`].
    Serve,
    /// End this process, without closing SQLite (R7).
    Exit,
}

/// The process is not the acting primary, or may not touch the files any more.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct NotActing(pub String);

/// An order that can't be followed as things are, and why.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct Refused(pub String);

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Part {
    /// Started, and nobody until told (R5).
    Nobody,
    Mirror(Mirror),
    Acting(Box<Acting>),
}

/// What the data directory's file system and process say, for a report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Surroundings {
    pub pid: u32,
    /// The files stand under their names, and are those held open (R4).
    pub files_stand: bool,
    pub data_bytes: u64,
    pub free_bytes: u64,
    /// Why the disk counts as one that does not answer.
    pub sick: Option<String>,
}

/// A segment process's replication state. See the module.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Replica {
    meta: Meta,
    part: Part,
    /// Reads and writes wait.
    gate_closed: bool,
    checkpointing: bool,
    /// This process may not touch the files any more, and why.
    fenced: Option<String>,
    link_id: LinkId,
    comparison: Comparison,
    /// A drill wants recoveries to wait at a stage.
    hold: Option<Hold>,
}

impl Replica {
    /// A process that has just started on a copy with this record.
    pub fn nobody(meta: Meta) -> Replica {
        Replica {
            meta,
            part: Part::Nobody,
            gate_closed: false,
            checkpointing: false,
            fenced: None,
            link_id: LinkId::default(),
            comparison: Comparison::default(),
            hold: None,
        }
    }

    pub fn meta(&self) -> &Meta {
        &self.meta
    }

    pub fn standing(&self) -> Standing {
        Standing { dbid: self.meta.dbid, phase: self.phase(), epoch: self.meta.epoch }
    }

    pub fn phase(&self) -> Phase {
        match &self.part {
            Part::Nobody => Phase::Nobody,
            Part::Mirror(_) => Phase::Mirror,
            Part::Acting(acting) if !acting.serving => Phase::Promoting,
            Part::Acting(acting) => match acting.primary.mirroring() {
                Mirroring::Mirrorless => Phase::Mirrorless,
                Mirroring::Tracking if acting.progress.is_some() => Phase::Resynchronizing,
                Mirroring::Tracking => Phase::Tracking,
                Mirroring::Resync => Phase::Resynchronizing,
                Mirroring::InSync => Phase::InSync,
                Mirroring::Suspended => Phase::Suspended,
            },
        }
    }

    /// Why this process may not touch the files any more; it should exit.
    pub fn fenced(&self) -> Option<&str> {
        self.fenced.as_deref()
    }

    /// The acting primary's state.
    pub fn acting(&self) -> Result<&Acting, NotActing> {
        match (&self.fenced, &self.part) {
            (Some(why), _) => Err(NotActing(why.clone())),
            (None, Part::Acting(acting)) => Ok(acting),
            (None, Part::Nobody | Part::Mirror(_)) => Err(NotActing("not the acting primary".into())),
        }
    }

    fn acting_mut(&mut self) -> Result<&mut Acting, NotActing> {
        self.acting()?;
        match &mut self.part {
            Part::Acting(acting) => Ok(acting),
            Part::Nobody | Part::Mirror(_) => Err(NotActing("not the acting primary".into())),
        }
    }

    fn save_meta(&self) -> Effect {
        Effect::SaveMeta(Box::new(self.meta.clone()))
    }

    fn store_epoch(&mut self, epoch: Epoch) -> Effect {
        self.meta.epoch = epoch;
        self.meta.stamps.clear();
        self.save_meta()
    }

    /// The same for the acting primary: who served last, should the catalog be lost.
    fn store_acting_epoch(&mut self, epoch: Epoch) -> Effect {
        self.meta.acted = epoch;
        self.store_epoch(epoch)
    }

    /// Ends whatever link there is; whoever speaks of it is a stranger from now on.
    fn close_link(&mut self) {
        self.link_id.0 += 1;
        self.comparison.link_ended();
        match &mut self.part {
            Part::Acting(acting) => acting.link = None,
            Part::Mirror(mirror) => mirror.close(),
            Part::Nobody => {}
        }
    }

    /// The link whose connection to the mirror may stay open; any other is closed.
    pub fn open_link_id(&self) -> Option<LinkId> {
        match &self.part {
            Part::Acting(acting) if self.fenced.is_none() => {
                (acting.link.is_some() || acting.recovery.is_some()).then_some(self.link_id)
            }
            _ => None,
        }
    }

    /// Whether connections that came for the link may stay open; else all of them are closed.
    pub fn takes_link(&self) -> bool {
        match &self.part {
            Part::Mirror(mirror) => self.fenced.is_none() && (mirror.linked || !mirror.had_link),
            Part::Nobody | Part::Acting(_) => false,
        }
    }

    /// Ends this process's access to the files: nothing is written or acknowledged any more. The
    /// process exits next, without closing SQLite (R7).
    pub fn fence(&mut self, why: &str) {
        self.fenced.get_or_insert_with(|| why.to_owned());
        self.close_link();
    }

    /// SQLite is open: the acting primary takes sessions from here on.
    pub fn serving(&mut self) {
        if let Part::Acting(acting) = &mut self.part {
            acting.serving = true;
        }
    }

    /// What an order asks of this process.
    pub fn todo(&self, order: &Order) -> Obedience {
        if self.fenced.is_some() { Obedience::Exit } else { obey(self.standing(), order) }
    }

    /// Obeys an order. Nothing is to be done for one that was obeyed already.
    pub fn order(&mut self, order: &Order, files: &dyn Files, now: Time) -> Result<Vec<Effect>, Refused> {
        let epoch = order.row.epoch;
        match self.todo(order) {
            Obedience::Nothing => Ok(Vec::new()),
            Obedience::Serve { mirrorless } => self.serve(epoch, mirrorless, files),
            Obedience::AwaitLink => {
                let effect = self.store_epoch(epoch);
                self.part = Part::Mirror(Mirror::default());
                Ok(vec![effect])
            }
            Obedience::Promote => self.promote(epoch),
            Obedience::CloseLink => Ok(self.end_link(epoch)),
            Obedience::TrackAlone => Ok(self.track_alone(epoch)),
            Obedience::Resynchronize => self.resynchronize(order, now),
            Obedience::Exit => {
                self.fence("another segment is the acting primary");
                Ok(vec![Effect::Exit])
            }
        }
    }

    /// A database is being made: nobody else knows of it yet, so it needs no coordinator's word.
    pub fn serve_to_create(&mut self, files: &dyn Files) -> Result<Vec<Effect>, Refused> {
        self.serve(self.meta.epoch.next(), true, files)
    }

    /// R5: a returning acting primary, alone under a new epoch. After an unclean end the pages its
    /// log names are its contribution; the map that a checkpoint made durable holds the rest.
    fn serve(&mut self, epoch: Epoch, mirrorless: bool, files: &dyn Files) -> Result<Vec<Effect>, Refused> {
        if !self.meta.consistent {
            return Err(Refused("this copy is not consistent, so it can't serve (R4)".into()));
        }
        let mut dirty = DirtyMap::default();
        let (mut binding, mut map_unusable) = (None, None);
        if !mirrorless {
            match files.map().map(|stored| self.meta.map_in_force(stored)) {
                Ok(map) => (binding, dirty) = (Some(map.binding), map.dirty),
                Err(why) => map_unusable = Some(why),
            }
            if self.meta.written_outside_checkpoint {
                map_unusable = Some("main.db was written outside a checkpoint".into());
            }
            dirty.union(&files.pages_named_by_log().map_err(Refused)?);
        }
        let mut acting = Acting::alone(mirrorless, dirty, binding, map_unusable);
        let mut effects = acting.save_map(self.meta.generation);
        effects.extend(self.act(epoch, acting));
        Ok(effects)
    }

    /// Takes on the acting primary's role, when its map is durable: the epoch, then SQLite.
    fn act(&mut self, epoch: Epoch, acting: Acting) -> [Effect; 2] {
        let effect = self.store_acting_epoch(epoch);
        self.part = Part::Acting(Box::new(acting));
        [effect, Effect::Serve]
    }

    /// R3, in its order: close the link; stop and join the appliers; store the higher epoch durably;
    /// open SQLite.
    fn promote(&mut self, epoch: Epoch) -> Result<Vec<Effect>, Refused> {
        let Part::Mirror(mirror) = &mut self.part else { return Ok(Vec::new()) };
        let serves_from = mirror.last_ping.filter(|_| !mirror.saw_end).map(|at| at + READ_LEASE);
        if mirror.appliers > 0 {
            mirror.close();
            return Ok(vec![Effect::JoinAppliers]);
        }
        let (Some(peer), true) = (self.meta.peer, self.meta.consistent) else {
            return Err(Refused("this copy is not consistent, so it can't be promoted (R4)".into()));
        };
        let mut acting = Acting::alone(false, DirtyMap::default(), Some(Binding::to(peer)), None);
        acting.serves_from = serves_from;
        // The marker says that it is empty; see `Meta::map_in_force`.
        acting.primary.map_saved();
        Ok(self.act(epoch, acting).into())
    }

    /// Declared lost: nothing of an earlier link is applied any more.
    fn end_link(&mut self, epoch: Epoch) -> Vec<Effect> {
        if let Part::Mirror(mirror) = &mut self.part {
            mirror.close();
            if mirror.appliers > 0 {
                return vec![Effect::JoinAppliers];
            }
        }
        vec![self.store_epoch(epoch)]
    }

    /// The grant of tracking: the map is durable before the gate opens.
    fn track_alone(&mut self, epoch: Epoch) -> Vec<Effect> {
        self.close_link();
        self.gate_closed = false;
        self.recovery_is_over();
        let mut effects = Vec::new();
        if let Part::Acting(acting) = &mut self.part {
            acting.primary.mirror_lost();
            acting.recovery = None;
            acting.progress = None;
            acting.lost = None;
            effects.extend(acting.save_map(self.meta.generation));
            acting.primary.tracking_granted();
        }
        effects.push(self.store_acting_epoch(epoch));
        effects
    }

    fn resynchronize(&mut self, order: &Order, now: Time) -> Result<Vec<Effect>, Refused> {
        let Some(peer) = order.peer.clone() else {
            return Err(Refused("an order to resynchronize names no mirror".into()));
        };
        let effect = self.store_acting_epoch(order.row.epoch);
        self.link_id.0 += 1;
        let link = self.link_id;
        if let Part::Acting(acting) = &mut self.part {
            acting.lost = None;
            acting.progress = Some(recovery::preparing());
            acting.recovery = Some(Recovery::new(order, peer.clone(), now));
        }
        if self.comes_to(Stage::Preparation) {
            self.gate_closed = true;
        }
        Ok(vec![effect, Effect::Recover { link, peer }])
    }

    /// Whether its files may be written from outside: nobody's part, and a copy that nobody may serve.
    pub fn may_be_filled(&self) -> Result<(), Refused> {
        match (&self.fenced, &self.part) {
            (Some(why), _) => Err(Refused(why.clone())),
            (None, Part::Nobody) if !self.meta.consistent => Ok(()),
            (None, Part::Nobody) => Err(Refused("this copy is consistent: it must not be written over".into())),
            (None, Part::Mirror(_) | Part::Acting(_)) => Err(Refused("this process has a part already".into())),
        }
    }

    /// The files are those of a backup, durably: from here on this is the copy that the row speaks of, and no
    /// other is known to differ from it by little.
    pub fn restored(&mut self, copy: CopyId, epoch: Epoch) -> Result<Vec<Effect>, Refused> {
        self.may_be_filled()?;
        self.meta = Meta {
            copy,
            generation: Epoch::default(),
            // What was ordered before it was restored is not for it.
            epoch: self.meta.epoch.max(epoch),
            peer: None,
            consistent: true,
            written_outside_checkpoint: false,
            stamps: Vec::new(),
            touched: Vec::new(),
            soundness: Soundness::Sound,
            ..self.meta.clone()
        };
        // The map first: a record without a map would be one whose map was lost.
        let binding = Binding::to(self.meta.copy_state());
        let map = TrackMap { binding, written_in: self.meta.generation, dirty: DirtyMap::default() };
        Ok(vec![Effect::SaveMap(map), self.save_meta()])
    }

    /// A clean end of the process: what the files look like is noted.
    pub fn clean_end(&mut self, stamps: Vec<Stamp>) -> Vec<Effect> {
        self.meta.stamps = stamps;
        vec![self.save_meta()]
    }

    /// The truth about this segment now.
    pub fn report(&self, around: &Surroundings) -> Report {
        let meta = &self.meta;
        let mut report = Report {
            dbid: meta.dbid,
            content: meta.content,
            pid: around.pid,
            phase: self.phase(),
            epoch: meta.epoch,
            copy: meta.copy_state(),
            ready: false,
            link: None,
            mirror_lost: None,
            sick: self.fenced.clone().or_else(|| around.sick.clone()),
            map_unusable: None,
            map_bound_to: None,
            dirty_blocks: 0,
            data_bytes: around.data_bytes,
            free_bytes: around.free_bytes,
            progress: None,
            lag: None,
            verification: self.comparison.report(),
            soundness: meta.soundness.clone(),
            damaged_pages: 0,
            held: self.hold.map(Hold::report),
            release: RELEASE.into(),
            sessions: 0,
        };
        match &self.part {
            Part::Nobody => report.ready = meta.consistent && around.files_stand,
            Part::Mirror(mirror) => {
                report.ready = meta.consistent && mirror.failed.is_none() && !mirror.differs && around.files_stand;
                report.link = mirror.linked.then_some(meta.epoch);
                report.sick = report.sick.or_else(|| mirror.failed.clone());
                if mirror.differs {
                    report.soundness = Soundness::Unjudged;
                }
            }
            Part::Acting(acting) => {
                report.link = acting.link.is_some().then_some(meta.epoch);
                report.mirror_lost = acting.lost.clone();
                report.map_unusable = acting.map_unusable.clone();
                report.map_bound_to = acting.binding.map(|b| CopyState { copy: b.copy, generation: b.generation });
                report.dirty_blocks = acting.primary.dirty().count();
                report.progress = acting.progress.clone();
            }
        }
        report
    }
}
