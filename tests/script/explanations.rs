//! `why`: what can be asked, and that the answer is what the table and the state say.

use crate::fake::{Bench, Break, healthy};
use segsh::cluster::PairHealth;
use segsh::core::row::{Mode, Status};

#[test]
fn a_single_copy_is_explained_by_evidence_what_is_in_the_way_and_the_next_step() {
    let mut state = healthy();
    state.fail_over(2);
    let mut bench = Bench::new(state);
    let text = "let w = why(\"content 2\"); [w.fine, w.evidence.len(), w.next, w.blocks.map(|r| r.code).contains(\"segment_down\")].to_string()";
    assert_eq!(bench.eval(text), "[false, 3, \"recover(#{ contents: [2] })\", true]");
    for same in ["why(state().content(2))", "why(\"dbid 4\")", "why(state().segment(8))"] {
        assert_eq!(bench.eval(&format!("{same}.next")), "recover(#{ contents: [2] })", "{same}");
    }
    assert_eq!(bench.eval("why(\"content 1\").fine"), "true");
    assert_eq!(bench.eval("why(\"content 1\").next"), "");
}

#[test]
fn what_is_wrong_comes_with_the_gravest_first() {
    let mut state = healthy();
    state.lose_mirror(1);
    state.break_both(3);
    state.host_down("sdw2");
    let mut bench = Bench::new(state);
    let what = bench.eval("why().parts.map(|p| p.what).to_string()");
    assert_eq!(what, "[\"host sdw2\", \"content 3\", \"content 1\"]");
    assert_eq!(bench.eval("why(\"sdw2\").parts[0].next"), "fault::start_host(\"sdw2\")");
}

#[test]
fn a_verb_is_explained_by_the_very_refusals_that_it_would_get() {
    let mut state = healthy();
    state.lose_mirror(1);
    let up = (Mode::Resynchronizing, Status::Up);
    state.set_pair(2, PairHealth::Resynchronizing, up, up);
    let mut bench = Bench::new(state);
    let told = bench.eval("why(\"rebalance\").blocks.map(|r| r.code).to_string()");
    let refused = bench.eval("plan_rebalance().refusals.map(|r| r.code).to_string()");
    assert_eq!(told, refused);
    assert_eq!(bench.eval("why(\"recover\").fine"), "true");
}

#[test]
fn what_cannot_be_asked_about_names_the_near_miss() {
    let mut bench = Bench::new(healthy());
    let error = bench.error("why(\"content 22\")");
    assert_eq!((error.code.as_str(), error.exit), ("unknown_target", 1));
    assert!(bench.error("why(\"rebalnce\")").message.contains("`rebalance`"));
    assert_eq!(bench.error("why(2)").code, "bare_number");
    assert_eq!(bench.error("why([2])").code, "type_mismatch");
}

#[test]
fn without_a_coordinator_the_last_catalog_is_explained_and_nothing_is_made_up() {
    let mut state = healthy();
    state.lose_mirror(1);
    state.coordinator.pid = None;
    let mut bench = Bench::new(state);
    assert_eq!(bench.eval("why().parts[0].what"), "the coordinator");
    assert_eq!(bench.eval("why().evidence.len()"), "0");
    assert_eq!(bench.eval("why(\"content 1\").to_json().contains(\"last catalog\")"), "true");
}
