//! One process per directory (R7): an exclusive lock taken before the first read, held until death.
//!
//! The lock itself is `flock` on `DIR/lock`, which the kernel ends with the process, however that
//! dies. The file says who holds it: process id and start time, so that an id that was given to
//! another process since is never taken for the holder. Looking ([`holder`]) never takes the lock,
//! not even for a moment: a process that starts just then must not be refused by a glance.

use super::process::ProcessId;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use thiserror::Error;

/// The name of the lock file in its directory.
pub const LOCK_FILE: &str = "lock";

/// How long [`DirLock::take`] waits for a lock that nobody seems to hold: a killed process has not
/// closed its files the moment it is gone, and a fencing operation tries the lock for an instant.
const PATIENCE: Duration = Duration::from_millis(200);
const PAUSE: Duration = Duration::from_millis(2);

/// Why a directory's lock was not taken.
#[derive(Debug, Error)]
pub enum LockError {
    /// Another process holds it.
    #[error("{dir} is in use{}", pid.map(|p| format!(" by process {p}")).unwrap_or_default())]
    Held {
        /// The directory.
        dir: PathBuf,
        /// The holder; `None` when it has not said.
        pid: Option<u32>,
    },
    /// The lock file can't be opened or written.
    #[error("lock of {dir}: {source}")]
    Io {
        /// The directory.
        dir: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// The lock of a directory, held until this is dropped or the process dies.
#[derive(Debug)]
pub struct DirLock {
    file: File,
    dir: PathBuf,
}

impl DirLock {
    /// Takes the lock of `dir`, and writes there who holds it.
    pub fn take(dir: &Path) -> Result<DirLock, LockError> {
        let mut lock = DirLock::keep_out(dir)?;
        lock.sign().map_err(|source| LockError::Io { dir: dir.into(), source })?;
        Ok(lock)
    }

    /// Takes the lock without becoming the process that lives in `dir`: whoever fences the directory
    /// meanwhile waits for this lock, and kills nobody.
    pub fn keep_out(dir: &Path) -> Result<DirLock, LockError> {
        let since = Instant::now();
        loop {
            if let Some(lock) = DirLock::try_take(dir)? {
                return Ok(lock);
            }
            let pid = holder(dir).map(|p| p.pid());
            if pid.is_some() || since.elapsed() >= PATIENCE {
                return Err(LockError::Held { dir: dir.into(), pid });
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// Takes the lock if nobody holds it. The file then names nobody.
    fn try_take(dir: &Path) -> Result<Option<DirLock>, LockError> {
        let io = |source| LockError::Io { dir: dir.into(), source };
        // The standard library opens with O_CLOEXEC: no child of the holder keeps the lock alive.
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(dir.join(LOCK_FILE))
            .map_err(io)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(e)) => return Err(io(e)),
        }
        file.set_len(0).map_err(io)?;
        Ok(Some(DirLock { file, dir: dir.into() }))
    }

    fn sign(&mut self) -> io::Result<()> {
        let line = format!("{}\n", ProcessId::this()?);
        self.file.write_all(line.as_bytes())
    }

    /// The directory it locks.
    pub fn dir(&self) -> &Path {
        &self.dir
    }
}

impl Drop for DirLock {
    fn drop(&mut self) {
        // The lock ends with the file right after; a living process must not look like its holder.
        let _ = self.file.set_len(0);
    }
}

/// The living process that holds the lock of `dir`, without touching the lock.
pub fn holder(dir: &Path) -> Option<ProcessId> {
    let mut text = String::new();
    let file = File::open(dir.join(LOCK_FILE)).ok()?;
    file.take(64).read_to_string(&mut text).ok()?;
    let process: ProcessId = text.trim_end().parse().ok()?;
    process.is_alive().then_some(process)
}

/// What came of [`fence`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fenced {
    /// The holder was killed, and the lock is free.
    Killed,
    /// Nobody held the lock.
    WasNotRunning,
}

/// Why the holder of a lock could not be done away with.
#[derive(Debug, Error)]
pub enum FenceError {
    /// It is there, and it stays.
    #[error("process {pid} holds {dir} and can't be killed: {why}")]
    CannotKill {
        /// The holder.
        pid: u32,
        /// The directory.
        dir: PathBuf,
        /// What the system said, or how long it was waited for.
        why: String,
    },
    /// The lock is held, and the holder is not known.
    #[error("{dir} is locked by a process that did not write its id")]
    Unknown {
        /// The directory.
        dir: PathBuf,
    },
    /// The lock can't be tried.
    #[error(transparent)]
    Lock(#[from] LockError),
}

/// Kills whatever holds the lock of `dir` (SIGKILL, so a stopped process too), and returns the lock
/// once it is free. While the caller keeps it, no new process can begin there.
pub fn fence(dir: &Path, within: Duration) -> Result<(Fenced, DirLock), FenceError> {
    let since = Instant::now();
    let mut killed: Option<ProcessId> = None;
    loop {
        if let Some(lock) = DirLock::try_take(dir)? {
            let fenced = if killed.is_some() { Fenced::Killed } else { Fenced::WasNotRunning };
            return Ok((fenced, lock));
        }
        let found = holder(dir);
        if let Some(process) = found.filter(|p| killed != Some(*p)) {
            process.kill().map_err(|e| FenceError::CannotKill {
                pid: process.pid(),
                dir: dir.into(),
                why: e.to_string(),
            })?;
            killed = Some(process);
        }
        if since.elapsed() >= within {
            return Err(match found.or(killed) {
                Some(process) => FenceError::CannotKill {
                    pid: process.pid(),
                    dir: dir.into(),
                    why: format!("still there after {} ms", within.as_millis()),
                },
                None => FenceError::Unknown { dir: dir.into() },
            });
        }
        std::thread::sleep(PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hosts::testing::hold;

    const LONG: Duration = Duration::from_secs(5);

    #[test]
    fn a_held_directory_is_refused_with_its_holder() {
        let dir = tempfile::tempdir().unwrap();
        let _lock = DirLock::take(dir.path()).unwrap();
        let error = DirLock::take(dir.path()).unwrap_err();
        assert!(matches!(error, LockError::Held { pid, .. } if pid == Some(std::process::id())));
        assert_eq!(holder(dir.path()).map(|p| p.pid()), Some(std::process::id()));
    }

    #[test]
    fn a_dropped_lock_has_no_holder() {
        let dir = tempfile::tempdir().unwrap();
        drop(DirLock::take(dir.path()).unwrap());
        assert_eq!(holder(dir.path()), None);
        DirLock::take(dir.path()).unwrap();
    }

    #[test]
    fn a_killed_process_leaves_no_lock() {
        let dir = tempfile::tempdir().unwrap();
        let mut child = hold(dir.path());
        assert_eq!(holder(dir.path()).map(|p| p.pid()), Some(child.id()));
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(holder(dir.path()), None);
        DirLock::take(dir.path()).unwrap();
    }

    #[test]
    fn fencing_kills_even_a_stopped_process() {
        let dir = tempfile::tempdir().unwrap();
        let mut child = hold(dir.path());
        let pid = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(pid, rustix::process::Signal::STOP).unwrap();
        // Nobody has waited for the child: a zombie holds no lock.
        let (fenced, _lock) = fence(dir.path(), LONG).unwrap();
        assert_eq!(fenced, Fenced::Killed);
        assert!(!child.wait().unwrap().success());
    }

    #[test]
    fn fencing_nobody_is_said_so_and_keeps_others_out() {
        let dir = tempfile::tempdir().unwrap();
        let (fenced, lock) = fence(dir.path(), LONG).unwrap();
        assert_eq!(fenced, Fenced::WasNotRunning);
        assert!(matches!(DirLock::take(dir.path()), Err(LockError::Held { pid: None, .. })));
        drop(lock);
        DirLock::take(dir.path()).unwrap();
    }

    #[test]
    fn a_holder_that_gave_no_id_is_never_guessed() {
        let dir = tempfile::tempdir().unwrap();
        let mut child = hold(dir.path());
        std::fs::write(dir.path().join(LOCK_FILE), "").unwrap();
        let error = fence(dir.path(), Duration::from_millis(10)).unwrap_err();
        assert!(matches!(error, FenceError::Unknown { .. }), "{error}");
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
