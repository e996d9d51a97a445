//! Beginning an operation: the plan is checked against what stands now, like ones are joined.

use super::{Operations, Shared, backup, restore};
use crate::cluster::request::{Owner, Reply};
use crate::cluster::{Intent, Plan, Refusal, RefusalCode};
use crate::coordinator::clock::unix_ms;
use crate::coordinator::store::{Begun, Operation, StoreError};
use crate::core::ids::{Content, CopyId, Dbid};
use crate::core::operation::{Goal, GoalKind, Stage, Target};
use crate::core::report::Phase;
use crate::core::row::Place;
use ring::rand::SecureRandom;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

/// What came of asking for an operation.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    Begun { op: i64, joined: bool },
    Refused(Vec<Refusal>),
    Locked { op: i64, owner: Owner, message: String },
    NothingToDo,
}

impl From<Answer> for Reply {
    fn from(answer: Answer) -> Reply {
        match answer {
            Answer::Begun { op, joined } => Reply::Begun { op, joined, owner: None },
            Answer::Refused(refusals) => Reply::Refused { refusals },
            Answer::Locked { op, owner, message } => Reply::Locked { op, owner, message },
            Answer::NothingToDo => Reply::Failed {
                message: "the plan has no steps: there is nothing to do".into(),
                next: "state()".into(),
            },
        }
    }
}

impl Operations {
    /// Makes a plan's operation durable and begins it.
    pub fn begin(&self, plan: &Plan, owner: &Owner) -> Result<Answer, StoreError> {
        if plan.refuses {
            return Ok(Answer::Refused(plan.refusals.clone()));
        }
        if let Some(refusal) = self.stopping() {
            return Ok(Answer::Refused(vec![refusal]));
        }
        // Of the plans only a move depends on which hosts there are, and none of the others shall wait for it.
        let moves = plan.steps.iter().any(|step| step.to.is_some());
        let _settling = moves.then(|| self.shared.settling.lock().unwrap_or_else(PoisonError::into_inner));
        let (kind, jobs) = kind_of(&plan.intent);
        let steps = plan.steps.iter().map(|s| Target::new(s.content, s.dbid).moved(s.to.clone()));
        let joined = plan.joined.iter().map(|j| Target::joined(j.content, j.dbid));
        let targets: Vec<Target> = steps.chain(joined).collect();
        // Who works on a content is told before what changed there: the one is why of the other. And
        // what is joined is followed from where it stands, whatever the plan was made on.
        let active = self.shared.store.active()?;
        let mut joining = Vec::new();
        for target in &targets {
            match holder(&active, target.content) {
                Some(other) if !is_like(kind, target, other) => return Ok(self.locked(other, target.content)),
                Some(_) => joining.push(target.content),
                None => {}
            }
        }
        if let Some(refusal) = self.shared.stale(plan, &joining) {
            return Ok(Answer::Refused(vec![refusal]));
        }
        if let GoalKind::Recover { .. } = kind
            && let Some(refusal) = self.shared.in_maintenance(plan, &joining)
        {
            return Ok(Answer::Refused(vec![refusal]));
        }
        let in_the_way = self.shared.in_the_way(plan, &joining, &active);
        if !in_the_way.is_empty() {
            return Ok(Answer::Refused(in_the_way));
        }
        if let Intent::Backup { dir, .. } = &plan.intent
            && let Some(refusal) = backup::refused(dir, bytes_of(plan))
        {
            return Ok(Answer::Refused(vec![refusal]));
        }
        if let Intent::Restore { dir, .. } = &plan.intent
            && let Some(refusal) = restore::refused(&self.shared, dir)
        {
            return Ok(Answer::Refused(vec![refusal]));
        }
        self.begin_goal(kind, targets, &How { jobs, dir: dir_of(&plan.intent) }, owner)
    }

