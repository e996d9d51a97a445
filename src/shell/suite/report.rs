//! How a run of tests ended: a line each, what failed and where, and the count.

use crate::script::Pos;
use crate::shell::check::Checked;
use crate::shell::evaluator::Failure;
use crate::shell::render::layout::{Para, two_ended};
use crate::shell::render::{Paint, Style, error};
use serde_json::{Value, json};
use std::path::PathBuf;

/// Where the times stand.
const EDGE: usize = 78;

/// How a test ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Passed,
    Failed,
    /// It was not begun, or not let to its end.
    NotRun,
}

impl Verdict {
    /// `passed`, `failed`, `not_run`.
    pub fn word(self) -> &'static str {
        match self {
            Verdict::Passed => "passed",
            Verdict::Failed => "failed",
            Verdict::NotRun => "not_run",
        }
    }
}

/// One test that has ended.
#[derive(Debug)]
pub struct Ended {
    /// `limits::test_of_hosts`.
    pub name: String,
    position: Pos,
    /// `None` when it passed, or was not run.
    failure: Option<Failure>,
    /// Why it was not run; empty when it was.
    why_not: String,
    /// What it printed, a text each.
    printed: Vec<String>,
    elapsed_ms: i64,
}

impl Ended {
    pub(super) fn run(
        name: String,
        at: &Pos,
        failure: Option<Failure>,
        printed: Vec<String>,
        elapsed_ms: i64,
    ) -> Ended {
        Ended { name, position: at.clone(), failure, why_not: String::new(), printed, elapsed_ms }
    }

    pub(super) fn not_run(name: String, at: &Pos, why_not: String) -> Ended {
        Ended { name, position: at.clone(), failure: None, why_not, printed: Vec::new(), elapsed_ms: 0 }
    }

    /// How it ended.
    pub fn verdict(&self) -> Verdict {
        match (&self.failure, self.why_not.is_empty()) {
            (_, false) => Verdict::NotRun,
            (Some(_), true) => Verdict::Failed,
            (None, true) => Verdict::Passed,
        }
    }

    /// Its line; below it what it failed by, and what it had printed.
    pub fn text(&self, style: &Style) -> String {
        let (word, paint) = match self.verdict() {
            Verdict::Passed => ("ok     ", Paint::Good),
            Verdict::Failed => ("FAILED ", Paint::Bad),
            Verdict::NotRun => ("not run", Paint::Warn),
        };
        let right = match self.verdict() {
            Verdict::NotRun => self.why_not.clone(),
            _ => seconds(self.elapsed_ms),
        };
        let left = format!("{} {}", style.paint(paint, word), self.name);
        let mut text = two_ended(&left, &right, EDGE, style);
        if let Some(failure) = &self.failure {
            text.push_str(&error::cause(&failure.view, style));
            for line in self.printed.iter().flat_map(|p| p.lines()) {
                text.push_str(&format!("   | {line}\n"));
            }
        }
        text
    }

    /// One entry of `tests` of the document.
    pub fn to_json(&self) -> Value {
        json!({
            "name": self.name, "status": self.verdict().word(), "elapsed_ms": self.elapsed_ms,
            "position": self.position.to_json(), "error": self.failure.as_ref().map(|f| f.json.clone()),
            "printed": self.printed, "why_not": self.why_not,
        })
    }
}

/// A whole run.
#[derive(Debug)]
pub struct Report {
    folder: PathBuf,
    checked: Checked,
    pub tests: Vec<Ended>,
    pub elapsed_ms: i64,
    /// Ctrl-C, TERM, or the end of a time limit.
    pub interrupted: bool,
    pub timed_out: bool,
    /// Why tests had no cluster to run on.
    pub no_cluster: Option<String>,
}

impl Report {
    pub(super) fn new(folder: PathBuf, checked: Checked) -> Report {
        Report {
            folder,
            checked,
            tests: Vec::new(),
            elapsed_ms: 0,
            interrupted: false,
            timed_out: false,
            no_cluster: None,
        }
    }

    fn count(&self, verdict: Verdict) -> usize {
        self.tests.iter().filter(|t| t.verdict() == verdict).count()
    }

    /// Whether not even the first test had a cluster to run on.
    pub fn had_no_cluster(&self) -> bool {
        self.no_cluster.is_some() && self.count(Verdict::NotRun) == self.tests.len()
    }

    /// Whether every test passed and nothing is wrong with a module.
    pub fn is_good(&self) -> bool {
        self.count(Verdict::Passed) == self.tests.len() && self.checked.errors() == 0
    }

    /// The last line, and why there was no cluster if so.
    pub fn summary(&self, style: &Style) -> String {
        let tests = match self.tests.len() {
            1 => "1 test".to_string(),
            n => format!("{n} tests"),
        };
        let mut parts = vec![format!("{} passed", self.count(Verdict::Passed))];
        for (n, what) in [(self.count(Verdict::Failed), "failed"), (self.count(Verdict::NotRun), "not run")] {
            if n > 0 {
                parts.push(format!("{n} {what}"));
            }
        }
        let left = format!("{tests}: {}", parts.join(", "));
        let paint = if self.is_good() { Paint::Good } else { Paint::Bad };
        let mut text = two_ended(&style.paint(paint, &left), &seconds(self.elapsed_ms), EDGE, style);
        if let Some(why) = &self.no_cluster {
            text.push_str(&Para::new("no cluster: ", 2).words(why).render(style));
        }
        text
    }

    /// `value` of the document.
    pub fn to_json(&self) -> Value {
        let checked = self.checked.to_json();
        json!({
            "folder": self.folder, "passed": self.count(Verdict::Passed), "failed": self.count(Verdict::Failed),
            "not_run": self.count(Verdict::NotRun), "elapsed_ms": self.elapsed_ms, "no_cluster": self.no_cluster,
            "files": checked["files"], "errors": checked["errors"], "warnings": checked["warnings"],
            "findings": checked["findings"], "tests": self.tests.iter().map(Ended::to_json).collect::<Vec<_>>(),
        })
    }
}

fn seconds(ms: i64) -> String {
    format!("{}.{:02} s", ms / 1000, ms % 1000 / 10)
}
