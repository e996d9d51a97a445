//! A cluster of stand-in segments for the coordinator's tests: they speak the control protocol over
//! real connections and follow the rules of a segment, without data.

use super::places::Hosts;
use super::site::{HostPlace, Site};
use super::store::{CATALOG_FILE, Store};
use crate::core::backup::Cause;
use crate::core::ids::{Content, CopyId, Dbid, Epoch};
use crate::core::operation::{Holds, Survey};
use crate::core::report::{
    CopyState, FromSegment, MirrorLoss, Order, Phase, Report, Soundness, ToSegment, Verification, VerifyStage,
};
use crate::core::row::{Mode, Place, Role, SegmentRow, Status};
use crate::hosts::{Fenced, Host, HostError, HostFailure, NEW_COPY_SUFFIX, Pong, Running, SegmentConfig};
use crate::net::{ClusterKey, Credentials, Framed, Identity, NetError, Purpose, accept};
use async_trait::async_trait;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::AbortHandle;

pub mod doom;

pub const KEY: [u8; 32] = [7; 32];

/// What stands in for a data directory.
#[derive(Debug, Clone)]
pub struct Dir {
    pub copy: CopyState,
    pub bound: Option<CopyState>,
    pub epoch: Epoch,
    pub consistent: bool,
    /// Whether it holds what says which copy it is.
    pub has_identity: bool,
}

pub struct Proc {
    pub report: Report,
    pub datadir: PathBuf,
    pub host: String,
    news: watch::Sender<u64>,
    tasks: Vec<AbortHandle>,
    stopped: bool,
}

#[derive(Default)]
pub struct Inner {
    pub procs: BTreeMap<Dbid, Proc>,
    pub dirs: BTreeMap<PathBuf, Dir>,
    pub down_hosts: Vec<String>,
    /// Processes that run in a directory of a host and that nobody knows any more.
    pub strays: Vec<(String, Running)>,
    /// Ports on which somebody else listens.
    pub ports_taken: Vec<u16>,
    /// A recovery does not get in sync while this is set.
    pub hold_copies: bool,
    pub orders: Vec<(Dbid, Order)>,
    /// Segments that do not stop when they are asked, and which were asked.
    pub stubborn: Vec<Dbid>,
    pub asked_to_stop: Vec<Dbid>,
    /// What a comparison finds, what is judged of it, and whether either comes to its end.
    pub differing_blocks: u64,
    pub damage: Option<String>,
    pub hold_verify: bool,
    /// So many barriers are missed, because a hold ends by itself; and what a backup's stream ends with.
    pub late_holds: u32,
    pub stream_ends: Option<Cause>,
    /// The segment that takes no backup on; and whether one that does says so only when that is lifted.
    pub fill_fails: Option<Dbid>,
    pub hold_fills: bool,
    /// How often hosts were asked what runs there.
    pub pings: u64,
    next_pid: u32,
    next_copy: u128,
}

#[derive(Clone, Default)]
pub struct World(pub Arc<Mutex<Inner>>);

/// One content, two hosts, on ports of the system's choice.
pub struct Cluster {
    pub world: World,
    pub rows: Vec<SegmentRow>,
    pub site: Site,
    pub hosts: Hosts,
    _dir: tempfile::TempDir,
}

pub fn row(dbid: i64, content: i64, role: Role, port: u16, host: &str) -> SegmentRow {
    SegmentRow {
        dbid: Dbid(dbid),
        content: Content(content),
        role,
        preferred_role: role,
        mode: Mode::Synchronized,
        status: Status::Up,
        port,
        hostname: host.into(),
        address: "127.0.0.1".into(),
        replication_port: (content >= 0).then_some(1),
        datadir: format!("/{host}/c{content}-{dbid}"),
    }
}

impl Cluster {
    /// As many pairs, all of them synchronized by the catalog, and nothing running.
    pub fn new(pairs: i64) -> Cluster {
        Cluster::patient(pairs, "300ms")
    }

