//! The judgement: from what was seen of a pair to what its row should be.

use super::{Change, Decision, Fts, Pending, Witness};
use crate::core::ids::Dbid;
use crate::core::report::{MirrorLoss, Phase, Report, Soundness, VerifyStage};
use crate::core::row::Pairing;
use crate::core::transition::{self, Event as Happening};

/// How long a lost link waits for word of the mirror, which only tells a lost link from a lost mirror.
/// Commits are suspended meanwhile.
const WORD_OF_THE_MIRROR_MS: u64 = 300;

/// The pace at which a mirror is asked again.
const ASK_AGAIN_MS: u64 = 50;

/// How the reason begins when neither member can serve.
const DOUBLE_FAULT: &str = "double fault";
/// The same of a content without a mirror, where one fault is enough.
const NOT_OPERATIONAL: &str = "not operational";

/// Whether a reason says that nobody serves the content.
pub(super) fn says_unserved(reason: &str) -> bool {
    [DOUBLE_FAULT, NOT_OPERATIONAL].iter().any(|begins| reason.starts_with(begins))
}

/// What is known of a mirror when its primary is lost.
enum Mirror {
    Ready,
    NotReady(String),
    Gone,
    /// It must be asked: nothing fresh is known.
    Unasked,
}

impl Fts {
    pub(super) fn judge(&mut self, now_ms: u64, out: &mut Vec<Decision>) {
        if self.quarantined.is_some() {
            return;
        }
        let Some(pairing) = self.row.pairing() else {
            let reason = format!("the catalog's rows are impossible: {}", transition::letters(&self.row));
            self.put_in_quarantine(now_ms, reason, out);
            return;
        };
        if self.pending.is_some() {
            return;
        }
        if self.held && !self.waits_for_catalog(now_ms) {
            return self.judge_held(now_ms, pairing, out);
        }
        if !self.is_deciding(now_ms) {
            return;
        }
        let Some(primary) = self.witness(self.row.primary.dbid).cloned() else {
            return;
        };
        if let Some(report) = primary.answer() {
            self.judge_answer(now_ms, pairing, report, out);
        } else if primary.is_failing() {
            self.judge_failing(now_ms, pairing, &primary, out);
        }
    }

    /// An operation stops or starts the segments. A primary whose sessions are waited for is still granted
    /// tracking: without it their commits would wait for a mirror that is gone, and they would never end.
    /// The mirror is not recovered at once; that is for the operation.
    fn judge_held(&mut self, now_ms: u64, pairing: Pairing, out: &mut Vec<Decision>) {
        let primary = self.witness(self.row.primary.dbid).and_then(Witness::answer);
        let lost =
            primary.filter(|r| r.epoch == self.row.epoch && r.sick.is_none()).and_then(|r| r.mirror_lost.clone());
        if let (Some(loss), Pairing::Synchronized | Pairing::Resynchronizing) = (lost, pairing) {
            let reason = format!("primary dbid {} lost its mirror while it is stopped: {loss}", self.row.primary.dbid);
            self.change(now_ms, Happening::MirrorLost, reason, out);
        }
    }

    /// The primary answers: what does it say?
    fn judge_answer(&mut self, now_ms: u64, pairing: Pairing, report: &Report, out: &mut Vec<Decision>) {
        if let Some(sick) = &report.sick {
            // The mirror must have answered after this was known; a second's age is this round.
            let since = now_ms.saturating_sub(self.patience.timeout_ms);
            let why = format!("primary dbid {} is sick ({sick})", report.dbid);
            return self.primary_lost(now_ms, pairing, since, &why, Happening::PrimaryLost, out);
        }
        if report.phase == Phase::Nobody {
            return self.judge_restarted(now_ms, pairing, report, out);
        }
        // What a primary says under an older epoch is about a state that the row has left.
        if report.epoch != self.row.epoch {
            return;
        }
        match (&report.mirror_lost, pairing) {
            (Some(loss), Pairing::Synchronized) => self.judge_mirror_lost(now_ms, loss, out),
            (Some(loss), Pairing::Resynchronizing) => {
                let reason = format!("primary dbid {} lost its mirror: {loss}", report.dbid);
                self.change(now_ms, Happening::MirrorLost, reason, out);
            }
            (None, Pairing::Resynchronizing) if report.phase == Phase::InSync => {
                let reason = format!("primary dbid {} claims in sync", report.dbid);
                self.change(now_ms, Happening::InSync, reason, out);
            }
            (None, Pairing::Synchronized) => self.judge_mirror_in_sync(now_ms, report, out),
            _ => {}
        }
    }

