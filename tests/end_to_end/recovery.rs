//! Recovery: what is copied, what is refused, and what an interruption leaves.

use crate::hung::assert_pair_equal;
use crate::support::status::{RESYNCHRONIZING, SYNCHRONIZED, TRACKING, TRACKING_UNFINISHED};
use crate::support::wait::secs;
use crate::support::{Cluster, Writers, files, processes, wait_for};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Rows of about a kilobyte, so that a few updates change a few of many pages.
pub fn fill(cluster: &Cluster, rows: usize) {
    let mut session = cluster.content(0);
    session.run("create table filled(id integer primary key, body text)");
    for first in (0..rows).step_by(1000) {
        session.run(&format!(
            "with recursive n(i) as (select {first} union all select i + 1 from n where i + 1 < {}) \
             insert into filled select i, hex(randomblob(500)) from n",
            rows.min(first + 1000)
        ));
    }
}

/// Waits until nobody writes to the files any more: checkpoints run off the commit path.
pub fn await_quiet(datadir: &Path) {
    let stamp = || files::REPLICATED.map(|n| std::fs::metadata(datadir.join(n)).and_then(|m| m.modified()).ok());
    wait_for("the files to be left alone for a second", secs(30), || {
        let newest = stamp().into_iter().flatten().max().unwrap_or(SystemTime::UNIX_EPOCH);
        newest.elapsed().is_ok_and(|age| age > secs(1))
    });
}

/// What a comparison of the two directories says about a recovery, in blocks.
struct Comparison {
    differing: usize,
    most: usize,
}

impl Comparison {
    fn of(primary: &Path, mirror: &Path) -> Comparison {
        let pair = |name: &str| (files::bytes(primary, name), files::bytes(mirror, name));
        let (main, log) = (pair("main.db"), pair("main.db-wal"));
        let differing = files::differing_blocks(&main.0, &main.1).len() + files::differing_blocks(&log.0, &log.1).len();
        let named = files::pages_named(&log.0).union(&files::pages_named(&log.1)).count();
        let log_blocks = files::blocks_in(log.0.len().max(log.1.len()));
        let control: usize = files::CONTROL.iter().map(|n| files::blocks_in(files::bytes(primary, n).len())).sum();
        Comparison { differing, most: differing + log_blocks + control + named }
    }
}

#[test]
fn commits_go_on_without_a_mirror_and_recover_copies_what_changed_and_little_else() {
    let cluster = Cluster::new(1);
    fill(&cluster, 20_000);
    let pair = cluster.status().pair(0);
    let (primary, mirror) = (PathBuf::from(&pair.primary.datadir), PathBuf::from(&pair.mirror.datadir));
    await_quiet(&primary);
    processes::kill(pair.mirror.running());
    cluster.wait_for_pair(0, TRACKING, secs(20));
    let mut session = cluster.content(0);
    for id in (0..20_000).step_by(100) {
        session.run(&format!("update filled set body = hex(randomblob(500)) where id = {id}"));
    }
    await_quiet(&primary);

    let compared = Comparison::of(&primary, &mirror);
    let outcome = cluster.outcome("recover()");
    let copied = outcome["segments"][0]["copied_blocks"].as_u64().expect("copied_blocks") as usize;
    println!("differing {} <= copied {copied} <= {}", compared.differing, compared.most);
    assert!(compared.differing > 50, "the test changed something: {}", compared.differing);
    assert!(copied >= compared.differing, "{copied} blocks copied, {} differ", compared.differing);
    assert!(copied <= compared.most, "{copied} blocks copied, at most {} can be needed", compared.most);
    assert_eq!(outcome["segments"][0]["how"], "incremental");

    let after = cluster.status().pair(0);
    assert_eq!(after.letters(), SYNCHRONIZED);
    // The last block of a file may be short; a mirror also writes its own log and control files.
    let written = processes::written_bytes(after.mirror.running());
    let least = (compared.differing.saturating_sub(2) * files::BLOCK) as u64;
    let most = ((compared.most + 64) * files::BLOCK) as u64;
    assert!((least..=most).contains(&written), "the mirror wrote {written} bytes, expected {least} to {most}");
    assert_pair_equal(&cluster);
}

#[test]
fn recover_without_anything_to_do_is_done_and_asks_nothing() {
    let cluster = Cluster::new(1);
    let before = cluster.status();
    cluster.eval("recover()").ok();
    assert_eq!(cluster.status().pids(), before.pids());
}

