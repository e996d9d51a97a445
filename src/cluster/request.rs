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
use super::work::{AuditLine, AuditQuery, OperationInfo};
use crate::core::backup::Manifest;
use crate::core::ids::{Content, Dbid};
use crate::core::report::{Stage, StopMode};
use serde::{Deserialize, Serialize};

/// Who began an operation, and on what: shown to a second administrator, written to the audit log.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// The real user behind a shared account.
    pub user: String,
    /// The account that was acted as; empty when it is the user's own.
    #[serde(default)]
    pub account: String,
    pub host: String,
    pub pid: u32,
    pub terminal: String,
    /// Script and line, empty at the prompt.
    pub script: String,
    /// The plan's id; empty when there was none.
    #[serde(default)]
    pub plan: String,
    /// How it was confirmed: `typed`, `--yes`, `confirm()`; empty when nothing was to be confirmed.
    #[serde(default)]
    pub confirmed: String,
}

impl Owner {
    /// `sam as gpadmin on mdw, pts/3, pid 4711, site/nightly.rhai:14`.
    pub fn who(&self) -> String {
        let account = if self.account.is_empty() { String::new() } else { format!(" as {}", self.account) };
        let terminal = self.terminal.trim_start_matches("/dev/");
        let terminal = if terminal.is_empty() { String::new() } else { format!(", {terminal}") };
        let script = if self.script.is_empty() { String::new() } else { format!(", {}", self.script) };
        format!("{}{account} on {}{terminal}, pid {}{script}", self.user, self.host, self.pid)
    }

    /// Whether it is the same process.
    pub fn is_process_of(&self, other: &Owner) -> bool {
        self.host == other.host && self.pid == other.pid
    }
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
        /// Who follows it.
        #[serde(default)]
        owner: Option<Owner>,
    },
    /// Whoever follows an operation is still there.
    Alive {
        op: i64,
        owner: Owner,
    },
    /// The operations that run and the last that ended, newest first; or the one of this number.
    Operations {
        last: usize,
        op: Option<i64>,
    },
    /// The newest lines of the audit log, oldest first.
    Audit {
        query: AuditQuery,
    },
    /// Nothing is recovered to a host for so many milliseconds; 0 ends that. Then the state.
    Maintenance {
        host: String,
        for_ms: i64,
        reason: String,
        owner: Owner,
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
        /// Who writes it.
        #[serde(default)]
        owner: Option<Owner>,
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
        #[serde(default)]
        owner: Option<Owner>,
    },
    /// Start every segment that is not running, recover the pairs that were synchronized.
    Start {
        owner: Owner,
    },
    /// Stop every segment, primaries first, then the coordinator itself.
    Stop {
        mode: StopMode,
        owner: Owner,
        /// A segment that was asked to stop and has not after so many milliseconds is killed.
        #[serde(default)]
        within_ms: Option<u64>,
    },
    /// A change that was refused or declined before it was asked for: it is only written down.
    NotDone {
        outcome: Outcome,
        owner: Owner,
    },
    /// What the backup in a directory of the coordinator's host says of itself.
    Manifest {
        dir: String,
    },
    /// The hosts in `cluster.json` are others than before: read it again. Then the state.
    HostsChanged {
        owner: Owner,
    },
    /// A host without segments leaves the cluster.
    RemoveHost {
        host: String,
        owner: Owner,
    },
    /// The coordinator alone ends; the segments go on.
    StopCoordinator {
        owner: Owner,
    },
    /// How many clients the front and the segments' own sockets serve.
    Sessions,
    /// Read the password file of the front again.
    Reload {
        owner: Owner,
    },
    /// A content's recovery waits at this stage, or with `None` is released; drill clusters only.
    Hold {
        content: Content,
        stage: Option<Stage>,
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
        /// Whose operation was joined.
        #[serde(default)]
        owner: Option<Owner>,
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
    Operations {
        operations: Vec<OperationInfo>,
    },
    Audit {
        lines: Vec<AuditLine>,
    },
    Manifest {
        manifest: Box<Manifest>,
    },
    Sessions {
        count: i64,
    },
    HostRemoved {
        state: Box<State>,
        /// Why what ran there may still run; empty when all of it has ended.
        left: String,
    },
    Ok,
    /// The request itself can't be answered, with a next step.
    Failed {
        message: String,
        next: String,
    },
}
