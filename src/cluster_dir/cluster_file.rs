//! `cluster.toml`: the hosts, addresses, directories and ports that a cluster is to be made with.

use super::error::{ClusterDirError, system};
use super::init::{HostPlan, Hosts, InitOptions};
use super::place::Ports;
use crate::cluster::SshLogin;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The longest file that is read, in bytes.
const BYTES_MAX: u64 = 1 << 20;

/// The file as it is written. What is left out is as `segsh init` has it without a file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ClusterFile {
    name: Option<String>,
    contents: Option<u16>,
    mirrors: Option<bool>,
    #[serde(default)]
    drill: bool,
    #[serde(default)]
    coordinator: Coordinator,
    #[serde(default)]
    ports: FirstPorts,
    #[serde(default)]
    settings: BTreeMap<String, Setting>,
    #[serde(default, rename = "host")]
    hosts: Vec<Host>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Coordinator {
    host: Option<String>,
    address: Option<String>,
    port: Option<u16>,
    control_port: Option<u16>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct FirstPorts {
    primary: Option<u16>,
    mirror: Option<u16>,
    primary_replication: Option<u16>,
    mirror_replication: Option<u16>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Host {
    name: String,
    address: Option<String>,
    agent_port: Option<u16>,
    #[serde(default)]
    roots: Vec<PathBuf>,
    #[serde(default)]
    spare: bool,
    ssh: Option<Login>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Login {
    dir: PathBuf,
    user: Option<String>,
    port: Option<u16>,
    #[serde(default)]
    keys: Vec<PathBuf>,
    known_hosts: Option<PathBuf>,
}

/// A setting's value, which need not be in quotes.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Setting {
    Text(String),
    Number(i64),
    Bool(bool),
}

impl Setting {
    fn text(self) -> String {
        match self {
            Setting::Text(text) => text,
            Setting::Number(number) => number.to_string(),
            Setting::Bool(on) => (if on { "on" } else { "off" }).into(),
        }
    }
}

impl InitOptions {
    /// What a cluster file asks for. Relative paths in it are beside it.
    pub fn from_file(path: &Path) -> Result<InitOptions, ClusterDirError> {
        let impossible = |message: String| ClusterDirError::Impossible {
            message,
            next: "docs/operations.md has a cluster file to begin with".into(),
        };
        let size = fs::metadata(path).map_err(system(format!("read {}", path.display())))?.len();
        if size > BYTES_MAX {
            return Err(impossible(format!("{} has {size} bytes: that is no cluster file", path.display())));
        }
        let text = fs::read_to_string(path).map_err(system(format!("read {}", path.display())))?;
        let beside = path.parent().unwrap_or(Path::new("."));
        let file: ClusterFile = toml::from_str(&text).map_err(|error| {
            impossible(format!("{} can't be read: {}", path.display(), error.to_string().trim_end()))
        })?;
        if file.hosts.is_empty() {
            return Err(impossible(format!("{} names no [[host]]", path.display())));
        }
        Ok(file.options(beside))
    }
}

impl ClusterFile {
    fn options(self, beside: &Path) -> InitOptions {
        let default = InitOptions::default();
        let ports = Ports::default();
        InitOptions {
            name: self.name,
            contents: self.contents.unwrap_or(default.contents),
            mirrors: self.mirrors.unwrap_or(default.mirrors),
            drill: self.drill,
            settings: self.settings.into_iter().map(|(name, value)| (name, value.text())).collect(),
            coordinator_host: self.coordinator.host,
            coordinator_address: self.coordinator.address,
            ports: Ports {
                postgres: self.coordinator.port.unwrap_or(ports.postgres),
                control: self.coordinator.control_port.unwrap_or(ports.control),
                primary: self.ports.primary.unwrap_or(ports.primary),
                mirror: self.ports.mirror.unwrap_or(ports.mirror),
                primary_link: self.ports.primary_replication.unwrap_or(ports.primary_link),
                mirror_link: self.ports.mirror_replication.unwrap_or(ports.mirror_link),
                ..ports
            },
            hosts: Hosts::Named(self.hosts.into_iter().map(|host| host.plan(beside)).collect()),
            ..default
        }
    }
}

impl Host {
    fn plan(self, beside: &Path) -> HostPlan {
        // Paths of another machine are its own.
        let is_here = self.ssh.is_none();
        let roots = self.roots.iter().map(|root| if is_here { beside.join(root) } else { root.clone() }).collect();
        let ssh = self.ssh.map(|login| SshLogin {
            dir: login.dir,
            user: login.user,
            port: login.port,
            keys: login.keys.iter().map(|key| beside.join(key)).collect(),
            known_hosts: login.known_hosts.map(|file| beside.join(file)),
        });
        HostPlan { name: self.name, address: self.address, agent_port: self.agent_port, roots, ssh, spare: self.spare }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<InitOptions, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cluster.toml");
        fs::write(&path, text).unwrap();
        InitOptions::from_file(&path).map_err(|error| {
            assert!(!error.next().is_empty());
            error.to_string().replace(&path.display().to_string(), "FILE")
        })
    }

    #[test]
    fn what_is_left_out_is_as_without_a_file() {
        let options = read("[[host]]\nname = \"a\"\n[[host]]\nname = \"b\"\n").unwrap();
        let default = InitOptions::default();
        assert_eq!((options.contents, options.mirrors, options.ports), (default.contents, true, default.ports));
        let Hosts::Named(hosts) = options.hosts else { panic!("they are named") };
        assert_eq!(hosts.iter().map(|h| h.name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    }

    #[test]
    fn every_part_of_a_file_is_taken() {
        let options = read(
            "name = \"prod\"\ncontents = 2\nmirrors = true\ndrill = true\n\
             [coordinator]\nhost = \"cdw\"\naddress = \"10.0.0.1\"\nport = 1\ncontrol_port = 2\n\
             [ports]\nprimary = 3\nmirror = 4\nprimary_replication = 5\nmirror_replication = 6\n\
             [settings]\ngp_fts_probe_interval = \"5s\"\ngp_fts_probe_retries = 7\n\
             [[host]]\nname = \"sdw1\"\naddress = \"10.0.0.2\"\nroots = [\"/data1\"]\n\
             [host.ssh]\ndir = \"/srv/segsh\"\nuser = \"gpadmin\"\nport = 2222\nkeys = [\"id\"]\nknown_hosts = \"known\"\n\
             [[host]]\nname = \"sdw2\"\nagent_port = 8\nroots = [\"data2\"]\nspare = true\n",
        )
        .unwrap();
        let ports = options.ports;
        assert_eq!([ports.postgres, ports.control, ports.primary, ports.mirror], [1, 2, 3, 4]);
        assert_eq!([ports.primary_link, ports.mirror_link], [5, 6]);
        assert_eq!(options.settings["gp_fts_probe_retries"], "7");
        let Hosts::Named(hosts) = options.hosts else { panic!("they are named") };
        let ssh = hosts[0].ssh.as_ref().unwrap();
        assert!(ssh.keys[0].is_absolute() && ssh.known_hosts.as_ref().unwrap().ends_with("known"), "{ssh:?}");
        assert_eq!(hosts[0].roots, [Path::new("/data1")]);
        assert!(hosts[1].spare && hosts[1].roots[0].is_absolute(), "a path of this machine is beside the file");
    }

    #[test]
    fn the_example_of_the_guide_is_one() {
        let guide = include_str!("../../docs/operations.md");
        let example = guide.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
        let Hosts::Named(hosts) = read(example).unwrap().hosts else { panic!("they are named") };
        assert_eq!(hosts.iter().map(|h| h.spare).collect::<Vec<_>>(), [false, false, true]);
        assert_eq!(hosts[0].roots.len(), 2);
    }

    #[test]
    fn what_a_file_can_not_say_is_named_with_its_line() {
        assert_eq!(read("contents = 2\n").unwrap_err(), "FILE names no [[host]]");
        let unknown = read("[[host]]\nname = \"a\"\nadress = \"x\"\n").unwrap_err();
        assert!(unknown.contains("line 3") && unknown.contains("adress") && unknown.contains("address"), "{unknown}");
        let kind = read("contents = \"two\"\n").unwrap_err();
        assert!(kind.contains("line 1") && kind.contains("contents"), "{kind}");
    }
}
