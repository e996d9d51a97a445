//! The acting primary's bookkeeping: for every write, what goes to the mirror and what is marked.
//!
//! ```text
//!             order p,c (higher epoch)                order p,r            dirty = 0, consistent
//!  (opened) ------------------------> Tracking ------------------> Resync ------------------> InSync
//!                                        ^                            |  mirror lost             |
//!                                        |  order p,c (higher epoch)  v                          |
//!                                        +------------------------ Suspended <-------------------+
//! ```
//!
//! Invariants: `dirty ∪ unsynced` contains every block in which the mirror's durable files may
//! differ from ours; while the link holds, the dirty count only falls.

use crate::core::track::{BLOCK_BYTES, DirtyMap, FileId, Run};
use crate::core::unsynced::Unsynced;

/// How the acting primary treats its mirror now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mirroring {
    /// The content has no mirror.
    Mirrorless,
    /// Alone by the coordinator's grant: changes are marked.
    Tracking,
    /// The link is open and the copy under way.
    Resync,
    /// Claimed in sync: a commit needs both sides (R2).
    InSync,
    /// The mirror was lost in `Resync` or `InSync`: nothing is acknowledged until tracking is granted.
    Suspended,
}

/// A commit barrier's number on one link.
pub type Barrier = u64;

/// A byte range of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Range {
    pub offset: u64,
    pub len: u64,
}

/// What a sync has to wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SyncNeeds {
    /// The local file only.
    Local,
    /// The local file, then the map, before the log may restart.
    LocalAndMap,
    /// The local file, and the mirror's answer to this barrier.
    Both(Barrier),
}

/// The acting primary's bookkeeping. See the module.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Primary {
    mirroring: Mirroring,
    dirty: DirtyMap,
    /// Blocks sent, each with the barrier that will cover it, in order.
    unsynced: Unsynced,
    /// The number the next barrier gets.
    next_barrier: Barrier,
    answered: Barrier,
    /// Marks were added since the map was last made durable.
    map_changed: bool,
}

impl Primary {
    /// An acting primary just opened, alone: tracking, or without a mirror at all.
    pub fn alone(mirrorless: bool, dirty: DirtyMap) -> Primary {
        Primary {
            mirroring: if mirrorless { Mirroring::Mirrorless } else { Mirroring::Tracking },
            dirty,
            unsynced: Unsynced::default(),
            next_barrier: 1,
            answered: 0,
            map_changed: true,
        }
    }

    pub fn mirroring(&self) -> Mirroring {
        self.mirroring
    }

    pub fn dirty(&self) -> &DirtyMap {
        &self.dirty
    }

    /// What a durable map must name: also what was sent and is not yet known to be synced, because a
    /// copy of this process's memory is all that knows of it.
    pub fn possibly_different(&self) -> DirtyMap {
        let mut map = self.dirty.clone();
        self.unsynced.runs().for_each(|run| map.mark(run));
        map
    }

    /// Whether marks were added since the map was last made durable.
    pub fn map_changed(&self) -> bool {
        self.map_changed
    }

    /// The map was made durable as it stands.
    pub fn map_saved(&mut self) {
        self.map_changed = false;
    }

    /// The local file took this write: marks it, and returns the ranges the mirror must get now.
    ///
    /// In `Resync` a write to a clean block is sent; a whole-block write to a dirty one is sent and
    /// cleans it; a partial one stays local, because the copy will bring the whole block later.
    pub fn wrote(&mut self, file: FileId, offset: u64, len: u64) -> Vec<Range> {
        assert!(self.mirroring != Mirroring::Suspended, "the gate lets no write pass while suspended");
        match self.mirroring {
            Mirroring::Mirrorless | Mirroring::Suspended => Vec::new(),
            Mirroring::Tracking => {
                self.mark(Run::touching(file, offset, len));
                Vec::new()
            }
            Mirroring::InSync => {
                self.sent(Run::touching(file, offset, len));
                vec![Range { offset, len }]
            }
            Mirroring::Resync => self.wrote_in_resync(file, offset, len),
        }
    }

    /// Marks what was written while no mirror is told. Every recovery copies the whole log, so its marks
    /// need no durable map.
    fn mark(&mut self, run: Run) {
        let before = self.dirty.count();
        self.dirty.mark(run);
        self.map_changed |= run.file == FileId::Main && self.dirty.count() != before;
    }

