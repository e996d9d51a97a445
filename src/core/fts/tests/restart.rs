//! Processes that return: who is granted the content.

use super::*;

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
fn a_primary_that_gave_way_to_damage_does_not_serve_again_in_its_mirrors_place() {
    let mut b = Bench::healthy(synced());
    for _ in 0..30 {
        b.pass(100);
        b.fail(P, Failure::Refused);
        b.fail(M, Failure::Refused);
    }
    let soundness = Soundness::Damaged { why: "main.db-wal: block 3 fails its checksum".into() };
    b.hear(Report { soundness, ..report(P, Phase::Nobody) });
    assert_eq!(b.changes(), [], "its mirror holds what is damaged here");
    b.hear(link_ended(report(M, Phase::Nobody)));
    assert_eq!(b.changes(), [Happening::PrimaryLost]);
    assert_eq!(b.fts.row().primary.dbid, M);
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
