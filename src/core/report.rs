//! What the coordinator tells a segment, and what the segment answers.
//!
//! There is one order, [`Order`]: the pair's row. It is sent with every probe until it is obeyed, so
//! a lost message is never lost for long (R1). There is one answer, [`Report`]; a segment also sends
//! it unasked when something changes that the coordinator should not have to wait for.

use super::ids::{Content, CopyId, Dbid, Epoch};
use super::row::PairRow;
use serde::{Deserialize, Serialize};

/// The release of this program: what a segment says that it runs.
pub const RELEASE: &str = env!("CARGO_PKG_VERSION");

/// Where a peer takes its replication link.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PeerAddress {
    pub dbid: Dbid,
    pub address: String,
    pub replication_port: u16,
}

/// The row, as told to one member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    pub row: PairRow,
    /// The other member; `None` in a cluster without mirrors.
    pub peer: Option<PeerAddress>,
    /// For `r/r`: everything is to be copied, because the mirror is a new copy.
    pub full_copy: bool,
    /// Cap on the copy in bytes per second, for `r/r`.
    pub rate_bytes: Option<u64>,
}

/// What a segment process is, right now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Started, and nobody until it has asked (R5).
    Nobody,
    /// A mirror that applies, or waits for, the frames of its one link.
    Mirror,
    /// The acting primary without a mirror in the cluster.
    Mirrorless,
    /// The acting primary, tracking changes.
    Tracking,
    /// The acting primary, copying to its mirror.
    Resynchronizing,
    /// The acting primary, which has claimed to be in sync: R2 holds from here on.
    InSync,
    /// The acting primary, which lost its mirror and waits for the coordinator's word.
    Suspended,
    /// Told to become the acting primary; SQLite is being opened.
    Promoting,
}

/// The documented stages of a resynchronization.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    Preparation,
    DataCopy,
    FlatFiles,
    Claimed,
}

impl Stage {
    /// The stage's place among the four the documents name, from 1.
    pub fn number(self) -> u8 {
        self as u8 + 1
    }
    pub fn word(self) -> &'static str {
        match self {
            Stage::Preparation => "preparation",
            Stage::DataCopy => "data copy",
            Stage::FlatFiles => "flat files",
            Stage::Claimed => "claim",
        }
    }
}

/// How far a resynchronization is.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Progress {
    pub stage: Stage,
    /// Blocks of 4 KiB that had to be copied when the data copy began.
    pub total_blocks: u64,
    /// Blocks copied, or made clean by a whole-block write, since.
    pub copied_blocks: u64,
    pub files_created: u64,
    pub files_dropped: u64,
    /// How long reads and writes waited in each of the two suspensions, in microseconds.
    pub pause_open_us: Option<u64>,
    pub pause_claim_us: Option<u64>,
    /// Since the link opened, in milliseconds.
    pub elapsed_ms: u64,
    /// Bytes copied per second over the last seconds; filled in by the coordinator, who measures it.
    #[serde(default)]
    pub rate_bytes: Option<u64>,
}

/// How far the mirror is behind an acting primary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lag {
    /// Bytes that wait to be sent.
    pub queued_bytes: u64,
    /// Age in milliseconds of the oldest sync that the mirror has not answered, or the longest that one
    /// of the last seconds took, whichever is longer.
    pub oldest_sync_ms: u64,
}

/// Why a segment asks for attention.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "kind", content = "detail", rename_all = "snake_case")]
pub enum MirrorLoss {
    /// The link's connection ended or could not be made.
    LinkClosed(String),
    /// No answer to a sync or a ping within the deadline.
    Silent { waited_ms: u64 },
    /// The mirror said that its own disk failed it.
    MirrorDisk(String),
    /// The mirror cannot be made equal from what was tracked: only a full copy can.
    IncrementalImpossible(String),
}

impl std::fmt::Display for MirrorLoss {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            MirrorLoss::LinkClosed(why) => write!(f, "link closed: {why}"),
            MirrorLoss::Silent { waited_ms } => write!(f, "no answer for {waited_ms} ms"),
            MirrorLoss::MirrorDisk(why) => write!(f, "mirror's disk: {why}"),
            MirrorLoss::IncrementalImpossible(why) => write!(f, "incremental recovery impossible: {why}"),
        }
    }
}

/// The copy a change tracking map is bound to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct CopyState {
    pub copy: CopyId,
    /// The epoch of the link over which this copy was last in sync.
    pub generation: Epoch,
}

/// Whether an acting primary's own data may be copied over its mirror's. Durable: it is kept in
/// `segment.meta`, and only a pair that is in sync again forgets it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Soundness {
    /// No difference to the mirror is known, or this side was judged sound since.
    #[default]
    Sound,
    /// A verification found blocks that differ; which side is wrong nobody has looked at yet.
    Unjudged,
    /// This side's data is damaged: it must not be copied over the other copy.
    Damaged { why: String },
}

/// How far a verification is.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "at", rename_all = "snake_case")]
pub enum VerifyStage {
    Running,
    /// Every block was compared.
    Ended,
    /// It ended before that, and why.
    Failed {
        why: String,
    },
}

