//! `help()`: printed from the catalog, the records, the precondition table and the refusal codes, so
//! that it can't say anything else than what is true.

use super::api;
use super::catalog::{Entry, catalog, find};
use super::modules::{procedure_docs, std_source};
use super::near::is_it;
use super::options::{Kind, OptionDoc};
use super::parameters;
use super::thrown::{Thrower, Thrown};
use super::traps::TRAPS;
use super::types::{MemberKind, Type, members};
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
    // What stands last is what a person sees.
    text.push_str(
        "help(\"State\") lists a record's fields, help(\"no_space\") explains a refusal,\n\
         help(\"5\") an exit code; help(\"copy\") finds what speaks of it;\n\
         help(\"traps\"): where the language surprises.\n\
         begin with state(), why() and recover(): what changes anything asks first.\n",
    );
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
        return Ok(item(&format!("{subject}: "), explain));
    }
    if let Some(text) = exit_code(subject) {
        return Ok(text);
    }
    if subject == "traps" {
        return Ok(TRAPS.iter().map(|(name, answer)| item(&format!(" {name:<20} "), answer)).collect());
    }
    if let Some(text) = search(subject) {
        return Ok(text);
    }
    let near = is_it(subject, subjects().iter().map(String::as_str));
    Err(Thrown::script("unknown_subject", format!("there is no help on `{subject}`{near}")).next("help()"))
}

/// What an exit code means, for `help("5")`.
fn exit_code(subject: &str) -> Option<String> {
    let number: i32 = subject.strip_prefix("exit ").unwrap_or(subject).parse().ok()?;
    let (_, means) = EXIT_CODES.iter().find(|(code, _)| *code == number)?;
    let mut text = format!("exit {number}: {means}\n");
    let says = format!("Exit {number}.");
    for (code, explain) in ERROR_CODES.iter().filter(|(_, explain)| explain.ends_with(&says)) {
        text.push_str(&item(&format!(" {code:<20} "), explain));
    }
    Some(text)
}

