//! How a Rust value becomes a record of the API: fields, `==`, text, map and JSON, all from one trait.

use super::api::binding::{bind_index, bind_plain, bind_property};
use super::context::Context;
use super::near::is_it;
use super::thrown::Thrown;
use rhai::{Dynamic, EvalAltResult, ImmutableString, Map, Module};
use serde_json::Value;
use std::rc::Rc;

/// A field: its name, what it is, and how it is read.
pub struct Field<T> {
    pub name: &'static str,
    /// Its type as [`Type::of`](super::types::Type::of) reads it.
    pub kind: &'static str,
    pub doc: &'static str,
    pub read: fn(&T) -> Dynamic,
}

/// Name, type and meaning of a field, for help and completion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FieldDoc {
    pub record: &'static str,
    pub name: &'static str,
    /// Its type as [`Type::of`](super::types::Type::of) reads it: `int`, `Segment?`, `[Content]`.
    pub kind: &'static str,
    pub doc: &'static str,
}

/// A value with named fields that scripts can read and nobody can change.
pub trait Record: Clone + PartialEq + 'static {
    const NAME: &'static str;
    fn fields() -> Vec<Field<Self>>;
    /// What `print` shows.
    fn text(&self, context: &Context) -> String;
    fn json(&self) -> Value;
}

/// Fields as a table, so that a record's file reads like its documentation: `name: "type", "doc" => |r| read;`.
macro_rules! fields {
    ($($name:ident: $first:literal $(, $doc:literal)? => |$r:ident| $read:expr;)*) => {
        vec![$($crate::script::record::Field {
            name: stringify!($name),
            kind: $crate::script::record::fields!(@kind $first $(, $doc)?),
            doc: $crate::script::record::fields!(@doc $first $(, $doc)?),
            read: |$r| ::rhai::Dynamic::from($read),
        }),*]
    };
    (@kind $kind:literal, $doc:literal) => { $kind };
    (@kind $doc:literal) => { "any" };
    (@doc $kind:literal, $doc:literal) => { $doc };
    (@doc $doc:literal) => { $doc };
}
pub(super) use fields;

/// Registers the type with everything that every record has.
pub fn register<T: Record>(module: &mut Module, context: &Rc<Context>) {
    module.set_custom_type::<T>(T::NAME);
    for field in T::fields() {
        let read = field.read;
        bind_property(module, field.name, move |r: &mut T| read(r));
    }
    bind_index(module, |r: &mut T, key: ImmutableString| field_of(r, &key));
    bind_plain(module, "==", |a: T, b: T| a == b);
    bind_plain(module, "!=", |a: T, b: T| a != b);
    // Rhai would call these unequal by their types, and `state().down == 0` would quietly be false.
    bind_plain(module, "==", |a: T, b: Dynamic| same(&a, &b));
    bind_plain(module, "!=", |a: T, b: Dynamic| same(&a, &b).map(|same| !same));
    bind_plain(module, "==", |a: Dynamic, b: T| same(&b, &a));
    bind_plain(module, "!=", |a: Dynamic, b: T| same(&b, &a).map(|same| !same));
    bind_plain(module, "to_map", |r: &mut T| to_map(r));
    bind_plain(module, "to_json", |r: &mut T| r.json().to_string());
    for name in ["to_string", "to_debug", "print", "debug"] {
        let context = Rc::clone(context);
        bind_plain(module, name, move |r: &mut T| -> Result<ImmutableString, Box<EvalAltResult>> {
            super::context::guard(name, || Ok(r.text(&context).trim_end().into()))
        });
    }
}

/// Whether a record equals another value. Comparing with `()` asks whether there is one at all, which is a fair question.
fn same<T: Record>(record: &T, other: &Dynamic) -> Result<bool, Box<EvalAltResult>> {
    if other.is_unit() {
        return Ok(false);
    }
    if let Some(other) = other.read_lock::<T>() {
        return Ok(*record == *other);
    }
    let names: Vec<&str> = T::fields().iter().map(|f| f.name).collect();
    let shown = super::types::Type::of_value(other);
    let message = format!("a {} never equals a value of type {shown}: compare one of its properties", T::NAME);
    Err(Thrown::script("unknown_value", message).next(format!("properties: {}", names.join(" "))).into())
}

/// The record as a map of its fields.
pub fn to_map<T: Record>(record: &T) -> Map {
    T::fields().iter().map(|f| (f.name.into(), (f.read)(record))).collect()
}

/// What help and completion know of a record.
pub fn docs<T: Record>() -> Vec<FieldDoc> {
    T::fields().iter().map(|f| FieldDoc { record: T::NAME, name: f.name, kind: f.kind, doc: f.doc }).collect()
}

/// Reached for an unknown property too, which Rhai would otherwise report without the near miss.
fn field_of<T: Record>(record: &T, key: &str) -> Result<Dynamic, Box<EvalAltResult>> {
    let fields = T::fields();
    match fields.iter().find(|f| f.name == key) {
        Some(field) => Ok((field.read)(record)),
        None => {
            let near = is_it(key, fields.iter().map(|f| f.name));
            let names: Vec<&str> = fields.iter().map(|f| f.name).collect();
            let message = format!("{} has no property `{key}`{near}", T::NAME);
            Err(Thrown::script("unknown_property", message).next(format!("properties: {}", names.join(" "))).into())
        }
    }
}

/// `Some` as itself and `None` as unit: an `Option` would be an opaque type to a script.
pub fn optional<T: Clone + 'static>(value: Option<T>) -> Dynamic {
    value.map_or(Dynamic::UNIT, Dynamic::from)
}
