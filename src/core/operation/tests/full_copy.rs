//! Full copies, and interrupted ones.

use super::*;

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
