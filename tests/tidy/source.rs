//! Just enough of Rust's grammar to read what a file imports: comments and literals are blanked,
//! test modules can be left out, and every path that begins in the crate is listed.

use std::collections::BTreeSet;

/// A path through the crate, and the line it stands on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Import {
    pub line: usize,
    /// `core::row::PairRow`: without the leading `crate::`.
    pub path: String,
}

/// The text with comments and the insides of literals blanked; lines and columns stay.
pub fn code(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let length = match chars[at] {
            '/' if chars.get(at + 1) == Some(&'/') => line_comment(&chars[at..]),
            '/' if chars.get(at + 1) == Some(&'*') => block_comment(&chars[at..]),
            '"' => quoted(&chars[at..]),
            'r' | 'b' | 'c' if !follows_word(&chars, at) => prefixed_literal(&chars[at..]),
            '\'' => char_literal(&chars[at..]),
            _ => 0,
        };
        if length == 0 {
            out.push(chars[at]);
            at += 1;
        } else {
            blank(&chars[at..at + length], &mut out);
            at += length;
        }
    }
    out
}

fn blank(chars: &[char], out: &mut String) {
    chars.iter().for_each(|c| out.push(if *c == '\n' { '\n' } else { ' ' }));
}

fn follows_word(chars: &[char], at: usize) -> bool {
    at > 0 && (chars[at - 1].is_alphanumeric() || chars[at - 1] == '_')
}

fn line_comment(chars: &[char]) -> usize {
    chars.iter().position(|c| *c == '\n').unwrap_or(chars.len())
}

fn block_comment(chars: &[char]) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < chars.len() {
        match (chars[at], chars.get(at + 1)) {
            ('/', Some('*')) => (depth, at) = (depth + 1, at + 2),
            ('*', Some('/')) => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    chars.len()
}

fn quoted(chars: &[char]) -> usize {
    let mut at = 1;
    while at < chars.len() {
        match chars[at] {
            '\\' => at += 2,
            '"' => return at + 1,
            _ => at += 1,
        }
    }
    chars.len()
}

/// `r"…"`, `r#"…"#`, `b"…"`, `br"…"`, `c"…"`, `b'x'`; 0 when a mere word begins here.
fn prefixed_literal(chars: &[char]) -> usize {
    let prefix = chars.iter().take_while(|c| matches!(c, 'r' | 'b' | 'c')).count();
    let raw = chars[..prefix].contains(&'r');
    let hashes = if raw { chars[prefix..].iter().take_while(|c| **c == '#').count() } else { 0 };
    let start = prefix + hashes;
    match chars.get(start) {
        Some('"') if raw => {
            let end: Vec<char> = std::iter::once('"').chain(std::iter::repeat_n('#', hashes)).collect();
            let body = &chars[start + 1..];
            let close = body.windows(end.len()).position(|w| w == end).unwrap_or(body.len() - end.len());
            start + 1 + close + end.len()
        }
        Some('"') => start + quoted(&chars[start..]),
        Some('\'') if hashes == 0 => match char_literal(&chars[start..]) {
            0 => 0,
            length => start + length,
        },
        _ => 0,
    }
}

/// `'x'`, `'\n'`, `'\u{1f}'`; 0 for a lifetime.
fn char_literal(chars: &[char]) -> usize {
    match (chars.get(1), chars.get(2)) {
        (Some('\\'), _) => chars.iter().skip(3).position(|c| *c == '\'').map_or(0, |n| n + 4),
        (Some(_), Some('\'')) => 3,
        _ => 0,
    }
}

/// Blanks every `#[cfg(test)] mod name { … }` of a text that went through [`code`].
pub fn without_test_modules(code: &str) -> String {
    let mut text = code.to_owned();
    while let Some(start) = text.find("#[cfg(test)]\nmod ") {
        let open = start + text[start..].find(['{', ';']).expect("a module has a body or a file");
        let end = if text.as_bytes()[open] == b';' { open + 1 } else { block_end(&text, open) };
        let mut blanked = String::new();
        blank(&text[start..end].chars().collect::<Vec<_>>(), &mut blanked);
        text.replace_range(start..end, &blanked);
    }
    text
}

fn block_end(text: &str, open: usize) -> usize {
    let mut depth = 0usize;
    for (i, byte) in text.bytes().enumerate().skip(open) {
        match byte {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return i + 1;
        }
    }
    text.len()
}

/// Every path that begins at the crate's root, however it is spelled; `module` is where the text
/// stands (`["engine", "link"]`), so that `super::super::core` is seen for what it is.
pub fn imports(code: &str, module: &[&str]) -> Vec<Import> {
    let mut found = BTreeSet::new();
    for root in ["crate", "segsh"] {
        for at in words(code, root).into_iter().filter(|at| code[*at..].starts_with(&format!("{root}::"))) {
            let line = line_of(code, at);
            for path in paths(&code[at + root.len() + 2..]) {
                found.insert(Import { line, path });
            }
        }
    }
    for at in words(code, "super") {
        let climbs = code[at..].split("::").take_while(|part| *part == "super").count();
        let first = !code[..at].ends_with("::");
        let depth = module.len() + inline_depth(code, at);
        if first && climbs >= depth {
            let rest = &code[at + climbs * "super::".len()..];
            found.extend(paths(rest).into_iter().map(|path| Import { line: line_of(code, at), path }));
        }
    }
    found.into_iter().collect()
}

/// Where a word stands, whole.
pub fn words(text: &str, word: &str) -> Vec<usize> {
    let is_part = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    text.match_indices(word)
        .map(|(at, _)| at)
        .filter(|at| !is_part(text[..*at].chars().next_back()) && !is_part(text[at + word.len()..].chars().next()))
        .collect()
}

pub fn line_of(text: &str, at: usize) -> usize {
    text[..at].matches('\n').count() + 1
}

/// How many inline modules (`mod tests { … }`) a place is inside of.
fn inline_depth(code: &str, at: usize) -> usize {
    let opens = |m: &usize| code[*m..].find(['{', ';']).map(|o| m + o).filter(|o| code.as_bytes()[*o] == b'{');
    words(&code[..at], "mod").iter().filter_map(opens).filter(|o| *o < at && block_end(code, *o) > at).count()
}

/// The paths of a use tree: `a::{b, c::d}` is `a::b` and `a::c::d`.
fn paths(tree: &str) -> Vec<String> {
    let stem_end = tree.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':')).unwrap_or(tree.len());
    let stem = tree[..stem_end].trim_end_matches(':');
    if !tree[stem_end..].starts_with('{') || !(stem_end == 0 || tree[..stem_end].ends_with("::")) {
        return vec![stem.to_owned()];
    }
    let inside = &tree[stem_end + 1..block_end(tree, stem_end) - 1];
    let prefix = if stem.is_empty() { String::new() } else { format!("{stem}::") };
    branches(inside).iter().flat_map(|b| paths(b)).map(|p| format!("{prefix}{p}")).collect()
}

