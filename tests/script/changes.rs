//! The mutating calls: probe, plan, confirm, apply, and what is thrown.

use crate::fake::{Bench, Break, healthy, unconnected};
use segsh::cluster::OutcomeStatus;
use segsh::script::ui::{Answer, Damage};

#[test]
fn recover_probes_asks_applies_and_returns_when_done() {
    let mut state = healthy();
    state.lose_mirror(2);
    let mut bench = Bench::new(state);
    assert_eq!(bench.eval("let o = recover(); `${o.status} ${o.op} ${o.segments[0].dbid}`"), "done 116 8");
    assert_eq!(bench.fake.calls(), ["probe", "recover 2"]);
    assert_eq!(*bench.person.asked.borrow(), [Damage::Reversible]);
    assert_eq!(bench.person.told.get(), 1);
}

#[test]
fn a_call_with_nothing_to_do_asks_nothing_and_begins_no_operation() {
    let mut bench = Bench::new(healthy());
    assert_eq!(bench.eval("let o = recover(); `${o.done} ${o.op == ()} ${o.message}`"), "true true nothing to do");
    assert!(bench.person.asked.borrow().is_empty());
    assert_eq!(bench.fake.calls(), ["probe"]);
}

#[test]
fn an_empty_selection_is_about_nothing_and_never_about_everything() {
    let mut state = healthy();
    state.lose_mirror(2);
    let mut bench = Bench::new(state);
    for text in ["recover(#{ dbids: [] })", "full_recover(#{ contents: [] })", "recover(#{ hosts: [] })"] {
        assert_eq!(bench.eval(&format!("{text}.message")), "nothing to do", "{text}");
    }
    assert_eq!(bench.error("restart(#{ contents: [] })").code, "bad_option");
}

#[test]
fn refused_and_partial_throw_with_everything_and_raise_false_returns_them() {
    let mut state = healthy();
    state.lose_mirror(1);
    state.lose_mirror(3);
    state.detail(3).incremental_impossible = Some("another copy".into());
    let mut bench = Bench::new(state.clone());
    let error = bench.error("recover(); rebalance();");
    assert_eq!((error.code.as_str(), error.exit), ("partial", 5));
    assert_eq!(error.refusals[0].next, "full_recover(#{ dbids: 9 })");
    assert_eq!(error.op, Some(116));
    assert_eq!(error.changed_before.len(), 1);
    assert_eq!(error.changed_before[0].status, OutcomeStatus::Partial);
    assert!(!bench.fake.calls().iter().any(|c| c.starts_with("rebalance")));

    let mut bench = Bench::new(state);
    let error = bench.error("rebalance()");
    assert_eq!((error.code.as_str(), error.exit, error.refusals.len()), ("refused", 4, 2));
    assert_eq!(bench.eval("rebalance(#{ raise: false }).status"), "refused");
    assert_eq!(
        bench.eval(
            "let n = 0; try { rebalance() } catch (e) { n = e.refusals.filter(|r| r.code == \"segment_down\").len() } n"
        ),
        "2"
    );
}

#[test]
fn without_a_yes_nothing_is_changed_and_the_call_is_declined() {
    let mut state = healthy();
    state.lose_mirror(2);
    let mut bench = Bench::new(state);
    bench.person.answer.replace(Answer::No);
    assert_eq!(bench.error("recover()").code, "declined");
    bench.person.answer.replace(Answer::CannotAsk { hint: "--yes".into() });
    let error = bench.error("recover()");
    assert_eq!((error.exit, error.next.as_str()), (4, "--yes"));
    bench.person.answer.replace(Answer::Interrupted);
    assert_eq!(bench.error("recover()").exit, 130);
    assert!(!bench.fake.calls().iter().any(|c| c.starts_with("recover")));
}

