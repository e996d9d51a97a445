//! SQL sessions as clients see them: psql, pgbench, tokio-postgres, and what is done to them from
//! outside.

mod sql_support;

#[path = "sql_support/server.rs"]
mod server;

use segsh::engine::storage::Storage;
use segsh::segment::vfs::{CheckpointConfig, Checkpointer};
use server::{ENDLESS, PATIENCE, PSQL, Server, code, err, out, server, until};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio_postgres::error::SqlState;
use tokio_postgres::{NoTls, SimpleQueryMessage};

#[test]
fn psql_creates_inserts_selects_and_rolls_back() {
    let server = server();
    let made = server.psql("create table t(a int primary key, b text); insert into t values (1, 'one'), (2, null)");
    assert_eq!(out(&made), "CREATE TABLE\nINSERT 0 2", "{}", err(&made));
    let rolled = server.psql("begin; delete from t; rollback");
    assert_eq!(out(&rolled), "BEGIN\nDELETE 2\nROLLBACK", "{}", err(&rolled));
    assert_eq!(out(&server.psql("select * from t order by a")), "1|one\n2|");
    let duplicate = server.psql("insert into t values (1, 'again')");
    assert!(err(&duplicate).contains("23505"), "{}", err(&duplicate));
    let version = out(&server.psql("select version()"));
    assert!(version.contains("segsh test"), "{version}");
}

#[test]
fn a_batch_without_begin_is_one_transaction() {
    let server = server();
    server.psql("create table t(a int primary key)");
    let batch = server.psql("insert into t values (1); insert into t values (1)");
    assert!(err(&batch).contains("23505"));
    assert_eq!(out(&server.psql("select count(*) from t")), "0");
}

#[test]
fn psql_s_catalog_commands_fail_with_a_hint() {
    let server = server();
    let answer = err(&server.psql("\\dt"));
    assert!(answer.contains("sqlite_schema"), "{answer}");
    let answer = err(&server.psql("\\l"));
    assert!(answer.contains("content0"), "{answer}");
}

#[test]
fn an_unknown_database_is_refused() {
    let server = server();
    let answer = Command::new(PSQL)
        .args(["-X", "-h"])
        .arg(server.socket_dir())
        .args(["-p", "5432", "-U", "x", "-d", "nowhere", "-c", "select 1"])
        .output()
        .unwrap();
    assert!(err(&answer).contains("does not exist"), "{}", err(&answer));
}

#[test]
fn an_open_transaction_does_not_show_in_another_session() {
    let server = server();
    let (a, b) = (server.connect(), server.connect());
    server.run(&a, "create table t(a int)");
    server.run(&a, "begin");
    server.run(&a, "insert into t values (1)");
    assert_eq!(server.value(&b, "select count(*) from t"), "0");
    server.run(&a, "commit");
    assert_eq!(server.value(&b, "select count(*) from t"), "1");
}

#[test]
fn pgbench_runs_in_every_mode() {
    let server = server();
    server.psql("create table t(id integer primary key, n int)");
    let script = server.dir.path().join("script.sql");
    std::fs::write(
        &script,
        "\\set x random(1, 1000)\n\
         insert into t(n) values (:x);\n\
         begin;\nselect count(*) from t where n = :x;\nupdate t set n = n + 1 where id = 1;\nend;\n",
    )
    .unwrap();
    for mode in ["simple", "extended", "prepared"] {
        let output = server.pgbench(mode, &script);
        let text = out(&output);
        // A deferred transaction that read before it wrote may lose to another: 40001, as told.
        let failed = err(&output);
        assert!(
            text.contains("number of transactions actually processed") || failed.contains("could not serialize"),
            "{mode}: {text}\n{failed}"
        );
    }
    let insert = server.dir.path().join("insert.sql");
    std::fs::write(&insert, "insert into t(n) values (1);\nselect 1;\n").unwrap();
    server.psql("delete from t");
    for mode in ["simple", "extended", "prepared"] {
        let output = server.pgbench(mode, &insert);
        assert!(out(&output).contains("actually processed: 200/200"), "{mode}: {}\n{}", out(&output), err(&output));
    }
    assert_eq!(out(&server.psql("select count(*) from t")), "600");
}

