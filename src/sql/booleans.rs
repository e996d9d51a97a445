//! Functions that answer yes or no: SQLite has no such type, and says 1 or 0.
//!
//! Whether a column of a result is one of them, only the statement's text says: SQLite names the type of
//! a table's column and of nothing else.

use super::lexer::{Token, tokens};

/// Functions of ours whose result is a boolean.
const FUNCTIONS: &[&str] = &["gp_request_fts_probe_scan", "pg_is_in_recovery", "segsh_fts_resume"];

/// A column that is the call of such a function and nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Call {
    function: &'static str,
    /// The statement gives the column a name.
    named: bool,
}

impl Call {
    /// The column's name as PostgreSQL has it: the function's, unless the statement gives one.
    pub(super) fn name(self, given: &str) -> String {
        if self.named { given.to_owned() } else { self.function.to_owned() }
    }
}

/// The columns of a statement that are such calls; empty when it is not a plain SELECT. Where there are not
/// as many as the result has columns (a star stands for several), nothing is known of any.
pub(super) fn columns(sql: &str) -> Vec<Option<Call>> {
    let mut tokens = tokens(sql).peekable();
    if tokens.next().is_none_or(|first| !first.is("select")) {
        return Vec::new();
    }
    let _ = tokens.next_if(|t| t.is("all") || t.is("distinct"));
    let (mut columns, mut column, mut depth) = (Vec::new(), Vec::new(), 0usize);
    for token in tokens {
        match token.text {
            "," if depth == 0 => columns.push(call(&std::mem::take(&mut column))),
            _ if depth == 0 && ends_columns(&token) => break,
            text => {
                depth = if text == "(" { depth + 1 } else { depth.saturating_sub(usize::from(text == ")")) };
                column.push(token);
            }
        }
    }
    columns.push(call(&column));
    columns
}

fn ends_columns(token: &Token<'_>) -> bool {
    let clauses = ["from", "where", "group", "having", "window", "order", "limit", "union", "except", "intersect", ";"];
    clauses.iter().any(|clause| token.is(clause))
}

fn call(column: &[Token<'_>]) -> Option<Call> {
    let [function, open, close, name @ ..] = column else { return None };
    let called = function.name()?;
    let function = FUNCTIONS.iter().find(|f| f.eq_ignore_ascii_case(&called))?;
    let name = match name {
        [word, name @ ..] if word.is("as") => name,
        name => name,
    };
    let named = match name {
        [] => false,
        [name] if name.name().is_some() => true,
        _ => return None,
    };
    (open.text == "(" && close.text == ")").then_some(Call { function, named })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The names under which a client sees the columns that are booleans, by PostgreSQL's rules.
    fn seen(sql: &str) -> Vec<Option<String>> {
        columns(sql).into_iter().map(|c| c.map(|c| c.name("given"))).collect()
    }

    #[test]
    fn a_call_alone_is_a_boolean_and_has_the_function_s_name_unless_it_is_given_another() {
        let scan = || Some("gp_request_fts_probe_scan".to_owned());
        let given = || Some("given".to_owned());
        assert_eq!(seen("select gp_request_fts_probe_scan()"), [scan()]);
        assert_eq!(seen("SELECT GP_REQUEST_FTS_PROBE_SCAN ( ) ;"), [scan()]);
        assert_eq!(seen("select gp_request_fts_probe_scan() as done"), [given()]);
        assert_eq!(seen("select gp_request_fts_probe_scan() done from t"), [given()]);
        assert_eq!(seen("select max(1, 2), gp_request_fts_probe_scan(), 3"), [None, scan(), None]);
    }

    #[test]
    fn whatever_else_is_done_with_the_answer_is_not_a_boolean() {
        assert_eq!(seen("select gp_request_fts_probe_scan() + 1"), [None]);
        assert_eq!(seen("select (select pg_is_in_recovery())"), [None]);
        assert_eq!(seen("select pg_is_in_recovery() as a b"), [None]);
        assert_eq!(seen("select"), [None]);
        assert!(seen("values (pg_is_in_recovery())").is_empty());
    }
}
