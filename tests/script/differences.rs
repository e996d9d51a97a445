//! `plan.diff`: two plans, or a plan and what it would be now.

use crate::fake::{Bench, Break, healthy};

#[test]
fn plans_made_of_the_same_state_do_the_same() {
    let mut state = healthy();
    state.lose_mirror(2);
    let mut bench = Bench::new(state);
    assert_eq!(bench.eval("plan_recover().diff(plan_recover()).same"), "true");
    assert_eq!(bench.eval("plan_recover().diff(state()).same"), "true");
    assert!(bench.eval("plan_recover().diff(plan_recover()).to_string()").contains("would do the same"));
}

#[test]
fn what_only_one_of_two_plans_would_do_is_named() {
    let mut state = healthy();
    state.lose_mirror(1);
    state.lose_mirror(2);
    let mut bench = Bench::new(state);
    let text = "let d = plan_recover().diff(plan_recover(#{ contents: 2 }));
                [d.only_here.map(|i| i.content), d.only_there.len(), d.changed.map(|c| c.field)].to_string()";
    // The row of content 1 is predicted by the first alone.
    assert_eq!(bench.eval(text), "[[1], 0, [\"after\"]]");
    let text = "plan_recover(#{ contents: 2, jobs: 2 }).diff(plan_recover(#{ contents: 2 })).changed[0].here";
    assert_eq!(bench.eval(text), "jobs 2");
    let kinds = "plan_recover(#{ contents: 2 }).diff(plan_full_recover(#{ contents: 2 })).only_there[0].what";
    assert_eq!(bench.eval(kinds), "full_recover, full copy");
}

#[test]
fn a_plan_is_compared_with_what_it_would_be_now() {
    let mut state = healthy();
    state.fail_over(2);
    let mut bench = Bench::new(state);
    bench
        .session
        .eval_line("let a = plan_recover(); let p = plan_sequence([a, plan_rebalance(#{ after: a })]);")
        .expect("plans");
    let same = bench.session.eval_line("p.diff(state()).same").expect("a difference");
    assert_eq!(same.value.to_string(), "true");
    bench.fake.state().detail(2).to_copy_blocks = Some(999);
    bench.fake.state().lose_mirror(0);
    let told = bench.session.eval_line("p.diff(state()).to_string()").expect("a difference").value.to_string();
    for part in ["copy_blocks: 307", "999", "content 0  dbid 6  recover, incremental", "only what it would be now"] {
        assert!(told.contains(part), "no `{part}`:\n{told}");
    }
    assert_eq!(bench.error("plan_recover().diff(7)").code, "type_mismatch");
}
