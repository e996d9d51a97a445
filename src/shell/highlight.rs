//! The colours of a line being typed. They only repeat what the characters say.

use super::render::{Paint, Style};
use crate::script;

/// What a piece of a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token {
    Word,
    Number,
    Text,
    Comment,
    Open,
    Close,
    Other,
}

const KEYWORDS: [&str; 26] = [
    "as", "break", "catch", "const", "continue", "do", "else", "export", "false", "fn", "for", "global", "if",
    "import", "in", "let", "loop", "private", "return", "switch", "this", "throw", "true", "try", "until", "while",
];

/// Words of the prompt itself, which are written as calls too.
const LEAVING: [&str; 2] = ["exit", "quit"];

/// The line with its colours. The bracket at the cursor and the one it belongs to stand out, and so does
/// one that belongs to none, and the name of a function that nobody knows. `is_own` says whether a name is
/// the person's own.
pub fn colored(line: &str, cursor: usize, style: &Style, is_own: &dyn Fn(&str) -> bool) -> String {
    let pieces = tokens(line);
    let pair = pair_at(&pieces, cursor);
    let mut out = String::new();
    let mut at = 0;
    for (i, (kind, text)) in pieces.iter().enumerate() {
        let is_member = line[..at].trim_end().ends_with('.');
        let paint = match kind {
            _ if pair.is_some_and(|(a, b)| i == a || Some(i) == b) => {
                if pair.is_some_and(|(_, b)| b.is_some()) {
                    Paint::Strong
                } else {
                    Paint::Bad
                }
            }
            Token::Word if KEYWORDS.contains(text) => Paint::Strong,
            Token::Word if !is_member && is_function(text) => Paint::Code,
            Token::Word if !is_member && is_unknown_call(&pieces, i) && !is_own(text) => Paint::Bad,
            Token::Number => Paint::Warn,
            Token::Text => Paint::Good,
            Token::Comment => Paint::Dim,
            _ => Paint::Plain,
        };
        out.push_str(&style.paint(paint, text));
        at += text.len();
    }
    out
}

fn is_function(name: &str) -> bool {
    script::catalog().iter().any(|e| e.method_of.is_empty() && e.is_typed(name))
}

/// Whether a word is called and is nothing that could be: no function of the API or of the language, and no
/// name that the line itself gives a meaning, such as a parameter or a closure's variable. What an imported
/// module holds is not known here.
fn is_unknown_call(pieces: &[(Token, &str)], at: usize) -> bool {
    let name = pieces[at].1;
    if !matches!(pieces.get(at + 1), Some((Token::Open, "("))) || LEAVING.contains(&name) {
        return false;
    }
    if let Some((namespace, _)) = name.split_once("::") {
        return script::catalog().iter().any(|e| e.namespace == namespace);
    }
    if name.contains(':') {
        return false;
    }
    let is_called = |at: usize| matches!(pieces.get(at + 1), Some((Token::Open, "(")));
    let defines = |at: usize| pieces[..at].iter().rev().find(|(_, text)| !text.trim().is_empty());
    let is_meant = |(i, (kind, text)): (usize, &(Token, &str))| {
        *kind == Token::Word && *text == name && (!is_called(i) || defines(i).is_some_and(|(_, text)| *text == "fn"))
    };
    !pieces.iter().enumerate().any(is_meant) && !script::is_of_the_language(name)
}

/// The bracket under the cursor or before it, and its partner; `None` for the partner when a closing
/// bracket has none. An opening one without a partner is just not finished.
fn pair_at(pieces: &[(Token, &str)], cursor: usize) -> Option<(usize, Option<usize>)> {
    let mut at = 0;
    let mut found = None;
    for (i, (kind, text)) in pieces.iter().enumerate() {
        let is_bracket = matches!(kind, Token::Open | Token::Close);
        // Before the cursor comes first: that is the one just typed.
        if is_bracket && (at + text.len() == cursor || (at == cursor && found.is_none())) {
            found = Some(i);
        }
        at += text.len();
    }
    let found = found?;
    match partner(pieces, found) {
        None if pieces[found].0 == Token::Open => None,
        partner => Some((found, partner)),
    }
}

fn partner(pieces: &[(Token, &str)], of: usize) -> Option<usize> {
    let mut open: Vec<usize> = Vec::new();
    for (i, (kind, text)) in pieces.iter().enumerate() {
        match kind {
            Token::Open => open.push(i),
            Token::Close => {
                let begun = open.pop();
                if i == of || begun == Some(of) {
                    let other = if i == of { begun? } else { i };
                    let (a, b) = if i == of { (pieces[other].1, *text) } else { (pieces[of].1, *text) };
                    return is_pair(a, b).then_some(other);
                }
            }
            _ => {}
        }
    }
    None
}

