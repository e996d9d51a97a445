//! `maintenance()`: hosts on which somebody works by hand, and to which nothing is recovered meanwhile.

use super::binding::api;
use crate::cluster::{MaintenanceInfo, State, duration};
use crate::script::catalog::{Entry, entry};
use crate::script::context::Context;
use crate::script::json;
use crate::script::record::{Field, Record, fields, register as register_record};
use crate::script::thrown::{Thrower, Thrown};
use crate::script::units;
use rhai::{Array, Dynamic, ImmutableString, Module};
use serde_json::Value;
use std::rc::Rc;

/// What is bound here.
pub(super) const ENTRIES: &[Entry] = &[entry!(
    "maintenance",
    &[&[], &["host: string", "time: string", "why: string"]],
    "[Maintenance]",
    "The hosts in maintenance. With a host: nothing is recovered to it for this time, at most 7d; \"0s\" ends it. \
     Failovers go on.",
    "maintenance(\"sdw2\", \"30m\", \"disk swap\")",
    changes: true, reading_forms: 1
)];

pub(super) fn bind_all(module: &mut Module, context: &Rc<Context>) {
    api!(module, context, "maintenance", 0, |c| Ok(listed(&c.state()?)));
    api!(module, context, "maintenance", 1, |c, host: ImmutableString, time: Dynamic, why: ImmutableString| {
        begin(c, &host, &time, &why)
    });
}

pub(super) fn register(module: &mut Module, context: &Rc<Context>) {
    register_record::<MaintenanceRecord>(module, context);
}

fn begin(context: &Context, host: &str, time: &Dynamic, why: &str) -> Thrower {
    let example = "maintenance(\"sdw2\", \"30m\", \"why\")";
    let text = time.clone().into_string().map_err(|_| {
        Thrown::script("bad_time", format!("maintenance(): write {time} as a text with a unit")).next(example)
    })?;
    let ms = units::duration_ms(&text).map_err(|e| Thrown::script("bad_time", e.to_string()).next(example))?;
    let cluster = context.cluster()?;
    if context.only_names(|| format!("maintenance({host:?}, {text:?}, {why:?})")) {
        return Ok(listed(&context.state()?));
    }
    Ok(listed(&cluster.maintenance(host, ms, why)?))
}

fn listed(state: &State) -> Dynamic {
    all(state).into()
}

/// The hosts in maintenance, as records.
pub(super) fn all(state: &State) -> Array {
    let record = |info: &MaintenanceInfo| {
        let left_ms = info.until_ms.saturating_sub(state.time_ms);
        Dynamic::from(MaintenanceRecord { info: Rc::new(info.clone()), left_ms })
    };
    state.maintenance.iter().map(record).collect()
}

/// A host in maintenance.
#[derive(Clone, PartialEq)]
pub struct MaintenanceRecord {
    info: Rc<MaintenanceInfo>,
    left_ms: i64,
}

impl Record for MaintenanceRecord {
    const NAME: &'static str = "Maintenance";
    fn fields() -> Vec<Field<Self>> {
        fields! {
            host: "string", "the host" => |m| ImmutableString::from(m.info.host.as_str());
            why: "string", "the reason that was given" => |m| ImmutableString::from(m.info.reason.as_str());
            user: "string", "who asked for it" => |m| ImmutableString::from(m.info.owner.user.as_str());
            since_ms: "int", "since when, Unix milliseconds" => |m| m.info.since_ms;
            until_ms: "int", "until when, Unix milliseconds" => |m| m.info.until_ms;
            left_ms: "int", "what is left of it" => |m| m.left_ms;
        }
    }
    fn text(&self, _context: &Context) -> String {
        let (m, left) = (&self.info, duration(self.left_ms));
        format!("{} for another {left}: {}\n       by {}", m.host, m.reason, m.owner.who())
    }
    fn json(&self) -> Value {
        json::maintenance_json(&self.info)
    }
}
