//! Every way in which a segment's disk, files or process can be dead while its network is well.

use crate::hung::assert_pair_equal;
use crate::support::shim::Disk;
use crate::support::status::{SYNCHRONIZED, TRACKING};
use crate::support::wait::secs;
use crate::support::{Cluster, Pair, Writers, processes, wait_for};
use std::time::{Duration, Instant};

/// A pair under load, one of whose disks fails.
struct Bed {
    cluster: Cluster,
    shim: crate::support::Shim,
    _network: crate::support::Network,
    before: Pair,
    writers: Writers,
}

impl Bed {
    fn new() -> Bed {
        let (cluster, shim, network) = Cluster::on_shim(1, &[]);
        let before = cluster.status().pair(0);
        let writers = Writers::start(&cluster, &[0], 2);
        Bed { cluster, shim, _network: network, before, writers }
    }

    /// The mirror takes over, and the history names what was seen.
    fn assert_taken_over(&self, seen: &[&str]) {
        let former = self.before.primary.dbid;
        let pair = self.cluster.wait_for_failover(0, former, secs(30)).pair(0);
        assert_eq!(pair.letters(), TRACKING);
        self.assert_reason(self.before.mirror.dbid, seen);
    }

    /// The primary goes on alone, and the history names what was seen.
    fn assert_goes_on_alone(&self, seen: &[&str]) {
        let pair = self.cluster.wait_for_pair(0, TRACKING, secs(30)).pair(0);
        assert_eq!(pair.primary.dbid, self.before.primary.dbid, "the mirror's fault is not the primary's");
        self.assert_reason(self.before.mirror.dbid, seen);
    }

    fn assert_reason(&self, dbid: i64, seen: &[&str]) {
        let history = self.cluster.history(dbid);
        let named = history.iter().any(|line| seen.iter().any(|s| line.contains(s)));
        assert!(named, "one of {seen:?} is the reason: {history:?}");
    }

    /// What is gone is not recovered incrementally; a full copy makes the pair whole again.
    fn assert_made_anew(self) {
        self.writers.wait_for_more(0, 20, secs(30));
        let dbid = self.cluster.status().pair(0).mirror.dbid;
        let next = format!("next: full_recover(#{{ dbids: {dbid} }})");
        self.cluster.eval_yes("recover()").exits(4).says("incremental_impossible").says("does not exist").says(&next);
        self.cluster.outcome("full_recover()");
        self.writers.wait_for_more(0, 20, secs(30));
        self.writers.finish().assert_held_by(&self.cluster);
        assert_pair_equal(&self.cluster);
    }

    /// Healed and recovered, both copies hold every acknowledged row.
    fn assert_nothing_lost(self) {
        self.writers.wait_for_more(0, 20, secs(30));
        self.shim.heal();
        self.cluster.outcome("recover()");
        self.writers.wait_for_more(0, 20, secs(30));
        self.writers.finish().assert_held_by(&self.cluster);
        assert_pair_equal(&self.cluster);
    }
}

#[test]
fn a_primary_whose_disk_hangs_is_replaced() {
    let bed = Bed::new();
    bed.shim.fail(Disk::Hung, &bed.before.primary.datadir);
    bed.assert_taken_over(&["has not answered for"]);
    bed.assert_nothing_lost();
}

#[test]
fn a_mirror_whose_disk_hangs_is_given_up() {
    let bed = Bed::new();
    bed.shim.fail(Disk::Hung, &bed.before.mirror.datadir);
    bed.assert_goes_on_alone(&["no answer for", "mirror's disk"]);
    bed.assert_nothing_lost();
}

#[test]
fn a_primary_whose_disk_breaks_is_replaced() {
    let bed = Bed::new();
    bed.shim.fail(Disk::Broken, &bed.before.primary.datadir);
    bed.assert_taken_over(&["port refuses", "connection reset", "sick"]);
    bed.assert_nothing_lost();
}

#[test]
fn a_mirror_whose_disk_breaks_is_given_up() {
    let bed = Bed::new();
    bed.shim.fail(Disk::Broken, &bed.before.mirror.datadir);
    bed.assert_goes_on_alone(&["mirror's disk"]);
    bed.assert_nothing_lost();
}

#[test]
fn a_primary_whose_file_system_is_read_only_is_replaced() {
    let bed = Bed::new();
    bed.shim.fail(Disk::ReadOnly, &bed.before.primary.datadir);
    bed.assert_taken_over(&["port refuses", "connection reset", "sick"]);
    bed.assert_nothing_lost();
}

