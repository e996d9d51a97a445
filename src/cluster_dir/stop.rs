//! Stopping a cluster: through the coordinator while it lives, and without it when it does not.

use super::config::HostEntry;
use super::control::{Watch, follow_on, reach};
use super::error::{ClusterDirError, system};
use super::handle::ClusterHandle;
use super::silent::{self, SilentHost};
use super::teardown::kill_and_fence;
use crate::cluster::request::{Owner, Request};
use crate::cluster::{Outcome, OutcomeStatus, done};
use crate::core::report::StopMode;
use crate::hosts::{FenceError, HostError, ProcessId, data_dirs, fence, holder};
use crate::net::{Identity, NetError};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long a coordinator may take to end after it said that all is stopped.
const END_WITHIN: Duration = Duration::from_secs(30);
/// How long an agent may take to end after it said that it would.
const AGENT_END_WITHIN: Duration = Duration::from_secs(2);
const KILL_WITHIN: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(5);

/// What was stopped.
#[derive(Debug, Clone, PartialEq)]
pub struct Stopped {
    /// What the coordinator said of the segments, and which hosts could not be asked; `None` when it did not
    /// run, or died meanwhile, and every host could be.
    pub outcome: Option<Outcome>,
    /// Agents that were stopped.
    pub agents: usize,
    /// Segments that had to be killed: nobody could ask them to stop.
    pub segments_killed: usize,
    /// The data directories that were in use when the coordinator had gone.
    pub left_running: Vec<PathBuf>,
}

impl Stopped {
    /// Whether nothing ran to begin with.
    pub fn was_stopped(&self) -> bool {
        self.outcome.is_none() && self.agents == 0 && self.segments_killed == 0
    }
}

/// Stops everything. With the coordinator down, the segments are killed through the agents: their
/// logs are replayed at the next start. A coordinator that hangs is killed in mode `immediate` only.
/// When the coordinator says that it could not stop (the outcome is neither `done` nor `partial`),
/// the agents are left as they are. A host of which nobody can say what runs there makes it `partial`.
pub async fn stop(
    handle: &ClusterHandle,
    mode: StopMode,
    owner: Owner,
    watch: Watch<'_>,
) -> Result<Stopped, ClusterDirError> {
    stop_within(handle, mode, None, owner, watch).await
}

/// The same, with a time of one's own after which a segment that was asked to stop is killed.
pub async fn stop_within(
    handle: &ClusterHandle,
    mode: StopMode,
    within_ms: Option<u64>,
    owner: Owner,
    watch: Watch<'_>,
) -> Result<Stopped, ClusterDirError> {
    let mut outcome = stop_coordinator(handle, mode, within_ms, owner, watch).await?;
    if let Some(outcome) = &outcome
        && !matches!(outcome.status, OutcomeStatus::Done | OutcomeStatus::Partial)
    {
        return Ok(Stopped { outcome: Some(outcome.clone()), agents: 0, segments_killed: 0, left_running: Vec::new() });
    }
    await_coordinators_end(handle, mode).await?;
    let mut stopped = Stopped { outcome: None, agents: 0, segments_killed: 0, left_running: Vec::new() };
    let mut silent = Vec::new();
    for host in handle.hosts()? {
        stopped.left_running.extend(running_on(handle, &host).await?);
        match stop_agent(handle, &host.name).await {
            Ok((agents, killed)) => {
                stopped.agents += agents;
                stopped.segments_killed += killed;
            }
            Err(error) => silent.push(SilentHost::of(&host.name, error)?),
        }
    }
    if let Some(outcome) = &mut outcome {
        settle(outcome, &silent);
    }
    if !silent.is_empty() {
        let said = outcome.unwrap_or_else(|| done("stop", String::new()));
        outcome = Some(silent::told(said, handle, &silent).await);
    }
    Ok(Stopped { outcome, ..stopped })
}

/// What the coordinator could not stop, such as on a host that does not answer, the locks there have settled
/// since: nothing of it runs. A host of which nobody could say so keeps what the coordinator said.
fn settle(outcome: &mut Outcome, silent: &[SilentHost]) {
    let is_settled = |host: &str| !silent.iter().any(|s| s.host == host);
    let open = outcome.segments.iter_mut().filter(|s| s.status == OutcomeStatus::Partial);
    for segment in open.filter(|s| is_settled(&s.host)) {
        segment.status = OutcomeStatus::Done;
        segment.note = format!("{}; by its lock, nothing of dbid {} runs now", segment.note, segment.dbid);
    }
    let stopped = outcome.segments.iter().filter(|s| s.status == OutcomeStatus::Done).count();
    let (count, seconds) = (outcome.segments.len(), outcome.elapsed_ms as f64 / 1000.0);
    outcome.status = if stopped == count { OutcomeStatus::Done } else { OutcomeStatus::Partial };
    outcome.message = format!("{stopped} of {count} segments stopped in {seconds:.1} s");
}

