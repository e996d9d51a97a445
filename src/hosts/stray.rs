//! Processes whose directory was removed under them.
//!
//! The lock of such a directory is gone with its name, so nobody finds its holder there, and the holder
//! keeps its ports. A segment lives *in* its data directory: the kernel still knows which one that was.

use super::lock::FenceError;
use super::process::ProcessId;
use std::path::Path;
use std::time::{Duration, Instant};

/// What the kernel appends to the name of a directory that was removed.
const REMOVED: &str = " (deleted)";
const PAUSE: Duration = Duration::from_millis(2);

/// Kills every process that lives in a removed directory of this name (R7), and returns once they are gone.
/// Returns how many there were.
pub fn end_strays(dir: &Path, within: Duration) -> Result<usize, FenceError> {
    let since = Instant::now();
    let strays = strays(dir);
    for stray in &strays {
        let cannot = |why: String| FenceError::CannotKill { pid: stray.pid(), dir: dir.into(), why };
        stray.kill().map_err(|e| cannot(e.to_string()))?;
        while stray.is_alive() {
            if since.elapsed() >= within {
                return Err(cannot(format!("still there after {} ms", within.as_millis())));
            }
            std::thread::sleep(PAUSE);
        }
    }
    Ok(strays.len())
}

fn strays(dir: &Path) -> Vec<ProcessId> {
    let mut removed = dir.as_os_str().to_owned();
    removed.push(REMOVED);
    let Ok(processes) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    let pids = processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    let lives_there = |pid: u32| {
        // Named first and looked at after: from then on it is this very process, or nobody.
        let process = ProcessId::of_pid(pid).ok()?;
        let cwd = std::fs::read_link(format!("/proc/{pid}/cwd")).ok()?;
        (cwd.as_os_str() == removed && process.is_alive()).then_some(process)
    };
    // A directory may bear that very name, and be nobody's removed one.
    if Path::new(&removed).exists() { Vec::new() } else { pids.filter_map(lives_there).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn whoever_lives_in_a_removed_directory_is_ended_and_nobody_else() {
        let root = tempfile::tempdir().unwrap();
        let (gone, stands) = (root.path().join("gone"), root.path().join("stands"));
        let live_in = |dir: &Path| {
            std::fs::create_dir(dir).unwrap();
            Command::new("sleep").arg("1000").current_dir(dir).spawn().unwrap()
        };
        let (mut stray, mut other) = (live_in(&gone), live_in(&stands));
        assert_eq!(end_strays(&gone, Duration::from_secs(5)).unwrap(), 0, "its directory stands");
        std::fs::remove_dir(&gone).unwrap();
        // A new directory of the same name is another one.
        std::fs::create_dir(&gone).unwrap();
        let waiting = std::thread::spawn(move || stray.wait());
        assert_eq!(end_strays(&gone, Duration::from_secs(5)).unwrap(), 1);
        assert!(!waiting.join().unwrap().unwrap().success());
        assert!(ProcessId::of_child(&other).unwrap().is_alive());
        other.kill().unwrap();
        other.wait().unwrap();
    }
}
