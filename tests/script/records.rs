//! Records: they print, compare, and become maps and JSON.

use crate::fake::{Bench, Break, healthy};
use segsh::script::json::state_json;

#[test]
fn the_state_has_the_documented_json() {
    let mut state = healthy();
    state.fail_over(2);
    let json = state_json(&state);
    for key in [
        "cluster",
        "operational",
        "coordinator",
        "hosts",
        "segments",
        "rows",
        "down",
        "single_copy",
        "double_fault",
        "unbalanced",
        "contents",
        "age_ms",
        "schema",
    ] {
        assert!(json.get(key).is_some(), "{key}");
    }
    let segment = &json["segments"][2];
    for (key, value) in [
        ("role", "m"),
        ("role_name", "mirror"),
        ("preferred_role", "p"),
        ("preferred_role_name", "primary"),
        ("mode", "s"),
        ("mode_name", "synchronized"),
        ("status", "d"),
        ("status_name", "down"),
        ("host", "sdw2"),
    ] {
        assert_eq!(segment[key], value, "{key}");
    }
    assert_eq!(segment["alive"], false);
    assert!(segment["pid"].is_null());
    assert_eq!(json["segments"].as_array().map(Vec::len), Some(8));
    assert_eq!(json["rows"].as_array().map(Vec::len), Some(9));
    assert_eq!(json["rows"][0]["content"], -1);
    assert_eq!(json["coordinator"]["pid"], 900);
    assert_eq!(json["down"], serde_json::json!([4]));
}

#[test]
fn every_record_prints_compares_and_converts() {
    let mut state = healthy();
    state.lose_mirror(2);
    let mut bench = Bench::new(state);
    for text in [
        "state()",
        "state().segment(2)",
        "state().content(2)",
        "state().host(\"sdw1\")",
        "state().coordinator",
        "state().rows[0]",
        "plan_recover()",
        "plan_rebalance().refusals[0]",
        "recover(#{ wait: false })",
        "recover(#{ wait: false }).segments[0]",
        "sql(\"s\")",
    ] {
        let script = format!(
            "let a = {text}; let b = a; [a == b, a != b, `${{a}}`.len() > 0, a.to_debug().len() > 0, type_of(a.to_map()) == \"map\", a.to_json().len() > 2].to_string()"
        );
        assert_eq!(bench.eval(&script), "[true, false, true, true, true, true]", "{text}");
    }
}

#[test]
fn printing_goes_through_the_screens() {
    let mut bench = Bench::new(healthy());
    bench.eval("print(state()); print(state().segments.len()); print(state().down.len()); debug(state())");
    assert_eq!(*bench.person.printed.borrow(), ["state of demo", "8", "0"]);
    assert!(bench.person.noted.borrow()[0].contains("state of demo"));
}

#[test]
fn a_list_of_segments_iterates_indexes_filters_and_maps() {
    let mut state = healthy();
    state.fail_over(2);
    let mut bench = Bench::new(state);
    assert_eq!(bench.eval("let n = 0; for s in state().segments { n += s.dbid; } n"), "44");
    assert_eq!(bench.eval("state().segments[0].dbid"), "2");
    assert_eq!(bench.eval("state().segments[-1].dbid"), "9");
    assert_eq!(bench.error("state().segments[8]").code, "out_of_bounds");
    assert_eq!(bench.eval("state().down.map(|s| s.dbid).to_string()"), "[4]");
    assert_eq!(bench.eval("state().unbalanced.dbids.to_string()"), "[4, 8]");
    assert_eq!(bench.eval("state().single_copy.to_string()"), "[2]");
    assert_eq!(bench.eval("state().segment(4) in state().down"), "true");
    assert_eq!(bench.eval("state().content(2).primary.dbid"), "8");
    assert_eq!(bench.error("state().segments.filter(|s| 1)").code, "type_mismatch");
    assert_eq!(bench.error("state().segment(99)").code, "unknown_target");
    assert_eq!(bench.error("state().host(\"sdw\")").next, "state()");
}

#[test]
fn rows_index_by_position_and_by_column_and_null_is_unit() {
    let mut bench = Bench::new(healthy());
    assert_eq!(bench.eval("sql(\"s\")[0][\"case\"]"), "x");
    assert_eq!(bench.eval("sql(\"s\")[1][\"case\"] == ()"), "true");
    assert_eq!(bench.eval("let t = 0; for r in sql(2, \"s\", [7]) { t += r[\"id\"]; } t"), "15");
    assert_eq!(bench.eval("sql(\"s\").columns.to_string()"), "[\"id\", \"case\"]");
    assert_eq!(bench.eval("sql_all(\"s\").len()"), "2");
    assert_eq!(bench.error("sql(\"s\").one()").code, "not_one_row");
    assert_eq!(bench.error("sql(\"s\")[0][\"csae\"]").code, "unknown_column");
    let error = bench.error("sql(\"bad\")");
    assert_eq!((error.code.as_str(), error.sqlstate.as_str()), ("sql", "42601"));
    assert!(bench.fake.calls().contains(&"sql Content(Content(2)) s [Int(7)]".to_string()));
}

#[test]
fn traffic_counts_nothing_where_nobody_listens_and_is_one_a_session() {
    let mut bench = Bench::new(healthy());
    bench.session.eval_line("let t = demo::traffic();").expect("traffic");
    let same = bench.session.eval_line("t == demo::traffic()").expect("same");
    assert_eq!(same.value.to_string(), "true");
    let report = bench.session.eval_line("let r = t.stop(); [r.acknowledged, r.lost, r.found]").expect("stop");
    assert_eq!(report.value.to_string(), "[0, 0, 0]");
}
