//! `assert` and `assert_equal`: what a test demands, and what is said when it is not so.

use super::binding::{Fallible, bind};
use crate::script::catalog::{Entry, entry};
use crate::script::context::Context;
use crate::script::thrown::Thrown;
use rhai::{Dynamic, Engine, ImmutableString, Module, NativeCallContext, Scope};
use std::rc::Rc;

/// What is bound here.
pub(super) const ENTRIES: &[Entry] = &[
    entry!(
        "assert",
        &[&["condition: bool"], &["condition: bool", "message: string"]],
        "()",
        "Throws `assertion` unless the condition holds; for the test_ functions of `segsh test`, and for any script.",
        "assert(state().operational, \"every content serves\")"
    ),
    entry!(
        "assert_equal",
        &[&["found: any", "expected: any"]],
        "()",
        "Throws `assertion` unless both are equal, and says what they are.",
        "assert_equal(state().down.len(), 0)"
    ),
];

pub(super) fn bind_all(module: &mut Module, _context: &Rc<Context>) {
    bind(module, "assert", 0, |holds: bool| -> Fallible { assert(holds, "it does not hold") });
    bind(module, "assert", 1, |holds: bool, message: ImmutableString| -> Fallible { assert(holds, &message) });
    bind(module, "assert_equal", 0, |native: NativeCallContext, found: Dynamic, expected: Dynamic| -> Fallible {
        assert_equal(native.engine(), found, expected)
    });
}

fn assert(holds: bool, message: &str) -> Fallible {
    if holds { Ok(Dynamic::UNIT) } else { Err(Thrown::script("assertion", message).into()) }
}

/// Compares as `==` in a script does, so that a status equals its letter and its word.
fn assert_equal(engine: &Engine, found: Dynamic, expected: Dynamic) -> Fallible {
    let mut scope = Scope::new();
    scope.push_constant_dynamic("found", found);
    scope.push_constant_dynamic("expected", expected);
    if engine.eval_expression_with_scope::<bool>(&mut scope, "found == expected")? {
        return Ok(Dynamic::UNIT);
    }
    let mut shown = |name: &str| {
        let text = engine.eval_expression_with_scope::<String>(&mut scope, &format!("{name}.to_debug()"));
        text.unwrap_or_else(|_| format!("a value without a text ({name})"))
    };
    let message = format!("it is {}, expected {}", shown("found"), shown("expected"));
    Err(Thrown::script("assertion", message).into())
}
