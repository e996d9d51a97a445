//! `segsh check`: what is found before anything runs, and where.

use crate::fake::{Bench, healthy, unconnected};
use segsh::script::{Finding, Severity};

fn findings(text: &str) -> Vec<Finding> {
    unconnected().check("t.rhai", text)
}

fn codes(text: &str) -> Vec<String> {
    findings(text).into_iter().map(|f| f.code).collect()
}

/// The place and the line of the only finding.
fn place(text: &str) -> (String, String) {
    let found = findings(text);
    assert_eq!(found.len(), 1, "{text}: {found:#?}");
    let at = found[0].position.as_ref().map(ToString::to_string).unwrap_or_default();
    (at, found[0].source_line.clone().unwrap_or_default())
}

#[test]
fn an_unknown_option_is_found_in_dead_code_too_with_its_place_and_near_miss() {
    let found = findings("let a = 1;\nif false { recover(#{ contens: 3 }) }");
    assert_eq!(found.len(), 1, "{found:#?}");
    assert_eq!(found[0].message, "recover() has no option `contens`; is it `contents`?");
    assert_eq!(found[0].position.as_ref().map(ToString::to_string).as_deref(), Some("t.rhai:2:23"));
    assert_eq!(found[0].source_line.as_deref(), Some("if false { recover(#{ contens: 3 }) }"));
    assert!(found[0].options.contains(&"rate".to_string()));
    assert_eq!(found[0].severity, Severity::Error);
}

#[test]
fn literal_values_that_no_form_takes_are_found_and_the_others_pass() {
    for (text, code) in [
        ("recover(#{ timeout: 10 })", "bad_option"),
        ("recover(#{ timeout: \"10\" })", "bad_option"),
        ("restart(#{ mode: \"fsat\" })", "bad_option"),
        ("recover(2)", "bare_number"),
        ("recover(#{ contents: \"two\" })", "bad_option"),
        ("wait_until(\"synchronized\", #{ stall: 1 })", "bad_option"),
        ("plan_recover().apply(#{ contents: 1 })", "unknown_option"),
        ("sleep(5)", "bad_time"),
        ("sleep(\"5\")", "bad_time"),
        ("fts_pause(10)", "bad_time"),
        ("demo::load(\"much\")", "bad_size"),
        ("ping(2)", "type_mismatch"),
        ("sql(\"a\", \"b\")", "type_mismatch"),
        ("evidence(\"2\")", "type_mismatch"),
    ] {
        assert_eq!(codes(text), [code], "{text}");
    }
    for text in [
        "recover(#{ contents: [1, 2], timeout: \"10m\", rate: \"50 MiB/s\", wait: false })",
        "let n = 2; recover(#{ contents: n, dbids: [n, 3] })",
        "let o = #{ contents: 1 }; recover(o)",
        "sql(2, \"select 1\"); sql(\"select $1\", [1]); sql(2, \"select $1\", [1])",
        "procedure(\"heal\", #{ content: 2 })",
        "setting(\"a\", 5); setting(\"a\", \"b\")",
        "fault::kill(state().segment(2)); exit(3); sleep(\"5s\")",
        "let f = |s| true; wait_until(f); wait_until(|s| s.operational, #{ timeout: \"1m\" })",
    ] {
        assert_eq!(codes(text), Vec::<String>::new(), "{text}");
    }
}

#[test]
fn whatever_takes_the_place_of_the_api_is_found_where_it_is_written() {
    assert_eq!(
        place("let a = 1;\n\n// fn state\nfn state() { [] }"),
        ("t.rhai:4:4".into(), "fn state() { [] }".into())
    );
    assert_eq!(
        place("import \"std/recover_double_fault\" as fault;").1,
        "import \"std/recover_double_fault\" as fault;"
    );
    assert_eq!(codes("import \"std/recover_double_fault\" as fault;"), ["shadows_api"]);
    assert_eq!(codes("fn content(n) { 1 } state().content(2)"), ["shadows_api"]);
    assert_eq!(codes("fn report() { 1 } report()"), Vec::<String>::new(), "no method of that name is called");
}

