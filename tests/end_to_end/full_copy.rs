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
fn an_interrupted_copy_of_something_else_is_begun_anew() {
    let (cluster, pair) = single_copy();
    let beside = sibling(&pair.mirror.datadir);
    begin(&cluster, &pair, "");
    let copy = inode(&beside);
    processes::kill(cluster.status().pair(0).mirror.running());
    cluster.wait_for_pair(0, TRACKING_UNFINISHED, secs(20));
    std::fs::remove_file(beside.join("segment.meta")).expect("it has an identity");
    let outcome = cluster.outcome(&format!("full_recover(#{{ dbids: {} }})", pair.mirror.dbid));
    assert_eq!(outcome["segments"][0]["how"], "full");
    let now = cluster.status().pair(0);
    assert_eq!(now.letters(), SYNCHRONIZED);
    assert_ne!(inode(&now.mirror.datadir), copy, "what was left is not trusted");
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
