//! The light check before every run: unknown functions, wrong numbers of arguments, unknown options, and scripts that
//! redefine the API. What it finds would otherwise be found at three in the morning, half way.

mod arguments;
mod warnings;

use super::catalog::{Entry, catalog};
use super::error::{ErrorKind, Pos, ScriptError};
use super::modules::{Resolver, UNKNOWN_PROCEDURE};
use super::near::is_it;
use super::scan;
use super::thrown::Thrown;
use rhai::{AST, ASTNode, Engine, Expr, FnCallExpr, FuncInfo, Position, Scope, Stmt};
use std::cell::{OnceCell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

/// What the language itself knows and never registers.
const BUILT_IN: &[&str] =
    &["Fn", "call", "curry", "is_def_var", "is_def_fn", "is_shared", "type_of", "print", "debug", "import", "this"];

/// Whether a finding keeps a script from running.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    Error,
    /// It runs, and probably not as meant.
    Warning,
}

impl Severity {
    /// `error` or `warning`.
    pub fn word(self) -> &'static str {
        match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
        }
    }
}

/// Something wrong with a script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub severity: Severity,
    /// `unknown_function`, `wrong_arity`, `unknown_option`, `shadows_api`, `module`, `syntax` ...: `help(code)` explains it.
    pub code: String,
    pub message: String,
    pub position: Option<Pos>,
    /// The text of that line.
    pub source_line: Option<String>,
    pub next: String,
    /// The options that the function has, when one was unknown.
    pub options: Vec<String>,
}

impl Finding {
    /// A text that does not compile.
    pub(super) fn of(error: ScriptError) -> Finding {
        Finding {
            severity: Severity::Error,
            code: error.code,
            message: error.message,
            position: error.position,
            source_line: error.source_line,
            next: error.next,
            options: error.options,
        }
    }

    /// One entry of `findings` of `segsh check --json`.
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::json!({
            "severity": self.severity.word(), "code": self.code, "message": self.message,
            "position": self.position.as_ref().map(Pos::to_json), "source_line": self.source_line,
            "next": self.next, "options": self.options,
        })
    }

    /// The error that keeps a script from running. `count` are all that were found.
    pub(super) fn into_error(self, count: usize) -> ScriptError {
        let kind = if matches!(self.code.as_str(), "syntax" | "unknown_variable" | "unknown_namespace") {
            ErrorKind::Syntax
        } else {
            ErrorKind::Check
        };
        let more = match count {
            0 | 1 => String::new(),
            n => format!(" ({} more: segsh check)", n - 1),
        };
        let mut thrown = Thrown::script(&self.code, format!("{}{more}", self.message)).next(self.next);
        thrown.options = self.options;
        let mut error = ScriptError::new(kind, thrown);
        error.source_line = self.source_line;
        error.position = self.position;
        error
    }
}

/// Names and the numbers of parameters they take; a method counts its object.
type Known = BTreeMap<String, BTreeSet<usize>>;

/// Every plain function of an engine, once one is asked for that the catalog does not have.
#[derive(Default)]
pub(super) struct Registered(OnceCell<Known>);

impl Registered {
    fn of(&self, engine: &Engine) -> &Known {
        self.0.get_or_init(|| registered(engine))
    }
}

/// What a check needs beside the text.
#[derive(Clone, Copy)]
pub(super) struct Surroundings<'a> {
    pub engine: &'a Engine,
    /// Of this engine.
    pub registered: &'a Registered,
    pub resolver: &'a Resolver,
    /// Variables that are there already.
    pub scope: &'a Scope<'static>,
    /// Functions that are there already.
    pub known: &'a AST,
}

struct Checker<'a> {
    engine: &'a Engine,
    registered: &'a Registered,
    resolver: &'a Resolver,
    file: &'a str,
    text: &'a str,
    /// The script's functions, and those that are there already.
    functions: Known,
    /// What it imports, by alias; `None` when the module can't be looked into.
    imported: BTreeMap<String, Option<Known>>,
    /// Variables, parameters and keys of maps: any of them may hold a closure that is called.
    values: BTreeSet<String>,
    /// Methods that are called, with the numbers of their arguments.
    called_methods: BTreeSet<(String, usize)>,
    /// The files of modules that were looked into already.
    seen: BTreeSet<String>,
    findings: Vec<Finding>,
}

