//! Scripts of what is seen, and what must be decided.

mod failover;
mod hold;
mod mirror;
mod prober;
mod restart;

use super::*;
use crate::core::ids::{Content, CopyId};
use crate::core::report::{CopyState, MirrorLoss, Soundness, Verification, VerifyStage};
use crate::core::row::{Member, Mode, Status};
use crate::core::transition::{Event as Happening, letters};

const P: Dbid = Dbid(2);
const M: Dbid = Dbid(3);

fn row(primary: Mode, mirror: Option<(Mode, Status)>) -> PairRow {
    PairRow {
        content: Content(0),
        epoch: Epoch(5),
        primary: Member { dbid: P, mode: primary, status: Status::Up },
        mirror: mirror.map(|(mode, status)| Member { dbid: M, mode, status }),
    }
}

fn synced() -> PairRow {
    row(Mode::Synchronized, Some((Mode::Synchronized, Status::Up)))
}
fn resync() -> PairRow {
    row(Mode::Resynchronizing, Some((Mode::Resynchronizing, Status::Up)))
}
fn tracking() -> PairRow {
    row(Mode::ChangeTracking, Some((Mode::Synchronized, Status::Down)))
}

fn report(dbid: Dbid, phase: Phase) -> Report {
    Report {
        dbid,
        content: Content(0),
        pid: 100 + dbid.0 as u32,
        phase,
        epoch: Epoch(5),
        copy: CopyState { copy: CopyId(1), generation: Epoch(5) },
        ready: matches!(phase, Phase::Mirror | Phase::Nobody),
        link: matches!(phase, Phase::Mirror | Phase::InSync | Phase::Resynchronizing).then_some(Epoch(5)),
        mirror_lost: None,
        sick: None,
        map_unusable: None,
        map_bound_to: None,
        dirty_blocks: 0,
        data_bytes: 0,
        free_bytes: 0,
        progress: None,
        lag: None,
        verification: None,
        soundness: Soundness::Sound,
        damaged_pages: 0,
        held: None,
        release: String::new(),
        sessions: 0,
    }
}

/// Steps the service and answers every change with the row it asked for, as the catalog would.
struct Bench {
    fts: Fts,
    now: u64,
    all: Vec<Decision>,
}

impl Bench {
    fn new(row: PairRow) -> Bench {
        let mut bench = Bench { fts: Fts::new(row, Patience::default()), now: 0, all: Vec::new() };
        bench.fts.step(0, Event::Release);
        bench
    }
    fn healthy(row: PairRow) -> Bench {
        let mut bench = Bench::new(row);
        let phase = match row.primary.mode {
            Mode::Synchronized if row.mirror.is_none() => Phase::Mirrorless,
            Mode::Synchronized => Phase::InSync,
            Mode::Resynchronizing => Phase::Resynchronizing,
            Mode::ChangeTracking => Phase::Tracking,
        };
        bench.hear(report(P, phase));
        if row.mirror.is_some_and(|m| m.status == Status::Up) {
            bench.hear(report(M, Phase::Mirror));
        }
        assert_eq!(bench.changes(), []);
        bench
    }
    fn step(&mut self, event: Event) -> Vec<Decision> {
        let decisions = self.fts.step(self.now, event);
        for decision in &decisions {
            if let Decision::Change(change) = decision {
                self.fts.step(self.now, Event::Row(change.transition.after));
            }
        }
        self.all.extend(decisions.clone());
        decisions
    }
    fn hear(&mut self, report: Report) -> Vec<Decision> {
        self.step(Event::Heard(Box::new(report)))
    }
    fn fail(&mut self, dbid: Dbid, failure: Failure) -> Vec<Decision> {
        self.step(Event::Failed { dbid, failure, why: String::new() })
    }
    /// Lets time pass in ticks.
    fn pass(&mut self, ms: u64) {
        let end = self.now + ms;
        while self.now < end {
            self.now = (self.now + 100).min(end);
            self.step(Event::Tick);
        }
    }
    fn changes(&self) -> Vec<Happening> {
        self.all
            .iter()
            .filter_map(|d| match d {
                Decision::Change(c) => Some(c.transition.event),
                _ => None,
            })
            .collect()
    }
    fn last_change(&self) -> &Change {
        self.all
            .iter()
            .rev()
            .find_map(|d| match d {
                Decision::Change(c) => Some(&**c),
                _ => None,
            })
            .expect("a change")
    }
    fn double_faults(&self) -> usize {
        self.all.iter().filter(|d| matches!(d, Decision::DoubleFault { .. })).count()
    }
    fn row_letters(&self) -> String {
        letters(self.fts.row())
    }
}

fn link_ended(mut mirror: Report) -> Report {
    mirror.link = None;
    mirror
}

