//! A cluster's directory: what is in it, and the life of the cluster in it.
//!
//! ```text
//! DIR/cluster.json          what the cluster is: written last of all by `init`; hosts join and leave
//! DIR/key                   the cluster's key, mode 0600
//! DIR/coordinator/          catalog and lock of the coordinator
//! DIR/hosts/NAME/           agent.json and lock of a host's agent; `stopped` while a drill has it dead
//! DIR/hosts/NAME/cC-D/      data directory of the segment with content C and dbid D
//! DIR/run/                  Unix sockets (elsewhere when that path would be too long)
//! DIR/log/                  one file a process
//! ```
//! Starting and stopping is driven by the client: it starts the agents and the coordinator itself,
//! and asks the coordinator for the rest. What must work with everything else dead (`destroy`, a
//! demo's end, killing a host in a drill) goes by the locks of the directories alone.

mod address;
mod adopt;
mod cluster_file;
mod config;
mod control;
mod demo;
mod error;
mod fault;
mod handle;
mod init;
mod join;
mod keeper;
mod place;
mod processes;
mod silent;
mod start;
mod stop;
mod teardown;

pub use adopt::{Adoption, survey};
pub use config::{CLUSTER_FILE, ClusterConfig, CoordinatorEntry, HostEntry};
pub use control::{Watch, follow};
pub use demo::Demo;
pub use error::ClusterDirError;
pub use fault::{start_host, stop_host};
pub use handle::{ClusterHandle, open};
pub use init::{HostPlan, Hosts, InitCatalog, InitOptions, InitSegment, init, init_everywhere};
pub use join::{Joined, add_host, remove_host};
pub use keeper::run_keeper;
pub use place::Ports;
pub use processes::{Processes, start_processes, this_program};
pub use silent::SilentHost;
pub use start::start;
pub use stop::{Stopped, stop, stop_coordinator_only, stop_within};
pub use teardown::destroy;
