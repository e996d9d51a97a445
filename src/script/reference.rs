//! `docs/script-reference.md`, printed from what help prints: the catalog, the records, the codes.

use super::api;
use super::catalog::{Entry, catalog};
use super::help::{ERROR_CODES, EXIT_CODES};
use super::options::OptionDoc;
use super::parameters;
use super::traps::TRAPS;
use super::types::{MemberKind, Type, members};
use crate::cluster::{PRECONDITIONS, RefusalCode};
use std::collections::BTreeSet;

/// The reference as Markdown.
pub fn reference() -> String {
    let mut text = String::from(
        "# Script reference\n\n<!-- Printed by `segsh reference`; a test compares. -->\n\n\
         Every function, record and code of the script API. `help(\"NAME\")` says the same at the prompt, and\n\
         `segsh NAME --help` on the command line.\n",
    );
    text.push_str("\n## Functions\n");
    for entry in catalog().iter().filter(|e| e.method_of.is_empty()) {
        text.push_str(&function(entry));
    }
    text.push_str(&options());
    text.push_str(
        "\n## Records\n\nEvery record prints, compares, and has `to_string()`, `to_map()` and `to_json()`.\n",
    );
    for name in record_names() {
        text.push_str(&record(&name));
    }
    text.push_str("\n## Refusals\n\nA call that is refused changes nothing and names each reason by its code.\n\n");
    text.push_str("| code | cause and next step | holds for |\n|---|---|---|\n");
    for code in RefusalCode::ALL {
        let verbs: BTreeSet<&str> =
            PRECONDITIONS.iter().filter(|p| p.code == *code).flat_map(|p| p.verbs.iter().copied()).collect();
        let verbs: Vec<&str> = verbs.into_iter().collect();
        text.push_str(&format!("| `{}` | {} | {} |\n", code.code(), cell(code.explain()), verbs.join(", ")));
    }
    text.push_str("\n## Error codes\n\n| code | meaning |\n|---|---|\n");
    for (code, explain) in ERROR_CODES {
        text.push_str(&format!("| `{code}` | {} |\n", cell(explain)));
    }
    text.push_str("\n## Where the language surprises\n\n| trap | what a script meets |\n|---|---|\n");
    for (name, answer) in TRAPS {
        text.push_str(&format!("| {} | {} |\n", name.replace('_', " "), cell(answer)));
    }
    text.push_str("\n## Exit codes\n\n| code | meaning |\n|---|---|\n");
    for (code, means) in EXIT_CODES {
        text.push_str(&format!("| {code} | {} |\n", cell(means)));
    }
    text
}

fn function(entry: &Entry) -> String {
    let name = entry.full_name();
    let form = |form: &&[&str]| format!("`{name}({}) -> {}`", form.join(", "), Type::of(entry.returns));
    let forms: Vec<String> = entry.forms.iter().map(form).collect();
    let mut text = format!("\n### {name}\n\n{}\n\n{}", forms.join(", "), entry.doc);
    text.push_str(&format!(" It {}.", entry.says()));
    let parameters: Vec<String> = parameters::of(entry).iter().map(|(name, doc)| format!("`{name}`: {doc}")).collect();
    if !parameters.is_empty() {
        text.push_str(&format!(" Parameters: {}.", parameters.join("; ")));
    }
    let names: Vec<String> = entry.options.iter().map(|o| format!("`{}`", o.name)).collect();
    if !names.is_empty() {
        text.push_str(&format!(" Options: {}.", names.join(", ")));
    }
    let verb = entry.name.strip_prefix("plan_").unwrap_or(entry.name);
    let refused: BTreeSet<&str> = PRECONDITIONS.iter().filter(|p| p.is_for(verb)).map(|p| p.code.code()).collect();
    if !refused.is_empty() && entry.namespace.is_empty() {
        let codes: Vec<String> = refused.into_iter().map(|c| format!("`{c}`")).collect();
        text.push_str(&format!(" Refused with {}.", codes.join(", ")));
    }
    text.push_str(&format!(" Example: `{}`\n", entry.example));
    text
}

/// Every option once for each meaning it has, with the functions that have it.
fn options() -> String {
    let mut text = String::from("\n## Options\n\n| option | takes | meaning | default | of |\n|---|---|---|---|---|\n");
    let mut told: Vec<OptionDoc> = Vec::new();
    for option in catalog().iter().flat_map(|e| e.options) {
        if told.contains(option) {
            continue;
        }
        told.push(*option);
        let of: Vec<String> =
            catalog().iter().filter(|e| e.options.contains(option)).map(|e| format!("`{}`", e.full_name())).collect();
        let default = if option.default.is_empty() { String::new() } else { format!("`{}`", option.default) };
        let (takes, doc) = (cell(&super::help::takes(option)), cell(option.doc));
        text.push_str(&format!("| `{}` | {takes} | {doc} | {default} | {} |\n", option.name, of.join(", ")));
    }
    text
}

fn record_names() -> Vec<String> {
    let mut names: Vec<String> = api::record_docs().iter().map(|f| f.record.to_string()).collect();
    names.extend(catalog().iter().filter(|e| !e.method_of.is_empty()).map(|e| e.method_of.to_string()));
    names.extend(super::letters::docs().iter().map(|f| f.record.to_string()));
    let mut seen = BTreeSet::new();
    names.retain(|n| seen.insert(n.clone()));
    names
}

fn record(name: &str) -> String {
    let mut text = format!("\n### {name}\n\n| member | type | meaning |\n|---|---|---|\n");
    let of = Type { name: name.to_string().into(), items: None, optional: false };
    let shared = |name: &str| matches!(name, "to_string" | "to_map" | "to_json");
    let all = members(&of);
    let only_shared = all.iter().all(|m| shared(m.name));
    for member in all.into_iter().filter(|m| only_shared || !shared(m.name)) {
        let shown = match member.kind {
            MemberKind::Field => member.name.to_string(),
            MemberKind::Method => format!("{}({})", member.name, member.parameters.join(", ")),
        };
        text.push_str(&format!("| `{shown}` | {} | {} |\n", member.of, cell(member.doc)));
    }
    text
}

/// A text that does not end its cell.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}
