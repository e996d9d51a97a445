//! Two hosts, a coordinator, and the network between them, in virtual time.

use crate::coordinator::{Catalog, Coordinator, side as side_of};
use crate::database::Content;
use crate::differences::Differences;
use crate::disk::Disk;
use crate::faults::Faults;
use crate::habits::Habits;
use crate::oracle::{self, Acknowledged, Oracle};
use crate::planted::Planted;
use crate::process::{Around, Death, Next, Peer, Process, Said, Scheduled, Task};
use crate::random::Random;
use crate::trace::Trace;
use crate::wire::{Connection, End};
use segsh::core::format::{Meta, TrackMap};
use segsh::core::ids::{CopyId, Epoch};
use segsh::core::pair::binding::Binding;
use segsh::core::pair::replica::Replica;
use segsh::core::report::{CopyState, Order, Phase, Report, Soundness, StopMode};
use segsh::core::row::Pairing;
use segsh::core::track::{DirtyMap, FileId};
use std::collections::BTreeMap;

/// One host with its segment.
#[derive(Default)]
pub struct Side {
    pub up: bool,
    pub dirs: Vec<Disk>,
    /// The directory under the segment's name, and the one under the sibling's.
    pub named: usize,
    pub sibling: Option<usize>,
    pub process: Option<Process>,
    /// Nothing between the coordinator and this host arrives before this.
    pub silent_until: u64,
    /// Whoever obeys the next order dies so many durable effects later.
    pub crash_after_order: Option<u64>,
    /// A planned crash takes the host's power, and not only the process.
    pub power: bool,
}

/// What happens next.
#[derive(Debug, Clone)]
pub enum Happens {
    Step {
        side: usize,
        pid: u32,
        task: Task,
        number: u64,
    },
    ToSegment {
        side: usize,
        pid: u32,
        number: u64,
        coordinator: u32,
        order: Option<Order>,
        ask: Ask,
    },
    Heard {
        side: usize,
        number: u64,
        coordinator: u32,
        report: Box<Report>,
        pushed: bool,
    },
    Drained {
        side: usize,
        number: u64,
        coordinator: u32,
        came: Result<(), String>,
    },
    /// The connection to a segment ended.
    Reset {
        side: usize,
        number: u64,
        coordinator: u32,
    },
    Probe {
        coordinator: u32,
        side: usize,
        number: u64,
    },
    Tick {
        coordinator: u32,
    },
    Drive {
        coordinator: u32,
    },
    /// The command that brought the coordinator back asks it to start the cluster.
    Revive {
        coordinator: u32,
    },
    Fault,
    Operator,
    Drill,
    HostReturns {
        side: usize,
    },
    CoordinatorReturns,
}

/// What a message to a segment asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask {
    Probe,
    Drain,
    Stop(StopMode),
}

pub struct World {
    pub now: u64,
    pub random: Random,
    pub trace: Trace,
    pub planted: Option<Planted>,
    pub sides: [Side; 2],
    pub wire: BTreeMap<usize, Connection>,
    /// The number of the next connection, and of the first that nobody has accepted.
    pub next_connection: usize,
    pub accepted: usize,
    /// Between the two hosts nothing arrives before this.
    pub silent_until: u64,
    pub delay: u64,
    pub habits: Habits,
    pub faults: Faults,
    pub catalog: Catalog,
    pub coordinator: Option<Coordinator>,
    pub coordinators: u32,
    /// The coordinator dies at its so many-th write to the catalog: before it, or right after it.
    pub coordinator_crash_in: Option<(u64, bool)>,
    pub oracle: Oracle,
    pub agenda: BTreeMap<(u64, u64), Happens>,
    pub number: u64,
    pub pids: u32,
    pub copies: u128,
    pub steps: u64,
    /// Something happened after which the marks are looked at in any case.
    pub look: bool,
    /// Faults come no more.
    pub calm: bool,
    pub last_refusal: Option<String>,
    pub row_epoch: Epoch,
    pub differences: Differences,
    /// What a drill does, by chances of its own.
    pub drill: Option<Random>,
}

impl World {
    pub fn new(seed: u64, planted: Option<Planted>) -> World {
        let mut random = Random::new(seed);
        let faults = Faults::draw(&mut random);
        let mut world = World {
            now: 0,
            delay: random.between(100, 4000),
            habits: faults.habits(&mut random),
            faults,
            random,
            trace: Trace::new(),
            planted,
            sides: Default::default(),
            wire: BTreeMap::new(),
            next_connection: 0,
            accepted: 0,
            silent_until: 0,
            catalog: Catalog::new(),
            coordinator: None,
            coordinators: 0,
            coordinator_crash_in: None,
            oracle: Oracle::default(),
            agenda: BTreeMap::new(),
            number: 0,
            pids: 100,
            copies: 10,
            steps: 0,
            look: false,
            calm: false,
            last_refusal: None,
            row_epoch: Epoch(1),
            differences: Differences::default(),
            drill: crate::drill::draw(seed).filter(|_| planted.is_none()),
        };
        world.create();
        world
    }

