//! One open file of one connection, in safe Rust; `methods` puts SQLite's C interface around it.
//!
//! Every function returns SQLite's result code.

use super::checksum::{PAGE_SIZE, seal_page, verify_page};
use super::fault::{FileFault, remember};
use super::node::{Level, Node, ShmMask};
use super::owed;
use super::shm::Mapped;
use crate::core::wal;
use crate::engine::storage::{FileId, Storage};
use rusqlite::ffi;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

/// Bytes of the log's own header; writing it is how SQLite starts the log anew.
const LOG_HEADER: u64 = 32;
/// Bytes of the header of each of its frames, which SQLite writes by itself, before the frame's page.
const FRAME_HEADER: usize = 24;

/// Whether this is the header of a frame that ends a commit: that one says how many pages the database
/// has then. `None` for what is no header of a frame.
fn is_of_commit(data: &[u8]) -> Option<bool> {
    let pages = data.get(4..8).filter(|_| data.len() == FRAME_HEADER)?;
    Some(pages.iter().any(|byte| *byte != 0))
}

/// Where a checkpoint of this connection stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Checkpoint {
    None,
    Copying,
    /// SQLite said done; the truncation and the sync that end a complete one follow that call.
    Ending,
}

pub(super) struct OpenFile {
    id: FileId,
    storage: Arc<dyn Storage>,
    node: Arc<Node>,
    level: Level,
    mask: ShmMask,
    mapped: bool,
    checkpoint: Checkpoint,
    /// Of the log: the last header of a frame that was written since the last sync, and everything after
    /// it, is that of a commit.
    commit_written: bool,
}

impl OpenFile {
    pub(super) fn new(id: FileId, storage: Arc<dyn Storage>, node: Arc<Node>) -> OpenFile {
        OpenFile {
            id,
            storage,
            node,
            level: Level::None,
            mask: ShmMask::default(),
            mapped: false,
            checkpoint: Checkpoint::None,
            commit_written: false,
        }
    }

    pub(super) fn read(&self, buf: &mut [u8], offset: u64) -> i32 {
        let mut have = 0;
        while have < buf.len() {
            match self.storage.read(self.id, offset + have as u64, &mut buf[have..]) {
                Ok(0) => break,
                Ok(n) => have += n,
                Err(e) => return remember(e, ffi::SQLITE_IOERR_READ),
            }
        }
        if have < buf.len() {
            buf[have..].fill(0);
            return ffi::SQLITE_IOERR_SHORT_READ;
        }
        match self.whole_page(buf.len(), offset) {
            Some(page) if verify_page(page, buf).is_err() => {
                let block = offset / PAGE_SIZE as u64;
                self.node.note_damage(FileId::Main, block);
                remember(FileFault::Damage(FileId::Main, block), ffi::SQLITE_IOERR_DATA)
            }
            _ => match self.frame_of(buf.len(), offset) {
                Some(frame) => self.check_frame(frame, buf),
                None => ffi::SQLITE_OK,
            },
        }
    }

    /// The frame of the log, when exactly its page is meant: that is how SQLite reads a page for a statement,
    /// and for a checkpoint that is about to write it into `main.db`.
    fn frame_of(&self, len: usize, offset: u64) -> Option<u64> {
        if self.id != FileId::Wal {
            return None;
        }
        wal::frame_of_page(offset, len as u64)
    }

    /// A page of the log is what was written there, or it goes nowhere: SQLite checks a frame when the log is
    /// recovered and never again, and `main.db` would get the page under a new checksum.
    fn check_frame(&self, frame: u64, page: &mut [u8]) -> i32 {
        if self.frame_holds(frame, page) {
            return ffi::SQLITE_OK;
        }
        // A transaction rewrites frames of its own in place, and their checksums only when it commits.
        match self.node.is_committed(frame) {
            Some(false) => return ffi::SQLITE_OK,
            Some(true) => {}
            None => return remember(FileFault::Damage(FileId::Wal, block_of(frame)), ffi::SQLITE_IOERR_DATA),
        }
        // Once more: what is committed does not change, so a second look can only clear it.
        let again = self.storage.read(self.id, wal::frame_offset(frame) + wal::FRAME_HEADER_BYTES, page);
        if again.is_ok_and(|read| read == page.len()) && self.frame_holds(frame, page) {
            return ffi::SQLITE_OK;
        }
        let block = block_of(frame);
        if self.node.note_damage(FileId::Wal, block) {
            self.storage.damaged(FileId::Wal, block);
        }
        remember(FileFault::Damage(FileId::Wal, block), ffi::SQLITE_IOERR_DATA)
    }

