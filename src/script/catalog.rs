//! Every function of the API, once, beside its binding in [`super::api`]: help prints it, the engine is given its parameters and comments
//! from it, `check` knows names and arities by it, and the command line is generated from it.

use super::api;
use super::options::{Kind, OptionDoc};
use std::sync::LazyLock;

/// What a call can do to the cluster, and what it asks before. The grades are those of [`crate::cluster::PlanDamage`]; a plan says
/// which of them it is itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Damage {
    /// Nothing is changed.
    Reads,
    /// Something is changed that is asked for in so many words, or that ends by itself.
    Asks,
    /// What it does can be undone, or only cancels statements.
    Reversible,
    /// Whole copies are overwritten.
    Copies,
    /// Everything at once.
    Everything,
    /// All that there is, whatever is asked for.
    Replaces,
    /// What the rules advise against.
    Overrides,
    /// It is as grave as the calls that it makes.
    AsItsCalls,
    /// It is as grave as the statement.
    Statement,
}

impl Damage {
    /// What it does and asks, as the end of a sentence that begins with "It".
    pub fn says(self) -> &'static str {
        match self {
            Damage::Reads => "changes nothing",
            Damage::Asks => "changes the cluster, and asks nothing",
            Damage::Reversible => "changes the cluster, and asks y/N",
            Damage::Copies => "overwrites copies: the host is typed, or the number of segments",
            Damage::Everything => "asks y/N; for everything at once the cluster's name is typed",
            Damage::Replaces => "replaces all that there is: the cluster's name is typed",
            Damage::Overrides => "is an override: the word `override` is typed",
            Damage::AsItsCalls => "asks as the calls do that it makes",
            Damage::Statement => "does what the statement says, and asks nothing",
        }
    }
}

/// One function, with all its forms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// `fault` in `fault::kill`; empty for a plain function.
    pub namespace: &'static str,
    /// The record it is a method of; empty for a function. The record is then the first parameter.
    pub method_of: &'static str,
    pub name: &'static str,
    /// The parameters of each form, as `name: type`.
    pub forms: &'static [&'static [&'static str]],
    pub returns: &'static str,
    pub doc: &'static str,
    pub example: &'static str,
    pub options: &'static [OptionDoc],
    /// It changes the cluster, in all of its forms but the first `reading_forms`.
    pub changes: bool,
    /// What it can do, and what it asks before.
    pub damage: Damage,
    /// So many of its forms, counted from the first, only read.
    pub reading_forms: usize,
}

impl Entry {
    /// Whether the form of so many parameters changes the cluster: `setting(name)` reads, `setting(name, value)` writes.
    pub fn changes_with(&self, parameters: usize) -> bool {
        self.changes && !self.forms.iter().take(self.reading_forms).any(|form| form.len() == parameters)
    }

    /// What it does and asks, as the end of a sentence that begins with "It".
    pub fn says(&self) -> String {
        let read: Vec<String> =
            self.forms.iter().take(self.reading_forms).map(|f| format!("{}({})", self.name, names(f))).collect();
        match read.is_empty() {
            true => self.damage.says().to_string(),
            false => format!("{}; {} only reads", self.damage.says(), read.join(", ")),
        }
    }

    /// The name as it is typed: `fault::kill`, `plan.apply`, `recover`.
    pub fn full_name(&self) -> String {
        match (self.namespace, self.method_of) {
            ("", "") => self.name.to_string(),
            ("", record) => format!("{}.{}", record.to_lowercase(), self.name),
            (namespace, _) => format!("{namespace}::{}", self.name),
        }
    }
}

impl Entry {
    /// Whether it is typed so; the same as comparing with [`Entry::full_name`], which makes a text each time.
    pub fn is_typed(&self, name: &str) -> bool {
        match (self.namespace, self.method_of) {
            ("", "") => name == self.name,
            ("", record) => name.split_once('.').is_some_and(|(object, method)| {
                method == self.name && object.chars().eq(record.chars().flat_map(char::to_lowercase))
            }),
            (namespace, _) => {
                name.split_once("::").is_some_and(|(space, plain)| (space, plain) == (namespace, self.name))
            }
        }
    }
}

/// The names of a form's parameters.
fn names(form: &[&str]) -> String {
    let names: Vec<&str> = form.iter().filter_map(|p| p.split(": ").next()).collect();
    names.join(", ")
}

