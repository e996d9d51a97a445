//! Backups: what the coordinator and a segment say to each other, and the manifest.
//!
//! ```text
//!   coordinator                 segment (acting primary of a content)
//!   Hold            ------->    commits are held; those under way end, and are durable on both sides
//!                   <-------    Held
//!   (every content is held: this is the barrier)
//!   Release         ------->    it still serves, and nobody has committed since
//!                   <-------    Released, or Missed
//!   Stream          ------->
//!                   <-------    File, Chunk, bytes, Chunk, bytes, File, ... End
//!
//!   coordinator                 segment (nobody, on a copy that nobody may serve)
//!   Take            ------->    the files are emptied
//!   File, Chunk, bytes ... ->   each page and frame is checked
//!   Keep            ------->    all of it is made durable, and is this copy from then on
//!                   <-------    Kept
//! ```

use super::ids::{Content, CopyId, Dbid, Epoch};
use super::track::FileId;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use thiserror::Error;

/// A segment holds its commits no longer than this: a coordinator that hangs must not stop the writers.
pub const HOLD_MAX: Duration = Duration::from_secs(1);
/// Bytes of a file that are sent at a time.
pub const CHUNK_BYTES: usize = 256 << 10;
/// The backup's own description, in the backup's directory: written last, so that a backup without one is none.
pub const MANIFEST_FILE: &str = "manifest.json";
/// The checksum of every other file of the backup, in the form that `sha256sum -c` reads.
pub const SUMS_FILE: &str = "SHA256SUMS";
/// The manifest's format.
pub const MANIFEST_SCHEMA: u64 = 1;

/// Coordinator to segment, on a connection of its own for each backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ToBackup {
    /// Hold commits, and say when none is under way.
    Hold,
    /// Let commits go on.
    Release,
    /// Send the files as they were at the hold, so many bytes in a second at most.
    Stream { rate_bytes: Option<u64> },
    /// To a process that is nobody: take on the files that follow, as this copy, and obey nothing up to this epoch.
    Take { copy: CopyId, epoch: Epoch, main_bytes: u64 },
    /// So many bytes of this file follow, in chunks.
    File { file: String, bytes: u64 },
    /// The next bytes, in the frame behind this one, which is no message.
    Chunk,
    /// Everything was sent, and is what it should be.
    Keep,
}

/// Why a content's part of a backup ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// This process does not serve the content.
    NotServing,
    /// Somebody else holds the commits.
    Busy,
    /// The hold ended by itself.
    TooLate,
    /// The log was about to be full.
    GaveWay,
    /// What was read is not what was written.
    Damaged,
    /// The disk, or SQLite.
    Failed,
}

/// Segment to coordinator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum FromBackup {
    /// Nobody commits; what was committed is durable where it must be, and is what will be sent.
    Held { image: Image },
    /// Commits go on, after so many microseconds; none was made meanwhile.
    Released { held_us: u64 },
    /// So many bytes of this file follow, in chunks.
    File { file: String, bytes: u64 },
    /// The next bytes, in the frame behind this one, which is no message.
    Chunk,
    /// Everything was sent.
    End,
    /// What was taken on is durable, and may serve.
    Kept,
    /// Nothing further comes.
    Ended { cause: Cause, message: String },
}

/// What a content's image is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// The copy that it is of, and the epoch under which that served.
    pub copy: CopyId,
    pub epoch: Epoch,
    /// Bytes of `main.db`, and frames of the log that are replayed over it.
    pub main_bytes: u64,
    pub log_frames: u64,
}

/// One file of a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackedUpFile {
    /// Relative to the backup's directory: `content0/main.db`.
    pub name: String,
    pub bytes: u64,
    /// 64 hexadecimal digits.
    pub sha256: String,
}

/// One content of a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackedUpContent {
    pub content: Content,
    /// The segment that it was read from, and the copy it held.
    pub dbid: Dbid,
    pub image: Image,
    /// How long its commits were held, in microseconds.
    pub held_us: u64,
    pub files: Vec<BackedUpFile>,
}

