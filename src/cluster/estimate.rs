//! How long a copy takes: what is left of one that runs, from its own measured rate; and what one would
//! take that has not begun, with what that is based on.

use crate::core::report::Progress;
use crate::core::track::BLOCK_BYTES;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// What a copy is assumed to move in bytes per second, until one has been measured.
pub const ASSUMED_BYTES_PER_S: i64 = 850 << 20;
/// What it takes to start a mirror and to pass the two pauses, in milliseconds.
pub const RECOVERY_OVERHEAD_MS: i64 = 300;
/// A rate is measured over this long, in milliseconds: the disk's moods even out, a stall shows.
const WINDOW_MS: u64 = 5_000;
/// A shorter time says nothing about a rate.
const SHORTEST_MS: u64 = 200;
/// A smaller copy is all beginning and end: it says nothing about a rate.
const MEASURABLE_BLOCKS: u64 = 2_048;

/// What an estimate is based on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Basis {
    /// The operator's cap: it is lower than what was measured or assumed.
    Cap,
    /// The rate of this content's last recovery.
    Measured,
    /// Nothing was measured yet.
    Assumed,
}

impl Basis {
    pub fn word(self) -> &'static str {
        match self {
            Basis::Cap => "cap",
            Basis::Measured => "measured",
            Basis::Assumed => "assumed",
        }
    }
}

/// How long a copy would take, in milliseconds, and what says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Estimate {
    pub ms: i64,
    /// Bytes per second it counts on.
    pub rate_bytes: i64,
    pub basis: Basis,
}

/// What copying so many bytes would take. `cap` is the operator's; `measured` the rate of the content's
/// last recovery. Rates are in bytes per second.
pub fn before_it_begins(bytes: i64, cap: Option<i64>, measured: Option<i64>) -> Estimate {
    let (rate, basis) = match measured.filter(|rate| *rate > 0) {
        Some(rate) => (rate, Basis::Measured),
        None => (ASSUMED_BYTES_PER_S, Basis::Assumed),
    };
    let (rate_bytes, basis) = match cap.map(|cap| cap.max(1)) {
        Some(cap) if cap < rate => (cap, Basis::Cap),
        _ => (rate, basis),
    };
    let ms = RECOVERY_OVERHEAD_MS.saturating_add(bytes.max(0).saturating_mul(1000) / rate_bytes);
    Estimate { ms, rate_bytes, basis }
}

/// What is left of a copy that runs, in milliseconds; `None` before there is a rate, and while nothing
/// moves.
pub fn left_ms(progress: &Progress) -> Option<i64> {
    let left = u128::from(progress.total_blocks.saturating_sub(progress.copied_blocks)) * u128::from(BLOCK_BYTES);
    let rate = match progress.rate_bytes {
        Some(rate) => u128::from(rate),
        // Not measured yet: what was done so far.
        None => average(progress)?,
    };
    (rate > 0).then(|| i64::try_from(left * 1000 / rate).unwrap_or(i64::MAX))
}

fn average(progress: &Progress) -> Option<u128> {
    let done = u128::from(progress.copied_blocks) * u128::from(BLOCK_BYTES);
    (progress.elapsed_ms > 0 && done > 0).then(|| done * 1000 / u128::from(progress.elapsed_ms))
}

/// The rate of a copy that has ended, in bytes per second; `None` when it was too small to tell.
pub fn rate_of_all(progress: &Progress) -> Option<i64> {
    let is_measurable = progress.total_blocks >= MEASURABLE_BLOCKS && progress.copied_blocks == progress.total_blocks;
    is_measurable.then(|| average(progress)).flatten().and_then(|rate| i64::try_from(rate).ok())
}

/// Measures the rate of a copy from how far it is at moments.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Speedometer {
    /// Moments in milliseconds, and the blocks copied by then.
    seen: VecDeque<(u64, u64)>,
}

