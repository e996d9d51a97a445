//! What commits take, how fast a copy may go beside them, and how far the mirror is behind.
//!
//! Figures of this process, under the engine's lock; nothing that the pair decides depends on them.

use super::state::{Engine, Inner};
use crate::core::latency::Worst;
use crate::core::pace::{Idle, Pace, Turn};
use crate::core::pair::primary::Mirroring;
use crate::core::pair::replica::{Link, LinkId, Ticket, Time};
use crate::core::report::Lag;
use std::time::Duration;

/// A primary that committed within this time before a copy has clients that would feel it.
const RECENTLY: Duration = Duration::from_secs(1);

/// The pace of the copy under way, and what it is judged by.
#[derive(Default)]
pub(super) struct Pacing {
    idle: Idle,
    copy: Option<(LinkId, Pace)>,
    last_commit: Option<Time>,
    /// How long the mirror took to answer syncs.
    answers: Worst,
}

impl Pacing {
    /// A commit took so long. One whose mirror was lost on the way waited for the coordinator, and says
    /// nothing about disks and links.
    fn committed(&mut self, now: Time, took: Duration, is_mirrored: bool, mirroring: Mirroring) {
        self.last_commit = Some(now);
        match (mirroring, &mut self.copy) {
            // Beside a copy it waits for this side's disk, which the copy shares.
            (Mirroring::Resync, Some((_, pace))) => pace.committed(took),
            (Mirroring::InSync, _) if is_mirrored => self.idle.committed(took, true),
            (Mirroring::Tracking | Mirroring::Mirrorless, _) if !is_mirrored => self.idle.committed(took, false),
            _ => {}
        }
    }

    /// Whether the copy over this link may go on, capped by the operator at so many bytes a second.
    pub fn ask(&mut self, link: LinkId, cap: Option<u64>, now: Time, wanted: u64) -> Turn {
        let idle = self.idle.p99();
        let (_, pace) = match &mut self.copy {
            Some(copy) if copy.0 == link => copy,
            copy => {
                let pace = Pace::new(now, cap, idle);
                let is_written_to = self.last_commit.is_some_and(|at| now.saturating_sub(at) < RECENTLY);
                copy.insert((link, if is_written_to { pace.gently() } else { pace }))
            }
        };
        pace.ask(now, wanted)
    }

    /// The mirror answered, and the oldest sync then was so old.
    pub fn answered(&mut self, now: Time, oldest: Option<Duration>) {
        self.answers.add(now, oldest.unwrap_or_default());
    }

    /// How far the mirror of this link is behind.
    pub fn lag(&self, link: &Link, now: Time) -> Lag {
        let oldest = link.oldest_unanswered(now).unwrap_or_default().max(self.answers.get(now));
        Lag {
            queued_bytes: link.queued_bytes() as u64,
            oldest_sync_ms: u64::try_from(oldest.as_millis()).unwrap_or(u64::MAX),
        }
    }
}

impl Engine {
    /// A sync of the log is over: that is a commit, as its session felt it.
    pub(super) fn note_commit(&self, inner: &mut Inner, ticket: Ticket, began: Time) {
        if let Ok(acting) = inner.replica.acting() {
            let mirroring = acting.primary().mirroring();
            let now = self.now();
            inner.pacing.committed(now, now.saturating_sub(began), ticket.is_mirrored(), mirroring);
        }
    }
}
