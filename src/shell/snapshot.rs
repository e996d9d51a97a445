//! The cluster as it was seen last: what the prompt, completion and notices are made from.
//!
//! A thread of its own looks at the cluster over a connection of its own. Nothing that is typed ever
//! waits for it: with a coordinator that hangs, what was seen last stays, and the prompt says its age.

use crate::cluster::State;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

/// Asks the cluster for its state; `None` when it can't be had. Only the thread here calls it.
pub type Look = Arc<dyn Fn() -> Option<State> + Send + Sync>;

/// Between two looks while nothing is asked for. FTS itself looks once in a second.
const EVERY: Duration = Duration::from_secs(1);

/// The last state, shared by the prompt and the thread that looks.
#[derive(Default)]
pub struct Snapshot {
    inner: Mutex<Inner>,
    changed: Condvar,
}

#[derive(Default)]
struct Inner {
    last: Option<(Arc<State>, Instant)>,
    /// A line is being typed.
    typing: bool,
    /// What the prompt above it showed; `None` when that was nothing.
    baseline: Option<Arc<State>>,
    /// Looks that were asked for, and the number that was asked for when the last look began.
    asked: u64,
    answered: u64,
    /// The thread that looks is in the middle of a look that takes long.
    late: bool,
    ended: bool,
}

/// A state and when it was received.
#[derive(Debug, Clone)]
pub struct Seen {
    pub state: Arc<State>,
    /// Since the shell received it.
    pub age: Duration,
}

impl Snapshot {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known now; asks nobody.
    pub fn now(&self) -> Option<Seen> {
        self.lock().last.as_ref().map(|(state, at)| Seen { state: Arc::clone(state), age: at.elapsed() })
    }

    /// A state that somebody else received, such as `state()` at the prompt.
    pub fn put(&self, state: State) {
        self.lock().last = Some((Arc::new(state), Instant::now()));
    }

    /// Asks for a look and waits for it, but never longer than `within`, and not at all when the look
    /// before has not come back either.
    pub fn refresh(&self, within: Duration) {
        let mut inner = self.lock();
        inner.asked += 1;
        let mine = inner.asked;
        self.changed.notify_all();
        let until = Instant::now() + within;
        while !inner.late && !inner.ended && inner.answered < mine {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                inner.late = true;
                return;
            }
            inner = self.changed.wait_timeout(inner, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// A line begins to be typed below what is known now: from here on changes are news.
    pub fn begin_typing(&self) -> Option<Seen> {
        let seen = self.now();
        let mut inner = self.lock();
        inner.typing = true;
        inner.baseline = seen.as_ref().map(|seen| Arc::clone(&seen.state));
        self.changed.notify_all();
        seen
    }

    /// The line was typed: what it changes is no news.
    pub fn end_typing(&self) {
        let mut inner = self.lock();
        inner.typing = false;
        inner.baseline = None;
    }

    /// Takes what a look saw; what was shown before and what is seen now, when a line is being typed.
    fn looked(&self, state: Option<State>, asked: u64) -> Option<(Arc<State>, Arc<State>)> {
        let mut inner = self.lock();
        inner.answered = asked;
        inner.late = false;
        self.changed.notify_all();
        let state = Arc::new(state?);
        inner.last = Some((Arc::clone(&state), Instant::now()));
        let before = inner.baseline.as_mut()?;
        Some((std::mem::replace(before, Arc::clone(&state)), state))
    }

    /// Waits for the next look to be due; the number of looks asked for, `None` at the end. While no line
    /// is being typed nobody sees what changes, and a cluster that is being restarted is left alone.
    fn due(&self) -> Option<u64> {
        let mut inner = self.lock();
        loop {
            if inner.ended {
                return None;
            }
            if inner.asked != inner.answered {
                return Some(inner.asked);
            }
            if !inner.typing {
                inner = self.changed.wait(inner).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let (next, waited) = self.changed.wait_timeout(inner, EVERY).unwrap_or_else(PoisonError::into_inner);
            inner = next;
            if waited.timed_out() && inner.typing && !inner.ended {
                return Some(inner.asked);
            }
        }
    }
}

/// Keeps a snapshot fresh until it is dropped.
pub struct Watcher(Arc<Snapshot>);

impl Watcher {
    /// Starts the thread. `news` gets two states between which a line was being typed.
    pub fn start(
        snapshot: &Arc<Snapshot>,
        look: Look,
        mut news: impl FnMut(&State, &State) + Send + 'static,
    ) -> io::Result<Watcher> {
        let shared: Weak<Snapshot> = Arc::downgrade(snapshot);
        std::thread::Builder::new().name("snapshot".into()).spawn(move || {
            while let Some(snapshot) = shared.upgrade()
                && let Some(asked) = snapshot.due()
            {
                let state = look();
                if let Some((before, now)) = snapshot.looked(state, asked) {
                    news(&before, &now);
                }
            }
        })?;
        Ok(Watcher(Arc::clone(snapshot)))
    }
}

impl Drop for Watcher {
    /// The thread is not waited for: it may be in the middle of a look at a cluster that hangs.
    fn drop(&mut self) {
        self.0.lock().ended = true;
        self.0.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shell::render::samples::{broken, healthy};
    use std::sync::mpsc::channel;

    #[test]
    fn a_look_that_hangs_delays_a_prompt_once_and_never_again() {
        let snapshot = Arc::new(Snapshot::default());
        let (release, hang) = channel::<()>();
        let hang = Mutex::new(hang);
        let look: Look = Arc::new(move || {
            let _ = hang.lock().unwrap_or_else(PoisonError::into_inner).recv();
            Some(healthy())
        });
        let _watcher = Watcher::start(&snapshot, look, |_, _| ()).expect("a thread");
        snapshot.refresh(Duration::from_millis(5));
        let begun = Instant::now();
        (0..100).for_each(|_| snapshot.refresh(Duration::from_secs(60)));
        assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
        assert!(snapshot.now().is_none());
        drop(release);
        snapshot.lock().late = false;
        snapshot.refresh(Duration::from_secs(60));
        assert!(snapshot.now().is_some());
    }

    #[test]
    fn a_change_is_news_only_while_a_line_is_typed_and_only_once() {
        let snapshot = Snapshot::default();
        snapshot.put(healthy());
        assert!(snapshot.looked(Some(broken()), 0).is_none(), "nobody types");
        snapshot.put(healthy());
        assert!(snapshot.begin_typing().is_some());
        let (before, now) = snapshot.looked(Some(broken()), 0).expect("news");
        assert_eq!((before.down().len(), now.down().len()), (0, broken().down().len()));
        let (before, now) = snapshot.looked(Some(broken()), 0).expect("the next look");
        assert_eq!(before.down().len(), now.down().len());
        snapshot.end_typing();
        assert!(snapshot.looked(Some(healthy()), 0).is_none());
    }

    #[test]
    fn what_cannot_be_seen_leaves_what_was_seen() {
        let snapshot = Snapshot::default();
        snapshot.put(broken());
        assert!(snapshot.looked(None, 1).is_none());
        assert_eq!(snapshot.now().map(|s| s.state.down().len()), Some(broken().down().len()));
    }
}
