//! The segment process: one data directory, one content's SQLite database, every byte of which
//! passes through the replication engine.

pub mod identity;
#[allow(unsafe_code)]
pub mod vfs;
