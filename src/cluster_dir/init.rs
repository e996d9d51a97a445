//! Making a cluster's directory. The cluster is left stopped, every pair synchronized.
//!
//! A content is made here, both copies at a time, for they must begin equal. Copies that belong on a host that is
//! reached over SSH are made in `DIR/staging`, and carried there.

use super::address;
use super::config::{CLUSTER_FILE, ClusterConfig, CoordinatorEntry, HostEntry, SCHEMA};
use super::error::{ClusterDirError, system};
use super::handle::ClusterHandle;
use super::join::{check_name, make_roots, ssh_place};
use super::place::{self, MAX_CONTENTS, MAX_HOSTS, Ports, Prefix, Shape};
use super::processes::outfit;
use crate::cluster::SshLogin;
use crate::core::ids::Content;
use crate::core::row::SegmentRow;
use crate::hosts::files::{self, make_private_dir};
use crate::hosts::{AgentConfig, Host, SegmentConfig, SshHost, remove_data_dir};
use crate::net::ClusterKey;
use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

/// Makes the data of a segment in its data directory, which exists.
pub type InitSegment<'a> = &'a dyn Fn(&SegmentConfig) -> Result<(), String>;
/// Makes the catalog in `DIR/coordinator`, which exists.
pub type InitCatalog<'a> = &'a dyn Fn(&ClusterConfig) -> Result<(), String>;

/// The longest path of a Unix socket that every system takes, with some room.
const MAX_SOCKET_PATH: usize = 90;
const SOCKET_NAME: &str = ".s.PGSQL.65535";
/// Where copies are made that belong on another machine.
const STAGING: &str = "staging";

/// What is to be made.
#[derive(Debug, Clone)]
pub struct InitOptions {
    /// The cluster's name; `None` is the directory's.
    pub name: Option<String>,
    /// How many contents.
    pub contents: u16,
    /// The hosts they are spread over.
    pub hosts: Hosts,
    /// False makes a cluster without mirrors: a single copy of everything.
    pub mirrors: bool,
    /// Faults may be injected.
    pub drill: bool,
    /// Temporary.
    pub demo: bool,
    /// The name of the coordinator's host; `None` is `cdw`.
    pub coordinator_host: Option<String>,
    /// The address that the coordinator listens on; `None` is one of a loopback prefix of the cluster's own.
    pub coordinator_address: Option<String>,
    /// The ports.
    pub ports: Ports,
    /// Settings that the catalog begins with.
    pub settings: BTreeMap<String, String>,
    /// What agents start segments with; `None` is the agent's own program.
    pub program: Option<PathBuf>,
}

impl Default for InitOptions {
    fn default() -> InitOptions {
        InitOptions {
            name: None,
            contents: 4,
            hosts: Hosts::Numbered { hosts: 2, spare: 0 },
            mirrors: true,
            drill: false,
            demo: false,
            coordinator_host: None,
            coordinator_address: None,
            ports: Ports::default(),
            settings: BTreeMap::new(),
            program: None,
        }
    }
}

/// The hosts of a new cluster.
#[derive(Debug, Clone)]
pub enum Hosts {
    /// `sdw1`, `sdw2` and so on, on this machine.
    Numbered {
        /// Hosts with segments.
        hosts: u16,
        /// More hosts, without a segment: room to move to.
        spare: u16,
    },
    /// As a cluster file names them.
    Named(Vec<HostPlan>),
}

/// A host of a new cluster.
#[derive(Debug, Clone, Default)]
pub struct HostPlan {
    /// Its name.
    pub name: String,
    /// The address that its agent and its segments listen on; `None` is one of the cluster's own loopback prefix.
    pub address: Option<String>,
    /// The port of its agent; `None` is the usual one.
    pub agent_port: Option<u16>,
    /// Directories for its segments, which take turns; without one they are in the host's own.
    pub roots: Vec<PathBuf>,
    /// How it is reached; `None` is a host of this machine.
    pub ssh: Option<SshLogin>,
    /// Without a segment: room to move to.
    pub spare: bool,
}

