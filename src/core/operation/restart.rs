//! Start and restart of a content's segments.

use super::recover::How;
use super::{Ended, Facts, Pairing, Process, Stage, Step, Target, WaitFor};
use crate::core::ids::Dbid;
use crate::core::report::{Phase, StopMode};

impl Target {
    /// With a mode the segments are stopped first.
    pub(super) fn restart(&mut self, mode: Option<StopMode>, facts: &Facts) -> Step {
        match (self.stage, mode) {
            (Stage::Pending, _) => {
                self.was_synchronized = self.joined || facts.row.pairing() == Some(Pairing::Synchronized);
                if self.revives {
                    return self.revive(facts);
                }
                // What another operation works on, or what serves already, needs no start.
                if self.joined || (mode.is_none() && facts.serving().is_some()) {
                    self.stage = Stage::Recovering;
                    return self.until_it_serves(facts);
                }
                self.stage = if mode.is_some() { Stage::Stopping } else { Stage::Starting };
                Step::Hold
            }
            // Sessions may stay for ever. A stop that was asked for is not taken back: if the primary ends when
            // they have left, FTS has the word.
            (Stage::Stopping, Some(StopMode::Smart))
                if facts.cancelled && facts.runs_in_sibling(facts.row.primary.dbid).is_some() =>
            {
                let note = format!("dbid {} stops when its sessions have left", facts.row.primary.dbid);
                self.end(Ended::Cancelled { note })
            }
            (Stage::Stopping, Some(mode)) => self.stop_members(mode, facts),
            (Stage::Stopping | Stage::Starting, _) => self.start_members(facts),
            (Stage::Draining | Stage::Recovering | Stage::Verifying | Stage::Streaming, _) => {
                self.until_it_serves(facts)
            }
        }
    }

    /// The operation that is joined waits for processes that nobody starts: they went down together with
    /// the coordinator. What could not be started is left to FTS.
    fn revive(&mut self, facts: &Facts) -> Step {
        // In s/s either of them may serve; otherwise only the acting primary may.
        let is_synchronized = facts.row.pairing() == Some(Pairing::Synchronized);
        let step = self.start_absent(is_synchronized, facts);
        if step.is_none() {
            self.revives = false;
            self.stage = Stage::Recovering;
        }
        step.unwrap_or(Step::Release)
    }

    /// The primary first: its sessions end while its mirror still holds what they commit.
    fn stop_members(&mut self, mode: StopMode, facts: &Facts) -> Step {
        let members = std::iter::once(facts.row.primary.dbid).chain(facts.row.mirror.map(|m| m.dbid));
        for dbid in members {
            if let Some(sibling) = facts.runs_in_sibling(dbid) {
                return self.stop_member(dbid, sibling, mode, facts);
            }
        }
        self.stage = Stage::Starting;
        self.start_members(facts)
    }

    fn stop_member(&mut self, dbid: Dbid, sibling: bool, mode: StopMode, facts: &Facts) -> Step {
        if mode == StopMode::Immediate {
            return Step::Kill { dbid, sibling };
        }
        // A process that answers nothing is not asked: it could not obey.
        let answers = facts.member(dbid).report.is_some();
        if !self.asked_to_stop.contains(&dbid) && answers {
            return Step::Stop { dbid, mode };
        }
        if !answers && !self.asked_to_stop.contains(&dbid) {
            return Step::Kill { dbid, sibling };
        }
        match self.wait(WaitFor::SegmentToStop(dbid, mode), facts) {
            Ok(step) => step,
            Err(()) => Step::Kill { dbid, sibling },
        }
    }

    /// Starts what the row counts on: the primary always, the mirror of a synchronized pair. A mirror
    /// that is down stays down, and a start that fails leaves the decision to FTS.
    fn start_members(&mut self, facts: &Facts) -> Step {
        if let Some(step) = self.start_absent(self.was_synchronized, facts) {
            return step;
        }
        self.stage = Stage::Recovering;
        Step::Release
    }

    /// The next process that is to be started; `None` when each was, or runs.
    pub(super) fn start_absent(&mut self, with_mirror: bool, facts: &Facts) -> Option<Step> {
        let mirror = facts.row.mirror.filter(|_| with_mirror);
        let members = std::iter::once(facts.row.primary.dbid).chain(mirror.map(|m| m.dbid));
        for dbid in members {
            if self.started.contains_key(&dbid) {
                continue;
            }
            // A process in the sibling's directory is served from there until that has its name.
            match (facts.runs_in_sibling(dbid), facts.member(dbid).process) {
                (Some(_), _) => {}
                (None, Process::Absent | Process::Running(_)) => return Some(Step::Start { dbid, sibling: false }),
                (None, Process::Unknown) => match self.wait(WaitFor::HostToAnswer, facts) {
                    Ok(step) => return Some(step),
                    Err(()) => {
                        self.started.insert(dbid, Err("its host does not answer".into()));
                        self.forget_waiting();
                    }
                },
            }
        }
        None
    }

    pub(super) fn until_it_serves(&mut self, facts: &Facts) -> Step {
        let Some(primary) = facts.serving() else {
            return self.wait_for_primary(facts);
        };
        let Some(mirror) = facts.row.mirror else {
            return self.done("restarted", String::new());
        };
        match facts.row.pairing() {
            Some(Pairing::Synchronized) if primary.phase == Phase::InSync => self.done("restarted", String::new()),
            Some(Pairing::ChangeTracking | Pairing::Resynchronizing) if self.was_synchronized => {
                // The process that `start` itself brought up is nobody, and is recovered as it is.
                match self.recover(mirror.dbid, How::INCREMENTAL, facts) {
                    Step::Ended => self.serves_but(mirror.dbid),
                    step => step,
                }
            }
            Some(Pairing::ChangeTracking) => {
                self.done("restarted", format!("mirror dbid {} was down and stays down", mirror.dbid))
            }
            Some(Pairing::Resynchronizing) => self.done("restarted", String::new()),
            _ => self.wait_for_primary(facts),
        }
    }

    fn serves_but(&mut self, dbid: Dbid) -> Step {
        match self.ended.take() {
            Some(Ended::Done { note, .. }) => self.done("restarted", note),
            // It was started and it serves: what keeps its mirror down takes nothing of that back.
            Some(Ended::Failed { cause } | Ended::Refused { cause, .. }) => {
                self.fail(format!("it serves, but mirror dbid {dbid} is down: {cause}"))
            }
            other => {
                self.ended = other;
                Step::Ended
            }
        }
    }

    fn forget_waiting(&mut self) {
        self.waiting = None;
    }
}
