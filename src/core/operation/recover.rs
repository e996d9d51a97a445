//! Recovery of a mirror, incremental or full.

use super::{Facts, MemberFacts, Pairing, Process, Stage, Step, Target, WaitFor, Why};
use crate::core::ids::Dbid;
use crate::core::report::{MirrorLoss, Phase, Report};
use crate::core::row::Mode;
use crate::core::transition::{self, Event};

/// How a mirror is recovered.
#[derive(Debug, Clone, Copy)]
pub(super) struct How {
    pub full: bool,
    pub in_place: bool,
    pub rate_bytes: Option<u64>,
}

impl How {
    pub(super) const INCREMENTAL: How = How { full: false, in_place: false, rate_bytes: None };

    fn word(self) -> &'static str {
        if self.full { "full" } else { "incremental" }
    }
    fn uses_sibling(self) -> bool {
        self.full && !self.in_place
    }
}

/// Room that a full copy leaves on the target's file system.
pub(super) const ROOM_LEFT_BYTES: u64 = 32 << 20;

impl Target {
    pub(super) fn recover(&mut self, dbid: Dbid, how: How, facts: &Facts) -> Step {
        let row = &facts.row;
        // Where nothing of value is, nothing is kept beside it.
        let how = if self.to.is_some() { How { full: true, in_place: true, ..how } } else { how };
        if row.mirror.is_none() {
            return self.refuse(Why::NoMirror, format!("content {} has no mirror", row.content));
        }
        if row.primary.dbid == dbid && self.granted.is_some() {
            return self.took_over(dbid, how, facts);
        }
        if row.primary.dbid == dbid {
            return self.refuse(Why::SegmentUp, format!("dbid {dbid} is the acting primary"));
        }
        match row.pairing() {
            Some(Pairing::Synchronized) => self.at_synchronized(dbid, how, facts),
            Some(Pairing::Resynchronizing) => self.while_copying(dbid, how, facts),
            Some(Pairing::ChangeTracking) if self.joined && facts.other_works => {
                match self.wait(WaitFor::OtherOperation, facts) {
                    Ok(step) => step,
                    Err(()) => self.fail("the operation that was waited for did not begin the copy".into()),
                }
            }
            Some(Pairing::ChangeTracking) => {
                // What was waited for has ended without it.
                self.joined = false;
                self.begin_recovery(dbid, how, facts)
            }
            Some(Pairing::Mirrorless) | None => {
                self.refuse(Why::NoMirror, format!("content {} has no mirror", row.content))
            }
        }
    }

    /// It was in sync, or it could not have taken over; its own recovery is at its end.
    fn took_over(&mut self, dbid: Dbid, how: How, facts: &Facts) -> Step {
        if how.uses_sibling() && !self.joined && facts.runs_in_sibling(dbid) == Some(true) {
            return Step::Exchange { dbid };
        }
        if let Some(step) = self.leave_former(dbid, facts) {
            return step;
        }
        self.done(how.word(), format!("dbid {dbid} was in sync, and has taken over since"))
    }

    fn at_synchronized(&mut self, dbid: Dbid, how: How, facts: &Facts) -> Step {
        if how.full && self.stage == Stage::Pending && !self.joined {
            return self.refuse(Why::SegmentUp, format!("dbid {dbid} is up and synchronized"));
        }
        if how.uses_sibling() && !self.joined {
            return self.name_the_copy(dbid, facts);
        }
        if let Some(step) = self.leave_former(dbid, facts) {
            return step;
        }
        let already = self.granted.is_none() && self.stage == Stage::Pending && !self.joined;
        let note = if already { "already synchronized".into() } else { self.told_of_former() };
        self.done(how.word(), note)
    }

    /// The full copy is in sync under the sibling's name. Which directory a process holds says whether
    /// the names were exchanged: the lock goes with the directory, so nothing is exchanged twice.
    fn name_the_copy(&mut self, dbid: Dbid, facts: &Facts) -> Step {
        let member = facts.member(dbid);
        let is_named = matches!((member.process, member.sibling), (Process::Running(_), Process::Absent));
        if facts.cancelled && !is_named {
            let note = "it is in sync; the new copy has its name at the next start".into();
            return self.end(super::Ended::Cancelled { note });
        }
        match (member.process, member.sibling) {
            // The pair is in sync and serves: there is all the time until its host answers.
            (Process::Unknown, _) | (_, Process::Unknown) if facts.serving().is_some() => {
                Step::Wait(WaitFor::NamesToStand)
            }
            (Process::Unknown, _) | (_, Process::Unknown) => self.wait_for_host(dbid, facts),
            (Process::Absent, Process::Running(_)) => Step::Exchange { dbid },
            (Process::Running(_), Process::Absent) if !self.dropped => Step::DropOld { dbid },
            (Process::Running(_), Process::Absent) => self.done("full", String::new()),
            _ => match self.wait(WaitFor::NamesToStand, facts) {
                Ok(step) => step,
                Err(()) => self.fail(format!("the new copy of dbid {dbid} could not be named: its process is gone")),
            },
        }
    }