    /// Nothing is begun while the cluster is being stopped, however long its sessions take to leave.
    fn stopping(&self) -> Option<Refusal> {
        self.shared.stopping.load(Ordering::SeqCst).then(|| Refusal {
            code: RefusalCode::Stopping,
            content: None,
            dbid: None,
            host: None,
            cause: "a stop is under way, and ends when the last session has left".into(),
            next: "segsh stop --mode fast".into(),
        })
    }

    /// Starts what should run, and recovers what was synchronized.
    pub fn begin_start(&self, owner: &Owner) -> Result<Answer, StoreError> {
        if let Some(refusal) = self.stopping() {
            return Ok(Answer::Refused(vec![refusal]));
        }
        let contents = self.shared.store.contents()?;
        let target = |c: &crate::coordinator::store::ContentRow| {
            // A content without a pair is quarantined; its target says so.
            let any = self.shared.places.members(c.content).first().copied();
            c.pair.as_ref().ok().map(|p| p.primary.dbid).or(any).map(|dbid| Target::new(c.content, dbid))
        };
        let targets = contents.iter().filter_map(target).collect();
        self.begin_goal(GoalKind::Start, targets, &How::default(), owner)
    }

    /// Whether the content's acting primary answers now.
    fn serves(&self, content: Content) -> bool {
        self.shared.board.read(|k| {
            let primary = k.row(content).and_then(|row| k.answer(row.primary.dbid));
            primary.is_some_and(|r| r.phase != Phase::Nobody)
        })
    }

    fn begin_goal(
        &self,
        kind: GoalKind,
        mut targets: Vec<Target>,
        how: &How,
        owner: &Owner,
    ) -> Result<Answer, StoreError> {
        let wanted = targets.clone();
        let active = self.shared.store.active()?;
        // One that nobody drives would hold its contents for ever.
        for left in active.iter().filter(|op| !self.shared.live().contains_key(&op.id)) {
            self.pick_up(left.id);
        }
        for target in targets.iter_mut().filter(|t| !t.joined) {
            if let Some(holder) = holder(&active, target.content) {
                if !is_like(kind, target, holder) {
                    return Ok(self.locked(holder, target.content));
                }
                target.joined = true;
                target.revives =
                    kind == GoalKind::Start && starts_nothing(holder, target.content) && !self.serves(target.content);
            }
        }
        if targets.is_empty() {
            return Ok(Answer::NothingToDo);
        }
        let all_joined = targets.iter().all(|t| t.joined);
        let one = holder(&active, targets[0].content)
            .filter(|op| all_joined && targets.iter().all(|t| op.goal.holds(t.content) && !t.revives));
        if let Some(op) = one {
            return Ok(Answer::Begun { op: op.id, joined: true });
        }
        let mut goal = Goal::new(kind, targets);
        let default = self.shared.store.setting_number("segsh_recovery_jobs")?;
        let default = default.and_then(|n| usize::try_from(n).ok());
        goal.dir.clone_from(&how.dir);
        if let GoalKind::Restore { .. } = kind {
            goal.targets.iter_mut().for_each(|target| target.copy = new_copy());
        }
        goal.jobs = how.jobs.or(default).unwrap_or(goal.jobs);
        match self.shared.store.begin(&goal, owner, unix_ms())? {
            Begun::New(id) => {
                self.pick_up(id);
                Ok(Answer::Begun { op: id, joined: false })
            }
            // Begun by another client since the operations were looked at: then it is joined.
            Begun::Held(op)
                if goal.targets.iter().filter(|t| op.goal.holds(t.content)).all(|t| is_like(kind, t, &op)) =>
            {
                self.begin_goal(kind, wanted, how, owner)
            }
            Begun::Held(op) => {
                let content = goal.targets.iter().map(|t| t.content).find(|c| op.goal.holds(*c));
                Ok(self.locked(&op, content.unwrap_or(Content(0))))
            }
        }
    }
}

