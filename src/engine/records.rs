//! The engine's own files: `segment.meta` and `track.map`, read with named damage, replaced whole.

use super::directory::{Directory, replace};
use super::disk;
use super::storage::StorageError;
use crate::core::format::{BODY_BYTES_MAX, ENVELOPE_BYTES, FormatError, Meta, TrackMap};
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use thiserror::Error;

pub const META: &str = "segment.meta";
pub const MAP: &str = "track.map";

#[derive(Debug, Error)]
pub enum RecordError {
    #[error("{path}: {source}")]
    Io { path: String, source: io::Error },
    #[error("{path} {source}")]
    Format { path: String, source: FormatError },
}

impl RecordError {
    /// The file is sound as far as can be told, and was written in another version of the format.
    pub fn is_another_release(&self) -> bool {
        matches!(self, RecordError::Format { source: FormatError::Version { .. }, .. })
    }

    /// The same trouble, as the storage below SQLite says it: a full disk is told apart.
    pub fn as_storage(&self) -> StorageError {
        match self {
            RecordError::Io { source, .. } => match disk::storage_error(source) {
                StorageError::Full => StorageError::Full,
                _ => StorageError::Io(self.to_string()),
            },
            RecordError::Format { .. } => StorageError::Io(self.to_string()),
        }
    }
}

/// Reads one byte more than a record may have at most: enough to see that it is too long, however long it is.
fn read(dir: &Path, name: &str) -> Result<Vec<u8>, RecordError> {
    let path = dir.join(name);
    let bounded = || {
        let mut bytes = Vec::new();
        File::open(&path)?.take(ENVELOPE_BYTES as u64 + BODY_BYTES_MAX + 1).read_to_end(&mut bytes).map(|_| bytes)
    };
    bounded().map_err(|source| RecordError::Io { path: path.display().to_string(), source })
}

fn write<D: Directory + ?Sized>(dir: &D, name: &str, bytes: &[u8]) -> Result<(), RecordError> {
    replace(dir, name, bytes).map_err(|source| RecordError::Io { path: dir.place(name), source })
}

fn format_error(dir: &Path, name: &str) -> impl FnOnce(FormatError) -> RecordError {
    let path = dir.join(name).display().to_string();
    move |source| RecordError::Format { path, source }
}

/// Removes what a process left that died in the moment of replacing a small file. The caller holds the
/// directory's lock.
pub fn remove_leftovers(dir: &Path) -> Result<(), RecordError> {
    let error = |source| RecordError::Io { path: dir.display().to_string(), source };
    for entry in std::fs::read_dir(dir).map_err(error)? {
        let entry = entry.map_err(error)?;
        let name = entry.file_name();
        let unfinished = [".new", ".tmp"].iter().any(|end| name.to_string_lossy().ends_with(end));
        if unfinished && entry.file_type().map_err(error)?.is_file() {
            std::fs::remove_file(entry.path()).map_err(error)?;
        }
    }
    Ok(())
}

pub fn load_meta(dir: &Path) -> Result<Meta, RecordError> {
    Meta::decode(&read(dir, META)?).map_err(format_error(dir, META))
}

/// Replaces `segment.meta` in a data directory, durably.
pub fn save_meta<D: Directory + ?Sized>(dir: &D, meta: &Meta) -> Result<(), RecordError> {
    write(dir, META, &meta.encode())
}

pub fn load_map(dir: &Path) -> Result<TrackMap, RecordError> {
    TrackMap::decode(&read(dir, MAP)?).map_err(format_error(dir, MAP))
}

/// Replaces `track.map` in a data directory, durably.
pub fn save_map<D: Directory + ?Sized>(dir: &D, map: &TrackMap) -> Result<(), RecordError> {
    write(dir, MAP, &map.encode())
}
