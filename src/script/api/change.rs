//! The mutating calls: probe, plan, check, confirm, apply, and an outcome that throws unless done.

use super::binding::api;
use super::outcome::OutcomeRecord;
use super::plan::{PlanRecord, joined_outcome};
use crate::cluster::{
    Control, Intent, Observer, Outcome, OutcomeStatus, Plan, PlanStep, Progressing, Refusal, SegmentOutcome, State,
    as_planned, plan, state_after, still_holds, without_step,
};
use crate::core::report::StopMode;
use crate::script::catalog::{
    self, AFTER, COMPARE_RATE, CONTENTS, DBIDS, Damage as Grade, Entry, HOSTS, IN_PLACE, JOBS, MODE, OPTIONS, RAISE,
    RATE, STALL, TIMEOUT, TO, WAIT, entry,
};
use crate::script::context::{Context, now_ms};
use crate::script::options::Options;
use crate::script::thrown::{Thrower, Thrown};
use crate::script::ui::{Answer, Damage};
use rhai::{Dynamic, Module};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// What is bound here.
pub(super) const ENTRIES: &[Entry] = &[
    entry!(
        "recover", &[&[], OPTIONS], "Outcome",
        "Recovers what is down, incrementally, in place, or with `to` by a full copy at another place; waits until \
         synchronized.",
        "recover(#{ contents: [2] })",
        options: &[CONTENTS, DBIDS, HOSTS, TO, WAIT, TIMEOUT, STALL, RATE, JOBS, RAISE], changes: true, damage: Grade::Reversible
    ),
    entry!(
        "full_recover", &[&[], OPTIONS], "Outcome",
        "Copies everything anew to segments that are down. One that is up is refused.",
        "full_recover(#{ dbids: 5 })",
        options: &[CONTENTS, DBIDS, HOSTS, WAIT, TIMEOUT, STALL, RATE, JOBS, IN_PLACE, RAISE],
        changes: true, damage: Grade::Copies
    ),
    entry!(
        "rebalance", &[&[], OPTIONS], "Outcome",
        "Returns segments to their preferred roles: all or nothing. Running statements are cancelled.",
        "rebalance()",
        options: &[CONTENTS, DBIDS, HOSTS, WAIT, TIMEOUT, STALL, RAISE], changes: true, damage: Grade::Reversible
    ),
    entry!(
        "restart", &[&[], OPTIONS], "Outcome",
        "Stops and starts the cluster, or the segments of a selection.",
        "restart(#{ mode: \"fast\", contents: 2 })",
        options: &[CONTENTS, DBIDS, HOSTS, MODE, WAIT, TIMEOUT, STALL, RAISE], changes: true, damage: Grade::Everything
    ),
    entry!(
        "verify", &[&[], OPTIONS], "Outcome",
        "Compares both copies of synchronized pairs, online, block by block. A difference throws `differs` (exit 9) \
         and takes the pair out of sync; recover() then mends a mirror whose primary is sound.",
        "verify(#{ contents: [2], rate: \"100 MiB/s\" })",
        options: &[CONTENTS, DBIDS, HOSTS, WAIT, TIMEOUT, STALL, COMPARE_RATE, JOBS, RAISE], changes: true
    ),
    entry!(
        "force_primary", &[OPTIONS], "Outcome",
        "The last resort: a segment serves with the copy it holds, whatever the rows and records say. Promotes a \
         mirror that lacks changes, accepts an unfit acting primary, lifts a quarantine. What may be lost is said.",
        "force_primary(#{ dbids: 4 })",
        options: &[DBIDS, WAIT, TIMEOUT, STALL, RAISE], changes: true, damage: Grade::Overrides
    ),
    entry!(
        "plan_recover", &[&[], OPTIONS], "Plan", "What recover() would do. Nothing is changed.",
        "let p = plan_recover(); print(p); p.apply()",
        options: &[CONTENTS, DBIDS, HOSTS, TO, RATE, JOBS, AFTER]
    ),
    entry!(
        "plan_full_recover", &[&[], OPTIONS], "Plan", "What full_recover() would do.",
        "plan_full_recover(#{ dbids: 5 })",
        options: &[CONTENTS, DBIDS, HOSTS, RATE, JOBS, IN_PLACE, AFTER]
    ),
    entry!(
        "plan_rebalance", &[&[], OPTIONS], "Plan", "What rebalance() would do.",
        "plan_rebalance(#{ after: plan_recover() })",
        options: &[CONTENTS, DBIDS, HOSTS, AFTER]
    ),
    entry!(
        "plan_restart", &[&[], OPTIONS], "Plan", "What restart() would do.", "plan_restart()",
        options: &[CONTENTS, DBIDS, HOSTS, MODE, AFTER]
    ),
    entry!(
        "plan_verify", &[&[], OPTIONS], "Plan", "What verify() would do.", "plan_verify()",
        options: &[CONTENTS, DBIDS, HOSTS, COMPARE_RATE, JOBS, AFTER]
    ),
    entry!(
        "plan_force_primary", &[OPTIONS], "Plan", "What force_primary() would do, and what may be lost.",
        "plan_force_primary(#{ dbids: 4 })", options: &[DBIDS, AFTER]
    ),
    entry!(
        "confirm",
        &[&["plan: Plan"]],
        "()",
        "Shows a plan and asks once; the calls that it holds then ask no more. Throws `declined`.",
        "confirm(plan_recover())"
    ),
];

