//! The coordinator against stand-in segments over real connections.

pub(super) mod backup;
mod killed;
mod moved;
mod names;
mod unwritten;
mod verify;

use super::operations::{Answer, Watching};
use super::testing::{Cluster, sibling};
use super::*;
use crate::cluster::{Intent, Outcome, OutcomeStatus, PairHealth, Plan, PlanStep, Selection, StepKind};
use crate::core::ids::{Content, Dbid, Epoch};
use crate::core::report::{Phase, StopMode};
use crate::core::transition::letters;
use std::time::{Duration, Instant};

const C0: Content = Content(0);
const P: Dbid = Dbid(2);
const M: Dbid = Dbid(3);
const LONG: Duration = Duration::from_secs(20);

fn owner() -> Owner {
    Owner { user: "u".into(), host: "h".into(), pid: 1, ..Owner::default() }
}

/// Waits for news until a condition holds.
async fn until(c: &Coordinator, what: &str, holds: impl Fn(&Coordinator) -> bool) {
    let mut news = c.board.news();
    let end = tokio::time::Instant::now() + LONG;
    while !holds(c) {
        let more = tokio::time::timeout_at(end, news.changed()).await;
        if more.is_err() {
            let operations: Vec<_> = (1..9).filter_map(|id| c.store.operation(id).unwrap()).collect();
            panic!("{what} did not come to hold: {:?} {operations:?}", c.board.read(Clone::clone));
        }
    }
}

fn row(c: &Coordinator) -> String {
    c.board.read(|k| k.row(C0)).map(|r| letters(&r)).unwrap_or_default()
}

fn row_is(wanted: &'static str) -> impl Fn(&Coordinator) -> bool {
    move |c| row(c) == wanted
}

async fn end(c: &Coordinator, answer: Answer) -> Outcome {
    let Answer::Begun { op, .. } = answer else { panic!("{answer:?}") };
    match c.operations.watch(op).unwrap() {
        Watching::Ended(outcome) => *outcome,
        Watching::Running { mut outcome, .. } => {
            let ended = tokio::time::timeout(LONG, outcome.wait_for(Option::is_some)).await;
            ended.expect("an end in time").unwrap().clone().unwrap()
        }
        Watching::Unknown => panic!("unknown"),
    }
}

async fn started(cluster: &Cluster) -> Arc<Coordinator> {
    let c = Coordinator::start_on(cluster.site.clone(), cluster.hosts.clone()).unwrap();
    let outcome = end(&c, c.operations.begin_start(&owner()).unwrap()).await;
    assert_eq!(outcome.status, OutcomeStatus::Done, "{outcome:?}");
    c
}

fn plan(c: &Coordinator, intent: Intent, dbid: Dbid) -> Plan {
    let epoch = c.board.read(|k| k.row(C0)).unwrap().epoch;
    let step = PlanStep {
        content: C0,
        kind: StepKind::Incremental,
        dbid,
        source: dbid,
        to: None,
        copy_blocks: None,
        total_bytes: None,
        about_ms: None,
        about_basis: None,
        about_rate_bytes: None,
        cancels_sessions: false,
    };
    Plan {
        id: "0000".into(),
        state_id: String::new(),
        cluster_id: "id".into(),
        made_ms: 0,
        places: Vec::new(),
        intent,
        steps: vec![step],
        joined: Vec::new(),
        refusals: Vec::new(),
        refuses: false,
        epochs: vec![(C0, epoch)],
        after: Vec::new(),
        notes: Vec::new(),
    }
}

fn recover() -> Intent {
    Intent::Recover { selection: Selection::default(), rate_bytes: None, jobs: None }
}
fn full_recover() -> Intent {
    Intent::FullRecover { selection: Selection::default(), rate_bytes: None, jobs: None, in_place: false }
}

async fn run(c: &Coordinator, intent: Intent, dbid: Dbid) -> Outcome {
    let plan = plan(c, intent, dbid);
    end(c, c.operations.begin(&plan, &owner()).unwrap()).await
}

#[tokio::test]
async fn a_cold_start_brings_every_pair_back_to_synchronized() {
    let cluster = Cluster::new(2);
    let c = started(&cluster).await;
    let state = c.state().unwrap();
    assert!(state.operational() && state.down().is_empty(), "{state:?}");
    assert!(state.contents.iter().all(|c| c.health == PairHealth::Synchronized && c.epoch == Epoch(3)));
    // On a running cluster it is done, and changes nothing.
    let outcome = end(&c, c.operations.begin_start(&owner()).unwrap()).await;
    assert_eq!(outcome.status, OutcomeStatus::Done);
    assert_eq!(c.board.read(|k| k.row(C0)).unwrap().epoch, Epoch(3));
}

