//! Making a mirror equal again, beside everything an operator would otherwise use: the two goals of
//! recovery at one size, on the same bytes, turn about.

use crate::Bench;
use crate::machine::{self, settle_disk};
use crate::peers::Copy;
use crate::postgres::Server;
use crate::report::{Goal, Ratio, Row, Unit};
use crate::statistics::Samples;
use crate::subject::{Pauses, Subject};

const CHANGED_PERCENT: f64 = 1.0;
/// Files of one size at the same time: two of ours and a new copy, three of the peers, two servers and
/// their logs.
const COPIES: u64 = 11;
/// A quarter of the bytes of one of PostgreSQL's rows.
const QUARTER: u32 = 976;

#[derive(Default)]
struct Incremental {
    ours: Samples,
    pauses: Pauses,
    rsync: Samples,
    bare: Samples,
    rewind: Samples,
    blocks: Samples,
}

#[derive(Default)]
struct Full {
    ours: Samples,
    cp: Samples,
    rsync: Samples,
    base_backup: Samples,
}

pub fn run(bench: &mut Bench) {
    let mib = if bench.quick { 512 } else { 2048 };
    let rounds = if bench.quick { 3 } else { 5 };
    if !bench.has_room("recovery beside its peers", COPIES * mib) {
        return;
    }
    bench.say(&format!("filling {mib} MiB, ours and PostgreSQL's"));
    let mut subject = Subject::new(bench);
    subject.lose_mirror();
    subject.fill_to(mib);
    subject.settle();
    subject.full_recover();
    let mut postgres = Postgres::new(bench, mib);

    let mut full = Full::default();
    for round in 0..rounds {
        bench.say(&format!("full recovery of {mib} MiB, round {} of {rounds}", round + 1));
        full_round(bench, &subject, &postgres, round, &mut full);
    }
    full_rows(bench, mib, full);

    let mut incremental = Incremental::default();
    let dir = subject.primary_dir();
    let rsync = Copy::of(&dir, bench.root.path().join("rsync"));
    let bare = Copy::of(&dir, bench.root.path().join("bare"));
    for round in 0..rounds {
        bench.say(&format!("incremental recovery of {mib} MiB, round {} of {rounds}", round + 1));
        incremental_round(&mut subject, &mut postgres, (&rsync, &bare), round, &mut incremental);
    }
    incremental_rows(bench, mib, incremental);
    memory_rows(bench, &subject, mib);
}

fn full_round(bench: &Bench, subject: &Subject, postgres: &Postgres, round: usize, into: &mut Full) {
    subject.lose_mirror();
    subject.settle();
    let dir = subject.primary_dir();
    let at = bench.root.path().join("full");
    let measured = |work: &dyn Fn(&Copy) -> f64| {
        let copy = Copy::empty(at.clone());
        settle_disk();
        work(&copy)
    };
    let ours = |into: &mut Full| into.ours.push(subject.full_recover().seconds);
    if round.is_multiple_of(2) {
        ours(into);
    }
    into.cp.push(measured(&|copy| copy.cp(&dir)));
    into.rsync.push(measured(&|copy| copy.rsync(&dir, &[])));
    settle_disk();
    into.base_backup.push(postgres.base_backup());
    if !round.is_multiple_of(2) {
        ours(into);
    }
}

fn full_rows(bench: &mut Bench, mib: u64, found: Full) {
    let row = |peer: &str, samples: Samples, ours: &Samples| {
        Row::new("full", format!("full {mib} MiB / {peer}"), Unit::Seconds, ours.clone())
            .beside(peer, samples, Ratio::PeerOverOurs)
            .at("mib", mib as f64)
    };
    bench.add(row("cp+fsync", found.cp, &found.ours).goal(Goal::RatioAtLeast(1.0)));
    bench.add(row("rsync -a", found.rsync, &found.ours));
    bench.add(row("pg_basebackup", found.base_backup, &found.ours));
}

fn incremental_round(
    subject: &mut Subject,
    postgres: &mut Postgres,
    (rsync, bare): (&Copy, &Copy),
    round: usize,
    into: &mut Incremental,
) {
    subject.lose_mirror();
    subject.change(CHANGED_PERCENT);
    subject.settle();
    let dir = subject.primary_dir();
    let difference = rsync.difference(&dir);
    into.blocks.push(difference.blocks() as f64);
    let ours = |into: &mut Incremental| {
        let recovery = subject.recover();
        into.ours.push(recovery.seconds);
        into.pauses.take(&recovery);
    };
    if round.is_multiple_of(2) {
        ours(into);
    }
    settle_disk();
    into.bare.push(bare.write_blocks(&difference));
    settle_disk();
    // A file changed within the second of its copy would be taken for equal, which is no delta at all.
    into.rsync.push(rsync.rsync(&dir, &["--inplace", "--no-whole-file", "--ignore-times"]));
    if !round.is_multiple_of(2) {
        ours(into);
    }
    for (name, copy) in [("rsync", rsync), ("the bare writes", bare)] {
        let left = copy.difference(&dir).blocks();
        assert_eq!(left, 0, "{name} left blocks different: their time is of something else");
    }
    into.rewind.push(postgres.rewind());
}

