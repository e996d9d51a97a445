//! All sessions of a server, and what may be done to them together.

use super::control::{Control, Stop};
use super::core::Core;
use super::watchdog::Watchdog;
use super::wire::Stream;
use pgwire::messages::startup::SecretKey;
use std::collections::BTreeMap;
use std::net::Shutdown;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

/// How often a waiter looks whether it should give up.
const LOOK: Duration = Duration::from_millis(10);

/// How long a cancel request insists; its statement ends far sooner, or is committing.
const CANCEL_PATIENCE: Duration = Duration::from_secs(1);

/// One session, as others reach it.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) pid: i32,
    secret: i32,
    pub(super) control: Arc<Control>,
    pub(super) core: Mutex<Core>,
    /// The transaction was failed from outside: what waits behind a hold may be answered.
    pub(super) failed: AtomicBool,
    socket: Stream,
}

impl Shared {
    pub(super) fn new(pid: i32, secret: i32, control: Arc<Control>, core: Core, socket: Stream) -> Shared {
        Shared { pid, secret, control, core: Mutex::new(core), failed: AtomicBool::new(false), socket }
    }

    pub(super) fn core(&self) -> MutexGuard<'_, Core> {
        // A panic in the session's thread ends the session; whoever comes after rolls back.
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stops what runs and takes the core; `None` when it did not come in time.
    fn seize(&self, why: &Stop, until: Instant) -> Option<MutexGuard<'_, Core>> {
        loop {
            match self.core.try_lock() {
                Ok(core) => return Some(core),
                Err(TryLockError::Poisoned(e)) => return Some(e.into_inner()),
                Err(TryLockError::WouldBlock) if Instant::now() >= until => return None,
                Err(TryLockError::WouldBlock) => {
                    self.control.stop_until_ended(why, None, LOOK);
                    // A commit can't be stopped; it is waited for.
                    std::thread::park_timeout(Duration::from_millis(1));
                }
            }
        }
    }

    fn fail(&self, why: &str, until: Instant) -> Outcome {
        let stop = Stop::Drain(why.to_owned());
        match self.seize(&stop, until) {
            Some(mut core) => {
                let open = core.fail_from_outside(&stop.error());
                if open {
                    self.failed.store(true, Ordering::Release);
                }
                if open { Outcome::Failed } else { Outcome::Idle }
            }
            None => Outcome::Stuck,
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Idle,
    Failed,
    Stuck,
}

/// What a drain did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Drained {
    /// Sessions there were.
    pub sessions: usize,
    /// Open transactions that were failed.
    pub failed: usize,
    /// Sessions that did not let go in time; their sockets were closed.
    pub forced: usize,
}

#[derive(Debug, Default)]
struct State {
    sessions: BTreeMap<i32, Arc<Shared>>,
    starting: usize,
    closed: Option<String>,
}

/// The registry of one server.
#[derive(Debug, Default)]
pub struct Sessions {
    state: Mutex<State>,
    changed: Condvar,
    held: AtomicBool,
    pub(super) watchdog: Watchdog,
}

