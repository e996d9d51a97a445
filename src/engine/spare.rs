//! Small files that are replaced whole, also on a full disk.
//!
//! Beside them stands one spare, whose blocks are set aside like theirs. A new record is written into the
//! spare and synced; then the two exchange names in one step, so that after a crash there is the old
//! record or the new one, and the old one's blocks are the spare from then on. Nothing is allocated on
//! the way.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The spare; what is in it was a record once, and is never read.
pub const SPARE: &str = "segment.spare";

/// The name of the spare while it is being written for a record.
fn beside(dir: &Path, name: &str) -> PathBuf {
    dir.join(format!("{name}.new"))
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)
}

fn unless_missing(result: io::Result<()>) -> io::Result<bool> {
    match result {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(e),
    }
}

/// Replaces a small file whole: after a crash there is the old one or the new one, never a mixture.
pub fn replace(dir: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let (path, beside, spare) = (dir.join(name), beside(dir, name), dir.join(SPARE));
    unless_missing(std::fs::rename(&spare, &beside))?;
    let file = open(&beside)?;
    file.write_all_at(bytes, 0)?;
    // Cut only where it has to be: with the length go the blocks that were set aside beyond it.
    if file.metadata()?.len() != bytes.len() as u64 {
        file.set_len(bytes.len() as u64)?;
    }
    file.sync_all()?;
    if unless_missing(exchange(&beside, &path))? {
        std::fs::rename(&beside, &spare)?;
    } else {
        std::fs::rename(&beside, &path)?;
    }
    super::disk::sync_dir(dir)
}

/// Sets blocks aside for a record of so many bytes under each of these names, and for the one that
/// replaces it. Returns false where the file system can't do that.
pub fn set_aside(dir: &Path, names: &[&str], bytes: u64) -> io::Result<bool> {
    let spare = open(&dir.join(SPARE))?;
    let records = names.iter().map(|name| dir.join(name)).filter(|path| path.exists());
    let records = records.map(|path| open(&path)).collect::<io::Result<Vec<_>>>()?;
    for file in std::iter::once(&spare).chain(&records) {
        if !allocate(file, bytes)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Keeps as the spare what a process left that died while it replaced a record.
pub fn keep_leftover(dir: &Path, name: &str) -> io::Result<()> {
    unless_missing(std::fs::rename(beside(dir, name), dir.join(SPARE))).map(drop)
}

/// Exchanges two names in one step; one that is not there is an error of that kind.
#[cfg(target_os = "linux")]
fn exchange(one: &Path, other: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    use rustix::io::Errno;
    match renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE) {
        // A file system that can't exchange names can still replace one, and the spare is made anew.
        Err(Errno::INVAL | Errno::NOSYS) => Err(io::ErrorKind::NotFound.into()),
        result => Ok(result?),
    }
}

#[cfg(not(target_os = "linux"))]
fn exchange(_one: &Path, _other: &Path) -> io::Result<()> {
    Err(io::ErrorKind::NotFound.into())
}

/// Makes sure that a file has blocks for so many bytes, whatever its length.
#[cfg(target_os = "linux")]
fn allocate(file: &File, bytes: u64) -> io::Result<bool> {
    use rustix::fs::{FallocateFlags, fallocate};
    use rustix::io::Errno;
    match fallocate(file, FallocateFlags::KEEP_SIZE, 0, bytes) {
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(false),
        result => Ok(result.map(|()| true)?),
    }
}

#[cfg(not(target_os = "linux"))]
fn allocate(_file: &File, _bytes: u64) -> io::Result<bool> {
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    const NAME: &str = "record";

    fn blocks(dir: &Path) -> u64 {
        let files = std::fs::read_dir(dir).expect("a directory").flatten();
        files.map(|entry| entry.metadata().expect("a file").blocks()).sum()
    }

    fn read(dir: &Path) -> Vec<u8> {
        std::fs::read(dir.join(NAME)).expect("a record")
    }

    /// Sets room aside, or says where the tests can be run.
    fn set_aside_for(dir: &Path, names: &[&str], bytes: u64) {
        let can = set_aside(dir, names, bytes).expect("there is room");
        assert!(can, "{}: run the tests on a file system with fallocate, such as ext4, XFS or tmpfs", dir.display());
    }

    #[test]
    fn records_that_fit_into_what_was_set_aside_allocate_nothing() {
        let dir = tempfile::tempdir().expect("a directory");
        let dir = dir.path();
        let names = [NAME, "another"];
        names.iter().for_each(|name| replace(dir, name, b"the first").expect("replaced"));
        set_aside_for(dir, &names, 256 << 10);
        let room = blocks(dir);
        // Longer and longer, so that nothing is freed: as a map grows while changes are tracked.
        for length in [10, 4_000, 70_000, 150_000, 200_000, 256 << 10] {
            for name in names {
                let record = vec![7; length];
                replace(dir, name, &record).expect("replaced");
                assert_eq!(std::fs::read(dir.join(name)).expect("a record"), record);
                assert_eq!(blocks(dir), room, "{name} of {length} bytes");
            }
        }
    }

    #[test]
    fn a_replaced_record_leaves_one_spare_and_nothing_else() {
        let dir = tempfile::tempdir().expect("a directory");
        for round in 0..3u8 {
            ["one", "two"].iter().for_each(|name| replace(dir.path(), name, &[round]).expect("replaced"));
        }
        let names = std::fs::read_dir(dir.path()).expect("a directory").flatten().map(|e| e.file_name());
        let mut names: Vec<_> = names.collect();
        names.sort();
        assert_eq!(names, ["one", SPARE, "two"]);
    }

    #[test]
    fn what_is_set_aside_changes_no_record() {
        let dir = tempfile::tempdir().expect("a directory");
        replace(dir.path(), NAME, b"what it says").expect("replaced");
        set_aside_for(dir.path(), &[NAME], 100_000);
        assert_eq!(read(dir.path()), b"what it says");
        replace(dir.path(), NAME, b"less").expect("replaced");
        assert_eq!(read(dir.path()), b"less");
    }

    #[test]
    fn what_a_crash_left_on_the_way_is_the_spare_and_never_a_record() {
        let dir = tempfile::tempdir().expect("a directory");
        let dir = dir.path();
        replace(dir, NAME, b"whole").expect("replaced");
        std::fs::write(beside(dir, NAME), "ha").expect("half of another");
        keep_leftover(dir, NAME).expect("renamed");
        keep_leftover(dir, NAME).expect("nothing to rename");
        assert_eq!(read(dir), b"whole");
        replace(dir, NAME, b"the next").expect("replaced");
        assert_eq!(read(dir), b"the next");
    }
}
