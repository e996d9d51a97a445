//! The API, one file a noun. Everything a script can call is bound here, from the catalog's entry.

pub mod change;
pub mod demo;
pub mod fault;
pub mod outcome;
pub mod plan;
pub mod procedures;
pub mod refusal;
pub mod segments;
pub mod session;
pub mod sql;
pub mod state;
pub mod traffic;
pub mod wait;

use super::catalog::{Entry, find};
use super::context::{Context, guard};
use super::letters;
use super::record::{FieldDoc, Record, docs};
use super::thrown::Thrown;
use crate::core::row::{Mode, Role, Status};
use demo::{TrafficRecord, TrafficReport};
use outcome::{OutcomeRecord, SegmentOutcomeRecord};
use plan::PlanRecord;
use refusal::RefusalRecord;
use rhai::{
    Array, Dynamic, Engine, EvalAltResult, FnPtr, FuncRegistration, ImmutableString, Map, Module, NativeCallContext,
    RhaiNativeFunc, Variant,
};
use segments::Segments;
use serde_json::Value;
use sql::{RowsRecord, SqlRow};
use state::{
    ContentRecord, CoordinatorRecord, HostRecord, RecoveryRecord, RowRecord, SegmentRecord, StateRecord, WarningRecord,
};
use std::rc::Rc;

type Fallible = Result<Dynamic, Box<EvalAltResult>>;

/// Registers the records and every function of the catalog.
pub fn register(engine: &mut Engine, context: &Rc<Context>) {
    letters::register(engine);
    state::register(engine, context);
    segments::register(engine, context);
    refusal::register(engine, context);
    outcome::register(engine, context);
    plan::register(engine, context);
    sql::register(engine, context);
    demo::register(engine, context);
    session::register_errors(engine);

    let mut module = Module::new();
    bind_states(&mut module, context);
    bind_changes(&mut module, context);
    bind_plans(&mut module, context);
    bind_sql(&mut module, context);
    bind_waits(&mut module, context);
    bind_session(&mut module, context);
    engine.register_global_module(module.into());
    engine.register_static_module("fault", fault_module(context).into());
    engine.register_static_module("demo", demo_module(context).into());
}

/// Registers one form of a function with what the catalog says of it.
fn bind<A: 'static, const N: usize, const X: bool, R, const F: bool, FUNC>(
    module: &mut Module,
    name: &str,
    form: usize,
    function: FUNC,
) where
    R: Variant + Clone,
    FUNC: RhaiNativeFunc<A, N, X, R, F> + 'static,
{
    let entry: Option<&Entry> = find(name);
    let plain = name.rsplit([':', '.']).next().unwrap_or(name);
    let mut registration = FuncRegistration::new(plain).with_volatility(true);
    if let Some(entry) = entry {
        let params = entry.forms.get(form).copied().unwrap_or_default();
        let info = params.iter().map(|p| (*p).to_string()).chain([entry.returns.to_string()]);
        registration =
            registration.with_params_info(info.collect::<Vec<_>>()).with_comments([format!("/// {}", entry.doc)]);
    }
    registration.set_into_module(module, function);
}

/// A binding: shares the context, guards against panics, and returns what the API throws.
macro_rules! api {
    ($module:expr, $context:expr, $name:literal, $form:literal,
     |$c:ident $(, $arg:ident: $type:ty)*| $body:expr) => {{
        let shared = Rc::clone($context);
        bind($module, $name, $form, move |$($arg: $type),*| -> Fallible {
            let $c = &*shared;
            guard($name, || $body)
        });
    }};
}

fn bind_states(module: &mut Module, context: &Rc<Context>) {
    api!(module, context, "state", 0, |c| { Ok(Dynamic::from(StateRecord(Rc::new(c.cluster()?.state()?)))) });
    api!(module, context, "probe", 0, |c| { Ok(Dynamic::from(StateRecord(Rc::new(c.cluster()?.probe()?)))) });
    api!(module, context, "recoveries", 0, |c| { Ok(state::recoveries(&c.cluster()?.state()?).into()) });
    api!(module, context, "state.content", 0, |_c, s: &mut StateRecord, n: i64| { state::content(s, n) });
    api!(module, context, "state.segment", 0, |_c, s: &mut StateRecord, n: i64| { state::segment(s, n) });
    api!(module, context, "state.host", 0, |_c, s: &mut StateRecord, n: ImmutableString| { state::host(s, &n) });
}

