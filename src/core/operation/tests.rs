//! The steps of each kind of goal, one situation at a time.

mod force;

use super::*;
use crate::core::ids::CopyId;
use crate::core::report::{CopyState, Soundness, Verification, VerifyStage};
use crate::core::row::{Member, Mode, Status};
use crate::core::transition::{Event, letters};

const P: Dbid = Dbid(2);
const M: Dbid = Dbid(3);
const RECOVER: GoalKind = GoalKind::Recover { full: false, in_place: false, rate_bytes: None };
const FULL: GoalKind = GoalKind::Recover { full: true, in_place: false, rate_bytes: None };

fn copy(dbid: Dbid) -> CopyState {
    CopyState { copy: CopyId(dbid.0 as u128), generation: Epoch(4) }
}

fn report(dbid: Dbid, phase: Phase, epoch: u64) -> Report {
    Report {
        dbid,
        content: Content(0),
        pid: 100 + dbid.0 as u32,
        phase,
        epoch: Epoch(epoch),
        copy: copy(dbid),
        ready: true,
        link: matches!(phase, Phase::InSync | Phase::Mirror).then_some(Epoch(epoch)),
        mirror_lost: None,
        sick: None,
        map_unusable: None,
        map_bound_to: (dbid == P).then(|| copy(M)),
        dirty_blocks: 0,
        data_bytes: 1 << 30,
        free_bytes: 0,
        progress: None,
        lag: None,
        verification: None,
        soundness: Soundness::Sound,
        damaged_pages: 0,
    }
}

/// A pair in change tracking with its primary serving and its mirror's process gone.
fn tracking() -> Facts {
    let mut facts = Facts {
        now_ms: 0,
        op: 1,
        row: PairRow {
            content: Content(0),
            epoch: Epoch(5),
            primary: Member { dbid: P, mode: Mode::ChangeTracking, status: Status::Up },
            mirror: Some(Member { dbid: M, mode: Mode::Synchronized, status: Status::Down }),
        },
        quarantined: None,
        members: BTreeMap::new(),
        must_copy_all: false,
        serving_copy: None,
        other_works: false,
        cancelled: false,
        stop_after_segment: false,
    };
    let primary = MemberFacts {
        report: Some(report(P, Phase::Tracking, 5)),
        process: Process::Running(102),
        sibling: Process::Absent,
        ..MemberFacts::default()
    };
    let mirror = MemberFacts {
        report: None,
        process: Process::Absent,
        sibling: Process::Absent,
        free_bytes: Some(2 << 30),
        ..MemberFacts::default()
    };
    facts.members.insert(P, primary);
    facts.members.insert(M, mirror);
    facts
}

fn synced() -> Facts {
    let mut facts = tracking();
    facts.row.primary.mode = Mode::Synchronized;
    facts.row.mirror = Some(Member { dbid: M, mode: Mode::Synchronized, status: Status::Up });
    member(&mut facts, P).report = Some(report(P, Phase::InSync, 5));
    member(&mut facts, M).report = Some(report(M, Phase::Mirror, 5));
    member(&mut facts, M).process = Process::Running(103);
    facts
}

fn member(facts: &mut Facts, dbid: Dbid) -> &mut MemberFacts {
    facts.members.entry(dbid).or_default()
}

fn mirror_target() -> Target {
    Target::new(Content(0), M)
}

fn event(step: &Step) -> Option<Event> {
    match step {
        Step::Change { transition, .. } => Some(transition.event),
        _ => None,
    }
}

fn why(target: &Target) -> Option<Why> {
    match target.ended {
        Some(Ended::Refused { why, .. }) => Some(why),
        _ => None,
    }
}