impl Hosts {
    fn plans(&self) -> Vec<HostPlan> {
        match self {
            Hosts::Numbered { hosts, spare } => (0..hosts.saturating_add(*spare))
                .map(|n| HostPlan { name: place::host_name(n), spare: n >= *hosts, ..HostPlan::default() })
                .collect(),
            Hosts::Named(plans) => plans.clone(),
        }
    }
}

/// Makes a cluster in `dir`, which must be new or empty, all of it on this machine. When it fails, nothing is left
/// behind.
pub fn init(
    dir: &Path,
    options: &InitOptions,
    init_segment: InitSegment<'_>,
    init_catalog: InitCatalog<'_>,
) -> Result<ClusterHandle, ClusterDirError> {
    let new = make(dir, options, init_segment, init_catalog)?;
    let far = new.remote().next().map(|(entry, _)| entry.name.clone());
    let Some(name) = far else { return new.finish() };
    new.claimed.give_back(&new.config);
    let message = format!("host {name} is on another machine");
    Err(ClusterDirError::Impossible { message, next: "segsh init DIR --file FILE".into() })
}

/// Makes a cluster whose hosts may be on other machines, which get `program`. When it fails, nothing is left behind
/// on any host that still answers.
pub async fn init_everywhere(
    dir: &Path,
    options: &InitOptions,
    program: &Path,
    init_segment: InitSegment<'_>,
    init_catalog: InitCatalog<'_>,
) -> Result<ClusterHandle, ClusterDirError> {
    let new = make(dir, options, init_segment, init_catalog)?;
    let mut ours = Vec::new();
    let failed = match new.distribute(program, &mut ours).await {
        Ok(()) => return new.finish(),
        Err(error) => error,
    };
    for host in ours {
        if let Err(error) = host.leave().await {
            tracing::warn!(host = host.name(), %error, "what was made there is left there");
        }
    }
    new.claimed.give_back(&new.config);
    Err(failed)
}

fn make(
    dir: &Path,
    options: &InitOptions,
    init_segment: InitSegment<'_>,
    init_catalog: InitCatalog<'_>,
) -> Result<NewCluster, ClusterDirError> {
    if !cfg!(target_os = "linux") {
        return Err(ClusterDirError::NotLinux);
    }
    let plans = options.hosts.plans();
    check(options, &plans)?;
    let claimed = Claimed::claim(dir)?;
    // It has made nothing but the directory so far, and takes that back.
    let config = configure(&claimed.dir, options, &plans).inspect_err(|_| claimed.leave_dir())?;
    let new = NewCluster { handle: ClusterHandle::new(config.clone()), config, claimed };
    if let Err(error) = new.fill(options, init_segment, init_catalog) {
        new.claimed.give_back(&new.config);
        return Err(error);
    }
    Ok(new)
}

fn check(options: &InitOptions, plans: &[HostPlan]) -> Result<(), ClusterDirError> {
    let impossible = |message: String, next: &str| Err(ClusterDirError::Impossible { message, next: next.into() });
    if !(1..=MAX_CONTENTS).contains(&options.contents) {
        return impossible(
            format!("{} contents: a cluster has 1 to {MAX_CONTENTS}", options.contents),
            "segsh init DIR --contents 4",
        );
    }
    let spare = plans.iter().filter(|plan| plan.spare).count();
    let hosts = plans.len() - spare;
    if hosts == 0 || hosts > usize::from(MAX_HOSTS) {
        return impossible(format!("{hosts} hosts: a cluster has 2 to {MAX_HOSTS}"), "segsh init DIR --hosts 2");
    }
    if plans.len() > usize::from(MAX_HOSTS) {
        return impossible(
            format!("{hosts} hosts and {spare} spare ones: a cluster has at most {MAX_HOSTS}"),
            "segsh init DIR --hosts 2 --spare-hosts 1",
        );
    }
    if options.mirrors && hosts == 1 {
        return impossible(
            "1 host: a mirror must be on another host than its primary".into(),
            "segsh init DIR --hosts 2",
        );
    }
    if !options.ports.are_apart(options.contents) {
        return impossible(
            format!("these ports meet, or end beyond 65535, with {} contents: {:?}", options.contents, options.ports),
            "leave [ports] out of the cluster file, or move them apart",
        );
    }
    check_plans(plans)?;
    match &options.name {
        Some(name) if *name != plain_name(name) || name.is_empty() => impossible(
            format!("`{name}` is no name for a cluster: letters, digits, `_` and `-`"),
            "choose another name",
        ),
        _ => Ok(()),
    }
}

