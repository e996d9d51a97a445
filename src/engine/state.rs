//! The engine: a replica's state under one lock, and how its effects are carried out.

use super::disk::Disk;
use super::group::Group;
use super::pacing::Pacing;
use super::records::{self, RecordError};
use super::report::LastReport;
use super::storage::{FileId, StorageError};
use crate::core::format::{Meta, Stamp};
use crate::core::pair::replica::{Breach, Effect, LinkId, NotActing, Refused, Replica, Stranger, Time};
use crate::core::report::{MirrorLoss, PeerAddress, Stage};
use std::convert::Infallible;
use std::io;
use std::net::{Shutdown, TcpStream};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use thiserror::Error;

/// Makes the authenticated connection a link is carried by.
pub trait Connector: Send + Sync + 'static {
    fn connect(&self, peer: &PeerAddress, deadline: Duration) -> io::Result<TcpStream>;
}

#[derive(Debug, Error)]
pub enum EngineError {
    #[error(transparent)]
    Record(#[from] RecordError),
    #[error("{path}: {source}")]
    Open { path: String, source: io::Error },
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error("{0}")]
    Refused(String),
}

impl From<Refused> for EngineError {
    fn from(refused: Refused) -> EngineError {
        EngineError::Refused(refused.0)
    }
}

impl From<Breach> for EngineError {
    fn from(breach: Breach) -> EngineError {
        EngineError::Refused(breach.to_string())
    }
}

impl From<Stranger> for EngineError {
    fn from(_: Stranger) -> EngineError {
        EngineError::Refused("the link is another one by now".into())
    }
}

impl From<NotActing> for StorageError {
    fn from(not: NotActing) -> StorageError {
        StorageError::Fenced(not.0)
    }
}

impl From<NotActing> for EngineError {
    fn from(not: NotActing) -> EngineError {
        EngineError::Storage(not.into())
    }
}

/// Why an event did not happen: the replica refused it, or an effect could not be carried out.
#[derive(Debug)]
pub(super) enum Undone<E> {
    Event(E),
    Effect(EngineError),
}

impl<E: Into<EngineError>> From<Undone<E>> for EngineError {
    fn from(undone: Undone<E>) -> EngineError {
        match undone {
            Undone::Event(event) => event.into(),
            Undone::Effect(error) => error,
        }
    }
}

impl From<Infallible> for EngineError {
    fn from(never: Infallible) -> EngineError {
        match never {}
    }
}

impl<E: Into<EngineError>> From<Undone<E>> for StorageError {
    fn from(undone: Undone<E>) -> StorageError {
        EngineError::from(undone).as_storage()
    }
}

impl EngineError {
    /// The same trouble, as the storage below SQLite says it.
    pub(super) fn as_storage(&self) -> StorageError {
        match self {
            EngineError::Record(error) => error.as_storage(),
            EngineError::Storage(error) => error.clone(),
            EngineError::Open { .. } | EngineError::Refused(_) => StorageError::Io(self.to_string()),
        }
    }
}

/// The replica, and the connections and threads that belong to what it is.
pub(super) struct Inner {
    pub replica: Replica,
    /// The primary's connection to its mirror.
    pub stream: Option<(LinkId, TcpStream)>,
    /// The mirror's: every connection that came for the link, and the thread that applies its frames.
    pub streams: Vec<TcpStream>,
    pub appliers: Vec<JoinHandle<()>>,
    pub pacing: Pacing,
    /// Where SQLite's log ends that was begun last, in bytes; behind it stand frames of former logs. `None`
    /// while this process has seen no log begin: then the file's end counts.
    pub log_end: Option<u64>,
}

/// A segment's replication engine.
pub struct Engine {
    pub(super) disk: Disk,
    pub(super) connector: Box<dyn Connector>,
    pub(super) inner: Mutex<Inner>,
    /// Something changed that a waiting session or recovery may have waited for.
    pub(super) changed: Condvar,
    /// There is something for the network.
    pub(super) to_send: Condvar,
    pub(super) notify: Box<dyn Fn() + Send + Sync>,
    /// The commits that sessions wait for.
    pub(super) group: Group,
    pub(super) last_report: LastReport,
    started: Instant,
}

