//! What an API function throws: a map whose keys never change.

use super::api::outcome::SegmentOutcomeRecord;
use super::api::refusal::RefusalRecord;
use crate::cluster::{ClusterError, Outcome, Refusal, SegmentOutcome};
use rhai::{Dynamic, EvalAltResult, Map, Position};
use std::ops::{Deref, DerefMut};

/// An error of the API before it becomes a Rhai value. Boxed, because every binding returns one and
/// hardly any ever does.
#[derive(Debug, Clone, PartialEq)]
pub struct Thrown(Box<Details>);

impl Deref for Thrown {
    type Target = Details;
    fn deref(&self) -> &Details {
        &self.0
    }
}

impl DerefMut for Thrown {
    fn deref_mut(&mut self) -> &mut Details {
        &mut self.0
    }
}

/// What an error says.
#[derive(Debug, Clone, PartialEq)]
pub struct Details {
    pub code: String,
    pub exit: i32,
    pub message: String,
    pub refusals: Vec<Refusal>,
    pub segments: Vec<SegmentOutcome>,
    pub next: String,
    pub op: Option<i64>,
    /// The call whose outcome this is: `recover`, `rebalance` ...; empty otherwise.
    pub verb: String,
    /// The SQLSTATE of a statement that failed, empty otherwise.
    pub sqlstate: String,
    /// The options that the function has, when one was unknown.
    pub options: Vec<String>,
}

/// What every binding returns.
pub type Thrower<T = Dynamic> = Result<T, Thrown>;

impl Thrown {
    /// A mistake in the script: exit 1.
    pub fn script(code: &str, message: impl Into<String>) -> Thrown {
        Thrown::with_exit(code, 1, message)
    }

    /// An error with an exit code of its own.
    pub fn with_exit(code: &str, exit: i32, message: impl Into<String>) -> Thrown {
        Thrown(Box::new(Details {
            code: code.into(),
            exit,
            message: message.into(),
            refusals: Vec::new(),
            segments: Vec::new(),
            next: String::new(),
            op: None,
            verb: String::new(),
            sqlstate: String::new(),
            options: Vec::new(),
        }))
    }

    /// What it says, by value.
    pub fn into_details(self) -> Details {
        *self.0
    }

    /// The same, with a next step as it would be typed.
    #[must_use]
    pub fn next(mut self, next: impl Into<String>) -> Thrown {
        self.next = next.into();
        self
    }

    /// The same, with the operation it is about.
    #[must_use]
    pub fn op(mut self, op: Option<i64>) -> Thrown {
        self.op = op;
        self
    }

    /// What an outcome that is not `done` throws. The code is the status, however many refusals
    /// there are; each refusal has its own.
    pub fn outcome(outcome: &Outcome) -> Thrown {
        let code = outcome.status.word();
        Thrown(Box::new(Details {
            code: code.into(),
            exit: outcome.status.exit(),
            message: outcome.message.clone(),
            refusals: outcome.refusals.clone(),
            segments: outcome.segments.clone(),
            next: outcome.next.clone(),
            op: outcome.op,
            verb: outcome.verb.clone(),
            sqlstate: String::new(),
            options: Vec::new(),
        }))
    }

    /// Ctrl-C: no `catch` sees it.
    pub fn interrupted() -> Thrown {
        Thrown::with_exit("interrupted", 130, "interrupted")
    }

    /// Ctrl-C, with what became of what ran.
    pub fn interrupted_saying(left: &str) -> Thrown {
        if left.is_empty() {
            Thrown::interrupted()
        } else {
            Thrown::with_exit("interrupted", 130, format!("interrupted: {left}"))
        }
    }

    fn into_map(self) -> Map {
        let this = self.into_details();
        let mut map = Map::new();
        map.insert("code".into(), this.code.into());
        map.insert("exit".into(), i64::from(this.exit).into());
        map.insert("message".into(), this.message.into());
        let refusals = this.refusals.into_iter().map(|r| Dynamic::from(RefusalRecord(r)));
        map.insert("refusals".into(), refusals.collect::<Vec<_>>().into());
        let segments = this.segments.into_iter().map(|s| Dynamic::from(SegmentOutcomeRecord(s)));
        map.insert("segments".into(), segments.collect::<Vec<_>>().into());
        map.insert("next".into(), this.next.into());
        map.insert("op".into(), this.op.map_or(Dynamic::UNIT, Dynamic::from));
        map.insert("verb".into(), this.verb.into());
        map.insert("sqlstate".into(), this.sqlstate.into());
        let options = this.options.into_iter().map(Dynamic::from);
        map.insert("options".into(), options.collect::<Vec<_>>().into());
        map
    }

    /// Reads a caught or uncaught map back; `None` when it is not one of ours.
    pub fn from_map(map: &Map) -> Option<Thrown> {
        let text = |key: &str| map.get(key).and_then(|v| v.clone().into_string().ok());
        let number = |key: &str| map.get(key).and_then(|v| v.as_int().ok());
        let list = |key: &str| map.get(key).and_then(|v| v.clone().into_array().ok()).unwrap_or_default();
        Some(Thrown(Box::new(Details {
            code: text("code")?,
            exit: number("exit").and_then(|n| i32::try_from(n).ok()).unwrap_or(1),
            message: text("message").unwrap_or_default(),
            refusals: list("refusals").into_iter().filter_map(|r| r.try_cast::<RefusalRecord>()).map(|r| r.0).collect(),
            segments: list("segments")
                .into_iter()
                .filter_map(|s| s.try_cast::<SegmentOutcomeRecord>())
                .map(|s| s.0)
                .collect(),
            next: text("next").unwrap_or_default(),
            op: number("op"),
            verb: text("verb").unwrap_or_default(),
            sqlstate: text("sqlstate").unwrap_or_default(),
            options: list("options").into_iter().filter_map(|o| o.into_string().ok()).collect(),
        })))
    }
}

impl From<Thrown> for Box<EvalAltResult> {
    fn from(thrown: Thrown) -> Self {
        if thrown.code == "interrupted" {
            // Uncatchable: a script must not be able to go on after Ctrl-C.
            let token = Dynamic::from(thrown.message.clone());
            return Box::new(EvalAltResult::ErrorTerminated(token, Position::NONE));
        }
        Box::new(EvalAltResult::ErrorRuntime(Dynamic::from(thrown.into_map()), Position::NONE))
    }
}

impl From<ClusterError> for Thrown {
    fn from(error: ClusterError) -> Thrown {
        let message = error.to_string();
        match error {
            ClusterError::OtherRelease { next, .. } => Thrown::with_exit("other_release", 7, message).next(next),
            ClusterError::Unreachable { next, .. } => Thrown::with_exit("unreachable", 7, message).next(next),
            ClusterError::Locked { op, .. } => {
                Thrown::with_exit("locked", 8, message).op(Some(op)).next(format!("attach({op})"))
            }
            ClusterError::Sql { sqlstate, .. } => {
                let mut thrown = Thrown::script("sql", message);
                thrown.sqlstate = sqlstate;
                thrown
            }
            ClusterError::Invalid { next, .. } => Thrown::script("invalid", message).next(next),
            ClusterError::NotDrill => Thrown::with_exit("not_drill", 4, message).next("help(\"not_drill\")"),
            ClusterError::Interrupted { left } => Thrown::interrupted_saying(&left),
        }
    }
}
