//! Without a prompt: codes, a file or stdin; data on stdout, everything else on stderr.

use super::document::envelope;
use super::evaluator::{Evaluated, Evaluator, Failure};
use super::render::Screens;
use super::render::error::ErrorView;
use super::repl::ended_line;
use super::ui::ShellUi;
use crate::cluster::{Plan, State};
use std::io::Read;
use std::path::PathBuf;
use std::rc::Rc;

/// What is run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Each `-e`, in one scope; values are rendered.
    Codes(Vec<String>),
    /// A script file; it prints what it prints.
    File { path: PathBuf, args: Vec<String> },
    /// A script on stdin, likewise.
    Stdin { args: Vec<String> },
    /// A primitive as a subcommand: its value is rendered, and judged.
    Call { code: String, judgement: Judgement },
}

/// What the exit code of a call that succeeded says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judgement {
    /// That it succeeded.
    Success,
    /// What the plan would do.
    DryRun,
    /// Whether the coordinator answered.
    State,
    /// Whether everything is as it should be.
    Check,
}

/// Exit code of a state: 7 from the last catalog, 9 when it is checked and something is wrong.
pub fn state_exit(state: &State, check: bool) -> i32 {
    let fine = state.operational()
        && state.down().is_empty()
        && state.single_copy().is_empty()
        && state.unbalanced().is_empty();
    match (state.coordinator.pid, check) {
        (None, _) => 7,
        (Some(_), true) if !fine => 9,
        _ => 0,
    }
}

/// Exit code of a plan that was only made: 4 refused, 3 nothing to do, 0 something would be done.
pub fn plan_exit(plan: &Plan) -> i32 {
    match (plan.refuses, plan.is_empty(), plan.refusals.is_empty()) {
        (true, _, _) | (false, true, false) => 4,
        (false, true, true) => 3,
        (false, false, _) => 0,
    }
}

impl Judgement {
    fn exit(self, value: &Evaluated) -> i32 {
        match self {
            Judgement::Success => 0,
            Judgement::DryRun => value.plan.as_ref().map_or(0, plan_exit),
            Judgement::State => value.state.as_ref().map_or(0, |s| state_exit(s, false)),
            Judgement::Check => value.state.as_ref().map_or(0, |s| state_exit(s, true)),
        }
    }
}

/// One run without a prompt.
pub struct Batch {
    pub ui: Rc<ShellUi>,
    /// The screens of stderr.
    pub screens: Screens,
    /// One document on stdout. The output of `ui` must be kept then.
    pub json: bool,
}

/// Exit code of a script error, as the shell itself uses it for a script it cannot read.
const SCRIPT_ERROR: i32 = 1;
/// What the engine calls a line of the prompt in positions.
const PROMPT: &str = "prompt";
/// Exit code of an interrupted run.
const INTERRUPTED: i32 = 130;

impl Batch {
    /// Runs the source; the process's exit code.
    pub fn run(&self, source: &Source, evaluator: &mut dyn Evaluator) -> i32 {
        let judgement = match source {
            Source::Call { judgement, .. } => *judgement,
            _ => Judgement::Success,
        };
        let result = match source {
            Source::Codes(codes) => self.codes(codes, evaluator),
            Source::Call { code, .. } => self.codes(std::slice::from_ref(code), evaluator),
            Source::File { path, args } => evaluator.run_file(path, args),
            Source::Stdin { args } => match read_stdin() {
                Ok(text) => evaluator.run_source("-", &text, args),
                Err(failure) => Err(failure),
            },
        };
        match result {
            Ok(value) => self.finish(value, judgement),
            Err(mut failure) => {
                relocate(&mut failure.view, source);
                self.fail(*failure)
            }
        }
    }

    fn codes(&self, codes: &[String], evaluator: &mut dyn Evaluator) -> Result<Evaluated, Box<Failure>> {
        let mut last = Evaluated::default();
        for code in codes {
            last = evaluator.eval_line(code)?;
            if !self.json {
                self.show(&last);
            }
            if last.exit.is_some() {
                break;
            }
        }
        Ok(last)
    }

    /// The end of an operation was told on stderr already, unless that is quiet.
    fn show(&self, value: &Evaluated) {
        let seen = value.told && self.ui.has_shown_an_end();
        if let (false, Some(text)) = (seen, &value.text) {
            self.ui.output().write(&ended_line(text));
        }
    }

    fn finish(&self, value: Evaluated, judgement: Judgement) -> i32 {
        let code = value.exit.unwrap_or_else(|| judgement.exit(&value));
        if self.json {
            let kind = if value.kind.is_empty() { "value" } else { &value.kind };
            self.document(kind, value.json);
        }
        code
    }

