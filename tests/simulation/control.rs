//! The coordinator's steps: connections to the segments, decisions carried out, an operation driven.

use crate::coordinator::{CONTENT, Control, Coordinator, dbid, side as side_of};
use crate::planted::Planted;
use crate::process::{Death, Leaving, Said, Task};
use crate::world::{Ask, Happens, World};
use segsh::core::fts::{Decision, Event, Failure, Fts, Patience};
use segsh::core::ids::Dbid;
use segsh::core::operation::{
    Came, Ended, Facts, Goal, GoalKind, MemberFacts, Others, Process as Seen, Stage, Step, Target,
};
use segsh::core::report::{Order, Phase};
use segsh::core::row::Pairing;
use segsh::core::transition::{self, Transition};
use std::collections::BTreeMap;

const TICK: u64 = 100_000;
const INTERVAL: u64 = 1_000_000;
const TIMEOUT: u64 = 1_000_000;
/// An answer counts for so long.
const FRESH: u64 = 3_000_000;

impl World {
    /// Something of the coordinator, or of a message between it and a segment.
    pub fn coordinate(&mut self, what: Happens) {
        match what {
            Happens::ToSegment { side, pid, number, coordinator, order, ask } => {
                self.segment_hears(side, pid, number, coordinator, order, ask);
            }
            Happens::Tick { coordinator } if self.is_current(coordinator) => self.tick(),
            Happens::Revive { coordinator } if self.is_current(coordinator) => self.revive(),
            Happens::Drive { coordinator } if self.is_current(coordinator) => self.drive(),
            Happens::Probe { coordinator, side, number } if self.is_on(coordinator, side, number) => self.probe(side),
            Happens::Reset { coordinator, side, number } if self.is_on(coordinator, side, number) => {
                if let Some(control) = self.control(side) {
                    control.pid = None;
                }
                self.connect(side);
            }
            Happens::Heard { coordinator, side, number, report, pushed } if self.is_on(coordinator, side, number) => {
                let now = self.now;
                if let Some(control) = self.control(side) {
                    if !pushed {
                        control.deadline = None;
                    }
                    (control.heard, control.silent) = (Some(now), Some(false));
                }
                self.notice_silence();
                let Some(coordinator) = &mut self.coordinator else { return };
                if coordinator.fts.is_overtaken(&report) {
                    return;
                }
                let control = &mut coordinator.controls[side];
                if let Some(loss) = &report.mirror_lost {
                    control.lost = Some((report.epoch, loss.clone()));
                }
                (control.report, control.failing) = (Some((*report).clone()), false);
                self.step_fts(Event::Heard(report));
            }
            Happens::Drained { coordinator, side, number, came } if self.is_on(coordinator, side, number) => {
                let drained = came.is_ok();
                if let Some(driver) = self.coordinator.as_mut().and_then(|c| c.driver.as_mut()) {
                    driver.drained = Some(came);
                }
                if drained {
                    self.step_fts(Event::Drained(dbid(side)));
                }
            }
            _ => {}
        }
    }

    fn is_current(&self, number: u32) -> bool {
        self.coordinator.as_ref().is_some_and(|c| c.number == number)
    }

    fn is_on(&self, coordinator: u32, side: usize, number: u64) -> bool {
        self.coordinator.as_ref().is_some_and(|c| c.number == coordinator && c.controls[side].number == number)
    }

    fn control(&mut self, side: usize) -> Option<&mut Control> {
        self.coordinator.as_mut().map(|c| &mut c.controls[side])
    }

    pub fn return_coordinator(&mut self) {
        self.coordinators += 1;
        let number = self.coordinators;
        self.say(|| format!("coordinator {number} starts"));
        self.coordinator = Some(Coordinator::new(number, self.now, &self.catalog));
        self.at(TICK, Happens::Tick { coordinator: number });
        self.at(20_000, Happens::Drive { coordinator: number });
        (0..2).for_each(|side| self.connect(side));
        if number > 1 {
            // It comes back by the command that starts a cluster, which joins what is under way.
            let soon = self.random.between(50_000, 300_000);
            self.at(soon, Happens::Revive { coordinator: number });
        }
    }