#[test]
fn the_former_process_is_killed_before_a_new_one_is_started_which_must_answer_as_nobody() {
    let (mut t, mut f) = (mirror_target(), tracking());
    member(&mut f, M).process = Process::Running(103);
    member(&mut f, M).report = Some(report(M, Phase::Mirror, 4));
    let kill = t.next(RECOVER, &f);
    assert_eq!(kill, Step::Kill { dbid: M, sibling: false });
    t.did(&kill, Came::Fine);
    member(&mut f, M).process = Process::Absent;
    member(&mut f, M).report = None;
    let start = t.next(RECOVER, &f);
    assert_eq!(start, Step::Start { dbid: M, sibling: false });
    t.did(&start, Came::Pid(203));
    member(&mut f, M).process = Process::Running(203);
    assert_eq!(t.next(RECOVER, &f), Step::Wait(WaitFor::MirrorToReport));
    member(&mut f, M).report = Some(Report { pid: 203, ..report(M, Phase::Nobody, 4) });
    let begins = t.next(RECOVER, &f);
    assert_eq!(event(&begins), Some(Event::RecoveryBegins));
    t.did(&begins, Came::Changed(Epoch(6)));
    f.row = apply_change(&begins);
    assert_eq!(letters(&f.row), "p,r,u / m,r,u");
    assert_eq!(t.next(RECOVER, &f), Step::Wait(WaitFor::Copy));
    f.row = synced().row;
    assert_eq!(t.next(RECOVER, &f), Step::Ended);
    assert!(matches!(t.ended, Some(Ended::Done { .. })));
}

fn apply_change(step: &Step) -> PairRow {
    match step {
        Step::Change { transition, .. } => transition.after,
        step => panic!("{step:?}"),
    }
}

#[test]
fn a_process_that_cannot_be_killed_is_a_refusal() {
    let (mut t, mut f) = (mirror_target(), tracking());
    member(&mut f, M).process = Process::Running(103);
    let kill = t.next(RECOVER, &f);
    t.did(&kill, Came::Failed("it is in the kernel".into()));
    assert_eq!(t.next(RECOVER, &f), Step::Ended);
    assert_eq!(why(&t), Some(Why::CannotStop));
}

#[test]
fn changes_tracked_for_another_copy_are_refused_and_never_guessed() {
    let mut nobody = tracking();
    member(&mut nobody, M).process = Process::Running(103);
    member(&mut nobody, M).report = Some(report(M, Phase::Nobody, 4));
    let (mut other, mut unbound, mut unusable, mut unfinished) =
        (nobody.clone(), nobody.clone(), nobody.clone(), nobody.clone());
    let primary = |f: &mut Facts, change: fn(&mut Report)| {
        let mut report = report(P, Phase::Tracking, 5);
        change(&mut report);
        member(f, P).report = Some(report);
    };
    primary(&mut other, |r| r.map_bound_to = Some(copy(P)));
    primary(&mut unbound, |r| r.map_bound_to = None);
    primary(&mut unusable, |r| r.map_unusable = Some("damaged".into()));
    unfinished.must_copy_all = true;
    for facts in [other, unbound, unusable, unfinished] {
        let mut t = mirror_target();
        assert_eq!(t.next(RECOVER, &facts), Step::Ended);
        assert_eq!(why(&t), Some(Why::IncrementalImpossible));
        assert_ne!(mirror_target().next(FULL, &facts), Step::Ended, "a full copy may follow");
    }
    assert_eq!(event(&mirror_target().next(RECOVER, &nobody)), Some(Event::RecoveryBegins));
}

#[test]
fn a_recovery_that_ends_early_is_not_begun_again_by_itself() {
    let (mut t, mut f) = (mirror_target(), tracking());
    f.row.mirror = Some(Member { dbid: M, mode: Mode::Resynchronizing, status: Status::Down });
    t.granted = Some(Epoch(4));
    t.stage = Stage::Recovering;
    assert_eq!(t.next(RECOVER, &f), Step::Ended);
    assert!(matches!(t.ended, Some(Ended::Failed { .. })));
    t.ended = None;
    member(&mut f, P).report.as_mut().unwrap().map_unusable = Some("a write outside a checkpoint".into());
    t.next(RECOVER, &f);
    assert_eq!(why(&t), Some(Why::IncrementalImpossible));
}

#[test]
fn what_does_not_answer_is_waited_for_and_then_named() {
    let mut no_host = tracking();
    member(&mut no_host, M).process = Process::Unknown;
    let mut no_primary = tracking();
    member(&mut no_primary, P).report = None;
    let mut old_primary = tracking();
    member(&mut old_primary, P).report = Some(report(P, Phase::Tracking, 4));
    for (mut facts, expected) in
        [(no_host, Why::HostDown), (no_primary, Why::DoubleFault), (old_primary, Why::DoubleFault)]
    {
        let mut t = mirror_target();
        assert!(matches!(t.next(RECOVER, &facts), Step::Wait(_)));
        facts.now_ms = 40_000;
        assert_eq!(t.next(RECOVER, &facts), Step::Ended);
        assert_eq!(why(&t), Some(expected));
    }
}

