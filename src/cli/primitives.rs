//! The primitives as subcommands, made from the catalog of the script API: one registration, one vocabulary.
//!
//! What a command line cannot write down (a closure, a plan) has no subcommand or no flag; everything else has, so a function
//! or an option that is added to the catalog is there at once.

use super::call::{Call, quoted};
use crate::script::{Entry, Kind, OptionDoc, catalog};
use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::sync::LazyLock;

/// Functions that are about the session itself; `run` is the command for `procedure`, `segsh help` the one for `help`,
/// and `segsh check` is about scripts. The utilities read their own command lines.
pub const NO_COMMANDS: &[&str] = &[
    "args",
    "assert",
    "assert_equal",
    "check",
    "check_options",
    "confirm",
    "exit",
    "gpstate",
    "gprecoverseg",
    "gpstart",
    "gpstop",
    "help",
    "plan_sequence",
    "procedure",
    "sleep",
];

/// Options without a flag: a plan is a value of the session, and how an outcome is told is the exit code's business.
pub fn has_flag(option: &OptionDoc) -> bool {
    option.kind != Kind::Plan && option.name != "raise"
}

/// Namespaces whose functions are subcommands of a subcommand. `demo::` has none: its cluster ends with its shell.
const NAMESPACES: &[(&str, &str)] = &[("fault", "Faults for drills, on drill clusters only")];

/// The whole command line: `base`, and every primitive that it has no command for.
pub fn added_to(base: Command) -> Command {
    added(base, |_| true)
}

/// The same to read this line with: a command whose name does not stand in it is there without its arguments, for those of
/// all commands take longer to make than the line takes to read.
pub fn added_to_read(base: Command, line: &[OsString]) -> Command {
    added(base, |entry| {
        let called = if entry.namespace.is_empty() { entry.name } else { entry.namespace };
        line.iter().any(|word| word == called || word == spelled(called))
    })
}

fn added(base: Command, is_whole: impl Fn(&Entry) -> bool) -> Command {
    let command = |entry| if is_whole(entry) { with_arguments(named(entry), entry) } else { named(entry) };
    let mut whole = base;
    for entry in catalog().iter().filter(|e| e.namespace.is_empty()) {
        if is_command(entry) && whole.find_subcommand(spelled(entry.name)).is_none() {
            whole = whole.subcommand(command(entry));
        }
    }
    for (namespace, about) in NAMESPACES {
        let inner = catalog().iter().filter(|e| e.namespace == *namespace && is_command(e)).map(command);
        let outer = Command::new(*namespace).about(*about).subcommand_required(true).arg_required_else_help(true);
        whole = whole.subcommand(outer.subcommands(inner));
    }
    whole
}

/// Whether a function of the catalog is a subcommand.
pub fn is_command(entry: &Entry) -> bool {
    let known = entry.namespace.is_empty() || NAMESPACES.iter().any(|(name, _)| *name == entry.namespace);
    known && entry.method_of.is_empty() && !NO_COMMANDS.contains(&entry.name) && parameters(entry).is_some()
}

/// `full_recover` as it is typed: `full-recover`.
pub fn spelled(name: &'static str) -> &'static str {
    static SPELLED: LazyLock<BTreeMap<&'static str, String>> = LazyLock::new(|| {
        let options = catalog().iter().flat_map(|e| e.options.iter().map(|o| o.name));
        let parameters =
            catalog().iter().flat_map(|e| e.forms.iter().copied().flatten()).filter_map(|p| p.split(": ").next());
        let names = catalog().iter().map(|e| e.name).chain(options).chain(parameters);
        names.filter(|n| n.contains('_')).map(|n| (n, n.replace('_', "-"))).collect()
    });
    SPELLED.get(name).map_or(name, String::as_str)
}

/// A parameter that is no options map.
struct Parameter {
    name: &'static str,
    kind: &'static str,
    required: bool,
}

impl Parameter {
    /// What tells two forms apart is a flag, so that every word has one place: `segsh sql --content 2 'select 1'`.
    fn is_flag(&self) -> bool {
        self.kind == "Segment" || (self.kind == "int" && !self.required)
    }
}

