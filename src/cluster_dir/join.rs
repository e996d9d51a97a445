//! A host that joins a cluster: its directory, its line in `cluster.json`, its agent or what it needs without one. And
//! one that leaves it.
//!
//! `cluster.json` is rewritten whole, durably and under a lock, so that of two administrators who add or remove a
//! host at a time neither loses the other's. Each step may be repeated: what was interrupted is asked for again.

use super::address;
use super::config::{CLUSTER_FILE, ClusterConfig, HostEntry, SCHEMA};
use super::error::{ClusterDirError, system};
use super::handle::{ClusterHandle, open};
use super::init::agent_config;
use super::place::{AGENT_PORT, Prefix};
use super::processes::{ensure_agent, outfit};
use crate::cluster::{NewHost, SshLogin};
use crate::hosts::files::{self, make_private_dir};
use crate::hosts::{DirLock, LockError, SshPlace};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long another administrator's change of the hosts is waited for.
const LOCK_WITHIN: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(20);
/// Addresses of a cluster's own prefix that hosts get when nobody names one.
const LAST_PARTS: std::ops::RangeInclusive<u8> = 11..=254;
const SSH_PORT: u16 = 22;
/// Ports that are tried for an agent on an address that has one already.
const PORTS_TRIED: u16 = 100;

/// What came of adding a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Joined {
    /// The host as it stands in `cluster.json`.
    pub entry: HostEntry,
    /// False when it was there already, as it was asked for.
    pub is_new: bool,
}

/// Adds a host on this machine, and starts its agent. One that is there already as it is asked for is only
/// brought up. Blocks for as long as another administrator changes the hosts.
pub async fn add_host(handle: &ClusterHandle, program: &Path, new: &NewHost) -> Result<Joined, ClusterDirError> {
    check_name(&new.name)?;
    if let Some(login) = &new.ssh {
        return add_over_ssh(handle, program, new, login).await;
    }
    let joined = {
        let (handle, new) = (handle.clone(), new.clone());
        let written = tokio::task::spawn_blocking(move || write(&handle, &new)).await;
        written.map_err(|e| system("add the host")(std::io::Error::other(e)))??
    };
    ensure_agent(handle, program, &joined.entry.name).await?;
    Ok(joined)
}

/// A host that can't be reached, or equipped, does not join: nothing is written before it answers.
async fn add_over_ssh(
    handle: &ClusterHandle,
    program: &Path,
    new: &NewHost,
    login: &SshLogin,
) -> Result<Joined, ClusterDirError> {
    if handle.config().demo {
        return Err(ClusterDirError::Impossible {
            message: "a demo is gone with its shell, and would leave another machine as it is".into(),
            next: "segsh init DIR --drill".into(),
        });
    }
    let address = new.address.clone().ok_or_else(|| ClusterDirError::Impossible {
        message: "a host that is reached over SSH has an address that others reach, too: it must be named".into(),
        next: format!("segsh add-host {} --ssh --address ADDRESS --dir DIR", new.name),
    })?;
    if let Some(relative) = new.roots.iter().chain([&login.dir]).find(|path| !path.is_absolute()) {
        return Err(ClusterDirError::Impossible {
            message: format!("{}: a path on another machine is absolute", relative.display()),
            next: "help(\"add_host\")".into(),
        });
    }
    let entry = HostEntry {
        name: new.name.clone(),
        address,
        agent_port: 0,
        dir: login.dir.clone(),
        roots: new.roots.clone(),
        ssh: Some(ssh_place(handle.dir(), login)?),
    };
    if let Some(host) = entry.over_ssh() {
        host.bring_up(&outfit(handle, program, &entry)).await?;
    }
    let _lock = lock(handle.dir())?;
    let mut config = open(handle.dir())?.config().clone();
    match config.hosts.iter().find(|h| h.name == entry.name) {
        Some(there) if *there == entry => return Ok(Joined { entry, is_new: false }),
        Some(there) => return Err(is_other(there)),
        None => config.hosts.push(entry.clone()),
    }
    files::write_json(&config.dir.join(CLUSTER_FILE), SCHEMA, &config)?;
    Ok(Joined { entry, is_new: true })
}

/// What is not said is as OpenSSH would have it; paths are written down, for the coordinator may be somebody
/// else's child.
pub(super) fn ssh_place(cluster_dir: &Path, login: &SshLogin) -> Result<SshPlace, ClusterDirError> {
    let of_user = dirs::home_dir().unwrap_or_default().join(".ssh");
    let of_cluster = cluster_dir.join("known_hosts");
    let usual = if of_cluster.is_file() { of_cluster } else { of_user.join("known_hosts") };
    let here = |path: &PathBuf| std::path::absolute(path).map_err(system(format!("look at {}", path.display())));
    let keys = match login.keys.as_slice() {
        [] => ["id_ed25519", "id_ecdsa", "id_rsa"]
            .map(|name| of_user.join(name))
            .into_iter()
            .filter(|k| k.is_file())
            .collect(),
        named => named.iter().map(here).collect::<Result<_, _>>()?,
    };
    let me = || std::env::var("LOGNAME").or_else(|_| std::env::var("USER")).unwrap_or_else(|_| "root".into());
    Ok(SshPlace {
        user: login.user.clone().unwrap_or_else(me),
        port: login.port.unwrap_or(SSH_PORT),
        keys,
        known_hosts: here(login.known_hosts.as_ref().unwrap_or(&usual))?,
    })
}

