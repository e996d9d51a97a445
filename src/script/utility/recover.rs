//! `gprecoverseg`: the same plans as `recover()`, `full_recover()` and `rebalance()`, shown and followed as Greenplum's.

use super::{Run, Step, Stop};
use crate::cluster::{
    ClusterError, Control, Intent, Observer, OperationInfo, Outcome, OutcomeStatus, Plan, Progressing, Refusal, State,
    plan as planned,
};
use crate::core::ids::Dbid;
use crate::gp::display;
use crate::gp::failure::Failure;
use crate::gp::gprecoverseg::{
    ABOUT, Asked, OPTIONS, Readiness, checking, down, may_rebalance, mirrored, parse, readiness,
};
use crate::gp::gpstate::OBTAINING;
use crate::gp::line::Line;
use crate::gp::steps::Steps;
use crate::gp::{file, refusals};
use crate::script::api::hooks;
use crate::script::context::{Context, now_ms};
use crate::script::json::{outcome_json, plan_json, state_json};
use crate::script::thrown::Thrown;
use std::time::Duration;

/// Each try begins with a probe, so there is no use in waiting longer.
const TRY_AGAIN_AFTER: Duration = Duration::from_secs(1);

pub(super) fn run(run: &Run) -> Step {
    let asked = parse(run.words)?;
    if run.begin(&asked.given, ABOUT, OPTIONS)? {
        return Ok(());
    }
    run.page(checking(&run.about));
    // Waiting for what cannot come would only hide it.
    mirrored(&run.context.state()?)?;
    run.info(OBTAINING);
    let state = ready(run)?;
    run.tell("state", state_json(&state));
    if asked.rebalance {
        return rebalance(run, &asked, &state);
    }
    if let Some(path) = &asked.output {
        return write_list(run, &state, path);
    }
    recover(run, &asked, &state)
}

/// The state of a cluster that can be asked. What looking again cannot change is said at once.
fn ready(run: &Run) -> Step<State> {
    for tried in 1..=refusals::TRIES {
        let state = run.probed()?;
        match readiness(&state) {
            Readiness::Ready => return Ok(state),
            Readiness::Never(failure) => return Err(failure.into()),
            Readiness::NotYet => run.line(refusals::retrying(tried)),
        }
        run.context.sleep(TRY_AGAIN_AFTER)?;
    }
    Err(refusals::not_ready().into())
}

fn write_list(run: &Run, state: &State, path: &str) -> Step {
    if run.context.only_names(|| format!("gprecoverseg(\"-o {path}\")")) {
        return Ok(());
    }
    let text = file::write(&down(state));
    std::fs::write(path, text).map_err(|error| Failure::expected(format!("{path}: {error}")))?;
    run.info(format!("Configuration file output to {path} successfully."));
    Ok(())
}

/// The segments that `-i` lists; `None` without a file, which means all that are down.
fn listed(asked: &Asked, state: &State) -> Step<Option<Vec<Dbid>>> {
    let Some(path) = &asked.input else { return Ok(None) };
    let text = std::fs::read_to_string(path).map_err(|error| Failure::expected(format!("{path}: {error}")))?;
    Ok(Some(file::read(&text, path, state)?))
}

fn recover(run: &Run, asked: &Asked, state: &State) -> Step {
    let listed = listed(asked, state)?;
    if listed.as_ref().is_some_and(Vec::is_empty) {
        run.info("No segments to recover");
        return Ok(());
    }
    let plan = planned(state, &asked.intent(listed.clone().unwrap_or_default()), now_ms());
    if !plan.joined.is_empty() {
        run.info(format!("{} segment(s) are being resynchronized already", plan.joined.len()));
    }
    not_held(run, state, &plan)?;
    if plan.refuses {
        return Err(refused(&plan.refusals).into());
    }
    if plan.steps.is_empty() && plan.refusals.is_empty() {
        run.info("No segments to recover");
        return Ok(());
    }
    run.page(display::recovery(state, &plan, listed.is_some()));
    plan.refusals.iter().for_each(|refusal| run.line(Line::warning(left_out(refusal))));
    if !go_on(run, asked, &plan, state, display::RECOVER)? {
        return Ok(());
    }
    let failed = apply(run, &plan)?;
    run.page(display::recovered(plan.steps.len(), &failed));
    if !failed.is_empty() || !plan.refusals.is_empty() {
        run.exit.set(1);
    }
    Ok(())
}

