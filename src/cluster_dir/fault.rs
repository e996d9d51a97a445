//! The failure of a host, on drill clusters: from the client's side, by the locks alone.

use super::error::ClusterDirError;
use super::handle::ClusterHandle;
use super::processes::ensure_agent;
use super::teardown::{data_dirs, kill_and_fence};
use std::path::Path;
use std::time::Duration;

const KILL_WITHIN: Duration = Duration::from_secs(5);

/// Kills a host's agent and every segment on it at once; returns how many segments there were.
/// Blocks until they are gone.
pub fn stop_host(handle: &ClusterHandle, name: &str) -> Result<usize, ClusterDirError> {
    let host = handle.host_entry(name)?;
    if !handle.config().drill {
        return Err(ClusterDirError::NotDrill);
    }
    // The agent goes first, so that nobody starts a segment again while they are being killed.
    kill_and_fence(std::slice::from_ref(&host.dir), KILL_WITHIN)?;
    Ok(kill_and_fence(&data_dirs(&host.dir), KILL_WITHIN)?)
}

/// Starts a host's agent again; its segments stay down until they are recovered. True when it did
/// not run.
pub async fn start_host(handle: &ClusterHandle, program: &Path, name: &str) -> Result<bool, ClusterDirError> {
    handle.host_entry(name)?;
    if !handle.config().drill {
        return Err(ClusterDirError::NotDrill);
    }
    ensure_agent(handle, program, name).await
}
