//! A segment's part of a backup: commits held for a moment, and then the content's files as they were at it,
//! while writing goes on.
//!
//! The connection is the coordinator's word: when it ends, so does the hold, and so does what keeps the log
//! from beginning anew.

use super::database::Database;
use super::restore::{self, Refused};
use super::vfs::{self, Handle, Held, PAGE_SIZE, Snapshot, SnapshotError, verify_page};
use crate::core::backup::{CHUNK_BYTES, Cause, FromBackup, HOLD_MAX, Image, ToBackup, log_bytes};
use crate::core::ids::{CopyId, Epoch};
use crate::core::track::{BLOCK_BYTES, DirtyMap, FileId};
use crate::core::wal::{self, Chain, FRAME_BYTES, NamedPages, WAL_HEADER_BYTES};
use crate::engine::Engine;
use crate::engine::storage::{Storage, StorageError};
use crate::net::NetError;
use crate::net::blocking::Frames;
use std::net::{Shutdown, TcpStream};
use std::sync::PoisonError;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

/// A backup that keeps the log from beginning anew gives way before that is full.
const LOG_BYTES_MAX: u64 = 128 << 20;
/// The same for one whose other side takes nothing any more, so that it can't be told.
const LOG_BYTES_CUT: u64 = LOG_BYTES_MAX + (32 << 20);
/// How often the log is looked at meanwhile.
const LOOK: Duration = Duration::from_millis(50);
/// A page that a checkpoint is just writing is looked at so often.
const PAGE_LOOKS: usize = 3;

/// Why nothing further is sent.
#[derive(Debug)]
struct Ended(Cause, String);

impl From<StorageError> for Ended {
    fn from(error: StorageError) -> Ended {
        let cause = match &error {
            StorageError::Fenced(_) => Cause::NotServing,
            StorageError::GivenUp => Cause::TooLate,
            StorageError::Full | StorageError::Io(_) => Cause::Failed,
        };
        let message = match error {
            StorageError::GivenUp => "commits were held for as long as they may be".into(),
            error => error.to_string(),
        };
        Ended(cause, message)
    }
}

impl From<SnapshotError> for Ended {
    fn from(error: SnapshotError) -> Ended {
        match error {
            SnapshotError::Storage(error) => error.into(),
            SnapshotError::TooLate => Ended(Cause::TooLate, error.to_string()),
            SnapshotError::Sqlite(_) | SnapshotError::NoIndex => Ended(Cause::Failed, error.to_string()),
        }
    }
}

/// Either side of the connection, or what stands behind it.
enum Stop {
    Ended(Ended),
    /// There is nobody to tell.
    Gone(NetError),
}

impl<E: Into<Ended>> From<E> for Stop {
    fn from(ended: E) -> Stop {
        Stop::Ended(ended.into())
    }
}

impl From<NetError> for Stop {
    fn from(error: NetError) -> Stop {
        Stop::Gone(error)
    }
}

/// Serves one backup until its connection ends. Blocks.
pub(super) fn serve(engine: &Engine, database: &Database, stream: TcpStream) {
    let mut frames = Frames::new(stream);
    let ended = match (Backup { engine, database, at: At::Nothing }).serve(&mut frames) {
        Stop::Gone(NetError::Closed { .. }) => return,
        Stop::Gone(error) => return tracing::info!(%error, "the connection of a backup ended"),
        Stop::Ended(ended) => ended,
    };
    tracing::warn!(cause = ?ended.0, why = ended.1, "a backup ended");
    // A coordinator that is gone needs no reason.
    let _ = frames.send(&FromBackup::Ended { cause: ended.0, message: ended.1 });
}

/// How far it is.
enum At {
    Nothing,
    Held(Held, Taken),
    Released(Taken),
}

/// What was taken at the hold, with what keeps it.
struct Taken {
    files: Handle,
    snapshot: Snapshot,
    _kept_open: vfs::KeptOpen,
    /// Ends the watch of the log when it is dropped.
    _watch: Sender<()>,
}

/// Cuts the connection when the log is about to be full, whatever its other side waits for: the end of the
/// connection is the end of what keeps the log.
fn watch(files: Handle, peer: TcpStream) -> std::io::Result<Sender<()>> {
    let (kept, ended) = channel::<()>();
    std::thread::Builder::new().name("backup-watch".into()).spawn(move || {
        while ended.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout) {
            if files.log_bytes() > LOG_BYTES_CUT {
                tracing::warn!("a backup kept the log from being emptied; its connection is ended");
                // An error here only says that the connection is gone already.
                let _ = peer.shutdown(Shutdown::Both);
                return;
            }
        }
    })?;
    Ok(kept)
}

struct Backup<'a> {
    engine: &'a Engine,
    database: &'a Database,
    at: At,
}