#[test]
fn a_full_copy_checks_room_first_and_ends_with_the_new_copy_under_the_name() {
    let (mut t, mut f) = (mirror_target(), tracking());
    member(&mut f, M).free_bytes = Some(1 << 20);
    assert_eq!(t.clone().next(FULL, &f), Step::Ended, "refused before anything changes");
    member(&mut f, M).free_bytes = Some(2 << 30);
    let marks = t.next(FULL, &f);
    assert_eq!(event(&marks), Some(Event::FullCopyBegins));
    t.did(&marks, Came::Changed(Epoch(5)));
    assert_eq!(t.granted, None, "the recovery has not begun yet");
    f.row = apply_change(&marks);
    f.must_copy_all = true;
    let prepare = t.next(FULL, &f);
    assert_eq!(prepare, Step::Prepare { dbid: M, sibling: true });
    t.did(&prepare, Came::Fine);
    let start = t.next(FULL, &f);
    assert_eq!(start, Step::Start { dbid: M, sibling: true });
    t.did(&start, Came::Pid(203));
    member(&mut f, M).sibling = Process::Running(203);
    member(&mut f, M).report = Some(Report { pid: 203, ..report(M, Phase::Nobody, 0) });
    let begins = t.next(FULL, &f);
    assert!(matches!(&begins, Step::Change { full_copy: true, .. }));
    t.did(&begins, Came::Changed(Epoch(6)));
    let mut s = synced();
    member(&mut s, M).process = Process::Absent;
    member(&mut s, M).sibling = Process::Running(203);
    assert_eq!(t.next(FULL, &s), Step::Exchange { dbid: M });
    member(&mut s, M).process = Process::Running(203);
    member(&mut s, M).sibling = Process::Absent;
    let drop = t.next(FULL, &s);
    assert_eq!(drop, Step::DropOld { dbid: M }, "the names are exchanged once, whatever is remembered");
    t.did(&drop, Came::Fine);
    assert_eq!(t.next(FULL, &s), Step::Ended);
    assert!(matches!(t.ended, Some(Ended::Done { .. })));
}

/// A full copy was begun and did not end: the row is p,c,u / m,r,d, and nothing runs.
fn unfinished() -> Facts {
    let mut facts = tracking();
    facts.row.mirror = Some(Member { dbid: M, mode: Mode::Resynchronizing, status: Status::Down });
    facts.must_copy_all = true;
    facts
}

#[test]
fn an_interrupted_full_copy_goes_on_with_the_very_copy_that_the_map_is_bound_to() {
    for in_place in [false, true] {
        let kind = GoalKind::Recover { full: true, in_place, rate_bytes: None };
        let (mut t, mut f) = (mirror_target(), unfinished());
        member(&mut f, M).free_bytes = Some(0);
        let start = t.next(kind, &f);
        assert_eq!(start, Step::Start { dbid: M, sibling: !in_place }, "there is room: it is there already");
        t.did(&start, Came::Pid(203));
        let (process, sibling) =
            if in_place { (Process::Running(203), Process::Absent) } else { (Process::Absent, Process::Running(203)) };
        (member(&mut f, M).process, member(&mut f, M).sibling) = (process, sibling);
        assert_eq!(t.next(kind, &f), Step::Wait(WaitFor::MirrorToReport));
        let mut nobody = Report { pid: 203, ..report(M, Phase::Nobody, 0) };
        nobody.copy.generation = Epoch(0);
        member(&mut f, M).report = Some(nobody.clone());
        let goes_on = t.clone().next(kind, &f);
        assert!(matches!(goes_on, Step::Change { full_copy: false, .. }), "{goes_on:?}");

        nobody.copy.copy = CopyId(99);
        member(&mut f, M).report = Some(nobody);
        let kill = t.next(kind, &f);
        assert_eq!(kill, Step::Kill { dbid: M, sibling: !in_place }, "another copy: begun anew");
        t.did(&kill, Came::Fine);
        (member(&mut f, M).process, member(&mut f, M).sibling) = (Process::Absent, Process::Absent);
        member(&mut f, M).report = None;
        let prepare = t.next(kind, &f);
        assert_eq!(prepare, Step::Prepare { dbid: M, sibling: !in_place });
        t.did(&prepare, Came::Fine);
        assert_eq!(t.next(kind, &f), Step::Start { dbid: M, sibling: !in_place });
    }
}

