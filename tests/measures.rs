//! The arithmetic of the bench, and what it prints: the figures of a run are only as good as these.

#[path = "bench/report.rs"]
#[allow(dead_code, reason = "the bench uses what a test does not")]
mod report;
#[path = "bench/statistics.rs"]
#[allow(dead_code, reason = "the bench uses what a test does not")]
mod statistics;

use report::{Goal, Ratio, Report, Row, SCHEMA, Unit, head};
use serde_json::{Value, json};
use statistics::Samples;
use std::path::Path;

fn samples(values: &[f64]) -> Samples {
    values.iter().copied().collect()
}

fn row(ours: &[f64], peer: &[f64], ratio: Ratio) -> Row {
    Row::new("group", "what", Unit::Seconds, samples(ours)).beside("peer", samples(peer), ratio)
}

#[test]
fn a_quantile_is_a_value_that_was_measured() {
    let values: Samples = (1..=100).rev().map(f64::from).collect();
    for (q, expected) in [(0.0, 1.0), (0.01, 1.0), (0.5, 50.0), (0.99, 99.0), (0.995, 100.0), (1.0, 100.0)] {
        assert_eq!(values.quantile(q), expected, "quantile {q}");
    }
    assert_eq!(samples(&[7.0]).quantile(0.99), 7.0);
    assert!(samples(&[]).quantile(0.5).is_nan());
}

#[test]
fn the_median_of_an_even_number_lies_between_the_middle_two() {
    assert_eq!(samples(&[3.0, 1.0, 2.0]).median(), 2.0);
    assert_eq!(samples(&[4.0, 1.0, 2.0, 3.0]).median(), 2.5);
    assert!(samples(&[]).median().is_nan());
}

#[test]
fn the_extremes_are_of_all_values() {
    let values = samples(&[2.0, 1.0, 3.0]);
    assert_eq!((values.min(), values.max()), (1.0, 3.0));
}

#[test]
fn a_ratio_is_of_medians_and_says_how_many_times_faster_where_that_is_asked() {
    assert_eq!(row(&[1.0, 2.0, 90.0], &[50.0], Ratio::PeerOverOurs).ratio(), Some(25.0));
    assert_eq!(row(&[50.0], &[100.0], Ratio::OursOverPeer).ratio(), Some(0.5));
    assert_eq!(Row::new("group", "what", Unit::Count, samples(&[1.0])).ratio(), None);
}

#[test]
fn a_goal_is_met_at_its_limit_and_missed_beyond() {
    let at = |ours: f64, goal: Goal| row(&[ours], &[100.0], Ratio::OursOverPeer).goal(goal).met();
    assert_eq!(at(50.0, Goal::RatioAtLeast(0.5)), Some(true));
    assert_eq!(at(49.0, Goal::RatioAtLeast(0.5)), Some(false));
    assert_eq!(at(250.0, Goal::RatioAtMost(2.5)), Some(true));
    assert_eq!(at(251.0, Goal::RatioAtMost(2.5)), Some(false));
    let spread = |goal: Goal| Row::new("group", "what", Unit::Seconds, samples(&[1.0, 2.0, 9.0])).goal(goal).met();
    assert_eq!(spread(Goal::MedianAtMost(2.0)), Some(true));
    assert_eq!(spread(Goal::MaxAtMost(2.0)), Some(false));
    assert_eq!(row(&[1.0], &[1.0], Ratio::OursOverPeer).met(), None, "without a goal nothing is met or missed");
}

#[test]
fn what_could_not_be_measured_meets_no_goal() {
    for goal in [Goal::RatioAtLeast(0.0), Goal::RatioAtMost(9.0), Goal::MedianAtMost(9.0), Goal::MaxAtMost(9.0)] {
        assert_eq!(row(&[], &[], Ratio::OursOverPeer).goal(goal).met(), Some(false), "{goal:?}");
    }
}

#[test]
fn a_line_has_at_most_80_columns_whatever_stands_in_it() {
    let what = "a measure with a name that is far too long for its column";
    for unit in [Unit::Seconds, Unit::PerSecond, Unit::Bytes, Unit::Count] {
        for value in [0.0_f64, 0.000_012_3, 0.0099, 0.999_9, 65.123, 999.9, 90_000.0, 123_456_789.0] {
            let value = if unit == Unit::Bytes { value * 1000.0 } else { value.min(900_000.0) };
            let long = Row::new("group", what, unit, samples(&[value]));
            let long = long.beside("peer", samples(&[value * 1.5]), Ratio::OursOverPeer).goal(Goal::MaxAtMost(value));
            assert!(long.line().chars().count() <= 80, "{}", long.line());
        }
    }
    assert!(head().chars().count() <= 80);
}

#[test]
fn the_document_of_a_run_has_the_keys_that_are_described() {
    let described = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/performance.md"));
    let described = described.expect("docs/performance.md");
    let rows = vec![row(&[1.0], &[2.0], Ratio::PeerOverOurs).goal(Goal::RatioAtLeast(1.0)).at("mib", 64.0)];
    let report = Report { rows, ..Report::default() };
    let document = report.json(json!({}), json!({}));
    assert_eq!(document["schema"], SCHEMA);
    assert!(described.contains(&format!("\"schema\": {SCHEMA}")), "docs/performance.md speaks of another schema");
    let mut keys = Vec::new();
    all_keys(&document, &mut keys);
    let missing: Vec<_> = keys.iter().filter(|k| *k != "mib" && !described.contains(&format!("`{k}`"))).collect();
    assert!(missing.is_empty(), "docs/performance.md does not describe {missing:?}");
}

fn all_keys(value: &Value, into: &mut Vec<String>) {
    match value {
        Value::Object(object) => {
            for (key, inner) in object {
                into.push(key.clone());
                all_keys(inner, into);
            }
        }
        Value::Array(values) => values.iter().for_each(|v| all_keys(v, into)),
        _ => {}
    }
}
