//! A list of segments: a type of its own, so that it prints as a table and can be a target.

use super::binding::Fallible;
use super::state::SegmentRecord;
use crate::cluster::Segment;
use crate::script::context::{Context, guard};
use crate::script::json;
use crate::script::thrown::Thrown;
use rhai::{Array, Dynamic, Engine, EvalAltResult, FnPtr, ImmutableString, NativeCallContext};
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

    pub fn json(&self) -> Value {
        Value::Array(self.0.iter().map(json::segment_json).collect())
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

/// Registers the list.
pub(super) fn register(engine: &mut Engine, context: &Rc<Context>) {
    engine.register_type_with_name::<Segments>("Segments");
    engine.register_iterator::<Segments>();
    engine.register_get("len", |l: &mut Segments| l.0.len() as i64);
    engine.register_fn("len", |l: &mut Segments| l.0.len() as i64);
    engine.register_fn("is_empty", |l: &mut Segments| l.0.is_empty());
    engine.register_get("is_empty", |l: &mut Segments| l.0.is_empty());
    engine.register_indexer_get(|l: &mut Segments, i: i64| l.at(i));
    engine.register_fn("filter", filter);
    engine.register_fn("map", map);
    engine.register_fn("to_array", |l: &mut Segments| l.array());
    engine.register_get("dbids", |l: &mut Segments| -> Array { l.0.iter().map(|s| s.row.dbid.0.into()).collect() });
    engine.register_get("contents", |l: &mut Segments| -> Array {
        let mut contents: Vec<i64> = l.0.iter().map(|s| s.row.content.0).collect();
        contents.sort_unstable();
        contents.dedup();
        contents.into_iter().map(Dynamic::from).collect()
    });
    engine.register_fn("contains", |l: &mut Segments, s: SegmentRecord| l.0.iter().any(|x| x.row.dbid == s.0.row.dbid));
    engine.register_fn("==", |a: Segments, b: Segments| a == b);
    engine.register_fn("!=", |a: Segments, b: Segments| a != b);
    engine.register_fn("to_json", |l: &mut Segments| l.json().to_string());
    for name in ["to_string", "to_debug", "print", "debug"] {
        let context = Rc::clone(context);
        engine.register_fn(name, move |l: &mut Segments| -> Fallible<ImmutableString> {
            guard(name, || Ok(context.renderer.segments(&l.0).trim_end().into()))
        });
    }
}
