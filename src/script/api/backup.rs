//! `backup()`: every content as it is at one moment, written into a directory.

use super::binding::api;
use super::change::{How, finish, run};
use super::plan::PlanRecord;
use crate::cluster::{Intent, Plan, Selection, State, plan};
use crate::script::catalog::{self, COMPARE_RATE, Entry, JOBS, RAISE, STALL, TIMEOUT, WAIT, entry};
use crate::script::context::{Context, now_ms};
use crate::script::options::Options;
use crate::script::thrown::Thrower;
use rhai::{Dynamic, ImmutableString, Module};
use std::rc::Rc;

/// What is bound here.
pub(super) const ENTRIES: &[Entry] = &[
    entry!(
        "backup", &[&["dir: string"], &["dir: string", "options: map"]], "Outcome",
        "Writes every content, as it is at one moment, into a new or empty directory of the coordinator's host. \
         Writing goes on; commits wait for some milliseconds, which the outcome tells. All of it or nothing.",
        "backup(\"/backups/monday\", #{ rate: \"100 MiB/s\" })",
        options: &[WAIT, TIMEOUT, STALL, COMPARE_RATE, JOBS, RAISE], changes: true
    ),
    entry!(
        "plan_backup", &[&["dir: string"], &["dir: string", "options: map"]], "Plan",
        "What backup() would do. Nothing is changed.", "plan_backup(\"/backups/monday\")",
        options: &[COMPARE_RATE, JOBS]
    ),
];

pub(super) fn bind_all(module: &mut Module, context: &Rc<Context>) {
    api!(module, context, "backup", 0, |c, dir: ImmutableString| backup(c, &dir, &Dynamic::UNIT));
    api!(module, context, "backup", 1, |c, dir: ImmutableString, o: Dynamic| backup(c, &dir, &o));
    api!(module, context, "plan_backup", 0, |c, dir: ImmutableString| planned(c, &dir, &Dynamic::UNIT));
    api!(module, context, "plan_backup", 1, |c, dir: ImmutableString, o: Dynamic| planned(c, &dir, &o));
}

fn made(state: &State, dir: &str, options: &Options) -> Plan {
    let (rate_bytes, jobs) = (options.number("rate"), options.number("jobs"));
    let intent = Intent::Backup { dir: dir.into(), selection: Selection::default(), rate_bytes, jobs };
    plan(state, &intent, now_ms())
}

fn backup(context: &Context, dir: &str, argument: &Dynamic) -> Thrower {
    let options = Options::read("backup", catalog::options_of("backup"), argument)?;
    let state = context.probe()?;
    let how = How::from(&options);
    let outcome = run(context, &made(&state, dir, &options), &state, &how)?;
    finish(context, outcome, how.raise)
}

fn planned(context: &Context, dir: &str, argument: &Dynamic) -> Thrower {
    let options = Options::read("plan_backup", catalog::options_of("plan_backup"), argument)?;
    let state = context.probe()?;
    Ok(Dynamic::from(PlanRecord::new(made(&state, dir, &options), &state)))
}
