//! A storage of plain files for the tests of the VFS and of the SQL sessions.
#![allow(dead_code)]

use segsh::engine::storage::{FileId, Position, Storage, StorageError};
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex};
use std::time::Duration;

/// How often who waits for a read permit is asked whether to go on.
const LOOK: Duration = Duration::from_millis(1);

/// Two files in a directory, with switches for faults.
pub struct FileStorage {
    dir: PathBuf,
    main: File,
    wal: File,
    pub fail_sync: AtomicBool,
    pub disk_full: AtomicBool,
    pub fenced: AtomicBool,
    pub checkpoints: Mutex<Vec<bool>>,
    /// What was met damaged, and where.
    pub damaged: Mutex<Vec<(FileId, u64)>>,
    pub syncs: AtomicU64,
    committed: AtomicU64,
    durable: AtomicU64,
    suspended: Mutex<bool>,
    resumed: Condvar,
    sync_hold: Mutex<bool>,
    sync_go: Condvar,
    /// Syncs that wait for `hold_syncs(false)`.
    pub held_syncs: AtomicU64,
}

impl FileStorage {
    pub fn new(dir: &Path) -> FileStorage {
        let open = |id: FileId| {
            OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(dir.join(id.name()))
                .expect("the test's file opens")
        };
        FileStorage {
            dir: dir.to_owned(),
            main: open(FileId::Main),
            wal: open(FileId::Wal),
            fail_sync: AtomicBool::new(false),
            disk_full: AtomicBool::new(false),
            fenced: AtomicBool::new(false),
            checkpoints: Mutex::default(),
            damaged: Mutex::default(),
            syncs: AtomicU64::new(0),
            committed: AtomicU64::new(0),
            durable: AtomicU64::new(0),
            suspended: Mutex::new(false),
            resumed: Condvar::new(),
            sync_hold: Mutex::new(false),
            sync_go: Condvar::new(),
            held_syncs: AtomicU64::new(0),
        }
    }

    fn file(&self, id: FileId) -> &File {
        match id {
            FileId::Main => &self.main,
            FileId::Wal => &self.wal,
        }
    }

    pub fn path(&self, id: FileId) -> PathBuf {
        self.dir.join(id.name())
    }

    pub fn suspend_reads(&self, on: bool) {
        *self.suspended.lock().unwrap() = on;
        self.resumed.notify_all();
    }

    pub fn hold_syncs(&self, on: bool) {
        *self.sync_hold.lock().unwrap() = on;
        self.sync_go.notify_all();
    }

    fn sync_unless(&self, file: FileId, go_on: &dyn Fn() -> bool) -> Result<(), StorageError> {
        let mut held = self.sync_hold.lock().unwrap();
        while *held {
            self.held_syncs.fetch_add(1, Ordering::SeqCst);
            held = self.sync_go.wait_timeout(held, LOOK).unwrap().0;
            self.held_syncs.fetch_sub(1, Ordering::SeqCst);
            if !go_on() {
                return Err(StorageError::GivenUp);
            }
        }
        drop(held);
        self.syncs.fetch_add(1, Ordering::SeqCst);
        if self.fail_sync.load(Ordering::SeqCst) {
            return Err(StorageError::Fenced("the mirror is lost".to_owned()));
        }
        self.file(file).sync_data().map_err(io)
    }
}

fn io(e: std::io::Error) -> StorageError {
    StorageError::Io(e.to_string())
}

impl Storage for FileStorage {
    fn read(&self, file: FileId, offset: u64, buf: &mut [u8]) -> Result<usize, StorageError> {
        self.file(file).read_at(buf, offset).map_err(io)
    }

    fn write(&self, file: FileId, offset: u64, data: &[u8]) -> Result<(), StorageError> {
        if self.disk_full.load(Ordering::SeqCst) {
            return Err(StorageError::Full);
        }
        if self.fenced.load(Ordering::SeqCst) {
            return Err(StorageError::Fenced("demoted".to_owned()));
        }
        self.file(file).write_all_at(data, offset).map_err(io)
    }

    fn truncate(&self, file: FileId, len: u64) -> Result<(), StorageError> {
        self.file(file).set_len(len).map_err(io)
    }

    fn sync(&self, file: FileId) -> Result<(), StorageError> {
        self.sync_unless(file, &|| true)
    }

    fn commit(&self) -> Position {
        Position(self.committed.fetch_add(1, Ordering::SeqCst) + 1)
    }

    fn position(&self) -> Position {
        Position(self.committed.load(Ordering::SeqCst))
    }

    fn durable(&self, position: Position, go_on: &dyn Fn() -> bool) -> Result<(), StorageError> {
        if self.durable.load(Ordering::SeqCst) < position.0 {
            self.sync_unless(FileId::Wal, go_on)?;
            self.durable.fetch_max(position.0, Ordering::SeqCst);
        }
        Ok(())
    }

    fn len(&self, file: FileId) -> Result<u64, StorageError> {
        Ok(self.file(file).metadata().map_err(io)?.len())
    }

    fn damaged(&self, file: FileId, block: u64) {
        self.damaged.lock().unwrap().push((file, block));
    }

    fn checkpoint(&self, running: bool) {
        self.checkpoints.lock().unwrap().push(running);
    }

    fn read_permit(&self, go_on: &dyn Fn() -> bool) -> Result<(), StorageError> {
        let mut suspended = self.suspended.lock().unwrap();
        while *suspended {
            if !go_on() {
                return Err(StorageError::GivenUp);
            }
            suspended = self.resumed.wait_timeout(suspended, LOOK).unwrap().0;
        }
        if self.fenced.load(Ordering::SeqCst) {
            return Err(StorageError::Fenced("demoted".to_owned()));
        }
        Ok(())
    }
}

/// A VFS name nobody else in this process has.
pub fn unique_name(prefix: &str) -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("{prefix}-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}
