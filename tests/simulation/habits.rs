//! How one world is, apart from its faults: how fast things go, and how a log is kept.
//!
//! Each world draws its own. What hides a fault in one kind of world (a log that is never emptied still
//! names every page; a copy that is over at once has no middle) does not hide it in another.

use crate::random::Random;

/// Paces are in microseconds, and the longest that is taken.
#[derive(Debug, Clone, Copy)]
pub struct Habits {
    /// One write of a mirror.
    pub mirror_write: u64,
    /// One page of a checkpoint.
    pub checkpoint_page: u64,
    /// Between two runs of blocks that are copied.
    pub copied_run: u64,
    /// How long whoever makes checkpoints sleeps.
    pub checkpoint_pause: u64,
    /// So many frames in the log begin a checkpoint.
    pub checkpoint_frames: u64,
    /// So many checkpoints in a hundred empty the log, when nothing was committed meanwhile.
    pub emptied: u64,
    /// Between two commits while faults come, and otherwise.
    pub commit_pause: (u64, u64),
    /// After so many commits in a hundred all sessions only read for a while.
    pub rests: u64,
}

impl Habits {
    /// Logs that are emptied soon after each commit, checkpoints and copies that take long: whatever begins
    /// finds something else in its middle, and little remembers what is over.
    pub fn forgetful(random: &mut Random) -> Habits {
        Habits {
            checkpoint_page: 20_000,
            copied_run: 100_000,
            checkpoint_pause: 30_000,
            checkpoint_frames: random.between(1, 3),
            emptied: 90,
            commit_pause: (300_000, 300_000),
            rests: 1,
            ..Habits::draw(random)
        }
    }

    /// Checkpoints that come late, then write much at once to a mirror that is behind.
    pub fn sleepy(random: &mut Random) -> Habits {
        Habits {
            mirror_write: 3_000,
            checkpoint_page: random.between(100, 1_500),
            checkpoint_pause: 2_500_000,
            checkpoint_frames: random.between(4, 12),
            commit_pause: (150_000, 250_000),
            rests: 1,
            ..Habits::draw(random)
        }
    }

    /// One commit after the other, to a mirror that is always behind.
    pub fn pressing(random: &mut Random) -> Habits {
        Habits { mirror_write: 3_000, commit_pause: (12_000, 24_000), rests: 0, ..Habits::draw(random) }
    }

    pub fn draw(random: &mut Random) -> Habits {
        let mut slow = |chance, usual, most| if random.percent(chance) { random.between(usual, most) } else { usual };
        let (mirror_write, checkpoint_page) = (slow(50, 20, 3_000), slow(50, 40, 20_000));
        let copied_run = slow(40, 2_000, 30_000);
        Habits {
            mirror_write,
            checkpoint_page,
            copied_run,
            checkpoint_pause: if random.percent(60) { 100_000 } else { 1_500_000 },
            checkpoint_frames: if random.percent(60) { random.between(1, 12) } else { random.between(12, 80) },
            emptied: [5, 30, 80][random.below(3) as usize],
            commit_pause: ([15_000, 60_000][random.below(2) as usize], 250_000),
            rests: [0, 1, 5][random.below(3) as usize],
        }
    }
}
