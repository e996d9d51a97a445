//! The fault tolerance service of one content: what was seen in, decisions out.
//!
//! [`Fts::step`] is given everything that is seen (answers, pushed reports, failed attempts, ticks)
//! with the time on a monotonic clock, and returns what is to be done about it. It never changes the
//! row itself: a [`Decision::Change`] is carried out by compare-and-set, and the row that stands
//! afterwards comes back as [`Event::Row`]. Until it does, nothing more is decided.

mod decide;
mod fitness;
mod witness;

#[cfg(test)]
mod tests;

use super::ids::{CopyId, Dbid, Epoch};
use super::report::{Phase, Report};
use super::row::{PairRow, Pairing, Role};
use super::transition::{self, Transition};
pub use fitness::unfit;
use std::collections::{BTreeMap, VecDeque};
pub use witness::{Failure, Witness};

/// How patient the service is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// `gp_fts_probe_timeout`: how long one attempt may take.
    pub timeout_ms: u64,
    /// `gp_fts_probe_retries`: how many attempts fail, back to back, before a silent segment is lost.
    pub retries: u32,
    /// The pace of [`Event::Tick`].
    pub tick_ms: u64,
}

impl Default for Patience {
    fn default() -> Self {
        Patience { timeout_ms: 1000, retries: 3, tick_ms: 100 }
    }
}

/// What the service is told.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The catalog's row, after a change or a refused one.
    Row(PairRow),
    /// What the catalog keeps beside the row, after an operation changed it: the copy that served last, and
    /// why the content is quarantined.
    Beside { serving_copy: Option<CopyId>, quarantined: Option<String> },
    /// The catalog could not be written, so the row is what it was.
    NotWritten,
    /// A segment answered, or pushed its report.
    Heard(Box<Report>),
    /// An attempt to reach a segment failed.
    Failed { dbid: Dbid, failure: Failure, why: String },
    /// The primary was drained on request and exits: both copies are synced.
    Drained(Dbid),
    /// Whether every host of the cluster is silent at this moment.
    AllSilent(bool),
    /// An operation stops or starts this content's segments: nothing is to be decided meanwhile.
    Hold(bool),
    /// The segments have been started: decide from here on, on fresh witnesses only.
    Release,
    /// A segment was moved: whatever was seen of it, was seen at another place, of another process.
    Moved(Dbid),
    /// Promote nobody until then; it expires by itself. `None` ends it. What keeps a content writing
    /// goes on: the grant of tracking, the claim, the grant to a primary that came back, and a switch
    /// that was asked for.
    Pause { until_ms: Option<u64> },
    /// New settings.
    Patience(Patience),
    /// Time passes.
    Tick,
}

/// A change of the row, with everything that is written beside it.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    pub transition: Transition,
    /// Why, in a sentence.
    pub reason: String,
    /// What was seen, with ages.
    pub evidence: Vec<String>,
    /// The segment to recover at once: a goal that is written with the row.
    pub recover: Option<Dbid>,
    /// The copy that serves from here on, when that is known: kept beside the row.
    pub serving_copy: Option<CopyId>,
}

/// What a decided change means once its row stands.
#[derive(Debug, Clone)]
struct Pending {
    after: PairRow,
    /// [`Fts::granted`] from then on.
    grants: Option<(Dbid, u32)>,
    serving_copy: Option<CopyId>,
}

/// What the service wants done.
#[derive(Debug, Clone, PartialEq)]
pub enum Decision {
    /// Change the row by compare-and-set, then answer with [`Event::Row`] or [`Event::NotWritten`].
    Change(Box<Change>),
    /// Ask this segment now.
    Ask(Dbid),
    /// Decide nothing for this content until a person has looked.
    Quarantine { reason: String, evidence: Vec<String> },
    /// No member can serve. Said once for each time it happens.
    DoubleFault { reason: String, evidence: Vec<String> },
    /// Worth recording, and nothing is decided.
    Say(String),
}

/// How many observations are kept for `why(...)`.
const REMEMBERED: usize = 64;

/// How far back what was seen is kept with a decision, in milliseconds, and how many observations.
const ROUNDS_KEPT_MS: u64 = 15_000;
const ROUNDS_KEPT: usize = 24;

/// How long nothing is decided after the catalog could not be written; then on fresh witnesses.
const NOT_WRITTEN_PAUSE_MS: u64 = 1000;