fn lost_link() -> Report {
    let mut primary = report(P, Phase::Suspended);
    primary.link = None;
    primary.mirror_lost = Some(MirrorLoss::LinkClosed("eof".into()));
    primary
}

#[test]
fn a_decision_is_kept_with_what_was_seen_in_the_rounds_before_it() {
    let mut b = Bench::healthy(synced());
    b.pass(1000);
    b.fail(P, Failure::Timeout);
    for _ in 0..3 {
        b.pass(1000);
        b.hear(report(M, Phase::Mirror));
        b.fail(P, Failure::Timeout);
    }
    let evidence = &b.last_change().evidence;
    assert!(evidence[0].starts_with("primary dbid 2: no answer in time"), "{evidence:?}");
    assert!(evidence[1].starts_with("mirror dbid 3: "), "{evidence:?}");
    assert!(evidence.iter().any(|e| e.contains("ms ago: dbid 2: no answer in time")), "{evidence:?}");
}

#[test]
fn a_later_epoch_than_the_catalog_s_quarantines_the_content() {
    let mut b = Bench::healthy(synced());
    let mut ahead = report(M, Phase::Mirror);
    ahead.epoch = Epoch(9);
    let decisions = b.hear(ahead);
    assert!(matches!(&decisions[..], [Decision::Quarantine { .. }]));
    b.fail(P, Failure::Refused);
    b.hear(link_ended(report(M, Phase::Mirror)));
    assert_eq!(b.changes(), []);
    assert!(b.fts.quarantine().is_some());
}

#[test]
fn an_impossible_row_quarantines_only_its_content_and_once() {
    let mut b = Bench::new(row(Mode::ChangeTracking, Some((Mode::ChangeTracking, Status::Up))));
    b.pass(1000);
    assert_eq!(b.all, [], "it was said in the first step");
    assert!(b.fts.quarantine().is_some());
}

#[test]
fn while_a_change_is_under_way_nothing_else_is_decided() {
    let mut fts = Fts::new(synced(), Patience::default());
    fts.step(0, Event::Release);
    fts.step(1, Event::Heard(Box::new(report(M, Phase::Mirror))));
    fts.step(2, Event::Failed { dbid: P, failure: Failure::Refused, why: String::new() });
    let first = fts.step(3, Event::Heard(Box::new(link_ended(report(M, Phase::Mirror)))));
    assert_eq!(first.len(), 1);
    assert_eq!(fts.step(4, Event::Heard(Box::new(link_ended(report(M, Phase::Mirror))))), []);
    // The compare-and-set lost: the row that stands comes back.
    let after = fts.step(5, Event::Row(tracking()));
    assert!(!after.iter().any(|d| matches!(d, Decision::Change(_))), "{after:?}");
    assert_eq!(letters(fts.row()), "p,c,u / m,s,d");
}

#[test]
fn what_could_not_be_written_is_decided_again_later_and_on_fresh_witnesses() {
    let mut fts = Fts::new(synced(), Patience::default());
    let refused = |fts: &mut Fts, now| {
        let mut all = fts.step(now, Event::Failed { dbid: P, failure: Failure::Refused, why: String::new() });
        all.extend(fts.step(now, Event::Heard(Box::new(link_ended(report(M, Phase::Nobody))))));
        all
    };
    fts.step(0, Event::Release);
    assert!(matches!(&refused(&mut fts, 10)[..], [.., Decision::Change(_)]));
    assert_eq!(fts.step(10, Event::NotWritten), []);
    assert_eq!(letters(fts.row()), "p,s,u / m,s,u");
    for now in (100..1000).step_by(100) {
        let decisions = refused(&mut fts, now);
        assert!(!decisions.iter().any(|d| matches!(d, Decision::Change(_))), "not at once again");
        assert!(!fts.is_undecided(now), "whoever asked for a probe need not wait for it");
        assert!(!fts.may_order(M), "nothing was granted");
    }
    assert!(matches!(&refused(&mut fts, 1100)[..], [Decision::Change(_)]));
    // What was seen before does not count.
    fts.step(1100, Event::NotWritten);
    for now in (1200..=2400).step_by(100) {
        assert_eq!(fts.step(now, Event::Tick), []);
    }
}

#[test]
fn a_report_that_a_later_one_of_the_same_process_overtook_says_nothing() {
    let mut b = Bench::healthy(tracking());
    b.hear(report(P, Phase::Nobody));
    let mut obeyed = report(P, Phase::Tracking);
    obeyed.epoch = Epoch(6);
    b.hear(obeyed);
    b.hear(report(P, Phase::Nobody));
    assert_eq!(b.changes(), [Happening::PrimaryRestarted], "it is the process that was granted the content");
    let mut other = report(P, Phase::Nobody);
    other.pid += 1;
    b.hear(other);
    assert_eq!(b.changes().len(), 2, "another process is another");
}
