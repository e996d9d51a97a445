//! The agent: a process on its host's address that does what [`super::Host`] says.

use super::config::{AgentConfig, STOPPED_FILE};
use super::files::FileError;
use super::host::{HostReply, HostRequest};
use super::launch::{announce_ready, leave_terminal};
use super::lock::{DirLock, LockError};
use super::work::Workplace;
use crate::net::{ClusterKey, Credentials, Framed, Identity, KeyError, NetError, Purpose, accept};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// How long a peer may take to prove itself.
const CHALLENGE_WITHIN: Duration = Duration::from_secs(5);
/// How long the loop pauses when the system can't give it another connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Why an agent can't serve.
#[derive(Debug, Error)]
pub enum AgentError {
    /// Its configuration can't be used.
    #[error(transparent)]
    Config(#[from] FileError),
    /// Another agent serves this directory.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The cluster's key can't be used.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A drill has the host dead.
    #[error("host {host} was stopped by a drill")]
    Stopped { host: String },
    /// Its address can't be listened on.
    #[error("host {host} can't listen on {address}:{port}: {source}")]
    Listen { host: String, address: String, port: u16, source: io::Error },
    /// The system refused.
    #[error("{doing}: {source}")]
    System { doing: &'static str, source: io::Error },
}

/// An agent that holds its directory and listens, but does not serve yet.
#[derive(Debug)]
pub struct Agent {
    listener: TcpListener,
    shared: Arc<Shared>,
    lock: DirLock,
}

#[derive(Debug)]
struct Shared {
    me: Credentials,
    workplace: Workplace,
    stop: watch::Sender<bool>,
}

impl Agent {
    /// Takes the host's directory, reads its configuration, and listens.
    pub async fn bind(dir: &Path) -> Result<Agent, AgentError> {
        let system = |doing| move |source| AgentError::System { doing, source };
        let dir = dir.canonicalize().map_err(system("the host's directory"))?;
        let lock = DirLock::take(&dir)?;
        let config = AgentConfig::load(&dir)?;
        // Looked at under the lock: a drill that stops the host leaves its mark first, and kills the holder then.
        if dir.join(STOPPED_FILE).exists() {
            return Err(AgentError::Stopped { host: config.host });
        }
        let key = ClusterKey::load(&config.key_file)?;
        let program = match &config.program {
            Some(program) => program.clone(),
            None => std::env::current_exe().map_err(system("the program's own path"))?,
        };
        let listener = TcpListener::bind((config.address.as_str(), config.port)).await.map_err(|source| {
            AgentError::Listen { host: config.host.clone(), address: config.address.clone(), port: config.port, source }
        })?;
        let me = Credentials::new(key, Identity::Host(config.host.clone()));
        let shared = Shared { me, workplace: Workplace { dir, config, program }, stop: watch::Sender::new(false) };
        Ok(Agent { listener, shared: Arc::new(shared), lock })
    }

    /// The port it listens on.
    pub fn port(&self) -> Result<u16, AgentError> {
        self.listener
            .local_addr()
            .map(|a| a.port())
            .map_err(|source| AgentError::System { doing: "the agent's own port", source })
    }

    /// Serves until it is told to stop. Segments are left as they are.
    pub async fn serve(&self) {
        let mut stop = self.shared.stop.subscribe();
        loop {
            tokio::select! {
                () = told_to_stop(&mut stop) => return,
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, _)) => {
                        tokio::spawn(converse(self.shared.clone(), stream));
                    }
                    Err(error) => {
                        tracing::warn!(%error, "agent can't accept");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                }
            }
        }
    }
}

/// Runs the agent of the host whose directory this is, until it is told to stop or gets TERM. Says
/// `ready` on standard output once it listens.
pub async fn run_agent(dir: &Path) -> Result<(), AgentError> {
    let system = |source| AgentError::System { doing: "signals", source };
    leave_terminal().map_err(system)?;
    let mut term = signal(SignalKind::terminate()).map_err(system)?;
    let agent = Agent::bind(dir).await?;
    let host = agent.shared.workplace.config.host.clone();
    tracing::info!(host, pid = std::process::id(), "agent serves");
    announce_ready();
    tokio::select! {
        () = agent.serve() => {}
        _ = term.recv() => {}
    }
    tracing::info!(host, "agent ends");
    agent.lock.keep_until_death();
    Ok(())
}

/// The guard that `wait_for` returns must not live across another await.
async fn told_to_stop(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

async fn converse(shared: Arc<Shared>, stream: TcpStream) {
    match conversation(&shared, stream).await {
        Ok(()) | Err(NetError::Closed { .. }) => {}
        Err(error) => tracing::warn!(%error, "a connection to the agent failed"),
    }
}

async fn conversation(shared: &Arc<Shared>, stream: TcpStream) -> Result<(), NetError> {
    let served = [Purpose::Host];
    let (stream, _) = accept(stream, &shared.me, &served, CHALLENGE_WITHIN).await?;
    let mut framed = Framed::new(stream);
    loop {
        let request: HostRequest = framed.recv().await?;
        let worker = shared.clone();
        // What was begun is finished even when the one who asked goes away.
        let answer = tokio::task::spawn_blocking(move || worker.workplace.answer(request));
        let reply = answer.await.map_err(|e| NetError::Local(e.to_string()))?;
        framed.send(&reply).await?;
        if let HostReply::Stopping { .. } = reply {
            shared.stop.send_replace(true);
        }
    }
}
