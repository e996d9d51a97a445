//! The prompt's text: which cluster, what is wrong with it, and how old that knowledge is.

use super::render::format::{age_ms, remaining_ms};
use super::render::{Paint, Style};
use super::snapshot::Seen;
use crate::cluster::State;
use crate::core::ids::Content;
use std::time::Duration;

/// A look is taken each second; what is younger than this is called fresh and needs no age.
const FRESH: Duration = Duration::from_secs(5);
/// More contents than this are counted instead of named.
const NAMED_MAX: usize = 16;

/// What the prompt is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct About {
    /// The cluster's name.
    pub name: String,
    /// Faults may be injected.
    pub drill: bool,
    /// Calls are only rehearsed.
    pub dry_run: bool,
    /// Whether somebody looks at the cluster at all.
    pub is_watched: bool,
}

/// `demo> `, or `demo [7/8 up, single copy 2]> ` when something is not as it should be.
pub fn text(about: &About, seen: Option<&Seen>) -> String {
    let name = &about.name;
    let mut marks = String::new();
    // A demo's name says what it is; any other cluster that takes faults must not look like a real one.
    if about.drill && name != "demo" {
        marks.push_str(" (drill)");
    }
    if seen.is_some_and(|seen| seen.state.production) {
        marks.push_str(PRODUCTION);
    }
    if about.dry_run {
        marks.push_str(" (dry run)");
    }
    let hints = match seen {
        Some(seen) => hints(seen),
        None if about.is_watched => vec!["state unknown".to_string()],
        None => Vec::new(),
    };
    if hints.is_empty() { format!("{name}{marks}> ") } else { format!("{name}{marks} [{}]> ", hints.join(", ")) }
}

/// Words and not only a colour.
const PRODUCTION: &str = " (production)";

fn hints(seen: &Seen) -> Vec<String> {
    let mut hints = health(&seen.state);
    if seen.age >= FRESH {
        hints.push(format!("seen {} ago", age_ms(i64::try_from(seen.age.as_millis()).unwrap_or(i64::MAX))));
    }
    hints
}

fn health(state: &State) -> Vec<String> {
    if state.coordinator.pid.is_none() {
        return vec!["COORDINATOR DOWN".to_string()];
    }
    let mut hints = Vec::new();
    if !state.operational() {
        hints.push("NOT OPERATIONAL".to_string());
    }
    hints.extend(in_maintenance(state));
    if let Some(until) = state.fts_paused_until_ms {
        hints.push(format!("FTS paused {}", remaining_ms(until - state.time_ms)));
    }
    let (all, down) = (state.segments.len(), state.down().len());
    if down > 0 {
        hints.push(format!("{}/{all} up", all - down));
    }
    let lost = state.double_fault();
    let single: Vec<Content> = state.single_copy().into_iter().filter(|c| !lost.contains(c)).collect();
    if !single.is_empty() {
        hints.push(single_copy(&single));
    }
    if hints.is_empty() && !state.unbalanced().is_empty() {
        hints.push("unbalanced".to_string());
    }
    hints
}

/// `sdw2 in maintenance 29m`: why a host is not recovered to. One that is over has not been looked at since.
fn in_maintenance(state: &State) -> Option<String> {
    let left: Vec<_> = state.maintenance.iter().filter(|m| m.until_ms > state.time_ms).collect();
    match left.as_slice() {
        [] => None,
        [one] => Some(format!("{} in maintenance {}", one.host, remaining_ms(one.until_ms - state.time_ms))),
        more => Some(format!("{} hosts in maintenance", more.len())),
    }
}

/// `single copy 2`, `single copy 0-3 7`, or only how many when a line could not hold them.
fn single_copy(contents: &[Content]) -> String {
    let named = ranges(contents);
    if named.len() <= NAMED_MAX { format!("single copy {named}") } else { format!("{} single copy", contents.len()) }
}

/// `0-3 7`: a comma separates the hints themselves.
fn ranges(contents: &[Content]) -> String {
    let mut runs: Vec<(i64, i64)> = Vec::new();
    for Content(number) in contents {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == *number => *last = *number,
            _ => runs.push((*number, *number)),
        }
    }
    let shown = runs.iter().map(|(first, last)| match last - first {
        0 => first.to_string(),
        _ => format!("{first}-{last}"),
    });
    shown.collect::<Vec<_>>().join(" ")
}

