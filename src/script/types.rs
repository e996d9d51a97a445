//! What completion and help know of a value before it is there: the types of fields and methods, and the type at the end of
//! a chain such as `state().content(2).primary`.
//!
//! The text is read once, from its beginning, as a person types it: unfinished, with strings and comments in it. Nothing is
//! evaluated and nothing is asked of a cluster, so the answer is there within a key press.

use super::catalog::{Entry, catalog};
use super::{api, letters};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

/// The type of a field, a result or a variable.
///
/// Written as it stands in the tables: `int`, `Segment`, `Segment?` for one that may be `()`, `[Segment]` for an array of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Type {
    /// `int`, `string`, `array`, `State` ...; as `type_of` says it, but for the numbers.
    pub name: Cow<'static, str>,
    /// What an array holds, when that is known.
    pub items: Option<Cow<'static, str>>,
    /// It may be `()` instead.
    pub optional: bool,
}

impl Type {
    /// A type as the tables write it.
    pub fn of(written: &'static str) -> Type {
        let (written, optional) = match written.strip_suffix('?') {
            Some(written) => (written, true),
            None => (written, false),
        };
        match written.strip_prefix('[').and_then(|w| w.strip_suffix(']')) {
            Some(items) => Type { name: "array".into(), items: Some(items.into()), optional },
            None => Type { name: written.into(), items: None, optional },
        }
    }

    /// The type of a value that is there.
    pub fn of_value(value: &rhai::Dynamic) -> Type {
        let items = value.read_lock::<rhai::Array>().and_then(|array| {
            let first = array.first()?.type_name();
            array.iter().all(|v| v.type_name() == first).then(|| plain_name(first))
        });
        Type { name: plain_name(value.type_name()), items, optional: false }
    }

    /// What an index or a loop takes out of it.
    pub fn item(&self) -> Option<Type> {
        let name = match (self.name.as_ref(), &self.items) {
            (_, Some(items)) => items.clone(),
            ("Segments", None) => "Segment".into(),
            ("Rows", None) => "SqlRow".into(),
            ("string", None) => "char".into(),
            _ => return None,
        };
        Some(Type { name, items: None, optional: false })
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.items {
            Some(items) => write!(f, "array of {items}")?,
            None => f.write_str(&self.name)?,
        }
        f.write_str(if self.optional { " or ()" } else { "" })
    }
}

/// Rhai's own names of a few types are those of Rust. A record's is found under the path of its Rust type.
fn plain_name(name: &str) -> Cow<'static, str> {
    match name.rsplit("::").next().unwrap_or(name) {
        "i64" => "int".into(),
        "f64" => "float".into(),
        "ImmutableString" | "&str" => "string".into(),
        "FnPtr" | "Fn" => "closure".into(),
        last => api::type_names()
            .into_iter()
            .find(|(rust, _)| *rust == last)
            .map_or_else(|| Cow::Owned(last.to_string()), |(_, name)| name.into()),
    }
}

/// Whether a member is read or called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemberKind {
    Field,
    Method,
}

/// What can stand behind the dot of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    pub name: &'static str,
    pub kind: MemberKind,
    /// The field's type, or what the method returns.
    pub of: Type,
    /// The parameters of a method, without its object: `number: int`.
    pub parameters: Vec<&'static str>,
    pub doc: &'static str,
}

