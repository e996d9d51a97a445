//! `gpstop`: its options, what it shows before it asks, and how it ended.

use super::args::{COMMON, Given, Opt, Takes, Wrong, flag, parallel, read, refused, value};
use super::ordered;
use super::page::{Page, TABLE, Table};
use crate::cluster::{NOT_RUNNING, Outcome, OutcomeStatus, State};
use crate::core::report::StopMode;
use crate::core::row::{Role, Status};

/// In `--help`.
pub const ABOUT: &str = "Stops the cluster: all primaries, then all mirrors, then the coordinator. With -r it is \
started\nagain.";

/// The question before anything is stopped.
pub const QUESTION: &str = "Continue with Greenplum instance shutdown";

/// The dashes around the parameters.
pub const DASHES: usize = 45;

/// A segment that has not stopped by then is killed, in seconds; also the least that can be asked for.
const TIMEOUT_S: i64 = 120;

const OLD_MODE: &str = "is long deprecated: use -M smart, -M fast or -M immediate";

/// The options of its own.
pub const OPTIONS: &[Opt] = &[
    flag("a", &["-a"], "ask nothing"),
    flag("r", &["-r"], "start it again"),
    value("M", &["-M"], "MODE", "smart (the default), fast or immediate"),
    flag("m", &["-m", "--master_only"], "the coordinator only; the segments go on"),
    flag("u", &["-u"], "stop nothing: read the password file again"),
    value("t", &["-t"], "S", "kill a segment that has not stopped after S seconds, 120 or more"),
    value("B", &["-B", "--parallel"], "N", "accepted, 1 to 128: all segments of a role stop at once"),
    flag("y", &["-y"], "accepted: there is no standby"),
    refused("f", &["-f", "-i", "-s", "-z"], Takes::Nothing, OLD_MODE),
    refused(
        "host",
        &["--host"],
        Takes::Value("H"),
        "has no meaning here: a host's segments are stopped with its processes, and recovered by gprecoverseg",
    ),
];

/// What a run of `gpstop` is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    pub given: Given,
    pub mode: StopMode,
    pub restart: bool,
    pub coordinator_only: bool,
    pub reload: bool,
    pub timeout_s: i64,
}

/// Reads the command line.
pub fn parse(words: &[String]) -> Result<Asked, Wrong> {
    let given = read(&[OPTIONS, COMMON], words)?;
    parallel(&given, 128)?;
    let word = given.value("M").unwrap_or("smart");
    let mode = StopMode::parse(word).ok_or_else(|| Wrong(format!("Invalid shutdown mode: {word}")))?;
    let timeout_s = given.number("t")?.unwrap_or(TIMEOUT_S);
    if timeout_s < TIMEOUT_S {
        return Err(Wrong(format!("Invalid timeout value.  Must be greater than {} seconds.", TIMEOUT_S - 1)));
    }
    let (restart, coordinator_only, reload) = (given.has("r"), given.has("m"), given.has("u"));
    if restart && coordinator_only {
        return Err(Wrong("-m and -r: use gpstop -m, then gpstart -m".into()));
    }
    if reload && (restart || coordinator_only || given.has("M")) {
        return Err(Wrong("-u stops nothing: it stands alone".into()));
    }
    Ok(Asked { given, mode, restart, coordinator_only, reload, timeout_s })
}

/// The parameters, and the segments that will be stopped.
pub fn parameters(state: &State, asked: &Asked) -> Page {
    let mut page = Page::default();
    page.rule(DASHES);
    page.info("Master instance parameters");
    page.rule(DASHES);
    let mut table = Table::of_pairs("parameters");
    let pid = state.coordinator.pid.map_or_else(|| "Not found".to_string(), |pid| pid.to_string());
    table.pair(state.coordinator.pid.is_none(), "Master Greenplum instance process active PID", pid);
    table.pair(false, "Database", "postgres");
    table.pair(false, "Master port", state.coordinator.port);
    table.pair(false, "Master directory", &state.coordinator_row.datadir);
    table.pair(false, "Shutdown mode", asked.mode.word());
    table.pair(false, "Timeout", asked.timeout_s);
    table.pair(false, "Shutdown Master standby host", "Off");
    page.table(table);
    page.rule(DASHES);
    if !asked.coordinator_only {
        page.info("Segment instances that will be shutdown:");
        page.rule(DASHES);
        let mut table = Table::with_columns("segments", &["Host", "Datadir", "Port", "Status"]);
        for segment in ordered(state) {
            let row = &segment.row;
            table.row(false, &[&row.hostname, &row.datadir, &row.port.to_string(), row.status.letter()]);
        }
        page.table(table);
    }
    page
}

