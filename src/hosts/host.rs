//! What the coordinator and the client ask of a host, whatever carries it.

use super::config::SegmentConfig;
use super::lock::Fenced;
use crate::core::ids::Dbid;
use crate::core::operation::Survey;
use crate::net::NetError;
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use thiserror::Error;

/// A host that does what it is told, and nothing by itself.
///
/// Every call has a deadline of its own and ends in it. A call that fails with
/// [`HostError::Unreachable`] may still have been done: ask again, every call may be repeated.
#[async_trait]
pub trait Host: Send + Sync {
    /// The host's name.
    fn name(&self) -> &str;
    /// Whether the host answers, and what runs there.
    async fn ping(&self) -> Result<Pong, HostError>;
    /// Writes the segment's configuration and starts its process; returns its process id once it
    /// listens. A lock that is held is [`HostFailure::Running`], a directory that is not there is
    /// [`HostFailure::Gone`].
    async fn start_segment(&self, config: &SegmentConfig) -> Result<u32, HostError>;
    /// Kills whatever process holds the lock of `datadir`, and returns once the lock is free.
    async fn kill_segment(&self, datadir: &Path) -> Result<Fenced, HostError>;
    /// The process that holds the lock of `datadir`; `None` when there is none.
    async fn segment_pid(&self, datadir: &Path) -> Result<Option<u32>, HostError>;
    /// Bytes that can still be written where `path` is, or would be.
    async fn free_bytes(&self, path: &Path) -> Result<u64, HostError>;
    /// Makes a data directory; one that exists is fine.
    async fn make_dir(&self, datadir: &Path) -> Result<(), HostError>;
    /// Removes a data directory and all that is in it, unless a process holds its lock. One that
    /// does not exist is fine.
    async fn remove_dir(&self, datadir: &Path) -> Result<(), HostError>;
    /// Removes what says which copy a data directory holds, durably, unless a process holds its lock: from
    /// then on it is a copy of unknown origin. A directory or an identity that is not there is fine.
    async fn remove_identity(&self, datadir: &Path) -> Result<(), HostError>;
    /// Gives a new copy its name: if the directory under the sibling's name holds a copy with an identity
    /// and the one under the name holds none any more, the two exchange names, in one step and durably;
    /// otherwise that is done already. A process that has files open in either keeps them.
    async fn name_copy(&self, datadir: &Path, sibling: &Path) -> Result<(), HostError>;
    /// Gives a restored copy its name: if the directory under the sibling's name holds a copy with an identity,
    /// the one under the name loses its own, and the two exchange names, durably; otherwise that is done already.
    /// A process that has files open in either keeps them.
    async fn replace_copy(&self, datadir: &Path, sibling: &Path) -> Result<(), HostError>;
    /// Writes `segment.json` to the configuration's data directory, durably.
    async fn write_segment_config(&self, config: &SegmentConfig) -> Result<(), HostError>;
    /// Ends the agent, and before that its segments if `kill_segments`; returns how many it killed.
    async fn stop(&self, kill_segments: bool) -> Result<u32, HostError>;
    /// What would be in the way of this segment in `datadir`, listening on `ports` of the host's address.
    /// Changes nothing.
    async fn survey(&self, datadir: &Path, dbid: Dbid, ports: &[u16]) -> Result<Survey, HostError>;
}

/// A host's answer to a ping.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pong {
    /// The agent's process id.
    pub pid: u32,
    /// The segments that run there.
    pub running: Vec<Running>,
}

impl Pong {
    /// The process of a data directory.
    pub fn pid_of(&self, datadir: &Path) -> Option<u32> {
        self.running.iter().find(|r| r.datadir == datadir).map(|r| r.pid)
    }
}

/// A segment's process, by the lock of its data directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Running {
    /// Its data directory.
    pub datadir: PathBuf,
    /// Its process id.
    pub pid: u32,
}

/// Why a host did not do it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum HostError {
    /// Nobody answers for the host.
    #[error("host {host} does not answer: {cause}")]
    Unreachable { host: String, cause: NetError },
    /// It answered that it could not.
    #[error("host {host}: {failure}")]
    Failed { host: String, failure: HostFailure },
}

impl HostError {
    /// What the host answered, if it did.
    pub fn failure(&self) -> Option<&HostFailure> {
        match self {
            HostError::Failed { failure, .. } => Some(failure),
            HostError::Unreachable { .. } => None,
        }
    }
}

/// What a host answers when it could not do it.
#[derive(Debug, Clone, PartialEq, Eq, Error, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum HostFailure {
    /// The directory's process is there, and SIGKILL did not end it in time: nothing else may be
    /// started in its place (R7).
    #[error("process {pid} of {datadir} can't be killed: {why}")]
    CannotKill { datadir: PathBuf, pid: u32, why: String },
    /// A process holds the directory's lock.
    #[error("{datadir} is in use{}", pid.map(|p| format!(" by process {p}")).unwrap_or_default())]
    Running { datadir: PathBuf, pid: Option<u32> },
    /// There is no such data directory.
    #[error("{datadir} does not exist")]
    Gone { datadir: PathBuf },
    /// The process did not come up; in its own words.
    #[error("segment on {datadir} did not start: {why}")]
    DidNotStart { datadir: PathBuf, why: String },
    /// The path is not a data directory of this host.
    #[error("{path} is not a data directory of this host ({why})")]
    NotMine { path: PathBuf, why: String },
    /// A drill has the host dead.
    #[error("stopped by a drill")]
    Stopped,
    /// The system refused.
    #[error("{doing} {path}: {why}")]
    Io { doing: String, path: PathBuf, why: String },
}

/// A message to the agent, or over SSH; `Drill` and `Leave` are only sent over SSH.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum HostRequest {
    Ping,
    StartSegment { config: SegmentConfig },
    KillSegment { datadir: PathBuf },
    SegmentPid { datadir: PathBuf },
    FreeBytes { path: PathBuf },
    MakeDir { datadir: PathBuf },
    RemoveDir { datadir: PathBuf },
    RemoveIdentity { datadir: PathBuf },
    NameCopy { datadir: PathBuf, sibling: PathBuf },
    Drill { stopped: bool },
    Leave,
    WriteSegmentConfig { config: SegmentConfig },
    Stop { kill_segments: bool },
    Survey { datadir: PathBuf, dbid: Dbid, ports: Vec<u16> },
    ReplaceCopy { datadir: PathBuf, sibling: PathBuf },
}

/// The agent's answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum HostReply {
    Pong { pong: Pong },
    Started { pid: u32 },
    Fenced { fenced: Fenced },
    Pid { pid: Option<u32> },
    Bytes { bytes: u64 },
    Done,
    Stopping { killed: u32 },
    Failed { failure: HostFailure },
    Surveyed { survey: Survey },
}
