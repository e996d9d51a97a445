//! What type a parameter has when the client does not say: that of the column it stands beside.
//!
//! Clients such as tokio-postgres refuse to send an integer where the server announced text. SQLite
//! has no parameter types, so the obvious places are read: `column = $1`, `$1 < column`,
//! `insert into t(a, b) values ($1, $2)`, `set a = $1`, `limit $1`. Nothing depends on a right guess.

use super::lexer::{Token, tokens};
use super::types::PgType;
use rusqlite::Connection;
use std::collections::HashMap;

/// Comparisons, longest tokens first are single characters here.
const OPERATORS: &[&str] = &["=", "<", ">", "!", "|"];
const WORD_OPERATORS: &[&str] = &["like", "is", "between", "and"];

/// The types that could be told, by the parameter's number.
pub(super) fn infer(connection: &Connection, sql: &str) -> HashMap<usize, PgType> {
    let tokens: Vec<Token<'_>> = tokens(sql).collect();
    let columns = Columns::of(connection, &tokens);
    let mut found = HashMap::new();
    let inserted = insert_columns(connection, &tokens);
    let mut place = 0;
    let mut depth = 0usize;
    let mut in_values = false;
    for (i, token) in tokens.iter().enumerate() {
        match token.text {
            "(" => {
                depth += 1;
                if in_values && depth == 1 {
                    place = 0;
                }
            }
            ")" => depth = depth.saturating_sub(1),
            "," if in_values && depth == 1 => place += 1,
            _ if token.is("values") => {
                in_values = true;
                depth = 0;
            }
            _ if token.is("on") || token.is("returning") => in_values = false,
            _ => {}
        }
        let Some(number) = number(token) else {
            continue;
        };
        let alone = |i: usize| tokens.get(i + 1).is_none_or(|t| matches!(t.text, "," | ")"));
        let kind = if in_values && depth == 1 && alone(i) {
            inserted.get(place).copied().flatten()
        } else {
            beside(&tokens, i, &columns)
        };
        if let Some(kind) = kind {
            found.entry(number).or_insert(kind);
        }
    }
    found
}

fn number(token: &Token<'_>) -> Option<usize> {
    token.text.strip_prefix('$')?.parse().ok()
}

/// The type of the column on the other side of an operator.
fn beside(tokens: &[Token<'_>], at: usize, columns: &Columns) -> Option<PgType> {
    let before = tokens[..at].last()?;
    if before.is("limit") || before.is("offset") {
        return Some(PgType::Int8);
    }
    let operator = |t: &Token<'_>| OPERATORS.contains(&t.text) || WORD_OPERATORS.iter().any(|w| t.is(w));
    let left = tokens[..at]
        .iter()
        .rev()
        .skip_while(|t| operator(t) || matches!(t.text, "(" | ",") || number(t).is_some() || t.is("in") || t.is("not"))
        .find_map(Token::name);
    if (operator(before) || matches!(before.text, "(" | ","))
        && let Some(kind) = left.and_then(|name| columns.get(&name))
    {
        return Some(kind);
    }
    let mut after = tokens[at + 1..].iter().skip_while(|t| operator(t));
    tokens.get(at + 1).filter(|t| operator(t))?;
    after.next().and_then(Token::name).and_then(|name| columns.get(&name))
}

/// The declared columns of every table the statement names.
struct Columns {
    by_name: HashMap<String, Option<PgType>>,
}

impl Columns {
    fn of(connection: &Connection, tokens: &[Token<'_>]) -> Columns {
        let mut by_name: HashMap<String, Option<PgType>> = HashMap::new();
        for pair in tokens.windows(2) {
            let introduces = ["from", "join", "into", "update", "replace", "or", ","].iter().any(|k| pair[0].is(k));
            let Some(table) = pair[1].name().filter(|_| introduces) else {
                continue;
            };
            for (name, kind) in table_columns(connection, &table) {
                // Two tables that disagree about a name say nothing about it.
                by_name
                    .entry(name)
                    .and_modify(|known| {
                        if *known != Some(kind) {
                            *known = None;
                        }
                    })
                    .or_insert(Some(kind));
            }
        }
        Columns { by_name }
    }

    fn get(&self, name: &str) -> Option<PgType> {
        self.by_name.get(&name.to_ascii_lowercase()).copied().flatten()
    }
}

fn table_columns(connection: &Connection, table: &str) -> Vec<(String, PgType)> {
    let read = || -> rusqlite::Result<Vec<(String, PgType)>> {
        let mut statement = connection.prepare_cached("select name, type from pragma_table_info(?1)")?;
        let rows = statement.query_map([table], |row| {
            let (name, declared): (String, String) = (row.get(0)?, row.get(1)?);
            Ok((name.to_ascii_lowercase(), PgType::of_declaration(&declared)))
        })?;
        rows.collect()
    };
    // A guess may fail; the statement itself tells what is wrong with it.
    read().unwrap_or_default()
}

/// The types of the columns an INSERT fills, in their order.
fn insert_columns(connection: &Connection, tokens: &[Token<'_>]) -> Vec<Option<PgType>> {
    let Some(into) = tokens.iter().position(|t| t.is("into")) else {
        return Vec::new();
    };
    let Some(table) = tokens.get(into + 1).and_then(Token::name) else {
        return Vec::new();
    };
    let all = table_columns(connection, &table);
    if tokens.get(into + 2).is_none_or(|t| t.text != "(") {
        return all.into_iter().map(|(_, kind)| Some(kind)).collect();
    }
    tokens[into + 3..]
        .iter()
        .take_while(|t| t.text != ")")
        .filter_map(Token::name)
        .map(|name| {
            let name = name.to_ascii_lowercase();
            all.iter().find(|(n, _)| *n == name).map(|(_, kind)| *kind)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_has_the_type_of_the_column_beside_it() {
        let db = Connection::open_in_memory().unwrap();
        db.execute_batch("create table t(id bigint, v text, f double, b bytea)").unwrap();
        for (sql, expected) in [
            ("select v from t where id = $1", vec![(1, PgType::Int8)]),
            ("select v from t where $1 < f", vec![(1, PgType::Float8)]),
            (
                "insert into t values ($1, $2, $3, $4)",
                vec![(1, PgType::Int8), (2, PgType::Text), (3, PgType::Float8), (4, PgType::Bytea)],
            ),
            ("insert into t(v, id) values ($2, $1), ('x', 3)", vec![(1, PgType::Int8), (2, PgType::Text)]),
            ("update t set v = $1 where id = $2", vec![(1, PgType::Text), (2, PgType::Int8)]),
            ("update t set id = id + $1", vec![]),
            ("select * from t where id in ($1, $2)", vec![(1, PgType::Int8), (2, PgType::Int8)]),
            ("select * from t where id between $1 and $2", vec![(1, PgType::Int8), (2, PgType::Int8)]),
            ("select * from t where id >= $1 limit $2", vec![(1, PgType::Int8), (2, PgType::Int8)]),
            ("delete from t where v like $1", vec![(1, PgType::Text)]),
            ("select $1", vec![]),
        ] {
            let expected: HashMap<_, _> = expected.into_iter().collect();
            assert_eq!(infer(&db, sql), expected, "{sql}");
        }
    }
}
