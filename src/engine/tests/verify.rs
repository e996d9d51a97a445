//! Two engines compare their files: what is found, what is durable of it, what it keeps from happening.

use super::*;
use crate::core::report::{Verification, VerifyStage};
use crate::engine::load_map;
use std::os::unix::fs::FileExt;

/// Flips a bit of a file behind the engine's back.
fn flip(side: &Side, file: FileId, at: u64) {
    let file =
        std::fs::OpenOptions::new().read(true).write(true).open(side.dir.path().join(file.name())).expect("a file");
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).expect("a byte");
    file.write_all_at(&[byte[0] ^ 1], at).expect("a write");
}

fn verified(side: &Side, op: i64) -> Verification {
    side.engine.verify(op, None);
    let ended = |v: &Verification| v.op == op && v.stage != VerifyStage::Running;
    let report = side.until("compared", |r| r.verification.as_ref().is_some_and(ended));
    report.verification.expect("it was compared")
}

/// A pair of some MiB, in sync.
fn large() -> (Side, Side) {
    let (a, b) = in_sync();
    // No frame carries more than a MiB, as no write of SQLite does.
    for mib in 0..5u64 {
        a.write(FileId::Main, mib << 20, &[3; 1 << 20]);
    }
    a.write(FileId::Main, 5 << 20, &[3; 777]);
    a.commit();
    (a, b)
}

#[test]
fn equal_files_are_compared_to_their_last_byte_again_and_again() {
    let (a, _b) = large();
    for op in 1..4 {
        let found = verified(&a, op);
        assert_eq!((found.stage, found.differing_blocks), (VerifyStage::Ended, 0));
        assert_eq!(found.verified_bytes, a.engine.report().data_bytes);
    }
    assert_eq!(a.engine.report().soundness, Soundness::Sound);
}

#[test]
fn a_difference_is_durable_before_it_is_told_and_keeps_the_mirror_from_taking_over() {
    let (a, b) = large();
    flip(&b, FileId::Main, 4096 * 300 + 9);
    flip(&b, FileId::Wal, 4_999);
    let found = verified(&a, 1);
    assert_eq!((found.stage, found.differing_blocks), (VerifyStage::Ended, 2));
    assert_eq!(found.differing, "main.db block 300; main.db-wal block 1");
    b.until("not ready", |r| !r.ready);
    let map = load_map(a.dir.path()).expect("a map").dirty;
    assert!(map.is_dirty(FileId::Main, 300) && map.is_dirty(FileId::Wal, 1), "{map:?}");
    assert_eq!(load_meta(a.dir.path()).expect("meta").soundness, Soundness::Unjudged);

    // The primary dies before the row says so, and returns: it knows, and copies just that.
    let a = Side::start(a.die(), 2);
    serve_alone(&a, &b, 4);
    assert_eq!(a.engine.report().soundness, Soundness::Unjudged);
    a.engine.judged(None).expect("it is kept");
    let b = Side::start(b.die(), 3);
    resynchronize(&a, &b, 5, false);
    a.until("in sync", |r| r.phase == Phase::InSync);
    assert_equal(&a, &b);
    assert!(b.engine.report().ready);
    assert_eq!(verified(&a, 2).differing_blocks, 0);
}

#[test]
fn what_a_former_primary_knew_to_differ_is_copied_to_it_from_its_successor() {
    let (a, b) = large();
    flip(&b, FileId::Main, 4096 * 40);
    assert_eq!(verified(&a, 1).differing_blocks, 1);
    // However it came that the mirror serves now: what differed is copied the other way.
    b.engine.order(&order(4, &b, &a, Mode::ChangeTracking, &b, false)).expect("obeyed");
    b.engine.serving();
    let a = Side::start(a.die(), 2);
    resynchronize(&b, &a, 5, false);
    b.until("in sync", |r| r.phase == Phase::InSync);
    assert_equal(&a, &b);
    assert_eq!(load_meta(a.dir.path()).expect("meta").soundness, Soundness::Sound);
}

