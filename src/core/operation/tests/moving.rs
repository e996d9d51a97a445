//! A segment that is recovered at another place.

use super::*;

const MOVE: GoalKind = GoalKind::Recover { full: true, in_place: true, rate_bytes: None };

fn place(host: &str) -> Place {
    Place {
        hostname: host.into(),
        address: format!("address of {host}"),
        port: 7002,
        replication_port: 9002,
        datadir: format!("/{host}/c0-3"),
    }
}

fn moving() -> Target {
    mirror_target().moved(Some(place("sdw3")))
}

fn survey() -> Survey {
    Survey { free_bytes: 2 << 30, holds: Holds::Nothing, ports_taken: Vec::new() }
}

/// The mirror's host is gone; the one to which it moves answers.
fn host_gone() -> Facts {
    let mut facts = tracking();
    facts.place = Some(place("sdw2"));
    facts.destination = Some(Destination::Surveyed(survey()));
    (member(&mut facts, M).process, member(&mut facts, M).sibling) = (Process::Unknown, Process::Unknown);
    facts
}

/// What the catalog and the new host say once the row was changed.
fn at_the_new_place(t: &mut Target, changes: &Step) -> Facts {
    t.did(changes, Came::Changed(Epoch(5)));
    let mut f = tracking();
    (f.row, f.must_copy_all, f.place) = (apply_change(changes), true, Some(place("sdw3")));
    f
}

#[test]
fn a_segment_of_a_host_that_is_gone_is_moved_without_waiting_for_that_host() {
    let (mut t, f) = (moving(), host_gone());
    let changes = t.next(MOVE, &f);
    let Step::Change { transition, place: Some(to), reason, .. } = &changes else { panic!("{changes:?}") };
    assert_eq!((transition.event, letters(&transition.after).as_str()), (Event::FullCopyBegins, "p,c,u / m,r,d"));
    assert_eq!(*to, place("sdw3"));
    assert!(reason.starts_with("dbid 3 moves to sdw3:7002 /sdw3/c0-3"), "{reason}");
    assert_eq!(t.next(MOVE, &f), changes, "asked again before it was done, it says the same");

    let mut f = at_the_new_place(&mut t, &changes);
    let prepare = t.next(MOVE, &f);
    assert_eq!(
        prepare,
        Step::Prepare { dbid: M, sibling: false },
        "directly in its directory: nothing of value is there"
    );
    t.did(&prepare, Came::Fine);
    let start = t.next(MOVE, &f);
    assert_eq!(start, Step::Start { dbid: M, sibling: false });
    t.did(&start, Came::Pid(203));
    member(&mut f, M).process = Process::Running(203);
    member(&mut f, M).report = Some(Report { pid: 203, ..report(M, Phase::Nobody, 0) });
    let begins = t.next(MOVE, &f);
    assert!(matches!(&begins, Step::Change { full_copy: true, place: None, .. }), "{begins:?}");
    t.did(&begins, Came::Changed(Epoch(6)));

    let mut s = synced();
    s.place = Some(place("sdw3"));
    let drop = t.next(MOVE, &s);
    assert_eq!(drop, Step::DropFormer { dbid: M, place: place("sdw2") });
    let mut answers = t.clone();
    answers.did(&drop, Came::Fine);
    assert_eq!(answers.next(MOVE, &s), Step::Ended);
    assert_eq!(answers.ended, Some(Ended::Done { how: "full".into(), note: String::new() }));
    t.did(&drop, Came::Failed("host sdw2 does not answer".into()));
    assert_eq!(t.next(MOVE, &s), Step::Ended);
    let Some(Ended::Done { note, .. }) = &t.ended else { panic!("{t:?}") };
    assert_eq!(note, "its former copy is left on sdw2 in /sdw2/c0-3: host sdw2 does not answer");
}

#[test]
fn what_is_in_the_way_at_the_new_place_is_refused_before_anything_changes() {
    let refused = |change: &dyn Fn(&mut Survey)| {
        let (mut t, mut f) = (moving(), host_gone());
        let mut survey = survey();
        change(&mut survey);
        f.destination = Some(Destination::Surveyed(survey));
        assert_eq!(t.next(MOVE, &f), Step::Ended);
        why(&t)
    };
    assert_eq!(refused(&|s| s.ports_taken = vec![9002]), Some(Why::PortTaken));
    assert_eq!(refused(&|s| s.holds = Holds::Other), Some(Why::DirTaken));
    assert_eq!(refused(&|s| s.free_bytes = 1 << 20), Some(Why::NoSpace));

    let (mut t, mut f) = (moving(), host_gone());
    f.destination = Some(Destination::Refused("sdw3 keeps segments in /srv".into()));
    t.next(MOVE, &f);
    assert_eq!(why(&t), Some(Why::NoSuchDir));

    let (mut t, mut f) = (moving(), host_gone());
    f.destination = None;
    assert_eq!(t.next(MOVE, &f), Step::Wait(WaitFor::HostToAnswer));
    f.now_ms = 10_000;
    t.next(MOVE, &f);
    assert_eq!(why(&t), Some(Why::HostDown), "the host of the target is the one that must answer");
}

#[test]
fn an_earlier_copy_of_the_same_segment_is_in_nobody_s_way() {
    let (mut t, mut f) = (moving(), host_gone());
    f.destination = Some(Destination::Surveyed(Survey { holds: Holds::FormerCopy, ..survey() }));
    assert_eq!(event(&t.next(MOVE, &f)), Some(Event::FullCopyBegins));
}

#[test]
fn where_its_former_host_answers_the_former_process_is_killed_first() {
    let (mut t, mut f) = (moving(), host_gone());
    (member(&mut f, M).process, member(&mut f, M).sibling) = (Process::Running(103), Process::Absent);
    let kill = t.next(MOVE, &f);
    assert_eq!(kill, Step::Kill { dbid: M, sibling: false });
    t.did(&kill, Came::Failed("it does not die".into()));
    assert_eq!(why(&t), Some(Why::CannotStop), "what can't be killed is a refusal");
}

#[test]
fn a_move_that_was_interrupted_after_its_row_was_written_goes_on_at_the_new_place() {
    let (mut t, f) = (moving(), host_gone());
    let changes = t.next(MOVE, &f);
    // Nobody was left to be told that it was done, and what is not kept is forgotten.
    let text = serde_json::to_string(&t).unwrap();
    let mut resumed: Target = serde_json::from_str(&text).unwrap();
    let f = at_the_new_place(&mut t, &changes);
    assert_eq!(resumed.next(MOVE, &f), Step::Prepare { dbid: M, sibling: false });
    assert_eq!(resumed.from, Some(place("sdw2")));
}

#[test]
fn a_segment_whose_copy_to_that_place_was_interrupted_goes_on_with_what_is_there() {
    let (mut t, mut f) = (moving(), tracking());
    f.row.mirror = Some(Member { dbid: M, mode: Mode::Resynchronizing, status: Status::Down });
    (f.must_copy_all, f.place) = (true, Some(place("sdw3")));
    assert_eq!(t.next(MOVE, &f), Step::Start { dbid: M, sibling: false });
    let mut s = synced();
    s.place = Some(place("sdw3"));
    (t.stage, t.granted) = (Stage::Recovering, Some(Epoch(5)));
    assert_eq!(t.next(MOVE, &s), Step::Ended, "it left no other place");
}

#[test]
fn an_up_segment_is_not_moved() {
    let (mut t, mut s) = (moving(), synced());
    s.place = Some(place("sdw2"));
    t.next(MOVE, &s);
    assert_eq!(why(&t), Some(Why::SegmentUp));
}
