//! A plan: what a change would do, what it leaves out and why, and the rows it predicts.
//!
//! [`plan`] is pure: a state and an intent in, a plan out. The same plan is shown, saved, compared
//! and applied; applying it is refused when what it depends on has changed.

use super::estimate::Basis;
use super::moving::To;
use super::outcome::OutcomeStatus;
use super::refusal::Refusal;
use crate::core::ids::{Content, Dbid, Epoch};
use crate::core::report::StopMode;
use crate::core::row::{PairRow, Place as NewPlace, Role};
use serde::{Deserialize, Serialize};

/// Which segments a call is about. All empty means: whatever needs it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Selection {
    pub contents: Vec<Content>,
    pub dbids: Vec<Dbid>,
    pub hosts: Vec<String>,
}

impl Selection {
    pub fn is_all(&self) -> bool {
        self.contents.is_empty() && self.dbids.is_empty() && self.hosts.is_empty()
    }
}

/// What is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verb", rename_all = "snake_case")]
pub enum Intent {
    Recover {
        selection: Selection,
        rate_bytes: Option<i64>,
        jobs: Option<i64>,
    },
    FullRecover {
        selection: Selection,
        rate_bytes: Option<i64>,
        jobs: Option<i64>,
        in_place: bool,
    },
    Rebalance {
        selection: Selection,
    },
    Restart {
        selection: Selection,
        mode: StopMode,
    },
    /// A recovery to another place: a full copy there, because the old place is gone or given up.
    Move {
        selection: Selection,
        to: To,
        rate_bytes: Option<i64>,
        jobs: Option<i64>,
    },
    /// The last resort: these segments serve from here on, whatever the rows and the records say.
    ForcePrimary {
        selection: Selection,
    },
    Verify {
        selection: Selection,
        rate_bytes: Option<i64>,
        jobs: Option<i64>,
    },
    /// Every content as it is at one moment, into a directory of the coordinator's host.
    Backup {
        dir: String,
        /// Always all.
        selection: Selection,
        rate_bytes: Option<i64>,
        jobs: Option<i64>,
    },
    /// Every content is replaced by what a backup in a directory of the coordinator's host holds.
    Restore {
        dir: String,
        /// Always all.
        selection: Selection,
        rate_bytes: Option<i64>,
        jobs: Option<i64>,
    },
}

impl Intent {
    pub fn verb(&self) -> &'static str {
        match self {
            Intent::Recover { .. } | Intent::Move { .. } => "recover",
            Intent::FullRecover { .. } => "full_recover",
            Intent::Rebalance { .. } => "rebalance",
            Intent::Restart { .. } => "restart",
            Intent::Verify { .. } => "verify",
            Intent::ForcePrimary { .. } => "force_primary",
            Intent::Backup { .. } => "backup",
            Intent::Restore { .. } => "restore",
        }
    }
    /// What its preconditions are listed under: a call may ask for more than its verb says.
    pub fn rules(&self) -> &'static str {
        if let Intent::Move { .. } = self { "recover to" } else { self.verb() }
    }
    pub fn selection(&self) -> &Selection {
        match self {
            Intent::Recover { selection, .. }
            | Intent::Move { selection, .. }
            | Intent::FullRecover { selection, .. }
            | Intent::Rebalance { selection }
            | Intent::Restart { selection, .. }
            | Intent::Verify { selection, .. }
            | Intent::Backup { selection, .. }
            | Intent::Restore { selection, .. }
            | Intent::ForcePrimary { selection } => selection,
        }
    }
}

/// What one step does to its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepKind {
    /// Copy what changed, in place.
    Incremental,
    /// Copy everything to a new copy beside the old one.
    Full,
    /// Copy everything to another place.
    Move,
    /// Switch the roles of a synchronized pair, then recover at once.
    Switch,
    /// Stop and start the content's segments.
    Restart,
    /// Compare the two copies.
    Compare,
    /// Serve from this segment, whatever the rows say.
    Force,
    /// Write the content into a backup.
    Write,
    /// Replace the content by what a backup holds.
    Replace,
}

/// One content's part of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanStep {
    pub content: Content,
    pub kind: StepKind,
    /// The segment that is recovered, switched to primary, restarted, or compared with its primary.
    pub dbid: Dbid,
    /// Where the data comes from; for a switch or a comparison, the present primary.
    pub source: Dbid,
    /// Where the segment is moved to.
    #[serde(default)]
    pub to: Option<NewPlace>,
    /// Estimates; `None` when nobody could say.
    pub copy_blocks: Option<i64>,
    pub total_bytes: Option<i64>,
    pub about_ms: Option<i64>,
    /// What `about_ms` is based on, and the rate in bytes per second that it counts on, for a copy.
    #[serde(default)]
    pub about_basis: Option<Basis>,
    #[serde(default)]
    pub about_rate_bytes: Option<i64>,
    /// Sessions that will be cancelled (statements) by this step: true for switch and restart.
    pub cancels_sessions: bool,
}

