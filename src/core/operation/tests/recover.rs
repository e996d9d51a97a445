//! Recovery of a mirror.

use super::*;

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
fn a_copy_whose_directory_is_gone_is_refused_and_only_a_full_copy_goes_on() {
    let gone = || Came::Gone("/seg/m does not exist".into());
    let (mut t, f) = (mirror_target(), tracking());
    let start = t.next(RECOVER, &f);
    t.did(&start, gone());
    assert_eq!(t.next(RECOVER, &f), Step::Ended);
    assert_eq!(why(&t), Some(Why::IncrementalImpossible));
    assert!(matches!(&t.ended, Some(Ended::Refused { cause, .. }) if cause.contains("/seg/m")), "{t:?}");
    // One that merely did not come up may come up the next time.
    let mut t = mirror_target();
    let start = t.next(RECOVER, &f);
    t.did(&start, Came::Failed("its port is taken".into()));
    assert_eq!(t.next(RECOVER, &f), Step::Ended);
    assert!(matches!(t.ended, Some(Ended::Failed { .. })), "{t:?}");
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
fn a_segment_that_is_up_is_not_copied_anew() {
    let mut t = mirror_target();
    assert_eq!(t.next(FULL, &synced()), Step::Ended);
    assert_eq!(why(&t), Some(Why::SegmentUp));
    let mut t = Target::new(Content(0), P);
    assert_eq!(t.next(RECOVER, &tracking()), Step::Ended);
    assert_eq!(why(&t), Some(Why::SegmentUp));
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