/// The verification that the acting primary runs, or ran last.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Verification {
    /// The operation it is made for.
    pub op: i64,
    pub stage: VerifyStage,
    /// Bytes that both sides were compared in.
    pub verified_bytes: u64,
    /// Bytes of all replicated files, as they were when each was begun.
    pub total_bytes: u64,
    /// Blocks of 4 KiB that differ.
    pub differing_blocks: u64,
    /// The first runs of them, in words; empty when there are none.
    pub differing: String,
}

/// A segment's answer to a probe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    pub dbid: Dbid,
    pub content: Content,
    pub pid: u32,
    pub phase: Phase,
    /// The highest epoch this segment has obeyed, durably.
    pub epoch: Epoch,
    /// This copy of the content's files.
    pub copy: CopyState,
    /// A mirror (or a nobody) that could be promoted: its durable marker says consistent, it met no
    /// I/O error, its files stand under their names (R4).
    pub ready: bool,
    /// The link this process holds, by its epoch; `None` when it has ended or never was.
    pub link: Option<Epoch>,
    /// A primary's loss of its mirror, until a row of a higher epoch is obeyed.
    pub mirror_lost: Option<MirrorLoss>,
    /// A primary whose own disk does not answer, or that failed: it counts as lost.
    pub sick: Option<String>,
    /// Why this acting primary's map can't serve an incremental recovery; `None` when it can.
    pub map_unusable: Option<String>,
    /// The copy that the acting primary's map is bound to.
    pub map_bound_to: Option<CopyState>,
    /// Blocks of 4 KiB known to differ from the mirror; while changes are tracked, with those of the log,
    /// which a recovery copies whole.
    pub dirty_blocks: u64,
    /// Bytes of all replicated files.
    pub data_bytes: u64,
    /// Free bytes of the file system under the data directory.
    pub free_bytes: u64,
    pub progress: Option<Progress>,
    /// How far the mirror is behind, while there is a link.
    #[serde(default)]
    pub lag: Option<Lag>,
    /// The verification it runs, or ran last.
    #[serde(default)]
    pub verification: Option<Verification>,
    /// Whether its data may be copied over its mirror's.
    #[serde(default)]
    pub soundness: Soundness,
    /// Pages of main.db that failed their checksum when they were read, since the process started.
    #[serde(default)]
    pub damaged_pages: u64,
    /// Where a drill holds its recovery, or will hold the next one.
    #[serde(default)]
    pub held: Option<HeldAt>,
    /// The release that it runs; empty from one that did not say so yet.
    #[serde(default)]
    pub release: String,
    /// Sessions of clients that came to the segment's own socket. Those that the coordinator's front carries are
    /// counted there.
    #[serde(default)]
    pub sessions: u64,
}

impl Report {
    /// Whether this is the claim whose news a drill holds back: it is told only to who asks.
    pub fn is_held_back(&self) -> bool {
        self.phase == Phase::InSync && self.held == Some(HeldAt { stage: Stage::Claimed, reached: true })
    }
}

/// A drill's hold on a recovery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldAt {
    pub stage: Stage,
    /// The recovery has come there, and waits.
    pub reached: bool,
}

/// Coordinator to segment, on the control connection.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ToSegment {
    /// Report yourself; obey the row if there is one. `seq` comes back in the answer.
    Probe { seq: u64, order: Option<Order> },
    /// Rebalance: hold new statements, cancel running ones, fail open transactions, finish commits
    /// in flight, sync on both sides, then answer `Drained` and exit.
    Drain { seq: u64 },
    /// A planned stop of the whole segment. `smart` waits for sessions; `fast` ends them.
    Stop { seq: u64, mode: StopMode },
    /// Compare every block with the mirror's, for this operation; the report says how far that is. Said
    /// again for the same operation it changes nothing. `rate_bytes` is a cap in bytes per second.
    Verify { seq: u64, op: i64, rate_bytes: Option<u64> },
    /// End that comparison.
    EndVerify { seq: u64, op: i64 },
    /// Judge this side's own data, if that is not done yet: the report says what came of it.
    Judge { seq: u64 },
    /// A drill: recoveries wait at this stage, or with `None` nothing is held any more. The report says
    /// what holds.
    Hold { seq: u64, stage: Option<Stage> },
}

/// Segment to coordinator. `seq` is `None` in a pushed report.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum FromSegment {
    Report {
        seq: Option<u64>,
        report: Box<Report>,
    },
    /// The primary is quiet, both copies are synced, and it exits now.
    Drained {
        seq: u64,
    },
    /// The hold is taken, or its end.
    Held {
        seq: u64,
    },
    /// The order can't be followed now, and why.
    Failed {
        seq: u64,
        message: String,
    },
}

/// How sessions are treated when a segment or a cluster stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopMode {
    /// Wait until the sessions have ended by themselves.
    Smart,
    /// End the sessions, finish what is being synced, stop.
    Fast,
    /// Stop at once; the log is replayed at the next start.
    Immediate,
}

impl StopMode {
    pub fn word(self) -> &'static str {
        match self {
            StopMode::Smart => "smart",
            StopMode::Fast => "fast",
            StopMode::Immediate => "immediate",
        }
    }
    pub fn parse(text: &str) -> Option<StopMode> {
        [StopMode::Smart, StopMode::Fast, StopMode::Immediate].into_iter().find(|m| m.word() == text)
    }
}
