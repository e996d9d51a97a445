//! The utilities of Greenplum on a real cluster, started as cron jobs start them.

use crate::support::command::{Ran, run};
use crate::support::status::{RESYNCHRONIZING, SYNCHRONIZED, TRACKING};
use crate::support::wait::secs;
use crate::support::wire::Wire;
use crate::support::{Cluster, Status, processes, wait_for};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A link to the binary under a utility's name, as `ln -s` makes it.
#[track_caller]
fn link(cluster: &Cluster, utility: &str) -> PathBuf {
    let link = cluster.place().path().join(utility);
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_segsh"), &link).expect("a fresh directory takes a link");
    link
}

/// What cron leaves of an environment, and the one variable that the job sets itself.
#[track_caller]
fn cron(cluster: &Cluster, program: &Path, variable: &str, directory: &Path, words: &[&str]) -> Ran {
    let mut command = Command::new(program);
    command.env_clear().env("HOME", cluster.place().path().join("home")).env("PATH", "/usr/bin:/bin");
    command.env("SHELL", "/bin/sh").env("LOGNAME", "gpadmin").env(variable, directory).args(words);
    command.current_dir("/");
    run(command, "")
}

/// The lines without what changes from run to run.
fn unstamped(ran: &Ran) -> Vec<&str> {
    ran.stdout.lines().map(|line| line.split_once("-[").map_or(line, |(_, rest)| rest)).collect()
}

#[test]
fn gpstate_finds_the_cluster_as_cron_does_and_its_exit_code_is_the_truth() {
    let cluster = Cluster::new(2);
    let gpstate = link(&cluster, "gpstate");
    let coordinator = cluster.dir().join("coordinator");
    let ran = cron(&cluster, &gpstate, "MASTER_DATA_DIRECTORY", &coordinator, &["-e"]).ok();
    let lines = unstamped(&ran);
    assert_eq!(lines.first(), Some(&"INFO]:-Starting gpstate with args: -e"));
    assert_eq!(lines.last(), Some(&"INFO]:-All segments are running normally"));
    assert!(ran.stdout.lines().all(|l| l.as_bytes()[8] == b':' && l.contains(" gpstate:")), "{}", ran.stdout);
    assert_eq!(ran.stderr, "");
    cron(&cluster, &gpstate, "COORDINATOR_DATA_DIRECTORY", cluster.dir(), &["-sq"]).ok();
    let directory = cluster.dir().to_str().expect("a plain name");
    cluster.place().segsh(&["gpstate", "-Q", "-d", directory]).ok().says("= 4");

    // Without a directory, and with a wrong one: their words, and their exit code.
    cron(&cluster, &gpstate, "LANG", Path::new("C"), &[]).exits(2).says("MASTER_DATA_DIRECTORY not set!");
    cron(&cluster, &gpstate, "LANG", Path::new("C"), &["-z"]).exits(2).says("gpstate: error: no such option: -z");
    cron(&cluster, &gpstate, "MASTER_DATA_DIRECTORY", Path::new("/nowhere"), &[]).exits(2).says("does not exist");

    let before = cluster.fail_over(0).pair(0);
    let ran = cluster.place().segsh(&["gpstate", "-m", "-d", directory]).exits(1);
    let mirror = format!(
        "{}   {}   {}   Acting as Primary   Change Tracking",
        before.primary.address, before.primary.datadir, before.primary.port
    );
    assert!(ran.stdout.contains(&mirror), "{mirror}\n{}", ran.stdout);
    let document = cron(&cluster, &gpstate, "MASTER_DATA_DIRECTORY", &coordinator, &["-e", "--json"]).exits(1).json();
    let value = &document["value"];
    assert_eq!((document["kind"].as_str(), value["exit"].as_i64()), (Some("utility"), Some(1)));
    assert_eq!(value["state"]["segments"].as_array().map(Vec::len), Some(4));
    assert_eq!(value["tables"][0]["columns"][0], "Current Primary");
    // What is said goes to the log of the day in the directory that is named, too.
    let logs = cluster.place().path().join("logs");
    let logs = logs.to_str().expect("a plain name");
    let said = cluster.segsh_first(&["gpstate", "-b", "-q", "-l", logs]).exits(1);
    assert!(said.stdout.lines().all(|l| l.contains("[WARNING]")) && !said.stdout.is_empty(), "{}", said.stdout);
    let written = std::fs::read_dir(logs).expect("the log directory").flatten().map(|e| e.path()).collect::<Vec<_>>();
    let [log] = written.as_slice() else { panic!("one log of the day: {written:?}") };
    let text = std::fs::read_to_string(log).expect("the log");
    assert!(text.contains("[INFO]:-Greenplum instance status summary"), "{text}");

    // With the coordinator gone there is nobody to ask.
    processes::kill(cluster.status().coordinator.pid.expect("the coordinator runs"));
    cluster.segsh_first(&["gpstate"]).exits(2).says("gpstate failed. (Reason=");
}

