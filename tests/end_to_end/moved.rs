//! A host that is gone, and its segments rebuilt on another one under load.

use crate::adopt::{adopt, lose_the_catalog};
use crate::hung::assert_pair_equal;
use crate::support::status::{SYNCHRONIZED, TRACKING};
use crate::support::wait::secs;
use crate::support::{Cluster, Status, Writers, processes, wait_for};

const REPLACE: &str = "procedure(\"replace_host\", #{ host: \"sdw2\", to: \"sdw3\" })";

/// Everything of a host stands still, and its agent is gone: nobody can ask it anything. The processes.
fn lose_host(cluster: &Cluster, name: &str) -> Vec<u32> {
    let status = cluster.status();
    let host = status.hosts.iter().find(|h| h.host == name).expect("the host");
    let pids: Vec<u32> = status.segments.iter().filter(|s| s.host == name).map(|s| s.running()).collect();
    pids.iter().for_each(|pid| processes::stop(*pid));
    processes::kill(host.pid.expect("its agent runs"));
    pids
}

fn hosts_of_segments(status: &Status) -> Vec<&str> {
    status.segments.iter().map(|s| s.host.as_str()).collect()
}

/// What only the new host can know: a listener on a port, somebody's files in a directory.
fn assert_what_is_in_the_way_is_refused(cluster: &Cluster, dbid: i64) {
    let status = cluster.status();
    let spare = status.hosts.iter().find(|h| h.host == "sdw3").expect("the spare host");
    let move_it = |place: &str| {
        let code = format!("recover(#{{ to: #{{ \"{dbid}\": #{{ host: \"sdw3\", {place} }} }} }})");
        cluster.segsh(&["--yes=full_recover", "-e", &code])
    };
    let listener = std::net::TcpListener::bind((spare.address.as_str(), 0)).expect("a port");
    let port = listener.local_addr().expect("an address").port();
    move_it(&format!("port: {port}")).exits(4).says("port_taken").says(&format!("port {port} of sdw3"));
    let occupied = cluster.dir().join("hosts/sdw3/letters");
    std::fs::create_dir(&occupied).expect("a directory");
    std::fs::write(occupied.join("precious"), "").expect("a file");
    move_it(&format!("datadir: \"{}\"", occupied.display())).exits(4).says("dir_taken");
    move_it("dir: \"/elsewhere\"").exits(4).says("unknown_target");
    std::fs::remove_dir_all(&occupied).expect("nobody has taken it");
}

#[test]
fn every_segment_of_a_host_that_is_gone_is_rebuilt_on_another_under_load_and_the_old_ones_end_when_they_wake() {
    let cluster = Cluster::with_spare_host(2);
    let before = cluster.status();
    assert_eq!(hosts_of_segments(&before), ["sdw1", "sdw2", "sdw2", "sdw1"]);
    let writers = Writers::start(&cluster, &[0, 1], 2);
    let strays = lose_host(&cluster, "sdw2");
    cluster.wait_for_pair(0, TRACKING, secs(30));
    cluster.wait_for_pair(1, TRACKING, secs(30));

    // Nothing of it is done without the yes that a full copy needs.
    let recover = "recover(#{ hosts: \"sdw2\", to: \"sdw3\" })";
    cluster.eval_yes(recover).exits(4).says("--yes=full_recover");
    cluster.eval_yes("recover(#{ hosts: \"sdw2\", to: \"sdw1\" })").exits(4).says("colocated");
    assert_what_is_in_the_way_is_refused(&cluster, before.pair(0).mirror.dbid);
    assert_eq!(hosts_of_segments(&cluster.status()), ["sdw1", "sdw2", "sdw2", "sdw1"]);

    cluster.segsh(&["--yes=full_recover", "-e", REPLACE]).ok();
    let status = cluster.status();
    assert_eq!(hosts_of_segments(&status), ["sdw1", "sdw3", "sdw3", "sdw1"]);
    for content in [0, 1] {
        assert_eq!(status.pair(content).letters(), SYNCHRONIZED);
        writers.wait_for_more(content, 20, secs(30));
    }
    let moves = cluster.history(before.pair(0).mirror.dbid);
    assert!(moves.iter().any(|line| line.contains("moves to sdw3:")), "{moves:?}");

    // What was made a primary serves from its new place, by every way there.
    cluster.outcome("rebalance()");
    let status = cluster.status();
    assert_eq!(status.pair(1).primary.host, "sdw3");
    assert!(status.pair(1).primary.datadir.contains("/hosts/sdw3/"), "{status:?}");
    for content in [0, 1] {
        writers.wait_for_more(content, 20, secs(30));
    }

    // The host is back with the very processes that it had: they serve nobody, and are ended.
    strays.iter().for_each(|pid| assert!(processes::resume(*pid)));
    cluster.eval("fault::start_host(\"sdw2\")").ok();
    wait_for("the strays to be ended", secs(20), || !strays.iter().any(|pid| processes::runs(*pid)));
    wait_for("the history to say so", secs(10), || {
        let line = "left behind by a move";
        [2, 3, 4, 5].iter().filter(|dbid| cluster.history(**dbid).iter().any(|l| l.contains(line))).count() == 2
    });
    writers.finish().assert_held_by(&cluster);
    assert_pair_equal(&cluster);

    // Again, there is nothing to do; and the places are those of the next start.
    cluster.segsh(&["--yes=full_recover", "-e", REPLACE]).ok();
    let rows = cluster.content(1).rows("select count(*) from journal");
    cluster.lifecycle("stop", &[]).ok();
    cluster.lifecycle("start", &[]).ok();
    let status = cluster.status();
    assert!(status.is_synchronized(), "{status:?}");
    assert_eq!(hosts_of_segments(&status), ["sdw1", "sdw3", "sdw3", "sdw1"]);
    assert_eq!(cluster.content(1).rows("select count(*) from journal"), rows);

    // So do the segments' own records, though the former copies are still on the host that came back.
    lose_the_catalog(&cluster);
    adopt(&cluster, &["--yes"]).ok();
    cluster.lifecycle("start", &[]).ok();
    let status = cluster.status();
    assert!(status.is_synchronized(), "{status:?}");
    assert_eq!(hosts_of_segments(&status), ["sdw1", "sdw3", "sdw3", "sdw1"]);
    assert_eq!(cluster.content(1).rows("select count(*) from journal"), rows);
}
