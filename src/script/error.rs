//! A script's error as data: code, exit code, where it happened, how it was reached, what is next.

use super::context::OpRecord;
use super::near::{is_it, near_miss};
use super::scan::declares;
use super::thrown::Thrown;
use crate::cluster::{Refusal, SegmentOutcome};
use rhai::{Dynamic, EvalAltResult, Map, ParseError, ParseErrorType, Position};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::fmt;

/// Rhai's positions hold a line in 16 bits and stop there.
const LINES_COUNTED: usize = 65_535;

/// A place in a script or module, lines and columns from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pos {
    pub file: String,
    pub line: usize,
    pub col: usize,
}

impl Pos {
    /// `position` of the `error` document.
    pub fn to_json(&self) -> Value {
        json!({ "file": self.file, "line": self.line, "col": self.col })
    }
}

impl fmt::Display for Pos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.col)
    }
}

/// A function on the way to the error, and where it was called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    pub function: String,
    pub called_at: Option<Pos>,
}

/// What kind of error it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The text is not Rhai.
    Syntax,
    /// The check before the run found something.
    Check,
    /// The API threw: a refusal, an outcome that is not done, a wrong argument.
    Api,
    /// A built-in error of the language.
    Runtime,
    /// The script's own `throw`.
    Thrown,
    /// Ctrl-C or TERM.
    Interrupted,
    /// A file that can't be read.
    Io,
}

/// An uncaught error.
#[derive(Debug, Clone, PartialEq)]
pub struct ScriptError {
    pub code: String,
    pub exit: i32,
    pub message: String,
    pub refusals: Vec<Refusal>,
    pub segments: Vec<SegmentOutcome>,
    pub next: String,
    pub op: Option<i64>,
    /// The call whose outcome this is, for the refusal screen; empty otherwise.
    pub verb: String,
    /// Empty when no statement failed.
    pub sqlstate: String,
    /// The options that the function has, when one was unknown.
    pub options: Vec<String>,
    pub position: Option<Pos>,
    /// The text of that line.
    pub source_line: Option<String>,
    /// From the innermost function outwards.
    pub call_stack: Vec<Frame>,
    pub kind: ErrorKind,
    /// What this script changed before the error.
    pub changed_before: Vec<OpRecord>,
    /// It changed something else, too, that is no operation: a setting, rows of a table.
    pub changed_else: bool,
}

impl std::error::Error for ScriptError {}

impl fmt::Display for ScriptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error[{}]: {}", self.code, self.message)?;
        if let Some(position) = &self.position {
            write!(f, " at {position}")?;
        }
        Ok(())
    }
}

impl ScriptError {
    pub(super) fn new(kind: ErrorKind, thrown: Thrown) -> ScriptError {
        let thrown = thrown.into_details();
        ScriptError {
            code: thrown.code,
            exit: thrown.exit,
            message: thrown.message,
            refusals: thrown.refusals,
            segments: thrown.segments,
            next: thrown.next,
            op: thrown.op,
            verb: thrown.verb,
            sqlstate: thrown.sqlstate,
            options: thrown.options,
            position: None,
            source_line: None,
            call_stack: Vec::new(),
            kind,
            changed_before: Vec::new(),
            changed_else: false,
        }
    }

    /// What failed before or beside a script, as an error of one.
    pub fn outside(thrown: Thrown) -> ScriptError {
        ScriptError::new(ErrorKind::Api, thrown)
    }

    pub(super) fn interrupted() -> ScriptError {
        ScriptError::new(ErrorKind::Interrupted, Thrown::interrupted())
    }

    /// What ended with Ctrl-C, with what the call under way said of it: it is the token of the end.
    pub(super) fn interrupted_by(error: Option<&EvalAltResult>) -> ScriptError {
        let said = error.and_then(token).filter(|text| text.starts_with("interrupted"));
        let message = said.unwrap_or_else(|| "interrupted".into());
        ScriptError { message, ..ScriptError::interrupted() }
    }