#[tokio::test]
async fn nothing_is_decided_before_the_cluster_is_started() {
    let cluster = Cluster::new(1);
    let c = Coordinator::start_on(cluster.site.clone(), cluster.hosts.clone()).unwrap();
    for row in &cluster.rows[2..] {
        cluster.world.start(&cluster.site.segment_config(row)).await;
    }
    c.prober.probe().await;
    until(&c, "the mirror answers", |c| c.board.read(|k| k.answer(M).is_some())).await;
    c.prober.probe().await;
    assert_eq!(row(&c), "p,s,u / m,s,u");
}

#[tokio::test]
async fn a_killed_primary_is_replaced_at_once_and_recovered_and_rebalanced() {
    let cluster = Cluster::new(1);
    let c = started(&cluster).await;
    let routes = c.routes();
    let before = routes.primary(C0, Instant::now() + LONG).await.unwrap();
    let since = Instant::now();
    cluster.world.kill(P);
    tokio::time::timeout(LONG, routes.changed(C0, before.serving)).await.unwrap();
    let after = routes.primary(C0, Instant::now() + LONG).await.unwrap();
    assert!(since.elapsed() < Duration::from_millis(1000), "{:?}", since.elapsed());
    assert_eq!((before.dbid, after.dbid), (P, M));
    assert_eq!(row(&c), "p,c,u / m,s,d");

    let outcome = run(&c, recover(), P).await;
    assert_eq!(outcome.status, OutcomeStatus::Done, "{outcome:?}");
    assert_eq!(row(&c), "p,s,u / m,s,u");
    assert_eq!(routes.serving(C0), after.serving, "a recovery does not change who serves");

    let outcome = run(&c, Intent::Rebalance { selection: Selection::default() }, P).await;
    assert_eq!(outcome.status, OutcomeStatus::Done, "{outcome:?}");
    assert_eq!(c.board.read(|k| k.row(C0)).unwrap().primary.dbid, P);
    assert_eq!(row(&c), "p,s,u / m,s,u");
    let history: i64 =
        catalog(&c).query_row("SELECT count(*) FROM gp_configuration_history", [], |r| r.get(0)).unwrap();
    assert!(history >= 10, "{history}");
}

fn catalog(c: &Coordinator) -> rusqlite::Connection {
    rusqlite::Connection::open(c.store.path()).unwrap()
}

#[tokio::test]
async fn a_killed_mirror_is_down_until_it_is_recovered() {
    let cluster = Cluster::new(1);
    let c = started(&cluster).await;
    cluster.world.kill(M);
    until(&c, "tracking", row_is("p,c,u / m,s,d")).await;
    until(&c, "obeyed", |_| cluster.world.phase(P) == Some(Phase::Tracking)).await;
    assert_eq!(run(&c, recover(), M).await.status, OutcomeStatus::Done);
}

#[tokio::test]
async fn a_cut_link_is_recovered_at_once_without_being_asked() {
    let cluster = Cluster::new(1);
    let c = started(&cluster).await;
    let epoch = c.board.read(|k| k.row(C0)).unwrap().epoch;
    cluster.world.cut_link(C0);
    until(&c, "a new link", |c| {
        c.board.read(|k| k.row(C0)).is_some_and(|r| r.epoch.0 == epoch.0 + 2 && letters(&r) == "p,s,u / m,s,u")
    })
    .await;
}

#[tokio::test]
async fn a_frozen_primary_is_replaced_after_three_attempts() {
    let cluster = Cluster::new(1);
    let c = started(&cluster).await;
    cluster.world.freeze(P);
    until(&c, "promotion", |c| c.board.read(|k| k.row(C0)).is_some_and(|r| r.primary.dbid == M)).await;
    // The frozen process is killed before a new one is started.
    let frozen = cluster.world.lock().procs.get(&P).map(|p| p.report.pid);
    assert_eq!(run(&c, recover(), P).await.status, OutcomeStatus::Done);
    assert_ne!(cluster.world.lock().procs.get(&P).map(|p| p.report.pid), frozen);
}

