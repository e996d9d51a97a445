//! The row of a pair: the only truth about who serves a content (R1).
//!
//! A [`PairRow`] is changed by compare-and-set on the whole value. The legal combinations are those
//! of Greenplum's file replication; any other quarantines its content and nothing else.

use super::ids::{Content, Dbid, Epoch};
use serde::{Deserialize, Serialize};

macro_rules! lettered {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $letter:literal, $word:literal;)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum $name { $($(#[$vdoc])* #[serde(rename = $letter)] $variant,)* }

        impl $name {
            /// Every value, in the catalog's order.
            pub const ALL: &'static [$name] = &[$($name::$variant),*];
            /// The catalog's letter.
            pub fn letter(self) -> &'static str { match self { $($name::$variant => $letter),* } }
            /// The word an administrator reads.
            pub fn word(self) -> &'static str { match self { $($name::$variant => $word),* } }
            /// The value a letter or a word names.
            pub fn parse(text: &str) -> Option<$name> {
                match text { $($letter | $word => Some($name::$variant),)* _ => None }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { f.pad(self.word()) }
        }
    };
}

lettered! {
    /// What a segment does now, or is meant to do (`preferred_role`).
    Role { Primary = "p", "primary"; Mirror = "m", "mirror"; }
}
lettered! {
    /// The state of the pair's data as the catalog records it for one member.
    Mode {
        Synchronized = "s", "synchronized";
        Resynchronizing = "r", "resynchronizing";
        ChangeTracking = "c", "change tracking";
    }
}
lettered! {
    /// Whether the catalog counts on the segment.
    Status { Up = "u", "up"; Down = "d", "down"; }
}

/// One row of `gp_segment_configuration`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentRow {
    pub dbid: Dbid,
    pub content: Content,
    pub role: Role,
    pub preferred_role: Role,
    pub mode: Mode,
    pub status: Status,
    pub port: u16,
    pub hostname: String,
    pub address: String,
    /// `None` on the coordinator's row.
    pub replication_port: Option<u16>,
    pub datadir: String,
}

/// Where a segment is: the part of its row that changes only when it is moved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    pub hostname: String,
    pub address: String,
    /// Control and SQL.
    pub port: u16,
    /// The link of the pair.
    pub replication_port: u16,
    pub datadir: String,
}

impl std::fmt::Display for Place {
    /// `sdw3:7002 /srv/seg/c0-6`
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{} {}", self.hostname, self.port, self.datadir)
    }
}

impl SegmentRow {
    /// Where the segment is.
    pub fn place(&self) -> Place {
        Place {
            hostname: self.hostname.clone(),
            address: self.address.clone(),
            port: self.port,
            replication_port: self.replication_port.unwrap_or_default(),
            datadir: self.datadir.clone(),
        }
    }

    /// The same segment at another place.
    #[must_use]
    pub fn at(&self, place: &Place) -> SegmentRow {
        SegmentRow {
            hostname: place.hostname.clone(),
            address: place.address.clone(),
            port: place.port,
            replication_port: Some(place.replication_port),
            datadir: place.datadir.clone(),
            ..self.clone()
        }
    }
}

/// One member of a pair: the part of its row that changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Member {
    pub dbid: Dbid,
    pub mode: Mode,
    pub status: Status,
}

/// The changing part of a content's rows, by current role, and its epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PairRow {
    pub content: Content,
    pub epoch: Epoch,
    pub primary: Member,
    /// `None` in a cluster without mirrors.
    pub mirror: Option<Member>,
}

/// The legal states of a pair, by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Pairing {
    /// p,s,u / m,s,u
    Synchronized,
    /// p,r,u / m,r,u
    Resynchronizing,
    /// p,c,u / m,s|r,d
    ChangeTracking,
    /// One row p,s,u
    Mirrorless,
}

impl PairRow {
    /// Which legal state this is; `None` is an impossible row, and quarantines the content.
    pub fn pairing(&self) -> Option<Pairing> {
        use Mode::*;
        use Status::*;
        if self.primary.status != Up {
            return None;
        }
        match (self.primary.mode, self.mirror.map(|m| (m.mode, m.status))) {
            (Synchronized, None) => Some(Pairing::Mirrorless),
            (Synchronized, Some((Synchronized, Up))) => Some(Pairing::Synchronized),
            (Resynchronizing, Some((Resynchronizing, Up))) => Some(Pairing::Resynchronizing),
            (ChangeTracking, Some((Synchronized | Resynchronizing, Down))) => Some(Pairing::ChangeTracking),
            _ => None,
        }
    }

    /// The role this row gives to a segment, if it is a member.
    pub fn role_of(&self, dbid: Dbid) -> Option<Role> {
        if self.primary.dbid == dbid {
            Some(Role::Primary)
        } else if self.mirror.is_some_and(|m| m.dbid == dbid) {
            Some(Role::Mirror)
        } else {
            None
        }
    }

    /// The other member.
    pub fn peer_of(&self, dbid: Dbid) -> Option<Dbid> {
        let mirror = self.mirror?;
        if self.primary.dbid == dbid {
            Some(mirror.dbid)
        } else if mirror.dbid == dbid {
            Some(self.primary.dbid)
        } else {
            None
        }
    }
}