impl Sessions {
    /// An empty registry that lets everybody in.
    pub fn new() -> Arc<Sessions> {
        Arc::new(Sessions::default())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // The map is changed by single calls, so it is whole whenever the lock is free.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sessions that are open now.
    pub fn count(&self) -> usize {
        self.lock().sessions.len()
    }

    /// Sessions that came over the Unix socket.
    pub fn count_local(&self) -> usize {
        self.lock().sessions.values().filter(|session| session.socket.is_local()).count()
    }

    /// New statements wait from now on.
    pub fn hold(&self) {
        self.held.store(true, Ordering::SeqCst);
    }

    /// Statements run again, and new sessions are let in again.
    pub fn resume(&self) {
        self.held.store(false, Ordering::SeqCst);
        self.lock().closed = None;
        self.changed.notify_all();
    }

    pub(super) fn is_held(&self) -> bool {
        self.held.load(Ordering::SeqCst)
    }

    /// Waits while statements are held; false when `go_on` said no.
    pub(super) fn wait_while_held(&self, go_on: &dyn Fn() -> bool) -> bool {
        let mut state = self.lock();
        while self.is_held() {
            if !go_on() {
                return false;
            }
            state = self.changed.wait_timeout(state, LOOK).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    fn all(&self) -> Vec<Arc<Shared>> {
        self.lock().sessions.values().cloned().collect()
    }

    /// Holds new statements, cancels the running ones (40001 with `reason`), fails the open
    /// transactions, and waits for commits in flight. A session that does not let go within
    /// `patience` loses its socket. Blocks: not for an async thread.
    pub fn drain(&self, reason: &str, patience: Duration) -> Drained {
        self.hold();
        self.fail_transactions(reason, patience)
    }

    /// Like [`Sessions::drain`] without holding: for a log that open transactions keep from being
    /// emptied.
    pub fn fail_transactions(&self, reason: &str, patience: Duration) -> Drained {
        let until = Instant::now() + patience;
        let stop = Stop::Drain(reason.to_owned());
        let all = self.all();
        // All are told before any is waited for.
        for session in &all {
            session.control.stop(&stop, None);
        }
        let mut drained = Drained { sessions: all.len(), ..Drained::default() };
        for session in &all {
            match session.fail(reason, until) {
                Outcome::Idle => {}
                Outcome::Failed => drained.failed += 1,
                Outcome::Stuck => {
                    session.socket.shutdown(Shutdown::Both);
                    drained.forced += 1;
                }
            }
        }
        self.changed.notify_all();
        drained
    }

    /// Ends every session with 57P01 and `reason`, and lets nobody in until [`Sessions::resume`].
    /// Returns the sessions that are still there after `patience`. Blocks.
    pub fn close_all(&self, reason: &str, patience: Duration) -> usize {
        let until = Instant::now() + patience;
        self.lock().closed = Some(reason.to_owned());
        let all = self.all();
        for session in &all {
            session.control.close(reason);
            // Wakes a session that waits for its client; it can still say goodbye.
            session.socket.shutdown(Shutdown::Read);
        }
        self.changed.notify_all();
        for session in &all {
            if session.seize(&Stop::Close(reason.to_owned()), until).is_none() {
                session.socket.shutdown(Shutdown::Both);
            }
        }
        let mut state = self.lock();
        while state.sessions.len() + state.starting > 0 && Instant::now() < until {
            state = self.changed.wait_timeout(state, LOOK).unwrap_or_else(PoisonError::into_inner).0;
        }
        state.sessions.len() + state.starting
    }

    /// Cancels what the session does, if the key is right. Returns when the statement has ended.
    pub fn cancel(&self, pid: i32, key: &SecretKey) {
        let session = self.lock().sessions.get(&pid).cloned();
        if let Some(session) = session
            && key.eq_value(&SecretKey::I32(session.secret))
        {
            session.control.stop_until_ended(&Stop::Cancel, None, CANCEL_PATIENCE);
        }
    }

    /// Counts a session that is still starting; the reason when nobody is let in.
    pub(super) fn start(self: &Arc<Self>) -> Result<Starting, String> {
        let mut state = self.lock();
        if let Some(reason) = &state.closed {
            return Err(reason.clone());
        }
        state.starting += 1;
        Ok(Starting { sessions: Arc::clone(self), pid: None })
    }

    /// A process id nobody else has.
    pub(super) fn free_pid(&self, random: u32) -> i32 {
        let state = self.lock();
        let mut pid = i32::try_from(random >> 2).unwrap_or(1).max(1);
        while state.sessions.contains_key(&pid) {
            pid = pid.checked_add(1).unwrap_or(1);
        }
        pid
    }
}

/// A place in the registry; it is given back when dropped.
#[derive(Debug)]
pub(super) struct Starting {
    sessions: Arc<Sessions>,
    pid: Option<i32>,
}

impl Starting {
    /// The session stands; the reason when the server was closed meanwhile.
    pub(super) fn enter(&mut self, session: &Arc<Shared>) -> Result<(), String> {
        let mut state = self.sessions.lock();
        if let Some(reason) = &state.closed {
            return Err(reason.clone());
        }
        state.starting -= 1;
        state.sessions.insert(session.pid, Arc::clone(session));
        self.pid = Some(session.pid);
        Ok(())
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        let mut state = self.sessions.lock();
        match self.pid {
            Some(pid) => {
                state.sessions.remove(&pid);
            }
            None => state.starting -= 1,
        }
        drop(state);
        self.sessions.changed.notify_all();
    }
}
