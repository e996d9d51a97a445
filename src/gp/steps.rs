//! The steps that `gprecoverseg` says: each once, when the first segment has come there, and none that nobody came to.

use super::line::Line;
use crate::cluster::{ContentProgress, Progressing};
use crate::core::ids::Dbid;
use crate::core::operation::{Step, WaitFor};

/// The steps of one run.
#[derive(Debug)]
pub struct Steps {
    is_rebalance: bool,
    wanted: Vec<Dbid>,
    said: Option<Reached>,
}

/// How far a recovery, or a rebalance, has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Reached {
    /// The coordinator has the operation: nobody else holds its contents.
    Begun,
    /// The first half of the work: mirrors start, or primaries are drained.
    Working,
    /// The rows have changed: mirrors are up and copied to, or the roles have switched.
    Changed,
    /// Of a rebalance: the former primaries are started, or copied to.
    Synchronizing,
}

const ALL: [Reached; 4] = [Reached::Begun, Reached::Working, Reached::Changed, Reached::Synchronizing];

impl Steps {
    /// Of an operation on these segments.
    pub fn new(is_rebalance: bool, wanted: Vec<Dbid>) -> Steps {
        Steps { is_rebalance, wanted, said: None }
    }

    /// What is to be said since this was asked last.
    pub fn of(&mut self, now: &Progressing) -> Vec<Line> {
        let is_begun = (now.op != 0).then_some(Reached::Begun);
        let mine = now.contents.iter().filter(|line| self.wanted.contains(&line.dbid));
        let furthest = mine.filter_map(|line| self.reached(line)).max();
        self.up_to(is_begun.max(furthest))
    }

    /// What is left to be said when the operation has done what it was asked for.
    pub fn rest(&mut self) -> Vec<Line> {
        self.up_to(ALL.last().copied())
    }

    fn reached(&self, line: &ContentProgress) -> Option<Reached> {
        let doing = line.doing.as_str();
        let is_copied = line.progress.is_some() || doing == WaitFor::Copy.words();
        let is_done = line.finished && doing == "done";
        let is = |step: Step| doing == step.words();
        let starts = is(Step::Start { dbid: line.dbid, sibling: false })
            || [WaitFor::MirrorToReport, WaitFor::MirrorToBeReady].map(Step::Wait).into_iter().any(is);
        match self.is_rebalance {
            _ if is_copied || is_done => Some(Reached::Synchronizing),
            true if is(Step::Wait(WaitFor::Promotion)) => Some(Reached::Changed),
            true if is(Step::Drain { dbid: line.dbid }) => Some(Reached::Working),
            true if starts => self.said.filter(|said| *said >= Reached::Working).map(|_| Reached::Synchronizing),
            false if starts => Some(Reached::Working),
            _ => None,
        }
    }

    fn up_to(&mut self, reached: Option<Reached>) -> Vec<Line> {
        let new = ALL.into_iter().filter(|one| Some(*one) > self.said && Some(*one) <= reached);
        let lines = new.flat_map(|one| self.lines(one)).map(Line::info).collect();
        self.said = self.said.max(reached);
        lines
    }

    fn lines(&self, reached: Reached) -> Vec<String> {
        let count = self.wanted.len();
        let lines: &[&str] = match (self.is_rebalance, reached) {
            (false, Reached::Begun) => {
                let ensuring = format!("Ensuring {count} failed segment(s) are stopped");
                return vec![format!("{count} segment(s) to recover"), ensuring];
            }
            (false, Reached::Working) => &[
                "Updating mirrors",
                "Starting mirrors",
                "Commencing parallel primary and mirror segment instance startup, please wait...",
            ],
            (false, Reached::Changed) => &["Process results...", "Updating configuration to mark mirrors up"],
            (false, Reached::Synchronizing) => {
                let converting = format!("Commencing parallel primary conversion of {count} segments, please wait...");
                return vec!["Updating primaries".into(), converting];
            }
            (true, Reached::Begun) => &["Getting unbalanced segments"],
            (true, Reached::Working) => &["Stopping unbalanced primary segments..."],
            (true, Reached::Changed) => &["Triggering segment reconfiguration"],
            (true, Reached::Synchronizing) => &["Starting segment synchronization"],
        };
        lines.iter().map(ToString::to_string).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::ids::Content;

    fn now(lines: &[(i64, &str, bool)]) -> Progressing {
        let line = |(dbid, doing, finished): &(i64, &str, bool)| ContentProgress {
            content: Content(*dbid - 6),
            dbid: Dbid(*dbid),
            doing: doing.to_string(),
            finished: *finished,
            progress: None,
        };
        Progressing { op: 7, elapsed_ms: 0, contents: lines.iter().map(line).collect() }
    }

    fn said(lines: Vec<Line>) -> Vec<String> {
        lines.into_iter().map(|line| line.text).collect()
    }

    #[test]
    fn nothing_is_said_before_the_coordinator_has_the_operation() {
        let mut steps = Steps::new(false, vec![Dbid(6), Dbid(7)]);
        let before = Progressing { op: 0, ..now(&[]) };
        assert_eq!(steps.of(&before), []);
        assert_eq!(said(steps.of(&now(&[]))), ["2 segment(s) to recover", "Ensuring 2 failed segment(s) are stopped"]);
        assert_eq!(steps.of(&now(&[(6, "waiting for the acting primary", false)])), []);
    }

    #[test]
    fn a_step_is_said_once_and_those_that_were_passed_unseen_are_said_before_it() {
        let mut steps = Steps::new(false, vec![Dbid(6), Dbid(7)]);
        let _begun = steps.of(&now(&[]));
        let starting = said(steps.of(&now(&[(6, "starting", false)])));
        assert_eq!(starting[..2], ["Updating mirrors", "Starting mirrors"]);
        assert_eq!(steps.of(&now(&[(6, "waiting for the mirror to report", false), (7, "starting", false)])), []);
        let copying = said(steps.of(&now(&[(6, "copying", false)])));
        assert_eq!(copying[..2], ["Process results...", "Updating configuration to mark mirrors up"]);
        assert_eq!(steps.rest(), []);
        let mut at_once = Steps::new(true, vec![Dbid(6)]);
        assert_eq!(said(at_once.of(&now(&[(6, "done", true)]))).len(), 4);
    }

    #[test]
    fn what_failed_before_a_step_does_not_say_it() {
        let mut steps = Steps::new(true, vec![Dbid(6)]);
        assert_eq!(said(steps.of(&now(&[(6, "refused", true)]))), ["Getting unbalanced segments"]);
        let mut steps = Steps::new(true, vec![Dbid(6)]);
        // Its mirror is waited for before the primary is drained.
        assert_eq!(
            said(steps.of(&now(&[(6, "waiting for the mirror to be ready", false)]))),
            ["Getting unbalanced segments"]
        );
    }

    #[test]
    fn segments_of_others_say_nothing() {
        let mut steps = Steps::new(false, vec![Dbid(6)]);
        let lines = said(steps.of(&now(&[(9, "copying", false)])));
        assert_eq!(lines.len(), 2, "{lines:?}");
    }
}
