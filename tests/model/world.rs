//! The state: two data directories with their processes, the catalog, and what is in flight.

use crate::disk::Disk;
use segsh::core::format::{Meta, TrackMap};
use segsh::core::frame::Frame;
use segsh::core::ids::{Content, CopyId, Dbid, Epoch};
use segsh::core::pair::binding::Binding;
use segsh::core::pair::replica::{Applier, LinkId, Replica, Surroundings, Ticket};
use segsh::core::report::{CopyState, Order, PeerAddress, Phase, Report, Soundness};
use segsh::core::row::{Member, Mode, PairRow, Status};
use segsh::core::track::DirtyMap;
use std::collections::VecDeque;
use std::sync::Arc;

/// How much may happen.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    pub commits: u8,
    pub checkpoints: u8,
    /// Processes killed, or computers that lose their power.
    pub crashes: u8,
    /// Links that end with both processes alive.
    pub cuts: u8,
    /// Living primaries that the coordinator cannot reach.
    pub suspicions: u8,
    /// Restarts of the coordinator.
    pub restarts: u8,
    /// Mirrors whose directory is replaced by an older state of it.
    pub restores: u8,
    /// How often the row's epoch may rise.
    pub epochs: u64,
}

/// How much of it has happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Happened {
    pub commits: u8,
    pub checkpoints: u8,
    pub crashes: u8,
    pub cuts: u8,
    pub suspicions: u8,
    pub restarts: u8,
    pub restores: u8,
}

/// The whole world.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct World {
    /// The catalog, durable: the row, and beside it the copy that served last.
    pub row: PairRow,
    pub serving_copy: Option<CopyId>,
    /// The coordinator's memory: a change that is decided and not yet written, and the process that was
    /// nobody and for which a restart is granted.
    pub decided: Option<Decided>,
    pub granted: Option<(usize, u8)>,
    pub nodes: [Arc<Node>; 2],
    pub links: Vec<Connection>,
    /// The commits whose clients were told so.
    pub acknowledged: u8,
    pub happened: Happened,
    /// Somebody applied a frame who may not.
    pub foreign_write: bool,
    /// An epoch fell, in the catalog or in a record.
    pub epoch_fell: bool,
}

/// A change of the row on its way into the catalog.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Decided {
    pub before: PairRow,
    pub after: PairRow,
    pub grants: Option<(usize, u8)>,
    pub serving_copy: Option<CopyId>,
}

/// A data directory and the processes on it: one at most, unless R7 is dropped.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Node {
    pub disk: Disk,
    pub processes: Vec<Process>,
    pub last_pid: u8,
}

/// A segment process.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Process {
    pub pid: u8,
    pub replica: Replica,
    pub job: Job,
    /// Commits whose frames are in the log's file and that no round has taken up. Everybody sees them.
    pub noted: u8,
    /// Everything in the log is in `main.db`: SQLite's next frame goes to the log's beginning.
    pub backfilled: bool,
    /// Orders that were sent and not yet read.
    pub orders: VecDeque<PairRow>,
    /// The order that waits until nobody applies any more.
    pub joining: Option<PairRow>,
    /// Appliers begun and not joined.
    pub appliers: u8,
    /// The recovery whose connection is still to be made.
    pub dialing: Option<LinkId>,
}

