//! A drill cluster of one test: made, started, driven, and gone with the test however that ends.

use super::command::{Place, Ran, run};
use super::network::Network;
use super::processes;
use super::shim::Shim;
use super::status::Status;
use super::wait::{secs, wait_for, wait_for_some};
use super::wire::{self, Wire};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

pub struct Cluster {
    place: Place,
    dir: PathBuf,
    socket_dir: String,
    port: u16,
}

impl Cluster {
    /// On two hosts, started, every pair synchronized.
    #[track_caller]
    pub fn new(contents: usize) -> Cluster {
        Cluster::with(contents, &[])
    }

    /// With settings (`gp_fts_probe_interval=2s`).
    #[track_caller]
    pub fn with(contents: usize, settings: &[&str]) -> Cluster {
        Cluster::with_place(Place::new(), contents, settings)
    }

    /// As [`Cluster::with`], in a place of the caller's choice.
    #[track_caller]
    pub fn with_place(place: Place, contents: usize, settings: &[&str]) -> Cluster {
        let mut cluster = Cluster::stopped_at(place, contents, settings);
        cluster.start();
        cluster
    }

    /// Started, with disks and calendars that fail on demand and every connection to a segment led
    /// through a network that can be cut.
    #[track_caller]
    pub fn on_shim(contents: usize, settings: &[&str]) -> (Cluster, Shim, Network) {
        let (place, shim) = Place::with_shim();
        let mut cluster = Cluster::stopped_at(place, contents, settings);
        let network = Network::before(&cluster.last_status().segments, &shim);
        cluster.start();
        (cluster, shim, network)
    }

    #[track_caller]
    fn start(&mut self) {
        self.lifecycle("start", &[]).ok();
        let status = self.status();
        assert!(status.is_synchronized(), "a fresh cluster is synchronized: {status:?}");
        self.find_socket(status);
    }

    fn find_socket(&mut self, status: Status) {
        self.port = status.coordinator.port;
        self.socket_dir = status.coordinator.socket_dir;
    }

    /// Without mirrors, on two hosts, started.
    #[track_caller]
    pub fn without_mirrors(contents: usize) -> Cluster {
        let mut cluster = Cluster::made_at(Place::new(), contents, &["--no-mirrors"]);
        cluster.lifecycle("start", &[]).ok();
        cluster.find_socket(cluster.status());
        cluster
    }

    /// With a third host, on which nothing is.
    #[track_caller]
    pub fn with_spare_host(contents: usize) -> Cluster {
        let mut cluster = Cluster::made_at(Place::new(), contents, &["--spare-hosts", "1"]);
        cluster.start();
        cluster
    }

    /// Made, and not started.
    #[track_caller]
    pub fn stopped(contents: usize, settings: &[&str]) -> Cluster {
        Cluster::stopped_at(Place::new(), contents, settings)
    }

    #[track_caller]
    fn stopped_at(place: Place, contents: usize, settings: &[&str]) -> Cluster {
        let flags: Vec<&str> = settings.iter().flat_map(|s| ["--set", s]).collect();
        Cluster::made_at(place, contents, &flags)
    }

    #[track_caller]
    fn made_at(place: Place, contents: usize, flags: &[&str]) -> Cluster {
        let dir = place.path().join("c");
        let contents = contents.to_string();
        let arguments = ["init", text(&dir), "--contents", &contents, "--hosts", "2", "--drill"];
        place.segsh(&[&arguments, flags].concat()).ok();
        Cluster { place, dir, socket_dir: String::new(), port: 0 }
    }

