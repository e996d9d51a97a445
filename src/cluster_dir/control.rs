//! The client's conversation with a coordinator about one operation.

use super::error::ClusterDirError;
use super::handle::ClusterHandle;
use crate::cluster::request::{Reply, Request};
use crate::cluster::{Outcome, Progressing};
use crate::net::{Framed, Identity, NetError, Purpose, connect};
use std::time::Duration;

/// How long a coordinator may take to prove itself.
pub(super) const CONNECT_WITHIN: Duration = Duration::from_secs(2);

/// Sees the progress of an operation.
pub type Watch<'a> = &'a mut (dyn FnMut(&Progressing) + Send);

/// Connects to the coordinator.
pub(super) async fn reach(handle: &ClusterHandle) -> Result<Framed, ClusterDirError> {
    let me = handle.credentials(Identity::Client)?;
    let to = handle.control_endpoint();
    let there = Identity::Coordinator;
    connect(&to, &me, Purpose::Client, Some(&there), CONNECT_WITHIN)
        .await
        .map(|(stream, _)| Framed::new(stream))
        .map_err(ClusterDirError::Coordinator)
}

/// Sends a request that is answered by progress and an end (`Start`, `Stop`, `Watch`), and follows it
/// to that end, however long it takes.
pub async fn follow(handle: &ClusterHandle, request: &Request, watch: Watch<'_>) -> Result<Outcome, ClusterDirError> {
    follow_on(reach(handle).await?, request, watch).await
}

pub(super) async fn follow_on(
    mut framed: Framed,
    request: &Request,
    watch: Watch<'_>,
) -> Result<Outcome, ClusterDirError> {
    framed.send(request).await.map_err(ClusterDirError::Coordinator)?;
    loop {
        match framed.recv().await.map_err(ClusterDirError::Coordinator)? {
            Reply::Progress { now } => watch(&now),
            Reply::Begun { .. } => {}
            Reply::Ended { outcome } => return Ok(outcome),
            Reply::Refused { refusals } => return Err(ClusterDirError::Refused(refusals)),
            Reply::Locked { op, message, .. } => {
                return Err(ClusterDirError::Locked { op, message });
            }
            Reply::Failed { message, next } => {
                return Err(ClusterDirError::Failed { message, next });
            }
            other @ (Reply::State { .. }
            | Reply::Setting { .. }
            | Reply::Evidence { .. }
            | Reply::Operations { .. }
            | Reply::Audit { .. }
            | Reply::Ok) => {
                let what = format!("an answer to something else: {other:?}");
                return Err(ClusterDirError::Coordinator(NetError::BadFrame(what)));
            }
        }
    }
}
