//! The life of a cluster's processes, with real agents and keepers, and stand-ins for segments.

#[path = "over_ssh/tests.rs"]
mod over_ssh;
#[allow(dead_code)]
#[path = "support/processes.rs"]
mod processes;
#[path = "support/sshd.rs"]
mod sshd;
#[allow(dead_code)]
#[path = "support/wait.rs"]
mod wait;

use segsh::cluster::request::{Owner, Reply, Request};
use segsh::cluster::{Outcome, OutcomeStatus, Progressing};
use segsh::cluster_dir::{
    ClusterDirError, ClusterHandle, Demo, InitOptions, destroy, init, open, start, start_host, start_processes, stop,
    stop_host,
};
use segsh::core::ids::Content;
use segsh::core::report::StopMode;
use segsh::hosts::{DirLock, ProcessId, holder};
use segsh::net::{Framed, Identity, Purpose, accept};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::net::TcpListener;

const LONG: Duration = Duration::from_secs(20);

/// A directory with the program that the cluster's processes run: the real one for agents and
/// keepers, a stand-in for segments and coordinators.
struct Site {
    root: tempfile::TempDir,
    program: PathBuf,
}

impl Site {
    fn new() -> Site {
        let root = tempfile::tempdir().unwrap();
        let program = root.path().join("program");
        let stand_in = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/stand-in/program.sh");
        symlink(stand_in, &program).unwrap();
        symlink(env!("CARGO_BIN_EXE_segsh"), root.path().join("segsh")).unwrap();
        Site { root, program }
    }

    fn options(&self) -> InitOptions {
        InitOptions { program: Some(self.program.clone()), ..InitOptions::default() }
    }

    fn init(&self, drill: bool) -> Cluster {
        let dir = self.root.path().join("prod");
        let options = InitOptions { drill, ..self.options() };
        Cluster(init(&dir, &options, &|_| Ok(()), &|_| Ok(())).unwrap())
    }
}

/// A cluster whose processes do not outlive the test, however that ends.
struct Cluster(ClusterHandle);

impl Drop for Cluster {
    fn drop(&mut self) {
        if self.0.dir().exists() {
            // It waits for nobody unless a host is on another machine.
            let ended = futures::FutureExt::now_or_never(destroy(self.0.dir()));
            assert!(matches!(ended, Some(Ok(()))) || std::thread::panicking(), "{ended:?}");
        }
    }
}

impl std::ops::Deref for Cluster {
    type Target = ClusterHandle;

    fn deref(&self) -> &ClusterHandle {
        &self.0
    }
}

fn owner() -> Owner {
    Owner { user: "u".into(), host: "h".into(), pid: 1, ..Owner::default() }
}

fn done(verb: &str) -> Outcome {
    Outcome {
        verb: verb.into(),
        status: OutcomeStatus::Done,
        op: Some(1),
        segments: Vec::new(),
        refusals: Vec::new(),
        elapsed_ms: 1,
        message: String::new(),
        next: String::new(),
    }
}

/// A coordinator of this test: holds the lock, and answers one request with progress and an end.
struct Coordinator {
    listener: TcpListener,
    lock: DirLock,
}

impl Coordinator {
    async fn of(handle: &ClusterHandle) -> Coordinator {
        let to = handle.control_endpoint();
        Coordinator {
            listener: TcpListener::bind((to.address.as_str(), to.port)).await.unwrap(),
            lock: DirLock::take(&handle.coordinator_dir()).unwrap(),
        }
    }

    /// Serves until one request has been answered; the request.
    async fn serve(self, handle: ClusterHandle) -> Request {
        let me = handle.credentials(Identity::Coordinator).unwrap();
        loop {
            let (stream, _) = self.listener.accept().await.unwrap();
            let (stream, peer) = accept(stream, &me, &[Purpose::Client], LONG).await.unwrap();
            assert_eq!(peer.identity, Identity::Client);
            let mut framed = Framed::new(stream);
            // A client that only looks whether the coordinator answers says nothing.
            let Ok(request) = framed.recv::<Request>().await else {
                continue;
            };
            let now = Progressing { op: 1, elapsed_ms: 1, contents: Vec::new() };
            framed.send(&Reply::Progress { now }).await.unwrap();
            framed.send(&Reply::Ended { outcome: done("x") }).await.unwrap();
            drop(self.lock);
            return request;
        }
    }
}

