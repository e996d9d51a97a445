//! A segment process: SQLite's writes and syncs, orders, and how it ends and starts.

use crate::action::Dies;
use crate::disk::BLOCKS;
use crate::pair::{Dropped, Outcome, Pair};
use crate::world::{Job, SyncStage, What, World, directory, node_of, order};
use segsh::core::pair::obey::Obedience;
use segsh::core::pair::replica::{Effect, Synced, Time};
use segsh::core::report::Phase;
use segsh::core::row::{Mode, PairRow, Status};
use segsh::core::track::{BLOCK_BYTES, FileId};
use segsh::core::transition::{self, Event};

/// A whole block: SQLite writes nothing less to `main.db`.
fn whole_block(byte: u8) -> Vec<u8> {
    let mut block = vec![0; BLOCK_BYTES as usize];
    block[0] = byte;
    block
}

impl Pair {
    /// A commit's frame, a part of a block: the local write, then the queue or the mark.
    pub fn log(&self, w: &mut World, node: usize, pid: u8) -> bool {
        let commit = w.happened.commits;
        w.happened.commits += 1;
        let restarts = w.nodes[node].by_pid(pid).is_some_and(|p| p.backfilled);
        let disk = &mut w.node_mut(node).disk;
        let log = disk.now.log_with(commit, restarts);
        disk.write(FileId::Wal, 0, &[log]);
        let Some(process) = w.process_mut(node, pid) else { return false };
        process.replica.wrote(FileId::Wal, 0, &[log]);
        process.backfilled = false;
        process.noted |= crate::disk::bit(commit);
        true
    }

    pub fn begin_checkpoint(&self, w: &mut World, node: usize, pid: u8) -> bool {
        w.happened.checkpoints += 1;
        let content = w.nodes[node].disk.now;
        let Some(process) = w.process_mut(node, pid) else { return false };
        process.replica.checkpoint(true);
        process.job = Job::Backfilling(std::array::from_fn(|block| content.logged(block)));
        true
    }

    pub fn backfill(&self, w: &mut World, node: usize, pid: u8) -> bool {
        let Some(Job::Backfilling(mut left)) = w.nodes[node].by_pid(pid).map(|p| p.job) else { return false };
        let Some(block) = (0..BLOCKS).find(|block| left[*block]) else { return false };
        left[block] = false;
        let disk = &mut w.node_mut(node).disk;
        let page = disk.now.page(block);
        let offset = block as u64 * BLOCK_BYTES;
        disk.write(FileId::Main, offset, &[page]);
        let Some(process) = w.process_mut(node, pid) else { return false };
        process.replica.wrote(FileId::Main, offset, &whole_block(page));
        process.job = Job::Backfilling(left);
        true
    }

    pub fn begin_sync(&self, w: &mut World, node: usize, pid: u8) -> bool {
        let Some(process) = w.process_mut(node, pid) else { return false };
        let (what, file) = match process.job {
            Job::Idle => (What::Commits(std::mem::take(&mut process.noted)), FileId::Wal),
            Job::Backfilling(_) => (What::Checkpoint, FileId::Main),
            Job::Syncing { .. } => return false,
        };
        let Ok(ticket) = process.replica.sync_begins(file, Time::ZERO) else { return false };
        process.job = Job::Syncing { what, ticket, stage: SyncStage::Begun };
        true
    }

    pub fn sync_here(&self, w: &mut World, node: usize, pid: u8) -> bool {
        let Some(Job::Syncing { what, ticket, .. }) = w.nodes[node].by_pid(pid).map(|p| p.job) else { return false };
        w.node_mut(node).disk.sync(if what == What::Checkpoint { FileId::Main } else { FileId::Wal });
        let stage = if ticket.needs_map() { SyncStage::MapDue } else { SyncStage::Here };
        let Some(process) = w.process_mut(node, pid) else { return false };
        process.job = Job::Syncing { what, ticket, stage };
        true
    }

    pub fn save_map(&self, w: &mut World, node: usize, pid: u8) -> bool {
        let Some(Job::Syncing { what, ticket, .. }) = w.nodes[node].by_pid(pid).map(|p| p.job) else { return false };
        let saved = self.transact(w, (node, pid), None, |replica, _| replica.synced_here());
        let (Ok(Outcome::Done(_)), Some(process)) = (saved, w.process_mut(node, pid)) else { return false };
        process.job = Job::Syncing { what, ticket, stage: SyncStage::Here };
        true
    }

    pub fn end_sync(&self, w: &mut World, node: usize, pid: u8) -> bool {
        let unasked = self.drops(Dropped::AcknowledgedOnLocalSync);
        let beyond = self.drops(Dropped::AcknowledgedBeyondBarrier);
        let Some(process) = w.process_mut(node, pid) else { return false };
        let Job::Syncing { what, ticket, .. } = process.job else { return false };
        match process.replica.synced(ticket) {
            Ok(Synced::Yes) => {}
            Ok(Synced::NotYet) if unasked => {}
            Ok(Synced::NotYet) | Err(_) => return false,
        }
        process.job = Job::Idle;
        if what == What::Checkpoint {
            process.replica.checkpoint(false);
            process.backfilled = true;
        }
        let late = if beyond { process.noted } else { 0 };
        if let What::Commits(commits) = what {
            w.acknowledged |= commits | late;
        }
        true
    }

    /// As `Engine::order`, until the appliers have to be joined.
    pub fn obey(&self, w: &mut World, node: usize, pid: u8, place: usize, dies: Dies) -> bool {
        let Some(process) = w.process_mut(node, pid) else { return false };
        let Some(mut row) = process.orders.remove(place) else { return false };
        let own = process.replica.meta().epoch;
        if self.drops(Dropped::LowerEpochObeyed) && row.epoch < own {
            row.epoch = own.next();
        }
        self.follow(w, node, pid, row, dies)
    }

