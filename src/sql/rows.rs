//! Rows: preparing, binding, stepping, describing, and giving a result away in judged batches.

use super::booleans;
use super::core::Transaction;
use super::error::{Phase, SqlError, explain_catalog, state, translate};
use super::exec::{Exec, Wanted};
use super::kind::Tag;
use super::lexer::{Token, tokens};
use super::types::PgType;
use super::wire::{Field, put_row};
use crate::segment::vfs::take_fault;
use bytes::BytesMut;
use rusqlite::types::Value;

/// A result is judged and sent in batches of this size; a smaller one is judged whole.
const BATCH: usize = 1 << 20;
/// What a portal, or a write's RETURNING, may hold back in memory.
const HELD_BACK: usize = 64 << 20;

/// A parameter of a prepared statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Parameter {
    /// SQLite's index.
    index: usize,
    /// The protocol's, from 1.
    pub(super) number: usize,
    pub(super) hint: Option<u32>,
}

impl Exec<'_> {
    pub(super) fn sql(
        &mut self,
        sql: &str,
        tag: &Tag,
        values: &[Value],
        wanted: &mut Wanted,
    ) -> Result<String, SqlError> {
        self.permit()?;
        self.core.has_looked = true;
        self.pass()?;
        take_fault();
        let start = self.wire.out.len();
        let mut sent = false;
        let answer = self.whole(sql, tag, values, wanted, &mut sent);
        self.core.release_if_idle();
        match answer {
            Ok(done) => Ok(complete(tag, &done)),
            Err(error) => {
                // What was not sent yet is taken back: it was not judged, or is half a result.
                self.wire.out.truncate(if sent { 0 } else { start });
                wanted.rest.clear();
                Err(explain_catalog(sql, error))
            }
        }
    }

    /// Runs the statement in the transaction it belongs to.
    fn whole(
        &mut self,
        sql: &str,
        tag: &Tag,
        values: &[Value],
        wanted: &mut Wanted,
        sent: &mut bool,
    ) -> Result<Done, SqlError> {
        let (reads_only, returns_rows) = self.nature(sql)?;
        if !reads_only {
            self.turn()?;
        }
        let commits = match (reads_only, self.core.transaction) {
            (false, Transaction::None) if !returns_rows || matches!(tag, Tag::Plain(_)) => Commits::ByItself,
            (false, Transaction::None) => Commits::Behind,
            _ => Commits::Elsewhere,
        };
        if commits == Commits::Behind {
            self.begin_implicit()?;
        }
        let answer = self.rows(sql, values, wanted, commits, sent);
        if commits != Commits::Behind {
            return answer;
        }
        // While nothing is committed yet, an answer that nobody may be given is a plain failure.
        match answer.and_then(|done| self.permit().map(|()| done)) {
            Ok(done) => self.end_implicit().map(|()| done),
            Err(error) => {
                self.core.end();
                Err(error)
            }
        }
    }

    fn rows(
        &mut self,
        sql: &str,
        values: &[Value],
        wanted: &mut Wanted,
        commits: Commits,
        sent: &mut bool,
    ) -> Result<Done, SqlError> {
        let phase = if commits == Commits::ByItself { Phase::Commit } else { Phase::Statement };
        let mut statement = self.core.connection.prepare_cached(sql).map_err(|e| self.failure(&e, Phase::Statement))?;
        bind(&mut statement, values)?;
        let columns = declared(&statement, sql);
        let mut rows = statement.raw_query();
        let mut next = rows.next().map_err(|e| self.failure(&e, phase))?;
        let fields = match wanted.fields.take() {
            Some(fields) => fields,
            None => fields(&columns, &wanted.formats, |i| {
                next.and_then(|row| row.get_ref(i).ok()).and_then(PgType::of_value)
            })?,
        };
        if wanted.describe && !fields.is_empty() {
            self.wire.describe(&fields);
        }
        let mut count = 0;
        let mut held_back = 0;
        while let Some(row) = next {
            let value = |i: usize| {
                row.get_ref(i)
                    .map_err(|_| SqlError::new(state::NOT_SUPPORTED, "cached plan must not change result type"))
            };
            count += 1;
            if wanted.limit == 0 || count <= wanted.limit {
                put_row(&mut self.wire.out, &fields, value)?;
            } else {
                let mut encoded = BytesMut::new();
                put_row(&mut encoded, &fields, value)?;
                held_back += encoded.len();
                wanted.rest.push_back(encoded);
            }
            // Rows of a write must not be seen before it is committed.
            if commits != Commits::Elsewhere {
                held_back = self.wire.out.len();
            } else if self.wire.out.len() >= BATCH {
                self.settle(true)?;
                self.wire.settled();
                self.wire.flush().map_err(|e| SqlError::fatal("08006", format!("the client is gone: {e}")))?;
                *sent = true;
            }
            if held_back > HELD_BACK {
                return Err(SqlError::new(state::TOO_LARGE, "too many rows to hold back in memory")
                    .hint("Fetch without a row limit, or in smaller statements."));
            }
            next = rows.next().map_err(|e| self.failure(&e, phase))?;
        }
        drop(rows);
        wanted.fields = Some(fields);
        Ok(Done { rows: count, changed: self.core.connection.changes() })
    }

    /// Whether the statement only reads, and whether it has columns.
    fn nature(&self, sql: &str) -> Result<(bool, bool), SqlError> {
        let statement = self.core.connection.prepare_cached(sql).map_err(|e| self.failure(&e, Phase::Statement))?;
        Ok((statement.readonly(), statement.column_count() > 0))
    }

    /// The parameters of a statement and the columns it declares. Undeclared columns are looked up
    /// in a first row, when nothing can happen by making one.
    pub(super) fn inspect(
        &mut self,
        sql: &str,
        values: Option<&[Value]>,
        look: bool,
    ) -> Result<(Vec<Parameter>, Vec<Field>), SqlError> {
        if self.core.is_failed() {
            return Err(SqlError::in_failed_transaction());
        }
        self.permit()?;
        self.core.has_looked = true;
        self.pass()?;
        take_fault();
        let answer = self.inspect_inside(sql, values, look);
        self.core.release_if_idle();
        answer.map_err(|error| explain_catalog(sql, error))
    }

    fn inspect_inside(
        &self,
        sql: &str,
        values: Option<&[Value]>,
        look: bool,
    ) -> Result<(Vec<Parameter>, Vec<Field>), SqlError> {
        let mut statement = self.core.connection.prepare_cached(sql).map_err(|e| self.failure(&e, Phase::Statement))?;
        let parameters = parameters(&statement)?;
        let columns = declared(&statement, sql);
        let undeclared = columns.iter().any(|(_, kind)| kind.is_none());
        if !look || !undeclared || !statement.readonly() || !is_harmless(sql) {
            return Ok((parameters, fields(&columns, &[], |_| None)?));
        }
        bind(&mut statement, values.unwrap_or_default())?;
        let mut rows = statement.raw_query();
        // An error here comes again, and is told, when the statement is executed.
        let first = rows.next().unwrap_or_default();
        let fields = fields(&columns, &[], |i| first.and_then(|row| row.get_ref(i).ok()).and_then(PgType::of_value))?;
        Ok((parameters, fields))
    }
}