fn check_plans(plans: &[HostPlan]) -> Result<(), ClusterDirError> {
    let impossible =
        |message: String| Err(ClusterDirError::Impossible { message, next: "correct it in the cluster file".into() });
    let mut names = HashSet::new();
    for plan in plans {
        let name = &plan.name;
        check_name(name)?;
        if !names.insert(name) {
            return impossible(format!("two hosts are called {name}"));
        }
        let Some(login) = &plan.ssh else { continue };
        if plan.address.is_none() {
            return impossible(format!("host {name} is reached over SSH: its address must be named"));
        }
        if let Some(relative) = plan.roots.iter().chain([&login.dir]).find(|path| !path.is_absolute()) {
            return impossible(format!("host {name}: {} must be absolute on another machine", relative.display()));
        }
    }
    // What is on loopback addresses is out of reach for whoever is not on this machine.
    let is_near = |plan: &&HostPlan| {
        let ip = plan.address.as_ref().map(|address| address.parse::<IpAddr>());
        ip.is_none_or(|ip| ip.is_ok_and(|ip| ip.is_loopback()))
    };
    match (plans.iter().find(is_near), plans.iter().find(|plan| !is_near(plan))) {
        (Some(near), Some(far)) => impossible(format!(
            "host {} has a loopback address, which host {} can't reach: name an address of this machine's network",
            near.name, far.name
        )),
        _ => Ok(()),
    }
}

/// The directory while it is being filled.
struct Claimed {
    dir: PathBuf,
    existed: bool,
}

impl Claimed {
    fn claim(dir: &Path) -> Result<Claimed, ClusterDirError> {
        let existed = dir.exists();
        let failed = || system(format!("make {}", dir.display()));
        if existed {
            let mut entries = fs::read_dir(dir).map_err(failed())?;
            if entries.next().is_some() {
                return Err(ClusterDirError::NotEmpty { dir: dir.into() });
            }
        } else {
            if let Some(parent) = dir.parent() {
                fs::create_dir_all(parent).map_err(failed())?;
            }
            fs::DirBuilder::new().mode(0o700).create(dir).map_err(failed())?;
        }
        let dir = dir.canonicalize().map_err(failed())?;
        Ok(Claimed { dir, existed })
    }

    /// Leaves things as they were found, as far as the system lets us.
    fn give_back(&self, config: &ClusterConfig) {
        for row in config.segments.iter().filter(|row| config.is_here(row)) {
            let datadir = Path::new(&row.datadir);
            if !datadir.starts_with(&self.dir) && SegmentConfig::load(datadir).is_ok_and(|s| s.cluster_id == config.id)
            {
                let _ = remove_data_dir(datadir);
            }
        }
        // It was new or empty.
        for entry in fs::read_dir(&self.dir).into_iter().flatten().flatten() {
            let (path, is_dir) = (entry.path(), entry.file_type().is_ok_and(|kind| kind.is_dir()));
            let _ = if is_dir { fs::remove_dir_all(path) } else { fs::remove_file(path) };
        }
        if !config.socket_dir.starts_with(&self.dir) {
            let _ = fs::remove_dir(&config.socket_dir);
        }
        self.leave_dir();
    }

    fn leave_dir(&self) {
        if !self.existed {
            let _ = fs::remove_dir(&self.dir);
        }
    }
}