/// Everything that can stand behind the dot of a value of this type, fields first, each by name.
pub fn members(of: &Type) -> Vec<Member> {
    let mut found: Vec<Member> = api::record_docs()
        .into_iter()
        .chain(letters::docs())
        .filter(|f| f.record == of.name)
        .map(|f| Member {
            name: f.name,
            kind: MemberKind::Field,
            of: Type::of(f.kind),
            parameters: Vec::new(),
            doc: f.doc,
        })
        .collect();
    let is_record = !found.is_empty();
    found.extend(catalog().iter().filter(|e| !e.method_of.is_empty() && e.method_of == of.name).map(method));
    let is_letter = matches!(of.name.as_ref(), "Role" | "Mode" | "Status");
    let is_theirs = |b: &&BuiltIn| b.of == "record" && is_record && !(is_letter && b.name == "to_map");
    let every_record = |b: &&BuiltIn| is_theirs(b) && !found.iter().any(|m| m.name == b.name);
    let shared: Vec<Member> = BUILT_IN.iter().filter(every_record).map(|b| b.member(of)).collect();
    found.extend(shared);
    found.extend(BUILT_IN.iter().filter(|b| b.of == of.name).map(|b| b.member(of)));
    found.sort_by_key(|m| (m.kind == MemberKind::Method, m.name));
    found
}

fn method(entry: &Entry) -> Member {
    let form = entry.forms.last().copied().unwrap_or_default();
    Member {
        name: entry.name,
        kind: MemberKind::Method,
        of: Type::of(entry.returns),
        parameters: form.iter().skip(1).copied().collect(),
        doc: entry.doc,
    }
}

/// A method of the language that is worth completing.
struct BuiltIn {
    of: &'static str,
    name: &'static str,
    parameters: &'static [&'static str],
    /// `itself` and `item` stand for the type it is called on and for what that holds.
    returns: &'static str,
    doc: &'static str,
}

impl BuiltIn {
    fn member(&self, on: &Type) -> Member {
        let of = match self.returns {
            "itself" => Type { optional: false, ..on.clone() },
            "item" => on.item().unwrap_or_else(|| Type::of("any")),
            written => Type::of(written),
        };
        Member { name: self.name, kind: MemberKind::Method, of, parameters: self.parameters.to_vec(), doc: self.doc }
    }
}

const fn built_in(
    of: &'static str,
    name: &'static str,
    parameters: &'static [&'static str],
    returns: &'static str,
    doc: &'static str,
) -> BuiltIn {
    BuiltIn { of, name, parameters, returns, doc }
}

/// The everyday part of Rhai's own methods, and what every record has.
const BUILT_IN: &[BuiltIn] = &[
    built_in("record", "to_json", &[], "string", "The record as JSON, as --json shows it."),
    built_in("record", "to_map", &[], "map", "The record's fields as a map."),
    built_in("record", "to_string", &[], "string", "The text that print shows."),
    built_in("array", "all", &["test: closure"], "bool", "Whether the closure is true for every item."),
    built_in("array", "contains", &["item: any"], "bool", "Whether an item equals this."),
    built_in("array", "filter", &["test: closure"], "itself", "The items for which the closure is true."),
    built_in("array", "find", &["test: closure"], "item", "The first item for which the closure is true, or ()."),
    built_in("array", "for_each", &["act: closure"], "()", "Calls the closure on every item, as `this`."),
    built_in("array", "is_empty", &[], "bool", "Whether there is no item."),
    built_in("array", "len", &[], "int", "The number of items."),
    built_in("array", "map", &["change: closure"], "array", "What the closure makes of every item."),
    built_in("array", "push", &["item: any"], "()", "Adds an item at the end."),
    built_in("array", "reduce", &["join: closure"], "any", "All items joined into one by |sum, item|."),
    built_in("array", "some", &["test: closure"], "bool", "Whether the closure is true for any item."),
    built_in("array", "sort", &[], "()", "Puts the items in order."),
    built_in("map", "contains", &["key: string"], "bool", "Whether the map has this key."),
    built_in("map", "keys", &[], "array", "The keys."),
    built_in("map", "len", &[], "int", "The number of entries."),
    built_in("map", "to_json", &[], "string", "The map as JSON."),
    built_in("map", "values", &[], "array", "The values."),
    built_in("string", "contains", &["text: string"], "bool", "Whether this text is in it."),
    built_in("string", "ends_with", &["text: string"], "bool", "Whether it ends so."),
    built_in("string", "is_empty", &[], "bool", "Whether it has no character."),
    built_in("string", "len", &[], "int", "The number of characters."),
    built_in("string", "split", &["separator: string"], "array", "The parts between the separators."),
    built_in("string", "starts_with", &["text: string"], "bool", "Whether it begins so."),
    built_in("string", "to_lower", &[], "string", "In small letters."),
    built_in("string", "to_upper", &[], "string", "In capitals."),
    built_in("string", "trim", &[], "()", "Takes the blanks off both ends, in place."),
    built_in("closure", "call", &["arguments: any"], "any", "Calls the closure."),
];

