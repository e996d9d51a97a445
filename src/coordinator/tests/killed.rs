//! A coordinator that is killed at any point of any operation: the next one, on the same catalog, brings
//! the operation to its end.

use super::*;
use crate::coordinator::testing::doom::{Doom, DoomedHost};
use crate::core::ids::Epoch;
use std::collections::BTreeMap;
use tokio::task::JoinSet;

/// How many coordinators live at a time.
const AT_A_TIME: usize = 6;

/// One kind of operation: what must hold before it, and how it is asked for.
#[derive(Clone)]
pub(super) struct Kind {
    before: Before,
    intent: Option<Intent>,
    dbid: Dbid,
    /// The acting primary and the row in the end.
    serves: Dbid,
    row: &'static str,
}

#[derive(Clone, Copy, PartialEq)]
enum Before {
    Stopped,
    Synchronized,
    Tracking,
    Switched,
    DoubleFault,
    /// The mirror is moved from a host that is gone, or that answers.
    HostGone,
    MovedAway,
}

impl Kind {
    /// Begun on a synchronized pair, which is one in the end, with the same acting primary.
    pub(super) fn of_a_synchronized_pair(intent: Intent, dbid: Dbid) -> Kind {
        Kind { before: Before::Synchronized, intent: Some(intent), dbid, serves: dbid, row: SYNCED }
    }
}

async fn begun(cluster: &Cluster, kind: &Kind, strikes_at: u64) -> (Arc<Coordinator>, Doom, i64) {
    let doom = Doom::default();
    let host = |(place, host): &(HostPlace, Arc<dyn Host>)| -> (HostPlace, Arc<dyn Host>) {
        (place.clone(), Arc::new(DoomedHost { host: host.clone(), doom: doom.clone() }))
    };
    let hosts = cluster.hosts.iter().map(host).collect();
    let c = Coordinator::start_doomed(cluster.site.clone(), hosts, doom.clone()).unwrap();
    if kind.before != Before::Stopped {
        let outcome = end(&c, c.operations.begin_start(&owner()).unwrap()).await;
        assert_eq!(outcome.status, OutcomeStatus::Done, "{outcome:?}\n{}", c.store.history().unwrap().join("\n"));
    }
    if matches!(kind.before, Before::Tracking | Before::DoubleFault | Before::HostGone | Before::MovedAway) {
        lose_the_mirror(cluster, &c).await;
    }
    if kind.before == Before::HostGone {
        cluster.world.lock().down_hosts.push("sdw2".into());
    }
    if kind.before == Before::DoubleFault {
        cluster.world.kill(P);
        until(&c, "the primary to be missed", |c| c.board.read(|k| k.answer(P).is_none())).await;
    }
    if kind.before == Before::Switched {
        cluster.world.kill(P);
        until(&c, "promotion", |c| c.board.read(|k| k.row(C0)).is_some_and(|r| r.primary.dbid == M)).await;
        assert_eq!(run(&c, recover(), P).await.status, OutcomeStatus::Done);
    }
    doom.arm(strikes_at);
    let answer = match &kind.intent {
        Some(Intent::Move { .. }) => {
            let place = cluster.spare_place(&cluster.rows[2]);
            c.operations.begin(&super::moved::moving(&c, &place), &owner())
        }
        Some(intent) => c.operations.begin(&plan(&c, intent.clone(), kind.dbid), &owner()),
        None => c.operations.begin_start(&owner()),
    };
    match answer.unwrap() {
        Answer::Begun { op, .. } => (c, doom, op),
        other => panic!("it does not begin: {other:?}"),
    }
}

/// A mirror whose last word comes after the loss of its link counts as alive, and is recovered at once:
/// then it is killed again.
async fn lose_the_mirror(cluster: &Cluster, c: &Coordinator) {
    while row(c) != "p,c,u / m,s,d" {
        let epoch = c.board.read(|k| k.row(C0)).unwrap().epoch;
        cluster.world.kill(M);
        until(c, "the loss to be settled", |c| {
            let now = c.board.read(|k| k.row(C0)).unwrap();
            let settled = (row(c) == "p,c,u / m,s,d" && serves_alone(c)) || row(c) == "p,s,u / m,s,u";
            now.epoch > epoch && settled && c.store.active().unwrap().is_empty()
        })
        .await;
    }
}

fn serves_alone(c: &Coordinator) -> bool {
    c.board.read(|k| k.answer(P).is_some_and(|r| r.phase == Phase::Tracking))
}

/// The points that an operation passes when nobody kills it.
async fn points(kind: &Kind) -> u64 {
    let cluster = Cluster::patient(1, "5s");
    let (c, doom, op) = begun(&cluster, kind, 0).await;
    assert_eq!(end(&c, Answer::Begun { op, joined: false }).await.status, OutcomeStatus::Done);
    c.operations.abandon().await;
    doom.passed()
}

