//! Loss of a primary, of a host, of everything: who serves, and that nothing acknowledged is lost.

use crate::support::status::{RESYNCHRONIZING, SYNCHRONIZED, TRACKING};
use crate::support::wait::secs;
use crate::support::watcher::{Stage, Watcher};
use crate::support::{Cluster, Writers, processes, wait_for};
use rustix::process::Signal;

#[test]
fn a_killed_primary_is_replaced_recovered_and_switched_back_as_documented_under_load() {
    let cluster = Cluster::new(2);
    let before = cluster.status();
    let (old, new) = (before.pair(0).primary, before.pair(0).mirror);
    let watcher = Watcher::start(&cluster, 0);
    let writers = Writers::start(&cluster, &[0, 1], 2);

    processes::kill(old.running());
    writers.wait_for_more(0, 20, secs(20));
    let status = cluster.status();
    let pair = status.pair(0);
    assert_eq!((pair.primary.dbid, pair.letters().as_str()), (new.dbid, TRACKING));
    assert_eq!(pair.primary.preferred_role, "m", "preferred roles are kept");
    assert_eq!(pair.mirror.preferred_role, "p", "preferred roles are kept");
    assert_eq!(status.pair(1).letters(), SYNCHRONIZED, "the other content is not concerned");
    assert!(status.operational);

    cluster.outcome("recover()");
    let status = cluster.status();
    let pair = status.pair(0);
    assert_eq!((pair.primary.dbid, pair.letters().as_str()), (new.dbid, SYNCHRONIZED));
    assert!(!pair.is_preferred(), "recover() never switches roles");
    writers.wait_for_more(0, 20, secs(20));

    cluster.outcome("rebalance()");
    let status = cluster.status();
    let pair = status.pair(0);
    assert_eq!((pair.primary.dbid, pair.letters().as_str()), (old.dbid, SYNCHRONIZED));
    assert!(status.is_balanced());
    writers.wait_for_more(0, 20, secs(20));

    let ledger = writers.finish();
    ledger.assert_held_by(&cluster);
    let stage =
        |primary: &crate::support::Segment, letters: &str| Stage { primary: primary.dbid, letters: letters.into() };
    assert_eq!(
        watcher.finish(),
        [
            stage(&old, SYNCHRONIZED),
            stage(&new, TRACKING),
            stage(&new, RESYNCHRONIZING),
            stage(&new, SYNCHRONIZED),
            stage(&old, TRACKING),
            stage(&old, RESYNCHRONIZING),
            stage(&old, SYNCHRONIZED),
        ]
    );
}

#[test]
fn a_failover_is_in_the_history_with_its_reason() {
    let cluster = Cluster::new(1);
    let old = cluster.status().pair(0).primary.dbid;
    cluster.fail_over(0);
    let sql = format!("select \"desc\" from gp_configuration_history where dbid = {old}");
    let lines = cluster.catalog().rows(&sql);
    assert!(lines.iter().any(|l| l.split_whitespace().count() >= 4), "a reason in words: {lines:?}");
}

