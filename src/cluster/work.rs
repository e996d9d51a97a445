//! What is told of operations to whoever asks: those that run, those that ended, the lines of the audit log, and
//! the hosts that are in maintenance.

use super::outcome::{Outcome, OutcomeStatus, Progressing, SegmentOutcome};
use super::refusal::{Refusal, RefusalCode};
use super::request::Owner;
use crate::core::ids::{Content, Dbid};
use serde::{Deserialize, Serialize};

/// A shell that follows an operation says so more often than this; one that was silent for longer is gone or hangs.
pub const HEARTBEAT_STALE_MS: i64 = 15_000;
/// How often a shell that follows an operation says that it is there.
pub const HEARTBEAT_EVERY_MS: u64 = 5_000;

/// An operation of the coordinator, running or ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperationInfo {
    pub id: i64,
    /// The call that began it: `recover`, `rebalance`, `start`, ...
    pub verb: String,
    /// `running`, or the word of its outcome.
    pub status: String,
    pub contents: Vec<Content>,
    pub owner: Owner,
    /// Unix milliseconds.
    pub started_ms: i64,
    /// Until now, or until its end.
    pub elapsed_ms: i64,
    /// Milliseconds since the shell that began it was heard of; `None` when it never followed it, or when nobody
    /// does because it has ended.
    pub heartbeat_ms: Option<i64>,
    /// Shells that follow it now.
    pub watchers: i64,
    /// What is being done: `2/4 data copy`, `starting the mirror`; empty when it has ended.
    pub step: String,
    /// Whole percent of the copy, when there is one.
    pub percent: Option<i64>,
    pub outcome: Option<Outcome>,
}

impl OperationInfo {
    /// Whether it has not ended.
    pub fn is_running(&self) -> bool {
        self.outcome.is_none()
    }

    /// Whether it runs and the shell that began it is not there any more.
    pub fn is_stale(&self) -> bool {
        self.is_running() && self.heartbeat_ms.is_none_or(|age| age > HEARTBEAT_STALE_MS)
    }

    /// What is being done, with its percentage.
    pub fn doing(&self) -> String {
        match self.percent {
            Some(percent) => format!("{}, {percent} %", self.step),
            None => self.step.clone(),
        }
    }

    /// Whether anybody stands behind it, in a sentence. An operation needs nobody: it goes on either way.
    pub fn shell(&self) -> String {
        match self.heartbeat_ms {
            Some(age) if age <= HEARTBEAT_STALE_MS => "its shell answers".into(),
            Some(age) => format!("its shell was last heard of {} ago; the operation goes on", duration(age)),
            None => "its shell does not follow it; the operation goes on".into(),
        }
    }

    /// Why another change of `content` must wait: what is done, by whom, for how long, and whether they are there.
    pub fn holds(&self, content: Content) -> String {
        let done = self.doing();
        let done = if done.is_empty() { String::new() } else { format!(", {done}") };
        format!(
            "content {content} is held by operation {}, {}{done}\n{}, for {}\n{}",
            self.id,
            self.verb,
            self.owner.who(),
            duration(self.elapsed_ms),
            self.shell()
        )
    }
}

/// What an operation is doing, and whole percent of its copy: by the first of its contents that has not ended.
pub fn step_of(now: &Progressing) -> (String, Option<i64>) {
    let Some(at_work) = now.contents.iter().find(|c| !c.finished && c.progress.is_some()) else {
        let first = now.contents.iter().find(|c| !c.finished);
        return (first.map(|c| c.doing.clone()).unwrap_or_default(), None);
    };
    let Some(copy) = &at_work.progress else { return (at_work.doing.clone(), None) };
    let percent = (copy.total_blocks > 0)
        .then(|| copy.copied_blocks.min(copy.total_blocks) * 100 / copy.total_blocks)
        .and_then(|percent| i64::try_from(percent).ok());
    (format!("{}/4 {}", copy.stage.number(), copy.stage.word()), percent)
}

/// A time as it is told in a sentence: `0.4 s`, `40 s`, `2m10s`, `3h05m`.
pub fn duration(ms: i64) -> String {
    let (ms, s) = (ms.max(0), ms.max(0) / 1000);
    match s {
        0..10 => format!("{}.{} s", s, ms % 1000 / 100),
        10..60 => format!("{s} s"),
        60..3600 => format!("{}m{:02}s", s / 60, s % 60),
        3600..86_400 => format!("{}h{:02}m", s / 3600, s % 3600 / 60),
        _ => format!("{}d{}h", s / 86_400, s % 86_400 / 3600),
    }
}

/// Which lines of the audit log are asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditQuery {
    /// At most so many, the newest.
    pub last: usize,
    /// Only of this verb.
    pub verb: Option<String>,
    /// Only of this user, by the real name or the account.
    pub user: Option<String>,
    /// Only what began in the last so many milliseconds.
    pub since_ms: Option<i64>,
}

impl AuditQuery {
    /// Whether a line is asked for. A damaged line always is: nobody can say what it was.
    pub fn wants(&self, line: &AuditLine, now_ms: i64) -> bool {
        if line.damaged.is_some() {
            return true;
        }
        let is_verb = self.verb.as_ref().is_none_or(|verb| *verb == line.verb);
        let is_user = self.user.as_ref().is_none_or(|user| *user == line.owner.user || *user == line.owner.account);
        let is_late = self.since_ms.is_none_or(|ms| line.time_ms >= now_ms.saturating_sub(ms));
        is_verb && is_user && is_late
    }
}

