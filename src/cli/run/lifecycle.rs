//! The life of a cluster from the command line: init, start, stop, status, destroy, demo.

use super::super::{Exit, Invocation, Shape};
use super::local::{self, Directory, block_on};
use super::session;
use super::watched::watched;
use crate::cluster::{Cluster, Observer, Outcome, OutcomeStatus, SqlTarget, State};
use crate::cluster_dir::{self, ClusterConfig, ClusterDirError, ClusterHandle, Demo, InitOptions};
use crate::core::ids::Content;
use crate::core::report::StopMode;
use crate::hosts::SegmentConfig;
use crate::script::json::state_json;
use crate::segment::identity::{Owner, create_content};
use crate::shell::render::Screens;
use crate::shell::run::Task;
use crate::shell::signals::Signals;
use crate::shell::terminal::{self, Typed, ask};
use crate::shell::watch::{BatchWatch, TerminalWatch};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

fn failed(error: &ClusterDirError) -> i32 {
    eprintln!("{error}");
    eprintln!("next: {}", error.next());
    match error {
        ClusterDirError::Missing { .. } | ClusterDirError::NotACluster { .. } | ClusterDirError::Coordinator(_) => {
            Exit::Unreachable.process_code()
        }
        ClusterDirError::Locked { .. } => Exit::Locked.process_code(),
        ClusterDirError::Refused(_) => Exit::Refused.process_code(),
        _ => Exit::ScriptError.process_code(),
    }
}

fn owner_of(config: &SegmentConfig) -> Owner<'_> {
    Owner { cluster_id: &config.cluster_id, dbid: config.dbid, content: config.content, dir: &config.datadir }
}

/// Both members of a pair must begin equal, so a pair is made when its second member is known.
struct Maker {
    mirrors: bool,
    first: RefCell<BTreeMap<Content, SegmentConfig>>,
}

impl Maker {
    fn make(&self, config: &SegmentConfig) -> Result<(), String> {
        let first = self.first.borrow_mut().remove(&config.content);
        if self.mirrors && first.is_none() {
            self.first.borrow_mut().insert(config.content, config.clone());
            return Ok(());
        }
        let primary = first.as_ref().unwrap_or(config);
        let mirror = first.is_some().then(|| owner_of(config));
        create_content(&owner_of(primary), mirror.as_ref()).map_err(|e| e.to_string())
    }
}

fn make_catalog(config: &ClusterConfig) -> Result<(), String> {
    make_password_file(config).map_err(|e| format!("{}: {e}", crate::coordinator::PASSWORD_FILE))?;
    crate::coordinator::create_catalog(config).map_err(|e| e.to_string())
}

/// A random password for clients over TCP, in the form of their own `PGPASSFILE`.
fn make_password_file(config: &ClusterConfig) -> std::io::Result<()> {
    let mut password = [0u8; 16];
    let random = ring::rand::SystemRandom::new();
    ring::rand::SecureRandom::fill(&random, &mut password).map_err(|_| std::io::Error::other("no random bytes"))?;
    let hex: String = password.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(config.dir.join(crate::coordinator::PASSWORD_FILE))?;
    let (address, port) = (&config.coordinator.address, config.coordinator.port);
    writeln!(file, "{address}:{port}:*:segsh:{hex}")?;
    file.sync_all()
}

fn init_options(shape: &Shape, drill: bool) -> InitOptions {
    InitOptions {
        // The command line bounds both below 1 025.
        contents: u16::try_from(shape.contents).unwrap_or(u16::MAX),
        hosts: u16::try_from(shape.hosts).unwrap_or(u16::MAX),
        drill,
        settings: shape.settings.iter().cloned().collect(),
        ..InitOptions::default()
    }
}