#[test]
fn full_recover_makes_a_new_copy_under_the_old_name() {
    let cluster = Cluster::new(1);
    fill(&cluster, 2_000);
    let pair = cluster.status().pair(0);
    processes::kill(pair.mirror.running());
    cluster.wait_for_pair(0, TRACKING, secs(20));
    let inode = |path: &str| {
        std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(Path::new(path).join("main.db")).expect("main.db"))
    };
    let before = inode(&pair.mirror.datadir);
    let writers = Writers::start(&cluster, &[0], 2);
    let outcome = cluster.outcome(&format!("full_recover(#{{ dbids: {} }})", pair.mirror.dbid));
    assert_eq!(outcome["segments"][0]["how"], "full");
    let after = cluster.status().pair(0);
    assert_eq!((after.letters().as_str(), &after.mirror.datadir), (SYNCHRONIZED, &pair.mirror.datadir));
    assert_ne!(inode(&after.mirror.datadir), before, "it is another copy");
    wait_for("the old copy to be dropped", secs(10), || {
        let parent = Path::new(&pair.mirror.datadir).parent().expect("a host's directory");
        let name = Path::new(&pair.mirror.datadir).file_name().expect("a name").to_string_lossy().into_owned();
        let siblings = std::fs::read_dir(parent).expect("a directory").flatten();
        siblings.filter(|e| e.file_name().to_string_lossy().starts_with(&name)).count() == 1
    });
    writers.finish().assert_held_by(&cluster);
    assert_pair_equal(&cluster);
    cluster.fail_over(0);
    assert_eq!(cluster.content(0).number("select count(*) from filled"), 2_000, "the new copy serves");
}

#[test]
fn a_full_copy_of_a_segment_that_is_up_is_refused() {
    let cluster = Cluster::new(1);
    let before = cluster.status();
    let code = format!("full_recover(#{{ dbids: {} }})", before.pair(0).mirror.dbid);
    cluster.segsh(&["--yes=full_recover", "-e", &code]).exits(4).says("segment_up");
    assert_eq!(cluster.status().pids(), before.pids());
}

#[test]
fn a_copy_of_unknown_origin_is_refused_incrementally_and_nothing_escalates() {
    let cluster = Cluster::new(1);
    fill(&cluster, 500);
    let pair = cluster.status().pair(0);
    processes::kill(pair.mirror.running());
    cluster.wait_for_pair(0, TRACKING, secs(20));
    // The mirror's own record of which copy it is: without it, it could be any.
    std::fs::remove_file(Path::new(&pair.mirror.datadir).join("segment.meta")).expect("it has an identity");
    let ran = cluster.eval_yes(&format!("recover(#{{ dbids: {} }})", pair.mirror.dbid));
    assert!(matches!(ran.code, 4 | 5), "{ran:?}");
    let ran = ran.says("incremental_impossible").says("full_recover(");
    assert!(ran.stderr.contains(&pair.mirror.dbid.to_string()));
    let now = cluster.status().pair(0);
    assert_eq!(
        (now.primary.dbid, now.primary.mode.as_str(), now.mirror.status.as_str()),
        (pair.primary.dbid, "c", "d")
    );

    cluster.outcome(&format!("full_recover(#{{ dbids: {} }})", pair.mirror.dbid));
    assert_eq!(cluster.status().pair(0).letters(), SYNCHRONIZED);
    assert_pair_equal(&cluster);
}

#[test]
fn files_touched_while_stopped_are_copied_not_trusted() {
    let cluster = Cluster::new(1);
    fill(&cluster, 500);
    let pair = cluster.status().pair(0);
    await_quiet(Path::new(&pair.primary.datadir));
    processes::kill(pair.mirror.running());
    cluster.wait_for_pair(0, TRACKING, secs(20));
    cluster.lifecycle("stop", &[]).ok();
    let main = Path::new(&pair.mirror.datadir).join("main.db");
    let mut bytes = std::fs::read(&main).expect("main.db");
    let last = bytes.len() - 1;
    bytes[last / 2] ^= 0xff;
    std::fs::write(&main, bytes).expect("the test owns it");
    cluster.lifecycle("start", &[]).ok();
    let ran = cluster.eval_yes("recover()");
    // Whole files are copied, or it is refused: what it must never be is done with a difference left.
    if ran.code == 0 {
        assert_pair_equal(&cluster);
    } else {
        ran.says("incremental_impossible");
        cluster.outcome(&format!("full_recover(#{{ dbids: {} }})", pair.mirror.dbid));
        assert_pair_equal(&cluster);
    }
}

