//! The precondition table: what must hold before a verb may work on a content.
//!
//! One table is the whole truth. The planner walks it, so that all refusals come together, and help
//! prints it, so that what is documented is what is checked.

use super::moving::Misplaced;
use super::plan::Intent;
use super::refusal::{Refusal, RefusalCode};
use super::state::{ContentState, PairHealth, Segment, State};
use crate::core::ids::Content;
use crate::core::row::{Mode, Place, Status};

/// A file system that a primary writes to needs room for its log and a checkpoint; below this a
/// switch would trade an unbalanced cluster for one that can't write.
pub const PRIMARY_FREE_BYTES_MIN: i64 = 1 << 30;

/// One content as a verb looks at it.
pub struct Subject<'a> {
    pub state: &'a State,
    pub content: Content,
    pub detail: &'a ContentState,
    pub primary: Option<&'a Segment>,
    pub mirror: Option<&'a Segment>,
    /// The segment that is recovered, switched to primary, or restarted.
    pub target: Option<&'a Segment>,
    pub intent: &'a Intent,
    /// Where it would be moved, or what speaks against that; `None` when it is not to be moved.
    pub(super) destination: Option<&'a Result<Place, Vec<Misplaced>>>,
}

impl Subject<'_> {
    fn restarts_all(&self) -> bool {
        matches!(self.intent, Intent::Restart { selection, .. } if selection.is_all())
    }
}

/// One line of the table.
pub struct Precondition {
    pub code: RefusalCode,
    /// The verbs that it is for; `recover to` is a recovery to another place.
    pub verbs: &'static [&'static str],
    /// What must hold, in words.
    pub says: &'static str,
    /// The refusals of this line for one content; none when it holds.
    check: fn(&Subject) -> Vec<Refusal>,
}

impl Precondition {
    /// Whether a call of this name may be refused by it, as such or with `to:`.
    pub fn is_for(&self, verb: &str) -> bool {
        self.verbs.iter().any(|own| *own == verb || own.strip_suffix(" to") == Some(verb))
    }

    /// The refusals of this line, none when the line is not about the verb.
    pub(super) fn refusals(&self, subject: &Subject) -> Vec<Refusal> {
        if self.verbs.contains(&subject.intent.rules()) { (self.check)(subject) } else { Vec::new() }
    }
}