async fn killed_at(kind: Kind, point: u64) {
    let cluster = Cluster::patient(1, "5s");
    let (c, doom, op) = begun(&cluster, &kind, point).await;
    let told = Answer::Begun { op, joined: false };
    let at = tokio::select! {
        at = doom.struck() => at,
        // Its points are a few more or less, as the network answers.
        outcome = end(&c, told.clone()) => {
            assert_eq!(outcome.status, OutcomeStatus::Done, "{outcome:?}\n{}", c.store.history().unwrap().join("\n"));
            return c.operations.abandon().await;
        }
    };
    c.operations.abandon().await;
    let epoch = c.store.content(C0).unwrap().pair.unwrap().epoch;
    drop(c);
    let c = Coordinator::start_on(cluster.site.clone(), cluster.hosts.clone()).unwrap();
    let ended = |c: &Coordinator| c.store.operation(op).unwrap().is_some_and(|o| o.ended_ms.is_some());
    until(&c, &format!("the end of the operation killed at {at}"), ended).await;
    let outcome = end(&c, told).await;
    assert_eq!(outcome.status, OutcomeStatus::Done, "killed at {at}\n{outcome:?}");
    until(&c, &format!("{} after {at}", kind.row), row_is(kind.row)).await;
    let now = c.board.read(|k| k.row(C0)).unwrap();
    assert_eq!(now.primary.dbid, kind.serves, "killed at {at}\n{}", c.store.history().unwrap().join("\n"));
    assert!(now.epoch >= epoch, "an epoch only rises");
    assert!(c.store.active().unwrap().is_empty(), "nothing is held after {at}");
    if let Some(Intent::Move { .. }) = kind.intent {
        assert_eq!(c.store.rows().unwrap()[2].hostname, "sdw3", "killed at {at}");
        assert_eq!(cluster.world.lock().procs[&M].host, "sdw3", "killed at {at}");
    }
    only_legal_rows_and_rising_epochs(&cluster, &at);
    c.operations.abandon().await;
}

fn only_legal_rows_and_rising_epochs(cluster: &Cluster, at: &str) {
    let mut last: BTreeMap<Dbid, Epoch> = BTreeMap::new();
    for (dbid, order) in &cluster.world.lock().orders {
        assert!(order.row.pairing().is_some(), "killed at {at}: {order:?}");
        let before = last.insert(*dbid, order.row.epoch).unwrap_or_default();
        assert!(order.row.epoch >= before, "killed at {at}: dbid {dbid} was told epoch {before}, then {order:?}");
    }
}

pub(super) async fn killed_everywhere(kind: Kind) {
    let points = points(&kind).await;
    assert!(points >= 3, "an operation has its points: {points}");
    let mut running = JoinSet::new();
    for point in 1..=points {
        if running.len() >= AT_A_TIME {
            running.join_next().await.expect("one runs").expect("its assertions hold");
        }
        running.spawn(killed_at(kind.clone(), point));
    }
    while let Some(ended) = running.join_next().await {
        ended.expect("its assertions hold");
    }
}

macro_rules! killed_at_every_point_of {
    ($($name:ident: $before:ident, $intent:expr, $dbid:expr => $serves:expr, $row:expr;)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
        async fn $name() {
            let (intent, row) = ($intent, $row);
            killed_everywhere(Kind { before: Before::$before, intent, dbid: $dbid, serves: $serves, row }).await;
        }
    )*};
}

killed_at_every_point_of! {
    a_start_goes_on_wherever_the_coordinator_was_killed: Stopped, None, P => P, SYNCED;
    a_recovery_goes_on_wherever_the_coordinator_was_killed: Tracking, Some(recover()), M => P, SYNCED;
    a_full_copy_goes_on_wherever_the_coordinator_was_killed: Tracking, Some(full_recover()), M => P, SYNCED;
    a_full_copy_in_place_goes_on_wherever_the_coordinator_was_killed:
        Tracking, Some(in_place()), M => P, SYNCED;
    a_rebalance_goes_on_wherever_the_coordinator_was_killed:
        Switched, Some(Intent::Rebalance { selection: Selection::default() }), P => P, SYNCED;
    a_restart_goes_on_wherever_the_coordinator_was_killed: Synchronized, Some(restart()), P => P, SYNCED;
    an_immediate_restart_goes_on_wherever_the_coordinator_was_killed:
        Synchronized, Some(Intent::Restart { selection: Selection::default(), mode: StopMode::Immediate }), P => P, SYNCED;
    a_move_from_a_host_that_is_gone_goes_on_wherever_the_coordinator_was_killed:
        HostGone, Some(super::moved::move_to("sdw3")), M => P, SYNCED;
    a_move_goes_on_wherever_the_coordinator_was_killed:
        MovedAway, Some(super::moved::move_to("sdw3")), M => P, SYNCED;
    an_override_goes_on_wherever_the_coordinator_was_killed: DoubleFault, Some(force()), M => M, "p,c,u / m,r,d";
}

const SYNCED: &str = "p,s,u / m,s,u";

fn force() -> Intent {
    Intent::ForcePrimary { selection: Selection::default() }
}

fn in_place() -> Intent {
    Intent::FullRecover { selection: Selection::default(), rate_bytes: None, jobs: None, in_place: true }
}

#[test]
fn a_point_that_was_passed_is_passed_by_nobody_else() {
    let doom = Doom::default();
    doom.arm(2);
    assert!(!doom.strikes("one") && doom.strikes("two") && doom.strikes("three"));
}
