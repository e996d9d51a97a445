//! The engine's state and the small steps on it that every other file of this room uses.

use super::disk::Disk;
use super::link::Link;
use super::records::{self, RecordError};
use super::report::LastReport;
use super::storage::{FileId, StorageError};
use super::verify::Comparison;
use crate::core::format::{Meta, TrackMap};
use crate::core::ids::{Content, Dbid};
use crate::core::pair::binding::Binding;
use crate::core::pair::obey::Standing;
use crate::core::pair::primary::{Mirroring, Primary};
use crate::core::report::{MirrorLoss, PeerAddress, Phase, Progress};
use std::io;
use std::net::TcpStream;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use thiserror::Error;

/// A mirror that leaves a sync unanswered for longer is lost, whatever its heartbeats say.
pub const ACK_DEADLINE: Duration = Duration::from_secs(2);
/// A primary in sync serves reads only while its mirror answered a ping sent less than this ago.
pub const READ_LEASE: Duration = Duration::from_secs(1);

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

/// An acting primary.
pub(super) struct Acting {
    pub primary: Primary,
    /// The copy the map is bound to; `None` when the map can't be used, or there is no mirror.
    pub binding: Option<Binding>,
    pub map_unusable: Option<String>,
    pub link: Option<Link>,
    pub lost: Option<MirrorLoss>,
    pub progress: Option<Progress>,
    /// SQLite is open and sessions are served.
    pub serving: bool,
    /// A promoted mirror serves no read before this: its former primary may still hold a read lease.
    pub reads_from: Option<Instant>,
}

/// A mirror, or a fresh process that waits for its link.
#[derive(Default)]
pub(super) struct MirrorPart {
    /// Every connection that came for the link, and the thread that reads it. One at most is the link.
    pub streams: Vec<TcpStream>,
    pub appliers: Vec<JoinHandle<()>>,
    /// The link stands.
    pub linked: bool,
    /// A link was accepted, or given up: there is no second one (R3, R6).
    pub had_link: bool,
    pub saw_end: bool,
    pub failed: Option<String>,
    pub last_ping: Option<Instant>,
    /// A comparison found that the two copies differ: it must not take over before it was recovered.
    pub differs: bool,
}

pub(super) enum Part {
    /// Started, and nobody until told (R5).
    Nobody,
    Mirror(MirrorPart),
    Acting(Box<Acting>),
}

pub(super) struct Inner {
    pub meta: Meta,
    pub part: Part,
    /// Reads and writes wait.
    pub gate_closed: bool,
    pub checkpointing: bool,
    /// This process may not touch the files any more, and why.
    pub fenced: Option<String>,
    /// Rises with every link and every order that ends one, so a thread of an old link is a stranger.
    pub link_id: u64,
}

/// A segment's replication engine.
pub struct Engine {
    pub(super) disk: Disk,
    pub(super) connector: Box<dyn Connector>,
    pub(super) inner: Mutex<Inner>,
    pub(super) changed: Condvar,
    pub(super) notify: Box<dyn Fn() + Send + Sync>,
    pub(super) last_report: LastReport,
    pub(super) comparison: Comparison,
}

