//! What belongs to the session rather than to the cluster: `help`, `exit`, `sleep`, `ping`,
//! `setting`, and the fields that every caught error has.

use super::binding::{Fallible, api, bind, bind_property};
use super::state::StateRecord;
use crate::core::ids::Content;
use crate::script::catalog::{Entry, entry};
use crate::script::context::Context;
use crate::script::error::code_of_builtin;
use crate::script::help;
use crate::script::json;
use crate::script::thrown::{Thrower, Thrown};
use crate::script::units;
use rhai::{Dynamic, Engine, EvalAltResult, ImmutableString, Module, Position};
use std::rc::Rc;
use std::time::Duration;

/// What is bound here.
pub(super) const ENTRIES: &[Entry] = &[
    entry!(
        "ping",
        &[&["host: string"]],
        "map",
        "Whether a host's agent answers, and why not. As a command: exit 9 when it does not.",
        "ping(\"sdw2\").ok"
    ),
    entry!(
        "setting",
        &[&["name: string"], &["name: string", "value: any"]],
        "string",
        "Reads a setting of the cluster, or writes it durably.",
        "setting(\"gp_fts_probe_interval\", \"1s\")", changes: true, reading_forms: 1
    ),
    entry!(
        "fts_pause", &[&[], &["time: string"]], "State",
        "FTS promotes no mirror for this time, 10m when not given; it ends by itself.",
        "fts_pause(\"10m\")", changes: true
    ),
    entry!(
        "fts_resume", &[&[]], "State", "Ends a pause of FTS; a failover that waited for it happens now.",
        "fts_resume()", changes: true
    ),
    entry!(
        "evidence",
        &[&["content: int"]],
        "map",
        "What FTS knows of a content now, saw in its last rounds, and decided from what.",
        "evidence(2).decisions"
    ),
    entry!("args", &[&[]], "[string]", "The arguments after the script's name.", "args()[0]"),
    entry!("exit", &[&[], &["code: int"]], "()", "Ends the script with this exit code; it can't be caught.", "exit(3)"),
    entry!(
        "help",
        &[&[], &["subject: string"]],
        "()",
        "What there is: a function, a record, a refusal's code, a procedure.",
        "help(\"recover\")"
    ),
];

pub(super) fn bind_all(module: &mut Module, context: &Rc<Context>) {
    api!(module, context, "ping", 0, |c, h: ImmutableString| { ping(c, &h) });
    api!(module, context, "setting", 0, |c, n: ImmutableString| { setting(c, &n, None) });
    api!(module, context, "setting", 1, |c, n: ImmutableString, v: Dynamic| { setting(c, &n, Some(&v)) });
    api!(module, context, "fts_pause", 0, |c| fts_pause(c, None));
    api!(module, context, "fts_pause", 1, |c, time: Dynamic| { fts_pause(c, Some(&time)) });
    api!(module, context, "fts_resume", 0, |c| fts_resume(c));
    api!(module, context, "evidence", 0, |c, n: i64| evidence(c, n));
    api!(module, context, "args", 0, |c| args(c));
    api!(module, context, "help", 0, |c| help(c, None));
    api!(module, context, "help", 1, |c, s: ImmutableString| { help(c, Some(&s)) });
    let shared = Rc::clone(context);
    bind(module, "exit", 0, move || -> Fallible { exit(&shared, 0) });
    let shared = Rc::clone(context);
    bind(module, "exit", 1, move |code: Dynamic| -> Fallible {
        let code = code
            .as_int()
            .map_err(|found| Thrown::script("type_mismatch", format!("exit() takes a number, not {found}")))?;
        exit(&shared, code)
    });
}

/// What a dry run assumes of a pause without a time: the coordinator's default is documented as 10m.
const PAUSE_DEFAULT_MS: i64 = 600_000;

/// `help()` and `help(subject)`: printed, as help is read and not computed with.
pub(super) fn help(context: &Context, subject: Option<&str>) -> Thrower {
    let text = match subject {
        Some(subject) => help::about(subject)?,
        None => help::overview(),
    };
    context.ui.print(text.trim_end());
    Ok(Dynamic::UNIT)
}

/// `exit(n)`: the flag is raised again at every operation, so no `catch` can keep a script going.
pub(super) fn exit(context: &Context, code: i64) -> Result<Dynamic, Box<EvalAltResult>> {
    let code = i32::try_from(code)
        .ok()
        .filter(|c| (0..=255).contains(c))
        .ok_or_else(|| Thrown::script("bad_exit", format!("exit({code}): an exit code is 0 to 255")))?;
    context.exit.set(Some(code));
    Err(EvalAltResult::ErrorTerminated(Dynamic::from("exit"), Position::NONE).into())
}

/// `sleep("5s")`.
pub(super) fn sleep(context: &Context, time: &Dynamic) -> Thrower {
    let text = time.clone().into_string().map_err(|_| {
        Thrown::script("bad_time", format!("sleep({time}): write a text with a unit")).next("sleep(\"5s\")")
    })?;
    let ms = units::duration_ms(&text).map_err(|e| Thrown::script("bad_time", e.to_string()))?;
    context.sleep(Duration::from_millis(u64::try_from(ms).unwrap_or(0)))?;
    Ok(Dynamic::UNIT)
}

/// `ping(host)`.
pub(super) fn ping(context: &Context, host: &str) -> Thrower {
    Ok(json::to_dynamic(&json::ping_json(&context.cluster()?.ping(host)?)))
}

