//! Scripts of what is seen, and what must be decided.

use super::*;
use crate::core::ids::{Content, CopyId};
use crate::core::report::{CopyState, MirrorLoss, Soundness, Verification, VerifyStage};
use crate::core::row::{Member, Mode, Status};
use crate::core::transition::{Event as Happening, letters};

const P: Dbid = Dbid(2);
const M: Dbid = Dbid(3);

fn row(primary: Mode, mirror: Option<(Mode, Status)>) -> PairRow {
    PairRow {
        content: Content(0),
        epoch: Epoch(5),
        primary: Member { dbid: P, mode: primary, status: Status::Up },
        mirror: mirror.map(|(mode, status)| Member { dbid: M, mode, status }),
    }
}

fn synced() -> PairRow {
    row(Mode::Synchronized, Some((Mode::Synchronized, Status::Up)))
}
fn resync() -> PairRow {
    row(Mode::Resynchronizing, Some((Mode::Resynchronizing, Status::Up)))
}
fn tracking() -> PairRow {
    row(Mode::ChangeTracking, Some((Mode::Synchronized, Status::Down)))
}

fn report(dbid: Dbid, phase: Phase) -> Report {
    Report {
        dbid,
        content: Content(0),
        pid: 100 + dbid.0 as u32,
        phase,
        epoch: Epoch(5),
        copy: CopyState { copy: CopyId(1), generation: Epoch(5) },
        ready: matches!(phase, Phase::Mirror | Phase::Nobody),
        link: matches!(phase, Phase::Mirror | Phase::InSync | Phase::Resynchronizing).then_some(Epoch(5)),
        mirror_lost: None,
        sick: None,
        map_unusable: None,
        map_bound_to: None,
        dirty_blocks: 0,
        data_bytes: 0,
        free_bytes: 0,
        progress: None,
        lag: None,
        verification: None,
        soundness: Soundness::Sound,
        damaged_pages: 0,
    }
}

/// Steps the service and answers every change with the row it asked for, as the catalog would.
struct Bench {
    fts: Fts,
    now: u64,
    all: Vec<Decision>,
}

impl Bench {
    fn new(row: PairRow) -> Bench {
        let mut bench = Bench { fts: Fts::new(row, Patience::default()), now: 0, all: Vec::new() };
        bench.fts.step(0, Event::Release);
        bench
    }
    fn healthy(row: PairRow) -> Bench {
        let mut bench = Bench::new(row);
        let phase = match row.primary.mode {
            Mode::Synchronized if row.mirror.is_none() => Phase::Mirrorless,
            Mode::Synchronized => Phase::InSync,
            Mode::Resynchronizing => Phase::Resynchronizing,
            Mode::ChangeTracking => Phase::Tracking,
        };
        bench.hear(report(P, phase));
        if row.mirror.is_some_and(|m| m.status == Status::Up) {
            bench.hear(report(M, Phase::Mirror));
        }
        assert_eq!(bench.changes(), []);
        bench
    }
    fn step(&mut self, event: Event) -> Vec<Decision> {
        let decisions = self.fts.step(self.now, event);
        for decision in &decisions {
            if let Decision::Change(change) = decision {
                self.fts.step(self.now, Event::Row(change.transition.after));
            }
        }
        self.all.extend(decisions.clone());
        decisions
    }
    fn hear(&mut self, report: Report) -> Vec<Decision> {
        self.step(Event::Heard(Box::new(report)))
    }
    fn fail(&mut self, dbid: Dbid, failure: Failure) -> Vec<Decision> {
        self.step(Event::Failed { dbid, failure, why: String::new() })
    }
    /// Lets time pass in ticks.
    fn pass(&mut self, ms: u64) {
        let end = self.now + ms;
        while self.now < end {
            self.now = (self.now + 100).min(end);
            self.step(Event::Tick);
        }
    }
    fn changes(&self) -> Vec<Happening> {
        self.all
            .iter()
            .filter_map(|d| match d {
                Decision::Change(c) => Some(c.transition.event),
                _ => None,
            })
            .collect()
    }
    fn last_change(&self) -> &Change {
        self.all
            .iter()
            .rev()
            .find_map(|d| match d {
                Decision::Change(c) => Some(&**c),
                _ => None,
            })
            .expect("a change")
    }
    fn double_faults(&self) -> usize {
        self.all.iter().filter(|d| matches!(d, Decision::DoubleFault { .. })).count()
    }
    fn row_letters(&self) -> String {
        letters(self.fts.row())
    }
}

