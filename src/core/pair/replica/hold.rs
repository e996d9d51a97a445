//! A drill's hold: a recovery waits at one of its stages for as long as somebody wants to look.
//!
//! The machine itself waits, so that whoever runs it does too. At none of these places is anything under
//! way that has a deadline: before the greeting there is no connection; between two runs of the copy the
//! link stands, and only real commits are judged; the claim is held before anything is asked of the mirror
//! for it; and once it is made, only the news of it is kept back.

use super::acting::{Permit, Stranger};
use super::{ACK_DEADLINE, LinkId, NotActing, Replica};
use crate::core::report::{HeldAt, Stage};

/// A hold, and whether a recovery has come to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Hold {
    stage: Stage,
    reached: bool,
}

impl Hold {
    pub(super) fn report(self) -> HeldAt {
        HeldAt { stage: self.stage, reached: self.reached }
    }
}

impl Replica {
    /// The recovery under way, or the next one when that is past it, waits at this stage until
    /// [`Replica::release`]. The hold is over, too, with the recovery that came to it.
    pub fn hold(&mut self, stage: Stage) -> Result<(), NotActing> {
        self.acting()?;
        if self.hold.is_some_and(|hold| hold.stage == stage) {
            return Ok(());
        }
        self.release();
        self.hold = Some(Hold { stage, reached: false });
        let waits_to_greet = self.acting()?.recovery.as_ref().is_some_and(|r| r.is_before_greeting());
        if waits_to_greet && self.comes_to(Stage::Preparation) {
            self.gate_closed = true;
        }
        Ok(())
    }

    /// Nothing is held any more: whoever carries out the recovery asks again what is to be done.
    pub fn release(&mut self) {
        let Some(hold) = self.hold.take() else { return };
        // At the flat files the gate stays closed: the claim follows at once.
        if hold.reached && hold.stage == Stage::Preparation {
            self.gate_closed = false;
        }
    }

    /// Whether the recovery of this link may connect to its mirror now and greet it. Once it may, it is past
    /// this place.
    pub fn may_greet(&mut self, id: LinkId) -> Result<Permit, Stranger> {
        let held = self.is_held_at(Stage::Preparation);
        let recovery = self.step_mut(id)?;
        if held {
            return Ok(Permit::Wait(ACK_DEADLINE));
        }
        if recovery.is_before_greeting() {
            recovery.dials();
        }
        Ok(Permit::Granted)
    }

    /// A recovery has come to this stage; true when it is held there.
    pub(super) fn comes_to(&mut self, stage: Stage) -> bool {
        match &mut self.hold {
            Some(hold) if hold.stage == stage => {
                hold.reached = true;
                true
            }
            _ => false,
        }
    }

    fn is_held_at(&self, stage: Stage) -> bool {
        self.hold == Some(Hold { stage, reached: true })
    }

    /// The recovery is over, and the hold that it had come to.
    pub(super) fn recovery_is_over(&mut self) {
        if self.hold.is_some_and(|hold| hold.reached) {
            self.hold = None;
        }
    }
}
