//! Nobody uninvited: sockets of the owner alone, and no answer to those who do not hold the key.

use crate::support::command::{Ran, run};
use crate::support::wait::secs;
use crate::support::{Cluster, Segment, Wire, wire};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::MetadataExt;

fn ports(segment: &Segment) -> Vec<(String, u16)> {
    vec![(segment.address.clone(), segment.port)]
}

/// What a server says to these bytes until it closes, or for two seconds.
fn answer(at: &(String, u16), bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect((at.0.as_str(), at.1)).expect("the port listens");
    stream.set_read_timeout(Some(secs(2))).expect("a timeout can be set");
    // The server may have closed already: then the bytes are refused, and that is an answer too.
    let _ = stream.write_all(bytes);
    let mut said = Vec::new();
    let _ = stream.read_to_end(&mut said);
    said
}

/// A startup message of the PostgreSQL protocol for database content0.
fn startup() -> Vec<u8> {
    let body = b"\0\x03\0\0user\0postgres\0database\0content0\0\0";
    [&(body.len() as u32 + 4).to_be_bytes()[..], body].concat()
}

#[test]
fn a_client_without_the_key_gets_nothing_from_a_segment() {
    let cluster = Cluster::new(1);
    cluster.content(0).run("create table secret(word text)");
    cluster.content(0).run("insert into secret values ('xyzzy')");
    let before = cluster.status();
    let replication = cluster.lifecycle("status", &["--json"]).ok().json();
    for segment in &before.segments {
        let row = replication["rows"].as_array().expect("rows").iter().find(|r| r["dbid"] == segment.dbid);
        let other = row.and_then(|r| r["replication_port"].as_u64()).expect("a replication port");
        let all = ports(segment).into_iter().chain([(segment.address.clone(), other as u16)]);
        for port in all {
            for bytes in [startup(), b"GET / HTTP/1.1\r\n\r\n".to_vec(), vec![0xff; 4096], vec![0; 4096], Vec::new()] {
                let said = answer(&port, &bytes);
                assert_eq!(
                    said,
                    b"",
                    "dbid {} on {port:?} answered {:?}...",
                    segment.dbid,
                    &bytes[..bytes.len().min(8)]
                );
            }
        }
    }
    let after = cluster.status();
    assert_eq!(after.pids(), before.pids(), "nobody died of it");
    assert!(after.is_synchronized());
    assert_eq!(cluster.content(0).rows("select word from secret"), ["xyzzy"]);
}

#[test]
fn a_client_that_says_nothing_holds_nobody_up() {
    let cluster = Cluster::new(1);
    let primary = cluster.status().pair(0).primary;
    let silent: Vec<TcpStream> = (0..64)
        .map(|_| TcpStream::connect((primary.address.as_str(), primary.port)).expect("the port listens"))
        .collect();
    cluster.eval("probe()").ok();
    cluster.content(0).run("create table t(id int)");
    assert!(cluster.status().is_synchronized());
    drop(silent);
}

#[test]
fn sockets_keys_and_directories_are_the_owners_alone() {
    let cluster = Cluster::new(1);
    let mode = |path: &std::path::Path| std::fs::metadata(path).expect("it is there").mode() & 0o777;
    assert_eq!(mode(cluster.dir()), 0o700);
    assert_eq!(mode(std::path::Path::new(cluster.socket_dir())), 0o700);
    assert_eq!(mode(&cluster.socket()) & 0o077, 0);
    assert_eq!(mode(&cluster.dir().join("key")), 0o600);
    for segment in &cluster.status().segments {
        let socket = wire::socket(cluster.socket_dir(), segment.port);
        if socket.exists() {
            assert_eq!(mode(&socket) & 0o077, 0, "dbid {}", segment.dbid);
        }
        assert_eq!(mode(&std::path::Path::new(&segment.datadir).join("main.db")), 0o600, "dbid {}", segment.dbid);
    }
}

