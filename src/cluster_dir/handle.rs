//! A cluster's directory, opened.

use super::config::{CLUSTER_FILE, ClusterConfig, HostEntry, SCHEMA};
use super::error::{ClusterDirError, system};
use crate::core::row::SegmentRow;
use crate::hosts::files::{self, FileError};
use crate::hosts::{Host, SegmentConfig, data_dirs, holder};
use crate::net::{ClusterKey, Credentials, Endpoint, Identity};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// An opened cluster directory: its configuration, and the paths in it.
#[derive(Debug, Clone)]
pub struct ClusterHandle {
    dir: PathBuf,
    config: ClusterConfig,
}

/// Opens a cluster's directory.
pub fn open(dir: &Path) -> Result<ClusterHandle, ClusterDirError> {
    let dir = match dir.canonicalize() {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            return Err(ClusterDirError::Missing { dir: dir.into() });
        }
        canonical => canonical.map_err(system(format!("open {}", dir.display())))?,
    };
    let config = read_config(&dir)?;
    if config.dir != dir {
        return Err(ClusterDirError::Moved { dir, made_in: config.dir });
    }
    Ok(ClusterHandle { dir, config })
}

fn read_config(dir: &Path) -> Result<ClusterConfig, ClusterDirError> {
    match files::read_json(&dir.join(CLUSTER_FILE), SCHEMA) {
        Err(FileError::Missing { .. }) => Err(ClusterDirError::NotACluster { dir: dir.into() }),
        read => Ok(read?),
    }
}

impl ClusterHandle {
    pub(super) fn new(config: ClusterConfig) -> ClusterHandle {
        ClusterHandle { dir: config.dir.clone(), config }
    }

    /// The cluster's directory, absolute.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// What the cluster was when it was opened. Its hosts may be others by now, and its segments elsewhere:
    /// see [`ClusterHandle::hosts`], and the coordinator's catalog.
    pub fn config(&self) -> &ClusterConfig {
        &self.config
    }

    /// The cluster's name.
    pub fn name(&self) -> &str {
        &self.config.name
    }

    /// The key file.
    pub fn key_file(&self) -> PathBuf {
        self.dir.join("key")
    }

    /// The coordinator's directory: its catalog and its lock.
    pub fn coordinator_dir(&self) -> PathBuf {
        self.dir.join("coordinator")
    }

    /// Where the logs are.
    pub fn log_dir(&self) -> PathBuf {
        self.dir.join("log")
    }

    /// The log of a process: `coordinator`, `host-NAME`, `segment-DBID`, `keeper`.
    pub fn log_file(&self, process: &str) -> PathBuf {
        self.log_dir().join(format!("{process}.log"))
    }

    /// The cluster's key with an identity.
    pub fn credentials(&self, identity: Identity) -> Result<Credentials, ClusterDirError> {
        Ok(Credentials::new(ClusterKey::load(&self.key_file())?, identity))
    }

    /// Where the coordinator takes requests of clients.
    pub fn control_endpoint(&self) -> Endpoint {
        let at = &self.config.coordinator;
        Endpoint::new(at.address.clone(), at.control_port)
    }

    /// The coordinator's process; `None` when it does not run.
    pub fn coordinator_pid(&self) -> Option<u32> {
        holder(&self.coordinator_dir()).map(|p| p.pid())
    }

    /// The hosts as they are now, in their order: they may have changed since the cluster was opened.
    pub fn hosts(&self) -> Result<Vec<HostEntry>, ClusterDirError> {
        Ok(read_config(&self.dir)?.hosts)
    }

    /// A host's entry as it is now.
    pub fn host_entry(&self, name: &str) -> Result<HostEntry, ClusterDirError> {
        let hosts = self.hosts()?;
        let known = || hosts.iter().map(|h| h.name.as_str()).collect::<Vec<_>>().join(", ");
        let found = hosts.iter().find(|h| h.name == name).cloned();
        found.ok_or_else(|| ClusterDirError::NoSuchHost { name: name.into(), known: known() })
    }

    /// The way to ask a host.
    pub fn host(&self, name: &str, me: &Credentials) -> Result<Arc<dyn Host>, ClusterDirError> {
        Ok(self.host_entry(name)?.reach(me))
    }

    /// A host's agent process; `None` when it does not run.
    pub fn agent_pid(&self, name: &str) -> Result<Option<u32>, ClusterDirError> {
        Ok(holder(&self.host_entry(name)?.dir).map(|p| p.pid()))
    }

    /// How many segments run on this machine, by the locks of the data directories of its hosts.
    pub fn running_segments(&self) -> Result<usize, ClusterDirError> {
        let here = self.hosts()?.into_iter().filter(|host| host.ssh.is_none());
        let dirs = here.flat_map(|host| data_dirs(&host.dir));
        Ok(dirs.filter(|dir| holder(dir).is_some()).count())
    }

    /// A segment's process; `None` when it does not run.
    pub fn segment_pid(&self, row: &SegmentRow) -> Option<u32> {
        holder(Path::new(&row.datadir)).map(|p| p.pid())
    }

    /// The configuration of the segment that a row describes.
    pub fn segment_config(&self, row: &SegmentRow) -> SegmentConfig {
        SegmentConfig {
            cluster_id: self.config.id.clone(),
            cluster: self.config.name.clone(),
            dbid: row.dbid,
            content: row.content,
            host: row.hostname.clone(),
            address: row.address.clone(),
            port: row.port,
            replication_port: row.replication_port.unwrap_or(0),
            datadir: PathBuf::from(&row.datadir),
            socket_dir: self.config.socket_dir.clone(),
            key_file: self.key_file(),
            drill: self.config.drill,
            preferred_role: Some(row.preferred_role),
        }
    }
}
