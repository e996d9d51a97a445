//! What changed between two looks at a cluster, for the line above the one being typed.

use super::render::Style;
use super::render::format::{clock, contents, remaining_ms};
use super::render::layout::Para;
use crate::cluster::{PairHealth, Segment, State};
use crate::core::ids::Content;
use crate::core::row::Role;
use std::collections::BTreeMap;

/// More lines than this hide what they are about.
const LINES_MAX: usize = 6;

/// One line for each thing that changed, the gravest first; empty when nothing did.
pub fn between(before: &State, now: &State, style: &Style) -> Vec<String> {
    let said = what_changed(before, now);
    let time = clock(now.time_ms, style);
    let mut lines: Vec<String> = Vec::new();
    for text in said.iter().take(LINES_MAX) {
        lines.push(Para::new(&format!("{time}  "), 10).words(text).render(style));
    }
    if said.len() > LINES_MAX {
        lines.push(format!("{time}  and {} more: state()\n", said.len() - LINES_MAX));
    }
    lines
}

fn what_changed(before: &State, now: &State) -> Vec<String> {
    match (before.coordinator.pid, now.coordinator.pid) {
        // What the last catalog says is no news beside this.
        (Some(_), None) => return vec!["the coordinator does not answer".into()],
        (None, Some(_)) => return vec!["the coordinator answers again".into()],
        (None, None) => return Vec::new(),
        (Some(_), Some(_)) => {}
    }
    let mut said: Vec<String> = operational(before, now).into_iter().collect();
    said.extend(hosts(before, now));
    said.extend(now.contents.iter().filter_map(|c| content(c.content, before, now)));
    said.extend(operations(before, now));
    said.extend(pause(before, now));
    said
}

fn operational(before: &State, now: &State) -> Option<String> {
    match (before.operational(), now.operational()) {
        (true, false) => Some("the cluster is NOT OPERATIONAL".into()),
        (false, true) => Some("the cluster is operational again".into()),
        _ => None,
    }
}

fn hosts(before: &State, now: &State) -> Vec<String> {
    let changed = |name: &str, alive: bool| before.host(name).is_some_and(|b| b.alive != alive);
    now.hosts
        .iter()
        .filter(|h| changed(&h.host, h.alive))
        .map(|h| match h.alive {
            true => format!("host {} answers again", h.host),
            false => format!("host {} does not answer", h.host),
        })
        .collect()
}

/// Everything about a content in one line.
fn content(number: Content, before: &State, now: &State) -> Option<String> {
    let was = before.content(number)?;
    let is = now.content(number)?;
    let mut said: Vec<String> = now
        .segments
        .iter()
        .filter(|s| s.row.content == number)
        .filter_map(|s| segment(before.segment(s.row.dbid)?, s))
        .collect();
    let acting = |state: &State| state.acting(number, Role::Primary).map(|s| s.row.dbid);
    if let (Some(old), Some(new)) = (acting(before), acting(now))
        && old != new
    {
        said.push(format!("dbid {new} took over from dbid {old}"));
    }
    if was.health != is.health {
        said.push(health(is.health).into());
    }
    (!said.is_empty()).then(|| format!("content {number}: {}", said.join("; ")))
}

fn segment(was: &Segment, is: &Segment) -> Option<String> {
    let name = format!("dbid {} on {}", is.row.dbid, is.row.hostname);
    match (was.is_down(), is.is_down()) {
        (false, true) if is.alive.cause.is_empty() => Some(format!("{name} is down")),
        (false, true) => Some(format!("{name} is down, {}", is.alive.cause)),
        (true, false) => Some(format!("{name} is up")),
        _ => None,
    }
}

fn health(health: PairHealth) -> &'static str {
    match health {
        PairHealth::ChangeTracking => "single copy",
        other => other.word(),
    }
}

/// Operations that somebody else began or that ended: this shell waits for its own.
fn operations(before: &State, now: &State) -> Vec<String> {
    let (was, is) = (working(before), working(now));
    let began = is.iter().filter(|(op, _)| !was.contains_key(op));
    let ended = was.iter().filter(|(op, _)| !is.contains_key(op));
    began
        .map(|(op, on)| format!("operation {op} began on {}", contents(on)))
        .chain(ended.map(|(op, on)| format!("operation {op} on {} ended", contents(on))))
        .collect()
}

/// The operations that work now, with the contents of each.
fn working(state: &State) -> BTreeMap<i64, Vec<Content>> {
    let mut found: BTreeMap<i64, Vec<Content>> = BTreeMap::new();
    for content in &state.contents {
        if let Some(op) = content.operation {
            found.entry(op).or_default().push(content.content);
        }
    }
    found
}

fn pause(before: &State, now: &State) -> Option<String> {
    match (before.fts_paused_until_ms, now.fts_paused_until_ms) {
        (None, Some(until)) => Some(format!("FTS is paused for {}", remaining_ms(until - now.time_ms))),
        (Some(_), None) => Some("FTS is no longer paused".into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shell::render::samples::{broken, coordinator_down, double_fault, healthy, plain};

    #[test]
    fn a_change_is_a_line_and_no_change_is_none() {
        insta::assert_snapshot!(between(&healthy(), &broken(), &plain()).concat());
        assert!(between(&broken(), &broken(), &plain()).is_empty());
    }

    #[test]
    fn the_gravest_comes_first_and_what_ends_is_said_too() {
        let lines = between(&healthy(), &double_fault(), &plain());
        assert!(lines[0].contains("NOT OPERATIONAL"), "{lines:?}");
        let lines = between(&double_fault(), &healthy(), &plain());
        assert!(lines[0].contains("operational again"), "{lines:?}");
    }

    #[test]
    fn without_a_coordinator_only_that_is_news() {
        let lines = between(&healthy(), &coordinator_down(), &plain());
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(lines[0].contains("does not answer"), "{lines:?}");
        assert!(between(&coordinator_down(), &coordinator_down(), &plain()).is_empty());
    }

    #[test]
    fn an_operation_of_somebody_else_is_news_at_both_ends() {
        let mut running = healthy();
        for content in running.contents.iter_mut().take(2) {
            content.operation = Some(118);
        }
        let lines = between(&healthy(), &running, &plain());
        assert!(lines.concat().contains("operation 118 began on contents 0, 1"), "{lines:?}");
        let lines = between(&running, &healthy(), &plain());
        assert!(lines.concat().contains("operation 118 on contents 0, 1 ended"), "{lines:?}");
    }

    #[test]
    fn many_changes_are_a_few_lines() {
        let mut all_down = healthy();
        for segment in all_down.segments.iter_mut().filter(|s| s.row.role == Role::Mirror) {
            segment.alive.alive = false;
        }
        let copies = |state: &State| {
            let mut state = state.clone();
            let pairs: Vec<_> = state.contents.clone();
            for n in 10..20 {
                state.contents.extend(pairs.iter().take(1).map(|c| {
                    let mut copy = c.clone();
                    copy.content = Content(n);
                    copy.operation = None;
                    copy
                }));
                let mut more: Vec<Segment> = state.segments.iter().filter(|s| s.row.content.0 == 0).cloned().collect();
                more.iter_mut().enumerate().for_each(|(i, s)| {
                    s.row.content = Content(n);
                    s.row.dbid = crate::core::ids::Dbid(n * 10 + i as i64);
                });
                state.segments.extend(more);
            }
            state
        };
        let lines = between(&copies(&healthy()), &copies(&all_down), &plain());
        assert_eq!(lines.len(), LINES_MAX + 1, "{lines:?}");
        assert!(lines.concat().contains("more: state()"), "{lines:?}");
    }
}
