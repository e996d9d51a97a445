//! Ctrl-C in a call that waits for an answer.

use crate::cluster::InterruptFlag;
use std::future::Future;
use std::pin::pin;
use std::sync::OnceLock;
use std::time::Duration;

/// How often a call that waits looks at the flag. Short enough to feel immediate to a person.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// The flag of the shell in front; nobody interrupts before there is one.
#[derive(Default)]
pub struct Interrupt(OnceLock<InterruptFlag>);

impl Interrupt {
    /// Takes the flag; the first one stays, because a session has one shell in front.
    pub fn set(&self, flag: InterruptFlag) {
        let _ = self.0.set(flag);
    }

    fn raised(&self) -> bool {
        self.0.get().is_some_and(|raised| raised())
    }

    /// Waits for `work`; `None` when Ctrl-C came first. An answer that is there within one look is
    /// never given away, so that what is asked after Ctrl-C (the prompt's own state) is answered too.
    pub async fn or<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let mut work = pin!(work);
        loop {
            match tokio::time::timeout(LOOK_EVERY, work.as_mut()).await {
                Ok(done) => return Some(done),
                Err(_) if self.raised() => return None,
                Err(_) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    fn runtime() -> tokio::runtime::Runtime {
        let built = tokio::runtime::Builder::new_current_thread().enable_all().build();
        built.expect("a runtime")
    }

    #[test]
    fn a_wait_ends_with_the_flag_and_an_answer_at_hand_is_taken_all_the_same() {
        let raised = Arc::new(AtomicBool::new(false));
        let interrupt = Interrupt::default();
        let flag = Arc::clone(&raised);
        interrupt.set(Arc::new(move || flag.load(Ordering::SeqCst)));
        runtime().block_on(async {
            let longer_than_a_look = tokio::time::sleep(LOOK_EVERY * 2);
            assert_eq!(interrupt.or(longer_than_a_look).await, Some(()), "nobody interrupts");
            raised.store(true, Ordering::SeqCst);
            assert_eq!(interrupt.or(std::future::pending::<()>()).await, None);
            assert_eq!(interrupt.or(async { 7 }).await, Some(7));
        });
    }

    #[test]
    fn without_a_shell_in_front_nothing_is_interrupted() {
        let interrupt = Interrupt::default();
        let longer_than_a_look = async { tokio::time::sleep(LOOK_EVERY * 2).await };
        assert_eq!(runtime().block_on(interrupt.or(longer_than_a_look)), Some(()));
    }
}
