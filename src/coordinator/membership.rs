//! Hosts that join the cluster and leave it while the coordinator runs.
//!
//! A host that joins is written down by the client that brings it up. One that leaves is the coordinator's to write
//! down: it alone knows which segments are there, and which are on their way.

use super::clock::unix_ms;
use super::operations::InUse;
use super::site::HostPlace;
use super::store::StoreError;
use super::{Coordinator, HOSTS_WITHIN, hosts_of, hostwatch, reached};
use crate::cluster::done;
use crate::cluster::request::Owner;
use crate::cluster_dir::{self, ClusterDirError, open};
use std::path::PathBuf;
use std::time::Duration;
use thiserror::Error;

/// How long a host that leaves is given to end what runs there; then it is as one that does not answer.
const STOP_WITHIN: Duration = Duration::from_secs(5);

/// Why a host does not leave.
#[derive(Debug, Error)]
pub enum RemoveHostError {
    #[error("there is no host `{host}`; there are: {known}")]
    UnknownHost { host: String, known: String },
    #[error(transparent)]
    InUse(#[from] InUse),
    #[error(transparent)]
    Directory(#[from] ClusterDirError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl RemoveHostError {
    /// The next step as it would be typed.
    pub fn next(&self) -> String {
        match self {
            RemoveHostError::UnknownHost { .. } => "state().hosts".into(),
            RemoveHostError::InUse(error) => error.next(),
            RemoveHostError::Directory(error) => error.next(),
            RemoveHostError::Store(_) => "look at the coordinator's log".into(),
        }
    }
}

impl Coordinator {
    /// Reads the hosts again from `cluster.json`; those that have joined are looked at before this returns.
    pub(super) async fn hosts_changed(&self, owner: &Owner) -> Result<(), ClusterDirError> {
        let handle = open(&self.cluster_dir())?;
        let before: Vec<String> = self.places.host_places().into_iter().map(|place| place.name).collect();
        self.places.set_hosts(reached(&self.site, hosts_of(&handle)));
        for known in self.places.hosts().iter().filter(|known| !before.contains(&known.place.name)) {
            let HostPlace { name, address, .. } = &known.place;
            self.audit.append(0, owner, unix_ms(), &done("add_host", format!("host {name} on {address}")));
            let _ = tokio::time::timeout(HOSTS_WITHIN, hostwatch::look(&*known.host, &self.board)).await;
        }
        Ok(())
    }

    /// A host on which no segment is, and to which none is being moved, is no part of the cluster from here on. What
    /// runs there is ended if it answers; its directory stays.
    pub(super) async fn remove_host(&self, name: &str, owner: &Owner) -> Result<(), RemoveHostError> {
        let hosts = self.places.hosts();
        let Some(leaving) = hosts.iter().find(|known| known.place.name == name) else {
            let known = hosts.iter().map(|known| known.place.name.as_str()).collect::<Vec<_>>().join(", ");
            return Err(RemoveHostError::UnknownHost { host: name.into(), known });
        };
        self.operations.let_go(name)?;
        let (dir, host) = (self.cluster_dir(), name.to_owned());
        let written = tokio::task::spawn_blocking(move || cluster_dir::remove_host(&dir, &host)).await;
        let lost = |gone: tokio::task::JoinError| {
            Err(ClusterDirError::System { doing: "remove the host".into(), source: gone.into() })
        };
        if let Err(error) = written.unwrap_or_else(lost) {
            // The file has the last word on which hosts there are.
            self.hosts_changed(owner).await?;
            return Err(error.into());
        }
        let stopped = tokio::time::timeout(STOP_WITHIN, leaving.host.stop(true)).await;
        let text = match stopped {
            Ok(Ok(_)) => format!("host {name} on {}", leaving.place.address),
            _ => format!("host {name} on {}, which did not answer", leaving.place.address),
        };
        let now_ms = unix_ms();
        self.store.end_maintenance(name, &format!("host {name} has left the cluster"), now_ms)?;
        self.board.write(|k| {
            k.maintenance.remove(name);
            k.hosts.remove(name);
        });
        tracing::warn!(text, "a host has left the cluster");
        self.audit.append(0, owner, now_ms, &done("remove_host", text));
        Ok(())
    }

    fn cluster_dir(&self) -> PathBuf {
        self.site.dir.parent().unwrap_or(&self.site.dir).to_path_buf()
    }
}
