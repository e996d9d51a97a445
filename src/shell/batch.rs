//! Without a prompt: codes, a file or stdin; data on stdout, everything else on stderr.

use super::document::{self, envelope};
use super::evaluator::{Evaluated, Evaluator, Failure};
use super::render::Screens;
use super::render::error::ErrorView;
use super::repl::ended_line;
use super::ui::ShellUi;
use crate::cluster::{Plan, State};
use crate::script::json::plan_json;
use crate::script::{Rehearsed, Thrown};
use serde_json::{Value, json};
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
    /// What the utility says itself.
    Utility,
    /// Whether a host answered.
    Answer,
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

/// Exit code of a ping: 9 when the host does not answer.
pub fn answer_exit(answer: &Value) -> i32 {
    if answer["ok"] == false { 9 } else { 0 }
}

/// Exit code of a plan that was only made: 4 refused, 3 nothing to do, 0 something would be done.
pub fn plan_exit(plan: &Plan) -> i32 {
    match (plan.refuses, plan.is_empty(), plan.refusals.is_empty()) {
        (true, _, _) | (false, true, false) => 4,
        (false, true, true) => 3,
        (false, false, _) => 0,
    }
}

/// Exit code of a dry run of a session: 4 when anything was refused, 3 when there was nothing to do.
pub fn rehearsed_exit(rehearsed: &Rehearsed) -> i32 {
    let codes: Vec<i32> = rehearsed.plans.iter().map(plan_exit).collect();
    if codes.contains(&4) {
        4
    } else if codes.contains(&0) || !rehearsed.others.is_empty() {
        0
    } else {
        3
    }
}

/// `value` of a dry run's document: the plans, what else would be done, and the script's own value.
fn rehearsed_json(rehearsed: &Rehearsed, value: Value) -> Value {
    let plans: Vec<Value> = rehearsed.plans.iter().map(plan_json).collect();
    json!({ "plans": plans, "others": rehearsed.others, "value": value })
}

impl Judgement {
    fn exit(self, value: &Evaluated) -> i32 {
        match self {
            Judgement::Success => 0,
            Judgement::DryRun => value.plan.as_ref().map_or(0, plan_exit),
            Judgement::State => value.state.as_ref().map_or(0, |s| state_exit(s, false)),
            Judgement::Check => value.state.as_ref().map_or(0, |s| state_exit(s, true)),
            // Not 7, which is of the cluster itself.
            Judgement::Answer => answer_exit(&value.json),
            Judgement::Utility => value.json["exit"].as_i64().and_then(|n| i32::try_from(n).ok()).unwrap_or(0),
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
/// What the engine calls a line of the prompt in positions, with or without its number.
const PROMPT: &str = "prompt";
/// Exit code of an interrupted run.
const INTERRUPTED: i32 = 130;
/// Exit code of a run whose time limit was over.
const TIMED_OUT: i32 = 6;

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
                relocate(&mut failure, source);
                self.fail(*failure)
            }
        }
    }

    fn codes(&self, codes: &[String], evaluator: &mut dyn Evaluator) -> Result<Evaluated, Box<Failure>> {
        let mut last = Evaluated::default();
        for code in codes {
            last = evaluator.eval_line(code)?;
            self.show(&last);
            if last.exit.is_some() {
                break;
            }
        }
        Ok(last)
    }

    /// The end of an operation was told on stderr already, unless that is quiet.
    fn show(&self, value: &Evaluated) {
        if self.ui.output().is_events() {
            self.ui.output().event("value", json!({ "kind": kind(value), "value": *value.json }));
        }
        if !self.ui.output().is_text() {
            return;
        }
        let seen = value.told && self.ui.has_shown_an_end();
        if let (false, Some(text)) = (seen, &value.text) {
            self.ui.output().write(&ended_line(text));
        }
    }

    fn finish(&self, value: Evaluated, judgement: Judgement) -> i32 {
        let judged = match (judgement.exit(&value), &value.rehearsed) {
            (0, Some(rehearsed)) => rehearsed_exit(rehearsed),
            (code, _) => code,
        };
        let code = value.exit.unwrap_or(judged);
        if self.json {
            let kind = kind(&value).to_string();
            match &value.rehearsed {
                Some(rehearsed) => self.document("dry_run", rehearsed_json(rehearsed, value.json.into_value())),
                None => self.document(&kind, value.json.into_value()),
            }
        }
        self.end(code)
    }

    /// The last event says how the process ends.
    fn end(&self, code: i32) -> i32 {
        self.ui.output().event("end", json!({ "exit": code }));
        self.ui.output().judged(code)
    }

    fn fail(&self, mut failure: Failure) -> i32 {
        let signals = self.ui.signals();
        if self.ui.output().is_gone() && failure.view.code == "interrupted" && !signals.interrupted() {
            // The script was ended because nobody reads any more, which is success. What failed by itself has failed,
            // whoever reads it.
            return 0;
        }
        if signals.timed_out() {
            timed_out(&mut failure);
        }
        let code = match failure.view.exit {
            _ if signals.timed_out() => TIMED_OUT,
            _ if signals.interrupted() => INTERRUPTED,
            0 => SCRIPT_ERROR,
            code => code,
        };
        let view = &mut failure.view;
        view.shown = self.ui.has_shown_end_of(view.op) || self.ui.has_shown_refusals(&view.refusals);
        self.ui.say(&self.screens.error(&failure.view));
        let kind = if failure.view.is_refusal() { "refusal" } else { "error" };
        self.ui.output().event("error", json!({ "kind": kind, "value": failure.json }));
        if self.json {
            self.document(kind, failure.json);
        }
        self.end(code)
    }

    fn document(&self, kind: &str, value: serde_json::Value) {
        let printed = self.ui.output().take();
        let document = envelope(kind, value, printed, &self.ui.outcomes());
        self.ui.output().write(&format!("{document}\n"));
    }
}