fn configure(dir: &Path, options: &InitOptions, plans: &[HostPlan]) -> Result<ClusterConfig, ClusterDirError> {
    let roots: Vec<Vec<PathBuf>> = plans
        .iter()
        .map(|plan| if plan.ssh.is_some() { Ok(plan.roots.clone()) } else { make_roots(&plan.roots) })
        .collect::<Result<_, _>>()?;
    let lay_out = |prefix: Prefix| -> Result<_, ClusterDirError> {
        let usual = place::coordinator(prefix, &options.ports);
        let at = CoordinatorEntry {
            host: options.coordinator_host.clone().unwrap_or(usual.host),
            address: options.coordinator_address.clone().unwrap_or(usual.address),
            ..usual
        };
        let hosts = plans.iter().zip(&roots).enumerate();
        let hosts: Vec<HostEntry> = hosts
            .map(|(number, (plan, roots))| entry(dir, &options.ports, prefix, number, plan, roots))
            .collect::<Result<_, _>>()?;
        let with_segments: Vec<HostEntry> =
            hosts.iter().zip(plans).filter(|(_, plan)| !plan.spare).map(|(host, _)| host.clone()).collect();
        let shape = Shape { contents: options.contents, mirrors: options.mirrors };
        let rows = place::rows(shape, &options.ports, &at, &with_segments, dir.join("coordinator"));
        Ok((at, hosts, rows))
    };
    let is_fixed = options.coordinator_address.is_some() && plans.iter().all(|plan| plan.address.is_some());
    let prefix = match is_fixed {
        true => {
            let (at, hosts, rows) = lay_out(Prefix(0, 0))?;
            let taken = ports(&rows, &hosts, (&at.address, at.control_port)).into_iter().find_map(|(address, port)| {
                Some(((address.clone(), port), address::can_listen(&address, port).err()?))
            });
            if let Some(((address, port), error)) = taken {
                return Err(system(format!("listen on {address}:{port}"))(error));
            }
            Prefix(0, 0)
        }
        false => address::choose(|prefix| {
            // What can't be laid out is told below.
            let laid_out = lay_out(prefix);
            laid_out
                .map_or_else(|_| Vec::new(), |(at, hosts, rows)| ports(&rows, &hosts, (&at.address, at.control_port)))
        })
        .map_err(system("find free ports on a loopback address"))?,
    };
    let (coordinator, hosts, segments) = lay_out(prefix)?;
    let id = address::random_hex::<16>().map_err(system("draw the cluster's identity"))?;
    Ok(ClusterConfig {
        name: options.name.clone().unwrap_or_else(|| name_of(dir)),
        socket_dir: socket_dir(dir, &id),
        id,
        dir: dir.into(),
        drill: options.drill || options.demo,
        demo: options.demo,
        coordinator,
        hosts,
        segments,
        settings: options.settings.clone(),
    })
}

fn entry(
    dir: &Path,
    ports: &Ports,
    prefix: Prefix,
    number: usize,
    plan: &HostPlan,
    roots: &[PathBuf],
) -> Result<HostEntry, ClusterDirError> {
    let address = plan.address.clone().unwrap_or_else(|| place::host_address(prefix, number));
    let (name, roots) = (plan.name.clone(), roots.to_vec());
    Ok(match &plan.ssh {
        Some(login) => {
            HostEntry { name, address, agent_port: 0, dir: login.dir.clone(), roots, ssh: Some(ssh_place(dir, login)?) }
        }
        None => {
            let own = dir.join("hosts").join(&name);
            HostEntry { name, address, agent_port: plan.agent_port.unwrap_or(ports.agent), dir: own, roots, ssh: None }
        }
    })
}

/// Every port that the cluster will listen on on this machine.
fn ports(rows: &[SegmentRow], hosts: &[HostEntry], control: (&str, u16)) -> Vec<(String, u16)> {
    let here: HashSet<&str> = hosts.iter().filter(|h| h.ssh.is_none()).map(|h| h.name.as_str()).collect();
    let of_rows = rows
        .iter()
        .filter(|r| r.content == Content::COORDINATOR || here.contains(r.hostname.as_str()))
        .flat_map(|r| std::iter::once(r.port).chain(r.replication_port).map(|p| (r.address.clone(), p)));
    let of_hosts = hosts.iter().filter(|h| h.ssh.is_none()).map(|h| (h.address.clone(), h.agent_port));
    of_rows.chain(of_hosts).chain([(control.0.to_string(), control.1)]).collect()
}