#[test]
fn tokio_postgres_sends_and_gets_every_type() {
    let server = server();
    let mut client = server.connect();
    server.run(&client, "create table t(id bigint primary key, v text, f double precision, b bytea, ok boolean)");
    server.runtime.block_on(async {
        let n = client
            .execute(
                "insert into t(id, v, f, b, ok) values ($1, $2, $3, $4, $5)",
                &[&7i64, &"seven", &1.5f64, &&b"\x00\xff"[..], &true],
            )
            .await
            .unwrap();
        assert_eq!(n, 1);
        let row = client.query_one("select id, v, f, b, ok, count(*) from t where id = $1", &[&7i64]).await.unwrap();
        assert_eq!(row.get::<_, i64>(0), 7);
        assert_eq!(row.get::<_, &str>(1), "seven");
        assert_eq!(row.get::<_, f64>(2), 1.5);
        assert_eq!(row.get::<_, &[u8]>(3), b"\x00\xff");
        assert!(row.get::<_, bool>(4));
        assert_eq!(row.get::<_, i64>(5), 1);
        let swapped = client.query_one("select $2 || '-' || $1", &[&"one", &"two"]).await.unwrap();
        assert_eq!(swapped.get::<_, &str>(0), "two-one");
        let hinted = client.query_one("select $1::int8 + 1", &[&41i64]).await.unwrap();
        assert_eq!(hinted.len(), 1);

        let transaction = client.transaction().await.unwrap();
        transaction.execute("delete from t", &[]).await.unwrap();
        transaction.rollback().await.unwrap();
        let transaction = client.transaction().await.unwrap();
        for id in 10..20i64 {
            transaction.execute("insert into t(id) values ($1)", &[&id]).await.unwrap();
        }
        let portal = transaction.bind("select id from t order by id", &[]).await.unwrap();
        let mut pages = Vec::new();
        loop {
            let page = transaction.query_portal(&portal, 4).await.unwrap();
            if page.is_empty() {
                break;
            }
            pages.push(page.len());
        }
        assert_eq!(pages, [4, 4, 3]);
        transaction.commit().await.unwrap();
        let error = client.execute("insert into t(id) values ($1)", &[&7i64]).await.unwrap_err();
        assert_eq!(error.code(), Some(&SqlState::UNIQUE_VIOLATION));
        assert_eq!(client.query("select id from t", &[]).await.unwrap().len(), 11);
    });
}

#[test]
fn a_failed_transaction_answers_25p02_until_it_is_ended_and_commit_says_rollback() {
    let server = server();
    let client = server.connect();
    server.run(&client, "create table t(a int primary key)");
    server.run(&client, "begin");
    server.run(&client, "insert into t values (1)");
    assert_eq!(server.fails(&client, "insert into t values (1)"), "23505");
    assert_eq!(server.fails(&client, "select 1"), "25P02");
    assert_eq!(server.fails(&client, "set lock_timeout = 1"), "25P02");
    server.run(&client, "commit");
    assert_eq!(server.value(&client, "select count(*) from t"), "0");
    assert_eq!(out(&server.psql("begin; select nothing; commit; select 1")), "BEGIN");
}

#[test]
fn a_savepoint_brings_a_failed_transaction_back() {
    let server = server();
    let client = server.connect();
    server.run(&client, "create table t(a int primary key)");
    server.run(&client, "begin; insert into t values (1); savepoint s");
    assert_eq!(server.fails(&client, "insert into t values (1)"), "23505");
    server.run(&client, "rollback to savepoint s");
    server.run(&client, "insert into t values (2); release s; commit");
    assert_eq!(server.value(&client, "select count(*) from t"), "2");
    assert_eq!(server.fails(&client, "savepoint s"), "25P01");
}

#[test]
fn a_cancel_request_stops_the_statement_and_the_session_goes_on() {
    let server = server();
    let client = server.connect();
    let token = client.cancel_token();
    let running = server.runtime.spawn(async move {
        let answer = client.simple_query(ENDLESS).await.map(drop);
        (answer, client)
    });
    until(|| server.host.permits.load(Ordering::SeqCst) > 0);
    server.runtime.block_on(token.cancel_query(NoTls)).unwrap();
    let (answer, client) = server.runtime.block_on(running).unwrap();
    assert_eq!(code(&answer.unwrap_err()), "57014");
    assert_eq!(server.value(&client, "select 1"), "1");
}

