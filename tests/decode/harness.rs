//! Changes of valid samples, and what must hold of a decoder whatever was changed.

use bolero::generator::TypeGenerator;
use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, RefUnwindSafe};
use std::time::Duration;

/// Inputs of one decoder in the test command.
pub const ITERATIONS: usize = 20_000;
/// Memory that a refusal may take, in bytes: its words.
const WORDS: u64 = 8 << 10;

/// One change of a sample. A position is taken modulo the length, so every value means something.
#[derive(Debug, Clone, Copy, TypeGenerator)]
pub enum Change {
    FlipBit(u32),
    SetByte(u32, u8),
    Cut(u32),
    Remove(u32, u8),
    Insert(u32, u8),
    /// Some bytes again, right after themselves.
    Repeat(u32, u8),
    /// Four or eight bytes, of either end, become a number at the edge of something.
    Binary {
        at: u32,
        edge: Edge,
        wide: bool,
        big: bool,
    },
    /// A run of digits in text becomes such a number.
    Digits {
        at: u32,
        edge: Edge,
    },
    /// From here on it is another sample.
    Splice {
        at: u32,
        other: u8,
        from: u32,
    },
}

/// Numbers at which arithmetic turns.
#[derive(Debug, Clone, Copy, TypeGenerator)]
pub enum Edge {
    Zero,
    One,
    Short,
    Int,
    Word,
    Long,
    Huge,
    Minus,
    Tebi,
}

impl Edge {
    fn number(self) -> i128 {
        match self {
            Edge::Zero => 0,
            Edge::One => 1,
            Edge::Short => i128::from(u16::MAX),
            Edge::Int => i128::from(i32::MAX),
            Edge::Word => i128::from(u32::MAX),
            Edge::Long => i128::from(i64::MAX),
            Edge::Huge => i128::from(u64::MAX),
            Edge::Minus => -1,
            Edge::Tebi => 1 << 40,
        }
    }
}

/// A sample by its number, changed.
#[derive(Debug, Clone, TypeGenerator)]
pub struct Mutation {
    sample: u8,
    changes: Vec<Change>,
    /// The checksum is made right again, so that what lies behind it is reached.
    resealed: bool,
}

fn place(at: u32, len: usize) -> usize {
    if len == 0 { 0 } else { at as usize % len }
}

fn apply(bytes: &mut Vec<u8>, change: Change, samples: &[Vec<u8>]) {
    let len = bytes.len();
    match change {
        Change::Insert(at, byte) => bytes.insert(place(at, len + 1), byte),
        Change::Splice { at, other, from } => {
            let other = &samples[usize::from(other) % samples.len()];
            bytes.truncate(place(at, len + 1));
            bytes.extend_from_slice(&other[place(from, other.len() + 1)..]);
        }
        _ if len == 0 => {}
        Change::FlipBit(at) => bytes[place(at / 8, len)] ^= 1 << (at % 8),
        Change::SetByte(at, byte) => bytes[place(at, len)] = byte,
        Change::Cut(at) => bytes.truncate(place(at, len)),
        Change::Remove(at, count) => {
            let at = place(at, len);
            bytes.drain(at..len.min(at + usize::from(count)));
        }
        Change::Repeat(at, count) => {
            let at = place(at, len);
            let again = bytes[at..len.min(at + usize::from(count))].to_vec();
            bytes.splice(at..at, again);
        }
        Change::Binary { at, edge, wide, big } => {
            let number = (edge.number() as u64).to_le_bytes();
            let mut word = if wide { number.to_vec() } else { number[..4].to_vec() };
            if big {
                word.reverse();
            }
            let at = place(at, len);
            let end = len.min(at + word.len());
            bytes[at..end].copy_from_slice(&word[..end - at]);
        }
        Change::Digits { at, edge } => digits(bytes, place(at, len), edge),
    }
}

/// Replaces the first run of digits at or after a place.
fn digits(bytes: &mut Vec<u8>, at: usize, edge: Edge) {
    let Some(start) = bytes[at..].iter().position(u8::is_ascii_digit).map(|n| n + at) else { return };
    let count = bytes[start..].iter().take_while(|b| b.is_ascii_digit()).count();
    bytes.splice(start..start + count, edge.number().to_string().into_bytes());
}

