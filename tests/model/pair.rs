//! The model: which actions there are in a state, and how effects are carried out.

use crate::action::{Action, Dies};
use crate::disk::Disk;
use crate::properties;
use crate::world::{Bounds, Job, Process, SyncStage, What, World, order};
use segsh::core::pair::obey::Obedience;
use segsh::core::pair::replica::{Effect, Permit, Replica, Time};
use segsh::core::report::Phase;
use segsh::core::row::{PairRow, Pairing};
use stateright::{Model, Property};
use std::sync::atomic::{AtomicBool, Ordering};

/// Nothing has a duration here: a lease that a former primary holds is over once its mirror serves.
const LEASES_ARE_OVER: Time = Time::MAX;

/// What is done wrong, in the world around the production machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dropped {
    /// R1: an order is sent before its row is durable.
    OrderBeforeRow,
    /// R1: an order of a lower epoch is taken for a new one.
    LowerEpochObeyed,
    /// R2: a commit is acknowledged once it is synced here.
    AcknowledgedOnLocalSync,
    /// R2: a round of group commit acknowledges what was written after its barrier.
    AcknowledgedBeyondBarrier,
    /// R2: a primary in `s` that loses its mirror grants itself tracking.
    SelfGrantedTracking,
    /// R2: one that has claimed, and whose row still says `r`, does.
    AloneAfterClaim,
    /// R3: a link of any epoch is accepted.
    EpochOfLinkUnchecked,
    /// R3: the frames of a closed link are applied as before.
    ClosedLinkApplied,
    /// R3: SQLite is opened before the appliers are joined.
    ServesBeforeJoin,
    /// R4: a mirror is promoted while the row says `r`.
    PromotedWhileCopying,
    /// R4: a mirror that is not ready is promoted.
    PromotedUnready,
    /// R5: a process that starts goes on as what it was.
    RestartKeepsRole,
    /// R6: a link that lost its connection goes on over another.
    LinkResumed,
    /// R7: a process is started beside one that lives.
    TwoProcesses,
    /// R7: a demoted primary closes SQLite and goes on as a nobody.
    DemotedWithoutExit,
    /// The union is not durable when the link carries data, and the log may restart.
    UnionNotDurable,
}

/// The model of one pair.
pub struct Pair {
    pub bounds: Bounds,
    pub dropped: Option<Dropped>,
    pub start: World,
    /// The property a counterexample is looked for.
    pub search: Option<Search>,
}

/// A search for the shortest counterexample: only the first one is taken up.
pub struct Search {
    pub fails: &'static str,
    pub found: AtomicBool,
}

/// How effects were carried out.
pub enum Outcome {
    /// These remain for the caller.
    Done(Vec<Effect>),
    /// The power failed between two of them.
    Died,
    /// There were not so many effects.
    TooFew,
}

impl Pair {
    pub fn drops(&self, rule: Dropped) -> bool {
        self.dropped == Some(rule)
    }

    /// As `Engine::transact`: the replica is changed as a copy, which takes its place once everything
    /// durable is done.
    pub fn transact<E>(
        &self,
        w: &mut World,
        (node, pid): (usize, u8),
        dies: Dies,
        event: impl FnOnce(&mut Replica, &Disk) -> Result<Vec<Effect>, E>,
    ) -> Result<Outcome, E> {
        let Some(process) = w.nodes[node].by_pid(pid) else { return Ok(Outcome::TooFew) };
        let mut after = process.replica.clone();
        let effects = event(&mut after, &w.nodes[node].disk)?;
        let outcome = self.carry_out(w, node, effects, dies);
        if let (Outcome::Done(_), Some(process)) = (&outcome, w.process_mut(node, pid)) {
            process.replica = after;
        }
        Ok(outcome)
    }

    /// As `Engine::carry_out`: what is for the disk, in its order; the rest is returned.
    pub fn carry_out(&self, w: &mut World, node: usize, effects: Vec<Effect>, dies: Dies) -> Outcome {
        let (on_disk, rest): (Vec<Effect>, Vec<Effect>) = effects.into_iter().partition(|effect| {
            use Effect::{SaveMap, SaveMeta, SetLen, Sync, Write};
            matches!(effect, SaveMap(_) | SaveMeta(_) | SetLen { .. } | Sync(_) | Write { .. })
        });
        if dies.is_some_and(|after| after >= on_disk.len()) {
            return Outcome::TooFew;
        }
        let mut epoch_fell = false;
        let disk = &mut w.node_mut(node).disk;
        for effect in on_disk.into_iter().take(dies.unwrap_or(usize::MAX)) {
            match effect {
                Effect::SaveMeta(meta) => {
                    epoch_fell |= meta.epoch < disk.meta.epoch;
                    disk.meta = *meta;
                }
                Effect::SaveMap(map) => disk.map = Some(map),
                Effect::Write { file, offset, bytes } => disk.write(file, offset, &bytes),
                Effect::Sync(file) => disk.sync(file),
                _ => {}
            }
        }
        w.epoch_fell |= epoch_fell;
        if dies.is_some() {
            self.lose_power(w, node);
            return Outcome::Died;
        }
        Outcome::Done(rest)
    }