/// The call that an unfinished text is inside of, so that its parameters and options can be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenCall {
    /// As it was typed: `recover`, `fault::kill`, or a method's bare name.
    pub name: String,
    /// The type it is a method of; `None` for a function.
    pub method_of: Option<Type>,
    /// Which argument is being typed, from 0.
    pub argument: usize,
    /// Inside `#{`: the keys that stand there already, and the one whose value is being typed.
    pub options: Option<OpenOptions>,
}

/// An options map that is being typed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OpenOptions {
    pub keys: Vec<String>,
    /// The key whose value comes next; `None` where a key is expected.
    pub key: Option<String>,
}

/// The type of the value at the end of a text: `state().content(2).primary` is a `Segment`. The text may begin before the
/// chain; variables that it makes itself with `let`, `for` and closures are known. `None` when it can't be told.
pub fn type_of_chain(text: &str) -> Option<Type> {
    type_of_chain_in(text, &|_| None)
}

/// The same, with variables that are there already.
pub fn type_of_chain_in(text: &str, variables: &dyn Fn(&str) -> Option<Type>) -> Option<Type> {
    let mut reader = Reader::new(variables);
    reader.read(text);
    reader.frame.value
}

/// The innermost call that is open at the end of a text, when the text does not end inside a string or a comment there.
pub fn open_call(text: &str) -> Option<OpenCall> {
    open_call_in(text, &|_| None)
}

/// The same, with variables that are there already.
pub fn open_call_in(text: &str, variables: &dyn Fn(&str) -> Option<Type>) -> Option<OpenCall> {
    let mut reader = Reader::new(variables);
    reader.read(text);
    reader.open_call()
}

/// Every `switch` of a text whose value has a type that is known: the byte it begins at, and that type.
pub(super) fn switches(text: &str) -> Vec<(usize, Type)> {
    let mut reader = Reader::new(&|_| None);
    reader.read(text);
    reader.switches
}

/// One bracket that is open, and what was read inside it.
#[derive(Default)]
struct Frame {
    /// `(`, `[`, `{` or `#` for a map; nothing for the whole text.
    bracket: Option<char>,
    /// The type of the chain that ends here.
    value: Option<Type>,
    /// The name that was just read: a function if `(` follows.
    name: Option<Name>,
    /// A dot was just read: the next name is a member.
    dotted: bool,
    /// What a `(` was opened for.
    callee: Option<Name>,
    argument: usize,
    options: OpenOptions,
    /// `let NAME =` or `for NAME in`: what the value that comes is bound to.
    binding: Option<Binding>,
    /// Between the bars of a closure's parameters.
    parameters: Option<Vec<String>>,
    /// Where a `switch` began whose cases have not been reached.
    switching: Option<usize>,
}

/// A name that may be called.
#[derive(Clone)]
struct Name {
    text: String,
    of: Option<Type>,
    is_member: bool,
}

enum Binding {
    Let(Option<String>),
    For(Option<String>),
}

struct Reader<'a> {
    given: &'a dyn Fn(&str) -> Option<Type>,
    made: BTreeMap<String, Type>,
    outer: Vec<Frame>,
    frame: Frame,
    /// Bytes that were read.
    at: usize,
    switches: Vec<(usize, Type)>,
}

