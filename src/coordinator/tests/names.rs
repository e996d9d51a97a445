//! A full copy that is in sync, and not yet under its name.

use super::*;

/// A full copy that gets in sync while the agent of the mirror's host is away, so that the new copy has no
/// name yet.
async fn unnamed_copy(cluster: &Cluster, c: &Coordinator) -> Answer {
    let answer = copying(cluster, c, full_recover()).await;
    cluster.world.lock().down_hosts.push("sdw2".into());
    cluster.world.release_copies();
    until(c, "in sync", row_is("p,s,u / m,s,u")).await;
    let datadir = &cluster.rows[2].datadir;
    assert_eq!(cluster.world.lock().procs[&M].datadir, sibling(datadir));
    answer
}

#[tokio::test]
async fn a_full_copy_waits_for_its_name_as_long_as_the_agent_is_away() {
    let cluster = Cluster::new(1);
    let c = started(&cluster).await;
    let answer = unnamed_copy(&cluster, &c).await;
    until(&c, "the agent to be missed", |c| c.board.read(|k| k.hosts.get("sdw2").is_some_and(|h| h.pid.is_none())))
        .await;
    cluster.world.lock().down_hosts.clear();
    let outcome = end(&c, answer).await;
    assert_eq!(outcome.status, OutcomeStatus::Done, "{outcome:?}");
    let datadir = PathBuf::from(&cluster.rows[2].datadir);
    let inner = cluster.world.lock();
    assert_eq!(inner.procs[&M].datadir, datadir);
    assert_eq!(inner.dirs.len(), 2, "the old copy is dropped");
}

#[tokio::test]
async fn a_stop_waits_for_a_mirror_that_lives_beside_its_name() {
    let cluster = Cluster::new(1);
    let c = started(&cluster).await;
    unnamed_copy(&cluster, &c).await;
    cluster.world.lock().stubborn.push(M);
    let stopping = {
        let c = c.clone();
        tokio::spawn(async move {
            let nothing = crate::cluster::Progressing { op: 0, elapsed_ms: 0, contents: Vec::new() };
            let (now, _seen) = tokio::sync::watch::channel(nothing);
            c.operations.stop_all(StopMode::Smart, None, &now).await
        })
    };
    until(&c, "it is asked", |_| cluster.world.lock().asked_to_stop.contains(&M)).await;
    cluster.world.lock().down_hosts.clear();
    let pings = cluster.world.lock().pings;
    until(&c, "its host is looked at again and again", |_| cluster.world.lock().pings > pings + 6).await;
    assert!(!stopping.is_finished(), "it runs still");
    cluster.world.kill(M);
    assert_eq!(tokio::time::timeout(LONG, stopping).await.unwrap().unwrap().status, OutcomeStatus::Done);
}

#[tokio::test]
async fn a_new_copy_without_its_name_serves_after_everything_went_down() {
    for promoted_first in [false, true] {
        let cluster = Cluster::new(1);
        let c = started(&cluster).await;
        unnamed_copy(&cluster, &c).await;
        let copy = cluster.world.lock().procs[&M].report.copy.copy;
        if promoted_first {
            cluster.world.kill(P);
            until(&c, "it serves", |_| cluster.world.phase(M) == Some(Phase::Tracking)).await;
        }
        c.operations.abandon().await;
        drop(c);
        cluster.world.kill(M);
        cluster.world.kill(P);
        // The host of the other member does not come back, and what was left of the operation neither.
        Store::open(&cluster.site.dir.join(CATALOG_FILE)).unwrap().forget_operations();
        cluster.world.lock().down_hosts = vec!["sdw1".into()];
        let c = Coordinator::start_on(cluster.site.clone(), cluster.hosts.clone()).unwrap();
        let start = c.operations.begin_start(&owner()).unwrap();
        until(&c, "it serves", |_| cluster.world.phase(M) == Some(Phase::Tracking)).await;
        let inner = cluster.world.lock();
        assert_eq!(inner.procs[&M].report.copy.copy, copy, "not the old copy beside it");
        assert_eq!(inner.procs[&M].datadir, PathBuf::from(&cluster.rows[2].datadir));
        drop(inner);
        assert!(matches!(start, Answer::Begun { .. }));
    }
}

#[tokio::test]
async fn a_directory_with_an_older_copy_never_serves_under_the_row_of_a_later_one() {
    let cluster = Cluster::new(1);
    let c = started(&cluster).await;
    let old = cluster.world.lock().dirs[Path::new(&cluster.rows[2].datadir)].clone();
    cluster.world.kill(M);
    until(&c, "tracking", row_is("p,c,u / m,s,d")).await;
    assert_eq!(run(&c, full_recover(), M).await.status, OutcomeStatus::Done);
    c.operations.abandon().await;
    drop(c);
    cluster.world.kill(P);
    cluster.world.kill(M);
    // Somebody put the older directory back, which says of itself that it is consistent.
    cluster.world.lock().dirs.insert(PathBuf::from(&cluster.rows[2].datadir), old);
    cluster.world.lock().down_hosts.push("sdw1".into());
    let c = Coordinator::start_on(cluster.site.clone(), cluster.hosts.clone()).unwrap();
    c.operations.begin_start(&owner()).unwrap();
    until(&c, "a double fault", |c| c.store.content(C0).unwrap().last_event.contains("last in sync in epoch")).await;
    assert_eq!((row(&c).as_str(), cluster.world.phase(M)), ("p,s,u / m,s,u", Some(Phase::Nobody)));
}
