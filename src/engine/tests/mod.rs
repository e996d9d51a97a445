//! Two engines in one process, a real link between them, real files: the whole life of a pair.

mod faults;
mod group;
mod hold;
mod markers;
mod verify;

use super::storage::{FileId, Storage};
use super::{Connector, Engine, Then, load_meta, save_map, save_meta};
use crate::core::format::{Meta, TrackMap};
use crate::core::ids::{Content, CopyId, Dbid, Epoch};
use crate::core::pair::binding::Binding;
use crate::core::report::{CopyState, MirrorLoss, Order, PeerAddress, Phase, Report, Soundness};
use crate::core::row::{Member, Mode, PairRow, Status};
use crate::core::track::DirtyMap;
use std::io;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

struct Dial;

impl Connector for Dial {
    fn connect(&self, peer: &PeerAddress, _deadline: Duration) -> io::Result<TcpStream> {
        TcpStream::connect((peer.address.as_str(), peer.replication_port))
    }
}

type Bell = Arc<(Mutex<()>, Condvar)>;

/// One segment: its directory, its engine, a listener for its link.
struct Side {
    dir: tempfile::TempDir,
    engine: Arc<Engine>,
    bell: Bell,
    port: u16,
    dbid: i64,
    accepted: Arc<AtomicUsize>,
}

fn write_identity(dir: &Path, dbid: i64, peer: i64) {
    let state = |id: i64| CopyState { copy: CopyId(id as u128), generation: Epoch(1) };
    let meta = Meta {
        cluster_id: "test".into(),
        dbid: Dbid(dbid),
        content: Content(0),
        copy: state(dbid).copy,
        generation: Epoch(1),
        peer: Some(state(peer)),
        epoch: Epoch(1),
        acted: Epoch(0),
        consistent: true,
        written_outside_checkpoint: false,
        stamps: vec![],
        touched: vec![],
        soundness: Soundness::Sound,
    };
    super::create_files(dir).expect("files");
    save_meta(dir, &meta).expect("meta");
    save_map(dir, &TrackMap { binding: Binding::to(state(peer)), written_in: Epoch(1), dirty: DirtyMap::default() })
        .expect("map");
}

impl Side {
    fn new(dbid: i64, peer: i64) -> Side {
        let dir = tempfile::tempdir().expect("a directory");
        write_identity(dir.path(), dbid, peer);
        Side::start(dir, dbid)
    }

    /// A process that starts: nobody, on the directory as it stands.
    fn start(dir: tempfile::TempDir, dbid: i64) -> Side {
        let bell: Bell = Arc::default();
        let ring = bell.clone();
        let engine =
            Engine::open(dir.path(), Box::new(Dial), Box::new(move || ring.1.notify_all())).expect("an engine");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let takes = Arc::downgrade(&engine);
        let accepted = Arc::new(AtomicUsize::new(0));
        let counts = accepted.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                counts.fetch_add(1, Ordering::SeqCst);
                let Some(engine) = takes.upgrade() else { return };
                drop(engine.accept_link(stream));
            }
        });
        Side { dir, engine, bell, port, dbid, accepted }
    }

    /// Links that were dialled to this side.
    fn links(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }

    fn until(&self, what: &str, holds: impl Fn(&Report) -> bool) -> Report {
        let asked = Instant::now();
        let mut guard = self.bell.0.lock().expect("no panics here");
        loop {
            let report = self.engine.report();
            if holds(&report) {
                return report;
            }
            assert!(asked.elapsed() < Duration::from_secs(20), "dbid {}: not {what}: {report:?}", self.dbid);
            guard = self.bell.1.wait_timeout(guard, Duration::from_millis(20)).expect("no panics here").0;
        }
    }

    fn peer(&self) -> PeerAddress {
        PeerAddress { dbid: Dbid(self.dbid), address: "127.0.0.1".into(), replication_port: self.port }
    }

    fn write(&self, file: FileId, offset: u64, data: &[u8]) {
        self.engine.checkpoint(true);
        self.engine.write(file, offset, data).expect("a write");
    }

    fn commit(&self) {
        self.engine.sync(FileId::Wal).expect("a commit");
    }

    fn bytes(&self, file: FileId) -> Vec<u8> {
        std::fs::read(self.dir.path().join(file.name())).expect("a file")
    }

    /// The process dies: nothing of it writes or answers any more.
    fn die(self) -> tempfile::TempDir {
        self.engine.fence("killed by the test");
        self.dir
    }
}