/// Starts every segment through its agent.
async fn start_segments(handle: &ClusterHandle) -> Vec<ProcessId> {
    let me = handle.credentials(Identity::Coordinator).unwrap();
    let mut started = Vec::new();
    for row in handle.config().segments.iter().filter(|r| r.content != Content::COORDINATOR) {
        let host = handle.host(&row.hostname, &me).unwrap();
        let pid = host.start_segment(&handle.segment_config(row)).await.unwrap();
        assert_eq!(handle.segment_pid(row), Some(pid));
        started.push(ProcessId::of_pid(pid).unwrap());
    }
    started
}

fn agents(handle: &ClusterHandle) -> Vec<ProcessId> {
    handle.config().hosts.iter().map(|h| holder(&h.dir).unwrap()).collect()
}

fn signal(pid: u32, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    rustix::process::kill_process(pid, signal).unwrap();
}

#[tokio::test]
async fn start_takes_over_what_runs_and_starts_the_rest() {
    let site = Site::new();
    let cluster = site.init(false);
    let coordinator = Coordinator::of(&cluster).await;
    let serving = tokio::spawn(coordinator.serve(cluster.0.clone()));
    let started = start_processes(&cluster, &site.program).await.unwrap();
    assert_eq!(started.agents_started, ["sdw1", "sdw2"]);
    assert!(!started.coordinator_started);
    let before = agents(&cluster);
    signal(before[1].pid(), rustix::process::Signal::KILL);
    while before[1].is_alive() {
        tokio::task::yield_now().await;
    }
    let mut steps = 0;
    let outcome = start(&cluster, &site.program, owner(), &mut |_| steps += 1).await.unwrap();
    assert_eq!((outcome.status, steps), (OutcomeStatus::Done, 1));
    assert_eq!(serving.await.unwrap(), Request::Start { owner: owner() });
    let after = agents(&cluster);
    assert_eq!(before[0], after[0]);
    assert_ne!(before[1], after[1]);
}

#[tokio::test]
async fn a_coordinator_that_holds_its_lock_and_says_ready_was_started() {
    let site = Site::new();
    let cluster = site.init(false);
    let started = start_processes(&cluster, &site.program).await.unwrap();
    assert!(started.coordinator_started);
    assert!(cluster.coordinator_pid().is_some());
    // The stand-in never answers: it is named, not waited for, and not killed uninvited.
    let error = stop(&cluster, StopMode::Fast, owner(), &mut |_| {}).await.unwrap_err();
    assert!(matches!(error, ClusterDirError::Hung { .. }), "{error}");
    let stopped = stop(&cluster, StopMode::Immediate, owner(), &mut |_| {}).await.unwrap();
    assert_eq!((stopped.outcome, stopped.agents), (None, 2));
    assert_eq!(cluster.coordinator_pid(), None);
}

#[tokio::test]
async fn stop_goes_through_the_coordinator_and_leaves_nothing_running() {
    let site = Site::new();
    let cluster = site.init(false);
    let coordinator = Coordinator::of(&cluster).await;
    let serving = tokio::spawn(coordinator.serve(cluster.0.clone()));
    start_processes(&cluster, &site.program).await.unwrap();
    let before = agents(&cluster);
    let stopped = stop(&cluster, StopMode::Smart, owner(), &mut |_| {}).await.unwrap();
    assert_eq!(serving.await.unwrap(), Request::Stop { mode: StopMode::Smart, owner: owner(), within_ms: None });
    assert_eq!(stopped.outcome.map(|o| o.status), Some(OutcomeStatus::Done));
    assert_eq!((stopped.agents, stopped.segments_killed), (2, 0));
    assert!(before.iter().all(|p| !p.is_alive()));
    let again = stop(&cluster, StopMode::Fast, owner(), &mut |_| {}).await.unwrap();
    assert!(again.was_stopped());
}

#[tokio::test]
async fn with_the_coordinator_down_stop_still_ends_every_segment() {
    let site = Site::new();
    let cluster = site.init(false);
    drop(Coordinator::of(&cluster).await);
    let _serving = tokio::spawn(Coordinator::of(&cluster).await.serve(cluster.0.clone()));
    start_processes(&cluster, &site.program).await.unwrap();
    _serving.abort();
    let _ = _serving.await;
    let segments = start_segments(&cluster).await;
    // One agent is gone, and a segment hangs: the locks are enough.
    signal(agents(&cluster)[0].pid(), rustix::process::Signal::STOP);
    signal(segments[0].pid(), rustix::process::Signal::STOP);
    let stopped = stop(&cluster, StopMode::Fast, owner(), &mut |_| {}).await.unwrap();
    assert_eq!((stopped.outcome, stopped.agents, stopped.segments_killed), (None, 2, 8));
    assert!(segments.iter().all(|p| !p.is_alive()));
}

