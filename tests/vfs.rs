//! The VFS over plain files: isolation, crash copies, checksums, refusals, checkpoints.

mod sql_support;

use rusqlite::{Connection, ErrorCode, OpenFlags};
use segsh::engine::storage::{FileId, Storage};
use segsh::segment::vfs::{self, CheckpointConfig, CheckpointMode, Checkpointer, FileFault, Gate, Handle, PAGE_SIZE};
use sql_support::{FileStorage, unique_name};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

struct Db {
    dir: tempfile::TempDir,
    storage: Arc<FileStorage>,
    vfs: Handle,
}

fn db() -> Db {
    let dir = tempfile::tempdir().unwrap();
    let storage = Arc::new(FileStorage::new(dir.path()));
    let vfs = vfs::register(&unique_name("vfs"), storage.clone()).unwrap();
    Db { dir, storage, vfs }
}

fn integrity(connection: &Connection) -> String {
    connection.query_row("PRAGMA integrity_check", [], |r| r.get(0)).unwrap()
}

/// Copies the files as a crash would leave them and opens the copy with SQLite's own VFS.
fn crash_copy(db: &Db, to: &Path) -> Connection {
    for id in FileId::ALL {
        std::fs::copy(db.storage.path(id), to.join(id.name())).unwrap();
    }
    Connection::open(to.join(FileId::Main.name())).unwrap()
}

fn accounts(connection: &Connection, n: i64) {
    connection.execute_batch("create table accounts(id integer primary key, balance int not null)").unwrap();
    for id in 0..n {
        connection.execute("insert into accounts values (?1, 100)", [id]).unwrap();
    }
}

#[test]
fn a_new_database_is_in_wal_mode_from_its_first_page_and_has_no_other_file() {
    let db = db();
    let connection = vfs::open(&db.vfs).unwrap();
    accounts(&connection, 3);
    let mode: String = connection.query_row("PRAGMA journal_mode", [], |r| r.get(0)).unwrap();
    assert_eq!(mode, "wal");
    assert_eq!(integrity(&connection), "ok");
    let mut names: Vec<_> =
        std::fs::read_dir(db.dir.path()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert_eq!(names, ["main.db", "main.db-wal"]);
}

#[test]
fn a_commit_is_one_sync_and_readers_keep_their_snapshot() {
    let db = db();
    let writer = vfs::open(&db.vfs).unwrap();
    accounts(&writer, 1);
    let reader = vfs::open(&db.vfs).unwrap();
    reader.execute_batch("begin").unwrap();
    let read = || -> i64 { reader.query_row("select sum(balance) from accounts", [], |r| r.get(0)).unwrap() };
    assert_eq!(read(), 100);
    let before = db.storage.syncs.load(Ordering::SeqCst);
    writer.execute("update accounts set balance = 7", []).unwrap();
    assert_eq!(db.storage.syncs.load(Ordering::SeqCst), before + 1);
    assert_eq!(read(), 100);
    reader.execute_batch("commit").unwrap();
    assert_eq!(read(), 7);
}

#[test]
fn transfers_keep_the_sum_in_every_snapshot_while_checkpoints_run() {
    let db = db();
    accounts(&vfs::open(&db.vfs).unwrap(), 20);
    let gate = Gate::new();
    let config = CheckpointConfig {
        passive_bytes: 64 << 10,
        gate_bytes: 256 << 10,
        interval: Duration::from_millis(1),
        ..CheckpointConfig::default()
    };
    let checkpointer = Checkpointer::start(&db.vfs, gate.clone(), config, Box::new(|| {})).unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            let (vfs, gate, done) = (&db.vfs, &gate, &done);
            scope.spawn(move || {
                let reader = vfs::open(vfs).unwrap();
                while !done.load(Ordering::Relaxed) {
                    let _pass = gate.enter(&|| true);
                    reader.execute_batch("begin").unwrap();
                    for _ in 0..3 {
                        let sum: i64 = reader.query_row("select sum(balance) from accounts", [], |r| r.get(0)).unwrap();
                        assert_eq!(sum, 2000);
                    }
                    reader.execute_batch("commit").unwrap();
                }
            });
        }
        let writers: Vec<_> = (0..2i64)
            .map(|w| {
                let (vfs, gate) = (&db.vfs, &gate);
                scope.spawn(move || {
                    let writer = vfs::open(vfs).unwrap();
                    for i in 0..150 {
                        let _pass = gate.enter(&|| true);
                        writer.execute_batch("begin immediate").unwrap();
                        let (from, to) = ((i + w) % 20, (i * 7 + 3 + w) % 20);
                        let sql = "update accounts set balance = balance + ?1 where id = ?2";
                        writer.execute(sql, [-1, from]).unwrap();
                        writer.execute(sql, [1, to]).unwrap();
                        writer.execute_batch("commit").unwrap();
                    }
                })
            })
            .collect();
        for writer in writers {
            writer.join().unwrap();
        }
        done.store(true, Ordering::Relaxed);
    });
    drop(checkpointer);
    assert_eq!(integrity(&vfs::open(&db.vfs).unwrap()), "ok");
    assert!(db.vfs.damage().is_empty());
    let copy = tempfile::tempdir().unwrap();
    assert_eq!(integrity(&crash_copy(&db, copy.path())), "ok");
}

