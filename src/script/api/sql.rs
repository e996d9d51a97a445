//! `sql`, `sql_all` and the `Rows` they return.

use super::binding::{Fallible, api, bind, bind_index, bind_plain};
use crate::cluster::{Rows, SqlTarget, Value as SqlValue, admin_functions};
use crate::core::ids::Content;
use crate::script::catalog::{Damage, Entry, entry};
use crate::script::context::{Context, guard};
use crate::script::json;
use crate::script::near::is_it;
use crate::script::record::{Field, Record, fields, register as register_record};
use crate::script::thrown::{Thrower, Thrown};
use rhai::{Array, Dynamic, ImmutableString, Module};
use serde_json::Value;
use std::rc::Rc;

/// What is bound here.
pub(super) const ENTRIES: &[Entry] = &[
    entry!(
        "sql",
        &[
            &["text: string"],
            &["text: string", "parameters: array"],
            &["content: int", "text: string"],
            &["content: int", "text: string", "parameters: array"],
        ],
        "Rows",
        "One statement on the catalog, or on a content's acting primary. NULL is ().",
        "sql(2, \"select v from t where id = $1\", [7]).value()",
        changes: true, damage: Damage::Statement
    ),
    entry!(
        "sql_all",
        &[&["text: string"], &["text: string", "parameters: array"]],
        "Rows",
        "Reads from every content; triggers a probe, and throws on a partial answer.",
        "sql_all(\"select count(*) from t\")", changes: true, damage: Damage::Statement
    ),
    entry!(
        "one", &[&["rows: Rows"]], "SqlRow", "The only row; throws `not_one_row` when there are more or none.",
        "sql(\"select v from t where id = $1\", [7]).one()[\"v\"]", method_of: "Rows"
    ),
    entry!(
        "value", &[&["rows: Rows"]], "any", "The only value of the only row; throws when there are more or none.",
        "sql(\"select count(*) from t\").value()", method_of: "Rows"
    ),
    entry!("len", &[&["rows: Rows"]], "int", "How many rows there are.", "sql(\"select 1\").len()", method_of: "Rows"),
    entry!(
        "is_empty", &[&["rows: Rows"]], "bool", "Whether there is no row.", "sql(\"select 1\").is_empty()",
        method_of: "Rows"
    ),
    entry!(
        "to_map", &[&["row: SqlRow"]], "map", "The row as a map of its columns.",
        "sql(\"select 1 as one\").one().to_map().one", method_of: "SqlRow"
    ),
    entry!(
        "to_json", &[&["row: SqlRow"]], "string", "The row as JSON, in the order of its columns.",
        "sql(\"select 1 as one\").one().to_json()", method_of: "SqlRow"
    ),
];

pub(super) fn bind_all(module: &mut Module, context: &Rc<Context>) {
    use crate::cluster::SqlTarget::Catalog;
    api!(module, context, "sql", 0, |c, t: ImmutableString| sql(c, Catalog, &t, &Array::new()));
    api!(module, context, "sql", 1, |c, t: ImmutableString, p: Array| sql(c, Catalog, &t, &p));
    api!(module, context, "sql", 2, |c, n: i64, t: ImmutableString| { sql(c, target(n), &t, &Array::new()) });
    api!(module, context, "sql", 3, |c, n: i64, t: ImmutableString, p: Array| { sql(c, target(n), &t, &p) });
    api!(module, context, "sql_all", 0, |c, t: ImmutableString| { sql_all(c, &t, &Array::new()) });
    api!(module, context, "sql_all", 1, |c, t: ImmutableString, p: Array| sql_all(c, &t, &p));
    api!(module, context, "rows.one", 0, |_c, r: &mut RowsRecord| r.one().map(Dynamic::from));
    api!(module, context, "rows.value", 0, |_c, r: &mut RowsRecord| r.value());
    bind(module, "rows.len", 0, |r: &mut RowsRecord| r.0.rows.len() as i64);
    bind(module, "rows.is_empty", 0, |r: &mut RowsRecord| r.0.rows.is_empty());
    bind(module, "sqlrow.to_map", 0, |r: &mut SqlRow| r.map());
    bind(module, "sqlrow.to_json", 0, |r: &mut SqlRow| r.json().to_string());
}

