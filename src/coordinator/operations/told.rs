//! What is told of operations: who holds what, how far it is, and whether anybody watches.

use super::{Answer, Live, Operations};
use crate::cluster::request::Owner;
use crate::cluster::{HEARTBEAT_STALE_MS, OperationInfo, step_of};
use crate::coordinator::store::{Operation, StoreError};
use crate::core::ids::Content;
use std::collections::BTreeMap;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Instant;

/// When each shell that follows an operation was last heard of, by its host and process.
pub(super) type Heard = BTreeMap<(String, u32), Instant>;

impl Live {
    pub(super) fn heard(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Operations {
    /// The operations that run and the last so many that ended, newest first; or the one of this number.
    pub fn list(&self, last: usize, only: Option<i64>) -> Result<Vec<OperationInfo>, StoreError> {
        let found = match only {
            Some(id) => self.shared.store.operation(id)?.into_iter().collect(),
            None => self.shared.store.recent(last)?,
        };
        Ok(found.iter().map(|operation| self.info(operation)).collect())
    }

    /// Whoever follows an operation is there.
    pub fn hear(&self, op: i64, owner: &Owner) {
        let live = self.shared.live().get(&op).cloned();
        if let Some(live) = live {
            live.heard().insert((owner.host.clone(), owner.pid), Instant::now());
        }
    }

    /// Who began an operation.
    pub fn owner_of(&self, op: i64) -> Option<Owner> {
        self.shared.live().get(&op).map(|live| live.owner.clone())
    }

    /// Another operation holds a content: who, since when, how far, and whether they are there.
    pub(super) fn locked(&self, holder: &Operation, content: Content) -> Answer {
        let message = self.info(holder).holds(content);
        Answer::Locked { op: holder.id, owner: holder.owner.clone(), message }
    }

    fn info(&self, operation: &Operation) -> OperationInfo {
        let live = self.shared.live().get(&operation.id).cloned();
        let live = live.as_ref().filter(|_| operation.outcome.is_none());
        let mut contents: Vec<Content> = operation.goal.targets.iter().map(|t| t.content).collect();
        contents.sort_unstable();
        contents.dedup();
        let (step, percent) = live.map(|l| step_of(&l.progress.borrow())).unwrap_or_default();
        let heard = live.map(ages).unwrap_or_default();
        let mine = (operation.owner.host.clone(), operation.owner.pid);
        OperationInfo {
            id: operation.id,
            verb: operation.goal.verb().into(),
            status: operation.outcome.as_ref().map_or("running", |o| o.status.word()).into(),
            contents,
            owner: operation.owner.clone(),
            started_ms: operation.started_ms,
            elapsed_ms: elapsed_ms(operation, live),
            heartbeat_ms: heard.get(&mine).copied(),
            watchers: heard.values().filter(|age| **age <= HEARTBEAT_STALE_MS).count().try_into().unwrap_or(i64::MAX),
            step,
            percent,
            outcome: operation.outcome.clone(),
        }
    }
}

/// How long ago each shell was heard of, in milliseconds.
fn ages(live: &Arc<Live>) -> BTreeMap<(String, u32), i64> {
    let age = |at: &Instant| i64::try_from(at.elapsed().as_millis()).unwrap_or(i64::MAX);
    live.heard().iter().map(|(who, at)| (who.clone(), age(at))).collect()
}

fn elapsed_ms(operation: &Operation, live: Option<&Arc<Live>>) -> i64 {
    match (&operation.outcome, live) {
        (Some(outcome), _) => outcome.elapsed_ms,
        (None, Some(live)) => live.elapsed_ms(),
        (None, None) => 0,
    }
}