/// Every precondition, in the order in which refusals are told.
pub const PRECONDITIONS: &[Precondition] = &[
    Precondition {
        code: RefusalCode::Quarantined,
        verbs: &["recover", "recover to", "full_recover", "rebalance", "restart", "verify", "backup", "restore"],
        says: "the content's rows are possible and its epochs agree",
        check: not_quarantined,
    },
    Precondition {
        code: RefusalCode::Quarantined,
        verbs: &["force_primary"],
        says: "the content's rows are possible: an override chooses between two copies, and writes no row by hand",
        check: rows_possible,
    },
    Precondition {
        code: RefusalCode::SegmentUp,
        verbs: &["force_primary"],
        says: "no member of the content serves, or the one that does is damaged, or it is quarantined",
        check: nobody_serves,
    },
    Precondition {
        code: RefusalCode::NoMirror,
        verbs: &["recover", "recover to", "full_recover", "rebalance", "verify"],
        says: "the content has a mirror",
        check: has_mirror,
    },
    Precondition {
        code: RefusalCode::NotOperational,
        verbs: &["recover", "recover to", "full_recover", "rebalance", "verify"],
        says: "the only segment of a content without a mirror serves",
        check: not_lost,
    },
    Precondition {
        code: RefusalCode::DoubleFault,
        verbs: &["recover", "recover to", "full_recover", "rebalance", "verify", "backup"],
        says: "a member of the content can serve",
        check: not_double_fault,
    },
    Precondition {
        code: RefusalCode::SegmentUp,
        verbs: &["full_recover", "recover to"],
        says: "the segment to copy anew, or to move, is down",
        check: target_down,
    },
    Precondition {
        code: RefusalCode::SegmentDown,
        verbs: &["recover", "recover to", "rebalance", "verify"],
        says: "no segment of the content is down (rebalance, verify); the catalog has decided about a dead one (recover)",
        check: members_up,
    },
    Precondition {
        code: RefusalCode::SegmentDown,
        verbs: &["backup"],
        says: "the acting primary answers",
        check: primary_answers,
    },
    Precondition {
        code: RefusalCode::NotSynchronized,
        verbs: &["rebalance", "verify"],
        says: "the pair is synchronized",
        check: synchronized,
    },
    Precondition {
        code: RefusalCode::HostDown,
        verbs: &["recover", "full_recover", "restart", "force_primary", "restore"],
        says: "the target's host answers",
        check: host_answers,
    },
    Precondition {
        code: RefusalCode::UnknownTarget,
        verbs: &["recover to"],
        says: "the new place is on a host of the cluster, in a directory where it keeps segments",
        check: |s| misplaced(s, RefusalCode::UnknownTarget),
    },
    Precondition {
        code: RefusalCode::HostDown,
        verbs: &["recover to"],
        says: "the host of the new place answers; that of the old one need not",
        check: destination_answers,
    },
    Precondition {
        code: RefusalCode::Colocated,
        verbs: &["recover to"],
        says: "the new place is on another host than the other copy",
        check: |s| misplaced(s, RefusalCode::Colocated),
    },
    Precondition {
        code: RefusalCode::PortTaken,
        verbs: &["recover to"],
        says: "no other segment has the ports of the new place, and nobody listens on them",
        check: |s| misplaced(s, RefusalCode::PortTaken),
    },
    Precondition {
        code: RefusalCode::DirTaken,
        verbs: &["recover to"],
        says: "the directory of the new place is empty and no other segment's",
        check: |s| misplaced(s, RefusalCode::DirTaken),
    },
    Precondition {
        code: RefusalCode::InMaintenance,
        verbs: &["recover", "recover to", "full_recover"],
        says: "the target's host is not in maintenance",
        check: not_in_maintenance,
    },
    Precondition {
        code: RefusalCode::SourceDamaged,
        verbs: &["recover", "recover to", "full_recover", "backup"],
        says: "the acting primary's own data is sound",
        check: source_sound,
    },
    Precondition {
        code: RefusalCode::IncrementalImpossible,
        verbs: &["recover"],
        says: "what changed is known for this very copy",
        check: map_usable,
    },
    Precondition {
        code: RefusalCode::NoSpace,
        verbs: &["full_recover", "rebalance"],
        says: "there is room for what will be written",
        check: room,
    },
];

fn refusal(code: RefusalCode, subject: &Subject, segment: Option<&Segment>, cause: String, next: String) -> Refusal {
    Refusal {
        code,
        content: Some(subject.content),
        dbid: segment.map(|s| s.row.dbid),
        host: segment.map(|s| s.row.hostname.clone()),
        cause,
        next,
    }
}

fn not_quarantined(s: &Subject) -> Vec<Refusal> {
    if s.detail.quarantine.is_none() && s.detail.health != PairHealth::Quarantined {
        return Vec::new();
    }
    let cause = s.detail.quarantine.clone().unwrap_or_else(|| "its rows are impossible".into());
    vec![refusal(RefusalCode::Quarantined, s, None, cause, "state().rows".into())]
}

fn rows_possible(s: &Subject) -> Vec<Refusal> {
    if s.state.pair(s.content).is_some_and(|row| row.pairing().is_some()) {
        return Vec::new();
    }
    let cause = s.detail.quarantine.clone().unwrap_or_else(|| "its rows are impossible".into());
    vec![refusal(RefusalCode::Quarantined, s, None, cause, "segsh stop, move catalog.db away, segsh adopt DIR".into())]
}

fn nobody_serves(s: &Subject) -> Vec<Refusal> {
    if s.detail.health.is_unserved() || s.detail.health == PairHealth::Quarantined {
        return Vec::new();
    }
    // A damaged one may be replaced by a mirror that lacks changes: a person knows which is worse.
    let damaged = s.detail.source_damaged.is_some() && s.target.map(|t| t.row.dbid) != s.primary.map(|p| p.row.dbid);
    match s.primary.filter(|p| p.alive.alive && !damaged) {
        Some(p) => {
            let cause = format!("acting primary dbid {} serves content {}", p.row.dbid, s.content);
            vec![refusal(RefusalCode::SegmentUp, s, s.target, cause, format!("state().content({})", s.content))]
        }
        None => Vec::new(),
    }
}

