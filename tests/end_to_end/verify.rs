//! verify(): a bit that changed behind everybody's back is found, on whichever side it is, and the good
//! copy is never overwritten by the bad one.

use crate::hung::assert_pair_equal;
use crate::recovery::{await_quiet, fill};
use crate::support::status::{SYNCHRONIZED, TRACKING};
use crate::support::wait::secs;
use crate::support::{Cluster, Pair, Writers, files, processes, wait_for};
use serde_json::Value;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// A pair with some data that nobody writes to.
fn quiet() -> (Cluster, Pair) {
    let cluster = Cluster::new(1);
    fill(&cluster, 3_000);
    // So that there are pages in main.db, and a log that nobody needs any more.
    cluster.content(0).run("pragma wal_checkpoint(passive)");
    let pair = cluster.status().pair(0);
    await_quiet(Path::new(&pair.primary.datadir));
    (cluster, pair)
}

/// Flips one bit of a file behind the back of the process that has it open.
fn flip(datadir: &str, name: &str, at: u64) {
    let path = Path::new(datadir).join(name);
    let file = std::fs::OpenOptions::new().read(true).write(true).open(&path).expect("a replicated file");
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).expect("a byte of the file");
    byte[0] ^= 0x20;
    file.write_all_at(&byte, at).expect("the test owns it");
}

fn length(datadir: &str, name: &str) -> u64 {
    std::fs::metadata(Path::new(datadir).join(name)).expect("a replicated file").len()
}

/// The outcome of a verification that must find a difference, caught.
fn difference(cluster: &Cluster) -> Value {
    let ran = cluster.segsh(&["--json", "-e", "verify(#{ raise: false })"]).ok();
    let value = ran.json()["value"].clone();
    assert_eq!((value["status"].as_str(), value["exit"].as_i64()), (Some("differs"), Some(9)), "{value:#}");
    value
}

fn note(outcome: &Value) -> &str {
    outcome["segments"][0]["note"].as_str().expect("a note")
}

#[test]
fn equal_copies_are_verified_to_their_last_byte_and_nothing_changes() {
    let (cluster, pair) = quiet();
    let before = cluster.status();
    let outcome = cluster.outcome("verify()");
    let bytes = files::REPLICATED.map(|name| length(&pair.primary.datadir, name)).iter().sum::<u64>();
    let segment = &outcome["segments"][0];
    assert_eq!(segment["verified_bytes"].as_u64(), Some(bytes), "{outcome:#}");
    assert_eq!((segment["differing_blocks"].as_i64(), segment["how"].as_str()), (Some(0), Some("verified")));
    assert_eq!((cluster.status().pids(), cluster.status().pair(0).letters().as_str()), (before.pids(), SYNCHRONIZED));
}

#[test]
fn a_bit_flipped_on_a_mirror_is_found_wherever_it_is_and_the_next_recovery_mends_exactly_that() {
    let (cluster, pair) = quiet();
    let datadir = pair.mirror.datadir.clone();
    let main = length(&datadir, "main.db");
    // A page in the middle, the last byte, and a part of the log that no reader looks at any more.
    flip(&datadir, "main.db", 5 * 4096 + 100);
    flip(&datadir, "main.db", main - 1);
    flip(&datadir, "main.db-wal", length(&datadir, "main.db-wal") - 1);
    let outcome = difference(&cluster);
    assert_eq!(outcome["segments"][0]["differing_blocks"], 3, "{outcome:#}");
    assert!(note(&outcome).contains("is sound"), "{outcome:#}");
    assert_eq!(outcome["next"], "recover(#{ contents: [0] })");
    let now = cluster.status().pair(0);
    assert_eq!((now.letters().as_str(), now.primary.dbid), (TRACKING, pair.primary.dbid));
    // Two blocks of main.db; the log is always copied whole.
    let to_copy = (2 + length(&pair.primary.datadir, "main.db-wal").div_ceil(4096)).to_string();
    assert_eq!(cluster.eval("state().content(0).to_copy_blocks").ok().text(), to_copy, "exactly those are dirty");
    assert_eq!(cluster.content(0).number("select count(*) from filled"), 3_000, "it serves on");

    cluster.outcome("recover()");
    assert_eq!(cluster.status().pair(0).letters(), SYNCHRONIZED);
    assert_pair_equal(&cluster);
    cluster.outcome("verify()");
}

#[test]
fn a_mirror_s_file_of_another_length_differs_and_is_mended() {
    let (cluster, pair) = quiet();
    let path = Path::new(&pair.mirror.datadir).join("main.db");
    let file = std::fs::OpenOptions::new().write(true).open(path).expect("a replicated file");
    file.set_len(length(&pair.mirror.datadir, "main.db") + 10_000).expect("the test owns it");
    difference(&cluster);
    cluster.outcome("recover()");
    assert_pair_equal(&cluster);
}

