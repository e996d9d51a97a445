//! The catalog: the only truth about who serves what (R1), on SQLite with `synchronous=FULL`.
//!
//! Every call is one transaction. A pair's row changes by compare-and-set of the whole row, together
//! with its history, its evidence and the goal that follows from it ([`Store::change`]).

mod adopted;
mod changes;
mod maintenance;
mod moves;
mod operations;
mod room;
mod schema;

#[cfg(test)]
mod tests;

use crate::cluster::Decided;
use crate::cluster::request::Owner;
use crate::cluster::settings::{self, SettingError};
use crate::core::ids::{Content, CopyId, Dbid, Epoch};
use crate::core::operation::Goal;
use crate::core::row::{Member, Mode, PairRow, Role, SegmentRow, Status};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, OptionalExtension, Row, Transaction, TransactionBehavior, params};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use thiserror::Error;

pub use changes::{Change, Changed, timestamp};
pub use operations::{Begun, Operation};

/// The catalog's file in the coordinator's directory.
pub const CATALOG_FILE: &str = "catalog.db";

/// Why the catalog could not be read or written.
#[derive(Debug, Error)]
pub enum StoreError {
    #[error("catalog {}: {source}", path.display())]
    Sqlite { path: PathBuf, source: rusqlite::Error },
    #[error("catalog {}: {source}", path.display())]
    Io { path: PathBuf, source: std::io::Error },
    #[error("catalog {} exists already", path.display())]
    Exists { path: PathBuf },
    #[error(
        "catalog {} is of version {found}, this release reads version {expected}: use the release that wrote it",
        path.display()
    )]
    Version { path: PathBuf, found: i64, expected: i64 },
    #[error("catalog {}: {what} is damaged: {why}", path.display())]
    Damaged { path: PathBuf, what: String, why: String },
    #[error("content {content} is quarantined: {why}")]
    Quarantined { content: Content, why: String },
    #[error("content {0} is not in the catalog")]
    NoContent(Content),
    #[error(transparent)]
    Setting(#[from] SettingError),
}

/// What the catalog knows of a content.
#[derive(Debug, Clone, PartialEq)]
pub struct ContentRow {
    pub content: Content,
    /// The pair, or why its rows are impossible.
    pub pair: Result<PairRow, String>,
    /// The epoch under which the present acting primary's process began to serve.
    pub serving_epoch: Epoch,
    /// The copy that served last; `None` until FTS has decided something.
    pub serving_copy: Option<CopyId>,
    /// The recovery that is under way copies everything.
    pub full_copy: bool,
    pub rate_bytes: Option<u64>,
    /// A full copy was begun and has not ended.
    pub must_copy_all: bool,
    pub single_copy_since_ms: Option<i64>,
    /// Bytes per second of the last recovery that was large enough to tell.
    pub copy_rate_bytes: Option<i64>,
    pub last_event: String,
    pub quarantine: Option<String>,
}

/// The catalog, opened.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    db: Mutex<Connection>,
    /// Reads have a connection of their own: they never wait for the sync of a write. What was written
    /// before a read began is seen by it.
    reader: Mutex<Connection>,
    /// Where a test ends the coordinator.
    #[cfg(test)]
    pub doom: super::testing::doom::Doom,
}

impl Store {
    /// Makes the catalog of a new cluster.
    pub fn create(path: &Path, rows: &[SegmentRow], set: &[(String, String)]) -> Result<(), StoreError> {
        Store::create_with(path, rows, set, |_| Ok(()))
    }

