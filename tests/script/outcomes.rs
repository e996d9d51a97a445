//! What a call says of every segment it was asked about, and of what must hold for it.

use crate::fake::{Bench, Break, healthy};
use segsh::cluster::{PRECONDITIONS, State};

/// The lines of a call's outcome: dbid, status, how.
fn lines(bench: &mut Bench, call: &str) -> Vec<String> {
    let text = format!(
        "let o = {call}; let lines = []; for s in o.segments {{ lines.push(`${{s.dbid}} ${{s.status}} ${{s.how}}`) }} lines"
    );
    let value = bench.session.run_source("t", &text).unwrap_or_else(|e| panic!("{call}: {e}")).value;
    value.into_array().expect("a list").into_iter().map(|l| l.to_string().trim_end().to_string()).collect()
}

#[test]
fn every_segment_that_was_asked_about_has_a_line() {
    let mut state = healthy();
    state.lose_mirror(0);
    state.lose_mirror(2);
    state.detail(2).source_damaged = Some("block 881 unreadable".into());
    // One is recovered, one is left out for a reason, and one needs nothing.
    let call = "recover(#{ hosts: [\"sdw1\", \"sdw2\"], raise: false })";
    assert_eq!(lines(&mut Bench::new(state.clone()), call), ["6 done incremental", "8 refused"]);
    let call = "recover(#{ dbids: [6, 7], raise: false })";
    assert_eq!(lines(&mut Bench::new(state.clone()), call), ["6 done incremental", "7 done nothing to do"]);
    // Named, so that one refusal refuses the whole call: what could have been done is not passed over.
    let call = "recover(#{ contents: [0, 2, 3], raise: false })";
    assert_eq!(lines(&mut Bench::new(state.clone()), call), ["8 refused", "6 refused", "9 refused"]);
    let mut bench = Bench::new(state);
    let error = bench.error("recover(#{ contents: [0, 2] })");
    let notes: Vec<&str> = error.segments.iter().map(|s| s.note.as_str()).collect();
    assert_eq!(notes, ["source_damaged: block 881 unreadable", "the whole call is refused"]);
    assert_eq!(lines(&mut Bench::new(healthy()), "recover(#{ contents: 1 })"), ["7 done nothing to do"]);
    // What is not there has no line, and nothing is asked about no segment.
    assert_eq!(lines(&mut Bench::new(healthy()), "recover(#{ dbids: 99, raise: false })"), Vec::<String>::new());
    assert_eq!(lines(&mut Bench::new(healthy()), "recover()"), Vec::<String>::new());
}

#[test]
fn several_reasons_are_one_line_and_a_veto_names_what_it_kept_back() {
    let mut state = healthy();
    state.lose_mirror(0);
    state.host_down("sdw2");
    state.detail(0).incremental_impossible = Some("the map is gone".into());
    let error = Bench::new(state.clone()).error("recover(#{ contents: 0 })");
    assert_eq!(error.segments.len(), 1, "{error:#?}");
    let note = &error.segments[0].note;
    assert!(note.contains("host_down: ") && note.contains("; incremental_impossible: the map is gone"), "{note}");
    let mut state = healthy();
    state.lose_mirror(3);
    let text = "before(\"recover\", |p| { throw \"not now\" }); recover(#{ raise: false })";
    let mut bench = Bench::new(state);
    let value = bench.session.run_source("t", text).expect("it is returned");
    let json = value.to_json();
    assert_eq!((&json["segments"][0]["dbid"], &json["segments"][0]["status"]), (&9.into(), &"refused".into()));
}

#[test]
fn a_dry_run_returns_the_plan_it_would_have_applied() {
    let mut state = healthy();
    state.lose_mirror(0);
    let mut bench = Bench::with(state.clone(), None, true);
    let planned =
        "let o = recover(#{ contents: [0, 1] }); [o.status, o.plan.verb, o.plan.steps.len(), o.segments.len()]";
    assert_eq!(bench.eval(planned), "[\"planned\", \"recover\", 1, 2]");
    assert_eq!(
        lines(&mut Bench::with(state.clone(), None, true), "recover(#{ contents: [0, 1] })"),
        ["6 planned incremental", "7 done nothing to do"]
    );
    let mut bench = Bench::with(state.clone(), None, true);
    let json = bench.session.run_source("t", "recover()").expect("planned").to_json();
    assert_eq!(json["plan"]["steps"][0]["dbid"], 6, "{json:#}");
    let mut bench = Bench::with(state.clone(), None, true);
    assert_eq!(bench.eval("let p = plan_recover(); p.apply().plan == p"), "true");
    // What was done has none: the key is there, and empty.
    let json = Bench::new(state).session.run_source("t", "recover()").expect("done").to_json();
    assert_eq!(json.get("plan"), Some(&serde_json::Value::Null), "{json:#}");
}

fn check(state: &State, call: &str) -> serde_json::Value {
    let mut bench = Bench::new(state.clone());
    bench.session.run_source("t", call).unwrap_or_else(|e| panic!("{call}: {e}")).to_json()
}

