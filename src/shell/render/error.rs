//! The error screen: what went wrong, where, what had already been changed, and what still runs.

use super::format::clock;
use super::layout::{Para, Table, columns, two_ended};
use super::refusal::Untouched;
use super::{Paint, Style, refusal};
use crate::cluster::Refusal;

/// A place in a script; lines and columns count from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// The script's name as it was given; `prompt` at the prompt, `-` for stdin.
    pub file: String,
    pub line: usize,
    pub column: usize,
}

impl std::fmt::Display for Position {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// One function of the script that was running.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    pub function: String,
    pub at: Option<Position>,
}

/// An operation that the script had begun before the error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    pub time_ms: i64,
    pub op: i64,
    pub verb: String,
    /// `content 0`, `contents 1, 2`.
    pub what: String,
    /// `done`, `partial`, ...
    pub status: String,
}

/// The code of a call that was refused.
const REFUSED: &str = "refused";

/// An error as data.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ErrorView {
    pub code: String,
    pub message: String,
    pub exit: i32,
    pub position: Option<Position>,
    /// The line of the script that `position` names.
    pub source_line: Option<String>,
    /// More about it, a line each: `options: contents dbids ...`.
    pub notes: Vec<String>,
    /// From the innermost call outwards.
    pub calls: Vec<Call>,
    /// What to type to read more: `help("recover")`; empty when there is nothing.
    pub more: String,
    /// The verb that was refused, when the error is a refusal and it is known.
    pub verb: String,
    /// The operation that ended so; a refusal has none.
    pub op: Option<i64>,
    /// The end of that operation has been shown already.
    pub shown: bool,
    pub refusals: Vec<Refusal>,
    /// The next step as it would be typed; empty when there is none.
    pub next: String,
    pub changed_before: Vec<Changed>,
    /// Something else was changed before the error, of which there is no list.
    pub changed_else: bool,
    /// Operations that still run at the coordinator.
    pub running: Vec<i64>,
    /// Whether a person typed the line just now: then there is no script to account for.
    pub at_prompt: bool,
}

impl ErrorView {
    /// Nothing was begun, for these reasons. An operation that ended partly has reasons too, and so has what a script
    /// makes of one.
    pub fn is_refusal(&self) -> bool {
        self.code == REFUSED && !self.refusals.is_empty() && self.op.is_none()
    }

    /// What a refusal may say of what was changed.
    fn untouched(&self) -> Untouched {
        match (self.changed_before.is_empty(), self.changed_else) {
            (true, false) => Untouched::All,
            (true, true) => Untouched::ByIt,
            (false, _) => Untouched::ByItAndBelow,
        }
    }
}

/// The whole screen.
pub fn render(error: &ErrorView, style: &Style) -> String {
    format!("{}{}", cause(error, style), account(error, style))
}

/// What went wrong and where, without the account of what was changed.
pub fn cause(error: &ErrorView, style: &Style) -> String {
    let mut text = if error.shown {
        String::new()
    } else if error.is_refusal() {
        refusal::render(&error.verb, &error.refusals, error.untouched(), style)
    } else {
        let reasons = refusal::reason_lines(&error.refusals, style);
        format!("{}{reasons}", headline(error, style))
    };
    // At the prompt a refusal needs no pointer: the line stands right above it.
    if let Some(position) = &error.position
        && !(error.at_prompt && error.is_refusal())
    {
        text.push_str(&pointer(position, error.source_line.as_deref(), style));
    }
    text.push_str(&notes(error, style));
    text
}

fn headline(error: &ErrorView, style: &Style) -> String {
    let lead = format!("error[{}]: ", error.code);
    let mut text = String::new();
    for (i, line) in error.message.lines().enumerate() {
        let para = if i == 0 { Para::new(&style.paint(Paint::Bad, &lead), 2) } else { Para::new("  ", 2) };
        text.push_str(&para.words(line).render(&wider(style, i == 0, &lead)));
    }
    if text.is_empty() {
        text = format!("{}\n", style.paint(Paint::Bad, lead.trim_end()));
    }
    text
}

