//! What a run found: rows, each a measure of ours beside a peer's and a goal; as a table of 80 columns
//! and as JSON. Pure.

use crate::statistics::Samples;
use serde_json::{Map, Value, json};

/// Raised with every change of the document that a reader would notice.
pub const SCHEMA: u32 = 1;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    Seconds,
    PerSecond,
    Bytes,
    Count,
}

impl Unit {
    pub fn word(self) -> &'static str {
        match self {
            Unit::Seconds => "s",
            Unit::PerSecond => "1/s",
            Unit::Bytes => "B",
            Unit::Count => "count",
        }
    }

    /// At most nine characters.
    pub fn show(self, value: f64) -> String {
        match self {
            _ if !value.is_finite() => "-".into(),
            Unit::Seconds if value < 0.001 => format!("{:.0} us", value * 1e6),
            Unit::Seconds if value < 0.01 => format!("{:.2} ms", value * 1e3),
            Unit::Seconds if value < 1.0 => format!("{:.0} ms", value * 1e3),
            Unit::Seconds if value < 1000.0 => format!("{value:.2} s"),
            Unit::Seconds => format!("{value:.0} s"),
            Unit::PerSecond => format!("{value:.0}/s"),
            Unit::Bytes if value >= f64::from(1 << 30) => format!("{:.1} GiB", value / f64::from(1 << 30)),
            Unit::Bytes => format!("{:.1} MiB", value / f64::from(1 << 20)),
            Unit::Count => format!("{value:.0}"),
        }
    }
}

/// What has to hold. A ratio is of medians.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Goal {
    RatioAtLeast(f64),
    RatioAtMost(f64),
    MedianAtMost(f64),
    MaxAtMost(f64),
}

impl Goal {
    fn kind(self) -> (&'static str, f64) {
        match self {
            Goal::RatioAtLeast(n) => ("ratio_at_least", n),
            Goal::RatioAtMost(n) => ("ratio_at_most", n),
            Goal::MedianAtMost(n) => ("median_at_most", n),
            Goal::MaxAtMost(n) => ("max_at_most", n),
        }
    }
}

/// Which way a ratio is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ratio {
    /// Ours through the peer's: rates, and times that may not grow too much.
    OursOverPeer,
    /// The peer's through ours: how many times faster.
    PeerOverOurs,
}

/// One line of the table.
#[derive(Debug, Clone)]
pub struct Row {
    /// `incremental`, `commits`, ...: what `--only` selects.
    pub group: &'static str,
    pub what: String,
    pub unit: Unit,
    pub ours: Samples,
    pub peer: Option<(String, Samples)>,
    pub ratio: Ratio,
    pub goal: Option<Goal>,
    /// What a series runs over: `mib`, `percent`, `clients`.
    pub at: Vec<(&'static str, f64)>,
}

impl Row {
    pub fn new(group: &'static str, what: impl Into<String>, unit: Unit, ours: Samples) -> Row {
        Row { group, what: what.into(), unit, ours, peer: None, ratio: Ratio::OursOverPeer, goal: None, at: Vec::new() }
    }

    pub fn beside(mut self, peer: impl Into<String>, samples: Samples, ratio: Ratio) -> Row {
        self.peer = Some((peer.into(), samples));
        self.ratio = ratio;
        self
    }

    pub fn goal(mut self, goal: Goal) -> Row {
        self.goal = Some(goal);
        self
    }

    pub fn at(mut self, name: &'static str, value: f64) -> Row {
        self.at.push((name, value));
        self
    }

    pub fn ratio(&self) -> Option<f64> {
        let (ours, peer) = (self.ours.median(), self.peer.as_ref()?.1.median());
        let ratio = match self.ratio {
            Ratio::OursOverPeer => ours / peer,
            Ratio::PeerOverOurs => peer / ours,
        };
        ratio.is_finite().then_some(ratio)
    }

