//! The steps of each kind of goal, one situation at a time.

mod force;
mod full_copy;
mod moving;
mod rebalance;
mod recover;
mod restart;
mod restore;
mod verify;

use super::*;
use crate::core::ids::CopyId;
use crate::core::report::{CopyState, MirrorLoss, Report, Soundness, Verification, VerifyStage};
use crate::core::row::{Member, Mode, PairRow, Status};
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
        held: None,
        release: String::new(),
        sessions: 0,
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
        place: None,
        destination: None,
        must_copy_all: false,
        serving_copy: None,
        other_works: false,
        others: Others::Working,
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

fn apply_change(step: &Step) -> PairRow {
    match step {
        Step::Change { transition, .. } => transition.after,
        step => panic!("{step:?}"),
    }
}

fn primary_report(facts: &mut Facts) -> &mut Report {
    member(facts, P).report.as_mut().expect("the primary reports")
}

#[test]
fn a_primary_that_may_not_serve_is_a_double_fault_at_once() {
    let (mut t, mut f) = (mirror_target(), tracking());
    member(&mut f, P).report = Some(Report { ready: false, ..report(P, Phase::Nobody, 0) });
    assert_eq!(t.next(RECOVER, &f), Step::Ended);
    assert_eq!(why(&t), Some(Why::DoubleFault));
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

const VERIFY: GoalKind = GoalKind::Verify { rate_bytes: None };
