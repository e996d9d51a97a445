//! `help()`: printed from the catalog, the records, the precondition table and the refusal codes, so
//! that it can't say anything else than what is true.

use super::api;
use super::catalog::{Entry, catalog, find};
use super::modules::{procedure_docs, std_source};
use super::near::is_it;
use super::options::{Kind, OptionDoc};
use super::thrown::{Thrower, Thrown};
use crate::cluster::{PRECONDITIONS, RefusalCode};

/// The text of `help()`.
pub fn overview() -> String {
    let mut text = String::from("functions; help(\"NAME\") says more:\n");
    for entry in catalog().iter().filter(|e| e.method_of.is_empty()) {
        let name = entry.full_name();
        text.push_str(&item(&format!(" {name:<18} "), first_sentence(entry.doc)));
    }
    text.push_str("procedures; procedure(\"NAME\") runs one:\n");
    for (name, doc) in procedure_docs() {
        text.push_str(&item(&format!(" {name:<28} "), &doc));
    }
    text.push_str("help(\"State\") lists a record's fields, help(\"no_space\") explains a refusal.\n");
    text
}

/// The text of `help(subject)`.
pub fn about(subject: &str) -> Thrower<String> {
    let subject = subject.trim().trim_end_matches("()");
    if let Some(code) = RefusalCode::parse(subject) {
        return Ok(refusal(code));
    }
    if let Some(entry) = find(subject) {
        return Ok(function(entry));
    }
    if let Some(text) = record(subject) {
        return Ok(text);
    }
    if let Some(source) = std_source(subject) {
        return Ok(source.to_string());
    }
    if let Some((_, explain)) = ERROR_CODES.iter().find(|(code, _)| *code == subject) {
        return Ok(format!("{subject}: {explain}\n"));
    }
    let near = is_it(subject, subjects().iter().map(String::as_str));
    Err(Thrown::script("unknown_subject", format!("there is no help on `{subject}`{near}")).next("help()"))
}

/// Everything that help can be asked about.
pub fn subjects() -> Vec<String> {
    let functions = catalog().iter().map(Entry::full_name);
    let codes = RefusalCode::ALL.iter().map(|c| c.code().to_string());
    let errors = ERROR_CODES.iter().map(|(code, _)| (*code).to_string());
    let procedures = procedure_docs().into_iter().map(|(name, _)| name);
    let mut records: Vec<String> = api::record_docs().iter().map(|f| f.record.to_string()).collect();
    records.dedup();
    functions.chain(codes).chain(errors).chain(procedures).chain(records).collect()
}

/// The codes of errors that are not refusals.
const ERROR_CODES: &[(&str, &str)] = &[
    ("partial", "part of what was asked for is done; the refusals name the rest. Exit 5."),
    ("refused", "nothing was changed; every refusal has its own code. Exit 4."),
    ("declined", "the confirmation was not given. Exit 4."),
    ("unknown", "the end of the operation was not seen; look with state(). Exit 6."),
    ("timed_out", "it was not so within `timeout`; what runs goes on. Exit 6."),
    ("stalled", "nothing moved for `stall`; what runs goes on. Exit 6."),
    ("cannot_happen", "nothing is at work that could make it so. Exit 6."),
    ("differs", "verify() found blocks that differ; `segments` says where. Exit 9."),
    ("cancelled", "the operation was cancelled. Exit 130."),
    ("interrupted", "Ctrl-C ended the script. Exit 130."),
    ("locked", "another change of the same contents is under way. Exit 8."),
    ("unreachable", "the cluster does not answer. Exit 7."),
    ("other_release", "another release of segsh listens there. Exit 7."),
    ("no_cluster", "no cluster is connected. Exit 7."),
    ("unknown_option", "the function has no such option. Exit 1."),
    ("bare_number", "a number alone could be a content or a dbid; name which. Exit 1."),
    ("unknown_property", "the record has no such field. Exit 1."),
    ("unknown_value", "a role, mode or status was compared with what is none. Exit 1."),
    ("sql", "a statement failed; `sqlstate` says how. Exit 1."),
    ("thrown", "the script itself threw a value. Exit 1."),
];