#[test]
fn a_mirror_whose_file_system_is_read_only_is_given_up() {
    let bed = Bed::new();
    bed.shim.fail(Disk::ReadOnly, &bed.before.mirror.datadir);
    bed.assert_goes_on_alone(&["mirror's disk"]);
    bed.assert_nothing_lost();
}

#[test]
fn a_full_disk_of_the_primary_fails_the_statement_and_never_the_segment() {
    let bed = Bed::new();
    let mut session = bed.cluster.content(0);
    session.run("create table t(body text)");
    bed.shim.fail(Disk::Full, &bed.before.primary.datadir);
    let reply = session.query("insert into t values ('x')").expect("an answer");
    assert_eq!(reply.sqlstate(), Some("53100"), "{reply:?}");
    assert_eq!(session.number("select count(*) from t"), 0, "reads go on");
    bed.cluster.eval("probe()").ok();
    bed.shim.heal();
    session.run("insert into t values ('y')");
    bed.writers.wait_for_more(0, 20, secs(30));
    let after = bed.cluster.status().pair(0);
    assert_eq!((after.letters().as_str(), after.primary.running()), (SYNCHRONIZED, bed.before.primary.running()));
    bed.writers.finish().assert_held_by(&bed.cluster);
    assert_pair_equal(&bed.cluster);
}

#[test]
fn a_full_disk_of_the_mirror_is_the_loss_of_the_mirror_and_said_so() {
    let bed = Bed::new();
    bed.shim.fail(Disk::Full, &bed.before.mirror.datadir);
    bed.assert_goes_on_alone(&["mirror's disk"]);
    bed.assert_nothing_lost();
}

#[test]
fn a_primary_whose_data_directory_is_deleted_is_replaced() {
    let bed = Bed::new();
    std::fs::remove_dir_all(&bed.before.primary.datadir).expect("its owner may remove it");
    bed.assert_taken_over(&["no longer stand under their names", "port refuses", "connection reset"]);
    bed.assert_made_anew();
}

#[test]
fn a_mirror_whose_data_directory_is_deleted_is_given_up() {
    let bed = Bed::new();
    std::fs::remove_dir_all(&bed.before.mirror.datadir).expect("its owner may remove it");
    bed.assert_goes_on_alone(&["no longer stand under their names", "mirror's disk"]);
    bed.assert_made_anew();
}

#[test]
fn a_full_disk_of_the_coordinator_hinders_no_failover() {
    let bed = Bed::new();
    let coordinator = bed.cluster.dir().join("coordinator");
    bed.shim.fail(Disk::NoRoom, coordinator.to_str().expect("a plain name"));
    processes::kill(bed.before.primary.running());
    bed.assert_taken_over(&["port refuses", "connection reset"]);
    bed.assert_nothing_lost();
}

#[test]
fn a_primary_out_of_file_descriptors_keeps_its_sessions_and_its_role() {
    let bed = Bed::new();
    let primary = bed.before.primary.running();
    let limit = processes::limit_files(primary, 3);
    bed.writers.wait_for_more(0, 50, secs(30));
    bed.cluster.eval("probe()").ok();
    processes::limit_files(primary, limit);
    let after = bed.cluster.status().pair(0);
    assert_eq!((after.letters().as_str(), after.primary.running()), (SYNCHRONIZED, primary));
    assert_eq!(bed.cluster.content(0).number("select 1"), 1, "new sessions are taken again");
    bed.writers.finish().assert_held_by(&bed.cluster);
}

#[test]
fn a_prober_that_was_itself_stopped_calls_nobody_dead() {
    let bed = Bed::new();
    let decided = bed.cluster.decisions();
    let coordinator = bed.cluster.status().coordinator.pid.expect("it runs");
    processes::stop(coordinator);
    // Longer than three attempts: whoever judged by the calendar or by expired deadlines would decide now.
    let stopped = Instant::now();
    wait_for("four seconds of a stopped coordinator", secs(10), || stopped.elapsed() > Duration::from_secs(4));
    processes::resume(coordinator);
    bed.cluster.eval("probe()").ok();
    bed.writers.wait_for_more(0, 20, secs(30));
    let after = bed.cluster.status().pair(0);
    assert_eq!((after.letters().as_str(), after.primary.running()), (SYNCHRONIZED, bed.before.primary.running()));
    assert_eq!(bed.cluster.decisions(), decided);
    bed.writers.finish().assert_held_by(&bed.cluster);
}
