//! The one document of `--json`, and the events of `--ndjson`.

use crate::cluster::{ContentProgress, Outcome};
use crate::script::{ScriptError, Thrown};
use serde_json::{Value, json};
use std::time::{SystemTime, UNIX_EPOCH};

/// Raised when a field changes its meaning; new fields do not raise it.
pub const SCHEMA: i64 = 1;

/// `{schema, kind, value, printed, ops}`: keys are never missing.
pub fn envelope(kind: &str, value: Value, printed: Vec<String>, ops: &[Outcome]) -> Value {
    json!({
        "schema": SCHEMA,
        "kind": kind,
        "value": value,
        "printed": printed,
        "ops": ops.iter().map(op).collect::<Vec<_>>(),
    })
}

/// The document of a failure that is no script's: every key of a script's error is there, and empty.
pub fn failure(thrown: Thrown) -> Value {
    envelope("error", ScriptError::outside(thrown).to_json(), Vec::new(), &[])
}

/// `{schema, event, time_ms, …}`: one line of `--ndjson`. `time_ms` is Unix time in milliseconds.
pub fn event(name: &str, fields: Value) -> Value {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let time_ms = i64::try_from(now.as_millis()).unwrap_or(i64::MAX);
    let mut whole = json!({ "schema": SCHEMA, "event": name, "time_ms": time_ms });
    if let (Value::Object(whole), Value::Object(fields)) = (&mut whole, fields) {
        whole.extend(fields);
    }
    whole
}

/// The fields of a `progress` event: what an operation does to one content now.
pub fn progress(op: i64, content: &ContentProgress) -> Value {
    let copy = content.progress.as_ref();
    json!({
        "op": op, "content": content.content, "dbid": content.dbid, "doing": content.doing,
        "finished": content.finished, "stage": copy.map(|p| p.stage),
        "copied_blocks": copy.map(|p| p.copied_blocks), "total_blocks": copy.map(|p| p.total_blocks),
    })
}

fn op(outcome: &Outcome) -> Value {
    json!({
        "op": outcome.op,
        "verb": outcome.verb,
        "status": outcome.status.word(),
        "elapsed_ms": outcome.elapsed_ms,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shell::render::samples::done_outcome;

    #[test]
    fn a_failure_outside_of_a_script_has_every_key_of_one_inside() {
        let document = failure(Thrown::with_exit("usage", 2, "no such flag").next("segsh --help"));
        let value = &document["value"];
        for key in ["code", "exit", "message", "refusals", "next", "position", "call_stack", "changed_before"] {
            assert!(value.get(key).is_some(), "{key}: {document:#}");
        }
        assert_eq!((value["code"].as_str(), value["exit"].as_i64()), (Some("usage"), Some(2)));
    }

    #[test]
    fn an_event_begins_with_schema_name_and_time() {
        let line = event("print", json!({ "text": "x" }));
        let keys: Vec<&String> = line.as_object().into_iter().flat_map(|o| o.keys()).collect();
        assert_eq!(keys, ["schema", "event", "time_ms", "text"]);
    }

    #[test]
    fn a_document_has_all_its_keys_in_their_order() {
        let document = envelope("outcome", Value::Null, vec!["x".into()], &[done_outcome()]);
        assert_eq!(
            document.to_string(),
            r#"{"schema":1,"kind":"outcome","value":null,"printed":["x"],"ops":[{"op":118,"verb":"recover","status":"done","elapsed_ms":1900}]}"#
        );
    }
}
