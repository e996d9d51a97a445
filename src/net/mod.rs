//! Connections inside a cluster: who may talk, how a message is framed, and how a failure is named.
//!
//! Every connection between two processes of a cluster begins with one mutual challenge
//! ([`handshake`], pure): both sides prove that they hold the cluster's key, and each learns the
//! other's [`Identity`] and the connection's [`Purpose`]. Not one byte after it is read before it
//! has succeeded. [`connect`] and [`accept`] are the only ways to a stream, and so the one seam
//! where TLS will go; [`blocking`] is the same for threads without a runtime.
//!
//! Control messages are JSON in checked frames ([`Framed`]). Other traffic (SQL, replication) takes
//! the bare [`Stream`] and speaks its own protocol over it.

pub mod blocking;
mod error;
mod frame;
pub mod handshake;
mod identity;
mod key;
mod stream;

pub use error::NetError;
pub use frame::{
    FrameReceiver, FrameSender, Framed, MAX_FRAME, decode_bytes, decode_frame, encode_bytes, encode_frame,
};
pub use handshake::VERSION;
pub use identity::{Credentials, Endpoint, Identity, Peer, Purpose};
pub use key::{ClusterKey, KeyError};
pub use stream::{Stream, accept, connect};
