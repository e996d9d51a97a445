//! The coordinator: the production judge on what it is shown, and the row by compare-and-set.
//!
//! What a segment reports is looked at in the moment of the judgement. It grows old while the decision
//! waits to be written: anything may happen in between.

use crate::pair::{Dropped, Pair};
use crate::world::{Decided, World, dbid, node_of};
use segsh::core::fts::{Change, Decision, Event, Failure, Fts, Patience};
use segsh::core::report::{Phase, Report};
use segsh::core::row::{Mode, PairRow, Pairing, Role, Status};
use segsh::core::transition::{self, Event as Happening};

/// Orders that may be on their way to one process.
const ORDERS_IN_FLIGHT: usize = 2;

/// One failed attempt is proof enough here: how many it takes is a matter of time.
const PATIENCE: Patience = Patience { timeout_ms: 1000, retries: 1, tick_ms: 100 };

impl Pair {
    fn report(&self, w: &World, node: usize) -> Option<Report> {
        w.nodes[node].process().map(|p| p.report())
    }

    /// What the judge makes of these observations, one after the other.
    fn judge(&self, w: &World, seen: Vec<Event>) -> Option<Change> {
        let mut fts = Fts::new(w.row, PATIENCE).knowing(w.serving_copy, None);
        let events = std::iter::once(Event::Release).chain(seen);
        events.zip(0..).find_map(|(event, now_ms)| {
            fts.step(now_ms, event).into_iter().find_map(|decision| match decision {
                Decision::Change(change) => Some(*change),
                _ => None,
            })
        })
    }

    fn decide(&self, w: &mut World, change: Change) -> bool {
        let after = change.transition.after;
        if !self.is_within(&after) {
            return false;
        }
        let server = node_of(after.primary.dbid);
        let nobody = w.nodes[server].process().filter(|p| p.is_nobody());
        let grants = if change.transition.changes_server() { nobody.map(|p| (server, p.pid)) } else { w.granted };
        let before = change.transition.before;
        w.decided = Some(Decided { before, after, grants, serving_copy: change.serving_copy });
        true
    }

    fn mirror_seen(&self, w: &World) -> Event {
        let node = 1 - w.primary();
        match self.report(w, node) {
            Some(report) => Event::Heard(Box::new(report)),
            None => Event::Failed { dbid: dbid(node), failure: Failure::Refused, why: String::new() },
        }
    }

    /// The primary answers.
    pub fn judge_answers(&self, w: &mut World) -> bool {
        let Some(report) = self.report(w, w.primary()) else { return false };
        let claims = report.phase == Phase::InSync && w.row.pairing() == Some(Pairing::Resynchronizing);
        let is_nobody = report.phase == Phase::Nobody;
        let is_granted = w.granted == w.nodes[w.primary()].process().map(|p| (w.primary(), p.pid));
        let is_news = claims || is_nobody && !is_granted || report.mirror_lost.is_some() || report.sick.is_some();
        if !is_news {
            return false;
        }
        let seen = vec![Event::Heard(Box::new(report)), self.mirror_seen(w)];
        self.judge(w, seen).is_some_and(|change| self.decide(w, change))
    }

    /// The primary does not answer: because it is gone, or because the coordinator can't reach it.
    pub fn judge_primary_failing(&self, w: &mut World) -> bool {
        let node = w.primary();
        let lives = w.nodes[node].process().is_some();
        if lives && w.happened.suspicions >= self.bounds.suspicions {
            return false;
        }
        let copying = w.row.pairing() == Some(Pairing::Resynchronizing);
        let decided = match w.row.pairing() {
            Some(Pairing::Resynchronizing) if copying && self.drops(Dropped::PromotedWhileCopying) => {
                self.promote_while_copying(w)
            }
            Some(Pairing::Synchronized) => {
                let failed = Event::Failed { dbid: dbid(node), failure: Failure::Refused, why: String::new() };
                let seen = vec![failed, self.as_ready(w, self.mirror_seen(w))];
                self.judge(w, seen).is_some_and(|change| self.decide(w, change))
            }
            _ => false,
        };
        w.happened.suspicions += u8::from(decided && lives);
        decided
    }