    /// A start that joins an operation which starts nothing: what should run is started, and FTS decides.
    pub fn revive(&mut self) {
        let row = self.catalog.row;
        let serves = self.member(side_of(row.primary.dbid)).report.is_some_and(|r| r.phase != Phase::Nobody);
        let Some(goal) = self.catalog.goal() else {
            return self.catalog.write_goal(&Goal::new(GoalKind::Start, vec![Target::new(CONTENT, row.primary.dbid)]));
        };
        let stage = goal.targets[0].stage;
        let starts = matches!(goal.kind, GoalKind::Restart { .. } | GoalKind::Start) && stage != Stage::Recovering;
        if serves || starts {
            return;
        }
        for side in 0..2 {
            let wanted = side_of(row.primary.dbid) == side || row.pairing() == Some(Pairing::Synchronized);
            if wanted && self.sides[side].process.is_none() && !self.silent(side) {
                self.at_host(&Step::Start { dbid: dbid(side), sibling: false });
            }
        }
        self.step_fts(Event::Release);
        (0..2).for_each(|side| self.kick(side));
    }

    /// A segment is asked now.
    fn kick(&mut self, side: usize) {
        match self.control(side).map(|c| (c.pid.is_some(), c.order.clone())) {
            Some((true, order)) => self.tell(side, order, Ask::Probe),
            Some((false, _)) if !self.silent(side) => self.connect(side),
            _ => {}
        }
    }

    pub fn kill_coordinator(&mut self) {
        if self.coordinator.take().is_some() {
            self.say(|| "coordinator dies".into());
            self.coordinator_crash_in = None;
            let away = self.random.between(50_000, 4_000_000);
            self.at(away, Happens::CoordinatorReturns);
        }
    }

    pub fn silent(&self, side: usize) -> bool {
        !self.sides[side].up || self.sides[side].silent_until > self.now
    }

    /// A connection to a segment; what the attempt meets is heard by the service.
    fn connect(&mut self, side: usize) {
        let silent = self.silent(side);
        let pid = self.sides[side].process.as_ref().map(|p| p.pid);
        let Some(coordinator) = &mut self.coordinator else { return };
        let (number, control) = (coordinator.number, &mut coordinator.controls[side]);
        control.number += 1;
        (control.deadline, control.last_sent) = (None, 0);
        let connection = control.number;
        if silent {
            control.pid = None;
            self.at(TIMEOUT, Happens::Probe { coordinator: number, side, number: connection });
            return;
        }
        control.pid = pid;
        match pid {
            Some(_) => self.probe(side),
            None => {
                let pause = self.random.between(20_000, 120_000);
                self.at(pause, Happens::Probe { coordinator: number, side, number: connection });
                self.failed(side, Failure::Refused);
            }
        }
    }

    fn failed(&mut self, side: usize, failure: Failure) {
        if let Some(control) = self.control(side) {
            (control.failing, control.silent) = (true, Some(!failure.is_proof_of_absence()));
        }
        self.notice_silence();
        self.step_fts(Event::Failed { dbid: dbid(side), failure, why: failure.words().into() });
    }

    fn notice_silence(&mut self) {
        let Some(coordinator) = &mut self.coordinator else { return };
        let silent = coordinator.controls.iter().all(|c| c.silent == Some(true));
        if std::mem::replace(&mut coordinator.all_silent, silent) != silent {
            self.step_fts(Event::AllSilent(silent));
        }
    }

    /// Asks a segment now, with its order if it has one; without a connection one is made.
    fn probe(&mut self, side: usize) {
        let Some(coordinator) = &mut self.coordinator else { return };
        if coordinator.controls[side].pid.is_none() {
            // The attempt that was under way when a host was silent ends here.
            let was_silent = coordinator.controls[side].silent != Some(false) && self.silent(side);
            if was_silent || self.silent(side) {
                self.failed(side, Failure::Timeout);
            }
            return self.connect(side);
        }
        let now = self.now;
        let control = &mut coordinator.controls[side];
        if control.deadline.is_some_and(|deadline| now >= deadline) {
            control.pid = None;
            self.failed(side, Failure::Timeout);
            return self.connect(side);
        }
        control.deadline.get_or_insert(now + TIMEOUT);
        control.next_probe = now + INTERVAL;
        let (number, connection, order) = (coordinator.number, control.number, control.order.clone());
        self.tell(side, order, Ask::Probe);
        self.at(INTERVAL + 1, Happens::Probe { coordinator: number, side, number: connection });
    }