#[tokio::test]
async fn another_copy_is_refused_incrementally_and_a_full_copy_brings_it_back_under_its_own_name() {
    let cluster = Cluster::new(1);
    let c = started(&cluster).await;
    cluster.world.kill(M);
    until(&c, "tracking", |c| {
        row(c) == "p,c,u / m,s,d" && c.board.read(|k| k.answer(P).is_some_and(|r| r.phase == Phase::Tracking))
    })
    .await;
    let datadir = cluster.rows[2].datadir.clone();
    cluster.world.lock().dirs.remove(Path::new(&datadir));
    let outcome = run(&c, recover(), M).await;
    assert_eq!(outcome.status, OutcomeStatus::Refused, "{outcome:?}");
    assert_eq!(outcome.refusals[0].code, crate::cluster::RefusalCode::IncrementalImpossible);
    assert_eq!(outcome.next, "full_recover(#{ dbids: 3 })");
    assert_eq!(row(&c), "p,c,u / m,s,d", "it stays as it is");

    let outcome = run(&c, full_recover(), M).await;
    assert_eq!(outcome.status, OutcomeStatus::Done, "{outcome:?}");
    assert_eq!(row(&c), "p,s,u / m,s,u");
    let inner = cluster.world.lock();
    assert_eq!(inner.procs[&M].datadir, Path::new(&datadir));
    assert!(!inner.dirs.contains_key(&sibling(&datadir)));
    assert!(inner.orders.iter().any(|(_, o)| o.full_copy));
}

#[tokio::test]
async fn an_unfinished_full_copy_can_only_be_followed_by_a_full_copy() {
    let cluster = Cluster::new(1);
    let c = started(&cluster).await;
    cluster.world.kill(M);
    until(&c, "tracking", row_is("p,c,u / m,s,d")).await;
    cluster.world.lock().hold_copies = true;
    let plan = plan(&c, full_recover(), M);
    let answer = c.operations.begin(&plan, &owner()).unwrap();
    until(&c, "copying", row_is("p,r,u / m,r,u")).await;
    until(&c, "the mirror obeys", |_| cluster.world.phase(M) == Some(Phase::Mirror)).await;
    cluster.world.lock().procs.get_mut(&P).unwrap().report.link = Some(Epoch(0));
    cluster.world.kill(M);
    assert_eq!(end(&c, answer).await.status, OutcomeStatus::Partial);
    assert_eq!(row(&c), "p,c,u / m,r,d");
    cluster.world.lock().hold_copies = false;
    let outcome = run(&c, recover(), M).await;
    assert_eq!(outcome.refusals[0].code, crate::cluster::RefusalCode::IncrementalImpossible);
    assert_eq!(run(&c, full_recover(), M).await.status, OutcomeStatus::Done);
}

/// A recovery of the mirror that is under way and does not come to its end.
async fn copying(cluster: &Cluster, c: &Coordinator, intent: Intent) -> Answer {
    cluster.world.kill(M);
    until(c, "tracking", row_is("p,c,u / m,s,d")).await;
    cluster.world.lock().hold_copies = true;
    let answer = c.operations.begin(&plan(c, intent, M), &owner()).unwrap();
    until(c, "copying", row_is("p,r,u / m,r,u")).await;
    until(c, "both obey", |_| {
        (cluster.world.phase(P), cluster.world.phase(M)) == (Some(Phase::Resynchronizing), Some(Phase::Mirror))
    })
    .await;
    answer
}

fn restart() -> Intent {
    Intent::Restart { selection: Selection::default(), mode: StopMode::Fast }
}

#[tokio::test]
async fn a_primary_that_dies_during_a_copy_is_brought_back_by_a_restart() {
    let cluster = Cluster::new(1);
    let c = started(&cluster).await;
    let answer = copying(&cluster, &c, recover()).await;
    until(&c, "the primary tells of it", |c| {
        c.board.read(|k| k.answer(P).is_some_and(|r| r.phase == Phase::Resynchronizing))
    })
    .await;
    cluster.world.kill(P);
    let outcome = end(&c, answer).await;
    assert_eq!(outcome.status, OutcomeStatus::Refused, "{outcome:?}");
    assert_eq!(outcome.refusals[0].code, crate::cluster::RefusalCode::DoubleFault);
    assert_eq!(outcome.next, "restart(#{ contents: [0] })");
    assert_eq!(row(&c), "p,r,u / m,r,u");
    let outcome = run(&c, restart(), P).await;
    assert_eq!(outcome.status, OutcomeStatus::Done, "{outcome:?}");
    assert_eq!(row(&c), "p,c,u / m,r,d");
    cluster.world.release_copies();
    assert_eq!(run(&c, recover(), M).await.status, OutcomeStatus::Done);
}

