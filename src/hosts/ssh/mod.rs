//! Hosts over SSH: the same requests as an agent gets, each to a process of its own that ends with its answer.
//!
//! There is no daemon of ours on such a host. `segsh host-do` reads one request, does it as an agent would
//! ([`super::work::Workplace`]), and answers; segments outlive it, as they outlive an agent.

mod bring_up;
mod known;
mod place;
mod session;

pub use bring_up::Outfit;
pub(super) use bring_up::digest;
pub use place::SshPlace;
pub(super) use place::own_dir;

use super::carrier::Carrier;
use super::client::WORK_WITHIN;
use super::config::SegmentConfig;
use super::host::{HostError, HostReply, HostRequest};
use super::oneshot::{REPLY_MARK, REQUEST_BYTES_MAX};
use crate::net::NetError;
use async_trait::async_trait;
use place::{Layout, quoted};
use session::{Deadline, Ran, Session};
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Sessions that are kept for the next call, at most.
const IDLE_MAX: usize = 4;
/// A session that was not used for so long may have been forgotten by whatever is between here and there.
const IDLE_FOR: Duration = Duration::from_secs(30);
/// The least time of a call: it may have to log in first, over a slow line.
const CALL_WITHIN: Duration = Duration::from_secs(5);
/// A call's thread ends by itself at the deadline; one that does not is left to itself after so much more.
const GRACE: Duration = Duration::from_secs(1);
/// What a shell's exit status is when there is no such program, or it can't be run.
const NO_PROGRAM: std::ops::RangeInclusive<i32> = 126..=127;

/// A host that is reached over SSH. A call has a session to itself, so calls never wait for each other.
#[derive(Clone)]
pub struct SshHost(Arc<Shared>);

struct Shared {
    name: String,
    address: String,
    place: SshPlace,
    layout: Layout,
    idle: Mutex<Vec<Session>>,
}

impl fmt::Debug for SshHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SshHost({} at {}@{}:{})", self.0.name, self.0.place.user, self.0.address, self.0.place.port)
    }
}

impl SshHost {
    /// Host `name` with the directory `dir` on it.
    pub fn new(name: impl Into<String>, address: impl Into<String>, dir: &Path, place: SshPlace) -> SshHost {
        let (name, address) = (name.into(), address.into());
        SshHost(Arc::new(Shared { name, address, place, layout: Layout::of(dir), idle: Mutex::default() }))
    }

    /// A drill has the host dead from now on, its segments killed, or brings it back; returns how many segments
    /// it killed.
    pub async fn drill(&self, stopped: bool) -> Result<u32, HostError> {
        match self.ask(HostRequest::Drill { stopped }, WORK_WITHIN).await? {
            HostReply::Stopping { killed } => Ok(killed),
            reply => Err(self.unexpected(&reply)),
        }
    }

    /// Kills every segment there and removes what the cluster has on the host.
    pub async fn leave(&self) -> Result<(), HostError> {
        self.order(HostRequest::Leave).await
    }

    /// What a segment's process on that host must know: the key and the sockets are elsewhere there.
    fn as_there(&self, config: SegmentConfig) -> SegmentConfig {
        let layout = &self.0.layout;
        SegmentConfig { key_file: layout.key_file(), socket_dir: layout.socket_dir(), ..config }
    }
}

impl Shared {
    /// One request to a process there. Blocks.
    fn call(&self, request: &[u8], within: Duration) -> Result<HostReply, NetError> {
        let (program, dir) = (quoted(&self.layout.program()), quoted(&self.layout.dir));
        let ran = self.run(&format!("exec {program} host-do --dir {dir}"), request, Deadline::of(within))?;
        let text = String::from_utf8_lossy(&ran.output);
        // A login may print whatever it likes before it.
        let reply = text.lines().rev().find_map(|line| line.trim().strip_prefix(REPLY_MARK));
        match reply {
            Some(reply) => serde_json::from_str(reply).map_err(|e| NetError::BadFrame(e.to_string())),
            None if ran.status.is_some_and(|status| NO_PROGRAM.contains(&status)) => {
                Err(NetError::NoProgram { message: ran.last_words() })
            }
            None => Err(NetError::BadFrame(ran.last_words())),
        }
    }

    /// A command with all of its input, on a session that is kept or on a new one. Blocks.
    fn run(&self, command: &str, input: &[u8], deadline: Deadline) -> Result<Ran, NetError> {
        if let Some(mut kept) = self.take_idle() {
            match kept.run(command, &mut &*input, deadline) {
                // It was forgotten meanwhile: every command of ours may be repeated.
                Err(NetError::Closed { .. }) => {}
                Ok(ran) => {
                    self.keep(kept);
                    return Ok(ran);
                }
                Err(error) => return Err(error),
            }
        }
        let mut session = Session::open(&self.address, &self.place, deadline)?;
        let ran = session.run(command, &mut &*input, deadline)?;
        self.keep(session);
        Ok(ran)
    }

    fn take_idle(&self) -> Option<Session> {
        let taken = std::mem::take(&mut *self.idle.lock().unwrap_or_else(PoisonError::into_inner));
        let mut fresh: Vec<Session> = taken.into_iter().filter(|s| s.used.elapsed() < IDLE_FOR).collect();
        let session = fresh.pop();
        for other in fresh {
            self.keep(other);
        }
        session
    }

    fn keep(&self, session: Session) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_MAX {
            idle.push(session);
            return;
        }
        drop(idle);
        // Ending a session speaks to the other side: never under the lock.
        drop(session);
    }
}

#[async_trait]
impl Carrier for SshHost {
    fn host_name(&self) -> &str {
        &self.0.name
    }

    async fn carry(&self, request: HostRequest, within: Duration) -> Result<HostReply, NetError> {
        let within = within.max(CALL_WITHIN);
        let request = match request {
            HostRequest::StartSegment { config } => HostRequest::StartSegment { config: self.as_there(config) },
            HostRequest::WriteSegmentConfig { config } => {
                HostRequest::WriteSegmentConfig { config: self.as_there(config) }
            }
            other => other,
        };
        let request = serde_json::to_vec(&request).map_err(|e| NetError::Local(e.to_string()))?;
        if request.len() > REQUEST_BYTES_MAX {
            return Err(NetError::Local(format!("a request of {} bytes", request.len())));
        }
        let shared = self.0.clone();
        in_thread(within, move || shared.call(&request, within)).await
    }
}

/// Blocking work on a thread of its own, waited for no longer than it may take.
async fn in_thread<T: Send + 'static>(
    within: Duration,
    work: impl FnOnce() -> Result<T, NetError> + Send + 'static,
) -> Result<T, NetError> {
    let working = tokio::task::spawn_blocking(work);
    match tokio::time::timeout(within + GRACE, working).await {
        Ok(Ok(done)) => done,
        Ok(Err(error)) => Err(NetError::Local(error.to_string())),
        Err(_) => Err(NetError::Timeout { within }),
    }
}
