//! A segment process: a replica, and the threads that carry out its effects, each a task that goes one
//! step at a time. What one thread does under the engine's lock is one step; a crash may come before any
//! of its durable effects.

use crate::database::Database;
use crate::disk::{Disk, Trouble};
use crate::habits::Habits;
use crate::links::Resync;
use crate::mirror::Apply;
use crate::oracle::Oracle;
use crate::planted::Planted;
use crate::random::Random;
use crate::sessions::{Group, Op, Read};
use crate::trace::Trace;
use crate::wire::{Connection, End};
use segsh::core::pair::obey::Obedience;
use segsh::core::pair::replica::{Effect, LinkId, Replica, Surroundings, Time};
use segsh::core::report::{MirrorLoss, Order, Phase, Report};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

/// A thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Task {
    Obey,
    Open,
    Writer,
    /// Whichever session leads a round of group commit.
    Committer,
    Checkpointer,
    Reader,
    Leave,
    Exit,
    Resync(u64),
    Send(u64),
    Receive(u64),
    Clock(u64),
    Accept(usize),
    Apply(usize),
}

/// When a task goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// So many microseconds later.
    After(u64),
    /// When something changes, or so many microseconds later.
    Wait(u64),
    Over,
}

/// The end of the process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Death {
    /// Killed, or without power, right before a durable effect.
    Crash,
    Exit(String),
}

/// What the peer's address answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    Up(usize, u32),
    Refused,
    Silent,
}

/// The rest of the world, as one process sees it in one step.
pub struct Around<'a> {
    /// Microseconds of the world.
    pub now: u64,
    pub side: usize,
    pub disk: &'a mut Disk,
    pub wire: &'a mut BTreeMap<usize, Connection>,
    /// The number of the next connection.
    pub next_connection: &'a mut usize,
    pub random: &'a mut Random,
    pub oracle: &'a mut Oracle,
    pub trace: &'a mut Trace,
    pub planted: Option<Planted>,
    pub peer: Peer,
    /// The longest delay of a frame now, in microseconds.
    pub delay: u64,
    pub habits: Habits,
    /// A fault was not long ago.
    pub busy: bool,
    pub silent_until: u64,
}

impl Around<'_> {
    pub fn delay(&mut self) -> u64 {
        self.random.between(self.delay / 10, self.delay)
    }

    /// How long a session waits with its next commit.
    pub fn commit_pause(&mut self) -> u64 {
        let (busy, idle) = self.habits.commit_pause;
        self.random.between(200, if self.busy { busy } else { idle })
    }

    pub fn is(&self, planted: Planted) -> bool {
        self.planted == Some(planted)
    }

    pub fn close(&mut self, connection: usize, by: End) {
        let delay = self.delay();
        if let Some(connection) = self.wire.get_mut(&connection) {
            connection.close(by, self.now, delay, self.random);
        }
    }
}

/// What a segment says to the coordinator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    Report,
    Drained,
    CannotDrain(String),
}

/// How the process was asked to leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leaving {
    Drain,
    Stop,
}

#[derive(Debug, Clone, Copy, Default)]
pub struct Scheduled {
    pub number: u64,
    pub waits: bool,
}

/// Why an event did not happen.
#[derive(Debug)]
pub enum Undone<E> {
    Event(E),
    Full,
    Io,
}

/// One process.
pub struct Process {
    pub pid: u32,
    /// Which of its side's directories it holds.
    pub dir: usize,
    pub started: u64,
    pub replica: Replica,
    pub tasks: BTreeMap<Task, Scheduled>,
    /// Tasks that have just begun.
    pub spawned: Vec<Task>,
    /// Everybody who waits looks again.
    pub wakes: bool,
    pub said: Vec<Said>,
    pub paused_until: u64,
    pub order: Option<Order>,
    pub obeying: Option<(Order, Vec<usize>)>,
    pub database: Option<Database>,
    pub writer: VecDeque<Op>,
    pub group: Group,
    pub checkpointer: VecDeque<Op>,
    pub read: Option<Read>,
    pub leaving: Option<(Leaving, VecDeque<Op>)>,
    pub resyncs: BTreeMap<u64, Resync>,
    /// The primary's connection to its mirror.
    pub stream: Option<(LinkId, usize)>,
    /// Which connection carries, or carried, a link.
    pub carried_by: BTreeMap<u64, usize>,
    pub last_tick: u64,
    /// Connections that came for the link, and who applies their frames.
    pub streams: Vec<usize>,
    pub appliers: BTreeMap<usize, Apply>,
    pub unjoined: Vec<usize>,
    pub ended: BTreeSet<usize>,
    /// Whoever makes checkpoints sleeps until then, in microseconds of the world.
    pub checkpoints_from: u64,
    /// Pages that a checkpoint has written and not synced.
    pub unsettled_pages: u32,
    /// So did the one under way, or the last one, when its link opened.
    pub straddles: bool,
    /// The last step emptied the log.
    pub emptied: bool,
    /// Where the log ends that was begun last, if this process has begun one.
    pub log_end: Option<u64>,
}

