//! Operations: durable goals, and the next step towards each.
//!
//! A [`Goal`] is kept in the catalog. The next step of each of its targets is a pure function of the
//! target, the row, what segments report and what hosts say ([`Facts`]); so a coordinator that
//! restarts just goes on. Whoever drives a target carries out the [`Step`] and tells it what came of
//! it ([`Target::did`]).

mod facts;
mod force;
mod moving;
mod rebalance;
mod recover;
mod restart;
mod restore;
mod verify;

#[cfg(test)]
mod tests;

pub use facts::{Destination, Facts, Holds, MemberFacts, Others, Process, Survey};

use super::fts::unfit;
use super::ids::{Content, CopyId, Dbid, Epoch};
use super::report::{Phase, StopMode};
use super::row::{Pairing, Place};
use super::transition::Transition;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What is wanted of every target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum GoalKind {
    /// Copy what the mirror lacks, or everything, until the pair is synchronized.
    Recover { full: bool, in_place: bool, rate_bytes: Option<u64> },
    /// Switch the roles of the pair, then recover until it is synchronized.
    Rebalance,
    /// Stop the content's segments and start them again.
    Restart { mode: StopMode },
    /// Start what should run, and recover what was synchronized.
    Start,
    /// Compare the two copies of a synchronized pair.
    Verify { rate_bytes: Option<u64> },
    /// The last resort: serve from this segment, whatever the rows and the records say.
    ForcePrimary,
    /// Write every content, as it is at one moment, into the goal's directory.
    Backup { rate_bytes: Option<u64> },
    /// Replace every content by what the goal's directory holds of it.
    Restore { rate_bytes: Option<u64> },
}

impl GoalKind {
    /// The verb under which an administrator knows it.
    pub fn verb(self) -> &'static str {
        match self {
            GoalKind::Recover { full: true, .. } => "full_recover",
            GoalKind::Recover { full: false, .. } => "recover",
            GoalKind::Rebalance => "rebalance",
            GoalKind::Restart { .. } => "restart",
            GoalKind::Start => "start",
            GoalKind::Verify { .. } => "verify",
            GoalKind::ForcePrimary => "force_primary",
            GoalKind::Backup { .. } => "backup",
            GoalKind::Restore { .. } => "restore",
        }
    }
}

/// A durable goal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Goal {
    pub kind: GoalKind,
    pub targets: Vec<Target>,
    /// How many targets are worked on at a time.
    pub jobs: usize,
    /// Begin no further target.
    pub stop_after_segment: bool,
    /// End as soon as that is safe.
    pub cancelled: bool,
    /// Backup and restore: the directory, on the coordinator's host; empty for every other goal.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub dir: String,
    /// What is told at the end beside what every target says; empty when there is nothing.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub summary: String,
    /// Restore: every content has its new copy, and each takes the place of the old one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub replaces: bool,
}

/// How many targets of a goal are worked on at a time, unless the call says otherwise.
pub const DEFAULT_JOBS: usize = 16;

impl Goal {
    pub fn new(kind: GoalKind, targets: Vec<Target>) -> Goal {
        Goal {
            kind,
            targets,
            jobs: DEFAULT_JOBS,
            stop_after_segment: false,
            cancelled: false,
            dir: String::new(),
            summary: String::new(),
            replaces: false,
        }
    }

    /// How far the contents of a restore are. The first who finds all of them ready decides that none goes back.
    pub fn others(&mut self) -> Others {
        let gave_up = |t: &Target| t.put_back.is_some() || t.ended.as_ref().is_some_and(|e| !e.is_done());
        if self.replaces {
            return Others::Ready;
        }
        if self.cancelled || self.stop_after_segment || self.targets.iter().any(gave_up) {
            return Others::GaveUp;
        }
        self.replaces = self.targets.iter().all(|t| t.filled);
        if self.replaces { Others::Ready } else { Others::Working }
    }

