//! Which directories are a host's data directories, and which are nobody's business here.
//!
//! A data directory is a direct child of the host's own directory, or of one of its roots: so no message can
//! name a path elsewhere. The host's own directory is the cluster's alone. A root may hold what is not, so
//! there a directory counts only if its `segment.json` says that it is of this host and this cluster.

use super::config::{AgentConfig, SEGMENT_FILE, SegmentConfig};
use super::host::HostFailure;
use super::lock::LOCK_FILE;
use std::ffi::OsStr;
use std::fs;
use std::path::{Component, Path, PathBuf};

/// Every directory that may be a segment's of the host whose directory this is, sorted. A host that lost its
/// `agent.json` has only what is in its own directory.
pub fn data_dirs(host_dir: &Path) -> Vec<PathBuf> {
    match AgentConfig::load(host_dir) {
        Ok(config) => data_dirs_of(host_dir, &config),
        Err(_) => sub_dirs(host_dir),
    }
}

/// The same, of a host that is known.
pub(super) fn data_dirs_of(host_dir: &Path, config: &AgentConfig) -> Vec<PathBuf> {
    let mut dirs = sub_dirs(host_dir);
    for root in &config.roots {
        dirs.extend(sub_dirs(root).into_iter().filter(|dir| is_segment_of(dir, config)));
    }
    dirs.sort();
    dirs
}

/// Whether `path` is, or may become, a data directory of this host.
pub(super) fn mine(host_dir: &Path, config: &AgentConfig, path: &Path) -> Result<(), HostFailure> {
    let not = |why: &str| HostFailure::NotMine { path: path.into(), why: why.into() };
    let is_own = is_child(host_dir, path);
    if !is_below(host_dir, config, path) {
        return Err(not("it is not directly in a directory of the host's"));
    }
    match fs::symlink_metadata(path) {
        Ok(meta) if !meta.is_dir() => Err(not("it is not a directory")),
        Ok(_) if !is_own && !is_vacant(path) && !is_segment_of(path, config) => Err(not("it holds something else")),
        _ => Ok(()),
    }
}

/// Whether `path` is where this host's data directories are, whatever is in it.
pub(super) fn is_below(host_dir: &Path, config: &AgentConfig, path: &Path) -> bool {
    is_child(host_dir, path) || config.roots.iter().any(|root| is_child(root, path))
}

/// Whether `path` names a direct child of `dir`, by its text alone.
fn is_child(dir: &Path, path: &Path) -> bool {
    let Ok(inside) = path.strip_prefix(dir) else {
        return false;
    };
    let mut parts = inside.components();
    matches!((parts.next(), parts.next()), (Some(Component::Normal(name)), None) if !is_hidden(name))
}

/// Whether nothing is in it but a lock, which whoever looks for a process there may leave behind.
pub(super) fn is_vacant(dir: &Path) -> bool {
    fs::read_dir(dir).is_ok_and(|mut entries| entries.all(|e| e.is_ok_and(|e| e.file_name() == OsStr::new(LOCK_FILE))))
}

/// A data directory's name never begins with a dot: what is ours beside them does.
fn is_hidden(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b".")
}

/// Whether a directory is a segment's, or was made to become one: not what somebody else put among them.
pub(super) fn is_a_segments(dir: &Path) -> bool {
    dir.join(SEGMENT_FILE).exists() || is_vacant(dir)
}

fn is_segment_of(dir: &Path, config: &AgentConfig) -> bool {
    SegmentConfig::load(dir).is_ok_and(|segment| segment.cluster_id == config.cluster_id && segment.host == config.host)
}

fn sub_dirs(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(dir) else {
        return Vec::new();
    };
    let is_dir = |e: &fs::DirEntry| e.file_type().is_ok_and(|t| t.is_dir()) && !is_hidden(&e.file_name());
    let mut dirs: Vec<PathBuf> = entries.filter_map(Result::ok).filter(is_dir).map(|e| e.path()).collect();
    dirs.sort();
    dirs
}

/// Removes a data directory with all that is in it. What says whose it is goes last: a removal that is
/// interrupted can be asked for again.
pub fn remove_data_dir(dir: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        match entry.file_type()?.is_dir() {
            true => fs::remove_dir_all(entry.path())?,
            false if entry.file_name() == OsStr::new(SEGMENT_FILE) => {}
            false => fs::remove_file(entry.path())?,
        }
    }
    fs::remove_dir_all(dir)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::ids::{Content, Dbid};

    fn agent(roots: Vec<PathBuf>) -> AgentConfig {
        AgentConfig {
            cluster_id: "id".into(),
            cluster: "test".into(),
            host: "sdw1".into(),
            address: "127.0.0.1".into(),
            port: 0,
            key_file: "/key".into(),
            log_dir: "/log".into(),
            program: None,
            roots,
        }
    }

    fn segment(datadir: &Path, cluster_id: &str, host: &str) {
        fs::create_dir_all(datadir).unwrap();
        let config = SegmentConfig {
            cluster_id: cluster_id.into(),
            cluster: "test".into(),
            dbid: Dbid(2),
            content: Content(0),
            host: host.into(),
            address: "127.0.0.1".into(),
            port: 1,
            replication_port: 2,
            datadir: datadir.into(),
            socket_dir: "/run".into(),
            key_file: "/key".into(),
            drill: false,
            preferred_role: None,
        };
        config.store().unwrap();
    }

    #[test]
    fn in_a_root_only_what_is_vacant_or_this_hosts_own_is_touched() {
        let dir = tempfile::tempdir().unwrap();
        let (own, root) = (dir.path().join("sdw1"), dir.path().join("fast"));
        for made in [&own, &root, &root.join("empty"), &root.join("letters")] {
            fs::create_dir(made).unwrap();
        }
        fs::write(root.join("letters/precious"), "").unwrap();
        fs::write(root.join("empty").join(LOCK_FILE), "").unwrap();
        segment(&own.join("c0-2"), "id", "sdw1");
        segment(&root.join("c1-3"), "id", "sdw1");
        segment(&root.join("c2-4"), "id", "sdw2");
        segment(&root.join("c3-5"), "other", "sdw1");
        let config = agent(vec![root.clone()]);
        let allowed = |path: &Path| mine(&own, &config, path).is_ok();
        for fine in [own.join("c0-2"), own.join("new"), root.join("new"), root.join("empty"), root.join("c1-3")] {
            assert!(allowed(&fine), "{}", fine.display());
        }
        let not = ["letters", "c2-4", "c3-5", "c1-3/deeper", "../fast/letters", ""];
        for path in not.map(|name| root.join(name)) {
            assert!(!allowed(&path), "{}", path.display());
        }
        config.store(&own).unwrap();
        assert_eq!(data_dirs(&own), [root.join("c1-3"), own.join("c0-2")]);
    }

    #[test]
    fn a_removal_that_was_interrupted_can_be_asked_for_again() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("fast");
        let data = root.join("c1-3");
        segment(&data, "id", "sdw1");
        fs::write(data.join("main.db"), "").unwrap();
        // As it is when the removal dies before its last step.
        fs::remove_file(data.join("main.db")).unwrap();
        assert!(mine(dir.path(), &agent(vec![root]), &data).is_ok());
        remove_data_dir(&data).unwrap();
        assert!(!data.exists());
    }
}
