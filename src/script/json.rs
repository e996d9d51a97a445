//! The one place where cluster values become JSON.
//!
//! Letters stand under the plain keys and words under `*_name`; keys are never missing, so a reader
//! needs no schema to ask for one.

use super::api;
use crate::cluster::{
    ContentState, Evidence, HostState, MaintenanceInfo, Outcome, PingResult, Plan, PlanStep, Recovery, Refusal, Rows,
    Segment, SegmentOutcome, State, Value as SqlValue, Warning,
};
use crate::core::row::{PairRow, SegmentRow};
use rhai::Dynamic;
use serde_json::{Map, Value, json};

/// The version of every document below.
pub const SCHEMA: i64 = 1;

/// `state().to_json()` and `status --json`.
pub fn state_json(state: &State) -> Value {
    let c = &state.coordinator;
    let dbids = |segments: Vec<&Segment>| -> Vec<i64> { segments.iter().map(|s| s.row.dbid.0).collect() };
    json!({
        "schema": SCHEMA,
        "cluster": state.cluster,
        "cluster_id": state.cluster_id,
        "drill": state.drill,
        "operational": state.operational(),
        "coordinator": {
            "host": c.host, "port": c.port, "socket_dir": c.socket_dir, "pid": c.pid, "restricted": c.restricted,
        },
        "hosts": state.hosts.iter().map(host_json).collect::<Vec<_>>(),
        "segments": state.segments.iter().map(segment_json).collect::<Vec<_>>(),
        "contents": state.contents.iter().map(|c| content_json(state, c)).collect::<Vec<_>>(),
        "down": dbids(state.down()),
        "single_copy": state.single_copy().iter().map(|c| c.0).collect::<Vec<_>>(),
        "double_fault": state.double_fault().iter().map(|c| c.0).collect::<Vec<_>>(),
        "lost": state.lost().iter().map(|c| c.0).collect::<Vec<_>>(),
        "unbalanced": dbids(state.unbalanced()),
        "rows": state.rows().map(row_json).collect::<Vec<_>>(),
        "recoveries": state.recoveries.iter().map(recovery_json).collect::<Vec<_>>(),
        "warnings": state.warnings.iter().map(warning_json).collect::<Vec<_>>(),
        "maintenance": state.maintenance.iter().map(maintenance_json).collect::<Vec<_>>(),
        "left_behind": state.left_behind,
        "age_ms": state.age_ms,
        "time_ms": state.time_ms,
        "fts_paused_until_ms": state.fts_paused_until_ms,
        "production": state.production,
    })
}

/// One recovery under way.
pub fn recovery_json(recovery: &Recovery) -> Value {
    // A plain struct of numbers and texts.
    serde_json::to_value(recovery).unwrap_or_default()
}

/// A host to which nothing is recovered for a while.
pub fn maintenance_json(maintenance: &MaintenanceInfo) -> Value {
    serde_json::to_value(maintenance).unwrap_or_default()
}

/// One thing to look at.
pub fn warning_json(warning: &Warning) -> Value {
    serde_json::to_value(warning).unwrap_or_default()
}

/// One host, by its agent.
pub fn host_json(host: &HostState) -> Value {
    json!({
        "host": host.host, "address": host.address, "alive": host.alive, "pid": host.pid,
        "cause": host.cause, "roots": host.roots,
    })
}

/// A row of the catalog.
pub fn row_json(row: &SegmentRow) -> Value {
    json!({
        "dbid": row.dbid, "content": row.content,
        "role": row.role.letter(), "role_name": row.role.word(),
        "preferred_role": row.preferred_role.letter(),
        "preferred_role_name": row.preferred_role.word(),
        "mode": row.mode.letter(), "mode_name": row.mode.word(),
        "status": row.status.letter(), "status_name": row.status.word(),
        "host": row.hostname, "address": row.address, "port": row.port,
        "replication_port": row.replication_port, "datadir": row.datadir,
    })
}

