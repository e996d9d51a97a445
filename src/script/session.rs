//! A session: one engine, one cluster, one person in front. The shell and the command line drive it.

use super::api::hooks::{self, Hooks};
use super::check::{Finding, Registered, Severity, Surroundings, check_text};
use super::context::{Context, OpRecord};
use super::engine;
use super::entries::Entries;
pub(super) use super::entries::PROMPT;
use super::error::{ErrorKind, ScriptError};
use super::json;
use super::library;
use super::modules::{ModulePaths, Resolver};
use super::rehearsal::{Rehearsal, Rehearsed};
use super::scan;
use super::thrown::Thrown;
use super::types::Type;
use super::ui::{Renderer, Ui};
use crate::cluster::{Cluster, Plan, State};
use rhai::{AST, Dynamic, Engine, EvalAltResult, FuncInfo, Map, Scope, Stmt};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

/// What a session is made of.
pub struct SessionConfig {
    /// `None`: the language and `help` work, every call on a cluster is `no_cluster` (exit 7).
    pub cluster: Option<Arc<dyn Cluster>>,
    pub ui: Rc<dyn Ui>,
    pub renderer: Rc<dyn Renderer>,
    /// The site's modules, in the configuration directory.
    pub site_dir: Option<PathBuf>,
    /// The machine's modules: `/etc/segsh/site`.
    pub system_dir: Option<PathBuf>,
    /// Mutating calls stop after their check and return `planned`; the next one is planned on what
    /// they would leave.
    pub dry_run: bool,
}

/// What a text came to.
#[derive(Debug, Clone)]
pub struct ScriptValue {
    pub value: Dynamic,
    /// The code of `exit(n)`, when the script ended by it.
    pub exit: Option<i32>,
    /// The value is an outcome that [`Ui::ended`] has already told a person.
    pub told: bool,
    /// What the script changed.
    pub ops: Vec<OpRecord>,
    /// What the session would have done so far, when it is a dry run.
    pub rehearsed: Option<Rehearsed>,
}

impl ScriptValue {
    pub fn is_unit(&self) -> bool {
        self.value.is_unit()
    }
    /// `value` of the `--json` envelope.
    pub fn to_json(&self) -> serde_json::Value {
        json::value_json(&self.value)
    }
    /// `kind` of the `--json` envelope: state, plan, outcome, refusal or value.
    pub fn kind(&self) -> &'static str {
        super::api::kind(&self.value)
    }
    /// The state, when the value is one: the exit code of `segsh state` depends on it.
    pub fn state(&self) -> Option<State> {
        let record = self.value.read_lock::<super::api::state::StateRecord>()?;
        Some(State::clone(&record.0))
    }
    /// The plan, when the value is one: the exit code of a dry run depends on it.
    pub fn plan(&self) -> Option<Plan> {
        let record = self.value.read_lock::<super::api::plan::PlanRecord>()?;
        Some(record.shown())
    }
}

/// One engine with the API, and what lives from line to line.
pub struct Session {
    pub(super) engine: Engine,
    registered: Registered,
    context: Rc<Context>,
    pub(super) resolver: Resolver,
    scope: Scope<'static>,
    /// Functions defined at the prompt.
    functions: AST,
    /// Imports made at the prompt, repeated before each line: Rhai forgets them with the run.
    imports: Vec<(String, String)>,
    entries: Entries,
    /// The prompt's variables while a line runs with them.
    lent: Vec<String>,
}

impl Session {
    pub fn new(config: SessionConfig) -> Session {
        let context = Rc::new(Context {
            cluster: config.cluster,
            ui: config.ui,
            renderer: config.renderer,
            dry_run: Cell::new(config.dry_run),
            rehearsal: Rehearsal::default(),
            changed_else: Cell::new(false),
            ops: RefCell::default(),
            grants: RefCell::default(),
            exit: Cell::new(None),
            sources: RefCell::new(HashMap::new()),
            traffic: RefCell::new(None),
            told: RefCell::new(None),
            arguments: RefCell::default(),
            called_at: RefCell::default(),
            hooks: Hooks::default(),
            confirmed: RefCell::default(),
        });
        let folders = [config.system_dir.clone(), config.site_dir.clone()];
        let paths = ModulePaths { script: None, site: config.site_dir, system: config.system_dir };
        let resolver = Resolver::new(paths, &context);
        let engine = engine::build(&context, resolver.clone());
        hooks::begin(&context, &resolver, &folders);
        Session {
            engine,
            registered: Registered::default(),
            context,
            resolver,
            scope: Scope::new(),
            functions: AST::empty(),
            imports: Vec::new(),
            entries: Entries::default(),
            lent: Vec::new(),
        }
    }