/// `setting(name)` and `setting(name, value)`.
pub(super) fn setting(context: &Context, name: &str, value: Option<&Dynamic>) -> Thrower {
    let value = value.map(|v| {
        if v.is_string() || v.is_int() || v.is_bool() || v.is_float() {
            Ok(v.to_string())
        } else {
            Err(Thrown::script("bad_setting", format!("a setting can't be {}", v.type_name())))
        }
    });
    let value = value.transpose()?;
    let cluster = context.cluster()?;
    if let Some(value) = &value
        && context.only_names(|| format!("setting({name:?}, {value:?})"))
    {
        return Ok(value.clone().into());
    }
    Ok(cluster.setting(name, value.as_deref())?.into())
}

/// `fts_pause()` and `fts_pause("10m")`.
pub(super) fn fts_pause(context: &Context, time: Option<&Dynamic>) -> Thrower {
    let read = |time: &Dynamic| {
        let text = time.clone().into_string().map_err(|_| {
            Thrown::script("bad_time", format!("fts_pause({time}): write a text with a unit"))
                .next("fts_pause(\"10m\")")
        })?;
        units::duration_ms(&text).map_err(|e| Thrown::script("bad_time", e.to_string()))
    };
    let for_ms = time.map(read).transpose()?;
    let cluster = context.cluster()?;
    let time = time.map(|t| format!("{:?}", t.to_string())).unwrap_or_default();
    if context.only_names(|| format!("fts_pause({time})")) {
        let mut state = context.state()?;
        state.fts_paused_until_ms = Some(state.time_ms.saturating_add(for_ms.unwrap_or(PAUSE_DEFAULT_MS)));
        context.imagine(state.clone());
        return Ok(Dynamic::from(StateRecord(Rc::new(state))));
    }
    Ok(Dynamic::from(StateRecord(Rc::new(cluster.fts_pause(for_ms)?))))
}

/// `fts_resume()`.
pub(super) fn fts_resume(context: &Context) -> Thrower {
    let cluster = context.cluster()?;
    if context.only_names(|| "fts_resume()".into()) {
        let mut state = context.state()?;
        state.fts_paused_until_ms = None;
        context.imagine(state.clone());
        return Ok(Dynamic::from(StateRecord(Rc::new(state))));
    }
    Ok(Dynamic::from(StateRecord(Rc::new(cluster.fts_resume()?))))
}

/// `evidence(content)`.
pub(super) fn evidence(context: &Context, content: i64) -> Thrower {
    Ok(json::to_dynamic(&json::evidence_json(&context.cluster()?.evidence(Content(content))?)))
}

/// `args()`.
pub(super) fn args(context: &Context) -> Thrower {
    let arguments = context.arguments.borrow();
    Ok(arguments.iter().map(|a| Dynamic::from(a.clone())).collect::<rhai::Array>().into())
}

/// Gives `code`, `exit`, `message` and `next` to whatever a script may catch: Rhai hands built-in errors over as maps without
/// a code, and what a script throws as the value itself.
pub(super) fn register_errors(engine: &mut Engine, module: &mut Module) {
    bind_property(module, "message", |text: &mut ImmutableString| text.clone());
    register_thrown::<ImmutableString>(module);
    macro_rules! thrown_as_text {
        ($($type:ty),*) => {$(
            bind_property(module, "message", |value: &mut $type| ImmutableString::from(value.to_string()));
            register_thrown::<$type>(module);
        )*};
    }
    thrown_as_text!(i64, f64, bool, char);
    bind_property(module, "message", |_: &mut ()| ImmutableString::new());
    register_thrown::<()>(module);
    bind_property(module, "message", |list: &mut rhai::Array| {
        ImmutableString::from(Dynamic::from(list.clone()).to_string())
    });
    register_thrown::<rhai::Array>(module);
    engine.on_map_missing_property(|map, property, _| {
        let fallback = error_property(map, property);
        fallback
            .map(Into::into)
            .ok_or_else(|| Box::new(EvalAltResult::ErrorPropertyNotFound(property.to_string(), Position::NONE)))
    });
}

/// The fields of a thrown value that says nothing of itself but its text.
fn register_thrown<T: rhai::Variant + Clone>(module: &mut Module) {
    bind_property(module, "code", |_: &mut T| ImmutableString::from("thrown"));
    bind_property(module, "exit", |_: &mut T| 1_i64);
    bind_property(module, "next", |_: &mut T| ImmutableString::new());
}

/// What a map that was thrown has when it lacks the field itself. Nothing tells a thrown map from any other, so all maps
/// have a `code`; the other fields only those that are errors by their own fields.
fn error_property(map: &rhai::Map, property: &str) -> Option<Dynamic> {
    let has = |key: &str| map.contains_key(key);
    let built_in = map.get("error").and_then(|e| e.clone().into_string().ok()).filter(|_| has("message"));
    let is_error = has("message") || has("code");
    match property {
        "code" => Some(built_in.map_or("thrown".to_string(), |error| code_of_builtin(&error)).into()),
        "message" => Some(map.get("code").cloned().unwrap_or_else(|| Dynamic::from(map.clone()).to_string().into())),
        "exit" if is_error => Some(Dynamic::from(1_i64)),
        "next" if is_error => Some(Dynamic::from(String::new())),
        _ => None,
    }
}
