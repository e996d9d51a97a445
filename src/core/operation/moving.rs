//! A segment that is recovered at another place: its row says the new place before anything is copied
//! there, so that whatever is interrupted, everybody looks for it where it will be.
//!
//! The host that it leaves may be gone for good. So nobody waits for that one: what runs there is a mirror
//! of an ended link, or a primary that was demoted. It acknowledges nothing, is told nothing, and is ended
//! when its host answers again.

use super::recover::{How, ROOM_LEFT_BYTES};
use super::{Destination, Facts, Holds, MemberFacts, Process, Step, Survey, Target, WaitFor, Why};
use crate::core::ids::Dbid;
use crate::core::report::Report;
use crate::core::row::Place;
use crate::core::transition::Event;

impl Target {
    /// The step that is due before the segment is at its new place; `None` when it is there, or is not moved.
    pub(super) fn move_first(
        &mut self,
        dbid: Dbid,
        how: How,
        primary: &Report,
        member: &MemberFacts,
        facts: &Facts,
    ) -> Option<Step> {
        let to = self.to.clone().filter(|to| facts.place.as_ref() != Some(to))?;
        let survey = match &facts.destination {
            None => return Some(self.wait_for_destination(dbid, &to, facts)),
            Some(Destination::Refused(cause)) => return Some(self.refuse(Why::NoSuchDir, cause.clone())),
            Some(Destination::Surveyed(survey)) => survey,
        };
        if let Some((why, cause)) = in_the_way(&to, survey, primary.data_bytes) {
            return Some(self.refuse(why, cause));
        }
        if let Process::Running(_) = member.process {
            return Some(Step::Kill { dbid, sibling: false });
        }
        if let Process::Running(_) = member.sibling {
            return Some(Step::Kill { dbid, sibling: true });
        }
        self.from.clone_from(&facts.place);
        // Nothing is there to go on with.
        self.continues = Some(false);
        let mut step = self.change(Event::FullCopyBegins, how, facts);
        if let Step::Change { place, reason, .. } = &mut step {
            *reason = format!("dbid {dbid} moves to {to}: {reason}");
            *place = Some(to);
        }
        Some(step)
    }

    fn wait_for_destination(&mut self, dbid: Dbid, to: &Place, facts: &Facts) -> Step {
        match self.wait(WaitFor::HostToAnswer, facts) {
            Ok(step) => step,
            Err(()) => {
                let cause = format!("host {}, to which dbid {dbid} is to be moved, does not answer", to.hostname);
                self.refuse(Why::HostDown, cause)
            }
        }
    }

    /// The pair is in sync at the new place: what is left at the former one is dropped, if its host answers.
    pub(super) fn leave_former(&self, dbid: Dbid, facts: &Facts) -> Option<Step> {
        let from = self.from.clone().filter(|_| facts.place == self.to)?;
        (!self.dropped && self.left.is_none()).then_some(Step::DropFormer { dbid, place: from })
    }

    /// What a person should know of the former place; empty when nothing is left there.
    pub(super) fn told_of_former(&self) -> String {
        match (&self.from, &self.left) {
            (Some(from), Some(why)) => {
                format!("its former copy is left on {} in {}: {why}", from.hostname, from.datadir)
            }
            _ => String::new(),
        }
    }
}

/// Why nothing can be copied to a place; `None` when nothing is in the way.
fn in_the_way(to: &Place, survey: &Survey, data_bytes: u64) -> Option<(Why, String)> {
    if let Some(port) = survey.ports_taken.first() {
        return Some((Why::PortTaken, format!("somebody listens on port {port} of {} already", to.hostname)));
    }
    if survey.holds == Holds::Other {
        return Some((Why::DirTaken, format!("{} on {} is not empty", to.datadir, to.hostname)));
    }
    let needed = data_bytes.saturating_add(ROOM_LEFT_BYTES);
    (survey.free_bytes < needed).then(|| {
        let free = survey.free_bytes;
        (Why::NoSpace, format!("host {} has {free} bytes free, the copy needs {needed}", to.hostname))
    })
}
