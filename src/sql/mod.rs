//! SQL sessions over SQLite, spoken through the PostgreSQL protocol.
//!
//! The segment process serves its database with it, the coordinator its catalog. A session is one
//! plain thread that owns a socket and a connection ([`serve_unix`], [`serve_stream`]); what a
//! process offers to it is a [`SqlHost`]; what may be done to all sessions together (hold, drain,
//! close) is in [`Sessions`].
//!
//! The messages are pgwire's. Its handlers are not used: a session must roll back and answer while
//! its client is silent, take back what it has not sent, and say the transaction's status itself.

mod booleans;
mod control;
mod core;
mod error;
mod exec;
mod extended;
mod functions;
mod gucs;
mod host;
mod kind;
mod lexer;
pub mod message;
mod params;
mod queue;
mod registry;
mod rows;
mod serve;
mod session;
mod types;
mod watchdog;
mod wire;

pub use error::{Phase, SqlError, state, translate, translate_permit};
/// What clients are told the server is; they parse its beginning.
pub const SERVER_VERSION: &str = "15.0 (segsh)";

pub use host::{Client, Gate, Position, SqlHost, StorageError, Timeouts};
pub use lexer::split;
pub use queue::{WriteQueue, WriteTurn};
pub use registry::{Drained, Sessions};
pub use serve::{
    SocketError, StartupParameters, accept_unix, listen_unix, serve_started, serve_stream, serve_unix,
    serve_unix_started,
};
