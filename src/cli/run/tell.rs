//! What a command says that is no script: text for a person, or with `--json` one document.

use super::super::{Exit, Invocation};
use crate::cluster::Outcome;
use crate::cluster_dir::ClusterDirError;
use crate::script::Thrown;
use crate::script::json::outcome_json;
use crate::shell::document::{envelope, failure};
use crate::shell::output::{Output, say};
use serde_json::{Value, json};

/// Says how a command ended, once. A reader of stdout that went away is no failure.
pub struct Tell {
    json: bool,
    output: Output,
}

impl Tell {
    /// As the command line asks for it.
    pub fn new(invocation: &Invocation) -> Tell {
        let output = if invocation.ndjson { Output::events() } else { Output::to_stdout() };
        Tell { json: invocation.json, output }
    }

    /// A person reads stdout.
    pub fn is_text(&self) -> bool {
        !self.json && self.output.is_text()
    }

    /// Data for a person; nothing where a document follows.
    pub fn text(&self, text: &str) {
        if self.is_text() {
            self.output.write(text);
        }
    }

    /// Something that happened; only `--ndjson` tells it.
    pub fn event(&self, name: &str, fields: Value) {
        self.output.event(name, fields);
    }

    /// A document as it is, for what has a form of its own.
    pub fn bare(&self, document: &Value) {
        self.output.write(&format!("{document}\n"));
    }

    /// The end of a command that did what it was asked; its exit code.
    pub fn value(&self, kind: &str, value: Value, exit: i32) -> i32 {
        self.whole(kind, value, &[], exit)
    }

    /// The end of an operation that a command drove.
    pub fn outcome(&self, outcome: &Outcome) -> i32 {
        self.whole("outcome", outcome_json(outcome), std::slice::from_ref(outcome), outcome.status.exit())
    }

    fn whole(&self, kind: &str, value: Value, ops: &[Outcome], exit: i32) -> i32 {
        if self.json {
            self.bare(&envelope(kind, value, Vec::new(), ops));
        } else {
            self.output.event("value", json!({ "kind": kind, "value": value }));
            self.output.event("end", json!({ "exit": exit }));
        }
        exit
    }

    /// What kept a command from being done, in the words that a person was told; its exit code.
    pub fn failure(&self, thrown: Thrown) -> i32 {
        let exit = thrown.exit;
        let document = failure(thrown);
        if self.json {
            self.bare(&document);
        } else {
            self.output.event("error", json!({ "kind": "error", "value": document["value"] }));
            self.output.event("end", json!({ "exit": exit }));
        }
        exit
    }

    /// Says on stderr what kept a command from being done, and in the document.
    pub fn failed(&self, code: &str, exit: Exit, message: &str, next: &str) -> i32 {
        say(message);
        if !next.is_empty() {
            say(&format!("next: {next}"));
        }
        self.failure(Thrown::with_exit(code, exit.process_code(), message).next(next))
    }

    /// The same of a cluster's directory.
    pub fn dir_failed(&self, error: &ClusterDirError) -> i32 {
        let (code, exit) = judged(error);
        self.failed(code, exit, &error.to_string(), &error.next())
    }
}

/// The code and the exit of what can go wrong with a cluster's directory.
fn judged(error: &ClusterDirError) -> (&'static str, Exit) {
    match error {
        ClusterDirError::OtherRelease { .. } => ("other_release", Exit::Unreachable),
        ClusterDirError::Missing { .. }
        | ClusterDirError::NotACluster { .. }
        | ClusterDirError::Moved { .. }
        | ClusterDirError::File(_)
        | ClusterDirError::Key(_)
        | ClusterDirError::Coordinator(_)
        | ClusterDirError::DidNotStart { .. } => ("unreachable", Exit::Unreachable),
        ClusterDirError::Locked { .. } => ("locked", Exit::Locked),
        ClusterDirError::Refused(_) => ("refused", Exit::Refused),
        _ => ("invalid", Exit::ScriptError),
    }
}

/// The document of a command line that could not be read; what is wrong was said on stderr.
pub fn usage_document(said: &str) {
    let message = said.lines().next().unwrap_or_default().trim_start_matches("error: ");
    let thrown = Thrown::with_exit("usage", Exit::Usage.process_code(), message).next("segsh --help");
    Output::to_stdout().write(&format!("{}\n", failure(thrown)));
}
