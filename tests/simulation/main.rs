//! The engine in a simulated world: the production state machines, in virtual time, against disks that
//! lose what was not synced, links that are cut and delayed, and crashes at any durable effect.
//!
//! A seed names a run: `SEGSH_SEED=n scripts/dev/test simulation` makes it again and prints its end.

mod control;
mod coordinator;
mod database;
mod disk;
mod faults;
mod links;
mod mirror;
mod oracle;
mod planted;
mod process;
mod random;
mod run;
mod sessions;
mod trace;
mod wire;
mod world;

use planted::Planted;

/// Seeds of the test command.
const SEEDS: u64 = 300;

#[test]
fn every_promise_holds_in_three_hundred_worlds() {
    let seeds: Vec<u64> = match std::env::var("SEGSH_SEED") {
        Ok(text) => vec![text.parse().unwrap_or_else(|_| panic!("SEGSH_SEED=`{text}` is not a number"))],
        Err(_) => {
            let first = number("SEGSH_SEEDS_FROM", 1);
            (first..first + number("SEGSH_SEEDS", SEEDS)).collect()
        }
    };
    let failed = run::in_parallel(&seeds, None);
    if let Some(run) = failed {
        panic!("{}", run.failure());
    }
}

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name)
        .map_or(otherwise, |text| text.parse().unwrap_or_else(|_| panic!("{name}=`{text}` is not a number")))
}

#[test]
fn the_same_seed_makes_the_same_run() {
    for seed in 1..=3 {
        let (one, other) = (run::run(seed, None), run::run(seed, None));
        assert_eq!((one.hash, one.steps), (other.hash, other.steps), "seed {seed}");
    }
}

#[test]
fn each_planted_fault_is_found_within_the_seeds() {
    let mut missed = Vec::new();
    for planted in Planted::ALL {
        let seeds: Vec<u64> = (1..=SEEDS).collect();
        match run::in_parallel(&seeds, Some(*planted)) {
            Some(run) => println!("{planted:?}: seed {}: {}", run.seed, run.broken.as_deref().unwrap_or_default()),
            None => missed.push(planted),
        }
    }
    assert!(missed.is_empty(), "not found within {SEEDS} seeds: {missed:?}");
}
