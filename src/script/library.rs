//! A site library under test: what its modules hold, and which of their functions are tests.

use super::check::{Finding, tree};
use super::error::{Pos, ScriptError};
use super::modules::is_harmless;
use super::scan;
use super::session::Session;
use super::thrown::Thrown;
use rhai::{AST, FnAccess, Stmt};
use std::path::Path;

/// What the text that calls a test is named in positions: nobody wrote it, so nobody is shown it.
pub(super) const CALLER: &str = "segsh test";
/// The names of test functions begin so.
const TEST: &str = "test_";

/// A function that `segsh test` can run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestFunction {
    pub name: String,
    /// Where it is defined.
    pub position: Pos,
}

/// A module of a library, as it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LibraryModule {
    /// The name it is imported by: `limits`, `hosts/racks`.
    pub name: String,
    /// What is wrong with it, and with what it imports.
    pub findings: Vec<Finding>,
    /// In the order of its text.
    pub tests: Vec<TestFunction>,
}

impl Session {
    /// Modules are looked for in this folder first.
    pub fn set_library(&mut self, folder: &Path) {
        self.resolver.set_script_folder(Some(folder.to_path_buf()));
    }

    /// Checks a module of the library, and finds its tests. A file with statements and without tests is a script: it is
    /// checked, and nothing of it is run.
    pub fn look_into(&mut self, module: &str) -> LibraryModule {
        let mut found = LibraryModule { name: module.to_string(), findings: Vec::new(), tests: Vec::new() };
        let (file, text) = match self.resolver.source(module) {
            Ok(source) => source,
            Err(error) => {
                found.findings.push(finding("module", error.to_string(), None));
                return found;
            }
        };
        found.findings = self.check(&file, &text);
        let Some(ast) = tree(&text) else { return found };
        for (name, position, why_not) in test_functions(&ast, &file, &text) {
            match why_not {
                None => found.tests.push(TestFunction { name, position }),
                Some(why_not) => {
                    let message = format!("fn {name}() is called a test, and {why_not}");
                    found.findings.push(with_line(finding("not_a_test", message, Some(position)), &text));
                }
            }
        }
        found.tests.sort_by_key(|t| (t.position.line, t.position.col));
        let statement = ast.statements().iter().find(|s| !is_harmless(s));
        if let (false, Some(statement)) = (found.tests.is_empty(), statement) {
            let at = statement.position();
            let position = at.line().map(|line| Pos { file: file.clone(), line, col: at.position().unwrap_or(1) });
            let message = "a module with tests holds functions only: this statement would run with every import".into();
            found.findings.push(with_line(finding("module", message, position), &text));
        }
        found
    }
}

/// Every function that is named as a test, where it stands, and why it can't be one.
fn test_functions(ast: &AST, file: &str, text: &str) -> Vec<(String, Pos, Option<&'static str>)> {
    let named = ast.iter_functions().filter(|f| f.name.starts_with(TEST));
    let place = |name: &str| scan::definitions(text, name).into_iter().next().unwrap_or((1, 1));
    let judged = named.map(|f| {
        let (line, col) = place(f.name);
        let why_not = match (f.params.is_empty(), f.access) {
            (false, _) => Some("a test takes no parameters"),
            (true, FnAccess::Public) => None,
            (true, _) => Some("nobody can call what is private"),
        };
        (f.name.to_string(), Pos { file: file.to_string(), line, col }, why_not)
    });
    judged.collect()
}

fn finding(code: &str, message: String, position: Option<Pos>) -> Finding {
    let thrown = Thrown::script(code, message).next(format!("help(\"{code}\")"));
    let mut error = ScriptError::outside(thrown);
    error.position = position;
    Finding::of(error)
}

fn with_line(mut found: Finding, text: &str) -> Finding {
    let line = found.position.as_ref().and_then(|at| text.lines().nth(at.line.checked_sub(1)?));
    found.source_line = line.map(str::to_string);
    found
}

/// A text that defines functions and does nothing with them.
pub(super) fn is_functions_only(ast: &AST) -> bool {
    let does = |s: &Stmt| !is_harmless(s) && !matches!(s, Stmt::Var(..));
    ast.has_functions() && !ast.statements().iter().any(does)
}

/// An error as the library's own: without the line that called the test.
pub(super) fn without_caller(error: &mut ScriptError) {
    error.call_stack.retain(|frame| frame.called_at.as_ref().is_none_or(|at| at.file != CALLER));
    if error.position.as_ref().is_some_and(|at| at.file == CALLER) {
        error.position = None;
        error.source_line = None;
    }
}
