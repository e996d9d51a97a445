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

/// Gives an empty storage its first page, durably.
pub(super) fn create_if_empty(storage: &dyn Storage) -> Result<(), VfsError> {
    if storage.len(FileId::Main)? > 0 {
        return Ok(());
    }
    let log = storage.len(FileId::Wal)?;
    if log > 0 {
        return Err(VfsError::OrphanedLog(log));
    }
    // To the change tracking this is a checkpoint: a write to `main.db` outside one is an alarm.
    storage.checkpoint(true);
    let written = storage.write(FileId::Main, 0, &first_page()).and_then(|()| storage.sync(FileId::Main));
    storage.checkpoint(false);
    Ok(written?)
}