    /// A message to a segment, behind those before it.
    fn tell(&mut self, side: usize, order: Option<Order>, ask: Ask) {
        let delay = self.random.between(self.delay / 10, self.delay);
        let silent_until = self.sides[side].silent_until;
        let now = self.now;
        let Some(coordinator) = &mut self.coordinator else { return };
        let (from, control) = (coordinator.number, &mut coordinator.controls[side]);
        let Some(pid) = control.pid else { return };
        control.last_sent = (now + delay).max(control.last_sent + 1).max(silent_until);
        let (after, number) = (control.last_sent - now, control.number);
        self.at(after, Happens::ToSegment { side, pid, number, coordinator: from, order, ask });
    }

    fn segment_hears(&mut self, side: usize, pid: u32, number: u64, from: u32, order: Option<Order>, ask: Ask) {
        let (up, now) = (self.sides[side].up, self.now);
        let Some(process) = self.sides[side].process.as_mut().filter(|p| p.pid == pid && up) else { return };
        if process.paused_until > now {
            let after = process.paused_until - now + 1;
            self.at(after, Happens::ToSegment { side, pid, number, coordinator: from, order, ask });
            return;
        }
        match ask {
            Ask::Probe => {
                if process.order.is_none() && order.is_some() {
                    process.order = order;
                }
                let report = Box::new(process.report(now, &self.sides[side].dirs[process.dir]));
                // Who asks is told, and with that it is out.
                if report.is_held_back() {
                    process.replica.release();
                }
                let after = self.answer_delay(side);
                self.at(after, Happens::Heard { side, number, coordinator: from, report, pushed: false });
            }
            Ask::Drain => process.ask_to_leave(Leaving::Drain),
            Ask::Stop(_) => process.ask_to_leave(Leaving::Stop),
        }
        let Some(process) = &mut self.sides[side].process else { return };
        for task in std::mem::take(&mut process.spawned) {
            self.schedule(side, pid, task, 20, false);
        }
        self.wake(side, Task::Open);
    }

    fn answer_delay(&mut self, side: usize) -> u64 {
        let delay = self.random.between(self.delay / 10, self.delay);
        (self.now + delay).max(self.sides[side].silent_until) - self.now
    }

    /// What a segment says unasked.
    pub fn segment_says(&mut self, side: usize, said: Said) {
        let Some(process) = &self.sides[side].process else { return };
        let pid = process.pid;
        let Some((coordinator, control)) = self.coordinator.as_ref().map(|c| (c.number, c.controls[side].clone()))
        else {
            return;
        };
        if control.pid != Some(pid) {
            return;
        }
        let report = Box::new(process.report(self.now, &self.sides[side].dirs[process.dir]));
        if report.is_held_back() && said == Said::Report {
            return;
        }
        let (after, number) = (self.answer_delay(side), control.number);
        self.at(
            after,
            match said {
                Said::Report => Happens::Heard { side, number, coordinator, report, pushed: true },
                Said::Drained => Happens::Drained { side, number, coordinator, came: Ok(()) },
                Said::CannotDrain(why) => Happens::Drained { side, number, coordinator, came: Err(why) },
            },
        );
    }

    /// The control connections to a side's former process end.
    pub fn control_resets(&mut self, side: usize) {
        let after = self.answer_delay(side) + 10;
        let Some(coordinator) = &self.coordinator else { return };
        let (number, connection) = (coordinator.number, coordinator.controls[side].number);
        self.at(after, Happens::Reset { side, number: connection, coordinator: number });
    }

    fn tick(&mut self) {
        let now = self.now;
        let Some(coordinator) = &self.coordinator else { return };
        let number = coordinator.number;
        let overdue: Vec<usize> =
            (0..2).filter(|side| coordinator.controls[*side].deadline.is_some_and(|d| now >= d)).collect();
        self.at(TICK, Happens::Tick { coordinator: number });
        for side in overdue {
            if let Some(control) = self.control(side) {
                control.pid = None;
            }
            self.failed(side, Failure::Timeout);
            self.connect(side);
        }
        self.step_fts(Event::Tick);
    }

