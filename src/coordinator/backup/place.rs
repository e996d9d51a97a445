//! The directory of a backup: new, or empty, or what an interrupted backup left; complete when its manifest
//! stands there.

use crate::core::backup::{BackedUpFile, MANIFEST_FILE, Manifest, ManifestError, SUMS_FILE, directory_of, hex, sums};
use crate::core::ids::Content;
use crate::core::track::FileId;
use crate::hosts::files::{make_private_dir, sync_dir, write_durably};
use bytes::Bytes;
use ring::digest::{Context, SHA256, digest};
use rustix::fs::statvfs;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use thiserror::Error;

/// The longest manifest that is read, in bytes: one of a thousand contents has some 700 KiB.
const MANIFEST_BYTES_MAX: u64 = 16 << 20;
/// Stands in the directory from the beginning until the backup is whole.
const UNFINISHED_FILE: &str = "UNFINISHED";
const UNFINISHED: &str = "This backup was begun and is not whole: there is no manifest. The next backup into this \
                          directory begins with its removal.\n";

/// Why a directory can't take a backup.
#[derive(Debug, Error)]
pub enum PlaceError {
    #[error("{0} is not an absolute path: the directory is the coordinator's, not the shell's")]
    NotAbsolute(PathBuf),
    #[error("{dir} holds {found}: a backup is made in a new or an empty directory")]
    Taken { dir: PathBuf, found: String },
    #[error("{dir} does not exist")]
    NoParent { dir: PathBuf },
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: io::Error },
    #[error("{path}: {error}")]
    Manifest { path: PathBuf, error: ManifestError },
    #[error("writing files ended: {0}")]
    Gone(String),
}

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> PlaceError {
    let path = path.to_owned();
    move |source| PlaceError::Io { path, source }
}

/// A directory that is being filled.
#[derive(Debug)]
pub struct Place {
    dir: PathBuf,
    /// It was not there before.
    is_new: bool,
}

/// What stands in a directory.
enum Found {
    Nothing,
    Empty,
    /// What an interrupted backup left.
    Unfinished,
}

/// Whether a backup could be made there, and how many bytes could be written. Changes nothing.
pub fn room(dir: &Path) -> Result<u64, PlaceError> {
    let place = match look(dir)? {
        Found::Nothing => dir.parent().unwrap_or(dir),
        Found::Empty | Found::Unfinished => dir,
    };
    let room = statvfs(place).map_err(|e| io_error(place)(e.into()))?;
    Ok(room.f_bavail.saturating_mul(room.f_frsize))
}

/// The manifest of a backup. Nothing else of the backup is looked at.
pub fn manifest_in(dir: &Path) -> Result<Manifest, PlaceError> {
    let (path, text) = manifest_text(dir).map_err(|(path, source)| PlaceError::Io { path, source })?;
    Manifest::decode(&text).map_err(|error| PlaceError::Manifest { path, error })
}

/// Its text, and where it stands; the path with what went wrong.
pub(super) fn manifest_text(dir: &Path) -> Result<(PathBuf, Vec<u8>), (PathBuf, io::Error)> {
    let path = dir.join(MANIFEST_FILE);
    let mut text = Vec::new();
    let read = File::open(&path).and_then(|file| file.take(MANIFEST_BYTES_MAX).read_to_end(&mut text));
    match read {
        Ok(_) => Ok((path, text)),
        Err(error) => Err((path, error)),
    }
}

