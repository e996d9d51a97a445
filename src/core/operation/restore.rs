//! Restore: every content's copy is replaced by the one in a backup, and its mirror by a full copy of that.
//!
//! ```text
//!   Stopping   the processes of the pair are ended
//!   Starting   the backup's copy is made beside the data directory, which nobody touches
//!              -- every content of the backup has come so far -->
//!              the row speaks of the new copy; it takes the data directory's name
//!   Recovering it is granted the content and serves; what it replaced is dropped; the mirror is copied anew
//! ```
//!
//! Until every content has its new copy, whole and durable, each can go back to the one it had: that is what
//! happens when one of them fails or somebody cancels. From then on each goes forward, and the old copy can't
//! serve as if it were the restored one, because the row speaks of another.

use super::recover::How;
use super::{Ended, Facts, Others, Pairing, Process, Stage, Step, Target, WaitFor, Why};
use crate::core::ids::Dbid;
use crate::core::report::Phase;
use crate::core::transition::{self, Event};

/// How often a name that can't be given is tried to be given.
const NAMING_TRIES: u32 = 40;

impl Target {
    pub(super) fn restore(&mut self, rate_bytes: Option<u64>, facts: &Facts) -> Step {
        if self.put_back.is_some() && !self.is_replaced(facts) {
            return self.go_back(facts);
        }
        match self.stage {
            Stage::Pending if facts.others == Others::GaveUp => self.end(as_it_was()),
            Stage::Pending => {
                self.was_synchronized = facts.row.pairing() == Some(Pairing::Synchronized);
                self.stage = Stage::Stopping;
                Step::Hold
            }
            Stage::Stopping => self.stop_pair(facts),
            Stage::Starting if self.is_replaced(facts) => self.put_in_place(facts),
            Stage::Starting => self.make_beside(facts),
            Stage::Draining | Stage::Recovering | Stage::Verifying | Stage::Streaming => {
                self.until_restored(rate_bytes, facts)
            }
        }
    }

    /// Whether the row speaks of the new copy.
    fn is_replaced(&self, facts: &Facts) -> bool {
        self.stage == Stage::Recovering && self.put_back.is_none()
            || self.copy.is_some() && facts.serving_copy == self.copy
    }

    /// Nobody writes any more. A mirror whose host does not answer can stay: it is told of the new row before
    /// anything else.
    fn stop_pair(&mut self, facts: &Facts) -> Step {
        let primary = facts.row.primary.dbid;
        if facts.member(primary).process == Process::Unknown {
            return self.wait_for_host(primary, facts);
        }
        for dbid in std::iter::once(primary).chain(facts.row.mirror.map(|m| m.dbid)) {
            if let Some(sibling) = facts.runs_in_sibling(dbid) {
                return Step::Kill { dbid, sibling };
            }
        }
        // Whoever is the acting primary by now.
        (self.stage, self.dbid) = (Stage::Starting, primary);
        self.make_beside(facts)
    }

    /// An empty directory beside the data directory, a process on it that is nobody, and the backup's files.
    fn make_beside(&mut self, facts: &Facts) -> Step {
        if self.copy.is_none() {
            return self.give_up(failed("the copy that is to be restored has no identity".into()), facts);
        }
        if facts.others == Others::GaveUp {
            return self.give_up(as_it_was(), facts);
        }
        let dbid = facts.row.primary.dbid;
        let member = facts.member(dbid);
        match (member.process, member.sibling) {
            (Process::Unknown, _) | (_, Process::Unknown) => match self.wait(WaitFor::HostToAnswer, facts) {
                Ok(step) => step,
                Err(()) => {
                    let cause = format!("the host of dbid {dbid} does not answer");
                    self.give_up(Ended::Refused { why: Why::HostDown, cause }, facts)
                }
            },
            (Process::Running(_), _) => Step::Kill { dbid, sibling: false },
            (_, Process::Running(_)) if !self.prepared => Step::Kill { dbid, sibling: true },
            (_, Process::Absent) if !self.prepared => Step::MakeBeside { dbid },
            (_, Process::Absent) => match self.started.get(&dbid) {
                None => Step::StartBeside { dbid },
                Some(Err(cause)) => {
                    let cause = format!("dbid {dbid} could not be started: {cause}");
                    self.give_up(failed(cause), facts)
                }
                Some(Ok(_)) => {
                    let cause = format!("the process of dbid {dbid} ended before it was restored");
                    self.give_up(failed(cause), facts)
                }
            },
            (_, Process::Running(pid)) => self.fill(dbid, pid, facts),
        }
    }

    fn fill(&mut self, dbid: Dbid, pid: u32, facts: &Facts) -> Step {
        let report = facts.member(dbid).report.filter(|r| r.pid == pid && r.phase == Phase::Nobody);
        match report {
            Some(report) if report.ready && Some(report.copy.copy) == self.copy => {
                self.filled = true;
                match facts.others {
                    Others::Ready => self.replace(facts),
                    Others::Working | Others::GaveUp => {
                        self.wait(WaitFor::OtherContents, facts).unwrap_or(Step::Wait(WaitFor::OtherContents))
                    }
                }
            }
            Some(_) if !self.filled => Step::Fill { dbid },
            _ => match self.wait(WaitFor::MirrorToReport, facts) {
                Ok(step) => step,
                Err(()) => {
                    let cause = format!("the new process of dbid {dbid} (pid {pid}) does not report");
                    self.give_up(failed(cause), facts)
                }
            },
        }
    }

