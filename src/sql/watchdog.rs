//! Statement timeouts: one thread that stops what runs too long.

use super::control::{Control, Stop};
use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A deadline that passed is enforced again until its statement has ended, because SQLite forgets
/// an interrupt that comes just before a statement begins.
const AGAIN: Duration = Duration::from_millis(20);

type Key = (Instant, u64);

#[derive(Debug, Default)]
struct Watched {
    deadlines: BTreeMap<Key, (Arc<Control>, u64)>,
    next: u64,
    running: bool,
    over: bool,
}

#[derive(Debug, Default)]
struct Shared {
    watched: Mutex<Watched>,
    changed: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Watched> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The watchdog of one server; its thread starts with the first deadline.
#[derive(Debug, Default)]
pub(super) struct Watchdog {
    shared: Arc<Shared>,
}

/// A deadline; it is forgotten when this is dropped.
#[derive(Debug)]
pub(super) struct Deadline {
    shared: Arc<Shared>,
    key: Key,
}

impl Watchdog {
    /// Stops message `number` of the session when `limit` has passed.
    pub(super) fn watch(&self, control: &Arc<Control>, number: u64, limit: Duration) -> Deadline {
        let mut watched = self.shared.lock();
        watched.next += 1;
        let key = (Instant::now() + limit, watched.next);
        watched.deadlines.insert(key, (Arc::clone(control), number));
        if !watched.running {
            let shared = Arc::clone(&self.shared);
            let started = std::thread::Builder::new().name("sql-watchdog".to_owned()).spawn(move || run(&shared));
            match started {
                Ok(_) => watched.running = true,
                Err(e) => tracing::error!(error = %e, "no thread for statement timeouts"),
            }
        }
        drop(watched);
        self.shared.changed.notify_all();
        Deadline { shared: Arc::clone(&self.shared), key }
    }
}

impl Drop for Deadline {
    fn drop(&mut self) {
        self.shared.lock().deadlines.remove(&self.key);
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.shared.lock().over = true;
        self.shared.changed.notify_all();
    }
}

fn run(shared: &Shared) {
    let mut watched = shared.lock();
    while !watched.over {
        let now = Instant::now();
        let mut wait = None;
        for ((at, _), (control, number)) in &watched.deadlines {
            if *at > now {
                wait = Some(wait.map_or(*at - now, |w: Duration| w.min(*at - now)));
                break;
            }
            control.stop(&Stop::Timeout, Some(*number));
            wait = Some(AGAIN);
        }
        watched = match wait {
            Some(time) => shared.changed.wait_timeout(watched, time).unwrap_or_else(PoisonError::into_inner).0,
            None => shared.changed.wait(watched).unwrap_or_else(PoisonError::into_inner),
        };
    }
}
