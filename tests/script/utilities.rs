//! The utilities of Greenplum as functions: what they print, return and throw.

use crate::fake::{Bench, Break, healthy, unconnected};
use segsh::cluster::OperationInfo;
use segsh::cluster::request::Owner;
use segsh::core::ids::Content;

#[test]
fn a_utility_prints_its_lines_and_returns_how_it_ended() {
    let mut state = healthy();
    state.fail_over(2);
    let mut bench = Bench::new(state);
    assert_eq!(bench.eval("let u = gpstate(\"-e\"); [u.name, u.exit, u.lines.len() > 5]"), "[\"gpstate\", 1, true]");
    let printed = bench.person.printed.borrow().join("\n");
    assert!(printed.contains("gpstate:") && printed.contains("-[INFO]:-Primaries in Change Tracking"), "{printed}");
    assert_eq!(bench.eval("gpstate(\"-e\").tables[0].columns[0]"), "Current Primary");
    assert_eq!(bench.eval("gpstate().exit"), "1", "without options it counts");
    assert_eq!(bench.fake.calls().iter().filter(|c| *c != "probe").count(), 0, "it only looks");
}

#[test]
fn what_cannot_be_carried_out_throws_unless_it_is_told_not_to() {
    let mut bench = Bench::new(healthy());
    let error = bench.error("gpstate(\"-m -e\")");
    assert_eq!((error.code.as_str(), error.exit), ("utility_failed", 2));
    assert!(error.message.contains("Too many output options"), "{}", error.message);
    assert_eq!(bench.eval("gpstate(\"-m -e\", #{ raise: false }).exit"), "2");
    assert_eq!(bench.error("gpstate(\"-l 'open\")").code, "bad_option");
    let error = bench.error("gpstate(\"-d /elsewhere\")");
    assert!(error.message.contains("this session is on demo"), "{}", error.message);
}

#[test]
fn without_a_cluster_a_utility_says_which_variable_is_not_set() {
    let mut session = unconnected();
    let ended =
        session.run_source("t", "gpstate(\"-m\", #{ raise: false }).lines[2]").expect("it is told not to throw");
    assert_eq!(ended.value.to_string(), "[ERROR]:-gpstate error: Environment Variable MASTER_DATA_DIRECTORY not set!");
    let helped = session.run_source("t", "gpstate(\"--help\").exit").expect("help needs no cluster");
    assert_eq!(helped.value.to_string(), "0");
}

#[test]
fn gprecoverseg_asks_in_its_own_words_and_enter_is_no() {
    let mut state = healthy();
    state.fail_over(2);
    let mut bench = Bench::new(state);
    bench.person.replies.borrow_mut().extend(["what", ""].map(String::from));
    let error = bench.error("gprecoverseg()");
    assert_eq!((error.code.as_str(), error.exit), ("utility_failed", 4));
    let asked = bench.person.lines_asked.borrow().clone();
    assert_eq!(asked.len(), 2, "what is neither yes nor no is asked again: {asked:?}");
    assert!(asked[0].contains("Continue with segment recovery procedure Yy|Nn (default=N):"), "{asked:?}");
    assert!(bench.fake.calls().iter().all(|c| c == "probe"), "nothing was done");
    bench.person.replies.borrow_mut().push("Y".into());
    assert_eq!(bench.eval("gprecoverseg(\"-B 2\").exit"), "0");
    assert_eq!(bench.fake.calls().last().map(String::as_str), Some("recover 2"));
    assert_eq!(bench.eval("gprecoverseg(\"-a\").lines.len() > 3"), "true", "there is nothing left to do");
}

#[test]
fn gprecoverseg_obeys_the_sites_hooks_and_a_dry_run() {
    let mut state = healthy();
    state.fail_over(2);
    let mut bench = Bench::new(state.clone());
    let error = bench.error("before(\"recover\", |plan| throw \"not today\"); gprecoverseg(\"-a\")");
    assert!(error.message.contains("vetoed: not today"), "{}", error.message);
    let mut bench = Bench::with(state, None, true);
    assert_eq!(bench.eval("gprecoverseg(\"-a\").exit"), "0");
    assert!(bench.fake.calls().iter().all(|c| c == "probe"), "a dry run does nothing");
    assert_eq!(bench.eval("gprecoverseg(\"-a\"); state().down.len()"), "0", "it goes on as if it were done");
}

