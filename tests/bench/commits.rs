//! Commits per second, mirrored and not: ours through the gateway beside PostgreSQL with and without a
//! synchronous standby, all four under the same pgbench; and ours in one process.

use crate::Bench;
use crate::machine::settle_disk;
use crate::postgres::Server;
use crate::program;
use crate::report::{Goal, Ratio, Row, Unit};
use crate::statistics::Samples;
use crate::subject::Subject;
use crate::support::{Lost, Wire};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

const CLIENTS: [usize; 3] = [1, 8, 32];
/// Rows that are updated by key: enough that two clients seldom meet.
pub const ROWS: u32 = 100_000;
/// Transactions in one message, when the way to the segment is not to be measured.
const BATCH: usize = 200;

/// pgbench's answer.
pub struct Ran {
    pub per_second: f64,
}

/// Runs pgbench: each transaction updates one row by its key.
pub fn pgbench(mut command: Command, script: &Path, clients: usize, more: &[&str]) -> Ran {
    command.args(["--no-vacuum", "--protocol=simple", "--client"]).arg(clients.to_string());
    command.arg("--jobs").arg(clients.min(2).to_string()).args(more).arg("--file").arg(script);
    let stdout = program::run(command).stdout;
    let line = |prefix: &str| stdout.lines().find_map(|l| l.strip_prefix(prefix)).map(str::trim);
    let failed = line("number of failed transactions:").unwrap_or("0");
    assert!(failed.starts_with('0'), "pgbench's transactions failed: {failed}\n{stdout}");
    let rate = line("tps = ").and_then(|l| l.split_whitespace().next()?.parse().ok());
    Ran { per_second: rate.unwrap_or_else(|| panic!("pgbench says no rate:\n{stdout}")) }
}

/// The script's file.
pub fn script(bench: &Bench) -> PathBuf {
    let path = bench.root.path().join("update.sql");
    let text = format!("\\set id random(1, {ROWS})\nupdate bench set n = n + 1 where id = :id;\n");
    std::fs::write(&path, text).expect("the bench's directory takes a file");
    path
}

/// The table, ours.
pub fn prepare(subject: &Subject) {
    let mut session = subject.cluster.content(0);
    session.run("create table bench(id integer primary key, n integer not null, filler text)");
    session.run(&format!(
        "with recursive n(i) as (select 1 union all select i + 1 from n where i < {ROWS}) \
         insert into bench select i, 0, hex(randomblob(40)) from n"
    ));
}

fn prepare_postgres(server: &Server) {
    server.sql("create table bench(id integer primary key, n integer not null, filler text) with (fillfactor = 80)");
    server
        .sql(&format!("insert into bench select i, 0, md5(i::text) || md5(i::text) from generate_series(1, {ROWS}) i"));
    server.sql("checkpoint");
}

#[derive(Default)]
struct Found {
    ours: [Samples; 3],
    ours_alone: [Samples; 3],
    postgres: [Samples; 3],
    postgres_alone: [Samples; 3],
    /// With 1 and 8 sessions.
    inside: [Samples; 2],
    inside_alone: [Samples; 2],
}

pub fn run(bench: &mut Bench) {
    let (rounds, seconds) = if bench.quick { (2, 3) } else { (4, 8) };
    if !bench.has_room("commits", 6 << 10) {
        return;
    }
    let subject = Subject::new(bench);
    prepare(&subject);
    let alone = Server::new(&bench.root, "pg-alone");
    let primary = Server::new(&bench.root, "pg-primary");
    prepare_postgres(&alone);
    prepare_postgres(&primary);
    let (_standby, _) = Server::standby(&bench.root, "pg-standby", &primary);
    primary.demand_standby();

    let script = script(bench);
    let time = format!("--time={seconds}");
    let mut found = Found::default();
    for round in 0..rounds {
        bench.say(&format!("commits per second, round {} of {rounds}", round + 1));
        let measured = |command: Command, clients: usize| {
            settle_disk();
            pgbench(command, &script, clients, &[&time]).per_second
        };
        let ours = || subject.cluster.client("pgbench", "content0");
        for (n, clients) in CLIENTS.into_iter().enumerate() {
            found.ours[n].push(measured(ours(), clients));
            found.postgres[n].push(measured(primary.client("pgbench"), clients));
            found.postgres_alone[n].push(measured(alone.client("pgbench"), clients));
        }
        for (n, sessions) in [1, 8].into_iter().enumerate() {
            found.inside[n].push(inside(&subject, sessions, seconds));
        }
        subject.lose_mirror();
        subject.settle();
        for (n, clients) in CLIENTS.into_iter().enumerate() {
            found.ours_alone[n].push(measured(ours(), clients));
        }
        for (n, sessions) in [1, 8].into_iter().enumerate() {
            found.inside_alone[n].push(inside(&subject, sessions, seconds));
        }
        subject.recover();
    }
    rows(bench, found);
}

