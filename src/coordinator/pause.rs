//! The pause of failovers, and what FTS saw: the requests that are about FTS itself.

use super::Coordinator;
use super::clock::unix_ms;
use super::store::{StoreError, timestamp};
use crate::cluster::request::Owner;
use crate::cluster::{Evidence, Observed, done};
use crate::core::ids::Content;
use std::time::Duration;
use thiserror::Error;

/// How long a pause lasts when nobody says how long.
pub const PAUSE_DEFAULT: Duration = Duration::from_secs(600);
/// The longest pause: whoever needs more says so again.
pub const PAUSE_MAX: Duration = Duration::from_secs(86_400);
/// How many decisions are told.
const DECISIONS: usize = 20;

/// Why a pause can't be made.
#[derive(Debug, Error)]
pub enum PauseError {
    #[error("a pause lasts between 1 ms and {} h, not {ms} ms", PAUSE_MAX.as_secs() / 3600)]
    Length { ms: i64 },
    #[error("{0}")]
    Unit(String),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Coordinator {
    /// Nobody is promoted for so many milliseconds; the default when none are given. It is in the
    /// history, with who asked, before it counts. Another pause replaces one that lasts.
    pub async fn pause_fts(&self, for_ms: Option<i64>, owner: &Owner) -> Result<(), PauseError> {
        let ms = match for_ms {
            None => PAUSE_DEFAULT.as_millis() as u64,
            Some(ms) => u64::try_from(ms)
                .ok()
                .filter(|ms| (1..=PAUSE_MAX.as_millis()).contains(&u128::from(*ms)))
                .ok_or(PauseError::Length { ms })?,
        };
        let began_ms = unix_ms();
        let until = timestamp(began_ms.saturating_add(i64::try_from(ms).unwrap_or(i64::MAX)));
        let text = format!("paused until {until} by {}: no mirror takes over before", owner.who());
        self.store.event(&format!("FTS: {text}"), began_ms)?;
        self.prober.pause(Some(Duration::from_millis(ms))).await;
        tracing::warn!(text, "FTS");
        self.audit.append(0, owner, began_ms, &done("fts_pause", text));
        Ok(())
    }

    /// Ends a pause; what it withheld is decided before this returns.
    pub async fn resume_fts(&self, owner: &Owner) -> Result<(), StoreError> {
        let at_ms = unix_ms();
        let text = format!("resumed by {}", owner.who());
        self.store.event(&format!("FTS: {text}"), at_ms)?;
        self.prober.pause(None).await;
        tracing::warn!(text, "FTS");
        self.audit.append(0, owner, at_ms, &done("fts_resume", text));
        Ok(())
    }

    /// What FTS saw of a content, and what it decided from it.
    pub async fn evidence(&self, content: Content) -> Result<Evidence, StoreError> {
        let decisions = self.store.decisions(content, DECISIONS)?;
        let sight = self.prober.sight(content).await.ok_or(StoreError::NoContent(content))?;
        let now_ms = unix_ms();
        let seen = sight.seen.into_iter().map(|(age_ms, what)| {
            let age_ms = i64::try_from(age_ms).unwrap_or(i64::MAX);
            Observed { age_ms, time_ms: now_ms.saturating_sub(age_ms), what }
        });
        Ok(Evidence { content, now: sight.now, seen: seen.collect(), decisions })
    }
}