fn rebalance(run: &Run, asked: &Asked, state: &State) -> Step {
    let plan = planned(state, &asked.intent(Vec::new()), now_ms());
    not_held(run, state, &plan)?;
    may_rebalance(state)?;
    if plan.refuses {
        return Err(refused(&plan.refusals).into());
    }
    if plan.steps.is_empty() {
        run.info("No segments are running in their non-preferred role and need to be rebalanced.");
        return Ok(());
    }
    run.page(display::rebalance(state, &plan));
    if !asked.given.has("a") {
        run.page(display::rebalance_warning());
    }
    if !go_on(run, asked, &plan, state, display::REBALANCE)? {
        return Ok(());
    }
    let failed = apply(run, &plan)?;
    run.page(display::rebalanced(&failed));
    Ok(())
}

/// Asks, unless `-a` has answered; false in a dry run, which ends here.
fn go_on(run: &Run, asked: &Asked, plan: &Plan, state: &State, question: &str) -> Step<bool> {
    let context = run.context;
    run.tell("plan", plan_json(plan));
    if let Some(veto) = hooks::before(context, plan, state)? {
        return Err(refused(&[veto]).into());
    }
    if context.dry_run.get() {
        context.rehearse(plan, state);
        run.info("dry run: nothing is changed");
        return Ok(false);
    }
    let how = run.confirmed(asked.given.has("a"), question)?;
    context.confirmed.replace(how.into());
    Ok(true)
}

/// Begins the plan's operation, and follows it until every segment is being copied to, is done, or has failed. The
/// segments that failed, each with its reason.
fn apply(run: &Run, plan: &Plan) -> Step<Vec<(String, String)>> {
    let context = run.context;
    let cluster = context.cluster()?;
    let mut reaching = Reaching::new(run, plan);
    let outcome = match cluster.apply(plan, true, &mut reaching) {
        Err(ClusterError::Locked { op, message }) => return Err(locked(context, op, &message)),
        result => result.map_err(Thrown::from)?,
    };
    let failed = reaching.failed(&outcome);
    context.record(plan, &outcome);
    hooks::after(context, &outcome);
    if let Some(op) = outcome.op {
        run.debug(format!("operation {op}: {}", outcome.status.word()));
    }
    run.tell("outcome", outcome_json(&outcome));
    if context.ui.interrupted() {
        let goes_on = outcome.op.map(|op| format!("operation {op} goes on")).unwrap_or_default();
        return Err(Thrown::interrupted_saying(&goes_on).next("operations()").into());
    }
    if outcome.status == OutcomeStatus::Refused {
        return Err(refused(&outcome.refusals).into());
    }
    if failed.len() < plan.steps.len() {
        reaching.steps.rest().into_iter().for_each(|line| run.line(line));
    }
    let named = |dbid: Dbid| match plan.place(dbid) {
        Some(place) => format!("{}:{}:{}", place.host, place.port, place.datadir),
        None => format!("dbid {dbid}"),
    };
    Ok(failed.into_iter().map(|(dbid, reason)| (named(dbid), reason)).collect())
}

/// Whoever holds a content is named before anything is shown, as their lock came first.
fn not_held(run: &Run, state: &State, plan: &Plan) -> Step {
    for step in &plan.steps {
        let Some(op) = state.content(step.content).and_then(|content| content.operation) else { continue };
        // What is like ours is joined, and what has ended since is in nobody's way.
        if let Some(info) = operation(run.context, op)
            && info.outcome.is_none()
            && info.verb != plan.verb()
        {
            return Err(refusals::already_running(&info.verb, info.owner.pid, op).into());
        }
    }
    Ok(())
}

fn operation(context: &Context, op: i64) -> Option<OperationInfo> {
    context.cluster.as_ref().and_then(|cluster| cluster.operations(1, Some(op)).ok()?.into_iter().next())
}

