//! Comparing the copies, and what is judged before anything is copied.

use super::*;

fn compared(stage: VerifyStage, differing_blocks: u64) -> Verification {
    let differing = "main.db block 7".into();
    Verification { op: 1, stage, verified_bytes: 9, total_bytes: 9, differing_blocks, differing }
}

#[test]
fn a_verification_asks_once_and_again_when_nothing_is_heard_of_it() {
    let (mut t, mut f) = (mirror_target(), synced());
    let asks = Step::Verify { dbid: P, rate_bytes: None };
    assert_eq!(t.next(VERIFY, &f), asks);
    assert_eq!(t.next(VERIFY, &f), asks, "nothing was done in between");
    t.did(&asks, Came::Fine);
    assert_eq!(t.next(VERIFY, &f), Step::Wait(WaitFor::VerificationToBegin));
    f.now_ms = 2_000;
    assert_eq!(t.next(VERIFY, &f), asks);
    t.did(&asks, Came::Fine);
    // What another operation had compared is no answer to this one.
    primary_report(&mut f).verification = Some(Verification { op: 9, ..compared(VerifyStage::Ended, 5) });
    assert_eq!(t.next(VERIFY, &f), Step::Wait(WaitFor::VerificationToBegin));
    primary_report(&mut f).verification = Some(compared(VerifyStage::Running, 0));
    assert_eq!(t.next(VERIFY, &f), Step::Wait(WaitFor::Verification));
    primary_report(&mut f).verification = Some(compared(VerifyStage::Ended, 0));
    assert_eq!(t.next(VERIFY, &f), Step::Ended);
    assert!(matches!(t.ended, Some(Ended::Done { .. })));
}

#[test]
fn a_difference_leaves_sync_then_is_judged_then_told() {
    let (mut t, mut f) = (mirror_target(), synced());
    let report = primary_report(&mut f);
    report.verification = Some(compared(VerifyStage::Ended, 2));
    report.soundness = Soundness::Unjudged;
    let leaves = t.next(VERIFY, &f);
    assert_eq!(event(&leaves), Some(Event::DifferenceFound));
    t.did(&leaves, Came::Changed(Epoch(6)));
    f.row = apply_change(&leaves);
    assert_eq!(letters(&f.row), "p,c,u / m,s,d");
    assert_eq!(t.next(VERIFY, &f), Step::Wait(WaitFor::PrimaryToAnswer), "not judged before it has obeyed");
    primary_report(&mut f).epoch = Epoch(6);
    primary_report(&mut f).phase = Phase::Tracking;
    let judge = t.next(VERIFY, &f);
    assert_eq!(judge, Step::Judge { dbid: P });
    t.did(&judge, Came::Fine);
    assert_eq!(t.next(VERIFY, &f), Step::Wait(WaitFor::Judgement));
    primary_report(&mut f).soundness = Soundness::Damaged { why: "block 7".into() };
    assert_eq!(t.next(VERIFY, &f), Step::Ended);
    assert!(
        matches!(&t.ended, Some(Ended::Differs { note }) if note.contains("dbid 2 damaged: block 7")),
        "{:?}",
        t.ended
    );
}

#[test]
fn a_known_difference_leaves_sync_also_when_the_comparison_was_cancelled_or_broke() {
    let (mut t, mut f) = (mirror_target(), synced());
    f.cancelled = true;
    t.stage = Stage::Verifying;
    primary_report(&mut f).verification = Some(compared(VerifyStage::Failed { why: "cancelled".into() }, 1));
    assert_eq!(event(&t.next(VERIFY, &f)), Some(Event::DifferenceFound));
    // Without one a cancelled comparison changes nothing.
    primary_report(&mut f).verification = Some(compared(VerifyStage::Failed { why: "cancelled".into() }, 0));
    assert_eq!(t.next(VERIFY, &f), Step::Ended);
    assert!(matches!(t.ended, Some(Ended::Cancelled { .. })));
}

#[test]
fn only_a_synchronized_pair_is_verified() {
    let mut t = mirror_target();
    t.next(VERIFY, &tracking());
    assert_eq!(why(&t), Some(Why::NotSynchronized));
}

#[test]
fn a_pair_that_is_lost_meanwhile_is_no_difference() {
    let (mut t, mut f) = (mirror_target(), synced());
    t.next(VERIFY, &f);
    f.row = tracking().row;
    member(&mut f, P).report = Some(report(P, Phase::Tracking, 5));
    assert_eq!(t.next(VERIFY, &f), Step::Ended);
    assert!(matches!(t.ended, Some(Ended::Failed { .. })));
}

#[test]
fn nothing_is_copied_from_a_primary_before_it_was_judged_nor_when_it_is_damaged() {
    for kind in [RECOVER, FULL] {
        let (mut t, mut f) = (mirror_target(), tracking());
        primary_report(&mut f).soundness = Soundness::Unjudged;
        let judge = t.next(kind, &f);
        assert_eq!(judge, Step::Judge { dbid: P });
        t.did(&judge, Came::Fine);
        assert_eq!(t.next(kind, &f), Step::Wait(WaitFor::Judgement));
        primary_report(&mut f).soundness = Soundness::Damaged { why: "block 7".into() };
        t.next(kind, &f);
        assert_eq!(why(&t), Some(Why::SourceDamaged));
    }
}
