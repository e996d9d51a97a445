//! `gpstop` and `gpstart`: what they show before they ask, and how they say that they ended.

use crate::conditions;
use segsh::cluster::{KILLED, NOT_RUNNING, Outcome, OutcomeStatus, SegmentOutcome, State, done};
use segsh::gp::gpstart::Left;
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
    let one = |s: &segsh::cluster::Segment| {
        let (status, note) = match failed.contains(&s.row.dbid.0) {
            true => (OutcomeStatus::Partial, "its host does not answer".into()),
            false => (OutcomeStatus::Done, String::new()),
        };
        let how = if s.is_down() && !s.alive.alive { NOT_RUNNING } else { "stopped" };
        SegmentOutcome { pair: "synchronized".into(), note, ..SegmentOutcome::of(&s.row, status, how) }
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
fn a_stop_that_had_to_kill_says_so_and_has_stopped_all_the_same() {
    let state = conditions::healthy();
    let mut outcome = stopped(&state, &[]);
    outcome.message = "the coordinator did not run; 2 segments were killed".into();
    for segment in &mut outcome.segments[..2] {
        (segment.how, segment.note) = (KILLED.into(), "no coordinator could ask it to stop".into());
    }
    let page = gpstop::summary(&state, &outcome);
    let said = shown(&page);
    assert_eq!(page.exit, 0, "{said}");
    for line in [
        "Segments stopped successfully      = 8",
        "[WARNING]:-DBID:2  KILLED  host:'sdw1' with reason:'no coordinator could ask it to stop'",
        "[WARNING]:-the coordinator did not run; 2 segments were killed",
        "the logs of what was killed are replayed",
    ] {
        assert!(said.contains(line), "`{line}` is missing:\n{said}");
    }
    assert!(!said.contains("no errors reported"), "{said}");
}

#[test]
fn a_start_that_is_left_goes_on_only_if_the_coordinator_has_it() {
    let (says, next) = gpstart::left(Left::Late(10), true);
    assert_eq!(
        (says.as_str(), next),
        ("the start did not end within 10 seconds; the coordinator goes on with it", "gpstate -e")
    );
    let (says, next) = gpstart::left(Left::Interrupted, false);
    assert!(says.contains("ends with this process") && next == "gpstart", "{says}; {next}");
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