    fn while_copying(&mut self, dbid: Dbid, how: How, facts: &Facts) -> Step {
        if how.full && self.stage == Stage::Pending && !self.joined {
            return self.refuse(Why::SegmentUp, format!("dbid {dbid} is being copied to"));
        }
        if facts.cancelled && !self.joined {
            // The copy ends with the mirror's process; FTS then grants tracking.
            let member = facts.member(dbid);
            if let Process::Running(_) = member.sibling {
                return Step::Kill { dbid, sibling: true };
            }
            if let Process::Running(_) = member.process {
                return Step::Kill { dbid, sibling: false };
            }
        }
        let primary = facts.member(facts.row.primary.dbid);
        let is_there = primary.report.is_some_and(|r| r.phase != Phase::Nobody && r.sick.is_none());
        if is_there {
            // One that is suspended waits for FTS, which waits for nobody but a pause.
            self.saw_primary = true;
            return self.wait(WaitFor::Copy, facts).unwrap_or(Step::Wait(WaitFor::Copy));
        }
        if facts.cancelled {
            return self
                .end(super::Ended::Cancelled { note: "the acting primary is gone; the mirror stays down".into() });
        }
        self.primary_is_gone(facts)
    }

    /// Without its acting primary a copy never ends, and only a restart brings that back: the content must
    /// not be held against it. An operation that was resumed has not seen the primary, and leaves a start
    /// the time to bring it back.
    fn primary_is_gone(&mut self, facts: &Facts) -> Step {
        if self.saw_primary && facts.is_absent(facts.row.primary.dbid) {
            let cause = format!("acting primary dbid {} ended during the copy", facts.row.primary.dbid);
            return self.refuse(Why::DoubleFault, cause);
        }
        self.wait_for_primary(facts)
    }

    /// The pair is p,c,u / m,x,d.
    fn begin_recovery(&mut self, dbid: Dbid, how: How, facts: &Facts) -> Step {
        let row = &facts.row;
        if facts.cancelled {
            return self.end(super::Ended::Cancelled { note: "the mirror stays down".into() });
        }
        if self.granted.is_some_and(|granted| row.epoch > granted) {
            return self.ended_early(dbid, how, facts);
        }
        // A full copy was in sync once: what it misses since then was tracked.
        let how = if self.was_in_sync { How { rate_bytes: how.rate_bytes, ..How::INCREMENTAL } } else { how };
        if self.stage == Stage::Pending {
            self.stage = Stage::Recovering;
        }
        let Some(primary) = facts.serving() else {
            return self.wait_for_primary(facts);
        };
        if let Some(step) = self.judged(&primary, facts) {
            return step;
        }
        let unusable = primary.map_unusable.clone();
        let unfinished = facts.must_copy_all.then(|| format!("a full copy of dbid {dbid} was begun and did not end"));
        if let (false, Some(why)) = (how.full, unusable.or(unfinished)) {
            return self.refuse(Why::IncrementalImpossible, why);
        }
        let member = facts.member(dbid);
        // Before anybody asks for the host that it leaves: that one may be gone for good.
        if let Some(step) = self.move_first(dbid, how, &primary, &member, facts) {
            return step;
        }
        if member.process == Process::Unknown {
            return self.wait_for_host(dbid, facts);
        }
        if how.full
            && let Some(step) = self.prepare_full(dbid, how, &primary, &member, facts)
        {
            return step;
        }
        self.bring_up(dbid, how, &primary, &member, facts)
    }

