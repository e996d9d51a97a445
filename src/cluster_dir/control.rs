//! The client's conversation with a coordinator about one operation.

use super::error::ClusterDirError;
use super::handle::ClusterHandle;
use crate::cluster::request::{Reply, Request};
use crate::cluster::{Outcome, Progressing, State};
use crate::net::{Framed, Identity, NetError, Purpose, connect};
use std::time::Duration;

/// How long a coordinator may take to prove itself.
pub(super) const CONNECT_WITHIN: Duration = Duration::from_secs(2);

/// How long it may take for an answer that waits for nothing.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

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

/// The state, as the coordinator has it now.
pub(super) async fn ask_state(handle: &ClusterHandle) -> Result<State, ClusterDirError> {
    match ask(handle, &Request::State).await? {
        Reply::State { state } => Ok(*state),
        other => Err(out_of_turn(&other)),
    }
}

/// One request that has one reply.
pub(super) async fn ask(handle: &ClusterHandle, request: &Request) -> Result<Reply, ClusterDirError> {
    let mut framed = reach(handle).await?;
    framed.send(request).await.map_err(ClusterDirError::Coordinator)?;
    let late = NetError::Timeout { within: ANSWER_WITHIN };
    let answered = tokio::time::timeout(ANSWER_WITHIN, framed.recv()).await.unwrap_or(Err(late));
    answered.map_err(ClusterDirError::Coordinator)
}

fn out_of_turn(reply: &Reply) -> ClusterDirError {
    ClusterDirError::Coordinator(NetError::BadFrame(format!("an answer to something else: {reply:?}")))
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
            | Reply::Manifest { .. }
            | Reply::HostRemoved { .. }
            | Reply::Sessions { .. }
            | Reply::Ok) => return Err(out_of_turn(&other)),
        }
    }
}