/// A segment: its row, and what the last probe found of its process.
pub fn segment_json(segment: &Segment) -> Value {
    let mut value = row_json(&segment.row);
    let more = json!({
        "alive": segment.alive.alive, "pid": segment.alive.pid, "cause": segment.alive.cause,
        "age_ms": segment.alive.age_ms, "down": segment.is_down(),
        "preferred": segment.is_preferred(), "free_bytes": segment.free_bytes,
        "data_bytes": segment.data_bytes, "down_since_ms": segment.down_since_ms,
        "damaged_pages": segment.damaged_pages, "release": segment.release,
    });
    if let (Value::Object(value), Value::Object(more)) = (&mut value, more) {
        value.extend(more);
    }
    value
}

/// A content beyond its rows.
pub fn content_json(state: &State, c: &ContentState) -> Value {
    let dbid = |role| state.acting(c.content, role).map(|s| s.row.dbid);
    json!({
        "content": c.content, "epoch": c.epoch, "health": c.health.word(),
        "primary": dbid(crate::core::row::Role::Primary),
        "mirror": dbid(crate::core::row::Role::Mirror),
        "to_copy_blocks": c.to_copy_blocks,
        "incremental_impossible": c.incremental_impossible,
        "source_damaged": c.source_damaged,
        "progress": c.progress, "full_copy": c.full_copy, "copy_rate_bytes": c.copy_rate_bytes, "operation": c.operation,
        "single_copy_since_ms": c.single_copy_since_ms,
        "last_event": c.last_event, "quarantine": c.quarantine,
    })
}

/// A plan.
pub fn plan_json(plan: &Plan) -> Value {
    json!({
        "schema": SCHEMA,
        "id": plan.id, "state_id": plan.state_id, "cluster_id": plan.cluster_id,
        "made_ms": plan.made_ms, "verb": plan.verb(), "intent": plan.intent,
        "steps": plan.steps.iter().map(|s| step_json(plan, s)).collect::<Vec<_>>(),
        "joined": plan.joined, "refusals": plan.refusals.iter().map(refusal_json).collect::<Vec<_>>(),
        "refuses": plan.refuses, "epochs": plan.epochs,
        "after": plan.after.iter().map(pair_json).collect::<Vec<_>>(),
        "notes": plan.notes, "places": plan.places, "predicted": plan.predicted().word(),
    })
}

/// One step of a plan.
pub fn step_json(plan: &Plan, step: &PlanStep) -> Value {
    let place = plan.place(step.dbid);
    json!({
        "content": step.content, "kind": step.kind, "dbid": step.dbid, "source": step.source,
        "host": place.map(|p| p.host.as_str()), "port": place.map(|p| p.port),
        "datadir": place.map(|p| p.datadir.as_str()), "to": step.to,
        "copy_blocks": step.copy_blocks, "total_bytes": step.total_bytes,
        "about_ms": step.about_ms, "about_basis": step.about_basis.map(|b| b.word()),
        "about_rate_bytes": step.about_rate_bytes, "cancels_sessions": step.cancels_sessions,
    })
}

/// The changing part of a pair's rows.
pub fn pair_json(row: &PairRow) -> Value {
    let member = |m: &crate::core::row::Member| {
        json!({
            "dbid": m.dbid, "mode": m.mode.letter(), "mode_name": m.mode.word(),
            "status": m.status.letter(), "status_name": m.status.word(),
        })
    };
    json!({
        "content": row.content, "epoch": row.epoch, "primary": member(&row.primary),
        "mirror": row.mirror.as_ref().map(member),
    })
}

/// How a call ended.
pub fn outcome_json(outcome: &Outcome) -> Value {
    json!({
        "schema": SCHEMA,
        "verb": outcome.verb, "status": outcome.status.word(), "exit": outcome.status.exit(),
        "op": outcome.op,
        "segments": outcome.segments.iter().map(segment_outcome_json).collect::<Vec<_>>(),
        "refusals": outcome.refusals.iter().map(refusal_json).collect::<Vec<_>>(),
        "elapsed_ms": outcome.elapsed_ms, "message": outcome.message, "next": outcome.next,
        // A dry run's; the script's record fills it in.
        "plan": null,
    })
}

