//! Maintenance of hosts: while something is done by hand on a host, nothing is recovered to it.
//!
//! It is durable before it counts, because whoever works on the host does not know that a coordinator was
//! restarted. Its end is told by the steady clock: a calendar that is set makes it neither longer nor endless.

use super::Coordinator;
use super::board::Knowledge;
use super::clock::unix_ms;
use super::operations::IN_MAINTENANCE_NEXT;
use super::store::{Store, StoreError};
use crate::cluster::request::Owner;
use crate::cluster::{MaintenanceInfo, done, duration};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use thiserror::Error;

/// The longest maintenance: whoever needs more says so again.
pub const MAINTENANCE_MAX: Duration = Duration::from_secs(7 * 86_400);

/// Why a host can't be put into maintenance.
#[derive(Debug, Error)]
pub enum MaintenanceError {
    #[error("there is no host `{host}`; there are: {known}")]
    UnknownHost { host: String, known: String },
    #[error("a maintenance lasts between 1 ms and {} days, not {ms} ms", MAINTENANCE_MAX.as_secs() / 86_400)]
    Length { ms: i64 },
    #[error("a maintenance has a reason, for whoever finds it")]
    NoReason,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl MaintenanceError {
    /// The next step as it would be typed.
    pub fn next(&self) -> String {
        match self {
            MaintenanceError::UnknownHost { .. } => "state().hosts".into(),
            MaintenanceError::Store(_) => "look at the coordinator's log".into(),
            MaintenanceError::Length { .. } | MaintenanceError::NoReason => IN_MAINTENANCE_NEXT.into(),
        }
    }
}

/// A host in maintenance, until when by the steady clock.
#[derive(Debug, Clone)]
pub struct Window {
    until: Instant,
    info: MaintenanceInfo,
}

impl Window {
    /// What is left of it counts from now.
    fn new(info: MaintenanceInfo) -> Window {
        let left = u64::try_from(info.until_ms.saturating_sub(unix_ms())).unwrap_or_default();
        // A calendar that was set back while nobody looked makes it no longer than it can be.
        let left = Duration::from_millis(left).min(MAINTENANCE_MAX);
        Window { until: Instant::now() + left, info }
    }

    /// What is told of it; `None` when it is over.
    fn told(&self) -> Option<MaintenanceInfo> {
        let left = self.until.checked_duration_since(Instant::now())?;
        let left_ms = i64::try_from(left.as_millis()).unwrap_or(i64::MAX);
        Some(MaintenanceInfo { until_ms: unix_ms().saturating_add(left_ms), ..self.info.clone() })
    }
}

impl Knowledge {
    /// The hosts in maintenance, by name.
    pub fn maintained(&self) -> Vec<MaintenanceInfo> {
        self.maintenance.values().filter_map(Window::told).collect()
    }
}

/// What an earlier coordinator left that is not over.
pub(super) fn left(store: &Store) -> Result<BTreeMap<String, Window>, StoreError> {
    let windows = store.maintenance()?.into_iter().map(|info| (info.host.clone(), Window::new(info)));
    Ok(windows.filter(|(_, window)| window.told().is_some()).collect())
}

impl Coordinator {
    /// Nothing is recovered to a host for so many milliseconds; 0 ends that. Another one of the same host
    /// replaces one that lasts.
    pub fn maintain(&self, host: &str, for_ms: i64, reason: &str, owner: &Owner) -> Result<(), MaintenanceError> {
        if self.places.host(host).is_none() {
            let known = self.places.host_places().into_iter().map(|place| place.name).collect::<Vec<_>>().join(", ");
            return Err(MaintenanceError::UnknownHost { host: host.into(), known });
        }
        let now_ms = unix_ms();
        let text = if for_ms == 0 {
            let text = format!("host {host}: maintenance ended by {}", owner.who());
            self.store.end_maintenance(host, &text, now_ms)?;
            self.board.write(|k| k.maintenance.remove(host));
            text
        } else {
            let info = window(host, for_ms, reason, owner, now_ms)?;
            let text =
                format!("host {host}: in maintenance for {} by {}: {}", duration(for_ms), owner.who(), info.reason);
            self.store.begin_maintenance(&info, &text, now_ms)?;
            self.board.write(|k| k.maintenance.insert(host.into(), Window::new(info)));
            text
        };
        tracing::warn!(text, "maintenance");
        self.audit.append(0, owner, now_ms, &done("maintenance", text));
        Ok(())
    }
}

fn window(
    host: &str,
    for_ms: i64,
    reason: &str,
    owner: &Owner,
    now_ms: i64,
) -> Result<MaintenanceInfo, MaintenanceError> {
    let longest = i64::try_from(MAINTENANCE_MAX.as_millis()).unwrap_or(i64::MAX);
    if !(1..=longest).contains(&for_ms) {
        return Err(MaintenanceError::Length { ms: for_ms });
    }
    let reason = reason.trim();
    if reason.is_empty() {
        return Err(MaintenanceError::NoReason);
    }
    let until_ms = now_ms.saturating_add(for_ms);
    Ok(MaintenanceInfo { host: host.into(), since_ms: now_ms, until_ms, owner: owner.clone(), reason: reason.into() })
}