    /// The verb under which an administrator knows it.
    pub fn verb(&self) -> &'static str {
        // A move copies everything, and is asked for as a recovery.
        if self.targets.iter().any(|t| t.to.is_some()) { "recover" } else { self.kind.verb() }
    }

    pub fn is_ended(&self) -> bool {
        self.targets.iter().all(|t| t.ended.is_some())
    }

    /// Whether a target that has not ended works on this content.
    pub fn holds(&self, content: Content) -> bool {
        self.targets.iter().any(|t| t.content == content && t.ended.is_none())
    }
}

/// How far a target is; kept with the goal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    Pending,
    /// Rebalance: the primary was told to drain.
    Draining,
    /// Restart: processes are being stopped, and nothing is decided by FTS.
    Stopping,
    /// Restart and start: processes are being started, and nothing is decided by FTS.
    Starting,
    /// On the way to a synchronized pair.
    Recovering,
    /// Verify: the copies are being compared, or what was found is being judged.
    Verifying,
    /// Backup: the content is held, or written.
    Streaming,
}

/// Why a target is refused; each has a documented code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    HostDown,
    CannotStop,
    IncrementalImpossible,
    NoSpace,
    DoubleFault,
    Quarantined,
    NoMirror,
    SegmentUp,
    SourceDamaged,
    NotSynchronized,
    PortTaken,
    DirTaken,
    /// The host has no such directory for segments.
    NoSuchDir,
    BarrierMissed,
    GaveWay,
    BackupDamaged,
}

/// How a target ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ended", rename_all = "snake_case")]
pub enum Ended {
    /// `how` is a word for the table; `note` is worth knowing, or empty.
    Done {
        how: String,
        note: String,
    },
    Refused {
        why: Why,
        cause: String,
    },
    Failed {
        cause: String,
    },
    Cancelled {
        note: String,
    },
    /// Verify: the copies differ; which side is at fault, in words.
    Differs {
        note: String,
    },
}

impl Ended {
    fn is_done(&self) -> bool {
        matches!(self, Ended::Done { .. })
    }
}

/// One content that a goal works on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Target {
    pub content: Content,
    /// The segment that is recovered, switched to primary, or restarted.
    pub dbid: Dbid,
    /// Another operation works on it; this one only waits for its end.
    pub joined: bool,
    /// Joined by a start: the other operation does not start an acting primary that is gone, this does.
    #[serde(default)]
    pub revives: bool,
    pub stage: Stage,
    /// Whether the pair was synchronized when the target was begun.
    pub was_synchronized: bool,
    /// The epoch of the recovery that this target began.
    pub granted: Option<Epoch>,
    /// Full copy: the place is prepared, and nothing but a full copy can follow.
    pub prepared: bool,
    /// Full copy: whether it goes on where an interrupted one stopped; `None` until that is known.
    #[serde(default)]
    pub continues: Option<bool>,
    /// The pair was in sync and lost its link again: what follows is incremental.
    #[serde(default)]
    pub was_in_sync: bool,
    /// Full copy: the old directory is dropped.
    pub dropped: bool,
    /// Verify: bytes that were compared, blocks that differ, and the first of them in words.
    #[serde(default)]
    pub verified_bytes: u64,
    #[serde(default)]
    pub differing_blocks: u64,
    #[serde(default)]
    pub differing: String,
    pub ended: Option<Ended>,
    /// Recovery: where the segment is moved to before everything is copied there.
    #[serde(default)]
    pub to: Option<Place>,
    /// Where it was before it was moved: what is left there is dropped when the pair is in sync.
    #[serde(default)]
    pub from: Option<Place>,
    /// Override: the highest epoch that a member was seen to have obeyed.
    #[serde(default)]
    pub above: Epoch,
    /// What is left at the former place could not be dropped; in words.
    #[serde(skip)]
    left: Option<String>,
    /// Restore: the identity of the copy that is made.
    #[serde(default)]
    pub copy: Option<CopyId>,
    /// Restore: the new copy is whole and durable.
    #[serde(default)]
    pub filled: bool,
    /// Restore: nothing was replaced, and when the pair serves what it had the target ends so.
    #[serde(default)]
    pub put_back: Option<Ended>,
    /// Restore: the new copy has the data directory's name, as was said to this coordinator.
    #[serde(skip)]
    in_place: bool,
    #[serde(skip)]
    naming_tries: u32,
    /// Processes started by this target, and what became of starts that failed.
    #[serde(skip)]
    pub started: BTreeMap<Dbid, Result<u32, String>>,
    /// Data directories that their host does not find.
    #[serde(skip)]
    gone: Vec<Dbid>,
    /// Processes that were asked to stop.
    #[serde(skip)]
    pub asked_to_stop: Vec<Dbid>,
    /// The primary said to this coordinator that it is drained: it is about to exit.
    #[serde(skip)]
    drained: bool,
    /// The primary could not be drained: judged by whether it serves on.
    #[serde(skip)]
    undrained: Option<String>,
    /// What was asked for, and is waited for since.
    #[serde(skip)]
    asked: Option<WaitFor>,
    /// The acting primary was seen at the copy.
    #[serde(skip)]
    saw_primary: bool,
    #[serde(skip)]
    waiting: Option<(WaitFor, u64)>,
}

