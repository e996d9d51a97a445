//! A process named so that it can't be mistaken for another: its id and its start time.

use std::fmt;
use std::io;
use std::str::FromStr;

/// A process: its id, and when it started in the kernel's ticks since boot. An id alone is given to
/// another process sooner or later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ProcessId {
    pid: u32,
    started: u64,
}

impl fmt::Display for ProcessId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.pid, self.started)
    }
}

/// The text names no process.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a process id and its start time")]
pub struct BadProcessId;

impl FromStr for ProcessId {
    type Err = BadProcessId;

    fn from_str(text: &str) -> Result<ProcessId, BadProcessId> {
        let (pid, started) = text.split_once(' ').ok_or(BadProcessId)?;
        let pid: u32 = pid.parse().map_err(|_| BadProcessId)?;
        // 0 and 1 would be a whole process group, and init: neither ever holds one of our locks.
        if pid < 2 || i32::try_from(pid).is_err() {
            return Err(BadProcessId);
        }
        Ok(ProcessId { pid, started: started.parse().map_err(|_| BadProcessId)? })
    }
}

impl ProcessId {
    /// This process.
    pub fn this() -> io::Result<ProcessId> {
        ProcessId::of_pid(std::process::id())
    }

    /// The process that has this id now.
    pub fn of_pid(pid: u32) -> io::Result<ProcessId> {
        Ok(ProcessId { pid, started: stat(pid)?.started })
    }

    /// A child that has not been waited for: its id is its own.
    pub fn of_child(child: &std::process::Child) -> io::Result<ProcessId> {
        ProcessId::of_pid(child.id())
    }

    /// The system's process id.
    pub fn pid(self) -> u32 {
        self.pid
    }

    /// Whether this very process still runs. A zombie does not.
    pub fn is_alive(self) -> bool {
        stat(self.pid).is_ok_and(|s| s.started == self.started && !s.is_dead())
    }

    /// SIGKILL to this very process; nothing when it is gone already.
    #[cfg(target_os = "linux")]
    pub fn kill(self) -> io::Result<()> {
        use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
        let Some(pid) = i32::try_from(self.pid).ok().and_then(Pid::from_raw) else {
            return Ok(());
        };
        // The descriptor is opened first and the start time compared after: from then on it can
        // only be this process, or nobody.
        let opened = match pidfd_open(pid, PidfdFlags::empty()) {
            Err(rustix::io::Errno::SRCH) => return Ok(()),
            opened => opened?,
        };
        if !self.is_alive() {
            return Ok(());
        }
        match pidfd_send_signal(opened, Signal::KILL) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Clusters of processes run on Linux only.
    #[cfg(not(target_os = "linux"))]
    pub fn kill(self) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

struct Stat {
    state: u8,
    started: u64,
}

impl Stat {
    fn is_dead(&self) -> bool {
        matches!(self.state, b'Z' | b'X' | b'x')
    }
}

fn stat(pid: u32) -> io::Result<Stat> {
    let text = std::fs::read(format!("/proc/{pid}/stat"))?;
    parse_stat(&text).ok_or_else(|| io::Error::other(format!("/proc/{pid}/stat is not understood")))
}

/// State and start time of a `/proc/PID/stat`. The name in parentheses may hold anything, so the
/// fields are counted from the last parenthesis on: the state is the third of the line, the start
/// time the twenty-second.
fn parse_stat(text: &[u8]) -> Option<Stat> {
    let end = text.iter().rposition(|b| *b == b')')?;
    let mut fields = text.get(end + 1..)?.split(u8::is_ascii_whitespace).filter(|f| !f.is_empty());
    let state = *fields.next()?.first()?;
    let started = std::str::from_utf8(fields.nth(18)?).ok()?.parse().ok()?;
    Some(Stat { state, started })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_what_its_text_says() {
        let this = ProcessId::this().unwrap();
        assert_eq!(this.to_string().parse(), Ok(this));
        assert!(this.is_alive());
        for text in ["", "5", "0 1", "1 1", "-1 5", "99999999999 1", "x y", "4294967295 7"] {
            assert!(text.parse::<ProcessId>().is_err(), "{text}");
        }
    }

    #[test]
    fn another_process_with_the_same_id_is_not_it() {
        let this = ProcessId::this().unwrap();
        let former = ProcessId { pid: this.pid, started: this.started - 1 };
        assert!(!former.is_alive());
        // Had it been mistaken for this process, the test would end here.
        former.kill().unwrap();
    }

    #[test]
    fn a_name_with_parentheses_and_blanks_confuses_nobody() {
        let numbers: Vec<String> = (4..=52).map(|n| n.to_string()).collect();
        let line = format!("7 (a) R (b) S {}", numbers.join(" "));
        let stat = parse_stat(line.as_bytes()).unwrap();
        assert_eq!((stat.state, stat.started), (b'S', 22));
        assert!(parse_stat(b"").is_none());
        assert!(parse_stat(b"7 (a").is_none());
    }

    #[test]
    fn a_zombie_is_not_alive() {
        let mut child = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
        let process = ProcessId::of_child(&child).unwrap();
        assert!(process.is_alive());
        process.kill().unwrap();
        while process.is_alive() {
            std::thread::yield_now();
        }
        child.wait().unwrap();
    }
}
