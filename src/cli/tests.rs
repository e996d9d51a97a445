use super::*;
use crate::shell::confirm::{Grant, PROCEDURE};
use std::path::Path;

fn parsed(line: &str) -> Invocation {
    let words = std::iter::once("segsh").chain(line.split_whitespace());
    parse(words).unwrap_or_else(|error| panic!("`{line}`: {error}"))
}

fn refused(line: &str) -> clap::Error {
    let words = std::iter::once("segsh").chain(line.split_whitespace());
    match parse(words) {
        Err(error) => error,
        Ok(invocation) => panic!("`{line}` is {invocation:?}"),
    }
}

fn source(line: &str) -> Source {
    match parsed(line).action {
        Action::Script(source) => source,
        other => panic!("`{line}` is {other:?}"),
    }
}

fn rhai(line: &str) -> String {
    match parsed(line).action {
        Action::Call(call) => call.source(),
        other => panic!("`{line}` is {other:?}"),
    }
}

fn file(path: &str, args: &[&str]) -> Source {
    Source::File { path: path.into(), args: args.iter().map(ToString::to_string).collect() }
}

#[test]
fn bare_segsh_is_the_prompt() {
    assert_eq!(parsed("").action, Action::Prompt);
    let with_cluster = parsed("-c demo -q");
    assert_eq!(with_cluster.action, Action::Prompt);
    assert_eq!(with_cluster.cluster.as_deref(), Some("demo"));
    assert!(with_cluster.quiet);
}

#[test]
fn everything_behind_a_script_belongs_to_it() {
    let line = "-c /srv/c nightly.rhai --json -c other --yes -- x";
    assert_eq!(source(line), file("nightly.rhai", &["--json", "-c", "other", "--yes", "--", "x"]));
    let invocation = parsed(line);
    assert_eq!(invocation.cluster.as_deref(), Some("/srv/c"));
    assert!(!invocation.json && !invocation.policy.yes);
    assert_eq!(source("./state x"), file("./state", &["x"]));
}

#[test]
fn a_dash_is_stdin() {
    assert_eq!(source("-"), Source::Stdin { args: vec![] });
    assert_eq!(source("-c DIR - --help"), Source::Stdin { args: vec!["--help".into()] });
}

#[test]
fn codes_are_kept_in_their_order() {
    let words = ["segsh", "-e", "let x = 1", "--json", "-e", "-x"];
    let invocation = parse(words).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(invocation.action, Action::Script(Source::Codes(vec!["let x = 1".into(), "-x".into()])));
    assert!(invocation.json);
    assert_eq!(parse_exit(&refused("-e 1 state")), Exit::Usage);
}

#[test]
fn global_flags_stand_anywhere_in_own_commands() {
    for line in ["-c DIR --yes --json run heal", "run heal -c DIR --yes --json", "--json run -c DIR heal --yes"] {
        let invocation = parsed(line);
        assert_eq!(invocation.cluster.as_deref(), Some("DIR"), "{line}");
        assert!(invocation.policy.yes && invocation.json, "{line}");
    }
}

#[test]
fn yes_takes_a_list_only_behind_an_equals_sign() {
    let grants = |line| parsed(line).policy.grants.into_iter().collect::<Vec<_>>();
    assert_eq!(grants("--yes recover"), []);
    assert_eq!(grants("recover --yes=full_recover,restart"), [Grant::FullRecover, Grant::Restart]);
    assert_eq!(grants("recover --yes=full-recover"), [Grant::FullRecover]);
    assert!(refused("recover --yes=everything").to_string().contains("everything"));
    assert!(!parsed("recover").policy.yes);
}

#[test]
fn only_a_primitive_is_named_by_the_command_line_itself() {
    assert_eq!(parsed("restart --yes").policy.verb.as_deref(), Some("restart"));
    assert_eq!(parsed("full-recover --dbids 5").policy.verb.as_deref(), Some("full_recover"));
    assert_eq!(parsed("run heal --yes").policy.verb.as_deref(), Some(PROCEDURE));
    assert_eq!(parsed("x.rhai").policy.verb, None);
}

