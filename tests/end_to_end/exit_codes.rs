//! Every exit code, on a real cluster, each from the situation that it is documented for.

use crate::support::command::Ran;
use crate::support::{Cluster, Place, processes, wait::secs};
use rustix::process::Signal;
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

/// Arguments, and how the process ends.
type Table<'a> = &'a [(&'a [&'a str], i32)];

#[track_caller]
fn holds(cluster: &Cluster, table: Table) {
    for (arguments, code) in table {
        cluster.segsh(arguments).exits(*code);
    }
}

#[test]
fn of_a_cluster_that_is_well() {
    let cluster = Cluster::new(1);
    holds(
        &cluster,
        &[
            (&["-e", "1"], 0),
            (&["-e", "nothing"], 1),
            (&["--no-such-flag"], 2),
            (&["--timeout", "soon", "-e", "1"], 2),
            (&["--json", "--ndjson", "-e", "1"], 2),
            (&["--timeout", "1s"], 2),
            (&["recover", "--dry-run"], 3),
            (&["full-recover", "--dry-run"], 3),
            (&["rebalance", "--dry-run"], 3),
            (&["--dry-run", "-e", "recover()"], 3),
            (&["--dry-run", "-e", "state()"], 3),
            (&["verify", "--dry-run"], 0),
            (&["restart", "--dry-run"], 0),
            (&["--dry-run", "-e", "restart(); setting(\"gp_fts_probe_interval\", \"1s\")"], 0),
            (&["force-primary", "--dbids", "2", "--dry-run"], 4),
            (&["--dry-run", "-e", "force_primary(#{ dbids: 2 })"], 4),
            (&["restart", "--contents", "0"], 4),
            (&["restart"], 4),
            (&["--yes", "-e", "restart()"], 4),
            (&["recover", "--dbids", "99"], 4),
            (&["--timeout", "200ms", "-e", "sleep(\"1m\")"], 6),
            (&["-e", "wait_until(|s| false, #{ timeout: \"1ms\" })"], 6),
            (&["state", "--check"], 0),
            (&["-e", "exit(42)"], 42),
        ],
    );
}

#[test]
fn of_a_cluster_that_has_lost_a_primary_and_of_one_that_is_stopped() {
    let cluster = Cluster::new(1);
    cluster.fail_over(0);
    holds(
        &cluster,
        &[
            (&["state"], 0),
            (&["state", "--check"], 9),
            (&["probe", "--check"], 9),
            (&["recover", "--dry-run"], 0),
            (&["rebalance", "--dry-run"], 4),
            (&["--dry-run", "-e", "recover(); wait_until(\"synchronized\"); rebalance()"], 0),
            (&["recover"], 4),
            (&["full-recover"], 4),
            (&["--yes", "-e", "full_recover()"], 4),
            (&["rebalance", "--yes"], 4),
            (&["-e", "wait_until(\"synchronized\")"], 6),
            (&["-e", "plan_recover().save(\"plan.json\")"], 0),
            (&["apply", "nowhere.json"], 1),
            (&["apply", "plan.json", "--dry-run"], 0),
            (&["apply", "plan.json"], 4),
            (&["apply", "plan.json", "--yes"], 0),
            (&["apply", "plan.json", "--dry-run"], 4),
            (&["apply", "plan.json", "--yes"], 4),
            (&["rebalance", "--yes"], 0),
            (&["state", "--check"], 0),
        ],
    );
    cluster.lifecycle("stop", &[]).ok();
    holds(
        &cluster,
        &[
            (&["-e", "1"], 0),
            (&["state"], 7),
            (&["state", "--check"], 7),
            (&["probe"], 7),
            (&["recover", "--yes"], 7),
            (&["-e", "wait_until(\"operational\")"], 7),
        ],
    );
}

#[test]
fn of_a_signal_is_130_whichever_it_is() {
    let place = Place::new();
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        let mut command = place.command();
        command.args(["--ndjson", "-e", "loop { }"]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("it runs");
        let mut events = BufReader::new(child.stdout.take().expect("piped")).lines();
        let first = events.next().expect("an event").expect("UTF-8");
        assert!(first.contains("\"start\""), "{first}");
        processes::signal(child.id(), signal);
        let last = events.map_while(Result::ok).last().expect("an end");
        assert!(last.contains("\"event\":\"end\"") && last.contains("130"), "{last}");
        assert_eq!(child.wait().expect("it ends").code(), Some(130), "{signal:?}");
    }
}