impl Target {
    pub fn new(content: Content, dbid: Dbid) -> Target {
        Target {
            content,
            dbid,
            joined: false,
            revives: false,
            stage: Stage::Pending,
            was_synchronized: false,
            granted: None,
            prepared: false,
            continues: None,
            was_in_sync: false,
            dropped: false,
            verified_bytes: 0,
            differing_blocks: 0,
            differing: String::new(),
            ended: None,
            to: None,
            from: None,
            above: Epoch::default(),
            left: None,
            copy: None,
            filled: false,
            put_back: None,
            in_place: false,
            naming_tries: 0,
            started: BTreeMap::new(),
            gone: Vec::new(),
            asked_to_stop: Vec::new(),
            drained: false,
            undrained: None,
            asked: None,
            saw_primary: false,
            waiting: None,
        }
    }

    /// A target that another operation already works on.
    pub fn joined(content: Content, dbid: Dbid) -> Target {
        Target { joined: true, ..Target::new(content, dbid) }
    }

    /// The same, recovered at another place.
    #[must_use]
    pub fn moved(self, to: Option<Place>) -> Target {
        Target { to, ..self }
    }
}

/// What a target waits for, and how long at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitFor {
    HostToAnswer,
    PrimaryToServe,
    MirrorToReport,
    MirrorToBeReady,
    Copy,
    OtherOperation,
    OtherContents,
    Promotion,
    SegmentToStop(Dbid, StopMode),
    NamesToStand,
    PrimaryToAnswer,
    VerificationToBegin,
    VerificationToEnd,
    Verification,
    Judgement,
}

impl WaitFor {
    /// The limit in milliseconds; `None` for what is watched by others or may take any time.
    pub fn limit_ms(self) -> Option<u64> {
        match self {
            WaitFor::HostToAnswer => Some(3_000),
            WaitFor::PrimaryToServe => Some(30_000),
            WaitFor::MirrorToReport => Some(15_000),
            WaitFor::MirrorToBeReady => Some(10_000),
            WaitFor::OtherOperation => Some(60_000),
            WaitFor::Promotion => Some(15_000),
            WaitFor::NamesToStand => Some(10_000),
            WaitFor::SegmentToStop(_, StopMode::Fast) => Some(10_000),
            WaitFor::SegmentToStop(_, StopMode::Immediate) => Some(0),
            WaitFor::PrimaryToAnswer => Some(5_000),
            // Then it is asked again.
            WaitFor::VerificationToBegin | WaitFor::VerificationToEnd | WaitFor::Judgement => Some(2_000),
            WaitFor::SegmentToStop(_, StopMode::Smart)
            | WaitFor::Copy
            | WaitFor::Verification
            | WaitFor::OtherContents => None,
        }
    }