    /// One event into the service; its decisions are carried out, then the orders follow the row.
    pub fn step_fts(&mut self, event: Event) {
        let mut events = vec![event];
        while let Some(event) = events.pop() {
            let now = self.now;
            let Some(coordinator) = &mut self.coordinator else { return };
            let ms = coordinator.ms(now);
            let decisions = coordinator.fts.step(ms, event);
            for decision in decisions {
                match self.carry_out(decision) {
                    Some(event) => events.push(event),
                    None if self.coordinator.is_none() => return,
                    None => {}
                }
            }
        }
        self.send_orders();
    }

    fn carry_out(&mut self, decision: Decision) -> Option<Event> {
        match decision {
            Decision::Ask(dbid) => {
                let side = side_of(dbid);
                if self.control(side).is_some_and(|c| c.pid.is_some()) {
                    let order = self.control(side).and_then(|c| c.order.clone());
                    self.tell(side, order, Ask::Probe);
                }
                None
            }
            Decision::Say(_) => None,
            Decision::DoubleFault { reason, .. } => {
                self.say(|| reason);
                if self.planted == Some(Planted::PromotedUnsynchronized) {
                    return self.promote_whatever();
                }
                None
            }
            Decision::Quarantine { reason, .. } => {
                self.catalog.quarantine = Some(reason);
                None
            }
            Decision::Change(change) => {
                self.say(|| format!("FTS: {}", change.reason));
                self.change(&change.transition, change.recover, false, change.serving_copy)
            }
        }
    }

    /// Planted: R4 is dropped.
    fn promote_whatever(&mut self) -> Option<Event> {
        let before = self.catalog.row;
        let mut synced = before;
        let mirror = synced.mirror.as_mut()?;
        (synced.primary.mode, mirror.mode) =
            (segsh::core::row::Mode::Synchronized, segsh::core::row::Mode::Synchronized);
        mirror.status = segsh::core::row::Status::Up;
        let t = transition::apply(&synced, transition::Event::PrimaryLost)?;
        let _ = self.change(&Transition { before, ..t }, None, false, None);
        let coordinator = self.coordinator.as_mut()?;
        coordinator.fts = Fts::new(self.catalog.row, Patience::default());
        Some(Event::Release)
    }

    /// Writes a row, then says which one stands. The coordinator may die at it.
    fn change(
        &mut self,
        t: &Transition,
        recover: Option<Dbid>,
        full: bool,
        serving: Option<segsh::core::ids::CopyId>,
    ) -> Option<Event> {
        if self.planted == Some(Planted::ToldBeforeDurable) && self.catalog.row == t.before {
            if let Some(coordinator) = &mut self.coordinator {
                let ms = coordinator.ms(self.now);
                drop(coordinator.fts.step(ms, Event::Row(t.after)));
            }
            self.send_orders();
            if self.random.percent(10) && !self.calm {
                self.kill_coordinator();
                return None;
            }
        }
        if self.dies_at_write(true) {
            return None;
        }
        let done = self.catalog.change(t, recover, full, serving);
        if done {
            let (letters, epoch) = (transition::letters(&t.after), t.after.epoch);
            self.say(|| format!("row {letters} epoch {epoch}, primary dbid {}", t.after.primary.dbid));
        }
        if self.dies_at_write(false) {
            return None;
        }
        let now = self.now;
        if let Some(coordinator) = &mut self.coordinator {
            coordinator.pick_up(now, &self.catalog);
        }
        Some(Event::Row(self.catalog.row))
    }

    fn dies_at_write(&mut self, before: bool) -> bool {
        match &mut self.coordinator_crash_in {
            Some((0, dies_before)) if *dies_before == before => {
                self.kill_coordinator();
                true
            }
            Some((left @ 1.., _)) if !before => {
                *left -= 1;
                false
            }
            _ => false,
        }
    }

    /// A changed order is sent at once.
    fn send_orders(&mut self) {
        for side in 0..2 {
            let Some(coordinator) = &mut self.coordinator else { return };
            let order = coordinator.order_for(side, &self.catalog);
            let control = &mut coordinator.controls[side];
            if control.order != order {
                control.order = order.clone();
                if order.is_some() && control.pid.is_some() {
                    self.tell(side, order, Ask::Probe);
                }
            }
        }
    }