#[test]
fn a_difference_ends_with_exit_9_and_says_what_to_do() {
    let (cluster, pair) = quiet();
    flip(&pair.mirror.datadir, "main.db", 9 * 4096);
    let ran = cluster.segsh(&["verify"]).exits(9);
    ran.says("1 block differ").says("main.db block 9").says("next: recover(#{ contents: [0] })");
    let history = cluster.catalog().rows("select desc from gp_configuration_history order by number desc limit 1");
    assert!(history[0].contains("the copies differ") || history[0].contains("verification"), "{history:?}");
}

#[test]
fn under_write_load_nothing_in_flight_is_taken_for_a_difference() {
    let cluster = Cluster::new(1);
    fill(&cluster, 3_000);
    cluster.content(0).run("pragma wal_checkpoint(passive)");
    let writers = Writers::start(&cluster, &[0], 4);
    for _ in 0..6 {
        cluster.outcome("verify()");
        writers.wait_for_more(0, 20, secs(20));
    }
    // And a flipped bit is found among them.
    let pair = cluster.status().pair(0);
    flip(&pair.mirror.datadir, "main.db", 4096 * 3 + 7);
    let outcome = difference(&cluster);
    assert!(note(&outcome).contains("main.db block 3"), "{outcome:#}");
    writers.wait_for_more(0, 20, secs(20));
    cluster.outcome("recover()");
    writers.finish().assert_held_by(&cluster);
    assert_pair_equal(&cluster);
}

#[test]
fn a_bit_flipped_on_a_primary_is_found_and_never_copied_over_the_good_side() {
    let (cluster, pair) = quiet();
    let good = files::bytes(Path::new(&pair.mirror.datadir), "main.db");
    flip(&pair.primary.datadir, "main.db", 7 * 4096 + 2_000);
    let outcome = difference(&cluster);
    let damaged = format!("primary dbid {} damaged: main.db: block 7 fails its checksum", pair.primary.dbid);
    assert!(note(&outcome).contains(&damaged), "{outcome:#}");
    assert_eq!(cluster.status().pair(0).letters(), TRACKING);

    let named = format!("recover(#{{ dbids: {} }})", pair.mirror.dbid);
    let full = format!("full_recover(#{{ dbids: {} }})", pair.mirror.dbid);
    let refused = || {
        for code in ["recover()", &named, &full] {
            let ran = cluster.segsh(&["--yes=full_recover", "-e", code]);
            assert!(matches!(ran.code, 4 | 5), "{ran:?}");
            ran.says("source_damaged").says("block 7");
        }
    };
    refused();
    // Durably: also after the primary was started again.
    cluster.outcome("restart(#{ contents: 0 })");
    refused();
    assert_eq!(files::bytes(Path::new(&pair.mirror.datadir), "main.db"), good, "the good copy is untouched");
    cluster.eval("state()").says("damaged").says("source_damaged");
}

#[test]
fn a_bit_flipped_in_the_primary_s_log_is_found_too() {
    let cluster = Cluster::new(1);
    // Less than what a checkpoint waits for: it stands in the log, and nowhere else.
    fill(&cluster, 300);
    let pair = cluster.status().pair(0);
    await_quiet(Path::new(&pair.primary.datadir));
    flip(&pair.primary.datadir, "main.db-wal", 32 + 2 * 4120 + 1_000);
    let outcome = difference(&cluster);
    assert!(note(&outcome).contains("damaged: main.db-wal"), "{outcome:#}");
    cluster.segsh(&["--yes", "-e", "recover(#{ contents: 0 })"]).exits(4).says("source_damaged");
}

/// Flips a bit in the page of every frame of a log.
fn flip_every_frame(datadir: &str) {
    let frames = (length(datadir, "main.db-wal") - 32) / 4120;
    (0..frames).for_each(|frame| flip(datadir, "main.db-wal", 32 + frame * 4120 + 1_000));
}

#[test]
fn a_checkpoint_carries_no_flipped_bit_of_the_log_to_the_mirror_which_takes_over() {
    let cluster = Cluster::new(1);
    fill(&cluster, 300);
    let pair = cluster.status().pair(0);
    await_quiet(Path::new(&pair.primary.datadir));
    let rows = || cluster.content(0).rows("select id, body from filled order by id");
    let written = rows();
    flip_every_frame(&pair.primary.datadir);
    // The session is told, or loses its segment.
    let _ = cluster.content(0).query("pragma wal_checkpoint(passive)");
    cluster.wait_for_failover(0, pair.primary.dbid, secs(30));
    assert!(rows() == written, "nothing of it came over");
    let history = cluster.history(pair.mirror.dbid);
    assert!(history.iter().any(|line| line.contains("main.db-wal: block")), "{history:?}");
    assert_eq!(cluster.content(0).rows("pragma quick_check"), ["ok"]);
    cluster.outcome("recover()");
    assert_pair_equal(&cluster);
    cluster.outcome("verify()");
}

