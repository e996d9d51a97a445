//! The goals of the engine, measured: ours beside its peers, on the same bytes, in one run, turn about.
//!
//! Started by `scripts/dev/bench`, which installs the peers. Real clusters of the release binary, driven
//! from outside as the end-to-end tests drive them; one line after the other, so that nothing but the
//! machine disturbs what is measured. What a run prints is a table of 80 columns; what it writes is
//! described in `docs/performance.md`.

#[allow(dead_code, unused_imports, reason = "the measured clusters need a part of the tests' harness")]
#[path = "../support/mod.rs"]
mod support;

mod commits;
mod failover;
mod fts_round;
mod growth;
mod machine;
mod peers;
mod postgres;
mod program;
mod pulse;
mod recovery;
mod report;
mod resync_load;
mod shell;
mod statistics;
mod subject;

use machine::Root;
use report::{Goal, Report, Row, Unit};
use serde_json::json;
use statistics::Samples;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};
use subject::Pauses;

const HELP: &str = "\
usage: scripts/dev/bench [--quick] [--only GROUP]... [--dir DIR] [--json FILE] [--seed N]

  --quick        smaller sizes and fewer rounds: under 10 minutes
  --only GROUP   only these: incremental and full (one group: recovery), commits, faults, opening,
                 growth, resync-load, fts, shell; may be repeated
  --dir DIR      measure the disk under DIR (default: /var/tmp)
  --json FILE    where the document goes (default: target/bench.json)
  --seed N       which rows are changed

Exit code: 0 measured, 1 something failed or (without --quick) had no room, 2 bad arguments,
130 interrupted. A goal that is missed is shown, and is no failure of the run.
";

/// Room that is left alone, in bytes, whatever is measured.
const RESERVE: u64 = 2 << 30;
/// A suspension may last so many times the disk's own p99.
const PAUSE_TIMES: f64 = 5.0;

struct Arguments {
    quick: bool,
    only: Vec<String>,
    dir: PathBuf,
    json: PathBuf,
    seed: u64,
}

/// A run.
pub struct Bench {
    pub quick: bool,
    pub root: Root,
    pub seed: u64,
    /// How long the disk alone takes to sync, from all over the run.
    syncs: Samples,
    began: Instant,
    report: Report,
}

impl Bench {
    /// A line of progress.
    pub fn say(&self, what: &str) {
        println!("[{:4.0} s] {what}", self.began.elapsed().as_secs_f64());
    }

    pub fn add(&mut self, row: Row) {
        println!("{}", row.line());
        self.report.rows.push(row);
    }

    /// Both suspensions of some recoveries, beside the disk's own syncs.
    pub fn pauses(&mut self, pauses: Pauses, mib: u64) {
        self.sample_disk();
        let p99 = self.syncs.quantile(0.99);
        for (name, samples) in [("open", pauses.open), ("claim", pauses.claim)] {
            let row = Row::new("suspension", format!("suspension to {name}, {mib} MiB, max"), Unit::Seconds, samples);
            let row = row.beside("fdatasync p99", Samples::one(p99), report::Ratio::OursOverPeer);
            self.add(row.goal(Goal::MaxAtMost(PAUSE_TIMES * p99)).at("mib", mib as f64));
        }
    }

    /// Whether there is room for so many MiB; says loudly what is skipped.
    pub fn has_room(&mut self, what: &str, mib: u64) -> bool {
        let free = machine::free_bytes(self.root.path());
        let needed = (mib << 20) + RESERVE;
        if free < needed {
            self.skip(format!("{what}: it needs {} MiB of room, there are {}", needed >> 20, free >> 20));
        }
        free >= needed
    }

    pub fn skip(&mut self, what: String) {
        println!("SKIPPED {what}");
        self.report.skipped.push(what);
    }

    pub fn failed(&mut self, what: String) {
        println!("FAILED {what}");
        self.report.failed.push(what);
    }

    fn sample_disk(&mut self) {
        machine::settle_disk();
        self.syncs.0.extend(machine::fdatasync(&self.root, 200).0);
    }
}