#[test]
fn an_acknowledged_commit_is_in_a_crash_copy_that_stock_sqlite_opens() {
    let db = db();
    let connection = vfs::open(&db.vfs).unwrap();
    accounts(&connection, 50);
    vfs::checkpoint(&connection, CheckpointMode::Passive).unwrap();
    connection.execute("update accounts set balance = 1", []).unwrap();
    let copy = tempfile::tempdir().unwrap();
    let stock = crash_copy(&db, copy.path());
    assert_eq!(integrity(&stock), "ok");
    let sum: i64 = stock.query_row("select sum(balance) from accounts", [], |r| r.get(0)).unwrap();
    assert_eq!(sum, 50);
}

#[test]
fn the_database_is_found_again_after_every_connection_closed() {
    let db = db();
    accounts(&vfs::open(&db.vfs).unwrap(), 5);
    assert!(db.storage.len(FileId::Wal).unwrap() > 0, "the log stays");
    let again = vfs::open(&db.vfs).unwrap();
    let n: i64 = again.query_row("select count(*) from accounts", [], |r| r.get(0)).unwrap();
    assert_eq!(n, 5);
}

#[test]
fn a_flipped_bit_on_disk_is_an_io_error_and_remembered_as_damage() {
    use std::os::unix::fs::FileExt;
    let db = db();
    let connection = vfs::open(&db.vfs).unwrap();
    accounts(&connection, 2000);
    let done = vfs::checkpoint(&connection, CheckpointMode::Truncate).unwrap();
    assert!(!done.busy);
    drop(connection);
    let file = std::fs::OpenOptions::new().read(true).write(true).open(db.storage.path(FileId::Main)).unwrap();
    let pages = file.metadata().unwrap().len() / PAGE_SIZE as u64;
    let mut page = vec![0; PAGE_SIZE];
    for number in 1..=pages {
        file.read_exact_at(&mut page, (number - 1) * PAGE_SIZE as u64).unwrap();
        assert_eq!(vfs::verify_page(number as u32, &page), Ok(()), "{number}");
    }
    let block = 3;
    file.read_exact_at(&mut page, block * PAGE_SIZE as u64).unwrap();
    page[2000] ^= 4;
    file.write_all_at(&page, block * PAGE_SIZE as u64).unwrap();

    let connection = vfs::open(&db.vfs).unwrap();
    let error = connection.query_row("select sum(balance) from accounts", [], |r| r.get::<_, i64>(0)).unwrap_err();
    assert_eq!(error.sqlite_error().unwrap().extended_code, rusqlite::ffi::SQLITE_IOERR_DATA);
    assert!(matches!(vfs::take_fault(), Some(FileFault::Damage(FileId::Main, b)) if b == block));
    assert_eq!(db.vfs.damage(), [block]);
}

