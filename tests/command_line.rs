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
fn failure(code: &str) -> ErrorView {
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
        Err(failure) => failure.view,
        Ok(value) => panic!("`{code}` needs no cluster: {value:?}"),
    }
}

fn call(line: &str) -> Call {
    let words = std::iter::once("segsh").chain(line.split(' '));
    match parse(words).map(|invocation| invocation.action) {
        Ok(Action::Call(call)) => call,
        other => panic!("`{line}` is {other:?}"),
    }
}

#[test]
fn every_call_with_every_option_is_one_that_the_engine_knows() {
    let following = "--no-wait --timeout 10m --stall 1m";
    let targets = "--contents 1 --dbids 2 --hosts sdw1";
    for line in [
        "state".to_string(),
        "probe --check".to_string(),
        "rebalance".to_string(),
        format!("recover {targets} --rate 50MiB/s --jobs 2 {following}"),
        format!("recover {targets} --rate 50MiB/s --jobs 2 --dry-run"),
        format!("full-recover {targets} --in-place --rate 50MiB/s --jobs 2 {following}"),
        format!("full-recover {targets} --in-place --dry-run"),
        format!("rebalance {targets} {following}"),
        format!("rebalance {targets} --dry-run"),
        format!("restart {targets} --mode smart {following}"),
        format!("restart {targets} --mode smart --dry-run"),
        "run recover_with_mirroring".to_string(),
        "run recover_with_mirroring --dry-run".to_string(),
    ] {
        let view = failure(&call(&line).source());
        assert_eq!((view.code.as_str(), view.exit), ("no_cluster", 7), "`{line}`: {view:?}");
    }
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
