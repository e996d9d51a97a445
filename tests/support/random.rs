//! A small seeded generator: a failing run names its seed, and the same seed makes the same choices.

/// xorshift64*, which is plenty for picking among a handful of faults.
pub struct Random(u64);

impl Random {
    /// From `SEGSH_SEED`, or from the clock; printed, so that a failure can be run again.
    pub fn from_environment() -> Random {
        let seed = match std::env::var("SEGSH_SEED") {
            Ok(text) => text.parse().unwrap_or_else(|_| panic!("SEGSH_SEED=`{text}` is not a number")),
            Err(_) => std::time::UNIX_EPOCH.elapsed().expect("the clock is past 1970").as_nanos() as u64,
        };
        println!("seed {seed}: run again with SEGSH_SEED={seed}");
        Random::seeded(seed)
    }

    pub fn seeded(seed: u64) -> Random {
        Random(seed.max(1))
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        ((self.next() >> 32) as usize) % bound
    }

    pub fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }
}