/// Flips a bit in the page of every frame of the log; what was there before.
fn flip_every_frame(db: &Db) -> Vec<u8> {
    let path = db.storage.path(FileId::Wal);
    let sound = std::fs::read(&path).unwrap();
    let mut bytes = sound.clone();
    bytes[32..].chunks_exact_mut(24 + PAGE_SIZE).for_each(|frame| frame[1_000] ^= 8);
    std::fs::write(&path, bytes).unwrap();
    sound
}

#[test]
fn a_frame_of_the_log_that_is_not_what_was_written_is_read_by_nobody_and_never_checkpointed() {
    let db = db();
    let connection = vfs::open(&db.vfs).unwrap();
    accounts(&connection, 2000);
    let before = std::fs::read(db.storage.path(FileId::Main)).unwrap();
    let sound = flip_every_frame(&db);
    let error = vfs::checkpoint(&connection, CheckpointMode::Passive).unwrap_err();
    assert_eq!(error.sqlite_error().unwrap().extended_code, rusqlite::ffi::SQLITE_IOERR_DATA);
    assert!(matches!(vfs::take_fault(), Some(FileFault::Damage(FileId::Wal, _))));
    assert!(std::fs::read(db.storage.path(FileId::Main)).unwrap() == before, "nothing of it is in main.db");
    let reader = vfs::open(&db.vfs);
    let read = reader.and_then(|r| r.query_row("select sum(balance) from accounts", [], |r| r.get::<_, i64>(0)));
    assert!(read.is_err(), "{read:?}");
    let told = db.storage.damaged.lock().unwrap().clone();
    assert!(!told.is_empty() && told.iter().all(|(file, _)| *file == FileId::Wal), "{told:?}");
    assert!(db.vfs.damage().is_empty() && db.vfs.damaged_pages() == told.len() as u64);

    std::fs::write(db.storage.path(FileId::Wal), sound).unwrap();
    assert!(vfs::checkpoint(&connection, CheckpointMode::Passive).unwrap().is_complete());
    assert_eq!(integrity(&vfs::open(&db.vfs).unwrap()), "ok");
}

#[test]
fn a_transaction_reads_back_what_it_rewrote_in_the_log_before_its_checksums_are_made() {
    let db = db();
    let connection = vfs::open(&db.vfs).unwrap();
    // Few pages in memory: the rest go to the log before the commit, some of them again and again.
    connection.execute_batch("pragma cache_size = 10; pragma cache_spill = 10").unwrap();
    accounts(&connection, 1);
    let fill = "with recursive n(i) as (select 1 union all select i + 1 from n where i < 20000) \
                insert into accounts select i, 1 from n";
    connection.execute_batch("begin").unwrap();
    connection.execute_batch(fill).unwrap();
    for round in 1..=5i64 {
        connection.execute("update accounts set balance = balance + 1 where id > 0", []).unwrap();
        let sum: i64 =
            connection.query_row("select sum(balance) from accounts where id > 0", [], |r| r.get(0)).unwrap();
        assert_eq!(sum, 20_000 * (round + 1));
        assert_eq!(integrity(&connection), "ok");
    }
    connection.execute_batch("commit").unwrap();
    assert_eq!(integrity(&vfs::open(&db.vfs).unwrap()), "ok");
    assert!(vfs::checkpoint(&connection, CheckpointMode::Truncate).unwrap().is_complete());
    assert!(db.storage.damaged.lock().unwrap().is_empty());
    assert_eq!(integrity(&connection), "ok");
}

#[test]
fn pragmas_that_break_the_contract_are_refused_with_words() {
    let db = db();
    let connection = vfs::open(&db.vfs).unwrap();
    for pragma in [
        "journal_mode = delete",
        "journal_mode = memory",
        "synchronous = off",
        "synchronous = normal",
        "locking_mode = exclusive",
        "mmap_size = 1000000",
        "wal_autocheckpoint = 10",
        "wal_checkpoint(truncate)",
        "temp_store = file",
    ] {
        let error = connection.query_row(&format!("PRAGMA {pragma}"), [], |_| Ok(())).unwrap_err();
        assert!(error.to_string().contains("is fixed on a segment"), "{pragma}: {error}");
    }
    let attach = connection.execute("attach 'other.db' as other", []).unwrap_err();
    assert!(attach.to_string().contains("attached"), "{attach}");
}