#[test]
fn statement_timeout_and_lock_timeout_hold() {
    let server = server();
    let (a, b) = (server.connect(), server.connect());
    server.run(&a, "create table t(a int)");
    server.run(&a, "set statement_timeout = '50ms'");
    assert_eq!(server.fails(&a, ENDLESS), "57014");
    assert_eq!(server.fails(&a, "select pg_sleep(60)"), "57014");
    server.run(&a, "set statement_timeout = 0");
    server.run(&b, "begin; insert into t values (1)");
    server.run(&a, "set lock_timeout = '20ms'");
    assert_eq!(server.fails(&a, "insert into t values (2)"), "55P03");
    server.run(&b, "commit");
    server.run(&a, "insert into t values (2)");
    assert_eq!(server.value(&a, "show lock_timeout"), "20ms");
}

#[test]
fn a_client_that_idles_in_a_transaction_is_let_go() {
    let server = server();
    let (a, b) = (server.connect(), server.connect());
    server.run(&a, "create table t(a int)");
    server.run(&a, "set idle_in_transaction_session_timeout = '30ms'");
    server.run(&a, "begin; insert into t values (1)");
    until(|| server.sessions.count() == 1);
    server.run(&b, "insert into t values (2)");
    assert_eq!(server.value(&b, "select count(*) from t"), "1");
}

#[test]
fn a_transaction_that_read_before_another_wrote_gets_40001_when_it_writes() {
    let server = server();
    let (a, b) = (server.connect(), server.connect());
    server.run(&a, "create table t(a int)");
    server.run(&a, "begin; select count(*) from t");
    server.run(&b, "insert into t values (1)");
    assert_eq!(server.fails(&a, "insert into t values (2)"), "40001");
    assert_eq!(server.fails(&a, "select 1"), "25P02");
    server.run(&a, "rollback");
    server.run(&a, "insert into t values (2)");
}

#[test]
fn a_drain_cancels_statements_fails_transactions_and_holds_what_comes() {
    let server = server();
    let (open, running, idle) = (server.connect(), server.connect(), server.connect());
    server.run(&open, "create table t(a int)");
    server.run(&open, "begin; insert into t values (1)");
    let endless = server.runtime.spawn(async move {
        let answer = running.simple_query(ENDLESS).await.map(drop);
        (answer, running)
    });
    // The endless statement is under way once a drain meets it: until then it would be held.
    let held = loop {
        let drained = server.sessions.drain("moving away", PATIENCE);
        assert_eq!(drained.forced, 0);
        if endless.is_finished() {
            break endless;
        }
        server.sessions.resume();
    };
    let (answer, running) = server.runtime.block_on(held).unwrap();
    assert_eq!(code(&answer.unwrap_err()), "40001");
    // Held statements wait; the failed transaction may be ended all the same.
    let waiting = server.runtime.spawn(async move { idle.simple_query("insert into t values (2)").await.map(drop) });
    assert_eq!(server.fails(&open, "insert into t values (3)"), "25P02");
    server.run(&open, "commit");
    assert!(!waiting.is_finished());
    server.sessions.resume();
    server.runtime.block_on(waiting).unwrap().unwrap();
    assert_eq!(server.value(&running, "select count(*) from t"), "1");
}

#[test]
fn a_commit_in_flight_survives_a_drain() {
    let server = server();
    let client = server.connect();
    server.run(&client, "create table t(a int)");
    server.run(&client, "begin; insert into t values (1)");
    server.host.storage.hold_syncs(true);
    let committing = server.runtime.spawn(async move {
        let answer = client.simple_query("commit").await.map(drop);
        (answer, client)
    });
    until(|| server.host.storage.held_syncs.load(Ordering::SeqCst) > 0);
    std::thread::scope(|scope| {
        let draining = scope.spawn(|| server.sessions.drain("moving away", PATIENCE));
        server.host.storage.hold_syncs(false);
        let drained = draining.join().unwrap();
        assert_eq!((drained.failed, drained.forced), (0, 0));
    });
    let (answer, client) = server.runtime.block_on(committing).unwrap();
    answer.unwrap();
    server.sessions.resume();
    assert_eq!(server.value(&client, "select count(*) from t"), "1");
}