    fn frame_holds(&self, frame: u64, page: &[u8]) -> bool {
        let (mut before, mut header) = ([0; 8], [0; wal::FRAME_HEADER_BYTES as usize]);
        let whole = |offset: u64, buf: &mut [u8]| {
            let len = buf.len();
            self.storage.read(self.id, offset, buf).is_ok_and(|read| read == len)
        };
        whole(wal::sum_before(frame), &mut before)
            && whole(wal::frame_offset(frame), &mut header)
            && wal::frame_holds(&before, &header, page)
    }

    /// The page number, when exactly one page of `main.db` is meant.
    fn whole_page(&self, len: usize, offset: u64) -> Option<u32> {
        let page = PAGE_SIZE as u64;
        if self.id != FileId::Main || len != PAGE_SIZE || !offset.is_multiple_of(page) {
            return None;
        }
        u32::try_from(offset / page + 1).ok()
    }

    pub(super) fn write(&mut self, data: &[u8], offset: u64) -> i32 {
        let written = match self.id {
            FileId::Main => self.write_page(data, offset),
            FileId::Wal => self.write_log(data, offset),
        };
        match written {
            Ok(()) => ffi::SQLITE_OK,
            Err(fault) => remember(fault, ffi::SQLITE_IOERR_WRITE),
        }
    }

    fn write_page(&self, data: &[u8], offset: u64) -> Result<(), FileFault> {
        let (Some(number), Ok(mut page)) = (self.whole_page(data.len(), offset), <[u8; PAGE_SIZE]>::try_from(data))
        else {
            // In WAL mode SQLite writes whole pages only; anything else would break a checksum.
            return Err(FileFault::Misuse(format!(
                "a write of {} bytes at {offset} of main.db is not a page",
                data.len()
            )));
        };
        // The buffer is SQLite's own and shared with its cache, so the copy gets the checksum.
        seal_page(number, &mut page);
        Ok(self.storage.write(self.id, offset, &page)?)
    }

    fn write_log(&mut self, data: &[u8], offset: u64) -> Result<(), FileFault> {
        let commit_written = std::mem::take(&mut self.commit_written);
        let end = offset + data.len() as u64;
        let cap = self.node.log_cap.load(Ordering::Relaxed);
        if end > cap {
            return Err(FileFault::LogCap(cap));
        }
        self.storage.write(self.id, offset, data)?;
        let anew = offset == 0 && end == LOG_HEADER;
        self.commit_written = !anew && is_of_commit(data).unwrap_or(commit_written);
        if anew || end > self.node.log_end() {
            self.node.set_log_end(end);
        }
        Ok(())
    }

    pub(super) fn truncate(&self, len: u64) -> i32 {
        match self.storage.truncate(self.id, len) {
            Ok(()) => {
                if self.id == FileId::Wal {
                    self.node.set_log_end(self.node.log_end().min(len));
                }
                ffi::SQLITE_OK
            }
            Err(e) => remember(e, ffi::SQLITE_IOERR_TRUNCATE),
        }
    }