#[test]
fn no_name_but_the_two_opens() {
    let db = db();
    let _keep = vfs::open(&db.vfs).unwrap();
    let name = std::ffi::CString::new(unique_name("vfs-other")).unwrap();
    let other = tempfile::tempdir().unwrap();
    let storage = Arc::new(FileStorage::new(other.path()));
    let _vfs = vfs::register(name.to_str().unwrap(), storage).unwrap();
    for file in ["other.db", "main.db-journal"] {
        let error = Connection::open_with_flags_and_vfs(file, OpenFlags::SQLITE_OPEN_READ_WRITE, name.as_c_str())
            .and_then(|c| c.execute_batch("create table t(a)"))
            .unwrap_err();
        assert_eq!(error.sqlite_error_code(), Some(ErrorCode::CannotOpen), "{file}");
    }
}

#[test]
fn a_full_disk_fails_the_statement_and_nothing_else() {
    let db = db();
    let connection = vfs::open(&db.vfs).unwrap();
    accounts(&connection, 3);
    db.storage.disk_full.store(true, Ordering::SeqCst);
    let error = connection.execute("insert into accounts values (100, 1)", []).unwrap_err();
    assert_eq!(error.sqlite_error_code(), Some(ErrorCode::DiskFull));
    db.storage.disk_full.store(false, Ordering::SeqCst);
    let copy = tempfile::tempdir().unwrap();
    let n: i64 = crash_copy(&db, copy.path()).query_row("select count(*) from accounts", [], |r| r.get(0)).unwrap();
    assert_eq!(n, 3);
    connection.execute("insert into accounts values (101, 1)", []).unwrap();
}

#[test]
fn a_failed_barrier_is_an_fsync_error() {
    let db = db();
    let connection = vfs::open(&db.vfs).unwrap();
    accounts(&connection, 3);
    db.storage.fail_sync.store(true, Ordering::SeqCst);
    let error = connection.execute("delete from accounts", []).unwrap_err();
    assert_eq!(error.sqlite_error().unwrap().extended_code, rusqlite::ffi::SQLITE_IOERR_FSYNC);
}

#[test]
fn the_storage_hears_of_the_end_of_a_checkpoint_after_the_sync_that_ends_it() {
    let db = db();
    let connection = vfs::open(&db.vfs).unwrap();
    accounts(&connection, 10);
    db.storage.checkpoints.lock().unwrap().clear();
    db.storage.hold_syncs(true);
    std::thread::scope(|scope| {
        let running = scope.spawn(|| vfs::checkpoint(&connection_to(&db), CheckpointMode::Passive));
        // The log's sync comes first, before any page is copied.
        while db.storage.held_syncs.load(Ordering::SeqCst) == 0 {
            std::thread::yield_now();
        }
        assert!(db.storage.checkpoints.lock().unwrap().is_empty());
        db.storage.hold_syncs(false);
        assert!(running.join().unwrap().unwrap().is_complete());
    });
    assert_eq!(*db.storage.checkpoints.lock().unwrap(), [true, false]);
}

fn connection_to(db: &Db) -> Connection {
    vfs::open(&db.vfs).unwrap()
}

#[test]
fn a_transaction_that_would_outgrow_the_log_fails_cleanly() {
    let db = db();
    let connection = vfs::open(&db.vfs).unwrap();
    connection.execute_batch("create table big(data blob)").unwrap();
    db.vfs.set_log_cap(1 << 20);
    let error = connection.execute("insert into big values (zeroblob(4000000))", []).unwrap_err();
    assert_eq!(error.sqlite_error_code(), Some(ErrorCode::DiskFull));
    assert!(matches!(vfs::take_fault(), Some(FileFault::LogCap(_))));
    connection.execute("insert into big values (zeroblob(1000))", []).unwrap();
}

