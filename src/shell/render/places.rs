//! Where the segments that a plan names by dbid are: a person knows hosts, not numbers.

use crate::cluster::{Place, Plan};
use crate::core::ids::Dbid;
use crate::core::row::{Place as NewPlace, Role};

/// The places of a plan. A dbid that has none is shown as itself.
#[derive(Debug, Clone, Copy)]
pub struct Places<'a>(&'a Plan);

impl<'a> Places<'a> {
    /// The places that the plan carries, so that a saved one reads the same anywhere.
    pub fn of(plan: &'a Plan) -> Places<'a> {
        Places(plan)
    }

    /// `dbid 4 sdw2:6004`, or `dbid 4` when nobody knows where it is.
    pub fn dbid(&self, dbid: Dbid) -> String {
        match self.0.place(dbid) {
            Some(place) => format!("dbid {dbid} {}", address(place)),
            None => format!("dbid {dbid}"),
        }
    }

    /// `sdw2:6004`, or `dbid 4`.
    pub fn address(&self, dbid: Dbid) -> String {
        self.0.place(dbid).map_or_else(|| format!("dbid {dbid}"), address)
    }

    /// `sdw2:6004 /srv/seg/c2-4`, for what is written anew.
    pub fn directory(&self, dbid: Dbid) -> String {
        match self.0.place(dbid) {
            Some(place) => format!("{} {}", address(place), place.datadir),
            None => format!("dbid {dbid}"),
        }
    }

    /// `sdw3:7002 /srv/seg/c0-6`, where a segment is moved to; without the directory where there is no room
    /// for it.
    pub fn new_place(&self, to: &NewPlace, directory: bool) -> String {
        let address = format!("{}:{}", to.hostname, to.port);
        if directory { format!("{address} {}", to.datadir) } else { address }
    }

    /// ` (switched)` when a content's primary is the segment that was made its mirror.
    pub fn switched(&self, primary: Dbid) -> &'static str {
        let preferred = self.0.place(primary).and_then(|place| place.preferred_role);
        if preferred == Some(Role::Mirror) { " (switched)" } else { "" }
    }

    /// `sdw2`, or `dbid 4`; where the plan moves it, the host that it will be on.
    pub fn host(&self, dbid: Dbid) -> String {
        if let Some(to) = self.0.new_place(dbid) {
            return to.hostname.clone();
        }
        self.0.place(dbid).map_or_else(|| format!("dbid {dbid}"), |place| place.host.clone())
    }
}

fn address(place: &Place) -> String {
    format!("{}:{}", place.host, place.port)
}
