//! `demo::`: data and traffic for drills.
//!
//! Traffic is what proves that nothing acknowledged is lost: writers on every content go through the
//! gateway as any client does, remember what each insert was answered, and at the end everything is
//! read back and compared.

use super::binding::api;
use super::fault::drill;
use super::traffic::{Run, start};
use crate::cluster::{Cluster, SqlTarget, Value as SqlValue};
use crate::core::ids::Content;
use crate::script::catalog::{Entry, entry};
use crate::script::context::{Context, now_ms};
use crate::script::record::{Field, Record, fields, optional, register as register_record};
use crate::script::thrown::{Thrower, Thrown};
use crate::script::units;
use rhai::{Dynamic, Module};
use serde_json::{Value, json};
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What is bound here.
pub(super) const ENTRIES: &[Entry] = &[
    entry!(
        "load", &[&["size: string"]], "Loaded", "Fills the contents of a drill cluster with data.",
        "demo::load(\"256 MiB\")", namespace: "demo", changes: true
    ),
    entry!(
        "traffic", &[&[]], "Traffic",
        "Starts writers on every content, through the gateway, until stop() or the session's end.",
        "let t = demo::traffic(); sleep(\"5s\"); print(t.stop())", namespace: "demo", changes: true
    ),
    entry!(
        "report", &[&["traffic: Traffic"]], "TrafficReport", "The counts so far; it goes on.",
        "demo::traffic().report()", method_of: "Traffic"
    ),
    entry!(
        "stop", &[&["traffic: Traffic"]], "TrafficReport",
        "Ends the writers, reads everything back, and says what was found and what was lost.",
        "demo::traffic().stop().lost", method_of: "Traffic"
    ),
];

pub(super) fn bind_all(module: &mut Module, context: &Rc<Context>) {
    api!(module, context, "demo::load", 0, |c, s: Dynamic| {
        let size = s.clone().into_string().map_err(|found| {
            Thrown::script("bad_size", format!("demo::load() takes a size such as \"256 MiB\", not {found}"))
        })?;
        load(c, &size)
    });
    api!(module, context, "demo::traffic", 0, |c| traffic(c));
}

/// Methods belong to no namespace.
pub(super) fn bind_methods(module: &mut Module, context: &Rc<Context>) {
    api!(module, context, "traffic.report", 0, |_c, t: &mut TrafficRecord| report(t));
    api!(module, context, "traffic.stop", 0, |c, t: &mut TrafficRecord| stop(c, t));
}

/// One row of `demo::load`, and so many rows a statement: a statement is about a mebibyte.
const ROW_BYTES: i64 = 64 << 10;
const ROWS_PER_STATEMENT: i64 = 16;
/// A load that takes longer says so often how far it is.
const TOLD_EVERY: Duration = Duration::from_secs(3);
/// Ids read back in one statement.
const PAGE: i64 = 10_000;

/// What `demo::load` did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    pub bytes: i64,
    pub rows: i64,
    pub contents: i64,
    pub elapsed_ms: i64,
}

impl Record for Loaded {
    const NAME: &'static str = "Loaded";
    fn fields() -> Vec<Field<Self>> {
        fields! {
            bytes: "int", "data that was written" => |l| l.bytes;
            rows: "int", "rows of the table `segsh_load`, in all contents" => |l| l.rows;
            contents: "int", "contents that were written to" => |l| l.contents;
            elapsed_ms: "int", "how long it took" => |l| l.elapsed_ms;
        }
    }
    fn text(&self, _context: &Context) -> String {
        let mib = self.bytes as f64 / f64::from(1 << 20);
        let s = self.elapsed_ms as f64 / 1000.0;
        format!("loaded {mib:.0} MiB: {} rows into {} contents in {s:.1} s", self.rows, self.contents)
    }
    fn json(&self) -> Value {
        json!({
            "bytes": self.bytes, "rows": self.rows, "contents": self.contents, "elapsed_ms": self.elapsed_ms,
        })
    }
}

/// `demo::load("256 MiB")`.
pub(super) fn load(context: &Context, size: &str) -> Thrower {
    let cluster = drill(context, "demo::load")?;
    let bytes = units::size_bytes(size).map_err(|e| Thrown::script("bad_size", e.to_string()))?;
    if context.only_names(|| format!("demo::load({size:?})")) {
        return Ok(Dynamic::from(Loaded { bytes: 0, rows: 0, contents: 0, elapsed_ms: 0 }));
    }
    let began = Instant::now();
    let contents = contents(cluster)?;
    let each = bytes / (contents.len().max(1) as i64) / ROW_BYTES;
    let mut told = Told { all: each * contents.len() as i64, done: 0, last: began };
    for content in &contents {
        load_one(context, cluster, *content, each, &mut told)?;
    }
    let rows = each * contents.len() as i64;
    let contents = contents.len() as i64;
    Ok(Dynamic::from(Loaded { bytes: rows * ROW_BYTES, rows, contents, elapsed_ms: millis(began) }))
}

