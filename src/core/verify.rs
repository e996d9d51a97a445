//! The comparison of two copies: which chunk is next, what is asked of the mirror, and what differs.
//!
//! The request for a chunk's hashes is a frame in the one ordered stream of the link, and the primary
//! reads its own bytes at the moment the request takes its place there. So the mirror hashes exactly
//! what it holds after the same writes: no block in flight is ever taken for a different one, and none
//! has to be looked at twice.

use super::report::{Verification, VerifyStage};
use super::track::{BLOCK_BYTES, DirtyMap, FileId, Run};
use std::collections::VecDeque;
use thiserror::Error;

/// Bytes that one request is about.
pub const CHUNK_BYTES: u64 = 1 << 20;
/// Blocks of a chunk, and hashes in an answer, at most.
pub const CHUNK_BLOCKS: usize = (CHUNK_BYTES / BLOCK_BYTES) as usize;
/// The hash of a block that can't be read: it equals no other, not even itself.
pub const UNREADABLE: u128 = 0;
/// Chunks that are asked for and not answered, at most: the link's other frames wait behind them.
pub const IN_FLIGHT_MAX: usize = 4;
/// Runs that a report names.
const NAMED_RUNS: usize = 4;

/// The hash by which two blocks are compared: xxh3 of 128 bits, which tells accidents apart and is no
/// defence against somebody who makes them.
pub fn hash(block: &[u8]) -> u128 {
    twox_hash::XxHash3_128::oneshot(block)
}

/// One hash for each block of a chunk; the last block of a file may be short.
pub fn hashes(chunk: &[u8]) -> Vec<u128> {
    chunk.chunks(BLOCK_BYTES as usize).map(hash).collect()
}

/// What one side holds of a chunk.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Held {
    /// Bytes of the whole file.
    pub file_len: u64,
    pub hashes: Vec<u128>,
}

/// A range that both sides hash at the same place of the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Chunk {
    pub file: FileId,
    pub offset: u64,
    /// At most [`CHUNK_BYTES`]; 0 for a file without any, whose length alone is compared.
    pub len: u64,
}

/// The mirror answered something that was not asked.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("hashes of {found:?} at {offset} came, of {expected:?} were expected")]
pub struct OutOfTurn {
    found: FileId,
    offset: u64,
    expected: Option<Chunk>,
}

/// One comparison of all replicated files.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Pass {
    op: i64,
    /// The file that is being compared, and where its next chunk begins; `None` past the last file.
    at: Option<(FileId, u64)>,
    /// Where the present file ends for this pass: what it grew by since went through the link.
    end: Option<u64>,
    /// Bytes of each file by its number, as it was when it was begun; 0 before.
    lengths: [u64; 2],
    asked: VecDeque<(Chunk, Held)>,
    verified_bytes: u64,
    differing: DirtyMap,
    stage: VerifyStage,
}

impl Pass {
    /// A pass for an operation.
    pub fn new(op: i64) -> Pass {
        Pass {
            op,
            at: Some((FileId::ALL[0], 0)),
            end: None,
            lengths: [0; 2],
            asked: VecDeque::new(),
            verified_bytes: 0,
            differing: DirtyMap::default(),
            stage: VerifyStage::Running,
        }
    }

    /// The operation that it is made for.
    pub fn op(&self) -> i64 {
        self.op
    }

    pub fn is_running(&self) -> bool {
        self.stage == VerifyStage::Running
    }

    /// The file of the next chunk; `None` when every chunk was asked for.
    pub fn next_file(&self) -> Option<FileId> {
        self.at.filter(|_| self.is_running()).map(|(file, _)| file)
    }

    /// Whether one more chunk may be asked for now.
    pub fn has_room(&self) -> bool {
        self.asked.len() < IN_FLIGHT_MAX
    }

    /// The next chunk, of a file that is `file_len` bytes long now.
    pub fn next(&mut self, file_len: u64) -> Option<Chunk> {
        let (file, offset) = self.at.filter(|_| self.is_running())?;
        let end = *self.end.get_or_insert(file_len);
        self.lengths[usize::from(file.number())] = end;
        Some(Chunk { file, offset, len: end.saturating_sub(offset).min(CHUNK_BYTES) })
    }

    /// The chunk was read here, and its request has its place in the stream.
    pub fn asked(&mut self, chunk: Chunk, ours: Held) {
        let next = chunk.offset + CHUNK_BYTES;
        self.at = if self.end.is_some_and(|end| next < end) {
            Some((chunk.file, next))
        } else {
            self.end = None;
            FileId::ALL.into_iter().find(|f| f.number() > chunk.file.number()).map(|f| (f, 0))
        };
        self.asked.push_back((chunk, ours));
    }

