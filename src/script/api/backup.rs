//! `backup()` and `restore()`: every content as it is at one moment, written into a directory; and back.

use super::binding::api;
use super::change::{How, finish, run};
use super::plan::PlanRecord;
use crate::cluster::{ClusterError, Intent, Plan, Refusal, RefusalCode, Selection, SqlTarget, State, Value, plan};
use crate::script::catalog::{
    self, COMPARE_RATE, Damage, Entry, JOBS, RAISE, RATE, STALL, TIMEOUT, WAIT, entry, option,
};
use crate::script::context::{Context, now_ms};
use crate::script::json;
use crate::script::options::{Kind, OptionDoc, Options};
use crate::script::thrown::{Thrower, Thrown};
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
    entry!(
        "restore", &[&["dir: string"], &["dir: string", "options: map"]], "Outcome",
        "Replaces every content by what a backup holds, and makes its mirror anew. The backup is checked whole before \
         anything is changed, and what the contents hold goes only when every one of them has its new copy: until then \
         a failure or Ctrl-C leaves all as it was. Contents that hold tables are refused, unless overwrite: true. What \
         was acknowledged after the backup is lost.",
        "restore(\"/backups/monday\")",
        options: &[OVERWRITE, WAIT, TIMEOUT, STALL, RATE, JOBS, RAISE], changes: true, damage: Damage::Replaces
    ),
    entry!(
        "plan_restore", &[&["dir: string"], &["dir: string", "options: map"]], "Plan",
        "What restore() would do, and as of when the backup is. Nothing is changed.",
        "plan_restore(\"/backups/monday\")", options: &[OVERWRITE, RATE, JOBS]
    ),
    entry!(
        "backup_info",
        &[&["dir: string"]],
        "map",
        "What a backup says of itself: its manifest, if that is whole and every file has its length. Throws \
         `backup_damaged`. `barrier` is the moment as of which it is.",
        "backup_info(\"/backups/monday\").barrier"
    ),
];

/// Of `restore()` alone.
const OVERWRITE: OptionDoc = option("overwrite", Kind::Flag, "replace contents that hold tables").or("false");

pub(super) fn bind_all(module: &mut Module, context: &Rc<Context>) {
    api!(module, context, "backup", 0, |c, dir: ImmutableString| backup(c, &dir, &Dynamic::UNIT));
    api!(module, context, "backup", 1, |c, dir: ImmutableString, o: Dynamic| backup(c, &dir, &o));
    api!(module, context, "restore", 0, |c, dir: ImmutableString| restore(c, &dir, &Dynamic::UNIT));
    api!(module, context, "restore", 1, |c, dir: ImmutableString, o: Dynamic| restore(c, &dir, &o));
    api!(module, context, "plan_restore", 0, |c, dir: ImmutableString| plan_of_restore(c, &dir, &Dynamic::UNIT));
    api!(module, context, "plan_restore", 1, |c, dir: ImmutableString, o: Dynamic| plan_of_restore(c, &dir, &o));
    api!(module, context, "backup_info", 0, |c, dir: ImmutableString| info(c, &dir));
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
    let plan = made(&state, dir, &options);
    let outcome = run(context, &plan, &state, &how)?;
    finish(context, outcome, Some(PlanRecord::new(plan, &state)), how.raise)
}

fn planned(context: &Context, dir: &str, argument: &Dynamic) -> Thrower {
    let options = Options::read("plan_backup", catalog::options_of("plan_backup"), argument)?;
    let state = context.probe()?;
    Ok(Dynamic::from(PlanRecord::new(made(&state, dir, &options), &state)))
}

fn restore(context: &Context, dir: &str, argument: &Dynamic) -> Thrower {
    let options = Options::read("restore", catalog::options_of("restore"), argument)?;
    let state = context.probe()?;
    let how = How::from(&options);
    let plan = restoring(context, &state, dir, &options)?;
    let outcome = run(context, &plan, &state, &how)?;
    finish(context, outcome, Some(PlanRecord::new(plan, &state)), how.raise)
}

fn plan_of_restore(context: &Context, dir: &str, argument: &Dynamic) -> Thrower {
    let options = Options::read("plan_restore", catalog::options_of("plan_restore"), argument)?;
    let state = context.probe()?;
    Ok(Dynamic::from(PlanRecord::new(restoring(context, &state, dir, &options)?, &state)))
}

/// The plan of a restore, with what only the backup and the contents themselves can say.
fn restoring(context: &Context, state: &State, dir: &str, options: &Options) -> Thrower<Plan> {
    let (rate_bytes, jobs) = (options.number("rate"), options.number("jobs"));
    let intent = Intent::Restore { dir: dir.into(), selection: Selection::default(), rate_bytes, jobs };
    let mut made = plan(state, &intent, now_ms());
    let manifest = match context.cluster()?.manifest(dir)? {
        Ok(manifest) => manifest,
        Err(refusal) => return Ok(refusing(made, vec![refusal])),
    };
    let full = if options.flag("overwrite", false) { Vec::new() } else { not_empty(context, state, dir)? };
    if !full.is_empty() {
        return Ok(refusing(made, full));
    }
    made.notes.push(format!("the backup is of cluster {}, as of {}", manifest.cluster, manifest.barrier));
    made.notes.push("all that the contents hold now is replaced, and what was acknowledged after that is LOST".into());
    Ok(made)
}

fn refusing(made: Plan, more: Vec<Refusal>) -> Plan {
    let refusals = made.refusals.into_iter().chain(more).collect();
    Plan {
        refusals,
        refuses: true,
        steps: Vec::new(),
        notes: Vec::new(),
        after: Vec::new(),
        epochs: Vec::new(),
        ..made
    }
}

/// The contents that hold tables, or can't say.
fn not_empty(context: &Context, state: &State, dir: &str) -> Thrower<Vec<Refusal>> {
    const TABLES: &str = "select count(*) from sqlite_master where type = 'table' and name not like 'sqlite%'";
    let cluster = context.cluster()?;
    let mut found = Vec::new();
    for content in state.contents.iter().map(|detail| detail.content) {
        let cause = match cluster.sql(SqlTarget::Content(content), TABLES, &[]) {
            Err(ClusterError::Interrupted { .. }) => return Err(Thrown::interrupted()),
            Err(error) => format!("content {content} can't say what it holds: {error}"),
            Ok(rows) => match rows.rows.first().and_then(|row| row.first()) {
                Some(Value::Int(0)) => continue,
                Some(Value::Int(1)) => format!("content {content} holds a table"),
                Some(Value::Int(n)) => format!("content {content} holds {n} tables"),
                _ => format!("content {content} can't say what it holds"),
            },
        };
        let next = format!("restore({dir:?}, #{{ overwrite: true }})");
        found.push(Refusal {
            code: RefusalCode::NotEmpty,
            content: Some(content),
            dbid: None,
            host: None,
            cause,
            next,
        });
    }
    Ok(found)
}

fn info(context: &Context, dir: &str) -> Thrower {
    match context.cluster()?.manifest(dir)? {
        Ok(manifest) => Ok(json::to_dynamic(&serde_json::to_value(&manifest).unwrap_or_default())),
        Err(refusal) => Err(Thrown::with_exit(refusal.code.code(), 4, refusal.cause).next(refusal.next)),
    }
}
