//! The queue for writing: SQLite has one writer at a time and is not fair about who.
//!
//! Handing every turn to the next in line would be perfectly fair, and each turn would then wait until
//! that thread runs: with many writers on few processors that takes longer than the turn. So whoever
//! runs may take a free turn, until the next in line has waited for [`PATIENCE`]; then it is its.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How often a waiter looks whether it should give up.
const LOOK: Duration = Duration::from_millis(10);
/// After this long the next in line is not overtaken any more.
const PATIENCE: Duration = Duration::from_millis(2);

/// Who waits.
#[derive(Debug)]
struct Waiter {
    ticket: u64,
    since: Instant,
    bell: Arc<Condvar>,
}

impl Waiter {
    fn is_patient(&self) -> bool {
        self.since.elapsed() < PATIENCE
    }
}

#[derive(Debug, Default)]
struct Line {
    held: bool,
    next: u64,
    /// Who waits, first come first.
    waiting: VecDeque<Waiter>,
    /// Whose turn it is although it has not noticed yet.
    called: Option<u64>,
}

/// Shared by every writer of one database.
#[derive(Debug, Default)]
pub struct WriteQueue {
    line: Mutex<Line>,
}

/// The right to write; given to the next in line when dropped.
#[derive(Debug)]
pub struct WriteTurn {
    queue: Arc<WriteQueue>,
}

impl WriteQueue {
    /// An empty queue.
    pub fn new() -> Arc<WriteQueue> {
        Arc::new(WriteQueue::default())
    }

    fn lock(&self) -> MutexGuard<'_, Line> {
        // Every change of the line is complete before the lock is given back.
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for its turn; `None` when `go_on` said no.
    pub fn enter(self: &Arc<Self>, go_on: &dyn Fn() -> bool) -> Option<WriteTurn> {
        let mut line = self.lock();
        if !line.held && line.waiting.front().is_none_or(Waiter::is_patient) {
            line.held = true;
            return Some(self.turn());
        }
        let ticket = line.next;
        line.next += 1;
        let bell = Arc::new(Condvar::new());
        line.waiting.push_back(Waiter { ticket, since: Instant::now(), bell: Arc::clone(&bell) });
        loop {
            line = bell.wait_timeout(line, LOOK).unwrap_or_else(PoisonError::into_inner).0;
            if line.called == Some(ticket) {
                line.called = None;
                return Some(self.turn());
            }
            if !line.held && line.waiting.front().is_some_and(|first| first.ticket == ticket) {
                line.waiting.pop_front();
                line.held = true;
                return Some(self.turn());
            }
            if !go_on() {
                line.waiting.retain(|waiter| waiter.ticket != ticket);
                line.ring_if_free();
                return None;
            }
        }
    }

    fn turn(self: &Arc<Self>) -> WriteTurn {
        WriteTurn { queue: Arc::clone(self) }
    }
}

impl Drop for WriteTurn {
    fn drop(&mut self) {
        let mut line = self.queue.lock();
        if line.waiting.front().is_some_and(|first| !first.is_patient())
            && let Some(first) = line.waiting.pop_front()
        {
            line.called = Some(first.ticket);
            first.bell.notify_all();
        } else {
            line.held = false;
            line.ring_if_free();
        }
    }
}

impl Line {
    /// Tells the first in line that the turn is free.
    fn ring_if_free(&self) {
        if let Some(first) = self.waiting.front().filter(|_| !self.held) {
            first.bell.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_come_in_the_order_of_arrival() {
        let queue = WriteQueue::new();
        let order = Mutex::new(Vec::new());
        let first = queue.enter(&|| true);
        std::thread::scope(|scope| {
            for n in 0..8 {
                let (queue_of, order) = (&queue, &order);
                scope.spawn(move || {
                    let turn = queue_of.enter(&|| true);
                    order.lock().unwrap().push(n);
                    drop(turn);
                });
                while queue.lock().waiting.len() <= n {
                    std::thread::yield_now();
                }
            }
            drop(first);
        });
        assert_eq!(*order.lock().unwrap(), [0, 1, 2, 3, 4, 5, 6, 7]);
        assert!(!queue.lock().held);
    }

    #[test]
    fn who_gives_up_loses_its_place_and_nothing_else() {
        let queue = WriteQueue::new();
        let first = queue.enter(&|| true);
        assert!(queue.enter(&|| false).is_none());
        drop(first);
        assert!(queue.enter(&|| false).is_some());
    }
}
