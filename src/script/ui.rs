//! What the script API needs of the person or the batch job in front of it.
//!
//! The shell implements it for a terminal and for batch; tests implement it for themselves.

use std::path::PathBuf;

use crate::cluster::{Observer, Outcome, Plan, PlanDamage, Refusal, Rows, Segment, State, Why};

/// How much damage a call can do, and so how it is confirmed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Damage {
    /// y/N: it can be undone, or only cancels statements.
    Reversible,
    /// Type this word: a full copy types the host, or the count of segments.
    TypeWord(String),
    /// Type the cluster's name: everything at once.
    TypeCluster(String),
}

impl Damage {
    /// The question that a plan's damage needs; `None` when nothing would be changed.
    pub fn of(damage: PlanDamage) -> Option<Damage> {
        match damage {
            PlanDamage::None => None,
            PlanDamage::Reversible => Some(Damage::Reversible),
            PlanDamage::TypeWord(word) => Some(Damage::TypeWord(word)),
            PlanDamage::TypeCluster(name) => Some(Damage::TypeCluster(name)),
        }
    }
}

impl Damage {
    /// What a person would have to answer, in a few words.
    pub fn asks(&self) -> String {
        match self {
            Damage::Reversible => "y/N".into(),
            Damage::TypeWord(word) | Damage::TypeCluster(word) => format!("type {word}"),
        }
    }
}

/// What came of asking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    Yes,
    No,
    /// There is no terminal and `--yes` does not cover it: `declined`, with the flag that would.
    CannotAsk {
        hint: String,
    },
    /// Ctrl-C at the question.
    Interrupted,
}

/// Who runs a utility and where, as its lines say, and where they are kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seat {
    pub host: String,
    pub user: String,
    /// Seconds that local time is ahead of UTC.
    pub utc_offset_s: i64,
    /// The log's directory when none is named; `None` keeps no log.
    pub log_dir: Option<PathBuf>,
}

/// What came of a question that takes a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    Line(String),
    /// Nobody is there who could answer.
    CannotAsk,
    /// Ctrl-C at the question.
    Interrupted,
}

pub trait Ui {
    /// Shows the plan (stderr in batch) and asks, in proportion to the damage.
    fn confirm(&self, plan: &Plan, damage: &Damage) -> Answer;
    /// Asks once for several plans, each made on the rows that the one before leaves behind. `damage`
    /// is the gravest of them.
    fn confirm_sequence(&self, plans: &[Plan], damage: &Damage) -> Answer {
        match plans {
            [one] => self.confirm(one, damage),
            _ => self.confirm(&super::sequence::merged(plans), damage),
        }
    }
    /// For progress on stderr and for Ctrl-C during an operation.
    fn observer(&self, plan: &Plan) -> Box<dyn Observer>;
    /// For an operation that somebody else may have begun: leaving it must cancel nothing.
    fn follower(&self) -> Box<dyn Observer>;
    /// How the last question was answered yes: `typed`, `--yes`; for the audit log.
    fn confirmed(&self) -> String {
        String::new()
    }
    /// The end of an operation, told to a person (stderr in batch); the value still goes to the script.
    fn ended(&self, outcome: &Outcome);
    /// A dry run came to a plan that would be applied now; `shown` is its screen.
    fn planned(&self, plan: &Plan, shown: &str) {
        tracing::debug!(plan = %plan.id, "planned");
        self.note(shown);
    }
    /// `print(...)` of a script: data, on stdout.
    fn print(&self, text: &str);
    /// `debug(...)` of a script and what a dry run shows: for a person, never data.
    fn note(&self, text: &str) {
        tracing::info!(target: "script", "{text}");
    }
    /// Who is in front.
    fn seat(&self) -> Seat {
        Seat::default()
    }
    /// Asks a utility's own question, in its own words.
    fn ask_line(&self, prompt: &str) -> Reply {
        tracing::debug!(prompt, "nobody can be asked");
        Reply::CannotAsk
    }
    /// True once Ctrl-C (or TERM) asked the running script to end; sticky.
    fn interrupted(&self) -> bool;
}

/// How values look to a person. The shell implements the reviewed screens; `print(state())` in a
/// script and the value of a line at the prompt go through the same ones.
pub trait Renderer {
    fn state(&self, state: &State) -> String;
    fn plan(&self, plan: &Plan) -> String;
    fn outcome(&self, outcome: &Outcome) -> String;
    /// The refusal screen of a call.
    fn refusals(&self, verb: &str, refusals: &[Refusal]) -> String;
    fn segments(&self, segments: &[Segment]) -> String;
    fn rows(&self, rows: &Rows) -> String;
    /// The explanation of `why(...)`.
    fn why(&self, why: &Why) -> String {
        let line = |p: &crate::cluster::Part| format!("{} {} {}\nnext: {}\n", p.what, p.symptom, p.detail, p.next);
        why.parts.iter().map(line).collect()
    }
}