impl ClusterConfig {
    /// Whether a segment's host is on this machine, as `init` placed it.
    fn is_here(&self, row: &SegmentRow) -> bool {
        self.hosts.iter().any(|host| host.name == row.hostname && host.ssh.is_none())
    }
}

/// A cluster's directory that is no cluster's yet: the file that says so is not written.
struct NewCluster {
    handle: ClusterHandle,
    config: ClusterConfig,
    claimed: Claimed,
}

impl NewCluster {
    fn segments(&self) -> impl Iterator<Item = &SegmentRow> {
        self.config.segments.iter().filter(|row| row.content != Content::COORDINATOR)
    }

    /// The hosts that are reached over SSH.
    fn remote(&self) -> impl Iterator<Item = (&HostEntry, SshHost)> {
        self.config.hosts.iter().filter_map(|entry| Some((entry, entry.over_ssh()?)))
    }

    /// Where a segment's copy is made.
    fn made_in(&self, row: &SegmentRow, segment: &SegmentConfig) -> PathBuf {
        match self.config.is_here(row) {
            true => segment.datadir.clone(),
            false => self.config.dir.join(STAGING).join(row.dbid.to_string()),
        }
    }

    fn fill(
        &self,
        options: &InitOptions,
        init_segment: InitSegment<'_>,
        init_catalog: InitCatalog<'_>,
    ) -> Result<(), ClusterDirError> {
        let (handle, config) = (&self.handle, &self.config);
        ClusterKey::create(&handle.key_file())?;
        for dir in ["coordinator", "hosts", "log", "run", STAGING] {
            make_private_dir(&config.dir.join(dir))?;
        }
        ensure_socket_dir(config)?;
        for host in config.hosts.iter().filter(|host| host.ssh.is_none()) {
            make_private_dir(&host.dir)?;
            agent_config(handle, host, options.program.clone()).store(&host.dir)?;
        }
        for row in self.segments() {
            let segment = handle.segment_config(row);
            let segment = SegmentConfig { datadir: self.made_in(row, &segment), ..segment };
            make_new_dir(&segment.datadir)?;
            segment.store()?;
            init_segment(&segment).map_err(|message| ClusterDirError::Init {
                part: format!("dbid {} in {}", row.dbid, row.datadir),
                message,
            })?;
        }
        init_catalog(config).map_err(|message| ClusterDirError::Init { part: "the catalog".into(), message })
    }

    /// Equips every host that is on another machine, and carries there what was made for it. `ours` has the hosts
    /// that have something of this cluster's, however it ends.
    async fn distribute(&self, program: &Path, ours: &mut Vec<SshHost>) -> Result<(), ClusterDirError> {
        for (entry, host) in self.remote() {
            host.bring_up(&outfit(&self.handle, program, entry)).await?;
            ours.push(host.clone());
            for row in self.segments().filter(|row| row.hostname == entry.name) {
                let segment = self.handle.segment_config(row);
                host.make_dir(&segment.datadir).await?;
                host.write_segment_config(&segment).await?;
                host.fill(&segment.datadir, &self.made_in(row, &segment)).await?;
            }
        }
        Ok(())
    }

    /// Last of all: a directory without its file is no cluster.
    fn finish(self) -> Result<ClusterHandle, ClusterDirError> {
        let staging = self.config.dir.join(STAGING);
        fs::remove_dir_all(&staging).map_err(system(format!("remove {}", staging.display())))?;
        files::write_json(&self.config.dir.join(CLUSTER_FILE), SCHEMA, &self.config)?;
        Ok(self.handle)
    }
}

/// A data directory: one that is there already is somebody's.
fn make_new_dir(dir: &Path) -> Result<(), ClusterDirError> {
    fs::DirBuilder::new().mode(0o700).create(dir).map_err(system(format!("make {}", dir.display())))
}

/// What the agent of a host must know.
pub(super) fn agent_config(handle: &ClusterHandle, host: &HostEntry, program: Option<PathBuf>) -> AgentConfig {
    AgentConfig {
        cluster_id: handle.config().id.clone(),
        cluster: handle.config().name.clone(),
        host: host.name.clone(),
        address: host.address.clone(),
        port: host.agent_port,
        key_file: handle.key_file(),
        log_dir: handle.log_dir(),
        program,
        roots: host.roots.clone(),
    }
}

