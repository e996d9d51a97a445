//! What an agent does when it is asked: plain blocking functions on the host's directory.
//!
//! They touch data directories of this host and nothing else: [`super::dirs`] says which those are.

use super::config::{AGENT_FILE, AgentConfig, IDENTITY_FILE, NEW_COPY_SUFFIX, STOPPED_FILE, SegmentConfig};
use super::dirs;
use super::files::{self, FileError};
use super::host::{HostFailure, HostReply, HostRequest, Pong, Running};
use super::launch::{Launch, LaunchError};
use super::lock::{DirLock, FenceError, Fenced, LockError, fence, holder};
use super::ssh;
use super::stray::end_strays;
use crate::core::ids::Dbid;
use crate::core::operation::{Holds, Survey};
use std::fs;
use std::io;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a segment may take until it listens: it may have a log of 256 MiB to replay.
pub(super) const START_WITHIN: Duration = Duration::from_secs(60);
/// How long a killed process may take until its lock is free.
pub(super) const KILL_WITHIN: Duration = Duration::from_secs(5);

/// An agent's directory and what it was told about itself.
#[derive(Debug, Clone)]
pub(super) struct Workplace {
    pub dir: PathBuf,
    pub config: AgentConfig,
    /// What segments are started with.
    pub program: PathBuf,
}

impl Workplace {
    /// Does what is asked. Blocks.
    pub fn answer(&self, request: HostRequest) -> HostReply {
        let done = |result: Result<(), HostFailure>| result.map(|()| HostReply::Done);
        let result = match request {
            HostRequest::Ping => Ok(HostReply::Pong { pong: self.pong() }),
            HostRequest::StartSegment { config } => self.start(&config).map(|pid| HostReply::Started { pid }),
            HostRequest::KillSegment { datadir } => self.kill(&datadir).map(|fenced| HostReply::Fenced { fenced }),
            HostRequest::SegmentPid { datadir } => {
                self.mine(&datadir).map(|()| HostReply::Pid { pid: holder(&datadir).map(|p| p.pid()) })
            }
            HostRequest::FreeBytes { path } => free_bytes(&path).map(|bytes| HostReply::Bytes { bytes }),
            HostRequest::MakeDir { datadir } => done(self.make_dir(&datadir)),
            HostRequest::RemoveDir { datadir } => done(self.remove_dir(&datadir)),
            HostRequest::RemoveIdentity { datadir } => done(self.remove_identity(&datadir)),
            HostRequest::NameCopy { datadir, sibling } => done(self.name_copy(&datadir, &sibling)),
            HostRequest::ReplaceCopy { datadir, sibling } => done(self.replace_copy(&datadir, &sibling)),
            HostRequest::WriteSegmentConfig { config } => done(self.write_config(&config)),
            HostRequest::Survey { datadir, dbid, ports } => {
                self.survey(&datadir, dbid, &ports).map(|survey| HostReply::Surveyed { survey })
            }
            HostRequest::Stop { kill_segments: false } => Ok(HostReply::Stopping { killed: 0 }),
            HostRequest::Drill { stopped } => Ok(self.drill(stopped)),
            HostRequest::Leave => done(self.leave()),
            HostRequest::Stop { kill_segments: true } => self.kill_all().map(|killed| HostReply::Stopping { killed }),
        };
        result.unwrap_or_else(|failure| HostReply::Failed { failure })
    }

    fn pong(&self) -> Pong {
        let running = |datadir: PathBuf| holder(&datadir).map(|process| Running { pid: process.pid(), datadir });
        Pong { pid: std::process::id(), running: self.datadirs().into_iter().filter_map(running).collect() }
    }

    /// Every directory of this host that may be a segment's.
    fn datadirs(&self) -> Vec<PathBuf> {
        dirs::data_dirs_of(&self.dir, &self.config)
    }

    fn mine(&self, path: &Path) -> Result<(), HostFailure> {
        dirs::mine(&self.dir, &self.config, path)
    }

    fn start(&self, config: &SegmentConfig) -> Result<u32, HostFailure> {
        let datadir = &config.datadir;
        self.mine(datadir)?;
        match datadir.try_exists() {
            Ok(true) => {}
            Ok(false) => return Err(HostFailure::Gone { datadir: datadir.clone() }),
            Err(error) => return Err(io_failure("look for", datadir, &error)),
        }
        self.write_config(config)?;
        self.end_strays(datadir)?;
        self.not_running(datadir)?;
        let launch = Launch {
            program: self.program.clone(),
            args: vec!["segment".into(), "--datadir".into(), datadir.into()],
            log: self.config.log_dir.join(format!("segment-{}.log", config.dbid)),
            within: START_WITHIN,
        };
        let pid = launch.start().map_err(|error| match error {
            // A copying file system or a thief of locks may have been faster; say who.
            LaunchError::Failed { .. } if holder(datadir).is_some() => running(datadir),
            error => {
                let why = error.to_string();
                HostFailure::DidNotStart { datadir: datadir.clone(), why }
            }
        })?;
        tracing::info!(dbid = %config.dbid, pid, datadir = %datadir.display(), "segment started");
        Ok(pid)
    }

