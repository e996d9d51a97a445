//! What faults are aimed at: moments in the life of a pair, and sequences of them with an end in view.
//!
//! A fault that comes at any time mostly finds a pair that is idle. So most are aimed at a moment in which
//! something is under way, and some worlds try the same sequence again and again: a second fault within
//! the recovery from the first, a death right after the last trace of something is gone. Each is something
//! that can happen; they only happen here more often than elsewhere.

use crate::process::{Process, Task};
use crate::sessions::Op;
use segsh::core::report::Phase;
use std::collections::VecDeque;

/// The moment that a fault is aimed at, in the life of the acting primary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    Now,
    /// Pages are copied from the log to main.db, and sent.
    Checkpoint,
    /// The same while there is no link.
    CheckpointAlone,
    /// The link carries a copy, and a checkpoint has written its pages and waits for the mirror.
    CheckpointInCopy,
    /// The log was just emptied, so that it names nothing any more, and there is no link.
    EmptiedAlone,
    /// The same while the link carries a copy that is not complete, by a checkpoint that began before it.
    EmptiedInCopy,
    /// The connection to the mirror stands, and the link has not taken its place.
    Preparing,
    /// A checkpoint writes pages meanwhile.
    CheckpointInPreparation,
    /// A commit waits for the mirror.
    Commit,
    /// Blocks are copied.
    Copy,
    /// The claim has just been made.
    Claim,
    /// The mirror is lost, and tracking is not granted yet.
    Suspended,
    /// The row names it, and it is a mirror still.
    Chosen,
    /// SQLite has just been opened.
    Opened,
}

impl When {
    pub const ALL: &'static [When] = &[
        When::Now,
        When::Checkpoint,
        When::CheckpointAlone,
        When::CheckpointInCopy,
        When::EmptiedAlone,
        When::EmptiedInCopy,
        When::Preparing,
        When::CheckpointInPreparation,
        When::Commit,
        When::Copy,
        When::Claim,
        When::Suspended,
        When::Chosen,
        When::Opened,
    ];

    /// Whether it lasts, so that it need not be its very beginning.
    pub fn lasts(self) -> bool {
        matches!(self, When::Checkpoint | When::CheckpointAlone | When::Copy)
    }

    /// Whether it is now: the acting primary has just made a step of this task.
    pub fn is_now(self, process: Option<&Process>, task: Option<Task>) -> bool {
        let Some(process) = process else { return self == When::Now };
        let phase = process.phase();
        let is_linked = process.replica.acting().is_ok_and(|acting| acting.link().is_some());
        let is_copying = phase == Phase::Resynchronizing && is_linked;
        let is_preparing = phase == Phase::Resynchronizing
            && !is_linked
            && process.replica.open_link_id().is_some_and(|link| process.carried_by.contains_key(&link.0));
        let is_checkpointing = process.unsettled_pages > 0;
        let waits = |ops: &VecDeque<Op>| matches!(ops.front(), Some(Op::SyncThere(_)));
        match self {
            When::Now => true,
            When::Checkpoint => is_checkpointing && is_linked,
            When::CheckpointAlone => is_checkpointing && phase == Phase::Tracking,
            When::CheckpointInCopy => is_checkpointing && is_copying && waits(&process.checkpointer),
            When::EmptiedAlone => process.emptied && phase == Phase::Tracking,
            When::EmptiedInCopy => process.emptied && is_copying && process.straddles && process.marks() > 0,
            When::Preparing => is_preparing,
            When::CheckpointInPreparation => is_checkpointing && is_preparing,
            When::Commit => phase == Phase::InSync && waits(&process.group.ops),
            When::Copy => is_copying,
            When::Claim => phase == Phase::InSync && task.is_some_and(|t| matches!(t, Task::Resync(_))),
            When::Suspended => phase == Phase::Suspended,
            When::Chosen => phase == Phase::Mirror,
            When::Opened => task == Some(Task::Open),
        }
    }
}

