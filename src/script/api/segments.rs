//! A list of segments: a type of its own, so that it prints as a table and can be a target.

use super::binding::{Fallible, bind, bind_index};
use super::state::SegmentRecord;
use crate::cluster::Segment;
use crate::script::catalog::{Entry, entry};
use crate::script::context::Context;
use crate::script::json;
use crate::script::record::{Field, Record, fields, register as register_record};
use crate::script::thrown::Thrown;
use rhai::{Array, Dynamic, EvalAltResult, FnPtr, Module, NativeCallContext};
use serde_json::Value;
use std::rc::Rc;

/// Segments in the order of their dbids.
#[derive(Clone, PartialEq)]
pub struct Segments(pub Rc<Vec<Segment>>);

impl Segments {
    fn record(segment: &Segment) -> SegmentRecord {
        SegmentRecord(Rc::new(segment.clone()))
    }

    fn array(&self) -> Array {
        self.0.iter().map(|s| Dynamic::from(Self::record(s))).collect()
    }

    fn contents(&self) -> Array {
        let mut contents: Vec<i64> = self.0.iter().map(|s| s.row.content.0).collect();
        contents.sort_unstable();
        contents.dedup();
        contents.into_iter().map(Dynamic::from).collect()
    }

    fn holds(&self, segment: &SegmentRecord) -> bool {
        self.0.iter().any(|s| s.row.dbid == segment.0.row.dbid)
    }

    fn at(&self, index: i64) -> Result<SegmentRecord, Box<EvalAltResult>> {
        let len = self.0.len() as i64;
        let from_start = if index < 0 { index + len } else { index };
        usize::try_from(from_start).ok().and_then(|i| self.0.get(i)).map(Self::record).ok_or_else(|| {
            Thrown::script("out_of_bounds", format!("there is no segment [{index}] in a list of {len}")).into()
        })
    }
}

impl IntoIterator for Segments {
    type Item = SegmentRecord;
    type IntoIter = std::vec::IntoIter<SegmentRecord>;
    fn into_iter(self) -> Self::IntoIter {
        self.0.iter().map(Self::record).collect::<Vec<_>>().into_iter()
    }
}

fn filter(native: NativeCallContext, list: &mut Segments, f: FnPtr) -> Fallible<Segments> {
    let mut kept = Vec::new();
    for segment in list.0.iter() {
        let keep: Dynamic = f.call_within_context(&native, (Segments::record(segment),))?;
        if keep.as_bool().map_err(|t| not_bool("filter", t))? {
            kept.push(segment.clone());
        }
    }
    Ok(Segments(Rc::new(kept)))
}

fn map(native: NativeCallContext, list: &mut Segments, f: FnPtr) -> Fallible<Array> {
    let mapped = list.0.iter().map(|s| f.call_within_context(&native, (Segments::record(s),)));
    mapped.collect()
}

fn not_bool(name: &str, found: &str) -> Box<EvalAltResult> {
    let message = format!("{name}() needs a closure that says true or false, not {found}");
    Thrown::script("type_mismatch", message).into()
}

impl Record for Segments {
    const NAME: &'static str = "Segments";
    fn fields() -> Vec<Field<Self>> {
        fields! {
            len: "int", "how many there are" => |l| l.0.len() as i64;
            is_empty: "bool", "whether there is none" => |l| l.0.is_empty();
            dbids: "[int]", "their numbers" => |l| l.0.iter().map(|s| Dynamic::from(s.row.dbid.0)).collect::<Array>();
            contents: "[int]", "their contents, each once" => |l| l.contents();
        }
    }
    fn text(&self, context: &Context) -> String {
        context.renderer.segments(&self.0)
    }
    fn json(&self) -> Value {
        Value::Array(self.0.iter().map(json::segment_json).collect())
    }
}

/// What is bound here.
pub(super) const ENTRIES: &[Entry] = &[
    entry!(
        "filter", &[&["segments: Segments", "test: closure"]], "Segments", "The segments for which the closure is true.",
        "state().segments.filter(|s| s.role == \"p\")", method_of: "Segments"
    ),
    entry!(
        "map", &[&["segments: Segments", "change: closure"]], "array", "What the closure makes of every segment.",
        "state().down.map(|s| s.host)", method_of: "Segments"
    ),
    entry!(
        "contains", &[&["segments: Segments", "segment: Segment"]], "bool", "Whether a segment is among them; also `in`.",
        "state().segment(5) in state().down", method_of: "Segments"
    ),
    entry!(
        "len", &[&["segments: Segments"]], "int", "How many there are.", "state().down.len()", method_of: "Segments"
    ),
    entry!(
        "is_empty", &[&["segments: Segments"]], "bool", "Whether there is none.", "state().down.is_empty()",
        method_of: "Segments"
    ),
    entry!(
        "to_array", &[&["segments: Segments"]], "[Segment]", "The segments as an array, which can be sorted and changed.",
        "state().segments.to_array()", method_of: "Segments"
    ),
];

/// Methods of the list.
pub(super) fn bind_all(module: &mut Module, _context: &Rc<Context>) {
    bind(module, "segments.filter", 0, filter);
    bind(module, "segments.map", 0, map);
    bind(module, "segments.contains", 0, |l: &mut Segments, s: SegmentRecord| l.holds(&s));
    bind(module, "segments.len", 0, |l: &mut Segments| l.0.len() as i64);
    bind(module, "segments.is_empty", 0, |l: &mut Segments| l.0.is_empty());
    bind(module, "segments.to_array", 0, |l: &mut Segments| l.array());
}

/// Registers the list.
pub(super) fn register(module: &mut Module, context: &Rc<Context>) {
    register_record::<Segments>(module, context);
    module.set_iterable::<Segments>();
    bind_index(module, |l: &mut Segments, i: i64| l.at(i));
}
