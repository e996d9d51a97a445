//! One registration a function: types, help and signatures all come from it, and all of it is true.

use crate::fake::{Bench, Break, healthy, unconnected};
use segsh::script::{MemberKind, Type, catalog, members, record_docs, type_of_chain};
use std::collections::BTreeSet;

/// An expression for each record that tests can have.
const RECORDS: &[(&str, &str)] = &[
    ("State", "state()"),
    ("Segment", "state().segments[0]"),
    ("Content", "state().content(2)"),
    ("Host", "state().hosts[0]"),
    ("Coordinator", "state().coordinator"),
    ("Row", "state().rows[0]"),
    ("Segments", "state().segments"),
    ("Plan", "plan_recover()"),
    ("Refusal", "plan_rebalance().refusals[0]"),
    ("Outcome", "recover(#{ wait: false })"),
    ("SegmentOutcome", "recover(#{ wait: false }).segments[0]"),
    ("Rows", "sql(\"s\")"),
    ("Traffic", "demo::traffic()"),
    ("TrafficReport", "demo::traffic().report()"),
    ("Role", "state().segments[0].role"),
    ("Utility", "gpstate()"),
];

#[test]
fn every_field_has_the_type_that_it_is_documented_to_have() {
    let mut state = healthy();
    state.lose_mirror(2);
    for (record, expression) in RECORDS {
        assert_eq!(type_of_chain(expression).map(|t| t.name), Some((*record).into()), "{expression}");
        let of = Type { name: (*record).into(), items: None, optional: false };
        for member in members(&of).into_iter().filter(|m| m.kind == MemberKind::Field) {
            let mut bench = Bench::new(state.clone());
            let text = format!("let value = {expression}.{}; value", member.name);
            let value = bench.session.run_source("t", &text).unwrap_or_else(|e| panic!("{text}: {e}")).value;
            let found = Type::of_value(&value);
            let fits = (found.name == member.of.name && (found.items.is_none() || found.items == member.of.items))
                || (member.of.optional && found.name == "()")
                || member.of.name == "any";
            assert!(fits, "{record}.{} is documented as {} and is {found}", member.name, member.of);
        }
    }
}

#[test]
fn every_record_that_is_named_as_a_type_has_members() {
    let mut named: BTreeSet<String> = record_docs().iter().map(|f| f.record.to_string()).collect();
    for written in record_docs().iter().map(|f| f.kind).chain(catalog().iter().map(|e| e.returns)) {
        let of = Type::of(written);
        named.insert(of.items.unwrap_or(of.name).to_string());
    }
    for name in named {
        let plain = ["int", "float", "bool", "any", "()"];
        let of = Type { name: name.clone().into(), items: None, optional: false };
        assert!(plain.contains(&name.as_str()) || !members(&of).is_empty(), "{name} is a type of the API");
    }
}

#[test]
fn every_method_that_completion_offers_is_one_that_can_be_called() {
    let session = unconnected();
    for of in ["State", "Segments", "Plan", "Rows", "Traffic", "Role", "array", "string", "map"] {
        for member in members(&Type::of(of)).into_iter().filter(|m| m.kind == MemberKind::Method) {
            let blanks: Vec<&str> = member.parameters.iter().map(|_| "()").collect();
            let text = format!("let x = (); x.{}({})", member.name, blanks.join(", "));
            assert_eq!(session.check("t", &text), vec![], "{of}.{}", member.name);
        }
    }
}

#[test]
fn a_name_is_told_from_every_other_without_making_a_text_of_it() {
    for entry in catalog() {
        let name = entry.full_name();
        let same: Vec<String> = catalog().iter().filter(|e| e.is_typed(&name)).map(|e| e.full_name()).collect();
        let equal: Vec<String> = catalog().iter().map(|e| e.full_name()).filter(|other| *other == name).collect();
        assert_eq!(same, equal, "{name}");
    }
}

#[test]
fn a_built_in_function_of_an_api_name_takes_no_call_from_it() {
    let plain: BTreeSet<&str> =
        catalog().iter().filter(|e| e.namespace.is_empty() && e.method_of.is_empty()).map(|e| e.name).collect();
    let built_in = rhai::Engine::new();
    let mut clashes: Vec<String> = built_in.collect_fn_metadata(
        None,
        |info| plain.contains(info.metadata.name.as_str()).then(|| info.metadata.gen_signature(|t| t.into())),
        true,
    );
    clashes.sort();
    assert_eq!(clashes.len(), 4, "each has a form of ours that takes its place, and a line below: {clashes:?}");
    for (text, code) in [("let n = 4; sleep(n)", "bad_time"), ("let n = 4.0; sleep(n)", "bad_time")] {
        let mut bench = Bench::new(healthy());
        let began = std::time::Instant::now();
        assert_eq!(bench.error(text).code, code, "{text}");
        assert!(began.elapsed() < std::time::Duration::from_secs(4), "{text} slept");
    }
    for (text, exit) in [("exit()", 0), ("let n = 7; exit(n)", 7)] {
        let value = Bench::new(healthy()).session.run_source("t", text).expect(text);
        assert_eq!(value.exit, Some(exit), "{text}");
    }
}

/// Every source file of the crate, with what stands before its tests.
fn sources() -> Vec<String> {
    let mut folders = vec![std::path::PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/src"))];
    let mut texts = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder of src").flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let text = std::fs::read_to_string(&path).expect("a source file");
                texts.push(text.split("#[cfg(test)]\nmod").next().unwrap_or_default().to_string());
            }
        }
    }
    texts
}