/// What SQLite is doing: there is one writer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Job {
    Idle,
    /// A checkpoint still has to write these blocks.
    Backfilling([bool; crate::disk::BLOCKS]),
    Syncing {
        what: What,
        ticket: Ticket,
        stage: SyncStage,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum What {
    /// One round of group commit: the commits whose frames were written before its barrier.
    Commits(u8),
    Checkpoint,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SyncStage {
    Begun,
    /// The local file is synced, the map is not durable yet.
    MapDue,
    /// All that remains is the other side's answer.
    Here,
}

/// A connection that came for a link.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Connection {
    pub link: LinkId,
    pub epoch: Epoch,
    /// The primary's end: node and process. The mirror's is a process of the other node.
    pub primary: (usize, u8),
    pub mirror: u8,
    pub applier: Option<Applier>,
    /// The link has not taken its place yet.
    pub preparing: bool,
    pub to_mirror: VecDeque<Frame>,
    pub to_primary: VecDeque<Frame>,
    /// The network carries nothing any more; what it delivered before may still be read.
    pub cut: bool,
    pub primary_done: bool,
    pub mirror_done: bool,
}

pub fn dbid(node: usize) -> Dbid {
    Dbid(if node == 0 { 2 } else { 3 })
}

pub fn node_of(dbid: Dbid) -> usize {
    usize::from(dbid == Dbid(3))
}

/// The row as it is told to a node.
pub fn order(row: PairRow, node: usize) -> Order {
    let peer = PeerAddress { dbid: dbid(1 - node), address: String::new(), replication_port: 0 };
    Order { row, peer: Some(peer), full_copy: false, rate_bytes: None }
}

impl Process {
    pub fn new(pid: u8, meta: Meta) -> Process {
        Process {
            pid,
            replica: Replica::nobody(meta),
            job: Job::Idle,
            noted: 0,
            backfilled: false,
            orders: VecDeque::new(),
            joining: None,
            appliers: 0,
            dialing: None,
        }
    }

    pub fn report(&self) -> Report {
        self.replica.report(&Surroundings {
            pid: self.pid.into(),
            files_stand: true,
            data_bytes: 0,
            free_bytes: 0,
            sick: None,
        })
    }

    pub fn is_nobody(&self) -> bool {
        self.replica.phase() == Phase::Nobody
    }
}

impl Node {
    /// The process that the coordinator and the peer reach: the one that was started last.
    pub fn process(&self) -> Option<&Process> {
        self.processes.last()
    }

    pub fn by_pid(&self, pid: u8) -> Option<&Process> {
        self.processes.iter().find(|p| p.pid == pid)
    }

    pub fn start(&mut self) {
        self.last_pid += 1;
        self.processes.push(Process::new(self.last_pid, self.disk.meta.clone()));
    }
}

impl World {
    pub fn node_mut(&mut self, node: usize) -> &mut Node {
        Arc::make_mut(&mut self.nodes[node])
    }

    pub fn process_mut(&mut self, node: usize, pid: u8) -> Option<&mut Process> {
        self.node_mut(node).processes.iter_mut().find(|p| p.pid == pid)
    }

    /// The node that the row calls the primary.
    pub fn primary(&self) -> usize {
        node_of(self.row.primary.dbid)
    }

    /// Both directories, the first one's process stopped as the acting primary: `p,c,u / m,s,d`.
    pub fn stopped() -> World {
        let member = |node, mode, status| Member { dbid: dbid(node), mode, status };
        let row = PairRow {
            content: Content(0),
            epoch: Epoch(2),
            primary: member(0, Mode::ChangeTracking, Status::Up),
            mirror: Some(member(1, Mode::Synchronized, Status::Down)),
        };
        World {
            row,
            serving_copy: Some(copy(0).copy),
            decided: None,
            granted: None,
            nodes: [Arc::new(directory(0)), Arc::new(directory(1))],
            links: Vec::new(),
            acknowledged: 0,
            happened: Happened::default(),
            foreign_write: false,
            epoch_fell: false,
        }
    }
}

fn copy(node: usize) -> CopyState {
    CopyState { copy: CopyId(node as u128 + 1), generation: Epoch(1) }
}

/// A copy that was in sync in epoch 1.
pub fn directory(node: usize) -> Node {
    let peer = copy(1 - node);
    let meta = Meta {
        cluster_id: String::new(),
        dbid: dbid(node),
        content: Content(0),
        copy: copy(node).copy,
        generation: Epoch(1),
        peer: Some(peer),
        epoch: Epoch(1),
        consistent: true,
        soundness: Soundness::Sound,
        acted: Epoch::default(),
        written_outside_checkpoint: false,
        stamps: Vec::new(),
        touched: Vec::new(),
    };
    let map = Some(TrackMap { binding: Binding::to(peer), written_in: Epoch(1), dirty: DirtyMap::default() });
    let (now, durable) = Default::default();
    Node { disk: Disk { now, durable, meta, map }, processes: Vec::new(), last_pid: 0 }
}