    /// The row speaks of the new copy from here on.
    fn replace(&mut self, facts: &Facts) -> Step {
        let Some(transition) = transition::apply(&facts.row, Event::Restored) else {
            return self.give_up(failed("its rows are impossible".into()), facts);
        };
        Step::Change {
            reason: transition.rule.why.into(),
            transition: Box::new(transition),
            full_copy: false,
            rate_bytes: None,
            serving_copy: self.copy,
            place: None,
        }
    }

    /// The new copy takes the data directory's name; its process goes on in it.
    fn put_in_place(&mut self, facts: &Facts) -> Step {
        let dbid = facts.row.primary.dbid;
        let member = facts.member(dbid);
        match (member.process, member.sibling) {
            (Process::Unknown, _) | (_, Process::Unknown) => self.wait_for_host(dbid, facts),
            (Process::Running(_), Process::Running(_)) => Step::Kill { dbid, sibling: false },
            (Process::Running(pid), Process::Absent) => {
                match member.report.filter(|r| r.pid == pid && r.phase == Phase::Nobody) {
                    Some(report) if report.ready && Some(report.copy.copy) == self.copy => self.hand_over(),
                    Some(_) => Step::Kill { dbid, sibling: false },
                    None => match self.wait(WaitFor::MirrorToReport, facts) {
                        Ok(step) => step,
                        Err(()) => self.fail(format!("the new process of dbid {dbid} (pid {pid}) does not report")),
                    },
                }
            }
            (Process::Absent, _) if !self.in_place && self.naming_tries < NAMING_TRIES => Step::PutInPlace { dbid },
            (Process::Absent, _) if !self.in_place => {
                self.fail(format!("the restored copy of dbid {dbid} could not be named"))
            }
            (Process::Absent, Process::Running(_)) => Step::Kill { dbid, sibling: true },
            (Process::Absent, Process::Absent) => match self.started.get(&dbid) {
                None => Step::Start { dbid, sibling: false },
                Some(Err(cause)) => {
                    let cause = format!("dbid {dbid} could not be started: {cause}");
                    self.fail(cause)
                }
                Some(Ok(_)) => self.fail(format!("the restored process of dbid {dbid} ended")),
            },
        }
    }

    /// From here on it is an acting primary that has restarted, and its mirror is copied anew.
    fn hand_over(&mut self) -> Step {
        self.stage = Stage::Recovering;
        // What follows is a recovery, with marks of its own.
        (self.prepared, self.granted, self.put_back) = (false, None, None);
        self.started.clear();
        Step::Release
    }

    fn until_restored(&mut self, rate_bytes: Option<u64>, facts: &Facts) -> Step {
        let Some(primary) = facts.serving() else {
            return self.wait_for_primary(facts);
        };
        // It is open, and replayed: what it replaced is of no use any more.
        if !self.dropped && facts.row.primary.dbid == self.dbid {
            return Step::DropOld { dbid: self.dbid };
        }
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

    /// Nothing was replaced yet: the pair goes back to what it had, and then the target ends so.
    fn give_up(&mut self, ended: Ended, facts: &Facts) -> Step {
        self.put_back = Some(ended);
        self.started.clear();
        self.go_back(facts)
    }

    fn go_back(&mut self, facts: &Facts) -> Step {
        let dbid = facts.row.primary.dbid;
        if self.stage != Stage::Recovering {
            let member = facts.member(dbid);
            if self.prepared && !self.dropped && member.sibling != Process::Unknown {
                return match member.sibling {
                    Process::Running(_) => Step::Kill { dbid, sibling: true },
                    Process::Absent | Process::Unknown => Step::DropBeside { dbid },
                };
            }
            if let Some(step) = self.start_absent(self.was_synchronized, facts) {
                return step;
            }
            self.stage = Stage::Recovering;
            return Step::Release;
        }
        // What did not serve before does not serve now. And whoever cancelled wants all of it back.
        let uncancelled = Facts { cancelled: false, ..facts.clone() };
        let step = if facts.is_absent(dbid) { Step::Ended } else { self.until_it_serves(&uncancelled) };
        if step != Step::Ended {
            return step;
        }
        let ended = self.put_back.clone().unwrap_or_else(as_it_was);
        match self.ended.take() {
            Some(Ended::Failed { cause } | Ended::Refused { cause, .. }) => {
                self.fail(format!("{}; now {cause}", in_words(&ended)))
            }
            _ => self.end(ended),
        }
    }
}

fn in_words(ended: &Ended) -> &str {
    match ended {
        Ended::Failed { cause } | Ended::Refused { cause, .. } => cause,
        Ended::Done { note, .. } | Ended::Cancelled { note } | Ended::Differs { note } => note,
    }
}

fn failed(cause: String) -> Ended {
    Ended::Failed { cause: format!("{cause}; it is as it was") }
}

fn as_it_was() -> Ended {
    Ended::Cancelled { note: "it is as it was: a backup is restored whole, or not at all".into() }
}
