//! Limits: how many recoveries at a time and how they are seen, a mirror that is slow, a disk that fills
//! up, statements that take too long.

use crate::hung::assert_pair_equal;
use crate::support::status::{RESYNCHRONIZING, SYNCHRONIZED, TRACKING, TRACKING_UNFINISHED};
use crate::support::wait::secs;
use crate::support::{Cluster, Wire, processes, wait_for};
use rustix::process::Signal;
use std::collections::BTreeSet;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// About so many KiB that the mirror of a content lacks.
pub fn fall_behind(cluster: &Cluster, content: i64, kib: usize) {
    processes::kill(cluster.status().pair(content).mirror.running());
    cluster.wait_for_pair(content, TRACKING, secs(20));
    let mut session = cluster.content(content);
    session.run("create table if not exists missed(body text)");
    session.run(&format!(
        "with recursive n(i) as (select 1 union all select i + 1 from n where i < {kib}) \
         insert into missed select hex(randomblob(500)) from n"
    ));
}

/// The view's rows, until there are none any more; each as the named columns.
fn watch_recoveries(catalog: &mut Wire, columns: &str, within: Duration) -> Vec<Vec<String>> {
    let sql = format!("select {columns} from gp_stat_recovery order by content");
    let began = Instant::now();
    let mut seen: Vec<Vec<String>> = Vec::new();
    loop {
        let rows = catalog.rows(&sql);
        if rows.is_empty() && !seen.is_empty() {
            return seen;
        }
        if !rows.is_empty() && seen.last() != Some(&rows) {
            seen.push(rows);
        }
        assert!(began.elapsed() < within, "recoveries do not end: {:?}", seen.last());
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn no_more_recoveries_run_at_a_time_than_the_setting_says_and_the_others_are_seen_waiting() {
    let cluster = Cluster::with(3, &["segsh_recovery_jobs=1"]);
    (0..3).for_each(|content| fall_behind(&cluster, content, 600));
    let mut catalog = cluster.catalog();
    cluster.eval_yes(r#"recover(#{ wait: false, rate: "1 MiB/s" })"#).ok();
    let seen = watch_recoveries(&mut catalog, "stage_name, content", secs(60));
    let at_work = |rows: &Vec<String>| rows.iter().filter(|row| !row.starts_with("waiting|")).count();
    assert!(seen.iter().all(|rows| at_work(rows) <= 1), "more than one at a time: {seen:#?}");
    let waiting = |rows: &Vec<String>| rows.iter().filter(|row| row.starts_with("waiting|")).count();
    assert!(seen.iter().any(|rows| waiting(rows) == 2), "two wait for the first: {seen:#?}");
    assert!(cluster.status().is_synchronized());

    // More at a time when the call says so.
    (0..3).for_each(|content| fall_behind(&cluster, content, 600));
    cluster.eval_yes(r#"recover(#{ wait: false, jobs: 3, rate: "1 MiB/s" })"#).ok();
    let seen = watch_recoveries(&mut catalog, "stage_name, content", secs(60));
    assert!(seen.iter().any(|rows| at_work(rows) == 3), "all three at once: {seen:#?}");
    assert!(cluster.status().is_synchronized());
}

#[test]
fn a_recovery_is_seen_in_its_stages_with_its_rate_and_what_is_left() {
    let cluster = Cluster::new(1);
    fall_behind(&cluster, 0, 3_000);
    let pair = cluster.status().pair(0);
    let mut catalog = cluster.catalog();
    assert!(catalog.rows("select * from gp_stat_recovery").is_empty());
    cluster.eval_yes(r#"recover(#{ wait: false, rate: "1 MiB/s" })"#).ok();
    wait_for("the data copy to be measured", secs(30), || {
        catalog.number("select count(*) from gp_stat_recovery where stage = 2 and rate_bytes > 0") == 1
    });
    let script = cluster.segsh(&["--json", "-e", "recoveries()"]).ok().json()["value"].clone();
    assert_eq!((&script[0]["dbid"], &script[0]["stage_name"]), (&pair.mirror.dbid.into(), &"data copy".into()));
    assert!(script[0]["left_ms"].as_i64().is_some_and(|ms| ms < 60_000), "{script:#}");

    let columns = "dbid, content, hostname, stage, total_blocks, copied_blocks, percent, pause_open_us, elapsed_ms";
    let seen = watch_recoveries(&mut catalog, columns, secs(60));
    let (mut percents, mut totals) = (Vec::new(), BTreeSet::new());
    for rows in &seen {
        let fields: Vec<&str> = rows[0].split('|').collect();
        assert_eq!(fields[..3], [pair.mirror.dbid.to_string().as_str(), "0", pair.mirror.host.as_str()]);
        let number = |at: usize| fields[at].parse::<i64>().unwrap_or_else(|_| panic!("column {at} of {rows:?}"));
        assert!((2..=4).contains(&number(3)) && number(5) <= number(4) && number(7) >= 0 && number(8) > 0, "{rows:?}");
        totals.insert(number(4));
        percents.push(number(6));
    }
    assert!(percents.is_sorted() && percents.last().is_some_and(|p| *p <= 100), "{percents:?}");
    assert!(percents.len() > 2, "it is seen while it happens: {percents:?}");
    assert_eq!(totals.len(), 1, "what was to be copied does not change: {totals:?}");
    assert_pair_equal(&cluster);
    let plan = cluster.segsh(&["--json", "-e", "state().content(0).copy_rate_bytes"]).ok();
    // Too small a copy is no measurement, and none is made up.
    assert!(plan.json()["value"].is_null(), "{plan:?}");
}

#[test]
fn a_recovery_that_is_interrupted_by_ctrl_c_is_cancelled_and_simply_run_again() {
    let cluster = Cluster::new(1);
    fall_behind(&cluster, 0, 6_000);
    let mut command = cluster.place().command();
    command.arg("--yes").arg("-e").arg(r#"recover(#{ rate: "1 MiB/s" })"#).arg("-c").arg(cluster.dir());
    let mut client = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it runs");
    let mut catalog = cluster.catalog();
    wait_for("the data copy", secs(30), || {
        catalog.number("select count(*) from gp_stat_recovery where stage = 2") == 1
    });
    processes::signal(client.id(), Signal::INT);
    assert_eq!(client.wait().expect("it ends").code(), Some(130));
    cluster.wait_for_pair(0, TRACKING_UNFINISHED, secs(20));
    cluster.content(0).run("insert into missed values ('after the interruption')");

    cluster.outcome("recover()");
    assert_eq!(cluster.status().pair(0).letters(), SYNCHRONIZED);
    assert_pair_equal(&cluster);
}

#[test]
fn a_recovery_whose_client_is_killed_goes_on() {
    let cluster = Cluster::new(1);
    fall_behind(&cluster, 0, 1_500);
    let mut command = cluster.place().command();
    command.arg("--yes").arg("-e").arg(r#"recover(#{ rate: "1 MiB/s" })"#).arg("-c").arg(cluster.dir());
    let mut client = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it runs");
    cluster.wait_for_pair(0, RESYNCHRONIZING, secs(20));
    client.kill().expect("it is ours");
    client.wait().expect("it ends");
    cluster.wait_for_pair(0, SYNCHRONIZED, secs(30));
    assert_pair_equal(&cluster);
}

#[test]
fn a_slow_mirror_costs_bounded_memory_and_is_warned_of_before_it_is_lost() {
    let cluster = Cluster::with(1, &["segsh_mirror_lag_warn=200ms"]);
    cluster.content(0).run("create table t(body blob)");
    let pair = cluster.status().pair(0);
    let (primary, mirror) = (pair.primary.running(), pair.mirror.running());
    let before = processes::most_memory(primary);
    let done = AtomicBool::new(false);
    let written: u64 = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let mut session = cluster.content(0);
                    let mut written = 0;
                    while !done.load(Ordering::SeqCst) {
                        session.run(
                            "with recursive n(i) as (select 1 union all select i + 1 from n where i < 64) \
                             insert into t select randomblob(100000) from n",
                        );
                        written += 6_400_000;
                    }
                    written
                })
            })
            .collect();
        // A mirror that runs one seventh of the time: late with every answer, and never late enough to be lost.
        for _ in 0..8 {
            processes::stop(mirror);
            std::thread::sleep(Duration::from_millis(300));
            assert!(processes::resume(mirror));
            std::thread::sleep(Duration::from_millis(50));
        }
        done.store(true, Ordering::SeqCst);
        writers.into_iter().map(|w| w.join().expect("no write fails")).sum()
    });
    let after = processes::most_memory(primary);
    println!("{written} bytes written, {before} then {after} bytes of memory");
    // Two connections' page caches, the queue of 8 MiB and its encoding; not what was written.
    assert!(after - before < 64 << 20, "{} bytes more for {written} bytes written", after - before);
    assert_eq!(cluster.status().pair(0).letters(), SYNCHRONIZED, "it was never lost");

    let warned = "select count(*) from gp_configuration_history where desc like 'warning: mirror: %'";
    let mut catalog = cluster.catalog();
    assert_eq!(catalog.number(warned), 1, "one line for one episode");
    let about = catalog.number("select dbid from gp_configuration_history where desc like 'warning: mirror: %'");
    assert_eq!(about, pair.mirror.dbid);
    assert_pair_equal(&cluster);
}

#[test]
fn a_disk_with_little_room_left_is_warned_of_everywhere_and_once_in_the_history() {
    // More than any disk has.
    let cluster = Cluster::with(1, &["segsh_disk_free_warn=1000000 GiB"]);
    let warnings = |cluster: &Cluster| {
        let value = cluster.segsh(&["--json", "-e", "probe().warnings"]).ok().json()["value"].clone();
        value.as_array().expect("a list").clone()
    };
    let found = warnings(&cluster);
    assert_eq!(found.len(), 2, "{found:#?}");
    assert!(
        found.iter().all(|w| w["code"] == "disk_low" && w["next"].as_str().is_some_and(|n| n.starts_with("free ")))
    );
    cluster.eval("state()").ok().says("disk_low");
    let lines = "select count(*) from gp_configuration_history where desc like 'warning: disk: %'";
    assert_eq!(cluster.catalog().number(lines), 2, "one for each data directory, however often it was looked at");
    cluster.eval(r#"setting("segsh_disk_free_warn", "off")"#).ok();
    assert_eq!(warnings(&cluster), Vec::<serde_json::Value>::new());
}

#[test]
fn the_timeouts_of_statements_locks_and_idle_transactions_hold_through_the_gateway() {
    let cluster = Cluster::new(1);
    let (mut holder, mut session) = (cluster.content(0), cluster.content(0));
    holder.run("create table t(id int)");
    assert_eq!(session.rows("show idle_in_transaction_session_timeout"), ["1min"]);

    session.run("set statement_timeout = '100ms'");
    let endless = "with recursive n(i) as (select 1 union all select i + 1 from n) select count(*) from n";
    assert_eq!(session.query(endless).expect("an answer").sqlstate(), Some("57014"));
    session.run("set statement_timeout = 0");

    holder.run("begin; insert into t values (1)");
    session.run("set lock_timeout = '50ms'");
    assert_eq!(session.query("insert into t values (2)").expect("an answer").sqlstate(), Some("55P03"));
    holder.run("commit");
    session.run("insert into t values (2)");

    session.run("set idle_in_transaction_session_timeout = '100ms'");
    session.run("begin; insert into t values (3)");
    assert_eq!(session.receive_within(secs(10)).expect("a last word").sqlstate(), Some("25P03"));
    assert!(session.query("select 1").is_err(), "the session is over");
    // Its lock is free, and its row is not there.
    holder.run("insert into t values (4)");
    assert_eq!(holder.rows("select id from t order by id"), ["1", "2", "4"]);
}