/// What was said of a load that goes on, in rows.
struct Told {
    all: i64,
    done: i64,
    last: Instant,
}

impl Told {
    /// So many rows more; a line for the person who waits, now and then.
    fn more(&mut self, context: &Context, rows: i64) {
        self.done += rows;
        if self.done < self.all && self.last.elapsed() >= TOLD_EVERY {
            self.last = Instant::now();
            let mib = |rows: i64| (rows * ROW_BYTES) >> 20;
            context.ui.note(&format!("loaded {} of {} MiB", mib(self.done), mib(self.all)));
        }
    }
}

fn load_one(
    context: &Context,
    cluster: &Arc<dyn Cluster>,
    content: Content,
    rows: i64,
    told: &mut Told,
) -> Thrower<()> {
    let target = || SqlTarget::Content(content);
    cluster.sql(target(), "create table if not exists segsh_load(data blob)", &[])?;
    let mut left = rows;
    while left > 0 {
        if context.ui.interrupted() {
            return Err(Thrown::interrupted());
        }
        let now = left.min(ROWS_PER_STATEMENT);
        let values = vec![format!("(randomblob({ROW_BYTES}))"); usize::try_from(now).unwrap_or(1)];
        let text = format!("insert into segsh_load(data) values {}", values.join(", "));
        cluster.sql(target(), &text, &[])?;
        left -= now;
        told.more(context, now);
    }
    Ok(())
}

fn contents(cluster: &Arc<dyn Cluster>) -> Thrower<Vec<Content>> {
    Ok(cluster.state()?.contents.iter().map(|c| c.content).collect())
}

fn millis(since: Instant) -> i64 {
    i64::try_from(since.elapsed().as_millis()).unwrap_or(i64::MAX)
}

/// Running writers; they end with `stop()` or with the session.
pub struct Traffic {
    run: RefCell<Option<Run>>,
    /// What the last report said, once the writers have ended.
    ended: RefCell<Option<TrafficReport>>,
}

/// The handle that a script holds.
#[derive(Clone)]
pub struct TrafficRecord(pub Rc<Traffic>);

impl PartialEq for TrafficRecord {
    fn eq(&self, other: &Self) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }
}

/// What the writers were answered, and what was found of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrafficReport {
    pub running: bool,
    /// Inserts that were answered as done.
    pub acknowledged: i64,
    /// Inserts that failed for certain.
    pub refused: i64,
    /// Inserts that were answered 08007, or not at all.
    pub unknown: i64,
    /// Acknowledged rows that are there; `None` until everything was read back.
    pub found: Option<i64>,
    /// Acknowledged rows that are not there.
    pub lost: Option<i64>,
    /// Rows that are there twice, or that were refused and are there.
    pub wrong: Option<i64>,
    pub longest_wait_ms: i64,
    pub elapsed_ms: i64,
}

impl Record for TrafficReport {
    const NAME: &'static str = "TrafficReport";
    fn fields() -> Vec<Field<Self>> {
        fields! {
            running: "bool", "whether the writers still write" => |t| t.running;
            acknowledged: "int", "inserts that were answered as done" => |t| t.acknowledged;
            refused: "int", "inserts that failed for certain" => |t| t.refused;
            unknown: "int", "inserts answered 08007, or not at all" => |t| t.unknown;
            found: "int?", "acknowledged rows that are there, () before stop()" => |t| optional(t.found);
            lost: "int?", "acknowledged rows that are not there, () before stop()" => |t| optional(t.lost);
            wrong: "int?", "rows twice there, or there though refused, () before stop()" => |t| optional(t.wrong);
            longest_wait_ms: "int", "the longest time between two acknowledged inserts of a writer" => |t| t.longest_wait_ms;
            elapsed_ms: "int", "how long the writers wrote" => |t| t.elapsed_ms;
        }
    }
    fn text(&self, _context: &Context) -> String {
        let read_back = match (self.found, self.lost, self.wrong) {
            (Some(found), Some(lost), Some(wrong)) => {
                format!("found {found}  lost {lost}  wrong {wrong}")
            }
            _ => "still writing; demo::traffic().stop() reads everything back".to_string(),
        };
        format!(
            "traffic  acknowledged {}  refused {}  unknown {}  longest wait {} ms\n {read_back}",
            self.acknowledged, self.refused, self.unknown, self.longest_wait_ms
        )
    }
    fn json(&self) -> Value {
        json!({
            "running": self.running, "acknowledged": self.acknowledged, "refused": self.refused,
            "unknown": self.unknown, "found": self.found, "lost": self.lost, "wrong": self.wrong,
            "longest_wait_ms": self.longest_wait_ms, "elapsed_ms": self.elapsed_ms,
        })
    }
}