impl Process {
    pub fn new(pid: u32, dir: usize, now: u64, replica: Replica) -> Process {
        Process {
            pid,
            dir,
            started: now,
            replica,
            tasks: BTreeMap::new(),
            spawned: vec![Task::Obey],
            wakes: false,
            said: Vec::new(),
            paused_until: 0,
            order: None,
            obeying: None,
            database: None,
            writer: VecDeque::new(),
            group: Group::default(),
            checkpointer: VecDeque::new(),
            read: None,
            leaving: None,
            resyncs: BTreeMap::new(),
            stream: None,
            carried_by: BTreeMap::new(),
            last_tick: now,
            streams: Vec::new(),
            appliers: BTreeMap::new(),
            unjoined: Vec::new(),
            ended: BTreeSet::new(),
            checkpoints_from: 0,
            unsettled_pages: 0,
            straddles: false,
            emptied: false,
            log_end: None,
        }
    }

    pub fn time(&self, a: &Around) -> Time {
        Duration::from_micros(a.now - self.started)
    }

    /// Wakes everybody who waits, and tells the coordinator.
    pub fn announce(&mut self) {
        self.wakes = true;
        self.said.push(Said::Report);
    }

    /// Goes on with one task.
    pub fn step(&mut self, task: Task, a: &mut Around) -> Result<Next, Death> {
        self.emptied = false;
        match task {
            Task::Obey => self.obey(a),
            Task::Open => self.open(a),
            Task::Writer => self.write(a),
            Task::Committer => self.make_durable(a),
            Task::Checkpointer => self.checkpoint(a),
            Task::Reader => self.read(a),
            Task::Leave => self.leave(a),
            Task::Exit => Err(Death::Exit(self.replica.fenced().unwrap_or_default().to_owned())),
            Task::Resync(link) => self.resync(link, a),
            Task::Send(link) => self.send(link, a),
            Task::Receive(link) => self.receive(link, a),
            Task::Clock(link) => self.clock(link, a),
            Task::Accept(connection) => self.accept(connection, a),
            Task::Apply(connection) => self.apply(connection, a),
        }
    }

    /// As the engine does it: the replica is changed as a copy, which takes its place once everything
    /// durable is done.
    pub fn transact<E>(
        &mut self,
        a: &mut Around,
        without_map: bool,
        event: impl FnOnce(&mut Replica, &Disk) -> Result<Vec<Effect>, E>,
    ) -> Result<Result<Vec<Effect>, Undone<E>>, Death> {
        let mut after = self.replica.clone();
        let effects = match event(&mut after, a.disk) {
            Ok(effects) => effects,
            Err(error) => return Ok(Err(Undone::Event(error))),
        };
        let mut remaining = Vec::new();
        for effect in effects {
            let done = match effect {
                Effect::SaveMap(_) if without_map => Ok(()),
                effect => match carry_out(a.disk, effect) {
                    Ok(done) => done,
                    Err(other) => {
                        remaining.push(*other);
                        Ok(())
                    }
                },
            };
            match done {
                Ok(()) => {}
                Err(Trouble::Crash) => return Err(Death::Crash),
                Err(Trouble::Full) => return Ok(Err(Undone::Full)),
                Err(Trouble::Io) => return Ok(Err(Undone::Io)),
            }
        }
        self.replica = after;
        self.close_what_is_over(a);
        Ok(Ok(remaining))
    }

    /// Closes the connections of links that are over.
    pub fn close_what_is_over(&mut self, a: &mut Around) {
        let open = self.replica.open_link_id();
        if let Some((_, connection)) = self.stream.take_if(|(link, _)| Some(*link) != open)
            && !a.is(Planted::StrangerHeard)
        {
            a.close(connection, End::Primary);
        }
        if !self.replica.takes_link() {
            for connection in std::mem::take(&mut self.streams) {
                a.close(connection, End::Mirror);
            }
        }
    }

    /// Nothing is written or acknowledged any more; the process ends in a moment.
    pub fn fence(&mut self, why: &str, a: &mut Around) {
        self.replica.fence(why);
        self.close_what_is_over(a);
        self.spawned.push(Task::Exit);
        self.announce();
    }

    pub fn lose_mirror(&mut self, link: LinkId, loss: MirrorLoss, a: &mut Around) {
        if a.is(Planted::ClearedWhenSent) {
            let _ = self.replica.answered(link, segsh::core::frame::Frame::Synced(u64::MAX));
        }
        a.trace.say(a.now, || format!("{} link {} lost: {loss}", a.side, link.0));
        if self.replica.link_lost(link, loss) {
            self.close_what_is_over(a);
            self.announce();
        }
    }