    /// As a cluster file has it, on drill, started.
    #[track_caller]
    pub fn from_file(place: Place, file: &Path) -> Cluster {
        let dir = place.path().join("c");
        place.segsh(&["init", text(&dir), "--file", text(file), "--drill"]).ok();
        let mut cluster = Cluster { place, dir, socket_dir: String::new(), port: 0 };
        cluster.start();
        cluster
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    pub fn place(&self) -> &Place {
        &self.place
    }

    /// `segsh VERB DIR ...`: `start`, `stop`, `status`, `destroy`.
    #[track_caller]
    pub fn lifecycle(&self, verb: &str, more: &[&str]) -> Ran {
        self.place.segsh(&[&[verb, text(&self.dir)], more].concat())
    }

    /// `segsh ARGUMENTS -c DIR`.
    #[track_caller]
    pub fn segsh(&self, arguments: &[&str]) -> Ran {
        self.place.segsh(&[arguments, &["-c", text(&self.dir)]].concat())
    }

    /// `segsh -c DIR ARGUMENTS`: for what takes everything behind its name.
    #[track_caller]
    pub fn segsh_first(&self, arguments: &[&str]) -> Ran {
        self.place.segsh(&[&["-c", text(&self.dir)], arguments].concat())
    }

    /// `segsh -c DIR -e CODE`.
    #[track_caller]
    pub fn eval(&self, code: &str) -> Ran {
        self.segsh(&["-e", code])
    }

    /// As [`Cluster::eval`], saying yes to what `--yes` covers.
    #[track_caller]
    pub fn eval_yes(&self, code: &str) -> Ran {
        self.segsh(&["--yes", "-e", code])
    }

    /// The value of a mutating call that must be done, as JSON.
    #[track_caller]
    pub fn outcome(&self, code: &str) -> Value {
        let ran = self.segsh(&["--json", "--yes=full_recover,restart", "-e", code]).ok();
        let value = ran.json()["value"].clone();
        assert_eq!(value["status"], "done", "`{code}`: {value:#}");
        value
    }

    /// `echo CODE | segsh -c DIR -`.
    #[track_caller]
    pub fn script(&self, code: &str) -> Ran {
        self.place.segsh_with_input(&["-c", text(&self.dir), "-"], code)
    }

    #[track_caller]
    pub fn status(&self) -> Status {
        let ran = self.lifecycle("status", &["--json"]).ok();
        serde_json::from_value(ran.json()).unwrap_or_else(|e| panic!("status --json: {e}\n{}", ran.stdout))
    }

    /// The status with the coordinator down: the last catalog, and exit 7.
    #[track_caller]
    pub fn last_status(&self) -> Status {
        let ran = self.lifecycle("status", &["--json"]).exits(7);
        serde_json::from_value(ran.json()).unwrap_or_else(|e| panic!("status --json: {e}\n{}", ran.stdout))
    }

    /// Waits until a pair is as the documents write it, and returns that status.
    #[track_caller]
    pub fn wait_for_pair(&self, content: i64, letters: &str, within: Duration) -> Status {
        let mut last = String::new();
        wait_for_some(&format!("content {content} to be {letters}"), within, || {
            let status = self.status();
            let now = status.pair(content).letters();
            if now != last {
                println!("content {content}: {now}");
            }
            last = now;
            (last == letters).then_some(status)
        })
    }

    /// Waits until no operation holds a content: the rows of one that is about to end are those of its end already.
    #[track_caller]
    pub fn wait_until_nothing_runs(&self, within: Duration) {
        wait_for("every operation to end", within, || {
            let status = self.lifecycle("status", &["--json"]).ok().json();
            let contents = status["contents"].as_array().expect("a list");
            contents.iter().all(|content| content["operation"].is_null())
        });
    }

    /// Waits until the other member of the pair serves alone.
    #[track_caller]
    pub fn wait_for_failover(&self, content: i64, former_primary: i64, within: Duration) -> Status {
        wait_for_some(&format!("content {content} to fail over from dbid {former_primary}"), within, || {
            let status = self.status();
            (status.pair(content).primary.dbid != former_primary).then_some(status)
        })
    }

    /// The former primary's pid, killed, after the failover: what most tests begin with.
    #[track_caller]
    pub fn fail_over(&self, content: i64) -> Status {
        let before = self.status().pair(content);
        processes::kill(before.primary.running());
        self.wait_for_failover(content, before.primary.dbid, secs(20))
    }

    /// The history's lines of a segment, oldest first; of the coordinator by dbid 1.
    #[track_caller]
    pub fn history(&self, dbid: i64) -> Vec<String> {
        let sql = format!("select \"desc\" from gp_configuration_history where dbid = {dbid} order by number");
        self.catalog().rows(&sql)
    }

    /// Every line of the history about a segment that changed something: a warning decides nothing.
    #[track_caller]
    pub fn decisions(&self) -> Vec<String> {
        let sql = "select \"desc\" from gp_configuration_history where dbid > 1 and \"desc\" not like '%warning:%' \
                   order by number";
        self.catalog().rows(sql)
    }

    pub fn socket(&self) -> PathBuf {
        wire::socket(&self.socket_dir, self.port)
    }

    pub fn socket_dir(&self) -> &str {
        &self.socket_dir
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// A session through the gateway.
    #[track_caller]
    pub fn content(&self, content: i64) -> Wire {
        self.session(&format!("content{content}"))
    }

    /// A session on the catalog.
    #[track_caller]
    pub fn catalog(&self) -> Wire {
        self.session("postgres")
    }

    #[track_caller]
    fn session(&self, database: &str) -> Wire {
        Wire::connect(&self.socket(), database).unwrap_or_else(|e| panic!("database {database}: {e}"))
    }

    /// Debian's client on the gateway, unaligned, stopping at the first error.
    #[track_caller]
    pub fn psql(&self, database: &str, more: &[&str], input: &str) -> Ran {
        let mut command = self.client("psql", database);
        command.args(["--no-psqlrc", "--no-align", "--tuples-only", "--set=ON_ERROR_STOP=1"]).args(more);
        run(command, input)
    }

    /// A PostgreSQL client program, told where to connect and nothing of the user's own settings.
    pub fn client(&self, program: &str, database: &str) -> Command {
        let mut command = Command::new(program_path(program));
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("PGHOST", &self.socket_dir).env("PGPORT", self.port.to_string());
        command.env("PGUSER", "tester").env("PGDATABASE", database).env("LC_ALL", "C");
        command.current_dir(self.place.path());
        command
    }
}

/// The directories of Debian's packages come after the path.
fn program_path(program: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    std::env::split_paths(&path)
        .chain(versions.map(|v| v.path().join("bin")))
        .map(|dir| dir.join(program))
        .find(|candidate| candidate.is_file())
        .unwrap_or_else(|| panic!("{program} is not installed; scripts/dev/test installs it"))
}

fn text(path: &Path) -> &str {
    path.to_str().expect("the place has a plain name")
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // The place goes after this, and every process of the cluster with it.
        if std::thread::panicking() {
            show_logs(&self.dir);
        }
    }
}

/// What the processes of a failed test said last.
pub fn show_logs(dir: &Path) {
    let Ok(logs) = std::fs::read_dir(dir.join("log")) else { return };
    for log in logs.flatten().map(|entry| entry.path()) {
        let bytes = std::fs::read(&log).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<&str> = text.lines().collect();
        println!("--- {} (last of {} lines)", log.display(), lines.len());
        lines.iter().skip(lines.len().saturating_sub(40)).for_each(|line| println!("{line}"));
    }
}
