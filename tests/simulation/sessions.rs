//! SQLite's threads in a primary: one that writes, one that makes commits durable while the next are
//! written, one that makes checkpoints, one that reads, and the last syncs of a process that leaves. Each storage operation goes the way the engine goes it.

use crate::database::{Database, PAGES_MAX, PAGES_MIN, Write};
use crate::disk::Trouble;
use crate::planted::Planted;
use crate::process::{Around, Death, Leaving, Next, Process, Said, Undone};
use segsh::core::pair::primary::Mirroring;
use segsh::core::pair::replica::{NotActing, Permit, Replica, Synced, Ticket};
use segsh::core::report::Phase;
use segsh::core::track::{BLOCK_BYTES, FileId};
use segsh::core::wal::{FRAME_HEADER_BYTES, WAL_HEADER_BYTES, frame_offset};
use std::collections::VecDeque;
use std::convert::Infallible;

/// A step of a storage operation, or what SQLite does between two of them.
#[derive(Debug, Clone)]
pub enum Op {
    Write(Write),
    Truncate(FileId, u64),
    Sync(FileId),
    SyncHere(FileId, Ticket),
    SyncMap(Ticket),
    SyncThere(Ticket),
    Checkpointing(bool),
    Backfill(u32, u64),
    /// Cut main.db to the pages that were copied, if nothing was committed since.
    CutMain(u64),
    /// A commit's frames are written: everybody sees it, and nobody is told yet.
    Noted(Box<Database>),
    /// A round of group commit begins with its barrier.
    Round,
    /// Both sides have synced: what the round covers is acknowledged.
    Acknowledge,
    Backfilled(u64),
    /// The log is emptied, if nothing was committed since.
    EmptyLog(u64),
}

/// Group commit, as the engine has it: one round at a time. Commits are told by their numbers.
#[derive(Debug, Default)]
pub struct Group {
    /// The last commit that is written; at first what the files held, synced or not.
    pub noted: u64,
    /// The last commit that the barrier of the round under way covers.
    covers: u64,
    /// The last commit that is known to be durable.
    durable: u64,
    pub ops: VecDeque<Op>,
}

impl Group {
    fn is_settled(&self) -> bool {
        self.durable == self.noted
    }
}

/// A statement that reads.
#[derive(Debug, Clone, Copy)]
pub struct Read {
    required: u64,
    found: Option<u64>,
}

enum Came {
    Done,
    Then(Op),
    Wait,
    /// The statement fails, nothing else.
    Failed,
    Ended,
}

impl From<NotActing> for Came {
    fn from(_: NotActing) -> Came {
        Came::Ended
    }
}

impl Process {
    pub fn write(&mut self, a: &mut Around) -> Result<Next, Death> {
        if self.replica.fenced().is_some() {
            return Ok(Next::Over);
        }
        if self.writer.is_empty() {
            // Whoever empties the log holds the lock of whoever writes.
            let emptied = matches!(self.checkpointer.front(), Some(Op::Truncate(FileId::Wal, _)));
            if self.leaving.is_some() || emptied {
                return Ok(Next::Wait(20_000));
            }
            self.begin_commit(a);
            return Ok(Next::After(50));
        }
        let mut ops = std::mem::take(&mut self.writer);
        let next = self.go_on(&mut ops, a);
        self.writer = ops;
        if self.writer.is_empty() {
            Ok(next?.unwrap_or(Next::After(self.pause(a))))
        } else {
            Ok(next?.unwrap_or(Next::After(20)))
        }
    }

    /// Until the next commit: another session may write at once, or all of them only read for a while.
    fn pause(&self, a: &mut Around) -> u64 {
        if a.random.percent(a.habits.rests) {
            return a.random.between(500_000, 6_000_000);
        }
        if a.random.percent(12) { a.random.between(20, 1_000) } else { a.commit_pause() }
    }

    /// Some pages change; the database grows or shrinks now and then.
    fn begin_commit(&mut self, a: &mut Around) {
        let Some(database) = &mut self.database else { return };
        if database.frames == 0 || (database.may_restart() && a.random.percent(80)) {
            let restart = database.restart();
            self.writer.extend([Op::Write(restart), Op::Sync(FileId::Wal)]);
        }
        let mut after = database.content.clone();
        let id = a.oracle.begin(after.commit());
        after.parent = after.commit();
        match a.random.below(12) {
            0 | 1 if after.versions.len() < PAGES_MAX => after.versions.push(id),
            2 if after.versions.len() > PAGES_MIN => drop(after.versions.pop()),
            _ => {}
        }
        let pages = after.versions.len();
        let mut changed = vec![1];
        if database.content.versions.len() < pages {
            changed.push(pages);
        }
        for _ in 0..a.random.below(4) {
            let page = a.random.between(1, pages as u64) as usize;
            if !changed.contains(&page) {
                changed.push(page);
            }
        }
        changed.iter().for_each(|page| after.versions[page - 1] = id);
        let (writes, next) = database.commit(&after, &changed);
        self.writer.extend(writes.into_iter().map(Op::Write));
        self.writer.push_back(Op::Noted(Box::new(next)));
    }