/// Notes, before anything is trusted, what happened to the files while no process held them; true
/// when there is something new to keep. Such a file is copied whole, and one that is gone takes the
/// copy's consistency with it: an empty log in its place would silently drop commits.
fn note_changes_from_outside(meta: &mut Meta, disk: &Disk) -> bool {
    let now = disk.stamps();
    let mut touched: Vec<String> = (meta.stamps.iter())
        .filter(|then| now.iter().find(|n| n.name == then.name) != Some(then))
        .map(|then: &Stamp| then.name.clone())
        .collect();
    if meta.consistent && !disk.missing().is_empty() {
        tracing::error!(files = ?disk.missing(), "missing: this copy is not consistent any more");
        meta.consistent = false;
        touched = FileId::ALL.map(|f| f.name().to_owned()).to_vec();
    }
    touched.retain(|name| !meta.touched.contains(name));
    if touched.is_empty() {
        return false;
    }
    tracing::warn!(files = ?touched, "changed from outside while the segment was stopped; will be copied whole");
    meta.touched.append(&mut touched);
    true
}

impl Engine {
    /// Opens a data directory whose lock the caller holds. The process is nobody until it is told.
    /// `notify` is called, from any thread, whenever the coordinator should hear a report at once.
    pub fn open(
        dir: &Path,
        connector: Box<dyn Connector>,
        notify: Box<dyn Fn() + Send + Sync>,
    ) -> Result<Arc<Engine>, EngineError> {
        records::remove_leftovers(dir)?;
        let mut meta = records::load_meta(dir)?;
        let disk = Disk::open(dir).map_err(|source| EngineError::Open { path: dir.display().to_string(), source })?;
        if note_changes_from_outside(&mut meta, &disk) {
            records::save_meta(dir, &meta)?;
        }
        let inner = Inner {
            replica: Replica::nobody(meta),
            stream: None,
            streams: Vec::new(),
            appliers: Vec::new(),
            pacing: Pacing::default(),
            log_end: None,
        };
        let engine = Engine {
            disk,
            connector,
            inner: Mutex::new(inner),
            changed: Condvar::new(),
            to_send: Condvar::new(),
            notify,
            group: Group::default(),
            last_report: LastReport::default(),
            started: Instant::now(),
        };
        Ok(Arc::new(engine))
    }

    /// The replica's clock.
    pub(super) fn now(&self) -> Time {
        self.started.elapsed()
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("a panic under this lock ends the process")
    }

