//! The mirror's part: it applies the frames of its one link, in their order.
//!
//! Its files have no SQLite connection; they are opened only after a promotion, which first ends the
//! link and joins whoever applies (R3).

use super::{Effect, Files, Part, Replica, Time};
use crate::core::frame::{Frame, Manifest, Open};
use crate::core::report::{CopyState, Soundness};
use crate::core::track::FileId;
use thiserror::Error;

/// A mirror, or a fresh process that waits for its link.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Mirror {
    /// The link stands.
    pub(super) linked: bool,
    /// A link was accepted, or given up: there is no second one (R3, R6).
    pub(super) had_link: bool,
    /// Appliers that have begun and are not known to have ended.
    pub(super) appliers: u32,
    /// The link was seen to end: its primary's read lease is void.
    pub(super) saw_end: bool,
    pub(super) failed: Option<String>,
    pub(super) last_ping: Option<Time>,
    /// A comparison found that the two copies differ: it must not take over before it was recovered.
    pub(super) differs: bool,
}

/// Which frames may come next: nothing is applied before the primary proved that this is the link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
enum Turn {
    #[default]
    Open,
    Begin,
    Data,
}

/// One connection that came for the link: what has to be known from one frame to the next.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Applier {
    turn: Turn,
    /// Files written since the last barrier.
    written: Vec<FileId>,
}

/// The peer broke the protocol, or is not the peer.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the primary broke the protocol: {0}")]
pub struct Breach(pub String);

/// How an applier ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ApplierEnd {
    /// The connection was closed or reset: its primary can't be served by this mirror any more.
    Closed,
    /// Silence, a breach of the protocol, or an end that this side made.
    GivenUp,
    /// The mirror's own disk failed it.
    Disk(String),
}

impl Mirror {
    /// Ends the link, and lets no other take its place.
    pub(super) fn close(&mut self) {
        (self.had_link, self.linked) = (true, false);
    }
}

impl Applier {
    /// Whether this connection became the link.
    pub fn is_link(&self) -> bool {
        self.turn != Turn::Open
    }

    /// What a frame of data asks for; `None` for a frame that concerns the whole replica and goes to
    /// [`Replica::apply`].
    pub fn data(&mut self, frame: &mut Frame) -> Option<Vec<Effect>> {
        if self.turn != Turn::Data {
            return None;
        }
        match frame {
            Frame::SetLen { file, len } => {
                self.note(*file);
                Some(vec![Effect::SetLen { file: *file, len: *len }])
            }
            Frame::Data { file, offset, bytes } => {
                self.note(*file);
                Some(vec![Effect::Write { file: *file, offset: *offset, bytes: std::mem::take(bytes) }])
            }
            Frame::Barrier(barrier) => {
                let mut effects = self.sync();
                effects.push(Effect::Answer(Frame::Synced(*barrier)));
                Some(effects)
            }
            Frame::Hash(chunk) => Some(vec![Effect::Hash(*chunk)]),
            _ => None,
        }
    }

    fn note(&mut self, file: FileId) {
        if !self.written.contains(&file) {
            self.written.push(file);
        }
    }

    /// A sync of any file is a barrier for all: everything written is synced.
    fn sync(&mut self) -> Vec<Effect> {
        self.written.drain(..).map(Effect::Sync).collect()
    }
}

impl Replica {
    /// A connection came for the link; who applies its frames has begun.
    pub fn link_arrived(&mut self) -> Result<Applier, Breach> {
        match &mut self.part {
            Part::Mirror(mirror) if !mirror.had_link => {
                mirror.appliers += 1;
                Ok(Applier::default())
            }
            Part::Mirror(_) => Err(Breach("a link is never resumed (R6)".into())),
            Part::Nobody | Part::Acting(_) => Err(Breach("no link is awaited here".into())),
        }
    }

