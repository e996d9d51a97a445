//! The documented procedures, each broken, planned, run and run again.

use crate::fake::{Bench, Break, healthy};
use segsh::script::ui::{Answer, Damage};

fn run(bench: &mut Bench, name: &str) -> Result<String, Box<segsh::script::ScriptError>> {
    bench.session.run_procedure(name, Default::default()).map(|v| v.value.type_name().to_string())
}

#[test]
fn every_procedure_is_listed_passes_the_check_and_has_a_plan() {
    let mut bench = Bench::new(healthy());
    for (name, doc) in segsh::script::procedure_docs() {
        assert!(!doc.is_empty(), "{name}");
        if name == "recreate_from_backup" {
            let error = bench.error(&format!("import \"std/{name}\" as p; p::plan(#{{}})"));
            assert_eq!((error.code.as_str(), error.next.contains("from")), ("missing_option", true));
            continue;
        }
        let text = format!("import \"std/{name}\" as p; p::plan(#{{}}).is_empty");
        assert_eq!(bench.eval(&text), "true", "{name}");
    }
    assert_eq!(bench.eval("procedures().len()"), "4");
    assert_eq!(bench.error("procedure(\"recover_duoble_fault\")").code, "unknown_procedure");
    let error = bench.error("procedure(\"recover_double_fault\", #{ contents: 2 })");
    assert_eq!(error.code, "unknown_option");
}

#[test]
fn recovery_with_mirroring_recovers_all_asks_once_and_is_idempotent() {
    let mut state = healthy();
    state.fail_over(0);
    state.lose_mirror(2);
    let mut bench = Bench::new(state);
    run(&mut bench, "recover_with_mirroring").expect("run");
    assert!(bench.fake.state().down().is_empty() || bench.fake.state().single_copy().is_empty());
    assert_eq!(*bench.person.asked.borrow(), [Damage::Reversible]);
    run(&mut bench, "recover_with_mirroring").expect("again");
    assert_eq!(bench.person.asked.borrow().len(), 1);
}

#[test]
fn recovery_with_mirroring_names_the_host_that_does_not_answer() {
    let mut state = healthy();
    state.fail_over(0);
    state.host_down("sdw1");
    let mut bench = Bench::new(state);
    let error = run(&mut bench, "recover_with_mirroring").expect_err("host");
    assert_eq!((error.code.as_str(), error.exit), ("host_down", 4));
    assert!(error.position.is_some_and(|p| p.file == "std/recover_with_mirroring"));
}

#[test]
fn returning_to_preferred_roles_switches_back_and_then_finds_nothing_to_do() {
    let mut state = healthy();
    state.swap(1);
    let mut bench = Bench::new(state);
    run(&mut bench, "return_to_preferred_roles").expect("run");
    assert!(bench.fake.state().unbalanced().is_empty());
    run(&mut bench, "return_to_preferred_roles").expect("again");
    assert_eq!(bench.person.asked.borrow().len(), 1);
}

#[test]
fn a_double_fault_is_restarted_recovered_and_where_needed_copied_in_full() {
    let mut state = healthy();
    state.break_both(2);
    state.lose_mirror(0);
    state.detail(0).incremental_impossible = Some("another copy".into());
    let mut bench = Bench::new(state);
    run(&mut bench, "recover_double_fault").expect("run");
    assert!(bench.fake.state().single_copy().is_empty());
    let asked = bench.person.asked.borrow().clone();
    assert_eq!(
        asked,
        [Damage::TypeCluster("demo".into()), Damage::TypeWord("sdw2".into())],
        "once for what the plan holds, and the full copy by itself"
    );
    let calls: Vec<String> = bench.fake.calls().into_iter().filter(|c| c != "probe").collect();
    assert_eq!(calls, ["restart all fast", "recover 2", "full_recover 0"]);
}

#[test]
fn a_declined_procedure_changes_nothing() {
    let mut state = healthy();
    state.break_both(2);
    let mut bench = Bench::new(state);
    bench.person.answer.replace(Answer::No);
    let error = run(&mut bench, "recover_double_fault").expect_err("declined");
    assert_eq!((error.code.as_str(), error.exit), ("declined", 4));
    assert!(bench.fake.calls().iter().all(|c| c == "probe"));
}
