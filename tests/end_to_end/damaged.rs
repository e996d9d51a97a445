//! Damaged files, files of another release, and messages that lie, met by the real processes: each is
//! named with what is wrong, nothing is changed, and the rest of the cluster goes on.

use crate::support::command::Ran;
use crate::support::status::{SYNCHRONIZED, TRACKING};
use crate::support::wait::secs;
use crate::support::{Cluster, Wire, processes, wait_for, wire};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

/// All that a command said, on one line: screens wrap.
fn said(ran: &Ran) -> String {
    let text = format!("{} {}", ran.stdout, ran.stderr);
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[track_caller]
fn says_all(ran: &Ran, words: &[&str]) {
    let said = said(ran);
    for word in words {
        assert!(said.contains(word), "`{}` does not say `{word}`:\n{said}", ran.what);
    }
}

fn change(path: &Path, change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let sound = std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let mut bytes = sound.clone();
    change(&mut bytes);
    std::fs::write(path, bytes).expect("it is ours to damage");
    sound
}

/// Two contents with a row each, stopped.
fn stopped_with_data() -> Cluster {
    let cluster = Cluster::new(2);
    for content in [0, 1] {
        cluster.content(content).run("create table kept(id bigint)");
        cluster.content(content).run("insert into kept values (1)");
    }
    cluster.lifecycle("stop", &[]).ok();
    cluster
}

fn datadir(cluster: &Cluster, content: i64, prefers: &str) -> (i64, PathBuf) {
    let status = cluster.last_status();
    let segment = status.segments.iter().find(|s| s.content == content && s.preferred_role == prefers);
    let segment = segment.expect("the content has both");
    (segment.dbid, PathBuf::from(&segment.datadir))
}

#[track_caller]
fn assert_served(cluster: &Cluster, content: i64) {
    assert_eq!(cluster.content(content).number("select count(*) from kept"), 1, "content {content}");
}

#[test]
fn a_segment_meta_cut_in_half_is_named_and_everything_else_goes_on() {
    let cluster = stopped_with_data();
    let (dbid, dir) = datadir(&cluster, 0, "m");
    change(&dir.join("segment.meta"), |bytes| bytes.truncate(bytes.len() / 2));
    let ran = cluster.lifecycle("start", &[]);
    says_all(&ran, &["segment.meta", "says its body", "full_recover()"]);
    let [first, second] = [0, 1];
    assert_eq!(cluster.status().pair(second).letters(), SYNCHRONIZED);
    assert_served(&cluster, first);
    assert_served(&cluster, second);
    let outcome = cluster.outcome(&format!("full_recover(#{{ dbids: {dbid} }})"));
    assert_eq!(outcome["segments"][0]["how"], "full");
    assert!(cluster.status().is_synchronized());
}

#[test]
fn a_primary_whose_meta_is_of_another_release_is_left_as_it_is_and_its_mirror_serves() {
    let cluster = stopped_with_data();
    let (_, dir) = datadir(&cluster, 0, "p");
    let meta = dir.join("segment.meta");
    change(&meta, |bytes| bytes[8] = 9);
    let before = files(&dir);
    let ran = cluster.lifecycle("start", &[]);
    says_all(&ran, &["segment.meta", "format version 9", "reads version 2", "nothing was changed"]);
    assert_eq!(files(&dir), before, "a directory of another release is left as it is");
    assert_eq!(cluster.status().pair(1).letters(), SYNCHRONIZED);
    assert_served(&cluster, 1);
    wait_for("the mirror to serve", secs(20), || cluster.status().operational);
    assert_served(&cluster, 0);
}

/// Every file of a data directory but the two that say who is there and where.
fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(dir).expect("a directory").flatten();
    let named = entries.map(|e| (e.file_name().to_string_lossy().into_owned(), e.path()));
    let kept = named.filter(|(name, _)| !["lock", "segment.json"].contains(&name.as_str()));
    kept.map(|(name, path)| (name, std::fs::read(path).expect("a file"))).collect()
}

