//! The trailing options map of an API function: checked against the function's table, read into
//! plain values. What is not in the table is an error that names the near miss.

use super::api::plan::PlanRecord;
use super::api::segments::Segments;
use super::api::state::{ContentRecord, SegmentRecord};
use super::near::is_it;
use super::places;
use super::thrown::{Thrower, Thrown};
use super::units;
use crate::cluster::{Selection, To};
use crate::core::ids::{Content, Dbid};
use rhai::{Array, Dynamic, Map};

/// What an option takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Contents,
    Dbids,
    Hosts,
    Flag,
    /// `"10m"`.
    Duration,
    /// `"50 MiB/s"`.
    Rate,
    /// A whole number from 1.
    Count,
    /// One of these words.
    Word(&'static [&'static str]),
    /// Any text.
    Text,
    /// Directories.
    Paths,
    /// A plan, on whose predicted rows this one is made.
    Plan,
    /// A host's name, a map of a place, or a map of such places by dbid.
    To,
}

/// One option of a function: how it is read, and what help says of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OptionDoc {
    pub name: &'static str,
    pub kind: Kind,
    pub doc: &'static str,
    /// What holds when it is not given, as it would be written; empty where nothing does.
    pub default: &'static str,
}

impl OptionDoc {
    /// The same, with what holds when it is not given.
    pub(super) const fn or(self, default: &'static str) -> OptionDoc {
        OptionDoc { default, ..self }
    }
}

/// An option as it was given.
#[derive(Clone)]
enum Given {
    Numbers(Vec<i64>),
    Texts(Vec<String>),
    Flag(bool),
    /// Milliseconds, bytes per second, or a count.
    Number(i64),
    Text(String),
    Plan(PlanRecord),
    To(To),
}

/// The options of one call.
#[derive(Clone, Default)]
pub struct Options {
    given: Vec<(&'static str, Given)>,
}

impl Options {
    /// Reads the trailing argument of `function`.
    pub fn read(function: &str, table: &[OptionDoc], argument: &Dynamic) -> Thrower<Options> {
        if argument.is_unit() {
            return Ok(Options::default());
        }
        let Some(map) = argument.read_lock::<Map>() else {
            return Err(not_a_map(function, table, argument));
        };
        let mut given = Vec::new();
        for (key, value) in map.iter() {
            let Some(option) = table.iter().find(|o| o.name == key.as_str()) else {
                return Err(unknown_option(function, table, key));
            };
            given.push((option.name, read_one(function, option, value)?));
        }
        Ok(Options { given })
    }

    fn get(&self, name: &str) -> Option<&Given> {
        self.given.iter().find(|(n, _)| *n == name).map(|(_, g)| g)
    }

    pub fn flag(&self, name: &str, default: bool) -> bool {
        match self.get(name) {
            Some(Given::Flag(b)) => *b,
            _ => default,
        }
    }

    pub fn number(&self, name: &str) -> Option<i64> {
        match self.get(name) {
            Some(Given::Number(n)) => Some(*n),
            _ => None,
        }
    }

    pub fn word(&self, name: &str) -> Option<&str> {
        match self.get(name) {
            Some(Given::Text(t)) => Some(t),
            _ => None,
        }
    }

    /// The texts of a list; none when it was not given.
    pub fn texts(&self, name: &str) -> &[String] {
        match self.get(name) {
            Some(Given::Texts(t)) => t,
            _ => &[],
        }
    }

    pub fn plan(&self, name: &str) -> Option<&PlanRecord> {
        match self.get(name) {
            Some(Given::Plan(p)) => Some(p),
            _ => None,
        }
    }

    /// Where segments are to be moved; `None` when it was not given.
    pub fn to(&self) -> Option<To> {
        match self.get("to") {
            Some(Given::To(to)) => Some(to.clone()),
            _ => None,
        }
    }

    /// The numbers of a `contents:` or `dbids:`; `None` when it was not given, which is not the
    /// same as an empty list.
    pub fn numbers(&self, name: &str) -> Option<&[i64]> {
        match self.get(name) {
            Some(Given::Numbers(n)) => Some(n),
            _ => None,
        }
    }

    /// True when a target list was given and all that were given are empty: then a call is about
    /// nothing. It must never fall back to "everything", which an empty selection means inside.
    pub fn selects_nothing(&self) -> bool {
        let lengths: Vec<usize> = ["contents", "dbids", "hosts"]
            .iter()
            .filter_map(|name| match self.get(name) {
                Some(Given::Numbers(n)) => Some(n.len()),
                Some(Given::Texts(t)) => Some(t.len()),
                _ => None,
            })
            .collect();
        !lengths.is_empty() && lengths.iter().all(|l| *l == 0)
    }

