//! The refusal screen: all reasons together, each with its cause and its next step.

use super::format::{contents, count};
use super::layout::{Para, columns};
use super::{Paint, Style};
use crate::cluster::{Refusal, RefusalCode};

/// How much a refusal knows to be as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Untouched {
    /// Nothing was changed before it either.
    All,
    /// What else was done is not its business.
    ByIt,
    /// As before; what was done stands below the reasons.
    ByItAndBelow,
}

impl Untouched {
    fn sentence(self) -> &'static str {
        match self {
            Untouched::All => "Nothing was changed.",
            Untouched::ByIt => "It changed nothing.",
            Untouched::ByItAndBelow => "It changed nothing; what was changed before it stands below.",
        }
    }
}

/// `refused: rebalance. Nothing was changed. 3 reasons: ...`
pub fn render(verb: &str, refusals: &[Refusal], untouched: Untouched, style: &Style) -> String {
    let reasons = count(grouped(refusals).len(), "reason");
    let head = if verb.is_empty() {
        format!("{}.", style.paint(Paint::Bad, "refused"))
    } else {
        format!("{} {verb}.", style.paint(Paint::Bad, "refused:"))
    };
    let mut text = format!("{head} {} {reasons}:\n", untouched.sentence());
    text.push_str(&reason_lines(refusals, style));
    if let Some(code) = to_explain(refusals) {
        text.push_str(&format!("help(\"{}\") explains a code.\n", code.code()));
    }
    text
}

/// The reasons alone, as the refusal and the outcome screen have them.
pub fn reason_lines(refusals: &[Refusal], style: &Style) -> String {
    let widest = refusals.iter().map(|r| columns(r.code.code())).max();
    let indent = widest.unwrap_or(0) + 3;
    grouped(refusals)
        .into_iter()
        .map(|(refusal, about)| {
            let lead = format!(" {:<1$}", refusal.code.code(), indent - 1);
            let mut para = Para::new(&lead, indent);
            if let Some(about) = about {
                para = para.unit(0, &about, Paint::Strong).unit(2, "", Paint::Plain);
                para = glue(para, &refusal.cause);
            } else {
                para = para.words(&refusal.cause);
            }
            if !refusal.next.is_empty() {
                para = para.unit_below(&format!("next: {}", refusal.next), Paint::Code);
            }
            para.render(style)
        })
        .collect()
}

/// One host that is down is one reason for all contents it holds back.
fn grouped(refusals: &[Refusal]) -> Vec<(&Refusal, Option<String>)> {
    let same = |a: &Refusal, b: &Refusal| (a.code, &a.cause, &a.next) == (b.code, &b.cause, &b.next);
    let mut groups: Vec<Vec<&Refusal>> = Vec::new();
    for refusal in refusals {
        match groups.iter_mut().find(|g| g.iter().all(|r| r.content.is_some() && same(r, refusal))) {
            Some(group) if refusal.content.is_some() => group.push(refusal),
            _ => groups.push(vec![refusal]),
        }
    }
    let name = |group: Vec<&'_ Refusal>| match group.as_slice() {
        [one] => about(one),
        several => Some(contents(&several.iter().filter_map(|r| r.content).collect::<Vec<_>>())),
    };
    groups.into_iter().map(|group| (group[0], name(group))).collect()
}

/// Words behind a unit: the first follows the unit's own blanks.
fn glue(para: Para, text: &str) -> Para {
    let mut words = text.split_whitespace();
    let para = match words.next() {
        Some(first) => para.unit(0, first, Paint::Plain),
        None => para,
    };
    words.fold(para, |para, word| para.unit(1, word, Paint::Plain))
}

/// What a refusal is about, by the widest name it has.
fn about(refusal: &Refusal) -> Option<String> {
    if let Some(content) = refusal.content {
        return Some(format!("content {content}"));
    }
    if let Some(host) = &refusal.host {
        return Some(format!("host {host}"));
    }
    refusal.dbid.map(|dbid| format!("dbid {dbid}"))
}

/// One example is enough; the longest name is the one that says least by itself.
fn to_explain(refusals: &[Refusal]) -> Option<RefusalCode> {
    refusals.iter().map(|r| r.code).max_by_key(|code| code.code().len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::ids::Content;
    use crate::shell::render::samples::plain;

    fn reasons() -> Vec<Refusal> {
        let reason = |code, content, cause: &str, next: &str| Refusal {
            code,
            content: Some(Content(content)),
            dbid: None,
            host: None,
            cause: cause.into(),
            next: next.into(),
        };
        vec![
            reason(
                RefusalCode::SegmentDown,
                2,
                "mirror dbid 4 on sdw2:6004, process gone",
                "recover(#{ contents: [2] })",
            ),
            reason(
                RefusalCode::NotSynchronized,
                3,
                "resynchronizing, 38 %, about 40 s left",
                "wait_until(\"synchronized\", #{ contents: [3] })",
            ),
            reason(RefusalCode::NoSpace, 2, "sdw2:/srv/seg has 0.1 GiB free, a primary needs 1", "free space on sdw2"),
        ]
    }

    #[test]
    fn a_refusal_shows_all_reasons_with_their_next_steps() {
        insta::assert_snapshot!(render("rebalance", &reasons(), Untouched::All, &plain()));
    }

    #[test]
    fn a_long_cause_wraps_below_itself() {
        let mut one = reasons();
        one.truncate(1);
        one[0].cause = "the former process of dbid 4 on sdw2 could not be killed: it waits for a \
                        disk that does not answer"
            .into();
        insta::assert_snapshot!(render("recover", &one, Untouched::All, &plain()));
    }
}
