//! How long things took lately: quantiles and the worst of the last while, in bounded memory.
//!
//! Moments are durations since a start of the caller's choice, on one monotonic clock.

use std::time::Duration;

/// Buckets to an octave: a quantile is at most an eighth above the true one.
const STEPS: u64 = 8;
const STEPS_LOG: u32 = 3;
/// The highest octave that is told apart, in microseconds: 2^36 are nineteen hours.
const OCTAVE_MAX: u32 = 36;
const BUCKETS: usize = ((OCTAVE_MAX - 2) as u64 * STEPS + STEPS) as usize;

/// Counts of latencies, by size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Histogram {
    counts: Box<[u32; BUCKETS]>,
    total: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Histogram { counts: Box::new([0; BUCKETS]), total: 0 }
    }
}

fn bucket(latency: Duration) -> usize {
    let us = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX).min((1 << (OCTAVE_MAX + 1)) - 1);
    if us < STEPS {
        return us as usize;
    }
    let octave = us.ilog2();
    let step = (us >> (octave - STEPS_LOG)) - STEPS;
    ((u64::from(octave) - 2) * STEPS + step) as usize
}

/// The longest latency that falls into a bucket.
fn upper(bucket: usize) -> Duration {
    let bucket = bucket as u64;
    if bucket < STEPS {
        return Duration::from_micros(bucket);
    }
    let shift = bucket / STEPS - 1;
    Duration::from_micros(((bucket % STEPS + STEPS + 1) << shift) - 1)
}

impl Histogram {
    /// Counts one latency.
    pub fn add(&mut self, latency: Duration) {
        let count = &mut self.counts[bucket(latency)];
        *count = count.saturating_add(1);
        self.total += 1;
    }

    /// Latencies counted.
    pub fn count(&self) -> u64 {
        self.total
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.counts.fill(0);
        self.total = 0;
    }

    /// The latency that 99 of 100 do not exceed, rounded up by an eighth at most; `None` without any.
    pub fn p99(&self) -> Option<Duration> {
        p99_of(&[self])
    }
}

/// The 99th percentile of several histograms together, by nearest rank.
fn p99_of(all: &[&Histogram]) -> Option<Duration> {
    let total: u64 = all.iter().map(|h| h.total).sum();
    let rank = (total * 99).div_ceil(100);
    let mut seen = 0;
    (0..BUCKETS).find_map(|bucket| {
        seen += all.iter().map(|h| u64::from(h.counts[bucket])).sum::<u64>();
        (total > 0 && seen >= rank).then(|| upper(bucket))
    })
}

/// The latencies of the last while: at least the last [`Sliding::KEPT`], however long ago those were.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sliding {
    current: Histogram,
    previous: Histogram,
}

impl Sliding {
    /// Latencies that are always remembered; up to twice as many are.
    pub const KEPT: u64 = 1000;
    /// Fewer say nothing about a 99th percentile.
    const ENOUGH: u64 = 20;

    /// Counts one latency.
    pub fn add(&mut self, latency: Duration) {
        if self.current.count() >= Sliding::KEPT {
            std::mem::swap(&mut self.current, &mut self.previous);
            self.current.clear();
        }
        self.current.add(latency);
    }

    /// The latency that 99 of 100 did not exceed; `None` while too few are known.
    pub fn p99(&self) -> Option<Duration> {
        let both = [&self.current, &self.previous];
        (both.iter().map(|h| h.count()).sum::<u64>() >= Sliding::ENOUGH).then(|| p99_of(&both)).flatten()
    }
}

/// The longest latency of the last one to two slices of time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Worst {
    slice: u128,
    current: Duration,
    previous: Duration,
}

impl Worst {
    /// How long a latency is remembered at least; at most twice as long.
    pub const SLICE: Duration = Duration::from_secs(2);

    fn turn(&mut self, now: Duration) {
        let slice = now.as_millis() / Worst::SLICE.as_millis();
        if slice > self.slice {
            self.previous = if slice == self.slice + 1 { self.current } else { Duration::ZERO };
            (self.slice, self.current) = (slice, Duration::ZERO);
        }
    }

    /// Something that took so long has ended.
    pub fn add(&mut self, now: Duration, latency: Duration) {
        self.turn(now);
        self.current = self.current.max(latency);
    }

    /// The longest that was seen lately; zero when nothing was.
    pub fn get(mut self, now: Duration) -> Duration {
        self.turn(now);
        self.current.max(self.previous)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn us(n: u64) -> Duration {
        Duration::from_micros(n)
    }

    proptest! {
        #[test]
        fn a_p99_is_the_nearest_rank_and_at_most_an_eighth_above_it(
            mut latencies in proptest::collection::vec(0u64..100_000_000, 1..400)
        ) {
            let mut histogram = Histogram::default();
            latencies.iter().for_each(|l| histogram.add(us(*l)));
            latencies.sort_unstable();
            let exact = latencies[(latencies.len() * 99).div_ceil(100) - 1];
            let p99 = histogram.p99().expect("there is one latency at least").as_micros() as u64;
            prop_assert!(p99 >= exact && p99 <= exact + exact / 8 + 1, "{p99} for {exact}");
        }

        #[test]
        fn a_bucket_holds_what_is_not_above_its_upper_end(latency in any::<u64>()) {
            let found = bucket(us(latency));
            prop_assert!(found < BUCKETS);
            prop_assert!(found == BUCKETS - 1 || upper(found) >= us(latency));
            prop_assert!(found == 0 || upper(found - 1) < us(latency));
        }
    }

    #[test]
    fn what_was_long_ago_is_forgotten_and_a_pause_forgets_nothing() {
        let mut sliding = Sliding::default();
        assert_eq!(sliding.p99(), None);
        (0..Sliding::KEPT).for_each(|_| sliding.add(us(5_000)));
        assert!(sliding.p99() >= Some(us(5_000)));
        (0..2 * Sliding::KEPT).for_each(|_| sliding.add(us(100)));
        assert!(sliding.p99() < Some(us(200)), "{:?}", sliding.p99());
    }

    #[test]
    fn the_worst_is_remembered_for_one_to_two_slices() {
        let mut worst = Worst::default();
        let (second, late) = (Duration::from_secs(1), us(300_000));
        worst.add(second, late);
        assert_eq!(worst.get(second), late);
        assert_eq!(worst.get(second + Worst::SLICE), late);
        assert_eq!(worst.get(second + 2 * Worst::SLICE), Duration::ZERO);
    }
}
