//! What goes wrong, and the administrator who brings it right again.

use crate::aims::{Aim, Kind, OF_FORGETFUL_WORLDS, OF_PRESSING_WORLDS, OF_SLEEPY_WORLDS, SCHEMES, When, Whom};
use crate::coordinator::{CONTENT, dbid, side as side_of};
use crate::habits::Habits;
use crate::planted::Planted;
use crate::process::{Death, Task};
use crate::random::Random;
use crate::wire::End;
use crate::world::{Happens, World};
use segsh::core::operation::{Goal, GoalKind, Target};
use segsh::core::report::{Phase, StopMode};
use segsh::core::row::Pairing;
use std::collections::VecDeque;

/// How long a sequence of faults waits for its next moment, or any for a pair that is whole again, in
/// microseconds; and how long one that is aimed at just any moment.
const PATIENCE: u64 = 6_000_000;
const LITTLE_PATIENCE: u64 = 1_500_000;
/// How long the next one stays away from a sequence: what it led to takes its time.
const REST: (u64, u64) = (3_000_000, 5_000_000);

/// The faults of one world, drawn once: few kinds of them or many, and perhaps one sequence that is tried
/// again and again. What needs the same thing twice is found where there is little else.
#[derive(Debug)]
pub struct Faults {
    weights: Vec<u64>,
    moments: Vec<When>,
    scheme: Option<usize>,
    /// The longest time between two of them, in microseconds.
    pace: u64,
    /// When the last one came, and whether the next one waits for a synchronized pair.
    pub struck: u64,
    patient: bool,
    /// Those that wait for their moments, one after the other.
    aimed: VecDeque<Aim>,
    /// How long they do.
    patience: u64,
}

impl Faults {
    pub fn draw(random: &mut Random) -> Faults {
        let chance = [12, 30, 60][random.below(3) as usize];
        let weights =
            Kind::ALL.iter().map(|_| if random.percent(chance) { random.between(1, 10) } else { 0 }).collect();
        let moments = When::ALL.iter().filter(|when| **when == When::Now || random.percent(60)).copied().collect();
        let scheme = random.percent(80).then(|| random.below(SCHEMES.len() as u64) as usize);
        let pace = random.between(200_000, 2_500_000);
        Faults { weights, moments, scheme, pace, struck: 0, patient: true, aimed: VecDeque::new(), patience: 0 }
    }

    /// What the world has to be like for them.
    pub fn habits(&self, random: &mut Random) -> Habits {
        const SLEEPY_FROM: usize = OF_FORGETFUL_WORLDS;
        const PRESSING_FROM: usize = SLEEPY_FROM + OF_SLEEPY_WORLDS;
        const OTHERS_FROM: usize = PRESSING_FROM + OF_PRESSING_WORLDS;
        match self.scheme {
            Some(..SLEEPY_FROM) => Habits::forgetful(random),
            Some(SLEEPY_FROM..PRESSING_FROM) => Habits::sleepy(random),
            Some(PRESSING_FROM..OTHERS_FROM) => Habits::pressing(random),
            _ => Habits::draw(random),
        }
    }

    /// A kind of fault, as this world has them.
    fn kind(&self, random: &mut Random) -> Option<Kind> {
        let total: u64 = self.weights.iter().sum();
        let mut drawn = random.below(total.max(1));
        let hit = self.weights.iter().position(|weight| {
            let hit = drawn < *weight;
            drawn = drawn.saturating_sub(*weight);
            hit
        });
        hit.map(|place| Kind::ALL[place])
    }

    /// The next ones: the world's sequence, which is said, or one of any kind, and sometimes another one with it.
    fn aim(&mut self, random: &mut Random) -> bool {
        self.aimed.clear();
        if let Some(scheme) = self.scheme.filter(|_| random.percent(75)) {
            (self.patient, self.patience) = (true, PATIENCE);
            self.aimed.extend(SCHEMES[scheme]);
            return true;
        }
        let mut when = self.moments[random.below(self.moments.len() as u64) as usize];
        let also = random.percent(35);
        for _ in 0..=u8::from(also) {
            let whom = if random.percent(50) { Whom::Acting } else { Whom::Mirror };
            self.aimed.extend(self.kind(random).map(|kind| Aim { when, kind, whom }));
            when = When::Now;
        }
        (self.patient, self.patience) = (random.percent(50), LITTLE_PATIENCE);
        false
    }
}