    /// The link holds, and the mirror says that it could not take over: two copies by the row, and one in
    /// truth. What it said before it was in sync does not count.
    fn judge_mirror_in_sync(&mut self, now_ms: u64, primary: &Report, out: &mut Vec<Decision>) {
        let since = self.row_since_ms + self.patience.timeout_ms;
        let Some(mirror) = self.mirror_answer(since).filter(|m| m.phase == Phase::Mirror) else {
            return;
        };
        let differs = mirror.soundness == Soundness::Unjudged;
        let compares = primary.verification.as_ref().is_some_and(|v| v.stage == VerifyStage::Running);
        if differs && compares && mirror.sick.is_none() {
            // Only over the link can the rest be compared; whoever asked for that takes the pair out of sync.
            return;
        }
        let why = if differs { "a verification found that it differs" } else { "its copy is incomplete" };
        let incomplete = || (!mirror.ready).then(|| String::from(why));
        let Some(because) = mirror.sick.clone().or_else(incomplete) else {
            return;
        };
        let reason = format!("mirror dbid {} could not take over: {because}", mirror.dbid);
        self.change(now_ms, Happening::MirrorLost, reason, out);
    }

    /// The acting primary's process is a new one (R5).
    fn judge_restarted(&mut self, now_ms: u64, pairing: Pairing, report: &Report, out: &mut Vec<Decision>) {
        if self.granted == Some((report.dbid, report.pid)) {
            return;
        }
        // Its files do not stand, or are not the copy that the row speaks of: it is never granted the
        // content. In s/s both hold every acknowledged commit, so the mirror takes over; otherwise there is
        // no copy left.
        if let Some(unfit) = self.unfit(report) {
            let since = now_ms.saturating_sub(self.patience.timeout_ms);
            let why = format!(
                "acting primary dbid {} restarted as pid {}, and may not serve: {unfit}",
                report.dbid, report.pid
            );
            return self.primary_lost(now_ms, pairing, since, &why, Happening::PrimaryLost, out);
        }
        let reason = format!("acting primary dbid {} restarted as pid {}", report.dbid, report.pid);
        self.change(now_ms, Happening::PrimaryRestarted, reason, out);
    }

    /// In s/s the primary says that its mirror is gone. Whether the mirror's process is alive decides
    /// only whether it is recovered at once.
    fn judge_mirror_lost(&mut self, now_ms: u64, loss: &MirrorLoss, out: &mut Vec<Decision>) {
        let (primary, mirror) = (self.row.primary.dbid, self.row.mirror.map(|m| m.dbid));
        let reason = format!("primary dbid {primary} lost its mirror: {loss}");
        let (MirrorLoss::LinkClosed(_), Some(mirror)) = (loss, mirror) else {
            return self.change(now_ms, Happening::MirrorLost, reason, out);
        };
        let since = self.loss_since.map_or(now_ms, |(_, since)| since);
        let gone = self.witness(mirror).is_some_and(Witness::is_failing);
        // The last word of a process that was killed may arrive behind that of its loss. Only one that lives can say
        // that it has seen the end of the link.
        if self.mirror_answer(since).is_some_and(|m| m.link.is_none()) {
            let reason = format!("{reason}; mirror dbid {mirror} is alive");
            self.change(now_ms, Happening::LinkLost, reason, out);
        } else if gone || now_ms.saturating_sub(since) >= WORD_OF_THE_MIRROR_MS {
            self.change(now_ms, Happening::MirrorLost, reason, out);
        } else {
            self.ask(now_ms, mirror, out);
        }
    }

    /// Attempts to reach the primary fail.
    fn judge_failing(&mut self, now_ms: u64, pairing: Pairing, primary: &Witness, out: &mut Vec<Decision>) {
        let (Some(since), Some((attempts, failure))) = (primary.failing_since(), primary.failing()) else {
            return;
        };
        if self.all_silent {
            return self.say_all_silent(now_ms, out);
        }
        let dbid = self.row.primary.dbid;
        let absent = failure.is_proof_of_absence();
        let mirror_says_link_ended = self.mirror_answer(since).is_some_and(|m| m.link.is_none());
        if absent && mirror_says_link_ended {
            let drained = self.drained == Some(dbid);
            let event = if drained { Happening::Drained } else { Happening::PrimaryLost };
            let why = if drained {
                format!("primary dbid {dbid} was drained and exited")
            } else {
                format!("primary dbid {dbid} is lost: its {}, and its mirror says that the link ended", failure.words())
            };
            return self.primary_lost(now_ms, pairing, since, &why, event, out);
        }
        if attempts >= self.patience.retries {
            let why = format!("primary dbid {dbid} is lost: {}, {attempts} attempts", failure.words());
            return self.primary_lost(now_ms, pairing, since, &why, Happening::PrimaryLost, out);
        }
        if let (Pairing::Synchronized, Some(mirror)) = (pairing, self.row.mirror) {
            self.ask(now_ms, mirror.dbid, out);
        }
    }