fn link_ended(mut mirror: Report) -> Report {
    mirror.link = None;
    mirror
}

#[test]
fn two_witnesses_promote_at_once() {
    for failure in [Failure::Refused, Failure::Reset] {
        let mut b = Bench::healthy(synced());
        b.now = 10;
        b.fail(P, failure);
        assert_eq!(b.changes(), [], "one witness is not enough");
        b.now = 11;
        b.hear(link_ended(report(M, Phase::Mirror)));
        assert_eq!(b.changes(), [Happening::PrimaryLost]);
        assert_eq!(b.fts.row().primary.dbid, M);
        assert_eq!(b.fts.row().epoch, Epoch(6));
        assert_eq!(b.last_change().recover, None, "a killed primary stays down until somebody recovers it");
        assert!(b.last_change().evidence.iter().any(|e| e.contains("dbid 3")));
    }
}

#[test]
fn an_answer_of_the_mirror_from_before_the_failure_is_asked_again() {
    let mut b = Bench::healthy(synced());
    b.now = 10;
    b.hear(link_ended(report(M, Phase::Mirror)));
    b.now = 11;
    let decisions = b.fail(P, Failure::Refused);
    assert_eq!(decisions, [Decision::Ask(M)]);
    b.now = 12;
    b.hear(link_ended(report(M, Phase::Mirror)));
    assert_eq!(b.changes(), [Happening::PrimaryLost]);
}

#[test]
fn a_refused_port_alone_needs_three_attempts_in_three_seconds() {
    let mut b = Bench::healthy(synced());
    for _ in 0..18 {
        b.pass(100);
        b.fail(P, Failure::Refused);
        b.hear(report(M, Phase::Mirror));
    }
    assert_eq!(b.changes(), [], "the mirror still has its link");
    for _ in 0..6 {
        b.pass(100);
        b.fail(P, Failure::Refused);
        b.hear(report(M, Phase::Mirror));
    }
    assert_eq!(b.changes(), [Happening::PrimaryLost]);
}

#[test]
fn a_silent_primary_is_lost_after_three_timeouts_and_not_before() {
    let mut b = Bench::healthy(synced());
    for n in 1..=3 {
        b.pass(1000);
        b.hear(report(M, Phase::Mirror));
        b.fail(P, Failure::Timeout);
        let expected: &[Happening] = if n < 3 { &[] } else { &[Happening::PrimaryLost] };
        // The mirror answered in this round, so the third timeout decides.
        assert_eq!(b.changes(), expected, "after {n} timeouts");
    }
}

#[test]
fn an_answer_between_timeouts_starts_the_count_again() {
    let mut b = Bench::healthy(synced());
    for _ in 0..5 {
        b.pass(1000);
        b.fail(P, Failure::Timeout);
        b.pass(1000);
        b.fail(P, Failure::Timeout);
        b.hear(report(P, Phase::InSync));
        b.hear(report(M, Phase::Mirror));
    }
    assert_eq!(b.changes(), []);
}

#[test]
fn a_mirror_that_is_not_ready_is_never_promoted_and_that_is_a_double_fault() {
    let mut b = Bench::healthy(synced());
    for _ in 0..50 {
        b.pass(100);
        b.fail(P, Failure::Refused);
        let mut mirror = link_ended(report(M, Phase::Mirror));
        mirror.ready = false;
        b.hear(mirror);
    }
    assert_eq!(b.changes(), []);
    assert_eq!(b.double_faults(), 1, "said once");
}

