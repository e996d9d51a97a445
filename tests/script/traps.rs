//! The traps of the language, each with what a script meets there; the same list that `help("traps")` prints.

use crate::fake::{Bench, Break, healthy};
use segsh::script::{ScriptError, Severity, TRAPS, is_incomplete};
use std::collections::BTreeSet;

/// A trap's name, and the proof of what is said of it.
type Row = (&'static str, fn());

const ROWS: &[Row] = &[
    ("end_in_closure", || {
        for text in ["try { [1].for_each(|x| { loop { } }) } catch { }", "try { [1].map(|x| sleep(\"1h\")) } catch { }"]
        {
            let mut bench = Bench::new(healthy());
            bench.person.interrupt_at.set(Some(40));
            assert_eq!(bench.error(&format!("{text} print(\"went on\")")).code, "interrupted", "{text}");
            assert!(bench.person.printed.borrow().is_empty(), "{text}");
        }
    }),
    ("steps_in_closure", || {
        let hook = "before(\"recover\", |p| { let n = 0; [1, 2].for_each(|x| { while true { n += 1 } }) });";
        let error = lost_mirror(&format!("{hook} recover()"));
        assert_eq!((error.code.as_str(), error.refusals[0].code.code()), ("refused", "vetoed"));
        assert!(error.refusals[0].cause.contains("1000000 steps"), "{}", error.refusals[0].cause);
    }),
    ("exit_in_closure", || {
        let value = Bench::new(healthy()).session.run_source("t", "try { [1].map(|x| exit(3)) } catch { } exit(4)");
        assert_eq!(value.expect("no error").exit, Some(3));
    }),
    ("function_scope", || {
        let error = error("let x = 5; fn f() { x } f()");
        assert!(error.code == "unknown_variable" && error.next.contains("fn f(x)"), "{error}");
    }),
    ("compile_time", || {
        let bench = Bench::new(healthy());
        assert!(bench.session.check("t", "restart(); recover(#{ contents: 0 }); state()").is_empty());
        assert!(bench.fake.calls().is_empty());
    }),
    ("statements_of_module", || {
        let dir = tempfile::tempdir().expect("a folder");
        std::fs::write(dir.path().join("m.rhai"), "fn f() { 1 }\nprint(\"at each import\");\n").expect("a file");
        std::fs::write(dir.path().join("s.rhai"), "import \"m\" as m; m::f()").expect("a file");
        let error = Bench::new(healthy()).session.run_file(&dir.path().join("s.rhai"), &[]).expect_err("it acts");
        assert_eq!(error.code, "module");
    }),
    ("missing_key", || {
        assert_eq!(code("let m = #{ a: 1 }; m.b"), "property_not_found");
        let error = error("state().segment(2).staus");
        assert!(error.code == "unknown_property" && error.message.contains("is it `status`?"), "{error}");
    }),
    ("unequal_types", || {
        for text in ["state().down == 0", "state().segment(2).role == \"x\"", "state().segment(2) == \"u\""] {
            assert_eq!(code(text), "unknown_value", "{text}");
        }
        assert_eq!(warning("if \"1\" == 1 { print(1) }"), "never_equal");
        assert_eq!(value("let a = \"1\"; let b = 1; a == b"), "false");
        assert_eq!(value("let s = state().segment(2); s.status == \"u\" && s.status == \"up\""), "true");
    }),
    ("whole_numbers", || {
        assert_eq!((value("1 / 2"), value("1.0 / 2")), ("0".into(), "0.5".into()));
        assert_eq!(value("1 + 2.5"), "3.5");
    }),
    ("big_number", || {
        assert_eq!(warning("let n = 9223372036854775808; n"), "big_number");
        assert_eq!(code("let n = 9223372036854775807; n + 1"), "arithmetic");
    }),
    ("plain_quotes", || {
        assert_eq!(warning("let x = 1; \"${x}\""), "plain_quotes");
        assert_eq!(value("let x = 1; `${x}`"), "1");
    }),
    ("no_defaults", || {
        assert_eq!(code("recover(#{ contens: 2 })"), "unknown_option");
        assert_eq!(code("fn f(a = 1) { a } f()"), "syntax");
    }),
    ("lists_of_records", || {
        let text = "let n = 0; for s in state().segments { n += 1 } \
                    let s = state().segments; n == s.len() && s[0] == s[0] && s[0] in s && `${s[0]}` != \"\" \
                    && s.filter(|x| x.status == \"u\").len() == n && state().segment(2).role in [\"p\"]";
        assert_eq!(value(text), "true");
        assert_eq!(value("let n = 0; for r in sql(\"select 1\") { n += 1 } n"), "2");
    }),
    ("shadowing", || {
        assert_eq!(code("fn state() { [] } state()"), "shadows_api");
        assert_eq!(code("import \"std/recover_double_fault\" as fault; 1"), "shadows_api");
    }),
    ("caught_errors", || {
        for thrown in
            ["1 / 0", "throw \"x\"", "throw #{ a: 1 }", "throw 5", "throw ()", "recover(#{ dbids: 99 })", "[1][7]"]
        {
            let text =
                format!("let e = (); try {{ {thrown} }} catch (err) {{ e = err }} e.code != \"\" && e.message != ()");
            assert_eq!(value(&text), "true", "{thrown}");
        }
        assert_eq!(value("let c = 0; try { throw #{ code: \"mine\", more: [1] } } catch (e) { c = e.more[0] } c"), "1");
    }),
    ("try_is_a_statement", || {
        assert_eq!(value("let x = 0; try { x = 1 } catch { x = 2 } x"), "1");
        assert_eq!(code("let x = try { 1 } catch { 2 }; x"), "syntax");
    }),
    ("panic", || {
        let mut bench = Bench::new(healthy());
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(|_| ()));
        let code = bench.error("sql(\"panic\")").code;
        std::panic::set_hook(hook);
        assert_eq!(code, "internal");
        assert_eq!(bench.eval("1 + 1"), "2");
    }),
    ("data_race", || {
        let error = error("let list = [1]; let f = || list.push(2); list.for_each(|x| f.call())");
        assert!(error.code == "data_race" && error.message.contains("copy it first"), "{error}");
    }),
    ("shared_variable", || {
        assert_eq!(warning("let all = []; for i in 0..3 { all.push(|| i) } all"), "shared_variable");
    }),
    ("several_lines", || {
        for text in ["recover(", "if true {", "let a = `x", "/* begun", "switch 1 { 1 =>"] {
            assert!(is_incomplete(text), "{text}");
        }
        assert!(!is_incomplete("recover()"));
    }),
    ("line_65535", || {
        let error = error(&format!("{}throw 1", "\n".repeat(70_000)));
        assert!(error.message.contains("65535 or later") && error.source_line.is_none(), "{error}");
    }),
    ("first_line", || assert_eq!(value("#!/usr/bin/env segsh\n1"), "1")),
    ("exit_code", || {
        for text in ["1 / 0", "throw \"x\"", "nothing", "let", "recover(#{ dbids: 99 })"] {
            assert_ne!(error(text).exit, 0, "{text}");
        }
    }),
    ("waiting", || {
        for text in ["sleep(\"1h\")", "wait_until(|s| false)"] {
            let mut bench = Bench::new(healthy());
            bench.person.interrupt_at.set(Some(20));
            assert_eq!(bench.error(text).exit, 130, "{text}");
        }
    }),
    ("no_resume", || {
        let mut state = healthy();
        state.lose_mirror(0);
        let mut bench = Bench::new(state);
        assert_eq!(bench.eval("recover(); recover().message"), "nothing to do");
        assert_eq!(bench.fake.calls().iter().filter(|c| c.starts_with("recover")).count(), 1);
    }),
    ("switch", || {
        assert_eq!(code("switch state().segment(2).role { \"p\" => 1, _ => 2 }"), "switch_on_record");
        assert_eq!(value("switch state().segment(2).role.letter { \"p\" => 1, _ => 2 }"), "1");
    }),
];

