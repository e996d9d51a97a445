//! segsh: a scriptable administration shell for mirrored database clusters.

pub mod cluster;
pub mod core;
pub mod engine;
pub mod script;
pub mod segment;
pub mod sql;