#[test]
fn gprecoverseg_ends_with_the_rows_being_copied_and_tells_the_truth_by_its_exit_code() {
    let cluster = Cluster::new(2);
    let gprecoverseg = link(&cluster, "gprecoverseg");
    let coordinator = cluster.dir().join("coordinator");
    let recover = |words: &[&str]| cron(&cluster, &gprecoverseg, "MASTER_DATA_DIRECTORY", &coordinator, words);
    recover(&["-a"]).ok().says("[INFO]:-No segments to recover");
    recover(&["-ra"]).ok().says("No segments are running in their non-preferred role");

    // Content 0 fails over; its former primary is listed, and recovered by that list.
    let former = cluster.fail_over(0).pair(0).mirror;
    let list = cluster.place().path().join("list");
    let list = list.to_str().expect("a plain name");
    recover(&["-o", list]).ok().says("Configuration file output to");
    let written = std::fs::read_to_string(list).expect("the list was written");
    assert_eq!(written, format!("filespaceOrder=\n{}:{}:{}\n", former.address, former.port, former.datadir));
    recover(&["-r", "-a"]).exits(2).says("Down segments still exist.  All segments must be up to rebalance.");
    // Nobody can be asked, so nothing is done.
    recover(&["-i", list]).exits(4).says("User abort requested, Exiting...").says("gprecoverseg -a");
    let ran = recover(&["-ai", list]).ok();
    let said = unstamped(&ran).join("\n");
    for line in
        ["Synchronization mode                        = Incremental", "1 segment(s) to recover", "Use  gpstate -s  to"]
    {
        assert!(said.contains(line), "`{line}` is missing:\n{said}");
    }
    let rows = cluster.status().pair(0).letters();
    assert!(rows == RESYNCHRONIZING || rows == SYNCHRONIZED, "it ended with the rows {rows}");
    cluster.wait_for_pair(0, SYNCHRONIZED, secs(30));

    // Back to the preferred roles, once the recovery holds them no longer; the copy may go on when it ends.
    cluster.wait_until_nothing_runs(secs(20));
    recover(&["-a", "-r"]).ok().says("Unbalanced segment 1 of 2").says("The rebalance operation has completed");
    let status = cluster.wait_for_pair(0, SYNCHRONIZED, secs(30));
    assert!(status.is_balanced());

    // Everything anew, beside the old copy.
    processes::kill(cluster.status().pair(1).mirror.running());
    cluster.wait_for_pair(1, TRACKING, secs(20));
    recover(&["-aF"]).ok().says("= Full");
    cluster.wait_for_pair(1, SYNCHRONIZED, secs(30));
    let audit = cluster.eval("audit(#{ verb: \"full_recover\" })[0].confirmed").ok();
    assert_eq!(audit.text(), "-a");

    // A double fault is said at once, with what to do.
    processes::kill(cluster.status().pair(1).mirror.running());
    cluster.wait_for_pair(1, TRACKING, secs(20));
    processes::kill(cluster.status().pair(1).primary.running());
    wait_for("the double fault to be seen", secs(20), || !cluster.status().operational);
    recover(&["-a"]).exits(2).says("Both segments for content 1 are down").says("next: gpstop -r");
}

