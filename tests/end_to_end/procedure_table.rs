//! Each documented procedure in the fault that it is for, in all the others, and interrupted.

use crate::during_recovery::{await_held, hold};
use crate::support::command::{Ran, run};
use crate::support::status::{SYNCHRONIZED, TRACKING, TRACKING_UNFINISHED};
use crate::support::wait::secs;
use crate::support::{Cluster, Writers, processes, wait_for, wait_for_some};
use rustix::process::Signal;
use std::path::Path;
use std::process::{Child, Stdio};

const PROCEDURES: [&str; 5] = [
    "recover_with_mirroring",
    "return_to_preferred_roles",
    "recover_double_fault",
    "recover_without_mirroring",
    "recovery_process",
];

/// Operations of the audit log: what is none, such as a drill's own hold, has the number 0.
fn operations(cluster: &Cluster) -> usize {
    let log = std::fs::read_to_string(cluster.dir().join("coordinator/audit.jsonl")).unwrap_or_default();
    log.lines().filter(|line| !line.contains("\"operation\":0,")).count()
}

/// `segsh run ARGUMENTS`, left alone.
fn begun(cluster: &Cluster, arguments: &[&str]) -> Child {
    let mut command = cluster.place().command();
    command.arg("run").args(arguments).arg("-c").arg(cluster.dir());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().expect("the binary is there")
}

fn end(mut child: Child) -> i32 {
    let status = wait_for_some("a procedure to end", secs(60), || child.try_wait().expect("a child of ours"));
    status.code().unwrap_or(-1)
}

fn kill_now(mut child: Child) {
    // It may have ended by itself.
    let _ = child.kill();
    child.wait().expect("a child of ours");
}

fn lines_of_history(cluster: &Cluster) -> i64 {
    cluster.catalog().number("select coalesce(max(number), 0) from gp_configuration_history")
}

/// Both members of content 0, at the same time.
fn kill_both(cluster: &Cluster) {
    let pair = cluster.status().pair(0);
    for pid in [pair.mirror.running(), pair.primary.running()] {
        processes::signal(pid, Signal::KILL);
    }
}

#[track_caller]
fn await_double_fault(cluster: &Cluster) {
    wait_for("the double fault to be seen", secs(20), || {
        cluster.script("print(state().double_fault)").ok().text() == "[0]"
    });
}

/// Runs a procedure that must begin nothing.
#[track_caller]
fn begins_nothing(cluster: &Cluster, arguments: &[&str]) -> Ran {
    let before = operations(cluster);
    let ran = cluster.segsh(&[&["run", "--yes"], arguments].concat());
    assert_eq!(operations(cluster), before, "{arguments:?} began something: {ran:?}");
    ran
}

#[test]
fn a_procedure_in_another_situation_than_its_own_begins_no_operation() {
    let cluster = Cluster::new(2);
    for procedure in PROCEDURES {
        begins_nothing(&cluster, &[procedure]).ok();
    }
    begins_nothing(&cluster, &["recover_double_fault", "--set", "contents=2"]).exits(1).says("no option `contents`");

    let mirror = cluster.status().pair(1).mirror;
    processes::kill(mirror.running());
    cluster.wait_for_pair(1, TRACKING, secs(20));
    for procedure in ["return_to_preferred_roles", "recover_without_mirroring"] {
        begins_nothing(&cluster, &[procedure]).exits(4).says("recover_with_mirroring");
    }

    // Its host is still dead, which took a primary with it: said with the cause, and nothing is tried.
    cluster.script(&format!("fault::stop_host(\"{}\")", mirror.host)).ok();
    wait_for("both contents to have one copy", secs(20), || {
        cluster.script("print(state().single_copy)").ok().text() == "[0, 1]"
    });
    for arguments in [&["recover_with_mirroring"][..], &["recovery_process", "--set", "content=1"]] {
        begins_nothing(&cluster, arguments).exits(4).says("host_down").says(&mirror.host).says("start_host");
    }
    begins_nothing(&cluster, &["recovery_process"]).exits(1).says("it shows one");

    cluster.script(&format!("fault::start_host(\"{}\")", mirror.host)).ok();
    cluster.segsh(&["run", "recover_with_mirroring", "--yes"]).ok();
    assert!(cluster.status().is_synchronized());
    cluster.segsh(&["run", "return_to_preferred_roles", "--yes"]).ok();
    let status = cluster.status();
    assert!(status.is_synchronized() && status.is_balanced());
}