/// The whole envelope, and the error in it with all its keys.
#[track_caller]
fn document_of(ran: &Ran) -> Value {
    let document = ran.json();
    for key in ["schema", "kind", "value", "printed", "ops"] {
        assert!(document.get(key).is_some(), "no `{key}`: {document:#}");
    }
    if document["kind"] == "error" || document["kind"] == "refusal" {
        for key in ["code", "exit", "message", "refusals", "segments", "next", "op", "verb", "sqlstate", "options"] {
            assert!(document["value"].get(key).is_some(), "no `{key}`: {document:#}");
        }
        for key in ["position", "source_line", "call_stack", "changed_before"] {
            assert!(document["value"].get(key).is_some(), "no `{key}`: {document:#}");
        }
        assert_eq!(document["value"]["exit"], ran.code, "{document:#}");
    }
    document
}

#[test]
fn of_every_command_is_in_its_one_document_too() {
    let place = Place::new();
    let kind = |arguments: &[&str], code: i32| {
        let ran = place.segsh(&[arguments, &["--json"]].concat()).exits(code);
        document_of(&ran)["kind"].as_str().unwrap_or_default().to_owned()
    };
    assert_eq!(kind(&["--no-such-flag"], 2), "error");
    assert_eq!(kind(&["-c", "nowhere", "-e", "1"], 7), "error");
    assert_eq!(kind(&["start", "nowhere"], 7), "error");
    assert_eq!(kind(&["state"], 7), "error");
    assert_eq!(kind(&[], 7), "error");
    assert_eq!(kind(&["init", "c", "--contents", "1", "--drill"], 0), "cluster");
    assert_eq!(kind(&["init", "c"], 1), "error");
    assert_eq!(kind(&["start", "c"], 0), "outcome");
    assert_eq!(kind(&["-c", "c", "--dry-run", "-e", "restart()"], 0), "dry_run");
    assert_eq!(kind(&["-c", "c", "-e", "verify(#{ contents: 7 })"], 4), "refusal");
    assert!(["outcome", "cluster"].contains(&kind(&["stop", "c"], 0).as_str()));
    assert_eq!(kind(&["destroy", "c"], 4), "error");
    // A reader that has gone away is no failure of what was done.
    let mut command = place.command();
    command.args(["init", "d", "--contents", "1"]).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().expect("it runs");
    drop(child.stdout.take());
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
}

#[test]
fn a_time_limit_is_an_error_of_its_own_and_says_what_it_ended() {
    let cluster = Cluster::new(1);
    let ran = cluster.segsh(&["--json", "--timeout", "500ms", "-e", "wait_until(|s| false)"]).exits(6);
    let value = document_of(&ran)["value"].clone();
    assert_eq!(value["code"], "timed_out", "{value:#}");
    // The limit of a call that has one of its own is the call's: it is followed no longer, and goes on.
    cluster.segsh(&["recover", "--timeout", "10m"]).ok();
}

#[test]
fn events_tell_a_recovery_from_its_start_to_its_end() {
    let cluster = Cluster::new(1);
    cluster.fail_over(0);
    let ran = cluster.segsh(&["--ndjson", "--yes", "-e", "print(\"now\"); recover()"]).ok();
    let events: Vec<Value> = ran.stdout.lines().map(|l| serde_json::from_str(l).expect("a document a line")).collect();
    let names: Vec<&str> = events.iter().filter_map(|e| e["event"].as_str()).collect();
    let told: Vec<&str> = names.iter().copied().filter(|n| *n != "progress").collect();
    assert_eq!(told, ["start", "print", "plan", "outcome", "value", "end"], "{}", ran.stdout);
    assert!(events.iter().all(|e| e["schema"] == 1 && e["time_ms"].is_i64()), "{}", ran.stdout);
    for progress in events.iter().filter(|e| e["event"] == "progress") {
        for key in ["op", "content", "dbid", "doing", "finished", "stage", "copied_blocks", "total_blocks"] {
            assert!(progress.get(key).is_some(), "no `{key}`: {progress}");
        }
    }
    assert_eq!(events.last().map(|e| e["exit"].clone()), Some(Value::from(0)));
    cluster.wait_for_pair(0, crate::support::status::SYNCHRONIZED, secs(20));
}
