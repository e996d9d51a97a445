//! What a session is told when its segment dies in the middle of something.

use crate::postgres::ENDLESS;
use crate::support::status::{SYNCHRONIZED, TRACKING};
use crate::support::wait::secs;
use crate::support::{Cluster, processes, wait_for};

#[test]
fn an_open_transaction_across_a_failover_never_half_commits() {
    let cluster = Cluster::new(1);
    let mut session = cluster.content(0);
    session.run("create table t(id int)");
    session.run("insert into t values (0)");
    session.run("begin");
    session.run("insert into t values (1)");
    session.run("insert into t values (2)");
    cluster.fail_over(0);

    let reply = session.query("insert into t values (3)").expect("the session outlives its segment");
    assert_eq!((reply.sqlstate(), reply.state), (Some("25P02"), Some('E')), "{reply:?}");
    let reply = session.query("select 1").expect("an answer");
    assert_eq!(reply.sqlstate(), Some("25P02"), "every statement until the end of the transaction");
    let reply = session.query("commit").expect("an answer");
    assert!(reply.has_tag("ROLLBACK"), "COMMIT of a failed transaction: {reply:?}");
    assert_eq!(reply.state, Some('I'));
    assert_eq!(session.rows("select id from t"), ["0"], "the same session goes on");
}

#[test]
fn rollback_ends_a_transaction_that_a_failover_failed() {
    let cluster = Cluster::new(1);
    let mut session = cluster.content(0);
    session.run("create table t(id int)");
    session.run("begin");
    session.run("insert into t values (1)");
    cluster.fail_over(0);
    assert!(session.query("rollback").expect("an answer").has_tag("ROLLBACK"));
    session.run("insert into t values (2)");
    assert_eq!(session.rows("select id from t"), ["2"]);
}

#[test]
fn a_transaction_that_only_read_is_failed_by_a_failover_too() {
    let cluster = Cluster::new(1);
    let mut session = cluster.content(0);
    session.run("create table t(id int)");
    session.run("begin");
    assert_eq!(session.number("select count(*) from t"), 0);
    cluster.fail_over(0);
    assert_eq!(session.query("select count(*) from t").expect("an answer").sqlstate(), Some("25P02"));
}

/// A commit can be held in flight: with its mirror stopped the primary has written, and waits (R2).
fn commit_in_flight(transaction: &[&str], last: &str) {
    let cluster = Cluster::new(1);
    let mut session = cluster.content(0);
    session.run("create table t(id int)");
    transaction.iter().for_each(|sql| drop(session.run(sql)));
    let pair = cluster.status().pair(0);
    processes::stop(pair.mirror.running());
    session.send(last).expect("the gateway takes it");
    let wal = std::path::Path::new(&pair.primary.datadir).join("main.db-wal");
    let length = || std::fs::metadata(&wal).map_or(0, |m| m.len());
    let (kept, began) = (length(), std::time::Instant::now());
    // Written by the primary, or held for so long that it must have been.
    wait_for("the commit to be in flight", secs(2), || length() > kept || began.elapsed() > secs(1));
    processes::kill(pair.primary.running());
    processes::resume(pair.mirror.running());

    let reply = session.receive().expect("the gateway always answers");
    assert_eq!(reply.sqlstate(), Some("08007"), "outcome unknown, and said so: {reply:?}");
    assert_eq!(reply.state, Some('I'), "no transaction is left open");
    wait_for("the content to serve", secs(20), || {
        let now = cluster.status();
        now.operational && now.pair(0).primary.dbid == pair.mirror.dbid
    });
    let count = session.number("select count(*) from t");
    assert!(count == 0 || count == 2, "{count} of 2 rows: a transaction is there whole, or not at all");
}

#[test]
fn a_commit_in_flight_when_its_primary_dies_is_answered_08007_and_is_whole_or_absent() {
    commit_in_flight(&["begin", "insert into t values (1)", "insert into t values (2)"], "commit");
}

#[test]
fn an_autocommit_write_in_flight_when_its_primary_dies_is_answered_08007() {
    commit_in_flight(&[], "insert into t values (1), (2)");
}

