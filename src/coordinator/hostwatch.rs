//! The agents, asked every second whether they answer.

use super::board::{Board, HostSeen};
use crate::hosts::{Host, HostError};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The hosts of the cluster by name.
pub type Hosts = BTreeMap<String, Arc<dyn Host>>;

const EVERY: Duration = Duration::from_secs(1);

/// Asks each host on a task of its own, so that a silent one delays no other.
pub fn watch(hosts: &Hosts, board: &Arc<Board>) {
    for host in hosts.values() {
        let (host, board) = (host.clone(), board.clone());
        tokio::spawn(async move {
            loop {
                look(&*host, &board).await;
                tokio::time::sleep(EVERY).await;
            }
        });
    }
}

/// Asks one host now.
pub async fn look(host: &dyn Host, board: &Board) -> HostSeen {
    let seen = match host.ping().await {
        Ok(pong) => {
            HostSeen { pid: Some(pong.pid), running: pong.running, cause: String::new(), at: Some(Instant::now()) }
        }
        Err(error) => {
            // Who looks knows which host it is.
            let cause = match error {
                HostError::Unreachable { cause, .. } => cause.to_string(),
                HostError::Failed { failure, .. } => failure.to_string(),
            };
            HostSeen { cause, at: Some(Instant::now()), ..HostSeen::default() }
        }
    };
    board.write(|k| k.hosts.insert(host.name().to_string(), seen.clone()));
    seen
}
