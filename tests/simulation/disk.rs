//! One data directory: for each file what is durable and what is still pending; records replaced whole.
//!
//! A process that is killed leaves what it wrote. A host that loses power keeps of the pending writes
//! any subset, each whole, not at all, or torn at a sector.

use crate::bytes::Bytes;
use crate::database::{Database, Replay};
use crate::random::Random;
use segsh::core::format::{Meta, TrackMap};
use segsh::core::pair::replica::Files;
use segsh::core::track::{BLOCK_BYTES, DirtyMap, FileId, Run};
use segsh::core::wal;
use std::cell::{Cell, RefCell};

const SECTOR: usize = 512;

#[derive(Debug, Clone)]
enum Pending {
    Write { offset: usize, bytes: Vec<u8> },
    SetLen(usize),
}

/// One file.
#[derive(Debug, Clone, Default)]
pub struct Image {
    /// What a process reads.
    pub current: Bytes,
    /// What certainly survives the host.
    pub durable: Bytes,
    pending: Vec<Pending>,
    /// The blocks that a pending write touches, and those touched since somebody last asked.
    unsettled: DirtyMap,
    touched: RefCell<DirtyMap>,
}

impl Image {
    fn lose_power(&mut self, random: &mut Random) {
        for pending in self.settle() {
            match pending {
                Pending::SetLen(len) if random.percent(50) => self.durable_len(len),
                Pending::SetLen(_) => {}
                Pending::Write { offset, bytes } => match random.below(3) {
                    0 => {}
                    1 => self.durable_put(offset, &bytes),
                    _ => {
                        // Torn at the device's sectors, not at the write's.
                        let mut at = 0;
                        while at < bytes.len() {
                            let end = bytes.len().min(at + SECTOR - (offset + at) % SECTOR);
                            if random.percent(50) {
                                self.durable_put(offset + at, &bytes[at..end]);
                            }
                            at = end;
                        }
                    }
                },
            }
        }
        self.touch(self.current.len(), self.durable.len());
        self.current = self.durable.clone();
    }

    /// Whether it is not settled what a block durably holds.
    pub fn is_unsettled(&self, block: u64) -> bool {
        self.unsettled.is_dirty(FileId::Main, block)
    }

    /// The blocks that were touched since this was last asked, as blocks of main.db whichever file this is.
    pub fn take_touched(&self) -> DirtyMap {
        self.touched.take()
    }

    fn touch(&mut self, one: usize, other: usize) {
        let run = Run::touching(FileId::Main, one.min(other) as u64, one.abs_diff(other) as u64);
        self.touched.get_mut().mark(run);
    }

    /// A write reaches the disk. One before it may not have, and leave a hole.
    fn durable_put(&mut self, offset: usize, bytes: &[u8]) {
        self.touch(self.durable.len().min(offset), offset + bytes.len());
        self.durable.put(offset, bytes);
    }

    fn durable_len(&mut self, len: usize) {
        self.touch(self.durable.len(), len);
        self.durable.set_len(len);
    }

    /// A write, or a new length, is on its way to the disk.
    fn pend(&mut self, pending: Pending, from: usize, to: usize) {
        let run = Run::touching(FileId::Main, from as u64, to.saturating_sub(from) as u64);
        self.touched.get_mut().mark(run);
        self.unsettled.mark(run);
        self.pending.push(pending);
    }

    /// Whatever was pending is settled, one way or the other.
    fn settle(&mut self) -> Vec<Pending> {
        self.touched.get_mut().union(&std::mem::take(&mut self.unsettled));
        std::mem::take(&mut self.pending)
    }
}

/// Why an operation did not happen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// The process was killed, or the host lost its power, right before it.
    Crash,
    Full,
    Io,
}

/// One data directory.
#[derive(Debug, Clone, Default)]
pub struct Disk {
    pub files: [Image; 2],
    pub meta: Option<Meta>,
    pub map: Option<TrackMap>,
    /// So many durable operations until whoever does them dies.
    pub crash_in: Option<u64>,
    /// So many until one fails.
    pub fail_in: Option<u64>,
    /// No room for a file to grow, or for a record.
    pub full: bool,
    /// The disk has hung since, until: in microseconds of the world.
    pub hung: Option<(u64, u64)>,
    /// Planted: the pages that the log names are not looked for.
    pub log_unread: Cell<bool>,
    /// The durable log, as far as it was replayed before.
    replayed: RefCell<Replay>,
}

impl Disk {
    pub fn file(&self, file: FileId) -> &Image {
        &self.files[usize::from(file.number())]
    }

    fn file_mut(&mut self, file: FileId) -> &mut Image {
        &mut self.files[usize::from(file.number())]
    }

