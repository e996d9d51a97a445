//! `why(subject)`: from a symptom through the evidence and the preconditions to the next step.

use super::binding::api;
use super::refusal::RefusalRecord;
use super::state::{ContentRecord, HostRecord, SegmentRecord};
use crate::cluster::{About, State, WHY_VERBS, Why, why};
use crate::core::ids::{Content, Dbid};
use crate::script::catalog::{Entry, entry};
use crate::script::context::Context;
use crate::script::json;
use crate::script::near::is_it;
use crate::script::record::{Field, Record, fields, optional, register as register_record};
use crate::script::thrown::{Thrower, Thrown};
use rhai::{Array, Dynamic, ImmutableString, Module};
use serde_json::Value;
use std::rc::Rc;

/// What is bound here.
pub(super) const ENTRIES: &[Entry] = &[entry!(
    "why",
    &[&[], &["subject: any"]],
    "Why",
    "Explains what is wrong with \"content 2\", \"dbid 5\", a host or a verb, or with everything: what is seen, \
     the evidence, what stands in the way of which call, and the next step.",
    "why(\"content 2\")"
)];

pub(super) fn bind_all(module: &mut Module, context: &Rc<Context>) {
    api!(module, context, "why", 0, |c| ask(c, &Dynamic::UNIT));
    api!(module, context, "why", 1, |c, subject: Dynamic| ask(c, &subject));
}

/// An explanation.
#[derive(Clone, PartialEq)]
pub struct WhyRecord(pub Rc<Why>);

/// `why()` and `why(subject)`. The evidence of a coordinator that is gone can't be had, and is left out.
fn ask(context: &Context, subject: &Dynamic) -> Thrower {
    let state = context.state()?;
    let about = about(&state, subject)?;
    let cluster = context.cluster()?;
    let explained = why(&state, &about, |content| match cluster.evidence(content) {
        Ok(evidence) => Some(evidence),
        Err(error) => {
            tracing::warn!(%error, %content, "no evidence");
            None
        }
    });
    Ok(Dynamic::from(WhyRecord(Rc::new(explained))))
}

fn about(state: &State, subject: &Dynamic) -> Thrower<About> {
    if subject.is_unit() {
        return Ok(About::Everything);
    }
    if let Some(content) = subject.read_lock::<ContentRecord>() {
        return Ok(About::Content(content.content));
    }
    if let Some(segment) = subject.read_lock::<SegmentRecord>() {
        return Ok(About::Segment(segment.0.row.dbid));
    }
    if let Some(host) = subject.read_lock::<HostRecord>() {
        return Ok(About::Host(host.0.host.clone()));
    }
    match subject.clone().into_string() {
        Ok(text) => named(state, text.trim()),
        Err(_) if subject.is_int() => {
            let both = format!("why(\"content {subject}\") or why(\"dbid {subject}\")");
            Err(Thrown::script("bare_number", format!("why({subject}): content or dbid?")).next(both))
        }
        Err(found) => {
            Err(Thrown::script("type_mismatch", format!("why() takes a text, not {found}")).next("why(\"content 2\")"))
        }
    }
}

fn named(state: &State, text: &str) -> Thrower<About> {
    let number = |word: &str| text.strip_prefix(word).and_then(|n| n.trim().parse::<i64>().ok());
    let host = |name: &str| state.host(name.trim()).map(|h| About::Host(h.host.clone()));
    let verb = WHY_VERBS.iter().find(|v| **v == text.trim_end_matches("()"));
    let content = number("content").map(Content).filter(|c| state.content(*c).is_some()).map(About::Content);
    let dbid = number("dbid").map(Dbid).filter(|d| state.segment(*d).is_some()).map(About::Segment);
    let everything = text.is_empty().then_some(About::Everything);
    let found = everything.or(content).or(dbid).or_else(|| verb.map(|v| About::Verb(v)));
    found.or_else(|| host(text)).or_else(|| host(text.strip_prefix("host ")?)).ok_or_else(|| {
        let known = subjects(state);
        let near = is_it(text, known.iter().map(String::as_str));
        Thrown::script("unknown_target", format!("why() knows no `{text}`{near}")).next("why(), or state()")
    })
}

/// Everything that can be asked about.
fn subjects(state: &State) -> Vec<String> {
    let contents = state.contents.iter().map(|c| format!("content {}", c.content));
    let dbids = state.segments.iter().map(|s| format!("dbid {}", s.row.dbid));
    let hosts = state.hosts.iter().map(|h| h.host.clone());
    contents.chain(dbids).chain(hosts).chain(WHY_VERBS.iter().map(|v| (*v).to_string())).collect()
}

fn text(s: &str) -> ImmutableString {
    s.into()
}

fn first(record: &WhyRecord, read: impl Fn(&crate::cluster::Part) -> &str) -> ImmutableString {
    record.0.parts.first().map_or("", read).into()
}

/// What stands in the way of any verb, each reason once.
fn blocks(record: &WhyRecord) -> Array {
    let all = record.0.parts.iter().flat_map(|p| &p.tried).flat_map(|t| &t.refusals);
    let mut once: Vec<RefusalRecord> = Vec::new();
    for refusal in all.cloned().map(RefusalRecord) {
        if !once.contains(&refusal) {
            once.push(refusal);
        }
    }
    once.into_iter().map(Dynamic::from).collect()
}

fn evidence(record: &WhyRecord) -> Array {
    let clues = record.0.parts.iter().flat_map(|p| &p.evidence);
    clues.map(|c| json::to_dynamic(&serde_json::to_value(c).unwrap_or_default())).collect()
}

impl Record for WhyRecord {
    const NAME: &'static str = "Why";
    fn fields() -> Vec<Field<Self>> {
        fields! {
            subject: "string", "what was asked about" => |w| text(&w.0.subject);
            fine: "bool", "whether nothing is wrong with it" => |w| w.0.parts.is_empty();
            symptom: "string", "what is wrong, the gravest of it; empty when nothing is" => |w| first(w, |p| &p.symptom);
            detail: "string", "how far, and by what it came so" => |w| first(w, |p| &p.detail);
            since_ms: "int?", "since when, in Unix milliseconds, or ()" => |w| optional(w.0.parts.first().and_then(|p| p.since_ms));
            evidence: "[map]", "what is known, was seen and was decided, as maps" => |w| evidence(w);
            blocks: "[map]", "what stands in the way of recover, rebalance or verify" => |w| blocks(w);
            next: "string", "the next step, as it would be typed" => |w| first(w, |p| &p.next);
            parts: "[map]", "everything that is wrong, the gravest first, as maps" => |w| json::to_dynamic(&Record::json(w)["parts"]);
        }
    }
    fn text(&self, context: &Context) -> String {
        context.renderer.why(&self.0)
    }
    fn json(&self) -> Value {
        let mut value = serde_json::to_value(&*self.0).unwrap_or_default();
        value["fine"] = self.0.parts.is_empty().into();
        value
    }
}

/// Registers the record.
pub(super) fn register(module: &mut Module, context: &Rc<Context>) {
    register_record::<WhyRecord>(module, context);
}