#[test]
fn what_an_interrupted_full_copy_left_is_emptied_when_it_does_not_start_or_the_link_refuses_it() {
    let (mut t, f) = (mirror_target(), unfinished());
    let start = t.next(FULL, &f);
    t.did(&start, Came::Failed("there is no such directory".into()));
    assert_eq!(t.next(FULL, &f), Step::Prepare { dbid: M, sibling: true });

    let (mut t, mut f) = (mirror_target(), unfinished());
    (t.stage, t.continues, t.prepared, t.granted) = (Stage::Recovering, Some(true), true, Some(Epoch(6)));
    f.row.epoch = Epoch(7);
    member(&mut f, P).report = Some(report(P, Phase::Tracking, 7));
    member(&mut f, P).lost = Some((Epoch(6), MirrorLoss::IncrementalImpossible("another copy".into())));
    assert_eq!(t.next(FULL, &f), Step::Prepare { dbid: M, sibling: true });
}

#[test]
fn a_copy_that_the_link_refuses_is_refused_by_the_operation() {
    let (mut t, mut f) = (mirror_target(), tracking());
    f.row.mirror = Some(Member { dbid: M, mode: Mode::Resynchronizing, status: Status::Down });
    t.stage = Stage::Recovering;
    t.granted = Some(Epoch(4));
    member(&mut f, P).lost = Some((Epoch(4), MirrorLoss::IncrementalImpossible("an older state".into())));
    assert_eq!(t.clone().next(RECOVER, &f), Step::Ended);
    let mut refused = t.clone();
    refused.next(RECOVER, &f);
    assert_eq!(why(&refused), Some(Why::IncrementalImpossible));
    member(&mut f, P).lost = Some((Epoch(3), MirrorLoss::IncrementalImpossible("of another recovery".into())));
    t.next(RECOVER, &f);
    assert!(matches!(&t.ended, Some(Ended::Failed { .. })), "{t:?}");
}

#[test]
fn copies_are_told_apart_by_their_identity_and_how_far_they_are_is_left_to_the_link() {
    let (mut t, mut f) = (mirror_target(), tracking());
    member(&mut f, M).process = Process::Running(103);
    let mut ahead = report(M, Phase::Nobody, 4);
    ahead.copy.generation = Epoch(9);
    member(&mut f, M).report = Some(ahead);
    assert_eq!(event(&t.next(RECOVER, &f)), Some(Event::RecoveryBegins));
}

#[test]
fn a_start_revives_the_primary_that_a_resumed_recovery_waits_for() {
    let mut t = Target { revives: true, ..Target::joined(Content(0), P) };
    let mut f = tracking();
    f.other_works = true;
    member(&mut f, P).process = Process::Absent;
    let answer = member(&mut f, P).report.take();
    let start = t.next(GoalKind::Start, &f);
    assert_eq!(start, Step::Start { dbid: P, sibling: false });
    t.did(&start, Came::Pid(102));
    member(&mut f, P).process = Process::Running(102);
    assert_eq!(t.next(GoalKind::Start, &f), Step::Release);
    member(&mut f, P).report = answer;
    assert_eq!(t.next(GoalKind::Start, &f), Step::Wait(WaitFor::OtherOperation));
    f.other_works = false;
    assert_eq!(t.next(GoalKind::Start, &f), Step::Start { dbid: M, sibling: false }, "it goes on itself");
}

#[test]
fn a_primary_that_may_not_serve_is_a_double_fault_at_once() {
    let (mut t, mut f) = (mirror_target(), tracking());
    member(&mut f, P).report = Some(Report { ready: false, ..report(P, Phase::Nobody, 0) });
    assert_eq!(t.next(RECOVER, &f), Step::Ended);
    assert_eq!(why(&t), Some(Why::DoubleFault));
}