/// The service of one content.
#[derive(Debug, Clone)]
pub struct Fts {
    row: PairRow,
    /// When the row was first seen as it is.
    row_since_ms: u64,
    patience: Patience,
    witnesses: BTreeMap<Dbid, Witness>,
    /// Cold: no segment of this content was seen in a role since the coordinator started.
    cold: bool,
    held: bool,
    paused_until_ms: Option<u64>,
    /// A change could not be written: nothing is decided until then.
    not_written_until_ms: Option<u64>,
    all_silent: bool,
    said_silent: bool,
    /// The failover that a pause withholds was said.
    said_withheld: bool,
    said_double_fault: bool,
    quarantined: Option<String>,
    /// A change is under way: its row has not come back yet.
    pending: Option<Pending>,
    /// The copy that served last, as the catalog keeps it.
    serving_copy: Option<CopyId>,
    /// The process that was nobody and for which a restart has been granted.
    granted: Option<(Dbid, u32)>,
    /// The primary that was drained on request.
    drained: Option<Dbid>,
    /// Since when the primary reports its mirror lost, under this epoch.
    loss_since: Option<(Epoch, u64)>,
    asked_ms: Option<u64>,
    last_step_ms: Option<u64>,
    seen: VecDeque<(u64, String)>,
}

impl Fts {
    /// The service of a content whose row is this. It is cold until a segment is seen in a role, or
    /// until [`Event::Release`]: a cluster that is being started has no faults.
    pub fn new(row: PairRow, patience: Patience) -> Fts {
        Fts {
            row,
            row_since_ms: 0,
            patience,
            witnesses: BTreeMap::new(),
            cold: true,
            held: false,
            paused_until_ms: None,
            not_written_until_ms: None,
            all_silent: false,
            said_silent: false,
            said_withheld: false,
            said_double_fault: false,
            quarantined: None,
            pending: None,
            serving_copy: None,
            granted: None,
            drained: None,
            loss_since: None,
            asked_ms: None,
            last_step_ms: None,
            seen: VecDeque::new(),
        }
    }

    /// The same, with what the catalog keeps beside the row.
    pub fn knowing(self, serving_copy: Option<CopyId>, quarantined: Option<String>) -> Fts {
        Fts { serving_copy, quarantined, ..self }
    }

    /// The same, going on where a former coordinator ended: a double fault that is the content's last event
    /// is not said again.
    pub fn having_said(self, last_event: &str) -> Fts {
        Fts { said_double_fault: decide::says_unserved(last_event), ..self }
    }

    pub fn row(&self) -> &PairRow {
        &self.row
    }

    /// Why nothing is decided for this content; `None` when it is not quarantined.
    pub fn quarantine(&self) -> Option<&str> {
        self.quarantined.as_deref()
    }

    /// Whether the service decides at all: not cold, not held by an operation. A pause keeps it from
    /// promoting, and from nothing else.
    pub fn is_deciding(&self, now_ms: u64) -> bool {
        !self.cold && !self.held && !self.waits_for_catalog(now_ms)
    }

    /// Whether failovers wait for the end of a pause.
    pub fn is_paused(&self, now_ms: u64) -> bool {
        self.paused_until_ms.is_some_and(|until| now_ms < until)
    }

    fn waits_for_catalog(&self, now_ms: u64) -> bool {
        self.not_written_until_ms.is_some_and(|until| now_ms < until)
    }

    /// Whether something was seen that the next second or so will decide.
    pub fn is_undecided(&self, now_ms: u64) -> bool {
        if !self.is_deciding(now_ms) || self.quarantined.is_some() || self.said_double_fault || self.all_silent {
            return false;
        }
        // While paused nothing becomes of a primary that fails; whoever asks is not kept waiting for it.
        let failing = !self.is_paused(now_ms) && self.witness(self.row.primary.dbid).is_some_and(Witness::is_failing);
        self.pending.is_some() || failing || self.loss_since.is_some_and(|(epoch, _)| epoch == self.row.epoch)
    }

    /// Whether a later report of the same process was taken already: an answer and a pushed report may
    /// overtake each other, and the epoch that a process has obeyed never falls.
    pub fn is_overtaken(&self, report: &Report) -> bool {
        let last = self.witness(report.dbid).and_then(Witness::answer);
        last.is_some_and(|last| last.pid == report.pid && last.epoch > report.epoch)
    }