#[test]
fn a_recovery_that_was_killed_at_any_stage_goes_on_and_ends_when_it_is_run_again() {
    let cluster = Cluster::new(1);
    let writers = Writers::start(&cluster, &[0], 2);
    let lose_the_mirror = || {
        processes::kill(cluster.status().pair(0).mirror.running());
        wait_for("the mirror to be down", secs(20), || {
            [TRACKING, TRACKING_UNFINISHED].contains(&cluster.status().pair(0).letters().as_str())
        });
    };
    for (stage, words) in [("preparation", "preparation"), ("data_copy", "data copy"), ("flat_files", "flat files")] {
        lose_the_mirror();
        hold(&cluster, stage);
        let first = begun(&cluster, &["recover_with_mirroring", "--yes"]);
        await_held(&cluster, words);
        kill_now(first);
        let again = begun(&cluster, &["recover_with_mirroring", "--yes"]);
        cluster.script("fault::release(0)").ok();
        assert_eq!(end(again), 0, "killed at {stage}");
        assert!(cluster.status().is_synchronized(), "killed at {stage}");
    }
    // Before anything was begun, or right after it.
    lose_the_mirror();
    kill_now(begun(&cluster, &["recover_with_mirroring", "--yes"]));
    cluster.segsh(&["run", "recover_with_mirroring", "--yes"]).ok();

    // The mirror dies in the middle: said, and run again it ends.
    lose_the_mirror();
    hold(&cluster, "data_copy");
    let dies = begun(&cluster, &["recover_with_mirroring", "--yes"]);
    await_held(&cluster, "data copy");
    processes::kill(cluster.status().pair(0).mirror.running());
    assert_eq!(end(dies), 5, "partial");
    assert_eq!(cluster.status().pair(0).letters(), TRACKING_UNFINISHED);
    writers.wait_for_more(0, 10, secs(20));
    cluster.segsh(&["run", "recover_with_mirroring", "--yes"]).ok();
    assert!(cluster.status().is_synchronized());
    writers.finish().assert_held_by(&cluster);
}

/// A procedure killed after each step that the history tells of, and run again, until it ended before the kill.
/// `fault` is what it is for; afterwards the cluster is as `is_whole` says.
fn killed_at_every_step(
    cluster: &Cluster,
    arguments: &[&str],
    fault: impl Fn(&Cluster),
    is_whole: impl Fn(&Cluster) -> bool,
) {
    for steps in (0..).step_by(2) {
        fault(cluster);
        let from = lines_of_history(cluster);
        let mut child = begun(cluster, arguments);
        let ended = wait_for_some("the next step", secs(60), || {
            let ended = child.try_wait().expect("a child of ours").is_some();
            (ended || lines_of_history(cluster) >= from + steps).then_some(ended)
        });
        kill_now(child);
        cluster.segsh(&[&["run"], arguments].concat()).ok();
        assert!(is_whole(cluster), "{arguments:?} killed after {steps} lines of history: {:?}", cluster.status());
        if ended {
            break;
        }
    }
}

#[test]
fn a_return_to_preferred_roles_that_was_killed_at_any_step_ends_when_it_is_run_again() {
    let cluster = Cluster::new(1);
    let writers = Writers::start(&cluster, &[0], 2);
    let switched = |cluster: &Cluster| {
        cluster.fail_over(0);
        cluster.segsh(&["run", "recover_with_mirroring", "--yes"]).ok();
    };
    let is_whole = |cluster: &Cluster| {
        let status = cluster.status();
        status.is_synchronized() && status.is_balanced()
    };
    killed_at_every_step(&cluster, &["return_to_preferred_roles", "--yes"], switched, is_whole);
    writers.finish().assert_held_by(&cluster);
}