    /// A text that does not compile. `is_variable` tells the variables that the session has.
    pub(super) fn syntax(
        error: &ParseError,
        file: &str,
        text: &str,
        is_variable: impl Fn(&str) -> bool,
    ) -> ScriptError {
        let thrown = match error.err_type() {
            ParseErrorType::VariableUndefined(name) if is_variable(name) || declares(text, name) => out_of_sight(name),
            ParseErrorType::VariableUndefined(name) => unknown_variable(name),
            ParseErrorType::ModuleUndefined(name) => unknown_namespace(name),
            other => Thrown::script("syntax", other.to_string().trim_end_matches('.').to_string()),
        };
        let mut script = ScriptError::new(ErrorKind::Syntax, thrown);
        script.position = position_in(file, error.position());
        script.source_line = script.position.as_ref().and_then(|p| line_of(text, p.line));
        script
    }

    /// An error of a run. `sources` are the texts of everything loaded.
    pub(super) fn runtime(
        error: EvalAltResult,
        file: &str,
        sources: &HashMap<String, String>,
        names: &[String],
    ) -> ScriptError {
        let mut call_stack = Vec::new();
        let mut current = file.to_string();
        let inner = unwrap_calls(error, &mut current, &mut call_stack);
        let at = inner.position();
        let mut script = describe(inner, names);
        script.position = position_in(&current, at);
        script.source_line =
            script.position.as_ref().and_then(|p| sources.get(&p.file).and_then(|text| line_of(text, p.line)));
        if script.position.as_ref().is_some_and(|p| p.line >= LINES_COUNTED) {
            // The line shown would be another one.
            script.source_line = None;
            script.message.push_str(" (in line 65535 or later: no further line is counted)");
        }
        script.call_stack = call_stack;
        script
    }

    /// The `error` document of `--json`.
    pub fn to_json(&self) -> Value {
        let frame = |f: &Frame| json!({ "function": f.function, "called_at": f.called_at.as_ref().map(Pos::to_json) });
        json!({
            "code": self.code, "exit": self.exit, "message": self.message,
            "refusals": self.refusals.iter().map(super::json::refusal_json).collect::<Vec<_>>(),
            "segments":
                self.segments.iter().map(super::json::segment_outcome_json).collect::<Vec<_>>(),
            "next": self.next, "op": self.op, "verb": self.verb, "sqlstate": self.sqlstate, "options": self.options,
            "position": self.position.as_ref().map(Pos::to_json),
            "source_line": self.source_line,
            "call_stack": self.call_stack.iter().map(frame).collect::<Vec<_>>(),
            "changed_before": self.changed_before.iter().map(OpRecord::to_json).collect::<Vec<_>>(),
        })
    }
}

impl OpRecord {
    /// One entry of `ops` in the `--json` envelope.
    pub fn to_json(&self) -> Value {
        json!({
            "time_ms": self.time_ms, "op": self.op, "verb": self.verb, "contents": self.contents,
            "status": self.status.word(),
        })
    }
}

/// A name that stands for nothing. Most often it is a function without its parentheses.
fn unknown_variable(name: &str) -> Thrown {
    let functions = || super::catalog::catalog().iter().filter(|e| e.namespace.is_empty() && e.method_of.is_empty());
    if functions().any(|e| e.name == name) {
        let message = format!("`{name}` is a function: write {name}()");
        return Thrown::script("unknown_variable", message).next(format!("help(\"{name}\")"));
    }
    match near_miss(name, functions().map(|e| e.name)) {
        Some(near) => {
            let message = format!("there is no variable `{name}`; is it the function {near}()?");
            Thrown::script("unknown_variable", message).next(format!("{near}()"))
        }
        None => Thrown::script("unknown_variable", format!("there is no variable `{name}`")),
    }
}

/// A variable that is there, and not for this function: the most surprising rule of the language.
fn out_of_sight(name: &str) -> Thrown {
    let message =
        format!("there is no variable `{name}` here: a function sees its parameters and not the script's variables");
    Thrown::script("unknown_variable", message).next(format!("pass it: fn f({name}) {{ … }}"))
}

/// A name before `::` that stands for nothing.
fn unknown_namespace(name: &str) -> Thrown {
    let known = super::catalog::catalog().iter().filter(|e| !e.namespace.is_empty()).map(|e| e.namespace);
    let message = format!("there is no namespace `{name}`{}", is_it(name, known));
    Thrown::script("unknown_namespace", message).next("import \"FILE\" as NAME; help() lists fault:: and demo::")
}

