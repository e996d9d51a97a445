//! The light check before every run: unknown functions, wrong numbers of arguments, and scripts that
//! redefine the API. What it finds would otherwise be found at three in the morning, half way.

use super::catalog::catalog;
use super::error::{ErrorKind, Pos, ScriptError};
use super::modules::Resolver;
use super::near::is_it;
use super::thrown::Thrown;
use rhai::{AST, ASTNode, Engine, Expr, FnCallExpr, FuncInfo, Position, Scope, Stmt};
use std::collections::{BTreeMap, BTreeSet};

/// What the language itself knows and never registers.
const BUILT_IN: &[&str] =
    &["Fn", "call", "curry", "is_def_var", "is_def_fn", "is_shared", "type_of", "print", "debug", "import", "this"];

/// Something wrong with a script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// `unknown_function`, `wrong_arity`, `shadows_api`, `module` or `syntax`.
    pub code: String,
    pub message: String,
    pub position: Option<Pos>,
    pub next: String,
}

impl Finding {
    pub(super) fn of(error: ScriptError) -> Finding {
        Finding { code: error.code, message: error.message, position: error.position, next: error.next }
    }

    /// The error that keeps a script from running.
    pub(super) fn into_error(self, text: &str, count: usize) -> ScriptError {
        let kind = if matches!(self.code.as_str(), "syntax" | "unknown_variable") {
            ErrorKind::Syntax
        } else {
            ErrorKind::Check
        };
        let more = match count {
            0 | 1 => String::new(),
            n => format!(" ({} more: segsh check)", n - 1),
        };
        let thrown = Thrown::script(&self.code, format!("{}{more}", self.message)).next(self.next);
        let mut error = ScriptError::new(kind, thrown);
        error.source_line =
            self.position.as_ref().and_then(|p| text.lines().nth(p.line.checked_sub(1)?).map(str::to_string));
        error.position = self.position;
        error
    }
}

/// Names and the numbers of parameters they take; a method counts its object.
type Known = BTreeMap<String, BTreeSet<usize>>;

struct Checker<'a> {
    engine: &'a Engine,
    resolver: &'a Resolver,
    file: &'a str,
    functions: Known,
    /// What is in a namespace, by its name; `None` when the module can't be looked into.
    namespaces: BTreeMap<String, Option<Known>>,
    /// Variables, parameters and keys of maps: any of them may hold a closure that is called.
    values: BTreeSet<String>,
    findings: Vec<Finding>,
}

/// Checks a text that compiles. `known` are functions that are there already.
pub(super) fn check_ast(
    engine: &Engine,
    resolver: &Resolver,
    mut bare: Engine,
    file: &str,
    text: &str,
    scope: &Scope,
    known: &AST,
) -> Vec<Finding> {
    // Unoptimized, because the optimizer throws dead code away before it could be looked at.
    bare.set_optimization_level(rhai::OptimizationLevel::None);
    bare.set_max_expr_depths(0, 0);
    let Ok(ast) = bare.compile(text) else {
        return Vec::new();
    };
    let mut checker = Checker {
        engine,
        resolver,
        file,
        functions: registered(engine),
        namespaces: namespaces(engine),
        values: scope.iter().map(|(name, ..)| name.to_string()).collect(),
        findings: Vec::new(),
    };
    for function in known.iter_functions().chain(ast.iter_functions()) {
        let arity = function.params.len();
        let forms = checker.functions.entry(function.name.to_string()).or_default();
        // A script function can be called as a method too, its object being `this`.
        forms.extend([arity, arity + 1]);
        checker.values.extend(function.params.iter().map(|p| (*p).to_string()));
    }
    checker.shadows(&ast);
    ast.walk(&mut |path| {
        path.last().into_iter().for_each(|node| checker.collect(node));
        true
    });
    ast.walk(&mut |path| {
        path.last().into_iter().for_each(|node| checker.judge(node));
        true
    });
    checker.findings
}

fn registered(engine: &Engine) -> Known {
    let mut known = Known::new();
    let pairs = engine.collect_fn_metadata(
        None,
        |info: FuncInfo| info.namespace.is_empty().then(|| (info.metadata.name.to_string(), info.metadata.num_params)),
        true,
    );
    for (name, arity) in pairs {
        known.entry(name).or_default().insert(arity);
    }
    known
}