    pub fn words(self) -> &'static str {
        match self {
            WaitFor::HostToAnswer => "waiting for the host to answer",
            WaitFor::PrimaryToServe => "waiting for the acting primary",
            WaitFor::MirrorToReport => "waiting for the mirror to report",
            WaitFor::MirrorToBeReady => "waiting for the mirror to be ready",
            WaitFor::Copy => "copying",
            WaitFor::OtherOperation => "another operation works on it",
            WaitFor::OtherContents => "waiting for the other contents",
            WaitFor::Promotion => "waiting for the roles to switch",
            WaitFor::SegmentToStop(..) => "stopping",
            WaitFor::NamesToStand => "waiting for the new copy to be named",
            WaitFor::PrimaryToAnswer => "waiting for the acting primary",
            WaitFor::VerificationToBegin => "beginning to compare",
            WaitFor::VerificationToEnd => "ending the comparison",
            WaitFor::Verification => "comparing",
            WaitFor::Judgement => "judging the acting primary's data",
        }
    }
}

/// The next step of a target.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// FTS decides nothing for this content until [`Step::Release`].
    Hold,
    /// FTS decides again, on fresh witnesses.
    Release,
    /// Kill the process of a data directory (of its sibling), and wait until its lock is free.
    Kill { dbid: Dbid, sibling: bool },
    /// Ask a segment to stop.
    Stop { dbid: Dbid, mode: StopMode },
    /// Start a segment's process, on the sibling directory for a full copy.
    Start { dbid: Dbid, sibling: bool },
    /// Remove the target's identity; make an empty sibling directory unless it is copied in place.
    Prepare { dbid: Dbid, sibling: bool },
    /// Change the row, with what the members need to know beside it.
    Change {
        transition: Box<Transition>,
        full_copy: bool,
        rate_bytes: Option<u64>,
        reason: String,
        /// The copy that serves from here on, where that is the step's to say.
        serving_copy: Option<CopyId>,
        /// The place that the target has from here on, where it is moved.
        place: Option<Place>,
    },
    /// Drain the primary.
    Drain { dbid: Dbid },
    /// Exchange the names of the data directory and its sibling, unless that is done already. Tried again
    /// until it is done.
    Exchange { dbid: Dbid },
    /// Drop what is under the sibling's name.
    DropOld { dbid: Dbid },
    /// End what runs of the segment at its former place, and drop the directory.
    DropFormer { dbid: Dbid, place: Place },
    /// Restore: make an empty directory beside the data directory, which stays as it is.
    MakeBeside { dbid: Dbid },
    /// Start a process there.
    StartBeside { dbid: Dbid },
    /// Remove it again.
    DropBeside { dbid: Dbid },
    /// Give it the data directory's name, unless that is done already. Tried again for a while.
    PutInPlace { dbid: Dbid },
    /// Write the backup's files into the directory of a process that is nobody.
    Fill { dbid: Dbid },
    /// Ask the acting primary to compare itself with its mirror.
    Verify { dbid: Dbid, rate_bytes: Option<u64> },
    /// Ask it to end that.
    EndVerify { dbid: Dbid },
    /// Ask it to judge its own data.
    Judge { dbid: Dbid },
    /// Look again at the next change.
    Wait(WaitFor),
    /// The target has ended; [`Target::ended`] says how.
    Ended,
}