    fn wrote_in_resync(&mut self, file: FileId, offset: u64, len: u64) -> Vec<Range> {
        let mut send: Vec<Range> = Vec::new();
        let end = offset + len;
        for block in Run::touching(file, offset, len).first..end.div_ceil(BLOCK_BYTES) {
            let (start_of, end_of) = (block * BLOCK_BYTES, (block + 1) * BLOCK_BYTES);
            let part = Range { offset: offset.max(start_of), len: end.min(end_of) - offset.max(start_of) };
            if self.dirty.is_dirty(file, block) {
                if part.len < BLOCK_BYTES {
                    continue;
                }
                self.dirty.clear(file, block);
            }
            self.sent(Run { file, first: block, count: 1 });
            match send.last_mut() {
                Some(last) if last.offset + last.len == part.offset => last.len += part.len,
                _ => send.push(part),
            }
        }
        send
    }

    /// The local file was cut from `old_len` to `new_len`; true when the mirror must be told.
    pub fn truncated(&mut self, file: FileId, old_len: u64, new_len: u64) -> bool {
        let gone = Run::touching(file, new_len, old_len.saturating_sub(new_len));
        match self.mirroring {
            Mirroring::Mirrorless | Mirroring::Suspended => false,
            Mirroring::Tracking => {
                // Kept marked: a file that grows again over them has holes the mirror lacks.
                self.mark(gone);
                false
            }
            Mirroring::InSync | Mirroring::Resync => {
                self.sent(gone);
                true
            }
        }
    }

    /// A sync of `file` begins: what it has to wait for.
    pub fn sync(&mut self, file: FileId) -> SyncNeeds {
        match self.mirroring {
            Mirroring::Mirrorless => SyncNeeds::Local,
            // The sync of main.db ends a checkpoint: after it the log may restart, and then only the
            // map still knows what the checkpoint wrote.
            Mirroring::Tracking if file == FileId::Main && self.map_changed => SyncNeeds::LocalAndMap,
            Mirroring::Tracking => SyncNeeds::Local,
            // No mirror is promoted before the claim (R4), and what makes the claim true is a barrier
            // behind this commit. A checkpoint waits: after it the log no longer names what it wrote.
            Mirroring::Resync if file == FileId::Wal => SyncNeeds::Local,
            Mirroring::Resync | Mirroring::InSync => SyncNeeds::Both(self.barrier()),
            Mirroring::Suspended => unreachable!("the gate lets no sync begin while suspended"),
        }
    }

    /// Numbers a barrier: everything sent so far is covered by it.
    pub fn barrier(&mut self) -> Barrier {
        let barrier = self.next_barrier;
        self.next_barrier += 1;
        barrier
    }

    /// The mirror has synced everything up to this barrier.
    pub fn answered(&mut self, barrier: Barrier) {
        self.answered = self.answered.max(barrier);
        self.unsynced.answered(self.answered);
    }

    pub fn is_answered(&self, barrier: Barrier) -> bool {
        self.answered >= barrier
    }

    fn sent(&mut self, run: Run) {
        self.unsynced.sent(self.next_barrier, run);
    }

    /// Adds to the map what another contribution names: the mirror's, or our own log's.
    pub fn contribute(&mut self, more: &DirtyMap) {
        assert!(self.mirroring == Mirroring::Tracking, "contributions are gathered before the link carries data");
        self.dirty.union(more);
        self.map_changed = true;
    }

    /// The link is open, the union durable, and the mirror is told these lengths of the files, in bytes: from
    /// now on writes go through. What is marked beyond a file's end needs no copy, because the mirror cuts it off.
    pub fn resync_begins(&mut self, lengths: [u64; 2]) {
        assert!(self.mirroring == Mirroring::Tracking);
        self.mirroring = Mirroring::Resync;
        (self.next_barrier, self.answered) = (1, 0);
        self.unsynced.clear();
        for (file, len) in FileId::ALL.into_iter().zip(lengths) {
            let beyond = self.dirty.cut(file, len);
            beyond.into_iter().for_each(|run| self.sent(run));
        }
    }