type Group = (&'static str, fn(&mut Bench));

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// In this order: what is quick and what is asked for most comes first.
const GROUPS: [Group; 8] = [
    ("shell", shell::run),
    ("fts", fts_round::run),
    ("faults", failover::run),
    ("opening", failover::opening),
    ("commits", commits::run),
    ("recovery", recovery::run),
    ("resync-load", resync_load::run),
    ("growth", growth::run),
];

fn main() -> ExitCode {
    let arguments = match parse(std::env::args().skip(1)) {
        Ok(Some(arguments)) => arguments,
        Ok(None) => {
            print!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Err(why) => {
            eprint!("{why}\n{HELP}");
            return ExitCode::from(2);
        }
    };
    let root = match Root::new(&arguments.dir) {
        Ok(root) => root,
        Err(why) => {
            eprintln!("scripts/dev/bench: {why}");
            return ExitCode::from(2);
        }
    };
    clean_when_interrupted(root.clone());
    let code = measure(&arguments, root.clone());
    root.clean();
    code
}

fn measure(arguments: &Arguments, root: Root) -> ExitCode {
    let mut bench = Bench {
        quick: arguments.quick,
        root,
        seed: arguments.seed,
        syncs: Samples::default(),
        began: Instant::now(),
        report: Report::default(),
    };
    bench.sample_disk();
    println!("{}", report::head());
    let wanted = |name: &str| arguments.only.is_empty() || arguments.only.iter().any(|o| o == name);
    for (name, run) in GROUPS.into_iter().filter(|(name, _)| wanted(name)) {
        // A line that fails says so, and the others are measured all the same.
        let failed = catch_unwind(AssertUnwindSafe(|| run(&mut bench))).is_err();
        while INTERRUPTED.load(Ordering::SeqCst) {
            // What failed then failed because its processes were ended; the other thread ends this one.
            std::thread::park();
        }
        if failed {
            bench.failed(format!("{name}: see above"));
        }
        bench.sample_disk();
    }
    conclude(bench, arguments)
}

fn conclude(bench: Bench, arguments: &Arguments) -> ExitCode {
    let run = json!({
        "segsh": env!("CARGO_PKG_VERSION"),
        "unix_s": SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs()),
        "seconds": bench.began.elapsed().as_secs_f64(),
        "quick": bench.quick,
        "only": arguments.only,
        "seed": bench.seed,
    });
    let document = bench.report.json(run, machine::describe(&bench.root, &bench.syncs));
    println!("\n{}", report::head());
    bench.report.rows.iter().for_each(|row| println!("{}", row.line()));
    let syncs = &bench.syncs;
    let show = |q: f64| Unit::Seconds.show(syncs.quantile(q));
    println!("\nthe disk's fdatasync: p50 {}, p90 {}, p99 {}", show(0.5), show(0.9), show(0.99));
    bench.report.skipped.iter().for_each(|what| println!("SKIPPED {what}"));
    bench.report.failed.iter().for_each(|what| println!("FAILED {what}"));
    let missed = bench.report.missed();
    println!(
        "{} goals missed: {}",
        missed.len(),
        missed.iter().map(|r| r.what.as_str()).collect::<Vec<_>>().join("; ")
    );
    let text = serde_json::to_string_pretty(&document).expect("a document of numbers and texts");
    if let Err(error) = std::fs::write(&arguments.json, text) {
        eprintln!("{}: {error}", arguments.json.display());
        return ExitCode::FAILURE;
    }
    println!("written: {}", arguments.json.display());
    let incomplete = !bench.report.failed.is_empty() || (!bench.quick && !bench.report.skipped.is_empty());
    if incomplete { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn parse(mut words: impl Iterator<Item = String>) -> Result<Option<Arguments>, String> {
    let target = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/bench.json");
    let mut arguments =
        Arguments { quick: false, only: Vec::new(), dir: "/var/tmp".into(), json: target, seed: 20_111_121 };
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or_else(|| format!("{word} needs a value"));
        match word.as_str() {
            "--quick" => arguments.quick = true,
            "--only" => {
                let name = value()?;
                let name = if matches!(name.as_str(), "incremental" | "full") { "recovery".into() } else { name };
                if !GROUPS.iter().any(|(known, _)| *known == name) {
                    return Err(format!("there is no group `{name}`"));
                }
                arguments.only.push(name);
            }
            "--dir" => arguments.dir = value()?.into(),
            "--json" => arguments.json = value()?.into(),
            "--seed" => arguments.seed = value()?.parse().map_err(|e| format!("--seed: {e}"))?,
            // What cargo passes to every benchmark.
            "--bench" => {}
            "--help" | "-h" => return Ok(None),
            other => return Err(format!("`{other}` is no option")),
        }
    }
    Ok(Some(arguments))
}

/// Ctrl-C, and every other polite end: servers and clusters that were started go with the run.
fn clean_when_interrupted(root: Root) {
    use tokio::signal::unix::{SignalKind, signal};
    let wait = async {
        let listen = |kind| signal(kind).expect("signals can be listened to");
        let (mut int, mut term) = (listen(SignalKind::interrupt()), listen(SignalKind::terminate()));
        let mut hup = listen(SignalKind::hangup());
        tokio::select! { _ = int.recv() => {}, _ = term.recv() => {}, _ = hup.recv() => {} }
    };
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(wait);
        INTERRUPTED.store(true, Ordering::SeqCst);
        eprintln!("interrupted: ending what was started");
        root.clean();
        std::process::exit(130);
    });
}
