//! Arguments in, a plain value out, and the exit codes. What is done with it is not decided here.

mod args;
pub mod call;
pub mod completions;
pub mod exit;
pub mod find;
pub mod primitives;
pub mod run;

pub use args::Shape;
pub use call::{Call, Mode, Targets};
pub use exit::Exit;

use crate::gp::Utility;
use crate::shell::batch::Source;
use crate::shell::confirm::YesPolicy;
use args::{Cli, Command, Globals};
use clap::{CommandFactory, FromArgMatches};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Printed below the options.
const AFTER_HELP: &str = "\
Exit codes: 0 done, 1 script error, 2 usage, 3 nothing to do (dry run), 4 refused or
declined, 5 partial, 6 unknown or timed out, 7 cannot connect, 8 locked by another
administrator, 9 a check says no, 130 interrupted.
Of Greenplum, with their own options and exit codes: gpstate,
gprecoverseg, gpstop, gpstart (--help says more).";

/// What the command line asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invocation {
    /// `-c`; the environment is not looked at here.
    pub cluster: Option<String>,
    pub json: bool,
    /// `--ndjson`: events instead of one document.
    pub ndjson: bool,
    pub quiet: bool,
    /// `--dry-run` of a whole session. A call with a plan of its own makes that plan instead.
    pub dry_run: bool,
    /// `--timeout` of a whole run. A call with an option of that name takes it for itself.
    pub time_limit: Option<Duration>,
    pub policy: YesPolicy,
    pub action: Action,
}

/// The action itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Bare `segsh`: the prompt.
    Prompt,
    /// `-e`, a script file, or stdin.
    Script(Source),
    /// A primitive or a procedure.
    Call(Call),
    Demo(Shape),
    Init {
        dir: PathBuf,
        shape: Shape,
        drill: bool,
        /// `--file`: then the shape has only settings.
        file: Option<PathBuf>,
    },
    /// The cluster of these is in [`Invocation::cluster`], wherever it stood.
    Start,
    Stop {
        mode: Mode,
    },
    Status,
    Destroy,
    /// A utility of Greenplum, with what stands behind its name.
    Utility {
        utility: Utility,
        words: Vec<String>,
    },
    /// A saved plan, applied.
    Apply {
        file: PathBuf,
    },
    /// Scripts that are looked at and not run.
    Check {
        files: Vec<PathBuf>,
    },
    /// A library's tests, run on a cluster for drills.
    Test {
        path: PathBuf,
        filters: Vec<String>,
    },
    /// The script API as a document.
    Reference,
    /// A shell's completion script.
    Completions(completions::Shell),
    /// Rebuilds a catalog that is lost.
    Adopt {
        dirs: Vec<PathBuf>,
        dry_run: bool,
        serve: Vec<i64>,
    },
    /// Processes of segsh itself, with their own arguments.
    Host(Vec<OsString>),
    HostDo(Vec<OsString>),
    Segment(Vec<OsString>),
    Coordinator(Vec<OsString>),
    DemoKeeper(Vec<OsString>),
}

impl Action {
    /// The name of the log file of such a process.
    pub fn process(&self) -> &'static str {
        match self {
            Action::Host(_) | Action::HostDo(_) => "host",
            Action::Segment(_) => "segment",
            Action::Coordinator(_) => "coordinator",
            Action::DemoKeeper(_) => "demo-keeper",
            _ => "shell",
        }
    }
}

/// Reads a command line, the program's name first. An error carries its own exit: 0 for `--help`
/// and `--version`, 2 for a wrong command line; [`clap::Error::print`] shows it on the right stream.
pub fn parse<I, T>(args: I) -> Result<Invocation, clap::Error>
where
    I: IntoIterator<Item = T>,
    T: Into<OsString> + Clone,
{
    let mut args: Vec<OsString> = args.into_iter().map(Into::into).collect();
    if let Some(utility) = args.first().and_then(|program| linked(program)) {
        args.insert(1, utility.name().into());
    }
    let matches = primitives::added_to_read(Cli::command(), &args).try_get_matches_from(&args)?;
    if let Some(call) = primitives::call(&matches) {
        return invocation(Globals::from_arg_matches(&matches)?, Asked::Call(call));
    }
    let cli = Cli::from_arg_matches(&matches)?;
    if let Some(Command::Script(words)) = &cli.command
        && let Some(first) = words.first()
        && !is_script(first)
        && utility_of(first).is_none()
    {
        return Err(unknown_command(first));
    }
    invocation(cli.globals, cli.command.map_or(Asked::Nothing, Asked::Command))
}

