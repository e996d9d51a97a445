//! Whether a host may leave: no segment is there, and none is on its way there or from there.

use super::Operations;
use crate::coordinator::store::StoreError;
use crate::core::ids::Dbid;
use std::sync::PoisonError;
use thiserror::Error;

/// Why a host may not leave.
#[derive(Debug, Error)]
pub enum InUse {
    #[error("host {host} has {}", segments(.dbids))]
    Holds { host: String, dbids: Vec<Dbid> },
    #[error("operation {op} moves dbid {dbid}, and is not done with host {host}")]
    Moves { host: String, op: i64, dbid: Dbid },
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl InUse {
    /// The next step as it would be typed.
    pub fn next(&self) -> String {
        match self {
            InUse::Holds { host, .. } => format!("segsh run replace_host --set host={host} --set to=HOST"),
            InUse::Moves { op, .. } => format!("attach({op}), then again"),
            InUse::Store(_) => "look at the coordinator's log".into(),
        }
    }
}

fn segments(dbids: &[Dbid]) -> String {
    match dbids {
        [one] => format!("dbid {one}"),
        several => format!("dbids {}", several.iter().map(Dbid::to_string).collect::<Vec<_>>().join(", ")),
    }
}

impl Operations {
    /// Nothing is moved to this host from here on, unless something is there or on its way.
    pub fn let_go(&self, host: &str) -> Result<(), InUse> {
        let shared = &self.shared;
        let _settling = shared.settling.lock().unwrap_or_else(PoisonError::into_inner);
        let dbids: Vec<Dbid> =
            shared.places.rows().iter().filter(|row| row.hostname == host).map(|row| row.dbid).collect();
        if !dbids.is_empty() {
            return Err(InUse::Holds { host: host.into(), dbids });
        }
        for op in shared.store.active()? {
            let is_there = |place: &crate::core::row::Place| place.hostname == host;
            let moving = op.goal.targets.iter().filter(|target| target.ended.is_none());
            let on_its_way = moving.into_iter().find(|t| t.to.iter().chain(&t.from).any(is_there));
            if let Some(target) = on_its_way {
                return Err(InUse::Moves { host: host.into(), op: op.id, dbid: target.dbid });
            }
        }
        shared.places.remove_host(host);
        Ok(())
    }
}