/// Notes, before anything is trusted, what happened to the files while no process held them; true
/// when there is something new to keep. Such a file is copied whole, and one that is gone takes the
/// copy's consistency with it: an empty log in its place would silently drop commits.
fn note_changes_from_outside(meta: &mut Meta, disk: &Disk) -> bool {
    let now = disk.stamps();
    let mut touched: Vec<String> = (meta.stamps.iter())
        .filter(|then| now.iter().find(|n| n.name == then.name) != Some(then))
        .map(|then| then.name.clone())
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
        let inner =
            Inner { meta, part: Part::Nobody, gate_closed: false, checkpointing: false, fenced: None, link_id: 0 };
        let engine = Engine {
            disk,
            connector,
            inner: Mutex::new(inner),
            changed: Condvar::new(),
            notify,
            last_report: LastReport::default(),
            comparison: Comparison::default(),
        };
        Ok(Arc::new(engine))
    }

    /// Changes the durable record first and what is remembered of it after, so that a change that
    /// could not be written is tried again.
    pub(super) fn change_meta(&self, inner: &mut Inner, change: impl FnOnce(&mut Meta)) -> Result<(), RecordError> {
        let mut meta = inner.meta.clone();
        change(&mut meta);
        self.disk.timed(|| records::save_meta(self.disk.dir(), &meta))?;
        inner.meta = meta;
        Ok(())
    }

    pub(super) fn save_map(&self, acting: &mut Acting) -> Result<(), RecordError> {
        if let Some(map) = acting.map() {
            self.disk.timed(|| records::save_map(self.disk.dir(), &map))?;
        }
        acting.primary.map_saved();
        Ok(())
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("a panic under this lock ends the process")
    }

    pub(super) fn wait<'a>(&self, guard: MutexGuard<'a, Inner>) -> MutexGuard<'a, Inner> {
        self.changed.wait(guard).expect("a panic under this lock ends the process")
    }

    pub(super) fn wait_for<'a>(&self, guard: MutexGuard<'a, Inner>, time: Duration) -> MutexGuard<'a, Inner> {
        self.changed.wait_timeout(guard, time).expect("a panic under this lock ends the process").0
    }

    /// Wakes everybody who waits for a change of state, and tells the coordinator.
    pub(super) fn announce(&self) {
        self.changed.notify_all();
        (self.notify)();
    }

    /// SQLite is open: the acting primary takes sessions from here on.
    pub fn serving(&self) {
        if let Part::Acting(acting) = &mut self.lock().part {
            acting.serving = true;
        }
        self.announce();
    }

    /// Ends this process's access to the files: nothing is written or acknowledged any more. The
    /// process exits next, without closing SQLite (R7).
    pub fn fence(&self, why: &str) {
        let mut inner = self.lock();
        inner.fence(why);
        drop(inner);
        self.announce();
    }

    /// Why this process may not touch the files any more; it should exit.
    pub fn fenced(&self) -> Option<String> {
        self.lock().fenced.clone()
    }

    /// Everything written so far is durable where it must be: the last step of a drain and of a stop.
    pub fn settle(&self) -> Result<(), StorageError> {
        use super::storage::Storage;
        FileId::ALL.into_iter().try_for_each(|file| self.sync(file))
    }

    /// A clean end: notes what the files look like, so that a touch from outside is noticed later.
    pub fn note_clean_end(&self) -> Result<(), EngineError> {
        let stamps = self.disk.stamps();
        Ok(self.change_meta(&mut self.lock(), |meta| meta.stamps = stamps)?)
    }
}

impl Inner {
    pub fn acting(&mut self) -> Result<&mut Acting, StorageError> {
        if let Some(why) = &self.fenced {
            return Err(StorageError::Fenced(why.clone()));
        }
        match &mut self.part {
            Part::Acting(acting) => Ok(acting),
            Part::Nobody | Part::Mirror(_) => Err(StorageError::Fenced("not the acting primary".into())),
        }
    }

    pub fn fence(&mut self, why: &str) {
        if self.fenced.is_none() {
            tracing::warn!(why, "fenced");
            self.fenced = Some(why.to_owned());
        }
        self.close_links();
    }

    /// Ends whatever link there is; its threads find themselves strangers.
    pub fn close_links(&mut self) {
        self.link_id += 1;
        match &mut self.part {
            Part::Acting(acting) => drop(acting.link.take().map(Link::close)),
            Part::Mirror(mirror) => mirror.close(),
            Part::Nobody => {}
        }
    }

    /// The mirror is lost: suspended until the coordinator's word (R2).
    pub fn lose_mirror(&mut self, loss: MirrorLoss) {
        self.close_links();
        self.gate_closed = false;
        if let Part::Acting(acting) = &mut self.part {
            tracing::warn!(%loss, "mirror lost");
            acting.primary.mirror_lost();
            acting.progress = None;
            acting.lost = Some(loss);
        }
    }

    pub fn standing(&self) -> Standing {
        Standing { dbid: self.dbid(), phase: self.phase(), epoch: self.meta.epoch }
    }

    pub fn dbid(&self) -> Dbid {
        self.meta.dbid
    }

    pub fn content(&self) -> Content {
        self.meta.content
    }

    pub fn phase(&self) -> Phase {
        match &self.part {
            Part::Nobody => Phase::Nobody,
            Part::Mirror(_) => Phase::Mirror,
            Part::Acting(acting) if !acting.serving => Phase::Promoting,
            Part::Acting(acting) => match acting.primary.mirroring() {
                Mirroring::Mirrorless => Phase::Mirrorless,
                Mirroring::Tracking if acting.progress.is_some() => Phase::Resynchronizing,
                Mirroring::Tracking => Phase::Tracking,
                Mirroring::Resync => Phase::Resynchronizing,
                Mirroring::InSync => Phase::InSync,
                Mirroring::Suspended => Phase::Suspended,
            },
        }
    }
}

impl Acting {
    /// The map as it is made durable.
    pub fn map(&self) -> Option<TrackMap> {
        Some(TrackMap { binding: self.binding?, dirty: self.primary.possibly_different() })
    }
}