    /// Runs a file with its arguments: `args()` in the script. Its folder's modules can be imported.
    pub fn run_file(&mut self, path: &Path, args: &[String]) -> Result<ScriptValue, Box<ScriptError>> {
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|cause| {
            let thrown = Thrown::script("io", format!("{name}: {cause}"));
            ScriptError::new(ErrorKind::Io, thrown)
        })?;
        self.set_folder_of(path);
        self.set_args(args);
        self.run_source(&name, &text)
    }

    /// Whether calls are only rehearsed from now on. A rehearsal begins and ends with the cluster as it is.
    pub fn set_dry_run(&mut self, on: bool) {
        self.context.dry_run.set(on);
        self.context.rehearsal.forget();
    }

    /// What `args()` returns from now on.
    pub fn set_args(&mut self, args: &[String]) {
        self.context.arguments.replace(args.to_vec());
    }

    /// Runs a text on its own: nothing of it stays, nothing of the prompt is seen.
    pub fn run_source(&mut self, name: &str, text: &str) -> Result<ScriptValue, Box<ScriptError>> {
        self.begin(name, text);
        self.context.hooks.begin_script();
        let text = without_shebang(text);
        self.find_faults(name, &text, &Scope::new(), &AST::empty())?;
        let mut ast = self.compiled(name, &text, &Scope::new())?;
        ast.set_source(name);
        let mut scope = Scope::new();
        let value = self.evaluated(name, |engine| engine.eval_ast_with_scope(&mut scope, &ast))?;
        if library::is_functions_only(&ast) {
            self.context.ui.note(&format!("{name} holds functions only, so nothing was run: import it, or segsh test"));
        }
        Ok(value)
    }

    /// Runs `run(options)` of a procedure: `segsh run NAME`.
    pub fn run_procedure(&mut self, name: &str, options: Map) -> Result<ScriptValue, Box<ScriptError>> {
        let text = super::api::procedures::call_text(&self.context, name)
            .map_err(|thrown| ScriptError::new(ErrorKind::Api, thrown))?;
        self.begin(name, &text);
        let mut scope = Scope::new();
        scope.push_constant("options", options);
        let mut ast = self.compiled(name, &text, &scope)?;
        ast.set_source(name);
        self.evaluated(name, |engine| engine.eval_ast_with_scope(&mut scope, &ast))
    }

    /// Runs a test function of a library: `segsh test`. It is called as an importing script would call it, so the module's own
    /// statements are not run again with it.
    pub fn run_test(&mut self, module: &str, function: &str) -> Result<ScriptValue, Box<ScriptError>> {
        let text = format!("import {module:?} as the_library; the_library::{function}()");
        self.begin(library::CALLER, &text);
        let mut scope = Scope::new();
        let mut ast = self.compiled(library::CALLER, &text, &scope)?;
        ast.set_source(library::CALLER);
        let result = self.evaluated(library::CALLER, |engine| engine.eval_ast_with_scope(&mut scope, &ast));
        result.map_err(|mut error| {
            library::without_caller(&mut error);
            error
        })
    }

    /// Runs a line at the prompt: variables, functions and imports stay for the next.
    pub fn eval_line(&mut self, text: &str) -> Result<ScriptValue, Box<ScriptError>> {
        self.begin(PROMPT, text);
        let prefix: String =
            self.imports.iter().map(|(path, alias)| format!("import \"{path}\" as {alias}; ")).collect();
        let whole = self.entries.enter(&prefix, text);
        let result = self.eval_whole(&whole);
        let result = result.map_err(|mut error| {
            self.entries.mend(&mut error);
            error
        });
        if scan::words(text).iter().any(|w| w.text == "fn") || text.contains('|') {
            self.entries.keep();
        }
        result
    }

    fn eval_whole(&mut self, whole: &str) -> Result<ScriptValue, Box<ScriptError>> {
        self.find_faults(PROMPT, whole, &self.scope, &self.functions)?;
        let ast = self.compiled(PROMPT, whole, &self.scope)?;
        let mut merged = self.functions.merge(&ast);
        merged.set_source(PROMPT);
        self.lent = self.scope.iter().map(|(name, ..)| name.to_string()).collect();
        let mut scope = std::mem::take(&mut self.scope);
        let result = self.evaluated(PROMPT, |engine| engine.eval_ast_with_scope(&mut scope, &merged));
        self.scope = scope;
        // Also after an error: what was defined before it was defined.
        self.functions = merged.clone_functions_only();
        if result.is_ok() {
            self.keep_imports(&ast);
        }
        result
    }

    fn keep_imports(&mut self, ast: &AST) {
        for statement in ast.statements() {
            if let Stmt::Import(import, _) = statement
                && let rhai::Expr::StringConstant(path, _) = &import.0
                && !import.1.name.is_empty()
            {
                let alias = import.1.name.to_string();
                self.imports.retain(|(_, a)| *a != alias);
                self.imports.push((path.to_string(), alias));
            }
        }
    }

    /// `segsh check`: what is wrong with a text, without running it. Needs no cluster.
    pub fn check(&self, name: &str, text: &str) -> Vec<Finding> {
        self.check_with(name, &without_shebang(text), &Scope::new(), &AST::empty())
    }

    /// The same of a file, whose folder's modules can be imported.
    pub fn check_file(&mut self, path: &Path) -> std::io::Result<Vec<Finding>> {
        let text = std::fs::read_to_string(path)?;
        self.set_folder_of(path);
        Ok(self.check(&path.display().to_string(), &text))
    }

    fn set_folder_of(&self, path: &Path) {
        let folder = path.parent().map(|p| if p.as_os_str().is_empty() { Path::new(".") } else { p });
        self.resolver.set_script_folder(folder.map(Path::to_path_buf));
    }

    fn check_with(&self, name: &str, text: &str, scope: &Scope<'static>, known: &AST) -> Vec<Finding> {
        if let Err(error) = self.engine.compile_with_scope(scope, text) {
            return vec![Finding::of(ScriptError::syntax(&error, name, text, |n| scope.contains(n)))];
        }
        let around =
            Surroundings { engine: &self.engine, registered: &self.registered, resolver: &self.resolver, scope, known };
        check_text(around, name, text)
    }

    /// Warnings never keep a script from running.
    fn find_faults(&self, name: &str, text: &str, scope: &Scope<'static>, known: &AST) -> Result<(), Box<ScriptError>> {
        let mut findings = self.check_with(name, text, scope, known);
        findings.retain(|f| f.severity == Severity::Error);
        let count = findings.len();
        match findings.into_iter().next() {
            None => Ok(()),
            Some(first) => Err(Box::new(first.into_error(count))),
        }
    }

    fn begin(&self, name: &str, text: &str) {
        self.context.begin_script();
        self.context.sources.borrow_mut().insert(name.to_string(), text.to_string());
    }

    fn compiled(&self, name: &str, text: &str, scope: &Scope) -> Result<AST, Box<ScriptError>> {
        self.engine.compile_with_scope(scope, text).map_err(|error| {
            let syntax = ScriptError::syntax(&error, name, text, |n| scope.contains(n));
            Box::new(syntax)
        })
    }

    fn evaluated(
        &self,
        name: &str,
        run: impl FnOnce(&Engine) -> Result<Dynamic, Box<EvalAltResult>>,
    ) -> Result<ScriptValue, Box<ScriptError>> {
        let result = catch_unwind(AssertUnwindSafe(|| run(&self.engine)));
        let ops = self.context.ops.borrow().clone();
        let rehearsed = self.context.dry_run.get().then(|| self.context.rehearsal.so_far());
        // The flags come first: an end inside a closure looks like an error, or like no end at all.
        if let Some(code) = self.context.exit.get() {
            let value = Dynamic::UNIT;
            return Ok(ScriptValue { value, exit: Some(code), told: false, ops, rehearsed });
        }
        if self.context.ui.interrupted() {
            let ended = result.as_ref().ok().and_then(|r| r.as_ref().err());
            let interrupted = ScriptError::interrupted_by(ended.map(|e| &**e));
            return Err(Box::new(self.with_changes(ops, interrupted)));
        }
        match result {
            Ok(Ok(value)) => {
                let told = self.was_told(&value);
                Ok(ScriptValue { value, exit: None, told, ops, rehearsed })
            }
            Ok(Err(error)) => Err(Box::new(self.script_error(name, *error, ops))),
            Err(_) => {
                let thrown = Thrown::script("internal", "the script engine failed; this is a defect of segsh");
                Err(Box::new(self.with_changes(ops, ScriptError::new(ErrorKind::Runtime, thrown))))
            }
        }
    }

    fn script_error(&self, name: &str, error: EvalAltResult, ops: Vec<OpRecord>) -> ScriptError {
        let sources = self.context.sources.borrow();
        let error = match error {
            // Ctrl-C inside a wait, whose flag the shell may have taken down since.
            terminated if is_terminated(&terminated) => ScriptError::interrupted_by(Some(&terminated)),
            other => ScriptError::runtime(other, name, &sources, &[self.names(), self.lent.clone()].concat()),
        };
        self.with_changes(ops, error)
    }

    fn with_changes(&self, changed_before: Vec<OpRecord>, error: ScriptError) -> ScriptError {
        ScriptError { changed_before, changed_else: self.context.changed_else.get(), ..error }
    }

    fn was_told(&self, value: &Dynamic) -> bool {
        let outcome = value.read_lock::<super::api::outcome::OutcomeRecord>();
        outcome.is_some_and(|o| self.context.told.borrow().as_ref() == Some(&*o.0))
    }

    /// The value as a person reads it; `None` for unit, which is silent.
    pub fn render(&self, value: &Dynamic) -> Option<String> {
        // A utility has said its lines already.
        if value.is_unit() || value.is::<super::api::gp::UtilityRecord>() {
            return None;
        }
        if let Ok(text) = value.clone().into_string() {
            return Some(text);
        }
        // A list of records is read line by line.
        if let Some(list) = value.read_lock::<rhai::Array>()
            && !list.is_empty()
            && list.iter().all(|item| super::api::record_json(item).is_some())
        {
            let lines: Vec<String> = list.iter().filter_map(|item| self.render(item)).collect();
            return Some(lines.join("\n"));
        }
        let mut scope = Scope::new();
        scope.push("the_value", value.clone());
        let text = self.engine.eval_with_scope::<String>(&mut scope, "the_value.to_string()");
        Some(text.unwrap_or_else(|_| value.to_string()))
    }

    /// Whether a text goes on in the next line.
    pub fn is_incomplete(&self, text: &str) -> bool {
        super::incomplete::is_incomplete(text)
    }

    /// The names to complete: functions, with their namespaces, and the prompt's variables.
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = super::catalog::catalog()
            .iter()
            .filter(|e| e.method_of.is_empty())
            .map(super::catalog::Entry::full_name)
            .collect();
        names.extend(self.scope.iter().map(|(name, ..)| name.to_string()));
        names.extend(self.functions.iter_functions().map(|f| f.name.to_string()));
        names
    }

    /// The prompt's own names: variables with the type of what they hold, and functions without.
    pub fn variables(&self) -> Vec<(String, Option<Type>)> {
        let variables = self.scope.iter().map(|(name, _, value)| (name.to_string(), Some(Type::of_value(&value))));
        let functions = self.functions.iter_functions().map(|f| (f.name.to_string(), None));
        variables.chain(functions).collect()
    }

    /// Signatures of the functions this engine was given for the API, to review in a test.
    pub fn signatures(&self) -> Vec<String> {
        let signature = |info: FuncInfo| {
            let own = super::catalog::catalog().iter().any(|e| e.name == info.metadata.name.as_str());
            own.then(|| info.metadata.gen_signature(|t| t.into()))
        };
        self.engine.collect_fn_metadata(None, signature, false)
    }

    /// Leaves all that the session has to the end of the process, which is near: to give the engine back function by
    /// function takes a tenth of a short command.
    pub fn leave(self) {
        std::mem::forget(self);
    }

    /// What the last script changed.
    pub fn ops(&self) -> Vec<OpRecord> {
        self.context.ops.borrow().clone()
    }

    /// The cluster that this session is about.
    pub fn cluster(&self) -> Option<&Arc<dyn Cluster>> {
        self.context.cluster.as_ref()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.context.hooks.end();
    }
}

fn is_terminated(error: &EvalAltResult) -> bool {
    match error {
        EvalAltResult::ErrorTerminated(..) => true,
        EvalAltResult::ErrorInFunctionCall(_, _, inner, _) | EvalAltResult::ErrorInModule(_, inner, _) => {
            is_terminated(inner)
        }
        _ => false,
    }
}

/// The first line of an executable script, kept as an empty comment so that positions stay true.
fn without_shebang(text: &str) -> String {
    if text.starts_with("#!") { text.replacen("#!", "// ", 1) } else { text.to_string() }
}
