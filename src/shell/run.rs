//! A whole session on a cluster: the engine, the shell in front of it, and the prompt or the batch.

use super::batch::Source;
use super::engine::ScriptEngine;
use super::front::{Front, FrontOptions};
use super::history;
use super::repl::{ReplConfig, ReplError};
use super::snapshot::Look;
use super::startup::{self, StartupError};
use crate::cluster::Cluster;
use crate::script::{Session, SessionConfig, is_incomplete};
use std::io;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use thiserror::Error;

/// Why a session could not be had at all.
#[derive(Debug, Error)]
pub enum RunError {
    #[error("signals cannot be taken: {0}")]
    Signals(#[from] io::Error),
    #[error(transparent)]
    Prompt(#[from] ReplError),
}

/// What the session is for.
pub enum Task {
    Prompt {
        /// Lines above the first prompt.
        greeting: Vec<String>,
        /// Asked before leaving; `false` stays.
        may_leave: Rc<dyn Fn() -> bool>,
        /// The same cluster over a connection of its own, for what the prompt shows.
        watched: Option<Arc<dyn Cluster>>,
    },
    Batch(Source),
}

/// Runs it to its end; the process's exit code. Without a cluster the language works, and every call
/// on a cluster fails with exit 7.
pub fn run(cluster: Option<Arc<dyn Cluster>>, mut options: FrontOptions, task: Task) -> Result<i32, RunError> {
    // A person at a prompt reads screens; `--json` is for what reads documents.
    options.json &= matches!(task, Task::Batch(_));
    let name = cluster.as_ref().map_or_else(String::new, |c| c.name());
    let front = Front::new(&name, options)?;
    let session = Session::new(SessionConfig {
        cluster: cluster.clone(),
        ui: front.ui.clone(),
        renderer: Rc::new(front.out.clone()),
        site_dir: dirs::config_dir().map(|dir| dir.join("segsh").join("site")),
        system_dir: Some(PathBuf::from("/etc/segsh/site")),
        dry_run: false,
    });
    let mut engine = ScriptEngine(session);
    match task {
        Task::Batch(source) => Ok(front.batch().run(&source, &mut engine)),
        Task::Prompt { greeting, may_leave, watched } => {
            let config = prompt_config(cluster, greeting, may_leave, watched);
            if let Some(code) = startup(&front, &mut engine) {
                return Ok(code);
            }
            Ok(front.prompt(config, &mut engine)?)
        }
    }
}

/// Runs the startup file. One that fails or that is refused is said, and the prompt is there all the same;
/// `Some` when it called `exit`.
fn startup(front: &Front, engine: &mut ScriptEngine) -> Option<i32> {
    front.ui.begin_line();
    match startup::run(&startup::path()?, engine) {
        Ok(code) => return code,
        Err(StartupError::Failed(failure)) => front.ui.say(&front.err.error(&failure.view)),
        Err(error) => front.ui.say(&error.to_string()),
    }
    None
}

fn prompt_config(
    cluster: Option<Arc<dyn Cluster>>,
    greeting: Vec<String>,
    may_leave: Rc<dyn Fn() -> bool>,
    watched: Option<Arc<dyn Cluster>>,
) -> ReplConfig {
    let name = cluster.as_ref().map_or("segsh".to_string(), |c| c.name());
    let drill = cluster.as_ref().is_some_and(|c| c.is_drill());
    ReplConfig {
        name,
        drill,
        greeting,
        is_incomplete: Rc::new(is_incomplete),
        look: watched.map(|cluster| Arc::new(move || cluster.state().ok()) as Look),
        may_leave,
        history: history::path(),
    }
}