impl World {
    /// A fault comes, and the next one is chosen.
    pub fn fault(&mut self) {
        if self.calm {
            return;
        }
        // A pair that is down for good shows little: most faults wait for one that is whole again.
        let aims = !self.faults.aimed.is_empty() && self.now < self.faults.struck + self.faults.patience;
        let waits = self.faults.patient && !self.is_synchronized() && self.now < self.faults.struck + PATIENCE;
        if aims || waits {
            self.at(40_000, Happens::Fault);
            return;
        }
        self.faults.struck = self.now;
        let schemes = self.faults.aim(&mut self.random);
        let (soonest, latest) = if schemes { REST } else { (20_000, self.faults.pace) };
        let next = self.random.between(soonest, latest);
        self.at(next, Happens::Fault);
        self.strike_when(None);
    }

    /// The faults that are aimed at this moment come with it.
    pub fn strike_when(&mut self, task: Option<Task>) {
        while let Some(Aim { when, kind, whom }) = self.faults.aimed.front().copied() {
            let acting = side_of(self.catalog.row.primary.dbid);
            let is_now = when.is_now(self.sides[acting].process.as_ref(), task);
            if self.calm || !is_now || (when.lasts() && self.random.percent(60)) {
                return;
            }
            self.faults.aimed.pop_front();
            self.faults.struck = self.now;
            let side = if whom == Whom::Acting { acting } else { 1 - acting };
            self.say(|| format!("fault {kind:?} on {side} at {when:?}"));
            self.strike(kind, side);
        }
    }

    fn strike(&mut self, kind: Kind, side: usize) {
        let until = self.now + self.random.between(50_000, 6_000_000);
        let soon = self.random.below(24);
        let dir = self.sides[side].process.as_ref().map(|p| p.dir);
        match (kind, dir) {
            (Kind::Kill, Some(_)) => self.died(side, &Death::Exit("killed".into())),
            (Kind::Crash, Some(dir)) => self.sides[side].dirs[dir].crash_in = Some(soon),
            (Kind::CrashOfPower, Some(dir)) => {
                self.sides[side].power = true;
                self.sides[side].dirs[dir].crash_in = Some(soon);
            }
            (Kind::Power, _) if self.sides[side].up => self.lose_power(side),
            (Kind::Death, _) => {
                let deaths = [Kind::Kill, Kind::Kill, Kind::Power, Kind::Crash, Kind::CrashOfPower];
                let death = deaths[self.random.below(5) as usize];
                self.strike(death, side);
            }
            (Kind::Coordinator, _) => self.kill_coordinator(),
            (Kind::CoordinatorAtWrite, _) => {
                let before = self.random.percent(50);
                self.coordinator_crash_in = Some((self.random.below(3), before));
            }
            (Kind::Reset, _) => self.reset_links(),
            (Kind::Silence, _) => {
                self.silent_until = until;
                // Each connection tries again at its own pace: an older one may be heard after a newer one.
                for connection in self.wire.values_mut() {
                    let later = self.random.below(3) * self.random.below(1_500_000);
                    connection.silence(until + later);
                }
            }
            (Kind::Stuck, _) => {
                let until = self.now + self.random.between(2_500_000, 12_000_000);
                self.wire.values_mut().for_each(|c| c.stick(End::Primary, until));
            }
            (Kind::Release, _) => self.release(),
            (Kind::Unreachable, _) => {
                // Often for as long as it takes to be given up.
                let long = self.random.between(3_300_000, 7_000_000) * self.random.below(2);
                self.sides[side].silent_until = until.max(self.now + long);
            }
            (Kind::Disk, Some(dir)) => {
                let disk = &mut self.sides[side].dirs[dir];
                match self.random.below(3) {
                    0 => disk.full = !disk.full,
                    1 => disk.fail_in = Some(soon),
                    _ => disk.hung = Some((self.now, until)),
                }
            }
            (Kind::Pause, Some(_)) => self.pause(side, until),
            (Kind::Halt, Some(_)) => {
                let later = until + self.random.below(1_500_000);
                self.silent_until = later;
                self.wire.values_mut().for_each(|c| c.silence(later));
                self.sides[side].silent_until = later;
                self.pause(side, until);
            }
            (Kind::CrashAfterOrder, _) => {
                let after = if self.random.percent(50) { soon } else { self.random.below(80) };
                self.sides[side].crash_after_order = Some(after);
            }
            (Kind::Slow, _) => self.delay = self.random.between(100, 30_000),
            _ => {}
        }
    }