#[test]
fn gpstop_and_gpstart_stop_and_start_the_cluster_and_skip_what_is_marked_down() {
    let cluster = Cluster::new(2);
    let coordinator = cluster.dir().join("coordinator");
    let (gpstop, gpstart) = (link(&cluster, "gpstop"), link(&cluster, "gpstart"));
    let stop = |words: &[&str]| cron(&cluster, &gpstop, "MASTER_DATA_DIRECTORY", &coordinator, words);
    let start = |words: &[&str]| cron(&cluster, &gpstart, "COORDINATOR_DATA_DIRECTORY", cluster.dir(), words);
    stop(&["-u"]).ok().says("the password file was read again");
    // Nobody can be asked, and a smart stop does not end anybody's session.
    stop(&[]).exits(4).says("User abort requested, Exiting...");
    let mut session = cluster.content(0);
    session.run("create table kept(id int)");
    session.run("insert into kept values (7)");
    stop(&["-a"]).exits(2).says("Active connections. Aborting shutdown...");
    drop(session);
    // Nor does it end, or wait for, one at a segment's own socket.
    let port = cluster.status().pair(0).primary.port;
    let direct = cluster.socket().with_file_name(format!(".s.PGSQL.{port}"));
    let direct = Wire::connect(&direct, "content0").expect("the owner's socket");
    stop(&["-a"]).exits(2).says("Active connections. Aborting shutdown... (1)");
    drop(direct);

    // The coordinator alone: the segments go on, with the processes they had.
    let before = cluster.status();
    stop(&["-am", "-M", "fast"]).ok();
    cluster.last_status();
    // A start that is left before the coordinator has it goes on nowhere.
    let agent = before.hosts[0].pid.expect("the agent runs");
    processes::stop(agent);
    start(&["-a", "-t", "1"]).exits(2).says("it ends with this process").says("next: gpstart");
    assert!(processes::resume(agent));
    cluster.last_status();
    start(&["-am"]).ok().says("Master Started...");
    wait_for("the same processes to be seen again", secs(20), || pids(&cluster.status()) == pids(&before));

    // A segment that is marked down is skipped, and stays so.
    processes::kill(cluster.status().pair(1).mirror.running());
    cluster.wait_for_pair(1, TRACKING, secs(20));
    let ran = stop(&["-a", "-r", "-M", "fast", "-t", "120"]).ok();
    for line in [
        "Segments stopped successfully",
        "Skipping startup of segment marked down in configuration",
        "There are 1 segment(s) marked down",
    ] {
        assert!(ran.stdout.contains(line), "`{line}` is missing:\n{}", ran.stdout);
    }
    assert_eq!(cluster.status().pair(1).letters(), TRACKING);
    let kept = cluster.psql("content0", &["-c", "select id from kept"], "").ok();
    assert_eq!(kept.text(), "7");

    // Stopped, a second stop finds nothing; restricted, only the owner's socket is served.
    stop(&["-a", "-M", "immediate"]).ok().says("Successfully shutdown 3 of 4 segment instances");
    stop(&["-a"]).exits(2).says("is Greenplum instance already stopped?");
    start(&["-aR"]).ok().says("Database successfully started");
    assert_eq!(cluster.psql("content0", &["-c", "select id from kept"], "").ok().text(), "7");
    let over_tcp = |more: &[&str]| {
        let mut command = cluster.client("psql", "content0");
        let row = cluster.catalog().rows("select address from gp_segment_configuration where dbid = 1").remove(0);
        command.env("PGHOST", row).env("PGUSER", "segsh").env("PGPASSFILE", cluster.dir().join("pgpass"));
        command.args(["--no-psqlrc", "-At", "-c", "select 1"]).args(more);
        run(command, "")
    };
    over_tcp(&[]).exits(2).says("only its owner may connect");
    // A start beside it is none that ends it, and says so.
    start(&["-a"]).ok().says("was started restricted, and stays so").says("next: gpstop -r");
    cluster.lifecycle("start", &[]).ok().says("started restricted");
    assert_eq!(cluster.eval("state().coordinator.restricted").ok().text(), "true");
    over_tcp(&[]).exits(2).says("only its owner may connect");
    stop(&["-ar", "-M", "fast"]).ok();
    assert_eq!(over_tcp(&[]).ok().text(), "1");

    // Nobody can ask the segments: they are killed, and that is said.
    processes::kill(cluster.status().coordinator.pid.expect("the coordinator runs"));
    let ran = stop(&["-a"])
        .ok()
        .says("segments that do will be killed")
        .says("the coordinator did not run; 3 segments were killed");
    assert!(ran.stdout.contains("Successfully shutdown 3 of 4") && !ran.stdout.contains("no errors"), "{}", ran.stdout);
    assert_eq!(ran.stdout.matches("  KILLED  host:").count(), 3, "{}", ran.stdout);
}

/// The processes of the segments.
fn pids(status: &Status) -> Vec<Option<u32>> {
    status.segments.iter().map(|s| s.pid).collect()
}
