//! As much of SQL's syntax as the protocol needs: where a statement ends, and which words it begins
//! with. SQLite parses the rest.

/// One token: a word, a number, a quoted thing, a variable, or a single character.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Token<'a> {
    pub text: &'a str,
    /// Byte offset in the statement.
    pub start: usize,
}

impl Token<'_> {
    /// Whether this is the keyword, in any case.
    pub fn is(&self, keyword: &str) -> bool {
        self.text.eq_ignore_ascii_case(keyword)
    }

    /// Whether this is an unquoted word.
    pub fn is_word(&self) -> bool {
        self.text.starts_with(|c: char| c.is_alphabetic() || c == '_')
    }

    /// The name an identifier means, without its quotes.
    pub fn name(&self) -> Option<String> {
        let inner = |quote: &str| self.text[1..self.text.len() - 1].replace(&quote.repeat(2), quote);
        match self.text.as_bytes() {
            [b'"', .., b'"'] => Some(inner("\"")),
            [b'`', .., b'`'] => Some(inner("`")),
            [b'[', .., b']'] => Some(self.text[1..self.text.len() - 1].to_owned()),
            _ => self.is_word().then(|| self.text.to_owned()),
        }
    }
}

/// Walks over the tokens, without comments and white space.
#[derive(Debug, Clone)]
pub struct Tokens<'a> {
    sql: &'a str,
    at: usize,
}

/// The tokens of `sql`.
pub fn tokens(sql: &str) -> Tokens<'_> {
    Tokens { sql, at: 0 }
}

fn is_word_part(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '$'
}

impl<'a> Tokens<'a> {
    fn skip_blank(&mut self) {
        loop {
            let rest = &self.sql[self.at..];
            let skipped = if rest.starts_with("--") {
                rest.find('\n').map_or(rest.len(), |n| n + 1)
            } else if rest.starts_with("/*") {
                rest.find("*/").map_or(rest.len(), |n| n + 2)
            } else {
                rest.len() - rest.trim_start().len()
            };
            if skipped == 0 {
                return;
            }
            self.at += skipped;
        }
    }

    /// The length of a quoted thing that starts here; doubling the quote escapes it.
    fn quoted(rest: &str, close: char) -> usize {
        let mut from = 1;
        while let Some(n) = rest[from..].find(close) {
            let end = from + n + close.len_utf8();
            if close == ']' || !rest[end..].starts_with(close) {
                return end;
            }
            from = end + close.len_utf8();
        }
        rest.len()
    }

    fn run(rest: &str, part: impl Fn(char) -> bool) -> usize {
        rest.find(|c| !part(c)).unwrap_or(rest.len())
    }

    fn length(rest: &str, first: char) -> usize {
        match first {
            '\'' | '"' | '`' => Self::quoted(rest, first),
            '[' => Self::quoted(rest, ']'),
            // A variable; SQLite takes `$1::int8` as one, which serves as a type hint.
            '$' | '?' | ':' | '@' => {
                let name = Self::run(&rest[1..], is_word_part) + 1;
                let hint = &rest[name..];
                if first == '$' && hint.starts_with("::") {
                    name + 2 + Self::run(&hint[2..], is_word_part)
                } else {
                    name
                }
            }
            c if c.is_alphabetic() || c == '_' => Self::run(rest, is_word_part),
            c if c.is_ascii_digit() => Self::run(rest, |c| c.is_alphanumeric() || c == '.'),
            c => c.len_utf8(),
        }
    }
}

impl<'a> Iterator for Tokens<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        self.skip_blank();
        let rest = &self.sql[self.at..];
        let first = rest.chars().next()?;
        let token = Token { text: &rest[..Self::length(rest, first)], start: self.at };
        self.at += token.text.len();
        Some(token)
    }
}

/// Splits a batch into its statements; empty ones are left out. A trigger's body keeps its
/// semicolons: it ends with `; END ;`.
pub fn split(batch: &str) -> Vec<&str> {
    let mut statements = Vec::new();
    let mut start = 0;
    let mut words: Vec<Token<'_>> = Vec::new();
    let mut previous = ["", ""];
    for token in tokens(batch) {
        if token.text == ";" {
            let trigger = is_trigger(&words);
            let body_ended = previous[0] == ";" && previous[1].eq_ignore_ascii_case("end");
            if !trigger || body_ended {
                push(&mut statements, &batch[start..token.start], words.is_empty());
                start = token.start + 1;
                words.clear();
                previous = ["", ""];
                continue;
            }
        }
        if words.len() < 4 {
            words.push(token);
        }
        previous = [previous[1], token.text];
    }
    push(&mut statements, &batch[start..], words.is_empty());
    statements
}

fn push<'a>(statements: &mut Vec<&'a str>, text: &'a str, empty: bool) {
    if !empty {
        statements.push(text.trim());
    }
}

fn is_trigger(words: &[Token<'_>]) -> bool {
    words.first().is_some_and(|w| w.is("create")) && words.iter().skip(1).take(2).any(|w| w.is("trigger"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn semicolons_in_quotes_and_comments_do_not_split() {
        assert_eq!(
            split("select ';', \";\" -- ;\n; /* ; */ select 2;; "),
            ["select ';', \";\" -- ;", "/* ; */ select 2"]
        );
        assert!(split(" ; -- nothing\n;").is_empty());
    }

    #[test]
    fn a_trigger_keeps_its_body() {
        let trigger = "create temp trigger t after insert on a begin \
                       select case when 1 then 2 end; delete from b; end";
        assert_eq!(split(&format!("{trigger}; select 1")), [trigger, "select 1"]);
    }

    #[test]
    fn a_doubled_quote_does_not_end_a_string() {
        let found: Vec<_> = tokens("select 'it''s', \"a\"\"b\", [c d], $1::int8 = x'00'").map(|t| t.text).collect();
        assert_eq!(found, ["select", "'it''s'", ",", "\"a\"\"b\"", ",", "[c d]", ",", "$1::int8", "=", "x", "'00'"]);
        assert_eq!(tokens("\"a\"\"b\"").next().unwrap().name().unwrap(), "a\"b");
    }

    #[test]
    fn an_unterminated_quote_or_comment_ends_with_the_text() {
        for text in ["select 'a", "select /* a", "select \"", "-- a"] {
            let _ = split(text);
        }
    }
}
