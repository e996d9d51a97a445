//! The utilities of Greenplum on a session's cluster: what [`crate::gp`] decides, asked, said and done.

mod recover;
mod start;
mod state;
mod stop;

use super::context::{Context, now_ms};
use super::thrown::{Thrower, Thrown};
use super::ui::{Reply, Seat};
use crate::cluster::State;
use crate::gp::args::{COMMON, Given, Opt, help};
use crate::gp::display::{answer, prompt};
use crate::gp::failure::Failure;
use crate::gp::gpstate;
use crate::gp::line::{Level, Line, Stamp};
use crate::gp::page::Page;
use crate::gp::{About, Utility, refusals};
use serde_json::{Value, json};
use std::cell::{Cell, RefCell};
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The version of the SQL front, as the coordinator's clients see it.
const SERVER_VERSION: &str = "15.0 (segsh)";

/// How a run ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Ended {
    pub utility: Utility,
    pub exit: i32,
    /// The lines as they were written, without what changes from run to run.
    pub lines: Vec<String>,
    /// The tables with their rows, the state they were made from, an outcome: what `--json` has.
    pub document: Value,
    /// Why it ended early, as it would be thrown.
    pub failure: Option<(String, String)>,
}

/// Why a run does not go on.
enum Stop {
    Failed(Failure),
    /// Not its own affair: the cluster does not answer, Ctrl-C.
    Thrown(Thrown),
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Stop {
        Stop::Failed(failure)
    }
}

impl From<Thrown> for Stop {
    fn from(thrown: Thrown) -> Stop {
        Stop::Thrown(thrown)
    }
}

impl From<crate::gp::args::Wrong> for Stop {
    fn from(wrong: crate::gp::args::Wrong) -> Stop {
        Stop::Failed(wrong.into())
    }
}

/// What each step returns.
type Step<T = ()> = Result<T, Stop>;

/// Runs a utility with what was typed behind its name.
pub(super) fn run(context: &Context, utility: Utility, words: &[String]) -> Thrower<Ended> {
    let run = Run::new(context, utility, words);
    let result = match utility {
        Utility::Gpstate => state::run(&run),
        Utility::Gprecoverseg => recover::run(&run),
        Utility::Gpstop => stop::run(&run),
        Utility::Gpstart => start::run(&run),
    };
    let (exit, failure) = match result {
        Ok(()) => (run.exit.get(), None),
        Err(Stop::Failed(failure)) => {
            failure.lines(utility).into_iter().for_each(|line| run.line(line));
            let thrown = (failure.message(utility), failure.next_step().to_string());
            (failure.exit(), Some(thrown))
        }
        Err(Stop::Thrown(thrown)) if thrown.code == "interrupted" => return Err(thrown),
        Err(Stop::Thrown(thrown)) => {
            let failure = Failure::failed(thrown.message.clone()).next(thrown.next.clone());
            failure.lines(utility).into_iter().for_each(|line| run.line(line));
            (failure.exit(), Some((failure.message(utility), thrown.next.clone())))
        }
    };
    Ok(run.ended(exit, failure))
}

/// One run.
struct Run<'a> {
    context: &'a Context,
    utility: Utility,
    words: &'a [String],
    about: About,
    seat: Seat,
    stamp: Stamp,
    manner: RefCell<Manner>,
    lines: RefCell<Vec<String>>,
    tables: RefCell<Vec<Value>>,
    /// What else the document holds, by its key.
    more: RefCell<Vec<(&'static str, Value)>>,
    exit: Cell<i32>,
}

/// What `-q`, `-v` and `-l` say.
#[derive(Debug, Default)]
struct Manner {
    quiet: bool,
    verbose: bool,
    log: Option<PathBuf>,
}

