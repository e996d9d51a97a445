//! Hosts in maintenance, until they are not.

use super::{Store, StoreError, query};
use crate::cluster::MaintenanceInfo;
use rusqlite::{Transaction, TransactionBehavior, params};

impl Store {
    /// Puts a host into maintenance, with a line of the history.
    pub fn begin_maintenance(&self, info: &MaintenanceInfo, text: &str, at_ms: i64) -> Result<(), StoreError> {
        let owner = serde_json::to_string(&info.owner).map_err(|e| self.damaged("an owner", e))?;
        self.with_event(text, at_ms, |tx| {
            tx.execute(
                "INSERT OR REPLACE INTO segsh_maintenance VALUES (?1, ?2, ?3, ?4, ?5)",
                params![info.host, info.since_ms, info.until_ms, owner, info.reason],
            )
        })
    }

    /// Ends it, with a line of the history.
    pub fn end_maintenance(&self, host: &str, text: &str, at_ms: i64) -> Result<(), StoreError> {
        self.with_event(text, at_ms, |tx| tx.execute("DELETE FROM segsh_maintenance WHERE host = ?1", [host]))
    }

    /// A host has left the cluster: its maintenance is over, and what moves have left there is nobody's, with a line of
    /// the history.
    pub fn forget_host(&self, host: &str, text: &str, at_ms: i64) -> Result<(), StoreError> {
        self.with_event(text, at_ms, |tx| {
            tx.execute("DELETE FROM segsh_left_behind WHERE hostname = ?1", [host])?;
            tx.execute("DELETE FROM segsh_maintenance WHERE host = ?1", [host])
        })
    }

    /// The hosts that were put into maintenance, by name; those that are over too, until another is begun.
    pub fn maintenance(&self) -> Result<Vec<MaintenanceInfo>, StoreError> {
        type Raw = (String, i64, i64, String, String);
        let db = self.read();
        let sql = "SELECT host, since_ms, until_ms, owner, reason FROM segsh_maintenance ORDER BY host";
        let rows: Vec<Raw> =
            self.at(query(&db, sql, |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?, r.get(3)?, r.get(4)?))))?;
        let info = |(host, since_ms, until_ms, owner, reason): Raw| {
            let owner =
                serde_json::from_str(&owner).map_err(|e| self.damaged(format!("the maintenance of {host}"), e))?;
            Ok(MaintenanceInfo { host, since_ms, until_ms, owner, reason })
        };
        rows.into_iter().map(info).collect()
    }

    fn with_event(
        &self,
        text: &str,
        at_ms: i64,
        change: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<usize>,
    ) -> Result<(), StoreError> {
        let mut db = self.lock();
        let tx = self.at(db.transaction_with_behavior(TransactionBehavior::Immediate))?;
        self.at(change(&tx))?;
        self.at(super::write_event(&tx, text, at_ms))?;
        self.at(tx.commit())
    }
}
