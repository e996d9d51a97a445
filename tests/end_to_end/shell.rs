//! Batch use: scripts, exit codes, errors, JSON.

use crate::support::{Cluster, Place};
use serde_json::Value;

#[test]
fn a_script_from_stdin_prints_only_what_it_prints() {
    let cluster = Cluster::new(1);
    let ran = cluster.script("print(state().down.len())").ok();
    assert_eq!(ran.stdout, "0\n");
    assert_eq!(ran.stderr, "");
    assert_eq!(cluster.script("state()").ok().stdout, "", "a value is not printed from stdin");
    assert_eq!(cluster.eval("1 + 1").ok().text(), "2", "a value of -e is");
}

#[test]
fn a_script_file_gets_its_arguments_and_may_choose_its_exit_code() {
    let cluster = Cluster::new(1);
    let file = cluster.place().file("args.rhai", "print(args());\nexit(42);\n");
    let dir = cluster.dir().to_str().expect("a plain name");
    let file = file.to_str().expect("a plain name");
    // After the file everything belongs to the script.
    let ran = cluster.place().segsh(&["-c", dir, file, "--yes", "two"]).exits(42);
    assert!(ran.stdout.contains("--yes") && ran.stdout.contains("two"), "{}", ran.stdout);
}

#[test]
fn a_script_error_exits_1_and_shows_file_line_column_source_and_caret() {
    let cluster = Cluster::new(1);
    let file =
        cluster.place().file("nightly.rhai", "let s = state();\nlet opts = #{ contens: [0] };\nrecover(opts);\n");
    let dir = cluster.dir().to_str().expect("a plain name");
    let ran = cluster.place().segsh(&["-c", dir, file.to_str().expect("a plain name")]).exits(1);
    assert_eq!(ran.stdout, "", "errors are not data");
    assert!(ran.stderr.contains("unknown_option"), "{}", ran.stderr);
    assert!(ran.stderr.contains("contents"), "the near miss: {}", ran.stderr);
    assert!(ran.stderr.contains("nightly.rhai:3:"), "file, line and column: {}", ran.stderr);
    assert_caret_under(&ran.stderr, "recover(opts);");
}

#[test]
fn a_syntax_error_is_placed_too() {
    let cluster = Cluster::new(1);
    let ran = cluster.script("let a = 1;\nlet b = ;\n").exits(1);
    assert!(ran.stderr.contains(":2:9"), "{}", ran.stderr);
    assert_caret_under(&ran.stderr, "let b = ;");
}

#[test]
fn an_unknown_function_is_found_before_anything_runs() {
    let cluster = Cluster::new(1);
    let ran = cluster.script("print(\"began\");\nif false { recoverr(); }\n").exits(1);
    assert_eq!(ran.stdout, "", "nothing ran");
    assert!(ran.stderr.contains("recoverr"), "{}", ran.stderr);
}

/// The source line is quoted, and the line below it has the caret beneath a character of it.
#[track_caller]
fn assert_caret_under(said: &str, source: &str) {
    let lines: Vec<&str> = said.lines().collect();
    let at = lines.iter().position(|l| l.contains(source)).unwrap_or_else(|| panic!("no `{source}` in\n{said}"));
    let begins = lines[at].find(source).expect("it was found");
    let caret = lines.get(at + 1).and_then(|l| l.find('^')).unwrap_or_else(|| panic!("no caret in\n{said}"));
    assert!((begins..begins + source.len()).contains(&caret), "the caret stands beside the source:\n{said}");
}

#[test]
fn an_unreachable_cluster_exits_7_even_when_the_script_never_uses_it() {
    let place = Place::new();
    place.segsh(&["-c", "nowhere", "-e", "1 + 1"]).exits(7);
    place.segsh_with_input(&["-c", "nowhere", "-"], "print(1)").exits(7);
    let ran = place.segsh(&["status", "nowhere", "--json"]).exits(7);
    assert!(ran.stderr.contains("nowhere"), "{}", ran.stderr);
}

#[test]
fn without_a_cluster_batch_use_exits_7_with_a_next_step() {
    let place = Place::new();
    let ran = place.segsh(&[]).exits(7);
    assert!(ran.stderr.contains("segsh demo"), "{}", ran.stderr);
    place.segsh_with_input(&["-"], "print(state().down.len())").exits(7);
}