impl Record for TrafficRecord {
    const NAME: &'static str = "Traffic";
    fn fields() -> Vec<Field<Self>> {
        fields! {
            running: "bool", "whether the writers still write" => |t| t.0.run.borrow().is_some();
        }
    }
    fn text(&self, context: &Context) -> String {
        self.0.report().text(context)
    }
    fn json(&self) -> Value {
        self.0.report().json()
    }
}

impl Traffic {
    /// The counts so far, or those of the end.
    fn report(&self) -> TrafficReport {
        match (&*self.run.borrow(), &*self.ended.borrow()) {
            (Some(run), _) => run.report(),
            (None, Some(ended)) => ended.clone(),
            (None, None) => TrafficReport::default(),
        }
    }
}

/// `demo::traffic()`: the running traffic of this session, or a new one.
pub(super) fn traffic(context: &Context) -> Thrower {
    let cluster = drill(context, "demo::traffic")?;
    if context.only_names(|| "demo::traffic()".into()) {
        let idle = Traffic { run: RefCell::new(None), ended: RefCell::new(None) };
        return Ok(Dynamic::from(TrafficRecord(Rc::new(idle))));
    }
    if let Some(running) = context.traffic.borrow().as_ref()
        && running.run.borrow().is_some()
    {
        return Ok(Dynamic::from(TrafficRecord(Rc::clone(running))));
    }
    for content in contents(cluster)? {
        let text = "create table if not exists segsh_traffic(id bigint, at_ms bigint)";
        cluster.sql(SqlTarget::Content(content), text, &[])?;
    }
    let run = start(&contents(cluster)?, cluster.pg_endpoint(), now_ms())
        .map_err(|e| Thrown::script("io", format!("demo::traffic(): {e}")))?;
    let traffic = Rc::new(Traffic { run: RefCell::new(Some(run)), ended: RefCell::new(None) });
    context.traffic.replace(Some(Rc::clone(&traffic)));
    Ok(Dynamic::from(TrafficRecord(traffic)))
}

/// `traffic.report()`.
pub(super) fn report(record: &TrafficRecord) -> Thrower {
    Ok(Dynamic::from(record.0.report()))
}

/// `traffic.stop()`: ends the writers and reads everything back. Calling it again is the same report.
pub(super) fn stop(context: &Context, record: &TrafficRecord) -> Thrower {
    let Some(run) = record.0.run.borrow_mut().take() else {
        return Ok(Dynamic::from(record.0.report()));
    };
    let mut report = run.report();
    let writers = match run.stop(|| context.ui.interrupted()) {
        Ok(writers) => writers,
        Err(still_writing) => {
            // They have been told to end; what they were answered can still be asked for.
            record.0.run.replace(Some(still_writing));
            return Err(Thrown::interrupted_saying(
                "a writer still waits for an answer; stop() again reads everything back",
            ));
        }
    };
    report.running = false;
    report.acknowledged = 0;
    report.refused = 0;
    report.unknown = 0;
    // The totals of the joined writers, and not the counters, are what is compared.
    record.0.ended.replace(Some(report.clone()));
    let (mut found, mut lost, mut wrong) = (0, 0, 0);
    for writer in &writers {
        report.acknowledged += writer.acknowledged.len() as i64;
        report.refused += writer.refused.len() as i64;
        report.unknown += writer.unknown;
        report.longest_wait_ms = report.longest_wait_ms.max(writer.longest_wait_ms);
        let there = read_back(context, writer.content, writer.first_id, writer.next_id)?;
        let present = |id: &&i64| there.contains_key(*id);
        let hits = writer.acknowledged.iter().filter(present).count() as i64;
        found += hits;
        lost += writer.acknowledged.len() as i64 - hits;
        wrong += writer.refused.iter().filter(present).count() as i64;
        wrong += there.values().filter(|times| **times > 1).count() as i64;
    }
    (report.found, report.lost, report.wrong) = (Some(found), Some(lost), Some(wrong));
    record.0.ended.replace(Some(report.clone()));
    Ok(Dynamic::from(report))
}

/// How often each id of a writer is in its table.
fn read_back(context: &Context, content: Content, first: i64, next: i64) -> Thrower<HashMap<i64, i64>> {
    let cluster = context.cluster()?;
    let mut there = HashMap::new();
    let mut from = first;
    while from < next {
        let to = next.min(from + PAGE);
        let text = "select id from segsh_traffic where id >= $1 and id < $2";
        let range = [SqlValue::Int(from), SqlValue::Int(to)];
        let rows = cluster.sql(SqlTarget::Content(content), text, &range)?;
        for row in &rows.rows {
            if let Some(SqlValue::Int(id)) = row.first() {
                *there.entry(*id).or_insert(0) += 1;
            }
        }
        from = to;
    }
    Ok(there)
}

pub(super) fn register(module: &mut Module, context: &Rc<Context>) {
    register_record::<Loaded>(module, context);
    register_record::<TrafficReport>(module, context);
    register_record::<TrafficRecord>(module, context);
}
