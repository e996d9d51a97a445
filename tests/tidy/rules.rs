//! What the code never does, wherever it stands.

use crate::expect_none;
use crate::files;
use crate::source::{code, line_of, without_test_modules, words};

/// The only place of `unsafe` code: SQLite's file interface is C.
const UNSAFE_ROOM: &str = "src/segment/vfs/";
/// A file longer than this holds more than one concept.
const LINES_MAX: usize = 800;

/// A word that is searched for here must not be found here.
macro_rules! split_word {
    ($($part:literal)+) => { concat!($($part),+) };
}

fn rust_files() -> Vec<String> {
    files::all().into_iter().filter(|p| p.ends_with(".rs")).collect()
}

#[test]
fn unsafe_code_stands_only_in_the_vfs() {
    let mut findings = Vec::new();
    for path in rust_files().into_iter().filter(|p| !p.starts_with(UNSAFE_ROOM)) {
        let seen = code(&files::read(&path));
        findings.extend(words(&seen, "unsafe").iter().map(|at| format!("{path}:{}", line_of(&seen, *at))));
    }
    expect_none("`unsafe` stands only under src/segment/vfs.", findings);
    let lib = code(&files::read("src/lib.rs"));
    assert!(lib.contains("#![deny(unsafe_code)]"), "src/lib.rs denies unsafe code, so that the compiler holds it too");
}

#[test]
fn nothing_prints_but_the_shell_s_output() {
    let mut findings = Vec::new();
    for path in files::under("src", ".rs") {
        let seen = without_test_modules(&code(&files::read(&path)));
        for name in ["println", "eprintln", "print", "eprint", "dbg"] {
            let calls = words(&seen, name).into_iter().filter(|at| seen[at + name.len()..].starts_with('!'));
            findings.extend(calls.map(|at| format!("{path}:{} calls {name}!", line_of(&seen, at))));
        }
    }
    let why = "What speaks to a person goes through src/shell/output.rs, where a reader that went away is no failure: the \
               macros panic. A library room logs.";
    expect_none(why, findings);
}

#[test]
fn nothing_is_left_to_be_done_in_the_code() {
    let mut findings = Vec::new();
    for path in rust_files() {
        let seen = code(&files::read(&path));
        for word in [split_word!("to" "do!"), split_word!("unimpl" "emented!"), split_word!("#[ign" "ore")] {
            findings.extend(seen.match_indices(word).map(|(at, _)| format!("{path}:{} {word}", line_of(&seen, at))));
        }
    }
    for path in files::all() {
        let text = files::read(&path);
        for word in [split_word!("FIX" "ME"), split_word!("TO" "DO"), split_word!("XX" "X")] {
            findings.extend(words(&text, word).iter().map(|at| format!("{path}:{} {word}", line_of(&text, *at))));
        }
    }
    expect_none("What stands is whole: no stubs, no skipped tests, no reminders.", findings);
}

#[test]
fn a_file_holds_one_concept() {
    // What is printed from tables has as many lines as these.
    let is_written = |text: &str| !text.contains("<!-- Printed by `segsh reference`");
    let texts = files::all().into_iter().map(|p| (files::read(&p), p)).filter(|(text, _)| is_written(text));
    let long = texts.map(|(text, p)| (text.lines().count(), p));
    let findings = long.filter(|(n, _)| *n > LINES_MAX).map(|(n, p)| format!("{p} has {n} lines")).collect();
    expect_none("No file of ours is longer than 800 lines.", findings);
}

#[test]
fn no_path_of_one_machine_is_written_down() {
    let mut findings = Vec::new();
    for path in files::all() {
        let text = files::read(&path);
        for word in [split_word!("/wo" "rk/"), split_word!("/ro" "ot/"), split_word!("/ho" "me/")] {
            findings.extend(text.match_indices(word).map(|(at, _)| format!("{path}:{} {word}", line_of(&text, at))));
        }
    }
    expect_none("Paths come from arguments, the `dirs` crate or the environment.", findings);
}

#[test]
fn every_test_runs_wherever_it_is_started() {
    let mut findings = Vec::new();
    for path in rust_files().into_iter().filter(|p| p.starts_with("tests/") && !p.starts_with("tests/tidy/")) {
        let seen = code(&files::read(&path));
        findings.extend(words(&seen, "set_current_dir").iter().map(|at| format!("{path}:{}", line_of(&seen, *at))));
    }
    expect_none("No test changes the directory of its process: others run in it at the same time.", findings);
}
