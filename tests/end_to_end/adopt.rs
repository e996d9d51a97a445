//! A catalog that is lost, made again from what the segments keep.

use crate::hung::assert_pair_equal;
use crate::recovery::fill;
use crate::support::command::Ran;
use crate::support::status::{RESYNCHRONIZING, SYNCHRONIZED, TRACKING, TRACKING_UNFINISHED};
use crate::support::wait::secs;
use crate::support::{Cluster, Writers, processes, wait_for};
use rustix::process::Signal;
use std::path::Path;

/// Every process of the cluster is killed at once, and its catalog is gone.
pub fn lose_the_catalog(cluster: &Cluster) {
    for pid in processes::beneath(cluster.dir()) {
        processes::signal(pid, Signal::KILL);
    }
    wait_for("every process to end", secs(20), || processes::beneath(cluster.dir()).is_empty());
    std::fs::remove_dir_all(cluster.dir().join("coordinator")).expect("the coordinator's directory");
}

pub fn adopt(cluster: &Cluster, more: &[&str]) -> Ran {
    cluster.lifecycle("adopt", more)
}

#[test]
fn a_healthy_cluster_has_its_catalog_again_and_every_acknowledged_row() {
    let cluster = Cluster::new(2);
    let writers = Writers::start(&cluster, &[0, 1], 2);
    let before = cluster.status();
    lose_the_catalog(&cluster);
    let ledger = writers.finish();

    adopt(&cluster, &["--dry-run"]).ok().says("p,s,u / m,s,u").says("both copies were in sync");
    assert!(!cluster.dir().join("coordinator").exists(), "a dry run writes nothing");
    adopt(&cluster, &[]).exits(4).says("declined").says("--yes");
    adopt(&cluster, &["--yes"]).ok().says("segsh start");
    assert_eq!(cluster.last_status().pids(), Vec::<u32>::new());
    adopt(&cluster, &["--yes"]).exits(4).says("catalog.db is there");

    cluster.lifecycle("start", &[]).ok();
    let after = cluster.status();
    assert!(after.is_synchronized() && after.is_balanced());
    for segment in &before.segments {
        let now = after.segment(segment.dbid);
        let place = |s: &crate::support::status::Segment| {
            (s.content, s.preferred_role.clone(), s.host.clone(), s.port, s.datadir.clone())
        };
        assert_eq!(place(now), place(segment));
    }
    ledger.assert_held_by(&cluster);
    let history =
        cluster.catalog().number("select count(*) from gp_configuration_history where desc like '%adopted by%'");
    assert_eq!(history, 4);
    let audit = std::fs::read_to_string(cluster.dir().join("coordinator/audit.jsonl")).expect("an audit log");
    assert!(audit.lines().next().is_some_and(|line| line.contains("\"verb\":\"adopt\"")), "{audit}");
}