/// What a backup says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    pub schema: u64,
    /// The release that made it.
    pub release: String,
    pub cluster: String,
    pub cluster_id: String,
    /// The operation that made it, and on whose behalf.
    pub operation: i64,
    pub made_by: String,
    /// The barrier: nothing that was acknowledged before is missing, and nothing after is in. The moment at
    /// which the commits of every content were held, by the coordinator's clock, in Unix milliseconds and in
    /// words.
    pub barrier_ms: i64,
    pub barrier: String,
    /// From the first content that was held to the last that was released, in microseconds, as the coordinator
    /// saw it.
    pub window_us: u64,
    /// Barriers that were tried, with the one that succeeded.
    pub tries: u32,
    /// By content.
    pub contents: Vec<BackedUpContent>,
}

/// Why a manifest can't be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ManifestError {
    #[error("it is no manifest: {0}")]
    Malformed(String),
    #[error("it has schema {found}, this release reads schema {MANIFEST_SCHEMA}")]
    OtherSchema { found: u64 },
    #[error("content {content} {what}")]
    Content { content: Content, what: String },
}

#[derive(Deserialize)]
struct OnlySchema {
    schema: u64,
}

impl Manifest {
    /// Reads a manifest's text. One whose parts don't fit each other is none.
    pub fn decode(text: &[u8]) -> Result<Manifest, ManifestError> {
        let malformed = |e: serde_json::Error| ManifestError::Malformed(e.to_string());
        // The schema is judged before the rest, which may have changed with it.
        let OnlySchema { schema } = serde_json::from_slice(text).map_err(malformed)?;
        if schema != MANIFEST_SCHEMA {
            return Err(ManifestError::OtherSchema { found: schema });
        }
        let manifest: Manifest = serde_json::from_slice(text).map_err(malformed)?;
        for (before, content) in manifest.contents.iter().enumerate() {
            content.check().map_err(|what| ManifestError::Content { content: content.content, what })?;
            if manifest.contents[..before].iter().any(|other| other.content >= content.content) {
                let what = "is not in its order".into();
                return Err(ManifestError::Content { content: content.content, what });
            }
        }
        if manifest.contents.is_empty() {
            return Err(ManifestError::Malformed("it has no content".into()));
        }
        Ok(manifest)
    }

    /// The manifest's text.
    pub fn encode(&self) -> Vec<u8> {
        let mut text = serde_json::to_vec_pretty(self).unwrap_or_default();
        text.push(b'\n');
        text
    }

    /// Bytes of all files.
    pub fn bytes(&self) -> u64 {
        self.files().fold(0, |all, file| all.saturating_add(file.bytes))
    }

    /// Every file but the manifest and the checksums.
    pub fn files(&self) -> impl Iterator<Item = &BackedUpFile> {
        self.contents.iter().flat_map(|content| &content.files)
    }

    /// The longest hold of a content, in microseconds.
    pub fn longest_hold_us(&self) -> u64 {
        self.contents.iter().map(|content| content.held_us).max().unwrap_or_default()
    }
}

impl BackedUpContent {
    fn check(&self) -> Result<(), String> {
        let expected: Vec<String> = self.expected().iter().map(|file| self.name_of(*file)).collect();
        let found: Vec<&String> = self.files.iter().map(|file| &file.name).collect();
        if found != expected.iter().collect::<Vec<_>>() {
            return Err(format!("has the files {found:?}, not {expected:?}"));
        }
        let image = self.image;
        let bytes = |file: FileId| self.file(file).map_or(0, |f| f.bytes);
        if bytes(FileId::Main) != image.main_bytes || !image.main_bytes.is_multiple_of(super::track::BLOCK_BYTES) {
            return Err(format!(
                "has {} bytes of main.db, not whole pages of {}",
                bytes(FileId::Main),
                image.main_bytes
            ));
        }
        if image.log_frames > 0 && bytes(FileId::Wal) != log_bytes(image.log_frames) {
            return Err(format!("has {} bytes of log for {} frames", bytes(FileId::Wal), image.log_frames));
        }
        let is_sum =
            |sum: &str| sum.len() == 64 && sum.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        match self.files.iter().find(|file| !is_sum(&file.sha256)) {
            Some(file) => Err(format!("has no checksum of {}", file.name)),
            None => Ok(()),
        }
    }

