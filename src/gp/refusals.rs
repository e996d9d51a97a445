//! Every check that `gprecoverseg` of Greenplum 4.3 makes before it changes anything: in which words it is made here,
//! or why it has nothing to find.

use super::Utility;
use super::args::{NO_DIRECTORY, Wrong};
use super::failure::Failure;
use super::line::Line;
use crate::core::ids::{Content, Dbid};

/// What becomes of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is made.
    Occurs,
    /// What it looks for cannot be, and why.
    Cannot(&'static str),
}

/// One check, by the name that `docs/greenplum-differences.md` gives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Check {
    pub name: &'static str,
    pub fate: Fate,
}

const fn occurs(name: &'static str) -> Check {
    Check { name, fate: Fate::Occurs }
}

const fn cannot(name: &'static str, why: &'static str) -> Check {
    Check { name, fate: Fate::Cannot(why) }
}

/// All of them, in the order in which Greenplum makes them.
pub const CHECKS: [Check; 24] = [
    occurs("stray argument"),
    occurs("-B range"),
    occurs("exclusivity"),
    occurs("environment"),
    occurs("lock held"),
    occurs("readiness"),
    cannot(
        "segments against the catalog",
        "the catalog's row is the only truth about a pair; a segment that knows a later one quarantines its content",
    ),
    occurs("segment state"),
    occurs("strategy"),
    occurs("double fault"),
    cannot("no peer", "a cluster is made with both members of every pair, and no row is ever removed"),
    occurs("live peer"),
    occurs("-i lookup"),
    occurs("-i syntax"),
    occurs("filespaces"),
    occurs("path"),
    cannot("-s file", "a segment has one directory, so there is no file of filespaces: -s and -S are refused"),
    cannot("-p hosts", "a segment stays on its host, so no hosts are listed: -p is refused"),
    cannot("port and directory clashes", "a recovery in place keeps the ports and directories that init gave out"),
    cannot("target directory", "a full copy is made beside the old directory and takes its name at the end"),
    cannot("up mirror not marked down", "a mirror that is up is never stopped to be recovered: it is refused at once"),
    occurs("-r with a segment down"),
    occurs("-r while not synchronized"),
    cannot("--persistent-check", "there are no persistent tables: it is refused, naming verify()"),
];

/// `-r`, and a segment is down.
pub const DOWN_SEGMENTS: &str = "Down segments still exist.  All segments must be up to rebalance.";
/// `-r`, and a pair is not synchronized.
pub const NOT_SYNCHRONIZED: &str =
    "Some segments are not yet synchronized.  All segments must be synchronized to rebalance.";

/// No directory is named, by an option or in the environment.
pub fn no_directory(utility: Utility) -> Failure {
    Failure::expected(NO_DIRECTORY).next(format!("{} -d DIR", utility.name()))
}

/// So often the catalog may not have decided about a segment.
pub const TRIES: usize = 5;

/// The catalog has yet to decide about a segment: said at each try, from 1.
pub fn retrying(tried: usize) -> Line {
    Line::info(format!("Unable to connect to database. Retrying {tried}"))
}

/// The catalog has not decided about a segment in time.
pub fn not_ready() -> Failure {
    Failure::failed("Unable to connect to database and start transaction")
        .next("gpstate -e says which segments do not answer")
}

/// More than one kind of recovery is asked for.
pub fn several_kinds() -> Wrong {
    Wrong("Only one of -i, -p, -s, -r, and -S may be specified".into())
}

/// `-p`.
pub fn no_other_hosts() -> Wrong {
    Wrong(format!("-p {STAYS}"))
}

/// Why nothing is moved, and what can be done.
const STAYS: &str = "moves segments to another host; here a segment stays where it is. Bring its host back (segsh start), \
                     then gprecoverseg, or gprecoverseg -F for a new copy beside the old one";

/// A line of two groups.
pub fn no_other_place(line: &str) -> String {
    format!("a line with two groups {STAYS}: {line}")
}

/// Another operation holds a content.
pub fn already_running(verb: &str, pid: u32, op: i64) -> Failure {
    let who = match verb {
        "recover" | "full_recover" | "rebalance" => "gprecoverseg",
        other => other,
    };
    Failure::expected(format!("An instance of {who} is already running (pid {pid})")).next(format!("attach({op})"))
}

/// A content that nobody serves.
pub fn both_down(content: Content) -> String {
    format!("Both segments for content {content} are down; Try restarting Greenplum DB and running gprecoverseg again.")
}

/// A content about which nothing is decided.
pub fn unexpected_state(dbid: Dbid, why: &str) -> String {
    format!("Segment is in unexpected state. dbid = {dbid}, segmentState = Quarantined: {why}")
}

/// A cluster without mirrors.
pub fn not_mirrored() -> Failure {
    Failure::expected("GPDB Mirroring replication is not configured for this Greenplum Database instance.")
        .next("gpstop -r -M fast starts what is down")
}

/// A file lists the acting primary.
pub fn not_a_primary(content: Content) -> String {
    format!("Segment to recover from for content {content} is not a primary")
}

/// A file lists a mirror that is up.
pub fn is_up(dbid: Dbid, line: &str) -> String {
    format!("Segment with dbid {dbid} is up, and only one that is down is recovered: {line}")
}

/// A file lists what is not there.
pub fn not_found(place: &str, line: &str) -> String {
    described("was not found in configuration", place, line)
}

/// A file lists a segment twice.
pub fn found_twice(place: &str, line: &str) -> String {
    described("was found twice in configuration", place, line)
}

fn described(what: &str, place: &str, line: &str) -> String {
    format!(
        "A segment to recover {what}.  This segment is described by address:port:directory '{place}' on the input \
         line: {line}"
    )
}

/// A directory that is not absolute.
pub fn not_a_full_path(path: &str, line: &str) -> String {
    format!("Path entered config file is invalid; it must be a full path.  Path: '{path}' from: {line}")
}

/// A filespace is named.
pub fn no_filespace(name: &str) -> String {
    format!("Segment recovery config refers to filespace that does not exist: \"{name}\"")
}

/// A port that is none.
pub fn no_number(line: &str) -> String {
    format!("Config file format error, invalid number value in line: {line}")
}

/// What else is wrong with a line.
pub fn syntax(file: &str, number: usize, line: &str, why: &str) -> String {
    format!("{file}:{number}: LINE >>{line}: {why}")
}
