//! What a utility shows, before it is lines: rules, sentences and tables, so that `--json` has the rows themselves.

use super::line::{Level, Line};
use serde_json::{Value, json};

/// The dashes around the heading of `-m`, `-c` and `-f`.
pub const WIDE: usize = 61;
/// The dashes below the heading of `-Q`.
pub const QUICK: usize = 58;
/// The dashes of every table and of `-s`, `-e`, `-b`.
pub const TABLE: usize = 52;
/// The dashes below the heading of `-p`.
pub const PORTS: usize = 34;

/// The asterisks around what must not be overlooked.
const BOX: usize = 53;
/// What an informing row begins with; a warning does not, so that it stands out.
const INDENT: &str = "   ";
/// Blanks between two columns.
const GAP: usize = 3;
/// What a warning row ends with.
const ARROWS: &str = "<<<<<<<<";

/// Everything that one run shows, and how the process ends.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Page {
    pieces: Vec<Piece>,
    /// The process's exit code.
    pub exit: i32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Line(Line),
    Table(Table),
}

impl Page {
    /// Adds a line.
    pub fn say(&mut self, level: Level, text: impl Into<String>) {
        self.pieces.push(Piece::Line(Line::of(level, text)));
    }

    /// Adds an informing line.
    pub fn info(&mut self, text: impl Into<String>) {
        self.say(Level::Info, text);
    }

    /// Adds a warning.
    pub fn warn(&mut self, text: impl Into<String>) {
        self.say(Level::Warning, text);
    }

    /// Adds a rule of so many dashes.
    pub fn rule(&mut self, dashes: usize) {
        self.info("-".repeat(dashes));
    }

    /// Adds a warning in a box of asterisks.
    pub fn boxed(&mut self, lines: &[&str]) {
        self.say(Level::Warning, "*".repeat(BOX));
        lines.iter().for_each(|line| self.warn(*line));
        self.say(Level::Warning, "*".repeat(BOX));
    }

    /// Adds a table.
    pub fn table(&mut self, table: Table) {
        self.pieces.push(Piece::Table(table));
    }

    /// Adds what another page shows; the exit stays this one's.
    pub fn append(&mut self, other: Page) {
        self.pieces.extend(other.pieces);
    }

    /// Whether a row or a line of it is a warning.
    pub fn has_warnings(&self) -> bool {
        self.pieces.iter().any(|piece| match piece {
            Piece::Line(line) => line.level == Some(Level::Warning),
            Piece::Table(table) => table.has_warnings(),
        })
    }

    /// The lines, in their order.
    pub fn lines(&self) -> Vec<Line> {
        let of = |piece: &Piece| match piece {
            Piece::Line(line) => vec![line.clone()],
            Piece::Table(table) => table.lines(),
        };
        self.pieces.iter().flat_map(of).collect()
    }

    /// The tables with their rows, as `--json` has them.
    pub fn tables(&self) -> Value {
        let tables = self.pieces.iter().filter_map(|piece| match piece {
            Piece::Table(table) => Some(table.json()),
            Piece::Line(_) => None,
        });
        tables.collect()
    }
}

/// Rows with aligned columns: each cell is as wide as the widest of its column and three blanks, the last of a row is
/// not filled up.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Table {
    /// What the table is about, for `--json`; the sentence above it says it to a person.
    name: &'static str,
    columns: Vec<&'static str>,
    rows: Vec<Row>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Row {
    /// A heading inside of the table.
    Section(String),
    Rule,
    Cells {
        cells: Vec<String>,
        warning: bool,
    },
    /// A label and its value, which is written behind `= `; an indented one belongs to a section.
    Pair {
        label: String,
        value: String,
        indented: bool,
        warning: bool,
    },
}

impl Row {
    fn is_warning(&self) -> bool {
        match self {
            Row::Section(_) | Row::Rule => false,
            Row::Cells { warning, .. } | Row::Pair { warning, .. } => *warning,
        }
    }

    /// The cells as they are written; none for a rule.
    fn cells(&self) -> Vec<String> {
        match self {
            Row::Section(title) => vec![title.clone()],
            Row::Rule => Vec::new(),
            Row::Cells { cells, .. } => cells.clone(),
            Row::Pair { label, value, indented, .. } => {
                vec![format!("{}{label}", if *indented { INDENT } else { "" }), format!("= {value}")]
            }
        }
    }
}

