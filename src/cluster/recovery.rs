//! The recoveries that are under way, as a view shows them: one row for each segment being recovered.

use super::estimate::left_ms;
use super::outcome::ContentProgress;
use super::state::State;
use crate::core::ids::{Content, Dbid};
use crate::core::report::Progress;
use crate::core::row::{PairRow, Pairing, Role};
use serde::{Deserialize, Serialize};

/// One segment that is being recovered, or waits for its turn.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recovery {
    pub dbid: Dbid,
    pub content: Content,
    pub host: String,
    /// The documented stage, 1 to 4; 0 before the first begins.
    pub stage: u8,
    /// The stage's word; before the first, what is being done: `waiting`, `starting the mirror`.
    pub stage_name: String,
    /// Blocks of 4 KiB that had to be copied when the data copy began; `None` before.
    pub total_blocks: Option<i64>,
    pub copied_blocks: Option<i64>,
    /// Whole percent of the blocks.
    pub percent: Option<i64>,
    /// Bytes per second over the last seconds; `None` before it is measured.
    pub rate_bytes: Option<i64>,
    /// What is left at this rate, in milliseconds; `None` while nobody can say.
    pub left_ms: Option<i64>,
    /// How long reads and writes waited in each of the two pauses, in microseconds.
    pub pause_open_us: Option<i64>,
    pub pause_claim_us: Option<i64>,
    /// Since the link opened; before, since the operation began. In milliseconds.
    pub elapsed_ms: i64,
    /// The operation that works on it; `None` when the catalog alone says that it is copied to.
    pub operation: Option<i64>,
}

/// An operation's line for one segment, as far as it is a recovery that has not ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    pub operation: i64,
    /// Recovering is what it is for: a pair in sync is its end.
    pub recovers: bool,
    /// Since the operation began, in milliseconds.
    pub elapsed_ms: i64,
    pub of: ContentProgress,
}

/// Every recovery under way: those of the operations' lines, and contents that are being copied to
/// although no operation says so. By content.
pub fn recoveries(state: &State, lines: &[Line]) -> Vec<Recovery> {
    let mut found: Vec<Recovery> = lines.iter().map(|line| of_line(state, line)).collect();
    for content in &state.contents {
        let pair = state.pair(content.content);
        let is_copied = pair.as_ref().and_then(PairRow::pairing) == Some(Pairing::Resynchronizing);
        if is_copied
            && found.iter().all(|r| r.content != content.content)
            && let Some(mirror) = state.acting(content.content, Role::Mirror)
        {
            let progress = content.progress.as_ref();
            found.push(row(state, content.content, mirror.row.dbid, progress, "resynchronizing"));
        }
    }
    found.sort_by_key(|r| (r.content, r.dbid));
    found
}

fn of_line(state: &State, line: &Line) -> Recovery {
    let of = &line.of;
    // The state's figures are newer than those an operation was last told.
    let detail = state.content(of.content).and_then(|c| c.progress.as_ref());
    let is_in_sync = state.pair(of.content).as_ref().and_then(PairRow::pairing) == Some(Pairing::Synchronized);
    let progress = of.progress.as_ref().map(|told| match detail {
        Some(newer) => newer.clone(),
        // The primary has claimed, and tells of no copy any more: all of it is there.
        None if line.recovers && is_in_sync => Progress { copied_blocks: told.total_blocks, ..told.clone() },
        None => told.clone(),
    });
    let progress = progress.as_ref();
    let mut recovery = row(state, of.content, of.dbid, progress, &of.doing);
    recovery.operation = Some(line.operation);
    if progress.is_none() {
        recovery.elapsed_ms = line.elapsed_ms;
    }
    recovery
}

fn row(state: &State, content: Content, dbid: Dbid, progress: Option<&Progress>, doing: &str) -> Recovery {
    let signed = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    // Before the data copy begins, nobody knows how much there is to copy.
    let known = progress.filter(|p| p.stage > crate::core::report::Stage::Preparation);
    Recovery {
        dbid,
        content,
        host: state.segment(dbid).map(|s| s.row.hostname.clone()).unwrap_or_default(),
        stage: progress.map_or(0, |p| p.stage.number()),
        stage_name: progress.map_or(doing, |p| p.stage.word()).into(),
        total_blocks: known.map(|p| signed(p.total_blocks)),
        copied_blocks: known.map(|p| signed(p.copied_blocks)),
        percent: known.map(|p| match p.total_blocks {
            0 => 100,
            total => signed(p.copied_blocks.min(total)).saturating_mul(100) / signed(total),
        }),
        rate_bytes: known.and_then(|p| p.rate_bytes).map(signed),
        left_ms: known.and_then(left_ms),
        pause_open_us: progress.and_then(|p| p.pause_open_us).map(signed),
        pause_claim_us: progress.and_then(|p| p.pause_claim_us).map(signed),
        elapsed_ms: progress.map_or(0, |p| signed(p.elapsed_ms)),
        operation: None,
    }
}
