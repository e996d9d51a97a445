//! A comparison as the coordinator sees it: what it does to the row, and what follows.

use super::*;
use crate::cluster::RefusalCode;
use crate::core::report::Soundness;

fn verify() -> Intent {
    Intent::Verify { selection: Selection::default(), rate_bytes: None, jobs: None }
}

#[tokio::test]
async fn equal_copies_are_verified_and_nothing_changes() {
    let cluster = Cluster::new(1);
    let c = started(&cluster).await;
    let before = c.board.read(|k| k.row(C0));
    let outcome = run(&c, verify(), M).await;
    assert_eq!(outcome.status, OutcomeStatus::Done, "{outcome:?}");
    assert_eq!((outcome.segments[0].how.as_str(), outcome.segments[0].verified_bytes), ("verified", 1 << 20));
    assert_eq!(c.board.read(|k| k.row(C0)), before);
}

#[tokio::test]
async fn a_difference_takes_the_pair_out_of_sync_and_a_sound_primary_is_copied_over_the_mirror() {
    let cluster = Cluster::new(1);
    let c = started(&cluster).await;
    cluster.world.lock().differing_blocks = 3;
    let outcome = run(&c, verify(), M).await;
    assert_eq!((outcome.status, outcome.status.exit()), (OutcomeStatus::Differs, 9), "{outcome:?}");
    assert_eq!(outcome.segments[0].differing_blocks, 3);
    assert!(outcome.segments[0].note.contains("is sound"), "{outcome:?}");
    assert_eq!(outcome.next, "recover(#{ contents: [0] })");
    assert_eq!(row(&c), "p,c,u / m,s,d");
    assert_eq!(run(&c, recover(), M).await.status, OutcomeStatus::Done);
    assert_eq!(row(&c), "p,s,u / m,s,u");
}

#[tokio::test]
async fn a_damaged_primary_is_told_and_never_copied() {
    let cluster = Cluster::new(1);
    let c = started(&cluster).await;
    {
        let mut inner = cluster.world.lock();
        inner.differing_blocks = 1;
        inner.damage = Some("main.db: block 7 fails its checksum".into());
    }
    let outcome = run(&c, verify(), M).await;
    assert_eq!(outcome.status, OutcomeStatus::Differs, "{outcome:?}");
    assert!(outcome.segments[0].note.contains("dbid 2 damaged: main.db: block 7"), "{outcome:?}");
    assert_eq!(
        c.state().unwrap().contents[0].source_damaged.as_deref(),
        Some("dbid 2 main.db: block 7 fails its checksum")
    );
    for intent in [recover(), full_recover()] {
        let outcome = run(&c, intent, M).await;
        assert_eq!(outcome.status, OutcomeStatus::Refused, "{outcome:?}");
        assert_eq!(outcome.refusals[0].code, RefusalCode::SourceDamaged);
        assert_eq!(row(&c), "p,c,u / m,s,d");
    }
}

#[tokio::test]
async fn a_recovery_judges_first_what_nobody_has_judged_yet() {
    let cluster = Cluster::new(1);
    let c = started(&cluster).await;
    cluster.world.kill(M);
    until(&c, "tracking", |_| cluster.world.phase(P) == Some(Phase::Tracking)).await;
    cluster.world.lock().procs.get_mut(&P).unwrap().report.soundness = Soundness::Unjudged;
    cluster.world.lock().damage = Some("quick_check: broken".into());
    c.prober.probe().await;
    let outcome = run(&c, recover(), M).await;
    assert_eq!(outcome.refusals[0].code, RefusalCode::SourceDamaged, "{outcome:?}");
    assert!(!cluster.world.lock().procs.contains_key(&M), "no mirror was started for it");
}

#[tokio::test]
async fn a_verification_goes_on_when_the_coordinator_dies_and_comes_back() {
    let cluster = Cluster::new(1);
    let c = started(&cluster).await;
    cluster.world.lock().hold_verify = true;
    let Answer::Begun { op, .. } = c.operations.begin(&plan(&c, verify(), M), &owner()).unwrap() else { panic!() };
    until(&c, "comparing", |c| c.board.read(|k| k.answer(P).is_some_and(|r| r.verification.is_some()))).await;
    c.operations.abandon().await;
    drop(c);
    let c = Coordinator::start_on(cluster.site.clone(), cluster.hosts.clone()).unwrap();
    // The process that compared died too: the new coordinator asks again.
    {
        let mut inner = cluster.world.lock();
        inner.procs.get_mut(&P).unwrap().report.verification = None;
        inner.hold_verify = false;
        inner.differing_blocks = 1;
    }
    let outcome = end(&c, Answer::Begun { op, joined: true }).await;
    assert_eq!(outcome.status, OutcomeStatus::Differs, "{outcome:?}");
}

#[tokio::test]
async fn a_cancelled_verification_ends_and_changes_nothing() {
    let cluster = Cluster::new(1);
    let c = started(&cluster).await;
    cluster.world.lock().hold_verify = true;
    let answer = c.operations.begin(&plan(&c, verify(), M), &owner()).unwrap();
    let Answer::Begun { op, .. } = answer else { panic!() };
    until(&c, "comparing", |c| c.board.read(|k| k.answer(P).is_some_and(|r| r.verification.is_some()))).await;
    // Another change of the same pair must wait; another verification is the same one.
    let other = plan(&c, Intent::Rebalance { selection: Selection::default() }, P);
    assert!(matches!(c.operations.begin(&other, &owner()).unwrap(), Answer::Locked { op: held, .. } if held == op));
    let again = c.operations.begin(&plan(&c, verify(), M), &owner()).unwrap();
    assert_eq!(again, Answer::Begun { op, joined: true });
    assert!(c.operations.flag(op, true).unwrap());
    assert_eq!(end(&c, answer).await.status, OutcomeStatus::Cancelled);
    assert_eq!(row(&c), "p,s,u / m,s,u");
}

#[tokio::test]
async fn a_link_that_ends_meanwhile_is_recovered_at_once_and_the_verification_says_so() {
    let cluster = Cluster::new(1);
    let c = started(&cluster).await;
    cluster.world.lock().hold_verify = true;
    let answer = c.operations.begin(&plan(&c, verify(), M), &owner()).unwrap();
    until(&c, "comparing", |c| c.board.read(|k| k.answer(P).is_some_and(|r| r.verification.is_some()))).await;
    cluster.world.cut_link(C0);
    let outcome = end(&c, answer).await;
    assert_eq!(outcome.status, OutcomeStatus::Partial, "{outcome:?}");
    until(&c, "in sync again", row_is("p,s,u / m,s,u")).await;
}
