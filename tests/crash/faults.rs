//! The harness finds what it is there to find: each fault planted here shows within the same seeds.

use crate::check::{Found, look};
use crate::explore::{Tally, explore_some};
use crate::image::{Image, Op};
use crate::order::Order;
use crate::session::Recorded;
use crate::workloads;
use segsh::engine::storage::FileId;
use segsh::segment::vfs::PAGE_SIZE;

fn explored(run: &Recorded, order: Order) -> Tally {
    explore_some(run, order, 1..3, 2)
}

/// The run as if the syncs of one file had done nothing.
fn without_syncs_of(mut run: Recorded, file: FileId) -> Recorded {
    // The operation stays, so that every position still means the same.
    let nothing = |op: Op| match op {
        Op::Sync { file: id } if id == file => Op::Write { file, offset: 0, data: [].into() },
        other => other,
    };
    run.ops = run.ops.into_iter().map(nothing).collect();
    run
}

#[test]
fn without_a_barrier_between_the_files_databases_are_corrupt_and_commits_are_lost() {
    let tally = explored(&workloads::vacuum("control"), Order::PerFile);
    assert!(tally.corrupt > 0 && tally.lost > 0, "{tally}");
}

#[test]
fn a_sync_of_the_log_that_does_nothing_loses_commits() {
    let run = without_syncs_of(workloads::checkpoints("no sync of the log"), FileId::Wal);
    let tally = explored(&run, Order::Subset);
    assert!(tally.lost > 0, "{tally}");
}

#[test]
fn a_sync_of_main_db_that_does_nothing_corrupts_or_loses_what_was_checkpointed() {
    let run = without_syncs_of(workloads::checkpoints("no sync of main.db"), FileId::Main);
    let tally = explored(&run, Order::Subset);
    assert!(tally.lost + tally.corrupt > 0, "{tally}");
}

#[test]
fn an_acknowledgement_before_the_sync_is_found() {
    let mut run = workloads::single_rows("early acknowledgement");
    for state in run.states.iter_mut().skip(1) {
        state.acknowledged -= 1;
    }
    // The last operation of a commit is its sync: what only a disk's cache holds is what gets lost.
    let tally = explored(&run, Order::Subset);
    assert!(tally.lost > 0, "{tally}");
}

#[test]
fn a_flipped_bit_in_any_page_of_a_database_at_rest_is_found() {
    let run = workloads::blobs("flipped bits");
    let mut sound = Image::default();
    run.ops.iter().for_each(|op| sound.apply(op));
    assert!(sound.file(FileId::Wal).is_empty(), "the workload ends with an empty log");
    let pages = sound.file(FileId::Main).len() / PAGE_SIZE;
    assert!(pages > 10);
    for page in 0..pages {
        let mut image = sound.clone();
        image.file_mut(FileId::Main)[page * PAGE_SIZE + 2_000] ^= 0x10;
        assert!(matches!(look(image), Found::Corrupt(_)), "page {}", page + 1);
    }
}
