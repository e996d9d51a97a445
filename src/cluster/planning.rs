//! The planner: a state and an intent in, a plan out.
//!
//! It reads no clock and asks nobody, so a dry run, a real run and a test are the same path.

use super::estimate::{Basis, Estimate, before_it_begins};
use super::moving;
use super::plan::{Intent, Joined, Place, Plan, PlanStep, StepKind};
use super::preconditions::{PRECONDITIONS, Subject, percent};
use super::predict::predicted_row;
use super::refusal::{Refusal, RefusalCode};
use super::state::{ContentState, PairHealth, Segment, State};
use crate::core::ids::{Content, Dbid};
use crate::core::row::{Mode, Role, Status};

/// A block of the dirty map, in bytes.
const BLOCK_BYTES: i64 = 4096;
/// Draining, exiting, promoting and recovering an idle pair.
const SWITCH_MS: i64 = 1_000;
const RESTART_MS: i64 = 1_000;
/// What a comparison is assumed to read and hash on both sides at once.
const COMPARE_BYTES_PER_S: i64 = 1 << 30;

/// Makes the plan of an intent on a state, at `now_ms` in Unix milliseconds.
pub fn plan(state: &State, intent: &Intent, now_ms: i64) -> Plan {
    let mut plan = Plan {
        id: String::new(),
        state_id: String::new(),
        cluster_id: state.cluster_id.clone(),
        made_ms: now_ms,
        intent: intent.clone(),
        steps: Vec::new(),
        joined: Vec::new(),
        refusals: unknown_targets(state, intent),
        refuses: false,
        epochs: Vec::new(),
        after: Vec::new(),
        notes: Vec::new(),
        places: Vec::new(),
    };
    let unknown = !plan.refusals.is_empty();
    if let Some(refusal) = coordinator_down(state, intent) {
        plan.refusals.push(refusal);
        plan.refuses = true;
    } else {
        for (content, target) in candidates(state, intent) {
            consider(state, intent, content, target, &mut plan);
        }
        note_left_behind(state, &mut plan);
        plan.refuses = unknown || refuses(&plan);
    }
    if plan.refuses {
        drop_work(&mut plan);
    }
    finish(state, &mut plan);
    plan
}

/// A precondition of a call, and whether it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    pub code: RefusalCode,
    /// What must hold, in words.
    pub says: &'static str,
    /// What does not hold, and where; `None` when it holds everywhere.
    pub refusal: Option<Refusal>,
}

/// The preconditions of a call as data: every line of the table that is about it, once when it holds, else once for each
/// segment where it does not; then whatever else keeps the call from being made.
pub fn checks(state: &State, intent: &Intent, now_ms: i64) -> Vec<Check> {
    let mut left = plan(state, intent, now_ms).refusals;
    let mut found = Vec::new();
    for line in PRECONDITIONS.iter().filter(|p| p.verbs.contains(&intent.rules())) {
        let check = |refusal| Check { code: line.code, says: line.says, refusal };
        let (failed, others): (Vec<_>, Vec<_>) = left.into_iter().partition(|r| r.code == line.code);
        left = others;
        match failed.is_empty() {
            true => found.push(check(None)),
            false => found.extend(failed.into_iter().map(|refusal| check(Some(refusal)))),
        }
    }
    let beside =
        |refusal: Refusal| Check { code: refusal.code, says: beside_the_table(refusal.code), refusal: Some(refusal) };
    found.extend(left.into_iter().map(beside));
    found
}

/// What must hold before any content is looked at.
fn beside_the_table(code: RefusalCode) -> &'static str {
    match code {
        RefusalCode::CoordinatorDown => "the coordinator answers",
        RefusalCode::UnknownTarget => "what the call names is there",
        _ => "",
    }
}

/// Why a plan may not be applied to this state; `None` when what it depends on still stands.
pub fn still_holds(plan: &Plan, state: &State) -> Option<Refusal> {
    let refusal =
        |code, cause: String, next: String| Some(Refusal { code, content: None, dbid: None, host: None, cause, next });
    let again = format!("plan_{}(…)", plan.verb());
    if plan.cluster_id != state.cluster_id {
        let cause = format!("plan {} was made for another cluster", plan.id);
        return refusal(RefusalCode::OtherCluster, cause, again);
    }
    if plan.state_id != state_fingerprint(state, &depends_on(plan, state)) {
        let cause = format!("the cluster changed since plan {} was made", plan.id);
        return refusal(RefusalCode::StalePlan, cause, again);
    }
    None
}

