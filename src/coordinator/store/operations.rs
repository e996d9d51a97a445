//! The durable goals.

use super::{Goal, Owner, Store, StoreError};
use crate::cluster::Outcome;
use crate::core::row::PairRow;
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};

/// An operation as the catalog keeps it.
#[derive(Debug, Clone, PartialEq)]
pub struct Operation {
    pub id: i64,
    pub goal: Goal,
    pub owner: Owner,
    pub started_ms: i64,
    pub ended_ms: Option<i64>,
    pub outcome: Option<Outcome>,
}

/// An operation that is already there and holds a content of a new one.
#[derive(Debug, Clone, PartialEq)]
pub enum Begun {
    New(i64),
    /// Nothing was written: this operation holds a content of the goal.
    Held(Box<Operation>),
}

impl Store {
    /// Makes a goal durable, unless another operation works on one of its contents that the goal does
    /// not merely wait for.
    pub fn begin(&self, goal: &Goal, owner: &Owner, at_ms: i64) -> Result<Begun, StoreError> {
        let mut db = self.lock();
        let tx = self.at(db.transaction_with_behavior(TransactionBehavior::Immediate))?;
        let mine = || goal.targets.iter().filter(|t| !t.joined && t.ended.is_none());
        let holder = self.active_in(&tx)?.into_iter().find(|op| mine().any(|t| op.goal.holds(t.content)));
        if let Some(holder) = holder {
            return Ok(Begun::Held(Box::new(holder)));
        }
        let id = self.at(insert(&tx, goal, owner, at_ms))?;
        self.at(tx.commit())?;
        Ok(Begun::New(id))
    }

    /// Keeps how far a goal is.
    pub fn save_goal(&self, id: i64, goal: &Goal) -> Result<(), StoreError> {
        let sql = "UPDATE segsh_operation SET goal = ?2 WHERE id = ?1 AND ended_ms IS NULL";
        self.at(self.lock().execute(sql, params![id, json(goal)])).map(drop)
    }

    /// Keeps how far a goal is, if the content's row still is what that was judged from: a target that ends no
    /// longer holds its content, and what happens to the row from then on is nobody's. Returns whether.
    pub fn save_goal_on(&self, id: i64, goal: &Goal, row: &PairRow) -> Result<bool, StoreError> {
        let mut db = self.lock();
        let tx = self.at(db.transaction_with_behavior(TransactionBehavior::Immediate))?;
        if self.content_in(&tx, row.content)?.pair.as_ref() != Ok(row) {
            return Ok(false);
        }
        let sql = "UPDATE segsh_operation SET goal = ?2 WHERE id = ?1 AND ended_ms IS NULL";
        self.at(tx.execute(sql, params![id, json(goal)]))?;
        self.at(tx.commit())?;
        Ok(true)
    }

    /// Ends an operation.
    pub fn end(&self, id: i64, goal: &Goal, outcome: &Outcome, at_ms: i64) -> Result<(), StoreError> {
        let sql = "UPDATE segsh_operation SET goal = ?2, outcome = ?3, status = ?4, ended_ms = ?5 WHERE id = ?1";
        let status = outcome.status.word();
        self.at(self.lock().execute(sql, params![id, json(goal), json(outcome), status, at_ms])).map(drop)
    }

    /// The operations that have not ended, oldest first.
    pub fn active(&self) -> Result<Vec<Operation>, StoreError> {
        self.active_in(&self.read())
    }

    pub(super) fn active_in(&self, db: &Connection) -> Result<Vec<Operation>, StoreError> {
        let sql = "SELECT id, goal, owner, started_ms, ended_ms, outcome FROM segsh_operation
                   WHERE ended_ms IS NULL ORDER BY id";
        self.at(super::query(db, sql, raw))?.into_iter().map(|raw| self.parse(raw)).collect()
    }

    /// An operation of any time.
    pub fn operation(&self, id: i64) -> Result<Option<Operation>, StoreError> {
        let sql = "SELECT id, goal, owner, started_ms, ended_ms, outcome FROM segsh_operation WHERE id = ?1";
        let found = self.at(self.read().query_row(sql, [id], raw).optional())?;
        found.map(|raw| self.parse(raw)).transpose()
    }

    /// The operations that have not ended and the last so many that have, newest first.
    pub fn recent(&self, last: usize) -> Result<Vec<Operation>, StoreError> {
        let db = self.read();
        let sql = "SELECT id, goal, owner, started_ms, ended_ms, outcome FROM segsh_operation
                   WHERE ended_ms IS NULL OR id IN
                     (SELECT id FROM segsh_operation WHERE ended_ms IS NOT NULL ORDER BY id DESC LIMIT ?1)
                   ORDER BY id DESC";
        let last = i64::try_from(last).unwrap_or(i64::MAX);
        let rows = db
            .prepare_cached(sql)
            .and_then(|mut statement| statement.query_map([last], raw)?.collect::<rusqlite::Result<Vec<Raw>>>());
        self.at(rows)?.into_iter().map(|raw| self.parse(raw)).collect()
    }

    /// As if no operation had been left.
    #[cfg(test)]
    pub fn forget_operations(&self) {
        self.lock().execute("DELETE FROM segsh_operation", []).expect("a delete");
    }

    fn parse(&self, (id, goal, owner, started_ms, ended_ms, outcome): Raw) -> Result<Operation, StoreError> {
        let bad = |e: serde_json::Error| self.damaged(format!("operation {id}"), e);
        Ok(Operation {
            id,
            goal: serde_json::from_str(&goal).map_err(bad)?,
            owner: serde_json::from_str(&owner).map_err(bad)?,
            started_ms,
            ended_ms,
            outcome: outcome.map(|text| serde_json::from_str(&text)).transpose().map_err(bad)?,
        })
    }
}

type Raw = (i64, String, String, i64, Option<i64>, Option<String>);

fn raw(r: &rusqlite::Row<'_>) -> rusqlite::Result<Raw> {
    Ok((r.get(0)?, r.get(1)?, r.get(2)?, r.get(3)?, r.get(4)?, r.get(5)?))
}

pub(super) fn insert(tx: &Transaction<'_>, goal: &Goal, owner: &Owner, at_ms: i64) -> rusqlite::Result<i64> {
    tx.execute(
        "INSERT INTO segsh_operation (kind, goal, owner, started_ms) VALUES (?1, ?2, ?3, ?4)",
        params![goal.verb(), json(goal), json(owner), at_ms],
    )?;
    Ok(tx.last_insert_rowid())
}

/// These types hold no map with keys that JSON lacks, so they always have a JSON form.
fn json<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_default()
}