/// The painted lead takes more characters than columns; the paragraph is allowed that many more.
fn wider(style: &Style, painted: bool, lead: &str) -> Style {
    let extra = if painted { columns(&style.paint(Paint::Bad, lead)) - columns(lead) } else { 0 };
    Style { width: style.width + extra, ..style.clone() }
}

/// The line of a script with the place in it marked.
pub(in crate::shell) fn pointer(at: &Position, source: Option<&str>, style: &Style) -> String {
    let mut text = format!("  --> {at}\n");
    let Some(source) = source else { return text };
    let number = at.line.to_string();
    let margin = " ".repeat(number.len().max(2));
    let (shown, column) = window(source, at.column, style.width.saturating_sub(margin.len() + 3));
    let caret = "^".repeat(caret_width(&shown, column));
    let caret = style.paint(Paint::Bad, &caret);
    text.push_str(&format!("{margin} |\n"));
    text.push_str(&format!("{number:>w$} | {shown}\n", w = margin.len()));
    text.push_str(&format!("{margin} | {}{caret}\n", " ".repeat(column - 1)));
    text
}

/// The part of a source line that fits, and the column of the error in it.
fn window(source: &str, column: usize, width: usize) -> (String, usize) {
    let chars: Vec<char> = source.trim_end().chars().map(|c| if c == '\t' { ' ' } else { c }).collect();
    let column = column.clamp(1, chars.len() + 1);
    if chars.len() <= width {
        return (chars.into_iter().collect(), column);
    }
    let start = column.saturating_sub(width / 2).min(chars.len() - width);
    let shown = chars[start..start + width].iter().collect();
    (shown, column - start)
}

/// The word under the caret is underlined whole.
fn caret_width(line: &str, column: usize) -> usize {
    let word = line.chars().skip(column - 1).take_while(|c| c.is_alphanumeric() || *c == '_').count();
    word.max(1)
}

fn notes(error: &ErrorView, style: &Style) -> String {
    let mut text = String::new();
    for note in &error.notes {
        text.push_str(&Para::new("   = ", 7).words(note).render(style));
    }
    let more = (!error.more.is_empty()).then(|| format!("more: {}", error.more));
    if let (true, Some(more)) = (error.calls.is_empty(), &more) {
        let para = Para::new("   = ", 7).unit(0, more, Paint::Code);
        text.push_str(&para.render(style));
    }
    for (i, call) in error.calls.iter().enumerate() {
        let at = call.at.as_ref().map(|p| format!(", {p}")).unwrap_or_default();
        let from = format!("called from: fn {}{at}", call.function);
        let mut para = Para::new("   = ", 7).unit(0, &from, Paint::Plain);
        if let (0, Some(more)) = (i, &more) {
            para = para.unit(6, more, Paint::Code);
        }
        text.push_str(&para.render(style));
    }
    // A next step that stands in the message, or right above, is not said again.
    let said = error.message.contains(&error.next) || error.more == error.next;
    if !error.is_refusal() && !error.shown && !error.next.is_empty() && !said {
        let para = Para::new("   = ", 7).unit(0, &format!("next: {}", error.next), Paint::Code);
        text.push_str(&para.render(style));
    }
    text
}

/// What a script had done, and what is left running.
fn account(error: &ErrorView, style: &Style) -> String {
    let running = match error.running.as_slice() {
        [] => "nothing".to_string(),
        ops => ops.iter().map(|op| format!("operation {op}")).collect::<Vec<_>>().join(", "),
    };
    let mut text = String::new();
    if !error.changed_before.is_empty() {
        text.push_str("changed before this error:\n");
        text.push_str(&changes(&error.changed_before, style));
    }
    if error.at_prompt {
        if !error.running.is_empty() {
            text.push_str(&format!("still running: {running}\n"));
        }
        return text;
    }
    let exit = format!("exit {}", error.exit);
    text.push_str(&two_ended(&format!("still running: {running}"), &exit, CHANGE_EDGE, style));
    text
}

