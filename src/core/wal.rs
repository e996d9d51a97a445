//! SQLite's log as the write-intent record: which pages of main.db its frames name.
//!
//! The main file is written only by a checkpoint of frames that were synced before, so after an
//! unclean end every page that may differ from what a peer holds is named by a frame that is still
//! in the log's file. A log begins anew only after a checkpoint whose pages are durable on both sides, or
//! in the durable map: so the frames that a former log left behind the present one say nothing any more.
//! Layout: <https://www.sqlite.org/fileformat2.html#walformat>.

use super::track::{BLOCK_BYTES, DirtyMap, FileId, Run};

pub const WAL_HEADER_BYTES: u64 = 32;
pub const FRAME_HEADER_BYTES: u64 = 24;
/// A frame with its page: all databases here have pages of one block.
pub const FRAME_BYTES: u64 = FRAME_HEADER_BYTES + BLOCK_BYTES;

/// Where the header of frame `index` (from 0) begins.
pub fn frame_offset(index: u64) -> u64 {
    WAL_HEADER_BYTES + index * FRAME_BYTES
}

/// The frame whose page, exactly, are these `len` bytes of the log at `offset`.
pub fn frame_of_page(offset: u64, len: u64) -> Option<u64> {
    let before = offset.checked_sub(WAL_HEADER_BYTES + FRAME_HEADER_BYTES)?;
    (len == BLOCK_BYTES && before.is_multiple_of(FRAME_BYTES)).then_some(before / FRAME_BYTES)
}

/// Where the eight bytes of the checksum are that frame `index` goes on from: those of the log's header, or of
/// the frame before.
pub fn sum_before(index: u64) -> u64 {
    index.checked_sub(1).map_or(WAL_HEADER_BYTES - 8, |before| frame_offset(before) + FRAME_HEADER_BYTES - 8)
}

/// Whether a frame holds what was written, by the checksum before it and its own. A log does not say in every
/// frame in which order it takes the bytes of a word: either will do, for by chance neither fits.
pub fn frame_holds(before: &[u8; 8], header: &[u8; FRAME_HEADER_BYTES as usize], page: &[u8]) -> bool {
    let (Some(first), Some(second)) = (word(before, 0), word(before, 4)) else { return false };
    let sum = |big_endian| add(add((first, second), &header[..8], big_endian), page, big_endian);
    let own = (word(header, 16), word(header, 20));
    let native = cfg!(target_endian = "big");
    [native, !native].into_iter().map(sum).any(|sum| own == (Some(sum.0), Some(sum.1)))
}

/// Frames, whole or cut short, in a log file of `len` bytes.
pub fn frames_in(len: u64) -> u64 {
    len.saturating_sub(WAL_HEADER_BYTES).div_ceil(FRAME_BYTES)
}

/// Gathers the pages of main.db that the frames of a log name, up to the last that carries the log's salt.
/// A frame in between counts whatever it carries: it may be damaged, and its page may be in main.db all the
/// same. Of a log whose header is damaged nobody knows where it ends: then all count.
pub struct NamedPages {
    salt: Option<[u8; 8]>,
    blocks: u64,
    named: DirtyMap,
    /// Named since the last frame of this log. No map: a frame must not cost more in a larger database.
    behind: Vec<u64>,
}

impl NamedPages {
    /// Begins with what there is of the log's header, for a main.db of so many blocks.
    pub fn begin(header: &[u8], blocks: u64) -> NamedPages {
        let salt = header.first_chunk().and_then(Chain::begin).map(|chain| chain.salt());
        NamedPages { salt, blocks, named: DirtyMap::default(), behind: Vec::new() }
    }

    /// The next frame's header, or what there is of it.
    pub fn frame(&mut self, header: &[u8]) {
        self.behind.extend(named_block(header, self.blocks));
        if self.salt.is_none_or(|salt| header.get(8..16) == Some(&salt)) {
            for first in self.behind.drain(..) {
                self.named.mark(Run { file: FileId::Main, first, count: 1 });
            }
        }
    }

    pub fn end(self) -> DirtyMap {
        self.named
    }
}

/// The block of the page that a frame header names, if main.db, which is `blocks` long, has it. A page beyond
/// its end was not checkpointed yet, or the header was torn: either way nothing of it is in the file.
fn named_block(frame_header: &[u8], blocks: u64) -> Option<u64> {
    let page = u64::from(u32::from_be_bytes(*frame_header.first_chunk::<4>()?));
    (1..=blocks).contains(&page).then(|| page - 1)
}

