//! `operations()`, `attach(id)` and `audit()`: who does what now, how it ends, and what was done before.

use super::binding::api;
use super::change::{Deadlined, How, finish};
use super::outcome::{OutcomeRecord, SegmentOutcomeRecord};
use super::refusal::RefusalRecord;
use crate::cluster::request::Owner;
use crate::cluster::{AuditLine, AuditQuery, OperationInfo, duration};
use crate::script::catalog::{self, Entry, OPTIONS, RAISE, STALL, TIMEOUT, entry, option};
use crate::script::context::Context;
use crate::script::json;
use crate::script::options::{Kind, OptionDoc, Options};
use crate::script::record::{Field, Record, fields, optional, register as register_record};
use crate::script::thrown::{Thrower, Thrown};
use rhai::{Array, Dynamic, ImmutableString, Module};
use serde_json::{Value, json};
use std::rc::Rc;

const LAST: OptionDoc = option("last", Kind::Count, "at most so many; 20 when not given");
const VERB: OptionDoc = option("verb", Kind::Text, "only of this call, such as \"recover\"");
const USER: OptionDoc = option("user", Kind::Text, "only of this user");
const SINCE: OptionDoc = option("since", Kind::Duration, "only what began in this time");
/// So many are told when nobody says how many.
const LAST_DEFAULT: usize = 20;

/// What is bound here.
pub(super) const ENTRIES: &[Entry] = &[
    entry!(
        "operations", &[&[], OPTIONS], "[Operation]",
        "The operations that run, and the last that ended: who began them, how far they are, who follows them.",
        "operations()", options: &[LAST]
    ),
    entry!(
        "attach", &[&["id: int"], &["id: int", "options: map"]], "Outcome",
        "Follows an operation, whoever began it, to its end; of one that has ended, its outcome. Leaving it cancels \
         nothing.",
        "attach(118)", options: &[TIMEOUT, STALL, RAISE]
    ),
    entry!(
        "audit", &[&[], OPTIONS], "[AuditLine]",
        "The newest lines of the audit log: every change, by whom, from which script, and how it ended.",
        "audit(#{ last: 5, verb: \"recover\", since: \"1d\" })", options: &[LAST, VERB, USER, SINCE]
    ),
];

pub(super) fn bind_all(module: &mut Module, context: &Rc<Context>) {
    api!(module, context, "operations", 0, |c| operations(c, &Dynamic::UNIT));
    api!(module, context, "operations", 1, |c, o: Dynamic| operations(c, &o));
    api!(module, context, "attach", 0, |c, id: i64| attach(c, id, &Dynamic::UNIT));
    api!(module, context, "attach", 1, |c, id: i64, o: Dynamic| attach(c, id, &o));
    api!(module, context, "audit", 0, |c| audit(c, &Dynamic::UNIT));
    api!(module, context, "audit", 1, |c, o: Dynamic| audit(c, &o));
}

pub(super) fn register(module: &mut Module, context: &Rc<Context>) {
    register_record::<OperationRecord>(module, context);
    register_record::<AuditRecord>(module, context);
}

fn last(options: &Options) -> usize {
    options.number("last").and_then(|n| usize::try_from(n).ok()).unwrap_or(LAST_DEFAULT)
}

fn operations(context: &Context, argument: &Dynamic) -> Thrower {
    let options = Options::read("operations", catalog::options_of("operations"), argument)?;
    let found = context.cluster()?.operations(last(&options), None)?;
    Ok(found.into_iter().map(|o| Dynamic::from(OperationRecord(Rc::new(o)))).collect::<Array>().into())
}

fn attach(context: &Context, id: i64, argument: &Dynamic) -> Thrower {
    let options = Options::read("attach", catalog::options_of("attach"), argument)?;
    let how = How::from(&options);
    let cluster = context.cluster()?;
    if cluster.operations(1, Some(id))?.is_empty() {
        return Err(unknown(id, &cluster.operations(3, None)?));
    }
    let mut observer = Deadlined::new(context.ui.follower(), &how);
    let outcome = cluster.attach(id, &mut observer)?;
    let outcome = observer.judged(outcome);
    context.ui.ended(&outcome);
    context.told.replace(Some(outcome.clone()));
    finish(context, outcome, None, how.raise)
}

