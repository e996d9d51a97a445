//! `wait_until`: a wait with an end. It gives up on time, when nothing moves, and when what it waits
//! for can't come by itself.

use super::binding::{Fallible, api, bind};
use super::state::StateRecord;
use crate::cluster::{ContentState, Intent, PairHealth, Selection, State, plan, state_after};
use crate::core::ids::Content;
use crate::script::catalog::{self, CONTENTS, Entry, STALL, TIMEOUT, entry};
use crate::script::context::{Context, guard, now_ms};
use crate::script::near::is_it;
use crate::script::options::Options;
use crate::script::thrown::{Thrower, Thrown};
use rhai::{Dynamic, EvalAltResult, FnPtr, ImmutableString, Module, NativeCallContext};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// What is bound here.
pub(super) const ENTRIES: &[Entry] = &[
    entry!(
        "wait_until",
        &[
            &["condition: string"], &["condition: string", "options: map"],
            &["condition: closure"], &["condition: closure", "options: map"],
        ],
        "State",
        "Waits until \"synchronized\", \"operational\" or a closure over the state; returns that state. \
         Throws `timed_out`, `stalled` or `cannot_happen` (exit 6).",
        "wait_until(\"synchronized\", #{ timeout: \"10m\", stall: \"1m\" })",
        options: &[CONTENTS, TIMEOUT, STALL]
    ),
    entry!("sleep", &[&["time: string"]], "()", "Waits; ends with Ctrl-C.", "sleep(\"5s\")"),
];

pub(super) fn bind_all(module: &mut Module, context: &Rc<Context>) {
    api!(module, context, "wait_until", 0, |c, s: ImmutableString| { named(c, &s, &Dynamic::UNIT) });
    api!(module, context, "wait_until", 1, |c, s: ImmutableString, o: Dynamic| { named(c, &s, &o) });
    let shared = Rc::clone(context);
    bind(module, "wait_until", 2, move |native: NativeCallContext, f: FnPtr| -> Fallible {
        closure(&native, &shared, &f, &Dynamic::UNIT)
    });
    let shared = Rc::clone(context);
    bind(module, "wait_until", 3, move |native: NativeCallContext, f: FnPtr, o: Dynamic| -> Fallible {
        closure(&native, &shared, &f, &o)
    });
    api!(module, context, "sleep", 0, |c, time: Dynamic| { super::session::sleep(c, &time) });
    // Rhai has a sleep of its own for numbers, which no Ctrl-C ends: these forms take its place.
    api!(module, context, "sleep", 0, |c, time: i64| { super::session::sleep(c, &time.into()) });
    api!(module, context, "sleep", 0, |c, time: f64| { super::session::sleep(c, &time.into()) });
}

/// Between two looks at the cluster.
const POLL: Duration = Duration::from_millis(100);
/// The conditions that have a name.
const CONDITIONS: &[&str] = &["synchronized", "operational"];

/// How long a wait may go on.
struct Limits {
    began: Instant,
    timeout: Option<Duration>,
    stall: Option<Duration>,
    moved: Instant,
    seen: Option<String>,
}

impl Limits {
    fn new(options: &Options) -> Limits {
        let duration = |name| options.number(name).and_then(|ms| u64::try_from(ms).ok()).map(Duration::from_millis);
        let now = Instant::now();
        let (timeout, stall) = (duration("timeout"), duration("stall"));
        Limits { began: now, timeout, stall, moved: now, seen: None }
    }

    /// An error when the wait has lasted too long, or when nothing has moved for too long.
    fn check(&mut self, what: &str, state: &State) -> Thrower<()> {
        let now = movement(state);
        if self.seen.as_ref() != Some(&now) {
            self.seen = Some(now);
            self.moved = Instant::now();
        }
        if self.timeout.is_some_and(|t| self.began.elapsed() >= t) {
            return Err(gave_up("timed_out", what, self.began.elapsed()));
        }
        if self.stall.is_some_and(|s| self.moved.elapsed() >= s) {
            return Err(gave_up("stalled", what, self.moved.elapsed()));
        }
        Ok(())
    }
}

fn gave_up(code: &str, what: &str, after: Duration) -> Thrown {
    let how = if code == "stalled" { "nothing moved for" } else { "not so after" };
    let message = format!("wait_until({what}): {how} {:.1} s", after.as_secs_f64());
    Thrown::with_exit(code, 6, message).next("state()")
}

/// What changes when something happens: rows, processes, and blocks copied.
fn movement(state: &State) -> String {
    let mut text = String::new();
    for segment in &state.segments {
        let row = &segment.row;
        text.push_str(&format!(
            "{}{}{}{}{}|",
            row.dbid,
            row.role.letter(),
            row.mode.letter(),
            row.status.letter(),
            segment.alive.alive
        ));
    }
    for content in &state.contents {
        let copied = content.progress.as_ref().map(|p| (p.copied_blocks, p.stage));
        text.push_str(&format!("{copied:?}|"));
    }
    text
}

/// `wait_until("synchronized", options)`.
pub(super) fn named(context: &Context, condition: &str, argument: &Dynamic) -> Thrower {
    let options = read(argument)?;
    if !CONDITIONS.contains(&condition) {
        let near = is_it(condition, CONDITIONS.iter().copied());
        let message = format!("wait_until() knows no condition `{condition}`{near}");
        return Err(Thrown::script("unknown_condition", message)
            .next(format!("conditions: {}, or a closure over the state", CONDITIONS.join(", "))));
    }
    let what = format!("\"{condition}\"");
    if context.dry_run.get() {
        return rehearsed(context, condition, &options);
    }
    let mut limits = Limits::new(&options);
    loop {
        let state = seen_now(context)?;
        if holds(condition, &state, &options)? {
            return Ok(Dynamic::from(StateRecord(Rc::new(state))));
        }
        // What looks impossible may only be old news, so it is judged by a fresh probe.
        if never(&state, condition, &options).is_some()
            && let Some(thrown) = never(&context.probe()?, condition, &options)
        {
            return Err(thrown);
        }
        limits.check(&what, &state)?;
        context.sleep(POLL)?;
    }
}

