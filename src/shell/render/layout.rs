//! Tables and paragraphs as the screens draw them: aligned columns, hanging indents, no frames.

use super::{Paint, Style};

/// One cell: its text and what it means.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cell {
    pub text: String,
    pub paint: Paint,
}

impl Cell {
    /// A cell with a meaning.
    pub fn painted(text: impl Into<String>, paint: Paint) -> Cell {
        Cell { text: text.into(), paint }
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Cell {
        Cell::painted(text, Paint::Plain)
    }
}

/// Columns a text takes. The screens' own words are ASCII; names from a cluster may not be, and a
/// character is a column for all but the East Asian scripts, which only misaligns a row.
pub fn columns(text: &str) -> usize {
    text.chars().count()
}

/// Cuts a text to `width` columns, with a `~` where something is missing.
pub fn cut(text: &str, width: usize) -> String {
    if columns(text) <= width {
        return text.to_string();
    }
    let mut kept: String = text.chars().take(width.saturating_sub(1)).collect();
    if width > 0 {
        kept.push('~');
    }
    kept
}

/// A table without frames. A column whose cells are all empty is left out when it is optional.
#[derive(Debug, Clone, Default)]
pub struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<Cell>>,
}

#[derive(Debug, Clone)]
struct Column {
    title: String,
    /// Blanks before the next column.
    gap: usize,
    optional: bool,
}

impl Table {
    /// An empty table; every row begins with one blank.
    pub fn new() -> Table {
        Table::default()
    }

    /// Adds a column, with the number of blanks that separate it from the next.
    #[must_use]
    pub fn column(mut self, title: &str, gap: usize) -> Table {
        self.columns.push(Column { title: title.to_string(), gap, optional: false });
        self
    }

    /// Adds a column that is drawn only when some row has something in it.
    #[must_use]
    pub fn optional(mut self, title: &str, gap: usize) -> Table {
        self = self.column(title, gap);
        if let Some(column) = self.columns.last_mut() {
            column.optional = true;
        }
        self
    }

    /// Adds a row; missing cells are empty.
    pub fn row(&mut self, mut cells: Vec<Cell>) {
        cells.resize_with(self.columns.len(), Cell::default);
        self.rows.push(cells);
    }

    /// Columns the widest line takes, the leading blank included.
    pub fn width(&self) -> usize {
        let widths = self.widths();
        let lines = self.rows.iter().map(|row| self.line_width(&widths, |i| columns(&row[i].text)));
        let title = self.line_width(&widths, |i| columns(&self.columns[i].title));
        lines.fold(title, usize::max)
    }

    /// The table as lines, each ending with a newline, none wider than the style allows.
    pub fn render(&self, style: &Style) -> String {
        let widths = self.widths();
        let titles: Vec<Cell> = self.columns.iter().map(|c| Cell::painted(&*c.title, Paint::Dim)).collect();
        let mut text = self.line(&widths, &titles, style);
        for row in &self.rows {
            text.push_str(&self.line(&widths, row, style));
        }
        text
    }

    /// Width of each column; `None` for one that is not drawn.
    fn widths(&self) -> Vec<Option<usize>> {
        (0..self.columns.len())
            .map(|i| {
                let widest = self.rows.iter().map(|row| columns(&row[i].text)).max();
                let widest = widest.unwrap_or(0);
                let column = &self.columns[i];
                (widest > 0 || !column.optional).then(|| widest.max(columns(&column.title)))
            })
            .collect()
    }

    /// Where the last cell that holds something ends.
    fn line_width(&self, widths: &[Option<usize>], cell: impl Fn(usize) -> usize) -> usize {
        let mut at = 1;
        let mut end = 0;
        for (i, width) in widths.iter().enumerate() {
            let Some(width) = width else { continue };
            if cell(i) > 0 {
                end = at + cell(i);
            }
            at += width + self.columns[i].gap;
        }
        end
    }

    fn line(&self, widths: &[Option<usize>], cells: &[Cell], style: &Style) -> String {
        let mut line = String::new();
        // Blanks are owed and paid only before the next text, so that no line ends with any.
        let mut owed = 1;
        let mut at = 0;
        for (i, width) in widths.iter().enumerate() {
            let Some(width) = width else { continue };
            let room = style.width.saturating_sub(at + owed);
            let text = cut(&cells[i].text, room);
            if !text.is_empty() {
                line.push_str(&" ".repeat(owed));
                line.push_str(&style.paint(cells[i].paint, &text));
                at += owed + columns(&text);
                owed = 0;
            }
            owed += width.saturating_sub(columns(&text)) + self.columns[i].gap;
        }
        line.push('\n');
        line
    }
}

/// A paragraph with a hanging indent, broken at blanks. A [`Para::unit`] is never broken, so that
/// what can be typed can be copied.
#[derive(Debug, Clone)]
pub struct Para {
    indent: usize,
    pieces: Vec<Piece>,
}

#[derive(Debug, Clone)]
struct Piece {
    /// Blanks before it on the same line.
    gap: usize,
    text: String,
    paint: Paint,
    new_line: bool,
}

impl Para {
    /// A paragraph whose first line begins with `lead` and whose others are indented by `indent`.
    pub fn new(lead: &str, indent: usize) -> Para {
        let lead = Piece { gap: 0, text: lead.to_string(), paint: Paint::Plain, new_line: false };
        Para { indent, pieces: vec![lead] }
    }

