//! `cluster.json`: what the cluster is. Written by `init`; only hosts change it since, under a lock: one that joins is a
//! client's doing ([`super::add_host`]), one that leaves the coordinator's. It is in this file because a start must
//! know the hosts while no coordinator runs. What else changes is in the coordinator's catalog.

use crate::core::row::SegmentRow;
use crate::hosts::{AgentHost, Host, SshHost, SshPlace};
use crate::net::{Credentials, Endpoint};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

/// The name of the configuration in the cluster's directory.
pub const CLUSTER_FILE: &str = "cluster.json";
pub(super) const SCHEMA: u64 = 1;

/// What the cluster is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterConfig {
    /// As the prompt shows it.
    pub name: String,
    /// The cluster's own identity, random.
    pub id: String,
    /// Where it was made; the paths below are absolute.
    pub dir: PathBuf,
    /// Faults may be injected.
    pub drill: bool,
    /// Temporary: gone with the shell that made it.
    pub demo: bool,
    /// The coordinator.
    pub coordinator: CoordinatorEntry,
    /// Where the Unix sockets of PostgreSQL clients are.
    pub socket_dir: PathBuf,
    /// The hosts, in their order.
    pub hosts: Vec<HostEntry>,
    /// The rows as `init` made them: the coordinator's first, then by dbid.
    pub segments: Vec<SegmentRow>,
    /// Settings given to `init`.
    pub settings: BTreeMap<String, String>,
}

/// Where the coordinator is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CoordinatorEntry {
    /// Its host's name.
    pub host: String,
    /// The address it listens on.
    pub address: String,
    /// The port of PostgreSQL clients: names the Unix socket, too.
    pub port: u16,
    /// The port of the control endpoint.
    pub control_port: u16,
}

/// A host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostEntry {
    /// Its name.
    pub name: String,
    /// The address its agent and its segments listen on.
    pub address: String,
    /// The agent's port.
    pub agent_port: u16,
    /// Its directory.
    pub dir: PathBuf,
    /// Directories beside it that segments may be placed in: the first is where new ones go.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roots: Vec<PathBuf>,
    /// How it is reached over SSH; `None` for a host of this machine, which has an agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ssh: Option<SshPlace>,
}

impl HostEntry {
    /// Where its data directories may be, the place for a new one first.
    pub fn data_roots(&self) -> Vec<PathBuf> {
        self.roots.iter().chain([&self.dir]).cloned().collect()
    }

    /// The way to ask it; `me` is who asks an agent.
    pub fn reach(&self, me: &Credentials) -> Arc<dyn Host> {
        match self.over_ssh() {
            Some(host) => Arc::new(host),
            None => Arc::new(AgentHost::new(self.name.clone(), self.agent(), me.clone())),
        }
    }

    /// The way to a host that is reached over SSH.
    pub fn over_ssh(&self) -> Option<SshHost> {
        let place = self.ssh.clone()?;
        Some(SshHost::new(self.name.clone(), self.address.clone(), &self.dir, place))
    }

    /// Where its agent listens.
    pub fn agent(&self) -> Endpoint {
        Endpoint::new(self.address.clone(), self.agent_port)
    }
}
