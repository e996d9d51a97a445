//! What can happen.

/// One step of the world. A node is 0 or 1, a connection its place in the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    // Clients and SQLite.
    Log {
        node: usize,
        pid: u8,
    },
    BeginCheckpoint {
        node: usize,
        pid: u8,
    },
    Backfill {
        node: usize,
        pid: u8,
    },
    BeginSync {
        node: usize,
        pid: u8,
    },
    SyncHere {
        node: usize,
        pid: u8,
    },
    SaveMap {
        node: usize,
        pid: u8,
    },
    EndSync {
        node: usize,
        pid: u8,
    },
    // The link.
    Dial {
        node: usize,
        pid: u8,
    },
    Send {
        link: usize,
    },
    Apply {
        link: usize,
        dies: Dies,
    },
    Hear {
        link: usize,
    },
    Work {
        link: usize,
        dies: Dies,
    },
    PrimarySeesEnd {
        link: usize,
    },
    MirrorSeesEnd {
        link: usize,
    },
    Cut {
        link: usize,
    },
    /// What the network carried is lost, and neither side notices: only when R6 is dropped.
    Flap {
        link: usize,
    },
    // The coordinator.
    JudgeAnswers,
    JudgePrimaryFailing,
    WriteRow,
    BeginRecovery,
    SendOrder {
        node: usize,
    },
    Obey {
        node: usize,
        pid: u8,
        order: usize,
        dies: Dies,
    },
    Join {
        node: usize,
        pid: u8,
        dies: Dies,
    },
    RestartCoordinator,
    // Processes.
    Kill {
        node: usize,
    },
    LosePower {
        node: usize,
    },
    Start {
        node: usize,
    },
    /// The recovery's operation ends a mirror's former process and starts another.
    Replace {
        node: usize,
    },
    /// The mirror's directory becomes what it once was.
    Restore {
        node: usize,
    },
}

/// After how many effects on the disk the power fails; `None`: it does not.
pub type Dies = Option<usize>;