#[tokio::test]
async fn a_link_that_ends_as_soon_as_the_pair_is_in_sync_is_recovered_at_once() {
    for intent in [recover(), full_recover()] {
        let cluster = Cluster::new(1);
        let c = started(&cluster).await;
        for _ in 0..3 {
            let answer = copying(&cluster, &c, intent.clone()).await;
            cluster.world.release_copies();
            let mut news = c.board.news();
            while row(&c) != "p,s,u / m,s,u" {
                news.changed().await.unwrap();
            }
            let cut = c.board.read(|k| k.row(C0)).unwrap().epoch;
            cluster.world.cut_link(C0);
            let outcome = end(&c, answer).await;
            assert_eq!(outcome.status, OutcomeStatus::Done, "{outcome:?}");
            // When the operation had ended before the loss was seen, FTS recovers it by one of its own.
            until(&c, "in sync again", |c| {
                row(c) == "p,s,u / m,s,u" && c.board.read(|k| k.row(C0)).unwrap().epoch > cut
            })
            .await;
            let works = |c: &Coordinator| c.state().unwrap().content(C0).unwrap().operation.is_some();
            let ended = tokio::time::timeout(LONG, async {
                while works(&c) {
                    tokio::task::yield_now().await;
                }
            });
            ended.await.expect("an operation ends when its pair is in sync");
        }
    }
}

#[tokio::test]
async fn a_power_loss_during_a_recovery_or_a_start_is_followed_by_a_start() {
    for interrupts_a_start in [false, true] {
        let cluster = Cluster::new(1);
        let c = if interrupts_a_start {
            cluster.world.lock().hold_copies = true;
            let c = Coordinator::start_on(cluster.site.clone(), cluster.hosts.clone()).unwrap();
            c.operations.begin_start(&owner()).unwrap();
            until(&c, "copying", row_is("p,r,u / m,r,u")).await;
            c
        } else {
            let c = started(&cluster).await;
            copying(&cluster, &c, recover()).await;
            c
        };
        c.operations.abandon().await;
        drop(c);
        cluster.world.kill(P);
        cluster.world.kill(M);
        let c = Coordinator::start_on(cluster.site.clone(), cluster.hosts.clone()).unwrap();
        cluster.world.release_copies();
        let outcome = end(&c, c.operations.begin_start(&owner()).unwrap()).await;
        assert_eq!(outcome.status, OutcomeStatus::Done, "{outcome:?}");
        assert_eq!(row(&c), "p,s,u / m,s,u");
    }
}

#[tokio::test]
async fn a_coordinator_that_restarts_goes_on_with_its_operations() {
    let cluster = Cluster::new(1);
    let c = started(&cluster).await;
    cluster.world.kill(M);
    until(&c, "tracking", row_is("p,c,u / m,s,d")).await;
    cluster.world.lock().hold_copies = true;
    let Answer::Begun { op, .. } = c.operations.begin(&plan(&c, recover(), M), &owner()).unwrap() else { panic!() };
    until(&c, "copying", row_is("p,r,u / m,r,u")).await;
    c.operations.abandon().await;
    drop(c);
    let c = Coordinator::start_on(cluster.site.clone(), cluster.hosts.clone()).unwrap();
    cluster.world.release_copies();
    let outcome = end(&c, Answer::Begun { op, joined: true }).await;
    assert_eq!(outcome.status, OutcomeStatus::Done);
    assert_eq!(row(&c), "p,s,u / m,s,u");
    // And FTS continues without being started: its segments are seen in their roles.
    cluster.world.kill(P);
    until(&c, "promotion", |c| c.board.read(|k| k.row(C0)).is_some_and(|r| r.primary.dbid == M)).await;
}