    pub fn selection(&self) -> Selection {
        let numbers = |name| self.numbers(name).unwrap_or_default().iter().copied();
        let hosts = match self.get("hosts") {
            Some(Given::Texts(t)) => t.clone(),
            _ => Vec::new(),
        };
        Selection {
            contents: numbers("contents").map(Content).collect(),
            dbids: numbers("dbids").map(Dbid).collect(),
            hosts,
        }
    }
}

fn names(table: &[OptionDoc]) -> Vec<String> {
    table.iter().map(|o| o.name.to_string()).collect()
}

fn unknown_option(function: &str, table: &[OptionDoc], key: &str) -> Thrown {
    let near = is_it(key, table.iter().map(|o| o.name));
    let mut thrown = Thrown::script("unknown_option", format!("{function}() has no option `{key}`{near}"));
    thrown.options = names(table);
    thrown.next(format!("help(\"{function}\")"))
}

/// A bare number or list could be contents or dbids, and the difference is a wrong segment: both
/// spellings are given.
fn not_a_map(function: &str, table: &[OptionDoc], argument: &Dynamic) -> Thrown {
    let has = |kind: Kind| table.iter().any(|o| o.kind == kind);
    let bare = argument.is_int() || argument.is_array();
    if bare && has(Kind::Contents) {
        let mut spellings = vec![format!("{function}(#{{ contents: {argument} }})")];
        if has(Kind::Dbids) {
            spellings.push(format!("{function}(#{{ dbids: {argument} }})"));
        }
        let both = spellings.join(" or ");
        return Thrown::script("bare_number", format!("{function}({argument}): content or dbid?")).next(both);
    }
    if argument.is_string() && has(Kind::Hosts) {
        let spelling = format!("{function}(#{{ hosts: \"{argument}\" }})");
        return Thrown::script("not_options", format!("{function}() takes its targets by name")).next(spelling);
    }
    Thrown::script("not_options", format!("{function}() takes options as a map, not {}", argument.type_name()))
        .next(format!("help(\"{function}\")"))
}

fn read_one(function: &str, option: &OptionDoc, value: &Dynamic) -> Thrower<Given> {
    let wrong = |what: &str| {
        Thrown::script("bad_option", format!("{function}(): `{}` takes {what}, not {}", option.name, shown(value)))
            .next(format!("help(\"{function}\")"))
    };
    match option.kind {
        Kind::Contents => {
            numbers(value, |s| s.content).map(Given::Numbers).ok_or_else(|| wrong("content numbers, such as [2]"))
        }
        Kind::Dbids => numbers(value, |s| s.dbid).map(Given::Numbers).ok_or_else(|| wrong("dbids, such as [5]")),
        Kind::Hosts => texts(value).map(Given::Texts).ok_or_else(|| wrong("host names")),
        Kind::Flag => value.as_bool().map(Given::Flag).map_err(|_| wrong("true or false")),
        Kind::Count => match value.as_int() {
            Ok(n) if n >= 1 => Ok(Given::Number(n)),
            _ => Err(wrong("a whole number from 1")),
        },
        Kind::Duration => quantity(value, "10m", units::duration_ms, &wrong),
        Kind::Rate => quantity(value, "50 MiB/s", units::rate_bytes, &wrong),
        Kind::Word(words) => match value.clone().into_string() {
            Ok(text) if words.contains(&text.as_str()) => Ok(Given::Text(text)),
            Ok(text) => {
                let near = is_it(&text, words.iter().copied());
                Err(wrong(&format!("one of {}{near}", words.join(", "))))
            }
            Err(_) => Err(wrong(&format!("one of {}", words.join(", ")))),
        },
        Kind::Paths => texts(value).map(Given::Texts).ok_or_else(|| wrong("paths, such as \"/data1\"")),
        Kind::Text => value.clone().into_string().map(Given::Text).map_err(|_| wrong("a text")),
        Kind::To => places::read(value).map(Given::To).map_err(|what| wrong(&what)),
        Kind::Plan => value.clone().try_cast::<PlanRecord>().map(Given::Plan).ok_or_else(|| wrong("a plan")),
    }
}

fn quantity(
    value: &Dynamic,
    example: &str,
    parse: fn(&str) -> Result<i64, units::UnitError>,
    wrong: &dyn Fn(&str) -> Thrown,
) -> Thrower<Given> {
    let text = value.clone().into_string().map_err(|_| wrong(&format!("a text with a unit, such as \"{example}\"")))?;
    parse(&text).map(Given::Number).map_err(|e| {
        let mut thrown = wrong(&format!("a text with a unit, such as \"{example}\""));
        thrown.message = format!("{}: {e}", thrown.message);
        thrown
    })
}

/// The two numbers a segment can be named by.
struct Named {
    content: i64,
    dbid: i64,
}

/// A number, a segment or a list of either; a content where contents are meant.
fn numbers(value: &Dynamic, pick: fn(&Named) -> i64) -> Option<Vec<i64>> {
    if let Some(array) = value.read_lock::<Array>() {
        let parts: Option<Vec<Vec<i64>>> = array.iter().map(|v| numbers(v, pick)).collect();
        return parts.map(|p| p.concat());
    }
    if let Ok(n) = value.as_int() {
        return Some(vec![n]);
    }
    let of = |row: &crate::core::row::SegmentRow| pick(&Named { content: row.content.0, dbid: row.dbid.0 });
    if let Some(segments) = value.read_lock::<Segments>() {
        return Some(segments.0.iter().map(|s| of(&s.row)).collect());
    }
    if let Some(segment) = value.read_lock::<SegmentRecord>() {
        return Some(vec![of(&segment.0.row)]);
    }
    let content = value.read_lock::<ContentRecord>()?;
    // A content has no dbid of its own, so it names nothing where dbids are meant.
    let number = pick(&Named { content: content.content.0, dbid: -1 });
    (number >= 0).then(|| vec![number])
}

pub(super) fn texts(value: &Dynamic) -> Option<Vec<String>> {
    if let Some(array) = value.read_lock::<Array>() {
        return array.iter().map(|v| v.clone().into_string().ok()).collect();
    }
    if let Some(host) = value.read_lock::<super::api::state::HostRecord>() {
        return Some(vec![host.0.host.clone()]);
    }
    value.clone().into_string().ok().map(|t| vec![t])
}

fn shown(value: &Dynamic) -> String {
    if value.is_string() { format!("\"{value}\"") } else { value.to_string() }
}
