//! Why a cluster is as it is: from what is seen, through what FTS saw and decided and the
//! preconditions that fail, to the next step. Pure: a state and the evidence in, an explanation out.

use super::evidence::Evidence;
use super::plan::{Intent, Selection};
use super::planning::plan;
use super::refusal::Refusal;
use super::state::{ContentState, PairHealth, Segment, State};
use crate::core::ids::{Content, Dbid};
use crate::core::report::StopMode;
use crate::core::row::Status;
use serde::Serialize;

/// What is asked about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum About {
    /// Whatever is wrong.
    Everything,
    Content(Content),
    Segment(Dbid),
    Host(String),
    /// What stands in the way of a call without a selection.
    Verb(&'static str),
}

/// The verbs whose way can be asked about; a call of each concerns the whole cluster.
pub const WHY_VERBS: &[&str] = &["recover", "full_recover", "rebalance", "restart", "verify"];
/// The verbs that are tried for a content that is not well.
const TRIED: [&str; 3] = ["recover", "rebalance", "verify"];
/// How much of the evidence is told, counted from the end.
const CLUES: usize = 3;

/// An explanation; no part means that nothing is wrong with what was asked about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Why {
    /// What was asked about, in words.
    pub subject: String,
    /// When it was so, in Unix milliseconds.
    pub time_ms: i64,
    /// Each thing that is wrong, the gravest first.
    pub parts: Vec<Part>,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Part {
    /// What it is about: `content 2`, `host sdw1`, `rebalance()`.
    pub what: String,
    /// What is to be seen, in words that follow [`Part::what`]: `has a single copy`.
    pub symptom: String,
    /// The rest of the sentence: how far, and by what it came so; empty when nobody knows more.
    pub detail: String,
    /// Since when, in Unix milliseconds, where that is known.
    pub since_ms: Option<i64>,
    /// What was seen and decided, oldest first.
    pub evidence: Vec<Clue>,
    /// Every verb that was tried on it, with what stands in its way.
    pub tried: Vec<Tried>,
    /// The next step as it would be typed.
    pub next: String,
    /// What comes after that, empty when nothing does.
    pub then: String,
}

/// What a line of evidence is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ClueKind {
    /// What is known of a member now.
    Now,
    /// What a probe saw.
    Seen,
    /// What FTS decided.
    Decided,
}

impl ClueKind {
    /// The word at the beginning of its line.
    pub fn word(self) -> &'static str {
        match self {
            ClueKind::Now => "now",
            ClueKind::Seen => "seen",
            ClueKind::Decided => "decided",
        }
    }
}

/// One line of evidence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Clue {
    pub kind: ClueKind,
    /// When, in Unix milliseconds, where the clue knows it so.
    pub time_ms: Option<i64>,
    /// When, as the history writes it; empty where `time_ms` is known.
    pub time: String,
    pub what: String,
}

/// A verb, and what stands in its way: nothing, when it could be called now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Tried {
    pub verb: String,
    pub refusals: Vec<Refusal>,
}

/// Explains. `evidence` is asked for the contents that are not well, and may know nothing.
pub fn why(state: &State, about: &About, evidence: impl Fn(Content) -> Option<Evidence>) -> Why {
    let mut parts: Vec<(u8, Part)> = Vec::new();
    if state.coordinator.pid.is_none() {
        parts.push((0, coordinator_gone(state)));
    }
    if let About::Verb(verb) = about {
        parts.extend(in_the_way(state, verb).map(|part| (1, part)));
    }
    for host in state.hosts.iter().filter(|h| !h.alive && concerns(about, state, &h.host)) {
        let next = if state.drill { "fault::start_host" } else { "ping" };
        let part = Part {
            symptom: "does not answer".into(),
            detail: known(&host.cause).into(),
            next: format!("{next}(\"{}\")", host.host),
            ..about_nothing(format!("host {}", host.host))
        };
        parts.push((1, part));
    }
    for detail in state.contents.iter().filter(|c| is_asked(about, state, c.content)) {
        if let Some((rank, mut part)) = content(state, detail) {
            if state.coordinator.pid.is_some() {
                part.evidence = evidence(detail.content).map(|e| clues(&e)).unwrap_or_default();
                part.tried = TRIED.iter().map(|verb| tried(state, verb, only(detail.content))).collect();
            }
            (part.next, part.then) = steps(state, detail, &part);
            parts.push((rank, part));
        }
    }
    parts.sort_by_key(|(rank, _)| *rank);
    Why { subject: subject(about), time_ms: state.time_ms, parts: parts.into_iter().map(|(_, part)| part).collect() }
}

