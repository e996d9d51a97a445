//! Watches a content's rows in the catalog, so that a test sees every stage and not only the last.

use super::cluster::Cluster;
use super::status::{RESYNCHRONIZING, SYNCHRONIZED, TRACKING, TRACKING_UNFINISHED};
use super::wire::Wire;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Every stage of a pair that the documents allow.
const LEGAL: [&str; 4] = [SYNCHRONIZED, RESYNCHRONIZING, TRACKING, TRACKING_UNFINISHED];

/// One state of a pair: the dbid of its acting primary, and both members' letters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stage {
    pub primary: i64,
    pub letters: String,
}

pub struct Watcher {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Vec<Stage>>,
}

impl Watcher {
    #[track_caller]
    pub fn start(cluster: &Cluster, content: i64) -> Watcher {
        let stop = Arc::new(AtomicBool::new(false));
        let mut first = cluster.catalog();
        let mut stages = vec![look(&mut first, content).expect("the catalog answers a healthy cluster")];
        let thread = {
            let (stop, socket) = (Arc::clone(&stop), cluster.socket());
            std::thread::spawn(move || {
                watch(&socket, content, &stop, &mut stages);
                stages
            })
        };
        Watcher { stop, thread }
    }

    /// The stages in their order, each one legal.
    #[track_caller]
    pub fn finish(self) -> Vec<Stage> {
        self.stop.store(true, Ordering::SeqCst);
        let stages = self.thread.join().expect("the watcher never panics");
        for stage in &stages {
            assert!(LEGAL.contains(&stage.letters.as_str()), "not a documented state: {stage:?} in {stages:#?}");
        }
        stages
    }
}

fn watch(socket: &Path, content: i64, stop: &AtomicBool, stages: &mut Vec<Stage>) {
    let mut session = None;
    loop {
        // The flag is read before the look, so that the last state is never missed.
        let last = stop.load(Ordering::SeqCst);
        if session.is_none() {
            session = Wire::connect(socket, "postgres").ok();
        }
        match session.as_mut().and_then(|wire| look(wire, content)) {
            Some(now) if stages.last() != Some(&now) => stages.push(now),
            Some(_) => {}
            None => session = None,
        }
        if last {
            return;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// One statement, so one moment of the catalog.
fn look(wire: &mut Wire, content: i64) -> Option<Stage> {
    let sql = format!(
        "select dbid, role, mode, status from gp_segment_configuration where content = {content} order by role desc"
    );
    let reply = wire.query(&sql).ok().filter(|r| r.error.is_none() && r.rows.len() == 2)?;
    let text = |row: usize, column: usize| reply.rows[row].get(column).cloned().flatten().unwrap_or_default();
    let letters = |row| format!("{},{},{}", text(row, 1), text(row, 2), text(row, 3));
    Some(Stage { primary: text(0, 0).parse().ok()?, letters: format!("{} / {}", letters(0), letters(1)) })
}