    /// One look at the operation that is driven.
    fn drive(&mut self) {
        let now = self.now;
        let Some(coordinator) = &mut self.coordinator else { return };
        let number = coordinator.number;
        coordinator.pick_up(now, &self.catalog);
        let pause = self.random.between(20_000, 120_000);
        self.at(pause, Happens::Drive { coordinator: number });
        let Some(mut driver) = self.coordinator.as_mut().and_then(|c| c.driver.take()) else { return };
        let kind = driver.goal.kind;
        if let Some((step, at)) = driver.doing.take() {
            let drained = if matches!(step, Step::Drain { .. }) { driver.drained.take() } else { None };
            let came = match (&step, drained) {
                (Step::Drain { .. }, Some(came)) => Some(came.map_or_else(Came::Failed, |()| Came::Fine)),
                (Step::Drain { .. }, None) if now >= at => Some(Came::Failed("it was not quiet in time".into())),
                (Step::Drain { dbid }, None) if self.lost_connection(side_of(*dbid)) => {
                    Some(Came::Failed("the connection ended".into()))
                }
                _ if now < at => None,
                _ => Some(self.at_host(&step)),
            };
            match came {
                Some(came) => driver.target.did(&step, came),
                None => driver.doing = Some((step, at)),
            }
            self.keep(driver);
            return (0..2).for_each(|side| self.kick(side));
        }
        let facts = self.facts(now - driver.began);
        let before = driver.target.clone();
        let step = driver.target.next(kind, &facts);
        match &step {
            Step::Ended => {
                let done = matches!(driver.target.ended, Some(Ended::Done { .. }));
                if done && self.catalog.row != facts.row {
                    driver.target = before;
                    return self.keep(driver);
                }
                self.end(driver.target.ended.clone(), driver.target.stage);
            }
            Step::Wait(_) => self.keep(driver),
            step => {
                self.say(|| format!("operation: {}", step.words()));
                self.keep(driver);
                self.begin_step(step);
            }
        }
    }

    fn lost_connection(&self, side: usize) -> bool {
        self.coordinator.as_ref().is_none_or(|c| c.controls[side].pid.is_none())
    }

    /// Writes down how far the operation is.
    fn keep(&mut self, mut driver: crate::coordinator::Driver) {
        driver.goal.targets[0] = driver.target.clone();
        self.catalog.write_goal(&driver.goal);
        if let Some(coordinator) = &mut self.coordinator {
            coordinator.driver = Some(driver);
        }
    }

    fn end(&mut self, ended: Option<Ended>, stage: Stage) {
        self.say(|| format!("operation ends: {ended:?}"));
        if let Some(Ended::Refused { why, .. }) = &ended {
            self.last_refusal = Some(format!("{why:?}"));
        } else {
            self.last_refusal = None;
        }
        self.catalog.active = None;
        if matches!(stage, Stage::Stopping | Stage::Starting) {
            self.step_fts(Event::Release);
        }
    }

    fn facts(&self, elapsed: u64) -> Facts {
        let row = self.catalog.row;
        let members = (0..2).map(|side| (dbid(side), self.member(side))).collect::<BTreeMap<_, _>>();
        Facts {
            now_ms: elapsed / 1000,
            op: 1,
            row,
            quarantined: self.catalog.quarantine.clone(),
            members,
            place: None,
            destination: None,
            must_copy_all: self.catalog.must_copy_all,
            serving_copy: self.catalog.serving_copy,
            other_works: false,
            others: Others::Working,
            cancelled: false,
            stop_after_segment: false,
        }
    }

    pub fn member(&self, side: usize) -> MemberFacts {
        let mut facts = MemberFacts::default();
        if let Some(control) = self.coordinator.as_ref().map(|c| &c.controls[side]) {
            let fresh = !control.failing && control.heard.is_some_and(|at| self.now - at <= FRESH);
            facts.report = control.report.clone().filter(|_| fresh);
            facts.lost = control.lost.clone();
        }
        let place = &self.sides[side];
        if !self.silent(side) {
            let of = |dir: Option<usize>| match &place.process {
                Some(p) if Some(p.dir) == dir => Seen::Running(p.pid),
                _ => Seen::Absent,
            };
            (facts.process, facts.sibling) = (of(Some(place.named)), of(place.sibling));
            facts.free_bytes = Some(1 << 40);
        }
        facts
    }