    /// Whose segments have this long to answer: for tests that make more work than the machine can do at once.
    pub fn patient(pairs: i64, probe_timeout: &str) -> Cluster {
        let dir = tempfile::tempdir().expect("a directory");
        let mut rows = vec![row(1, -1, Role::Primary, 5432, "cdw")];
        let address = own_address();
        let at = |row: SegmentRow| SegmentRow { address: address.clone(), ..row };
        // Each is held until all are chosen: the system may give one that is free again a second time.
        let mut held = Vec::new();
        for content in 0..pairs {
            rows.push(at(row(2 + content, content, Role::Primary, free_port(&address, &mut held), "sdw1")));
            rows.push(at(row(2 + pairs + content, content, Role::Mirror, free_port(&address, &mut held), "sdw2")));
        }
        drop(held);
        let fast = [("gp_fts_probe_interval", "200ms"), ("gp_fts_probe_timeout", probe_timeout)];
        let fast: Vec<_> = fast.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect();
        Store::create(&dir.path().join(CATALOG_FILE), &rows, &fast).expect("a catalog");
        let world = World::default();
        world.format(&rows);
        let site = Site {
            cluster: "test".into(),
            cluster_id: "id".into(),
            drill: true,
            dir: dir.path().into(),
            host: "cdw".into(),
            address: "127.0.0.1".into(),
            control_port: 0,
            pg_port: 5432,
            socket_dir: dir.path().into(),
            key_file: dir.path().join("key"),
            key: ClusterKey::from_bytes(&KEY),
        };
        let host = |name: &str| -> (HostPlace, Arc<dyn Host>) {
            let place = HostPlace {
                name: name.into(),
                address: address.clone(),
                agent_port: 1,
                dir: PathBuf::new(),
                ssh: None,
                roots: vec![format!("/{name}").into()],
            };
            (place, Arc::new(StandIn { name: name.into(), world: world.clone() }))
        };
        // Nothing is on the third one.
        let hosts = vec![host("sdw1"), host("sdw2"), host("sdw3")];
        Cluster { world, rows, site, hosts, _dir: dir }
    }
}

/// An address that no other cluster of any test process has, so that no two ever meet on a port.
fn own_address() -> String {
    static CLUSTERS: AtomicU32 = AtomicU32::new(0);
    let number = std::process::id().wrapping_mul(512).wrapping_add(CLUSTERS.fetch_add(1, Ordering::Relaxed));
    // Neither 0 nor 255 stands last, and no two numbers for one address.
    let (c, d) = (number / 254 % 256, number % 254 + 1);
    format!("127.{}.{c}.{d}", number / 254 / 256 % 254 + 1)
}

fn free_port(address: &str, held: &mut Vec<std::net::TcpListener>) -> u16 {
    let listener = std::net::TcpListener::bind((address, 0)).expect("a port");
    let port = listener.local_addr().expect("an address").port();
    held.push(listener);
    port
}

impl Cluster {
    /// A place for a segment on the third host.
    pub fn spare_place(&self, row: &SegmentRow) -> Place {
        let port = free_port(&row.address, &mut Vec::new());
        Place {
            hostname: "sdw3".into(),
            address: row.address.clone(),
            port,
            replication_port: port + 1,
            datadir: format!("/sdw3/c{}-{}", row.content, row.dbid),
        }
    }
}