fn look(dir: &Path) -> Result<Found, PlaceError> {
    if !dir.is_absolute() {
        return Err(PlaceError::NotAbsolute(dir.into()));
    }
    let taken = |found: String| PlaceError::Taken { dir: dir.into(), found };
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let parent = dir.parent().unwrap_or(dir);
            return if parent.is_dir() { Ok(Found::Nothing) } else { Err(PlaceError::NoParent { dir: parent.into() }) };
        }
        Err(error) => return Err(io_error(dir)(error)),
    };
    let names = entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    let names = names.collect::<io::Result<Vec<String>>>().map_err(io_error(dir))?;
    if names.iter().any(|name| name == MANIFEST_FILE) {
        return Err(taken("a backup".into()));
    }
    if let Some(foreign) = names.iter().find(|name| !is_ours(name)) {
        return Err(taken(foreign.clone()));
    }
    match names.iter().any(|name| name == UNFINISHED_FILE) {
        true => Ok(Found::Unfinished),
        false if names.is_empty() => Ok(Found::Empty),
        false => Err(taken(names[0].clone())),
    }
}

/// Whether it can be of an unfinished backup.
fn is_ours(name: &str) -> bool {
    let content = name.strip_prefix("content").is_some_and(|number| number.parse::<u32>().is_ok());
    content || name == UNFINISHED_FILE || name == SUMS_FILE || name.ends_with(".tmp")
}

/// The SHA-256 of bytes, in hexadecimal digits.
pub(super) fn digest_of(bytes: &[u8]) -> String {
    hex(digest(&SHA256, bytes).as_ref())
}

impl Place {
    /// Makes the directory, or clears what an interrupted backup left there, for these contents.
    pub fn prepare(dir: &Path, contents: &[Content]) -> Result<Place, PlaceError> {
        let found = look(dir)?;
        let place = Place { dir: dir.into(), is_new: matches!(found, Found::Nothing) };
        match found {
            Found::Nothing => make_private_dir(dir).map_err(|e| io_error(dir)(io::Error::other(e.to_string())))?,
            Found::Empty => {}
            Found::Unfinished => place.clear()?,
        }
        let marker = dir.join(UNFINISHED_FILE);
        write_durably(&marker, UNFINISHED.as_bytes()).map_err(io_error(&marker))?;
        for content in contents {
            let sub = dir.join(directory_of(*content));
            make_private_dir(&sub).map_err(|e| io_error(&sub)(io::Error::other(e.to_string())))?;
        }
        Ok(place)
    }

    /// Begins a file of a content.
    pub async fn create(&self, content: Content, file: FileId, bytes: u64) -> Result<Sink, PlaceError> {
        let name = format!("{}/{}", directory_of(content), file.name());
        let path = self.dir.join(&name);
        aside(move || {
            let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
            let file = made.map_err(io_error(&path))?;
            Ok(Sink { name, path, file, context: Context::new(&SHA256), bytes, left: bytes })
        })
        .await
    }

    /// Completes the backup: first the checksums, then the manifest, under its name in one step.
    pub fn complete(&self, manifest: &Manifest) -> Result<(), PlaceError> {
        let text = manifest.encode();
        let sums = sums(manifest, &digest_of(&text));
        for content in &manifest.contents {
            let sub = self.dir.join(directory_of(content.content));
            sync_dir(&sub).map_err(io_error(&sub))?;
        }
        for (name, bytes) in [(SUMS_FILE, sums.as_bytes()), (MANIFEST_FILE, &text)] {
            let path = self.dir.join(name);
            write_durably(&path, bytes).map_err(io_error(&path))?;
            fs::set_permissions(&path, Permissions::from_mode(0o400)).map_err(io_error(&path))?;
        }
        let marker = self.dir.join(UNFINISHED_FILE);
        fs::remove_file(&marker).map_err(io_error(&marker))?;
        sync_dir(&self.dir).map_err(io_error(&self.dir))
    }

    /// Removes what was written, and the directory if it was not there before.
    pub fn discard(&self) -> Result<(), PlaceError> {
        self.clear()?;
        let marker = self.dir.join(UNFINISHED_FILE);
        if marker.exists() {
            fs::remove_file(&marker).map_err(io_error(&marker))?;
        }
        if self.is_new {
            fs::remove_dir(&self.dir).map_err(io_error(&self.dir))?;
        }
        Ok(())
    }

