//! PostgreSQL clients: Debian's psql and pgbench, and a driver with the extended protocol.

use crate::support::command::run;
use crate::support::wait::secs;
use crate::support::{Cluster, Wire, wait_for};

#[test]
fn psql_reads_the_catalog_by_its_greenplum_names() {
    let cluster = Cluster::new(2);
    let sql = "select dbid, role, preferred_role, mode, status from gp_segment_configuration \
               where content >= 0 order by content, role desc;";
    let ran = cluster.psql("postgres", &["--command", sql], "").ok();
    let expected: Vec<String> = [0, 1]
        .iter()
        .flat_map(|content| {
            let pair = cluster.status().pair(*content);
            [pair.primary, pair.mirror].map(|s| format!("{}|{}|{}|s|u", s.dbid, s.role, s.role))
        })
        .collect();
    assert_eq!(ran.stdout.lines().collect::<Vec<_>>(), expected);

    let coordinator = "select content, dbid from gp_segment_configuration where dbid = 1";
    assert_eq!(cluster.psql("postgres", &["--command", coordinator], "").ok().text(), "-1|1");
    let columns = "select time, dbid, \"desc\" from gp_configuration_history limit 1";
    cluster.psql("postgres", &["--command", columns], "").ok();
    let probe = cluster.psql("postgres", &["--command", "select gp_request_fts_probe_scan()"], "").ok();
    assert_eq!(probe.text(), "t", "as Greenplum answers");
    assert_eq!(cluster.psql("postgres", &["--command", "select 1 + 1"], "").ok().text(), "2");
}

#[test]
fn the_catalog_cannot_be_written_by_a_client() {
    let cluster = Cluster::new(1);
    let reply = cluster.catalog().query("update gp_segment_configuration set status = 'd'").expect("an answer");
    assert!(reply.error.is_some(), "{reply:?}");
    assert!(cluster.status().is_synchronized());
}

#[test]
fn psql_creates_inserts_selects_and_rolls_back() {
    let cluster = Cluster::new(2);
    let script = "create table t(id int primary key, v text);\n\
                  insert into t values (1, 'one'), (2, null);\n\
                  begin;\ninsert into t values (3, 'never');\nselect count(*) from t;\nrollback;\n\
                  select id, v from t order by id;\n";
    let ran = cluster.psql("content0", &["--quiet"], script).ok();
    assert_eq!(ran.stdout, "3\n1|one\n2|\n");

    let other = cluster.psql("content1", &["--command", "select * from t"], "");
    assert_ne!(other.code, 0, "content 1 is another database");
    assert!(other.stderr.contains("t"), "{}", other.stderr);
}

#[test]
fn an_open_transaction_does_not_show_in_another_session() {
    let cluster = Cluster::new(1);
    let (mut one, mut two) = (cluster.content(0), cluster.content(0));
    one.run("create table t(id int)");
    assert_eq!(one.run("begin").state, Some('T'));
    one.run("insert into t values (1)");
    assert_eq!(one.number("select count(*) from t"), 1);
    assert_eq!(two.number("select count(*) from t"), 0);
    one.run("commit");
    assert_eq!(two.number("select count(*) from t"), 1);
}

#[test]
fn a_snapshot_does_not_move_within_a_transaction() {
    let cluster = Cluster::new(1);
    let (mut reader, mut writer) = (cluster.content(0), cluster.content(0));
    writer.run("create table t(id int)");
    reader.run("begin");
    assert_eq!(reader.number("select count(*) from t"), 0);
    writer.run("insert into t values (1)");
    assert_eq!(reader.number("select count(*) from t"), 0);
    reader.run("commit");
    assert_eq!(reader.number("select count(*) from t"), 1);
}

#[test]
fn pgbench_runs_its_transactions_on_a_content() {
    let cluster = Cluster::new(1);
    cluster.content(0).run("create table bench(id bigint, filler text)");
    let script = "\\set id random(1, 100000)\nBEGIN;\nINSERT INTO bench VALUES (:id, 'pgbench');\nEND;\n\
                  SELECT count(*) FROM bench WHERE id = :id;\n";
    let file = cluster.place().file("bench.sql", script);
    let mut pgbench = cluster.client("pgbench", "content0");
    pgbench.args(["-n", "-M", "simple", "--client=2", "--jobs=2", "--transactions=40", "-f"]).arg(file);
    let ran = run(pgbench, "").ok();
    assert!(ran.stdout.contains("number of transactions actually processed: 80/80"), "{}", ran.stdout);
    assert_eq!(cluster.content(0).number("select count(*) from bench"), 80);
}

#[test]
fn a_database_that_is_not_there_is_refused_with_the_names_of_those_that_are() {
    let cluster = Cluster::new(1);
    let refusal = Wire::connect(&cluster.socket(), "content7").err().expect("no such content");
    assert!(refusal.contains("3D000") && refusal.contains("content0"), "{refusal}");
}