#[test]
fn each_primitive_is_a_subcommand() {
    assert_eq!(rhai("state"), "state()");
    assert_eq!(rhai("probe"), "probe()");
    assert_eq!(rhai("recover --contents 3"), "recover(#{ contents: [3] })");
    assert_eq!(rhai("recover --contents 3 --dry-run"), "plan_recover(#{ contents: [3] })");
    assert_eq!(
        rhai("full_recover --dbids 5,6 --in-place --no-wait"),
        "full_recover(#{ dbids: [5, 6], wait: false, in_place: true })"
    );
    assert_eq!(
        rhai("recover --hosts sdw1 sdw2 --jobs 2 --rate 50MiB/s --timeout 10m"),
        "recover(#{ hosts: [\"sdw1\", \"sdw2\"], timeout: \"10m\", rate: \"50MiB/s\", jobs: 2 })"
    );
    assert_eq!(rhai("rebalance --content 1"), "rebalance(#{ contents: [1] })");
    assert_eq!(rhai("restart --mode smart --contents 2"), "restart(#{ contents: [2], mode: \"smart\" })");
    assert_eq!(rhai("restart"), "restart()");
    assert_eq!(
        rhai("run recover_double_fault --contents 2"),
        "procedure(\"recover_double_fault\", #{ contents: [2] })"
    );
}

#[test]
fn every_word_of_a_call_has_one_place() {
    assert_eq!(rhai("ping sdw1"), "ping(\"sdw1\")");
    assert_eq!(rhai("setting gp_fts_probe_interval"), "setting(\"gp_fts_probe_interval\")");
    assert_eq!(rhai("setting a -1"), "setting(\"a\", \"-1\")");
    assert_eq!(rhai("fts-pause"), "fts_pause()");
    assert_eq!(rhai("fts_pause 5m"), "fts_pause(\"5m\")");
    assert_eq!(rhai("evidence 2"), "evidence(2)");
    assert_eq!(rhai("sql x --content 2"), "sql(2, \"x\")");
    assert_eq!(rhai("sql x 7 seven"), "sql(\"x\", [7, \"seven\"])");
    assert_eq!(rhai("wait-until synchronized --timeout 10m"), "wait_until(\"synchronized\", #{ timeout: \"10m\" })");
    assert_eq!(rhai("plan-recover --contents 1"), "plan_recover(#{ contents: [1] })");
    assert_eq!(rhai("force-primary --dbid 4"), "force_primary(#{ dbids: [4] })");
    assert_eq!(rhai("fault kill --dbid 5"), "fault::kill(state().segment(5))");
    assert_eq!(rhai("fault stop-host sdw1"), "fault::stop_host(\"sdw1\")");
    for wrong in ["force-primary", "ping", "fault", "fault kill", "evidence two", "restart --mode slowly"] {
        assert_eq!(parse_exit(&refused(wrong)), Exit::Usage, "{wrong}");
    }
}

#[test]
fn a_dry_run_waits_for_nothing() {
    assert_eq!(rhai("recover --dry-run --no-wait --timeout 10m --jobs 2"), "plan_recover(#{ jobs: 2 })");
    assert_eq!(rhai("plan-recover --jobs 2"), "plan_recover(#{ jobs: 2 })");
}

#[test]
fn every_function_that_a_command_line_can_write_is_a_subcommand_with_every_option_as_a_flag() {
    let whole = definition();
    for entry in crate::script::catalog().iter().filter(|e| primitives::is_command(e)) {
        let outer = if entry.namespace.is_empty() { Some(&whole) } else { whole.find_subcommand(entry.namespace) };
        let Some(command) = outer.and_then(|o| o.find_subcommand(primitives::spelled(entry.name))) else {
            panic!("{} is no subcommand", entry.full_name());
        };
        let ids: Vec<&str> = command.get_arguments().map(|a| a.get_id().as_str()).collect();
        for option in entry.options.iter().filter(|o| primitives::has_flag(o)) {
            assert!(ids.contains(&option.name), "{} has no flag for `{}`", entry.full_name(), option.name);
        }
        for id in ids {
            let known = entry.options.iter().any(|o| o.name == id)
                || entry.forms.iter().any(|f| f.iter().any(|p| p.split(": ").next() == Some(id)))
                || matches!(id, "dry_run" | "check");
            assert!(known, "{} has no option for the flag `{id}`", entry.full_name());
        }
    }
}

