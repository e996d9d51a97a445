//! How a utility says that it did not do what it was asked, and with which exit code.

use super::Utility;
use super::args::Wrong;
use super::line::{Level, Line};

/// Why a run ended early.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    kind: Kind,
    /// Every reason, each with a line of its own.
    reasons: Vec<String>,
    /// What to do, as it would be typed; empty when the reasons say it.
    next: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// The command line is wrong.
    Argument,
    /// Something that is foreseen, such as a file that cannot be read.
    Expected,
    /// The cluster is not as it must be.
    Failed,
    /// The person said no.
    Declined,
}

/// The exit code of whatever was not done.
const ERROR: i32 = 2;
/// The exit code of a question that was not answered yes.
const DECLINED: i32 = 4;

impl Failure {
    /// Something that is foreseen.
    pub fn expected(reason: impl Into<String>) -> Failure {
        Failure { kind: Kind::Expected, reasons: vec![reason.into()], next: String::new() }
    }

    /// The cluster is not as it must be.
    pub fn failed(reason: impl Into<String>) -> Failure {
        Failure::for_reasons(vec![reason.into()])
    }

    /// Something that is foreseen, in several places: a file with wrong lines.
    pub fn expected_all(reasons: Vec<String>) -> Failure {
        Failure { kind: Kind::Expected, reasons, next: String::new() }
    }

    /// The cluster is not as it must be, in several places.
    pub fn for_reasons(reasons: Vec<String>) -> Failure {
        Failure { kind: Kind::Failed, reasons, next: String::new() }
    }

    /// The question was not answered yes; `hint` says how, where nobody could be asked.
    pub fn declined(hint: impl Into<String>) -> Failure {
        Failure { kind: Kind::Declined, reasons: Vec::new(), next: hint.into() }
    }

    /// The same, with a next step.
    #[must_use]
    pub fn next(self, next: impl Into<String>) -> Failure {
        Failure { next: next.into(), ..self }
    }

    /// The process's exit code.
    pub fn exit(&self) -> i32 {
        if self.kind == Kind::Declined { DECLINED } else { ERROR }
    }

    /// What is thrown in a script, in a sentence.
    pub fn message(&self, utility: Utility) -> String {
        let name = utility.name();
        match self.kind {
            Kind::Declined => format!("{name}: User abort requested"),
            _ => format!("{name}: {}", self.reasons.join("; ")),
        }
    }

    /// What to do, as it would be typed.
    pub fn next_step(&self) -> &str {
        &self.next
    }

    /// The lines of it.
    pub fn lines(&self, utility: Utility) -> Vec<Line> {
        let name = utility.name();
        let line = |reason: &String| match self.kind {
            Kind::Argument => Line::of(Level::Error, Wrong(reason.clone()).line(utility)),
            Kind::Expected => Line::of(Level::Error, format!("{name} error: {reason}")),
            Kind::Failed | Kind::Declined => {
                Line::of(Level::Critical, format!("{name} failed. (Reason='{reason}') exiting..."))
            }
        };
        let mut lines: Vec<Line> = self.reasons.iter().map(line).collect();
        if self.kind == Kind::Declined {
            lines.push(Line::info("User abort requested, Exiting..."));
        }
        if !self.next.is_empty() {
            lines.push(Line::info(format!("next: {}", self.next)));
        }
        lines
    }
}

impl From<Wrong> for Failure {
    fn from(wrong: Wrong) -> Failure {
        Failure { kind: Kind::Argument, reasons: vec![wrong.0], next: String::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(failure: &Failure) -> Vec<String> {
        failure.lines(Utility::Gpstate).iter().map(Line::unstamped).collect()
    }

    #[test]
    fn each_kind_has_its_shape_and_its_exit_code() {
        let wrong: Failure = Wrong("Only one of -i, -p, -s, -r, and -S may be specified".into()).into();
        assert_eq!(said(&wrong), ["[ERROR]:-gpstate: error: Only one of -i, -p, -s, -r, and -S may be specified"]);
        assert_eq!(said(&Failure::expected("no file")), ["[ERROR]:-gpstate error: no file"]);
        let failed = Failure::for_reasons(vec!["a".into(), "b".into()]).next("gpstop -r");
        assert_eq!(
            said(&failed),
            [
                "[CRITICAL]:-gpstate failed. (Reason='a') exiting...",
                "[CRITICAL]:-gpstate failed. (Reason='b') exiting...",
                "[INFO]:-next: gpstop -r",
            ]
        );
        assert_eq!((wrong.exit(), failed.exit()), (2, 2));
        let declined = Failure::declined("gpstate -a");
        assert_eq!(said(&declined), ["[INFO]:-User abort requested, Exiting...", "[INFO]:-next: gpstate -a"]);
        assert_eq!(declined.exit(), 4);
    }
}
