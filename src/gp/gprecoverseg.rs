//! `gprecoverseg`: its options, what is checked before anything is shown, and which segments it is about.

use super::args::{COMMON, Given, Opt, Takes, Wrong, flag, parallel, read, refused, value};
use super::failure::Failure;
use super::gpstate::OBTAINING;
use super::page::Page;
use super::{About, refusals};
use crate::cluster::{Intent, PairHealth, Segment, Selection, State};
use crate::core::ids::Dbid;
use crate::core::row::{Mode, Role, Status};

/// In `--help`.
pub const ABOUT: &str = "Recovers the segments that are down, or returns all segments to their preferred roles (-r). \
Ends as\nsoon as the copies go on in the background. Exit 0 when every segment got there.";

const NO_FILESPACES: &str =
    "has no meaning here: a segment has one directory. A new copy is made beside the old one: gprecoverseg -F";

/// The options of its own.
pub const OPTIONS: &[Opt] = &[
    flag("a", &["-a"], "ask nothing"),
    value("B", &["-B"], "N", "so many segments at a time, 1 to 64"),
    flag("F", &["-F"], "copy everything, not only what changed"),
    value("i", &["-i"], "FILE", "recover the segments that FILE lists"),
    value("o", &["-o"], "FILE", "write what is down to FILE, for -i, and end"),
    value("p", &["-p"], "HOST[,HOST]", "to other hosts"),
    flag("r", &["-r"], "return to the preferred roles"),
    refused("s", &["-s"], Takes::Value("FILE"), NO_FILESPACES),
    refused("S", &["-S"], Takes::Value("FILE"), NO_FILESPACES),
    refused(
        "persistent-check",
        &["--persistent-check"],
        Takes::Nothing,
        "has no meaning here: there are no persistent tables. verify() compares both copies block by block",
    ),
];

/// What a run of `gprecoverseg` is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    pub given: Given,
    /// Where to take the list of segments from.
    pub input: Option<String>,
    /// Where to write that list.
    pub output: Option<String>,
    pub full: bool,
    pub rebalance: bool,
    /// How many segments at a time.
    pub jobs: Option<i64>,
}

/// Reads the command line.
pub fn parse(words: &[String]) -> Result<Asked, Wrong> {
    let given = read(&[OPTIONS, COMMON], words)?;
    let jobs = parallel(&given, 64)?;
    let text = |key: &str| given.value(key).map(str::to_string);
    let (input, output) = (text("i"), text("o"));
    let (full, rebalance) = (given.has("F"), given.has("r"));
    if [given.has("i"), given.has("p"), rebalance].into_iter().filter(|set| *set).count() > 1 {
        return Err(refusals::several_kinds());
    }
    if rebalance && (full || output.is_some()) {
        return Err(Wrong("-r copies what changed and writes no list: -F and -o have no meaning with it".into()));
    }
    if given.has("p") {
        return Err(refusals::no_other_hosts());
    }
    Ok(Asked { given, input, output, full, rebalance, jobs })
}

impl Asked {
    /// What is wanted of the cluster; `dbids` are those that a file lists.
    pub fn intent(&self, dbids: Vec<Dbid>) -> Intent {
        let selection = Selection { dbids, ..Selection::default() };
        let (rate_bytes, jobs) = (None, self.jobs);
        match (self.rebalance, self.full) {
            (true, _) => Intent::Rebalance { selection },
            (false, true) => Intent::FullRecover { selection, rate_bytes, jobs, in_place: false },
            (false, false) => Intent::Recover { selection, rate_bytes, jobs },
        }
    }
}

/// What is said before the cluster is asked for the first time: whether it is ready.
pub fn checking(about: &About) -> Page {
    let mut page = Page::default();
    page.info(format!("master Greenplum Version: '{}'", about.release));
    page.info("Checking if segments are ready");
    page.info(OBTAINING);
    page
}

