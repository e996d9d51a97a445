//! What was sent to the mirror and is not yet known to be durable there, in bounded memory.
//!
//! Runs of blocks, each under the barrier whose answer will prove it durable. When there are too many,
//! they are joined: a run may then name blocks between two that were sent, and wait for a later barrier
//! than it has to. Both only mark more when the mirror is lost, which is always safe.

use super::pair::primary::Barrier;
use super::track::{FileId, Run};
use std::collections::VecDeque;

/// Runs that are kept at most; at 40 bytes each that is less than a megabyte.
pub const RUNS_MAX: usize = 16 << 10;

/// Blocks sent, each with the barrier that will cover it, in order of the barriers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Unsynced {
    runs: VecDeque<(Barrier, Run)>,
}

impl Unsynced {
    /// These blocks were sent; `barrier` is the number that the next barrier gets. Numbers never fall.
    pub fn sent(&mut self, barrier: Barrier, run: Run) {
        if run.count == 0 {
            return;
        }
        if let Some((last_barrier, last)) = self.runs.back_mut()
            && *last_barrier == barrier
            && last.file == run.file
            && (last.first..=last.end()).contains(&run.first)
        {
            last.count = last.count.max(run.end() - last.first);
            return;
        }
        if self.runs.len() >= RUNS_MAX {
            self.join();
        }
        self.runs.push_back((barrier, run));
    }

    /// The mirror has synced everything up to this barrier.
    pub fn answered(&mut self, barrier: Barrier) {
        while self.runs.front().is_some_and(|(b, _)| *b <= barrier) {
            self.runs.pop_front();
        }
    }

    /// Everything that may not be durable at the mirror.
    pub fn runs(&self) -> impl Iterator<Item = Run> + '_ {
        self.runs.iter().map(|(_, run)| *run)
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.runs.clear();
    }

    /// Runs kept now.
    pub fn len(&self) -> usize {
        self.runs.len()
    }

    /// Whether everything that was sent is durable.
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// Halves the runs at least: all wait for the youngest barrier, neighbours become one, and where that
    /// is not enough so do those with the smallest gaps between them.
    fn join(&mut self) {
        let Some((barrier, _)) = self.runs.back().copied() else { return };
        let mut runs: Vec<Run> = self.runs().collect();
        runs.sort_unstable_by_key(|run| (run.file, run.first));
        let mut gaps: Vec<u64> = runs.windows(2).filter_map(|pair| gap(pair[0], pair[1])).collect();
        gaps.sort_unstable();
        // Joined over every gap up to this one, no more than half are left.
        let widest = gaps.get(runs.len() / 2).or(gaps.last()).copied().unwrap_or(0);
        self.runs.clear();
        for run in runs {
            match self.runs.back_mut() {
                Some((_, last)) if gap(*last, run).is_some_and(|gap| gap <= widest) => {
                    last.count = last.count.max(run.end() - last.first);
                }
                _ => self.runs.push_back((barrier, run)),
            }
        }
    }
}

/// Blocks between two runs of one file, the first of which begins no later; zero when they touch.
fn gap(one: Run, other: Run) -> Option<u64> {
    (one.file == other.file).then(|| other.first.saturating_sub(one.end()))
}

/// Files of which each may keep a run of its own, however many runs are joined.
const _: () = assert!(FileId::ALL.len() < RUNS_MAX / 2);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::track::DirtyMap;
    use proptest::prelude::*;

    fn run(file: FileId, first: u64, count: u64) -> Run {
        Run { file, first, count }
    }

    fn marked(runs: impl Iterator<Item = Run>) -> DirtyMap {
        let mut map = DirtyMap::default();
        runs.for_each(|run| map.mark(run));
        map
    }

    #[test]
    fn a_log_that_is_written_from_front_to_back_is_one_run() {
        let mut unsynced = Unsynced::default();
        (0..100_000).for_each(|n| unsynced.sent(1, run(FileId::Wal, n, 2)));
        assert_eq!(unsynced.runs().collect::<Vec<_>>(), [run(FileId::Wal, 0, 100_001)]);
    }

    #[test]
    fn a_mirror_that_answers_nothing_costs_no_more_memory_however_much_is_written() {
        let mut unsynced = Unsynced::default();
        let mut at = 1;
        for n in 0..150_000u64 {
            // Pages all over a large file, and the log in between, so that no two runs ever touch.
            at = (at * 48_271) % 0x7fff_ffff;
            unsynced.sent(1 + n / 100, run(FileId::Main, at % 100_000_000, 1));
            unsynced.sent(1 + n / 100, run(FileId::Wal, 3 * (n % 20_000), 1));
            assert!(unsynced.len() <= RUNS_MAX, "{} runs after {n} writes", unsynced.len());
        }
    }

    proptest! {
        #[test]
        fn what_is_not_answered_is_named_and_what_is_answered_is_forgotten(
            steps in proptest::collection::vec((0u64..3, any::<bool>(), 0u64..5_000, 1u64..4), 1..200),
            answered in 0u64..300,
            joins in proptest::collection::vec(0usize..200, 0..4),
        ) {
            let mut unsynced = Unsynced::default();
            let (mut barrier, mut exact) = (1, Vec::new());
            for (n, (step, main, first, count)) in steps.into_iter().enumerate() {
                barrier += step;
                let run = run(if main { FileId::Main } else { FileId::Wal }, first, count);
                unsynced.sent(barrier, run);
                exact.push((barrier, run));
                if joins.contains(&n) {
                    let before = unsynced.len();
                    unsynced.join();
                    prop_assert!(unsynced.len() <= before / 2 + FileId::ALL.len(), "{before} then {}", unsynced.len());
                }
            }
            unsynced.answered(answered);
            let (named, needed) = (marked(unsynced.runs()), marked(exact.into_iter().filter(|(b, _)| *b > answered).map(|(_, r)| r)));
            for run in needed.runs() {
                prop_assert!((run.first..run.end()).all(|b| named.is_dirty(run.file, b)), "{run:?} is not named");
            }
            if joins.is_empty() {
                prop_assert_eq!(named, needed);
            }
            unsynced.answered(u64::MAX);
            prop_assert!(unsynced.is_empty());
        }
    }
}
