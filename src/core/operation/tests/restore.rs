//! A restore: until every content has its new copy, each can go back; from then on none does.

use super::*;

const RESTORE: GoalKind = GoalKind::Restore { rate_bytes: None };
const NEW: CopyId = CopyId(77);

fn target() -> Target {
    Target { copy: Some(NEW), ..Target::new(Content(0), P) }
}

/// Both processes are ended, and the one beside the data directory holds this much of the backup.
fn beside(facts: &mut Facts, copy: CopyId, ready: bool) {
    for dbid in [P, M] {
        *member(facts, dbid) =
            MemberFacts { process: Process::Absent, sibling: Process::Absent, ..MemberFacts::default() };
    }
    let copy = CopyState { copy, generation: Epoch(0) };
    let report = Report { copy, ready, pid: 200, ..report(P, Phase::Nobody, 0) };
    member(facts, P).sibling = Process::Running(200);
    member(facts, P).report = Some(report);
}

/// A target whose new copy is whole.
fn filled(facts: &mut Facts) -> Target {
    let mut t = target();
    assert_eq!(t.next(RESTORE, facts), Step::Hold);
    assert_eq!(t.next(RESTORE, facts), Step::Kill { dbid: P, sibling: false });
    member(facts, P).process = Process::Absent;
    assert_eq!(t.next(RESTORE, facts), Step::Kill { dbid: M, sibling: false });
    member(facts, M).process = Process::Absent;
    for step in [Step::MakeBeside { dbid: P }, Step::StartBeside { dbid: P }] {
        assert_eq!(t.next(RESTORE, facts), step);
        t.did(&step, if t.prepared { Came::Pid(200) } else { Came::Fine });
    }
    beside(facts, CopyId(9), false);
    let fill = Step::Fill { dbid: P };
    assert_eq!(t.next(RESTORE, facts), fill);
    t.did(&fill, Came::Fine);
    beside(facts, NEW, true);
    assert_eq!(t.next(RESTORE, facts), Step::Wait(WaitFor::OtherContents));
    t
}

#[test]
fn while_another_content_may_fail_the_data_directory_is_not_touched_and_the_pair_goes_back_to_it() {
    let mut f = synced();
    let mut t = filled(&mut f);
    f.others = Others::GaveUp;
    assert_eq!(t.next(RESTORE, &f), Step::Kill { dbid: P, sibling: true });
    (member(&mut f, P).sibling, member(&mut f, P).report) = (Process::Absent, None);
    let drop = Step::DropBeside { dbid: P };
    assert_eq!(t.next(RESTORE, &f), drop);
    t.did(&drop, Came::Fine);
    for dbid in [P, M] {
        let start = Step::Start { dbid, sibling: false };
        assert_eq!(t.next(RESTORE, &f), start);
        t.did(&start, Came::Pid(300 + dbid.0 as u32));
    }
    assert_eq!(t.next(RESTORE, &f), Step::Release);
    assert_eq!(t.next(RESTORE, &synced()), Step::Ended);
    assert!(matches!(&t.ended, Some(Ended::Cancelled { note }) if note.contains("as it was")), "{:?}", t.ended);
}

#[test]
fn once_the_row_speaks_of_the_new_copy_it_takes_its_place_whatever_was_cancelled() {
    let mut f = synced();
    let mut t = filled(&mut f);
    f.others = Others::Ready;
    let change = t.next(RESTORE, &f);
    let Step::Change { serving_copy: Some(NEW), transition, .. } = &change else { panic!("{change:?}") };
    assert_eq!(letters(&transition.after), "p,c,u / m,r,d");
    t.did(&change, Came::Changed(Epoch(6)));
    (f.row, f.serving_copy, f.must_copy_all, f.cancelled) = (transition.after, Some(NEW), true, true);
    let put = Step::PutInPlace { dbid: P };
    assert_eq!(t.next(RESTORE, &f), put);
    t.did(&put, Came::Failed("the disk said no".into()));
    assert_eq!(t.next(RESTORE, &f), put, "it is tried again");
    t.did(&put, Came::Fine);
    (member(&mut f, P).sibling, member(&mut f, P).process) = (Process::Absent, Process::Running(200));
    assert_eq!(t.next(RESTORE, &f), Step::Release);
}

#[test]
fn that_none_goes_back_any_more_is_decided_once_and_never_against_a_cancel() {
    let goal = |filled: [bool; 2]| Goal::new(RESTORE, filled.map(|filled| Target { filled, ..target() }).to_vec());
    assert_eq!(goal([true, false]).others(), Others::Working);
    let mut cancelled = Goal { cancelled: true, ..goal([true, true]) };
    assert_eq!((cancelled.others(), cancelled.replaces), (Others::GaveUp, false));
    let mut failed = goal([true, true]);
    failed.targets[1].put_back = Some(Ended::Failed { cause: "it ended".into() });
    assert_eq!(failed.others(), Others::GaveUp);
    let mut decided = goal([true, true]);
    assert_eq!(decided.others(), Others::Ready);
    (decided.cancelled, decided.targets[0].ended) = (true, Some(Ended::Failed { cause: "its host is gone".into() }));
    assert_eq!(decided.others(), Others::Ready, "the other's row may speak of its new copy already");
}