pub(super) fn bind_all(module: &mut Module, context: &Rc<Context>) {
    macro_rules! verb {
        ($($name:literal, $plan:literal;)*) => {$(
            api!(module, context, $name, 0, |c| change(c, $name, &Dynamic::UNIT));
            api!(module, context, $name, 1, |c, o: Dynamic| change(c, $name, &o));
            api!(module, context, $plan, 0, |c| planned(c, $plan, $name, &Dynamic::UNIT));
            api!(module, context, $plan, 1, |c, o: Dynamic| planned(c, $plan, $name, &o));
        )*};
    }
    verb! {
        "recover", "plan_recover";
        "full_recover", "plan_full_recover";
        "rebalance", "plan_rebalance";
        "restart", "plan_restart";
        "verify", "plan_verify";
    }
    // An override names its segment: there is no form without.
    api!(module, context, "force_primary", 0, |c, o: Dynamic| change(c, "force_primary", &o));
    api!(module, context, "plan_force_primary", 0, |c, o: Dynamic| {
        planned(c, "plan_force_primary", "force_primary", &o)
    });
    api!(module, context, "confirm", 0, |c, p: PlanRecord| { confirm(c, &p) });
}

/// Reads the options of a mutating call or of its `plan_` form into an intent.
pub(super) fn intent(verb: &str, options: &Options) -> Intent {
    let selection = options.selection();
    let rate_bytes = options.number("rate");
    let jobs = options.number("jobs");
    match verb {
        "full_recover" => {
            Intent::FullRecover { selection, rate_bytes, jobs, in_place: options.flag("in_place", false) }
        }
        "rebalance" => Intent::Rebalance { selection },
        "verify" => Intent::Verify { selection, rate_bytes, jobs },
        "force_primary" => Intent::ForcePrimary { selection },
        "restart" => {
            let mode = options.word("mode").and_then(StopMode::parse).unwrap_or(StopMode::Fast);
            Intent::Restart { selection, mode }
        }
        _ => match options.to() {
            Some(to) => Intent::Move { selection, to, rate_bytes, jobs },
            None => Intent::Recover { selection, rate_bytes, jobs },
        },
    }
}

/// A plan about nothing, for an explicit selection that holds nothing: `recover(#{ dbids: [] })`.
fn made(state: &State, intent: &Intent, options: &Options) -> Plan {
    let mut plan = plan(state, intent, now_ms());
    if options.selects_nothing() {
        plan.steps.clear();
        plan.joined.clear();
        plan.refusals.clear();
        plan.refuses = false;
        plan.after.clear();
        plan.epochs.clear();
    }
    plan
}

/// `recover(options)` and the other mutating calls.
pub(super) fn change(context: &Context, verb: &'static str, argument: &Dynamic) -> Thrower {
    let options = Options::read(verb, catalog::options_of(verb), argument)?;
    not_all_by_accident(verb, verb, &options)?;
    let state = probe_or_last(context, verb)?;
    let plan = made(&state, &intent(verb, &options), &options);
    let how = How::from(&options);
    let outcome = run(context, &plan, &state, &how)?;
    finish(context, outcome, Some(PlanRecord::new(plan, &state)), how.raise)
}