/// One segment's part in an outcome.
pub fn segment_outcome_json(s: &SegmentOutcome) -> Value {
    json!({
        "content": s.content, "dbid": s.dbid, "host": s.host, "status": s.status.word(),
        "how": s.how, "copied_blocks": s.copied_blocks, "copied_bytes": s.copied_bytes,
        "verified_bytes": s.verified_bytes, "differing_blocks": s.differing_blocks,
        "paused_us": s.paused_us, "pair": s.pair, "note": s.note,
    })
}

/// One refusal.
pub fn refusal_json(r: &Refusal) -> Value {
    json!({
        "code": r.code.code(), "content": r.content, "dbid": r.dbid, "host": r.host,
        "cause": r.cause, "next": r.next,
    })
}

/// Rows of a statement: columns, and each row as a list.
pub fn rows_json(rows: &Rows) -> Value {
    let row = |r: &Vec<SqlValue>| Value::Array(r.iter().map(sql_json).collect());
    json!({
        "columns": rows.columns, "rows": rows.rows.iter().map(row).collect::<Vec<_>>(),
        "affected": rows.affected,
    })
}

/// One SQL value; a blob is its bytes in hexadecimal behind `\x`, as PostgreSQL prints it.
pub fn sql_json(value: &SqlValue) -> Value {
    match value {
        SqlValue::Null => Value::Null,
        SqlValue::Bool(b) => json!(b),
        SqlValue::Int(n) => json!(n),
        SqlValue::Float(f) => json!(f),
        SqlValue::Text(t) => json!(t),
        SqlValue::Blob(b) => json!(hex(b)),
    }
}

/// What `ping` found.
pub fn ping_json(p: &PingResult) -> Value {
    json!({
        "host": p.host, "address": p.address, "ok": p.ok, "rtt_us": p.rtt_us, "cause": p.cause,
        "message": p.message,
    })
}

/// What FTS saw of a content, and what it decided from it.
pub fn evidence_json(e: &Evidence) -> Value {
    json!({ "content": e.content, "now": e.now, "seen": e.seen, "decisions": e.decisions })
}

/// Any value of a script. What has no JSON of its own is given as its text.
pub fn value_json(value: &Dynamic) -> Value {
    if let Some(record) = api::record_json(value) {
        return record;
    }
    if value.is_unit() {
        Value::Null
    } else if let Ok(b) = value.as_bool() {
        json!(b)
    } else if let Ok(n) = value.as_int() {
        json!(n)
    } else if let Ok(f) = value.as_float() {
        json!(f)
    } else if let Some(array) = value.read_lock::<rhai::Array>() {
        Value::Array(array.iter().map(value_json).collect())
    } else if let Some(map) = value.read_lock::<rhai::Map>() {
        let entries = map.iter().map(|(k, v)| (k.to_string(), value_json(v)));
        Value::Object(entries.collect::<Map<_, _>>())
    } else if let Some(blob) = value.read_lock::<rhai::Blob>() {
        json!(hex(&blob))
    } else {
        json!(value.to_string())
    }
}

/// A JSON value as a script value.
pub fn to_dynamic(value: &Value) -> Dynamic {
    match value {
        Value::Null => Dynamic::UNIT,
        Value::Bool(b) => (*b).into(),
        Value::Number(n) => match n.as_i64() {
            Some(n) => n.into(),
            None => n.as_f64().unwrap_or(f64::NAN).into(),
        },
        Value::String(s) => s.clone().into(),
        Value::Array(items) => items.iter().map(to_dynamic).collect::<Vec<_>>().into(),
        Value::Object(entries) => {
            let map: rhai::Map = entries.iter().map(|(k, v)| (k.as_str().into(), to_dynamic(v))).collect();
            map.into()
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::from("\\x"), |mut text, b| {
        text.push_str(&format!("{b:02x}"));
        text
    })
}
