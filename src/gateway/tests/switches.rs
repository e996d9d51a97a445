//! What a session sees when its segment is lost.

use super::Stage;
use super::client::{Client, Extended};
use std::time::Duration;

const MOVED: &str = "N content 0 is now served to this session by dbid 3; its temporary tables are gone";

#[tokio::test]
async fn an_autocommit_write_in_flight_is_unknown_and_never_sent_again() {
    let mut stage = Stage::new().await;
    let mut client = Client::new(&stage).await;
    assert_eq!(client.query("insert die").await, ["E 08007", "Z I"]);
    assert_eq!(stage.router.troubles(), 1);
    stage.switch().await;
    let answer = client.query("select 2").await;
    assert_eq!(answer, [MOVED, "T", "D 2", "C SELECT 1", "Z I"]);
    assert_eq!(stage.segment.executed(), ["select 2"]);
}

#[tokio::test]
async fn a_read_in_flight_is_certain_to_have_committed_nothing() {
    let stage = Stage::new().await;
    let mut client = Client::new(&stage).await;
    assert_eq!(client.query("select die").await, ["E 40001", "Z I"]);
}

#[tokio::test]
async fn a_statement_in_a_transaction_fails_it_until_rollback() {
    let mut stage = Stage::new().await;
    let mut client = Client::new(&stage).await;
    assert_eq!(client.query("begin").await.last().unwrap(), "Z T");
    assert_eq!(client.query("insert die").await, ["E 40001", "Z E"]);
    stage.switch().await;
    assert_eq!(client.query("insert 1").await, ["E 25P02", "Z E"]);
    assert_eq!(client.query("rollback to a").await, ["E 25P02", "Z E"]);
    assert_eq!(client.query(" ; ").await, ["I", "Z E"]);
    assert_eq!(client.query("rollback").await, ["C ROLLBACK", "Z I"]);
    assert_eq!(client.query("insert 2").await, [MOVED, "C INSERT 0 1", "Z I"]);
    assert_eq!(stage.segment.executed(), ["insert 2"]);
}

#[tokio::test]
async fn an_idle_transaction_is_failed_and_its_commit_is_a_rollback() {
    let mut stage = Stage::new().await;
    let mut client = Client::new(&stage).await;
    client.query("begin; insert 1").await;
    stage.switch().await.kill();
    assert_eq!(client.query("insert 2").await, ["E 25P02", "Z E"]);
    assert_eq!(client.query("commit").await, ["C ROLLBACK", "Z I"]);
    assert!(stage.segment.executed().is_empty());
}

#[tokio::test]
async fn what_follows_the_rollback_of_a_lost_transaction_is_run() {
    let mut stage = Stage::new().await;
    let mut client = Client::new(&stage).await;
    client.query("begin").await;
    stage.switch().await;
    let answer = client.query("rollback; select 5; insert 6").await;
    let expected = ["C ROLLBACK", MOVED, "T", "D 5", "C SELECT 1", "C INSERT 0 1", "Z I"];
    assert_eq!(answer, expected);
    assert_eq!(stage.segment.executed(), ["select 5", "insert 6"]);
}

#[tokio::test]
async fn a_commit_in_flight_is_unknown() {
    let stage = Stage::new().await;
    let mut client = Client::new(&stage).await;
    client.query("begin; insert 1").await;
    assert_eq!(client.query("commit -- die").await, ["E 08007", "Z I"]);
}

#[tokio::test]
async fn a_begin_in_flight_leaves_the_transaction_failed() {
    let stage = Stage::new().await;
    let mut client = Client::new(&stage).await;
    assert_eq!(client.query("begin -- die").await, ["E 40001", "Z E"]);
    assert_eq!(client.query("insert 1").await, ["E 25P02", "Z E"]);
}

#[tokio::test]
async fn a_session_on_a_hung_primary_is_freed_by_the_switch() {
    let mut stage = Stage::new().await;
    let mut client = Client::new(&stage).await;
    client.send("insert hang").await;
    stage.segment.has_got("insert hang").await;
    let hung = stage.switch().await;
    assert_eq!(client.until_ready().await, ["E 08007", "Z I"]);
    assert_eq!(client.query("select 1").await[0], MOVED);
    hung.release();
    assert_eq!(client.query("select 3").await, ["T", "D 3", "C SELECT 1", "Z I"]);
    assert_eq!(stage.segment.executed(), ["select 1", "select 3"]);
}

#[tokio::test]
async fn a_row_written_for_the_same_process_disturbs_nothing() {
    let stage = Stage::new().await;
    let mut client = Client::new(&stage).await;
    client.send("insert hang").await;
    stage.segment.has_got("insert hang").await;
    stage.router.touch();
    stage.segment.release();
    assert_eq!(client.until_ready().await, ["C INSERT 0 1", "Z I"]);
}

