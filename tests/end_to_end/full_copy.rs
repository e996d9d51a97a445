//! Full copies: beside the old one or in its place, interrupted and gone on with.

use crate::hung::assert_pair_equal;
use crate::recovery::{await_quiet, fill};
use crate::support::status::{RESYNCHRONIZING, SYNCHRONIZED, TRACKING, TRACKING_UNFINISHED};
use crate::support::wait::secs;
use crate::support::{Cluster, Pair, Writers, processes, wait_for, wait_for_some};
use serde_json::Value;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A pair whose mirror was killed, with some megabytes to copy.
fn single_copy() -> (Cluster, Pair) {
    let cluster = Cluster::new(1);
    fill(&cluster, 20_000);
    let pair = cluster.status().pair(0);
    // Once all is checkpointed the log begins anew: pages that it names are copied in any case.
    await_quiet(Path::new(&pair.primary.datadir));
    cluster.content(0).run("update filled set body = '' where id = 0");
    processes::kill(pair.mirror.running());
    cluster.wait_for_pair(0, TRACKING, secs(20));
    (cluster, pair)
}

fn sibling(datadir: &str) -> PathBuf {
    PathBuf::from(format!("{datadir}.new"))
}

fn inode(dir: impl AsRef<Path>) -> u64 {
    std::fs::metadata(dir.as_ref().join("main.db")).expect("main.db").ino()
}

/// Begins a slow full copy, and returns once a few thousand blocks are copied.
fn begin(cluster: &Cluster, pair: &Pair, options: &str) -> u64 {
    let code = format!("full_recover(#{{ dbids: {}, wait: false, rate: \"8 MiB/s\"{options} }})", pair.mirror.dbid);
    cluster.segsh(&["--yes=full_recover", "-e", &code]).ok();
    cluster.wait_for_pair(0, RESYNCHRONIZING, secs(20));
    wait_for_some("a few thousand blocks to be copied", secs(20), || {
        let status: Value = cluster.lifecycle("status", &["--json"]).ok().json();
        let progress = &status["contents"][0]["progress"];
        let (copied, total) = (progress["copied_blocks"].as_u64()?, progress["total_blocks"].as_u64()?);
        (copied >= 3_000).then_some(total)
    })
}

#[test]
fn an_interrupted_full_copy_goes_on_with_what_it_left() {
    let (cluster, pair) = single_copy();
    let total = begin(&cluster, &pair, "");
    let beside = sibling(&pair.mirror.datadir);
    let copy = inode(&beside);
    assert!(!Path::new(&pair.mirror.datadir).join("segment.meta").exists(), "nothing but a full copy can follow");
    processes::kill(cluster.status().pair(0).mirror.running());
    cluster.wait_for_pair(0, TRACKING_UNFINISHED, secs(20));
    cluster.eval_yes(&format!("recover(#{{ dbids: {} }})", pair.mirror.dbid)).says("incremental_impossible");

    let writers = Writers::start(&cluster, &[0], 1);
    let outcome = cluster.outcome(&format!("full_recover(#{{ dbids: {} }})", pair.mirror.dbid));
    let copied = outcome["segments"][0]["copied_blocks"].as_u64().expect("copied_blocks");
    assert!(copied + 1_000 < total, "{copied} blocks were copied after the interruption, {total} are there");
    let now = cluster.status().pair(0);
    assert_eq!((now.letters().as_str(), inode(&now.mirror.datadir)), (SYNCHRONIZED, copy), "it is the same copy");
    wait_for("the old copy to be dropped", secs(10), || !beside.exists());
    writers.finish().assert_held_by(&cluster);
    assert_pair_equal(&cluster);
    cluster.fail_over(0);
    assert_eq!(cluster.content(0).number("select count(*) from filled"), 20_000);
}

#[test]
fn a_full_copy_in_place_overwrites_the_old_one_and_goes_on_after_an_interruption() {
    let (cluster, pair) = single_copy();
    let before = inode(&pair.mirror.datadir);
    begin(&cluster, &pair, ", in_place: true");
    processes::kill(cluster.status().pair(0).mirror.running());
    cluster.wait_for_pair(0, TRACKING_UNFINISHED, secs(20));
    let outcome = cluster.outcome(&format!("full_recover(#{{ dbids: {}, in_place: true }})", pair.mirror.dbid));
    assert_eq!(outcome["segments"][0]["how"], "full");
    let now = cluster.status().pair(0);
    assert_eq!((now.letters().as_str(), inode(&now.mirror.datadir)), (SYNCHRONIZED, before));
    assert!(!sibling(&pair.mirror.datadir).exists());
    assert_pair_equal(&cluster);
    cluster.fail_over(0);
    assert_eq!(cluster.content(0).number("select count(*) from filled"), 20_000, "the new copy serves");
}

