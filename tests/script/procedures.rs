//! The documented procedures, each broken, planned, run and run again.

use crate::fake::{Bench, Break, healthy, running};
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
        let options = if name == "replace_host" { "#{ host: \"sdw2\", to: \"sdw1\" }" } else { "#{}" };
        let text = format!("import \"std/{name}\" as p; p::plan({options}).is_empty");
        assert_eq!(bench.eval(&text), "true", "{name}");
    }
    let listed = segsh::script::procedure_docs().len().to_string();
    assert_eq!(bench.eval("procedures().len()"), listed);
    assert_eq!(bench.error("procedure(\"recover_duoble_fault\")").code, "unknown_procedure");
    let error = bench.error("procedure(\"recover_double_fault\", #{ contents: 2 })");
    assert_eq!(error.code, "unknown_option");
    assert!(error.message.contains("no option `contents`"), "{}", error.message);
}

#[test]
fn a_site_s_own_procedures_are_listed_and_run_beside_the_built_in_ones() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().expect("a folder");
    let heal = "//! Heals one content.\n\
                fn plan(options) { plan_recover(#{ contents: options.content }) }\n\
                fn run(options) { check_options(\"heal\", options, [\"content\"]); plan(options).apply() }\n";
    for (name, text, mode) in [
        ("heal.rhai", heal, 0o600),
        ("limits.rhai", "fn run(options) { }\n", 0o600),
        ("acts.rhai", "fn plan(o) { }\nfn run(o) { }\nprint(1);\n", 0o600),
        ("shared.rhai", heal, 0o666),
        ("recover_double_fault.rhai", "fn plan(o) { }\nfn run(o) { throw \"not this one\" }\n", 0o600),
    ] {
        let file = dir.path().join(name);
        std::fs::write(&file, text).expect("it is ours");
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).expect("it is ours");
    }
    let mut state = healthy();
    state.lose_mirror(2);
    let mut bench = Bench::with(state, Some(dir.path().to_path_buf()), false);
    let listed = bench.eval("procedures().filter(|p| p.file != \"\").map(|p| [p.name, p.doc])");
    assert_eq!(listed, "[[\"heal\", \"Heals one content.\"]]");
    let run = "procedure(\"heal\", #{ content: 2 }).segments.len()";
    assert_eq!(bench.eval(run), "1");
    let error = bench.error("procedure(\"heal\", #{ contant: 2 })");
    assert_eq!((error.code.as_str(), error.options.as_slice()), ("unknown_option", &["content".to_string()][..]));
    assert!(error.message.ends_with("is it `content`?"), "{error}");
    // What is built in is not replaced, and one that nobody may trust says why it is not run.
    assert!(bench.session.run_procedure("recover_double_fault", Default::default()).is_ok());
    let error = bench.error("procedure(\"shared\")");
    assert!(error.code == "module" && error.message.contains("written by others"), "{error}");
    let error = bench.error("procedure(\"heel\")");
    assert!(error.code == "unknown_procedure" && error.message.contains("is it `heal`?"), "{error}");
    assert_eq!(bench.error("procedure(\"../heal\")").code, "unknown_procedure");
    // As `segsh run --dry-run` asks for its plan.
    let error = bench.error("import \"procedure/haal\" as p; p::plan(#{})");
    assert_eq!((error.code.as_str(), error.next.as_str()), ("unknown_procedure", "procedures()"));
    assert!(error.message.contains("is it `heal`?"), "{error}");
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
fn a_recovery_that_is_shown_is_of_the_content_that_was_named_and_of_no_other() {
    let mut state = healthy();
    state.lose_mirror(1);
    let mut bench = Bench::new(state);
    bench.eval("procedure(\"recovery_process\", #{ content: 0 })");
    assert!(bench.person.asked.borrow().is_empty(), "content 0 is synchronized: there is nothing to do");
    assert_eq!(bench.error("procedure(\"recovery_process\", #{ content: 9 })").exit, 1);
}

