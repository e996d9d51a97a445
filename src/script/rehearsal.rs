//! A dry run of a whole session: every change is planned on what the one before would leave, and
//! nothing is done.

use super::context::Context;
use super::thrown::Thrower;
use crate::cluster::{Plan, State, state_after};
use std::cell::RefCell;

/// What a dry run would have done, in its order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Rehearsed {
    /// Every plan that was made to be applied, those that were refused included.
    pub plans: Vec<Plan>,
    /// Every other change, as it would be typed: `setting("gp_fts_probe_interval", "1s")`.
    pub others: Vec<String>,
}

/// What a dry run has come to so far.
#[derive(Default)]
pub(super) struct Rehearsal {
    /// The state as it would be now; `None` while nothing would have changed.
    shadow: RefCell<Option<State>>,
    seen: RefCell<Rehearsed>,
}

impl Rehearsal {
    pub(super) fn so_far(&self) -> Rehearsed {
        self.seen.borrow().clone()
    }

    /// What was rehearsed is over.
    pub(super) fn forget(&self) {
        self.shadow.take();
        self.seen.take();
    }
}

impl Context {
    /// The cluster's state; in a dry run the one that was rehearsed, once there is one.
    pub(super) fn state(&self) -> Thrower<State> {
        let cluster = self.cluster()?;
        match self.rehearsal.shadow.borrow().as_ref() {
            Some(shadow) => Ok(shadow.clone()),
            None => Ok(cluster.state()?),
        }
    }

    /// As [`Context::state`], after FTS has looked.
    pub(super) fn probe(&self) -> Thrower<State> {
        let cluster = self.cluster()?;
        match self.rehearsal.shadow.borrow().as_ref() {
            Some(shadow) => Ok(shadow.clone()),
            None => Ok(cluster.probe()?),
        }
    }

    /// A dry run goes on as if the cluster were so.
    pub(super) fn imagine(&self, state: State) {
        self.rehearsal.shadow.replace(Some(state));
    }

    /// A dry run goes on as if the plan, made on `state`, had been applied.
    pub(super) fn rehearse(&self, plan: &Plan, state: &State) {
        self.rehearsal.seen.borrow_mut().plans.push(plan.clone());
        if !plan.refuses {
            self.imagine(state_after(state, plan));
        }
    }

    /// In a dry run a change that has no plan is only named; true says that it must not be made.
    pub(super) fn only_names(&self, call: impl FnOnce() -> String) -> bool {
        if self.dry_run.get() {
            let call = call();
            self.ui.note(&format!("would do: {call}"));
            self.rehearsal.seen.borrow_mut().others.push(call);
        }
        self.dry_run.get()
    }
}
