//! The end of an operation, segment by segment.

use super::format::{blocks, bytes, count, elapsed_ms, pause_us};
use super::layout::{Cell, Para, Table, two_ended};
use super::refusal::reason_lines;
use super::{Paint, Style, refusal};
use crate::cluster::{NOTHING_TO_DO, Outcome, OutcomeStatus, SegmentOutcome};

/// Where the screen's right edge stands for `operation 118`.
const EDGE: usize = 74;

/// The whole screen. A call that was refused is the refusal screen.
pub fn render(outcome: &Outcome, style: &Style) -> String {
    if outcome.status == OutcomeStatus::Refused && !outcome.refusals.is_empty() {
        return refusal::render(&outcome.verb, &outcome.refusals, style);
    }
    let mut text = headline(outcome, style);
    if !outcome.segments.is_empty() {
        text.push_str(&fitting_table(outcome, style).render(style));
    }
    // Why one is refused stands below, with the next step.
    let worth = |s: &&SegmentOutcome| !s.note.is_empty() && s.status != OutcomeStatus::Refused;
    for segment in outcome.segments.iter().filter(worth) {
        let lead = format!(" content {}  ", segment.content);
        let para = Para::new(&lead, lead.len()).words(&segment.note);
        text.push_str(&para.render(style));
    }
    if !outcome.refusals.is_empty() {
        text.push_str(&format!(" refused, left out ({}):\n", outcome.refusals.len()));
        text.push_str(&reason_lines(&outcome.refusals, style));
    }
    text.push_str(&last_line(outcome, style));
    text
}

fn headline(outcome: &Outcome, style: &Style) -> String {
    let word = outcome.status.word();
    let mut left = format!("{word}  {}", tally(outcome));
    let ended = outcome.status != OutcomeStatus::Started;
    if ended && (outcome.elapsed_ms > 0 || !outcome.segments.is_empty()) {
        left.push_str(&format!(" in {}", elapsed_ms(outcome.elapsed_ms)));
    }
    let right = outcome.op.map(|op| format!("operation {op}"));
    let line = match right {
        Some(right) => two_ended(&left, &right, EDGE, style),
        None => format!("{left}\n"),
    };
    let paint = match outcome.status {
        OutcomeStatus::Done => Paint::Good,
        OutcomeStatus::Started | OutcomeStatus::Planned => Paint::Strong,
        OutcomeStatus::Partial | OutcomeStatus::Declined => Paint::Warn,
        OutcomeStatus::Refused | OutcomeStatus::Unknown | OutcomeStatus::Cancelled | OutcomeStatus::Differs => {
            Paint::Bad
        }
    };
    line.replacen(word, &style.paint(paint, word), 1)
}

/// `1 of 1`: of all that was asked for, what was refused included.
fn tally(outcome: &Outcome) -> String {
    let done = count_of(outcome, OutcomeStatus::Done);
    // A refusal of the coordinator is of a segment that stands in the table.
    let beside = |r: &&crate::cluster::Refusal| !outcome.segments.iter().any(|s| Some(s.content) == r.content);
    let all = outcome.segments.len() + outcome.refusals.iter().filter(beside).count();
    match (outcome.status, all) {
        (OutcomeStatus::Started, _) => format!("{}, it goes on at the coordinator", outcome.verb),
        (OutcomeStatus::Declined | OutcomeStatus::Refused, _) => {
            format!("{}, nothing was changed", outcome.verb)
        }
        (OutcomeStatus::Done | OutcomeStatus::Planned, 0) => NOTHING_TO_DO.to_string(),
        (OutcomeStatus::Done, _) if outcome.segments.iter().all(|s| s.how == NOTHING_TO_DO) => {
            NOTHING_TO_DO.to_string()
        }
        (OutcomeStatus::Planned, all) => format!("{} of {all}", count_of(outcome, OutcomeStatus::Planned)),
        (_, 0) => outcome.verb.clone(),
        (_, _) => format!("{done} of {all}"),
    }
}

fn count_of(outcome: &Outcome, status: OutcomeStatus) -> usize {
    outcome.segments.iter().filter(|s| s.status == status).count()
}

/// How much of a segment's part is shown.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd)]
enum Detail {
    BlocksOnly,
    WithSizes,
    WithPauses,
}

/// The pair's health and the result matter most; pauses and sizes go first when room is short.
fn fitting_table(outcome: &Outcome, style: &Style) -> Table {
    [Detail::WithPauses, Detail::WithSizes]
        .into_iter()
        .map(|detail| table(outcome, detail))
        .find(|table| table.width() <= style.width)
        .unwrap_or_else(|| table(outcome, Detail::BlocksOnly))
}

fn table(outcome: &Outcome, detail: Detail) -> Table {
    let mut table = Table::new()
        .column("content", 2)
        .column("dbid", 2)
        .column("host", 2)
        .optional("result", 2)
        .column("how", 2)
        .optional("copied", 2)
        .optional("compared", 2)
        .optional("paused", 2)
        .column("pair", 0);
    let as_told = |s: &SegmentOutcome| matches!(s.status, OutcomeStatus::Done | OutcomeStatus::Planned);
    let all_done = outcome.segments.iter().all(as_told);
    for segment in &outcome.segments {
        let result = match (all_done, segment.status) {
            (true, _) => Cell::default(),
            (false, OutcomeStatus::Done | OutcomeStatus::Planned) => segment.status.word().into(),
            (false, status) => Cell::painted(status.word(), Paint::Bad),
        };
        table.row(vec![
            segment.content.to_string().into(),
            segment.dbid.to_string().into(),
            segment.host.clone().into(),
            result,
            segment.how.clone().into(),
            copied(segment, detail).into(),
            compared(segment).into(),
            paused(segment, detail).into(),
            segment.pair.clone().into(),
        ]);
    }
    table
}