impl Backup<'_> {
    /// Does what it is told, until that is over.
    fn serve(mut self, frames: &mut Frames) -> Stop {
        loop {
            let done = match frames.recv() {
                Ok(ToBackup::Hold) => self.hold(frames).and_then(|image| Ok(frames.send(&FromBackup::Held { image })?)),
                Ok(ToBackup::Release) => {
                    self.release().and_then(|held_us| Ok(frames.send(&FromBackup::Released { held_us })?))
                }
                Ok(ToBackup::Stream { rate_bytes }) => self.stream(rate_bytes, frames),
                Ok(ToBackup::Take { copy, epoch, main_bytes }) => self.take((copy, epoch), main_bytes, frames),
                Ok(other) => Err(Ended(Cause::Failed, format!("{other:?} came, of no use here")).into()),
                Err(error) => Err(error.into()),
            };
            if let Err(stop) = done {
                return stop;
            }
        }
    }

    /// Nobody commits from here on, and all that was committed is durable where it must be: what anybody was
    /// told of is in the snapshot, and what is in it may be told of.
    fn hold(&mut self, frames: &Frames) -> Result<Image, Stop> {
        let not_serving = || Ended(Cause::NotServing, "this segment is not the acting primary".into());
        let files = self.database.files().ok_or_else(not_serving)?;
        // Opened before anybody waits for it.
        let reader = vfs::open(&files).map_err(SnapshotError::from)?;
        let kept_open = self.database.keep_gate_open();
        let watched = frames.stream().try_clone().and_then(|peer| watch(files.clone(), peer));
        let watched = watched.map_err(|e| Ended(Cause::Failed, e.to_string()))?;
        let busy = || Ended(Cause::Busy, "another backup holds the commits".into());
        let held = files.hold_commits(HOLD_MAX).ok_or_else(busy)?;
        let snapshot = held.snapshot(&files, reader)?;
        let go_on = || held.stands();
        self.engine.durable(self.engine.position(), &go_on)?;
        self.engine.read_permit(&go_on)?;
        let report = self.engine.report();
        let image = Image {
            copy: report.copy.copy,
            epoch: report.epoch,
            main_bytes: snapshot.main_bytes,
            log_frames: snapshot.log.map_or(0, |log| log.frames.into()),
        };
        self.at = At::Held(held, Taken { files, snapshot, _kept_open: kept_open, _watch: watched });
        Ok(image)
    }

    /// Every content is held by now. That this one still is, and may still answer as the acting primary, is what
    /// makes all of it one moment: somebody else could have committed in its place meanwhile.
    fn release(&mut self) -> Result<u64, Stop> {
        let At::Held(held, taken) = std::mem::replace(&mut self.at, At::Nothing) else {
            return Err(Ended(Cause::Failed, "nothing is held".into()).into());
        };
        self.engine.read_permit(&|| held.stands())?;
        let Some(stood) = held.end() else {
            return Err(Ended(Cause::TooLate, "commits went on before every content was held".into()).into());
        };
        self.at = At::Released(taken);
        Ok(u64::try_from(stood.as_micros()).unwrap_or(u64::MAX))
    }

    /// One at a time: one whose coordinator is gone has yet to find that out.
    fn take(&self, copy: (CopyId, Epoch), main_bytes: u64, frames: &mut Frames) -> Result<(), Stop> {
        let _alone = self.database.taking().lock().unwrap_or_else(PoisonError::into_inner);
        restore::take(self.engine, copy, main_bytes, frames).map_err(|refused| match refused {
            Refused::Because(cause, message) => Stop::Ended(Ended(cause, message)),
            Refused::Gone(error) => Stop::Gone(error),
        })
    }

    fn stream(&mut self, rate_bytes: Option<u64>, frames: &mut Frames) -> Result<(), Stop> {
        let At::Released(taken) = std::mem::replace(&mut self.at, At::Nothing) else {
            return Err(Ended(Cause::Failed, "there is nothing to send".into()).into());
        };
        let since = Instant::now();
        Sending { engine: self.engine, taken: &taken, frames, rate_bytes, since, sent: 0 }.all()
    }
}

/// The files of a snapshot on their way.
struct Sending<'a> {
    engine: &'a Engine,
    taken: &'a Taken,
    frames: &'a mut Frames,
    rate_bytes: Option<u64>,
    since: Instant,
    sent: u64,
}