impl<'a> Reader<'a> {
    fn new(given: &'a dyn Fn(&str) -> Option<Type>) -> Reader<'a> {
        Reader { given, made: BTreeMap::new(), outer: Vec::new(), frame: Frame::default(), at: 0, switches: Vec::new() }
    }

    fn read(&mut self, text: &str) {
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            let len = if rest.starts_with("//") {
                rest.find('\n').unwrap_or(rest.len())
            } else if rest.starts_with("/*") {
                rest.find("*/").map_or(rest.len(), |end| end + 2)
            } else if first == '"' || first == '`' {
                self.string(rest, first)
            } else if first.is_ascii_digit() {
                self.literal("int");
                rest.find(|c: char| !(c.is_ascii_digit() || c == '_')).unwrap_or(rest.len())
            } else if first.is_alphabetic() || first == '_' {
                let len = rest.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':')).unwrap_or(rest.len());
                let len = key_colon(&rest[..len]);
                self.word(&rest[..len]);
                len
            } else {
                self.sign(first, rest)
            };
            rest = &rest[len..];
            self.at += len;
        }
    }

    /// A closed string is a value; within an open one there is nothing to know.
    fn string(&mut self, rest: &str, quote: char) -> usize {
        let mut escaped = false;
        for (at, c) in rest.char_indices().skip(1) {
            match c {
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                c if c == quote => {
                    self.literal("string");
                    return at + 1;
                }
                _ => {}
            }
        }
        self.forget();
        rest.len()
    }

    fn literal(&mut self, name: &'static str) {
        self.frame.name = None;
        self.frame.dotted = false;
        self.frame.value = Some(Type::of(name));
    }

    /// An operator or a separator ends a chain.
    fn forget(&mut self) {
        self.frame.value = None;
        self.frame.name = None;
        self.frame.dotted = false;
    }

    fn word(&mut self, word: &str) {
        if let Some(parameters) = &mut self.frame.parameters {
            parameters.push(word.to_string());
            return;
        }
        match (&mut self.frame.binding, word) {
            (_, "let" | "const") => {
                self.forget();
                self.frame.binding = Some(Binding::Let(None));
                return;
            }
            (_, "switch") => {
                self.forget();
                self.frame.switching = Some(self.at);
                return;
            }
            (_, "for") => {
                self.forget();
                self.frame.binding = Some(Binding::For(None));
                return;
            }
            (Some(Binding::For(_)), "in") => return self.forget(),
            (Some(Binding::Let(name @ None) | Binding::For(name @ None)), _) => {
                *name = Some(word.to_string());
                return;
            }
            _ => {}
        }
        if std::mem::take(&mut self.frame.dotted) {
            let of = self.frame.value.take();
            let field = of.as_ref().and_then(|of| member(of, word, MemberKind::Field)).map(|m| m.of);
            self.frame.name = Some(Name { text: word.to_string(), of, is_member: true });
            self.frame.value = field;
            return;
        }
        self.frame.name = Some(Name { text: word.to_string(), of: None, is_member: false });
        self.frame.value = match word {
            "true" | "false" => Some(Type::of("bool")),
            _ => self.made.get(word).cloned().or_else(|| (self.given)(word)),
        };
    }

    /// Anything that is no word; the bytes it takes.
    fn sign(&mut self, first: char, rest: &str) -> usize {
        match first {
            '#' if rest.starts_with("#{") => {
                self.open('#');
                return 2;
            }
            '(' | '[' | '{' => self.open(first),
            ')' | ']' | '}' => self.close(),
            '.' => {
                self.frame.dotted = true;
                self.frame.name = None;
            }
            '?' if rest.starts_with("?.") => {}
            ';' => {
                self.bind();
                self.forget();
            }
            ',' => {
                self.forget();
                match &mut self.frame.parameters {
                    Some(_) => {}
                    None => self.frame.argument += 1,
                }
                self.frame.options.key = None;
            }
            ':' => self.key(),
            '|' => self.bar(),
            c if c.is_whitespace() => {}
            _ => self.forget(),
        }
        first.len_utf8()
    }

    fn open(&mut self, bracket: char) {
        if bracket == '{' {
            // The loop's variable is known inside its body.
            self.bind();
            if let (Some(at), Some(of)) = (self.frame.switching.take(), self.frame.value.take()) {
                self.switches.push((at, of));
            }
        }
        let callee = self.frame.name.take().filter(|_| bracket == '(');
        let frame = Frame { bracket: Some(bracket), callee, ..Frame::default() };
        self.outer.push(std::mem::replace(&mut self.frame, frame));
    }

    fn close(&mut self) {
        let Some(outer) = self.outer.pop() else {
            return self.forget();
        };
        let inner = std::mem::replace(&mut self.frame, outer);
        self.frame.name = None;
        self.frame.dotted = false;
        self.frame.value = match (inner.bracket, &inner.callee) {
            (Some('('), Some(callee)) => result_of(callee),
            (Some('('), None) => inner.value,
            // Behind a value it is an index, else an array of its own.
            (Some('['), _) => match &self.frame.value {
                Some(list) => list.item(),
                None => Some(Type { items: inner.value.map(|v| v.name), ..Type::of("array") }),
            },
            (Some('#'), _) => Some(Type::of("map")),
            _ => None,
        };
    }

    /// What `let` and `for` bind, once their value is complete.
    fn bind(&mut self) {
        let value = self.frame.value.clone();
        match self.frame.binding.take() {
            Some(Binding::Let(Some(name))) => self.made_is(name, value),
            Some(Binding::For(Some(name))) => self.made_is(name, value.as_ref().and_then(Type::item)),
            _ => {}
        }
    }

    fn made_is(&mut self, name: String, value: Option<Type>) {
        match value {
            Some(value) => self.made.insert(name, value),
            None => self.made.remove(&name),
        };
    }

    /// A colon behind a name in a map makes it a key.
    fn key(&mut self) {
        if self.frame.bracket == Some('#')
            && let Some(name) = self.frame.name.take()
        {
            self.frame.options.keys.push(name.text.clone());
            self.frame.options.key = Some(name.text);
        }
        self.forget();
    }

    /// A closure's parameters stand between bars. The first is an item of the list whose method was called.
    fn bar(&mut self) {
        let Some(parameters) = self.frame.parameters.take() else {
            self.forget();
            self.frame.parameters = Some(Vec::new());
            return;
        };
        let item = self.frame.callee.as_ref().and_then(|c| match (c.text.as_str(), &c.of) {
            ("wait_until", None) => Some(Type::of("State")),
            (_, Some(of)) => of.item(),
            _ => None,
        });
        if let Some(first) = parameters.into_iter().next() {
            self.made_is(first, item);
        }
    }

    fn open_call(mut self) -> Option<OpenCall> {
        let mut options = None;
        loop {
            match (self.frame.bracket, self.frame.callee) {
                (Some('('), Some(callee)) => {
                    let method_of = callee.of.filter(|_| callee.is_member);
                    return Some(OpenCall { name: callee.text, method_of, argument: self.frame.argument, options });
                }
                // Only a map that is the argument itself holds its options.
                (Some('#'), _) if options.is_none() => options = Some(self.frame.options),
                (Some('[' | '('), _) => {}
                _ => return None,
            }
            self.frame = self.outer.pop()?;
        }
    }
}