pub fn init(dir: &Path, shape: &Shape, drill: bool) -> i32 {
    let maker = Maker { mirrors: true, first: RefCell::default() };
    match cluster_dir::init(dir, &init_options(shape, drill), &|c| maker.make(c), &make_catalog) {
        Ok(handle) => {
            let (contents, hosts) = (shape.contents, shape.hosts);
            println!("cluster {} made: {contents} contents on {hosts} hosts, stopped", handle.name());
            println!("next: segsh start {}", handle.dir().display());
            Exit::Done.process_code()
        }
        Err(error) => failed(&error),
    }
}

fn observer(invocation: &Invocation) -> std::io::Result<Box<dyn Observer>> {
    let signals = Signals::install()?;
    Ok(if terminal::is_interactive() && !invocation.quiet {
        Box::new(TerminalWatch::new(signals, terminal::stderr_style()))
    } else {
        Box::new(BatchWatch::new(signals, invocation.quiet))
    })
}

fn with_handle(invocation: &Invocation, dir: &Path, work: impl FnOnce(Directory, &mut dyn Observer) -> i32) -> i32 {
    let handle = match cluster_dir::open(dir) {
        Ok(handle) => handle,
        Err(error) => return failed(&error),
    };
    match observer(invocation) {
        Ok(mut observer) => work(Directory { handle, owner: local::owner("") }, observer.as_mut()),
        Err(error) => {
            eprintln!("signals cannot be taken: {error}");
            Exit::ScriptError.process_code()
        }
    }
}

/// The end of a lifecycle command, for a person; its exit code.
fn told(outcome: &Outcome, name: &str, quiet: bool) -> i32 {
    if !quiet || outcome.status != OutcomeStatus::Done {
        let screens = Screens::new(terminal::stderr_style(), name);
        eprint!("{}", screens.outcome(outcome));
    }
    outcome.status.exit()
}

pub fn start(invocation: &Invocation, dir: &Path) -> i32 {
    with_handle(invocation, dir, |directory, observer| {
        let name = directory.handle.name().to_owned();
        match watched(observer, |watch| block_on(directory.start(watch))) {
            Ok(outcome) => told(&outcome, &name, invocation.quiet),
            Err(error) => failed(&error),
        }
    })
}

pub fn stop(invocation: &Invocation, dir: &Path, mode: StopMode) -> i32 {
    with_handle(invocation, dir, |directory, observer| {
        let Directory { handle, owner } = &directory;
        match watched(observer, |watch| block_on(cluster_dir::stop(handle, mode, owner.clone(), watch))) {
            Ok(stopped) if stopped.was_stopped() => {
                eprintln!("{} was stopped already", handle.name());
                Exit::Done.process_code()
            }
            Ok(stopped) => {
                let killed = stopped.segments_killed;
                if killed > 0 {
                    eprintln!(
                        "{killed} segments did not answer and were killed; their logs are replayed at the next start"
                    );
                }
                match &stopped.outcome {
                    Some(outcome) => told(outcome, handle.name(), invocation.quiet),
                    None => Exit::Done.process_code(),
                }
            }
            Err(error) => failed(&error),
        }
    })
}

pub fn status(invocation: &Invocation, dir: &Path) -> i32 {
    let cluster = match session::open(dir) {
        Ok(cluster) => cluster,
        Err(code) => return code,
    };
    let state = match cluster.state() {
        Ok(state) => state,
        Err(error) => {
            eprintln!("{error}");
            return Exit::Unreachable.process_code();
        }
    };
    let text = if invocation.json {
        format!("{}\n", state_json(&state))
    } else {
        Screens::new(terminal::stdout_style(), cluster.name()).state(&state)
    };
    // A reader that went away is no failure.
    let _ = std::io::stdout().write_all(text.as_bytes());
    if state.coordinator.pid.is_some() { Exit::Done.process_code() } else { Exit::Unreachable.process_code() }
}

