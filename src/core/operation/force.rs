//! The last resort: a segment serves from here on that its row, or what the catalog knows, do not allow.
//!
//! It is one step for every way of being stuck: a mirror that lacks changes is promoted, an acting primary
//! that holds another copy than the one that served last is accepted, a quarantine is lifted. Whichever it
//! is, the other member may hold what this one lacks; so it is down, and only a full copy can follow.

use super::{Facts, Pairing, Process, Stage, Step, Target, WaitFor, Why};
use crate::core::ids::Dbid;
use crate::core::report::{Phase, Report, Soundness};
use crate::core::transition::{self, Event};

impl Target {
    /// `self.dbid` is the segment that shall serve.
    pub(super) fn force(&mut self, facts: &Facts) -> Step {
        if self.granted.is_some() && facts.row.primary.dbid == self.dbid {
            return self.until_forced(facts);
        }
        if let Some(step) = self.refuse_force(facts) {
            return step;
        }
        if self.stage == Stage::Pending {
            self.stage = Stage::Recovering;
        }
        self.note_epochs(facts);
        match self.fence_both(facts).or_else(|| self.start_forced(facts)) {
            Some(step) => step,
            None => self.override_row(facts),
        }
    }

    fn refuse_force(&mut self, facts: &Facts) -> Option<Step> {
        let row = &facts.row;
        if row.pairing().is_none() {
            let why = facts.quarantined.clone().unwrap_or_else(|| "its rows are impossible".into());
            return Some(self.refuse(Why::Quarantined, why));
        }
        if row.role_of(self.dbid).is_none() {
            return Some(self.fail(format!("dbid {} is no member of content {}", self.dbid, row.content)));
        }
        if facts.cancelled {
            return Some(self.end(super::Ended::Cancelled { note: "the row is as it was".into() }));
        }
        // One that serves damaged data may be replaced by a mirror that lacks changes: a person knows which is
        // worse.
        let serving = facts.serving().filter(|_| facts.quarantined.is_none())?;
        if matches!(serving.soundness, Soundness::Damaged { .. }) && row.primary.dbid != self.dbid {
            return None;
        }
        if row.primary.dbid == self.dbid {
            return Some(self.done("forced", "it serves already".into()));
        }
        Some(self.refuse(Why::SegmentUp, format!("acting primary dbid {} serves", row.primary.dbid)))
    }

    /// The row's new epoch is above whatever a member was ever seen to obey.
    fn note_epochs(&mut self, facts: &Facts) {
        let seen = facts.members.values().filter_map(|m| m.report.as_ref().or(m.last.as_ref())).map(|r| r.epoch);
        self.above = seen.chain([self.above, facts.row.epoch]).max().unwrap_or_default();
    }

    /// No process of either member is left but a fresh one of the target, which is nobody. A host that does
    /// not answer is what a last resort is for: what may still run there, the plan has said.
    fn fence_both(&mut self, facts: &Facts) -> Option<Step> {
        for dbid in std::iter::once(facts.row.primary.dbid).chain(facts.row.mirror.map(|m| m.dbid)) {
            let member = facts.member(dbid);
            if member.process == Process::Unknown && !self.started.contains_key(&dbid) {
                match self.wait(WaitFor::HostToAnswer, facts) {
                    Ok(step) => return Some(step),
                    Err(()) if dbid == self.dbid => {
                        return Some(self.refuse(Why::HostDown, format!("the host of dbid {dbid} does not answer")));
                    }
                    Err(()) => {
                        self.started.insert(dbid, Err("its host does not answer".into()));
                        self.waiting = None;
                    }
                }
            }
            if let Process::Running(_) = member.sibling {
                return Some(Step::Kill { dbid, sibling: true });
            }
            if let Process::Running(pid) = member.process
                && !(dbid == self.dbid && self.is_fresh(pid, &member.report))
            {
                return Some(Step::Kill { dbid, sibling: false });
            }
        }
        None
    }

