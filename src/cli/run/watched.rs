//! Following a lifecycle command that runs on a runtime, from the thread that shows progress.

use crate::cluster::{Control, Observer, Progressing};
use crate::cluster_dir::Watch;
use std::sync::mpsc::{RecvTimeoutError, channel};
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
        // It is asked from the first moment: Ctrl-C works before there is any progress.
        let mut last = Progressing { op: 0, elapsed_ms: 0, contents: Vec::new() };
        loop {
            match seen.recv_timeout(OBSERVE_EVERY) {
                Ok(now) => last = now,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if observer.progress(&last) != Control::KeepWatching {
                break;
            }
        }
        match worker.join() {
            Ok(done) => done,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}