    /// Whether a segment may be sent the row. A process that is nobody is told only what was decided
    /// after it was seen: a grant to this very process, or a recovery under a later epoch (R5, R6).
    pub fn may_order(&self, dbid: Dbid) -> bool {
        if self.quarantined.is_some() || self.pending.is_some() {
            return false;
        }
        let Some(report) = self.witness(dbid).and_then(Witness::answer) else {
            return false;
        };
        match (report.phase, self.row.role_of(dbid)) {
            (_, None) => false,
            (Phase::Nobody, Some(Role::Primary)) => self.granted == Some((dbid, report.pid)),
            (Phase::Nobody, Some(Role::Mirror)) => {
                self.row.pairing() == Some(Pairing::Resynchronizing) && self.row.epoch > report.epoch
            }
            (_, Some(_)) => true,
        }
    }

    /// The observations of the last rounds, oldest first, with their times.
    pub fn observations(&self) -> impl Iterator<Item = &(u64, String)> {
        self.seen.iter()
    }

    /// What a decision is kept with: what is known of each member now, then what was seen in the last
    /// rounds, oldest first, with ages.
    pub fn grounds(&self, now_ms: u64) -> Vec<String> {
        let recent = self.seen.iter().filter(|(at, _)| now_ms.saturating_sub(*at) <= ROUNDS_KEPT_MS);
        let skipped = recent.clone().count().saturating_sub(ROUNDS_KEPT);
        let lines = recent.skip(skipped).map(|(at, text)| format!("{} ms ago: {text}", now_ms.saturating_sub(*at)));
        self.evidence(now_ms).into_iter().chain(lines).collect()
    }

    /// What is known of each member now, in words, with ages.
    pub fn evidence(&self, now_ms: u64) -> Vec<String> {
        let members = std::iter::once(&self.row.primary).chain(self.row.mirror.iter());
        members
            .map(|m| {
                let role = self.row.role_of(m.dbid).map_or("", |r| r.word());
                match self.witness(m.dbid) {
                    Some(w) => format!("{role} dbid {}: {}", m.dbid, w.describe(now_ms)),
                    None => format!("{role} dbid {}: never reached", m.dbid),
                }
            })
            .collect()
    }

    /// Takes one event at a time on a monotonic clock and decides.
    pub fn step(&mut self, now_ms: u64, event: Event) -> Vec<Decision> {
        let mut out = Vec::new();
        let late = self.notice_own_lateness(now_ms, &mut out);
        self.take(now_ms, event, late, &mut out);
        self.judge(now_ms, &mut out);
        out
    }

    fn unfit(&self, report: &Report) -> Option<String> {
        unfit(&self.row, self.serving_copy, report)
    }

    fn witness(&self, dbid: Dbid) -> Option<&Witness> {
        self.witnesses.get(&dbid)
    }

    /// A prober that was itself stopped or starved has no right to call others late: what it counted
    /// so far is void.
    fn notice_own_lateness(&mut self, now_ms: u64, out: &mut Vec<Decision>) -> bool {
        let allowed = self.patience.tick_ms + self.patience.timeout_ms / 2;
        let gap = self.last_step_ms.map_or(0, |last| now_ms.saturating_sub(last));
        self.last_step_ms = Some(now_ms);
        if gap <= allowed {
            return false;
        }
        if self.witnesses.values().any(Witness::is_failing) {
            let text = format!("the prober itself was late by {gap} ms: this round is void");
            self.remember(now_ms, text.clone());
            out.push(Decision::Say(text));
        }
        self.witnesses.values_mut().for_each(Witness::void);
        true
    }