fn about_nothing(what: String) -> Part {
    Part {
        what,
        symptom: String::new(),
        detail: String::new(),
        since_ms: None,
        evidence: Vec::new(),
        tried: Vec::new(),
        next: String::new(),
        then: String::new(),
    }
}

fn subject(about: &About) -> String {
    match about {
        About::Everything => "the cluster".into(),
        About::Content(content) => format!("content {content}"),
        About::Segment(dbid) => format!("dbid {dbid}"),
        About::Host(host) => format!("host {host}"),
        About::Verb(verb) => format!("{verb}()"),
    }
}

fn concerns(about: &About, state: &State, host: &str) -> bool {
    match about {
        About::Everything => true,
        About::Host(asked) => asked == host,
        About::Segment(dbid) => state.segment(*dbid).is_some_and(|s| s.row.hostname == host),
        About::Content(content) => members(state, *content).any(|s| s.row.hostname == host),
        About::Verb(_) => false,
    }
}

fn is_asked(about: &About, state: &State, content: Content) -> bool {
    match about {
        About::Everything => true,
        About::Content(asked) => *asked == content,
        About::Segment(dbid) => state.segment(*dbid).is_some_and(|s| s.row.content == content),
        About::Host(host) => members(state, content).any(|s| s.row.hostname == *host),
        About::Verb(_) => false,
    }
}

fn members(state: &State, content: Content) -> impl Iterator<Item = &Segment> {
    state.segments.iter().filter(move |s| s.row.content == content)
}

fn known(cause: &str) -> &str {
    if cause.is_empty() { "no cause known" } else { cause }
}

fn coordinator_gone(state: &State) -> Part {
    Part {
        symptom: format!("on {} does not answer: this is its last catalog", state.coordinator.host),
        next: format!("segsh start -c {}", state.cluster),
        ..about_nothing("the coordinator".into())
    }
}

/// What is wrong with a content, and how grave that is: 0 is the gravest.
fn content(state: &State, detail: &ContentState) -> Option<(u8, Part)> {
    let dead = members(state, detail.content).find(|s| !s.alive.alive && s.row.status == Status::Up);
    let damaged = detail.source_damaged.as_deref();
    let event = detail.last_event.trim().trim_end_matches('.').to_string();
    let (rank, symptom, more) = match (detail.health, damaged, dead) {
        (PairHealth::Quarantined, ..) => {
            let why = detail.quarantine.as_deref().unwrap_or("its rows are impossible");
            (1, "is quarantined, so nothing is decided for it".to_string(), why.to_string())
        }
        (PairHealth::DoubleFault, ..) => (2, "is in a double fault, and no member can serve".into(), event),
        (PairHealth::Lost, ..) => (2, "is down, and has no mirror: the cluster is not operational".into(), event),
        (_, Some(why), _) => (3, "serves from a copy that is damaged".into(), why.to_string()),
        (_, _, Some(dead)) => (4, undecided(state, dead), member(dead)),
        (PairHealth::ChangeTracking, ..) => (5, "has a single copy".into(), [behind(detail), event].join("; ")),
        (PairHealth::Resynchronizing, ..) => (6, "has a single copy until it is synchronized".into(), copied(detail)),
        _ if is_unbalanced(state, detail.content) => {
            (7, "is synchronized, and not in its preferred roles".into(), event)
        }
        _ => return None,
    };
    let mut part = about_nothing(format!("content {}", detail.content));
    part.symptom = symptom;
    part.detail = more.trim_start_matches("; ").trim_end_matches("; ").to_string();
    part.since_ms = detail.single_copy_since_ms.or_else(|| dead.and_then(|d| d.down_since_ms));
    Some((rank, part))
}

fn undecided(state: &State, dead: &Segment) -> String {
    let paused = if state.fts_paused_until_ms.is_some() { ": FTS is paused" } else { "" };
    format!("has a {} that does not answer, and FTS has not decided about it{paused}", dead.row.role)
}

fn member(dead: &Segment) -> String {
    format!("dbid {} on {}, {}", dead.row.dbid, dead.row.hostname, known(&dead.alive.cause))
}

