//! Two administrators at once: who holds what, who watches, who goes on, and what is written down of it.

use crate::during_recovery::{hold, release};
use crate::limits::fall_behind;
use crate::support::status::SYNCHRONIZED;
use crate::support::wait::secs;
use crate::support::{Cluster, processes, wait_for_some};
use rustix::process::Signal;
use serde_json::Value;
use std::process::{Child, Stdio};

/// A shell of its own process, with these arguments, that is left running.
#[track_caller]
fn shell(cluster: &Cluster, arguments: &[&str]) -> Child {
    let mut command = cluster.place().command();
    command.arg("-c").arg(cluster.dir()).arg("--yes").args(arguments);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it runs")
}

/// The operation that runs, once it satisfies the condition.
#[track_caller]
fn running(cluster: &Cluster, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    wait_for_some(what, secs(30), || {
        let found = cluster.segsh(&["--json", "-e", "operations()"]).ok().json()["value"][0].clone();
        (found["running"] == true && is_so(&found)).then_some(found)
    })
}

#[test]
fn a_second_administrator_sees_who_holds_a_content_and_follows_it_when_the_first_is_killed() {
    let cluster = Cluster::new(1);
    fall_behind(&cluster, 0, 100);
    hold(&cluster, "data_copy");
    let script = cluster.place().file("nightly.rhai", "fn heal() {\n  recover()\n}\nheal();\n");
    let script = script.to_str().expect("a plain name");
    let mut first = shell(&cluster, &[script]);
    let seen = running(&cluster, "the data copy", |o| o["step"] == "2/4 data copy" && o["watchers"] == 1);
    assert_eq!((&seen["verb"], &seen["contents"], &seen["stale"]), (&"recover".into(), &[0].into(), &false.into()));
    assert_eq!(seen["pid"], first.id());
    assert_eq!(seen["script"], format!("{script}:2"));
    let id = seen["id"].as_i64().expect("a number");

    let refused = cluster.eval_yes("restart(#{ contents: 0 })").exits(8);
    for word in [&format!("operation {id}, recover, 2/4 data copy"), "nightly.rhai:2", "its shell answers"] {
        assert!(refused.stderr.contains(word), "{word}: {}", refused.stderr);
    }
    assert!(refused.stderr.contains(&format!("next: attach({id})")), "{}", refused.stderr);

    let mut second = shell(&cluster, &["-e", &format!("attach({id})")]);
    running(&cluster, "the second shell to follow", |o| o["watchers"] == 2);
    first.kill().expect("it is ours");
    first.wait().expect("it ends");
    release(&cluster);
    assert_eq!(second.wait().expect("it ends").code(), Some(0), "who followed it saw its end");
    assert_eq!(cluster.status().pair(0).letters(), SYNCHRONIZED);

    // What has ended is told as it ended, and who did it is written down.
    assert_eq!(cluster.outcome(&format!("attach({id})"))["op"], id);
    cluster.eval(&format!("attach({})", id + 1)).exits(1).says("unknown_operation").says(&format!("the last are {id}"));
    let lines = cluster.segsh(&["--json", "-e", r#"audit(#{ verb: "recover", since: "1h" })"#]).ok().json();
    let line = &lines["value"][0];
    assert_eq!((&line["operation"], &line["status"]), (&id.into(), &"done".into()));
    assert_eq!((&line["script"], &line["confirmed"]), (&seen["script"], &"--yes".into()));
    assert!(line["plan"].as_str().is_some_and(|plan| !plan.is_empty()), "{line:#}");
    assert!(line["damaged"].is_null() && line["segments"][0]["pair"] == "synchronized", "{line:#}");
}

#[test]
fn leaving_what_one_is_attached_to_cancels_nothing() {
    let cluster = Cluster::new(1);
    fall_behind(&cluster, 0, 100);
    hold(&cluster, "data_copy");
    cluster.eval_yes("recover(#{ wait: false })").ok();
    let seen = running(&cluster, "the operation", |_| true);
    assert_eq!((&seen["watchers"], &seen["stale"]), (&0.into(), &true.into()), "nobody follows it: {seen:#}");
    let follower = shell(&cluster, &["-e", &format!("attach({})", seen["id"])]);
    running(&cluster, "the follower", |o| o["watchers"] == 1);
    processes::signal(follower.id(), Signal::INT);
    let mut follower = follower;
    assert_eq!(follower.wait().expect("it ends").code(), Some(130));
    // A like call joins it, and is told whose it is.
    cluster.eval_yes("recover(#{ wait: false })").ok().says(&format!("joined operation {} of", seen["id"]));
    release(&cluster);
    cluster.eval(&format!("attach({})", seen["id"])).ok();
    assert_eq!(cluster.status().pair(0).letters(), SYNCHRONIZED);
}

#[test]
fn every_change_that_is_no_operation_is_written_down_too() {
    let cluster = Cluster::new(1);
    let setting = "setting(\"segsh_recovery_jobs\", \"3\")";
    let script = format!("{setting};\nfts_pause(\"1m\");\nfts_resume();\nfault::kill(state().content(0).mirror);\n");
    cluster.script(&script).ok();
    let lines = cluster.segsh(&["--json", "-e", "audit()"]).ok().json()["value"].clone();
    let said: Vec<(&str, &str)> = lines
        .as_array()
        .expect("a list")
        .iter()
        .map(|l| (l["verb"].as_str().unwrap_or_default(), l["script"].as_str().unwrap_or_default()))
        .collect();
    for (verb, line) in [("setting", 1), ("fts_pause", 2), ("fts_resume", 3), ("kill", 4)] {
        let found = said.iter().find(|(v, _)| *v == verb).unwrap_or_else(|| panic!("{verb}: {said:?}"));
        assert!(found.1.ends_with(&format!(":{line}")), "{verb} is of line {line}: {said:?}");
    }
    // What was wanted and not begun is written down, with what it was refused for.
    cluster.eval("recover(#{ dbids: 99 })").exits(4);
    cluster.eval("restart()").exits(4).says("declined");
    cluster.eval("recover(#{ dbids: 99 })").exits(4);
    let lines = cluster.segsh(&["--json", "-e", "audit(#{ last: 3 })"]).ok().json()["value"].clone();
    let ended: Vec<(&str, &str)> = (lines.as_array().expect("a list").iter())
        .map(|l| (l["verb"].as_str().unwrap_or_default(), l["status"].as_str().unwrap_or_default()))
        .collect();
    assert_eq!(ended, [("recover", "refused"), ("restart", "declined"), ("recover", "refused")], "{lines:#}");
    assert_eq!(lines[0]["refusals"][0]["code"], "unknown_target", "{lines:#}");
    assert!(lines[1]["plan"].as_str().is_some_and(|plan| plan.len() == 4), "{lines:#}");
}