/// A restart without a selection is of everything; one whose selection came out empty must not be.
pub(super) fn not_all_by_accident(function: &str, verb: &str, options: &Options) -> Thrower<()> {
    if verb == "force_primary" && options.selection().dbids.is_empty() {
        let message = format!("{function}(): name the segment that shall serve: {function}(#{{ dbids: N }})");
        return Err(Thrown::script("bad_option", message).next(format!("help(\"{function}\")")));
    }
    if verb != "restart" || !options.selects_nothing() {
        return Ok(());
    }
    let message = format!("{function}(): the selection is empty; leave it out to restart everything");
    Err(Thrown::script("bad_option", message).next(format!("help(\"{function}\")")))
}

/// Every mutating call begins with a probe. A restart must work while nothing can probe.
pub(super) fn probe_or_last(context: &Context, verb: &str) -> Thrower<State> {
    match context.probe() {
        Err(probe) if verb == "restart" && probe.code != "interrupted" => context.state(),
        probed => probed,
    }
}

/// `plan_recover(options)` and the others.
pub(super) fn planned(context: &Context, function: &'static str, verb: &'static str, argument: &Dynamic) -> Thrower {
    let options = Options::read(function, catalog::options_of(function), argument)?;
    not_all_by_accident(function, verb, &options)?;
    let state = match options.plan("after") {
        Some(before) => left_by(context, before)?,
        None => probe_or_last(context, verb)?,
    };
    let plan = made(&state, &intent(verb, &options), &options);
    Ok(Dynamic::from(PlanRecord::new(plan, &state)))
}

/// The state that a plan would leave. One that was read from a file knows it only from the state it
/// was made from, so that must still stand.
fn left_by(context: &Context, before: &PlanRecord) -> Thrower<State> {
    if let Some(after) = &before.after {
        return Ok(State::clone(after));
    }
    let mut state = context.probe()?;
    if let Some(first) = before.plans.first()
        && let Some(refusal) = still_holds(first, &state)
    {
        let refuses = Plan { refuses: true, refusals: vec![refusal], ..first.clone() };
        return Err(Thrown::outcome(&refused(&refuses, &state)));
    }
    for plan in before.plans.iter() {
        state = state_after(&state, plan);
    }
    Ok(state)
}

/// `plan.apply(options)`: refused when what the plan depends on has changed.
pub(super) fn apply(context: &Context, record: &PlanRecord, argument: &Dynamic) -> Thrower {
    let options = Options::read("apply", catalog::options_of("apply"), argument)?;
    let how = How::from(&options);
    let mut outcomes = Vec::new();
    for (index, made) in record.plans.iter().enumerate() {
        let state = probe_or_last(context, made.verb())?;
        // Only the first plan of a sequence was made from a state that was seen; the others are made
        // again from what the ones before have left, and must come out no larger.
        let plan = if index == 0 { made.clone() } else { again(made, &state) };
        let outcome = match still_holds(&plan, &state).filter(|_| !plan.is_empty()) {
            Some(refusal) => {
                let refuses = Plan { refuses: true, refusals: vec![refusal.clone()], ..plan };
                not_to_be(context, &refuses, &state);
                noted(context, refused(&refuses, &state), &refuses.id, Some(&state))
            }
            None => {
                // A person sees a whole sequence before its first step, and is asked once.
                let asks = index == 0 && record.plans.len() > 1;
                match if asks { ask_once(context, record, "apply")? } else { None } {
                    Some(declined) => declined,
                    None => run(context, &plan, &state, &how)?,
                }
            }
        };
        let stop = !matches!(outcome.status, OutcomeStatus::Done | OutcomeStatus::Planned);
        outcomes.push(OutcomeRecord::new(outcome));
        if stop {
            break;
        }
    }
    let whole = joined_outcome(outcomes).map_or_else(|| nothing_to_do("apply"), |o| (*o.0).clone());
    finish(context, whole, Some(record.clone()), how.raise)
}

