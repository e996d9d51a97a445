//! What a client asks of a coordinator over its control endpoint, and what comes back.
//!
//! One JSON frame a message ([`crate::net`] frames and authenticates). Every request has one reply,
//! except `Watch`, `Start` and `Stop`, which are answered by any number of [`Reply::Progress`] and
//! then one [`Reply::Ended`].

use super::evidence::Evidence;
use super::outcome::{Outcome, Progressing};
use super::plan::Plan;
use super::refusal::Refusal;
use super::state::State;
use crate::core::ids::{Content, Dbid};
use crate::core::report::StopMode;
use serde::{Deserialize, Serialize};

/// Who began an operation: shown to a second administrator, written to the audit log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// The real user behind a shared account.
    pub user: String,
    pub host: String,
    pub pid: u32,
    pub terminal: String,
    /// Script and position, empty at the prompt.
    pub script: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Request {
    State,
    /// FTS looks now, then the state.
    Probe,
    /// Makes the plan's operation durable and begins it.
    Begin {
        plan: Box<Plan>,
        owner: Owner,
    },
    /// Follows an operation to its end.
    Watch {
        op: i64,
    },
    /// Begin no further segment of it; finish what is under way.
    StopAfterSegment {
        op: i64,
    },
    Cancel {
        op: i64,
    },
    /// Reads a setting, or writes it.
    Setting {
        name: String,
        value: Option<String>,
    },
    /// Nobody is promoted for so long; the coordinator's default when no time is given. Then the state.
    FtsPause {
        for_ms: Option<i64>,
        owner: Owner,
    },
    /// Ends a pause, then the state.
    FtsResume {
        owner: Owner,
    },
    /// What FTS saw of a content, and what it decided from it.
    Evidence {
        content: Content,
    },
    /// SIGKILL of a segment, drill clusters only.
    Kill {
        dbid: Dbid,
    },
    /// Start every segment that is not running, recover the pairs that were synchronized.
    Start {
        owner: Owner,
    },
    /// Stop every segment, primaries first, then the coordinator itself.
    Stop {
        mode: StopMode,
        owner: Owner,
    },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Reply {
    State {
        state: Box<State>,
    },
    /// The operation is durable. `joined` says that a like one was already running.
    Begun {
        op: i64,
        joined: bool,
    },
    /// Nothing was begun.
    Refused {
        refusals: Vec<Refusal>,
    },
    /// Another operation holds a content of the plan.
    Locked {
        op: i64,
        owner: Owner,
        message: String,
    },
    Progress {
        now: Progressing,
    },
    Ended {
        outcome: Outcome,
    },
    Setting {
        value: String,
    },
    Evidence {
        evidence: Box<Evidence>,
    },
    Ok,
    /// The request itself can't be answered, with a next step.
    Failed {
        message: String,
        next: String,
    },
}