#[test]
fn the_log_is_emptied_behind_the_gate_when_it_grew_long() {
    let db = db();
    let gate = Gate::new();
    let config = CheckpointConfig {
        passive_bytes: u64::MAX,
        gate_bytes: 200 << 10,
        interval: Duration::from_millis(1),
        ..CheckpointConfig::default()
    };
    let _checkpointer = Checkpointer::start(&db.vfs, gate.clone(), config, Box::new(|| {})).unwrap();
    let connection = vfs::open(&db.vfs).unwrap();
    connection.execute_batch("create table big(data blob); insert into big values (zeroblob(400000))").unwrap();
    while db.vfs.log_bytes() > 0 {
        std::thread::yield_now();
    }
    assert_eq!(db.storage.len(FileId::Wal).unwrap(), 0);
}

#[test]
fn vacuum_works_and_keeps_the_checksums() {
    let db = db();
    let connection = vfs::open(&db.vfs).unwrap();
    accounts(&connection, 3000);
    connection.execute("delete from accounts where id % 3 <> 0", []).unwrap();
    vfs::with_vacuum_allowed(&connection, || connection.execute_batch("vacuum")).unwrap();
    vfs::checkpoint(&connection, CheckpointMode::Truncate).unwrap();
    drop(connection);
    let again = vfs::open(&db.vfs).unwrap();
    assert_eq!(integrity(&again), "ok");
    assert!(db.vfs.damage().is_empty());
}

/// Copies a snapshot as a backup does, and opens the copy with SQLite's own VFS.
fn image(db: &Db, snapshot: &vfs::Snapshot, to: &Path) -> Connection {
    let read = |id: FileId, bytes: u64| {
        let mut held = vec![0; bytes as usize];
        let read = db.storage.read(id, 0, &mut held).unwrap();
        held.truncate(read);
        held
    };
    std::fs::write(to.join("main.db"), read(FileId::Main, snapshot.main_bytes)).unwrap();
    if let Some(log) = snapshot.log {
        let log = read(FileId::Wal, segsh::core::wal::frame_offset(log.frames.into()));
        std::fs::write(to.join("main.db-wal"), log).unwrap();
    }
    Connection::open(to.join("main.db")).unwrap()
}

fn count(connection: &Connection) -> i64 {
    connection.query_row("select count(*) from accounts", [], |r| r.get(0)).unwrap()
}

#[test]
fn while_commits_are_held_nobody_commits_and_a_snapshot_stays_what_it_is_while_writing_goes_on() {
    let db = db();
    let writer = vfs::open(&db.vfs).unwrap();
    accounts(&writer, 5);
    let reader = vfs::open(&db.vfs).unwrap();
    let held = db.vfs.hold_commits(Duration::from_secs(60)).expect("nobody else holds");
    assert!(db.vfs.hold_commits(Duration::from_secs(60)).is_none());
    let snapshot = std::thread::scope(|scope| {
        let commits = scope.spawn(|| {
            let writer = vfs::open(&db.vfs).unwrap();
            writer.execute("insert into accounts values (5, 100)", []).unwrap();
        });
        let snapshot = held.snapshot(&db.vfs, vfs::open(&db.vfs).unwrap()).unwrap();
        assert_eq!(count(&reader), 5);
        assert!(!commits.is_finished() && held.stands());
        assert!(held.end().is_some());
        commits.join().unwrap();
        snapshot
    });
    assert_eq!(count(&reader), 6);
    assert!(snapshot.log.is_some());
    // What goes on: rows and pages change, and checkpoints copy what they may.
    for id in 10..300 {
        writer.execute("insert into accounts values (?1, 7)", [id]).unwrap();
        vfs::checkpoint(&writer, CheckpointMode::Passive).unwrap();
    }
    let to = tempfile::tempdir().unwrap();
    let copy = image(&db, &snapshot, to.path());
    assert_eq!((count(&copy), integrity(&copy).as_str()), (5, "ok"));
}

