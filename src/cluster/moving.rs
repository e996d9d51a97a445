//! Where a segment goes that is moved: to which host, into which directory, on which ports.
//!
//! What the call does not say is chosen: the usual directory of the host, the ports that the segment has
//! where they are free there, and else the lowest free ones from the cluster's lowest of their kind.

use super::plan::PlanStep;
use super::refusal::RefusalCode;
use super::state::{HostState, Segment, State};
use crate::core::ids::Dbid;
use crate::core::row::{Place, Role, SegmentRow};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// What is asked of the place of one segment, or of all that are moved; what is not said is chosen.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wanted {
    /// `None` is the host that the segment is on.
    pub host: Option<String>,
    /// The directory in which the data directory is made.
    pub dir: Option<String>,
    /// The data directory itself.
    pub datadir: Option<String>,
    pub port: Option<u16>,
    pub replication_port: Option<u16>,
    /// The host of the other copy is meant.
    #[serde(default)]
    pub colocated: bool,
}

/// Where segments are to be moved.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct To {
    /// For every segment that has no place of its own in `each`.
    pub all: Option<Wanted>,
    pub each: Vec<(Dbid, Wanted)>,
}

impl To {
    /// Everything to this host.
    pub fn host(name: &str) -> To {
        To { all: Some(Wanted { host: Some(name.into()), ..Wanted::default() }), ..To::default() }
    }

    /// What is asked of the place of a segment; `None` when the call says nothing of it.
    pub fn of(&self, dbid: Dbid) -> Option<&Wanted> {
        self.each.iter().find(|(named, _)| *named == dbid).map(|(_, wanted)| wanted).or(self.all.as_ref())
    }

    /// The host that a segment is to be on.
    pub fn host_of(&self, row: &SegmentRow) -> Option<String> {
        self.of(row.dbid).map(|wanted| wanted.host.clone().unwrap_or_else(|| row.hostname.clone()))
    }

    /// The segments whose places are named one by one.
    pub(super) fn dbids(&self) -> Vec<Dbid> {
        self.each.iter().map(|(dbid, _)| *dbid).collect()
    }

    /// The hosts that are named, each once.
    pub(super) fn hosts(&self) -> Vec<&str> {
        let wanted = self.all.iter().chain(self.each.iter().map(|(_, wanted)| wanted));
        let mut hosts: Vec<&str> = wanted.filter_map(|wanted| wanted.host.as_deref()).collect();
        hosts.sort_unstable();
        hosts.dedup();
        hosts
    }

    /// In a word or two: `to another host`, `to another directory`.
    pub fn words(&self) -> &'static str {
        let mut all = self.all.iter().chain(self.each.iter().map(|(_, wanted)| wanted));
        if all.all(|wanted| wanted.host.is_none()) { "to another directory" } else { "to another host" }
    }
}

/// Why a segment can't be at the place that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Misplaced {
    pub code: RefusalCode,
    pub host: String,
    pub cause: String,
    pub next: String,
}

/// The place of a segment that is to be moved, or everything that speaks against it. `planned` are the
/// steps before it, whose places are taken.
pub(super) fn place_of(
    state: &State,
    to: &To,
    target: &Segment,
    peer: Option<&Segment>,
    planned: &[PlanStep],
) -> Result<Place, Vec<Misplaced>> {
    let row = &target.row;
    let wrong = |code, host: &str, cause: String, next: String| Misplaced { code, host: host.into(), cause, next };
    let unknown = |host: &str, cause, next| vec![wrong(RefusalCode::UnknownTarget, host, cause, next)];
    let (Some(wanted), Some(name)) = (to.of(row.dbid), to.host_of(row)) else {
        let cause = format!("no place is named for dbid {}", row.dbid);
        return Err(unknown(&row.hostname, cause, format!("to: #{{ \"{}\": #{{ host: \"HOST\" }} }}", row.dbid)));
    };
    let Some(host) = state.host(&name) else {
        // One that is named is refused once, of the whole call.
        let own = || unknown(&name, format!("there is no host {name}"), "state().hosts".into());
        return Err(if wanted.host.is_some() { Vec::new() } else { own() });
    };
    let datadir = datadir(wanted, row, host).map_err(|cause| {
        let next = format!("state().host(\"{name}\")");
        unknown(&name, cause, next)
    })?;
    if let Some(stays) = goes_on_here(state, target, wanted, host, &datadir) {
        return stays;
    }
    let taken = Taken::at(state, row.dbid, host, planned);
    let mut found = Vec::new();
    if let Some(peer) = peer.filter(|peer| peer.row.hostname == name && !wanted.colocated) {
        let cause = format!("{name} has dbid {} of the same content: one fault would take both copies", peer.row.dbid);
        let next = format!("another host, or #{{ host: \"{name}\", colocated: true }}");
        found.push(wrong(RefusalCode::Colocated, &name, cause, next));
    }
    if let Some(holder) = taken.directory(&datadir) {
        let cause = format!("{name}:{datadir} is dbid {holder}'s");
        found.push(wrong(RefusalCode::DirTaken, &name, cause, "name another: help(\"dir_taken\")".into()));
    }
    let (port, replication_port) = taken.ports(state, wanted, row);
    for (port, what) in [(port, wanted.port), (replication_port, wanted.replication_port)] {
        if let Some(holder) = what.and_then(|port| taken.port(port)) {
            let cause = format!("port {port} of {name} is dbid {holder}'s");
            found.push(wrong(RefusalCode::PortTaken, &name, cause, "name another: help(\"port_taken\")".into()));
        }
    }
    if port == replication_port {
        let cause = format!("port {port} of {name} can't be both of dbid {}'s ports", row.dbid);
        found.push(wrong(RefusalCode::PortTaken, &name, cause, "name another: help(\"port_taken\")".into()));
    }
    if !found.is_empty() {
        return Err(found);
    }
    Ok(Place { hostname: name, address: host.address.clone(), port, replication_port, datadir })
}