/// What a statement did.
#[derive(Debug)]
struct Done {
    rows: usize,
    changed: u64,
}

/// How what a statement writes is committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Commits {
    /// By SQLite, within the statement: when it succeeded, it is committed.
    ByItself,
    /// By a transaction of ours around it. SQLite would commit a write that returns rows even when
    /// it is given up after a row that can't be sent. Pragmas return rows too, and can't be in one.
    Behind,
    /// It writes nothing, or in a transaction that is there already.
    Elsewhere,
}

fn complete(tag: &Tag, done: &Done) -> String {
    match tag {
        Tag::Select => format!("SELECT {}", done.rows),
        Tag::Insert => format!("INSERT 0 {}", done.changed),
        Tag::Update => format!("UPDATE {}", done.changed),
        Tag::Delete => format!("DELETE {}", done.changed),
        Tag::Plain(words) => words.clone(),
    }
}

/// Applies a portal's result formats: none is text, one is for all, else one a column.
pub(super) fn binary(formats: &[i16], column: usize, columns: usize) -> Result<bool, SqlError> {
    match formats {
        [] => Ok(false),
        [one] => Ok(*one == 1),
        many if many.len() == columns => Ok(many[column] == 1),
        many => Err(SqlError::new(state::PROTOCOL, format!("{} result formats for {columns} columns", many.len()))),
    }
}

/// The columns' names and types, as far as they are known without a row.
fn declared(statement: &rusqlite::Statement<'_>, sql: &str) -> Vec<(String, Option<PgType>)> {
    let calls = Some(booleans::columns(sql)).filter(|calls| calls.len() == statement.column_count());
    let call = |i: usize| *calls.as_ref()?.get(i)?;
    let known = |(i, c): (usize, rusqlite::Column<'_>)| match call(i) {
        Some(call) => (call.name(c.name()), Some(PgType::Bool)),
        None => (c.name().to_owned(), c.decl_type().map(PgType::of_declaration)),
    };
    statement.columns().enumerate().map(known).collect()
}

