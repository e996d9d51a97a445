//! What can stand where the cursor is: members along a chain, options and their values, live names.
//!
//! All of it comes from the catalog and from the last snapshot. Nothing is asked of a cluster, because
//! a key press waits for it.

use super::commands;
use super::evaluator::Variable;
use crate::cluster::settings::KNOWN;
use crate::cluster::{self, Intent, PairHealth, Segment, Selection, State};
use crate::core::row::{Mode, Role, Status};
use crate::script::{self, Entry, Kind, MemberKind, OpenCall, OptionDoc, Type};
use std::borrow::Cow;

/// What completion knows beside the catalog.
#[derive(Clone, Copy, Default)]
pub struct Known<'a> {
    pub variables: &'a [Variable],
    /// The cluster as it was seen last.
    pub state: Option<&'a State>,
}

impl Known<'_> {
    /// The type of a variable, for the chain that begins with it.
    pub fn of(&self, name: &str) -> Option<Type> {
        self.variables.iter().find(|v| v.name == name)?.of.clone()
    }
}

/// One thing that can stand there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    pub text: String,
    /// A few words about it.
    pub about: String,
}

fn candidate(text: impl Into<String>, about: impl Into<String>) -> Candidate {
    Candidate { text: text.into(), about: about.into() }
}

/// The language's own words, completed after everything else.
const KEYWORDS: [&str; 16] = [
    "break", "catch", "const", "continue", "else", "false", "for", "if", "import", "let", "loop", "return", "switch",
    "throw", "true", "while",
];

/// What can stand at the end of `text`, and where in it the part begins that is replaced. `rest` is
/// what stands behind the cursor.
pub fn complete(text: &str, rest: &str, known: &Known) -> (usize, Vec<Candidate>) {
    let start = word_start(text);
    let word = &text[start..];
    if let Some(name) = text.trim_start().strip_prefix(':')
        && !name.contains(char::is_whitespace)
    {
        let names = commands::NAMES.iter().map(|name| candidate(*name, commands::about(name)));
        return (text.len() - name.len(), beginning(names, name));
    }
    if let Some((":timing" | ":dry", wish)) = text.trim_start().split_once(' ') {
        return (text.len() - wish.len(), beginning(["on", "off"].into_iter().map(|wish| candidate(wish, "")), wish));
    }
    if let Some((start, quote)) = open_string(text) {
        let typed = &text[start + quote.len_utf8()..];
        let inside = within_string(&text[..start], known);
        return (start + quote.len_utf8(), beginning(inside.into_iter(), typed));
    }
    if is_question(text) {
        return (start, beginning(subjects(), word));
    }
    if let Some(chain) = text[..start].trim_end().strip_suffix('.') {
        let of = script::type_of_chain_in(chain.trim_end_matches('?'), &|name| known.of(name));
        let members = of.map(|of| members(&of, rest)).unwrap_or_default();
        return (start, beginning(members.into_iter(), word));
    }
    let call = script::open_call_in(&text[..start], &|name| known.of(name));
    if let Some(call) = &call
        && let Some(found) = argument(call, &text[..start], word, known)
    {
        return (start, found);
    }
    if word.is_empty() {
        return (start, Vec::new());
    }
    (start, beginning(names(word, rest, known).into_iter(), word))
}

/// Those that begin as typed, each once, in their order.
fn beginning(candidates: impl Iterator<Item = Candidate>, word: &str) -> Vec<Candidate> {
    let mut found: Vec<Candidate> = Vec::new();
    for candidate in candidates.filter(|c| c.text.starts_with(word)) {
        if !found.iter().any(|f| f.text == candidate.text) {
            found.push(candidate);
        }
    }
    found
}

/// Where the name under the cursor begins; `fault::kill` is one name, `contents:` a key and its colon.
pub fn word_start(text: &str) -> usize {
    let is_name = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    let start =
        text.rfind(|c: char| !is_name(c)).map_or(0, |at| at + text[at..].chars().next().map_or(1, char::len_utf8));
    match text[start..].rfind(':') {
        Some(at) if !text[start..=start + at].ends_with("::") => start + at + 1,
        _ => start,
    }
}

