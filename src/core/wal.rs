//! SQLite's log as the write-intent record: which pages of main.db its frames name.
//!
//! The main file is written only by a checkpoint of frames that were synced before, so after an
//! unclean end every page that may differ from what a peer holds is named by a frame that is still
//! in the log's file, whatever its salt and checksum say. Layout: <https://www.sqlite.org/fileformat2.html#walformat>.

use super::track::{BLOCK_BYTES, DirtyMap, FileId, Run};

pub const WAL_HEADER_BYTES: u64 = 32;
pub const FRAME_HEADER_BYTES: u64 = 24;
/// A frame with its page: all databases here have pages of one block.
pub const FRAME_BYTES: u64 = FRAME_HEADER_BYTES + BLOCK_BYTES;

/// Where the header of frame `index` (from 0) begins.
pub fn frame_offset(index: u64) -> u64 {
    WAL_HEADER_BYTES + index * FRAME_BYTES
}

/// Frames, whole or cut short, in a log file of `len` bytes.
pub fn frames_in(len: u64) -> u64 {
    len.saturating_sub(WAL_HEADER_BYTES).div_ceil(FRAME_BYTES)
}

/// Marks the page that a frame header names, if main.db, which is `blocks` long, has it. A page beyond
/// its end was not checkpointed yet, or the header was torn: either way nothing of it is in the file.
pub fn mark_named(map: &mut DirtyMap, frame_header: &[u8], blocks: u64) {
    let Some(number) = frame_header.first_chunk::<4>() else { return };
    let page = u64::from(u32::from_be_bytes(*number));
    if (1..=blocks).contains(&page) {
        map.mark(Run { file: FileId::Main, first: page - 1, count: 1 });
    }
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
        let mut map = DirtyMap::default();
        mark_named(&mut map, &[0, 0, 0, 1], 9);
        mark_named(&mut map, &[0, 0, 0, 0], 9);
        mark_named(&mut map, &[0xff; 24], 9);
        mark_named(&mut map, &[0, 0], 9);
        assert_eq!(map.runs(), vec![Run { file: FileId::Main, first: 0, count: 1 }]);
    }
}
