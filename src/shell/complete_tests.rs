use super::*;
use crate::shell::render::samples::{broken, healthy};
use std::time::{Duration, Instant};

fn with(text: &str, variables: &[Variable], state: &State) -> Vec<String> {
    let known = Known { variables, state: Some(state) };
    complete(text, "", &known).1.into_iter().map(|c| c.text).collect()
}

fn found(text: &str) -> Vec<String> {
    with(text, &[], &broken())
}

/// The line as it is after the first candidate was taken.
fn taken(text: &str) -> String {
    let state = broken();
    let known = Known { variables: &[], state: Some(&state) };
    let (start, candidates) = complete(text, "", &known);
    format!("{}{}", &text[..start], candidates.first().map_or("", |c| &c.text))
}

#[test]
fn a_chain_is_completed_by_the_type_of_its_last_link() {
    assert_eq!(found("state().cont"), ["contents", "content("]);
    assert_eq!(found("state().content(2).prim"), ["primary"]);
    assert_eq!(found("state().content(2).primary.preferred_role_"), ["preferred_role_name"]);
    assert_eq!(found("state().down[0].hos"), ["host"]);
    assert_eq!(found("state().segments.filter(|s| s.datad"), ["datadir"]);
    assert!(found("state().content(2).").contains(&"mirror".to_string()));
    assert_eq!(taken("print(plan_recover().appl"), "print(plan_recover().apply(");
}

#[test]
fn a_variable_has_the_type_of_what_it_holds() {
    let variables = [Variable { name: "site_plan".into(), of: Some(Type::of("Plan")) }];
    assert_eq!(with("site_plan.refus", &variables, &healthy()), ["refusals", "refuses"]);
    assert_eq!(with("site_", &variables, &healthy()), ["site_plan"]);
    assert_eq!(with("plan_rebalance(#{ after: ", &variables, &healthy()), ["site_plan"]);
}

#[test]
fn names_are_written_with_the_parenthesis_they_need() {
    assert_eq!(found("stat"), ["state()"]);
    assert_eq!(found("let s = reb"), ["rebalance("]);
    assert_eq!(found("fault::st"), ["fault::stop_host(", "fault::start_host("]);
    let state = healthy();
    let known = Known { variables: &[], state: Some(&state) };
    assert_eq!(complete("reb", "()", &known).1[0].text, "rebalance", "it stands behind the cursor already");
    assert!(found("").is_empty(), "an empty line is not the place for everything there is");
}

#[test]
fn options_and_their_values_are_known_at_their_place() {
    assert_eq!(found("recover(#{ con"), ["contents: "]);
    assert!(!found("recover(#{ contents: 2, ").contains(&"contents: ".to_string()));
    assert!(found("recover(#{ contents: 2, ").contains(&"wait: ".to_string()));
    assert_eq!(found("restart(#{ mode: "), ["\"smart\"", "\"fast\"", "\"immediate\""]);
    assert_eq!(found("restart(#{ mode: \"i"), ["immediate"]);
    assert_eq!(found("recover(#{ wait: f"), ["false"]);
    assert_eq!(found("plan_recover().apply(#{ rai"), ["raise: "]);
    assert_eq!(found("ping("), ["\"sdw1\"", "\"sdw2\""]);
}

#[test]
fn live_names_come_from_the_snapshot_and_what_needs_attention_first() {
    assert_eq!(found("recover(#{ hosts: \"sdw"), ["sdw1", "sdw2"]);
    assert_eq!(found("recover(#{ hosts: [\"sdw1\", \"sdw"), ["sdw1", "sdw2"]);
    assert_eq!(found("state().host(\""), ["sdw1", "sdw2"]);
    assert_eq!(found("recover(#{ contents: ["), ["2", "3", "0", "1"]);
    assert_eq!(found("state().content("), ["2", "3", "0", "1"]);
    assert_eq!(found("recover(#{ dbids: ")[0], "4", "the segment that is down");
    assert!(with("recover(#{ dbids: ", &[], &healthy()).len() == 8);
    let nobody = Known::default();
    assert!(complete("recover(#{ hosts: \"", "", &nobody).1.is_empty());
}