#[test]
fn a_snapshot_of_a_log_that_is_all_in_main_db_needs_no_log_and_keeps_main_db_as_it_is() {
    let db = db();
    let writer = vfs::open(&db.vfs).unwrap();
    accounts(&writer, 5);
    assert!(vfs::checkpoint(&writer, CheckpointMode::Passive).unwrap().is_complete());
    let held = db.vfs.hold_commits(Duration::from_secs(60)).expect("nobody else holds");
    let snapshot = held.snapshot(&db.vfs, vfs::open(&db.vfs).unwrap()).unwrap();
    assert!(held.end().is_some() && snapshot.log.is_none());
    for id in 10..300 {
        // The log begins anew with the first of them.
        writer.execute("insert into accounts values (?1, 7)", [id]).unwrap();
        vfs::checkpoint(&writer, CheckpointMode::Passive).unwrap();
    }
    let to = tempfile::tempdir().unwrap();
    let copy = image(&db, &snapshot, to.path());
    assert_eq!((count(&copy), integrity(&copy).as_str()), (5, "ok"));
}

#[test]
fn a_transaction_that_is_open_hinders_no_snapshot_and_is_not_in_it() {
    let db = db();
    let writer = vfs::open(&db.vfs).unwrap();
    accounts(&writer, 5);
    // More than its cache holds: its frames are in the log.
    writer.execute_batch("pragma cache_size = 2; begin immediate").unwrap();
    for id in 5..500 {
        writer.execute("insert into accounts values (?1, 100)", [id]).unwrap();
    }
    let held = db.vfs.hold_commits(Duration::from_secs(60)).expect("nobody else holds");
    let snapshot = held.snapshot(&db.vfs, vfs::open(&db.vfs).unwrap()).unwrap();
    assert!(held.end().is_some());
    writer.execute_batch("commit").unwrap();
    let to = tempfile::tempdir().unwrap();
    assert_eq!(count(&image(&db, &snapshot, to.path())), 5);
    assert_eq!(count(&writer), 500);
}

#[test]
fn whatever_was_seen_before_a_hold_is_in_its_snapshot_and_nothing_is_made_during_it() {
    const WRITERS: i64 = 4;
    let db = db();
    accounts(&vfs::open(&db.vfs).unwrap(), 0);
    let (done, made) = (AtomicBool::new(false), std::sync::atomic::AtomicI64::new(0));
    let queue = std::sync::Mutex::new(());
    std::thread::scope(|scope| {
        for w in 0..WRITERS {
            let (db, done, made, queue) = (&db, &done, &made, &queue);
            scope.spawn(move || {
                let writer = vfs::open(&db.vfs).unwrap();
                let mut id = w;
                while !done.load(Ordering::SeqCst) {
                    // Every other one as a session does, which gives the write lock back before the sync.
                    let insert = || writer.execute("insert into accounts values (?1, 1)", [id]);
                    let turn = queue.lock().unwrap();
                    if id % 2 == 0 {
                        vfs::owing(insert).unwrap()
                    } else {
                        insert().unwrap()
                    };
                    drop(turn);
                    vfs::take_owed();
                    made.fetch_add(1, Ordering::SeqCst);
                    id += WRITERS;
                }
            });
        }
        for _ in 0..40 {
            let before = made.load(Ordering::SeqCst);
            let held = db.vfs.hold_commits(Duration::from_secs(60)).expect("nobody else holds");
            let snapshot = held.snapshot(&db.vfs, vfs::open(&db.vfs).unwrap()).unwrap();
            let now = count(&vfs::open(&db.vfs).unwrap());
            let to = tempfile::tempdir().unwrap();
            assert_eq!(count(&image(&db, &snapshot, to.path())), now, "nobody has committed since");
            assert!(held.end().is_some());
            assert!(now >= before, "{now} of at least {before}");
        }
        done.store(true, Ordering::SeqCst);
    });
}