/// The chain of checksums that makes frames of the log a log: each frame's covers all before it.
#[derive(Debug, Clone)]
pub struct Chain {
    big_endian: bool,
    salt: [u8; 8],
    sum: (u32, u32),
}

/// First four bytes of a log whose checksums take little-endian words; the lowest bit set: big-endian.
const LOG_MAGIC: u32 = 0x377f_0682;

impl Chain {
    /// Begins with the log's header; `None` when that is damaged.
    pub fn begin(header: &[u8; WAL_HEADER_BYTES as usize]) -> Option<Chain> {
        let magic = word(header, 0)?;
        if magic & !1 != LOG_MAGIC {
            return None;
        }
        let big_endian = magic & 1 == 1;
        let sum = add((0, 0), &header[..24], big_endian);
        let salt = *header[16..].first_chunk::<8>()?;
        (word(header, 24)? == sum.0 && word(header, 28)? == sum.1).then_some(Chain { big_endian, salt, sum })
    }

    /// The salt that every frame of this log carries.
    pub fn salt(&self) -> [u8; 8] {
        self.salt
    }

    /// The checksum of the last frame.
    pub fn sum(&self) -> (u32, u32) {
        self.sum
    }

    /// Goes on with the next frame, its header and its page; false when it is no frame of this log.
    pub fn next(&mut self, frame: &[u8; FRAME_BYTES as usize]) -> bool {
        let (header, page) = frame.split_at(FRAME_HEADER_BYTES as usize);
        let sum = add(add(self.sum, &header[..8], self.big_endian), page, self.big_endian);
        let holds = header[8..16] == self.salt && word(header, 16) == Some(sum.0) && word(header, 20) == Some(sum.1);
        self.sum = sum;
        holds
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(*bytes.get(at..)?.first_chunk::<4>()?))
}

/// SQLite's checksum over whole pairs of words.
fn add(mut sum: (u32, u32), bytes: &[u8], big_endian: bool) -> (u32, u32) {
    let word = |w: &[u8; 4]| if big_endian { u32::from_be_bytes(*w) } else { u32::from_le_bytes(*w) };
    for pair in bytes.as_chunks::<4>().0.chunks_exact(2) {
        sum.0 = sum.0.wrapping_add(word(&pair[0])).wrapping_add(sum.1);
        sum.1 = sum.1.wrapping_add(word(&pair[1])).wrapping_add(sum.0);
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_frame_counts_even_one_cut_short() {
        assert_eq!(frames_in(0), 0);
        assert_eq!(frames_in(32), 0);
        assert_eq!(frames_in(33), 1);
        assert_eq!(frames_in(32 + FRAME_BYTES), 1);
        assert_eq!(frames_in(32 + FRAME_BYTES + 4), 2);
    }

    #[test]
    fn a_page_number_counts_from_one_and_ends_with_the_file() {
        assert_eq!(named_block(&[0, 0, 0, 1], 9), Some(0));
        assert_eq!(named_block(&[0, 0, 0, 9], 9), Some(8));
        for header in [&[0, 0, 0, 0][..], &[0, 0, 0, 10], &[0xff; 24], &[0, 0]] {
            assert_eq!(named_block(header, 9), None);
        }
    }

    /// A log header that holds, with this salt.
    fn log_header(salt: [u8; 8]) -> Vec<u8> {
        let mut header = LOG_MAGIC.to_be_bytes().to_vec();
        header.extend([0; 12]);
        header.extend(salt);
        let sum = add((0, 0), &header, false);
        header.extend(sum.0.to_be_bytes().into_iter().chain(sum.1.to_be_bytes()));
        header
    }

    fn named(log: &[u8], frames: &[(u32, [u8; 8])]) -> Vec<u64> {
        let mut pages = NamedPages::begin(log, 9);
        for (page, salt) in frames {
            let header: Vec<u8> = page.to_be_bytes().into_iter().chain([0; 4]).chain(*salt).chain([0; 8]).collect();
            pages.frame(&header);
        }
        pages.end().runs().iter().flat_map(|run| run.first..run.end()).collect()
    }

    #[test]
    fn frames_count_up_to_the_last_of_this_log_and_all_of_a_log_without_a_header() {
        let (now, before) = ([7; 8], [6; 8]);
        let frames = [(1, now), (3, before), (5, now), (7, before)];
        assert_eq!(named(&log_header(now), &frames), [0, 2, 4]);
        assert_eq!(named(&log_header([8; 8]), &frames), [] as [u64; 0]);
        let mut torn = log_header(now);
        torn[20] ^= 1;
        assert_eq!(named(&torn, &frames), [0, 2, 4, 6]);
        assert_eq!(named(&[], &frames), [0, 2, 4, 6]);
    }
}