/// Rows of a statement.
#[derive(Clone, PartialEq)]
pub struct RowsRecord(pub Rc<Rows>);

/// One row, which finds its columns' names in the rows it came from.
#[derive(Clone, PartialEq)]
pub struct SqlRow {
    rows: Rc<Rows>,
    at: usize,
}

fn to_dynamic(value: &SqlValue) -> Dynamic {
    match value {
        SqlValue::Null => Dynamic::UNIT,
        SqlValue::Bool(b) => (*b).into(),
        SqlValue::Int(n) => (*n).into(),
        SqlValue::Float(f) => (*f).into(),
        SqlValue::Text(t) => t.as_str().into(),
        SqlValue::Blob(b) => Dynamic::from_blob(b.clone()),
    }
}

fn from_dynamic(value: &Dynamic) -> Thrower<SqlValue> {
    if value.is_unit() {
        Ok(SqlValue::Null)
    } else if let Ok(b) = value.as_bool() {
        Ok(SqlValue::Bool(b))
    } else if let Ok(n) = value.as_int() {
        Ok(SqlValue::Int(n))
    } else if let Ok(f) = value.as_float() {
        Ok(SqlValue::Float(f))
    } else if let Some(blob) = value.read_lock::<rhai::Blob>() {
        Ok(SqlValue::Blob(blob.clone()))
    } else if let Ok(text) = value.clone().into_string() {
        Ok(SqlValue::Text(text))
    } else {
        let message = format!("a statement's parameter can't be {}", value.type_name());
        Err(Thrown::script("bad_parameter", message))
    }
}

fn parameters(values: &Array) -> Thrower<Vec<SqlValue>> {
    values.iter().map(from_dynamic).collect()
}

/// `sql(text)` and `sql(content, text)`, each with parameters or without.
pub(super) fn sql(context: &Context, target: SqlTarget, text: &str, values: &Array) -> Thrower {
    let cluster = context.cluster()?;
    let values = parameters(values)?;
    if target == SqlTarget::Catalog {
        asks_for_no_change(text)?;
    }
    if !only_reads(text) && context.only_names(|| called(&target, text)) {
        let nothing = Rows { columns: Vec::new(), rows: Vec::new(), affected: 0 };
        return Ok(Dynamic::from(RowsRecord(Rc::new(nothing))));
    }
    let rows = cluster.sql(target, text, &values)?;
    Ok(Dynamic::from(RowsRecord(Rc::new(rows))))
}

/// A change of the cluster by a function of SQL would ask nobody, pass the site's hooks by, and stand in the audit log as
/// the coordinator's own: a script has a call for it.
fn asks_for_no_change(text: &str) -> Thrower<()> {
    match admin_functions().find(|(name, _)| calls(text, name)) {
        None => Ok(()),
        Some((name, call)) => {
            let message = format!("{name}() is for clients of SQL; here {call}() does it, which asks and heeds hooks");
            Err(Thrown::script("invalid", message).next(format!("help(\"{call}\")")))
        }
    }
}

/// Whether a statement calls the function, however it is quoted. One that is hidden better is still not sent in a dry run.
fn calls(text: &str, function: &str) -> bool {
    let text = text.to_ascii_lowercase();
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.match_indices(function).any(|(at, _)| {
        let behind = &text[at + function.len()..];
        !text[..at].ends_with(is_part)
            && behind.trim_start_matches(['"', '`', ']']).trim_start().starts_with(['(', '/', '-'])
    })
}