#[test]
fn the_preconditions_of_a_call_are_data_and_those_of_the_table() {
    for verb in ["recover", "full_recover", "rebalance", "restart", "verify"] {
        let found = check(&healthy(), &format!("check(\"{verb}\")"));
        let codes: Vec<&str> = found.as_array().expect("a list").iter().filter_map(|c| c["code"].as_str()).collect();
        let lines = PRECONDITIONS.iter().filter(|p| p.verbs.contains(&verb));
        let table: Vec<&str> = lines.clone().map(|p| p.code.code()).collect();
        assert_eq!(codes, table, "{verb}");
        // A script tells two lines apart by their code alone.
        assert_eq!(lines.count(), codes.iter().collect::<std::collections::BTreeSet<_>>().len(), "{verb}");
        assert!(found.as_array().expect("a list").iter().all(|c| c["holds"] == true), "{found:#}");
    }
    let mut state = healthy();
    state.lose_mirror(2);
    let found = check(&state, "check(\"rebalance\").filter(|c| !c.holds)");
    let expected = serde_json::json!([{
        "code": "segment_down", "holds": false,
        "says": "no segment of the content is down (rebalance, verify); the catalog has decided about a dead one (recover)",
        "subject": "dbid 8 on sdw1", "content": 2, "dbid": 8, "host": "sdw1",
        "message": "mirror dbid 8 on sdw1:6008, process gone", "next": "recover(#{ contents: [2] })"
    }]);
    assert_eq!(found, expected);
    // The selection counts, as it does for the call.
    assert_eq!(check(&state, "check(\"rebalance\", #{ contents: 1 }).all(|c| c.holds)"), true);
}

#[test]
fn a_check_says_what_the_call_would_be_refused_with() {
    let mut states = vec![healthy()];
    let changes: [fn(&mut State); 4] =
        [|s| s.lose_mirror(0), |s| s.break_both(1), |s| s.host_down("sdw1"), |s| s.coordinator.pid = None];
    for change in changes {
        let mut state = healthy();
        change(&mut state);
        states.push(state);
    }
    for state in &states {
        for (verb, options) in
            [("recover", ""), ("rebalance", ""), ("restart", "#{ contents: 0 }"), ("recover", "#{ dbids: 99 }")]
        {
            let comma = if options.is_empty() { "" } else { ", " };
            let codes = |call: String| {
                let mut bench = Bench::new(state.clone());
                match bench.session.run_source("t", &call) {
                    Ok(value) => value.to_json().to_string(),
                    Err(error) => error.code,
                }
            };
            let checked = codes(format!("check(\"{verb}\"{comma}{options}).filter(|c| !c.holds).map(|c| c.code)"));
            let refused = codes(format!("plan_{verb}({options}).refusals.map(|r| r.code)"));
            let sorted = |text: &str| {
                let mut words: Vec<String> = text.split('"').skip(1).step_by(2).map(str::to_string).collect();
                words.sort();
                words
            };
            assert_eq!(sorted(&checked), sorted(&refused), "{verb}({options})");
        }
    }
    let error = Bench::new(healthy()).error("check(\"rebalnce\")");
    assert!(error.code == "unknown_subject" && error.message.contains("is it `rebalance`?"), "{error}");
    assert_eq!(Bench::new(healthy()).error("check(\"force_primary\")").code, "bad_option");
}

#[test]
fn what_is_refused_or_declined_before_it_is_asked_for_is_written_down() {
    use segsh::script::ui::Answer;
    let mut state = healthy();
    state.lose_mirror(0);
    let written = |text: &str, answer: Answer, dry_run: bool| {
        let mut bench = Bench::with(state.clone(), None, dry_run);
        bench.person.answer.replace(answer);
        let _ = bench.session.run_source("t", text);
        bench.fake.not_done.lock().expect("written").clone()
    };
    assert_eq!(written("recover(#{ dbids: 99 })", Answer::Yes, false), ["recover refused"]);
    assert_eq!(written("recover(#{ dbids: 99, raise: false })", Answer::Yes, false), ["recover refused"]);
    assert_eq!(written("before(\"*\", |p| { throw 1 }); recover()", Answer::Yes, false), ["recover refused"]);
    assert_eq!(written("let p = plan_recover(); recover(); p.apply()", Answer::Yes, false), ["recover refused"]);
    assert_eq!(written("recover()", Answer::No, false), ["recover declined"]);
    assert_eq!(written("confirm(plan_recover())", Answer::No, false), ["confirm declined"]);
    let none: [&str; 0] = [];
    assert_eq!(written("recover()", Answer::Yes, false), none, "the coordinator writes it down");
    assert_eq!(written("plan_recover(#{ dbids: 99 })", Answer::Yes, false), none, "a plan asks for nothing");
    assert_eq!(written("recover(#{ dbids: 99 })", Answer::Yes, true), none, "nor does a dry run");
}