    fn write_config(&self, config: &SegmentConfig) -> Result<(), HostFailure> {
        self.mine(&config.datadir)?;
        if config.cluster_id != self.config.cluster_id || config.host != self.config.host {
            return Err(HostFailure::NotMine {
                path: config.datadir.clone(),
                why: format!("dbid {} is on host {} of cluster {}", config.dbid, config.host, config.cluster_id),
            });
        }
        config.store().map_err(|e| of_file("write", &config.datadir, e))
    }

    fn kill(&self, datadir: &Path) -> Result<Fenced, HostFailure> {
        self.mine(datadir)?;
        if !datadir.exists() {
            return Ok(Fenced::WasNotRunning);
        }
        let (fenced, _lock) = fence(datadir, KILL_WITHIN).map_err(|e| of_fence(datadir, e))?;
        tracing::info!(datadir = %datadir.display(), ?fenced, "segment fenced");
        Ok(fenced)
    }

    /// Kills every segment; the first that can't be killed is the failure, after all were tried.
    fn kill_all(&self) -> Result<u32, HostFailure> {
        let mut killed = 0;
        let mut failure = None;
        for datadir in self.datadirs() {
            match self.kill(&datadir) {
                Ok(Fenced::Killed) => killed += 1,
                Ok(Fenced::WasNotRunning) => {}
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        failure.map_or(Ok(killed), Err)
    }

    /// The mark stands before anything is killed, and goes before anything is started: nobody starts a segment
    /// in between.
    pub fn drill(&self, stopped: bool) -> HostReply {
        let mark = self.dir.join(STOPPED_FILE);
        let io = |e: io::Error| io_failure("mark", &mark, &e);
        let marked = match stopped {
            true => files::write_durably(&mark, b"by fault::stop_host\n").map_err(io),
            false => or_gone(fs::remove_file(&mark)).map_err(io),
        };
        let killed = marked.and_then(|()| if stopped { self.kill_all() } else { Ok(0) });
        killed.map_or_else(|failure| HostReply::Failed { failure }, |killed| HostReply::Stopping { killed })
    }

    /// What makes it a host of the cluster goes last: an interrupted removal can be asked for again.
    fn leave(&self) -> Result<(), HostFailure> {
        self.kill_all()?;
        // Somebody may have made a directory among them since.
        for datadir in self.datadirs().into_iter().filter(|dir| dirs::is_a_segments(dir)) {
            self.remove_dir(&datadir)?;
        }
        let own = ssh::own_dir(&self.dir);
        or_gone(fs::remove_dir_all(&own)).map_err(|e| io_failure("remove", &own, &e))?;
        for name in [STOPPED_FILE, AGENT_FILE] {
            let file = self.dir.join(name);
            or_gone(fs::remove_file(&file)).map_err(|e| io_failure("remove", &file, &e))?;
        }
        // What is not ours keeps the directory.
        let _ = fs::remove_dir(&self.dir);
        Ok(())
    }

    fn make_dir(&self, datadir: &Path) -> Result<(), HostFailure> {
        self.mine(datadir)?;
        files::make_private_dir(datadir).map_err(|e| of_file("make", datadir, e))?;
        self.sync("make", datadir)
    }

    fn remove_dir(&self, datadir: &Path) -> Result<(), HostFailure> {
        self.mine(datadir)?;
        if !datadir.exists() {
            return Ok(());
        }
        // The lock is held while the files go, so that no process can begin among them.
        let _lock = DirLock::keep_out(datadir).map_err(|e| of_lock(datadir, e))?;
        dirs::remove_data_dir(datadir).map_err(|e| io_failure("remove", datadir, &e))?;
        self.sync("remove", datadir)
    }

    fn remove_identity(&self, datadir: &Path) -> Result<(), HostFailure> {
        self.mine(datadir)?;
        if !datadir.exists() {
            return Ok(());
        }
        let _lock = DirLock::keep_out(datadir).map_err(|e| of_lock(datadir, e))?;
        let io = |e: io::Error| io_failure("remove the identity of", datadir, &e);
        match fs::remove_file(datadir.join(IDENTITY_FILE)) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            removed => removed.map_err(io)?,
        }
        files::sync_dir(datadir).map_err(io)
    }

    fn name_copy(&self, datadir: &Path, sibling: &Path) -> Result<(), HostFailure> {
        self.mine(datadir)?;
        self.mine(sibling)?;
        if has_identity(datadir)? || !has_identity(sibling)? {
            return Ok(());
        }
        // Names are exchanged only between two that are there.
        self.make_dir(datadir)?;
        self.exchange(datadir, sibling)
    }

    /// Without an identity under the sibling's name that is done already: what was replaced has none.
    fn replace_copy(&self, datadir: &Path, sibling: &Path) -> Result<(), HostFailure> {
        self.mine(datadir)?;
        self.mine(sibling)?;
        if !has_identity(sibling)? {
            return Ok(());
        }
        self.remove_identity(datadir)?;
        self.name_copy(datadir, sibling)
    }

    #[cfg(target_os = "linux")]
    fn exchange(&self, one: &Path, other: &Path) -> Result<(), HostFailure> {
        use rustix::fs::{CWD, RenameFlags, renameat_with};
        renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE)
            .map_err(|e| io_failure("exchange", one, &e.into()))?;
        self.sync("exchange", one)
    }

