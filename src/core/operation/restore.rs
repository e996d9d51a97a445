//! Restore: a content's copy is replaced by the one in a backup, and its mirror by a full copy of that.
//!
//! The row speaks of the new copy before a byte of it is written: whatever is interrupted, the old copy can't
//! serve as if it were the restored one, and the new one serves only when it is whole.

use super::recover::How;
use super::{Ended, Facts, Pairing, Process, Stage, Step, Target, WaitFor};
use crate::core::ids::Dbid;
use crate::core::report::Phase;
use crate::core::transition::{self, Event};

impl Target {
    pub(super) fn restore(&mut self, rate_bytes: Option<u64>, facts: &Facts) -> Step {
        match self.stage {
            Stage::Pending => {
                self.stage = Stage::Stopping;
                Step::Hold
            }
            Stage::Stopping => self.give_up_copies(facts),
            Stage::Starting => self.fill(facts),
            Stage::Draining | Stage::Recovering | Stage::Verifying | Stage::Streaming => {
                self.until_restored(rate_bytes, facts)
            }
        }
    }

    /// No process of either member is left, and the row speaks of a copy that does not exist yet.
    fn give_up_copies(&mut self, facts: &Facts) -> Step {
        let row = &facts.row;
        for dbid in std::iter::once(row.primary.dbid).chain(row.mirror.map(|m| m.dbid)) {
            match (facts.runs_in_sibling(dbid), facts.member(dbid).process) {
                (Some(sibling), _) => return Step::Kill { dbid, sibling },
                (None, Process::Unknown) => return self.wait_for_host(dbid, facts),
                (None, Process::Absent | Process::Running(_)) => {}
            }
        }
        if self.copy.is_none() {
            return self.fail("the copy that is to be restored has no identity".into());
        }
        if facts.serving_copy == self.copy {
            self.stage = Stage::Starting;
            return self.fill(facts);
        }
        let Some(transition) = transition::apply(row, Event::RestoreBegins) else {
            return self.fail("its rows are impossible".into());
        };
        Step::Change {
            reason: transition.rule.why.into(),
            transition: Box::new(transition),
            full_copy: false,
            rate_bytes: None,
            serving_copy: self.copy,
        }
    }

    /// An empty directory, a process on it that is nobody, and the files of the backup.
    fn fill(&mut self, facts: &Facts) -> Step {
        let dbid = facts.row.primary.dbid;
        let member = facts.member(dbid);
        match (facts.runs_in_sibling(dbid), member.process) {
            (Some(sibling), _) if !self.prepared || sibling => Step::Kill { dbid, sibling },
            (_, Process::Unknown) => self.wait_for_host(dbid, facts),
            (_, Process::Absent) if !self.prepared => Step::Prepare { dbid, sibling: false },
            (_, Process::Absent) => match self.started.get(&dbid) {
                None => Step::Start { dbid, sibling: false },
                Some(Err(cause)) => {
                    let cause = format!("dbid {dbid} could not be started: {cause}");
                    self.fail(cause)
                }
                Some(Ok(_)) => self.fail(format!("the process of dbid {dbid} ended before it was restored")),
            },
            (_, Process::Running(pid)) => {
                let report = member.report.filter(|r| r.pid == pid && r.phase == Phase::Nobody);
                match report {
                    Some(report) if report.ready && Some(report.copy.copy) == self.copy => self.hand_over(),
                    Some(_) if !self.filled => Step::Fill { dbid },
                    _ => self.wait(WaitFor::MirrorToReport, facts).unwrap_or_else(|()| {
                        self.fail(format!("the new process of dbid {dbid} (pid {pid}) does not report"))
                    }),
                }
            }
        }
    }

    /// From here on it is an acting primary that has restarted, and its mirror is copied anew.
    fn hand_over(&mut self) -> Step {
        self.stage = Stage::Recovering;
        // What follows is a recovery, with marks of its own.
        (self.prepared, self.granted) = (false, None);
        self.started.clear();
        Step::Release
    }

    fn until_restored(&mut self, rate_bytes: Option<u64>, facts: &Facts) -> Step {
        let Some(primary) = facts.serving() else {
            return self.wait_for_primary(facts);
        };
        let Some(mirror) = facts.row.mirror else {
            return self.done("restored", String::new());
        };
        match facts.row.pairing() {
            Some(Pairing::Synchronized) if primary.phase == Phase::InSync => self.done("restored", String::new()),
            Some(Pairing::ChangeTracking | Pairing::Resynchronizing) => {
                let how = How { full: true, in_place: true, rate_bytes };
                match self.recover(mirror.dbid, how, facts) {
                    Step::Ended => self.restored_but(mirror.dbid),
                    step => step,
                }
            }
            _ => self.wait_for_primary(facts),
        }
    }

    fn restored_but(&mut self, dbid: Dbid) -> Step {
        match self.ended.take() {
            Some(Ended::Done { note, .. }) => self.done("restored", note),
            Some(Ended::Failed { cause } | Ended::Refused { cause, .. }) => {
                self.fail(format!("it is restored and serves, but mirror dbid {dbid} is down: {cause}"))
            }
            Some(Ended::Cancelled { note } | Ended::Differs { note }) => {
                self.fail(format!("it is restored and serves, but mirror dbid {dbid} is down: {note}"))
            }
            None => Step::Ended,
        }
    }
}
