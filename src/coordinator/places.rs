//! Where everything is: which hosts there are and how each is reached, and which segment is where.
//!
//! A segment may move and hosts may join and leave while the coordinator runs. So nobody in this process keeps a
//! copy of a place beyond the step that needs it: it is asked for here, by name or by dbid. What is
//! written here was made durable before: a segment's place by its row in the catalog, a host by
//! `cluster.json`.

use super::site::HostPlace;
use crate::cluster::LeftBehind;
use crate::core::ids::{Content, Dbid};
use crate::core::row::{Place, SegmentRow};
use crate::hosts::Host;
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use tokio::sync::{Notify, watch};

/// Hosts in the cluster's order, each with the way to ask it.
pub type Hosts = Vec<(HostPlace, Arc<dyn Host>)>;

/// A host of the cluster: where it is, and the way to ask it.
pub struct KnownHost {
    pub place: HostPlace,
    pub host: Arc<dyn Host>,
    /// Something may have happened there: whoever watches the host asks it at once.
    pub(super) wanted: Notify,
}

#[derive(Default)]
struct Known {
    /// Without the coordinator's own row. The letters of a row are those at the start, and nobody's
    /// truth: the catalog has them.
    rows: BTreeMap<Dbid, Arc<SegmentRow>>,
    hosts: Vec<Arc<KnownHost>>,
    /// What moves have left at former places.
    left: Vec<LeftBehind>,
}

/// Where everything is, shared by all of the coordinator.
pub struct Places {
    known: RwLock<Known>,
    hosts_version: watch::Sender<u64>,
}

impl Places {
    /// The coordinator's own row is left out of the segments.
    pub fn new(rows: Vec<SegmentRow>, left: Vec<LeftBehind>, hosts: Hosts) -> Arc<Places> {
        let rows = rows.into_iter().filter(|r| r.content != Content::COORDINATOR);
        let rows = rows.map(|row| (row.dbid, Arc::new(row))).collect();
        let places = Places {
            known: RwLock::new(Known { rows, left, ..Known::default() }),
            hosts_version: watch::Sender::new(0),
        };
        places.set_hosts(hosts);
        Arc::new(places)
    }

    /// The row of a segment as far as it says where and what it is.
    pub fn row(&self, dbid: Dbid) -> Option<Arc<SegmentRow>> {
        self.known().rows.get(&dbid).cloned()
    }

    /// The rows of all segments, by dbid.
    pub fn rows(&self) -> Vec<Arc<SegmentRow>> {
        self.known().rows.values().cloned().collect()
    }

    /// The members of a content, by dbid.
    pub fn members(&self, content: Content) -> Vec<Dbid> {
        self.known().rows.values().filter(|r| r.content == content).map(|r| r.dbid).collect()
    }

    /// The name of a segment's host; empty when there is no such segment.
    pub fn host_of(&self, dbid: Dbid) -> String {
        self.row(dbid).map(|r| r.hostname.clone()).unwrap_or_default()
    }

    /// The way to ask a host.
    pub fn host(&self, name: &str) -> Option<Arc<dyn Host>> {
        self.known_host(name).map(|known| known.host.clone())
    }

    /// A segment's row and the way to ask its host.
    pub fn segment(&self, dbid: Dbid) -> Option<(Arc<SegmentRow>, Arc<dyn Host>)> {
        let row = self.row(dbid)?;
        let host = self.host(&row.hostname)?;
        Some((row, host))
    }

    /// Every host, in the cluster's order.
    pub fn hosts(&self) -> Vec<Arc<KnownHost>> {
        self.known().hosts.clone()
    }

    /// Where every host is, in the cluster's order.
    pub fn host_places(&self) -> Vec<HostPlace> {
        self.known().hosts.iter().map(|known| known.place.clone()).collect()
    }

    /// From here on these are the hosts. One whose place is as it was stays the same host to whoever watches it.
    pub fn set_hosts(&self, hosts: Hosts) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::take(&mut known.hosts);
        let same = |place: &HostPlace| before.iter().find(|old| old.place == *place).cloned();
        known.hosts = hosts
            .into_iter()
            .map(|(place, host)| {
                same(&place).unwrap_or_else(|| Arc::new(KnownHost { place, host, wanted: Notify::new() }))
            })
            .collect();
        drop(known);
        self.hosts_version.send_modify(|version| *version += 1);
    }

    /// This host is none of the cluster's from here on.
    pub fn remove_host(&self, name: &str) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.hosts.retain(|host| host.place.name != name);
        drop(known);
        self.hosts_version.send_modify(|version| *version += 1);
    }

    /// A host was not to leave after all: this one is its again, and those are all. To whoever watched it, it has left.
    pub fn put_back(&self, mut hosts: Vec<Arc<KnownHost>>, name: &str) {
        for known in hosts.iter_mut().filter(|known| known.place.name == name) {
            let (place, host) = (known.place.clone(), known.host.clone());
            *known = Arc::new(KnownHost { place, host, wanted: Notify::new() });
        }
        self.known.write().unwrap_or_else(PoisonError::into_inner).hosts = hosts;
        self.hosts_version.send_modify(|version| *version += 1);
    }

    /// A segment's row says this place from now on.
    pub fn set_place(&self, dbid: Dbid, place: &Place, at_ms: i64) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let Some(row) = known.rows.get(&dbid).filter(|row| row.place() != *place).cloned() else {
            return;
        };
        let (host, datadir) = (row.hostname.clone(), row.datadir.clone());
        known.left.retain(|left| !left.is_at(&host, &datadir) && !left.is_at(&place.hostname, &place.datadir));
        known.left.push(LeftBehind { dbid, host, datadir, since_ms: at_ms });
        known.rows.insert(dbid, Arc::new(row.at(place)));
    }

    /// What moves have left on a host.
    pub fn left_on(&self, host: &str) -> Vec<LeftBehind> {
        self.known().left.iter().filter(|left| left.host == host).cloned().collect()
    }

    /// What moves have left on a host is nobody's any more.
    pub fn forget_left_on(&self, host: &str) {
        self.known.write().unwrap_or_else(PoisonError::into_inner).left.retain(|left| left.host != host);
    }

    /// Nothing is left there any more.
    pub fn forget_left(&self, host: &str, datadir: &str) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.left.retain(|left| !left.is_at(host, datadir));
    }

    /// Something may have happened at this host: whoever watches it asks it now.
    pub fn glance_at(&self, host: &str) {
        if let Some(known) = self.known_host(host) {
            known.wanted.notify_one();
        }
    }

    /// Whether this is still how a host of the cluster is reached.
    pub(super) fn is_known(&self, host: &Arc<KnownHost>) -> bool {
        self.known().hosts.iter().any(|known| Arc::ptr_eq(known, host))
    }

    /// Wakes when the hosts are others than before.
    pub(super) fn host_changes(&self) -> watch::Receiver<u64> {
        self.hosts_version.subscribe()
    }

    fn known_host(&self, name: &str) -> Option<Arc<KnownHost>> {
        self.known().hosts.iter().find(|known| known.place.name == name).cloned()
    }

    fn known(&self) -> RwLockReadGuard<'_, Known> {
        // The writers only assign: a panic in between leaves whole values.
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }
}
