//! A cluster whose catalog is lost: found again from what its segments keep.
//!
//! Every segment must be stopped: the locks of all directories are held from the first look until the new
//! catalog stands, or the records could change under it (R7). What the records prove of each pair is the
//! core's to say ([`prove`]); here they are read, and everything that does not fit is named at once.

use super::config::{CLUSTER_FILE, ClusterConfig, HostEntry, SCHEMA};
use super::error::{ClusterDirError, system};
use super::handle::ClusterHandle;
use super::place::{self, Ports, Prefix};
use crate::core::adopt::{Complaint, CopyRecord, Proven, Witness, prove};
use crate::core::format::{Meta, TrackMap};
use crate::core::ids::{Content, Dbid};
use crate::core::row::{Role, SegmentRow};
use crate::core::track::FileId;
use crate::hosts::files::{self, FileError, make_private_dir};
use crate::hosts::{AGENT_FILE, AgentConfig, DirLock, IDENTITY_FILE, LockError, SEGMENT_FILE, SegmentConfig, holder};
use crate::net::ClusterKey;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The record of changed blocks in a data directory.
const MAP_FILE: &str = "track.map";
/// The catalog's file in the coordinator's directory.
const CATALOG_FILE: &str = "catalog.db";

/// Everything that a new catalog is made from. While it lives, nobody else enters the directories.
#[derive(Debug)]
pub struct Adoption {
    handle: ClusterHandle,
    /// The rows, the coordinator's first, then by dbid.
    pub rows: Vec<SegmentRow>,
    /// What is proven of each content.
    pub contents: Vec<Proven>,
    /// Worth knowing: what could not be found again, and what stands in its place.
    pub notes: Vec<String>,
    makes_config: bool,
    makes_key: bool,
    _locks: Vec<DirLock>,
}

/// Looks at data directories, or at directories that hold them, and finds the cluster in them. `serve`
/// names copies that a person takes for the last ones, whatever the records say.
pub fn survey(dirs: &[PathBuf], serve: &[Dbid]) -> Result<Adoption, Vec<Complaint>> {
    let mut complaints = Vec::new();
    let mut found = Vec::new();
    for dir in data_dirs(dirs, &mut complaints) {
        match Found::read(&dir) {
            Ok(one) => found.push(one),
            Err(complaint) => complaints.push(complaint),
        }
    }
    let (found, left_behind) = latest(found);
    complaints.extend(strangers(&found));
    let unknown = serve.iter().filter(|dbid| !found.iter().any(|f| f.config.dbid == **dbid));
    complaints.extend(unknown.map(|dbid| Complaint::new(format!("no directory is dbid {dbid}'s"), "")));
    let Some(first) = found.first().filter(|_| complaints.is_empty()) else {
        if complaints.is_empty() {
            complaints.push(Complaint::new("no directory was named", "segsh adopt DIR"));
        }
        return Err(complaints);
    };
    let (config, makes_config, mut notes) = configuration(&first.config, &found).map_err(|c| vec![c])?;
    notes.extend(left_behind);
    let handle = ClusterHandle::new(config);
    complaints.extend(in_the_way(&handle));
    complaints.extend(missing(&handle, &found, makes_config));
    let contents = proven(&handle, &found, serve, &mut complaints);
    if !complaints.is_empty() {
        return Err(complaints);
    }
    let rows = rows(&handle, &found, &contents, &mut notes);
    let locks = found.into_iter().flat_map(|f| f.locks).collect();
    let makes_key = !handle.key_file().exists();
    if makes_key {
        notes.push(format!("the key is lost: a new one is made in {}", handle.key_file().display()));
    }
    Ok(Adoption { handle, rows, contents, notes, makes_config, makes_key, _locks: locks })
}

impl Adoption {
    /// The cluster.
    pub fn handle(&self) -> &ClusterHandle {
        &self.handle
    }

    /// Makes what the coordinator needs and is not there; `make_catalog` comes last of all, so that an
    /// adoption that was interrupted is simply made again.
    pub fn carry_out(
        self,
        make_catalog: &dyn Fn(&Adoption) -> Result<(), String>,
    ) -> Result<ClusterHandle, ClusterDirError> {
        let config = self.handle.config();
        for dir in [self.handle.coordinator_dir(), self.handle.log_dir()] {
            make_private_dir(&dir)?;
        }
        if self.makes_key {
            ClusterKey::create(&self.handle.key_file())?;
        }
        if self.makes_config {
            files::write_json(&config.dir.join(CLUSTER_FILE), SCHEMA, config)?;
        }
        let _lock = keep_out(&self.handle.coordinator_dir())
            .map_err(|message| ClusterDirError::Init { part: "the catalog".into(), message })?;
        make_catalog(&self).map_err(|message| ClusterDirError::Init { part: "the catalog".into(), message })?;
        files::sync_dir(&self.handle.coordinator_dir()).map_err(system("keep the catalog's name"))?;
        Ok(self.handle)
    }
}

