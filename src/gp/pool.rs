//! `gprecoverseg -p`: hosts to which the segments of hosts that have failed are moved.

use super::failure::Failure;
use super::refusals;
use crate::cluster::{HostState, Segment, State, To, Wanted};
use std::path::Path;

/// Where everything goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pool {
    pub to: To,
    /// Hosts that were named, and that nothing goes to.
    pub not_needed: Vec<String>,
}

/// One host for each that has failed, in the order in which those appear. A segment keeps the path of its directory
/// where the new host has segments there, and else gets the usual one; it keeps its ports where they are free.
pub fn pool(state: &State, hosts: &[String], down: &[&Segment]) -> Result<Pool, Failure> {
    let mut failed: Vec<&str> = Vec::new();
    for segment in down {
        if !failed.contains(&segment.row.hostname.as_str()) {
            failed.push(&segment.row.hostname);
        }
    }
    let known: Vec<Option<&HostState>> = hosts.iter().map(|name| state.host(name)).collect();
    let unknown: Vec<&String> = hosts.iter().filter(|name| state.host(name).is_none()).collect();
    if let Some(first) = unknown.first() {
        let reasons = unknown.iter().map(|name| refusals::no_such_host(name)).collect();
        return Err(Failure::expected_all(reasons).next(format!("add_host(\"{first}\"), where it is new")));
    }
    if hosts.len() < failed.len() {
        return Err(Failure::expected(refusals::NOT_ENOUGH_HOSTS)
            .next(format!("one for each of {}: gprecoverseg -p HOST,HOST", failed.join(", "))));
    }
    let chosen: Vec<&HostState> = known.into_iter().flatten().take(failed.len()).collect();
    let silent: Vec<&&HostState> = chosen.iter().filter(|host| !host.alive).collect();
    if let Some(first) = silent.first() {
        let reasons = silent.iter().map(|host| refusals::no_ping(&host.host)).collect();
        return Err(Failure::expected_all(reasons).next(format!("ping(\"{}\")", first.host)));
    }
    let new_host = |segment: &Segment| {
        let at = failed.iter().position(|name| *name == segment.row.hostname)?;
        chosen.get(at).copied()
    };
    let each = down.iter().filter_map(|segment| Some((segment.row.dbid, wanted(segment, new_host(segment)?))));
    let to = To { each: each.collect(), ..To::default() };
    Ok(Pool { to, not_needed: hosts.iter().skip(failed.len()).cloned().collect() })
}

fn wanted(segment: &Segment, host: &HostState) -> Wanted {
    let parent = Path::new(&segment.row.datadir).parent().map(|parent| parent.display().to_string());
    let has_it = parent.is_some_and(|parent| host.roots.contains(&parent));
    let datadir = has_it.then(|| segment.row.datadir.clone());
    Wanted { host: Some(host.host.clone()), datadir, ..Wanted::default() }
}
