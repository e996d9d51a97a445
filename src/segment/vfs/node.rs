//! What the connections of one database share: the locks, the WAL index, and what was found.

use super::hold::Commits;
use super::shm::Regions;
use crate::engine::storage::FileId;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// SQLite's file lock levels, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    None,
    Shared,
    Reserved,
    Pending,
    Exclusive,
}

impl Level {
    pub(super) fn from_sqlite(level: i32) -> Option<Level> {
        [Level::None, Level::Shared, Level::Reserved, Level::Pending, Level::Exclusive]
            .into_iter()
            .find(|l| *l as i32 == level)
    }
}

/// The file locks of `main.db`, among the connections of this process.
#[derive(Debug, Default)]
struct FileLocks {
    shared: usize,
    reserved: bool,
    pending: bool,
    exclusive: bool,
}

/// How often the WAL index is looked at before it can't say.
const INDEX_LOOKS: usize = 1_000;

/// Slots of the WAL index's locks.
pub(super) const SHM_SLOTS: usize = 8;
/// The slot of the one write lock (`WAL_WRITE_LOCK`).
const WRITE_SLOT: usize = 0;
/// The slot of readers who need nothing of the log, because all of it is in `main.db` (`WAL_READ_LOCK(0)`);
/// the slots behind it are those of readers of the log.
const MAIN_ONLY_SLOT: usize = 3;

#[derive(Debug, Default)]
struct ShmLocks {
    shared: [u32; SHM_SLOTS],
    exclusive: [bool; SHM_SLOTS],
}

/// One per registered VFS.
#[derive(Debug, Default)]
pub(super) struct Node {
    files: Mutex<FileLocks>,
    shm: Mutex<ShmLocks>,
    pub(super) regions: Mutex<Regions>,
    damage: Mutex<BTreeSet<(FileId, u64)>>,
    /// Where the live part of the log ends; behind it lies what an earlier round left.
    log_end: AtomicU64,
    pub(super) log_cap: AtomicU64,
    pub(super) commits: Commits,
    /// A callback panicked: nothing is answered any more.
    pub(super) poisoned: AtomicBool,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Every critical section here is a few assignments; a poisoned one is still whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Node {
    /// Raises a connection's lock from `have` to `want`; false means busy.
    pub(super) fn lock(&self, have: &mut Level, want: Level) -> bool {
        if *have >= want {
            return true;
        }
        let mut locks = locked(&self.files);
        match want {
            Level::None => true,
            Level::Shared => {
                if locks.pending || locks.exclusive {
                    return false;
                }
                locks.shared += 1;
                *have = Level::Shared;
                true
            }
            Level::Reserved => {
                if locks.reserved || locks.pending || locks.exclusive {
                    return false;
                }
                locks.reserved = true;
                *have = Level::Reserved;
                true
            }
            Level::Pending | Level::Exclusive => Self::lock_exclusive(&mut locks, have),
        }
    }

    fn lock_exclusive(locks: &mut FileLocks, have: &mut Level) -> bool {
        let held_by_other = match *have {
            Level::Shared => locks.reserved || locks.pending,
            Level::Reserved => locks.pending,
            _ => false,
        };
        if held_by_other || locks.exclusive {
            return false;
        }
        if *have == Level::Reserved {
            locks.reserved = false;
        }
        locks.pending = true;
        *have = Level::Pending;
        if locks.shared > 1 {
            return false;
        }
        locks.pending = false;
        locks.exclusive = true;
        *have = Level::Exclusive;
        true
    }

    /// Lowers a connection's lock to `Shared` or `None`.
    pub(super) fn unlock(&self, have: &mut Level, want: Level) {
        if *have <= want {
            return;
        }
        let mut locks = locked(&self.files);
        match *have {
            Level::Reserved => locks.reserved = false,
            Level::Pending => locks.pending = false,
            Level::Exclusive => locks.exclusive = false,
            Level::None | Level::Shared => {}
        }
        if want == Level::None {
            locks.shared = locks.shared.saturating_sub(1);
        }
        *have = want;
    }

    pub(super) fn is_reserved(&self) -> bool {
        let locks = locked(&self.files);
        locks.reserved || locks.pending || locks.exclusive
    }

    /// Takes `count` slots of the WAL index's locks from `first` on: all of them or none.
    pub(super) fn shm_lock(&self, mine: &mut ShmMask, first: usize, count: usize, exclusive: bool) -> bool {
        let slots = first..first + count;
        let mut locks = locked(&self.shm);
        if exclusive {
            let taken =
                |s: usize| (locks.exclusive[s] && !mine.exclusive[s]) || locks.shared[s] > u32::from(mine.shared[s]);
            if slots.clone().any(taken) {
                return false;
            }
            for s in slots {
                locks.exclusive[s] = true;
                mine.exclusive[s] = true;
            }
            return true;
        }
        if slots.clone().any(|s| locks.exclusive[s] && !mine.exclusive[s]) {
            return false;
        }
        for s in slots {
            // A second shared lock of the same connection changes nothing.
            if !mine.shared[s] {
                mine.shared[s] = true;
                locks.shared[s] += 1;
            }
        }
        true
    }

    /// Gives back slots of the WAL index's locks.
    pub(super) fn shm_unlock(&self, mine: &mut ShmMask, first: usize, count: usize, exclusive: bool) {
        if exclusive && first == WRITE_SLOT && mine.exclusive[WRITE_SLOT] {
            // Before another writer can have it: that one's commit is another one.
            self.commits.settled();
        }
        let mut locks = locked(&self.shm);
        for s in first..first + count {
            if exclusive && mine.exclusive[s] {
                mine.exclusive[s] = false;
                locks.exclusive[s] = false;
            } else if !exclusive && mine.shared[s] {
                mine.shared[s] = false;
                locks.shared[s] = locks.shared[s].saturating_sub(1);
            }
        }
    }

    /// A barrier: what was written before is seen by whoever takes a lock afterwards.
    pub(super) fn shm_barrier(&self) {
        std::sync::atomic::fence(Ordering::SeqCst);
        drop(locked(&self.shm));
    }

    /// True when nothing was known of it before.
    pub(super) fn note_damage(&self, file: FileId, block: u64) -> bool {
        let is_new = locked(&self.damage).insert((file, block));
        if is_new {
            tracing::error!(block, file = file.name(), "page checksum mismatch");
        }
        is_new
    }

    pub(super) fn damage(&self, file: FileId) -> Vec<u64> {
        locked(&self.damage).iter().filter(|(in_file, _)| *in_file == file).map(|(_, block)| *block).collect()
    }

    /// Whether a frame of the log is committed; `None` when the index can't say.
    pub(super) fn is_committed(&self, frame: u64) -> Option<bool> {
        for _ in 0..INDEX_LOOKS {
            match self.committed() {
                Some(committed) => return Some(frame < u64::from(committed.frames)),
                // A writer is just about to change it, which takes a moment.
                None => std::thread::yield_now(),
            }
        }
        None
    }

    /// What the WAL index says of the log's committed part.
    pub(super) fn committed(&self) -> Option<Committed> {
        let header = locked(&self.regions).header()?;
        let word = |at: usize| header[at..].first_chunk::<4>().map(|w| u32::from_ne_bytes(*w));
        Some(Committed {
            frames: word(16)?,
            pages: word(20)?,
            sum: (word(24)?, word(28)?),
            salt: *header[32..].first_chunk::<8>()?,
        })
    }

    pub(super) fn log_end(&self) -> u64 {
        self.log_end.load(Ordering::Acquire)
    }

    pub(super) fn set_log_end(&self, end: u64) {
        self.log_end.store(end, Ordering::Release);
    }
}

/// The part of the log that SQLite reads: what it must hold, by the index on the heap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Committed {
    /// Frames; 0 when everything was copied to main.db and the log begins anew.
    pub frames: u32,
    /// Pages of the database after the last of them; 0 while there has been none.
    pub pages: u32,
    /// The checksum of the last of them.
    pub sum: (u32, u32),
    /// What each of them is marked with.
    pub salt: [u8; 8],
}

