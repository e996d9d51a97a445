//! The bytes of a file, which can be compared with others block by block without looking at all of them.

use segsh::core::track::BLOCK_BYTES;
use std::cell::Cell;
use std::ops::{Deref, Range};

const BLOCK: usize = BLOCK_BYTES as usize;
const ZEROS: [u8; BLOCK] = [0; BLOCK];

/// A file's bytes.
#[derive(Debug, Clone, Default)]
pub struct Bytes {
    bytes: Vec<u8>,
    /// A checksum of each block, made when it is first asked for after a change; 0 before that.
    sums: Vec<Cell<u32>>,
    /// Nothing before this was changed since it was last taken.
    changed: Cell<usize>,
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl PartialEq for Bytes {
    fn eq(&self, other: &Bytes) -> bool {
        self.len() == other.len() && (0..self.sums.len()).all(|block| self.sum(block) == other.sum(block))
    }
}

impl Bytes {
    pub fn put(&mut self, offset: usize, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let (old, end) = (self.len(), offset + bytes.len());
        if old < offset {
            self.grow(offset);
        }
        let over = self.len().min(end) - offset;
        self.bytes[offset..offset + over].copy_from_slice(&bytes[..over]);
        self.bytes.extend_from_slice(&bytes[over..]);
        self.touched(offset.min(old)..end);
    }

    pub fn set_len(&mut self, len: usize) {
        let old = self.len();
        self.bytes.truncate(len);
        self.grow(len);
        self.touched(old.min(len).saturating_sub(1)..len);
    }

    fn grow(&mut self, len: usize) {
        while self.bytes.len() < len {
            let more = (len - self.bytes.len()).min(BLOCK);
            self.bytes.extend_from_slice(&ZEROS[..more]);
        }
    }

    fn touched(&mut self, range: Range<usize>) {
        self.changed.set(self.changed.get().min(range.start));
        self.sums.truncate(self.bytes.len().div_ceil(BLOCK));
        for block in range.start / BLOCK..self.bytes.len().min(range.end).div_ceil(BLOCK) {
            match self.sums.get(block) {
                Some(sum) => sum.set(0),
                None => self.sums.push(Cell::default()),
            }
        }
    }

    /// Everything before this is as it was when this was last asked.
    pub fn take_changed(&self) -> usize {
        self.changed.replace(usize::MAX)
    }

    /// One block, cut at the file's end.
    fn block(&self, number: usize) -> &[u8] {
        let from = (number * BLOCK).min(self.len());
        &self.bytes[from..(from + BLOCK).min(self.len())]
    }

    fn sum(&self, block: usize) -> u32 {
        let Some(known) = self.sums.get(block) else { return 0 };
        if known.get() == 0 {
            known.set(crc32c::crc32c(self.block(block)));
        }
        known.get()
    }

    /// Whether another file holds in this block what this one does, and perhaps more behind it.
    pub fn same_block(&self, other: &Bytes, block: u64) -> bool {
        let block = block as usize;
        let (mine, theirs) = (self.block(block), other.block(block));
        if mine.len() == theirs.len() {
            return mine.is_empty() || self.sum(block) == other.sum(block);
        }
        theirs.get(..mine.len()) == Some(mine)
    }
}
