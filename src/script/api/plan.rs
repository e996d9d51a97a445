//! `Plan`: what a change would do. It can be looked at, applied, saved and put in a sequence.

use super::binding::api;
use super::outcome::OutcomeRecord;
use super::refusal::RefusalRecord;
use crate::cluster::{Plan, State, saved, state_after};
use crate::core::row::{PairRow, Role};
use crate::script::catalog::{Damage, Entry, RAISE, STALL, TIMEOUT, WAIT, entry};
use crate::script::context::Context;
use crate::script::json;
use crate::script::record::{Field, Record, fields, register as register_record};
use crate::script::sequence::merged;
use crate::script::thrown::{Thrower, Thrown};
use rhai::{Array, Dynamic, ImmutableString, Map, Module};
use serde_json::Value;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::rc::Rc;

/// What is bound here.
pub(super) const ENTRIES: &[Entry] = &[
    entry!(
        "plan_sequence",
        &[&["plans: array"]],
        "Plan",
        "Several plans as one, each made on the rows that the one before predicts.",
        "let a = plan_recover(); plan_sequence([a, plan_rebalance(#{ after: a })])"
    ),
    entry!("load_plan", &[&["file: string"]], "Plan", "Reads a plan that was saved.", "load_plan(\"f\").apply()"),
    entry!(
        "apply", &[&["plan: Plan"], &["plan: Plan", "options: map"]], "Outcome",
        "Applies a plan; refused when what it depends on has changed.", "plan_recover().apply()",
        method_of: "Plan", options: &[WAIT, TIMEOUT, STALL, RAISE], changes: true,
        damage: Damage::AsItsCalls
    ),
    entry!(
        "save", &[&["plan: Plan", "file: string"]], "()", "Writes a plan to a file.",
        "plan_recover().save(\"f\")", method_of: "Plan"
    ),
];

pub(super) fn bind_all(module: &mut Module, context: &Rc<Context>) {
    api!(module, context, "plan_sequence", 0, |_c, plans: Array| { sequence(&plans) });
    api!(module, context, "load_plan", 0, |_c, file: ImmutableString| load(&file));
    api!(module, context, "plan.apply", 0, |c, p: &mut PlanRecord| { super::change::apply(c, p, &Dynamic::UNIT) });
    api!(module, context, "plan.apply", 1, |c, p: &mut PlanRecord, o: Dynamic| { super::change::apply(c, p, &o) });
    api!(module, context, "plan.save", 0, |_c, p: &mut PlanRecord, file: ImmutableString| { save(p, &file) });
}

/// One plan, or several in their order.
#[derive(Clone, PartialEq)]
pub struct PlanRecord {
    pub plans: Rc<Vec<Plan>>,
    /// The state as it would be when all are done; `None` for a plan read from a file.
    pub after: Option<Rc<State>>,
}

impl PlanRecord {
    /// A plan just made on `state`.
    pub fn new(plan: Plan, state: &State) -> PlanRecord {
        let after = Some(Rc::new(state_after(state, &plan)));
        PlanRecord { plans: Rc::new(vec![plan]), after }
    }

    /// The whole as one plan, to show.
    pub fn shown(&self) -> Plan {
        merged(&self.plans)
    }

    pub fn json(&self) -> Value {
        match self.plans.as_slice() {
            [one] => json::plan_json(one),
            many => {
                let mut whole = json::plan_json(&self.shown());
                let parts = many.iter().map(json::plan_json).collect();
                if let Value::Object(entries) = &mut whole {
                    entries.insert("sequence".into(), Value::Array(parts));
                }
                whole
            }
        }
    }

    fn steps(&self) -> Array {
        let steps = self.plans.iter().flat_map(|p| p.steps.iter().map(move |s| (p, s)));
        steps.map(|(p, s)| json::to_dynamic(&json::step_json(p, s))).collect()
    }

    fn after_rows(&self) -> Array {
        self.shown().after.iter().flat_map(pair_maps).collect()
    }
}

/// The predicted rows of a pair, one map a member.
fn pair_maps(row: &PairRow) -> Vec<Dynamic> {
    let mut maps = Vec::new();
    let members = [Some((Role::Primary, row.primary)), row.mirror.map(|m| (Role::Mirror, m))];
    for (role, member) in members.into_iter().flatten() {
        let mut map = Map::new();
        map.insert("content".into(), row.content.0.into());
        map.insert("dbid".into(), member.dbid.0.into());
        map.insert("role".into(), Dynamic::from(role));
        map.insert("mode".into(), Dynamic::from(member.mode));
        map.insert("status".into(), Dynamic::from(member.status));
        maps.push(map.into());
    }
    maps
}

