//! Walks a recorded run, cut by cut, and judges what every image holds.

use crate::check::Found;
use crate::order::{Cut, Order};
use crate::random::Random;
use crate::session::Recorded;
use std::collections::HashMap;
use std::fmt;
use std::ops::Range;

/// Images per cut in the orders that choose at random, unless the environment says otherwise.
const SEEDS: u64 = 4;

fn number_from(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name}=`{text}` is not a number")),
        Err(_) => default,
    }
}

/// The seeds of this run.
pub fn seeds() -> Range<u64> {
    let first = number_from("SEGSH_CRASH_FIRST_SEED", 1);
    first..first + number_from("SEGSH_CRASH_SEEDS", SEEDS)
}

/// `count` seeds, others for every first seed: for what is checked in microseconds.
pub fn many_seeds(count: u64) -> Range<u64> {
    let first = seeds().start.saturating_mul(count);
    first..first.saturating_add(count)
}

/// What the images of one order showed.
#[derive(Debug, Default)]
pub struct Tally {
    /// Images built.
    pub images: usize,
    /// Images that differ from every earlier one: each is opened once.
    pub opened: usize,
    /// Images that do not open, are not sound, or hold a state that was never committed.
    pub corrupt: usize,
    /// Images that hold an older state than the last one acknowledged.
    pub lost: usize,
    /// The first of each kind, in words.
    pub examples: Vec<String>,
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} corrupt, {} lost of {} images ({} opened)", self.corrupt, self.lost, self.images, self.opened)
    }
}

/// Every image of one order, at every cut.
pub fn explore(run: &Recorded, order: Order, seeds: Range<u64>) -> Tally {
    explore_some(run, order, seeds, 1)
}

/// The same at every `step`th cut only.
pub fn explore_some(run: &Recorded, order: Order, seeds: Range<u64>, step: usize) -> Tally {
    let seeds = if order.is_random() { seeds } else { 0..1 };
    let mut tally = Tally::default();
    let mut known: HashMap<[u8; 32], Found> = HashMap::new();
    let mut cut = Cut::start(&run.ops);
    loop {
        if cut.at().is_multiple_of(step) {
            for seed in seeds.clone() {
                let image = cut.image(order, &mut Random::for_image(run.name, order as usize, cut.at(), seed));
                tally.images += 1;
                let found = known.entry(image.digest()).or_insert_with(|| {
                    tally.opened += 1;
                    (run.look)(run, image)
                });
                judge(run, found, cut.at(), &mut tally, || place(run, order, cut.at(), seed));
            }
        }
        if !cut.advance() {
            println!("{}: {} operations; {}: {tally}", run.name, run.ops.len(), order.words());
            return tally;
        }
    }
}

fn place(run: &Recorded, order: Order, cut: usize, seed: u64) -> String {
    let last = cut.checked_sub(1).map_or_else(|| "nothing".into(), |i| run.ops[i].describe());
    format!(
        "{} ({}), seed {seed}, cut {cut} of {}, after a {last}; again with SEGSH_CRASH_FIRST_SEED={seed} SEGSH_CRASH_SEEDS=1",
        run.name,
        order.words(),
        run.ops.len()
    )
}

fn judge(run: &Recorded, found: &Found, cut: usize, tally: &mut Tally, place: impl Fn() -> String) {
    let (least, most) = (run.least(cut), run.most(cut));
    let wrong = match found {
        Found::Corrupt(why) => why.clone(),
        Found::State(standing) => {
            let number = standing.as_ref().map(|s| s.number);
            let committed =
                standing.as_ref().is_none_or(|s| run.states.get(s.number).is_some_and(|k| k.digest == s.digest));
            if !committed {
                format!("a mixture: the tables are not those of transaction {number:?}")
            } else if number > most {
                format!("transaction {number:?} stands, and {most:?} was the last one begun")
            } else if number < least {
                tally.lost += 1;
                return tally
                    .note(tally.lost, || format!("lost: {number:?} stands, {least:?} was acknowledged; {}", place()));
            } else {
                return;
            }
        }
    };
    tally.corrupt += 1;
    tally.note(tally.corrupt, || format!("corrupt: {wrong}; {}", place()));
}

impl Tally {
    fn note(&mut self, nth: usize, example: impl Fn() -> String) {
        if nth <= 3 {
            self.examples.push(example());
        }
    }
}
