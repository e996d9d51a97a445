//! First words: what a person types before knowing that the prompt speaks Rhai.
//!
//! Each is answered in the way it was meant: what only reads is done, what changes the cluster is
//! explained, and what belongs to another tool is said in the words of this one.

use super::commands::{self, Command};
use super::render::layout::Para;
use super::render::{Paint, Style};
use crate::gp::Utility;
use crate::script::{self, Entry as Function, Kind};

/// What a line asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    Nothing,
    Leave,
    /// Rhai.
    Evaluate(String),
    /// A bare mutating name: what the call would do, by this plan.
    Explain {
        verb: &'static str,
        plan: String,
    },
    /// Nothing that can be evaluated; this says what to write instead.
    Say(String),
    /// A line that begins with a colon.
    Command(Command),
}

/// What [`Entry::Say`] holds, on a screen: sentences wrap, and what can be typed does not.
pub fn said(text: &str, style: &Style) -> String {
    let line = |line: &str| match line.strip_prefix("next: ") {
        Some(steps) => {
            let units = steps.split("     ").enumerate();
            let para = Para::new("next: ", 6);
            units.fold(para, |para, (i, step)| para.unit(if i == 0 { 0 } else { 5 }, step, Paint::Code)).render(style)
        }
        None if line.starts_with(':') => format!("{line}\n"),
        None => Para::new("", 2).words(line).render(style),
    };
    text.lines().map(line).collect()
}

/// The words of SQL that begin a statement.
const SQL: [&str; 11] =
    ["select", "insert", "update", "delete", "create", "drop", "alter", "begin", "commit", "explain", "truncate"];

/// The utilities of the Greenplum family, and what does their work here.
const UTILITIES: &[(&str, &str)] = &[
    ("gpinitsystem", "segsh init DIR, at the system's own prompt"),
    ("gpconfig", "setting(\"NAME\", \"VALUE\")"),
    ("gpfts", "probe()"),
    ("psql", "sql(\"select ...\"), or psql itself at the system's own prompt"),
];

/// psql's own commands, and what answers them here.
const BACKSLASHES: &[(&str, &str)] = &[
    ("\\d", "sql(0, \"select name from sqlite_schema where type = 'table'\")"),
    ("\\l", "sql(\"select * from gp_segment_configuration\")"),
    ("\\c", "sql(2, \"select ...\") asks content 2; without a number it is the catalog"),
    ("\\x", ":vertical"),
    ("\\timing", ":timing"),
    ("\\watch", ":watch 2s state()"),
    ("\\i", "import \"FILE\" as name; at the system's own prompt: segsh FILE.rhai"),
];

/// Names that other tools give to the lists of targets.
const TARGETS: &[(&str, &str)] = &[
    ("only", "contents"),
    ("content", "contents"),
    ("dbid", "dbids"),
    ("segments", "dbids"),
    ("segment", "dbids"),
    ("host", "hosts"),
];

/// What the line asks for. `is_own` says whether a name is the person's own, which comes before every
/// other meaning.
pub fn entry(line: &str, is_own: &dyn Fn(&str) -> bool) -> Entry {
    let text = line.trim();
    let word = text.trim_end_matches(';').trim_end();
    if text.is_empty() {
        return Entry::Nothing;
    }
    if let Some(topic) = text.strip_prefix('?') {
        return Entry::Evaluate(help_call(topic));
    }
    if let Some(command) = text.strip_prefix(':') {
        return match commands::read(command) {
            Ok(Command::Leave) => Entry::Leave,
            Ok(command) => Entry::Command(command),
            Err(what_to_write) => Entry::Say(what_to_write),
        };
    }
    if text.starts_with('\\') {
        return backslash(word);
    }
    // What was typed to end an entry is no part of it.
    let line = line.trim_end();
    let (first, rest) = word.split_once(char::is_whitespace).unwrap_or((word, ""));
    let rest = rest.trim();
    match first {
        "help" if rest.is_empty() || is_topic(rest) => return Entry::Evaluate(help_call(rest)),
        _ if is_own(first) => return Entry::Evaluate(line.to_string()),
        "quit" | "exit" | "quit()" | "exit()" | "bye" if rest.is_empty() => return Entry::Leave,
        _ => {}
    }
    if let Some(call) = utility_line(first, rest) {
        return Entry::Evaluate(call);
    }
    let other = match rest {
        "" => bare_name(word),
        _ => statement(first, rest, word),
    };
    let other = other.or_else(|| utility(word)).or_else(|| named_arguments(word));
    other.unwrap_or_else(|| Entry::Evaluate(line.to_string()))
}

