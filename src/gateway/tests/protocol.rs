//! The protocol between client and front, switches apart.

use super::Stage;
use super::client::{Client, Extended};
use crate::gateway::message;
use std::time::Duration;

#[tokio::test]
async fn a_session_begins_without_its_segment() {
    let stage = Stage::new().await;
    let mut client = Client::new(&stage).await;
    assert!(stage.segment.startups().is_empty());
    assert_ne!(client.key.0, 0);
    let answer = client.query("select 1").await;
    assert_eq!(answer, ["T", "D 1", "C SELECT 1", "Z I"]);
    let told = client.parameters.last();
    assert_eq!(told.unwrap(), "S server_version 15.1 (test)");
    assert_eq!(stage.segment.startups(), ["user ann database content0  "]);
}

#[tokio::test]
async fn an_unknown_database_is_3d000() {
    let stage = Stage::new().await;
    for database in ["content7", "content-1", "", "template1"] {
        let mut client = Client::raw(&stage).await;
        client.startup(database).await;
        assert_eq!(client.until_ready().await, ["E 3D000", "end"]);
    }
}

#[tokio::test]
async fn who_breaks_the_protocol_hears_it_in_the_segment_s_own_words_and_nobody_else_does() {
    let stage = Stage::new().await;
    let mut other = Client::new(&stage).await;
    other.query("begin").await;
    let mut simple = Client::new(&stage).await;
    assert_eq!(simple.query("select violate").await, ["E 08P01", "end"]);
    let mut extended = Client::new(&stage).await;
    extended.write(&Extended::default().run("insert violate").sync()).await;
    assert_eq!(extended.until_ready().await, ["1", "2", "E 08P01", "end"]);
    assert_eq!(other.query("commit").await, ["C COMMIT", "Z I"]);
}

#[tokio::test]
async fn several_queries_sent_at_once_are_answered_in_order() {
    let stage = Stage::new().await;
    let mut client = Client::new(&stage).await;
    for number in 0..5 {
        client.send(&format!("insert {number}")).await;
    }
    for _ in 0..5 {
        let answer = client.until_ready().await;
        assert_eq!(answer[answer.len() - 2..], ["C INSERT 0 1", "Z I"]);
    }
    assert_eq!(stage.segment.executed().len(), 5);
}

#[tokio::test]
async fn a_result_beyond_what_is_kept_back_arrives_whole() {
    let stage = Stage::new().await;
    let mut client = Client::new(&stage).await;
    let answer = client.query("rows 5000").await;
    let rows = answer.iter().filter(|m| m.starts_with("D x")).count();
    assert_eq!((rows, answer.last().unwrap().as_str()), (5000, "Z I"));
}

#[tokio::test]
async fn a_pipeline_larger_than_any_buffer_does_not_stall() {
    let stage = Stage::new().await;
    let mut client = Client::new(&stage).await;
    let mut batch = Extended::default();
    for _ in 0..300 {
        batch = batch.run(&format!("rows 20 {}", "y".repeat(10_000)));
    }
    let batch = batch.sync();
    // The client reads while it writes, as a pipelining client must.
    let (stream, buffer) = client.stream.into_parts();
    let (read, mut write) = stream.into_split();
    let sending = tokio::spawn(async move {
        tokio::io::AsyncWriteExt::write_all(&mut write, &batch).await.unwrap();
        write
    });
    let mut frames = crate::gateway::frame::FrameStream::with_buffer(read, buffer);
    let mut rows = 0;
    while let Some(frame) = frames.next().await.unwrap() {
        rows += usize::from(frame.tag() == b'D');
        if frame.tag() == b'Z' {
            break;
        }
    }
    assert_eq!(rows, 300 * 20);
    drop(sending.await.unwrap());
    client = Client::new(&stage).await;
    assert_eq!(client.query("insert 1").await.last().unwrap(), "Z I");
}

