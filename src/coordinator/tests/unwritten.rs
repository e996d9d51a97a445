//! What is decided, ended or begun, and could not be written or must not be.

use super::*;

#[tokio::test]
async fn a_catalog_that_cannot_be_written_stops_neither_probes_nor_other_contents() {
    let cluster = Cluster::new(2);
    let c = started(&cluster).await;
    // Primaries are 2 and 3, their mirrors 4 and 5.
    let db = catalog(&c);
    db.execute_batch(
        "CREATE TRIGGER full BEFORE UPDATE ON segsh_content WHEN new.content = 0
         BEGIN SELECT RAISE(ABORT, 'disk full'); END",
    )
    .unwrap();
    cluster.world.kill(Dbid(4));
    until(&c, "the mirror to be missed", |c| c.board.read(|k| k.answer(Dbid(4)).is_none())).await;
    tokio::time::timeout(LONG, c.prober.probe()).await.expect("a probe is answered");
    cluster.world.kill(Dbid(3));
    until(&c, "the other content's promotion", |c| {
        c.board.read(|k| k.row(Content(1))).is_some_and(|r| r.primary.dbid == Dbid(5))
    })
    .await;
    assert_eq!(row(&c), "p,s,u / m,s,u");
    db.execute_batch("DROP TRIGGER full").unwrap();
    until(&c, "it is decided again", row_is("p,c,u / m,s,d")).await;
}

#[tokio::test]
async fn a_quarantine_outlives_the_coordinator() {
    let cluster = Cluster::new(1);
    let c = started(&cluster).await;
    c.store.quarantine(C0, "dbid 2 obeyed a later epoch", &[], 0).unwrap();
    c.operations.abandon().await;
    drop(c);
    let c = Coordinator::start_on(cluster.site.clone(), cluster.hosts.clone()).unwrap();
    c.prober.probe().await;
    cluster.world.kill(P);
    until(&c, "the primary to be missed", |c| c.board.read(|k| k.answer(P).is_none())).await;
    c.prober.probe().await;
    assert_eq!(c.board.read(|k| k.row(C0)).unwrap().primary.dbid, P);
    let pair = c.store.content(C0).unwrap().pair.unwrap();
    let transition = crate::core::transition::apply(&pair, crate::core::transition::Event::PrimaryLost).unwrap();
    let change = crate::coordinator::store::Change {
        transition: &transition,
        reason: "",
        evidence: &[],
        recover: None,
        full_copy: false,
        rate_bytes: None,
        serving_copy: None,
        copy_rate_bytes: None,
        place: None,
        at_ms: 0,
    };
    assert!(matches!(c.store.change(&change), Err(StoreError::Quarantined { .. })), "whoever asks for it");
}

#[tokio::test]
async fn an_operation_has_ended_once_its_end_is_written() {
    let cluster = Cluster::new(1);
    let c = started(&cluster).await;
    let answer = copying(&cluster, &c, recover()).await;
    let Answer::Begun { op, .. } = answer.clone() else { panic!("{answer:?}") };
    let db = catalog(&c);
    db.execute_batch(
        "CREATE TRIGGER full BEFORE UPDATE OF ended_ms ON segsh_operation
         BEGIN SELECT RAISE(ABORT, 'disk full'); END",
    )
    .unwrap();
    cluster.world.release_copies();
    until(&c, "in sync", row_is("p,s,u / m,s,u")).await;
    until(&c, "the target's end is kept", |c| c.store.operation(op).unwrap().unwrap().goal.is_ended()).await;
    let Watching::Running { outcome, .. } = c.operations.watch(op).unwrap() else { panic!("nobody may be told yet") };
    assert_eq!(*outcome.borrow(), None);
    db.execute_batch("DROP TRIGGER full").unwrap();
    assert_eq!(end(&c, answer).await.status, OutcomeStatus::Done);
    assert!(c.store.active().unwrap().is_empty());
    // Nothing is held: a lost link is recovered at once, and another operation may begin.
    let before = c.board.read(|k| k.row(C0)).unwrap().epoch;
    cluster.world.cut_link(C0);
    until(&c, "a new link", |c| {
        c.board.read(|k| k.row(C0)).is_some_and(|r| r.epoch.0 == before.0 + 2 && letters(&r) == "p,s,u / m,s,u")
    })
    .await;
}

#[tokio::test]
async fn an_operation_that_nobody_drives_is_driven_when_it_is_met() {
    let cluster = Cluster::new(1);
    let c = started(&cluster).await;
    cluster.world.kill(M);
    until(&c, "tracking", row_is("p,c,u / m,s,d")).await;
    let goal = crate::core::operation::Goal::new(
        crate::core::operation::GoalKind::Recover { full: false, in_place: false, rate_bytes: None },
        vec![crate::core::operation::Target::new(C0, M)],
    );
    // It was written by somebody who could not begin it.
    let crate::coordinator::store::Begun::New(op) = c.store.begin(&goal, &owner(), 0).unwrap() else { panic!() };
    let answer = c.operations.begin(&plan(&c, recover(), M), &owner()).unwrap();
    assert_eq!(answer, Answer::Begun { op, joined: true });
    assert_eq!(end(&c, answer).await.status, OutcomeStatus::Done);
}

#[tokio::test]
async fn a_target_is_not_done_on_a_row_that_has_changed_meanwhile() {
    let cluster = Cluster::new(1);
    let c = started(&cluster).await;
    let answer = copying(&cluster, &c, recover()).await;
    let Answer::Begun { op, .. } = answer else { panic!("{answer:?}") };
    let mut goal = c.store.operation(op).unwrap().unwrap().goal;
    goal.stop_after_segment = true;
    let now = c.store.content(C0).unwrap().pair.unwrap();
    let before = crate::core::row::PairRow { epoch: Epoch(1), ..now };
    assert!(!c.store.save_goal_on(op, &goal, &before).unwrap());
    assert!(!c.store.operation(op).unwrap().unwrap().goal.stop_after_segment);
    assert!(c.store.save_goal_on(op, &goal, &now).unwrap());
    assert!(c.store.operation(op).unwrap().unwrap().goal.stop_after_segment);
}
