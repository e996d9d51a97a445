//! What every API function shares: the cluster, the person in front, and what this script has done.

use super::api::demo::Traffic;
use super::api::hooks::Hooks;
use super::entries::PROMPT;
use super::rehearsal::Rehearsal;
use super::thrown::{Thrower, Thrown};
use super::ui::{Renderer, Ui};
use crate::cluster::{Acting, Cluster, Outcome, OutcomeStatus, Plan, PlanStep, StepKind};
use crate::core::row::Place;
use rhai::{EvalAltResult, NativeCallContext};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How often a wait looks at the interrupt flag. Short enough to feel immediate to a person.
const POLL: Duration = Duration::from_millis(50);

/// A change that this script made: the error screen lists what stands before the error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpRecord {
    pub time_ms: i64,
    pub op: Option<i64>,
    pub verb: String,
    pub contents: Vec<i64>,
    pub status: OutcomeStatus,
}

/// One step that `confirm(plan)` has already asked about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Grant {
    Step { kind: StepKind, content: i64, dbid: i64, to: Option<Place> },
    RestartAll,
}

/// Shared by every binding of one session.
pub struct Context {
    pub(super) cluster: Option<Arc<dyn Cluster>>,
    pub(super) ui: Rc<dyn Ui>,
    pub(super) renderer: Rc<dyn Renderer>,
    /// Nothing is changed from here on; a prompt can switch it.
    pub(super) dry_run: Cell<bool>,
    /// What a dry run has come to; it outlives a line, as the cluster's own state would.
    pub(super) rehearsal: Rehearsal,
    pub(super) ops: RefCell<Vec<OpRecord>>,
    pub(super) grants: RefCell<Vec<Grant>>,
    /// Set by `exit(n)`: like the interrupt it is raised again at every operation, because a closure
    /// run by a native function would otherwise let a script catch it.
    pub(super) exit: Cell<Option<i32>>,
    /// The text of every script and module that was loaded, for the line under an error.
    pub(super) sources: RefCell<HashMap<String, String>>,
    pub(super) traffic: RefCell<Option<Rc<Traffic>>>,
    pub(super) told: RefCell<Option<Outcome>>,
    pub(super) arguments: RefCell<Vec<String>>,
    /// Where the API was called last: script and line, empty at the prompt.
    pub(super) called_at: RefCell<String>,
    pub(super) hooks: Hooks,
    /// How the change that is begun next was confirmed.
    pub(super) confirmed: RefCell<String>,
}

impl Context {
    /// The cluster, or the error that every call without one gives.
    pub(super) fn cluster(&self) -> Thrower<&Arc<dyn Cluster>> {
        let cluster = self.cluster.as_ref().ok_or_else(|| {
            Thrown::with_exit("no_cluster", 7, "no cluster is connected").next("segsh -c DIR, or segsh demo")
        })?;
        let (script, confirmed) = (self.called_at.borrow().clone(), self.confirmed.borrow().clone());
        cluster.acting_as(Acting { script, confirmed });
        Ok(cluster)
    }

    /// Remembers where a script calls the API: it stands with the lock and in the audit log.
    pub(super) fn called_from(&self, native: &NativeCallContext) {
        let at = match (native.call_source(), native.call_position().line()) {
            (Some(source), Some(line)) if source != PROMPT => format!("{source}:{line}"),
            _ => String::new(),
        };
        self.called_at.replace(at);
    }

    /// True when the script must end now.
    pub(super) fn must_end(&self) -> bool {
        self.exit.get().is_some() || self.ui.interrupted()
    }

    /// Sleeps, and ends early with the interrupt.
    pub(super) fn sleep(&self, time: Duration) -> Thrower<()> {
        let until = Instant::now() + time;
        loop {
            if self.ui.interrupted() {
                return Err(Thrown::interrupted());
            }
            if let Some(why) = self.hooks.over() {
                return Err(Thrown::script("in_hook", why));
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            std::thread::sleep(left.min(POLL));
        }
    }

    /// Forgets what belonged to the script before.
    pub(super) fn begin_script(&self) {
        self.ops.borrow_mut().clear();
        self.grants.borrow_mut().clear();
        self.exit.set(None);
        self.told.replace(None);
        self.confirmed.take();
    }

    /// Remembers what `confirm` was answered yes for.
    pub(super) fn grant(&self, plans: &[Plan]) {
        let mut grants = self.grants.borrow_mut();
        for plan in plans {
            grants.extend(grants_of(plan));
        }
    }

    /// Whether everything that these plans hold was confirmed already, and is not used up.
    pub(super) fn grants_hold(&self, plans: &[Plan]) -> bool {
        let mut left = self.grants.borrow().clone();
        plans.iter().flat_map(grants_of).all(|needed| match left.iter().position(|g| *g == needed) {
            Some(at) => {
                left.swap_remove(at);
                true
            }
            None => false,
        })
    }

    /// Whether a plan holds nothing that was not confirmed; what it holds is then used up, so that
    /// one answer never covers the same step twice.
    pub(super) fn use_grant(&self, plan: &Plan) -> bool {
        let needed = grants_of(plan);
        let mut grants = self.grants.borrow_mut();
        if !needed.iter().all(|n| grants.contains(n)) {
            return false;
        }
        for used in &needed {
            if let Some(at) = grants.iter().position(|g| g == used) {
                grants.swap_remove(at);
            }
        }
        true
    }

    pub(super) fn record(&self, plan: &Plan, outcome: &Outcome) {
        let mut contents: Vec<i64> = plan.steps.iter().map(|s| s.content.0).collect();
        contents.extend(plan.joined.iter().map(|j| j.content.0));
        self.ops.borrow_mut().push(OpRecord {
            time_ms: now_ms(),
            op: outcome.op,
            verb: outcome.verb.clone(),
            contents,
            status: outcome.status,
        });
    }
}

fn grants_of(plan: &Plan) -> Vec<Grant> {
    if let crate::cluster::Intent::Restart { selection, .. } = &plan.intent
        && selection.is_all()
    {
        return vec![Grant::RestartAll];
    }
    let step = |s: &PlanStep| Grant::Step { kind: s.kind, content: s.content.0, dbid: s.dbid.0, to: s.to.clone() };
    plan.steps.iter().map(step).collect()
}

/// Unix milliseconds.
pub(super) fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| i64::try_from(d.as_millis()).unwrap_or(i64::MAX))
}

/// Runs the body of a binding. A panic must not unwind through the interpreter, so it becomes an
/// error that names the function.
pub(super) fn guard<T>(name: &str, body: impl FnOnce() -> Thrower<T>) -> Result<T, Box<EvalAltResult>> {
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(result) => result.map_err(Into::into),
        Err(_) => {
            let message = format!("{name}() failed inside; this is a defect of segsh");
            Err(Thrown::script("internal", message).into())
        }
    }
}
