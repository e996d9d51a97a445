//! `init`, `start`, `stop`, `status`, `destroy`.

use crate::support::status::{SYNCHRONIZED, TRACKING};
use crate::support::terminal::Terminal;
use crate::support::wait::secs;
use crate::support::{Cluster, Place, processes, wait_for};
use serde_json::Value;
use std::process::Stdio;

#[test]
fn a_fresh_cluster_is_written_synchronized_and_left_stopped() {
    let cluster = Cluster::stopped(3, &[]);
    let status = cluster.last_status();
    assert_eq!(status.contents(), [0, 1, 2]);
    assert!(!status.operational);
    assert_eq!(status.pids(), Vec::<u32>::new());
    for content in status.contents() {
        let pair = status.pair(content);
        assert_eq!(pair.letters(), SYNCHRONIZED);
        assert!(pair.is_preferred());
    }
    assert_eq!(processes::beneath(cluster.dir()), Vec::<u32>::new());
}

#[test]
fn init_has_four_contents_on_two_hosts_and_every_mirror_on_another_host() {
    let place = Place::new();
    let dir = place.path().join("c").display().to_string();
    place.segsh(&["init", &dir]).ok();
    let status = place.segsh(&["status", &dir, "--json"]).exits(7).json();
    let segments = status["segments"].as_array().expect("a list of segments");
    assert_eq!(segments.len(), 8);
    assert_eq!(status["hosts"].as_array().map(Vec::len), Some(2));
    for content in 0..4 {
        let hosts: Vec<&Value> = segments.iter().filter(|s| s["content"] == content).map(|s| &s["host"]).collect();
        assert_eq!(hosts.len(), 2);
        assert_ne!(hosts[0], hosts[1], "content {content}");
    }
}

#[test]
fn init_leaves_a_directory_alone_that_is_not_empty() {
    let place = Place::new();
    let precious = place.file("precious", "letters");
    let ran = place.segsh(&["init", place.path().to_str().expect("a plain name")]);
    assert_ne!(ran.code, 0);
    assert!(!place.path().join("cluster.json").exists());
    assert_eq!(std::fs::read_to_string(precious).expect("it is still there"), "letters");
}

#[test]
fn start_and_stop_may_be_said_twice() {
    let cluster = Cluster::new(2);
    let first = cluster.status();
    cluster.lifecycle("start", &[]).ok();
    assert_eq!(cluster.status().pids(), first.pids(), "a running cluster is left as it is");

    cluster.lifecycle("stop", &[]).ok();
    assert_eq!(processes::beneath(cluster.dir()), Vec::<u32>::new(), "stop leaves no process");
    let stopped = cluster.last_status();
    assert_eq!(stopped.pids(), Vec::<u32>::new());
    assert_eq!(stopped.pair(0).letters(), SYNCHRONIZED);
    cluster.lifecycle("stop", &[]).ok();

    cluster.lifecycle("start", &[]).ok();
    assert!(cluster.status().is_synchronized());
}

#[test]
fn what_was_committed_is_there_after_every_kind_of_stop() {
    let cluster = Cluster::new(1);
    cluster.content(0).run("create table kept(id bigint)");
    for (id, mode) in ["smart", "fast", "immediate"].into_iter().enumerate() {
        cluster.content(0).run(&format!("insert into kept values ({id})"));
        cluster.lifecycle("stop", &["--mode", mode]).ok();
        assert_eq!(processes::beneath(cluster.dir()), Vec::<u32>::new(), "after stop --mode {mode}");
        cluster.lifecycle("start", &[]).ok();
        assert_eq!(cluster.content(0).number("select count(*) from kept"), id as i64 + 1, "after --mode {mode}");
        assert!(cluster.status().is_synchronized(), "after --mode {mode}");
    }
}

