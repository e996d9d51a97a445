//! Small files that must be whole: written durably under their name, read with errors that say what
//! is wrong with which file.

use crate::engine::directory::{Directory, replace_by};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::fs::{DirBuilder, File};
use std::io::{self, Read};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// The longest JSON file that is read, in bytes: a cluster of a thousand segments has one of 300 KiB.
pub const JSON_BYTES_MAX: u64 = 16 << 20;

/// Why a file of ours can't be used.
#[derive(Debug, Error)]
pub enum FileError {
    /// It is not there.
    #[error("{path} does not exist")]
    Missing { path: PathBuf },
    /// The system refused.
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: io::Error },
    /// It is there, and it is not what it should be.
    #[error("{path} is damaged: {message}")]
    Damaged { path: PathBuf, message: String },
    /// Another release wrote it.
    #[error("{path} has schema {found}, this release reads schema {expected}: use the release that wrote it")]
    OtherSchema { path: PathBuf, found: u64, expected: u64 },
}

impl FileError {
    /// The next step in words; empty when the message is all there is to say.
    pub fn next(&self) -> &'static str {
        match self {
            FileError::Missing { .. } | FileError::Damaged { .. } => "bring it back from a copy; nothing was changed",
            FileError::OtherSchema { .. } => "use the segsh of that release; nothing was changed",
            FileError::Io { .. } => "",
        }
    }

    fn io(path: &Path, source: io::Error) -> FileError {
        match source.kind() {
            io::ErrorKind::NotFound => FileError::Missing { path: path.into() },
            _ => FileError::Io { path: path.into(), source },
        }
    }
}

/// A value with the schema it was written in.
#[derive(Serialize, Deserialize)]
struct Versioned<T> {
    schema: u64,
    #[serde(flatten)]
    value: T,
}

/// Only the schema: it is judged before the rest, which may have changed with it.
#[derive(Deserialize)]
struct OnlySchema {
    schema: u64,
}

/// Reads a JSON file of this schema.
pub fn read_json<T: DeserializeOwned>(path: &Path, expected: u64) -> Result<T, FileError> {
    parse_json(path, &read_text(path)?, expected)
}

/// What the text of such a file says; `path` is for errors.
pub(super) fn parse_json<T: DeserializeOwned>(path: &Path, text: &str, expected: u64) -> Result<T, FileError> {
    let damaged = |e: serde_json::Error| FileError::Damaged { path: path.into(), message: e.to_string() };
    let OnlySchema { schema } = serde_json::from_str(text).map_err(damaged)?;
    if schema != expected {
        return Err(FileError::OtherSchema { path: path.into(), found: schema, expected });
    }
    // Parsed without the wrapper: a flattened value would lose the line and column of an error.
    serde_json::from_str(text).map_err(damaged)
}

/// The text of a file that is not longer than any of ours.
pub(super) fn read_text(path: &Path) -> Result<String, FileError> {
    let damaged = |message: String| FileError::Damaged { path: path.into(), message };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|e| FileError::io(path, e))?;
    file.take(JSON_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(|e| FileError::io(path, e))?;
    if bytes.len() as u64 > JSON_BYTES_MAX {
        return Err(damaged(format!("it is longer than {JSON_BYTES_MAX} bytes")));
    }
    String::from_utf8(bytes).map_err(|e| damaged(format!("it is not text: {e}")))
}

/// Writes a JSON file of this schema, durably.
pub fn write_json<T: Serialize>(path: &Path, schema: u64, value: &T) -> Result<(), FileError> {
    write_durably(path, &json_text(path, schema, value)?).map_err(|e| FileError::io(path, e))
}

/// What is written to a JSON file of this schema.
pub(super) fn json_text<T: Serialize>(path: &Path, schema: u64, value: &T) -> Result<Vec<u8>, FileError> {
    let mut text = serde_json::to_vec_pretty(&Versioned { schema, value })
        .map_err(|e| FileError::Damaged { path: path.into(), message: e.to_string() })?;
    text.push(b'\n');
    Ok(text)
}

/// Replaces a file so that after a crash it is whole: the old one, or the new one.
pub fn write_durably(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let parent = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    let name = path.file_name().and_then(|name| name.to_str()).ok_or(io::ErrorKind::InvalidInput)?;
    write_durably_in(parent, name, bytes)
}

/// The same in a directory, which the tests record. Two processes may write a file at a time: each does so
/// beside it under a name of its own.
pub fn write_durably_in<D: Directory + ?Sized>(dir: &D, name: &str, bytes: &[u8]) -> io::Result<()> {
    replace_by(dir, name, &format!("{name}.{}.tmp", std::process::id()), bytes)
}

/// Makes the names in a directory durable.
pub fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Makes a directory that only its owner enters. One that exists is fine.
pub fn make_private_dir(dir: &Path) -> Result<(), FileError> {
    let made = DirBuilder::new().mode(0o700).create(dir);
    match made {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists && dir.is_dir() => Ok(()),
        made => made.map_err(|e| FileError::Io { path: dir.into(), source: e }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Sample {
        name: String,
        port: u16,
    }

    #[test]
    fn a_file_written_is_the_file_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.json");
        let sample = Sample { name: "a".into(), port: 7 };
        write_json(&path, 1, &sample).unwrap();
        write_json(&path, 1, &sample).unwrap();
        assert_eq!(read_json::<Sample>(&path, 1).unwrap(), sample);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "no temporary file is left");
    }

    #[test]
    fn an_error_names_the_file_and_what_is_wrong() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.json");
        let read = || read_json::<Sample>(&path, 1).unwrap_err().to_string();
        assert!(read().ends_with("x.json does not exist"));
        for (text, wrong) in [
            ("{", "EOF while parsing"),
            ("{}", "missing field `schema`"),
            (r#"{"schema": 2, "other": 1}"#, "has schema 2, this release reads schema 1"),
            (r#"{"schema": 1, "name": "a"}"#, "missing field `port`"),
            ("{\"schema\": 1,\n\"name\": \"a\", \"port\": 70000}", "line 2"),
        ] {
            fs::write(&path, text).unwrap();
            assert!(read().contains(wrong), "{}", read());
        }
    }
}