    /// The next run to copy, at most `max` blocks.
    pub fn next_copy(&self, max: u64) -> Option<Run> {
        (self.mirroring == Mirroring::Resync).then(|| self.dirty.first_run(max)).flatten()
    }

    /// These blocks were read and queued for the mirror, under the same lock as writes.
    pub fn copied(&mut self, run: Run) {
        (run.first..run.end()).for_each(|b| {
            self.dirty.clear(run.file, b);
        });
        self.sent(run);
    }

    /// Both sides are durably consistent: R2 holds from here on, and a claim is never withdrawn.
    pub fn claim(&mut self) {
        assert!(self.mirroring == Mirroring::Resync && self.dirty.count() == 0, "a claim needs an empty map");
        self.mirroring = Mirroring::InSync;
    }

    /// A comparison found that the mirror holds something else there: only a copy makes it equal. While the
    /// pair stays in sync writes go on as before; a mark too many is harmless.
    pub fn differs(&mut self, run: Run) {
        self.dirty.mark(run);
        self.map_changed = true;
    }

    /// The mirror is lost: what it may not hold durably is dirty again.
    pub fn mirror_lost(&mut self) {
        if matches!(self.mirroring, Mirroring::Resync | Mirroring::InSync) {
            std::mem::take(&mut self.unsynced).runs().for_each(|run| self.dirty.mark(run));
            self.map_changed = true;
            self.mirroring = Mirroring::Suspended;
        }
    }