    /// R4 dropped: any mirror that answers is taken for a ready one.
    fn as_ready(&self, w: &World, mut seen: Event) -> Event {
        if let (true, Event::Heard(report)) = (self.drops(Dropped::PromotedUnready), &mut seen) {
            report.ready = true;
            report.copy.generation = w.row.epoch;
        }
        seen
    }

    /// R4 dropped: the row is treated as if it said `s`.
    fn promote_while_copying(&self, w: &mut World) -> bool {
        let mut row = w.row;
        row.primary.mode = Mode::Synchronized;
        row.mirror.iter_mut().for_each(|mirror| mirror.mode = Mode::Synchronized);
        let Some(promotion) = transition::apply(&row, Happening::PrimaryLost) else { return false };
        let serving_copy = self.report(w, 1 - w.primary()).map(|report| report.copy.copy);
        w.decided = Some(Decided { before: w.row, after: promotion.after, grants: None, serving_copy });
        true
    }

    /// By compare-and-set on the whole row.
    pub fn write_row(&self, w: &mut World) -> bool {
        let Some(decided) = w.decided.take() else { return false };
        if w.row == decided.before {
            self.set_row(w, decided.after);
            w.serving_copy = decided.serving_copy.or(w.serving_copy);
            w.granted = decided.grants;
        }
        true
    }

    fn set_row(&self, w: &mut World, row: PairRow) {
        w.epoch_fell |= row.epoch < w.row.epoch;
        w.row = row;
    }

    /// As the operation: the mirror's process is started and is nobody, the primary serves under this row.
    pub fn begin_recovery(&self, w: &mut World) -> bool {
        let (Some(primary), Some(mirror)) = (self.report(w, w.primary()), self.report(w, 1 - w.primary())) else {
            return false;
        };
        let serves = primary.phase == Phase::Tracking && primary.epoch == w.row.epoch && primary.sick.is_none();
        let is_bound = primary.map_bound_to.is_some_and(|bound| bound.copy == mirror.copy.copy);
        let is_possible = primary.map_unusable.is_none() && is_bound && mirror.phase == Phase::Nobody;
        let begins = transition::apply(&w.row, Happening::RecoveryBegins).filter(|_| serves && is_possible);
        begins.filter(|transition| self.is_within(&transition.after)).is_some_and(|transition| {
            self.set_row(w, transition.after);
            true
        })
    }

    /// As [`Fts::may_order`]: a process that is nobody is told only what was decided after it was seen.
    fn may_order(&self, w: &World, node: usize) -> bool {
        let Some(process) = w.nodes[node].process() else { return false };
        let standing = process.replica.standing();
        match (standing.phase, w.row.role_of(dbid(node))) {
            (_, None) => false,
            (Phase::Nobody, Some(Role::Primary)) => w.granted == Some((node, process.pid)),
            (Phase::Nobody, Some(Role::Mirror)) => {
                w.row.pairing() == Some(Pairing::Resynchronizing) && w.row.epoch > standing.epoch
            }
            (_, Some(_)) => true,
        }
    }

    pub fn send_order(&self, w: &mut World, node: usize) -> bool {
        let row = match &w.decided {
            None if self.may_order(w, node) => w.row,
            Some(decided) if self.drops(Dropped::OrderBeforeRow) => decided.after,
            _ => return false,
        };
        let keeps_old = self.drops(Dropped::LowerEpochObeyed);
        let Some(pid) = w.nodes[node].process().map(|p| p.pid) else { return false };
        let Some(process) = w.process_mut(node, pid) else { return false };
        if process.orders.contains(&row) || !(keeps_old || Pair::heeds(process, node, row)) {
            return false;
        }
        if process.orders.len() == ORDERS_IN_FLIGHT {
            process.orders.pop_front();
        }
        process.orders.push_back(row);
        true
    }

    pub fn restart_coordinator(&self, w: &mut World) -> bool {
        w.happened.restarts += 1;
        w.decided = None;
        w.granted = None;
        true
    }

    /// A row that grants what it says to nobody but this process: for worlds to start from.
    pub fn grant(w: &mut World, node: usize) {
        debug_assert!(w.row.mirror.is_none_or(|mirror| mirror.status == Status::Down));
        w.granted = w.nodes[node].process().map(|p| (node, p.pid));
    }
}
