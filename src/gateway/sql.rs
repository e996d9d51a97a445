//! What a loss of the segment means for a piece of SQL text: pure, by leading keyword.
//!
//! The text is split as SQLite splits it, because SQLite runs it: comments do not nest, and the body
//! of a trigger belongs to its statement. Whatever is not known counts as a write, so that a doubt
//! never becomes the promise that nothing was committed.

/// What a statement can do to a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// BEGIN, START TRANSACTION.
    Begin,
    /// COMMIT, END.
    Commit,
    /// ROLLBACK, ABORT: the whole transaction.
    Rollback,
    /// ROLLBACK TO a savepoint.
    RollbackTo,
    /// SAVEPOINT. Outside a transaction SQLite begins one with it.
    Savepoint,
    /// RELEASE. The outermost one may commit.
    Release,
    /// A statement that cannot change data.
    Read,
    /// SET, RESET and their like: the session changes, data does not.
    Session,
    /// Everything else.
    Write,
}

/// One statement of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Statement<'a> {
    /// The statement itself, without its semicolon.
    pub text: &'a [u8],
    /// What comes after its semicolon.
    pub rest: &'a [u8],
    /// What it can do.
    pub kind: Kind,
}

/// The transaction as the client knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// No transaction.
    Idle,
    /// In a transaction.
    Open,
    /// In a transaction that has failed.
    Failed,
}

/// What a loss means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// It is certain that nothing of this was committed.
    pub certain: bool,
    /// The client believes itself in a transaction afterwards.
    pub in_transaction: bool,
}

/// Judges statements that were sent and whose segment was lost before the answer was whole.
pub fn verdict(before: Standing, kinds: impl IntoIterator<Item = Kind>) -> Verdict {
    let mut standing = before;
    let mut certain = true;
    for kind in kinds {
        standing = match (standing, kind) {
            (Standing::Open, Kind::Commit) => {
                certain = false;
                Standing::Idle
            }
            (_, Kind::Commit | Kind::Rollback) => Standing::Idle,
            (Standing::Idle, Kind::Begin | Kind::Savepoint) => Standing::Open,
            (Standing::Idle, Kind::Write) => {
                certain = false;
                Standing::Idle
            }
            (Standing::Open, Kind::Release) => {
                certain = false;
                Standing::Open
            }
            (unchanged, _) => unchanged,
        };
    }
    Verdict { certain, in_transaction: standing != Standing::Idle }
}

/// The statements of a text, the empty ones left out.
pub fn statements(text: &[u8]) -> Statements<'_> {
    Statements { rest: text }
}

/// The kinds of a text's statements.
pub fn kinds(text: &[u8]) -> impl Iterator<Item = Kind> {
    statements(text).map(|s| s.kind)
}

/// See [`statements`].
#[derive(Debug, Clone)]
pub struct Statements<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Statements<'a> {
    type Item = Statement<'a>;

    fn next(&mut self) -> Option<Statement<'a>> {
        while !self.rest.is_empty() {
            let (statement, words) = take_statement(self.rest);
            self.rest = statement.rest;
            if words > 0 {
                return Some(statement);
            }
        }
        None
    }
}

/// The first word of a statement and the second, in upper case, for the effects that a session keeps.
pub fn leading_words(statement: &[u8]) -> (String, String) {
    let mut words = Tokens::new(statement).filter_map(|t| match t {
        Token::Word(w) => Some(String::from_utf8_lossy(w).to_ascii_uppercase()),
        _ => None,
    });
    (words.next().unwrap_or_default(), words.next().unwrap_or_default())
}

fn take_statement(text: &[u8]) -> (Statement<'_>, usize) {
    let mut seen = Seen::default();
    let mut tokens = Tokens::new(text);
    let mut end = text.len();
    let mut rest = &text[text.len()..];
    while let Some(token) = tokens.next() {
        if token == Token::Semicolon && seen.ends_here() {
            end = tokens.at - 1;
            rest = &text[tokens.at..];
            break;
        }
        seen.add(token);
    }
    let statement = Statement { text: &text[..end], rest, kind: seen.kind() };
    (statement, seen.tokens)
}

/// What has been seen of one statement.
#[derive(Debug, Default)]
struct Seen<'a> {
    tokens: usize,
    words: [&'a [u8]; 4],
    word_count: usize,
    writes: bool,
    analyze: bool,
    to: bool,
    into: bool,
    trigger: bool,
    last: Option<Token<'a>>,
    before_last: Option<Token<'a>>,
}

impl<'a> Seen<'a> {
    fn add(&mut self, token: Token<'a>) {
        self.tokens += 1;
        if let Token::Word(word) = token {
            self.add_word(word);
        }
        self.before_last = self.last.replace(token);
    }

