//! What the next step of a target depends on.

use crate::core::ids::{CopyId, Dbid, Epoch};
use crate::core::report::{MirrorLoss, Phase, Report};
use crate::core::row::{PairRow, Place};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Whether a segment's process runs, as its host says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Process {
    /// The host's agent does not answer.
    #[default]
    Unknown,
    Absent,
    Running(u32),
}

/// What is known of one member.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct MemberFacts {
    /// Its last answer, while its connection stands and answers in time.
    pub report: Option<Report>,
    /// Its last answer to this coordinator, however long ago.
    pub last: Option<Report>,
    /// The process that holds its data directory.
    pub process: Process,
    /// The process that holds the sibling directory of a full copy.
    pub sibling: Process,
    /// Free bytes where its data directory is.
    pub free_bytes: Option<u64>,
    /// The last loss of its mirror that it reported, and under which epoch.
    pub lost: Option<(Epoch, MirrorLoss)>,
}

/// How far the other contents of a restore are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Others {
    #[default]
    Working,
    /// Every content has its new copy, and none goes back any more.
    Ready,
    /// One has failed, or it was cancelled, before all were ready.
    GaveUp,
}

/// What is found at a place to which a segment is to be moved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// Its host does not keep segments in that directory; in words.
    Refused(String),
    Surveyed(Survey),
}

/// What would be in the way of a segment at a place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Survey {
    /// Free bytes where the directory is, or would be.
    pub free_bytes: u64,
    /// What is in the directory.
    pub holds: Holds,
    /// Which of the ports somebody listens on.
    pub ports_taken: Vec<u16>,
}

/// What is in a directory that is to become a segment's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Holds {
    /// Nothing, or there is no such directory.
    Nothing,
    /// An earlier copy of this very segment.
    FormerCopy,
    /// Somebody else's files.
    Other,
}

/// Everything that the next step depends on.
#[derive(Debug, Clone, PartialEq)]
pub struct Facts {
    pub now_ms: u64,
    /// The operation that the target is of.
    pub op: i64,
    pub row: PairRow,
    /// Why the content is quarantined.
    pub quarantined: Option<String>,
    pub members: BTreeMap<Dbid, MemberFacts>,
    /// Where the target's segment is, by its row.
    pub place: Option<Place>,
    /// What is at the place it is to be moved to; `None` while nothing is, or its host does not answer.
    pub destination: Option<Destination>,
    /// A full copy was begun and has not come to its end: nothing else can make the pair equal.
    pub must_copy_all: bool,
    /// The copy that served last, as the catalog keeps it.
    pub serving_copy: Option<CopyId>,
    /// Another operation has a target on this content.
    pub other_works: bool,
    /// Restore: how far the other contents are.
    pub others: Others,
    /// The goal's flags, which may change while it runs.
    pub cancelled: bool,
    pub stop_after_segment: bool,
}

impl Facts {
    /// The directory of a member's process, if one runs: whether it is the sibling.
    pub(super) fn runs_in_sibling(&self, dbid: Dbid) -> Option<bool> {
        let member = self.members.get(&dbid)?;
        match (member.process, member.sibling) {
            (Process::Running(_), _) => Some(false),
            (_, Process::Running(_)) => Some(true),
            _ => None,
        }
    }

    /// Whether its host says that a member has no process, under either name.
    pub(super) fn is_absent(&self, dbid: Dbid) -> bool {
        let member = self.member(dbid);
        (member.process, member.sibling) == (Process::Absent, Process::Absent)
    }

    pub(super) fn member(&self, dbid: Dbid) -> MemberFacts {
        self.members.get(&dbid).cloned().unwrap_or_default()
    }

    /// The acting primary's answer under the present row, when it serves. The last word of a process that is
    /// gone, where its host knows of another one, is nobody's.
    pub(super) fn serving(&self) -> Option<Report> {
        let member = self.member(self.row.primary.dbid);
        let report = member.report?;
        let gone = |process: Process| match process {
            Process::Running(pid) => pid != report.pid,
            Process::Absent => true,
            Process::Unknown => false,
        };
        if gone(member.process) && gone(member.sibling) {
            return None;
        }
        let serves =
            matches!(report.phase, Phase::Tracking | Phase::Resynchronizing | Phase::InSync | Phase::Mirrorless);
        (serves && report.epoch == self.row.epoch && report.sick.is_none()).then_some(report)
    }
}
