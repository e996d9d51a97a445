//! `segsh test DIR`: a site library's tests, on a demo of their own or on a drill cluster that is named.

use super::super::{Exit, Invocation, Shape, find};
use super::lifecycle::{make_demo, start_demo};
use super::local;
use super::session;
use super::tell::Tell;
use crate::cluster::Cluster;
use crate::cluster_dir::Demo;
use crate::shell::output::say;
use crate::shell::signals::Signals;
use crate::shell::suite::isolation::{heal, traces, unfit};
use crate::shell::suite::{Clusters, Report, Suite};
use crate::shell::terminal;
use std::path::Path;
use std::sync::Arc;

/// Contents of a demo for tests: enough for one to be broken beside another that is not.
const CONTENTS: u32 = 2;

/// Runs the tests; 9 when one does not pass, or a module has errors.
pub fn test(invocation: &Invocation, path: &Path, filters: &[String]) -> i32 {
    let tell = Tell::new(invocation);
    let suite = match Suite::read(path, filters) {
        Ok(suite) => suite,
        Err(error) => return tell.failed("usage", Exit::Usage, &error.to_string(), "segsh test --help"),
    };
    let signals = match Signals::install() {
        Ok(signals) => signals,
        Err(error) => return tell.failed("io", Exit::ScriptError, &format!("signals cannot be taken: {error}"), ""),
    };
    if let Some(limit) = invocation.time_limit
        && let Err(error) = signals.end_after(limit)
    {
        return tell.failed("io", Exit::ScriptError, &error.to_string(), "");
    }
    tell.text(&suite.checked().findings(&terminal::stdout_style()));
    // The environment's cluster is not meant: it may be one that people work on.
    match &invocation.cluster {
        None => {
            let mut demos = Demos { quiet: invocation.quiet, signals: signals.clone(), demo: None };
            let report = run(&tell, &suite, &mut demos, &signals);
            if let Err(why) = demos.end() {
                say(&why);
            }
            ended(&tell, &report)
        }
        Some(name) => match Named::open(invocation, &tell, name, &signals) {
            Ok(mut named) => {
                let report = run(&tell, &suite, &mut named, &signals);
                if let Err(why) = named.end() {
                    say(&why);
                }
                ended(&tell, &report)
            }
            Err(code) => code,
        },
    }
}

fn run(tell: &Tell, suite: &Suite, clusters: &mut dyn Clusters, signals: &Signals) -> Report {
    let style = terminal::stdout_style();
    suite.run(clusters, signals, &mut |ended| {
        tell.text(&ended.text(&style));
        tell.event("test", ended.to_json());
    })
}

fn ended(tell: &Tell, report: &Report) -> i32 {
    tell.text(&report.summary(&terminal::stdout_style()));
    tell.value("test", report.to_json(), exit(report).process_code())
}

fn exit(report: &Report) -> Exit {
    match report {
        Report { timed_out: true, .. } => Exit::Unknown,
        Report { interrupted: true, .. } => Exit::Interrupted,
        report if report.had_no_cluster() => Exit::Unreachable,
        report if report.is_good() => Exit::Done,
        _ => Exit::CheckFailed,
    }
}

/// Demo clusters, a new one whenever a test has left a trace on the one before.
struct Demos {
    quiet: bool,
    signals: Signals,
    demo: Option<OneDemo>,
}

struct OneDemo {
    demo: Demo,
    cluster: Arc<dyn Cluster>,
    /// What it looked like before any test.
    untouched: String,
}

impl Demos {
    fn begin(&self) -> Result<OneDemo, String> {
        if !self.quiet {
            say("starting a demo cluster for the tests ...");
        }
        let shape = Shape { contents: CONTENTS, hosts: 2, spare_hosts: 0, settings: Vec::new(), no_mirrors: false };
        let demo = make_demo(&shape).map_err(|e| e.to_string())?;
        let started = self.connected(&demo);
        match started {
            Ok((cluster, untouched)) => Ok(OneDemo { demo, cluster, untouched }),
            Err(why) => {
                demo.end().map_err(|e| format!("{why}; {e}"))?;
                Err(why)
            }
        }
    }

    fn connected(&self, demo: &Demo) -> Result<(Arc<dyn Cluster>, String), String> {
        start_demo(demo.handle())?;
        let cluster: Arc<dyn Cluster> = local::connect(demo.handle())?;
        let signals = self.signals.clone();
        cluster.interrupted_by(Arc::new(move || signals.interrupted()));
        let untouched = traces(cluster.as_ref()).ok_or("the demo cluster is not whole")?;
        Ok((cluster, untouched))
    }

    fn end(&mut self) -> Result<(), String> {
        match self.demo.take() {
            Some(one) => one.demo.end().map_err(|e| e.to_string()),
            None => Ok(()),
        }
    }
}

impl Clusters for Demos {
    fn fresh(&mut self) -> Result<Arc<dyn Cluster>, String> {
        if let Some(one) = &self.demo
            && traces(one.cluster.as_ref()).as_ref() == Some(&one.untouched)
        {
            return Ok(Arc::clone(&one.cluster));
        }
        self.end()?;
        let one = self.begin()?;
        let cluster = Arc::clone(&one.cluster);
        self.demo = Some(one);
        Ok(cluster)
    }
}

/// A drill cluster of somebody's own: it is brought back after every test.
struct Named {
    cluster: Arc<dyn Cluster>,
    signals: Signals,
    /// What it looked like when a test began.
    before: Option<String>,
}

impl Named {
    /// Only a drill cluster, and only one that is whole: what is broken before a test is somebody's business.
    fn open(invocation: &Invocation, tell: &Tell, name: &str, signals: &Signals) -> Result<Named, i32> {
        let unreachable = |message: String| tell.failed("unreachable", Exit::Unreachable, &message, "");
        let dir = find::directory(name, find::names_dir().as_deref()).map_err(|e| unreachable(e.to_string()))?;
        let cluster = session::open(invocation, &dir)?;
        if !cluster.is_drill() {
            let message = format!("tests break what they run on, and {} is not a drill cluster", cluster.name());
            return Err(tell.failed(
                "not_drill",
                Exit::Refused,
                &message,
                "leave -c out: then a demo is made for them",
            ));
        }
        let flag = signals.clone();
        cluster.interrupted_by(Arc::new(move || flag.interrupted()));
        let state = cluster.probe().map_err(|e| unreachable(e.to_string()))?;
        if let Some(why) = unfit(&state) {
            let message = format!("tests begin on a whole cluster, and of {} {why}", cluster.name());
            return Err(tell.failed("refused", Exit::Refused, &message, "state()"));
        }
        Ok(Named { cluster, signals: signals.clone(), before: None })
    }

    /// Leaves it as a test would find it.
    fn end(&mut self) -> Result<(), String> {
        if self.before.is_none() || self.before == traces(self.cluster.as_ref()) {
            return Ok(());
        }
        let left = |why: String| format!("the cluster is left as the last test left it: {why}");
        if self.signals.interrupted() {
            return Err(left(format!("{}; next: state()", self.signals.why())));
        }
        heal(Arc::clone(&self.cluster), &self.signals).map_err(|e| left(e.to_string()))
    }
}

impl Clusters for Named {
    fn fresh(&mut self) -> Result<Arc<dyn Cluster>, String> {
        self.end()?;
        self.before = traces(self.cluster.as_ref());
        match self.before {
            Some(_) => Ok(Arc::clone(&self.cluster)),
            None => Err("the cluster can't be brought back to where a test begins".into()),
        }
    }
}