#[test]
fn wait_false_returns_started_and_a_timeout_is_unknown() {
    let mut state = healthy();
    state.lose_mirror(2);
    let mut bench = Bench::new(state);
    assert_eq!(bench.eval("recover(#{ wait: false }).status"), "started");
    let error = bench.error("recover(#{ timeout: \"0ms\" })");
    assert_eq!((error.code.as_str(), error.exit), ("unknown", 6));
    assert!(error.message.contains("timed out"), "{}", error.message);
}

#[test]
fn a_dry_run_stops_after_the_check_and_changes_nothing() {
    let mut state = healthy();
    state.lose_mirror(2);
    let mut bench = Bench::with(state, None, true);
    assert_eq!(bench.eval("recover().status"), "planned");
    assert_eq!(bench.fake.calls(), ["probe"]);
    assert_eq!(bench.person.noted.borrow().len(), 1);
}

#[test]
fn targets_are_always_named_and_a_scalar_stands_for_a_list() {
    let mut state = healthy();
    state.lose_mirror(2);
    let mut bench = Bench::new(state);
    let error = bench.error("recover(2)");
    assert_eq!(error.code, "bare_number");
    assert_eq!(error.next, "recover(#{ contents: 2 }) or recover(#{ dbids: 2 })");
    assert_eq!(bench.error("recover(\"sdw2\")").next, "recover(#{ hosts: \"sdw2\" })");
    assert_eq!(bench.error("fault::kill(2)").code, "bare_number");
    for option in [
        "contents: 2",
        "contents: [2]",
        "dbids: 8",
        "hosts: \"sdw1\"",
        "dbids: state().down",
        "contents: state().down",
        "dbids: state().down[0]",
    ] {
        let text = format!("plan_recover(#{{ {option} }}).steps.len()");
        assert_eq!(bench.eval(&text), "1", "{option}");
    }
}

#[test]
fn an_option_that_is_not_known_or_not_well_given_is_an_error_with_the_near_miss() {
    let mut bench = Bench::new(healthy());
    let error = bench.error("recover(#{ contens: [2] })");
    assert_eq!(error.message, "recover() has no option `contens`; is it `contents`?");
    assert!(error.options.contains(&"rate".to_string()));
    for text in [
        "recover(#{ timeout: 10 })",
        "recover(#{ timeout: \"10\" })",
        "recover(#{ rate: \"50 MiB\" })",
        "recover(#{ contents: \"2\" })",
        "recover(#{ wait: 1 })",
        "recover(#{ jobs: 0 })",
        "restart(#{ mode: \"fsat\" })",
        "recover(#{ contents: 1.5 })",
        "full_recover(#{ dbids: state().contents })",
    ] {
        assert_eq!(bench.error(text).code, "bad_option", "{text}");
    }
}

#[test]
fn a_plan_predicts_its_rows_and_is_refused_once_they_have_changed() {
    let mut state = healthy();
    state.fail_over(2);
    let mut bench = Bench::new(state);
    assert_eq!(
        bench.eval(
            "plan_recover().after.map(|r| `${r.dbid}${r.role.letter}${r.mode.letter}${r.status.letter}`).to_string()"
        ),
        "[\"8psu\", \"4msu\"]"
    );
    bench.session.eval_line("let p = plan_recover();").expect("plan");
    bench.fake.state().lose_mirror(0);
    bench.session.eval_line("p.apply()").expect("another content does not matter");
    let error = bench.session.eval_line("p.apply()").expect_err("it is done already");
    assert_eq!((error.code.as_str(), error.exit), ("refused", 4));
    assert_eq!(error.refusals[0].code.code(), "stale_plan");
    assert_eq!(error.verb, "recover");
}

#[test]
fn a_saved_plan_is_the_same_plan_when_it_is_loaded() {
    let mut state = healthy();
    state.lose_mirror(2);
    let mut bench = Bench::new(state);
    let file = tempfile::NamedTempFile::new().expect("file");
    let path = file.path().display();
    let text = format!(
        "let p = plan_recover(); p.save(\"{path}\"); let q = load_plan(\"{path}\"); [p.id == q.id, q.apply().done].to_string()"
    );
    assert_eq!(bench.eval(&text), "[true, true]");
}