    fn add_word(&mut self, word: &'a [u8]) {
        if let Some(slot) = self.words.get_mut(self.word_count) {
            *slot = word;
            self.word_count += 1;
            self.trigger |= self.word_count > 1 && is(word, "TRIGGER") && self.first_is("CREATE");
        }
        self.writes |= ["INSERT", "UPDATE", "DELETE", "REPLACE", "MERGE"].iter().any(|w| is(word, w));
        self.analyze |= is(word, "ANALYZE") || is(word, "ANALYSE");
        self.to |= is(word, "TO");
        self.into |= is(word, "INTO");
    }

    /// A semicolon inside a trigger's body ends one of its statements; `; END ;` ends the trigger.
    fn ends_here(&self) -> bool {
        !self.trigger
            || (matches!(self.last, Some(Token::Word(w)) if is(w, "END")) && self.before_last == Some(Token::Semicolon))
    }

    fn first_is(&self, word: &str) -> bool {
        is(self.words[0], word)
    }

    fn kind(&self) -> Kind {
        // Parentheses before the first word do not count; a statement without a word is a write.
        let first = String::from_utf8_lossy(self.words[0]).to_ascii_uppercase();
        match first.as_str() {
            "BEGIN" => Kind::Begin,
            "START" if is(self.words[1], "TRANSACTION") => Kind::Begin,
            "COMMIT" | "ROLLBACK" if is(self.words[1], "PREPARED") => Kind::Write,
            "COMMIT" | "END" => Kind::Commit,
            "ROLLBACK" | "ABORT" if self.to => Kind::RollbackTo,
            "ROLLBACK" | "ABORT" => Kind::Rollback,
            "SAVEPOINT" => Kind::Savepoint,
            "RELEASE" => Kind::Release,
            "SELECT" if !self.into => Kind::Read,
            "VALUES" | "TABLE" | "SHOW" => Kind::Read,
            "WITH" if !self.writes && !self.into => Kind::Read,
            "EXPLAIN" if !self.analyze => Kind::Read,
            "SET" | "RESET" | "DISCARD" | "DEALLOCATE" => Kind::Session,
            _ => Kind::Write,
        }
    }
}

fn is(word: &[u8], keyword: &str) -> bool {
    word.eq_ignore_ascii_case(keyword.as_bytes())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token<'a> {
    Word(&'a [u8]),
    Semicolon,
    Other,
}

#[derive(Debug, Clone)]
struct Tokens<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Tokens<'a> {
    fn new(text: &'a [u8]) -> Tokens<'a> {
        Tokens { text, at: 0 }
    }

    fn peek(&self, ahead: usize) -> u8 {
        self.text.get(self.at + ahead).copied().unwrap_or(0)
    }

    fn skip_blanks(&mut self) {
        loop {
            match self.peek(0) {
                b' ' | b'\t' | b'\n' | b'\r' | 0x0c if self.at < self.text.len() => self.at += 1,
                b'-' if self.peek(1) == b'-' => self.skip_past(2, b"\n"),
                b'/' if self.peek(1) == b'*' => self.skip_past(2, b"*/"),
                _ => return,
            }
        }
    }

    fn skip_past(&mut self, from: usize, end: &[u8]) {
        let start = self.at + from;
        let found = self.text[start..].windows(end.len()).position(|w| w == end);
        self.at = found.map_or(self.text.len(), |n| start + n + end.len());
    }

    fn word(&mut self) -> Token<'a> {
        let start = self.at;
        let length = self.text[start..]
            .iter()
            .take_while(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'$' | 0x80..))
            .count();
        self.at += length;
        Token::Word(&self.text[start..self.at])
    }
}

