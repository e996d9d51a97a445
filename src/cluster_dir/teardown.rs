//! Ending a cluster by the locks of its directories alone, whatever else is dead or hung.

use super::config::{CLUSTER_FILE, HostEntry};
use super::error::{ClusterDirError, system};
use super::handle::open;
use crate::hosts::{
    DirLock, FenceError, Fenced, Host, HostError, HostFailure, SshHost, data_dirs, fence, holder, remove_data_dir,
};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

const KILL_WITHIN: Duration = Duration::from_secs(5);

/// Kills every process of the cluster and removes its directory, which must be a cluster's. When a
/// process can't be killed, or a host that is reached over SSH does not answer, nothing is removed anywhere.
pub async fn destroy(dir: &Path) -> Result<(), ClusterDirError> {
    let handle = open(dir)?;
    let far: Vec<SshHost> = handle.hosts()?.iter().filter_map(HostEntry::over_ssh).collect();
    for host in &far {
        match host.ping().await {
            Err(HostError::Failed { failure: HostFailure::Stopped, .. }) | Ok(_) => {}
            Err(error) => return Err(error.into()),
        }
    }
    if !far.is_empty() {
        // Whoever could start a segment again ends before the first one goes.
        kill_and_fence(&starters(handle.dir()), KILL_WITHIN)?;
    }
    // While the file that knows them is still there.
    for host in &far {
        host.leave().await?;
    }
    tear_down(handle.dir(), &handle.config().socket_dir)
}

/// Kills every process in `dir`, and removes it with its socket directory.
pub(super) fn tear_down(dir: &Path, socket_dir: &Path) -> Result<(), ClusterDirError> {
    // Those who start others come first. The locks stay ours until the directory is gone: a process
    // that was being started just now finds its directory taken, and ends.
    let mut locks = Vec::new();
    let starters = starters(dir);
    kill(&starters);
    fence_each(&starters, &mut locks)?;
    let segments: Vec<PathBuf> = host_dirs(dir).iter().flat_map(|host| data_dirs(host)).collect();
    kill(&segments);
    fence_each(&segments, &mut locks)?;
    // Those in roots first: which they are is known by what is in `dir`.
    for segment in segments.iter().filter(|segment| !segment.starts_with(dir)) {
        or_gone(remove_data_dir(segment)).map_err(system(format!("remove {}", segment.display())))?;
    }
    remove(dir, socket_dir).map_err(system(format!("remove {}", dir.display())))
}

/// The coordinator's directory and the agents'.
fn starters(dir: &Path) -> Vec<PathBuf> {
    let mut dirs = host_dirs(dir);
    let coordinator = dir.join("coordinator");
    if coordinator.is_dir() {
        dirs.push(coordinator);
    }
    dirs
}

/// The directories of a cluster's hosts.
pub(super) fn host_dirs(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(dir.join("hosts")) else {
        return Vec::new();
    };
    let is_dir = |e: &fs::DirEntry| e.file_type().is_ok_and(|t| t.is_dir());
    entries.filter_map(Result::ok).filter(is_dir).map(|e| e.path()).collect()
}

/// Kills the holders of all the directories at once, as the failure of a machine would.
fn kill(dirs: &[PathBuf]) {
    for process in dirs.iter().filter_map(|d| holder(d)) {
        // What could not be killed is found, and named, when its lock is waited for.
        let _ = process.kill();
    }
}

fn fence_each(dirs: &[PathBuf], locks: &mut Vec<DirLock>) -> Result<(), FenceError> {
    for dir in dirs {
        locks.push(fence(dir, KILL_WITHIN)?.1);
    }
    Ok(())
}

/// Kills the holders of all the directories at once, and returns how many there were once every lock
/// is free.
pub(super) fn kill_and_fence(dirs: &[PathBuf], within: Duration) -> Result<usize, FenceError> {
    let running: Vec<bool> = dirs.iter().map(|d| holder(d).is_some()).collect();
    kill(dirs);
    let mut killed = 0;
    for (dir, was_running) in dirs.iter().zip(running) {
        let (fenced, _lock) = fence(dir, within)?;
        killed += usize::from(was_running || fenced == Fenced::Killed);
    }
    Ok(killed)
}

/// Removes everything, the file that makes it a cluster's directory last: an interrupted removal can
/// be asked for again.
fn remove(dir: &Path, socket_dir: &Path) -> io::Result<()> {
    if !socket_dir.starts_with(dir) {
        or_gone(fs::remove_dir_all(socket_dir))?;
    }
    let entries = match fs::read_dir(dir) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_name() == CLUSTER_FILE {
            continue;
        }
        match entry.file_type()?.is_dir() {
            true => or_gone(fs::remove_dir_all(entry.path()))?,
            false => or_gone(fs::remove_file(entry.path()))?,
        }
    }
    or_gone(fs::remove_file(dir.join(CLUSTER_FILE)))?;
    or_gone(fs::remove_dir(dir))
}

fn or_gone(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}
