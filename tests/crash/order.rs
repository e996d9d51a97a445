//! The four orders in which operations may have reached a disk when it lost its power.

use crate::image::{Image, Op};
use crate::random::Random;
use segsh::engine::storage::FileId;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Every operation up to the cut, in the order they were asked for.
    Prefix,
    /// What a disk guarantees: all of a file up to its last sync, and any subset of what came after it,
    /// each write torn between sectors of 512 bytes.
    Subset,
    /// What our link guarantees: the operations of each file in their order, and a sync of any file is a
    /// barrier for all.
    Barrier,
    /// Each file in its order, and no barrier between files: the negative control. Nothing of ours may
    /// behave like this.
    PerFile,
}

impl Order {
    pub const SOUND: [Order; 3] = [Order::Prefix, Order::Subset, Order::Barrier];

    /// Whether the order leaves a choice to the seed.
    pub fn is_random(self) -> bool {
        self != Order::Prefix
    }

    pub fn words(self) -> &'static str {
        match self {
            Order::Prefix => "prefix of the global order",
            Order::Subset => "subset since the file's last sync, torn",
            Order::Barrier => "per-file order, barrier at every sync",
            Order::PerFile => "per-file order only",
        }
    }
}

/// How many operations one file may be behind the other in the negative control.
const LAG_MAX: usize = 64;

/// Stands after some number of operations, and builds what a crash there leaves.
pub struct Cut<'a> {
    ops: &'a [Op],
    at: usize,
    /// Everything up to here.
    all: Image,
    /// Each file at its own last sync.
    synced: Image,
    /// The operations on a file since its own last sync.
    since_sync: [Vec<usize>; 2],
    /// Everything at the last sync of whichever file.
    barrier: Image,
    since_barrier: [Vec<usize>; 2],
    /// Every operation on a file.
    of_file: [Vec<usize>; 2],
}

impl<'a> Cut<'a> {
    /// Before the first operation, on files that hold nothing.
    pub fn start(ops: &'a [Op]) -> Cut<'a> {
        Cut {
            ops,
            at: 0,
            all: Image::default(),
            synced: Image::default(),
            since_sync: Default::default(),
            barrier: Image::default(),
            since_barrier: Default::default(),
            of_file: Default::default(),
        }
    }

    /// How many operations lie before the cut.
    pub fn at(&self) -> usize {
        self.at
    }

    /// Moves behind the next operation; false when there is none.
    pub fn advance(&mut self) -> bool {
        let Some(op) = self.ops.get(self.at) else { return false };
        self.all.apply(op);
        let file = usize::from(op.file().number());
        match op {
            Op::Sync { file: id } => {
                self.synced.file_mut(*id).clone_from(self.all.file(*id));
                self.since_sync[file].clear();
                self.barrier.clone_from(&self.all);
                self.since_barrier.iter_mut().for_each(Vec::clear);
            }
            Op::Write { .. } | Op::Truncate { .. } => {
                self.since_sync[file].push(self.at);
                self.since_barrier[file].push(self.at);
                self.of_file[file].push(self.at);
            }
        }
        self.at += 1;
        true
    }

    /// One image in the given order.
    pub fn image(&self, order: Order, random: &mut Random) -> Image {
        match order {
            Order::Prefix => self.all.clone(),
            Order::Subset => self.subset(random),
            Order::Barrier => {
                let mut image = self.barrier.clone();
                for ops in &self.since_barrier {
                    let kept = random.below(ops.len() + 1);
                    ops[..kept].iter().for_each(|i| image.apply(&self.ops[*i]));
                }
                image
            }
            Order::PerFile => self.per_file(random),
        }
    }

    fn subset(&self, random: &mut Random) -> Image {
        let mut image = self.synced.clone();
        // Nearly nothing, half, nearly everything: a coin for each write would never draw the extremes.
        let kept = [10, 50, 90][random.below(3)];
        let torn = [0, 30, 100][random.below(3)];
        for i in self.since_sync.iter().flatten() {
            if !random.chance(kept) {
                continue;
            }
            if random.chance(torn) {
                image.apply_torn(&self.ops[*i], || random.chance(50));
            } else {
                image.apply(&self.ops[*i]);
            }
        }
        image
    }

    fn per_file(&self, random: &mut Random) -> Image {
        let mut image = Image::default();
        for ops in &self.of_file {
            let lag = random.below(ops.len().min(LAG_MAX) + 1);
            ops[..ops.len() - lag].iter().for_each(|i| image.apply(&self.ops[*i]));
        }
        image
    }
}

fn write(file: FileId, offset: u64, value: u8) -> Op {
    Op::Write { file, offset, data: vec![value; 4].into() }
}

#[test]
fn what_was_synced_stands_in_every_image_and_what_was_not_may_be_missing() {
    let (main, wal) = (FileId::Main, FileId::Wal);
    let ops = [write(wal, 0, 1), write(main, 0, 2), Op::Sync { file: wal }, write(wal, 4, 3)];
    let mut cut = Cut::start(&ops);
    while cut.advance() {}
    let mut seen_without = [false; 3];
    for seed in 0..200 {
        let mut random = Random::new(seed);
        let subset = cut.image(Order::Subset, &mut random);
        assert!(subset.file(wal).starts_with(&[1; 4]));
        seen_without[0] |= subset.file(main).is_empty();
        let barrier = cut.image(Order::Barrier, &mut random);
        assert!(barrier.file(wal).starts_with(&[1; 4]) && barrier.file(main) == &[2; 4]);
        seen_without[1] |= barrier.file(wal).len() == 4;
        let per_file = cut.image(Order::PerFile, &mut random);
        seen_without[2] |= per_file.file(wal).is_empty() && per_file.file(main) == &[2; 4];
    }
    assert_eq!(seen_without, [true; 3], "each order draws what only it allows");
}
