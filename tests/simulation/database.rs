//! What stands for SQLite: a log with frames in the real layout, commits, checkpoints, a replay.
//!
//! Every commit writes page 1, which names the commit, the one before it, and the version of every page:
//! so a replay tells exactly which commit the files hold, and whether they hold it whole.

use segsh::core::track::{BLOCK_BYTES, FileId};
use segsh::core::wal::{FRAME_BYTES, FRAME_HEADER_BYTES, WAL_HEADER_BYTES, frame_offset};
use std::collections::BTreeMap;

const PAGE: usize = BLOCK_BYTES as usize;
pub const PAGES_MAX: usize = 20;
pub const PAGES_MIN: usize = 4;

/// One state of the database: which version each page has. The first is page 1's: the commit's number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    pub versions: Vec<u64>,
    pub parent: u64,
}

impl Content {
    pub fn first(pages: usize) -> Content {
        Content { versions: vec![0; pages], parent: 0 }
    }

    pub fn commit(&self) -> u64 {
        self.versions[0]
    }

    /// The bytes of a page, counted from 1.
    pub fn page(&self, number: usize) -> Vec<u8> {
        let version = self.versions[number - 1];
        let mut bytes = vec![(version as u8).wrapping_mul(31).wrapping_add(number as u8); PAGE];
        let mut words = vec![version, number as u64];
        if number == 1 {
            words.extend([self.parent, self.versions.len() as u64]);
            words.extend(&self.versions);
        }
        for (at, word) in words.iter().enumerate() {
            bytes[at * 8..at * 8 + 8].copy_from_slice(&word.to_be_bytes());
        }
        bytes
    }

    /// How a page begins.
    fn head(&self, number: usize) -> [u8; 16] {
        let mut head = [0; 16];
        head[..8].copy_from_slice(&self.versions[number - 1].to_be_bytes());
        head[8..].copy_from_slice(&(number as u64).to_be_bytes());
        head
    }

    fn of_root(page: &[u8]) -> Result<Content, String> {
        let word = |at: usize| {
            let bytes = page.get(at * 8..at * 8 + 8).ok_or("page 1 is cut short")?;
            Ok::<u64, String>(u64::from_be_bytes(bytes.try_into().expect("eight bytes")))
        };
        let pages = word(3)? as usize;
        if pages > PAGES_MAX || pages == 0 {
            return Err(format!("page 1 speaks of {pages} pages"));
        }
        let versions = (0..pages).map(|p| word(4 + p)).collect::<Result<Vec<_>, _>>()?;
        Ok(Content { versions, parent: word(2)? })
    }
}

/// What a process that has opened the database keeps in memory.
#[derive(Debug, Clone)]
pub struct Database {
    pub content: Content,
    /// The committed frame of each page that has one.
    pub index: BTreeMap<u32, u64>,
    /// Committed frames.
    pub frames: u64,
    /// Frames that are in the main file too.
    pub backfilled: u64,
    pub salt: u32,
    checksum: u32,
}

/// A write to a file.
#[derive(Debug, Clone)]
pub struct Write {
    pub file: FileId,
    pub offset: u64,
    pub bytes: Vec<u8>,
}

fn header(salt: u32) -> Vec<u8> {
    let mut bytes = vec![0; WAL_HEADER_BYTES as usize];
    bytes[..4].copy_from_slice(&0x377f_0683u32.to_be_bytes());
    bytes[8..12].copy_from_slice(&(BLOCK_BYTES as u32).to_be_bytes());
    bytes[16..20].copy_from_slice(&salt.to_be_bytes());
    let sum = crc32c::crc32c(&bytes[..24]);
    bytes[24..28].copy_from_slice(&sum.to_be_bytes());
    bytes
}

