//! `why(...)`: the symptom, the evidence, what is in the way, and the next step.

use super::format::{clock, elapsed_ms, when};
use super::layout::Para;
use super::{Paint, Style};
use crate::cluster::{Clue, Part, Tried, Why};

/// Column where the evidence begins, behind its kind.
const CLUES: usize = 11;

/// The whole screen.
pub fn render(why: &Why, style: &Style) -> String {
    if why.parts.is_empty() {
        return Para::new("", 1).words(&format!("nothing is wrong with {}", why.subject)).render(style);
    }
    let parts: Vec<String> = why.parts.iter().map(|p| part(p, why.time_ms, style)).collect();
    parts.join("\n")
}

/// `content 2 has a single copy since 03:12:07 (2m10s): 1.2 MiB behind`, and what follows from it.
fn part(part: &Part, now_ms: i64, style: &Style) -> String {
    let since = part.since_ms.map(|ms| {
        let age = elapsed_ms(now_ms.saturating_sub(ms).max(0));
        format!(" since {} ({age})", when(ms, now_ms, style))
    });
    let head = Para::new("", 1).unit(0, &part.what, Paint::Strong);
    let colon = if part.detail.is_empty() { "" } else { ": " };
    let sentence = format!("{}{}{colon}{}", part.symptom, since.unwrap_or_default(), part.detail);
    let mut text = after_unit(head, &sentence).render(style);
    for clue in &part.evidence {
        text.push_str(&line_of(clue, style));
    }
    for tried in &part.tried {
        text.push_str(&in_the_way(tried, &part.what, style));
    }
    let mut next = Para::new(" ", 7).unit(0, &format!("next: {}", part.next), Paint::Code);
    if !part.then.is_empty() {
        next = next.unit(5, &format!("then, {}", part.then), Paint::Code);
    }
    text.push_str(&next.render(style));
    text
}

/// Words behind a unit, each of which may begin a line.
fn after_unit(para: Para, text: &str) -> Para {
    text.split_whitespace().fold(para, |para, word| para.unit(1, word, Paint::Plain))
}

fn line_of(clue: &Clue, style: &Style) -> String {
    let lead = format!(" {:<1$}", clue.kind.word(), CLUES - 1);
    let time = clue.time_ms.map_or_else(|| clue.time.clone(), |ms| clock(ms, style));
    let para = Para::new(&lead, CLUES);
    if time.is_empty() {
        return para.words(&clue.what).render(style);
    }
    after_unit(para.unit(0, &time, Paint::Dim).unit(1, "", Paint::Plain), &clue.what).render(style)
}

/// `in the way of rebalance()  segment_down  mirror dbid 4 …`
fn in_the_way(tried: &Tried, what: &str, style: &Style) -> String {
    let call = format!("{}()", tried.verb);
    if tried.refusals.is_empty() {
        return Para::new(" ", 1).words(&format!("nothing is in the way of {call}")).render(style);
    }
    let lines = tried.refusals.iter().map(|refusal| {
        let lead = format!(" in the way of {call}");
        let para = Para::new(&lead, CLUES).unit(2, refusal.code.code(), Paint::Warn).unit(1, "", Paint::Plain);
        // What is refused for another content than the one that is explained is named.
        let of = refusal.content.map(|c| format!("content {c}")).filter(|of| of != what);
        let of = of.map(|of| format!("{of}: ")).unwrap_or_default();
        after_unit(para, &format!("{of}{}", refusal.cause)).render(style)
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::{About, Decided, Evidence, Observed, why};
    use crate::core::ids::Content;
    use crate::shell::render::samples::{broken, double_fault, healthy, plain};

    fn evidence(content: Content) -> Option<Evidence> {
        let seen =
            Observed { age_ms: 130_000, time_ms: broken().time_ms - 130_000, what: "dbid 4: process gone".into() };
        let decided = Decided {
            time: "2026-01-02 03:12:07".into(),
            reason: "dbid 8 took over in 0.21 s; its mirror stays down until it is recovered, which nobody has begun"
                .into(),
            seen: Vec::new(),
        };
        Some(Evidence {
            content,
            now: vec!["mirror dbid 4: no process".into()],
            seen: vec![seen],
            decisions: vec![decided],
        })
    }

    fn screen(state: &crate::cluster::State, about: &About) -> String {
        render(&why(state, about, evidence), &plain())
    }

    #[test]
    fn a_single_copy_is_explained_to_its_next_step() {
        insta::assert_snapshot!(screen(&broken(), &About::Content(Content(2))));
    }

    #[test]
    fn everything_that_is_wrong_begins_with_the_gravest() {
        insta::assert_snapshot!(screen(&double_fault(), &About::Everything));
    }

    #[test]
    fn what_keeps_a_verb_is_told_with_its_reasons() {
        insta::assert_snapshot!(screen(&broken(), &About::Verb("rebalance")));
    }

    #[test]
    fn what_is_well_is_said_to_be() {
        assert_eq!(screen(&healthy(), &About::Content(Content(2))), "nothing is wrong with content 2\n");
    }

    #[test]
    fn every_line_holds_in_the_screen() {
        for about in [About::Everything, About::Verb("verify"), About::Host("sdw2".into())] {
            for line in screen(&broken(), &about).lines() {
                assert!(line.chars().count() <= 80, "{line}");
            }
        }
    }
}
