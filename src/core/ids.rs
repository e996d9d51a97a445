//! The identities of the field, as types, so that a dbid is never passed where a content is meant.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A segment instance: unique in the cluster, 1 is the coordinator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Dbid(pub i64);

/// A content: one primary and its mirror share it; the coordinator's is -1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Content(pub i64);

impl Content {
    /// The coordinator's content in the catalog.
    pub const COORDINATOR: Content = Content(-1);
}

/// The fencing number of a content. It only rises, and only the coordinator raises it (R1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(pub u64);

impl Epoch {
    /// The only arithmetic an epoch has.
    #[must_use]
    pub fn next(self) -> Epoch {
        Epoch(self.0 + 1)
    }
}

/// One copy of a content's files. A full copy makes a new one; a dirty map is bound to one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CopyId(pub u128);

impl fmt::Debug for CopyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Display for CopyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// On the wire a copy id is its 32 hexadecimal digits: a JSON number would lose bits.
impl Serialize for CopyId {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for CopyId {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = String::deserialize(d)?;
        u128::from_str_radix(&text, 16)
            .map(CopyId)
            .map_err(|_| serde::de::Error::custom(format!("`{text}` is not a copy id (32 hex digits)")))
    }
}

macro_rules! displays_its_number {
    ($($t:ty),*) => {$(
        impl fmt::Display for $t {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { fmt::Display::fmt(&self.0, f) }
        }
    )*};
}
displays_its_number!(Dbid, Content, Epoch);
