//! The command line and the engine behind it speak of the same functions and options, and the
//! process ends with the documented codes.

use segsh::cli::{Action, Call, parse};
use segsh::script::{Session, SessionConfig};
use segsh::shell::engine::ScriptEngine;
use segsh::shell::evaluator::Evaluator;
use segsh::shell::output::Output;
use segsh::shell::render::error::ErrorView;
use segsh::shell::render::{Screens, Style};
use segsh::shell::signals::Signals;
use segsh::shell::ui::{Manner, ShellUi};
use std::io::{Read, Write};
use std::process::{Command, Output as Ended, Stdio};
use std::rc::Rc;

/// What becomes of a line where no cluster is connected.
fn failure_or_none(code: &str) -> Option<ErrorView> {
    let screens = Screens::new(Style::default(), "demo");
    let signals = Signals::unattached();
    let ui = ShellUi::new(Manner::default(), screens.clone(), signals, Output::kept());
    let session = Session::new(SessionConfig {
        cluster: None,
        ui: Rc::new(ui),
        renderer: Rc::new(screens),
        site_dir: None,
        system_dir: None,
        dry_run: false,
    });
    match ScriptEngine(session).eval_line(code) {
        Err(failure) => Some(failure.view),
        Ok(_) => None,
    }
}

/// The failure of a line that needs a cluster.
fn failure(code: &str) -> ErrorView {
    failure_or_none(code).unwrap_or_else(|| panic!("`{code}` needs no cluster"))
}

fn call(line: &str) -> Call {
    let words = std::iter::once("segsh").chain(line.split(' '));
    match parse(words).map(|invocation| invocation.action) {
        Ok(Action::Call(call)) => call,
        other => panic!("`{line}` is {other:?}"),
    }
}

/// A value that an argument of this name and these words takes.
fn value_for(entry: &segsh::script::Entry, arg: &clap::Arg) -> String {
    use segsh::script::Kind;
    let id = arg.get_id().as_str();
    match entry.options.iter().find(|o| o.name == id).map(|o| o.kind) {
        Some(Kind::Duration) => "10m".into(),
        Some(Kind::Rate) => "50MiB/s".into(),
        Some(Kind::Word(words)) => words[0].into(),
        None if id == "time" => "10m".into(),
        None if id == "condition" => "synchronized".into(),
        _ => "1".into(),
    }
}

/// A command line with every flag and every word of a subcommand, from its own definition.
fn with_every_flag(entry: &segsh::script::Entry, path: &str, command: &clap::Command) -> String {
    let mut line = path.to_string();
    for arg in command.get_arguments().filter(|a| !matches!(a.get_id().as_str(), "dry_run" | "check")) {
        let value = value_for(entry, arg);
        match (arg.get_long(), arg.get_action().takes_values()) {
            (Some(long), true) => line.push_str(&format!(" --{long}={value}")),
            (Some(long), false) => line.push_str(&format!(" --{long}")),
            (None, _) => line.push_str(&format!(" {value}")),
        }
    }
    line
}

#[test]
fn every_call_with_every_option_is_one_that_the_engine_knows() {
    let whole = segsh::cli::definition();
    let mut tried = 0;
    for entry in segsh::script::catalog().iter().filter(|e| segsh::cli::primitives::is_command(e)) {
        let name = segsh::cli::primitives::spelled(entry.name);
        let (path, outer) = match entry.namespace {
            "" => (name.to_string(), Some(&whole)),
            namespace => (format!("{namespace} {name}"), whole.find_subcommand(namespace)),
        };
        let command = outer.and_then(|o| o.find_subcommand(name)).expect("a subcommand");
        let full = with_every_flag(entry, &path, command);
        let has_plan = command.get_arguments().any(|a| a.get_id() == "dry_run");
        for line in [Some(full.clone()), has_plan.then(|| format!("{full} --dry-run"))].into_iter().flatten() {
            let view = failure_or_none(&call(&line).source());
            // What needs no cluster ends well; everything else misses only the cluster.
            let misses = view.as_ref().is_none_or(|v| matches!(v.code.as_str(), "no_cluster" | "io"));
            assert!(misses, "`{line}`: {view:?}");
            tried += 1;
        }
    }
    assert!(tried > 20, "{tried}");
    for line in ["run recover_with_mirroring", "run recover_with_mirroring --dry-run", "state --check"] {
        assert_eq!(failure(&call(line).source()).code, "no_cluster", "{line}");
    }
}