    pub fn lose_power(&self, w: &mut World, node: usize) {
        w.happened.crashes += 1;
        let node = w.node_mut(node);
        node.processes.clear();
        node.disk.lose_power();
    }

    fn segment_actions(&self, w: &World, node: usize, process: &Process, actions: &mut Vec<Action>) {
        let pid = process.pid;
        let passes = process.replica.may_write(LEASES_ARE_OVER) == Ok(Permit::Granted);
        let content = &w.nodes[node].disk;
        // The next writer does not wait for the former's barrier.
        let commits = matches!(process.job, Job::Idle | Job::Syncing { what: What::Commits(_), .. });
        let is_free = passes && process.joining.is_none();
        if commits && is_free && w.happened.commits < self.bounds.commits {
            actions.push(Action::Log { node, pid });
        }
        match process.job {
            Job::Idle if passes && process.noted > 0 => actions.push(Action::BeginSync { node, pid }),
            Job::Idle if is_free => {
                let logged = (0..crate::disk::BLOCKS).any(|block| content.now.logged(block));
                let is_due = logged && !process.backfilled && content.now.log == content.durable.log;
                if is_due && w.happened.checkpoints < self.bounds.checkpoints {
                    actions.push(Action::BeginCheckpoint { node, pid });
                }
            }
            Job::Backfilling(left) if passes && left.contains(&true) => actions.push(Action::Backfill { node, pid }),
            Job::Backfilling(_) if passes => actions.push(Action::BeginSync { node, pid }),
            Job::Syncing { stage: SyncStage::Begun, .. } => actions.push(Action::SyncHere { node, pid }),
            Job::Syncing { stage: SyncStage::MapDue, .. } => actions.push(Action::SaveMap { node, pid }),
            Job::Syncing { stage: SyncStage::Here, .. } => actions.push(Action::EndSync { node, pid }),
            Job::Idle | Job::Backfilling(_) => {}
        }
        if process.dialing.is_some() {
            actions.push(Action::Dial { node, pid });
        }
        let deaths = self.deaths(w, 1);
        if process.joining.is_some() {
            deaths.clone().for_each(|dies| actions.push(Action::Join { node, pid, dies }));
        } else {
            for order in 0..process.orders.len() {
                deaths.clone().for_each(|dies| actions.push(Action::Obey { node, pid, order, dies }));
            }
        }
    }

    fn may_crash(&self, w: &World) -> bool {
        w.happened.crashes < self.bounds.crashes
    }

    /// No death, and each between two of so many effects and one more.
    fn deaths(&self, w: &World, between: usize) -> impl Iterator<Item = Dies> + Clone + use<> {
        let count = if self.may_crash(w) { between } else { 0 };
        std::iter::once(None).chain((1..=count).map(Some))
    }

    fn link_actions(&self, w: &World, actions: &mut Vec<Action>) {
        for (link, connection) in w.links.iter().enumerate() {
            let marks = matches!(connection.to_mirror.front(), Some(segsh::core::frame::Frame::Consistent { .. }));
            if !connection.to_mirror.is_empty() {
                self.deaths(w, if marks { 3 } else { 0 }).for_each(|dies| actions.push(Action::Apply { link, dies }));
            }
            if !connection.to_primary.is_empty() {
                actions.push(Action::Hear { link });
            }
            if !connection.preparing && !connection.primary_done {
                actions.push(Action::Send { link });
                self.deaths(w, 1).for_each(|dies| actions.push(Action::Work { link, dies }));
            }
            actions.push(Action::PrimarySeesEnd { link });
            actions.push(Action::MirrorSeesEnd { link });
            let is_whole = !connection.cut && !connection.primary_done && !connection.mirror_done;
            if is_whole && w.happened.cuts < self.bounds.cuts {
                let resumes = self.drops(Dropped::LinkResumed);
                actions.push(if resumes { Action::Flap { link } } else { Action::Cut { link } });
            }
        }
    }

    fn coordinator_actions(&self, w: &World, actions: &mut Vec<Action>) {
        if w.decided.is_some() {
            actions.push(Action::WriteRow);
        } else {
            actions.extend([Action::JudgeAnswers, Action::JudgePrimaryFailing]);
        }
        if w.row.pairing() == Some(Pairing::ChangeTracking) {
            actions.push(Action::BeginRecovery);
        }
        actions.extend([0, 1].map(|node| Action::SendOrder { node }));
        let forgets = w.decided.is_some() || w.granted.is_some();
        if forgets && w.happened.restarts < self.bounds.restarts {
            actions.push(Action::RestartCoordinator);
        }
    }

