//! The examples of `scripts/`, on clusters that are values.

use crate::fake::{Bench, Break, healthy};
use segsh::cluster::State;
use serde_json::Value;

/// What the nightly check prints, and how it ends.
#[track_caller]
fn health_of(state: State) -> (Value, Option<i32>) {
    let text = std::fs::read_to_string("scripts/health.rhai").expect("the script");
    let mut bench = Bench::new(state);
    let ended = bench.session.run_source("scripts/health.rhai", &text).unwrap_or_else(|error| panic!("{error:?}"));
    let printed = bench.person.printed.borrow().join("\n");
    (serde_json::from_str(&printed).unwrap_or_else(|error| panic!("{error}: {printed}")), ended.exit)
}

#[track_caller]
fn finding(state: State, severity: &str, next: &str) {
    let (report, exit) = health_of(state);
    assert_eq!((&report["healthy"], exit), (&Value::Bool(false), Some(9)), "{report:#}");
    let findings = report["findings"].as_array().expect("a list");
    let found = findings.iter().any(|f| f["severity"] == severity && f["next"] == next);
    assert!(found, "{report:#}");
}

#[test]
fn the_nightly_check_calls_no_cluster_healthy_that_has_a_segment_down() {
    let (report, exit) = health_of(healthy());
    assert_eq!((&report["healthy"], exit), (&Value::Bool(true), Some(0)), "{report:#}");

    let mut lost = healthy();
    lost.without_mirrors();
    lost.lose_only(2);
    finding(lost, "critical", "procedure(\"recover_without_mirroring\")");

    // FTS is paused: the rows say that all is well, and the segment does not answer.
    let mut silent = healthy();
    let primary = silent.member(2, segsh::core::row::Role::Primary);
    primary.alive.alive = false;
    primary.alive.cause = "process gone".into();
    finding(silent, "warning", "why(\"content 2\")");

    let mut single = healthy();
    single.lose_mirror(1);
    finding(single.clone(), "warning", "recover(#{ contents: 1 })");
    let (report, _) = health_of(single);
    assert_eq!(report["findings"].as_array().map(Vec::len), Some(1), "a content is told once: {report:#}");
}