pub fn destroy(_invocation: &Invocation, dir: &Path) -> i32 {
    let handle = match cluster_dir::open(dir) {
        Ok(handle) => handle,
        Err(error) => return failed(&error),
    };
    if !terminal::is_interactive() {
        eprintln!("declined: destroying {} needs its name typed at a terminal", handle.name());
        return Exit::Refused.process_code();
    }
    let question = format!(
        "This kills every process of {} and removes {} with all its data.\nType {} to go on: ",
        handle.name(),
        handle.dir().display(),
        handle.name()
    );
    match ask(&question) {
        Typed::Line(line) if line.trim() == handle.name() => match cluster_dir::destroy(dir) {
            Ok(()) => {
                eprintln!("{} is gone", handle.name());
                Exit::Done.process_code()
            }
            Err(error) => failed(&error),
        },
        Typed::Interrupted => Exit::Interrupted.process_code(),
        Typed::Line(_) | Typed::Ended => {
            eprintln!("declined: nothing was changed");
            Exit::Refused.process_code()
        }
    }
}

pub fn demo(invocation: &Invocation, shape: &Shape) -> i32 {
    if !cfg!(target_os = "linux") {
        eprintln!("the demo needs Linux: its hosts are addresses of 127.0.0.0/8");
        return Exit::Usage.process_code();
    }
    let program = match cluster_dir::this_program() {
        Ok(program) => program,
        Err(error) => return failed(&error),
    };
    let maker = Maker { mirrors: true, first: RefCell::default() };
    eprintln!("starting a demo cluster: {} contents on {} hosts ...", shape.contents, shape.hosts);
    match Demo::create(&program, init_options(shape, true), &|c| maker.make(c), &make_catalog) {
        Ok(demo) => {
            let code = demo_session(invocation, demo.handle());
            match demo.end() {
                Ok(()) => code,
                Err(error) => failed(&error),
            }
        }
        Err(error) => failed(&error),
    }
}

fn demo_session(invocation: &Invocation, handle: &ClusterHandle) -> i32 {
    let directory = Directory { handle: handle.clone(), owner: local::owner("") };
    match block_on(directory.start(&mut |_| ())) {
        Ok(outcome) if outcome.status == OutcomeStatus::Done => {}
        Ok(outcome) => return told(&outcome, handle.name(), false),
        Err(error) => return failed(&error),
    }
    let cluster = match local::connect(handle) {
        Ok(cluster) => cluster,
        Err(error) => {
            eprintln!("{error}");
            return Exit::Unreachable.process_code();
        }
    };
    let (socket_dir, port) = cluster.pg_endpoint();
    let greeting = vec![
        "A mirrored cluster of real processes, gone with this shell. Break it:".to_owned(),
        "  state()   fault::stop_host(\"sdw1\")   recover()   rebalance()   help()".to_owned(),
        format!("SQL: psql -h {socket_dir} -p {port} postgres     (a content: content0)"),
    ];
    let asked: Arc<dyn Cluster> = cluster.clone();
    let may_leave = Rc::new(move || may_leave(asked.as_ref()));
    session::on(Some(cluster), invocation, Task::Prompt { greeting, may_leave })
}

/// Leaving a demo drops its data; one that holds somebody's tables is worth a question.
fn may_leave(cluster: &dyn Cluster) -> bool {
    let Ok(state) = cluster.state() else { return true };
    let tables = user_tables(cluster, &state);
    if tables == 0 || !terminal::is_interactive() {
        return true;
    }
    let question = format!("{} and its {tables} tables are gone when you leave. Leave? [y/N] ", cluster.name());
    matches!(ask(&question), Typed::Line(line) if matches!(line.trim(), "y" | "Y" | "yes"))
}

/// Tables that a person made; the drill's own are none.
fn user_tables(cluster: &dyn Cluster, state: &State) -> usize {
    const TABLES: &str = "select name from sqlite_schema where type = 'table' \
        and name not like 'sqlite\\_%' escape '\\' and name not like 'segsh\\_%' escape '\\'";
    (state.contents.iter())
        .filter_map(|c| cluster.sql(SqlTarget::Content(c.content), TABLES, &[]).ok())
        .map(|rows| rows.rows.len())
        .sum()
}
