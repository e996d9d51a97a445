//! Arguments in, exit code out; nothing else.

use segsh::cli::{self, Action, Exit, Invocation, find};
use segsh::shell::{front, logging, terminal};
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
    dispatch(&invocation).into()
}

/// A shell without a log still works: it is only harder to explain afterwards.
fn log_to_file(invocation: &Invocation) {
    if let Some(directory) = logging::directory()
        && let Err(error) = logging::install(&directory, invocation.action.process())
    {
        eprintln!("no log is written to {}: {error}", directory.display());
    }
}

fn dispatch(invocation: &Invocation) -> Exit {
    let environment = std::env::var_os("SEGSH_CLUSTER");
    let Some(target) = find::named(invocation.cluster.as_deref(), environment) else {
        return without_cluster(&invocation.action);
    };
    match find::directory(&target, find::names_dir().as_deref()) {
        Ok(directory) => {
            eprintln!("cannot connect to cluster {}", directory.display());
            Exit::Unreachable
        }
        Err(error) => {
            eprintln!("{error}");
            Exit::Unreachable
        }
    }
}

/// Bare `segsh` offers a demo to whoever can answer.
fn without_cluster(action: &Action) -> Exit {
    if *action == Action::Prompt && terminal::is_interactive() && !front::offers_demo() {
        return Exit::Done;
    }
    eprint!("{}", front::NO_CLUSTER);
    Exit::Unreachable
}