#[test]
fn recovery_with_mirroring_names_the_host_that_does_not_answer() {
    let mut state = healthy();
    state.fail_over(0);
    state.host_down("sdw1");
    let mut bench = Bench::new(state);
    let error = run(&mut bench, "recover_with_mirroring").expect_err("host");
    assert_eq!((error.code.as_str(), error.exit), ("host_down", 4));
    assert!(error.position.is_some_and(|p| p.file == "std/steps"));
    assert_eq!(error.next, "fault::start_host(\"sdw1\"); then run this again");
    assert!(bench.fake.calls().iter().all(|c| c == "probe"), "nothing was begun");
}

#[test]
fn what_to_do_about_a_host_depends_on_why_it_does_not_answer_and_on_how_it_is_asked() {
    let next = |cause: &str, over_ssh: bool| {
        let mut state = healthy();
        state.drill = false;
        state.fail_over(0);
        state.host_down("sdw1");
        state.hosts[0].cause = cause.into();
        let mut bench = Bench::new(state);
        bench.fake.over_ssh.store(over_ssh, std::sync::atomic::Ordering::Relaxed);
        run(&mut bench, "recover_with_mirroring").expect_err(cause).next
    };
    for (cause, over_ssh, says) in [
        ("refused", false, "its agent is not: segsh start -c demo"),
        ("refused", true, "its sshd is not"),
        ("login", false, "its key file"),
        ("login", true, "authorized_keys"),
        ("host_key_unknown", true, "ssh-keyscan, into known_hosts"),
        ("host_key_changed", true, "why its host key changed"),
        ("program", true, "segsh start -c demo copies it there again"),
        ("timeout", true, "restart the machine"),
    ] {
        let next = next(cause, over_ssh);
        assert!(next.contains(says), "{cause}: {next}");
        let restarts = next.contains("restart the machine");
        assert_eq!(restarts, cause == "timeout", "{cause}: {next}");
    }
}

#[test]
fn every_host_that_does_not_answer_is_named_at_once() {
    let mut state = healthy();
    state.fail_over(0);
    state.fail_over(2);
    state.host_down("sdw1");
    state.host_down("sdw2");
    let error = run(&mut Bench::new(state), "recover_with_mirroring").expect_err("hosts");
    let lines: Vec<&str> = error.message.lines().collect();
    assert_eq!(lines.len(), 2, "{}", error.message);
    assert!(lines[0].starts_with("host sdw1 (127.0.0.1) does not answer, refused: "), "{}", lines[0]);
    assert!(lines[1].starts_with("host sdw2 "), "{}", lines[1]);
}

/// A procedure in a situation that another one is for changes nothing, and names that one.
#[test]
fn a_procedure_that_is_not_for_it_changes_nothing_and_names_the_one_that_is() {
    type Broken = fn(&mut segsh::cluster::State);
    let double: Broken = |s| s.break_both(2);
    let mirror: Broken = |s| s.lose_mirror(1);
    let lost: Broken = |s| {
        s.without_mirrors();
        s.lose_only(2);
    };
    for (name, broken, other) in [
        ("recover_with_mirroring", double, "recover_double_fault"),
        ("recover_with_mirroring", lost, "recover_without_mirroring"),
        ("return_to_preferred_roles", double, "recover_double_fault"),
        ("return_to_preferred_roles", mirror, "recover_with_mirroring"),
        ("return_to_preferred_roles", lost, "recover_without_mirroring"),
        ("recover_double_fault", lost, "recover_without_mirroring"),
        ("recover_without_mirroring", double, "recover_double_fault"),
        ("recover_without_mirroring", mirror, "recover_with_mirroring"),
    ] {
        let mut state = healthy();
        broken(&mut state);
        let mut bench = Bench::new(state);
        let error = run(&mut bench, name).expect_err(name);
        assert_eq!((error.code.as_str(), error.exit), ("refused", 4), "{name}: {}", error.message);
        assert_eq!(error.next, format!("procedure(\"{other}\")"), "{name}");
        assert!(bench.person.asked.borrow().is_empty(), "{name}");
        assert!(bench.fake.calls().iter().all(|c| c == "probe"), "{name}: {:?}", bench.fake.calls());
    }
}