fn has_mirror(s: &Subject) -> Vec<Refusal> {
    // A dead content without a mirror has a line of its own, which has the useful next step.
    if s.mirror.is_some() || s.detail.health != PairHealth::NoMirror {
        return Vec::new();
    }
    let cause = format!("content {} has no mirror in this cluster", s.content);
    vec![refusal(RefusalCode::NoMirror, s, s.primary, cause, "state().content(N)".replace('N', &s.content.to_string()))]
}

fn not_double_fault(s: &Subject) -> Vec<Refusal> {
    if s.detail.health != PairHealth::DoubleFault {
        return Vec::new();
    }
    let (Some(p), Some(m)) = (s.primary, s.mirror) else {
        return Vec::new();
    };
    let cause = format!("dbid {} and dbid {} can't serve: {}", p.row.dbid, m.row.dbid, words(&p.alive.cause));
    let next = "procedure(\"recover_double_fault\")".to_string();
    vec![refusal(RefusalCode::DoubleFault, s, s.primary, cause, next)]
}

fn not_lost(s: &Subject) -> Vec<Refusal> {
    let Some(only) = s.primary.filter(|_| s.detail.health == PairHealth::Lost) else {
        return Vec::new();
    };
    let cause = format!("dbid {} does not serve, and there is no mirror: {}", only.row.dbid, words(&only.alive.cause));
    let next = "procedure(\"recover_without_mirroring\")".to_string();
    vec![refusal(RefusalCode::NotOperational, s, s.primary, cause, next)]
}

fn target_down(s: &Subject) -> Vec<Refusal> {
    match s.target {
        // In a double fault the living mirror is no reason: there is nothing to copy to it.
        Some(t) if !t.is_down() && s.detail.health != PairHealth::DoubleFault => vec![refusal(
            RefusalCode::SegmentUp,
            s,
            s.target,
            format!("dbid {} is up as the {} of content {}", t.row.dbid, t.row.role, s.content),
            format!("state().segment({})", t.row.dbid),
        )],
        _ => Vec::new(),
    }
}

fn members_up(s: &Subject) -> Vec<Refusal> {
    if s.detail.health == PairHealth::DoubleFault {
        return Vec::new();
    }
    match s.intent {
        Intent::Recover { .. } | Intent::Move { .. } => undecided(s),
        _ => [s.primary, s.mirror].into_iter().flatten().filter(|x| x.is_down()).map(|x| down(s, x)).collect(),
    }
}

fn down(s: &Subject, segment: &Segment) -> Refusal {
    let row = &segment.row;
    let cause =
        format!("{} dbid {} on {}:{}, {}", row.role, row.dbid, row.hostname, row.port, words(&segment.alive.cause));
    let next = format!("recover(#{{ contents: [{}] }})", s.content);
    refusal(RefusalCode::SegmentDown, s, Some(segment), cause, next)
}

/// A dead segment that the catalog still counts on, in a pair that serves: FTS has yet to write its
/// decision, and a plan made before would be about another row.
fn undecided(s: &Subject) -> Vec<Refusal> {
    [s.primary, s.mirror]
        .into_iter()
        .flatten()
        .filter(|x| !x.alive.alive && x.row.status == Status::Up)
        .map(|x| {
            let cause = format!("dbid {} does not answer and the catalog has not yet decided about it", x.row.dbid);
            refusal(RefusalCode::SegmentDown, s, Some(x), cause, "probe()".into())
        })
        .collect()
}

fn primary_answers(s: &Subject) -> Vec<Refusal> {
    if s.detail.health == PairHealth::DoubleFault {
        return Vec::new();
    }
    s.primary.filter(|p| !p.alive.alive).map(|p| down(s, p)).into_iter().collect()
}

fn synchronized(s: &Subject) -> Vec<Refusal> {
    let resynchronizing = s.primary.is_some_and(|p| p.row.mode == Mode::Resynchronizing);
    if !resynchronizing || s.detail.health == PairHealth::DoubleFault {
        return Vec::new();
    }
    let percent = percent(s.detail).map(|p| format!(", {p} %")).unwrap_or_default();
    let next = format!("wait_until(\"synchronized\", #{{ contents: [{}] }})", s.content);
    vec![refusal(RefusalCode::NotSynchronized, s, None, format!("resynchronizing{percent}"), next)]
}

