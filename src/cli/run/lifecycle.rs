//! The life of a cluster from the command line: init, start, stop, status, destroy, demo.

use super::super::{Exit, Invocation, Shape};
use super::local::{self, Directory, block_on};
use super::session;
use super::tell::Tell;
use super::watched::watched;
use crate::cluster::{Cluster, Observer, OutcomeStatus, SqlTarget, State};
use crate::cluster_dir::{self, ClusterConfig, ClusterDirError, ClusterHandle, Demo, HostEntry, Hosts, InitOptions};
use crate::core::ids::Content;
use crate::core::report::StopMode;
use crate::core::row::Role;
use crate::hosts::{Host, SegmentConfig};
use crate::script::json::state_json;
use crate::segment::identity::{Owner, create_content};
use crate::shell::output::say;
use crate::shell::render::Screens;
use crate::shell::render::format::count;
use crate::shell::render::lifecycle::{self as render, Whole};
use crate::shell::run::Task;
use crate::shell::signals::Signals;
use crate::shell::terminal::{self, Typed, ask};
use crate::shell::watch::CommandWatch;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

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
pub(super) fn make_password_file(config: &ClusterConfig) -> std::io::Result<()> {
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
    // The command line bounds all of them below 1 025.
    let number = |n: u32| u16::try_from(n).unwrap_or(u16::MAX);
    InitOptions {
        contents: number(shape.contents),
        hosts: Hosts::Numbered { hosts: number(shape.hosts), spare: number(shape.spare_hosts) },
        mirrors: !shape.no_mirrors,
        drill,
        settings: shape.settings.iter().cloned().collect(),
        ..InitOptions::default()
    }
}

/// A cluster file says the shape; settings of the command line go before the file's.
fn options_of_file(file: &Path, shape: &Shape, drill: bool) -> Result<InitOptions, ClusterDirError> {
    let mut options = InitOptions::from_file(file)?;
    options.drill |= drill;
    options.settings.extend(shape.settings.iter().cloned());
    Ok(options)
}

/// `4 contents on 2 hosts, 1 spare host`, `4 contents on 2 hosts, no mirrors`.
fn size(contents: usize, hosts: usize, spare: usize, mirrors: bool) -> String {
    let mut size = format!("{} on {}", count(contents, "content"), count(hosts, "host"));
    if spare > 0 {
        size.push_str(&format!(", {}", count(spare, "spare host")));
    }
    if !mirrors {
        size.push_str(", no mirrors");
    }
    size
}

fn size_of(config: &ClusterConfig) -> String {
    let rows = || config.segments.iter().filter(|row| row.content != Content::COORDINATOR);
    let spare = config.hosts.iter().filter(|host| rows().all(|row| row.hostname != host.name)).count();
    let primaries = rows().filter(|row| row.role == Role::Primary).count();
    size(primaries, config.hosts.len() - spare, spare, rows().count() > primaries)
}

pub fn init(invocation: &Invocation, dir: &Path, shape: &Shape, drill: bool, file: Option<&Path>) -> i32 {
    let tell = Tell::new(invocation);
    let made = || {
        let options = match file {
            Some(file) => options_of_file(file, shape, drill)?,
            None => init_options(shape, drill),
        };
        let maker = Maker { mirrors: options.mirrors, first: RefCell::default() };
        let program = cluster_dir::this_program()?;
        block_on(cluster_dir::init_everywhere(dir, &options, &program, &|c| maker.make(c), &make_catalog))
    };
    match made() {
        Ok(handle) => {
            tell.text(&format!("cluster {} made: {}, stopped\n", handle.name(), size_of(handle.config())));
            tell.text(&format!("next: segsh start {}\n", handle.dir().display()));
            tell.value("cluster", cluster_json(&handle), Exit::Done.process_code())
        }
        Err(error) => tell.dir_failed(&error),
    }
}

/// A cluster that a command made, stopped or removed: it has no state to show.
fn cluster_json(handle: &ClusterHandle) -> serde_json::Value {
    let config = handle.config();
    let contents = config.segments.iter().filter(|r| r.role == Role::Primary && r.content.0 >= 0).count();
    serde_json::json!({
        "cluster": handle.name(), "dir": handle.dir(), "contents": contents,
        "hosts": config.hosts.iter().map(|h| h.name.as_str()).collect::<Vec<_>>(), "drill": config.drill,
    })
}

/// What a lifecycle command works with.
struct Work<'a> {
    directory: Directory,
    quiet: bool,
    tell: Tell,
    observer: &'a mut dyn Observer,
    began: Instant,
    /// Segments that ran when it began.
    ran: usize,
}

impl Work<'_> {
    fn whole(&self) -> Whole<'_> {
        let handle = &self.directory.handle;
        Whole {
            name: handle.name(),
            contents: handle.config().segments.iter().filter(|r| r.role == Role::Primary && r.content.0 >= 0).count(),
            ran: self.ran,
            runs: running(handle),
            restricted: self.directory.is_restricted(),
            elapsed_ms: i64::try_from(self.began.elapsed().as_millis()).unwrap_or(i64::MAX),
        }
    }
}

