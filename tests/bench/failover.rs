//! Every way of dying, and how long commits through the gateway are blocked by it.

use crate::Bench;
use crate::machine::settle_disk;
use crate::pulse::Pulse;
use crate::report::{Goal, Row, Unit};
use crate::statistics::Samples;
use crate::subject::Subject;
use crate::support::status::SYNCHRONIZED;
use crate::support::wait::secs;
use crate::support::{processes, wait_for};
use std::time::Duration;

#[derive(Debug, Clone, Copy)]
enum Fault {
    KilledPrimary,
    KilledMirror,
    HungPrimary,
    HungMirror,
}

impl Fault {
    fn words(self) -> &'static str {
        match self {
            Fault::KilledPrimary => "kill -9 of a primary",
            Fault::KilledMirror => "kill -9 of a mirror",
            Fault::HungPrimary => "SIGSTOP of a primary",
            Fault::HungMirror => "SIGSTOP of a mirror",
        }
    }

    /// For how long the gap may come late: a hung process is not noticed at once, and its last answer
    /// may be on its way.
    fn watch(self) -> Duration {
        match self {
            Fault::KilledPrimary | Fault::KilledMirror => Duration::from_millis(500),
            Fault::HungPrimary | Fault::HungMirror => Duration::from_secs(2),
        }
    }

    fn victim(self, subject: &Subject) -> u32 {
        let pair = subject.pair();
        match self {
            Fault::KilledPrimary | Fault::HungPrimary => pair.primary.running(),
            Fault::KilledMirror | Fault::HungMirror => pair.mirror.running(),
        }
    }

    fn strike(self, pid: u32) {
        match self {
            Fault::KilledPrimary | Fault::KilledMirror => processes::kill(pid),
            Fault::HungPrimary | Fault::HungMirror => processes::stop(pid),
        }
    }
}

pub fn run(bench: &mut Bench) {
    if !bench.has_room("faults", 1 << 10) {
        return;
    }
    let (kills, hangs) = if bench.quick { (7, 2) } else { (25, 6) };
    let mut subject = Subject::new(bench);
    subject.fill_to(64);
    let pulse = Pulse::start(&subject, 0);
    let mut recoveries = Samples::default();
    for (fault, rounds) in [
        (Fault::KilledPrimary, kills),
        (Fault::KilledMirror, kills),
        (Fault::HungPrimary, hangs),
        (Fault::HungMirror, hangs),
    ] {
        bench.say(&format!("{}, {rounds} times", fault.words()));
        let mut gaps = Samples::default();
        for _ in 0..rounds {
            let victim = fault.victim(&subject);
            settle_disk();
            gaps.push(pulse.longest_gap(fault.watch(), || fault.strike(victim)));
            let recovery = subject.recover();
            if matches!(fault, Fault::KilledPrimary) {
                recoveries.push(recovery.seconds);
            }
            wait_for("the pair to be synchronized", secs(60), || subject.pair().letters() == SYNCHRONIZED);
        }
        gap_rows(bench, fault, gaps);
    }
    let (acked, lost) = pulse.finish(&subject);
    bench.add(
        Row::new("faults", format!("lost of {acked} acknowledged"), Unit::Count, Samples::one(lost as f64))
            .goal(Goal::MaxAtMost(0.0)),
    );
    bench.add(Row::new("faults", "recover() after it, under writes", Unit::Seconds, recoveries).at("mib", 64.0));
}

fn gap_rows(bench: &mut Bench, fault: Fault, gaps: Samples) {
    let row = |what: &str| Row::new("faults", format!("{}, {what}", fault.words()), Unit::Seconds, gaps.clone());
    match fault {
        Fault::KilledPrimary => {
            bench.add(row("median").goal(Goal::MedianAtMost(0.3)));
            bench.add(row("max").goal(Goal::MaxAtMost(1.0)));
        }
        Fault::KilledMirror => bench.add(row("max").goal(Goal::MaxAtMost(1.0))),
        Fault::HungPrimary => bench.add(row("max").goal(Goal::MaxAtMost(5.0))),
        Fault::HungMirror => bench.add(row("max").goal(Goal::MaxAtMost(4.0))),
    }
}

/// How long a killed primary is missed when its log is long: its successor reads the whole of it.
pub fn opening(bench: &mut Bench) {
    let (sizes, rounds): (&[u64], usize) = if bench.quick { (&[1, 64], 2) } else { (&[1, 16, 64, 128, 240], 3) };
    if !bench.has_room("opening by the log's size", 3 << 10) {
        return;
    }
    let mut subject = Subject::new(bench);
    subject.fill_to(64);
    for mib in sizes {
        bench.say(&format!("kill -9 of a primary with {mib} MiB of log, {rounds} times"));
        let (mut gaps, mut logs) = (Samples::default(), Samples::default());
        for _ in 0..rounds {
            subject.settle();
            let pair = subject.pair();
            let mut session = subject.cluster.content(0);
            session.run("create table if not exists log(body blob)");
            session.run("delete from log");
            subject.settle();
            let rows = mib * 256;
            session.run(&format!(
                "with recursive n(i) as (select 1 union all select i + 1 from n where i < {rows}) \
                 insert into log select randomblob(4000) from n"
            ));
            // At once: the checkpoint that follows such a commit has not emptied the log yet.
            let began = std::time::Instant::now();
            processes::kill(pair.primary.running());
            while !session.query("insert into pulse values (-1)").is_ok_and(|r| r.has_tag("INSERT 0 1")) {
                assert!(began.elapsed() < secs(60), "no commit after the primary's death");
            }
            gaps.push(began.elapsed().as_secs_f64());
            logs.push(Subject::log_bytes(pair.primary.datadir.as_ref()) as f64);
            subject.recover();
        }
        let row = Row::new("opening", format!("kill to next commit, log {mib} MiB, max"), Unit::Seconds, gaps);
        bench.add(row.at("log_mib", logs.median() / f64::from(1 << 20)).goal(Goal::MaxAtMost(1.0)));
    }
}
