//! The compare-and-set of a pair's row, with its history and the goal that follows.

use super::{Goal, Owner, Store, StoreError, operations};
use crate::core::ids::{Content, CopyId, Dbid, Epoch};
use crate::core::operation::{GoalKind, Target};
use crate::core::row::{Member, Mode, PairRow, Place, Role, Status};
use crate::core::transition::{Effect, Event, Transition, Writer, letters};
use rusqlite::{Transaction, TransactionBehavior, params};

/// A change of a pair's row, with everything that is written in the same transaction.
#[derive(Debug, Clone)]
pub struct Change<'a> {
    pub transition: &'a Transition,
    pub reason: &'a str,
    pub evidence: &'a [String],
    /// The segment to recover at once, and who asks for it.
    pub recover: Option<(Dbid, &'a Owner)>,
    /// For [`Event::RecoveryBegins`]: whether everything is copied, and how fast at most.
    pub full_copy: bool,
    pub rate_bytes: Option<u64>,
    /// The copy that serves from here on, if the change is made by one who knows it.
    pub serving_copy: Option<CopyId>,
    /// For [`Event::InSync`]: bytes per second of the copy that made it so, if that could be measured.
    pub copy_rate_bytes: Option<i64>,
    /// The member that is moved by the change, and where it is from here on.
    pub place: Option<(Dbid, &'a Place)>,
    /// Now, in Unix milliseconds.
    pub at_ms: i64,
}

/// What came of a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Changed {
    /// The new row stands. `op` is the goal that was written with it.
    Done { row: PairRow, op: Option<i64> },
    /// The row was another one than the change is from; nothing was written.
    Stale { row: PairRow },
}

impl Store {
    /// Changes a row if it still is, as a whole, what the change is from (R1), and nobody has to look at it
    /// first. Durable on return.
    pub fn change(&self, change: &Change<'_>) -> Result<Changed, StoreError> {
        let (before, after) = (change.transition.before, change.transition.after);
        let mut db = self.lock();
        let tx = self.at(db.transaction_with_behavior(TransactionBehavior::Immediate))?;
        let found = self.content_in(&tx, before.content)?;
        if let Some(why) = found.quarantine.filter(|_| !change.transition.event.is_override()) {
            return Err(StoreError::Quarantined { content: before.content, why });
        }
        let row = found.pair.map_err(|why| self.damaged(format!("content {}", before.content), why))?;
        if row != before {
            return Ok(Changed::Stale { row });
        }
        self.at(write_pair(&tx, &after))?;
        self.at(write_beside(&tx, change, found.serving_epoch))?;
        if let Some((dbid, place)) = change.place {
            self.at(super::moves::write(&tx, dbid, place, change.at_ms))?;
        }
        self.at(write_history(&tx, change))?;
        self.at(record(&tx, after.content, change.reason, change.evidence, change.at_ms))?;
        let op = self.follow_up(&tx, change)?;
        self.at(tx.commit())?;
        Ok(Changed::Done { row: after, op })
    }

    /// The goal that follows, unless an operation already works on the content: it goes on by itself.
    fn follow_up(&self, tx: &Transaction<'_>, change: &Change<'_>) -> Result<Option<i64>, StoreError> {
        let Some((dbid, owner)) = change.recover else {
            return Ok(None);
        };
        let content = change.transition.after.content;
        // A verification recovers nothing, and neither does a backup.
        let recovers = |kind: GoalKind| !matches!(kind, GoalKind::Verify { .. } | GoalKind::Backup { .. });
        if self.active_in(tx)?.iter().any(|op| recovers(op.goal.kind) && op.goal.holds(content)) {
            return Ok(None);
        }
        let kind = GoalKind::Recover { full: false, in_place: false, rate_bytes: None };
        let goal = Goal::new(kind, vec![Target::new(content, dbid)]);
        self.at(operations::insert(tx, &goal, owner, change.at_ms)).map(Some)
    }
}

fn members(row: &PairRow) -> impl Iterator<Item = (Role, Member)> {
    std::iter::once((Role::Primary, row.primary)).chain(row.mirror.map(|m| (Role::Mirror, m)))
}

fn write_pair(tx: &Transaction<'_>, row: &PairRow) -> rusqlite::Result<()> {
    for (role, member) in members(row) {
        tx.execute(
            "UPDATE gp_segment_configuration SET role = ?2, mode = ?3, status = ?4 WHERE dbid = ?1",
            params![member.dbid.0, role.letter(), member.mode.letter(), member.status.letter()],
        )?;
    }
    tx.execute("UPDATE segsh_content SET epoch = ?2 WHERE content = ?1", params![row.content.0, signed(row.epoch)])?;
    Ok(())
}

/// An epoch rises by one at a time from 1: it never leaves the positive numbers.
fn signed(epoch: Epoch) -> i64 {
    i64::try_from(epoch.0).unwrap_or(i64::MAX)
}