/// How many segments have a process, as far as that can be said: a host that does not answer has none.
fn running(handle: &ClusterHandle) -> usize {
    let here = handle.running_segments().unwrap_or_default();
    let far: Vec<_> = handle.hosts().unwrap_or_default().iter().filter_map(HostEntry::over_ssh).collect();
    if far.is_empty() {
        return here;
    }
    let answers = block_on(futures::future::join_all(far.iter().map(Host::ping)));
    here + answers.into_iter().flatten().map(|pong| pong.running.len()).sum::<usize>()
}

fn lifecycle(invocation: &Invocation, dir: &Path, verb: &str, work: impl FnOnce(Work) -> i32) -> i32 {
    let tell = Tell::new(invocation);
    let handle = match cluster_dir::open(dir) {
        Ok(handle) => handle,
        Err(error) => return tell.dir_failed(&error),
    };
    let signals = match Signals::install() {
        Ok(signals) => signals,
        Err(error) => {
            return tell.failed("io", Exit::ScriptError, &format!("signals cannot be taken: {error}"), "");
        }
    };
    let place = handle.dir().display();
    let farewell = match verb {
        "stop" => format!("interrupted: the stop goes on; segsh stop {place} --mode fast ends it now"),
        _ => format!("interrupted: part of it may be done; segsh {verb} {place} goes on"),
    };
    let on_terminal = terminal::is_interactive().then(terminal::stderr_style);
    let ran = running(&handle);
    let mut observer = CommandWatch::new(signals, on_terminal, invocation.quiet, farewell);
    work(Work {
        directory: Directory { handle, owner: super::owner::owner() },
        quiet: invocation.quiet,
        tell,
        observer: &mut observer,
        began: Instant::now(),
        ran,
    })
}

pub fn start(invocation: &Invocation, dir: &Path) -> i32 {
    lifecycle(invocation, dir, "start", |work| {
        let started = watched(work.observer, |watch| block_on(work.directory.start(watch)));
        match started {
            Ok(outcome) => {
                if !work.quiet || outcome.status != OutcomeStatus::Done {
                    say(&render::started(&work.whole(), &outcome, &terminal::stderr_style()));
                }
                work.tell.outcome(&outcome)
            }
            Err(error) => work.tell.dir_failed(&error),
        }
    })
}

pub fn stop(invocation: &Invocation, dir: &Path, mode: StopMode) -> i32 {
    lifecycle(invocation, dir, "stop", |work| {
        let Directory { handle, owner } = &work.directory;
        let stopped = watched(work.observer, |watch| block_on(cluster_dir::stop(handle, mode, owner.clone(), watch)));
        match stopped {
            Ok(stopped) if stopped.was_stopped() => {
                if !work.quiet {
                    say(&format!("{} was stopped already", handle.name()));
                }
                work.tell.value("cluster", cluster_json(handle), Exit::Done.process_code())
            }
            Ok(stopped) => {
                let outcome = stopped.outcome.as_ref();
                let code = outcome.map_or(Exit::Done.process_code(), |o| o.status.exit());
                let killed = stopped.segments_killed + outcome.map_or(0, |outcome| outcome.killed().count());
                if !work.quiet || code != Exit::Done.process_code() || killed > 0 {
                    let style = terminal::stderr_style();
                    say(&render::stopped(&work.whole(), killed, outcome, &style));
                }
                match outcome {
                    Some(outcome) => work.tell.outcome(outcome),
                    None => work.tell.value("cluster", cluster_json(handle), code),
                }
            }
            Err(error) => work.tell.dir_failed(&error),
        }
    })
}

pub fn status(invocation: &Invocation, dir: &Path) -> i32 {
    let tell = Tell::new(invocation);
    let cluster = match session::open(invocation, dir) {
        Ok(cluster) => cluster,
        Err(code) => return code,
    };
    let state = match cluster.state() {
        Ok(state) => state,
        Err(error) => return tell.failed("unreachable", Exit::Unreachable, &error.to_string(), ""),
    };
    let exit = if state.coordinator.pid.is_some() { Exit::Done } else { Exit::Unreachable }.process_code();
    if invocation.json {
        // The bare state, as documented: what reads it knows no envelope.
        tell.bare(&state_json(&state));
        return exit;
    }
    tell.text(&Screens::new(terminal::stdout_style(), cluster.name()).state(&state));
    tell.value("state", state_json(&state), exit)
}

/// What a cluster has on a host of another machine.
fn far_place(host: &HostEntry) -> Option<String> {
    host.ssh.as_ref().map(|_| format!("{} on host {}", host.dir.display(), host.name))
}

