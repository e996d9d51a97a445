//! Hooks: what they see, what they may keep from happening, and what they may never do.

use crate::fake::{Bench, Break, healthy};
use std::fs;
use std::os::unix::fs::PermissionsExt;

/// Content 2 has lost its mirror.
fn bench() -> Bench {
    let mut state = healthy();
    state.lose_mirror(2);
    Bench::new(state)
}

fn changes(bench: &Bench) -> Vec<String> {
    bench.fake.calls().into_iter().filter(|call| call != "probe").collect()
}

#[test]
fn a_throw_before_a_change_vetoes_it_and_says_where() {
    let mut bench = bench();
    let error = bench.error("before(\"recover\", |plan| {\n  throw `no: ${plan.steps.len()} steps`\n});\nrecover()");
    assert_eq!((error.exit, error.refusals.len()), (4, 1));
    let veto = &error.refusals[0];
    assert_eq!(
        (veto.code.code(), veto.cause.as_str(), veto.next.as_str()),
        ("vetoed", "no: 1 steps", "look at t.rhai:2")
    );
    assert_eq!(changes(&bench), [""; 0]);
    assert!(bench.person.asked.borrow().is_empty(), "what is vetoed is not asked about");
}

#[test]
fn hooks_run_in_their_order_and_only_for_their_call() {
    let mut bench = bench();
    let text = "let seen = []; before(\"rebalance\", |p| throw \"never\"); before(\"*\", |p| print(`1 ${p.verb}`)); \
                before(\"recover\", |p| print(\"2\")); after(\"recover\", |o| print(`3 ${o.status}`)); recover();";
    bench.eval(text);
    assert_eq!(*bench.person.printed.borrow(), ["1 recover", "2", "3 done"]);
    assert_eq!(changes(&bench), ["recover 2"]);
}

#[test]
fn a_hook_that_fails_or_never_ends_vetoes() {
    for (hook, said) in [
        ("|p| p.nothing_of_that_name", "nothing_of_that_name"),
        ("|p| { loop { } }", "1000000 steps"),
        ("|p| { for i in 0..10 { [1].for_each(|x| { for j in 0..200000 { let k = j; } }) } }", "1000000 steps"),
        ("|p| { try { loop { } } catch { } }", "1000000 steps"),
    ] {
        let mut bench = bench();
        let error = bench.error(&format!("before(\"*\", {hook}); recover()"));
        assert_eq!(error.refusals.first().map(|r| r.code.code()), Some("vetoed"), "{hook}: {error:?}");
        assert!(error.refusals[0].cause.contains(said), "{hook}: {:?}", error.refusals);
        assert_eq!(changes(&bench), [""; 0], "{hook}");
    }
}

#[test]
fn a_hook_that_waits_is_ended_by_its_own_limit_and_ctrl_c_ends_it_too() {
    let mut bench = bench();
    bench.person.interrupt_at.set(Some(40));
    let error = bench.error("before(\"*\", |p| sleep(\"1h\")); recover()");
    assert_eq!(error.code, "interrupted");
    assert_eq!(changes(&bench), [""; 0]);
}

#[test]
fn a_hook_changes_nothing_itself() {
    let mut bench = bench();
    let error = bench.error("before(\"recover\", |p| rebalance()); before(\"rebalance\", |p| recover()); recover()");
    assert_eq!(error.refusals.first().map(|r| r.code.code()), Some("vetoed"), "{error:?}");
    assert_eq!(changes(&bench), [""; 0]);
}

#[test]
fn a_hook_after_a_change_never_changes_its_outcome() {
    let mut bench = bench();
    assert_eq!(bench.eval("after(\"*\", |o| throw \"too late\"); recover().status"), "done");
    let noted = bench.person.noted.borrow().join("\n");
    assert!(noted.contains("too late") && noted.contains("t.rhai"), "{noted}");
}

#[test]
fn an_unknown_call_is_named_with_its_near_miss_and_a_script_s_hooks_end_with_it() {
    let mut bench = bench();
    let error = bench.error("before(\"recovr\", |p| ())");
    assert!(error.message.contains("`recover`"), "{}", error.message);
    bench.error("before(\"*\", |p| throw \"no\"); recover()");
    bench.eval("recover()");
    assert_eq!(changes(&bench), ["recover 2"]);
}

#[test]
fn a_hook_uses_the_modules_and_functions_of_its_script() {
    let scripts = tempfile::tempdir().expect("dir");
    let write = |name: &str, text: &str| {
        let path = scripts.path().join(name);
        fs::write(&path, text).expect("write");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("mode");
        path
    };
    write("limits.rhai", "fn most() { 0 }");
    let main = write(
        "main.rhai",
        "import \"limits\" as limits;\nfn too_many(n) { n > 0 }\n\
         before(\"recover\", |p| if too_many(p.steps.len()) && p.steps.len() > limits::most() { throw \"too many\" });\n\
         recover();",
    );
    let mut bench = bench();
    let error = bench.session.run_file(&main, &[]).expect_err("vetoed");
    assert_eq!(error.refusals.first().map(|r| r.cause.as_str()), Some("too many"), "{error:?}");
}