#[tokio::test]
async fn a_result_of_a_process_that_no_longer_serves_is_dropped() {
    for (text, code) in [("select hang", "E 40001"), ("insert hang", "E 08007")] {
        let mut stage = Stage::new().await;
        stage.router.go_deaf();
        let mut client = Client::new(&stage).await;
        client.send(text).await;
        stage.segment.has_got(text).await;
        stage.switch().await.release();
        assert_eq!(client.until_ready().await, [code, "Z I"]);
    }
}

#[tokio::test]
async fn a_long_result_is_cut_with_an_error_when_its_process_no_longer_serves() {
    let mut stage = Stage::new().await;
    let mut client = Client::new(&stage).await;
    client.send("rows 3000; select hang").await;
    stage.segment.has_got("hang").await;
    let first = client.until(|tag| tag == b'D').await;
    assert_eq!(first[0], "T");
    stage.switch().await;
    let rest = client.until_ready().await;
    let rows = rest.iter().filter(|m| m.starts_with('D')).count();
    assert!(rows < 3000, "{rows} rows were passed on");
    assert_eq!(rest[rest.len() - 2..], ["E 08007", "Z I"]);
}

#[tokio::test]
async fn a_drained_primary_that_says_40001_is_believed() {
    let stage = Stage::new().await;
    let mut client = Client::new(&stage).await;
    assert_eq!(client.query("insert drain").await, ["E 40001", "Z I"]);
    let answer = client.query("insert 1; insert drain").await;
    assert_eq!(answer.last().unwrap(), "Z I");
    assert!(answer.contains(&"E 08007".to_owned()), "{answer:?}");
}

#[tokio::test]
async fn a_primary_that_leaves_has_committed_nothing_of_what_it_did_not_answer() {
    let stage = Stage::new().await;
    let mut client = Client::new(&stage).await;
    assert_eq!(client.query("insert leave").await, ["E 40001", "Z I"]);
    let answer = client.query("insert 1; insert leave").await;
    assert_eq!(answer.last().unwrap(), "Z I");
    assert!(answer.contains(&"E 08007".to_owned()), "{answer:?}");
}

#[tokio::test]
async fn without_a_primary_the_answer_is_57p03_after_the_limit() {
    let stage = Stage::with(|c| c.primary_wait = tokio::sync::watch::channel(Duration::from_millis(40)).1).await;
    let mut client = Client::new(&stage).await;
    stage.router.nobody();
    client.send("insert 1").await;
    assert_eq!(client.until_ready().await, ["E 57P03", "Z I"]);
    let batch = Extended::default().run("insert 1").run("insert 2").sync();
    client.write(&batch).await;
    assert_eq!(client.until_ready().await, ["E 57P03", "Z I"]);
    assert!(stage.segment.executed().is_empty());
}

#[tokio::test]
async fn a_primary_that_refuses_connections_is_tried_until_the_limit() {
    let mut stage = Stage::with(|c| c.primary_wait = tokio::sync::watch::channel(Duration::from_millis(60)).1).await;
    let mut client = Client::new(&stage).await;
    stage.segment.kill();
    assert_eq!(client.query("insert 1").await, ["E 57P03", "Z I"]);
    assert!(stage.router.troubles() > 1);
    stage.switch().await;
    let answer = client.query("insert 1").await;
    assert_eq!(answer[answer.len() - 2..], ["C INSERT 0 1", "Z I"]);
}

#[tokio::test]
async fn a_statement_that_waits_for_a_primary_runs_once_there_is_one() {
    let mut stage = Stage::new().await;
    let mut client = Client::new(&stage).await;
    stage.router.nobody();
    client.send("insert 1").await;
    stage.switch().await;
    let answer = client.until_ready().await;
    assert_eq!(answer[answer.len() - 2..], ["C INSERT 0 1", "Z I"]);
    assert_eq!(stage.segment.executed(), ["insert 1"]);
}

#[tokio::test]
async fn a_statement_of_a_client_that_left_while_it_waited_is_not_run() {
    let mut stage = Stage::new().await;
    let mut client = Client::new(&stage).await;
    stage.router.nobody();
    client.send("insert 1").await;
    drop(client);
    stage.front.idle().await;
    stage.switch().await;
    let mut other = Client::new(&stage).await;
    other.query("insert 2").await;
    assert_eq!(stage.segment.executed(), ["insert 2"]);
}

#[tokio::test]
async fn an_upstream_that_ended_while_idle_is_replaced_before_the_write() {
    let mut stage = Stage::new().await;
    let mut client = Client::new(&stage).await;
    client.query("select 1").await;
    stage.switch().await.kill();
    assert_eq!(client.query("insert 1").await, [MOVED, "C INSERT 0 1", "Z I"]);
}

