//! The prompt's text: which cluster, and what is wrong with it.

use super::render::format::remaining_ms;
use super::render::{Paint, Style};
use crate::cluster::State;

/// `demo> `, or `demo [7/8 up, 2 single copy]> ` when something is not as it should be. Without a
/// state only the name is known.
pub fn text(name: &str, drill: bool, state: Option<&State>) -> String {
    // A demo's name says what it is; any other cluster that takes faults must not look like a real one.
    let drill = if drill && name != "demo" { " (drill)" } else { "" };
    let hints = state.map(hints).unwrap_or_default();
    if hints.is_empty() { format!("{name}{drill}> ") } else { format!("{name}{drill} [{}]> ", hints.join(", ")) }
}

fn hints(state: &State) -> Vec<String> {
    if state.coordinator.pid.is_none() {
        return vec!["COORDINATOR DOWN".to_string()];
    }
    let mut hints = Vec::new();
    if !state.operational() {
        hints.push("NOT OPERATIONAL".to_string());
    }
    if let Some(until) = state.fts_paused_until_ms {
        hints.push(format!("FTS paused {}", remaining_ms(until - state.time_ms)));
    }
    let (all, down) = (state.segments.len(), state.down().len());
    if down > 0 {
        hints.push(format!("{}/{all} up", all - down));
    }
    let lost = state.double_fault();
    let single = state.single_copy();
    let single = single.iter().filter(|c| !lost.contains(c)).count();
    if single > 0 {
        hints.push(format!("{single} single copy"));
    }
    if hints.is_empty() && !state.unbalanced().is_empty() {
        hints.push("unbalanced".to_string());
    }
    hints
}

/// The prompt in colour: what is in brackets is a warning.
pub fn painted(prompt: &str, style: &Style) -> String {
    let Some((name, rest)) = prompt.split_once(" [") else {
        return style.paint(Paint::Strong, prompt);
    };
    let Some((hints, end)) = rest.rsplit_once(']') else {
        return style.paint(Paint::Strong, prompt);
    };
    let bad = hints.contains("OPERATIONAL") || hints.contains("COORDINATOR");
    let paint = if bad { Paint::Bad } else { Paint::Warn };
    format!("{} [{}]{end}", style.paint(Paint::Strong, name), style.paint(paint, hints))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shell::render::samples::{broken, coordinator_down, double_fault, healthy};

    #[test]
    fn the_prompt_shows_danger_and_nothing_else() {
        assert_eq!(text("demo", true, None), "demo> ");
        assert_eq!(text("demo", true, Some(&healthy())), "demo> ");
        assert_eq!(text("demo", true, Some(&broken())), "demo [7/8 up, 2 single copy]> ");
        let paused = crate::cluster::State { fts_paused_until_ms: Some(healthy().time_ms + 90_000), ..healthy() };
        assert_eq!(text("prod", false, Some(&paused)), "prod [FTS paused 1m30s]> ");
        assert_eq!(text("prod", false, Some(&double_fault())), "prod [NOT OPERATIONAL, 6/8 up]> ");
        assert_eq!(text("prod", true, Some(&coordinator_down())), "prod (drill) [COORDINATOR DOWN]> ");
    }

    #[test]
    fn colour_changes_no_word_of_the_prompt() {
        let plain = Style::default();
        for prompt in ["demo> ", "demo [7/8 up]> ", "odd [> ", "odd ]> "] {
            assert_eq!(painted(prompt, &plain), prompt);
        }
    }
}
