//! Where the segments that a plan names by dbid are.
//!
//! A plan and an operation know dbids; a person knows hosts. The places come from the last state,
//! and a dbid that is not in it is shown as itself.

use crate::cluster::State;
use crate::core::ids::Dbid;
use crate::core::row::{PairRow, Role};
use std::collections::BTreeMap;

/// Host, port and directory of the segments of a cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Places(BTreeMap<Dbid, Place>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    host: String,
    port: u16,
    preferred_role: Role,
}

impl Places {
    /// The places of a state.
    pub fn of(state: &State) -> Places {
        let place = |row: &crate::core::row::SegmentRow| Place {
            host: row.hostname.clone(),
            port: row.port,
            preferred_role: row.preferred_role,
        };
        Places(
            state
                .segments
                .iter()
                .map(|s| (s.row.dbid, place(&s.row)))
                .collect(),
        )
    }

    /// `dbid 4 sdw2:6004`, or `dbid 4` when nobody knows where it is.
    pub fn dbid(&self, dbid: Dbid) -> String {
        match self.0.get(&dbid) {
            Some(place) => format!("dbid {dbid} {}:{}", place.host, place.port),
            None => format!("dbid {dbid}"),
        }
    }

    /// `sdw2:6004`, or `dbid 4`.
    pub fn address(&self, dbid: Dbid) -> String {
        match self.0.get(&dbid) {
            Some(place) => format!("{}:{}", place.host, place.port),
            None => format!("dbid {dbid}"),
        }
    }

    /// `sdw2`, or `dbid 4`.
    pub fn host(&self, dbid: Dbid) -> String {
        match self.0.get(&dbid) {
            Some(place) => place.host.clone(),
            None => format!("dbid {dbid}"),
        }
    }

    /// Whether the row leaves a content served by the segment that is preferred as its mirror.
    pub fn is_switched(&self, row: &PairRow) -> bool {
        self.0
            .get(&row.primary.dbid)
            .is_some_and(|place| place.preferred_role == Role::Mirror)
    }
}
