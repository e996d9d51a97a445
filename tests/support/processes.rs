//! Processes seen from outside: by pid, and by the files they hold open.

use super::wait::{secs, wait_for};
use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, prlimit};
use std::fs;
use std::path::Path;
use std::time::Duration;

/// Sends a signal; false when there is no such process any more.
pub fn signal(pid: u32, signal: Signal) -> bool {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("a pid is a positive number");
    kill_process(pid, signal).is_ok()
}

/// So many file descriptors and no more, for a process that runs; returns the limit it had.
pub fn limit_files(pid: u32, most: u64) -> u64 {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let old = getrlimit_of(pid.expect("a pid is a positive number"));
    let new = Rlimit { current: Some(most), maximum: old.maximum };
    let before = prlimit(pid, Resource::Nofile, new).expect("an own process takes a limit");
    before.current.unwrap_or(u64::MAX)
}

/// The limit as it stands: a soft one may be raised again as long as the hard one is left alone.
fn getrlimit_of(pid: Pid) -> Rlimit {
    let text = fs::read_to_string(format!("/proc/{}/limits", pid.as_raw_nonzero())).expect("an own process shows them");
    let line = text.lines().find(|l| l.starts_with("Max open files")).expect("proc(5) has it");
    let mut numbers = line.split_whitespace().filter_map(|word| word.parse::<u64>().ok());
    Rlimit { current: numbers.next(), maximum: numbers.next() }
}

/// SIGKILL, and the certainty that the process has ended.
pub fn kill(pid: u32) {
    signal(pid, Signal::KILL);
    wait_for(&format!("the end of process {pid}"), secs(10), || !runs(pid));
}

/// SIGSTOP, and the certainty that no thread of the process runs any more.
pub fn stop(pid: u32) {
    assert!(signal(pid, Signal::STOP), "process {pid} is not there to be stopped");
    wait_for(&format!("process {pid} to be stopped"), secs(10), || state(pid) == Some('T'));
}

/// SIGCONT; false when the process is gone.
pub fn resume(pid: u32) -> bool {
    signal(pid, Signal::CONT)
}

/// Whether the process exists. A zombie has ended: it holds no file, lock or port.
pub fn runs(pid: u32) -> bool {
    !matches!(state(pid), None | Some('Z' | 'X'))
}

/// The state letter of proc(5).
fn state(pid: u32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

/// The processes that a process has started, and that have not ended.
pub fn children(pid: u32) -> Vec<u32> {
    let all = fs::read_dir("/proc").expect("proc(5)").filter_map(|e| e.ok()?.file_name().to_str()?.parse().ok());
    let parent = |of: u32| -> Option<u32> {
        let stat = fs::read_to_string(format!("/proc/{of}/stat")).ok()?;
        stat.rsplit_once(") ")?.1.split_whitespace().nth(1)?.parse().ok()
    };
    all.filter(|child| parent(*child) == Some(pid)).collect()
}

/// Every process that holds a file beneath a directory open, or was started with a path beneath it.
///
/// Each process of a cluster holds its lock there for life (R7), so none escapes, whatever its parent
/// did and whatever the catalog knows of it.
pub fn beneath(dir: &Path) -> Vec<u32> {
    let own = std::process::id();
    let pids = fs::read_dir("/proc").expect("/proc is mounted").flatten();
    pids.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter(|pid| *pid != own && runs(*pid) && (holds_open(*pid, dir) || was_given(*pid, dir)))
        .collect()
}

fn holds_open(pid: u32, dir: &Path) -> bool {
    let Ok(files) = fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    files.flatten().any(|file| fs::read_link(file.path()).is_ok_and(|target| target.starts_with(dir)))
}

fn was_given(pid: u32, dir: &Path) -> bool {
    let arguments = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    arguments.split(|b| *b == 0).any(|a| std::str::from_utf8(a).is_ok_and(|a| Path::new(a).starts_with(dir)))
}

/// Bytes a process has passed to write calls since it started, those to sockets through `send` apart.
pub fn written_bytes(pid: u32) -> u64 {
    let io = fs::read_to_string(format!("/proc/{pid}/io")).expect("an own process shows its I/O");
    let line = io.lines().find_map(|l| l.strip_prefix("wchar: ")).expect("proc(5) has wchar");
    line.trim().parse().expect("wchar is a number")
}

/// The most memory a process has ever had resident, in bytes.
pub fn most_memory(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("an own process shows its status");
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).expect("proc(5) has VmHWM");
    let kib: u64 = line.trim().trim_end_matches(" kB").trim().parse().expect("VmHWM is a number");
    kib << 10
}

/// Kills every process that lives in a directory, again while any appears: an agent that is not dead
/// yet may be starting one.
pub fn kill_beneath(dir: &Path) {
    for _ in 0..200 {
        let left = beneath(dir);
        if left.is_empty() {
            return;
        }
        for pid in left {
            signal(pid, Signal::KILL);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    println!("processes are left in {}: {:?}", dir.display(), beneath(dir));
}
