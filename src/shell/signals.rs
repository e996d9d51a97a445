//! Ctrl-C, TERM and HUP: flags that a script cannot swallow.
//!
//! While the prompt reads a line the terminal is raw, and Ctrl-C is a key. At any other time it is a
//! signal, and only raises a flag here: the running script ends at its next step, an operation that
//! is being watched asks what is meant. A thread of its own takes the signals, so that no handler
//! runs in the middle of anything.

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The process's exit code when it was interrupted.
const INTERRUPTED: i32 = 130;

/// The process's exit code when its time limit was over.
const TIMED_OUT: i32 = 6;

/// How long a run may take to end after its time limit: a cancelled operation is followed to its end.
const GRACE: Duration = Duration::from_secs(30);

/// So many Ctrl-C in one run mean that nothing listens: the process ends at once.
const PATIENCE: u32 = 3;

/// The flags; clones share them.
#[derive(Clone)]
pub struct Signals(Arc<Flags>);

struct Flags {
    interrupts: AtomicU32,
    /// TERM or HUP: the whole process is to end.
    ending: AtomicBool,
    /// The time limit of the whole run has passed.
    timed_out: AtomicBool,
    /// Nothing runs: the prompt waits for a line, so an end may be immediate.
    idle: AtomicBool,
    /// A question is being asked, and Ctrl-C is one of its answers.
    asking: AtomicBool,
    /// The terminal as it was found, for an end while it is raw.
    terminal: Option<Termios>,
}

impl Signals {
    /// Flags that only [`Signals::raise`] sets.
    pub fn unattached() -> Signals {
        Signals(Arc::new(Flags {
            interrupts: AtomicU32::new(0),
            ending: AtomicBool::new(false),
            timed_out: AtomicBool::new(false),
            idle: AtomicBool::new(false),
            asking: AtomicBool::new(false),
            terminal: tcgetattr(io::stdin()).ok(),
        }))
    }

    /// Flags that SIGINT, SIGTERM and SIGHUP set from now on.
    pub fn install() -> io::Result<Signals> {
        let signals = Signals::unattached();
        let (ready, is_ready) = std::sync::mpsc::sync_channel(1);
        let flags = signals.clone();
        std::thread::Builder::new().name("signals".into()).spawn(move || listen(&flags, &ready))?;
        is_ready.recv().map_err(|_| io::Error::other("the signal thread ended"))??;
        Ok(signals)
    }

    /// Whether the running script is to end. Sticky until [`Signals::clear`].
    pub fn interrupted(&self) -> bool {
        self.0.interrupts.load(Ordering::SeqCst) > 0 || self.ending() || self.timed_out()
    }

    /// Whether the whole process is to end.
    pub fn ending(&self) -> bool {
        self.0.ending.load(Ordering::SeqCst)
    }

    /// Whether the time limit of the whole run has passed.
    pub fn timed_out(&self) -> bool {
        self.0.timed_out.load(Ordering::SeqCst)
    }

    /// What ends a run, as the beginning of a sentence.
    pub fn why(&self) -> &'static str {
        if self.timed_out() { "timed out" } else { "interrupted" }
    }

    /// Ends what runs once `limit` is over, as Ctrl-C would; a question that still stands then, or a
    /// run that does not end within [`GRACE`] of it, ends the process.
    pub fn end_after(&self, limit: Duration) -> io::Result<()> {
        let signals = self.clone();
        let wait = move || {
            std::thread::sleep(limit);
            signals.0.timed_out.store(true, Ordering::SeqCst);
            if !signals.0.asking.load(Ordering::SeqCst) {
                std::thread::sleep(GRACE);
            }
            signals.leave_with(TIMED_OUT, "timed out; what was begun at the coordinator goes on there")
        };
        std::thread::Builder::new().name("time-limit".into()).spawn(wait).map(drop)
    }

    /// Forgets Ctrl-C: a new line begins, or the answer was to go on. TERM is never forgotten.
    pub fn clear(&self) {
        self.0.interrupts.store(0, Ordering::SeqCst);
    }

    /// As if Ctrl-C had been pressed.
    pub fn raise(&self) {
        self.0.interrupts.fetch_add(1, Ordering::SeqCst);
    }

    /// Runs `read`, during which TERM and HUP end the process at once.
    pub fn while_idle<T>(&self, read: impl FnOnce() -> T) -> T {
        self.0.idle.store(true, Ordering::SeqCst);
        let result = read();
        self.0.idle.store(false, Ordering::SeqCst);
        result
    }

    /// Runs `ask`, during which impatience does not end the process.
    pub fn while_asking<T>(&self, ask: impl FnOnce() -> T) -> T {
        self.0.asking.store(true, Ordering::SeqCst);
        let result = ask();
        self.0.asking.store(false, Ordering::SeqCst);
        result
    }

    fn on_interrupt(&self) {
        let count = self.0.interrupts.fetch_add(1, Ordering::SeqCst) + 1;
        if count >= PATIENCE && !self.0.asking.load(Ordering::SeqCst) {
            self.leave("interrupted; what was begun at the coordinator goes on there");
        }
    }

    fn on_end(&self) {
        let again = self.0.ending.swap(true, Ordering::SeqCst);
        if again || self.0.idle.load(Ordering::SeqCst) {
            self.leave("asked to end");
        }
    }

    /// Ends the process from whatever thread, leaving the terminal as it was found.
    pub(super) fn leave(&self, why: &str) -> ! {
        self.leave_with(if self.timed_out() { TIMED_OUT } else { INTERRUPTED }, why)
    }

    fn leave_with(&self, code: i32, why: &str) -> ! {
        if let Some(terminal) = &self.0.terminal {
            // The process ends either way; a terminal that is gone needs no care.
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, terminal);
        }
        let _ = writeln!(io::stderr(), "\n{why}");
        std::process::exit(code)
    }
}

fn listen(signals: &Signals, ready: &std::sync::mpsc::SyncSender<io::Result<()>>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build();
    let outcome = runtime.and_then(|runtime| {
        let streams = runtime.block_on(async { Streams::open() })?;
        Ok((runtime, streams))
    });
    match outcome {
        Ok((runtime, streams)) => {
            // A receiver that is gone has given up on the installation.
            let _ = ready.send(Ok(()));
            runtime.block_on(streams.forward(signals));
        }
        Err(error) => {
            let _ = ready.send(Err(error));
        }
    }
}

struct Streams {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Streams {
    fn open() -> io::Result<Streams> {
        Ok(Streams {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    async fn forward(mut self, signals: &Signals) {
        loop {
            tokio::select! {
                Some(()) = self.interrupt.recv() => signals.on_interrupt(),
                Some(()) = self.terminate.recv() => signals.on_end(),
                Some(()) = self.hangup.recv() => signals.on_end(),
                else => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interrupt_stays_until_it_is_cleared() {
        let signals = Signals::unattached();
        assert!(!signals.interrupted());
        signals.raise();
        assert!(signals.interrupted() && signals.interrupted());
        signals.clear();
        assert!(!signals.interrupted());
    }

    #[test]
    fn a_term_is_never_forgotten() {
        let signals = Signals::unattached();
        signals.on_end();
        signals.clear();
        assert!(signals.interrupted() && signals.ending());
    }
}
