//! The acting primary's side of a verification: chunks are read here and asked for there, each at the
//! same place of the one ordered stream (see [`Pass`]).
//!
//! What differs is durable here before anybody hears of it: the blocks in the map, and in the copy's
//! record that this side is unjudged. And the mirror is told, so that it does not take over before it was
//! recovered.

use super::acting::Stranger;
use super::link::LinkId;
use super::{Effect, NotActing, Part, Replica, Time};
use crate::core::frame::Frame;
use crate::core::pair::primary::Mirroring;
use crate::core::report::{MirrorLoss, Soundness, Verification};
use crate::core::track::{DirtyMap, FileId, Run};
use crate::core::verify::{Chunk, Held, Pass};
use std::time::Duration;

/// How often who waits for the rate looks whether the comparison is still wanted.
const LOOK: Duration = Duration::from_millis(100);

/// The comparison under way, or the last one.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(super) struct Comparison {
    pass: Option<Pass>,
    rate_bytes: Option<u64>,
    began: Time,
    asked_bytes: u64,
    /// Answers under way on this link that a pass which ended early had asked for.
    unclaimed: usize,
}

/// What whoever carries out a comparison has to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CompareWork {
    /// Read the next chunk of this file, by [`Replica::chunk`] and [`Replica::asked`], under one lock.
    Ask(FileId),
    /// Nothing before something changes, or this time has passed.
    Wait(Duration),
    /// It has ended, however that came, or another one took its place.
    Over,
}

impl Comparison {
    /// The pass of an operation, unless another one took its place.
    fn of(&mut self, op: i64) -> Option<&mut Pass> {
        self.pass.as_mut().filter(|pass| pass.op() == op)
    }

    pub(super) fn report(&self) -> Option<Verification> {
        self.pass.as_ref().map(Pass::report)
    }

    fn end(&mut self, why: &str) {
        if let Some(pass) = &mut self.pass {
            self.unclaimed += pass.fail(why);
        }
    }

    /// Makes room for the pass of an operation; false when there is one already. Operations are numbered in
    /// their order, and what is heard late of an earlier one takes nobody's place.
    fn take(&mut self, op: i64) -> bool {
        if self.pass.as_ref().is_some_and(|pass| pass.op() >= op) {
            return false;
        }
        self.end("another one took its place");
        self.pass = Some(Pass::new(op));
        true
    }

    /// No answer comes any more.
    pub(super) fn link_ended(&mut self) {
        self.end("the link to the mirror ended");
        self.unclaimed = 0;
    }

    /// When the next chunk may be asked for, to hold the rate that the operator named.
    fn due(&self) -> Time {
        let time = |rate: u64| Duration::from_secs_f64(self.asked_bytes as f64 / rate as f64);
        self.began + self.rate_bytes.map_or(Duration::ZERO, time)
    }
}

impl Replica {
    /// A comparison with the mirror is wanted, for an operation, at most so many bytes per second. True when
    /// it begins: said again for the same operation, or without a mirror in sync, it does not.
    pub fn verify(&mut self, op: i64, rate_bytes: Option<u64>, now: Time) -> bool {
        if !self.comparison.take(op) {
            return false;
        }
        let in_sync = self.acting().is_ok_and(|acting| acting.primary.mirroring() == Mirroring::InSync);
        let comparison = &mut self.comparison;
        (comparison.rate_bytes, comparison.began) = (rate_bytes.filter(|rate| *rate > 0), now);
        comparison.asked_bytes = 0;
        if !in_sync {
            comparison.end("it has no mirror in sync");
        }
        in_sync
    }

    /// The comparison of an operation is not wanted any more, also when this is heard before that it was.
    pub fn end_verify(&mut self, op: i64) {
        self.comparison.take(op);
        if self.comparison.of(op).is_some() {
            self.comparison.end("it was cancelled");
        }
    }

    /// What is to be done next for the comparison of an operation.
    pub fn compare_work(&mut self, op: i64, now: Time) -> CompareWork {
        let due = self.comparison.due();
        match self.comparison.of(op).filter(|pass| pass.is_running()) {
            None => CompareWork::Over,
            Some(_) if due > now => CompareWork::Wait((due - now).min(LOOK)),
            Some(pass) => match pass.next_file().filter(|_| pass.has_room()) {
                Some(file) => CompareWork::Ask(file),
                None => CompareWork::Wait(LOOK),
            },
        }
    }

    /// The chunk to read next, of a file that is so many bytes long now.
    pub fn chunk(&mut self, op: i64, file_len: u64) -> Option<Chunk> {
        self.comparison.of(op)?.next(file_len)
    }

