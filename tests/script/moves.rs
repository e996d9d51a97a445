//! Recovery to another place: where a segment goes when a person names a host, a directory or ports.

use crate::fake::{Bench, Break, healthy};
use segsh::cluster::*;
use segsh::core::ids::{Content, Dbid};
use segsh::core::row::{Mode, Role, Status};

/// A host is gone: contents 0 and 1 have lost their mirrors there, contents 2 and 3 have failed over. Nothing is
/// on the third host.
fn host_gone() -> State {
    let mut state = healthy();
    for content in [0, 1] {
        state.lose_mirror(content);
    }
    for content in [2, 3] {
        state.fail_over(content);
    }
    for (n, host) in state.hosts.iter_mut().enumerate() {
        host.address = format!("127.0.0.{}", n + 1);
    }
    for segment in &mut state.segments {
        segment.row.address = if segment.row.hostname == "sdw1" { "127.0.0.1" } else { "127.0.0.2" }.into();
    }
    let spare = HostState { host: "sdw3".into(), address: "127.0.0.3".into(), ..state.hosts[0].clone() };
    state.hosts.push(HostState { roots: vec!["/srv/fast".into(), "/srv/sdw3".into()], ..spare });
    state.host_down("sdw2");
    state
}

fn select(contents: &[i64], dbids: &[i64], hosts: &[&str]) -> Selection {
    Selection {
        contents: contents.iter().copied().map(Content).collect(),
        dbids: dbids.iter().copied().map(Dbid).collect(),
        hosts: hosts.iter().map(|h| (*h).to_string()).collect(),
    }
}

fn moved(state: &State, selection: Selection, to: To) -> Plan {
    plan(state, &Intent::Move { selection, to, rate_bytes: None, jobs: None }, 1)
}

fn one(dbid: i64, wanted: Wanted) -> To {
    To { each: vec![(Dbid(dbid), wanted)], ..To::default() }
}

fn codes(plan: &Plan) -> Vec<&'static str> {
    plan.refusals.iter().map(|r| r.code.code()).collect()
}

#[test]
fn all_segments_of_a_host_that_is_gone_go_to_a_spare_one_and_keep_their_ports_there() {
    let state = host_gone();
    let made = moved(&state, select(&[], &[], &["sdw2"]), To::host("sdw3"));
    assert_eq!((codes(&made), made.steps.len()), (vec![], 4), "the host that is gone need not answer");
    let places: Vec<String> = made.steps.iter().map(|s| s.to.as_ref().unwrap().to_string()).collect();
    let expected = ["6006 /srv/fast/c0-6", "6007 /srv/fast/c1-7", "6004 /srv/fast/c2-4", "6005 /srv/fast/c3-5"];
    assert_eq!(places, expected.map(|place| format!("sdw3:{place}")));
    let first = made.steps[0].to.as_ref().unwrap();
    assert_eq!((first.address.as_str(), first.replication_port), ("127.0.0.3", 8006));
    assert!(made.steps.iter().all(|s| s.kind == StepKind::Move && s.total_bytes == Some(512 << 20)));
    assert_eq!(made.damage("demo"), PlanDamage::TypeWord("sdw2".into()));
    assert_eq!(made.verb(), "recover");
    assert!(
        made.notes.iter().any(|n| n.starts_with("host sdw2 does not answer: what runs of dbids 6, 7, 4, 5")),
        "{:?}",
        made.notes
    );
    let after = state_after(&state, &made);
    let segment = after.segment(Dbid(6)).unwrap();
    assert_eq!((segment.row.hostname.as_str(), segment.row.port, segment.row.status), ("sdw3", 6006, Status::Up));
    // What is planned next is planned on where things will be.
    let next = moved(&after, select(&[], &[], &["sdw2"]), To::host("sdw3"));
    assert!(next.is_empty() && next.refusals.is_empty());
}