/// What is kept of a content beside its letters.
fn write_beside(tx: &Transaction<'_>, change: &Change<'_>, serving: Epoch) -> rusqlite::Result<()> {
    let (event, after) = (change.transition.event, change.transition.after);
    let content = after.content.0;
    let serving = if change.transition.changes_server() { after.epoch } else { serving };
    tx.execute(
        "UPDATE segsh_content SET serving_epoch = ?2, last_event = ?3, serving_copy = coalesce(?4, serving_copy)
         WHERE content = ?1",
        params![content, signed(serving), change.reason, change.serving_copy.map(|copy| copy.to_string())],
    )?;
    if event == Event::RecoveryBegins {
        tx.execute(
            "UPDATE segsh_content SET full_copy = ?2, rate_bytes = ?3 WHERE content = ?1",
            params![content, change.full_copy, change.rate_bytes.and_then(|n| i64::try_from(n).ok())],
        )?;
    }
    if event == Event::FullCopyBegins {
        tx.execute("UPDATE segsh_content SET must_copy_all = 1 WHERE content = ?1", [content])?;
    }
    if event.leaves_one_copy() {
        tx.execute(
            "UPDATE segsh_content SET must_copy_all = ?2, full_copy = 0, rate_bytes = NULL WHERE content = ?1",
            params![content, after.mirror.is_some()],
        )?;
    }
    if event.is_override() {
        tx.execute("UPDATE segsh_content SET quarantine = NULL WHERE content = ?1", [content])?;
    }
    if change.transition.rule.effect == Effect::Synchronize {
        tx.execute(
            "UPDATE segsh_content SET full_copy = 0, rate_bytes = NULL, must_copy_all = 0,
                    single_copy_since_ms = NULL, copy_rate_bytes = coalesce(?2, copy_rate_bytes)
             WHERE content = ?1",
            params![content, change.copy_rate_bytes],
        )?;
    }
    if matches!(after.primary.mode, Mode::ChangeTracking | Mode::Resynchronizing) {
        tx.execute(
            "UPDATE segsh_content SET single_copy_since_ms = coalesce(single_copy_since_ms, ?2) WHERE content = ?1",
            params![content, change.at_ms],
        )?;
    }
    for (_, member) in members(&after) {
        match member.status {
            Status::Down => tx.execute(
                "INSERT INTO segsh_down VALUES (?1, ?2) ON CONFLICT DO NOTHING",
                params![member.dbid.0, change.at_ms],
            )?,
            Status::Up => tx.execute("DELETE FROM segsh_down WHERE dbid = ?1", [member.dbid.0])?,
        };
    }
    Ok(())
}

/// One line for each member whose letters or place change, as Greenplum writes it, with the reason. A change of
/// the epoch alone is a line of the primary's.
fn write_history(tx: &Transaction<'_>, change: &Change<'_>) -> rusqlite::Result<()> {
    let (before, after) = (change.transition.before, change.transition.after);
    let by = match change.transition.rule.by {
        Writer::Fts => "FTS",
        Writer::Operation => "operation",
    };
    let old: Vec<_> = members(&before).collect();
    let is_moved = |member: &Member| change.place.is_some_and(|(dbid, _)| dbid == member.dbid);
    let mut changed: Vec<_> = members(&after).filter(|m| !old.contains(m) || is_moved(&m.1)).collect();
    if changed.is_empty() {
        changed.push((Role::Primary, after.primary));
    }
    for (role, member) in changed {
        let desc = format!(
            "{by}: content {} role {} mode {} status {} epoch {}: {}",
            after.content,
            role.letter(),
            member.mode.letter(),
            member.status.letter(),
            after.epoch,
            change.reason
        );
        let sql = "INSERT INTO gp_configuration_history (time, dbid, desc) VALUES (?1, ?2, ?3)";
        tx.execute(sql, params![timestamp(change.at_ms), member.dbid.0, desc])?;
    }
    tracing::info!(content = after.content.0, epoch = after.epoch.0, row = letters(&after), reason = change.reason);
    Ok(())
}

/// A line about a content for which nothing can be decided, under the dbid of its acting primary: the rows
/// may be impossible, and have none or two.
pub(super) fn write_undecided(tx: &Transaction<'_>, content: Content, text: &str, at_ms: i64) -> rusqlite::Result<()> {
    let sql = "INSERT INTO gp_configuration_history (time, dbid, desc)
               SELECT ?1, dbid, ?2 FROM gp_segment_configuration WHERE content = ?3
               ORDER BY role = 'p' DESC, dbid LIMIT 1";
    tx.execute(sql, params![timestamp(at_ms), format!("FTS: content {content}: {text}"), content.0]).map(drop)
}

/// Keeps the reason of a decision with what was seen, for the last thousand decisions.
pub(super) fn record(
    tx: &Transaction<'_>,
    content: Content,
    reason: &str,
    evidence: &[String],
    at_ms: i64,
) -> rusqlite::Result<()> {
    let seen = serde_json::to_string(evidence).unwrap_or_default();
    tx.execute(
        "INSERT INTO segsh_evidence (time, content, reason, seen) VALUES (?1, ?2, ?3, ?4)",
        params![timestamp(at_ms), content.0, reason, seen],
    )?;
    tx.execute("DELETE FROM segsh_evidence WHERE number <= (SELECT max(number) FROM segsh_evidence) - 1000", [])?;
    Ok(())
}

/// Unix milliseconds as `2026-01-31 23:59:59.123+00`.
pub fn timestamp(ms: i64) -> String {
    let (days, of_day) = (ms.div_euclid(86_400_000), ms.rem_euclid(86_400_000));
    let (year, month, day) = crate::core::calendar::civil(days);
    let (seconds, millis) = (of_day / 1000, of_day % 1000);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}.{millis:03}+00")
}
