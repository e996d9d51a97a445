//! `segsh test`: the `test_*` functions of a site library, each by itself on a drill cluster.
//!
//! Every module of the library is checked first, as `segsh check` does; the tests of one with errors are not run. Each test
//! has a session of its own, so nothing that another has named, hooked or confirmed reaches it, and a cluster on which
//! nothing has happened ([`isolation`]).

pub mod isolation;
mod report;
mod ui;

pub use report::{Ended, Report, Verdict};

use super::check::Checked;
use super::engine::view;
use super::evaluator::Failure;
use super::render::{Screens, Style};
use super::run::site_dirs;
use super::signals::Signals;
use crate::cluster::Cluster;
use crate::script::{
    LibraryModule, Pos, ScriptError, Session, SessionConfig, Severity, TestFunction, Thrown, near_miss,
};
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;
use thiserror::Error;
use ui::TestUi;

/// Why a test is not run for which there is no cluster; the reason of that is told once.
const NO_CLUSTER: &str = "no cluster";
/// Folders within folders are looked into so deep.
const DEPTH_MAX: usize = 8;

/// Why there is nothing to test.
#[derive(Debug, Error)]
pub enum SuiteError {
    #[error("{}: {cause}", path.display())]
    Unreadable { path: PathBuf, cause: io::Error },
    #[error("{} holds no module: a library is a folder of .rhai files", path.display())]
    NoModules { path: PathBuf },
    #[error("there is no test_ function in {}", path.display())]
    NoTests { path: PathBuf },
    #[error("no test is called like `{filter}`{near}")]
    NoSuchTest { filter: String, near: String },
}

/// Where tests get their clusters from.
pub trait Clusters {
    /// A cluster on which no test has left a trace; or why there is none.
    fn fresh(&mut self) -> Result<Arc<dyn Cluster>, String>;
}

/// A library, looked into.
pub struct Suite {
    folder: PathBuf,
    modules: Vec<LibraryModule>,
    tests: Vec<Test>,
}

/// A test that was chosen.
struct Test {
    module: String,
    function: TestFunction,
}

impl Test {
    /// `limits::test_of_hosts`.
    fn name(&self) -> String {
        format!("{}::{}", self.module, self.function.name)
    }
}

impl Suite {
    /// Looks into a folder, or a single module of one. Tests whose name holds one of `filters` are chosen; all when there
    /// are none. Nothing is run.
    pub fn read(path: &Path, filters: &[String]) -> Result<Suite, SuiteError> {
        let unreadable = |cause| SuiteError::Unreadable { path: path.to_path_buf(), cause };
        let is_file = path.metadata().map_err(unreadable)?.is_file();
        let folder = if is_file { folder_of(path) } else { path.to_path_buf() };
        let names = match path.file_stem().and_then(|s| s.to_str()) {
            Some(stem) if is_file => vec![stem.to_string()],
            _ => modules_beneath(&folder).map_err(unreadable)?,
        };
        if names.is_empty() {
            return Err(SuiteError::NoModules { path: path.to_path_buf() });
        }
        let ui = Rc::new(TestUi::new(screens(""), Signals::unattached()));
        let mut looking = session(None, &folder, ui, false);
        looking.set_library(&folder);
        let modules: Vec<LibraryModule> = names.iter().map(|name| looking.look_into(name)).collect();
        let tests = chosen(&modules, filters, path)?;
        Ok(Suite { folder, modules, tests })
    }

    /// How many tests are to be run.
    pub fn len(&self) -> usize {
        self.tests.len()
    }

    /// Whether no module has a test that can be run: then only what is wrong with the modules is to be told.
    pub fn is_empty(&self) -> bool {
        self.tests.is_empty()
    }

    /// What the check of all modules has found, each finding once.
    pub fn checked(&self) -> Checked {
        let mut checked = Checked { files: self.modules.len(), ..Checked::default() };
        for finding in self.modules.iter().flat_map(|m| &m.findings) {
            if !checked.findings.contains(finding) {
                checked.findings.push(finding.clone());
            }
        }
        checked
    }

    /// Runs every chosen test. `told` is called as each has ended; Ctrl-C ends the one that runs, and no other begins.
    pub fn run(&self, clusters: &mut dyn Clusters, signals: &Signals, told: &mut dyn FnMut(&Ended)) -> Report {
        let began = Instant::now();
        let mut report = Report::new(self.folder.clone(), self.checked());
        for test in &self.tests {
            let ended = match self.why_not(test, &report, signals) {
                Some(why) => Ended::not_run(test.name(), &test.function.position, why),
                None => match clusters.fresh() {
                    Ok(cluster) => self.run_one(test, cluster, signals),
                    Err(_) if signals.interrupted() => {
                        Ended::not_run(test.name(), &test.function.position, signals.why().into())
                    }
                    Err(why) => {
                        report.no_cluster = Some(why);
                        Ended::not_run(test.name(), &test.function.position, NO_CLUSTER.into())
                    }
                },
            };
            told(&ended);
            report.tests.push(ended);
        }
        report.interrupted = signals.interrupted();
        report.timed_out = signals.timed_out();
        report.elapsed_ms = ms_since(began);
        report
    }

