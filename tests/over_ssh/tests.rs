//! Hosts that are reached over SSH, by an `sshd` of the test's own.

use super::processes;
use super::sshd::{Sshd, whoami};
use super::{LONG, Site, owner};
use segsh::cluster::{NewHost, OutcomeStatus, SshLogin};
use segsh::cluster_dir::{
    ClusterDirError, ClusterHandle, add_host, destroy, start_host, start_processes, stop, stop_host,
};
use segsh::core::ids::{Content, Dbid};
use segsh::core::report::StopMode;
use segsh::hosts::{Fenced, Host, HostError, HostFailure, Outfit, SegmentConfig, SshHost, SshPlace};
use segsh::net::ClusterKey;
use segsh::segment::identity::{self, create_content};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// A machine with an `sshd` and a directory for what is ours.
struct Machine {
    sshd: Sshd,
    dir: PathBuf,
}

impl Machine {
    fn new(root: &Path, address: &str) -> Machine {
        Machine { sshd: Sshd::start(&root.join("sshd"), address), dir: root.join("it's there") }
    }

    fn place(&self) -> SshPlace {
        SshPlace {
            user: whoami(),
            port: self.sshd.port,
            keys: vec![self.sshd.user_key()],
            known_hosts: self.sshd.known_hosts(),
        }
    }

    fn host(&self, place: SshPlace) -> SshHost {
        SshHost::new("sdw9", self.sshd.address.clone(), &self.dir, place)
    }

    fn new_host(&self) -> NewHost {
        let place = self.place();
        NewHost {
            name: "sdw9".into(),
            address: Some(self.sshd.address.clone()),
            roots: Vec::new(),
            ssh: Some(SshLogin {
                dir: self.dir.clone(),
                user: Some(place.user),
                port: Some(place.port),
                keys: place.keys,
                known_hosts: Some(place.known_hosts),
            }),
        }
    }

    fn outfit(&self, root: &Path) -> Outfit {
        let key_file = root.join("key");
        if !key_file.exists() {
            ClusterKey::create(&key_file).unwrap();
        }
        Outfit {
            cluster_id: "id".into(),
            cluster: "test".into(),
            key_file,
            program: env!("CARGO_BIN_EXE_segsh").into(),
            roots: Vec::new(),
        }
    }

    fn segment(&self) -> SegmentConfig {
        SegmentConfig {
            cluster_id: "id".into(),
            cluster: "test".into(),
            dbid: Dbid(2),
            content: Content(0),
            host: "sdw9".into(),
            address: self.sshd.address.clone(),
            port: 6002,
            replication_port: 8002,
            datadir: self.dir.join("c0-2"),
            // Of the machine that asks: what counts there is the machine's own.
            socket_dir: "/nowhere".into(),
            key_file: "/nowhere/key".into(),
            drill: true,
            preferred_role: None,
        }
    }
}

/// A loopback address that this test has for itself.
fn address(last: u8) -> String {
    let [a, b] = (std::process::id() as u16).to_be_bytes();
    format!("127.{}.{b}.{last}", a % 250 + 2)
}

async fn cause(host: &SshHost) -> &'static str {
    match host.ping().await {
        Ok(_) => "",
        Err(HostError::Unreachable { cause, .. }) => cause.cause(),
        Err(HostError::Failed { failure, .. }) => panic!("{failure}"),
    }
}

