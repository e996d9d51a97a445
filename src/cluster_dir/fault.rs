//! The failure of a host, on drill clusters: from the client's side, by the locks alone.

use super::config::HostEntry;
use super::error::{ClusterDirError, system};
use super::handle::ClusterHandle;
use super::processes::ensure_agent;
use super::teardown::kill_and_fence;
use crate::hosts::files::{sync_dir, write_durably};
use crate::hosts::{STOPPED_FILE, data_dirs};
use std::io;
use std::path::Path;
use std::time::Duration;

const KILL_WITHIN: Duration = Duration::from_secs(5);

/// Kills a host's agent and every segment on it at once; returns how many segments there were, once they are
/// gone. The host stays dead, whoever starts the cluster, until [`start_host`].
pub async fn stop_host(handle: &ClusterHandle, name: &str) -> Result<usize, ClusterDirError> {
    let host = handle.host_entry(name)?;
    if !handle.config().drill {
        return Err(ClusterDirError::NotDrill);
    }
    if let Some(there) = host.over_ssh() {
        return Ok(there.drill(true).await? as usize);
    }
    let name = name.to_owned();
    let stopped = tokio::task::spawn_blocking(move || stop_here(&host, &name)).await;
    stopped.map_err(|e| system("stop the host")(io::Error::other(e)))?
}

fn stop_here(host: &HostEntry, name: &str) -> Result<usize, ClusterDirError> {
    let mark = host.dir.join(STOPPED_FILE);
    write_durably(&mark, b"by fault::stop_host\n").map_err(system(format!("mark host {name} as stopped")))?;
    // The agent goes first, so that nobody starts a segment again while they are being killed.
    kill_and_fence(std::slice::from_ref(&host.dir), KILL_WITHIN)?;
    Ok(kill_and_fence(&data_dirs(&host.dir), KILL_WITHIN)?)
}

/// Starts a host's agent again; its segments stay down until they are recovered. True when it did
/// not run.
pub async fn start_host(handle: &ClusterHandle, program: &Path, name: &str) -> Result<bool, ClusterDirError> {
    let host = handle.host_entry(name)?;
    if !handle.config().drill {
        return Err(ClusterDirError::NotDrill);
    }
    if let Some(there) = host.over_ssh() {
        there.drill(false).await?;
        return ensure_agent(handle, program, name).await;
    }
    match std::fs::remove_file(host.dir.join(STOPPED_FILE)) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        removed => removed.and_then(|()| sync_dir(&host.dir)).map_err(system(format!("bring host {name} back")))?,
    }
    ensure_agent(handle, program, name).await
}