#[test]
fn close_all_ends_every_session_with_57p01_and_lets_nobody_in() {
    let server = server();
    let (idle, running) = (server.connect(), server.connect());
    let endless = server.runtime.spawn(async move { running.simple_query(ENDLESS).await.map(drop) });
    until(|| server.host.permits.load(Ordering::SeqCst) > 0);
    assert_eq!(server.sessions.close_all("going down", PATIENCE), 0);
    let answer = server.runtime.block_on(endless).unwrap().unwrap_err();
    assert_eq!(code(&answer), "57P01");
    assert!(server.runtime.block_on(idle.simple_query("select 1")).is_err());
    assert!(err(&server.psql("select 1")).contains("going down"));
    server.sessions.resume();
    assert_eq!(out(&server.psql("select 1")), "1");
}

#[test]
fn a_commit_whose_barrier_failed_is_an_unknown_outcome() {
    let server = server();
    let (a, b) = (server.connect(), server.connect());
    server.run(&a, "create table t(a int)");
    server.run(&a, "begin; insert into t values (1)");
    server.host.storage.fail_sync.store(true, Ordering::SeqCst);
    assert_eq!(server.fails(&a, "commit"), "08007");
    assert_eq!(server.fails(&b, "insert into t values (2)"), "08007");
}

/// Commits one row on a session of its own, whose sync does not end before it is let go.
fn commit_held(server: &Server, sql: &'static str) -> tokio::task::JoinHandle<Result<(), tokio_postgres::Error>> {
    let client = server.connect();
    let before = server.host.storage.position();
    server.host.storage.hold_syncs(true);
    let commit = server.runtime.spawn(async move { client.simple_query(sql).await.map(drop) });
    until(|| server.host.storage.position() > before);
    commit
}

#[test]
fn nobody_waits_to_write_for_the_sync_of_another_s_commit() {
    let server = server();
    let (a, b) = (server.connect(), server.connect());
    server.run(&a, "create table t(a int)");
    let first = commit_held(&server, "insert into t values (1)");
    let second = commit_held(&server, "update t set a = a + 1");
    assert!(!first.is_finished() && !second.is_finished(), "neither is durable");
    server.host.storage.hold_syncs(false);
    server.runtime.block_on(first).unwrap().unwrap();
    server.runtime.block_on(second).unwrap().unwrap();
    assert_eq!(server.value(&b, "select a from t"), "2");
}

#[test]
fn nothing_leaves_that_can_have_seen_a_commit_which_is_not_durable() {
    // Simple and extended, a result, an error, the columns of a table; and inside of a transaction.
    for sql in ["select count(*) from t", "begin; select count(*) from t", "insert into t values (1)"] {
        let server = server();
        let client = server.connect();
        server.run(&client, "create table t(a int primary key)");
        let commit = commit_held(&server, "insert into t values (1)");
        let asked = server.runtime.spawn(async move { client.simple_query(sql).await.map(drop) });
        until(|| server.host.storage.held_syncs.load(Ordering::SeqCst) > 1);
        assert!(!asked.is_finished(), "{sql}");
        server.host.storage.fail_sync.store(true, Ordering::SeqCst);
        server.host.storage.hold_syncs(false);
        let told = server.runtime.block_on(asked).unwrap().unwrap_err();
        assert_eq!(code(&told), "57P01", "{sql}");
        assert_eq!(code(&server.runtime.block_on(commit).unwrap().unwrap_err()), "08007");
    }
    let server = server();
    let client = server.connect();
    // The first commit of a log waits for the log's header.
    server.run(&client, "create table other(a int)");
    let ddl = commit_held(&server, "create table t(a int)");
    let asked = server.runtime.spawn(async move { client.prepare("select a from t").await.map(drop) });
    until(|| server.host.storage.held_syncs.load(Ordering::SeqCst) > 1);
    server.host.storage.fail_sync.store(true, Ordering::SeqCst);
    server.host.storage.hold_syncs(false);
    assert_eq!(code(&server.runtime.block_on(asked).unwrap().unwrap_err()), "57P01");
    assert_eq!(code(&server.runtime.block_on(ddl).unwrap().unwrap_err()), "08007");
}

