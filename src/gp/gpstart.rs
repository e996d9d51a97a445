//! `gpstart`: its options, what it shows before it asks, and how it ended.

use super::args::{COMMON, Given, Opt, Wrong, flag, parallel, read, value};
use super::ordered;
use super::page::{Page, TABLE, Table};
use crate::cluster::State;
use crate::core::row::{Role, Status};

/// In `--help`.
pub const ABOUT: &str = "Starts what does not run: hosts, coordinator, segments. A segment that is marked down is \
skipped:\ngprecoverseg recovers it.";

/// The question before anything is started.
pub const QUESTION: &str = "Continue with Greenplum instance startup";

/// The dashes around the parameters.
const DASHES: usize = 27;
/// The dashes around the list of segments.
const LIST_DASHES: usize = 39;
/// The asterisks of the last box.
const STARS: usize = 76;

/// How long a start may take until this no longer waits for it, in seconds.
const TIMEOUT_S: i64 = 600;

/// The options of its own.
pub const OPTIONS: &[Opt] = &[
    flag("a", &["-a"], "ask nothing"),
    flag("m", &["-m", "--master_only"], "the coordinator only"),
    flag("R", &["-R", "--restrict"], "restricted: no client over TCP, only the owner's on the Unix socket"),
    value(
        "t",
        &["-t", "--timeout"],
        "S",
        "wait no longer than S seconds (600); what the coordinator has begun by then goes on",
    ),
    value("B", &["-B", "--parallel"], "N", "accepted, 1 to 64: all segments start at once"),
    flag("y", &["-y", "--no_standby"], "accepted: there is no standby"),
    flag("S", &["-S", "--skip_standby_check"], "accepted: there is no standby"),
];

/// What a run of `gpstart` is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    pub given: Given,
    pub coordinator_only: bool,
    pub restricted: bool,
    pub timeout_s: i64,
}

/// Reads the command line.
pub fn parse(words: &[String]) -> Result<Asked, Wrong> {
    let given = read(&[OPTIONS, COMMON], words)?;
    parallel(&given, 64)?;
    let timeout_s = given.number("t")?.unwrap_or(TIMEOUT_S);
    if timeout_s < 1 {
        return Err(Wrong("Invalid timeout value.  Must be greater than 0 seconds.".into()));
    }
    let (coordinator_only, restricted) = (given.has("m"), given.has("R"));
    Ok(Asked { given, coordinator_only, restricted, timeout_s })
}

/// The parameters, and the segments that will be started.
pub fn parameters(state: &State, asked: &Asked) -> Page {
    let mut page = Page::default();
    page.rule(DASHES);
    page.info("Master instance parameters");
    page.rule(DASHES);
    page.info("Database                 = postgres");
    page.info(format!("Master Port              = {}", state.coordinator.port));
    page.info(format!("Master directory         = {}", state.coordinator_row.datadir));
    page.info(format!("Timeout                  = {} seconds", asked.timeout_s));
    page.info("Master standby           = Off");
    if !asked.coordinator_only {
        page.rule(LIST_DASHES);
        page.info("Segment instances that will be started");
        page.rule(LIST_DASHES);
        let mut table = Table::with_columns("segments", &["Host", "Datadir", "Port", "Role"]);
        for segment in ordered(state).into_iter().filter(|s| s.row.status == Status::Up) {
            let row = &segment.row;
            let role = match row.role {
                Role::Primary => "Primary",
                Role::Mirror => "Mirror",
            };
            table.row(false, &[&row.hostname, &row.datadir, &row.port.to_string(), role]);
        }
        page.table(table);
    }
    page
}

/// The segments that are left as they are.
pub fn skipping(state: &State) -> Page {
    let mut page = Page::default();
    for segment in ordered(state).into_iter().filter(|s| s.row.status == Status::Down) {
        let row = &segment.row;
        page.warn(format!(
            "Skipping startup of segment marked down in configuration: on {} directory {} <<<<<",
            row.hostname, row.datadir
        ));
    }
    page
}

