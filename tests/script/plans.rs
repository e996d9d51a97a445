//! Planning: what is a step, what is joined, what is refused, and what the rows will be.

use crate::fake::{Break, healthy};
use proptest::prelude::*;
use segsh::cluster::*;
use segsh::core::ids::{Content, Dbid};
use segsh::core::report::{Progress, Stage, StopMode};
use segsh::core::row::{Mode, Pairing, Role, Status};

fn select(contents: &[i64], dbids: &[i64], hosts: &[&str]) -> Selection {
    Selection {
        contents: contents.iter().copied().map(Content).collect(),
        dbids: dbids.iter().copied().map(Dbid).collect(),
        hosts: hosts.iter().map(|h| (*h).to_string()).collect(),
    }
}
fn recover(selection: Selection) -> Intent {
    Intent::Recover { selection, rate_bytes: None, jobs: None }
}
fn full(selection: Selection) -> Intent {
    Intent::FullRecover { selection, rate_bytes: None, jobs: None, in_place: false }
}
fn rebalance(selection: Selection) -> Intent {
    Intent::Rebalance { selection }
}
fn restart(selection: Selection) -> Intent {
    Intent::Restart { selection, mode: StopMode::Fast }
}
fn codes(plan: &Plan) -> Vec<&'static str> {
    plan.refusals.iter().map(|r| r.code.code()).collect()
}
fn contents(plan: &Plan) -> Vec<i64> {
    plan.steps.iter().map(|s| s.content.0).collect()
}

#[test]
fn on_a_healthy_cluster_nothing_is_to_be_done_and_nothing_is_refused() {
    let state = healthy();
    for intent in [recover(select(&[], &[], &[])), full(select(&[], &[], &[])), rebalance(select(&[], &[], &[]))] {
        let made = plan(&state, &intent, 1);
        assert!(made.is_empty() && made.refusals.is_empty(), "{intent:?}");
        assert_eq!(made.damage("demo"), PlanDamage::None);
        assert_eq!(made.predicted(), OutcomeStatus::Done);
    }
}

#[test]
fn recover_copies_what_changed_to_every_mirror_that_is_down() {
    let mut state = healthy();
    state.lose_mirror(1);
    state.fail_over(2);
    let made = plan(&state, &recover(select(&[], &[], &[])), 1);
    assert_eq!(contents(&made), [1, 2]);
    let step = &made.steps[1];
    assert_eq!((step.kind, step.dbid, step.source), (StepKind::Incremental, Dbid(4), Dbid(8)));
    assert_eq!(step.copy_blocks, Some(307));
    assert_eq!(made.place(Dbid(4)).map(|p| p.host.as_str()), Some("sdw2"));
    assert_eq!(made.after[1].pairing(), Some(Pairing::Synchronized));
    assert_eq!(made.after[1].primary.dbid, Dbid(8), "recovery keeps the roles");
    assert_eq!(made.damage("demo"), PlanDamage::Reversible);
}

#[test]
fn without_a_selection_the_rest_is_named_and_a_named_target_refuses_the_call() {
    let mut state = healthy();
    state.lose_mirror(1);
    state.lose_mirror(3);
    state.detail(3).incremental_impossible = Some("another copy".into());
    let all = plan(&state, &recover(select(&[], &[], &[])), 1);
    assert_eq!((contents(&all), codes(&all)), (vec![1], vec!["incremental_impossible"]));
    assert!(!all.refuses);
    assert_eq!(all.predicted(), OutcomeStatus::Partial);
    assert_eq!(all.refusals[0].next, "full_recover(#{ dbids: 9 })");
    let by_host = plan(&state, &recover(select(&[], &[], &["sdw1", "sdw2"])), 1);
    assert_eq!((contents(&by_host), by_host.refuses), (vec![1], false));
    for named in [select(&[1, 3], &[], &[]), select(&[], &[7, 9], &[])] {
        let made = plan(&state, &recover(named), 1);
        assert!(made.refuses && made.steps.is_empty());
        assert_eq!(codes(&made), ["incremental_impossible"]);
    }
}

#[test]
fn a_call_that_can_do_nothing_of_what_it_was_asked_is_refused() {
    let mut state = healthy();
    state.lose_mirror(3);
    state.detail(3).incremental_impossible = Some("another copy".into());
    assert!(plan(&state, &recover(select(&[], &[], &[])), 1).refuses);
}

#[test]
fn all_refusals_of_a_content_come_together() {
    let mut state = healthy();
    state.lose_mirror(0);
    state.host_down("sdw2");
    state.detail(0).incremental_impossible = Some("map damaged".into());
    state.detail(0).source_damaged = Some("block 881".into());
    let made = plan(&state, &recover(select(&[0], &[], &[])), 1);
    assert_eq!(codes(&made), ["host_down", "source_damaged", "incremental_impossible"]);
    for refusal in &made.refusals {
        assert!(!refusal.cause.is_empty() && !refusal.next.is_empty(), "{refusal:?}");
    }
}

