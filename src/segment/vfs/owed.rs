//! Commits that were made and are not yet known to be durable, kept for the thread that made them.
//!
//! SQLite holds its one write lock through the sync that ends a commit, so no two commits would ever
//! share one. A thread that says so ([`owing`]) is given the lock back at once instead, and owes the
//! wait: it may tell nobody of the commit before the storage says that it is durable. Every other
//! connection syncs within its commit, as ever.

use crate::engine::storage::Position;
use std::cell::Cell;

thread_local! {
    static OWING: Cell<bool> = const { Cell::new(false) };
    static OWED: Cell<Option<Position>> = const { Cell::new(None) };
}

/// Restores what was, however `owing`'s work ends.
struct Before(bool);

impl Drop for Before {
    fn drop(&mut self) {
        OWING.set(self.0);
    }
}

/// Runs `work`, whose commits on this thread wait for nothing; see [`take_owed`].
pub fn owing<T>(work: impl FnOnce() -> T) -> T {
    let _before = Before(OWING.replace(true));
    work()
}

/// Whether this thread made a commit that it has not waited for.
pub fn owes() -> bool {
    OWED.get().is_some()
}

/// The place of this thread's last commit that it has not waited for; it is its caller's to wait now.
pub fn take_owed() -> Option<Position> {
    OWED.take()
}

/// Whether commits of this thread wait for nothing now.
pub(super) fn is_owing() -> bool {
    OWING.get()
}

pub(super) fn owe(position: Position) {
    OWED.set(Some(position));
}