/// How it ended, by what runs now: what a step said of itself is no proof.
pub fn summary(state: &State) -> Page {
    let mut page = Page::default();
    let (down, up): (Vec<_>, Vec<_>) = ordered(state).into_iter().partition(|s| s.row.status == Status::Down);
    let (started, failed): (Vec<_>, Vec<_>) = up.into_iter().partition(|s| s.alive.alive);
    let mut table = Table::of_pairs("summary");
    table.rule();
    table.pair(false, "Successful segment starts", started.len());
    table.pair(!failed.is_empty(), "Failed segment starts", failed.len());
    let skipped = "Skipped segment starts (segments are marked down in configuration)";
    table.pair(!down.is_empty(), skipped, down.len());
    page.table(table);
    for segment in &failed {
        let row = &segment.row;
        page.warn(format!(
            "DBID:{}  FAILED  host:'{}' datadir:'{}' with reason:'{}'",
            row.dbid, row.hostname, row.datadir, segment.alive.cause
        ));
    }
    page.rule(TABLE);
    let total = state.segments.len();
    page.info(match down.len() {
        0 => format!("Successfully started {} of {total} segment instances", started.len()),
        n => format!("Successfully started {} of {total} segment instances, skipped {n} other segments", started.len()),
    });
    page.rule(TABLE);
    page.exit = i32::from(!failed.is_empty());
    nobody_serves(state, &mut page);
    if !down.is_empty() {
        page.warn("*".repeat(STARS));
        page.warn(format!("There are {} segment(s) marked down in the database", down.len()));
        page.warn("To recover from this current state, review usage of the gprecoverseg");
        page.warn("management utility which will recover failed segment instance databases.");
        page.warn("*".repeat(STARS));
    }
    if page.exit == 0 {
        if !down.is_empty() {
            page.warn(format!("Number of segments not attempted to start: {}", down.len()));
        }
        page.info("Database successfully started");
    }
    page
}

/// What became of a coordinator that ran already and turns clients over TCP away: a start does not end that.
pub fn stays_restricted() -> Page {
    let mut page = Page::default();
    page.warn("Master instance process was started restricted, and stays so: clients over TCP are turned away");
    page.info("next: gpstop -r");
    page
}

/// Why a start is no longer waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Left {
    /// It took longer than `-t` allows, in seconds.
    Late(i64),
    /// Ctrl-C.
    Interrupted,
}

/// What becomes of a start that is left: the coordinator ends what it has begun, and nobody what it was not asked for.
/// The sentence, and the next step.
pub fn left(why: Left, is_begun: bool) -> (String, &'static str) {
    let (goes_on, next) = match is_begun {
        true => ("the coordinator goes on with it", "gpstate -e"),
        false => ("the coordinator was not asked for it yet, and it ends with this process", "gpstart"),
    };
    match why {
        Left::Late(seconds) => (format!("the start did not end within {seconds} seconds; {goes_on}"), next),
        Left::Interrupted => (goes_on.into(), next),
    }
}

/// What started is left running: the rest is served, and can be looked at.
fn nobody_serves(state: &State, page: &mut Page) {
    use super::line::Level;
    let lost: Vec<_> = state.contents.iter().filter(|c| super::is_lost(c)).collect();
    for content in &lost {
        page.say(Level::Error, format!("No segment started for content: {}.", content.content));
    }
    if !lost.is_empty() {
        page.say(Level::Error, "Do not have enough valid segments to start the array.");
        page.exit = 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_and_a_timeout_is_a_time() {
        let typed = |line: &str| crate::gp::typed(parse, line);
        assert_eq!(typed("-amR").map(|a| (a.coordinator_only, a.restricted, a.timeout_s)), Ok((true, true, 600)));
        assert!(typed("-t 0").is_err());
        assert!(typed("-B 65").is_err());
    }
}