#[test]
fn a_wrong_command_line_exits_2() {
    let place = Place::new();
    place.segsh(&["--no-such-flag"]).exits(2);
    place.segsh(&["init"]).exits(2);
}

#[test]
fn json_is_one_document_with_the_documented_envelope() {
    let cluster = Cluster::new(1);
    let document = cluster.segsh(&["--json", "-e", "print(\"hello\"); state()"]).ok().json();
    for key in ["schema", "kind", "value", "printed", "ops"] {
        assert!(document.get(key).is_some(), "no `{key}`: {document:#}");
    }
    assert_eq!(document["schema"], 1);
    assert_eq!(document["kind"], "state");
    assert_eq!(document["value"]["segments"].as_array().map(Vec::len), Some(2));
    assert!(document["printed"].to_string().contains("hello"));
}

#[test]
fn a_refusal_is_json_with_every_reason_and_exits_4() {
    let cluster = Cluster::new(1);
    let ran = cluster.segsh(&["--json", "--yes", "-e", "recover(#{ dbids: [98, 99] })"]).exits(4);
    let document = ran.json();
    assert_eq!(document["kind"], "refusal", "{document:#}");
    let text = document.to_string();
    assert!(text.contains("unknown_target") && text.contains("98") && text.contains("99"), "{document:#}");
}

#[test]
fn a_caught_error_is_a_map_with_code_and_next_and_does_not_change_the_exit_code() {
    let cluster = Cluster::new(1);
    let code = "try { recover(#{ dbids: 99 }); print(\"not refused\"); } catch (e) { print(e.code); print(e.exit); }";
    let ran = cluster.script(code).ok();
    assert_eq!(ran.stdout, "refused\n4\n", "{}", ran.stderr);
}

#[test]
fn raise_false_returns_the_outcome_instead_of_throwing() {
    let cluster = Cluster::new(1);
    let ran = cluster.script("print(recover(#{ dbids: 99, raise: false }).status)").ok();
    assert_eq!(ran.text(), "refused");
}

#[test]
fn a_subcommand_is_its_primitive() {
    let cluster = Cluster::new(1);
    let ran = cluster.segsh(&["state", "--json"]).ok();
    assert_eq!(ran.json()["kind"], Value::from("state"));
    cluster.segsh(&["recover", "--yes"]).ok();
    cluster.segsh(&["rebalance", "--yes"]).ok();
    cluster.segsh(&["recover", "--dry-run"]).exits(3);
}

#[test]
fn what_goes_into_a_pipe_is_plain_and_80_columns_wide() {
    let cluster = Cluster::new(2);
    cluster.fail_over(0);
    for code in [
        "state()",
        "state().segments",
        "plan_recover()",
        "plan_restart()",
        "why()",
        "help()",
        "help(\"recover\")",
        "help(\"no_space\")",
        "rebalance()",
        "recover()",
        "recover(#{ contens: 0 })",
        "let x = \"a line that is longer than a screen, because nobody has broken it in time\" + nothing",
        "sql(\"select * from gp_segment_configuration\")",
    ] {
        let ran = cluster.eval(code);
        for line in ran.stdout.lines().chain(ran.stderr.lines()).filter(|line| !line.contains(code)) {
            assert!(!line.contains('\x1b'), "`{code}` colours a pipe: {line:?}");
            assert!(line.chars().count() <= 80, "`{code}` is {} columns wide: {line}", line.chars().count());
        }
    }
}

#[test]
fn a_needed_confirmation_without_a_terminal_is_declined() {
    let cluster = Cluster::new(1);
    cluster.eval("restart(#{ contents: 0 })").exits(4).says("--yes");
    cluster.eval_yes("restart(#{ contents: 0 })").ok();
}

#[test]
fn the_cluster_may_be_named_by_the_environment() {
    let cluster = Cluster::new(1);
    let mut command = cluster.place().command();
    command.env("SEGSH_CLUSTER", cluster.dir()).args(["-e", "state().cluster"]);
    let ran = crate::support::command::run(command, "").ok();
    assert_eq!(ran.text(), cluster.status().cluster);
}
