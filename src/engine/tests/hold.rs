//! A drill holds recoveries of two real engines.

use super::*;
use crate::core::report::{HeldAt, Stage};

/// Dbid 2 serves alone, with something to copy.
fn to_be_recovered() -> (Side, Side) {
    let (a, b) = (Side::new(2, 3), Side::new(3, 2));
    serve_alone(&a, &b, 2);
    a.write(FileId::Main, 0, &[7; 40_960]);
    a.commit();
    (a, b)
}

fn until_held(side: &Side, stage: Stage) {
    side.until("held", |r| r.held == Some(HeldAt { stage, reached: true }));
}

#[test]
fn a_held_recovery_goes_on_from_stage_to_stage_and_the_pair_is_equal_in_the_end() {
    let (a, b) = to_be_recovered();
    a.engine.hold_recovery(Some(Stage::Preparation)).expect("it acts");
    resynchronize(&a, &b, 3, false);
    until_held(&a, Stage::Preparation);
    assert_eq!(b.links(), 0, "nothing was said to the mirror");
    let engine = a.engine.clone();
    let writer = std::thread::spawn(move || {
        engine.checkpoint(true);
        engine.write(FileId::Main, 0, &[1; 4_096]).expect("a write");
        engine.sync(FileId::Wal).expect("a commit");
    });
    a.engine.hold_recovery(Some(Stage::DataCopy)).expect("it acts");
    writer.join().expect("it went on");
    until_held(&a, Stage::DataCopy);
    assert_ne!(a.bytes(FileId::Main), b.bytes(FileId::Main));
    a.engine.hold_recovery(Some(Stage::FlatFiles)).expect("it acts");
    until_held(&a, Stage::FlatFiles);
    assert_equal(&a, &b);
    a.engine.hold_recovery(None).expect("released");
    a.until("in sync", |r| r.phase == Phase::InSync && r.held.is_none());
    assert_equal(&a, &b);
}

#[test]
fn changes_under_a_held_copy_reach_the_mirror_while_it_is_held() {
    let (a, b) = to_be_recovered();
    a.engine.hold_recovery(Some(Stage::DataCopy)).expect("it acts");
    resynchronize(&a, &b, 3, false);
    until_held(&a, Stage::DataCopy);
    // A block that is clean: nothing waits to be copied there.
    a.write(FileId::Wal, 1 << 20, &[5; 8_192]);
    a.commit();
    let (asked, len) = (Instant::now(), (1 << 20) + 8_192);
    while b.bytes(FileId::Wal).len() < len || b.bytes(FileId::Wal)[1 << 20..].contains(&0) {
        assert!(asked.elapsed() < Duration::from_secs(20), "the mirror does not get what is written");
        std::thread::yield_now();
    }
    assert_eq!(b.bytes(FileId::Wal)[1 << 20..], [5; 8_192]);
    assert_eq!(a.engine.report().held, Some(HeldAt { stage: Stage::DataCopy, reached: true }));
    a.engine.hold_recovery(None).expect("released");
    a.until("in sync", |r| r.phase == Phase::InSync);
    assert_equal(&a, &b);
}
