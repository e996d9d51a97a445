//! Refusals that need a situation of their own: each met on a real cluster, with nothing changed by it.
//! Which test meets which of the others, `tests/tidy/codes.rs` looks after.

use crate::limits::fall_behind;
use crate::support::status::{RESYNCHRONIZING, TRACKING};
use crate::support::wait::secs;
use crate::support::{Cluster, wait_for};
use serde_json::Value;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

#[test]
fn what_a_situation_forbids_is_refused_with_its_code_and_changes_nothing() {
    let cluster = Cluster::new(2);
    fall_behind(&cluster, 0, 2_500);
    fall_behind(&cluster, 1, 10);
    some_is_done_and_the_rest_is_named(&cluster);
    another_cluster_s_plan_is_not_applied(&cluster);
    a_copy_that_does_not_fit_is_not_begun(&cluster);
    nothing_is_started_beside_a_process_that_cannot_be_killed(&cluster);
    a_pair_that_is_being_copied_is_left_alone(&cluster);
    nothing_is_begun_while_a_stop_waits_for_sessions(&cluster);
    without_a_coordinator_nothing_is_begun(&cluster);
}

fn some_is_done_and_the_rest_is_named(cluster: &Cluster) {
    let host = cluster.status().pair(0).mirror.host;
    cluster.eval(&format!("maintenance(\"{host}\", \"10m\", \"disk swap\")")).ok();
    cluster.eval_yes("recover()").exits(5).says("in_maintenance");
    assert_eq!(cluster.status().pair(0).letters(), TRACKING);
    cluster.eval(&format!("maintenance(\"{host}\", \"0s\", \"done\")")).ok();
}

fn another_cluster_s_plan_is_not_applied(cluster: &Cluster) {
    cluster.eval("plan_recover().save(\"plan.json\")").ok();
    let path = cluster.place().path().join("plan.json");
    let mut saved: Value = serde_json::from_str(&fs::read_to_string(&path).expect("it was saved")).expect("JSON");
    saved["plans"][0]["cluster_id"] = "somebody else's".into();
    fs::write(&path, saved.to_string()).expect("it is ours");
    cluster.segsh(&["apply", "plan.json", "--yes"]).exits(4).says("other_cluster");
    assert_eq!(cluster.status().pair(0).letters(), TRACKING);
}

/// The acting primary's file is made longer than the disk has room, by a hole: it costs nothing, and SQLite
/// reads no further than its own header says.
fn a_copy_that_does_not_fit_is_not_begun(cluster: &Cluster) {
    let pair = cluster.status().pair(0);
    let path = Path::new(&pair.primary.datadir).join("main.db");
    let file = OpenOptions::new().write(true).open(&path).expect("a primary has its file");
    let length = file.metadata().expect("an open file has a length").len();
    let disk = rustix::fs::statvfs(&path).expect("a file is on a disk");
    file.set_len(length + 2 * disk.f_bavail * disk.f_frsize).expect("a hole takes no room");
    let full = ["full-recover", "--dbids", &pair.mirror.dbid.to_string(), "--yes=full_recover"];
    let refused = cluster.segsh(&full);
    file.set_len(length).expect("it was as long before");
    refused.exits(4).says("no_space").says("next: free space on ");
    assert_eq!(cluster.status().pair(0).letters(), TRACKING);
}

/// A process in the middle of a system call that never returns: it is killed and stays, with its lock.
struct Unkillable {
    _lock: File,
    named: Child,
}

impl Unkillable {
    /// The lock of a data directory is held here, and its file names somebody who can be killed.
    fn in_directory(datadir: &str) -> Unkillable {
        let named = Command::new("sleep").arg("1000").spawn().expect("sleep runs");
        let path = Path::new(datadir).join("lock");
        let lock = OpenOptions::new().write(true).open(path).expect("a data directory has its lock file");
        lock.try_lock().expect("nobody holds the lock of a process that was killed");
        let stat = fs::read_to_string(format!("/proc/{}/stat", named.id())).expect("it runs");
        let fields = stat.rsplit_once(") ").map(|(_, rest)| rest.split(' ').collect::<Vec<_>>());
        let started = fields.and_then(|f| f.get(19).copied()).expect("proc(5) has the start time").to_owned();
        lock.write_all_at(format!("{} {started}\n", named.id()).as_bytes(), 0).expect("it is ours");
        Unkillable { _lock: lock, named }
    }
}

impl Drop for Unkillable {
    fn drop(&mut self) {
        let _ = self.named.kill();
        let _ = self.named.wait();
    }
}

fn nothing_is_started_beside_a_process_that_cannot_be_killed(cluster: &Cluster) {
    let mirror = cluster.status().pair(0).mirror;
    let unkillable = Unkillable::in_directory(&mirror.datadir);
    cluster.eval_yes("recover()").exits(4).says("cannot_stop").says("end the process on ");
    drop(unkillable);
    assert_eq!(cluster.status().pair(0).mirror.status, "d");
}

fn a_pair_that_is_being_copied_is_left_alone(cluster: &Cluster) {
    cluster.eval_yes("recover(#{ wait: false, rate: \"1 MiB/s\" })").ok();
    cluster.wait_for_pair(0, RESYNCHRONIZING, secs(20));
    let refused = cluster.eval_yes("rebalance(#{ contents: 0 })").exits(4).says("not_synchronized");
    assert!(refused.stderr.contains("wait_until(\"synchronized\""), "{}", refused.stderr);
    cluster.eval("wait_until(\"synchronized\", #{ timeout: \"1m\" })").ok();
}

fn nothing_is_begun_while_a_stop_waits_for_sessions(cluster: &Cluster) {
    let mut session = cluster.content(0);
    session.run("begin");
    let mut command = cluster.place().command();
    command.arg("stop").arg(cluster.dir()).args(["--mode", "smart"]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut stop = command.spawn().expect("it runs");
    wait_for("the stop to be under way", secs(20), || cluster.eval("verify()").stderr.contains("stopping"));
    cluster.eval("verify()").exits(4).says("stopping").says("next: segsh stop --mode fast");
    assert!(stop.try_wait().expect("it is ours").is_none(), "a smart stop waits for the session");
    drop(session);
    assert!(stop.wait().expect("it ends").success());
}

fn without_a_coordinator_nothing_is_begun(cluster: &Cluster) {
    cluster.eval("plan_restart(#{ contents: 0 })").says("coordinator_down").says("segsh start");
}