impl Step {
    /// What is being done, in a few words.
    pub fn words(&self) -> &'static str {
        match self {
            Step::Hold => "beginning",
            Step::Release => "handing over to FTS",
            Step::Kill { .. } => "ending the former process",
            Step::Stop { .. } => "stopping",
            Step::Start { .. } => "starting",
            Step::Prepare { .. } => "preparing the new copy",
            Step::Change { .. } => "changing the row",
            Step::Drain { .. } => "draining the primary",
            Step::Exchange { .. } => "naming the new copy",
            Step::DropOld { .. } => "dropping the old copy",
            Step::DropFormer { .. } => "dropping the copy at the former place",
            Step::MakeBeside { .. } | Step::StartBeside { .. } => "preparing the new copy",
            Step::DropBeside { .. } => "dropping the new copy",
            Step::PutInPlace { .. } => "naming the new copy",
            Step::Fill { .. } => "writing what the backup holds",
            Step::Verify { .. } => WaitFor::VerificationToBegin.words(),
            Step::EndVerify { .. } => WaitFor::VerificationToEnd.words(),
            Step::Judge { .. } => WaitFor::Judgement.words(),
            Step::Wait(what) => what.words(),
            Step::Ended => "ended",
        }
    }
}

/// What came of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Came {
    Fine,
    /// The process that was started.
    Pid(u32),
    /// The row stands, under this epoch.
    Changed(Epoch),
    /// The row was another one: look again.
    Stale,
    /// There is no data directory to start a process on; in words.
    Gone(String),
    Failed(String),
}

impl Target {
    /// The next step. Idempotent: without anything done in between it says the same again.
    pub fn next(&mut self, kind: GoalKind, facts: &Facts) -> Step {
        if self.ended.is_some() {
            return Step::Ended;
        }
        if self.stage == Stage::Pending && (facts.cancelled || facts.stop_after_segment) {
            return self.end(Ended::Cancelled { note: "not begun".into() });
        }
        // A quarantine is lifted only by the override.
        if let Some(why) = facts.quarantined.as_ref().filter(|_| kind != GoalKind::ForcePrimary) {
            return self.refuse(Why::Quarantined, why.clone());
        }
        let step = match kind {
            GoalKind::Recover { full, in_place, rate_bytes } => {
                let dbid = self.dbid;
                self.recover(dbid, recover::How { full, in_place, rate_bytes }, facts)
            }
            GoalKind::Rebalance => self.rebalance(facts),
            GoalKind::Restart { mode } => self.restart(Some(mode), facts),
            GoalKind::Start => self.restart(None, facts),
            GoalKind::Verify { rate_bytes } => self.verify(rate_bytes, facts),
            GoalKind::ForcePrimary => self.force(facts),
            GoalKind::Restore { rate_bytes } => self.restore(rate_bytes, facts),
            // A backup is one for all contents, and is driven as one.
            GoalKind::Backup { .. } => self.fail("a backup has no steps of one content".into()),
        };
        if !matches!(step, Step::Wait(_)) {
            self.waiting = None;
        }
        step
    }