/// The parameters of all forms that can be written on a command line; `None` when there is no such form.
fn parameters(entry: &Entry) -> Option<Vec<Parameter>> {
    let split = |form: &&'static [&'static str]| -> Option<Vec<(&'static str, &'static str)>> {
        let pairs: Vec<_> = form.iter().filter_map(|p| p.split_once(": ")).collect();
        let writable = |(name, kind): &(&str, &str)| {
            matches!(*kind, "string" | "int" | "any" | "array" | "Segment") || (*name, *kind) == ("options", "map")
        };
        pairs.iter().all(writable).then_some(pairs)
    };
    let forms: Vec<_> = entry.forms.iter().filter_map(split).collect();
    let longest = forms.iter().max_by_key(|f| f.len())?;
    let required = |name: &str| forms.iter().all(|f| f.iter().any(|(n, _)| *n == name));
    let plain = longest.iter().filter(|(_, kind)| *kind != "map");
    Some(plain.map(|(name, kind)| Parameter { name, kind, required: required(name) }).collect())
}

/// The function behind a subcommand's name.
fn entry_of(namespace: &str, command: &str) -> Option<&'static Entry> {
    catalog().iter().find(|e| e.namespace == namespace && spelled(e.name) == command && is_command(e))
}

/// A subcommand as the list of all shows it.
fn named(entry: &'static Entry) -> Command {
    let about = entry.doc.split(". ").next().unwrap_or(entry.doc).trim_end_matches('.');
    let command = Command::new(spelled(entry.name)).about(about.to_string());
    // As a script spells it; help need not say so.
    if spelled(entry.name) == entry.name { command } else { command.alias(entry.name) }
}

fn with_arguments(command: Command, entry: &'static Entry) -> Command {
    let mut command = command.long_about(entry.doc).after_help(format!("In a script: {}", entry.example));
    for parameter in parameters(entry).unwrap_or_default() {
        command = command.arg(parameter_arg(&parameter));
    }
    // A function without a form that takes no options must be told what it is about.
    let told = entry.forms.iter().all(|f| f.last() == Some(&"options: map"));
    for option in entry.options.iter().filter(|o| has_flag(o)) {
        let arg = option_arg(option);
        command = command.arg(if told && option.kind == Kind::Dbids { arg.required(true) } else { arg });
    }
    if planned(entry.name).is_some() {
        command = command.arg(dry_run());
    }
    if is_judged(entry) {
        let help = "Exit 9 unless everything is up, synchronized and in its preferred role";
        command = command.arg(Arg::new("check").long("check").help(help).action(ArgAction::SetTrue));
    }
    command
}

/// The function that makes the plan of this one.
fn planned(name: &str) -> Option<&'static Entry> {
    catalog().iter().find(|e| e.method_of.is_empty() && e.name.strip_prefix("plan_") == Some(name))
}

/// Functions that look at the whole state and change nothing.
fn is_judged(entry: &Entry) -> bool {
    entry.returns == "State" && !entry.changes && entry.forms.iter().all(|f| f.is_empty())
}

fn dry_run() -> Arg {
    let help = "Show the plan and change nothing (exit 3 when there is nothing to do)";
    Arg::new("dry_run").long("dry-run").help(help).action(ArgAction::SetTrue)
}

fn parameter_arg(parameter: &Parameter) -> Arg {
    let arg = Arg::new(parameter.name).required(parameter.required);
    let (flag, arg) = match parameter.kind {
        "Segment" => ("dbid", arg.value_parser(value_parser!(i64)).value_name("N").help("The segment, by its dbid")),
        "int" => (parameter.name, arg.value_parser(value_parser!(i64)).help("By its number")),
        "array" => (parameter.name, arg.num_args(0..).help("Values for $1, $2 and so on")),
        // A setting's value may be a negative number.
        "any" => (parameter.name, arg.allow_negative_numbers(true)),
        _ => (parameter.name, arg),
    };
    if parameter.is_flag() { arg.long(flag).value_name("N") } else { arg }
}

fn option_arg(option: &'static OptionDoc) -> Arg {
    let arg = Arg::new(option.name).long(spelled(option.name)).help(capitalized(option.doc));
    let list = |arg: Arg, name: &'static str, alias: &'static str| {
        arg.value_name(name).value_delimiter(',').num_args(1..).action(ArgAction::Append).visible_alias(alias)
    };
    match option.kind {
        Kind::Contents => list(arg, "N", "content").value_parser(value_parser!(i64)),
        Kind::Dbids => list(arg, "N", "dbid").value_parser(value_parser!(i64)),
        Kind::Hosts => list(arg, "HOST", "host"),
        Kind::Flag if option.default == "true" => {
            let help = option.doc.trim_start_matches("false: ");
            arg.long(negated(option.name)).help(capitalized(help)).action(ArgAction::SetTrue)
        }
        Kind::Flag => arg.action(ArgAction::SetTrue),
        Kind::Duration => arg.value_name("DURATION"),
        Kind::Rate => arg.value_name("RATE"),
        Kind::Count => arg.value_name("N").value_parser(value_parser!(i64).range(1..)),
        Kind::Word(words) => arg.value_name("WORD").value_parser(PossibleValuesParser::new(words)),
        Kind::Text => arg.value_name("TEXT"),
        Kind::Paths => arg
            .value_name("PATH")
            .num_args(1)
            .action(ArgAction::Append)
            .visible_alias(option.name.trim_end_matches('s')),
        Kind::Plan => arg.value_name("FILE"),
        Kind::To => arg.value_name("HOST"),
    }
}