#[test]
fn a_sequence_is_planned_on_the_rows_before_and_applied_in_order() {
    let mut state = healthy();
    state.fail_over(2);
    let mut bench = Bench::new(state);
    let text = "let a = plan_recover(); let p = plan_sequence([a, plan_rebalance(#{ after: a })]);
                confirm(p); let o = p.apply(); `${p.steps.len()} ${o.status} ${o.segments.len()}`";
    assert_eq!(bench.eval(text), "2 done 2");
    assert_eq!(bench.person.asked.borrow().len(), 1, "asked once for both");
    assert!(bench.fake.state().unbalanced().is_empty());
}

#[test]
fn a_yes_covers_the_steps_it_was_given_for_once_and_no_others() {
    let mut state = healthy();
    state.lose_mirror(1);
    state.lose_mirror(2);
    let mut bench = Bench::new(state);
    bench.eval("confirm(plan_recover(#{ contents: 1 })); recover(#{ contents: 1 });");
    assert_eq!(bench.person.asked.borrow().len(), 1);
    bench.eval("confirm(plan_recover(#{ contents: 1 })); recover(#{ contents: 2 });");
    assert_eq!(bench.person.asked.borrow().len(), 2, "nothing to confirm for 1, but 2 asks");
}

#[test]
fn without_a_cluster_every_call_that_needs_one_says_so() {
    let mut session = unconnected();
    for text in [
        "state()",
        "recover()",
        "plan_restart()",
        "sql(\"select 1\")",
        "ping(\"h\")",
        "demo::traffic()",
        "fault::stop_host(\"h\")",
        "setting(\"a\")",
        "wait_until(\"synchronized\")",
    ] {
        let error = session.run_source("t", text).expect_err(text);
        assert_eq!((error.code.as_str(), error.exit), ("no_cluster", 7), "{text}");
    }
    assert!(session.run_source("t", "help(); 1 + 1").is_ok());
}

#[test]
fn faults_and_demos_are_for_drill_clusters() {
    let mut state = healthy();
    state.drill = false;
    let mut bench = Bench::new(state);
    for text in
        ["fault::stop_host(\"sdw1\")", "fault::kill(state().segment(2))", "demo::load(\"1 MiB\")", "demo::traffic()"]
    {
        let error = bench.error(text);
        assert_eq!((error.code.as_str(), error.exit), ("not_drill", 4), "{text}");
    }
    bench.fake.state().drill = true;
    bench.eval("fault::kill(state().content(0).primary); fault::start_host(\"sdw1\")");
    assert_eq!(bench.fake.calls(), ["Kill(Dbid(2))", "StartHost(\"sdw1\")"]);
}

#[test]
fn waiting_ends_when_it_is_so_when_it_cannot_be_and_when_time_is_up() {
    let mut bench = Bench::new(healthy());
    assert_eq!(bench.eval("wait_until(\"synchronized\").operational"), "true");
    assert_eq!(bench.eval("wait_until(|s| s.down.is_empty()).cluster"), "demo");
    let error = bench.error("wait_until(|s| false, #{ timeout: \"1ms\" })");
    assert_eq!((error.code.as_str(), error.exit), ("timed_out", 6));
    let error = bench.error("wait_until(|s| false, #{ stall: \"1ms\" })");
    assert_eq!((error.code.as_str(), error.exit), ("stalled", 6));
    bench.fake.state().lose_mirror(2);
    let error = bench.error("wait_until(\"synchronized\")");
    assert_eq!((error.code.as_str(), error.exit), ("cannot_happen", 6));
    assert_eq!(error.next, "recover(#{ contents: [2] })");
    assert_eq!(bench.eval("wait_until(\"synchronized\", #{ contents: [0, 1] }).operational"), "true");
    assert_eq!(bench.error("wait_until(\"synchronised\")").code, "unknown_condition");
    assert_eq!(bench.error("wait_until(|s| 5)").code, "type_mismatch");
}