    /// Removes everything of an unfinished backup but its marker, which says what the rest is.
    fn clear(&self) -> Result<(), PlaceError> {
        for entry in fs::read_dir(&self.dir).map_err(io_error(&self.dir))? {
            let path = entry.map_err(io_error(&self.dir))?.path();
            if path.file_name().is_some_and(|name| name == UNFINISHED_FILE) {
                continue;
            }
            let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            removed.map_err(io_error(&path))?;
        }
        Ok(())
    }
}

/// A file that is being written.
pub struct Sink {
    name: String,
    path: PathBuf,
    file: File,
    context: Context,
    bytes: u64,
    left: u64,
}

impl Sink {
    /// Bytes that have yet to come.
    pub fn left(&self) -> u64 {
        self.left
    }

    /// Writes the next bytes.
    pub async fn put(mut self, bytes: Bytes) -> Result<Sink, PlaceError> {
        aside(move || {
            self.context.update(&bytes);
            self.file.write_all(&bytes).map_err(io_error(&self.path))?;
            self.left = self.left.saturating_sub(bytes.len() as u64);
            Ok(self)
        })
        .await
    }

    /// Makes the file durable, and what nobody changes by accident.
    pub async fn finish(self) -> Result<BackedUpFile, PlaceError> {
        aside(move || {
            self.file.set_permissions(Permissions::from_mode(0o400)).map_err(io_error(&self.path))?;
            self.file.sync_all().map_err(io_error(&self.path))?;
            let sha256 = hex(self.context.finish().as_ref());
            Ok(BackedUpFile { name: self.name, bytes: self.bytes, sha256 })
        })
        .await
    }
}

/// Does what may block on a thread for that.
async fn aside<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, PlaceError> + Send + 'static,
) -> Result<T, PlaceError> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|gone| Err(PlaceError::Gone(gone.to_string())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_new_an_empty_or_an_unfinished_directory_takes_a_backup() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        assert!(matches!(room(Path::new("backup")), Err(PlaceError::NotAbsolute(_))));
        assert!(matches!(room(&at("none/backup")), Err(PlaceError::NoParent { .. })));
        assert!(room(&at("new")).unwrap() > 0);
        fs::create_dir(at("empty")).unwrap();
        assert!(room(&at("empty")).is_ok());
        for name in ["something", MANIFEST_FILE, "content0"] {
            let path = at(&format!("has-{name}"));
            fs::create_dir(&path).unwrap();
            fs::write(path.join(name), "x").unwrap();
            let error = room(&path).unwrap_err();
            assert!(matches!(error, PlaceError::Taken { .. }), "{name}: {error}");
        }
        fs::write(at("has-something").join(UNFINISHED_FILE), "x").unwrap();
        assert!(room(&at("has-something")).is_err(), "what is not ours is never removed");
    }

    #[tokio::test]
    async fn what_an_interrupted_backup_left_is_replaced_and_what_failed_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("backup");
        let first = Place::prepare(&path, &[Content(0)]).unwrap();
        let sink = first.create(Content(0), FileId::Main, 4).await.unwrap();
        drop(sink.put(Bytes::from_static(b"half")).await.unwrap());
        drop(first);
        assert!(room(&path).is_ok());
        let second = Place::prepare(&path, &[Content(0)]).unwrap();
        let sink = second.create(Content(0), FileId::Main, 3).await.unwrap();
        let written = sink.put(Bytes::from_static(b"abc")).await.unwrap().finish().await.unwrap();
        assert_eq!((written.name.as_str(), written.bytes), ("content0/main.db", 3));
        assert_eq!(written.sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        second.discard().unwrap();
        assert!(path.exists(), "it was there before");
        assert!(fs::read_dir(&path).unwrap().next().is_none());
        fs::remove_dir(&path).unwrap();
        Place::prepare(&path, &[Content(0)]).unwrap().discard().unwrap();
        assert!(!path.exists());
    }
}
