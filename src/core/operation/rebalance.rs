//! The switch of a pair's roles, and the recovery after it.

use super::recover::How;
use super::{Facts, Pairing, Stage, Step, Target, WaitFor, Why};
use crate::core::report::Phase;

impl Target {
    /// `self.dbid` is the segment that shall be the primary.
    pub(super) fn rebalance(&mut self, facts: &Facts) -> Step {
        let row = &facts.row;
        let Some(mirror) = row.mirror else {
            return self.refuse(Why::NoMirror, format!("content {} has no mirror", row.content));
        };
        let is_switched = row.primary.dbid == self.dbid;
        match row.pairing() {
            Some(Pairing::Synchronized) if is_switched => {
                let already = self.stage == Stage::Pending;
                self.done("switched", if already { "already in its preferred roles".into() } else { String::new() })
            }
            Some(Pairing::Synchronized) if self.leaves(facts) => self.wait_for_promotion(facts),
            Some(Pairing::Synchronized) => self.drain(facts),
            Some(Pairing::ChangeTracking | Pairing::Resynchronizing) if is_switched && self.stage != Stage::Pending => {
                self.stage = Stage::Recovering;
                match self.recover(mirror.dbid, How::INCREMENTAL, facts) {
                    Step::Ended => self.switched_but(mirror.dbid),
                    step => step,
                }
            }
            _ if self.stage == Stage::Pending => {
                self.refuse(Why::NotSynchronized, format!("content {} is not synchronized", row.content))
            }
            _ => self.fail("the pair lost its mirror before the roles could be switched".into()),
        }
    }

    /// The primary is drained, or already gone. A coordinator that died between writing the stage and
    /// sending the request left a primary that serves on: that one is asked again.
    fn leaves(&self, facts: &Facts) -> bool {
        self.stage == Stage::Draining && (self.drained || facts.serving().is_none())
    }

    /// Only a pair whose link stands is drained: what is drained must be taken over.
    fn drain(&mut self, facts: &Facts) -> Step {
        if let Some(cause) = self.undrained.take() {
            return self.fail(cause);
        }
        let row = &facts.row;
        let primary = row.primary.dbid;
        let mirror = row.mirror.and_then(|m| facts.member(m.dbid).report);
        let in_sync = facts.serving().is_some_and(|p| p.phase == Phase::InSync);
        let ready = mirror.is_some_and(|m| m.ready && m.link.is_some() && m.sick.is_none());
        if !(in_sync && ready) {
            return match self.wait(WaitFor::MirrorToBeReady, facts) {
                Ok(step) => step,
                Err(()) => self.refuse(
                    Why::NotSynchronized,
                    format!("the mirror of content {} is not ready to take over", row.content),
                ),
            };
        }
        self.stage = Stage::Draining;
        self.was_synchronized = true;
        Step::Drain { dbid: primary }
    }

    /// The drained primary exits and FTS promotes the mirror. If that does not happen the primary is
    /// brought back, so that the content serves again.
    fn wait_for_promotion(&mut self, facts: &Facts) -> Step {
        let primary = facts.row.primary.dbid;
        match self.wait(WaitFor::Promotion, facts) {
            Ok(step) => step,
            Err(()) => {
                let absent = facts.is_absent(primary);
                if absent && !self.started.contains_key(&primary) {
                    return Step::Start { dbid: primary, sibling: false };
                }
                self.fail(format!("the mirror of content {} did not take over", facts.row.content))
            }
        }
    }

    /// The recovery after a switch ended otherwise than in sync: say that the roles did switch.
    fn switched_but(&mut self, dbid: crate::core::ids::Dbid) -> Step {
        use super::Ended;
        match self.ended.take() {
            Some(Ended::Done { note, .. }) => self.done("switched", note),
            Some(Ended::Failed { cause }) => self.fail(format!("switched, but dbid {dbid} is down: {cause}")),
            other => {
                self.ended = other;
                Step::Ended
            }
        }
    }
}
