//! `Refusal`: why something is not done.

use crate::cluster::Refusal;
use crate::script::context::Context;
use crate::script::json;
use crate::script::record::{Field, Record, fields, optional, register as register_record};
use rhai::{ImmutableString, Module};
use serde_json::Value;
use std::rc::Rc;

/// One reason, with its code, segment, cause and next step.
#[derive(Clone, PartialEq)]
pub struct RefusalRecord(pub Refusal);

impl Record for RefusalRecord {
    const NAME: &'static str = "Refusal";
    fn fields() -> Vec<Field<Self>> {
        fields! {
            code: "string", "the documented code; help(code) explains it" => |r| ImmutableString::from(r.0.code.code());
            content: "int?", "the content, or ()" => |r| optional(r.0.content.map(|c| c.0));
            dbid: "int?", "the segment, or ()" => |r| optional(r.0.dbid.map(|d| d.0));
            host: "string?", "the host, or ()" => |r| optional(r.0.host.as_deref().map(ImmutableString::from));
            cause: "string", "what was seen" => |r| ImmutableString::from(r.0.cause.as_str());
            next: "string", "the next step, as it would be typed" => |r| ImmutableString::from(r.0.next.as_str());
        }
    }
    fn text(&self, context: &Context) -> String {
        context.renderer.refusals("", std::slice::from_ref(&self.0))
    }
    fn json(&self) -> Value {
        json::refusal_json(&self.0)
    }
}

pub(super) fn register(module: &mut Module, context: &Rc<Context>) {
    register_record::<RefusalRecord>(module, context);
}