#[test]
fn a_mirror_that_differs_is_given_up_only_when_the_rest_is_compared() {
    let mut b = Bench::healthy(synced());
    let mut primary = report(P, Phase::InSync);
    let compared = |stage| Verification {
        op: 1,
        stage,
        verified_bytes: 0,
        total_bytes: 0,
        differing_blocks: 1,
        differing: String::new(),
    };
    primary.verification = Some(compared(VerifyStage::Running));
    b.pass(1000);
    b.hear(primary.clone());
    b.hear(Report { ready: false, soundness: Soundness::Unjudged, ..report(M, Phase::Mirror) });
    b.pass(1000);
    b.hear(primary.clone());
    b.hear(Report { ready: false, soundness: Soundness::Unjudged, ..report(M, Phase::Mirror) });
    assert_eq!(b.changes(), []);
    primary.verification = Some(compared(VerifyStage::Ended));
    b.hear(primary);
    assert_eq!(b.changes(), [Happening::MirrorLost]);
    let reason = &b.last_change().reason;
    assert!(reason.contains("a verification found that it differs"), "{reason}");
}

#[test]
fn a_mirror_in_sync_that_says_it_could_not_take_over_is_lost() {
    for sick in [None, Some("its files no longer stand under their names")] {
        let mut b = Bench::healthy(synced());
        let mut mirror = report(M, Phase::Mirror);
        (mirror.ready, mirror.sick) = (false, sick.map(String::from));
        b.hear(mirror.clone());
        assert_eq!(b.changes(), [], "it may have said so before it was in sync");
        b.pass(1000);
        b.hear(mirror);
        assert_eq!(b.changes(), [Happening::MirrorLost]);
        let reason = &b.last_change().reason;
        assert!(reason.contains("dbid 3 could not take over"), "{reason}");
        assert_eq!(b.last_change().recover, None, "somebody has to look at it first");
    }
}

#[test]
fn only_a_synchronized_pair_promotes() {
    for row in [resync(), tracking(), row(Mode::Synchronized, None)] {
        let mut b = Bench::healthy(row);
        for _ in 0..50 {
            b.pass(100);
            b.fail(P, Failure::Refused);
            if row.mirror.is_some() {
                b.hear(link_ended(report(M, Phase::Mirror)));
            }
        }
        assert_eq!(b.changes(), [], "{}", letters(&row));
        assert_eq!(b.double_faults(), 1);
        b.hear(report(P, if row.mirror.is_none() { Phase::Mirrorless } else { Phase::Tracking }));
        for _ in 0..50 {
            b.pass(100);
            b.fail(P, Failure::Refused);
        }
        assert_eq!(b.double_faults(), 2, "and once for each time it happens");
    }
}

#[test]
fn a_sick_primary_counts_as_lost() {
    let mut b = Bench::healthy(synced());
    b.now = 10;
    let mut sick = report(P, Phase::InSync);
    sick.sick = Some("write: I/O error".into());
    b.hear(sick.clone());
    assert_eq!(b.changes(), [Happening::PrimaryLost], "the mirror answered within the last second");
    let mut b = Bench::healthy(synced());
    b.pass(5000);
    let decisions = b.hear(sick);
    assert!(decisions.contains(&Decision::Ask(M)), "an old answer is not enough (R4)");
    b.hear(report(M, Phase::Mirror));
    assert_eq!(b.changes(), [Happening::PrimaryLost]);
}

#[test]
fn a_lost_mirror_grants_tracking_and_is_not_recovered_by_itself() {
    for loss in [
        MirrorLoss::LinkClosed("eof".into()),
        MirrorLoss::Silent { waited_ms: 2000 },
        MirrorLoss::MirrorDisk("EIO".into()),
    ] {
        let mut b = Bench::healthy(synced());
        b.now = 10;
        b.fail(M, Failure::Refused);
        let mut primary = report(P, Phase::Suspended);
        primary.mirror_lost = Some(loss);
        b.hear(primary);
        assert_eq!(b.changes(), [Happening::MirrorLost]);
        assert_eq!(b.row_letters(), "p,c,u / m,s,d");
        assert_eq!(b.last_change().recover, None);
    }
}

fn lost_link() -> Report {
    let mut primary = report(P, Phase::Suspended);
    primary.link = None;
    primary.mirror_lost = Some(MirrorLoss::LinkClosed("eof".into()));
    primary
}