    fn obey(&mut self, a: &mut Around) -> Result<Next, Death> {
        if let Some((order, joining)) = self.obeying.take() {
            let joined = joining.iter().all(|c| self.ended.contains(c)) || a.is(Planted::AppliersNotJoined);
            if !joined {
                self.obeying = Some((order, joining));
                return Ok(Next::Wait(20_000));
            }
            joining.iter().for_each(|_| self.replica.applier_joined());
            return self.follow(order, a);
        }
        match self.order.take() {
            None => Ok(Next::Wait(10_000_000)),
            Some(order) => self.follow(order, a),
        }
    }

    fn follow(&mut self, order: Order, a: &mut Around) -> Result<Next, Death> {
        let todo = self.replica.todo(&order);
        if todo == Obedience::Nothing {
            return Ok(Next::After(10));
        }
        let time = self.time(a);
        a.disk.log_unread.set(a.is(Planted::LogUnread) && matches!(todo, Obedience::Serve { .. }));
        let without_map = todo == Obedience::TrackAlone && a.is(Planted::GrantWithoutMap);
        let done = self.transact(a, without_map, |replica, disk| replica.order(&order, disk, time));
        a.disk.log_unread.set(false);
        let done = done?;
        a.trace.say(a.now, || format!("{} obeys epoch {}: {todo:?}, {}", a.side, order.row.epoch, came(&done)));
        let Ok(remaining) = done else { return Ok(Next::After(1000)) };
        for effect in remaining {
            match effect {
                Effect::JoinAppliers => {
                    self.obeying = Some((order, std::mem::take(&mut self.unjoined)));
                    return Ok(Next::After(50));
                }
                Effect::Recover { link, .. } => {
                    self.resyncs.insert(link.0, Resync::new(a.now));
                    self.spawned.push(Task::Resync(link.0));
                }
                Effect::Serve => self.spawned.push(Task::Open),
                Effect::Exit => return Err(Death::Exit("demoted".into())),
                _ => {}
            }
        }
        self.announce();
        Ok(Next::After(10))
    }

    /// SQLite opens the files, which must hold everything that was acknowledged.
    fn open(&mut self, a: &mut Around) -> Result<Next, Death> {
        let [main, log] = &a.disk.files;
        match Database::open(&main.current, &log.current, true) {
            Ok(database) => {
                a.oracle.opened(a.side, database.content.commit());
                a.trace.say(a.now, || format!("{} serves commit {}", a.side, database.content.commit()));
                self.group.noted = database.content.commit();
                self.database = Some(database);
                self.replica.serving();
                self.checkpoints_from = a.now + a.random.between(0, a.habits.checkpoint_pause);
                self.spawned.extend([Task::Writer, Task::Committer, Task::Checkpointer, Task::Reader]);
                self.announce();
            }
            Err(damage) => a.oracle.broken(format!("side {} opens damaged files: {damage}", a.side)),
        }
        Ok(Next::Over)
    }

    pub fn report(&self, now: u64, disk: &Disk) -> Report {
        let hung = disk.hung.filter(|(since, _)| now > since + 2_000_000);
        self.replica.report(&Surroundings {
            pid: self.pid,
            files_stand: true,
            data_bytes: disk.files.iter().map(|f| f.current.len() as u64).sum(),
            free_bytes: 1 << 40,
            sick: hung.map(|_| "its disk does not answer".to_owned()),
        })
    }

    /// Blocks that are known to differ.
    pub fn marks(&self) -> u64 {
        self.replica.acting().map_or(0, |acting| acting.primary().dirty().count())
    }

    pub fn phase(&self) -> Phase {
        self.replica.phase()
    }
}

/// Carries out an effect on the disk; another one comes back.
pub fn carry_out(disk: &mut Disk, effect: Effect) -> Result<Result<(), Trouble>, Box<Effect>> {
    Ok(match effect {
        Effect::SaveMeta(meta) => disk.save_meta(*meta),
        Effect::SaveMap(map) => disk.save_map(map),
        Effect::Write { file, offset, bytes } => disk.write(file, offset, &bytes),
        Effect::SetLen { file, len } => disk.set_len(file, len),
        Effect::Sync(file) => disk.sync(file),
        other => return Err(Box::new(other)),
    })
}

fn came<E: std::fmt::Debug>(done: &Result<Vec<Effect>, Undone<E>>) -> String {
    match done {
        Ok(effects) => format!("{} effects remain", effects.len()),
        Err(undone) => format!("undone {undone:?}"),
    }
}