    /// A pair that was just made: both copies equal, s/s in epoch 1, nothing running but the agents.
    fn create(&mut self) {
        let content = Content::first(8);
        let main: Vec<u8> = (1..=8).flat_map(|page| content.page(page)).collect();
        for side in 0..2 {
            let state = |copy: usize| CopyState { copy: CopyId(copy as u128 + 1), generation: Epoch(1) };
            let mut disk = Disk::default();
            disk.write(FileId::Main, 0, &main).and_then(|()| disk.sync(FileId::Main)).expect("a new disk takes it");
            disk.meta = Some(Meta { peer: Some(state(1 - side)), epoch: Epoch(1), ..fresh_meta(side, state(side)) });
            disk.map = Some(TrackMap {
                binding: Binding::to(state(1 - side)),
                written_in: Epoch(1),
                dirty: DirtyMap::default(),
            });
            self.sides[side] = Side { up: true, dirs: vec![disk], ..Side::default() };
        }
        self.return_coordinator();
        self.at(5_000, Happens::Operator);
        let first = self.random.between(50_000, 3_000_000);
        self.at(first, Happens::Fault);
        if self.drill.is_some() {
            self.at(20_000, Happens::Drill);
        }
    }

    pub fn at(&mut self, after: u64, what: Happens) -> u64 {
        self.number += 1;
        self.agenda.insert((self.now + after, self.number), what);
        self.number
    }

    /// Lets the next thing happen. Returns false when a promise is broken.
    pub fn step(&mut self) -> bool {
        let Some(((at, _), what)) = self.agenda.pop_first() else {
            self.oracle.broken("nothing happens any more".into());
            return false;
        };
        (self.now, self.steps) = (at, self.steps + 1);
        match what {
            Happens::Step { side, pid, task, number } => self.step_task(side, pid, task, number),
            Happens::Fault => self.fault(),
            Happens::Operator => self.operate(),
            Happens::Drill => self.drill(),
            Happens::HostReturns { side } => self.host_returns(side),
            Happens::CoordinatorReturns => self.return_coordinator(),
            other => self.coordinate(other),
        }
        self.check();
        self.oracle.broken.is_none()
    }

    pub fn say(&mut self, text: impl FnOnce() -> String) {
        self.trace.say(self.now, text);
    }

    fn peer_of(&self, side: usize) -> Peer {
        let peer = &self.sides[1 - side];
        match &peer.process {
            _ if !peer.up || self.silent_until > self.now => Peer::Silent,
            Some(process) if process.paused_until > self.now => Peer::Silent,
            Some(process) => Peer::Up(1 - side, process.pid),
            None => Peer::Refused,
        }
    }

    fn step_task(&mut self, side: usize, pid: u32, task: Task, number: u64) {
        let peer = self.peer_of(side);
        let Some(mut process) = self.sides[side].process.take() else { return };
        let is_due = process.pid == pid && process.tasks.get(&task).is_some_and(|s| s.number == number);
        if !is_due {
            self.sides[side].process = Some(process);
            return;
        }
        let disk = &mut self.sides[side].dirs[process.dir];
        if disk.hung.is_some_and(|(_, until)| until <= self.now) {
            disk.hung = None;
        }
        let waits = matches!(task, Task::Clock(_) | Task::Receive(_) | Task::Send(_));
        let hung = disk.hung.filter(|_| !waits).map_or(0, |(_, until)| until).max(process.paused_until);
        if hung > self.now {
            self.sides[side].process = Some(process);
            return self.schedule(side, pid, task, hung - self.now + 1, false);
        }
        let is_order =
            task == Task::Obey && process.order.as_ref().is_some_and(|o| o.row.epoch > process.replica.meta().epoch);
        if let Some(left) = self.sides[side].crash_after_order.take_if(|_| is_order) {
            self.sides[side].dirs[process.dir].crash_in = Some(left);
        }
        let disk = &mut self.sides[side].dirs[process.dir];
        let mut around = Around {
            now: self.now,
            side,
            disk,
            wire: &mut self.wire,
            next_connection: &mut self.next_connection,
            random: &mut self.random,
            oracle: &mut self.oracle,
            trace: &mut self.trace,
            planted: self.planted,
            peer,
            delay: self.delay,
            habits: self.habits,
            busy: self.now < self.faults.struck + 4_500_000,
            silent_until: self.silent_until,
        };
        self.look = matches!(task, Task::Obey | Task::Open | Task::Resync(_));
        let came = process.step(task, &mut around);
        let (spawned, wakes) = (std::mem::take(&mut process.spawned), std::mem::take(&mut process.wakes));
        let said = std::mem::take(&mut process.said);
        self.sides[side].process = Some(process);
        self.push(side, said);
        match came {
            Err(death) => return self.died(side, &death),
            Ok(Next::Over) => drop(self.sides[side].process.as_mut().map(|p| p.tasks.remove(&task))),
            Ok(Next::After(time)) => self.schedule(side, pid, task, time.max(1), false),
            Ok(Next::Wait(time)) => self.schedule(side, pid, task, time, true),
        }
        for task in spawned {
            let after = if task == Task::Exit { 50_000 } else { self.random.between(10, 500) };
            self.schedule(side, pid, task, after, false);
        }
        if wakes {
            self.wake(side, task);
        }
        self.deliver();
        self.strike_when(Some(task));
    }