/// Checks a text that compiles, and the modules that it imports. Errors come before warnings, each in the text's order.
pub(super) fn check_text(around: Surroundings, file: &str, text: &str) -> Vec<Finding> {
    let mut findings = checked(around, file, text, BTreeSet::new()).0;
    findings
        .sort_by_key(|f| (f.severity, f.position.as_ref().map(|p| (p.file != file, p.file.clone(), p.line, p.col))));
    findings
}

fn checked(around: Surroundings, file: &str, text: &str, seen: BTreeSet<String>) -> (Vec<Finding>, BTreeSet<String>) {
    let Some(ast) = tree(text) else {
        return (Vec::new(), seen);
    };
    let mut checker = Checker {
        engine: around.engine,
        registered: around.registered,
        resolver: around.resolver,
        file,
        text,
        functions: Known::new(),
        imported: BTreeMap::new(),
        values: around.scope.iter().map(|(name, ..)| name.to_string()).collect(),
        called_methods: BTreeSet::new(),
        seen,
        findings: Vec::new(),
    };
    for function in around.known.iter_functions().chain(ast.iter_functions()) {
        let arity = function.params.len();
        let forms = checker.functions.entry(function.name.to_string()).or_default();
        // A script function can be called as a method too, its object being `this`.
        forms.extend([arity, arity + 1]);
        checker.values.extend(function.params.iter().map(|p| (*p).to_string()));
    }
    ast.walk(&mut |path| {
        path.last().into_iter().for_each(|node| checker.collect(node));
        true
    });
    checker.shadows(&ast, file, text);
    ast.walk(&mut |path| {
        checker.judge(path);
        true
    });
    checker.switches();
    checker.module_statements(&ast);
    (checker.findings, checker.seen)
}

/// The text as it was written: the optimizer would throw dead code away before it could be looked at.
pub(super) fn tree(text: &str) -> Option<AST> {
    let mut bare = Engine::new_raw();
    bare.set_optimization_level(rhai::OptimizationLevel::None);
    bare.set_max_expr_depths(0, 0);
    bare.compile(text).ok()
}

/// Every plain function of the engine. It makes a description of each on the way, which takes longer than all the rest
/// of a short script's check.
fn registered(engine: &Engine) -> Known {
    let found = RefCell::new(Known::new());
    let note = |info: FuncInfo| -> Option<()> {
        if info.namespace.is_empty() {
            let mut known = found.borrow_mut();
            match known.get_mut(info.metadata.name.as_str()) {
                Some(arities) => drop(arities.insert(info.metadata.num_params)),
                None => drop(known.insert(info.metadata.name.to_string(), [info.metadata.num_params].into())),
            }
        }
        None
    };
    engine.collect_fn_metadata(None, note, true);
    found.into_inner()
}

/// The API's functions in a namespace; the plain ones and the methods have none.
fn of_api(namespace: &str) -> impl Iterator<Item = &'static Entry> {
    catalog().iter().filter(move |e| e.namespace == namespace)
}

fn is_namespace_of_api(name: &str) -> bool {
    !name.is_empty() && of_api(name).next().is_some()
}

/// Whether one of them is called so, with so many arguments.
fn takes<'e>(mut entries: impl Iterator<Item = &'e Entry>, name: &str, arity: usize) -> bool {
    entries.any(|e| e.name == name && e.forms.iter().any(|form| form.len() == arity))
}

/// The functions of entries, as those of a module are known.
fn known_of<'e>(entries: impl Iterator<Item = &'e Entry>) -> Known {
    let mut known = Known::new();
    for entry in entries {
        known.entry(entry.name.to_string()).or_default().extend(entry.forms.iter().map(|form| form.len()));
    }
    known
}

/// Whether a function of this name is the language's own, whatever it takes.
pub fn is_of_the_language(name: &str) -> bool {
    static NAMES: LazyLock<BTreeSet<String>> = LazyLock::new(|| registered(&Engine::new()).into_keys().collect());
    BUILT_IN.contains(&name) || NAMES.contains(name)
}