fn rows(bench: &mut Bench, found: Found) {
    let row = |what: String, ours: &Samples| Row::new("commits", what, Unit::PerSecond, ours.clone());
    for (n, clients) in CLIENTS.into_iter().enumerate() {
        let at = |r: Row| r.at("clients", clients as f64);
        let (ours, peer) = (&found.ours[n], &found.postgres[n]);
        let beside = row(format!("{clients} clients / PG sync standby"), ours);
        let beside = beside.beside("PostgreSQL sync standby", peer.clone(), Ratio::OursOverPeer);
        bench.add(at(beside).goal(Goal::RatioAtLeast(1.0)));
        let alone = row(format!("{clients} clients, no mirror / PG alone"), &found.ours_alone[n]);
        bench.add(at(alone.beside("PostgreSQL alone", found.postgres_alone[n].clone(), Ratio::OursOverPeer)));
        let theirs = peer.median() / found.postgres_alone[n].median();
        // Rounded down as it is shown, so that equal is met. Nobody gains by a mirror: beyond 1 it is noise.
        let goal = ((theirs * 100.0).floor() / 100.0).min(1.0);
        let ratio = row(format!("{clients} clients, mirrored / not"), ours);
        let ratio = ratio.beside("ours, no mirror", found.ours_alone[n].clone(), Ratio::OursOverPeer);
        bench.add(at(ratio).goal(Goal::RatioAtLeast(goal)));
    }
    for (n, sessions) in [1, 8].into_iter().enumerate() {
        let what = format!("in process, {sessions} sessions, mir. / not");
        let ratio = row(what, &found.inside[n]);
        let ratio = ratio.beside("ours, no mirror", found.inside_alone[n].clone(), Ratio::OursOverPeer);
        bench.add(ratio.at("clients", sessions as f64).goal(Goal::RatioAtLeast(0.5)));
    }
}

/// Commits per second inside the segment: many transactions in one message, so that no client and no
/// gateway stands between two of them.
fn inside(subject: &Subject, sessions: usize, seconds: u64) -> f64 {
    settle_disk();
    let wires: Vec<Wire> = (0..sessions).map(|_| subject.direct()).collect();
    let began = Instant::now();
    let until = began + Duration::from_secs(seconds);
    let threads: Vec<_> = wires
        .into_iter()
        .enumerate()
        .map(|(n, wire)| std::thread::spawn(move || send_batches(wire, n, until)))
        .collect();
    let commits: usize = threads.into_iter().map(|t| t.join().expect("a session's thread never panics")).sum();
    commits as f64 / began.elapsed().as_secs_f64()
}

fn send_batches(mut wire: Wire, session: usize, until: Instant) -> usize {
    let mut commits = 0;
    while Instant::now() < until {
        let one = |i: usize| {
            // Sessions write different rows; SQLite has one writer at a time all the same.
            let id = 1 + (session * 9973 + (commits + i) * 7919) % ROWS as usize;
            format!("begin;update bench set n = n + 1 where id = {id};commit;")
        };
        let message: String = (0..BATCH).map(one).collect();
        match wire.query(&message) {
            Ok(reply) => assert_eq!(reply.error, None),
            Err(lost @ (Lost::Closed | Lost::TimedOut)) => panic!("a session was lost: {lost:?}"),
        }
        commits += BATCH;
    }
    commits
}