/// The parts of a use tree between commas of its own level.
fn branches(inside: &str) -> Vec<String> {
    let (mut parts, mut depth) = (vec![String::new()], 0usize);
    for c in inside.chars() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if c == ',' && depth == 0 {
            parts.push(String::new());
        } else {
            parts.last_mut().expect("never empty").push(c);
        }
    }
    parts.iter().map(|p| p.trim().to_owned()).filter(|p| !p.is_empty()).collect()
}

#[test]
fn comments_and_literals_hide_what_they_say() {
    let text = "a // crate::x\nb \"crate::y\" r#\"\"crate::z\"# 'c' '\\'' b'\"' &'a str /* crate::w */ crate::core";
    let seen = code(text);
    assert_eq!(imports(&seen, &["m"]), [Import { line: 2, path: "core".into() }]);
    assert_eq!(seen.chars().count(), text.chars().count());
}

#[test]
fn every_branch_of_a_use_tree_is_a_path() {
    let found = imports("use crate::{core::{ids::Dbid, row}, engine};\n", &["m"]);
    let paths: Vec<&str> = found.iter().map(|i| i.path.as_str()).collect();
    assert_eq!(paths, ["core::ids::Dbid", "core::row", "engine"]);
}

#[test]
fn climbing_to_the_root_is_an_import_and_climbing_less_is_not() {
    let seen = |text, module: &[&str]| imports(text, module).into_iter().map(|i| i.path).collect::<Vec<_>>();
    assert_eq!(seen("use super::core::row;", &["engine"]), ["core::row"]);
    assert_eq!(seen("use super::super::core;", &["engine", "link"]), ["core"]);
    assert!(seen("use super::disk;", &["engine", "link"]).is_empty());
    assert!(seen("mod tests {\n    use super::*;\n}", &["engine"]).is_empty());
}

#[test]
fn a_test_module_is_left_out_and_nothing_else() {
    let text = "fn a() {}\n#[cfg(test)]\nmod tests {\n    fn b() { if x {} }\n}\nfn c() {}\n";
    let left = without_test_modules(text);
    assert!(left.contains("fn a") && left.contains("fn c") && !left.contains("fn b"), "{left}");
    assert_eq!(left.len(), text.len());
}
