use super::*;
use crate::core::row::Mode;
use crate::shell::render::samples::{at, broken, coordinator_down, double_fault, healthy, plain};

#[test]
fn the_reference_screen() {
    insta::assert_snapshot!(render(&broken(), &plain()));
}

#[test]
fn a_healthy_cluster() {
    insta::assert_snapshot!(render(&healthy(), &plain()));
}

#[test]
fn a_double_fault_names_the_procedure() {
    insta::assert_snapshot!(render(&double_fault(), &plain()));
}

#[test]
fn a_lost_content_without_a_mirror_is_down_and_in_no_double_fault() {
    let mut state = double_fault();
    state.segments.retain(|s| s.row.content != Content(2) || s.row.role == Role::Primary);
    state.contents[2].health = PairHealth::Lost;
    state.contents[2].last_event = "not operational: primary dbid 8 is lost; the content has no mirror".into();
    let text = render(&state, &plain());
    assert!(text.contains("NOT OPERATIONAL") && !text.contains("DOUBLE FAULT"), "{text}");
    assert!(text.contains("DOWN, no mirror"), "{text}");
    assert!(text.contains("content 2  DOWN: primary dbid 8 is lost; the content has no mirror."), "{text}");
    assert!(text.contains("next: procedure(\"recover_without_mirroring\")"), "{text}");
    assert!(text.lines().all(|line| columns(line) <= 80), "{text}");
}

#[test]
fn a_coordinator_that_is_down_is_shown_from_its_last_catalog() {
    insta::assert_snapshot!(render(&coordinator_down(), &plain()));
}

#[test]
fn a_synchronized_cluster_out_of_balance_is_told_to_rebalance() {
    let mut state = healthy();
    at(&mut state, 4).row.role = Role::Mirror;
    at(&mut state, 8).row.role = Role::Primary;
    let text = render(&state, &plain());
    assert!(text.contains("* not in its preferred role (content 2)   next: rebalance()"), "{text}");
}

#[test]
fn what_only_a_full_copy_can_help_says_so() {
    let mut state = broken();
    state.contents[2].incremental_impossible = Some("the map was damaged".into());
    let text = render(&state, &plain());
    assert!(text.contains("full 512 MiB"), "{text}");
    assert!(text.contains("next: full_recover(#{ dbids: 4 })"), "{text}");
}

#[test]
fn pages_that_a_read_found_damaged_are_shown_before_anybody_compares() {
    let mut state = healthy();
    at(&mut state, 3).damaged_pages = Some(2);
    let text = render(&state, &plain());
    assert!(text.contains("content 1  DAMAGED: reads met 2 pages of dbid 3"), "{text}");
    assert!(text.contains("next: verify(#{ contents: [1] })"), "{text}");
}

#[test]
fn a_host_that_does_not_answer_has_a_note() {
    let mut state = broken();
    state.hosts[1].alive = false;
    state.hosts[1].cause = "connection refused".into();
    let text = render(&state, &plain());
    assert!(text.contains("host sdw2  does not answer: connection refused."), "{text}");
    assert!(text.contains("fault::start_host(\"sdw2\")"), "{text}");
}

#[test]
fn a_dead_member_of_a_synchronized_pair_asks_for_a_probe() {
    let mut state = healthy();
    let mirror = at(&mut state, 6);
    mirror.alive.alive = false;
    mirror.alive.cause = "process gone".into();
    assert_eq!(state.segment(crate::core::ids::Dbid(6)).map(|s| s.row.mode), Some(Mode::Synchronized));
    let text = render(&state, &plain());
    assert!(text.contains("content 0  dbid 6 on sdw2: process gone.      next: probe()"), "{text}");
}

#[test]
fn evidence_is_offered_only_where_it_can_be_asked_for() {
    let style = Style::default();
    assert!(!render(&broken(), &style).contains("why("));
    assert!(render(&broken(), &plain()).contains("why(\"content 2\")"));
}

#[test]
fn no_line_of_any_state_is_wider_than_the_screen() {
    for mut state in [healthy(), broken(), double_fault(), coordinator_down()] {
        for name in ["sdw1", "a-host-name-of-thirty-columns.x", &"long".repeat(30)] {
            for segment in &mut state.segments {
                segment.row.hostname = name.to_string();
            }
            for host in &mut state.hosts {
                host.host = name.to_string();
            }
            for line in render(&state, &plain()).lines() {
                assert!(columns(line) <= 80, "{line}");
                assert_eq!(line, line.trim_end());
            }
        }
    }
}

#[test]
fn a_long_host_name_is_whole_while_a_line_has_room_for_it() {
    let mut state = broken();
    let name = "rack12-storage-0007.prod";
    for segment in &mut state.segments {
        segment.row.hostname = name.into();
    }
    let text = render(&state, &plain());
    assert!(text.contains(&format!("8 {name}:7004 *")), "{text}");
    assert!(text.contains(&format!("4 {name}:6004 * DOWN")), "{text}");
}

#[test]
fn colour_only_repeats_what_the_words_say() {
    let colored = Style { color: true, ..plain() };
    for state in [healthy(), broken(), double_fault(), coordinator_down()] {
        let text = render(&state, &colored);
        assert!(text.contains('\u{1b}'));
        assert_eq!(strip(&text), render(&state, &plain()));
    }
}

/// The text without its escape sequences.
fn strip(text: &str) -> String {
    let mut out = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c == '\u{1b}' {
            chars.by_ref().find(|c| *c == 'm');
        } else {
            out.push(c);
        }
    }
    out
}
