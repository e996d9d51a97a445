//! `segsh demo` in a pseudo-terminal: a prompt on a healthy cluster, and nothing left behind.

use crate::support::terminal::Terminal;
use crate::support::wait::secs;
use crate::support::{Place, processes, wait_for};
use rustix::process::Signal;
use std::path::PathBuf;

const PROMPT: &str = "demo> ";

struct Demo {
    terminal: Terminal,
    greeting: String,
    place: Place,
}

impl Demo {
    fn start() -> Demo {
        let place = Place::new();
        let mut command = place.command();
        command.arg("demo");
        let mut terminal = Terminal::spawn(command);
        let greeting = terminal.expect(PROMPT);
        Demo { terminal, greeting, place }
    }

    /// Every process of the demo but its shell.
    fn processes(&self) -> Vec<u32> {
        let shell = self.terminal.pid();
        processes::beneath(self.place.path()).into_iter().filter(|pid| *pid != shell).collect()
    }

    fn directories(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.place.path().join("tmp")).expect("the temporary directory");
        entries.flatten().map(|e| e.path()).collect()
    }

    /// What the line printed. The prompt can't be waited for: it is drawn again with every key. A word
    /// that only an evaluation makes up can.
    fn says(&mut self, line: &str) -> String {
        self.terminal.type_line(&format!(r#"{line}; print("th" + "at was it")"#));
        self.terminal.expect("that was it")
    }

    fn assert_gone(&self) {
        wait_for("every process of the demo to end", secs(20), || self.processes().is_empty());
        wait_for("the demo's directory to go", secs(20), || self.directories().is_empty());
    }
}

#[test]
fn a_demo_greets_with_its_psql_line_and_is_healthy() {
    let mut demo = Demo::start();
    assert!(demo.greeting.contains("psql"), "{}", demo.greeting);
    let coordinator_two_agents_eight_segments = 11;
    assert!(demo.processes().len() >= coordinator_two_agents_eight_segments, "{:?}", demo.processes());
    let state = demo.says("print(state())");
    assert!(state.contains("8 of 8 segments up"), "{state}");
    assert!(state.contains("sdw1") && state.contains("sdw2"), "{state}");
    demo.terminal.type_line("quit");
    demo.terminal.expect_end();
    demo.assert_gone();
}

#[test]
fn a_killed_shell_leaves_no_process_and_no_directory() {
    let demo = Demo::start();
    let all = demo.processes();
    assert!(!all.is_empty() && !demo.directories().is_empty());
    processes::kill(demo.terminal.pid());
    demo.assert_gone();
    // One that is ending has let go of its files, and so of the directory, an instant before it is gone.
    wait_for("the last of them to be gone", secs(20), || all.iter().all(|pid| !processes::runs(*pid)));
}

#[test]
fn a_killed_shell_takes_stopped_processes_with_it_too() {
    let demo = Demo::start();
    let all = demo.processes();
    // Any of them may be stopped, the keeper apart: it is the one that clears up.
    let is_keeper = |pid: &u32| {
        let arguments = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&arguments).contains("keeper")
    };
    for pid in all.iter().filter(|pid| !is_keeper(pid)).step_by(2) {
        processes::stop(*pid);
    }
    processes::kill(demo.terminal.pid());
    demo.assert_gone();
}

#[test]
fn a_demo_ends_with_a_hangup_of_its_terminal() {
    let demo = Demo::start();
    processes::signal(demo.terminal.pid(), Signal::HUP);
    demo.assert_gone();
}

#[test]
fn leaving_a_demo_with_tables_of_the_user_asks_first() {
    let mut demo = Demo::start();
    demo.says(r#"sql(0, "create table mine(id int)")"#);
    demo.terminal.type_line("quit");
    demo.terminal.expect("[y/N] ");
    demo.terminal.type_line("n");
    demo.terminal.expect(PROMPT);
    demo.terminal.type_line("quit");
    demo.terminal.expect("[y/N] ");
    demo.terminal.type_line("y");
    demo.terminal.expect_end();
    demo.assert_gone();
}

#[test]
fn the_prompt_survives_an_error_and_a_host_that_dies() {
    let mut demo = Demo::start();
    demo.terminal.type_line("recoverr()");
    demo.terminal.expect("is it `recover`?");
    demo.says(r#"fault::stop_host("sdw1")"#);
    let state = demo.says(r#"wait_until(|s| s.down.len() == 4, #{ timeout: "30s" }); print(state())"#);
    assert!(state.contains("4 of 8 segments up"), "{state}");
    demo.says(r#"fault::start_host("sdw1")"#);
    demo.terminal.type_line("recover()");
    demo.terminal.expect("[y/N] ");
    demo.terminal.type_line("y");
    demo.terminal.expect("done");
    demo.terminal.expect("> ");
    demo.terminal.type_line("rebalance()");
    demo.terminal.expect("[y/N] ");
    demo.terminal.type_line("y");
    demo.terminal.expect("done");
    demo.terminal.expect(PROMPT);
    let state = demo.says("print(state())");
    assert!(state.contains("8 of 8 segments up"), "{state}");
}