fn function(entry: &Entry) -> String {
    let name = entry.full_name();
    let mut text = String::new();
    for form in entry.forms {
        let method = usize::from(!entry.method_of.is_empty());
        let shown: Vec<&str> = form.iter().skip(method).copied().collect();
        text.push_str(&format!("{name}({}) -> {}\n", shown.join(", "), entry.returns));
    }
    text.push_str(&item(" ", entry.doc));
    if !entry.options.is_empty() {
        text.push_str(" options:\n");
        for option in entry.options {
            text.push_str(&item(&format!("  {:<10} {:<22} ", option.name, takes(option)), option.doc));
        }
    }
    let verb = entry.name.strip_prefix("plan_").unwrap_or(entry.name);
    let lines: Vec<_> = PRECONDITIONS.iter().filter(|p| p.verbs.contains(&verb)).collect();
    if !lines.is_empty() && entry.namespace.is_empty() {
        text.push_str(" refused unless:\n");
        for line in lines {
            text.push_str(&item(&format!("  {:<24} ", line.code.code()), line.says));
        }
    }
    // An example is copied, so it stands on one line of its own when it is long.
    let lead = if entry.example.chars().count() + " example: ".len() > WIDTH { " example:\n  " } else { " example: " };
    text.push_str(&format!("{lead}{}\n", entry.example));
    text
}

fn takes(option: &OptionDoc) -> String {
    match option.kind {
        Kind::Contents => "contents, as [2]".into(),
        Kind::Dbids => "dbids, as [5]".into(),
        Kind::Hosts => "hosts, as [\"sdw1\"]".into(),
        Kind::Flag => "true or false".into(),
        Kind::Duration => "time, as \"10m\"".into(),
        Kind::Rate => "rate, as \"50 MiB/s\"".into(),
        Kind::Count => "number from 1".into(),
        Kind::Word(words) => words.join(" | "),
        Kind::Text => "text".into(),
        Kind::Plan => "a plan".into(),
    }
}

fn refusal(code: RefusalCode) -> String {
    let mut text = item(&format!("{}: ", code.code()), code.explain());
    for line in PRECONDITIONS.iter().filter(|p| p.code == code) {
        text.push_str(&item(&format!(" holds for {}: ", line.verbs.join(", ")), line.says));
    }
    text
}

fn record(name: &str) -> Option<String> {
    let docs = api::record_docs();
    let fields: Vec<_> = docs.iter().filter(|f| f.record == name).collect();
    if fields.is_empty() {
        return None;
    }
    let mut text = format!("{name}\n");
    for field in fields {
        text.push_str(&item(&format!(" {:<22} ", field.name), field.doc));
    }
    for method in catalog().iter().filter(|e| e.method_of == name) {
        text.push_str(&item(&format!(" {:<22} ", format!("{}()", method.name)), method.doc));
    }
    Some(text)
}

/// Columns of the screens.
const WIDTH: usize = 80;

/// A line that wraps below where its text begins.
fn item(lead: &str, text: &str) -> String {
    let indent = lead.chars().count().min(WIDTH / 2);
    let mut lines = vec![lead.to_string()];
    let mut fresh = true;
    for word in text.split_whitespace() {
        let Some(line) = lines.last_mut() else { break };
        let blank = usize::from(!fresh);
        if !fresh && line.chars().count() + blank + word.chars().count() > WIDTH {
            lines.push(format!("{}{word}", " ".repeat(indent)));
        } else {
            line.push_str(&" ".repeat(blank));
            line.push_str(word);
        }
        fresh = false;
    }
    lines.iter().map(|line| format!("{}\n", line.trim_end())).collect()
}

fn first_sentence(doc: &str) -> &str {
    doc.find(". ").or_else(|| doc.find("; ")).map_or(doc.trim_end_matches('.'), |at| &doc[..at])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_on_a_damaged_source_names_every_way_out_of_it() {
        let text = about("source_damaged").expect("every code has help");
        let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
        for step in ["force_primary(#{ dbids: MIRROR })", "backup: psql contentN", "full_recover(#{ dbids: FORMER })"] {
            assert!(words.contains(step), "{step}: {text}");
        }
    }

    #[test]
    fn no_line_of_help_is_wider_than_a_screen() {
        let texts = subjects().into_iter().filter(|s| std_source(s).is_none()).map(|s| about(&s));
        let texts = texts.map(|text| text.unwrap_or_else(|_| panic!("every subject has help")));
        for text in texts.chain([overview()]) {
            for line in text.lines() {
                assert!(line.chars().count() <= WIDTH, "{line}");
            }
        }
    }
}
