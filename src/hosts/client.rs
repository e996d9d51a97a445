//! The client of an agent.

use super::carrier::Carrier;
use super::config::SegmentConfig;
use super::host::{Host, HostError, HostFailure, HostReply, HostRequest, Pong};
use super::lock::Fenced;
use super::work::{KILL_WITHIN, START_WITHIN};
use crate::core::ids::Dbid;
use crate::core::operation::Survey;
use crate::net::{Credentials, Endpoint, Framed, Identity, NetError, Purpose, connect};
use async_trait::async_trait;
use std::path::Path;
use std::time::Duration;

/// How long an agent may take to answer what needs no waiting.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// How long it may take for what writes to the disk.
pub(super) const WORK_WITHIN: Duration = Duration::from_secs(30);
/// On top of what the agent itself waits for.
const MARGIN: Duration = Duration::from_secs(2);

/// A host by its agent. Each call has its own connection, so calls never wait for each other.
#[derive(Debug, Clone)]
pub struct AgentHost {
    name: String,
    at: Endpoint,
    me: Credentials,
}

impl AgentHost {
    /// The agent of host `name`, listening at `at`; `me` is who asks.
    pub fn new(name: impl Into<String>, at: Endpoint, me: Credentials) -> AgentHost {
        AgentHost { name: name.into(), at, me }
    }

    /// Where the agent listens.
    pub fn endpoint(&self) -> &Endpoint {
        &self.at
    }
}

#[async_trait]
impl Carrier for AgentHost {
    fn host_name(&self) -> &str {
        &self.name
    }

    async fn carry(&self, request: HostRequest, within: Duration) -> Result<HostReply, NetError> {
        let exchange = async {
            let there = Identity::Host(self.name.clone());
            let (stream, _) = connect(&self.at, &self.me, Purpose::Host, Some(&there), ANSWER_WITHIN).await?;
            let mut framed = Framed::new(stream);
            framed.send(&request).await?;
            framed.recv().await
        };
        tokio::time::timeout(within, exchange).await.unwrap_or(Err(NetError::Timeout { within }))
    }
}

#[async_trait]
impl<C: Carrier> Host for C {
    fn name(&self) -> &str {
        self.host_name()
    }

    async fn ping(&self) -> Result<Pong, HostError> {
        match self.ask(HostRequest::Ping, ANSWER_WITHIN).await? {
            HostReply::Pong { pong } => Ok(pong),
            reply => Err(self.unexpected(&reply)),
        }
    }

    async fn start_segment(&self, config: &SegmentConfig) -> Result<u32, HostError> {
        let request = HostRequest::StartSegment { config: config.clone() };
        match self.ask(request, START_WITHIN + MARGIN).await? {
            HostReply::Started { pid } => Ok(pid),
            reply => Err(self.unexpected(&reply)),
        }
    }

    async fn kill_segment(&self, datadir: &Path) -> Result<Fenced, HostError> {
        let request = HostRequest::KillSegment { datadir: datadir.into() };
        match self.ask(request, KILL_WITHIN + MARGIN).await? {
            HostReply::Fenced { fenced } => Ok(fenced),
            reply => Err(self.unexpected(&reply)),
        }
    }

    async fn segment_pid(&self, datadir: &Path) -> Result<Option<u32>, HostError> {
        let request = HostRequest::SegmentPid { datadir: datadir.into() };
        match self.ask(request, ANSWER_WITHIN).await? {
            HostReply::Pid { pid } => Ok(pid),
            reply => Err(self.unexpected(&reply)),
        }
    }

    async fn free_bytes(&self, path: &Path) -> Result<u64, HostError> {
        match self.ask(HostRequest::FreeBytes { path: path.into() }, ANSWER_WITHIN).await? {
            HostReply::Bytes { bytes } => Ok(bytes),
            reply => Err(self.unexpected(&reply)),
        }
    }

    async fn make_dir(&self, datadir: &Path) -> Result<(), HostError> {
        self.order(HostRequest::MakeDir { datadir: datadir.into() }).await
    }

    async fn remove_dir(&self, datadir: &Path) -> Result<(), HostError> {
        self.order(HostRequest::RemoveDir { datadir: datadir.into() }).await
    }

    async fn remove_identity(&self, datadir: &Path) -> Result<(), HostError> {
        self.order(HostRequest::RemoveIdentity { datadir: datadir.into() }).await
    }