    /// A recovery that this target began has ended without being in sync.
    fn ended_early(&mut self, dbid: Dbid, how: How, facts: &Facts) -> Step {
        let primary = facts.member(facts.row.primary.dbid);
        let said = primary.lost.filter(|(epoch, _)| self.granted == Some(*epoch)).map(|(_, loss)| loss);
        // A recovery leaves a mirror `r` until it is in sync.
        if facts.row.mirror.is_some_and(|m| m.mode == Mode::Synchronized) {
            return self.lost_in_sync(dbid, how, said, facts);
        }
        match (said, primary.report.and_then(|p| p.map_unusable)) {
            // What an interrupted full copy left could not be gone on with: it is begun anew.
            (Some(MirrorLoss::IncrementalImpossible(_)), _) if how.full && self.continues == Some(true) => {
                self.start_over(dbid);
                self.granted = None;
                self.begin_recovery(dbid, how, facts)
            }
            (Some(MirrorLoss::IncrementalImpossible(why)), _) | (None, Some(why)) if !how.full => {
                self.refuse(Why::IncrementalImpossible, why)
            }
            (said, _) => {
                let because = said.map(|loss| format!(" ({loss})")).unwrap_or_default();
                self.fail(format!(
                    "the copy to dbid {dbid} ended before it was in sync{because}; the mirror is down again"
                ))
            }
        }
    }

    /// The pair was in sync, and its link ended. While this operation holds the content FTS writes no goal to
    /// recover it at once, so that is done here. A mirror that is gone, silent or sick stays down.
    fn lost_in_sync(&mut self, dbid: Dbid, how: How, said: Option<MirrorLoss>, facts: &Facts) -> Step {
        if facts.member(dbid).process == Process::Unknown {
            return self.wait_for_host(dbid, facts);
        }
        let lives = facts.runs_in_sibling(dbid).is_some() && facts.member(dbid).report.is_some();
        if !lives || !matches!(said, None | Some(MirrorLoss::LinkClosed(_))) {
            let because = said.map(|loss| format!(" ({loss})")).unwrap_or_default();
            return self.fail(format!("dbid {dbid} was in sync, and was lost again{because}"));
        }
        self.was_in_sync = true;
        self.granted = None;
        self.started.remove(&dbid);
        self.begin_recovery(dbid, how, facts)
    }

    fn start_over(&mut self, dbid: Dbid) {
        self.continues = Some(false);
        self.prepared = false;
        self.started.remove(&dbid);
    }

    /// Everything before the process of a full copy is started; `None` when that is all done.
    fn prepare_full(
        &mut self,
        dbid: Dbid,
        how: How,
        primary: &Report,
        member: &MemberFacts,
        facts: &Facts,
    ) -> Option<Step> {
        if self.prepared {
            return None;
        }
        if facts.must_copy_all && self.continues.is_none() {
            if let Some(step) = self.try_to_continue(dbid, how, primary, member, facts) {
                return Some(step);
            }
            if self.prepared {
                return None;
            }
        }
        // Only the first attempt is refused: after that nothing but a full copy can follow anyway, and
        // what an earlier one left is removed first.
        if how.uses_sibling() && !facts.must_copy_all {
            let needed = primary.data_bytes.saturating_add(ROOM_LEFT_BYTES);
            match member.free_bytes {
                Some(free) if free < needed => {
                    let cause = format!("the host of dbid {dbid} has {free} bytes free, a new copy needs {needed}");
                    return Some(self.refuse(Why::NoSpace, cause));
                }
                Some(_) => {}
                None => return Some(self.wait_for_host(dbid, facts)),
            }
        }
        if let Process::Running(_) = member.process {
            return Some(Step::Kill { dbid, sibling: false });
        }
        if let Process::Running(_) = member.sibling {
            return Some(Step::Kill { dbid, sibling: true });
        }
        let is_marked = facts.row.mirror.is_some_and(|m| m.mode == Mode::Resynchronizing);
        if !is_marked || !facts.must_copy_all {
            // Nothing was begun before this, so there is nothing to go on with.
            self.continues = Some(false);
            return Some(self.change(Event::FullCopyBegins, how, facts));
        }
        Some(Step::Prepare { dbid, sibling: how.uses_sibling() })
    }