#[test]
fn every_code_that_is_thrown_or_found_has_help() {
    let mut codes = BTreeSet::new();
    for text in sources() {
        for call in
            ["Thrown::script(", "with_exit(", "self.find(", "self.warn(", "finding(Severity::Error,", "gave_up("]
        {
            for rest in text.split(call).skip(1) {
                let literal = rest.trim_start().strip_prefix('"').and_then(|rest| rest.split('"').next());
                codes.extend(literal.map(str::to_string));
            }
        }
    }
    for status in ["partial", "refused", "declined", "unknown", "cancelled", "differs", "interrupted"] {
        codes.insert(status.to_string());
    }
    assert!(codes.len() > 40, "{codes:?}");
    let silent: Vec<&String> = codes
        .iter()
        .filter(|code| {
            let explained = segsh::script::ERROR_CODES.iter().any(|(known, _)| known == code);
            !explained && segsh::cluster::RefusalCode::parse(code).is_none()
        })
        .collect();
    assert!(silent.is_empty(), "without help: {silent:?}");
}

#[test]
fn every_error_of_the_language_has_a_code_with_help() {
    // The variants of Rhai's errors, as their own list of fields names them.
    let text = segsh::script::help_about("arithmetic").expect("help");
    assert!(text.contains("overflow"), "{text}");
    let mut bench = Bench::new(healthy());
    for text in
        ["1 / 0", "[1][7]", "let m = #{}; m.x", "fn f(n) { f(n) } f(1)", "for i in 5 { }", "let a = \"x\"; a - 1"]
    {
        let code = bench.error(text).code;
        assert!(segsh::script::ERROR_CODES.iter().any(|(known, _)| *known == code), "{text}: {code}");
    }
}

#[test]
fn help_finds_by_words_and_by_exit_codes() {
    let text = segsh::script::help_about("copy").expect("something speaks of it");
    for name in ["full_recover()", "Content.to_copy_blocks", "incremental_impossible"] {
        assert!(text.contains(name), "{name}: {text}");
    }
    let text = segsh::script::help_about("5").expect("an exit code");
    assert!(text.starts_with("exit 5: partial") && text.contains(" partial "), "{text}");
    for record in ["Segments", "Rows", "SqlRow", "Role"] {
        let text = segsh::script::help_about(record).expect("a record");
        assert!(text.starts_with(record), "{text}");
    }
    assert!(segsh::script::help_about("Rows.one").is_ok() && segsh::script::help_about("one").is_ok());
    let error = segsh::script::help_about("zebra").expect_err("nothing speaks of it");
    assert_eq!(error.code, "unknown_subject");
}

#[test]
fn the_reference_is_what_the_catalog_says() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/script-reference.md");
    let written = std::fs::read_to_string(path).expect("the reference");
    assert_eq!(written, segsh::script::reference(), "cargo run -- reference > docs/script-reference.md");
}

#[test]
fn what_a_call_asks_is_what_the_catalog_says() {
    use segsh::script::Grade;
    use segsh::script::ui::Damage;
    let asked = |state: &segsh::cluster::State, call: &str| {
        let mut bench = Bench::new(state.clone());
        let _ = bench.session.run_source("t", call);
        let asked = bench.person.asked.borrow().clone();
        let wrote = bench.fake.calls().iter().any(|c| c.starts_with("setting") || c.starts_with("fts_"));
        match asked.as_slice() {
            [] if wrote => Grade::Asks,
            [] => Grade::Reads,
            [Damage::Reversible] => Grade::Reversible,
            [Damage::TypeWord(word)] if word == "override" => Grade::Overrides,
            [Damage::TypeWord(_)] => Grade::Copies,
            [Damage::TypeCluster(_)] => Grade::Everything,
            other => panic!("{call}: {other:?}"),
        }
    };
    let mut state = healthy();
    state.lose_mirror(0);
    let mut unbalanced = healthy();
    unbalanced.swap(1);
    let mut lost = healthy();
    lost.break_both(2);
    let calls = [
        (&state, "recover", "recover()"),
        (&state, "full_recover", "full_recover()"),
        (&unbalanced, "rebalance", "rebalance()"),
        (&state, "restart", "restart()"),
        (&lost, "force_primary", "force_primary(#{ dbids: 8 })"),
        (&state, "state", "state()"),
        (&state, "plan_recover", "plan_recover()"),
        (&state, "check", "check(\"recover\")"),
        (&state, "fts_pause", "fts_pause()"),
        (&state, "setting", "setting(\"a\", \"b\")"),
    ];
    for (state, name, call) in calls {
        assert_eq!(asked(state, call), segsh::script::find(name).expect(name).damage, "{call}");
    }
    for entry in catalog() {
        assert_eq!(entry.changes, entry.damage != Grade::Reads, "{}", entry.full_name());
        assert!(entry.reading_forms == 0 || entry.changes, "{}", entry.full_name());
    }
    let changes = |name: &str, parameters| segsh::script::find(name).expect(name).changes_with(parameters);
    assert!(!changes("maintenance", 0) && changes("maintenance", 3));
    assert!(!changes("setting", 1) && changes("setting", 2) && changes("sql", 1));
    let help = segsh::script::help_about("setting").expect("help");
    assert!(help.contains("setting(name) only reads") && help.contains("name       a setting's name"), "{help}");
}
