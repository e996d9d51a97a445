//! Role, mode and status as scripts see them: equal to the catalog's letter and to the word, and an
//! error beside anything else, because `s.status == "donw"` must not quietly be false.

use super::api::binding::{bind_plain, bind_property};
use super::near::near_miss;
use super::record::FieldDoc;
use super::thrown::Thrown;
use crate::core::row::{Mode, Role, Status};
use rhai::{Dynamic, EvalAltResult, ImmutableString, Module};

/// A catalog value with a letter and a word.
pub trait Lettered: Copy + PartialEq + 'static {
    const WHAT: &'static str;
    fn letter(self) -> &'static str;
    fn word(self) -> &'static str;
    fn parse(text: &str) -> Option<Self>;
    fn all() -> &'static [Self];
}

macro_rules! lettered {
    ($($t:ident = $what:literal),*) => {$(
        impl Lettered for $t {
            const WHAT: &'static str = $what;
            fn letter(self) -> &'static str { $t::letter(self) }
            fn word(self) -> &'static str { $t::word(self) }
            fn parse(text: &str) -> Option<Self> { $t::parse(text) }
            fn all() -> &'static [Self] { $t::ALL }
        }
    )*};
}
lettered!(Role = "role", Mode = "mode", Status = "status");

/// What help and completion know of the three types.
pub fn docs() -> Vec<FieldDoc> {
    let letter = |record| FieldDoc { record, name: "letter", kind: "string", doc: "as the catalog has it" };
    let word = |record| FieldDoc { record, name: "word", kind: "string", doc: "the word of it" };
    ["Role", "Mode", "Status"].into_iter().flat_map(|record| [letter(record), word(record)]).collect()
}

/// Registers the three types.
pub fn register(module: &mut Module) {
    register_one::<Role>(module, "Role");
    register_one::<Mode>(module, "Mode");
    register_one::<Status>(module, "Status");
}

fn register_one<T: Lettered>(module: &mut Module, name: &str) {
    module.set_custom_type::<T>(name);
    bind_plain(module, "==", |a: T, b: Dynamic| same(a, &b));
    bind_plain(module, "!=", |a: T, b: Dynamic| same(a, &b).map(|s| !s));
    bind_plain(module, "==", |a: ImmutableString, b: T| same(b, &a.into()));
    bind_plain(module, "!=", |a: ImmutableString, b: T| same(b, &a.into()).map(|s| !s));
    // Rhai would call these unequal by their types, and the mistake would go unnoticed.
    bind_plain(module, "==", |a: i64, b: T| same(b, &a.into()));
    bind_plain(module, "!=", |a: i64, b: T| same(b, &a.into()).map(|s| !s));
    for text in ["to_string", "to_debug", "print", "debug"] {
        bind_plain(module, text, |a: &mut T| ImmutableString::from(a.word()));
    }
    bind_plain(module, "to_json", |a: &mut T| format!("\"{}\"", a.letter()));
    bind_plain(module, "+", |a: ImmutableString, b: T| format!("{a}{}", b.word()));
    bind_plain(module, "+", |a: T, b: ImmutableString| format!("{}{b}", a.word()));
    bind_property(module, "letter", |a: &mut T| ImmutableString::from(a.letter()));
    bind_property(module, "word", |a: &mut T| ImmutableString::from(a.word()));
}

/// Whether a value equals a letter, a word, or another value of its type.
fn same<T: Lettered>(value: T, other: &Dynamic) -> Result<bool, Box<EvalAltResult>> {
    if let Some(other) = other.clone().try_cast::<T>() {
        return Ok(value == other);
    }
    if other.is_unit() {
        // Comparing with () asks whether there is a value at all, which is a fair question.
        return Ok(false);
    }
    let text = other.clone().into_immutable_string();
    if let Some(named) = text.as_ref().ok().and_then(|t| T::parse(t)) {
        return Ok(value == named);
    }
    Err(not_comparable::<T>(text.ok().as_deref(), other).into())
}

fn not_comparable<T: Lettered>(text: Option<&str>, other: &Dynamic) -> Thrown {
    let shown = text.map_or_else(|| other.to_string(), str::to_string);
    let words = T::all().iter().map(|v| v.word());
    let near = text.and_then(|t| near_miss(t, words));
    let near = near.map(|n| format!("; is it \"{n}\"?")).unwrap_or_default();
    let all: Vec<String> = T::all().iter().map(|v| format!("\"{}\" ({})", v.letter(), v.word())).collect();
    Thrown::script("unknown_value", format!("`{shown}` is not a {}{near}", T::WHAT)).next(format!(
        "a {} is one of {}",
        T::WHAT,
        all.join(", ")
    ))
}
