//! Whether a host may leave: no segment is there, and none is on its way there or from there.

use super::Operations;
use crate::cluster::{Refusal, RefusalCode};
use crate::coordinator::store::StoreError;
use crate::core::ids::Dbid;
use crate::core::row::Place;
use std::sync::PoisonError;
use thiserror::Error;

/// Why a host may not leave.
#[derive(Debug, Error)]
pub enum InUse {
    #[error("host {host} has {}", segments(.dbids))]
    Holds { host: String, dbids: Vec<Dbid> },
    #[error("operation {op} moves dbid {dbid}, and is not done with host {host}")]
    Moves { host: String, op: i64, dbid: Dbid },
}

impl InUse {
    /// As a refusal, with the next step.
    pub fn refusal(&self) -> Refusal {
        let (host, dbid, next) = match self {
            InUse::Holds { host, dbids } => {
                let next = format!("procedure(\"replace_host\", #{{ host: \"{host}\", to: \"HOST\" }})");
                (host, dbids.first(), next)
            }
            InUse::Moves { host, op, dbid } => (host, Some(dbid), format!("attach({op}); remove_host(\"{host}\")")),
        };
        Refusal {
            code: RefusalCode::HostInUse,
            content: None,
            dbid: dbid.copied(),
            host: Some(host.clone()),
            cause: self.to_string(),
            next,
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
    /// Nothing is moved to this host from here on; or something is there or on its way, and it stays.
    pub fn let_go(&self, host: &str) -> Result<Result<(), InUse>, StoreError> {
        let shared = &self.shared;
        let _settling = shared.settling.lock().unwrap_or_else(PoisonError::into_inner);
        // Before the rows: a move that ends meanwhile has written its row.
        let active = shared.store.active()?;
        let dbids: Vec<Dbid> =
            shared.places.rows().iter().filter(|row| row.hostname == host).map(|row| row.dbid).collect();
        if !dbids.is_empty() {
            return Ok(Err(InUse::Holds { host: host.into(), dbids }));
        }
        let is_there = |place: &Place| place.hostname == host;
        for op in active {
            let moving = op.goal.targets.iter().filter(|target| target.ended.is_none());
            let on_its_way = moving.into_iter().find(|t| t.to.iter().chain(&t.from).any(is_there));
            if let Some(target) = on_its_way {
                return Ok(Err(InUse::Moves { host: host.into(), op: op.id, dbid: target.dbid }));
            }
        }
        shared.places.remove_host(host);
        Ok(Ok(()))
    }
}