#[test]
fn a_segment_that_is_up_is_not_copied_anew() {
    let mut t = mirror_target();
    assert_eq!(t.next(FULL, &synced()), Step::Ended);
    assert_eq!(why(&t), Some(Why::SegmentUp));
    let mut t = Target::new(Content(0), P);
    assert_eq!(t.next(RECOVER, &tracking()), Step::Ended);
    assert_eq!(why(&t), Some(Why::SegmentUp));
}

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

#[test]
fn a_restart_stops_the_primary_first_and_starts_what_the_row_counts_on() {
    let kind = GoalKind::Restart { mode: StopMode::Fast };
    let (mut t, mut f) = (Target::new(Content(0), P), synced());
    assert_eq!(t.next(kind, &f), Step::Hold);
    let stop = t.next(kind, &f);
    assert_eq!(stop, Step::Stop { dbid: P, mode: StopMode::Fast });
    t.did(&stop, Came::Fine);
    assert!(matches!(t.next(kind, &f), Step::Wait(WaitFor::SegmentToStop(..))));
    f.now_ms = 11_000;
    assert_eq!(t.next(kind, &f), Step::Kill { dbid: P, sibling: false }, "what does not stop is killed");
    member(&mut f, P).process = Process::Absent;
    let stop = t.next(kind, &f);
    assert_eq!(stop, Step::Stop { dbid: M, mode: StopMode::Fast });
    t.did(&stop, Came::Fine);
    member(&mut f, M).process = Process::Absent;
    for (dbid, pid) in [(P, 202), (M, 203)] {
        let start = t.next(kind, &f);
        assert_eq!(start, Step::Start { dbid, sibling: false });
        t.did(&start, Came::Pid(pid));
        member(&mut f, dbid).process = Process::Running(pid);
    }
    assert_eq!(t.next(kind, &f), Step::Release);
}

#[test]
fn a_restart_that_waits_for_sessions_can_be_cancelled_and_one_under_way_goes_on_to_serve() {
    let kind = GoalKind::Restart { mode: StopMode::Smart };
    let (mut t, mut f) = (Target::new(Content(0), P), synced());
    assert_eq!(t.next(kind, &f), Step::Hold);
    let stop = t.next(kind, &f);
    t.did(&stop, Came::Fine);
    f.now_ms = 3_600_000;
    assert!(matches!(t.next(kind, &f), Step::Wait(WaitFor::SegmentToStop(..))), "there is no limit");
    f.cancelled = true;
    let mut cancelled = t.clone();
    assert_eq!(cancelled.next(kind, &f), Step::Ended);
    assert!(matches!(cancelled.ended, Some(Ended::Cancelled { .. })));
    member(&mut f, P).process = Process::Absent;
    assert_eq!(t.next(kind, &f), Step::Stop { dbid: M, mode: StopMode::Smart }, "what is stopped is started again");
}

#[test]
fn a_start_leaves_a_mirror_down_that_was_down_and_names_it() {
    let (mut t, mut f) = (Target::new(Content(0), P), tracking());
    member(&mut f, P).process = Process::Absent;
    let answer = member(&mut f, P).report.take();
    assert_eq!(t.next(GoalKind::Start, &f), Step::Hold);
    let start = t.next(GoalKind::Start, &f);
    assert_eq!(start, Step::Start { dbid: P, sibling: false });
    t.did(&start, Came::Pid(102));
    assert_eq!(t.next(GoalKind::Start, &f), Step::Release);
    assert_eq!(t.next(GoalKind::Start, &f), Step::Wait(WaitFor::PrimaryToServe));
    (member(&mut f, P).process, member(&mut f, P).report) = (Process::Running(102), answer);
    assert_eq!(t.next(GoalKind::Start, &f), Step::Ended);
    assert!(matches!(&t.ended, Some(Ended::Done { note, .. }) if note.contains("dbid 3")));
}

#[test]
fn flags_end_what_has_not_begun_and_cancel_ends_a_copy_with_the_mirror_s_process() {
    for (cancelled, stop_after_segment) in [(true, true), (false, true)] {
        let mut t = mirror_target();
        let facts = Facts { cancelled, stop_after_segment, ..tracking() };
        assert_eq!(t.next(RECOVER, &facts), Step::Ended);
        assert!(matches!(t.ended, Some(Ended::Cancelled { .. })));
    }
    let (mut t, mut f) = (mirror_target(), synced());
    t.stage = Stage::Recovering;
    f.row.primary.mode = Mode::Resynchronizing;
    f.row.mirror = Some(Member { dbid: M, mode: Mode::Resynchronizing, status: Status::Up });
    f.stop_after_segment = true;
    assert_eq!(t.next(RECOVER, &f), Step::Wait(WaitFor::Copy), "what is under way is finished");
    f.cancelled = true;
    assert_eq!(t.next(RECOVER, &f), Step::Kill { dbid: M, sibling: false });
}

