//! A mirror that is lost or given up, a link that ends, and a claim.

use super::*;

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
fn the_last_word_of_a_mirror_that_arrives_behind_its_loss_is_no_word_that_it_lives() {
    let mut b = Bench::healthy(synced());
    b.now = 10;
    b.hear(lost_link());
    b.now = 11;
    // It was on its way when the process was killed: in it the link still holds.
    b.hear(report(M, Phase::Mirror));
    assert_eq!(b.changes(), []);
    b.fail(M, Failure::Refused);
    assert_eq!(b.changes(), [Happening::MirrorLost]);
    assert_eq!(b.last_change().recover, None);
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
