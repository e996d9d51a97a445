//! What clients feel of a resynchronization: 8 clients at half of saturation, their p99 in sync and idle
//! beside their p99 while the mirror is copied to.

use crate::Bench;
use crate::commits::{self, pgbench};
use crate::machine::settle_disk;
use crate::report::{Goal, Ratio, Row, Unit};
use crate::statistics::Samples;
use crate::subject::Subject;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const CLIENTS: usize = 8;
/// Beyond the resynchronization: it begins only when the clients have warmed up.
const LEAD: Duration = Duration::from_secs(2);
/// Fewer transactions than this say nothing about a p99.
const FEWEST: usize = 100;

pub fn run(bench: &mut Bench) {
    let (mib, rounds) = if bench.quick { (512, 2) } else { (4096, 3) };
    if !bench.has_room("writes during a resynchronization", 4 * mib) {
        return;
    }
    let mut subject = Subject::new(bench);
    commits::prepare(&subject);
    subject.lose_mirror();
    subject.fill_to(mib);
    subject.settle();
    subject.full_recover();
    let script = commits::script(bench);
    bench.say("saturation with 8 clients");
    let client = |subject: &Subject| subject.cluster.client("pgbench", "content0");
    let most = pgbench(client(&subject), &script, CLIENTS, &["--time=5"]).per_second;
    let rate = format!("--rate={:.0}", (most / 2.0).max(1.0));

    let (mut idle, mut busy, mut lasted) = (Samples::default(), Samples::default(), Samples::default());
    for round in 0..rounds {
        bench.say(&format!("p99 at {rate}/s, idle and resynchronizing, round {} of {rounds}", round + 1));
        settle_disk();
        let log = bench.root.path().join(format!("idle-{round}"));
        pgbench(client(&subject), &script, CLIENTS, &["--time=6", &rate, "--log", &prefix(&log)]);
        idle.push(latencies(&log, 0.0, f64::MAX).quantile(0.99));

        subject.lose_mirror();
        subject.change(50.0);
        subject.settle();
        let log = bench.root.path().join(format!("busy-{round}"));
        let arguments = ["--time=600".to_owned(), rate.clone(), "--log".into(), prefix(&log)];
        let (began, ended) = while_clients_write(&subject, &script, &arguments, || {
            std::thread::sleep(LEAD);
            lasted.push(subject.recover().seconds);
        });
        let seen = latencies(&log, began, ended);
        if seen.0.len() < FEWEST {
            bench.failed(format!("only {} transactions during a resynchronization", seen.0.len()));
        }
        busy.push(seen.quantile(0.99));
    }
    bench.add(
        Row::new("resync-load", "p99 while resynchronizing / idle", Unit::Seconds, busy)
            .beside("idle and in sync", idle, Ratio::OursOverPeer)
            .goal(Goal::RatioAtMost(2.0))
            .at("clients", CLIENTS as f64)
            .at("mib", mib as f64),
    );
    bench.add(Row::new("resync-load", "the resynchronization under it", Unit::Seconds, lasted).at("mib", mib as f64));
}

fn prefix(log: &Path) -> String {
    format!("--log-prefix={}", log.display())
}

/// Runs pgbench beside some work, ends it after; returns when the work began and ended, in Unix seconds.
/// The work's own lead time is not part of it.
fn while_clients_write(subject: &Subject, script: &Path, more: &[String], work: impl FnOnce()) -> (f64, f64) {
    let mut command = subject.cluster.client("pgbench", "content0");
    command.args(["--no-vacuum", "--protocol=simple", "--jobs=2", "--client"]).arg(CLIENTS.to_string());
    command.args(more).arg("--file").arg(script);
    command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    let mut child = command.spawn().expect("pgbench can be started");
    let began = unix_now() + LEAD.as_secs_f64();
    work();
    let ended = unix_now();
    // Its log is written through a buffer, which an interrupt would lose: SIGALRM is pgbench's own end of time.
    let pid = child.id();
    crate::support::processes::signal(pid, rustix::process::Signal::ALARM);
    let status = child.wait().expect("a child can be waited for");
    assert!(status.success(), "pgbench ended with {status}");
    (began, ended)
}

fn unix_now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |d| d.as_secs_f64())
}

/// The latencies, in seconds, of the transactions that ended between two moments, from pgbench's logs:
/// `client transaction time_us script epoch_s epoch_us [lag_us]`.
fn latencies(log: &Path, from: f64, to: f64) -> Samples {
    let (dir, name) = (log.parent().expect("a log has a directory"), log.file_name().unwrap_or_default());
    let name = name.to_string_lossy();
    let files = std::fs::read_dir(dir).expect("a directory of ours").flatten().map(|e| e.path());
    let ours = files.filter(|p| p.file_name().is_some_and(|n| n.to_string_lossy().starts_with(&format!("{name}."))));
    let text: Vec<String> = ours.map(|p| std::fs::read_to_string(p).expect("pgbench's log is text")).collect();
    let one = |line: &str| -> Option<f64> {
        let fields: Vec<f64> = line.split_whitespace().map_while(|f| f.parse().ok()).collect();
        let at = fields.get(4)? + fields.get(5)? / 1e6;
        (from..=to).contains(&at).then(|| fields[2] / 1e6)
    };
    text.iter().flat_map(|t| t.lines()).filter_map(one).collect()
}
