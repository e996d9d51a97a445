//! The trait that the script API knows, and nothing else of a backend.

use super::error::ClusterError;
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
use std::path::PathBuf;
use std::sync::Arc;

/// What an observer of a running operation wants next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Control {
    /// Go on, call me again within 100 ms or at the next change.
    KeepWatching,
    /// Stop watching; the operation goes on at the coordinator (`started`).
    Detach,
    /// Begin no further segment; finish those under way.
    StopAfterSegment,
    /// Cancel now (`cancelled`).
    Cancel,
}

/// Sees a running operation and may steer it. Called at least every 100 ms.
pub trait Observer {
    fn progress(&mut self, now: &Progressing) -> Control;
    /// What is worth knowing beside the progress, such as whose operation was joined.
    fn note(&mut self, _text: &str) {}
}

/// Says whether a person wants what runs to end: Ctrl-C, TERM, or the end of a time limit. Sticky.
pub type InterruptFlag = Arc<dyn Fn() -> bool + Send + Sync>;

/// The id of a coordinator's operation.
pub type OperationId = i64;

/// An SQL value as scripts see it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Value {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    Blob(Vec<u8>),
}

/// Rows of a statement, columns in their order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rows {
    pub columns: Vec<String>,
    pub rows: Vec<Vec<Value>>,
    /// Rows inserted, updated or deleted.
    pub affected: i64,
}

/// On whose behalf the next calls are made, beyond what the process itself is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Acting {
    /// Script and line, empty at the prompt.
    pub script: String,
    /// How the next change was confirmed; see [`super::request::Owner`].
    pub confirmed: String,
}

/// Where a statement goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SqlTarget {
    /// Database `postgres`: the catalog and the admin functions.
    Catalog,
    /// The acting primary of a content, through the gateway.
    Content(Content),
}

/// A fault to inject, on drill clusters only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// SIGKILL the segment's process.
    Kill(Dbid),
    /// SIGKILL the host's agent and every segment on it.
    StopHost(String),
    /// Start the host's agent again; its segments stay down until recovered.
    StartHost(String),
    /// The content's recovery, or its next one, waits at this stage.
    Hold(Content, Stage),
    /// What waits there goes on.
    Release(Content),
}

/// A host that is to join the cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NewHost {
    pub name: String,
    /// The address that its agent and its segments listen on; `None` is the next free one of a cluster on loopback
    /// addresses.
    pub address: Option<String>,
    /// Directories for its segments beside the host's own; the first is where new ones go.
    pub roots: Vec<PathBuf>,
    /// How it is reached; `None` is a host of this machine.
    pub ssh: Option<SshLogin>,
}

/// A host that has left the cluster.
#[derive(Debug, Clone, PartialEq)]
pub struct HostRemoved {
    /// The state without it.
    pub state: State,
    /// Why what ran there may still run; empty when all of it has ended.
    pub left: String,
}

/// How a host that joins is reached over SSH.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SshLogin {
    /// The directory for all that is ours there.
    pub dir: PathBuf,
    /// Whose account; `None` is the name of whoever asks.
    pub user: Option<String>,
    /// The port of its `sshd`; `None` is 22.
    pub port: Option<u16>,
    /// Files of private keys, tried after the agent's; none is those that OpenSSH would take.
    pub keys: Vec<PathBuf>,
    /// The file of known hosts; `None` is the user's own.
    pub known_hosts: Option<PathBuf>,
}

/// How the whole cluster is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StopHow {
    pub mode: StopMode,
    /// Only the coordinator: the segments go on, and nothing is decided about them meanwhile.
    pub coordinator_only: bool,
    /// A segment that was asked to stop and has not after so many milliseconds is killed; `None`: the usual time.
    pub within_ms: Option<u64>,
}

/// How the whole cluster is started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StartHow {
    /// Only the hosts' agents and the coordinator.
    pub coordinator_only: bool,
    /// Clients over TCP are turned away until it is started anew.
    pub restricted: bool,
}

/// What `ping(host)` found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PingResult {
    pub host: String,
    pub address: String,
    /// It is asked over SSH; false where an agent answers.
    pub over_ssh: bool,
    pub ok: bool,
    /// Round trip in microseconds; `None` when there was no answer.
    pub rtt_us: Option<i64>,
    /// `name`, `route`, `refused`, `timeout`, `login`, `stopped` by a drill; over SSH also `host_key_unknown`,
    /// `host_key_changed`, `program`; empty when it answers.
    pub cause: String,
    pub message: String,
}