/// `contents:` is a key and its colon, `fault::kill` one name.
fn key_colon(word: &str) -> usize {
    match word.find(':') {
        Some(at) if !word[at..].starts_with("::") => at,
        _ => word.len(),
    }
}

fn member(of: &Type, name: &str, kind: MemberKind) -> Option<Member> {
    members(of).into_iter().find(|m| m.name == name && m.kind == kind)
}

fn result_of(callee: &Name) -> Option<Type> {
    if callee.is_member {
        return member(callee.of.as_ref()?, &callee.text, MemberKind::Method).map(|m| m.of);
    }
    let entry = catalog().iter().find(|e| e.method_of.is_empty() && e.full_name() == callee.text)?;
    Some(Type::of(entry.returns)).filter(|t| t.name != "any")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        type_of_chain(text).map_or("-".to_string(), |t| t.to_string())
    }

    #[test]
    fn the_type_of_a_chain_is_that_of_its_last_link() {
        for (text, of) in [
            ("state()", "State"),
            ("state().content(2)", "Content"),
            ("state().content(2).primary", "Segment or ()"),
            ("state().content(2).primary.role", "Role"),
            ("state().down", "Segments"),
            ("state().down[0]", "Segment"),
            ("state().contents[0].mirror", "Segment or ()"),
            ("state().segments.filter(|s| s.down)", "Segments"),
            ("state().segments.filter(|s| s", "Segment"),
            ("state().hosts.filter(|h| h.alive).len()", "int"),
            ("plan_recover(#{ contents: [2] }).after", "array of map"),
            ("let p = plan_recover(); p", "Plan"),
            ("let p = plan_recover(); if p.is_empty { p.refusals", "array of Refusal"),
            ("for s in state().segments { print(s", "Segment"),
            ("wait_until(|s| s", "State"),
            ("demo::traffic().stop()", "TrafficReport"),
            ("sql(\"select ')'\").one()", "SqlRow"),
            ("print(1 + state().coordinator", "Coordinator"),
            ("recover(#{ contents: state().down", "Segments"),
            ("(state()).host(\"a\")", "Host"),
            ("/* state() */ probe()", "State"),
            ("state() + ", "-"),
            ("state().nothing", "-"),
            ("\"state()", "-"),
            ("x", "-"),
        ] {
            assert_eq!(shown(text), of, "{text}");
        }
        let known = |name: &str| (name == "p").then(|| Type::of("Plan"));
        assert_eq!(type_of_chain_in("p.apply()", &known), Some(Type::of("Outcome")));
    }

    #[test]
    fn the_open_call_names_its_argument_and_its_options() {
        let call = |text: &str| open_call(text).map(|c| (c.name, c.argument, c.options));
        let options = |keys: &[&str], key: Option<&str>| {
            Some(OpenOptions { keys: keys.iter().map(ToString::to_string).collect(), key: key.map(str::to_string) })
        };
        assert_eq!(call("recover("), Some(("recover".into(), 0, None)));
        assert_eq!(call("let o = recover(#{ con"), Some(("recover".into(), 0, options(&[], None))));
        assert_eq!(
            call("recover(#{ contents: [1, 2], mode: "),
            Some(("recover".into(), 0, options(&["contents", "mode"], Some("mode"))))
        );
        assert_eq!(call("recover(#{ contents: 1, "), Some(("recover".into(), 0, options(&["contents"], None))));
        assert_eq!(call("sql(2, "), Some(("sql".into(), 1, None)));
        assert_eq!(call("fault::kill("), Some(("fault::kill".into(), 0, None)));
        assert_eq!(call("recover(); "), None);
        let method = open_call("plan_recover().apply(#{ ").expect("a call");
        assert_eq!((method.name.as_str(), method.method_of), ("apply", Some(Type::of("Plan"))));
    }

    #[test]
    fn every_type_that_is_named_is_one_that_is_known() {
        let known = |t: &Type| {
            let plain = ["int", "float", "bool", "string", "char", "map", "array", "any", "()", "closure"];
            let name = t.items.as_deref().unwrap_or(&t.name);
            assert!(plain.contains(&name) || is_record(name), "{name}");
        };
        for field in api::record_docs() {
            known(&Type::of(field.kind));
        }
        for entry in catalog() {
            known(&Type::of(entry.returns));
        }
    }

    fn is_record(name: &str) -> bool {
        let of = Type { name: name.to_string().into(), items: None, optional: false };
        !members(&of).is_empty()
    }
}
