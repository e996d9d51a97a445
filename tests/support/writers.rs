//! Writers through the gateway, on a table without a unique key: nothing but the engine keeps an id
//! from being lost, doubled or half written.

use super::cluster::Cluster;
use super::ledger::{Attempt, Ledger, Told};
use super::wait::{secs, wait_for};
use super::wire::{Lost, Reply, Wire};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// What the writers tell each other and the test.
#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    /// Acknowledged transactions, by content.
    acked: Vec<AtomicU64>,
}

pub struct Writers {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<Vec<Attempt>>>,
}

impl Writers {
    /// Creates table `journal` where it is missing and begins to write; returns when every content
    /// acknowledged something.
    #[track_caller]
    pub fn start(cluster: &Cluster, contents: &[i64], per_content: usize) -> Writers {
        for content in contents {
            cluster.content(*content).run("create table if not exists journal(id bigint not null, body text not null)");
        }
        let most = contents.iter().max().copied().unwrap_or(0) as usize;
        let acked = (0..=most).map(|_| AtomicU64::new(0)).collect();
        let shared = Arc::new(Shared { acked, ..Shared::default() });
        let spawn = |content: i64, n: usize| {
            let writer = Writer {
                socket: cluster.socket(),
                content,
                in_transactions: n % 2 == 1,
                next: first_id(),
                shared: Arc::clone(&shared),
            };
            std::thread::spawn(move || writer.run())
        };
        let threads = contents.iter().flat_map(|c| (0..per_content).map(move |n| (*c, n))).map(|(c, n)| spawn(c, n));
        let writers = Writers { threads: threads.collect(), shared };
        contents.iter().for_each(|c| writers.wait_for_more(*c, 5, secs(20)));
        writers
    }

    /// Transactions acknowledged on a content so far.
    pub fn acked(&self, content: i64) -> u64 {
        self.shared.acked[content as usize].load(Ordering::SeqCst)
    }

    /// Waits until the content has acknowledged so many more: commits go on.
    #[track_caller]
    pub fn wait_for_more(&self, content: i64, more: u64, within: Duration) {
        let goal = self.acked(content) + more;
        wait_for(&format!("{more} more commits on content {content}"), within, || self.acked(content) >= goal);
    }

    /// Lets every writer finish what it has begun, and returns what all were told.
    pub fn finish(mut self) -> Ledger {
        self.shared.stop.store(true, Ordering::SeqCst);
        let attempts = self.threads.drain(..).flat_map(|t| t.join().expect("a writer never panics")).collect();
        Ledger { attempts }
    }
}

impl Drop for Writers {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
    }
}

/// Writers of one process never meet: each has a range of a thousand million ids.
fn first_id() -> i64 {
    static RANGES: AtomicU64 = AtomicU64::new(1);
    RANGES.fetch_add(1, Ordering::SeqCst) as i64 * 1_000_000_000
}

struct Writer {
    socket: PathBuf,
    content: i64,
    /// Two rows between BEGIN and COMMIT, instead of one row on its own.
    in_transactions: bool,
    next: i64,
    shared: Arc<Shared>,
}

impl Writer {
    fn run(mut self) -> Vec<Attempt> {
        let mut attempts = Vec::new();
        let mut session = None;
        while !self.shared.stop.load(Ordering::SeqCst) {
            let Some(wire) = session.as_mut() else {
                session = connect(&self.socket, self.content);
                continue;
            };
            let (attempt, lost) = self.attempt(wire);
            if lost {
                session = None;
            }
            if attempt.told == Told::Acked {
                self.shared.acked[self.content as usize].fetch_add(1, Ordering::SeqCst);
            }
            attempts.push(attempt);
        }
        attempts
    }

    /// One transaction, and whether the session is of no use afterwards.
    fn attempt(&mut self, wire: &mut Wire) -> (Attempt, bool) {
        let ids: Vec<i64> = (0..if self.in_transactions { 2 } else { 1 }).map(|n| self.next + n).collect();
        self.next += 2;
        let (told, lost) = if self.in_transactions { transaction(wire, &ids) } else { autocommit(wire, ids[0]) };
        (Attempt { content: self.content, ids, told }, lost)
    }
}

/// A new session, or `None` after a moment: the coordinator may be down for a while.
fn connect(socket: &Path, content: i64) -> Option<Wire> {
    let wire = Wire::connect(socket, &format!("content{content}")).ok();
    if wire.is_none() {
        std::thread::sleep(Duration::from_millis(20));
    }
    wire
}

fn insert(id: i64) -> String {
    format!("insert into journal(id, body) values ({id}, '{:0>200}')", id)
}

fn autocommit(wire: &mut Wire, id: i64) -> (Told, bool) {
    match wire.query(&insert(id)) {
        Ok(reply) if reply.has_tag("INSERT 0 1") => (Told::Acked, false),
        Ok(reply) => refused(&reply),
        Err(lost) => (unanswered(lost), true),
    }
}

fn transaction(wire: &mut Wire, ids: &[i64]) -> (Told, bool) {
    for sql in std::iter::once("begin".to_owned()).chain(ids.iter().map(|id| insert(*id))) {
        match wire.query(&sql) {
            Ok(reply) if reply.error.is_none() => {}
            Ok(reply) => {
                // COMMIT was never said, so whatever this answer is, nothing may remain.
                let lost = reply.state.is_none() || wire.query("rollback").is_err();
                return (Told::Failed(reply.sqlstate().unwrap_or("none").to_owned()), lost);
            }
            Err(lost) => return (Told::Failed(format!("{lost:?} before COMMIT")), true),
        }
    }
    match wire.query("commit") {
        Ok(reply) if reply.has_tag("COMMIT") => (Told::Acked, false),
        Ok(reply) if reply.has_tag("ROLLBACK") => (Told::Failed("COMMIT answered ROLLBACK".into()), false),
        Ok(reply) => refused(&reply),
        Err(lost) => (unanswered(lost), true),
    }
}

fn refused(reply: &Reply) -> (Told, bool) {
    let told = match reply.sqlstate() {
        Some("08007") => Told::Unknown("08007".into()),
        Some(code) => Told::Failed(code.to_owned()),
        None => Told::Unknown(format!("an answer without success or error: {:?}", reply.tags)),
    };
    // A writer begins its next transaction outside of any, whatever the last answer left behind.
    (told, reply.state != Some('I'))
}

fn unanswered(lost: Lost) -> Told {
    Told::Unknown(format!("{lost:?}"))
}
