//! Segments that are moved, and what they leave behind.

use super::{Store, StoreError, query};
use crate::cluster::LeftBehind;
use crate::core::ids::Dbid;
use crate::core::row::Place;
use rusqlite::{Transaction, params};

impl Store {
    /// What moves have left at former places, by host and directory.
    pub fn left_behind(&self) -> Result<Vec<LeftBehind>, StoreError> {
        let db = self.read();
        let sql = "SELECT hostname, datadir, dbid, since_ms FROM segsh_left_behind ORDER BY hostname, datadir";
        let left = |r: &rusqlite::Row<'_>| {
            Ok(LeftBehind { host: r.get(0)?, datadir: r.get(1)?, dbid: Dbid(r.get(2)?), since_ms: r.get(3)? })
        };
        self.at(query(&db, sql, left))
    }

    /// Nothing is left there any more.
    pub fn forget_left_behind(&self, host: &str, datadir: &str) -> Result<(), StoreError> {
        let sql = "DELETE FROM segsh_left_behind WHERE hostname = ?1 AND datadir = ?2";
        self.at(self.lock().execute(sql, [host, datadir])).map(drop)
    }
}

/// Writes where a segment is from here on; the place that it leaves is remembered.
pub(super) fn write(tx: &Transaction<'_>, dbid: Dbid, place: &Place, at_ms: i64) -> rusqlite::Result<()> {
    tx.execute(
        "INSERT OR REPLACE INTO segsh_left_behind
         SELECT hostname, datadir, dbid, ?2 FROM gp_segment_configuration WHERE dbid = ?1",
        params![dbid.0, at_ms],
    )?;
    tx.execute(
        "UPDATE gp_segment_configuration
         SET hostname = ?2, address = ?3, port = ?4, replication_port = ?5, datadir = ?6 WHERE dbid = ?1",
        params![dbid.0, place.hostname, place.address, place.port, place.replication_port, place.datadir],
    )?;
    // Where it is now, nothing is left behind.
    let sql = "DELETE FROM segsh_left_behind WHERE hostname = ?1 AND datadir = ?2";
    tx.execute(sql, [&place.hostname, &place.datadir]).map(drop)
}
