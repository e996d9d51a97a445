//! Every segment that a call was asked about has a line in its outcome: also one that gets no step, because it is refused,
//! left out, or as it should be.

use super::outcome::{OutcomeStatus, SegmentOutcome};
use super::plan::{Intent, Plan, StepKind};
use super::state::{Segment, State};
use crate::core::ids::Content;
use crate::core::row::Role;

/// What a segment's line says for which nothing had to be done.
pub const NOTHING_TO_DO: &str = "nothing to do";

/// The lines of those segments that the plan has no step for. `state` is the one the plan was made from.
pub fn without_step(state: &State, plan: &Plan) -> Vec<SegmentOutcome> {
    let mut lines: Vec<SegmentOutcome> = Vec::new();
    for refusal in &plan.refusals {
        // A refusal names who is to blame, which may be the other member; the line is of the one that was meant.
        let by_dbid = || state.segment(refusal.dbid?).map(|s| s.row.content);
        let Some(segment) = refusal.content.or_else(by_dbid).and_then(|content| meant(state, &plan.intent, content))
        else {
            continue;
        };
        let why = format!("{}: {}", refusal.code.code(), refusal.cause);
        match lines.iter_mut().find(|line| line.dbid == segment.row.dbid) {
            Some(line) => line.note = format!("{}; {why}", line.note),
            None => lines.push(line(state, segment, OutcomeStatus::Refused, "", why)),
        }
    }
    for segment in named(state, plan) {
        let content = segment.row.content;
        let has_step =
            plan.steps.iter().any(|s| s.content == content) || plan.joined.iter().any(|j| j.content == content);
        if (has_step && !plan.refuses) || lines.iter().any(|line| line.content == content) {
            continue;
        }
        lines.push(match plan.refuses {
            true => line(state, segment, OutcomeStatus::Refused, "", "the whole call is refused".into()),
            false => line(state, segment, OutcomeStatus::Done, NOTHING_TO_DO, String::new()),
        });
    }
    lines
}

/// The lines of the plan's own steps, as a dry run tells them.
pub fn as_planned(state: &State, plan: &Plan) -> Vec<SegmentOutcome> {
    let steps = plan.steps.iter().filter_map(|step| {
        let how = match step.kind {
            StepKind::Incremental => "incremental",
            StepKind::Full | StepKind::Move => "full",
            StepKind::Switch => "switched",
            StepKind::Restart => "restarted",
            StepKind::Compare => "verified",
            StepKind::Force => "forced",
            StepKind::Write => "backed up",
            StepKind::Replace => "restored",
        };
        Some(line(state, state.segment(step.dbid)?, OutcomeStatus::Planned, how, String::new()))
    });
    let joined = plan.joined.iter().filter_map(|joined| {
        Some(line(state, state.segment(joined.dbid)?, OutcomeStatus::Planned, "waited for", String::new()))
    });
    steps.chain(joined).chain(without_step(state, plan)).collect()
}

/// The segments that the call is about one by one. A host or the whole cluster is asked for what needs it.
fn named<'a>(state: &'a State, plan: &Plan) -> Vec<&'a Segment> {
    let selection = plan.intent.selection();
    let by_dbid = selection.dbids.iter().filter_map(|dbid| state.segment(*dbid));
    let by_content = selection.contents.iter().filter_map(|content| meant(state, &plan.intent, *content));
    // A plan that is refused as a whole, by a hook or because it is stale, still has its steps.
    let by_step = plan.steps.iter().filter(|_| plan.refuses).filter_map(|step| state.segment(step.dbid));
    by_step.chain(by_dbid).chain(by_content).collect()
}

/// The segment of a content that a call is about: the one that it names, else the usual one.
fn meant<'a>(state: &'a State, intent: &Intent, content: Content) -> Option<&'a Segment> {
    let named = intent.selection().dbids.iter().filter_map(|dbid| state.segment(*dbid));
    if let Some(segment) = named.into_iter().find(|s| s.row.content == content) {
        return Some(segment);
    }
    let primary = || state.acting(content, Role::Primary);
    match intent {
        Intent::Restart { .. } => primary(),
        _ => state.acting(content, Role::Mirror).or_else(primary),
    }
}

fn line(state: &State, segment: &Segment, status: OutcomeStatus, how: &str, note: String) -> SegmentOutcome {
    let pair = state.content(segment.row.content).map(|c| c.health.word().to_string()).unwrap_or_default();
    SegmentOutcome { pair, note, ..SegmentOutcome::of(&segment.row, status, how) }
}
