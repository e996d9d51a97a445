//! The replicated files and the engine's own, on a real file system.

use super::records::RecordError;
use super::storage::{FileId, StorageError};
use super::{records, spare};
use crate::core::format::{Stamp, TrackMap};
use crate::core::pair::replica::Files;
use crate::core::track::{BLOCK_BYTES, DirtyMap};
use crate::core::wal;
use rustix::buffer::spare_capacity;
use rustix::fs::{Advice, fadvise};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::num::NonZeroU64;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The two replicated files of one data directory, open for the life of the process.
pub struct Disk {
    dir: PathBuf,
    files: [File; 2],
    /// Files that were not there and were made empty.
    missing: Vec<FileId>,
    /// When each I/O under way began, by its ticket.
    under_way: Mutex<BTreeMap<u64, Instant>>,
    tickets: AtomicU64,
    /// For so many bytes of main.db the map has room that is set aside.
    mapped: AtomicU64,
}

/// main.db grows by this much until more room is set aside for its map.
const MAPPED_STEP: u64 = 1 << 30;

pub(super) fn storage_error(error: &io::Error) -> StorageError {
    match Errno::from_io_error(error) {
        Some(Errno::NOSPC | Errno::DQUOT | Errno::FBIG) => StorageError::Full,
        _ => StorageError::Io(error.to_string()),
    }
}

