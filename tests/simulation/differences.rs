//! Which blocks differ between two copies, kept up to date: only what was touched is compared again.

use crate::disk::{Disk, pages_named};
use segsh::core::track::{BLOCK_BYTES, DirtyMap, FileId};
use std::collections::BTreeMap;

/// Which copies are compared: the acting side, its directory, the other side's.
pub type Pair = (usize, usize, usize);

/// How a block of the mirror differs from the acting primary's.
#[derive(Debug, Clone, Copy)]
struct Differs {
    /// As a process reads it.
    now: bool,
    /// After its host lost the power; perhaps, where a write is pending.
    later: bool,
}

/// The blocks of two copies that differ.
#[derive(Debug, Default)]
pub struct Differences {
    pair: Option<Pair>,
    blocks: [BTreeMap<u64, Differs>; 2],
}

impl Differences {
    /// Compares what was touched since the last time, or everything when these are other copies.
    pub fn refresh(&mut self, pair: Pair, ours: &Disk, theirs: &Disk) {
        let anew = self.pair != Some(pair);
        self.pair = Some(pair);
        for file in FileId::ALL {
            let (us, them) = (ours.file(file), theirs.file(file));
            let (mut touched, more) = (us.take_touched(), them.take_touched());
            touched.union(&more);
            if anew {
                let longest = us.current.len().max(them.current.len()).max(them.durable.len());
                touched.mark_whole(FileId::Main, longest as u64);
            }
            let blocks = &mut self.blocks[usize::from(file.number())];
            if anew {
                blocks.clear();
            }
            for run in touched.runs() {
                for block in run.first..run.end() {
                    let now = !us.current.same_block(&them.current, block);
                    let later = !us.current.same_block(&them.durable, block) || them.is_unsettled(block);
                    if now || later {
                        blocks.insert(block, Differs { now, later });
                    } else {
                        blocks.remove(&block);
                    }
                }
            }
        }
    }

    /// Both read the same, in these files that are of one length.
    pub fn is_none_now(&self, file: FileId) -> bool {
        self.blocks[usize::from(file.number())].values().all(|differs| !differs.now)
    }

    pub fn is_none(&self) -> bool {
        self.blocks.iter().all(BTreeMap::is_empty)
    }

    /// A block that differs and that nothing explains. Without a link the mirror's own log speaks for it too,
    /// and what lies beyond either file's end is seen by the lengths.
    pub fn unexplained(&self, ours: &Disk, theirs: &Disk, explained: &DirtyMap, linked: bool) -> Option<(FileId, u64)> {
        let files: &[FileId] = if linked { &FileId::ALL } else { &[FileId::Main] };
        let mut named = None;
        for file in files {
            let (us, them) = (ours.file(*file), theirs.file(*file));
            let shortest = us.current.len().min(them.current.len()).min(them.durable.len()) as u64;
            let blocks = if linked { (us.current.len() as u64).div_ceil(BLOCK_BYTES) } else { shortest / BLOCK_BYTES };
            for (block, differs) in &self.blocks[usize::from(file.number())] {
                if *block >= blocks || explained.is_dirty(*file, *block) {
                    continue;
                }
                if linked {
                    if differs.later {
                        return Some((*file, *block));
                    }
                    continue;
                }
                let (now, durable) = named.get_or_insert_with(|| named_by(theirs));
                let differs_later = differs.later && !durable.is_dirty(*file, *block);
                if (differs.now || differs_later) && !now.is_dirty(*file, *block) {
                    return Some((*file, *block));
                }
            }
        }
        None
    }
}

/// The pages that a log names, as a process reads it, and as it is after its host lost the power.
fn named_by(disk: &Disk) -> (DirtyMap, DirtyMap) {
    let [main, log] = &disk.files;
    let durable = pages_named(&log.durable, main.durable.len() as u64);
    (disk.pages_named_now(), durable)
}
