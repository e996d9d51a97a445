//! What must hold when a disk fills up, a file vanishes, a process dies between two durable writes, or
//! somebody who is no peer speaks.

use super::*;
use crate::core::frame::{Frame, Manifest};
use crate::engine::link::{read_frame, write_frame};
use crate::engine::records;
use std::os::unix::fs::FileExt;
use std::sync::mpsc::{Receiver, Sender, channel};

/// While it lives, a record under this name can't be replaced: the name of its successor is taken.
struct Blocked(std::path::PathBuf);

impl Blocked {
    fn record(side: &Side, name: &str) -> Blocked {
        let path = side.dir.path().join(format!("{name}.new"));
        std::fs::create_dir(&path).expect("a directory in the way");
        Blocked(path)
    }
}

impl Drop for Blocked {
    fn drop(&mut self) {
        std::fs::remove_dir(&self.0).expect("the way is free again");
    }
}

/// A pair of 12 MiB, primary 2 tracking in epoch 4, mirror 3 just started again.
pub(super) fn tracking() -> (Side, Side) {
    let (a, b) = (Side::new(2, 3), Side::new(3, 2));
    serve_alone(&a, &b, 2);
    a.write(FileId::Main, 0, &vec![1; 12 << 20]);
    a.commit();
    resynchronize(&a, &b, 3, false);
    a.until("in sync", |r| r.phase == Phase::InSync);
    let b = Side::start(b.die(), 3);
    a.until("suspended", |r| r.phase == Phase::Suspended);
    a.engine.order(&order(4, &a, &b, Mode::ChangeTracking, &a, false)).expect("obeyed");
    (a, b)
}

/// The primary returns alone and copies to its mirror; both are equal then.
fn return_and_recover(a: Side, b: &Side, epoch: u64) -> Side {
    let a = Side::start(a.die(), 2);
    serve_alone(&a, b, epoch);
    resynchronize(&a, b, epoch + 1, false);
    a.until("in sync", |r| r.phase == Phase::InSync);
    assert_equal(&a, b);
    a
}

/// A mirror that answers like `of` until the primary wants to begin, and goes on when told to.
fn slow_to_begin(of: &Side) -> (PeerAddress, Receiver<()>, Sender<()>) {
    let copy = load_meta(of.dir.path()).expect("meta").copy_state();
    let lengths = FileId::ALL.map(|f| Some(of.bytes(f).len() as u64));
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let replication_port = listener.local_addr().expect("an address").port();
    let (asks, asked) = channel();
    let (go, gone_on) = channel();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("the primary");
        while let Ok(frame) = read_frame(&mut stream) {
            let answer = match frame {
                Frame::Open(_) => {
                    let (contribution, touched) = (vec![], vec![]);
                    Frame::Manifest(Manifest { copy, lengths, contribution, touched, unusable: None })
                }
                Frame::Begin => {
                    asks.send(()).expect("the test listens");
                    gone_on.recv().expect("the test goes on");
                    Frame::Begun
                }
                Frame::Barrier(barrier) => Frame::Synced(barrier),
                Frame::Ping(sent) => Frame::Pong(sent),
                _ => continue,
            };
            if write_frame(&mut stream, &answer).is_err() {
                return;
            }
        }
    });
    let peer = PeerAddress { dbid: Dbid(of.dbid), address: "127.0.0.1".into(), replication_port };
    (peer, asked, go)
}

#[test]
fn what_a_checkpoint_writes_while_the_link_opens_is_durably_marked() {
    let (a, b) = tracking();
    a.write(FileId::Main, 0, &vec![2; 4 << 20]);
    let (peer, asked, go) = slow_to_begin(&b);
    let slowly = Some(100_000);
    let recovery = order(5, &a, &b, Mode::Resynchronizing, &a, false);
    a.engine.order(&Order { peer: Some(peer), rate_bytes: slowly, ..recovery }).expect("obeyed");
    asked.recv().expect("the union is durable, the link about to open");
    a.write(FileId::Main, 8 << 20, &[9; 4096]);
    go.send(()).expect("the mirror goes on");
    a.until("copying", |r| r.progress.as_ref().is_some_and(|p| p.copied_blocks > 0));
    a.engine.sync(FileId::Main).expect("the checkpoint ends; its log may start anew");
    let map = records::load_map(a.dir.path()).expect("a map");
    assert!(map.dirty.is_dirty(FileId::Main, 2048), "only the map can name the block now");
    return_and_recover(a, &b, 6);
}