fn incremental_rows(bench: &mut Bench, mib: u64, found: Incremental) {
    let row = |peer: &str, samples: Samples, ratio: Ratio| {
        Row::new("incremental", format!("incremental 1 % / {peer}"), Unit::Seconds, found.ours.clone())
            .beside(peer, samples, ratio)
            .at("mib", mib as f64)
            .at("percent", CHANGED_PERCENT)
            .at("blocks", found.blocks.median())
    };
    bench.add(row("rsync --inplace", found.rsync, Ratio::PeerOverOurs).goal(Goal::RatioAtLeast(25.0)));
    bench.add(row("pg_rewind+start", found.rewind, Ratio::PeerOverOurs).goal(Goal::RatioAtLeast(10.0)));
    bench.add(row("bare writes", found.bare, Ratio::OursOverPeer).goal(Goal::RatioAtMost(2.5)));
    bench.pauses(found.pauses, mib);
}

fn memory_rows(bench: &mut Bench, subject: &Subject, mib: u64) {
    let status = subject.cluster.status();
    let pair = status.pair(0);
    let processes = [
        ("primary", pair.primary.pid),
        ("mirror", pair.mirror.pid),
        ("coordinator", status.coordinator.pid),
        ("host agent", status.hosts.first().and_then(|h| h.pid)),
    ];
    for (name, pid) in processes {
        let Some((now, most)) = pid.and_then(machine::memory) else { continue };
        let row = |what: &str, bytes| {
            Row::new("memory", format!("memory of a {name}, {what}"), Unit::Bytes, Samples::one(bytes))
        };
        bench.add(row("now", now).at("mib", mib as f64));
        bench.add(row("at most", most).at("mib", mib as f64));
    }
}

/// Two servers that take turns: one is the primary, the other follows.
struct Postgres {
    primary: Server,
    standby: Server,
    backup: std::path::PathBuf,
}

impl Postgres {
    fn new(bench: &Bench, mib: u64) -> Postgres {
        let primary = Server::new(&bench.root, "pg-a");
        primary.sql("create extension pgcrypto");
        // One row a page of 8 KiB, with room for its next version: an updated row is one changed page, and
        // the table has as many bytes as ours.
        primary.sql("create table filled(id integer primary key, body bytea) with (fillfactor = 50)");
        primary.sql("alter table filled alter column body set storage plain");
        let quarter = format!("gen_random_bytes({QUARTER})");
        primary.sql(&format!(
            "insert into filled select i, {quarter} || {quarter} || {quarter} || {quarter} \
             from generate_series(0, {} - 1) i",
            mib * 128
        ));
        primary.sql("checkpoint");
        let (standby, _) = Server::standby(&bench.root, "pg-b", &primary);
        Postgres { primary, standby, backup: bench.root.path().join("pg-a").join("backup") }
    }

    fn base_backup(&self) -> f64 {
        let at = self.backup.with_file_name("backup");
        let seconds = self.primary.base_backup(&self.primary, &at, false);
        std::fs::remove_dir_all(&at).expect("a backup can be removed");
        seconds
    }

    /// The standby is promoted and changes a share of its blocks; the former primary, which went on for
    /// one transaction, is stopped and then made to follow: measured is only the last.
    fn rewind(&mut self) -> f64 {
        self.standby.wait_until_replayed(&self.primary);
        self.standby.promote();
        self.primary.sql("create table if not exists apart(id integer)");
        self.primary.sql("insert into apart values (1)");
        self.primary.stop("fast");
        let step = (100.0 / CHANGED_PERCENT) as u64;
        self.standby.sql("checkpoint");
        self.standby.sql(&format!(
            "update filled set body = gen_random_bytes({QUARTER}) || substring(body from {QUARTER} + 1) \
             where id % {step} = 0"
        ));
        self.standby.sql("checkpoint");
        settle_disk();
        let seconds = self.primary.rewind(&self.standby);
        std::mem::swap(&mut self.primary, &mut self.standby);
        seconds
    }
}
