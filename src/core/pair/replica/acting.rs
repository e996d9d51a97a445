//! The acting primary's part: SQLite's writes and syncs, and what the mirror's answers mean for them.

use super::link::{Link, LinkId};
use super::recovery::Recovery;
use super::{ACK_DEADLINE, COPY_QUEUE_BYTES, Effect, NotActing, Part, READ_LEASE, Replica, Time};
use crate::core::format::TrackMap;
use crate::core::frame::Frame;
use crate::core::ids::Epoch;
use crate::core::pair::binding::Binding;
use crate::core::pair::primary::{Mirroring, Primary, Range, SyncNeeds};
use crate::core::report::{MirrorLoss, Progress};
use crate::core::track::{DirtyMap, FileId};
use std::time::Duration;

/// An acting primary.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Acting {
    pub(super) primary: Primary,
    /// The copy the map is bound to; `None` when the map can't be used, or there is no mirror.
    pub(super) binding: Option<Binding>,
    pub(super) map_unusable: Option<String>,
    pub(super) link: Option<Link>,
    pub(super) lost: Option<MirrorLoss>,
    /// The recovery that made, or makes, the link.
    pub(super) recovery: Option<Recovery>,
    /// Its figures, kept until the next loss.
    pub(super) progress: Option<Progress>,
    /// SQLite is open and sessions are served.
    pub(super) serving: bool,
    /// A promoted mirror serves no read and takes no write before this: its former primary may still hold a
    /// read lease, and what it answers under it must not be older than what was acknowledged here.
    pub(super) serves_from: Option<Time>,
}

/// A sync that has begun: what it waits for, on which link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ticket {
    link: LinkId,
    needs: SyncNeeds,
}

/// Frames for the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    pub frames: Vec<Frame>,
    /// The queue was so long that somebody may have waited for it to become shorter.
    pub made_room: bool,
}

/// Where a sync stands once the local file is synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Synced {
    /// Durable wherever it must be: it may be acknowledged.
    Yes,
    /// The mirror has not answered, or the grant of tracking has not come.
    NotYet,
}

/// Whether something may be done now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permit {
    Granted,
    /// Ask again when something changes, or after this time.
    Wait(Duration),
}

impl Ticket {
    /// Whether it waits for the mirror too.
    pub fn is_mirrored(self) -> bool {
        matches!(self.needs, SyncNeeds::Both(_))
    }

    /// Whether [`Replica::synced_here`] has to be made durable once the local file is synced.
    pub fn needs_map(self) -> bool {
        self.needs == SyncNeeds::LocalAndMap
    }
}

impl Acting {
    pub(super) fn alone(
        mirrorless: bool,
        dirty: DirtyMap,
        binding: Option<Binding>,
        map_unusable: Option<String>,
    ) -> Acting {
        Acting {
            primary: Primary::alone(mirrorless, dirty),
            binding,
            map_unusable,
            link: None,
            lost: None,
            recovery: None,
            progress: None,
            serving: false,
            serves_from: None,
        }
    }

    /// The map as it is made durable.
    pub(super) fn map(&self, generation: Epoch) -> Option<TrackMap> {
        Some(TrackMap { binding: self.binding?, written_in: generation, dirty: self.primary.possibly_different() })
    }

    /// Makes the map durable, if there is one, beside a record of this generation.
    pub(super) fn save_map(&mut self, generation: Epoch) -> Vec<Effect> {
        self.primary.map_saved();
        self.map(generation).map(Effect::SaveMap).into_iter().collect()
    }

    pub fn primary(&self) -> &Primary {
        &self.primary
    }

    pub fn link(&self) -> Option<&Link> {
        self.link.as_ref()
    }

    /// For how long the former primary may still hold a read lease.
    fn foreign_lease(&self, now: Time) -> Option<Duration> {
        self.serves_from?.checked_sub(now).filter(|left| !left.is_zero())
    }
}

