//! The cluster's state as clients see it: the catalog's rows, and what the last probe found.

use super::board::{Knowledge, Seen};
use super::clock::unix_ms;
use super::prober::thresholds;
use super::site::{HostPlace, Site};
use super::store::{ContentRow, Store, StoreError};
use crate::cluster::{Alive, ContentState, CoordinatorState, HostState, Line, Segment, State, recoveries, warnings};
use crate::core::fts::unfit;
use crate::core::ids::{Content, Dbid};
use crate::core::report::{Phase, Report, Soundness};
use crate::core::row::{Pairing, SegmentRow};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Instant;

/// The state now, from the running coordinator.
pub(super) fn build(
    site: &Site,
    hosts: &[HostPlace],
    store: &Store,
    known: &Knowledge,
    working_on: impl Fn(Content) -> Option<i64>,
    lines: &[Line],
) -> Result<State, StoreError> {
    let age_ms = known.probed.map_or(0, age);
    let mut state = assemble(site, hosts, store, known, working_on, Some(std::process::id()), age_ms)?;
    state.recoveries = recoveries(&state, lines);
    let limits = thresholds(store)?;
    state.warnings = warnings(&state, &limits, |dbid| known.answer(dbid)?.lag);
    Ok(state)
}

/// The state from the last catalog, when the coordinator does not run: nobody is known to be alive.
pub fn from_last_catalog(site: &Site, hosts: &[HostPlace], store: &Store) -> Result<State, StoreError> {
    let written = [store.path().to_path_buf(), wal(store)].into_iter().filter_map(|p| {
        let modified = std::fs::metadata(p).ok()?.modified().ok()?;
        modified.elapsed().ok()
    });
    let age_ms = written.min().map_or(0, |age| i64::try_from(age.as_millis()).unwrap_or(i64::MAX));
    let mut state = assemble(site, hosts, store, &Knowledge::default(), |_| None, None, age_ms)?;
    state.maintenance = store.maintenance()?.into_iter().filter(|m| m.until_ms > state.time_ms).collect();
    Ok(state)
}

fn wal(store: &Store) -> PathBuf {
    let mut name = store.path().as_os_str().to_owned();
    name.push("-wal");
    PathBuf::from(name)
}

fn assemble(
    site: &Site,
    hosts: &[HostPlace],
    store: &Store,
    known: &Knowledge,
    working_on: impl Fn(Content) -> Option<i64>,
    pid: Option<u32>,
    age_ms: i64,
) -> Result<State, StoreError> {
    let (coordinators, rows): (Vec<_>, Vec<_>) =
        store.rows()?.into_iter().partition(|r| r.content == Content::COORDINATOR);
    let down: BTreeMap<Dbid, i64> = store.down_since()?.into_iter().collect();
    let coordinator_row = coordinators.into_iter().next().unwrap_or_else(|| own_row(site));
    let contents = store.contents()?;
    Ok(State {
        cluster: site.cluster.clone(),
        cluster_id: site.cluster_id.clone(),
        drill: site.drill,
        coordinator: CoordinatorState {
            host: site.host.clone(),
            port: site.pg_port,
            socket_dir: site.socket_dir.display().to_string(),
            pid,
            restricted: site.dir.join(super::RESTRICTED_FILE).exists(),
        },
        hosts: hosts.iter().map(|place| host(place, known)).collect(),
        coordinator_row,
        segments: rows.into_iter().map(|row| segment(row, known, &down)).collect(),
        contents: contents.iter().map(|row| content(row, known, working_on(row.content))).collect(),
        age_ms,
        time_ms: unix_ms(),
        fts_paused_until_ms: known.paused_until.and_then(until_ms),
        recoveries: Vec::new(),
        warnings: Vec::new(),
        production: store.setting_number("segsh_production")?.is_some(),
        maintenance: known.maintained(),
        left_behind: store.left_behind()?,
    })
}

/// A moment to come in Unix milliseconds: what is left of it counts, whatever was done to the calendar.
fn until_ms(until: Instant) -> Option<i64> {
    let left = until.checked_duration_since(Instant::now())?;
    Some(unix_ms().saturating_add(i64::try_from(left.as_millis()).unwrap_or(i64::MAX)))
}

/// The coordinator's row, should the catalog lack it.
fn own_row(site: &Site) -> SegmentRow {
    use crate::core::row::{Mode, Role, Status};
    SegmentRow {
        dbid: Dbid(1),
        content: Content::COORDINATOR,
        role: Role::Primary,
        preferred_role: Role::Primary,
        mode: Mode::Synchronized,
        status: Status::Up,
        port: site.pg_port,
        hostname: site.host.clone(),
        address: site.address.clone(),
        replication_port: None,
        datadir: site.dir.display().to_string(),
    }
}

fn host(place: &HostPlace, known: &Knowledge) -> HostState {
    let seen = known.hosts.get(&place.name);
    let pid = seen.and_then(|s| s.pid);
    HostState {
        host: place.name.clone(),
        address: place.address.clone(),
        alive: pid.is_some(),
        pid,
        roots: place.roots.iter().map(|root| root.display().to_string()).collect(),
        cause: match (pid, seen) {
            (Some(_), _) => String::new(),
            (None, Some(seen)) => seen.cause.clone(),
            (None, None) => "not asked yet".into(),
        },
    }
}