/// `help recover` is a question; `help == 3` is Rhai that says what is wrong with it.
fn is_topic(text: &str) -> bool {
    text.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | ':' | '(' | ')' | '.'))
}

fn help_call(topic: &str) -> String {
    let topic = topic.trim().trim_end_matches(';').trim_end_matches("()");
    if topic.is_empty() {
        "help()".to_string()
    } else {
        // Debug quoting is Rhai's own for the characters a topic can have.
        format!("help({topic:?})")
    }
}

fn backslash(word: &str) -> Entry {
    match word {
        "\\q" => return Entry::Leave,
        "\\?" | "\\h" | "\\help" => return Entry::Evaluate(help_call("")),
        _ => {}
    }
    // `\dt+` and `\d table` begin as `\d` does, and `\timing` is no `\t`.
    let answer = BACKSLASHES.iter().filter(|(name, _)| word.starts_with(name)).max_by_key(|(name, _)| name.len());
    let here = answer.map_or("help() lists what there is", |(_, answer)| answer);
    Entry::Say(format!("`{word}` is a command of psql. Here:\nnext: {here}"))
}

/// A function of the API without parentheses.
fn bare_name(word: &str) -> Option<Entry> {
    // What people look for under this name is what `state()` shows.
    let word = if word == "status" { "state" } else { word };
    let function = script::catalog().iter().find(|e| e.method_of.is_empty() && e.is_typed(word))?;
    let without_arguments = function.forms.iter().any(|form| form.is_empty());
    let plan = format!("plan_{word}");
    Some(match (function.changes_with(0), without_arguments) {
        (false, true) => Entry::Evaluate(format!("{word}()")),
        (true, true) if script::find(&plan).is_some() => {
            Entry::Explain { verb: function.name, plan: format!("{plan}()") }
        }
        _ => Entry::Say(usage(function)),
    })
}

/// How a function is called, and the first sentence about it.
fn usage(function: &Function) -> String {
    let name = function.full_name();
    format!("{name} is a function. {}\nnext: {}     more: help(\"{name}\")", function.doc, function.example)
}

/// A word and more behind it that is no Rhai: `select 1`, `recover 2`, `ping sdw1`.
fn statement(first: &str, rest: &str, word: &str) -> Option<Entry> {
    // An operator behind a name is Rhai, whatever the name is.
    if !rest.starts_with(|c: char| c.is_alphanumeric() || matches!(c, '_' | '"' | '\'' | '-' | '*' | '[')) {
        return None;
    }
    if SQL.contains(&first.to_lowercase().as_str()) {
        return Some(Entry::Say(format!(
            "SQL is given to sql(), for the catalog or with a content's number in front:\n\
             next: sql({word:?})     sql(0, {word:?})"
        )));
    }
    if rest.starts_with('-') && !rest.starts_with("--") || rest.starts_with(['*', '[']) {
        return None;
    }
    let function = script::catalog().iter().find(|e| e.method_of.is_empty() && e.is_typed(first))?;
    Some(Entry::Say(format!(
        "{first} is a function: its arguments stand in parentheses.\nnext: {}     more: help(\"{first}\")",
        call(function, rest)
    )))
}

/// The words behind a function's name as its arguments, as far as they can be told apart.
fn call(function: &Function, rest: &str) -> String {
    let name = function.full_name();
    let takes = |kind: Kind| function.options.iter().any(|o| o.kind == kind);
    let one = !rest.contains(char::is_whitespace) && !rest.starts_with('-');
    let number = rest.parse::<i64>().is_ok();
    let quoted = if rest.starts_with('"') { rest.to_string() } else { format!("{rest:?}") };
    match function.forms.iter().find(|form| form.len() == 1).map(|form| form[0]) {
        Some(parameter) if one && parameter.ends_with(": int") && number => format!("{name}({rest})"),
        Some(parameter) if one && parameter.ends_with(": string") => format!("{name}({quoted})"),
        _ if one && number && takes(Kind::Contents) => format!("{name}(#{{ contents: [{rest}] }})"),
        _ if one && takes(Kind::Hosts) => format!("{name}(#{{ hosts: [{quoted}] }})"),
        _ => function.example.to_string(),
    }
}

