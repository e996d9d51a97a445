//! The segment process: one data directory, one content's SQLite database, every byte of which
//! passes through the replication engine.

mod backup;
mod control;
mod database;
pub mod identity;
mod judge;
mod process;
mod restore;
#[allow(unsafe_code)]
pub mod vfs;

pub use process::{SegmentError, run};