    /// Tells the target what came of a step.
    pub fn did(&mut self, step: &Step, came: Came) {
        match (step, came) {
            (Step::Kill { dbid, .. }, Came::Failed(cause)) => {
                self.refuse(Why::CannotStop, format!("the former process of dbid {dbid} could not be killed: {cause}"));
            }
            (Step::Start { dbid, .. } | Step::StartBeside { dbid }, Came::Pid(pid)) => {
                self.started.insert(*dbid, Ok(pid));
            }
            (Step::Start { dbid, .. } | Step::StartBeside { dbid }, Came::Failed(cause)) => {
                self.started.insert(*dbid, Err(cause));
            }
            (Step::Start { dbid, .. } | Step::StartBeside { dbid }, Came::Gone(cause)) => {
                self.gone.push(*dbid);
                self.started.insert(*dbid, Err(cause));
            }
            (Step::Prepare { .. } | Step::MakeBeside { .. }, Came::Fine) => self.prepared = true,
            // What is left there is in nobody's way, and the next restore begins with its removal.
            (Step::DropBeside { .. }, _) => self.dropped = true,
            (Step::PutInPlace { dbid }, Came::Fine) => {
                self.in_place = true;
                self.started.remove(dbid);
            }
            (Step::PutInPlace { .. }, _) => self.naming_tries += 1,
            // Until the row speaks of the new copy the pair can go back to what it had.
            (Step::MakeBeside { .. } | Step::Fill { .. } | Step::Change { .. }, Came::Failed(cause))
                if self.copy.is_some() && self.stage == Stage::Starting =>
            {
                self.started.clear();
                self.put_back = Some(Ended::Failed { cause: format!("{}: {cause}; it is as it was", step.words()) });
            }
            (Step::Drain { .. }, Came::Fine) => self.drained = true,
            (Step::Drain { .. }, Came::Failed(cause)) => {
                self.undrained = Some(format!("{}: {cause}", step.words()));
            }
            (Step::Fill { .. }, Came::Fine) => self.filled = true,
            (Step::DropOld { .. } | Step::DropFormer { .. }, Came::Fine) => self.dropped = true,
            // The pair is in sync: what is left there is nobody's, and is told.
            (Step::DropFormer { .. }, Came::Failed(cause)) => self.left = Some(cause),
            (Step::Verify { .. }, _) => self.asked = Some(WaitFor::VerificationToBegin),
            (Step::EndVerify { .. }, _) => self.asked = Some(WaitFor::VerificationToEnd),
            (Step::Judge { .. }, _) => self.asked = Some(WaitFor::Judgement),
            (Step::Stop { dbid, .. }, _) => self.asked_to_stop.push(*dbid),
            (Step::Change { transition, .. }, Came::Changed(epoch)) if transition.rule.raises => {
                self.granted = Some(epoch);
            }
            (Step::Prepare { .. } | Step::DropOld { .. }, Came::Failed(cause))
            | (Step::Change { .. }, Came::Failed(cause)) => {
                self.fail(format!("{}: {cause}", step.words()));
            }
            _ => {}
        }
    }

    fn end(&mut self, ended: Ended) -> Step {
        self.ended = Some(ended);
        Step::Ended
    }
    fn done(&mut self, how: &str, note: String) -> Step {
        self.end(Ended::Done { how: how.into(), note })
    }
    fn refuse(&mut self, why: Why, cause: String) -> Step {
        self.end(Ended::Refused { why, cause })
    }
    fn fail(&mut self, cause: String) -> Step {
        self.end(Ended::Failed { cause })
    }

    /// Waits, or says that the limit has passed.
    fn wait(&mut self, what: WaitFor, facts: &Facts) -> Result<Step, ()> {
        let since = match self.waiting {
            Some((same, since)) if same == what => since,
            _ => facts.now_ms,
        };
        self.waiting = Some((what, since));
        match what.limit_ms() {
            Some(limit) if facts.now_ms.saturating_sub(since) >= limit => Err(()),
            _ => Ok(Step::Wait(what)),
        }
    }

    fn wait_for_host(&mut self, dbid: Dbid, facts: &Facts) -> Step {
        match self.wait(WaitFor::HostToAnswer, facts) {
            Ok(step) => step,
            Err(()) => self.refuse(Why::HostDown, format!("the host of dbid {dbid} does not answer")),
        }
    }

    fn wait_for_primary(&mut self, facts: &Facts) -> Step {
        let primary = facts.row.primary.dbid;
        let nobody = facts.member(primary).report.filter(|r| r.phase == Phase::Nobody);
        let because = nobody.and_then(|r| unfit(&facts.row, facts.serving_copy, &r));
        if let Some(because) = because.filter(|_| facts.row.pairing() != Some(Pairing::Synchronized)) {
            return self.refuse(Why::DoubleFault, format!("acting primary dbid {primary} may not serve: {because}"));
        }
        match self.wait(WaitFor::PrimaryToServe, facts) {
            Ok(step) => step,
            Err(()) => {
                let started = match self.started.get(&primary) {
                    Some(Err(cause)) => format!(": {cause}"),
                    _ => String::new(),
                };
                self.refuse(Why::DoubleFault, format!("acting primary dbid {primary} does not serve{started}"))
            }
        }
    }
}
