//! The line editor's helper: what it asks while a line is typed, answered from what is known already.

use super::complete::{Known, complete};
use super::evaluator::Variable;
use super::highlight;
use super::hint;
use super::prompt;
use super::render::layout::{columns, cut};
use super::render::{Paint, Style};
use super::snapshot::Snapshot;
use super::terminal;
use rustyline::completion::{Completer, Pair};
use rustyline::highlight::{CmdKind, Highlighter};
use rustyline::hint::{Hint, Hinter, HistoryHinter};
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{Context, Helper};
use std::borrow::Cow;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

/// Names this wide leave room for what is said about them.
const NAME: usize = 20;

/// Everything the editor asks while a line is typed. Nothing here goes to the network.
#[derive(Helper)]
pub struct LineHelper {
    /// Whether an entry needs another line.
    is_incomplete: Rc<dyn Fn(&str) -> bool>,
    snapshot: Arc<Snapshot>,
    variables: RefCell<Vec<Variable>>,
    history: HistoryHinter,
    style: Style,
}

impl LineHelper {
    /// A helper over the last snapshot.
    pub fn new(is_incomplete: Rc<dyn Fn(&str) -> bool>, snapshot: Arc<Snapshot>, style: Style) -> LineHelper {
        LineHelper { is_incomplete, snapshot, variables: RefCell::default(), history: HistoryHinter::new(), style }
    }

    /// The names that the lines so far have made.
    pub fn knows(&self, variables: Vec<Variable>) {
        self.variables.replace(variables);
    }

    fn with_known<T>(&self, work: impl FnOnce(&Known) -> T) -> T {
        let seen = self.snapshot.now();
        let variables = self.variables.borrow();
        work(&Known { variables: &variables, state: seen.as_ref().map(|seen| &*seen.state) })
    }
}

impl Completer for LineHelper {
    type Candidate = Pair;

    fn complete(&self, line: &str, pos: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<Pair>)> {
        let (start, found) = self.with_known(|known| complete(&line[..pos], &line[pos..], known));
        let width = found.iter().map(|c| columns(&c.text)).max().unwrap_or(0).max(NAME);
        // One line each: a candidate that wraps hides the next.
        let room = terminal::stdout_width().saturating_sub(2);
        let pair = |c: super::complete::Candidate| Pair {
            display: cut(format!("{:<width$} {}", c.text, c.about).trim_end(), room),
            replacement: c.text,
        };
        Ok((start, found.into_iter().map(pair).collect()))
    }
}

/// What is dimmed behind the cursor, and what the right arrow makes of it.
pub struct Dimmed {
    shown: String,
    taken: Option<String>,
}

impl Hint for Dimmed {
    fn display(&self) -> &str {
        &self.shown
    }
    fn completion(&self) -> Option<&str> {
        self.taken.as_deref()
    }
}

impl Hinter for LineHelper {
    type Hint = Dimmed;

    fn hint(&self, line: &str, pos: usize, ctx: &Context<'_>) -> Option<Dimmed> {
        if pos < line.len() {
            return None;
        }
        let said = self.with_known(|known| hint::hint(line, known, terminal::stdout_width()));
        if let Some(shown) = said {
            return Some(Dimmed { shown, taken: None });
        }
        // Without colour nobody could tell a line of before from what is typed.
        let before = if self.style.color { self.history.hint(line, pos, ctx) } else { None };
        before.map(|rest| Dimmed { shown: rest.clone(), taken: Some(rest) })
    }
}

impl Validator for LineHelper {
    fn validate(&self, ctx: &mut ValidationContext) -> rustyline::Result<ValidationResult> {
        let input = ctx.input();
        // An empty line ends an entry that would go on for ever: then the parser says what it misses.
        let given_up = input.ends_with('\n') && !input.trim().is_empty();
        let goes_on = !given_up && !input.trim_start().starts_with([':', '?', '\\']) && (self.is_incomplete)(input);
        Ok(if goes_on { ValidationResult::Incomplete } else { ValidationResult::Valid(None) })
    }
}

impl Highlighter for LineHelper {
    fn highlight<'l>(&self, line: &'l str, pos: usize) -> Cow<'l, str> {
        if !self.style.color {
            return Cow::Borrowed(line);
        }
        let variables = self.variables.borrow();
        let is_own = |name: &str| variables.iter().any(|v| v.name == name);
        Cow::Owned(highlight::colored(line, pos, &self.style, &is_own))
    }

    fn highlight_prompt<'b, 's: 'b, 'p: 'b>(&'s self, prompt: &'p str, _default: bool) -> Cow<'b, str> {
        Cow::Owned(prompt::painted(prompt, &self.style))
    }

    fn highlight_hint<'h>(&self, hint: &'h str) -> Cow<'h, str> {
        Cow::Owned(self.style.paint(Paint::Dim, hint))
    }

    fn highlight_char(&self, _line: &str, _pos: usize, kind: CmdKind) -> bool {
        // Also a move: the bracket at the cursor is another then.
        self.style.color && kind != CmdKind::ForcedRefresh
    }
}
