//! A segment that is recovered on another host.

use super::*;
use crate::cluster::{RefusalCode, To};
use crate::cluster_dir::ClusterDirError;
use crate::coordinator::membership::RemoveHostError;
use crate::core::row::{Place, SegmentRow};
use crate::hosts::Running;

pub(super) fn move_to(host: &str) -> Intent {
    Intent::Move { selection: Selection::default(), to: To::host(host), rate_bytes: None, jobs: None }
}

/// A plan that moves the mirror to a place.
pub(super) fn moving(c: &Coordinator, place: &Place) -> Plan {
    let mut plan = plan(c, move_to(&place.hostname), M);
    plan.steps[0].kind = StepKind::Move;
    plan.steps[0].to = Some(place.clone());
    plan
}

/// The mirror's host is gone, and FTS has said so.
async fn lost_host(cluster: &Cluster, c: &Coordinator) {
    cluster.world.lock().down_hosts.push("sdw2".into());
    cluster.world.kill(M);
    until(c, "tracking", row_is("p,c,u / m,s,d")).await;
    until(c, "the host to be missed", |c| c.board.read(|k| k.hosts.get("sdw2").is_some_and(|h| h.pid.is_none()))).await;
}

async fn moved(cluster: &Cluster, c: &Coordinator, place: &Place) -> Outcome {
    let plan = moving(c, place);
    let outcome = end(c, c.operations.begin(&plan, &owner()).unwrap()).await;
    assert_eq!(outcome.status, OutcomeStatus::Done, "{outcome:?}\n{}", c.store.history().unwrap().join("\n"));
    assert_eq!(c.store.rows().unwrap()[2].place(), *place);
    assert_eq!(cluster.world.lock().procs[&M].host, place.hostname);
    outcome
}

#[tokio::test]
async fn a_segment_of_a_host_that_is_gone_serves_from_another_one_and_what_it_left_is_ended_when_that_is_back() {
    let cluster = Cluster::new(1);
    let c = started(&cluster).await;
    lost_host(&cluster, &c).await;
    let (old, place) = (cluster.rows[2].place(), cluster.spare_place(&cluster.rows[2]));
    let outcome = moved(&cluster, &c, &place).await;
    let segment = &outcome.segments[0];
    assert_eq!((outcome.verb.as_str(), segment.how.as_str(), segment.host.as_str()), ("recover", "full", "sdw3"));
    assert!(segment.note.starts_with(&format!("its former copy is left on sdw2 in {}", old.datadir)), "{segment:?}");
    let history = c.store.history().unwrap().join("\n");
    let line = history.lines().find(|line| line.contains(&format!("dbid 3 moves to {place}"))).unwrap_or_default();
    assert!(line.contains("operation: content 0 role m mode r status d"), "{history}");

    // It takes over from there, as from anywhere.
    cluster.world.kill(P);
    until(&c, "promotion", |c| c.board.read(|k| k.row(C0)).is_some_and(|r| r.primary.dbid == M)).await;
    until(&c, "it serves", |_| cluster.world.phase(M) == Some(Phase::Tracking)).await;
    let way = c.routes().primary(C0, Instant::now() + LONG).await.unwrap();
    assert_eq!((way.dbid, way.port), (M, place.port));

    // The next coordinator knows where everything is, and what is nobody's.
    c.operations.abandon().await;
    drop(c);
    let c = Coordinator::start_on(cluster.site.clone(), cluster.hosts.clone()).unwrap();
    let stray = Running { datadir: old.datadir.clone().into(), pid: 4711 };
    {
        let mut inner = cluster.world.lock();
        inner.strays.push(("sdw2".into(), stray));
        inner.down_hosts.clear();
    }
    until(&c, "the stray's end", |_| cluster.world.lock().strays.is_empty()).await;
    until(&c, "a line of history", |c| {
        let text = format!("left behind by a move: process 4711 on sdw2 in {} was ended", old.datadir);
        c.store.history().unwrap().iter().any(|line| line.contains(&text))
    })
    .await;
    assert_eq!(cluster.world.lock().procs[&M].host, "sdw3", "nobody else was touched");
    let state = c.state().unwrap();
    assert_eq!(state.segment(M).unwrap().row.hostname, "sdw3");
    assert!(state.left_behind.iter().any(|left| left.dbid == M && left.is_at("sdw2", &old.datadir)));
}

#[tokio::test]
async fn where_the_former_host_answers_nothing_is_left_there() {
    let cluster = Cluster::new(1);
    let c = started(&cluster).await;
    cluster.world.kill(M);
    until(&c, "tracking", row_is("p,c,u / m,s,d")).await;
    let outcome = moved(&cluster, &c, &cluster.spare_place(&cluster.rows[2])).await;
    assert_eq!(outcome.segments[0].note, "");
    assert!(!cluster.world.lock().dirs.contains_key(Path::new(&cluster.rows[2].datadir)));
    assert_eq!(c.state().unwrap().left_behind, []);

    // And back again, into the very directory that it came from.
    cluster.world.kill(M);
    until(&c, "tracking", row_is("p,c,u / m,s,d")).await;
    let home = Place { replication_port: 2, ..cluster.rows[2].place() };
    moved(&cluster, &c, &home).await;
}

