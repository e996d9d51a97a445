//! Several plans shown and confirmed as one.

use crate::cluster::Plan;

/// One plan that shows the steps of all, for a question that is asked once. It is only shown and
/// confirmed; what is applied are the plans themselves.
pub fn merged(plans: &[Plan]) -> Plan {
    let mut all = plans.first().cloned().unwrap_or_else(nothing);
    for plan in plans.iter().skip(1) {
        all.notes.push(format!("then {} (plan {})", plan.verb(), plan.id));
        all.steps.extend(plan.steps.iter().cloned());
        all.joined.extend(plan.joined.iter().cloned());
        all.refusals.extend(plan.refusals.iter().cloned());
        all.refuses |= plan.refuses;
        all.notes.extend(plan.notes.iter().cloned());
        for place in &plan.places {
            if all.place(place.dbid).is_none() {
                all.places.push(place.clone());
            }
        }
        for row in &plan.after {
            all.after.retain(|r| r.content != row.content);
            all.after.push(*row);
        }
    }
    all.after.sort_by_key(|r| r.content);
    all
}

/// The plan of an empty sequence: a recovery of nothing.
fn nothing() -> Plan {
    use crate::cluster::{Intent, Selection};
    Plan {
        id: "0000".into(),
        state_id: "0000".into(),
        cluster_id: String::new(),
        made_ms: 0,
        intent: Intent::Recover { selection: Selection::default(), rate_bytes: None, jobs: None },
        steps: Vec::new(),
        joined: Vec::new(),
        refusals: Vec::new(),
        refuses: false,
        epochs: Vec::new(),
        after: Vec::new(),
        notes: Vec::new(),
        places: Vec::new(),
    }
}
