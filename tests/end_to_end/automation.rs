//! What runs without a person: hosts in maintenance, a site's own hooks, and the scripts that are given along.

use crate::support::command::Ran;
use crate::support::status::{SYNCHRONIZED, TRACKING};
use crate::support::wait::secs;
use crate::support::{Cluster, Place, processes, wait_for};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// A copy of the scripts that are given along, which nobody else can write: a module must not be.
pub fn scripts(place: &Place) -> PathBuf {
    let folder = place.path().join("scripts");
    fs::create_dir_all(&folder).expect("a fresh place");
    let ours = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("it is ours");
    ours(&folder, 0o700);
    for given in fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/scripts")).expect("they are given").flatten() {
        if given.path().extension().is_some_and(|e| e == "rhai") {
            let copy = folder.join(given.file_name());
            fs::copy(given.path(), &copy).expect("a copy");
            ours(&copy, 0o600);
        }
    }
    folder
}

/// A script that is given along, on a cluster.
#[track_caller]
fn given(cluster: &Cluster, name: &str, arguments: &[&str]) -> Ran {
    let script = scripts(cluster.place()).join(name);
    let dir = cluster.dir().to_str().expect("a plain name");
    let script = script.to_str().expect("a plain name");
    cluster.place().segsh(&[&["-c", dir, "--yes", script], arguments].concat())
}

/// Loses the mirror of content 0; its host.
#[track_caller]
fn lose_mirror(cluster: &Cluster) -> String {
    let mirror = cluster.status().pair(0).mirror;
    processes::kill(mirror.running());
    cluster.wait_for_pair(0, TRACKING, secs(20));
    mirror.host
}

#[test]
fn nothing_is_recovered_to_a_host_in_maintenance_even_by_the_next_coordinator() {
    let cluster = Cluster::new(1);
    let host = lose_mirror(&cluster);
    let listed = |cluster: &Cluster| cluster.segsh(&["--json", "-e", "maintenance()"]).ok().json()["value"].clone();
    cluster.eval(&format!("maintenance(\"{host}\", \"30m\", \"disk swap\")")).ok();
    cluster.eval_yes("recover(#{ contents: 0 })").exits(4).says("in_maintenance").says("disk swap");
    cluster.segsh(&["state"]).ok().says("in maintenance until").says("disk swap");

    cluster.lifecycle("stop", &[]).ok();
    cluster.lifecycle("start", &[]).ok();
    let after = listed(&cluster);
    assert_eq!((&after[0]["host"], &after[0]["reason"]), (&host.as_str().into(), &"disk swap".into()), "{after:#}");
    cluster.wait_for_pair(0, TRACKING, secs(20));
    cluster.eval_yes("recover(#{ contents: 0 })").exits(4).says("in_maintenance");

    cluster.eval(&format!("maintenance(\"{host}\", \"0s\", \"done\")")).ok();
    cluster.outcome("recover()");
    assert_eq!(cluster.status().pair(0).letters(), SYNCHRONIZED);
    // It ends by itself, too.
    cluster.eval(&format!("maintenance(\"{host}\", \"400ms\", \"a moment\")")).ok();
    wait_for("the maintenance to end", secs(10), || listed(&cluster) == serde_json::json!([]));
    cluster.eval("maintenance(\"sdw9\", \"30m\", \"x\")").exits(1).says(&host);
    cluster.eval(&format!("maintenance(\"{host}\", \"8d\", \"x\")")).exits(1).says("7 days");
    let history = cluster.history(1);
    let told = |text: &str| history.iter().filter(|line| line.contains(text)).count();
    assert_eq!((told("in maintenance for"), told("maintenance ended by")), (2, 1), "{history:#?}");
}