/// A cluster, whatever runs it. Every call blocks the calling thread; long ones take an [`Observer`]
/// or return within their own deadline of a few seconds.
pub trait Cluster: Send + Sync {
    /// The cluster's name as the prompt shows it.
    fn name(&self) -> String;
    /// Demo and `init --drill` clusters: faults may be injected.
    fn is_drill(&self) -> bool;
    /// What the coordinator knows now. With the coordinator down: the last catalog, saying so.
    fn state(&self) -> Result<State, ClusterError>;
    /// FTS looks now; the state it saw.
    fn probe(&self) -> Result<State, ClusterError>;
    /// Runs a plan as one operation of the coordinator and follows it to its end. With `wait` false
    /// it returns `started` as soon as the operation is durable. A like operation that is running is
    /// joined; an unlike one on the same contents is [`ClusterError::Locked`].
    fn apply(&self, plan: &Plan, wait: bool, observer: &mut dyn Observer) -> Result<Outcome, ClusterError>;
    /// One statement, parameters as `$1`, `$2`, ...
    fn sql(&self, target: SqlTarget, text: &str, params: &[Value]) -> Result<Rows, ClusterError>;
    /// One statement on every content; triggers a probe; fails when any content can't answer. The
    /// rows come with a leading column `content`.
    fn sql_all(&self, text: &str, params: &[Value]) -> Result<Rows, ClusterError>;
    /// Whether a host's agent answers.
    fn ping(&self, host: &str) -> Result<PingResult, ClusterError>;
    /// Reads a setting, or writes it durably first. Returns its value with its unit.
    fn setting(&self, name: &str, value: Option<&str>) -> Result<String, ClusterError>;
    /// Nobody is promoted for so many milliseconds, or for the cluster's default; the state then. It
    /// ends by itself.
    fn fts_pause(&self, for_ms: Option<i64>) -> Result<State, ClusterError>;
    /// Ends a pause; the state after what it withheld.
    fn fts_resume(&self) -> Result<State, ClusterError>;
    /// What FTS saw of a content, and what it decided from it.
    fn evidence(&self, content: Content) -> Result<Evidence, ClusterError>;
    /// From now on calls are made by this script, so confirmed: it stands with the lock and in the audit log.
    fn acting_as(&self, _acting: Acting) {}
    /// Writes down that a change was refused or declined before it was asked for; `plan` is its plan's id. Best effort:
    /// nothing has happened that must not be lost.
    fn not_done(&self, _outcome: &Outcome, _plan: &str) {}
    /// The operations that run and the last so many that ended, newest first; or the one of this number.
    fn operations(&self, _last: usize, _op: Option<i64>) -> Result<Vec<OperationInfo>, ClusterError> {
        Err(unsupported("operations"))
    }
    /// Follows an operation to its end; the stored outcome of one that has ended. An observer that detaches leaves
    /// it running.
    fn attach(&self, _op: i64, _observer: &mut dyn Observer) -> Result<Outcome, ClusterError> {
        Err(unsupported("attach"))
    }
    /// The newest lines of the audit log that the query asks for, oldest first.
    fn audit(&self, _query: &AuditQuery) -> Result<Vec<AuditLine>, ClusterError> {
        Err(unsupported("audit"))
    }
    /// Nothing is recovered to a host for so many milliseconds; 0 ends that. The state then.
    fn maintenance(&self, _host: &str, _for_ms: i64, _reason: &str) -> Result<State, ClusterError> {
        Err(unsupported("maintenance"))
    }
    /// What the backup in a directory of the coordinator's host says of itself, or why it is refused.
    fn manifest(&self, _dir: &str) -> Result<Result<Manifest, Refusal>, ClusterError> {
        Err(unsupported("backup_info"))
    }
    /// Adds a host, or brings one up that is there as it is asked for; the state then.
    fn add_host(&self, _host: &NewHost) -> Result<State, ClusterError> {
        Err(unsupported("add_host"))
    }
    /// A host on which no segment is leaves the cluster, or why it is refused.
    fn remove_host(&self, _host: &str) -> Result<Result<HostRemoved, Refusal>, ClusterError> {
        Err(unsupported("remove_host"))
    }
    /// Injects a fault; [`ClusterError::NotDrill`] elsewhere.
    fn fault(&self, fault: &Fault) -> Result<(), ClusterError>;
    /// Where a PostgreSQL client connects: socket directory (or host) and port.
    fn pg_endpoint(&self) -> (String, u16);
    /// Stops the whole cluster and starts it again. `restart()` with a selection is a plan instead.
    fn restart_all(&self, mode: StopMode, observer: &mut dyn Observer) -> Result<Outcome, ClusterError>;
    /// Stops the whole cluster, or its coordinator. What did not run to begin with is `done` without segments.
    fn stop_all(&self, _how: &StopHow, _observer: &mut dyn Observer) -> Result<Outcome, ClusterError> {
        Err(unsupported("gpstop"))
    }
    /// Starts what does not run.
    fn start_all(&self, _how: &StartHow, _observer: &mut dyn Observer) -> Result<Outcome, ClusterError> {
        Err(unsupported("gpstart"))
    }
    /// How many clients are connected, those of this handle left out.
    fn sessions(&self) -> Result<i64, ClusterError> {
        Err(unsupported("sessions"))
    }
    /// The front reads its password file again.
    fn reload(&self) -> Result<(), ClusterError> {
        Err(unsupported("reload"))
    }
    /// From now on a call that waits for an answer ends with [`ClusterError::Interrupted`] soon after
    /// `flag` says so. A call that follows an operation asks its observer instead. A backend whose
    /// calls never wait has nothing to do here.
    fn interrupted_by(&self, flag: InterruptFlag) {
        drop(flag);
    }
    /// Whether anything of the cluster can be had at all: its coordinator, or with that down its last
    /// catalog. Cheaper than [`Cluster::state`] where nothing is asked about the answer.
    fn reach(&self) -> Result<(), ClusterError> {
        self.state().map(drop)
    }
}

/// What a backend without a coordinator of ours says.
fn unsupported(call: &str) -> ClusterError {
    ClusterError::Invalid { message: format!("this cluster has no {call}()"), next: "help()".into() }
}