    fn why_not(&self, test: &Test, report: &Report, signals: &Signals) -> Option<String> {
        let has_errors = |m: &LibraryModule| m.findings.iter().any(|f| f.severity == Severity::Error);
        if signals.interrupted() {
            return Some(signals.why().into());
        }
        if self.modules.iter().any(|m| m.name == test.module && has_errors(m)) {
            return Some("its module has errors".into());
        }
        report.no_cluster.is_some().then(|| NO_CLUSTER.to_string())
    }

    fn run_one(&self, test: &Test, cluster: Arc<dyn Cluster>, signals: &Signals) -> Ended {
        let ui = Rc::new(TestUi::new(screens(&cluster.name()), signals.clone()));
        let mut session = session(Some(cluster), &self.folder, Rc::clone(&ui), true);
        session.set_library(&self.folder);
        let began = Instant::now();
        let result = session.run_test(&test.module, &test.function.name);
        let elapsed_ms = ms_since(began);
        let at = &test.function.position;
        let failed = match result {
            _ if signals.interrupted() => return Ended::not_run(test.name(), at, signals.why().into()),
            Err(error) => Some(error),
            Ok(value) => match (value.exit, value.value.as_bool()) {
                (Some(code), _) if code != 0 => Some(judged(&format!("it ended with exit({code})"))),
                (None, Ok(false)) => Some(judged("it returned false")),
                _ => None,
            },
        };
        let failure = failed.map(|error| failure(*error, at));
        Ended::run(test.name(), at, failure, ui.take(), elapsed_ms)
    }
}

/// A test's own end, as an error of it.
fn judged(message: &str) -> Box<ScriptError> {
    Box::new(ScriptError::outside(Thrown::script("assertion", message)))
}

/// What a test failed by; where nothing says where, it is the test itself.
fn failure(mut error: ScriptError, test: &Pos) -> Failure {
    if error.position.is_none() {
        error.position = Some(test.clone());
    }
    Failure { json: error.to_json(), view: view(error) }
}

fn ms_since(began: Instant) -> i64 {
    i64::try_from(began.elapsed().as_millis()).unwrap_or(i64::MAX)
}

fn screens(cluster: &str) -> Screens {
    Screens::new(Style::default(), cluster)
}

/// A session that finds the library's modules and the machine's; its hooks are the library's own.
fn session(cluster: Option<Arc<dyn Cluster>>, folder: &Path, ui: Rc<TestUi>, hooks: bool) -> Session {
    let name = cluster.as_ref().map_or_else(String::new, |c| c.name());
    Session::new(SessionConfig {
        cluster,
        ui,
        renderer: Rc::new(screens(&name)),
        site_dir: hooks.then(|| folder.to_path_buf()),
        system_dir: site_dirs().1,
        dry_run: false,
    })
}

fn folder_of(file: &Path) -> PathBuf {
    let folder = file.parent().filter(|p| !p.as_os_str().is_empty());
    folder.unwrap_or(Path::new(".")).to_path_buf()
}

/// The names that the modules of a folder are imported by, in their order.
fn modules_beneath(folder: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    let mut folders = vec![(folder.to_path_buf(), String::new(), 0)];
    while let Some((at, prefix, depth)) = folders.pop() {
        for entry in std::fs::read_dir(&at)? {
            let entry = entry?;
            let Some(name) = entry.file_name().to_str().filter(|n| !n.starts_with('.')).map(str::to_string) else {
                continue;
            };
            if entry.file_type()?.is_dir() {
                if depth < DEPTH_MAX {
                    folders.push((entry.path(), format!("{prefix}{name}/"), depth + 1));
                }
            } else if let Some(stem) = name.strip_suffix(".rhai") {
                names.push(format!("{prefix}{stem}"));
            }
        }
    }
    names.sort();
    Ok(names)
}

/// The tests whose name holds one of the filters. Each filter must be good for something, or it was mistyped.
fn chosen(modules: &[LibraryModule], filters: &[String], path: &Path) -> Result<Vec<Test>, SuiteError> {
    let of = |m: &LibraryModule| {
        let module = m.name.clone();
        m.tests.clone().into_iter().map(move |function| Test { module: module.clone(), function })
    };
    let all: Vec<Test> = modules.iter().flat_map(of).collect();
    for filter in filters {
        if !all.iter().any(|t| t.name().contains(filter.as_str())) {
            let names: Vec<&str> = all.iter().map(|t| t.function.name.as_str()).collect();
            let near = near_miss(filter, names).map(|near| format!("; is it `{near}`?")).unwrap_or_default();
            return Err(SuiteError::NoSuchTest { filter: filter.clone(), near });
        }
    }
    let has_findings = modules.iter().any(|m| m.findings.iter().any(|f| f.severity == Severity::Error));
    if all.is_empty() && !has_findings {
        return Err(SuiteError::NoTests { path: path.to_path_buf() });
    }
    let is_chosen = |t: &Test| filters.is_empty() || filters.iter().any(|f| t.name().contains(f.as_str()));
    Ok(all.into_iter().filter(is_chosen).collect())
}
