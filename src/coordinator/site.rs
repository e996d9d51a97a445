//! Where the coordinator is, and what it needs to know to reach the others.

use crate::core::row::SegmentRow;
use crate::hosts::{SegmentConfig, SshPlace};
use crate::net::{ClusterKey, Credentials, Endpoint, Identity};
use std::path::PathBuf;

/// A host of the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPlace {
    pub name: String,
    pub address: String,
    pub dir: PathBuf,
    /// How it is reached over SSH, where it has no agent.
    pub ssh: Option<SshPlace>,
    pub agent_port: u16,
    /// The directories in which data directories may be, the usual one first.
    pub roots: Vec<PathBuf>,
}

/// The coordinator's surroundings, from the cluster's configuration.
#[derive(Debug, Clone)]
pub struct Site {
    /// The cluster's name.
    pub cluster: String,
    /// The cluster's own identity.
    pub cluster_id: String,
    /// Whether faults may be injected.
    pub drill: bool,
    /// The coordinator's own directory: lock, catalog, audit log.
    pub dir: PathBuf,
    /// The coordinator's host.
    pub host: String,
    pub address: String,
    pub control_port: u16,
    pub pg_port: u16,
    pub socket_dir: PathBuf,
    pub key_file: PathBuf,
    pub key: ClusterKey,
}

impl Site {
    /// What the coordinator proves itself with.
    pub fn credentials(&self) -> Credentials {
        Credentials::new(self.key.clone(), Identity::Coordinator)
    }

    /// What a segment's process must know.
    pub fn segment_config(&self, row: &SegmentRow) -> SegmentConfig {
        SegmentConfig {
            cluster_id: self.cluster_id.clone(),
            cluster: self.cluster.clone(),
            dbid: row.dbid,
            content: row.content,
            host: row.hostname.clone(),
            address: row.address.clone(),
            port: row.port,
            replication_port: row.replication_port.unwrap_or_default(),
            datadir: PathBuf::from(&row.datadir),
            socket_dir: self.socket_dir.clone(),
            key_file: self.key_file.clone(),
            drill: self.drill,
            preferred_role: Some(row.preferred_role),
        }
    }

    /// Where a segment takes control and SQL connections.
    pub fn endpoint(row: &SegmentRow) -> Endpoint {
        Endpoint::new(row.address.clone(), row.port)
    }
}
