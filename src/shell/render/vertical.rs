//! A value with a field a line, for what is too wide for a table.

use super::layout::{Para, columns};
use super::{Paint, Style};
use serde_json::{Map, Value};

/// Wider names do not push the values of all the others to the right.
const NAME_MAX: usize = 24;

/// The value by its JSON form; `None` for one that has no fields.
pub fn render(value: &Value, style: &Style) -> Option<String> {
    match value {
        Value::Object(fields) => Some(match rows(fields) {
            Some(rows) => records(&rows, style),
            None => block(fields, style),
        }),
        Value::Array(items) if items.iter().any(Value::is_object) => Some(records(items, style)),
        _ => None,
    }
}

/// The rows of a statement as objects: they come as columns and arrays.
fn rows(fields: &Map<String, Value>) -> Option<Vec<Value>> {
    let columns = fields.get("columns")?.as_array()?;
    let rows = fields.get("rows")?.as_array()?;
    let row = |row: &Value| {
        let cells = row.as_array().into_iter().flatten().cloned();
        let named = columns.iter().filter_map(Value::as_str).map(str::to_string).zip(cells);
        Value::Object(named.collect())
    };
    Some(rows.iter().map(row).collect())
}

fn records(items: &[Value], style: &Style) -> String {
    let mut text = String::new();
    for (i, item) in items.iter().enumerate() {
        text.push_str(&format!("{}\n", style.paint(Paint::Dim, &format!("-- {} --", i + 1))));
        match item {
            Value::Object(fields) => text.push_str(&block(fields, style)),
            other => text.push_str(&format!(" {}\n", shown(other))),
        }
    }
    if items.is_empty() {
        text.push_str("0 rows\n");
    }
    text
}

fn block(fields: &Map<String, Value>, style: &Style) -> String {
    let width = fields.keys().map(|name| columns(name)).max().unwrap_or(0).min(NAME_MAX);
    let line = |(name, value): (&String, &Value)| {
        let lead = format!(" {name:<width$}  ");
        Para::new(&lead, width + 3).words(&shown(value)).render(style)
    };
    fields.iter().map(line).collect()
}

/// A text as it is, NULL as nothing, everything else as its JSON.
fn shown(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        // A blank behind each comma is where a long list may be broken.
        Value::Array(items) if !items.iter().any(|i| i.is_object() || i.is_array()) => {
            items.iter().map(shown).collect::<Vec<_>>().join(", ")
        }
        Value::Array(items) => items.iter().map(Value::to_string).collect::<Vec<_>>().join(" "),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shell::render::samples::plain;
    use serde_json::json;

    #[test]
    fn rows_are_a_block_each() {
        let rows = json!({ "columns": ["id", "name"], "rows": [[1, "one"], [2, null]], "affected": 0 });
        insta::assert_snapshot!(render(&rows, &plain()).unwrap_or_default());
    }

    #[test]
    fn a_record_is_a_field_a_line_within_the_screen() {
        let record = json!({
            "cluster": "demo", "operational": true, "down": [2, 3],
            "hosts": [{ "host": "sdw1", "address": "127.0.0.1", "cause": "word ".repeat(30) }],
        });
        let text = render(&record, &plain()).unwrap_or_default();
        assert!(text.contains(" cluster      demo\n operational  true\n down         2, 3\n"), "{text}");
        assert!(text.lines().all(|l| columns(l) <= 80), "{text}");
    }

    #[test]
    fn what_has_no_fields_has_no_vertical_form() {
        for value in [json!(1), json!("text"), json!([1, 2]), Value::Null] {
            assert_eq!(render(&value, &plain()), None);
        }
    }
}
