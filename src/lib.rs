//! segsh: a scriptable administration shell for mirrored database clusters.
#![deny(unsafe_code)]

pub mod backend;
pub mod cli;
pub mod cluster;
pub mod cluster_dir;
pub mod coordinator;
pub mod core;
pub mod engine;
pub mod gateway;
pub mod gp;
pub mod hosts;
pub mod net;
pub mod script;
pub mod segment;
pub mod shell;
pub mod sql;
