//! `check("rebalance")`: the preconditions of a call as data, from the table that the call itself is checked with.

use super::binding::api;
use super::change::{intent, not_all_by_accident, probe_or_last};
use crate::cluster::{Check, checks};
use crate::script::catalog::{self, CONTENTS, DBIDS, Entry, HOSTS, IN_PLACE, MODE, TO, entry};
use crate::script::context::{Context, now_ms};
use crate::script::near::is_it;
use crate::script::options::Options;
use crate::script::record::{Field, Record, fields, optional, register as register_record};
use crate::script::thrown::{Thrower, Thrown};
use rhai::{Array, Dynamic, ImmutableString, Module};
use serde_json::{Value, json};
use std::rc::Rc;

/// The calls that have preconditions.
const CALLS: &[&str] = &["recover", "full_recover", "rebalance", "restart", "verify", "force_primary"];

/// What is bound here.
pub(super) const ENTRIES: &[Entry] = &[entry!(
    "check",
    &[&["call: string"], &["call: string", "options: map"]],
    "[Check]",
    "What must hold for a call, line by line, and whether it holds now; where it does not: on which segment, why, and the \
     next step. Nothing is changed. `segsh check` on the command line is about scripts instead.",
    "check(\"rebalance\").filter(|c| !c.holds)",
    options: &[CONTENTS, DBIDS, HOSTS, MODE, IN_PLACE, TO]
)];

pub(super) fn bind_all(module: &mut Module, context: &Rc<Context>) {
    api!(module, context, "check", 0, |c, call: ImmutableString| check(c, &call, &Dynamic::UNIT));
    api!(module, context, "check", 1, |c, call: ImmutableString, o: Dynamic| check(c, &call, &o));
}

pub(super) fn register(module: &mut Module, context: &Rc<Context>) {
    register_record::<CheckRecord>(module, context);
}

fn check(context: &Context, call: &str, argument: &Dynamic) -> Thrower {
    let Some(verb) = CALLS.iter().copied().find(|known| *known == call) else {
        let message = format!("`{call}` is no call with preconditions{}", is_it(call, CALLS.iter().copied()));
        return Err(Thrown::script("unknown_subject", message).next(format!("one of: {}", CALLS.join(" "))));
    };
    let options = Options::read("check", catalog::options_of("check"), argument)?;
    not_all_by_accident(verb, verb, &options)?;
    let state = probe_or_last(context, verb)?;
    let found = checks(&state, &intent(verb, &options), now_ms());
    Ok(found.into_iter().map(|c| Dynamic::from(CheckRecord(c))).collect::<Array>().into())
}

/// One precondition, on the segment where it does not hold, or on all.
#[derive(Clone, PartialEq)]
pub struct CheckRecord(pub Check);

impl CheckRecord {
    /// `dbid 4 on sdw2`, `content 3`; empty when it holds, or when no segment is to blame.
    fn subject(&self) -> String {
        let Some(refusal) = &self.0.refusal else { return String::new() };
        let place = refusal.host.as_ref().map(|h| format!(" on {h}")).unwrap_or_default();
        match (refusal.dbid, refusal.content) {
            (Some(dbid), _) => format!("dbid {dbid}{place}"),
            (None, Some(content)) => format!("content {content}"),
            (None, None) => refusal.host.clone().map(|h| format!("host {h}")).unwrap_or_default(),
        }
    }

    fn of_refusal(&self, read: impl Fn(&crate::cluster::Refusal) -> &str) -> ImmutableString {
        self.0.refusal.as_ref().map(read).unwrap_or_default().into()
    }
}

impl Record for CheckRecord {
    const NAME: &'static str = "Check";
    fn fields() -> Vec<Field<Self>> {
        fields! {
            code: "string", "the code it is refused with; help(code) explains it" => |c| ImmutableString::from(c.0.code.code());
            holds: "bool", "whether it holds" => |c| c.0.refusal.is_none();
            says: "string", "what must hold, in words" => |c| ImmutableString::from(c.0.says);
            subject: "string", "where it does not hold, in words" => |c| ImmutableString::from(c.subject());
            content: "int?", "the content where it does not hold, or ()" => |c| optional(c.0.refusal.as_ref().and_then(|r| r.content).map(|c| c.0));
            dbid: "int?", "the segment where it does not hold, or ()" => |c| optional(c.0.refusal.as_ref().and_then(|r| r.dbid).map(|d| d.0));
            host: "string?", "its host, or ()" => |c| optional(c.0.refusal.as_ref().and_then(|r| r.host.as_deref()).map(ImmutableString::from));
            message: "string", "what was seen; empty when it holds" => |c| c.of_refusal(|r| &r.cause);
            next: "string", "the next step, as it would be typed; empty when it holds" => |c| c.of_refusal(|r| &r.next);
        }
    }
    fn text(&self, _context: &Context) -> String {
        let head = format!("{:<3} {:<22}", if self.0.refusal.is_none() { "ok" } else { "no" }, self.0.code.code());
        match &self.0.refusal {
            None => format!("{head} {}", self.0.says),
            Some(refusal) => {
                let subject = [self.subject(), String::new()].join("  ");
                let margin = " ".repeat(27);
                format!("{head} {}{}\n{margin}next: {}", subject.trim_start(), refusal.cause, refusal.next)
            }
        }
    }
    fn json(&self) -> Value {
        let refusal = self.0.refusal.as_ref();
        json!({
            "code": self.0.code.code(), "holds": refusal.is_none(), "says": self.0.says, "subject": self.subject(),
            "content": refusal.and_then(|r| r.content), "dbid": refusal.and_then(|r| r.dbid),
            "host": refusal.and_then(|r| r.host.clone()),
            "message": refusal.map(|r| r.cause.as_str()).unwrap_or_default(),
            "next": refusal.map(|r| r.next.as_str()).unwrap_or_default(),
        })
    }
}