impl World {
    pub fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().expect("no panic while it is held")
    }

    /// Directories as `init` makes them: each pair's copies know each other.
    fn format(&self, rows: &[SegmentRow]) {
        let copy = |dbid: Dbid| CopyState { copy: CopyId(dbid.0 as u128), generation: Epoch(1) };
        let mut inner = self.lock();
        for row in rows.iter().filter(|r| r.content.0 >= 0) {
            let peer = rows.iter().find(|r| r.content == row.content && r.dbid != row.dbid);
            let bound = peer.map(|p| copy(p.dbid));
            let dir = Dir { copy: copy(row.dbid), bound, epoch: Epoch(1), consistent: true, has_identity: true };
            inner.dirs.insert(PathBuf::from(&row.datadir), dir);
        }
        inner.next_copy = 1000;
    }

    pub async fn start(&self, config: &SegmentConfig) -> u32 {
        // An aborted task lets go of the port only when the runtime drops it.
        let listener = loop {
            match TcpListener::bind((config.address.as_str(), config.port)).await {
                Ok(listener) => break listener,
                Err(_) => tokio::task::yield_now().await,
            }
        };
        let mut inner = self.lock();
        inner.next_pid += 1;
        inner.next_copy += 1;
        let (pid, fresh) = (inner.next_pid, CopyId(inner.next_copy));
        let empty = Dir {
            copy: CopyState { copy: fresh, generation: Epoch(0) },
            bound: None,
            epoch: Epoch(0),
            consistent: false,
            has_identity: true,
        };
        let dir = inner.dirs.entry(config.datadir.clone()).or_insert(empty);
        dir.has_identity = true;
        let dir = dir.clone();
        let report = Report {
            dbid: config.dbid,
            content: config.content,
            pid,
            phase: Phase::Nobody,
            epoch: dir.epoch,
            copy: dir.copy,
            ready: dir.consistent,
            link: None,
            mirror_lost: None,
            sick: None,
            map_unusable: None,
            map_bound_to: dir.bound,
            dirty_blocks: 0,
            data_bytes: 1 << 20,
            free_bytes: 1 << 40,
            progress: None,
            lag: None,
            verification: None,
            soundness: Soundness::Sound,
            damaged_pages: 0,
            held: None,
            release: String::new(),
            sessions: 0,
        };
        let serving = tokio::spawn(serve(self.clone(), config.dbid, listener)).abort_handle();
        let proc = Proc {
            report,
            datadir: config.datadir.clone(),
            host: config.host.clone(),
            news: watch::Sender::new(0),
            tasks: vec![serving],
            stopped: false,
        };
        inner.procs.insert(config.dbid, proc);
        pid
    }

    /// SIGKILL, and what its peer sees of it.
    pub fn kill(&self, dbid: Dbid) -> Option<u32> {
        let mut inner = self.lock();
        let proc = inner.procs.remove(&dbid)?;
        for task in &proc.tasks {
            task.abort();
        }
        inner.link_ended(proc.report.content);
        Some(proc.report.pid)
    }

    fn kill_process(&self, dbid: Dbid, pid: u32) {
        let runs = self.lock().procs.get(&dbid).is_some_and(|p| p.report.pid == pid);
        if runs {
            self.kill(dbid);
        }
    }

    /// SIGSTOP: it answers nothing, and its connections stay.
    pub fn freeze(&self, dbid: Dbid) {
        let mut inner = self.lock();
        if let Some(proc) = inner.procs.get_mut(&dbid) {
            proc.stopped = true;
        }
    }

    pub fn phase(&self, dbid: Dbid) -> Option<Phase> {
        self.lock().procs.get(&dbid).map(|p| p.report.phase)
    }

    /// Ends the link of a pair with both alive.
    pub fn cut_link(&self, content: Content) {
        self.lock().link_ended(content);
    }

    pub fn release_copies(&self) {
        let mut inner = self.lock();
        inner.hold_copies = false;
        inner.copy_all();
    }

    fn obey(&self, dbid: Dbid, order: Order) {
        let mut inner = self.lock();
        let exits = inner.obey(dbid, &order);
        inner.orders.push((dbid, order));
        inner.copy_all();
        drop(inner);
        if exits {
            self.kill(dbid);
        }
    }
}

impl Inner {
    fn push(&self, dbid: Dbid) {
        if let Some(proc) = self.procs.get(&dbid) {
            proc.news.send_modify(|v| *v += 1);
        }
    }

    /// A process that was nobody holds this copy now, and may serve.
    pub fn filled(&mut self, dbid: Dbid, copy: CopyId) {
        let Some(proc) = self.procs.get_mut(&dbid) else { return };
        let copy = CopyState { copy, generation: Epoch(0) };
        (proc.report.copy, proc.report.ready) = (copy, true);
        let dir = Dir { copy, bound: None, epoch: Epoch(0), consistent: true, has_identity: true };
        self.dirs.insert(proc.datadir.clone(), dir);
        self.push(dbid);
    }

    fn link_ended(&mut self, content: Content) {
        for proc in self.procs.values_mut().filter(|p| p.report.content == content && p.report.link.is_some()) {
            proc.report.link = None;
            if matches!(proc.report.phase, Phase::InSync | Phase::Resynchronizing) {
                proc.report.phase = Phase::Suspended;
                proc.report.mirror_lost = Some(MirrorLoss::LinkClosed("end of stream".into()));
            }
            proc.news.send_modify(|v| *v += 1);
        }
    }

