//! How others stop what a session does: a cancel request, a timeout, a drain, a shutdown.

use super::error::{SqlError, state};
use rusqlite::InterruptHandle;
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// Why a statement is stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stop {
    /// The client asked.
    Cancel,
    /// `statement_timeout` passed.
    Timeout,
    /// The primary is drained, or the log must be emptied; nothing was committed.
    Drain(String),
    /// The session is over.
    Close(String),
}

impl Stop {
    /// What the client is told.
    pub fn error(&self) -> SqlError {
        match self {
            Stop::Cancel => SqlError::new(state::CANCELED, "canceling statement due to user request"),
            Stop::Timeout => SqlError::new(state::CANCELED, "canceling statement due to statement timeout"),
            Stop::Drain(why) => SqlError::new(state::SERIALIZATION, format!("{why}, nothing was committed"))
                .hint("Run the transaction again."),
            Stop::Close(why) => SqlError::fatal(state::SHUTDOWN, why.clone()),
        }
    }
}

/// The moments of a message that others treat differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// Between messages.
    Idle,
    /// Waits because new statements are held: a drain does not touch it.
    Held,
    Running,
    /// A COMMIT: it finishes.
    Committing,
}

#[derive(Debug)]
struct Now {
    at: At,
    /// Counts messages, so that a late stop does not hit the next one.
    number: u64,
    stop: Option<Stop>,
    /// Set once; every later message is answered with it.
    closing: Option<String>,
    /// Who waits for a change. Mostly nobody, and then a wake-up would be a system call for nothing
    /// after every message.
    waiters: usize,
}

/// One session's brakes. Shared with whoever may stop it.
pub struct Control {
    now: Mutex<Now>,
    changed: Condvar,
    interrupt: OnceLock<InterruptHandle>,
}

impl std::fmt::Debug for Control {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Control").field("now", &self.now).finish_non_exhaustive()
    }
}

impl Control {
    pub(super) fn new() -> Control {
        Control {
            now: Mutex::new(Now { at: At::Idle, number: 0, stop: None, closing: None, waiters: 0 }),
            changed: Condvar::new(),
            interrupt: OnceLock::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Now> {
        // The fields are set one by one and any mixture of them is a state.
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set_interrupt(&self, handle: InterruptHandle) {
        // A session has one connection, so the cell is set once.
        let _ = self.interrupt.set(handle);
    }

    /// A message begins; returns its number.
    pub(super) fn begin(&self) -> u64 {
        let mut now = self.lock();
        now.number += 1;
        now.at = At::Running;
        now.stop = now.closing.clone().map(Stop::Close);
        now.number
    }

    /// The message is answered.
    pub(super) fn end(&self) {
        let mut now = self.lock();
        now.at = At::Idle;
        self.wake(&now);
    }

    fn wake(&self, now: &Now) {
        if now.waiters > 0 {
            self.changed.notify_all();
        }
    }

    pub(super) fn set_held(&self, held: bool) {
        let mut now = self.lock();
        now.at = if held { At::Held } else { At::Running };
    }

    /// From here on nobody stops the message; fails when somebody already did.
    pub(super) fn begin_commit(&self) -> Result<(), SqlError> {
        let mut now = self.lock();
        if let Some(stop) = &now.stop {
            return Err(stop.error());
        }
        now.at = At::Committing;
        Ok(())
    }

    /// It was committed before anybody stopped it: from here on nobody does.
    pub(super) fn committed(&self) {
        self.lock().at = At::Committing;
    }

    pub(super) fn end_commit(&self) {
        let mut now = self.lock();
        if now.at == At::Committing {
            now.at = At::Running;
        }
    }

    /// Why the message is to stop, if it is.
    pub(super) fn stopped(&self) -> Option<Stop> {
        self.lock().stop.clone()
    }

    /// Waits until the message is stopped or the time is up.
    pub(super) fn wait_stopped(&self, time: Duration) -> Option<Stop> {
        let mut now = self.lock();
        now.waiters += 1;
        let (mut now, _) =
            self.changed.wait_timeout_while(now, time, |n| n.stop.is_none()).unwrap_or_else(PoisonError::into_inner);
        now.waiters -= 1;
        now.stop.clone()
    }

    fn strike(&self, now: &mut Now, why: &Stop) -> bool {
        let reachable = match now.at {
            At::Running => true,
            At::Held => !matches!(why, Stop::Drain(_)),
            At::Idle | At::Committing => false,
        };
        if reachable {
            now.stop.get_or_insert_with(|| why.clone());
            if let Some(handle) = self.interrupt.get() {
                handle.interrupt();
            }
            self.wake(now);
        }
        reachable
    }

    /// Stops the message under way, if one is and it can be stopped. `only` names the message meant.
    pub fn stop(&self, why: &Stop, only: Option<u64>) -> bool {
        let mut now = self.lock();
        if only.is_some_and(|n| n != now.number) {
            return false;
        }
        self.strike(&mut now, why)
    }

    /// Like [`Control::stop`], repeated until the message has ended: SQLite forgets an interrupt that
    /// comes just before a statement begins.
    pub fn stop_until_ended(&self, why: &Stop, only: Option<u64>, patience: Duration) {
        let until = Instant::now() + patience;
        let mut now = self.lock();
        let number = now.number;
        if only.is_some_and(|n| n != number) {
            return;
        }
        now.waiters += 1;
        while now.number == number && self.strike(&mut now, why) && Instant::now() < until {
            now = self.changed.wait_timeout(now, Duration::from_millis(5)).unwrap_or_else(PoisonError::into_inner).0;
        }
        now.waiters -= 1;
    }

    /// The session is over: what runs is stopped, what comes is answered with the reason.
    pub(super) fn close(&self, why: &str) {
        let mut now = self.lock();
        now.closing.get_or_insert_with(|| why.to_owned());
        self.strike(&mut now, &Stop::Close(why.to_owned()));
    }

    pub(super) fn closing(&self) -> Option<String> {
        self.lock().closing.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_is_not_stopped_and_a_held_statement_not_by_a_drain() {
        let control = Control::new();
        let drain = Stop::Drain("moving".into());
        assert!(!control.stop(&Stop::Cancel, None), "idle");
        control.begin();
        control.set_held(true);
        assert!(!control.stop(&drain, None));
        assert!(control.stop(&Stop::Cancel, None));
        control.end();
        control.begin();
        control.begin_commit().unwrap();
        assert!(!control.stop(&drain, None));
        control.end_commit();
        assert!(control.stop(&drain, None));
        assert_eq!(control.begin_commit().unwrap_err().code, "40001");
    }

    #[test]
    fn a_late_stop_does_not_hit_the_next_message() {
        let control = Control::new();
        let first = control.begin();
        control.end();
        control.begin();
        assert!(!control.stop(&Stop::Timeout, Some(first)));
        assert_eq!(control.stopped(), None);
    }
}