/// The directory of the host that a data directory is of: around it, or, when it is in a root, where the cluster
/// has its hosts.
fn host_dir(dir: &Path, config: &SegmentConfig) -> PathBuf {
    let around = dir.parent().unwrap_or(dir);
    match config.key_file.parent() {
        Some(cluster) if !around.join(AGENT_FILE).is_file() => cluster.join("hosts").join(&config.host),
        _ => around.into(),
    }
}

fn keep_out(dir: &Path) -> Result<DirLock, String> {
    DirLock::keep_out(dir).map_err(|e| e.to_string())
}

/// One data directory, read under its lock.
struct Found {
    dir: PathBuf,
    config: SegmentConfig,
    host_dir: PathBuf,
    agent: AgentConfig,
    copy: Option<CopyRecord>,
    locks: Vec<DirLock>,
}

impl Found {
    fn read(dir: &Path) -> Result<Found, Complaint> {
        let plain = |e: FileError| Complaint::new(e.to_string(), "");
        // Before the first look: the records of a segment that runs say nothing about a moment later.
        let beside = beside(dir);
        let locks = [Some(dir), Some(beside.as_path()).filter(|b| b.is_dir())].into_iter().flatten().map(lock);
        let locks = locks.collect::<Result<Vec<_>, _>>()?;
        let config = SegmentConfig::load(dir).map_err(plain)?;
        if config.datadir != dir {
            let made_in = config.datadir.display();
            let what = format!("{} was made in {made_in}, and can't be moved", dir.display());
            return Err(Complaint::new(what, format!("mv {} {made_in}", dir.display())));
        }
        let host_dir = host_dir(dir, &config);
        let agent = AgentConfig::load(&host_dir).map_err(plain)?;
        if (&agent.cluster_id, &agent.host) != (&config.cluster_id, &config.host) {
            let what = format!(
                "{} is of host {} of cluster {}, and {} of host {} of cluster {}",
                dir.display(),
                config.host,
                config.cluster_id,
                host_dir.display(),
                agent.host,
                agent.cluster_id
            );
            return Err(Complaint::new(what, ""));
        }
        let copy = match (dir.join(IDENTITY_FILE).exists(), beside.join(IDENTITY_FILE).exists()) {
            (true, _) => Some(record(dir, false)),
            // A full copy that has not got its name: the next start gives it.
            (false, true) => Some(record(&beside, true)),
            (false, false) => None,
        };
        let copy = copy.transpose().map_err(|what| Complaint::new(what, ""))?;
        let found = Found { dir: dir.into(), config, host_dir, agent, copy, locks };
        found.check_identity().map(|()| found)
    }

    fn check_identity(&self) -> Result<(), Complaint> {
        let Some(copy) = &self.copy else { return Ok(()) };
        let (meta, config) = (&copy.meta, &self.config);
        let one = (&meta.cluster_id, meta.dbid, meta.content);
        if one == (&config.cluster_id, config.dbid, config.content) {
            return Ok(());
        }
        let what = format!(
            "{} holds a copy of dbid {}, content {} of cluster {}, and is configured as dbid {}, content {} of cluster {}",
            self.dir.display(),
            meta.dbid,
            meta.content,
            meta.cluster_id,
            config.dbid,
            config.content,
            config.cluster_id
        );
        Err(Complaint::new(what, ""))
    }

    fn witness(&self, handle: &ClusterHandle) -> Witness {
        let dbid = self.config.dbid;
        Witness { dbid, preferred: preference(handle, self), copy: self.copy.clone() }
    }
}

fn lock(dir: &Path) -> Result<DirLock, Complaint> {
    DirLock::keep_out(dir).map_err(|error| match error {
        LockError::Held { pid, .. } => {
            let process = pid.map(|p| format!(" (process {p})")).unwrap_or_default();
            Complaint::new(format!("a segment runs in {}{process}", dir.display()), "segsh stop DIR --mode immediate")
        }
        LockError::Io { .. } => Complaint::new(error.to_string(), ""),
    })
}

fn beside(dir: &Path) -> PathBuf {
    let mut name = dir.as_os_str().to_owned();
    name.push(crate::hosts::NEW_COPY_SUFFIX);
    name.into()
}