impl Sending<'_> {
    fn all(mut self) -> Result<(), Stop> {
        let named = self.log()?;
        self.main(&named)?;
        Ok(self.frames.send(&FromBackup::End)?)
    }

    /// Sends the next bytes, and waits until more are due. The log is looked at meanwhile: the pace is kept here,
    /// and not where it is read, so that the other side can be told why it gave way.
    fn chunk(&mut self, bytes: &[u8]) -> Result<(), Stop> {
        self.frames.send(&FromBackup::Chunk)?;
        self.frames.send_bytes(bytes)?;
        self.sent += bytes.len() as u64;
        loop {
            if self.taken.files.log_bytes() > LOG_BYTES_MAX {
                let why = format!("the log grew to {} MiB while the content was read", LOG_BYTES_MAX >> 20);
                return Err(Ended(Cause::GaveWay, why).into());
            }
            let due = self.rate_bytes.map_or(0.0, |rate| self.sent as f64 / rate.max(1) as f64);
            let early = Duration::from_secs_f64(due).saturating_sub(self.since.elapsed());
            if early.is_zero() {
                return Ok(());
            }
            self.rest(early.min(LOOK))?;
        }
    }

    /// Rests so long, unless the other side is gone.
    fn rest(&self, time: Duration) -> Result<(), Stop> {
        let stream = self.frames.stream();
        let failed = |e: std::io::Error| Ended(Cause::Failed, e.to_string());
        let before = stream.read_timeout().map_err(failed)?;
        stream.set_read_timeout(Some(time)).map_err(failed)?;
        let heard = stream.peek(&mut [0]);
        stream.set_read_timeout(before).map_err(failed)?;
        match heard {
            Ok(0) => Err(Stop::Gone(NetError::Closed { message: "end of stream".into() })),
            // Nothing is expected, and it is read when this is over.
            Ok(_) => {
                std::thread::sleep(time);
                Ok(())
            }
            Err(_) => Ok(()),
        }
    }

    fn begin(&mut self, file: FileId, bytes: u64) -> Result<(), Stop> {
        Ok(self.frames.send(&FromBackup::File { file: file.name().into(), bytes })?)
    }

    /// The frames of the log, each checked; the pages of main.db that they name.
    fn log(&mut self) -> Result<DirtyMap, Stop> {
        let Some(log) = self.taken.snapshot.log else {
            return Ok(DirtyMap::default());
        };
        let damaged = |what: &str| Ended(Cause::Damaged, format!("main.db-wal: {what}"));
        let mut header = [0; WAL_HEADER_BYTES as usize];
        self.engine.read(FileId::Wal, 0, &mut header)?;
        let chain = Chain::begin(&header).filter(|chain| chain.salt() == log.salt);
        let mut chain = chain.ok_or_else(|| damaged("its header is damaged"))?;
        self.begin(FileId::Wal, log_bytes(log.frames.into()))?;
        self.chunk(&header)?;
        let mut named = NamedPages::begin(&header, self.taken.snapshot.main_bytes / BLOCK_BYTES);
        let at_a_time = CHUNK_BYTES as u64 / FRAME_BYTES;
        for first in (0..u64::from(log.frames)).step_by(at_a_time as usize) {
            let count = at_a_time.min(u64::from(log.frames) - first);
            let mut bytes = vec![0; (count * FRAME_BYTES) as usize];
            let read = self.engine.read(FileId::Wal, wal::frame_offset(first), &mut bytes)?;
            for (index, frame) in (first..).zip(bytes.as_chunks().0) {
                if read < bytes.len() || !chain.next(frame) {
                    let block = wal::frame_offset(index) / BLOCK_BYTES;
                    return Err(damaged(&format!("the frame in block {block} fails its checksum")).into());
                }
                named.frame(frame);
            }
            self.chunk(&bytes)?;
        }
        if chain.sum() != log.sum {
            return Err(damaged("it is another log than its index says").into());
        }
        Ok(named.end())
    }

    /// The pages of main.db, each checked. One that the log replaces may be anything.
    fn main(&mut self, named: &DirtyMap) -> Result<(), Stop> {
        let end = self.taken.snapshot.main_bytes;
        self.begin(FileId::Main, end)?;
        for offset in (0..end).step_by(CHUNK_BYTES) {
            let mut bytes = vec![0; (end - offset).min(CHUNK_BYTES as u64) as usize];
            self.engine.read(FileId::Main, offset, &mut bytes)?;
            for (block, page) in (offset / BLOCK_BYTES..).zip(bytes.as_chunks_mut().0) {
                if !self.is_whole(block, page)? && !named.is_dirty(FileId::Main, block) {
                    return Err(Ended(Cause::Damaged, format!("main.db: block {block} fails its checksum")).into());
                }
            }
            self.chunk(&bytes)?;
        }
        Ok(())
    }

    /// Whether a page is what was written; read again if a checkpoint was just writing it.
    fn is_whole(&self, block: u64, page: &mut [u8; PAGE_SIZE]) -> Result<bool, StorageError> {
        let Ok(number) = u32::try_from(block + 1) else { return Ok(false) };
        for _ in 0..PAGE_LOOKS {
            if verify_page(number, page).is_ok() {
                return Ok(true);
            }
            self.engine.read_settled(FileId::Main, block * BLOCK_BYTES, page)?;
        }
        Ok(verify_page(number, page).is_ok())
    }
}
