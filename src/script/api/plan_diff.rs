//! `plan.diff(other)`: what sets two plans apart, or a plan and what it would be now.

use super::binding::api;
use super::plan::PlanRecord;
use super::state::StateRecord;
use crate::cluster::{Changed, Item, Plan, PlanDiff, State, diff, plan, state_after};
use crate::script::catalog::{Entry, entry};
use crate::script::context::{Context, now_ms};
use crate::script::json;
use crate::script::record::{Field, Record, fields, register as register_record};
use crate::script::thrown::{Thrower, Thrown};
use rhai::{Array, Dynamic, ImmutableString, Module};
use serde::Serialize;
use serde_json::Value;
use std::rc::Rc;

/// What is bound here.
pub(super) const ENTRIES: &[Entry] = &[entry!(
    "diff", &[&["plan: Plan", "other: any"]], "PlanDiff",
    "What sets this plan apart from another one; from a state: from what it would be, made on that state.",
    "load_plan(\"f\").diff(state())", method_of: "Plan"
)];

pub(super) fn bind_all(module: &mut Module, context: &Rc<Context>) {
    api!(module, context, "plan.diff", 0, |_c, p: &mut PlanRecord, other: Dynamic| compare(p, &other));
}

/// The difference of two plans, and what they are called.
#[derive(Clone, PartialEq)]
pub struct PlanDiffRecord {
    pub here: String,
    pub there: String,
    pub diff: Rc<PlanDiff>,
}

fn compare(here: &PlanRecord, other: &Dynamic) -> Thrower {
    let (there, name) = if let Some(other) = other.read_lock::<PlanRecord>() {
        (other.plans.to_vec(), format!("plan {}", other.shown().id))
    } else if let Some(state) = other.read_lock::<StateRecord>() {
        (made_on(&here.plans, &state.0), "what it would be now".to_string())
    } else {
        let message = format!("plan.diff() takes a plan or a state, not {}", other.type_name());
        return Err(Thrown::script("type_mismatch", message).next("p.diff(state())"));
    };
    let diff = Rc::new(diff(&here.plans, &there));
    Ok(Dynamic::from(PlanDiffRecord { here: format!("plan {}", here.shown().id), there: name, diff }))
}

/// The same calls planned on another state, each on what the one before would leave.
fn made_on(plans: &[Plan], state: &State) -> Vec<Plan> {
    let mut state = state.clone();
    let mut made = Vec::new();
    for shown in plans {
        // A plan of nothing was asked for with an empty selection, which an intent can't say.
        let nothing = shown.is_empty() && shown.refusals.is_empty();
        let now = if nothing { shown.clone() } else { plan(&state, &shown.intent, now_ms()) };
        state = state_after(&state, &now);
        made.push(now);
    }
    made
}

fn maps<T: Serialize>(items: &[T]) -> Array {
    items.iter().map(|item| json::to_dynamic(&serde_json::to_value(item).unwrap_or_default())).collect()
}

fn about(content: Option<crate::core::ids::Content>, dbid: Option<crate::core::ids::Dbid>) -> String {
    let content = content.map(|c| format!("content {c}"));
    let dbid = dbid.map(|d| format!("dbid {d}"));
    let both: Vec<String> = [content, dbid].into_iter().flatten().collect();
    if both.is_empty() { "the call".into() } else { both.join("  ") }
}

fn item_line(item: &Item) -> String {
    format!(" {}  {}\n", about(item.content, item.dbid), item.what)
}

fn changed_lines(changed: &Changed) -> String {
    let lead = format!(" {}  {}: ", about(changed.content, changed.dbid), changed.field);
    format!("{lead}{}\n{}{}\n", changed.here, " ".repeat(lead.chars().count()), changed.there)
}

impl Record for PlanDiffRecord {
    const NAME: &'static str = "PlanDiff";
    fn fields() -> Vec<Field<Self>> {
        fields! {
            here: "string", "the plan that was asked" => |d| ImmutableString::from(&d.here);
            there: "string", "what it was compared with" => |d| ImmutableString::from(&d.there);
            same: "bool", "whether both would do the same" => |d| d.diff.is_empty();
            only_here: "[map]", "steps and refusals that only the first has" => |d| maps(&d.diff.only_here);
            only_there: "[map]", "steps and refusals that only the second has" => |d| maps(&d.diff.only_there);
            changed: "[map]", "what both have, and not alike: options, sources, blocks, predicted rows" => |d| maps(&d.diff.changed);
        }
    }
    fn text(&self, _context: &Context) -> String {
        if self.diff.is_empty() {
            return format!("{} and {} would do the same\n", self.here, self.there);
        }
        let mut text = String::new();
        for (name, items) in [(&self.here, &self.diff.only_here), (&self.there, &self.diff.only_there)] {
            if !items.is_empty() {
                text.push_str(&format!("only {name}:\n"));
                text.extend(items.iter().map(item_line));
            }
        }
        if !self.diff.changed.is_empty() {
            text.push_str(&format!("not alike, first {}, then {}:\n", self.here, self.there));
            text.extend(self.diff.changed.iter().map(changed_lines));
        }
        text
    }
    fn json(&self) -> Value {
        let mut value = serde_json::to_value(&*self.diff).unwrap_or_default();
        value["here"] = self.here.as_str().into();
        value["there"] = self.there.as_str().into();
        value["same"] = self.diff.is_empty().into();
        value
    }
}

/// Registers the record.
pub(super) fn register(module: &mut Module, context: &Rc<Context>) {
    register_record::<PlanDiffRecord>(module, context);
}
