//! Switching the roles.

use super::*;

#[test]
fn a_rebalance_drains_only_what_can_be_taken_over() {
    let mut t = mirror_target();
    assert_eq!(t.next(GoalKind::Rebalance, &synced()), Step::Drain { dbid: P });
    let mut no_link = synced();
    member(&mut no_link, M).report.as_mut().unwrap().link = None;
    let mut not_ready = synced();
    member(&mut not_ready, M).report.as_mut().unwrap().ready = false;
    let mut suspended = synced();
    member(&mut suspended, P).report = Some(report(P, Phase::Suspended, 5));
    for mut facts in [no_link, not_ready, suspended] {
        let mut t = mirror_target();
        assert_eq!(t.next(GoalKind::Rebalance, &facts), Step::Wait(WaitFor::MirrorToBeReady));
        facts.now_ms = 20_000;
        assert_eq!(t.next(GoalKind::Rebalance, &facts), Step::Ended);
        assert_eq!(why(&t), Some(Why::NotSynchronized));
    }
    let mut t = mirror_target();
    assert_eq!(t.next(GoalKind::Rebalance, &tracking()), Step::Ended);
    assert_eq!(why(&t), Some(Why::NotSynchronized));
}

#[test]
fn a_drained_primary_that_nobody_took_over_is_started_again() {
    let (mut t, mut f) = (mirror_target(), synced());
    let drain = t.next(GoalKind::Rebalance, &f);
    t.did(&drain, Came::Fine);
    member(&mut f, P).report = None;
    member(&mut f, P).process = Process::Absent;
    assert_eq!(t.next(GoalKind::Rebalance, &f), Step::Wait(WaitFor::Promotion));
    f.now_ms = 20_000;
    let start = t.next(GoalKind::Rebalance, &f);
    assert_eq!(start, Step::Start { dbid: P, sibling: false });
    t.did(&start, Came::Pid(300));
}

#[test]
fn a_primary_that_was_never_asked_to_drain_is_asked_by_the_next_coordinator() {
    let (mut t, f) = (mirror_target(), synced());
    assert_eq!(t.next(GoalKind::Rebalance, &f), Step::Drain { dbid: P });
    let kept = serde_json::to_string(&t).expect("a target is kept in the catalog");
    let mut again: Target = serde_json::from_str(&kept).expect("and read back");
    let drain = again.next(GoalKind::Rebalance, &f);
    assert_eq!(drain, Step::Drain { dbid: P }, "the stage says draining, and the primary serves on");
    again.did(&drain, Came::Fine);
    assert_eq!(
        again.next(GoalKind::Rebalance, &f),
        Step::Wait(WaitFor::Promotion),
        "what is drained is not asked twice"
    );
    let mut gone: Target = serde_json::from_str(&kept).expect("and read back");
    let mut without = synced();
    member(&mut without, P).report = None;
    assert_eq!(gone.next(GoalKind::Rebalance, &without), Step::Wait(WaitFor::Promotion));
}

#[test]
fn a_drain_that_failed_is_judged_by_whether_the_primary_serves_on() {
    let failed = || Came::Failed("the connection ended".into());
    let (mut t, f) = (mirror_target(), synced());
    let drain = t.next(GoalKind::Rebalance, &f);
    t.did(&drain, failed());
    assert_eq!(t.next(GoalKind::Rebalance, &f), Step::Ended);
    assert!(matches!(&t.ended, Some(Ended::Failed { cause }) if cause.contains("the connection ended")), "{t:?}");
    let (mut t, mut f) = (mirror_target(), synced());
    let drain = t.next(GoalKind::Rebalance, &f);
    t.did(&drain, failed());
    member(&mut f, P).report = None;
    assert_eq!(t.next(GoalKind::Rebalance, &f), Step::Wait(WaitFor::Promotion), "it exited: FTS promotes");
}
