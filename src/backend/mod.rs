//! Implementations of [`crate::cluster::Cluster`], one a file.

pub mod filerep;
mod interrupt;
mod pg;