#[tokio::test]
async fn a_stopped_host_loses_agent_and_segments_and_a_started_one_only_gets_its_agent() {
    let site = Site::new();
    let cluster = site.init(true);
    let serving = tokio::spawn(Coordinator::of(&cluster).await.serve(cluster.0.clone()));
    start_processes(&cluster, &site.program).await.unwrap();
    start_segments(&cluster).await;
    assert_eq!(stop_host(&cluster, "sdw1").await.unwrap(), 4);
    assert_eq!(cluster.agent_pid("sdw1").unwrap(), None);
    for row in cluster.config().segments.iter().filter(|r| r.content != Content::COORDINATOR) {
        assert_eq!(cluster.segment_pid(row).is_some(), row.hostname == "sdw2");
    }
    assert!(start_host(&cluster, &site.program, "sdw1").await.unwrap());
    assert!(!start_host(&cluster, &site.program, "sdw1").await.unwrap());
    let me = cluster.credentials(Identity::Client).unwrap();
    assert_eq!(cluster.host("sdw1", &me).unwrap().ping().await.unwrap().running, []);
    assert!(matches!(stop_host(&cluster, "sdw9").await, Err(ClusterDirError::NoSuchHost { .. })));
    serving.abort();
    let _ = serving.await;
}

#[tokio::test]
async fn faults_are_refused_where_nobody_asked_for_drills() {
    let site = Site::new();
    let cluster = site.init(false);
    assert!(matches!(stop_host(&cluster, "sdw1").await, Err(ClusterDirError::NotDrill)));
    let started = start_host(&cluster, &site.program, "sdw1").await;
    assert!(matches!(started, Err(ClusterDirError::NotDrill)));
}

#[tokio::test]
async fn an_agent_that_can_not_listen_says_so_in_the_error() {
    let site = Site::new();
    let cluster = site.init(false);
    let host = &cluster.config().hosts[1];
    let _taken = TcpListener::bind((host.address.as_str(), host.agent_port)).await.unwrap();
    let started = start_processes(&cluster, &site.program).await.unwrap();
    let [silent] = started.silent.as_slice() else { panic!("{started:?}") };
    assert_eq!((silent.host.as_str(), started.agents_started.as_slice()), ("sdw2", &["sdw1".to_owned()][..]));
    assert!(silent.cause.contains("the agent of host sdw2 did not start"), "{silent:?}");
    assert!(silent.cause.contains("Address already in use"), "{silent:?}");
    assert!(started.coordinator_started, "one host may be gone");
}

#[tokio::test]
async fn a_cluster_starts_and_stops_without_a_host_whose_directory_is_gone_and_names_it() {
    let site = Site::new();
    let cluster = site.init(false);
    let serving = tokio::spawn(Coordinator::of(&cluster).await.serve(cluster.0.clone()));
    let gone = &cluster.config().hosts[1].dir;
    std::fs::rename(gone, site.root.path().join("unplugged")).unwrap();
    let outcome = start(&cluster, &site.program, owner(), &mut |_| {}).await.unwrap();
    assert_eq!(serving.await.unwrap(), Request::Start { owner: owner() });
    assert_eq!(outcome.status, OutcomeStatus::Partial, "{outcome:?}");
    let [refusal] = outcome.refusals.as_slice() else { panic!("{outcome:?}") };
    assert_eq!(refusal.host.as_deref(), Some("sdw2"));
    // Content 0 and 1 have their mirrors there, 2 and 3 their primaries.
    assert!(refusal.cause.contains("it has dbids 4, 5, 6, 7"), "{refusal:?}");
    assert!(cluster.agent_pid("sdw1").unwrap().is_some());
    let stopped = stop(&cluster, StopMode::Fast, owner(), &mut |_| {}).await.unwrap();
    assert_eq!((stopped.agents, stopped.segments_killed), (1, 0));
    std::fs::rename(site.root.path().join("unplugged"), gone).unwrap();
}

