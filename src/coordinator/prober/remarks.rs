//! What is worth a line of history before it becomes a fault: a mirror that lags, a disk that fills up.

use crate::cluster::{Episode, Thresholds, WarningCode};
use crate::coordinator::store::{Store, StoreError};
use crate::core::ids::Dbid;
use crate::core::report::Report;
use std::collections::BTreeMap;

/// The thresholds, as the settings say them.
pub fn thresholds(store: &Store) -> Result<Thresholds, StoreError> {
    Ok(Thresholds {
        mirror_lag_ms: store.setting_number("segsh_mirror_lag_warn")?,
        disk_free_bytes: store.setting_number("segsh_disk_free_warn")?,
    })
}

/// Which warnings there are now, so that each is written down once.
#[derive(Debug)]
pub(super) struct Watch {
    pub limits: Thresholds,
    episodes: BTreeMap<(Dbid, WarningCode), Episode>,
}

impl Watch {
    pub fn new(limits: Thresholds) -> Watch {
        Watch { limits, episodes: BTreeMap::new() }
    }

    /// The lines that a report adds to the history, each with the segment it is about. `mirror` is the
    /// other member of the segment's pair; `now_ms` is monotonic.
    pub fn look(&mut self, now_ms: u64, report: &Report, mirror: Option<Dbid>) -> Vec<(Dbid, String)> {
        let lag = report.lag.as_ref().and_then(|lag| self.limits.lag(lag)).map(|why| format!("warning: mirror: {why}"));
        let disk = self.limits.disk(report.free_bytes).map(|why| format!("warning: disk: {why}"));
        let seen =
            [(mirror.unwrap_or(report.dbid), WarningCode::MirrorLag, lag), (report.dbid, WarningCode::DiskLow, disk)];
        // A report of a mirror says nothing about the lag, which its primary measures.
        let judged = seen.into_iter().filter(|(_, code, _)| *code != WarningCode::MirrorLag || report.lag.is_some());
        judged
            .filter_map(|(dbid, code, why)| {
                let episode = self.episodes.entry((dbid, code)).or_default();
                let begins = episode.begins(now_ms, why.is_some());
                why.filter(|_| begins).map(|why| (dbid, why))
            })
            .collect()
    }
}