impl Replica {
    /// Whether a write may pass: the gate is open, the mirror is not lost, the queue has room for it, and no
    /// former primary can still answer reads that would not show it.
    pub fn may_write(&self, now: Time) -> Result<Permit, NotActing> {
        let acting = self.acting()?;
        if let Some(left) = acting.foreign_lease(now) {
            return Ok(Permit::Wait(left));
        }
        let full = acting.link.as_ref().is_some_and(|l| !l.has_room());
        let waits = self.gate_closed || full || acting.primary.mirroring() == Mirroring::Suspended;
        Ok(if waits { Permit::Wait(ACK_DEADLINE) } else { Permit::Granted })
    }

    /// Whether a write now would be one that no log frame announces: after a crash nothing would name
    /// it, so [`Replica::note_unannounced`] comes first.
    pub fn is_unannounced(&self, file: FileId) -> bool {
        file == FileId::Main && !self.checkpointing && !self.meta.written_outside_checkpoint
    }

    /// Says durably that the map can't be used any more.
    pub fn note_unannounced(&mut self) -> Vec<Effect> {
        self.meta.written_outside_checkpoint = true;
        if let Part::Acting(acting) = &mut self.part {
            acting.map_unusable = Some("main.db was written outside a checkpoint".into());
        }
        vec![self.save_meta()]
    }

    /// `SQLITE_FCNTL_CKPT_START` (true) and `SQLITE_FCNTL_CKPT_DONE` (false).
    pub fn checkpoint(&mut self, running: bool) {
        self.checkpointing = running;
    }

    /// The local file took this write: it is queued for the mirror, or marked. True when there is
    /// something to send.
    pub fn wrote(&mut self, file: FileId, offset: u64, data: &[u8]) -> bool {
        let Part::Acting(acting) = &mut self.part else { return false };
        let ranges = acting.primary.wrote(file, offset, data.len() as u64);
        let Some(link) = &mut acting.link else { return false };
        for Range { offset: from, len } in &ranges {
            let start = usize::try_from(from - offset).expect("a range lies inside its write");
            let end = start + usize::try_from(*len).expect("a range lies inside its write");
            link.push(Frame::Data { file, offset: *from, bytes: data[start..end].to_vec() });
        }
        !ranges.is_empty()
    }

    /// The local file was cut, or grew, from one length to another. True when there is something to send.
    pub fn truncated(&mut self, file: FileId, old_len: u64, len: u64) -> bool {
        let Part::Acting(acting) = &mut self.part else { return false };
        if !acting.primary.truncated(file, old_len, len) {
            return false;
        }
        if let Some(link) = &mut acting.link {
            link.push(Frame::SetLen { file, len });
        }
        true
    }

    /// A sync begins, before the local file is synced: both sides sync at the same time.
    pub fn sync_begins(&mut self, file: FileId, now: Time) -> Result<Ticket, NotActing> {
        let link = self.link_id;
        let acting = self.acting_mut()?;
        let needs = acting.primary.sync(file);
        if let (SyncNeeds::Both(barrier), Some(link)) = (needs, &mut acting.link) {
            link.push_barrier(barrier, now);
        }
        Ok(Ticket { link, needs })
    }

    /// The local file is synced: what else has to be made durable here before the sync is over.
    pub fn synced_here(&mut self) -> Result<Vec<Effect>, NotActing> {
        let generation = self.meta.generation;
        Ok(self.acting_mut()?.save_map(generation))
    }

    /// Whether a sync whose local part is done may be acknowledged (R2).
    pub fn synced(&self, ticket: Ticket) -> Result<Synced, NotActing> {
        let acting = self.acting()?;
        let SyncNeeds::Both(barrier) = ticket.needs else { return Ok(Synced::Yes) };
        Ok(match acting.primary.mirroring() {
            // The link was lost since: its unsynced blocks were marked, and tracking is granted only
            // after that map is durable, so our own sync is enough.
            Mirroring::Tracking | Mirroring::Mirrorless => Synced::Yes,
            Mirroring::Resync | Mirroring::InSync if self.link_id != ticket.link => Synced::Yes,
            Mirroring::Resync | Mirroring::InSync if acting.primary.is_answered(barrier) => Synced::Yes,
            Mirroring::Resync | Mirroring::InSync | Mirroring::Suspended => Synced::NotYet,
        })
    }