fn unknown(id: i64, last: &[OperationInfo]) -> Thrown {
    let ids: Vec<String> = last.iter().map(|o| o.id.to_string()).collect();
    let known = match ids.as_slice() {
        [] => "there has been none yet".to_string(),
        ids => format!("the last are {}", ids.join(", ")),
    };
    Thrown::script("unknown_operation", format!("there is no operation {id}; {known}")).next("operations()")
}

fn audit(context: &Context, argument: &Dynamic) -> Thrower {
    let options = Options::read("audit", catalog::options_of("audit"), argument)?;
    let text = |name: &str| options.word(name).map(str::to_owned);
    let query =
        AuditQuery { last: last(&options), verb: text("verb"), user: text("user"), since_ms: options.number("since") };
    let lines = context.cluster()?.audit(&query)?;
    Ok(lines.into_iter().map(|l| Dynamic::from(AuditRecord(Rc::new(l)))).collect::<Array>().into())
}

/// An operation of the coordinator.
#[derive(Clone, PartialEq)]
pub struct OperationRecord(pub Rc<OperationInfo>);

/// A line of the audit log.
#[derive(Clone, PartialEq)]
pub struct AuditRecord(pub Rc<AuditLine>);

fn text(s: &str) -> ImmutableString {
    s.into()
}

impl Record for OperationRecord {
    const NAME: &'static str = "Operation";
    fn fields() -> Vec<Field<Self>> {
        fields! {
            id: "int", "its number" => |o| o.0.id;
            verb: "string", "the call that began it" => |o| text(&o.0.verb);
            status: "string", "running, or the word of its outcome" => |o| text(&o.0.status);
            running: "bool", "whether it has not ended" => |o| o.0.is_running();
            contents: "[int]", "the contents that it works on" => |o| o.0.contents.iter().map(|c| Dynamic::from(c.0)).collect::<Array>();
            user: "string", "who began it: the real user behind a shared account" => |o| text(&o.0.owner.user);
            account: "string", "the account that was acted as; empty when it is the user's own" => |o| text(&o.0.owner.account);
            host: "string", "the host of the shell that began it" => |o| text(&o.0.owner.host);
            terminal: "string", "that shell's terminal" => |o| text(&o.0.owner.terminal);
            pid: "int", "that shell's process" => |o| i64::from(o.0.owner.pid);
            script: "string", "script and line, empty at the prompt" => |o| text(&o.0.owner.script);
            started_ms: "int", "when it began, Unix milliseconds" => |o| o.0.started_ms;
            elapsed_ms: "int", "until now, or until its end" => |o| o.0.elapsed_ms;
            heartbeat_ms: "int?", "since that shell was heard of, or ()" => |o| optional(o.0.heartbeat_ms);
            stale: "bool", "whether it runs and that shell is gone" => |o| o.0.is_stale();
            watchers: "int", "shells that follow it now" => |o| o.0.watchers;
            step: "string", "what is being done" => |o| text(&o.0.step);
            percent: "int?", "whole percent of the copy, or ()" => |o| optional(o.0.percent);
            outcome: "Outcome?", "its outcome, or () while it runs" => |o| optional(o.0.outcome.clone().map(OutcomeRecord::new));
        }
    }
    fn text(&self, _context: &Context) -> String {
        let o = &self.0;
        let contents: Vec<String> = o.contents.iter().map(ToString::to_string).collect();
        let contents = if contents.is_empty() { String::new() } else { format!("content {}  ", contents.join(", ")) };
        let end = if o.is_running() { format!("{}, for", o.doing()) } else { format!("{} in", o.status) };
        let stale = if o.is_stale() { format!("\n      {}", o.shell()) } else { String::new() };
        format!(
            "{:>5}  {}  {contents}{end} {}\n       by {}{stale}",
            o.id,
            o.verb,
            duration(o.elapsed_ms),
            o.owner.who()
        )
    }
    fn json(&self) -> Value {
        let o = &self.0;
        let mut value = json!({
            "id": o.id, "verb": o.verb, "status": o.status, "running": o.is_running(), "contents": o.contents,
            "started_ms": o.started_ms, "elapsed_ms": o.elapsed_ms, "heartbeat_ms": o.heartbeat_ms,
            "stale": o.is_stale(), "watchers": o.watchers, "step": o.step, "percent": o.percent,
            "outcome": o.outcome.as_ref().map(json::outcome_json),
        });
        with_owner(&mut value, &o.owner);
        value
    }
}

