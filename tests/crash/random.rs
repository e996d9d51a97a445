//! A seeded generator: the same seed makes the same choices, on every machine. (SQLite salts its log at
//! random, so the bytes of two runs differ there and nowhere else.)

/// SplitMix64: every seed is good, zero and neighbours included.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    /// A generator of its own for one image: workload, order, cut and seed decide.
    pub fn for_image(name: &str, order: usize, cut: usize, seed: u64) -> Random {
        let name = u64::from(crc32c::crc32c(name.as_bytes()));
        let mut random = Random(seed);
        for part in [name, order as u64, cut as u64] {
            random.0 = random.next() ^ part;
        }
        random
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`, which is not zero.
    pub fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.next()) * bound as u128) >> 64) as usize
    }

    /// True `percent` times of a hundred.
    pub fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }
}
