//! A hold on commits: for a moment none is made, so that many databases can be seen at one moment.
//!
//! ```text
//!   frames written | sync of the commit        | index header published | write lock given back
//!                  ^ a commit waits here       [ under way ..................................... ]
//! ```
//! Every commit of every connection passes the sync behind its last frame: an explicit one, that of a
//! statement by itself, VACUUM's. It waits there, with its frames written and seen by nobody. What has
//! passed is under way until SQLite gives back its one write lock, because only then its readers' index
//! is published: a snapshot that is taken before would lack a commit that is acknowledged a moment later.
//!
//! A transaction that is open and does not commit is neither: it writes frames behind what is published,
//! and hinders nothing.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Hold {
    id: u64,
    since: Instant,
    until: Instant,
}

#[derive(Debug, Default)]
struct State {
    hold: Option<Hold>,
    /// A commit has passed and has not given back the write lock.
    under_way: bool,
    next: u64,
}

/// The commits of one database, and the hold on them.
#[derive(Debug, Default)]
pub(super) struct Commits {
    state: Mutex<State>,
    changed: Condvar,
}

impl Commits {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Every critical section here is a few assignments; a poisoned one is still whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>, time: Duration) -> MutexGuard<'a, State> {
        self.changed.wait_timeout(state, time).unwrap_or_else(PoisonError::into_inner).0
    }

    /// A commit is about to be made: it waits while commits are held, and no longer than the hold may last.
    pub(super) fn pass(&self) {
        let mut state = self.lock();
        while let Some(hold) = state.hold {
            let left = hold.until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                // Whoever holds is told when it asks: a hold that was passed is no barrier.
                state.hold = None;
                self.changed.notify_all();
                break;
            }
            state = self.wait(state, left);
        }
        state.under_way = true;
    }

    /// The write lock was given back: what was under way is published, or rolled back.
    pub(super) fn settled(&self) {
        let mut state = self.lock();
        if std::mem::take(&mut state.under_way) {
            self.changed.notify_all();
        }
    }

    /// Begins a hold that ends by itself after `longest`; `None` while there is another one.
    pub(super) fn hold(&self, longest: Duration) -> Option<u64> {
        let mut state = self.lock();
        let now = Instant::now();
        if state.hold.is_some_and(|hold| now < hold.until) {
            return None;
        }
        state.next += 1;
        state.hold = Some(Hold { id: state.next, since: now, until: now + longest });
        Some(state.next)
    }

    /// Waits until no commit is under way; false when the hold has ended before.
    pub(super) fn drained(&self, id: u64) -> bool {
        let mut state = self.lock();
        loop {
            let Some(hold) = state.hold.filter(|hold| hold.id == id) else { return false };
            let left = hold.until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            if !state.under_way {
                return true;
            }
            state = self.wait(state, left);
        }
    }

    /// Whether this hold stands: no commit was made since it was drained.
    pub(super) fn stands(&self, id: u64) -> bool {
        self.lock().hold.is_some_and(|hold| hold.id == id && Instant::now() < hold.until)
    }

    /// Ends this hold: for how long it stood; `None` when it had ended by itself.
    pub(super) fn release(&self, id: u64) -> Option<Duration> {
        let mut state = self.lock();
        let hold = state.hold.take_if(|hold| hold.id == id)?;
        self.changed.notify_all();
        let now = Instant::now();
        (now < hold.until).then(|| now.duration_since(hold.since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn a_commit_waits_for_the_release_and_one_under_way_is_waited_for() {
        let commits = Commits::default();
        commits.pass();
        let id = commits.hold(LONG).expect("the first");
        assert_eq!(commits.hold(LONG), None, "one at a time");
        std::thread::scope(|scope| {
            let drained = scope.spawn(|| commits.drained(id));
            assert!(!drained.is_finished(), "a commit is under way");
            commits.settled();
            assert!(drained.join().expect("no panic"));
            let late = scope.spawn(|| commits.pass());
            assert!(commits.stands(id) && !commits.lock().under_way);
            assert!(commits.release(id).is_some());
            late.join().expect("no panic");
            assert!(commits.lock().under_way);
        });
    }

    #[test]
    fn a_hold_that_was_outlived_is_passed_and_is_no_barrier() {
        let commits = Commits::default();
        let id = commits.hold(Duration::from_millis(1)).expect("the first");
        commits.pass();
        assert!(!commits.stands(id) && !commits.drained(id));
        assert_eq!(commits.release(id), None);
        assert!(commits.hold(LONG).is_some(), "it is in nobody's way");
    }

    #[test]
    fn a_hold_whose_time_is_up_counts_for_nothing_though_nobody_passed_it() {
        let commits = Commits::default();
        let id = commits.hold(Duration::ZERO).expect("the first");
        assert!(!commits.drained(id));
        assert_eq!(commits.release(id), None);
    }
}
