//! What sets two plans apart: steps, rows that are predicted, and what is refused.

use super::plan::{Intent, Plan, PlanStep};
use crate::core::ids::{Content, Dbid};
use crate::core::row::PairRow;
use crate::core::transition::letters;
use serde::Serialize;

/// The difference of two plans, each of one part or of several in their order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct PlanDiff {
    /// What only the first would do or be refused.
    pub only_here: Vec<Item>,
    /// What only the second would.
    pub only_there: Vec<Item>,
    /// What both would do, and not alike.
    pub changed: Vec<Changed>,
}

/// Something that a plan has and the other has not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Item {
    pub content: Option<Content>,
    pub dbid: Option<Dbid>,
    /// In words: `recover, incremental`, `refused: segment_down`.
    pub what: String,
}

/// Something that both have, with two values.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Changed {
    /// The content; none for the options of a whole call.
    pub content: Option<Content>,
    /// The segment, for a step; none for the rows of a pair.
    pub dbid: Option<Dbid>,
    /// `options`, `source`, `copy_blocks` or `after`.
    pub field: &'static str,
    pub here: String,
    pub there: String,
}

impl PlanDiff {
    /// Both would do the same. What was only estimated is compared by the blocks that it stands for.
    pub fn is_empty(&self) -> bool {
        *self == PlanDiff::default()
    }
}

/// Compares `here` with `there`.
pub fn diff(here: &[Plan], there: &[Plan]) -> PlanDiff {
    let (items_here, items_there) = (items(here), items(there));
    let without = |these: &[Item], others: &[Item]| -> Vec<Item> {
        these.iter().filter(|item| !others.contains(item)).cloned().collect()
    };
    PlanDiff {
        only_here: without(&items_here, &items_there),
        only_there: without(&items_there, &items_here),
        changed: [changed_options(here, there), changed_steps(here, there), changed_rows(here, there)].concat(),
    }
}

fn items(plans: &[Plan]) -> Vec<Item> {
    let steps = plans.iter().flat_map(|plan| {
        plan.steps.iter().map(|step| Item {
            content: Some(step.content),
            dbid: Some(step.dbid),
            what: format!("{}, {}", plan.verb(), word(step)),
        })
    });
    let joined = plans.iter().flat_map(|plan| {
        plan.joined.iter().map(|j| Item {
            content: Some(j.content),
            dbid: Some(j.dbid),
            what: format!("{}, waits for what runs", plan.verb()),
        })
    });
    let refusals = plans.iter().flat_map(|plan| {
        plan.refusals.iter().map(|r| Item {
            content: r.content,
            dbid: r.dbid,
            what: format!("{} refused: {}", plan.verb(), r.code.code()),
        })
    });
    steps.chain(joined).chain(refusals).collect()
}

fn word(step: &PlanStep) -> &'static str {
    use super::plan::StepKind::*;
    match step.kind {
        Incremental => "incremental",
        Full => "full copy",
        Move => "full copy to another place",
        Switch => "switch",
        Restart => "restart",
        Compare => "comparison",
        Force => "override",
        Write => "backup",
        Replace => "restore",
    }
}

/// How the calls themselves were asked for, part by part where both are of one verb.
fn changed_options(here: &[Plan], there: &[Plan]) -> Vec<Changed> {
    let pairs = here.iter().zip(there).filter(|(a, b)| a.verb() == b.verb());
    pairs
        .map(|(a, b)| (options(&a.intent), options(&b.intent)))
        .filter(|(here, there)| here != there)
        .map(|(here, there)| Changed { content: None, dbid: None, field: "options", here, there })
        .collect()
}

/// What an intent asks beside its selection: that shows in the steps.
fn options(intent: &Intent) -> String {
    let number = |name: &str, n: Option<i64>| n.map(|n| format!("{name} {n}"));
    let (rate, jobs, more) = match intent {
        Intent::Restore { dir, rate_bytes, jobs, .. } => (*rate_bytes, *jobs, Some(format!("from {dir}"))),
        Intent::Backup { dir, rate_bytes, jobs, .. } => (*rate_bytes, *jobs, Some(format!("to {dir}"))),
        Intent::Recover { rate_bytes, jobs, .. }
        | Intent::Move { rate_bytes, jobs, .. }
        | Intent::Verify { rate_bytes, jobs, .. } => (*rate_bytes, *jobs, None),
        Intent::FullRecover { rate_bytes, jobs, in_place, .. } => {
            (*rate_bytes, *jobs, in_place.then(|| "in place".to_string()))
        }
        Intent::Restart { mode, .. } => (None, None, Some(format!("mode {}", mode.word()))),
        Intent::Rebalance { .. } | Intent::ForcePrimary { .. } => (None, None, None),
    };
    let all: Vec<String> = [number("rate_bytes", rate), number("jobs", jobs), more].into_iter().flatten().collect();
    if all.is_empty() { "none".into() } else { all.join(", ") }
}

fn changed_steps(here: &[Plan], there: &[Plan]) -> Vec<Changed> {
    let others: Vec<&PlanStep> = there.iter().flat_map(|p| &p.steps).collect();
    let same = |a: &PlanStep, b: &PlanStep| (a.content, a.dbid, a.kind) == (b.content, b.dbid, b.kind);
    let mut changed = Vec::new();
    for step in here.iter().flat_map(|p| &p.steps) {
        let Some(other) = others.iter().find(|o| same(step, o)) else { continue };
        let mut note = |field, here: String, there: String| {
            if here != there {
                changed.push(Changed { content: Some(step.content), dbid: Some(step.dbid), field, here, there });
            }
        };
        note("source", format!("dbid {}", step.source), format!("dbid {}", other.source));
        note("copy_blocks", blocks(step), blocks(other));
        note("to", to(step), to(other));
    }
    changed
}

fn to(step: &PlanStep) -> String {
    step.to.as_ref().map_or("where it is".into(), ToString::to_string)
}

fn blocks(step: &PlanStep) -> String {
    step.copy_blocks.map_or("not known".into(), |n| n.to_string())
}

/// The last row that is predicted of a content counts: later parts are planned on earlier ones.
fn after(plans: &[Plan], content: Content) -> Option<&PairRow> {
    plans.iter().rev().find_map(|p| p.after.iter().find(|r| r.content == content))
}

fn changed_rows(here: &[Plan], there: &[Plan]) -> Vec<Changed> {
    let mut contents: Vec<Content> = here.iter().chain(there).flat_map(|p| &p.after).map(|r| r.content).collect();
    contents.sort();
    contents.dedup();
    let shown = |row: Option<&PairRow>| row.map_or("as it is".to_string(), pair);
    let row = |content: Content| {
        let (a, b) = (after(here, content), after(there, content));
        let (here, there) = (shown(a), shown(b));
        (here != there).then_some(Changed { content: Some(content), dbid: None, field: "after", here, there })
    };
    contents.into_iter().filter_map(row).collect()
}

/// The letters of a pair, and who is the primary. The epoch is left out: it rises with every change.
fn pair(row: &PairRow) -> String {
    format!("{}, primary dbid {}", letters(row), row.primary.dbid)
}
