//! How recovery grows: with the size of the database, and with the share that changed; and that its two
//! suspensions do not grow at all.

use crate::Bench;
use crate::report::{Goal, Ratio, Row, Unit};
use crate::statistics::Samples;
use crate::subject::{Pauses, Recovery, Subject};
use crate::support::processes;

/// Beyond this size a full copy, which stands beside the old one until it is named, is left out.
const FULL_MIB_MAX: u64 = 8 << 10;

pub fn run(bench: &mut Bench) {
    let sizes: &[u64] = if bench.quick { &[10, 64, 512] } else { &[10, 64, 256, 1024, 4096, 8192, 10_240] };
    let shares_at = if bench.quick { 64 } else { 1024 };
    let mut subject = Subject::new(bench);
    let mut pauses: Vec<(u64, Pauses)> = Vec::new();
    for mib in sizes.iter().copied() {
        let copies = if mib <= FULL_MIB_MAX { 3 } else { 2 };
        let more = (mib - subject.mib()) * 2 + if copies == 3 { mib } else { 0 };
        if !bench.has_room(&format!("growth at {mib} MiB"), more + 1024) {
            break;
        }
        bench.say(&format!("growth: {mib} MiB"));
        subject.lose_mirror();
        subject.fill_to(mib);
        subject.settle();
        subject.recover();
        pauses.push((mib, of_size(bench, &mut subject, mib)));
        if mib == shares_at {
            by_share(bench, &mut subject, mib);
        }
    }
    for (mib, pauses) in &pauses {
        bench.pauses(pauses.clone(), *mib);
    }
    if let [(small, first), .., (large, last)] = &pauses[..] {
        for (name, small_ones, large_ones) in [("open", &first.open, &last.open), ("claim", &first.claim, &last.claim)]
        {
            let what = format!("suspension to {name}, {large} / {small} MiB");
            let row = Row::new("suspension", what, Unit::Seconds, large_ones.clone());
            let row = row.beside("the smallest", small_ones.clone(), Ratio::OursOverPeer);
            bench.add(row.goal(Goal::RatioAtMost(1.5)));
        }
    }
}

/// Full and incremental recovery, and recovery after a kill of the primary; returns the suspensions.
fn of_size(bench: &mut Bench, subject: &mut Subject, mib: u64) -> Pauses {
    let rounds = if mib > 1024 { 2 } else { 3 };
    let mut pauses = Pauses::default();
    let mut series = |bench: &mut Bench, what: &str, times: usize, one: &mut dyn FnMut() -> Recovery| {
        let found: Vec<_> = (0..times).map(|_| one()).collect();
        found.iter().for_each(|r| pauses.take(r));
        let seconds = found.iter().map(|r| r.seconds).collect();
        bench.add(Row::new("growth", format!("{what}, {mib} MiB"), Unit::Seconds, seconds).at("mib", mib as f64));
    };
    if mib <= FULL_MIB_MAX {
        series(bench, "full", rounds.min(2), &mut || {
            subject.lose_mirror();
            subject.settle();
            subject.full_recover()
        });
    }
    for (percent, times) in [(0.01, 5), (1.0, rounds)] {
        series(bench, &format!("incremental {percent} %"), times, &mut || changed(subject, percent));
    }
    series(bench, "after kill -9 of primary", rounds, &mut || {
        subject.change(0.01);
        processes::kill(subject.pair().primary.running());
        subject.cluster.content(0).run("delete from pulse where id < 0");
        subject.settle();
        subject.recover()
    });
    pauses
}

fn changed(subject: &mut Subject, percent: f64) -> Recovery {
    subject.lose_mirror();
    subject.change(percent);
    subject.settle();
    subject.recover()
}

fn by_share(bench: &mut Bench, subject: &mut Subject, mib: u64) {
    let shares: &[f64] = if bench.quick { &[0.1, 10.0, 50.0] } else { &[0.01, 0.1, 1.0, 10.0, 25.0, 50.0] };
    for percent in shares {
        bench.say(&format!("growth: {percent} % of {mib} MiB changed"));
        let found: Vec<_> = (0..2).map(|_| changed(subject, *percent)).collect();
        let seconds = found.iter().map(|r| r.seconds).collect();
        let blocks = found.iter().map(|r| r.copied_blocks).collect::<Samples>().median();
        let row = Row::new("growth", format!("{percent} % of {mib} MiB changed"), Unit::Seconds, seconds);
        bench.add(row.at("mib", mib as f64).at("percent", *percent).at("copied_blocks", blocks));
    }
}
