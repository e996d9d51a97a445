//! The comparison of a pair's two copies, and what follows from a difference.
//!
//! The acting primary makes every difference durable in its map, and that it is unjudged beside it,
//! before it tells of it. So whatever dies in between, the blocks are copied by the next recovery, and
//! never before the primary's own data was judged.

use super::{Ended, Facts, Pairing, Stage, Step, Target, WaitFor, Why};
use crate::core::report::{Report, Soundness, Verification, VerifyStage};
use crate::core::transition::{self, Event};

impl Target {
    /// `self.dbid` is the mirror that is compared with.
    pub(super) fn verify(&mut self, rate_bytes: Option<u64>, facts: &Facts) -> Step {
        let row = &facts.row;
        let Some(mirror) = row.mirror else {
            return self.refuse(Why::NoMirror, format!("content {} has no mirror", row.content));
        };
        if self.stage == Stage::Pending {
            if row.pairing() != Some(Pairing::Synchronized) {
                let cause = format!("content {} is not synchronized", row.content);
                return self.refuse(Why::NotSynchronized, cause);
            }
            (self.dbid, self.stage) = (mirror.dbid, Stage::Verifying);
        }
        if row.primary.dbid == self.dbid {
            return self.gave_way("the roles were switched meanwhile");
        }
        let Some(primary) = facts.serving() else {
            return self.without_primary(facts);
        };
        let mine = primary.verification.as_ref().filter(|v| v.op == facts.op);
        if let Some(seen) = mine {
            self.note(seen);
        }
        match row.pairing() {
            Some(Pairing::Synchronized) => self.compare(rate_bytes, mine, facts),
            Some(Pairing::ChangeTracking) if self.differing_blocks > 0 => self.verdict(&primary, facts),
            Some(Pairing::Resynchronizing) if self.differing_blocks > 0 => {
                self.differs("it is being recovered already".into())
            }
            _ => self.gave_way("the pair is not synchronized any more"),
        }
    }

    fn note(&mut self, seen: &Verification) {
        self.verified_bytes = seen.verified_bytes;
        self.differing_blocks = seen.differing_blocks;
        self.differing.clone_from(&seen.differing);
    }

    /// The pair is in sync, and its primary serves.
    fn compare(&mut self, rate_bytes: Option<u64>, seen: Option<&Verification>, facts: &Facts) -> Step {
        let dbid = facts.row.primary.dbid;
        let Some(seen) = seen else {
            if facts.cancelled {
                return self.end(Ended::Cancelled { note: "not begun".into() });
            }
            return self.ask(WaitFor::VerificationToBegin, Step::Verify { dbid, rate_bytes }, facts);
        };
        match &seen.stage {
            // What is known to differ takes the pair out of sync, also when nobody waits for the rest.
            VerifyStage::Ended | VerifyStage::Failed { .. } if seen.differing_blocks > 0 => self.leave_sync(facts),
            VerifyStage::Ended => self.done("verified", String::new()),
            VerifyStage::Failed { .. } if facts.cancelled => {
                self.end(Ended::Cancelled { note: "no difference until then".into() })
            }
            VerifyStage::Failed { why } => self.fail(format!("the comparison ended early: {why}")),
            VerifyStage::Running if facts.cancelled => {
                self.ask(WaitFor::VerificationToEnd, Step::EndVerify { dbid }, facts)
            }
            VerifyStage::Running => {
                self.wait(WaitFor::Verification, facts).unwrap_or(Step::Wait(WaitFor::Verification))
            }
        }
    }

    /// A step that asks; once that is done it is waited for what comes of it, and after a while asked again.
    fn ask(&mut self, what: WaitFor, ask: Step, facts: &Facts) -> Step {
        if self.asked != Some(what) {
            return ask;
        }
        self.wait(what, facts).unwrap_or_else(|()| {
            self.asked = None;
            ask
        })
    }

    fn leave_sync(&mut self, facts: &Facts) -> Step {
        let reason = format!("verification: {} differ ({})", blocks(self.differing_blocks), self.differing);
        match transition::apply(&facts.row, Event::DifferenceFound) {
            Some(transition) => {
                let transition = Box::new(transition);
                Step::Change { transition, full_copy: false, rate_bytes: None, reason, serving_copy: None, place: None }
            }
            None => Step::Wait(WaitFor::Verification),
        }
    }

    /// The pair has left sync, and the blocks that differ are in the acting primary's map.
    fn verdict(&mut self, primary: &Report, facts: &Facts) -> Step {
        match &primary.soundness {
            Soundness::Damaged { why } => self.differs(format!("primary dbid {} damaged: {why}", primary.dbid)),
            Soundness::Sound => self.differs(format!(
                "primary dbid {} is sound; recover() copies it over mirror dbid {}",
                primary.dbid, self.dbid
            )),
            Soundness::Unjudged if facts.cancelled => self.differs("not judged yet: a recovery does that first".into()),
            Soundness::Unjudged => self.judge(facts),
        }
    }

    /// Asks the acting primary to judge its own data, and waits for that.
    fn judge(&mut self, facts: &Facts) -> Step {
        self.ask(WaitFor::Judgement, Step::Judge { dbid: facts.row.primary.dbid }, facts)
    }

    /// What stands before any copy from this primary: that its data may be copied. `None` when it may.
    pub(super) fn judged(&mut self, primary: &Report, facts: &Facts) -> Option<Step> {
        match &primary.soundness {
            Soundness::Sound => None,
            Soundness::Unjudged => Some(self.judge(facts)),
            Soundness::Damaged { why } => {
                let cause = format!("acting primary dbid {} is damaged: {why}", primary.dbid);
                Some(self.refuse(Why::SourceDamaged, cause))
            }
        }
    }

    fn differs(&mut self, verdict: String) -> Step {
        let note = format!("{} differ ({}); {verdict}", blocks(self.differing_blocks), self.differing);
        self.end(Ended::Differs { note })
    }

    /// It can't be gone on with: the pair is another one than was compared.
    fn gave_way(&mut self, because: &str) -> Step {
        match self.differing_blocks {
            0 => self.fail(format!("{because}; no difference was found until then")),
            _ => self.differs(because.into()),
        }
    }

    fn without_primary(&mut self, facts: &Facts) -> Step {
        if facts.cancelled {
            return self.end(Ended::Cancelled { note: "its acting primary does not serve".into() });
        }
        // Not for long: whoever brings it back needs the content.
        match self.wait(WaitFor::PrimaryToAnswer, facts) {
            Ok(step) => step,
            Err(()) => self.gave_way("its acting primary does not serve"),
        }
    }
}

fn blocks(count: u64) -> String {
    if count == 1 { "1 block".into() } else { format!("{count} blocks") }
}
