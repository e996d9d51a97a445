//! The API, one file a noun. Everything a script can call is bound here, from the catalog's entry.

pub mod assertion;
pub mod backup;
pub(super) mod binding;
pub mod change;
pub mod checks;
pub mod demo;
pub mod fault;
pub mod gp;
pub mod hooks;
pub mod hosts;
pub mod maintenance;
pub mod operations;
pub mod outcome;
pub mod plan;
pub mod plan_diff;
pub mod procedures;
pub mod refusal;
pub mod segments;
pub mod session;
pub mod sql;
pub mod state;
pub mod traffic;
pub mod wait;
pub mod why;

use super::catalog::Entry;
use super::context::Context;
use super::letters;
use super::record::{FieldDoc, Record, docs};
use crate::core::row::{Mode, Role, Status};
use checks::CheckRecord;
use demo::{Loaded, TrafficRecord, TrafficReport};
use gp::UtilityRecord;
use maintenance::MaintenanceRecord;
use operations::{AuditRecord, OperationRecord};
use outcome::{OutcomeRecord, SegmentOutcomeRecord};
use plan::PlanRecord;
use plan_diff::PlanDiffRecord;
use refusal::RefusalRecord;
use rhai::{Dynamic, Engine, Module};
use segments::Segments;
use serde_json::Value;
use sql::{RowsRecord, SqlRow};
use state::{
    ContentRecord, CoordinatorRecord, HostRecord, RecoveryRecord, RowRecord, SegmentRecord, StateRecord, WarningRecord,
};
use std::rc::Rc;
use why::WhyRecord;

/// The catalog, as the files here have it.
pub(super) const ENTRIES: &[&[Entry]] = &[
    state::ENTRIES,
    change::ENTRIES,
    plan::ENTRIES,
    wait::ENTRIES,
    sql::ENTRIES,
    segments::ENTRIES,
    session::ENTRIES,
    procedures::ENTRIES,
    fault::ENTRIES,
    demo::ENTRIES,
    operations::ENTRIES,
    maintenance::ENTRIES,
    hooks::ENTRIES,
    why::ENTRIES,
    plan_diff::ENTRIES,
    backup::ENTRIES,
    assertion::ENTRIES,
    checks::ENTRIES,
    hosts::ENTRIES,
    gp::ENTRIES,
];

/// Every record of the API: what is missing here has neither JSON nor help.
macro_rules! records {
    ($with:ident) => {
        $with!(
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
            TrafficReport,
            Loaded,
            OperationRecord,
            AuditRecord,
            MaintenanceRecord,
            WhyRecord,
            PlanDiffRecord,
            UtilityRecord,
            CheckRecord,
            Segments,
        )
    };
}

/// Registers the records and every function of the catalog.
pub fn register(engine: &mut Engine, context: &Rc<Context>) {
    let mut plain = Module::new();
    letters::register(&mut plain);
    for register in [
        state::register,
        segments::register,
        refusal::register,
        outcome::register,
        plan::register,
        sql::register,
        demo::register,
        operations::register,
        maintenance::register,
        why::register,
        plan_diff::register,
        gp::register,
        checks::register,
    ] {
        register(&mut plain, context);
    }
    session::register_errors(engine, &mut plain);
    for bind_all in [
        state::bind_all,
        change::bind_all,
        plan::bind_all,
        wait::bind_all,
        sql::bind_all,
        segments::bind_all,
        session::bind_all,
        procedures::bind_all,
        demo::bind_methods,
        operations::bind_all,
        maintenance::bind_all,
        hooks::bind_all,
        why::bind_all,
        plan_diff::bind_all,
        backup::bind_all,
        assertion::bind_all,
        checks::bind_all,
        hosts::bind_all,
        gp::bind_all,
    ] {
        bind_all(&mut plain, context);
    }
    engine.register_global_module(plain.into());
    let mut faults = Module::new();
    fault::bind_all(&mut faults, context);
    engine.register_static_module("fault", faults.into());
    let mut demos = Module::new();
    demo::bind_all(&mut demos, context);
    engine.register_static_module("demo", demos.into());
}

/// The JSON of a record of the API; `None` for any other value.
pub(super) fn record_json(value: &Dynamic) -> Option<Value> {
    macro_rules! try_each {
        ($($type:ty),* $(,)?) => {$(
            if let Some(record) = value.read_lock::<$type>() {
                return Some(Record::json(&*record));
            }
        )*};
    }
    records!(try_each);
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
    } else if value.is::<WhyRecord>() {
        "why"
    } else if value.is::<UtilityRecord>() {
        "utility"
    } else {
        "value"
    }
}

/// Every field of every record.
pub fn record_docs() -> Vec<FieldDoc> {
    macro_rules! all {
        ($($type:ty),* $(,)?) => { [$(docs::<$type>()),*].concat() };
    }
    records!(all)
}

/// The last part of each type's Rust name, and what scripts call it.
pub(super) fn type_names() -> Vec<(&'static str, &'static str)> {
    macro_rules! all {
        ($($type:ty),* $(,)?) => {
            vec![$((std::any::type_name::<$type>().rsplit("::").next().unwrap_or_default(), <$type as Record>::NAME)),*]
        };
    }
    records!(all)
}
