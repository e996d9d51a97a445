//! `procedures()` and `procedure(name, options)`: the documented recoveries as modules.

use super::binding::{Fallible, api, bind};
use crate::script::catalog::{Damage, Entry, entry};
use crate::script::context::Context;
use crate::script::modules::procedure_docs;
use crate::script::near::is_it;
use crate::script::thrown::Thrown;
use rhai::{Array, Dynamic, EvalAltResult, ImmutableString, Map, Module, NativeCallContext, Scope};
use std::rc::Rc;

/// What is bound here.
pub(super) const ENTRIES: &[Entry] = &[
    entry!("procedures", &[&[]], "[map]", "The procedures that can be run, each with its purpose.", "procedures()"),
    entry!(
        "procedure", &[&["name: string"], &["name: string", "options: map"]], "any",
        "Runs a procedure: its run(options).", "procedure(\"recover_double_fault\")", changes: true, damage: Damage::AsItsCalls
    ),
];

pub(super) fn bind_all(module: &mut Module, context: &Rc<Context>) {
    api!(module, context, "procedures", 0, |_c| Ok(list().into()));
    let shared = Rc::clone(context);
    bind(module, "procedure", 0, move |native: NativeCallContext, name: ImmutableString| -> Fallible {
        run(&native, &shared, &name, Map::new())
    });
    let shared = Rc::clone(context);
    bind(module, "procedure", 1, move |native: NativeCallContext, name: ImmutableString, options: Map| -> Fallible {
        run(&native, &shared, &name, options)
    });
}

/// `procedures()`.
pub(super) fn list() -> Array {
    procedure_docs()
        .into_iter()
        .map(|(name, doc)| {
            let mut map = Map::new();
            map.insert("name".into(), name.into());
            map.insert("doc".into(), doc.into());
            map.into()
        })
        .collect()
}

/// The script that runs a procedure whose name is known to be one.
pub(in crate::script) fn call_text(name: &str) -> Result<String, Thrown> {
    let known = procedure_docs();
    if known.iter().any(|(n, _)| n == name) {
        return Ok(format!("import \"std/{name}\" as the_procedure; the_procedure::run(options)"));
    }
    let near = is_it(name, known.iter().map(|(n, _)| n.as_str()));
    Err(Thrown::script("unknown_procedure", format!("there is no procedure `{name}`{near}")).next("procedures()"))
}

/// `procedure(name, options)`: on the same engine, so that limits and Ctrl-C hold inside.
pub(super) fn run(
    native: &NativeCallContext,
    _context: &Context,
    name: &str,
    options: Map,
) -> Result<Dynamic, Box<EvalAltResult>> {
    let text = call_text(name)?;
    let mut scope = Scope::new();
    scope.push_constant("options", options);
    let ast = native.engine().compile_with_scope(&scope, &text)?;
    native.engine().eval_ast_with_scope::<Dynamic>(&mut scope, &ast)
}