    /// The chunk was read under the lock that orders it with every write: its request takes its place.
    pub fn asked(&mut self, op: i64, chunk: Chunk, ours: Held) {
        let Part::Acting(acting) = &mut self.part else { return };
        let Some(link) = &mut acting.link else { return };
        if let Some(pass) = self.comparison.of(op).filter(|pass| pass.is_running()) {
            pass.asked(chunk, ours);
            link.push(Frame::Hash(chunk));
            self.comparison.asked_bytes += chunk.len;
        }
    }

    /// Whether a mirror's answer is what was expected and nothing differs: then [`Replica::compared`] has no
    /// effects.
    pub fn is_equal(&self, file: FileId, offset: u64, held: &Held) -> bool {
        let pass = self.comparison.pass.as_ref().filter(|pass| pass.is_running() && self.comparison.unclaimed == 0);
        pass.is_none_or(|pass| pass.is_equal(file, offset, held))
    }

    /// The mirror's hashes of a chunk came on this link.
    pub fn compared(&mut self, id: LinkId, file: FileId, offset: u64, held: &Held) -> Result<Vec<Effect>, Stranger> {
        self.link_mut(id)?;
        if self.comparison.unclaimed > 0 {
            self.comparison.unclaimed -= 1;
            return Ok(Vec::new());
        }
        let answered = match self.comparison.pass.as_mut().filter(|pass| pass.is_running()) {
            Some(pass) => pass.answered(file, offset, held),
            None => Ok(Vec::new()),
        };
        let runs = match answered {
            Ok(runs) => runs,
            Err(out_of_turn) => {
                self.lose_mirror(MirrorLoss::LinkClosed(out_of_turn.to_string()));
                return Ok(Vec::new());
            }
        };
        let Part::Acting(acting) = &mut self.part else { return Err(Stranger) };
        if runs.is_empty() {
            return Ok(Vec::new());
        }
        runs.iter().for_each(|run| acting.primary.differs(*run));
        if let Some(link) = &mut acting.link {
            link.push(Frame::Differs);
        }
        let map = acting.save_map(self.meta.generation);
        let mut effects = Vec::new();
        // The record first: with the map alone a recovery would copy what nobody has judged.
        if self.meta.soundness == Soundness::Sound {
            self.meta.soundness = Soundness::Unjudged;
            effects.push(self.save_meta());
        }
        effects.extend(map);
        Ok(effects)
    }

    /// A difference could not be made durable: it counts as not found.
    pub fn not_kept(&mut self, why: &str) {
        self.comparison.end(&format!("a difference could not be kept: {why}"));
    }

    /// The blocks in which the mirror may differ.
    pub fn differing(&self) -> Result<DirtyMap, NotActing> {
        Ok(self.acting()?.primary.possibly_different())
    }

    /// Whether a damage met on this side is best met by its end: its mirror holds what was written.
    pub fn may_give_way(&self) -> bool {
        let in_sync = self.acting().is_ok_and(|acting| acting.primary.mirroring() == Mirroring::InSync);
        in_sync && self.meta.soundness == Soundness::Sound
    }

    /// This side is about to give way to its mirror because of a damaged block. If the mirror can't take over,
    /// this side may not serve again as if nothing were; and as a mirror it is sent what is damaged.
    pub fn gives_way(&mut self, why: String, damaged: Run) -> Result<Vec<Effect>, NotActing> {
        let generation = self.meta.generation;
        let acting = self.acting_mut()?;
        acting.primary.differs(damaged);
        let map = acting.save_map(generation);
        self.meta.soundness = Soundness::Damaged { why };
        Ok(std::iter::once(self.save_meta()).chain(map).collect())
    }

    /// A committed part of this side's files is not what was written there: nothing is copied from here any
    /// more, and no mirror may come to be in sync with it.
    pub fn met_damage(&mut self, why: String) -> Result<Vec<Effect>, NotActing> {
        self.acting()?;
        if matches!(self.meta.soundness, Soundness::Damaged { .. }) {
            return Ok(Vec::new());
        }
        if self.acting()?.primary.mirroring() == Mirroring::Resync {
            self.lose_mirror(MirrorLoss::LinkClosed(format!("what would be copied is damaged: {why}")));
        }
        self.meta.soundness = Soundness::Damaged { why };
        Ok(vec![self.save_meta()])
    }

    /// This side was judged: what is damaged, or nothing. Counts only while a judgement is due.
    pub fn judged(&mut self, damaged: Option<String>) -> Result<Vec<Effect>, NotActing> {
        self.acting()?;
        if self.meta.soundness != Soundness::Unjudged {
            return Ok(Vec::new());
        }
        self.meta.soundness = damaged.map_or(Soundness::Sound, |why| Soundness::Damaged { why });
        Ok(vec![self.save_meta()])
    }
}
