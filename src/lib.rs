//! segsh: a scriptable administration shell for mirrored database clusters.
#![deny(unsafe_code)]

pub mod backend;
pub mod cluster;
pub mod core;
pub mod engine;
pub mod hosts;
pub mod net;
pub mod script;
pub mod segment;
