//! A cluster without mirrors: one segment that is lost makes all of it nonoperational, until it is restarted.

use crate::support::wait::secs;
use crate::support::{Cluster, processes, wait_for};

#[test]
fn without_mirrors_a_lost_segment_makes_the_cluster_nonoperational_until_a_restart() {
    let cluster = Cluster::without_mirrors(2);
    cluster.eval("state()").ok().says("no mirror");
    let content = |n: i64| cluster.content(n);
    for n in [0, 1] {
        content(n).run("create table t(id int)");
        content(n).run("insert into t values (7)");
    }
    let status = cluster.status();
    assert!(status.operational);
    assert_eq!(status.segments.len(), 2);
    let lost = status.segments.iter().find(|s| s.content == 0).expect("content 0");
    let kept = status.segments.iter().find(|s| s.content == 1).expect("content 1");

    processes::kill(lost.running());
    wait_for("the loss to be seen", secs(20), || !cluster.status().operational);
    let said =
        cluster.eval("state()").says("NOT OPERATIONAL").says("DOWN, no mirror").says("recover_without_mirroring");
    assert!(!said.stdout.contains("DOUBLE FAULT"), "{}", said.stdout);
    assert_eq!(cluster.script("print(state().lost); print(state().double_fault)").ok().stdout, "[0]\n[]\n");
    wait_for("the history to say so", secs(20), || {
        cluster.history(lost.dbid).iter().any(|line| line.contains("not operational: "))
    });
    let told = cluster.history(lost.dbid);
    assert!(!told.iter().any(|line| line.contains("double fault")), "{told:?}");
    cluster.eval_yes("recover()").exits(4).says("not_operational").says("recover_without_mirroring");
    cluster.script(r#"sql_all("select 1")"#).exits(1).says("57P03");
    cluster.segsh(&["run", "recover_with_mirroring", "--yes"]).exits(4).says("recover_without_mirroring");
    // The documented order: the host is reached, the cluster restarted, the state looked at.
    assert_eq!(cluster.script(&format!("print(ping(\"{}\").ok)", lost.host)).ok().text(), "true");
    cluster.segsh(&["--yes=restart", "-e", "restart()"]).ok();
    let after = cluster.status();
    assert!(after.operational);
    assert_eq!(content(0).rows("select id from t"), ["7"]);

    // With its host gone nothing is begun, and the cause is named.
    cluster.script(&format!("fault::stop_host(\"{}\")", lost.host)).ok();
    wait_for("the loss to be seen", secs(20), || !cluster.status().operational);
    cluster.segsh(&["run", "recover_without_mirroring", "--yes"]).exits(4).says("host_down").says("start_host");
    cluster.script(&format!("fault::start_host(\"{}\")", lost.host)).ok();
    cluster.segsh(&["run", "recover_without_mirroring", "--yes"]).ok();
    let after = cluster.status();
    assert!(after.operational);
    assert_eq!(content(0).rows("select id from t"), ["7"]);
    assert_eq!(content(1).rows("select id from t"), ["7"]);
    let served_on = after.segments.iter().find(|s| s.content == 1).expect("content 1");
    assert_ne!(kept.pid, None);
    let pid = served_on.pid;
    cluster.eval("verify(#{ contents: 0 })").exits(4).says("no_mirror");
    cluster.segsh(&["run", "recover_without_mirroring", "--yes"]).ok();
    let again = cluster.status();
    assert_eq!(again.segments.iter().find(|s| s.content == 1).expect("content 1").pid, pid, "nothing to do");
}