/// The quote of a string that is still open at the end of a text, and where it stands.
pub fn open_string(text: &str) -> Option<(usize, char)> {
    let mut open: Option<(usize, char)> = None;
    let mut escaped = false;
    let mut characters = text.char_indices().peekable();
    while let Some((at, c)) = characters.next() {
        match open {
            Some(_) if escaped => escaped = false,
            Some(_) if c == '\\' => escaped = true,
            Some((_, quote)) if quote == c => open = None,
            Some(_) => {}
            None if c == '/' && matches!(characters.peek(), Some((_, '/'))) => {
                // A comment ends with its line.
                while characters.next_if(|(_, c)| *c != '\n').is_some() {}
            }
            None if matches!(c, '"' | '`') => open = Some((at, c)),
            None => {}
        }
    }
    open
}

/// `? re`, `help re`.
fn is_question(text: &str) -> bool {
    let text = text.trim_start();
    text.starts_with('?') || text.strip_prefix("help").is_some_and(|rest| rest.starts_with(char::is_whitespace))
}

fn subjects() -> impl Iterator<Item = Candidate> {
    script::help_subjects().into_iter().map(|subject| {
        let about = script::find(&subject).map_or("", |entry| first_sentence(entry.doc));
        candidate(subject.clone(), about)
    })
}

/// Up to the first full stop, as help's overview has it.
fn first_sentence(doc: &str) -> &str {
    doc.find(". ").or_else(|| doc.find("; ")).map_or(doc.trim_end_matches('.'), |at| &doc[..at])
}

/// Fields and methods; a parenthesis that stands behind the cursor already is not written again.
fn members(of: &Type, rest: &str) -> Vec<Candidate> {
    script::members(of)
        .into_iter()
        .map(|member| {
            let call = match (member.kind, member.parameters.is_empty(), rest.starts_with('(')) {
                (MemberKind::Field, _, _) | (_, _, true) => "",
                (MemberKind::Method, true, _) => "()",
                (MemberKind::Method, false, _) => "(",
            };
            candidate(format!("{}{call}", member.name), format!("{}  {}", member.of, first_sentence(member.doc)))
        })
        .collect()
}

/// The person's own names, functions, and the language's words. What is said of a function is only worked
/// out for one that begins as typed.
fn names(word: &str, rest: &str, known: &Known) -> Vec<Candidate> {
    let own = known.variables.iter().map(|v| {
        let about = v.of.as_ref().map_or("your function".to_string(), ToString::to_string);
        candidate(v.name.clone(), about)
    });
    let is_meant = |e: &&Entry| e.method_of.is_empty() && e.full_name().starts_with(word);
    let functions = script::catalog().iter().filter(is_meant).map(|entry| {
        let only_bare = entry.forms.iter().all(|form| form.is_empty());
        let call = match (rest.starts_with('('), only_bare) {
            (true, _) => "",
            (false, true) => "()",
            (false, false) => "(",
        };
        candidate(format!("{}{call}", entry.full_name()), about_function(entry, known))
    });
    let keywords = KEYWORDS.iter().map(|word| candidate(*word, ""));
    own.chain(functions).chain(keywords).collect()
}

/// The first sentence, and what the preconditions say of the call as the cluster was seen last.
fn about_function(entry: &Entry, known: &Known) -> String {
    let about = first_sentence(entry.doc);
    match known.state.and_then(|state| now(entry, state)) {
        Some(now) => format!("({now}) {about}"),
        None => about.to_string(),
    }
}

fn now(entry: &Entry, state: &State) -> Option<String> {
    let selection = Selection::default();
    let intent = match entry.full_name().as_str() {
        "recover" => Intent::Recover { selection, rate_bytes: None, jobs: None },
        "rebalance" => Intent::Rebalance { selection },
        "verify" => Intent::Verify { selection, rate_bytes: None, jobs: None },
        _ => return None,
    };
    let plan = cluster::plan(state, &intent, state.time_ms);
    match plan.refusals.first() {
        Some(first) if plan.refuses => Some(format!("refused now: {}", first.code.code())),
        _ if plan.is_empty() && plan.refusals.is_empty() => Some("nothing to do now".into()),
        _ => None,
    }
}