fn refusals(record: &PlanRecord) -> Array {
    let all = record.plans.iter().flat_map(|p| p.refusals.iter());
    all.map(|r| Dynamic::from(RefusalRecord(r.clone()))).collect()
}

impl Record for PlanRecord {
    const NAME: &'static str = "Plan";
    fn fields() -> Vec<Field<Self>> {
        fields! {
            id: "string", "four digits that name it" => |p| ImmutableString::from(p.shown().id);
            state_id: "string", "the fingerprint of the state it was made from" => |p| ImmutableString::from(p.shown().state_id);
            verb: "string", "the call it is of" => |p| p.plans.iter().map(Plan::verb).collect::<Vec<_>>().join(", ");
            made_ms: "int", "when it was made, Unix milliseconds" => |p| p.shown().made_ms;
            steps: "[map]", "what would be done" => |p| p.steps();
            joined: "[map]", "what is under way and would be waited for" => |p| json::to_dynamic(&json::plan_json(&p.shown())["joined"]);
            refusals: "[Refusal]", "what is refused, and why" => |p| refusals(p);
            refuses: "bool", "whether the whole call is refused" => |p| p.plans.iter().any(|p| p.refuses);
            is_empty: "bool", "whether there is nothing to do" => |p| p.plans.iter().all(Plan::is_empty);
            after: "[map]", "the rows it predicts" => |p| p.after_rows();
            notes: "[string]", "worth knowing before saying yes" => |p| p.shown().notes.into_iter().map(Dynamic::from).collect::<Array>();
            predicted: "string", "how applying it would end" => |p| ImmutableString::from(p.shown().predicted().word());
        }
    }
    fn text(&self, context: &Context) -> String {
        let texts: Vec<String> = self.plans.iter().map(|p| context.renderer.plan(p)).collect();
        texts.join("\n")
    }
    fn json(&self) -> Value {
        PlanRecord::json(self)
    }
}

/// `plan_sequence([a, b])`.
pub(super) fn sequence(parts: &Array) -> Thrower {
    let mut plans = Vec::new();
    let mut after = None;
    for part in parts {
        let record = part.clone().try_cast::<PlanRecord>().ok_or_else(|| {
            let message = format!("plan_sequence() takes plans, not {}", part.type_name());
            Thrown::script("type_mismatch", message)
        })?;
        plans.extend(record.plans.iter().cloned());
        after = record.after;
    }
    Ok(Dynamic::from(PlanRecord { plans: Rc::new(plans), after }))
}

/// `plan.save(file)`.
pub(super) fn save(record: &PlanRecord, file: &str) -> Thrower {
    let failed = |e: String| Thrown::script("io", format!("{file}: {e}"));
    let text = saved::encode(&record.plans).map_err(|e| failed(e.to_string()))?;
    std::fs::write(Path::new(file), text).map_err(|e| failed(e.to_string()))?;
    Ok(Dynamic::UNIT)
}

/// `load_plan(file)`.
pub(super) fn load(file: &str) -> Thrower {
    let failed = |e: String| Thrown::script("io", format!("{file}: {e}"));
    let mut text = String::new();
    let opened = File::open(file).map_err(|e| failed(e.to_string()))?;
    opened.take(saved::BYTES_MAX).read_to_string(&mut text).map_err(|e| failed(e.to_string()))?;
    let plans = saved::decode(&text).map_err(|e| failed(e.to_string()))?;
    Ok(Dynamic::from(PlanRecord { plans: Rc::new(plans), after: None }))
}

/// What applying several plans gives: the last outcome, with what all of them did.
pub(super) fn joined_outcome(outcomes: Vec<OutcomeRecord>) -> Option<OutcomeRecord> {
    let mut outcomes = outcomes.into_iter();
    let mut whole = (*outcomes.next()?.0).clone();
    for next in outcomes {
        whole.verb = format!("{}, {}", whole.verb, next.0.verb);
        whole.status = next.0.status;
        whole.op = next.0.op.or(whole.op);
        whole.segments.extend(next.0.segments.iter().cloned());
        whole.refusals.extend(next.0.refusals.iter().cloned());
        whole.elapsed_ms += next.0.elapsed_ms;
        whole.message = next.0.message.clone();
        whole.next = next.0.next.clone();
    }
    Some(OutcomeRecord::new(whole))
}

pub(super) fn register(module: &mut Module, context: &Rc<Context>) {
    register_record::<PlanRecord>(module, context);
}
