//! What a statement is to the session: a word about the transaction, a setting, or SQL for SQLite.

use super::lexer::{Token, tokens};

/// A statement's kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// Begins a transaction; `write` says that it is to write from the first (`BEGIN IMMEDIATE`).
    Begin {
        write: bool,
    },
    Commit,
    Rollback,
    Savepoint,
    Release,
    RollbackTo,
    Set {
        name: String,
        value: String,
    },
    Show(String),
    /// `RESET name`; `None` is all.
    Reset(Option<String>),
    DiscardAll,
    /// `DEALLOCATE name`; `None` is all.
    Deallocate(Option<String>),
    /// Accepted and without effect, answered with this tag.
    Ignored(&'static str),
    /// PostgreSQL has it and we do not.
    Unsupported(&'static str),
    Vacuum,
    /// For SQLite, with the command tag of its completion.
    Sql(Tag),
}

/// How a completed statement is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tag {
    /// Counts the rows it returned.
    Select,
    /// Counts the rows it changed.
    Insert,
    Update,
    Delete,
    /// Counts nothing.
    Plain(String),
}

impl Kind {
    /// May run in a failed transaction.
    pub fn ends_failed_transaction(&self) -> bool {
        matches!(self, Kind::Commit | Kind::Rollback | Kind::RollbackTo)
    }

    /// Begins, ends or divides a transaction, or can't be inside one.
    pub fn controls_transaction(&self) -> bool {
        matches!(
            self,
            Kind::Begin { .. }
                | Kind::Commit
                | Kind::Rollback
                | Kind::Savepoint
                | Kind::Release
                | Kind::RollbackTo
                | Kind::Vacuum
        )
    }
}

/// What `sql`, one statement, is.
pub fn classify(sql: &str) -> Kind {
    let words: Vec<Token<'_>> = tokens(sql).take(6).collect();
    let word = |n: usize, keyword: &str| words.get(n).is_some_and(|w| w.is(keyword));
    let Some(first) = words.first() else {
        return Kind::Ignored("");
    };
    match first.text.to_ascii_uppercase().as_str() {
        "BEGIN" => Kind::Begin { write: word(1, "immediate") || word(1, "exclusive") },
        "START" if word(1, "transaction") => Kind::Begin { write: false },
        "COMMIT" | "END" if word(1, "prepared") => Kind::Unsupported("two-phase commit"),
        "COMMIT" | "END" => Kind::Commit,
        "ABORT" => Kind::Rollback,
        "ROLLBACK" if words.iter().skip(1).take(2).any(|w| w.is("to")) => Kind::RollbackTo,
        "ROLLBACK" if word(1, "prepared") => Kind::Unsupported("two-phase commit"),
        "ROLLBACK" => Kind::Rollback,
        "SAVEPOINT" => Kind::Savepoint,
        "RELEASE" => Kind::Release,
        "SET" => set(sql),
        "SHOW" => Kind::Show(names(&words[1..])),
        "RESET" if word(1, "all") => Kind::Reset(None),
        "RESET" => Kind::Reset(Some(names(&words[1..]))),
        "DISCARD" => Kind::DiscardAll,
        "DEALLOCATE" => deallocate(&words),
        "VACUUM" if word(1, "into") => Kind::Unsupported("VACUUM INTO"),
        "VACUUM" => Kind::Vacuum,
        "LISTEN" | "NOTIFY" | "UNLISTEN" => Kind::Unsupported("LISTEN and NOTIFY"),
        "COPY" => Kind::Unsupported("COPY"),
        "PREPARE" | "EXECUTE" => Kind::Unsupported("PREPARE as a statement"),
        "DECLARE" | "FETCH" | "CLOSE" | "MOVE" => Kind::Unsupported("cursors"),
        "GRANT" | "REVOKE" => Kind::Unsupported("privileges"),
        "ATTACH" | "DETACH" => Kind::Unsupported("ATTACH"),
        _ => Kind::Sql(tag(sql, &words)),
    }
}

