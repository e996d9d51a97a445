//! When nothing is decided: cold, held by an operation, paused.

use super::*;

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
