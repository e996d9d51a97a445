//! What the filerep backend needs of the cluster's directory.

use super::owner::owner;
use super::watched::followed;
use crate::backend::filerep::{Address, Filerep, Local};
use crate::cluster::request::Owner;
use crate::cluster::{ClusterError, NewHost, Observer, Outcome, OutcomeStatus, State};
use crate::cluster_dir::{self, ClusterDirError, ClusterHandle};
use crate::core::report::StopMode;
use crate::net::{Endpoint, Identity};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// The directory of a cluster on this machine.
pub struct Directory {
    pub handle: ClusterHandle,
    pub owner: Owner,
}

/// A cluster by its directory, connected lazily.
pub fn connect(handle: &ClusterHandle) -> Result<Arc<Filerep>, String> {
    let config = handle.config();
    let address = Address {
        name: handle.name().to_owned(),
        dir: handle.dir().to_owned(),
        drill: config.drill,
        coordinator: handle.control_endpoint(),
        credentials: handle.credentials(Identity::Client).map_err(|e| e.to_string())?,
        socket_dir: config.socket_dir.clone(),
        pg_port: config.coordinator.port,
    };
    let directory = Directory { handle: handle.clone(), owner: owner() };
    Filerep::new(address, Box::new(directory), owner()).map_err(|e| e.to_string())
}

/// A cluster's lifecycle is driven on a runtime of its own: the session's may be in use.
pub fn block_on<T>(work: impl Future<Output = T>) -> T {
    match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(work),
        Err(error) => {
            eprintln!("the system gave no runtime: {error}");
            std::process::exit(super::Exit::ScriptError.process_code())
        }
    }
}

impl Directory {
    pub async fn start(&self, watch: cluster_dir::Watch<'_>) -> Result<Outcome, ClusterDirError> {
        self.start_by(self.owner.clone(), watch).await
    }

    async fn start_by(&self, owner: Owner, watch: cluster_dir::Watch<'_>) -> Result<Outcome, ClusterDirError> {
        let program = cluster_dir::this_program()?;
        cluster_dir::start(&self.handle, &program, owner, watch).await
    }
}

fn cluster_error(error: &ClusterDirError) -> ClusterError {
    ClusterError::Invalid { message: error.to_string(), next: error.next() }
}

impl Local for Directory {
    fn last_state(&self) -> Result<State, String> {
        // Opened again: a host may have joined since.
        let handle = cluster_dir::open(self.handle.dir()).map_err(|e| e.to_string())?;
        crate::coordinator::last_state(&handle).map_err(|e| e.to_string())
    }

    fn agents(&self) -> Result<Vec<(String, Endpoint)>, String> {
        let hosts = self.handle.hosts().map_err(|e| e.to_string())?;
        Ok(hosts.into_iter().map(|host| (host.name.clone(), host.agent())).collect())
    }

    fn add_host(&self, host: &NewHost) -> Result<(), ClusterError> {
        let program = cluster_dir::this_program().map_err(|e| cluster_error(&e))?;
        let added = block_on(cluster_dir::add_host(&self.handle, &program, host));
        added.map(drop).map_err(|e| cluster_error(&e))
    }

    fn stop_host(&self, host: &str) -> Result<(), String> {
        cluster_dir::stop_host(&self.handle, host).map(drop).map_err(|e| e.to_string())
    }

    fn start_host(&self, host: &str) -> Result<(), String> {
        let program = cluster_dir::this_program().map_err(|e| e.to_string())?;
        block_on(cluster_dir::start_host(&self.handle, &program, host)).map(drop).map_err(|e| e.to_string())
    }

    fn restart_all(&self, mode: StopMode, owner: &Owner, observer: &mut dyn Observer) -> Result<Outcome, ClusterError> {
        let began = Instant::now();
        let cancelled = Arc::new(AtomicBool::new(false));
        let directory = Directory { handle: self.handle.clone(), owner: self.owner.clone() };
        let owner = owner.clone();
        let not_wanted = Arc::clone(&cancelled);
        let restarted = followed(observer, &cancelled, move |watch| {
            block_on(async {
                cluster_dir::stop(&directory.handle, mode, owner.clone(), watch).await?;
                // Here and nowhere else there is something to cancel: a cluster that stands still.
                if not_wanted.load(Ordering::SeqCst) {
                    Ok(None)
                } else {
                    directory.start_by(owner, watch).await.map(Some)
                }
            })
        });
        let elapsed_ms = i64::try_from(began.elapsed().as_millis()).unwrap_or(i64::MAX);
        let start = format!("segsh start {}", self.handle.dir().display());
        let ended = |status, message: &str| Outcome {
            verb: "restart".into(),
            status,
            op: None,
            segments: Vec::new(),
            refusals: Vec::new(),
            elapsed_ms,
            message: message.into(),
            next: start.clone(),
        };
        match restarted {
            None => Ok(ended(OutcomeStatus::Started, "the restart goes on as long as this shell does")),
            Some(Ok(None)) => Ok(ended(OutcomeStatus::Cancelled, "the cluster is stopped, and was not started again")),
            Some(Ok(Some(outcome))) => Ok(Outcome { verb: "restart".into(), ..outcome }),
            Some(Err(error)) => Err(cluster_error(&error)),
        }
    }
}
