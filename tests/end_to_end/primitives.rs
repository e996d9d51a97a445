//! Each primitive of the script API, used once rightly and once refused.

use crate::support::status::{SYNCHRONIZED, TRACKING};
use crate::support::wait::secs;
use crate::support::{Cluster, Place, Status, processes, wait_for};

#[test]
fn state_answers_and_an_unknown_content_is_refused() {
    let cluster = Cluster::new(2);
    let code = "let s = state(); print(s.operational); print(s.segments.len()); print(s.rows.len()); \
                print(s.content(0).primary.role == \"p\" && s.content(0).primary.role == \"primary\");";
    assert_eq!(cluster.script(code).ok().stdout, "true\n4\n5\ntrue\n");
    cluster.script("state().content(7)").exits(1).says("content");
    cluster.script("state().content(0).primary.role == \"primry\"").exits(1).says("primary");
}

#[test]
fn probe_sees_what_happened_since_the_last_one_and_takes_no_unknown_option() {
    let cluster = Cluster::with(1, &["gp_fts_probe_interval=60s"]);
    let mirror = cluster.status().pair(0).mirror;
    processes::kill(mirror.running());
    wait_for("a probe to see it", secs(20), || cluster.script("print(probe().down.len())").ok().text() == "1");
    cluster.script("probe(#{ now: true })").exits(1);
}

#[test]
fn recover_recovers_and_refuses_a_bare_number_with_both_spellings() {
    let cluster = Cluster::new(1);
    let mirror = cluster.status().pair(0).mirror;
    cluster.script("recover(2)").exits(1).says("contents:").says("dbids:");
    cluster.eval_yes("recover(#{ contents: [9] })").exits(4).says("unknown_target");
    processes::kill(mirror.running());
    cluster.wait_for_pair(0, TRACKING, secs(20));
    cluster.eval("recover()").exits(4).says("--yes");
    cluster.eval_yes(&format!("recover(#{{ dbids: {} }})", mirror.dbid)).ok();
    assert!(cluster.status().is_synchronized());
}

#[test]
fn full_recover_wants_to_be_named_by_yes() {
    let cluster = Cluster::new(1);
    let mirror = cluster.status().pair(0).mirror;
    processes::kill(mirror.running());
    cluster.wait_for_pair(0, TRACKING, secs(20));
    cluster.eval_yes("full_recover()").exits(4).says("--yes=full_recover");
    assert_eq!(cluster.status().pair(0).letters(), TRACKING);
    cluster.segsh(&["--yes=full_recover", "-e", "full_recover()"]).ok();
    assert!(cluster.status().is_synchronized());
}

#[test]
fn rebalance_switches_back_and_is_refused_while_anything_is_down() {
    let cluster = Cluster::new(1);
    cluster.fail_over(0);
    cluster.eval_yes("rebalance()").exits(4).says("segment_down");
    cluster.eval_yes("recover()").ok();
    cluster.eval_yes("rebalance()").ok();
    assert!(cluster.status().is_balanced());
    cluster.eval("rebalance()").ok();
}

