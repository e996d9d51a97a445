//! The engine's profile: what a script may do, and how it is stopped.

use super::api;
use super::context::Context;
use super::modules::Resolver;
use rhai::{Dynamic, Engine, OptimizationLevel};
use std::rc::Rc;

/// Nested calls. Said here because Rhai's own default differs between debug and release builds, and
/// a script that passes the tests must not fail the administrator.
const CALL_LEVELS_MAX: usize = 64;
const EXPRESSION_DEPTH_MAX: usize = 64;
const FUNCTION_EXPRESSION_DEPTH_MAX: usize = 32;
const VARIABLES_MAX: usize = 10_000;
const FUNCTIONS_MAX: usize = 10_000;
const MODULES_MAX: usize = 1_000;
const STRING_BYTES_MAX: usize = 16 << 20;
const ARRAY_ITEMS_MAX: usize = 1_000_000;
const MAP_ITEMS_MAX: usize = 1_000_000;

/// An engine with the whole API.
pub(super) fn build(context: &Rc<Context>, resolver: Resolver) -> Engine {
    let mut engine = Engine::new();
    set_language(&mut engine);
    set_limits(&mut engine);
    set_interrupt(&mut engine, context);
    set_output(&mut engine, context);
    engine.set_module_resolver(resolver);
    api::register(&mut engine, context);
    engine
}

fn set_language(engine: &mut Engine) {
    // Never Full: it would call functions while compiling, and `restart()` is a function.
    engine.set_optimization_level(OptimizationLevel::Simple);
    engine.set_strict_variables(true);
    engine.set_fail_on_invalid_map_property(true);
    // Fast operators would compare a role with a text by their types and never ask the role.
    engine.set_fast_operators(false);
    engine.disable_symbol("eval");
}

fn set_limits(engine: &mut Engine) {
    engine.set_max_call_levels(CALL_LEVELS_MAX);
    engine.set_max_expr_depths(EXPRESSION_DEPTH_MAX, FUNCTION_EXPRESSION_DEPTH_MAX);
    engine.set_max_variables(VARIABLES_MAX);
    engine.set_max_functions(FUNCTIONS_MAX);
    engine.set_max_modules(MODULES_MAX);
    engine.set_max_string_size(STRING_BYTES_MAX);
    engine.set_max_array_size(ARRAY_ITEMS_MAX);
    engine.set_max_map_size(MAP_ITEMS_MAX);
    // A script file may run for a month: it waits for clusters.
    engine.set_max_operations(0);
}

/// The flag is asked at every operation and stays raised, because an end that arrives inside a
/// closure run by a native function reaches the script as an error it could catch.
fn set_interrupt(engine: &mut Engine, context: &Rc<Context>) {
    let shared = Rc::clone(context);
    engine.on_progress(move |_| shared.must_end().then(|| Dynamic::from("end")));
}

fn set_output(engine: &mut Engine, context: &Rc<Context>) {
    let shared = Rc::clone(context);
    engine.on_print(move |text| shared.ui.print(text));
    let shared = Rc::clone(context);
    engine.on_debug(move |text, source, position| {
        let source = source.unwrap_or_default();
        shared.ui.note(&format!("{source}:{position} {text}"));
    });
}