/// The entry of the call that is open.
pub fn entry_of(call: &OpenCall) -> Option<&'static Entry> {
    let record: Cow<str> = call.method_of.as_ref().map_or("".into(), |of| of.name.clone());
    script::catalog().iter().find(|e| match record.as_ref() {
        "" => e.method_of.is_empty() && e.full_name() == call.name,
        record => e.method_of == record && e.name == call.name,
    })
}

/// What the argument under the cursor is called and what it takes: `host: string`.
pub fn parameter_of(entry: &Entry, call: &OpenCall) -> Vec<(&'static str, &'static str)> {
    let object = usize::from(!entry.method_of.is_empty());
    let nth = entry.forms.iter().filter_map(|form| form.get(call.argument + object));
    let mut found: Vec<(&str, &str)> = nth.filter_map(|p| p.split_once(": ")).collect();
    found.sort_unstable();
    found.dedup();
    found
}

/// What an argument can be; `None` where any expression can stand and nothing is known of it.
fn argument(call: &OpenCall, before: &str, word: &str, known: &Known) -> Option<Vec<Candidate>> {
    let entry = entry_of(call)?;
    match &call.options {
        Some(options) => match &options.key {
            Some(key) => {
                let option = entry.options.iter().find(|o| o.name == key)?;
                let found = beginning(option_values(option, known).into_iter(), word);
                (!found.is_empty()).then_some(found)
            }
            // A key stands behind the brace or a comma; anywhere else it is a value's expression.
            None if before.trim_end().ends_with(['{', ',']) => {
                let free = entry.options.iter().filter(|o| !options.keys.iter().any(|k| k == o.name));
                Some(beginning(free.map(|o| candidate(format!("{}: ", o.name), o.doc)), word))
            }
            None => None,
        },
        None if before.trim_end().ends_with(['(', ',']) => {
            let mut found: Vec<Candidate> = Vec::new();
            for (name, of) in parameter_of(entry, call) {
                match of {
                    "int" => found.extend(numbers(name, known)),
                    "string" => found.extend(texts(entry, name, known).into_iter().map(quoted)),
                    "map" if word.is_empty() => found.push(candidate("#{ ", "options")),
                    _ => {}
                }
            }
            let found = beginning(found.into_iter(), word);
            (!found.is_empty()).then_some(found)
        }
        None => None,
    }
}

fn quoted(plain: Candidate) -> Candidate {
    Candidate { text: format!("\"{}\"", plain.text), ..plain }
}

/// What a string can be, by the call that it is an argument of or by what it is compared with.
fn within_string(before: &str, known: &Known) -> Vec<Candidate> {
    let compared = before.trim_end();
    if let Some(left) = compared.strip_suffix("==").or_else(|| compared.strip_suffix("!=")) {
        let of = script::type_of_chain_in(left, &|name| known.of(name));
        return of.map(|of| words_of(&of)).unwrap_or_default();
    }
    if compared.ends_with("import") {
        return script::std_docs().into_iter().map(|(name, doc)| candidate(format!("std/{name}"), doc)).collect();
    }
    let Some(call) = script::open_call_in(before, &|name| known.of(name)) else {
        return Vec::new();
    };
    let Some(entry) = entry_of(&call) else {
        return Vec::new();
    };
    match &call.options {
        Some(options) => {
            let option = entry.options.iter().find(|o| Some(o.name) == options.key.as_deref());
            option.map(|o| option_texts(o, known)).unwrap_or_default()
        }
        None => parameter_of(entry, &call).iter().flat_map(|(name, _)| texts(entry, name, known)).collect(),
    }
}

