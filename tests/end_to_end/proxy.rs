//! A network that fails: refused, reset, silent, slow, cut for one or for all. The processes live on.

use crate::hung::{assert_pair_equal, serves_nothing};
use crate::support::network::{Port, Way};
use crate::support::status::{SYNCHRONIZED, TRACKING};
use crate::support::wait::secs;
use crate::support::{Cluster, Network, Wire, Writers, processes, wait_for, wire};
use std::time::Duration;

/// Only the coordinator's way to a primary fails. Its mirror takes over after three attempts; the former
/// primary, which still had its mirror, gets itself out of the way, and nothing acknowledged is lost.
fn assert_taken_over(way: Way, seen: &str) {
    let (cluster, _shim, network) = Cluster::on_shim(1, &[]);
    let before = cluster.status().pair(0);
    let writers = Writers::start(&cluster, &[0], 2);
    network.set(before.primary.dbid, Port::Control, way);
    let pair = cluster.wait_for_failover(0, before.primary.dbid, secs(30)).pair(0);
    assert_eq!(pair.letters(), TRACKING);
    let history = cluster.history(before.mirror.dbid);
    assert!(history.iter().any(|line| line.contains(seen)), "`{seen}` is the reason: {history:?}");
    writers.wait_for_more(0, 20, secs(30));

    network.heal();
    wait_for("the former primary to end", secs(20), || !processes::runs(before.primary.running()));
    cluster.outcome("recover()");
    writers.wait_for_more(0, 20, secs(30));
    writers.finish().assert_held_by(&cluster);
    assert_pair_equal(&cluster);
}

#[test]
fn a_primary_whose_port_refuses_is_replaced_though_it_lives() {
    assert_taken_over(Way::Refused, "port refuses connections");
}

#[test]
fn a_primary_whose_connections_are_reset_is_replaced_though_it_lives() {
    assert_taken_over(Way::Reset, "connection reset");
}

#[test]
fn a_primary_that_is_silent_is_replaced_though_it_lives() {
    assert_taken_over(Way::Silent, "no answer in time");
}

#[test]
fn a_primary_cut_off_from_everybody_acknowledges_nothing_when_it_is_found_again() {
    let (cluster, _shim, network) = Cluster::on_shim(1, &[]);
    cluster.content(0).run("create table t(id int)");
    let before = cluster.status().pair(0);
    let socket = wire::socket(cluster.socket_dir(), before.primary.port);
    let mut direct = Wire::connect(&socket, "content0").expect("the segment's own socket");
    direct.run("insert into t values (1)");

    network.set(before.mirror.dbid, Port::Link, Way::Silent);
    network.set_both(before.primary.dbid, Way::Silent);
    direct.send("insert into t values (666)").expect("the socket's buffer takes it");
    let pair = cluster.wait_for_failover(0, before.primary.dbid, secs(30)).pair(0);
    assert_eq!(pair.letters(), TRACKING);
    cluster.content(0).run("insert into t values (2)");
    network.heal();
    // Told that another serves, it ends; what waited for its mirror was never acknowledged.
    let reply = direct.receive_within(secs(20));
    assert!(serves_nothing(&reply), "{reply:?}");
    wait_for("the former primary to end", secs(20), || !processes::runs(before.primary.running()));
    cluster.outcome("recover()");
    assert_eq!(cluster.content(0).rows("select id from t order by id"), ["1", "2"]);
    assert_pair_equal(&cluster);
}

#[test]
fn a_link_that_is_reset_between_two_that_live_is_made_anew_by_a_recovery_at_once() {
    let (cluster, _shim, network) = Cluster::on_shim(1, &[]);
    let before = cluster.status().pair(0);
    let writers = Writers::start(&cluster, &[0], 2);
    network.set(before.mirror.dbid, Port::Link, Way::Reset);
    wait_for("the loss to be in the history", secs(20), || {
        cluster.history(before.mirror.dbid).iter().any(|l| l.contains("link closed"))
    });
    writers.wait_for_more(0, 20, secs(30));
    network.heal();
    // The recovery that began at once met the same network: it may have ended, or still end.
    wait_for("the pair to be synchronized", secs(60), || {
        cluster.eval_yes("recover()");
        cluster.status().is_synchronized()
    });
    let after = cluster.status().pair(0);
    assert_eq!(after.primary.running(), before.primary.running(), "nobody took over");
    writers.finish().assert_held_by(&cluster);
    assert_pair_equal(&cluster);
}