/// The letters of a text that a name may have; the others become `-`.
fn plain_name(text: &str) -> String {
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' }
    };
    text.chars().map(plain).take(40).collect()
}

fn name_of(dir: &Path) -> String {
    let base = dir.file_name().map(|n| n.to_string_lossy()).unwrap_or_default();
    match plain_name(&base).trim_matches('-') {
        "" => "cluster".into(),
        name => name.into(),
    }
}

/// `DIR/run`, unless a socket's path there would be too long for the system.
fn socket_dir(dir: &Path, id: &str) -> PathBuf {
    let usual = dir.join("run");
    if usual.as_os_str().len() + 1 + SOCKET_NAME.len() <= MAX_SOCKET_PATH {
        return usual;
    }
    let base = dirs::runtime_dir().unwrap_or_else(std::env::temp_dir);
    base.join(format!("segsh-{}", &id[..12]))
}

/// Makes the socket directory if it is gone (a runtime directory does not survive a boot), and
/// refuses one that is not ours alone.
pub(super) fn ensure_socket_dir(config: &ClusterConfig) -> Result<(), ClusterDirError> {
    let dir = &config.socket_dir;
    make_private_dir(dir)?;
    let meta = fs::symlink_metadata(dir).map_err(system(format!("look at {}", dir.display())))?;
    let me = rustix::process::geteuid().as_raw();
    if !meta.is_dir() || meta.uid() != me || meta.mode() & 0o077 != 0 {
        return Err(ClusterDirError::Impossible {
            message: format!("socket directory {} is not this user's alone", dir.display()),
            next: format!("remove {}", dir.display()),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::open;
    use super::*;
    use std::cell::RefCell;

    fn quick(dir: &Path, options: &InitOptions) -> Result<ClusterHandle, ClusterDirError> {
        init(dir, options, &|_| Ok(()), &|_| Ok(()))
    }

    #[test]
    fn what_is_made_is_what_is_opened() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("prod");
        let seen = RefCell::new(Vec::new());
        let made = init(
            &dir,
            &InitOptions::default(),
            &|segment| {
                assert_eq!(SegmentConfig::load(&segment.datadir).unwrap(), *segment);
                seen.borrow_mut().push(segment.dbid.0);
                Ok(())
            },
            &|config| {
                assert!(config.dir.join("coordinator").is_dir());
                Ok(())
            },
        )
        .unwrap();
        let opened = open(&dir).unwrap();
        assert_eq!(opened.config(), made.config());
        assert_eq!((opened.name(), opened.config().drill), ("prod", false));
        assert_eq!(*seen.borrow(), [2, 3, 4, 5, 6, 7, 8, 9]);
        assert_eq!(fs::metadata(&dir).unwrap().mode() & 0o777, 0o700);
        for host in &opened.config().hosts {
            assert_eq!(AgentConfig::load(&host.dir).unwrap().host, host.name);
        }
        assert_eq!(opened.coordinator_pid(), None);
        assert!(matches!(quick(&dir, &InitOptions::default()), Err(ClusterDirError::NotEmpty { .. })));
    }

    #[test]
    fn a_spare_host_has_an_agent_and_no_segment() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("prod");
        let made =
            quick(&dir, &InitOptions { hosts: Hosts::Numbered { hosts: 2, spare: 1 }, ..InitOptions::default() })
                .unwrap();
        let names: Vec<&str> = made.config().hosts.iter().map(|h| h.name.as_str()).collect();
        assert_eq!(names, ["sdw1", "sdw2", "sdw3"]);
        assert!(made.config().segments.iter().all(|row| row.hostname != "sdw3"));
        assert_eq!(AgentConfig::load(&dir.join("hosts/sdw3")).unwrap().host, "sdw3");
    }

    #[test]
    fn a_failed_init_leaves_nothing_behind() {
        let root = tempfile::tempdir().unwrap();
        let new = root.path().join("new");
        let failing: InitSegment<'_> = &|s| {
            if s.dbid.0 == 5 { Err("no space".into()) } else { Ok(()) }
        };
        let error = init(&new, &InitOptions::default(), failing, &|_| Ok(())).unwrap_err().to_string();
        assert!(error.contains("dbid 5") && error.contains("no space"), "{error}");
        assert!(!new.exists());
        let old = root.path().join("old");
        fs::create_dir(&old).unwrap();
        init(&old, &InitOptions::default(), failing, &|_| Ok(())).unwrap_err();
        assert_eq!(fs::read_dir(&old).unwrap().count(), 0);
    }

    #[test]
    fn what_can_not_be_is_refused_before_anything_is_made() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("x");
        let base = InitOptions::default;
        let numbered = |hosts, spare| Hosts::Numbered { hosts, spare };
        let named = |plans: &[HostPlan]| Hosts::Named(plans.to_vec());
        let host = |name: &str| HostPlan { name: name.into(), ..HostPlan::default() };
        let far = HostPlan { address: Some("192.0.2.1".into()), ..host("b") };
        let over_ssh = HostPlan { ssh: Some(SshLogin::default()), ..far.clone() };
        for options in [
            InitOptions { hosts: numbered(1, 0), ..base() },
            InitOptions { hosts: numbered(0, 0), ..base() },
            InitOptions { hosts: numbered(2, 199), ..base() },
            InitOptions { hosts: named(&[host("a"), host("a")]), ..base() },
            InitOptions { hosts: named(&[host("a"), host("../b")]), ..base() },
            InitOptions { hosts: named(&[host("a"), far]), ..base() },
            InitOptions { hosts: named(&[over_ssh]), mirrors: false, ..base() },
            InitOptions { ports: Ports { primary: 6002, mirror: 6003, ..Ports::default() }, ..base() },
            InitOptions { ports: Ports { mirror_link: 65535, ..Ports::default() }, ..base() },
            InitOptions { contents: 0, ..base() },
            InitOptions { contents: 501, ..base() },
            InitOptions { name: Some("a b".into()), ..base() },
        ] {
            let error = quick(&dir, &options).unwrap_err();
            assert!(matches!(error, ClusterDirError::Impossible { .. }));
            assert!(!error.next().is_empty());
            assert!(!dir.exists());
        }
        quick(&dir, &InitOptions { hosts: numbered(1, 0), mirrors: false, ..base() }).unwrap();
    }

    #[test]
    fn a_long_path_gets_a_short_socket_directory() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("d".repeat(100));
        let made = quick(&dir, &InitOptions::default()).unwrap();
        let sockets = &made.config().socket_dir;
        assert!(sockets.join(SOCKET_NAME).as_os_str().len() <= MAX_SOCKET_PATH);
        assert!(sockets.is_dir());
        tokio::runtime::Runtime::new().unwrap().block_on(super::super::destroy(&dir)).unwrap();
        assert!(!sockets.exists());
    }

    #[test]
    fn what_is_not_a_cluster_is_said_so() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("x");
        assert!(matches!(open(&dir), Err(ClusterDirError::Missing { .. })));
        fs::create_dir(&dir).unwrap();
        assert!(matches!(open(&dir), Err(ClusterDirError::NotACluster { .. })));
        fs::write(dir.join(CLUSTER_FILE), "{\"schema\": 1, \"name\": 5}").unwrap();
        let error = open(&dir).unwrap_err().to_string();
        assert!(error.contains("cluster.json is damaged: invalid type: integer `5`"), "{error}");
        fs::write(dir.join(CLUSTER_FILE), "{\"schema\": 99}").unwrap();
        assert!(open(&dir).unwrap_err().to_string().contains("schema 99"));
    }

    #[test]
    fn a_moved_cluster_is_said_so() {
        let root = tempfile::tempdir().unwrap();
        let (from, to) = (root.path().join("a"), root.path().join("b"));
        quick(&from, &InitOptions::default()).unwrap();
        fs::rename(&from, &to).unwrap();
        assert!(matches!(open(&to), Err(ClusterDirError::Moved { .. })));
    }
}