#[test]
fn a_recovery_whose_mirror_dies_ends_partial_and_is_simply_run_again() {
    let cluster = Cluster::new(1);
    fill(&cluster, 12_000);
    let pair = cluster.status().pair(0);
    processes::kill(pair.mirror.running());
    cluster.wait_for_pair(0, TRACKING, secs(20));
    cluster.content(0).run("update filled set body = hex(randomblob(500))");
    let writers = Writers::start(&cluster, &[0], 1);
    cluster.eval_yes(r#"recover(#{ contents: [0], wait: false, rate: "4 MiB/s" })"#).ok();
    let status = cluster.wait_for_pair(0, RESYNCHRONIZING, secs(20));
    processes::kill(status.pair(0).mirror.running());
    cluster.wait_for_pair(0, TRACKING_UNFINISHED, secs(20));
    writers.wait_for_more(0, 10, secs(20));

    cluster.outcome("recover()");
    assert_eq!(cluster.status().pair(0).letters(), SYNCHRONIZED);
    writers.finish().assert_held_by(&cluster);
    assert_pair_equal(&cluster);
}

#[test]
fn a_primary_that_dies_while_it_copies_is_never_replaced_by_the_half_copied_mirror() {
    let cluster = Cluster::new(1);
    fill(&cluster, 12_000);
    let pair = cluster.status().pair(0);
    processes::kill(pair.mirror.running());
    cluster.wait_for_pair(0, TRACKING, secs(20));
    cluster.content(0).run("update filled set body = hex(randomblob(500))");
    let writers = Writers::start(&cluster, &[0], 1);
    cluster.eval_yes(r#"recover(#{ contents: [0], wait: false, rate: "4 MiB/s" })"#).ok();
    cluster.wait_for_pair(0, RESYNCHRONIZING, secs(20));
    processes::kill(pair.primary.running());
    wait_for("the double fault to be seen", secs(20), || !cluster.status().operational);
    assert_eq!(cluster.status().pair(0).primary.dbid, pair.primary.dbid);

    cluster.segsh(&["run", "recover_double_fault", "--yes"]).ok();
    let now = cluster.status().pair(0);
    assert_eq!((now.primary.dbid, now.letters().as_str()), (pair.primary.dbid, SYNCHRONIZED));
    writers.finish().assert_held_by(&cluster);
    assert_pair_equal(&cluster);
}

#[test]
fn a_recovery_goes_on_when_the_coordinator_dies_and_comes_back() {
    let cluster = Cluster::new(1);
    fill(&cluster, 12_000);
    let pair = cluster.status().pair(0);
    processes::kill(pair.mirror.running());
    cluster.wait_for_pair(0, TRACKING, secs(20));
    cluster.content(0).run("update filled set body = hex(randomblob(500))");
    cluster.eval_yes(r#"recover(#{ contents: [0], wait: false, rate: "4 MiB/s" })"#).ok();
    let status = cluster.wait_for_pair(0, RESYNCHRONIZING, secs(20));
    processes::kill(status.coordinator.pid.expect("it runs"));
    cluster.lifecycle("start", &[]);
    cluster.wait_for_pair(0, SYNCHRONIZED, secs(60));
    assert_pair_equal(&cluster);
}

#[test]
fn a_restarted_primary_serves_again_and_its_pair_is_recovered_at_once() {
    let cluster = Cluster::new(1);
    let writers = Writers::start(&cluster, &[0], 2);
    let before = cluster.status().pair(0);
    cluster.outcome("restart(#{ contents: 0 })");
    let after = cluster.status().pair(0);
    assert_eq!(after.letters(), SYNCHRONIZED);
    assert_ne!(after.primary.pid, before.primary.pid);
    writers.wait_for_more(0, 20, secs(20));
    writers.finish().assert_held_by(&cluster);
    assert_pair_equal(&cluster);
}

#[test]
fn rebalance_is_all_or_nothing() {
    let cluster = Cluster::new(2);
    cluster.fail_over(0);
    let before = cluster.status();
    let ran = cluster.eval_yes("rebalance()").exits(4).says("segment_down").says("recover(");
    assert!(ran.stderr.contains("Nothing was changed"), "{}", ran.stderr);
    assert_eq!(cluster.status().pids(), before.pids());
    // The other pair is whole, and already where it belongs.
    cluster.eval_yes("rebalance(#{ contents: [1] })").ok();
    assert_eq!(cluster.status().pids(), before.pids());
}