#[test]
fn a_recovery_from_a_double_fault_that_was_killed_at_any_step_ends_when_it_is_run_again() {
    let cluster = Cluster::new(1);
    let writers = Writers::start(&cluster, &[0], 2);
    let both_lost = |cluster: &Cluster| {
        writers.wait_for_more(0, 10, secs(30));
        kill_both(cluster);
        await_double_fault(cluster);
    };
    let is_whole = |cluster: &Cluster| cluster.status().is_synchronized();
    killed_at_every_step(&cluster, &["recover_double_fault", "--yes"], both_lost, is_whole);
    writers.finish().assert_held_by(&cluster);
}

#[test]
fn a_recovery_without_mirrors_that_was_killed_at_any_step_ends_when_it_is_run_again() {
    let cluster = Cluster::without_mirrors(1);
    cluster.content(0).run("create table kept(id bigint)");
    cluster.content(0).run("insert into kept values (1)");
    let lost = |cluster: &Cluster| {
        processes::kill(cluster.status().segments[0].running());
        wait_for("the loss to be seen", secs(20), || !cluster.status().operational);
    };
    let is_whole =
        |cluster: &Cluster| cluster.status().operational && cluster.content(0).number("select count(*) from kept") == 1;
    killed_at_every_step(&cluster, &["recover_without_mirroring", "--yes"], lost, is_whole);
}

#[test]
fn a_replacement_of_a_host_that_was_killed_at_any_step_ends_when_it_is_run_again() {
    let cluster = Cluster::with_spare_host(1);
    let writers = Writers::start(&cluster, &[0], 2);
    let gone = |cluster: &Cluster| {
        // Back where it was before, by the same way.
        cluster.eval("fault::start_host(\"sdw2\")").ok();
        if cluster.status().pair(0).mirror.host == "sdw3" {
            cluster.eval("fault::stop_host(\"sdw3\")").ok();
            cluster.wait_for_pair(0, TRACKING, secs(30));
            let back = "recover(#{ hosts: \"sdw3\", to: \"sdw2\" })";
            cluster.segsh(&["--yes=full_recover", "-e", back]).ok();
            cluster.eval("fault::start_host(\"sdw3\")").ok();
        }
        cluster.eval("fault::stop_host(\"sdw2\")").ok();
        cluster.wait_for_pair(0, TRACKING, secs(30));
    };
    let is_whole = |cluster: &Cluster| {
        let status = cluster.status();
        status.is_synchronized() && status.pair(0).mirror.host == "sdw3"
    };
    let arguments = ["replace_host", "--set", "host=sdw2", "--set", "to=sdw3", "--yes=full_recover"];
    killed_at_every_step(&cluster, &arguments, gone, is_whole);
    writers.finish().assert_held_by(&cluster);
}

/// Mirror down, then the primary; both at once; the primary lost while it copied. The other content serves on.
#[test]
fn a_double_fault_ends_recovered_however_it_came_about_and_the_rest_serves_on() {
    let cluster = Cluster::new(2);
    let writers = Writers::start(&cluster, &[0], 2);
    let other = cluster.status().pair(1).primary.pid;
    let recovered = |what: &str| {
        cluster.segsh(&["run", "recover_double_fault", "--yes"]).ok();
        let status = cluster.status();
        assert!(status.is_synchronized(), "{what}");
        assert_eq!(status.pair(1).primary.pid, other, "{what}: content 1 was left alone");
        writers.wait_for_more(0, 10, secs(30));
    };

    processes::kill(cluster.status().pair(0).mirror.running());
    cluster.wait_for_pair(0, TRACKING, secs(20));
    writers.wait_for_more(0, 10, secs(20));
    processes::kill(cluster.status().pair(0).primary.running());
    await_double_fault(&cluster);
    recovered("one after the other");

    kill_both(&cluster);
    await_double_fault(&cluster);
    assert_eq!(cluster.status().pair(0).letters(), SYNCHRONIZED, "nobody could take over");
    recovered("both at once");

    processes::kill(cluster.status().pair(0).mirror.running());
    cluster.wait_for_pair(0, TRACKING, secs(20));
    hold(&cluster, "data_copy");
    cluster.eval_yes("recover(#{ wait: false })").ok();
    await_held(&cluster, "data copy");
    processes::kill(cluster.status().pair(0).primary.running());
    await_double_fault(&cluster);
    recovered("during resynchronization");
    writers.finish().assert_held_by(&cluster);
}

