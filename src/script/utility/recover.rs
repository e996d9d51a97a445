//! `gprecoverseg`: the same plans as `recover()`, `full_recover()` and `rebalance()`, shown and followed as Greenplum's.

use super::{Run, Step, Stop};
use crate::cluster::{
    ClusterError, Control, Intent, Observer, OperationInfo, Outcome, OutcomeStatus, Plan, Progressing, Segment, State,
    plan as planned,
};
use crate::core::ids::Dbid;
use crate::core::row::Place;
use crate::gp::display::{self, By};
use crate::gp::failure::Failure;
use crate::gp::gprecoverseg::{
    ABOUT, Asked, OPTIONS, Readiness, checking, down, may_rebalance, mirrored, parse, readiness,
};
use crate::gp::gpstate::OBTAINING;
use crate::gp::line::Line;
use crate::gp::pool::pool;
use crate::gp::refusals::{left_out, refused};
use crate::gp::steps::Steps;
use crate::gp::{file, refusals};
use crate::script::api::change::{noted_refused, noted_veto};
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
        return write_list(run, &asked, &state, path);
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

/// `-o`: what is down, each in place, or with `-p` with the place that it would be moved to.
fn write_list(run: &Run, asked: &Asked, state: &State, path: &str) -> Step {
    let plan = match asked.hosts.is_empty() {
        true => None,
        false => Some(to_hosts(run, asked, state)?),
    };
    if let Some(plan) = plan.as_ref().filter(|plan| plan.refuses) {
        return Err(refused(&plan.refusals).into());
    }
    if run.context.only_names(|| format!("gprecoverseg(\"-o {path}\")")) {
        return Ok(());
    }
    let segments: Vec<(&Segment, Option<&Place>)> = match &plan {
        None => down(state).into_iter().map(|segment| (segment, None)).collect(),
        Some(plan) => {
            plan.steps.iter().filter_map(|step| Some((state.segment(step.dbid)?, step.to.as_ref()))).collect()
        }
    };
    std::fs::write(path, file::write(&segments)).map_err(|error| Failure::expected(format!("{path}: {error}")))?;
    run.info(format!("Configuration file output to {path} successfully."));
    if let Some(plan) = plan.filter(|plan| !plan.refusals.is_empty()) {
        plan.refusals.iter().for_each(|refusal| run.line(Line::warning(left_out(refusal))));
        run.exit.set(1);
    }
    Ok(())
}

/// The plan of `-p`.
fn to_hosts(run: &Run, asked: &Asked, state: &State) -> Step<Plan> {
    let pool = pool(state, &asked.hosts, &down(state))?;
    if !pool.not_needed.is_empty() {
        run.line(Line::warning(refusals::not_needed(&pool.not_needed)));
    }
    // Without a segment that is down there is no place, and so nothing to be done.
    let nothing = pool.to.each.is_empty();
    let intent = if nothing { asked.intent(Vec::new()) } else { asked.moving(Vec::new(), pool.to) };
    Ok(planned(state, &intent, now_ms()))
}

/// What the command line is about: what it wants done, and how that was said. `None`: its file lists nothing.
fn wanted(run: &Run, asked: &Asked, state: &State) -> Step<Option<(Plan, By)>> {
    if !asked.hosts.is_empty() {
        return Ok(Some((to_hosts(run, asked, state)?, By::Hosts)));
    }
    let Some(path) = &asked.input else {
        return Ok(Some((planned(state, &asked.intent(Vec::new()), now_ms()), By::Default)));
    };
    let text = std::fs::read_to_string(path).map_err(|error| Failure::expected(format!("{path}: {error}")))?;
    let listed = file::read(&text, path, state)?;
    Ok((!listed.is_empty()).then(|| (asked.plan_listed(state, &listed, now_ms()), By::List)))
}

fn recover(run: &Run, asked: &Asked, state: &State) -> Step {
    let Some((plan, by)) = wanted(run, asked, state)? else {
        run.info("No segments to recover");
        return Ok(());
    };
    if !plan.joined.is_empty() {
        run.info(format!("{} segment(s) are being resynchronized already", plan.joined.len()));
    }
    not_held(run, state, &plan)?;
    if plan.refuses {
        return Err(plan_refused(run, &plan, state).into());
    }
    if plan.steps.is_empty() && plan.refusals.is_empty() {
        run.info("No segments to recover");
        return Ok(());
    }
    run.page(display::recovery(state, &plan, by));
    run.page(display::same_hosts(state, &plan));
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
        return Err(plan_refused(run, &plan, state).into());
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
        noted_veto(context, plan, state, &veto);
        return Err(refused(&[veto]).into());
    }
    if context.dry_run.get() {
        context.rehearse(plan, state);
        run.info("dry run: nothing is changed");
        return Ok(false);
    }
    let how = run.confirmed(asked.given.has("a"), question).map_err(|stop| run.noted(stop, plan, state))?;
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

fn plan_refused(run: &Run, plan: &Plan, state: &State) -> Failure {
    noted_refused(run.context, plan, state);
    refused(&plan.refusals)
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
        // An end that was not seen speaks of no segment, and none of them is known to have got there.
        let unseen = outcome.status == OutcomeStatus::Unknown && outcome.segments.is_empty();
        let untold = self.wanted.iter().filter(|_| unseen).map(|dbid| (*dbid, outcome.message.clone()));
        let failed = self.wanted.iter().flat_map(|dbid| is_of(*dbid)).filter(|s| s.status != OutcomeStatus::Done);
        failed.map(|s| (s.dbid, reason(s))).chain(untold).collect()
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
