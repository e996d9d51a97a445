//! I/O around the pure core: the disk, the replication link, the threads.
//!
//! What a segment does in its pair is decided by [`Replica`]; here its effects are carried out.
//! [`Engine`] is the one object behind a segment: SQLite's VFS writes through it ([`Storage`]), the
//! coordinator's orders reach it ([`Engine::order`]), a peer's link ends in it
//! ([`Engine::accept_link`]). One mutex guards a write together with its place in the stream to the
//! mirror, so nothing is ever sent that the local file does not hold, and never in another order.
//!
//! Threads: those of the sessions; for an open link of a primary a sender, a receiver and a clock;
//! one for a resynchronization; on a mirror one that applies, and one that syncs behind it. None of them outlives its link.
//!
//! [`Replica`]: crate::core::pair::replica::Replica
//! [`Storage`]: storage::Storage

mod behind;
pub mod directory;
pub mod disk;
mod group;
mod link;
mod mirror;
mod obedience;
mod pacing;
mod receive;
mod records;
mod report;
mod resync;
mod spare;
mod state;
pub mod storage;
#[cfg(test)]
mod tests;
mod through;
mod verify;

pub use disk::create_files;
pub use obedience::Then;
pub use records::{MAP, META, RecordError, load_map, load_meta, save_map, save_meta};
pub use state::{Connector, Engine, EngineError};