/// Everything that speaks of a word: names, sentences, options and codes.
fn search(word: &str) -> Option<String> {
    let word = word.to_lowercase();
    // A short word is in every sentence.
    if word.chars().count() < 3 {
        return None;
    }
    let holds = |text: &str| text.to_lowercase().contains(&word);
    let mut found: Vec<(String, &str)> = Vec::new();
    for entry in catalog() {
        let in_option = entry.options.iter().find(|o| holds(o.name) || holds(o.doc)).map(|o| o.doc);
        if holds(&entry.full_name()) || holds(entry.doc) {
            found.push((format!("{}()", entry.full_name()), entry.doc));
        } else if let Some(doc) = in_option {
            found.push((format!("{}()", entry.full_name()), doc));
        }
    }
    let fields = api::record_docs().into_iter().filter(|f| holds(f.name) || holds(f.doc));
    found.extend(fields.map(|f| (format!("{}.{}", f.record, f.name), f.doc)));
    let refusals = RefusalCode::ALL.iter().map(|c| (c.code(), c.explain()));
    let codes = refusals.chain(ERROR_CODES.iter().copied()).filter(|(code, explain)| holds(code) || holds(explain));
    found.extend(codes.map(|(code, explain)| (code.to_string(), explain)));
    if found.is_empty() {
        return None;
    }
    let mut text = format!("`{word}` is spoken of in:\n");
    for (name, doc) in found {
        text.push_str(&item(&format!(" {name:<28} "), first_sentence(doc)));
    }
    Some(text)
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

/// What the process's exit codes mean.
pub const EXIT_CODES: &[(i32, &str)] = &[
    (0, "done"),
    (1, "a script error: what it says, how it is written, or what it called"),
    (2, "the command line is wrong"),
    (3, "a dry run found nothing to do"),
    (4, "refused or declined: nothing was changed"),
    (5, "partial: some of it is done and the rest is named"),
    (6, "unknown, timed out, or it cannot happen; look with state()"),
    (7, "no connection to the cluster, or only its last catalog was there"),
    (8, "locked by another administrator's operation"),
    (9, "a check says no: verify(), segsh check, segsh test, state --check"),
    (130, "interrupted"),
];

/// The codes of errors that are not refusals.
pub const ERROR_CODES: &[(&str, &str)] = &[
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
    ("unknown_value", "a role, mode, status or record was compared with what it can never equal. Exit 1."),
    ("sql", "a statement failed; `sqlstate` says how. Exit 1."),
    ("thrown", "the script itself threw a value. Exit 1."),
    ("bad_exit", "an exit code is a number from 0 to 255. Exit 1."),
    ("bad_option", "an option was given a value that it does not take. Exit 1."),
    ("bad_parameter", "a statement's parameter is no number, text, bool, blob or (). Exit 1."),
    ("bad_setting", "a setting is a text, a number or a bool. Exit 1."),
    ("bad_size", "a size is a text with a unit, such as \"256 MiB\". Exit 1."),
    ("bad_time", "a time is a text with a unit, such as \"10m\". Exit 1."),
    ("internal", "segsh failed inside; this is a defect of segsh. Exit 1."),
    ("invalid", "the cluster does not take what was asked; the message says why. Exit 1."),
    ("io", "a file can't be read or written. Exit 1."),
    ("missing_option", "a procedure needs an option that was not given; the next step names it. Exit 1."),
    ("module", "a module can't be imported: not there, open to others' writing, or not only functions. Exit 1."),
    ("not_one_row", "one() and value() are for statements that give one row. Exit 1."),
    ("not_one_value", "value() is for statements that give one column. Exit 1."),
    ("not_options", "a function's options are one map: #{ contents: [2] }. Exit 1."),
    ("out_of_bounds", "there is no item at that index of a list or of rows. Exit 1."),
    ("shadows_api", "a function, or an import's name, would take the place of the API's. Exit 1."),
    ("switch_on_record", "a switch can't look into a record; switch on a field of it. Exit 1."),
    ("syntax", "the text is not Rhai. Exit 1."),
    ("type_mismatch", "a value has another type than is needed. Exit 1."),
    ("unknown_column", "the rows have no such column. Exit 1."),
    ("unknown_condition", "wait_until() knows \"synchronized\", \"operational\" and closures. Exit 1."),
    ("unknown_function", "there is no function or method of that name. Exit 1."),
    ("unknown_namespace", "nothing is imported or built in under that name. Exit 1."),
    ("unknown_procedure", "there is no procedure of that name; procedures() lists them. Exit 1."),
    ("unknown_subject", "help knows nothing of it. Exit 1."),
    ("unknown_variable", "no variable is visible under that name; a function sees its parameters only. Exit 1."),
    ("wrong_arity", "a function was called with another number of arguments than it takes. Exit 1."),
    ("big_number", "a warning of segsh check: an integer too large for 64 bits becomes a float."),
    ("never_equal", "a warning of segsh check: two literals of different types are compared."),
    ("plain_quotes", "a warning of segsh check: ${...} is replaced in backticks only."),
    ("shared_variable", "a warning of segsh check: a kept closure sees a loop's variable as it ends."),
    ("arithmetic", "an overflow, or a division by zero. Exit 1."),
    ("array_bounds", "there is no item at that index. Exit 1."),
    ("assignment_to_constant", "a constant can't be changed. Exit 1."),
    ("bit_field_bounds", "there is no such bit in a number. Exit 1."),
    ("custom_syntax", "the text is not Rhai. Exit 1."),
    ("data_race", "a value is used while one of its own methods runs on it; copy it first. Exit 1."),
    ("data_too_large", "a text, array or map grew beyond its limit. Exit 1."),
    ("dot_expr", "what stands behind the dot is not there. Exit 1."),
    ("for", "a loop goes through what is no list. Exit 1."),
    ("forbidden_variable", "a variable of that name is not allowed. Exit 1."),
    ("function_not_found", "no function takes arguments of these types. Exit 1."),
    ("index_not_found", "there is no entry of that key. Exit 1."),
    ("indexing_type", "the value has no entries of that key. Exit 1."),
    ("mismatch_data_type", "a value has another type than is needed. Exit 1."),
    ("mismatch_output_type", "the script's value has another type than is needed. Exit 1."),
    ("module_not_found", "nothing is imported under that name. Exit 1."),
    ("non_pure_method_call_on_constant", "a constant can't be changed by a method. Exit 1."),
    ("parsing", "the text is not Rhai. Exit 1."),
    ("property_not_found", "the value has no such field. Exit 1."),
    ("stack_overflow", "functions call each other too deeply; the limit is 64. Exit 1."),
    ("string_bounds", "there is no character at that index. Exit 1."),
    ("system", "the engine could not read or write. Exit 1."),
    ("too_many_modules", "more modules are imported than are allowed. Exit 1."),
    ("too_many_operations", "a hook ran longer than it may. Exit 1."),
    ("too_many_variables", "more variables are declared than are allowed. Exit 1."),
    ("unbound_this", "`this` is used outside of a method. Exit 1."),
    ("variable_exists", "a variable of that name is there already. Exit 1."),
    ("variable_not_found", "no variable is visible under that name. Exit 1."),
    ("usage", "the command line is wrong. Exit 2."),
    (
        "utility_failed",
        "a utility of Greenplum was not carried out; `exit` is its own exit code: 1 part of it is not done, 2, or 4 declined.",
    ),
    ("in_hook", "a hook looks at a plan or an outcome; it changes nothing itself. Exit 1."),
    ("unknown_operation", "there is no operation of that number; operations() lists them. Exit 1."),
    ("unreadable", "a script can't be read. Exit 2 of `segsh check`, else 1."),
    ("assertion", "assert() or assert_equal() found something else than it demands. Exit 1."),
    ("not_a_module", "a warning of segsh check: a file that begins with //! has statements outside of functions."),
    ("not_a_test", "segsh test: a function is named test_… and can't be run as one. Exit 9."),
];

fn function(entry: &Entry) -> String {
    let name = entry.full_name();
    let mut text = String::new();
    for form in entry.forms {
        let method = usize::from(!entry.method_of.is_empty());
        let shown: Vec<&str> = form.iter().skip(method).copied().collect();
        text.push_str(&format!("{name}({}) -> {}\n", shown.join(", "), Type::of(entry.returns)));
    }
    text.push_str(&item(" ", entry.doc));
    text.push_str(&item(" ", &format!("It {}.", entry.says())));
    for (parameter, doc) in parameters::of(entry) {
        text.push_str(&item(&format!("  {parameter:<10} "), doc));
    }
    if !entry.options.is_empty() {
        text.push_str(" options:\n");
        for option in entry.options {
            text.push_str(&item(&format!("  {:<10} {:<22} ", option.name, takes(option)), &said(option)));
        }
    }
    let verb = entry.name.strip_prefix("plan_").unwrap_or(entry.name);
    let lines: Vec<_> = PRECONDITIONS.iter().filter(|p| p.is_for(verb)).collect();
    if !lines.is_empty() && entry.namespace.is_empty() {
        text.push_str(" refused unless:\n");
        for line in lines {
            let with_to = if line.verbs.contains(&verb) { "" } else { "with `to`: " };
            text.push_str(&item(&format!("  {:<24} ", line.code.code()), &format!("{with_to}{}", line.says)));
        }
    }
    // An example is copied, so it stands on one line of its own when it is long.
    let lead = if entry.example.chars().count() + " example: ".len() > WIDTH { " example:\n  " } else { " example: " };
    text.push_str(&format!("{lead}{}\n", entry.example));
    text
}

/// What an option does, and what holds when it is not given.
fn said(option: &OptionDoc) -> String {
    match option.default {
        "" => option.doc.to_string(),
        default => format!("{} ({default} when not given)", option.doc),
    }
}

/// What an option takes, in words.
pub(super) fn takes(option: &OptionDoc) -> String {
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
        Kind::Paths => "path or list of them".into(),
        Kind::Plan => "a plan".into(),
        Kind::To => "a host or places".into(),
    }
}

