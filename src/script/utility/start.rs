//! `gpstart`: hosts, coordinator, segments; what is marked down is skipped, and said so.

use super::{Run, Step};
use crate::cluster::{Control, Observer, Progressing, StartHow, State};
use crate::gp::failure::Failure;
use crate::gp::gpstart::{
    ABOUT, Asked, Left, OPTIONS, QUESTION, left, parameters, parse, skipping, stays_restricted, summary,
};
use crate::script::context::Context;
use crate::script::json::{outcome_json, state_json};
use crate::script::thrown::Thrown;
use std::time::{Duration, Instant};

pub(super) fn run(run: &Run) -> Step {
    let asked = parse(run.words)?;
    if run.begin(&asked.given, ABOUT, OPTIONS)? {
        return Ok(());
    }
    run.info("Gathering information and validating the environment...");
    run.info(format!("Greenplum Binary Version: '{}'", run.about.release));
    let state = run.context.state()?;
    if asked.restricted && state.coordinator.pid.is_some() && !state.coordinator.restricted {
        let says = "Master instance process running: it was not started restricted";
        return Err(Failure::expected(says).next("gpstop -m -M fast, then gpstart -R").into());
    }
    run.page(parameters(&state, &asked));
    if run.context.only_names(|| format!("gpstart({:?})", run.words.join(" "))) {
        return Ok(());
    }
    let confirmed = run.confirmed(asked.given.has("a"), QUESTION)?;
    run.context.confirmed.replace(confirmed.into());
    started(run, &state, &asked)
}

/// `gpstop -r`: as `gpstart -a`.
pub(super) fn after_a_stop(run: &Run, state: &State) -> Step {
    let asked = parse(&["-a".to_string()])?;
    let mut stopped = state.clone();
    stopped.coordinator.pid = None;
    started(run, &stopped, &asked)
}

fn started(run: &Run, before: &State, asked: &Asked) -> Step {
    let how = StartHow { coordinator_only: asked.coordinator_only, restricted: asked.restricted };
    if !asked.coordinator_only {
        run.page(skipping(before));
        run.info("Commencing parallel primary and mirror segment instance startup, please wait...");
    }
    let seconds = u64::try_from(asked.timeout_s).unwrap_or(u64::MAX);
    let until = Instant::now().checked_add(Duration::from_secs(seconds));
    let mut patience = Patience { context: run.context, until, late: false, is_begun: false };
    let outcome = run.context.cluster()?.start_all(&how, &mut patience).map_err(Thrown::from)?;
    let Patience { late, is_begun, .. } = patience;
    run.tell("outcome", outcome_json(&outcome));
    if run.context.ui.interrupted() {
        let (says, next) = left(Left::Interrupted, is_begun);
        return Err(Thrown::interrupted_saying(&says).next(next).into());
    }
    if late {
        let (says, next) = left(Left::Late(asked.timeout_s), is_begun);
        return Err(Failure::failed(says).next(next).into());
    }
    let restricted_before = before.coordinator.pid.is_some() && before.coordinator.restricted;
    if restricted_before && !asked.restricted {
        run.page(stays_restricted());
    }
    if asked.coordinator_only {
        run.info("Master Started...");
        return Ok(());
    }
    run.info("Process results...");
    let state = run.probed()?;
    run.tell("state", state_json(&state));
    run.page(summary(&state));
    Ok(())
}

/// Leaves a start that takes longer than it may, or that nobody wants to wait for.
struct Patience<'c> {
    context: &'c Context,
    until: Option<Instant>,
    late: bool,
    /// The coordinator has the start, and goes on with it.
    is_begun: bool,
}

impl Observer for Patience<'_> {
    fn progress(&mut self, now: &Progressing) -> Control {
        self.is_begun |= now.op != 0;
        self.late = self.until.is_some_and(|until| Instant::now() >= until);
        if self.late || self.context.ui.interrupted() { Control::Detach } else { Control::KeepWatching }
    }
}