#[test]
fn a_primary_that_gives_way_to_damage_is_known_to_be_damaged_and_is_sent_what_is() {
    let (a, b) = large();
    flip(&a, FileId::Main, 4096 * 40);
    a.engine.met_damage(FileId::Main, 40);
    assert!(a.engine.fenced().is_some());
    let a = Side::start(a.die(), 2);
    assert!(matches!(a.engine.report().soundness, Soundness::Damaged { .. }));
    b.engine.order(&order(4, &b, &a, Mode::ChangeTracking, &b, false)).expect("obeyed");
    b.engine.serving();
    resynchronize(&b, &a, 5, false);
    b.until("in sync", |r| r.phase == Phase::InSync);
    assert_equal(&a, &b);
    assert_eq!(load_meta(a.dir.path()).expect("meta").soundness, Soundness::Sound);
}

#[test]
fn damage_is_remembered_until_the_pair_is_in_sync_again() {
    let (a, b) = large();
    flip(&a, FileId::Main, 4096 * 7);
    assert_eq!(verified(&a, 1).differing_blocks, 1);
    a.engine.judged(Some("block 7".into())).expect("it is kept");
    a.engine.judged(None).expect("nothing is due any more");
    let a = Side::start(a.die(), 2);
    let damaged = Soundness::Damaged { why: "block 7".into() };
    assert_eq!(a.engine.report().soundness, damaged);
    serve_alone(&a, &b, 4);
    assert_eq!(a.engine.report().soundness, damaged);
}

#[test]
fn writes_go_on_while_it_is_compared_and_none_of_them_is_a_difference() {
    let (a, _b) = large();
    let engine = a.engine.clone();
    let writer = std::thread::spawn(move || {
        engine.checkpoint(true);
        for i in 0..4_000u64 {
            engine.write(FileId::Main, (i * 7_919) % (5 << 20), &[i as u8; 3_000]).expect("a write");
            engine.write(FileId::Wal, (i * 4_120) % (1 << 20), &[!i as u8; 4_120]).expect("a write");
            if i % 16 == 0 {
                engine.sync(FileId::Wal).expect("a commit");
            }
        }
    });
    let mut op = 0;
    while !writer.is_finished() || op < 5 {
        op += 1;
        let found = verified(&a, op);
        assert_eq!((found.stage, found.differing_blocks), (VerifyStage::Ended, 0), "pass {op}");
    }
    writer.join().expect("the writer never fails");
}

#[test]
fn one_that_is_ended_or_replaced_leaves_the_link_as_it_was() {
    let (a, b) = large();
    for op in (1..40).step_by(2) {
        a.engine.verify(op, None);
        a.engine.end_verify(op);
        // Answers to the first are still under way.
        assert_eq!(verified(&a, op + 1).stage, VerifyStage::Ended);
    }
    a.commit();
    assert_eq!((a.engine.report().phase, b.engine.report().link), (Phase::InSync, Some(Epoch(3))));
}

#[test]
fn without_a_mirror_in_sync_it_ends_at_once_and_with_the_link_it_ends() {
    let (a, b) = large();
    a.engine.verify(1, Some(1));
    a.until("comparing", |r| r.verification.as_ref().is_some_and(|v| v.verified_bytes > 0));
    drop(b.die());
    a.until("suspended", |r| r.phase == Phase::Suspended);
    let why = |side: &Side| match side.engine.report().verification.expect("one").stage {
        VerifyStage::Failed { why } => why,
        other => panic!("{other:?}"),
    };
    assert_eq!(why(&a), "the link to the mirror ended");
    assert!(matches!(verified(&a, 2).stage, VerifyStage::Failed { .. }));
    assert_eq!(why(&a), "it has no mirror in sync");
}

#[test]
fn a_difference_that_finds_no_room_is_not_told() {
    let (a, b) = large();
    flip(&b, FileId::Main, 4096);
    // The name of the record's successor is taken: it can't be replaced.
    std::fs::create_dir(a.dir.path().join("segment.meta.new")).expect("a directory in the way");
    a.engine.verify(1, None);
    a.until("fenced", |r| r.sick.is_some());
    assert_eq!(load_meta(a.dir.path()).expect("meta").soundness, Soundness::Sound);
}
