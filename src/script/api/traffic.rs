//! The writers of `demo::traffic`: a thread a content, each with its own connection through the
//! gateway. They use PostgreSQL's protocol as any client would, because it is the gateway's answers
//! that are put to the test.

use super::demo::TrafficReport;
use crate::core::ids::Content;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio_postgres::error::SqlState;

/// Between two inserts of a writer: enough to see a gap of some milliseconds, little enough that a
/// drill on a small machine measures the cluster and not its own load.
const PACE: Duration = Duration::from_millis(2);
/// Between two attempts to connect.
const RECONNECT: Duration = Duration::from_millis(50);
/// An insert without any answer for so long counts as unanswered. Beyond the gateway's own 30 s.
const NO_ANSWER: Duration = Duration::from_secs(40);
/// Ids of one writer; also what keeps the writers of two runs apart.
const IDS_PER_MS: i64 = 1 << 20;

/// What one writer was answered.
#[derive(Debug)]
pub struct Written {
    pub content: Content,
    pub first_id: i64,
    pub next_id: i64,
    pub acknowledged: Vec<i64>,
    pub refused: Vec<i64>,
    pub unknown: i64,
    pub longest_wait_ms: i64,
}

/// Counters that a report may read while the writers write.
#[derive(Debug, Default)]
struct Counters {
    stop: AtomicBool,
    acknowledged: AtomicI64,
    refused: AtomicI64,
    unknown: AtomicI64,
    longest_wait_ms: AtomicI64,
}

/// Writers at work.
pub struct Run {
    counters: Arc<Counters>,
    threads: Vec<JoinHandle<Written>>,
    began: Instant,
}

impl Run {
    /// The counts so far.
    pub fn report(&self) -> TrafficReport {
        let read = |n: &AtomicI64| n.load(Ordering::Relaxed);
        TrafficReport {
            running: true,
            acknowledged: read(&self.counters.acknowledged),
            refused: read(&self.counters.refused),
            unknown: read(&self.counters.unknown),
            longest_wait_ms: read(&self.counters.longest_wait_ms),
            elapsed_ms: i64::try_from(self.began.elapsed().as_millis()).unwrap_or(i64::MAX),
            ..TrafficReport::default()
        }
    }

    /// Ends the writers and returns what each was answered; the run itself when `interrupted` says so
    /// while one still waits for an answer.
    pub fn stop(mut self, interrupted: impl Fn() -> bool) -> Result<Vec<Written>, Run> {
        self.counters.stop.store(true, Ordering::Release);
        while !self.threads.iter().all(JoinHandle::is_finished) {
            if interrupted() {
                return Err(self);
            }
            std::thread::sleep(PACE);
        }
        // A writer that panicked has no answers to compare; the others still count.
        Ok(self.threads.drain(..).filter_map(|t| t.join().ok()).collect())
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        // Not joined: a session that ends must not wait for an insert that nobody answers.
        self.counters.stop.store(true, Ordering::Release);
    }
}

/// Starts a writer on every content. `now_ms` makes the ids of this run its own.
pub fn start(contents: &[Content], endpoint: (String, u16), now_ms: i64) -> io::Result<Run> {
    let counters = Arc::new(Counters::default());
    let mut threads = Vec::new();
    for content in contents {
        let writer = Writer {
            content: *content,
            endpoint: endpoint.clone(),
            counters: Arc::clone(&counters),
            next_id: now_ms.saturating_mul(IDS_PER_MS),
        };
        let name = format!("traffic-{content}");
        threads.push(std::thread::Builder::new().name(name).spawn(move || writer.run())?);
    }
    Ok(Run { counters, threads, began: Instant::now() })
}

struct Writer {
    content: Content,
    endpoint: (String, u16),
    counters: Arc<Counters>,
    next_id: i64,
}

/// What an insert was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answered {
    Done,
    /// For certain not committed.
    Refused,
    /// 08007, or nothing: it may be there once, or not.
    Unknown,
}

