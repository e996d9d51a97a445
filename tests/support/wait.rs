//! Waiting for an event that can only be looked for: a deadline, and never a plain sleep in a test.

use std::time::{Duration, Instant};

/// Between two looks. Short beside everything that is waited for, long beside a look.
const PAUSE: Duration = Duration::from_millis(15);

/// Waits until the condition holds; panics with what was waited for when it does not in time.
#[track_caller]
pub fn wait_for(what: &str, within: Duration, mut condition: impl FnMut() -> bool) {
    wait_for_some(what, within, || condition().then_some(()));
}

/// Waits until there is an answer, and returns it.
#[track_caller]
pub fn wait_for_some<T>(what: &str, within: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        let waited = began.elapsed();
        assert!(waited < within, "waited {waited:.1?} in vain for: {what}");
        std::thread::sleep(PAUSE);
    }
}

/// Seconds, because most deadlines of the tests are a few of them.
pub fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}
