//! The keeper of a demo: a process that outlives the shell only to clear up after it.
//!
//! Its standard input is a pipe whose writing end only the shell holds. However the shell ends, the
//! pipe ends with it; then the keeper kills every process of the cluster, stopped ones too, and
//! removes the directory.

use super::error::{ClusterDirError, system};
use super::handle::open;
use super::teardown::tear_down;
use crate::hosts::{announce_ready, leave_terminal};
use std::io::{self, Read};
use std::path::Path;
use tokio::signal::unix::{SignalKind, signal};

/// How often the cluster's end is tried: a process in the middle of a disk write dies late.
const TRIES: usize = 6;

/// Waits for the end of standard input, then ends the cluster in `dir`. Signals that would end the
/// shell are not for it.
pub async fn run_keeper(dir: &Path) -> Result<(), ClusterDirError> {
    ignore_signals().map_err(system("ignore signals"))?;
    // Read now: at the end the directory may be half gone.
    let handle = open(dir)?;
    announce_ready();
    let ended = tokio::task::spawn_blocking(|| await_end(io::stdin().lock())).await;
    ended.map_err(|e| system("wait for the shell")(io::Error::other(e)))?;
    tracing::info!(dir = %dir.display(), "the shell has ended, so does its demo");
    let ended = tokio::task::spawn_blocking(move || {
        let (dir, sockets) = (handle.dir(), &handle.config().socket_dir);
        let mut last = tear_down(dir, sockets);
        for _ in 1..TRIES {
            match &last {
                Ok(()) => break,
                Err(error) => tracing::warn!(%error, "the demo has not ended yet"),
            }
            last = tear_down(dir, sockets);
        }
        last
    });
    ended.await.map_err(|e| system("end the demo")(io::Error::other(e)))?
}

fn ignore_signals() -> io::Result<()> {
    leave_terminal()?;
    // A registered handler stays when its stream is dropped, and it does nothing.
    drop(signal(SignalKind::terminate())?);
    drop(signal(SignalKind::quit())?);
    Ok(())
}

/// Reads until the other end is closed. An error of the pipe is its end, too.
fn await_end(mut pipe: impl Read) {
    let mut buffer = [0; 64];
    loop {
        match pipe.read(&mut buffer) {
            Ok(0) => return,
            Ok(_) => {}
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}