/// The same intent on the present state, kept to the steps that were shown.
fn again(shown: &Plan, state: &State) -> Plan {
    let restarts_all = matches!(&shown.intent, Intent::Restart { selection, .. } if selection.is_all());
    if shown.is_empty() && !restarts_all {
        return shown.clone();
    }
    let mut now = plan(state, &shown.intent, now_ms());
    let same = |a: &PlanStep, b: &PlanStep| (a.content, a.dbid, a.kind, &a.to) == (b.content, b.dbid, b.kind, &b.to);
    now.steps.retain(|s| shown.steps.iter().any(|o| same(o, s)));
    now
}

/// `confirm(plan)`: asks once; the calls that the plan holds then ask no more.
pub(super) fn confirm(context: &Context, record: &PlanRecord) -> Thrower {
    match ask_once(context, record, "confirm")? {
        None => Ok(Dynamic::UNIT),
        Some(declined) => Err(Thrown::outcome(&declined)),
    }
}

/// Asks for everything that a plan holds at once; an outcome when the answer was not yes.
fn ask_once(context: &Context, record: &PlanRecord, verb: &str) -> Thrower<Option<Outcome>> {
    let plans: Vec<Plan> = record.plans.iter().filter(|p| !p.steps.is_empty()).cloned().collect();
    let name = context.cluster()?.name();
    let Some(damage) = gravest(&plans, &name).filter(|_| !context.grants_hold(&plans)) else {
        return Ok(None);
    };
    if context.dry_run.get() {
        context.ui.note(&format!("would ask: {}", damage.asks()));
    } else {
        match context.ui.confirm_sequence(&plans, &damage) {
            Answer::Yes => {}
            other => {
                let id = plans.first().map(|p| p.id.as_str()).unwrap_or_default();
                return declined(verb, other).map(|outcome| Some(noted(context, outcome, id, None)));
            }
        }
    }
    context.grant(&plans);
    Ok(None)
}

fn gravest(plans: &[Plan], cluster: &str) -> Option<Damage> {
    let rank = |d: &Damage| match d {
        Damage::Reversible => 0,
        Damage::TypeWord(_) => 1,
        Damage::TypeCluster(_) => 2,
    };
    plans.iter().filter_map(|p| Damage::of(p.damage(cluster))).max_by_key(rank)
}

/// The options that say how a call runs, as opposed to on what.
pub(super) struct How {
    wait: bool,
    pub(super) raise: bool,
    timeout: Option<Duration>,
    stall: Option<Duration>,
}

impl From<&Options> for How {
    fn from(options: &Options) -> How {
        let duration = |name| options.number(name).and_then(|ms| u64::try_from(ms).ok()).map(Duration::from_millis);
        How {
            wait: options.flag("wait", true),
            raise: options.flag("raise", true),
            timeout: duration("timeout"),
            stall: duration("stall"),
        }
    }
}

/// Takes a plan through check, confirmation and the coordinator.
pub(super) fn run(context: &Context, plan: &Plan, state: &State, how: &How) -> Thrower<Outcome> {
    if plan.refuses {
        not_to_be(context, plan, state);
        return Ok(noted(context, refused(plan, state), &plan.id, Some(state)));
    }
    let restarts_all = matches!(&plan.intent, Intent::Restart { selection, .. } if selection.is_all());
    if plan.is_empty() && !restarts_all {
        let outcome = Outcome { segments: without_step(state, plan), ..nothing_to_do(plan.verb()) };
        context.ui.ended(&outcome);
        context.told.replace(Some(outcome.clone()));
        return Ok(outcome);
    }
    if let Some(veto) = super::hooks::before(context, plan, state)? {
        let refuses = Plan { refuses: true, refusals: vec![veto.clone()], ..plan.clone() };
        not_to_be(context, &refuses, state);
        return Ok(noted(context, refused(&refuses, state), &plan.id, Some(state)));
    }
    if context.dry_run.get() {
        return Ok(dry(context, plan, state));
    }
    if let Some(outcome) = ask(context, plan, state, restarts_all)? {
        return Ok(outcome);
    }
    let mut outcome = with_left_out(carry_out(context, plan, how)?, plan);
    if outcome.status != OutcomeStatus::Started {
        add_lines(&mut outcome, without_step(state, plan));
    }
    context.record(plan, &outcome);
    context.ui.ended(&outcome);
    context.told.replace(Some(outcome.clone()));
    super::hooks::after(context, &outcome);
    Ok(outcome)
}