#[test]
fn what_else_the_coordinator_kept_is_made_again_too() {
    let cluster = Cluster::new(2);
    cluster.content(1).run("create table kept(id bigint)");
    lose_the_catalog(&cluster);
    for name in ["cluster.json", "key", "pgpass"] {
        std::fs::remove_file(cluster.dir().join(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
    }
    let hosts = cluster.dir().join("hosts");
    let ran = cluster.place().segsh(&["adopt", hosts.join("sdw1").to_str().expect("a plain name"), "--yes"]);
    ran.exits(4).says("no directory was named that holds it");
    adopt(&cluster, &["--yes"]).ok().says("cluster.json is lost").says("the key is lost");
    cluster.lifecycle("start", &[]).ok();
    let status = cluster.status();
    assert!(status.is_synchronized() && status.is_balanced());
    assert_eq!(cluster.content(1).number("select count(*) from kept"), 0);
}

#[test]
fn after_a_failover_the_one_that_served_last_serves_and_the_other_is_recovered() {
    let cluster = Cluster::new(1);
    let writers = Writers::start(&cluster, &[0], 2);
    let promoted = cluster.fail_over(0).pair(0).primary.dbid;
    writers.wait_for_more(0, 20, secs(20));
    lose_the_catalog(&cluster);
    let ledger = writers.finish();
    adopt(&cluster, &["--yes"]).ok().says("p,c,u / m,s,d");
    cluster.lifecycle("start", &[]).ok();
    let pair = cluster.status().pair(0);
    assert_eq!((pair.primary.dbid, pair.letters().as_str(), pair.is_preferred()), (promoted, TRACKING, false));
    ledger.assert_held_by(&cluster);
    cluster.outcome("recover()");
    assert_eq!(cluster.status().pair(0).letters(), SYNCHRONIZED);
    ledger.assert_held_by(&cluster);
    assert_pair_equal(&cluster);
}

#[test]
fn in_the_middle_of_a_recovery_its_source_serves_and_the_recovery_is_run_again() {
    let cluster = Cluster::new(1);
    fill(&cluster, 12_000);
    let before = cluster.status().pair(0);
    processes::kill(before.mirror.running());
    cluster.wait_for_pair(0, TRACKING, secs(20));
    cluster.content(0).run("update filled set body = hex(randomblob(500))");
    cluster.eval_yes(r#"recover(#{ contents: [0], wait: false, rate: "4 MiB/s" })"#).ok();
    cluster.wait_for_pair(0, RESYNCHRONIZING, secs(20));
    wait_for("some blocks to be copied", secs(20), || {
        let status = cluster.lifecycle("status", &["--json"]).json();
        status["contents"][0]["progress"]["copied_blocks"].as_u64().is_some_and(|n| n > 0)
    });
    let writers = Writers::start(&cluster, &[0], 1);
    lose_the_catalog(&cluster);
    let ledger = writers.finish();
    adopt(&cluster, &["--yes"]).ok().says("p,c,u / m,r,d");
    cluster.lifecycle("start", &[]).ok();
    let pair = cluster.status().pair(0);
    assert_eq!((pair.primary.dbid, pair.letters().as_str()), (before.primary.dbid, TRACKING_UNFINISHED));
    assert_eq!(cluster.outcome("recover()")["segments"][0]["how"], "incremental");
    ledger.assert_held_by(&cluster);
    assert_pair_equal(&cluster);
}

#[test]
fn a_running_segment_a_missing_one_and_a_foreign_one_are_refused_and_nothing_is_written() {
    let cluster = Cluster::new(1);
    let pair = cluster.status().pair(0);
    processes::kill(cluster.status().coordinator.pid.expect("it runs"));
    std::fs::remove_dir_all(cluster.dir().join("coordinator")).expect("the coordinator's directory");
    adopt(&cluster, &["--yes"]).exits(4).says("a segment runs in").says(&pair.primary.datadir);
    assert!(processes::runs(pair.primary.running()), "it is left as it is");
    for pid in processes::beneath(cluster.dir()) {
        processes::signal(pid, Signal::KILL);
    }
    wait_for("every process to end", secs(20), || processes::beneath(cluster.dir()).is_empty());

    let named = |dirs: &[&str]| cluster.place().segsh(&[&["adopt", "--yes"], dirs].concat());
    let mirror = pair.mirror.dbid.to_string();
    named(&[&pair.primary.datadir]).exits(4).says(&format!("dbid {mirror} of content 0 is missing"));
    let other = Cluster::stopped(1, &[]);
    named(&[&pair.primary.datadir, other.dir().to_str().expect("a plain name")])
        .exits(4)
        .says("belongs to another cluster");
    named(&[cluster.dir().join("log").to_str().expect("a plain name")]).exits(4).says("no segment's data directory");
    assert!(!cluster.dir().join("coordinator").exists());
}

#[test]
fn an_older_state_of_a_directory_is_refused_and_served_around_only_by_an_override() {
    let cluster = Cluster::new(1);
    cluster.content(0).run("create table kept(id bigint)");
    let pair = cluster.status().pair(0);
    let meta = Path::new(&pair.mirror.datadir).join("segment.meta");
    cluster.lifecycle("stop", &[]).ok();
    let old = std::fs::read(&meta).expect("its identity");
    cluster.lifecycle("start", &[]).ok();
    cluster.content(0).run("insert into kept values (1)");
    lose_the_catalog(&cluster);
    std::fs::write(&meta, old).expect("the test owns it");

    let primary = pair.primary.dbid.to_string();
    let ran = adopt(&cluster, &["--yes"]).exits(4).says("is an older state of its copy").says("--serve");
    assert!(ran.stderr.contains("obeyed epoch"), "both records are shown: {}", ran.stderr);
    adopt(&cluster, &["--serve", &primary, "--yes"]).exits(4).says("--yes=adopt");
    adopt(&cluster, &["--serve", &primary, "--yes=adopt"]).ok().says("MAY BE LOST").says("override");
    cluster.lifecycle("start", &[]).ok();
    assert_eq!(cluster.content(0).number("select count(*) from kept"), 1);
    cluster.eval_yes("recover()").says("incremental_impossible");
    cluster.outcome(&format!("full_recover(#{{ dbids: {} }})", pair.mirror.dbid));
    assert_eq!(cluster.status().pair(0).letters(), SYNCHRONIZED);
    assert_pair_equal(&cluster);
    let history = "select count(*) from gp_configuration_history where desc like '%may be lost%'";
    assert_eq!(cluster.catalog().number(history), 2);
}