#[test]
fn a_lost_link_with_both_alive_is_recovered_at_once() {
    let mut b = Bench::healthy(synced());
    b.now = 10;
    assert_eq!(b.hear(lost_link()), [Decision::Ask(M)]);
    b.now = 11;
    b.hear(link_ended(report(M, Phase::Mirror)));
    assert_eq!(b.changes(), [Happening::LinkLost]);
    assert_eq!(b.last_change().recover, Some(M));
}

#[test]
fn a_lost_link_waits_for_word_of_the_mirror_only_briefly() {
    let mut b = Bench::healthy(synced());
    b.now = 10;
    b.hear(lost_link());
    b.pass(400);
    assert_eq!(b.changes(), [Happening::MirrorLost]);
}

#[test]
fn a_loss_reported_under_an_older_epoch_is_ignored() {
    let mut row = resync();
    row.epoch = Epoch(6);
    let mut b = Bench::new(row);
    b.hear(lost_link());
    assert_eq!(b.changes(), []);
}

#[test]
fn a_claim_at_the_row_s_epoch_makes_the_pair_synchronized_in_the_same_epoch() {
    let mut b = Bench::healthy(resync());
    let mut old = report(P, Phase::InSync);
    old.epoch = Epoch(4);
    b.hear(old);
    assert_eq!(b.changes(), []);
    b.hear(report(P, Phase::InSync));
    assert_eq!(b.changes(), [Happening::InSync]);
    assert_eq!(b.row_letters(), "p,s,u / m,s,u");
    assert_eq!(b.fts.row().epoch, Epoch(5));
}

#[test]
fn a_claim_that_comes_with_the_loss_of_the_mirror_is_a_loss() {
    let mut b = Bench::healthy(resync());
    let mut primary = report(P, Phase::InSync);
    primary.mirror_lost = Some(MirrorLoss::LinkClosed("eof".into()));
    b.hear(primary);
    assert_eq!(b.changes(), [Happening::MirrorLost]);
    assert_eq!(b.row_letters(), "p,c,u / m,r,d");
}

#[test]
fn a_restarted_acting_primary_gets_one_new_epoch_and_tracking() {
    for (row, after, recover) in [
        (synced(), "p,c,u / m,s,d", Some(M)),
        (resync(), "p,c,u / m,r,d", None),
        (tracking(), "p,c,u / m,s,d", None),
        (super::tests::row(Mode::Synchronized, None), "p,s,u", None),
    ] {
        let mut b = Bench::healthy(row);
        b.hear(report(P, Phase::Nobody));
        b.hear(report(P, Phase::Nobody));
        assert_eq!(b.changes(), [Happening::PrimaryRestarted], "{}", letters(&row));
        assert_eq!(b.row_letters(), after);
        assert_eq!(b.fts.row().epoch, Epoch(6));
        assert_eq!(b.last_change().recover, recover);
        // It obeys, dies, and another process with the same pid comes up.
        let mut obeyed = report(P, Phase::Tracking);
        obeyed.epoch = Epoch(6);
        b.hear(obeyed);
        let mut again = report(P, Phase::Nobody);
        again.epoch = Epoch(6);
        b.hear(again);
        assert_eq!(b.fts.row().epoch, Epoch(7));
    }
}

#[test]
fn a_mirror_whose_copy_is_of_an_older_link_is_never_promoted() {
    let mut b = Bench::healthy(synced());
    let mut old = link_ended(report(M, Phase::Nobody));
    old.copy.generation = Epoch(3);
    b.fail(P, Failure::Refused);
    b.hear(old);
    assert_eq!((b.changes(), b.double_faults()), (vec![], 1));
}

#[test]
fn only_the_copy_that_served_last_is_granted_a_restart() {
    let mut b = Bench::healthy(synced());
    b.fail(M, Failure::Refused);
    let mut lost = report(P, Phase::Suspended);
    lost.mirror_lost = Some(MirrorLoss::LinkClosed("end of stream".into()));
    b.hear(lost);
    assert_eq!(b.row_letters(), "p,c,u / m,s,d");
    assert_eq!(b.last_change().serving_copy, Some(CopyId(1)));
    let mut other = report(P, Phase::Nobody);
    other.copy.copy = CopyId(7);
    b.hear(other);
    assert_eq!((b.changes(), b.double_faults()), (vec![Happening::MirrorLost], 1));
    b.hear(report(P, Phase::Nobody));
    assert_eq!(b.changes(), [Happening::MirrorLost, Happening::PrimaryRestarted]);
}