#[test]
fn nothing_is_begun_while_a_smart_stop_waits_and_a_fast_one_ends_the_wait() {
    let cluster = Cluster::new(1);
    let mut session = cluster.content(0);
    session.run("create table kept(id bigint)");
    session.run("begin");
    session.run("insert into kept values (1)");
    let mut smart = cluster.place().command();
    smart.args(["stop", "--mode", "smart"]).arg(cluster.dir()).stdin(Stdio::null()).stderr(Stdio::null());
    let mut smart = smart.stdout(Stdio::null()).spawn().expect("segsh");
    wait_for("a start to be told of the stop", secs(10), || {
        let started = cluster.lifecycle("start", &[]);
        started.code == 4 && started.stderr.contains("a stop is under way")
    });
    cluster.lifecycle("stop", &["--mode", "fast"]).ok();
    smart.wait().expect("the first stop ends with the second");
    assert_eq!(processes::beneath(cluster.dir()), Vec::<u32>::new());
    cluster.lifecycle("start", &[]).ok();
    assert!(cluster.status().is_synchronized());
    assert_eq!(cluster.content(0).number("select count(*) from kept"), 0, "it was never committed");
}

#[test]
fn start_takes_over_what_still_runs() {
    let cluster = Cluster::new(2);
    cluster.content(0).run("create table kept(id bigint)");
    let before = cluster.status();
    processes::kill(before.coordinator.pid.expect("it runs"));
    processes::kill(before.hosts[0].pid.expect("it runs"));

    let down = cluster.last_status();
    assert_eq!(down.coordinator.pid, None);
    cluster.lifecycle("start", &[]).ok();
    let after = cluster.status();
    let segments = |s: &crate::support::Status| s.segments.iter().map(|s| s.pid).collect::<Vec<_>>();
    assert_eq!(segments(&after), segments(&before), "no segment was started again");
    assert!(after.is_synchronized());
    assert_ne!(after.coordinator.pid, before.coordinator.pid);
    assert_eq!(after.hosts[1].pid, before.hosts[1].pid);
    cluster.content(0).run("insert into kept values (1)");
}

#[test]
fn start_leaves_a_pair_down_that_was_down_and_names_it() {
    let cluster = Cluster::new(2);
    let mirror = cluster.status().pair(1).mirror;
    processes::kill(mirror.running());
    cluster.wait_for_pair(1, TRACKING, secs(20));
    cluster.lifecycle("stop", &[]).ok();
    cluster.lifecycle("start", &[]).ok().says(&format!("dbid {}", mirror.dbid));
    let status = cluster.status();
    assert_eq!(status.pair(0).letters(), SYNCHRONIZED);
    assert_eq!(status.pair(1).letters(), TRACKING);
    cluster.outcome("recover()");
    assert!(cluster.status().is_synchronized());
}

#[test]
fn the_status_document_has_every_documented_key() {
    let cluster = Cluster::new(1);
    let status = cluster.lifecycle("status", &["--json"]).ok().json();
    demand(&status, &["cluster", "operational", "coordinator", "hosts", "segments", "contents", "rows", "age_ms"]);
    demand(&status, &["down", "single_copy", "double_fault", "lost", "unbalanced"]);
    demand(&status["coordinator"], &["host", "port", "socket_dir", "pid"]);
    let hosts = status["hosts"].as_array().expect("a list");
    hosts.iter().for_each(|h| demand(h, &["host", "address", "alive", "pid"]));
    let segments = status["segments"].as_array().expect("a list");
    assert_eq!(segments.len(), 2, "the coordinator's row is not among the segments");
    for segment in segments {
        demand(segment, &["dbid", "content", "host", "address", "port", "datadir"]);
        for (key, letters, words) in [
            ("role", ["p", "m"], ["primary", "mirror"]),
            ("preferred_role", ["p", "m"], ["primary", "mirror"]),
            ("mode", ["s", "s"], ["synchronized", "synchronized"]),
            ("status", ["u", "u"], ["up", "up"]),
        ] {
            let at = letters.iter().position(|l| segment[key] == *l);
            let at = at.unwrap_or_else(|| panic!("{key} is not a documented letter: {segment:#}"));
            assert_eq!(segment[format!("{key}_name")], words[at]);
        }
        assert_eq!(segment["alive"], Value::Bool(true));
        let pid = segment["pid"].as_u64().expect("an alive segment has a pid") as u32;
        assert!(processes::runs(pid));
    }
    let rows = status["rows"].as_array().expect("a list");
    assert_eq!(rows.len(), 3);
    assert!(rows.iter().any(|r| r["dbid"] == 1 && r["content"] == -1), "the coordinator's row is in rows");
    assert_eq!(status["operational"], Value::Bool(true));

    let typed = cluster.status();
    assert!(!typed.coordinator.host.is_empty());
    for host in &typed.hosts {
        assert!(host.address.parse::<std::net::IpAddr>().is_ok(), "{host:?}");
    }

    // The same document is what the script API gives.
    let scripted: Value = serde_json::from_str(cluster.script("print(state().to_json())").ok().text()).expect("JSON");
    let keys = |v: &Value| v.as_object().map(|o| o.keys().cloned().collect::<Vec<_>>());
    assert_eq!(keys(&scripted), keys(&status));
}