fn behind(detail: &ContentState) -> String {
    const BLOCK_BYTES: f64 = 4096.0;
    match detail.to_copy_blocks {
        Some(blocks) => format!("{:.1} MiB behind", blocks as f64 * BLOCK_BYTES / f64::from(1 << 20)),
        None => String::new(),
    }
}

fn copied(detail: &ContentState) -> String {
    super::preconditions::percent(detail).map(|p| format!("{p} % copied")).unwrap_or_default()
}

fn is_unbalanced(state: &State, content: Content) -> bool {
    members(state, content).any(|s| !s.is_preferred())
}

/// What is known now, then the last that was seen, then the last that was decided.
fn clues(evidence: &Evidence) -> Vec<Clue> {
    let last = |n: usize| n.saturating_sub(CLUES);
    let now = evidence.now.iter().map(|what| Clue {
        kind: ClueKind::Now,
        time_ms: None,
        time: String::new(),
        what: what.clone(),
    });
    let seen = evidence.seen.iter().skip(last(evidence.seen.len())).map(|o| Clue {
        kind: ClueKind::Seen,
        time_ms: Some(o.time_ms),
        time: String::new(),
        what: o.what.clone(),
    });
    let decided = evidence.decisions.iter().skip(last(evidence.decisions.len())).map(|d| Clue {
        kind: ClueKind::Decided,
        time_ms: None,
        time: d.time.clone(),
        what: d.reason.clone(),
    });
    now.chain(seen).chain(decided).collect()
}

fn only(content: Content) -> Selection {
    Selection { contents: vec![content], ..Selection::default() }
}

fn intent(verb: &str, selection: Selection) -> Intent {
    let (rate_bytes, jobs) = (None, None);
    match verb {
        "full_recover" => Intent::FullRecover { selection, rate_bytes, jobs, in_place: false },
        "rebalance" => Intent::Rebalance { selection },
        "restart" => Intent::Restart { selection, mode: StopMode::Fast },
        "verify" => Intent::Verify { selection, rate_bytes, jobs },
        _ => Intent::Recover { selection, rate_bytes, jobs },
    }
}

/// What a call would be told now: by the very table that it is checked with.
fn tried(state: &State, verb: &str, selection: Selection) -> Tried {
    Tried { verb: verb.into(), refusals: plan(state, &intent(verb, selection), state.time_ms).refusals }
}

/// What keeps a call on the whole cluster from doing all of it; nothing when it could.
fn in_the_way(state: &State, verb: &'static str) -> Option<Part> {
    let tried = tried(state, verb, Selection::default());
    let first = tried.refusals.first()?;
    let next = first.next.clone();
    let symptom = match tried.refusals.len() {
        1 => "has a reason not to do all of it".to_string(),
        n => format!("has {n} reasons not to do all of it"),
    };
    Some(Part { symptom, next, tried: vec![tried], ..about_nothing(format!("{verb}()")) })
}

/// The next step of a content that is not well, and the one after it.
fn steps(state: &State, detail: &ContentState, part: &Part) -> (String, String) {
    let content = detail.content;
    let refused = |verb: &str| {
        let tried = part.tried.iter().find(|t| t.verb == verb)?;
        tried.refusals.first().map(|r| r.next.clone()).filter(|next| !next.is_empty())
    };
    let selected = |verb: &str| format!("{verb}(#{{ contents: [{content}] }})");
    let balance = if is_unbalanced(state, content) { "at a quiet time: rebalance()" } else { "" };
    let next = match detail.health {
        PairHealth::Quarantined => "state().rows".to_string(),
        PairHealth::DoubleFault => "procedure(\"recover_double_fault\")".to_string(),
        PairHealth::Lost => "procedure(\"recover_without_mirroring\")".to_string(),
        _ if detail.source_damaged.is_some() => "help(\"source_damaged\")".to_string(),
        PairHealth::Resynchronizing => format!("wait_until(\"synchronized\", #{{ contents: [{content}] }})"),
        PairHealth::ChangeTracking if detail.operation.is_some() => {
            format!("wait_until(\"synchronized\", #{{ contents: [{content}] }})")
        }
        PairHealth::ChangeTracking => refused("recover").unwrap_or_else(|| selected("recover")),
        _ if members(state, content).any(Segment::is_down) => "probe()".to_string(),
        _ => return (refused("rebalance").unwrap_or_else(|| "rebalance()".to_string()), String::new()),
    };
    (next, balance.to_string())
}