#[test]
fn a_read_that_waits_for_another_s_commit_can_be_cancelled_and_the_commit_cannot() {
    let server = server();
    let client = server.connect();
    server.run(&client, "create table t(a int)");
    let commit = commit_held(&server, "set statement_timeout = '20ms'; insert into t values (1)");
    server.run(&client, "set statement_timeout = '20ms'");
    assert_eq!(server.fails(&client, "select count(*) from t"), "57014");
    assert!(!commit.is_finished());
    server.host.storage.hold_syncs(false);
    server.runtime.block_on(commit).unwrap().unwrap();
    assert_eq!(server.value(&client, "select count(*) from t"), "1");
}

#[test]
fn what_follows_a_commit_in_its_message_follows_when_it_is_durable() {
    let server = server();
    let client = server.connect();
    server.run(&client, "create table t(a int)");
    let before = server.host.storage.syncs.load(Ordering::SeqCst);
    server.run(&client, "begin; insert into t values (1); commit; begin; insert into t values (2); commit");
    assert_eq!(server.host.storage.syncs.load(Ordering::SeqCst), before + 2);
    server.host.storage.fail_sync.store(true, Ordering::SeqCst);
    let committed = server.host.storage.position();
    assert_eq!(server.fails(&client, "begin; insert into t values (3); commit; begin; delete from t; commit"), "08007");
    assert_eq!(server.host.storage.position().0, committed.0 + 1, "the second transaction never ran");
}

#[test]
fn a_write_whose_returned_row_cannot_be_sent_is_not_committed() {
    let server = server();
    let (client, other) = (server.connect(), server.connect());
    server.run(&client, "create table t(a int)");
    // Text in an int column has no binary form.
    let insert = client.query("insert into t values (1), ('abc') returning a", &[]);
    assert_eq!(code(&server.runtime.block_on(insert).unwrap_err()), "42804");
    // More than a write may hold back in memory until it is committed.
    let large = "with recursive n(i) as (select 1 union all select i + 1 from n where i < 80) \
                 insert into t select i from n returning printf('%01000000d', a)";
    assert_eq!(server.fails(&client, large), "54000");
    assert_eq!(server.value(&other, "select count(*) from t"), "0");
    assert_eq!(server.value(&client, "insert into t values (7) returning a"), "7");
    assert_eq!(server.value(&other, "select count(*) from t"), "1");
    server.host.storage.fail_sync.store(true, Ordering::SeqCst);
    assert_eq!(server.fails(&client, "insert into t values (8) returning a"), "08007");
}

#[test]
fn a_full_disk_is_53100_and_passes() {
    let server = server();
    let client = server.connect();
    server.run(&client, "create table t(a int)");
    server.host.storage.disk_full.store(true, Ordering::SeqCst);
    assert_eq!(server.fails(&client, "insert into t values (1)"), "53100");
    server.host.storage.disk_full.store(false, Ordering::SeqCst);
    server.run(&client, "insert into t values (1)");
}

#[test]
fn a_fenced_segment_answers_no_read_and_a_suspended_one_waits() {
    let server = server();
    let (a, b) = (server.connect(), server.connect());
    server.run(&a, "create table t(a int)");
    server.host.storage.suspend_reads(true);
    let waiting = server.runtime.spawn(async move {
        let answer = b.simple_query("select 1").await.map(drop);
        (answer, b)
    });
    assert!(!waiting.is_finished());
    server.host.storage.suspend_reads(false);
    let (answer, b) = server.runtime.block_on(waiting).unwrap();
    answer.unwrap();
    server.host.storage.fenced.store(true, Ordering::SeqCst);
    assert_eq!(server.fails(&a, "select count(*) from t"), "57P01");
    assert_eq!(server.fails(&b, "insert into t values (1)"), "57P01");
}

