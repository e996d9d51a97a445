//! How an operation ended, in the words and codes of the API.

use super::{Live, Shared};
use crate::cluster::{Outcome, OutcomeStatus, PairHealth, Refusal, RefusalCode, SegmentOutcome};
use crate::core::ids::Content;
use crate::core::operation::{Ended, Goal, GoalKind, Target, Why};
use crate::core::report::Progress;
use crate::core::row::{Pairing, Role};

/// Bytes of a block.
const BLOCK: u64 = 4096;

/// One word for the progress line.
pub(super) fn short(ended: &Ended) -> &'static str {
    match ended {
        Ended::Done { .. } => "done",
        Ended::Refused { .. } => "refused",
        Ended::Failed { .. } => "failed",
        Ended::Cancelled { .. } => "cancelled",
        Ended::Differs { .. } => "differs",
    }
}

fn status(ended: Option<&Ended>) -> OutcomeStatus {
    match ended {
        Some(Ended::Done { .. }) => OutcomeStatus::Done,
        Some(Ended::Refused { .. }) => OutcomeStatus::Refused,
        Some(Ended::Failed { .. }) => OutcomeStatus::Partial,
        Some(Ended::Cancelled { .. }) => OutcomeStatus::Cancelled,
        Some(Ended::Differs { .. }) => OutcomeStatus::Differs,
        None => OutcomeStatus::Unknown,
    }
}

/// The outcome of a goal whose targets have all ended.
pub(super) fn of(shared: &Shared, live: &Live, goal: &Goal) -> Outcome {
    let copies = live.copies().clone();
    let segments: Vec<_> = goal.targets.iter().map(|t| segment(shared, t, copies.get(&t.content))).collect();
    let refusals: Vec<_> = goal.targets.iter().filter_map(|t| refusal(shared, t)).collect();
    let count = |wanted: OutcomeStatus| segments.iter().filter(|s| s.status == wanted).count();
    let done = count(OutcomeStatus::Done);
    let total = goal.targets.len();
    let differing = count(OutcomeStatus::Differs);
    let is_whole_or_nothing = match goal.kind {
        GoalKind::Backup { .. } => true,
        GoalKind::Restore { .. } => !goal.replaces,
        _ => false,
    };
    let status = if done == total {
        OutcomeStatus::Done
    } else if differing > 0 {
        // Whatever became of the rest: this is what must not be missed.
        OutcomeStatus::Differs
    } else if goal.cancelled || (goal.stop_after_segment && count(OutcomeStatus::Cancelled) > 0) {
        OutcomeStatus::Cancelled
    } else if count(OutcomeStatus::Refused) == total || (is_whole_or_nothing && count(OutcomeStatus::Refused) > 0) {
        OutcomeStatus::Refused
    } else {
        OutcomeStatus::Partial
    };
    let (message, next) = match status {
        OutcomeStatus::Done if matches!(goal.kind, GoalKind::Verify { .. }) => Default::default(),
        OutcomeStatus::Done if matches!(goal.kind, GoalKind::Backup { .. }) => (goal.summary.clone(), String::new()),
        OutcomeStatus::Done => what_is_left(shared, goal),
        _ => {
            let next = refusals.first().map(|r| r.next.clone()).unwrap_or_default();
            let next = if next.is_empty() && status == OutcomeStatus::Partial { "state()".into() } else { next };
            let verb = goal.verb();
            match status {
                OutcomeStatus::Refused => (format!("refused: {verb}. 0 of {total} done"), next),
                OutcomeStatus::Differs => differs(goal, differing),
                _ => (format!("{verb} ended {}: {done} of {total} done", status.word()), next),
            }
        }
    };
    Outcome {
        verb: goal.verb().into(),
        status,
        op: Some(live.id),
        segments,
        refusals,
        elapsed_ms: live.elapsed_ms(),
        message,
        next,
    }
}

/// What to do about copies that differ: recovery is what mends them, and refuses what must not be copied.
fn differs(goal: &Goal, differing: usize) -> (String, String) {
    let contents = goal.targets.iter().filter(|t| matches!(t.ended, Some(Ended::Differs { .. })));
    let list: Vec<String> = contents.map(|t| t.content.to_string()).collect();
    let which = if differing == 1 { "the copies of content" } else { "the copies of contents" };
    let next = format!("recover(#{{ contents: [{}] }})", list.join(", "));
    (format!("{which} {} differ", list.join(", ")), next)
}

/// What a recovery that succeeded leaves to be done at a quiet time, and the call for it.
fn what_is_left(shared: &Shared, goal: &Goal) -> (String, String) {
    let is_switched = |content: Content| {
        let pair = shared.store.content(content).ok().and_then(|c| c.pair.ok());
        let acting = pair.and_then(|row| shared.places.row(row.primary.dbid));
        acting.is_some_and(|row| row.preferred_role != Role::Primary)
    };
    let mut switched: Vec<Content> = goal.targets.iter().map(|t| t.content).filter(|c| is_switched(*c)).collect();
    switched.sort_unstable();
    switched.dedup();
    let list = switched.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let message = match switched.len() {
        0 => return Default::default(),
        1 => format!("content {list} is not in its preferred roles."),
        _ => format!("contents {list} are not in their preferred roles."),
    };
    (message, "rebalance()".into())
}