/// `307 blocks 1.2 MiB`
fn copied(segment: &SegmentOutcome, detail: Detail) -> String {
    let n = segment.copied_blocks;
    if n == 0 && segment.copied_bytes == 0 {
        return match segment.how.as_str() {
            "incremental" | "full" if segment.status == OutcomeStatus::Done => "nothing".to_string(),
            _ => String::new(),
        };
    }
    let size = match segment.copied_bytes {
        0 => blocks(n),
        some => bytes(some),
    };
    let n = count(usize::try_from(n).unwrap_or(0), "block");
    if detail == Detail::BlocksOnly { n } else { format!("{n} {size}") }
}

/// `512 MiB`: how much both copies were compared in.
fn compared(segment: &SegmentOutcome) -> String {
    match segment.verified_bytes {
        0 => String::new(),
        some => bytes(some),
    }
}

/// `1.4, 0.9 ms`
fn paused(segment: &SegmentOutcome, detail: Detail) -> String {
    if segment.paused_us.is_empty() || detail < Detail::WithPauses {
        return String::new();
    }
    let list: Vec<String> = segment.paused_us.iter().map(|us| pause_us(*us)).collect();
    format!("{} ms", list.join(", "))
}

/// The sentence and the next step. What the headline, the table and the refusals above say is not
/// said again: then the sentence is for those who catch the outcome.
fn last_line(outcome: &Outcome, style: &Style) -> String {
    let says_more = match outcome.status {
        OutcomeStatus::Done | OutcomeStatus::Started | OutcomeStatus::Planned => !outcome.segments.is_empty(),
        OutcomeStatus::Partial | OutcomeStatus::Cancelled => false,
        OutcomeStatus::Refused | OutcomeStatus::Unknown | OutcomeStatus::Declined | OutcomeStatus::Differs => true,
    };
    let message = if says_more { outcome.message.as_str() } else { "" };
    let next = match outcome.refusals.iter().any(|r| r.next == outcome.next) {
        true => "",
        false => outcome.next.as_str(),
    };
    if message.is_empty() && next.is_empty() {
        return String::new();
    }
    let mut para = Para::new(" ", 1).words(message);
    if !next.is_empty() {
        let gap = if message.is_empty() { 0 } else { 3 };
        para = para.unit(gap, &format!("next: {next}"), Paint::Code);
    }
    para.render(style)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::{Refusal, RefusalCode};
    use crate::core::ids::{Content, Dbid};
    use crate::shell::render::samples::{done_outcome, plain};

    #[test]
    fn the_end_of_a_recovery() {
        insta::assert_snapshot!(render(&done_outcome(), &plain()));
    }

    #[test]
    fn a_partial_end_names_what_was_left_out() {
        let mut outcome = done_outcome();
        outcome.status = OutcomeStatus::Partial;
        outcome.segments.push(SegmentOutcome {
            content: Content(1),
            dbid: Dbid(7),
            host: "sdw2".into(),
            status: OutcomeStatus::Partial,
            how: "incremental".into(),
            copied_blocks: 12,
            copied_bytes: 49_152,
            verified_bytes: 0,
            differing_blocks: 0,
            paused_us: vec![],
            pair: "change tracking".into(),
            note: "the link was lost during the data copy".into(),
        });
        outcome.refusals.push(Refusal {
            code: RefusalCode::HostDown,
            content: Some(Content(3)),
            dbid: Some(Dbid(5)),
            host: Some("sdw2".into()),
            cause: "dbid 5 on sdw2: the host's agent does not answer".into(),
            next: "segsh start DIR".into(),
        });
        outcome.next = "recover()".into();
        insta::assert_snapshot!(render(&outcome, &plain()));
    }

    #[test]
    fn copies_that_differ_say_where_whose_fault_and_what_to_do() {
        let mut outcome = done_outcome();
        outcome.verb = "verify".into();
        outcome.status = OutcomeStatus::Differs;
        outcome.message = "the copies of content 2 differ".into();
        outcome.next = "recover(#{ contents: [2] })".into();
        let part = &mut outcome.segments[0];
        (part.copied_blocks, part.copied_bytes) = (0, 0);
        part.paused_us.clear();
        (part.status, part.how) = (OutcomeStatus::Differs, "verified".into());
        (part.verified_bytes, part.differing_blocks) = (512 << 20, 3);
        part.pair = "change tracking".into();
        part.note = "3 blocks differ (main.db block 17, 20-21); primary dbid 8 is sound; recover() copies it over \
                     mirror dbid 4"
            .into();
        let mut equal = part.clone();
        (equal.content, equal.dbid, equal.status) = (Content(3), Dbid(9), OutcomeStatus::Done);
        (equal.differing_blocks, equal.note, equal.pair) = (0, String::new(), "synchronized".into());
        outcome.segments.push(equal);
        insta::assert_snapshot!(render(&outcome, &plain()));
    }

    #[test]
    fn nothing_to_do_is_one_line() {
        let outcome = Outcome {
            segments: vec![],
            op: None,
            elapsed_ms: 0,
            message: String::new(),
            next: String::new(),
            ..done_outcome()
        };
        assert_eq!(render(&outcome, &plain()), "done  nothing to do\n");
    }
}
