//! The processes of segsh itself. Each takes one directory and nothing else.

use crate::shell::output::say;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Errors before `ready` go to the log, which whoever started the process quotes.
fn serve(flag: &str, args: &[OsString], work: impl FnOnce(&Path) -> Result<(), String>) -> i32 {
    let dir = match args {
        [given, dir] if given == flag => PathBuf::from(dir),
        _ => {
            say(&format!("this process is started by segsh itself, with {flag} DIR"));
            return super::Exit::Usage.process_code();
        }
    };
    log_to_stderr();
    end_on_panic();
    match work(&dir) {
        Ok(()) => super::Exit::Done.process_code(),
        Err(message) => {
            say(&message);
            super::Exit::ScriptError.process_code()
        }
    }
}

fn log_to_stderr() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("SEGSH_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(false).with_env_filter(filter).init();
}

/// A panic leaves a state nobody reasoned about: the process ends, and the others see it gone.
fn end_on_panic() {
    let say = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        say(info);
        std::process::abort();
    }));
}

fn on_a_runtime<E: std::fmt::Display>(work: impl Future<Output = Result<(), E>>) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.map_err(|e| e.to_string())?.block_on(work).map_err(|e| e.to_string())
}

pub fn host(args: &[OsString]) -> i32 {
    serve("--dir", args, |dir| on_a_runtime(crate::hosts::run_agent(dir)))
}

/// One request, one answer. What it did stands in the host's own log, for the answer is all that its caller reads.
pub fn host_do(args: &[OsString]) -> i32 {
    let done = match args {
        [flag] if flag == "--digest" => crate::hosts::own_digest(),
        [flag, dir] if flag == "--dir" => {
            log_to_host(Path::new(dir));
            crate::hosts::host_do(Path::new(dir), std::io::stdin().lock())
        }
        _ => {
            say("this process is started by segsh itself, with --dir DIR");
            return super::Exit::Usage.process_code();
        }
    };
    match done {
        Ok(line) => {
            crate::shell::output::Output::to_stdout().write(&format!("{line}\n"));
            super::Exit::Done.process_code()
        }
        Err(error) => {
            say(&error.to_string());
            super::Exit::ScriptError.process_code()
        }
    }
}

/// A host without a log still does what it is asked.
fn log_to_host(dir: &Path) {
    let Ok(config) = crate::hosts::AgentConfig::load(dir) else { return };
    let path = config.log_dir.join(format!("host-{}.log", config.host));
    if let Ok(file) = std::fs::OpenOptions::new().append(true).create(true).open(path) {
        tracing_subscriber::fmt().with_writer(std::sync::Mutex::new(file)).with_ansi(false).init();
    }
}

pub fn segment(args: &[OsString]) -> i32 {
    serve("--datadir", args, |dir| crate::segment::run(dir).map_err(|e| e.to_string()))
}

pub fn coordinator(args: &[OsString]) -> i32 {
    serve("--dir", args, |dir| on_a_runtime(crate::coordinator::run(dir)))
}

pub fn keeper(args: &[OsString]) -> i32 {
    serve("--dir", args, |dir| on_a_runtime(crate::cluster_dir::run_keeper(dir)))
}