fn namespaces(engine: &Engine) -> BTreeMap<String, Option<Known>> {
    let mut found: BTreeMap<String, Option<Known>> = BTreeMap::new();
    let triples = engine.collect_fn_metadata(
        None,
        |info: FuncInfo| {
            let namespace = info.namespace.to_string();
            (!namespace.is_empty()).then(|| (namespace, info.metadata.name.to_string(), info.metadata.num_params))
        },
        true,
    );
    for (namespace, name, arity) in triples {
        let known = found.entry(namespace).or_insert_with(|| Some(Known::new()));
        if let Some(known) = known {
            known.entry(name).or_default().insert(arity);
        }
    }
    found
}

impl Checker<'_> {
    fn find(&mut self, code: &str, message: String, at: Position, next: String) {
        let position = at.line().map(|line| Pos { file: self.file.to_string(), line, col: at.position().unwrap_or(1) });
        self.findings.push(Finding { code: code.to_string(), message, position, next });
    }

    /// A script function of an API name would quietly take its place.
    fn shadows(&mut self, ast: &AST) {
        let own: Vec<String> = ast.iter_functions().map(|f| f.name.to_string()).collect();
        for name in own {
            let in_api =
                |e: &&super::catalog::Entry| e.namespace.is_empty() && e.method_of.is_empty() && e.name == name;
            if catalog().iter().any(|e| in_api(&e)) {
                let message = format!("fn {name}() would take the place of the API's {name}()");
                self.find("shadows_api", message, Position::NONE, "give it another name".into());
            }
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
            _ => {}
        }
    }

    fn import(&mut self, path: &Expr, alias: &str, at: Position) {
        let Expr::StringConstant(path, _) = path else {
            self.namespaces.insert(alias.to_string(), None);
            return;
        };
        let known = match self.resolver.compile(self.engine, path) {
            Ok(module) => {
                self.shadows(&module);
                let mut known = Known::new();
                for function in module.iter_functions() {
                    let forms = known.entry(function.name.to_string()).or_default();
                    forms.insert(function.params.len());
                }
                Some(known)
            }
            Err(error) => {
                let error = ScriptError::runtime(*error, self.file, &Default::default(), &[]);
                self.find("module", error.message, at, error.next);
                None
            }
        };
        self.namespaces.insert(alias.to_string(), known);
    }

    fn judge(&mut self, node: &ASTNode) {
        match node {
            ASTNode::Expr(Expr::FnCall(call, at)) | ASTNode::Stmt(Stmt::FnCall(call, at)) => {
                self.call(call, call.args.len(), *at, false);
            }
            ASTNode::Expr(Expr::MethodCall(call, at)) => {
                self.call(call, call.args.len() + 1, *at, true);
            }
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
        match self.functions.get(name) {
            Some(forms) if forms.contains(&arity) => {}
            // A closure in a variable or in a map is called by the name it is kept under.
            _ if self.values.contains(name) => {}
            Some(forms) => {
                let message = wrong_arity(name, forms, arity, method);
                self.find("wrong_arity", message, at, format!("help(\"{name}\")"));
            }
            None => {
                // The API first, so that `stat` means `state` and not a range's `start`.
                let own = catalog().iter().filter(|e| e.namespace.is_empty()).map(|e| e.name);
                let near = is_it(name, own.chain(self.functions.keys().map(String::as_str)));
                let kind = if method { "method" } else { "function" };
                let message = format!("there is no {kind} `{name}`{near}");
                self.find("unknown_function", message, at, "help()".into());
            }
        }
    }

    fn qualified(&mut self, namespace: &str, name: &str, arity: usize, at: Position) {
        let full = format!("{namespace}::{name}");
        match self.namespaces.get(namespace) {
            // A name that is not known here is one the compiler has already refused.
            None | Some(None) => {}
            Some(Some(known)) => match known.get(name) {
                Some(forms) if forms.contains(&arity) => {}
                Some(forms) => {
                    let message = wrong_arity(&full, forms, arity, false);
                    self.find("wrong_arity", message, at, format!("help(\"{full}\")"));
                }
                None => {
                    let near = is_it(name, known.keys().map(String::as_str));
                    let message = format!("there is no function `{full}`{near}");
                    self.find("unknown_function", message, at, "help()".into());
                }
            },
        }
    }
}

fn wrong_arity(name: &str, forms: &BTreeSet<usize>, arity: usize, method: bool) -> String {
    let less = usize::from(method);
    let forms: Vec<String> = forms.iter().map(|f| f.saturating_sub(less).to_string()).collect();
    format!("{name}() takes {} arguments, not {}", forms.join(" or "), arity - less)
}