/// 16 hexadecimal digits from what a plan depends on: cluster, epochs and rows of these contents, and
/// whether their hosts answer. 64 bits, because a plan that passes here is applied.
pub fn state_fingerprint(state: &State, contents: &[Content]) -> String {
    let mut text = format!("{}\n", state.cluster_id);
    for content in contents {
        let epoch = state.content(*content).map(|c| c.epoch);
        text.push_str(&format!("{content} {epoch:?}\n"));
        for segment in state.segments.iter().filter(|s| s.row.content == *content) {
            let host = state.host(&segment.row.hostname).map(|h| h.alive);
            text.push_str(&format!("{:?} {host:?}\n", segment.row));
        }
    }
    format!("{:016x}", fnv1a(text.as_bytes()))
}

/// FNV-1a of 64 bits: the same in every release, and nobody is kept from forging what he may apply.
fn fnv1a(bytes: &[u8]) -> u64 {
    const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    bytes.iter().fold(OFFSET, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(PRIME))
}

/// A name that a person can say; nothing is decided by it.
fn four_digits(text: &str) -> String {
    let sum = crc32c::crc32c(text.as_bytes());
    format!("{:04x}", (sum >> 16) ^ (sum & 0xffff))
}

/// A plan with steps depends on their contents only; one without depends on all.
fn depends_on(plan: &Plan, state: &State) -> Vec<Content> {
    if plan.epochs.is_empty() {
        state.contents.iter().map(|c| c.content).collect()
    } else {
        plan.epochs.iter().map(|(c, _)| *c).collect()
    }
}

/// Everything that the call names and that is not there.
fn unknown_targets(state: &State, intent: &Intent) -> Vec<Refusal> {
    let refusal = |content, dbid, host: Option<String>, cause: String| Refusal {
        code: RefusalCode::UnknownTarget,
        content,
        dbid,
        host,
        cause,
        next: "state()".into(),
    };
    let selection = intent.selection();
    let (named, places) = match intent {
        Intent::Move { to, .. } => (to.dbids(), to.hosts()),
        _ => (Vec::new(), Vec::new()),
    };
    let contents = selection.contents.iter().filter(|c| state.content(**c).is_none());
    let dbids = selection.dbids.iter().chain(&named).filter(|d| state.segment(**d).is_none());
    let hosts = selection.hosts.iter().filter(|h| state.host(h).is_none());
    let places = places.into_iter().filter(|h| state.host(h).is_none());
    contents
        .map(|c| refusal(Some(*c), None, None, format!("there is no content {c}")))
        .chain(dbids.map(|d| refusal(None, Some(*d), None, format!("there is no segment with dbid {d}"))))
        .chain(hosts.map(|h| refusal(None, None, Some(h.clone()), format!("there is no host {h}"))))
        .chain(places.map(|h| Refusal {
            next: format!("state().hosts; one that is new joins by add_host(\"{h}\")"),
            ..refusal(None, None, Some(h.to_string()), format!("there is no host {h}"))
        }))
        .collect()
}

/// Everything needs the coordinator but a restart of all, which is how one is brought back.
fn coordinator_down(state: &State, intent: &Intent) -> Option<Refusal> {
    let restart_all = matches!(intent, Intent::Restart { selection, .. } if selection.is_all());
    if state.coordinator.pid.is_some() || restart_all {
        return None;
    }
    Some(Refusal {
        code: RefusalCode::CoordinatorDown,
        content: None,
        dbid: None,
        host: Some(state.coordinator.host.clone()),
        cause: "the coordinator does not answer; this is its last catalog".into(),
        next: "segsh start DIR".into(),
    })
}

