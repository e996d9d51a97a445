//! A segment's database under every workload: whatever a disk or our link leaves of it is sound and
//! holds what was acknowledged.

use crate::explore::{explore, explore_some, seeds};
use crate::order::Order;
use crate::session::Recorded;
use crate::workloads;

/// Every cut of the negative control would say the same again, at the price of all other orders.
const CONTROL_STEP: usize = 5;

fn survives(workload: fn(&'static str) -> Recorded, name: &'static str) {
    let run = workload(name);
    let mut wrong = Vec::new();
    for order in Order::SOUND {
        let tally = explore(&run, order, seeds());
        wrong.extend(tally.examples);
    }
    assert!(wrong.is_empty(), "crash images that no crash may leave:\n{}", wrong.join("\n"));
    let control = explore_some(&run, Order::PerFile, seeds(), CONTROL_STEP);
    assert!(control.lost + control.corrupt > 0, "without barriers between the files nothing went wrong: {control}");
}

#[test]
fn single_row_commits_survive_every_crash() {
    survives(workloads::single_rows, "single rows");
}

#[test]
fn transactions_that_spill_survive_every_crash() {
    survives(workloads::large_transactions, "large transactions");
}

#[test]
fn a_vacuum_survives_every_crash() {
    survives(workloads::vacuum, "vacuum");
}

#[test]
fn checkpoints_and_logs_that_start_anew_survive_every_crash() {
    survives(workloads::checkpoints, "checkpoints");
}

#[test]
fn schema_changes_survive_every_crash() {
    survives(workloads::schema_changes, "schema changes");
}

#[test]
fn savepoints_and_rollbacks_survive_every_crash() {
    survives(workloads::savepoints, "savepoints");
}

#[test]
fn overwritten_blobs_survive_every_crash() {
    survives(workloads::blobs, "blobs");
}

#[test]
fn commits_that_share_a_sync_survive_every_crash_once_they_are_acknowledged() {
    survives(workloads::shared_syncs, "shared syncs");
}

#[test]
fn sessions_that_take_turns_survive_every_crash() {
    survives(workloads::two_writers, "two writers");
}