#[test]
fn a_line_is_read_with_all_the_arguments_of_the_command_that_stands_in_it() {
    let whole = definition();
    for entry in crate::script::catalog().iter().filter(|e| primitives::is_command(e)) {
        for name in [primitives::spelled(entry.name), entry.name] {
            let words: Vec<OsString> =
                [entry.namespace, name].iter().filter(|w| !w.is_empty()).map(Into::into).collect();
            let read = primitives::added_to_read(Cli::command(), &words);
            let arguments = |whole: &clap::Command| -> Vec<String> {
                let outer =
                    if entry.namespace.is_empty() { Some(whole) } else { whole.find_subcommand(entry.namespace) };
                let command = outer.and_then(|o| o.find_subcommand(name)).expect("a subcommand");
                command.get_arguments().map(|a| format!("{a:?}")).collect()
            };
            assert_eq!(arguments(&read), arguments(&whole), "{words:?}");
        }
    }
}

#[test]
fn what_has_no_subcommand_is_about_the_session_or_cannot_be_written() {
    for entry in crate::script::catalog().iter().filter(|e| e.method_of.is_empty() && e.namespace.is_empty()) {
        let written = |kind: &str| !kind.ends_with(": closure") && !kind.ends_with(": Plan");
        let writable = entry.forms.iter().any(|f| f.iter().all(|p| written(p)));
        let excluded = primitives::NO_COMMANDS.contains(&entry.name);
        assert_eq!(primitives::is_command(entry), writable && !excluded, "{}", entry.full_name());
    }
}

#[test]
fn completion_knows_every_command_and_flag() {
    let whole = definition();
    for shell in [completions::Shell::Bash, completions::Shell::Zsh] {
        let script = completions::script(shell, &whole);
        for command in whole.get_subcommands().filter(|c| !c.is_hide_set()) {
            assert!(script.contains(&format!("'{}'|", command.get_name())), "{shell:?}: {}", command.get_name());
            for long in command.get_arguments().filter_map(|a| a.get_long()) {
                assert!(script.contains(&format!("--{long}")), "{shell:?}: {} --{long}", command.get_name());
            }
        }
        assert!(!script.contains("demo-keeper"), "what is hidden is not completed");
    }
}

#[test]
fn a_check_is_asked_for_by_name() {
    let Action::Call(call) = parsed("state --check").action else { panic!("state is a call") };
    assert!(call.check);
}

#[test]
fn the_cluster_of_a_lifecycle_command_stands_where_one_likes() {
    for (line, action) in [
        ("start DIR", Action::Start),
        ("start -c DIR", Action::Start),
        ("-c DIR stop", Action::Stop { mode: Mode::Fast }),
        ("stop DIR --mode immediate", Action::Stop { mode: Mode::Immediate }),
        ("status DIR --json", Action::Status),
        ("destroy DIR -c DIR", Action::Destroy),
    ] {
        let invocation = parsed(line);
        assert_eq!(invocation.cluster.as_deref(), Some("DIR"), "{line}");
        assert_eq!(invocation.action, action, "{line}");
    }
    assert!(refused("start A -c B").to_string().contains("two clusters"));
    assert!(refused("stop DIR --mode slowly").to_string().contains("slowly"));
}

#[test]
fn a_new_cluster_has_four_contents_on_two_hosts_unless_told() {
    let Action::Init { dir, shape, drill, file: None } = parsed("init /srv/c").action else {
        panic!("init is an action")
    };
    assert_eq!((dir.as_path(), shape.contents, shape.hosts, drill), (Path::new("/srv/c"), 4, 2, false));
    let line = "init /srv/c --contents 8 --hosts 3 --drill --set a=1 --set b=2=3";
    let Action::Init { shape, drill, .. } = parsed(line).action else { panic!("init is an action") };
    assert!(drill);
    assert_eq!((shape.contents, shape.hosts), (8, 3));
    assert_eq!(shape.settings, [("a".into(), "1".into()), ("b".into(), "2=3".into())]);
    assert!(matches!(parsed("demo --contents 2").action, Action::Demo(Shape { contents: 2, .. })));
    for wrong in ["init", "init D --contents 0", "init D --set x"] {
        assert_eq!(parse_exit(&refused(wrong)), Exit::Usage, "{wrong}");
    }
}

#[test]
fn own_processes_read_their_own_arguments() {
    let Action::Segment(args) = parsed("segment --dir X -c Y --help").action else { panic!("segment is an action") };
    assert_eq!(args, ["--dir", "X", "-c", "Y", "--help"]);
    for (line, process) in
        [("host --dir X", "host"), ("coordinator", "coordinator"), ("demo-keeper 7", "demo-keeper"), ("state", "shell")]
    {
        assert_eq!(parsed(line).action.process(), process);
    }
}

