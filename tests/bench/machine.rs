//! The machine that is measured on, and the directory everything is measured in.

use crate::statistics::Samples;
use crate::support::processes;
use serde_json::{Value, json};
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// `TMPFS_MAGIC` and `RAMFS_MAGIC` of statfs(2).
const IN_MEMORY: [i64; 2] = [0x0102_1994, 0x8584_58f6u32 as i64];
const BLOCK: usize = 4096;

/// A directory of its own, gone with everything in it, processes included.
#[derive(Debug, Clone)]
pub struct Root(PathBuf);

impl Root {
    /// Makes it beneath `parent`, which must be on a disk.
    pub fn new(parent: &Path) -> Result<Root, String> {
        let stat = rustix::fs::statfs(parent).map_err(|e| format!("{}: {e}", parent.display()))?;
        if IN_MEMORY.contains(&(stat.f_type as i64)) {
            return Err(format!("{} is in memory, not on a disk; choose another with --dir", parent.display()));
        }
        let made = tempfile::Builder::new().prefix("segsh-bench-").tempdir_in(parent);
        let path = made.map_err(|e| format!("{}: {e}", parent.display()))?.keep();
        // PostgreSQL refuses to run as the superuser: another user has to reach its own part.
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).map_err(|e| e.to_string())?;
        Ok(Root(path))
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Ends every process that lives here, PostgreSQL's servers in order, and removes all files.
    pub fn clean(&self) {
        stop_servers(&self.0);
        processes::kill_beneath(&self.0);
        if let Err(error) = fs::remove_dir_all(&self.0) {
            eprintln!("{} is left: {error}", self.0.display());
        }
        // An interrupted run may have started one more while the others ended.
        processes::kill_beneath(&self.0);
    }
}

/// A postmaster that is killed leaves shared memory behind; one that is asked does not.
fn stop_servers(root: &Path) {
    let dirs = fs::read_dir(root).into_iter().flatten().flatten();
    let pid = |dir: &Path| -> Option<u32> {
        fs::read_to_string(dir.join("data/postmaster.pid")).ok()?.lines().next()?.trim().parse().ok()
    };
    let pids: Vec<u32> = dirs.filter_map(|entry| pid(&entry.path())).collect();
    for pid in &pids {
        processes::signal(*pid, rustix::process::Signal::QUIT);
    }
    let began = Instant::now();
    while pids.iter().any(|pid| processes::runs(*pid)) && began.elapsed() < Duration::from_secs(5) {
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Free bytes of the file system under a path, for those who are not the superuser.
pub fn free_bytes(path: &Path) -> u64 {
    rustix::fs::statvfs(path).map_or(0, |s| s.f_bavail.saturating_mul(s.f_frsize))
}

/// How long the disk takes to make one overwritten block durable, in seconds.
pub fn fdatasync(root: &Root, times: usize) -> Samples {
    let path = root.path().join("fdatasync");
    let file = File::create(&path).expect("the bench's directory takes a file");
    file.write_all_at(&[0; BLOCK], 0).expect("room for a block");
    file.sync_all().expect("a file can be synced");
    let one = |n: usize| {
        let began = Instant::now();
        file.write_all_at(&[n as u8; BLOCK], 0).expect("room for a block");
        file.sync_data().expect("a file can be synced");
        began.elapsed().as_secs_f64()
    };
    (0..times).map(one).collect()
}

/// Writes out what is dirty, so that nobody's measured time pays for another's writes.
pub fn settle_disk() {
    rustix::fs::sync();
}

/// Resident bytes of a process: now, and at most since it started.
pub fn memory(pid: u32) -> Option<(f64, f64)> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let field = |name: &str| -> Option<f64> {
        let line = status.lines().find_map(|l| l.strip_prefix(name))?;
        line.trim().strip_suffix(" kB")?.trim().parse::<f64>().ok().map(|kib| kib * 1024.0)
    };
    Some((field("VmRSS:")?, field("VmHWM:")?))
}

fn first_line(path: &str, prefix: &str) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    let line = text.lines().find(|l| l.starts_with(prefix)).unwrap_or_default();
    line.split_once(':').map_or(line, |(_, value)| value).trim().to_owned()
}

/// What of the machine a reader of figures has to know.
pub fn describe(root: &Root, syncs: &Samples) -> Value {
    json!({
        "cpu": first_line("/proc/cpuinfo", "model name"),
        "cpus": std::thread::available_parallelism().map_or(0, usize::from),
        "memory": first_line("/proc/meminfo", "MemTotal"),
        "kernel": fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim(),
        "load": fs::read_to_string("/proc/loadavg").unwrap_or_default().trim(),
        "free_bytes": free_bytes(root.path()),
        "fdatasync_s": {
            "p50": syncs.quantile(0.5), "p90": syncs.quantile(0.9), "p99": syncs.quantile(0.99), "max": syncs.max(),
        },
    })
}