/// `wait` is on, so its flag is `--no-wait`.
fn negated(name: &'static str) -> &'static str {
    static NEGATED: LazyLock<BTreeMap<&'static str, String>> = LazyLock::new(|| {
        let options = catalog().iter().flat_map(|e| e.options).filter(|o| o.kind == Kind::Flag);
        options.map(|o| (o.name, format!("no-{}", spelled(o.name)))).collect()
    });
    NEGATED.get(name).map_or(name, String::as_str)
}

fn capitalized(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

/// The call that a command line asks for, when its subcommand is a primitive.
pub fn call(matches: &ArgMatches) -> Option<Call> {
    let (name, inner) = matches.subcommand()?;
    if let Some((namespace, _)) = NAMESPACES.iter().find(|(n, _)| *n == name) {
        let (name, inner) = inner.subcommand()?;
        return Some(call_of(entry_of(namespace, name)?, inner));
    }
    Some(call_of(entry_of("", name)?, inner))
}

fn call_of(entry: &'static Entry, matches: &ArgMatches) -> Call {
    // `segsh plan-recover` is `segsh recover --dry-run`: its exit code says what there is to do.
    let (name, is_plan) = match entry.name.strip_prefix("plan_") {
        Some(verb) => (verb.to_string(), true),
        None => (entry.full_name(), false),
    };
    let mut call = Call::new(&name);
    for parameter in parameters(entry).unwrap_or_default() {
        call = match argument(&parameter, matches) {
            Some(value) => call.argument(value),
            None => call,
        };
    }
    // Without a plan of its own it is rehearsed like any line of the session, by the flag that all commands share.
    let is_dry = planned(&name).is_some() && is_set(matches, "dry_run");
    call = call.dry(is_plan || is_dry).checked(is_set(matches, "check"));
    // A plan has nothing to wait for, so it knows fewer options.
    let known = if call.dry_run { planned(&name).map_or(entry.options, |p| p.options) } else { entry.options };
    for option in known.iter().filter(|o| has_flag(o)) {
        if let Some(value) = option_value(option, matches) {
            call = call.option(option.name, value);
        }
    }
    call
}

fn is_set(matches: &ArgMatches, id: &str) -> bool {
    matches.try_get_one::<bool>(id).ok().flatten().copied().unwrap_or(false)
}

fn argument(parameter: &Parameter, matches: &ArgMatches) -> Option<String> {
    match parameter.kind {
        "int" => matches.get_one::<i64>(parameter.name).map(ToString::to_string),
        "Segment" => matches.get_one::<i64>(parameter.name).map(|dbid| format!("state().segment({dbid})")),
        "array" => {
            let values: Vec<String> = matches.get_many::<String>(parameter.name)?.map(|v| literal(v)).collect();
            Some(format!("[{}]", values.join(", ")))
        }
        _ => matches.get_one::<String>(parameter.name).map(|text| quoted(text)),
    }
}

/// A value of a statement: a number where it is written as one, else a text.
fn literal(text: &str) -> String {
    match text.parse::<i64>() {
        Ok(number) => number.to_string(),
        Err(_) => quoted(text),
    }
}

fn option_value(option: &OptionDoc, matches: &ArgMatches) -> Option<String> {
    let name = option.name;
    let given = matches.try_contains_id(name).is_ok_and(|known| known);
    if !given {
        return None;
    }
    let list = |values: Vec<String>| (!values.is_empty()).then(|| format!("[{}]", values.join(", ")));
    match option.kind {
        Kind::Contents | Kind::Dbids => list(matches.get_many::<i64>(name)?.map(ToString::to_string).collect()),
        Kind::Hosts | Kind::Paths => list(matches.get_many::<String>(name)?.map(|h| quoted(h)).collect()),
        Kind::Flag => is_set(matches, name).then(|| (option.default != "true").to_string()),
        Kind::Count => matches.get_one::<i64>(name).map(ToString::to_string),
        Kind::Duration | Kind::Rate | Kind::Word(_) | Kind::Text | Kind::Plan | Kind::To => {
            matches.get_one::<String>(name).map(|text| quoted(text))
        }
    }
}
