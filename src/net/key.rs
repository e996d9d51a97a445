//! The cluster's key: 32 random bytes in a file that only its owner reads.
//!
//! It is never an argument of a process and never in a log: the type shows nothing of itself, and
//! once loaded it can only authenticate.

use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use thiserror::Error;

const KEY_BYTES: usize = 32;

/// Why a key file can't be used.
#[derive(Debug, Error)]
pub enum KeyError {
    /// It can't be read or written.
    #[error("key file {path}: {source}")]
    Io { path: PathBuf, source: io::Error },
    /// Someone else may read it, so it proves nothing.
    #[error("key file {path} has mode {mode:04o}: only its owner may read it (chmod 0600)")]
    OpenToOthers { path: PathBuf, mode: u32 },
    /// Another user made it.
    #[error("key file {path} belongs to user {owner}, not to user {me}")]
    ForeignOwner { path: PathBuf, owner: u32, me: u32 },
    /// It is not 64 hexadecimal digits.
    #[error("key file {path} is not {} hexadecimal digits", KEY_BYTES * 2)]
    NotAKey { path: PathBuf },
    /// The system gave no random bytes.
    #[error("the system gives no random bytes")]
    NoEntropy,
}

/// The cluster's key, loaded. Cheap to clone.
#[derive(Clone)]
pub struct ClusterKey(hmac::Key);

impl fmt::Debug for ClusterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClusterKey(..)")
    }
}

impl ClusterKey {
    /// A key of these bytes.
    pub fn from_bytes(bytes: &[u8; KEY_BYTES]) -> ClusterKey {
        ClusterKey(hmac::Key::new(hmac::HMAC_SHA256, bytes))
    }

    /// Makes a new random key in a new file, mode 0600, durably.
    pub fn create(path: &Path) -> Result<ClusterKey, KeyError> {
        let mut bytes = [0; KEY_BYTES];
        SystemRandom::new().fill(&mut bytes).map_err(|_| KeyError::NoEntropy)?;
        let write = || -> io::Result<()> {
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
            writeln!(file, "{}", to_hex(&bytes))?;
            file.sync_all()
        };
        write().map_err(|source| KeyError::Io { path: path.into(), source })?;
        Ok(ClusterKey::from_bytes(&bytes))
    }

    /// Reads the key, unless anyone but this user could have read or written it.
    pub fn load(path: &Path) -> Result<ClusterKey, KeyError> {
        let io = |source| KeyError::Io { path: path.into(), source };
        // The permissions are asked of the open file, so that they are those of what is read.
        let file = File::open(path).map_err(io)?;
        let meta = file.metadata().map_err(io)?;
        let me = rustix::process::geteuid().as_raw();
        if meta.uid() != me {
            return Err(KeyError::ForeignOwner { path: path.into(), owner: meta.uid(), me });
        }
        if meta.mode() & 0o077 != 0 {
            return Err(KeyError::OpenToOthers { path: path.into(), mode: meta.mode() & 0o7777 });
        }
        let mut text = String::new();
        let longest = KEY_BYTES as u64 * 2 + 2;
        file.take(longest).read_to_string(&mut text).map_err(io)?;
        let bytes = from_hex(text.trim_end()).ok_or_else(|| KeyError::NotAKey { path: path.into() })?;
        Ok(ClusterKey::from_bytes(&bytes))
    }

    /// The authentication code of the parts, in their order. The caller delimits them.
    pub(super) fn sign(&self, parts: &[&[u8]]) -> hmac::Tag {
        let mut context = hmac::Context::with_key(&self.0);
        for part in parts {
            context.update(part);
        }
        context.sign()
    }

    /// Whether `code` is the authentication code of the parts, in constant time.
    pub(super) fn verifies(&self, parts: &[&[u8]], code: &[u8]) -> bool {
        hmac::verify(&self.0, &parts.concat(), code).is_ok()
    }
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn from_hex(text: &str) -> Option<[u8; KEY_BYTES]> {
    if text.len() != KEY_BYTES * 2 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let mut bytes = [0; KEY_BYTES];
    for (i, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[i * 2..i * 2 + 2], 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_key_written_is_the_key_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        let made = ClusterKey::create(&path).unwrap();
        let read = ClusterKey::load(&path).unwrap();
        let code = made.sign(&[b"one", b"two"]);
        assert!(read.verifies(&[b"onetwo"], code.as_ref()));
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_key_that_others_may_read_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        ClusterKey::create(&path).unwrap();
        for mode in [0o640, 0o604, 0o620, 0o601] {
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            assert!(matches!(ClusterKey::load(&path), Err(KeyError::OpenToOthers { .. })));
        }
    }

    #[test]
    fn a_damaged_key_is_refused_as_such() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        ClusterKey::create(&path).unwrap();
        for text in ["", "00", &"z".repeat(64), &"0".repeat(63), &"0".repeat(66)] {
            fs::write(&path, text).unwrap();
            assert!(matches!(ClusterKey::load(&path), Err(KeyError::NotAKey { .. })), "{text}");
        }
    }

    #[test]
    fn an_existing_key_is_never_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        ClusterKey::create(&path).unwrap();
        let before = fs::read(&path).unwrap();
        assert!(ClusterKey::create(&path).is_err());
        assert_eq!(fs::read(&path).unwrap(), before);
    }

    #[test]
    fn a_key_shows_nothing_of_itself() {
        let shown = format!("{:?}", ClusterKey::from_bytes(&[7; 32]));
        assert_eq!(shown, "ClusterKey(..)");
    }
}
