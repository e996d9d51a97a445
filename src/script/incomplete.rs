//! Whether a text at the prompt goes on in the next line.
//!
//! Rhai has no API for this. What a cut-short text has in common is that the parser fails *at its
//! end*, whatever it then says it missed: a `switch` cut short reports a missing `)`.

use rhai::{Engine, LexError, ParseErrorType, Position};

/// True when more lines could make the text whole.
pub fn is_incomplete(text: &str) -> bool {
    if has_open_comment(text) {
        return true;
    }
    // A bare engine: a strict one would stop at the first variable of the line before.
    let Err(error) = Engine::new_raw().compile(text) else { return false };
    match error.err_type() {
        ParseErrorType::UnexpectedEOF => true,
        ParseErrorType::BadInput(LexError::UnterminatedString) => {
            // Only a backtick string may span lines.
            text.matches('`').count() % 2 == 1
        }
        ParseErrorType::MissingToken(..)
        | ParseErrorType::MissingSymbol(..)
        | ParseErrorType::PropertyExpected
        | ParseErrorType::VariableExpected
        | ParseErrorType::ExprExpected(..)
        | ParseErrorType::FnMissingBody(..)
        | ParseErrorType::FnMissingName
        | ParseErrorType::FnMissingParams(..) => is_at_end(error.position(), text),
        _ => false,
    }
}

fn is_at_end(at: Position, text: &str) -> bool {
    let Some(line) = at.line() else { return true };
    let trimmed = text.trim_end();
    let last_line = trimmed.lines().count().max(1);
    let last_column = trimmed.lines().last().unwrap_or_default().chars().count();
    line > last_line || (line == last_line && at.position().unwrap_or(0) > last_column)
}

/// An open `/*` compiles without an error, so it is looked for by itself, outside of strings.
fn has_open_comment(text: &str) -> bool {
    let mut depth = 0_usize;
    let mut quote: Option<char> = None;
    let mut characters = text.chars().peekable();
    while let Some(c) = characters.next() {
        match (quote, c) {
            (Some(_), '\\') => {
                characters.next();
            }
            (Some(q), _) if q == c => quote = None,
            (Some(_), _) => {}
            (None, '/') if characters.peek() == Some(&'*') => {
                characters.next();
                depth += 1;
            }
            (None, '*') if depth > 0 && characters.peek() == Some(&'/') => {
                characters.next();
                depth -= 1;
            }
            (None, '/') if depth == 0 && characters.peek() == Some(&'/') => {
                for skipped in characters.by_ref() {
                    if skipped == '\n' {
                        break;
                    }
                }
            }
            (None, '"' | '`' | '\'') if depth == 0 => quote = Some(c),
            _ => {}
        }
    }
    depth > 0
}
