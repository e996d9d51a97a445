//! The production machine in every order of events: every property holds, and the model is not vacuous.

use crate::pair::Pair;
use crate::properties::{COMMITTED, FAILED_OVER, IN_SYNC_AGAIN, RECOVERED};
use crate::world::{Bounds, World};
use segsh::core::row::Pairing;
use stateright::{Checker, Expectation, Model};
use std::time::Instant;

pub const NOTHING: Bounds =
    Bounds { commits: 0, checkpoints: 0, crashes: 0, cuts: 0, suspicions: 0, restarts: 0, restores: 0, epochs: 0 };

/// An acting primary that tracks, and a mirror's process that is nobody yet.
pub fn tracking() -> World {
    let pair = Pair { bounds: NOTHING, dropped: None, start: World::stopped(), search: None };
    let mut stopped = World::stopped();
    stopped.node_mut(0).start();
    stopped.node_mut(1).start();
    Pair::grant(&mut stopped, 0);
    pair.run_until(stopped, |w| w.nodes[0].process().is_some_and(|p| p.replica.acting().is_ok() && p.orders.is_empty()))
}

/// A pair in sync over a link that stands, as the first recovery leaves it.
pub fn in_sync() -> World {
    let start = tracking();
    let pair = Pair { bounds: Bounds { epochs: 1, ..NOTHING }, dropped: None, start: start.clone(), search: None };
    let quiet = |w: &World| w.links.iter().all(|l| l.to_mirror.is_empty() && l.to_primary.is_empty());
    let orders_read = |w: &World| w.nodes.iter().flat_map(|n| &n.processes).all(|p| p.orders.is_empty());
    let mut world =
        pair.run_until(start, |w| w.row.pairing() == Some(Pairing::Synchronized) && quiet(w) && orders_read(w));
    world.granted = None;
    world
}

/// Explores everything within the bounds; says how much that was.
pub fn explore(name: &str, start: World, bounds: Bounds, must_reach: &[&str]) {
    let began = Instant::now();
    let checker = Pair { bounds, dropped: None, start, search: None }.checker().threads(2).spawn_bfs().join();
    println!(
        "{name}: {} unique states, depth {}, {:.1} s",
        checker.unique_state_count(),
        checker.max_depth(),
        began.elapsed().as_secs_f64()
    );
    for property in checker.model().properties() {
        match (property.expectation, checker.discovery(property.name)) {
            (Expectation::Always, Some(path)) => {
                let steps: Vec<_> = path.clone().into_actions();
                panic!(
                    "{name}: not so: {}, after {} steps: {steps:#?}\n{:#?}",
                    property.name,
                    steps.len(),
                    path.last_state()
                );
            }
            (Expectation::Sometimes, None) => {
                assert!(!must_reach.contains(&property.name), "{name}: never reached: {}", property.name);
            }
            _ => {}
        }
    }
}

/// The bounds of the test run, or larger ones where they are asked for.
fn bounds(usual: Bounds, deep: Bounds) -> Bounds {
    if is_deep() { deep } else { usual }
}

pub fn is_deep() -> bool {
    std::env::var_os("SEGSH_MODEL").is_some_and(|asked| asked == "deep")
}

const AFTER_A_FAILOVER: [&str; 3] = [FAILED_OVER, RECOVERED, IN_SYNC_AGAIN];

#[test]
fn a_pair_in_sync_keeps_its_promises_when_a_process_dies_or_seems_to() {
    let usual = Bounds { commits: 1, crashes: 1, suspicions: 1, epochs: 2, ..NOTHING };
    let deep = Bounds { commits: 2, crashes: 2, epochs: 4, ..usual };
    explore("processes die", in_sync(), bounds(usual, deep), &[&AFTER_A_FAILOVER[..], &[COMMITTED]].concat());
}

#[test]
fn a_pair_in_sync_keeps_its_promises_when_its_link_flaps() {
    let usual = Bounds { commits: 1, cuts: 1, suspicions: 1, epochs: 2, ..NOTHING };
    let deep = Bounds { commits: 2, cuts: 2, epochs: 4, ..usual };
    explore("links flap", in_sync(), bounds(usual, deep), &[FAILED_OVER, COMMITTED]);
}

#[test]
fn a_pair_in_sync_keeps_its_promises_when_the_coordinator_forgets_and_a_mirror_is_restored() {
    let usual = Bounds { commits: 1, crashes: 1, restarts: 1, restores: 1, epochs: 2, ..NOTHING };
    let deep = Bounds { crashes: 2, epochs: 4, ..usual };
    explore("coordinators restart", in_sync(), bounds(usual, deep), &[FAILED_OVER, COMMITTED]);
}

#[test]
fn a_pair_in_sync_keeps_its_promises_when_the_log_restarts() {
    let usual = Bounds { commits: 2, checkpoints: 1, crashes: 1, epochs: 1, ..NOTHING };
    let deep = Bounds { commits: 3, checkpoints: 2, cuts: 1, epochs: 3, ..usual };
    explore("checkpoints in sync", in_sync(), bounds(usual, deep), &[FAILED_OVER, COMMITTED]);
}

#[test]
fn a_recovery_keeps_every_promise_when_a_process_dies() {
    let usual = Bounds { commits: 1, checkpoints: 1, crashes: 1, epochs: 2, ..NOTHING };
    let deep = Bounds { commits: 2, crashes: 2, cuts: 1, epochs: 4, ..usual };
    explore("recovery", tracking(), bounds(usual, deep), &[FAILED_OVER, COMMITTED]);
}

#[test]
fn a_recovery_keeps_every_promise_when_the_log_restarts() {
    let usual = Bounds { commits: 2, checkpoints: 1, epochs: 1, ..NOTHING };
    let deep = Bounds { commits: 3, checkpoints: 2, crashes: 1, epochs: 3, ..usual };
    explore("checkpoints in a recovery", tracking(), bounds(usual, deep), &[COMMITTED]);
}
