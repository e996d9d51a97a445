//! What is known at this moment, shared by everything in the coordinator that only reads it.
//!
//! The prober and the watch of the hosts write here; the state, the operations and the gateway's
//! routes read, and wait for news. The catalog stays the truth: a row here is a copy of it.

use super::maintenance::Window;
use crate::cluster::estimate::Speedometer;
use crate::core::ids::{Content, Dbid, Epoch};
use crate::core::report::{MirrorLoss, Report, Stage};
use crate::core::row::PairRow;
use crate::hosts::Running;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// What is known of a segment's process.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    pub report: Option<Report>,
    pub heard: Option<Instant>,
    /// Since when attempts fail, since when in Unix milliseconds, and how.
    pub failing: Option<Failing>,
    /// The last loss of a mirror that a primary reported, and under which epoch: the report itself is
    /// replaced as soon as tracking is granted.
    pub lost: Option<(Epoch, MirrorLoss)>,
    /// Measures a copy from this segment.
    pub speed: Speedometer,
}

/// How attempts to reach a segment fail.
#[derive(Debug, Clone)]
pub struct Failing {
    pub since: Instant,
    pub since_ms: i64,
    pub last: Instant,
    pub why: String,
    /// Since when its port refuses or resets: from then on the process that was known is gone.
    pub absent_since: Option<Instant>,
}

impl Seen {
    /// Notes how fast a copy from this segment goes, in the report itself.
    pub fn measure(&mut self, now_ms: u64, report: &mut Report) {
        if let Some(progress) = report.progress.as_mut().filter(|p| p.stage == Stage::DataCopy) {
            progress.rate_bytes = self.speed.see(now_ms, progress.copied_blocks);
        }
    }

    /// The last answer, if it is not older than `age` and nothing failed since.
    pub fn answer(&self, age: Duration) -> Option<&Report> {
        let fresh = self.heard.is_some_and(|at| at.elapsed() <= age);
        self.report.as_ref().filter(|_| self.failing.is_none() && fresh)
    }
}

/// What is known of a content beyond its segments.
#[derive(Debug, Clone, PartialEq)]
pub struct ContentSeen {
    /// The pair, or why its rows are impossible.
    pub pair: Result<PairRow, String>,
    pub serving_epoch: Epoch,
    pub must_copy_all: bool,
    pub quarantine: Option<String>,
    pub last_event: String,
    pub single_copy_since_ms: Option<i64>,
    /// What FTS saw in its last rounds, with ages in milliseconds.
    pub evidence: Vec<String>,
}

/// What is known of a host.
#[derive(Debug, Clone, Default)]
pub struct HostSeen {
    pub pid: Option<u32>,
    pub running: Vec<Running>,
    /// Why it does not answer; empty when it does.
    pub cause: String,
    /// When it was asked: what is said here was true at that moment or later.
    pub at: Option<Instant>,
}

/// Everything known.
#[derive(Debug, Clone)]
pub struct Knowledge {
    pub segments: BTreeMap<Dbid, Seen>,
    pub contents: BTreeMap<Content, ContentSeen>,
    pub hosts: BTreeMap<String, HostSeen>,
    /// Hosts to which nothing is recovered; what is over is not taken out.
    pub maintenance: BTreeMap<String, Window>,
    /// Until when nobody is promoted; `None` when FTS is not paused.
    pub paused_until: Option<Instant>,
    /// When the last round of probes was seen to its end.
    pub probed: Option<Instant>,
    /// How old an answer may be and still count: a probe's interval and its deadline, and some.
    pub fresh: Duration,
}

/// What an answer may be late beyond the settings: this process is not alone on its machine.
const LENIENCE: Duration = Duration::from_millis(500);

impl Default for Knowledge {
    /// Nothing is known, and nothing known later is older than the settings allow by default.
    fn default() -> Self {
        Knowledge {
            segments: BTreeMap::new(),
            contents: BTreeMap::new(),
            hosts: BTreeMap::new(),
            maintenance: BTreeMap::new(),
            paused_until: None,
            probed: None,
            fresh: Duration::from_secs(2) + LENIENCE,
        }
    }
}

impl Knowledge {
    /// Segments are probed at this interval, and have this long to answer.
    pub fn probed_every(&mut self, interval: Duration, timeout: Duration) {
        self.fresh = interval + timeout + LENIENCE;
    }

    /// A segment's last answer, while it counts.
    pub fn answer(&self, dbid: Dbid) -> Option<&Report> {
        self.segments.get(&dbid)?.answer(self.fresh)
    }

    /// The process in one of these data directories, as far as its host's word goes: a host that was
    /// asked before the port began to refuse speaks of a process that is gone.
    pub fn process(&self, dbid: Dbid, host: &str, datadirs: &[PathBuf]) -> Option<u32> {
        let host = self.hosts.get(host)?;
        let absent = self.segments.get(&dbid).and_then(|s| s.failing.as_ref()).and_then(|f| f.absent_since);
        if absent.is_some_and(|since| host.at.is_none_or(|at| at < since)) {
            return None;
        }
        host.running.iter().find(|r| datadirs.contains(&r.datadir)).map(|r| r.pid)
    }

    /// The row of a content.
    pub fn row(&self, content: Content) -> Option<PairRow> {
        self.contents.get(&content)?.pair.as_ref().ok().copied()
    }
}

/// The shared knowledge, and a version that rises with each change.
#[derive(Debug)]
pub struct Board {
    known: Mutex<Knowledge>,
    version: watch::Sender<u64>,
}

impl Default for Board {
    fn default() -> Self {
        Board { known: Mutex::default(), version: watch::Sender::new(0) }
    }
}

impl Board {
    /// Reads something; never held across a wait.
    pub fn read<T>(&self, look: impl FnOnce(&Knowledge) -> T) -> T {
        look(&self.lock())
    }

    /// Writes something, and wakes whoever waits for news.
    pub fn write<T>(&self, change: impl FnOnce(&mut Knowledge) -> T) -> T {
        let result = change(&mut self.lock());
        self.version.send_modify(|v| *v += 1);
        result
    }

    /// Wakes at each change from now on.
    pub fn news(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    fn lock(&self) -> MutexGuard<'_, Knowledge> {
        // The writers only assign: a panic in between leaves old knowledge, never half of it.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::ids::CopyId;
    use crate::core::report::{CopyState, Phase, Soundness};

    fn report() -> Report {
        Report {
            dbid: Dbid(2),
            content: Content(0),
            pid: 1,
            phase: Phase::InSync,
            epoch: Epoch(1),
            copy: CopyState { copy: CopyId(1), generation: Epoch(1) },
            ready: true,
            link: None,
            mirror_lost: None,
            sick: None,
            map_unusable: None,
            map_bound_to: None,
            dirty_blocks: 0,
            data_bytes: 0,
            free_bytes: 0,
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

    #[test]
    fn an_answer_counts_until_the_next_one_is_overdue_whatever_the_interval() {
        let mut known = Knowledge::default();
        let age = Duration::from_secs(3);
        let heard = Instant::now().checked_sub(age);
        known.segments.insert(Dbid(2), Seen { report: Some(report()), heard, ..Seen::default() });
        assert_eq!(known.answer(Dbid(2)), None);
        known.probed_every(age, Duration::from_secs(1));
        assert_eq!(known.answer(Dbid(2)), Some(&report()));
    }
}