    pub fn schedule(&mut self, side: usize, pid: u32, task: Task, after: u64, waits: bool) {
        let number = self.at(after, Happens::Step { side, pid, task, number: self.number + 1 });
        if let Some(process) = &mut self.sides[side].process {
            process.tasks.insert(task, Scheduled { number, waits });
        }
    }

    /// Everybody else of this process who waits looks again soon.
    pub fn wake(&mut self, side: usize, but: Task) {
        let Some(process) = &self.sides[side].process else { return };
        let pid = process.pid;
        let waiting: Vec<Task> = process.tasks.iter().filter(|(t, s)| s.waits && **t != but).map(|(t, _)| *t).collect();
        for task in waiting {
            let after = self.random.between(5, 400);
            self.schedule(side, pid, task, after, false);
        }
    }

    /// Whoever waits for a connection is woken when something arrives; a new one is accepted.
    fn deliver(&mut self) {
        let mut due = Vec::new();
        for (number, connection) in &self.wire {
            for (end, (side, pid)) in [(End::Primary, connection.primary), (End::Mirror, connection.mirror)] {
                let Some(arrives) = connection.next_arrival(end) else { continue };
                let Some(process) = self.sides[side].process.as_ref().filter(|p| p.pid == pid) else { continue };
                let waits = |task: &Task| process.tasks.get(task).is_some_and(|s| s.waits);
                let mut wakes = |task| due.push((side, pid, task, arrives));
                match end {
                    End::Primary => {
                        let links = process.carried_by.iter().filter(|(_, carrier)| *carrier == number);
                        let tasks = links.flat_map(|(link, _)| [Task::Resync(*link), Task::Receive(*link)]);
                        tasks.filter(waits).for_each(wakes);
                    }
                    End::Mirror => {
                        Some(Task::Apply(*number)).filter(waits).into_iter().for_each(&mut wakes);
                        Some(Task::Accept(*number)).filter(|_| *number >= self.accepted).into_iter().for_each(wakes);
                    }
                }
            }
        }
        self.accepted = self.next_connection;
        for (side, pid, task, arrives) in due {
            let after = arrives.saturating_sub(self.now) + 5;
            let later = |s: &Scheduled| self.agenda.contains_key(&(self.now + after, s.number));
            let known = self.sides[side].process.as_ref().and_then(|p| p.tasks.get(&task)).is_some_and(later);
            if !known {
                self.schedule(side, pid, task, after, false);
            }
        }
    }

    fn push(&mut self, side: usize, said: Vec<Said>) {
        for said in said {
            self.segment_says(side, said);
        }
    }

    /// The process is gone; its directory is as it left it, or as its host without power left it.
    pub fn died(&mut self, side: usize, death: &Death) {
        let Some(process) = self.sides[side].process.take() else { return };
        self.look = true;
        self.say(|| format!("{side} pid {} dies: {death:?}", process.pid));
        let disk = &mut self.sides[side].dirs[process.dir];
        (disk.crash_in, disk.fail_in) = (None, None);
        let power = self.sides[side].power && *death == Death::Crash;
        if power {
            self.lose_power(side);
        } else {
            self.end_connections(side, process.pid);
            self.control_resets(side);
        }
    }

