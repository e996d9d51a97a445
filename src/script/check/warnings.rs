//! What runs, and probably not as meant: the language's quiet traps.

use super::{Checker, Severity, finding};
use crate::script::modules::is_harmless;
use crate::script::scan;
use crate::script::types::{members, switches};
use rhai::{AST, ASTNode, Expr, FnCallExpr, Position, Stmt};

/// Methods that call their closure before they return, so that what it captured still holds.
const CALLED_AT_ONCE: &[&str] = &[
    "filter", "map", "for_each", "find", "find_map", "index_of", "some", "all", "any", "reduce", "sort", "retain",
    "drain", "call",
];

impl Checker<'_> {
    /// A file that calls itself a module, and could not be imported.
    pub(super) fn module_statements(&mut self, ast: &AST) {
        let first = self.text.lines().map(str::trim).find(|line| !line.is_empty());
        let statement = ast.statements().iter().find(|s| !is_harmless(s));
        if let (true, Some(statement)) = (first.is_some_and(|line| line.starts_with("//!")), statement) {
            let message =
                "this file begins as a module does, with //!, and a module holds functions only: nothing can import it";
            let next = "begin a script with //, or put the statement into a function";
            self.warn("not_a_module", message.to_string(), statement.position(), next);
        }
    }

    /// A literal that says something else than it seems to.
    pub(super) fn literal(&mut self, expr: &Expr) {
        match expr {
            Expr::StringConstant(text, at) => self.plain_quotes(text, *at),
            Expr::FloatConstant(_, at) if self.is_written_as_integer(*at) => {
                let message = "this number is larger than 9223372036854775807 and becomes a float, which is not exact";
                self.warn(
                    "big_number",
                    message.to_string(),
                    *at,
                    "write it as a text, or with a point if a float is meant",
                );
            }
            _ => {}
        }
    }

    fn plain_quotes(&mut self, text: &str, at: Position) {
        let replaced = text.find("${").filter(|start| text[*start..].contains('}'));
        let Some(start) = replaced.filter(|_| self.written(at).is_some_and(|t| t.starts_with('"'))) else {
            return;
        };
        let end = text[start..].find('}').map_or(text.len(), |len| start + len + 1);
        let message = format!("\"{}\" is not replaced in plain quotes; use backticks", &text[start..end]);
        self.warn("plain_quotes", message, at, "`like ${this}`");
    }

    fn is_written_as_integer(&self, at: Position) -> bool {
        let Some(text) = self.written(at) else { return false };
        let literal: String = text.chars().take_while(|c| c.is_alphanumeric() || matches!(c, '_' | '.')).collect();
        !literal.is_empty() && literal.chars().all(|c| c.is_ascii_digit() || c == '_')
    }

    fn written(&self, at: Position) -> Option<&str> {
        scan::rest_at(self.text, at.line()?, at.position()?)
    }

    /// Two literals of different types are never equal, and Rhai does not say so.
    pub(super) fn comparison(&mut self, call: &FnCallExpr, at: Position) {
        let is_comparison = call.op_token.is_some() && matches!(call.name.as_str(), "==" | "!=");
        let [left, right] = call.args.as_slice() else { return };
        if !is_comparison {
            return;
        }
        let kind = |e: &Expr| match e {
            Expr::StringConstant(..) | Expr::InterpolatedString(..) => Some("a string"),
            Expr::IntegerConstant(..) | Expr::FloatConstant(..) => Some("a number"),
            Expr::BoolConstant(..) => Some("a bool"),
            Expr::CharConstant(..) => Some("a character"),
            _ => None,
        };
        if let (Some(left), Some(right)) = (kind(left), kind(right))
            && left != right
        {
            let result = call.name.as_str() == "!=";
            self.warn("never_equal", format!("{left} never equals {right}: this is always {result}"), at, "");
        }
    }

    /// A closure that is kept sees a loop's variable as the loop leaves it.
    pub(super) fn capture(&mut self, statement: &Stmt, path: &[ASTNode]) {
        let Stmt::Share(captured) = statement else { return };
        let called_at_once = path.iter().rev().find_map(|node| match node {
            ASTNode::Expr(Expr::MethodCall(call, _) | Expr::FnCall(call, _)) => {
                Some(CALLED_AT_ONCE.contains(&call.name.as_str()) || call.name == "wait_until")
            }
            ASTNode::Stmt(Stmt::Var(..) | Stmt::Assignment(..)) => Some(false),
            _ => None,
        });
        if called_at_once == Some(true) {
            return;
        }
        let loops = path.iter().filter_map(|node| match node {
            ASTNode::Stmt(Stmt::For(parts, _)) => Some(parts),
            _ => None,
        });
        let names: Vec<String> =
            loops.flat_map(|l| [Some(&l.0), l.1.as_ref()]).flatten().map(|i| i.name.to_string()).collect();
        for (ident, _) in captured.iter().filter(|(ident, _)| names.iter().any(|n| *n == ident.name.as_str())) {
            let message = format!("the closure shares the loop's variable `{}` and sees its last value", ident.name);
            self.warn(
                "shared_variable",
                message,
                ident.pos,
                "let it call a function with the value, or keep the value itself",
            );
        }
    }

    /// Rhai's `switch` can't look into records: it would take the default branch, whatever the value is.
    pub(super) fn switches(&mut self) {
        for (byte, of) in switches(self.text) {
            let is_letter = matches!(of.name.as_ref(), "Role" | "Mode" | "Status");
            let is_record = members(&of).iter().any(|m| m.name == "to_map" || m.name == "letter");
            if !is_record && !is_letter {
                continue;
            }
            let next = if is_letter { "switch on its .letter or its .word" } else { "switch on a field of it" };
            let message = format!("a {} never equals a case of a switch", of.name);
            let found = finding(Severity::Error, "switch_on_record", message, next.to_string());
            let place = scan::place_of(self.text, byte);
            self.add(found, Some(place));
        }
    }
}