/// The contents an intent is about, each with the segment it is about, by content.
fn candidates(state: &State, intent: &Intent) -> Vec<(Content, Option<Dbid>)> {
    let selection = intent.selection();
    let mut found: Vec<(Content, Option<Dbid>)> = Vec::new();
    let mut add = |content: Content, dbid: Option<Dbid>| {
        if !found.iter().any(|(c, _)| *c == content) {
            found.push((content, dbid));
        }
    };
    let places = if let Intent::Move { to, .. } = intent { to.each.as_slice() } else { &[] };
    // Places that are named one by one name their segments, where nothing else does.
    let named = places.iter().map(|(dbid, _)| dbid).filter(|_| selection.is_all());
    for dbid in selection.dbids.iter().chain(named) {
        if let Some(segment) = state.segment(*dbid) {
            add(segment.row.content, Some(*dbid));
        }
    }
    for content in &selection.contents {
        if state.content(*content).is_some() {
            add(*content, None);
        }
    }
    for detail in &state.contents {
        let by_host = selection.hosts.iter().any(|h| concerns_host(state, intent, detail, h));
        if by_host || (selection.is_all() && places.is_empty() && concerns_all(state, intent, detail)) {
            add(detail.content, None);
        }
    }
    found.sort();
    found
}

/// Whether a call without a selection is about this content.
fn concerns_all(state: &State, intent: &Intent, detail: &ContentState) -> bool {
    match intent {
        Intent::Move { .. } => state.acting(detail.content, Role::Mirror).is_some_and(Segment::is_down),
        Intent::Recover { .. } => {
            !matches!(detail.health, PairHealth::Synchronized | PairHealth::NoMirror)
                || members(state, detail.content).any(Segment::is_down)
        }
        // Where nobody serves there is nothing to copy from, and that is said, not passed over.
        Intent::FullRecover { .. } => {
            detail.health.is_unserved() || state.acting(detail.content, Role::Mirror).is_some_and(Segment::is_down)
        }
        Intent::Rebalance { .. } | Intent::Verify { .. } => detail.health != PairHealth::NoMirror,
        Intent::Restart { .. } | Intent::Backup { .. } | Intent::Restore { .. } => true,
        Intent::ForcePrimary { .. } => false,
    }
}

/// Whether a call for one host is about this content.
fn concerns_host(state: &State, intent: &Intent, detail: &ContentState, host: &str) -> bool {
    let mut here = members(state, detail.content).filter(|s| s.row.hostname == host);
    match intent {
        Intent::Recover { .. } => {
            here.any(|s| s.is_down() || (s.row.role == Role::Mirror && detail.health == PairHealth::Resynchronizing))
        }
        Intent::Move { to, .. } => {
            // One that has left that host already and is not in sync yet is asked for again, too.
            let mirror =
                state.acting(detail.content, Role::Mirror).filter(|_| detail.health != PairHealth::Synchronized);
            here.any(Segment::is_down) || mirror.is_some_and(|m| moving::is_unfinished(state, to, m, Some(host)))
        }
        Intent::FullRecover { .. } => here.any(|s| s.is_down() || detail.health.is_unserved()),
        Intent::Rebalance { .. } | Intent::Verify { .. } => {
            detail.health != PairHealth::NoMirror && here.next().is_some()
        }
        Intent::Restart { .. } => here.next().is_some(),
        Intent::ForcePrimary { .. } | Intent::Backup { .. } | Intent::Restore { .. } => false,
    }
}

fn members(state: &State, content: Content) -> impl Iterator<Item = &Segment> {
    state.segments.iter().filter(move |s| s.row.content == content)
}

