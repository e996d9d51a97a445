//! What the script API needs of the person or the batch job in front of it.
//!
//! The shell implements it for a terminal and for batch; tests implement it for themselves.

use crate::cluster::{Observer, Outcome, Plan};

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

pub trait Ui {
    /// Shows the plan (stderr in batch) and asks, in proportion to the damage.
    fn confirm(&self, plan: &Plan, damage: &Damage) -> Answer;
    /// For progress on stderr and for Ctrl-C during an operation.
    fn observer(&self, plan: &Plan) -> Box<dyn Observer>;
    /// The end of an operation, told to a person (stderr in batch); the value still goes to the script.
    fn ended(&self, outcome: &Outcome);
    /// `print(...)` of a script: data, on stdout.
    fn print(&self, text: &str);
    /// True once Ctrl-C (or TERM) asked the running script to end; sticky.
    fn interrupted(&self) -> bool;
}
