//! One round of FTS over a thousand segments: the real prober on a thread of its own, and responders in
//! this process that speak the control protocol and hold no data.

use crate::Bench;
use crate::report::{Goal, Row, Unit};
use crate::statistics::Samples;
use segsh::cluster::request::Owner;
use segsh::coordinator::board::Board;
use segsh::coordinator::places::{Hosts, Places};
use segsh::coordinator::prober::{Prober, Setup};
use segsh::coordinator::store::{CATALOG_FILE, Store};
use segsh::core::ids::{Content, CopyId, Dbid, Epoch};
use segsh::core::report::{CopyState, FromSegment, Phase, Report, Soundness, ToSegment};
use segsh::core::row::{Mode, Role, SegmentRow, Status};
use segsh::net::{ClusterKey, Credentials, Framed, Identity, Purpose, accept};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpListener;

const PAIRS: i64 = 500;
const KEY: [u8; 32] = [7; 32];
/// Both ends of every connection, and every listener, are in this process.
const FILES: u64 = 8 * PAIRS as u64;

pub fn run(bench: &mut Bench) {
    if let Err(why) = raise_file_limit() {
        bench.skip(format!("a round of FTS over {} segments: {why}", 2 * PAIRS));
        return;
    }
    let rounds = if bench.quick { 10 } else { 40 };
    bench.say(&format!("{rounds} rounds of FTS over {} segments", 2 * PAIRS));
    let responders = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let responders = responders.expect("threads can be started");
    let dir = bench.root.path().join("fts");
    std::fs::create_dir_all(&dir).expect("the bench's directory takes another");
    let rows = responders.block_on(start_responders());
    let path = dir.join(CATALOG_FILE);
    Store::create(&path, &rows, &[]).expect("a catalog");
    let store = Arc::new(Store::open(&path).expect("the catalog just made"));
    let (begun, _) = tokio::sync::mpsc::unbounded_channel();
    let setup = Setup {
        store: store.clone(),
        board: Arc::new(Board::default()),
        places: Places::new(rows.clone(), Vec::new(), Hosts::new()),
        me: Credentials::new(ClusterKey::from_bytes(&KEY), Identity::Coordinator),
        owner: Owner { user: "bench".into(), host: String::new(), pid: std::process::id(), ..Owner::default() },
        begun,
        taken_up: Vec::new(),
    };
    let began = Instant::now();
    let prober = Prober::start(setup).expect("the prober's thread");
    responders.block_on(prober.probe());
    let first = began.elapsed().as_secs_f64();

    let mut seconds = Samples::default();
    let (cpu, since) = (thread_seconds("fts"), Instant::now());
    for _ in 0..rounds {
        let began = Instant::now();
        responders.block_on(prober.probe());
        seconds.push(began.elapsed().as_secs_f64());
    }
    let cpu = (thread_seconds("fts") - cpu) / f64::from(rounds);
    let lasted = since.elapsed().as_secs_f64();
    println!("  {rounds} rounds in {lasted:.2} s; the prober's thread used {:.1} ms of a processor a round", cpu * 1e3);
    let after = store.rows().expect("the catalog can be read");
    assert!(after == rows, "a thousand healthy segments: the prober changed rows");
    responders.shutdown_timeout(Duration::from_secs(1));

    let n = 2.0 * PAIRS as f64;
    let row = |what: &str, samples| Row::new("fts", format!("FTS round, {n} segments, {what}"), Unit::Seconds, samples);
    bench.add(row("max", seconds).at("segments", n).goal(Goal::MaxAtMost(1.0)));
    bench.add(row("first", Samples::one(first)).at("segments", n));
    bench.add(row("CPU", Samples::one(cpu)).at("segments", n));
}

fn raise_file_limit() -> Result<(), String> {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    if limit.maximum.is_some_and(|most| most < FILES) {
        return Err(format!("it needs {FILES} open files, and the limit is {:?}", limit.maximum));
    }
    limit.current = Some(limit.current.map_or(FILES, |now| now.max(FILES)));
    setrlimit(Resource::Nofile, limit).map_err(|e| e.to_string())
}

