//! A session on a cluster: the prompt, or a batch.

use super::super::call::quoted;
use super::super::{Call, Exit, Invocation};
use super::local;
use super::tell::Tell;
use crate::cluster::Cluster;
use crate::cluster_dir;
use crate::script::Thrown;
use crate::shell::batch::{Judgement, Source};
use crate::shell::front::FrontOptions;
use crate::shell::output::say;
use crate::shell::run::{RunError, Task, run};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

pub fn options(invocation: &Invocation) -> FrontOptions {
    FrontOptions {
        json: invocation.json,
        ndjson: invocation.ndjson,
        quiet: invocation.quiet,
        policy: invocation.policy.clone(),
        evidence: true,
        dry_run: invocation.dry_run,
        time_limit: invocation.time_limit,
    }
}

/// Runs a task; what keeps it from running at all is said, and is an exit code too.
pub fn on(cluster: Option<Arc<dyn Cluster>>, invocation: &Invocation, task: Task) -> i32 {
    match run(cluster, options(invocation), task) {
        Ok(code) => code,
        Err(RunError::Cluster(error)) => {
            let thrown = Thrown::from(error);
            say(&thrown.message);
            if !thrown.next.is_empty() {
                say(&format!("next: {}", thrown.next));
            }
            Tell::new(invocation).failure(thrown)
        }
        Err(error @ RunError::TimedOut) => {
            Tell::new(invocation).failed("timed_out", Exit::Unknown, &error.to_string(), "")
        }
        Err(error) => Tell::new(invocation).failed("io", Exit::ScriptError, &error.to_string(), ""),
    }
}

/// The cluster of a directory. One that is named but not there is exit 7, even when nothing uses it.
pub fn open(invocation: &Invocation, dir: &Path) -> Result<Arc<dyn Cluster>, i32> {
    let opened = cluster_dir::open(dir).map_err(|e| (e.to_string(), e.next()));
    let connected = opened.and_then(|handle| local::connect(&handle).map_err(|e| (e, String::new())));
    connected
        .map(|cluster| cluster as Arc<dyn Cluster>)
        .map_err(|(message, next)| Tell::new(invocation).failed("unreachable", Exit::Unreachable, &message, &next))
}

pub fn prompt(invocation: &Invocation, dir: &Path) -> i32 {
    // Twice: what the prompt shows is asked for while a line runs.
    let (cluster, watched) = match open(invocation, dir).and_then(|cluster| Ok((cluster, open(invocation, dir)?))) {
        Ok(both) => both,
        Err(code) => return code,
    };
    let (socket_dir, port) = cluster.pg_endpoint();
    let greeting = vec![
        format!("{}: help() for help, quit to leave", cluster.name()),
        format!("SQL: psql -h {socket_dir} -p {port} postgres"),
    ];
    on(Some(cluster), invocation, Task::Prompt { greeting, may_leave: Rc::new(|| true), watched: Some(watched) })
}

pub fn script(invocation: &Invocation, source: &Source) -> i32 {
    let cluster = match super::directory(invocation) {
        Ok(Some(dir)) => match open(invocation, &dir) {
            Ok(cluster) => Some(cluster),
            Err(code) => return code,
        },
        Ok(None) => None,
        Err(code) => return code,
    };
    on(cluster, invocation, Task::Batch(source.clone()))
}

/// `segsh apply FILE`: as a script would, so that a dry run says whether the plan still stands.
pub fn apply(invocation: &Invocation, file: &Path) -> i32 {
    let Some(name) = file.to_str() else {
        return Tell::new(invocation).failed("usage", Exit::Usage, "the file's name is not UTF-8", "");
    };
    let code = format!("load_plan({}).apply()", quoted(name));
    script(invocation, &Source::Call { code, judgement: Judgement::Success })
}

pub fn call(invocation: &Invocation, call: &Call) -> i32 {
    script(invocation, &call.to_batch())
}