    /// Leads one round after the other, while there is something that is not durable.
    pub fn make_durable(&mut self, a: &mut Around) -> Result<Next, Death> {
        if self.replica.fenced().is_some() {
            return Ok(Next::Over);
        }
        if self.group.ops.is_empty() {
            if self.group.is_settled() {
                return Ok(Next::Wait(1_000_000));
            }
            self.group.ops.extend([Op::Round, Op::Acknowledge]);
        }
        let mut ops = std::mem::take(&mut self.group.ops);
        let next = self.go_on(&mut ops, a);
        self.group.ops = ops;
        Ok(next?.unwrap_or(Next::After(a.random.between(20, 400))))
    }

    pub fn checkpoint(&mut self, a: &mut Around) -> Result<Next, Death> {
        if self.replica.fenced().is_some() {
            return Ok(Next::Over);
        }
        if self.checkpointer.is_empty() {
            let Some(database) = &self.database else { return Ok(Next::Over) };
            if a.now < self.checkpoints_from {
                return Ok(Next::After(self.checkpoints_from - a.now));
            }
            if database.frames - database.backfilled < a.habits.checkpoint_frames || self.leaving.is_some() {
                let pause = if database.frames > 100 { 20_000 } else { a.habits.checkpoint_pause };
                return Ok(Next::After(a.random.between(5_000, pause)));
            }
            let ops = &mut self.checkpointer;
            ops.extend([Op::Checkpointing(true), Op::Sync(FileId::Wal)]);
            ops.extend(database.index.iter().map(|(page, frame)| Op::Backfill(*page, *frame)));
            ops.extend([Op::CutMain(database.frames), Op::Sync(FileId::Main), Op::Checkpointing(false)]);
            ops.push_back(Op::Backfilled(database.frames));
            if a.random.percent(a.habits.emptied) {
                ops.push_back(Op::EmptyLog(database.frames));
            }
            return Ok(Next::After(50));
        }
        let mut ops = std::mem::take(&mut self.checkpointer);
        let slowest = if matches!(ops.front(), Some(Op::Backfill(..))) { a.habits.checkpoint_page } else { 200 };
        let next = self.go_on(&mut ops, a);
        if ops.is_empty() {
            self.replica.checkpoint(false);
            self.unsettled_pages = 0;
        }
        self.checkpointer = ops;
        Ok(next?.unwrap_or(Next::After(a.random.between(20, slowest))))
    }

    /// Does the first of the operations; all are given up when it fails.
    fn go_on(&mut self, ops: &mut VecDeque<Op>, a: &mut Around) -> Result<Option<Next>, Death> {
        let Some(op) = ops.pop_front() else { return Ok(None) };
        match self.operate(op.clone(), a)? {
            Came::Done => Ok(None),
            Came::Then(next) => {
                ops.push_front(next);
                Ok(None)
            }
            Came::Wait => {
                ops.push_front(op);
                Ok(Some(Next::Wait(100_000)))
            }
            Came::Failed => {
                ops.clear();
                Ok(Some(Next::After(a.random.between(5_000, 100_000))))
            }
            Came::Ended => Ok(Some(Next::Over)),
        }
    }

