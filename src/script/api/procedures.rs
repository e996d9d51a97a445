//! `procedures()` and `procedure(name, options)`: the documented recoveries as modules, and a site's own beside them.

use super::binding::{Fallible, api, bind};
use crate::script::catalog::{Damage, Entry, entry};
use crate::script::context::Context;
use crate::script::modules::{Procedure, import_of_procedure, procedure_docs};
use crate::script::near::is_it;
use crate::script::thrown::{Thrower, Thrown};
use rhai::{Array, Dynamic, EvalAltResult, ImmutableString, Map, Module, NativeCallContext, Scope};
use std::rc::Rc;

/// What is bound here.
pub(super) const ENTRIES: &[Entry] = &[
    entry!(
        "procedures",
        &[&[]],
        "[map]",
        "The procedures that can be run, each with its purpose: the built-in ones, then the site's modules with a plan(options) \
         and a run(options).",
        "procedures()"
    ),
    entry!(
        "procedure", &[&["name: string"], &["name: string", "options: map"]], "any",
        "Runs a procedure: its run(options).", "procedure(\"recover_double_fault\")", changes: true,
        damage: Damage::AsItsCalls
    ),
    entry!(
        "check_options",
        &[&["name: string", "options: map", "known: array"]],
        "()",
        "For procedures of your own: throws `unknown_option`, with the near miss, when an option is none of those known.",
        "check_options(\"heal\", #{ host: \"sdw2\" }, [\"contents\", \"host\"])"
    ),
];

pub(super) fn bind_all(module: &mut Module, context: &Rc<Context>) {
    api!(module, context, "procedures", 0, |c| Ok(list(c).into()));
    api!(module, context, "check_options", 0, |_c, name: ImmutableString, options: Map, known: Array| {
        check_options(&name, &options, &known)
    });
    let shared = Rc::clone(context);
    bind(module, "procedure", 0, move |native: NativeCallContext, name: ImmutableString| -> Fallible {
        run(&native, &shared, &name, Map::new())
    });
    let shared = Rc::clone(context);
    bind(module, "procedure", 1, move |native: NativeCallContext, name: ImmutableString, options: Map| -> Fallible {
        run(&native, &shared, &name, options)
    });
}

fn known(context: &Context) -> Vec<Procedure> {
    context.hooks.resolver().map(|resolver| resolver.procedures()).unwrap_or_default()
}

/// `procedures()`.
fn list(context: &Context) -> Array {
    let map = |procedure: Procedure| {
        let mut map = Map::new();
        map.insert("name".into(), procedure.name.into());
        map.insert("doc".into(), procedure.doc.into());
        map.insert("file".into(), procedure.file.into());
        Dynamic::from(map)
    };
    known(context).into_iter().map(map).collect()
}

/// The script that runs a procedure whose name is known to be one.
pub(in crate::script) fn call_text(context: &Context, name: &str) -> Result<String, Thrown> {
    let is_built_in = procedure_docs().iter().any(|(n, _)| n == name);
    // One that can't be read is not listed, and why must be said all the same.
    if is_built_in || context.hooks.resolver().is_some_and(|resolver| resolver.has_site_module(name)) {
        return Ok(format!("{}the_procedure::run(options)", import_of_procedure(name)));
    }
    let near = is_it(name, known(context).iter().map(|p| p.name.as_str()));
    Err(Thrown::script("unknown_procedure", format!("there is no procedure `{name}`{near}")).next("procedures()"))
}

/// `procedure(name, options)`: on the same engine, so that limits and Ctrl-C hold inside.
fn run(native: &NativeCallContext, context: &Context, name: &str, options: Map) -> Result<Dynamic, Box<EvalAltResult>> {
    let text = call_text(context, name)?;
    let mut scope = Scope::new();
    scope.push_constant("options", options);
    let ast = native.engine().compile_with_scope(&scope, &text)?;
    native.engine().eval_ast_with_scope::<Dynamic>(&mut scope, &ast)
}

/// `check_options(name, options, known)`.
fn check_options(name: &str, options: &Map, known: &Array) -> Thrower {
    let known: Vec<String> = known.iter().map(Dynamic::to_string).collect();
    let Some(unknown) = options.keys().find(|key| !known.iter().any(|k| k == key.as_str())) else {
        return Ok(Dynamic::UNIT);
    };
    let near = is_it(unknown, known.iter().map(String::as_str));
    let none = if known.is_empty() { "; it has none" } else { "" };
    let mut thrown = Thrown::script("unknown_option", format!("{name} has no option `{unknown}`{near}{none}"));
    thrown.options = known;
    Err(thrown.next(format!("help(\"{name}\")")))
}
