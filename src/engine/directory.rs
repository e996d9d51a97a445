//! Replacing a small file whole, and the seam below it.
//!
//! The steps and their order are what makes it safe, so they stand over a trait: the tests record them
//! on a directory that can lose its power after each.

use super::disk::sync_dir;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// What replacing a file asks of the directory that holds it.
pub trait Directory {
    /// A file that is being written.
    type New: NewFile;

    /// Makes an empty file, or empties the one that a crash left under this name.
    fn create(&self, name: &str) -> io::Result<Self::New>;
    /// Gives a file another name; a file that had it is gone.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Makes the names durable.
    fn sync_names(&self) -> io::Result<()>;
    /// Where a name is, for messages.
    fn place(&self, name: &str) -> String;
}

/// A file that is being written.
pub trait NewFile: Write {
    /// Makes its content durable.
    fn sync(&self) -> io::Result<()>;
}

impl NewFile for File {
    fn sync(&self) -> io::Result<()> {
        self.sync_all()
    }
}

impl Directory for Path {
    type New = File;

    fn create(&self, name: &str) -> io::Result<File> {
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(self.join(name))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        std::fs::rename(self.join(from), self.join(to))
    }

    fn sync_names(&self) -> io::Result<()> {
        sync_dir(self)
    }

    fn place(&self, name: &str) -> String {
        self.join(name).display().to_string()
    }
}

/// Replaces a small file whole: after a crash there is the old one or the new one, never a mixture, and
/// once this returned it is the new one.
pub fn replace<D: Directory + ?Sized>(dir: &D, name: &str, bytes: &[u8]) -> io::Result<()> {
    replace_by(dir, name, &format!("{name}.new"), bytes)
}

/// The same, by a file of this name: of the writer's own, where several may write.
pub fn replace_by<D: Directory + ?Sized>(dir: &D, name: &str, beside: &str, bytes: &[u8]) -> io::Result<()> {
    let mut file = dir.create(beside)?;
    file.write_all(bytes)?;
    // Before the rename: a name that is durable before the content it stands for is an empty file.
    file.sync()?;
    dir.rename(beside, name)?;
    dir.sync_names()
}
