//! Change tracking: which blocks of which file differ from the mirror.
//!
//! One bit per 4 KiB block. Marking is always safe; a missing mark is data loss. So marks are only
//! removed by somebody who knows that both copies hold the block.

/// The unit of change tracking and of copying, in bytes.
pub const BLOCK_BYTES: u64 = 4096;
/// The longest replicated file, in bytes: the map of a longer one would not fit its own file.
pub const FILE_BYTES_MAX: u64 = 1 << 40;

/// The replicated files of a data directory. There are no others: the rollback journal is refused,
/// temporary files live in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FileId {
    /// `main.db`
    Main,
    /// `main.db-wal`
    Wal,
}

impl FileId {
    pub const ALL: [FileId; 2] = [FileId::Main, FileId::Wal];

    /// The name under the data directory.
    pub fn name(self) -> &'static str {
        match self {
            FileId::Main => "main.db",
            FileId::Wal => "main.db-wal",
        }
    }

    /// The number that stands for the file in frames and maps.
    pub fn number(self) -> u8 {
        self as u8
    }

    pub fn from_number(number: u8) -> Option<FileId> {
        FileId::ALL.into_iter().find(|f| f.number() == number)
    }
}

/// A run of blocks of one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Run {
    pub file: FileId,
    pub first: u64,
    pub count: u64,
}

impl Run {
    /// The blocks that a byte range touches.
    pub fn touching(file: FileId, offset: u64, len: u64) -> Run {
        let first = offset / BLOCK_BYTES;
        let end = (offset + len).div_ceil(BLOCK_BYTES);
        Run { file, first, count: end - first }
    }

    pub fn end(self) -> u64 {
        self.first + self.count
    }
}

/// The blocks of one file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
struct Blocks {
    words: Vec<u64>,
    count: u64,
}

impl Blocks {
    /// Sets a run word by word: a file of a terabyte has 2^28 blocks.
    fn set_run(&mut self, first: u64, end: u64) {
        if first >= end {
            return;
        }
        let at = |block: u64| usize::try_from(block / 64).expect("a file of 2^64 blocks can't exist");
        let (low, high) = (at(first), at(end - 1));
        if high >= self.words.len() {
            self.words.resize(high + 1, 0);
        }
        for (number, word) in self.words[low..=high].iter_mut().enumerate() {
            let mut bits = u64::MAX;
            if number == 0 {
                bits &= u64::MAX << (first % 64);
            }
            if number == high - low {
                bits &= u64::MAX >> (63 - (end - 1) % 64);
            }
            self.count += u64::from((bits & !*word).count_ones());
            *word |= bits;
        }
    }

    fn unset(&mut self, block: u64) -> bool {
        let Some(word) = usize::try_from(block / 64).ok().and_then(|w| self.words.get_mut(w)) else {
            return false;
        };
        let bit = 1 << (block % 64);
        let was = *word & bit != 0;
        *word &= !bit;
        self.count -= u64::from(was);
        was
    }

    fn get(&self, block: u64) -> bool {
        usize::try_from(block / 64).ok().and_then(|w| self.words.get(w)).is_some_and(|w| w & (1 << (block % 64)) != 0)
    }

    fn next_set(&self, from: u64) -> Option<u64> {
        let mut word = usize::try_from(from / 64).ok()?;
        let mut bits = self.words.get(word)? & (u64::MAX << (from % 64));
        while bits == 0 {
            word += 1;
            bits = *self.words.get(word)?;
        }
        Some(word as u64 * 64 + u64::from(bits.trailing_zeros()))
    }
}

/// The blocks of all files that differ, or may differ, from the mirror.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct DirtyMap {
    files: [Blocks; 2],
}

impl DirtyMap {
    fn blocks(&self, file: FileId) -> &Blocks {
        &self.files[usize::from(file.number())]
    }

    fn blocks_mut(&mut self, file: FileId) -> &mut Blocks {
        &mut self.files[usize::from(file.number())]
    }