    /// The database as a process would find it if the host lost its power now, and every pending write.
    pub fn durable(&self) -> Result<Database, String> {
        let log = &self.file(FileId::Wal).durable;
        let mut replayed = self.replayed.borrow_mut();
        replayed.refresh(log, log.take_changed());
        Database::of(&replayed, &self.file(FileId::Main).durable, log, false)
    }

    fn fuse(&mut self) -> Result<(), Trouble> {
        for (fuse, trouble) in [(&mut self.crash_in, Trouble::Crash), (&mut self.fail_in, Trouble::Io)] {
            match fuse {
                Some(0) => {
                    *fuse = None;
                    return Err(trouble);
                }
                Some(left) => *left -= 1,
                None => {}
            }
        }
        Ok(())
    }

    pub fn write(&mut self, file: FileId, offset: u64, bytes: &[u8]) -> Result<(), Trouble> {
        self.fuse()?;
        let (full, image, offset) = (self.full, self.file_mut(file), offset as usize);
        let room = if full { image.current.len().saturating_sub(offset).min(bytes.len()) } else { bytes.len() };
        // A full disk takes what needs no new room: a short write.
        image.current.put(offset, &bytes[..room]);
        image.pend(Pending::Write { offset, bytes: bytes[..room].to_vec() }, offset, offset + room);
        if room < bytes.len() { Err(Trouble::Full) } else { Ok(()) }
    }

    pub fn set_len(&mut self, file: FileId, len: u64) -> Result<(), Trouble> {
        self.fuse()?;
        let image = self.file_mut(file);
        let (old, len) = (image.current.len(), len as usize);
        if old != len {
            image.current.set_len(len);
            image.touch(old, len);
            image.pend(Pending::SetLen(len), len, old.max(image.durable.len()));
        }
        Ok(())
    }

    pub fn sync(&mut self, file: FileId) -> Result<(), Trouble> {
        self.fuse()?;
        let image = self.file_mut(file);
        for pending in image.settle() {
            match pending {
                Pending::Write { offset, bytes } => image.durable_put(offset, &bytes),
                Pending::SetLen(len) => image.durable_len(len),
            }
        }
        Ok(())
    }

    pub fn save_meta(&mut self, meta: Meta) -> Result<(), Trouble> {
        self.record(|disk| disk.meta = Some(meta))
    }

    pub fn save_map(&mut self, map: TrackMap) -> Result<(), Trouble> {
        self.record(|disk| disk.map = Some(map))
    }

    /// A record is replaced whole: whoever dies at it leaves the old one or the new one.
    fn record(&mut self, replace: impl FnOnce(&mut Disk)) -> Result<(), Trouble> {
        if self.full {
            return Err(Trouble::Full);
        }
        let dies = self.crash_in.is_some_and(|left| left % 2 == 1);
        match self.fuse() {
            Err(Trouble::Crash) if dies => {
                replace(self);
                Err(Trouble::Crash)
            }
            Err(trouble) => Err(trouble),
            Ok(()) => {
                replace(self);
                Ok(())
            }
        }
    }

    pub fn read(&self, file: FileId, offset: u64, len: usize) -> Vec<u8> {
        let bytes = &self.file(file).current;
        let from = (offset as usize).min(bytes.len());
        bytes[from..(from + len).min(bytes.len())].to_vec()
    }

    /// What the log names, as a process reads it.
    pub fn pages_named_now(&self) -> DirtyMap {
        pages_named(&self.file(FileId::Wal).current, self.file(FileId::Main).current.len() as u64)
    }

    /// The host loses its power.
    pub fn lose_power(&mut self, random: &mut Random) {
        self.files.iter_mut().for_each(|f| f.lose_power(random));
        self.heal();
    }

    /// Nothing is wrong with the disk any more.
    pub fn heal(&mut self) {
        (self.crash_in, self.fail_in, self.full, self.hung) = (None, None, false, None);
    }
}

/// The real scan of the log, over any image of it.
pub fn pages_named(log: &[u8], main_len: u64) -> DirtyMap {
    let header = &log[..log.len().min(wal::WAL_HEADER_BYTES as usize)];
    let mut pages = wal::NamedPages::begin(header, main_len.div_ceil(BLOCK_BYTES));
    for frame in 0..wal::frames_in(log.len() as u64) {
        let at = (wal::frame_offset(frame) as usize).min(log.len());
        let end = (at + wal::FRAME_HEADER_BYTES as usize).min(log.len());
        pages.frame(&log[at..end]);
    }
    pages.end()
}

impl Files for Disk {
    fn len(&self, file: FileId) -> Result<u64, String> {
        Ok(self.file(file).current.len() as u64)
    }

    fn pages_named_by_log(&self) -> Result<DirtyMap, String> {
        if self.log_unread.get() {
            return Ok(DirtyMap::default());
        }
        Ok(self.pages_named_now())
    }

    fn map(&self) -> Result<TrackMap, String> {
        self.map.clone().ok_or_else(|| "there is no track.map".into())
    }
}