impl Speedometer {
    /// Bytes per second over the last seconds, now that so many blocks are copied; `None` before it is
    /// known. Fewer blocks than before are those of another copy.
    pub fn see(&mut self, now_ms: u64, copied_blocks: u64) -> Option<u64> {
        if self.seen.back().is_some_and(|(at, blocks)| *blocks > copied_blocks || *at > now_ms) {
            self.seen.clear();
        }
        self.seen.push_back((now_ms, copied_blocks));
        // The oldest that is kept is the first before the window, so that the window is always full.
        while self.seen.get(1).is_some_and(|(at, _)| now_ms - at >= WINDOW_MS) {
            self.seen.pop_front();
        }
        let (from_ms, from_blocks) = *self.seen.front()?;
        let elapsed = now_ms - from_ms;
        (elapsed >= SHORTEST_MS).then(|| (copied_blocks - from_blocks).saturating_mul(BLOCK_BYTES * 1000) / elapsed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::report::Stage;
    use proptest::prelude::*;

    fn progress(total: u64, copied: u64, elapsed_ms: u64, rate_bytes: Option<u64>) -> Progress {
        Progress {
            stage: Stage::DataCopy,
            total_blocks: total,
            copied_blocks: copied,
            files_created: 0,
            files_dropped: 0,
            pause_open_us: None,
            pause_claim_us: None,
            elapsed_ms,
            rate_bytes,
        }
    }

    #[test]
    fn an_estimate_says_what_it_is_based_on() {
        let mib = 1 << 20;
        let based = |cap, measured| before_it_begins(100 * mib, cap, measured).basis;
        assert_eq!(based(None, None), Basis::Assumed);
        assert_eq!(based(None, Some(50 * mib)), Basis::Measured);
        assert_eq!(based(Some(10 * mib), Some(50 * mib)), Basis::Cap);
        assert_eq!(based(Some(90 * mib), Some(50 * mib)), Basis::Measured, "a cap that is not reached caps nothing");
        assert_eq!(before_it_begins(100 * mib, Some(10 * mib), None).ms, 10_000 + RECOVERY_OVERHEAD_MS);
        assert_eq!(before_it_begins(100 * mib, None, Some(50 * mib)).ms, 2_000 + RECOVERY_OVERHEAD_MS);
        assert!(before_it_begins(i64::MAX, Some(0), None).ms > 0, "no overflow");
    }

    #[test]
    fn what_is_left_follows_the_measured_rate_and_a_stalled_copy_has_no_end() {
        // Half a minute of preparation would make the average a lie.
        let copying = progress(25_600, 12_800, 30_500, Some(50 << 20));
        assert_eq!(left_ms(&copying), Some(1_000));
        assert_eq!(left_ms(&progress(25_600, 12_800, 30_500, Some(0))), None);
        assert_eq!(left_ms(&progress(100, 50, 1_000, None)), Some(1_000));
        assert_eq!(left_ms(&progress(100, 0, 1_000, None)), None);
    }

    #[test]
    fn only_a_whole_copy_of_some_size_is_a_measurement() {
        assert_eq!(rate_of_all(&progress(12_800, 12_800, 1_000, None)), Some(50 << 20));
        assert_eq!(rate_of_all(&progress(12_800, 12_000, 1_000, None)), None);
        assert_eq!(rate_of_all(&progress(10, 10, 1, None)), None);
    }

    #[test]
    fn another_copy_begins_another_measurement() {
        let mut meter = Speedometer::default();
        meter.see(0, 0);
        assert_eq!(meter.see(1_000, 256), Some(1 << 20));
        assert_eq!(meter.see(2_000, 0), None);
        assert_eq!(meter.see(3_000, 512), Some(2 << 20));
    }

    proptest! {
        #[test]
        fn a_steady_copy_is_measured_as_it_is_whenever_it_is_looked_at(
            blocks_per_s in 100u64..300_000,
            pauses in proptest::collection::vec(1u64..2_000, 10..60),
        ) {
            let (mut meter, mut now) = (Speedometer::default(), 0);
            for pause in pauses {
                now += pause;
                if let Some(rate) = meter.see(now, now * blocks_per_s / 1000) {
                    let exact = blocks_per_s * BLOCK_BYTES;
                    // Whole blocks, over 200 ms at least.
                    prop_assert!(rate.abs_diff(exact) <= 10 * BLOCK_BYTES, "{} instead of {}", rate, exact);
                }
            }
        }

        #[test]
        fn a_copy_that_stands_still_for_the_window_has_no_rate(before in 0u64..1_000_000, steps in 26u64..50) {
            let mut meter = Speedometer::default();
            meter.see(0, 0);
            meter.see(500, before);
            let last = (1..=steps).map(|n| meter.see(500 + n * 200, before)).last().flatten();
            prop_assert_eq!(last, Some(0));
        }
    }
}