impl Table {
    /// A table with a row of column names.
    pub fn with_columns(name: &'static str, columns: &[&'static str]) -> Table {
        Table { name, columns: columns.to_vec(), rows: Vec::new() }
    }

    /// A table of labels and values.
    pub fn of_pairs(name: &'static str) -> Table {
        Table { name, ..Table::default() }
    }

    /// Adds a row of cells.
    pub fn row(&mut self, warning: bool, cells: &[&str]) {
        self.rows.push(Row::Cells { cells: cells.iter().map(ToString::to_string).collect(), warning });
    }

    /// Adds a label and its value.
    pub fn pair(&mut self, warning: bool, label: &str, value: impl ToString) {
        self.add_pair(warning, label, value, false);
    }

    /// Adds a label of a section and its value.
    pub fn inner_pair(&mut self, warning: bool, label: &str, value: impl ToString) {
        self.add_pair(warning, label, value, true);
    }

    fn add_pair(&mut self, warning: bool, label: &str, value: impl ToString, indented: bool) {
        self.rows.push(Row::Pair { label: label.into(), value: value.to_string(), indented, warning });
    }

    /// Adds a heading inside of the table.
    pub fn section(&mut self, title: &str) {
        self.rows.push(Row::Section(title.into()));
    }

    /// Adds a rule.
    pub fn rule(&mut self) {
        self.rows.push(Row::Rule);
    }

    /// Whether a row of it is a warning.
    pub fn has_warnings(&self) -> bool {
        self.rows.iter().any(Row::is_warning)
    }

    fn lines(&self) -> Vec<Line> {
        let head = (!self.columns.is_empty())
            .then(|| Row::Cells { cells: self.columns.iter().map(ToString::to_string).collect(), warning: false });
        let rows: Vec<&Row> = head.iter().chain(&self.rows).collect();
        let mut widths: Vec<usize> = Vec::new();
        for cells in rows.iter().map(|row| row.cells()) {
            for (at, cell) in cells.iter().enumerate() {
                if widths.len() <= at {
                    widths.push(0);
                }
                widths[at] = widths[at].max(cell.chars().count());
            }
        }
        rows.into_iter().map(|row| row_line(row, &widths)).collect()
    }

    fn json(&self) -> Value {
        // A rule begins another block, such as the next segment.
        let (mut block, mut section) = (0, "");
        let mut rows = Vec::new();
        for row in &self.rows {
            match row {
                Row::Section(title) => section = title,
                Row::Rule => block += 1,
                Row::Cells { cells, warning } => rows.push(json!({ "cells": cells, "warning": warning })),
                Row::Pair { label, value, warning, .. } => rows.push(json!({
                    "block": block, "section": section, "label": label, "value": value, "warning": warning,
                })),
            }
        }
        json!({ "name": self.name, "columns": self.columns, "rows": rows })
    }
}

fn row_line(row: &Row, widths: &[usize]) -> Line {
    if *row == Row::Rule {
        return Line::info("-".repeat(TABLE));
    }
    let warning = row.is_warning();
    let mut cells = row.cells();
    if warning {
        cells.push(ARROWS.into());
    }
    let mut text = if warning { String::new() } else { INDENT.to_string() };
    for (at, cell) in cells.iter().enumerate() {
        text.push_str(cell);
        if at + 1 < cells.len() {
            let width = widths.get(at).copied().unwrap_or_default();
            text.push_str(&" ".repeat(width.saturating_sub(cell.chars().count()) + GAP));
        }
    }
    // An empty last cell leaves nothing behind.
    Line::of(if warning { Level::Warning } else { Level::Info }, text.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(page: &Page) -> Vec<String> {
        page.lines().iter().map(Line::unstamped).collect()
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell_and_a_warning_points_at_itself() {
        let mut table = Table::with_columns("mirrors", &["Mirror", "Port", "Status", "Data Status"]);
        table.row(false, &["fern2-1", "50000", "Passive", "Synchronized"]);
        table.row(true, &["fern1-1", "50001", "Failed", ""]);
        let mut page = Page::default();
        page.table(table);
        assert_eq!(
            texts(&page),
            [
                "[INFO]:-   Mirror    Port    Status    Data Status",
                "[INFO]:-   fern2-1   50000   Passive   Synchronized",
                "[WARNING]:-fern1-1   50001   Failed                   <<<<<<<<",
            ]
        );
        assert!(page.has_warnings());
    }

    #[test]
    fn labels_of_a_section_are_indented_and_values_stand_below_each_other() {
        let mut table = Table::of_pairs("segment");
        table.section("Status");
        table.inner_pair(true, "PID", "Not found");
        table.inner_pair(false, "Database status", "Up");
        table.rule();
        let mut page = Page::default();
        page.table(table);
        assert_eq!(
            texts(&page),
            [
                "[INFO]:-   Status".to_string(),
                "[WARNING]:-   PID               = Not found   <<<<<<<<".to_string(),
                "[INFO]:-      Database status   = Up".to_string(),
                format!("[INFO]:-{}", "-".repeat(TABLE)),
            ]
        );
        let json = page.tables();
        let first = json!({"block": 0, "section": "Status", "label": "PID", "value": "Not found", "warning": true});
        assert_eq!(json[0]["rows"][0], first);
    }

    #[test]
    fn a_box_is_a_warning_from_edge_to_edge() {
        let mut page = Page::default();
        page.boxed(&["DATABASE IS PROBABLY UNAVAILABLE"]);
        assert_eq!(page.lines().len(), 3);
        assert!(page.lines().iter().all(|l| l.level == Some(Level::Warning)));
    }
}
