//! The keys that hosts are known by: an OpenSSH `known_hosts` file, read and never written.
//!
//! Lines are judged one by one: the library asks whether a line is about a host (hashed names too), and a key
//! of another type than the line's is neither a match nor a change.

use super::session::base64;
use crate::net::NetError;
use ssh2::{CheckResult, KnownHostFileKind, Session};
use std::fs;
use std::io;
use std::path::Path;

/// The port whose hosts stand in the file by their bare name.
const SSH_PORT: u16 = 22;

/// What the file says of a key that a host showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Known,
    /// The file knows no key of this type for the host.
    Unknown,
    /// The file has another key of this type for the host, or says that this one is revoked.
    Changed,
}

/// The lines of a file.
pub(super) struct Known {
    lines: Vec<Line>,
}

struct Line {
    text: String,
    key_type: String,
    revoked: bool,
}

impl Known {
    /// Reads a file; one that is not there knows nobody.
    pub(super) fn read(file: &Path) -> Result<Known, NetError> {
        let text = match fs::read_to_string(file) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => String::new(),
            read => read.map_err(|e| NetError::Local(format!("{}: {e}", file.display())))?,
        };
        Ok(Known { lines: text.lines().filter_map(line).collect() })
    }

    /// The types of the keys that a host is known by, in their order.
    pub(super) fn types(&self, session: &Session, host: &str, port: u16) -> Vec<&str> {
        // Nobody has this key: every line about the host differs from it. (To the library an empty one would be a
        // text of unknown length.)
        let about = |line: &&Line| says(session, line, &name(host, port), b"-") == Says::OtherKey;
        let mut types: Vec<&str> = self.lines.iter().filter(about).map(|line| line.key_type.as_str()).collect();
        types.dedup();
        types
    }

    /// What the file says of the key that a host showed.
    pub(super) fn judge(&self, session: &Session, host: &str, port: u16, key: &[u8]) -> Verdict {
        let Some(key_type) = type_of(key) else {
            return Verdict::Unknown;
        };
        // Whomever the line names, by a pattern perhaps: a key that was revoked lets nobody in.
        let written = base64(key, true);
        if self.lines.iter().any(|line| line.revoked && line.text.split_whitespace().nth(2) == Some(&written)) {
            return Verdict::Changed;
        }
        let mut verdict = Verdict::Unknown;
        for line in self.lines.iter().filter(|line| !line.revoked) {
            match says(session, line, &name(host, port), key) {
                Says::ThisKey => verdict = Verdict::Known,
                Says::OtherKey if line.key_type == key_type && verdict == Verdict::Unknown => {
                    verdict = Verdict::Changed;
                }
                Says::OtherKey | Says::Nothing => {}
            }
        }
        verdict
    }
}

/// One line of the file; `None` for a comment, and for what speaks of authorities, which are not asked.
fn line(text: &str) -> Option<Line> {
    let text = text.trim();
    let (revoked, text) = match text.strip_prefix("@revoked") {
        Some(rest) => (true, rest.trim_start()),
        None => (false, text),
    };
    if text.is_empty() || text.starts_with(['#', '@']) {
        return None;
    }
    let key_type = text.split_whitespace().nth(1)?.to_owned();
    Some(Line { text: text.to_owned(), key_type, revoked })
}

/// A host as the file names it.
fn name(host: &str, port: u16) -> String {
    if port == SSH_PORT { host.to_owned() } else { format!("[{host}]:{port}") }
}

#[derive(PartialEq, Eq)]
enum Says {
    ThisKey,
    OtherKey,
    Nothing,
}

fn says(session: &Session, line: &Line, name: &str, key: &[u8]) -> Says {
    let Ok(mut one) = session.known_hosts() else {
        return Says::Nothing;
    };
    // A line that the library can't read says nothing, as it does for OpenSSH.
    if one.read_str(&line.text, KnownHostFileKind::OpenSSH).is_err() {
        return Says::Nothing;
    }
    match one.check(name, key) {
        CheckResult::Match => Says::ThisKey,
        CheckResult::Mismatch => Says::OtherKey,
        CheckResult::NotFound | CheckResult::Failure => Says::Nothing,
    }
}

/// The type that a key begins with: its length in four bytes, and its name.
fn type_of(key: &[u8]) -> Option<&str> {
    let (length, rest) = key.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    std::str::from_utf8(rest.get(..length)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A key of a type, as hosts send it, and as the file has it.
    fn key(key_type: &str, byte: u8) -> (Vec<u8>, String) {
        let mut blob = Vec::new();
        for part in [key_type.as_bytes(), &[byte; 32]] {
            blob.extend(u32::try_from(part.len()).unwrap().to_be_bytes());
            blob.extend(part);
        }
        let text = base64(&blob, true);
        (blob, text)
    }

    fn known(text: &str) -> Known {
        Known { lines: text.lines().filter_map(line).collect() }
    }

    #[test]
    fn a_key_is_known_unknown_or_changed_by_the_lines_about_its_host_and_type() {
        let session = Session::new().unwrap();
        let (blob, mine) = key("ssh-ed25519", 1);
        let (_, other) = key("ssh-ed25519", 2);
        let (_, rsa) = key("ssh-rsa", 3);
        let cases = [
            (format!("10.0.0.1 ssh-ed25519 {mine}"), Verdict::Known),
            (format!("# x\n\n10.0.0.1,sdw1 ssh-ed25519 {mine} comment"), Verdict::Known),
            (format!("10.0.0.1 ssh-ed25519 {other}\n10.0.0.1 ssh-ed25519 {mine}"), Verdict::Known),
            (format!("10.0.0.1 ssh-ed25519 {other}"), Verdict::Changed),
            (format!("@revoked 10.0.0.1 ssh-ed25519 {mine}"), Verdict::Changed),
            (format!("10.0.0.1 ssh-ed25519 {mine}\n@revoked 10.0.0.1 ssh-ed25519 {mine}"), Verdict::Changed),
            (format!("10.0.0.1 ssh-rsa {rsa}"), Verdict::Unknown),
            (format!("10.0.0.2 ssh-ed25519 {mine}"), Verdict::Unknown),
            (format!("[10.0.0.1]:2222 ssh-ed25519 {mine}"), Verdict::Unknown),
            (format!("@cert-authority 10.0.0.1 ssh-ed25519 {mine}"), Verdict::Unknown),
            ("10.0.0.1 nonsense".into(), Verdict::Unknown),
            (String::new(), Verdict::Unknown),
        ];
        for (text, expected) in cases {
            assert_eq!(known(&text).judge(&session, "10.0.0.1", 22, &blob), expected, "{text}");
        }
        let at_port = known(&format!("[10.0.0.1]:2222 ssh-ed25519 {mine}"));
        assert_eq!(at_port.judge(&session, "10.0.0.1", 2222, &blob), Verdict::Known);
        assert_eq!(at_port.types(&session, "10.0.0.1", 2222), ["ssh-ed25519"]);
        assert_eq!(at_port.types(&session, "10.0.0.1", 22), [""; 0]);
    }
}