#[test]
fn a_completion_completes() -> Result<(), Box<dyn std::error::Error>> {
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("completion.bash");
    std::fs::write(&file, ended(&["completions", "bash"])?.stdout)?;
    let completed = |line: &str| -> Result<String, Box<dyn std::error::Error>> {
        let script = format!(
            "source {}; COMP_WORDS=({line} \"$1\"); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); _segsh; echo \"${{COMPREPLY[*]}}\"",
            file.display()
        );
        let (words, last) = line.rsplit_once(' ').unwrap_or((line, ""));
        let script = script.replace(&format!("({line} "), &format!("({words} "));
        let ended = Command::new("bash").args(["-c", &script, "bash", last]).current_dir(dir.path()).output()?;
        assert!(ended.stderr.is_empty(), "{}", String::from_utf8_lossy(&ended.stderr));
        Ok(String::from_utf8(ended.stdout)?.trim().to_string())
    };
    assert_eq!(completed("segsh recov")?, "recover recoveries");
    assert_eq!(completed("segsh -c /srv/c full-recover --in")?, "--in-place");
    assert_eq!(completed("segsh restart --mode im")?, "immediate");
    assert_eq!(completed("segsh fault st")?, "start-host stop-host");
    assert_eq!(completed("segsh completions b")?, "bash");
    assert!(Command::new("bash").arg("-n").arg(&file).status()?.success());
    Ok(())
}

#[test]
fn a_check_judges_scripts_without_a_cluster() -> Result<(), Box<dyn std::error::Error>> {
    let dir = tempfile::tempdir()?;
    let write = |name: &str, text: &str| -> std::io::Result<String> {
        let path = dir.path().join(name);
        std::fs::write(&path, text)?;
        Ok(path.display().to_string())
    };
    let good = write("good.rhai", "recover(#{ contents: [2] });\n")?;
    let bad = write("bad.rhai", "let a = 1;\nrecover(#{ contens: 2 });\nrecoverr();\n")?;
    let odd = write("odd.rhai", "let x = 1; print(\"${x}\")")?;
    let absent = dir.path().join("absent.rhai").display().to_string();
    for (args, code) in [
        (vec![good.as_str()], 0),
        (vec![odd.as_str()], 0),
        (vec![good.as_str(), bad.as_str()], 9),
        (vec![absent.as_str()], 2),
        (vec![], 2),
    ] {
        let ended = ended(&[&["check"], args.as_slice()].concat())?;
        assert_eq!(ended.status.code(), Some(code), "{args:?}: {ended:?}");
    }
    let text = String::from_utf8(ended(&["check", &bad])?.stdout)?;
    assert!(text.contains("bad.rhai:2:12") && text.contains("bad.rhai:3:1"), "every finding is shown: {text}");
    assert!(text.ends_with("2 errors in 1 file\n"), "{text}");
    let document: serde_json::Value = serde_json::from_slice(&ended(&["--json", "check", &bad, &odd])?.stdout)?;
    assert_eq!((&document["kind"], &document["value"]["errors"]), (&"check".into(), &2.into()));
    assert_eq!(document["value"]["findings"][2]["severity"], "warning");
    assert_eq!(document["value"]["findings"][0]["position"]["line"], 2);
    Ok(())
}

#[test]
fn an_option_that_the_engine_does_not_know_is_told_before_the_cluster_is_missed() {
    let view = failure("recover(#{ contens: [1] })");
    assert_eq!(view.code, "unknown_option");
}

fn segsh(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_segsh"));
    command
        .args(args)
        .env_remove("SEGSH_CLUSTER")
        .env("XDG_STATE_HOME", env!("CARGO_TARGET_TMPDIR"))
        .stdin(Stdio::null());
    command
}

fn ended(args: &[&str]) -> std::io::Result<Ended> {
    segsh(args).output()
}

#[test]
fn the_process_ends_with_the_documented_codes() -> std::io::Result<()> {
    for (args, code) in [
        (&["-e", "1 + 1"][..], 0),
        (&["-e", "nothing"], 1),
        (&["--nonsense"], 2),
        (&["recovr"], 2),
        (&[], 7),
        (&["state"], 7),
        (&["-c", "/nowhere/at/all", "-e", "1"], 7),
        (&["-e", "exit(3)"], 3),
        (&["--help"], 0),
    ] {
        let ended = ended(args)?;
        assert_eq!(ended.status.code(), Some(code), "{args:?}: {ended:?}");
    }
    Ok(())
}

#[test]
fn help_and_the_command_line_know_the_same_exit_codes() {
    let of_help: Vec<i32> = segsh::script::EXIT_CODES.iter().map(|(code, _)| *code).collect();
    assert_eq!(of_help, segsh::cli::Exit::ALL.map(segsh::cli::Exit::process_code));
}