/// Where the screen's right edge stands for `exit 1`.
const CHANGE_EDGE: usize = 78;

fn changes(list: &[Changed], style: &Style) -> String {
    let mut table = Table::new().column("", 2).column("", 2).column("", 2).column("", 3).column("", 0);
    for change in list {
        table.row(vec![
            clock(change.time_ms, style).into(),
            format!("operation {}", change.op).into(),
            change.verb.clone().into(),
            change.what.clone().into(),
            change.status.clone().into(),
        ]);
    }
    let text = table.render(style);
    // The table has no titles, so its first line is empty.
    text.split_once('\n').map_or(String::new(), |(_, rows)| rows.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shell::render::samples::{plain, script_error};

    #[test]
    fn an_error_in_a_script() {
        insta::assert_snapshot!(render(&script_error(), &plain()));
    }

    #[test]
    fn at_the_prompt_there_is_no_script_to_account_for() {
        let error = ErrorView { at_prompt: true, calls: vec![], changed_before: vec![], ..script_error() };
        let text = render(&error, &plain());
        assert!(!text.contains("exit") && !text.contains("changed before"), "{text}");
    }

    #[test]
    fn an_operation_that_ended_partly_is_no_refusal() {
        let refusals = crate::shell::render::samples::full_plan().refusals;
        let mut error = ErrorView {
            code: "partial".into(),
            message: "recover did not finish".into(),
            op: Some(118),
            exit: 5,
            refusals,
            ..script_error()
        };
        let text = render(&error, &plain());
        let begins = "error[partial]: recover did not finish\n source_damaged";
        assert!(text.starts_with(begins), "{text}");
        error.shown = true;
        let text = render(&error, &plain());
        assert!(text.starts_with("  --> site/nightly.rhai:14:13"), "{text}");
        (error.op, error.shown) = (None, false);
        let text = render(&error, &plain());
        assert!(text.starts_with(begins), "a script throws it again: {text}");
    }

    #[test]
    fn a_refusal_claims_no_more_than_that_it_changed_nothing() {
        let refusals = crate::shell::render::samples::full_plan().refusals;
        let begins = |error: &ErrorView, head: &str| {
            let text = render(error, &plain());
            assert!(text.starts_with(head), "{text}");
            text
        };
        let mut error = ErrorView { code: "refused".into(), refusals, ..script_error() };
        let text = begins(&error, "refused. It changed nothing; what was changed before it stands below. 2 reasons:");
        assert!(text.contains("changed before this error:"), "{text}");
        error.at_prompt = true;
        let text = begins(&error, "refused. It changed nothing; what was changed before it stands below. 2 reasons:");
        assert!(text.contains("changed before this error:") && text.contains("operation 116"), "{text}");
        error.changed_before.clear();
        begins(&error, "refused. Nothing was changed. 2 reasons:");
        error.changed_else = true;
        begins(&error, "refused. It changed nothing. 2 reasons:");
    }

    #[test]
    fn a_long_source_line_is_shown_around_its_error() {
        let error = ErrorView {
            position: Some(Position { file: "-".into(), line: 3, column: 150 }),
            source_line: Some(format!("{}wrong{}", "x ".repeat(74) + " ", " y".repeat(60))),
            ..script_error()
        };
        let text = render(&error, &plain());
        let caret = text.lines().find(|l| l.contains('^')).expect("a caret");
        let source = text.lines().find(|l| l.contains("wrong")).expect("the source");
        assert_eq!(source.find("wrong"), caret.find('^'));
        assert!(text.lines().all(|l| l.len() <= 80), "{text}");
    }

    #[test]
    fn a_position_outside_its_line_does_no_harm() {
        let error = ErrorView {
            position: Some(Position { file: "-".into(), line: 1, column: 99 }),
            source_line: Some(String::new()),
            ..script_error()
        };
        assert!(render(&error, &plain()).contains('^'));
    }
}