/// A fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The process is killed.
    Kill,
    /// The process dies at one of its next durable effects.
    Crash,
    /// So does the host's power.
    CrashOfPower,
    /// The host's power fails now.
    Power,
    /// One of the four above.
    Death,
    /// The coordinator dies.
    Coordinator,
    /// The coordinator dies at a write to its catalog.
    CoordinatorAtWrite,
    /// Every link is reset in the middle.
    Reset,
    /// Nothing passes between the two hosts.
    Silence,
    /// What the mirror answers is held up, on the connection that there is.
    Stuck,
    /// What was held up arrives.
    Release,
    /// Nothing passes between the coordinator and the host.
    Unreachable,
    /// The disk is full, or has room again; it fails; it hangs.
    Disk,
    /// The process stands still.
    Pause,
    /// The whole machine does, and its network wakes after it.
    Halt,
    /// The network becomes slower, or faster.
    Slow,
    /// The process dies soon after the next order that it obeys.
    CrashAfterOrder,
}

impl Kind {
    /// Those that a world draws from; the others are made of them.
    pub const ALL: &'static [Kind] = &[
        Kind::Kill,
        Kind::Crash,
        Kind::CrashOfPower,
        Kind::Power,
        Kind::Coordinator,
        Kind::CoordinatorAtWrite,
        Kind::Reset,
        Kind::Silence,
        Kind::Stuck,
        Kind::Release,
        Kind::Unreachable,
        Kind::Disk,
        Kind::Pause,
        Kind::Halt,
        Kind::Slow,
        Kind::CrashAfterOrder,
    ];
}

/// Whom it strikes, by the row at that moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whom {
    Acting,
    Mirror,
}

/// A fault that waits for its moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Aim {
    pub when: When,
    pub kind: Kind,
    pub whom: Whom,
}

const fn aim(when: When, kind: Kind, whom: Whom) -> Aim {
    Aim { when, kind, whom }
}

/// The first so many of these have to do with what a log does not name any more, the next so many with
/// what nobody has written out of it again, and then with what a mirror has not done yet.
pub const OF_FORGETFUL_WORLDS: usize = 3;
pub const OF_SLEEPY_WORLDS: usize = 1;
pub const OF_PRESSING_WORLDS: usize = 1;

/// Sequences of faults, each aimed at its moment once those before it have come.
pub const SCHEMES: &[&[Aim]] = {
    use Kind::{Death, Halt, Kill, Pause, Power, Release, Reset, Stuck, Unreachable};
    use When::{
        Checkpoint, CheckpointAlone, CheckpointInCopy, CheckpointInPreparation, Chosen, Claim, Commit, Copy,
        EmptiedAlone, EmptiedInCopy, Now, Preparing, Suspended,
    };
    use Whom::{Acting, Mirror};
    &[
        // Pages that a checkpoint sends during a copy are lost with the link; then the log that names them
        // is emptied, and whoever knows of them dies.
        &[aim(Now, Reset, Mirror), aim(CheckpointInCopy, Reset, Mirror), aim(EmptiedAlone, Kill, Acting)],
        // A recovery begins amid a checkpoint, which then empties the log that names what it wrote.
        &[
            aim(Now, Reset, Mirror),
            aim(Preparing, Stuck, Mirror),
            aim(CheckpointInPreparation, Release, Mirror),
            aim(EmptiedInCopy, Kill, Acting),
        ],
        // A primary that serves alone dies amid a checkpoint: only its log knows which pages it wrote.
        &[aim(Now, Death, Mirror), aim(CheckpointAlone, Death, Acting)],
        // A primary in sync dies amid a checkpoint, and comes back as the mirror.
        &[aim(Checkpoint, Kill, Acting)],
        // A primary that nobody reaches goes on, and its mirror takes over amid its writes.
        &[aim(Commit, Unreachable, Acting), aim(Chosen, Pause, Acting)],
        // A machine that stood still wakes up after its mirror took over, and does not hear of it yet.
        &[aim(Now, Halt, Acting)],
        // What a mirror answered comes late, when there is another link.
        &[aim(Commit, Stuck, Mirror), aim(Claim, Release, Mirror)],
        // The link ends amid a commit, and nobody hears the primary say so.
        &[aim(Commit, Reset, Mirror), aim(Suspended, Unreachable, Acting)],
        // Two deaths within one recovery.
        &[aim(Now, Death, Mirror), aim(Copy, Death, Mirror), aim(Copy, Death, Acting)],
        // A mirror dies between its answer and the row that says so; then the primary.
        &[aim(Now, Reset, Mirror), aim(Claim, Death, Mirror), aim(Suspended, Death, Acting)],
        // Both lose their power.
        &[aim(Commit, Power, Acting), aim(Now, Power, Mirror)],
    ]
};