pub(super) fn check_name(name: &str) -> Result<(), ClusterDirError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    let is_name = !name.is_empty() && name.len() <= 63 && name.chars().all(plain) && !name.starts_with(['.', '-']);
    if is_name {
        return Ok(());
    }
    Err(ClusterDirError::Impossible {
        message: format!("`{name}` is no name for a host: letters, digits, `_`, `-` and `.`"),
        next: "choose another name".into(),
    })
}

fn write(handle: &ClusterHandle, new: &NewHost) -> Result<Joined, ClusterDirError> {
    let _lock = lock(handle.dir())?;
    // Read under the lock: the hosts may have changed since the cluster was opened.
    let mut config = open(handle.dir())?.config().clone();
    if let Some(there) = config.hosts.iter().find(|h| h.name == new.name) {
        return as_it_is(there, new);
    }
    let entry = entry(&config, new)?;
    make_private_dir(&entry.dir)?;
    // Like the other agents': with the program that segments are started with, where that is another.
    let program = config.hosts.iter().find_map(|h| crate::hosts::AgentConfig::load(&h.dir).ok()?.program);
    agent_config(handle, &entry, program).store(&entry.dir)?;
    config.hosts.push(entry.clone());
    files::write_json(&config.dir.join(CLUSTER_FILE), SCHEMA, &config)?;
    Ok(Joined { entry, is_new: true })
}

/// Strikes a host out of `cluster.json`, whose directory is `dir`; one that does not stand there is gone. Whether it may
/// leave the coordinator knows. Blocks for as long as another administrator changes the hosts.
pub fn remove_host(dir: &Path, name: &str) -> Result<(), ClusterDirError> {
    let _lock = lock(dir)?;
    let mut config = open(dir)?.config().clone();
    config.hosts.retain(|host| host.name != name);
    files::write_json(&config.dir.join(CLUSTER_FILE), SCHEMA, &config)?;
    Ok(())
}

fn lock(dir: &Path) -> Result<DirLock, ClusterDirError> {
    let since = Instant::now();
    loop {
        match DirLock::keep_out(dir) {
            Ok(lock) => return Ok(lock),
            Err(LockError::Held { .. }) if since.elapsed() < LOCK_WITHIN => std::thread::sleep(PAUSE),
            Err(error) => {
                return Err(ClusterDirError::Impossible {
                    message: format!("the hosts can't be changed now: {error}"),
                    next: "wait until the other change of the hosts has ended".into(),
                });
            }
        }
    }
}

/// A host of this name is there: it must be the one that is meant.
fn as_it_is(there: &HostEntry, new: &NewHost) -> Result<Joined, ClusterDirError> {
    if there.ssh.is_some() {
        return Err(is_other(there));
    }
    let same_address = new.address.as_ref().is_none_or(|address| *address == there.address);
    let roots = make_roots(&new.roots)?;
    if same_address && (roots.is_empty() || roots == there.roots) {
        return Ok(Joined { entry: there.clone(), is_new: false });
    }
    Err(is_other(there))
}

/// The name is taken by a host that is not the one that was meant.
fn is_other(there: &HostEntry) -> ClusterDirError {
    let mut with: Vec<String> = there.roots.iter().map(|r| r.display().to_string()).collect();
    if let Some(ssh) = &there.ssh {
        with.push(format!("over SSH as {} on port {} in {}", ssh.user, ssh.port, there.dir.display()));
    }
    let with = if with.is_empty() { String::new() } else { format!(", with {}", with.join(", ")) };
    ClusterDirError::Impossible {
        message: format!("host {} is there already, on {}{with}", there.name, there.address),
        next: "choose another name".into(),
    }
}

fn entry(config: &ClusterConfig, new: &NewHost) -> Result<HostEntry, ClusterDirError> {
    let (address, agent_port) = match &new.address {
        Some(address) => (address.clone(), free_port(config, address)?),
        None => (next_address(config)?, AGENT_PORT),
    };
    let dir = config.dir.join("hosts").join(&new.name);
    Ok(HostEntry { name: new.name.clone(), address, agent_port, dir, roots: make_roots(&new.roots)?, ssh: None })
}

/// The roots, absolute; one that does not exist is made.
pub(super) fn make_roots(given: &[PathBuf]) -> Result<Vec<PathBuf>, ClusterDirError> {
    let made = |root: &PathBuf| {
        make_private_dir(root)?;
        root.canonicalize().map_err(system(format!("look at {}", root.display())))
    };
    given.iter().map(made).collect()
}

