//! A dry run of a session: planned step by step on what the one before would leave, and nothing done.

use crate::fake::{Bench, Break, healthy};
use segsh::cluster::PairHealth;
use segsh::core::row::{Mode, Status};
use segsh::script::Rehearsed;

fn dry(state: segsh::cluster::State) -> Bench {
    Bench::with(state, None, true)
}

fn rehearsed(bench: &mut Bench, text: &str) -> Rehearsed {
    match bench.session.run_source("t.rhai", text) {
        Ok(value) => value.rehearsed.unwrap_or_else(|| panic!("{text}: no dry run")),
        Err(error) => panic!("{text}: {error:?}"),
    }
}

#[test]
fn each_step_is_planned_on_what_the_one_before_would_leave() {
    let mut state = healthy();
    state.fail_over(2);
    let mut bench = dry(state.clone());
    let text = "recover(); let s = wait_until(\"synchronized\"); rebalance(); [s.down.len(), state().unbalanced.len()].to_string()";
    assert_eq!(bench.eval(text), "[0, 0]");
    let plans = rehearsed(&mut bench, "()").plans;
    assert_eq!(plans.iter().map(|p| p.verb()).collect::<Vec<_>>(), ["recover", "rebalance"]);
    assert_eq!(plans[1].epochs[0].1, plans[0].after[0].epoch, "the second stands on the first");
    assert_eq!(*bench.fake.state(), state, "nothing was changed");
    assert!(!bench.fake.calls().iter().any(|c| c != "probe"), "{:?}", bench.fake.calls());
    assert!(bench.person.asked.borrow().is_empty(), "nobody is asked");
}

