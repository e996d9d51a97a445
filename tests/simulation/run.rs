//! One run, from a seed to a verdict; many of them, on every core.

use crate::planted::Planted;
use crate::world::World;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// How long faults come, in microseconds of the world.
const FAULTS_FOR: (u64, u64) = (4_000_000, 15_000_000);
/// Within this the pair is synchronized again once they end.
const RECOVERED_WITHIN: u64 = 120_000_000;

/// How a run ended.
#[derive(Debug)]
pub struct Run {
    pub seed: u64,
    pub broken: Option<String>,
    pub hash: u64,
    pub steps: u64,
    pub acknowledged: u64,
    pub trace: String,
}

impl Run {
    /// What broke, and how to see it again.
    pub fn failure(&self) -> String {
        let (broken, seed) = (self.broken.as_deref().unwrap_or("nothing broke"), self.seed);
        let (steps, acknowledged) = (self.steps, self.acknowledged);
        format!(
            "{}\n{broken}\nafter {steps} steps and {acknowledged} acknowledged commits; run again: SEGSH_SEED={seed} scripts/dev/test simulation\n",
            self.trace
        )
    }
}

/// Runs one world until a promise is broken, or until it is synchronized again after its faults.
pub fn run(seed: u64, planted: Option<Planted>) -> Run {
    let mut world = World::new(seed, planted);
    let faults_until = world.random.between(FAULTS_FOR.0, FAULTS_FOR.1);
    while world.now < faults_until && world.step() {}
    if world.oracle.broken.is_none() {
        world.calm_down();
        let limit = world.now + RECOVERED_WITHIN;
        while world.step() && !world.is_synchronized() {
            if world.now > limit {
                let row = segsh::core::transition::letters(&world.catalog.row);
                world
                    .oracle
                    .broken(format!("not synchronized {} s after the last fault: {row}", RECOVERED_WITHIN / 1_000_000));
            }
        }
        if world.oracle.broken.is_none() {
            end_well(&mut world);
        }
    }
    Run {
        seed,
        broken: world.oracle.broken.clone(),
        hash: world.trace.hash,
        steps: world.steps,
        acknowledged: world.oracle.acknowledged,
        trace: world.trace.text(),
    }
}

/// Both copies hold every acknowledged commit, durably.
fn end_well(world: &mut World) {
    let last = world.oracle.last_acknowledged;
    for side in 0..2 {
        let Some(dir) = world.sides[side].process.as_ref().map(|p| p.dir) else { continue };
        world.oracle.durable("synchronized pair", side, last, &world.sides[side].dirs[dir]);
    }
}

/// Runs seeds on every core; the first that fails, by its number.
pub fn in_parallel(seeds: &[u64], planted: Option<Planted>) -> Option<Run> {
    let (next, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
    let failed: Mutex<Option<Run>> = Mutex::new(None);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                while let Some(seed) = seeds.get(next.fetch_add(1, Ordering::SeqCst)) {
                    if stop.load(Ordering::SeqCst) {
                        return;
                    }
                    let run = std::panic::catch_unwind(|| run(*seed, planted)).unwrap_or_else(|_| Run {
                        seed: *seed,
                        broken: Some("a panic".into()),
                        hash: 0,
                        steps: 0,
                        acknowledged: 0,
                        trace: String::new(),
                    });
                    if run.broken.is_some() {
                        stop.store(true, Ordering::SeqCst);
                        let mut failed = failed.lock().expect("a run's panic is caught");
                        if failed.as_ref().is_none_or(|f| f.seed > run.seed) {
                            *failed = Some(run);
                        }
                    }
                }
            });
        }
    });
    failed.into_inner().expect("no thread panics with the lock")
}
