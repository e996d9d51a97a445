//! How a change ended, for every segment.

use super::refusal::Refusal;
use crate::core::ids::{Content, Dbid};
use crate::core::report::Progress;
use crate::core::row::SegmentRow;
use serde::{Deserialize, Serialize};

/// How an operation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutcomeStatus {
    Done,
    /// `wait: false`: it goes on at the coordinator.
    Started,
    /// A dry run.
    Planned,
    Partial,
    Refused,
    /// Its end was not seen.
    Unknown,
    Cancelled,
    Declined,
    /// A verification found blocks that differ.
    Differs,
}

impl OutcomeStatus {
    pub fn word(self) -> &'static str {
        match self {
            OutcomeStatus::Done => "done",
            OutcomeStatus::Started => "started",
            OutcomeStatus::Planned => "planned",
            OutcomeStatus::Partial => "partial",
            OutcomeStatus::Refused => "refused",
            OutcomeStatus::Unknown => "unknown",
            OutcomeStatus::Cancelled => "cancelled",
            OutcomeStatus::Declined => "declined",
            OutcomeStatus::Differs => "differs",
        }
    }
    /// The process exit code when it goes uncaught.
    pub fn exit(self) -> i32 {
        match self {
            OutcomeStatus::Done | OutcomeStatus::Started | OutcomeStatus::Planned => 0,
            OutcomeStatus::Refused | OutcomeStatus::Declined => 4,
            OutcomeStatus::Partial => 5,
            OutcomeStatus::Unknown => 6,
            OutcomeStatus::Differs => 9,
            OutcomeStatus::Cancelled => 130,
        }
    }
}

/// How a segment ended that was to stop by itself and did not, or could not be asked.
pub const KILLED: &str = "killed";
/// How a segment ended of which nothing ran when it was to be stopped.
pub const NOT_RUNNING: &str = "not running";

/// One segment's part in an outcome.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentOutcome {
    pub content: Content,
    pub dbid: Dbid,
    pub host: String,
    pub status: OutcomeStatus,
    /// `incremental`, `full`, `switched`, `restarted`, `verified`, `stopped`, [`KILLED`], [`NOT_RUNNING`], ...
    pub how: String,
    pub copied_blocks: i64,
    pub copied_bytes: i64,
    /// A verification: bytes that were compared, and blocks of 4 KiB that differ.
    #[serde(default)]
    pub verified_bytes: i64,
    #[serde(default)]
    pub differing_blocks: i64,
    /// The suspensions of reads and writes, in microseconds, in their order.
    pub paused_us: Vec<i64>,
    /// The pair's health at the end, in words.
    pub pair: String,
    /// What went wrong, or what is worth knowing; empty otherwise.
    pub note: String,
}

impl SegmentOutcome {
    /// Of a segment to which nothing was copied; of its pair and beside it nothing is said yet.
    pub fn of(row: &SegmentRow, status: OutcomeStatus, how: &str) -> SegmentOutcome {
        SegmentOutcome {
            content: row.content,
            dbid: row.dbid,
            host: row.hostname.clone(),
            status,
            how: how.into(),
            copied_blocks: 0,
            copied_bytes: 0,
            verified_bytes: 0,
            differing_blocks: 0,
            paused_us: Vec::new(),
            pair: String::new(),
            note: String::new(),
        }
    }
}

/// How a mutating call ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// The verb that was called: `recover`, `full_recover`, `rebalance`, `restart`, `verify`.
    pub verb: String,
    pub status: OutcomeStatus,
    /// The coordinator's operation; `None` when there was nothing to do.
    pub op: Option<i64>,
    pub segments: Vec<SegmentOutcome>,
    pub refusals: Vec<Refusal>,
    pub elapsed_ms: i64,
    /// One sentence.
    pub message: String,
    /// The next step as it would be typed; empty when there is none.
    pub next: String,
}

impl Outcome {
    /// The segments of a stop that had to be killed: their logs are replayed at the next start.
    pub fn killed(&self) -> impl Iterator<Item = &SegmentOutcome> {
        self.segments.iter().filter(|segment| segment.how == KILLED)
    }
}

/// A running operation, as its observer sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progressing {
    pub op: i64,
    pub elapsed_ms: i64,
    /// One line a content that the operation works on.
    pub contents: Vec<ContentProgress>,
}

/// One content of a running operation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContentProgress {
    pub content: Content,
    pub dbid: Dbid,
    /// What is being done, in a few words: `starting the mirror`, `data copy`, `synchronized` ...
    pub doing: String,
    pub finished: bool,
    pub progress: Option<Progress>,
}
