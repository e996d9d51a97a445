//! Arguments in, exit code out; nothing else.

use segsh::cli::{self, Action, Exit, Invocation, find};
use segsh::shell::batch::Source;
use segsh::shell::front::{self, FrontOptions};
use segsh::shell::run::{Task, run};
use segsh::shell::{logging, terminal};
use std::process::ExitCode;

fn main() -> ExitCode {
    let invocation = match cli::parse(std::env::args_os()) {
        Ok(invocation) => invocation,
        Err(error) => {
            // Help that nobody reads any more is no failure.
            let _ = error.print();
            return cli::parse_exit(&error).into();
        }
    };
    log_to_file(&invocation);
    dispatch(invocation)
}

/// A shell without a log still works: it is only harder to explain afterwards.
fn log_to_file(invocation: &Invocation) {
    if let Some(directory) = logging::directory()
        && let Err(error) = logging::install(&directory, invocation.action.process())
    {
        eprintln!("no log is written to {}: {error}", directory.display());
    }
}

fn dispatch(invocation: Invocation) -> ExitCode {
    let environment = std::env::var_os("SEGSH_CLUSTER");
    match find::named(invocation.cluster.as_deref(), environment) {
        Some(target) => on_cluster(&target),
        None => without_cluster(invocation),
    }
}

/// A cluster that is named but not there is exit 7, even when nothing would use it.
fn on_cluster(target: &str) -> ExitCode {
    match find::directory(target, find::names_dir().as_deref()) {
        Ok(directory) => eprintln!("cannot connect to cluster {}", directory.display()),
        Err(error) => eprintln!("{error}"),
    }
    Exit::Unreachable.into()
}

/// A script may need no cluster; a bare `segsh` offers one to whoever can answer.
fn without_cluster(invocation: Invocation) -> ExitCode {
    let source = match &invocation.action {
        Action::Script(source) => source.clone(),
        Action::Call(call) => call.to_batch(),
        Action::Prompt if terminal::is_interactive() && !front::offers_demo() => {
            return Exit::Done.into();
        }
        _ => {
            eprint!("{}", front::NO_CLUSTER);
            return Exit::Unreachable.into();
        }
    };
    batch(invocation, source)
}

fn batch(invocation: Invocation, source: Source) -> ExitCode {
    let options = FrontOptions {
        json: invocation.json,
        quiet: invocation.quiet,
        policy: invocation.policy,
        evidence: false,
    };
    match run(None, options, Task::Batch(source)) {
        Ok(code) => cli::exit::from_script(code),
        Err(error) => {
            eprintln!("{error}");
            Exit::ScriptError.into()
        }
    }
}