#[tokio::test]
async fn prepared_statements_are_parsed_again_on_the_next_segment() {
    let mut stage = Stage::new().await;
    let mut client = Client::new(&stage).await;
    let prepare = Extended::default().parse("s", "select 7").sync();
    client.write(&prepare).await;
    let answer = client.until_ready().await;
    assert_eq!(answer[answer.len() - 2..], ["1", "Z I"]);
    for expected in [
        vec![MOVED, "2", "D 7", "C SELECT 1", "2", "D 7", "C SELECT 1", "Z I"],
        vec!["2", "D 7", "C SELECT 1", "2", "D 7", "C SELECT 1", "Z I"],
    ] {
        if expected[0] == MOVED {
            stage.switch().await;
        }
        let twice = Extended::default().bind("", "s").execute("");
        client.write(&twice.bind("", "s").execute("").sync()).await;
        assert_eq!(client.until_ready().await, expected);
    }
}

#[tokio::test]
async fn a_commit_by_the_extended_protocol_in_flight_is_unknown() {
    let stage = Stage::new().await;
    let mut client = Client::new(&stage).await;
    client.query("begin; insert 1").await;
    let batch = Extended::default().run("commit /* die */").sync();
    client.write(&batch).await;
    assert_eq!(client.until_ready().await, ["1", "2", "E 08007", "Z I"][2..]);
}

#[tokio::test]
async fn a_pipelined_transaction_that_is_lost_before_its_commit_is_failed() {
    let mut stage = Stage::new().await;
    let mut client = Client::new(&stage).await;
    let batch = Extended::default().run("begin").run("insert die").sync();
    client.write(&batch).await;
    assert_eq!(client.until_ready().await, ["E 40001", "Z E"]);
    stage.switch().await;
    let batch = Extended::default().run("insert 1").run("insert 2").sync();
    client.write(&batch).await;
    assert_eq!(client.until_ready().await, ["E 25P02", "Z E"]);
    let end = Extended::default().parse("c", "commit").describe(b'S', "c");
    let end = end.bind("p", "c").describe(b'P', "p").execute("p").sync();
    client.write(&end).await;
    let expected = ["1", "t", "n", "2", "n", "C ROLLBACK", "Z I"];
    assert_eq!(client.until_ready().await, expected);
    let reuse = Extended::default().bind("", "c").execute("").sync();
    client.write(&reuse).await;
    assert_eq!(client.until_ready().await, [MOVED, "2", "C COMMIT", "Z I"]);
}

#[tokio::test]
async fn a_loss_between_flush_and_sync_is_answered() {
    let mut stage = Stage::new().await;
    let mut client = Client::new(&stage).await;
    client.write(&Extended::default().run("insert 1").flush()).await;
    let answer = client.until(|tag| tag == b'C').await;
    assert_eq!(answer.last().unwrap(), "C INSERT 0 1");
    stage.switch().await.kill();
    client.write(&Extended::default().run("insert 2").sync()).await;
    assert_eq!(client.until_ready().await, ["E 08007", "Z I"]);
    assert!(stage.segment.executed().is_empty());
}

#[tokio::test]
async fn settings_follow_the_session_to_the_next_segment() {
    let mut stage = Stage::new().await;
    let mut client = Client::new(&stage).await;
    client.query("set statement_timeout = 5s").await;
    client.query("set fail = 1").await;
    stage.switch().await;
    let answer = client.query("show statement_timeout").await;
    assert!(answer.contains(&"D 5s".to_owned()), "{answer:?}");
}

#[tokio::test]
async fn a_transaction_that_had_failed_already_stays_failed_without_its_segment() {
    let mut stage = Stage::new().await;
    let mut client = Client::new(&stage).await;
    assert_eq!(client.query("begin; fail").await, ["C BEGIN", "E 42601", "Z E"]);
    stage.switch().await.kill();
    assert_eq!(client.query("select 1").await, ["E 25P02", "Z E"]);
    assert_eq!(client.query("rollback").await, ["C ROLLBACK", "Z I"]);
}

#[tokio::test]
async fn a_session_that_sat_idle_in_its_transaction_ends_as_on_any_server() {
    let stage = Stage::new().await;
    let mut client = Client::new(&stage).await;
    client.query("begin; select expire 25P03").await;
    assert_eq!(client.until_ready().await, ["E 25P03", "end"]);
}

#[tokio::test]
async fn a_segment_that_says_it_stops_does_not_end_the_session() {
    let mut stage = Stage::new().await;
    let mut client = Client::new(&stage).await;
    client.query("begin; select expire 57P01").await;
    stage.switch().await;
    assert_eq!(client.query("select 1").await, ["E 25P02", "Z E"]);
    assert_eq!(client.query("commit").await, ["C ROLLBACK", "Z I"]);
    assert_eq!(client.query("insert 1").await, [MOVED, "C INSERT 0 1", "Z I"]);
}