fn host_answers(s: &Subject) -> Vec<Refusal> {
    let Some(target) = s.target else {
        return Vec::new();
    };
    if s.restarts_all() {
        // A restart of everything starts the hosts' agents too.
        return Vec::new();
    }
    answers(s, target, &target.row.hostname)
}

fn destination_answers(s: &Subject) -> Vec<Refusal> {
    match (s.target, s.destination) {
        (Some(target), Some(Ok(place))) => answers(s, target, &place.hostname),
        _ => Vec::new(),
    }
}

fn misplaced(s: &Subject, code: RefusalCode) -> Vec<Refusal> {
    let Some(Err(found)) = s.destination else {
        return Vec::new();
    };
    let refused = |m: &Misplaced| Refusal {
        host: Some(m.host.clone()),
        ..refusal(code, s, s.target, m.cause.clone(), m.next.clone())
    };
    found.iter().filter(|m| m.code == code).map(refused).collect()
}

fn answers(s: &Subject, target: &Segment, host: &str) -> Vec<Refusal> {
    match s.state.host(host) {
        Some(host) if !host.alive => {
            let cause = format!("{} does not answer: {}", host.host, words(&host.cause));
            let next = if s.state.drill {
                format!("fault::start_host(\"{}\")", host.host)
            } else {
                format!("ping(\"{}\")", host.host)
            };
            let host = Some(host.host.clone());
            vec![Refusal { host, ..refusal(RefusalCode::HostDown, s, Some(target), cause, next) }]
        }
        _ => Vec::new(),
    }
}

fn not_in_maintenance(s: &Subject) -> Vec<Refusal> {
    let Some(target) = s.target else {
        return Vec::new();
    };
    let host = match s.destination {
        Some(Ok(place)) => &place.hostname,
        _ => &target.row.hostname,
    };
    let found = s.state.maintenance.iter().filter(|m| m.host == *host);
    found.map(|m| m.refusal(s.state.time_ms, s.content, target.row.dbid)).collect()
}

fn source_sound(s: &Subject) -> Vec<Refusal> {
    match &s.detail.source_damaged {
        Some(why) => {
            let next = "help(\"source_damaged\")".to_string();
            vec![refusal(RefusalCode::SourceDamaged, s, s.primary, why.clone(), next)]
        }
        None => Vec::new(),
    }
}

fn map_usable(s: &Subject) -> Vec<Refusal> {
    // While a copy runs the map belongs to it; what it says is the business of that operation.
    if s.detail.health != PairHealth::ChangeTracking {
        return Vec::new();
    }
    match (&s.detail.incremental_impossible, s.target) {
        (Some(why), Some(target)) => {
            let next = format!("full_recover(#{{ dbids: {} }})", target.row.dbid);
            vec![refusal(RefusalCode::IncrementalImpossible, s, s.target, why.clone(), next)]
        }
        _ => Vec::new(),
    }
}

fn room(s: &Subject) -> Vec<Refusal> {
    let (Some(target), Some(primary)) = (s.target, s.primary) else {
        return Vec::new();
    };
    let (needed, what) = match s.intent {
        Intent::FullRecover { in_place: true, .. } => return Vec::new(),
        Intent::FullRecover { .. } => (primary.data_bytes.unwrap_or(0), "a new copy"),
        _ if primary.is_preferred() => return Vec::new(),
        _ => (PRIMARY_FREE_BYTES_MIN, "a primary"),
    };
    match target.free_bytes {
        Some(free) if free < needed => {
            let row = &target.row;
            let cause =
                format!("{}:{} has {} free, {what} needs {}", row.hostname, row.datadir, gib(free), gib(needed));
            let next = format!("free space on {}", row.hostname);
            vec![refusal(RefusalCode::NoSpace, s, Some(target), cause, next)]
        }
        _ => Vec::new(),
    }
}

/// How much of a running copy is done, when it is known.
pub(super) fn percent(detail: &ContentState) -> Option<i64> {
    let p = detail.progress.as_ref().filter(|p| p.total_blocks > 0)?;
    i64::try_from(p.copied_blocks.min(p.total_blocks) * 100 / p.total_blocks).ok()
}

fn words(cause: &str) -> &str {
    if cause.is_empty() { "no cause known" } else { cause }
}

fn gib(bytes: i64) -> String {
    format!("{:.1} GiB", bytes as f64 / (1u64 << 30) as f64)
}