#[test]
fn a_restarted_primary_that_is_not_ready_gives_way_to_a_ready_mirror() {
    let mut b = Bench::healthy(synced());
    let mut nobody = report(P, Phase::Nobody);
    nobody.ready = false;
    b.hear(nobody);
    assert_eq!(b.changes(), [Happening::PrimaryLost]);
}

#[test]
fn of_two_lost_members_whichever_returns_first_serves() {
    let mut b = Bench::healthy(synced());
    for _ in 0..30 {
        b.pass(100);
        b.fail(P, Failure::Refused);
        b.fail(M, Failure::Refused);
    }
    assert_eq!((b.changes().len(), b.double_faults()), (0, 1));
    let mut primary_first = Bench { fts: b.fts.clone(), now: b.now, all: Vec::new() };
    primary_first.hear(report(P, Phase::Nobody));
    assert_eq!(primary_first.changes(), [Happening::PrimaryRestarted]);
    assert_eq!(primary_first.last_change().recover, None, "the mirror is not there to be recovered");
    b.hear(link_ended(report(M, Phase::Nobody)));
    assert_eq!(b.changes(), [Happening::PrimaryLost]);
    assert_eq!(b.fts.row().primary.dbid, M);
}

#[test]
fn a_cold_cluster_has_no_faults_until_it_is_released_or_a_role_is_seen() {
    let mut b = Bench { fts: Fts::new(synced(), Patience::default()), now: 0, all: Vec::new() };
    for _ in 0..100 {
        b.pass(100);
        b.fail(P, Failure::Refused);
        b.hear(link_ended(report(M, Phase::Nobody)));
    }
    assert_eq!(b.changes(), []);
    let mut running = Bench { fts: b.fts.clone(), now: b.now, all: Vec::new() };
    running.hear(link_ended(report(M, Phase::Mirror)));
    running.fail(P, Failure::Refused);
    running.hear(link_ended(report(M, Phase::Mirror)));
    assert_eq!(running.changes(), [Happening::PrimaryLost], "a coordinator that restarts just continues");
    b.step(Event::Release);
    assert_eq!(b.changes(), [], "what failed before the start does not count");
    b.hear(report(P, Phase::Nobody));
    assert_eq!(b.changes(), [Happening::PrimaryRestarted]);
}

#[test]
fn nothing_is_decided_while_held_and_nobody_promoted_while_paused_and_a_pause_ends_by_itself() {
    let mut b = Bench::healthy(synced());
    b.step(Event::Hold(true));
    b.fail(P, Failure::Refused);
    b.hear(link_ended(report(M, Phase::Mirror)));
    assert_eq!(b.changes(), []);
    b.step(Event::Hold(false));
    assert_eq!(b.changes(), [], "what failed while held does not count");
    b.step(Event::Pause { until_ms: Some(b.now + 500) });
    b.fail(P, Failure::Refused);
    b.hear(link_ended(report(M, Phase::Mirror)));
    assert_eq!(b.changes(), []);
    assert!(!b.fts.is_undecided(b.now), "whoever asks for a probe is not kept waiting for the pause");
    let said = b.all.iter().filter(|d| matches!(d, Decision::Say(text) if text.contains("paused"))).count();
    assert_eq!(said, 1, "that a failover waits is said, once");
    b.pass(600);
    assert_eq!(b.changes(), [Happening::PrimaryLost]);
}

#[test]
fn a_failover_that_a_pause_withheld_happens_as_soon_as_the_pause_is_ended() {
    let mut b = Bench::healthy(synced());
    b.step(Event::Pause { until_ms: Some(u64::MAX) });
    b.fail(P, Failure::Refused);
    b.hear(link_ended(report(M, Phase::Mirror)));
    b.pass(5000);
    assert_eq!(b.changes(), []);
    b.step(Event::Pause { until_ms: None });
    assert_eq!(b.changes(), [Happening::PrimaryLost]);
}

