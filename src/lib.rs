//! segsh: a scriptable administration shell for mirrored database clusters.

pub mod cluster;
pub mod cluster_dir;
pub mod coordinator;
pub mod core;
pub mod engine;
pub mod hosts;
pub mod net;
pub mod script;