    /// A frame that is not plain data; see [`Applier::data`].
    pub fn apply(
        &mut self,
        applier: &mut Applier,
        frame: Frame,
        files: &dyn Files,
        now: Time,
    ) -> Result<Vec<Effect>, Breach> {
        match (applier.turn, frame) {
            (Turn::Open, Frame::Open(open)) => {
                let manifest = self.accept(&open, files)?;
                applier.turn = Turn::Begin;
                Ok(vec![Effect::Answer(Frame::Manifest(manifest))])
            }
            (Turn::Begin, Frame::Begin) => {
                applier.turn = Turn::Data;
                self.meta.consistent = false;
                self.meta.stamps.clear();
                Ok(vec![self.save_meta(), Effect::Answer(Frame::Begun)])
            }
            (Turn::Data, Frame::Consistent { copy }) => {
                let mut effects = applier.sync();
                effects.push(self.become_consistent(copy));
                effects.push(Effect::Answer(Frame::IsConsistent));
                Ok(effects)
            }
            (Turn::Data, Frame::Ping(sent)) => {
                if let Part::Mirror(mirror) = &mut self.part {
                    mirror.last_ping = Some(now);
                }
                Ok(vec![Effect::Answer(Frame::Pong(sent))])
            }
            (Turn::Data, Frame::Differs) => {
                if let Part::Mirror(mirror) = &mut self.part {
                    mirror.differs = true;
                }
                Ok(Vec::new())
            }
            (_, other) => Err(Breach(format!("it is not the turn of {}", other.name()))),
        }
    }

    fn accept(&mut self, open: &Open, files: &dyn Files) -> Result<Manifest, Breach> {
        let (epoch, me) = (self.meta.epoch, self.meta.dbid);
        if open.epoch != epoch || open.mirror != me {
            return Err(Breach(format!("a link for {open:?}; this is dbid {me} in epoch {epoch}")));
        }
        match &mut self.part {
            Part::Mirror(mirror) if !mirror.had_link => (mirror.had_link, mirror.linked) = (true, true),
            _ => return Err(Breach("a link is never resumed, and there is one at most (R6)".into())),
        }
        let unreadable = |why: String| Breach(format!("its own files can't be read: {why}"));
        let mut contribution = files.pages_named_by_log().map_err(unreadable)?;
        let mut unusable = (self.meta.written_outside_checkpoint)
            .then(|| "main.db of this copy was written outside a checkpoint".to_owned());
        // A former primary may have found that its mirror differs, and have died before the row said so.
        match files.map().map(|stored| self.meta.map_in_force(stored)) {
            Ok(map) => contribution.union(&map.dirty),
            Err(why) if self.meta.soundness != Soundness::Sound => unusable = unusable.or(Some(why)),
            Err(_) => {}
        }
        Ok(Manifest {
            copy: self.meta.copy_state(),
            lengths: FileId::ALL.map(|file| files.len(file).ok().filter(|len| *len > 0)),
            contribution: contribution.runs().iter().map(|r| (r.file.number(), r.first, r.count)).collect(),
            touched: self.meta.touched.clone(),
            unusable,
        })
    }

    /// The marker of R4: from here on this copy may be promoted. It makes the map empty, see
    /// `Meta::map_in_force`.
    fn become_consistent(&mut self, primary: CopyState) -> Effect {
        let meta = &mut self.meta;
        meta.consistent = true;
        meta.generation = meta.epoch;
        meta.peer = Some(primary);
        meta.written_outside_checkpoint = false;
        meta.touched.clear();
        meta.soundness = Soundness::Sound;
        self.save_meta()
    }

    /// The link of this applier is over. It writes nothing more, but counts until
    /// [`Replica::applier_joined`].
    pub fn link_ended(&mut self, applier: &Applier, end: ApplierEnd) {
        let Part::Mirror(mirror) = &mut self.part else { return };
        if !applier.is_link() {
            return;
        }
        // A silent primary is no end: only a closed connection tells that its lease is void. Nor is an
        // end that we made ourselves.
        mirror.saw_end |= mirror.linked && end == ApplierEnd::Closed;
        if let ApplierEnd::Disk(why) = end {
            mirror.failed = Some(why);
        }
        mirror.linked = false;
    }

    /// An applier has ended, and can't touch the files any more.
    pub fn applier_joined(&mut self) {
        if let Part::Mirror(mirror) = &mut self.part {
            mirror.appliers = mirror.appliers.saturating_sub(1);
        }
    }
}