/// Takes the wrapping calls and modules off, noting the way.
fn unwrap_calls(error: EvalAltResult, current: &mut String, stack: &mut Vec<Frame>) -> EvalAltResult {
    match error {
        EvalAltResult::ErrorInFunctionCall(function, source, inner, at) => {
            let called_at = position_in(current, at);
            let shown = if function.starts_with("anon$") { "closure".into() } else { function };
            // Rhai names functions of modules with a trailing ` @ 'file'` in some versions.
            stack.insert(0, Frame { function: shown, called_at });
            if !source.is_empty() {
                *current = source;
            }
            unwrap_calls(*inner, current, stack)
        }
        EvalAltResult::ErrorInModule(module, inner, _) => {
            if !module.is_empty() {
                *current = module;
            }
            unwrap_calls(*inner, current, stack)
        }
        other => other,
    }
}

fn describe(error: EvalAltResult, names: &[String]) -> ScriptError {
    if let EvalAltResult::ErrorRuntime(value, _) = &error {
        return of_thrown(value);
    }
    let code = code_of_builtin(&variant(&error));
    let message = match &error {
        EvalAltResult::ErrorFunctionNotFound(signature, _) => {
            let name = signature.split([' ', '(']).next().unwrap_or(signature);
            format!(
                "there is no function `{signature}`{}",
                is_it(name, names.iter().map(String::as_str).filter(|n| *n != name))
            )
        }
        EvalAltResult::ErrorVariableNotFound(name, _) if names.contains(name) => {
            let thrown = out_of_sight(name);
            return ScriptError::new(ErrorKind::Runtime, thrown);
        }
        EvalAltResult::ErrorVariableNotFound(name, _) => format!("there is no variable `{name}`"),
        EvalAltResult::ErrorDataRace(name, _) => {
            let what = if name.is_empty() { "a value".to_string() } else { format!("`{name}`") };
            format!("{what} is used while one of its own methods runs on it; copy it first, with let copy = …")
        }
        EvalAltResult::ErrorPropertyNotFound(name, _) => format!("there is no property `{name}`"),
        _ => without_position(&error),
    };
    ScriptError::new(ErrorKind::Runtime, Thrown::script(&code, message))
}

/// A value that was thrown: one of ours, a script's own map, or anything else.
fn of_thrown(value: &Dynamic) -> ScriptError {
    let Some(map) = value.read_lock::<Map>() else {
        let thrown = Thrown::script("thrown", value.to_string());
        return ScriptError::new(ErrorKind::Thrown, thrown);
    };
    match Thrown::from_map(&map) {
        Some(thrown) => ScriptError::new(ErrorKind::Api, thrown),
        None => {
            let text = map.get("message").map_or_else(|| value.to_string(), Dynamic::to_string);
            // A built-in error that was caught and thrown again keeps its code.
            let code = map.get("error").map_or("thrown".into(), |e| code_of_builtin(&e.to_string()));
            ScriptError::new(ErrorKind::Thrown, Thrown::script(&code, text))
        }
    }
}

/// The text that an end which no script can catch carries.
fn token(error: &EvalAltResult) -> Option<String> {
    match error {
        EvalAltResult::ErrorTerminated(token, _) => token.clone().into_string().ok(),
        EvalAltResult::ErrorInFunctionCall(_, _, inner, _) | EvalAltResult::ErrorInModule(_, inner, _) => token(inner),
        _ => None,
    }
}

fn variant(error: &EvalAltResult) -> String {
    format!("{error:?}").split(['(', ' ']).next().unwrap_or_default().to_string()
}

/// `ErrorFunctionNotFound` as `function_not_found`.
pub(super) fn code_of_builtin(variant: &str) -> String {
    let name = variant.strip_prefix("Error").unwrap_or(variant);
    let mut code = String::new();
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && !code.is_empty() {
            code.push('_');
        }
        code.push(letter.to_ascii_lowercase());
    }
    code
}

fn without_position(error: &EvalAltResult) -> String {
    let text = error.to_string();
    match text.rfind(" (line ") {
        Some(at) => text[..at].to_string(),
        None => text,
    }
}

fn position_in(file: &str, at: Position) -> Option<Pos> {
    Some(Pos { file: file.to_string(), line: at.line()?, col: at.position().unwrap_or(1) })
}

fn line_of(text: &str, line: usize) -> Option<String> {
    text.lines().nth(line.checked_sub(1)?).map(str::to_string)
}
