//! The segment process: its endpoints, its life, and its one way out.
//!
//! The process lives *in* its data directory (it changes into it), so that a full copy that is given
//! its final name while the process runs goes on in the same directory under the new name.

use super::control::{self, Orders};
use super::database::Database;
use super::identity::{self, Owner};
use crate::core::report::{FromSegment, Order, PeerAddress, Phase, Report, Stage, StopMode};
use crate::engine::storage::StorageError;
use crate::engine::{Connector, Engine, EngineError, RecordError};
use crate::hosts::{self, DirLock, LockError, SegmentConfig};
use crate::net::{self, ClusterKey, Credentials, Endpoint, Identity, KeyError, NetError, Purpose};
use std::io;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};

/// A peer that does not prove itself in this time is not waited for.
const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(2);
/// After its last word a process gives the network this long to carry it.
const LAST_WORD: Duration = Duration::from_millis(50);
/// Why a process leaves, as its sessions and its log have it.
const SWITCHED: &str = "switched: its mirror takes over";
const STOPPED: &str = "stopped";

#[derive(Debug, Error)]
pub enum SegmentError {
    #[error(transparent)]
    Config(#[from] hosts::files::FileError),
    #[error(transparent)]
    Lock(#[from] LockError),
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error(transparent)]
    Socket(#[from] crate::sql::SocketError),
    #[error("{datadir}/{source}; {}", next_step(source))]
    Record { datadir: PathBuf, source: RecordError },
    #[error(transparent)]
    Create(#[from] identity::CreateError),
    #[error("{what}: {source}")]
    Io { what: String, source: io::Error },
    #[error("this data directory is dbid {found}'s of content {content}, its configuration says dbid {expected}")]
    Foreign { found: i64, content: i64, expected: i64 },
}

/// What to do about a record that can't be used, as far as a segment can tell.
fn next_step(error: &RecordError) -> &'static str {
    if error.is_another_release() {
        return "nothing was changed";
    }
    "full_recover() makes this copy anew from its peer"
}

fn io_error(what: impl Into<String>) -> impl FnOnce(io::Error) -> SegmentError {
    let what = what.into();
    move |source| SegmentError::Io { what, source }
}

/// One segment process.
pub struct Segment {
    config: SegmentConfig,
    credentials: Credentials,
    engine: Arc<Engine>,
    orders: Orders,
    changes: watch::Receiver<u64>,
    database: Database,
    /// Its data is being judged.
    judging: AtomicBool,
    /// What a drill asked for last: looked at without the engine's lock, which a hung disk may keep.
    asked_to_hold: Mutex<Option<Stage>>,
}

/// Opens links to mirrors, by the cluster's handshake.
struct Dial(Credentials);

impl Connector for Dial {
    fn connect(&self, peer: &PeerAddress, deadline: Duration) -> io::Result<TcpStream> {
        let to = Endpoint::new(peer.address.clone(), peer.replication_port);
        let expected = Identity::Segment(peer.dbid);
        net::blocking::connect(&to, &self.0, Purpose::Replication, Some(&expected), deadline)
            .map(|(stream, _)| stream)
            .map_err(|e| io::Error::other(e.to_string()))
    }
}

/// Runs a segment until it is told to end. The data directory's name may change meanwhile.
pub fn run(datadir: &Path) -> Result<(), SegmentError> {
    let config = SegmentConfig::load(datadir)?;
    // Held until death (R7).
    DirLock::take(datadir)?.keep_until_death();
    std::env::set_current_dir(datadir).map_err(io_error(format!("entering {}", datadir.display())))?;
    let here = Path::new(".");
    // Without an identity this is another copy than any map knows: only a full copy can follow.
    if !here.join(crate::engine::META).exists() {
        let owner = Owner { cluster_id: &config.cluster_id, dbid: config.dbid, content: config.content, dir: here };
        identity::create_new_copy(&owner)?;
    }
    // Before anything else is touched: what can't be read, or is another release's, is left as it is.
    crate::engine::load_meta(here).map_err(|source| SegmentError::Record { datadir: datadir.into(), source })?;
    let credentials = Credentials::new(ClusterKey::load(&config.key_file)?, Identity::Segment(config.dbid));
    let (changed, changes) = watch::channel(0u64);
    let notify = Box::new(move || changed.send_modify(|n| *n += 1));
    let engine = Engine::open(here, Box::new(Dial(credentials.clone())), notify)?;
    check_identity(&config, &engine.report())?;
    let (orders, heard) = Orders::channel();
    let database = Database::closed(config.content, engine.clone());
    let segment = Arc::new(Segment {
        config,
        credentials,
        engine,
        orders,
        changes,
        database,
        judging: AtomicBool::new(false),
        asked_to_hold: Mutex::default(),
    });
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(io_error("starting the runtime"))?;
    let obeying = segment.clone();
    std::thread::Builder::new()
        .name("obey".into())
        .spawn(move || control::obey(&obeying, &heard))
        .map_err(io_error("starting the thread that obeys orders"))?;
    runtime.block_on(segment.serve())
}

fn check_identity(config: &SegmentConfig, report: &Report) -> Result<(), SegmentError> {
    if (report.dbid, report.content) == (config.dbid, config.content) {
        return Ok(());
    }
    Err(SegmentError::Foreign { found: report.dbid.0, content: report.content.0, expected: config.dbid.0 })
}

impl Segment {
    pub fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    /// Rises whenever the coordinator should hear a report at once.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.clone()
    }

    pub fn hear(&self, order: Order) {
        self.orders.hear(order);
    }

    pub async fn report(&self) -> Report {
        // A hung disk makes the report wait a moment: not on a runtime's worker.
        let engine = self.engine.clone();
        let mut report = match tokio::task::spawn_blocking(move || engine.report()).await {
            Ok(report) => report,
            Err(_) => std::process::abort(),
        };
        report.damaged_pages = self.database.files().map_or(0, |files| files.damaged_pages());
        report.sessions = self.database.local_sessions();
        report
    }

    /// Judges this side's own data, unless that is under way or not asked for; the report says the rest.
    pub fn judge(self: &Arc<Segment>) {
        let Some(files) = self.database.files().filter(|_| !self.judging.swap(true, Ordering::SeqCst)) else {
            return;
        };
        let segment = self.clone();
        let judging = std::thread::Builder::new().name("judge".into()).spawn(move || {
            super::judge::judge(&segment.engine, &files);
            segment.judging.store(false, Ordering::SeqCst);
        });
        if let Err(error) = judging {
            tracing::error!(%error, "no thread to judge the data; it is asked for again");
            self.judging.store(false, Ordering::SeqCst);
        }
    }

    /// A drill's hold, or with `None` its end.
    pub fn hold(&self, stage: Option<Stage>) -> Result<(), EngineError> {
        self.engine.hold_recovery(stage)?;
        *self.asked_to_hold() = stage;
        Ok(())
    }

    /// What a drill holds, if anything, is held no longer.
    pub fn release(&self) {
        if self.asked_to_hold().take().is_some()
            && let Err(error) = self.engine.hold_recovery(None)
        {
            tracing::debug!(%error, "nothing is held here");
        }
    }

    /// Whether a drill wants a claim to be held back.
    pub fn holds_claim(&self) -> bool {
        *self.asked_to_hold() == Some(Stage::Claimed)
    }

    fn asked_to_hold(&self) -> MutexGuard<'_, Option<Stage>> {
        self.asked_to_hold.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens SQLite on the files this process may now write, and takes sessions.
    pub fn open_database(&self) -> Result<(), super::database::DatabaseError> {
        self.database.open()?;
        self.engine.serving();
        Ok(())
    }

    async fn serve(self: Arc<Segment>) -> Result<(), SegmentError> {
        hosts::leave_terminal().map_err(io_error("leaving the terminal"))?;
        let bind = async |port: u16| {
            let address = (self.config.address.as_str(), port);
            TcpListener::bind(address).await.map_err(io_error(format!("listening on {}:{port}", self.config.address)))
        };
        let (control, replication) = (bind(self.config.port).await?, bind(self.config.replication_port).await?);
        let local = crate::sql::listen_unix(&self.config.socket_dir, self.config.port)?;
        let serving = self.clone();
        tokio::spawn(async move { serving.database.serve_local(local).await });
        hosts::announce_ready();
        let mut changes = self.changes();
        loop {
            tokio::select! {
                accepted = control.accept() => self.clone().spawn_peer(accepted, &[Purpose::Control, Purpose::Sql, Purpose::Backup]),
                accepted = replication.accept() => self.clone().spawn_peer(accepted, &[Purpose::Replication]),
                _ = changes.changed() => {
                    if let Some(why) = self.engine.fenced() {
                        tokio::time::sleep(LAST_WORD).await;
                        self.exit(&why);
                    }
                }
            }
        }
    }

    fn spawn_peer(
        self: Arc<Segment>,
        accepted: io::Result<(tokio::net::TcpStream, std::net::SocketAddr)>,
        purposes: &'static [Purpose],
    ) {
        match accepted {
            Ok((stream, _)) => drop(tokio::spawn(async move {
                if let Err(error) = self.peer(stream, purposes).await {
                    tracing::info!(%error, "connection refused");
                }
            })),
            Err(error) => tracing::warn!(%error, "accept"),
        }
    }

    async fn peer(self: Arc<Segment>, stream: tokio::net::TcpStream, purposes: &[Purpose]) -> Result<(), NetError> {
        let (stream, peer) = net::accept(stream, &self.credentials, purposes, HANDSHAKE_DEADLINE).await?;
        match peer.purpose {
            Purpose::Control => control::serve(self, stream).await,
            Purpose::Sql => {
                if let Err(error) = self.database.serve_stream(stream).await {
                    tracing::debug!(%error, "session ended");
                }
            }
            Purpose::Replication => {
                let local = |e: io::Error| NetError::Local(e.to_string());
                let stream = stream.into_std().map_err(local)?;
                stream.set_nonblocking(false).map_err(local)?;
                let accepted = tokio::task::spawn_blocking(move || self.engine.accept_link(stream)).await;
                if let Ok(Err(error)) = accepted {
                    tracing::warn!(%error, peer = %peer.identity, "link refused");
                }
            }
            Purpose::Backup => {
                let local = |e: io::Error| NetError::Local(e.to_string());
                let stream = stream.into_std().map_err(local)?;
                stream.set_nonblocking(false).map_err(local)?;
                let serve = move || super::backup::serve(&self.engine, &self.database, stream);
                std::thread::Builder::new().name("backup".into()).spawn(serve).map_err(local)?;
            }
            Purpose::Host | Purpose::Client => {}
        }
        Ok(())
    }

    /// Rebalance: quiet, synced on both sides, gone. A primary whose mirror was lost meanwhile goes
    /// on instead: it holds the only copy.
    pub async fn drain(self: Arc<Segment>, seq: u64, out: mpsc::Sender<FromSegment>) {
        // What is held keeps commits from ending.
        self.release();
        let mut quiet = self.clone().quiet().await;
        if let Ok(Phase::InSync) = quiet {
            // Before the coordinator hears of it: once its row has changed nobody listens here.
            self.leave(SWITCHED).await;
            quiet = Ok(self.engine.report().phase);
        }
        let message = match quiet {
            Ok(Phase::InSync) => {
                self.last_word(FromSegment::Drained { seq }, &out).await;
                self.exit(SWITCHED);
            }
            Ok(phase) => format!("it is {phase:?}, not in sync: it may not leave"),
            Err(error) => error.to_string(),
        };
        self.database.resume();
        // A coordinator that is gone asks again when it is back.
        let _ = out.send(FromSegment::Failed { seq, message }).await;
    }

    /// A planned stop of the process.
    pub async fn stop(self: Arc<Segment>, seq: u64, mode: StopMode, out: mpsc::Sender<FromSegment>) {
        self.release();
        if mode == StopMode::Smart {
            self.database.wait_for_sessions().await;
        }
        if mode != StopMode::Immediate {
            if !matches!(self.report().await.phase, Phase::Nobody | Phase::Mirror)
                && let Err(error) = self.clone().quiet().await
            {
                tracing::warn!(%error, "the last sync of a stop failed; the log is replayed at the next start");
            }
            self.leave(STOPPED).await;
            if let Err(error) = self.engine.note_clean_end() {
                tracing::warn!(%error, "no clean end noted");
            }
        }
        self.last_word(FromSegment::Drained { seq }, &out).await;
        self.exit(STOPPED);
    }

    async fn leave(self: &Arc<Segment>, why: &'static str) {
        let leaving = self.clone();
        if tokio::task::spawn_blocking(move || leaving.database.leave(why)).await.is_err() {
            std::process::abort();
        }
    }

    /// Sessions drained, everything synced where it must be; the phase that is left.
    async fn quiet(self: Arc<Segment>) -> Result<Phase, StorageError> {
        let quiet = tokio::task::spawn_blocking(move || {
            self.database.drain();
            // A suspended primary has nothing it may acknowledge, and nobody to sync with.
            if self.engine.report().phase != Phase::Suspended {
                self.engine.settle()?;
            }
            Ok(self.engine.report().phase)
        });
        match quiet.await {
            Ok(done) => done,
            Err(_) => std::process::abort(),
        }
    }

    async fn last_word(&self, word: FromSegment, out: &mpsc::Sender<FromSegment>) {
        // A coordinator that is gone sees the process gone, which says the same.
        if out.send(word).await.is_ok() {
            tokio::time::sleep(LAST_WORD).await;
        }
    }

    /// The one way out: at once, without closing SQLite (R7).
    pub fn exit(&self, why: &str) -> ! {
        tracing::info!(why, "the segment ends");
        std::process::exit(0)
    }
}