    /// The files that such an image has. A log without frames is none.
    fn expected(&self) -> Vec<FileId> {
        FileId::ALL.into_iter().filter(|file| *file == FileId::Main || self.image.log_frames > 0).collect()
    }

    /// The name under which a file of this content stands in the backup.
    pub fn name_of(&self, file: FileId) -> String {
        format!("{}/{}", directory_of(self.content), file.name())
    }

    /// A file of the content; `None` for a log without frames.
    pub fn file(&self, file: FileId) -> Option<&BackedUpFile> {
        let name = self.name_of(file);
        self.files.iter().find(|f| f.name == name)
    }
}

/// The directory of a content in a backup.
pub fn directory_of(content: Content) -> String {
    format!("content{content}")
}

/// Bytes of a log of so many frames; none for none.
pub fn log_bytes(frames: u64) -> u64 {
    // As a manifest may say anything, this may be asked of any number.
    let whole = frames.saturating_mul(super::wal::FRAME_BYTES).saturating_add(super::wal::WAL_HEADER_BYTES);
    if frames == 0 { 0 } else { whole }
}

/// The list of checksums that belongs to a manifest, whose own text has this one.
pub fn sums(manifest: &Manifest, of_manifest: &str) -> String {
    let mut sums: String = manifest.files().map(|file| format!("{}  {}\n", file.sha256, file.name)).collect();
    sums.push_str(&format!("{of_manifest}  {MANIFEST_FILE}\n"));
    sums
}

/// Bytes as hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        let file = |name: &str, bytes| BackedUpFile { name: name.into(), bytes, sha256: hex(&[0xa5; 32]) };
        let content = |n: i64, log_frames: u64, files| BackedUpContent {
            content: Content(n),
            dbid: Dbid(n + 2),
            image: Image { copy: CopyId(7), epoch: Epoch(3), main_bytes: 8192, log_frames },
            held_us: 900 + n as u64,
            files,
        };
        Manifest {
            schema: MANIFEST_SCHEMA,
            release: "0.1.0".into(),
            cluster: "demo".into(),
            cluster_id: "id".into(),
            operation: 7,
            made_by: "sam on mdw".into(),
            barrier_ms: 1,
            barrier: "1970-01-01 00:00:00.001+00".into(),
            window_us: 2_000,
            tries: 1,
            contents: vec![
                content(0, 0, vec![file("content0/main.db", 8192)]),
                content(1, 2, vec![file("content1/main.db", 8192), file("content1/main.db-wal", 32 + 2 * 4120)]),
            ],
        }
    }

    #[test]
    fn a_manifest_is_read_as_it_was_written() {
        let manifest = manifest();
        assert_eq!(Manifest::decode(&manifest.encode()), Ok(manifest.clone()));
        assert_eq!((manifest.bytes(), manifest.longest_hold_us()), (2 * 8192 + 32 + 2 * 4120, 901));
    }

    #[test]
    fn a_manifest_whose_parts_do_not_fit_each_other_is_refused() {
        let refused = |change: &dyn Fn(&mut Manifest)| {
            let mut changed = manifest();
            change(&mut changed);
            Manifest::decode(&changed.encode()).expect_err("refused").to_string()
        };
        assert!(refused(&|m| m.schema = 2).contains("schema 2"));
        assert!(refused(&|m| m.contents.swap(0, 1)).contains("order"));
        assert!(refused(&|m| m.contents.clear()).contains("no content"));
        assert!(refused(&|m| m.contents[1].files.truncate(1)).contains("main.db-wal"));
        assert!(refused(&|m| m.contents[0].files[0].name = "../main.db".into()).contains("../main.db"));
        assert!(refused(&|m| m.contents[0].files[0].bytes -= 1).contains("bytes"));
        assert!(refused(&|m| m.contents[1].image.log_frames += 1).contains("frames"));
        assert!(refused(&|m| m.contents[1].files[0].sha256 = "0".into()).contains("checksum"));
        assert!(Manifest::decode(b"{").is_err() && Manifest::decode(&[0xff]).is_err());
    }
}