#[tokio::test]
async fn a_segment_runs_on_a_host_over_ssh_outlives_the_session_and_is_killed_there() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path().canonicalize().unwrap();
    let mut machine = Machine::new(&root, &address(91));
    let host = machine.host(machine.place());
    assert_eq!(cause(&host).await, "program", "nothing of ours is there yet");
    let outfit = machine.outfit(&root);
    assert!(host.bring_up(&outfit).await.unwrap(), "the program was copied");
    assert!(!host.bring_up(&outfit).await.unwrap(), "it is there already");
    assert_eq!(host.ping().await.unwrap().running, []);

    let config = machine.segment();
    host.make_dir(&config.datadir).await.unwrap();
    let of = |c: &SegmentConfig| identity::Owner {
        cluster_id: "id",
        dbid: c.dbid,
        content: c.content,
        dir: Box::leak(c.datadir.clone().into_boxed_path()),
    };
    create_content(&of(&config), None).unwrap();
    let pid = host.start_segment(&config).await.unwrap();
    assert!(processes::runs(pid));
    let stored = SegmentConfig::load(&config.datadir).unwrap();
    assert_eq!(stored.key_file, machine.dir.join(".segsh/key"));
    assert_eq!(host.ping().await.unwrap().pid_of(&config.datadir), Some(pid));
    let again = host.start_segment(&config).await;
    assert!(
        matches!(again, Err(HostError::Failed { failure: HostFailure::Running { pid: Some(p), .. }, .. }) if p == pid)
    );
    // The machine's sshd goes and comes back: the segment does not notice, the next call does not either.
    machine.sshd.stop();
    assert_eq!(cause(&host).await, "refused");
    machine.sshd.start_again(false);
    assert_eq!(host.segment_pid(&config.datadir).await.unwrap(), Some(pid));
    assert_eq!(host.kill_segment(&config.datadir).await.unwrap(), Fenced::Killed);
    assert!(!processes::runs(pid));
    let outside = host.remove_dir(&root.join("sshd")).await;
    assert!(matches!(outside, Err(HostError::Failed { failure: HostFailure::NotMine { .. }, .. })), "{outside:?}");

    host.start_segment(&config).await.unwrap();
    assert_eq!(host.drill(true).await.unwrap(), 1);
    let dead = host.start_segment(&config).await;
    assert!(matches!(dead, Err(HostError::Failed { failure: HostFailure::Stopped, .. })), "{dead:?}");
    host.drill(false).await.unwrap();
    host.start_segment(&config).await.unwrap();
    host.leave().await.unwrap();
    assert!(!machine.dir.exists());
}

#[tokio::test]
async fn every_reason_why_a_host_over_ssh_can_not_be_reached_is_told_from_the_others() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path().canonicalize().unwrap();
    let mut machine = Machine::new(&root, &address(92));
    let host = machine.host(machine.place());
    host.bring_up(&machine.outfit(&root)).await.unwrap();
    assert_eq!(cause(&host).await, "");

    let at = |address: &str| SshHost::new("sdw9", address, &machine.dir, machine.place());
    // A label of 64 letters is no name, whoever is asked.
    assert_eq!(cause(&at(&"a".repeat(64))).await, "name");
    // A broadcast address: the system has no way to connect there, and nothing leaves the loopback device.
    assert_eq!(cause(&at("127.255.255.255")).await, "route");
    let nobody = SshPlace { port: 1, ..machine.place() };
    assert_eq!(cause(&machine.host(nobody)).await, "refused");
    let another_key = root.join("another_key");
    super::sshd::make_key(&another_key);
    let stranger = SshPlace { keys: vec![another_key], ..machine.place() };
    assert_eq!(cause(&machine.host(stranger)).await, "login");
    let nothing_known = SshPlace { known_hosts: root.join("none"), ..machine.place() };
    let unknown = machine.host(nothing_known);
    let said = unknown.ping().await.unwrap_err().to_string();
    assert!(said.contains("SHA256:") && said.contains("ssh-keyscan"), "{said}");
    assert_eq!(cause(&unknown).await, "host_key_unknown");
    assert!(!root.join("none").exists(), "nothing is accepted silently");

    machine.sshd.hang();
    let since = Instant::now();
    assert_eq!(cause(&host).await, "timeout");
    assert!(since.elapsed() < LONG, "{:?}", since.elapsed());
    machine.sshd.stop();
    machine.sshd.start_again(true);
    assert_eq!(cause(&host).await, "host_key_changed");
    assert_eq!(cause(&host).await, "host_key_changed", "it is not accepted the second time either");
    machine.sshd.trust();
    assert_eq!(cause(&host).await, "");
}