fn kind(value: &Evaluated) -> &str {
    if value.kind.is_empty() { "value" } else { &value.kind }
}

/// A run that was ended by its time limit failed by that, whatever it was doing.
fn timed_out(failure: &mut Failure) {
    let view = &mut failure.view;
    let did = view.message.strip_prefix("interrupted").unwrap_or_default();
    view.message = format!("the time limit of the run is over{did}");
    view.code = "timed_out".into();
    view.exit = TIMED_OUT;
    failure.json["code"] = view.code.as_str().into();
    failure.json["exit"] = view.exit.into();
    failure.json["message"] = view.message.as_str().into();
}

/// The engine knows one kind of line, the prompt's: here it came from the command line.
fn relocate(failure: &mut Failure, source: &Source) {
    match source {
        // The person wrote a subcommand; the line it became would only puzzle.
        Source::Call { .. } => {
            failure.view.position = None;
            failure.view.source_line = None;
            failure.view.calls.clear();
            for key in ["position", "source_line"] {
                failure.json[key] = Value::Null;
            }
            failure.json["call_stack"] = json!([]);
        }
        Source::Codes(_) => {
            relocate_view(&mut failure.view);
            relocate_json(&mut failure.json);
        }
        Source::File { .. } | Source::Stdin { .. } => {}
    }
}

fn relocate_view(view: &mut ErrorView) {
    let called = view.calls.iter_mut().filter_map(|call| call.at.as_mut());
    for at in called.chain(view.position.as_mut()) {
        at.file = file_of(&at.file);
    }
}

/// Every `file` of the document is one of a position.
fn relocate_json(value: &mut Value) {
    match value {
        Value::Object(entries) => {
            for (key, entry) in entries.iter_mut() {
                match entry {
                    Value::String(file) if key == "file" => *file = file_of(file),
                    other => relocate_json(other),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(relocate_json),
        _ => {}
    }
}

/// `prompt` as `-e`, and `prompt:3` as `-e:3`.
fn file_of(file: &str) -> String {
    match file.strip_prefix(PROMPT) {
        Some(number) if number.is_empty() || number.starts_with(':') => format!("-e{number}"),
        _ => file.to_string(),
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
            let thrown = Thrown::with_exit(&failure.view.code, SCRIPT_ERROR, failure.view.message.as_str());
            failure.json = document::failure(thrown)["value"].take();
            Err(Box::new(failure))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shell::evaluator::Json;
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
            let json = Json::of({
                let text = text.to_string();
                move || text.as_str().into()
            });
            Ok(Evaluated { json, exit: number("exit"), ..Evaluated::default() })
        }
        fn rehearse(&mut self, _: bool) {}
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
    fn a_host_that_does_not_answer_is_a_check_that_says_no() {
        assert_eq!(answer_exit(&json!({ "ok": true, "cause": "" })), 0);
        assert_eq!(answer_exit(&json!({ "ok": false, "cause": "refused" })), 9);
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
    fn a_dry_run_of_a_session_is_as_grave_as_its_gravest_plan() {
        use crate::shell::render::samples::{full_plan, recover_plan};
        let nothing = Plan { steps: Vec::new(), joined: Vec::new(), refusals: Vec::new(), ..recover_plan() };
        let refused = Plan { refuses: true, ..full_plan() };
        let exit = |plans: Vec<Plan>, others: &[&str]| {
            rehearsed_exit(&Rehearsed { plans, others: others.iter().map(ToString::to_string).collect() })
        };
        assert_eq!(exit(vec![], &[]), 3);
        assert_eq!(exit(vec![nothing.clone()], &[]), 3);
        assert_eq!(exit(vec![nothing.clone()], &["setting(\"a\", \"b\")"]), 0);
        assert_eq!(exit(vec![nothing, recover_plan()], &[]), 0);
        assert_eq!(exit(vec![recover_plan(), refused], &[]), 4);
    }

    #[test]
    fn a_line_of_the_command_line_is_named_as_it_was_given() {
        assert_eq!(file_of("prompt"), "-e");
        assert_eq!(file_of("prompt:3"), "-e:3");
        assert_eq!(file_of("prompter.rhai"), "prompter.rhai");
        let mut document =
            json!({ "position": { "file": "prompt" }, "call_stack": [{ "called_at": { "file": "prompt" } }] });
        relocate_json(&mut document);
        assert!(!document.to_string().contains("prompt"), "{document}");
    }

    #[test]
    fn a_failure_is_never_success() {
        assert_eq!(run(&["fail 0"]).0, 1);
    }
}