    /// What mirrors have answered arrives now, whatever it waits for.
    fn release(&mut self) {
        let now = self.now;
        self.wire.values_mut().for_each(|c| c.release(End::Primary, now));
        for side in 0..2 {
            let Some(process) = &self.sides[side].process else { continue };
            let pid = process.pid;
            let hears = |task: &Task| matches!(task, Task::Receive(_) | Task::Resync(_));
            let tasks: Vec<Task> = process.tasks.keys().filter(|task| hears(task)).copied().collect();
            tasks.into_iter().for_each(|task| self.schedule(side, pid, task, 20, false));
        }
    }

    fn pause(&mut self, side: usize, until: u64) {
        if let Some(process) = &mut self.sides[side].process {
            process.paused_until = until;
        }
    }

    /// Every link is reset in the middle: both ends hear of it, one later than the other.
    fn reset_links(&mut self) {
        let resumed = self.planted == Some(Planted::LinkResumed);
        for connection in self.wire.values_mut() {
            if resumed {
                connection.drop_quietly(self.now);
                continue;
            }
            for end in [End::Primary, End::Mirror] {
                let after = self.random.between(100, 50_000);
                connection.end_way(end, self.now, after, &mut self.random);
            }
        }
        (0..2).for_each(|side| self.wake(side, Task::Open));
    }

    /// No fault comes any more, and what was broken is repaired.
    pub fn calm_down(&mut self) {
        self.say(|| "faults end".into());
        self.calm = true;
        self.faults.aimed.clear();
        self.coordinator_crash_in = None;
        self.delay = 1000;
        self.drill();
        for side in &mut self.sides {
            (side.crash_after_order, side.power) = (None, false);
            side.dirs.iter_mut().for_each(crate::disk::Disk::heal);
        }
    }

    /// An administrator looks, and begins what is needed or what comes to mind.
    pub fn operate(&mut self) {
        let next = self.random.between(100_000, if self.calm { 500_000 } else { 900_000 });
        self.at(next, Happens::Operator);
        if self.coordinator.is_none() {
            return;
        }
        let row = self.catalog.row;
        let Some(mirror) = row.mirror.map(|m| m.dbid) else { return };
        let absent = |dbid| self.sides[side_of(dbid)].up && self.sides[side_of(dbid)].process.is_none();
        if self.catalog.active.is_some() {
            if absent(row.primary.dbid) && self.random.percent(30) {
                self.revive();
            }
            return;
        }
        let report = self.member(side_of(row.primary.dbid)).report;
        let nobody = report.is_some_and(|r| r.phase == Phase::Nobody) && self.random.percent(30);
        let full = GoalKind::Recover { full: true, in_place: self.random.percent(40), rate_bytes: None };
        let incremental = GoalKind::Recover { full: false, in_place: false, rate_bytes: None };
        let refused = self.last_refusal.as_deref() == Some("IncrementalImpossible");
        let (kind, target) = match row.pairing() {
            _ if absent(row.primary.dbid) || nobody => (GoalKind::Start, row.primary.dbid),
            Some(Pairing::ChangeTracking) if refused || (!self.calm && self.random.percent(15)) => (full, mirror),
            Some(Pairing::ChangeTracking) => (incremental, mirror),
            Some(Pairing::Synchronized) if !self.calm => match self.random.below(12) {
                0..=2 => (GoalKind::Rebalance, mirror),
                3 => (GoalKind::Restart { mode: StopMode::Fast }, row.primary.dbid),
                4 => (GoalKind::Restart { mode: StopMode::Immediate }, row.primary.dbid),
                _ => return,
            },
            _ => return,
        };
        debug_assert!(target == dbid(0) || target == dbid(1));
        self.say(|| format!("administrator: {} dbid {target}", kind.verb()));
        self.catalog.write_goal(&Goal::new(kind, vec![Target::new(CONTENT, target)]));
    }
}