#[test]
fn a_port_that_is_taken_is_replaced_by_the_lowest_free_one_of_its_kind() {
    let mut state = host_gone();
    // Another mirror is on the spare host, with this one's ports.
    let other = state.member(3, Role::Primary);
    (other.row.hostname, other.row.address) = ("sdw3".into(), "127.0.0.3".into());
    (other.row.port, other.row.replication_port) = (6006, Some(8006));
    let made = moved(&state, select(&[0], &[], &[]), To::host("sdw3"));
    let to = made.steps[0].to.as_ref().unwrap();
    // The lowest of the mirrors is 6006 itself.
    assert_eq!((to.port, to.replication_port), (6007, 8007));
}

#[test]
fn what_speaks_against_a_place_is_told_all_together() {
    let state = host_gone();
    let at = |wanted: Wanted| codes(&moved(&state, select(&[], &[6], &[]), one(6, wanted)));
    let host = |host: &str| Wanted { host: Some(host.into()), ..Wanted::default() };
    assert_eq!(at(host("sdw9")), ["unknown_target"]);
    assert_eq!(at(Wanted { dir: Some("/elsewhere".into()), ..host("sdw3") }), ["unknown_target"]);
    assert_eq!(at(Wanted { datadir: Some("/srv/fast/deep/x".into()), ..host("sdw3") }), ["unknown_target"]);
    assert_eq!(at(Wanted { dir: Some("/srv/sdw3/".into()), ..host("sdw3") }), Vec::<&str>::new());
    assert_eq!(at(host("sdw2")), ["dir_taken"], "it is there already");
    assert_eq!(at(host("sdw1")), ["colocated"]);
    assert_eq!(at(Wanted { port: Some(6002), ..host("sdw1") }), ["colocated", "port_taken"]);
    assert_eq!(at(Wanted { port: Some(9), replication_port: Some(9), ..host("sdw3") }), ["port_taken"]);
    assert_eq!(at(Wanted { colocated: true, ..host("sdw1") }), Vec::<&str>::new());

    let mut state = host_gone();
    state.host_down("sdw3");
    let made = moved(&state, select(&[0], &[], &[]), To::host("sdw3"));
    assert_eq!((codes(&made), made.refusals[0].host.as_deref()), (vec!["host_down"], Some("sdw3")));
    assert!(made.refuses && made.steps.is_empty());
}

#[test]
fn a_place_that_is_misspelt_is_refused_once_and_also_where_nothing_is_to_be_done() {
    for state in [healthy(), host_gone()] {
        let made = moved(&state, Selection::default(), To::host("sdw9"));
        assert_eq!((codes(&made), made.refuses), (vec!["unknown_target"], true));
        assert!(made.refusals[0].next.ends_with("add_host(\"sdw9\")"), "{:?}", made.refusals);
        let made =
            moved(&state, Selection::default(), one(99, Wanted { dir: Some("/srv".into()), ..Wanted::default() }));
        assert_eq!((codes(&made), made.refusals[0].dbid), (vec!["unknown_target"], Some(Dbid(99))));
    }
}

#[test]
fn what_must_hold_for_a_move_is_told_line_by_line() {
    let mut bench = Bench::new(host_gone());
    let failed = "check(\"recover\", #{ to: \"sdw1\", contents: 0 }).filter(|c| !c.holds).map(|c| c.code)";
    assert_eq!(bench.eval(failed), "[\"colocated\"]");
}

#[test]
fn only_a_segment_that_is_down_is_moved() {
    let state = healthy();
    for (selection, code) in [(select(&[0], &[], &[]), "segment_up"), (select(&[], &[2], &[]), "segment_up")] {
        let mut refused = codes(&moved(&state, selection, To::host("sdw1")));
        refused.retain(|c| *c == code);
        assert_eq!(refused, [code]);
    }
    assert!(moved(&state, select(&[], &[], &["sdw2"]), To::host("sdw1")).is_empty(), "a host whose segments are up");
    let mut state = host_gone();
    state.break_both(0);
    let made = moved(&state, select(&[], &[], &["sdw2"]), To::host("sdw3"));
    assert_eq!((codes(&made), made.steps.len(), made.refuses), (vec!["double_fault"], 3, false));
}

