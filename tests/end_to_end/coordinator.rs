//! The coordinator: killed at work, asked while others hang, and its settings.

use crate::hung::assert_pair_equal;
use crate::recovery::fill;
use crate::support::random::Random;
use crate::support::status::{RESYNCHRONIZING, SYNCHRONIZED, TRACKING};
use crate::support::wait::secs;
use crate::support::{Cluster, Writers, processes, wait_for, wait_for_some};
use std::time::{Duration, Instant};

#[test]
fn a_rebalance_goes_on_when_the_coordinator_dies_and_comes_back() {
    let cluster = Cluster::new(1);
    let before = cluster.status().pair(0);
    cluster.fail_over(0);
    cluster.outcome("recover()");
    let writers = Writers::start(&cluster, &[0], 1);
    writers.wait_for_more(0, 20, secs(20));
    let coordinator = cluster.status().coordinator.pid.expect("it runs");
    cluster.eval_yes("rebalance(#{ wait: false })").ok();
    processes::kill(coordinator);
    cluster.lifecycle("start", &[]).ok();
    wait_for("the roles to be switched", secs(60), || {
        let pair = cluster.status().pair(0);
        pair.primary.dbid == before.primary.dbid && pair.letters() == SYNCHRONIZED
    });
    writers.wait_for_more(0, 20, secs(30));
    writers.finish().assert_held_by(&cluster);
    assert_pair_equal(&cluster);
}

#[test]
fn every_kind_of_operation_survives_a_coordinator_that_is_killed_at_a_random_moment_of_it() {
    let cluster = Cluster::new(1);
    let mut random = Random::from_environment();
    let writers = Writers::start(&cluster, &[0], 1);
    let kinds = ["recover", "full_recover", "rebalance", "restart"];
    for kind in kinds {
        if kind != "restart" {
            // What failed over is what there is to recover, or else to bring back.
            let former = cluster.fail_over(0).pair(0).mirror;
            println!("{kind}: dbid {} was killed", former.dbid);
            if kind == "rebalance" {
                cluster.outcome("recover()");
            }
        }
        let status = cluster.status();
        let target = match kind {
            "full_recover" => format!("dbids: {}, ", status.pair(0).mirror.dbid),
            _ => "contents: [0], ".to_owned(),
        };
        let call = format!("{kind}(#{{ {target}wait: false }})");
        cluster.segsh(&["--yes=full_recover,restart", "-e", &call]).ok();
        // Where it strikes is the seed's choice, from at once to after the end.
        let at = Duration::from_millis(random.below(250) as u64);
        println!("{call}: killed after {at:?}");
        std::thread::sleep(at);
        processes::kill(status.coordinator.pid.expect("it runs"));
        cluster.lifecycle("start", &[]);
        cluster.wait_for_pair(0, SYNCHRONIZED, secs(60));
        wait_for("the operation to end", secs(60), || {
            cluster.catalog().number("select count(*) from segsh_operation where ended_ms is null") == 0
        });
        writers.wait_for_more(0, 5, secs(30));
    }
    writers.finish().assert_held_by(&cluster);
    assert_pair_equal(&cluster);
}

#[test]
fn a_start_goes_on_when_the_coordinator_dies_and_comes_back() {
    let cluster = Cluster::new(2);
    cluster.content(0).run("create table kept(id bigint)");
    cluster.lifecycle("stop", &[]).ok();
    let lock = cluster.dir().join("coordinator/lock");
    let mut command = cluster.place().command();
    let mut starting = command.arg("start").arg(cluster.dir()).spawn().expect("segsh runs");
    let coordinator = wait_for_some("the coordinator to run", secs(20), || {
        let text = std::fs::read_to_string(&lock).ok()?;
        text.split_whitespace().next()?.parse::<u32>().ok().filter(|pid| processes::runs(*pid))
    });
    processes::kill(coordinator);
    assert!(!starting.wait().expect("it ends").success(), "its coordinator is gone");
    cluster.lifecycle("start", &[]).ok();
    assert!(cluster.status().is_synchronized());
    assert_eq!(cluster.content(0).number("select count(*) from kept"), 0);
}

