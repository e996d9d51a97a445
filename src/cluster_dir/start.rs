//! Starting a cluster: its processes, then whatever the coordinator says.

use super::control::{Watch, follow};
use super::error::ClusterDirError;
use super::handle::ClusterHandle;
use super::processes::start_processes;
use super::silent;
use crate::cluster::Outcome;
use crate::cluster::request::{Owner, Request};
use std::path::Path;

/// Starts the cluster, taking over whatever still runs, and returns when every content serves and
/// every pair that was synchronized is so again; the outcome says what is not. On a running cluster
/// there is nothing to do, and that is `done`. A host that can't be brought up makes it `partial`.
pub async fn start(
    handle: &ClusterHandle,
    program: &Path,
    owner: Owner,
    watch: Watch<'_>,
) -> Result<Outcome, ClusterDirError> {
    let processes = start_processes(handle, program).await?;
    let outcome = follow(handle, &Request::Start { owner }, watch).await?;
    Ok(silent::told(outcome, handle, &processes.silent).await)
}