#[test]
fn each_precondition_refuses_its_own_case() {
    type Case = (&'static str, Intent, fn(&mut State), &'static [&'static str]);
    let table: Vec<Case> = vec![
        ("double fault", recover(select(&[2], &[], &[])), |s| s.break_both(2), &["double_fault"]),
        (
            "a full copy in a double fault while the mirror lives",
            full(select(&[], &[], &[])),
            |s| s.detail(2).health = PairHealth::DoubleFault,
            &["double_fault"],
        ),
        (
            "quarantine",
            recover(select(&[2], &[], &[])),
            |s| {
                s.lose_mirror(2);
                s.detail(2).quarantine = Some("epochs".into());
                s.detail(2).health = PairHealth::Quarantined;
            },
            &["quarantined"],
        ),
        ("up", full(select(&[], &[8], &[])), |_| {}, &["segment_up"]),
        ("up primary", full(select(&[], &[2], &[])), |_| {}, &["segment_up"]),
        (
            "full without room",
            full(select(&[], &[8], &[])),
            |s| {
                s.lose_mirror(2);
                s.member(2, Role::Mirror).free_bytes = Some(1 << 20);
            },
            &["no_space"],
        ),
        (
            "undecided",
            recover(select(&[2], &[], &[])),
            |s| {
                s.member(2, Role::Mirror).alive.alive = false;
            },
            &["segment_down"],
        ),
        ("unknown content", recover(select(&[17], &[], &[])), |_| {}, &["unknown_target"]),
        ("unknown host", recover(select(&[], &[], &["sdw9"])), |_| {}, &["unknown_target"]),
        ("restart on a dead host", restart(select(&[0], &[], &[])), |s| s.host_down("sdw1"), &["host_down"]),
        ("coordinator", recover(select(&[], &[], &[])), |s| s.coordinator.pid = None, &["coordinator_down"]),
    ];
    for (name, intent, break_it, expected) in table {
        let mut state = healthy();
        break_it(&mut state);
        let made = plan(&state, &intent, 1);
        assert_eq!(codes(&made), expected, "{name}");
        assert!(made.refuses && made.steps.is_empty() && made.after.is_empty(), "{name}");
    }
}

#[test]
fn rebalance_is_all_or_nothing_even_when_nothing_is_out_of_place() {
    let mut state = healthy();
    state.lose_mirror(2);
    let up = (Mode::Resynchronizing, Status::Up);
    state.set_pair(3, PairHealth::Resynchronizing, up, up);
    let made = plan(&state, &rebalance(select(&[], &[], &[])), 1);
    assert!(made.refuses);
    assert_eq!(codes(&made), ["segment_down", "not_synchronized"]);
    // With contents: only those pairs count.
    state.swap(0);
    let made = plan(&state, &rebalance(select(&[0], &[], &[])), 1);
    assert!(!made.refuses);
    assert_eq!((made.steps[0].kind, made.steps[0].dbid), (StepKind::Switch, Dbid(2)));
    assert_eq!(made.after[0].primary.dbid, Dbid(2));
}

#[test]
fn a_running_copy_is_joined_and_never_begun_twice() {
    let mut state = healthy();
    let up = (Mode::Resynchronizing, Status::Up);
    state.set_pair(3, PairHealth::Resynchronizing, up, up);
    state.detail(3).progress = Some(Progress {
        stage: Stage::DataCopy,
        total_blocks: 1000,
        copied_blocks: 380,
        files_created: 0,
        files_dropped: 0,
        pause_open_us: None,
        pause_claim_us: None,
        elapsed_ms: 10,
        rate_bytes: None,
    });
    let made = plan(&state, &recover(select(&[], &[], &[])), 1);
    assert!(made.steps.is_empty());
    assert_eq!((made.joined[0].content, made.joined[0].percent), (Content(3), Some(38)));
    assert!(!made.is_empty(), "a joined operation is waited for");
    assert_eq!(made.damage("demo"), PlanDamage::None, "and asks nothing");
}

#[test]
fn a_full_copy_is_confirmed_by_host_or_count_and_a_restart_of_all_by_the_cluster() {
    let mut state = healthy();
    state.lose_mirror(0);
    let one = plan(&state, &full(select(&[], &[], &[])), 1);
    assert_eq!(one.damage("demo"), PlanDamage::TypeWord("sdw2".into()));
    state.lose_mirror(2);
    let two = plan(&state, &full(select(&[], &[], &[])), 1);
    assert_eq!(two.damage("demo"), PlanDamage::TypeWord("2".into()));
    let all = plan(&state, &restart(select(&[], &[], &[])), 1);
    assert_eq!(all.damage("demo"), PlanDamage::TypeCluster("demo".into()));
    let some = plan(&state, &restart(select(&[1], &[], &[])), 1);
    assert_eq!(some.damage("demo"), PlanDamage::Reversible);
}

#[test]
fn a_restart_of_everything_is_never_refused_because_it_may_be_the_way_out() {
    let mut state = healthy();
    for content in 0..4 {
        state.break_both(content);
    }
    state.host_down("sdw1");
    state.host_down("sdw2");
    state.coordinator.pid = None;
    let made = plan(&state, &restart(select(&[], &[], &[])), 1);
    assert!(!made.refuses && made.refusals.is_empty());
    assert_eq!(contents(&made), [0, 1, 2, 3]);
    let after = state_after(&state, &made);
    assert!(after.contents.iter().all(|c| c.health == PairHealth::ChangeTracking));
}

#[test]
fn a_plan_holds_until_what_it_depends_on_changes() {
    let mut state = healthy();
    state.lose_mirror(1);
    let made = plan(&state, &recover(select(&[1], &[], &[])), 1);
    assert_eq!(still_holds(&made, &state), None);
    let mut elsewhere = state.clone();
    elsewhere.lose_mirror(3);
    assert_eq!(still_holds(&made, &elsewhere), None, "another content is another matter");
    let mut moved = state.clone();
    moved.detail(1).epoch = moved.detail(1).epoch.next();
    assert_eq!(still_holds(&made, &moved).map(|r| r.code), Some(RefusalCode::StalePlan));
    state.cluster_id = "c2".into();
    assert_eq!(still_holds(&made, &state).map(|r| r.code), Some(RefusalCode::OtherCluster));
}

#[test]
fn a_rate_slows_the_estimate() {
    let mut state = healthy();
    state.lose_mirror(1);
    let slow = Intent::FullRecover {
        selection: select(&[], &[], &[]),
        rate_bytes: Some(1 << 20),
        jobs: None,
        in_place: false,
    };
    let fast = plan(&state, &full(select(&[], &[], &[])), 1);
    assert!(plan(&state, &slow, 1).steps[0].about_ms > fast.steps[0].about_ms);
}

/// Any mixture of what can happen to four contents.
fn any_state() -> impl Strategy<Value = State> {
    proptest::collection::vec((0..7_u8, any::<bool>()), 4).prop_map(|cases| {
        let mut state = healthy();
        for (n, (case, impossible)) in cases.into_iter().enumerate() {
            let n = n as i64;
            match case {
                1 => state.lose_mirror(n),
                2 => state.fail_over(n),
                3 => state.break_both(n),
                4 => state.swap(n),
                5 => {
                    let up = (Mode::Resynchronizing, Status::Up);
                    state.set_pair(n, PairHealth::Resynchronizing, up, up);
                }
                6 => state.detail(n).quarantine = Some("odd".into()),
                _ => {}
            }
            if impossible {
                state.detail(n).incremental_impossible = Some("unknown".into());
            }
        }
        state
    })
}

fn any_intent() -> impl Strategy<Value = Intent> {
    (0..4_u8, proptest::option::of(0..5_i64), proptest::option::of(2..10_i64)).prop_map(|(verb, content, dbid)| {
        let selection = Selection {
            contents: content.into_iter().map(Content).collect(),
            dbids: dbid.into_iter().map(Dbid).collect(),
            hosts: Vec::new(),
        };
        match verb {
            0 => recover(selection),
            1 => full(selection),
            2 => rebalance(selection),
            _ => restart(selection),
        }
    })
}

proptest! {
    #[test]
    fn a_plan_is_a_function_of_its_arguments(state in any_state(), intent in any_intent()) {
        prop_assert_eq!(plan(&state, &intent, 5), plan(&state, &intent, 5));
    }

    #[test]
    fn a_refused_plan_does_nothing_and_every_refusal_says_what_is_next(
        state in any_state(), intent in any_intent()
    ) {
        let made = plan(&state, &intent, 5);
        if made.refuses {
            prop_assert!(made.steps.is_empty() && !made.refusals.is_empty());
        }
        for refusal in &made.refusals {
            prop_assert!(!refusal.next.is_empty() && !refusal.cause.is_empty());
        }
    }

    #[test]
    fn a_content_is_a_step_or_joined_or_refused_and_never_two_of_them(
        state in any_state(), intent in any_intent()
    ) {
        let made = plan(&state, &intent, 5);
        for step in &made.steps {
            prop_assert!(!made.joined.iter().any(|j| j.content == step.content));
            prop_assert!(!made.refusals.iter().any(|r| r.content == Some(step.content)));
            prop_assert_eq!(made.steps.iter().filter(|s| s.content == step.content).count(), 1);
        }
    }

    #[test]
    fn predicted_rows_are_legal_and_no_epoch_falls(state in any_state(), intent in any_intent()) {
        let made = plan(&state, &intent, 5);
        for row in &made.after {
            prop_assert!(row.pairing().is_some());
            let before = state.content(row.content).map(|c| c.epoch);
            prop_assert!(before.is_some_and(|e| e <= row.epoch));
        }
    }

    #[test]
    fn recovering_again_on_the_rows_a_recovery_leaves_finds_less_to_do(state in any_state()) {
        let intent = recover(Selection::default());
        let first = plan(&state, &intent, 5);
        let again = plan(&state_after(&state, &first), &intent, 5);
        prop_assert!(again.steps.is_empty());
    }
}
