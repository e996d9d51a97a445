//! `gpstop` and `gpstart`: what they show before they ask, and how they say that they ended.

use crate::conditions;
use segsh::cluster::{Outcome, OutcomeStatus, SegmentOutcome, State, done};
use segsh::gp::page::Page;
use segsh::gp::{gpstart, gpstop, split_words};

fn shown(page: &Page) -> String {
    let lines: String = page.lines().iter().map(|line| line.unstamped() + "\n").collect();
    format!("{lines}exit {}\n", page.exit)
}

fn words(line: &str) -> Vec<String> {
    split_words(line).expect("a plain line")
}

/// A stop of every segment; those of `failed` did not.
fn stopped(state: &State, failed: &[i64]) -> Outcome {
    let one = |s: &segsh::cluster::Segment| SegmentOutcome {
        content: s.row.content,
        dbid: s.row.dbid,
        host: s.row.hostname.clone(),
        status: if failed.contains(&s.row.dbid.0) { OutcomeStatus::Partial } else { OutcomeStatus::Done },
        how: "stopped".into(),
        copied_blocks: 0,
        copied_bytes: 0,
        verified_bytes: 0,
        differing_blocks: 0,
        paused_us: Vec::new(),
        pair: "synchronized".into(),
        note: if failed.contains(&s.row.dbid.0) { "its host does not answer".into() } else { String::new() },
    };
    let status = if failed.is_empty() { OutcomeStatus::Done } else { OutcomeStatus::Partial };
    Outcome { status, segments: state.segments.iter().map(one).collect(), ..done("stop", String::new()) }
}

#[test]
fn a_stop_shows_what_it_stops_and_counts_what_it_stopped() {
    let state = conditions::mirror_down();
    let asked = gpstop::parse(&words("-M fast")).expect("a plain line");
    insta::assert_snapshot!("gpstop_parameters", shown(&gpstop::parameters(&state, &asked)));
    insta::assert_snapshot!("gpstop_summary", shown(&gpstop::summary(&state, &stopped(&state, &[]))));
    let failed = gpstop::summary(&state, &stopped(&state, &[2]));
    assert_eq!(failed.exit, 2);
    assert!(shown(&failed).contains("DBID:2  FAILED  host:'sdw1' with reason:'its host does not answer'"));
    assert!(!shown(&failed).contains("no errors reported"));
}

#[test]
fn a_start_skips_what_is_marked_down_and_judges_by_what_runs() {
    let state = conditions::host_down();
    let asked = gpstart::parse(&words("-a")).expect("a plain line");
    let whole = [gpstart::parameters(&state, &asked), gpstart::skipping(&state), gpstart::summary(&state)];
    insta::assert_snapshot!("gpstart", whole.iter().map(shown).collect::<String>());
    let lost = gpstart::summary(&conditions::double_fault());
    assert_eq!(lost.exit, 2);
    let said = shown(&lost);
    assert!(said.contains("[ERROR]:-No segment started for content: 1."), "{said}");
    assert!(said.contains("DBID:3  FAILED  host:'sdw1'"), "{said}");
    assert!(!said.contains("Database successfully started"), "{said}");
    assert_eq!(gpstart::summary(&conditions::healthy()).exit, 0);
}