/// Processor seconds that the threads of a name have used, from `/proc/self/task`.
fn thread_seconds(name: &str) -> f64 {
    const TICKS_PER_SECOND: f64 = 100.0;
    let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let stats = tasks.filter_map(|t| std::fs::read_to_string(t.path().join("stat")).ok());
    let ours = stats.filter(|s| s.contains(&format!("({name})")));
    let ticks = |stat: String| -> Option<f64> {
        let fields: Vec<f64> =
            stat.rsplit_once(") ")?.1.split(' ').skip(11).take(2).filter_map(|f| f.parse().ok()).collect();
        Some(fields.iter().sum())
    };
    ours.filter_map(ticks).sum::<f64>() / TICKS_PER_SECOND
}

async fn start_responders() -> Vec<SegmentRow> {
    let mut rows = vec![row(Dbid(1), Content::COORDINATOR, Role::Primary, 5432)];
    for number in 0..2 * PAIRS {
        let (content, role) = (number % PAIRS, if number < PAIRS { Role::Primary } else { Role::Mirror });
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let row = row(Dbid(2 + number), Content(content), role, port);
        tokio::spawn(serve(listener, report(&row)));
        rows.push(row);
    }
    rows.sort_by_key(|r| r.dbid);
    rows
}

fn row(dbid: Dbid, content: Content, role: Role, port: u16) -> SegmentRow {
    let host = if role == Role::Primary { "sdw1" } else { "sdw2" };
    SegmentRow {
        dbid,
        content,
        role,
        preferred_role: role,
        mode: Mode::Synchronized,
        status: Status::Up,
        port,
        hostname: host.into(),
        address: "127.0.0.1".into(),
        replication_port: (content != Content::COORDINATOR).then_some(1),
        datadir: format!("/{host}/c{}-{}", content.0, dbid.0),
    }
}

/// Of a member of a synchronized pair.
fn report(row: &SegmentRow) -> Report {
    let copy = |dbid: i64| CopyState { copy: CopyId(dbid as u128), generation: Epoch(1) };
    let peer = if row.role == Role::Primary { row.dbid.0 + PAIRS } else { row.dbid.0 - PAIRS };
    Report {
        dbid: row.dbid,
        content: row.content,
        pid: 1,
        phase: if row.role == Role::Primary { Phase::InSync } else { Phase::Mirror },
        epoch: Epoch(1),
        copy: copy(row.dbid.0),
        ready: true,
        link: Some(Epoch(1)),
        mirror_lost: None,
        sick: None,
        map_unusable: None,
        map_bound_to: Some(copy(peer)),
        dirty_blocks: 0,
        data_bytes: 1 << 30,
        free_bytes: 1 << 40,
        progress: None,
        lag: None,
        verification: None,
        soundness: Soundness::Sound,
        damaged_pages: 0,
        held: None,
        release: String::new(),
        sessions: 0,
    }
}

async fn serve(listener: TcpListener, report: Report) {
    let me = Credentials::new(ClusterKey::from_bytes(&KEY), Identity::Segment(report.dbid));
    while let Ok((stream, _)) = listener.accept().await {
        let (me, report) = (me.clone(), report.clone());
        tokio::spawn(async move {
            let Ok((stream, _)) = accept(stream, &me, &[Purpose::Control], Duration::from_secs(5)).await else {
                return;
            };
            let (mut to, mut from) = Framed::new(stream).split();
            while let Ok(message) = from.recv::<ToSegment>().await {
                let ToSegment::Probe { seq, .. } = message else { return };
                let answer = FromSegment::Report { seq: Some(seq), report: Box::new(report.clone()) };
                if to.send(&answer).await.is_err() {
                    return;
                }
            }
        });
    }
}