fn refusal(code: RefusalCode) -> String {
    let mut text = item(&format!("{}: ", code.code()), code.explain());
    for line in PRECONDITIONS.iter().filter(|p| p.code == code) {
        text.push_str(&item(" holds for ", &format!("{}: {}", line.verbs.join(", "), line.says)));
    }
    text
}

fn record(name: &str) -> Option<String> {
    let of = Type { name: name.to_string().into(), items: None, optional: false };
    let members = members(&of);
    // The language's own types have methods and no page.
    if members.is_empty() || name.starts_with(|c: char| c.is_lowercase()) {
        return None;
    }
    let mut text = format!("{name}\n");
    for member in members {
        let lead = match member.kind {
            MemberKind::Field => format!(" {:<22} {:<16} ", member.name, member.of.to_string()),
            MemberKind::Method => {
                let call = format!("{}({})", member.name, member.parameters.join(", "));
                format!(" {call:<22} {:<16} ", member.of.to_string())
            }
        };
        text.push_str(&item(&lead, member.doc));
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
        let searched = ["copy", "recover", "5", "exit 4"].map(|s| about(s).unwrap_or_else(|_| panic!("{s} is found")));
        for text in texts.chain([overview()]).chain(searched) {
            for line in text.lines() {
                assert!(line.chars().count() <= WIDTH, "{line}");
            }
        }
    }
}