    fn operate(&mut self, op: Op, a: &mut Around) -> Result<Came, Death> {
        Ok(match op {
            Op::Write(write) => return self.write_through(&write, a),
            Op::Truncate(file, len) => return self.truncate_through(file, len, a),
            Op::Backfill(page, frame) => {
                let bytes = a.disk.read(FileId::Wal, frame_offset(frame) + FRAME_HEADER_BYTES, BLOCK_BYTES as usize);
                let offset = u64::from(page - 1) * BLOCK_BYTES;
                let written = self.write_through(&Write { file: FileId::Main, offset, bytes }, a);
                self.unsettled_pages += u32::from(matches!(written, Ok(Came::Done)));
                return written;
            }
            Op::Sync(file) => match self.permit(a) {
                Err(ended) => ended.into(),
                Ok(false) => Came::Wait,
                Ok(true) => match self.replica.sync_begins(file, self.time(a)) {
                    Err(ended) => ended.into(),
                    Ok(ticket) => {
                        self.wakes = true;
                        Came::Then(Op::SyncHere(file, ticket))
                    }
                },
            },
            Op::Round => match self.permit(a) {
                Err(ended) => ended.into(),
                Ok(false) => Came::Wait,
                Ok(true) => match self.replica.sync_begins(FileId::Wal, self.time(a)) {
                    Err(ended) => ended.into(),
                    Ok(ticket) => {
                        self.group.covers = self.group.noted;
                        self.wakes = true;
                        Came::Then(Op::SyncHere(FileId::Wal, ticket))
                    }
                },
            },
            Op::SyncHere(_, ticket) if a.is(Planted::AckBeforeLocalSync) => Came::Then(Op::SyncThere(ticket)),
            Op::SyncHere(file, ticket) => match a.disk.sync(file) {
                Ok(()) => Came::Then(Op::SyncMap(ticket)),
                Err(trouble) => self.disk_failed(trouble, a)?,
            },
            Op::SyncMap(ticket) if !ticket.needs_map() => Came::Then(Op::SyncThere(ticket)),
            Op::SyncMap(ticket) => {
                let without_map = a.is(Planted::CheckpointWithoutMap);
                match self.transact(a, without_map, |replica, _| Replica::synced_here(replica))? {
                    Ok(_) => Came::Then(Op::SyncThere(ticket)),
                    Err(Undone::Event(ended)) => ended.into(),
                    Err(Undone::Full) => Came::Failed,
                    Err(Undone::Io) => self.disk_failed(Trouble::Io, a)?,
                }
            }
            Op::SyncThere(ticket) => self.wait_for_mirror(ticket, a),
            Op::Checkpointing(running) => {
                self.replica.checkpoint(running);
                self.unsettled_pages = 0;
                self.straddles &= !running;
                Came::Done
            }
            Op::Acknowledge => {
                let too_much = a.is(Planted::AckBeyondBarrier);
                let commit = if too_much { self.group.noted } else { self.group.covers };
                a.oracle.acknowledged(a.side, &self.replica, commit, a.disk);
                self.group.durable = commit;
                self.wakes = true;
                Came::Done
            }
            Op::Noted(database) => {
                self.group.noted = database.content.commit();
                self.wakes = true;
                let backfilled = self.database.as_ref().map_or(0, |d| d.backfilled);
                let mut database = database;
                database.backfilled = backfilled;
                self.database = Some(*database);
                Came::Done
            }
            Op::Backfilled(frames) => {
                if let Some(database) = &mut self.database {
                    database.backfilled = frames;
                }
                Came::Done
            }
            // Both happen behind the lock of whoever writes: not while a commit is under way.
            Op::CutMain(frames) => match &self.database {
                Some(d) if d.frames == frames && self.writer.is_empty() => {
                    Came::Then(Op::Truncate(FileId::Main, d.content.versions.len() as u64 * BLOCK_BYTES))
                }
                _ => Came::Done,
            },
            Op::EmptyLog(frames) => match &mut self.database {
                Some(d) if d.frames == frames && d.backfilled == frames && self.writer.is_empty() => {
                    // The header of the next log is new whatever was there.
                    drop(d.restart());
                    Came::Then(Op::Truncate(FileId::Wal, 0))
                }
                _ => Came::Done,
            },
        })
    }

    /// Whether a write may pass.
    fn permit(&self, a: &Around) -> Result<bool, NotActing> {
        Ok(self.replica.may_write(self.time(a))? == Permit::Granted)
    }

    fn disk_failed(&mut self, trouble: Trouble, a: &mut Around) -> Result<Came, Death> {
        match trouble {
            Trouble::Crash => Err(Death::Crash),
            Trouble::Full => Ok(Came::Failed),
            Trouble::Io => {
                self.fence("its disk failed", a);
                Ok(Came::Ended)
            }
        }
    }

    fn write_through(&mut self, write: &Write, a: &mut Around) -> Result<Came, Death> {
        match self.permit(a) {
            Err(ended) => return Ok(ended.into()),
            Ok(false) => return Ok(Came::Wait),
            Ok(true) => {}
        }
        if self.replica.is_unannounced(write.file) {
            let noted = self.transact(a, false, |replica, _| Ok::<_, Infallible>(replica.note_unannounced()))?;
            if noted.is_err() {
                return Ok(Came::Failed);
            }
        }
        let written = a.disk.write(write.file, write.offset, &write.bytes);
        let held = match written {
            Ok(()) => write.bytes.clone(),
            // A short write may have changed the file: what it holds now is what is sent.
            Err(Trouble::Full) => a.disk.read(write.file, write.offset, write.bytes.len()),
            Err(trouble) => return self.disk_failed(trouble, a),
        };
        let is_tracking = self.replica.acting().is_ok_and(|p| p.primary().mirroring() == Mirroring::Tracking);
        self.log_grows(write);
        if !(a.is(Planted::MarkDropped) && is_tracking && a.random.percent(10)) {
            self.replica.wrote(write.file, write.offset, &held);
        }
        self.wakes |= a.random.percent(30);
        Ok(if written.is_ok() { Came::Done } else { Came::Failed })
    }

