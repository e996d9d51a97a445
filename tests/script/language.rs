//! The measured traps of the language, and that this profile does not fall into them.

use crate::fake::{Bench, healthy, unconnected};

#[test]
fn a_script_cannot_swallow_the_interrupt() {
    for text in [
        "try { for i in 0..1000000 { let x = i; } } catch { } print(\"went on\");",
        "try { [1, 2].for_each(|x| { loop {} }) } catch { } print(\"went on\");",
        "try { sleep(\"1h\") } catch { } print(\"went on\");",
        "try { wait_until(|s| false) } catch { } print(\"went on\");",
        "while true { try { [1].map(|x| { loop {} }) } catch { } }",
    ] {
        let mut bench = Bench::new(healthy());
        bench.person.interrupt_at.set(Some(200));
        if text.contains("sleep") || text.contains("wait_until") {
            bench.person.interrupt_at.set(Some(8));
        }
        let error = bench.error(text);
        assert_eq!((error.code.as_str(), error.exit), ("interrupted", 130), "{text}");
        assert!(bench.person.printed.borrow().is_empty(), "{text}");
    }
}

#[test]
fn exit_ends_the_script_even_inside_a_closure_within_try() {
    for (text, code) in [
        ("exit(3); print(1)", 3),
        ("exit(); print(1)", 0),
        ("try { exit(4) } catch { } print(1)", 4),
        ("try { [1].for_each(|x| { exit(5) }) } catch { } print(1)", 5),
        ("fn f() { exit(6) } try { f() } catch { } print(1)", 6),
    ] {
        let mut bench = Bench::new(healthy());
        let value = bench.session.run_source("t", text).expect(text);
        assert_eq!(value.exit, Some(code), "{text}");
        assert!(bench.person.printed.borrow().is_empty(), "{text}");
    }
}

#[test]
fn a_missing_property_is_an_error_on_maps_and_on_records() {
    let mut bench = Bench::new(healthy());
    assert_eq!(bench.error("let m = #{ a: 1 }; m.b == 1").code, "property_not_found");
    let error = bench.error("state().dwon");
    assert_eq!(error.code, "unknown_property");
    assert!(error.message.contains("is it `down`?"), "{}", error.message);
}

#[test]
fn compiling_calls_nothing() {
    let bench = Bench::new(healthy());
    assert!(bench.session.check("t", "if false { restart() } recover()").is_empty());
    assert!(bench.fake.calls().is_empty());
}

#[test]
fn the_api_is_there_inside_functions_and_closures() {
    let mut bench = Bench::new(healthy());
    assert_eq!(bench.eval("fn n() { state().segments.len() } n()"), "8");
    assert_eq!(bench.eval("[1].map(|x| state().segments.len())[0]"), "8");
}

#[test]
fn numbers_of_the_api_are_plain_numbers() {
    let mut bench = Bench::new(healthy());
    assert_eq!(bench.eval("state().segments.len() == 8"), "true");
    assert_eq!(bench.eval("state().segments.len == 8"), "true");
    assert_eq!(bench.eval("state().segment(5).port + 1"), "6006");
    assert_eq!(bench.eval("state().segment(5).down_since_ms == ()"), "true");
}

#[test]
fn eval_is_off_and_undeclared_variables_do_not_compile() {
    let mut bench = Bench::new(healthy());
    assert_eq!(bench.error("eval(\"1\")").code, "syntax");
    assert_eq!(bench.error("let a = 1; b + a").code, "unknown_variable");
}

#[test]
fn deep_recursion_ends_as_an_error_of_the_script() {
    let mut bench = Bench::new(healthy());
    let error = bench.error("fn f(n) { f(n + 1) } f(0)");
    assert_eq!((error.code.as_str(), error.exit), ("stack_overflow", 1));
    assert_eq!(bench.eval("fn f(n) { if n == 0 { 0 } else { f(n - 1) } } f(50)"), "0");
}

#[test]
fn every_caught_error_has_a_code() {
    let mut bench = Bench::new(healthy());
    for (body, code) in [
        ("full_recover(#{ dbids: 5 })", "refused"),
        ("throw \"text\"", "thrown"),
        ("throw 5", "thrown"),
        ("throw #{ message: \"m\" }", "thrown"),
        ("throw #{ code: \"mine\" }", "mine"),
        ("throw true", "thrown"),
        ("throw 1.5", "thrown"),
        ("throw 'c'", "thrown"),
        ("throw [1]", "thrown"),
        ("throw ()", "thrown"),
        ("throw #{}", "thrown"),
        ("throw #{ a: 1 }", "thrown"),
        ("1 / 0", "arithmetic"),
        ("[1][7]", "array_bounds"),
        ("let m = #{}; m.x", "property_not_found"),
        ("state().dwon", "unknown_property"),
        ("sql(\"bad\")", "sql"),
        ("let s = \"a\"; s - 5.0 * s", "function_not_found"),
    ] {
        let text = format!("let c = (); try {{ {body}; }} catch (e) {{ c = e.code; }} c");
        assert_eq!(bench.eval(&text), code, "{body}");
        let text = format!("let c = (); try {{ {body}; }} catch (e) {{ c = type_of(e.message); }} c");
        assert_eq!(bench.eval(&text), "string", "{body}");
    }
    for body in ["throw true", "throw \"a\"", "throw #{ code: \"mine\" }", "1 / 0"] {
        let text = format!("let c = (); try {{ {body}; }} catch (e) {{ c = `${{e.exit}} [${{e.next}}]`; }} c");
        assert_eq!(bench.eval(&text), "1 []", "{body}");
    }
}