#[test]
fn an_unknown_namespace_names_the_near_one() {
    let found = findings("falt::kill(1)");
    assert_eq!((found[0].code.as_str(), found.len()), ("unknown_namespace", 1));
    assert!(found[0].message.contains("is it `fault`?"), "{}", found[0].message);
    assert_eq!(codes("if false { fault::nope::x() }"), ["unknown_namespace"]);
}

#[test]
fn a_switch_on_what_never_equals_a_case_is_found() {
    for text in [
        "switch state().segment(2).role { \"p\" => 1, _ => 2 }",
        "let s = state().segment(2); switch s.status { \"d\" => 1, _ => 2 }",
        "for s in state().segments { switch s.mode { \"s\" => 1, _ => 2 } }",
        "switch state().content(2) { 2 => 1, _ => 2 }",
    ] {
        assert_eq!(codes(text), ["switch_on_record"], "{text}");
    }
    for text in [
        "switch state().segment(2).role.letter { \"p\" => 1, _ => 2 }",
        "let o = recover(); switch o.status { \"done\" => 1, _ => 2 }",
        "switch 3 { 1 => 1, _ => 2 }",
    ] {
        assert_eq!(codes(text), Vec::<String>::new(), "{text}");
    }
}

#[test]
fn warnings_name_quiet_traps_and_keep_nothing_from_running() {
    for (text, code) in [
        ("let x = 1; print(\"is ${x}\")", "plain_quotes"),
        ("let n = 9223372036854775808; print(n)", "big_number"),
        ("if \"1\" == 1 { print(1) }", "never_equal"),
        ("let all = []; for i in 0..3 { all.push(|| i) }", "shared_variable"),
        ("//! A module.\n\nfn f() { 1 }\nprint(f());", "not_a_module"),
    ] {
        let found = findings(text);
        assert_eq!((found.len(), found.first().map(|f| f.code.as_str())), (1, Some(code)), "{text}: {found:#?}");
        assert_eq!(found[0].severity, Severity::Warning);
        assert!(Bench::new(healthy()).session.run_source("t", text).is_ok(), "{text}");
    }
    for text in [
        "let x = 1; print(`is ${x}`)",
        "//! A module.\nimport \"std/recover_double_fault\" as p;\nfn f() { 1 }",
        "// A script.\nprint(1);",
        "print(\"costs $5 {now}\")",
        "let n = 9223372036854775807; let f = 1e30; let g = 2.0",
        "let x = 1; if x == \"1\" { }",
        "for i in 0..3 { print([1, 2].filter(|x| x > i).len()) }",
    ] {
        assert_eq!(codes(text), Vec::<String>::new(), "{text}");
    }
}

#[test]
fn a_function_that_uses_a_variable_of_the_script_is_told_to_take_it_as_a_parameter() {
    for text in ["let x = 5; fn f() { x } f()", "const x = 5; fn f() { x + 1 } f()"] {
        let found = findings(text);
        assert_eq!(found[0].code, "unknown_variable", "{text}");
        assert!(found[0].message.contains("function"), "{}", found[0].message);
        assert!(found[0].next.contains("fn f(x)"), "{}", found[0].next);
    }
    let mut bench = Bench::new(healthy());
    assert!(bench.session.eval_line("let x = 5").is_ok());
    let defined = bench.session.eval_line("fn f() { x }").and_then(|_| bench.session.eval_line("f()"));
    let error = defined.expect_err("x is not seen");
    assert!(error.message.contains("function"), "{}", error.message);
}

#[test]
fn the_bodies_of_imported_modules_are_checked_at_their_own_place() -> Result<(), Box<dyn std::error::Error>> {
    let dir = tempfile::tempdir()?;
    let module = dir.path().join("heal.rhai");
    std::fs::write(&module, "fn heal() {\n    if false { recoverr() }\n}\n")?;
    let script = dir.path().join("nightly.rhai");
    std::fs::write(&script, "import \"heal\" as h;\nh::heal();\n")?;
    let mut bench = Bench::new(healthy());
    let error = bench.session.run_file(&script, &[]).expect_err("the module has a fault");
    assert_eq!(error.code, "unknown_function");
    let at = error.position.as_ref().map(ToString::to_string).unwrap_or_default();
    assert!(at.ends_with("heal.rhai:2:16"), "{at}");
    assert_eq!(error.source_line.as_deref(), Some("    if false { recoverr() }"));
    Ok(())
}
