//! Making a cluster's directory. The cluster is left stopped, every pair synchronized.

use super::address;
use super::config::{CLUSTER_FILE, ClusterConfig, HostEntry, SCHEMA};
use super::error::{ClusterDirError, system};
use super::handle::ClusterHandle;
use super::place::{self, MAX_CONTENTS, MAX_HOSTS, Prefix, Shape};
use crate::core::ids::Content;
use crate::core::row::SegmentRow;
use crate::hosts::files::{self, make_private_dir};
use crate::hosts::{AgentConfig, SegmentConfig};
use crate::net::ClusterKey;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

/// Makes the data of a segment in its data directory, which exists.
pub type InitSegment<'a> = &'a dyn Fn(&SegmentConfig) -> Result<(), String>;
/// Makes the catalog in `DIR/coordinator`, which exists.
pub type InitCatalog<'a> = &'a dyn Fn(&ClusterConfig) -> Result<(), String>;

/// The longest path of a Unix socket that every system takes, with some room.
const MAX_SOCKET_PATH: usize = 90;
const SOCKET_NAME: &str = ".s.PGSQL.65535";

/// What is to be made.
#[derive(Debug, Clone)]
pub struct InitOptions {
    /// The cluster's name; `None` is the directory's.
    pub name: Option<String>,
    /// How many contents.
    pub contents: u16,
    /// How many hosts they are spread over.
    pub hosts: u16,
    /// How many more hosts there are, without a segment: room to move to.
    pub spare_hosts: u16,
    /// False makes a cluster without mirrors: a single copy of everything.
    pub mirrors: bool,
    /// Faults may be injected.
    pub drill: bool,
    /// Temporary.
    pub demo: bool,
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
            hosts: 2,
            spare_hosts: 0,
            mirrors: true,
            drill: false,
            demo: false,
            settings: BTreeMap::new(),
            program: None,
        }
    }
}

/// Makes a cluster in `dir`, which must be new or empty. When it fails, nothing is left behind.
pub fn init(
    dir: &Path,
    options: &InitOptions,
    init_segment: InitSegment<'_>,
    init_catalog: InitCatalog<'_>,
) -> Result<ClusterHandle, ClusterDirError> {
    if !cfg!(target_os = "linux") {
        return Err(ClusterDirError::NotLinux);
    }
    check(options)?;
    let claimed = Claimed::claim(dir)?;
    let config = configure(&claimed.dir, options)?;
    let made = fill(&config, options, init_segment, init_catalog);
    if made.is_err() {
        claimed.give_back(&config);
    }
    made.map(|()| ClusterHandle::new(config))
}

fn check(options: &InitOptions) -> Result<(), ClusterDirError> {
    let impossible = |message: String, next: &str| Err(ClusterDirError::Impossible { message, next: next.into() });
    if !(1..=MAX_CONTENTS).contains(&options.contents) {
        return impossible(
            format!("{} contents: a cluster has 1 to {MAX_CONTENTS}", options.contents),
            "segsh init DIR --contents 4",
        );
    }
    if !(1..=MAX_HOSTS).contains(&options.hosts) {
        return impossible(
            format!("{} hosts: a cluster has 2 to {MAX_HOSTS}", options.hosts),
            "segsh init DIR --hosts 2",
        );
    }
    if options.hosts.saturating_add(options.spare_hosts) > MAX_HOSTS {
        let (hosts, spare) = (options.hosts, options.spare_hosts);
        return impossible(
            format!("{hosts} hosts and {spare} spare ones: a cluster has at most {MAX_HOSTS}"),
            "segsh init DIR --hosts 2 --spare-hosts 1",
        );
    }
    if options.mirrors && options.hosts == 1 {
        return impossible(
            "1 host: a mirror must be on another host than its primary".into(),
            "segsh init DIR --hosts 2",
        );
    }
    match &options.name {
        Some(name) if *name != plain_name(name) || name.is_empty() => impossible(
            format!("`{name}` is no name for a cluster: letters, digits, `_` and `-`"),
            "choose another name",
        ),
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
        for part in ["coordinator", "hosts", "log", "run"] {
            let _ = fs::remove_dir_all(self.dir.join(part));
        }
        for part in ["key", CLUSTER_FILE] {
            let _ = fs::remove_file(self.dir.join(part));
        }
        if !config.socket_dir.starts_with(&self.dir) {
            let _ = fs::remove_dir(&config.socket_dir);
        }
        if !self.existed {
            let _ = fs::remove_dir(&self.dir);
        }
    }
}

