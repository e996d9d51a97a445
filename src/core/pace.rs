//! How fast a copy may go beside the commits that are made meanwhile.
//!
//! A token bucket whose rate is judged a few times a second: it halves when the commits' p99 exceeds
//! twice what it is without a copy, and doubles otherwise. It never falls below [`FLOOR`], so that every
//! recovery ends: the dirty count only falls, and at the floor it falls by 256 blocks a second. The
//! operator's own cap is another matter: it holds even below the floor.
//!
//! Moments are durations since a start of the caller's choice, on one monotonic clock.

use super::latency::{Histogram, Sliding};
use super::track::BLOCK_BYTES;
use std::time::Duration;

/// Bytes a second that a copy may always move, however slow the commits are.
pub const FLOOR: u64 = 1 << 20;
/// How often the rate is judged.
const JUDGE_EVERY: Duration = Duration::from_millis(250);
/// Fewer commits than [`FEW`] are waited for this long before they are judged.
const JUDGE_AT_LATEST: Duration = Duration::from_secs(1);
const FEW: u64 = 8;
/// A rate nobody reaches: from here on there is no limit.
const NO_LIMIT_FROM: u64 = 8 << 30;
/// What a copy beside clients begins with, in bytes per second: it is doubled within a few judgements where
/// that hurts nobody, and a disk that is slow already is not flooded before the first.
const GENTLE: u64 = 64 << 20;
/// What is granted at once is worth this part of a second, and at least a block.
const GRANTS_PER_S: u64 = 20;
/// Nobody reads more than this at once.
const GRANT_BYTES_MAX: u64 = 1 << 20;
/// After a rate has proved too high, at most so many good judgements pass before it is tried again.
const PATIENCE_MAX: u32 = 32;

/// What commits take while no copy runs; kept by the acting primary.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Idle {
    mirrored: Sliding,
    alone: Sliding,
}

impl Idle {
    /// A commit was made while no copy ran; `mirrored` when it waited for a mirror.
    pub fn committed(&mut self, took: Duration, mirrored: bool) {
        if mirrored { &mut self.mirrored } else { &mut self.alone }.add(took);
    }

    /// What 99 of 100 mirrored commits take without a copy; `None` when nobody knows. While a copy
    /// runs, commits wait for the mirror too: one that was made alone is worth half of such a one.
    pub fn p99(&self) -> Option<Duration> {
        self.mirrored.p99().or_else(|| Some(self.alone.p99()? * 2))
    }
}

/// What the copy may do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// Copy so many bytes: whole blocks, no more than were asked for.
    Copy(u64),
    /// Ask again at this moment.
    Wait(Duration),
}

/// The pace of one copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pace {
    /// The operator's cap in bytes per second.
    cap: Option<u64>,
    /// What commits take without a copy.
    idle: Option<Duration>,
    /// Bytes per second; `None` is no limit.
    limit: Option<u64>,
    tokens: u64,
    filled: Duration,
    /// Since when the commits below are counted.
    judged: Duration,
    commits: Histogram,
    copied: u64,
    /// Good judgements that must pass before the rate is doubled, and those that are left.
    patience: u32,
    left: u32,
    /// The last change was a doubling: if it was too much, patience grows.
    doubled: bool,
}

impl Pace {
    /// The pace of a copy that begins now. `cap` is the operator's, in bytes per second; `idle` what
    /// 99 of 100 commits take without a copy.
    pub fn new(now: Duration, cap: Option<u64>, idle: Option<Duration>) -> Pace {
        let cap = cap.filter(|c| *c > 0);
        Pace {
            cap,
            idle,
            limit: cap,
            tokens: 0,
            filled: now,
            judged: now,
            commits: Histogram::default(),
            copied: 0,
            patience: 1,
            left: 0,
            doubled: false,
        }
    }

    /// Begins slowly, because there are clients now.
    pub fn gently(mut self) -> Pace {
        self.limit = Some(self.cap.map_or(GENTLE, |cap| cap.min(GENTLE)));
        self
    }

    /// The rate now in bytes per second; `None` is no limit.
    pub fn limit(&self) -> Option<u64> {
        self.limit
    }

    /// A commit was made beside the copy.
    pub fn committed(&mut self, took: Duration) {
        self.commits.add(took);
    }