#[test]
fn a_suspended_read_is_reached_by_a_timeout_a_cancel_and_a_drain() {
    let server = server();
    let client = server.connect();
    server.run(&client, "create table t(a int)");
    server.run(&client, "set statement_timeout = 50");
    server.host.storage.suspend_reads(true);
    assert_eq!(server.fails(&client, "select 1"), "57014");
    server.run(&client, "set statement_timeout = 0");
    for expected in ["57014", "40001"] {
        let before = server.host.permits.load(Ordering::SeqCst);
        let (token, query) = (client.cancel_token(), client.simple_query("select 1"));
        let stopping = async {
            while server.host.permits.load(Ordering::SeqCst) == before {
                tokio::task::yield_now().await;
            }
            if expected == "57014" {
                token.cancel_query(NoTls).await.unwrap();
            } else {
                let sessions = server.sessions.clone();
                let drained = tokio::task::spawn_blocking(move || sessions.drain("moving", PATIENCE)).await.unwrap();
                assert_eq!(drained.forced, 0);
            }
        };
        let (answer, ()) = server.runtime.block_on(async { tokio::join!(query, stopping) });
        assert_eq!(code(&answer.unwrap_err()), expected);
    }
    server.sessions.resume();
    server.host.storage.suspend_reads(false);
    assert_eq!(server.value(&client, "select 1"), "1");
}

#[test]
fn the_rest_of_a_portal_needs_a_permit_and_a_transaction_that_stands() {
    let server = server();
    let mut client = server.connect();
    server.runtime.block_on(async {
        client.batch_execute("create table t(a int); insert into t values (1), (2), (3)").await.unwrap();
        let transaction = client.transaction().await.unwrap();
        let portal = transaction.bind("select a from t", &[]).await.unwrap();
        assert_eq!(transaction.query_portal(&portal, 1).await.unwrap().len(), 1);
        transaction.batch_execute("select nothing").await.unwrap_err();
        assert_eq!(code(&transaction.query_portal(&portal, 1).await.unwrap_err()), "25P02");
        transaction.rollback().await.unwrap();
        let transaction = client.transaction().await.unwrap();
        let portal = transaction.bind("select a from t", &[]).await.unwrap();
        assert_eq!(transaction.query_portal(&portal, 1).await.unwrap().len(), 1);
        server.host.storage.fenced.store(true, Ordering::SeqCst);
        assert_eq!(code(&transaction.query_portal(&portal, 1).await.unwrap_err()), "57P01");
    });
}

#[test]
fn who_is_stuck_in_a_sync_is_not_waited_for_beyond_patience_and_ends_when_the_segment_is_fenced() {
    const SHORT: Duration = Duration::from_millis(100);
    let server = server();
    let (committing, holding, waiting) = (server.connect(), server.connect(), server.connect());
    server.run(&committing, "create table t(a int)");
    server.host.storage.hold_syncs(true);
    let commit =
        server.runtime.spawn(async move { committing.simple_query("insert into t values (1)").await.map(drop) });
    until(|| server.host.storage.held_syncs.load(Ordering::SeqCst) > 0);
    server.run(&holding, "begin immediate");
    let before = server.host.permits.load(Ordering::SeqCst);
    let next = server.runtime.spawn(async move { waiting.simple_query("insert into t values (2)").await.map(drop) });
    until(|| server.host.permits.load(Ordering::SeqCst) > before);
    let begun = std::time::Instant::now();
    let drained = server.sessions.drain("moving", SHORT);
    assert_eq!((drained.sessions, drained.failed, drained.forced), (3, 1, 1));
    assert_eq!(server.sessions.close_all("the end", SHORT), 1);
    assert!(begun.elapsed() < PATIENCE);
    assert_eq!(code(&server.runtime.block_on(next).unwrap().unwrap_err()), "40001");
    server.host.storage.fail_sync.store(true, Ordering::SeqCst);
    server.host.storage.hold_syncs(false);
    until(|| server.sessions.count() == 0);
    // Its socket was closed: the client knows nothing, and must not be told anything definite.
    assert!(server.runtime.block_on(commit).unwrap().unwrap_err().code().is_none());
}

#[test]
fn a_long_result_is_streamed_whole() {
    let server = server();
    let client = server.connect();
    let rows = server.run(
        &client,
        "with recursive n(i) as (select 1 union all select i + 1 from n where i < 50000) \
         select i, printf('%0100d', i) from n",
    );
    let count = rows.iter().filter(|m| matches!(m, SimpleQueryMessage::Row(_))).count();
    assert_eq!(count, 50000);
}