/// Adds one content to the plan: a step, a running operation to wait for, refusals, or a note.
fn consider(state: &State, intent: &Intent, content: Content, named: Option<Dbid>, plan: &mut Plan) {
    let Some(detail) = state.content(content) else {
        return;
    };
    let primary = state.acting(content, Role::Primary);
    let mirror = state.acting(content, Role::Mirror);
    let usual = if matches!(intent, Intent::Restart { .. } | Intent::Backup { .. } | Intent::Restore { .. }) {
        primary
    } else {
        mirror
    };
    let target = match intent {
        Intent::FullRecover { .. } | Intent::Move { .. } => named.and_then(|d| state.segment(d)).or(usual),
        Intent::ForcePrimary { .. } => named.and_then(|d| state.segment(d)),
        _ => usual,
    };
    if joins(state, intent, detail, mirror) {
        plan.joined.push(Joined { content, dbid: target.map_or(Dbid(0), |t| t.row.dbid), percent: percent(detail) });
        return;
    }
    if nothing_to_do(intent, detail, mirror, named.and_then(|d| state.segment(d)), plan) {
        return;
    }
    let destination = match (intent, target) {
        (Intent::Move { to, .. }, Some(target)) => Some(moving::place_of(state, to, target, primary, &plan.steps)),
        _ => None,
    };
    let subject =
        Subject { state, content, detail, primary, mirror, target, intent, destination: destination.as_ref() };
    let refusals: Vec<Refusal> = PRECONDITIONS.iter().flat_map(|p| p.refusals(&subject)).collect();
    if !refusals.is_empty() || matches!(destination, Some(Err(_))) {
        plan.refusals.extend(refusals);
    } else if let (Some(target), Some(primary)) = (target, primary) {
        add_step(intent, detail, target, primary, plan);
        if let (Some(Ok(place)), Some(step)) = (destination, plan.steps.last_mut()) {
            step.to = Some(place);
        }
        note_what_may_be_lost(state, intent, detail, target, plan);
        note_left_down(intent, mirror, plan);
    }
}

/// A like operation is under way: the catalog shows a copy, or an operation holds the content.
fn joins(state: &State, intent: &Intent, detail: &ContentState, mirror: Option<&Segment>) -> bool {
    let running = detail.operation.is_some();
    match intent {
        // Only a copy to that very host is alike.
        Intent::Move { to, .. } => {
            running
                && matches!(detail.health, PairHealth::Resynchronizing | PairHealth::ChangeTracking)
                && mirror.is_some_and(|m| moving::is_unfinished(state, to, m, None))
        }
        Intent::Recover { .. } => match detail.health {
            PairHealth::Resynchronizing => true,
            PairHealth::ChangeTracking => running,
            _ => false,
        },
        Intent::FullRecover { .. } => {
            running && matches!(detail.health, PairHealth::Resynchronizing | PairHealth::ChangeTracking)
        }
        // Whether what runs is a comparison too, the coordinator knows: then it is joined there.
        _ => false,
    }
}

/// A recovery of what is up is done already; said so when it was named.
fn nothing_to_do(
    intent: &Intent,
    detail: &ContentState,
    mirror: Option<&Segment>,
    named: Option<&Segment>,
    plan: &mut Plan,
) -> bool {
    if let (Intent::Move { to, .. }, Some(mirror)) = (intent, mirror) {
        let arrived = detail.health == PairHealth::Synchronized
            && !mirror.is_down()
            && to.host_of(&mirror.row).is_some_and(|host| host == mirror.row.hostname);
        if arrived {
            plan.notes.push(format!("dbid {} is up on {}: nothing to do", mirror.row.dbid, mirror.row.hostname));
        }
        return arrived;
    }
    let Intent::Recover { selection, .. } = intent else {
        return false;
    };
    let up = match named {
        Some(segment) => !segment.is_down() && detail.health != PairHealth::Quarantined,
        None => detail.health == PairHealth::Synchronized && mirror.is_some_and(|m| !m.is_down()),
    };
    if up && !selection.is_all() {
        plan.notes.push(match named {
            Some(segment) => format!("dbid {} is up: nothing to do", segment.row.dbid),
            None => format!("content {} is synchronized: nothing to do", detail.content),
        });
    }
    up
}

