//! Start and restart.

use super::*;

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
fn a_start_that_serves_without_the_host_of_its_mirror_is_no_refusal() {
    let (mut t, mut f) = (Target::new(Content(0), P), tracking());
    (t.stage, t.was_synchronized) = (Stage::Recovering, true);
    (member(&mut f, M).process, member(&mut f, M).report) = (Process::Unknown, None);
    assert_eq!(t.next(GoalKind::Start, &f), Step::Wait(WaitFor::HostToAnswer));
    f.now_ms = 3_000;
    assert_eq!(t.next(GoalKind::Start, &f), Step::Ended);
    assert!(matches!(&t.ended, Some(Ended::Failed { cause }) if cause.starts_with("it serves, but mirror dbid 3")));
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