#[test]
fn stdout_is_data_and_stderr_the_rest() -> std::io::Result<()> {
    let value = ended(&["-e", "20 + 1"])?;
    assert_eq!((value.stdout.as_slice(), value.stderr.as_slice()), (&b"21\n"[..], &b""[..]));
    let error = ended(&["-e", "nothing"])?;
    assert!(error.stdout.is_empty());
    let text = String::from_utf8_lossy(&error.stderr);
    assert!(text.starts_with("error[") && text.contains("--> -e:1:1"), "{text}");
    let text = ended(&["state"])?.stderr;
    assert!(!String::from_utf8_lossy(&text).contains("-->"));
    Ok(())
}

#[test]
fn json_is_one_document_with_what_was_printed() -> Result<(), Box<dyn std::error::Error>> {
    let ended = ended(&["--json", "-e", "print(\"hello\"); 40 + 2"])?;
    let document: serde_json::Value = serde_json::from_slice(&ended.stdout)?;
    assert_eq!(document["schema"], 1);
    assert_eq!(document["value"], 42);
    assert_eq!(document["printed"][0], "hello");
    Ok(())
}

#[test]
fn a_document_names_the_place_as_it_was_given() -> Result<(), Box<dyn std::error::Error>> {
    let document = |args: &[&str]| -> Result<serde_json::Value, Box<dyn std::error::Error>> {
        Ok(serde_json::from_slice(&ended(args)?.stdout)?)
    };
    let error = document(&["--json", "-e", "fn f() { nothing }", "-e", "f()"])?;
    let place = error["value"]["position"]["file"].as_str().unwrap_or_default().to_string();
    assert!(place.starts_with("-e"), "{error:#}");
    assert!(!error.to_string().contains("\"prompt"), "{error:#}");
    // A subcommand has no line that anybody wrote.
    let error = document(&["--json", "state"])?;
    assert!(error["value"]["position"].is_null() && error["value"]["source_line"].is_null(), "{error:#}");
    let usage = document(&["--json", "--nonsense"])?;
    assert_eq!((usage["kind"].as_str(), usage["value"]["exit"].as_i64()), (Some("error"), Some(2)));
    Ok(())
}

#[test]
fn a_file_prints_only_what_it_prints() -> Result<(), Box<dyn std::error::Error>> {
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("x.rhai");
    std::fs::write(&path, "print(args()); 99")?;
    let path = path.display().to_string();
    let ended = ended(&[&path, "--json", "b"])?;
    let text = String::from_utf8(ended.stdout)?;
    assert!(text.contains("--json") && text.contains('b') && !text.contains("99"), "{text}");
    Ok(())
}

#[test]
fn stdin_is_a_script() -> Result<(), Box<dyn std::error::Error>> {
    let mut child = segsh(&["-"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let mut stdin = child.stdin.take().ok_or("stdin is piped")?;
    stdin.write_all(b"print(6 * 7)")?;
    drop(stdin);
    let ended = child.wait_with_output()?;
    assert_eq!(ended.stdout, b"42\n");
    Ok(())
}

#[test]
fn a_reader_that_goes_away_is_no_failure() -> Result<(), Box<dyn std::error::Error>> {
    let mut child = segsh(&["-e", "loop { print(\"y\") }"]).stdout(Stdio::piped()).spawn()?;
    let mut stdout = child.stdout.take().ok_or("stdout is piped")?;
    let mut some = [0; 64];
    stdout.read_exact(&mut some)?;
    drop(stdout);
    assert_eq!(child.wait()?.code(), Some(0));
    Ok(())
}

#[test]
fn what_nobody_reads_on_stderr_changes_no_exit_code() -> Result<(), Box<dyn std::error::Error>> {
    for (args, code) in [
        (&["-c", "/nowhere", "-e", "1"][..], 7),
        (&["check", "/nowhere/x.rhai"], 2),
        (&["start", "/nowhere"], 7),
        (&["-e", "throw 1"], 1),
        (&["test", "/nowhere"], 2),
    ] {
        let (reader, writer) = std::io::pipe()?;
        drop(reader);
        let status = segsh(args).stdout(Stdio::null()).stderr(writer).status()?;
        assert_eq!(status.code(), Some(code), "{args:?}");
    }
    Ok(())
}

#[test]
fn no_script_swallows_a_real_interrupt() -> Result<(), Box<dyn std::error::Error>> {
    let text = "print(\"ready\"); try { [1].for_each(|x| { loop { } }) } catch { } print(\"went on\")";
    let mut child = segsh(&["-e", text]).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    let mut stdout = child.stdout.take().ok_or("stdout is piped")?;
    let mut ready = [0; 6];
    stdout.read_exact(&mut ready)?;
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT)?;
    let mut rest = String::new();
    stdout.read_to_string(&mut rest)?;
    assert_eq!((child.wait()?.code(), rest.as_str()), (Some(130), ""));
    Ok(())
}