/// Adds the lines of segments that the coordinator was not asked about.
fn add_lines(outcome: &mut Outcome, lines: Vec<SegmentOutcome>) {
    let new =
        lines.into_iter().filter(|l| !outcome.segments.iter().any(|s| (s.content, s.dbid) == (l.content, l.dbid)));
    let new: Vec<SegmentOutcome> = new.collect();
    outcome.segments.extend(new);
}

/// What the plan left out was asked for too: the end names it, and is no `done`.
fn with_left_out(mut outcome: Outcome, plan: &Plan) -> Outcome {
    let left_out: Vec<Refusal> = plan.refusals.iter().filter(|r| !outcome.refusals.contains(r)).cloned().collect();
    if outcome.status != OutcomeStatus::Done || left_out.is_empty() {
        return outcome;
    }
    outcome.status = OutcomeStatus::Partial;
    outcome.message = match left_out.len() {
        1 => format!("{}: 1 refused and left out", outcome.verb),
        n => format!("{}: {n} refused and left out", outcome.verb),
    };
    outcome.next = left_out.iter().map(|r| r.next.clone()).find(|next| !next.is_empty()).unwrap_or_default();
    outcome.refusals.extend(left_out);
    outcome
}

/// Asks in proportion to the damage, unless `confirm` has; an outcome when the answer was not yes.
fn ask(context: &Context, plan: &Plan, state: &State, restarts_all: bool) -> Thrower<Option<Outcome>> {
    let mut damage = Damage::of(plan.damage(&state.cluster));
    if restarts_all {
        // Also when no content can be planned: the processes of all of them are stopped.
        damage = Some(Damage::TypeCluster(state.cluster.clone()));
    }
    context.confirmed.take();
    let Some(damage) = damage else {
        return Ok(None);
    };
    if context.use_grant(plan) {
        context.confirmed.replace("confirm()".into());
        return Ok(None);
    }
    match context.ui.confirm(plan, &damage) {
        Answer::Yes => {
            context.confirmed.replace(context.ui.confirmed());
            Ok(None)
        }
        other => declined(plan.verb(), other).map(|outcome| Some(noted(context, outcome, &plan.id, Some(state)))),
    }
}

fn carry_out(context: &Context, plan: &Plan, how: &How) -> Thrower<Outcome> {
    let cluster = context.cluster()?;
    let mut observer = Deadlined::new(context.ui.observer(plan), how);
    let result = match &plan.intent {
        Intent::Restart { selection, mode } if selection.is_all() => cluster.restart_all(*mode, &mut observer),
        _ => cluster.apply(plan, how.wait, &mut observer),
    };
    Ok(observer.judged(result?))
}

/// An observer that gives up on time: it detaches, because the operation itself is not at fault.
pub(super) struct Deadlined {
    inner: Box<dyn Observer>,
    began: Instant,
    timeout: Option<Duration>,
    stall: Option<Duration>,
    seen: Option<Vec<crate::cluster::ContentProgress>>,
    moved: Instant,
    gave_up: Option<String>,
}

impl Deadlined {
    pub(super) fn new(inner: Box<dyn Observer>, how: &How) -> Deadlined {
        let now = Instant::now();
        let (timeout, stall) = (how.timeout, how.stall);
        Deadlined { inner, began: now, timeout, stall, seen: None, moved: now, gave_up: None }
    }

    /// The outcome, or that its end was not waited for.
    pub(super) fn judged(self, mut outcome: Outcome) -> Outcome {
        if let Some(why) = self.gave_up
            && outcome.status == OutcomeStatus::Started
        {
            outcome.status = OutcomeStatus::Unknown;
            outcome.message = format!("{why}; it goes on at the coordinator");
            outcome.next = outcome.op.map_or("operations()".into(), |op| format!("attach({op})"));
        }
        outcome
    }

    /// A copy that only grows older has not moved.
    fn note_movement(&mut self, now: &Progressing) {
        let mut contents = now.contents.clone();
        for progress in contents.iter_mut().filter_map(|c| c.progress.as_mut()) {
            progress.elapsed_ms = 0;
        }
        if self.seen.as_ref() != Some(&contents) {
            self.seen = Some(contents);
            self.moved = Instant::now();
        }
    }
}