    /// Started here, or at least nobody yet.
    fn is_fresh(&self, pid: u32, report: &Option<Report>) -> bool {
        self.started.get(&self.dbid) == Some(&Ok(pid))
            || report.as_ref().is_some_and(|r| r.pid == pid && r.phase == Phase::Nobody)
    }

    fn start_forced(&mut self, facts: &Facts) -> Option<Step> {
        let (dbid, member) = (self.dbid, facts.member(self.dbid));
        match (member.process, self.started.get(&dbid)) {
            (Process::Running(pid), _) => {
                let nobody = member.report.filter(|r| r.pid == pid && r.phase == Phase::Nobody);
                if nobody.is_some() {
                    return None;
                }
                Some(self.wait(WaitFor::MirrorToReport, facts).unwrap_or_else(|()| {
                    self.fail(format!("the new process of dbid {dbid} (pid {pid}) does not report"))
                }))
            }
            (_, None) => Some(Step::Start { dbid, sibling: false }),
            (_, Some(Err(cause))) => {
                let cause = format!("dbid {dbid} could not be started: {cause}");
                Some(self.fail(cause))
            }
            (_, Some(Ok(_))) => Some(self.fail(format!("the process of dbid {dbid} ended before it could serve"))),
        }
    }

    fn override_row(&mut self, facts: &Facts) -> Step {
        let (dbid, row) = (self.dbid, &facts.row);
        let Some(report) = facts.member(dbid).report else {
            return Step::Wait(WaitFor::MirrorToReport);
        };
        if !report.ready {
            let cause = format!("the copy of dbid {dbid} is incomplete: nothing can make it serve");
            return self.refuse(Why::DoubleFault, cause);
        }
        let event = if row.primary.dbid == dbid { Event::OverrideAccepts } else { Event::OverridePromotes };
        let Some(transition) = transition::apply_above(row, event, self.above.max(report.epoch)) else {
            return self.refuse(Why::Quarantined, "its rows are impossible".into());
        };
        Step::Change {
            reason: format!("{}; may be lost: {}", transition.rule.why, may_be_lost(dbid, &report, facts)),
            transition: Box::new(transition),
            full_copy: false,
            rate_bytes: None,
            serving_copy: Some(report.copy.copy),
            place: None,
        }
    }

    fn until_forced(&mut self, facts: &Facts) -> Step {
        if self.stage != Stage::Starting {
            // FTS decides from here on, whatever it had given up: the fresh process is nobody.
            self.stage = Stage::Starting;
            return Step::Release;
        }
        if facts.serving().is_none() {
            return self.wait_for_primary(facts);
        }
        let note = match facts.row.pairing() {
            Some(Pairing::ChangeTracking) => facts.row.mirror.map(|m| {
                format!(
                    "dbid {} is down, and only a full copy can follow: full_recover(#{{ dbids: {} }})",
                    m.dbid, m.dbid
                )
            }),
            _ => None,
        };
        self.done("forced", note.unwrap_or_default())
    }
}

/// What is known to differ, as far as anybody has said.
fn may_be_lost(dbid: Dbid, report: &Report, facts: &Facts) -> String {
    let row = &facts.row;
    let alone = row.primary.dbid != dbid && row.pairing() != Some(Pairing::Synchronized);
    if !alone {
        return format!(
            "what another copy holds: dbid {dbid} was in sync in epoch {} and obeyed epoch {}, the row is at epoch {}",
            report.copy.generation, report.epoch, row.epoch
        );
    }
    let primary = facts.member(row.primary.dbid);
    let blocks = primary.report.or(primary.last).map(|r| r.dirty_blocks);
    let blocks = blocks.map_or("an unknown number of blocks".into(), |n| format!("at least {n} blocks"));
    format!(
        "all that was committed after epoch {}, up to epoch {}: {blocks} of dbid {} differ",
        report.copy.generation, row.epoch, row.primary.dbid
    )
}