#[test]
fn a_commit_held_up_by_a_hung_mirror_is_acknowledged_once_tracking_is_granted() {
    let cluster = Cluster::new(1);
    let mut session = cluster.content(0);
    session.run("create table t(id int)");
    let mirror = cluster.status().pair(0).mirror;
    processes::stop(mirror.running());
    let began = std::time::Instant::now();
    session.run("insert into t values (1)");
    assert!(began.elapsed() < secs(8), "held up for {:?}", began.elapsed());
    cluster.wait_for_pair(0, TRACKING, secs(10));
    assert_eq!(session.rows("select id from t"), ["1"]);
    cluster.outcome("recover()");
    let status = cluster.status();
    assert_eq!(status.pair(0).letters(), SYNCHRONIZED);
    assert_ne!(status.pair(0).mirror.pid, mirror.pid, "the hung process was killed first");
    assert!(!processes::runs(mirror.running()));
}

#[test]
fn a_running_read_is_answered_40001_when_its_primary_dies() {
    let cluster = Cluster::new(1);
    let mut session = cluster.content(0);
    session.send(ENDLESS).expect("the gateway takes it");
    let primary = cluster.status().pair(0).primary;
    // Busy: the statement has begun, for nothing else makes the primary burn a fifth of a second.
    wait_for("the statement to run", secs(20), || cpu_ticks(primary.running()) > 20);
    processes::kill(primary.running());
    let reply = session.receive().expect("an answer");
    assert_eq!((reply.sqlstate(), reply.state), (Some("40001"), Some('I')), "{reply:?}");
    assert_eq!(session.number("select 1"), 1);
}

#[test]
fn a_running_write_in_a_transaction_is_answered_40001_when_its_primary_dies() {
    let cluster = Cluster::new(1);
    let mut session = cluster.content(0);
    session.run("create table t(id int)");
    session.run("begin");
    session.run("insert into t values (1)");
    let primary = cluster.status().pair(0).primary;
    let before = cpu_ticks(primary.running());
    session.send(&format!("insert into t {ENDLESS}")).expect("the gateway takes it");
    wait_for("the statement to run", secs(20), || cpu_ticks(primary.running()) > before + 20);
    processes::kill(primary.running());
    let reply = session.receive().expect("an answer");
    assert_eq!(reply.sqlstate(), Some("40001"), "without COMMIT nothing was committed for certain: {reply:?}");
    assert!(session.query("rollback").expect("an answer").error.is_none());
    assert_eq!(session.number("select count(*) from t"), 0);
}

/// Ticks of processor time a process has used, proc(5).
fn cpu_ticks(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let after_name = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
    let field = |n: usize| after_name.split(' ').nth(n).and_then(|f| f.parse::<u64>().ok()).unwrap_or(0);
    // utime and stime are fields 14 and 15; the state, field 3, is the first one here.
    field(11) + field(12)
}

#[test]
fn a_statement_waits_for_a_primary_and_is_then_refused_with_57p03_and_the_reason() {
    let cluster = Cluster::new(1);
    let pair = cluster.status().pair(0);
    let mut session = cluster.content(0);
    session.run("create table t(id int)");
    processes::kill(pair.mirror.running());
    cluster.wait_for_pair(0, TRACKING, secs(20));
    processes::kill(pair.primary.running());
    wait_for("the double fault to be seen", secs(20), || !cluster.status().operational);
    let reply = session.query("insert into t values (1)").expect("an answer");
    assert_eq!(reply.sqlstate(), Some("57P03"), "{reply:?}");
    let message = reply.error.expect("an error").message;
    assert!(message.contains("content 0"), "the reason: {message}");
}

#[test]
fn rebalance_fails_open_transactions_and_finishes_the_rest() {
    let cluster = Cluster::new(1);
    cluster.fail_over(0);
    cluster.outcome("recover()");
    let (mut open, mut idle) = (cluster.content(0), cluster.content(0));
    idle.run("create table t(id int)");
    open.run("begin");
    open.run("insert into t values (1)");
    cluster.outcome("rebalance()");
    assert_eq!(open.query("insert into t values (2)").expect("an answer").sqlstate(), Some("25P02"));
    assert!(open.query("commit").expect("an answer").has_tag("ROLLBACK"));
    idle.run("insert into t values (3)");
    assert_eq!(idle.rows("select id from t"), ["3"]);
}