fn segment(shared: &Shared, target: &Target, copy: Option<&Progress>) -> SegmentOutcome {
    let (how, note) = match &target.ended {
        Some(Ended::Done { how, note }) => (how.clone(), note.clone()),
        Some(Ended::Refused { cause, .. } | Ended::Failed { cause }) => (String::new(), cause.clone()),
        Some(Ended::Cancelled { note }) => (String::new(), note.clone()),
        Some(Ended::Differs { note }) => ("verified".into(), note.clone()),
        None => (String::new(), String::new()),
    };
    let signed = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    let copied = copy.map_or(0, |c| c.copied_blocks);
    let paused = copy.map(|c| [c.pause_open_us, c.pause_claim_us]).unwrap_or_default();
    SegmentOutcome {
        content: target.content,
        dbid: target.dbid,
        host: shared.places.host_of(target.dbid),
        status: status(target.ended.as_ref()),
        how,
        copied_blocks: signed(copied),
        copied_bytes: signed(copied.saturating_mul(BLOCK)),
        verified_bytes: signed(target.verified_bytes),
        differing_blocks: signed(target.differing_blocks),
        paused_us: paused.into_iter().flatten().map(signed).collect(),
        pair: pair(shared, target.content).word().into(),
        note,
    }
}

pub(super) fn pair(shared: &Shared, content: Content) -> PairHealth {
    // Of the catalog, not of the board: the outcome follows the last change at once.
    let row = shared.store.content(content).ok().and_then(|c| c.pair.ok());
    match row.and_then(|row| row.pairing()) {
        Some(Pairing::Synchronized) => PairHealth::Synchronized,
        Some(Pairing::Resynchronizing) => PairHealth::Resynchronizing,
        Some(Pairing::ChangeTracking) => PairHealth::ChangeTracking,
        Some(Pairing::Mirrorless) => PairHealth::NoMirror,
        None => PairHealth::Quarantined,
    }
}

fn refusal(shared: &Shared, target: &Target) -> Option<Refusal> {
    let Some(Ended::Refused { why, cause }) = &target.ended else {
        return None;
    };
    let (content, dbid) = (target.content, target.dbid);
    // A move is refused at its new place, where the segment never came to be.
    let host = target.to.as_ref().map_or_else(|| shared.places.host_of(dbid), |to| to.hostname.clone());
    let has_mirror = pair(shared, content) != PairHealth::NoMirror;
    let (code, next) = match why {
        Why::HostDown => {
            (RefusalCode::HostDown, format!("bring host {host} back, then recover(#{{ contents: [{content}] }})"))
        }
        Why::CannotStop => (RefusalCode::CannotStop, format!("end the process on {host} by hand")),
        Why::IncrementalImpossible => {
            (RefusalCode::IncrementalImpossible, format!("full_recover(#{{ dbids: {dbid} }})"))
        }
        Why::NoSpace => (RefusalCode::NoSpace, format!("free space on {host}")),
        Why::PortTaken => (RefusalCode::PortTaken, "name another: help(\"port_taken\")".into()),
        Why::DirTaken => (RefusalCode::DirTaken, "name another: help(\"dir_taken\")".into()),
        Why::NoSuchDir => (RefusalCode::UnknownTarget, format!("state().host(\"{host}\")")),
        Why::DoubleFault if !has_mirror => {
            (RefusalCode::NotOperational, "procedure(\"recover_without_mirroring\")".into())
        }
        Why::DoubleFault => (RefusalCode::DoubleFault, format!("restart(#{{ contents: [{content}] }})")),
        Why::Quarantined => (RefusalCode::Quarantined, format!("why(\"content {content}\")")),
        Why::NoMirror => (RefusalCode::NoMirror, String::new()),
        Why::SegmentUp => (RefusalCode::SegmentUp, "state()".into()),
        Why::SourceDamaged => (RefusalCode::SourceDamaged, "help(\"source_damaged\")".into()),
        Why::BackupDamaged => (RefusalCode::BackupDamaged, "choose another backup".into()),
        Why::BarrierMissed => (RefusalCode::BarrierMissed, "run it again".into()),
        Why::GaveWay => (RefusalCode::BackupGaveWay, "help(\"backup_gave_way\")".into()),
        Why::NotSynchronized => (RefusalCode::NotSynchronized, format!("recover(#{{ contents: [{content}] }})")),
    };
    Some(Refusal { code, content: Some(content), dbid: Some(dbid), host: Some(host), cause: cause.clone(), next })
}