#[test]
fn a_mirror_whose_link_is_silent_is_given_up_and_commits_go_on() {
    let (cluster, _shim, network) = Cluster::on_shim(1, &[]);
    let before = cluster.status().pair(0);
    let writers = Writers::start(&cluster, &[0], 2);
    network.set(before.mirror.dbid, Port::Link, Way::Silent);
    cluster.wait_for_pair(0, TRACKING, secs(20));
    writers.wait_for_more(0, 20, secs(20));
    let history = cluster.history(before.mirror.dbid);
    assert!(history.iter().any(|l| l.contains("lost its mirror: no answer for")), "{history:?}");
    network.heal();
    cluster.outcome("recover()");
    writers.wait_for_more(0, 20, secs(20));
    writers.finish().assert_held_by(&cluster);
    assert_pair_equal(&cluster);
}

#[test]
fn a_slow_network_is_no_fault() {
    let (cluster, _shim, network) = Cluster::on_shim(1, &[]);
    let (before, decided) = (cluster.status().pair(0), cluster.decisions());
    let writers = Writers::start(&cluster, &[0], 2);
    let slow = Way::Open(Duration::from_millis(150));
    network.set_both(before.primary.dbid, slow);
    network.set_both(before.mirror.dbid, slow);
    writers.wait_for_more(0, 12, secs(60));
    let after = cluster.status().pair(0);
    assert_eq!((after.letters().as_str(), after.primary.dbid), (SYNCHRONIZED, before.primary.dbid));
    assert_eq!(cluster.decisions(), decided);
    network.heal();
    writers.finish().assert_held_by(&cluster);
}

#[test]
fn when_every_segment_is_silent_nothing_is_decided_and_the_history_says_so() {
    let (cluster, _shim, network) = Cluster::on_shim(2, &["gp_fts_probe_timeout=500ms"]);
    let (before, decided) = (cluster.status(), cluster.decisions());
    let writers = Writers::start(&cluster, &[0, 1], 1);
    for segment in &before.segments {
        network.set(segment.dbid, Port::Control, Way::Silent);
    }
    let said = || cluster.history(1).iter().any(|l| l.contains("every segment is silent"));
    wait_for("it to be said", secs(30), said);
    // Long after three attempts would have been enough against any one of them.
    let code = "let e = evidence(0); print(e.now)";
    wait_for("more attempts to fail", secs(30), || {
        let now = cluster.script(code).ok().stdout;
        (6..40).any(|n| now.contains(&format!("{n} attempts")))
    });
    let during = cluster.status();
    for content in [0, 1] {
        assert_eq!(during.pair(content).letters(), SYNCHRONIZED);
        assert_eq!(during.pair(content).primary.dbid, before.pair(content).primary.dbid);
    }
    network.heal();
    [0, 1].into_iter().for_each(|c| writers.wait_for_more(c, 10, secs(60)));
    let after = cluster.status();
    assert_eq!(after.pids(), before.pids(), "nobody was replaced");
    assert!(after.is_synchronized() && after.is_balanced());
    assert_eq!(cluster.decisions(), decided);
    writers.finish().assert_held_by(&cluster);
}

#[test]
fn a_coordinator_that_has_no_descriptor_left_calls_nobody_dead() {
    let (cluster, _shim, network): (Cluster, _, Network) = Cluster::on_shim(1, &["gp_fts_probe_timeout=300ms"]);
    let (before, decided) = (cluster.status(), cluster.decisions());
    let primary = before.pair(0).primary.dbid;
    let coordinator = before.coordinator.pid.expect("it runs");
    // A session that stands already: whoever comes later is not let in.
    let mut catalog = cluster.catalog();
    let limit = processes::limit_files(coordinator, 3);
    network.set(primary, Port::Control, Way::Reset);
    let log = cluster.dir().join("log/coordinator.log");
    wait_for("the coordinator to say what it lacks", secs(20), || {
        std::fs::read_to_string(&log).unwrap_or_default().contains("the coordinator itself can't connect")
    });
    let began = std::time::Instant::now();
    let mut evidence = || catalog.rows("select what from gp_fts_evidence where kind = 'now' and what like 'primary%'");
    // For longer than three attempts take: the one thing that was seen of the segment was the reset.
    wait_for("two seconds without a descriptor", secs(20), || began.elapsed() > secs(2));
    assert!(evidence().iter().all(|what| !what.contains("attempts")), "it is not counted against the segment");
    network.heal();
    processes::limit_files(coordinator, limit);
    wait_for("everybody to be heard again, agents too", secs(20), || cluster.status().pids() == before.pids());
    let after = cluster.status();
    assert!(after.is_synchronized() && after.is_balanced());
    assert_eq!(cluster.decisions(), decided);
}
