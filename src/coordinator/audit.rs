//! The audit log: one JSON line for each operation, in the coordinator's directory.

use super::store::timestamp;
use crate::cluster::Outcome;
use crate::cluster::request::Owner;
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

/// The name of the log.
pub const AUDIT_FILE: &str = "audit.jsonl";

/// Where lines are appended.
#[derive(Debug, Clone)]
pub struct Audit {
    path: PathBuf,
}

impl Audit {
    /// The log in the coordinator's directory.
    pub fn new(dir: &std::path::Path) -> Audit {
        Audit { path: dir.join(AUDIT_FILE) }
    }

    /// Appends the line of an operation that has ended. The log is a record, not a truth: what can't
    /// be written is said in the coordinator's own log, and the operation stands.
    pub fn append(&self, op: i64, owner: &Owner, started_ms: i64, outcome: &Outcome) {
        let line = serde_json::json!({
            "time": timestamp(started_ms),
            "operation": op,
            "verb": outcome.verb,
            "owner": owner,
            "status": outcome.status,
            "elapsed_ms": outcome.elapsed_ms,
            "message": outcome.message,
            "segments": outcome.segments,
            "refusals": outcome.refusals,
        });
        let written = OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(&self.path)
            .and_then(|mut file| file.write_all(format!("{line}\n").as_bytes()));
        if let Err(error) = written {
            tracing::error!(path = %self.path.display(), %error, "the audit log can't be written");
        }
    }
}
