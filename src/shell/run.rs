//! A whole session on a cluster: the engine, the shell in front of it, and the prompt or the batch.

use super::batch::Source;
use super::engine::ScriptEngine;
use super::front::{Front, FrontOptions};
use super::history;
use super::repl::{ReplConfig, ReplError};
use super::snapshot::Look;
use super::startup::{self, StartupError};
use crate::cluster::{Cluster, ClusterError};
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
    /// A cluster that is named must be there, even when the script never uses it.
    #[error(transparent)]
    Cluster(ClusterError),
    /// The time limit of the run was over before the cluster had answered.
    #[error("the time limit of the run is over, and the cluster has not answered")]
    TimedOut,
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
    let dry_run = options.dry_run;
    let name = cluster.as_ref().map_or_else(String::new, |c| c.name());
    let front = Front::new(&name, options)?;
    if let Some(cluster) = &cluster {
        let signals = front.ui.signals().clone();
        cluster.interrupted_by(Arc::new(move || signals.interrupted()));
        if let Task::Batch(_) = task {
            let timed_out = || front.ui.signals().timed_out();
            cluster.reach().map_err(|error| if timed_out() { RunError::TimedOut } else { RunError::Cluster(error) })?;
        }
    }
    let (site_dir, system_dir) = site_dirs();
    let session = Session::new(SessionConfig {
        cluster: cluster.clone(),
        ui: front.ui.clone(),
        renderer: Rc::new(front.out.clone()),
        site_dir,
        system_dir,
        dry_run,
    });
    let mut engine = ScriptEngine(session);
    match task {
        Task::Batch(source) => {
            let code = front.batch().run(&source, &mut engine);
            engine.0.leave();
            Ok(code)
        }
        Task::Prompt { greeting, may_leave, watched } => {
            let config = prompt_config(cluster, greeting, may_leave, dry_run, watched);
            if let Some(code) = startup(&front, &mut engine) {
                return Ok(code);
            }
            Ok(front.prompt(config, &mut engine)?)
        }
    }
}

/// Where modules are looked for besides the script's folder: the administrator's site folder, and the machine's.
pub(super) fn site_dirs() -> (Option<PathBuf>, Option<PathBuf>) {
    let own = dirs::config_dir().map(|dir| dir.join("segsh").join("site"));
    (own, Some(PathBuf::from("/etc/segsh/site")))
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
    mut greeting: Vec<String>,
    may_leave: Rc<dyn Fn() -> bool>,
    dry_run: bool,
    watched: Option<Arc<dyn Cluster>>,
) -> ReplConfig {
    let name = cluster.as_ref().map_or("segsh".to_string(), |c| c.name());
    if dry_run {
        greeting.push("dry run: nothing is changed, and each step is planned on what the one before".into());
        greeting.push("would leave; state() shows that".into());
    }
    let drill = cluster.as_ref().is_some_and(|c| c.is_drill());
    ReplConfig {
        name,
        drill,
        dry_run,
        greeting,
        is_incomplete: Rc::new(is_incomplete),
        look: watched.map(|cluster| Arc::new(move || cluster.state().ok()) as Look),
        may_leave,
        history: history::path(),
    }
}