#[test]
fn a_healthy_cluster_is_left_alone_by_every_procedure_and_nobody_is_asked() {
    let mut mirrorless = healthy();
    mirrorless.without_mirrors();
    for state in [healthy(), mirrorless] {
        // A host that is up is not replaced, which is no success: tests/script/moves.rs. And a restore is told which
        // backup, and replaces what there is.
        let others = ["replace_host", "recreate_from_backup"];
        for (name, _) in segsh::script::procedure_docs().into_iter().filter(|(n, _)| !others.contains(&n.as_str())) {
            let mut bench = Bench::new(state.clone());
            run(&mut bench, &name).unwrap_or_else(|e| panic!("{name}: {e}"));
            assert!(bench.person.asked.borrow().is_empty(), "{name}");
            assert!(bench.fake.calls().iter().all(|c| c == "probe"), "{name}: {:?}", bench.fake.calls());
        }
    }
}

#[test]
fn without_mirrors_what_is_lost_is_restarted_and_the_rest_goes_on() {
    let mut state = healthy();
    state.without_mirrors();
    state.lose_only(1);
    state.lose_only(3);
    let mut bench = Bench::new(state);
    run(&mut bench, "recover_without_mirroring").expect("run");
    assert!(bench.fake.state().lost().is_empty());
    let calls: Vec<String> = bench.fake.calls().into_iter().filter(|c| c != "probe").collect();
    assert_eq!(calls, ["restart 1,3"]);
    assert_eq!(*bench.person.asked.borrow(), [Damage::Reversible]);
    bench.fake.state().lose_only(1);
    bench.fake.state().host_down("sdw1");
    let error = run(&mut bench, "recover_without_mirroring").expect_err("host");
    assert_eq!((error.code.as_str(), error.exit), ("host_down", 4));
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
fn roles_are_returned_when_a_recovery_has_let_go_of_its_contents_and_nothing_else_is_waited_for() {
    let held_by = |verb: &str| {
        let mut state = healthy();
        state.swap(1);
        state.detail(1).operation = Some(12);
        let bench = Bench::new(state);
        *bench.fake.running.lock().expect("operations") = vec![running(12, verb, 1)];
        bench
    };
    // It is over with a Ctrl-C, or never here: nothing was begun meanwhile.
    let mut bench = held_by("full_recover");
    bench.person.interrupt_at.set(Some(40));
    let error = run(&mut bench, "return_to_preferred_roles").expect_err("it waits");
    assert_eq!(error.code, "interrupted");
    assert!(!bench.fake.calls().contains(&"rebalance 1".to_string()) && bench.person.asked.borrow().is_empty());
    // Whoever compares has no end that is near: then it is said who holds the content.
    let mut bench = held_by("verify");
    run(&mut bench, "return_to_preferred_roles").expect("the fake lets it");
    assert!(bench.fake.calls().contains(&"rebalance 1".to_string()));
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
        [Damage::Reversible, Damage::TypeWord("sdw2".into())],
        "once for what the plan holds, and the full copy by itself"
    );
    let calls: Vec<String> = bench.fake.calls().into_iter().filter(|c| c != "probe").collect();
    assert_eq!(calls, ["restart 2", "recover 2", "full_recover 0"], "contents that serve go on serving");
}

#[test]
fn a_double_fault_on_a_host_that_does_not_answer_takes_a_restart_of_everything() {
    let mut state = healthy();
    state.break_both(2);
    state.host_down("sdw2");
    let mut bench = Bench::new(state);
    run(&mut bench, "recover_double_fault").expect("run");
    assert_eq!(*bench.person.asked.borrow(), [Damage::TypeCluster("demo".into())]);
    let calls: Vec<String> = bench.fake.calls().into_iter().filter(|c| c != "probe").collect();
    assert_eq!(calls, ["restart all fast", "recover 2"]);
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
