//! `gpstate` in nine conditions, in each of its nine layouts.

use crate::conditions;
use segsh::cluster::State;
use segsh::gp::About;
use segsh::gp::layout::{Layout, show};
use segsh::gp::line::Line;
use segsh::gp::page::Page;

fn about() -> About {
    About { release: "segsh 1.0.0".into(), server_version: "15.0 (segsh)".into() }
}

fn shown(layout: Layout, state: &State) -> Page {
    show(layout, state, &about(), 0)
}

/// Every layout of a condition, one below the other, each with its exit code.
fn screens(state: &State) -> String {
    let one = |layout: Layout| {
        let page = shown(layout, state);
        let lines: Vec<String> = page.lines().iter().map(Line::unstamped).collect();
        format!("$ gpstate -{}\n{}\nexit {}\n", layout.letter(), lines.join("\n"), page.exit)
    };
    Layout::ALL.map(one).join("\n")
}

#[test]
fn every_layout_in_every_condition_is_as_reviewed() {
    for (name, state) in conditions::all() {
        insta::assert_snapshot!(name, screens(&state));
    }
}

#[test]
fn nothing_is_left_behind_a_line_and_every_row_is_in_the_document() {
    for (name, state) in conditions::all() {
        for layout in Layout::ALL {
            let page = shown(layout, &state);
            for line in page.lines() {
                assert_eq!(line.text.trim_end(), line.text, "{name} -{}", layout.letter());
            }
            let rows: usize = page
                .tables()
                .as_array()
                .expect("tables")
                .iter()
                .map(|t| t["rows"].as_array().map_or(0, Vec::len))
                .sum();
            let arrows = page.lines().iter().filter(|l| l.text.ends_with("<<<<<<<<")).count();
            let warnings = page.tables().to_string().matches("\"warning\":true").count();
            assert_eq!(arrows, warnings, "{name} -{}: {rows} rows", layout.letter());
        }
    }
}

#[test]
fn the_exit_code_says_whether_anything_needs_a_look() {
    for (name, state) in conditions::all() {
        let exits: Vec<(&str, i32)> = Layout::ALL.into_iter().map(|l| (l.letter(), shown(l, &state).exit)).collect();
        let looked_at: Vec<&str> = exits.iter().filter(|(_, exit)| *exit != 0).map(|(letter, _)| *letter).collect();
        let expected: &[&str] = match name {
            "healthy" => &[],
            "host_down" | "double_fault" | "mirror_down" => &["b", "m", "e", "s", "Q"],
            "switched_tracking" => &["b", "m", "e", "s", "Q"],
            "switched_synchronized" => &["b", "e"],
            "resynchronizing" | "no_mirrors" => &["e"],
            "no_mirrors_one_lost" => &["b", "e", "s"],
            other => panic!("a condition without an expectation: {other}"),
        };
        assert_eq!(looked_at, expected, "{name}");
    }
}