/// The slots one connection holds.
#[derive(Debug, Default)]
pub(super) struct ShmMask {
    shared: [bool; SHM_SLOTS],
    exclusive: [bool; SHM_SLOTS],
}

impl ShmMask {
    /// Whether a read transaction reads the log; `None` when there is none.
    pub(super) fn reads_log(&self) -> Option<bool> {
        let slot = self.shared.iter().skip(MAIN_ONLY_SLOT).position(|held| *held)?;
        Some(slot > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exclusive_waits_for_readers_and_keeps_new_ones_out() {
        let node = Node::default();
        let (mut a, mut b, mut c) = (Level::None, Level::None, Level::None);
        assert!(node.lock(&mut a, Level::Shared));
        assert!(node.lock(&mut b, Level::Shared));
        assert!(node.lock(&mut a, Level::Reserved));
        assert!(!node.lock(&mut b, Level::Reserved));
        assert!(!node.lock(&mut a, Level::Exclusive));
        assert!(!node.lock(&mut c, Level::Shared), "a writer is pending");
        node.unlock(&mut b, Level::None);
        assert!(node.lock(&mut a, Level::Exclusive));
        node.unlock(&mut a, Level::None);
        assert!(node.lock(&mut c, Level::Shared));
        assert!(!node.is_reserved());
    }

    #[test]
    fn index_locks_over_several_slots_are_all_or_nothing() {
        let node = Node::default();
        let (mut a, mut b) = (ShmMask::default(), ShmMask::default());
        assert!(node.shm_lock(&mut a, 4, 1, false));
        assert!(!node.shm_lock(&mut b, 3, 3, true));
        assert!(node.shm_lock(&mut b, 3, 1, true), "slot 3 was left alone");
        assert!(node.shm_lock(&mut a, 4, 1, false));
        node.shm_unlock(&mut a, 4, 1, false);
        assert!(node.shm_lock(&mut b, 4, 2, true));
    }
}
