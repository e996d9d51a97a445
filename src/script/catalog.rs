//! Every function of the API, once, beside its binding in [`super::api`]: help prints it, the engine is given its parameters and comments
//! from it, `check` knows names and arities by it, and the command line is generated from it.

use super::api;
use super::options::{Kind, OptionDoc};
use std::sync::LazyLock;

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
    /// It changes the cluster.
    pub changes: bool,
}

impl Entry {
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

/// Every function of the API, by subject.
pub fn catalog() -> &'static [Entry] {
    static ALL: LazyLock<Vec<Entry>> = LazyLock::new(|| api::ENTRIES.concat());
    &ALL
}

/// The entry of a name, with its namespace or record where it has one: `recover`, `fault::kill`,
/// `plan.apply`.
pub fn find(name: &str) -> Option<&'static Entry> {
    let is_full = |e: &&Entry| e.is_typed(name) || (!e.method_of.is_empty() && is_method(e, name));
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
pub(super) const COLOCATED: OptionDoc =
    option("colocated", Kind::Flag, "with `to`: allow the host of the other copy").or("false");
pub(super) const AFTER: OptionDoc = option("after", Kind::Plan, "plan on the rows this plan predicts");

pub(super) const OPTIONS: &[&str] = &["options: map"];

/// An entry of the catalog, written beside the binding of its function.
macro_rules! entry {
    ($name:literal, $forms:expr, $returns:literal, $doc:literal, $example:literal
     $(, namespace: $namespace:literal)? $(, method_of: $record:literal)?
     $(, options: $options:expr)? $(, changes: $changes:literal)?) => {
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
        }
    };
    (@or $default:expr, $given:expr) => { $given };
    (@or $default:expr) => { $default };
}
pub(super) use entry;