fn add_step(intent: &Intent, detail: &ContentState, target: &Segment, primary: &Segment, plan: &mut Plan) {
    let data_bytes = primary.data_bytes;
    let rate = match intent {
        Intent::Recover { rate_bytes, .. }
        | Intent::Move { rate_bytes, .. }
        | Intent::FullRecover { rate_bytes, .. }
        | Intent::Verify { rate_bytes, .. }
        | Intent::Backup { rate_bytes, .. }
        | Intent::Restore { rate_bytes, .. } => *rate_bytes,
        _ => None,
    };
    let copy = |bytes: i64| before_it_begins(bytes, rate, detail.copy_rate_bytes);
    let known = |ms| Some(Estimate { ms, rate_bytes: 0, basis: Basis::Assumed });
    let (kind, copy_blocks, estimate) = match intent {
        Intent::Recover { .. } => {
            let blocks = detail.to_copy_blocks;
            (StepKind::Incremental, blocks, blocks.map(|b| copy(b.saturating_mul(BLOCK_BYTES))))
        }
        Intent::FullRecover { .. } | Intent::Move { .. } => {
            let kind = if let Intent::Move { .. } = intent { StepKind::Move } else { StepKind::Full };
            let blocks = data_bytes.map(|b| (b + BLOCK_BYTES - 1) / BLOCK_BYTES);
            (kind, blocks, data_bytes.map(copy))
        }
        Intent::Rebalance { .. } if primary.is_preferred() => return,
        Intent::Rebalance { .. } => (StepKind::Switch, None, known(SWITCH_MS)),
        Intent::Restart { .. } => (StepKind::Restart, None, known(RESTART_MS)),
        Intent::Verify { .. } => (StepKind::Compare, None, data_bytes.map(|b| comparing(b, rate))),
        Intent::ForcePrimary { .. } => (StepKind::Force, None, known(RESTART_MS)),
        Intent::Backup { .. } => (StepKind::Write, None, data_bytes.map(copy)),
        Intent::Restore { .. } => (StepKind::Replace, None, None),
    };
    plan.steps.push(PlanStep {
        content: detail.content,
        kind,
        dbid: target.row.dbid,
        source: primary.row.dbid,
        to: None,
        copy_blocks,
        total_bytes: data_bytes,
        about_ms: estimate.map(|e| e.ms),
        about_basis: estimate.map(|e| e.basis),
        about_rate_bytes: estimate.map(|e| e.rate_bytes).filter(|rate| *rate > 0),
        cancels_sessions: matches!(kind, StepKind::Switch | StepKind::Restart | StepKind::Force | StepKind::Replace),
    });
}

/// What comparing so many bytes takes; `cap` is the operator's, in bytes per second.
fn comparing(bytes: i64, cap: Option<i64>) -> Estimate {
    let (rate_bytes, basis) = match cap.map(|cap| cap.max(1)) {
        Some(cap) if cap < COMPARE_BYTES_PER_S => (cap, Basis::Cap),
        _ => (COMPARE_BYTES_PER_S, Basis::Assumed),
    };
    Estimate { ms: bytes.max(0).saturating_mul(1000) / rate_bytes, rate_bytes, basis }
}

/// An override is asked for with what it may cost in view.
fn note_what_may_be_lost(state: &State, intent: &Intent, detail: &ContentState, target: &Segment, plan: &mut Plan) {
    let Intent::ForcePrimary { .. } = intent else {
        return;
    };
    let (content, dbid) = (detail.content, target.row.dbid);
    if let Some(why) = &detail.quarantine {
        plan.notes.push(format!("content {content}: its quarantine is lifted: {why}"));
    }
    let other = members(state, content).find(|s| s.row.dbid != dbid);
    let Some(other) = other.map(|o| &o.row) else {
        return;
    };
    let blocks = detail
        .to_copy_blocks
        .map_or("how many blocks is not known".to_string(), |n| format!("{n} blocks are known to"));
    let lost = match (target.row.role, target.row.mode, other.mode) {
        (Role::Mirror, _, Mode::ChangeTracking | Mode::Resynchronizing) => format!(
            "what content {content} committed since dbid {dbid} was last in sync is LOST: dbid {} served alone up to epoch \
             {}, and {blocks} differ",
            other.dbid, detail.epoch
        ),
        _ => format!("what dbid {} holds and dbid {dbid} does not may be LOST (epoch {})", other.dbid, detail.epoch),
    };
    plan.notes.push(lost);
    plan.notes.push(format!("dbid {} is down after it, and only a full copy can bring it back", other.dbid));
    if state.host(&other.hostname).is_some_and(|h| !h.alive) {
        plan.notes.push(format!(
            "host {} does not answer: make sure by hand that dbid {} does not serve there any more",
            other.hostname, other.dbid
        ));
    }
}

