//! The files of a data directory, looked at with nothing but a file system and stock SQLite.

use rusqlite::{Connection, OpenFlags};
use std::collections::BTreeSet;
use std::path::Path;
use tempfile::TempDir;

pub const BLOCK: usize = 4096;
/// What is replicated. Everything else in a data directory is in [`CONTROL`].
pub const REPLICATED: [&str; 2] = ["main.db", "main.db-wal"];
/// Not replicated: at most five, each small, all named in docs/formats.md.
pub const CONTROL: [&str; 5] = ["segment.meta", "segment.spare", "track.map", "lock", "segment.json"];
pub const CONTROL_BYTES_MAX: u64 = 64 << 10;

/// A file's bytes; one that does not exist is empty.
pub fn bytes(datadir: &Path, name: &str) -> Vec<u8> {
    match std::fs::read(datadir.join(name)) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(e) => panic!("{}: {e}", datadir.join(name).display()),
    }
}

/// Blocks of 4 KiB in a number of bytes, the last one cut short or not.
pub fn blocks_in(bytes: usize) -> usize {
    bytes.div_ceil(BLOCK)
}

/// The numbers of the blocks in which two files differ; one that only one has differs.
pub fn differing_blocks(a: &[u8], b: &[u8]) -> Vec<usize> {
    let block = |file: &[u8], n: usize| {
        let end = file.len().min((n + 1) * BLOCK);
        file.get(n * BLOCK..end).unwrap_or_default().to_vec()
    };
    (0..blocks_in(a.len().max(b.len()))).filter(|n| block(a, *n) != block(b, *n)).collect()
}

/// What differs between the replicated files of two data directories, in words; `None` when nothing.
pub fn difference(a: &Path, b: &Path) -> Option<String> {
    REPLICATED.iter().find_map(|name| {
        let (left, right) = (bytes(a, name), bytes(b, name));
        let blocks = differing_blocks(&left, &right);
        let lengths = (left.len(), right.len());
        (!blocks.is_empty())
            .then(|| format!("{name}: lengths {lengths:?}, blocks {:?}...", &blocks[..blocks.len().min(9)]))
    })
}

/// Demands that there is nothing in a data directory but the replicated files and small control files.
#[track_caller]
pub fn assert_only_known_files(datadir: &Path) {
    for entry in std::fs::read_dir(datadir).expect("a data directory can be listed").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if REPLICATED.contains(&name.as_str()) {
            continue;
        }
        assert!(
            CONTROL.contains(&name.as_str()),
            "{} is neither replicated nor a control file",
            entry.path().display()
        );
        // A control file that is just being replaced has no length to speak of.
        let length = entry.metadata().map_or(0, |m| m.len());
        assert!(length < CONTROL_BYTES_MAX, "{} is {length} bytes long", entry.path().display());
    }
}

/// The pages of main.db that the frames of a log name, whatever the frames' age.
pub fn pages_named(log: &[u8]) -> BTreeSet<u32> {
    const HEADER: usize = 32;
    const FRAME: usize = 24 + BLOCK;
    let frames = log.get(HEADER..).unwrap_or_default().chunks(FRAME);
    frames.filter_map(|f| f.first_chunk::<4>()).map(|n| u32::from_be_bytes(*n)).collect()
}

/// A copy of the replicated files, opened by stock SQLite. The directory goes with it.
pub struct Copy {
    _dir: TempDir,
    pub sqlite: Connection,
}

/// Copies the replicated files. Take it when nobody writes them, or it is no moment of the database.
#[track_caller]
pub fn copy(datadir: &Path) -> Copy {
    let dir = tempfile::tempdir().expect("a temporary directory");
    for name in REPLICATED {
        std::fs::write(dir.path().join(name), bytes(datadir, name)).expect("room for a copy");
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let sqlite = Connection::open_with_flags(dir.path().join("main.db"), flags)
        .unwrap_or_else(|e| panic!("stock SQLite opens a copy of {}: {e}", datadir.display()));
    Copy { _dir: dir, sqlite }
}

/// Demands that stock SQLite finds a copy sound.
#[track_caller]
pub fn assert_sound(datadir: &Path) {
    let copy = copy(datadir);
    let verdict: String = copy
        .sqlite
        .query_row("pragma integrity_check", [], |row| row.get(0))
        .unwrap_or_else(|e| panic!("integrity_check of {}: {e}", datadir.display()));
    assert_eq!(verdict, "ok", "integrity_check of {}", datadir.display());
}
