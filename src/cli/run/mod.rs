//! What the command line asks for, done: the rooms wired to each other.

mod adopt;
mod check;
mod lifecycle;
mod local;
mod owner;
mod servers;
mod session;
mod tell;
mod test;
mod utility;
mod watched;

pub use tell::usage_document;

use super::{Action, Exit, Invocation, find};
use crate::script::Thrown;
use crate::shell::output::say;
use crate::shell::{logging, terminal};
use std::path::PathBuf;
use tell::Tell;

/// Carries out an invocation; the process's exit code.
pub fn run(invocation: &Invocation) -> i32 {
    match &invocation.action {
        // Servers log to their standard error, which is a file under the cluster's directory.
        Action::Host(args) => servers::host(args),
        Action::HostDo(args) => servers::host_do(args),
        Action::Segment(args) => servers::segment(args),
        Action::Coordinator(args) => servers::coordinator(args),
        Action::DemoKeeper(args) => servers::keeper(args),
        action => {
            log_to_file(action.process());
            person(invocation, action)
        }
    }
}

/// A shell without a log still works: it is only harder to explain afterwards.
fn log_to_file(process: &str) {
    if let Some(directory) = logging::directory()
        && let Err(error) = logging::install(&directory, process)
    {
        say(&format!("no log is written to {}: {error}", directory.display()));
    }
}

fn person(invocation: &Invocation, action: &Action) -> i32 {
    match action {
        Action::Demo(shape) => lifecycle::demo(invocation, shape),
        Action::Init { dir, shape, drill, file } => lifecycle::init(invocation, dir, shape, *drill, file.as_deref()),
        Action::Start => with_cluster(invocation, lifecycle::start),
        Action::Stop { mode } => with_cluster(invocation, |i, dir| lifecycle::stop(i, dir, mode.stop_mode())),
        Action::Status => with_cluster(invocation, lifecycle::status),
        Action::Destroy => with_cluster(invocation, lifecycle::destroy),
        Action::Adopt { dirs, dry_run, serve } => adopt::adopt(invocation, dirs, *dry_run, serve),
        Action::Prompt if target(invocation).is_none() => without_cluster(invocation),
        Action::Prompt => with_cluster(invocation, session::prompt),
        Action::Script(source) => session::script(invocation, source),
        Action::Call(call) => session::call(invocation, call),
        Action::Utility { utility, words } => utility::run(invocation, *utility, words),
        Action::Check { files } => check::check(invocation, files),
        Action::Test { path, filters } => test::test(invocation, path, filters),
        Action::Completions(shell) => written(&super::completions::script(*shell, &super::definition())),
        Action::Reference => written(&crate::script::reference()),
        Action::Apply { file } => session::apply(invocation, file),
        Action::Host(_) | Action::HostDo(_) | Action::Segment(_) | Action::Coordinator(_) | Action::DemoKeeper(_) => {
            Exit::Usage.process_code()
        }
    }
}

/// A text for stdout; a reader that went away is no failure.
fn written(text: &str) -> i32 {
    crate::shell::output::Output::to_stdout().write(text);
    Exit::Done.process_code()
}

/// The cluster that is named, by the flag or the environment.
fn target(invocation: &Invocation) -> Option<String> {
    find::named(invocation.cluster.as_deref(), std::env::var_os("SEGSH_CLUSTER"))
}

fn directory(invocation: &Invocation) -> Result<Option<PathBuf>, i32> {
    let Some(target) = target(invocation) else { return Ok(None) };
    match find::directory(&target, find::names_dir().as_deref()) {
        Ok(dir) => Ok(Some(dir)),
        Err(error) => Err(Tell::new(invocation).failed("unreachable", Exit::Unreachable, &error.to_string(), "")),
    }
}

fn with_cluster(invocation: &Invocation, work: impl FnOnce(&Invocation, &std::path::Path) -> i32) -> i32 {
    match directory(invocation) {
        Ok(Some(dir)) => work(invocation, &dir),
        Ok(None) => no_cluster(invocation),
        Err(code) => code,
    }
}

fn no_cluster(invocation: &Invocation) -> i32 {
    say(crate::shell::front::NO_CLUSTER);
    let thrown = Thrown::with_exit("no_cluster", Exit::Unreachable.process_code(), "no cluster is named");
    Tell::new(invocation).failure(thrown.next("segsh -c DIR, or SEGSH_CLUSTER=DIR"))
}

/// Bare `segsh` offers a demo to whoever can answer.
fn without_cluster(invocation: &Invocation) -> i32 {
    if !terminal::is_interactive() {
        return no_cluster(invocation);
    }
    if !crate::shell::front::offers_demo() {
        return Exit::Done.process_code();
    }
    let shape = super::Shape { contents: 4, hosts: 2, spare_hosts: 0, settings: Vec::new(), no_mirrors: false };
    lifecycle::demo(invocation, &shape)
}