#[test]
fn a_site_s_hooks_stand_before_every_change_whoever_asks() {
    let cluster = Cluster::new(1);
    lose_mirror(&cluster);
    let site = cluster.place().path().join("home/.config/segsh/site");
    fs::create_dir_all(&site).expect("a fresh home");
    let hooks = site.join("hooks.rhai");
    let write = |text: &str| {
        fs::write(&hooks, text).expect("it is ours");
        for ours in [&site, &hooks] {
            let mode = if ours == &hooks { 0o600 } else { 0o700 };
            fs::set_permissions(ours, fs::Permissions::from_mode(mode)).expect("it is ours");
        }
    };
    write("before(\"recover\", |plan| {\n  if plan.steps.len() > 0 { throw \"ask the site first\"; }\n});");
    let refused = cluster.eval_yes("recover()").exits(4).says("vetoed").says("ask the site first");
    let words: String = refused.stderr.split_whitespace().collect();
    assert!(words.contains("hooks.rhai:2"), "{}", refused.stderr);
    cluster.segsh(&["recover", "--yes"]).exits(4).says("vetoed");
    // A rule that can't be read is not kept, so nothing passes.
    write("before(\"recover\", |plan| {");
    cluster.eval_yes("recover()").exits(4).says("vetoed").says("can't be used");
    write("after(\"*\", |outcome| print(`ended ${outcome.status}`));");
    cluster.eval_yes("recover()").ok().says("ended done");
}

#[test]
fn the_health_check_reports_in_json_and_exits_9_when_something_is_wrong() {
    let cluster = Cluster::new(2);
    let whole = given(&cluster, "health.rhai", &["--verify"]).ok().json();
    assert_eq!((&whole["healthy"], &whole["operational"]), (&true.into(), &true.into()), "{whole:#}");
    assert_eq!(whole["findings"], serde_json::json!([]));
    cluster.fail_over(0);
    let broken = given(&cluster, "health.rhai", &["--verify"]).exits(9).json();
    assert_eq!((&broken["healthy"], &broken["down"]), (&false.into(), &1.into()), "{broken:#}");
    let findings = broken["findings"].as_array().expect("a list");
    let about =
        |text: &str| findings.iter().find(|f| f["about"] == text).unwrap_or_else(|| panic!("{text}: {broken:#}"));
    assert_eq!(about("content 0")["next"], "recover(#{ contents: 0 })");
    assert_eq!(about("cluster")["severity"], "info");
}

#[test]
fn the_alert_handler_recovers_within_its_limits_and_leaves_the_rest_to_a_person() {
    let cluster = Cluster::new(1);
    given(&cluster, "alert.rhai", &[]).ok().says("nothing is down");
    let host = lose_mirror(&cluster);
    given(&cluster, "alert.rhai", &["0"]).exits(4).says("left to a person: 1 segment ").says("next: recover()");
    cluster.eval(&format!("maintenance(\"{host}\", \"30m\", \"disk swap\")")).ok();
    given(&cluster, "alert.rhai", &[]).exits(4).says("in maintenance");
    cluster.eval(&format!("maintenance(\"{host}\", \"0s\", \"done\")")).ok();
    given(&cluster, "alert.rhai", &[]).ok().says("recovered 1 segment,");
    assert_eq!(cluster.status().pair(0).letters(), SYNCHRONIZED);
}

#[test]
fn the_rolling_drill_loses_no_write_and_leaves_the_cluster_as_it_was() {
    let cluster = Cluster::new(2);
    let ran = given(&cluster, "drill.rhai", &[]).ok().says("content 1: the mirror served after").says("none lost");
    assert!(ran.stdout.contains("2 contents"), "{}", ran.stdout);
    let status = cluster.status();
    assert!(status.is_synchronized(), "{status:?}");
    assert!(cluster.segsh(&["-e", "state().unbalanced.len()"]).ok().text() == "0", "in their preferred roles");
    // A drill begins on a whole cluster only.
    cluster.fail_over(0);
    given(&cluster, "drill.rhai", &["1"]).exits(1).says("before the drill");
}