#[test]
fn restart_takes_a_mode_and_refuses_another() {
    let cluster = Cluster::new(1);
    let before = cluster.status();
    cluster.eval_yes(r#"restart(#{ mode: "gentle", contents: 0 })"#).exits(1).says("smart");
    assert_eq!(cluster.status().pids(), before.pids());
    cluster.eval_yes(r#"restart(#{ mode: "immediate", contents: 0 })"#).ok();
    let after = cluster.status();
    assert!(after.is_synchronized());
    assert_ne!(after.pair(0).primary.pid, before.pair(0).primary.pid);
}

#[test]
fn restart_without_a_selection_is_the_whole_cluster_and_wants_to_be_named() {
    let cluster = Cluster::new(1);
    let before = cluster.status();
    cluster.eval("restart()").exits(4);
    cluster.segsh(&["restart", "--yes"]).ok();
    let after = cluster.status();
    assert!(after.is_synchronized());
    assert!(after.segments.iter().all(|s| s.pid != before.segment(s.dbid).pid));
}

#[test]
fn sql_answers_with_rows_and_throws_the_sqlstate() {
    let cluster = Cluster::new(1);
    let code = r#"
        sql(0, "create table t(id int, v text)");
        sql(0, "insert into t values ($1, $2), ($3, $4)", [7, "seven", 8, ()]);
        print(sql(0, "select v from t where id = $1", [7]).value());
        let rows = sql(0, "select id, v from t order by id");
        print(rows.len());
        print(rows[1]["v"] == ());
        print(sql("select count(*) from gp_segment_configuration").value());
        try { sql(0, "select * from no_such_table"); } catch (e) { print(e.message.contains("42P01") || e.code.contains("42P01")); }
    "#;
    assert_eq!(cluster.script(code).ok().stdout, "seven\n2\ntrue\n3\ntrue\n");
    cluster.script(r#"sql(9, "select 1")"#).says("content");
}

#[test]
fn wait_until_waits_for_a_state_and_times_out_with_6() {
    let cluster = Cluster::new(1);
    cluster.script(r#"wait_until("synchronized", #{ timeout: "10s" }); print("there")"#).ok().says("there");
    cluster.script(r#"wait_until(|s| s.down.len() > 0, #{ timeout: "300ms" })"#).exits(6);
    cluster.script(r#"wait_until("synchronized", #{ timeout: 10 })"#).exits(1).says("10");
}

#[test]
fn ping_answers_for_a_host_and_refuses_one_that_is_not_there() {
    let cluster = Cluster::new(1);
    assert_eq!(cluster.script(r#"print(ping("sdw1").ok)"#).ok().text(), "true");
    assert_ne!(cluster.script(r#"ping("sdw77")"#).code, 0);
    cluster.segsh(&["ping", "sdw2"]).ok();
    cluster.script(r#"fault::stop_host("sdw2")"#).ok();
    assert_eq!(cluster.script(r#"print(ping("sdw2").ok)"#).ok().text(), "false");
    // As a command it is a check, and the document is the same.
    assert_eq!(cluster.segsh(&["ping", "sdw2", "--json"]).exits(9).json()["value"]["ok"], false);
}

#[test]
fn a_host_joins_while_the_cluster_runs_and_while_it_does_not() {
    let cluster = Cluster::new(1);
    let added = cluster.script(r#"let h = add_host("sdw3"); print(h.alive); print(add_host("sdw3") == h)"#).ok();
    assert_eq!(added.text(), "true\ntrue");
    assert_eq!(cluster.script(r#"print(ping("sdw3").ok)"#).ok().text(), "true");
    let log = cluster.script(r#"print(audit(#{ verb: "add_host" }).len())"#).ok();
    assert_eq!(log.text(), "1", "what was there already is nothing that was done");
    cluster.script(r#"add_host("sdw1", #{ address: "127.0.0.9" })"#).exits(1).says("sdw1 is there already");

    cluster.lifecycle("stop", &[]).ok();
    let root = cluster.place().path().join("fast").display().to_string();
    cluster.segsh(&["add-host", "sdw4", "--root", &root]).ok();
    cluster.lifecycle("start", &[]).ok();
    let hosts = cluster.status().hosts;
    assert_eq!(hosts.len(), 4);
    assert!(hosts.iter().all(|host| host.alive), "{hosts:?}");
}

#[test]
fn a_host_without_segments_leaves_and_nobody_looks_for_it_any_more() {
    let cluster = Cluster::with_spare_host(1);
    let agent = |status: &Status, name: &str| {
        status.hosts.iter().find(|h| h.host == name).and_then(|h| h.pid).expect("its agent runs")
    };
    let (leaves, stays) = (agent(&cluster.status(), "sdw2"), agent(&cluster.status(), "sdw3"));

    cluster
        .segsh(&["remove-host", "sdw1"])
        .exits(4)
        .says("host_in_use")
        .says("host sdw1 has dbid 2")
        .says("next: procedure(\"replace_host\", #{ host: \"sdw1\", to: \"HOST\" })");
    cluster.segsh(&["remove-host", "sdw9"]).exits(1).says("it has sdw1, sdw2, sdw3");
    cluster.segsh(&["--dry-run", "remove-host", "sdw3"]).ok();
    assert_eq!(cluster.status().hosts.len(), 3);

    // What goes there or leaves there holds it: the row is at the new place as soon as the move has begun.
    cluster.script("fault::hold(0, \"data_copy\")").ok();
    cluster.segsh(&["recover", "--dbids", "3", "--to", "sdw3", "--no-wait", "--yes=full_recover"]).exits(4);
    cluster.script("fault::kill(state().content(0).mirror)").ok();
    cluster.wait_for_pair(0, TRACKING, secs(30));
    let moved = ["recover", "--dbids", "3", "--to", "sdw3", "--no-wait", "--yes=full_recover"];
    cluster.segsh(&moved).ok();
    wait_for("the row to be at its new place", secs(30), || cluster.status().segments.iter().any(|s| s.host == "sdw3"));
    cluster.segsh(&["remove-host", "sdw3"]).exits(4).says("host sdw3 has dbid 3");
    cluster.segsh(&["remove-host", "sdw2"]).exits(4).says("moves dbid 3").says("attach(");
    cluster.script("fault::release(0)").ok();
    cluster.wait_for_pair(0, SYNCHRONIZED, secs(60));
    wait_for("the move to end", secs(30), || cluster.segsh(&["remove-host", "sdw2"]).code == 0);

    let status = cluster.status();
    let names: Vec<&str> = status.hosts.iter().map(|h| h.host.as_str()).collect();
    assert_eq!(names, ["sdw1", "sdw3"]);
    assert_eq!(agent(&status, "sdw3"), stays);
    wait_for("its agent to end", secs(20), || !processes::runs(leaves));
    let written = cluster.script(r#"print(audit(#{ verb: "remove_host" }).filter(|l| l.status == "done").len())"#);
    assert_eq!(written.ok().text(), "1");
    cluster.lifecycle("stop", &[]).ok();
    cluster.lifecycle("start", &[]).ok();
    assert_eq!(cluster.status().hosts.len(), 2);

    // It may come back under its name.
    cluster.segsh(&["add-host", "sdw2"]).ok();
    assert!(cluster.status().hosts.iter().all(|host| host.alive));
}

#[test]
fn a_start_goes_on_without_a_host_that_is_gone_until_it_is_removed() {
    let cluster = Cluster::with_spare_host(1);
    cluster.script("fault::stop_host(\"sdw3\")").ok();
    cluster.lifecycle("stop", &[]).ok();
    cluster.lifecycle("start", &[]).exits(5).says("no segment is on it").says("remove_host(\"sdw3\")");
    cluster.segsh(&["remove-host", "sdw3"]).ok().says("what runs there may go on");
    cluster.lifecycle("stop", &[]).ok();
    cluster.lifecycle("start", &[]).ok();
}

#[test]
fn faults_are_injected_on_drill_clusters_only() {
    let place = Place::new();
    let dir = place.path().join("c").display().to_string();
    place.segsh(&["init", &dir, "--contents", "1"]).ok();
    place.segsh(&["start", &dir]).ok();
    let ran = place.segsh(&["-c", &dir, "-e", "fault::kill(state().content(0).primary)"]);
    assert_ne!(ran.code, 0);
    ran.says("not_drill");
    assert_eq!(place.segsh(&["-c", &dir, "-e", "state().down.len()"]).ok().text(), "0");

    let cluster = Cluster::new(1);
    let primary = cluster.status().pair(0).primary;
    cluster.script("fault::kill(state().content(0).primary)").ok();
    assert!(!processes::runs(primary.running()));
    cluster.wait_for_failover(0, primary.dbid, secs(20));
}

#[test]
fn a_plan_is_shown_predicts_its_rows_and_refuses_another_state() {
    let cluster = Cluster::new(1);
    cluster.fail_over(0);
    let code = r#"
        let p = plan_recover();
        print(p.refuses);
        recover();
        try { p.apply(); print("applied"); } catch (e) { print(e.refusals[0].code); }
    "#;
    let file = cluster.place().file("plan.rhai", code);
    let ran =
        cluster.place().segsh(&["--yes", "-c", cluster.dir().to_str().expect("plain"), file.to_str().expect("plain")]);
    assert_eq!(ran.ok().stdout, "false\nstale_plan\n");
}

#[test]
fn help_explains_a_primitive_and_a_refusal_code() {
    let cluster = Cluster::new(1);
    cluster.eval(r#"help("recover")"#).ok().says("contents");
    cluster.eval(r#"help("segment_up")"#).ok();
    cluster.eval(r#"help("recoverr")"#).says("recover");
}

#[test]
fn a_second_administrator_is_told_who_holds_the_contents() {
    let cluster = Cluster::new(1);
    cluster.content(0).run("create table big(body blob)");
    cluster.content(0).run("insert into big values (randomblob(1 << 24))");
    let mirror = cluster.status().pair(0).mirror;
    processes::kill(mirror.running());
    cluster.wait_for_pair(0, TRACKING, secs(20));
    cluster.content(0).run("insert into big values (randomblob(1 << 24))");
    cluster.eval_yes(r#"recover(#{ wait: false, rate: "4 MiB/s" })"#).ok();
    cluster.eval_yes("restart(#{ contents: 0 })").exits(8).says("recover");
    // The like operation is joined instead, and its outcome is the result.
    cluster.outcome("recover()");
    assert!(cluster.status().is_synchronized());
}

#[test]
fn a_setting_is_given_to_init_read_written_and_kept() {
    let cluster = Cluster::with(1, &["gp_fts_probe_interval=2s", "segsh_recovery_jobs=3"]);
    let read = |name: &str| cluster.script(&format!("print(setting(\"{name}\"))")).ok().text().to_owned();
    assert_eq!((read("gp_fts_probe_interval"), read("segsh_recovery_jobs")), ("2s".into(), "3".into()));
    assert_eq!(cluster.script(r#"print(setting("gp_fts_probe_interval", "1500ms"))"#).ok().text(), "1500ms");
    cluster.script(r#"setting("gp_fts_probe_interval", "soon")"#).exits(1).says("gp_fts_probe_interval");
    cluster.script(r#"setting("gp_fts_probe_intervall")"#).exits(1).says("gp_fts_probe_interval");
    cluster.lifecycle("stop", &[]).ok();
    cluster.lifecycle("start", &[]).ok();
    assert_eq!(read("gp_fts_probe_interval"), "1500ms", "it is durable");
    let place = cluster.place();
    let refused = place.segsh(&["init", "other", "--contents", "1", "--set", "gp_fts_probe_intervall=1s"]);
    assert_ne!(refused.code, 0);
    assert!(refused.stderr.contains("gp_fts_probe_interval"), "{}", refused.stderr);
    assert!(!place.path().join("other").join("cluster.json").exists(), "a refused init leaves no cluster");
}