#[tokio::test]
async fn an_error_discards_what_follows_up_to_the_sync() {
    let stage = Stage::new().await;
    let mut client = Client::new(&stage).await;
    let batch = Extended::default().run("fail").run("insert 1").sync();
    client.write(&batch).await;
    let answer = client.until_ready().await;
    assert_eq!(answer[answer.len() - 4..], ["1", "2", "E 42601", "Z I"]);
    let batch = Extended::default().run("fail").flush();
    client.write(&batch).await;
    assert_eq!(client.until(|t| t == b'E').await, ["1", "2", "E 42601"]);
    client.write(&Extended::default().run("insert 2").sync()).await;
    assert_eq!(client.until_ready().await, ["Z I"]);
    assert_eq!(stage.segment.executed(), ["fail", "fail"]);
}

#[tokio::test]
async fn a_flush_brings_the_answers_before_the_sync() {
    let stage = Stage::new().await;
    let mut client = Client::new(&stage).await;
    let prepare = Extended::default().parse("a", "select 1").describe(b'S', "a");
    client.write(&prepare.flush()).await;
    let answer = client.until(|t| t == b'T').await;
    assert_eq!(answer[answer.len() - 3..], ["1", "t", "T"]);
    client.write(&Extended::default().bind("", "a").execute("").sync()).await;
    assert_eq!(client.until_ready().await, ["2", "D 1", "C SELECT 1", "Z I"]);
}

#[tokio::test]
async fn copy_data_goes_through() {
    let stage = Stage::new().await;
    let mut client = Client::new(&stage).await;
    client.send("copy t from stdin").await;
    client.until(|t| t == b'G').await;
    client.write(b"d\0\0\0\x06a\nd\0\0\0\x06b\nc\0\0\0\x04").await;
    assert_eq!(client.until_ready().await, ["C COPY 2", "Z I"]);
    assert_eq!(client.query("insert 1").await, ["C INSERT 0 1", "Z I"]);
}

#[tokio::test]
async fn a_message_that_cannot_be_framed_is_answered_and_ends_the_session() {
    let stage = Stage::new().await;
    for bad in [&b"Q\0\0\0\x01"[..], b"Q\x7f\xff\xff\xff", b"?\0\0\0\x04", b"\0\0\0\0\x04"] {
        let mut client = Client::new(&stage).await;
        client.write(bad).await;
        assert_eq!(client.until_ready().await, ["E 08P01", "end"], "{bad:?}");
    }
}

#[tokio::test]
async fn a_message_that_cannot_be_read_is_answered_and_the_session_goes_on() {
    let stage = Stage::new().await;
    let mut client = Client::new(&stage).await;
    for bad in [&b"Q\0\0\0\x04"[..], b"Q\0\0\0\x05x", b"Q\0\0\0\x07a\0b", b"F\0\0\0\x04"] {
        client.write(bad).await;
        let answer = client.until_ready().await;
        assert!(answer[0].starts_with("E 0"), "{bad:?}: {answer:?}");
        assert_eq!(answer[1], "Z I");
    }
    for bad in [&b"P\0\0\0\x05x"[..], b"B\0\0\0\x04", b"D\0\0\0\x06Xa", b"C\0\0\0\x04", b"E\0\0\0\x05x"] {
        client.write(bad).await;
        client.write(&Extended::default().run("insert 1").sync()).await;
        assert_eq!(client.until_ready().await, ["E 08P01", "Z I"], "{bad:?}");
    }
    assert!(stage.segment.executed().is_empty());
    assert_eq!(client.query("insert 2").await.last().unwrap(), "Z I");
}

#[tokio::test]
async fn a_startup_that_is_none_is_refused() {
    let stage = Stage::new().await;
    for (bad, code) in [
        (&b"\xff\xff\xff\xff"[..], "E 08P01"),
        (b"\0\0\0\x08\0\x02\0\0", "E 0A000"),
        (b"\0\0\0\x09\0\x03\0\0x", "E 08P01"),
    ] {
        let mut client = Client::raw(&stage).await;
        client.write(bad).await;
        assert_eq!(client.until_ready().await, [code, "end"], "{bad:?}");
    }
}