#[test]
fn errors_carry_the_sqlstate_that_clients_branch_on() {
    let cluster = Cluster::new(1);
    let mut wire = cluster.content(0);
    wire.run("create table t(id int primary key, v text not null, check (id > 0))");
    wire.run("insert into t values (1, 'a')");
    for (sql, code) in [
        ("select * from no_such_table", "42P01"),
        ("select no_such_column from t", "42703"),
        ("selec 1", "42601"),
        ("insert into t values (1, 'b')", "23505"),
        ("insert into t values (2, null)", "23502"),
        ("insert into t values (-1, 'c')", "23514"),
    ] {
        let reply = wire.query(sql).expect("an answer");
        assert_eq!(reply.sqlstate(), Some(code), "`{sql}`: {reply:?}");
        assert_eq!(reply.state, Some('I'));
    }
    wire.run("begin");
    assert_eq!(wire.query("selec 1").expect("an answer").state, Some('E'));
    assert_eq!(wire.query("select 1").expect("an answer").sqlstate(), Some("25P02"));
    assert!(wire.query("commit").expect("an answer").has_tag("ROLLBACK"), "a failed transaction is never committed");
}

#[test]
fn a_statement_timeout_cancels_the_statement_and_nothing_else() {
    let cluster = Cluster::new(1);
    let mut wire = cluster.content(0);
    wire.run("set statement_timeout = '200ms'");
    let reply = wire.query(ENDLESS).expect("an answer");
    assert_eq!(reply.sqlstate(), Some("57014"), "{reply:?}");
    assert_eq!(wire.number("select 1"), 1);
}

/// Runs until something stops it.
pub const ENDLESS: &str =
    "with recursive n(i) as (select 1 union all select i + 1 from n) select count(*) from n where i < 0";

#[test]
fn a_driver_prepares_binds_and_keeps_its_statements_across_a_failover() {
    let cluster = Cluster::new(1);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let (client, connection) = runtime.block_on(driver(&cluster)).expect("the driver connects");
    let background = runtime.spawn(connection);
    let (insert, select) = runtime.block_on(async {
        client.batch_execute("create table t(id bigint, v text)").await.expect("create");
        let insert = client.prepare("insert into t(id, v) values ($1, $2)").await.expect("prepare");
        let select = client.prepare("select v from t where id = $1").await.expect("prepare");
        assert_eq!(client.execute(&insert, &[&1_i64, &"before"]).await.expect("execute"), 1);
        (insert, select)
    });
    let former = cluster.status().pair(0).primary.dbid;
    assert_ne!(cluster.fail_over(0).pair(0).primary.dbid, former);
    runtime.block_on(async {
        assert_eq!(client.execute(&insert, &[&2_i64, &"after"]).await.expect("the statement is parsed again"), 1);
        for (id, value) in [(1_i64, "before"), (2, "after")] {
            let row = client.query_one(&select, &[&id]).await.expect("a row");
            assert_eq!(row.get::<_, String>(0), value);
        }
    });
    assert!(!background.is_finished(), "it is the session from before the failover");
}

type Driver = tokio_postgres::Connection<tokio_postgres::Socket, tokio_postgres::tls::NoTlsStream>;

async fn driver(cluster: &Cluster) -> Result<(tokio_postgres::Client, DriverTask), tokio_postgres::Error> {
    let mut config = tokio_postgres::Config::new();
    config.host_path(cluster.socket_dir()).port(cluster.port()).user("tester").dbname("content0");
    let (client, connection) = config.connect(tokio_postgres::NoTls).await?;
    Ok((client, drive(connection)))
}

type DriverTask = std::pin::Pin<Box<dyn Future<Output = Result<(), tokio_postgres::Error>> + Send>>;

fn drive(connection: Driver) -> DriverTask {
    Box::pin(connection)
}

#[test]
fn a_distributed_query_answers_from_every_content_or_not_at_all() {
    let cluster = Cluster::new(2);
    for content in [0, 1] {
        cluster.content(content).run("create table t(v int)");
        cluster.content(content).run(&format!("insert into t values ({})", 10 + content));
    }
    let code = r#"for row in sql_all("select v from t") { print(row["v"]); }"#;
    let ran = cluster.script(code).ok();
    let mut values: Vec<&str> = ran.stdout.lines().collect();
    values.sort_unstable();
    assert_eq!(values, ["10", "11"]);

    let pair = cluster.status().pair(1);
    crate::support::processes::kill(pair.mirror.running());
    crate::support::processes::kill(pair.primary.running());
    wait_for("the double fault to be seen", secs(20), || !cluster.status().operational);
    let ran = cluster.script(code);
    assert_ne!(ran.code, 0);
    assert_eq!(ran.stdout, "", "no partial answer");
    assert!(ran.stderr.contains("content 1"), "{}", ran.stderr);
    assert_eq!(cluster.content(0).number("select v from t"), 10, "sessions on living contents go on");
    assert!(cluster.catalog().number("select count(*) from gp_segment_configuration") == 5);
}

#[test]
fn temporary_tables_are_gone_after_a_failover_with_a_notice() {
    let cluster = Cluster::new(1);
    let mut wire = cluster.content(0);
    wire.run("create temporary table scratch(id int)");
    wire.run("insert into scratch values (1)");
    cluster.fail_over(0);
    let reply = wire.query("select * from scratch").expect("the session goes on");
    assert_eq!(reply.sqlstate(), Some("42P01"), "{reply:?}");
    assert!(!reply.notices.is_empty(), "it was said: {reply:?}");
}