#[test]
fn a_record_never_quietly_differs_from_what_it_cannot_equal() {
    let mut bench = Bench::new(healthy());
    for text in [
        "state().down == 0",
        "state().down != 0",
        "0 == state().down",
        "state().segment(2) == \"sdw1\"",
        "state() == state().segment(2)",
        "state().content(2) == 2",
        "recover(#{ raise: false }) == \"done\"",
        "2 in [state().segment(2)]",
    ] {
        let error = bench.error(text);
        assert_eq!(error.code, "unknown_value", "{text}: {}", error.message);
    }
    for text in [
        "state().content(2).mirror != ()",
        "() != state().content(2).mirror",
        "state().segment(2) == state().segment(2)",
        "state().segment(2) != state().segment(3)",
        "state().segment(2) in [state().segment(3), state().segment(2)]",
        "state().segment(2) in state().segments",
        "state().segment(2).role in [state().segment(3).role]",
        "\"p\" in [state().segment(2).role]",
    ] {
        assert_eq!(bench.eval(text), "true", "{text}");
    }
}

#[test]
fn a_value_used_in_its_own_method_is_an_error_that_says_what_to_do() {
    let mut bench = Bench::new(healthy());
    let error = bench.error("let a = [1, 2]; let f = |x| a.len(); a.retain(f)");
    assert_eq!(error.code, "data_race", "{}", error.message);
    assert!(error.message.contains("copy it first"), "{}", error.message);
}

#[test]
fn a_line_beyond_those_that_are_counted_is_not_shown_as_another() {
    let mut bench = Bench::new(healthy());
    let text = format!("{}let m = #{{}}; m.x", "\n".repeat(70_000));
    let error = bench.error(&text);
    assert!(error.source_line.is_none(), "{error:?}");
    assert!(error.message.contains("65535 or later"), "{}", error.message);
}

#[test]
fn a_role_equals_its_letter_and_its_word_and_nothing_else_goes_unnoticed() {
    let mut bench = Bench::new(healthy());
    for text in [
        "state().segment(2).role == \"p\"",
        "state().segment(2).role == \"primary\"",
        "\"m\" == state().segment(6).role",
        "state().segment(2).role != \"m\"",
        "state().segment(2).mode == \"synchronized\"",
        "state().segment(2).status == state().segment(6).status",
        "state().segment(2).preferred_role == state().segment(2).role",
        "`${state().segment(2).status}` == \"up\"",
        "state().segment(2).role != ()",
        "state().segments.filter(|s| s.role == \"p\").len() == 4",
    ] {
        assert_eq!(bench.eval(text), "true", "{text}");
    }
    let error = bench.error("state().segment(2).status == \"donw\"");
    assert_eq!(error.code, "unknown_value");
    assert!(error.message.contains("is it \"down\"?"), "{}", error.message);
    assert_eq!(bench.error("state().segment(2).role == 5").code, "unknown_value");
    assert_eq!(bench.error("5 == state().segment(2).role").code, "unknown_value");
}

#[test]
fn a_text_goes_on_when_it_is_cut_short_and_not_when_it_is_wrong() {
    let session = unconnected();
    for text in [
        "if x {",
        "fn f(a,",
        "let a = [1,",
        "recover(#{",
        "recover(#{ contents: [1]",
        "switch a {",
        "let a =",
        "/* note",
        "print(`a",
        "x.",
        "recover(",
        "fn f() {\n  let a = 1;",
        "for i in",
    ] {
        assert!(session.is_incomplete(text), "{text}");
    }
    for text in [
        "1 + 1",
        "recover()",
        "let a = 1",
        ")",
        "let 5 = a",
        "\"open",
        "a b",
        "// note /*",
        "print(\"/*\")",
        "recover(#{ contents: [1] })",
        "fn f() { }",
        "if x { } }",
    ] {
        assert!(!session.is_incomplete(text), "{text}");
    }
}

#[test]
fn no_name_of_the_api_is_a_reserved_word() {
    let session = unconnected();
    let findings = |text: &str| session.check("t", text);
    for field in segsh::script::record_docs() {
        let text = format!("let r = #{{ {0}: 1 }}; r.{0}", field.name);
        assert_eq!(findings(&text), vec![], "{}.{}", field.record, field.name);
    }
    for entry in segsh::script::catalog() {
        for option in entry.options {
            let text = format!("let r = #{{ {0}: 1 }}; r.{0}", option.name);
            assert_eq!(findings(&text), vec![], "{}: {}", entry.full_name(), option.name);
        }
        assert_eq!(findings(entry.example), vec![], "the example of {}", entry.full_name());
    }
}

#[test]
fn every_entry_of_the_catalog_is_bound_in_every_form() {
    let signatures = unconnected().signatures();
    for entry in segsh::script::catalog() {
        for form in entry.forms {
            let shown = form.join(", ");
            let found = signatures.iter().any(|s| s.contains(&format!("{}({shown})", entry.name)));
            assert!(found, "{}({shown}) in {signatures:#?}", entry.full_name());
        }
    }
}

#[test]
fn a_defect_below_a_function_is_an_error_that_names_it_and_ends_nothing_else() {
    let mut bench = Bench::new(healthy());
    let error = bench.error("sql(\"panic\")");
    assert_eq!((error.code.as_str(), error.exit), ("internal", 1));
    assert!(error.message.starts_with("sql() failed inside"), "{}", error.message);
    assert_eq!(bench.eval("let c = (); try { sql(\"panic\") } catch (e) { c = e.code } c"), "internal");
    assert_eq!(bench.eval("state().segments.len()"), "8", "the session goes on");
}