#[test]
fn an_unknown_word_names_the_near_command() {
    let error = refused("recovr --contents 1");
    assert_eq!(parse_exit(&error), Exit::Usage);
    assert!(error.to_string().contains("recover"), "{error}");
}

#[test]
fn help_and_version_are_success() {
    for line in ["--help", "--version", "help recover", "recover --help"] {
        assert_eq!(parse_exit(&refused(line)), Exit::Done, "{line}");
    }
    let help = refused("--help").to_string();
    for hidden in ["demo-keeper", "coordinator  "] {
        assert!(!help.contains(hidden), "{help}");
    }
}

#[test]
fn the_help_lists_every_exit_code() {
    let help = AFTER_HELP.replace('\n', " ");
    for exit in Exit::ALL {
        assert!(help.contains(&format!("{} ", exit.code())), "{exit:?}");
    }
}

#[test]
fn the_definition_is_consistent() {
    definition().debug_assert();
}

#[test]
fn a_dry_run_is_the_call_s_own_plan_or_a_rehearsal_of_the_whole_session() {
    assert_eq!(rhai("--dry-run recover"), "plan_recover()");
    assert_eq!(rhai("recover --dry-run"), "plan_recover()");
    assert!(!parsed("recover --dry-run").dry_run, "the call makes its plan by itself");
    assert!(parsed("fts-pause --dry-run").dry_run, "there is no plan of it");
    for line in ["--dry-run -e recover()", "--dry-run x.rhai", "apply f --dry-run", "--dry-run"] {
        assert!(parsed(line).dry_run, "{line}");
    }
    for line in ["start c --dry-run", "stop c --dry-run", "init c --dry-run", "destroy c --dry-run"] {
        assert_eq!(parse_exit(&refused(line)), Exit::Usage, "{line}");
    }
    match parsed("adopt d --dry-run").action {
        Action::Adopt { dry_run, .. } => assert!(dry_run),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_time_limit_is_the_call_s_own_or_the_whole_run_s() {
    use std::time::Duration;
    assert_eq!(parsed("--timeout 10m -e 1").time_limit, Some(Duration::from_secs(600)));
    assert_eq!(parsed("state --timeout 10s").time_limit, Some(Duration::from_secs(10)));
    assert_eq!(parsed("recover --timeout 10m").time_limit, None, "recover has one of its own");
    assert_eq!(rhai("recover --timeout 10m"), "recover(#{ timeout: \"10m\" })");
    for line in ["--timeout 10 -e 1", "--timeout soon -e 1", "--timeout 10m", "start c --timeout 10m", "--ndjson"] {
        assert_eq!(parse_exit(&refused(line)), Exit::Usage, "{line}");
    }
}

#[test]
fn a_saved_plan_is_applied_from_its_file() {
    assert_eq!(parsed("-c d apply plan.json").action, Action::Apply { file: "plan.json".into() });
}

#[test]
fn a_test_run_names_its_library_and_what_is_chosen_of_it() {
    let of = |line: &str| match parsed(line).action {
        Action::Test { path, filters } => (path, filters),
        other => panic!("`{line}` is {other:?}"),
    };
    assert_eq!(of("test site"), (PathBuf::from("site"), vec![]));
    assert_eq!(of("test site/limits.rhai hosts ports -c drill --json").1, ["hosts", "ports"]);
    assert!(parsed("test site --timeout 5m --ndjson").time_limit.is_some());
    assert_eq!(parse_exit(&refused("test")), Exit::Usage);
    assert_eq!(parse_exit(&refused("test site --dry-run")), Exit::Usage);
}

#[test]
fn a_procedure_takes_options_of_its_own() {
    let line = "run replace_host --set host=sdw2 --set to=sdw9 --set in_place=true --contents 1";
    assert_eq!(
        rhai(line),
        r#"procedure("replace_host", #{ contents: [1], "host": "sdw2", "to": "sdw9", "in_place": true })"#
    );
    assert!(refused("run p --contents 1 --set contents=2").to_string().contains("given twice"));
    assert_eq!(parse_exit(&refused("run p --set contents")), Exit::Usage);
}