#[test]
fn what_an_earlier_attempt_left_under_the_name_does_not_keep_a_new_copy_from_it() {
    let (cluster, pair) = single_copy();
    begin(&cluster, &pair, "");
    processes::kill(cluster.status().pair(0).mirror.running());
    cluster.wait_for_pair(0, TRACKING_UNFINISHED, secs(20));
    // As an attempt in place leaves it that was cancelled before it copied anything.
    let named = Path::new(&pair.mirror.datadir);
    std::fs::copy(sibling(&pair.mirror.datadir).join("segment.meta"), named.join("segment.meta")).expect("a stray");
    let outcome = cluster.outcome(&format!("full_recover(#{{ dbids: {} }})", pair.mirror.dbid));
    assert_eq!(outcome["segments"][0]["how"], "full");
    cluster.content(0).run("insert into filled(id, body) values (-1, 'after')");
    cluster.lifecycle("stop", &[]).ok();
    cluster.lifecycle("start", &[]).ok();
    cluster.fail_over(0);
    assert_eq!(cluster.content(0).number("select count(*) from filled"), 20_001, "the new copy serves");
}

#[test]
fn an_interrupted_copy_of_something_else_is_begun_anew() {
    let (cluster, pair) = single_copy();
    let beside = sibling(&pair.mirror.datadir);
    begin(&cluster, &pair, "");
    processes::kill(cluster.status().pair(0).mirror.running());
    cluster.wait_for_pair(0, TRACKING_UNFINISHED, secs(20));
    std::fs::remove_file(beside.join("segment.meta")).expect("it has an identity");
    // An inode's number may be given again at once: what was there before is told by a file of its own.
    std::fs::write(beside.join("left"), "").expect("a file");
    let outcome = cluster.outcome(&format!("full_recover(#{{ dbids: {} }})", pair.mirror.dbid));
    assert_eq!(outcome["segments"][0]["how"], "full");
    let now = cluster.status().pair(0);
    assert_eq!(now.letters(), SYNCHRONIZED);
    assert!(!Path::new(&now.mirror.datadir).join("left").exists(), "what was left is not trusted");
    assert_pair_equal(&cluster);
}

#[test]
fn a_full_copy_goes_on_when_the_coordinator_dies_and_comes_back() {
    let (cluster, pair) = single_copy();
    let before = inode(&pair.mirror.datadir);
    begin(&cluster, &pair, "");
    processes::kill(cluster.status().coordinator.pid.expect("it runs"));
    cluster.lifecycle("start", &[]).ok();
    cluster.wait_for_pair(0, SYNCHRONIZED, secs(60));
    wait_for("the old copy to be dropped", secs(20), || !sibling(&pair.mirror.datadir).exists());
    assert_ne!(inode(&pair.mirror.datadir), before, "the new copy has the name");
    assert_pair_equal(&cluster);
}

#[test]
fn a_new_copy_that_could_not_be_named_is_the_one_that_serves_after_everything_was_killed() {
    let (cluster, pair) = single_copy();
    begin(&cluster, &pair, "");
    let beside = sibling(&pair.mirror.datadir);
    let copy = inode(&beside);
    let status = cluster.status();
    let agent = status.hosts.iter().find(|h| h.host == pair.mirror.host).and_then(|h| h.pid).expect("it runs");
    processes::stop(agent);
    cluster.wait_for_pair(0, SYNCHRONIZED, secs(60));
    assert_eq!(inode(&beside), copy, "nobody could give it its name");
    let insert = |id: i64| cluster.content(0).run(&format!("insert into filled(id, body) values ({id}, '')"));
    insert(100_001);
    processes::kill(pair.primary.running());
    cluster.wait_for_failover(0, pair.primary.dbid, secs(20));
    insert(100_002);
    let status = cluster.status();
    processes::kill(status.coordinator.pid.expect("it runs"));
    processes::kill(status.pair(0).primary.running());
    processes::resume(agent);
    cluster.lifecycle("start", &[]);
    let count = "select count(*) from filled where id > 100000";
    assert_eq!(cluster.content(0).number(count), 2, "every acknowledged row is there");
    assert_eq!(inode(&pair.mirror.datadir), copy, "the new copy has the name");
    cluster.outcome("recover()");
    assert_eq!(cluster.status().pair(0).letters(), SYNCHRONIZED);
    assert_pair_equal(&cluster);
}
