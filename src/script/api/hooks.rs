//! `before` and `after`: a site's own rules around every change.
//!
//! A hook before a change sees its plan and may veto it; one that fails vetoes too, because a rule that can't be
//! checked is not kept. A hook after a change sees its outcome and changes nothing of it. Both run on an engine of
//! their own, whose limits are counted here: Rhai counts anew inside a closure that a native function calls.

use super::binding::{Fallible, bind};
use super::outcome::OutcomeRecord;
use super::plan::PlanRecord;
use crate::cluster::{Outcome, Plan, Refusal, RefusalCode, State};
use crate::script::catalog::{Entry, entry};
use crate::script::context::Context;
use crate::script::engine;
use crate::script::error::ScriptError;
use crate::script::modules::{Resolver, read_trusted};
use crate::script::near::is_it;
use crate::script::thrown::{Thrower, Thrown};
use rhai::{Dynamic, Engine, EvalAltResult, FnPtr, ImmutableString, Module, NativeCallContext};
use std::cell::{Cell, RefCell};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// What is bound here.
pub(super) const ENTRIES: &[Entry] = &[
    entry!(
        "before",
        &[&["call: string", "hook: closure"]],
        "()",
        "Asks a closure over the plan before each such change (\"*\": each change). What it throws vetoes the change; \
         so does its own failure. A site's own stand in hooks.rhai in its folder.",
        "before(\"recover\", |plan| if plan.steps.len() > 8 { throw \"ask first\" })"
    ),
    entry!(
        "after",
        &[&["call: string", "hook: closure"]],
        "()",
        "Tells a closure the outcome after each such change (\"*\": each change). Its failure is only a warning.",
        "after(\"*\", |outcome| print(outcome.message))"
    ),
];

/// The calls that hooks can be about.
const CALLS: &[&str] = &["*", "recover", "full_recover", "rebalance", "restart", "verify", "force_primary"];
/// The file with a site's own hooks.
const SITE_FILE: &str = "hooks.rhai";
/// A hook decides; it does not work.
const OPERATIONS_MAX: u64 = 1_000_000;
const TIME_MAX: Duration = Duration::from_secs(10);

/// When a hook runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum When {
    Before,
    After,
}

/// A closure with what it needs to be called later, and where it was registered.
struct Hook {
    when: When,
    call: String,
    function: FnPtr,
    #[allow(deprecated)]
    made: rhai::NativeCallContextStore,
    at: String,
    /// From a site's file: it stays when the next script begins.
    of_site: bool,
}

/// The hooks of a session.
#[derive(Default)]
pub(in crate::script) struct Hooks {
    hooks: RefCell<Vec<Rc<Hook>>>,
    engine: RefCell<Option<Rc<Engine>>>,
    resolver: RefCell<Option<Resolver>>,
    /// A site's file that can't be used, and why: then nothing may be changed.
    broken: RefCell<Option<(PathBuf, String)>>,
    loading: Cell<bool>,
    /// When the hook that runs must be over.
    until: Cell<Option<Instant>>,
    spent: Cell<u64>,
}

impl Hooks {
    /// Where modules and procedures are found.
    pub(in crate::script) fn resolver(&self) -> Option<Resolver> {
        self.resolver.borrow().clone()
    }

    /// A hook runs.
    fn runs(&self) -> bool {
        self.until.get().is_some()
    }

    /// Why the hook that runs has run for too long.
    pub(in crate::script) fn over(&self) -> Option<&'static str> {
        let until = self.until.get()?;
        if self.spent.get() > OPERATIONS_MAX {
            return Some("it took more than 1000000 steps");
        }
        (Instant::now() >= until).then_some("it took more than 10 s")
    }

    /// Counts a step of the hook that runs; whether it must end.
    fn step(&self) -> bool {
        self.spent.set(self.spent.get() + 1);
        // The clock is looked at now and then: a step takes far less than it does.
        let is_time = self.spent.get().is_multiple_of(256) || self.spent.get() > OPERATIONS_MAX;
        is_time && self.over().is_some()
    }

    /// Forgets what the script before has registered.
    pub(in crate::script) fn begin_script(&self) {
        self.hooks.borrow_mut().retain(|hook| hook.of_site);
    }

    /// Gives up the engine, which holds the session's context as that holds the engine.
    pub(in crate::script) fn end(&self) {
        self.hooks.take();
        self.engine.take();
        self.resolver.take();
    }
}

pub(super) fn bind_all(module: &mut Module, context: &Rc<Context>) {
    let shared = Rc::clone(context);
    bind(module, "before", 0, move |native: NativeCallContext, call: ImmutableString, f: FnPtr| -> Fallible {
        register(&native, &shared, When::Before, &call, f)
    });
    let shared = Rc::clone(context);
    bind(module, "after", 0, move |native: NativeCallContext, call: ImmutableString, f: FnPtr| -> Fallible {
        register(&native, &shared, When::After, &call, f)
    });
}

fn register(native: &NativeCallContext, context: &Rc<Context>, when: When, call: &str, function: FnPtr) -> Fallible {
    if !CALLS.contains(&call) {
        let near = is_it(call, CALLS.iter().copied());
        let message = format!("there is no change `{call}` to hook on{near}");
        return Err(Thrown::script("unknown_subject", message).next(format!("one of: {}", CALLS.join(" "))).into());
    }
    engine_of(context);
    context.called_from(native);
    let at = context.called_at.borrow().clone();
    let at = if at.is_empty() { "prompt".to_string() } else { at };
    #[allow(deprecated)]
    let made = native.store_data();
    let of_site = context.hooks.loading.get();
    let hook = Hook { when, call: call.to_string(), function, made, at, of_site };
    context.hooks.hooks.borrow_mut().push(Rc::new(hook));
    Ok(Dynamic::UNIT)
}