/// A copy's own records, as they stand.
fn record(dir: &Path, beside: bool) -> Result<CopyRecord, String> {
    let read = |name: &str| std::fs::read(dir.join(name)).map_err(|e| format!("{}: {e}", dir.join(name).display()));
    let meta = Meta::decode(&read(IDENTITY_FILE)?).map_err(|e| format!("{} {e}", dir.join(IDENTITY_FILE).display()))?;
    // A map that can't be read means that only a full copy can follow, and nothing worse.
    let map = read(MAP_FILE).ok().and_then(|bytes| TrackMap::decode(&bytes).ok()).map(|map| meta.map_in_force(map));
    let mut touched = meta.touched.clone();
    for then in &meta.stamps {
        let now = std::fs::metadata(dir.join(&then.name)).ok();
        let same = now
            .is_some_and(|m| (m.ino(), m.len(), (m.ctime(), m.ctime_nsec())) == (then.inode, then.bytes, then.changed));
        if !same && !touched.contains(&then.name) {
            touched.push(then.name.clone());
        }
    }
    let stands = FileId::ALL.into_iter().all(|file| dir.join(file.name()).is_file());
    Ok(CopyRecord {
        whole: meta.consistent && stands,
        touched,
        binding: map.as_ref().map(|m| m.binding),
        dirty_blocks: map.map_or(0, |m| m.dirty.count()),
        beside,
        meta,
    })
}

/// The data directories that are named: themselves, or those in a host's or a cluster's directory.
fn data_dirs(dirs: &[PathBuf], complaints: &mut Vec<Complaint>) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for dir in dirs {
        match dir.canonicalize() {
            Ok(canonical) => {
                let within = data_dirs_in(&canonical);
                if within.is_empty() {
                    let what = format!("{} is no segment's data directory, and holds none", dir.display());
                    complaints.push(Complaint::new(what, ""));
                }
                found.extend(within);
            }
            Err(error) => complaints.push(Complaint::new(format!("{}: {error}", dir.display()), "")),
        }
    }
    found.sort();
    found.dedup();
    found
}

fn data_dirs_in(dir: &Path) -> Vec<PathBuf> {
    if is_data_dir(dir) {
        return vec![dir.into()];
    }
    let within = |dir: &Path| crate::hosts::data_dirs(dir).into_iter().filter(|d| is_data_dir(d)).collect::<Vec<_>>();
    let of_host = within(dir);
    if !of_host.is_empty() {
        return of_host;
    }
    super::teardown::host_dirs(dir).iter().flat_map(|host| within(host)).collect()
}

fn is_data_dir(dir: &Path) -> bool {
    let is_beside = dir.to_string_lossy().ends_with(crate::hosts::NEW_COPY_SUFFIX);
    !is_beside && [SEGMENT_FILE, IDENTITY_FILE].iter().any(|name| dir.join(name).is_file())
}

/// Directories of another cluster than the first one's, or of one that knows another place for its parts.
fn strangers(found: &[Found]) -> Vec<Complaint> {
    let Some(first) = found.first() else { return Vec::new() };
    let shared = |c: &SegmentConfig| (c.cluster_id.clone(), c.key_file.clone(), c.socket_dir.clone());
    let mut complaints: Vec<Complaint> = (found.iter())
        .filter(|f| shared(&f.config) != shared(&first.config))
        .map(|f| {
            let of = |f: &Found| {
                format!("cluster {} ({}), key {}", f.config.cluster, f.config.cluster_id, f.config.key_file.display())
            };
            let what = format!("{} belongs to another cluster than {}", f.dir.display(), first.dir.display());
            Complaint { what, records: vec![of(f), of(first)], next: String::new() }
        })
        .collect();
    for pair in found.windows(2).filter(|p| p[0].config.dbid == p[1].config.dbid) {
        let what =
            format!("{} and {} are both dbid {}'s", pair[0].dir.display(), pair[1].dir.display(), pair[0].config.dbid);
        complaints.push(Complaint::new(what, "name the directories one by one, and only the one that is meant"));
    }
    complaints
}

/// Of the directories of one segment that which its last move led to, by dbid; and a note of each that was
/// left behind. The process at the new place is granted a later epoch than that at the former one ever
/// obeyed, and one that has not obeyed any has nothing yet: then what was left is what there is.
fn latest(mut found: Vec<Found>) -> (Vec<Found>, Vec<String>) {
    let obeyed = |f: &Found| f.copy.as_ref().map(|copy| copy.meta.epoch);
    found.sort_by_key(|f| (f.config.dbid, std::cmp::Reverse(obeyed(f))));
    let (mut last, mut notes): (Vec<Found>, Vec<String>) = (Vec::new(), Vec::new());
    for one in found {
        match last.last().filter(|l| l.config.dbid == one.config.dbid && obeyed(l) > obeyed(&one)) {
            Some(current) => {
                let (left, dbid, at) = (one.dir.display(), one.config.dbid, current.dir.display());
                notes.push(format!("{left} is left alone: dbid {dbid} was moved to {at}, which obeyed a later epoch"));
            }
            None => last.push(one),
        }
    }
    (last, notes)
}