impl Checker<'_> {
    fn find(&mut self, code: &str, message: String, at: Position, next: String) {
        let place = at.line().map(|line| (line, at.position().unwrap_or(1)));
        let finding = finding(Severity::Error, code, message, next);
        self.add(finding, place);
    }

    fn warn(&mut self, code: &str, message: String, at: Position, next: &str) {
        let place = at.line().map(|line| (line, at.position().unwrap_or(1)));
        let finding = finding(Severity::Warning, code, message, next.to_string());
        self.add(finding, place);
    }

    /// Notes a finding at a line and a column of this text.
    fn add(&mut self, found: Finding, place: Option<(usize, usize)>) {
        self.findings.push(placed(found, self.file, self.text, place));
    }

    /// A script function of an API name would quietly take its place: a plain function's always, a method's where the
    /// script calls that method.
    fn shadows(&mut self, ast: &AST, file: &str, text: &str) {
        let own: BTreeSet<(String, usize)> =
            ast.iter_functions().map(|f| (f.name.to_string(), f.params.len())).collect();
        for (name, arity) in own {
            let of_api = catalog().iter().filter(|e| e.namespace.is_empty() && e.name == name);
            let shadowed = of_api.filter(|e| {
                let as_method = |form: &&[&str]| form.len() == arity + 1;
                e.method_of.is_empty()
                    || (e.forms.iter().any(as_method) && self.called_methods.contains(&(name.clone(), arity)))
            });
            let Some(entry) = shadowed.into_iter().next() else { continue };
            let message = format!("fn {name}() would take the place of the API's {}()", entry.full_name());
            let found = finding(Severity::Error, "shadows_api", message, "give it another name".into());
            let place = scan::definitions(text, &name).into_iter().next();
            self.findings.push(placed(found, file, text, place));
        }
    }

    /// What may be called beside functions.
    fn collect(&mut self, node: &ASTNode) {
        match node {
            ASTNode::Stmt(Stmt::Var(var, ..)) => {
                self.values.insert(var.0.name.to_string());
            }
            ASTNode::Stmt(Stmt::For(parts, _)) => {
                self.values.insert(parts.0.name.to_string());
            }
            ASTNode::Stmt(Stmt::Import(import, at)) => self.import(&import.0, &import.1.name, *at),
            ASTNode::Expr(Expr::Map(entries, _)) => {
                self.values.extend(entries.0.iter().map(|(key, _)| key.name.to_string()));
            }
            ASTNode::Expr(Expr::Property(property, _)) => {
                self.values.insert(property.2.to_string());
            }
            ASTNode::Expr(Expr::MethodCall(call, _)) => {
                self.called_methods.insert((call.name.to_string(), call.args.len()));
            }
            _ => {}
        }
    }

    fn import(&mut self, path: &Expr, alias: &str, at: Position) {
        if is_namespace_of_api(alias) {
            let message = format!("`import … as {alias}` would take the place of the API's {alias}::");
            self.find("shadows_api", message, at, "give it another name".into());
        }
        let Expr::StringConstant(path, _) = path else {
            self.imported.insert(alias.to_string(), None);
            return;
        };
        let known = match self.resolver.compile(self.engine, path) {
            Ok(module) => {
                self.module(path, &module);
                let mut known = Known::new();
                for function in module.iter_functions() {
                    let forms = known.entry(function.name.to_string()).or_default();
                    forms.insert(function.params.len());
                }
                Some(known)
            }
            Err(error) => {
                let error = ScriptError::runtime(*error, self.file, &Default::default(), &[]);
                let code = if error.code == UNKNOWN_PROCEDURE { UNKNOWN_PROCEDURE } else { "module" };
                self.find(code, error.message, at, error.next);
                None
            }
        };
        self.imported.insert(alias.to_string(), known);
    }

    /// What a module's own functions do is checked as the script is, each file once. The built-in ones are tested.
    fn module(&mut self, path: &str, module: &AST) {
        let Ok((file, text)) = self.resolver.source(path) else { return };
        if path.starts_with("std/") || !self.seen.insert(file.clone()) {
            return;
        }
        let around = Surroundings {
            engine: self.engine,
            registered: self.registered,
            resolver: self.resolver,
            scope: &Scope::new(),
            known: &AST::empty(),
        };
        let (findings, seen) = checked(around, &file, &text, std::mem::take(&mut self.seen));
        self.seen = seen;
        self.findings.extend(findings);
        // A module is called from outside, so its methods may be shadowed by the script's calls too.
        self.shadows(module, &file, &text);
        self.findings.dedup();
    }

    fn judge(&mut self, path: &[ASTNode]) {
        let Some(node) = path.last() else { return };
        match node {
            ASTNode::Expr(Expr::FnCall(call, at)) | ASTNode::Stmt(Stmt::FnCall(call, at)) => {
                self.call(call, call.args.len(), *at, false);
                self.arguments(call, false);
                self.comparison(call, *at);
            }
            ASTNode::Expr(Expr::MethodCall(call, at)) => {
                self.call(call, call.args.len() + 1, *at, true);
                self.arguments(call, true);
            }
            ASTNode::Expr(expr) => self.literal(expr),
            ASTNode::Stmt(statement) => self.capture(statement, path),
            _ => {}
        }
    }

    fn call(&mut self, call: &FnCallExpr, arity: usize, at: Position, method: bool) {
        let name = call.name.as_str();
        if call.op_token.is_some() || BUILT_IN.contains(&name) || name.starts_with("anon$") {
            return;
        }
        if !call.namespace.is_empty() {
            let namespace = call.namespace.to_string();
            self.qualified(namespace.trim_end_matches("::"), name, arity, at);
            return;
        }
        let own = self.functions.get(name);
        // A closure in a variable or in a map is called by the name it is kept under.
        if own.is_some_and(|forms| forms.contains(&arity))
            || takes(of_api(""), name, arity)
            || self.values.contains(name)
        {
            return;
        }
        let registered = self.registered.of(self.engine);
        let forms: BTreeSet<usize> = own.into_iter().chain(registered.get(name)).flatten().copied().collect();
        if forms.contains(&arity) {
            return;
        }
        if forms.is_empty() {
            // The API first, so that `stat` means `state` and not a range's `start`.
            let known = self.functions.keys().chain(registered.keys()).map(String::as_str);
            let near = is_it(name, of_api("").map(|e| e.name).chain(known));
            let kind = if method { "method" } else { "function" };
            let message = format!("there is no {kind} `{name}`{near}");
            self.find("unknown_function", message, at, "help()".into());
        } else {
            let message = wrong_arity(name, &forms, arity, method);
            self.find("wrong_arity", message, at, format!("help(\"{name}\")"));
        }
    }

    fn qualified(&mut self, namespace: &str, name: &str, arity: usize, at: Position) {
        let found = match self.imported.get(namespace) {
            Some(None) => return,
            Some(Some(known)) => looked_up(known, name),
            None if is_namespace_of_api(namespace) => looked_up(&known_of(of_api(namespace)), name),
            None => {
                // The root alone is known to the compiler: `fault::nope::x()` would fail when it is reached.
                let root = namespace.split("::").next().unwrap_or(namespace);
                if is_namespace_of_api(root) {
                    let message = format!("there is no namespace `{namespace}`");
                    self.find("unknown_namespace", message, at, "help()".into());
                }
                return;
            }
        };
        let full = format!("{namespace}::{name}");
        match found {
            Ok(forms) if forms.contains(&arity) => {}
            Ok(forms) => {
                let message = wrong_arity(&full, &forms, arity, false);
                self.find("wrong_arity", message, at, format!("help(\"{full}\")"));
            }
            Err(near) => {
                let message = format!("there is no function `{full}`{near}");
                self.find("unknown_function", message, at, "help()".into());
            }
        }
    }
}

/// The forms of a function of a namespace, or the near miss.
fn looked_up(known: &Known, name: &str) -> Result<BTreeSet<usize>, String> {
    known.get(name).cloned().ok_or_else(|| is_it(name, known.keys().map(String::as_str)))
}

fn finding(severity: Severity, code: &str, message: String, next: String) -> Finding {
    Finding { severity, code: code.to_string(), message, position: None, source_line: None, next, options: Vec::new() }
}

/// The finding at its place in a file.
fn placed(mut found: Finding, file: &str, text: &str, place: Option<(usize, usize)>) -> Finding {
    if let Some((line, col)) = place {
        found.source_line = text.lines().nth(line.saturating_sub(1)).map(str::to_string);
        found.position = Some(Pos { file: file.to_string(), line, col });
    }
    found
}

fn wrong_arity(name: &str, forms: &BTreeSet<usize>, arity: usize, method: bool) -> String {
    let less = usize::from(method);
    let forms: Vec<String> = forms.iter().map(|f| f.saturating_sub(less).to_string()).collect();
    format!("{name}() takes {} arguments, not {}", forms.join(" or "), arity - less)
}
