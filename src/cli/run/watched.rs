//! Following a lifecycle command that runs on a runtime, from the thread that shows progress.

use crate::cluster::{Control, Observer, Progressing};
use crate::cluster_dir::Watch;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

/// An observer is called at least this often.
const OBSERVE_EVERY: Duration = Duration::from_millis(100);

/// Runs `work` on a thread of its own and shows its progress on this one. What is begun here is
/// finished: an observer that has seen enough is not called again.
pub fn watched<T: Send>(observer: &mut dyn Observer, work: impl FnOnce(Watch<'_>) -> T + Send) -> T {
    std::thread::scope(|scope| {
        let (progress, seen) = channel::<Progressing>();
        let worker = scope.spawn(move || {
            let mut watch = move |now: &Progressing| {
                // Nobody looks any more: the work goes on.
                let _ = progress.send(now.clone());
            };
            work(&mut watch)
        });
        observe(&seen, observer, |_| Go::Home);
        match worker.join() {
            Ok(done) => done,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

/// Runs `work` on a thread of its own, which an observer may leave: then it goes on alone, as long as
/// this process does, and nothing is returned. A wish to cancel, or to begin nothing more, raises
/// `cancelled`; whether there is still something to cancel only `work` knows, so it is followed on.
pub fn followed<T: Send + 'static>(
    observer: &mut dyn Observer,
    cancelled: &AtomicBool,
    work: impl FnOnce(Watch<'_>) -> T + Send + 'static,
) -> Option<T> {
    let (progress, seen) = channel::<Progressing>();
    let worker = std::thread::spawn(move || {
        let mut watch = move |now: &Progressing| {
            // Nobody looks any more: the work goes on.
            let _ = progress.send(now.clone());
        };
        work(&mut watch)
    });
    let ended = observe(&seen, observer, |wish| match wish {
        Control::Detach => Go::Home,
        _ => {
            cancelled.store(true, Ordering::SeqCst);
            Go::On
        }
    });
    if !ended {
        return None;
    }
    match worker.join() {
        Ok(done) => Some(done),
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

/// What an observer's wish means for whoever watches.
enum Go {
    On,
    Home,
}

/// Shows progress until the work has ended (true), or until its observer goes home.
fn observe(seen: &Receiver<Progressing>, observer: &mut dyn Observer, mut wish: impl FnMut(Control) -> Go) -> bool {
    // It is asked from the first moment: Ctrl-C works before there is any progress.
    let mut last = Progressing { op: 0, elapsed_ms: 0, contents: Vec::new() };
    loop {
        match seen.recv_timeout(OBSERVE_EVERY) {
            Ok(now) => last = now,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return true,
        }
        let control = observer.progress(&last);
        if control != Control::KeepWatching
            && let Go::Home = wish(control)
        {
            return false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::mpsc::sync_channel;

    /// Wishes the same again and again.
    struct Wishes(Control);

    impl Observer for Wishes {
        fn progress(&mut self, _now: &Progressing) -> Control {
            self.0
        }
    }

    #[test]
    fn a_cancel_reaches_the_work_and_its_end_is_still_told() {
        let cancelled = Arc::new(AtomicBool::new(false));
        let asked = Arc::clone(&cancelled);
        let told = followed(&mut Wishes(Control::Cancel), &cancelled, move |_| {
            // As the restart does between its stop and its start.
            while !asked.load(Ordering::SeqCst) {
                std::thread::yield_now();
            }
            "stopped, not started"
        });
        assert_eq!(told, Some("stopped, not started"));
    }

    #[test]
    fn work_that_is_left_goes_on() {
        let (go_on, may_end) = sync_channel::<()>(0);
        let (says, said) = sync_channel(1);
        let left = followed(&mut Wishes(Control::Detach), &AtomicBool::new(false), move |_| {
            // Whoever left has gone before the work is let on.
            let _ = may_end.recv();
            says.send("done")
        });
        assert!(left.is_none(), "nobody waited for it");
        go_on.send(()).expect("the work still runs");
        assert_eq!(said.recv(), Ok("done"));
    }
}