/// The cluster's configuration as it stands, or put together again; whether it was, and what to know.
fn configuration(one: &SegmentConfig, found: &[Found]) -> Result<(ClusterConfig, bool, Vec<String>), Complaint> {
    let dir = one.key_file.parent().unwrap_or(Path::new("/"));
    match files::read_json::<ClusterConfig>(&dir.join(CLUSTER_FILE), SCHEMA) {
        Ok(config) if config.id == one.cluster_id && config.dir == dir => Ok((config, false, Vec::new())),
        Ok(config) => {
            let what = format!("{} is of cluster {} made in {}", dir.display(), config.id, config.dir.display());
            Err(Complaint::new(what, ""))
        }
        Err(FileError::Missing { .. }) => {
            let config = put_together(one, dir, found)?;
            let notes = vec![
                format!(
                    "{} is lost and made again from the segments' and agents' own",
                    dir.join(CLUSTER_FILE).display()
                ),
                "the settings are those by default".to_string(),
            ];
            Ok((config, true, notes))
        }
        Err(error) => Err(Complaint::new(error.to_string(), format!("move {} away", dir.join(CLUSTER_FILE).display()))),
    }
}

fn put_together(one: &SegmentConfig, dir: &Path, found: &[Found]) -> Result<ClusterConfig, Complaint> {
    if !dir.is_dir() {
        let what = format!("{} does not exist: the segments look for the cluster's key there", dir.display());
        return Err(Complaint::new(what, format!("mkdir -m 700 {}", dir.display())));
    }
    let mut hosts = BTreeMap::new();
    for f in found {
        let entry = HostEntry {
            name: f.agent.host.clone(),
            address: f.agent.address.clone(),
            agent_port: f.agent.port,
            dir: f.host_dir.clone(),
            roots: f.agent.roots.clone(),
            ssh: None,
        };
        hosts.insert(entry.name.clone(), entry);
    }
    let octets = one.address.parse::<Ipv4Addr>().map(|a| a.octets());
    let Ok([127, a, b, _]) = octets else {
        let what = format!("the coordinator's address can't be told from {}", one.address);
        return Err(Complaint::new(what, format!("bring {} back", dir.join(CLUSTER_FILE).display())));
    };
    Ok(ClusterConfig {
        name: one.cluster.clone(),
        id: one.cluster_id.clone(),
        dir: dir.into(),
        drill: one.drill,
        demo: false,
        coordinator: place::coordinator(Prefix(a, b), &Ports::default()),
        socket_dir: one.socket_dir.clone(),
        hosts: hosts.into_values().collect(),
        segments: Vec::new(),
        settings: BTreeMap::new(),
    })
}

/// Whoever is in the way: a coordinator, a catalog, agents that know another key.
fn in_the_way(handle: &ClusterHandle) -> Vec<Complaint> {
    let (dir, mut complaints) = (handle.coordinator_dir(), Vec::new());
    if let Some(process) = holder(&dir) {
        let what = format!("the coordinator runs (process {})", process.pid());
        complaints.push(Complaint::new(what, format!("segsh stop {}", handle.dir().display())));
    }
    let catalog = dir.join(CATALOG_FILE);
    if catalog.exists() {
        let what = format!("{} is there: only a catalog that is lost is made again", catalog.display());
        let (from, to) = (catalog.display(), dir.join("catalog.db.lost"));
        let next = format!("segsh start {}; if it can't be used: mv {from} {}", handle.dir().display(), to.display());
        complaints.push(Complaint::new(what, next));
    }
    if !handle.key_file().exists() {
        let runs = handle.config().hosts.iter().filter_map(|h| Some((h, holder(&h.dir)?)));
        complaints.extend(runs.map(|(host, process)| {
            let what = format!("the key is lost, and the agent of host {} runs with it", host.name);
            Complaint::new(what, format!("kill {}", process.pid()))
        }));
    }
    complaints
}