fn configure(dir: &Path, options: &InitOptions) -> Result<ClusterConfig, ClusterDirError> {
    let shape = Shape { contents: options.contents, hosts: options.hosts, mirrors: options.mirrors };
    let lay_out = |prefix: Prefix| {
        let at = place::coordinator(prefix);
        let hosts = place::hosts(prefix, shape.hosts + options.spare_hosts, dir);
        let with_segments = &hosts[..usize::from(shape.hosts)];
        let rows = place::rows(shape, &at, with_segments, dir.join("coordinator"));
        (at, hosts, rows)
    };
    let prefix = address::choose(|prefix| {
        let (at, hosts, rows) = lay_out(prefix);
        ports(&rows, &hosts, (&at.address, at.control_port))
    })
    .map_err(system("find free ports on a loopback address"))?;
    let (coordinator, hosts, segments) = lay_out(prefix);
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

/// Every port that the cluster will listen on.
fn ports(rows: &[SegmentRow], hosts: &[HostEntry], control: (&str, u16)) -> Vec<(String, u16)> {
    let of_rows =
        rows.iter().flat_map(|r| std::iter::once(r.port).chain(r.replication_port).map(|p| (r.address.clone(), p)));
    let of_hosts = hosts.iter().map(|h| (h.address.clone(), h.agent_port));
    of_rows.chain(of_hosts).chain([(control.0.to_string(), control.1)]).collect()
}

fn fill(
    config: &ClusterConfig,
    options: &InitOptions,
    init_segment: InitSegment<'_>,
    init_catalog: InitCatalog<'_>,
) -> Result<(), ClusterDirError> {
    let handle = ClusterHandle::new(config.clone());
    ClusterKey::create(&handle.key_file())?;
    for dir in ["coordinator", "hosts", "log", "run"] {
        make_private_dir(&config.dir.join(dir))?;
    }
    ensure_socket_dir(config)?;
    for host in &config.hosts {
        make_private_dir(&host.dir)?;
        agent_config(&handle, host, options.program.clone()).store(&host.dir)?;
    }
    for row in config.segments.iter().filter(|r| r.content != Content::COORDINATOR) {
        let segment = handle.segment_config(row);
        make_private_dir(&segment.datadir)?;
        segment.store()?;
        init_segment(&segment).map_err(|message| ClusterDirError::Init {
            part: format!("dbid {} in {}", row.dbid, row.datadir),
            message,
        })?;
    }
    init_catalog(config).map_err(|message| ClusterDirError::Init { part: "the catalog".into(), message })?;
    // Last of all: a directory without it is no cluster.
    files::write_json(&config.dir.join(CLUSTER_FILE), SCHEMA, config)?;
    Ok(())
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
        let made = quick(&dir, &InitOptions { spare_hosts: 1, ..InitOptions::default() }).unwrap();
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
        for options in [
            InitOptions { hosts: 1, ..base() },
            InitOptions { hosts: 0, ..base() },
            InitOptions { hosts: 2, spare_hosts: 199, ..base() },
            InitOptions { contents: 0, ..base() },
            InitOptions { contents: 501, ..base() },
            InitOptions { name: Some("a b".into()), ..base() },
        ] {
            let error = quick(&dir, &options).unwrap_err();
            assert!(matches!(error, ClusterDirError::Impossible { .. }));
            assert!(!error.next().is_empty());
            assert!(!dir.exists());
        }
        quick(&dir, &InitOptions { hosts: 1, mirrors: false, ..base() }).unwrap();
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
