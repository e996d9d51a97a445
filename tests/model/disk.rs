//! A data directory of three blocks: two of `main.db`, one of its log, a byte each.

use segsh::core::format::{Meta, TrackMap};
use segsh::core::pair::replica::Files;
use segsh::core::track::{BLOCK_BYTES, DirtyMap, FileId, Run};

/// Blocks of `main.db`.
pub const BLOCKS: usize = 2;

/// The commits that change a block: even ones the first, odd ones the second.
const COMMITS_OF: [u8; BLOCKS] = [0b0101, 0b1010];

/// The bit of a commit.
pub fn bit(commit: u8) -> u8 {
    1 << commit
}

/// What the files hold. A block of `main.db` is the set of commits whose page it is. The log is the set of
/// commits whose frames are valid, and above it the blocks that any frame names, valid or left over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Content {
    pub main: [u8; BLOCKS],
    pub log: u8,
}

impl Content {
    fn valid(self) -> u8 {
        self.log & 0b1111
    }

    /// Whether the log has a valid frame of a block.
    pub fn logged(self, block: usize) -> bool {
        self.valid() & COMMITS_OF[block] != 0
    }

    pub fn named(self, block: usize) -> bool {
        self.log & (0b1_0000 << block) != 0
    }

    /// The page that SQLite reads.
    pub fn page(self, block: usize) -> u8 {
        if self.logged(block) { self.valid() & COMMITS_OF[block] } else { self.main[block] }
    }

    /// Every commit that SQLite would show.
    pub fn commits(self) -> u8 {
        (0..BLOCKS).fold(0, |all, block| all | self.page(block))
    }

    /// The log after one more frame, at its end or, when it `restarts`, over what it held.
    pub fn log_with(self, commit: u8, restarts: bool) -> u8 {
        let block = usize::from(commit) % BLOCKS;
        let frame = self.page(block) | bit(commit) | (0b1_0000 << block);
        if restarts { frame } else { self.log & !COMMITS_OF[block] | frame }
    }

    /// A block of a file, by its place.
    pub fn block(self, file: FileId, block: u64) -> u8 {
        match file {
            FileId::Main => self.main[block as usize],
            FileId::Wal => self.log,
        }
    }

    fn set(&mut self, file: FileId, block: u64, byte: u8) {
        match file {
            FileId::Main => self.main[block as usize] = byte,
            FileId::Wal => self.log = byte,
        }
    }
}

/// Every block of every file.
pub const EVERY_BLOCK: [(FileId, u64); BLOCKS + 1] = [(FileId::Main, 0), (FileId::Main, 1), (FileId::Wal, 0)];

/// The directory: the files as they are read, the files as a power loss leaves them, and the records.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Disk {
    pub now: Content,
    pub durable: Content,
    pub meta: Meta,
    pub map: Option<TrackMap>,
}

impl Disk {
    /// Bytes from a place on, one for each block.
    pub fn write(&mut self, file: FileId, offset: u64, bytes: &[u8]) {
        for (block, byte) in (offset / BLOCK_BYTES..).zip(bytes) {
            self.now.set(file, block, *byte);
        }
    }

    pub fn sync(&mut self, file: FileId) {
        match file {
            FileId::Main => self.durable.main = self.now.main,
            FileId::Wal => self.durable.log = self.now.log,
        }
    }

    /// What was never synced is gone.
    pub fn lose_power(&mut self) {
        self.now = self.durable;
    }
}

impl Files for Disk {
    fn len(&self, file: FileId) -> Result<u64, String> {
        Ok(match file {
            FileId::Main => BLOCKS as u64 * BLOCK_BYTES,
            FileId::Wal => BLOCK_BYTES,
        })
    }

    fn pages_named_by_log(&self) -> Result<DirtyMap, String> {
        let mut map = DirtyMap::default();
        (0..BLOCKS).filter(|block| self.now.named(*block)).for_each(|block| {
            map.mark(Run { file: FileId::Main, first: block as u64, count: 1 });
        });
        Ok(map)
    }

    fn map(&self) -> Result<TrackMap, String> {
        self.map.clone().ok_or_else(|| "there is no map".into())
    }
}