    fn log_grows(&mut self, write: &Write) {
        if write.file == FileId::Wal {
            let end = write.offset + write.bytes.len() as u64;
            let begins_anew = write.offset == 0 && end == WAL_HEADER_BYTES;
            self.log_end = if begins_anew { Some(end) } else { self.log_end.map(|before| before.max(end)) };
        }
    }

    fn truncate_through(&mut self, file: FileId, len: u64, a: &mut Around) -> Result<Came, Death> {
        match self.permit(a) {
            Err(ended) => return Ok(ended.into()),
            Ok(false) => return Ok(Came::Wait),
            Ok(true) => {}
        }
        let old = a.disk.file(file).current.len() as u64;
        // SQLite cuts a file, and never makes one longer this way.
        if old <= len {
            return Ok(Came::Done);
        }
        if let Err(trouble) = a.disk.set_len(file, len) {
            return self.disk_failed(trouble, a);
        }
        self.replica.truncated(file, old, len);
        self.emptied = file == FileId::Wal && len == 0;
        Ok(Came::Done)
    }

    fn wait_for_mirror(&mut self, ticket: Ticket, a: &mut Around) -> Came {
        match self.replica.synced(ticket) {
            Err(ended) => ended.into(),
            Ok(Synced::Yes) => Came::Done,
            Ok(Synced::NotYet) => {
                let mirroring = self.replica.acting().map(|acting| acting.primary().mirroring());
                let early = a.is(Planted::AckBeforeMirror)
                    || (a.is(Planted::SelfGrantedTracking) && mirroring == Ok(Mirroring::Suspended));
                if early { Came::Done } else { Came::Wait }
            }
        }
    }

    pub fn read(&mut self, a: &mut Around) -> Result<Next, Death> {
        let Some(database) = &self.database else { return Ok(Next::Over) };
        let Ok(permit) = self.replica.may_read(self.time(a)) else { return Ok(Next::Over) };
        let read = self.read.get_or_insert(Read { required: a.oracle.last_acknowledged, found: None });
        let in_sync = self.replica.phase() == Phase::InSync;
        if permit != Permit::Granted && !(a.is(Planted::ReadWithoutLease) && in_sync) {
            return Ok(Next::Wait(50_000));
        }
        match read.found {
            None => read.found = Some(database.content.commit()),
            Some(found) if found > self.group.durable && !a.is(Planted::ReadBeforeDurable) => {
                return Ok(Next::Wait(50_000));
            }
            Some(found) => {
                if found != read.required {
                    a.trace.say(a.now, || format!("{} read {found}, required {}", a.side, read.required));
                }
                a.oracle.answered_read(a.side, &self.replica, (found, read.required), a.disk);
                self.read = None;
                return Ok(Next::After(a.random.between(1_000, if a.busy { 60_000 } else { 500_000 })));
            }
        }
        Ok(Next::After(a.random.between(10, 3000)))
    }

    /// A drain, or a planned stop: quiet, synced where it must be, gone.
    pub fn leave(&mut self, a: &mut Around) -> Result<Next, Death> {
        let Some((how, mut ops)) = self.leaving.take() else { return Ok(Next::Over) };
        let phase = self.phase();
        let quiet = (self.writer.is_empty() && self.group.is_settled()) || phase == Phase::Suspended;
        if !quiet {
            self.leaving = Some((how, ops));
            return Ok(Next::Wait(20_000));
        }
        let next = self.go_on(&mut ops, a);
        if !ops.is_empty() {
            self.leaving = Some((how, ops));
            return Ok(next?.unwrap_or(Next::After(50)));
        }
        if next? == Some(Next::Over) {
            return Ok(Next::Over);
        }
        match how {
            Leaving::Drain if phase == Phase::InSync => {
                self.said.push(Said::Drained);
                Err(Death::Exit("drained".into()))
            }
            Leaving::Drain => {
                self.said.push(Said::CannotDrain(format!("it is {phase:?}")));
                self.wakes = true;
                Ok(Next::Over)
            }
            Leaving::Stop => {
                let noted = self.transact(a, false, |replica, _| Ok::<_, Infallible>(replica.clean_end(Vec::new())))?;
                drop(noted);
                Err(Death::Exit("stopped".into()))
            }
        }
    }

    /// The process is asked to leave.
    pub fn ask_to_leave(&mut self, how: Leaving) {
        if self.leaving.is_some() {
            return;
        }
        // What is held keeps commits from ending.
        self.replica.release();
        let syncs = !matches!(self.phase(), Phase::Nobody | Phase::Mirror | Phase::Suspended);
        let ops = if syncs { vec![Op::Sync(FileId::Main), Op::Sync(FileId::Wal)] } else { Vec::new() };
        self.leaving = Some((how, ops.into()));
        self.spawned.push(Task::Leave);
    }
}
use crate::process::Task;