/// The next free address of the cluster's own loopback prefix.
fn next_address(config: &ClusterConfig) -> Result<String, ClusterDirError> {
    let needed = |message: String| ClusterDirError::Impossible {
        message,
        next: "add_host(\"NAME\", #{ address: \"ADDRESS\" })".into(),
    };
    let octets = config.coordinator.address.parse::<Ipv4Addr>().map(|a| a.octets());
    let Ok([127, a, b, _]) = octets else {
        return Err(needed("this cluster is not on loopback addresses: the host's address must be named".into()));
    };
    let taken = |address: &String| config.hosts.iter().any(|h| h.address == *address);
    let free = |address: &String| address::can_listen(address, AGENT_PORT).is_ok();
    let mut all = LAST_PARTS.map(|last| Prefix(a, b).address(last));
    all.find(|address| !taken(address) && free(address))
        .ok_or_else(|| needed(format!("no address of 127.{a}.{b}.0/24 is free")))
}

/// A free port for an agent on an address, which must be this machine's.
fn free_port(config: &ClusterConfig, address: &str) -> Result<u16, ClusterDirError> {
    let taken = |port: u16| config.hosts.iter().any(|h| h.address == address && h.agent_port == port);
    let mut last = None;
    for port in (AGENT_PORT..AGENT_PORT + PORTS_TRIED).filter(|port| !taken(*port)) {
        match address::can_listen(address, port) {
            Ok(()) => return Ok(port),
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => last = Some(error),
            // Another port is as far away.
            Err(error) => return Err(system(format!("listen on {address}"))(error)),
        }
    }
    let error = last.unwrap_or_else(|| std::io::Error::other("every port is another host's"));
    Err(system(format!("find a free port on {address}"))(error))
}

#[cfg(test)]
mod tests {
    use super::super::{InitOptions, init};
    use super::*;
    use crate::hosts::AgentConfig;

    fn cluster(root: &Path) -> ClusterHandle {
        init(&root.join("prod"), &InitOptions::default(), &|_| Ok(()), &|_| Ok(())).unwrap()
    }

    fn new(name: &str) -> NewHost {
        NewHost { name: name.into(), ..NewHost::default() }
    }

    #[test]
    fn a_host_that_joins_is_in_the_file_once_with_an_address_of_its_own() {
        let root = tempfile::tempdir().unwrap();
        let handle = cluster(root.path());
        let fast = root.path().join("fast");
        let wanted = NewHost { roots: vec![fast.clone()], ..new("sdw3") };
        let joined = write(&handle, &wanted).unwrap();
        assert!(joined.is_new && joined.entry.address.ends_with(".13"), "{joined:?}");
        assert!(!write(&handle, &wanted).unwrap().is_new);
        assert!(!write(&handle, &new("sdw3")).unwrap().is_new);
        let hosts = handle.hosts().unwrap();
        assert_eq!(hosts.len(), 3);
        assert_eq!(hosts[2], joined.entry);
        assert_eq!(hosts[2].data_roots(), [fast.canonicalize().unwrap(), handle.dir().join("hosts/sdw3")]);
        let agent = AgentConfig::load(&hosts[2].dir).unwrap();
        assert_eq!((agent.host.as_str(), agent.roots), ("sdw3", joined.entry.roots));
        assert_eq!(handle.config().segments, open(handle.dir()).unwrap().config().segments);
    }

    #[test]
    fn a_host_that_leaves_is_struck_out_once_and_keeps_its_directory() {
        let root = tempfile::tempdir().unwrap();
        let handle = cluster(root.path());
        let dir = write(&handle, &new("sdw3")).unwrap().entry.dir;
        for _ in 0..2 {
            remove_host(handle.dir(), "sdw3").unwrap();
            let names: Vec<String> = handle.hosts().unwrap().into_iter().map(|host| host.name).collect();
            assert_eq!(names, ["sdw1", "sdw2"]);
        }
        assert!(dir.is_dir());
        assert!(write(&handle, &new("sdw3")).unwrap().is_new, "it may come back");
    }

    #[test]
    fn hosts_that_join_at_a_time_are_all_there() {
        let root = tempfile::tempdir().unwrap();
        let handle = cluster(root.path());
        std::thread::scope(|scope| {
            for n in 3..9 {
                let handle = &handle;
                scope.spawn(move || write(handle, &new(&format!("sdw{n}"))).unwrap());
            }
        });
        let hosts = handle.hosts().unwrap();
        let addresses: std::collections::BTreeSet<_> = hosts.iter().map(|h| h.address.clone()).collect();
        assert_eq!((hosts.len(), addresses.len()), (8, 8));
    }

    #[test]
    fn what_can_not_join_is_refused_with_a_next_step_and_changes_nothing() {
        let root = tempfile::tempdir().unwrap();
        let handle = cluster(root.path());
        let other = NewHost { address: Some("127.0.0.9".into()), ..new("sdw1") };
        let elsewhere = NewHost { address: Some("192.0.2.1".into()), ..new("sdw3") };
        assert!(write(&handle, &other).unwrap_err().to_string().contains("sdw1 is there already"));
        assert!(write(&handle, &elsewhere).unwrap_err().to_string().contains("listen on 192.0.2.1"));
        for name in ["", "../x", "a b", "-x", ".."] {
            assert!(matches!(check_name(name), Err(ClusterDirError::Impossible { .. })), "{name}");
        }
        assert_eq!(handle.hosts().unwrap().len(), 2);
    }
}