#[test]
fn everything_killed_in_the_middle_of_a_recovery_is_brought_back_by_start() {
    let cluster = Cluster::new(1);
    fill(&cluster, 12_000);
    let pair = cluster.status().pair(0);
    processes::kill(pair.mirror.running());
    cluster.wait_for_pair(0, TRACKING, secs(20));
    cluster.content(0).run("update filled set body = hex(randomblob(500))");
    cluster.eval_yes(r#"recover(#{ contents: [0], wait: false, rate: "4 MiB/s" })"#).ok();
    let status = cluster.wait_for_pair(0, RESYNCHRONIZING, secs(20));
    for pid in status.pids() {
        processes::signal(pid, rustix::process::Signal::KILL);
    }
    wait_for("every process to end", secs(20), || status.pids().iter().all(|pid| !processes::runs(*pid)));
    cluster.lifecycle("start", &[]);
    let now = cluster.status().pair(0);
    assert_eq!(now.primary.dbid, pair.primary.dbid);
    assert_eq!(cluster.content(0).number("select count(*) from filled"), 12_000);
    cluster.outcome("recover()");
    assert_eq!(cluster.status().pair(0).letters(), SYNCHRONIZED);
    assert_pair_equal(&cluster);
}

#[test]
fn the_state_is_told_at_once_while_an_agent_hangs() {
    let cluster = Cluster::new(2);
    let agent = cluster.status().hosts[0].pid.expect("it runs");
    processes::stop(agent);
    wait_for("the agent to be missed", secs(20), || cluster.status().hosts.iter().any(|h| !h.alive));
    let asked = Instant::now();
    let status = cluster.status();
    let took = asked.elapsed();
    assert!(took < Duration::from_secs(1), "the state took {took:?}");
    assert!(status.operational && status.is_synchronized());
    assert!(status.segments.iter().all(|s| s.alive && s.pid.is_some()), "segments answer for themselves");
    // A round of FTS does not wait for an agent either.
    let asked = Instant::now();
    cluster.eval("probe()").ok();
    assert!(asked.elapsed() < Duration::from_secs(2), "the round took {:?}", asked.elapsed());
    processes::resume(agent);
    wait_for("the agent to answer", secs(20), || cluster.status().hosts.iter().all(|h| h.alive));
}

#[test]
fn a_stop_with_a_host_gone_stops_the_rest_and_says_so_calmly() {
    let cluster = Cluster::new(2);
    cluster.script(r#"fault::stop_host("sdw2")"#).ok();
    for content in [0, 1] {
        wait_for("the loss to be seen", secs(20), || cluster.status().pair(content).letters() == TRACKING);
    }
    cluster.lifecycle("stop", &[]).ok();
    assert_eq!(processes::beneath(cluster.dir()), Vec::<u32>::new());
    // The host is still dead: the rest is started, what is on the host is named.
    let started = cluster.lifecycle("start", &[]).exits(5);
    started.says("host sdw2").says("stopped by a drill").says("fault::start_host(\"sdw2\")");
    let status = cluster.status();
    assert!(status.operational, "{status:?}");
    let restarted = cluster.segsh(&["--yes=restart", "-e", "restart()"]).exits(5);
    restarted.says("host sdw2");
    assert!(cluster.status().operational);
    cluster.script(r#"fault::start_host("sdw2")"#).ok();
    cluster.outcome("recover()");
    assert!(cluster.status().is_synchronized());
}

#[test]
fn a_start_with_the_host_of_a_synchronized_pairs_primary_gone_serves_from_its_mirror() {
    let cluster = Cluster::new(2);
    cluster.content(0).run("create table kept(id bigint)");
    cluster.content(0).run("insert into kept values (1)");
    cluster.lifecycle("stop", &[]).ok();
    // It goes while everything stands still: the rows say that every pair is synchronized.
    let away = cluster.place().path().join("unplugged");
    let there = cluster.dir().join("hosts/sdw1");
    std::fs::rename(&there, &away).expect("a directory is moved away");
    cluster.lifecycle("start", &[]).exits(5).says("sdw1").says("it serves");
    let status = cluster.status();
    assert!(status.operational, "{status:?}");
    for content in [0, 1] {
        assert_eq!(status.pair(content).letters(), TRACKING);
    }
    assert_eq!(cluster.content(0).number("select count(*) from kept"), 1);
    std::fs::rename(&away, &there).expect("and back");
    cluster.lifecycle("start", &[]).ok();
    cluster.outcome("recover()");
    assert!(cluster.status().is_synchronized());
}

#[test]
fn a_smart_restart_does_not_wait_for_the_sessions_of_its_own_script() {
    let cluster = Cluster::new(1);
    for smart in [r#"restart(#{ mode: "smart" })"#, r#"restart(#{ contents: 0, mode: "smart" })"#] {
        let code = format!(r#"sql(0, "select 1"); {smart}"#);
        cluster.segsh(&["--yes=restart", "--timeout", "30s", "-e", &code]).ok();
    }
    assert!(cluster.status().is_synchronized());
}

#[test]
fn a_statement_waits_for_a_primary_as_long_as_the_setting_says() {
    let cluster = Cluster::new(1);
    cluster.content(0).run("create table t(id int)");
    let pair = cluster.status().pair(0);
    processes::kill(pair.mirror.running());
    cluster.wait_for_pair(0, TRACKING, secs(20));
    cluster.script(r#"setting("segsh_session_wait", "300ms")"#).ok();
    let mut session = cluster.content(0);
    processes::kill(pair.primary.running());
    wait_for("the double fault to be seen", secs(20), || !cluster.status().operational);
    let asked = Instant::now();
    let reply = session.query("select * from t").expect("the session outlives its segment");
    assert_eq!(reply.sqlstate(), Some("57P03"), "{reply:?}");
    let took = asked.elapsed();
    assert!(took >= Duration::from_millis(250) && took < Duration::from_secs(5), "it waited {took:?}");
}