#[test]
fn a_map_with_a_flipped_bit_makes_incremental_recovery_impossible_and_says_so() {
    let cluster = Cluster::new(1);
    cluster.content(0).run("create table kept(id bigint)");
    cluster.content(0).run("insert into kept values (1)");
    let pair = cluster.status().pair(0);
    processes::kill(pair.mirror.running());
    cluster.wait_for_pair(0, TRACKING, secs(20));
    cluster.lifecycle("stop", &[]).ok();
    change(&Path::new(&pair.primary.datadir).join("track.map"), |bytes| {
        let last = bytes.len() - 1;
        bytes[last] ^= 4;
    });
    cluster.lifecycle("start", &[]);
    assert_served(&cluster, 0);
    let ran = cluster.eval_yes("recover()").exits(4);
    says_all(&ran, &["incremental_impossible"]);
    assert_eq!(cluster.status().pair(0).letters(), TRACKING, "nothing heavier was done instead");
    let outcome = cluster.outcome(&format!("full_recover(#{{ dbids: {} }})", pair.mirror.dbid));
    assert_eq!(outcome["segments"][0]["how"], "full");
    assert_eq!(cluster.status().pair(0).letters(), SYNCHRONIZED);
}

#[test]
fn a_catalog_that_is_damaged_or_of_another_release_is_named_and_left_as_it_is() {
    let cluster = stopped_with_data();
    let catalog = cluster.dir().join("coordinator/catalog.db");
    let sound = change(&catalog, |bytes| bytes[..64].fill(0x5a));
    let damaged = std::fs::read(&catalog).expect("it is there");
    for verb in ["start", "status"] {
        let ran = cluster.lifecycle(verb, &[]).exits(7);
        says_all(&ran, &["catalog.db", "not a database"]);
    }
    assert!(std::fs::read(&catalog).expect("it is there") == damaged, "it was written to");
    std::fs::write(&catalog, &sound).expect("it is ours");
    let set_version = |version: i64| {
        let sqlite = rusqlite::Connection::open(&catalog).expect("stock SQLite opens it");
        let before: i64 = sqlite.query_row("pragma user_version", [], |r| r.get(0)).expect("a version");
        sqlite.pragma_update(None, "user_version", version).expect("room");
        before
    };
    let ours = set_version(99);
    let other = std::fs::read(&catalog).expect("it is there");
    for verb in ["start", "status"] {
        let ran = cluster.lifecycle(verb, &[]).exits(7);
        says_all(&ran, &["catalog.db", "version 99", "reads version"]);
    }
    assert!(std::fs::read(&catalog).expect("it is there") == other, "it was written to");
    set_version(ours);
    cluster.lifecycle("start", &[]).ok();
    assert!(cluster.status().is_synchronized());
}

#[test]
fn a_cluster_json_that_cannot_be_used_is_named_by_every_command() {
    let cluster = stopped_with_data();
    let config = cluster.dir().join("cluster.json");
    let sound = change(&config, |bytes| bytes.truncate(bytes.len() / 2));
    let refused = |words: &[&str]| {
        for verb in ["start", "stop", "status"] {
            says_all(&cluster.lifecycle(verb, &[]).exits(7), words);
        }
        says_all(&cluster.eval("state()").exits(7), words);
    };
    refused(&["cluster.json is damaged", "EOF", "next:"]);
    std::fs::write(&config, b"\xff\xfe").expect("it is ours");
    refused(&["cluster.json is damaged", "not text"]);
    let text = String::from_utf8(sound.clone()).expect("JSON is text");
    std::fs::write(&config, text.replacen("\"schema\": 1", "\"schema\": 9", 1)).expect("it is ours");
    refused(&["cluster.json has schema 9", "reads schema 1", "next:"]);
    std::fs::write(&config, &sound).expect("it is ours");
    cluster.lifecycle("start", &[]).ok();
}

/// Something that answers every handshake as version 9 of the protocol would.
fn answer_as_another_release(at: SocketAddr) {
    let listener = TcpListener::bind(at).unwrap_or_else(|e| panic!("{at}: {e}"));
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut stream = stream;
            let mut hello = [0; 12];
            let heard = stream.read_exact(&mut hello);
            let mut rest = vec![0; usize::from(u16::from_le_bytes([hello[10], hello[11]]))];
            if heard.and_then(|()| stream.read_exact(&mut rest)).is_ok() {
                // The asker may have left by now.
                let _ = stream.write_all(b"\x89segsh\r\n\x09\0\0\0");
            }
        }
    });
}

/// An address and a port in `cluster.json`.
fn endpoint(cluster: &Cluster, what: &str, port: &str) -> SocketAddr {
    let text = std::fs::read(cluster.dir().join("cluster.json")).expect("it is there");
    let config: serde_json::Value = serde_json::from_slice(&text).expect("JSON");
    let entry = config.pointer(what).expect("an entry");
    let address = entry["address"].as_str().expect("an address");
    format!("{address}:{}", entry[port]).parse().expect("an endpoint")
}

