//! Whether a backup is what was written: its manifest, the list of checksums, and every file.

use super::place::{digest_of, manifest_text};
use crate::core::backup::{BackedUpFile, Manifest, ManifestError, SUMS_FILE, hex, sums};
use ring::digest::{Context, SHA256};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Bytes that are read at a time.
const READ_BYTES: usize = 1 << 20;

/// What is wrong with a backup.
#[derive(Debug, Error)]
pub enum Damage {
    #[error("{dir} holds no backup: there is no manifest.json in it")]
    NoBackup { dir: PathBuf },
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: io::Error },
    #[error("{path}: {error}")]
    Manifest { path: PathBuf, error: ManifestError },
    #[error("{path} is not what belongs to this manifest")]
    Sums { path: PathBuf },
    #[error("{path} has {found} bytes, the manifest says {expected}")]
    Length { path: PathBuf, found: u64, expected: u64 },
    #[error("{path}: its checksum is {found}, the manifest says {expected}")]
    Content { path: PathBuf, found: String, expected: String },
}

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> Damage {
    let path = path.to_owned();
    move |source| Damage::Io { path, source }
}

/// The manifest, if the list of checksums vouches for it and every file has its length. Reads no file of a
/// content.
pub fn described(dir: &Path) -> Result<Manifest, Damage> {
    let (path, text) = manifest_text(dir).map_err(|(path, source)| match source.kind() {
        io::ErrorKind::NotFound => Damage::NoBackup { dir: dir.into() },
        _ => Damage::Io { path, source },
    })?;
    let manifest = Manifest::decode(&text).map_err(|error| Damage::Manifest { path, error })?;
    let path = dir.join(SUMS_FILE);
    let expected = sums(&manifest, &digest_of(&text));
    let mut found = Vec::new();
    let file = File::open(&path).map_err(io_error(&path))?;
    file.take(expected.len() as u64 + 1).read_to_end(&mut found).map_err(io_error(&path))?;
    if found != expected.as_bytes() {
        return Err(Damage::Sums { path });
    }
    for file in manifest.files() {
        let path = dir.join(&file.name);
        let found = path.metadata().map_err(io_error(&path))?.len();
        if found != file.bytes {
            return Err(Damage::Length { path, found, expected: file.bytes });
        }
    }
    Ok(manifest)
}

/// The same, with every byte of every file.
pub fn checked(dir: &Path) -> Result<Manifest, Damage> {
    let manifest = described(dir)?;
    for file in manifest.files() {
        let mut reading = Reading::begin(dir, file)?;
        while !reading.next(READ_BYTES)?.is_empty() {}
        reading.end()?;
    }
    Ok(manifest)
}

/// A file that is read from its beginning to its end, and judged there.
pub struct Reading {
    path: PathBuf,
    expected: BackedUpFile,
    file: File,
    context: Context,
    bytes: u64,
}

impl Reading {
    pub fn begin(dir: &Path, expected: &BackedUpFile) -> Result<Reading, Damage> {
        let path = dir.join(&expected.name);
        let file = File::open(&path).map_err(io_error(&path))?;
        Ok(Reading { path, expected: expected.clone(), file, context: Context::new(&SHA256), bytes: 0 })
    }

    /// So many bytes; fewer only at the end.
    pub fn next(&mut self, bytes: usize) -> Result<Vec<u8>, Damage> {
        let mut read = Vec::with_capacity(bytes);
        let found = (&mut self.file).take(bytes as u64).read_to_end(&mut read);
        found.map_err(io_error(&self.path))?;
        self.context.update(&read);
        self.bytes += read.len() as u64;
        Ok(read)
    }

    /// Whether it was what the manifest says.
    pub fn end(self) -> Result<(), Damage> {
        let found = hex(self.context.finish().as_ref());
        if self.bytes != self.expected.bytes {
            return Err(Damage::Length { path: self.path, found: self.bytes, expected: self.expected.bytes });
        }
        if found != self.expected.sha256 {
            return Err(Damage::Content { path: self.path, found, expected: self.expected.sha256 });
        }
        Ok(())
    }
}
