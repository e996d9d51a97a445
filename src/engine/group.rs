//! Group commit: sessions that wait for their commits to be durable share one sync.
//!
//! ```text
//!   commits noted   1 2 3 4 5 6 7 8
//!   round under way [1 . 3]            led by one of the sessions that wait
//!   the next one           [4 . . . 8]  whatever was noted when its barrier is queued
//! ```
//! There is one round at a time. Its leader is a session like the others: it queues the barrier, syncs
//! the local file and waits for the mirror, on its own thread, so a commit alone costs no switch
//! between threads. What is noted meanwhile belongs to the next round. When a round ends, all whose
//! commits it covers go on, and one of those it does not cover leads the next.

use super::storage::{Position, StorageError};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::Duration;

/// How often who waits is asked whether to go on.
const LOOK: Duration = Duration::from_millis(50);

/// The round under way, if there is one.
#[derive(Debug, Default)]
struct Round {
    led: bool,
    /// Every commit up to here is covered by the last round whose barrier was queued.
    covers: u64,
    /// Which bell rings for those whom that round covers; the other is for the next round's.
    bell: usize,
}

/// The commits of one process, in their order, and the rounds that make them durable.
#[derive(Debug)]
pub(super) struct Group {
    noted: AtomicU64,
    durable: AtomicU64,
    round: Mutex<Round>,
    bells: [Condvar; 2],
}

impl Default for Group {
    /// What the log holds when a process begins may never have been synced, whoever wrote it. It counts
    /// as a commit like any other: the first result that can show it waits for a sync.
    fn default() -> Group {
        Group {
            noted: AtomicU64::new(1),
            durable: AtomicU64::new(0),
            round: Mutex::default(),
            bells: Default::default(),
        }
    }
}

