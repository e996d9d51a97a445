//! Starting a process of the cluster, and knowing when it serves.
//!
//! The child gets no standard input, its error output goes to a log file, and its standard output
//! is a pipe for one line: `ready`. Any other line, and an end without a line, is a failure; its
//! text is what the child said, or the end of its log. The child is in a process group of its own,
//! so Ctrl-C at the terminal that started it is not for it, and it outlives its parent. A thread
//! waits for every child, so none stays behind as a zombie.

use super::process::ProcessId;
use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::Duration;
use thiserror::Error;

const READY: &str = "ready";
/// The longest first line of a child that is looked at.
const MAX_LINE: u64 = 4096;
/// How much of the end of a log is quoted.
const LOG_TAIL: u64 = 2048;

/// Why a process did not come up.
#[derive(Debug, Error)]
pub enum LaunchError {
    /// Its log can't be written.
    #[error("log {path}: {source}")]
    Log { path: PathBuf, source: io::Error },
    /// The program can't be executed.
    #[error("can't execute {program}: {source}")]
    Execute { program: PathBuf, source: io::Error },
    /// It said what is wrong.
    #[error("{message}")]
    Failed { message: String },
    /// It did not say `ready` in time, and was killed.
    #[error("it was not ready within {} ms", within.as_millis())]
    Late { within: Duration },
}

/// A process to be started.
#[derive(Debug, Clone)]
pub struct Launch {
    /// The program, as an absolute path.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// Where its error output is appended.
    pub log: PathBuf,
    /// How long it may take until it is ready.
    pub within: Duration,
}

impl Launch {
    /// Starts it, and returns its process id once it is ready. Blocks.
    pub fn start(&self) -> Result<u32, LaunchError> {
        Ok(self.begin(Stdio::null())?.pid)
    }

    /// Starts it with a pipe for its standard input, whose only writing end is the [`Lifeline`]:
    /// the child reads its end when this process ends, however it ends. Blocks until it is ready.
    pub fn start_with_lifeline(&self) -> Result<Lifeline, LaunchError> {
        self.begin(Stdio::piped())
    }

    fn begin(&self, stdin: Stdio) -> Result<Lifeline, LaunchError> {
        let (log, before) =
            open_log(&self.log).map_err(|source| LaunchError::Log { path: self.log.clone(), source })?;
        let mut child = self
            .command(log, stdin)
            .spawn()
            .map_err(|source| LaunchError::Execute { program: self.program.clone(), source })?;
        let pid = child.id();
        let pipe = child.stdin.take();
        let (say, hear) = mpsc::channel();
        let process = ProcessId::of_child(&child);
        let attend = move || attend(child, &say);
        std::thread::Builder::new()
            .name(format!("child {pid}"))
            .spawn(attend)
            .map_err(|e| LaunchError::Failed { message: e.to_string() })?;
        match hear.recv_timeout(self.within) {
            Ok(First::Ready) => Ok(Lifeline { pid, pipe, ended: hear }),
            Ok(First::Said(message)) => Err(LaunchError::Failed { message }),
            Ok(First::Ended(status)) => Err(LaunchError::Failed { message: self.last_words(before, status) }),
            Err(_) => {
                if let Ok(process) = process {
                    let _ = process.kill();
                }
                Err(LaunchError::Late { within: self.within })
            }
        }
    }

    fn command(&self, log: File, stdin: Stdio) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.args).current_dir("/").stdin(stdin).stdout(Stdio::piped()).stderr(log).process_group(0);
        command
    }

    /// What the log holds since the start, or how the process ended.
    fn last_words(&self, before: u64, status: Option<ExitStatus>) -> String {
        let tail = log_since(&self.log, before).unwrap_or_default();
        let lines: Vec<&str> = tail.lines().filter(|l| !l.trim().is_empty()).collect();
        match (lines.as_slice(), status) {
            ([], Some(status)) => format!("it ended before it was ready: {status}"),
            ([], None) => "it ended before it was ready".into(),
            (lines, _) => lines[lines.len().saturating_sub(5)..].join("\n"),
        }
    }
}

/// A child that ends its work when this is dropped, or this process dies.
#[derive(Debug)]
pub struct Lifeline {
    pid: u32,
    /// The standard library makes it close-on-exec: no other child keeps it open.
    pipe: Option<ChildStdin>,
    /// Closed by the thread that waits for the child.
    ended: mpsc::Receiver<First>,
}

impl Lifeline {
    /// The child's process id.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Lets the child end its work, and waits for that; false when it is still there after `within`.
    pub fn end(mut self, within: Duration) -> bool {
        drop(self.pipe.take());
        matches!(self.ended.recv_timeout(within), Err(mpsc::RecvTimeoutError::Disconnected))
    }
}

