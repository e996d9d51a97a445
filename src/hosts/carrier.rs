//! What carries a request to a host and its answer back: a connection to an agent, or a session over SSH.

use super::client::WORK_WITHIN;
use super::host::{HostError, HostReply, HostRequest};
use crate::net::NetError;
use async_trait::async_trait;
use std::time::Duration;

/// A way to a host. Whatever has one is a [`super::Host`].
#[async_trait]
pub trait Carrier: Send + Sync {
    /// The host's name.
    fn host_name(&self) -> &str;

    /// Carries one request there and its answer back, in no more than this time.
    async fn carry(&self, request: HostRequest, within: Duration) -> Result<HostReply, NetError>;

    /// The same; an answer that says that it could not be done is the error.
    async fn ask(&self, request: HostRequest, within: Duration) -> Result<HostReply, HostError> {
        match self.carry(request, within).await.map_err(|cause| self.unreachable(cause))? {
            HostReply::Failed { failure } => Err(HostError::Failed { host: self.host_name().into(), failure }),
            reply => Ok(reply),
        }
    }

    /// A request that is answered by its being done.
    async fn order(&self, request: HostRequest) -> Result<(), HostError> {
        match self.ask(request, WORK_WITHIN).await? {
            HostReply::Done => Ok(()),
            reply => Err(self.unexpected(&reply)),
        }
    }

    /// Nobody answers, for this reason.
    fn unreachable(&self, cause: NetError) -> HostError {
        HostError::Unreachable { host: self.host_name().into(), cause }
    }

    /// The answer is none to what was asked.
    fn unexpected(&self, reply: &HostReply) -> HostError {
        self.unreachable(NetError::BadFrame(format!("an answer to something else: {reply:?}")))
    }
}