/// A like operation that is already running and is waited for instead.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Joined {
    pub content: Content,
    pub dbid: Dbid,
    /// Percent copied, when known.
    pub percent: Option<i64>,
}

/// Where a segment of a plan is, so that a plan can be read without the state it was made from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    pub dbid: Dbid,
    pub host: String,
    pub port: u16,
    pub datadir: String,
    /// The role it was given when the cluster was made.
    #[serde(default)]
    pub preferred_role: Option<Role>,
}

/// How much harm a plan can do, and so how it is confirmed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PlanDamage {
    /// Nothing would be changed: nothing is asked.
    None,
    /// It can be undone, or only cancels statements: y/N.
    Reversible,
    /// A full copy: type the host, or the count of segments when there are several hosts.
    TypeWord(String),
    /// Everything at once: type the cluster's name.
    TypeCluster(String),
}

/// What is typed to confirm an override.
pub const OVERRIDE_WORD: &str = "override";

/// What a change would do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Four hexadecimal digits, from everything below.
    pub id: String,
    /// The fingerprint of the state it was made from: cluster, epochs and rows of its contents, hosts.
    /// A person is shown the first four of its digits.
    pub state_id: String,
    pub cluster_id: String,
    /// When it was made, in Unix milliseconds.
    pub made_ms: i64,
    pub intent: Intent,
    pub steps: Vec<PlanStep>,
    /// Already under way, begun by whomever; waited for.
    pub joined: Vec<Joined>,
    /// What is refused: the whole call when `refuses` is true, else left out.
    pub refusals: Vec<Refusal>,
    pub refuses: bool,
    /// The epochs the steps were planned on.
    pub epochs: Vec<(Content, Epoch)>,
    /// The rows the plan predicts for its contents when all is done.
    pub after: Vec<PairRow>,
    /// Worth knowing before saying yes; empty lines never.
    pub notes: Vec<String>,
    /// Host, port and directory of every segment that the steps name.
    pub places: Vec<Place>,
}

impl Plan {
    pub fn verb(&self) -> &'static str {
        self.intent.verb()
    }
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty() && self.joined.is_empty()
    }
    /// How applying it would end, if all goes well.
    pub fn predicted(&self) -> OutcomeStatus {
        if self.refuses {
            OutcomeStatus::Refused
        } else if !self.refusals.is_empty() {
            OutcomeStatus::Partial
        } else {
            OutcomeStatus::Done
        }
    }

    /// Where a segment of the plan is.
    pub fn place(&self, dbid: Dbid) -> Option<&Place> {
        self.places.iter().find(|p| p.dbid == dbid)
    }

    /// Where a segment is to be moved.
    pub fn new_place(&self, dbid: Dbid) -> Option<&NewPlace> {
        self.steps.iter().find(|s| s.dbid == dbid).and_then(|s| s.to.as_ref())
    }

    /// How applying it must be confirmed. The cluster's name is what is typed when everything at
    /// once is at stake; a plan itself knows only the cluster's identity.
    pub fn damage(&self, cluster: &str) -> PlanDamage {
        // A comparison only reads, and so does a backup; what a difference does to the pair takes nothing away.
        let only_reads = matches!(self.intent, Intent::Verify { .. } | Intent::Backup { .. });
        if self.refuses || self.steps.is_empty() || only_reads {
            return PlanDamage::None;
        }
        if let Intent::Restart { selection, .. } = &self.intent
            && selection.is_all()
        {
            return PlanDamage::TypeCluster(cluster.to_string());
        }
        if let Intent::Restore { .. } = &self.intent {
            return PlanDamage::TypeCluster(cluster.to_string());
        }
        if let Intent::ForcePrimary { .. } = &self.intent {
            return PlanDamage::TypeWord(OVERRIDE_WORD.to_string());
        }
        let full: Vec<&PlanStep> =
            self.steps.iter().filter(|s| matches!(s.kind, StepKind::Full | StepKind::Move)).collect();
        if full.is_empty() {
            return PlanDamage::Reversible;
        }
        let mut hosts: Vec<&str> = full.iter().filter_map(|s| self.place(s.dbid)).map(|p| p.host.as_str()).collect();
        hosts.sort_unstable();
        hosts.dedup();
        match hosts.as_slice() {
            [one] => PlanDamage::TypeWord((*one).to_string()),
            _ => PlanDamage::TypeWord(full.len().to_string()),
        }
    }
}