#[tokio::test]
async fn a_like_operation_is_joined_and_an_unlike_one_is_locked() {
    let cluster = Cluster::new(1);
    let c = started(&cluster).await;
    cluster.world.kill(M);
    until(&c, "tracking", row_is("p,c,u / m,s,d")).await;
    cluster.world.lock().hold_copies = true;
    let first = plan(&c, recover(), M);
    let Answer::Begun { op, joined: false } = c.operations.begin(&first, &owner()).unwrap() else { panic!() };
    until(&c, "copying", row_is("p,r,u / m,r,u")).await;
    // The row has moved on since the plan was made; what moved it is the operation that is joined.
    assert_eq!(c.operations.begin(&first, &owner()).unwrap(), Answer::Begun { op, joined: true });
    let again = plan(&c, recover(), M);
    assert_eq!(c.operations.begin(&again, &owner()).unwrap(), Answer::Begun { op, joined: true });
    let other = plan(&c, Intent::Rebalance { selection: Selection::default() }, P);
    assert!(matches!(c.operations.begin(&other, &owner()).unwrap(), Answer::Locked { op: held, .. } if held == op));
    cluster.world.release_copies();
    assert_eq!(end(&c, Answer::Begun { op, joined: true }).await.status, OutcomeStatus::Done);
}

#[tokio::test]
async fn a_restart_brings_the_pair_back_and_is_no_failover() {
    let cluster = Cluster::new(1);
    let c = started(&cluster).await;
    for mode in [StopMode::Fast, StopMode::Immediate] {
        let outcome = run(&c, Intent::Restart { selection: Selection::default(), mode }, P).await;
        assert_eq!(outcome.status, OutcomeStatus::Done, "{outcome:?}");
        assert_eq!(c.board.read(|k| k.row(C0)).unwrap().primary.dbid, P);
        assert_eq!(row(&c), "p,s,u / m,s,u");
    }
}

#[tokio::test]
async fn a_host_that_is_down_is_a_refusal_and_a_double_fault_is_shown() {
    let cluster = Cluster::new(1);
    let c = started(&cluster).await;
    cluster.world.lock().down_hosts.push("sdw1".into());
    cluster.world.kill(P);
    until(&c, "promotion", |c| c.board.read(|k| k.row(C0)).is_some_and(|r| r.primary.dbid == M)).await;
    let outcome = run(&c, recover(), P).await;
    assert_eq!(outcome.refusals[0].code, crate::cluster::RefusalCode::HostDown, "{outcome:?}");
    cluster.world.kill(M);
    c.prober.probe().await;
    let state = c.state().unwrap();
    assert_eq!(state.double_fault(), [C0]);
    assert!(state.content(C0).unwrap().last_event.contains("double fault"), "{state:?}");
    assert_eq!(row(&c), "p,c,u / m,s,d");
}

#[tokio::test]
async fn a_stop_leaves_the_rows_and_nothing_runs() {
    let cluster = Cluster::new(2);
    let c = started(&cluster).await;
    let (now, _) =
        tokio::sync::watch::channel(crate::cluster::Progressing { op: 0, elapsed_ms: 0, contents: Vec::new() });
    let outcome = c.operations.stop_all(StopMode::Fast, None, &now).await;
    assert_eq!(outcome.status, OutcomeStatus::Done, "{outcome:?}");
    assert!(cluster.world.lock().procs.is_empty());
    assert_eq!(row(&c), "p,s,u / m,s,u");
}

#[tokio::test]
async fn the_endpoint_answers_requests_of_proven_clients() {
    use crate::cluster::request::{Reply, Request};
    use crate::net::{ClusterKey, Credentials, Framed, Purpose, connect};
    let cluster = Cluster::new(1);
    let c = Coordinator::start_on(cluster.site.clone(), cluster.hosts.clone()).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let to = Endpoint::new("127.0.0.1", listener.local_addr().unwrap().port());
    let serving = tokio::spawn(c.clone().serve(listener));
    let me = Credentials::new(ClusterKey::from_bytes(&testing::KEY), Identity::Client);
    let (stream, _) = connect(&to, &me, Purpose::Client, Some(&Identity::Coordinator), LONG).await.unwrap();
    let mut framed = Framed::new(stream);
    let ended = async |framed: &mut Framed, request: Request| {
        framed.send(&request).await.unwrap();
        loop {
            match framed.recv::<Reply>().await.unwrap() {
                Reply::Progress { .. } => {}
                reply => return reply,
            }
        }
    };
    let reply = ended(&mut framed, Request::Start { owner: owner() }).await;
    assert!(matches!(&reply, Reply::Ended { outcome } if outcome.status == OutcomeStatus::Done), "{reply:?}");
    let set = Request::Setting { name: "gp_fts_probe_interval".into(), value: Some("2 s".into()), owner: None };
    assert_eq!(ended(&mut framed, set).await, Reply::Setting { value: "2s".into() });
    let unknown = Request::Setting { name: "gp_nonsense".into(), value: None, owner: None };
    assert!(matches!(ended(&mut framed, unknown).await, Reply::Failed { .. }));
    assert_eq!(ended(&mut framed, Request::Kill { dbid: P, owner: None }).await, Reply::Ok);
    let Reply::State { state } = ended(&mut framed, Request::Probe).await else { panic!() };
    assert_eq!(state.pair(C0).unwrap().primary.dbid, M, "a probe returns when nothing is undecided");
    let stop = Request::Stop { mode: StopMode::Fast, owner: owner(), within_ms: None };
    assert!(matches!(ended(&mut framed, stop).await, Reply::Ended { .. }));
    tokio::time::timeout(LONG, serving).await.unwrap().unwrap();
}