/// Carries a link until so many bytes have come from the primary, then cuts it at both ends.
fn cutting(mirror: &Side, after_bytes: u64) -> PeerAddress {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let replication_port = listener.local_addr().expect("an address").port();
    let to = mirror.port;
    std::thread::spawn(move || {
        let (primary, _) = listener.accept().expect("the primary");
        let mirror = TcpStream::connect(("127.0.0.1", to)).expect("the mirror");
        let (mut answers, mut back) = (mirror.try_clone().expect("a socket"), primary.try_clone().expect("a socket"));
        let answering = std::thread::spawn(move || std::io::copy(&mut answers, &mut back));
        let carried = std::io::copy(&mut std::io::Read::take(&primary, after_bytes), &mut &mirror);
        for end in [&primary, &mirror] {
            // One that has ended by itself is cut already.
            let _ = end.shutdown(std::net::Shutdown::Both);
        }
        drop((carried, answering.join()));
    });
    PeerAddress { dbid: Dbid(mirror.dbid), address: "127.0.0.1".into(), replication_port }
}

#[test]
fn a_link_cut_in_any_stage_leaves_a_recovery_that_is_simply_run_again() {
    let (a, mut b) = tracking();
    a.write(FileId::Main, 0, &vec![2; 6 << 20]);
    let mut epoch = 5;
    // In the preparation, at the beginning, in the middle and near the end of the copy.
    for after_bytes in [10, 1_000, 100_000, 3 << 20, 6 << 20] {
        let recovery = order(epoch, &a, &b, Mode::Resynchronizing, &b, false);
        b.engine.order(&recovery).expect("obeyed");
        let recovery = order(epoch, &a, &b, Mode::Resynchronizing, &a, false);
        a.engine.order(&Order { peer: Some(cutting(&b, after_bytes)), ..recovery }).expect("obeyed");
        a.until("lost", |r| r.mirror_lost.is_some());
        a.engine.order(&order(epoch + 1, &a, &b, Mode::ChangeTracking, &a, false)).expect("obeyed");
        let left = a.engine.report().dirty_blocks;
        assert!(left > 0, "what may not be durable at the mirror is dirty, cut after {after_bytes} bytes");
        b = Side::start(b.die(), 3);
        epoch += 2;
    }
    resynchronize(&a, &b, epoch, false);
    a.until("in sync", |r| r.phase == Phase::InSync);
    assert_equal(&a, &b);
}

#[test]
fn a_copy_with_a_cap_below_the_floor_keeps_it() {
    let (a, b) = tracking();
    a.write(FileId::Main, 0, &vec![2; 1 << 20]);
    b.engine.order(&order(5, &a, &b, Mode::Resynchronizing, &b, false)).expect("obeyed");
    let began = std::time::Instant::now();
    let recovery = order(5, &a, &b, Mode::Resynchronizing, &a, false);
    a.engine.order(&Order { rate_bytes: Some(512 << 10), ..recovery }).expect("obeyed");
    a.until("in sync", |r| r.phase == Phase::InSync);
    // A grant is saved up at most.
    assert!(began.elapsed() > Duration::from_millis(1_800), "1 MiB took {:?} at 512 KiB/s", began.elapsed());
    assert_equal(&a, &b);
}