fn order(epoch: u64, primary: &Side, mirror: &Side, mode: Mode, to: &Side, full_copy: bool) -> Order {
    let (mirror_mode, status) = match mode {
        Mode::ChangeTracking => (Mode::Synchronized, Status::Down),
        both => (both, Status::Up),
    };
    let row = PairRow {
        content: Content(0),
        epoch: Epoch(epoch),
        primary: Member { dbid: Dbid(primary.dbid), mode, status: Status::Up },
        mirror: Some(Member { dbid: Dbid(mirror.dbid), mode: mirror_mode, status }),
    };
    let peer = if to.dbid == primary.dbid { mirror.peer() } else { primary.peer() };
    Order { row, peer: Some(peer), full_copy, rate_bytes: None }
}

fn serve_alone(a: &Side, b: &Side, epoch: u64) {
    assert_eq!(a.engine.order(&order(epoch, a, b, Mode::ChangeTracking, a, false)).expect("obeyed"), Then::Serve);
    a.engine.serving();
}

fn resynchronize(a: &Side, b: &Side, epoch: u64, full: bool) {
    b.engine.order(&order(epoch, a, b, Mode::Resynchronizing, b, full)).expect("obeyed");
    a.engine.order(&order(epoch, a, b, Mode::Resynchronizing, a, full)).expect("obeyed");
}

/// A pair in sync, dbid 2 primary, under epoch 3.
fn in_sync() -> (Side, Side) {
    let (a, b) = (Side::new(2, 3), Side::new(3, 2));
    serve_alone(&a, &b, 2);
    a.write(FileId::Main, 0, &[7; 40_960]);
    a.write(FileId::Wal, 0, &[9; 5_000]);
    a.commit();
    resynchronize(&a, &b, 3, false);
    a.until("in sync", |r| r.phase == Phase::InSync);
    (a, b)
}

fn assert_equal(a: &Side, b: &Side) {
    for file in FileId::ALL {
        assert!(a.bytes(file) == b.bytes(file), "{} differs", file.name());
    }
}

#[test]
fn a_recovered_pair_holds_the_same_bytes_and_every_commit_reaches_both_sides() {
    let (a, b) = in_sync();
    assert_equal(&a, &b);
    for i in 0..200u64 {
        a.write(FileId::Wal, 5_000 + i * 4_120, &[i as u8; 4_120]);
        a.commit();
    }
    assert_equal(&a, &b);
    assert!(b.engine.report().ready, "the mirror could be promoted");
    assert!(load_meta(b.dir.path()).expect("meta").consistent);
}

#[test]
fn a_lost_mirror_suspends_the_primary_until_tracking_is_granted_and_the_next_recovery_copies_only_what_changed() {
    let (a, b) = in_sync();
    let dir = b.die();
    a.until("suspended", |r| r.phase == Phase::Suspended);
    let b = Side::start(dir, 3);
    let committing = {
        let engine = a.engine.clone();
        std::thread::spawn(move || {
            engine.checkpoint(true);
            engine.write(FileId::Main, 8_192, &[1; 4_096]).expect("after the grant");
            engine.sync(FileId::Wal).expect("after the grant");
        })
    };
    assert!(!committing.is_finished(), "nothing is acknowledged while suspended");
    a.engine.order(&order(4, &a, &b, Mode::ChangeTracking, &a, false)).expect("obeyed");
    committing.join().expect("the commit goes on in change tracking");
    resynchronize(&a, &b, 5, false);
    let report = a.until("in sync", |r| r.phase == Phase::InSync);
    assert_equal(&a, &b);
    // The log is always copied whole: 5 000 bytes are two blocks. And the one block of main.db.
    assert_eq!(report.progress.expect("it was copied").copied_blocks, 3);
}