#[test]
fn a_pause_keeps_no_content_from_writing() {
    let pause = Event::Pause { until_ms: Some(u64::MAX) };
    let mut b = Bench::healthy(synced());
    b.step(pause.clone());
    b.hear(lost_link());
    b.hear(link_ended(report(M, Phase::Mirror)));
    assert_eq!(b.changes(), [Happening::LinkLost], "commits wait for the grant of tracking");

    let mut b = Bench::healthy(resync());
    b.step(pause.clone());
    b.hear(report(P, Phase::InSync));
    assert_eq!(b.changes(), [Happening::InSync], "an unwritten claim would cost the pair its failover");

    let mut b = Bench::healthy(synced());
    b.step(pause.clone());
    b.hear(report(P, Phase::Nobody));
    assert_eq!(b.changes(), [Happening::PrimaryRestarted], "a primary that came back serves again");

    let mut b = Bench::healthy(synced());
    b.step(pause);
    b.step(Event::Drained(P));
    b.fail(P, Failure::Refused);
    b.hear(link_ended(report(M, Phase::Mirror)));
    assert_eq!(b.changes(), [Happening::Drained], "a switch that was asked for is no failover");
}

#[test]
fn a_decision_is_kept_with_what_was_seen_in_the_rounds_before_it() {
    let mut b = Bench::healthy(synced());
    b.pass(1000);
    b.fail(P, Failure::Timeout);
    for _ in 0..3 {
        b.pass(1000);
        b.hear(report(M, Phase::Mirror));
        b.fail(P, Failure::Timeout);
    }
    let evidence = &b.last_change().evidence;
    assert!(evidence[0].starts_with("primary dbid 2: no answer in time"), "{evidence:?}");
    assert!(evidence[1].starts_with("mirror dbid 3: "), "{evidence:?}");
    assert!(evidence.iter().any(|e| e.contains("ms ago: dbid 2: no answer in time")), "{evidence:?}");
}

#[test]
fn a_late_prober_voids_the_round_and_says_so() {
    let mut b = Bench::healthy(synced());
    b.pass(1000);
    b.fail(P, Failure::Timeout);
    b.pass(1000);
    b.fail(P, Failure::Timeout);
    // The prober's own process is stopped for a while: the next thing it sees is an expired deadline.
    b.now += 700;
    let decisions = b.fail(P, Failure::Timeout);
    assert!(matches!(&decisions[..], [Decision::Say(text)] if text.contains("late")));
    b.hear(report(M, Phase::Mirror));
    b.pass(1000);
    b.fail(P, Failure::Timeout);
    b.hear(report(M, Phase::Mirror));
    assert_eq!(b.changes(), []);
}

#[test]
fn when_every_host_is_silent_nothing_is_decided_and_that_is_said_once() {
    let mut b = Bench::healthy(synced());
    b.step(Event::AllSilent(true));
    for _ in 0..6 {
        b.pass(1000);
        b.fail(P, Failure::Timeout);
        b.fail(M, Failure::Timeout);
    }
    assert_eq!((b.changes().len(), b.double_faults()), (0, 0));
    assert_eq!(b.all.iter().filter(|d| matches!(d, Decision::Say(_))).count(), 1);
    b.step(Event::AllSilent(false));
    b.hear(report(M, Phase::Mirror));
    assert_eq!(b.changes(), []);
}

#[test]
fn the_end_of_a_silence_of_all_makes_nobody_late() {
    let mut b = Bench::healthy(synced());
    for _ in 0..5 {
        b.pass(1000);
        b.fail(P, Failure::Timeout);
        b.fail(M, Failure::Timeout);
        b.step(Event::AllSilent(true));
    }
    // The mirror is heard first.
    b.step(Event::AllSilent(false));
    b.hear(report(M, Phase::Mirror));
    b.pass(900);
    assert_eq!((b.changes(), b.double_faults()), (vec![], 0));
    b.hear(report(P, Phase::InSync));
    b.pass(5000);
    assert_eq!((b.changes(), b.double_faults()), (vec![], 0));
}

