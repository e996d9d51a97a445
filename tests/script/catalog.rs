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
    for of in ["State", "Segments", "Plan", "Rows", "Traffic", "array", "string", "map"] {
        for member in members(&Type::of(of)).into_iter().filter(|m| m.kind == MemberKind::Method) {
            let blanks: Vec<&str> = member.parameters.iter().map(|_| "()").collect();
            let text = format!("let x = (); x.{}({})", member.name, blanks.join(", "));
            assert_eq!(session.check("t", &text), vec![], "{of}.{}", member.name);
        }
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