    fn take(&mut self, now_ms: u64, event: Event, late: bool, out: &mut Vec<Decision>) {
        match event {
            Event::Row(row) => self.take_row(now_ms, row),
            Event::Beside { serving_copy, quarantined } => {
                // What was counted in quarantine is of another row.
                if self.quarantined.is_some() && quarantined.is_none() {
                    self.witnesses.values_mut().for_each(Witness::void);
                }
                (self.serving_copy, self.quarantined) = (serving_copy, quarantined);
            }
            Event::NotWritten => {
                self.pending = None;
                self.not_written_until_ms = Some(now_ms + NOT_WRITTEN_PAUSE_MS);
                self.witnesses.values_mut().for_each(Witness::void);
            }
            Event::Heard(report) => self.take_report(now_ms, *report, out),
            // A deadline that was judged by a late prober says nothing.
            Event::Failed { failure, .. } if late && !failure.is_proof_of_absence() => {}
            Event::Failed { dbid, failure, why } => self.take_failure(now_ms, dbid, failure, why),
            Event::Drained(dbid) => {
                self.remember(now_ms, format!("dbid {dbid} is drained and exits"));
                self.drained = Some(dbid);
            }
            Event::AllSilent(silent) => {
                // What failed while everybody was silent counts against nobody: the first one that is heard
                // again must not make the others late.
                if self.all_silent && !silent {
                    self.witnesses.values_mut().for_each(Witness::void);
                }
                self.all_silent = silent;
                self.said_silent &= silent;
            }
            Event::Hold(held) => {
                if self.held && !held {
                    self.witnesses.values_mut().for_each(Witness::void);
                }
                self.held = held;
            }
            Event::Release => {
                self.cold = false;
                self.held = false;
                self.witnesses.values_mut().for_each(Witness::void);
            }
            Event::Moved(dbid) => {
                self.witnesses.remove(&dbid);
                self.granted = self.granted.filter(|(granted, _)| *granted != dbid);
                self.remember(now_ms, format!("dbid {dbid} is at another place from now on"));
            }
            Event::Pause { until_ms } => {
                self.paused_until_ms = until_ms;
                self.said_withheld = false;
            }
            Event::Patience(patience) => self.patience = patience,
            Event::Tick => {}
        }
    }

    fn take_row(&mut self, now_ms: u64, row: PairRow) {
        // Another row than the decided one is somebody else's: then nothing was granted.
        if let Some(decided) = self.pending.take().filter(|decided| decided.after == row) {
            self.granted = decided.grants;
            self.serving_copy = decided.serving_copy.or(self.serving_copy);
        }
        if row == self.row {
            return;
        }
        self.remember(now_ms, format!("row {} epoch {}", transition::letters(&row), row.epoch));
        self.said_double_fault = false;
        self.said_withheld = false;
        self.loss_since = None;
        self.drained = None;
        self.row_since_ms = now_ms;
        self.row = row;
    }

    fn take_report(&mut self, now_ms: u64, report: Report, out: &mut Vec<Decision>) {
        if self.row.role_of(report.dbid).is_none() || report.content != self.row.content || self.is_overtaken(&report) {
            return;
        }
        if report.epoch > self.row.epoch {
            let reason = format!(
                "dbid {} obeyed epoch {}, which is later than the catalog's {}",
                report.dbid, report.epoch, self.row.epoch
            );
            self.put_in_quarantine(now_ms, reason, out);
        }
        if report.phase != Phase::Nobody {
            self.cold = false;
            // The process that was granted a restart has obeyed: the next nobody is another one.
            if self.granted == Some((report.dbid, report.pid)) {
                self.granted = None;
            }
        }
        let may_serve = report.sick.is_none() && (report.phase != Phase::Nobody || self.unfit(&report).is_none());
        if report.dbid == self.row.primary.dbid && may_serve {
            self.said_double_fault = false;
        }
        if report.dbid == self.row.primary.dbid {
            let lost = report.mirror_lost.is_some() && report.epoch == self.row.epoch;
            let since = self.loss_since.filter(|(epoch, _)| *epoch == report.epoch);
            self.loss_since = lost.then(|| since.unwrap_or((report.epoch, now_ms)));
        }
        let dbid = report.dbid;
        let witness = self.witnesses.entry(dbid).or_default();
        let news = witness.heard(now_ms, report);
        if let Some(text) = news {
            self.remember(now_ms, format!("dbid {dbid}: {text}"));
        }
    }

    fn take_failure(&mut self, now_ms: u64, dbid: Dbid, failure: Failure, why: String) {
        if self.row.role_of(dbid).is_none() {
            return;
        }
        let timeout = self.patience.timeout_ms;
        let news = self.witnesses.entry(dbid).or_default().failed(now_ms, failure, why, timeout);
        if let Some(text) = news {
            self.remember(now_ms, format!("dbid {dbid}: {text}"));
        }
    }

    fn put_in_quarantine(&mut self, now_ms: u64, reason: String, out: &mut Vec<Decision>) {
        if self.quarantined.is_some() {
            return;
        }
        self.remember(now_ms, format!("quarantined: {reason}"));
        self.quarantined = Some(reason.clone());
        out.push(Decision::Quarantine { reason, evidence: self.grounds(now_ms) });
    }

    fn remember(&mut self, now_ms: u64, text: String) {
        if self.seen.len() == REMEMBERED {
            self.seen.pop_front();
        }
        self.seen.push_back((now_ms, text));
    }
}
