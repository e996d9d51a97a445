//! The last resort: a person has a segment serve that the rows do not allow.

use crate::hung::assert_pair_equal;
use crate::support::status::{SYNCHRONIZED, TRACKING, TRACKING_UNFINISHED};
use crate::support::wait::secs;
use crate::support::{Cluster, processes, wait_for};
use std::path::Path;

fn number(cluster: &Cluster, sql: &str) -> i64 {
    cluster.catalog().number(sql)
}

#[test]
fn in_a_double_fault_only_the_typed_override_promotes_the_mirror_and_says_what_is_lost() {
    let cluster = Cluster::new(1);
    cluster.content(0).run("create table kept(id bigint)");
    cluster.content(0).run("insert into kept values (1)");
    let pair = cluster.status().pair(0);
    let mirror = pair.mirror.dbid.to_string();
    let force = ["force-primary", "--dbids", &mirror];
    cluster.segsh(&[&force[..], &["--yes=force_primary"]].concat()).exits(4).says("segment_up");
    processes::kill(pair.mirror.running());
    cluster.wait_for_pair(0, TRACKING, secs(20));
    cluster.content(0).run("insert into kept values (2)");
    processes::kill(pair.primary.running());
    wait_for("the double fault to be seen", secs(20), || !cluster.status().operational);
    // Its disk is gone with it: nothing brings it back.
    std::fs::remove_file(Path::new(&pair.primary.datadir).join("main.db")).expect("main.db");

    cluster.segsh(&[&force[..], &["--dry-run"]].concat()).ok().says("LOST").says("full copy");
    cluster.segsh(&[&force[..], &["--yes"]].concat()).exits(4).says("--yes=force_primary");
    assert_eq!(cluster.status().pair(0).primary.dbid, pair.primary.dbid, "nothing was changed");
    cluster.segsh(&[&force[..], &["--yes=force_primary"]].concat()).ok();
    let now = cluster.status().pair(0);
    assert_eq!((now.primary.dbid, now.letters().as_str()), (pair.mirror.dbid, TRACKING_UNFINISHED));
    assert_eq!(cluster.content(0).number("select max(id) from kept"), 1, "what it lacked is lost, as was said");
    cluster.content(0).run("insert into kept values (3)");

    let written = "select count(*) from gp_configuration_history where desc like '%override by %may be lost%'";
    assert_eq!(number(&cluster, written), 2);
    let audit = std::fs::read_to_string(cluster.dir().join("coordinator/audit.jsonl")).expect("an audit log");
    assert!(
        audit.lines().any(|line| line.contains("\"verb\":\"force_primary\"") && line.contains("\"done\"")),
        "{audit}"
    );
    cluster.eval_yes("recover()").says("incremental_impossible");
    cluster.outcome(&format!("full_recover(#{{ dbids: {} }})", pair.primary.dbid));
    assert_eq!(cluster.status().pair(0).letters(), SYNCHRONIZED);
    assert_pair_equal(&cluster);
}

#[test]
fn a_quarantine_is_lifted_by_naming_who_serves() {
    let cluster = Cluster::new(1);
    cluster.content(0).run("create table kept(id bigint)");
    let pair = cluster.status().pair(0);
    // The catalog of yesterday: its epoch is behind what the segments have obeyed since.
    cluster.lifecycle("stop", &[]).ok();
    let names = ["catalog.db", "catalog.db-wal", "catalog.db-shm"];
    let files = names.map(|name| cluster.dir().join("coordinator").join(name));
    let yesterday = files.each_ref().map(|file| std::fs::read(file).ok());
    for _ in 0..2 {
        cluster.lifecycle("start", &[]).ok();
        cluster.content(0).run("insert into kept values (1)");
        cluster.lifecycle("stop", &[]).ok();
    }
    for (file, bytes) in files.iter().zip(yesterday) {
        let _ = std::fs::remove_file(file);
        bytes.into_iter().for_each(|bytes| std::fs::write(file, bytes).expect("the test owns it"));
    }
    cluster.lifecycle("start", &[]);
    wait_for("the quarantine", secs(20), || {
        let status = cluster.lifecycle("status", &["--json"]).json();
        status["contents"][0]["quarantine"].is_string()
    });
    let primary = pair.primary.dbid.to_string();
    cluster.eval_yes("recover()").says("quarantined");
    cluster.segsh(&["force-primary", "--dbids", &primary, "--yes=force_primary"]).ok().says("quarantine is lifted");
    let now = cluster.status().pair(0);
    assert_eq!((now.primary.dbid, now.letters().as_str()), (pair.primary.dbid, TRACKING_UNFINISHED));
    assert_eq!(cluster.content(0).number("select count(*) from kept"), 2);
    cluster.outcome(&format!("full_recover(#{{ dbids: {} }})", pair.mirror.dbid));
    assert_eq!(cluster.status().pair(0).letters(), SYNCHRONIZED);
    assert_pair_equal(&cluster);
}

#[test]
fn an_acting_primary_that_holds_another_copy_serves_only_when_a_person_accepts_it() {
    let cluster = Cluster::new(1);
    cluster.content(0).run("create table kept(id bigint)");
    let pair = cluster.status().pair(0);
    processes::kill(pair.mirror.running());
    cluster.wait_for_pair(0, TRACKING, secs(20));
    cluster.lifecycle("stop", &[]).ok();
    // The files of the mirror under the primary's name: whole, and not the copy that served last.
    let meta = Path::new(&pair.primary.datadir).join("segment.meta");
    let own = std::fs::read(&meta).expect("its identity");
    std::fs::write(&meta, with_another_copy(&own)).expect("the test owns it");
    cluster.lifecycle("start", &[]);
    wait_for("the double fault to be seen", secs(20), || !cluster.status().operational);
    let primary = pair.primary.dbid.to_string();
    cluster.segsh(&["force-primary", "--dbids", &primary, "--yes=force_primary"]).ok().says("LOST");
    assert_eq!(cluster.content(0).number("select count(*) from kept"), 0);
    let now = cluster.status().pair(0);
    assert_eq!((now.primary.dbid, now.letters().as_str()), (pair.primary.dbid, TRACKING_UNFINISHED));
}

/// The same identity with another copy's name in it, in a sound envelope (docs/formats.md).
fn with_another_copy(meta: &[u8]) -> Vec<u8> {
    let mut body: serde_json::Value = serde_json::from_slice(&meta[24..]).expect("a JSON body");
    body["copy"] = "0123456789abcdef0123456789abcdef".into();
    let body = serde_json::to_vec(&body).expect("a JSON body");
    let mut bytes = meta[..12].to_vec();
    bytes.extend_from_slice(&(body.len() as u64).to_le_bytes());
    let crc = crc32c::crc32c_append(crc32c::crc32c(&bytes), &body);
    bytes.extend_from_slice(&crc.to_le_bytes());
    bytes.extend_from_slice(&body);
    bytes
}