/// The engine that hooks run on, made when the first is registered.
fn engine_of(context: &Rc<Context>) -> Option<Rc<Engine>> {
    if let Some(engine) = &*context.hooks.engine.borrow() {
        return Some(Rc::clone(engine));
    }
    let resolver = context.hooks.resolver.borrow().clone()?;
    let mut engine = engine::build(context, resolver);
    let shared = Rc::clone(context);
    engine.on_progress(move |_| (shared.must_end() || shared.hooks.step()).then(|| Dynamic::from("end")));
    let engine = Rc::new(engine);
    context.hooks.engine.replace(Some(Rc::clone(&engine)));
    Some(engine)
}

/// Makes hooks possible, and loads those of the machine and the site.
pub(in crate::script) fn begin(context: &Rc<Context>, resolver: &Resolver, folders: &[Option<PathBuf>]) {
    context.hooks.resolver.replace(Some(resolver.clone()));
    for folder in folders.iter().flatten() {
        let file = folder.join(SITE_FILE);
        // What can't even be looked at is not known to be absent.
        if matches!(file.try_exists(), Ok(false)) {
            continue;
        }
        if let Err(why) = load(context, folder, &file) {
            context.hooks.broken.replace(Some((file, why)));
        }
    }
}

fn load(context: &Rc<Context>, folder: &Path, file: &Path) -> Result<(), String> {
    let text = read_trusted(folder, file).map_err(|e| e.to_string())?;
    let engine = engine_of(context).ok_or("there is no engine")?;
    let name = file.display().to_string();
    let mut ast = engine.compile(&text).map_err(|e| e.to_string())?;
    ast.set_source(name.as_str());
    context.sources.borrow_mut().insert(name.clone(), text);
    context.hooks.loading.set(true);
    let run = limited(context, || engine.run_ast(&ast));
    context.hooks.loading.set(false);
    run.map_err(|error| failure(context, *error, &name).0)
}

/// Runs a hook within its limits.
fn limited<T>(context: &Context, run: impl FnOnce() -> Result<T, Box<EvalAltResult>>) -> Result<T, Box<EvalAltResult>> {
    let hooks = &context.hooks;
    let called_at = context.called_at.borrow().clone();
    hooks.spent.set(0);
    hooks.until.set(Some(Instant::now() + TIME_MAX));
    let mut result = run();
    // A script that catches its own end has still not kept to its limits.
    if let Some(why) = hooks.over() {
        result = Err(why.into());
    }
    hooks.until.set(None);
    context.called_at.replace(called_at);
    result
}

/// What a hook says by failing, and where.
fn failure(context: &Context, error: EvalAltResult, file: &str) -> (String, Option<String>) {
    let error = ScriptError::runtime(error, file, &context.sources.borrow(), &[]);
    (error.message, error.position.map(|p| format!("{}:{}", p.file, p.line)))
}

fn call(context: &Context, hook: &Hook, argument: Dynamic) -> Result<(), Box<EvalAltResult>> {
    let Some(engine) = context.hooks.engine.borrow().clone() else { return Ok(()) };
    #[allow(deprecated)]
    let native = hook.made.create_context(&engine);
    limited(context, || hook.function.call_within_context::<Dynamic>(&native, (argument,)).map(drop))
}

fn wanted(context: &Context, when: When, verb: &str) -> Vec<Rc<Hook>> {
    let hooks = context.hooks.hooks.borrow();
    hooks.iter().filter(|h| h.when == when && (h.call == "*" || h.call == verb)).cloned().collect()
}

/// Asks the hooks about a plan, in the order in which they were registered; the first veto ends it.
pub(in crate::script) fn before(context: &Context, plan: &Plan, state: &State) -> Thrower<Option<Refusal>> {
    if context.hooks.runs() {
        let message = format!("{}(): a hook looks and decides; it changes nothing itself", plan.verb());
        return Err(Thrown::script("in_hook", message).next("help(\"before\")"));
    }
    if let Some((file, why)) = &*context.hooks.broken.borrow() {
        return Ok(Some(vetoed(format!("the site's hooks can't be used: {why}"), &file.display().to_string())));
    }
    for hook in wanted(context, When::Before, plan.verb()) {
        let record = Dynamic::from(PlanRecord::new(plan.clone(), state));
        if let Err(error) = call(context, &hook, record) {
            if context.must_end() {
                return Err(Thrown::interrupted());
            }
            let (message, at) = failure(context, *error, &hook.at);
            return Ok(Some(vetoed(message, &at.unwrap_or_else(|| hook.at.clone()))));
        }
    }
    Ok(None)
}

fn vetoed(cause: String, at: &str) -> Refusal {
    let next = format!("look at {at}");
    Refusal { code: RefusalCode::Vetoed, content: None, dbid: None, host: None, cause, next }
}

/// Tells the hooks how a change ended.
pub(in crate::script) fn after(context: &Context, outcome: &Outcome) {
    for hook in wanted(context, When::After, &outcome.verb) {
        let record = Dynamic::from(OutcomeRecord::new(outcome.clone()));
        if let Err(error) = call(context, &hook, record)
            && !context.must_end()
        {
            let (message, at) = failure(context, *error, &hook.at);
            let at = at.unwrap_or_else(|| hook.at.clone());
            context.ui.note(&format!("warning: the hook of {at} failed after {}: {message}", outcome.verb));
        }
    }
}