    /// Makes a catalog; `more` is written in the same transaction.
    pub(super) fn create_with(
        path: &Path,
        rows: &[SegmentRow],
        set: &[(String, String)],
        more: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<()>,
    ) -> Result<(), StoreError> {
        if path.exists() {
            return Err(StoreError::Exists { path: path.into() });
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
        let at = |source| StoreError::Sqlite { path: path.into(), source };
        let mut db = Connection::open_with_flags(path, flags).map_err(at)?;
        prepare(&db).map_err(at)?;
        let values = set
            .iter()
            .map(|(name, value)| Ok((name, settings::find(name)?.normalize(value)?)))
            .collect::<Result<Vec<_>, SettingError>>()?;
        let tx = db.transaction().map_err(at)?;
        tx.execute_batch(schema::TABLES).map_err(at)?;
        for row in rows {
            insert_segment(&tx, row).map_err(at)?;
        }
        tx.execute(
            "INSERT INTO segsh_content (content, epoch, serving_epoch)
             SELECT DISTINCT content, 1, 1 FROM gp_segment_configuration WHERE content >= 0",
            [],
        )
        .map_err(at)?;
        for (name, value) in values {
            tx.execute("INSERT INTO segsh_setting VALUES (?1, ?2)", params![name, value]).map_err(at)?;
        }
        more(&tx).map_err(at)?;
        tx.commit().map_err(at)
    }

    /// Opens the catalog of a cluster.
    pub fn open(path: &Path) -> Result<Store, StoreError> {
        let at = |source| StoreError::Sqlite { path: path.into(), source };
        let db = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(at)?;
        // Before anything is set: a catalog of another release is left as it is.
        check_version(path, &db)?;
        prepare(&db).map_err(at)?;
        let reader = read_only(path).map_err(at)?;
        Ok(Store::on(path, db, reader))
    }

    /// Opens the last catalog to look at it, as when the coordinator is down.
    pub fn open_read_only(path: &Path) -> Result<Store, StoreError> {
        let at = |source| StoreError::Sqlite { path: path.into(), source };
        let (db, reader) = (read_only(path).map_err(at)?, read_only(path).map_err(at)?);
        check_version(path, &db)?;
        Ok(Store::on(path, db, reader))
    }

    fn on(path: &Path, db: Connection, reader: Connection) -> Store {
        Store {
            path: path.into(),
            db: Mutex::new(db),
            reader: Mutex::new(reader),
            #[cfg(test)]
            doom: super::testing::doom::Doom::default(),
        }
    }

    /// Where the catalog is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Exactly the catalog, by dbid; the coordinator's row included.
    pub fn rows(&self) -> Result<Vec<SegmentRow>, StoreError> {
        let db = self.read();
        self.at(segments(&db, None))
    }

    /// Every content with its pair.
    pub fn contents(&self) -> Result<Vec<ContentRow>, StoreError> {
        let db = self.read();
        let numbers: Vec<i64> =
            self.at(query(&db, "SELECT content FROM segsh_content ORDER BY content", |r| r.get(0)))?;
        numbers.into_iter().map(|n| self.content_in(&db, Content(n))).collect()
    }

    /// One content with its pair.
    pub fn content(&self, content: Content) -> Result<ContentRow, StoreError> {
        self.content_in(&self.read(), content)
    }

    fn content_in(&self, db: &Connection, content: Content) -> Result<ContentRow, StoreError> {
        let members = self.at(segments(db, Some(content)))?;
        let sql = "SELECT epoch, serving_epoch, full_copy, rate_bytes, must_copy_all,
                          single_copy_since_ms, last_event, quarantine, serving_copy, copy_rate_bytes
                   FROM segsh_content WHERE content = ?1";
        let row = db.query_row(sql, [content.0], |r| {
            Ok(ContentRow {
                content,
                pair: pair(content, Epoch(number(r, 0)?), &members),
                serving_epoch: Epoch(number(r, 1)?),
                full_copy: r.get(2)?,
                rate_bytes: r.get::<_, Option<i64>>(3)?.and_then(|n| u64::try_from(n).ok()),
                must_copy_all: r.get(4)?,
                single_copy_since_ms: r.get(5)?,
                last_event: r.get(6)?,
                quarantine: r.get(7)?,
                serving_copy: copy(r, 8)?,
                copy_rate_bytes: r.get(9)?,
            })
        });
        self.at(row.optional())?.ok_or(StoreError::NoContent(content))
    }

    /// Since when segments have been down by the catalog, in Unix milliseconds.
    pub fn down_since(&self) -> Result<Vec<(Dbid, i64)>, StoreError> {
        let db = self.read();
        self.at(query(&db, "SELECT dbid, since_ms FROM segsh_down", |r| Ok((Dbid(r.get(0)?), r.get(1)?))))
    }

    /// A setting's value with its unit.
    pub fn setting(&self, name: &str) -> Result<String, StoreError> {
        let known = settings::find(name)?;
        let db = self.read();
        let stored: Option<String> =
            self.at(db.query_row("SELECT value FROM segsh_setting WHERE name = ?1", [name], |r| r.get(0)).optional())?;
        Ok(stored.unwrap_or_else(|| known.default.into()))
    }

    /// A setting as a number: milliseconds, a count, bytes per second; `None` is `off`.
    pub fn setting_number(&self, name: &str) -> Result<Option<u64>, StoreError> {
        Ok(settings::find(name)?.parse(&self.setting(name)?)?)
    }

    /// Writes a setting; returns its value in its one spelling.
    pub fn set_setting(&self, name: &str, value: &str) -> Result<String, StoreError> {
        let value = settings::find(name)?.normalize(value)?;
        let sql = "INSERT INTO segsh_setting VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = ?2";
        self.at(self.lock().execute(sql, params![name, value]))?;
        Ok(value)
    }

    /// Takes a content out of all decisions until a person has looked.
    pub fn quarantine(
        &self,
        content: Content,
        reason: &str,
        evidence: &[String],
        at_ms: i64,
    ) -> Result<(), StoreError> {
        let mut db = self.lock();
        let tx = self.at(db.transaction_with_behavior(TransactionBehavior::Immediate))?;
        let sql = "UPDATE segsh_content SET quarantine = ?2, last_event = ?2 WHERE content = ?1";
        self.at(tx.execute(sql, params![content.0, reason]))?;
        self.at(changes::write_undecided(&tx, content, &format!("quarantined: {reason}"), at_ms))?;
        self.at(changes::record(&tx, content, reason, evidence, at_ms))?;
        self.at(tx.commit())
    }

    /// Adds a line about a segment to the history, and nothing else.
    pub fn remark(&self, dbid: Dbid, text: &str, at_ms: i64) -> Result<(), StoreError> {
        let sql = "INSERT INTO gp_configuration_history (time, dbid, desc) VALUES (?1, ?2, ?3)";
        self.at(self.lock().execute(sql, params![timestamp(at_ms), dbid.0, text])).map(drop)
    }

    /// Records what was seen and decided nothing, such as a double fault: in the history, too.
    pub fn note(&self, content: Content, text: &str, evidence: &[String], at_ms: i64) -> Result<(), StoreError> {
        let mut db = self.lock();
        let tx = self.at(db.transaction_with_behavior(TransactionBehavior::Immediate))?;
        let sql = "UPDATE segsh_content SET last_event = ?2 WHERE content = ?1";
        self.at(tx.execute(sql, params![content.0, text]))?;
        self.at(changes::write_undecided(&tx, content, text, at_ms))?;
        self.at(changes::record(&tx, content, text, evidence, at_ms))?;
        self.at(tx.commit())
    }

    /// A line of the history that is about FTS itself: it stands under the coordinator's dbid.
    pub fn event(&self, text: &str, at_ms: i64) -> Result<(), StoreError> {
        self.at(write_event(&self.lock(), text, at_ms)).map(drop)
    }

    /// The last decisions about a content with what was seen, oldest first.
    pub fn decisions(&self, content: Content, limit: usize) -> Result<Vec<Decided>, StoreError> {
        let db = self.read();
        let sql = "SELECT time, reason, seen FROM segsh_evidence WHERE content = ?1 ORDER BY number DESC LIMIT ?2";
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let rows = db.prepare_cached(sql).and_then(|mut statement| {
            let read = |r: &Row<'_>| Ok((r.get(0)?, r.get(1)?, r.get(2)?));
            statement.query_map(params![content.0, limit], read)?.collect::<rusqlite::Result<Vec<_>>>()
        });
        let decided = |(time, reason, seen): (String, String, String)| {
            let seen = serde_json::from_str(&seen).map_err(|e| self.damaged(format!("the evidence of {time}"), e))?;
            Ok(Decided { time, reason, seen })
        };
        self.at(rows)?.into_iter().rev().map(decided).collect()
    }

    fn read(&self) -> MutexGuard<'_, Connection> {
        self.reader.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, Connection> {
        // A panic while it was held left no transaction open: rusqlite rolls back on drop.
        self.db.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn at<T>(&self, result: rusqlite::Result<T>) -> Result<T, StoreError> {
        result.map_err(|source| StoreError::Sqlite { path: self.path.clone(), source })
    }

    fn damaged(&self, what: impl Into<String>, why: impl ToString) -> StoreError {
        StoreError::Damaged { path: self.path.clone(), what: what.into(), why: why.to_string() }
    }
}

fn write_event(db: &Connection, text: &str, at_ms: i64) -> rusqlite::Result<usize> {
    let sql = "INSERT INTO gp_configuration_history (time, dbid, desc)
               SELECT ?1, dbid, ?2 FROM gp_segment_configuration WHERE content = -1";
    db.execute(sql, params![timestamp(at_ms), text])
}

const BUSY: Duration = Duration::from_secs(10);

fn read_only(path: &Path) -> rusqlite::Result<Connection> {
    let db = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    db.busy_timeout(BUSY)?;
    Ok(db)
}

fn check_version(path: &Path, db: &Connection) -> Result<(), StoreError> {
    let at = |source| StoreError::Sqlite { path: path.into(), source };
    db.busy_timeout(BUSY).map_err(at)?;
    // The last connection to close writes the log into the file: not into one that is refused.
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).map_err(at)?;
    let found: i64 = db.query_row("PRAGMA user_version", [], |r| r.get(0)).map_err(at)?;
    if found != schema::VERSION {
        return Err(StoreError::Version { path: path.into(), found, expected: schema::VERSION });
    }
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false).map(drop).map_err(at)
}