    /// Asks for bytes to copy.
    pub fn ask(&mut self, now: Duration, wanted: u64) -> Turn {
        self.judge(now);
        let wanted = wanted.max(BLOCK_BYTES);
        let Some(limit) = self.limit else {
            self.filled = self.filled.max(now);
            self.copied += wanted;
            return Turn::Copy(wanted);
        };
        let grant = grant(limit).min(wanted / BLOCK_BYTES * BLOCK_BYTES);
        self.fill(now, limit);
        if self.tokens < grant {
            return Turn::Wait(self.filled + time_for(grant - self.tokens, limit));
        }
        self.tokens -= grant;
        self.copied += grant;
        Turn::Copy(grant)
    }

    fn fill(&mut self, now: Duration, limit: u64) {
        let gained = bytes_in(now.saturating_sub(self.filled), limit);
        if gained > 0 {
            // No more is saved up than one grant: a burst is what commits would feel.
            self.tokens = (self.tokens + gained).min(grant(limit));
            self.filled = now;
        }
    }

    fn floor(&self) -> u64 {
        self.cap.map_or(FLOOR, |cap| cap.min(FLOOR))
    }

    fn judge(&mut self, now: Duration) {
        let elapsed = now.saturating_sub(self.judged);
        let few = (1..FEW).contains(&self.commits.count());
        if elapsed < if few { JUDGE_AT_LATEST } else { JUDGE_EVERY } {
            return;
        }
        let measured = rate(self.copied, elapsed);
        let at_floor = self.limit.is_some_and(|l| l <= self.floor());
        match (self.commits.p99(), self.idle) {
            // At the floor the copy is no load: what commits take there is what they take without one.
            (Some(p99), None) if at_floor => self.idle = Some(p99),
            (Some(p99), Some(idle)) if at_floor && p99 > 2 * idle => self.idle = Some(p99),
            (Some(_), None) => self.limit = Some(self.floor()),
            (Some(p99), Some(idle)) if p99 > 2 * idle => self.halve(measured),
            _ => self.double(),
        }
        (self.judged, self.copied) = (now, 0);
        self.commits.clear();
    }

    fn halve(&mut self, measured: u64) {
        // A limit far above what is copied would take many halvings until anybody feels them.
        let now = self.limit.map_or(measured, |limit| limit.min(measured.max(self.floor())));
        self.limit = Some((now / 2).max(self.floor()));
        self.patience = if self.doubled { (self.patience * 2).min(PATIENCE_MAX) } else { self.patience };
        self.left = self.patience;
        self.doubled = false;
    }

    fn double(&mut self) {
        if self.left > 0 {
            self.left -= 1;
            return;
        }
        let Some(limit) = self.limit else { return };
        if self.doubled {
            self.patience = (self.patience / 2).max(1);
        }
        let doubled = Some(limit.saturating_mul(2)).filter(|rate| *rate < NO_LIMIT_FROM);
        self.limit = match (doubled, self.cap) {
            (Some(rate), Some(cap)) => Some(rate.min(cap)),
            (rate, cap) => rate.or(cap),
        };
        self.doubled = true;
    }
}

/// What is granted at once under a limit, in bytes: whole blocks.
fn grant(limit: u64) -> u64 {
    (limit / GRANTS_PER_S).clamp(BLOCK_BYTES, GRANT_BYTES_MAX) / BLOCK_BYTES * BLOCK_BYTES
}

fn bytes_in(time: Duration, rate: u64) -> u64 {
    u64::try_from(time.as_nanos().saturating_mul(u128::from(rate)) / 1_000_000_000).unwrap_or(u64::MAX >> 1)
}

fn time_for(bytes: u64, rate: u64) -> Duration {
    let ns = (u128::from(bytes) * 1_000_000_000).div_ceil(u128::from(rate.max(1)));
    Duration::from_nanos(u64::try_from(ns).unwrap_or(u64::MAX))
}