impl Shared {
    /// A host that was put into maintenance since the plan was made.
    fn in_maintenance(&self, plan: &Plan, joining: &[Content]) -> Option<Refusal> {
        let maintained = self.board.read(crate::coordinator::board::Knowledge::maintained);
        plan.steps.iter().filter(|step| !joining.contains(&step.content)).find_map(|step| {
            let host = step.to.as_ref().map_or_else(|| self.places.host_of(step.dbid), |to| to.hostname.clone());
            let found = maintained.iter().find(|m| m.host == host)?;
            Some(found.refusal(unix_ms(), step.content, step.dbid))
        })
    }

    /// Places of the plan that have been given to somebody else since it was made, or are on no host that
    /// is known.
    fn in_the_way(&self, plan: &Plan, joining: &[Content], active: &[Operation]) -> Vec<Refusal> {
        let goals = active.iter().flat_map(|op| op.goal.targets.iter().filter(|t| t.ended.is_none()));
        let promised = goals.filter_map(|t| Some((t.dbid, t.to.clone()?)));
        let held = self.places.rows().into_iter().map(|row| (row.dbid, row.place()));
        let others: Vec<(Dbid, Place)> = held.chain(promised).collect();
        let moved = plan.steps.iter().filter(|step| !joining.contains(&step.content));
        let mut found = Vec::new();
        for (step, to) in moved.filter_map(|step| Some((step, step.to.as_ref()?))) {
            let refusal = |code, cause: String| Refusal {
                code,
                content: Some(step.content),
                dbid: Some(step.dbid),
                host: Some(to.hostname.clone()),
                cause,
                next: "make the plan again".into(),
            };
            let known = self.places.host_places();
            if !known.iter().any(|host| (&host.name, &host.address) == (&to.hostname, &to.address)) {
                let cause = format!("there is no host {} at {}", to.hostname, to.address);
                found.push(refusal(RefusalCode::UnknownTarget, cause));
                continue;
            }
            let clash = others.iter().filter(|(dbid, _)| *dbid != step.dbid).find_map(|(dbid, place)| {
                let (code, what) = clash(to, place)?;
                Some(refusal(code, format!("{what} on {} is dbid {dbid}'s", to.hostname)))
            });
            found.extend(clash);
        }
        found
    }

    /// Why a plan no longer fits; contents that are being worked on in the same way are not looked at.
    fn stale(&self, plan: &Plan, joining: &[Content]) -> Option<Refusal> {
        let refusal = |code, content, cause: String| Refusal {
            code,
            content,
            dbid: None,
            host: None,
            cause,
            next: "make the plan again".into(),
        };
        if plan.cluster_id != self.site.cluster_id {
            let cause = format!("the plan was made for cluster {}", plan.cluster_id);
            return Some(refusal(RefusalCode::OtherCluster, None, cause));
        }
        plan.epochs.iter().filter(|(content, _)| !joining.contains(content)).find_map(|(content, epoch)| {
            let now = self.store.content(*content).ok().and_then(|c| c.pair.ok()).map(|row| row.epoch);
            (now != Some(*epoch)).then(|| {
                let now = now.map_or("no pair".into(), |e| format!("epoch {e}"));
                let cause = format!("content {content} was planned on epoch {epoch} and is at {now}");
                refusal(RefusalCode::StalePlan, Some(*content), cause)
            })
        })
    }
}

/// What a goal is made with, beside its kind and its targets.
#[derive(Debug, Default)]
struct How {
    jobs: Option<usize>,
    dir: String,
}

/// What a segment has for itself at its place.
fn clash(one: &Place, other: &Place) -> Option<(RefusalCode, String)> {
    if one.hostname == other.hostname && one.datadir == other.datadir {
        return Some((RefusalCode::DirTaken, one.datadir.clone()));
    }
    let ports = [other.port, other.replication_port];
    let port = [one.port, one.replication_port].into_iter().find(|port| ports.contains(port));
    port.filter(|_| one.address == other.address).map(|port| (RefusalCode::PortTaken, format!("port {port}")))
}

fn holder(active: &[Operation], content: Content) -> Option<&Operation> {
    active.iter().find(|op| op.goal.holds(content))
}

