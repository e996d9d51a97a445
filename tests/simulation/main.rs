//! The engine in a simulated world: the production state machines, in virtual time, against disks that
//! lose what was not synced, links that are cut and delayed, and crashes at any durable effect.
//!
//! A seed names a run: `SEGSH_SEED=n scripts/dev/test simulation` makes it again and prints its end.

mod aims;
mod bytes;
mod control;
mod coordinator;
mod database;
mod differences;
mod disk;
mod drill;
mod faults;
mod habits;
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
    let failed = run::in_parallel(&seeds(), None);
    if let Some(run) = failed {
        panic!("{}", run.failure());
    }
}

/// The seeds of this run: one that was named, or as many as the test command takes.
fn seeds() -> Vec<u64> {
    match std::env::var("SEGSH_SEED") {
        Ok(text) => vec![text.parse().unwrap_or_else(|_| panic!("SEGSH_SEED=`{text}` is not a number"))],
        Err(_) => {
            let first = number("SEGSH_SEEDS_FROM", 1);
            (first..first + number("SEGSH_SEEDS", SEEDS)).collect()
        }
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

/// Each promise that is broken on purpose is seen to be broken, within the seeds of the test command.
macro_rules! finds {
    ($($test:ident: $planted:ident;)*) => {
        $(#[test]
        fn $test() {
            expect_found(Planted::$planted);
        })*

        #[test]
        fn every_planted_fault_has_its_test() {
            let looked_for = [$(Planted::$planted),*];
            let forgotten: Vec<_> = Planted::ALL.iter().filter(|planted| !looked_for.contains(planted)).collect();
            assert!(forgotten.is_empty(), "no test looks for {forgotten:?}");
        }
    };
}

fn expect_found(planted: Planted) {
    match run::in_parallel(&seeds(), Some(planted)) {
        Some(run) => println!("seed {}: {}", run.seed, run.broken.as_deref().unwrap_or_default()),
        None => panic!("{planted:?} is not found within {SEEDS} seeds"),
    }
}

finds! {
    finds_a_grant_before_the_map_is_durable: GrantWithoutMap;
    finds_blocks_cleared_before_the_union_is_durable: UnionNotDurable;
    finds_an_acknowledgement_before_the_mirrors_answer: AckBeforeMirror;
    finds_an_acknowledgement_before_the_local_sync: AckBeforeLocalSync;
    finds_an_acknowledgement_of_a_commit_behind_the_barrier: AckBeyondBarrier;
    finds_a_read_of_a_commit_that_is_not_durable: ReadBeforeDurable;
    finds_a_mirror_that_answers_without_a_sync: AnswerWithoutSync;
    finds_a_mark_that_was_dropped: MarkDropped;
    finds_a_row_that_is_told_before_it_is_durable: ToldBeforeDurable;
    finds_a_primary_that_grants_itself_tracking: SelfGrantedTracking;
    finds_a_process_that_serves_without_asking: ServeWithoutAsking;
    finds_a_link_that_is_resumed: LinkResumed;
    finds_a_checkpoint_that_ends_without_the_map: CheckpointWithoutMap;
    finds_a_promotion_of_an_unsynchronized_mirror: PromotedUnsynchronized;
    finds_a_read_without_the_lease: ReadWithoutLease;
    finds_blocks_cleared_when_they_are_sent: ClearedWhenSent;
    finds_a_log_that_is_not_read_after_a_crash: LogUnread;
    finds_an_answer_of_an_earlier_links_mirror_that_counts: StrangerHeard;
    finds_a_mirror_that_takes_over_before_its_appliers_are_joined: AppliersNotJoined;
    finds_a_mirrors_contribution_that_is_dropped: ContributionDropped;
}