    /// The coordinator granted tracking, and the map is durable.
    pub fn tracking_granted(&mut self) {
        assert!(matches!(self.mirroring, Mirroring::Suspended | Mirroring::Tracking));
        self.mirroring = Mirroring::Tracking;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn resync(dirty: &[u64]) -> Primary {
        let mut p = Primary::alone(false, DirtyMap::default());
        dirty.iter().for_each(|b| p.dirty.mark(Run { file: FileId::Main, first: *b, count: 1 }));
        p.resync_begins([1 << 20; 2]);
        p
    }

    #[test]
    fn what_is_marked_beyond_the_end_is_cut_off_at_the_mirror_and_not_copied() {
        let mut p = Primary::alone(false, DirtyMap::default());
        p.wrote(FileId::Wal, 0, 5 * 4096);
        p.truncated(FileId::Wal, 5 * 4096, 4096 + 10);
        p.resync_begins([1 << 20, 4096 + 10]);
        assert_eq!(p.dirty.runs(), vec![Run { file: FileId::Wal, first: 0, count: 2 }]);
        // Until the mirror has synced it, its file may still be long.
        p.mirror_lost();
        assert_eq!(p.dirty.runs(), vec![Run { file: FileId::Wal, first: 0, count: 5 }]);
    }

    #[test]
    fn in_resync_a_partial_write_to_a_dirty_block_stays_local_and_a_whole_one_cleans_it() {
        let mut p = resync(&[1, 2]);
        assert_eq!(p.wrote(FileId::Main, 4096 + 10, 100), vec![]);
        assert!(p.dirty.is_dirty(FileId::Main, 1));
        assert_eq!(p.wrote(FileId::Main, 4096, 4096), vec![Range { offset: 4096, len: 4096 }]);
        assert!(!p.dirty.is_dirty(FileId::Main, 1));
        // Half of clean block 1, half of dirty block 2: only the clean half goes.
        assert_eq!(p.wrote(FileId::Main, 4096 + 2048, 4096), vec![Range { offset: 4096 + 2048, len: 2048 }]);
    }

    #[test]
    fn what_was_sent_and_not_answered_is_dirty_after_the_mirror_is_lost() {
        let mut p = resync(&[]);
        p.claim();
        p.wrote(FileId::Wal, 0, 4096);
        let first = p.barrier();
        p.wrote(FileId::Wal, 4096, 8192);
        p.answered(first);
        p.mirror_lost();
        assert_eq!(p.mirroring(), Mirroring::Suspended);
        assert_eq!(p.dirty.runs(), vec![Run { file: FileId::Wal, first: 1, count: 2 }]);
    }

    #[test]
    fn a_block_copied_but_not_synced_by_the_mirror_is_dirty_again_after_a_loss() {
        let mut p = resync(&[7]);
        let run = p.next_copy(256).expect("block 7 is dirty");
        p.copied(run);
        assert_eq!(p.dirty.count(), 0);
        p.mirror_lost();
        assert!(p.dirty.is_dirty(FileId::Main, 7));
    }

    #[test]
    fn a_durable_map_names_what_was_sent_and_may_never_have_arrived() {
        let mut p = resync(&[7]);
        p.copied(Run { file: FileId::Main, first: 7, count: 1 });
        assert_eq!(p.dirty.count(), 0);
        assert!(p.possibly_different().is_dirty(FileId::Main, 7));
    }

    #[test]
    fn before_the_claim_a_commit_waits_for_this_side_alone_and_a_checkpoint_for_both() {
        let mut p = resync(&[]);
        p.wrote(FileId::Wal, 0, 4096);
        assert_eq!(p.sync(FileId::Wal), SyncNeeds::Local);
        assert_eq!(p.sync(FileId::Main), SyncNeeds::Both(1));
        p.claim();
        assert_eq!(p.sync(FileId::Wal), SyncNeeds::Both(2));
    }

    #[test]
    fn only_a_block_of_the_database_that_was_not_marked_before_makes_a_new_map_due() {
        let mut p = Primary::alone(false, DirtyMap::default());
        p.map_saved();
        p.wrote(FileId::Wal, 0, 4096);
        assert!(!p.map_changed(), "every recovery copies the whole log");
        p.wrote(FileId::Main, 0, 4096);
        assert!(p.map_changed());
        p.map_saved();
        p.wrote(FileId::Main, 100, 200);
        assert!(!p.map_changed(), "the durable map names it");
    }

    #[test]
    fn in_tracking_the_sync_that_ends_a_checkpoint_saves_the_map_and_a_commit_does_not() {
        let mut p = Primary::alone(false, DirtyMap::default());
        p.map_saved();
        assert_eq!(p.sync(FileId::Main), SyncNeeds::Local);
        p.wrote(FileId::Main, 0, 4096);
        assert_eq!(p.sync(FileId::Wal), SyncNeeds::Local);
        assert_eq!(p.sync(FileId::Main), SyncNeeds::LocalAndMap);
    }

    proptest! {
        /// The strongest property, on a model of two byte images: at any moment a block that differs
        /// between the primary's file and what the mirror has durably applied is dirty or unsynced.
        #[test]
        fn dirty_and_unsynced_contain_every_difference(
            start in proptest::collection::btree_set(0u64..12, 0..12),
            steps in proptest::collection::vec((0u8..5, 0u64..12*16, 1u64..40), 1..80)
        ) {
            // One "byte" of the model is 256 real bytes: 16 of them to a block.
            let unit = BLOCK_BYTES / 16;
            let mut ours = vec![1u32; 12 * 16 + 64];
            let mut applied = ours.clone();
            start.iter().for_each(|b| applied[(*b as usize) * 16] = 99);
            let mut durable = applied.clone();
            let mut p = resync(&start.into_iter().collect::<Vec<_>>());
            let mut value = 1;
            for (kind, at, len) in steps {
                match kind {
                    0 | 1 => {
                        value += 1;
                        (at..at + len).for_each(|i| ours[i as usize] = value);
                        for r in p.wrote(FileId::Main, at * unit, len * unit) {
                            let (from, to) = ((r.offset / unit) as usize, ((r.offset + r.len) / unit) as usize);
                            applied[from..to].copy_from_slice(&ours[from..to]);
                        }
                    }
                    2 | 3 => if let Some(run) = p.next_copy(2) {
                        let before = p.dirty.count();
                        p.copied(run);
                        prop_assert!(p.dirty.count() < before, "while the link holds the dirty count only falls");
                        let (from, to) = ((run.first * 16) as usize, (run.end() * 16) as usize);
                        applied[from..to].copy_from_slice(&ours[from..to]);
                    },
                    _ => { let b = p.barrier(); p.answered(b); durable = applied.clone(); }
                }
                let mut lost = p.clone();
                lost.mirror_lost();
                for block in 0..12u64 {
                    let r = (block * 16) as usize..(block * 16 + 16) as usize;
                    prop_assert!(ours[r.clone()] == durable[r] || lost.dirty.is_dirty(FileId::Main, block), "block {} differs unmarked", block);
                }
            }
        }
    }
}