    async fn name_copy(&self, datadir: &Path, sibling: &Path) -> Result<(), HostError> {
        self.order(HostRequest::NameCopy { datadir: datadir.into(), sibling: sibling.into() }).await
    }

    async fn replace_copy(&self, datadir: &Path, sibling: &Path) -> Result<(), HostError> {
        self.order(HostRequest::ReplaceCopy { datadir: datadir.into(), sibling: sibling.into() }).await
    }

    async fn write_segment_config(&self, config: &SegmentConfig) -> Result<(), HostError> {
        self.order(HostRequest::WriteSegmentConfig { config: config.clone() }).await
    }

    async fn stop(&self, kill_segments: bool) -> Result<u32, HostError> {
        match self.ask(HostRequest::Stop { kill_segments }, WORK_WITHIN).await? {
            HostReply::Stopping { killed } => Ok(killed),
            reply => Err(self.unexpected(&reply)),
        }
    }

    async fn survey(&self, datadir: &Path, dbid: Dbid, ports: &[u16]) -> Result<Survey, HostError> {
        let request = HostRequest::Survey { datadir: datadir.into(), dbid, ports: ports.to_vec() };
        match self.ask(request, ANSWER_WITHIN).await? {
            HostReply::Surveyed { survey } => Ok(survey),
            reply => Err(self.unexpected(&reply)),
        }
    }
}

