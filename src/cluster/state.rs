//! A cluster as it is seen at one moment: the catalog's rows, and what the last probe found.

use super::recovery::Recovery;
use super::warning::Warning;
use super::work::MaintenanceInfo;
use crate::core::ids::{Content, Dbid, Epoch};
use crate::core::report::{HeldAt, Progress};
use crate::core::row::{Mode, PairRow, Pairing, Role, SegmentRow, Status};
use serde::{Deserialize, Serialize};

/// What the last probe found of a process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alive {
    pub alive: bool,
    /// Its process id; `None` when there is no process.
    pub pid: Option<u32>,
    /// Why it is not alive, in words; empty when it is.
    pub cause: String,
    /// Age of this knowledge in milliseconds.
    pub age_ms: i64,
}

/// One segment: its row, and the truth about its process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    pub row: SegmentRow,
    pub alive: Alive,
    /// Free bytes where its data directory is; `None` when nobody could say.
    pub free_bytes: Option<i64>,
    /// Bytes of its replicated files; `None` when nobody could say.
    pub data_bytes: Option<i64>,
    /// Pages of its database that failed their checksum when they were read, since its process started;
    /// `None` when nobody could say.
    #[serde(default)]
    pub damaged_pages: Option<i64>,
    /// The release that its process runs; `None` when nobody could say.
    #[serde(default)]
    pub release: Option<String>,
    /// Since when it has been down by the catalog or not alive, in Unix milliseconds.
    pub down_since_ms: Option<i64>,
}

impl Segment {
    /// `down` is catalog `d` or not alive.
    pub fn is_down(&self) -> bool {
        self.row.status == Status::Down || !self.alive.alive
    }
    pub fn is_preferred(&self) -> bool {
        self.row.role == self.row.preferred_role
    }
}

/// How a pair is doing, in the words of the table's `pair` column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PairHealth {
    Synchronized,
    Resynchronizing,
    ChangeTracking,
    /// Neither the primary nor the mirror can serve.
    DoubleFault,
    /// A content without a mirror, serving.
    NoMirror,
    /// The rows are impossible; nothing is decided for this content.
    Quarantined,
    /// A content without a mirror whose only segment does not serve.
    Lost,
}

impl PairHealth {
    pub fn word(self) -> &'static str {
        match self {
            PairHealth::Synchronized => "synchronized",
            PairHealth::Resynchronizing => "resynchronizing",
            PairHealth::ChangeTracking => "change tracking",
            PairHealth::DoubleFault => "DOUBLE FAULT",
            PairHealth::NoMirror => "no mirror",
            PairHealth::Quarantined => "QUARANTINED",
            PairHealth::Lost => "DOWN, no mirror",
        }
    }
    /// Nobody answers for the content, and nobody will until a person has brought a member back.
    pub fn is_unserved(self) -> bool {
        matches!(self, PairHealth::DoubleFault | PairHealth::Lost)
    }
}

/// One content beyond its rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContentState {
    pub content: Content,
    pub epoch: Epoch,
    pub health: PairHealth,
    /// Blocks of 4 KiB the mirror lacks; `None` when nobody could say.
    pub to_copy_blocks: Option<i64>,
    /// Why an incremental recovery can't be made; `None` when it can.
    pub incremental_impossible: Option<String>,
    /// Why the acting primary's data must not be copied; `None` when it may.
    pub source_damaged: Option<String>,
    pub progress: Option<Progress>,
    /// What is copied, or was begun to be, is everything: the mirror is a new copy.
    #[serde(default)]
    pub full_copy: bool,
    /// Bytes per second of its last recovery, when one of some size was seen.
    #[serde(default)]
    pub copy_rate_bytes: Option<i64>,
    /// The operation that works on this content now.
    pub operation: Option<i64>,
    /// Since when there has been a single copy, in Unix milliseconds.
    pub single_copy_since_ms: Option<i64>,
    /// What happened last and how that was seen, in words.
    pub last_event: String,
    /// Why the content is quarantined; `None` when it is not.
    pub quarantine: Option<String>,
    /// Where a drill holds its recovery, or will hold the next one.
    #[serde(default)]
    pub held: Option<HeldAt>,
}

/// A host, by its agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostState {
    pub host: String,
    pub address: String,
    pub alive: bool,
    pub pid: Option<u32>,
    pub cause: String,
    /// The directories in which its segments' data directories are, the usual one first.
    #[serde(default)]
    pub roots: Vec<String>,
}

/// What a move has left at a segment's former place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftBehind {
    pub dbid: Dbid,
    pub host: String,
    pub datadir: String,
    /// When the segment was moved, in Unix milliseconds.
    pub since_ms: i64,
}

impl LeftBehind {
    /// Whether it is there.
    pub fn is_at(&self, host: &str, datadir: &str) -> bool {
        (self.host.as_str(), self.datadir.as_str()) == (host, datadir)
    }
}

/// The coordinator; its `pid` is `None` when the state was read from the last catalog.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CoordinatorState {
    pub host: String,
    pub port: u16,
    pub socket_dir: String,
    pub pid: Option<u32>,
    /// Clients over TCP are turned away until it is started anew.
    #[serde(default)]
    pub restricted: bool,
}