    /// What is done at once, and what takes its time.
    fn begin_step(&mut self, step: &Step) {
        let after = match step {
            Step::Hold => return self.step_fts(Event::Hold(true)),
            Step::Release => {
                self.step_fts(Event::Release);
                return (0..2).for_each(|side| self.kick(side));
            }
            Step::Stop { dbid, mode } => {
                self.tell(side_of(*dbid), None, Ask::Stop(*mode));
                return self.did(step, Came::Fine);
            }
            Step::Change { transition, full_copy, .. } => {
                let before = self.catalog.row;
                let event = self.change(transition, None, *full_copy, None);
                if self.coordinator.is_none() {
                    return;
                }
                let came =
                    if before == transition.before { Came::Changed(self.catalog.row.epoch) } else { Came::Stale };
                self.did(step, came);
                return event.into_iter().for_each(|event| self.step_fts(event));
            }
            Step::Drain { dbid } => {
                self.tell(side_of(*dbid), None, Ask::Drain);
                30_000_000
            }
            _ => self.random.between(2_000, 150_000),
        };
        let at = self.now + after;
        if let Some(driver) = self.coordinator.as_mut().and_then(|c| c.driver.as_mut()) {
            driver.drained = None;
            driver.doing = Some((step.clone(), at));
        }
    }

    fn did(&mut self, step: &Step, came: Came) {
        if let Some(mut driver) = self.coordinator.as_mut().and_then(|c| c.driver.take()) {
            driver.target.did(step, came);
            self.keep(driver);
        }
    }

    /// What a host's agent is asked to do.
    fn at_host(&mut self, step: &Step) -> Came {
        let (Step::Kill { dbid: id, .. }
        | Step::Start { dbid: id, .. }
        | Step::Prepare { dbid: id, .. }
        | Step::Exchange { dbid: id }
        | Step::DropOld { dbid: id }) = step
        else {
            return Came::Fine;
        };
        let side = side_of(*id);
        if self.silent(side) {
            return Came::Failed("its host does not answer".into());
        }
        let is_mirror = self.catalog.row.mirror.is_some_and(|m| m.dbid == *id);
        let names = !(self.catalog.must_copy_all && is_mirror);
        match step {
            Step::Kill { sibling, .. } => {
                let place = &self.sides[side];
                let dir = if *sibling { place.sibling } else { Some(place.named) };
                if place.process.as_ref().is_some_and(|p| Some(p.dir) == dir) {
                    self.died(side, &Death::Exit("killed by an operation".into()));
                }
                Came::Fine
            }
            Step::Start { sibling, .. } => {
                if self.sides[side].process.is_some() {
                    return Came::Stale;
                }
                if *sibling {
                    let named = self.sides[side].named;
                    self.sides[side].dirs[named].meta = None;
                } else if names {
                    self.name_copy(side);
                }
                let place = &self.sides[side];
                match if *sibling { place.sibling } else { Some(place.named) } {
                    Some(dir) => Came::Pid(self.start(side, dir)),
                    None => Came::Failed("there is no such directory".into()),
                }
            }
            Step::Prepare { sibling, .. } => {
                let place = &mut self.sides[side];
                place.dirs[place.named].meta = None;
                place.sibling = sibling.then(|| {
                    place.dirs.push(crate::disk::Disk::default());
                    place.dirs.len() - 1
                });
                Came::Fine
            }
            Step::Exchange { .. } => {
                self.name_copy(side);
                Came::Fine
            }
            Step::DropOld { .. } => {
                self.sides[side].sibling = None;
                Came::Fine
            }
            _ => Came::Fine,
        }
    }

    /// A copy with an identity takes the name of a directory that has none any more.
    fn name_copy(&mut self, side: usize) {
        let place = &mut self.sides[side];
        let Some(sibling) = place.sibling else { return };
        if place.dirs[place.named].meta.is_none() && place.dirs[sibling].meta.is_some() {
            place.sibling = Some(std::mem::replace(&mut place.named, sibling));
        }
    }

    pub fn is_synchronized(&self) -> bool {
        self.catalog.row.pairing() == Some(Pairing::Synchronized)
            && self.catalog.active.is_none()
            && self.coordinator.is_some()
            && (0..2).all(|side| self.member(side).report.is_some_and(|r| r.link.is_some()))
            && CONTENT == self.catalog.row.content
    }
}
