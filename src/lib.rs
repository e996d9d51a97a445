//! segsh: a scriptable administration shell for mirrored database clusters.

pub mod cluster;
pub mod coordinator;
pub mod core;
pub mod engine;
pub mod hosts;
pub mod net;
pub mod script;
