//! `Outcome`: how a change ended, for every segment.

use super::plan::PlanRecord;
use super::refusal::RefusalRecord;
use crate::cluster::{Outcome, SegmentOutcome};
use crate::script::context::Context;
use crate::script::json;
use crate::script::record::{Field, Record, fields, optional, register as register_record};
use rhai::{Array, Dynamic, ImmutableString, Module};
use serde_json::Value;
use std::rc::Rc;

/// How a mutating call ended.
#[derive(Clone, PartialEq)]
pub struct OutcomeRecord(pub Rc<Outcome>, pub Option<PlanRecord>);

impl OutcomeRecord {
    /// The outcome of a call that was made.
    pub fn new(outcome: Outcome) -> OutcomeRecord {
        OutcomeRecord(Rc::new(outcome), None)
    }
}

/// One segment's part in it.
#[derive(Clone, PartialEq)]
pub struct SegmentOutcomeRecord(pub SegmentOutcome);

fn text(s: &str) -> ImmutableString {
    s.into()
}

impl Record for OutcomeRecord {
    const NAME: &'static str = "Outcome";
    fn fields() -> Vec<Field<Self>> {
        fields! {
            verb: "string", "the call" => |o| text(&o.0.verb);
            status: "string", "done, started, planned, partial, refused, unknown, cancelled, declined or differs" => |o| text(o.0.status.word());
            exit: "int", "the exit code it would give" => |o| i64::from(o.0.status.exit());
            done: "bool", "whether everything asked for is done" => |o| o.0.status == crate::cluster::OutcomeStatus::Done;
            op: "int?", "the coordinator's operation, or () when there was nothing to do" => |o| optional(o.0.op);
            segments: "[SegmentOutcome]", "a line for every segment that was asked about, one that is refused or needs nothing included" => |o| o.0.segments.iter().map(|s| Dynamic::from(SegmentOutcomeRecord(s.clone()))).collect::<Array>();
            refusals: "[Refusal]", "what was left out, and why" => |o| o.0.refusals.iter().map(|r| Dynamic::from(RefusalRecord(r.clone()))).collect::<Array>();
            elapsed_ms: "int", "how long it took" => |o| o.0.elapsed_ms;
            message: "string", "one sentence" => |o| text(&o.0.message);
            next: "string", "the next step, as it would be typed" => |o| text(&o.0.next);
            plan: "Plan?", "what a dry run would have applied, or ()" => |o| optional(o.1.clone());
        }
    }
    fn text(&self, context: &Context) -> String {
        context.renderer.outcome(&self.0)
    }
    fn json(&self) -> Value {
        let mut whole = json::outcome_json(&self.0);
        if let Some(plan) = &self.1 {
            whole["plan"] = plan.json();
        }
        whole
    }
}

impl Record for SegmentOutcomeRecord {
    const NAME: &'static str = "SegmentOutcome";
    fn fields() -> Vec<Field<Self>> {
        fields! {
            content: "int", "its content" => |s| s.0.content.0;
            dbid: "int", "its number" => |s| s.0.dbid.0;
            host: "string", "its host" => |s| text(&s.0.host);
            status: "string", "how its part ended" => |s| text(s.0.status.word());
            how: "string", "incremental, full, switched, restarted, verified, forced, waited for, or nothing to do; empty when refused" => |s| text(&s.0.how);
            copied_blocks: "int", "blocks of 4 KiB copied" => |s| s.0.copied_blocks;
            copied_bytes: "int", "bytes copied" => |s| s.0.copied_bytes;
            verified_bytes: "int", "bytes compared" => |s| s.0.verified_bytes;
            differing_blocks: "int", "blocks of 4 KiB that differ" => |s| s.0.differing_blocks;
            paused_us: "[int]", "the pauses of reads and writes, in microseconds" => |s| s.0.paused_us.iter().map(|p| Dynamic::from(*p)).collect::<Array>();
            pair: "string", "the pair's health at the end" => |s| text(&s.0.pair);
            note: "string", "what is worth knowing" => |s| text(&s.0.note);
        }
    }
    fn text(&self, _context: &Context) -> String {
        let s = &self.0;
        let note = if s.note.is_empty() { String::new() } else { format!("  {}", s.note) };
        format!("content {}  dbid {}  {}  {}  {}  {}{note}", s.content, s.dbid, s.host, s.how, s.status.word(), s.pair)
    }
    fn json(&self) -> Value {
        json::segment_outcome_json(&self.0)
    }
}

pub(super) fn register(module: &mut Module, context: &Rc<Context>) {
    register_record::<OutcomeRecord>(module, context);
    register_record::<SegmentOutcomeRecord>(module, context);
}
