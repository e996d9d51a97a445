//! The coordinator: a durable catalog, the fault tolerance service over it, one operation at a time.
//!
//! The catalog survives; the process dies anywhere and begins again. What is decided by the core is
//! carried out in the order of the prober's loop: the row is durable before anybody hears of it.

use segsh::core::fts::{Decision, Event, Fts, Patience};
use segsh::core::ids::{Content, CopyId, Dbid, Epoch};
use segsh::core::operation::{Goal, GoalKind, Stage, Step, Target};
use segsh::core::report::{MirrorLoss, Order, PeerAddress, Report};
use segsh::core::row::{Member, Mode, PairRow, Status};
use segsh::core::transition::{self, Effect, Transition};

pub const CONTENT: Content = Content(0);

pub fn dbid(side: usize) -> Dbid {
    Dbid(side as i64 + 2)
}

pub fn side(dbid: Dbid) -> usize {
    (dbid.0 - 2) as usize
}

/// What is durable: the row, and what is kept beside it.
#[derive(Debug, Clone)]
pub struct Catalog {
    pub row: PairRow,
    pub full_copy: bool,
    pub must_copy_all: bool,
    pub serving_copy: Option<CopyId>,
    pub quarantine: Option<String>,
    /// The operation that has not ended, as its goal was last written down.
    pub active: Option<String>,
}

impl Catalog {
    pub fn new() -> Catalog {
        let member = |side| Member { dbid: dbid(side), mode: Mode::Synchronized, status: Status::Up };
        let row = PairRow { content: CONTENT, epoch: Epoch(1), primary: member(0), mirror: Some(member(1)) };
        Catalog { row, full_copy: false, must_copy_all: false, serving_copy: None, quarantine: None, active: None }
    }

    /// The compare-and-set of the row, with what is written beside it.
    pub fn change(&mut self, t: &Transition, recover: Option<Dbid>, full: bool, serving: Option<CopyId>) -> bool {
        if self.row != t.before {
            return false;
        }
        self.row = t.after;
        self.serving_copy = serving.or(self.serving_copy);
        match t.event {
            transition::Event::RecoveryBegins => self.full_copy = full,
            transition::Event::FullCopyBegins => self.must_copy_all = true,
            _ => {}
        }
        if t.rule.effect == Effect::Synchronize {
            (self.full_copy, self.must_copy_all) = (false, false);
        }
        if let (Some(dbid), None) = (recover, &self.active) {
            let kind = GoalKind::Recover { full: false, in_place: false, rate_bytes: None };
            self.write_goal(&Goal::new(kind, vec![Target::new(CONTENT, dbid)]));
        }
        true
    }

    /// A goal is kept as its text, which is all that a new coordinator has of it.
    pub fn write_goal(&mut self, goal: &Goal) {
        self.active = Some(serde_json::to_string(goal).expect("a goal is plain"));
    }

    pub fn goal(&self) -> Option<Goal> {
        self.active.as_deref().map(|text| serde_json::from_str(text).expect("what was written is read"))
    }
}

/// What the coordinator knows of one segment's connection.
#[derive(Debug, Clone, Default)]
pub struct Control {
    /// The process it is connected to.
    pub pid: Option<u32>,
    /// Rises with each connection: what belongs to an older one is not heard.
    pub number: u64,
    pub order: Option<Order>,
    pub deadline: Option<u64>,
    pub next_probe: u64,
    /// Nothing overtakes on a connection.
    pub last_sent: u64,
    pub report: Option<Report>,
    pub heard: Option<u64>,
    pub failing: bool,
    pub silent: Option<bool>,
    pub lost: Option<(Epoch, MirrorLoss)>,
}

/// One operation being driven.
#[derive(Debug)]
pub struct Driver {
    pub goal: Goal,
    pub target: Target,
    /// A step that takes its time, and when it is done.
    pub doing: Option<(Step, u64)>,
    pub began: u64,
    pub drained: Option<Result<(), String>>,
}

/// The coordinator's process.
#[derive(Debug)]
pub struct Coordinator {
    pub number: u32,
    pub started: u64,
    pub fts: Fts,
    pub controls: [Control; 2],
    pub driver: Option<Driver>,
    pub all_silent: bool,
}

impl Coordinator {
    pub fn new(number: u32, now: u64, catalog: &Catalog) -> Coordinator {
        let fts = Fts::new(catalog.row, Patience::default()).knowing(catalog.serving_copy, catalog.quarantine.clone());
        let mut coordinator =
            Coordinator { number, started: now, fts, controls: Default::default(), driver: None, all_silent: false };
        coordinator.pick_up(now, catalog);
        coordinator
    }

    pub fn ms(&self, now: u64) -> u64 {
        (now - self.started) / 1000
    }

    /// Goes on with the goal that the catalog holds.
    pub fn pick_up(&mut self, now: u64, catalog: &Catalog) {
        if self.driver.is_some() {
            return;
        }
        let Some(goal) = catalog.goal() else { return };
        let target = goal.targets[0].clone();
        if matches!(target.stage, Stage::Stopping | Stage::Starting) {
            let held = self.fts.step(self.ms(now), Event::Hold(true));
            debug_assert!(held.iter().all(|d| !matches!(d, Decision::Change(_))), "a cold service decides nothing");
        }
        self.driver = Some(Driver { goal, target, doing: None, began: now, drained: None });
    }

    /// What a member is to be told now.
    pub fn order_for(&self, member: usize, catalog: &Catalog) -> Option<Order> {
        let row = *self.fts.row();
        let peer = row.peer_of(dbid(member)).map(|peer| PeerAddress {
            dbid: peer,
            address: "peer".into(),
            replication_port: 1,
        });
        let full_copy = catalog.full_copy;
        self.fts.may_order(dbid(member)).then_some(Order { row, peer, full_copy, rate_bytes: None })
    }
}
