//! The fault tolerance service's thread: connections in, [`Fts`] decisions out, rows to the catalog.
//!
//! One thread with a runtime of its own, so that nothing else in the process can make it late. It is
//! the only one that sends orders to segments, and it sends only rows that the catalog holds (R1).

mod link;
mod remarks;
mod round;

pub use remarks::thresholds;

use super::board::Board;
use super::places::Places;
use super::store::{Store, StoreError};
use crate::cluster::request::Owner;
use crate::core::fts::Event;
use crate::core::ids::{Content, Dbid};
use crate::core::report::{Stage, StopMode};
use crate::net::Credentials;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;
use tokio::sync::{mpsc, oneshot};

/// What the prober is asked.
pub(super) enum Command {
    /// The catalog's row of a content was changed by an operation.
    RowChanged(Content),
    Hold(Content, bool),
    Release(Content),
    Kick(Option<Dbid>),
    ProbeNow(oneshot::Sender<()>),
    /// A drill's hold of an acting primary's recovery, or its end.
    HoldRecovery(Dbid, Option<Stage>, oneshot::Sender<Result<(), String>>),
    Drain(Dbid, oneshot::Sender<Result<(), String>>),
    Stop(Dbid, StopMode),
    Verify(Dbid, VerifyRequest),
    SettingsChanged,
    Pause(Option<Duration>, oneshot::Sender<()>),
    Look(Content, oneshot::Sender<Option<Sight>>),
    /// A segment's row says another place.
    Moved(Dbid),
    /// The end of the thread, as with the process.
    #[cfg(test)]
    End(oneshot::Sender<()>),
}

/// What an acting primary is asked about its data. Said again, it changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VerifyRequest {
    Begin { op: i64, rate_bytes: Option<u64> },
    End { op: i64 },
    Judge,
}

/// What FTS knows of a content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sight {
    /// Each member now, in words, with ages.
    pub now: Vec<String>,
    /// The observations of the last rounds, oldest first, with their ages in milliseconds.
    pub seen: Vec<(u64, String)>,
}

/// Why the prober could not be started.
#[derive(Debug, Error)]
pub enum ProberError {
    #[error("cannot start the prober: {0}")]
    Thread(#[from] std::io::Error),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What the prober works with.
pub struct Setup {
    pub store: Arc<Store>,
    pub board: Arc<Board>,
    /// Where the segments are; told of hosts that should be asked now.
    pub places: Arc<Places>,
    pub me: Credentials,
    /// Who stands behind the goals that FTS writes.
    pub owner: Owner,
    /// Told the id of each such goal.
    pub begun: mpsc::UnboundedSender<i64>,
    /// What holds for contents that an operation was at work on when an earlier coordinator ended.
    pub taken_up: Vec<(Content, Event)>,
}

/// The way to ask the prober.
#[derive(Debug, Clone)]
pub struct Prober {
    commands: mpsc::UnboundedSender<Command>,
}

impl Prober {
    /// Starts the thread. It ends when every handle is gone.
    pub fn start(setup: Setup) -> Result<Prober, ProberError> {
        let (commands, asked) = mpsc::unbounded_channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let round = round::Round::new(setup)?;
        std::thread::Builder::new().name("fts".into()).spawn(move || runtime.block_on(round.run(asked)))?;
        Ok(Prober { commands })
    }

    /// FTS looks now; returns when it has seen every segment answer or fail, and nothing is undecided.
    /// Requests that come meanwhile share the round.
    pub async fn probe(&self) {
        let (reply, done) = oneshot::channel();
        self.send(Command::ProbeNow(reply));
        let _ = done.await;
    }

    /// Something may have happened to this segment: ask it now, wait for nothing.
    pub fn kick(&self, dbid: Option<Dbid>) {
        self.send(Command::Kick(dbid));
    }

    /// The catalog's row of a content was changed: orders follow it.
    pub fn row_changed(&self, content: Content) {
        self.send(Command::RowChanged(content));
    }

    /// A segment is at another place from now on: it is asked there, and what was seen of it is forgotten.
    pub fn moved(&self, dbid: Dbid) {
        self.send(Command::Moved(dbid));
    }

    /// Nothing is decided for this content while an operation stops or starts its segments.
    pub fn hold(&self, content: Content, held: bool) {
        self.send(Command::Hold(content, held));
    }

    /// The content's segments have been started: decide from here on.
    pub fn release(&self, content: Content) {
        self.send(Command::Release(content));
    }

    /// Drains a primary; returns when it is quiet and about to exit.
    pub async fn drain(&self, dbid: Dbid) -> Result<(), String> {
        let (reply, done) = oneshot::channel();
        self.send(Command::Drain(dbid, reply));
        done.await.unwrap_or_else(|_| Err("the prober has ended".into()))
    }

    /// Asks a segment to stop.
    pub fn stop(&self, dbid: Dbid, mode: StopMode) {
        self.send(Command::Stop(dbid, mode));
    }

    /// Asks an acting primary about its data; its reports say what comes of it.
    pub fn verify(&self, dbid: Dbid, request: VerifyRequest) {
        self.send(Command::Verify(dbid, request));
    }

    /// Tells an acting primary a drill's hold, or its end; returns when it has taken it.
    pub async fn hold_recovery(&self, dbid: Dbid, stage: Option<Stage>) -> Result<(), String> {
        let (reply, done) = oneshot::channel();
        self.send(Command::HoldRecovery(dbid, stage, reply));
        done.await.unwrap_or_else(|_| Err("the prober has ended".into()))
    }

    /// The settings were written: read them again.
    pub fn settings_changed(&self) {
        self.send(Command::SettingsChanged);
    }

    /// Promote nobody for so long; `None` ends a pause, and what it withheld is decided on return.
    pub async fn pause(&self, length: Option<Duration>) {
        let (reply, done) = oneshot::channel();
        self.send(Command::Pause(length, reply));
        let _ = done.await;
    }

    /// What is known of a content now and was seen in the last rounds; `None` when there is no such
    /// content.
    pub async fn sight(&self, content: Content) -> Option<Sight> {
        let (reply, done) = oneshot::channel();
        self.send(Command::Look(content, reply));
        done.await.ok().flatten()
    }

    /// Ends the thread where it stands, as the end of the process would.
    #[cfg(test)]
    pub async fn end(&self) {
        let (reply, done) = oneshot::channel();
        self.send(Command::End(reply));
        let _ = done.await;
    }

    fn send(&self, command: Command) {
        // The thread ends only with the process.
        let _ = self.commands.send(command);
    }
}