fn locked(context: &Context, op: i64, message: &str) -> Stop {
    match operation(context, op) {
        Some(info) => refusals::already_running(&info.verb, info.owner.pid, op).into(),
        None => Failure::expected(message).next(format!("attach({op})")).into(),
    }
}

fn refused(refusals: &[Refusal]) -> Failure {
    let next = refusals.iter().map(|r| r.next.clone()).find(|next| !next.is_empty()).unwrap_or_default();
    Failure::for_reasons(refusals.iter().map(left_out).collect()).next(next)
}

/// A refusal in a line, with its code: `help("host_down")` explains it.
fn left_out(refusal: &Refusal) -> String {
    let content = refusal.content.map(|c| format!("content {c}")).unwrap_or_default();
    let dbid = refusal.dbid.map(|d| format!(" dbid {d}")).unwrap_or_default();
    let subject = format!("{content}{dbid}");
    let subject = if subject.is_empty() { String::new() } else { format!("{}: ", subject.trim()) };
    format!("{subject}{}: {}", refusal.code.code(), refusal.cause)
}

/// Detaches as soon as every segment got to where the utility of old ended: the copy goes on in the background.
struct Reaching<'r, 'c> {
    run: &'r Run<'c>,
    wanted: Vec<Dbid>,
    steps: Steps,
    /// What was seen last of each, to tell with `-v` what is new.
    doing: Vec<(Dbid, String)>,
    /// Segments that have ended, and not well.
    ended: Vec<(Dbid, String)>,
}

impl<'r, 'c> Reaching<'r, 'c> {
    fn new(run: &'r Run<'c>, plan: &Plan) -> Reaching<'r, 'c> {
        let wanted: Vec<Dbid> = plan.steps.iter().map(|s| s.dbid).collect();
        let steps = Steps::new(matches!(plan.intent, Intent::Rebalance { .. }), wanted.clone());
        Reaching { run, wanted, steps, doing: Vec::new(), ended: Vec::new() }
    }

    /// The segments that did not get there: by the outcome when the operation has ended, else by what was seen.
    fn failed(&self, outcome: &Outcome) -> Vec<(Dbid, String)> {
        if matches!(outcome.status, OutcomeStatus::Started) {
            return self.ended.clone();
        }
        let is_of = |dbid: Dbid| outcome.segments.iter().filter(move |s| s.dbid == dbid);
        let reason = |s: &crate::cluster::SegmentOutcome| {
            let refusal = outcome.refusals.iter().find(|r| r.content == Some(s.content));
            let cause = refusal.map(left_out).unwrap_or_else(|| s.note.clone());
            if cause.is_empty() { s.status.word().to_string() } else { cause }
        };
        let failed = self.wanted.iter().flat_map(|dbid| is_of(*dbid)).filter(|s| s.status != OutcomeStatus::Done);
        failed.map(|s| (s.dbid, reason(s))).collect()
    }
}

impl Observer for Reaching<'_, '_> {
    fn progress(&mut self, now: &Progressing) -> Control {
        for line in &now.contents {
            let known = self.doing.iter_mut().find(|(dbid, _)| *dbid == line.dbid);
            match known {
                Some((_, doing)) if *doing == line.doing => continue,
                Some((_, doing)) => doing.clone_from(&line.doing),
                None => self.doing.push((line.dbid, line.doing.clone())),
            }
            self.run.debug(format!("content {} dbid {}: {}", line.content, line.dbid, line.doing));
        }
        self.steps.of(now).into_iter().for_each(|line| self.run.line(line));
        if self.run.context.ui.interrupted() {
            return Control::Detach;
        }
        let mut all = !now.contents.is_empty();
        self.ended.clear();
        for dbid in &self.wanted {
            let Some(line) = now.contents.iter().find(|l| l.dbid == *dbid) else {
                all = false;
                continue;
            };
            if line.finished && line.doing != "done" {
                self.ended.push((*dbid, format!("{}; why(\"content {}\") says more", line.doing, line.content)));
            }
            // Figures are there once the rows are r/r.
            all &= line.finished || line.progress.is_some();
        }
        if all { Control::Detach } else { Control::KeepWatching }
    }

    fn note(&mut self, text: &str) {
        self.run.info(text);
    }
}