/// The prompt in colour: what is in brackets is a warning, and production is red.
pub fn painted(prompt: &str, style: &Style) -> String {
    let paint_name = |name: &str| match name.contains(PRODUCTION) {
        true => style.paint(Paint::Bad, name),
        false => style.paint(Paint::Strong, name),
    };
    let Some((name, rest)) = prompt.split_once(" [") else {
        return paint_name(prompt);
    };
    let Some((hints, end)) = rest.rsplit_once(']') else {
        return paint_name(prompt);
    };
    let bad = hints.contains("OPERATIONAL") || hints.contains("COORDINATOR");
    let paint = if bad { Paint::Bad } else { Paint::Warn };
    format!("{} [{}]{end}", paint_name(name), style.paint(paint, hints))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::MaintenanceInfo;
    use crate::cluster::request::Owner;
    use crate::shell::render::samples::{broken, coordinator_down, double_fault, healthy};
    use std::sync::Arc;

    fn about(name: &str, drill: bool) -> About {
        About { name: name.into(), drill, dry_run: false, is_watched: true }
    }

    fn fresh(state: State) -> Seen {
        Seen { state: Arc::new(state), age: Duration::from_millis(300) }
    }

    #[test]
    fn the_prompt_shows_danger_and_nothing_else() {
        let demo = |state| text(&about("demo", true), Some(&fresh(state)));
        let prod = |state| text(&about("prod", false), Some(&fresh(state)));
        assert_eq!(demo(healthy()), "demo> ");
        assert_eq!(demo(broken()), "demo [7/8 up, single copy 2-3]> ");
        let paused = State { fts_paused_until_ms: Some(healthy().time_ms + 90_000), ..healthy() };
        assert_eq!(prod(paused), "prod [FTS paused 1m30s]> ");
        assert_eq!(prod(double_fault()), "prod [NOT OPERATIONAL, 6/8 up]> ");
        assert_eq!(text(&about("prod", true), Some(&fresh(coordinator_down()))), "prod (drill) [COORDINATOR DOWN]> ");
        assert_eq!(prod(State { production: true, ..healthy() }), "prod (production)> ");
        let rehearsing = |name| text(&About { dry_run: true, ..about(name, true) }, Some(&fresh(healthy())));
        assert_eq!(rehearsing("demo"), "demo (dry run)> ");
        assert_eq!(rehearsing("prod"), "prod (drill) (dry run)> ");
    }

    #[test]
    fn a_host_in_maintenance_is_named_with_the_time_that_is_left() {
        let shown = |maintenance| text(&about("demo", true), Some(&fresh(State { maintenance, ..healthy() })));
        let on = |host: &str, left_ms: i64| MaintenanceInfo {
            host: host.into(),
            since_ms: 0,
            until_ms: healthy().time_ms + left_ms,
            owner: Owner::default(),
            reason: "disk swap".into(),
        };
        assert_eq!(shown(vec![on("sdw2", 29 * 60_000)]), "demo [sdw2 in maintenance 29m00s]> ");
        assert_eq!(shown(vec![on("sdw1", 1000), on("sdw2", 1000)]), "demo [2 hosts in maintenance]> ");
        assert_eq!(shown(vec![on("sdw2", 0)]), "demo> ", "it is over");
    }

    #[test]
    fn what_is_old_or_unknown_says_so() {
        let old = |state| Seen { age: Duration::from_secs(75), ..fresh(state) };
        assert_eq!(text(&about("demo", true), Some(&old(healthy()))), "demo [seen 1m15s ago]> ");
        assert_eq!(
            text(&about("demo", true), Some(&old(broken()))),
            "demo [7/8 up, single copy 2-3, seen 1m15s ago]> "
        );
        assert_eq!(text(&about("demo", true), None), "demo [state unknown]> ");
        assert_eq!(text(&About { is_watched: false, ..about("segsh", false) }, None), "segsh> ");
    }

    #[test]
    fn contents_are_named_while_a_line_can_hold_them() {
        let list = |numbers: &[i64]| numbers.iter().map(|n| Content(*n)).collect::<Vec<_>>();
        assert_eq!(single_copy(&list(&[2])), "single copy 2");
        assert_eq!(single_copy(&list(&[0, 1, 2, 3, 7])), "single copy 0-3 7");
        assert_eq!(single_copy(&list(&[1, 3, 5, 7, 9, 11, 13, 15, 17])), "9 single copy");
    }

    #[test]
    fn colour_changes_no_word_of_the_prompt_and_production_is_red() {
        let plain = Style::default();
        for prompt in ["demo> ", "demo [7/8 up]> ", "odd [> ", "odd ]> ", "prod (production) [x]> "] {
            assert_eq!(painted(prompt, &plain), prompt);
        }
        let color = Style { color: true, ..Style::default() };
        assert!(painted("prod (production)> ", &color).contains("31"), "red");
        assert!(!painted("prod> ", &color).contains("31"));
    }
}
