//! Hosts that join the cluster and leave it while the coordinator runs, which takes one at a time.
//!
//! A host that joins is written down by the client that brings it up. One that leaves is the coordinator's to write
//! down: it alone knows which segments are there, and which are on their way.

use super::clock::unix_ms;
use super::operations::InUse;
use super::places::KnownHost;
use super::site::HostPlace;
use super::store::StoreError;
use super::{Coordinator, HOSTS_WITHIN, hosts_of, hostwatch, reached};
use crate::cluster::done;
use crate::cluster::request::Owner;
use crate::cluster_dir::{self, ClusterDirError, open};
use crate::hosts::{HostError, holder};
use std::path::PathBuf;
use std::time::Duration;
use thiserror::Error;

/// How long a host that leaves is given to end what runs there: longer than its agent waits for a process to die.
const STOP_WITHIN: Duration = Duration::from_secs(8);
const PAUSE: Duration = Duration::from_millis(20);

/// Why a host does not leave.
#[derive(Debug, Error)]
pub enum RemoveHostError {
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
            RemoveHostError::InUse(error) => error.refusal().next,
            RemoveHostError::Directory(error) => error.next(),
            RemoveHostError::Store(_) => "look at the coordinator's log".into(),
        }
    }
}

impl Coordinator {
    /// Reads the hosts again from `cluster.json`; those that have joined are looked at before this returns.
    pub(super) async fn hosts_changed(&self, owner: &Owner) -> Result<(), ClusterDirError> {
        let _changing = self.hosts_changing.lock().await;
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

    /// A host on which no segment is, and to which none is being moved, is no part of the cluster from here on; its
    /// directory stays. What runs there is ended; returned is why it may not be, or nothing.
    pub(super) async fn remove_host(&self, name: &str, owner: &Owner) -> Result<String, RemoveHostError> {
        let _changing = self.hosts_changing.lock().await;
        let hosts = self.places.hosts();
        let Some(leaving) = hosts.iter().find(|known| known.place.name == name) else {
            let known = hosts.iter().map(|known| known.place.name.as_str()).collect::<Vec<_>>().join(", ");
            return Err(ClusterDirError::NoSuchHost { name: name.into(), known }.into());
        };
        self.operations.let_go(name)??;
        if let Err(error) = self.strike_out(name).await {
            self.places.put_back(hosts, name);
            return Err(error.into());
        }
        let left = self.ended(leaving).await.err().unwrap_or_default();
        let text = match left.as_str() {
            "" => format!("host {name} on {}", leaving.place.address),
            left => format!("host {name} on {}; {left}", leaving.place.address),
        };
        let now_ms = unix_ms();
        tracing::warn!(text, "a host has left the cluster");
        self.audit.append(0, owner, now_ms, &done("remove_host", text.clone()));
        self.board.write(|k| {
            k.maintenance.remove(name);
            k.hosts.remove(name);
        });
        self.places.forget_left_on(name);
        // It is gone, whether or not the catalog can be told.
        let line = format!("{text} has left the cluster, by {}", owner.who());
        if let Err(error) = self.store.forget_host(name, &line, now_ms) {
            tracing::error!(%error, line, "could not be recorded");
        }
        Ok(left)
    }

    async fn strike_out(&self, name: &str) -> Result<(), ClusterDirError> {
        let (dir, host) = (self.cluster_dir(), name.to_owned());
        let written = tokio::task::spawn_blocking(move || cluster_dir::remove_host(&dir, &host)).await;
        written.map_err(|gone| ClusterDirError::System { doing: "remove the host".into(), source: gone.into() })?
    }

    fn cluster_dir(&self) -> PathBuf {
        self.site.dir.parent().unwrap_or(&self.site.dir).to_path_buf()
    }

    /// Ends what runs on a host, or says why it may still run. Its agent is gone then: one that is on its way out would
    /// be taken for the agent of a host that joins under the same name.
    async fn ended(&self, leaving: &KnownHost) -> Result<(), String> {
        // Looked at anew: it may have come back since the last look.
        match tokio::time::timeout(HOSTS_WITHIN, hostwatch::look(&*leaving.host, &self.board)).await {
            Ok(seen) if seen.pid.is_none() => return Err(format!("what runs there may go on: {}", seen.cause)),
            Ok(_) => {}
            Err(_) => return Err("what runs there may go on: the host does not answer".into()),
        }
        let stop = async {
            leaving.host.stop(true).await?;
            while leaving.place.ssh.is_none() && holder(&leaving.place.dir).is_some() {
                tokio::time::sleep(PAUSE).await;
            }
            Ok::<(), HostError>(())
        };
        match tokio::time::timeout(STOP_WITHIN, stop).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(format!("what runs there may go on: {error}")),
            Err(_) => Err(format!("what runs there may go on: no answer within {} s", STOP_WITHIN.as_secs())),
        }
    }
}
