//! The shell in a pseudo-terminal: what only a real terminal can show.
//!
//! Each test starts this test binary again inside a pseudo-terminal, running only [`child`], which
//! plays the part that the environment names.

use expectrl::process::unix::WaitStatus;
use expectrl::session::OsSession;
use expectrl::{Eof, Expect, Regex, Session};
use segsh::cluster::{ContentProgress, Control, Intent, Outcome, OutcomeStatus, Plan, Progressing, Selection};
use segsh::core::ids::{Content, Dbid};
use segsh::script::ui::{Answer, Damage, Ui};
use segsh::shell::evaluator::{Evaluated, Evaluator, Failure, Variable};
use segsh::shell::output::Output;
use segsh::shell::render::{Screens, Style};
use segsh::shell::repl::{Repl, ReplConfig};
use segsh::shell::signals::Signals;
use segsh::shell::ui::{Manner, ShellUi};
use std::path::Path;
use std::process::Command;
use std::rc::Rc;
use std::time::{Duration, Instant};

type Tested = Result<(), Box<dyn std::error::Error>>;

const PART: &str = "SEGSH_TERMINAL_PART";
const FILE: &str = "SEGSH_TERMINAL_FILE";

fn start(part: &str, file: &Path) -> Result<OsSession, Box<dyn std::error::Error>> {
    let mut command = Command::new(std::env::current_exe()?);
    command
        .args(["child", "--exact", "--nocapture", "--test-threads=1"])
        .env(PART, part)
        .env(FILE, file)
        .env("TERM", "xterm")
        .env("NO_COLOR", "1");
    let mut session = Session::spawn(command)?;
    session.set_expect_timeout(Some(Duration::from_secs(20)));
    Ok(session)
}

/// Not a test by itself: the far end of the pseudo-terminal.
#[test]
fn child() {
    match std::env::var(PART).as_deref() {
        Ok("confirm") => confirm_part(),
        Ok("repl") => repl_part(),
        Ok("watch") => watch_part(),
        _ => {}
    }
}

fn shell() -> Rc<ShellUi> {
    let manner = Manner { interactive: true, ..Manner::default() };
    let signals = Signals::install().expect("signals can be taken");
    let screens = Screens::new(Style::default(), "demo");
    Rc::new(ShellUi::new(manner, screens, signals, Output::to_stdout()))
}

fn plan() -> Plan {
    Plan {
        id: "9f3c".into(),
        state_id: "a81e".into(),
        cluster_id: "c".into(),
        made_ms: 0,
        intent: Intent::Recover { selection: Selection::default(), rate_bytes: None, jobs: None },
        steps: vec![],
        joined: vec![],
        refusals: vec![],
        refuses: false,
        epochs: vec![],
        after: vec![],
        places: vec![],
        notes: vec![],
    }
}

/// Waits for the file that the near end makes when its keys have been typed.
fn await_file() {
    let file = std::env::var_os(FILE).expect("the near end names a file");
    let begun = Instant::now();
    while !Path::new(&file).exists() && begun.elapsed() < Duration::from_secs(20) {
        std::thread::yield_now();
    }
}

fn confirm_part() {
    let ui = shell();
    println!("ready");
    await_file();
    let answer = ui.confirm(&plan(), &Damage::Reversible);
    println!("first {answer:?}");
    let damage = Damage::TypeWord("sdw2".into());
    let answer = ui.confirm(&plan(), &damage);
    println!("second {answer:?}");
    let damage = Damage::TypeCluster("demo".into());
    let answer = ui.confirm(&plan(), &damage);
    assert_eq!(answer, Answer::Interrupted);
    println!("third {answer:?}");
}

#[test]
fn type_ahead_is_no_answer_and_only_the_exact_word_is() -> Tested {
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("typed");
    let mut session = start("confirm", &file)?;
    session.expect("ready")?;
    session.send("y\r")?;
    std::fs::write(&file, "")?;
    session.expect("Go on? [y/N] ")?;
    session.send("n\r")?;
    session.expect("first No")?;
    session.expect("Type sdw2 to go on: ")?;
    session.send("sdw2\r")?;
    session.expect("second Yes")?;
    session.expect("Type its name, demo, to go on: ")?;
    session.send("\x03")?;
    session.expect("third Interrupted")?;
    session.expect(Eof)?;
    Ok(())
}

/// An engine that echoes, and one line of which runs until it is interrupted.
struct Echo(Rc<ShellUi>);