/// Members that the cluster has and nobody named, and members that it does not have.
fn missing(handle: &ClusterHandle, found: &[Found], is_new: bool) -> Vec<Complaint> {
    if is_new {
        let contents: Vec<i64> = found.iter().map(|f| f.config.content.0).collect();
        let most = contents.iter().max().copied().unwrap_or_default();
        let gaps = (0..most).filter(|c| !contents.contains(c));
        return gaps.map(|c| Complaint::new(format!("no directory of content {c} was named"), "")).collect();
    }
    let known: Vec<&SegmentRow> = handle.config().segments.iter().filter(|r| r.content.0 >= 0).collect();
    let has = |row: &SegmentRow| found.iter().any(|f| (f.config.dbid, f.config.content) == (row.dbid, row.content));
    let absent = known.iter().filter(|row| !has(row)).map(|row| {
        let what = format!("dbid {} of content {} is missing, made in {}", row.dbid, row.content, row.datadir);
        Complaint::new(what, format!("name {} too", row.datadir))
    });
    let foreign = found.iter().filter(|f| !known.iter().any(|row| row.dbid == f.config.dbid));
    let foreign = foreign.map(|f| {
        let (dbid, cluster) = (f.config.dbid, handle.name());
        Complaint::new(format!("{} is dbid {dbid}, which cluster {cluster} does not have", f.dir.display()), "")
    });
    absent.chain(foreign).collect()
}

fn proven(handle: &ClusterHandle, found: &[Found], serve: &[Dbid], complaints: &mut Vec<Complaint>) -> Vec<Proven> {
    let mut contents: BTreeMap<Content, Vec<Witness>> = BTreeMap::new();
    for f in found {
        contents.entry(f.config.content).or_default().push(f.witness(handle));
    }
    let mut proven = Vec::new();
    for (content, witnesses) in contents {
        let chosen = serve.iter().copied().find(|dbid| witnesses.iter().any(|w| w.dbid == *dbid));
        match prove(content, &witnesses, chosen) {
            Ok(row) => proven.push(row),
            Err(d) => {
                let could: Vec<String> = d.could_serve.iter().map(ToString::to_string).collect();
                let next = match could.as_slice() {
                    [] => String::new(),
                    could => format!("override, which may lose what the other holds: --serve {}", could.join(" or ")),
                };
                complaints.push(Complaint { what: d.to_string(), records: d.records, next });
            }
        }
    }
    proven
}

/// The catalog's rows, by what is proven and what each segment says of its place.
fn rows(handle: &ClusterHandle, found: &[Found], contents: &[Proven], notes: &mut Vec<String>) -> Vec<SegmentRow> {
    let at = &handle.config().coordinator;
    let mut rows = vec![place::coordinator_row(at, handle.coordinator_dir())];
    for proven in contents {
        let row = proven.row;
        let members = [Some((Role::Primary, row.primary)), row.mirror.map(|m| (Role::Mirror, m))];
        let preferred = preferred(handle, found, proven, notes);
        for (role, member) in members.into_iter().flatten() {
            let Some(f) = found.iter().find(|f| f.config.dbid == member.dbid) else { continue };
            rows.push(SegmentRow {
                dbid: member.dbid,
                content: row.content,
                role,
                preferred_role: if preferred == member.dbid { Role::Primary } else { Role::Mirror },
                mode: member.mode,
                status: member.status,
                port: f.config.port,
                hostname: f.config.host.clone(),
                address: f.config.address.clone(),
                replication_port: Some(f.config.replication_port),
                datadir: f.config.datadir.display().to_string(),
            });
        }
    }
    rows.sort_by_key(|r| r.dbid);
    rows
}

/// The role that a segment prefers: as it says itself, or as the cluster was made.
fn preference(handle: &ClusterHandle, found: &Found) -> Option<Role> {
    let as_made = handle.config().segments.iter().find(|row| row.dbid == found.config.dbid);
    found.config.preferred_role.or(as_made.map(|row| row.preferred_role))
}

/// The member that prefers to be the primary: as it says itself, as the cluster was made, or else the one
/// that serves.
fn preferred(handle: &ClusterHandle, found: &[Found], proven: &Proven, notes: &mut Vec<String>) -> Dbid {
    let row = proven.row;
    let dbids: Vec<Dbid> = std::iter::once(row.primary.dbid).chain(row.mirror.map(|m| m.dbid)).collect();
    let says = |dbid: Dbid| preference(handle, found.iter().find(|f| f.config.dbid == dbid)?);
    if let Some(dbid) = dbids.iter().copied().find(|d| says(*d) == Some(Role::Primary)) {
        return dbid;
    }
    if let Some(dbid) = dbids.iter().copied().find(|d| says(*d).is_none()) {
        notes.push(format!(
            "content {}: which role dbid {dbid} prefers is not known; the one it has is kept",
            row.content
        ));
    }
    row.primary.dbid
}