    fn follow(&self, w: &mut World, node: usize, pid: u8, row: PairRow, dies: Dies) -> bool {
        let told = order(row, node);
        let Some(process) = w.nodes[node].by_pid(pid) else { return false };
        if process.replica.todo(&told) == Obedience::Nothing {
            return dies.is_none();
        }
        let followed = self.transact(w, (node, pid), dies, |replica, disk| replica.order(&told, disk, Time::ZERO));
        let rest = match followed {
            // Refused: the segment says so, and stays what it is.
            Err(_) => return dies.is_none(),
            Ok(Outcome::Died) => return true,
            Ok(Outcome::TooFew) => return false,
            Ok(Outcome::Done(rest)) => rest,
        };
        for effect in rest {
            match effect {
                Effect::JoinAppliers => return self.must_join(w, node, pid, row),
                Effect::Recover { link, .. } => {
                    w.process_mut(node, pid).into_iter().for_each(|p| p.dialing = Some(link));
                }
                Effect::Serve => {
                    let process = w.process_mut(node, pid);
                    process.into_iter().for_each(|p| p.replica.serving());
                }
                Effect::Exit => self.exit(w, node, pid),
                _ => {}
            }
        }
        true
    }

    fn must_join(&self, w: &mut World, node: usize, pid: u8, row: PairRow) -> bool {
        let Some(process) = w.process_mut(node, pid) else { return false };
        process.joining = Some(row);
        let early = self.drops(Dropped::ServesBeforeJoin) || self.drops(Dropped::ClosedLinkApplied);
        if early { self.joined(w, node, pid, None) } else { true }
    }

    /// The order goes on once nobody applies any more.
    pub fn join(&self, w: &mut World, node: usize, pid: u8, dies: Dies) -> bool {
        let applies = |c: &crate::world::Connection| c.primary.0 != node && c.mirror == pid && c.applier.is_some();
        let is_under_way = w.links.iter().any(|c| applies(c) && !c.mirror_done);
        !is_under_way && self.joined(w, node, pid, dies)
    }

    fn joined(&self, w: &mut World, node: usize, pid: u8, dies: Dies) -> bool {
        let Some(process) = w.process_mut(node, pid) else { return false };
        let Some(row) = process.joining.take() else { return false };
        let appliers = std::mem::take(&mut process.appliers);
        (0..appliers).for_each(|_| process.replica.applier_joined());
        self.follow(w, node, pid, row, dies)
    }

    /// R7: the process ends, and SQLite is not closed.
    fn exit(&self, w: &mut World, node: usize, pid: u8) {
        if self.drops(Dropped::DemotedWithoutExit) {
            return self.close_sqlite_and_stay(w, node, pid);
        }
        w.node_mut(node).processes.retain(|p| p.pid != pid);
    }

    /// SQLite's last connection checkpoints the log, and empties it.
    fn close_sqlite_and_stay(&self, w: &mut World, node: usize, pid: u8) {
        let node = w.node_mut(node);
        let content = node.disk.now;
        node.disk.now.main = std::array::from_fn(|block| content.page(block));
        node.disk.now.log = 0;
        node.disk.durable = node.disk.now;
        node.processes.retain(|p| p.pid != pid);
        node.start();
    }

    pub fn kill(&self, w: &mut World, node: usize) -> bool {
        w.happened.crashes += 1;
        w.node_mut(node).processes.clear();
        true
    }

    pub fn start(&self, w: &mut World, node: usize) -> bool {
        w.node_mut(node).start();
        if self.drops(Dropped::RestartKeepsRole) {
            self.go_on_as_before(w, node);
        }
        true
    }

    /// A process that served when it ended serves again at once.
    fn go_on_as_before(&self, w: &mut World, node: usize) {
        let Some(pid) = w.nodes[node].process().map(|p| p.pid) else { return };
        let was_acting = w.primary() == node;
        let mut own = w.row;
        own.epoch = w.nodes[node].disk.meta.epoch.next();
        own.primary.mode = Mode::ChangeTracking;
        if let (true, Some(mirror)) = (was_acting, &mut own.mirror) {
            mirror.status = Status::Down;
            self.follow(w, node, pid, own, None);
        }
    }

    pub fn replace(&self, w: &mut World, node: usize) -> bool {
        let keeps = self.drops(Dropped::TwoProcesses);
        let node = w.node_mut(node);
        if keeps && node.processes.len() > 1 {
            return false;
        }
        if !keeps {
            node.processes.clear();
        }
        node.start();
        true
    }

    pub fn restore(&self, w: &mut World, node: usize) -> bool {
        w.happened.restores += 1;
        w.node_mut(node).disk = directory(node).disk;
        true
    }

    /// A primary that lost its mirror goes on as if it had been granted tracking: R2 dropped.
    pub fn grant_itself(&self, w: &mut World, node: usize, pid: u8, was: Phase) {
        let synchronized = w.row.primary.mode == Mode::Synchronized;
        let dropped = (self.drops(Dropped::SelfGrantedTracking) && synchronized)
            || (self.drops(Dropped::AloneAfterClaim) && was == Phase::InSync && !synchronized);
        let is_own = node_of(w.row.primary.dbid) == node;
        if let (true, true, Some(granted)) = (dropped, is_own, transition::apply(&w.row, Event::MirrorLost)) {
            self.follow(w, node, pid, granted.after, None);
        }
    }
}
