//! Each rule dropped, one at a time: then a property fails, and the shortest way there is told.

use crate::holds::{NOTHING, explore, in_sync, is_deep, tracking};
use crate::pair::{Dropped, Pair, Search};
use crate::properties::{BOTH_HOLD, MARKED, NO_LOSS, ONE_ALONE, ONLY_ITS_LINK};
use crate::world::{Bounds, World};
use stateright::{Checker, HasDiscoveries, Model};
use std::sync::atomic::AtomicBool;
use std::time::Instant;

/// The shortest way to a state in which this does not hold.
fn counterexample(dropped: Dropped, start: World, bounds: Bounds, fails: &'static str) {
    if is_deep() {
        // It is the dropped rule that fails here, and not the machine.
        explore(&format!("the bounds of {dropped:?}"), start.clone(), bounds, &[]);
    }
    let began = Instant::now();
    let search = Some(Search { fails, found: AtomicBool::new(false) });
    let pair = Pair { bounds, dropped: Some(dropped), start, search };
    let until = HasDiscoveries::AnyOf([fails].into());
    let checker = pair.checker().finish_when(until).spawn_bfs().join();
    let (states, took) = (checker.unique_state_count(), began.elapsed().as_secs_f64());
    let path = checker.discovery(fails);
    let path =
        path.unwrap_or_else(|| panic!("{dropped:?}: no counterexample to \"{fails}\" in {states} states, {took:.1} s"));
    let actions = path.into_actions();
    println!("{dropped:?}: not so: {fails}: {} steps, {states} states, {took:.1} s", actions.len());
    actions.iter().for_each(|action| println!("    {action:?}"));
}

#[test]
fn an_order_sent_before_its_row_is_durable_lets_two_processes_acknowledge_alone() {
    let bounds = Bounds { suspicions: 1, restarts: 1, cuts: 1, epochs: 1, ..NOTHING };
    counterexample(Dropped::OrderBeforeRow, in_sync(), bounds, ONE_ALONE);
}

#[test]
fn an_order_of_a_lower_epoch_obeyed_lets_two_processes_acknowledge_alone() {
    let bounds = Bounds { suspicions: 1, epochs: 2, ..NOTHING };
    counterexample(Dropped::LowerEpochObeyed, tracking(), bounds, ONE_ALONE);
}

#[test]
fn a_commit_acknowledged_on_the_local_sync_is_lost_in_a_failover() {
    let bounds = Bounds { commits: 1, crashes: 1, epochs: 1, ..NOTHING };
    counterexample(Dropped::AcknowledgedOnLocalSync, in_sync(), bounds, NO_LOSS);
}

#[test]
fn a_commit_acknowledged_by_the_barrier_before_it_is_lost_in_a_failover() {
    let bounds = Bounds { commits: 2, crashes: 1, epochs: 1, ..NOTHING };
    counterexample(Dropped::AcknowledgedBeyondBarrier, in_sync(), bounds, NO_LOSS);
}

#[test]
fn a_primary_that_grants_itself_tracking_is_one_of_two_that_acknowledge_alone() {
    let bounds = Bounds { cuts: 1, suspicions: 1, epochs: 1, ..NOTHING };
    counterexample(Dropped::SelfGrantedTracking, in_sync(), bounds, ONE_ALONE);
}

#[test]
fn a_commit_of_a_primary_that_grants_itself_tracking_is_lost() {
    let bounds = Bounds { commits: 1, cuts: 1, suspicions: 1, epochs: 1, ..NOTHING };
    counterexample(Dropped::SelfGrantedTracking, in_sync(), bounds, NO_LOSS);
}

#[test]
fn a_commit_of_a_primary_that_goes_on_alone_after_its_claim_is_lost() {
    let bounds = Bounds { commits: 1, cuts: 1, suspicions: 1, epochs: 2, ..NOTHING };
    counterexample(Dropped::AloneAfterClaim, tracking(), bounds, NO_LOSS);
}

#[test]
fn a_link_of_another_epoch_accepted_brings_frames_of_that_epoch() {
    let bounds = Bounds { cuts: 1, epochs: 3, ..NOTHING };
    counterexample(Dropped::EpochOfLinkUnchecked, tracking(), bounds, ONLY_ITS_LINK);
}

#[test]
fn the_frames_of_a_closed_link_overwrite_the_promoted_copy() {
    let bounds = Bounds { commits: 2, suspicions: 1, epochs: 1, ..NOTHING };
    counterexample(Dropped::ClosedLinkApplied, in_sync(), bounds, NO_LOSS);
}

#[test]
fn an_applier_that_outlives_the_promotion_writes_below_sqlite() {
    let bounds = Bounds { commits: 1, suspicions: 1, epochs: 1, ..NOTHING };
    counterexample(Dropped::ServesBeforeJoin, in_sync(), bounds, ONLY_ITS_LINK);
}

#[test]
fn an_applier_that_outlives_the_promotion_overwrites_a_commit() {
    let bounds = Bounds { commits: 2, suspicions: 1, epochs: 1, ..NOTHING };
    counterexample(Dropped::ServesBeforeJoin, in_sync(), bounds, NO_LOSS);
}

#[test]
fn a_promotion_while_copying_loses_what_was_tracked() {
    let bounds = Bounds { commits: 1, suspicions: 1, epochs: 2, ..NOTHING };
    counterexample(Dropped::PromotedWhileCopying, tracking(), bounds, NO_LOSS);
}

#[test]
fn a_mirror_promoted_though_it_is_not_ready_lacks_commits() {
    let bounds = Bounds { commits: 1, crashes: 1, suspicions: 1, restores: 1, epochs: 1, ..NOTHING };
    counterexample(Dropped::PromotedUnready, in_sync(), bounds, NO_LOSS);
}

#[test]
fn a_restarted_primary_that_keeps_its_role_is_one_of_two() {
    let bounds = Bounds { crashes: 1, epochs: 1, ..NOTHING };
    counterexample(Dropped::RestartKeepsRole, in_sync(), bounds, ONE_ALONE);
}

#[test]
fn a_link_resumed_lacks_what_the_old_connection_carried() {
    let bounds = Bounds { commits: 1, cuts: 1, epochs: 0, ..NOTHING };
    counterexample(Dropped::LinkResumed, in_sync(), bounds, BOTH_HOLD);
}

#[test]
fn a_commit_over_a_resumed_link_is_lost_in_a_failover() {
    let bounds = Bounds { commits: 1, cuts: 1, crashes: 1, epochs: 1, ..NOTHING };
    counterexample(Dropped::LinkResumed, in_sync(), bounds, NO_LOSS);
}

#[test]
fn two_processes_on_one_directory_differ_from_what_was_copied() {
    let bounds = Bounds { commits: 1, suspicions: 1, epochs: 2, ..NOTHING };
    counterexample(Dropped::TwoProcesses, in_sync(), bounds, MARKED);
}

#[test]
fn a_primary_demoted_without_its_exit_changes_blocks_that_nothing_names() {
    let bounds = Bounds { commits: 1, suspicions: 1, epochs: 1, ..NOTHING };
    counterexample(Dropped::DemotedWithoutExit, in_sync(), bounds, MARKED);
}

#[test]
fn a_record_discarded_before_the_union_is_durable_leaves_a_difference_unmarked() {
    let bounds = Bounds { commits: 2, checkpoints: 1, crashes: 1, epochs: 2, ..NOTHING };
    counterexample(Dropped::UnionNotDurable, tracking(), bounds, MARKED);
}
