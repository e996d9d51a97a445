//! The line editor's helper: completion of names, multi-line entries, colours.

use super::prompt;
use super::render::{Paint, Style};
use rustyline::completion::{Completer, Pair};
use rustyline::highlight::{CmdKind, Highlighter};
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{Context, Helper, Hinter};
use std::borrow::Cow;
use std::rc::Rc;

/// A name that can be completed, with a few words about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    pub name: String,
    pub about: String,
}

/// Everything the editor asks while a line is typed. Nothing here goes to the network.
#[derive(Helper, Hinter)]
pub struct LineHelper {
    pub names: Vec<Name>,
    /// Whether an entry needs another line.
    pub is_incomplete: Rc<dyn Fn(&str) -> bool>,
    pub style: Style,
}

impl LineHelper {
    fn candidates(&self, word: &str) -> Vec<Pair> {
        self.names
            .iter()
            .filter(|n| n.name.starts_with(word))
            .map(|n| Pair {
                display: match n.about.is_empty() {
                    true => n.name.clone(),
                    false => format!("{:<16} {}", n.name, n.about),
                },
                replacement: n.name.clone(),
            })
            .collect()
    }
}

impl Completer for LineHelper {
    type Candidate = Pair;

    fn complete(&self, line: &str, pos: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<Pair>)> {
        let start = word_start(line, pos);
        let word = &line[start..pos];
        if word.is_empty() || in_string(&line[..pos]) {
            return Ok((pos, Vec::new()));
        }
        Ok((start, self.candidates(word)))
    }
}

/// Where the name under the cursor begins; `fault::kill` is one name.
fn word_start(line: &str, pos: usize) -> usize {
    line[..pos]
        .rfind(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':'))
        .map_or(0, |at| at + line[at..].chars().next().map_or(1, char::len_utf8))
}

/// Whether the text ends inside a string literal.
fn in_string(text: &str) -> bool {
    let mut inside = false;
    let mut escaped = false;
    for c in text.chars() {
        match c {
            _ if escaped => escaped = false,
            '\\' if inside => escaped = true,
            '"' => inside = !inside,
            _ => {}
        }
    }
    inside
}

impl Validator for LineHelper {
    fn validate(&self, ctx: &mut ValidationContext) -> rustyline::Result<ValidationResult> {
        Ok(if (self.is_incomplete)(ctx.input()) { ValidationResult::Incomplete } else { ValidationResult::Valid(None) })
    }
}

impl Highlighter for LineHelper {
    fn highlight<'l>(&self, line: &'l str, _pos: usize) -> Cow<'l, str> {
        if self.style.color { Cow::Owned(self.colored(line)) } else { Cow::Borrowed(line) }
    }

    fn highlight_prompt<'b, 's: 'b, 'p: 'b>(&'s self, prompt: &'p str, _default: bool) -> Cow<'b, str> {
        Cow::Owned(prompt::painted(prompt, &self.style))
    }

    fn highlight_char(&self, _line: &str, _pos: usize, kind: CmdKind) -> bool {
        self.style.color && kind != CmdKind::MoveCursor
    }
}

impl LineHelper {
    /// Known names, strings and comments stand out; everything else stays as it is.
    fn colored(&self, line: &str) -> String {
        let mut out = String::new();
        for (kind, text) in tokens(line) {
            let paint = match kind {
                Token::Word if self.names.iter().any(|n| n.name == text) => Paint::Code,
                Token::Text => Paint::Good,
                Token::Comment => Paint::Dim,
                Token::Word | Token::Other => Paint::Plain,
            };
            out.push_str(&self.style.paint(paint, text));
        }
        out
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token {
    Word,
    Text,
    Comment,
    Other,
}

/// The line in pieces that together are the line.
fn tokens(line: &str) -> Vec<(Token, &str)> {
    let mut pieces = Vec::new();
    let mut rest = line;
    while let Some(first) = rest.chars().next() {
        let (kind, len) = if rest.starts_with("//") {
            (Token::Comment, rest.find('\n').unwrap_or(rest.len()))
        } else if first == '"' {
            (Token::Text, string_len(rest))
        } else if first.is_alphabetic() || first == '_' {
            let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':'));
            (Token::Word, end.unwrap_or(rest.len()))
        } else {
            (Token::Other, first.len_utf8())
        };
        pieces.push((kind, &rest[..len]));
        rest = &rest[len..];
    }
    pieces
}

/// Bytes of the string literal that `text` begins with, open or closed.
fn string_len(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn helper() -> LineHelper {
        let name = |name: &str| Name { name: name.into(), about: String::new() };
        LineHelper {
            names: vec![name("recover"), name("rebalance"), name("fault::kill")],
            is_incomplete: Rc::new(|text| text.ends_with('{')),
            style: Style { color: true, ..Style::default() },
        }
    }

    #[test]
    fn names_complete_from_what_was_typed() {
        let names = |word| -> Vec<String> {
            let found = helper().candidates(word);
            found.into_iter().map(|p| p.replacement).collect()
        };
        assert_eq!(names("re"), ["recover", "rebalance"]);
        assert_eq!(names("fault::"), ["fault::kill"]);
        assert!(names("x").is_empty());
    }

    #[test]
    fn a_word_begins_behind_what_is_no_name() {
        assert_eq!(word_start("let p = reco", 12), 8);
        assert_eq!(word_start("fault::k", 8), 0);
        assert_eq!(word_start("é(re", 5), 3);
    }

    #[test]
    fn nothing_is_completed_inside_a_string() {
        assert!(in_string("sql(\"sel"));
        assert!(!in_string("sql(\"a\\\"b\") + re"));
    }

    #[test]
    fn the_pieces_of_a_line_are_the_line() {
        for line in ["recover(#{ hosts: \"sdw2\" }) // now", "\"open \\", "é + \"ü\"", ""] {
            let joined: String = tokens(line).into_iter().map(|t| t.1).collect();
            assert_eq!(joined, line);
        }
    }
}
