//! What an operator would use instead to make a stale copy equal: rsync, cp, and the least that any
//! program could do, which is to write the blocks and sync.

use crate::program::{run, timed};
use crate::support::files::{BLOCK, REPLICATED};
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A copy of a segment's replicated files, beside the cluster.
pub struct Copy(PathBuf);

impl Copy {
    /// Made by `cp`, outside of any measured time.
    pub fn of(datadir: &Path, at: PathBuf) -> Copy {
        let copy = Copy::empty(at);
        run(cp(datadir, &copy.0));
        copy
    }

    pub fn empty(at: PathBuf) -> Copy {
        fs::create_dir_all(&at).unwrap_or_else(|e| panic!("{}: {e}", at.display()));
        Copy(at)
    }

    /// Seconds of `rsync -a`, with the sync that makes the result durable, which rsync leaves out.
    pub fn rsync(&self, datadir: &Path, more: &[&str]) -> f64 {
        let mut command = Command::new("rsync");
        command.arg("-a").args(more).args(files(datadir)).arg(&self.0);
        run(command).seconds + timed(|| self.sync())
    }

    /// Seconds of `cp --reflink=never` and the same sync.
    pub fn cp(&self, datadir: &Path) -> f64 {
        run(cp(datadir, &self.0)).seconds + timed(|| self.sync())
    }

    fn sync(&self) {
        for path in files(&self.0) {
            File::open(&path).and_then(|f| f.sync_all()).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        }
    }

    /// The blocks in which a segment's files differ from this copy, and the files' lengths.
    pub fn difference(&self, datadir: &Path) -> Difference {
        let one = |name: &&str| FileDifference::between(&self.0.join(name), &datadir.join(name), name);
        Difference { files: REPLICATED.iter().map(one).collect() }
    }

    /// Seconds of writing just these blocks, and one fdatasync a file.
    pub fn write_blocks(&self, difference: &Difference) -> f64 {
        let open = |d: &FileDifference| {
            let path = self.0.join(&d.name);
            OpenOptions::new().write(true).create(true).truncate(false).open(&path).expect("a copy can be written")
        };
        let files: Vec<(File, &FileDifference)> = difference.files.iter().map(|d| (open(d), d)).collect();
        timed(|| {
            for (file, difference) in &files {
                file.set_len(difference.length).expect("a copy can be cut");
                for (block, bytes) in &difference.blocks {
                    file.write_all_at(bytes, block * BLOCK as u64).expect("room for a block");
                }
                file.sync_data().expect("a copy can be synced");
            }
        })
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn files(datadir: &Path) -> Vec<PathBuf> {
    REPLICATED.iter().map(|name| datadir.join(name)).filter(|path| path.exists()).collect()
}

fn cp(datadir: &Path, to: &Path) -> Command {
    let mut command = Command::new("cp");
    command.args(["--reflink=never", "--sparse=never"]).args(files(datadir)).arg(to);
    command
}

/// What has to be written to make a copy equal.
pub struct Difference {
    files: Vec<FileDifference>,
}

impl Difference {
    pub fn blocks(&self) -> usize {
        self.files.iter().map(|f| f.blocks.len()).sum()
    }
}

struct FileDifference {
    name: String,
    length: u64,
    blocks: Vec<(u64, Vec<u8>)>,
}

impl FileDifference {
    /// Read in pieces: the files can be larger than memory.
    fn between(copy: &Path, source: &Path, name: &str) -> FileDifference {
        const PIECE: usize = 1 << 20;
        let source = File::open(source).unwrap_or_else(|e| panic!("{}: {e}", source.display()));
        let copy = File::open(copy).ok();
        let length = source.metadata().expect("an open file has a length").len();
        let (mut new, mut old) = (vec![0; PIECE], vec![0; PIECE]);
        let mut blocks = Vec::new();
        for at in (0..length).step_by(PIECE) {
            let (read, had) = (read_at(&source, &mut new, at), copy.as_ref().map_or(0, |c| read_at(c, &mut old, at)));
            for start in (0..read).step_by(BLOCK) {
                let (end, old_end) = (read.min(start + BLOCK), had.min(start + BLOCK));
                if old.get(start..old_end).is_none_or(|o| o != &new[start..end]) {
                    blocks.push(((at as usize + start) as u64 / BLOCK as u64, new[start..end].to_vec()));
                }
            }
        }
        FileDifference { name: name.into(), length, blocks }
    }
}

/// Reads until the buffer is full or the file ends.
fn read_at(file: &File, into: &mut [u8], at: u64) -> usize {
    let mut done = 0;
    while done < into.len() {
        match file.read_at(&mut into[done..], at + done as u64).expect("an open file can be read") {
            0 => break,
            n => done += n,
        }
    }
    done
}