#[test]
fn a_coordinator_of_another_release_is_told_with_both_versions_and_nothing_is_started_beside_it() {
    let cluster = Cluster::stopped(1, &[]);
    answer_as_another_release(endpoint(&cluster, "/coordinator", "control_port"));
    let words = ["protocol version 9 there, 2 here", "both sides must be the same release"];
    let ran = cluster.lifecycle("start", &[]).exits(7);
    says_all(&ran, &words);
    says_all(&ran, &["the coordinator is of another release", "next:"]);
    says_all(&cluster.lifecycle("status", &[]).exits(7), &words);
    says_all(&cluster.eval("state()").exits(7), &words);
    let lock = std::fs::read_to_string(cluster.dir().join("coordinator/lock")).unwrap_or_default();
    assert!(lock.is_empty(), "no coordinator was started: {lock}");
}

#[test]
fn an_agent_of_another_release_is_told_with_both_versions() {
    let cluster = Cluster::stopped(1, &[]);
    answer_as_another_release(endpoint(&cluster, "/hosts/0", "agent_port"));
    let ran = cluster.lifecycle("start", &[]).exits(7);
    says_all(&ran, &["the agent of host sdw1 is of another release", "protocol version 9 there, 2 here", "next:"]);
}

#[test]
fn a_saved_plan_of_another_schema_is_refused_with_both() {
    let cluster = Cluster::new(1);
    let file = cluster.place().path().join("plan.json");
    let file = file.to_str().expect("a plain name");
    cluster.script(&format!("plan_recover().save({file:?})")).ok();
    change(Path::new(file), |bytes| {
        let text = String::from_utf8_lossy(bytes).replacen("\"schema\": 2", "\"schema\": 9", 1);
        *bytes = text.into_bytes();
    });
    let ran = cluster.script(&format!("load_plan({file:?})")).exits(1);
    says_all(&ran, &["schema 9", "schema 2", "plan.json"]);
}

#[test]
fn a_client_whose_counts_lie_is_answered_an_error_and_hurts_nobody_else() {
    let cluster = Cluster::new(1);
    cluster.content(0).run("create table kept(id bigint)");
    cluster.content(0).run("insert into kept values (1)");
    let before = cluster.status().pair(0);
    let sockets = [
        (cluster.socket(), "content0"),
        (wire::socket(cluster.socket_dir(), before.primary.port), "content0"),
        (cluster.socket(), "postgres"),
    ];
    for (socket, database) in &sockets {
        for lie in [&b"\0\0\0\0\0\x01\x7f\xff\xff\xff\0\0"[..], b"\0\0\0\x05", b"\0\0\xff\xff"] {
            let mut stream = lying_client(socket, database, lie);
            stream.set_read_timeout(Some(secs(20))).expect("a timeout");
            let mut answer = (b'1', Vec::new());
            while answer.0 != b'E' {
                answer = message(&mut stream).unwrap_or_else(|e| panic!("{database}: no error was answered: {e}"));
            }
            let words = String::from_utf8_lossy(&answer.1).replace('\0', " ");
            assert!(words.contains("C08P01"), "{database}: {words}");
        }
        assert!(Wire::connect(socket, database).is_ok(), "{database} serves on");
    }
    let now = cluster.status();
    assert_eq!(now.pair(0).primary.pid, before.primary.pid, "the primary is the same process");
    assert_eq!(now.pair(0).letters(), SYNCHRONIZED);
    assert_served(&cluster, 0);
}

/// Reads one message; its type and its body.
fn message(stream: &mut UnixStream) -> std::io::Result<(u8, Vec<u8>)> {
    let mut head = [0; 5];
    stream.read_exact(&mut head)?;
    let mut body = vec![0; u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize - 4];
    stream.read_exact(&mut body).map(|()| (head[0], body))
}

/// A session that has begun, and a Bind of which the counts do not fit its length.
fn lying_client(socket: &Path, database: &str, lie: &[u8]) -> UnixStream {
    let mut stream = UnixStream::connect(socket).expect("it listens");
    let packet = [b"\0\x03\0\0user\0tester\0database\0", database.as_bytes(), b"\0\0"].concat();
    let untyped = [&(packet.len() as u32 + 4).to_be_bytes()[..], &packet].concat();
    stream.write_all(&untyped).expect("it is heard");
    while message(&mut stream).expect("the session begins").0 != b'Z' {}
    let typed = |tag: u8, body: &[u8]| [&[tag][..], &(body.len() as u32 + 4).to_be_bytes(), body].concat();
    let messages = [typed(b'P', b"\0select 1\0\0\0"), typed(b'B', lie), typed(b'S', b"")].concat();
    // The other end may have hung up before it has read all of it.
    let _ = stream.write_all(&messages);
    stream
}
