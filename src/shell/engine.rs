//! The script engine behind the prompt and the batch: its values and errors in the shell's terms.

use super::evaluator::{Evaluated, Evaluator, Failure, Json, Variable};
use super::render::Screens;
use super::render::error::{Call, Changed, ErrorView, Position};
use crate::cluster::{Outcome, OutcomeStatus, Plan, Refusal, Rows, Segment, State, Why};
use crate::core::ids::Content;
use crate::script::ui::Renderer;
use crate::script::{self, OpRecord, Pos, ScriptError, ScriptValue, Session};
use std::path::Path;

impl Renderer for Screens {
    fn state(&self, state: &State) -> String {
        Screens::state(self, state)
    }
    fn plan(&self, plan: &Plan) -> String {
        Screens::plan(self, plan)
    }
    fn outcome(&self, outcome: &Outcome) -> String {
        Screens::outcome(self, outcome)
    }
    fn refusals(&self, verb: &str, refusals: &[Refusal]) -> String {
        Screens::refusals(self, verb, refusals)
    }
    fn segments(&self, segments: &[Segment]) -> String {
        Screens::segments(self, segments)
    }
    fn rows(&self, rows: &Rows) -> String {
        Screens::rows(self, rows)
    }
    fn why(&self, why: &Why) -> String {
        Screens::why(self, why)
    }
}

/// A script session as the shell drives it.
pub struct ScriptEngine(pub Session);

impl ScriptEngine {
    fn result(&self, result: Result<ScriptValue, Box<ScriptError>>) -> Result<Evaluated, Box<Failure>> {
        match result {
            Ok(value) => Ok(Evaluated {
                kind: value.kind().to_string(),
                text: self.0.render(&value.value),
                told: value.told,
                plan: value.plan(),
                state: value.state(),
                rehearsed: value.rehearsed.clone(),
                exit: value.exit,
                json: Json::of(move || value.to_json()),
            }),
            Err(error) => Err(Box::new(Failure { json: error.to_json(), view: view(*error) })),
        }
    }
}

impl Evaluator for ScriptEngine {
    fn variables(&self) -> Vec<Variable> {
        self.0.variables().into_iter().map(|(name, of)| Variable { name, of }).collect()
    }
    fn eval_line(&mut self, text: &str) -> Result<Evaluated, Box<Failure>> {
        let result = self.0.eval_line(text);
        self.result(result)
    }
    fn rehearse(&mut self, on: bool) {
        self.0.set_dry_run(on);
    }
    fn run_source(&mut self, name: &str, text: &str, args: &[String]) -> Result<Evaluated, Box<Failure>> {
        self.0.set_args(args);
        let result = self.0.run_source(name, text);
        self.result(result)
    }
    fn run_file(&mut self, path: &Path, args: &[String]) -> Result<Evaluated, Box<Failure>> {
        let result = self.0.run_file(path, args);
        self.result(result)
    }
}

/// A script's error as the error screen shows it.
pub fn view(error: ScriptError) -> ErrorView {
    let mut notes = Vec::new();
    if !error.options.is_empty() {
        notes.push(format!("options: {}", error.options.join(" ")));
    }
    if !error.sqlstate.is_empty() {
        notes.push(format!("SQLSTATE {}", error.sqlstate));
    }
    ErrorView {
        more: more(&error.message),
        verb: error.verb,
        running: error.changed_before.iter().filter_map(still_runs).collect(),
        changed_else: error.changed_else || error.changed_before.iter().any(is_unnumbered_change),
        changed_before: error.changed_before.iter().filter_map(changed).collect(),
        calls: error
            .call_stack
            .into_iter()
            .map(|frame| Call { function: frame.function, at: frame.called_at.map(position) })
            .collect(),
        position: error.position.map(position),
        source_line: error.source_line,
        code: error.code,
        message: error.message,
        exit: error.exit,
        notes,
        op: error.op,
        shown: false,
        refusals: error.refusals,
        next: error.next,
        at_prompt: false,
    }
}