#[tokio::test]
async fn the_catalog_connection_reads_greenplum_s_names_and_writes_nothing() {
    let cluster = Cluster::new(1);
    let c = started(&cluster).await;
    let runtime = tokio::runtime::Handle::current();
    let rows = tokio::task::spawn_blocking(move || {
        let db = catalog_sql::open(&c, &runtime).unwrap();
        assert!(db.execute("DELETE FROM gp_segment_configuration", []).is_err());
        assert!(db.query_row("SELECT gp_request_fts_probe_scan()", [], |r| r.get::<_, bool>(0)).unwrap());
        let state: String = db.query_row("SELECT segsh_state()", [], |r| r.get(0)).unwrap();
        assert!(state.contains("\"cluster\":\"test\""));
        let bad = db.query_row("SELECT segsh_recover('{\"contens\":[1]}')", [], |r| r.get::<_, String>(0));
        assert!(bad.unwrap_err().to_string().contains("contens"));
        db.query_row("SELECT count(*) FROM gp_segment_configuration", [], |r| r.get::<_, i64>(0)).unwrap()
    });
    assert_eq!(rows.await.unwrap(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_setting_counts_at_once_and_a_slower_pace_makes_no_answer_old() {
    let cluster = Cluster::new(1);
    let c = started(&cluster).await;
    assert_eq!(c.set_setting("gp_fts_probe_interval", "1 h").unwrap(), "60min");
    until(&c, "the pace to be slow", |c| c.board.read(|k| k.fresh > Duration::from_secs(3600))).await;
    let heard = |c: &Coordinator| c.board.read(|k| k.segments[&P].heard);
    let before = heard(&c);
    assert!(c.board.read(|k| k.answer(P).is_some()), "an hour's answer counts for an hour");
    c.set_setting("gp_fts_probe_interval", "100ms").unwrap();
    until(&c, "another answer", |c| heard(c) > before).await;
    assert!(c.set_setting("gp_fts_probe_interval", "1").is_err(), "a unit is missing");
    c.set_setting("segsh_session_wait", "50ms").unwrap();
    assert_eq!(*c.session_wait.borrow(), Duration::from_millis(50));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_is_capped_by_the_setting_unless_the_call_names_a_rate() {
    let cluster = Cluster::new(1);
    let c = started(&cluster).await;
    c.set_setting("segsh_recovery_rate", "5 MiB/s").unwrap();
    for (rate_bytes, expected) in [(None, 5 << 20), (Some(1 << 20), 1 << 20)] {
        cluster.world.lock().orders.clear();
        cluster.world.kill(M);
        until(&c, "the loss to be seen", row_is("p,c,u / m,s,d")).await;
        let intent = Intent::Recover { selection: Selection::default(), rate_bytes, jobs: None };
        assert_eq!(run(&c, intent, M).await.status, OutcomeStatus::Done);
        let orders = cluster.world.lock().orders.clone();
        assert!(orders.iter().any(|(dbid, order)| *dbid == P && order.rate_bytes == Some(expected)), "{orders:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_segment_has_no_process_and_a_stopped_one_keeps_its_own() {
    let cluster = Cluster::new(1);
    let c = started(&cluster).await;
    let pid = |c: &Coordinator, dbid| {
        let state = c.state().unwrap();
        state.segments.iter().find(|s| s.row.dbid == dbid).map(|s| (s.alive.alive, s.alive.pid)).unwrap()
    };
    let before = pid(&c, M).1;
    assert!(before.is_some());
    cluster.world.freeze(M);
    until(&c, "the silence to be seen", |c| !pid(c, M).0).await;
    assert_eq!(pid(&c, M), (false, before));
    cluster.world.kill(M);
    until(&c, "the end to be seen", |c| pid(c, M) == (false, None)).await;
}
