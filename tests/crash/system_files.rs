//! The catalog on the files that SQLite's own VFS makes.
//!
//! Nothing records those, so the files are compared before and after each call of the store. A call
//! that leaves `catalog.db` alone wrote only to the log, and syncs it last: a crash during it leaves
//! any part of the sectors that changed, and with all of them gone or there the file is the one from
//! before or the one after.

use crate::check::digest;
use crate::explore::seeds;
use crate::image::SECTOR;
use crate::life::{self, LIFE, perform};
use crate::random::Random;
use rusqlite::{Connection, OpenFlags};
use segsh::coordinator::store::{CATALOG_FILE, Store};
use std::path::Path;

/// The database and its log.
#[derive(Clone, PartialEq)]
struct Files {
    database: Vec<u8>,
    log: Vec<u8>,
}

fn log_file(dir: &Path) -> std::path::PathBuf {
    dir.join(format!("{CATALOG_FILE}-wal"))
}

impl Files {
    fn read(dir: &Path) -> Files {
        let read = |path: &Path| std::fs::read(path).expect("a file");
        Files { database: read(&dir.join(CATALOG_FILE)), log: read(&log_file(dir)) }
    }

    fn write(&self, dir: &Path) {
        std::fs::write(dir.join(CATALOG_FILE), &self.database).expect("written");
        std::fs::write(log_file(dir), &self.log).expect("written");
    }

    /// The sectors of the log that the other one holds differently.
    fn changed_sectors(&self, after: &Files) -> Vec<usize> {
        let sector = |files: &'_ Files, i: usize| -> Vec<u8> {
            files.log.chunks(SECTOR).nth(i).map(<[u8]>::to_vec).unwrap_or_default()
        };
        let count = self.log.len().max(after.log.len()).div_ceil(SECTOR);
        (0..count).filter(|i| sector(self, *i) != sector(after, *i)).collect()
    }

    /// The log with some of its sectors as they are afterwards.
    fn with(&self, after: &Files, sectors: &[usize]) -> Files {
        let mut files = self.clone();
        for sector in sectors {
            let range = sector * SECTOR..after.log.len().min((sector + 1) * SECTOR);
            if files.log.len() < range.end {
                files.log.resize(range.end, 0);
            }
            files.log[range.clone()].copy_from_slice(&after.log[range]);
        }
        files
    }
}

/// What the tables hold, seen through a connection that changes nothing.
fn read_digest(dir: &Path) -> [u8; 32] {
    let db = Connection::open_with_flags(dir.join(CATALOG_FILE), OpenFlags::SQLITE_OPEN_READ_ONLY).expect("opens");
    digest(&db).expect("tables")
}

/// Opens an image as a coordinator does, and says what stands in it.
fn look(files: &Files) -> Result<[u8; 32], String> {
    let dir = tempfile::tempdir().expect("a directory");
    files.write(dir.path());
    let store = Store::open(&dir.path().join(CATALOG_FILE)).map_err(|e| e.to_string())?;
    for content in store.contents().map_err(|e| e.to_string())? {
        content.pair?;
    }
    Ok(read_digest(dir.path()))
}

/// Sectors that a crash may have left: every length of the run, and subsets drawn by seeds.
fn kept_sectors(changed: &[usize], step: usize) -> Vec<Vec<usize>> {
    let lengths = (0..=changed.len()).step_by(5).chain([changed.len()]);
    let mut kept: Vec<Vec<usize>> = lengths.map(|n| changed[..n].to_vec()).collect();
    for seed in seeds() {
        let mut random = Random::for_image("system files", 0, step, seed);
        let percent = [30, 60, 95][random.below(3)];
        kept.push(changed.iter().copied().filter(|_| random.chance(percent)).collect());
    }
    kept
}

#[test]
fn a_crash_within_a_call_leaves_the_catalog_before_it_or_after_it() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join(CATALOG_FILE);
    Store::create(&path, &life::rows(), &[]).expect("a catalog");
    let store = Store::open(&path).expect("a catalog");
    // The log does not exist before the first write.
    store.set_setting("gp_fts_probe_interval", "2s").expect("set");
    let (mut images, mut wrong) = (0, Vec::new());
    for n in 0..LIFE.len() {
        let (before, old) = (Files::read(dir.path()), read_digest(dir.path()));
        perform(&store, n);
        let (after, new) = (Files::read(dir.path()), read_digest(dir.path()));
        assert!(after.database == before.database, "step {n}: no checkpoint is due in so short a life");
        let changed = before.changed_sectors(&after);
        for kept in kept_sectors(&changed, n) {
            images += 1;
            let whole = kept == changed;
            match look(&before.with(&after, &kept)) {
                Ok(found) if found == new || (found == old && !whole) => {}
                Ok(_) => wrong.push(format!("step {n}: neither the state before it nor after it, or lost")),
                Err(why) => wrong.push(format!("step {n}: {why}")),
            }
        }
    }
    println!("catalog on its own files: {images} images, {} wrong", wrong.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
