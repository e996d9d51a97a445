//! The arrows: which room of the crate may know which. One table, held against every path in `src`,
//! and printed in `docs/architecture.md`.

use crate::expect_none;
use crate::files;
use crate::source::{code, imports, without_test_modules, words};
use std::collections::{BTreeMap, BTreeSet};

/// Everything, for the one room that wires the others together.
const ALL: &[&str] = &["*"];

/// A room and what it may name of the crate besides itself. An entry is a path: a room, or a part
/// of one. A part can be a room of its own; then it may not name the room around it.
pub const ARROWS: &[(&str, &[&str])] = &[
    ("core", &[]),
    ("cluster", &["core"]),
    ("engine", &["core"]),
    ("net", &["core"]),
    ("hosts", &["core", "engine::directory", "net"]),
    ("cluster_dir", &["core", "cluster", "net", "hosts"]),
    ("segment::vfs", &["core", "engine::storage"]),
    ("sql", &["core", "engine::storage", "segment::vfs"]),
    ("segment", &["core", "engine", "sql", "net", "hosts", "cluster_dir"]),
    ("gateway", &["core"]),
    ("coordinator", &["core", "cluster", "net", "hosts", "cluster_dir", "sql", "gateway"]),
    ("backend", &["core", "cluster", "net", "hosts", "cluster_dir"]),
    ("gp", &["core", "cluster"]),
    ("script", &["core", "cluster", "gp"]),
    ("shell", &["core", "cluster", "gp", "script"]),
    ("cli", ALL),
    ("main", &["cli"]),
];

/// What a pure room never names outside its tests: clocks, sockets, files, threads, processes.
const IMPURE: &[&str] = &[
    "std::fs",
    "std::net",
    "std::thread",
    "std::process",
    "std::env",
    "std::os",
    "Instant::now",
    "SystemTime",
    "UNIX_EPOCH",
    "tokio",
    "rusqlite",
    "rustix",
    "ring",
];
const PURE: [&str; 3] = ["core", "cluster", "gp"];

/// A file's place in the module tree: `src/engine/mod.rs` is `["engine"]`.
fn module(path: &str) -> Vec<&str> {
    let stem = path.strip_prefix("src/").and_then(|p| p.strip_suffix(".rs")).expect("a file of src");
    let mut parts: Vec<&str> = stem.split('/').collect();
    if parts.last() == Some(&"mod") {
        parts.pop();
    }
    parts
}

fn is_under(path: &str, entry: &str) -> bool {
    path.strip_prefix(entry).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// The room a path is in: the smallest one that holds it.
fn room(path: &str) -> Option<&'static (&'static str, &'static [&'static str])> {
    ARROWS.iter().filter(|(name, _)| is_under(path, name)).max_by_key(|(name, _)| name.len())
}

fn may(from: &str, path: &str) -> bool {
    let Some((name, allowed)) = room(from) else { return false };
    is_under(path, name) || allowed.iter().any(|entry| *entry == "*" || is_under(path, entry))
}

#[test]
fn no_room_knows_another_against_the_arrows() {
    let mut findings = Vec::new();
    for path in files::under("src", ".rs").into_iter().filter(|p| p != "src/lib.rs") {
        let module = module(&path);
        for import in imports(&code(&files::read(&path)), &module) {
            if !may(&module.join("::"), &import.path) {
                findings.push(format!("{path}:{} names crate::{}", import.line, import.path));
            }
        }
    }
    expect_none("A room knows only what the table in tests/tidy/arrows.rs lets it know.", findings);
}

#[test]
fn the_pure_rooms_know_no_clock_socket_file_thread_or_process() {
    let mut findings = Vec::new();
    for room in PURE {
        for path in files::under(&format!("src/{room}"), ".rs") {
            let seen = without_test_modules(&code(&files::read(&path)));
            for word in IMPURE.iter().filter(|w| !words(&seen, w).is_empty()) {
                findings.push(format!("{path} names {word}"));
            }
        }
    }
    expect_none("core, cluster and gp are values and functions: what they need comes in as an argument.", findings);
}

#[test]
fn every_module_of_the_crate_has_its_arrows() {
    let lib = code(&files::read("src/lib.rs"));
    let listed: BTreeSet<&str> = ARROWS.iter().map(|(room, _)| *room).collect();
    let declared = lib.lines().filter_map(|l| l.trim().strip_prefix("pub mod ")?.strip_suffix(';'));
    let findings = declared.filter(|m| !listed.contains(m)).map(|m| format!("src/lib.rs declares `{m}`")).collect();
    expect_none("Every module of the crate has a row in the table of arrows.", findings);
}

#[test]
fn the_arrows_make_no_circle() {
    let table: BTreeMap<&str, &[&str]> = ARROWS.iter().copied().collect();
    fn reaches(table: &BTreeMap<&str, &[&str]>, from: &str, to: &str, left: usize) -> bool {
        let targets = table.get(from).copied().unwrap_or_default();
        targets.iter().filter(|t| **t != "*").any(|t| {
            let room = room(t).map_or(*t, |(name, _)| *name);
            room == to || (left > 0 && reaches(table, room, to, left - 1))
        })
    }
    let circles = table.keys().filter(|room| reaches(&table, room, room, table.len()));
    expect_none("No room knows itself through others.", circles.map(|room| (*room).to_owned()).collect());
}