/// The whole command line: the lifecycle's commands, and the primitives of the script API.
pub fn definition() -> clap::Command {
    primitives::added_to(Cli::command())
}

/// What stands behind the flags.
enum Asked {
    Nothing,
    Command(Command),
    Call(Call),
}

/// The exit of a command line that was not understood, or that asked for help.
pub fn parse_exit(error: &clap::Error) -> Exit {
    if error.use_stderr() { Exit::Usage } else { Exit::Done }
}

/// A program that is a link named as a utility is that utility.
fn linked(program: &OsStr) -> Option<Utility> {
    utility_of(Path::new(program).file_name()?)
}

fn utility_of(word: &OsStr) -> Option<Utility> {
    word.to_str().and_then(Utility::parse)
}

/// A script is a path or `-`; any other word was meant as a command.
fn is_script(first: &OsStr) -> bool {
    let path = Path::new(first);
    first == "-" || path.extension() == Some(OsStr::new("rhai")) || path.components().count() > 1
}

/// Clap names the nearest command when a script is not allowed in its place.
fn unknown_command(word: &OsStr) -> clap::Error {
    let whole = definition();
    let strict = clap::Command::new("segsh")
        .override_usage("segsh [OPTIONS] [COMMAND | FILE.rhai | -]")
        .subcommands(whole.get_subcommands().filter(|c| !c.is_hide_set()).cloned());
    match strict.try_get_matches_from([OsStr::new("segsh"), word]) {
        Err(error) => error,
        Ok(_) => usage("this is no command"),
    }
}

fn usage(message: &str) -> clap::Error {
    Cli::command().error(clap::error::ErrorKind::ArgumentConflict, message)
}

fn invocation(mut globals: Globals, asked: Asked) -> Result<Invocation, clap::Error> {
    if !globals.eval.is_empty() && !matches!(asked, Asked::Nothing) {
        return Err(usage("-e stands alone: it cannot be used with a script or a command"));
    }
    let mut cluster = globals.cluster.take();
    let time_limit = globals.timeout.as_deref().map(time_limit).transpose()?;
    let action = match asked {
        Asked::Nothing if globals.eval.is_empty() => Action::Prompt,
        Asked::Nothing => Action::Script(Source::Codes(std::mem::take(&mut globals.eval))),
        Asked::Command(command) => action(command, &mut cluster)?,
        Asked::Call(call) => Action::Call(call),
    };
    let action = of_the_utility(action, &mut globals);
    let mut policy = globals.yes.unwrap_or_default();
    policy.verb = match &action {
        Action::Call(call) => Some(call.function.clone()),
        _ => None,
    };
    let (json, ndjson, quiet) = (globals.json, globals.ndjson, globals.quiet);
    let mut whole = Invocation { cluster, json, ndjson, quiet, dry_run: globals.dry_run, time_limit, policy, action };
    settle(&mut whole)?;
    Ok(whole)
}

/// Of segsh's own flags a utility knows one: `--json`.
fn of_the_utility(action: Action, globals: &mut Globals) -> Action {
    let Action::Utility { utility, mut words } = action else { return action };
    let typed = words.len();
    words.retain(|word| word != "--json");
    globals.json |= words.len() < typed;
    Action::Utility { utility, words }
}

/// What a flag is about depends on the action: a call's own, the whole run's, or nobody's.
fn settle(invocation: &mut Invocation) -> Result<(), clap::Error> {
    let (dry_run, limited, ndjson) = (invocation.dry_run, invocation.time_limit.is_some(), invocation.ndjson);
    match &invocation.action {
        Action::Call(call) => {
            invocation.dry_run &= !call.dry_run;
            invocation.time_limit = invocation.time_limit.filter(|_| !call.has("timeout"));
            Ok(())
        }
        Action::Script(_) | Action::Apply { .. } | Action::Utility { .. } => Ok(()),
        Action::Test { .. } if !dry_run => Ok(()),
        Action::Prompt | Action::Demo(_) if limited || ndjson => {
            Err(usage("--timeout and --ndjson are for a script, -e or a command, not for a prompt"))
        }
        Action::Prompt | Action::Demo(_) => Ok(()),
        Action::Adopt { .. } if !limited => {
            invocation.dry_run = false;
            Ok(())
        }
        _ if limited => Err(usage("this command takes no --timeout: what it begins must end")),
        _ if dry_run => Err(usage("this command has no dry run")),
        _ => Ok(()),
    }
}