    /// The primary is lost. The mirror takes over if the pair is in sync and the mirror is ready (R4).
    fn primary_lost(
        &mut self,
        now_ms: u64,
        pairing: Pairing,
        since: u64,
        why: &str,
        event: Happening,
        out: &mut Vec<Decision>,
    ) {
        let stale = match pairing {
            Pairing::Synchronized => None,
            Pairing::Resynchronizing => Some("its mirror is still being copied and cannot take over"),
            Pairing::ChangeTracking => Some("its mirror lacks changes and cannot take over"),
            Pairing::Mirrorless => Some("the content has no mirror"),
        };
        if let Some(stale) = stale {
            return self.double_fault(now_ms, format!("{why}; {stale}"), out);
        }
        match (self.mirror(since), self.row.mirror) {
            (Mirror::Ready, Some(_)) if self.is_paused(now_ms) && event != Happening::Drained => {
                self.withhold(now_ms, why, out);
            }
            (Mirror::Ready, Some(mirror)) => {
                self.change(now_ms, event, format!("{why}; mirror dbid {} is ready", mirror.dbid), out);
            }
            (Mirror::NotReady(because), _) => self.double_fault(now_ms, format!("{why}; {because}"), out),
            (Mirror::Gone, _) => self.double_fault(now_ms, format!("{why}; its mirror does not answer either"), out),
            (_, Some(mirror)) => out.push(Decision::Ask(mirror.dbid)),
            (_, None) => {}
        }
    }

    fn mirror_answer(&self, since: u64) -> Option<&Report> {
        self.witness(self.row.mirror?.dbid)?.answer_since(since)
    }

    fn mirror(&self, since: u64) -> Mirror {
        let Some(witness) = self.row.mirror.and_then(|m| self.witness(m.dbid)) else {
            return Mirror::Unasked;
        };
        if let Some((attempts, failure)) = witness.failing() {
            let gone = failure.is_proof_of_absence() || attempts >= self.patience.retries;
            return if gone { Mirror::Gone } else { Mirror::Unasked };
        }
        match witness.answer_since(since) {
            None => Mirror::Unasked,
            Some(report) if !matches!(report.phase, Phase::Mirror | Phase::Nobody) => {
                Mirror::NotReady(format!("dbid {} is not a mirror now", report.dbid))
            }
            Some(report) => match report.sick.clone().or_else(|| self.unfit(report)) {
                Some(because) => Mirror::NotReady(format!("mirror dbid {} cannot take over: {because}", report.dbid)),
                None => Mirror::Ready,
            },
        }
    }

    fn change(&mut self, now_ms: u64, event: Happening, reason: String, out: &mut Vec<Decision>) {
        let Some(transition) = transition::apply(&self.row, event) else {
            return;
        };
        // A mirror that does not answer stays down until somebody brings it back.
        let recover = transition.recover().filter(|dbid| event == Happening::Drained || self.answers(*dbid));
        let server = self.witness(transition.after.primary.dbid).and_then(Witness::answer);
        let serving_copy = server.map(|r| r.copy.copy);
        // A nobody that is promoted, or restarted, has its new epoch with this change (R5).
        let grants = if transition.changes_server() {
            server.filter(|r| r.phase == Phase::Nobody).map(|r| (r.dbid, r.pid))
        } else {
            self.granted
        };
        self.pending = Some(Pending { after: transition.after, grants, serving_copy });
        let change = Change { transition, reason, evidence: self.grounds(now_ms), recover, serving_copy };
        self.remember(now_ms, format!("decided: {}", change.reason));
        out.push(Decision::Change(Box::new(change)));
    }

    /// Asks a segment, at most once in a while: its answer is an event, which may ask again.
    fn ask(&mut self, now_ms: u64, dbid: Dbid, out: &mut Vec<Decision>) {
        if self.asked_ms.is_none_or(|asked| now_ms.saturating_sub(asked) >= ASK_AGAIN_MS) {
            self.asked_ms = Some(now_ms);
            out.push(Decision::Ask(dbid));
        }
    }

    fn answers(&self, dbid: Dbid) -> bool {
        self.witness(dbid).is_some_and(|w| w.answer().is_some())
    }

    fn double_fault(&mut self, now_ms: u64, why: String, out: &mut Vec<Decision>) {
        if std::mem::replace(&mut self.said_double_fault, true) {
            return;
        }
        let what = if self.row.pairing() == Some(Pairing::Mirrorless) { NOT_OPERATIONAL } else { DOUBLE_FAULT };
        let reason = format!("{what}: {why}");
        let evidence = self.grounds(now_ms);
        self.remember(now_ms, reason.clone());
        out.push(Decision::DoubleFault { reason, evidence });
    }

    /// The failover that is due waits for the end of the pause.
    fn withhold(&mut self, now_ms: u64, why: &str, out: &mut Vec<Decision>) {
        if std::mem::replace(&mut self.said_withheld, true) {
            return;
        }
        let text = format!("{why}; FTS is paused, so the mirror does not take over yet");
        self.remember(now_ms, text.clone());
        out.push(Decision::Say(text));
    }

    fn say_all_silent(&mut self, now_ms: u64, out: &mut Vec<Decision>) {
        if std::mem::replace(&mut self.said_silent, true) {
            return;
        }
        let text = String::from("every host is silent: the fault may be here, so nothing is decided");
        self.remember(now_ms, text.clone());
        out.push(Decision::Say(text));
    }
}