    /// Returns whether the process exits: a primary that is told to be a mirror.
    fn obey(&mut self, dbid: Dbid, order: &Order) -> bool {
        let row = order.row;
        let Some(proc) = self.procs.get_mut(&dbid).filter(|p| row.epoch > p.report.epoch) else {
            return false;
        };
        let report = &mut proc.report;
        let alone = row.primary.mode == Mode::ChangeTracking || row.mirror.is_none();
        match row.role_of(dbid) {
            // One that begins serves alone, with a copy that may.
            Some(Role::Primary) if report.phase == Phase::Nobody && !(alone && report.ready) => return false,
            Some(Role::Primary) => {
                report.phase = match row.primary.mode {
                    Mode::ChangeTracking => Phase::Tracking,
                    Mode::Resynchronizing => Phase::Resynchronizing,
                    Mode::Synchronized => Phase::Mirrorless,
                };
                report.mirror_lost = None;
                report.link = None;
            }
            Some(Role::Mirror) if matches!(report.phase, Phase::Mirror | Phase::Nobody) => {
                if row.primary.mode != Mode::Resynchronizing {
                    return false;
                }
                report.phase = Phase::Mirror;
                report.ready = false;
                report.link = None;
            }
            Some(Role::Mirror) => return true,
            None => return false,
        }
        report.epoch = row.epoch;
        if let Some(dir) = self.dirs.get_mut(&proc.datadir) {
            dir.epoch = row.epoch;
        }
        self.push(dbid);
        false
    }

    /// A comparison is at its end as soon as it begins, unless it is held.
    fn verify(&mut self, dbid: Dbid, op: i64, stage: VerifyStage) {
        let (held, differing_blocks) = (self.hold_verify, self.differing_blocks);
        let Some(proc) = self.procs.get_mut(&dbid) else { return };
        let stage = if stage == VerifyStage::Running && !held { VerifyStage::Ended } else { stage };
        if stage == VerifyStage::Ended && differing_blocks > 0 {
            proc.report.soundness = Soundness::Unjudged;
        }
        proc.report.verification = Some(Verification {
            op,
            stage,
            verified_bytes: 1 << 20,
            total_bytes: 1 << 20,
            differing_blocks: if held { 0 } else { differing_blocks },
            differing: "main.db block 7".into(),
        });
        self.push(dbid);
    }

    fn judge(&mut self, dbid: Dbid) {
        let (held, damage) = (self.hold_verify, self.damage.clone());
        if let Some(proc) = self.procs.get_mut(&dbid).filter(|p| !held && p.report.phase == Phase::Tracking) {
            proc.report.soundness = damage.map_or(Soundness::Sound, |why| Soundness::Damaged { why });
        }
        self.push(dbid);
    }

    /// Every pair whose two sides have obeyed the same recovery gets in sync.
    fn copy_all(&mut self) {
        if self.hold_copies {
            return;
        }
        let copying = |p: &&Proc| p.report.phase == Phase::Resynchronizing;
        let pairs: Vec<_> = self
            .procs
            .values()
            .filter(copying)
            .filter_map(|p| {
                let of_pair = |m: &&Proc| {
                    m.report.content == p.report.content
                        && m.report.phase == Phase::Mirror
                        && m.report.epoch == p.report.epoch
                };
                self.procs.values().find(of_pair).map(|m| (p.report.dbid, m.report.dbid, p.report.epoch))
            })
            .collect();
        for (primary, mirror, epoch) in pairs {
            let bound = self.synced(mirror, epoch, None);
            let of_primary = self.synced(primary, epoch, bound);
            self.synced(mirror, epoch, of_primary);
            if let Some(proc) = self.procs.get_mut(&primary) {
                proc.report.phase = Phase::InSync;
            }
            self.push(primary);
            self.push(mirror);
        }
    }

    fn synced(&mut self, dbid: Dbid, epoch: Epoch, bound: Option<CopyState>) -> Option<CopyState> {
        let proc = self.procs.get_mut(&dbid)?;
        proc.report.copy.generation = epoch;
        proc.report.map_bound_to = bound;
        proc.report.link = Some(epoch);
        proc.report.ready = true;
        let dir = self.dirs.get_mut(&proc.datadir)?;
        *dir = Dir { copy: proc.report.copy, bound, epoch, consistent: true, has_identity: true };
        Some(proc.report.copy)
    }
}

