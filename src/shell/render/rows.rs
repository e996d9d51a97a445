//! The rows of an SQL statement.

use super::Style;
use super::format::count;
use crate::cluster::{Rows, Value};
use comfy_table::{CellAlignment, ContentArrangement, Table, presets};

/// The rows as a table with a last line that counts them. A statement without columns says only how
/// many rows it changed.
pub fn render(rows: &Rows, style: &Style) -> String {
    if rows.columns.is_empty() {
        let n = usize::try_from(rows.affected).unwrap_or(0);
        return format!("{} changed\n", count(n, "row"));
    }
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table.set_style(comfy_table::TableComponent::HeaderLines, '-');
    table.set_style(comfy_table::TableComponent::MiddleHeaderIntersections, ' ');
    table.set_content_arrangement(ContentArrangement::Dynamic);
    table.set_width(u16::try_from(style.width).unwrap_or(u16::MAX));
    table.set_header(&rows.columns);
    for row in &rows.rows {
        table.add_row(row.iter().map(cell));
    }
    let lines: Vec<String> = table.lines().map(|l| l.trim_end().to_string()).collect();
    format!("{}\n{}\n", lines.join("\n"), count(rows.rows.len(), "row"))
}

fn cell(value: &Value) -> comfy_table::Cell {
    let cell = comfy_table::Cell::new(text(value));
    match value {
        Value::Int(_) | Value::Float(_) => cell.set_alignment(CellAlignment::Right),
        _ => cell,
    }
}

/// A value as it is read: NULL is empty, bytes are PostgreSQL's `\x...`.
fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::Bool(b) => b.to_string(),
        Value::Int(n) => n.to_string(),
        Value::Float(x) => x.to_string(),
        Value::Text(s) => s.clone(),
        Value::Blob(bytes) => {
            let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
            format!("\\x{hex}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shell::render::samples::plain;

    #[test]
    fn rows_are_a_table_and_a_count() {
        let rows = Rows {
            columns: vec!["id".into(), "name".into(), "raw".into()],
            rows: vec![
                vec![Value::Int(1), Value::Text("one".into()), Value::Null],
                vec![Value::Int(20), Value::Text("twenty".into()), Value::Blob(vec![1, 255])],
            ],
            affected: 0,
        };
        insta::assert_snapshot!(render(&rows, &plain()));
    }

    #[test]
    fn a_statement_without_rows_counts_what_it_changed() {
        let rows = Rows { columns: vec![], rows: vec![], affected: 1 };
        assert_eq!(render(&rows, &plain()), "1 row changed\n");
    }

    #[test]
    fn long_values_wrap_within_the_screen() {
        let rows = Rows {
            columns: vec!["a".into(), "b".into()],
            rows: vec![vec![Value::Text("word ".repeat(60)), Value::Int(7)]],
            affected: 0,
        };
        let text = render(&rows, &plain());
        assert!(text.lines().all(|l| l.chars().count() <= 80), "{text}");
    }
}
