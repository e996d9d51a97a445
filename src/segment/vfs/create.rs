//! The first page of a new database.
//!
//! SQLite would create it in rollback mode, through a journal file that is not replicated. So the
//! page it would have is written whole: WAL from the first byte, and room for the checksum.

use super::VfsError;
use super::checksum::{PAGE_SIZE, RESERVED, seal_page};
use crate::engine::storage::{FileId, Storage};

/// Offset of the root b-tree's page header, behind the file header.
const BTREE: usize = 100;
/// An empty leaf of a table.
const TABLE_LEAF: u8 = 0x0d;

fn first_page() -> [u8; PAGE_SIZE] {
    let mut page = [0u8; PAGE_SIZE];
    page[..16].copy_from_slice(b"SQLite format 3\0");
    page[16..18].copy_from_slice(&(PAGE_SIZE as u16).to_be_bytes());
    // File format 2 for writing and reading: write-ahead log.
    page[18] = 2;
    page[19] = 2;
    page[20] = RESERVED as u8;
    // The payload fractions are fixed by the format.
    page[21..24].copy_from_slice(&[64, 32, 32]);
    page[28..32].copy_from_slice(&1u32.to_be_bytes());
    page[BTREE] = TABLE_LEAF;
    let content_start = (PAGE_SIZE - RESERVED) as u16;
    page[BTREE + 5..BTREE + 7].copy_from_slice(&content_start.to_be_bytes());
    seal_page(1, &mut page);
    page
}

/// The unit that a disk writes whole or not at all, in bytes.
const SECTOR: usize = 512;

/// Whether `main.db` is what a crash leaves that came while its first page was being written: each of
/// its sectors is either the one meant to be there or still zeros. No database that was ever used
/// looks like this.
fn is_half_made(main: &[u8]) -> bool {
    let whole = first_page();
    let sectors = main.chunks(SECTOR).zip(whole.chunks(SECTOR));
    main.len() <= PAGE_SIZE
        && main != whole
        && sectors.into_iter().all(|(found, meant)| meant.starts_with(found) || found.iter().all(|b| *b == 0))
}

/// Reads `main.db` if it is not longer than its first page.
fn short_main(storage: &dyn Storage) -> Result<Option<Vec<u8>>, VfsError> {
    let len = storage.len(FileId::Main)?;
    let Some(len) = usize::try_from(len).ok().filter(|len| *len <= PAGE_SIZE) else { return Ok(None) };
    let mut found = vec![0; len];
    let read = storage.read(FileId::Main, 0, &mut found)?;
    found.truncate(read);
    Ok(Some(found))
}

/// Gives an empty storage its first page, durably. What a crash cut short is done again: the log is
/// written only after that page is durable, so beside an empty log nothing can be lost.
pub(super) fn create_if_empty(storage: &dyn Storage) -> Result<(), VfsError> {
    let log = storage.len(FileId::Wal)?;
    match short_main(storage)? {
        Some(main) if main.is_empty() && log > 0 => return Err(VfsError::OrphanedLog(log)),
        Some(main) if log == 0 && is_half_made(&main) => {}
        _ => return Ok(()),
    }
    // To the change tracking this is a checkpoint: a write to `main.db` outside one is an alarm.
    storage.checkpoint(true);
    let written = storage.write(FileId::Main, 0, &first_page()).and_then(|()| storage.sync(FileId::Main));
    storage.checkpoint(false);
    Ok(written?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_first_page_that_a_crash_cut_short_counts_as_half_made() {
        let whole = first_page();
        assert!(is_half_made(&[]) && is_half_made(&[0; PAGE_SIZE]) && is_half_made(&whole[..700]));
        let mut torn = whole;
        torn[3584..].fill(0);
        assert!(is_half_made(&torn));
        assert!(!is_half_made(&whole), "nothing is to be done again");
        let mut used = whole;
        used[40] = 1;
        assert!(!is_half_made(&used), "a database that was used is never made anew, damaged or not");
        assert!(!is_half_made(&[0; PAGE_SIZE + 1]));
    }
}
