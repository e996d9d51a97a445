//! Opens an image the production way, and says what stands in it.

use crate::image::Image;
use crate::recording::Recording;
use crate::session::unique_name;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension};
use segsh::engine::storage::FileId;
use segsh::segment::vfs::{self, CheckpointMode, PAGE_SIZE};
use std::sync::Arc;

/// What was found in an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// A sound database. `None`: not even the first transaction stands.
    State(Option<Standing>),
    /// A database that can't be opened, or is not sound, and why.
    Corrupt(String),
}

/// The transaction whose state stands, by its number, and what the tables hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    pub number: usize,
    pub digest: [u8; 32],
}

/// What the tables and the schema hold, whatever page it is on.
pub fn digest(db: &Connection) -> rusqlite::Result<[u8; 32]> {
    let mut context = ring::digest::Context::new(&ring::digest::SHA256);
    let mut add = |sql: &str| -> rusqlite::Result<()> {
        let mut statement = db.prepare(sql)?;
        let columns = statement.column_count();
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            for column in 0..columns {
                let (tag, bytes) = match row.get_ref(column)? {
                    ValueRef::Null => (0, Vec::new()),
                    ValueRef::Integer(n) => (1, n.to_le_bytes().to_vec()),
                    ValueRef::Real(n) => (2, n.to_le_bytes().to_vec()),
                    ValueRef::Text(text) => (3, text.to_vec()),
                    ValueRef::Blob(blob) => (4, blob.to_vec()),
                };
                context.update(&[tag]);
                context.update(&(bytes.len() as u64).to_le_bytes());
                context.update(&bytes);
            }
        }
        context.update(b";");
        Ok(())
    };
    add("SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY name")?;
    let mut tables = db.prepare("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name")?;
    let tables: Vec<String> = tables.query_map([], |r| r.get(0))?.collect::<Result<_, _>>()?;
    for table in tables {
        add(&format!("SELECT * FROM \"{table}\" ORDER BY rowid"))?;
    }
    Ok(context.finish().as_ref().try_into().expect("32 bytes"))
}

/// Opens an image and looks at everything in it.
pub fn look(image: Image) -> Found {
    match standing(image) {
        Ok(standing) => Found::State(standing),
        Err(why) => Found::Corrupt(why),
    }
}

/// What one pragma answers.
pub fn pragma(db: &Connection, name: &str) -> Result<String, String> {
    db.query_row(&format!("PRAGMA {name}"), [], |r| r.get(0)).map_err(|e| format!("{name}: {e}"))
}

fn expect_ok(db: &Connection, name: &str) -> Result<(), String> {
    match pragma(db, name)? {
        ok if ok == "ok" => Ok(()),
        wrong => Err(format!("{name}: {wrong}")),
    }
}

fn standing(image: Image) -> Result<Option<Standing>, String> {
    let storage = Arc::new(Recording::on(image));
    let vfs = vfs::register(&unique_name(), storage.clone()).map_err(|e| format!("not a database: {e}"))?;
    let db = vfs::open(&vfs).map_err(|e| format!("does not open: {e}"))?;
    expect_ok(&db, "integrity_check")?;
    let standing = counter(&db)?;
    // What a primary does next must work as well: it writes, and empties the log into the file.
    db.execute_batch("PRAGMA user_version = 7").map_err(|e| format!("takes no write: {e}"))?;
    let done = vfs::checkpoint(&db, CheckpointMode::Truncate).map_err(|e| format!("checkpoint: {e}"))?;
    if !done.is_complete() {
        return Err(format!("the log can't be emptied: {done:?}"));
    }
    check_pages(&storage.image())?;
    expect_ok(&db, "quick_check")?;
    match vfs.damage() {
        damage if damage.is_empty() => Ok(standing),
        damage => Err(format!("page checksums fail in blocks {damage:?}")),
    }
}

fn counter(db: &Connection) -> Result<Option<Standing>, String> {
    let at = |e: rusqlite::Error| format!("the counter: {e}");
    let sql = "SELECT 1 FROM sqlite_schema WHERE name = 'acked'";
    if db.query_row(sql, [], |_| Ok(())).optional().map_err(at)?.is_none() {
        return Ok(None);
    }
    let number: i64 = db.query_row("SELECT n FROM acked", [], |r| r.get(0)).map_err(at)?;
    let digest = digest(db).map_err(|e| format!("the tables: {e}"))?;
    Ok(Some(Standing { number: usize::try_from(number).map_err(|e| e.to_string())?, digest }))
}

/// With an empty log every page of the file counts, free ones too.
fn check_pages(image: &Image) -> Result<(), String> {
    for (number, page) in (1..).zip(image.file(FileId::Main).chunks(PAGE_SIZE)) {
        vfs::verify_page(number, page).map_err(|fault| format!("page {number}: {fault:?}"))?;
    }
    Ok(())
}
