//! The audit log: one JSON line for each operation, each other change, and each call that was refused or declined, in the
//! coordinator's directory. A full one is put aside as `audit.1.jsonl`, that as `audit.2.jsonl`, and the oldest is removed.

use super::clock::unix_ms;
use super::store::timestamp;
use crate::cluster::request::Owner;
use crate::cluster::{AuditLine, AuditQuery, Outcome};
use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

/// The name of the log.
pub const AUDIT_FILE: &str = "audit.jsonl";
/// A file that holds as much is put aside before the next line. It is also the most of a file that is searched.
const FILE_BYTES_MAX: u64 = 8 << 20;
/// So many files that were put aside are kept: with the one that is written to, years of operations.
const OLD_FILES_MAX: usize = 7;
/// An answer holds no more text than this: it is one message.
const ANSWER_BYTES_MAX: usize = 4 << 20;
/// Of a line that can't be read so much is shown.
const DAMAGED_CHARS_MAX: usize = 200;

/// Where lines are appended.
#[derive(Debug, Clone)]
pub struct Audit {
    dir: PathBuf,
    /// Two lines at once must not put the same file aside twice.
    writing: Arc<Mutex<()>>,
    file_bytes_max: u64,
}

impl Audit {
    /// The log in the coordinator's directory.
    pub fn new(dir: &std::path::Path) -> Audit {
        Audit { dir: dir.to_path_buf(), writing: Arc::default(), file_bytes_max: FILE_BYTES_MAX }
    }

    /// The file that is written to, or the one that was put aside so many times.
    fn file(&self, aside: usize) -> PathBuf {
        let (stem, suffix) = AUDIT_FILE.split_once('.').unwrap_or((AUDIT_FILE, ""));
        match aside {
            0 => self.dir.join(AUDIT_FILE),
            n => self.dir.join(format!("{stem}.{n}.{suffix}")),
        }
    }

    /// Appends the line of a call that has ended, durably. The log is a record, not a truth: what can't
    /// be written is said in the coordinator's own log, and the operation stands.
    pub fn append(&self, op: i64, owner: &Owner, started_ms: i64, outcome: &Outcome) {
        let line = AuditLine::of(op, owner, timestamp(started_ms), started_ms, outcome);
        let written = serde_json::to_string(&line).map_err(io::Error::from).and_then(|line| self.write(&line));
        if let Err(error) = written {
            tracing::error!(path = %self.file(0).display(), %error, "the audit log can't be written");
        }
    }

    fn write(&self, line: &str) -> io::Result<()> {
        let _one = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        if fs::metadata(self.file(0)).is_ok_and(|found| found.len() >= self.file_bytes_max) {
            self.put_aside()?;
        }
        let mut file = OpenOptions::new().create(true).append(true).read(true).mode(0o600).open(self.file(0))?;
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

    /// Makes room for a new file. Every name is given to the next older file by one rename, so a crash in between leaves a
    /// name without a file and loses none.
    fn put_aside(&self) -> io::Result<()> {
        for aside in (0..OLD_FILES_MAX).rev() {
            match fs::rename(self.file(aside), self.file(aside + 1)) {
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                renamed => renamed?,
            }
        }
        File::open(&self.dir)?.sync_all()
    }

    /// The newest lines that are asked for, oldest first, from the files that were put aside too. One that can't be read
    /// is given as damaged.
    pub fn read(&self, query: &AuditQuery) -> io::Result<Vec<AuditLine>> {
        let now_ms = unix_ms();
        let (mut found, mut bytes) = (VecDeque::new(), 0);
        for aside in 0..=OLD_FILES_MAX {
            let text = match self.tail(aside) {
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                read => read?,
            };
            for text in text.lines().rev().filter(|line| !line.trim().is_empty()) {
                let line = parse(text);
                if !query.wants(&line, now_ms) {
                    continue;
                }
                bytes += text.len();
                if found.len() == query.last || bytes > ANSWER_BYTES_MAX {
                    return Ok(found.into());
                }
                found.push_front(line);
            }
        }
        Ok(found.into())
    }

    fn tail(&self, aside: usize) -> io::Result<String> {
        let mut file = File::open(self.file(aside))?;
        // A file grows beyond its limit by one line at most; what is longer was not written here.
        let skipped = file.metadata()?.len().saturating_sub(2 * FILE_BYTES_MAX);
        file.seek(SeekFrom::Start(skipped))?;
        let mut bytes = Vec::new();
        file.take(2 * FILE_BYTES_MAX).read_to_end(&mut bytes)?;
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
    fn what_is_not_asked_for_hides_nothing_that_is() {
        let (_dir, audit) = log();
        let by = |user: &str| Owner { user: user.into(), ..Owner::default() };
        audit.append(1, &by("sam"), 1, &done("recover", String::new()));
        for op in 2..8 {
            audit.append(op, &by("kim"), 1, &done("recover", "x".repeat(1 << 20)));
        }
        let of = |user: &str| AuditQuery { user: Some(user.into()), ..last(usize::MAX) };
        assert_eq!(audit.read(&of("sam")).unwrap().len(), 1);
        assert!(audit.read(&of("kim")).unwrap().len() < 6, "an answer has a limit");
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

    #[test]
    fn a_full_file_is_put_aside_and_read_and_only_so_many_are_kept() {
        let (dir, audit) = log();
        let line = |op| audit_line_bytes(op);
        // Two lines fill a file.
        let audit = Audit { file_bytes_max: 2 * line(10) as u64 - 1, ..audit };
        let all = 2 * (OLD_FILES_MAX as i64 + 3);
        for op in 10..10 + all {
            audit.append(op, &Owner::default(), 0, &done("recover", String::new()));
        }
        let lines = audit.read(&last(usize::MAX)).unwrap();
        let kept: Vec<i64> = lines.iter().map(|l| l.operation).collect();
        let oldest = 10 + all - 2 * (OLD_FILES_MAX as i64 + 1);
        assert_eq!(kept, (oldest..10 + all).collect::<Vec<_>>());
        assert_eq!(audit.read(&last(3)).unwrap()[0].operation, 10 + all - 3, "across two files");
        let files = fs::read_dir(dir.path()).unwrap().count();
        assert_eq!(files, OLD_FILES_MAX + 1);
        // A name without a file, as a crash between two renames leaves it, costs no other file.
        fs::remove_file(audit.file(2)).unwrap();
        assert_eq!(audit.read(&last(usize::MAX)).unwrap().len(), kept.len() - 2);
        audit.append(99, &Owner::default(), 0, &done("recover", String::new()));
        assert_eq!(audit.read(&last(1)).unwrap()[0].operation, 99);
    }

    /// The bytes of such a line with its end.
    fn audit_line_bytes(op: i64) -> usize {
        let line = AuditLine::of(op, &Owner::default(), timestamp(0), 0, &done("recover", String::new()));
        serde_json::to_string(&line).unwrap().len() + 1
    }
}