    fn fail(&self, mut failure: Failure) -> i32 {
        let signals = self.ui.signals();
        if self.ui.output().is_gone() && !signals.interrupted() {
            // The script was ended because nobody reads any more, which is success.
            return 0;
        }
        failure.view.shown = self.ui.has_shown_end_of(failure.view.op);
        self.ui.say(&self.screens.error(&failure.view));
        if self.json {
            let refused = failure.view.is_refusal();
            self.document(if refused { "refusal" } else { "error" }, failure.json);
        }
        match failure.view.exit {
            _ if signals.interrupted() => INTERRUPTED,
            0 => SCRIPT_ERROR,
            code => code,
        }
    }

    fn document(&self, kind: &str, value: serde_json::Value) {
        let printed = self.ui.output().take();
        let document = envelope(kind, value, printed, &self.ui.outcomes());
        self.ui.output().write(&format!("{document}\n"));
    }
}

/// The engine knows one kind of line, the prompt's: here it came from the command line.
fn relocate(view: &mut ErrorView, source: &Source) {
    match source {
        // The person wrote a subcommand; the line it became would only puzzle.
        Source::Call { .. } => view.position = None,
        Source::Codes(_) => {
            let called = view.calls.iter_mut().filter_map(|call| call.at.as_mut());
            for at in called.chain(view.position.as_mut()) {
                if at.file == PROMPT {
                    at.file = "-e".to_string();
                }
            }
        }
        Source::File { .. } | Source::Stdin { .. } => {}
    }
}

fn read_stdin() -> Result<String, Box<Failure>> {
    let mut text = String::new();
    match std::io::stdin().lock().read_to_string(&mut text) {
        Ok(_) => Ok(text),
        Err(error) => {
            let mut failure = Failure::default();
            failure.view.code = "unreadable".into();
            failure.view.message = format!("the script on stdin cannot be read: {error}");
            failure.view.exit = SCRIPT_ERROR;
            failure.json = serde_json::json!({
                "code": failure.view.code,
                "exit": failure.view.exit,
                "message": failure.view.message,
            });
            Err(Box::new(failure))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shell::output::Output;
    use crate::shell::render::Style;
    use crate::shell::signals::Signals;
    use crate::shell::ui::Manner;
    use std::path::Path;

    /// An engine that answers `exit N` and `fail N`, and echoes everything else.
    #[derive(Default)]
    struct Echo {
        seen: Vec<String>,
    }

    impl Evaluator for Echo {
        fn variables(&self) -> Vec<crate::shell::evaluator::Variable> {
            Vec::new()
        }
        fn eval_line(&mut self, text: &str) -> Result<Evaluated, Box<Failure>> {
            self.seen.push(text.to_string());
            let number = |word| text.strip_prefix(word).and_then(|n| n.trim().parse().ok());
            if let Some(code) = number("fail") {
                let mut failure = Failure::default();
                failure.view.exit = code;
                return Err(Box::new(failure));
            }
            Ok(Evaluated { json: text.into(), exit: number("exit"), ..Evaluated::default() })
        }
        fn run_source(&mut self, _: &str, text: &str, _: &[String]) -> Result<Evaluated, Box<Failure>> {
            self.eval_line(text)
        }
        fn run_file(&mut self, path: &Path, _: &[String]) -> Result<Evaluated, Box<Failure>> {
            self.eval_line(&path.display().to_string())
        }
    }

    fn run(codes: &[&str]) -> (i32, Vec<String>) {
        let screens = Screens::new(Style::default(), "demo");
        let signals = Signals::unattached();
        let ui = ShellUi::new(Manner::default(), screens.clone(), signals, Output::to_stdout());
        let batch = Batch { ui: Rc::new(ui), screens, json: false };
        let mut echo = Echo::default();
        let codes = codes.iter().map(ToString::to_string).collect();
        let code = batch.run(&Source::Codes(codes), &mut echo);
        (code, echo.seen)
    }

    #[test]
    fn codes_run_in_order_until_one_fails_or_leaves() {
        assert_eq!(run(&["a", "b"]), (0, vec!["a".into(), "b".into()]));
        assert_eq!(run(&["a", "fail 4", "b"]), (4, vec!["a".into(), "fail 4".into()]));
        assert_eq!(run(&["exit 3", "b"]), (3, vec!["exit 3".into()]));
    }

    #[test]
    fn a_state_is_judged_when_that_is_asked_for() {
        use crate::shell::render::samples::{broken, coordinator_down, healthy};
        assert_eq!(state_exit(&healthy(), true), 0);
        assert_eq!(state_exit(&broken(), false), 0);
        assert_eq!(state_exit(&broken(), true), 9);
        assert_eq!(state_exit(&coordinator_down(), false), 7);
    }

    #[test]
    fn a_dry_run_says_whether_there_is_anything_to_do() {
        use crate::shell::render::samples::{full_plan, recover_plan};
        let mut plan = recover_plan();
        assert_eq!(plan_exit(&plan), 0);
        plan.steps.clear();
        plan.joined.clear();
        assert_eq!(plan_exit(&plan), 3);
        plan.refusals = full_plan().refusals;
        assert_eq!(plan_exit(&plan), 4);
    }

    #[test]
    fn a_failure_is_never_success() {
        assert_eq!(run(&["fail 0"]).0, 1);
    }
}