impl Record for AuditRecord {
    const NAME: &'static str = "AuditLine";
    fn fields() -> Vec<Field<Self>> {
        fields! {
            time: "string", "when it began, as the history writes it" => |l| text(&l.0.time);
            time_ms: "int", "the same in Unix milliseconds" => |l| l.0.time_ms;
            operation: "int", "the operation; 0 for what is none, such as a setting" => |l| l.0.operation;
            verb: "string", "what was asked for" => |l| text(&l.0.verb);
            status: "string", "how it ended" => |l| text(&l.0.status);
            user: "string", "the real user behind a shared account" => |l| text(&l.0.owner.user);
            account: "string", "the account that was acted as; empty when it is the user's own" => |l| text(&l.0.owner.account);
            host: "string", "the host of the shell" => |l| text(&l.0.owner.host);
            terminal: "string", "that shell's terminal" => |l| text(&l.0.owner.terminal);
            pid: "int", "that shell's process" => |l| i64::from(l.0.owner.pid);
            script: "string", "script and line, empty at the prompt" => |l| text(&l.0.owner.script);
            plan: "string", "the plan's id, empty when there was none" => |l| text(&l.0.owner.plan);
            confirmed: "string", "typed, --yes or confirm(); empty when nothing was to be confirmed" => |l| text(&l.0.owner.confirmed);
            elapsed_ms: "int", "how long it took" => |l| l.0.elapsed_ms;
            message: "string", "one sentence" => |l| text(&l.0.message);
            segments: "[SegmentOutcome]", "every segment's part" => |l| l.0.segments.iter().map(|s| Dynamic::from(SegmentOutcomeRecord(s.clone()))).collect::<Array>();
            refusals: "[Refusal]", "what was left out, and why" => |l| l.0.refusals.iter().map(|r| Dynamic::from(RefusalRecord(r.clone()))).collect::<Array>();
            damaged: "string?", "what the line holds when it can't be read, or ()" => |l| optional(l.0.damaged.as_deref().map(text));
        }
    }
    fn text(&self, _context: &Context) -> String {
        let l = &self.0;
        if let Some(damaged) = &l.damaged {
            return format!("a line that can't be read: {damaged}");
        }
        let op = if l.operation == 0 { String::new() } else { format!("  operation {}", l.operation) };
        let said = if l.message.is_empty() { String::new() } else { format!("\n       {}", l.message) };
        format!("{}  {} {}{op}\n       by {}{said}", l.time, l.verb, l.status, l.owner.who())
    }
    fn json(&self) -> Value {
        let l = &self.0;
        let mut value = json!({
            "time": l.time, "time_ms": l.time_ms, "operation": l.operation, "verb": l.verb, "status": l.status,
            "plan": l.owner.plan, "confirmed": l.owner.confirmed, "elapsed_ms": l.elapsed_ms, "message": l.message,
            "segments": l.segments.iter().map(json::segment_outcome_json).collect::<Vec<_>>(),
            "refusals": l.refusals.iter().map(json::refusal_json).collect::<Vec<_>>(),
            "damaged": l.damaged,
        });
        with_owner(&mut value, &l.owner);
        value
    }
}

/// The keys of whoever began it, the same wherever it is told.
fn with_owner(value: &mut Value, owner: &Owner) {
    let more = json!({
        "user": owner.user, "account": owner.account, "host": owner.host, "terminal": owner.terminal,
        "pid": owner.pid, "script": owner.script,
    });
    if let (Value::Object(value), Value::Object(more)) = (value, more) {
        value.extend(more);
    }
}