#[test]
fn a_promoted_mirror_holds_every_acknowledged_write_and_the_old_primary_obeys_by_exiting() {
    let (a, b) = in_sync();
    a.write(FileId::Wal, 5_000, &[3; 4_120]);
    a.commit();
    let before = a.bytes(FileId::Wal);
    assert_eq!(b.engine.order(&order(4, &b, &a, Mode::ChangeTracking, &b, false)).expect("obeyed"), Then::Serve);
    b.engine.serving();
    a.until("suspended", |r| r.phase == Phase::Suspended);
    assert_eq!(b.bytes(FileId::Wal), before);
    assert_eq!(a.engine.order(&order(4, &b, &a, Mode::ChangeTracking, &a, false)).expect("obeyed"), Then::Exit);
    assert!(a.engine.write(FileId::Wal, 0, &[0; 10]).is_err(), "a fenced primary takes no write");
    // And it comes back as the mirror, with what both sides changed copied.
    b.write(FileId::Main, 4_096, &[5; 4_096]);
    b.commit();
    let a = Side::start(a.die(), 2);
    resynchronize(&b, &a, 5, false);
    b.until("in sync", |r| r.phase == Phase::InSync);
    assert_equal(&a, &b);
}

#[test]
fn a_mirror_that_was_being_copied_to_is_never_ready() {
    let (a, b) = in_sync();
    let b = Side::start(b.die(), 3);
    let mut meta = load_meta(b.dir.path()).expect("meta");
    assert!(b.engine.report().ready);
    meta.consistent = false;
    save_meta(b.dir.path(), &meta).expect("meta");
    let b = Side::start(b.die(), 3);
    assert!(!b.engine.report().ready);
    drop(a);
}

#[test]
fn another_copy_of_the_mirror_is_refused_and_only_a_full_copy_mends_it() {
    let (a, b) = in_sync();
    let dir = b.die();
    a.until("suspended", |r| r.phase == Phase::Suspended);
    let mut meta = load_meta(dir.path()).expect("meta");
    meta.copy = CopyId(77);
    save_meta(dir.path(), &meta).expect("meta");
    let b = Side::start(dir, 3);
    a.engine.order(&order(4, &a, &b, Mode::ChangeTracking, &a, false)).expect("obeyed");
    resynchronize(&a, &b, 5, false);
    let report = a.until("refused", |r| r.mirror_lost.is_some());
    assert!(matches!(report.mirror_lost, Some(MirrorLoss::IncrementalImpossible(_))), "{report:?}");
    a.engine.order(&order(6, &a, &b, Mode::ChangeTracking, &a, false)).expect("obeyed");
    let b = Side::start(b.die(), 3);
    resynchronize(&a, &b, 7, true);
    a.until("in sync", |r| r.phase == Phase::InSync);
    assert_equal(&a, &b);
}

#[test]
fn a_returning_primary_counts_every_page_its_log_names_as_different() {
    let (a, b) = in_sync();
    let dir = b.die();
    a.until("suspended", |r| r.phase == Phase::Suspended);
    let b = Side::start(dir, 3);
    a.engine.order(&order(4, &a, &b, Mode::ChangeTracking, &a, false)).expect("obeyed");
    // A log whose one frame names page 3, checkpointed, the map not yet saved: then the end.
    let mut log = vec![0u8; 32 + 4_120];
    log[32..36].copy_from_slice(&3u32.to_be_bytes());
    a.write(FileId::Wal, 0, &log);
    a.commit();
    a.write(FileId::Main, 8_192, &[0xAB; 4_096]);
    let a = Side::start(a.die(), 2);
    serve_alone(&a, &b, 5);
    resynchronize(&a, &b, 6, false);
    a.until("in sync", |r| r.phase == Phase::InSync);
    assert_equal(&a, &b);
}