impl Evaluator for Echo {
    fn variables(&self) -> Vec<Variable> {
        Vec::new()
    }
    fn eval_line(&mut self, text: &str) -> Result<Evaluated, Box<Failure>> {
        if text == "forever()" {
            println!("running");
            while !self.0.interrupted() {
                std::thread::yield_now();
            }
            let mut failure = Failure::default();
            failure.view.code = "interrupted".into();
            failure.view.message = "ended by Ctrl-C".into();
            failure.view.exit = 130;
            return Err(Box::new(failure));
        }
        Ok(Evaluated {
            text: (text != "let x = 1").then(|| format!("<{}>", text.replace('\n', "|"))),
            ..Evaluated::default()
        })
    }
    fn rehearse(&mut self, _: bool) {}
    fn run_source(&mut self, _: &str, text: &str, _: &[String]) -> Result<Evaluated, Box<Failure>> {
        self.eval_line(text)
    }
    fn run_file(&mut self, path: &Path, _: &[String]) -> Result<Evaluated, Box<Failure>> {
        self.eval_line(&path.display().to_string())
    }
}

fn repl_part() {
    let ui = shell();
    let config = ReplConfig {
        name: "demo".into(),
        drill: true,
        dry_run: false,
        greeting: vec!["welcome".into()],
        is_incomplete: Rc::new(|text| text.matches('{').count() > text.matches('}').count()),
        look: None,
        may_leave: Rc::new(|| true),
        history: std::env::var_os(FILE).map(Into::into),
    };
    let mut engine = Echo(Rc::clone(&ui));
    let screens = Screens::new(Style::default(), "demo");
    let mut repl = Repl::new(config, ui, screens, &mut engine).expect("a terminal to edit on");
    let code = repl.run().expect("a terminal to read from");
    println!("left with {code}");
}

fn lines(session: &mut OsSession, typed: &str, shown: &str) -> Tested {
    session.expect("demo> ")?;
    session.send(typed)?;
    session.expect(shown)?;
    Ok(())
}

#[test]
fn the_prompt_reads_evaluates_and_shows() -> Tested {
    let dir = tempfile::tempdir()?;
    let history = dir.path().join("history");
    let mut session = start("repl", &history)?;
    session.expect("welcome")?;
    lines(&mut session, "? recover\r", "<help(\"recover\")>")?;
    lines(&mut session, "if x {\r1 }\r", "<if x {|1 }>")?;
    lines(&mut session, "half a line\x03", "")?;
    lines(&mut session, "forever()\r", "running")?;
    session.send("\x03")?;
    session.expect("error[interrupted]: ended by Ctrl-C")?;
    lines(&mut session, "the_password()\r", "<the_password()>")?;
    lines(&mut session, "state()\r", "<state()>")?;
    lines(&mut session, "\x04", "left with 0")?;
    session.expect(Eof)?;
    let kept = std::fs::read_to_string(&history)?;
    assert!(kept.contains("state()"), "{kept}");
    assert!(!kept.contains("password") && !kept.contains("half"), "{kept}");
    Ok(())
}

#[test]
fn a_bare_word_leaves() -> Tested {
    let dir = tempfile::tempdir()?;
    let mut session = start("repl", &dir.path().join("history"))?;
    lines(&mut session, "quit\r", "left with 0")?;
    session.expect(Eof)?;
    Ok(())
}

#[test]
fn a_term_at_the_prompt_ends_the_shell() -> Tested {
    let dir = tempfile::tempdir()?;
    let mut session = start("repl", &dir.path().join("history"))?;
    session.expect("demo> ")?;
    session.get_process_mut().signal(expectrl::process::unix::Signal::SIGTERM)?;
    session.expect(Eof)?;
    assert!(matches!(session.get_process().wait()?, WaitStatus::Exited(_, 130)));
    Ok(())
}

fn watch_part() {
    let ui = shell();
    let mut observer = ui.observer(&plan());
    let now = Progressing {
        op: 118,
        elapsed_ms: 5,
        contents: vec![ContentProgress {
            content: Content(2),
            dbid: Dbid(4),
            doing: "starting the mirror".into(),
            finished: false,
            progress: None,
        }],
    };
    let control = loop {
        match observer.progress(&now) {
            Control::KeepWatching => std::thread::yield_now(),
            control => break control,
        }
    };
    drop(observer);
    println!("control {control:?}");
    ui.ended(&Outcome {
        verb: "recover".into(),
        status: OutcomeStatus::Started,
        op: Some(118),
        segments: vec![],
        refusals: vec![],
        elapsed_ms: 5,
        message: String::new(),
        next: String::new(),
    });
}

#[test]
fn ctrl_c_during_an_operation_asks_what_is_meant() -> Tested {
    let dir = tempfile::tempdir()?;
    let mut session = start("watch", &dir.path().join("none"))?;
    session.expect("starting the mirror")?;
    session.send("\x03")?;
    session.expect("(k)eep watching? [k] ")?;
    session.send("\r")?;
    session.expect("starting the mirror")?;
    session.send("\x03")?;
    session.expect("(k)eep watching? [k] ")?;
    session.send("d\r")?;
    session.expect("detached: operation 118 goes on at the coordinator")?;
    session.expect("control Detach")?;
    session.expect(Regex("started .*operation 118"))?;
    session.expect(Eof)?;
    Ok(())
}