/// Step 4 of the document: a mirror that is still behind after everything else can only be copied in full.
/// And what no copy holds any more is said to be lost, in words.
#[test]
fn what_only_a_full_copy_can_mend_is_asked_for_and_what_is_lost_is_said() {
    let cluster = Cluster::new(2);
    cluster.content(0).run("create table kept(id bigint)");
    cluster.content(0).run("insert into kept values (1)");
    let pair = cluster.status().pair(0);
    let lose_both = |pair: &crate::support::Pair| {
        processes::kill(pair.mirror.running());
        cluster.wait_for_pair(0, TRACKING, secs(20));
        cluster.content(0).run("insert into kept values (2)");
        processes::kill(pair.primary.running());
        await_double_fault(&cluster);
    };
    lose_both(&pair);
    let map = Path::new(&pair.primary.datadir).join("track.map");
    let mut bytes = std::fs::read(&map).expect("a map");
    *bytes.last_mut().expect("it is not empty") ^= 4;
    std::fs::write(&map, bytes).expect("it is ours");
    cluster.segsh(&["run", "recover_double_fault", "--yes"]).exits(4).says("--yes=full_recover");
    assert_eq!(cluster.status().pair(0).letters(), TRACKING, "served, and still in change tracking");
    cluster.segsh(&["run", "recover_double_fault", "--yes=full_recover"]).ok();
    assert!(cluster.status().is_synchronized());
    assert_eq!(cluster.content(0).number("select count(*) from kept"), 2);

    let pair = cluster.status().pair(0);
    processes::kill(cluster.status().pair(1).mirror.running());
    cluster.wait_for_pair(1, TRACKING, secs(20));
    lose_both(&pair);
    std::fs::remove_file(Path::new(&pair.primary.datadir).join("main.db")).expect("main.db");
    let ran = cluster.segsh(&["run", "recover_double_fault", "--yes"]).exits(5);
    // As one line: where it wraps depends on names.
    let said = ran.stderr.split_whitespace().collect::<Vec<_>>().join(" ");
    let force = format!("force_primary(#{{ dbids: {} }})", pair.mirror.dbid);
    let words =
        ["content 0 is not served", "its copy is incomplete", "lacks what was committed", "only a backup", &force];
    words.iter().for_each(|words| assert!(said.contains(words), "it does not say `{words}`\n{}", ran.stderr));
    assert_eq!(cluster.status().pair(1).letters(), SYNCHRONIZED, "the others are recovered all the same");
}

/// The host of an acting primary stays dead over the restart: named, the rest serves, and nothing is lost when it
/// is back.
#[test]
fn a_double_fault_whose_host_is_still_dead_is_named_and_ends_recovered_when_the_host_is_back() {
    let cluster = Cluster::new(2);
    for content in [0, 1] {
        cluster.content(content).run("create table kept(id bigint)");
    }
    let pair = cluster.status().pair(0);
    processes::kill(pair.mirror.running());
    cluster.wait_for_pair(0, TRACKING, secs(20));
    cluster.content(0).run("insert into kept values (1)");
    cluster.script(&format!("fault::stop_host(\"{}\")", pair.primary.host)).ok();
    await_double_fault(&cluster);

    let ran = cluster.segsh(&["run", "recover_double_fault", "--yes=restart"]).exits(5);
    let ran = ran.says("content 0 is not served").says(&format!("fault::start_host(\"{}\")", pair.primary.host));
    assert!(!ran.stderr.contains("content 1 is not served"), "{}", ran.stderr);
    cluster.content(1).run("insert into kept values (1)");

    cluster.script(&format!("fault::start_host(\"{}\")", pair.primary.host)).ok();
    cluster.segsh(&["run", "recover_double_fault", "--yes"]).ok();
    assert!(cluster.status().is_synchronized());
    for content in [0, 1] {
        assert_eq!(cluster.content(content).number("select count(*) from kept"), 1);
    }
}