async fn serve(world: World, dbid: Dbid, listener: TcpListener) {
    while let Ok((stream, _)) = listener.accept().await {
        let task = tokio::spawn(converse(world.clone(), dbid, stream)).abort_handle();
        if let Some(proc) = world.lock().procs.get_mut(&dbid) {
            proc.tasks.push(task);
        }
    }
}

async fn converse(world: World, dbid: Dbid, stream: TcpStream) {
    // A process that is gone hangs nobody: its connections are closed.
    let is_stopped = || world.lock().procs.get(&dbid).is_some_and(|p| p.stopped);
    if is_stopped() {
        return std::future::pending().await;
    }
    let me = Credentials::new(ClusterKey::from_bytes(&KEY), Identity::Segment(dbid));
    let served = [Purpose::Control, Purpose::Backup];
    let Ok((stream, peer)) = accept(stream, &me, &served, Duration::from_secs(5)).await else {
        return;
    };
    if peer.purpose == Purpose::Backup {
        return super::tests::backup::serve(world, dbid, Framed::new(stream)).await;
    }
    let (mut to, mut from) = Framed::new(stream).split();
    let Some((mut news, me)) = world.lock().procs.get(&dbid).map(|p| (p.news.subscribe(), p.report.pid)) else {
        return;
    };
    loop {
        let mut exits = false;
        let seq = tokio::select! {
            message = from.recv::<ToSegment>() => match message {
                _ if is_stopped() => return std::future::pending().await,
                Ok(ToSegment::Probe { seq, order }) => {
                    if let Some(order) = order {
                        world.obey(dbid, order);
                    }
                    Some(seq)
                }
                Ok(ToSegment::Drain { seq }) => {
                    exits = true;
                    Some(seq)
                }
                Ok(ToSegment::Stop { seq, .. }) => {
                    let mut inner = world.lock();
                    inner.asked_to_stop.push(dbid);
                    exits = !inner.stubborn.contains(&dbid);
                    Some(seq)
                }
                Ok(ToSegment::Verify { op, .. }) => {
                    world.lock().verify(dbid, op, VerifyStage::Running);
                    None
                }
                Ok(ToSegment::EndVerify { op, .. }) => {
                    world.lock().verify(dbid, op, VerifyStage::Failed { why: "cancelled".into() });
                    None
                }
                Ok(ToSegment::Judge { .. }) => {
                    world.lock().judge(dbid);
                    None
                }
                // Its recoveries have no stages.
                Ok(ToSegment::Hold { .. }) => None,
                Err(_) => return,
            },
            _ = news.changed() => None,
        };
        if is_stopped() {
            return std::future::pending().await;
        }
        let Some(report) = world.lock().procs.get(&dbid).map(|p| p.report.clone()) else {
            return;
        };
        let answer = match (exits, seq) {
            (true, Some(seq)) => FromSegment::Drained { seq },
            _ => FromSegment::Report { seq, report: Box::new(report) },
        };
        if to.send(&answer).await.is_err() {
            return;
        }
        if exits {
            // From a task that outlives this one: a kill ends the process's own tasks. Asked to exit on two
            // connections it exits once, and the next process of its name lives.
            let world = world.clone();
            tokio::spawn(async move { world.kill_process(dbid, me) });
            return;
        }
    }
}

struct StandIn {
    name: String,
    world: World,
}

impl StandIn {
    fn up(&self) -> Result<MutexGuard<'_, Inner>, HostError> {
        let inner = self.world.lock();
        if inner.down_hosts.contains(&self.name) {
            let cause = NetError::Refused { to: self.name.clone() };
            return Err(HostError::Unreachable { host: self.name.clone(), cause });
        }
        Ok(inner)
    }
}