fn prepare(db: &Connection) -> rusqlite::Result<()> {
    db.busy_timeout(BUSY)?;
    db.pragma_update(None, "journal_mode", "WAL")?;
    db.pragma_update(None, "synchronous", "FULL")?;
    db.pragma_update(None, "foreign_keys", true)
}

fn query<T>(db: &Connection, sql: &str, map: impl FnMut(&Row<'_>) -> rusqlite::Result<T>) -> rusqlite::Result<Vec<T>> {
    db.prepare_cached(sql)?.query_map([], map)?.collect()
}

fn number(row: &Row<'_>, index: usize) -> rusqlite::Result<u64> {
    let value: i64 = row.get(index)?;
    u64::try_from(value).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(index, value))
}

/// A copy's identity, as it is spelled everywhere else.
fn copy(row: &Row<'_>, index: usize) -> rusqlite::Result<Option<CopyId>> {
    let bad = |_| rusqlite::Error::InvalidColumnType(index, "copy".into(), rusqlite::types::Type::Text);
    let text: Option<String> = row.get(index)?;
    text.map(|text| u128::from_str_radix(&text, 16).map(CopyId).map_err(bad)).transpose()
}

fn insert_segment(tx: &Transaction<'_>, row: &SegmentRow) -> rusqlite::Result<usize> {
    tx.execute(
        "INSERT INTO gp_segment_configuration VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
        params![
            row.dbid.0,
            row.content.0,
            row.role.letter(),
            row.preferred_role.letter(),
            row.mode.letter(),
            row.status.letter(),
            row.port,
            row.hostname,
            row.address,
            row.replication_port,
            row.datadir
        ],
    )
}