#[test]
fn a_single_copy_whose_log_is_damaged_stays_and_is_never_copied_from() {
    let cluster = Cluster::new(1);
    let pair = cluster.status().pair(0);
    processes::kill(pair.mirror.running());
    cluster.wait_for_pair(0, TRACKING, secs(20));
    fill(&cluster, 300);
    await_quiet(Path::new(&pair.primary.datadir));
    // A session that has begun: the first page that a new one reads is damaged, too.
    let mut session = cluster.content(0);
    session.run("select 1");
    flip_every_frame(&pair.primary.datadir);
    let reply = session.query("pragma wal_checkpoint(passive)").expect("an answer");
    assert_eq!(reply.sqlstate(), Some("XX001"), "{reply:?}");
    assert_eq!(cluster.status().pair(0).primary.running(), pair.primary.running(), "it is the only copy");
    wait_for("the damage to be shown", secs(20), || {
        cluster.eval("probe().content(0).source_damaged").ok().text().contains("main.db-wal: block")
    });
    cluster.eval_yes("recover()").exits(4).says("source_damaged");
}

/// A verification that goes on for a while.
fn slow_verification(cluster: &Cluster) -> i64 {
    let ran = cluster.segsh(&["--json", "-e", r#"verify(#{ wait: false, rate: "1 MiB/s" })"#]).ok();
    let op = ran.json()["value"]["op"].as_i64().expect("an operation");
    assert_eq!(cluster.eval("state().content(0).operation").ok().text(), op.to_string());
    op
}

fn await_no_operation(cluster: &Cluster) {
    let ended = || cluster.eval("state().content(0).operation").ok().text().is_empty();
    wait_for("the operation on content 0 to end", secs(20), ended);
}

#[test]
fn a_mirror_that_dies_meanwhile_is_no_difference() {
    let (cluster, pair) = quiet();
    slow_verification(&cluster);
    processes::kill(pair.mirror.running());
    cluster.wait_for_pair(0, TRACKING, secs(20));
    await_no_operation(&cluster);
    cluster.outcome("recover()");
    cluster.outcome("verify()");
    assert_pair_equal(&cluster);
}

#[test]
fn a_verification_goes_on_when_the_coordinator_dies_and_still_finds_the_difference() {
    let (cluster, pair) = quiet();
    flip(&pair.mirror.datadir, "main.db-wal", length(&pair.mirror.datadir, "main.db-wal") - 1);
    slow_verification(&cluster);
    let coordinator = cluster.status().coordinator.pid.expect("it runs");
    processes::kill(coordinator);
    cluster.lifecycle("start", &[]);
    cluster.wait_for_pair(0, TRACKING, secs(60));
    await_no_operation(&cluster);
    cluster.outcome("recover()");
    assert_pair_equal(&cluster);
}

#[test]
fn a_primary_that_dies_with_a_known_difference_is_not_replaced_by_the_mirror_that_differs() {
    let (cluster, pair) = quiet();
    flip(&pair.mirror.datadir, "main.db", 4096);
    slow_verification(&cluster);
    wait_for("the difference to be known", secs(20), || {
        cluster.eval("state().content(0).to_copy_blocks").ok().text() != "0"
    });
    assert_eq!(cluster.status().pair(0).letters(), SYNCHRONIZED, "the rest is still being compared");
    processes::kill(pair.primary.running());
    wait_for("the loss to be seen", secs(20), || !cluster.status().operational);
    assert_eq!(cluster.status().pair(0).primary.dbid, pair.primary.dbid);
    await_no_operation(&cluster);
    cluster.eval_yes("restart(#{ contents: 0 })").ok();
    // It returns with what it knew, is judged, and the mirror gets its block back.
    cluster.wait_for_pair(0, SYNCHRONIZED, secs(60));
    assert_pair_equal(&cluster);
}

#[test]
fn a_pair_that_is_not_in_sync_is_refused() {
    let (cluster, pair) = quiet();
    processes::kill(pair.mirror.running());
    cluster.wait_for_pair(0, TRACKING, secs(20));
    cluster.segsh(&["verify"]).exits(4).says("segment_down");
}

#[test]
fn a_page_that_a_read_finds_damaged_is_shown_in_the_state() {
    let (cluster, pair) = quiet();
    // The log begins anew with this, so that main.db is where its pages are read.
    cluster.content(0).run("insert into filled values (-1, 'x')");
    let pages = length(&pair.primary.datadir, "main.db") / 4096;
    flip(&pair.primary.datadir, "main.db", pages / 2 * 4096 + 50);
    let code = r#"try { sql(0, "select sum(length(body)) from filled"); } catch (e) { print(e.sqlstate); }"#;
    cluster.eval(code).ok().says("XX001");
    let damaged = || cluster.eval("probe().content(0).primary.damaged_pages").ok().text().to_owned();
    assert_eq!(damaged(), "1");
    cluster.eval("state()").says("DAMAGED");
}