    fn process_actions(&self, w: &World, node: usize, actions: &mut Vec<Action>) {
        let is_mirror = w.primary() != node;
        let Some(process) = w.nodes[node].process() else {
            actions.push(Action::Start { node });
            let restores = w.happened.restores < self.bounds.restores && w.row.pairing() == Some(Pairing::Synchronized);
            if restores && is_mirror {
                actions.push(Action::Restore { node });
            }
            return;
        };
        if self.may_crash(w) {
            actions.extend([Action::Kill { node }, Action::LosePower { node }]);
        }
        if is_mirror && !process.is_nobody() && w.row.pairing() == Some(Pairing::ChangeTracking) {
            actions.push(Action::Replace { node });
        }
    }

    /// Whether a row is within the bounds.
    pub fn is_within(&self, row: &PairRow) -> bool {
        row.epoch.0 <= self.start.row.epoch.0 + self.bounds.epochs
    }

    /// Whether an order means anything to a process now.
    pub fn heeds(process: &Process, node: usize, row: PairRow) -> bool {
        process.replica.todo(&order(row, node)) != Obedience::Nothing
    }

    /// Runs what needs no client and no fault, until the row says so; for worlds to start from.
    pub fn run_until(&self, mut w: World, reached: impl Fn(&World) -> bool) -> World {
        for _ in 0..1000 {
            if reached(&w) {
                return w;
            }
            let mut actions = Vec::new();
            self.actions(&w, &mut actions);
            let next = actions.into_iter().find_map(|action| self.next_state(&w, action).filter(|next| *next != w));
            w = next.expect("something can always go on until then");
        }
        panic!("not reached: {w:#?}");
    }
}

impl Model for Pair {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        vec![self.start.clone()]
    }

    fn actions(&self, w: &World, actions: &mut Vec<Action>) {
        for node in [0, 1] {
            for process in &w.nodes[node].processes {
                self.segment_actions(w, node, process, actions);
            }
        }
        self.link_actions(w, actions);
        self.coordinator_actions(w, actions);
        [0, 1].into_iter().for_each(|node| self.process_actions(w, node, actions));
    }

    fn next_state(&self, before: &World, action: Action) -> Option<World> {
        let mut w = before.clone();
        let happened = match action {
            Action::Log { node, pid } => self.log(&mut w, node, pid),
            Action::BeginCheckpoint { node, pid } => self.begin_checkpoint(&mut w, node, pid),
            Action::Backfill { node, pid } => self.backfill(&mut w, node, pid),
            Action::BeginSync { node, pid } => self.begin_sync(&mut w, node, pid),
            Action::SyncHere { node, pid } => self.sync_here(&mut w, node, pid),
            Action::SaveMap { node, pid } => self.save_map(&mut w, node, pid),
            Action::EndSync { node, pid } => self.end_sync(&mut w, node, pid),
            Action::Dial { node, pid } => self.dial(&mut w, node, pid),
            Action::Send { link } => self.send(&mut w, link),
            Action::Apply { link, dies } => self.apply(&mut w, link, dies),
            Action::Hear { link } => self.hear(&mut w, link),
            Action::Work { link, dies } => self.work(&mut w, link, dies),
            Action::PrimarySeesEnd { link } => self.primary_sees_end(&mut w, link),
            Action::MirrorSeesEnd { link } => self.mirror_sees_end(&mut w, link),
            Action::Cut { link } => self.cut(&mut w, link),
            Action::Flap { link } => self.flap(&mut w, link),
            Action::JudgeAnswers => self.judge_answers(&mut w),
            Action::JudgePrimaryFailing => self.judge_primary_failing(&mut w),
            Action::WriteRow => self.write_row(&mut w),
            Action::BeginRecovery => self.begin_recovery(&mut w),
            Action::SendOrder { node } => self.send_order(&mut w, node),
            Action::Obey { node, pid, order, dies } => self.obey(&mut w, node, pid, order, dies),
            Action::Join { node, pid, dies } => self.join(&mut w, node, pid, dies),
            Action::RestartCoordinator => self.restart_coordinator(&mut w),
            Action::Kill { node } => self.kill(&mut w, node),
            Action::LosePower { node } => {
                self.lose_power(&mut w, node);
                true
            }
            Action::Start { node } => self.start(&mut w, node),
            Action::Replace { node } => self.replace(&mut w, node),
            Action::Restore { node } => self.restore(&mut w, node),
        };
        self.close_what_is_over(&mut w);
        happened.then_some(w)
    }

    /// States come here in the order in which they are explored later.
    fn within_boundary(&self, w: &World) -> bool {
        let Some(search) = &self.search else { return true };
        let holds = (self.property(search.fails).condition)(self, w);
        holds || !search.found.swap(true, Ordering::Relaxed)
    }

    fn properties(&self) -> Vec<Property<Pair>> {
        properties::all()
    }
}

/// Whether a phase is that of a primary which acknowledges without its mirror.
pub fn is_alone(phase: Phase) -> bool {
    matches!(phase, Phase::Tracking | Phase::Resynchronizing | Phase::Mirrorless)
}
