//! What should be looked at before it becomes a fault: a mirror that lags, a disk that fills up.

use super::state::{Segment, State};
use crate::core::ids::{Content, Dbid};
use crate::core::report::Lag;
use serde::{Deserialize, Serialize};

/// The kinds of warnings; the code is stable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WarningCode {
    /// A mirror answers syncs late; commits wait for it.
    MirrorLag,
    /// A data directory's file system has little room left.
    DiskLow,
}

impl WarningCode {
    pub fn code(self) -> &'static str {
        match self {
            WarningCode::MirrorLag => "mirror_lag",
            WarningCode::DiskLow => "disk_low",
        }
    }
}

/// One thing to look at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Warning {
    pub code: WarningCode,
    pub content: Content,
    pub dbid: Dbid,
    pub host: String,
    /// What was seen, and the threshold, in words.
    pub cause: String,
    /// The next step.
    pub next: String,
}

/// From where on something is worth a warning; `None` never warns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Thresholds {
    /// Age of a mirror's oldest unanswered sync, in milliseconds.
    pub mirror_lag_ms: Option<u64>,
    /// Free bytes under a data directory.
    pub disk_free_bytes: Option<u64>,
}

impl Thresholds {
    /// Why a mirror's lag is worth a warning, in words; `None` when it is not.
    pub fn lag(&self, lag: &Lag) -> Option<String> {
        let limit = self.mirror_lag_ms?;
        (lag.oldest_sync_ms > limit).then(|| {
            let kib = lag.queued_bytes / 1024;
            format!(
                "a sync took {} ms to be answered, {limit} ms are expected; {kib} KiB are queued",
                lag.oldest_sync_ms
            )
        })
    }

    /// Why the room that is left is worth a warning, in words; `None` when it is not.
    pub fn disk(&self, free_bytes: u64) -> Option<String> {
        let limit = self.disk_free_bytes?;
        (free_bytes < limit).then(|| format!("{} free, less than {}", mib(free_bytes), mib(limit)))
    }
}

fn mib(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

/// The warnings of a state. `lag` says how far a segment's mirror is behind, where it is a primary.
pub fn warnings(state: &State, limits: &Thresholds, lag: impl Fn(Dbid) -> Option<Lag>) -> Vec<Warning> {
    let mut found = Vec::new();
    for segment in &state.segments {
        if let Some(cause) = lag(segment.row.dbid).and_then(|lag| limits.lag(&lag)) {
            let mirror = state.acting(segment.row.content, crate::core::row::Role::Mirror).unwrap_or(segment);
            let next = format!("look at {}: its disk, its load, its network", mirror.row.hostname);
            found.push(warning(WarningCode::MirrorLag, mirror, cause, next));
        }
        let free = segment.free_bytes.and_then(|bytes| u64::try_from(bytes).ok());
        if let Some(cause) = free.and_then(|free| limits.disk(free)) {
            let next = format!("free space on {}:{}", segment.row.hostname, segment.row.datadir);
            found.push(warning(WarningCode::DiskLow, segment, cause, next));
        }
    }
    found.sort_by_key(|w| (w.content, w.dbid, w.code));
    found
}

fn warning(code: WarningCode, segment: &Segment, cause: String, next: String) -> Warning {
    let row = &segment.row;
    Warning { code, content: row.content, dbid: row.dbid, host: row.hostname.clone(), cause, next }
}

/// Whether something that is looked at again and again has crossed a threshold since: a warning is
/// written down once when it begins, not at every look.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Episode {
    warned: bool,
    /// Since when it has been well, in milliseconds.
    well_since: Option<u64>,
}

/// A warning that comes back sooner than this is the same one.
const SAME_EPISODE_MS: u64 = 60_000;

impl Episode {
    /// Something was looked at; true when a warning begins.
    pub fn begins(&mut self, now_ms: u64, is_bad: bool) -> bool {
        if is_bad {
            self.well_since = None;
            return !std::mem::replace(&mut self.warned, true);
        }
        let since = *self.well_since.get_or_insert(now_ms);
        self.warned &= now_ms.saturating_sub(since) < SAME_EPISODE_MS;
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_threshold_is_crossed_above_and_below_never_at_it_and_off_never_warns() {
        let limits = Thresholds { mirror_lag_ms: Some(500), disk_free_bytes: Some(1 << 30) };
        let lag = |oldest_sync_ms| Lag { queued_bytes: 2048, oldest_sync_ms };
        assert_eq!(limits.lag(&lag(500)), None);
        assert!(limits.lag(&lag(501)).is_some_and(|why| why.contains("501 ms") && why.contains("2 KiB")));
        assert_eq!(limits.disk(1 << 30), None);
        assert!(limits.disk((1 << 30) - 1).is_some());
        assert_eq!((Thresholds::default().lag(&lag(u64::MAX)), Thresholds::default().disk(0)), (None, None));
    }

    #[test]
    fn a_warning_that_flaps_is_written_down_once() {
        let mut episode = Episode::default();
        let mut begun = 0;
        for look in 0..1_000 {
            begun += u32::from(episode.begins(look * 1_000, look % 10 < 2));
        }
        assert_eq!(begun, 1);
        assert!(!episode.begins(1_000_000, false) && !episode.begins(1_060_000, false));
        assert!(episode.begins(1_061_000, true), "after a minute without, it is another one");
    }
}