    /// The ends of a process's connections are closed by its system; what was under way may be lost.
    pub fn end_connections(&mut self, side: usize, pid: u32) {
        for connection in self.wire.values_mut() {
            for (end, who) in [(End::Mirror, connection.primary), (End::Primary, connection.mirror)] {
                if who == (side, pid) {
                    let delay = self.random.between(self.delay / 10, self.delay);
                    connection.end_way(end, self.now, delay, &mut self.random);
                }
            }
        }
        let sides = &self.sides;
        let lives = |(side, pid): (usize, u32)| sides[side].process.as_ref().is_some_and(|p| p.pid == pid);
        self.wire.retain(|_, c| lives(c.primary) || lives(c.mirror));
        self.deliver();
    }

    pub fn lose_power(&mut self, side: usize) {
        let pid = self.sides[side].process.take().map(|p| p.pid);
        self.say(|| format!("{side} host loses its power (pid {pid:?})"));
        self.sides[side].up = false;
        self.sides[side].power = false;
        for disk in &mut self.sides[side].dirs {
            disk.lose_power(&mut self.random);
        }
        let away = self.random.between(200_000, 5_000_000);
        self.at(away, Happens::HostReturns { side });
    }

    fn host_returns(&mut self, side: usize) {
        self.say(|| format!("{side} host is back"));
        self.sides[side].up = true;
        // Nobody answered while it was away; now its system answers that the processes are gone.
        let pids: Vec<u32> =
            self.wire.values().flat_map(|c| [c.primary, c.mirror]).filter(|e| e.0 == side).map(|e| e.1).collect();
        pids.into_iter().for_each(|pid| self.end_connections(side, pid));
        self.control_resets(side);
    }

    /// Starts a process on a directory; one without an identity becomes another copy.
    pub fn start(&mut self, side: usize, dir: usize) -> u32 {
        self.pids += 1;
        let pid = self.pids;
        let disk = &mut self.sides[side].dirs[dir];
        if disk.meta.is_none() {
            self.copies += 1;
            let state = CopyState { copy: CopyId(self.copies), generation: Epoch(0) };
            disk.meta = Some(Meta { consistent: false, ..fresh_meta(side, state) });
            disk.map = Some(TrackMap {
                binding: Binding::to(state),
                written_in: state.generation,
                dirty: DirtyMap::default(),
            });
        }
        let meta = disk.meta.clone().expect("an identity was just made");
        let mut process = Process::new(pid, dir, self.now, Replica::nobody(meta));
        if self.planted == Some(Planted::ServeWithoutAsking) && process.replica.meta().consistent {
            let mut row = self.catalog.row;
            row.epoch = process.replica.meta().epoch.next();
            (row.primary.dbid, row.primary.mode) =
                (crate::coordinator::dbid(side), segsh::core::row::Mode::ChangeTracking);
            if let Some(mirror) = &mut row.mirror {
                mirror.dbid = crate::coordinator::dbid(1 - side);
                mirror.status = segsh::core::row::Status::Down;
            }
            process.order = Some(Order { row, peer: None, full_copy: false, rate_bytes: None });
        }
        let spawned = std::mem::take(&mut process.spawned);
        self.sides[side].process = Some(process);
        self.say(|| format!("{side} pid {pid} starts on directory {dir}"));
        for task in spawned {
            let after = self.random.between(500, 30_000);
            self.schedule(side, pid, task, after, false);
        }
        pid
    }

    /// Everything that must hold at every step.
    fn check(&mut self) {
        if let Some(Acknowledged { side, commit, in_sync }) = self.oracle.just.take() {
            // By a row that says s/s the mirror may take over at any time.
            let row = self.catalog.row;
            let by_row = row.pairing() == Some(Pairing::Synchronized) && side_of(row.primary.dbid) == side;
            if in_sync || by_row {
                self.check_both(side, commit);
            }
        }
        self.check_epochs();
        let alone = |side: &Side| {
            side.process.as_ref().is_some_and(|p| p.phase() == Phase::Tracking && p.replica.fenced().is_none())
        };
        if self.sides.iter().all(alone) {
            self.oracle.broken("both sides may acknowledge alone".into());
        }
        if std::mem::take(&mut self.look) || self.steps.is_multiple_of(24) {
            self.check_marks();
        }
    }

    fn check_both(&mut self, side: usize, commit: u64) {
        let Some(process) = &self.sides[side].process else { return };
        let copy = process.replica.meta().peer.map(|peer| peer.copy);
        let theirs = self.sides[1 - side].dirs.iter().find(|d| d.meta.as_ref().map(|m| m.copy) == copy);
        if let Some(disk) = theirs {
            self.oracle.durable("mirror", 1 - side, commit, disk);
        }
    }

