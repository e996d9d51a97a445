//! `add_host()`: a host joins the cluster.

use super::binding::api;
use super::state::HostRecord;
use crate::cluster::{NewHost, State};
use crate::script::catalog::{Entry, entry, option};
use crate::script::context::Context;
use crate::script::options::{Kind, OptionDoc, Options};
use crate::script::thrown::{Thrower, Thrown};
use rhai::{Dynamic, ImmutableString, Module};
use std::path::PathBuf;
use std::rc::Rc;

const ADDRESS: OptionDoc = option(
    "address",
    Kind::Text,
    "the address its agent and segments listen on; on loopback addresses the next free one when not given",
);
const ROOTS: OptionDoc =
    option("roots", Kind::Paths, "directories for its segments beside its own; new ones go to the first");
const OPTIONS: &[OptionDoc] = &[ADDRESS, ROOTS];

/// What is bound here.
pub(super) const ENTRIES: &[Entry] = &[entry!(
    "add_host", &[&["name: string"], &["name: string", "options: map"]], "Host",
    "Adds a host without segments, and starts its agent; one that is there as it is asked for is only brought up. \
     Segments are moved to it by recovery.",
    "add_host(\"sdw3\")", options: OPTIONS, changes: true
)];

pub(super) fn bind_all(module: &mut Module, context: &Rc<Context>) {
    api!(module, context, "add_host", 0, |c, name: ImmutableString| add_host(c, &name, &Dynamic::UNIT));
    api!(module, context, "add_host", 1, |c, name: ImmutableString, o: Dynamic| add_host(c, &name, &o));
}

fn add_host(context: &Context, name: &str, options: &Dynamic) -> Thrower {
    let given = Options::read("add_host", OPTIONS, options)?;
    let new = NewHost {
        name: name.to_owned(),
        address: given.word("address").map(str::to_owned),
        roots: given.texts("roots").iter().map(PathBuf::from).collect(),
    };
    let cluster = context.cluster()?;
    if context.only_names(|| format!("add_host({name:?})")) {
        return Ok(Dynamic::UNIT);
    }
    found(&cluster.add_host(&new)?, name)
}

fn found(state: &State, name: &str) -> Thrower {
    match state.host(name) {
        Some(host) => Ok(Dynamic::from(HostRecord(Rc::new(host.clone())))),
        None => Err(Thrown::script("cannot_happen", format!("host {name} was added, and the state has none of it"))),
    }
}