#[tokio::test]
async fn a_host_that_a_drill_has_dead_stays_dead_whoever_starts_the_cluster() {
    let site = Site::new();
    let cluster = site.init(true);
    let serving = tokio::spawn(Coordinator::of(&cluster).await.serve(cluster.0.clone()));
    start_processes(&cluster, &site.program).await.unwrap();
    stop_host(&cluster, "sdw1").await.unwrap();
    stop_host(&cluster, "sdw1").await.unwrap();
    let started = start_processes(&cluster, &site.program).await.unwrap();
    let [silent] = started.silent.as_slice() else { panic!("{started:?}") };
    assert_eq!((silent.host.as_str(), silent.next.as_str()), ("sdw1", "fault::start_host(\"sdw1\")"));
    assert_eq!(cluster.agent_pid("sdw1").unwrap(), None);
    // Nor does an agent serve there that was on its way when the host was stopped.
    let agent = segsh::hosts::Agent::bind(&cluster.config().hosts[0].dir).await;
    assert!(agent.unwrap_err().to_string().contains("stopped by a drill"));
    assert!(start_host(&cluster, &site.program, "sdw1").await.unwrap());
    assert_eq!(start_processes(&cluster, &site.program).await.unwrap().silent, []);
    serving.abort();
    let _ = serving.await;
}

#[tokio::test]
async fn destroy_ends_everything_and_touches_only_a_cluster() {
    let site = Site::new();
    let cluster = site.init(false);
    start_processes(&cluster, &site.program).await.unwrap();
    let mut processes = start_segments(&cluster).await;
    processes.extend(agents(&cluster));
    destroy(cluster.dir()).await.unwrap();
    assert!(!cluster.dir().exists());
    assert!(processes.iter().all(|p| !p.is_alive()));
    assert!(matches!(destroy(cluster.dir()).await, Err(ClusterDirError::Missing { .. })));
    assert!(matches!(destroy(site.root.path()).await, Err(ClusterDirError::NotACluster { .. })));
    assert!(site.program.exists());
}

#[tokio::test]
async fn a_demo_is_gone_with_whoever_holds_its_lifeline() {
    let site = Site::new();
    let demo = Demo::create(&site.program, site.options(), &|_| Ok(()), &|_| Ok(())).unwrap();
    let handle = demo.handle().clone();
    let dir: &Path = handle.dir();
    assert!(open(dir).unwrap().config().demo && handle.config().drill);
    // These processes are started while the lifeline is open: none may inherit it.
    start_processes(&handle, &site.program).await.unwrap();
    let mut processes = start_segments(&handle).await;
    processes.extend(agents(&handle));
    processes.push(holder(&handle.coordinator_dir()).unwrap());
    signal(processes[0].pid(), rustix::process::Signal::STOP);
    for kind in [
        rustix::process::Signal::INT,
        rustix::process::Signal::HUP,
        rustix::process::Signal::TERM,
        rustix::process::Signal::QUIT,
    ] {
        signal(demo.keeper_pid(), kind);
    }
    demo.end().unwrap();
    assert!(!dir.exists());
    assert!(processes.iter().all(|p| !p.is_alive()));
}

#[tokio::test]
async fn agents_are_sessions_of_their_own() {
    let site = Site::new();
    let cluster = site.init(false);
    start_processes(&cluster, &site.program).await.unwrap();
    for agent in agents(&cluster) {
        let pid = rustix::process::Pid::from_raw(i32::try_from(agent.pid()).unwrap());
        assert_eq!(rustix::process::getsid(pid).ok(), pid);
    }
}

#[tokio::test]
async fn a_demo_is_gone_when_its_shell_is_killed() {
    let site = Site::new();
    let cluster = site.init(true);
    // A shell that holds the only writing end of the keeper's standard input.
    let script =
        r#"mkfifo "$0/pipe"; "$0/segsh" demo-keeper --dir "$1" < "$0/pipe" & exec 3> "$0/pipe"; read -r forever"#;
    let mut shell = std::process::Command::new("sh")
        .args(["-c", script])
        .args([site.root.path(), cluster.dir()])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let said = shell.stdout.take().unwrap();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(said), &mut line).unwrap();
    assert_eq!(line, "ready\n");
    start_processes(&cluster, &site.program).await.unwrap();
    let mut processes = start_segments(&cluster).await;
    processes.extend(agents(&cluster));
    shell.kill().unwrap();
    shell.wait().unwrap();
    let since = std::time::Instant::now();
    while cluster.dir().exists() {
        assert!(since.elapsed() < LONG, "the demo is still there");
        tokio::task::yield_now().await;
    }
    assert!(processes.iter().all(|p| !p.is_alive()));
}

#[test]
fn a_host_removes_the_very_file_that_a_segment_is_known_by() {
    assert_eq!(segsh::hosts::IDENTITY_FILE, segsh::engine::META);
}