#[test]
fn a_primary_that_stays_silent_when_the_others_are_heard_again_is_lost_after_three_attempts_more() {
    let mut b = Bench::healthy(synced());
    for _ in 0..5 {
        b.pass(1000);
        b.fail(P, Failure::Timeout);
        b.fail(M, Failure::Timeout);
        b.step(Event::AllSilent(true));
    }
    b.step(Event::AllSilent(false));
    for attempt in 1..=3 {
        assert_eq!(b.changes(), [], "after {} attempts", attempt - 1);
        b.pass(1000);
        b.hear(report(M, Phase::Mirror));
        b.fail(P, Failure::Timeout);
    }
    assert_eq!(b.changes(), [Happening::PrimaryLost]);
}

#[test]
fn a_later_epoch_than_the_catalog_s_quarantines_the_content() {
    let mut b = Bench::healthy(synced());
    let mut ahead = report(M, Phase::Mirror);
    ahead.epoch = Epoch(9);
    let decisions = b.hear(ahead);
    assert!(matches!(&decisions[..], [Decision::Quarantine { .. }]));
    b.fail(P, Failure::Refused);
    b.hear(link_ended(report(M, Phase::Mirror)));
    assert_eq!(b.changes(), []);
    assert!(b.fts.quarantine().is_some());
}

#[test]
fn an_impossible_row_quarantines_only_its_content_and_once() {
    let mut b = Bench::new(row(Mode::ChangeTracking, Some((Mode::ChangeTracking, Status::Up))));
    b.pass(1000);
    assert_eq!(b.all, [], "it was said in the first step");
    assert!(b.fts.quarantine().is_some());
}

#[test]
fn a_drained_primary_that_exits_switches_the_roles_and_is_recovered_at_once() {
    let mut b = Bench::healthy(synced());
    b.step(Event::Drained(P));
    b.hear(link_ended(report(M, Phase::Mirror)));
    assert_eq!(b.changes(), [], "it has not exited yet");
    b.fail(P, Failure::Refused);
    b.hear(link_ended(report(M, Phase::Mirror)));
    assert_eq!(b.changes(), [Happening::Drained]);
    assert_eq!(b.last_change().recover, Some(P));
    assert_eq!(b.fts.row().primary.dbid, M);
}

#[test]
fn while_a_change_is_under_way_nothing_else_is_decided() {
    let mut fts = Fts::new(synced(), Patience::default());
    fts.step(0, Event::Release);
    fts.step(1, Event::Heard(Box::new(report(M, Phase::Mirror))));
    fts.step(2, Event::Failed { dbid: P, failure: Failure::Refused, why: String::new() });
    let first = fts.step(3, Event::Heard(Box::new(link_ended(report(M, Phase::Mirror)))));
    assert_eq!(first.len(), 1);
    assert_eq!(fts.step(4, Event::Heard(Box::new(link_ended(report(M, Phase::Mirror))))), []);
    // The compare-and-set lost: the row that stands comes back.
    let after = fts.step(5, Event::Row(tracking()));
    assert!(!after.iter().any(|d| matches!(d, Decision::Change(_))), "{after:?}");
    assert_eq!(letters(fts.row()), "p,c,u / m,s,d");
}

#[test]
fn a_copy_that_is_incomplete_or_of_unknown_origin_is_never_granted_the_content() {
    let nobody = |pid, ready| Report { pid, ready, link: None, ..report(P, Phase::Nobody) };
    for row in [tracking(), resync(), row(Mode::Synchronized, None)] {
        let mut bench = Bench::healthy(row);
        bench.fail(P, Failure::Refused);
        let before = bench.changes();
        bench.all.clear();
        for _ in 0..3 {
            bench.hear(nobody(999, false));
            bench.pass(1000);
        }
        assert_eq!(bench.changes(), [], "after {before:?}");
        assert!(!bench.fts.may_order(P));
        let loud = bench.all.iter().filter(|d| matches!(d, Decision::DoubleFault { .. })).count();
        assert!(loud <= 1, "it is said once");
        bench.hear(nobody(1000, true));
        assert_eq!(bench.changes(), [Happening::PrimaryRestarted], "another copy under its name may");
    }
    // In s/s both hold every acknowledged commit.
    let mut bench = Bench::new(synced());
    bench.hear(nobody(999, false));
    bench.hear(Report { link: None, ..report(M, Phase::Nobody) });
    assert_eq!(bench.changes(), [Happening::PrimaryLost]);
}

