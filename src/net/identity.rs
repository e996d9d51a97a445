//! Who is at an end of a connection, and what the connection is for.

use super::key::ClusterKey;
use crate::core::ids::Dbid;
use std::fmt;
use std::str::FromStr;

/// A process of the cluster, by its place in it. Both are bound into the challenge.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Identity {
    /// The coordinator.
    Coordinator,
    /// A segment, by its dbid.
    Segment(Dbid),
    /// A host's agent, by the host's name.
    Host(String),
    /// An administrator's process.
    Client,
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Identity::Coordinator => f.write_str("coordinator"),
            Identity::Segment(dbid) => write!(f, "dbid {dbid}"),
            Identity::Host(name) => write!(f, "host {name}"),
            Identity::Client => f.write_str("client"),
        }
    }
}

/// The text is not an identity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an identity")]
pub struct BadIdentity(String);

impl FromStr for Identity {
    type Err = BadIdentity;

    fn from_str(text: &str) -> Result<Identity, BadIdentity> {
        let bad = || BadIdentity(text.escape_default().to_string());
        match text.split_once(' ') {
            None if text == "coordinator" => Ok(Identity::Coordinator),
            None if text == "client" => Ok(Identity::Client),
            Some(("dbid", number)) => number.parse().map(|n| Identity::Segment(Dbid(n))).map_err(|_| bad()),
            Some(("host", name)) if !name.is_empty() => Ok(Identity::Host(name.into())),
            _ => Err(bad()),
        }
    }
}

/// What a connection is for. One listener may serve several.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// Coordinator to segment: rows and reports.
    Control,
    /// Gateway to segment: the PostgreSQL protocol.
    Sql,
    /// Acting primary to mirror.
    Replication,
    /// Anyone to a host's agent.
    Host,
    /// An administrator's process to the coordinator.
    Client,
    /// Coordinator to segment: a content's files, as they were at one moment.
    Backup,
}

impl Purpose {
    /// Every purpose, by its number on the wire.
    pub const ALL: [Purpose; 6] =
        [Purpose::Control, Purpose::Sql, Purpose::Replication, Purpose::Host, Purpose::Client, Purpose::Backup];

    /// The purpose's number on the wire.
    pub fn number(self) -> u8 {
        match self {
            Purpose::Control => 1,
            Purpose::Sql => 2,
            Purpose::Replication => 3,
            Purpose::Host => 4,
            Purpose::Client => 5,
            Purpose::Backup => 6,
        }
    }

    /// The purpose with this number.
    pub fn from_number(number: u8) -> Option<Purpose> {
        Purpose::ALL.into_iter().find(|p| p.number() == number)
    }

    /// The word for logs and messages.
    pub fn word(self) -> &'static str {
        match self {
            Purpose::Control => "control",
            Purpose::Sql => "sql",
            Purpose::Replication => "replication",
            Purpose::Host => "host",
            Purpose::Client => "client",
            Purpose::Backup => "backup",
        }
    }
}

/// The other side of a connection, proven.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Who it is.
    pub identity: Identity,
    /// What the connection is for.
    pub purpose: Purpose,
}

/// What a process proves itself with: the cluster's key and its own identity.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// The cluster's key.
    pub key: ClusterKey,
    /// This process.
    pub identity: Identity,
}

impl Credentials {
    /// Credentials of `identity` in the cluster of `key`.
    pub fn new(key: ClusterKey, identity: Identity) -> Credentials {
        Credentials { key, identity }
    }
}

/// Where a process listens: a name or an address, and a port.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// A host name, or an IP address.
    pub address: String,
    /// The TCP port.
    pub port: u16,
}

impl Endpoint {
    /// The endpoint `address`:`port`.
    pub fn new(address: impl Into<String>, port: u16) -> Endpoint {
        Endpoint { address: address.into(), port }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.address, self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_is_what_its_text_says() {
        for identity in
            [Identity::Coordinator, Identity::Segment(Dbid(4)), Identity::Host("sdw1".into()), Identity::Client]
        {
            assert_eq!(identity.to_string().parse(), Ok(identity));
        }
        for text in ["", "host ", "dbid x", "root", "dbid", "coordinator x"] {
            assert!(text.parse::<Identity>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_purpose_is_what_its_number_says() {
        for purpose in Purpose::ALL {
            assert_eq!(Purpose::from_number(purpose.number()), Some(purpose));
        }
        assert_eq!(Purpose::from_number(0), None);
    }
}