    /// The mirror's answer to the oldest request; the runs that differ.
    pub fn answered(&mut self, file: FileId, offset: u64, theirs: &Held) -> Result<Vec<Run>, OutOfTurn> {
        let expected = self.asked.front().map(|(chunk, _)| *chunk);
        let Some((chunk, ours)) = self.asked.pop_front().filter(|(c, _)| (c.file, c.offset) == (file, offset)) else {
            return Err(OutOfTurn { found: file, offset, expected });
        };
        self.verified_bytes += chunk.len;
        let runs = differing(chunk, &ours, theirs);
        runs.iter().for_each(|run| self.differing.mark(*run));
        if self.at.is_none() && self.asked.is_empty() {
            self.stage = VerifyStage::Ended;
        }
        Ok(runs)
    }

    /// Whether this is the answer to the oldest request, and nothing differs.
    pub fn is_equal(&self, file: FileId, offset: u64, theirs: &Held) -> bool {
        self.asked.front().is_some_and(|(chunk, ours)| {
            (chunk.file, chunk.offset) == (file, offset) && differing(*chunk, ours, theirs).is_empty()
        })
    }

    /// It ends here, unless it has ended; how many answers are still under way.
    pub fn fail(&mut self, why: impl Into<String>) -> usize {
        if !self.is_running() {
            return 0;
        }
        self.stage = VerifyStage::Failed { why: why.into() };
        std::mem::take(&mut self.asked).len()
    }

    /// The blocks that differ, as far as is known.
    pub fn differing(&self) -> &DirtyMap {
        &self.differing
    }

    /// What the coordinator hears of it.
    pub fn report(&self) -> Verification {
        Verification {
            op: self.op,
            stage: self.stage.clone(),
            verified_bytes: self.verified_bytes,
            total_bytes: self.lengths.iter().sum(),
            differing_blocks: self.differing.count(),
            differing: words(&self.differing),
        }
    }
}

/// Where two sides of a chunk differ: block by block, and by what one file is longer than the other.
fn differing(chunk: Chunk, ours: &Held, theirs: &Held) -> Vec<Run> {
    let first = chunk.offset / BLOCK_BYTES;
    let most = ours.hashes.len().max(theirs.hashes.len());
    let differs = |i: &usize| match (ours.hashes.get(*i), theirs.hashes.get(*i)) {
        (Some(ours), Some(theirs)) => ours != theirs || *theirs == UNREADABLE,
        _ => true,
    };
    let mut runs: Vec<Run> = Vec::new();
    let mut add = |block: u64, count: u64| match runs.last_mut() {
        Some(last) if last.end() == block => last.count += count,
        _ => runs.push(Run { file: chunk.file, first: block, count }),
    };
    (0..most).filter(differs).for_each(|i| add(first + i as u64, 1));
    if ours.file_len > theirs.file_len {
        let tail = Run::touching(chunk.file, theirs.file_len, ours.file_len - theirs.file_len);
        add(tail.first, tail.count);
    } else if ours.file_len < theirs.file_len {
        // A recovery cuts the mirror's file to our length; what it says it has beyond is bounded by nothing.
        add(ours.file_len / BLOCK_BYTES, 1);
    }
    runs
}