#[test]
fn what_could_not_be_written_is_decided_again_later_and_on_fresh_witnesses() {
    let mut fts = Fts::new(synced(), Patience::default());
    let refused = |fts: &mut Fts, now| {
        let mut all = fts.step(now, Event::Failed { dbid: P, failure: Failure::Refused, why: String::new() });
        all.extend(fts.step(now, Event::Heard(Box::new(link_ended(report(M, Phase::Nobody))))));
        all
    };
    fts.step(0, Event::Release);
    assert!(matches!(&refused(&mut fts, 10)[..], [.., Decision::Change(_)]));
    assert_eq!(fts.step(10, Event::NotWritten), []);
    assert_eq!(letters(fts.row()), "p,s,u / m,s,u");
    for now in (100..1000).step_by(100) {
        let decisions = refused(&mut fts, now);
        assert!(!decisions.iter().any(|d| matches!(d, Decision::Change(_))), "not at once again");
        assert!(!fts.is_undecided(now), "whoever asked for a probe need not wait for it");
        assert!(!fts.may_order(M), "nothing was granted");
    }
    assert!(matches!(&refused(&mut fts, 1100)[..], [Decision::Change(_)]));
    // What was seen before does not count.
    fts.step(1100, Event::NotWritten);
    for now in (1200..=2400).step_by(100) {
        assert_eq!(fts.step(now, Event::Tick), []);
    }
}

#[test]
fn a_primary_that_is_held_is_granted_tracking_and_nothing_else() {
    let mut b = Bench::healthy(synced());
    b.step(Event::Hold(true));
    b.fail(M, Failure::Refused);
    let mut primary = report(P, Phase::Suspended);
    primary.mirror_lost = Some(MirrorLoss::LinkClosed("end of stream".into()));
    b.hear(primary);
    assert_eq!(b.changes(), [Happening::MirrorLost]);
    assert_eq!(b.last_change().recover, None);
    b.fail(P, Failure::Refused);
    b.hear(report(P, Phase::Nobody));
    b.pass(5000);
    assert_eq!((b.changes(), b.double_faults()), (vec![Happening::MirrorLost], 0));
}

#[test]
fn a_report_that_a_later_one_of_the_same_process_overtook_says_nothing() {
    let mut b = Bench::healthy(tracking());
    b.hear(report(P, Phase::Nobody));
    let mut obeyed = report(P, Phase::Tracking);
    obeyed.epoch = Epoch(6);
    b.hear(obeyed);
    b.hear(report(P, Phase::Nobody));
    assert_eq!(b.changes(), [Happening::PrimaryRestarted], "it is the process that was granted the content");
    let mut other = report(P, Phase::Nobody);
    other.pid += 1;
    b.hear(other);
    assert_eq!(b.changes().len(), 2, "another process is another");
}

#[test]
fn a_release_forgets_what_a_process_said_that_died_while_nothing_was_decided() {
    let mut b = Bench::healthy(synced());
    b.step(Event::Hold(true));
    b.hear(report(P, Phase::Nobody));
    for _ in 0..4 {
        b.pass(100);
        b.fail(P, Failure::Refused);
    }
    b.hear(link_ended(report(M, Phase::Nobody)));
    b.step(Event::Release);
    assert_eq!(b.changes(), [], "the process that said it was nobody is gone");
    b.fail(P, Failure::Refused);
    b.hear(link_ended(report(M, Phase::Nobody)));
    assert_eq!(b.changes(), [Happening::PrimaryLost], "the mirror holds everything");
}

#[test]
fn a_late_prober_does_not_believe_what_it_heard_before_either() {
    let mut b = Bench::healthy(synced());
    b.pass(100);
    let mut primary = report(P, Phase::Suspended);
    primary.mirror_lost = Some(MirrorLoss::LinkClosed("end of stream".into()));
    b.hear(primary);
    b.pass(100);
    b.fail(P, Failure::Timeout);
    b.now += 900;
    b.hear(report(M, Phase::Mirror));
    assert_eq!(b.changes(), [], "the primary may be gone");
    b.fail(P, Failure::Refused);
    b.hear(link_ended(report(M, Phase::Mirror)));
    assert_eq!(b.changes(), [Happening::PrimaryLost]);
}
