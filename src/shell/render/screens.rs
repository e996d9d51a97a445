//! All renderers with one style: what the prompt, the batch and `print(...)` share.

use super::error::ErrorView;
use super::{Style, error, outcome, plan, refusal, rows, segments, state, why};
use crate::cluster::{Outcome, Plan, Refusal, Rows, Segment, State, Why};
use std::cell::Cell;
use std::rc::Rc;

/// The screens of one session, for one stream.
#[derive(Debug, Clone)]
pub struct Screens {
    style: Style,
    /// Columns of the terminal now; clones share it, because a terminal is resized under all of them.
    width: Rc<Cell<usize>>,
    /// Typed to confirm what concerns everything.
    cluster: String,
}

impl Screens {
    /// Screens in this style for the cluster of this name.
    pub fn new(style: Style, cluster: impl Into<String>) -> Screens {
        Screens { width: Rc::new(Cell::new(style.width)), style, cluster: cluster.into() }
    }

    /// The style of this stream now.
    pub fn style(&self) -> Style {
        Style { width: self.width.get(), ..self.style.clone() }
    }

    /// The terminal has so many columns from here on.
    pub fn resize(&self, width: usize) {
        self.width.set(width);
    }

    /// The name that is typed to confirm what concerns everything.
    pub fn cluster(&self) -> &str {
        &self.cluster
    }

    /// The `state()` screen.
    pub fn state(&self, value: &State) -> String {
        state::render(value, &self.style())
    }

    /// A plan in full.
    pub fn plan(&self, value: &Plan) -> String {
        plan::render(value, &value.damage(&self.cluster), &self.style())
    }

    /// A plan in short, as it is shown before the question.
    pub fn question(&self, value: &Plan) -> String {
        plan::question(value, &self.style())
    }

    /// The end of an operation.
    pub fn outcome(&self, value: &Outcome) -> String {
        outcome::render(value, &self.style())
    }

    /// The refusal screen of a call.
    pub fn refusals(&self, verb: &str, refusals: &[Refusal]) -> String {
        refusal::render(verb, refusals, refusal::Untouched::ByIt, &self.style())
    }

    /// A list of segments.
    pub fn segments(&self, list: &[Segment]) -> String {
        segments::render(list, &self.style())
    }

    /// The rows of an SQL statement.
    pub fn rows(&self, value: &Rows) -> String {
        rows::render(value, &self.style())
    }

    /// An explanation.
    pub fn why(&self, value: &Why) -> String {
        why::render(value, &self.style())
    }

    /// The error screen.
    pub fn error(&self, value: &ErrorView) -> String {
        error::render(value, &self.style())
    }
}