impl HostFailure {
    /// Whether the process is there and stays there: nothing may be started in its place (R7).
    pub fn cannot_kill(&self) -> bool {
        matches!(self, HostFailure::CannotKill { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::ids::Content;
    use crate::core::operation::Holds;
    use crate::hosts::{Agent, AgentConfig, IDENTITY_FILE, ProcessId, holder, testing};
    use crate::net::ClusterKey;
    use std::fs;
    use std::path::PathBuf;

    struct Site {
        root: tempfile::TempDir,
        dir: PathBuf,
        key: ClusterKey,
    }

    impl Site {
        fn new() -> Site {
            let root = tempfile::tempdir().unwrap();
            let dir = root.path().canonicalize().unwrap().join("sdw1");
            fs::create_dir(&dir).unwrap();
            let key = ClusterKey::create(&root.path().join("key")).unwrap();
            let config = AgentConfig {
                cluster_id: "id".into(),
                cluster: "test".into(),
                host: "sdw1".into(),
                address: "127.0.0.1".into(),
                port: 0,
                key_file: root.path().join("key"),
                log_dir: root.path().into(),
                program: Some(testing::segment_program()),
                roots: Vec::new(),
            };
            config.store(&dir).unwrap();
            Site { root, dir, key }
        }

        async fn agent(&self) -> (AgentHost, tokio::task::JoinHandle<()>) {
            let agent = Agent::bind(&self.dir).await.unwrap();
            let at = Endpoint::new("127.0.0.1", agent.port().unwrap());
            let me = Credentials::new(self.key.clone(), Identity::Client);
            (AgentHost::new("sdw1", at, me), tokio::spawn(async move { agent.serve().await }))
        }

        fn segment(&self, name: &str) -> SegmentConfig {
            SegmentConfig {
                cluster_id: "id".into(),
                cluster: "test".into(),
                dbid: Dbid(2),
                content: Content(0),
                host: "sdw1".into(),
                address: "127.0.0.1".into(),
                port: 6002,
                replication_port: 8002,
                datadir: self.dir.join(name),
                socket_dir: self.root.path().into(),
                key_file: self.root.path().join("key"),
                drill: true,
                preferred_role: None,
            }
        }
    }

    fn failure<T>(result: Result<T, HostError>) -> HostFailure {
        match result {
            Err(HostError::Failed { failure, .. }) => failure,
            Err(other) => panic!("{other}"),
            Ok(_) => panic!("it was done"),
        }
    }

    #[tokio::test]
    async fn a_segment_starts_is_seen_is_not_started_twice_and_is_killed() {
        let site = Site::new();
        let (host, _agent) = site.agent().await;
        let config = site.segment("c0-2");
        host.make_dir(&config.datadir).await.unwrap();
        assert_eq!(host.segment_pid(&config.datadir).await.unwrap(), None);
        let pid = host.start_segment(&config).await.unwrap();
        assert_eq!(SegmentConfig::load(&config.datadir).unwrap(), config);
        assert_eq!(host.segment_pid(&config.datadir).await.unwrap(), Some(pid));
        let pong = host.ping().await.unwrap();
        assert_eq!((pong.pid, pong.pid_of(&config.datadir)), (std::process::id(), Some(pid)));
        assert_eq!(
            failure(host.start_segment(&config).await),
            HostFailure::Running { datadir: config.datadir.clone(), pid: Some(pid) }
        );
        assert_eq!(host.kill_segment(&config.datadir).await.unwrap(), Fenced::Killed);
        assert_eq!(host.kill_segment(&config.datadir).await.unwrap(), Fenced::WasNotRunning);
        assert_eq!(host.segment_pid(&config.datadir).await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_segment_that_fails_says_why_in_its_own_words() {
        let site = Site::new();
        let (host, _agent) = site.agent().await;
        let config = site.segment("c0-2");
        host.make_dir(&config.datadir).await.unwrap();
        fs::write(config.datadir.join("fail"), "").unwrap();
        let why = "the test said: fail".into();
        let datadir = config.datadir.clone();
        assert_eq!(failure(host.start_segment(&config).await), HostFailure::DidNotStart { datadir, why });
    }

    #[tokio::test]
    async fn segments_outlive_their_agent_and_the_next_one_finds_them() {
        let site = Site::new();
        let (host, agent) = site.agent().await;
        let config = site.segment("c0-2");
        host.make_dir(&config.datadir).await.unwrap();
        let pid = host.start_segment(&config).await.unwrap();
        assert_eq!(host.stop(false).await.unwrap(), 0);
        agent.await.unwrap();
        assert!(matches!(host.ping().await, Err(HostError::Unreachable { .. })));
        assert_eq!(holder(&config.datadir).map(ProcessId::pid), Some(pid));
        let (host, agent) = site.agent().await;
        assert_eq!(host.ping().await.unwrap().pid_of(&config.datadir), Some(pid));
        assert_eq!(host.stop(true).await.unwrap(), 1);
        agent.await.unwrap();
        assert_eq!(holder(&config.datadir), None);
    }

    #[tokio::test]
    async fn a_new_copy_takes_the_name_of_one_without_identity_once_while_a_process_lives_in_it() {
        let site = Site::new();
        let (host, _agent) = site.agent().await;
        let old = site.segment("c0-2");
        let new = old.on_new_copy();
        for config in [&old, &new] {
            host.make_dir(&config.datadir).await.unwrap();
        }
        fs::write(old.datadir.join("old"), "").unwrap();
        let pid = host.start_segment(&new).await.unwrap();
        assert!(matches!(
            failure(host.remove_dir(&new.datadir).await),
            HostFailure::Running { pid: Some(p), .. } if p == pid
        ));
        for identity in [old.datadir.join(IDENTITY_FILE), new.datadir.join(IDENTITY_FILE)] {
            fs::write(identity, "").unwrap();
        }
        host.name_copy(&old.datadir, &new.datadir).await.unwrap();
        assert!(old.datadir.join("old").exists(), "the old copy has an identity: the name is its own");
        host.remove_identity(&old.datadir).await.unwrap();
        for _ in 0..2 {
            host.name_copy(&old.datadir, &new.datadir).await.unwrap();
            assert!(new.datadir.join("old").exists());
        }
        host.write_segment_config(&old).await.unwrap();
        assert_eq!(host.segment_pid(&old.datadir).await.unwrap(), Some(pid));
        host.remove_dir(&new.datadir).await.unwrap();
        host.remove_dir(&new.datadir).await.unwrap();
        assert!(!new.datadir.exists());
        assert_eq!(SegmentConfig::load(&old.datadir).unwrap(), old);
        host.kill_segment(&old.datadir).await.unwrap();
    }

    #[tokio::test]
    async fn a_survey_says_what_is_in_a_segment_s_way_and_changes_nothing() {
        let site = Site::new();
        let (host, _agent) = site.agent().await;
        let config = site.segment("c0-2");
        let held = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let taken = held.local_addr().unwrap().port();
        let survey = async |dbid| host.survey(&config.datadir, Dbid(dbid), &[taken]).await.unwrap();
        let seen = survey(2).await;
        assert_eq!((seen.holds, seen.ports_taken.as_slice()), (Holds::Nothing, &[taken][..]));
        assert!(seen.free_bytes > 0 && !config.datadir.exists());
        drop(held);
        host.make_dir(&config.datadir).await.unwrap();
        assert_eq!((survey(2).await.holds, survey(2).await.ports_taken), (Holds::Nothing, vec![]));
        host.write_segment_config(&config).await.unwrap();
        assert_eq!((survey(2).await.holds, survey(3).await.holds), (Holds::FormerCopy, Holds::Other));
        let elsewhere = site.root.path().canonicalize().unwrap().join("other");
        assert!(matches!(failure(host.survey(&elsewhere, Dbid(2), &[]).await), HostFailure::NotMine { .. }));
    }

    #[tokio::test]
    async fn nothing_outside_the_hosts_directory_is_touched() {
        let site = Site::new();
        let (host, _agent) = site.agent().await;
        let outside = site.root.path().canonicalize().unwrap().join("other");
        fs::create_dir(&outside).unwrap();
        std::os::unix::fs::symlink(&outside, site.dir.join("link")).unwrap();
        for path in [
            outside.clone(),
            site.dir.clone(),
            site.dir.join("../other"),
            site.dir.join("c0-2/deeper"),
            site.dir.join("link"),
            "other".into(),
        ] {
            for failure in [
                failure(host.remove_dir(&path).await),
                failure(host.kill_segment(&path).await),
                failure(host.name_copy(&path, &site.dir.join("c0-2")).await),
            ] {
                assert!(matches!(failure, HostFailure::NotMine { .. }), "{failure}");
            }
        }
        assert!(outside.exists());
    }

    #[tokio::test]
    async fn a_segment_of_another_host_is_not_started() {
        let site = Site::new();
        let (host, _agent) = site.agent().await;
        let config = SegmentConfig { host: "sdw2".into(), ..site.segment("c0-2") };
        host.make_dir(&config.datadir).await.unwrap();
        let failure = failure(host.start_segment(&config).await);
        assert!(matches!(failure, HostFailure::NotMine { .. }), "{failure}");
    }

    #[tokio::test]
    async fn free_bytes_are_told_for_a_directory_that_is_yet_to_be_made() {
        let site = Site::new();
        let (host, _agent) = site.agent().await;
        assert!(host.free_bytes(&site.dir.join("c9-9/deeper")).await.unwrap() > 0);
    }

    #[tokio::test]
    async fn a_stranger_gets_no_answer() {
        let site = Site::new();
        let (host, _agent) = site.agent().await;
        let stranger = Credentials::new(ClusterKey::from_bytes(&[0; 32]), Identity::Client);
        let host = AgentHost::new("sdw1", host.at.clone(), stranger);
        let error = host.ping().await.unwrap_err();
        assert!(matches!(error, HostError::Unreachable { cause: NetError::WrongKey, .. }));
    }

    #[tokio::test]
    async fn every_reason_why_an_agent_does_not_answer_is_told_from_the_others() {
        let site = Site::new();
        let (host, _agent) = site.agent().await;
        // The system takes its connections, and nobody ever answers one.
        let hung = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let cause = async |address: &str, port: u16| {
            let me = Credentials::new(site.key.clone(), Identity::Client);
            match AgentHost::new("sdw1", Endpoint::new(address, port), me).ping().await {
                Ok(_) => "",
                Err(HostError::Unreachable { cause, .. }) => cause.cause(),
                Err(HostError::Failed { failure, .. }) => panic!("{failure}"),
            }
        };
        assert_eq!(cause("127.0.0.1", host.at.port).await, "");
        // A label of 64 letters is no name, whoever is asked.
        assert_eq!(cause(&"a".repeat(64), 5001).await, "name");
        // A broadcast address: the system has no way to connect there, and nothing leaves the loopback device.
        assert_eq!(cause("127.255.255.255", 5001).await, "route");
        assert_eq!(cause("127.0.0.1", 1).await, "refused");
        assert_eq!(cause("127.0.0.1", hung.local_addr().unwrap().port()).await, "timeout");
    }

    #[tokio::test]
    async fn a_directory_has_one_agent() {
        let site = Site::new();
        let (_host, _agent) = site.agent().await;
        let error = Agent::bind(&site.dir).await.unwrap_err();
        assert!(error.to_string().contains("is in use by process"), "{error}");
    }
}