    /// An earlier full copy did not end: its process is started again on what it left. If that is the
    /// very copy that the acting primary's map is bound to, only what is still dirty is copied. `None`
    /// once it is decided.
    fn try_to_continue(
        &mut self,
        dbid: Dbid,
        how: How,
        primary: &Report,
        member: &MemberFacts,
        facts: &Facts,
    ) -> Option<Step> {
        let sibling = how.uses_sibling();
        let (process, other) =
            if sibling { (member.sibling, member.process) } else { (member.process, member.sibling) };
        let Some(bound) = primary.map_bound_to.filter(|_| primary.map_unusable.is_none()) else {
            self.start_over(dbid);
            return None;
        };
        if let Process::Running(_) = other {
            return Some(Step::Kill { dbid, sibling: !sibling });
        }
        match (process, self.started.get(&dbid)) {
            (Process::Running(pid), started) => {
                let nobody = member.report.as_ref().filter(|r| r.pid == pid && r.phase == Phase::Nobody);
                match nobody {
                    Some(report) if report.copy.copy == bound.copy => {
                        self.continues = Some(true);
                        self.prepared = true;
                    }
                    Some(_) => self.start_over(dbid),
                    None if started == Some(&Ok(pid)) => match self.wait(WaitFor::MirrorToReport, facts) {
                        Ok(step) => return Some(step),
                        Err(()) => self.start_over(dbid),
                    },
                    None => return Some(Step::Kill { dbid, sibling }),
                }
                None
            }
            (_, None) => Some(Step::Start { dbid, sibling }),
            // Nothing is there, or what is there does not come up.
            (_, Some(_)) => {
                self.start_over(dbid);
                None
            }
        }
    }

    /// The former process is killed, a new one is started, and it must answer as nobody.
    fn bring_up(&mut self, dbid: Dbid, how: How, primary: &Report, member: &MemberFacts, facts: &Facts) -> Step {
        let sibling = how.uses_sibling();
        let (process, other) =
            if sibling { (member.sibling, member.process) } else { (member.process, member.sibling) };
        if let Process::Running(_) = other {
            return Step::Kill { dbid, sibling: !sibling };
        }
        let Process::Running(pid) = process else {
            return match self.started.get(&dbid) {
                None => Step::Start { dbid, sibling },
                Some(Ok(_)) => self.fail(format!("the process of dbid {dbid} ended before it was copied to")),
                Some(Err(cause)) => {
                    let cause = format!("dbid {dbid} could not be started: {cause}");
                    // Of a copy that is gone nothing is left to go on from.
                    if self.gone.contains(&dbid) && !how.full {
                        return self.refuse(Why::IncrementalImpossible, cause);
                    }
                    self.fail(cause)
                }
            };
        };
        let nobody = member.report.as_ref().filter(|r| r.pid == pid && r.phase == Phase::Nobody);
        match nobody {
            Some(mirror) => match refuses_incremental(how, primary, mirror) {
                Some(cause) => self.refuse(Why::IncrementalImpossible, cause),
                None => self.change(Event::RecoveryBegins, how, facts),
            },
            // It was started here, and the prober has not reached it yet.
            None if self.started.get(&dbid) == Some(&Ok(pid)) => match self.wait(WaitFor::MirrorToReport, facts) {
                Ok(step) => step,
                Err(()) => self.fail(format!("the new process of dbid {dbid} (pid {pid}) does not report")),
            },
            None => Step::Kill { dbid, sibling },
        }
    }

    pub(super) fn change(&mut self, event: Event, how: How, facts: &Facts) -> Step {
        match transition::apply(&facts.row, event) {
            Some(transition) => Step::Change {
                reason: format!("{}: {}", how.word().replace("full", "full copy"), transition.rule.why),
                transition: Box::new(transition),
                full_copy: how.full && self.continues != Some(true),
                rate_bytes: how.rate_bytes,
                serving_copy: None,
                place: None,
            },
            None => Step::Wait(WaitFor::OtherOperation),
        }
    }
}

/// Why the tracked changes can't make this copy equal, as far as it is known before the link: whether it
/// is the copy they belong to. How far that copy is the two sides settle exactly when the link opens: the
/// acting primary alone knows of a generation that was about to be made.
fn refuses_incremental(how: How, primary: &Report, mirror: &Report) -> Option<String> {
    if how.full {
        return None;
    }
    match primary.map_bound_to {
        None => Some(format!("dbid {} does not know which copy its tracked changes belong to", primary.dbid)),
        Some(bound) if bound.copy != mirror.copy.copy => Some(format!(
            "the changes tracked by dbid {} belong to copy {}, dbid {} holds copy {}",
            primary.dbid, bound.copy, mirror.dbid, mirror.copy.copy
        )),
        Some(_) => None,
    }
}