impl Mutation {
    /// The bytes it makes of the samples.
    pub fn of(&self, samples: &[Vec<u8>], reseal: fn(&mut [u8])) -> Vec<u8> {
        let mut bytes = samples[usize::from(self.sample) % samples.len()].clone();
        // Most of what is worth finding is one to four changes away from something valid.
        self.changes.iter().take(4).for_each(|change| apply(&mut bytes, *change, samples));
        if self.resealed {
            reseal(&mut bytes);
        }
        bytes
    }
}

/// Gives mutations to a judge: so many in the test command, and in a soak until its time is over.
pub fn mutate(iterations: usize, judge: impl Fn(&Mutation)) {
    let judge = AssertUnwindSafe(judge);
    let target = bolero::check!().with_type::<Mutation>();
    // A sample's name in a failure is worth more than the smallest possible one.
    let target = target.with_shrink_time(Duration::from_secs(1));
    match std::env::var("SEGSH_DECODE_SECONDS").ok().and_then(|s| s.parse().ok()) {
        Some(seconds) => target.with_test_time(Duration::from_secs(seconds)).for_each(|m| (*judge)(m)),
        None => target.with_iterations(iterations).for_each(|m| (*judge)(m)),
    }
}

/// A decoder with what it may cost.
pub struct Decoder<T> {
    /// Valid inputs; each comes back as it was, byte by byte.
    pub samples: Vec<Vec<u8>>,
    /// Makes lengths and checksums right again.
    pub reseal: fn(&mut [u8]),
    pub decode: fn(&[u8]) -> Result<T, String>,
    pub encode: fn(&T) -> Vec<u8>,
    /// The most memory that decoding may hold at a time, by the bytes that are there.
    pub memory: fn(u64) -> u64,
    /// Nothing of it can be changed without being noticed.
    pub sealed: bool,
}

impl<T: PartialEq + Debug + RefUnwindSafe> Decoder<T> {
    /// All that must hold, of the samples and of what becomes of them.
    pub fn run(&self) {
        for sample in &self.samples {
            let value = (self.decode)(sample).unwrap_or_else(|e| panic!("a sample is refused: {e}"));
            let again = (self.encode)(&value);
            assert!(again == *sample, "a valid input is spelled another way:\n{sample:02x?}\n{again:02x?}");
            if self.sealed {
                self.refuses_every_single_change(sample);
            }
        }
        mutate(ITERATIONS, |mutation| self.judge(&mutation.of(&self.samples, self.reseal)));
    }

    fn refuses_every_single_change(&self, sample: &[u8]) {
        let short = sample.len().min(4096);
        for len in (0..short).chain([sample.len() - 1]) {
            self.is_refused(&sample[..len], &format!("cut at {len}"));
        }
        let mut changed = sample.to_vec();
        for bit in 0..short * 8 {
            changed[bit / 8] ^= 1 << (bit % 8);
            self.is_refused(&changed, &format!("bit {bit} flipped"));
            changed[bit / 8] ^= 1 << (bit % 8);
        }
    }

    fn is_refused(&self, bytes: &[u8], change: &str) {
        match (self.decode)(bytes) {
            Ok(value) => panic!("{change}, and it is still {value:?}"),
            Err(words) => assert!(!words.is_empty(), "{change}: the refusal says nothing"),
        }
    }

    /// What holds of any bytes.
    pub fn judge(&self, bytes: &[u8]) {
        let mut decoded = None;
        let taken = allocation_counter::measure(|| decoded = Some((self.decode)(bytes))).bytes_max;
        let bound = WORDS + (self.memory)(bytes.len() as u64);
        assert!(taken <= bound, "{} bytes took {taken} bytes of memory, more than {bound}", bytes.len());
        if let Some(Ok(value)) = decoded {
            let again = (self.decode)(&(self.encode)(&value));
            assert_eq!(again.as_ref(), Ok(&value), "what was accepted does not come back as it was");
        }
    }
}

impl Mutation {
    /// A number of its own, to choose by.
    pub fn number(&self) -> u8 {
        self.sample
    }

    /// The first sample, changed; the others are there to be spliced in.
    pub fn of_first(&self, samples: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = samples[0].clone();
        self.changes.iter().take(4).for_each(|change| apply(&mut bytes, *change, samples));
        bytes
    }
}
