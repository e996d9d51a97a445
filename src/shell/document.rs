//! The one document of `--json`.

use crate::cluster::Outcome;
use serde_json::{Value, json};

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
    fn a_document_has_all_its_keys_in_their_order() {
        let document = envelope("outcome", Value::Null, vec!["x".into()], &[done_outcome()]);
        assert_eq!(
            document.to_string(),
            r#"{"schema":1,"kind":"outcome","value":null,"printed":["x"],"ops":[{"op":118,"verb":"recover","status":"done","elapsed_ms":1900}]}"#
        );
    }
}
