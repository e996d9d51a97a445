//! A client that commits without a pause through the gateway, and knows when each commit was acknowledged
//! and which: how long commits were blocked, and whether one was lost.

use crate::subject::Subject;
use crate::support::Wire;
use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// After this long without a commit a line has failed.
const PATIENCE: Duration = Duration::from_secs(60);
/// So many commits in a row, after a gap, show that they go on.
const GOING: usize = 20;

#[derive(Default)]
struct Told {
    /// When each acknowledged commit was answered, in order.
    acked_at: Vec<Instant>,
    acked: Vec<i64>,
    /// Tried and not acknowledged, nor certainly refused.
    unknown: Vec<i64>,
}

pub struct Pulse {
    told: Arc<Mutex<Told>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Pulse {
    /// Begins to write, and returns when commits go on. `first` keeps several runs apart.
    pub fn start(subject: &Subject, first: i64) -> Pulse {
        let (told, stop) = (Arc::<Mutex<Told>>::default(), Arc::<AtomicBool>::default());
        let (socket, told_too, stop_too) = (subject.cluster.socket(), Arc::clone(&told), Arc::clone(&stop));
        let thread = Some(std::thread::spawn(move || write(&socket, first, &told_too, &stop_too)));
        let pulse = Pulse { told, stop, thread };
        pulse.wait_until_going(Instant::now());
        pulse
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until commits are acknowledged that came after a moment.
    fn wait_until_going(&self, since: Instant) {
        let began = Instant::now();
        while self.told().acked_at.iter().rev().take_while(|at| **at > since).count() < GOING {
            assert!(began.elapsed() < PATIENCE, "commits do not go on");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Strikes, waits until commits go on, and returns the longest time, in seconds, without one.
    ///
    /// A commit that was under way may still be acknowledged after a SIGKILL or SIGSTOP has been sent;
    /// what follows is the gap, so the longest pause since just before the strike is looked for, and for a while
    /// after the first commit: a process that is stopped can answer once more.
    pub fn longest_gap(&self, watch: Duration, strike: impl FnOnce()) -> f64 {
        let struck = Instant::now();
        strike();
        self.wait_until_going(struck + watch);
        let told = self.told();
        let from = told.acked_at.partition_point(|at| *at < struck).saturating_sub(1);
        let gaps = told.acked_at[from..].windows(2).map(|pair| pair[1] - pair[0]);
        gaps.max().unwrap_or_default().as_secs_f64()
    }

    /// Ends, reads everything back, and returns how many commits were acknowledged, and how many of them
    /// were lost or doubled.
    pub fn finish(mut self, subject: &Subject) -> (usize, usize) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            thread.join().expect("a writer never panics");
        }
        let told = self.told();
        let rows = subject.cluster.content(0).rows("select id, count(*) from pulse group by id");
        let found: HashMap<i64, i64> = rows
            .iter()
            .filter_map(|r| r.split_once('|'))
            .filter_map(|(i, n)| Some((i.parse().ok()?, n.parse().ok()?)))
            .collect();
        let count = |id: &i64| found.get(id).copied().unwrap_or(0);
        let lost = told.acked.iter().filter(|id| count(id) != 1).count();
        let doubled = told.unknown.iter().filter(|id| count(id) > 1).count();
        (told.acked.len(), lost + doubled)
    }
}

impl Drop for Pulse {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
    }
}

fn write(socket: &Path, first: i64, told: &Mutex<Told>, stop: &AtomicBool) {
    let mut session: Option<Wire> = None;
    let mut id = first;
    while !stop.load(Ordering::SeqCst) {
        let Some(wire) = session.as_mut() else {
            session = Wire::connect(socket, "content0").ok();
            continue;
        };
        id += 1;
        let answer = wire.query(&format!("insert into pulse values ({id})"));
        let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
        match answer {
            Ok(reply) if reply.has_tag("INSERT 0 1") => {
                told.acked_at.push(Instant::now());
                told.acked.push(id);
            }
            Ok(reply) => {
                told.unknown.push(id);
                session = session.filter(|_| reply.state == Some('I'));
            }
            Err(_) => {
                told.unknown.push(id);
                session = None;
            }
        }
    }
}
