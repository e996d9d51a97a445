//! Literal arguments of the API's functions: options that do not exist, and values that no form of the function takes.

use super::{Checker, Finding, Severity, finding};
use crate::script::catalog::{Entry, catalog};
use crate::script::options::Options;
use crate::script::thrown::Thrown;
use crate::script::units;
use rhai::{Dynamic, Expr, FnCallExpr, Position};

impl Checker<'_> {
    /// Judges the arguments that are written out; what a variable holds only the run can tell.
    pub(super) fn arguments(&mut self, call: &FnCallExpr, method: bool) {
        let namespace = call.namespace.to_string();
        let namespace = namespace.trim_end_matches("::");
        let arity = call.args.len() + usize::from(method);
        let takes = |e: &&Entry| {
            e.name == call.name.as_str()
                && e.namespace == namespace
                && e.method_of.is_empty() != method
                && e.forms.iter().any(|f| f.len() == arity)
        };
        let mut entries = catalog().iter().filter(takes);
        // Two records may have a method of one name, and which one is meant is known only when it runs.
        let (Some(entry), None) = (entries.next(), entries.next()) else { return };
        let forms = || entry.forms.iter().filter(|f| f.len() == arity);
        // A procedure's options are its own: the catalog does not know them.
        let has_options = !entry.options.is_empty() && forms().all(|f| f.last() == Some(&"options: map"));
        if has_options && let Some(last) = call.args.last() {
            return self.options(entry, last);
        }
        // What a method is called on is not known, and the language has methods of the same names.
        if method {
            return;
        }
        let values: Vec<Option<Dynamic>> = call.args.iter().map(|a| a.get_literal_value(None)).collect();
        let mut misfits: Vec<(usize, Thrown)> = Vec::new();
        for form in forms() {
            match misfit(entry, form, &values) {
                None => return,
                Some(found) => misfits.push(found),
            }
        }
        // The form that fits furthest is the one that was meant.
        if let Some((at, thrown)) = misfits.into_iter().max_by_key(|(at, _)| *at) {
            let position = call.args.get(at).map_or(Position::NONE, Expr::position);
            self.thrown(thrown, position);
        }
    }

    /// The options map of a call, where it is written out.
    fn options(&mut self, entry: &Entry, argument: &Expr) {
        let name = entry.name;
        let Expr::Map(written, _) = argument else {
            if let Some(value) = argument.get_literal_value(None)
                && let Err(thrown) = Options::read(name, entry.options, &value)
            {
                self.thrown(thrown, argument.position());
            }
            return;
        };
        for (key, value) in &written.0 {
            let known = entry.options.iter().any(|o| o.name == key.name.as_str());
            let value_at = value.position();
            let value = match value.get_literal_value(None) {
                Some(value) => value,
                None if known => continue,
                None => Dynamic::UNIT,
            };
            let one: rhai::Map = [(key.name.as_str().into(), value)].into();
            if let Err(thrown) = Options::read(name, entry.options, &one.into()) {
                self.thrown(thrown, if known { value_at } else { key.pos });
            }
        }
    }

    fn thrown(&mut self, thrown: Thrown, at: Position) {
        let details = thrown.into_details();
        let found = Finding {
            options: details.options,
            ..finding(Severity::Error, &details.code, details.message, details.next)
        };
        self.add(found, at.line().map(|line| (line, at.position().unwrap_or(1))));
    }
}

/// The first literal that a form does not take, and what to say of it.
fn misfit(entry: &Entry, form: &[&str], values: &[Option<Dynamic>]) -> Option<(usize, Thrown)> {
    let pairs = form.iter().zip(values).enumerate();
    let mut misfits = pairs.filter_map(|(at, (parameter, value))| Some((at, parameter, value.as_ref()?)));
    misfits.find_map(|(at, parameter, value)| {
        let (name, kind) = parameter.split_once(": ")?;
        wrong(entry, name, kind, value).map(|thrown| (at, thrown))
    })
}

fn wrong(entry: &Entry, name: &str, kind: &str, value: &Dynamic) -> Option<Thrown> {
    let function = entry.full_name();
    let fits = match kind {
        "string" => value.is_string(),
        "int" => value.is_int(),
        "array" => value.is_array(),
        "map" => value.is_map(),
        "closure" => value.is_fnptr(),
        // A record has no literal; what is wrong with a number in its place the function itself says best.
        _ => true,
    };
    let code = match name {
        "time" => "bad_time",
        "size" => "bad_size",
        _ => "type_mismatch",
    };
    let shown = if value.is_string() { format!("\"{value}\"") } else { value.to_string() };
    let thrown = |what: String| {
        Some(Thrown::script(code, format!("{function}({shown}): {what}")).next(format!("help(\"{function}\")")))
    };
    match (fits, name) {
        (false, "time" | "size") => thrown("write a text with a unit".into()),
        (false, _) => thrown(format!("`{name}` is {} {kind}", article(kind))),
        (true, "time") => units::duration_ms(&value.to_string()).err().and_then(|e| thrown(e.to_string())),
        (true, "size") => units::size_bytes(&value.to_string()).err().and_then(|e| thrown(e.to_string())),
        (true, _) => None,
    }
}

fn article(word: &str) -> &'static str {
    if word.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" }
}