#[test]
fn a_quarantined_content_is_refused_by_every_kind() {
    for kind in [RECOVER, FULL, GoalKind::Rebalance, GoalKind::Start, GoalKind::Restart { mode: StopMode::Fast }] {
        let mut t = mirror_target();
        let facts = Facts { quarantined: Some("impossible rows".into()), ..tracking() };
        assert_eq!(t.next(kind, &facts), Step::Ended);
        assert_eq!(why(&t), Some(Why::Quarantined));
    }
}

#[test]
fn a_goal_survives_json() {
    let mut goal = Goal::new(FULL, vec![mirror_target(), Target::joined(Content(1), P)]);
    goal.targets[0].granted = Some(Epoch(9));
    goal.targets[0].ended = Some(Ended::Refused { why: Why::NoSpace, cause: "full".into() });
    let text = serde_json::to_string(&goal).unwrap();
    assert_eq!(serde_json::from_str::<Goal>(&text).unwrap(), goal);
}

#[test]
fn what_was_in_sync_is_recovered_again_if_only_the_link_ended() {
    for kind in [RECOVER, FULL] {
        let (mut t, mut f) = (mirror_target(), tracking());
        (t.stage, t.granted) = (Stage::Recovering, Some(Epoch(4)));
        member(&mut f, P).lost = Some((Epoch(4), MirrorLoss::LinkClosed("end of stream".into())));
        let mut gone = t.clone();
        assert_eq!(gone.next(kind, &f), Step::Ended, "its process is gone");
        assert!(matches!(gone.ended, Some(Ended::Failed { .. })));
        member(&mut f, M).report = Some(report(M, Phase::Mirror, 4));
        member(&mut f, M).sibling = Process::Running(103);
        assert_eq!(t.next(kind, &f), Step::Kill { dbid: M, sibling: true });
        member(&mut f, M).sibling = Process::Absent;
        member(&mut f, M).report = None;
        assert_eq!(t.next(kind, &f), Step::Start { dbid: M, sibling: false }, "incrementally, under its name");
    }
}

#[test]
fn a_mirror_that_has_taken_over_was_recovered() {
    let (mut t, mut f) = (mirror_target(), tracking());
    (t.stage, t.granted) = (Stage::Recovering, Some(Epoch(4)));
    std::mem::swap(&mut f.row.primary.dbid, &mut f.row.mirror.as_mut().unwrap().dbid);
    member(&mut f, M).sibling = Process::Running(103);
    assert_eq!(t.next(FULL, &f), Step::Exchange { dbid: M });
    member(&mut f, M).sibling = Process::Absent;
    member(&mut f, M).process = Process::Running(103);
    assert_eq!(t.next(FULL, &f), Step::Ended);
    assert!(matches!(t.ended, Some(Ended::Done { .. })));
}

/// A pair that is being copied, by an operation that began it.
fn copying() -> (Target, Facts) {
    let (mut t, mut f) = (mirror_target(), synced());
    (t.stage, t.granted) = (Stage::Recovering, Some(Epoch(5)));
    f.row.primary.mode = Mode::Resynchronizing;
    f.row.mirror = Some(Member { dbid: M, mode: Mode::Resynchronizing, status: Status::Up });
    member(&mut f, P).report = Some(report(P, Phase::Resynchronizing, 5));
    assert_eq!(t.next(RECOVER, &f), Step::Wait(WaitFor::Copy));
    (t, f)
}

