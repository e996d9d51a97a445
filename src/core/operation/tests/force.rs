//! The last resort.

use super::*;

/// The acting primary is gone, and its mirror lacks changes.
fn double_fault() -> Facts {
    let mut facts = tracking();
    let gone = MemberFacts { process: Process::Absent, sibling: Process::Absent, ..MemberFacts::default() };
    let last = facts.member(P).report.map(|r| crate::core::report::Report { dirty_blocks: 7, ..r });
    facts.members.insert(P, MemberFacts { last, ..gone });
    facts
}

/// A fresh process of a member that is nobody.
fn fresh(facts: &mut Facts, dbid: Dbid, pid: u32, epoch: u64) {
    let nobody = crate::core::report::Report { pid, ready: true, ..report(dbid, Phase::Nobody, epoch) };
    let member = facts.members.entry(dbid).or_default();
    (member.report, member.process) = (Some(nobody), Process::Running(pid));
}

#[test]
fn an_override_starts_the_mirror_afresh_and_switches_the_row_saying_what_may_be_lost() {
    let mut facts = double_fault();
    let mut t = Target::new(Content(0), M);
    let start = Step::Start { dbid: M, sibling: false };
    assert_eq!(t.next(GoalKind::ForcePrimary, &facts), start);
    t.did(&start, Came::Pid(300));
    fresh(&mut facts, M, 300, 9);
    let step = t.next(GoalKind::ForcePrimary, &facts);
    let Step::Change { transition, reason, serving_copy, .. } = &step else { panic!("{step:?}") };
    assert_eq!((transition.after.primary.dbid, letters(&transition.after).as_str()), (M, "p,c,u / m,r,d"));
    assert_eq!(transition.after.epoch, Epoch(10), "above what the mirror was seen to have obeyed");
    assert!(reason.contains("at least 7 blocks"), "{reason}");
    assert_eq!(*serving_copy, facts.member(M).report.map(|r| r.copy.copy));
    facts.row = transition.after;
    t.did(&step, Came::Changed(facts.row.epoch));
    assert_eq!(t.next(GoalKind::ForcePrimary, &facts), Step::Release);
}

#[test]
fn an_override_is_refused_while_a_primary_serves_and_for_a_copy_that_is_not_whole() {
    let mut t = Target::new(Content(0), M);
    assert_eq!(t.next(GoalKind::ForcePrimary, &tracking()), Step::Ended);
    assert_eq!(why(&t), Some(Why::SegmentUp));
    let mut facts = double_fault();
    fresh(&mut facts, M, 300, 5);
    facts.members.get_mut(&M).unwrap().report.as_mut().unwrap().ready = false;
    let mut t = Target::new(Content(0), M);
    assert_eq!(t.next(GoalKind::ForcePrimary, &facts), Step::Ended);
    assert_eq!(why(&t), Some(Why::DoubleFault));
}

#[test]
fn an_override_lifts_a_quarantine_after_every_process_was_fenced_and_never_makes_up_a_row() {
    let mut facts = Facts { quarantined: Some("a later epoch".into()), ..tracking() };
    facts.members.get_mut(&P).unwrap().report.as_mut().unwrap().epoch = Epoch(40);
    let mut t = Target::new(Content(0), P);
    let kill = Step::Kill { dbid: P, sibling: false };
    assert_eq!(t.next(GoalKind::ForcePrimary, &facts), kill);
    t.did(&kill, Came::Fine);
    facts.members.insert(P, MemberFacts::default());
    fresh(&mut facts, P, 300, 40);
    let step = t.next(GoalKind::ForcePrimary, &facts);
    let Step::Change { transition, .. } = &step else { panic!("{step:?}") };
    assert_eq!((transition.event, transition.after.epoch), (Event::OverrideAccepts, Epoch(41)));
    facts.row.primary.status = Status::Down;
    let mut t = Target::new(Content(0), P);
    assert_eq!(t.next(GoalKind::ForcePrimary, &facts), Step::Ended);
    assert_eq!(why(&t), Some(Why::Quarantined));
}

#[test]
fn a_primary_that_is_damaged_may_be_replaced_though_it_serves() {
    let mut facts = tracking();
    primary_report(&mut facts).soundness = Soundness::Damaged { why: "block 7".into() };
    let mut t = Target::new(Content(0), M);
    assert_eq!(t.next(GoalKind::ForcePrimary, &facts), Step::Kill { dbid: P, sibling: false });
}
