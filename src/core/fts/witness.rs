//! What the service knows of one segment: its last answer, or how attempts to reach it fail.

use crate::core::report::Report;
use std::borrow::Cow;

/// How an attempt to reach a segment failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Failure {
    /// The host answers that nobody listens on the port.
    Refused,
    /// The connection was ended by the other side.
    Reset,
    /// No answer within the attempt's deadline.
    Timeout,
    /// The host can't be reached at all.
    HostSilent,
    /// A process answers that speaks another version of the protocol: it runs, and can't be understood.
    OtherRelease { theirs: u16, ours: u16 },
}

impl Failure {
    pub fn words(self) -> Cow<'static, str> {
        match self {
            Failure::Refused => "port refuses connections".into(),
            Failure::Reset => "connection reset".into(),
            Failure::Timeout => "no answer in time".into(),
            Failure::HostSilent => "host not reachable".into(),
            Failure::OtherRelease { theirs, ours } => {
                format!("speaks protocol {theirs}, this coordinator {ours}").into()
            }
        }
    }

    /// The other side answered, and the answer is that the process is not there. It does not depend
    /// on anybody's clock.
    pub fn is_proof_of_absence(self) -> bool {
        matches!(self, Failure::Refused | Failure::Reset)
    }
}

/// What is known of one segment.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Witness {
    report: Option<Report>,
    heard_ms: Option<u64>,
    /// The last answer no longer counts: it may be a process's that has ended since.
    stale: bool,
    failure: Option<Failing>,
}

#[derive(Debug, Clone, PartialEq)]
struct Failing {
    since_ms: u64,
    failure: Failure,
    why: String,
    /// Attempts counted: at most one for each `timeout`, however fast they fail.
    attempts: u32,
    counted_ms: u64,
}

impl Witness {
    /// Takes an answer; returns a sentence when it says something new.
    pub(super) fn heard(&mut self, now_ms: u64, report: Report) -> Option<String> {
        let was_failing = self.failure.take().is_some();
        self.heard_ms = Some(now_ms);
        self.stale = false;
        let is_new = was_failing || self.report.as_ref().is_none_or(|old| differs(old, &report));
        let text = is_new.then(|| words(&report));
        self.report = Some(report);
        text
    }

    /// Takes a failed attempt; returns a sentence when it is another failure than before.
    pub(super) fn failed(&mut self, now_ms: u64, failure: Failure, why: String, timeout_ms: u64) -> Option<String> {
        match &mut self.failure {
            Some(failing) => {
                let is_new = failing.failure != failure;
                failing.failure = failure;
                failing.why = why;
                // A timeout's own length may vary by a little; the pace is that of the deadline.
                if failing.attempts == 0 || now_ms.saturating_sub(failing.counted_ms) >= timeout_ms * 9 / 10 {
                    failing.attempts += 1;
                    failing.counted_ms = now_ms;
                }
                is_new.then(|| failure.words().into_owned())
            }
            None => {
                self.failure = Some(Failing { since_ms: now_ms, failure, why, attempts: 1, counted_ms: now_ms });
                Some(failure.words().into_owned())
            }
        }
    }

    /// Nothing seen so far counts any more, neither for the segment nor against it: without what failed,
    /// its last answer would stand for a process that may be gone. It is kept to be told.
    pub(super) fn void(&mut self) {
        self.failure = None;
        self.stale = true;
    }

    pub fn is_failing(&self) -> bool {
        self.failure.is_some()
    }

    /// The last answer, unless attempts have failed since, or it was voided.
    pub fn answer(&self) -> Option<&Report> {
        self.report.as_ref().filter(|_| self.failure.is_none() && !self.stale)
    }

    /// The last answer, if it came at or after a moment.
    pub fn answer_since(&self, moment_ms: u64) -> Option<&Report> {
        self.answer().filter(|_| self.heard_ms.is_some_and(|heard| heard >= moment_ms))
    }

    /// When it began to fail.
    pub fn failing_since(&self) -> Option<u64> {
        self.failure.as_ref().map(|f| f.since_ms)
    }

    /// Attempts that failed, and how the last one did.
    pub fn failing(&self) -> Option<(u32, Failure)> {
        self.failure.as_ref().map(|f| (f.attempts, f.failure))
    }

    /// In words, with ages.
    pub fn describe(&self, now_ms: u64) -> String {
        let age = |ms: u64| format!("{} ms ago", now_ms.saturating_sub(ms));
        let mut text = match &self.failure {
            Some(f) => {
                let why = if f.why.is_empty() { String::new() } else { format!(" ({})", f.why) };
                let times = if f.attempts == 1 { "attempt" } else { "attempts" };
                format!("{}{why}, {} {times}, first {}", f.failure.words(), f.attempts, age(f.since_ms))
            }
            None => String::new(),
        };
        match (&self.report, self.heard_ms) {
            (Some(report), Some(heard)) => {
                let lead = if text.is_empty() { "" } else { "; before that " };
                text.push_str(&format!("{lead}{}, {}", words(report), age(heard)));
            }
            _ if text.is_empty() => text.push_str("never reached"),
            _ => {}
        }
        text
    }
}

/// Whether a report differs in what decisions are made from, not in its counters.
fn differs(old: &Report, new: &Report) -> bool {
    old.pid != new.pid
        || old.phase != new.phase
        || old.epoch != new.epoch
        || old.ready != new.ready
        || old.link != new.link
        || old.mirror_lost != new.mirror_lost
        || old.sick != new.sick
}

fn words(report: &Report) -> String {
    let phase = serde_json::to_value(report.phase).ok();
    let phase = phase.as_ref().and_then(|p| p.as_str()).unwrap_or("?").replace('_', " ");
    let mut text = format!("pid {} {phase}, epoch {}", report.pid, report.epoch);
    match report.link {
        Some(epoch) => text.push_str(&format!(", link of epoch {epoch}")),
        None => text.push_str(", no link"),
    }
    if report.ready {
        text.push_str(", ready");
    }
    if let Some(loss) = &report.mirror_lost {
        text.push_str(&format!(", mirror lost: {loss}"));
    }
    if let Some(sick) = &report.sick {
        text.push_str(&format!(", sick: {sick}"));
    }
    text
}