/// Bytes per second.
pub fn rate(bytes: u64, time: Duration) -> u64 {
    let ns = time.as_nanos().max(1);
    u64::try_from(u128::from(bytes) * 1_000_000_000 / ns).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MIB: u64 = 1 << 20;

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    /// Copies for a while at whatever pace is allowed, on a disk of `disk` bytes per second; after each
    /// step `commits` says what commits took. Returns the bytes copied.
    fn run(pace: &mut Pace, from: Duration, time: Duration, disk: u64, mut commits: impl FnMut(&mut Pace)) -> u64 {
        let (mut now, mut copied) = (from, 0);
        while now < from + time {
            match pace.ask(now, MIB) {
                Turn::Copy(bytes) => {
                    copied += bytes;
                    now += time_for(bytes, disk);
                }
                Turn::Wait(until) => now = until.max(now + Duration::from_nanos(1)),
            }
            commits(pace);
        }
        copied
    }

    #[test]
    fn without_commits_and_cap_there_is_no_limit() {
        let mut pace = Pace::new(ms(0), None, Some(ms(2)));
        let copied = run(&mut pace, ms(0), ms(2_000), 800 * MIB, |_| {});
        assert_eq!(pace.limit(), None);
        assert!(copied >= 1_600 * MIB, "{copied}");
    }

    #[test]
    fn beside_clients_a_copy_begins_slowly_and_a_cap_below_that_holds() {
        let mut pace = Pace::new(ms(0), None, Some(ms(2))).gently();
        let first = run(&mut pace, ms(0), ms(250), 800 * MIB, |p| p.committed(ms(2)));
        assert!(first <= GENTLE / 4 + GRANT_BYTES_MAX, "{first}");
        run(&mut pace, ms(250), ms(2_500), 800 * MIB, |p| p.committed(ms(2)));
        assert_eq!(pace.limit(), None, "commits that stay fast cost the copy a second or two");
        assert_eq!(Pace::new(ms(0), Some(MIB), Some(ms(2))).gently().limit(), Some(MIB));
    }

    #[test]
    fn slow_commits_halve_the_rate_down_to_the_floor_and_no_further() {
        let mut pace = Pace::new(ms(0), None, Some(ms(2)));
        let mut rates = Vec::new();
        for n in 0..14 {
            // Each is slower than the last, so the floor itself never passes for idle.
            run(&mut pace, ms(n * 300), ms(300), 800 * MIB, |p| p.committed(ms(10 << n)));
            rates.push(pace.limit());
        }
        assert!(rates.windows(2).all(|w| w[1] <= w[0] || w[0].is_none()), "{rates:?}");
        assert_eq!(rates.last(), Some(&Some(FLOOR)), "{rates:?}");
    }

    #[test]
    fn when_commits_are_fast_again_the_rate_doubles_until_there_is_no_limit() {
        let mut pace = Pace::new(ms(0), None, Some(ms(2)));
        run(&mut pace, ms(0), ms(1_000), 800 * MIB, |p| p.committed(ms(50)));
        let slow = pace.limit().expect("it was slowed down");
        run(&mut pace, ms(1_000), ms(1_500), 8_000 * MIB, |p| p.committed(ms(1)));
        assert!(pace.limit().is_none_or(|now| now >= 4 * slow), "{slow} then {:?}", pace.limit());
        run(&mut pace, ms(2_500), ms(6_000), 8_000 * MIB, |_| {});
        assert_eq!(pace.limit(), None);
    }

    #[test]
    fn commits_that_are_slow_at_the_floor_too_are_not_slow_because_of_the_copy() {
        let mut pace = Pace::new(ms(0), None, Some(ms(1)));
        run(&mut pace, ms(0), ms(20_000), 800 * MIB, |p| p.committed(ms(10)));
        assert!(pace.limit().is_none_or(|l| l > 16 * FLOOR), "starved at {:?}", pace.limit());
    }

    #[test]
    fn what_commits_take_without_a_copy_is_measured_at_the_floor_when_nobody_knows_it() {
        let mut pace = Pace::new(ms(0), None, None);
        run(&mut pace, ms(0), ms(300), 800 * MIB, |p| p.committed(ms(3)));
        assert_eq!(pace.limit(), Some(FLOOR));
        run(&mut pace, ms(300), ms(2_000), 800 * MIB, |p| p.committed(ms(3)));
        assert!(pace.limit().is_none_or(|l| l > FLOOR));
        // From here on it is known: much slower ones count.
        let before = pace.limit().unwrap_or(800 * MIB);
        run(&mut pace, ms(2_300), ms(300), 800 * MIB, |p| p.committed(ms(30)));
        assert!(pace.limit().is_some_and(|l| l <= before / 2), "{before} then {:?}", pace.limit());
    }

    #[test]
    fn a_rate_that_proved_too_high_is_tried_ever_more_rarely() {
        // Up to 100 MiB/s commits are fast, above they are slow.
        let mut pace = Pace::new(ms(0), None, Some(ms(2)));
        let (mut good, mut bad) = (0u32, 0u32);
        run(&mut pace, ms(0), ms(60_000), 800 * MIB, |p| {
            let fast = p.limit().is_some_and(|l| l <= 100 * MIB);
            p.committed(if fast { ms(2) } else { ms(20) });
        });
        run(&mut pace, ms(60_000), ms(60_000), 800 * MIB, |p| {
            let fast = p.limit().is_some_and(|l| l <= 100 * MIB);
            *(if fast { &mut good } else { &mut bad }) += 1;
            p.committed(if fast { ms(2) } else { ms(20) });
        });
        assert!(bad * 8 < good, "{bad} steps too fast, {good} not");
    }

    #[test]
    fn commits_made_alone_count_half_until_mirrored_ones_are_known() {
        let mut idle = Idle::default();
        assert_eq!(idle.p99(), None);
        (0..100).for_each(|_| idle.committed(ms(1), false));
        let alone = idle.p99().expect("known");
        assert!(alone >= ms(2) && alone < ms(3), "{alone:?}");
        (0..100).for_each(|_| idle.committed(ms(5), true));
        assert!(idle.p99() >= Some(ms(5)));
    }

    proptest! {
        #[test]
        fn a_cap_is_never_exceeded_and_always_used(
            cap in 10_000u64..2_000_000_000,
            seconds in 1u64..6,
            commit_ms in proptest::option::of(1u64..100),
        ) {
            let mut pace = Pace::new(ms(5), Some(cap), Some(ms(2)));
            let disk = 4_000_000_000;
            let copied = run(&mut pace, ms(5), ms(seconds * 1000), disk, |p| {
                if let Some(took) = commit_ms { p.committed(ms(took)) }
            });
            let most = cap * seconds + 2 * grant(cap);
            prop_assert!(copied <= most, "{copied} bytes, at most {most}");
            let least = if commit_ms.is_none() { cap } else { cap.min(FLOOR) } * seconds;
            prop_assert!(copied + 2 * grant(cap) >= least * 9 / 10, "{copied} bytes, at least {least}");
        }

        #[test]
        fn whatever_the_commits_take_the_copy_moves_at_the_floor_at_least(
            latencies in proptest::collection::vec(0u64..5_000_000, 1..50),
            idle in proptest::option::of(0u64..10_000),
        ) {
            let mut pace = Pace::new(ms(0), None, idle.map(Duration::from_micros));
            let mut next = latencies.iter().cycle();
            let copied = run(&mut pace, ms(0), ms(10_000), 100 * MIB, |p| {
                p.committed(Duration::from_micros(*next.next().expect("a cycle never ends")));
            });
            prop_assert!(copied >= 9 * FLOOR, "{copied} bytes in ten seconds");
            prop_assert!(pace.limit().is_none_or(|l| l >= FLOOR));
        }

        #[test]
        fn a_wait_ends_later_than_now_and_what_is_granted_are_whole_blocks_of_what_was_asked(
            steps in proptest::collection::vec((0u64..400, 1u64..512, proptest::option::of(0u64..50)), 1..200),
            cap in proptest::option::of(1u64..1_000_000_000),
        ) {
            let mut pace = Pace::new(ms(0), cap, None);
            let mut now = ms(0);
            for (pause, blocks, commit) in steps {
                now += ms(pause);
                if let Some(took) = commit { pace.committed(ms(took)) }
                match pace.ask(now, blocks * BLOCK_BYTES) {
                    Turn::Copy(bytes) => prop_assert!(bytes % BLOCK_BYTES == 0 && (1..=blocks).contains(&(bytes / BLOCK_BYTES))),
                    Turn::Wait(until) => prop_assert!(until > now),
                }
            }
        }
    }
}
