//! A session on a cluster: the prompt, or a batch.

use super::super::{Call, Exit, Invocation};
use super::local;
use crate::cluster::Cluster;
use crate::cluster_dir;
use crate::shell::batch::Source;
use crate::shell::front::FrontOptions;
use crate::shell::run::{Task, run};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

pub fn options(invocation: &Invocation) -> FrontOptions {
    FrontOptions { json: invocation.json, quiet: invocation.quiet, policy: invocation.policy.clone(), evidence: false }
}

/// Runs a task; what keeps it from running at all is said, and is an exit code too.
pub fn on(cluster: Option<Arc<dyn Cluster>>, invocation: &Invocation, task: Task) -> i32 {
    match run(cluster, options(invocation), task) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("{error}");
            Exit::ScriptError.process_code()
        }
    }
}

/// The cluster of a directory. One that is named but not there is exit 7, even when nothing uses it.
pub fn open(dir: &Path) -> Result<Arc<dyn Cluster>, i32> {
    let opened = cluster_dir::open(dir).map_err(|e| (e.to_string(), e.next()));
    let connected = opened.and_then(|handle| local::connect(&handle).map_err(|e| (e, String::new())));
    connected.map(|cluster| cluster as Arc<dyn Cluster>).map_err(|(message, next)| {
        eprintln!("{message}");
        if !next.is_empty() {
            eprintln!("next: {next}");
        }
        Exit::Unreachable.process_code()
    })
}

pub fn prompt(invocation: &Invocation, dir: &Path) -> i32 {
    // Twice: what the prompt shows is asked for while a line runs.
    let (cluster, watched) = match open(dir).and_then(|cluster| Ok((cluster, open(dir)?))) {
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
        Ok(Some(dir)) => match open(&dir) {
            Ok(cluster) => Some(cluster),
            Err(code) => return code,
        },
        Ok(None) => None,
        Err(code) => return code,
    };
    // A cluster that is named must be there, even when the script never uses it.
    if let Some(cluster) = &cluster
        && let Err(error) = cluster.state()
    {
        eprintln!("{error}");
        return Exit::Unreachable.process_code();
    }
    on(cluster, invocation, Task::Batch(source.clone()))
}

pub fn call(invocation: &Invocation, call: &Call) -> i32 {
    script(invocation, &call.to_batch())
}
