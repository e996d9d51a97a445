//! Starting the agents and the coordinator, as far as they do not run already.

use super::config::HostEntry;
use super::control::reach;
use super::error::{ClusterDirError, system};
use super::handle::ClusterHandle;
use super::init::ensure_socket_dir;
use super::silent::SilentHost;
use crate::hosts::{Host, HostError, HostFailure, Launch, LaunchError, Outfit, STOPPED_FILE, holder};
use crate::net::{Identity, NetError};
use std::ffi::OsString;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use thiserror::Error;

/// How long an agent or a coordinator may take until it listens.
const READY_WITHIN: Duration = Duration::from_secs(30);
/// How long a process that holds its lock but does not answer may take: it may just be starting.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(20);

/// What was started, and what ran already.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Processes {
    /// Hosts whose agent was started now.
    pub agents_started: Vec<String>,
    /// Whether the coordinator was started now.
    pub coordinator_started: bool,
    /// Hosts that could not be brought up: the cluster is started without them.
    pub silent: Vec<SilentHost>,
}

/// The path of this program, which is what the cluster's processes run.
pub fn this_program() -> Result<PathBuf, ClusterDirError> {
    std::env::current_exe().map_err(system("find the program's own path"))
}

/// Starts what does not answer: the agents all at once, then the coordinator. They outlive this
/// process. A host that can't be brought up is named and gone on without: its mirrors are what it is
/// for that one host may be gone. A coordinator that is there and does not answer is an error.
pub async fn start_processes(handle: &ClusterHandle, program: &Path) -> Result<Processes, ClusterDirError> {
    ensure_socket_dir(handle.config())?;
    let hosts = handle.hosts()?;
    let agents = hosts.iter().map(|host| ensure_agent(handle, program, &host.name));
    let started = futures::future::join_all(agents).await;
    let mut processes = Processes::default();
    for (host, started) in hosts.iter().zip(started) {
        match started {
            Ok(true) => processes.agents_started.push(host.name.clone()),
            Ok(false) => {}
            Err(error) => processes.silent.push(SilentHost::of(&host.name, error)?),
        }
    }
    processes.coordinator_started = ensure_coordinator(handle, program).await?;
    Ok(processes)
}

/// Starts a host's agent unless it answers; true when it was started. A host that a drill has dead stays dead.
/// One that is reached over SSH is equipped instead; true when the program was copied to it.
pub(super) async fn ensure_agent(handle: &ClusterHandle, program: &Path, name: &str) -> Result<bool, ClusterDirError> {
    let entry = handle.host_entry(name)?;
    if let Some(host) = entry.over_ssh() {
        let copied = host.bring_up(&outfit(handle, program, &entry)).await?;
        return match host.ping().await {
            Err(HostError::Failed { failure: HostFailure::Stopped, .. }) => {
                Err(ClusterDirError::HostStopped { name: name.into() })
            }
            answered => Ok(answered.map(|_| copied)?),
        };
    }
    let dir = entry.dir;
    let agent = handle.host(name, &handle.credentials(Identity::Client)?)?;
    if dir.join(STOPPED_FILE).exists() && holder(&dir).is_none() {
        return Err(ClusterDirError::HostStopped { name: name.into() });
    }
    let server = Server {
        what: format!("the agent of host {name}"),
        args: vec!["host".into(), "--dir".into(), dir.clone().into()],
        log: handle.log_file(&format!("host-{name}")),
        dir,
    };
    let ask = || async {
        agent.ping().await.map(drop).map_err(|e| match e {
            HostError::Unreachable { cause, .. } => Unheard::Net(cause),
            HostError::Failed { failure, .. } => Unheard::Other(failure.to_string()),
        })
    };
    ensure(server, program, ask).await
}

/// What a host that is reached over SSH is equipped with.
pub(super) fn outfit(handle: &ClusterHandle, program: &Path, entry: &HostEntry) -> Outfit {
    Outfit {
        cluster_id: handle.config().id.clone(),
        cluster: handle.config().name.clone(),
        key_file: handle.key_file(),
        program: program.into(),
        roots: entry.roots.clone(),
    }
}

async fn ensure_coordinator(handle: &ClusterHandle, program: &Path) -> Result<bool, ClusterDirError> {
    let server = Server {
        what: "the coordinator".into(),
        args: vec!["coordinator".into(), "--dir".into(), handle.dir().into()],
        log: handle.log_file("coordinator"),
        dir: handle.coordinator_dir(),
    };
    let ask = || async {
        reach(handle).await.map(drop).map_err(|e| match e {
            ClusterDirError::Coordinator(cause) => Unheard::Net(cause),
            other => Unheard::Other(other.to_string()),
        })
    };
    ensure(server, program, ask).await
}

/// A process that serves a locked directory.
struct Server {
    what: String,
    args: Vec<OsString>,
    log: PathBuf,
    dir: PathBuf,
}

/// Why a process did not answer.
#[derive(Debug, Error)]
enum Unheard {
    #[error(transparent)]
    Net(NetError),
    #[error("{0}")]
    Other(String),
}

impl Server {
    /// Another release is nothing that passes: it is said at once, and nothing is started beside it.
    fn judge(&self, answer: Result<(), Unheard>) -> Result<Result<(), Unheard>, ClusterDirError> {
        match answer {
            Err(Unheard::Net(cause @ NetError::WrongVersion { .. })) => {
                Err(ClusterDirError::OtherRelease { what: self.what.clone(), cause })
            }
            answer => Ok(answer),
        }
    }
}

async fn ensure<F, A>(server: Server, program: &Path, ask: F) -> Result<bool, ClusterDirError>
where
    F: Fn() -> A,
    A: Future<Output = Result<(), Unheard>>,
{
    if server.judge(ask().await)?.is_ok() {
        return Ok(false);
    }
    if holder(&server.dir).is_some() {
        return await_answer(&server, ask).await.map(|()| false);
    }
    let launch =
        Launch { program: program.into(), args: server.args.clone(), log: server.log.clone(), within: READY_WITHIN };
    let launched = tokio::task::spawn_blocking(move || launch.start())
        .await
        .unwrap_or_else(|e| Err(LaunchError::Failed { message: e.to_string() }));
    match launched {
        Ok(pid) => {
            tracing::info!(pid, "started {}", server.what);
            Ok(true)
        }
        // Someone else was faster and holds the directory: that one is as good.
        Err(_) if holder(&server.dir).is_some() => await_answer(&server, ask).await.map(|()| false),
        Err(cause) => Err(ClusterDirError::DidNotStart { what: server.what, cause, log: server.log }),
    }
}

async fn await_answer<F, A>(server: &Server, ask: F) -> Result<(), ClusterDirError>
where
    F: Fn() -> A,
    A: Future<Output = Result<(), Unheard>>,
{
    let since = Instant::now();
    loop {
        let cause = match server.judge(ask().await)? {
            Ok(()) => return Ok(()),
            Err(cause) => cause.to_string(),
        };
        let Some(process) = holder(&server.dir) else {
            let cause = LaunchError::Failed { message: cause };
            let (what, log) = (server.what.clone(), server.log.clone());
            return Err(ClusterDirError::DidNotStart { what, cause, log });
        };
        if since.elapsed() >= ANSWER_WITHIN {
            let what = server.what.clone();
            return Err(ClusterDirError::Hung { what, pid: process.pid(), cause });
        }
        tokio::time::sleep(PAUSE).await;
    }
}