/// Every function of the API, by subject.
pub fn catalog() -> &'static [Entry] {
    static ALL: LazyLock<Vec<Entry>> = LazyLock::new(|| api::ENTRIES.concat());
    &ALL
}

/// The entry of a name, with its namespace or record where it has one: `recover`, `fault::kill`,
/// `plan.apply`.
pub fn find(name: &str) -> Option<&'static Entry> {
    // Asked for every function that an engine is given, of every entry, so the cheapest question comes first.
    let is_full =
        |e: &&Entry| name.ends_with(e.name) && (e.is_typed(name) || (!e.method_of.is_empty() && is_method(e, name)));
    catalog().iter().find(is_full).or_else(|| {
        // A bare method name is how people ask: help("apply").
        catalog().iter().find(|e| e.name == name)
    })
}

/// `Rows.one`, as the records are written.
fn is_method(entry: &Entry, name: &str) -> bool {
    name.split_once('.').is_some_and(|(record, method)| record == entry.method_of && method == entry.name)
}

/// The options of a function; none when it has no such table.
pub fn options_of(name: &str) -> &'static [OptionDoc] {
    find(name).map_or(&[], |e| e.options)
}

pub(super) const fn option(name: &'static str, kind: Kind, doc: &'static str) -> OptionDoc {
    OptionDoc { name, kind, doc, default: "" }
}

pub(super) const CONTENTS: OptionDoc = option("contents", Kind::Contents, "only these contents");
pub(super) const DBIDS: OptionDoc = option("dbids", Kind::Dbids, "only these segments");
pub(super) const HOSTS: OptionDoc = option("hosts", Kind::Hosts, "only segments on these hosts");
pub(super) const WAIT: OptionDoc =
    option("wait", Kind::Flag, "false: return `started` as soon as it is durable").or("true");
pub(super) const RAISE: OptionDoc = option("raise", Kind::Flag, "false: return every outcome, throw none").or("true");
pub(super) const TIMEOUT: OptionDoc = option("timeout", Kind::Duration, "give up waiting after this time");
pub(super) const STALL: OptionDoc = option("stall", Kind::Duration, "give up waiting when nothing moved for this time");
pub(super) const RATE: OptionDoc = option("rate", Kind::Rate, "copy no faster than this");
pub(super) const COMPARE_RATE: OptionDoc = option("rate", Kind::Rate, "read no faster than this");
pub(super) const JOBS: OptionDoc = option("jobs", Kind::Count, "work on so many contents at a time");
pub(super) const IN_PLACE: OptionDoc =
    option("in_place", Kind::Flag, "overwrite the old copy, where there is no room for two").or("false");
pub(super) const MODE: OptionDoc =
    option("mode", Kind::Word(&["smart", "fast", "immediate"]), "how sessions are treated").or("fast");
pub(super) const TO: OptionDoc =
    option("to", Kind::To, "rebuild at another place, by a full copy: a host, #{ host, dir }, or places by dbid");
pub(super) const AFTER: OptionDoc = option("after", Kind::Plan, "plan on the rows this plan predicts");

pub(super) const OPTIONS: &[&str] = &["options: map"];

/// An entry of the catalog, written beside the binding of its function.
macro_rules! entry {
    ($name:literal, $forms:expr, $returns:literal, $doc:literal, $example:literal
     $(, namespace: $namespace:literal)? $(, method_of: $record:literal)?
     $(, options: $options:expr)? $(, changes: $changes:literal)? $(, damage: $damage:expr)?
     $(, reading_forms: $reading:literal)?) => {
        $crate::script::catalog::Entry {
            namespace: $crate::script::catalog::entry!(@or "" $(, $namespace)?),
            method_of: $crate::script::catalog::entry!(@or "" $(, $record)?),
            name: $name,
            forms: $forms,
            returns: $returns,
            doc: $doc,
            example: $example,
            options: $crate::script::catalog::entry!(@or &[] $(, $options)?),
            changes: $crate::script::catalog::entry!(@or false $(, $changes)?),
            damage: $crate::script::catalog::entry!(@damage $(changes $changes)? $(, $damage)?),
            reading_forms: $crate::script::catalog::entry!(@or 0 $(, $reading)?),
        }
    };
    (@damage $(changes $changes:literal)?, $damage:expr) => { $damage };
    (@damage changes $changes:literal) => { $crate::script::catalog::Damage::Asks };
    (@damage) => { $crate::script::catalog::Damage::Reads };
    (@or $default:expr, $given:expr) => { $given };
    (@or $default:expr) => { $default };
}
pub(super) use entry;
