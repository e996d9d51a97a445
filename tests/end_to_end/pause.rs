//! A pause of FTS: nobody is promoted, everything else goes on, and it ends by itself.

use crate::support::status::{SYNCHRONIZED, TRACKING};
use crate::support::wait::secs;
use crate::support::{Cluster, Writers, processes, wait_for};

#[test]
fn a_failover_that_is_due_in_a_pause_happens_right_after_it_and_the_history_says_who_paused() {
    let cluster = Cluster::new(1);
    let before = cluster.status().pair(0);
    let writers = Writers::start(&cluster, &[0], 1);
    cluster.segsh(&["fts-pause", "10m"]).ok().says("FTS is paused until");
    processes::kill(before.primary.running());
    wait_for("the loss to be seen", secs(20), || !cluster.status().pair(0).primary.alive);
    let status = cluster.status();
    assert_eq!((status.pair(0).letters().as_str(), status.pair(0).primary.dbid), (SYNCHRONIZED, before.primary.dbid));
    assert!(status.fts_paused_until_ms.is_some());
    let evidence = cluster.segsh(&["evidence", "0"]).ok();
    evidence.says("FTS is paused, so the mirror does not take over yet");

    cluster.segsh(&["fts-resume"]).ok();
    let pair = cluster.status().pair(0);
    assert_eq!((pair.letters().as_str(), pair.primary.dbid), (TRACKING, before.mirror.dbid), "at once");
    assert_eq!(cluster.status().fts_paused_until_ms, None);
    let history = cluster.history(1);
    assert!(history[0].contains("FTS: paused until") && history[0].contains(", pid "), "{history:?}");
    assert!(history[1].contains("FTS: resumed by"), "{history:?}");
    writers.wait_for_more(0, 10, secs(30));
    writers.finish().assert_held_by(&cluster);
}

#[test]
fn a_pause_ends_by_itself_and_refuses_to_last_for_ever() {
    let cluster = Cluster::new(1);
    let before = cluster.status().pair(0);
    cluster.script("fts_pause(10)").exits(1).says("a text with a unit");
    cluster.script("fts_pause(\"30d\")").exits(1).says("24 h");
    cluster.script("fts_pause(\"2s\")").ok();
    processes::kill(before.primary.running());
    cluster.wait_for_failover(0, before.primary.dbid, secs(20));
    let history = cluster.history(1);
    assert!(history.iter().any(|l| l.contains("the pause has run out")), "{history:?}");
}

#[test]
fn while_paused_commits_outlive_a_mirror_and_a_rebalance_goes_through() {
    let cluster = Cluster::new(1);
    cluster.fail_over(0);
    cluster.outcome("recover()");
    let mut catalog = cluster.catalog();
    let until = catalog.rows("select segsh_fts_pause('1h')");
    assert!(until[0].starts_with("20"), "until when: {until:?}");
    cluster.outcome("rebalance()");
    assert!(cluster.status().is_balanced());
    let mirror = cluster.status().pair(0).mirror;
    processes::kill(mirror.running());
    let mut session = cluster.content(0);
    session.run("create table t(id int)");
    assert_eq!(cluster.status().pair(0).letters(), TRACKING);
    cluster.outcome("recover()");
    assert_eq!(cluster.status().pair(0).letters(), SYNCHRONIZED);
    assert_eq!(catalog.rows("select segsh_fts_resume()"), ["t"]);
}

#[test]
fn every_decision_is_found_with_what_it_was_made_from() {
    let cluster = Cluster::new(1);
    let before = cluster.status().pair(0);
    cluster.fail_over(0);
    let code = "let d = evidence(0).decisions; let last = d[d.len() - 1]; print(last.reason); \
                for line in last.seen { print(line) }";
    let told = cluster.script(code).ok().stdout;
    assert!(told.contains(&format!("primary dbid {} is lost", before.primary.dbid)), "{told}");
    assert!(told.contains(&format!("mirror dbid {}:", before.mirror.dbid)), "{told}");
    assert!(told.contains("ms ago: dbid"), "{told}");
    let mut catalog = cluster.catalog();
    let kinds = "select kind, count(*) > 0 from gp_fts_evidence where content = 0 group by kind order by kind";
    assert_eq!(catalog.rows(kinds), ["decision|1", "now|1", "seen|1"]);
    cluster.script("evidence(9)").exits(1).says("content 9");
}