impl<'a> Iterator for Tokens<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        self.skip_blanks();
        let byte = *self.text.get(self.at)?;
        Some(match byte {
            b';' => {
                self.at += 1;
                Token::Semicolon
            }
            // A doubled quote inside is two quoted texts side by side, which ends at the same place.
            b'\'' | b'"' | b'`' => {
                self.skip_past(1, &[byte]);
                Token::Other
            }
            b'[' => {
                self.skip_past(1, b"]");
                Token::Other
            }
            b'_' | b'a'..=b'z' | b'A'..=b'Z' | 0x80.. => self.word(),
            // A number is taken whole, so that its exponent is no word.
            b'0'..=b'9' => {
                self.word();
                Token::Other
            }
            _ => {
                self.at += 1;
                Token::Other
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_statement_is_what_its_leading_keyword_says() {
        let table = [
            ("begin", Kind::Begin),
            ("  BEGIN immediate", Kind::Begin),
            ("start transaction read only", Kind::Begin),
            ("commit", Kind::Commit),
            ("END transaction", Kind::Commit),
            ("rollback", Kind::Rollback),
            ("abort", Kind::Rollback),
            ("rollback to savepoint a", Kind::RollbackTo),
            ("rollback transaction to a", Kind::RollbackTo),
            ("savepoint a", Kind::Savepoint),
            ("release a", Kind::Release),
            ("select 1", Kind::Read),
            ("-- commit\nselect 'x;y'", Kind::Read),
            ("/* a /* b */ select 1", Kind::Read),
            ("select * into t from u", Kind::Write),
            ("values (1)", Kind::Read),
            ("show all", Kind::Read),
            ("explain query plan delete from t", Kind::Read),
            ("explain analyze delete from t", Kind::Write),
            ("with a as (select 1) select * from a", Kind::Read),
            ("with a as (select 'insert') select * from a", Kind::Read),
            ("with a as (select 1) insert into t select * from a", Kind::Write),
            ("with a as (select 1) delete from t", Kind::Write),
            ("(select 1)", Kind::Read),
            ("pragma user_version = 3", Kind::Write),
            ("set statement_timeout = 5", Kind::Session),
            ("insert into t values ('select')", Kind::Write),
            ("vacuum", Kind::Write),
            ("copy t from stdin", Kind::Write),
            ("prepare transaction 'a'", Kind::Write),
            ("rollback prepared 'a'", Kind::Write),
            ("'commit'", Kind::Write),
            ("\u{e9}t\u{e9}", Kind::Write),
        ];
        for (text, kind) in table {
            let found: Vec<Kind> = kinds(text.as_bytes()).collect();
            assert_eq!(found, [kind], "{text}");
        }
    }

    #[test]
    fn a_text_is_split_as_sqlite_splits_it() {
        let table: [(&str, &[Kind]); 9] = [
            ("", &[]),
            (" ; -- nothing\n; /* nor here */", &[]),
            ("select ';'; commit", &[Kind::Read, Kind::Commit]),
            ("select 'it''s;'; end", &[Kind::Read, Kind::Commit]),
            ("select \"a;\", [b;], `c;`; end", &[Kind::Read, Kind::Commit]),
            ("begin; insert into t values (1); commit;", &[Kind::Begin, Kind::Write, Kind::Commit]),
            (
                "create temp trigger r after insert on t begin select case when 1 then 2 end; delete from u; end; commit",
                &[Kind::Write, Kind::Commit],
            ),
            ("select /* ; */ 1 -- ;\n; select 2", &[Kind::Read, Kind::Read]),
            ("select 'never closed; commit", &[Kind::Read]),
        ];
        for (text, expected) in table {
            let found: Vec<Kind> = kinds(text.as_bytes()).collect();
            assert_eq!(found, expected, "{text}");
        }
    }

    #[test]
    fn what_follows_a_statement_is_handed_back_untouched() {
        let first = statements(b"rollback ; select 1;").next().unwrap();
        assert_eq!((first.text, first.rest), (&b"rollback "[..], &b" select 1;"[..]));
    }

    #[test]
    fn a_loss_is_certain_only_where_nothing_can_have_been_committed() {
        use Standing::{Failed, Idle, Open};
        let table = [
            (Idle, "select 1", true, false),
            (Idle, "select 1; show x", true, false),
            (Idle, "insert into t values (1)", false, false),
            (Idle, "select 1; insert into t values (1)", false, false),
            (Idle, "begin", true, true),
            (Idle, "begin; insert into t values (1)", true, true),
            (Idle, "begin; insert into t values (1); commit", false, false),
            (Idle, "begin; insert into t values (1); rollback", true, false),
            (Idle, "commit", true, false),
            (Idle, "savepoint a; delete from t; release a", false, true),
            (Open, "insert into t values (1)", true, true),
            (Open, "commit", false, false),
            (Open, "insert into t values (1); end", false, false),
            (Open, "rollback", true, false),
            (Open, "rollback; delete from t", false, false),
            (Open, "rollback to a", true, true),
            (Open, "commit; begin; select 1", false, true),
            (Failed, "commit", true, false),
            (Failed, "insert into t values (1)", true, true),
            (Failed, "rollback; delete from t", false, false),
        ];
        for (before, text, certain, in_transaction) in table {
            let found = verdict(before, kinds(text.as_bytes()));
            assert_eq!(found, Verdict { certain, in_transaction }, "{before:?}: {text}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_can_be_classified(text in proptest::collection::vec(any::<u8>(), 0..200)) {
            for statement in statements(&text) {
                prop_assert!(statement.text.len() + statement.rest.len() <= text.len());
            }
        }

        #[test]
        fn a_commit_after_any_quoted_text_is_found(quoted in "[a-z;'\" -]{0,20}") {
            let text = format!("select '{}'; commit", quoted.replace('\'', "''"));
            prop_assert_eq!(kinds(text.as_bytes()).collect::<Vec<_>>(), vec![Kind::Read, Kind::Commit]);
        }
    }
}
