//! What is seen while a recovery is under way, stage by stage: a drill holds it where it can be looked at.

use crate::support::status::{RESYNCHRONIZING, SYNCHRONIZED, TRACKING};
use crate::support::wait::secs;
use crate::support::wire::Lost;
use crate::support::{Cluster, Wire, Writers, files, processes, wait_for};
use std::path::Path;
use std::time::Duration;

/// Waits until the recovery of content 0 has come to the stage that it is held at.
#[track_caller]
pub fn await_held(cluster: &Cluster, stage: &str) {
    wait_for(&format!("the recovery to be held at {stage}"), secs(30), || {
        cluster.script("print(state().content(0).held)").ok().text() == stage
    });
}

#[track_caller]
pub fn hold(cluster: &Cluster, stage: &str) {
    cluster.script(&format!("fault::hold(0, \"{stage}\")")).ok();
}

/// What is held goes on.
#[track_caller]
pub fn release(cluster: &Cluster) {
    cluster.script("fault::release(0)").ok();
}

/// The rows of content 0 as the catalog has them, primary first: `r,u r,u`.
fn rows(catalog: &mut Wire) -> String {
    let sql = "select mode, status from gp_segment_configuration where content = 0 order by role desc";
    catalog.rows(sql).iter().map(|row| row.replace('|', ",")).collect::<Vec<_>>().join(" ")
}

/// Statements that have been sent and are not answered.
struct Waiting(Vec<Wire>);

impl Waiting {
    /// One that reads and one that writes.
    fn sent(cluster: &Cluster) -> Waiting {
        let send = |sql: &str| {
            let mut wire = cluster.content(0);
            wire.send(sql).expect("sent");
            wire
        };
        Waiting(vec![send("select count(*) from t"), send("insert into t values (77, 'waits')")])
    }

    /// Not answered, however much was done elsewhere since.
    #[track_caller]
    fn assert_unanswered(&mut self) {
        for wire in &mut self.0 {
            assert_eq!(wire.receive_within(Duration::ZERO).err(), Some(Lost::TimedOut));
        }
    }

    #[track_caller]
    fn are_answered(self) {
        for mut wire in self.0 {
            let reply = wire.receive().expect("an answer");
            assert_eq!(reply.error, None, "it waited, and was done");
        }
    }
}

/// What other sessions do all the while: another content is written, the catalog is read.
#[track_caller]
fn the_rest_goes_on(other: &mut Wire, catalog: &mut Wire) {
    for i in 0..20 {
        other.run(&format!("insert into t values ({i}, 'other')"));
    }
    catalog.rows("select dbid from gp_segment_configuration");
}

fn marked(marker: &str) -> String {
    marker.repeat(20_000 / marker.len())
}

fn holds(datadir: &Path, marker: &str) -> bool {
    let whole = marked(marker);
    files::REPLICATED.iter().any(|name| {
        let bytes = std::fs::read(datadir.join(name)).unwrap_or_default();
        // Half a page of it: the text lies in several pages, each with a header.
        bytes.windows(2048).any(|part| part == &whole.as_bytes()[..2048])
    })
}

/// Reads and writes wait in the two suspensions and nowhere else; connections to the coordinator stay open;
/// what is changed during the copy reaches the mirror directly; a claim nobody was told leaves the rows at r.
#[test]
fn a_recovery_is_seen_at_each_stage_while_everything_else_goes_on() {
    let cluster = Cluster::with(2, &["gp_fts_probe_interval=1h"]);
    let (mut catalog, mut other, mut session) = (cluster.catalog(), cluster.content(1), cluster.content(0));
    for wire in [&mut other, &mut session] {
        wire.run("create table t(id int, v text)");
    }
    // In pages that nothing else is written to.
    session.run("create table before(v text)");
    let mirror = cluster.status().pair(0).mirror;
    processes::kill(mirror.running());
    cluster.wait_for_pair(0, TRACKING, secs(20));
    session.run(&format!("insert into before values ('{}')", marked("tracked-")));

    hold(&cluster, "preparation");
    cluster.eval_yes("recover(#{ contents: 0, wait: false })").ok();
    await_held(&cluster, "preparation");
    assert_eq!(rows(&mut catalog), "r,u r,u");
    let mut waiting = Waiting::sent(&cluster);
    the_rest_goes_on(&mut other, &mut catalog);
    waiting.assert_unanswered();

    hold(&cluster, "data_copy");
    waiting.are_answered();
    await_held(&cluster, "data copy");
    cluster.eval("state()").says("a drill holds it at the data copy").says("fault::release(0)");
    let datadir = Path::new(&mirror.datadir);
    session.run(&format!("insert into t values (2, '{}')", marked("direct--")));
    assert!(holds(datadir, "direct--"), "what is acknowledged during the copy is on the mirror");
    assert!(!holds(datadir, "tracked-"), "what was changed before is not copied yet");
    assert_eq!(rows(&mut catalog), "r,u r,u");

    hold(&cluster, "flat_files");
    await_held(&cluster, "flat files");
    let mut waiting = Waiting::sent(&cluster);
    the_rest_goes_on(&mut other, &mut catalog);
    waiting.assert_unanswered();
    assert_eq!(rows(&mut catalog), "r,u r,u");

    // Answered again, so the claim is made; and nobody was told.
    hold(&cluster, "claim");
    waiting.are_answered();
    for i in 0..30 {
        session.run(&format!("insert into t values ({i}, 'claimed')"));
        assert_eq!(rows(&mut catalog), "r,u r,u", "the next probe is an hour away");
    }
    assert_eq!(cluster.status().pair(0).letters(), RESYNCHRONIZING);
    cluster.script("print(sql_all(\"select 1\").len())").ok();
    assert_eq!(rows(&mut catalog), "s,u s,u", "a distributed query has FTS look");
    assert_eq!(session.number("select count(*) from t where id = 77"), 2);
    assert!(cluster.status().is_synchronized());
    cluster.outcome("verify(#{ contents: 0 })");
}