/// What is about to be done to the coordinator's clients.
pub fn commencing(state: &State, mode: StopMode, sessions: i64) -> Page {
    let mut page = Page::default();
    page.info(format!("There are {sessions} connections to the database"));
    page.info(format!("Commencing Master instance shutdown with mode='{}'", mode.word()));
    page.info(format!("Master host={}", state.coordinator.host));
    page.info(format!("Master segment instance directory={}", state.coordinator_row.datadir));
    page.info("No standby master host configured");
    page
}

/// The phases in their order.
pub fn phase(role: Role) -> String {
    let name = match role {
        Role::Primary => "primary",
        Role::Mirror => "mirror",
    };
    format!("Commencing parallel {name} segment instance shutdown, please wait...")
}

/// How it ended, by what was asked before and what came of it.
pub fn summary(state: &State, outcome: &Outcome) -> Page {
    let mut page = Page::default();
    let (failed, ended): (Vec<_>, Vec<_>) = outcome.segments.iter().partition(|s| s.status != OutcomeStatus::Done);
    // What is marked down and did not run was not stopped by anybody.
    let is_down = |dbid| state.segment(dbid).is_some_and(|s| s.row.status == Status::Down);
    let stopped = ended.iter().filter(|s| s.how != NOT_RUNNING || !is_down(s.dbid)).count();
    let down = state.segments.iter().filter(|s| s.row.status == Status::Down).count();
    let mut table = Table::of_pairs("summary");
    table.rule();
    table.pair(false, "Segments stopped successfully", stopped);
    table.pair(!failed.is_empty(), "Segments with errors during stop", failed.len());
    if down > 0 {
        table.section("");
        table.pair(true, "Segments that are currently marked down in configuration", down);
        table.section("         (stop was still attempted on these segments)");
    }
    page.table(table);
    page.rule(TABLE);
    let total = outcome.segments.len();
    page.info(format!("Successfully shutdown {stopped} of {total} segment instances"));
    for segment in &failed {
        page.warn(format!("DBID:{}  FAILED  host:'{}' with reason:'{}'", segment.dbid, segment.host, segment.note));
    }
    for segment in outcome.killed() {
        page.warn(format!("DBID:{}  KILLED  host:'{}' with reason:'{}'", segment.dbid, segment.host, segment.note));
    }
    // Such as a host that could not be asked, or that nobody could ask the segments.
    let is_whole = outcome.status == OutcomeStatus::Done && failed.is_empty();
    let is_gentle = outcome.killed().next().is_none();
    let message = Some(&outcome.message).filter(|message| !message.is_empty());
    if let Some(message) = message.filter(|_| !is_whole || !is_gentle) {
        page.warn(message.clone());
    }
    match (is_whole, is_gentle) {
        (true, true) => page.info("Database successfully shutdown with no errors reported"),
        (true, false) => page.info("Database shutdown; the logs of what was killed are replayed at the next start"),
        (false, _) => page.exit = 2,
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(line: &str) -> Result<Asked, Wrong> {
        crate::gp::typed(parse, line)
    }

    #[test]
    fn the_mode_is_smart_unless_it_is_named() {
        assert_eq!(typed("-a").map(|a| (a.mode, a.timeout_s)), Ok((StopMode::Smart, 120)));
        assert_eq!(
            typed("-arM fast -t 600").map(|a| (a.mode, a.restart, a.timeout_s)),
            Ok((StopMode::Fast, true, 600))
        );
        assert_eq!(typed("-M gently"), Err(Wrong("Invalid shutdown mode: gently".into())));
        assert!(typed("-t 60").is_err_and(|wrong| wrong.0.contains("greater than 119 seconds")));
    }

    #[test]
    fn what_does_not_go_together_is_refused() {
        for line in ["-m -r", "-u -r", "-u -M fast", "-f", "--host sdw1"] {
            assert!(typed(line).is_err(), "{line}");
        }
        assert!(typed("-u").is_ok_and(|asked| asked.reload));
    }
}