fn be32(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

/// How far a log was replayed: up to its last whole commit.
#[derive(Debug, Clone, Default)]
pub struct Replay {
    salt: u32,
    index: BTreeMap<u32, u64>,
    frames: u64,
    checksum: u32,
    /// The pages that the last commit says there are; `None` before the first.
    pages: Option<usize>,
}

impl Replay {
    /// Takes every frame up to the last whole commit, of a log whose bytes before `changed` are those that
    /// were replayed before.
    pub fn refresh(&mut self, log: &[u8], changed: usize) {
        if changed < frame_offset(self.frames) as usize {
            *self = Replay::default();
            let header_of = log.get(..WAL_HEADER_BYTES as usize).map(|bytes| (be32(bytes, 16), bytes));
            let Some((salt, _)) = header_of.filter(|(salt, bytes)| header(*salt)[..] == **bytes) else { return };
            (self.salt, self.checksum) = (salt, salt);
        }
        self.go_on(log);
    }

    fn go_on(&mut self, log: &[u8]) {
        let (mut sum, mut open) = (self.checksum, Vec::new());
        for frame in self.frames.. {
            let at = frame_offset(frame) as usize;
            let Some(bytes) = log.get(at..at + FRAME_BYTES as usize) else { break };
            sum = crc32c::crc32c_append(crc32c::crc32c_append(sum, &bytes[..8]), &bytes[FRAME_HEADER_BYTES as usize..]);
            if be32(bytes, 8) != self.salt || be32(bytes, 16) != sum {
                break;
            }
            open.push((be32(bytes, 0), frame));
            let size = be32(bytes, 4);
            if size > 0 {
                self.index.extend(open.drain(..));
                self.index.retain(|page, _| *page <= size);
                (self.frames, self.checksum, self.pages) = (frame + 1, sum, Some(size as usize));
            }
        }
    }
}

impl Database {
    /// Replays the log over the main file, and checks every page, or the head of each. An error is damage.
    pub fn open(main: &[u8], log: &[u8], whole: bool) -> Result<Database, String> {
        let mut replay = Replay::default();
        replay.refresh(log, 0);
        Database::of(&replay, main, log, whole)
    }

    /// The same, of a log that was replayed.
    pub fn of(replay: &Replay, main: &[u8], log: &[u8], whole: bool) -> Result<Database, String> {
        let mut database = Database {
            content: Content::first(1),
            index: replay.index.clone(),
            frames: replay.frames,
            backfilled: 0,
            salt: replay.salt,
            checksum: replay.checksum,
        };
        let pages = replay.pages.unwrap_or(main.len() / PAGE);
        let page = |number: usize| match database.index.get(&(number as u32)) {
            Some(frame) => {
                let from = (frame_offset(*frame) + FRAME_HEADER_BYTES) as usize;
                &log[from..from + PAGE]
            }
            None => &main[((number - 1) * PAGE).min(main.len())..(number * PAGE).min(main.len())],
        };
        let content = Content::of_root(page(1))?;
        if content.versions.len() != pages {
            return Err(format!("page 1 speaks of {} pages, the files of {pages}", content.versions.len()));
        }
        for number in 1..=pages {
            let same = if whole {
                page(number) == content.page(number)
            } else {
                page(number).get(..16) == Some(&content.head(number)[..])
            };
            if !same {
                let found = page(number).first_chunk::<8>().map(|v| u64::from_be_bytes(*v));
                let wanted = content.versions[number - 1];
                return Err(format!(
                    "page {number} holds version {found:?} of commit {}, not {wanted}",
                    content.commit()
                ));
            }
        }
        database.content = content;
        Ok(database)
    }

    /// The log may be begun anew: everything in it is in the main file.
    pub fn may_restart(&self) -> bool {
        self.frames == self.backfilled
    }

    /// The log is begun anew by this write, which is synced before any frame.
    pub fn restart(&mut self) -> Write {
        self.index.clear();
        (self.frames, self.backfilled) = (0, 0);
        self.salt = self.salt.wrapping_add(1);
        self.checksum = self.salt;
        Write { file: FileId::Wal, offset: 0, bytes: header(self.salt) }
    }

    /// The writes of a commit: for each page a frame's header, then the page. What it will be when they
    /// are synced.
    pub fn commit(&self, after: &Content, changed: &[usize]) -> (Vec<Write>, Database) {
        let mut next = self.clone();
        let mut writes = Vec::new();
        for (nth, number) in changed.iter().enumerate() {
            let page = after.page(*number);
            let size = if nth + 1 == changed.len() { after.versions.len() as u32 } else { 0 };
            let mut head = vec![0; FRAME_HEADER_BYTES as usize];
            head[..4].copy_from_slice(&(*number as u32).to_be_bytes());
            head[4..8].copy_from_slice(&size.to_be_bytes());
            head[8..12].copy_from_slice(&self.salt.to_be_bytes());
            next.checksum = crc32c::crc32c_append(crc32c::crc32c_append(next.checksum, &head[..8]), &page);
            head[16..20].copy_from_slice(&next.checksum.to_be_bytes());
            let offset = frame_offset(next.frames);
            writes.push(Write { file: FileId::Wal, offset, bytes: head });
            writes.push(Write { file: FileId::Wal, offset: offset + FRAME_HEADER_BYTES, bytes: page });
            next.index.insert(*number as u32, next.frames);
            next.frames += 1;
        }
        next.index.retain(|page, _| *page as usize <= after.versions.len());
        next.content = after.clone();
        (writes, next)
    }
}
