//! A process that is stopped and comes back: it must find the world changed, and itself out of it.

use crate::support::status::SYNCHRONIZED;
use crate::support::wait::secs;
use crate::support::{Cluster, Pair, Reply, Wire, files, processes, wait_for, wire};
use rustix::process::Signal;
use std::path::Path;

/// A pair whose primary is stopped, and sessions on that primary's own socket with a write and a read
/// already sent: the moment it wakes it has something to acknowledge and something to answer.
struct Hung {
    cluster: Cluster,
    before: Pair,
    writer: Wire,
    reader: Wire,
}

impl Hung {
    fn new() -> Hung {
        let cluster = Cluster::new(1);
        cluster.content(0).run("create table t(id int)");
        cluster.content(0).run("insert into t values (0)");
        let before = cluster.status().pair(0);
        let (mut writer, mut reader) = (direct(&cluster, &before), direct(&cluster, &before));
        writer.run("insert into t values (1)");
        assert_eq!(reader.number("select count(*) from t"), 2, "it is the acting primary");
        processes::stop(before.primary.running());
        writer.send("insert into t values (666)").expect("the socket's buffer takes it");
        reader.send("select count(*) from t").expect("the socket's buffer takes it");
        Hung { cluster, before, writer, reader }
    }

    fn fail_over(&self) {
        self.cluster.wait_for_failover(0, self.before.primary.dbid, secs(20));
        let mut session = self.cluster.content(0);
        session.run("insert into t values (2)");
        assert_eq!(session.rows("select id from t order by id"), ["0", "1", "2"]);
    }

    /// What was in flight is never acknowledged and never answered with rows.
    fn assert_nothing_served(&mut self) {
        for (what, session) in [("write", &mut self.writer), ("read", &mut self.reader)] {
            let reply = session.receive_within(secs(5));
            assert!(serves_nothing(&reply), "the former primary answered the {what} in flight: {reply:?}");
        }
    }
}

fn direct(cluster: &Cluster, pair: &Pair) -> Wire {
    let socket = wire::socket(cluster.socket_dir(), pair.primary.port);
    Wire::connect(&socket, "content0").unwrap_or_else(|e| panic!("the segment's own socket: {e}"))
}

/// No acknowledgement and no row: an error, a closed connection, or silence.
pub fn serves_nothing(reply: &Result<Reply, crate::support::Lost>) -> bool {
    reply.as_ref().map_or(true, |r| r.error.is_some() && r.rows.is_empty() && r.tags.is_empty())
}

#[test]
fn a_stopped_primary_that_wakes_after_the_failover_acknowledges_nothing_and_serves_no_read() {
    let mut hung = Hung::new();
    hung.fail_over();
    let former = hung.before.primary.running();
    assert!(processes::resume(former), "nobody killed it unasked");
    hung.assert_nothing_served();

    // New sessions fare no better, for as long as it lives.
    let socket = wire::socket(hung.cluster.socket_dir(), hung.before.primary.port);
    for sql in ["select count(*) from t", "insert into t values (667)"] {
        if let Ok(mut session) = Wire::connect(&socket, "content0") {
            session.send(sql).ok();
            let reply = session.receive_within(secs(2));
            assert!(serves_nothing(&reply), "`{sql}`: {reply:?}");
        }
    }
    let cluster = &hung.cluster;
    assert_eq!(cluster.content(0).rows("select id from t order by id"), ["0", "1", "2"]);
    cluster.outcome("recover()");
    assert_pair_equal(cluster);
    assert_eq!(cluster.content(0).rows("select id from t order by id"), ["0", "1", "2"]);
}

#[test]
fn recover_kills_a_stopped_primary_first_and_nothing_of_it_reaches_any_file() {
    let mut hung = Hung::new();
    hung.fail_over();
    let former = hung.before.primary.running();
    hung.cluster.outcome("recover()");
    assert!(!processes::runs(former), "it was killed before its successor started");
    assert!(!processes::signal(former, Signal::CONT) || !processes::runs(former));
    hung.assert_nothing_served();

    let pair = hung.cluster.status().pair(0);
    assert_eq!((pair.letters().as_str(), pair.mirror.dbid), (SYNCHRONIZED, hung.before.primary.dbid));
    assert_ne!(pair.mirror.running(), former);
    assert_pair_equal(&hung.cluster);
    hung.cluster.lifecycle("stop", &[]).ok();
    for datadir in [&pair.primary.datadir, &pair.mirror.datadir] {
        files::assert_sound(Path::new(datadir));
        let copy = files::copy(Path::new(datadir));
        let count: i64 = copy.sqlite.query_row("select count(*) from t where id >= 666", [], |r| r.get(0)).expect("t");
        assert_eq!(count, 0, "{datadir}");
    }
}

#[test]
fn a_stopped_mirror_that_wakes_after_it_was_given_up_changes_nothing() {
    let cluster = Cluster::new(1);
    let mut session = cluster.content(0);
    session.run("create table t(id int)");
    let mirror = cluster.status().pair(0).mirror;
    processes::stop(mirror.running());
    session.run("insert into t values (1)");
    let tracking = crate::support::status::TRACKING;
    cluster.wait_for_pair(0, tracking, secs(10));
    processes::resume(mirror.running());
    session.run("insert into t values (2)");
    assert_eq!(cluster.status().pair(0).letters(), tracking, "a link is never resumed (R6)");
    cluster.outcome("recover()");
    assert_pair_equal(&cluster);
    assert_eq!(session.rows("select id from t order by id"), ["1", "2"]);
}

/// After a barrier, which any commit is, both files are the same.
#[track_caller]
pub fn assert_pair_equal(cluster: &Cluster) {
    for content in cluster.status().contents() {
        cluster.content(content).run("create table if not exists barrier(id int)");
        cluster.content(content).run("insert into barrier values (1)");
        let pair = cluster.status().pair(content);
        let (primary, mirror) = (Path::new(&pair.primary.datadir), Path::new(&pair.mirror.datadir));
        // A checkpoint may be running off the commit path; it ends by itself.
        let mut last = None;
        wait_for(&format!("both copies of content {content} to be equal"), secs(10), || {
            let difference = files::difference(primary, mirror);
            if difference.is_some() && last != difference {
                println!("content {content} differs: {difference:?}");
            }
            last = difference;
            last.is_none()
        });
        files::assert_only_known_files(primary);
        files::assert_only_known_files(mirror);
    }
}
