//! Room that is set aside for a segment's records, so that they can be replaced on a full disk.
//!
//! A record is replaced by a new file beside it, which takes room while the old one still stands. That
//! much is kept in a spare file; when the disk is full the spare makes way for the record, and is made
//! again of what the old record gives back.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// The spare's name: an empty file with blocks.
pub const SPARE: &str = "segment.spare";
/// Less room than this is of no use to any record.
const LEAST_BYTES: u64 = 4096;

/// Sets aside so many bytes, or leaves them set aside. Returns false where the file system can't do that.
pub fn set_aside(dir: &Path, bytes: u64) -> io::Result<bool> {
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(dir.join(SPARE))?;
    allocate(&file, bytes)
}

/// Sets aside so many bytes, or as much of that as there is: what a record has just given back.
pub fn set_aside_again(dir: &Path, bytes: u64) -> io::Result<()> {
    let mut bytes = bytes;
    loop {
        match set_aside(dir, bytes) {
            Err(error) if is_full(&error) && bytes / 2 >= LEAST_BYTES => bytes /= 2,
            Err(error) => return Err(error),
            Ok(_) => return Ok(()),
        }
    }
}

/// Gives back what was set aside. Returns whether there was anything.
pub fn release(dir: &Path) -> io::Result<bool> {
    match std::fs::remove_file(dir.join(SPARE)) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(super::disk::storage_error(error), super::storage::StorageError::Full)
}

/// Makes sure that a file has blocks for so many bytes, beyond its end.
#[cfg(target_os = "linux")]
fn allocate(file: &std::fs::File, bytes: u64) -> io::Result<bool> {
    use rustix::fs::{FallocateFlags, fallocate};
    use rustix::io::Errno;
    match fallocate(file, FallocateFlags::KEEP_SIZE, 0, bytes) {
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(false),
        result => Ok(result.map(|()| true)?),
    }
}

#[cfg(not(target_os = "linux"))]
fn allocate(_file: &std::fs::File, _bytes: u64) -> io::Result<bool> {
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn what_is_set_aside_is_blocks_without_length_and_is_given_back_whole() {
        let dir = tempfile::tempdir().expect("a directory");
        let dir = dir.path();
        let can = set_aside(dir, 256 << 10).expect("there is room");
        assert!(can, "{}: run the tests on a file system with fallocate, such as ext4, XFS or tmpfs", dir.display());
        let spare = || std::fs::metadata(dir.join(SPARE)).expect("the spare");
        assert!(spare().len() == 0 && spare().blocks() * 512 >= 256 << 10, "{:?}", spare());
        let before = spare().blocks();
        set_aside_again(dir, 100_000).expect("it is there already");
        assert_eq!(spare().blocks(), before, "less is no reason to give anything back");
        assert!(release(dir).expect("given back"));
        assert!(!release(dir).expect("there is nothing more"));
    }
}