#[test]
fn writers_of_many_sessions_never_meet_a_busy_database() {
    let server = server();
    let setup = server.connect();
    server.run(&setup, "create table t(a int)");
    let clients: Vec<_> = (0..8).map(|_| server.connect()).collect();
    let tasks: Vec<_> = clients
        .into_iter()
        .map(|client| {
            server.runtime.spawn(async move {
                for _ in 0..20 {
                    client.batch_execute("begin immediate; insert into t values (1); commit").await?;
                    client.batch_execute("insert into t values (2)").await?;
                }
                Ok::<(), tokio_postgres::Error>(())
            })
        })
        .collect();
    for task in tasks {
        server.runtime.block_on(task).unwrap().unwrap();
    }
    assert_eq!(server.value(&setup, "select count(*) from t"), "320");
}

#[test]
fn vacuum_and_settings_work_and_what_breaks_the_contract_is_refused() {
    let server = server();
    let client = server.connect();
    server.run(&client, "create table t(a int); insert into t values (1)");
    server.run(&client, "vacuum");
    assert_eq!(server.fails(&client, "pragma journal_mode = delete"), "0A000");
    assert_eq!(server.fails(&client, "attach 'x' as y"), "0A000");
    assert_eq!(server.fails(&client, "vacuum into 'x'"), "0A000");
    assert_eq!(server.fails(&client, "copy t from stdin"), "0A000");
    server.run(&client, "set search_path = x; reset all; discard all");
    assert_eq!(server.value(&client, "show server_version"), "15.0 (segsh test)");
    assert_eq!(server.fails(&client, "show nothing"), "42704");
}

#[test]
fn a_client_that_leaves_does_not_leave_its_statement_running() {
    let server = server();
    let client = server.connect();
    let running = server.runtime.spawn(async move { client.simple_query(ENDLESS).await.map(drop) });
    until(|| server.host.permits.load(Ordering::SeqCst) > 0);
    let psql = std::process::Command::new(PSQL)
        .args(["-X", "-h"])
        .arg(server.socket_dir())
        .args(["-p", "5432", "-U", "x", "-d", "content0", "-c", ENDLESS])
        .stderr(std::process::Stdio::null())
        .spawn();
    let mut psql = psql.unwrap();
    until(|| server.host.permits.load(Ordering::SeqCst) > 1);
    psql.kill().unwrap();
    psql.wait().unwrap();
    until(|| server.sessions.count() == 1);
    assert!(!running.is_finished());
    server.sessions.close_all("the end", PATIENCE);
}

#[test]
fn a_transaction_that_keeps_the_log_from_being_emptied_is_failed_before_the_log_is_full() {
    let server = server();
    let (reader, writer) = (server.connect(), server.connect());
    server.run(&writer, "create table t(a blob)");
    server.run(&reader, "begin; select count(*) from t");
    let sessions = server.sessions.clone();
    let config = CheckpointConfig {
        gate_bytes: 100 << 10,
        evict_bytes: 200 << 10,
        patience: Duration::from_millis(20),
        interval: Duration::from_millis(1),
        ..CheckpointConfig::default()
    };
    let evict = move || {
        sessions.fail_transactions("the log is too long", PATIENCE);
    };
    let _checkpointer =
        Checkpointer::start(&server.host.vfs, server.host.gate.clone(), config, Box::new(evict)).unwrap();
    server.run(&writer, "insert into t values (zeroblob(150000))");
    assert_eq!(server.value(&reader, "select count(*) from t"), "0");
    server.run(&writer, "insert into t values (zeroblob(150000))");
    until(|| server.host.vfs.log_bytes() == 0);
    assert_eq!(server.fails(&reader, "select count(*) from t"), "25P02");
    server.run(&reader, "rollback");
    assert_eq!(server.value(&reader, "select count(*) from t"), "2");
}

#[test]
fn the_socket_is_the_owner_s_alone() {
    use std::os::unix::fs::PermissionsExt;
    let server = server();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&server.socket_dir()), 0o700);
    assert_eq!(mode(&server.socket_dir().join(".s.PGSQL.5432")), 0o600);
}