fn is_pair(open: &str, close: &str) -> bool {
    matches!((open, close), ("(", ")") | ("[", "]") | ("{" | "#{", "}"))
}

/// The line in pieces that together are the line.
fn tokens(line: &str) -> Vec<(Token, &str)> {
    let mut pieces = Vec::new();
    let mut rest = line;
    while let Some(first) = rest.chars().next() {
        let (kind, len) = token(rest, first);
        pieces.push((kind, &rest[..len]));
        rest = &rest[len..];
    }
    pieces
}

fn token(rest: &str, first: char) -> (Token, usize) {
    let until = |end: fn(char) -> bool| rest.find(end).unwrap_or(rest.len());
    match first {
        '/' if rest.starts_with("//") => (Token::Comment, rest.find('\n').unwrap_or(rest.len())),
        '/' if rest.starts_with("/*") => (Token::Comment, rest.find("*/").map_or(rest.len(), |end| end + 2)),
        '"' | '`' => (Token::Text, string_len(rest, first)),
        '#' if rest.starts_with("#{") => (Token::Open, 2),
        '(' | '[' | '{' => (Token::Open, 1),
        ')' | ']' | '}' => (Token::Close, 1),
        '0'..='9' => (Token::Number, until(|c| !(c.is_ascii_alphanumeric() || c == '_'))),
        _ if first.is_alphabetic() || first == '_' => {
            (Token::Word, until(|c| !(c.is_alphanumeric() || c == '_' || c == ':')))
        }
        _ => (Token::Other, first.len_utf8()),
    }
}

/// Bytes of the string literal that `text` begins with, open or closed.
fn string_len(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return at + 1,
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pieces_of_a_line_are_the_line() {
        for line in
            ["recover(#{ hosts: \"sdw2\" }) // now", "\"open \\", "é + \"ü\"", "", "`a ${b}` /* c */ 1_000", "/* open"]
        {
            let joined: String = tokens(line).into_iter().map(|t| t.1).collect();
            assert_eq!(joined, line);
        }
    }

    #[test]
    fn each_kind_of_piece_has_its_colour_and_no_character_is_lost() {
        let style = Style { color: true, ..Style::default() };
        let painted = |line: &str| colored(line, 0, &style, &|_| false);
        assert!(painted("let x = 1").starts_with(&style.paint(Paint::Strong, "let")));
        assert!(painted("state()").starts_with(&style.paint(Paint::Code, "state")));
        assert!(painted("fault::kill(2)").starts_with(&style.paint(Paint::Code, "fault::kill")));
        assert!(painted("x.state").ends_with(".state"), "a field is no function");
        assert!(painted("`a`").contains(&style.paint(Paint::Good, "`a`")));
        assert!(painted("/* a */").contains(&style.paint(Paint::Dim, "/* a */")));
        assert_eq!(colored("recover(#{ a: 1 })", 3, &Style::default(), &|_| false), "recover(#{ a: 1 })");
    }

    #[test]
    fn a_function_that_nobody_knows_is_red_before_it_is_run() {
        let style = Style { color: true, ..Style::default() };
        let is_red = |line: &str, name: &str| {
            colored(line, line.len(), &style, &|own| own == "mine").contains(&style.paint(Paint::Bad, name))
        };
        for (line, name) in [
            ("recoverr()", "recoverr"),
            ("print(stat())", "stat"),
            ("fault::kil(2)", "fault::kil"),
            ("State(", "State"),
        ] {
            assert!(is_red(line, name), "{line}");
        }
        for (line, name) in [
            ("recover()", "recover"),
            ("recoverr", "recoverr"),
            ("mine(2)", "mine"),
            ("fn twice(x) { twice(x - 1) }", "twice"),
            ("let f = |x| x; f(2)", "f"),
            ("s.recoverr()", "recoverr"),
            ("print(type_of(abs(-1)))", "type_of"),
            ("abs(-1)", "abs"),
            ("p::run()", "p::run"),
            ("\"recoverr()\"", "recoverr"),
            ("if (x) { }", "if"),
            ("quit()", "quit"),
        ] {
            assert!(!is_red(line, name), "{line}");
        }
    }

    #[test]
    fn the_bracket_at_the_cursor_and_its_partner_stand_out() {
        let at = |line: &str, cursor: usize| pair_at(&tokens(line), cursor);
        assert_eq!(at("f(a[1])", 7), Some((6, Some(1))));
        assert_eq!(at("f(a[1])", 2), Some((1, Some(6))));
        assert_eq!(at("f(#{})", 5), Some((3, Some(2))));
        assert_eq!(at("f(", 2), None, "it is not finished yet");
        assert_eq!(at("f)", 2), Some((1, None)));
        assert_eq!(at("(]", 2), Some((1, None)));
        assert_eq!(at("\"(\"", 2), None, "a bracket in a text is none");
    }
}
