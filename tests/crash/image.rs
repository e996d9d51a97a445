//! The two files as bytes, and one operation on them.

use segsh::engine::storage::FileId;
use std::sync::Arc;

/// What a disk writes whole or not at all, in bytes.
pub const SECTOR: usize = 512;

/// One operation that SQLite asked of the storage.
#[derive(Debug, Clone)]
pub enum Op {
    Write { file: FileId, offset: u64, data: Arc<[u8]> },
    Truncate { file: FileId, len: u64 },
    Sync { file: FileId },
}

impl Op {
    pub fn file(&self) -> FileId {
        match self {
            Op::Write { file, .. } | Op::Truncate { file, .. } | Op::Sync { file } => *file,
        }
    }

    /// The operation in words, for a failure.
    pub fn describe(&self) -> String {
        match self {
            Op::Write { file, offset, data } => format!("write of {} bytes at {offset} of {}", data.len(), file.name()),
            Op::Truncate { file, len } => format!("truncation of {} to {len}", file.name()),
            Op::Sync { file } => format!("sync of {}", file.name()),
        }
    }
}

/// The content of `main.db` and its log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Image {
    files: [Vec<u8>; 2],
}

impl Image {
    pub fn file(&self, file: FileId) -> &Vec<u8> {
        &self.files[usize::from(file.number())]
    }

    pub fn file_mut(&mut self, file: FileId) -> &mut Vec<u8> {
        &mut self.files[usize::from(file.number())]
    }

    pub fn read(&self, file: FileId, offset: u64, buf: &mut [u8]) -> usize {
        let from = usize::try_from(offset).ok().and_then(|at| self.file(file).get(at..)).unwrap_or_default();
        let n = from.len().min(buf.len());
        buf[..n].copy_from_slice(&from[..n]);
        n
    }

    pub fn write(&mut self, file: FileId, offset: u64, data: &[u8]) {
        let at = usize::try_from(offset).expect("an offset in memory");
        let bytes = self.file_mut(file);
        if bytes.len() < at + data.len() {
            bytes.resize(at + data.len(), 0);
        }
        bytes[at..at + data.len()].copy_from_slice(data);
    }

    /// Applies an operation whole.
    pub fn apply(&mut self, op: &Op) {
        match op {
            Op::Write { file, offset, data } => self.write(*file, *offset, data),
            Op::Truncate { file, len } => self.file_mut(*file).resize(usize::try_from(*len).expect("a length"), 0),
            Op::Sync { .. } => {}
        }
    }

    /// Applies those sectors of a write for which `keep` says so; anything else is applied whole.
    pub fn apply_torn(&mut self, op: &Op, mut keep: impl FnMut() -> bool) {
        let Op::Write { file, offset, data } = op else { return self.apply(op) };
        let mut from = 0;
        while from < data.len() {
            let at = usize::try_from(*offset).expect("an offset in memory") + from;
            let until = data.len().min(from + SECTOR - at % SECTOR);
            if keep() {
                self.write(*file, at as u64, &data[from..until]);
            }
            from = until;
        }
    }

    /// Stands for the content: images that are equal are checked once.
    pub fn digest(&self) -> [u8; 32] {
        let mut context = ring::digest::Context::new(&ring::digest::SHA256);
        for file in &self.files {
            context.update(&(file.len() as u64).to_le_bytes());
            context.update(file);
        }
        context.finish().as_ref().try_into().expect("32 bytes")
    }
}

#[test]
fn a_torn_write_keeps_whole_sectors_of_the_disk_only() {
    let old = Op::Write { file: FileId::Wal, offset: 0, data: vec![1; 2000].into() };
    let new = Op::Write { file: FileId::Wal, offset: 500, data: vec![2; 1000].into() };
    let mut image = Image::default();
    image.apply(&old);
    let mut turn = false;
    image.apply_torn(&new, || {
        turn = !turn;
        !turn
    });
    let runs = [(0..512, 1), (512..1024, 2), (1024..2000, 1)];
    for (range, value) in runs {
        assert!(image.file(FileId::Wal)[range.clone()].iter().all(|b| *b == value), "{range:?}");
    }
}