/// The rows of one content, or of all. A letter that is none is an error of the catalog itself.
fn segments(db: &Connection, content: Option<Content>) -> rusqlite::Result<Vec<SegmentRow>> {
    let sql = "SELECT dbid, content, role, preferred_role, mode, status, port, hostname, address,
                      replication_port, datadir
               FROM gp_segment_configuration WHERE ?1 IS NULL OR content = ?1 ORDER BY dbid";
    let mut statement = db.prepare_cached(sql)?;
    let rows = statement.query_map([content.map(|c| c.0)], |r| {
        let bad = |i: usize| rusqlite::Error::InvalidColumnType(i, "letter".into(), rusqlite::types::Type::Text);
        let text = |i: usize| r.get::<_, String>(i);
        Ok(SegmentRow {
            dbid: Dbid(r.get(0)?),
            content: Content(r.get(1)?),
            role: Role::parse(&text(2)?).ok_or_else(|| bad(2))?,
            preferred_role: Role::parse(&text(3)?).ok_or_else(|| bad(3))?,
            mode: Mode::parse(&text(4)?).ok_or_else(|| bad(4))?,
            status: Status::parse(&text(5)?).ok_or_else(|| bad(5))?,
            port: r.get(6)?,
            hostname: r.get(7)?,
            address: r.get(8)?,
            replication_port: r.get(9)?,
            datadir: r.get(10)?,
        })
    })?;
    rows.collect()
}

/// The pair that a content's rows make, or why they make none.
fn pair(content: Content, epoch: Epoch, members: &[SegmentRow]) -> Result<PairRow, String> {
    let of = |role: Role| members.iter().filter(move |m| m.role == role).collect::<Vec<_>>();
    let member = |m: &SegmentRow| Member { dbid: m.dbid, mode: m.mode, status: m.status };
    match (&of(Role::Primary)[..], &of(Role::Mirror)[..]) {
        ([primary], []) => Ok(PairRow { content, epoch, primary: member(primary), mirror: None }),
        ([primary], [mirror]) => Ok(PairRow { content, epoch, primary: member(primary), mirror: Some(member(mirror)) }),
        (primaries, mirrors) => Err(format!(
            "content {content} has {} acting primaries and {} acting mirrors in the catalog",
            primaries.len(),
            mirrors.len()
        )),
    }
}