    #[cfg(not(target_os = "linux"))]
    fn exchange(&self, one: &Path, _other: &Path) -> Result<(), HostFailure> {
        Err(io_failure("exchange", one, &io::ErrorKind::Unsupported.into()))
    }

    fn sync(&self, doing: &str, path: &Path) -> Result<(), HostFailure> {
        let names = path.parent().unwrap_or(&self.dir);
        files::sync_dir(names).map_err(|e| io_failure(doing, path, &e))
    }

    fn survey(&self, datadir: &Path, dbid: Dbid, ports: &[u16]) -> Result<Survey, HostFailure> {
        // One that is full of somebody's files is in the way; one elsewhere is nobody's business.
        if !dirs::is_below(&self.dir, &self.config, datadir) {
            self.mine(datadir)?;
        }
        let mut ports_taken = Vec::new();
        for port in ports {
            match TcpListener::bind((self.config.address.as_str(), *port)) {
                Ok(_) => {}
                Err(e) if e.kind() == io::ErrorKind::AddrInUse => ports_taken.push(*port),
                Err(e) => return Err(io_failure(&format!("listen on port {port} for"), datadir, &e)),
            }
        }
        Ok(Survey { free_bytes: free_bytes(datadir)?, holds: self.holds(datadir, dbid)?, ports_taken })
    }

    fn holds(&self, datadir: &Path, dbid: Dbid) -> Result<Holds, HostFailure> {
        match fs::symlink_metadata(datadir) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Holds::Nothing),
            Err(e) => return Err(io_failure("look at", datadir, &e)),
            Ok(meta) if meta.is_dir() && dirs::is_vacant(datadir) => return Ok(Holds::Nothing),
            Ok(_) => {}
        }
        let mine = (self.config.cluster_id.as_str(), self.config.host.as_str(), dbid);
        let is_own = |c: &SegmentConfig| (c.cluster_id.as_str(), c.host.as_str(), c.dbid) == mine;
        // What can't be read as a segment's is somebody else's.
        Ok(if SegmentConfig::load(datadir).is_ok_and(|c| is_own(&c)) { Holds::FormerCopy } else { Holds::Other })
    }

    /// A former process of this segment whose directory was removed under it: its lock is nowhere to be
    /// found, and it still listens.
    fn end_strays(&self, datadir: &Path) -> Result<(), HostFailure> {
        let name = datadir.to_string_lossy();
        let other =
            name.strip_suffix(NEW_COPY_SUFFIX).map_or_else(|| format!("{name}{NEW_COPY_SUFFIX}"), str::to_owned);
        for dir in [datadir, Path::new(&other)] {
            let ended = end_strays(dir, KILL_WITHIN).map_err(|e| of_fence(dir, e))?;
            if ended > 0 {
                tracing::warn!(datadir = %dir.display(), ended, "a process of a removed directory was ended");
            }
        }
        Ok(())
    }

    fn not_running(&self, datadir: &Path) -> Result<(), HostFailure> {
        DirLock::keep_out(datadir).map(drop).map_err(|e| of_lock(datadir, e))
    }
}

/// Whether a data directory says which copy it holds.
fn has_identity(dir: &Path) -> Result<bool, HostFailure> {
    dir.join(IDENTITY_FILE).try_exists().map_err(|e| io_failure("look for the identity of", dir, &e))
}

/// What an unprivileged user can still write there. A directory that is yet to be made counts as
/// its nearest parent that exists.
fn free_bytes(path: &Path) -> Result<u64, HostFailure> {
    let there = path.ancestors().find(|p| p.exists()).unwrap_or(Path::new("/"));
    let stat = rustix::fs::statvfs(there).map_err(|e| io_failure("ask for free space at", there, &e.into()))?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

fn or_gone(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

fn running(datadir: &Path) -> HostFailure {
    HostFailure::Running { datadir: datadir.into(), pid: holder(datadir).map(|p| p.pid()) }
}

fn io_failure(doing: &str, path: &Path, error: &io::Error) -> HostFailure {
    HostFailure::Io { doing: doing.into(), path: path.into(), why: error.to_string() }
}

fn of_file(doing: &str, path: &Path, error: FileError) -> HostFailure {
    HostFailure::Io { doing: doing.into(), path: path.into(), why: error.to_string() }
}

fn of_lock(datadir: &Path, error: LockError) -> HostFailure {
    match error {
        LockError::Held { pid, .. } => HostFailure::Running { datadir: datadir.into(), pid },
        LockError::Io { source, .. } => io_failure("lock", datadir, &source),
    }
}

fn of_fence(datadir: &Path, error: FenceError) -> HostFailure {
    match error {
        FenceError::CannotKill { pid, why, .. } => HostFailure::CannotKill { datadir: datadir.into(), pid, why },
        FenceError::Unknown { .. } => HostFailure::Running { datadir: datadir.into(), pid: None },
        FenceError::Lock(error) => of_lock(datadir, error),
    }
}
