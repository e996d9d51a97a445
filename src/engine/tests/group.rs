//! Group commit on a real link: what is told is durable on both sides, and who waits shares a barrier.

use super::faults::{late_once_in_sync, tracking};
use super::*;
use crate::engine::storage::{Position, StorageError};
use std::thread::JoinHandle;

type Told = JoinHandle<Result<(), StorageError>>;

/// A frame in the log, and the commit that it ends.
fn write_commit(side: &Side, at: u64) -> Position {
    side.write(FileId::Wal, 5_000 + at * 4_120, &[at as u8; 4_120]);
    side.engine.commit()
}

/// Waits on a thread of its own, as a session does.
fn wait(side: &Side, position: Position) -> Told {
    let engine = side.engine.clone();
    std::thread::spawn(move || engine.durable(position, &|| true))
}

/// A primary in sync with a mirror that answers a sync only when told to.
fn with_late_mirror() -> (Side, std::sync::mpsc::Sender<()>) {
    let (a, b) = tracking();
    let (peer, answer) = late_once_in_sync(&b);
    let recovery = order(5, &a, &b, Mode::Resynchronizing, &a, false);
    a.engine.order(&Order { peer: Some(peer), ..recovery }).expect("obeyed");
    a.until("in sync", |r| r.phase == Phase::InSync);
    (a, answer)
}

/// A report's lag will not do: it tells for a while of a sync that was late and is answered.
fn has_barrier_under_way(side: &Side) -> bool {
    let inner = side.engine.lock();
    inner.replica.acting().ok().and_then(|acting| acting.link()).is_some_and(|link| link.unanswered_barriers() > 0)
}

#[test]
fn a_commit_is_told_when_both_sides_have_synced_it_and_those_that_come_meanwhile_share_a_barrier() {
    let (a, answer) = with_late_mirror();
    let first = wait(&a, write_commit(&a, 0));
    a.until("waiting for the first barrier", |_| has_barrier_under_way(&a));
    let late: Vec<Told> = (1..9).map(|at| wait(&a, write_commit(&a, at))).collect();
    assert!(!first.is_finished() && late.iter().all(|l| !l.is_finished()), "nothing is answered yet");
    answer.send(()).expect("the mirror listens");
    first.join().expect("no panic").expect("durable");
    assert!(late.iter().all(|l| !l.is_finished()), "the first barrier was queued before they were written");
    // One more answer is enough for all of them.
    answer.send(()).expect("the mirror listens");
    late.into_iter().for_each(|l| l.join().expect("no panic").expect("durable"));
    assert!(a.engine.durable(a.engine.position(), &|| false).is_ok(), "nobody waits when nothing is outstanding");
}

#[test]
fn a_checkpoints_sync_makes_durable_what_sessions_wait_for() {
    let (a, b) = in_sync();
    let position = write_commit(&a, 0);
    assert!(!a.engine.group.is_durable(position));
    a.engine.sync(FileId::Wal).expect("a sync");
    assert!(a.engine.group.is_durable(position));
    assert_equal(&a, &b);
}

#[test]
fn a_suspended_primary_tells_of_no_commit_until_tracking_is_granted() {
    let (a, b) = in_sync();
    let position = write_commit(&a, 0);
    let b = Side::start(b.die(), 3);
    a.until("suspended", |r| r.phase == Phase::Suspended);
    let gives_up = a.engine.durable(position, &|| false);
    assert!(matches!(gives_up, Err(StorageError::GivenUp)), "{gives_up:?}");
    let told = wait(&a, position);
    assert!(!told.is_finished());
    a.engine.order(&order(4, &a, &b, Mode::ChangeTracking, &a, false)).expect("obeyed");
    told.join().expect("no panic").expect("durable here, and marked for the mirror");
    resynchronize(&a, &b, 5, false);
    a.until("in sync", |r| r.phase == Phase::InSync);
    assert_equal(&a, &b);
}

#[test]
fn nobody_is_told_of_a_commit_once_the_process_is_fenced() {
    let (a, _answer) = with_late_mirror();
    let leads = wait(&a, write_commit(&a, 0));
    a.until("waiting for a barrier", |_| has_barrier_under_way(&a));
    let follows = wait(&a, write_commit(&a, 1));
    a.engine.fence("the test says so");
    for told in [leads, follows] {
        let told = told.join().expect("no panic");
        assert!(matches!(told, Err(StorageError::Fenced(_))), "{told:?}");
    }
    let late = a.engine.durable(a.engine.position(), &|| true);
    assert!(matches!(late, Err(StorageError::Fenced(_))), "{late:?}");
}
