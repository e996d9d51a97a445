//! Whether this side's own data is sound: asked when a verification found that the copies differ, and
//! answered before anything is copied from here.
//!
//! Three witnesses: the checksum of every page of main.db that differs or was met damaged, the chain of
//! checksums through the committed part of the log, and SQLite's own `quick_check`. A page that is sound
//! in itself and merely old (a write that the disk lost) none of them can see.

use super::vfs::{self, Committed, FileFault, Handle, PAGE_SIZE, verify_page};
use crate::core::report::{Phase, Soundness};
use crate::core::track::{DirtyMap, FileId};
use crate::core::wal::{self, Chain, FRAME_BYTES, WAL_HEADER_BYTES};
use crate::engine::Engine;
use crate::engine::storage::{Storage, StorageError};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;
use thiserror::Error;

/// A check that keeps the log from being emptied gives way before that is full.
const LOG_BYTES_MAX: u64 = 128 << 20;
/// How often the log is looked at meanwhile.
const LOOK: Duration = Duration::from_millis(50);
/// The log begins anew at most so often while it is read, before only its index is believed.
const TRIES: usize = 5;

/// Why no judgement could be made; it is asked for again.
#[derive(Debug, Error)]
enum JudgeError {
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    #[error("the judgement could not be kept: {0}")]
    Keep(#[from] crate::engine::EngineError),
}

/// Judges, and makes the judgement durable. Blocks as long as reading the database takes.
pub fn judge(engine: &Engine, files: &Handle) {
    let report = engine.report();
    let out_of_sync = report.phase == Phase::Tracking;
    if !out_of_sync || report.soundness != Soundness::Unjudged {
        return;
    }
    let judged = verdict(engine, files).and_then(|why| {
        match &why {
            Some(why) => tracing::error!(why, "the copies differ, and this side is damaged"),
            None => tracing::warn!("the copies differ, and this side is sound"),
        }
        Ok(engine.judged(why)?)
    });
    if let Err(error) = judged {
        tracing::error!(%error, "this side could not be judged");
    }
}

/// What is damaged here, in words; `None` when nothing is.
fn verdict(engine: &Engine, files: &Handle) -> Result<Option<String>, JudgeError> {
    if let Some(why) = suspect_pages(engine, files)? {
        return Ok(Some(why));
    }
    if let Some(why) = log(engine, files)? {
        return Ok(Some(why));
    }
    match quick_check(files)? {
        Checked::Sound => Ok(None),
        Checked::Damaged(why) => Ok(Some(why)),
        Checked::GaveWay => every_page(engine),
    }
}

/// The pages that differ, and those that a read has met damaged.
fn suspect_pages(engine: &Engine, files: &Handle) -> Result<Option<String>, StorageError> {
    let differing: DirtyMap = engine.differing();
    let differing = differing.runs().into_iter().filter(|r| r.file == FileId::Main).flat_map(|r| r.first..r.end());
    for block in files.damage().into_iter().chain(differing) {
        if let Some(why) = page(engine, block)? {
            return Ok(Some(why));
        }
    }
    Ok(None)
}

fn every_page(engine: &Engine) -> Result<Option<String>, JudgeError> {
    let pages = engine.len(FileId::Main)? / PAGE_SIZE as u64;
    for block in 0..pages {
        if let Some(why) = page(engine, block)? {
            return Ok(Some(why));
        }
    }
    Ok(None)
}

/// What is wrong with one page of main.db.
fn page(engine: &Engine, block: u64) -> Result<Option<String>, StorageError> {
    let mut bytes = [0; PAGE_SIZE];
    let read = engine.read_settled(FileId::Main, block * PAGE_SIZE as u64, &mut bytes)?;
    // A page beyond the end was cut off since: there is nothing of it to be copied.
    let number = u32::try_from(block + 1).ok().filter(|_| read == PAGE_SIZE);
    let fault = number.and_then(|number| verify_page(number, &bytes).err());
    Ok(fault.map(|_| format!("main.db: block {block} fails its checksum")))
}

/// What is wrong with the committed part of the log.
fn log(engine: &Engine, files: &Handle) -> Result<Option<String>, StorageError> {
    for _ in 0..TRIES {
        let Some(committed) = files.committed() else {
            std::thread::yield_now();
            continue;
        };
        let fault = walk(engine, committed)?;
        let restarted = || files.committed().is_none_or(|now| now.salt != committed.salt);
        match fault {
            Some(_) if restarted() => {}
            fault => return Ok(fault),
        }
    }
    // It begins anew all the time: what is committed is in main.db each time, and is judged there.
    Ok(None)
}

fn walk(engine: &Engine, committed: Committed) -> Result<Option<String>, StorageError> {
    if committed.frames == 0 {
        return Ok(None);
    }
    let mut header = [0; WAL_HEADER_BYTES as usize];
    engine.read(FileId::Wal, 0, &mut header)?;
    let Some(mut chain) = Chain::begin(&header).filter(|chain| chain.salt() == committed.salt) else {
        return Ok(Some("main.db-wal: its header is damaged".into()));
    };
    let mut frame = [0; FRAME_BYTES as usize];
    for index in 0..u64::from(committed.frames) {
        let at = wal::frame_offset(index);
        let read = engine.read(FileId::Wal, at, &mut frame)?;
        if read < frame.len() || !chain.next(&frame) {
            let block = at / PAGE_SIZE as u64;
            return Ok(Some(format!("main.db-wal: the frame in block {block} fails its checksum")));
        }
    }
    Ok((chain.sum() != committed.sum).then(|| "main.db-wal: it is another log than its index says".into()))
}

enum Checked {
    Sound,
    Damaged(String),
    /// The log was about to be full.
    GaveWay,
}

/// SQLite's own look at the structure. It reads every page in use, and so checks their checksums.
fn quick_check(files: &Handle) -> Result<Checked, JudgeError> {
    let connection = vfs::open(files)?;
    let interrupt = connection.get_interrupt_handle();
    let (done, is_done) = channel::<()>();
    let checked = std::thread::scope(|scope| {
        scope.spawn(move || {
            while is_done.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout) {
                if files.log_bytes() > LOG_BYTES_MAX {
                    interrupt.interrupt();
                }
            }
        });
        let checked = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get::<_, String>(0));
        drop(done);
        checked
    });
    match checked {
        Ok(said) if said == "ok" => Ok(Checked::Sound),
        Ok(said) => {
            // The first line only names the database.
            let finding = said.lines().find(|line| !line.starts_with("***")).unwrap_or("not ok");
            Ok(Checked::Damaged(format!("quick_check: {finding}")))
        }
        Err(error) => match (vfs::take_fault(), error.sqlite_error_code()) {
            (Some(FileFault::Damage(file, block)), _) => {
                Ok(Checked::Damaged(format!("{}: block {block} fails its checksum", file.name())))
            }
            (_, Some(rusqlite::ErrorCode::DatabaseCorrupt | rusqlite::ErrorCode::NotADatabase)) => {
                Ok(Checked::Damaged(format!("quick_check: {error}")))
            }
            (_, Some(rusqlite::ErrorCode::OperationInterrupted)) => Ok(Checked::GaveWay),
            _ => Err(error.into()),
        },
    }
}