/// A host that is gone can't be asked to end what runs there.
fn note_left_behind(state: &State, plan: &mut Plan) {
    let mut left: Vec<(String, Vec<String>)> = Vec::new();
    for step in &plan.steps {
        let (Some(to), Some(segment)) = (&step.to, state.segment(step.dbid)) else {
            continue;
        };
        let host = &segment.row.hostname;
        if to.hostname == *host || state.host(host).is_some_and(|h| h.alive) {
            continue;
        }
        match left.iter_mut().find(|(other, _)| other == host) {
            Some((_, dbids)) => dbids.push(step.dbid.to_string()),
            None => left.push((host.clone(), vec![step.dbid.to_string()])),
        }
    }
    for (host, dbids) in left {
        let dbids = format!("dbid{} {}", if dbids.len() == 1 { "" } else { "s" }, dbids.join(", "));
        plan.notes.push(format!("host {host} does not answer: what runs of {dbids} there is ended when it does"));
    }
}

/// A restart brings no mirror back that the catalog has given up; recovery does.
fn note_left_down(intent: &Intent, mirror: Option<&Segment>, plan: &mut Plan) {
    if let (Intent::Restart { .. }, Some(mirror)) = (intent, mirror)
        && mirror.row.status == Status::Down
    {
        let row = &mirror.row;
        plan.notes.push(format!("content {}: mirror dbid {} stays down until recover()", row.content, row.dbid));
    }
}

/// Named targets, `rebalance`, `backup` and `restore` are all or nothing. A call that could do nothing of what it was
/// asked is refused too: "partial" would claim that something was done.
fn refuses(plan: &Plan) -> bool {
    let selection = plan.intent.selection();
    let restarts_all = matches!(plan.intent, Intent::Restart { .. }) && selection.is_all();
    // Everything is restarted together, whatever state a content is in: it may be the way out.
    if plan.refusals.is_empty() || restarts_all {
        return false;
    }
    let named = |r: &Refusal| r.content.is_some_and(|c| selection.contents.contains(&c)) || !selection.dbids.is_empty();
    matches!(plan.intent, Intent::Rebalance { .. } | Intent::Backup { .. } | Intent::Restore { .. })
        || plan.refusals.iter().any(named)
        || plan.is_empty()
}

/// A refused plan does nothing, so it shows no steps.
fn drop_work(plan: &mut Plan) {
    plan.steps.clear();
    plan.joined.clear();
    plan.notes.clear();
}

/// What follows from the steps: rows, epochs, places, and the two fingerprints.
fn finish(state: &State, plan: &mut Plan) {
    for step in &plan.steps {
        if let Some(row) = state.pair(step.content) {
            plan.epochs.push((step.content, row.epoch));
            plan.after.push(predicted_row(&row, step));
        }
        for dbid in [step.dbid, step.source] {
            add_place(state, dbid, &mut plan.places);
        }
    }
    for joined in &plan.joined {
        if let Some(row) = state.pair(joined.content) {
            plan.after.push(super::predict::synchronized(&row));
        }
        add_place(state, joined.dbid, &mut plan.places);
    }
    for dbid in plan.refusals.iter().filter_map(|r| r.dbid) {
        add_place(state, dbid, &mut plan.places);
    }
    plan.after.sort_by_key(|r| r.content);
    plan.state_id = state_fingerprint(state, &depends_on(plan, state));
    // Debug text of plain values is a total function, where JSON could in principle fail.
    plan.id = four_digits(&format!("{plan:?}"));
}

fn add_place(state: &State, dbid: Dbid, places: &mut Vec<Place>) {
    if let Some(segment) = state.segment(dbid).filter(|_| !places.iter().any(|p| p.dbid == dbid)) {
        places.push(Place {
            dbid,
            host: segment.row.hostname.clone(),
            port: segment.row.port,
            datadir: segment.row.datadir.clone(),
            preferred_role: Some(segment.row.preferred_role),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fingerprint_is_the_published_fnv_1a() {
        assert_eq!(fnv1a(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a(b"foobar"), 0x8594_4171_f739_67e8);
    }
}
