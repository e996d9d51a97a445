//! How a host is reached over SSH, and what of ours is where on it.

use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// What of ours a host has beside its data directories; no data directory's name begins with a dot.
const OWN: &str = ".segsh";

/// How a host is reached over SSH.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SshPlace {
    /// Whose account it is.
    pub user: String,
    /// The port of its `sshd`.
    pub port: u16,
    /// Files of private keys, without a passphrase; they are tried after the agent's.
    #[serde(default)]
    pub keys: Vec<PathBuf>,
    /// The file of the keys that hosts are known by, in OpenSSH's form.
    pub known_hosts: PathBuf,
}

/// Where a host that is reached over SSH has what is ours and no segment's.
pub(in crate::hosts) fn own_dir(dir: &Path) -> PathBuf {
    dir.join(OWN)
}

/// The paths in the directory of a host that is reached over SSH.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    pub dir: PathBuf,
}

impl Layout {
    pub(super) fn of(dir: &Path) -> Layout {
        Layout { dir: dir.into() }
    }

    /// Everything that is ours and no segment's.
    pub(super) fn own(&self) -> PathBuf {
        own_dir(&self.dir)
    }

    /// The name under which the program is run: a link to the one of the release.
    pub(super) fn program(&self) -> PathBuf {
        self.own().join("segsh")
    }

    /// Programs by what they are.
    pub(super) fn program_of(&self, digest: &str) -> PathBuf {
        self.own().join(format!("segsh-{}", digest.get(..16).unwrap_or(digest)))
    }

    pub(super) fn key_file(&self) -> PathBuf {
        self.own().join("key")
    }

    pub(super) fn log_dir(&self) -> PathBuf {
        self.own().join("log")
    }

    /// Where segments put the Unix sockets of PostgreSQL clients.
    pub(super) fn socket_dir(&self) -> PathBuf {
        self.own().join("run")
    }
}

/// A word of a command line, as every shell reads it.
pub(super) fn quoted(path: &Path) -> String {
    format!("'{}'", path.to_string_lossy().replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_reads_a_quoted_path_as_it_is() {
        for path in ["/plain", "/with blank", "/it's", "/$HOME`x`\"\\"] {
            let said = std::process::Command::new("sh")
                .args(["-c", &format!("printf %s {}", quoted(Path::new(path)))])
                .output()
                .unwrap();
            assert_eq!(String::from_utf8_lossy(&said.stdout), path);
        }
    }
}