/// Everything that changes a database goes on during the copy, and is on both sides after it.
#[test]
fn tables_rows_and_vacuum_change_during_the_copy_and_both_copies_are_equal_after_it() {
    let cluster = Cluster::new(1);
    let writers = Writers::start(&cluster, &[0], 2);
    let mut session = cluster.content(0);
    session.run("create table kept(id integer primary key, v text)");
    session.run("create table dropped(id int, v text)");
    session.run(
        "with recursive n(i) as (select 1 union all select i + 1 from n where i < 2000) \
         insert into kept select i, hex(randomblob(200)) from n",
    );
    processes::kill(cluster.status().pair(0).mirror.running());
    cluster.wait_for_pair(0, TRACKING, secs(20));
    session.run("update kept set v = 'tracked' where id % 7 = 0");
    hold(&cluster, "data_copy");
    cluster.eval_yes("recover(#{ wait: false })").ok();
    await_held(&cluster, "data copy");
    for sql in [
        "create table made(id integer primary key, v text)",
        "create index made_v on made(v)",
        "insert into made select id, v from kept where id <= 500",
        "update kept set v = 'during' where id % 5 = 0",
        "delete from kept where id > 1500",
        "drop table dropped",
        "vacuum",
    ] {
        session.run(sql);
    }
    writers.wait_for_more(0, 20, secs(20));
    cluster.script("fault::release(0)").ok();
    cluster.wait_for_pair(0, SYNCHRONIZED, secs(30));
    cluster.outcome("verify()");

    // The mirror serves all of it.
    processes::kill(cluster.status().pair(0).primary.running());
    wait_for("the mirror to serve", secs(20), || cluster.status().pair(0).letters() == TRACKING);
    let mut session = cluster.content(0);
    assert_eq!(session.number("select count(*) from made"), 500);
    assert_eq!(session.number("select count(*) from kept"), 1500);
    assert_eq!(session.number("select count(*) from kept where v = 'during'"), 300);
    assert_eq!(session.number("select count(*) from sqlite_schema where name = 'dropped'"), 0);
    writers.wait_for_more(0, 10, secs(20));
    writers.finish().assert_held_by(&cluster);
}

/// A stop is not kept waiting by what a drill holds, and the recovery begins anew after it.
#[test]
fn a_stop_ends_what_is_held() {
    let cluster = Cluster::new(1);
    processes::kill(cluster.status().pair(0).mirror.running());
    cluster.wait_for_pair(0, TRACKING, secs(20));
    hold(&cluster, "preparation");
    cluster.eval_yes("recover(#{ wait: false })").ok();
    await_held(&cluster, "preparation");
    let before = std::time::Instant::now();
    cluster.lifecycle("stop", &[]).ok();
    assert!(before.elapsed() < secs(10), "nothing had to be killed");
    cluster.lifecycle("start", &[]).ok();
    cluster.eval_yes("recover()").ok();
    assert!(cluster.status().is_synchronized());
    cluster.script("fault::hold(0, \"data\")").exits(1).says("data_copy");
    cluster.script("fault::hold(7, \"claim\")").exits(1).says("content 7");
}