#[test]
fn a_move_that_was_interrupted_is_gone_on_with_by_the_same_call() {
    let mut state = host_gone();
    let mirror = state.member(0, Role::Mirror);
    mirror.row.mode = Mode::Resynchronizing;
    (mirror.row.hostname, mirror.row.address) = ("sdw3".into(), "127.0.0.3".into());
    let place = mirror.row.place();
    state.detail(0).incremental_impossible = Some("a full copy of dbid 6 was begun and did not end".into());
    let left = LeftBehind { dbid: Dbid(6), host: "sdw2".into(), datadir: "/srv/seg/6".into(), since_ms: 1 };
    state.left_behind.push(left);
    let made = moved(&state, select(&[], &[], &["sdw2"]), To::host("sdw3"));
    assert_eq!((codes(&made), made.steps.len()), (vec![], 4));
    assert_eq!(made.steps[0].to.as_ref(), Some(&place), "where it is by now, whatever was chosen first");
    // While the operation goes on it is followed, not begun again.
    state.detail(0).operation = Some(7);
    let made = moved(&state, select(&[], &[], &["sdw2"]), To::host("sdw3"));
    assert_eq!((made.joined.len(), made.steps.len()), (1, 3));
}

fn replace(bench: &mut Bench) -> Result<String, Box<segsh::script::ScriptError>> {
    let text = "procedure(\"replace_host\", #{ host: \"sdw2\", to: \"sdw3\" }).operational";
    bench.session.run_source("t.rhai", text).map(|v| v.value.to_string())
}

#[test]
fn a_host_is_replaced_after_one_question_and_the_procedure_run_again_finds_nothing_to_do() {
    let mut bench = Bench::new(host_gone());
    assert_eq!(replace(&mut bench).expect("run"), "true");
    assert_eq!(*bench.person.asked.borrow(), [segsh::script::ui::Damage::TypeWord("sdw2".into())]);
    assert!(bench.fake.state().segments.iter().all(|s| s.row.hostname != "sdw2" && !s.is_down()));
    let calls = bench.fake.calls();
    assert_eq!(replace(&mut bench).expect("again"), "true");
    assert_eq!(bench.person.asked.borrow().len(), 1);
    assert!(bench.fake.calls()[calls.len()..].iter().all(|call| call == "probe"), "{:?}", bench.fake.calls());
}

#[test]
fn replacing_a_host_is_refused_in_the_wrong_situation_and_says_which_is_the_right_one() {
    let refused = |change: &dyn Fn(&mut State)| {
        let mut state = host_gone();
        change(&mut state);
        let mut bench = Bench::new(state);
        let error = replace(&mut bench).expect_err("refused");
        assert!(!bench.fake.calls().iter().any(|call| call.starts_with("recover 0,1,2,3")));
        (error.code.clone(), error.exit)
    };
    let host_lives = |state: &mut State| *state = healthy();
    assert_eq!(refused(&host_lives), ("segment_up".into(), 4));
    assert_eq!(refused(&|state| state.host_down("sdw3")), ("refused".into(), 4));
    // The copy of one content is lost on both hosts: the others are rebuilt, and the call says that one is not.
    assert_eq!(refused(&|state| state.break_both(0)), ("partial".into(), 5));
}

#[test]
fn places_by_dbid_name_their_segments_and_need_a_place_for_each() {
    let state = host_gone();
    let host = Wanted { host: Some("sdw3".into()), ..Wanted::default() };
    let made = moved(&state, Selection::default(), one(6, host.clone()));
    assert_eq!(made.steps.iter().map(|s| s.dbid.0).collect::<Vec<_>>(), [6]);
    let made = moved(&state, select(&[], &[], &["sdw2"]), one(6, host));
    assert_eq!((made.steps.len(), codes(&made)), (1, vec!["unknown_target"; 3]));
}