/// Whether one statement only answers, as far as its words tell. What a dry run is not sure of it
/// does not send.
fn only_reads(text: &str) -> bool {
    const READS: &[&str] = &["select", "values", "show", "explain", "with", "table"];
    const WRITES: &[&str] = &["insert", "update", "delete", "replace", "into", "analyze"];
    let text = text.trim().trim_end_matches(';').to_ascii_lowercase();
    let mut words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').filter(|w| !w.is_empty());
    let first = words.next().unwrap_or_default();
    let writes = |word: &str| WRITES.contains(&word) || admin_functions().any(|(name, _)| *name == word);
    !text.contains(';') && READS.contains(&first) && !words.any(writes)
}

fn called(target: &SqlTarget, text: &str) -> String {
    match target {
        SqlTarget::Catalog => format!("sql({text:?})"),
        SqlTarget::Content(content) => format!("sql({content}, {text:?})"),
    }
}

/// The target of `sql(2, …)`, the one place where a bare number is a content.
pub(super) fn target(content: i64) -> SqlTarget {
    SqlTarget::Content(Content(content))
}

/// `sql_all(text)`.
pub(super) fn sql_all(context: &Context, text: &str, values: &Array) -> Thrower {
    let cluster = context.cluster()?;
    let values = parameters(values)?;
    if !only_reads(text) && context.only_names(|| format!("sql_all({text:?})")) {
        let nothing = Rows { columns: Vec::new(), rows: Vec::new(), affected: 0 };
        return Ok(Dynamic::from(RowsRecord(Rc::new(nothing))));
    }
    let rows = cluster.sql_all(text, &values)?;
    Ok(Dynamic::from(RowsRecord(Rc::new(rows))))
}

impl RowsRecord {
    fn row(&self, at: usize) -> SqlRow {
        SqlRow { rows: Rc::clone(&self.0), at }
    }

    fn at(&self, index: i64) -> Thrower<SqlRow> {
        let len = self.0.rows.len();
        let wanted = if index < 0 { index + len as i64 } else { index };
        usize::try_from(wanted)
            .ok()
            .filter(|i| *i < len)
            .map(|i| self.row(i))
            .ok_or_else(|| Thrown::script("out_of_bounds", format!("there is no row [{index}] among {len}")))
    }

    fn one(&self) -> Thrower<SqlRow> {
        match self.0.rows.len() {
            1 => Ok(self.row(0)),
            n => Err(Thrown::script("not_one_row", format!("expected one row, found {n}"))),
        }
    }

    fn value(&self) -> Thrower {
        let row = self.one()?;
        match self.0.columns.len() {
            1 => Ok(row.cell(0)),
            n => Err(Thrown::script("not_one_value", format!("expected one column, found {n}"))),
        }
    }
}

impl SqlRow {
    fn cell(&self, column: usize) -> Dynamic {
        let row = self.rows.rows.get(self.at);
        row.and_then(|r| r.get(column)).map_or(Dynamic::UNIT, to_dynamic)
    }

    fn column(&self, name: &str) -> Thrower {
        match self.rows.columns.iter().position(|c| c == name) {
            Some(at) => Ok(self.cell(at)),
            None => {
                let near = is_it(name, self.rows.columns.iter().map(String::as_str));
                let message = format!("there is no column `{name}`{near}");
                Err(Thrown::script("unknown_column", message).next(format!("columns: {}", self.rows.columns.join(" "))))
            }
        }
    }

    fn map(&self) -> rhai::Map {
        let columns = self.rows.columns.iter().enumerate();
        columns.map(|(i, c)| (c.as_str().into(), self.cell(i))).collect()
    }

    /// The row as one object, in the order of its columns.
    pub fn json(&self) -> Value {
        let row = self.rows.rows.get(self.at).map(Vec::as_slice).unwrap_or_default();
        let cells = self.rows.columns.iter().zip(row);
        Value::Object(cells.map(|(c, v)| (c.clone(), json::sql_json(v))).collect())
    }
}

impl IntoIterator for RowsRecord {
    type Item = SqlRow;
    type IntoIter = std::vec::IntoIter<SqlRow>;
    fn into_iter(self) -> Self::IntoIter {
        (0..self.0.rows.len()).map(|i| self.row(i)).collect::<Vec<_>>().into_iter()
    }
}