fn names(words: &[Token<'_>]) -> String {
    let names: Vec<_> = words.iter().take_while(|w| w.text != ";").filter_map(Token::name).collect();
    match names.iter().map(|n| n.to_ascii_lowercase()).collect::<Vec<_>>() {
        words if words == ["time", "zone"] => "timezone".to_owned(),
        words if words == ["transaction", "isolation", "level"] => "transaction_isolation".to_owned(),
        words => words.join("."),
    }
}

fn deallocate(words: &[Token<'_>]) -> Kind {
    let at = 1 + usize::from(words.get(1).is_some_and(|w| w.is("prepare")));
    match words.get(at) {
        Some(w) if w.is("all") => Kind::Deallocate(None),
        Some(w) => Kind::Deallocate(w.name()),
        None => Kind::Deallocate(None),
    }
}

fn set(sql: &str) -> Kind {
    let mut rest = tokens(sql).skip(1).peekable();
    if rest.peek().is_some_and(|w| w.is("session") || w.is("local")) {
        rest.next();
    }
    let Some(name) = rest.next() else {
        return Kind::Ignored("SET");
    };
    // The isolation is what it is: snapshots, and one writer.
    if name.is("transaction") || name.is("characteristics") || name.is("constraints") {
        return Kind::Ignored("SET");
    }
    let mut name = name.name().unwrap_or_default();
    if name.eq_ignore_ascii_case("time") && rest.peek().is_some_and(|w| w.is("zone")) {
        rest.next();
        name = "timezone".to_owned();
    } else {
        while rest.peek().is_some_and(|w| w.text == ".") {
            rest.next();
            name = format!("{name}.{}", rest.next().and_then(|w| w.name()).unwrap_or_default());
        }
        if rest.peek().is_some_and(|w| w.text == "=" || w.is("to")) {
            rest.next();
        }
    }
    let value: Vec<String> = rest
        .filter(|w| w.text != ";")
        .map(|w| match w.text.as_bytes() {
            [b'\'', .., b'\''] => w.text[1..w.text.len() - 1].replace("''", "'"),
            _ => w.text.to_owned(),
        })
        .collect();
    Kind::Set { name: name.to_ascii_lowercase(), value: value.concat() }
}

fn tag(sql: &str, words: &[Token<'_>]) -> Tag {
    let plain = |text: &str| Tag::Plain(text.to_owned());
    let Some(first) = words.first() else {
        return plain("");
    };
    match first.text.to_ascii_uppercase().as_str() {
        "SELECT" | "VALUES" | "(" => Tag::Select,
        "INSERT" | "REPLACE" => Tag::Insert,
        "UPDATE" => Tag::Update,
        "DELETE" => Tag::Delete,
        "WITH" => main_verb(sql),
        verb @ ("CREATE" | "DROP" | "ALTER") => {
            let object =
                words.iter().skip(1).find(|w| !["temp", "temporary", "unique", "virtual"].iter().any(|k| w.is(k)));
            let object = object.map_or("", |w| w.text).to_ascii_uppercase();
            Tag::Plain(format!("{verb} {object}"))
        }
        other => plain(other),
    }
}

/// The verb behind the common table expressions of a WITH.
fn main_verb(sql: &str) -> Tag {
    let mut depth = 0usize;
    for token in tokens(sql) {
        match token.text {
            "(" => depth += 1,
            ")" => depth = depth.saturating_sub(1),
            _ if depth > 0 => {}
            _ if token.is("select") || token.is("values") => return Tag::Select,
            _ if token.is("insert") || token.is("replace") => return Tag::Insert,
            _ if token.is("update") => return Tag::Update,
            _ if token.is("delete") => return Tag::Delete,
            _ => {}
        }
    }
    Tag::Select
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transaction_words_are_known_in_postgresql_s_spellings() {
        for (sql, kind) in [
            ("begin", Kind::Begin { write: false }),
            ("START TRANSACTION read only", Kind::Begin { write: false }),
            ("begin immediate", Kind::Begin { write: true }),
            ("END", Kind::Commit),
            ("commit work", Kind::Commit),
            ("abort", Kind::Rollback),
            ("rollback to savepoint a", Kind::RollbackTo),
            ("rollback to a", Kind::RollbackTo),
            ("/* x */ rollback", Kind::Rollback),
            ("deallocate all", Kind::Deallocate(None)),
            ("show Statement_Timeout", Kind::Show("statement_timeout".into())),
        ] {
            assert_eq!(classify(sql), kind, "{sql}");
        }
    }

    #[test]
    fn a_setting_s_name_and_value_are_found() {
        for (sql, name, value) in [
            ("set statement_timeout = '5s'", "statement_timeout", "5s"),
            ("SET SESSION Lock_Timeout TO 10", "lock_timeout", "10"),
            ("set time zone 'UTC'", "timezone", "UTC"),
            ("set search_path to a, b", "search_path", "a,b"),
            ("set my.own = 1", "my.own", "1"),
        ] {
            let expected = Kind::Set { name: name.to_owned(), value: value.to_owned() };
            assert_eq!(classify(sql), expected, "{sql}");
        }
    }

    #[test]
    fn the_tag_names_what_was_done() {
        for (sql, expected) in [
            ("with a as (select 1) insert into t select * from a", Tag::Insert),
            ("with a as (delete from t) select 1", Tag::Select),
            ("values (1)", Tag::Select),
            ("replace into t values (1)", Tag::Insert),
            ("create unique index i on t(a)", Tag::Plain("CREATE INDEX".into())),
            ("create temp table t(a)", Tag::Plain("CREATE TABLE".into())),
            ("explain select 1", Tag::Plain("EXPLAIN".into())),
        ] {
            assert_eq!(classify(sql), Kind::Sql(expected), "{sql}");
        }
    }
}
