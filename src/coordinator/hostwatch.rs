//! The agents, asked every second whether they answer, and at once when a process of theirs goes.

use super::board::{Board, HostSeen};
use super::places::{KnownHost, Places};
use crate::hosts::{Host, HostError};
use std::sync::Arc;
use std::time::{Duration, Instant};

const EVERY: Duration = Duration::from_secs(1);

/// Asks each host on a task of its own, so that a silent one delays no other. A host that joins is watched
/// from then on, one that leaves no longer.
pub fn watch(places: &Arc<Places>, board: &Arc<Board>) {
    let (places, board) = (places.clone(), board.clone());
    tokio::spawn(async move {
        let mut changes = places.host_changes();
        let mut watched: Vec<Arc<KnownHost>> = Vec::new();
        loop {
            changes.borrow_and_update();
            let hosts = places.hosts();
            for host in hosts.iter().filter(|host| !watched.iter().any(|old| Arc::ptr_eq(old, host))) {
                tokio::spawn(keep_asking(host.clone(), places.clone(), board.clone()));
            }
            watched = hosts;
            if changes.changed().await.is_err() {
                return;
            }
        }
    });
}

async fn keep_asking(known: Arc<KnownHost>, places: Arc<Places>, board: Arc<Board>) {
    while places.is_known(&known) {
        look(&*known.host, &board).await;
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = known.wanted.notified() => {}
        }
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