fn time_limit(text: &str) -> Result<Duration, clap::Error> {
    let ms = crate::script::duration_ms(text).ok().and_then(|ms| u64::try_from(ms).ok());
    ms.map(Duration::from_millis).ok_or_else(|| usage(&format!("--timeout {text}: a time has a unit, such as 10m")))
}

/// Whether a command line that could not be read asked for JSON: then its failure is a document too.
pub fn wants_document(args: &[OsString]) -> bool {
    args.iter().any(|arg| arg == "--json" || arg == "--ndjson")
}

/// `segsh start DIR` and `segsh start -c DIR` are one; both at once must agree.
fn place(dir: Option<String>, cluster: &mut Option<String>) -> Result<(), clap::Error> {
    match (dir, cluster.as_ref()) {
        (Some(dir), Some(flag)) if dir != *flag => Err(usage(&format!("two clusters are named: `{dir}` and `{flag}`"))),
        (Some(dir), _) => {
            *cluster = Some(dir);
            Ok(())
        }
        (None, _) => Ok(()),
    }
}

fn action(command: Command, cluster: &mut Option<String>) -> Result<Action, clap::Error> {
    Ok(match command {
        Command::Demo { shape } => Action::Demo(shape),
        Command::Init { dir, shape, drill, file } => Action::Init { dir, shape, drill, file },
        Command::Start { dir } => {
            place(dir, cluster)?;
            Action::Start
        }
        Command::Stop { dir, mode } => {
            place(dir, cluster)?;
            Action::Stop { mode }
        }
        Command::Status { dir } => {
            place(dir, cluster)?;
            Action::Status
        }
        Command::Destroy { dir } => {
            place(dir, cluster)?;
            Action::Destroy
        }
        Command::Apply { file } => Action::Apply { file },
        Command::Adopt { dirs, dry_run, serve } => Action::Adopt { dirs, dry_run, serve },
        Command::Host(raw) => Action::Host(raw.args),
        Command::HostDo(raw) => Action::HostDo(raw.args),
        Command::Segment(raw) => Action::Segment(raw.args),
        Command::Coordinator(raw) => Action::Coordinator(raw.args),
        Command::DemoKeeper(raw) => Action::DemoKeeper(raw.args),
        Command::Script(words) => match words.first().and_then(|first| utility_of(first)) {
            Some(utility) => Action::Utility { utility, words: texts(words.into_iter().skip(1))? },
            None => Action::Script(script(words)?),
        },
        Command::Check { files } => Action::Check { files },
        Command::Test { path, filters } => Action::Test { path, filters },
        Command::Reference => Action::Reference,
        Command::Completions { shell } => Action::Completions(shell),
        Command::Run { procedure, targets, set, dry_run } => {
            let call = Call::procedure(&procedure).targets(&targets);
            if let Some((twice, _)) = set.iter().find(|(name, _)| call.has(name)) {
                return Err(usage(&format!("`{twice}` is given twice: by its own flag and by --set")));
            }
            Action::Call(call.set(&set).dry(dry_run))
        }
    })
}

fn texts(words: impl Iterator<Item = OsString>) -> Result<Vec<String>, clap::Error> {
    let texts = words.map(|word| word.into_string()).collect::<Result<Vec<String>, OsString>>();
    texts.map_err(|word| usage(&format!("{word:?} is not UTF-8")))
}

/// Everything behind the script's name is the script's.
fn script(words: Vec<OsString>) -> Result<Source, clap::Error> {
    let mut words = words.into_iter();
    let first = words.next().unwrap_or_default();
    let args = texts(words)?;
    Ok(match first.to_str() {
        Some("-") => Source::Stdin { args },
        _ => Source::File { path: PathBuf::from(first), args },
    })
}

#[cfg(test)]
mod tests;