/// `gpstate -e` is typed as at the system's own prompt. A parenthesis or an operator behind the name is Rhai.
fn utility_line(first: &str, rest: &str) -> Option<String> {
    let utility = Utility::parse(first)?;
    let mut behind = rest.chars();
    let is_line = match (behind.next(), behind.next()) {
        (None, _) => true,
        (Some('-'), Some(c)) => !c.is_whitespace() && !c.is_ascii_digit(),
        (Some(c), _) => c.is_alphanumeric() || c == '/',
    };
    // Debug quoting is Rhai's own for the characters a command line has.
    is_line.then(|| format!("{}({rest:?}, #{{ raise: false }})", utility.name()))
}

/// `gpconfig -l`: a utility that is not here, by its first word.
fn utility(word: &str) -> Option<Entry> {
    let first = word.split_whitespace().next()?;
    let (name, here) = UTILITIES.iter().find(|(name, _)| *name == first)?;
    Some(Entry::Say(format!("`{name}` is a program of its own. Here:\nnext: {here}")))
}

/// `recover(only: [2])`: options are one map, under their own names.
fn named_arguments(word: &str) -> Option<Entry> {
    let (name, rest) = word.split_once('(')?;
    let function = script::catalog().iter().find(|e| e.method_of.is_empty() && e.is_typed(name.trim()))?;
    let inside = rest.strip_suffix(')').unwrap_or(rest).trim();
    let (key, value) = inside.split_once(':')?;
    let is_name = !key.is_empty() && key.trim().chars().all(|c| c.is_alphanumeric() || c == '_');
    if !is_name || value.starts_with(':') {
        return None;
    }
    if function.options.is_empty() {
        return Some(Entry::Say(usage(function)));
    }
    let key = key.trim();
    let known = TARGETS.iter().find(|(other, _)| *other == key).map_or(key, |(_, ours)| ours);
    let options: Vec<&str> = function.options.iter().map(|o| o.name).collect();
    let write = match options.contains(&known) {
        true => format!("{name}(#{{ {known}: {} }})", value.trim()),
        false => function.example.to_string(),
    };
    Some(Entry::Say(format!(
        "{name}() takes its options as one map, #{{ name: value }}: {}\nnext: {write}     more: help(\"{name}\")",
        options.join(" ")
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(line: &str) -> Entry {
        entry(line, &|_| false)
    }

    #[track_caller]
    fn says(line: &str, expected: &str) {
        match typed(line) {
            Entry::Say(text) => assert!(text.contains(expected), "`{line}` says: {text}"),
            other => panic!("`{line}` is {other:?}"),
        }
    }

    #[test]
    fn first_words_work_bare() {
        let evaluates = |text: &str| Entry::Evaluate(text.into());
        for line in ["quit", " exit ", "exit()", "quit;", "\\q", ":quit", ":q"] {
            assert_eq!(typed(line), Entry::Leave, "{line}");
        }
        assert_eq!(typed("?"), evaluates("help()"));
        assert_eq!(typed("\\?"), evaluates("help()"));
        assert_eq!(typed("? recover"), evaluates("help(\"recover\")"));
        assert_eq!(typed("help"), evaluates("help()"));
        assert_eq!(typed("help recover();"), evaluates("help(\"recover\")"));
        assert_eq!(typed("help fault::kill"), evaluates("help(\"fault::kill\")"));
        assert_eq!(typed("   "), Entry::Nothing);
    }

    #[test]
    fn a_bare_name_that_only_reads_answers() {
        for (line, call) in
            [("state", "state()"), ("status", "state()"), ("probe;", "probe()"), ("plan_recover", "plan_recover()")]
        {
            assert_eq!(typed(line), Entry::Evaluate(call.into()));
        }
    }

    #[test]
    fn a_bare_name_that_changes_the_cluster_is_explained_and_not_done() {
        assert_eq!(typed("recover"), Entry::Explain { verb: "recover", plan: "plan_recover()".into() });
        assert_eq!(typed("restart;"), Entry::Explain { verb: "restart", plan: "plan_restart()".into() });
        says("force_primary", "force_primary(#{ dbids: 4 })");
        says("fts_pause", "fts_pause(\"10m\")");
        says("ping", "ping(");
        says("fault::kill", "fault::kill(");
    }

    #[test]
    fn words_of_other_tools_are_answered_in_ours() {
        says("\\dt", "sqlite_schema");
        says("\\timing", ":timing");
        says("\\unknown", "help()");
        says("select 1", "sql(\"select 1\")");
        says("SELECT * from t;", "sql(0, \"SELECT * from t\")");
        says("recover 2", "recover(#{ contents: [2] })");
        says("recover sdw2", "recover(#{ hosts: [\"sdw2\"] })");
        says("ping sdw1", "ping(\"sdw1\")");
        says("evidence 2", "evidence(2)");
        says("recover --contents 3", "parentheses");
    }

    #[test]
    fn a_utility_of_greenplum_is_typed_as_anywhere() {
        let evaluates = |text: &str| Entry::Evaluate(text.into());
        assert_eq!(typed("gpstate"), evaluates("gpstate(\"\", #{ raise: false })"));
        assert_eq!(typed("gpstate -e;"), evaluates("gpstate(\"-e\", #{ raise: false })"));
        assert_eq!(typed("gpstate -s -l '/tmp/x y'"), evaluates("gpstate(\"-s -l '/tmp/x y'\", #{ raise: false })"));
        assert_eq!(typed("gprecoverseg -aF"), evaluates("gprecoverseg(\"-aF\", #{ raise: false })"));
        assert_eq!(typed("gpstate --help"), evaluates("gpstate(\"--help\", #{ raise: false })"));
        for rhai in ["gpstate(\"-e\").exit", "gpstate = 3", "gpstate - 1"] {
            assert_eq!(typed(rhai), evaluates(rhai));
        }
    }

    #[test]
    fn an_answer_holds_in_the_screen_and_what_can_be_typed_is_whole() {
        for line in ["recover(only:[2])", "\\dt", "gpconfig -l", "select 1", "force_primary", ":nonsense", ":watch 2 x"]
        {
            let Entry::Say(text) = typed(line) else { panic!("`{line}` is answered otherwise") };
            let shown = said(&text, &Style::default());
            assert!(shown.lines().all(|l| l.chars().count() <= 80), "{shown}");
        }
        let Entry::Say(text) = typed("\\dt") else { panic!("it is answered otherwise") };
        let shown = said(&text, &Style::default());
        assert!(shown.contains("next: sql(0, \"select name from sqlite_schema where type = 'table'\")"), "{shown}");
    }

    #[test]
    fn named_arguments_become_the_map_of_options() {
        says("recover(only:[2])", "recover(#{ contents: [2] })");
        says("recover(hosts: \"sdw2\")", "recover(#{ hosts: \"sdw2\" })");
        says("recover(colour: 1)", "contents dbids hosts");
        says("sql(text: \"select 1\")", "sql(");
    }

    #[test]
    fn what_is_the_persons_own_comes_first() {
        let own = |name: &str| matches!(name, "state" | "quit" | "select");
        for line in ["state", "quit", "select - 1"] {
            assert_eq!(entry(line, &own), Entry::Evaluate(line.into()));
        }
    }

    #[test]
    fn everything_else_is_rhai() {
        for line in [
            "exit(3)",
            "help(\"x\")",
            "help == 3",
            "let quit = 1",
            "recover()",
            "recover(#{ contents: [2] })",
            "recover (2)",
            "state().down",
            "state == 3",
            "create = 1",
            "fault::kill(2)",
            "print(state)",
            "sql(\"a:b\")",
            "x",
            "for s in state().down { print(s) }",
        ] {
            assert_eq!(typed(line), Entry::Evaluate(line.into()));
        }
    }
}