/// A mirror that answers everything, but from its claim on a sync only when told to.
pub(super) fn late_once_in_sync(of: &Side) -> (PeerAddress, Sender<()>) {
    let copy = load_meta(of.dir.path()).expect("meta").copy_state();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let replication_port = listener.local_addr().expect("an address").port();
    let (answer, told) = channel();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("the primary");
        let mut claimed = false;
        while let Ok(frame) = read_frame(&mut stream) {
            let answer = match frame {
                Frame::Open(_) => {
                    let (lengths, contribution, touched) = ([Some(0), Some(0)], vec![], vec![]);
                    Frame::Manifest(Manifest { copy, lengths, contribution, touched, unusable: None })
                }
                Frame::Begin => Frame::Begun,
                Frame::Barrier(_) if claimed && told.recv().is_err() => return,
                Frame::Barrier(barrier) => Frame::Synced(barrier),
                Frame::Ping(sent) => Frame::Pong(sent),
                Frame::Consistent { .. } => {
                    claimed = true;
                    Frame::IsConsistent
                }
                _ => continue,
            };
            if write_frame(&mut stream, &answer).is_err() {
                return;
            }
        }
    });
    (PeerAddress { dbid: Dbid(of.dbid), address: "127.0.0.1".into(), replication_port }, answer)
}

#[test]
fn a_mirror_that_is_late_is_reported_as_late_before_it_is_lost() {
    let (a, b) = tracking();
    let (peer, answer) = late_once_in_sync(&b);
    let recovery = order(5, &a, &b, Mode::Resynchronizing, &a, false);
    a.engine.order(&Order { peer: Some(peer), ..recovery }).expect("obeyed");
    let prompt = a.until("in sync", |r| r.phase == Phase::InSync);
    assert!(prompt.lag.is_some(), "there is a link");
    let engine = a.engine.clone();
    let commit = std::thread::spawn(move || engine.sync(FileId::Wal));
    let late = a.until("late", |r| r.lag.is_some_and(|lag| lag.oldest_sync_ms > 300));
    assert_eq!(late.mirror_lost, None);
    answer.send(()).expect("the mirror listens");
    commit.join().expect("no panic").expect("the mirror answered after all");
    let lag = a.engine.report().lag.expect("there is a link");
    assert!(lag.oldest_sync_ms > 300, "what has just been late is told for a while: {lag:?}");
    assert_eq!(b.engine.report().lag, None, "a mirror's lag is its primary's to tell");
}

#[test]
fn a_copy_whose_files_are_gone_is_not_ready_and_does_not_serve() {
    for name in ["main.db", "main.db-wal"] {
        let (a, b) = in_sync();
        let dir = a.die();
        std::fs::remove_file(dir.path().join(name)).expect("the file was there");
        let a = Side::start(dir, 2);
        assert!(!a.engine.report().ready, "ready without {name}");
        let a = Side::start(a.die(), 2);
        assert!(!a.engine.report().ready, "ready at the second start without {name}");
        assert!(a.engine.order(&order(9, &a, &b, Mode::ChangeTracking, &a, false)).is_err(), "serves without {name}");
    }
}

#[test]
fn what_a_process_left_that_died_while_it_replaced_a_record_is_removed_at_the_next_start() {
    let (a, _b) = in_sync();
    let dir = a.die();
    let left = ["segment.meta.new", "track.map.new", "segment.json.17.tmp"].map(|name| dir.path().join(name));
    left.iter().for_each(|path| std::fs::write(path, "half").expect("a file"));
    let _a = Side::start(dir, 2);
    assert!(left.iter().all(|path| !path.exists()));
}

#[test]
fn a_claim_that_cannot_be_recorded_stops_the_segment_and_never_hangs_it() {
    let (a, b) = tracking();
    a.write(FileId::Main, 0, &vec![2; 2 << 20]);
    let (peer, asked, go) = slow_to_begin(&b);
    let recovery = order(5, &a, &b, Mode::Resynchronizing, &a, false);
    a.engine.order(&Order { peer: Some(peer), ..recovery }).expect("obeyed");
    asked.recv().expect("the link is about to open");
    let _blocked = Blocked::record(&a, "segment.meta");
    go.send(()).expect("the mirror goes on");
    // This mirror never says that it is consistent: the claim is given up, and the lock is free.
    a.until("lost", |r| r.mirror_lost.is_some() || r.sick.is_some());
}

