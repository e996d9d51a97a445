//! What the prompt and the batch need of the script engine, and no more of it.

use super::render::error::ErrorView;
use crate::cluster::{Plan, State};
use crate::script::{Rehearsed, Type};
use serde_json::Value;
use std::cell::OnceCell;
use std::fmt;
use std::ops::Deref;
use std::path::Path;
use std::rc::Rc;

/// A value's JSON, made when it is first read: of a thousand segments it takes longer than their screen.
#[derive(Clone)]
pub struct Json {
    made: OnceCell<Value>,
    make: Rc<dyn Fn() -> Value>,
}

impl Json {
    /// What `make` makes.
    pub fn of(make: impl Fn() -> Value + 'static) -> Json {
        Json { made: OnceCell::new(), make: Rc::new(make) }
    }

    /// The value itself.
    pub fn into_value(self) -> Value {
        self.made.into_inner().unwrap_or_else(|| (self.make)())
    }
}

impl Default for Json {
    fn default() -> Json {
        Json::of(|| Value::Null)
    }
}

impl Deref for Json {
    type Target = Value;

    fn deref(&self) -> &Value {
        self.made.get_or_init(|| (self.make)())
    }
}

impl fmt::Debug for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

/// A value that came out of a line or a script.
#[derive(Debug, Clone, Default)]
pub struct Evaluated {
    /// `state`, `plan`, `outcome`, `value`, ...: the `kind` of the `--json` document.
    pub kind: String,
    /// How it looks to a person; `None` for unit, which is silent.
    pub text: Option<String>,
    /// The value in JSON; null for unit.
    pub json: Json,
    /// The value is an outcome, and [`Ui::ended`](crate::script::ui::Ui::ended) was told it.
    pub told: bool,
    /// The value when it is a plan.
    pub plan: Option<Plan>,
    /// The value when it is a state.
    pub state: Option<State>,
    /// What the session would have done so far, when it is a dry run.
    pub rehearsed: Option<Rehearsed>,
    /// `exit(n)` or `quit()` was called: the process ends with this code.
    pub exit: Option<i32>,
}

/// What went wrong, to show and to write.
#[derive(Debug, Clone, Default)]
pub struct Failure {
    pub view: ErrorView,
    /// The error map in JSON.
    pub json: Value,
}

/// A name that the lines before have given a meaning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variable {
    pub name: String,
    /// What it holds now; `None` for a function.
    pub of: Option<Type>,
}

/// The script engine, as the shell drives it.
pub trait Evaluator {
    /// The person's own variables and functions.
    fn variables(&self) -> Vec<Variable>;
    /// One entry of the prompt or one `-e`; the scope stays for the next.
    fn eval_line(&mut self, text: &str) -> Result<Evaluated, Box<Failure>>;
    /// A whole script under a name for its errors.
    fn run_source(&mut self, name: &str, text: &str, args: &[String]) -> Result<Evaluated, Box<Failure>>;
    /// Whether calls are only rehearsed from now on, each on what the one before would leave.
    fn rehearse(&mut self, on: bool);
    /// A script file with its arguments.
    fn run_file(&mut self, path: &Path, args: &[String]) -> Result<Evaluated, Box<Failure>>;
}
