//! What goes wrong, and the administrator who brings it right again.

use crate::coordinator::{CONTENT, dbid, side as side_of};
use crate::planted::Planted;
use crate::process::{Death, Task};
use crate::sessions::Op;
use crate::wire::End;
use crate::world::{Happens, World};
use segsh::core::operation::{Goal, GoalKind, Target};
use segsh::core::report::{Phase, StopMode};
use segsh::core::row::Pairing;

/// How many kinds of faults there are.
pub const KINDS: usize = 14;

/// The moment that a fault is aimed at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    Now,
    /// The primary copies pages from the log to main.db.
    Checkpoint,
    /// A commit waits for the mirror.
    Commit,
    /// Blocks are copied.
    Copy,
    /// The claim has just been made.
    Claim,
    /// SQLite has just been opened.
    Opened,
}

impl When {
    const ALL: &'static [When] =
        &[When::Now, When::Now, When::Checkpoint, When::Commit, When::Copy, When::Claim, When::Opened];
}

impl World {
    /// A fault comes, and the next one is chosen.
    pub fn fault(&mut self) {
        if self.calm {
            return;
        }
        // A pair that is down for good shows little: most faults wait for one that is whole again.
        let patient = self.patient && self.now < self.struck + 6_000_000;
        if patient && !self.is_synchronized() {
            self.at(40_000, Happens::Fault);
            return;
        }
        (self.struck, self.patient) = (self.now, self.random.percent(50));
        let next = self.random.between(20_000, self.fault_pace);
        self.at(next, Happens::Fault);
        let total: u64 = self.weights.iter().sum();
        if total == 0 {
            return;
        }
        let mut drawn = self.random.below(total);
        let kind = self.weights.iter().position(|w| {
            let hit = drawn < *w;
            drawn = drawn.saturating_sub(*w);
            hit
        });
        let side = self.random.below(2) as usize;
        let when = When::ALL[self.random.below(When::ALL.len() as u64) as usize];
        self.aimed = Some((when, kind.unwrap_or(0), side));
        self.strike_when(None);
    }

    /// The fault that is aimed at a moment comes with it.
    pub fn strike_when(&mut self, task: Option<Task>) {
        let Some((when, kind, side)) = self.aimed else { return };
        let acting = side_of(self.catalog.row.primary.dbid);
        let Some(process) = &self.sides[acting].process else { return };
        let is_linked = process.replica.acting().is_ok_and(|acting| acting.link().is_some());
        let is_now = match when {
            When::Now => true,
            When::Checkpoint => process.checkpointer.len() > 2 && is_linked,
            When::Commit => matches!(process.group.ops.front(), Some(Op::SyncThere(_))),
            When::Copy => process.phase() == Phase::Resynchronizing && is_linked,
            When::Claim => task.is_some_and(|t| matches!(t, Task::Resync(_))) && process.phase() == Phase::InSync,
            When::Opened => task == Some(Task::Open),
        };
        if is_now && !self.calm {
            self.aimed = None;
            self.say(|| format!("fault {kind} on {side} at {when:?}"));
            self.strike(kind, side);
        }
    }

    fn strike(&mut self, kind: usize, side: usize) {
        let until = self.now + self.random.between(50_000, 6_000_000);
        let soon = self.random.below(24);
        let dir = self.sides[side].process.as_ref().map(|p| p.dir);
        match (kind, dir) {
            (0, Some(_)) => self.died(side, &Death::Exit("killed".into())),
            // At one of its next durable effects.
            (1, Some(dir)) => self.sides[side].dirs[dir].crash_in = Some(soon),
            (2, Some(dir)) => {
                self.sides[side].power = true;
                self.sides[side].dirs[dir].crash_in = Some(soon);
            }
            (3, _) if self.sides[side].up => self.lose_power(side),
            (4, _) => self.kill_coordinator(),
            (5, _) => {
                let before = self.random.percent(50);
                self.coordinator_crash_in = Some((self.random.below(3), before));
            }
            (6, _) => self.reset_links(),
            (7, _) => {
                self.silent_until = until;
                // Each connection tries again at its own pace: an older one may be heard after a newer one.
                for connection in self.wire.values_mut() {
                    let later = self.random.below(3) * self.random.below(1_500_000);
                    connection.silence(until + later);
                }
            }
            (8, _) => self.sides[side].silent_until = until.max(self.now + self.random.below(5_000_000)),
            (9, Some(dir)) => {
                let disk = &mut self.sides[side].dirs[dir];
                match self.random.below(3) {
                    0 => disk.full = !disk.full,
                    1 => disk.fail_in = Some(soon),
                    _ => disk.hung = Some((self.now, until)),
                }
            }
            (10, Some(_)) => {
                if let Some(process) = &mut self.sides[side].process {
                    process.paused_until = until;
                }
            }
            // A machine that is halted whole, and whose network wakes after it.
            (13, Some(_)) => {
                let later = until + self.random.below(1_500_000);
                self.silent_until = later;
                self.wire.values_mut().for_each(|c| c.silence(later));
                self.sides[side].silent_until = until;
                if let Some(process) = &mut self.sides[side].process {
                    process.paused_until = until;
                }
            }
            // Soon after the next order that it obeys.
            (12, _) => {
                self.sides[side].crash_after_order =
                    Some(if self.random.percent(50) { soon } else { self.random.below(80) })
            }
            (11, _) => self.delay = self.random.between(100, 30_000),
            _ => {}
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
        let number = self.sides.iter().filter_map(|s| s.process.as_ref().map(|p| p.pid)).collect::<Vec<_>>();
        for (side, pid) in [0, 1].into_iter().zip(number) {
            if self.sides[side].process.as_ref().is_some_and(|p| p.pid == pid) {
                self.wake(side, Task::Open);
            }
        }
    }

    /// No fault comes any more, and what was broken is repaired.
    pub fn calm_down(&mut self) {
        self.say(|| "faults end".into());
        self.calm = true;
        self.aimed = None;
        self.coordinator_crash_in = None;
        self.delay = 1000;
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
