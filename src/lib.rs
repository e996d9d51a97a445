//! segsh: a scriptable administration shell for mirrored database clusters.

#![deny(unsafe_code)]

pub mod cluster;
pub mod core;
pub mod engine;
pub mod script;
