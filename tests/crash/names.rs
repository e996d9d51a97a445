//! A directory that remembers every step, and what a crash after any of them leaves of it.
//!
//! It promises no more than POSIX does: a file's content is durable by its own sync alone, a name by
//! the directory's. Between syncs the names change in any order and the content reaches the disk in any
//! part, as zeros, or not at all, however long the file already is.

use crate::image::SECTOR;
use crate::random::Random;
use segsh::engine::directory::{Directory, NewFile};
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard};

/// A file, whatever its name.
type Inode = usize;

#[derive(Debug, Clone)]
enum Step {
    Create { name: String, inode: Inode },
    Empty { inode: Inode },
    Write { inode: Inode, offset: usize, bytes: Vec<u8> },
    Sync { inode: Inode },
    Rename { from: String, to: String, inode: Inode },
    SyncNames,
}

#[derive(Debug, Default)]
struct Steps {
    steps: Vec<Step>,
    names: BTreeMap<String, Inode>,
    inodes: usize,
}

/// A directory in memory; clones are the same one.
#[derive(Debug, Clone, Default)]
pub struct RecordedDirectory {
    shared: Arc<Mutex<Steps>>,
}

/// A file in it that is being written.
pub struct RecordedFile {
    shared: Arc<Mutex<Steps>>,
    inode: Inode,
    offset: usize,
}

fn lock(shared: &Mutex<Steps>) -> MutexGuard<'_, Steps> {
    shared.lock().expect("no panic inside of it")
}

impl RecordedDirectory {
    /// How many steps there were.
    pub fn position(&self) -> usize {
        lock(&self.shared).steps.len()
    }

    /// The files that a crash after `cut` steps leaves, by name.
    pub fn crash(&self, cut: usize, random: &mut Random) -> BTreeMap<String, Vec<u8>> {
        let steps = lock(&self.shared);
        let mut files = Contents::default();
        let (mut names, mut later): (BTreeMap<String, Inode>, Vec<&Step>) = Default::default();
        for step in &steps.steps[..cut] {
            match step {
                Step::Create { .. } | Step::Rename { .. } => later.push(step),
                Step::SyncNames => later.drain(..).for_each(|s| change_names(&mut names, s)),
                Step::Empty { .. } | Step::Write { .. } | Step::Sync { .. } => files.apply(step),
            }
        }
        let kept = [20, 50, 90][random.below(3)];
        for step in later {
            if random.chance(kept) {
                change_names(&mut names, step);
            }
        }
        names.into_iter().map(|(name, inode)| (name, files.crash(inode, random))).collect()
    }
}

fn change_names(names: &mut BTreeMap<String, Inode>, step: &Step) {
    match step {
        Step::Create { name, inode } => drop(names.insert(name.clone(), *inode)),
        Step::Rename { from, to, inode } => {
            names.remove(from);
            names.insert(to.clone(), *inode);
        }
        _ => {}
    }
}

/// What the files hold: durably, and what was done to them since.
#[derive(Default)]
struct Contents {
    durable: BTreeMap<Inode, Vec<u8>>,
    since: BTreeMap<Inode, Vec<Step>>,
}

fn write(content: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    if content.len() < offset + bytes.len() {
        content.resize(offset + bytes.len(), 0);
    }
    content[offset..offset + bytes.len()].copy_from_slice(bytes);
}

impl Contents {
    fn apply(&mut self, step: &Step) {
        match step {
            Step::Empty { inode } | Step::Write { inode, .. } => {
                self.since.entry(*inode).or_default().push(step.clone());
            }
            Step::Sync { inode } => {
                let durable = self.durable.entry(*inode).or_default();
                for step in self.since.remove(inode).unwrap_or_default() {
                    match step {
                        Step::Write { offset, bytes, .. } => write(durable, offset, &bytes),
                        _ => durable.clear(),
                    }
                }
            }
            _ => {}
        }
    }

    fn crash(&self, inode: Inode, random: &mut Random) -> Vec<u8> {
        let mut content = self.durable.get(&inode).cloned().unwrap_or_default();
        let kept = [0, 50, 100][random.below(3)];
        for step in self.since.get(&inode).into_iter().flatten() {
            match step {
                Step::Write { offset, bytes, .. } => write_part(&mut content, *offset, bytes, kept, random),
                _ if random.chance(50) => content.clear(),
                _ => {}
            }
        }
        content
    }
}

/// The length may be durable before the content, and either in part.
fn write_part(content: &mut Vec<u8>, offset: usize, bytes: &[u8], kept: usize, random: &mut Random) {
    if random.chance(50) {
        let longest = content.len().max(offset + bytes.len());
        content.resize(longest, 0);
    }
    let reached = if random.chance(50) { bytes.len() } else { random.below(bytes.len() + 1) };
    for (i, sector) in bytes[..reached].chunks(SECTOR).enumerate() {
        if random.chance(kept) {
            write(content, offset + i * SECTOR, sector);
        }
    }
}

impl Directory for RecordedDirectory {
    type New = RecordedFile;

    fn create(&self, name: &str) -> io::Result<RecordedFile> {
        let mut steps = lock(&self.shared);
        let inode = match steps.names.get(name).copied() {
            Some(inode) => {
                steps.steps.push(Step::Empty { inode });
                inode
            }
            None => {
                let inode = steps.inodes;
                steps.inodes += 1;
                steps.names.insert(name.to_owned(), inode);
                steps.steps.push(Step::Create { name: name.to_owned(), inode });
                inode
            }
        };
        Ok(RecordedFile { shared: Arc::clone(&self.shared), inode, offset: 0 })
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut steps = lock(&self.shared);
        let inode = steps.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        steps.names.insert(to.to_owned(), inode);
        steps.steps.push(Step::Rename { from: from.to_owned(), to: to.to_owned(), inode });
        Ok(())
    }

    fn sync_names(&self) -> io::Result<()> {
        lock(&self.shared).steps.push(Step::SyncNames);
        Ok(())
    }

    fn place(&self, name: &str) -> String {
        name.to_owned()
    }
}

impl Write for RecordedFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // A short write, as a file system may make one: the writer has to go on.
        let taken = bytes.len().min(3 * SECTOR + 100);
        let step = Step::Write { inode: self.inode, offset: self.offset, bytes: bytes[..taken].to_vec() };
        lock(&self.shared).steps.push(step);
        self.offset += taken;
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl NewFile for RecordedFile {
    fn sync(&self) -> io::Result<()> {
        lock(&self.shared).steps.push(Step::Sync { inode: self.inode });
        Ok(())
    }
}