    pub(super) fn wait_for<'a>(&self, guard: MutexGuard<'a, Inner>, time: Duration) -> MutexGuard<'a, Inner> {
        self.changed.wait_timeout(guard, time).expect("a panic under this lock ends the process").0
    }

    /// Lets an event happen whole or not at all: the replica is changed as a copy, which takes its
    /// place once everything durable is done. Returns the effects that remain for the caller.
    pub(super) fn transact<E>(
        &self,
        inner: &mut Inner,
        event: impl FnOnce(&mut Replica) -> Result<Vec<Effect>, E>,
    ) -> Result<Vec<Effect>, Undone<E>> {
        let mut after = inner.replica.clone();
        let effects = event(&mut after).map_err(Undone::Event)?;
        let remaining = self.carry_out(effects).map_err(Undone::Effect)?;
        inner.replica = after;
        inner.close_what_is_over();
        Ok(remaining)
    }

    /// Carries out, in their order, the effects on the disk; returns the others.
    pub(super) fn carry_out(&self, effects: Vec<Effect>) -> Result<Vec<Effect>, EngineError> {
        let mut remaining = Vec::new();
        for effect in effects {
            match effect {
                Effect::SaveMeta(meta) => self.disk.replace(|| records::save_meta(self.disk.dir(), &meta))?,
                Effect::SaveMap(map) => self.disk.replace(|| records::save_map(self.disk.dir(), &map))?,
                Effect::Write { file, offset, bytes } => self.disk.write(file, offset, &bytes)?,
                Effect::SetLen { file, len } => self.disk.set_len(file, len)?,
                Effect::Sync(file) => self.disk.sync(file)?,
                other => remaining.push(other),
            }
        }
        Ok(remaining)
    }

    /// Wakes everybody who waits for a change of state, and tells the coordinator.
    pub(super) fn announce(&self) {
        self.changed.notify_all();
        self.to_send.notify_all();
        self.group.wake_all();
        (self.notify)();
    }

    /// SQLite is open: the acting primary takes sessions from here on.
    pub fn serving(&self) {
        self.lock().replica.serving();
        self.announce();
    }

    /// A drill wants recoveries to wait at this stage, or with `None` nothing to be held any more.
    pub fn hold_recovery(&self, stage: Option<Stage>) -> Result<(), EngineError> {
        let mut inner = self.lock();
        match stage {
            Some(stage) => inner.replica.hold(stage)?,
            None => inner.replica.release(),
        }
        drop(inner);
        self.announce();
        Ok(())
    }

    /// Ends this process's access to the files: nothing is written or acknowledged any more. The
    /// process exits next, without closing SQLite (R7).
    pub fn fence(&self, why: &str) {
        self.lock().fence(why);
        self.announce();
    }

    /// Why this process may not touch the files any more; it should exit.
    pub fn fenced(&self) -> Option<String> {
        self.lock().replica.fenced().map(str::to_owned)
    }

    /// Everything written so far is durable where it must be: the last step of a drain and of a stop.
    pub fn settle(&self) -> Result<(), StorageError> {
        use super::storage::Storage;
        FileId::ALL.into_iter().try_for_each(|file| self.sync(file))
    }

    /// A clean end: notes what the files look like, so that a touch from outside is noticed later.
    pub fn note_clean_end(&self) -> Result<(), EngineError> {
        let stamps = self.disk.stamps();
        let noted = self.transact(&mut self.lock(), |replica| Ok::<_, Infallible>(replica.clean_end(stamps)));
        Ok(noted.map(drop)?)
    }

    /// An I/O error is never retried: the segment stops, and the coordinator sees a dead primary.
    pub(super) fn disk_failed(&self, inner: &mut Inner, error: StorageError) -> StorageError {
        tracing::error!(%error, "the disk failed; the segment stops");
        inner.fence(&format!("its disk failed: {error}"));
        self.announce();
        error
    }

    /// The mirror is lost, said by a thread of a link; a stranger's word counts for nothing.
    pub(super) fn mirror_is_lost(&self, link: LinkId, loss: MirrorLoss) {
        let mut inner = self.lock();
        let said = loss.to_string();
        if inner.replica.link_lost(link, loss) {
            tracing::warn!(loss = said, "mirror lost");
            inner.close_what_is_over();
            drop(inner);
            self.announce();
        }
    }
}

impl Inner {
    pub fn fence(&mut self, why: &str) {
        if self.replica.fenced().is_none() {
            tracing::warn!(why, "fenced");
        }
        self.replica.fence(why);
        self.close_what_is_over();
    }

    /// Closes the connections of links that are over; their threads find themselves strangers.
    pub fn close_what_is_over(&mut self) {
        let open = self.replica.open_link_id();
        if let Some((_, stream)) = self.stream.take_if(|(link, _)| Some(*link) != open) {
            close(&stream);
        }
        if !self.replica.takes_link() {
            self.streams.drain(..).for_each(|stream| close(&stream));
        }
    }
}

fn close(stream: &TcpStream) {
    // An error here only says that the connection is gone already.
    let _ = stream.shutdown(Shutdown::Both);
}