/// The words that a role, a mode or a status is compared with.
fn words_of(of: &Type) -> Vec<Candidate> {
    let words: Vec<(&str, &str)> = match of.name.as_ref() {
        "Role" => [Role::Primary, Role::Mirror].map(|v| (v.word(), v.letter())).to_vec(),
        "Mode" => {
            [Mode::Synchronized, Mode::Resynchronizing, Mode::ChangeTracking].map(|v| (v.word(), v.letter())).to_vec()
        }
        "Status" => [Status::Up, Status::Down].map(|v| (v.word(), v.letter())).to_vec(),
        _ => Vec::new(),
    };
    words.into_iter().map(|(word, letter)| candidate(word, letter)).collect()
}

/// The texts that a parameter of this name takes.
fn texts(entry: &Entry, parameter: &str, known: &Known) -> Vec<Candidate> {
    match (entry.full_name().as_str(), parameter) {
        ("help", _) => subjects().collect(),
        ("procedure", "name") => script::procedure_docs().into_iter().map(|(name, doc)| candidate(name, doc)).collect(),
        ("fault::hold", "stage") => {
            let stages = ["preparation", "data_copy", "flat_files", "claim"];
            stages.map(|stage| candidate(stage, "a stage of a recovery")).to_vec()
        }
        ("wait_until", "condition") => {
            vec![
                candidate("synchronized", "every pair has two equal copies"),
                candidate("operational", "every content can be served"),
            ]
        }
        (_, "host") | ("state.host", "name") => hosts(known),
        ("setting", "name") => KNOWN
            .iter()
            .map(|known| candidate(known.name, format!("{}; {} by default", known.what, known.default)))
            .collect(),
        _ => Vec::new(),
    }
}

fn option_texts(option: &OptionDoc, known: &Known) -> Vec<Candidate> {
    match option.kind {
        Kind::Hosts | Kind::To => hosts(known),
        Kind::Word(words) => words.iter().map(|word| candidate(*word, "")).collect(),
        Kind::Duration => ["30s", "10m", "1h"].iter().map(|time| candidate(*time, "")).collect(),
        Kind::Rate => ["10 MiB/s", "50 MiB/s", "200 MiB/s"].iter().map(|rate| candidate(*rate, "")).collect(),
        _ => Vec::new(),
    }
}

/// What can stand behind an option's colon.
fn option_values(option: &OptionDoc, known: &Known) -> Vec<Candidate> {
    match option.kind {
        Kind::Contents => numbers("content", known),
        Kind::Dbids => numbers("dbid", known),
        Kind::Flag => vec![candidate("true", ""), candidate("false", "")],
        Kind::Plan => {
            let plans = known.variables.iter().filter(|v| v.of.as_ref().is_some_and(|of| of.name == "Plan"));
            plans.map(|v| candidate(v.name.clone(), "a plan")).collect()
        }
        Kind::Count => Vec::new(),
        _ => option_texts(option, known).into_iter().map(quoted).collect(),
    }
}

fn hosts(known: &Known) -> Vec<Candidate> {
    let hosts = known.state.map(|s| s.hosts.as_slice()).unwrap_or_default();
    hosts.iter().map(|h| candidate(h.host.clone(), if h.alive { "" } else { "does not answer" })).collect()
}

/// The contents or the dbids that there are, what needs attention first.
fn numbers(parameter: &str, known: &Known) -> Vec<Candidate> {
    let Some(state) = known.state else {
        return Vec::new();
    };
    match parameter {
        "content" => {
            let mut contents: Vec<_> = state.contents.iter().collect();
            contents.sort_by_key(|c| (c.health == PairHealth::Synchronized, c.content));
            contents.iter().map(|c| candidate(c.content.to_string(), c.health.word())).collect()
        }
        "dbid" => {
            let mut segments: Vec<&Segment> = state.segments.iter().collect();
            segments.sort_by_key(|s| (!s.is_down(), s.row.dbid));
            segments.iter().map(|s| candidate(s.row.dbid.to_string(), about_segment(s))).collect()
        }
        _ => Vec::new(),
    }
}

fn about_segment(segment: &Segment) -> String {
    let down = if segment.is_down() { ", DOWN" } else { "" };
    let row = &segment.row;
    format!("{} of content {} on {}{down}", row.role.word(), row.content, row.hostname)
}

#[cfg(test)]
#[path = "complete_tests.rs"]
mod tests;
