//! The faults of `shim.c`: built once for a test, told what to do through the file that it maps.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::net::SocketAddr;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

/// As in `shim.c`.
const TABLE_BYTES: usize = 8192;

/// How a disk fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disk {
    /// Every read, write, truncation and sync fails with EIO.
    Broken,
    /// Every write fails with ENOSPC; syncs succeed.
    Full,
    /// Every write that needs a block which its file does not have fails with ENOSPC: what was set aside is
    /// there to be used.
    NoRoom,
    /// Every write, and every opening for writing, fails with EROFS; syncs succeed.
    ReadOnly,
    /// Nothing returns before it is healed.
    Hung,
}

impl Disk {
    fn verb(self) -> &'static str {
        match self {
            Disk::Broken => "eio",
            Disk::Full => "enospc",
            Disk::NoRoom => "noroom",
            Disk::ReadOnly => "erofs",
            Disk::Hung => "hang",
        }
    }
}

pub struct Shim {
    library: PathBuf,
    path: PathBuf,
    table: File,
    lines: Mutex<Vec<String>>,
}

impl Shim {
    /// Builds the library in a directory, with a table of no faults.
    #[track_caller]
    pub fn new(dir: &Path) -> Shim {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/shim.c");
        let (library, path) = (dir.join("shim.so"), dir.join("shim.table"));
        let mut cc = Command::new("cc");
        cc.args(["-std=gnu11", "-O1", "-fPIC", "-shared", "-Wall", "-Werror", "-o"]).arg(&library).arg(&source);
        let built = cc.arg("-ldl").output().unwrap_or_else(|e| panic!("a C compiler is missing: {e}"));
        assert!(built.status.success(), "{}: {}", source.display(), String::from_utf8_lossy(&built.stderr));
        let table = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&path);
        let table = table.expect("a fresh directory takes a file");
        table.set_len(TABLE_BYTES as u64).expect("a table has its whole length before it is mapped");
        Shim { library, path, table, lines: Mutex::default() }
    }

    /// What a process has to be started with.
    pub fn environment(&self) -> Vec<(&'static str, OsString)> {
        vec![("LD_PRELOAD", self.library.clone().into()), ("SEGSH_SHIM", self.path.clone().into())]
    }

    /// The files beneath a directory fail from now on.
    pub fn fail(&self, disk: Disk, dir: &str) {
        self.change(|lines| lines.push(format!("{} {dir}", disk.verb())));
    }

    /// Every disk works again.
    pub fn heal(&self) {
        let faults = [Disk::Broken, Disk::Full, Disk::NoRoom, Disk::ReadOnly, Disk::Hung].map(Disk::verb);
        self.change(|lines| lines.retain(|l| !faults.iter().any(|f| l.starts_with(f))));
    }

    /// The calendar of a process is so many seconds ahead, or behind.
    pub fn shift_clock(&self, pid: u32, seconds: i64) {
        self.change(|lines| {
            lines.retain(|l| !l.starts_with(&format!("clock {pid} ")));
            lines.push(format!("clock {pid} {seconds}"));
        });
    }

    /// Connections to one address are led to another.
    pub fn redirect(&self, from: SocketAddr, to: SocketAddr) {
        self.change(|lines| lines.push(format!("to {from} {to}")));
    }

    #[track_caller]
    fn change(&self, edit: impl FnOnce(&mut Vec<String>)) {
        let mut lines = self.lines.lock().expect("no panic while it is held");
        edit(&mut lines);
        let mut text = lines.join("\n").into_bytes();
        assert!(text.len() < TABLE_BYTES, "the table is full");
        text.resize(TABLE_BYTES, 0);
        // One write: whoever reads meanwhile sees the old table or the new one, or for an instant a
        // line cut short, which is a line of no meaning.
        self.table.write_all_at(&text, 0).expect("the table can be written");
    }
}