/// The data directory: `DIR/cN-DBID`, unless it was named itself. It is in one of the host's directories.
fn datadir(wanted: &Wanted, row: &SegmentRow, host: &HostState) -> Result<String, String> {
    let usual = || host.roots.first().cloned();
    let (parent, datadir) = match (&wanted.datadir, wanted.dir.clone().or_else(usual)) {
        (Some(datadir), _) => {
            let parent = Path::new(datadir).parent().map(|parent| parent.display().to_string());
            (parent.unwrap_or_default(), datadir.clone())
        }
        (None, Some(dir)) => {
            let dir = if dir.len() > 1 { dir.trim_end_matches('/').to_string() } else { dir };
            (dir.clone(), format!("{dir}/c{}-{}", row.content, row.dbid))
        }
        (None, None) => return Err(format!("it is not known where {} keeps segments", host.host)),
    };
    if host.roots.contains(&parent) {
        return Ok(datadir);
    }
    let known = if host.roots.is_empty() { "nobody knows where".into() } else { host.roots.join(", ") };
    Err(format!("{} keeps segments in {known}, not in {parent}", host.host))
}

/// A segment that is asked to be where it is: a full copy to that place that was interrupted goes on, and
/// nothing else is a move.
fn goes_on_here(
    state: &State,
    target: &Segment,
    wanted: &Wanted,
    host: &HostState,
    datadir: &str,
) -> Option<Result<Place, Vec<Misplaced>>> {
    let row = &target.row;
    // Its directory has the usual name, or had one that was given: both are where it is.
    let is_here =
        row.hostname == host.host && (row.datadir == datadir || (wanted.dir.is_none() && wanted.datadir.is_none()));
    if !is_here {
        return None;
    }
    let unfinished = state.content(row.content).is_some_and(|c| c.incremental_impossible.is_some());
    if unfinished {
        return Some(Ok(row.place()));
    }
    let cause = format!("dbid {} is on {} in {} already", row.dbid, row.hostname, row.datadir);
    let next = format!("recover(#{{ dbids: {} }})", row.dbid);
    Some(Err(vec![Misplaced { code: RefusalCode::DirTaken, host: host.host.clone(), cause, next }]))
}

/// What others have on a host.
struct Taken {
    others: Vec<(Dbid, Place)>,
}

impl Taken {
    fn at(state: &State, dbid: Dbid, host: &HostState, planned: &[PlanStep]) -> Taken {
        let rows = state.rows().map(|row| (row.dbid, row.place()));
        let steps = planned.iter().filter_map(|step| Some((step.dbid, step.to.clone()?)));
        let here = |place: &Place| place.hostname == host.host || place.address == host.address;
        let others = rows.chain(steps).filter(|(other, place)| *other != dbid && here(place)).collect();
        Taken { others }
    }

    fn directory(&self, datadir: &str) -> Option<Dbid> {
        self.others.iter().find(|(_, place)| place.datadir == datadir).map(|(dbid, _)| *dbid)
    }

    fn port(&self, port: u16) -> Option<Dbid> {
        let has = |place: &Place| [place.port, place.replication_port].contains(&port);
        self.others.iter().find(|(_, place)| has(place)).map(|(dbid, _)| *dbid)
    }

    fn ports(&self, state: &State, wanted: &Wanted, row: &SegmentRow) -> (u16, u16) {
        let alike = || state.segments.iter().map(|s| &s.row).filter(|r| r.preferred_role == row.preferred_role);
        let port = wanted.port.unwrap_or_else(|| {
            let lowest = alike().map(|r| r.port).min();
            self.free(row.port, lowest, wanted.replication_port)
        });
        let replication_port = wanted.replication_port.unwrap_or_else(|| {
            let lowest = alike().filter_map(|r| r.replication_port).min();
            self.free(row.replication_port.unwrap_or_default(), lowest, Some(port))
        });
        (port, replication_port)
    }

    /// Its own, where that is free; else the lowest free one.
    fn free(&self, own: u16, lowest: Option<u16>, but: Option<u16>) -> u16 {
        let is_free = |port: &u16| *port > 0 && Some(*port) != but && self.port(*port).is_none();
        if is_free(&own) { own } else { (lowest.unwrap_or(own)..=u16::MAX).find(is_free).unwrap_or(own) }
    }
}

/// Whether a content has a copy to another place that was begun and is not in sync: what `to:` is asked for
/// again when it was interrupted. `former` is the host that the segment left, if one is named.
pub(super) fn is_unfinished(state: &State, to: &To, mirror: &Segment, former: Option<&str>) -> bool {
    let left = |host: &str| state.left_behind.iter().any(|l| l.dbid == mirror.row.dbid && l.host == host);
    let is_there = to.host_of(&mirror.row).is_some_and(|host| host == mirror.row.hostname);
    mirror.row.role == Role::Mirror && is_there && former.is_none_or(left)
}
