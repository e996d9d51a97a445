//! The end of `start` and `stop`, in as few lines as there is to say.

use super::format::{count, elapsed_ms};
use super::layout::Para;
use super::{Paint, Style, outcome};
use crate::cluster::{Outcome, OutcomeStatus};

/// The cluster that was started or stopped.
pub struct Whole<'a> {
    pub name: &'a str,
    pub contents: usize,
    /// Segments that ran before the command.
    pub ran: usize,
    /// Segments that run after it.
    pub runs: usize,
    /// Whether clients over TCP are turned away, as a restricted start asked for.
    pub restricted: bool,
    pub elapsed_ms: i64,
}

/// `started c1: 4 contents, 8 segments in 0.3 s`. What did not come up as it should is the whole
/// screen of the operation; a mirror that was down and stays down is named.
pub fn started(whole: &Whole, outcome: &Outcome, style: &Style) -> String {
    if outcome.status != OutcomeStatus::Done {
        return outcome::render(outcome, style);
    }
    let size = format!("{}, {}", count(whole.contents, "content"), count(whole.runs, "segment"));
    let mut text = if whole.ran > 0 && whole.ran == whole.runs {
        format!("{} runs already: {size}\n", whole.name)
    } else {
        let word = style.paint(Paint::Good, "started");
        format!("{word} {}: {size} in {}\n", whole.name, elapsed_ms(whole.elapsed_ms))
    };
    let noted: Vec<_> = outcome.segments.iter().filter(|s| !s.note.is_empty()).collect();
    for segment in &noted {
        let lead = format!(" content {}  ", segment.content);
        text.push_str(&Para::new(&lead, lead.len()).words(&segment.note).render(style));
    }
    if !noted.is_empty() {
        let call = format!("next: segsh recover -c {}", whole.name);
        text.push_str(&Para::new(" ", 1).unit(0, &call, Paint::Code).render(style));
    }
    if whole.restricted {
        let said = "it was started restricted, and turns clients over TCP away until it is stopped and started again";
        text.push_str(&Para::new(" ", 1).words(said).render(style));
        let call = format!("next: segsh gpstop -r -c {}", whole.name);
        text.push_str(&Para::new(" ", 1).unit(0, &call, Paint::Code).render(style));
    }
    text
}

/// `stopped c1: 8 segments in 0.2 s`.
pub fn stopped(whole: &Whole, killed: usize, outcome: Option<&Outcome>, style: &Style) -> String {
    let unfinished = outcome.filter(|o| o.status != OutcomeStatus::Done);
    let mut text = match unfinished {
        Some(outcome) => outcome::render(outcome, style),
        None => {
            let segments = count(whole.ran, "segment");
            let word = style.paint(Paint::Good, "stopped");
            format!("{word} {}: {segments} in {}\n", whole.name, elapsed_ms(whole.elapsed_ms))
        }
    };
    if killed > 0 {
        let said = format!("{} had to be killed; the next start replays the log", count(killed, "segment"));
        text.push_str(&Para::new(" ", 1).words(&said).render(style));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shell::render::samples::{done_outcome, plain};

    fn whole(ran: usize, runs: usize) -> Whole<'static> {
        Whole { name: "c1", contents: 4, ran, runs, restricted: false, elapsed_ms: 310 }
    }

    #[test]
    fn a_cluster_that_comes_up_is_one_line() {
        let outcome = done_outcome();
        assert_eq!(started(&whole(0, 8), &outcome, &plain()), "started c1: 4 contents, 8 segments in 0.31 s\n");
        assert_eq!(started(&whole(3, 8), &outcome, &plain()), "started c1: 4 contents, 8 segments in 0.31 s\n");
        assert_eq!(started(&whole(8, 8), &outcome, &plain()), "c1 runs already: 4 contents, 8 segments\n");
        assert_eq!(stopped(&whole(8, 0), 0, Some(&outcome), &plain()), "stopped c1: 8 segments in 0.31 s\n");
    }

    #[test]
    fn a_coordinator_that_stays_restricted_is_said_so() {
        let restricted = Whole { restricted: true, ..whole(8, 8) };
        let text = started(&restricted, &done_outcome(), &plain());
        assert!(text.contains("turns clients over TCP away") && text.contains("next: segsh gpstop -r"), "{text}");
        assert!(text.lines().all(|line| line.len() <= 80), "{text}");
    }

    #[test]
    fn a_mirror_that_stays_down_is_named_with_the_next_step() {
        let mut outcome = done_outcome();
        outcome.segments[0].note = "mirror dbid 4 was down and stays down".into();
        let text = started(&whole(0, 7), &outcome, &plain());
        assert!(
            text.contains(" content 2  mirror dbid 4 was down and stays down\n next: segsh recover -c c1\n"),
            "{text}"
        );
    }

    #[test]
    fn what_was_killed_or_did_not_end_is_said() {
        let mut outcome = done_outcome();
        assert!(stopped(&whole(8, 0), 1, None, &plain()).contains("1 segment had to be killed"));
        outcome.status = OutcomeStatus::Partial;
        assert!(stopped(&whole(8, 1), 0, Some(&outcome), &plain()).starts_with("partial"));
        assert!(started(&whole(8, 1), &outcome, &plain()).starts_with("partial"));
    }
}