/// Stops the coordinator and nothing else; `None` when it did not run.
pub async fn stop_coordinator_only(
    handle: &ClusterHandle,
    owner: Owner,
    watch: Watch<'_>,
) -> Result<Option<Outcome>, ClusterDirError> {
    let framed = match reach(handle).await {
        Ok(framed) => framed,
        Err(ClusterDirError::Coordinator(_)) if holder(&handle.coordinator_dir()).is_none() => return Ok(None),
        Err(error) => return Err(error),
    };
    let outcome = follow_on(framed, &Request::StopCoordinator { owner }, watch).await?;
    await_coordinators_end(handle, StopMode::Fast).await?;
    Ok(Some(outcome))
}

async fn stop_coordinator(
    handle: &ClusterHandle,
    mode: StopMode,
    within_ms: Option<u64>,
    owner: Owner,
    watch: Watch<'_>,
) -> Result<Option<Outcome>, ClusterDirError> {
    let framed = match reach(handle).await {
        Ok(framed) => framed,
        Err(ClusterDirError::Coordinator(cause)) => {
            return match holder(&handle.coordinator_dir()) {
                Some(process) if mode != StopMode::Immediate => Err(ClusterDirError::Hung {
                    what: "the coordinator".into(),
                    pid: process.pid(),
                    cause: cause.to_string(),
                }),
                _ => Ok(None),
            };
        }
        Err(error) => return Err(error),
    };
    match follow_on(framed, &Request::Stop { mode, owner, within_ms }, watch).await {
        // It ended before it could say how: what it left running is found by its locks.
        Err(ClusterDirError::Coordinator(NetError::Closed { .. })) => Ok(None),
        outcome => outcome.map(Some),
    }
}

async fn await_coordinators_end(handle: &ClusterHandle, mode: StopMode) -> Result<(), ClusterDirError> {
    let dir = handle.coordinator_dir();
    if mode == StopMode::Immediate {
        return fence_one(dir).await.map(drop);
    }
    match await_end(&dir, END_WITHIN).await {
        Some(process) => Err(ClusterDirError::StillRunning { pid: process.pid() }),
        None => Ok(()),
    }
}

/// Waits until nobody holds the directory; whoever still does after `within`.
async fn await_end(dir: &Path, within: Duration) -> Option<ProcessId> {
    let since = Instant::now();
    while let Some(process) = holder(dir) {
        if since.elapsed() >= within {
            return Some(process);
        }
        tokio::time::sleep(PAUSE).await;
    }
    None
}

/// The data directories of a host that are in use: on this machine by their locks, elsewhere by what it answers.
async fn running_on(handle: &ClusterHandle, entry: &HostEntry) -> Result<Vec<PathBuf>, ClusterDirError> {
    if entry.ssh.is_none() {
        return Ok(data_dirs(&entry.dir).into_iter().filter(|dir| holder(dir).is_some()).collect());
    }
    let host = handle.host(&entry.name, &handle.credentials(Identity::Client)?)?;
    // One that does not answer is named when it is to be stopped.
    Ok(host.ping().await.map_or_else(|_| Vec::new(), |pong| pong.running.into_iter().map(|r| r.datadir).collect()))
}

/// Stops one host: its segments that still run are killed, then its agent ends. Returns how many
/// agents (0 or 1) and segments there were.
async fn stop_agent(handle: &ClusterHandle, name: &str) -> Result<(usize, usize), ClusterDirError> {
    let entry = handle.host_entry(name)?;
    let agent = handle.host(name, &handle.credentials(Identity::Client)?)?;
    match agent.stop(true).await {
        // There is no agent, and nobody on this machine knows what runs there.
        Ok(killed) if entry.ssh.is_some() => Ok((0, killed as usize)),
        Err(error) if entry.ssh.is_some() => Err(error.into()),
        Ok(killed) => {
            // It ends by itself; one that does not is made to.
            await_end(&entry.dir, AGENT_END_WITHIN).await;
            fence_one(entry.dir.clone()).await?;
            Ok((1, killed as usize))
        }
        Err(HostError::Unreachable { .. }) => {
            // Nobody answers: on this machine the locks say what is left, a hung agent included.
            let agents = usize::from(fence_one(entry.dir.clone()).await?);
            let dirs = data_dirs(&entry.dir);
            let killed = blocking(move || kill_and_fence(&dirs, KILL_WITHIN)).await?;
            Ok((agents, killed))
        }
        Err(error) => Err(error.into()),
    }
}

/// Kills the holder of one directory; whether there was one.
async fn fence_one(dir: PathBuf) -> Result<bool, ClusterDirError> {
    if matches!(dir.try_exists(), Ok(false)) {
        // Nobody holds what is not there.
        return Ok(false);
    }
    blocking(move || fence(&dir, KILL_WITHIN).map(|(f, _)| f == crate::hosts::Fenced::Killed)).await
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, FenceError> + Send + 'static,
) -> Result<T, ClusterDirError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|e| system("fence a directory")(std::io::Error::other(e)))?.map_err(Into::into)
}
