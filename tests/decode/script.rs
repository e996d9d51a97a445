//! JSON on its way into a script and out of it.

use crate::harness::{ITERATIONS, mutate};
use crate::samples;
use segsh::script::json::{outcome_json, plan_json, state_json, to_dynamic, value_json};
use serde_json::Value;

#[test]
fn a_json_value_that_went_through_a_script_comes_back() {
    let documents = [state_json(&samples::state()), plan_json(&samples::a_plan()), outcome_json(&samples::outcome())];
    let texts: Vec<Vec<u8>> = documents.iter().map(|d| d.to_string().into_bytes()).collect();
    mutate(ITERATIONS / 4, |mutation| {
        let bytes = mutation.of(&texts, |_| ());
        let Ok(value) = serde_json::from_slice::<Value>(&bytes) else { return };
        let once = value_json(&to_dynamic(&value));
        assert_eq!(value_json(&to_dynamic(&once)), once);
    });
    for document in &documents {
        let back = value_json(&to_dynamic(document));
        // A script's map has its keys in order; the values are the same.
        assert_eq!(sorted(&back), sorted(document));
    }
}

fn sorted(value: &Value) -> String {
    let mut value = value.clone();
    value.sort_all_objects();
    value.to_string()
}
