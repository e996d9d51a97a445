//! The audit log: one JSON line for each operation and each other change, in the coordinator's directory.

use super::clock::unix_ms;
use super::store::timestamp;
use crate::cluster::request::Owner;
use crate::cluster::{AuditLine, AuditQuery, Outcome};
use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

/// The name of the log.
pub const AUDIT_FILE: &str = "audit.jsonl";
/// The end of the log that is searched: years of it, and never more memory than this.
const READ_BYTES_MAX: u64 = 64 << 20;
/// An answer holds no more text than this: it is one message.
const ANSWER_BYTES_MAX: usize = 4 << 20;
/// Of a line that can't be read so much is shown.
const DAMAGED_CHARS_MAX: usize = 200;

/// Where lines are appended.
#[derive(Debug, Clone)]
pub struct Audit {
    path: PathBuf,
}

impl Audit {
    /// The log in the coordinator's directory.
    pub fn new(dir: &std::path::Path) -> Audit {
        Audit { path: dir.join(AUDIT_FILE) }
    }

    /// Appends the line of an operation that has ended, durably. The log is a record, not a truth: what can't
    /// be written is said in the coordinator's own log, and the operation stands.
    pub fn append(&self, op: i64, owner: &Owner, started_ms: i64, outcome: &Outcome) {
        let line = AuditLine::of(op, owner, timestamp(started_ms), started_ms, outcome);
        let written = serde_json::to_string(&line).map_err(io::Error::from).and_then(|line| self.write(&line));
        if let Err(error) = written {
            tracing::error!(path = %self.path.display(), %error, "the audit log can't be written");
        }
    }

    fn write(&self, line: &str) -> io::Result<()> {
        let mut file = OpenOptions::new().create(true).append(true).read(true).mode(0o600).open(&self.path)?;
        // A line that was cut off by a crash must not swallow the next one.
        let torn = match file.seek(SeekFrom::End(0))? {
            0 => false,
            end => {
                let mut last = [0];
                file.seek(SeekFrom::Start(end - 1))?;
                file.read_exact(&mut last)?;
                last != *b"\n"
            }
        };
        let lead = if torn { "\n" } else { "" };
        file.write_all(format!("{lead}{line}\n").as_bytes())?;
        file.sync_data()
    }

    /// The newest lines that are asked for, oldest first. One that can't be read is given as damaged.
    pub fn read(&self, query: &AuditQuery) -> io::Result<Vec<AuditLine>> {
        let text = match self.tail() {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            read => read?,
        };
        let now_ms = unix_ms();
        let (mut found, mut bytes) = (VecDeque::new(), 0);
        for text in text.lines().rev().filter(|line| !line.trim().is_empty()) {
            let line = parse(text);
            bytes += text.len();
            if found.len() == query.last || bytes > ANSWER_BYTES_MAX {
                break;
            }
            if query.wants(&line, now_ms) {
                found.push_front(line);
            }
        }
        Ok(found.into())
    }

    fn tail(&self) -> io::Result<String> {
        let mut file = File::open(&self.path)?;
        let skipped = file.metadata()?.len().saturating_sub(READ_BYTES_MAX);
        file.seek(SeekFrom::Start(skipped))?;
        let mut bytes = Vec::new();
        file.take(READ_BYTES_MAX).read_to_end(&mut bytes)?;
        let text = String::from_utf8_lossy(&bytes);
        // What was cut by the limit is half a line.
        let cut = if skipped > 0 { text.find('\n').map_or(text.len(), |at| at + 1) } else { 0 };
        Ok(text[cut..].to_string())
    }
}

fn parse(text: &str) -> AuditLine {
    serde_json::from_str(text).unwrap_or_else(|_| AuditLine {
        damaged: Some(text.chars().take(DAMAGED_CHARS_MAX).collect()),
        ..AuditLine::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::done;

    fn log() -> (tempfile::TempDir, Audit) {
        let dir = tempfile::tempdir().unwrap();
        let audit = Audit::new(dir.path());
        (dir, audit)
    }

    fn last(n: usize) -> AuditQuery {
        AuditQuery { last: n, ..AuditQuery::default() }
    }

    #[test]
    fn the_newest_lines_are_read_oldest_first() {
        let (_dir, audit) = log();
        assert_eq!(audit.read(&last(5)).unwrap(), []);
        for n in 0..5 {
            audit.append(n, &Owner { user: "sam".into(), ..Owner::default() }, n, &done("recover", String::new()));
        }
        let lines = audit.read(&last(3)).unwrap();
        assert_eq!(lines.iter().map(|l| l.operation).collect::<Vec<_>>(), [2, 3, 4]);
        assert_eq!((lines[0].owner.user.as_str(), lines[0].time_ms), ("sam", 2));
    }

    #[test]
    fn a_line_that_was_cut_off_is_named_and_costs_no_other() {
        let (dir, audit) = log();
        audit.append(1, &Owner::default(), 1, &done("recover", String::new()));
        let path = dir.path().join(AUDIT_FILE);
        let mut file = OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(b"{\"time\":\"2026").unwrap();
        audit.append(2, &Owner::default(), 2, &done("restart", String::new()));
        let lines = audit.read(&last(20)).unwrap();
        assert_eq!(lines.iter().map(|l| l.operation).collect::<Vec<_>>(), [1, 0, 2]);
        assert_eq!(lines[1].damaged.as_deref(), Some("{\"time\":\"2026"));
    }
}
