//! What the catalog will say when a plan is done, so that the next one can be planned on it.

use super::plan::{Plan, PlanStep, StepKind};
use super::state::{PairHealth, State};
use crate::core::ids::Epoch;
use crate::core::row::{Member, Mode, PairRow, Pairing, Role, Status};
use crate::core::transition::{Event, apply};

/// The row that a step leaves behind.
pub(super) fn predicted_row(row: &PairRow, step: &PlanStep) -> PairRow {
    match step.kind {
        StepKind::Incremental | StepKind::Full | StepKind::Move => {
            PairRow { epoch: row.epoch.next(), ..synchronized(row) }
        }
        StepKind::Switch => switched(row),
        StepKind::Restart => restarted(row),
        // Equal copies are what is expected.
        StepKind::Compare | StepKind::Write => *row,
        StepKind::Force => forced(row, step),
        StepKind::Replace => replaced(row),
    }
}

/// The same members, in sync.
pub(super) fn synchronized(row: &PairRow) -> PairRow {
    let in_sync = |m: Member| Member { mode: Mode::Synchronized, status: Status::Up, ..m };
    PairRow { primary: in_sync(row.primary), mirror: row.mirror.map(in_sync), ..*row }
}

/// The members exchange roles: one epoch for the promotion, one for the recovery at once.
fn switched(row: &PairRow) -> PairRow {
    let in_sync = synchronized(row);
    match in_sync.mirror {
        Some(mirror) => PairRow { epoch: two_on(row.epoch), primary: mirror, mirror: Some(in_sync.primary), ..*row },
        None => in_sync,
    }
}

/// A synchronized pair is recovered at once after its primary's restart; any other keeps a single copy.
fn restarted(row: &PairRow) -> PairRow {
    match row.pairing() {
        Some(Pairing::Synchronized) => PairRow { epoch: two_on(row.epoch), ..*row },
        Some(Pairing::Resynchronizing) => PairRow {
            epoch: row.epoch.next(),
            primary: Member { mode: Mode::ChangeTracking, ..row.primary },
            mirror: row.mirror.map(|m| Member { status: Status::Down, ..m }),
            ..*row
        },
        _ => PairRow { epoch: row.epoch.next(), ..*row },
    }
}

/// One epoch for the override, one for the process that is granted the content.
fn forced(row: &PairRow, step: &PlanStep) -> PairRow {
    let accepts = row.primary.dbid == step.dbid;
    let event = if accepts { Event::OverrideAccepts } else { Event::OverridePromotes };
    let after = apply(row, event).map_or(*row, |t| t.after);
    PairRow { epoch: after.epoch.next(), ..after }
}

/// One epoch for the restore, one for the process that is granted the content, one for its mirror's copy.
fn replaced(row: &PairRow) -> PairRow {
    let alone = two_on(row.epoch);
    PairRow { epoch: if row.mirror.is_some() { alone.next() } else { alone }, ..synchronized(row) }
}

fn two_on(epoch: Epoch) -> Epoch {
    epoch.next().next()
}

/// The state as it would be once the plan is done: what `plan_sequence` plans its next step on.
pub fn state_after(state: &State, plan: &Plan) -> State {
    let mut next = state.clone();
    for row in &plan.after {
        apply_row(&mut next, row, plan.steps.iter().find(|s| s.content == row.content));
    }
    next
}

fn apply_row(state: &mut State, row: &PairRow, step: Option<&PlanStep>) {
    let restarted = step.is_some_and(|s| s.kind == StepKind::Restart);
    for segment in state.segments.iter_mut().filter(|s| s.row.content == row.content) {
        let Some(role) = row.role_of(segment.row.dbid) else {
            continue;
        };
        if let Some(to) = step.filter(|s| s.dbid == segment.row.dbid).and_then(|s| s.to.as_ref()) {
            segment.row = segment.row.at(to);
        }
        let member = match (role, row.mirror) {
            (Role::Mirror, Some(mirror)) => mirror,
            _ => row.primary,
        };
        segment.row.role = role;
        segment.row.mode = member.mode;
        segment.row.status = member.status;
        if member.status == Status::Up {
            segment.alive.alive = true;
            segment.alive.cause.clear();
            segment.down_since_ms = None;
        }
    }
    if let Some(detail) = state.contents.iter_mut().find(|c| c.content == row.content) {
        detail.epoch = row.epoch;
        detail.health = State::health_of(Some(row), true, false);
        detail.operation = None;
        detail.progress = None;
        if !restarted || detail.health == PairHealth::Synchronized {
            detail.to_copy_blocks = Some(0);
            detail.incremental_impossible = None;
            detail.single_copy_since_ms = None;
        }
    }
}
