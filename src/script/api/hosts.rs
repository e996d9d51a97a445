//! `add_host()` and `remove_host()`: a host joins the cluster, and leaves it.

use super::binding::api;
use super::state::{HostRecord, StateRecord};
use crate::cluster::{NewHost, SshLogin, State};
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
const SSH: OptionDoc = option("ssh", Kind::Flag, "true: it is another machine, reached over SSH").or("false");
const DIR: OptionDoc = option("dir", Kind::Text, "over SSH: the directory for all that is ours there");
const USER: OptionDoc = option("user", Kind::Text, "over SSH: whose account; your own name when not given");
const PORT: OptionDoc = option("port", Kind::Count, "over SSH: the port of its sshd").or("22");
const KEYS: OptionDoc =
    option("keys", Kind::Paths, "over SSH: files of private keys, tried after the agent; else those in ~/.ssh");
const KNOWN_HOSTS: OptionDoc =
    option("known_hosts", Kind::Text, "over SSH: who the hosts are, as ssh-keyscan writes it; else ~/.ssh/known_hosts");
const OPTIONS: &[OptionDoc] = &[ADDRESS, ROOTS, SSH, DIR, USER, PORT, KEYS, KNOWN_HOSTS];

/// What is bound here.
pub(super) const ENTRIES: &[Entry] = &[
    entry!(
        "add_host", &[&["name: string"], &["name: string", "options: map"]], "Host",
        "Adds a host without segments, and starts its agent; one that is there as it is asked for is only brought up. \
         Segments are moved to it by recovery.",
        "add_host(\"sdw3\")", options: OPTIONS, changes: true
    ),
    entry!(
        "remove_host", &[&["host: string"]], "State",
        "Removes a host on which no segment is: it is neither started nor asked any more. What still runs there is ended \
         if it answers; its directory stays, and has the cluster's key. Returns the state.",
        "remove_host(\"sdw2\")", changes: true
    ),
];

pub(super) fn bind_all(module: &mut Module, context: &Rc<Context>) {
    api!(module, context, "add_host", 0, |c, name: ImmutableString| add_host(c, &name, &Dynamic::UNIT));
    api!(module, context, "add_host", 1, |c, name: ImmutableString, o: Dynamic| add_host(c, &name, &o));
    api!(module, context, "remove_host", 0, |c, host: ImmutableString| remove_host(c, &host));
}

fn add_host(context: &Context, name: &str, options: &Dynamic) -> Thrower {
    let given = Options::read("add_host", OPTIONS, options)?;
    let new = NewHost {
        name: name.to_owned(),
        address: given.word("address").map(str::to_owned),
        roots: paths(&given, "roots"),
        ssh: login(&given)?,
    };
    let cluster = context.cluster()?;
    if context.only_names(|| format!("add_host({name:?})")) {
        return Ok(Dynamic::UNIT);
    }
    found(&cluster.add_host(&new)?, name)
}

fn remove_host(context: &Context, host: &str) -> Thrower {
    let cluster = context.cluster()?;
    if context.only_names(|| format!("remove_host({host:?})")) {
        return Ok(Dynamic::UNIT);
    }
    match cluster.remove_host(host)? {
        Ok(removed) => {
            if !removed.left.is_empty() {
                context.ui.note(&format!("{host} has left the cluster; {}", removed.left));
            }
            Ok(Dynamic::from(StateRecord(Rc::new(removed.state))))
        }
        Err(refusal) => {
            let thrown = Thrown::with_exit(refusal.code.code(), 4, format!("remove_host({host:?}): {}", refusal.cause));
            Err(thrown.next(refusal.next))
        }
    }
}

/// How the host is reached over SSH, if it is.
fn login(given: &Options) -> Thrower<Option<SshLogin>> {
    if !given.flag("ssh", false) {
        let about_ssh = |name: &&&str| given.word(name).is_some() || given.number(name).is_some();
        return match ["dir", "user", "port", "known_hosts"].iter().find(about_ssh) {
            Some(name) => Err(bad(format!("`{name}` is about a host over SSH: say `ssh: true`"))),
            None => Ok(None),
        };
    }
    let Some(dir) = given.word("dir") else {
        return Err(bad("a host over SSH needs `dir`, the directory for all that is ours there".into()));
    };
    let port = given.number("port").map(u16::try_from).transpose();
    Ok(Some(SshLogin {
        dir: PathBuf::from(dir),
        user: given.word("user").map(str::to_owned),
        port: port.map_err(|_| bad("`port` is a number up to 65535".into()))?,
        keys: paths(given, "keys"),
        known_hosts: given.word("known_hosts").map(PathBuf::from),
    }))
}

fn paths(given: &Options, name: &str) -> Vec<PathBuf> {
    given.texts(name).iter().map(PathBuf::from).collect()
}

fn bad(message: String) -> Thrown {
    Thrown::script("bad_option", format!("add_host(): {message}")).next("help(\"add_host\")")
}

fn found(state: &State, name: &str) -> Thrower {
    match state.host(name) {
        Some(host) => Ok(Dynamic::from(HostRecord(Rc::new(host.clone())))),
        None => Err(Thrown::script("cannot_happen", format!("host {name} was added, and the state has none of it"))),
    }
}