/// The state as somebody sees it now. The last catalog of a coordinator that is gone proves nothing of
/// now, and no wait changes it: then the probe's error ends the wait.
fn seen_now(context: &Context) -> Thrower<State> {
    let state = context.state()?;
    if state.coordinator.pid.is_some() { Ok(state) } else { context.probe() }
}

/// Nothing moves in a dry run: what copies now is taken as copied, and nothing else is waited for.
fn rehearsed(context: &Context, condition: &str, options: &Options) -> Thrower {
    let now = seen_now(context)?;
    let copied = copies_ended(&now, selected(&now, options)?);
    let state = if condition == "synchronized" { copied } else { now.clone() };
    if let Some(thrown) = never(&state, condition, options) {
        return Err(thrown);
    }
    if !holds(condition, &state, options)? {
        context.ui.note(&format!("would wait until {condition}"));
    }
    if state != now {
        context.imagine(state.clone());
    }
    Ok(Dynamic::from(StateRecord(Rc::new(state))))
}

/// The state once every copy of these contents that is under way has ended well.
fn copies_ended(state: &State, contents: Vec<&ContentState>) -> State {
    let selection = Selection { contents: contents.iter().map(|c| c.content).collect(), ..Selection::default() };
    let mut ended = plan(state, &Intent::Recover { selection, rate_bytes: None, jobs: None }, now_ms());
    let joined: Vec<Content> = ended.joined.iter().map(|j| j.content).collect();
    ended.after.retain(|row| joined.contains(&row.content));
    state_after(state, &ended)
}

fn read(argument: &Dynamic) -> Thrower<Options> {
    Options::read("wait_until", catalog::options_of("wait_until"), argument)
}

fn holds(condition: &str, state: &State, options: &Options) -> Thrower<bool> {
    let contents = selected(state, options)?;
    Ok(match condition {
        "operational" => state.operational(),
        _ => contents.iter().all(|c| matches!(c.health, PairHealth::Synchronized | PairHealth::NoMirror)),
    })
}

fn selected<'a>(state: &'a State, options: &Options) -> Thrower<Vec<&'a ContentState>> {
    let Some(numbers) = options.numbers("contents") else {
        return Ok(state.contents.iter().collect());
    };
    let find = |n: &i64| {
        state
            .content(Content(*n))
            .ok_or_else(|| Thrown::script("unknown_target", format!("there is no content {n}")).next("state()"))
    };
    numbers.iter().map(find).collect()
}

/// Why it will not become so by itself: nobody is at work, or nobody can be.
fn never(state: &State, condition: &str, options: &Options) -> Option<Thrown> {
    let operational = condition == "operational";
    let stuck = |c: &&&ContentState| match c.health {
        PairHealth::Quarantined => true,
        // What restarts it is an operation, and makes it serve, though not yet synchronized.
        PairHealth::DoubleFault => !operational || c.operation.is_none(),
        // A restart is all that it takes: without a mirror there is nothing to synchronize after it.
        PairHealth::Lost => c.operation.is_none(),
        PairHealth::ChangeTracking => !operational && c.operation.is_none(),
        _ => false,
    };
    let contents = if operational { state.contents.iter().collect() } else { selected(state, options).ok()? };
    let stuck = contents.iter().find(stuck)?;
    let next = match stuck.health {
        PairHealth::ChangeTracking => format!("recover(#{{ contents: [{}] }})", stuck.content),
        PairHealth::DoubleFault => "procedure(\"recover_double_fault\")".to_string(),
        PairHealth::Lost => "procedure(\"recover_without_mirroring\")".to_string(),
        _ => "state().rows".to_string(),
    };
    let message = format!(
        "content {} is in {} and nothing is at work on it: it can't become {condition} by itself",
        stuck.content,
        stuck.health.word()
    );
    Some(Thrown::with_exit("cannot_happen", 6, message).next(next))
}

/// `wait_until(|s| …, options)`.
pub(super) fn closure(
    native: &NativeCallContext,
    context: &Context,
    condition: &FnPtr,
    argument: &Dynamic,
) -> Result<Dynamic, Box<EvalAltResult>> {
    let options = guard("wait_until", || read(argument))?;
    let mut limits = Limits::new(&options);
    loop {
        let state = Rc::new(guard("wait_until", || context.state())?);
        let record = StateRecord(Rc::clone(&state));
        let answer: Dynamic = condition.call_within_context(native, (record.clone(),))?;
        let holds = answer.as_bool().map_err(|found| {
            let message = format!("wait_until() needs a closure that says true or false, not {found}");
            Box::<EvalAltResult>::from(Thrown::script("type_mismatch", message))
        })?;
        if holds {
            return Ok(Dynamic::from(record));
        }
        if context.dry_run.get() {
            context.ui.note("would wait until a closure is true, which it is not yet");
            return Ok(Dynamic::from(record));
        }
        guard("wait_until", || {
            if state.coordinator.pid.is_none() {
                // It may have been what was waited for; when it was not, nothing can change any more.
                context.probe()?;
            }
            limits.check("a closure", &state)?;
            context.sleep(POLL)
        })?;
    }
}
