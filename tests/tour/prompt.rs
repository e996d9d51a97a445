//! The tour at the prompt of a demo.

use crate::readme::{self, Step};
use expectrl::session::OsSession;
use expectrl::{Expect, Regex, Session};
use std::process::Command;
use std::time::Duration;

/// A debug build on a busy machine recovers 64 MiB of data in seconds; this is when to give up.
const PATIENCE: Duration = Duration::from_secs(180);
/// Where input is awaited: the prompt, with or without its hints, or a question.
const AWAITS_INPUT: &str = r"(?m)^(demo( \[[^\]\r\n]*\])?> |[^\r\n]*\[y/N\] )$";

/// How much of a line of the README is a prompt.
fn prompt_end(line: &str) -> Option<usize> {
    let question = line.find("[y/N] ").map(|at| at + "[y/N] ".len());
    let prompt = || line.starts_with("demo").then(|| line.find("> ").map(|at| at + 2)).flatten();
    let bare = |at: &usize| matches!(&line[..*at], "demo> ") || line[..*at].ends_with("]> ");
    question.or_else(|| prompt().filter(bare))
}

/// A prompt without its hint, which is of the moment: a host that dies takes its segments one by one.
fn bare(prompt: &str) -> String {
    match (prompt.find(" ["), prompt.find("]> ")) {
        (Some(from), Some(to)) if prompt.starts_with("demo [") => format!("{}{}", &prompt[..from], &prompt[to + 1..]),
        _ => prompt.to_owned(),
    }
}

/// A demo in a pseudo-terminal that can't move its cursor: what it prints is the transcript.
struct Demo {
    session: OsSession,
    home: tempfile::TempDir,
}

impl Demo {
    fn start() -> Demo {
        let home = tempfile::tempdir().expect("a place for history and logs");
        let mut command = Command::new(env!("CARGO_BIN_EXE_segsh"));
        command.arg("demo").env("TERM", "dumb").env("NO_COLOR", "1").env("HOME", home.path()).env("TZ", "UTC");
        for place in ["XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME", "SEGSH_CLUSTER"] {
            command.env_remove(place);
        }
        let mut session = Session::spawn(command).expect("segsh starts in a pseudo-terminal");
        session.set_expect_timeout(Some(PATIENCE));
        session.get_process_mut().set_window_size(80, 24).expect("a window of 80 columns");
        Demo { session, home }
    }

    /// Everything up to where input is awaited, and that prompt.
    fn until_input(&mut self) -> (Vec<String>, String) {
        let found = self.session.expect(Regex(AWAITS_INPUT));
        let found = found.unwrap_or_else(|e| panic!("no prompt came: {e}\n{}", self.rest()));
        let before = String::from_utf8_lossy(found.before()).into_owned();
        let prompt = String::from_utf8_lossy(found.get(0).unwrap_or_default()).into_owned();
        (before.lines().map(seen).collect(), prompt)
    }

    /// Types a line; the terminal echoes it as the end of the prompt's line.
    fn type_line(&mut self, step: &Step) {
        self.session.send_line(&step.input).expect("the terminal takes a line");
    }

    fn rest(&mut self) -> String {
        let mut bytes = vec![0; 64 << 10];
        let count = self.session.try_read(&mut bytes).unwrap_or(0);
        String::from_utf8_lossy(&bytes[..count]).into_owned()
    }
}

/// A line as it is left on the screen: a carriage return begins it anew.
fn seen(line: &str) -> String {
    line.trim_end_matches('\r').rsplit('\r').next().unwrap_or_default().to_owned()
}

#[test]
fn the_tour_of_the_readme_prints_what_the_readme_says() {
    let steps = readme::steps(&readme::text(), "segsh", prompt_end);
    assert!(steps.len() > 5, "the README's tour was not recognized: {} steps", steps.len());
    let mut demo = Demo::start();
    let (_, mut prompt) = demo.until_input();
    let mut differences = Vec::new();
    for step in &steps {
        if bare(&prompt) != bare(&step.prompt) {
            differences.push(format!("before `{}`\n  README:  {}\n  printed: {prompt}", step.input, step.prompt));
        }
        demo.type_line(step);
        let (mut printed, next) = demo.until_input();
        if printed.first().is_some_and(|echo| echo.trim() == step.input.trim()) {
            printed.remove(0);
        }
        differences.extend(readme::difference(step, &printed));
        prompt = next;
    }
    demo.session.send_line("quit").expect("the terminal takes a line");
    drop(demo.home);
    assert!(differences.is_empty(), "{}", differences.join("\n\n"));
}

#[test]
fn a_prompt_is_told_from_a_line_of_output() {
    assert_eq!(prompt_end("demo> state()"), Some(6));
    assert_eq!(prompt_end("demo [4/8 up]> recover()"), Some(15));
    assert_eq!(prompt_end("Go on? [y/N] y"), Some(13));
    assert_eq!(bare("demo [4/8 up]> "), "demo> ");
    assert_eq!(bare("Go on? [y/N] "), "Go on? [y/N] ");
    assert_eq!(prompt_end("demo  4 contents, 2 hosts   8 of 8 segments up   probed 0.3 s ago"), None);
}