/// One line of the audit log: what was asked for, by whom, and how it ended.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AuditLine {
    /// When it began, as the history writes it.
    pub time: String,
    /// The same in Unix milliseconds.
    pub time_ms: i64,
    /// The operation; 0 for what is none, such as a setting.
    pub operation: i64,
    pub verb: String,
    pub owner: Owner,
    /// The word of the outcome.
    pub status: String,
    pub elapsed_ms: i64,
    pub message: String,
    pub segments: Vec<SegmentOutcome>,
    pub refusals: Vec<Refusal>,
    /// What the line holds when it can't be read; everything else is then empty.
    pub damaged: Option<String>,
}

impl AuditLine {
    /// The line of what ended so.
    pub fn of(op: i64, owner: &Owner, time: String, time_ms: i64, outcome: &Outcome) -> AuditLine {
        AuditLine {
            time,
            time_ms,
            operation: op,
            verb: outcome.verb.clone(),
            owner: owner.clone(),
            status: outcome.status.word().into(),
            elapsed_ms: outcome.elapsed_ms,
            message: outcome.message.clone(),
            segments: outcome.segments.clone(),
            refusals: outcome.refusals.clone(),
            damaged: None,
        }
    }
}

/// A host on which something is done by hand: nothing is recovered to it until then.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MaintenanceInfo {
    pub host: String,
    /// Unix milliseconds.
    pub since_ms: i64,
    /// Unix milliseconds; it ends by itself.
    pub until_ms: i64,
    pub owner: Owner,
    pub reason: String,
}

impl MaintenanceInfo {
    /// Why nothing is recovered to a segment on this host.
    pub fn refusal(&self, now_ms: i64, content: Content, dbid: Dbid) -> Refusal {
        let left = duration(self.until_ms.saturating_sub(now_ms));
        Refusal {
            code: RefusalCode::InMaintenance,
            content: Some(content),
            dbid: Some(dbid),
            host: Some(self.host.clone()),
            cause: format!("{} for another {left}, by {}: {}", self.host, self.owner.user, self.reason),
            next: format!("maintenance(\"{}\", \"0s\", \"done\")", self.host),
        }
    }
}

/// The outcome of what is no operation and has been done: a setting, a pause.
pub fn done(verb: &str, message: String) -> Outcome {
    Outcome {
        verb: verb.into(),
        status: OutcomeStatus::Done,
        op: None,
        segments: Vec::new(),
        refusals: Vec::new(),
        elapsed_ms: 0,
        message,
        next: String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn running() -> OperationInfo {
        OperationInfo {
            id: 118,
            verb: "recover".into(),
            status: "running".into(),
            contents: vec![Content(2)],
            owner: Owner {
                user: "sam".into(),
                account: "gpadmin".into(),
                host: "mdw".into(),
                pid: 4711,
                terminal: "/dev/pts/3".into(),
                script: "site/nightly.rhai:14".into(),
                ..Owner::default()
            },
            started_ms: 0,
            elapsed_ms: 130_000,
            heartbeat_ms: Some(400),
            watchers: 1,
            step: "2/4 data copy".into(),
            percent: Some(38),
            outcome: None,
        }
    }

    #[test]
    fn who_holds_a_content_is_told_with_name_place_script_step_and_time() {
        let text = running().holds(Content(2));
        assert_eq!(
            text,
            "content 2 is held by operation 118, recover, 2/4 data copy, 38 %\n\
             sam as gpadmin on mdw, pts/3, pid 4711, site/nightly.rhai:14, for 2m10s\n\
             its shell answers"
        );
    }

    #[test]
    fn a_shell_that_was_silent_for_too_long_is_said_to_be_gone() {
        let mut operation = running();
        assert!(!operation.is_stale());
        operation.heartbeat_ms = Some(HEARTBEAT_STALE_MS + 25_000);
        assert!(operation.is_stale());
        assert_eq!(operation.shell(), "its shell was last heard of 40 s ago; the operation goes on");
        operation.heartbeat_ms = None;
        assert!(operation.is_stale() && operation.shell().contains("does not follow"));
        operation.outcome = Some(done("recover", String::new()));
        assert!(!operation.is_stale(), "what has ended needs no shell");
    }

    #[test]
    fn a_query_asks_by_verb_user_and_age_and_never_hides_a_damaged_line() {
        let line = AuditLine { verb: "recover".into(), owner: running().owner, time_ms: 1_000, ..AuditLine::default() };
        let query = |verb: Option<&str>, user: Option<&str>, since_ms| AuditQuery {
            last: 20,
            verb: verb.map(str::to_owned),
            user: user.map(str::to_owned),
            since_ms,
        };
        assert!(query(None, None, None).wants(&line, 5_000));
        assert!(query(Some("recover"), Some("sam"), Some(4_000)).wants(&line, 5_000));
        assert!(query(None, Some("gpadmin"), None).wants(&line, 5_000));
        assert!(!query(Some("restart"), None, None).wants(&line, 5_000));
        assert!(!query(None, Some("ann"), None).wants(&line, 5_000));
        assert!(!query(None, None, Some(3_999)).wants(&line, 5_000));
        let damaged = AuditLine { damaged: Some("{".into()), ..AuditLine::default() };
        assert!(query(Some("restart"), None, Some(1)).wants(&damaged, 5_000));
    }
}