fn position(pos: Pos) -> Position {
    Position { file: pos.file, line: pos.line, column: pos.col }
}

/// An error that begins with the function it is about is explained by that function's help.
fn more(message: &str) -> String {
    match message.split_once("()") {
        Some((name, _)) if script::find(name).is_some() => format!("help(\"{name}\")"),
        _ => String::new(),
    }
}

fn still_runs(record: &OpRecord) -> Option<i64> {
    let runs = matches!(record.status, OutcomeStatus::Started | OutcomeStatus::Unknown);
    record.op.filter(|_| runs)
}

/// A change that the coordinator has no number for, such as a restart of everything.
fn is_unnumbered_change(record: &OpRecord) -> bool {
    record.op.is_none() && !matches!(record.status, OutcomeStatus::Refused | OutcomeStatus::Declined)
}

/// What never became an operation is in no list of operations.
fn changed(record: &OpRecord) -> Option<Changed> {
    let contents: Vec<Content> = record.contents.iter().map(|c| Content(*c)).collect();
    Some(Changed {
        time_ms: record.time_ms,
        op: record.op?,
        verb: record.verb.clone(),
        what: super::render::format::contents(&contents),
        status: record.status.word().to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::SessionConfig;
    use crate::shell::output::Output;
    use crate::shell::render::Style;
    use crate::shell::signals::Signals;
    use crate::shell::ui::{Manner, ShellUi};
    use std::rc::Rc;

    fn engine() -> ScriptEngine {
        let screens = Screens::new(Style::default(), "demo");
        let signals = Signals::unattached();
        let ui = ShellUi::new(Manner::default(), screens.clone(), signals, Output::kept());
        ScriptEngine(Session::new(SessionConfig {
            cluster: None,
            ui: Rc::new(ui),
            renderer: Rc::new(screens),
            site_dir: None,
            system_dir: None,
            dry_run: false,
        }))
    }

    fn failure(text: &str) -> Failure {
        match engine().run_source("nightly.rhai", text, &[]) {
            Err(failure) => *failure,
            Ok(value) => panic!("`{text}` is {value:?}"),
        }
    }

    #[test]
    fn a_value_is_shown_and_unit_is_silent() {
        let mut engine = engine();
        let text = |e: &mut ScriptEngine, code| match e.eval_line(code) {
            Ok(value) => value.text,
            Err(failure) => panic!("{failure:?}"),
        };
        assert_eq!(text(&mut engine, "let x = 20"), None);
        assert_eq!(text(&mut engine, "x + 1").as_deref(), Some("21"));
    }

    #[test]
    fn a_script_error_is_shown_where_it_is() {
        let screen = Screens::new(Style::default(), "demo");
        let text = screen.error(&failure("let a = 1;\nlet b = a +  nothing;\n").view);
        assert!(text.contains("--> nightly.rhai:2:14"), "{text}");
        assert!(text.contains("nothing;\n   |              ^^^^^^^"), "{text}");
        assert!(text.trim_end().ends_with("exit 1"), "{text}");
    }

    #[test]
    fn what_a_person_has_named_is_known_with_its_type() {
        let mut engine = engine();
        for line in ["let x = 1", "let list = [1]", "fn mine(a) { a }"] {
            assert!(engine.eval_line(line).is_ok(), "{line}");
        }
        let named = engine.variables();
        let of = |name: &str| named.iter().find(|v| v.name == name).map(|v| v.of.as_ref().map(ToString::to_string));
        assert_eq!(of("x"), Some(Some("int".into())));
        assert_eq!(of("list"), Some(Some("array of int".into())));
        assert_eq!(of("mine"), Some(None));
    }

    #[test]
    fn an_error_names_the_help_of_the_function_it_is_about() {
        assert_eq!(more("recover() has no option `x`"), "help(\"recover\")");
        assert_eq!(more("nobody() knows"), "");
    }
}
