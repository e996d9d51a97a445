//! The harness of the end-to-end tests: real processes, driven from outside only.
//!
//! Nothing here links against the crate. A cluster is what its commands, its sockets, its files and
//! its process ids say it is, which is all that an administrator has too.

pub mod cluster;
pub mod command;
pub mod files;
pub mod ledger;
pub mod network;
pub mod processes;
pub mod random;
pub mod shim;
// Others of its users hang it and change its key.
#[allow(dead_code)]
pub mod sshd;
pub mod status;
pub mod terminal;
pub mod wait;
pub mod watcher;
pub mod wire;
pub mod writers;

pub use cluster::Cluster;
pub use command::Place;
pub use network::Network;
pub use shim::Shim;
pub use status::{Pair, Segment, Status};
pub use wait::{wait_for, wait_for_some};
pub use wire::{Lost, Reply, Wire};
pub use writers::Writers;
