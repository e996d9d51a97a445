//! A catalog made again from what the segments' own records prove.

use super::{CATALOG_FILE, Store, StoreError, changes, query};
use crate::core::adopt::Proven;
use crate::core::row::{SegmentRow, Status};
use rusqlite::{Transaction, params};
use std::path::Path;

/// Where it is made, until it is whole.
const UNFINISHED: &str = "catalog.db.adopting";

impl Store {
    /// Makes the catalog in the coordinator's directory: it has its name only once it is durable as a
    /// whole. `by` says who asked, for the history.
    pub fn create_adopted(
        dir: &Path,
        rows: &[SegmentRow],
        contents: &[Proven],
        set: &[(String, String)],
        by: &str,
        at_ms: i64,
    ) -> Result<(), StoreError> {
        let (unfinished, path) = (dir.join(UNFINISHED), dir.join(CATALOG_FILE));
        if path.exists() {
            return Err(StoreError::Exists { path });
        }
        let io = |source| StoreError::Io { path: path.clone(), source };
        // What an adoption left that was interrupted.
        for name in [UNFINISHED.to_owned(), format!("{UNFINISHED}-wal"), format!("{UNFINISHED}-shm")] {
            match std::fs::remove_file(dir.join(name)) {
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
                removed => removed.map_err(io)?,
            }
        }
        Store::create_with(&unfinished, rows, set, |tx| {
            contents.iter().try_for_each(|proven| write_content(tx, proven, rows, by, at_ms))
        })?;
        std::fs::File::open(&unfinished).and_then(|file| file.sync_all()).map_err(io)?;
        std::fs::rename(&unfinished, &path).map_err(io)?;
        std::fs::File::open(dir).and_then(|dir| dir.sync_all()).map_err(io)
    }

    /// What was lost by overrides, and where the rows came from: the lines of the history.
    pub fn history(&self) -> Result<Vec<String>, StoreError> {
        let db = self.read();
        self.at(query(&db, "SELECT desc FROM gp_configuration_history ORDER BY number", |r| r.get(0)))
    }
}

fn write_content(
    tx: &Transaction<'_>,
    proven: &Proven,
    rows: &[SegmentRow],
    by: &str,
    at_ms: i64,
) -> rusqlite::Result<()> {
    let row = proven.row;
    let epoch = i64::try_from(row.epoch.0).unwrap_or(i64::MAX);
    let single = row.mirror.is_some_and(|m| m.status == Status::Down).then_some(at_ms);
    let reason = match proven.may_be_lost.as_str() {
        "" => format!("adopted by {by}: {}", proven.why),
        lost => format!("adopted by {by}: {}; may be lost: {lost}", proven.why),
    };
    tx.execute(
        "UPDATE segsh_content SET epoch = ?2, serving_epoch = ?2, serving_copy = ?3, must_copy_all = ?4,
                single_copy_since_ms = ?5, last_event = ?6 WHERE content = ?1",
        params![row.content.0, epoch, proven.serving_copy.to_string(), proven.must_copy_all, single, reason],
    )?;
    for member in rows.iter().filter(|r| r.content == row.content) {
        let desc = format!(
            "content {} role {} mode {} status {} epoch {epoch}: {reason}",
            member.content,
            member.role.letter(),
            member.mode.letter(),
            member.status.letter(),
        );
        let sql = "INSERT INTO gp_configuration_history (time, dbid, desc) VALUES (?1, ?2, ?3)";
        tx.execute(sql, params![changes::timestamp(at_ms), member.dbid.0, desc])?;
        if member.status == Status::Down {
            tx.execute("INSERT INTO segsh_down VALUES (?1, ?2)", params![member.dbid.0, at_ms])?;
        }
    }
    changes::record(tx, row.content, &reason, &[], at_ms)
}
