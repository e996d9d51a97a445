//! What the filerep backend needs of the cluster's directory.

use super::owner::owner;
use super::watched::followed;
use crate::backend::filerep::{Address, AddressedHost, Filerep, Local};
use crate::cluster::request::Owner;
use crate::cluster::{ClusterError, NewHost, Observer, Outcome, OutcomeStatus, StartHow, State, StopHow, done};
use crate::cluster_dir::{self, ClusterDirError, ClusterHandle};
use crate::coordinator::RESTRICTED_FILE;
use crate::core::report::StopMode;
use crate::hosts::holder;
use crate::net::Identity;
use crate::shell::output::say;
use std::io::ErrorKind;
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
    let owner = owner();
    let directory = Directory { handle: handle.clone(), owner: owner.clone() };
    Filerep::new(address, Box::new(directory), owner).map_err(|e| e.to_string())
}

/// A cluster's lifecycle is driven on a runtime of its own: the session's may be in use.
pub fn block_on<T>(work: impl Future<Output = T>) -> T {
    match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(work),
        Err(error) => {
            say(&format!("the system gave no runtime: {error}"));
            std::process::exit(super::Exit::ScriptError.process_code())
        }
    }
}

impl Directory {
    /// Whether the coordinator turns clients over TCP away.
    pub fn is_restricted(&self) -> bool {
        self.handle.coordinator_dir().join(RESTRICTED_FILE).exists()
    }

    pub async fn start(&self, watch: cluster_dir::Watch<'_>) -> Result<Outcome, ClusterDirError> {
        self.start_by(self.owner.clone(), watch).await
    }

    async fn start_by(&self, owner: Owner, watch: cluster_dir::Watch<'_>) -> Result<Outcome, ClusterDirError> {
        let program = cluster_dir::this_program()?;
        self.restrict(false)?;
        cluster_dir::start(&self.handle, &program, owner, watch).await
    }
}

impl Directory {
    /// Says to the next coordinator whether it serves its owner only. One that runs already stays as it is, and so
    /// does the file, or it would come back otherwise when it dies.
    fn restrict(&self, restricted: bool) -> Result<(), ClusterDirError> {
        if holder(&self.handle.coordinator_dir()).is_some() {
            return Ok(());
        }
        let file = self.handle.coordinator_dir().join(RESTRICTED_FILE);
        let written = match restricted {
            true => std::fs::write(&file, ""),
            false => std::fs::remove_file(&file).or_else(|error| match error.kind() {
                ErrorKind::NotFound => Ok(()),
                _ => Err(error),
            }),
        };
        written.map_err(|source| ClusterDirError::System { doing: format!("write {}", file.display()), source })
    }

    async fn start_as(
        &self,
        how: StartHow,
        owner: Owner,
        watch: cluster_dir::Watch<'_>,
    ) -> Result<Outcome, ClusterDirError> {
        let program = cluster_dir::this_program()?;
        self.restrict(how.restricted)?;
        if how.coordinator_only {
            cluster_dir::start_processes(&self.handle, &program).await?;
            return Ok(done("start", "the coordinator runs; no segment was started".into()));
        }
        cluster_dir::start(&self.handle, &program, owner, watch).await
    }

    async fn stop_as(
        &self,
        how: StopHow,
        owner: Owner,
        watch: cluster_dir::Watch<'_>,
    ) -> Result<Outcome, ClusterDirError> {
        let nothing = || done("stop", "nothing ran".into());
        if how.coordinator_only {
            let stopped = cluster_dir::stop_coordinator_only(&self.handle, owner, watch).await?;
            return Ok(stopped.unwrap_or_else(nothing));
        }
        let stopped = cluster_dir::stop_within(&self.handle, how.mode, how.within_ms, owner, watch).await?;
        Ok(match &stopped.outcome {
            _ if stopped.was_stopped() => nothing(),
            Some(outcome) if !outcome.segments.is_empty() => outcome.clone(),
            _ => super::killed::outcome(&stopped, self.last_state()),
        })
    }
}

/// Runs a lifecycle step that an observer may leave.
fn led<F>(observer: &mut dyn Observer, verb: &str, work: F) -> Result<Outcome, ClusterError>
where
    F: FnOnce(cluster_dir::Watch<'_>) -> Result<Outcome, ClusterDirError> + Send + 'static,
{
    let cancelled = AtomicBool::new(false);
    match followed(observer, &cancelled, work) {
        None => Ok(Outcome {
            status: OutcomeStatus::Started,
            ..done(verb, format!("the {verb} goes on as long as this shell does"))
        }),
        Some(Ok(outcome)) => Ok(outcome),
        Some(Err(error)) => Err(cluster_error(&error)),
    }
}

fn cluster_error(error: &ClusterDirError) -> ClusterError {
    ClusterError::Invalid { message: error.to_string(), next: error.next() }
}

impl Local for Directory {
    fn last_state(&self) -> Result<State, String> {
        // Opened again: the hosts may have changed since.
        let handle = cluster_dir::open(self.handle.dir()).map_err(|e| e.to_string())?;
        crate::coordinator::last_state(&handle).map_err(|e| e.to_string())
    }

    fn hosts(&self) -> Result<Vec<AddressedHost>, String> {
        let (me, hosts) = (self.handle.credentials(Identity::Client), self.handle.hosts());
        let (me, hosts) = (me.map_err(|e| e.to_string())?, hosts.map_err(|e| e.to_string())?);
        Ok(hosts.into_iter().map(|host| (host.address.clone(), host.reach(&me))).collect())
    }

    fn add_host(&self, host: &NewHost) -> Result<(), ClusterError> {
        let program = cluster_dir::this_program().map_err(|e| cluster_error(&e))?;
        let added = block_on(cluster_dir::add_host(&self.handle, &program, host));
        added.map(drop).map_err(|e| cluster_error(&e))
    }

    fn stop_host(&self, host: &str) -> Result<(), String> {
        block_on(cluster_dir::stop_host(&self.handle, host)).map(drop).map_err(|e| e.to_string())
    }

    fn start_host(&self, host: &str) -> Result<(), String> {
        let program = cluster_dir::this_program().map_err(|e| e.to_string())?;
        block_on(cluster_dir::start_host(&self.handle, &program, host)).map(drop).map_err(|e| e.to_string())
    }

    fn stop_all(&self, how: &StopHow, owner: &Owner, observer: &mut dyn Observer) -> Result<Outcome, ClusterError> {
        let (how, owner) = (*how, owner.clone());
        let directory = Directory { handle: self.handle.clone(), owner: self.owner.clone() };
        led(observer, "stop", move |watch| block_on(directory.stop_as(how, owner, watch)))
    }

    fn start_all(&self, how: &StartHow, owner: &Owner, observer: &mut dyn Observer) -> Result<Outcome, ClusterError> {
        let (how, owner) = (*how, owner.clone());
        let directory = Directory { handle: self.handle.clone(), owner: self.owner.clone() };
        led(observer, "start", move |watch| block_on(directory.start_as(how, owner, watch)))
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