/// The first runs in words: `main.db 17, 20-23; main.db-wal 3; and more`.
pub fn words(map: &DirtyMap) -> String {
    let mut named: Vec<String> = Vec::new();
    let mut last = None;
    let mut left = NAMED_RUNS;
    for file in FileId::ALL {
        let mut from = 0;
        while let Some(run) = map.next_run(file, from, u64::MAX >> 13) {
            if left == 0 {
                return format!("{}; and more", named.join("; "));
            }
            left -= 1;
            from = run.end();
            let blocks = match run.count {
                1 => run.first.to_string(),
                _ => format!("{}-{}", run.first, run.end() - 1),
            };
            match named.last_mut().filter(|_| last == Some(file)) {
                Some(text) => text.push_str(&format!(", {blocks}")),
                None => named.push(format!("{} block {blocks}", file.name())),
            }
            last = Some(file);
        }
    }
    named.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn held(file: &[u8], chunk: Chunk) -> Held {
        let from = (chunk.offset as usize).min(file.len());
        let to = (from + chunk.len as usize).min(file.len());
        Held { file_len: file.len() as u64, hashes: hashes(&file[from..to]) }
    }

    /// Runs a whole pass over two sides that do not change.
    fn pass(ours: [&[u8]; 2], theirs: [&[u8]; 2]) -> Pass {
        let mut pass = Pass::new(1);
        while let Some(file) = pass.next_file() {
            let n = usize::from(file.number());
            let chunk = pass.next(ours[n].len() as u64).expect("a chunk of a file that is left");
            pass.asked(chunk, held(ours[n], chunk));
            pass.answered(chunk.file, chunk.offset, &held(theirs[n], chunk)).expect("in turn");
        }
        pass
    }

    fn blocks(map: &DirtyMap, file: FileId) -> Vec<u64> {
        map.runs().into_iter().filter(|r| r.file == file).flat_map(|r| r.first..r.end()).collect()
    }

    #[test]
    fn equal_copies_are_equal_at_every_length_the_empty_one_included() {
        for len in [0, 1, 4096, 4097, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, (2 << 20) + 5000] {
            let file = vec![7u8; len];
            let pass = pass([&file, &[]], [&file, &[]]);
            let report = pass.report();
            assert_eq!((report.stage, report.differing_blocks), (VerifyStage::Ended, 0), "{len}");
            assert_eq!((report.verified_bytes, report.total_bytes), (len as u64, len as u64));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn exactly_the_blocks_with_a_flipped_byte_or_that_one_side_lacks_are_found(
            len in 0usize..2_200_000, other_len in 0usize..2_200_000, same in any::<bool>(),
            flips in proptest::collection::btree_set(0usize..2_200_000, 0..6)
        ) {
            let ours: Vec<u8> = (0..len).map(|i| (i / 911) as u8).collect();
            let mut theirs = ours.clone();
            theirs.resize(if same { len } else { other_len }, 0xEE);
            for at in &flips { if let Some(b) = theirs.get_mut(*at) { *b ^= 0x10; } }
            let short = ours.len().min(theirs.len());
            let mut expected: Vec<u64> = flips.iter().filter(|at| **at < short).map(|at| *at as u64 / 4096).collect();
            let surplus = |end: usize| short as u64 / 4096..(end as u64).div_ceil(4096).max(short as u64 / 4096 + 1);
            // Of what only the mirror has, the first block says enough.
            if ours.len() > theirs.len() { expected.extend(surplus(ours.len())); }
            if ours.len() < theirs.len() { expected.push(short as u64 / 4096); }
            expected.sort_unstable();
            expected.dedup();
            let pass = pass([&[], &ours], [&[], &theirs]);
            prop_assert_eq!(blocks(pass.differing(), FileId::Wal), expected);
            prop_assert_eq!(pass.differing().count_of(FileId::Main), 0);
        }
    }

    #[test]
    fn a_block_the_mirror_cannot_read_differs() {
        let mut pass = Pass::new(1);
        let chunk = pass.next(4096).expect("a chunk");
        let unreadable = Held { file_len: 4096, hashes: vec![UNREADABLE] };
        pass.asked(chunk, unreadable.clone());
        let runs = pass.answered(FileId::Main, 0, &unreadable).expect("in turn");
        assert_eq!(runs, vec![Run { file: FileId::Main, first: 0, count: 1 }]);
    }

    #[test]
    fn an_answer_to_another_question_is_refused() {
        let mut pass = Pass::new(1);
        let chunk = pass.next(9_000_000).expect("a chunk");
        pass.asked(chunk, Held { file_len: 9_000_000, hashes: vec![] });
        let theirs = Held { file_len: 9_000_000, hashes: vec![] };
        assert!(pass.answered(FileId::Main, CHUNK_BYTES, &theirs).is_err());
        assert!(pass.answered(FileId::Main, 0, &theirs).is_err(), "a link that is out of turn is given up");
    }

    #[test]
    fn a_file_that_grows_meanwhile_is_compared_to_where_it_ended_when_it_was_begun() {
        let mut pass = Pass::new(1);
        let mut asked = Vec::new();
        let mut len = CHUNK_BYTES + 1;
        while let Some(FileId::Main) = pass.next_file() {
            let chunk = pass.next(len).expect("a chunk");
            asked.push((chunk.offset, chunk.len));
            pass.asked(chunk, Held { file_len: len, hashes: vec![] });
            len += CHUNK_BYTES;
        }
        assert_eq!(asked, [(0, CHUNK_BYTES), (CHUNK_BYTES, 1)]);
    }

    #[test]
    fn what_ended_early_says_why_and_compares_no_more() {
        let mut pass = Pass::new(1);
        pass.fail("the link ended");
        pass.fail("again");
        assert_eq!(pass.next(1), None);
        assert_eq!(pass.report().stage, VerifyStage::Failed { why: "the link ended".into() });
    }

    #[test]
    fn runs_are_named_by_file_and_only_the_first_of_them() {
        let mut map = DirtyMap::default();
        map.mark(Run { file: FileId::Main, first: 17, count: 1 });
        map.mark(Run { file: FileId::Main, first: 20, count: 4 });
        map.mark(Run { file: FileId::Wal, first: 3, count: 1 });
        assert_eq!(words(&map), "main.db block 17, 20-23; main.db-wal block 3");
        map.mark(Run { file: FileId::Wal, first: 5, count: 1 });
        map.mark(Run { file: FileId::Wal, first: 7, count: 1 });
        assert_eq!(words(&map), "main.db block 17, 20-23; main.db-wal block 3, 5; and more");
        assert_eq!(words(&DirtyMap::default()), "");
    }
}
