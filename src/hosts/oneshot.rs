//! One request, one process: what an agent does, for whoever is logged in on the host.
//!
//! The request is on standard input, the answer is the one line of standard output that begins with
//! [`REPLY_MARK`]: a login shell may print others.

use super::config::{AgentConfig, STOPPED_FILE};
use super::files::FileError;
use super::host::{HostFailure, HostReply, HostRequest, Pong};
use super::ssh;
use super::work::Workplace;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use thiserror::Error;

/// What the answer's line begins with.
pub const REPLY_MARK: &str = "segsh-host-do: ";
/// The longest request that is read, in bytes.
pub const REQUEST_BYTES_MAX: usize = 1 << 20;

/// Why a request could not be looked at.
#[derive(Debug, Error)]
pub enum OneShotError {
    /// The host's configuration can't be used.
    #[error(transparent)]
    Config(#[from] FileError),
    /// The system refused.
    #[error("{doing}: {source}")]
    System { doing: &'static str, source: io::Error },
    /// The request is none.
    #[error("not a request: {0}")]
    Request(String),
}

/// Does the one request in `input` on the host whose directory this is; the line that answers it. Blocks.
pub fn host_do(dir: &Path, input: impl Read) -> Result<String, OneShotError> {
    let system = |doing| move |source| OneShotError::System { doing, source };
    let dir = dir.canonicalize().map_err(system("the host's directory"))?;
    let mut text = Vec::new();
    let limit = u64::try_from(REQUEST_BYTES_MAX).unwrap_or(u64::MAX) + 1;
    input.take(limit).read_to_end(&mut text).map_err(system("read the request"))?;
    if text.len() > REQUEST_BYTES_MAX {
        return Err(OneShotError::Request(format!("more than {REQUEST_BYTES_MAX} bytes")));
    }
    let request = serde_json::from_slice(&text).map_err(|e| OneShotError::Request(e.to_string()))?;
    let config = AgentConfig::load(&dir)?;
    let program = match &config.program {
        Some(program) => program.clone(),
        None => std::env::current_exe().map_err(system("the program's own path"))?,
    };
    let reply = answer(Workplace { dir, config, program }, request);
    let reply = serde_json::to_string(&reply).map_err(|e| OneShotError::Request(e.to_string()))?;
    Ok(format!("{REPLY_MARK}{reply}"))
}

fn answer(workplace: Workplace, request: HostRequest) -> HostReply {
    let is_stopped = workplace.dir.join(STOPPED_FILE).exists();
    match request {
        HostRequest::Drill { stopped } => workplace.drill(stopped),
        // A stop of the cluster ends what runs there, and its end removes all of it, drill or not.
        HostRequest::Stop { .. } | HostRequest::Leave => workplace.answer(request),
        _ if is_stopped => HostReply::Failed { failure: HostFailure::Stopped },
        HostRequest::Ping => named(workplace.answer(HostRequest::Ping)),
        request => workplace.answer(request),
    }
}

/// This process is gone with its answer: the login that started it is what lasts.
fn named(reply: HostReply) -> HostReply {
    let login = rustix::process::getppid().and_then(|pid| u32::try_from(pid.as_raw_nonzero().get()).ok());
    match reply {
        HostReply::Pong { pong } => HostReply::Pong { pong: Pong { pid: login.unwrap_or(pong.pid), ..pong } },
        other => other,
    }
}

/// What this program is, by its own bytes; the line that says so.
pub fn own_digest() -> Result<String, OneShotError> {
    let system = |doing| move |source| OneShotError::System { doing, source };
    let path: PathBuf = std::env::current_exe().map_err(system("the program's own path"))?;
    let mut file = File::open(path).map_err(system("read the program"))?;
    ssh::digest(&mut file).map(|digest| format!("{REPLY_MARK}{digest}")).map_err(system("read the program"))
}