fn bind_changes(module: &mut Module, context: &Rc<Context>) {
    macro_rules! verb {
        ($($name:literal, $plan:literal;)*) => {$(
            api!(module, context, $name, 0, |c| change::change(c, $name, &Dynamic::UNIT));
            api!(module, context, $name, 1, |c, o: Dynamic| change::change(c, $name, &o));
            api!(module, context, $plan, 0, |c| change::planned(c, $plan, $name, &Dynamic::UNIT));
            api!(module, context, $plan, 1, |c, o: Dynamic| change::planned(c, $plan, $name, &o));
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
    api!(module, context, "force_primary", 0, |c, o: Dynamic| change::change(c, "force_primary", &o));
    api!(module, context, "plan_force_primary", 0, |c, o: Dynamic| {
        change::planned(c, "plan_force_primary", "force_primary", &o)
    });
}

fn bind_plans(module: &mut Module, context: &Rc<Context>) {
    api!(module, context, "plan_sequence", 0, |_c, plans: Array| { plan::sequence(&plans) });
    api!(module, context, "load_plan", 0, |_c, file: ImmutableString| plan::load(&file));
    api!(module, context, "confirm", 0, |c, p: PlanRecord| { change::confirm(c, &p) });
    api!(module, context, "plan.apply", 0, |c, p: &mut PlanRecord| { change::apply(c, p, &Dynamic::UNIT) });
    api!(module, context, "plan.apply", 1, |c, p: &mut PlanRecord, o: Dynamic| { change::apply(c, p, &o) });
    api!(module, context, "plan.save", 0, |_c, p: &mut PlanRecord, file: ImmutableString| { plan::save(p, &file) });
}

fn bind_sql(module: &mut Module, context: &Rc<Context>) {
    use crate::cluster::SqlTarget::Catalog;
    api!(module, context, "sql", 0, |c, t: ImmutableString| sql::sql(c, Catalog, &t, &Array::new()));
    api!(module, context, "sql", 1, |c, t: ImmutableString, p: Array| sql::sql(c, Catalog, &t, &p));
    api!(module, context, "sql", 2, |c, n: i64, t: ImmutableString| { sql::sql(c, sql::target(n), &t, &Array::new()) });
    api!(module, context, "sql", 3, |c, n: i64, t: ImmutableString, p: Array| { sql::sql(c, sql::target(n), &t, &p) });
    api!(module, context, "sql_all", 0, |c, t: ImmutableString| { sql::sql_all(c, &t, &Array::new()) });
    api!(module, context, "sql_all", 1, |c, t: ImmutableString, p: Array| sql::sql_all(c, &t, &p));
}

fn bind_waits(module: &mut Module, context: &Rc<Context>) {
    api!(module, context, "wait_until", 0, |c, s: ImmutableString| { wait::named(c, &s, &Dynamic::UNIT) });
    api!(module, context, "wait_until", 1, |c, s: ImmutableString, o: Dynamic| { wait::named(c, &s, &o) });
    let shared = Rc::clone(context);
    bind(module, "wait_until", 2, move |native: NativeCallContext, f: FnPtr| -> Fallible {
        wait::closure(&native, &shared, &f, &Dynamic::UNIT)
    });
    let shared = Rc::clone(context);
    bind(module, "wait_until", 3, move |native: NativeCallContext, f: FnPtr, o: Dynamic| -> Fallible {
        wait::closure(&native, &shared, &f, &o)
    });
    api!(module, context, "sleep", 0, |c, time: Dynamic| { session::sleep(c, &time) });
}

fn bind_session(module: &mut Module, context: &Rc<Context>) {
    api!(module, context, "ping", 0, |c, h: ImmutableString| { session::ping(c, &h) });
    api!(module, context, "setting", 0, |c, n: ImmutableString| { session::setting(c, &n, None) });
    api!(module, context, "setting", 1, |c, n: ImmutableString, v: Dynamic| { session::setting(c, &n, Some(&v)) });
    api!(module, context, "fts_pause", 0, |c| session::fts_pause(c, None));
    api!(module, context, "fts_pause", 1, |c, time: Dynamic| { session::fts_pause(c, Some(&time)) });
    api!(module, context, "fts_resume", 0, |c| session::fts_resume(c));
    api!(module, context, "evidence", 0, |c, n: i64| session::evidence(c, n));
    api!(module, context, "traffic.report", 0, |_c, t: &mut TrafficRecord| demo::report(t));
    api!(module, context, "traffic.stop", 0, |c, t: &mut TrafficRecord| demo::stop(c, t));
    api!(module, context, "args", 0, |c| session::args(c));
    api!(module, context, "help", 0, |c| session::help(c, None));
    api!(module, context, "help", 1, |c, s: ImmutableString| { session::help(c, Some(&s)) });
    api!(module, context, "procedures", 0, |_c| Ok(procedures::list().into()));
    let shared = Rc::clone(context);
    bind(module, "exit", 0, move || -> Fallible { session::exit(&shared, 0) });
    let shared = Rc::clone(context);
    bind(module, "exit", 1, move |code: Dynamic| -> Fallible {
        let code = code
            .as_int()
            .map_err(|found| Thrown::script("type_mismatch", format!("exit() takes a number, not {found}")))?;
        session::exit(&shared, code)
    });
    let shared = Rc::clone(context);
    bind(module, "procedure", 0, move |native: NativeCallContext, name: ImmutableString| -> Fallible {
        procedures::run(&native, &shared, &name, Map::new())
    });
    let shared = Rc::clone(context);
    bind(module, "procedure", 1, move |native: NativeCallContext, name: ImmutableString, options: Map| -> Fallible {
        procedures::run(&native, &shared, &name, options)
    });
}

fn fault_module(context: &Rc<Context>) -> Module {
    let mut module = Module::new();
    api!(&mut module, context, "fault::kill", 0, |c, s: Dynamic| { fault::kill(c, &s) });
    api!(&mut module, context, "fault::stop_host", 0, |c, h: ImmutableString| { fault::stop_host(c, &h) });
    api!(&mut module, context, "fault::start_host", 0, |c, h: ImmutableString| { fault::start_host(c, &h) });
    module
}

fn demo_module(context: &Rc<Context>) -> Module {
    let mut module = Module::new();
    api!(&mut module, context, "demo::load", 0, |c, s: Dynamic| {
        let size = s.clone().into_string().map_err(|found| {
            Thrown::script("bad_size", format!("demo::load() takes a size such as \"256 MiB\", not {found}"))
        })?;
        demo::load(c, &size)
    });
    api!(&mut module, context, "demo::traffic", 0, |c| demo::traffic(c));
    module
}

/// The JSON of a record of the API; `None` for any other value.
pub(super) fn record_json(value: &Dynamic) -> Option<Value> {
    macro_rules! try_each {
        ($($type:ty),*) => {$(
            if let Some(record) = value.read_lock::<$type>() {
                return Some(Record::json(&*record));
            }
        )*};
    }
    try_each!(
        StateRecord,
        SegmentRecord,
        ContentRecord,
        HostRecord,
        CoordinatorRecord,
        RowRecord,
        RecoveryRecord,
        WarningRecord,
        RefusalRecord,
        OutcomeRecord,
        SegmentOutcomeRecord,
        PlanRecord,
        RowsRecord,
        TrafficRecord,
        TrafficReport
    );
    if let Some(segments) = value.read_lock::<Segments>() {
        return Some(segments.json());
    }
    if let Some(row) = value.read_lock::<SqlRow>() {
        return Some(row.json());
    }
    letter(value).map(Value::from)
}

fn letter(value: &Dynamic) -> Option<&'static str> {
    let role = value.read_lock::<Role>().map(|v| v.letter());
    let mode = || value.read_lock::<Mode>().map(|v| v.letter());
    let status = || value.read_lock::<Status>().map(|v| v.letter());
    role.or_else(mode).or_else(status)
}

/// The kind of a value in the `--json` envelope.
pub(super) fn kind(value: &Dynamic) -> &'static str {
    if value.is::<StateRecord>() {
        "state"
    } else if value.is::<PlanRecord>() {
        "plan"
    } else if value.is::<OutcomeRecord>() {
        "outcome"
    } else if value.is::<RefusalRecord>() {
        "refusal"
    } else {
        "value"
    }
}

/// Every field of every record.
pub fn record_docs() -> Vec<FieldDoc> {
    [
        docs::<StateRecord>(),
        docs::<SegmentRecord>(),
        docs::<ContentRecord>(),
        docs::<HostRecord>(),
        docs::<CoordinatorRecord>(),
        docs::<RowRecord>(),
        docs::<RecoveryRecord>(),
        docs::<WarningRecord>(),
        docs::<RefusalRecord>(),
        docs::<OutcomeRecord>(),
        docs::<SegmentOutcomeRecord>(),
        docs::<PlanRecord>(),
        docs::<RowsRecord>(),
        docs::<TrafficRecord>(),
        docs::<TrafficReport>(),
    ]
    .concat()
}