#[test]
fn what_has_no_plan_is_named_and_not_done() {
    let mut bench = dry(healthy());
    let text = "setting(\"gp_fts_probe_interval\", \"1s\"); fts_pause(\"5m\"); fts_resume();
                fault::kill(state().content(0).primary); fault::stop_host(\"sdw1\"); fault::start_host(\"sdw1\");
                demo::load(\"1 MiB\"); demo::traffic().stop(); sql(0, \"delete from t\"); sql_all(\"drop table t\");
                sql(\"select 1\");";
    let others = rehearsed(&mut bench, text).others;
    assert_eq!(others.len(), 10, "{others:?}");
    assert_eq!(others[0], "setting(\"gp_fts_probe_interval\", \"1s\")");
    assert_eq!(others[8], "sql(0, \"delete from t\")");
    let calls = bench.fake.calls();
    assert_eq!(calls.len(), 1, "only what reads was sent: {calls:?}");
    assert!(calls[0].contains("select 1"), "{calls:?}");
}

#[test]
fn a_pause_is_seen_by_what_follows_and_a_setting_is_still_read() {
    let mut bench = dry(healthy());
    assert_eq!(bench.eval("fts_pause(\"5m\"); state().fts_paused_until_ms != ()"), "true");
    assert_eq!(bench.eval("setting(\"gp_fts_probe_interval\")"), "1s");
}

#[test]
fn a_refusal_is_thrown_and_remembered_though_it_was_caught() {
    let mut state = healthy();
    state.lose_mirror(2);
    let mut bench = dry(state);
    assert_eq!(bench.error("rebalance()").exit, 4);
    let seen = rehearsed(&mut bench, "try { rebalance() } catch (e) { }");
    assert!(seen.plans.iter().all(|p| p.refuses), "{seen:?}");
}

#[test]
fn nothing_moves_while_it_waits_so_it_takes_what_copies_as_copied_and_waits_for_nothing_else() {
    let mut state = healthy();
    let up = (Mode::Resynchronizing, Status::Up);
    state.set_pair(1, PairHealth::Resynchronizing, up, up);
    let mut bench = dry(state);
    assert_eq!(bench.eval("wait_until(\"synchronized\"); rebalance().status"), "done");
    assert_eq!(bench.eval("wait_until(|s| false).cluster"), "demo");

    let mut state = healthy();
    state.lose_mirror(2);
    let error = dry(state).error("wait_until(\"synchronized\")");
    assert_eq!((error.code.as_str(), error.exit), ("cannot_happen", 6));
}

#[test]
fn a_procedure_is_rehearsed_from_its_first_step_to_its_last() {
    let mut state = healthy();
    state.break_both(2);
    let mut bench = dry(state);
    let seen = rehearsed(&mut bench, "procedure(\"recover_double_fault\")");
    let verbs: Vec<_> = seen.plans.iter().map(|p| p.verb()).collect();
    assert_eq!(verbs, ["restart", "recover"]);
    assert!(bench.person.noted.borrow().iter().any(|n| n == "would ask: y/N"), "{:?}", bench.person.noted);
}

#[test]
fn a_saved_plan_is_rehearsed_and_one_that_is_stale_is_refused() {
    let mut state = healthy();
    state.lose_mirror(2);
    let file = tempfile::NamedTempFile::new().expect("file");
    let path = file.path().display().to_string();
    Bench::new(state.clone()).eval(&format!("plan_recover().save(\"{path}\")"));
    let apply = format!("load_plan(\"{path}\").apply()");
    let mut bench = dry(state.clone());
    assert_eq!(bench.eval(&format!("{apply}.status")), "planned");
    state.lose_mirror(0);
    state.set_pair(
        2,
        PairHealth::ChangeTracking,
        (Mode::ChangeTracking, Status::Up),
        (Mode::Synchronized, Status::Down),
    );
    let error = dry(state).error(&apply);
    assert_eq!((error.exit, error.refusals[0].code.code()), (4, "stale_plan"));
}

#[test]
fn what_comes_after_a_saved_plan_is_planned_while_it_still_stands() {
    let mut state = healthy();
    state.fail_over(2);
    let file = tempfile::NamedTempFile::new().expect("file");
    let path = file.path().display().to_string();
    let mut bench = Bench::new(state);
    bench.eval(&format!("plan_recover().save(\"{path}\")"));
    let after = format!("plan_rebalance(#{{ after: load_plan(\"{path}\") }})");
    assert_eq!(bench.eval(&format!("{after}.steps.len()")), "1");
    bench.eval("recover()");
    assert_eq!(bench.error(&after).refusals[0].code.code(), "stale_plan");
}

#[test]
fn a_sequence_is_asked_about_once_and_as_a_whole() {
    let mut state = healthy();
    state.fail_over(2);
    let mut bench = Bench::new(state);
    let text = "let a = plan_recover(); plan_sequence([a, plan_rebalance(#{ after: a })]).apply().status";
    assert_eq!(bench.eval(text), "done");
    assert_eq!(bench.person.asked.borrow().len(), 1);
}

#[test]
fn a_sequence_with_a_part_that_refuses_refuses() {
    let mut state = healthy();
    state.lose_mirror(2);
    let mut bench = Bench::new(state);
    let value = bench.session.run_source("t", "plan_sequence([plan_recover(#{ contents: [0] }), plan_rebalance()])");
    let plan = value.expect("a plan").plan().expect("a plan");
    assert!(plan.refuses, "{plan:?}");
}

#[test]
fn a_wait_ends_with_the_coordinator() {
    let mut bench = Bench::new(healthy());
    bench.fake.state().coordinator.pid = None;
    for text in ["wait_until(\"operational\")", "wait_until(\"synchronized\")", "wait_until(|s| false)"] {
        let error = bench.error(text);
        assert_eq!((error.code.as_str(), error.exit), ("unreachable", 7), "{text}");
    }
    assert_eq!(bench.eval("wait_until(|s| s.coordinator.pid == ()).cluster"), "demo", "unless that was waited for");
}

#[test]
fn what_nobody_works_on_does_not_become_operational() {
    let mut state = healthy();
    state.break_both(2);
    let mut bench = Bench::new(state);
    let error = bench.error("wait_until(\"operational\")");
    assert_eq!((error.code.as_str(), error.exit), ("cannot_happen", 6));
    assert_eq!(error.next, "procedure(\"recover_double_fault\")");
    // Somebody restarts it: that may help, and is waited for.
    bench.fake.state().detail(2).operation = Some(7);
    assert_eq!(bench.error("wait_until(\"operational\", #{ timeout: \"1ms\" })").code, "timed_out");
}

#[test]
fn what_a_call_that_was_interrupted_left_behind_is_said() {
    let mut bench = Bench::new(healthy());
    bench.person.cancels.set(true);
    let error = bench.error("restart()");
    assert_eq!((error.code.as_str(), error.exit), ("interrupted", 130));
    assert!(error.message.contains("was not started again"), "{}", error.message);
}