impl<'a> Run<'a> {
    fn new(context: &'a Context, utility: Utility, words: &'a [String]) -> Run<'a> {
        let seat = context.ui.seat();
        let stamp = Stamp {
            program: utility.name().into(),
            host: seat.host.clone(),
            user: seat.user.clone(),
            pid: std::process::id(),
            utc_offset_s: seat.utc_offset_s,
        };
        let release = format!("segsh {}", crate::core::report::RELEASE);
        Run {
            context,
            utility,
            words,
            about: About { release, server_version: SERVER_VERSION.into() },
            seat,
            stamp,
            manner: RefCell::default(),
            lines: RefCell::default(),
            tables: RefCell::default(),
            more: RefCell::default(),
            exit: Cell::new(0),
        }
    }

    /// Obeys what all utilities have in common. True when that was all: help, or the release.
    fn begin(&self, given: &Given, about: &str, options: &'static [Opt]) -> Step<bool> {
        if given.has("help") {
            let text = help(self.utility, about, &[options, COMMON]);
            text.lines().for_each(|line| self.line(Line::bare(line)));
            return Ok(true);
        }
        if given.has("version") {
            self.line(Line::bare(format!("{} version {}", self.utility.name(), self.about.release)));
            return Ok(true);
        }
        let named = given.value("l").map(PathBuf::from);
        let log = named.clone().or_else(|| self.seat.log_dir.clone());
        self.manner.replace(Manner { quiet: given.has("q"), verbose: given.has("v"), log });
        if let Some(dir) = named {
            self.can_log(&dir)?;
        }
        self.page(gpstate::opening(self.utility, self.words, &self.about));
        let Some(cluster) = &self.context.cluster else {
            return Err(refusals::no_directory(self.utility).into());
        };
        if let Some(dir) = given.value("d") {
            let state = cluster.state().map_err(Thrown::from)?;
            is_of(&state, Path::new(dir))?;
        }
        Ok(false)
    }

    /// A log that was asked for by name must be written.
    fn can_log(&self, dir: &Path) -> Step {
        let cannot = |error: std::io::Error| Failure::expected(format!("{}: {error}", dir.display()));
        std::fs::create_dir_all(dir).map_err(cannot)?;
        open_log(&dir.join(self.stamp.log_name(now_ms()))).map(drop).map_err(cannot)?;
        Ok(())
    }

    /// Says a line: to the person as far as `-q` and `-v` let it pass, and to the log.
    fn line(&self, line: Line) {
        let now = now_ms();
        let text = line.stamped(&self.stamp, now);
        let manner = self.manner.borrow();
        if line.level == Some(Level::Debug) && !manner.verbose {
            return;
        }
        if let Some(dir) = &manner.log {
            append(&dir.join(self.stamp.log_name(now)), &text);
        }
        let is_loud = !matches!(line.level, Some(Level::Debug | Level::Info));
        if !manner.quiet || is_loud {
            self.context.ui.print(&text);
        }
        self.lines.borrow_mut().push(line.unstamped());
    }

    fn info(&self, text: impl Into<String>) {
        self.line(Line::info(text));
    }

    /// How a question was answered yes, for the audit log: `-a`, or `typed`.
    fn confirmed(&self, granted: bool, question: &str) -> Step<&'static str> {
        if granted {
            return Ok("-a");
        }
        loop {
            match self.context.ui.ask_line(&prompt(question)) {
                Reply::Line(line) => match answer(&line) {
                    Some(true) => return Ok("typed"),
                    Some(false) => return Err(Failure::declined("").into()),
                    None => {}
                },
                Reply::CannotAsk => {
                    let hint = format!("{} -a asks nothing", self.utility.name());
                    return Err(Failure::declined(hint).into());
                }
                Reply::Interrupted => return Err(Thrown::interrupted().into()),
            }
        }
    }

    fn debug(&self, text: impl Into<String>) {
        self.line(Line::of(Level::Debug, text));
    }

    /// Says a page; its exit code becomes the run's.
    fn page(&self, page: Page) {
        page.lines().into_iter().for_each(|line| self.line(line));
        if let Value::Array(tables) = page.tables() {
            self.tables.borrow_mut().extend(tables);
        }
        self.exit.set(self.exit.get().max(page.exit));
    }

    /// Adds to the document.
    fn tell(&self, key: &'static str, value: Value) {
        self.more.borrow_mut().push((key, value));
    }

    /// The cluster after FTS has looked. One whose coordinator does not answer is of no use to any utility but the one
    /// that starts it.
    fn probed(&self) -> Step<State> {
        let state = self.context.probe()?;
        self.debug(format!("cluster {}: its state is {} ms old", state.cluster, state.age_ms));
        Ok(state)
    }

    fn ended(self, exit: i32, failure: Option<(String, String)>) -> Ended {
        let lines = self.lines.take();
        let mut document = json!({
            "utility": self.utility.name(), "args": self.words, "exit": exit, "lines": lines,
            "tables": self.tables.take(),
        });
        for (key, value) in self.more.take() {
            document[key] = value;
        }
        Ended { utility: self.utility, exit, lines, document, failure }
    }
}

/// `-d` may name the session's own cluster, by its directory or its coordinator's.
fn is_of(state: &State, dir: &Path) -> Step {
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
    let own = real(Path::new(&state.coordinator_row.datadir));
    let given = real(dir);
    if given == own || own.parent() == Some(&given) {
        return Ok(());
    }
    let says =
        format!("-d {}: this session is on {}, whose directory is {}", dir.display(), state.cluster, own.display());
    Err(Failure::expected(says).next("segsh gpstate -d DIR, at the system's own prompt").into())
}

fn open_log(path: &Path) -> std::io::Result<std::fs::File> {
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}

/// A log that cannot be written keeps nobody from work: who named it was told at the beginning.
fn append(path: &Path, text: &str) {
    let written = open_log(path).and_then(|mut file| writeln!(file, "{text}"));
    if let Err(error) = written {
        tracing::warn!(%error, path = %path.display(), "a utility's line was not logged");
    }
}