/// A whole cluster at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    pub cluster: String,
    /// The cluster's own identity, part of every plan's fingerprint.
    pub cluster_id: String,
    pub drill: bool,
    pub coordinator: CoordinatorState,
    pub hosts: Vec<HostState>,
    /// The coordinator's row, dbid 1.
    pub coordinator_row: SegmentRow,
    /// Every other row, by dbid.
    pub segments: Vec<Segment>,
    pub contents: Vec<ContentState>,
    /// Every recovery under way, those that wait for their turn included.
    #[serde(default)]
    pub recoveries: Vec<Recovery>,
    /// What should be looked at before it becomes a fault.
    #[serde(default)]
    pub warnings: Vec<Warning>,
    /// Hosts to which nothing is recovered for a while.
    #[serde(default)]
    pub maintenance: Vec<MaintenanceInfo>,
    /// What moves have left at former places.
    #[serde(default)]
    pub left_behind: Vec<LeftBehind>,
    /// Age of the last probe in milliseconds; of the catalog's last write when the coordinator is down.
    pub age_ms: i64,
    /// When this was made, in Unix milliseconds.
    pub time_ms: i64,
    /// Until when FTS is paused, in Unix milliseconds.
    pub fts_paused_until_ms: Option<i64>,
    /// Marked by its administrators as one that people depend on: a shell shows it red.
    #[serde(default)]
    pub production: bool,
}

impl State {
    /// Exactly the catalog.
    pub fn rows(&self) -> impl Iterator<Item = &SegmentRow> {
        std::iter::once(&self.coordinator_row).chain(self.segments.iter().map(|s| &s.row))
    }
    pub fn content(&self, content: Content) -> Option<&ContentState> {
        self.contents.iter().find(|c| c.content == content)
    }
    pub fn segment(&self, dbid: Dbid) -> Option<&Segment> {
        self.segments.iter().find(|s| s.row.dbid == dbid)
    }
    pub fn host(&self, name: &str) -> Option<&HostState> {
        self.hosts.iter().find(|h| h.host == name)
    }
    pub fn acting(&self, content: Content, role: Role) -> Option<&Segment> {
        self.segments.iter().find(|s| s.row.content == content && s.row.role == role)
    }
    /// The pair's row, from its segments' rows; `None` without a primary.
    pub fn pair(&self, content: Content) -> Option<PairRow> {
        let member =
            |s: &Segment| crate::core::row::Member { dbid: s.row.dbid, mode: s.row.mode, status: s.row.status };
        Some(PairRow {
            content,
            epoch: self.content(content)?.epoch,
            primary: member(self.acting(content, Role::Primary)?),
            mirror: self.acting(content, Role::Mirror).map(member),
        })
    }
    pub fn down(&self) -> Vec<&Segment> {
        self.segments.iter().filter(|s| s.is_down()).collect()
    }
    /// Contents with one copy: mode `c` or `r`.
    pub fn single_copy(&self) -> Vec<Content> {
        self.contents
            .iter()
            .map(|c| c.content)
            .filter(|c| {
                self.acting(*c, Role::Primary)
                    .is_some_and(|p| matches!(p.row.mode, Mode::ChangeTracking | Mode::Resynchronizing))
            })
            .collect()
    }
    /// Contents of which neither the primary nor the mirror can serve.
    pub fn double_fault(&self) -> Vec<Content> {
        self.contents.iter().filter(|c| c.health == PairHealth::DoubleFault).map(|c| c.content).collect()
    }
    /// Contents without a mirror whose only segment does not serve.
    pub fn lost(&self) -> Vec<Content> {
        self.contents.iter().filter(|c| c.health == PairHealth::Lost).map(|c| c.content).collect()
    }
    pub fn unbalanced(&self) -> Vec<&Segment> {
        self.segments.iter().filter(|s| !s.is_preferred()).collect()
    }
    /// False when any content has no usable member, or is quarantined.
    pub fn operational(&self) -> bool {
        self.coordinator.pid.is_some()
            && !self.contents.iter().any(|c| c.health.is_unserved() || c.health == PairHealth::Quarantined)
    }
    /// Derives a pair's health from its row and its processes. `usable` says that a member can serve:
    /// the acting primary is alive, or the pair is synchronized and its mirror is.
    pub fn health_of(row: Option<&PairRow>, usable: bool, quarantined: bool) -> PairHealth {
        let Some(pairing) = row.and_then(PairRow::pairing).filter(|_| !quarantined) else {
            return PairHealth::Quarantined;
        };
        match pairing {
            Pairing::Mirrorless if !usable => PairHealth::Lost,
            _ if !usable => PairHealth::DoubleFault,
            Pairing::Synchronized => PairHealth::Synchronized,
            Pairing::Resynchronizing => PairHealth::Resynchronizing,
            Pairing::ChangeTracking => PairHealth::ChangeTracking,
            Pairing::Mirrorless => PairHealth::NoMirror,
        }
    }
}