#[test]
fn the_key_is_in_no_argument_and_no_log() {
    let cluster = Cluster::new(1);
    let key = std::fs::read_to_string(cluster.dir().join("key")).expect("the key is text");
    let key = key.trim();
    assert!(key.len() >= 64, "32 bytes in hexadecimal");
    for pid in cluster.status().pids() {
        let told =
            ["cmdline", "environ"].map(|f| std::fs::read(format!("/proc/{pid}/{f}")).unwrap_or_default()).concat();
        assert!(!String::from_utf8_lossy(&told).contains(key), "process {pid}");
    }
    for log in std::fs::read_dir(cluster.dir().join("log")).expect("logs").flatten() {
        let text = std::fs::read(log.path()).unwrap_or_default();
        assert!(!String::from_utf8_lossy(&text).contains(key), "{}", log.path().display());
    }
}

#[test]
fn a_mirror_serves_no_client() {
    let cluster = Cluster::new(1);
    let mirror = cluster.status().pair(0).mirror;
    let socket = wire::socket(cluster.socket_dir(), mirror.port);
    if let Ok(mut session) = Wire::connect(&socket, "content0") {
        let reply = session.query("select 1");
        assert!(reply.as_ref().map_or(true, |r| r.error.is_some() && r.rows.is_empty()), "{reply:?}");
    }
}

/// The line that `init` wrote for clients over TCP: address, port, database, user, password.
fn password_line(cluster: &Cluster) -> Vec<String> {
    let text = std::fs::read_to_string(cluster.dir().join("pgpass")).expect("init wrote a password file");
    let fields: Vec<String> = text.trim_end().split(':').map(str::to_owned).collect();
    assert_eq!((fields.len(), text.lines().count()), (5, 1), "PGPASSFILE has one line of five fields");
    fields
}

/// `psql` over TCP to where the password file says, with this environment variable.
fn psql_over_tcp(cluster: &Cluster, at: &[String], variable: &str, value: impl AsRef<std::ffi::OsStr>) -> Ran {
    let mut command = cluster.client("psql", "content0");
    command.env("PGHOST", &at[0]).env("PGPORT", &at[1]).env("PGUSER", &at[3]).env(variable, value);
    // `-w`: whoever has no password is told so, and never asked.
    command.args(["--no-psqlrc", "-w", "--no-align", "--tuples-only", "--set=VERBOSITY=verbose"]);
    command.args(["--command", "select 41 + 1"]);
    run(command, "")
}

#[test]
fn a_client_over_tcp_needs_the_password_and_the_file_of_init_has_it() {
    let cluster = Cluster::new(1);
    let file = cluster.dir().join("pgpass");
    let mode = std::fs::metadata(&file).expect("the password file").mode();
    assert_eq!(mode & 0o777, 0o600, "PostgreSQL's own clients ignore a file that others may read");
    let at = password_line(&cluster);
    assert_eq!(at[1], cluster.port().to_string());
    assert_eq!(psql_over_tcp(&cluster, &at, "PGPASSFILE", &file).ok().text(), "42");
}

#[test]
fn a_wrong_password_is_28p01_and_a_unix_socket_asks_for_none() {
    let cluster = Cluster::new(1);
    let at = password_line(&cluster);
    let wrong = psql_over_tcp(&cluster, &at, "PGPASSWORD", "not the password");
    assert_ne!(wrong.code, 0);
    // psql does not print the SQLSTATE of a connection that failed; the driver has it.
    assert_eq!(sqlstate_of_login(&at, "not the password").as_deref(), Some("28P01"));
    assert_eq!(sqlstate_of_login(&at, &at[4]), None, "the right one is let in");
    let nothing = psql_over_tcp(&cluster, &at, "PGPASSFILE", "/dev/null");
    assert_ne!(nothing.code, 0, "without a password nobody is let in");
    assert_eq!(cluster.psql("content0", &["--no-password", "--command", "select 1"], "").ok().text(), "1");
}

/// The SQLSTATE that a login over TCP fails with; none when it succeeds.
fn sqlstate_of_login(at: &[String], password: &str) -> Option<String> {
    let mut config = tokio_postgres::Config::new();
    let port = at[1].parse().expect("a port");
    config.host(&at[0]).port(port).user(&at[3]).password(password).dbname("content0");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let login = runtime.block_on(config.connect(tokio_postgres::NoTls));
    login.err().map(|e| e.code().map_or_else(|| e.to_string(), |code| code.code().to_owned()))
}