#[test]
fn who_holds_a_content_is_said_before_anything_is_shown_or_asked() {
    let mut state = healthy();
    state.swap(2);
    state.detail(2).operation = Some(12);
    let mut bench = Bench::new(state);
    let owner = Owner { user: "sam".into(), pid: 4711, ..Owner::default() };
    *bench.fake.running.lock().expect("operations") = vec![OperationInfo {
        id: 12,
        verb: "verify".into(),
        status: "running".into(),
        contents: vec![Content(2)],
        owner,
        started_ms: 1,
        elapsed_ms: 1,
        heartbeat_ms: None,
        watchers: 0,
        step: String::new(),
        percent: None,
        outcome: None,
    }];
    let error = bench.error("gprecoverseg(\"-ar\")");
    assert!(error.message.contains("An instance of verify is already running (pid 4711)"), "{}", error.message);
    assert_eq!(error.next, "attach(12)");
    let printed = bench.person.printed.borrow().join("\n");
    assert!(!printed.contains("Recovery type") && !printed.contains("unbalanced"), "{printed}");
    assert!(bench.fake.calls().iter().all(|c| c == "probe"), "nothing was begun");
    // One that is like it is joined by the coordinator.
    bench.fake.running.lock().expect("operations")[0].verb = "rebalance".into();
    assert_eq!(bench.eval("gprecoverseg(\"-ar\").exit"), "0");
    assert_eq!(bench.fake.calls().last().map(String::as_str), Some("rebalance 2"));
}

#[test]
fn a_part_that_is_not_done_is_an_exit_code_and_throws() {
    let mut state = healthy();
    state.lose_mirror(0);
    state.lose_mirror(2);
    state.detail(0).incremental_impossible = Some("the map is lost".into());
    let mut bench = Bench::new(state.clone());
    assert_eq!(bench.eval("gprecoverseg(\"-a\", #{ raise: false }).exit"), "1");
    let printed = bench.person.printed.borrow().join("\n");
    assert!(printed.contains("content 0 dbid 6: incremental_impossible: the map is lost"), "{printed}");
    assert_eq!(bench.fake.calls().last().map(String::as_str), Some("recover 2"));
    let error = Bench::new(state.clone()).error("gprecoverseg(\"-a\")");
    assert_eq!((error.code.as_str(), error.exit), ("utility_failed", 1));
    state.break_both(3);
    let error = Bench::new(state).error("gprecoverseg(\"-a\")");
    assert!(error.message.contains("Both segments for content 3 are down"), "{}", error.message);
}

#[test]
fn a_smart_stop_is_refused_while_clients_are_connected_and_a_fast_one_is_not() {
    let mut bench = Bench::new(healthy());
    bench.fake.sessions.store(3, std::sync::atomic::Ordering::Relaxed);
    let error = bench.error("gpstop(\"-a\")");
    assert_eq!(error.exit, 2);
    assert!(error.message.contains("Active connections. Aborting shutdown... (3)"), "{}", error.message);
    assert_eq!(bench.error("gpstop(\"-M fast\")").exit, 4, "nobody can be asked");
    assert_eq!(bench.fake.calls(), Vec::<String>::new());
    assert_eq!(bench.eval("gpstop(\"-ar -M fast\").exit"), "0");
    assert_eq!(bench.fake.calls(), ["stop fast false", "start false false", "probe"]);
    let printed = bench.person.printed.borrow().join("\n");
    for line in [
        "Shutdown mode                                  = fast",
        "Restarting System...",
        "Database successfully started",
    ] {
        assert!(printed.contains(line), "`{line}` is missing:\n{printed}");
    }
}

#[test]
fn the_coordinator_alone_is_stopped_and_started_and_a_reload_stops_nothing() {
    let mut bench = Bench::new(healthy());
    assert_eq!(bench.eval("gpstop(\"-am\").exit"), "0");
    let error = bench.error("gpstart(\"-a -t 0\")");
    assert!(error.message.contains("Invalid timeout value"), "{}", error.message);
    assert_eq!(bench.eval("gpstart(\"-amR\").exit"), "0");
    assert_eq!(bench.fake.calls(), ["stop fast true", "start true true"], "nobody was connected: nobody is waited for");
    assert!(bench.error("gpstart(\"-aR\")").message.contains("Master instance process running"));
    assert_eq!(bench.eval("gpstop(\"-u\").exit"), "0");
    bench.fake.state().lose_mirror(1);
    assert_eq!(bench.eval("gpstop(\"-u\", #{ raise: false }).exit"), "1", "a segment does not run");
    assert_eq!(bench.fake.calls()[2..], ["reload", "reload"]);
}

#[test]
fn a_dry_run_stops_and_starts_nothing() {
    let mut bench = Bench::with(healthy(), None, true);
    assert_eq!(bench.eval("gpstop(\"-ar -M fast\"); gpstop(\"-u\"); gpstart(\"-a\").exit"), "0");
    assert_eq!(bench.fake.calls(), Vec::<String>::new());
}
