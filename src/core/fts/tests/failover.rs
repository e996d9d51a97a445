//! A primary that is lost, and who takes over.

use super::*;

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
fn a_primary_of_another_release_is_no_dead_one_and_is_named_with_both_versions() {
    let mut b = Bench::healthy(synced());
    let other = Failure::OtherRelease { theirs: 9, ours: 1 };
    b.pass(1000);
    b.fail(P, other);
    b.hear(link_ended(report(M, Phase::Mirror)));
    assert_eq!(b.changes(), [], "it runs: two witnesses do not agree that it is gone");
    for _ in 0..2 {
        b.pass(1000);
        b.fail(P, other);
        b.hear(link_ended(report(M, Phase::Mirror)));
    }
    assert_eq!(b.changes(), [Happening::PrimaryLost], "nobody here can use it");
    let words = "speaks protocol 9, this coordinator 1";
    assert!(b.last_change().reason.contains(words), "{:?}", b.last_change());
    assert!(b.fts.observations().any(|(_, seen)| seen.contains(words)));
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
fn a_double_fault_that_a_former_coordinator_said_is_not_said_again_and_the_next_one_is() {
    let said = |b: &Bench| b.all.iter().filter(|d| matches!(d, Decision::DoubleFault { .. })).count();
    let lose = |b: &mut Bench| {
        for _ in 0..3 {
            b.pass(1000);
            b.fail(P, Failure::Refused);
        }
    };
    let fts = Fts::new(tracking(), Patience::default()).having_said("double fault: primary dbid 2 is lost");
    let mut b = Bench { fts, now: 0, all: Vec::new() };
    b.step(Event::Release);
    lose(&mut b);
    assert_eq!(said(&b), 0);
    b.hear(report(P, Phase::Tracking));
    lose(&mut b);
    assert_eq!(said(&b), 1);
    let mut fresh = Bench::healthy(tracking());
    lose(&mut fresh);
    assert_eq!(said(&fresh), 1);
}

#[test]
fn without_a_mirror_the_loss_is_no_double_fault_but_makes_the_content_nonoperational() {
    let mut b = Bench::healthy(row(Mode::Synchronized, None));
    for _ in 0..3 {
        b.pass(1000);
        b.fail(P, Failure::Refused);
    }
    let said = b.all.iter().find_map(|d| match d {
        Decision::DoubleFault { reason, .. } => Some(reason.as_str()),
        _ => None,
    });
    let said = said.expect("said");
    assert!(said.starts_with("not operational: primary dbid 2 is lost"), "{said}");
    assert!(said.ends_with("the content has no mirror"), "{said}");
    let mut b = Bench { fts: b.fts.having_said(said), now: b.now, all: Vec::new() };
    b.fail(P, Failure::Refused);
    assert_eq!(b.double_faults(), 0, "a former coordinator said it");
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
