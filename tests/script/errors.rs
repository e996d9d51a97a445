//! Errors as data: where, how it was reached, what is next.

use crate::fake::{Bench, healthy, unconnected};
use segsh::script::ErrorKind;

#[test]
fn an_error_names_file_line_column_source_line_and_the_way_there() {
    let mut bench = Bench::new(healthy());
    let text = "fn heal(o) {\n    recover(o);\n}\n\nheal(#{ contens: 2 });\n";
    let error = bench.session.run_source("site/nightly.rhai", text).expect_err("error");
    let at = error.position.as_ref().map(ToString::to_string);
    assert_eq!(at.as_deref(), Some("site/nightly.rhai:2:5"));
    assert_eq!(error.source_line.as_deref(), Some("    recover(o);"));
    assert_eq!(error.call_stack.len(), 1);
    assert_eq!(error.call_stack[0].function, "heal");
    let called = error.call_stack[0].called_at.as_ref().map(ToString::to_string);
    assert_eq!(called.as_deref(), Some("site/nightly.rhai:5:1"));
    assert_eq!((error.code.as_str(), error.exit, error.kind), ("unknown_option", 1, ErrorKind::Api));
}

#[test]
fn a_text_that_is_not_rhai_is_a_syntax_error_with_its_place() {
    let mut bench = Bench::new(healthy());
    let error = bench.error("let a = 1;\nlet b = ;\n");
    assert_eq!((error.code.as_str(), error.kind), ("syntax", ErrorKind::Syntax));
    assert_eq!(error.position.map(|p| p.line), Some(2));
    assert_eq!(error.source_line.as_deref(), Some("let b = ;"));
}

#[test]
fn the_check_finds_unknown_functions_wrong_arities_and_shadowing_before_anything_runs() {
    let mut bench = Bench::new(healthy());
    for (text, code, said) in [
        ("print(1); recoverr()", "unknown_function", "is it `recover`?"),
        ("print(1); fault::kil(1)", "unknown_function", "is it `kill`?"),
        ("print(1); rebalance(1, 2)", "wrong_arity", "0 or 1"),
        ("print(1); fault::kill()", "wrong_arity", "1 arguments"),
        ("print(1); if false { stat() }", "unknown_function", "is it `state`?"),
        ("print(1); state().contnt(2)", "unknown_function", "is it `content`?"),
        ("fn state() { [] } print(1)", "shadows_api", "state()"),
        ("import \"std/recover_double_fault\" as p; p::rum(#{})", "unknown_function", "is it `run`?"),
        ("import \"std/nothing\" as p; print(1)", "module", "std/nothing"),
    ] {
        let error = bench.error(text);
        assert_eq!(error.code, code, "{text}: {}", error.message);
        assert!(error.message.contains(said), "{text}: {}", error.message);
        assert_eq!(error.exit, 1);
        assert!(bench.person.printed.borrow().is_empty(), "{text}");
    }
}

#[test]
fn the_check_lets_every_ordinary_script_pass() {
    let session = unconnected();
    for text in [
        "let f = |x| x + 1; f.call(2); f(3)",
        "let m = #{ act: |x| x }; m.act(1)",
        "fn twice(x) { x * 2 } [1, 2].map(|n| twice(n)).filter(|n| n > 2).len()",
        "let s = \"a-b\"; s.split(\"-\"); s.to_upper(); s.len",
        "switch 3 { 1 => print(1), _ => print(2) }",
        "let a = [3, 1]; a.sort(); a.push(4); a += 5; 1 in a",
        "fn up() { this + 1 } let n = 1; n.up()",
        "let x = 5; x.abs(); x.to_string(); `${x}`; x.type_of(); timestamp()",
        "for (s, i) in state().segments { print(`${i} ${s.dbid}`) }",
        "try { recover() } catch (e) { print(e.code); throw e; }",
        "let t = demo::traffic(); t.report(); t.stop().lost",
        "#!/usr/bin/env segsh\nprint(args().len())",
    ] {
        assert_eq!(session.check("t", text), vec![], "{text}");
    }
}

#[test]
fn lines_at_the_prompt_share_variables_functions_and_imports() {
    let mut bench = Bench::new(healthy());
    let mut line = |text: &str| bench.session.eval_line(text).map(|v| v.value.to_string());
    assert!(line("let a = 1").is_ok());
    assert!(line("fn add(x) { x + 1 }").is_ok());
    assert_eq!(line("add(a)").ok().as_deref(), Some("2"));
    assert!(line("import \"std/recover_with_mirroring\" as p;").is_ok());
    assert_eq!(line("p::plan(#{}).is_empty").ok().as_deref(), Some("true"));
    let error = line("nope(a)").expect_err("unknown");
    assert_eq!(error.position.map(|p| (p.line, p.col)), Some((1, 1)));
    assert_eq!(error.source_line.as_deref(), Some("nope(a)"));
    assert!(line("let f = |x| x + a;").is_ok());
    assert_eq!(line("f.call(1)").ok().as_deref(), Some("2"));
    assert_eq!(line("a").ok().as_deref(), Some("1"), "an error loses nothing");
}

#[test]
fn an_error_in_a_function_of_an_earlier_entry_names_that_entry() {
    let mut bench = Bench::new(healthy());
    let mut line = |text: &str| bench.session.eval_line(text);
    assert!(line("let a = 1").is_ok());
    assert!(line("fn f(m) {\n    m.nothing\n}").is_ok());
    assert!(line("import \"std/recover_with_mirroring\" as p;").is_ok());
    assert!(line("2 + 2").is_ok());
    let error = line("let b = 1; f(#{})").expect_err("no such property");
    assert_eq!(error.position.as_ref().map(ToString::to_string).as_deref(), Some("prompt:2:2:7"));
    assert_eq!(error.source_line.as_deref(), Some("    m.nothing"));
    let called = error.call_stack[0].called_at.as_ref().map(ToString::to_string);
    assert_eq!(called.as_deref(), Some("prompt:1:12"));
    let error = line("1 +\n  nothing").expect_err("no such variable");
    assert_eq!(error.position.as_ref().map(ToString::to_string).as_deref(), Some("prompt:2:3"));
    assert_eq!(error.source_line.as_deref(), Some("  nothing"));
}

#[test]
fn an_error_that_is_thrown_again_keeps_its_code() {
    let mut bench = Bench::new(healthy());
    let error = bench.error("try { full_recover(#{ dbids: 5 }) } catch (e) { throw e; }");
    assert_eq!((error.code.as_str(), error.exit, error.refusals.len()), ("refused", 4, 1));
    assert_eq!(bench.error("try { 1 / 0 } catch (e) { throw e; }").code, "arithmetic");
    let error = bench.error("throw \"mine\"");
    assert_eq!((error.code.as_str(), error.message.as_str(), error.exit), ("thrown", "mine", 1));
}

#[test]
fn help_explains_every_function_record_and_code() {
    for entry in segsh::script::catalog() {
        let text = segsh::script::help_about(&entry.full_name()).expect("help");
        // Long examples wrap.
        let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(words(&text).contains(&words(entry.example)), "{}", entry.full_name());
    }
    for code in segsh::cluster::RefusalCode::ALL {
        assert!(segsh::script::help_about(code.code()).is_ok(), "{code:?}");
    }
    for field in segsh::script::record_docs() {
        assert!(segsh::script::help_about(field.record).is_ok(), "{}", field.record);
    }
    let near = segsh::script::help_about("recovr").expect_err("near");
    assert!(near.message.contains("is it `recover`?"));
}