#[test]
fn an_order_that_could_not_be_made_durable_is_obeyed_when_it_comes_again() {
    // A grant of tracking.
    let (a, b) = in_sync();
    let b = Side::start(b.die(), 3);
    a.until("suspended", |r| r.phase == Phase::Suspended);
    let grant = order(4, &a, &b, Mode::ChangeTracking, &a, false);
    for name in ["segment.meta", "track.map"] {
        let _blocked = Blocked::record(&a, name);
        assert!(a.engine.order(&grant).is_err(), "{name}");
    }
    a.engine.order(&grant).expect("obeyed");
    assert_eq!(a.engine.report().phase, Phase::Tracking);
    // A returning primary.
    let a = Side::start(a.die(), 2);
    let serve = order(5, &a, &b, Mode::ChangeTracking, &a, false);
    {
        let _blocked = Blocked::record(&a, "segment.meta");
        assert!(a.engine.order(&serve).is_err());
    }
    assert_eq!(a.engine.order(&serve).expect("obeyed"), Then::Serve);
    // A promotion.
    let (a, b) = in_sync();
    let promote = order(4, &b, &a, Mode::ChangeTracking, &b, false);
    {
        let _blocked = Blocked::record(&b, "segment.meta");
        assert!(b.engine.order(&promote).is_err());
    }
    assert_eq!(b.engine.order(&promote).expect("obeyed"), Then::Serve);
}

#[test]
fn a_file_touched_while_the_mirror_was_stopped_is_copied_whole_even_after_an_interrupted_recovery() {
    let (a, b) = in_sync();
    b.engine.note_clean_end().expect("noted");
    let dir = b.die();
    a.until("suspended", |r| r.phase == Phase::Suspended);
    let file = std::fs::OpenOptions::new().write(true).open(dir.path().join("main.db")).expect("the file");
    file.write_all_at(&[0xEE; 100], 20_000).expect("touched");
    let b = Side::start(dir, 3);
    a.engine.order(&order(4, &a, &b, Mode::ChangeTracking, &a, false)).expect("obeyed");
    b.engine.order(&order(5, &a, &b, Mode::Resynchronizing, &b, false)).expect("obeyed");
    let b = Side::start(b.die(), 3);
    resynchronize(&a, &b, 6, false);
    a.until("in sync", |r| r.phase == Phase::InSync);
    assert_equal(&a, &b);
}

#[test]
fn a_mirror_one_generation_ahead_is_still_explained_after_the_next_recovery_was_interrupted_too() {
    let (a, b) = tracking();
    // Recovery 5 ended between the mirror's marker and the primary's.
    let mut map = records::load_map(a.dir.path()).expect("a map");
    map.binding.pending_generation = Some(Epoch(5));
    let mut meta = load_meta(b.dir.path()).expect("meta");
    meta.generation = Epoch(5);
    let (a, b) = (a.die(), b.die());
    save_map(a.path(), &map).expect("map");
    save_meta(b.path(), &meta).expect("meta");
    let (a, b) = (Side::start(a, 2), Side::start(b, 3));
    serve_alone(&a, &b, 6);
    // Recovery 7 ends after the union was made durable.
    let (peer, asked, _go) = slow_to_begin(&b);
    let recovery = order(7, &a, &b, Mode::Resynchronizing, &a, false);
    a.engine.order(&Order { peer: Some(peer), ..recovery }).expect("obeyed");
    asked.recv().expect("the union is durable");
    return_and_recover(a, &b, 8);
}

#[test]
fn nothing_is_applied_before_a_primary_opened_the_link_under_the_epoch() {
    let (a, b) = tracking();
    let before = b.bytes(FileId::Main);
    b.engine.order(&order(5, &a, &b, Mode::Resynchronizing, &b, false)).expect("obeyed");
    let mut stranger = TcpStream::connect(("127.0.0.1", b.port)).expect("connected");
    write_frame(&mut stranger, &Frame::Data { file: FileId::Main, offset: 0, bytes: vec![0xAA; 10] }).expect("sent");
    assert!(matches!(read_frame(&mut stranger), Ok(Frame::Failed(_)) | Err(_)));
    assert!(b.bytes(FileId::Main) == before && load_meta(b.dir.path()).expect("meta").consistent);
    // And the stranger has not used up the one link.
    a.engine.order(&order(5, &a, &b, Mode::Resynchronizing, &a, false)).expect("obeyed");
    a.until("in sync", |r| r.phase == Phase::InSync);
    assert_equal(&a, &b);
}