    /// Adds text that may be broken at its blanks.
    #[must_use]
    pub fn words(mut self, text: &str) -> Para {
        for (i, word) in text.split_whitespace().enumerate() {
            // The first word stands right behind the lead, which brings its own blanks.
            let first = i == 0 && self.pieces.len() == 1;
            self.push(usize::from(!first), word, Paint::Plain, false);
        }
        self
    }

    /// Adds text that is never broken, `gap` blanks behind what stands before it.
    #[must_use]
    pub fn unit(mut self, gap: usize, text: &str, paint: Paint) -> Para {
        self.push(gap, text, paint, false);
        self
    }

    /// The same on a new line.
    #[must_use]
    pub fn unit_below(mut self, text: &str, paint: Paint) -> Para {
        self.push(0, text, paint, true);
        self
    }

    fn push(&mut self, gap: usize, text: &str, paint: Paint, new_line: bool) {
        self.pieces.push(Piece { gap, text: text.to_string(), paint, new_line });
    }

    /// The lines up to the first unit that stands below, and those from there.
    pub fn render_apart(&self, style: &Style) -> (String, String) {
        let Some(at) = self.pieces.iter().position(|piece| piece.new_line) else {
            return (self.render(style), String::new());
        };
        let (above, below) = self.pieces.split_at(at);
        let above = Para { indent: self.indent, pieces: above.to_vec() };
        let mut below_lead = Para::new(&" ".repeat(self.indent), self.indent);
        below_lead.pieces.extend(below.iter().cloned().map(|piece| Piece { new_line: false, ..piece }));
        (above.render(style), below_lead.render(style))
    }

    /// The paragraph as lines, each ending with a newline.
    pub fn render(&self, style: &Style) -> String {
        let mut text = String::new();
        let mut at = 0;
        // Whether the line holds nothing but the lead or the indent so far.
        let mut fresh = true;
        for (i, piece) in self.pieces.iter().enumerate() {
            let full = at + piece.gap + columns(&piece.text) > style.width;
            if !fresh && (piece.new_line || full) {
                text.push('\n');
                text.push_str(&" ".repeat(self.indent));
                at = self.indent;
            } else {
                text.push_str(&" ".repeat(piece.gap));
                at += piece.gap;
            }
            let shown = hard_wrap(&piece.text, style, self.indent, &mut at);
            text.push_str(&paint_lines(style, piece.paint, &shown));
            fresh = i == 0;
        }
        text.truncate(text.trim_end_matches(' ').len());
        text.push('\n');
        text
    }
}

/// A single word can be wider than a line (a path, a long name): it goes on below, uncut.
fn hard_wrap(word: &str, style: &Style, indent: usize, at: &mut usize) -> String {
    let mut out = String::new();
    for c in word.chars() {
        if *at >= style.width && style.width > indent {
            out.push('\n');
            out.push_str(&" ".repeat(indent));
            *at = indent;
        }
        out.push(c);
        *at += 1;
    }
    out
}

fn paint_lines(style: &Style, paint: Paint, text: &str) -> String {
    text.split('\n').map(|line| style.paint(paint, line)).collect::<Vec<_>>().join("\n")
}

/// One line with `right` at the end of the screen's 74th column, as the outcome's first line has it;
/// below when both do not fit.
pub fn two_ended(left: &str, right: &str, edge: usize, style: &Style) -> String {
    let edge = edge.min(style.width);
    let used = columns(left) + columns(right);
    if used + 2 <= edge {
        format!("{left}{}{right}\n", " ".repeat(edge - used))
    } else if used + 2 <= style.width {
        format!("{left}  {right}\n")
    } else {
        let below = columns(right).min(edge);
        format!("{left}\n{}{right}\n", " ".repeat(edge - below))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn narrow() -> Style {
        Style { width: 20, ..Style::default() }
    }

    #[test]
    fn a_paragraph_breaks_at_blanks_and_hangs() {
        let text = Para::new(" content 2  ", 12).words("aaa bbb ccc").render(&narrow());
        assert_eq!(text, " content 2  aaa bbb\n            ccc\n");
    }

    #[test]
    fn a_unit_moves_below_whole_when_it_does_not_fit() {
        let text = Para::new(" ", 1).words("aaa bbb").unit(3, "recover(#{ })", Paint::Code).render(&narrow());
        assert_eq!(text, " aaa bbb\n recover(#{ })\n");
    }

    #[test]
    fn a_word_wider_than_the_line_goes_on_below_uncut() {
        let text = Para::new("", 1).words("/a/very/long/path/that/does/not/fit").render(&narrow());
        assert!(text.lines().all(|l| columns(l) <= 20), "{text}");
        let joined: String = text.split_whitespace().collect();
        assert_eq!(joined, "/a/very/long/path/that/does/not/fit");
    }

    #[test]
    fn an_optional_column_without_content_is_not_drawn() {
        let mut table = Table::new().column("a", 2).optional("empty", 2).column("b", 2);
        table.row(vec!["1".into(), "".into(), "2".into()]);
        assert_eq!(table.render(&Style::default()), " a  b\n 1  2\n");
    }

    #[test]
    fn no_table_line_ends_with_a_blank_or_leaves_the_screen() {
        let mut table = Table::new().column("name", 2).column("text", 0);
        table.row(vec!["n".into(), "x".repeat(40).into()]);
        table.row(vec!["n".into()]);
        for line in table.render(&narrow()).lines() {
            assert_eq!(line, line.trim_end());
            assert!(columns(line) <= 20);
        }
    }
}
