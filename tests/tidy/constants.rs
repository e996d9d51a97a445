//! The documents' tables of constants, held against the constants in the code.
//!
//! A row is `` | `NAME` | `value` … | … | `src/path.rs` | ``: the first cell names the constant, the
//! second begins with its value, the last names its file. The value is computed from the constant's
//! expression, so `16 << 20` in the code is `16777216` in the document.

use crate::expect_none;
use crate::files;

struct Row {
    at: String,
    name: String,
    value: String,
    file: String,
}

fn quoted(cell: &str) -> Option<&str> {
    cell.trim().strip_prefix('`')?.split('`').next()
}

fn is_constant_name(name: &str) -> bool {
    name.len() > 1 && name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
}

fn rows(path: &str) -> Vec<Row> {
    let text = files::read(path);
    let row = |(i, line): (usize, &str)| {
        let cells: Vec<&str> = line.strip_prefix('|')?.trim_end().strip_suffix('|')?.split('|').collect();
        let name = quoted(cells.first()?).filter(|n| is_constant_name(n))?;
        let file = quoted(cells.last()?).filter(|f| f.starts_with("src/") && f.ends_with(".rs"))?;
        let value = quoted(cells.get(1)?)?;
        Some(Row { at: format!("{path}:{}", i + 1), name: name.into(), value: value.into(), file: file.into() })
    };
    text.lines().enumerate().filter_map(row).collect()
}

/// The expression of a constant in a file, with its type.
fn definition(file: &str, name: &str) -> Option<(String, String)> {
    let text = files::root().join(file).exists().then(|| files::read(file))?;
    let start = text.find(&format!("const {name}: "))? + "const : ".len() + name.len();
    let (kind, rest) = text[start..].split_once(" = ")?;
    let expression = rest.split(';').next().filter(|e| !e.contains('"')).map(str::to_owned).or_else(|| {
        // A literal may hold a semicolon; it ends with its closing quote.
        let quote = rest.find('"')?;
        let end = rest[quote + 1..].find('"')? + quote + 2;
        Some(rest[..end].to_owned())
    })?;
    Some((kind.to_owned(), expression.trim().to_owned()))
}

/// A constant's value as the documents write it.
fn value(file: &str, name: &str) -> Result<String, String> {
    let (_, expression) = definition(file, name).ok_or_else(|| format!("{file} has no constant {name}"))?;
    let inside = |prefix: &str| expression.strip_prefix(prefix).and_then(|e| e.strip_suffix(')'));
    if let Some(literal) = expression.trim_start_matches('*').trim_start_matches('b').strip_prefix('"') {
        return Ok(literal.trim_end_matches('"').to_owned());
    }
    if let Some(seconds) = inside("Duration::from_secs(") {
        return number(file, seconds).map(|n| format!("{n} s"));
    }
    if let Some(millis) = inside("Duration::from_millis(") {
        return number(file, millis).map(|n| format!("{n} ms"));
    }
    number(file, &expression).map(|n| n.to_string())
}

/// Evaluates whole-number expressions of `+`, `*`, `<<`, parentheses and other constants of the file.
fn number(file: &str, expression: &str) -> Result<u128, String> {
    let text = expression.trim().split(" as ").next().unwrap_or_default();
    for (symbol, apply) in [("<<", (|a, b| a << b) as fn(u128, u128) -> u128), ("+", |a, b| a + b), ("*", |a, b| a * b)]
    {
        if let Some(at) = split_at(text, symbol) {
            return Ok(apply(number(file, &text[..at])?, number(file, &text[at + symbol.len()..])?));
        }
    }
    if let Some(inner) = text.strip_prefix('(').and_then(|t| t.strip_suffix(')')) {
        return number(file, inner);
    }
    if let Some(of) = text.strip_suffix(".len()") {
        let literal = value(file, of)?;
        // `\x89` is one byte in four characters, `\n` one in two.
        let escaped =
            literal.matches("\\x").count() * 3 + literal.matches('\\').count() - literal.matches("\\x").count();
        return Ok((literal.len() - escaped) as u128);
    }
    let name = text.rsplit("::").next().unwrap_or(text);
    if is_constant_name(name) && !name.starts_with(|c: char| c.is_ascii_digit()) {
        let holder = if definition(file, name).is_some() { Some(file.to_owned()) } else { holder(name) };
        let holder = holder.ok_or_else(|| format!("constant {name} stands nowhere"))?;
        return value(&holder, name)?.parse().map_err(|_| format!("{name} is no number"));
    }
    let digits: String = text.chars().filter(|c| *c != '_').take_while(char::is_ascii_digit).collect();
    digits.parse().map_err(|_| format!("`{text}` is not understood"))
}

/// The file that defines a constant of another one.
fn holder(name: &str) -> Option<String> {
    files::under("src", ".rs").into_iter().find(|file| definition(file, name).is_some())
}

/// Where an operator stands outside of parentheses, the last one, as the left binds first.
fn split_at(text: &str, symbol: &str) -> Option<usize> {
    let mut depth = 0;
    let mut found = None;
    for (i, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ if depth == 0 && text[i..].starts_with(symbol) => found = Some(i),
            _ => {}
        }
    }
    found
}

#[test]
fn the_documents_constants_are_the_codes() {
    let documents = files::under("docs", ".md");
    let rows: Vec<Row> = documents.iter().flat_map(|path| rows(path)).collect();
    assert!(rows.len() > 10, "the tables of constants in docs/ were not recognized: {} rows", rows.len());
    let judge = |row: &Row| match value(&row.file, &row.name) {
        Ok(found) if found == row.value => None,
        Ok(found) => Some(format!("{}: {} is `{found}` in {}, not `{}`", row.at, row.name, row.file, row.value)),
        Err(why) => Some(format!("{}: {why}", row.at)),
    };
    expect_none("A constant in a document is the one in the code.", rows.iter().filter_map(judge).collect());
}

#[test]
fn expressions_are_computed() {
    for (expression, expected) in [("16 << 20", 16 << 20), ("(32 << 20) + (64 << 10)", 33_619_968), ("1 + 2 * 3", 7)] {
        assert_eq!(number("src/lib.rs", expression), Ok(expected), "{expression}");
    }
}