#[test]
fn a_copy_whose_primary_is_gone_is_a_double_fault_and_holds_the_content_no_longer() {
    let (t, mut f) = copying();
    member(&mut f, P).report = None;
    member(&mut f, P).process = Process::Absent;
    let mut ended = t.clone();
    assert_eq!(ended.next(RECOVER, &f), Step::Ended);
    assert_eq!(why(&ended), Some(Why::DoubleFault), "its host says that it is gone");
    // A host that does not answer, and an operation that was resumed, are waited for.
    let mut silent = f.clone();
    member(&mut silent, P).process = Process::Unknown;
    let mut resumed = t.clone();
    resumed.saw_primary = false;
    for (mut t, mut f) in [(t, silent), (resumed, f)] {
        assert_eq!(t.next(RECOVER, &f), Step::Wait(WaitFor::PrimaryToServe));
        f.now_ms += 30_000;
        assert_eq!(t.next(RECOVER, &f), Step::Ended);
        assert_eq!(why(&t), Some(Why::DoubleFault));
    }
}

#[test]
fn a_suspended_primary_is_waited_for_as_long_as_fts_takes() {
    let (mut t, mut f) = copying();
    member(&mut f, P).report = Some(report(P, Phase::Suspended, 5));
    f.now_ms += 600_000;
    assert_eq!(t.next(RECOVER, &f), Step::Wait(WaitFor::Copy));
}

#[test]
fn a_cancelled_copy_ends_though_nothing_runs_any_more() {
    let (mut t, mut f) = copying();
    f.cancelled = true;
    member(&mut f, P).report = None;
    member(&mut f, P).process = Process::Unknown;
    assert_eq!(t.next(RECOVER, &f), Step::Kill { dbid: M, sibling: false });
    member(&mut f, M).process = Process::Absent;
    assert_eq!(t.next(RECOVER, &f), Step::Ended);
    assert!(matches!(t.ended, Some(Ended::Cancelled { .. })));
}

#[test]
fn of_a_synchronized_pair_a_start_revives_both_for_either_may_serve() {
    let mut t = Target { revives: true, ..Target::joined(Content(0), P) };
    let mut f = synced();
    f.other_works = true;
    (member(&mut f, P).process, member(&mut f, P).report) = (Process::Unknown, None);
    (member(&mut f, M).process, member(&mut f, M).report) = (Process::Absent, None);
    assert_eq!(t.next(GoalKind::Start, &f), Step::Wait(WaitFor::HostToAnswer));
    f.now_ms = 3_000;
    assert_eq!(t.next(GoalKind::Start, &f), Step::Start { dbid: M, sibling: false });
    t.did(&Step::Start { dbid: M, sibling: false }, Came::Pid(103));
    assert_eq!(t.next(GoalKind::Start, &f), Step::Release);
}

const VERIFY: GoalKind = GoalKind::Verify { rate_bytes: None };

fn compared(stage: VerifyStage, differing_blocks: u64) -> Verification {
    let differing = "main.db block 7".into();
    Verification { op: 1, stage, verified_bytes: 9, total_bytes: 9, differing_blocks, differing }
}

fn primary_report(facts: &mut Facts) -> &mut Report {
    member(facts, P).report.as_mut().expect("the primary reports")
}

#[test]
fn a_verification_asks_once_and_again_when_nothing_is_heard_of_it() {
    let (mut t, mut f) = (mirror_target(), synced());
    let asks = Step::Verify { dbid: P, rate_bytes: None };
    assert_eq!(t.next(VERIFY, &f), asks);
    assert_eq!(t.next(VERIFY, &f), asks, "nothing was done in between");
    t.did(&asks, Came::Fine);
    assert_eq!(t.next(VERIFY, &f), Step::Wait(WaitFor::VerificationToBegin));
    f.now_ms = 2_000;
    assert_eq!(t.next(VERIFY, &f), asks);
    t.did(&asks, Came::Fine);
    // What another operation had compared is no answer to this one.
    primary_report(&mut f).verification = Some(Verification { op: 9, ..compared(VerifyStage::Ended, 5) });
    assert_eq!(t.next(VERIFY, &f), Step::Wait(WaitFor::VerificationToBegin));
    primary_report(&mut f).verification = Some(compared(VerifyStage::Running, 0));
    assert_eq!(t.next(VERIFY, &f), Step::Wait(WaitFor::Verification));
    primary_report(&mut f).verification = Some(compared(VerifyStage::Ended, 0));
    assert_eq!(t.next(VERIFY, &f), Step::Ended);
    assert!(matches!(t.ended, Some(Ended::Done { .. })));
}

