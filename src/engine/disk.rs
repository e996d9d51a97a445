//! The replicated files and the engine's own, on a real file system.

use super::storage::{FileId, StorageError};
use crate::core::format::Stamp;
use crate::core::track::{BLOCK_BYTES, DirtyMap};
use crate::core::wal;
use rustix::io::Errno;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// The two replicated files of one data directory, open for the life of the process.
pub struct Disk {
    dir: PathBuf,
    files: [File; 2],
    began: Instant,
    /// Milliseconds after `began`, plus one, at which the I/O under way started; 0 when there is none.
    busy_since: AtomicU64,
}

fn storage_error(error: &io::Error) -> StorageError {
    match Errno::from_io_error(error) {
        Some(Errno::NOSPC | Errno::DQUOT | Errno::FBIG) => StorageError::Full,
        _ => StorageError::Io(error.to_string()),
    }
}

impl Disk {
    /// Opens, and creates when missing, the replicated files of a data directory.
    pub fn open(dir: &Path) -> io::Result<Disk> {
        let open = |file: FileId| {
            OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600)
                .open(dir.join(file.name()))
        };
        let files = [open(FileId::Main)?, open(FileId::Wal)?];
        sync_dir(dir)?;
        Ok(Disk { dir: dir.to_owned(), files, began: Instant::now(), busy_since: AtomicU64::new(0) })
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    fn file(&self, file: FileId) -> &File {
        &self.files[usize::from(file.number())]
    }

    /// Runs one I/O under the clock that tells a hung disk, and names its failure.
    fn timed<T>(&self, io: impl FnOnce() -> io::Result<T>) -> Result<T, StorageError> {
        let since = self.began.elapsed().as_millis() as u64 + 1;
        let outer = self.busy_since.compare_exchange(0, since, Ordering::SeqCst, Ordering::SeqCst).is_err();
        let result = io();
        if !outer {
            self.busy_since.store(0, Ordering::SeqCst);
        }
        result.map_err(|e| storage_error(&e))
    }

    /// How long the I/O under way has been running, in milliseconds.
    pub fn busy_ms(&self) -> Option<u64> {
        let since = self.busy_since.load(Ordering::SeqCst);
        (since > 0).then(|| (self.began.elapsed().as_millis() as u64 + 1).saturating_sub(since))
    }

    /// Reads what there is, at most the buffer's length.
    pub fn read(&self, file: FileId, offset: u64, buf: &mut [u8]) -> Result<usize, StorageError> {
        let mut done = 0;
        while done < buf.len() {
            match self.file(file).read_at(&mut buf[done..], offset + done as u64) {
                Ok(0) => break,
                Ok(n) => done += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(storage_error(&e)),
            }
        }
        Ok(done)
    }

    pub fn write(&self, file: FileId, offset: u64, data: &[u8]) -> Result<(), StorageError> {
        self.timed(|| self.file(file).write_all_at(data, offset))
    }

    pub fn set_len(&self, file: FileId, len: u64) -> Result<(), StorageError> {
        self.timed(|| self.file(file).set_len(len))
    }

    pub fn sync(&self, file: FileId) -> Result<(), StorageError> {
        self.timed(|| self.file(file).sync_data())
    }

    pub fn len(&self, file: FileId) -> Result<u64, StorageError> {
        self.file(file).metadata().map(|m| m.len()).map_err(|e| storage_error(&e))
    }

    /// Bytes of both files.
    pub fn data_bytes(&self) -> u64 {
        FileId::ALL.into_iter().filter_map(|f| self.len(f).ok()).sum()
    }

    /// Bytes that a process may still use on this file system.
    pub fn free_bytes(&self) -> u64 {
        rustix::fs::statvfs(&self.dir).map_or(0, |s| s.f_bavail * s.f_frsize)
    }

    /// Whether both files still stand under their names, and are the ones held open (R4).
    pub fn files_stand(&self) -> bool {
        FileId::ALL.into_iter().all(|file| {
            let named = std::fs::metadata(self.dir.join(file.name())).map(|m| (m.dev(), m.ino()));
            let held = self.file(file).metadata().map(|m| (m.dev(), m.ino()));
            matches!((named, held), (Ok(a), Ok(b)) if a == b)
        })
    }

    /// This side's contribution after an unclean end: every page of main.db named by a frame in the log.
    pub fn pages_named_by_log(&self) -> Result<DirtyMap, StorageError> {
        let mut map = DirtyMap::default();
        let blocks = self.len(FileId::Main)?.div_ceil(BLOCK_BYTES);
        let mut header = [0u8; wal::FRAME_HEADER_BYTES as usize];
        for frame in 0..wal::frames_in(self.len(FileId::Wal)?) {
            let read = self.read(FileId::Wal, wal::frame_offset(frame), &mut header)?;
            wal::mark_named(&mut map, &header[..read], blocks);
        }
        Ok(map)
    }

    /// What the files look like now, for the notes of a clean end.
    pub fn stamps(&self) -> Vec<Stamp> {
        FileId::ALL
            .into_iter()
            .filter_map(|file| {
                let m = std::fs::metadata(self.dir.join(file.name())).ok()?;
                let name = file.name().to_owned();
                Some(Stamp { name, inode: m.ino(), bytes: m.len(), changed: (m.ctime(), m.ctime_nsec()) })
            })
            .collect()
    }
}

/// Makes names under a directory durable.
pub fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Replaces a small file whole: after a crash there is the old one or the new one, never a mixture.
pub fn replace(dir: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let beside = dir.join(format!("{name}.new"));
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&beside, dir.join(name))?;
    sync_dir(dir)
}