impl Observer for Deadlined {
    fn progress(&mut self, now: &Progressing) -> Control {
        self.note_movement(now);
        let asked = self.inner.progress(now);
        if asked != Control::KeepWatching {
            return asked;
        }
        if self.timeout.is_some_and(|t| self.began.elapsed() >= t) {
            self.gave_up = Some("timed out".into());
        } else if self.stall.is_some_and(|s| self.moved.elapsed() >= s) {
            self.gave_up = Some("stalled".into());
        }
        if self.gave_up.is_some() { Control::Detach } else { Control::KeepWatching }
    }

    fn note(&mut self, text: &str) {
        self.inner.note(text);
    }
}

/// A dry run remembers that it was refused, also when the script has caught it.
fn not_to_be(context: &Context, plan: &Plan, state: &State) {
    if context.dry_run.get() {
        context.rehearse(plan, state);
    }
}

/// A change that somebody wanted and that was not begun is in the audit log, too.
fn noted(context: &Context, outcome: Outcome, plan: &str, state: Option<&State>) -> Outcome {
    // Where the coordinator was not there a moment ago, nobody waits for it only to say so.
    let answers = state.is_none_or(|s| s.coordinator.pid.is_some());
    if answers
        && !context.dry_run.get()
        && let Ok(cluster) = context.cluster()
    {
        cluster.not_done(&outcome, plan);
    }
    outcome
}

fn dry(context: &Context, plan: &Plan, state: &State) -> Outcome {
    context.ui.planned(plan, &context.renderer.plan(plan));
    context.rehearse(plan, state);
    Outcome {
        status: OutcomeStatus::Planned,
        segments: as_planned(state, plan),
        refusals: plan.refusals.clone(),
        message: format!("planned, not applied: plan {}", plan.id),
        ..nothing_to_do(plan.verb())
    }
}

fn nothing_to_do(verb: &str) -> Outcome {
    Outcome {
        verb: verb.to_string(),
        status: OutcomeStatus::Done,
        op: None,
        segments: Vec::new(),
        refusals: Vec::new(),
        elapsed_ms: 0,
        message: "nothing to do".into(),
        next: String::new(),
    }
}

/// Nothing is done, for the reasons of a plan that refuses.
fn refused(plan: &Plan, state: &State) -> Outcome {
    let next = plan.refusals.first().map(|r| r.next.clone()).unwrap_or_default();
    let reasons = match plan.refusals.len() {
        1 => "1 reason".to_string(),
        n => format!("{n} reasons"),
    };
    Outcome {
        status: OutcomeStatus::Refused,
        segments: without_step(state, plan),
        refusals: plan.refusals.clone(),
        message: format!("refused: {}. Nothing was changed. {reasons}", plan.verb()),
        next,
        ..nothing_to_do(plan.verb())
    }
}

fn declined(verb: &str, answer: Answer) -> Thrower<Outcome> {
    let (message, next) = match answer {
        Answer::Interrupted => return Err(Thrown::interrupted()),
        Answer::CannotAsk { hint } => (format!("declined: {verb} needs a confirmation and there is no terminal"), hint),
        _ => (format!("declined: {verb}. Nothing was changed"), String::new()),
    };
    Ok(Outcome { status: OutcomeStatus::Declined, message, next, ..nothing_to_do(verb) })
}

/// Returns what is done and throws the rest, so that the next line never walks over a failure. What a dry run returns
/// carries the plan that would have been applied.
pub(super) fn finish(context: &Context, outcome: Outcome, plan: Option<PlanRecord>, raise: bool) -> Thrower {
    if outcome.status == OutcomeStatus::Cancelled && context.ui.interrupted() {
        // An operation's end was told with its number; what has none says here what it left behind.
        let left = if outcome.op.is_some() { "" } else { outcome.message.as_str() };
        return Err(Thrown::interrupted_saying(left).next(&outcome.next));
    }
    let returns = matches!(outcome.status, OutcomeStatus::Done | OutcomeStatus::Started | OutcomeStatus::Planned);
    if returns || !raise {
        let plan = plan.filter(|_| outcome.status == OutcomeStatus::Planned);
        return Ok(Dynamic::from(OutcomeRecord(Rc::new(outcome), plan)));
    }
    Err(Thrown::outcome(&outcome))
}