#[tokio::test]
async fn a_directory_that_holds_something_else_is_left_alone() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path().canonicalize().unwrap();
    let mut machine = Machine::new(&root, &address(94));
    let host = machine.host(machine.place());
    let outfit = machine.outfit(&root);
    let refused = async |outfit: &Outfit, host: &SshHost| match host.bring_up(outfit).await {
        Err(HostError::Failed { failure: HostFailure::NotMine { why, .. }, .. }) => why,
        other => panic!("{other:?}"),
    };
    std::fs::create_dir_all(machine.dir.join("photos")).unwrap();
    assert!(refused(&outfit, &host).await.contains("it holds photos"));
    std::fs::remove_dir(machine.dir.join("photos")).unwrap();
    host.bring_up(&outfit).await.unwrap();
    host.bring_up(&outfit).await.unwrap();
    let another = Outfit { cluster_id: "other".into(), ..outfit.clone() };
    assert!(refused(&another, &host).await.contains("it is of host sdw9 of cluster test"));
    let namesake = SshHost::new("sdw8", machine.sshd.address.clone(), &machine.dir, machine.place());
    assert!(refused(&outfit, &namesake).await.contains("it is of host sdw9 of cluster test"));

    std::fs::create_dir(machine.dir.join("photos")).unwrap();
    std::fs::write(machine.dir.join("photos/a.jpg"), "a").unwrap();
    host.make_dir(&machine.segment().datadir).await.unwrap();
    machine.sshd.hang();
    let since = Instant::now();
    assert!(matches!(host.bring_up(&outfit).await, Err(HostError::Unreachable { .. })));
    assert!(since.elapsed() < LONG, "{:?}", since.elapsed());
    machine.sshd.stop();
    machine.sshd.start_again(false);
    host.leave().await.unwrap();
    assert!(machine.dir.join("photos/a.jpg").exists(), "what is not the cluster's stays");
    assert!(!machine.dir.join("agent.json").exists() && !machine.segment().datadir.exists());
}

#[tokio::test]
async fn a_cluster_goes_on_with_a_host_over_ssh_without_it_and_leaves_nothing_there() {
    let site = Site::new();
    let cluster = site.init(true);
    let root = site.root.path().canonicalize().unwrap();
    let mut machine = Machine::new(&root, &address(93));
    let program: PathBuf = env!("CARGO_BIN_EXE_segsh").into();
    let not_let_in = NewHost {
        ssh: Some(SshLogin { known_hosts: Some(root.join("none")), ..machine.new_host().ssh.unwrap() }),
        ..machine.new_host()
    };
    let refused = add_host(&cluster, &program, &not_let_in).await.unwrap_err();
    assert!(matches!(refused, ClusterDirError::Host(_)), "{refused}");
    assert_eq!(cluster.hosts().unwrap().len(), 2, "a host that can't be reached does not join");
    assert!(add_host(&cluster, &program, &machine.new_host()).await.unwrap().is_new);
    assert!(!add_host(&cluster, &program, &machine.new_host()).await.unwrap().is_new);
    let me = cluster.credentials(segsh::net::Identity::Client).unwrap();
    assert_eq!(cluster.host("sdw9", &me).unwrap().ping().await.unwrap().running, []);

    assert_eq!(stop_host(&cluster, "sdw9").await.unwrap(), 0);
    let failure = cluster.host("sdw9", &me).unwrap().ping().await.unwrap_err();
    assert_eq!(failure.failure(), Some(&HostFailure::Stopped));
    start_host(&cluster, &program, "sdw9").await.unwrap();

    machine.sshd.stop();
    let started = start_processes(&cluster, &site.program).await.unwrap();
    let [silent] = started.silent.as_slice() else { panic!("{started:?}") };
    assert!(silent.host == "sdw9" && silent.cause.contains("refused"), "{silent:?}");
    let stopped = stop_all(&cluster).await;
    assert_eq!(stopped, OutcomeStatus::Partial, "nobody knows what runs on a host that does not answer");
    let kept = destroy(cluster.dir()).await.unwrap_err();
    assert!(kept.to_string().contains("sdw9") && cluster.dir().exists(), "{kept}");
    machine.sshd.start_again(false);
    destroy(cluster.dir()).await.unwrap();
    assert!(!machine.dir.exists() && !cluster.dir().exists());
}

/// Stops a cluster whose coordinator is a stand-in that answers nobody.
async fn stop_all(cluster: &ClusterHandle) -> OutcomeStatus {
    let stopped = stop(cluster, StopMode::Immediate, owner(), &mut |_| {}).await;
    stopped.unwrap().outcome.expect("a host is silent").status
}
