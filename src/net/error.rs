//! What can go wrong between two processes, told apart by what an administrator would do next.

use super::identity::{Identity, Purpose};
use std::io;
use std::time::Duration;
use thiserror::Error;

/// A connection that could not be made, or that ended. Plain data, so that it can be kept as the
/// evidence of a decision.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NetError {
    /// The name has no address.
    #[error("name `{name}` can't be resolved: {message}")]
    Name { name: String, message: String },
    /// No route leads to the address.
    #[error("no route to {to}: {message}")]
    Route { to: String, message: String },
    /// The address answers, and nobody listens: the process is gone.
    #[error("{to} refused the connection")]
    Refused { to: String },
    /// The connection was reset, or closed by the other side.
    #[error("connection closed: {message}")]
    Closed { message: String },
    /// Nothing came within the deadline.
    #[error("no answer within {} ms", within.as_millis())]
    Timeout { within: Duration },
    /// The other side holds another cluster's key.
    #[error("the other side does not hold this cluster's key")]
    WrongKey,
    /// The other side is another release of segsh.
    #[error("protocol version {theirs} there, {ours} here: both sides must be the same release")]
    WrongVersion { ours: u16, theirs: u16 },
    /// It holds the key, but it is not the process that was meant.
    #[error("expected {expected}, found {found}")]
    WrongPeer { expected: Identity, found: Identity },
    /// The endpoint does not serve this purpose.
    #[error("the endpoint does not serve {} connections", purpose.word())]
    WrongPurpose { purpose: Purpose },
    /// The bytes are not what the protocol says.
    #[error("bad frame: {0}")]
    BadFrame(String),
    /// SSH: the host shows a key that it is not known by.
    #[error(
        "the host key of {to} is not known: {fingerprint} is not in {file}; compare it with the host's own, then \
         add it (ssh-keyscan)"
    )]
    HostKeyUnknown { to: String, fingerprint: String, file: String },
    /// SSH: the host shows another key than the one that it is known by.
    #[error(
        "the host key of {to} HAS CHANGED: it shows {fingerprint}, {file} has another one; it is another machine, \
         or somebody is in between"
    )]
    HostKeyChanged { to: String, fingerprint: String, file: String },
    /// SSH: nobody is let in.
    #[error("{user} is not let in: tried {tried}")]
    Login { user: String, tried: String },
    /// SSH: the login works, and the program there does not.
    #[error("segsh does not run there: {message}")]
    NoProgram { message: String },
    /// The local system could not do it (no file descriptors, no entropy).
    #[error("{0}")]
    Local(String),
}

impl NetError {
    /// The cause in the words that `ping` reports: `name`, `route`, `refused`, `timeout`, `login`, and over SSH
    /// `host_key_unknown`, `host_key_changed` and `program`.
    pub fn cause(&self) -> &'static str {
        match self {
            NetError::Name { .. } => "name",
            NetError::Route { .. } | NetError::Local(_) => "route",
            NetError::Refused { .. } | NetError::Closed { .. } => "refused",
            NetError::Timeout { .. } => "timeout",
            NetError::HostKeyUnknown { .. } => "host_key_unknown",
            NetError::HostKeyChanged { .. } => "host_key_changed",
            NetError::NoProgram { .. } => "program",
            NetError::Login { .. }
            | NetError::WrongKey
            | NetError::WrongVersion { .. }
            | NetError::WrongPeer { .. }
            | NetError::WrongPurpose { .. }
            | NetError::BadFrame(_) => "login",
        }
    }

    /// Names a failed `connect` to `to`.
    pub(crate) fn of_connect(to: &str, error: &io::Error, within: Duration) -> NetError {
        use io::ErrorKind as K;
        match error.kind() {
            K::ConnectionRefused => NetError::Refused { to: to.into() },
            // A blackhole route answers a connect with EINVAL at once.
            K::HostUnreachable
            | K::NetworkUnreachable
            | K::NetworkDown
            | K::AddrNotAvailable
            | K::PermissionDenied
            | K::InvalidInput => NetError::Route { to: to.into(), message: error.to_string() },
            _ => NetError::of_io(error, within),
        }
    }

    /// Names a failed read or write.
    pub(super) fn of_io(error: &io::Error, within: Duration) -> NetError {
        use io::ErrorKind as K;
        match error.kind() {
            K::TimedOut | K::WouldBlock => NetError::Timeout { within },
            K::UnexpectedEof
            | K::ConnectionReset
            | K::ConnectionAborted
            | K::BrokenPipe
            | K::NotConnected
            | K::HostUnreachable
            | K::NetworkUnreachable
            | K::NetworkDown => NetError::Closed { message: error.to_string() },
            _ => NetError::Local(error.to_string()),
        }
    }

    /// Names a failed read or write of a stream that waits for as long as it takes.
    pub(super) fn of_stream(error: &io::Error) -> NetError {
        match error.kind() {
            io::ErrorKind::TimedOut => NetError::Closed { message: error.to_string() },
            _ => NetError::of_io(error, Duration::ZERO),
        }
    }

    /// The other side ended the connection in an orderly way.
    pub(super) fn end_of_stream() -> NetError {
        NetError::Closed { message: "end of stream".into() }
    }
}