#[derive(Debug)]
enum First {
    Ready,
    Said(String),
    Ended(Option<ExitStatus>),
}

/// Hears the first line, tells it, and waits for the end of the child.
fn attend(mut child: Child, say: &mpsc::Sender<First>) {
    let line = child.stdout.take().map(first_line).unwrap_or_default();
    // The pipe is closed by now. The launcher may have given up: then nobody hears it.
    match line.trim() {
        "" => {
            let status = child.wait().ok();
            let _ = say.send(First::Ended(status));
            return;
        }
        READY => drop(say.send(First::Ready)),
        said => drop(say.send(First::Said(said.into()))),
    }
    match child.wait() {
        Ok(status) => tracing::info!(pid = child.id(), %status, "process ended"),
        Err(error) => tracing::warn!(pid = child.id(), %error, "process can't be waited for"),
    }
}

fn first_line(pipe: impl Read) -> String {
    let mut line = Vec::new();
    let _ = BufReader::new(pipe.take(MAX_LINE)).read_until(b'\n', &mut line);
    String::from_utf8_lossy(&line).into_owned()
}

/// Opens a log for appending, and says how long it is.
fn open_log(path: &Path) -> io::Result<(File, u64)> {
    let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
    let length = file.metadata()?.len();
    Ok((file, length))
}

fn log_since(path: &Path, before: u64) -> io::Result<String> {
    let mut file = File::open(path)?;
    let start = before.max(file.metadata()?.len().saturating_sub(LOG_TAIL));
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::new();
    file.take(LOG_TAIL).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Says to the process that started this one that it serves now. It may have gone away meanwhile,
/// which is no reason to stop serving.
pub fn announce_ready() {
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "{READY}").and_then(|()| out.flush());
}

/// Makes this process a server of its own: it leaves the session of whoever started it, and INT and
/// HUP are not for it. Must be called on a runtime, first of all; holds until the process ends.
///
/// A session of its own matters beyond the terminal: when a parent dies, the kernel wakes the
/// *stopped* children it had in its own session, and sends them HUP. The death of an agent must not
/// wake a hung segment.
pub fn leave_terminal() -> io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    // A registered handler stays when its stream is dropped, and it does nothing.
    drop(signal(SignalKind::interrupt())?);
    drop(signal(SignalKind::hangup())?);
    leave_session();
    Ok(())
}

/// The leader of a process group can't begin a session, and every launched process is one: it goes
/// back to its parent's group for the moment between. Where that can't be (the parent is gone, or is
/// in another session), the group of its own has to do.
fn leave_session() {
    use rustix::process::{getpgid, getppid, setpgid, setsid};
    let back = || -> rustix::io::Result<()> {
        if setsid().is_err() {
            setpgid(None, Some(getpgid(getppid())?))?;
            setsid()?;
        }
        Ok(())
    };
    if let Err(error) = back() {
        tracing::debug!(%error, "no session of its own");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hosts::testing::shell;

    #[test]
    fn a_process_that_says_ready_is_started_and_reaped() {
        let dir = tempfile::tempdir().unwrap();
        let pid = shell(dir.path(), "echo ready; exec sleep 1000").start().unwrap();
        let process = ProcessId::of_pid(pid).unwrap();
        assert!(process.is_alive());
        process.kill().unwrap();
        while std::path::Path::new(&format!("/proc/{pid}")).exists() {
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_process_that_fails_says_why() {
        let dir = tempfile::tempdir().unwrap();
        for (script, said) in [
            ("echo no such key; exit 1", "no such key"),
            ("echo before >&2; echo port in use >&2; exit 1", "before\nport in use"),
            ("exit 3", "it ended before it was ready: exit status: 3"),
        ] {
            let error = shell(dir.path(), script).start().unwrap_err();
            assert_eq!(error.to_string(), said);
            std::fs::remove_file(dir.path().join("child.log")).unwrap();
        }
    }

    #[test]
    fn only_what_the_log_got_since_the_start_is_quoted() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("child.log"), "an old trouble\n").unwrap();
        let error = shell(dir.path(), "exit 3").start().unwrap_err();
        assert_eq!(error.to_string(), "it ended before it was ready: exit status: 3");
    }

    #[test]
    fn a_process_that_says_nothing_is_killed_at_the_deadline() {
        let dir = tempfile::tempdir().unwrap();
        let mut launch = shell(dir.path(), "exec sleep 1000");
        launch.within = Duration::from_millis(50);
        assert!(matches!(launch.start(), Err(LaunchError::Late { .. })));
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let mut launch = shell(dir.path(), "");
        launch.program = dir.path().join("nothing");
        assert!(launch.start().unwrap_err().to_string().contains("nothing"));
    }
}
