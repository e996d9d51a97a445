//! The agents, asked every second whether they answer, and at once when a process of theirs goes.

use super::board::{Board, HostSeen};
use crate::hosts::{Host, HostError};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// The hosts of the cluster by name.
pub type Hosts = BTreeMap<String, Arc<dyn Host>>;

const EVERY: Duration = Duration::from_secs(1);

/// The way to have a host asked now.
#[derive(Debug, Clone, Default)]
pub struct Glance(Arc<BTreeMap<String, Notify>>);

impl Glance {
    pub fn of(hosts: &Hosts) -> Glance {
        Glance(Arc::new(hosts.keys().map(|name| (name.clone(), Notify::new())).collect()))
    }

    /// Something may have happened at this host: ask it, wait for nothing.
    pub fn at(&self, host: &str) {
        if let Some(notify) = self.0.get(host) {
            notify.notify_one();
        }
    }

    async fn wanted(&self, host: &str) {
        match self.0.get(host) {
            Some(notify) => notify.notified().await,
            None => std::future::pending().await,
        }
    }
}

/// Asks each host on a task of its own, so that a silent one delays no other.
pub fn watch(hosts: &Hosts, board: &Arc<Board>, glance: &Glance) {
    for host in hosts.values() {
        let (host, board, glance) = (host.clone(), board.clone(), glance.clone());
        tokio::spawn(async move {
            loop {
                look(&*host, &board).await;
                tokio::select! {
                    () = tokio::time::sleep(EVERY) => {}
                    () = glance.wanted(host.name()) => {}
                }
            }
        });
    }
}

/// Asks one host now.
pub async fn look(host: &dyn Host, board: &Board) -> HostSeen {
    let at = Some(Instant::now());
    let seen = match host.ping().await {
        Ok(pong) => HostSeen { pid: Some(pong.pid), running: pong.running, cause: String::new(), at },
        Err(error) => {
            // Who looks knows which host it is.
            let cause = match error {
                HostError::Unreachable { cause, .. } => cause.to_string(),
                HostError::Failed { failure, .. } => failure.to_string(),
            };
            HostSeen { cause, at, ..HostSeen::default() }
        }
    };
    board.write(|k| {
        let known = k.hosts.entry(host.name().to_string()).or_default();
        // Several may ask at a time: the word of a later question stands.
        if known.at <= at {
            *known = seen.clone();
        }
    });
    seen
}