impl Record for RowsRecord {
    const NAME: &'static str = "Rows";
    fn fields() -> Vec<Field<Self>> {
        fields! {
            columns: "[string]", "the columns' names, in their order" => |r| r.0.columns.iter().map(|c| Dynamic::from(c.clone())).collect::<Array>();
            rows: "[SqlRow]", "every row" => |r| r.clone().into_iter().map(Dynamic::from).collect::<Array>();
            len: "int", "how many rows there are" => |r| r.0.rows.len() as i64;
            affected: "int", "rows inserted, updated or deleted" => |r| r.0.affected;
        }
    }
    fn text(&self, context: &Context) -> String {
        context.renderer.rows(&self.0)
    }
    fn json(&self) -> Value {
        json::rows_json(&self.0)
    }
}

/// Registers the rows and the single row.
pub(super) fn register(module: &mut Module, context: &Rc<Context>) {
    register_record::<RowsRecord>(module, context);
    module.set_iterable::<RowsRecord>();
    bind_index(module, |r: &mut RowsRecord, i: i64| -> Fallible<SqlRow> { guard("rows", || r.at(i)) });
    register_row(module);
}

fn register_row(module: &mut Module) {
    module.set_custom_type::<SqlRow>("SqlRow");
    bind_index(module, |r: &mut SqlRow, name: ImmutableString| -> Fallible { guard("row", || r.column(&name)) });
    bind_index(module, |r: &mut SqlRow, at: i64| -> Fallible {
        guard("row", || {
            let columns = r.rows.columns.len();
            let found = usize::try_from(at).ok().filter(|i| *i < columns);
            found.map(|i| r.cell(i)).ok_or_else(|| {
                let message = format!("there is no column [{at}] among {columns}");
                Thrown::script("out_of_bounds", message)
            })
        })
    });
    bind_plain(module, "==", |a: SqlRow, b: SqlRow| a.map_eq(&b));
    bind_plain(module, "!=", |a: SqlRow, b: SqlRow| !a.map_eq(&b));
    for name in ["to_string", "to_debug", "print", "debug"] {
        bind_plain(module, name, |r: &mut SqlRow| r.json().to_string());
    }
}

impl SqlRow {
    fn map_eq(&self, other: &SqlRow) -> bool {
        self.json() == other.json()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_that_changes_the_cluster_is_no_reading_and_not_called_by_a_script() {
        assert_eq!(admin_functions().count(), 7);
        for (name, call) in admin_functions() {
            let upper = name.to_uppercase();
            for text in [
                format!("select {name}()"),
                format!("SELECT {upper} ('{{}}')"),
                format!("select \"{name}\"()"),
                format!("select 1 where {name}/**/() is null"),
                format!("with a as (select {name}('1m')) select * from a"),
            ] {
                assert!(!only_reads(&text), "{text}");
                let error = asks_for_no_change(&text).unwrap_err();
                assert_eq!(
                    (error.code.as_str(), error.next.as_str()),
                    ("invalid", &*format!("help(\"{call}\")")),
                    "{text}"
                );
            }
            // What only speaks of one is read, and in a dry run it is not sent.
            let text = format!("select * from history where \"desc\" = '{name}'");
            assert!(asks_for_no_change(&text).is_ok() && !only_reads(&text), "{text}");
            let text = format!("select my_{name}(), {name}s()");
            assert!(asks_for_no_change(&text).is_ok() && only_reads(&text), "{text}");
        }
    }

    #[test]
    fn what_only_answers_is_sent_in_a_dry_run() {
        for text in ["select 1", "WITH a AS (SELECT 2) SELECT * FROM a;", "select segsh_state()", "values (1)"] {
            assert!(only_reads(text), "{text}");
        }
        for text in ["delete from t", "select 1; select 2", "with a as (select 1) insert into t select * from a"] {
            assert!(!only_reads(text), "{text}");
        }
    }
}
