//! The agents, asked every second whether they answer, and at once when a process of theirs goes.

use super::board::{Board, HostSeen};
use super::clock::unix_ms;
use super::places::{KnownHost, Places};
use super::store::Store;
use crate::cluster::LeftBehind;
use crate::hosts::{Host, HostError, NEW_COPY_SUFFIX, Running};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

const EVERY: Duration = Duration::from_secs(1);

/// Asks each host on a task of its own, so that a silent one delays no other. A host that joins is watched
/// from then on, one that leaves no longer.
pub fn watch(places: &Arc<Places>, board: &Arc<Board>, store: &Arc<Store>) {
    let (places, board, store) = (places.clone(), board.clone(), store.clone());
    tokio::spawn(async move {
        let mut changes = places.host_changes();
        let mut watched: Vec<Arc<KnownHost>> = Vec::new();
        loop {
            changes.borrow_and_update();
            let hosts = places.hosts();
            for host in hosts.iter().filter(|host| !watched.iter().any(|old| Arc::ptr_eq(old, host))) {
                tokio::spawn(keep_asking(host.clone(), places.clone(), board.clone(), store.clone()));
            }
            watched = hosts;
            if changes.changed().await.is_err() {
                return;
            }
        }
    });
}

async fn keep_asking(known: Arc<KnownHost>, places: Arc<Places>, board: Arc<Board>, store: Arc<Store>) {
    let mut ended = BTreeSet::new();
    while places.is_known(&known) {
        let seen = look(&*known.host, &board).await;
        for left in places.left_on(&known.place.name) {
            end_stray(&*known.host, &left, &seen.running, &store, &mut ended).await;
        }
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = known.wanted.notified() => {}
        }
    }
}

/// A segment was moved while its host was gone, and the host is back with the process it had: that one is
/// ended. Until then it acknowledged nothing: its link and its lease had ended, and its epoch is over.
async fn end_stray(host: &dyn Host, left: &LeftBehind, running: &[Running], store: &Store, ended: &mut BTreeSet<u32>) {
    let datadirs = [PathBuf::from(&left.datadir), PathBuf::from(format!("{}{NEW_COPY_SUFFIX}", left.datadir))];
    for stray in running.iter().filter(|r| datadirs.contains(&r.datadir)) {
        let text = match host.kill_segment(&stray.datadir).await {
            Ok(_) => "was ended",
            Err(error) => {
                tracing::warn!(pid = stray.pid, %error, "a process that a move left behind could not be ended");
                "can't be ended"
            }
        };
        // Said once of each process, however long it stays.
        if ended.insert(stray.pid) {
            let (host, datadir) = (&left.host, stray.datadir.display());
            let text = format!("left behind by a move: process {} on {host} in {datadir} {text}", stray.pid);
            if let Err(error) = store.remark(left.dbid, &text, unix_ms()) {
                tracing::error!(%error, text, "could not be recorded");
            }
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