/// Whether the cluster can be asked at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Readiness {
    Ready,
    /// The catalog has yet to decide about a segment that does not answer: another look may say otherwise.
    NotYet,
    /// Looking again changes nothing.
    Never(Failure),
}

/// Every segment that the catalog counts on must answer, and every content must have a member that serves.
pub fn readiness(state: &State) -> Readiness {
    let lost: Vec<String> = (state.contents.iter())
        .filter_map(|c| match c.health {
            PairHealth::DoubleFault => Some(refusals::both_down(c.content)),
            PairHealth::Quarantined => {
                let dbid = state.acting(c.content, Role::Primary).map_or(Dbid(0), |s| s.row.dbid);
                Some(refusals::unexpected_state(dbid, c.quarantine.as_deref().unwrap_or("its rows are impossible")))
            }
            _ => None,
        })
        .collect();
    if !lost.is_empty() {
        let is_double_fault = state.contents.iter().any(|c| c.health == PairHealth::DoubleFault);
        let next = if is_double_fault { "gpstop -r -M fast, then gprecoverseg" } else { "why()" };
        return Readiness::Never(Failure::for_reasons(lost).next(next));
    }
    let is_silent = |s: &Segment| s.row.status == Status::Up && !s.alive.alive;
    if state.segments.iter().any(is_silent) { Readiness::NotYet } else { Readiness::Ready }
}

/// A cluster without mirrors has nothing to recover.
pub fn mirrored(state: &State) -> Result<(), Failure> {
    if state.segments.iter().any(|s| s.row.preferred_role == Role::Mirror) {
        return Ok(());
    }
    Err(refusals::not_mirrored())
}

/// What `-r` demands of every segment.
pub fn may_rebalance(state: &State) -> Result<(), Failure> {
    let mut reasons = Vec::new();
    if state.segments.iter().any(Segment::is_down) {
        reasons.push(refusals::DOWN_SEGMENTS.to_string());
    }
    if state.segments.iter().any(|s| s.row.mode != Mode::Synchronized) {
        reasons.push(refusals::NOT_SYNCHRONIZED.to_string());
    }
    if reasons.is_empty() { Ok(()) } else { Err(Failure::for_reasons(reasons).next("gpstate -e")) }
}

/// The segments that are down, by content.
pub fn down(state: &State) -> Vec<&Segment> {
    let mut down: Vec<&Segment> = state.segments.iter().filter(|s| s.row.status == Status::Down).collect();
    down.sort_by_key(|s| (s.row.content, s.row.dbid));
    down
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(line: &str) -> Result<Asked, Wrong> {
        crate::gp::typed(parse, line)
    }

    #[test]
    fn options_become_what_is_wanted() {
        let asked = typed("-aF -B4").expect("a plain line");
        assert!(asked.given.has("a"));
        let Intent::FullRecover { jobs: Some(4), in_place: false, .. } = asked.intent(Vec::new()) else {
            panic!("{asked:?}")
        };
        let listed =
            typed("-i /tmp/list").map(|a| (a.input.clone(), a.intent(vec![Dbid(5)]).selection().dbids.clone()));
        assert_eq!(listed, Ok((Some("/tmp/list".into()), vec![Dbid(5)])));
        assert!(matches!(typed("-r").map(|a| a.intent(Vec::new())), Ok(Intent::Rebalance { .. })));
    }

    #[test]
    fn what_does_not_go_together_is_refused() {
        for line in ["-i f -r", "-p h -r", "-i f -p h"] {
            assert_eq!(typed(line), Err(refusals::several_kinds()), "{line}");
        }
        for line in ["-rF", "-r -o f"] {
            assert!(typed(line).is_err_and(|wrong| wrong.0.contains("no meaning with it")), "{line}");
        }
        for (line, says) in
            [("-s f", "-F"), ("-S f", "-F"), ("--persistent-check", "verify()"), ("-p h", "segsh start")]
        {
            assert!(typed(line).is_err_and(|wrong| wrong.0.contains(says)), "{line}");
        }
    }
}
