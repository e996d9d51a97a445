//! What became of the segments when there was no coordinator to ask them to stop.

use crate::cluster::{KILLED, NOT_RUNNING, Outcome, OutcomeStatus, PairHealth, Segment, SegmentOutcome, State, done};
use crate::cluster_dir::Stopped;
use crate::core::row::{Mode, Role};
use crate::hosts::NEW_COPY_SUFFIX;
use std::path::PathBuf;

/// The outcome of such a stop: a row for every segment of the last catalog. A host that could not be asked keeps its
/// refusal, and nobody knows what runs there.
pub(super) fn outcome(stopped: &Stopped, last: Result<State, String>) -> Outcome {
    let hosts = stopped.outcome.clone().unwrap_or_else(|| done("stop", String::new()));
    let count = stopped.segments_killed;
    let were = if count == 1 { "segment was" } else { "segments were" };
    let without = if hosts.message.is_empty() { String::new() } else { format!("{}; ", hosts.message) };
    let message = format!("{without}the coordinator did not run; {count} {were} killed");
    match last {
        Ok(state) => {
            let segments = state.segments.iter().map(|s| row_of(&state, s, &hosts, &stopped.left_running)).collect();
            Outcome { segments, message, ..hosts }
        }
        Err(error) => {
            let message = format!("{message}, which ones the catalog does not say: {error}");
            Outcome { status: OutcomeStatus::Partial, message, ..hosts }
        }
    }
}

/// Killed if its directory, or that of its new copy, was in use.
fn row_of(state: &State, segment: &Segment, hosts: &Outcome, left_running: &[PathBuf]) -> SegmentOutcome {
    let row = &segment.row;
    let dirs = [PathBuf::from(&row.datadir), PathBuf::from(format!("{}{NEW_COPY_SUFFIX}", row.datadir))];
    let is_silent = hosts.refusals.iter().any(|r| r.host.as_ref() == Some(&row.hostname));
    let (status, how, note) = match dirs.iter().any(|dir| left_running.contains(dir)) {
        _ if is_silent => (OutcomeStatus::Partial, "stopped", "its host does not answer"),
        true => (OutcomeStatus::Done, KILLED, "no coordinator could ask it to stop"),
        false => (OutcomeStatus::Done, NOT_RUNNING, ""),
    };
    let pair = pair(state, segment).word().into();
    SegmentOutcome { pair, note: note.into(), ..SegmentOutcome::of(row, status, how) }
}

/// The pair is what its rows say: that is what the next start takes up.
fn pair(state: &State, segment: &Segment) -> PairHealth {
    let acting = |role| state.acting(segment.row.content, role);
    let (primary, mirror) = (acting(Role::Primary), acting(Role::Mirror));
    match primary.map(|p| p.row.mode) {
        _ if mirror.is_none() => PairHealth::NoMirror,
        Some(Mode::Synchronized) => PairHealth::Synchronized,
        Some(Mode::Resynchronizing) => PairHealth::Resynchronizing,
        Some(Mode::ChangeTracking) | None => PairHealth::ChangeTracking,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::{Refusal, RefusalCode};
    use crate::shell::render::samples::healthy;

    fn stopped(state: &State, left_running: &[usize]) -> Stopped {
        Stopped {
            outcome: None,
            agents: 2,
            segments_killed: left_running.len(),
            left_running: left_running.iter().map(|n| PathBuf::from(&state.segments[*n].row.datadir)).collect(),
        }
    }

    #[test]
    fn each_segment_that_ran_was_killed_and_the_others_did_not_run() {
        let state = healthy();
        let outcome = outcome(&stopped(&state, &[0, 3]), Ok(state.clone()));
        assert_eq!((outcome.status, outcome.segments.len()), (OutcomeStatus::Done, state.segments.len()));
        let killed: Vec<_> = outcome.killed().map(|s| s.dbid).collect();
        assert_eq!(killed, [state.segments[0].row.dbid, state.segments[3].row.dbid]);
        assert_eq!(outcome.message, "the coordinator did not run; 2 segments were killed");
        assert!(outcome.segments.iter().all(|s| s.pair == "synchronized"));
    }

    #[test]
    fn of_a_host_that_does_not_answer_nobody_says_that_its_segments_do_not_run() {
        let state = healthy();
        let host = state.segments[0].row.hostname.clone();
        let refusal = Refusal {
            code: RefusalCode::HostDown,
            content: None,
            dbid: None,
            host: Some(host.clone()),
            cause: "no answer".into(),
            next: String::new(),
        };
        let (status, refusals) = (OutcomeStatus::Partial, vec![refusal]);
        let hosts = Outcome { status, refusals, ..done("stop", format!("stop without {host}")) };
        let outcome = outcome(&Stopped { outcome: Some(hosts), ..stopped(&state, &[]) }, Ok(state.clone()));
        assert_eq!(outcome.status, OutcomeStatus::Partial);
        for segment in &outcome.segments {
            let open = segment.host == host;
            assert_eq!(segment.status == OutcomeStatus::Partial, open, "{segment:?}");
        }
        assert!(outcome.message.starts_with(&format!("stop without {host}; the coordinator did not run")));
    }

    #[test]
    fn a_catalog_that_cannot_be_read_makes_it_no_whole_stop() {
        let state = healthy();
        let outcome = outcome(&stopped(&state, &[1]), Err("it is torn".into()));
        assert_eq!((outcome.status, outcome.segments.len()), (OutcomeStatus::Partial, 0));
        assert!(outcome.message.contains("1 segment was killed") && outcome.message.contains("it is torn"));
    }
}