impl Disk {
    /// Opens, and creates when missing, the replicated files of a data directory.
    pub fn open(dir: &Path) -> io::Result<Disk> {
        let missing = FileId::ALL.into_iter().filter(|f| !dir.join(f.name()).exists()).collect();
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
        let (under_way, tickets) = (Mutex::default(), AtomicU64::new(0));
        let disk = Disk { dir: dir.to_owned(), files, missing, under_way, tickets, mapped: AtomicU64::new(0) };
        disk.set_aside()?;
        Ok(disk)
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Files that were not there when the disk was opened.
    pub fn missing(&self) -> &[FileId] {
        &self.missing
    }

    fn file(&self, file: FileId) -> &File {
        &self.files[usize::from(file.number())]
    }

    fn clocks(&self) -> MutexGuard<'_, BTreeMap<u64, Instant>> {
        // Every change of the table is one call, so it is whole whenever the lock is free.
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs one I/O under the clock that tells a hung disk.
    pub fn timed<T>(&self, io: impl FnOnce() -> T) -> T {
        let ticket = self.tickets.fetch_add(1, Ordering::Relaxed);
        self.clocks().insert(ticket, Instant::now());
        let result = io();
        self.clocks().remove(&ticket);
        result
    }

    fn io<T>(&self, io: impl FnOnce() -> io::Result<T>) -> Result<T, StorageError> {
        self.timed(io).map_err(|e| storage_error(&e))
    }

    /// How long the oldest I/O under way has been running.
    pub fn busy(&self) -> Option<Duration> {
        self.clocks().values().min().map(Instant::elapsed)
    }

    /// Reads what there is, at most the buffer's length.
    pub fn read(&self, file: FileId, offset: u64, buf: &mut [u8]) -> Result<usize, StorageError> {
        self.io(|| {
            let mut done = 0;
            while done < buf.len() {
                match self.file(file).read_at(&mut buf[done..], offset + done as u64) {
                    Ok(0) => break,
                    Ok(n) => done += n,
                    Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                    Err(e) => return Err(e),
                }
            }
            Ok(done)
        })
    }

    /// What there is, at most so many bytes, in memory that was not zeroed for it first.
    pub fn read_run(&self, file: FileId, offset: u64, len: usize) -> Result<Vec<u8>, StorageError> {
        let mut bytes = Vec::with_capacity(len.max(1));
        self.io(|| {
            while bytes.len() < len {
                // The capacity may be more than was asked for; what is read beyond is cut off.
                let at = offset + bytes.len() as u64;
                match rustix::io::pread(self.file(file), spare_capacity(&mut bytes), at) {
                    Ok(0) => break,
                    Ok(_) | Err(Errno::INTR) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            Ok(())
        })?;
        bytes.truncate(len);
        Ok(bytes)
    }

    /// Begins to write back what this process wrote there, and waits for nothing: a sync that comes later
    /// finds little left. Only where all of the range was just written, because clean pages are dropped
    /// from the page cache.
    pub fn write_back(&self, file: FileId, offset: u64, len: u64) {
        let Some(len) = NonZeroU64::new(len) else { return };
        // A file system that does not take the advice writes back at the next sync, as without it.
        let _ = fadvise(self.file(file), offset, Some(len), Advice::DontNeed);
    }

    pub fn write(&self, file: FileId, offset: u64, data: &[u8]) -> Result<(), StorageError> {
        if file == FileId::Main {
            self.cover(offset + data.len() as u64)?;
        }
        self.io(|| self.file(file).write_all_at(data, offset))
    }

    /// Sets aside, at the start, what the records need as the files are. A disk that is full already
    /// does not keep a segment from starting: what was set aside before is still there.
    fn set_aside(&self) -> io::Result<()> {
        let main = self.file(FileId::Main).metadata()?.len();
        match self.cover(main) {
            Err(StorageError::Full) => self.mapped.store(main, Ordering::Relaxed),
            Err(error) => return Err(io::Error::other(error.to_string())),
            Ok(()) => {}
        }
        Ok(())
    }

    /// Replaces a record; on a full disk with the room that was set aside for it. Its caller holds the
    /// engine's lock, so nothing of this process takes that room first.
    pub fn replace(&self, save: impl Fn() -> Result<(), RecordError>) -> Result<(), RecordError> {
        self.timed(|| {
            let full = match save() {
                Err(error) if matches!(error.as_storage(), StorageError::Full) => error,
                saved => return saved,
            };
            let place = |source| RecordError::Io { path: self.dir.display().to_string(), source };
            if !spare::release(&self.dir).map_err(place)? {
                return Err(full);
            }
            let saved = save();
            let mapped = self.mapped.load(Ordering::Relaxed);
            if let Err(error) = spare::set_aside_again(&self.dir, TrackMap::bytes_max(mapped)) {
                tracing::warn!(dir = %self.dir.display(), %error, "no room is set aside for the records any more");
            }
            saved
        })
    }

    /// Sets room aside for the records of a main.db of so many bytes: on a full disk the map can still be
    /// written, because main.db never outgrew it.
    fn cover(&self, bytes: u64) -> Result<(), StorageError> {
        if bytes <= self.mapped.load(Ordering::Relaxed) && bytes > 0 {
            return Ok(());
        }
        let mapped = (bytes / MAPPED_STEP + 1) * MAPPED_STEP;
        let can = self.io(|| spare::set_aside(&self.dir, TrackMap::bytes_max(mapped)))?;
        if !can {
            tracing::warn!(dir = %self.dir.display(), "its file system can't set room aside for the map");
        }
        self.mapped.store(if can { mapped } else { u64::MAX }, Ordering::Relaxed);
        Ok(())
    }

    pub fn set_len(&self, file: FileId, len: u64) -> Result<(), StorageError> {
        self.io(|| self.file(file).set_len(len))
    }

    pub fn sync(&self, file: FileId) -> Result<(), StorageError> {
        self.io(|| self.file(file).sync_data())
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

    /// This side's contribution after an unclean end: every page of main.db named by a frame of the log.
    pub fn pages_named_by_log(&self) -> Result<DirtyMap, StorageError> {
        let blocks = self.len(FileId::Main)?.div_ceil(BLOCK_BYTES);
        let mut log_header = [0u8; wal::WAL_HEADER_BYTES as usize];
        let read = self.read(FileId::Wal, 0, &mut log_header)?;
        let mut pages = wal::NamedPages::begin(&log_header[..read], blocks);
        let mut header = [0u8; wal::FRAME_HEADER_BYTES as usize];
        for frame in 0..wal::frames_in(self.len(FileId::Wal)?) {
            let read = self.read(FileId::Wal, wal::frame_offset(frame), &mut header)?;
            pages.frame(&header[..read]);
        }
        Ok(pages.end())
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

impl Files for Disk {
    fn len(&self, file: FileId) -> Result<u64, String> {
        Disk::len(self, file).map_err(|e| e.to_string())
    }

    fn pages_named_by_log(&self) -> Result<DirtyMap, String> {
        Disk::pages_named_by_log(self).map_err(|e| e.to_string())
    }

    fn map(&self) -> Result<TrackMap, String> {
        self.timed(|| records::load_map(&self.dir)).map_err(|e| e.to_string())
    }
}

/// Makes the empty files of a database that is being made: later, a file that is not there is a loss.
pub fn create_files(dir: &Path) -> io::Result<()> {
    Disk::open(dir).map(drop)
}

/// Makes names under a directory durable.
pub fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn a_hung_io_is_seen_though_another_that_began_before_it_has_ended() {
        let dir = tempfile::tempdir().expect("a directory");
        let disk = Disk::open(dir.path()).expect("a disk");
        std::thread::scope(|scope| {
            let (end_first, first) = mpsc::channel::<()>();
            let (end_second, second) = mpsc::channel::<()>();
            let (began, begun) = mpsc::channel();
            let disk = &disk;
            let also_began = began.clone();
            scope.spawn(move || disk.timed(|| (began.send(()), first.recv())));
            begun.recv().expect("the first has begun");
            let ended = scope.spawn(move || disk.timed(|| (also_began.send(()), second.recv())));
            begun.recv().expect("the second has begun");
            end_first.send(()).expect("the first waits");
            while disk.clocks().len() > 1 {
                std::thread::yield_now();
            }
            assert!(disk.busy().is_some(), "the second is still under way");
            end_second.send(()).expect("the second waits");
            ended.join().expect("no panic").0.expect("told");
            assert_eq!(disk.busy(), None);
        });
    }
}