#[test]
fn a_comparison_offers_the_words_there_are() {
    assert_eq!(found("state().segments.filter(|s| s.status == \""), ["up", "down"]);
    assert_eq!(found("state().segment(5).role != \"m"), ["mirror"]);
}

#[test]
fn questions_complete_subjects_and_colons_commands() {
    assert_eq!(found("? rebal"), ["rebalance"]);
    assert_eq!(found("help no_sp"), ["no_space"]);
    assert_eq!(found("help(\"State"), ["State"]);
    assert_eq!(taken(":wat"), ":watch");
    assert_eq!(found(":watch 2s stat"), ["state()"]);
    assert_eq!(taken(":d"), ":dry");
    assert_eq!(found(":dry o"), ["on", "off"]);
    assert_eq!(found("procedure(\"return"), ["return_to_preferred_roles"]);
    assert_eq!(found("import \"std/recover_d"), ["std/recover_double_fault"]);
    assert_eq!(found("wait_until(\"s"), ["synchronized"]);
}

#[test]
fn nothing_is_completed_inside_any_other_string_or_comment() {
    assert!(found("print(\"sta").is_empty());
    assert!(found("sql(\"sel").is_empty());
    assert_eq!(found("print(\"x\"); sta"), ["state()"]);
    assert_eq!(open_string("sql(\"a\\\"b\") + re"), None);
    assert_eq!(open_string("// it's \"open\nre"), None);
    assert_eq!(open_string("x `a"), Some((2, '`')));
}

#[test]
fn settings_are_known_by_their_names() {
    assert_eq!(found("setting(\"segsh_rec"), ["segsh_recovery_jobs", "segsh_recovery_rate"]);
    assert_eq!(found("setting(\"").len(), KNOWN.len());
}

#[test]
fn what_is_refused_now_is_said_beside_the_name() {
    let about = |text: &str, state: &State| {
        let known = Known { variables: &[], state: Some(state) };
        let found = complete(text, "", &known).1.into_iter().find(|c| c.text.ends_with('('));
        found.map(|c| c.about).unwrap_or_default()
    };
    assert!(about("rebal", &broken()).starts_with("(refused now: "), "{}", about("rebal", &broken()));
    assert!(about("recov", &healthy()).contains("nothing to do now"), "{}", about("recov", &healthy()));
    assert!(!about("recov", &broken()).contains("now"), "{}", about("recov", &broken()));
}

#[test]
fn a_word_begins_behind_what_is_no_name() {
    assert_eq!(word_start("let p = reco"), 8);
    assert_eq!(word_start("fault::k"), 0);
    assert_eq!(word_start("é(re"), 3);
    assert_eq!(word_start("#{ wait:f"), 8);
}

/// A bound that a debug build on a busy machine keeps, far above what a key press takes: it fails when
/// somebody makes the work grow with the square of the segments.
#[test]
fn a_thousand_segments_delay_no_key() {
    let mut state = healthy();
    let (segments, contents) = (state.segments.clone(), state.contents.clone());
    for n in 4..500 {
        state.contents.push(cluster::ContentState { content: crate::core::ids::Content(n), ..contents[0].clone() });
        for (i, segment) in segments.iter().filter(|s| s.row.content.0 == 0).enumerate() {
            let mut segment = segment.clone();
            segment.row.content = crate::core::ids::Content(n);
            segment.row.dbid = crate::core::ids::Dbid(n * 2 + i as i64 + 10);
            state.segments.push(segment);
        }
    }
    let begun = Instant::now();
    for line in ["state().content(2).primary.", "recover(#{ dbids: ", "recover(#{ contents: [1, 2, 3", "s"] {
        assert!(!with(line, &[], &state).is_empty(), "{line}");
    }
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
}