impl Group {
    fn lock(&self) -> MutexGuard<'_, Round> {
        self.round.lock().expect("a panic under this lock ends the process")
    }

    /// A commit's frames are all written.
    pub fn note(&self) -> Position {
        Position(self.noted.fetch_add(1, Ordering::SeqCst) + 1)
    }

    /// Behind every commit that was noted.
    pub fn noted(&self) -> Position {
        Position(self.noted.load(Ordering::SeqCst))
    }

    pub fn is_durable(&self, position: Position) -> bool {
        self.durable.load(Ordering::SeqCst) >= position.0
    }

    /// The barrier of the round under way is queued: it covers every commit that was noted before, because
    /// its frames were written before it was noted. Its leader says so before anybody can queue more.
    pub fn barrier_queued(&self) -> Position {
        let covers = self.noted();
        let mut round = self.lock();
        round.covers = covers.0;
        round.bell = 1 - round.bell;
        covers
    }

    /// A sync ended whose barrier covers everything up to there.
    pub fn made_durable(&self, position: Position) {
        self.durable.fetch_max(position.0, Ordering::SeqCst);
    }

    /// Wakes everybody, for something happened that ends all waiting.
    pub fn wake_all(&self) {
        drop(self.lock());
        self.bells.iter().for_each(Condvar::notify_all);
    }

    /// Waits until everything up to `position` is durable. Whoever finds no round under way leads one by
    /// `lead`, which says [`Group::barrier_queued`] and [`Group::made_durable`].
    pub fn wait(
        &self,
        position: Position,
        go_on: &dyn Fn() -> bool,
        lead: impl Fn() -> Result<(), StorageError>,
    ) -> Result<(), StorageError> {
        if self.is_durable(position) {
            return Ok(());
        }
        let mut round = self.lock();
        loop {
            if self.is_durable(position) {
                return Ok(());
            }
            if round.led {
                let bell = if position.0 <= round.covers { round.bell } else { 1 - round.bell };
                let waited = self.bells[bell].wait_timeout(round, LOOK);
                round = waited.expect("a panic under this lock ends the process").0;
                if !go_on() {
                    // The call to lead may have been meant for this one.
                    if !round.led {
                        self.bells.iter().for_each(Condvar::notify_one);
                    }
                    return Err(StorageError::GivenUp);
                }
                continue;
            }
            round.led = true;
            drop(round);
            let led = lead();
            round = self.lock();
            round.led = false;
            if let Err(error) = led {
                drop(round);
                self.bells.iter().for_each(Condvar::notify_all);
                return Err(error);
            }
            self.bells[round.bell].notify_all();
            self.bells[1 - round.bell].notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;
    use std::sync::mpsc::channel;

    /// A sync that works at once.
    fn at_once(group: &Group) -> Result<(), StorageError> {
        let covers = group.barrier_queued();
        group.made_durable(covers);
        Ok(())
    }

    #[test]
    fn what_the_log_holds_at_the_start_is_not_taken_for_durable() {
        let group = Group::default();
        assert!(!group.is_durable(group.noted()));
        group.wait(group.noted(), &|| true, || at_once(&group)).expect("synced");
        assert!(group.is_durable(group.noted()));
    }

    #[test]
    fn commits_that_come_during_a_sync_share_the_next_one() {
        const LATE: usize = 20;
        let group = Group::default();
        let syncs = AtomicUsize::new(0);
        let (begun, first_began) = channel();
        let (go, gone_on) = channel::<()>();
        let gone_on = Mutex::new(gone_on);
        let first = group.note();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let slow = || {
                    let covers = group.barrier_queued();
                    syncs.fetch_add(1, Ordering::SeqCst);
                    begun.send(()).expect("the test listens");
                    gone_on.lock().expect("one leads").recv().expect("the test goes on");
                    group.made_durable(covers);
                    Ok(())
                };
                group.wait(first, &|| true, slow).expect("durable");
            });
            first_began.recv().expect("the first leads");
            let (waits, waiting) = channel();
            let late: Vec<_> = (0..LATE)
                .map(|_| {
                    let (group, syncs, waits) = (&group, &syncs, waits.clone());
                    scope.spawn(move || {
                        let position = group.note();
                        waits.send(()).expect("the test listens");
                        let counted = || {
                            syncs.fetch_add(1, Ordering::SeqCst);
                            at_once(group)
                        };
                        group.wait(position, &|| true, counted).expect("durable");
                        assert!(group.is_durable(position));
                    })
                })
                .collect();
            (0..LATE).for_each(|_| waiting.recv().expect("it is noted"));
            assert!(!group.is_durable(first), "nobody is told before the sync has ended");
            go.send(()).expect("the first waits");
            late.into_iter().for_each(|l| l.join().expect("no panic"));
        });
        assert_eq!(syncs.load(Ordering::SeqCst), 2, "one for the first, one for all the others");
    }

    #[test]
    fn who_gives_up_leaves_the_others_somebody_to_lead() {
        let group = Group::default();
        let (begun, first_began) = channel();
        let (go, gone_on) = channel::<()>();
        let gone_on = Mutex::new(gone_on);
        let first = group.note();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let fails = || {
                    group.barrier_queued();
                    begun.send(()).expect("the test listens");
                    gone_on.lock().expect("one leads").recv().expect("the test goes on");
                    Err(StorageError::GivenUp)
                };
                assert!(matches!(group.wait(first, &|| true, fails), Err(StorageError::GivenUp)));
            });
            first_began.recv().expect("the first leads");
            let second = scope.spawn(|| group.wait(first, &|| true, || at_once(&group)));
            assert!(matches!(group.wait(first, &|| false, || at_once(&group)), Err(StorageError::GivenUp)));
            go.send(()).expect("the first waits");
            second.join().expect("no panic").expect("the second leads");
        });
    }

    #[test]
    fn a_sync_that_failed_is_nobody_s_success() {
        let group = Group::default();
        let position = group.note();
        let fails = || {
            group.barrier_queued();
            Err(StorageError::Fenced("its disk failed".into()))
        };
        assert!(group.wait(position, &|| true, fails).is_err());
        assert!(!group.is_durable(position));
        assert!(group.wait(position, &|| true, fails).is_err(), "and is not one the second time");
    }
}
