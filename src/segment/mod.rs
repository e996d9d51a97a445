//! The segment process: one data directory, one content's SQLite database.

pub mod vfs;