#[tokio::test]
async fn a_host_is_let_go_when_nothing_is_there_or_on_its_way_and_is_no_place_from_then_on() {
    let cluster = Cluster::new(1);
    let c = started(&cluster).await;
    lost_host(&cluster, &c).await;
    let place = cluster.spare_place(&cluster.rows[2]);
    let in_use = |host: &str| c.operations.let_go(host).unwrap().unwrap_err().to_string();
    assert_eq!(in_use("sdw1"), "host sdw1 has dbid 2");
    assert_eq!(in_use("sdw2"), "host sdw2 has dbid 3", "the host is gone, and the row still there");
    let begun = c.operations.begin(&moving(&c, &place), &owner()).unwrap();
    // Whether the row says so already or only the operation.
    in_use("sdw3");
    end(&c, begun).await;
    assert_eq!(in_use("sdw3"), "host sdw3 has dbid 3");

    cluster.world.kill(M);
    until(&c, "tracking", row_is("p,c,u / m,s,d")).await;
    let home = Place { replication_port: 2, ..cluster.rows[2].place() };
    let older = moving(&c, &home);
    c.operations.let_go("sdw2").unwrap().unwrap();
    match c.operations.begin(&older, &owner()).unwrap() {
        Answer::Refused(refusals) => assert_eq!(refusals[0].code, RefusalCode::UnknownTarget),
        answer => panic!("{answer:?}"),
    }
}

#[tokio::test]
async fn a_host_that_can_not_be_struck_out_stays() {
    let cluster = Cluster::new(1);
    let c = started(&cluster).await;
    // There is no cluster.json above the stand-ins' coordinator.
    let error = c.remove_host("sdw3", &owner()).await.unwrap_err();
    assert!(matches!(error, RemoveHostError::Directory(_)), "{error}");
    let names: Vec<String> = c.places.host_places().into_iter().map(|place| place.name).collect();
    assert_eq!(names, ["sdw1", "sdw2", "sdw3"]);
    assert!(matches!(
        c.remove_host("sdw9", &owner()).await,
        Err(RemoveHostError::Directory(ClusterDirError::NoSuchHost { .. }))
    ));
}

#[tokio::test]
async fn what_is_in_the_way_refuses_and_nothing_is_changed() {
    let cluster = Cluster::new(1);
    let c = started(&cluster).await;
    lost_host(&cluster, &c).await;
    let before = c.store.rows().unwrap();
    let place = cluster.spare_place(&before[2]);
    let refused = async |plan: Plan| match c.operations.begin(&plan, &owner()).unwrap() {
        Answer::Refused(refusals) => refusals[0].code,
        answer => end(&c, answer).await.refusals[0].code,
    };
    // By what the coordinator itself knows, when the plan is older than that.
    let other = Place { datadir: place.datadir.clone(), ..before[1].place() };
    assert_eq!(refused(moving(&c, &other)).await, RefusalCode::PortTaken);
    let same = Place { datadir: before[1].datadir.clone(), hostname: "sdw1".into(), ..place.clone() };
    assert_eq!(refused(moving(&c, &same)).await, RefusalCode::DirTaken);
    let nowhere = Place { hostname: "sdw9".into(), ..place.clone() };
    assert_eq!(refused(moving(&c, &nowhere)).await, RefusalCode::UnknownTarget);
    // By what the host finds.
    cluster.world.lock().ports_taken.push(place.replication_port);
    assert_eq!(refused(moving(&c, &place)).await, RefusalCode::PortTaken);
    cluster.world.lock().ports_taken.clear();
    let outside = Place { datadir: "/elsewhere/c0-3".into(), ..place.clone() };
    assert_eq!(refused(moving(&c, &outside)).await, RefusalCode::UnknownTarget);
    cluster.world.lock().down_hosts.push("sdw3".into());
    assert_eq!(refused(moving(&c, &place)).await, RefusalCode::HostDown);
    let places = |rows: Vec<SegmentRow>| rows.iter().map(SegmentRow::place).collect::<Vec<_>>();
    assert_eq!(places(c.store.rows().unwrap()), places(before));
}

#[tokio::test]
async fn a_running_copy_to_another_place_is_joined_only_by_one_to_that_very_place() {
    let cluster = Cluster::new(1);
    let c = started(&cluster).await;
    lost_host(&cluster, &c).await;
    cluster.world.lock().hold_copies = true;
    let place = cluster.spare_place(&cluster.rows[2]);
    let plan = moving(&c, &place);
    let answer = c.operations.begin(&plan, &owner()).unwrap();
    until(&c, "copying", row_is("p,r,u / m,r,u")).await;
    let again = c.operations.begin(&moving(&c, &place), &owner()).unwrap();
    assert!(matches!(again, Answer::Begun { joined: true, .. }), "{again:?}");
    let elsewhere = Place { datadir: "/sdw3/other".into(), ..place };
    let other = c.operations.begin(&moving(&c, &elsewhere), &owner()).unwrap();
    assert!(matches!(other, Answer::Locked { .. }), "{other:?}");
    cluster.world.release_copies();
    assert_eq!(end(&c, answer).await.status, OutcomeStatus::Done);
}