    /// Whether the goal is met; `None` without a goal. What could not be measured does not meet it.
    pub fn met(&self) -> Option<bool> {
        let ratio = self.ratio().unwrap_or(f64::NAN);
        self.goal.map(|goal| match goal {
            Goal::RatioAtLeast(n) => ratio >= n,
            Goal::RatioAtMost(n) => ratio <= n,
            Goal::MedianAtMost(n) => self.ours.median() <= n,
            Goal::MaxAtMost(n) => self.ours.max() <= n,
        })
    }

    fn shown_goal(&self) -> String {
        match self.goal {
            None => String::new(),
            Some(Goal::RatioAtLeast(n)) => format!(">= {n}x"),
            Some(Goal::RatioAtMost(n)) => format!("<= {n}x"),
            Some(Goal::MedianAtMost(n) | Goal::MaxAtMost(n)) if n == 0.0 => "0".into(),
            Some(Goal::MedianAtMost(n) | Goal::MaxAtMost(n)) => format!("<{}", self.unit.show(n).replace(' ', "")),
        }
    }

    /// Never wider than 80 columns.
    pub fn line(&self) -> String {
        let ours = match self.goal {
            Some(Goal::MaxAtMost(_)) => self.ours.max(),
            _ => self.ours.median(),
        };
        let peer = self.peer.as_ref().map_or(String::new(), |(_, s)| self.unit.show(s.median()));
        let ratio = self.ratio().map_or(String::new(), |r| format!("{r:.2}x"));
        let verdict = self.met().map_or("", |met| if met { "met" } else { "MISSED" });
        let what: String = self.what.chars().take(34).collect();
        let ours = self.unit.show(ours);
        format!("{what:34} {ours:>9} {peer:>9} {ratio:>7} {:>9} {verdict:6}", self.shown_goal()).trim_end().into()
    }

    pub fn json(&self) -> Value {
        let goal = self.goal.map(Goal::kind).map(|(kind, limit)| json!({ "kind": kind, "limit": limit }));
        let peer = self.peer.as_ref().map(|(name, samples)| {
            let mut object = shown(samples);
            object.insert("name".into(), json!(name));
            object
        });
        let at: Map<String, Value> = self.at.iter().map(|(name, value)| ((*name).into(), json!(value))).collect();
        json!({
            "group": self.group,
            "what": self.what,
            "unit": self.unit.word(),
            "at": at,
            "ours": shown(&self.ours),
            "peer": peer,
            "ratio": self.ratio(),
            "ratio_is": if self.ratio == Ratio::OursOverPeer { "ours/peer" } else { "peer/ours" },
            "goal": goal,
            "met": self.met(),
        })
    }
}

fn shown(samples: &Samples) -> Map<String, Value> {
    let fields = [("median", samples.median()), ("min", samples.min()), ("max", samples.max())];
    let mut object: Map<String, Value> = fields.into_iter().map(|(name, value)| (name.into(), json!(value))).collect();
    object.insert("samples".into(), json!(samples.0));
    object
}

/// The head of the table.
pub fn head() -> String {
    format!("{:34} {:>9} {:>9} {:>7} {:>9}", "what", "ours", "peer", "ratio", "goal")
}

/// A whole run.
#[derive(Debug, Default)]
pub struct Report {
    pub rows: Vec<Row>,
    /// What was not measured, and why: no room, or a failure.
    pub skipped: Vec<String>,
    pub failed: Vec<String>,
}

impl Report {
    /// The document; `machine` and `run` are what the caller knows of both.
    pub fn json(&self, run: Value, machine: Value) -> Value {
        json!({
            "schema": SCHEMA,
            "run": run,
            "machine": machine,
            "rows": self.rows.iter().map(Row::json).collect::<Vec<_>>(),
            "skipped": self.skipped,
            "failed": self.failed,
        })
    }

    pub fn missed(&self) -> Vec<&Row> {
        self.rows.iter().filter(|r| r.met() == Some(false)).collect()
    }
}
