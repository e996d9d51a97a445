//! The prober distrusts itself: its own lateness, and a silence of all.

use super::*;

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
