//! What must hold, known by one who sees both disks.

use crate::disk::Disk;
use segsh::core::pair::primary::Mirroring;
use segsh::core::pair::replica::Replica;
use segsh::core::report::Phase;
use segsh::core::track::DirtyMap;
use std::collections::BTreeMap;

/// A commit that a client was just told of.
#[derive(Debug, Clone, Copy)]
pub struct Acknowledged {
    pub side: usize,
    pub commit: u64,
    /// Whoever told so believes to be in sync.
    pub in_sync: bool,
}

/// The history of commits, and the first promise that was broken.
#[derive(Debug, Default)]
pub struct Oracle {
    parents: BTreeMap<u64, u64>,
    next: u64,
    pub last_acknowledged: u64,
    pub acknowledged: u64,
    /// What was just acknowledged.
    pub just: Option<Acknowledged>,
    pub broken: Option<String>,
}

impl Oracle {
    pub fn broken(&mut self, what: String) {
        self.broken.get_or_insert(what);
    }

    /// A commit begins on top of another one.
    pub fn begin(&mut self, parent: u64) -> u64 {
        self.next += 1;
        self.parents.insert(self.next, parent);
        self.next
    }

    /// Whether a state that ends with this commit holds another one.
    pub fn holds(&self, mut state: u64, commit: u64) -> bool {
        while state > commit {
            state = self.parents.get(&state).copied().unwrap_or(0);
        }
        state == commit
    }

    pub fn acknowledged(&mut self, side: usize, replica: &Replica, commit: u64, disk: &Disk) {
        let last = self.last_acknowledged;
        // A commit that both held may be told late, by a primary that has been succeeded meanwhile.
        let late = self.holds(last, commit);
        if !late && !self.holds(commit, last) {
            let lost = format!("side {side} acknowledges commit {commit}, which lacks the acknowledged commit {last}");
            self.broken(lost);
        }
        (self.last_acknowledged, self.acknowledged) = (last.max(commit), self.acknowledged + 1);
        self.durable("acting primary", side, commit, disk);
        self.just = Some(Acknowledged { side, commit, in_sync: replica.phase() == Phase::InSync });
    }

    /// The durable files of a side hold a commit.
    pub fn durable(&mut self, who: &str, side: usize, commit: u64, disk: &Disk) {
        match disk.durable() {
            Ok(database) if self.holds(database.content.commit(), commit) => {}
            Ok(database) => {
                let found = database.content.commit();
                self.broken(format!(
                    "commit {commit} is acknowledged and not durable on the {who}, side {side}: it is at {found}"
                ));
            }
            Err(damage) => {
                self.broken(format!(
                    "commit {commit} is acknowledged, and the files of the {who}, side {side}, are damaged: {damage}"
                ));
            }
        }
    }

    /// A process has opened the database.
    pub fn opened(&mut self, side: usize, commit: u64) {
        if !self.holds(commit, self.last_acknowledged) {
            let last = self.last_acknowledged;
            self.broken(format!("side {side} serves commit {commit}, which lacks the acknowledged commit {last}"));
        }
    }

    /// A client was given the result of a read that began when `required` was acknowledged: what it has seen
    /// stays as if it had been acknowledged.
    pub fn answered_read(&mut self, side: usize, replica: &Replica, (found, required): (u64, u64), disk: &Disk) {
        if !self.holds(found, required) {
            self.broken(format!(
                "side {side} answers a read from commit {found}, though {required} was acknowledged before it began"
            ));
        }
        self.durable("acting primary, which showed it", side, found, disk);
        if !self.holds(self.last_acknowledged, found) {
            self.last_acknowledged = self.last_acknowledged.max(found);
            self.just = Some(Acknowledged { side, commit: found, in_sync: replica.phase() == Phase::InSync });
        }
    }
}

/// Which blocks would be explained, were this primary's mirror lost now; whether its link stands.
pub fn marked(replica: &Replica) -> Option<(DirtyMap, bool)> {
    let acting = replica.acting().ok()?;
    let linked = matches!(acting.primary().mirroring(), Mirroring::Resync | Mirroring::InSync);
    Some((acting.primary().possibly_different(), linked))
}