/// Whether waiting for the operation that holds the target's content gives what is asked for.
fn is_like(wanted: GoalKind, target: &Target, holder: &Operation) -> bool {
    use GoalKind::{Backup, Rebalance, Recover, Restart, Restore, Start, Verify};
    let running = holder.goal.targets.iter().find(|t| t.content == target.content && t.ended.is_none());
    match (wanted, holder.goal.kind) {
        (Recover { full, .. }, Recover { full: other, .. }) => {
            // A copy to another place is another copy; one that is joined is followed to wherever it goes.
            full == other && (target.joined || running.is_some_and(|r| r.to == target.to))
        }
        (Recover { full: false, .. }, Start) => true,
        (
            Start,
            Start | Recover { .. } | Rebalance | Restart { .. } | Verify { .. } | Backup { .. } | Restore { .. },
        ) => true,
        (Rebalance, Rebalance) | (Restart { .. }, Restart { .. }) | (Verify { .. }, Verify { .. }) => true,
        _ => false,
    }
}

/// Whether an operation counts on processes that it would not start itself.
fn starts_nothing(holder: &Operation, content: Content) -> bool {
    let stage = holder.goal.targets.iter().find(|t| t.content == content).map(|t| t.stage);
    match holder.goal.kind {
        GoalKind::Recover { .. } | GoalKind::Rebalance | GoalKind::Verify { .. } | GoalKind::Backup { .. } => true,
        GoalKind::Restart { .. } | GoalKind::Start | GoalKind::Restore { .. } => stage == Some(Stage::Recovering),
        GoalKind::ForcePrimary => false,
    }
}

fn kind_of(intent: &Intent) -> (GoalKind, Option<usize>) {
    let rate = |rate: &Option<i64>| rate.and_then(|n| u64::try_from(n).ok());
    let count = |jobs: &Option<i64>| jobs.and_then(|n| usize::try_from(n).ok());
    match intent {
        Intent::Recover { rate_bytes, jobs, .. } => {
            (GoalKind::Recover { full: false, in_place: false, rate_bytes: rate(rate_bytes) }, count(jobs))
        }
        Intent::Move { rate_bytes, jobs, .. } => {
            (GoalKind::Recover { full: true, in_place: true, rate_bytes: rate(rate_bytes) }, count(jobs))
        }
        Intent::FullRecover { rate_bytes, jobs, in_place, .. } => {
            (GoalKind::Recover { full: true, in_place: *in_place, rate_bytes: rate(rate_bytes) }, count(jobs))
        }
        Intent::Rebalance { .. } => (GoalKind::Rebalance, None),
        Intent::Restart { mode, .. } => (GoalKind::Restart { mode: *mode }, None),
        Intent::Verify { rate_bytes, jobs, .. } => (GoalKind::Verify { rate_bytes: rate(rate_bytes) }, count(jobs)),
        Intent::ForcePrimary { .. } => (GoalKind::ForcePrimary, None),
        Intent::Backup { rate_bytes, jobs, .. } => (GoalKind::Backup { rate_bytes: rate(rate_bytes) }, count(jobs)),
        Intent::Restore { rate_bytes, jobs, .. } => (GoalKind::Restore { rate_bytes: rate(rate_bytes) }, count(jobs)),
    }
}

/// The identity of a copy that will be made; without one there is nothing to restore to.
fn new_copy() -> Option<CopyId> {
    let mut bytes = [0; 16];
    ring::rand::SystemRandom::new().fill(&mut bytes).ok()?;
    Some(CopyId(u128::from_le_bytes(bytes)))
}

fn dir_of(intent: &Intent) -> String {
    match intent {
        Intent::Backup { dir, .. } | Intent::Restore { dir, .. } => dir.clone(),
        _ => String::new(),
    }
}

/// What a plan counts on being written.
fn bytes_of(plan: &Plan) -> u64 {
    plan.steps.iter().filter_map(|s| s.total_bytes).filter_map(|n| u64::try_from(n).ok()).sum()
}
