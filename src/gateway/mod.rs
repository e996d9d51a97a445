//! The coordinator's PostgreSQL front, and the session gateway behind it.
//!
//! A client connects to the owner-only socket `SOCKET_DIR/.s.PGSQL.PORT` (or over TCP with
//! SCRAM-SHA-256) and names a database. `postgres` is handed to the [`CatalogServer`]; `contentN`
//! becomes a session on content N's acting primary, found through the [`Router`]. The session
//! outlives its segment: see `session`.
//!
//! Frames are relayed, not decoded: type and length are looked at, and of the bodies only what the
//! contract needs (the text of statements, the names of prepared ones, errors, the transaction byte).

mod answer;
mod cancel;
mod catalog;
mod exchange;
mod extended;
mod frame;
mod front;
mod message;
mod prepared;
mod scram;
mod session;
mod socket;
mod sql;
mod startup;
mod upstream;

#[cfg(test)]
mod tests;

pub use answer::{Answer, Reply};
/// What the gateway reads of a client's and a segment's bytes.
pub mod decode {
    pub use super::frame::{Frame, FrameError, FrameStream, MAX_FRAME, MAX_STARTUP};
    pub use super::message::{ErrorFields, read_error};
    pub use super::startup::{Parameters, Startup, StartupError, read as read_startup};
}
pub use front::{Front, FrontConfig, FrontError, FrontHandle, TcpConfig};
pub use scram::{PasswordFile, PasswordFileError};

use crate::core::ids::{Content, Dbid, Epoch};
use async_trait::async_trait;
use std::io;
use std::time::Instant;
use thiserror::Error;
use tokio::net::{TcpStream, UnixStream};

/// The parameters that are reported at the start of a session. A segment that reports another value
/// is believed, and the client is told when the segment is first reached.
pub const SERVER_PARAMETERS: &[(&str, &str)] = &[
    ("server_version", "15.0 (segsh)"),
    ("server_encoding", "UTF8"),
    ("client_encoding", "UTF8"),
    ("DateStyle", "ISO, MDY"),
    ("IntervalStyle", "postgres"),
    ("TimeZone", "UTC"),
    ("integer_datetimes", "on"),
    ("standard_conforming_strings", "on"),
];

/// Which process serves a content.
///
/// It changes when the acting primary *process* changes, at a promotion and at the restart of an
/// acting primary, and then only. The row's epoch will not do: it also rises when tracking is
/// granted and when a recovery starts, while the same process serves on, and neither may fail a
/// statement in flight. A natural choice is the row's epoch as it was at the last change of process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServingId(pub u64);

/// The way to an acting primary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The segment.
    pub dbid: Dbid,
    /// The row's epoch, for logs and messages.
    pub epoch: Epoch,
    /// The process that is meant; results of another are dropped.
    pub serving: ServingId,
    /// Where its SQL service listens.
    pub address: String,
    /// The port there.
    pub port: u16,
}

/// A content has no primary, and the limit of waiting is over.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{reason}")]
pub struct NoPrimary {
    /// Why, in words for the client.
    pub reason: String,
}

/// What the gateway asks of the coordinator.
#[async_trait]
pub trait Router: Send + Sync + 'static {
    /// The acting primary by the row, once it serves; waits up to the deadline, then says why not.
    async fn primary(&self, content: Content, deadline: Instant) -> Result<Route, NoPrimary>;

    /// Opens an authenticated byte stream to that segment's SQL service: a TCP connection after the
    /// mutual challenge, on which the next byte is the first of a PostgreSQL startup packet.
    async fn open(&self, route: &Route) -> io::Result<TcpStream>;

    /// The process that serves a content now, by the row.
    fn serving(&self, content: Content) -> ServingId;

    /// Resolves when `serving(content)` is no longer `since`; at once when it is not already. A
    /// session that waits for a hung primary is freed by it.
    async fn changed(&self, content: Content, since: ServingId);

    /// The gateway met an error on the way to the content's primary: a reason to probe.
    fn trouble(&self, content: Content);

    /// The contents of the cluster.
    fn contents(&self) -> Vec<Content>;
}

/// Serves database `postgres`.
pub trait CatalogServer: Send + Sync + 'static {
    /// Takes one end of a socket pair on which a PostgreSQL client speaks, from its startup packet
    /// on; it is already authenticated. A packet that is a cancel request comes on a pair of its
    /// own. Must not block: the session belongs on a task of its own.
    fn serve(&self, stream: UnixStream);
}
