//! The words of a script's text: what the compiler's tree no longer says, such as where a function is defined and how a
//! literal was written.

/// A word outside of strings and comments, with its line and column from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Word<'a> {
    pub text: &'a str,
    pub line: usize,
    pub col: usize,
}

/// Every word of a text, in order.
pub fn words(text: &str) -> Vec<Word<'_>> {
    let mut found = Vec::new();
    let (mut line, mut col) = (1, 1);
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let len = if first.is_alphanumeric() || first == '_' {
            let len = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
            found.push(Word { text: &rest[..len], line, col });
            len
        } else {
            skipped(rest, first)
        };
        for c in rest[..len].chars() {
            (line, col) = if c == '\n' { (line + 1, 1) } else { (line, col + 1) };
        }
        rest = &rest[len..];
    }
    found
}

/// The bytes of a comment, a string or a single other character. The text inside `${}` of a string is not looked into.
fn skipped(rest: &str, first: char) -> usize {
    if rest.starts_with("//") {
        return rest.find('\n').unwrap_or(rest.len());
    }
    if rest.starts_with("/*") {
        return rest.find("*/").map_or(rest.len(), |end| end + 2);
    }
    if first != '"' && first != '`' {
        return first.len_utf8();
    }
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' if first == '"' => escaped = true,
            c if c == first => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// Where `fn NAME` stands, for each time it does.
pub fn definitions(text: &str, name: &str) -> Vec<(usize, usize)> {
    let words = words(text);
    let pairs = words.windows(2).filter(|pair| pair[0].text == "fn" && pair[1].text == name);
    pairs.map(|pair| (pair[1].line, pair[1].col)).collect()
}

/// Whether the text declares a variable of this name.
pub fn declares(text: &str, name: &str) -> bool {
    words(text).windows(2).any(|pair| matches!(pair[0].text, "let" | "const") && pair[1].text == name)
}

/// The text from a line and a column on, both from 1.
pub fn rest_at(text: &str, line: usize, col: usize) -> Option<&str> {
    let start = text.split_inclusive('\n').take(line.checked_sub(1)?).map(str::len).sum::<usize>();
    let rest = text.get(start..)?;
    let skip = rest.char_indices().nth(col.checked_sub(1)?).map(|(at, _)| at)?;
    rest.get(skip..)
}

/// The line and column, both from 1, of a byte of the text.
pub fn place_of(text: &str, byte: usize) -> (usize, usize) {
    let before = text.get(..byte).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let col = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    (line, col)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_strings_and_comments_are_none() {
        let text = "let a = \"fn b\"; // fn c\n/* fn\nd */ fn e(x) { `fn ${f}` }";
        let texts: Vec<&str> = words(text).iter().map(|w| w.text).collect();
        assert_eq!(texts, ["let", "a", "fn", "e", "x"]);
        assert_eq!(definitions(text, "e"), [(3, 9)]);
        assert!(definitions(text, "c").is_empty());
        assert!(declares(text, "a") && !declares(text, "b"));
    }

    #[test]
    fn a_place_and_its_byte_are_one() {
        let text = "é = 1;\n  x";
        assert_eq!(rest_at(text, 2, 3), Some("x"));
        assert_eq!(rest_at(text, 1, 3), Some("= 1;\n  x"));
        assert_eq!(place_of(text, text.len() - 1), (2, 3));
        assert_eq!(rest_at(text, 9, 1), None);
    }
}
