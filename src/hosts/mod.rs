//! Hosts: starting, fencing and finding the processes of segments.
//!
//! The coordinator knows a host through [`Host`]; [`AgentHost`] is the client of the agent, a small
//! process on the host's address ([`run_agent`]), and [`SshHost`] does the same over SSH, without one. An agent starts a segment when it is told to and
//! never by itself, and segments outlive it: an agent that starts finds them by the locks of their
//! directories ([`DirLock`]). Everything here trusts the lock and not the process table,
//! except where a directory was removed with its lock under a living process.

mod agent;
mod carrier;
mod client;
mod config;
mod dirs;
pub mod files;
mod host;
mod launch;
mod lock;
mod oneshot;
mod process;
mod ssh;
mod stray;
#[cfg(test)]
pub(crate) mod testing;
mod work;

pub use agent::{Agent, AgentError, run_agent};
pub use carrier::Carrier;
pub use client::AgentHost;
pub use config::{AGENT_FILE, AgentConfig, IDENTITY_FILE, NEW_COPY_SUFFIX, SEGMENT_FILE, STOPPED_FILE, SegmentConfig};
pub use dirs::{data_dirs, remove_data_dir};
pub use host::{Host, HostError, HostFailure, HostReply, HostRequest, Pong, Running};
pub use launch::{Launch, LaunchError, Lifeline, announce_ready, leave_terminal};
pub use lock::{DirLock, FenceError, Fenced, LOCK_FILE, LockError, fence, holder};
pub use oneshot::{OneShotError, host_do, own_digest};
pub use process::ProcessId;
pub use ssh::{Outfit, SshHost, SshPlace};