fn fields(
    columns: &[(String, Option<PgType>)],
    formats: &[i16],
    first: impl Fn(usize) -> Option<PgType>,
) -> Result<Vec<Field>, SqlError> {
    columns
        .iter()
        .enumerate()
        .map(|(i, (name, declared))| {
            Ok(Field {
                name: name.clone(),
                kind: declared.or_else(|| first(i)).unwrap_or(PgType::Text),
                binary: binary(formats, i, columns.len())?,
            })
        })
        .collect()
}

fn parameters(statement: &rusqlite::Statement<'_>) -> Result<Vec<Parameter>, SqlError> {
    (1..=statement.parameter_count())
        .map(|index| {
            let Some(name) = statement.parameter_name(index) else {
                return Ok(Parameter { index, number: index, hint: None });
            };
            let bare = name.trim_start_matches(['$', '?']);
            let (digits, hint) = bare.split_once("::").unwrap_or((bare, ""));
            match digits.parse() {
                Ok(number) if number > 0 => Ok(Parameter { index, number, hint: PgType::of_hint(hint) }),
                _ => Err(SqlError::new("42P02", format!("there is no parameter {name}"))
                    .hint("Parameters are $1, $2 and so on.")),
            }
        })
        .collect()
}

/// SQLite numbers `$1` by its first appearance, not by its digits.
fn bind(statement: &mut rusqlite::Statement<'_>, values: &[Value]) -> Result<(), SqlError> {
    for parameter in parameters(statement)? {
        let null = Value::Null;
        let value = values.get(parameter.number - 1).unwrap_or(&null);
        statement
            .raw_bind_parameter(parameter.index, value)
            .map_err(|e| translate(&e, take_fault(), Phase::Statement))?;
    }
    Ok(())
}

/// Functions that do nothing but compute. A statement that calls another one is not run for its
/// types' sake: the admin functions act.
const HARMLESS: &[&str] = &[
    "abs",
    "avg",
    "cast",
    "coalesce",
    "concat",
    "count",
    "date",
    "datetime",
    "exists",
    "group_concat",
    "hex",
    "ifnull",
    "iif",
    "in",
    "instr",
    "json",
    "json_extract",
    "julianday",
    "length",
    "lower",
    "ltrim",
    "max",
    "min",
    "nullif",
    "printf",
    "format",
    "quote",
    "random",
    "replace",
    "round",
    "row_number",
    "rtrim",
    "sign",
    "strftime",
    "substr",
    "substring",
    "sum",
    "time",
    "total",
    "trim",
    "typeof",
    "unicode",
    "unixepoch",
    "upper",
    "values",
    "version",
    "zeroblob",
];

fn is_harmless(sql: &str) -> bool {
    let mut previous: Option<Token<'_>> = None;
    for token in tokens(sql) {
        if token.text == "("
            && let Some(word) = previous
            && word.name().is_some()
            && !HARMLESS.iter().any(|f| word.is(f))
            && !is_syntax(&word)
        {
            return false;
        }
        previous = Some(token);
    }
    true
}

/// Words that stand before a parenthesis without being functions.
fn is_syntax(word: &Token<'_>) -> bool {
    [
        "select",
        "from",
        "where",
        "and",
        "or",
        "not",
        "on",
        "as",
        "join",
        "union",
        "all",
        "except",
        "intersect",
        "when",
        "then",
        "else",
        "case",
        "having",
        "by",
        "using",
        "over",
        "filter",
        "limit",
        "between",
        "like",
        "distinct",
        "is",
    ]
    .iter()
    .any(|k| word.is(k))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_that_calls_an_admin_function_is_not_run_for_its_types() {
        assert!(is_harmless("select count(*), max(a) from t where a in (1, 2)"));
        assert!(!is_harmless("select gp_request_fts_probe_scan()"));
        assert!(!is_harmless("select \"segsh_recover\" ('{}')"));
    }

    #[test]
    fn parameters_are_numbered_by_their_digits() {
        let db = rusqlite::Connection::open_in_memory().unwrap();
        let statement = db.prepare("select $2, $1::int8, $2").unwrap();
        let found = parameters(&statement).unwrap();
        let numbers: Vec<_> = found.iter().map(|p| (p.number, p.hint)).collect();
        assert_eq!(numbers, [(2, None), (1, Some(20))]);
        let named = db.prepare("select :name").unwrap();
        assert_eq!(parameters(&named).unwrap_err().code, "42P02");
    }

    #[test]
    fn result_formats_that_do_not_fit_are_refused() {
        assert!(!binary(&[], 1, 3).unwrap());
        assert!(binary(&[1], 2, 3).unwrap());
        assert!(!binary(&[1, 0, 1], 1, 3).unwrap());
        assert_eq!(binary(&[1, 0], 0, 3).unwrap_err().code, "08P01");
    }
}