#[tokio::test]
async fn a_cancel_request_reaches_the_segment() {
    let stage = Stage::new().await;
    let mut client = Client::new(&stage).await;
    client.send("select hang").await;
    stage.segment.has_got("hang").await;
    let (pid, secret) = client.key.clone();
    let mut canceller = Client::raw(&stage).await;
    canceller.write(&message::cancel_request(pid, &secret)).await;
    assert_eq!(canceller.until_ready().await, ["end"]);
    let answer = client.until_ready().await;
    assert_eq!(answer[answer.len() - 2..], ["E 57014", "Z I"]);
}

#[tokio::test]
async fn a_cancel_request_ends_the_wait_for_a_primary() {
    let stage = Stage::new().await;
    let mut client = Client::new(&stage).await;
    stage.router.nobody();
    client.send("insert 1").await;
    let (pid, secret) = client.key.clone();
    let mut canceling = tokio::time::interval(Duration::from_millis(5));
    // A cancel that comes before the wait hits nothing, as the protocol has it: so it is repeated.
    let answer = tokio::select! {
        answer = client.until_ready() => answer,
        () = async {
            loop {
                canceling.tick().await;
                let mut canceller = Client::raw(&stage).await;
                canceller.write(&message::cancel_request(pid, &secret)).await;
                canceller.until_ready().await;
            }
        } => unreachable!("it cancels for ever"),
    };
    assert_eq!(answer, ["E 57014", "Z I"]);
}

#[tokio::test]
async fn a_cancel_request_with_another_key_does_nothing() {
    let stage = Stage::new().await;
    let mut client = Client::new(&stage).await;
    client.send("select hang").await;
    stage.segment.has_got("hang").await;
    let mut canceller = Client::raw(&stage).await;
    let (pid, _) = client.key;
    canceller.write(&message::cancel_request(pid, &[0; 4])).await;
    assert_eq!(canceller.until_ready().await, ["end"]);
    stage.segment.release();
    assert!(client.until_ready().await.contains(&"D hang".to_owned()));
}

#[tokio::test]
async fn a_stop_is_told_to_every_session_and_removes_the_socket() {
    let stage = Stage::new().await;
    let mut idle = Client::new(&stage).await;
    let mut busy = Client::new(&stage).await;
    let mut catalog = Client::raw(&stage).await;
    catalog.startup("postgres").await;
    catalog.until_ready().await;
    busy.send("select hang").await;
    stage.segment.has_got("hang").await;
    assert_eq!(stage.front.sessions(), 3);
    let path = stage.front.socket_path().to_owned();
    stage.front.stop().await;
    for client in [&mut idle, &mut busy, &mut catalog] {
        let answer = client.until_ready().await;
        assert_eq!(answer[answer.len() - 2..], ["E 57P01", "end"]);
    }
    assert!(!path.exists());
}

#[tokio::test]
async fn beyond_the_limit_a_session_is_refused() {
    let stage = Stage::with(|c| c.max_sessions = 1).await;
    let first = Client::new(&stage).await;
    let mut second = Client::raw(&stage).await;
    second.startup("content0").await;
    assert_eq!(second.until_ready().await, ["E 53300", "end"]);
    drop(first);
    stage.front.idle().await;
    Client::new(&stage).await;
}

#[tokio::test]
async fn a_bad_message_to_the_catalog_is_answered() {
    let stage = Stage::new().await;
    let mut client = Client::raw(&stage).await;
    client.startup("postgres").await;
    client.until_ready().await;
    client.write(b"Q\xff\xff\xff\xff").await;
    assert_eq!(client.until_ready().await, ["E 08P01", "end"]);
}