impl Writer {
    fn run(mut self) -> Written {
        let mut written = Written {
            content: self.content,
            first_id: self.next_id,
            next_id: self.next_id,
            acknowledged: Vec::new(),
            refused: Vec::new(),
            unknown: 0,
            longest_wait_ms: 0,
        };
        match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime.block_on(self.write(&mut written)),
            Err(error) => tracing::error!(%error, "a traffic writer could not start"),
        }
        written.next_id = self.next_id;
        written
    }

    fn stopped(&self) -> bool {
        self.counters.stop.load(Ordering::Acquire)
    }

    async fn write(&mut self, written: &mut Written) {
        let mut last_done = Instant::now();
        while !self.stopped() {
            let Some(client) = self.connect().await else {
                tokio::time::sleep(RECONNECT).await;
                continue;
            };
            while !self.stopped() && !client.is_closed() {
                let id = self.next_id;
                self.next_id += 1;
                let answered = insert(&client, id).await;
                self.note(written, id, answered, &mut last_done);
                if answered == Answered::Unknown {
                    // What the connection says next might belong to the insert before.
                    break;
                }
                tokio::time::sleep(PACE).await;
            }
        }
    }

    fn note(&self, written: &mut Written, id: i64, answered: Answered, last_done: &mut Instant) {
        let count = |n: &AtomicI64| n.fetch_add(1, Ordering::Relaxed);
        match answered {
            Answered::Done => {
                let waited = i64::try_from(last_done.elapsed().as_millis()).unwrap_or(i64::MAX);
                *last_done = Instant::now();
                written.longest_wait_ms = written.longest_wait_ms.max(waited);
                self.counters.longest_wait_ms.fetch_max(waited, Ordering::Relaxed);
                written.acknowledged.push(id);
                count(&self.counters.acknowledged);
            }
            Answered::Refused => {
                written.refused.push(id);
                count(&self.counters.refused);
            }
            Answered::Unknown => {
                written.unknown += 1;
                count(&self.counters.unknown);
            }
        }
    }

    /// A connection to the content through the gateway; none while nobody takes one.
    async fn connect(&self) -> Option<tokio_postgres::Client> {
        let mut config = tokio_postgres::Config::new();
        let (host, port) = &self.endpoint;
        config
            .host(host)
            .port(*port)
            .user("traffic")
            .dbname(format!("content{}", self.content))
            .connect_timeout(Duration::from_secs(5));
        match config.connect(tokio_postgres::NoTls).await {
            Ok((client, connection)) => {
                tokio::spawn(connection);
                Some(client)
            }
            Err(error) => {
                tracing::debug!(content = self.content.0, %error, "traffic could not connect");
                None
            }
        }
    }
}

/// One autocommit insert, as a simple query: one message, one answer.
async fn insert(client: &tokio_postgres::Client, id: i64) -> Answered {
    let text = format!("insert into segsh_traffic(id, at_ms) values ({id}, {})", id / IDS_PER_MS);
    match tokio::time::timeout(NO_ANSWER, client.batch_execute(&text)).await {
        Ok(Ok(())) => Answered::Done,
        Ok(Err(error)) => answer_of(error.code()),
        Err(_) => Answered::Unknown,
    }
}

/// An SQLSTATE other than 08007 is the gateway's word that nothing was committed.
fn answer_of(state: Option<&SqlState>) -> Answered {
    match state {
        Some(state) if *state == SqlState::TRANSACTION_RESOLUTION_UNKNOWN => Answered::Unknown,
        Some(_) => Answered::Refused,
        None => Answered::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_sqlstate_other_than_08007_says_that_nothing_was_committed() {
        assert_eq!(answer_of(Some(&SqlState::from_code("08007"))), Answered::Unknown);
        assert_eq!(answer_of(Some(&SqlState::from_code("40001"))), Answered::Refused);
        assert_eq!(answer_of(Some(&SqlState::from_code("57P03"))), Answered::Refused);
        assert_eq!(answer_of(None), Answered::Unknown);
    }

    #[test]
    fn a_report_of_writers_that_reach_nobody_counts_nothing() {
        // Port 0 is never listened on, so every attempt fails at once.
        let run = start(&[Content(0)], ("127.0.0.1".into(), 0), 1).expect("thread");
        assert_eq!(run.report().acknowledged, 0);
        let written = run.stop(|| false).unwrap_or_default();
        assert_eq!(written.len(), 1);
        assert!(written[0].acknowledged.is_empty());
    }
}