    /// Waits for the barrier, except for the sync that ends a commit on a thread that owes the wait.
    ///
    /// That is the one right after a commit's last frame. The other two syncs of the log come after
    /// something else, and are never put off: that of a new log's header, because frames that a crash
    /// keeps without it would be read as the former log's; and that of a checkpoint, because `main.db` is
    /// written next, and then the log begins anew.
    ///
    /// Here a commit waits while commits are held, with its frames written and seen by nobody.
    pub(super) fn sync(&mut self) -> i32 {
        let ends_commit = std::mem::take(&mut self.commit_written);
        if ends_commit {
            self.node.commits.pass();
        }
        if ends_commit && owed::is_owing() {
            owed::owe(self.storage.commit());
            return ffi::SQLITE_OK;
        }
        let synced = self.storage.sync(self.id);
        self.end_checkpoint();
        match synced {
            Ok(()) => ffi::SQLITE_OK,
            Err(e) => remember(e, ffi::SQLITE_IOERR_FSYNC),
        }
    }

    pub(super) fn size(&self) -> Result<u64, i32> {
        self.storage.len(self.id).map_err(|e| remember(e, ffi::SQLITE_IOERR_FSTAT))
    }

    pub(super) fn lock(&mut self, want: Level) -> i32 {
        if self.node.lock(&mut self.level, want) { ffi::SQLITE_OK } else { ffi::SQLITE_BUSY }
    }

    pub(super) fn unlock(&mut self, want: Level) {
        self.node.unlock(&mut self.level, want);
    }

    pub(super) fn is_reserved(&self) -> bool {
        self.node.is_reserved()
    }

    pub(super) fn checkpoint_starts(&mut self) {
        self.end_checkpoint();
        self.checkpoint = Checkpoint::Copying;
        self.storage.checkpoint(true);
    }

    pub(super) fn checkpoint_done(&mut self) {
        if self.checkpoint == Checkpoint::Copying {
            self.checkpoint = Checkpoint::Ending;
        }
    }

    /// Tells the storage that the checkpoint is over. SQLite truncates and syncs `main.db` only
    /// after it said "done", so that is told after the sync; a partial checkpoint has none, and is
    /// over when SQLite gives back its lock.
    fn end_checkpoint(&mut self) {
        if self.id == FileId::Main && self.checkpoint == Checkpoint::Ending {
            self.checkpoint = Checkpoint::None;
            self.storage.checkpoint(false);
        }
    }

    pub(super) fn shm_map(&mut self, index: usize, size: usize, extend: bool) -> Mapped {
        let mut regions = self.node.regions.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.mapped {
            self.mapped = true;
            regions.attach();
        }
        regions.map(index, size, extend)
    }

    pub(super) fn shm_unmap(&mut self) {
        if self.mapped {
            self.mapped = false;
            self.node.regions.lock().unwrap_or_else(PoisonError::into_inner).detach();
        }
    }

    pub(super) fn shm_lock(&mut self, first: usize, count: usize, exclusive: bool) -> i32 {
        if self.node.shm_lock(&mut self.mask, first, count, exclusive) { ffi::SQLITE_OK } else { ffi::SQLITE_BUSY }
    }

    pub(super) fn shm_unlock(&mut self, first: usize, count: usize, exclusive: bool) {
        self.end_checkpoint();
        self.node.shm_unlock(&mut self.mask, first, count, exclusive);
    }

    pub(super) fn shm_barrier(&self) {
        self.node.shm_barrier();
    }

    /// Whether this connection's read transaction reads the log; `None` when it has none.
    pub(super) fn reads_log(&self) -> Option<bool> {
        self.mask.reads_log()
    }

    pub(super) fn poison(&self) {
        self.node.poisoned.store(true, Ordering::Release);
    }

    pub(super) fn is_poisoned(&self) -> bool {
        self.node.poisoned.load(Ordering::Acquire)
    }
}

/// The block of the log in which a frame begins.
fn block_of(frame: u64) -> u64 {
    wal::frame_offset(frame) / PAGE_SIZE as u64
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        if self.checkpoint != Checkpoint::None {
            self.checkpoint = Checkpoint::Ending;
            self.end_checkpoint();
        }
        self.shm_unmap();
        self.node.shm_unlock(&mut self.mask, 0, super::node::SHM_SLOTS, true);
        self.node.shm_unlock(&mut self.mask, 0, super::node::SHM_SLOTS, false);
        self.node.unlock(&mut self.level, Level::None);
    }
}
