//! `segsh test`: a site library's tests on real clusters, demos of their own or a drill cluster that is named.

use crate::automation::scripts;
use crate::support::status::TRACKING;
use crate::support::wait::secs;
use crate::support::{Cluster, Place, processes, wait_for};
use rustix::process::Signal;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::Stdio;

fn library(place: &Place, text: &str) -> PathBuf {
    use std::os::unix::fs::PermissionsExt;
    let folder = place.path().join("library");
    fs::create_dir_all(&folder).expect("a fresh place");
    let file = folder.join("rules.rhai");
    fs::write(&file, text).expect("it is ours");
    for (path, mode) in [(&folder, 0o700), (&file, 0o600)] {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("it is ours");
    }
    folder
}

#[track_caller]
fn assert_nothing_is_left(place: &Place) {
    wait_for("every process of the demo to end", secs(20), || processes::beneath(place.path()).is_empty());
    let left: Vec<_> = fs::read_dir(place.path().join("tmp")).expect("it is ours").flatten().collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_library_is_tested_on_demos_of_its_own_that_are_gone_afterwards() {
    let place = Place::new();
    let given = scripts(&place);
    let ran = place.segsh(&["test", given.to_str().expect("a plain name")]).ok();
    let lines: Vec<&str> = ran.stdout.lines().collect();
    assert_eq!(lines.len(), 5, "{}", ran.stdout);
    assert!(lines[..4].iter().all(|l| l.starts_with("ok      limits::test_") && l.len() <= 80), "{}", ran.stdout);
    assert!(lines[4].starts_with("4 tests: 4 passed"), "{}", ran.stdout);
    assert_nothing_is_left(&place);

    // Ctrl-C ends the test that runs, and the demo with it; what a test has broken is not there for the next.
    let rules = library(
        &place,
        "fn test_a_breaks() { fault::stop_host(\"sdw1\"); setting(\"gp_fts_probe_interval\", \"3s\"); }\n\
         fn test_b_is_whole() {\n\
             assert_equal(state().down.len(), 0);\n\
             assert_equal(setting(\"gp_fts_probe_interval\"), \"1s\");\n\
         }\n\
         fn test_c_waits() { try { wait_until(|s| false) } catch { } }\n\
         fn test_d_never() { }\n",
    );
    let mut command = place.command();
    command.arg("test").arg(&rules).arg("--ndjson").stdin(Stdio::null());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines().map_while(Result::ok);
    let mut until = |name: &str| {
        let line = lines.find(|line| line.contains("\"event\":\"test\"") && line.contains(name));
        line.unwrap_or_else(|| panic!("{name} is not told"))
    };
    assert!(until("test_a_breaks").contains("\"status\":\"passed\""));
    let whole = until("test_b_is_whole");
    assert!(whole.contains("\"status\":\"passed\""), "{whole}");
    processes::signal(child.id(), Signal::INT);
    for name in ["test_c_waits", "test_d_never"] {
        assert!(until(name).contains("\"status\":\"not_run\""), "{name}");
    }
    assert_eq!(child.wait().expect("it ends").code(), Some(130));
    assert_nothing_is_left(&place);
}

#[test]
fn a_named_drill_cluster_is_brought_back_after_every_test() {
    let cluster = Cluster::new(1);
    let place = cluster.place();
    let rules = library(
        place,
        "fn test_a_fails_over() {\n\
             let former = state().content(0).primary.dbid;\n\
             fault::kill(state().segment(former));\n\
             wait_until(|s| s.content(0).primary.dbid != former, #{ timeout: \"1m\" });\n\
             fts_pause(\"10m\");\n\
         }\n\
         fn test_b_is_whole() { assert(state().unbalanced.is_empty() && state().fts_paused_until_ms == ()) }\n\
         fn test_c_fails() {\n    recover(#{ dbids: 99 })\n}\n",
    );
    let rules = rules.to_str().expect("a plain name");
    let ran = cluster.segsh(&["test", rules, "--json"]).exits(9);
    let value = &ran.json()["value"];
    assert_eq!((&value["passed"], &value["failed"]), (&2.into(), &1.into()), "{value:#}");
    let error = &value["tests"][2]["error"];
    assert_eq!((&error["refusals"][0]["code"], &error["position"]["line"]), (&"unknown_target".into(), &9.into()));
    let only = cluster.segsh(&["test", rules, "fails"]).exits(9).says("FAILED  rules::test_c_fails");
    let words = only.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("rules.rhai:9:5") && words.contains("recover(#{ dbids: 99 }) | ^^^^^^^"), "{}", only.stdout);
    assert!(cluster.status().is_synchronized());
    cluster.segsh(&["test", rules, "fials"]).exits(2).says("no test is called like");

    // What is broken before a test is somebody's business, and a cluster that is none for drills is none for tests.
    processes::kill(cluster.status().pair(0).mirror.running());
    cluster.wait_for_pair(0, TRACKING, secs(20));
    cluster.segsh(&["test", rules]).exits(4).says("a segment is down");
    let production = place.path().join("p");
    let production = production.to_str().expect("a plain name");
    place.segsh(&["init", production, "--contents", "1"]).ok();
    place.segsh(&["test", rules, "-c", production]).exits(4).says("not a drill cluster");
}