pub fn destroy(invocation: &Invocation, dir: &Path) -> i32 {
    let tell = Tell::new(invocation);
    let handle = match cluster_dir::open(dir) {
        Ok(handle) => handle,
        Err(error) => return tell.dir_failed(&error),
    };
    if !terminal::is_interactive() {
        let message = format!("declined: destroying {} needs its name typed at a terminal", handle.name());
        let next = format!("segsh destroy {}, at a terminal", handle.dir().display());
        return tell.failed("declined", Exit::Refused, &message, &next);
    }
    let (name, place) = (handle.name(), handle.dir().display());
    let far: Vec<String> = handle.hosts().unwrap_or_default().iter().filter_map(far_place).collect();
    let far = if far.is_empty() { String::new() } else { format!(", and {}", far.join(", ")) };
    let question = format!(
        "This kills every process of {name} and removes {place} with all its data{far}.\nType {name} to go on: "
    );
    match ask(&question) {
        Typed::Line(line) if line.trim() == handle.name() => match block_on(cluster_dir::destroy(dir)) {
            Ok(()) => {
                say(&format!("{} is gone", handle.name()));
                tell.value("cluster", cluster_json(&handle), Exit::Done.process_code())
            }
            Err(error) => tell.dir_failed(&error),
        },
        Typed::Interrupted => tell.failed("interrupted", Exit::Interrupted, "interrupted: nothing was changed", ""),
        Typed::Line(_) | Typed::Ended => tell.failed("declined", Exit::Refused, "declined: nothing was changed", ""),
    }
}

pub fn demo(invocation: &Invocation, shape: &Shape) -> i32 {
    if !cfg!(target_os = "linux") {
        say("the demo needs Linux: its hosts are addresses of 127.0.0.0/8");
        return Exit::Usage.process_code();
    }
    let n = |n: u32| usize::try_from(n).unwrap_or(usize::MAX);
    let size = size(n(shape.contents), n(shape.hosts), n(shape.spare_hosts), !shape.no_mirrors);
    say(&format!("starting a demo cluster: {size} ..."));
    match make_demo(shape) {
        Ok(demo) => {
            let code = demo_session(invocation, demo.handle());
            match demo.end() {
                Ok(()) => code,
                Err(error) => Tell::new(invocation).dir_failed(&error),
            }
        }
        Err(error) => Tell::new(invocation).dir_failed(&error),
    }
}

/// A demo cluster of this shape with its keeper, not started.
pub(super) fn make_demo(shape: &Shape) -> Result<Demo, ClusterDirError> {
    let program = cluster_dir::this_program()?;
    let maker = Maker { mirrors: !shape.no_mirrors, first: RefCell::default() };
    Demo::create(&program, init_options(shape, true), &|c| maker.make(c), &make_catalog)
}

/// Starts a demo whole, or says why it did not.
pub(super) fn start_demo(handle: &ClusterHandle) -> Result<(), String> {
    let directory = Directory { handle: handle.clone(), owner: super::owner::owner() };
    match block_on(directory.start(&mut |_| ())) {
        Ok(outcome) if outcome.status == OutcomeStatus::Done => Ok(()),
        Ok(outcome) => Err(outcome.message),
        Err(error) => Err(error.to_string()),
    }
}

fn demo_session(invocation: &Invocation, handle: &ClusterHandle) -> i32 {
    let directory = Directory { handle: handle.clone(), owner: super::owner::owner() };
    match block_on(directory.start(&mut |_| ())) {
        Ok(outcome) if outcome.status == OutcomeStatus::Done => {}
        Ok(outcome) => {
            say(&Screens::new(terminal::stderr_style(), handle.name()).outcome(&outcome));
            return outcome.status.exit();
        }
        Err(error) => return Tell::new(invocation).dir_failed(&error),
    }
    // Twice: what the prompt shows is asked for while a line runs.
    let connected = local::connect(handle).and_then(|cluster| Ok((cluster, local::connect(handle)?)));
    let (cluster, watched) = match connected {
        Ok(both) => both,
        Err(error) => {
            say(&error.to_string());
            return Exit::Unreachable.process_code();
        }
    };
    let (socket_dir, port) = cluster.pg_endpoint();
    let greeting = vec![
        String::new(),
        "A mirrored cluster of real processes, gone with this shell. Break it, and bring".to_owned(),
        "it back:  state()   fault::stop_host(\"sdw1\")   fault::start_host(\"sdw1\")".to_owned(),
        "          recover()   rebalance()   help()   quit".to_owned(),
        format!("SQL: psql -h {socket_dir} -p {port} content0"),
        "     postgres instead of content0 is the catalog".to_owned(),
        String::new(),
    ];
    let asked: Arc<dyn Cluster> = cluster.clone();
    let may_leave = Rc::new(move || may_leave(asked.as_ref()));
    session::on(Some(cluster), invocation, Task::Prompt { greeting, may_leave, watched: Some(watched) })
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