#[test]
fn of_a_log_that_began_anew_a_recovery_copies_what_is_in_it_and_cuts_off_the_rest() {
    let (a, b) = in_sync();
    // What the mirror holds there must not stay: it could go on where the primary's log ends.
    (0..8).for_each(|i| a.write(FileId::Wal, i << 16, &[7; 1 << 16]));
    a.commit();
    let dir = b.die();
    a.until("suspended", |r| r.phase == Phase::Suspended);
    let b = Side::start(dir, 3);
    a.engine.order(&order(4, &a, &b, Mode::ChangeTracking, &a, false)).expect("obeyed");
    a.write(FileId::Wal, 0, &[1; 32]);
    a.write(FileId::Wal, 32, &[2; 4_120]);
    a.commit();
    assert_eq!(a.until("tracking", |r| r.phase == Phase::Tracking).dirty_blocks, 2);
    resynchronize(&a, &b, 5, false);
    let claimed = a.until("in sync", |r| r.phase == Phase::InSync).progress.expect("the figures of a recovery");
    assert_eq!(claimed.total_blocks, 2, "{claimed:?}");
    assert_eq!(a.bytes(FileId::Wal).len(), 32 + 4_120);
    assert_equal(&a, &b);
}

#[test]
fn writes_during_the_copy_reach_the_mirror_and_a_cut_link_loses_nothing() {
    let (a, b) = (Side::new(2, 3), Side::new(3, 2));
    serve_alone(&a, &b, 2);
    a.write(FileId::Main, 0, &vec![1; 24 << 20]);
    a.commit();
    let engine = a.engine.clone();
    let writer = std::thread::spawn(move || {
        engine.checkpoint(true);
        for i in 0..3_000u64 {
            engine.write(FileId::Main, (i * 7_919) % (20 << 20), &[i as u8; 600]).expect("a write");
            if i % 50 == 0 {
                engine.sync(FileId::Wal).expect("a commit");
            }
        }
    });
    resynchronize(&a, &b, 3, false);
    a.until("copying", |r| r.progress.as_ref().is_some_and(|p| p.copied_blocks > 500) || r.phase == Phase::InSync);
    let b = Side::start(b.die(), 3);
    a.until("lost", |r| r.mirror_lost.is_some());
    a.engine.order(&order(4, &a, &b, Mode::ChangeTracking, &a, false)).expect("obeyed");
    resynchronize(&a, &b, 5, false);
    writer.join().expect("the writer never fails");
    a.until("in sync", |r| r.phase == Phase::InSync);
    a.commit();
    assert_equal(&a, &b);
}

#[test]
fn a_link_that_comes_before_its_order_is_awaited() {
    let (a, b) = (Side::new(2, 3), Side::new(3, 2));
    serve_alone(&a, &b, 2);
    a.engine.order(&order(3, &a, &b, Mode::Resynchronizing, &a, false)).expect("obeyed");
    // The primary dials at once; its mirror hears of the recovery only when the link stands.
    while b.links() == 0 {
        std::thread::yield_now();
    }
    b.engine.order(&order(3, &a, &b, Mode::Resynchronizing, &b, false)).expect("obeyed");
    a.until("in sync", |r| r.phase == Phase::InSync);
}

#[test]
fn an_inconsistent_copy_never_serves() {
    let (a, b) = (Side::new(2, 3), Side::new(3, 2));
    let mut meta = load_meta(a.dir.path()).expect("meta");
    meta.consistent = false;
    save_meta(a.dir.path(), &meta).expect("meta");
    let a = Side::start(a.die(), 2);
    let refused = a.engine.order(&order(2, &a, &b, Mode::ChangeTracking, &a, false));
    assert!(refused.is_err(), "{refused:?}");
    assert_eq!(a.engine.report().phase, Phase::Nobody);
}