fn segment(row: SegmentRow, known: &Knowledge, down: &BTreeMap<Dbid, i64>) -> Segment {
    let seen = known.segments.get(&row.dbid).cloned().unwrap_or_default();
    let alive = alive(&row, &seen, known);
    let failing_ms = seen.failing.as_ref().map(|f| f.since_ms);
    let signed = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    let answer = seen.answer(known.fresh);
    Segment {
        free_bytes: answer.map(|r| signed(r.free_bytes)),
        data_bytes: answer.map(|r| signed(r.data_bytes)),
        damaged_pages: answer.map(|r| signed(r.damaged_pages)),
        release: answer.map(|r| r.release.clone()).filter(|release| !release.is_empty()),
        down_since_ms: down.get(&row.dbid).copied().or(failing_ms),
        alive,
        row,
    }
}

fn alive(row: &SegmentRow, seen: &Seen, known: &Knowledge) -> Alive {
    if let (Some(report), Some(heard)) = (seen.answer(known.fresh), seen.heard) {
        return Alive { alive: true, pid: Some(report.pid), cause: String::new(), age_ms: age(heard) };
    }
    // A process that does not answer may still be there: stopped, or hung.
    let datadirs =
        [PathBuf::from(&row.datadir), PathBuf::from(format!("{}{}", row.datadir, crate::hosts::NEW_COPY_SUFFIX))];
    let pid = known.process(row.dbid, &row.hostname, &datadirs);
    let (cause, at) = match &seen.failing {
        Some(failing) => (failing.why.clone(), Some(failing.last)),
        None if seen.heard.is_some() => ("no answer".into(), seen.heard),
        None => ("never reached".into(), None),
    };
    Alive { alive: false, pid, cause, age_ms: at.map_or(0, age) }
}

fn content(row: &ContentRow, known: &Knowledge, operation: Option<i64>) -> ContentState {
    let pair = row.pair.as_ref().ok();
    let quarantine = row.quarantine.clone().or_else(|| row.pair.clone().err());
    let primary = pair.and_then(|p| known.answer(p.primary.dbid));
    let mirror = pair.and_then(|p| known.answer(p.mirror?.dbid));
    let is_synchronized = pair.and_then(|p| p.pairing()) == Some(Pairing::Synchronized);
    // A process whose copy may not serve is never granted the content.
    let may_serve = |report: &Report| pair.is_some_and(|p| unfit(p, row.serving_copy, report).is_none());
    let serves = primary.is_some_and(|p| p.sick.is_none() && (p.phase != Phase::Nobody || may_serve(p)));
    let usable = serves || (is_synchronized && mirror.is_some_and(may_serve));
    ContentState {
        content: row.content,
        epoch: pair.map(|p| p.epoch).unwrap_or_default(),
        health: State::health_of(pair, usable, quarantine.is_some()),
        to_copy_blocks: primary.map(|p| i64::try_from(p.dirty_blocks).unwrap_or(i64::MAX)),
        incremental_impossible: impossible(row, primary, mirror),
        source_damaged: primary.and_then(damaged),
        progress: primary.filter(|p| p.phase == Phase::Resynchronizing).and_then(|p| p.progress.clone()),
        full_copy: row.must_copy_all,
        copy_rate_bytes: row.copy_rate_bytes,
        operation,
        single_copy_since_ms: row.single_copy_since_ms,
        last_event: row.last_event.clone(),
        quarantine,
        held: primary.and_then(|p| p.held),
    }
}

/// Why only a full copy can make the pair equal, as far as it is known before a recovery begins.
fn impossible(row: &ContentRow, primary: Option<&Report>, mirror: Option<&Report>) -> Option<String> {
    let pair = row.pair.as_ref().ok()?;
    if pair.pairing() != Some(Pairing::ChangeTracking) {
        return None;
    }
    let mirror_dbid = pair.mirror?.dbid;
    if row.must_copy_all {
        return Some(format!("a full copy of dbid {mirror_dbid} was begun and did not end"));
    }
    let primary = primary?;
    if let Some(why) = &primary.map_unusable {
        return Some(why.clone());
    }
    let (bound, mirror) = (primary.map_bound_to?, mirror?);
    // Only whether it is the copy at all: how far it is, the two sides settle exactly at their link.
    (bound.copy != mirror.copy.copy)
        .then(|| format!("dbid {mirror_dbid} holds another copy than the one that is tracked"))
}

/// Why the acting primary's data must not be copied.
fn damaged(primary: &Report) -> Option<String> {
    match &primary.soundness {
        Soundness::Damaged { why } => Some(format!("dbid {} {why}", primary.dbid)),
        Soundness::Sound | Soundness::Unjudged => None,
    }
}

fn age(at: Instant) -> i64 {
    i64::try_from(at.elapsed().as_millis()).unwrap_or(i64::MAX)
}