    fn check_epochs(&mut self) {
        let row = self.catalog.row.epoch;
        if row < self.row_epoch {
            self.oracle.broken(format!("the catalog's epoch fell from {} to {row}", self.row_epoch));
        }
        self.row_epoch = row;
        for (side, dir) in self.sides.iter().enumerate().flat_map(|(n, s)| s.dirs.iter().map(move |d| (n, d))) {
            if let Some(meta) = dir.meta.as_ref().filter(|m| m.epoch > row) {
                self.oracle.broken(format!("side {side} obeyed epoch {}, the catalog is at {row}", meta.epoch));
            }
        }
        if let Some(why) = &self.catalog.quarantine {
            self.oracle.broken(format!("the content is quarantined: {why}"));
        }
    }

    /// The marked set contains the true difference; idle synchronized pairs are identical.
    fn check_marks(&mut self) {
        let row = self.catalog.row;
        let acting = side_of(row.primary.dbid);
        let mut differences = std::mem::take(&mut self.differences);
        if let Some((file, block)) = self.unexplained(acting, &mut differences) {
            self.oracle.broken(format!(
                "block {block} of {file:?} differs between the copies, and nothing on side {acting} says so"
            ));
        }
        if row.pairing() == Some(Pairing::Synchronized) {
            self.check_identical(acting, &mut differences);
        }
        self.differences = differences;
    }

    fn unexplained(&self, acting: usize, differences: &mut Differences) -> Option<(FileId, u64)> {
        let (ours, theirs) = (&self.sides[acting], &self.sides[1 - acting]);
        let dir = ours.process.as_ref().map_or(ours.named, |p| p.dir);
        let disk = &ours.dirs[dir];
        let acts = ours.process.as_ref().filter(|p| p.replica.acting().is_ok());
        let bound = match acts {
            Some(process) => {
                let report = process.report(self.now, disk);
                report.map_bound_to.filter(|_| report.map_unusable.is_none()).map(|bound| bound.copy)
            }
            None => {
                let meta = disk.meta.as_ref().filter(|meta| meta.consistent && !meta.written_outside_checkpoint);
                meta.and_then(|meta| Some(meta.map_in_force(disk.map.clone()?).binding.copy))
            }
        };
        let of = |copy: CopyId| theirs.dirs.iter().position(|d| d.meta.as_ref().is_some_and(|m| m.copy == copy));
        let other = bound.and_then(of)?;
        differences.refresh((acting, dir, other), disk, &theirs.dirs[other]);
        if differences.is_none() {
            return None;
        }
        let (marked, linked) = match acts.and_then(|p| oracle::marked(&p.replica)) {
            Some(marked) => marked,
            None => {
                let mut marked = disk.pages_named_now();
                marked.union(&disk.meta.as_ref()?.map_in_force(disk.map.clone()?).dirty);
                (marked, false)
            }
        };
        differences.unexplained(disk, &theirs.dirs[other], &marked, linked)
    }

    fn check_identical(&mut self, acting: usize, differences: &mut Differences) {
        let (ours, theirs) = (&self.sides[acting], &self.sides[1 - acting]);
        let (Some(p), Some(m)) = (&ours.process, &theirs.process) else { return };
        let idle = p.phase() == Phase::InSync
            && p.replica.acting().is_ok_and(|a| a.link().is_some_and(|l| l.queued_bytes() == 0))
            && p.stream.and_then(|(_, c)| self.wire.get(&c)).is_some_and(Connection::is_idle)
            && m.is_idle();
        if !idle {
            return;
        }
        let (disk, other) = (&ours.dirs[p.dir], &theirs.dirs[m.dir]);
        differences.refresh((acting, p.dir, m.dir), disk, other);
        for file in FileId::ALL {
            let same_length = disk.file(file).current.len() == other.file(file).current.len();
            if !same_length || !differences.is_none_now(file) {
                self.oracle.broken(format!("the pair is idle and synchronized, and {file:?} differs"));
            }
        }
    }
}

pub fn fresh_meta(side: usize, state: CopyState) -> Meta {
    Meta {
        cluster_id: "simulated".into(),
        dbid: crate::coordinator::dbid(side),
        content: crate::coordinator::CONTENT,
        copy: state.copy,
        generation: state.generation,
        peer: None,
        epoch: Epoch(0),
        acted: Epoch(0),
        soundness: Soundness::Sound,
        consistent: true,
        written_outside_checkpoint: false,
        stamps: Vec::new(),
        touched: Vec::new(),
    }
}
