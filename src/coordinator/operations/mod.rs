//! The operations: durable goals, driven towards their end.
//!
//! What the next step is, the core says ([`crate::core::operation`]); here steps are carried out, how
//! far a goal is gets written down before and after each, and watchers are told.

mod backup;
mod begin;
mod drive;
mod let_go;
mod outcome;
mod restore;
mod stop;
mod told;

use super::audit::Audit;
use super::backup::place::Place;
use super::board::Board;
use super::clock::unix_ms;
use super::places::Places;
use super::prober::Prober;
use super::site::Site;
use super::store::{Operation, Store, StoreError};
use crate::cluster::request::Owner;
use crate::cluster::{ContentProgress, Line, Outcome, Progressing};
use crate::core::fts::Event;
use crate::core::ids::Content;
use crate::core::operation::{Goal, GoalKind, Stage};
use crate::core::report::{Progress, Stage as CopyStage};
use crate::core::track::BLOCK_BYTES;
use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use tokio::sync::watch;

pub use begin::Answer;
pub use let_go::InUse;
pub(super) use restore::manifest;

/// How a maintenance is begun.
pub(super) const IN_MAINTENANCE_NEXT: &str = "maintenance(\"HOST\", \"30m\", \"why\")";

/// What FTS has to know, before it decides anything, of the contents whose processes an earlier coordinator
/// was stopping or starting. The word to decide again is lost with the coordinator that died after it had
/// written down that all is started: then nobody is in a role yet, and FTS would wait for ever to see
/// somebody.
pub(super) fn taken_up(left: &[Operation]) -> Vec<(Content, Event)> {
    let open = left.iter().flat_map(|o| o.goal.targets.iter().map(|t| (o.goal.kind, t)));
    open.filter(|(_, target)| target.ended.is_none())
        .filter_map(|(kind, target)| match (kind, target.stage) {
            (
                GoalKind::Restart { .. } | GoalKind::Start | GoalKind::Restore { .. },
                Stage::Stopping | Stage::Starting,
            ) => Some((target.content, Event::Hold(true))),
            (GoalKind::Restart { .. } | GoalKind::Start | GoalKind::Restore { .. }, Stage::Recovering)
            | (GoalKind::ForcePrimary, Stage::Starting)
                if !target.joined =>
            {
                Some((target.content, Event::Release))
            }
            _ => None,
        })
        .collect()
}

/// Everything that operations work with.
#[derive(Clone)]
pub struct Operations {
    shared: Arc<Shared>,
}

pub(super) struct Shared {
    pub store: Arc<Store>,
    pub board: Arc<Board>,
    pub prober: Prober,
    pub places: Arc<Places>,
    pub site: Arc<Site>,
    pub audit: Audit,
    live: Mutex<BTreeMap<i64, Arc<Live>>>,
    /// The cluster is being stopped: nothing is begun any more.
    stopping: AtomicBool,
    /// Held while it is settled which hosts segments go to: a plan is begun, or a host leaves.
    settling: Mutex<()>,
}

/// An operation that is being driven.
pub(super) struct Live {
    pub id: i64,
    pub owner: Owner,
    pub started: Instant,
    pub started_ms: i64,
    goal: Mutex<Goal>,
    /// Who follows it.
    heard: Mutex<told::Heard>,
    /// The last progress of each target's copy.
    copies: Mutex<BTreeMap<Content, Progress>>,
    progress: watch::Sender<Progressing>,
    outcome: watch::Sender<Option<Outcome>>,
    /// Rises when a flag of the goal changes.
    flags: watch::Sender<u64>,
    task: Mutex<Option<tokio::task::AbortHandle>>,
    /// A backup's directory, until the backup is whole.
    place: Mutex<Option<Arc<Place>>>,
}

impl Live {
    fn goal(&self) -> MutexGuard<'_, Goal> {
        self.goal.lock().unwrap_or_else(PoisonError::into_inner)
    }
    fn copies(&self) -> MutexGuard<'_, BTreeMap<Content, Progress>> {
        self.copies.lock().unwrap_or_else(PoisonError::into_inner)
    }
    fn elapsed_ms(&self) -> i64 {
        i64::try_from(self.started.elapsed().as_millis()).unwrap_or(i64::MAX)
    }

    /// How far a copy of whole files is that the coordinator makes itself, in the figures of every other copy.
    fn data_copy(&self, bytes: u64, total: u64) -> Progress {
        Progress {
            stage: CopyStage::DataCopy,
            total_blocks: total.div_ceil(BLOCK_BYTES),
            copied_blocks: bytes.div_ceil(BLOCK_BYTES),
            files_created: 0,
            files_dropped: 0,
            pause_open_us: None,
            pause_claim_us: None,
            elapsed_ms: u64::try_from(self.elapsed_ms()).unwrap_or_default(),
            rate_bytes: None,
        }
    }
}

/// How an operation is followed.
pub enum Watching {
    Running { progress: watch::Receiver<Progressing>, outcome: watch::Receiver<Option<Outcome>> },
    Ended(Box<Outcome>),
    Unknown,
}

impl Operations {
    pub fn new(
        store: Arc<Store>,
        board: Arc<Board>,
        prober: Prober,
        places: Arc<Places>,
        site: Arc<Site>,
        audit: Audit,
    ) -> Operations {
        let live = Mutex::default();
        Operations {
            shared: Arc::new(Shared {
                store,
                board,
                prober,
                places,
                site,
                audit,
                live,
                stopping: AtomicBool::new(false),
                settling: Mutex::default(),
            }),
        }
    }