    pub fn mark(&mut self, run: Run) {
        self.blocks_mut(run.file).set_run(run.first, run.end());
    }

    /// Marks every block of a file that is `len` bytes long.
    pub fn mark_whole(&mut self, file: FileId, len: u64) {
        self.mark(Run::touching(file, 0, len));
    }

    /// Unmarks what lies wholly beyond a file of `len` bytes; the run says where marks were.
    pub fn cut(&mut self, file: FileId, len: u64) -> Option<Run> {
        let blocks = self.blocks_mut(file);
        let first = blocks.next_set(len.div_ceil(BLOCK_BYTES))?;
        let mut end = first;
        while let Some(block) = blocks.next_set(end) {
            blocks.unset(block);
            end = block + 1;
        }
        Some(Run { file, first, count: end - first })
    }

    /// Unmarks a block; says whether it was marked.
    pub fn clear(&mut self, file: FileId, block: u64) -> bool {
        self.blocks_mut(file).unset(block)
    }

    pub fn is_dirty(&self, file: FileId, block: u64) -> bool {
        self.blocks(file).get(block)
    }

    /// Marked blocks of all files.
    pub fn count(&self) -> u64 {
        self.files.iter().map(|f| f.count).sum()
    }

    pub fn count_of(&self, file: FileId) -> u64 {
        self.blocks(file).count
    }

    /// The first run of marked blocks, at most `max` of them; `main.db` comes before the log.
    pub fn first_run(&self, max: u64) -> Option<Run> {
        FileId::ALL.into_iter().find_map(|file| self.next_run(file, 0, max))
    }

    /// The first run of marked blocks of a file at or after `from`, at most `max` of them.
    pub fn next_run(&self, file: FileId, from: u64, max: u64) -> Option<Run> {
        let first = self.blocks(file).next_set(from)?;
        let count = (first..first + max).take_while(|b| self.is_dirty(file, *b)).count() as u64;
        Some(Run { file, first, count })
    }

    /// Every run, for the wire and for tests.
    pub fn runs(&self) -> Vec<Run> {
        let mut runs = Vec::new();
        for file in FileId::ALL {
            let mut from = 0;
            while let Some(run) = self.next_run(file, from, u64::MAX >> 13) {
                from = run.end();
                runs.push(run);
            }
        }
        runs
    }

    pub fn union(&mut self, other: &DirtyMap) {
        other.runs().into_iter().for_each(|run| self.mark(run));
    }

    /// The bits of a file as little-endian words, for the map's file.
    pub fn words(&self, file: FileId) -> &[u64] {
        &self.blocks(file).words
    }

    pub fn set_words(&mut self, file: FileId, words: Vec<u64>) {
        let count = words.iter().map(|w| u64::from(w.count_ones())).sum();
        *self.blocks_mut(file) = Blocks { words, count };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn a_map_holds_exactly_the_marked_and_not_cleared_blocks(
            steps in proptest::collection::vec((any::<bool>(), 0u64..400, 1u64..90), 1..60)
        ) {
            let mut map = DirtyMap::default();
            let mut model = BTreeSet::new();
            for (mark, first, count) in steps {
                for block in first..first + count {
                    if mark { model.insert(block); } else { prop_assert_eq!(map.clear(FileId::Main, block), model.remove(&block)); }
                }
                if mark { map.mark(Run { file: FileId::Main, first, count }); }
                prop_assert_eq!(map.count(), model.len() as u64);
            }
            let listed: Vec<u64> = map.runs().iter().flat_map(|r| r.first..r.end()).collect();
            prop_assert_eq!(listed, model.into_iter().collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_byte_range_touches_every_block_it_overlaps() {
        assert_eq!(Run::touching(FileId::Wal, 4095, 2), Run { file: FileId::Wal, first: 0, count: 2 });
        assert_eq!(Run::touching(FileId::Wal, 4096, 4096), Run { file: FileId::Wal, first: 1, count: 1 });
        assert_eq!(Run::touching(FileId::Wal, 0, 0).count, 0);
    }
}
