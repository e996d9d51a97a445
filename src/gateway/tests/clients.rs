//! Real clients through the front: psql and tokio-postgres.

use super::Stage;
use super::client::Client;
use std::process::{Output, Stdio};
use tokio::process::Command;
use tokio_postgres::{Config, NoTls, SimpleQueryMessage};

async fn psql(host: &str, port: u16, database: &str, sql: &str, password: &str) -> Output {
    Command::new("psql")
        .args(["-X", "-At", "-v", "ON_ERROR_STOP=1", "-v", "VERBOSITY=verbose"])
        .args(["-h", host, "-p", &port.to_string(), "-U", "ann", "-d", database])
        .args(["-w", "-c", sql])
        .env("PGPASSWORD", password)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .expect("psql is installed")
}

fn unix(stage: &Stage, database: &str) -> Config {
    let mut config = Config::new();
    config.host_path(stage.socket_dir()).port(5432).user("ann").dbname(database);
    config
}

async fn connect(config: &Config) -> tokio_postgres::Client {
    let (client, connection) = config.connect(NoTls).await.expect("the front takes it");
    tokio::spawn(connection);
    client
}

#[tokio::test]
async fn psql_reads_a_content_and_the_catalog() {
    let stage = Stage::new().await;
    for database in ["content0", "postgres"] {
        let output = psql(&stage.socket_dir(), 5432, database, "select 42", "").await;
        assert!(output.status.success(), "{output:?}");
        assert_eq!(String::from_utf8_lossy(&output.stdout), "42\n");
    }
}

#[tokio::test]
async fn psql_is_told_which_databases_there_are() {
    let stage = Stage::new().await;
    let output = psql(&stage.socket_dir(), 5432, "other", "select 1", "").await;
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("there are postgres, content0, content1"), "{text}");
}

#[tokio::test]
async fn psql_shows_the_sqlstate_of_a_loss() {
    let stage = Stage::new().await;
    let output = psql(&stage.socket_dir(), 5432, "content0", "insert die", "").await;
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("08007") && text.contains("HINT"), "{text}");
}

#[tokio::test]
async fn tokio_postgres_keeps_its_prepared_statement_over_a_switch() {
    let mut stage = Stage::new().await;
    let client = connect(&unix(&stage, "content0")).await;
    let statement = client.prepare("select 7").await.unwrap();
    let row = client.query_one(&statement, &[]).await.unwrap();
    assert_eq!(row.get::<_, &str>(0), "7");
    stage.switch().await.kill();
    let row = client.query_one(&statement, &[]).await.unwrap();
    assert_eq!(row.get::<_, &str>(0), "7");
}

#[tokio::test]
async fn tokio_postgres_sees_a_lost_transaction_as_rolled_back() {
    let mut stage = Stage::new().await;
    let mut client = connect(&unix(&stage, "content0")).await;
    let transaction = client.transaction().await.unwrap();
    transaction.execute("insert 1", &[]).await.unwrap();
    stage.switch().await.kill();
    let error = transaction.execute("insert 2", &[]).await.unwrap_err();
    assert_eq!(error.code().unwrap().code(), "25P02");
    transaction.rollback().await.unwrap();
    assert_eq!(client.execute("insert 3", &[]).await.unwrap(), 1);
    assert_eq!(stage.segment.executed(), ["insert 3"]);
}

#[tokio::test]
async fn tokio_postgres_cancels_on_a_content_and_on_the_catalog() {
    let stage = Stage::new().await;
    let client = connect(&unix(&stage, "content0")).await;
    let token = client.cancel_token();
    let running = tokio::spawn(async move { client.simple_query("select hang").await });
    stage.segment.has_got("hang").await;
    token.cancel_query(NoTls).await.unwrap();
    let error = running.await.unwrap().unwrap_err();
    assert_eq!(error.code().unwrap().code(), "57014");

    let catalog = connect(&unix(&stage, "postgres")).await;
    let token = catalog.cancel_token();
    let running = catalog.simple_query("select hang");
    tokio::pin!(running);
    let mut repeat = tokio::time::interval(std::time::Duration::from_millis(5));
    let error = loop {
        tokio::select! {
            ended = &mut running => break ended.unwrap_err(),
            _ = repeat.tick() => token.cancel_query(NoTls).await.unwrap(),
        }
    };
    assert_eq!(error.code().unwrap().code(), "57014");
}

#[tokio::test]
async fn over_tcp_only_the_right_password_is_taken() {
    let stage = Stage::with_tcp("*:*:*:ann:right\n*:*:content0:bob:other\n").await;
    let address = stage.front.tcp_address().unwrap();
    let mut config = Config::new();
    config.host(address.ip().to_string()).port(address.port()).user("ann").password("right").dbname("content0");
    let client = connect(&config).await;
    let messages = client.simple_query("select 1").await.unwrap();
    let rows = messages.iter().filter(|m| matches!(m, SimpleQueryMessage::Row(_)));
    assert_eq!(rows.count(), 1);
    for (user, password, database) in
        [("ann", "wrong", "content0"), ("eve", "right", "content0"), ("bob", "other", "postgres")]
    {
        config.user(user).password(password).dbname(database);
        let error = config.connect(NoTls).await.err().unwrap();
        assert_eq!(error.code().unwrap().code(), "28P01", "{user}");
    }
    assert_eq!(stage.segment.startups().len(), 1);
}

#[tokio::test]
async fn psql_logs_in_over_tcp() {
    let stage = Stage::with_tcp("*:*:*:ann:a:b c\n").await;
    let address = stage.front.tcp_address().unwrap();
    let host = address.ip().to_string();
    for database in ["postgres", "content0"] {
        let output = psql(&host, address.port(), database, "select 5", "a:b c").await;
        assert_eq!(String::from_utf8_lossy(&output.stdout), "5\n", "{output:?}");
    }
}

#[tokio::test]
async fn two_sessions_do_not_share_a_transaction() {
    let stage = Stage::new().await;
    let mut one = Client::new(&stage).await;
    let mut two = Client::new(&stage).await;
    assert_eq!(one.query("begin").await.last().unwrap(), "Z T");
    assert_eq!(two.query("insert 1").await.last().unwrap(), "Z I");
    assert_eq!(stage.segment.startups().len(), 2);
}
