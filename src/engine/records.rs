//! The engine's own files: `segment.meta` and `track.map`, read with named damage, replaced whole.

use super::disk;
use super::spare;
use super::storage::StorageError;
use crate::core::format::{FormatError, Meta, TrackMap};
use std::io;
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

fn read(dir: &Path, name: &str) -> Result<Vec<u8>, RecordError> {
    let path = dir.join(name);
    std::fs::read(&path).map_err(|source| RecordError::Io { path: path.display().to_string(), source })
}

fn write(dir: &Path, name: &str, bytes: &[u8]) -> Result<(), RecordError> {
    spare::replace(dir, name, bytes)
        .map_err(|source| RecordError::Io { path: dir.join(name).display().to_string(), source })
}

fn format_error(dir: &Path, name: &str) -> impl FnOnce(FormatError) -> RecordError {
    let path = dir.join(name).display().to_string();
    move |source| RecordError::Format { path, source }
}

/// Removes what a process left that died in the moment of replacing a small file; that of a record stays
/// set aside for its successor. The caller holds the directory's lock.
pub fn remove_leftovers(dir: &Path) -> Result<(), RecordError> {
    let error = |source| RecordError::Io { path: dir.display().to_string(), source };
    for name in [META, MAP] {
        spare::keep_leftover(dir, name).map_err(error)?;
    }
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

pub fn save_meta(dir: &Path, meta: &Meta) -> Result<(), RecordError> {
    write(dir, META, &meta.encode())
}

pub fn load_map(dir: &Path) -> Result<TrackMap, RecordError> {
    TrackMap::decode(&read(dir, MAP)?).map_err(format_error(dir, MAP))
}

pub fn save_map(dir: &Path, map: &TrackMap) -> Result<(), RecordError> {
    write(dir, MAP, &map.encode())
}