fn error(text: &str) -> ScriptError {
    Bench::new(healthy()).error(text)
}

fn code(text: &str) -> String {
    error(text).code
}

fn value(text: &str) -> String {
    Bench::new(healthy()).eval(text)
}

fn lost_mirror(text: &str) -> ScriptError {
    let mut state = healthy();
    state.lose_mirror(0);
    Bench::new(state).error(text)
}

/// The only finding of a text that runs all the same.
fn warning(text: &str) -> String {
    let found = Bench::new(healthy()).session.check("t", text);
    assert_eq!((found.len(), found.first().map(|f| f.severity)), (1, Some(Severity::Warning)), "{text}: {found:#?}");
    assert!(Bench::new(healthy()).session.run_source("t", text).is_ok(), "{text}");
    found[0].code.clone()
}

#[test]
fn every_trap_of_the_language_is_met_as_it_is_told() {
    for (name, proof) in ROWS {
        println!("{name}");
        proof();
    }
}

#[test]
fn every_trap_that_is_told_is_proven_and_every_code_in_it_has_help() {
    let told: BTreeSet<&str> = TRAPS.iter().map(|(name, _)| *name).collect();
    let proven: BTreeSet<&str> = ROWS.iter().map(|(name, _)| *name).collect();
    assert_eq!(told, proven);
    for (name, answer) in TRAPS {
        for kind in ["error ", "warning "] {
            for rest in answer.split(kind).skip(1) {
                let code: String = rest.chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect();
                let is_code = code.contains('_') || segsh::script::ERROR_CODES.iter().any(|(known, _)| *known == code);
                assert!(is_code, "{name} names `{code}`, which is no code");
                assert!(segsh::script::help_about(&code).is_ok(), "{name}: help(\"{code}\")");
            }
        }
    }
    let help = segsh::script::help_about("traps").expect("help about them");
    assert!(TRAPS.iter().all(|(name, _)| help.contains(name)), "{help}");
}

#[test]
fn every_refusal_code_is_documented_with_its_cause_and_a_step_that_can_be_typed() {
    use segsh::cluster::RefusalCode;
    let reference = segsh::script::reference();
    for code in RefusalCode::ALL {
        let explain = code.explain();
        let sentences = explain.split_inclusive(['.', ':', ';']).filter(|s| s.trim().len() > 1).count();
        assert!(sentences >= 2, "{} says a cause and a next step: {explain}", code.code());
        let typed = ["()", "(#{", "(\"", "(N)", "segsh "];
        assert!(typed.iter().any(|t| explain.contains(t)), "{} names what can be typed: {explain}", code.code());
        assert!(segsh::script::help_about(code.code()).is_ok_and(|text| text.starts_with(code.code())));
        assert!(reference.contains(&format!("| `{}` | {explain}", code.code())), "{}", code.code());
    }
}