#[track_caller]
fn demand(value: &Value, keys: &[&str]) {
    for key in keys {
        assert!(value.get(key).is_some(), "no key `{key}` in {value:#}");
    }
}

#[test]
fn the_status_of_a_dead_process_says_so_with_its_pid_gone() {
    let cluster = Cluster::new(1);
    let mirror = cluster.status().pair(0).mirror;
    processes::kill(mirror.running());
    let status = cluster.wait_for_pair(0, TRACKING, secs(20));
    let dead = status.segment(mirror.dbid);
    assert_eq!((dead.alive, dead.pid), (false, None));
    assert!(status.operational, "one copy serves");
}

#[test]
fn a_setting_given_at_init_is_in_the_catalog_and_can_be_changed() {
    let cluster = Cluster::with(1, &["gp_fts_probe_interval=2s"]);
    let read = r#"print(setting("gp_fts_probe_interval"))"#;
    let two = cluster.script(read).ok().text().to_owned();
    assert!(two.starts_with('2'), "{two}");
    cluster.script(r#"setting("gp_fts_probe_interval", "3s")"#).ok();
    cluster.lifecycle("stop", &[]).ok();
    cluster.lifecycle("start", &[]).ok();
    assert!(cluster.script(read).ok().text().starts_with('3'), "a setting outlives the coordinator");
    assert_ne!(cluster.script(r#"setting("gp_fts_prob_interval", "3s")"#).code, 0);
}

#[test]
fn destroy_wants_the_clusters_name_typed() {
    let cluster = Cluster::new(1);
    let name = cluster.status().cluster;
    cluster.lifecycle("destroy", &[]).exits(4);
    assert!(cluster.status().operational, "without a terminal nothing is destroyed");

    let destroy = |answer: &str| {
        let mut command = cluster.place().command();
        command.arg("destroy").arg(cluster.dir());
        let mut terminal = Terminal::spawn(command);
        terminal.expect("to go on: ");
        terminal.type_line(answer);
        terminal.expect_end();
    };
    destroy("not its name");
    assert!(cluster.status().operational, "another name destroys nothing");

    let pids = cluster.status().pids();
    destroy(&name);
    wait_for("the directory to go", secs(10), || !cluster.dir().exists());
    assert!(pids.iter().all(|pid| !processes::runs(*pid)));
}

#[test]
fn a_directory_that_is_no_cluster_cannot_be_connected_to_nor_destroyed() {
    let place = Place::new();
    let precious = place.file("precious", "letters");
    let dir = place.path().to_str().expect("a plain name");
    place.segsh(&["status", dir, "--json"]).exits(7);
    place.segsh(&["start", dir]).exits(7);
    assert_ne!(place.segsh(&["destroy", dir]).code, 0);
    assert!(precious.exists());
}