/// The documents' three tables, at the stages that they name.
#[test]
fn recovery_process_prints_the_status_tables_of_the_document() {
    let cluster = Cluster::new(1);
    processes::kill(cluster.status().pair(0).mirror.running());
    cluster.wait_for_pair(0, TRACKING, secs(20));
    let ran = cluster.segsh(&["run", "recovery_process", "--yes"]).ok();
    let table = |mode: &str, mirror: &str| {
        format!(
            "preferred_role role mode status\nPrimary p(primary) p(primary) {mode} u(up)\nMirror m(mirror) m(mirror) {mirror}\n"
        )
    };
    let tables = [
        ("Before recovery\n", table("c(change tracking)", "s(synchronized) d(down)")),
        ("Segment recovery preparation\n", table("r(resynchronizing)", "r(resynchronizing) u(up)")),
        ("Data file and flat file replication\n", table("s(synchronized)", "s(synchronized) u(up)")),
    ];
    let mut rest = ran.stdout.as_str();
    for (stage, table) in tables {
        let at = rest.find(&format!("{stage}{table}")).unwrap_or_else(|| panic!("no {stage}{table}in\n{}", ran.stdout));
        rest = &rest[at + stage.len()..];
    }
    assert!(rest.contains("reads and writes waited ["), "{}", ran.stdout);
    cluster.segsh(&["run", "recovery_process", "--yes"]).ok();
}

/// Only statements that run at the switch fail, with the documented SQLSTATEs; none at a recovery.
#[test]
fn pgbench_goes_on_over_a_recovery_and_a_return_to_preferred_roles() {
    const CLIENTS: usize = 4;
    let cluster = Cluster::new(1);
    cluster.content(0).run("create table bench(id bigint, filler text)");
    cluster.fail_over(0);
    let script =
        cluster.place().file("bench.sql", "\\set id random(1, 100000)\nINSERT INTO bench VALUES (:id, 'x');\n");
    let mut pgbench = cluster.client("pgbench", "content0");
    let clients = format!("--client={CLIENTS}");
    pgbench.args(["-n", "-M", "simple", &clients, "--jobs=2", "--time=12", "--max-tries=100", "--failures-detailed"]);
    pgbench.args(["--verbose-errors", "-f"]).arg(script);
    let bench = std::thread::spawn(move || run(pgbench, ""));
    let rows = || cluster.content(0).number("select count(*) from bench");
    let goes_on = |what: &str| {
        let before = rows();
        wait_for(&format!("commits to go on {what}"), secs(10), || rows() > before + 20);
    };
    goes_on("at the beginning");
    cluster.segsh(&["run", "recover_with_mirroring", "--yes"]).ok();
    goes_on("after the recovery");
    cluster.segsh(&["run", "return_to_preferred_roles", "--yes"]).ok();
    let status = cluster.status();
    assert!(status.is_synchronized() && status.is_balanced());
    goes_on("after the return");
    let ran = bench.join().expect("pgbench ends");

    let counted = |text: &str| {
        let line = ran.stdout.lines().find_map(|l| l.strip_prefix(text)).unwrap_or_else(|| panic!("{ran:?}"));
        line.trim().split(['/', ' ']).next().and_then(|n| n.parse::<i64>().ok()).unwrap_or_else(|| panic!("{ran:?}"))
    };
    let done = counted("number of transactions actually processed:");
    let aborted = ran.stderr.lines().filter(|l| l.contains("aborted in command")).count();
    println!("{done} transactions, {aborted} clients with an unknown one\n{}", ran.stderr);
    assert!(aborted <= CLIENTS, "at most what each client had in flight at the one switch");
    assert_eq!(ran.code, if aborted > 0 { 2 } else { 0 });
    let again = ran.stderr.matches("HINT:  Run the transaction again.").count();
    assert_eq!(
        again + aborted,
        ran.stderr.matches("ERROR:").count(),
        "40001 for who had to try again, 08007 for who was given up, and nothing else: {}",
        ran.stderr
    );
    let found = rows();
    assert!((done..=done + i64::try_from(aborted).expect("few")).contains(&found), "{found} rows for {done}");
}
