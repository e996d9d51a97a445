//! Ctrl-C while a call waits for somebody else: the shell answers at once, and says what is left.

use crate::during_recovery::{await_held, hold};
use crate::support::{Cluster, processes};
use rustix::process::Signal;
use std::io::{BufRead, BufReader, Lines, Read};
use std::process::{Child, ChildStdout, Stdio};
use std::time::{Duration, Instant};

/// Far below what any of the waits would last, far above what a loaded machine needs to end one.
const SOON: Duration = Duration::from_secs(8);

/// A run whose events are read as they come.
struct Running {
    child: Child,
    events: Lines<BufReader<ChildStdout>>,
}

impl Running {
    #[track_caller]
    fn start(cluster: &Cluster, arguments: &[&str]) -> Running {
        let mut command = cluster.place().command();
        command.args(arguments).arg("--ndjson").arg("-c").arg(cluster.dir());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("it runs");
        let events = BufReader::new(child.stdout.take().expect("piped")).lines();
        Running { child, events }
    }

    /// Reads until an event of this name.
    #[track_caller]
    fn until(&mut self, event: &str) {
        let name = format!("\"event\":\"{event}\"");
        let found = self.events.by_ref().map_while(Result::ok).any(|line| line.contains(&name));
        assert!(found, "no event `{event}`");
    }

    fn interrupt(&self) {
        processes::signal(self.child.id(), Signal::INT);
    }

    /// Its exit code and what it said on stderr.
    fn end(mut self) -> (Option<i32>, String) {
        let mut said = String::new();
        self.child.stderr.take().expect("piped").read_to_string(&mut said).expect("UTF-8");
        (self.child.wait().expect("it ends").code(), said)
    }
}

#[test]
fn a_statement_is_cancelled_at_the_server() {
    let cluster = Cluster::new(1);
    // Minutes of work for one core, and nothing but arithmetic.
    let code = "print(\"now\"); sql(0, \"with recursive c(n) as (select 1 union all select n + 1 from c \
                where n < 2000000000) select count(*) from c\")";
    let mut running = Running::start(&cluster, &["-e", code]);
    running.until("print");
    let began = Instant::now();
    running.interrupt();
    let (code, said) = running.end();
    assert_eq!(code, Some(130), "{said}");
    assert!(began.elapsed() < SOON, "it took {:?}: {said}", began.elapsed());
    assert!(said.contains("interrupted"), "{said}");
    // The content is free: nobody computes on.
    cluster.content(0).run("create table after_it(n bigint)");
}

#[test]
fn a_coordinator_that_hangs_holds_nobody() {
    let cluster = Cluster::new(1);
    let coordinator = cluster.status().coordinator.pid.expect("it runs");
    processes::stop(coordinator);
    // Whatever the script wants of the cluster, whether it is there is asked first.
    let mut running = Running::start(&cluster, &["-e", "probe()"]);
    running.until("start");
    let began = Instant::now();
    running.interrupt();
    let (code, said) = running.end();
    processes::resume(coordinator);
    assert_eq!(code, Some(130), "{said}");
    assert!(began.elapsed() < SOON, "it took {:?}: {said}", began.elapsed());
}

#[test]
fn a_restart_of_everything_that_is_cancelled_leaves_it_stopped_and_says_so() {
    let cluster = Cluster::new(1);
    // A smart stop waits for this session.
    let mut session = cluster.content(0);
    session.run("select 1");
    let mut running = Running::start(&cluster, &["--yes=restart", "-e", "restart(#{ mode: \"smart\" })"]);
    running.until("plan");
    running.interrupt();
    drop(session);
    let (code, said) = running.end();
    assert_eq!(code, Some(130), "{said}");
    assert!(said.contains("nothing is started unless its start has begun"), "{said}");
    assert!(!said.contains("operation 0"), "{said}");
    let words = said.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("was not started again"), "{said}");
    cluster.lifecycle("status", &[]).exits(7);
    cluster.lifecycle("start", &[]).ok();
}

#[test]
fn an_operation_whose_coordinator_dies_has_an_end_that_was_not_seen_and_can_be_attached_to() {
    let cluster = Cluster::new(1);
    cluster.fail_over(0);
    hold(&cluster, "data_copy");
    let mut running = Running::start(&cluster, &["--yes", "-e", "recover()"]);
    running.until("progress");
    await_held(&cluster, "data copy");
    processes::kill(cluster.status().coordinator.pid.expect("it runs"));
    let (code, said) = running.end();
    assert_eq!(code, Some(6), "{said}");
    let words = said.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("the end of operation") && words.contains("then attach("), "{said}");
    assert!(words.contains("still running: operation"), "{said}");
}