    /// Whether a result computed now may be given to a client.
    pub fn may_read(&self, now: Time) -> Result<Permit, NotActing> {
        let acting = self.acting()?;
        if let Some(left) = acting.foreign_lease(now) {
            return Ok(Permit::Wait(left));
        }
        Ok(match acting.primary.mirroring() {
            Mirroring::Suspended => Permit::Wait(ACK_DEADLINE),
            _ if self.gate_closed => Permit::Wait(ACK_DEADLINE),
            // While the row says r the mirror can't be promoted, so no lease is needed.
            Mirroring::Mirrorless | Mirroring::Tracking | Mirroring::Resync => Permit::Granted,
            Mirroring::InSync if acting.link.as_ref().is_some_and(|l| l.lease_holds(now)) => Permit::Granted,
            Mirroring::InSync => Permit::Wait(READ_LEASE),
        })
    }

    /// The next frames to send on this link, until they make up so many bytes.
    pub fn next_frames(&mut self, link: LinkId, bytes: usize) -> Result<Batch, Stranger> {
        let link = self.link_mut(link)?;
        let before = link.queued_bytes();
        let mut frames = Vec::new();
        while before - link.queued_bytes() < bytes
            && let Some(frame) = link.pop()
        {
            frames.push(frame);
        }
        Ok(Batch { frames, made_room: before > COPY_QUEUE_BYTES })
    }

    /// The mirror answered on this link.
    pub fn answered(&mut self, id: LinkId, frame: Frame) -> Result<(), Stranger> {
        self.link_mut(id)?;
        let Part::Acting(acting) = &mut self.part else { return Err(Stranger) };
        let Some(link) = &mut acting.link else { return Err(Stranger) };
        match frame {
            Frame::Synced(barrier) => {
                acting.primary.answered(barrier);
                link.answered(barrier);
            }
            Frame::Pong(sent_us) => link.ponged(sent_us),
            Frame::IsConsistent => link.is_consistent = true,
            Frame::Failed(why) => self.lose_mirror(MirrorLoss::MirrorDisk(why)),
            other => {
                let why = format!("the mirror broke the protocol with {}", other.name());
                self.lose_mirror(MirrorLoss::LinkClosed(why));
            }
        }
        Ok(())
    }

    /// Time passed on this link: pings are sent, deadlines judged, unless we were `late` ourselves.
    /// True when the mirror was lost by it.
    pub fn tick(&mut self, id: LinkId, now: Time, late: bool) -> Result<bool, Stranger> {
        let link = self.link_mut(id)?;
        if late {
            link.restart_deadlines(now);
        } else if let Some(waited) = link.overdue(now) {
            let waited_ms = u64::try_from(waited.as_millis()).unwrap_or(u64::MAX);
            self.lose_mirror(MirrorLoss::Silent { waited_ms });
            return Ok(true);
        }
        self.link_mut(id)?.ping(now);
        Ok(false)
    }

    /// The mirror of this link is lost; a stranger's word counts for nothing. True when it counted.
    pub fn link_lost(&mut self, id: LinkId, loss: MirrorLoss) -> bool {
        let counts = self.is_current(id);
        if counts {
            self.lose_mirror(loss);
        }
        counts
    }

    /// Suspended until the coordinator's word (R2).
    pub(super) fn lose_mirror(&mut self, loss: MirrorLoss) {
        self.close_link();
        self.gate_closed = false;
        self.recovery_is_over();
        if let Part::Acting(acting) = &mut self.part {
            acting.primary.mirror_lost();
            acting.recovery = None;
            acting.progress = None;
            acting.lost = Some(loss);
        }
    }

    pub(super) fn is_current(&self, id: LinkId) -> bool {
        self.link_id == id && self.fenced.is_none()
    }

    pub(super) fn link_mut(&mut self, id: LinkId) -> Result<&mut Link, Stranger> {
        if !self.is_current(id) {
            return Err(Stranger);
        }
        match &mut self.part {
            Part::Acting(acting) => acting.link.as_mut().ok_or(Stranger),
            Part::Nobody | Part::Mirror(_) => Err(Stranger),
        }
    }
}

/// The link that somebody speaks of is not the link any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stranger;