#[test]
fn a_difference_leaves_sync_then_is_judged_then_told() {
    let (mut t, mut f) = (mirror_target(), synced());
    let report = primary_report(&mut f);
    report.verification = Some(compared(VerifyStage::Ended, 2));
    report.soundness = Soundness::Unjudged;
    let leaves = t.next(VERIFY, &f);
    assert_eq!(event(&leaves), Some(Event::DifferenceFound));
    t.did(&leaves, Came::Changed(Epoch(6)));
    f.row = apply_change(&leaves);
    assert_eq!(letters(&f.row), "p,c,u / m,s,d");
    assert_eq!(t.next(VERIFY, &f), Step::Wait(WaitFor::PrimaryToAnswer), "not judged before it has obeyed");
    primary_report(&mut f).epoch = Epoch(6);
    primary_report(&mut f).phase = Phase::Tracking;
    let judge = t.next(VERIFY, &f);
    assert_eq!(judge, Step::Judge { dbid: P });
    t.did(&judge, Came::Fine);
    assert_eq!(t.next(VERIFY, &f), Step::Wait(WaitFor::Judgement));
    primary_report(&mut f).soundness = Soundness::Damaged { why: "block 7".into() };
    assert_eq!(t.next(VERIFY, &f), Step::Ended);
    assert!(
        matches!(&t.ended, Some(Ended::Differs { note }) if note.contains("dbid 2 damaged: block 7")),
        "{:?}",
        t.ended
    );
}

#[test]
fn a_known_difference_leaves_sync_also_when_the_comparison_was_cancelled_or_broke() {
    let (mut t, mut f) = (mirror_target(), synced());
    f.cancelled = true;
    t.stage = Stage::Verifying;
    primary_report(&mut f).verification = Some(compared(VerifyStage::Failed { why: "cancelled".into() }, 1));
    assert_eq!(event(&t.next(VERIFY, &f)), Some(Event::DifferenceFound));
    // Without one a cancelled comparison changes nothing.
    primary_report(&mut f).verification = Some(compared(VerifyStage::Failed { why: "cancelled".into() }, 0));
    assert_eq!(t.next(VERIFY, &f), Step::Ended);
    assert!(matches!(t.ended, Some(Ended::Cancelled { .. })));
}

#[test]
fn only_a_synchronized_pair_is_verified() {
    let mut t = mirror_target();
    t.next(VERIFY, &tracking());
    assert_eq!(why(&t), Some(Why::NotSynchronized));
}

#[test]
fn a_pair_that_is_lost_meanwhile_is_no_difference() {
    let (mut t, mut f) = (mirror_target(), synced());
    t.next(VERIFY, &f);
    f.row = tracking().row;
    member(&mut f, P).report = Some(report(P, Phase::Tracking, 5));
    assert_eq!(t.next(VERIFY, &f), Step::Ended);
    assert!(matches!(t.ended, Some(Ended::Failed { .. })));
}

#[test]
fn nothing_is_copied_from_a_primary_before_it_was_judged_nor_when_it_is_damaged() {
    for kind in [RECOVER, FULL] {
        let (mut t, mut f) = (mirror_target(), tracking());
        primary_report(&mut f).soundness = Soundness::Unjudged;
        let judge = t.next(kind, &f);
        assert_eq!(judge, Step::Judge { dbid: P });
        t.did(&judge, Came::Fine);
        assert_eq!(t.next(kind, &f), Step::Wait(WaitFor::Judgement));
        primary_report(&mut f).soundness = Soundness::Damaged { why: "block 7".into() };
        t.next(kind, &f);
        assert_eq!(why(&t), Some(Why::SourceDamaged));
    }
}

#[test]
fn a_restart_is_not_done_by_the_last_word_of_the_process_that_it_ended() {
    let (mut t, mut f) = (Target::new(Content(0), P), synced());
    (t.stage, t.was_synchronized) = (Stage::Recovering, true);
    member(&mut f, P).process = Process::Running(500);
    let restart = GoalKind::Restart { mode: StopMode::Fast };
    assert_eq!(t.next(restart, &f), Step::Wait(WaitFor::PrimaryToServe), "pid 500 has not been heard yet");
    member(&mut f, P).process = Process::Running(primary_report(&mut f).pid);
    assert_eq!(t.next(restart, &f), Step::Ended);
}