#[test]
fn four_rows_change_when_a_host_stops_under_traffic_and_nothing_acknowledged_is_lost() {
    let cluster = Cluster::new(4);
    let before = cluster.status();
    let on_sdw1 = |s: &&crate::support::Segment| s.host == "sdw1";
    assert_eq!(before.segments.iter().filter(on_sdw1).count(), 4);
    let writers = Writers::start(&cluster, &[0, 1, 2, 3], 1);

    cluster.script(r#"fault::stop_host("sdw1")"#).ok();
    for content in 0..4 {
        writers.wait_for_more(content, 10, secs(30));
    }
    let status = cluster.status();
    let down: Vec<_> = status.segments.iter().filter(|s| s.status == "d").collect();
    assert_eq!(down.len(), 4, "{status:?}");
    assert!(down.iter().all(|s| s.host == "sdw1" && !s.alive && s.pid.is_none()));
    assert!((0..4).all(|c| status.pair(c).letters() == TRACKING && status.pair(c).primary.host == "sdw2"));
    assert!(status.operational);
    assert!(!status.hosts.iter().find(|h| h.host == "sdw1").expect("it is in the catalog").alive);

    // While its host is down a segment can't be recovered, and the call says so.
    cluster.eval_yes("recover()").says("host_down");
    cluster.script(r#"fault::start_host("sdw1")"#).ok();
    wait_for("the host to answer", secs(20), || cluster.status().hosts.iter().all(|h| h.alive));
    assert_eq!(cluster.status().segments.iter().filter(|s| s.status == "d").count(), 4, "nothing recovers unasked");

    cluster.outcome("recover()");
    assert!(cluster.status().is_synchronized());
    cluster.outcome("rebalance()");
    let status = cluster.status();
    assert!(status.is_synchronized() && status.is_balanced());
    writers.finish().assert_held_by(&cluster);
}

#[test]
fn the_drill_of_the_documents_loses_nothing_by_its_own_count() {
    let cluster = Cluster::new(4);
    let code = r#"
        demo::load("8 MiB");
        let traffic = demo::traffic();
        wait_until(|s| traffic.report().acknowledged > 50, #{ timeout: "30s" });
        fault::stop_host("sdw1");
        let so_far = traffic.report().acknowledged;
        wait_until(|s| traffic.report().acknowledged > so_far + 100, #{ timeout: "60s" });
        print(state().down.len());
        fault::start_host("sdw1");
        recover();
        rebalance();
        let end = traffic.stop();
        print(end.lost);
        print(end.wrong);
        print(end.found == end.acknowledged);
        print(state().down.len());
        print(state().unbalanced.len());
    "#;
    let file = cluster.place().file("drill.rhai", code);
    let ran = cluster.place().segsh(&[
        "--yes",
        "-c",
        cluster.dir().to_str().expect("a plain name"),
        file.to_str().expect("a plain name"),
    ]);
    assert_eq!(ran.ok().stdout, "4\n0\n0\ntrue\n0\n0\n");
}

#[test]
fn every_acknowledged_row_survives_the_death_of_every_process_and_then_of_every_primary() {
    let cluster = Cluster::new(2);
    let writers = Writers::start(&cluster, &[0, 1], 2);
    let before = cluster.status();
    // Signals to all, coordinator first, before waiting for any: a loss of power, nearly.
    for pid in before.pids() {
        processes::signal(pid, Signal::KILL);
    }
    wait_for("every process to end", secs(20), || before.pids().iter().all(|pid| !processes::runs(*pid)));
    assert_eq!(processes::beneath(cluster.dir()), Vec::<u32>::new());
    let ledger = writers.finish();

    cluster.lifecycle("start", &[]).ok();
    let status = cluster.status();
    assert!(status.is_synchronized(), "pairs that were synchronized are so again: {status:?}");
    ledger.assert_held_by(&cluster);
    for content in [0, 1] {
        cluster.fail_over(content);
    }
    ledger.assert_held_by(&cluster);
}

#[test]
fn start_after_the_loss_of_a_whole_host_and_the_coordinator_serves_everything() {
    let cluster = Cluster::new(2);
    let writers = Writers::start(&cluster, &[0, 1], 1);
    let before = cluster.status();
    processes::kill(before.coordinator.pid.expect("it runs"));
    for segment in before.segments.iter().filter(|s| s.host == "sdw2") {
        processes::kill(segment.running());
    }
    let ledger = writers.finish();
    cluster.lifecycle("start", &[]).ok();
    ledger.assert_held_by(&cluster);
    assert!(cluster.status().operational);
}

#[test]
fn a_coordinator_that_dies_is_not_missed_by_the_data() {
    let cluster = Cluster::new(1);
    let writers = Writers::start(&cluster, &[0], 2);
    processes::kill(cluster.status().coordinator.pid.expect("it runs"));
    let down = cluster.last_status();
    assert_eq!(down.coordinator.pid, None);
    assert_eq!(down.pair(0).letters(), SYNCHRONIZED, "the last catalog");
    cluster.eval("recover()").exits(7);

    cluster.lifecycle("start", &[]).ok();
    writers.wait_for_more(0, 20, secs(20));
    assert!(cluster.status().is_synchronized());
    writers.finish().assert_held_by(&cluster);
}

#[test]
fn a_lost_single_copy_is_a_double_fault_said_loudly_and_never_replaced_by_an_old_copy() {
    let cluster = Cluster::new(2);
    let writers = Writers::start(&cluster, &[0], 2);
    let pair = cluster.status().pair(0);
    processes::kill(pair.mirror.running());
    cluster.wait_for_pair(0, TRACKING, secs(20));
    writers.wait_for_more(0, 20, secs(20));
    processes::kill(pair.primary.running());
    wait_for("the double fault to be seen", secs(20), || !cluster.status().operational);
    let status = cluster.status();
    assert_eq!(status.pair(0).letters(), TRACKING, "the row stays: the mirror holds too little");
    assert_eq!(status.pair(0).primary.dbid, pair.primary.dbid);
    assert_eq!(cluster.script("print(state().double_fault)").ok().text(), "[0]");
    cluster.eval("state()").says("NOT OPERATIONAL").says("DOUBLE FAULT").says("recover_double_fault");
    cluster.eval_yes("rebalance()").exits(4);
    assert_eq!(status.pair(1).letters(), SYNCHRONIZED);

    cluster.segsh(&["run", "recover_double_fault", "--yes"]).ok();
    assert!(cluster.status().is_synchronized());
    writers.wait_for_more(0, 20, secs(30));
    writers.finish().assert_held_by(&cluster);
}