#[async_trait]
impl Host for StandIn {
    fn name(&self) -> &str {
        &self.name
    }
    async fn ping(&self) -> Result<Pong, HostError> {
        let mut inner = self.up()?;
        inner.pings += 1;
        let mine = inner.procs.values().filter(|p| p.host == self.name);
        let running = mine.map(|p| Running { datadir: p.datadir.clone(), pid: p.report.pid });
        let strays = inner.strays.iter().filter(|(host, _)| *host == self.name).map(|(_, stray)| stray.clone());
        Ok(Pong { pid: 1, running: running.chain(strays).collect() })
    }
    async fn start_segment(&self, config: &SegmentConfig) -> Result<u32, HostError> {
        if self.up()?.procs.contains_key(&config.dbid) {
            let failure = HostFailure::Running { datadir: config.datadir.clone(), pid: None };
            return Err(HostError::Failed { host: self.name.clone(), failure });
        }
        Ok(self.world.start(config).await)
    }
    async fn kill_segment(&self, datadir: &Path) -> Result<Fenced, HostError> {
        let mut inner = self.up()?;
        inner.strays.retain(|(host, stray)| (host, stray.datadir.as_path()) != (&self.name, datadir));
        let dbid = inner.procs.values().find(|p| p.datadir == datadir).map(|p| p.report.dbid);
        drop(inner);
        match dbid.and_then(|dbid| self.world.kill(dbid)) {
            Some(_) => Ok(Fenced::Killed),
            None => Ok(Fenced::WasNotRunning),
        }
    }
    async fn segment_pid(&self, datadir: &Path) -> Result<Option<u32>, HostError> {
        Ok(self.up()?.procs.values().find(|p| p.datadir == datadir).map(|p| p.report.pid))
    }
    async fn free_bytes(&self, _: &Path) -> Result<u64, HostError> {
        self.up().map(|_| 1 << 40)
    }
    async fn make_dir(&self, _: &Path) -> Result<(), HostError> {
        self.up().map(drop)
    }
    async fn remove_dir(&self, datadir: &Path) -> Result<(), HostError> {
        self.up()?.dirs.remove(datadir);
        Ok(())
    }
    async fn remove_identity(&self, datadir: &Path) -> Result<(), HostError> {
        let mut inner = self.up()?;
        inner.next_copy += 1;
        let copy = CopyState { copy: CopyId(inner.next_copy), generation: Epoch(0) };
        if let Some(dir) = inner.dirs.get_mut(datadir) {
            *dir = Dir { copy, bound: None, epoch: Epoch(0), consistent: false, has_identity: false };
        }
        Ok(())
    }
    async fn replace_copy(&self, datadir: &Path, sibling: &Path) -> Result<(), HostError> {
        if !self.up()?.dirs.get(sibling).is_some_and(|d| d.has_identity) {
            return Ok(());
        }
        self.remove_identity(datadir).await?;
        self.name_copy(datadir, sibling).await
    }
    async fn name_copy(&self, datadir: &Path, sibling: &Path) -> Result<(), HostError> {
        let mut inner = self.up()?;
        let has_identity = |dir: &Path| inner.dirs.get(dir).is_some_and(|d| d.has_identity);
        if has_identity(datadir) || !has_identity(sibling) {
            return Ok(());
        }
        let (old, new) = (inner.dirs.remove(datadir), inner.dirs.remove(sibling));
        inner.dirs.extend(old.map(|d| (sibling.to_path_buf(), d)));
        inner.dirs.extend(new.map(|d| (datadir.to_path_buf(), d)));
        for proc in inner.procs.values_mut().filter(|p| p.datadir == sibling) {
            proc.datadir = datadir.into();
        }
        Ok(())
    }
    async fn write_segment_config(&self, _: &SegmentConfig) -> Result<(), HostError> {
        self.up().map(drop)
    }
    async fn stop(&self, _: bool) -> Result<u32, HostError> {
        Ok(0)
    }
    async fn survey(&self, datadir: &Path, _: Dbid, ports: &[u16]) -> Result<Survey, HostError> {
        let inner = self.up()?;
        if !datadir.starts_with(format!("/{}", self.name)) {
            let failure = HostFailure::NotMine { path: datadir.into(), why: "it is elsewhere".into() };
            return Err(HostError::Failed { host: self.name.clone(), failure });
        }
        let holds = if inner.dirs.contains_key(datadir) { Holds::FormerCopy } else { Holds::Nothing };
        let ports_taken = ports.iter().copied().filter(|port| inner.ports_taken.contains(port)).collect();
        Ok(Survey { free_bytes: 1 << 40, holds, ports_taken })
    }
}

/// The sibling's name.
pub fn sibling(datadir: &str) -> PathBuf {
    PathBuf::from(format!("{datadir}{NEW_COPY_SUFFIX}"))
}
