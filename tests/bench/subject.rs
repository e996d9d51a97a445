//! A cluster of one pair that is filled, changed and recovered: what most lines measure.

use crate::Bench;
use crate::program::run;
use crate::statistics::Samples;
use crate::support::random::Random;
use crate::support::status::TRACKING;
use crate::support::wait::secs;
use crate::support::{Cluster, Pair, Place, Wire, files, processes, wait_for};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// With its header, a row of this many random bytes fills one leaf page of 4 KiB alone, so that an
/// updated row is a changed block.
const BODY_BYTES: u32 = 4000;
const ROWS_PER_MIB: u64 = 256;
/// Written in one transaction: large enough to be quick, well below the cap of the log.
const FILL_ROWS: u64 = 64 * ROWS_PER_MIB;
const UPDATE_ROWS: usize = 500;
const UPDATES_PER_TRANSACTION: usize = 16;

pub struct Subject {
    pub cluster: Cluster,
    rows: u64,
    random: Random,
}

/// How one recovery went.
#[derive(Debug, Clone, Default)]
pub struct Recovery {
    /// From the command's start to its end: what the person who typed it waits.
    pub seconds: f64,
    pub copied_blocks: f64,
    /// The two suspensions, in seconds: while the link opens, and before the claim.
    pub paused: [Option<f64>; 2],
}

/// The suspensions of some recoveries.
#[derive(Debug, Clone, Default)]
pub struct Pauses {
    pub open: Samples,
    pub claim: Samples,
}

impl Pauses {
    pub fn take(&mut self, recovery: &Recovery) {
        self.open.0.extend(recovery.paused[0]);
        self.claim.0.extend(recovery.paused[1]);
    }
}

impl Subject {
    pub fn new(bench: &Bench) -> Subject {
        let cluster = Cluster::with_place(Place::beneath(bench.root.path()), 1, &[]);
        let mut session = cluster.content(0);
        session.run("create table filled(id integer primary key, body blob)");
        session.run("create table pulse(id bigint not null)");
        Subject { cluster, rows: 0, random: Random::seeded(bench.seed) }
    }

    pub fn pair(&self) -> Pair {
        self.cluster.status().pair(0)
    }

    /// Where the acting primary's files are.
    pub fn primary_dir(&self) -> PathBuf {
        PathBuf::from(self.pair().primary.datadir)
    }

    /// A session on the acting primary's own socket, past the gateway.
    pub fn direct(&self) -> Wire {
        let socket = crate::support::wire::socket(self.cluster.socket_dir(), self.pair().primary.port);
        Wire::connect(&socket, "content0").unwrap_or_else(|e| panic!("{}: {e}", socket.display()))
    }

    pub fn mib(&self) -> u64 {
        self.rows / ROWS_PER_MIB
    }

    /// Grows the database to a size. Quickest while there is no mirror.
    pub fn fill_to(&mut self, mib: u64) {
        let goal = mib * ROWS_PER_MIB;
        let mut session = self.direct();
        while self.rows < goal {
            let end = goal.min(self.rows + FILL_ROWS);
            session.run(&format!(
                "with recursive n(i) as (select {} union all select i + 1 from n where i + 1 < {end}) \
                 insert into filled select i, randomblob({BODY_BYTES}) from n",
                self.rows
            ));
            self.rows = end;
        }
    }

    /// Changes so many percent of the blocks, scattered; returns how many rows.
    pub fn change(&mut self, percent: f64) -> usize {
        let count = ((self.rows as f64 * percent / 100.0).round() as usize).max(1);
        let ids = self.scattered(count);
        let mut session = self.direct();
        for transaction in ids.chunks(UPDATE_ROWS * UPDATES_PER_TRANSACTION) {
            session.run("begin");
            for some in transaction.chunks(UPDATE_ROWS) {
                let list = some.iter().map(u64::to_string).collect::<Vec<_>>().join(",");
                session.run(&format!("update filled set body = randomblob({BODY_BYTES}) where id in ({list})"));
            }
            session.run("commit");
        }
        count
    }

    /// Distinct rows, chosen one by one so that neighbours are no likelier than others.
    fn scattered(&mut self, count: usize) -> Vec<u64> {
        let mut left = count;
        let mut chosen = Vec::with_capacity(count);
        // Selection sampling: each row is taken with the probability that makes the count come out.
        for row in 0..self.rows {
            if self.random.below((self.rows - row) as usize) < left {
                chosen.push(row);
                left -= 1;
            }
        }
        chosen
    }

    /// Waits until everything stands in the database file too and nobody writes any more, then until the
    /// disk is idle: otherwise chance decided how much there is to copy.
    pub fn settle(&self) {
        let mut session = self.direct();
        wait_for("the log to be checkpointed", secs(120), || {
            let row = session.rows("pragma wal_checkpoint(passive)").pop().unwrap_or_default();
            let fields: Vec<&str> = row.split('|').collect();
            matches!(fields[..], [_, frames, copied] if frames == copied)
        });
        let dir = self.primary_dir();
        let written = |name: &str| std::fs::metadata(dir.join(name)).and_then(|m| m.modified()).ok();
        wait_for("the files to be left alone for half a second", secs(120), || {
            let newest = files::REPLICATED.into_iter().filter_map(written).max().unwrap_or(SystemTime::UNIX_EPOCH);
            newest.elapsed().is_ok_and(|age| age.as_millis() > 500)
        });
        crate::machine::settle_disk();
    }

    /// Kills the mirror, and waits until the primary goes on alone.
    pub fn lose_mirror(&self) {
        processes::kill(self.pair().mirror.running());
        // A write is what makes the loss seen; it is answered once tracking is granted.
        self.cluster.content(0).run("delete from pulse where id < 0");
        wait_for("tracking to be granted", secs(30), || self.pair().letters() == TRACKING);
    }

    pub fn recover(&self) -> Recovery {
        self.timed(&["recover"])
    }

    pub fn full_recover(&self) -> Recovery {
        let dbid = self.pair().mirror.dbid.to_string();
        self.timed(&["full-recover", "--dbids", &dbid])
    }

    fn timed(&self, arguments: &[&str]) -> Recovery {
        crate::machine::settle_disk();
        let mut command = self.cluster.place().command();
        command.args(arguments).args(["--json", "--yes=full_recover", "--cluster"]).arg(self.cluster.dir());
        let ended = run(command);
        let outcome: serde_json::Value = serde_json::from_str(&ended.stdout).expect("--json prints one document");
        let outcome = outcome.get("value").unwrap_or(&outcome);
        assert_eq!(outcome["status"], "done", "{outcome:#}");
        let segment = &outcome["segments"][0];
        let paused = |n: usize| segment["paused_us"][n].as_f64().map(|us| us / 1e6);
        Recovery {
            seconds: ended.seconds,
            copied_blocks: segment["copied_blocks"].as_f64().unwrap_or(f64::NAN),
            paused: [paused(0), paused(1)],
        }
    }

    pub fn log_bytes(datadir: &Path) -> u64 {
        std::fs::metadata(datadir.join("main.db-wal")).map_or(0, |m| m.len())
    }
}
