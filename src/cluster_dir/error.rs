//! What can go wrong with a cluster's directory and the life in it.

use crate::cluster::Refusal;
use crate::hosts::files::FileError;
use crate::hosts::{FenceError, HostError, HostFailure, LaunchError};
use crate::net::{KeyError, NetError};
use std::io;
use std::path::PathBuf;
use thiserror::Error;

/// Why a command on a cluster's directory was not done. [`ClusterDirError::next`] is the next step.
#[derive(Debug, Error)]
pub enum ClusterDirError {
    /// There is nothing there.
    #[error("{dir} does not exist")]
    Missing { dir: PathBuf },
    /// There is something else there.
    #[error("{dir} is not a cluster directory: it has no cluster.json")]
    NotACluster { dir: PathBuf },
    /// It was made under another path, and the paths in it still say so.
    #[error("the cluster in {dir} was made in {made_in}, and can't be moved")]
    Moved { dir: PathBuf, made_in: PathBuf },
    /// A file in it can't be used.
    #[error(transparent)]
    File(#[from] FileError),
    /// Its key can't be used.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// `init` would overwrite something.
    #[error("{dir} is not empty")]
    NotEmpty { dir: PathBuf },
    /// `init` was asked for something that can't be.
    #[error("{message}")]
    Impossible { message: String, next: String },
    /// Making a part of the cluster failed; nothing is left behind.
    #[error("{part} can't be initialized: {message}")]
    Init { part: String, message: String },
    /// Processes of a cluster run on Linux only.
    #[error("a cluster of processes on this machine needs Linux")]
    NotLinux,
    /// The system refused.
    #[error("{doing}: {source}")]
    System { doing: String, source: io::Error },
    /// The cluster has no host of this name.
    #[error("the cluster has no host `{name}` (it has {known})")]
    NoSuchHost { name: String, known: String },
    /// Faults are for drills.
    #[error("faults are injected only on drill clusters")]
    NotDrill,
    /// A drill has the host dead.
    #[error("host {name} was stopped by a drill")]
    HostStopped { name: String },
    /// A process of the cluster did not come up.
    #[error("{what} did not start: {cause} (log: {log})")]
    DidNotStart { what: String, cause: LaunchError, log: PathBuf },
    /// A process of the cluster is there, and does not answer.
    #[error("{what} (process {pid}) does not answer: {cause}")]
    Hung { what: String, pid: u32, cause: String },
    /// What listens there speaks another version of the protocol.
    #[error("{what} is of another release: {cause}")]
    OtherRelease { what: String, cause: NetError },
    /// A process of the cluster can't be killed.
    #[error(transparent)]
    Fence(#[from] FenceError),
    /// A host did not do it.
    #[error(transparent)]
    Host(#[from] HostError),
    /// The coordinator can't be reached, or went away.
    #[error("coordinator: {0}")]
    Coordinator(NetError),
    /// The coordinator did not end after it had stopped everything else.
    #[error("the coordinator (process {pid}) has not ended")]
    StillRunning { pid: u32 },
    /// The coordinator refuses; nothing was begun.
    #[error("refused: {}", .0.iter().map(|r| r.cause.as_str()).collect::<Vec<_>>().join("; "))]
    Refused(Vec<Refusal>),
    /// Another change is under way.
    #[error("{message}")]
    Locked { op: i64, message: String },
    /// The coordinator could not answer.
    #[error("{message}")]
    Failed { message: String, next: String },
}

impl ClusterDirError {
    /// The next step as it would be typed; empty when there is none to name.
    pub fn next(&self) -> String {
        match self {
            ClusterDirError::Missing { dir } | ClusterDirError::NotACluster { dir } => {
                format!("segsh init {}", dir.display())
            }
            ClusterDirError::Moved { dir, made_in } => {
                format!("mv {} {}", dir.display(), made_in.display())
            }
            ClusterDirError::NotEmpty { .. }
            | ClusterDirError::Host(HostError::Failed { failure: HostFailure::NotMine { .. }, .. }) => {
                "name a directory that is new or empty".into()
            }
            ClusterDirError::Impossible { next, .. } | ClusterDirError::Failed { next, .. } => next.clone(),
            ClusterDirError::OtherRelease { .. } | ClusterDirError::Coordinator(NetError::WrongVersion { .. }) => {
                "use the segsh of the release that runs there, or stop it with that one first".into()
            }
            ClusterDirError::File(file) => file.next().into(),
            ClusterDirError::DidNotStart { log, .. } => format!("look at {}", log.display()),
            ClusterDirError::Hung { pid, .. } | ClusterDirError::StillRunning { pid } => {
                format!("segsh stop --mode immediate, or look at process {pid}")
            }
            ClusterDirError::Refused(refusals) => refusals.first().map(|r| r.next.clone()).unwrap_or_default(),
            ClusterDirError::Locked { op, .. } => format!("segsh -e 'attach({op})'"),
            ClusterDirError::HostStopped { name } => format!("fault::start_host(\"{name}\")"),
            ClusterDirError::NotDrill => "segsh init DIR --drill".into(),
            _ => String::new(),
        }
    }
}

/// Names what was being done when the system refused.
pub(super) fn system(doing: impl Into<String>) -> impl FnOnce(io::Error) -> ClusterDirError {
    let doing = doing.into();
    move |source| ClusterDirError::System { doing, source }
}
