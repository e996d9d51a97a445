//! The gate in front of transactions: it lets the checkpointer have the log to itself.
//!
//! A session holds a [`Pass`] while it has a snapshot or the write lock. SQLite is not fair:
//! constant readers starve a checkpoint that wants to restart the log, so for that one new
//! transactions wait here, briefly.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How often a waiter looks whether it should give up.
const LOOK: Duration = Duration::from_millis(10);

#[derive(Debug, Default)]
struct Inside {
    passes: usize,
    closed: bool,
    /// Those for whose sake it stays open.
    kept_open: usize,
}

/// Shared by the sessions and the checkpointer of one database.
#[derive(Debug, Default)]
pub struct Gate {
    inside: Mutex<Inside>,
    changed: Condvar,
}

/// The right to have a transaction; given back when dropped.
#[derive(Debug)]
pub struct Pass {
    gate: Arc<Gate>,
}

/// The gate does not close: the log is read for long, and waiting for that would only stop the sessions. It may
/// close again when this is dropped.
#[derive(Debug)]
pub struct KeptOpen {
    gate: Arc<Gate>,
}

/// The gate is closed and nobody is inside; it opens when this is dropped.
#[derive(Debug)]
pub struct Closed<'a> {
    gate: &'a Gate,
}

impl Gate {
    /// An open gate.
    pub fn new() -> Arc<Gate> {
        Arc::new(Gate::default())
    }

    fn lock(&self) -> MutexGuard<'_, Inside> {
        // The two fields are never left half changed, so a panic elsewhere does not matter here.
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the gate to be open; `None` when `go_on` said no.
    pub fn enter(self: &Arc<Self>, go_on: &dyn Fn() -> bool) -> Option<Pass> {
        let mut inside = self.lock();
        while inside.closed {
            if !go_on() {
                return None;
            }
            inside = self.changed.wait_timeout(inside, LOOK).unwrap_or_else(PoisonError::into_inner).0;
        }
        inside.passes += 1;
        Some(Pass { gate: Arc::clone(self) })
    }

    /// Keeps the gate open; one that is closed opens by itself.
    pub fn keep_open(self: &Arc<Self>) -> KeptOpen {
        self.lock().kept_open += 1;
        KeptOpen { gate: Arc::clone(self) }
    }

    /// Whether it is kept open by somebody.
    pub fn is_kept_open(&self) -> bool {
        self.lock().kept_open > 0
    }

    /// Closes the gate and waits until everybody has left; opens it again and returns `None` when
    /// `go_on` says no or the time is up.
    pub fn close(&self, patience: Duration, go_on: &dyn Fn() -> bool) -> Option<Closed<'_>> {
        let until = Instant::now() + patience;
        let mut inside = self.lock();
        if inside.closed || inside.kept_open > 0 {
            return None;
        }
        inside.closed = true;
        while inside.passes > 0 {
            if !go_on() || Instant::now() >= until {
                inside.closed = false;
                drop(inside);
                self.changed.notify_all();
                return None;
            }
            inside = self.changed.wait_timeout(inside, LOOK).unwrap_or_else(PoisonError::into_inner).0;
        }
        Some(Closed { gate: self })
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        let mut inside = self.gate.lock();
        inside.passes -= 1;
        // Only a closing gate waits for somebody to leave.
        if inside.closed {
            self.gate.changed.notify_all();
        }
    }
}

impl Drop for KeptOpen {
    fn drop(&mut self) {
        self.gate.lock().kept_open -= 1;
    }
}

impl Drop for Closed<'_> {
    fn drop(&mut self) {
        self.gate.lock().closed = false;
        self.gate.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_enters_a_closed_gate_and_it_closes_only_when_empty() {
        let gate = Gate::new();
        let pass = gate.enter(&|| true);
        assert!(pass.is_some());
        assert!(gate.close(Duration::ZERO, &|| true).is_none());
        drop(pass);
        let closed = gate.close(Duration::ZERO, &|| true);
        assert!(closed.is_some());
        assert!(gate.enter(&|| false).is_none());
        drop(closed);
        assert!(gate.enter(&|| false).is_some());
    }

    #[test]
    fn a_gate_that_is_kept_open_does_not_close() {
        let gate = Gate::new();
        let kept = gate.keep_open();
        assert!(gate.is_kept_open() && gate.close(Duration::from_secs(60), &|| true).is_none());
        drop(kept);
        assert!(gate.close(Duration::ZERO, &|| true).is_some());
    }
}