    /// Goes on with what an earlier coordinator left, from where it stood.
    pub fn resume(&self, left: Vec<Operation>) {
        for operation in left {
            self.run(operation);
        }
    }

    /// Drives a goal that was written by FTS with a row.
    pub fn pick_up(&self, id: i64) {
        match self.shared.store.operation(id) {
            Ok(Some(operation)) if operation.ended_ms.is_none() => self.run(operation),
            Ok(_) => {}
            Err(error) => tracing::error!(id, %error, "a goal could not be read"),
        }
    }

    /// The operation that works on a content now.
    pub fn working_on(&self, content: Content) -> Option<i64> {
        self.shared.live().values().find(|live| live.goal().holds(content)).map(|live| live.id)
    }

    /// The lines of every segment that is being recovered or waits for its turn.
    pub fn recoveries(&self) -> Vec<Line> {
        // Copied out: no two locks are held at a time.
        let all: Vec<Arc<Live>> = self.shared.live().values().cloned().collect();
        let lines = all.iter().flat_map(|live| {
            let kind = live.goal().kind;
            let recovers = matches!(kind, GoalKind::Recover { .. });
            // What they tell of is read, and nothing is recovered by it.
            let reads = matches!(kind, GoalKind::Backup { .. } | GoalKind::Verify { .. });
            let lines = live.progress.borrow().contents.clone().into_iter();
            // Other operations recover on their way: then there is a copy to be seen.
            let lines = lines.filter(move |line| !line.finished && !reads && (recovers || line.progress.is_some()));
            lines.map(move |of| Line { operation: live.id, recovers, elapsed_ms: live.elapsed_ms(), of })
        });
        lines.collect()
    }

    /// Follows an operation.
    pub fn watch(&self, id: i64) -> Result<Watching, StoreError> {
        if let Some(live) = self.shared.live().get(&id) {
            let (progress, outcome) = (live.progress.subscribe(), live.outcome.subscribe());
            return Ok(Watching::Running { progress, outcome });
        }
        let found = self.shared.store.operation(id)?.and_then(|op| op.outcome);
        Ok(found.map_or(Watching::Unknown, |outcome| Watching::Ended(Box::new(outcome))))
    }

    /// Begins no further target of an operation; `cancel` also ends what can be ended safely.
    /// Returns whether it was running.
    pub fn flag(&self, id: i64, cancel: bool) -> Result<bool, StoreError> {
        let Some(live) = self.shared.live().get(&id).cloned() else {
            return Ok(false);
        };
        let goal = {
            let mut goal = live.goal();
            goal.stop_after_segment = true;
            goal.cancelled |= cancel;
            goal.clone()
        };
        self.shared.store.save_goal(id, &goal)?;
        live.flags.send_modify(|v| *v += 1);
        Ok(true)
    }

    /// Ends all driving and probing where it stands, as the end of the process would.
    #[cfg(test)]
    pub(super) async fn abandon(&self) {
        self.shared.prober.end().await;
        for live in std::mem::take(&mut *self.shared.live()).into_values() {
            if let Some(task) = live.task.lock().unwrap_or_else(PoisonError::into_inner).take() {
                task.abort();
            }
        }
    }

    fn run(&self, operation: Operation) {
        let age_ms = u64::try_from(unix_ms() - operation.started_ms).unwrap_or_default();
        let age = std::time::Duration::from_millis(age_ms);
        let live = Arc::new(Live {
            id: operation.id,
            owner: operation.owner,
            started: Instant::now().checked_sub(age).unwrap_or_else(Instant::now),
            started_ms: operation.started_ms,
            progress: watch::Sender::new(first_progress(operation.id, &operation.goal)),
            goal: Mutex::new(operation.goal),
            heard: Mutex::default(),
            copies: Mutex::default(),
            outcome: watch::Sender::new(None),
            flags: watch::Sender::new(0),
            task: Mutex::default(),
            place: Mutex::default(),
        });
        {
            let mut all = self.shared.live();
            // Picked up twice, it is driven once; the one that is driven must not be replaced.
            if all.contains_key(&live.id) {
                return;
            }
            all.insert(live.id, live.clone());
        }
        let task = tokio::spawn(drive::drive(self.shared.clone(), live.clone()));
        *live.task.lock().unwrap_or_else(PoisonError::into_inner) = Some(task.abort_handle());
    }
}

impl Shared {
    fn live(&self) -> MutexGuard<'_, BTreeMap<i64, Arc<Live>>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether another operation than this one works on a content.
    fn others_work_on(&self, content: Content, id: i64) -> bool {
        // Copied out: no two locks are held at a time.
        let others: Vec<_> = self.live().values().filter(|live| live.id != id).cloned().collect();
        others.iter().any(|live| live.goal().holds(content))
    }
}

fn first_progress(op: i64, goal: &Goal) -> Progressing {
    let contents = goal.targets.iter().map(|t| ContentProgress {
        content: t.content,
        dbid: t.dbid,
        doing: "waiting".into(),
        finished: t.ended.is_some(),
        progress: None,
    });
    Progressing { op, elapsed_ms: 0, contents: contents.collect() }
}
