//! What a segment's and an agent's process must know before it can ask anyone.

use super::files::{self, FileError};
use crate::core::ids::{Content, Dbid};
use crate::core::row::Role;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// The name of a segment's configuration in its data directory.
pub const SEGMENT_FILE: &str = "segment.json";
/// The name of an agent's configuration in its directory.
pub const AGENT_FILE: &str = "agent.json";
/// Its presence in a host's directory says that a drill has the host dead: nothing is started there until the
/// drill brings it back.
pub const STOPPED_FILE: &str = "stopped";
/// What is appended to a data directory's name for the copy made beside it.
pub const NEW_COPY_SUFFIX: &str = ".new";
/// What says which copy a data directory holds: written by the segment, removed by its host before a
/// full copy.
pub const IDENTITY_FILE: &str = "segment.meta";
const SCHEMA: u64 = 1;

/// One segment, as its own process knows it: `DATADIR/segment.json`. It does not say which role it has
/// and in which mode: that is the coordinator's to say (R1, R5).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentConfig {
    /// The cluster's own identity.
    pub cluster_id: String,
    /// The cluster's name.
    pub cluster: String,
    /// Which segment it is.
    pub dbid: Dbid,
    /// The content it holds a copy of.
    pub content: Content,
    /// The host it is on, by name.
    pub host: String,
    /// The address it listens on.
    pub address: String,
    /// Control and SQL.
    pub port: u16,
    /// The link of the pair.
    pub replication_port: u16,
    /// Where this file is.
    pub datadir: PathBuf,
    /// Where the Unix sockets of PostgreSQL clients are.
    pub socket_dir: PathBuf,
    /// The cluster's key.
    pub key_file: PathBuf,
    /// Whether faults may be injected.
    pub drill: bool,
    /// The role it is meant to have: kept here for the day on which the catalog is lost. `None` in what an
    /// earlier release wrote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preferred_role: Option<Role>,
}

impl SegmentConfig {
    /// Reads `DATADIR/segment.json`.
    pub fn load(datadir: &Path) -> Result<SegmentConfig, FileError> {
        files::read_json(&datadir.join(SEGMENT_FILE), SCHEMA)
    }

    /// Writes it to its data directory, durably.
    pub fn store(&self) -> Result<(), FileError> {
        files::write_json(&self.datadir.join(SEGMENT_FILE), SCHEMA, self)
    }

    /// The same segment on a copy made beside its data directory.
    #[must_use]
    pub fn on_new_copy(&self) -> SegmentConfig {
        let mut name = self.datadir.clone().into_os_string();
        name.push(NEW_COPY_SUFFIX);
        SegmentConfig { datadir: name.into(), ..self.clone() }
    }
}

/// One host's agent: `agent.json` in the host's directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentConfig {
    /// The cluster's own identity.
    pub cluster_id: String,
    /// The cluster's name.
    pub cluster: String,
    /// The host's name.
    pub host: String,
    /// The address the agent listens on.
    pub address: String,
    /// The port the agent listens on.
    pub port: u16,
    /// The cluster's key.
    pub key_file: PathBuf,
    /// Where the logs of segments go.
    pub log_dir: PathBuf,
    /// The program that segments are started with; `None` is the agent's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub program: Option<PathBuf>,
    /// Directories beside the host's own that data directories may be in; absolute.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roots: Vec<PathBuf>,
}

impl AgentConfig {
    /// Reads `agent.json` in the host's directory.
    pub fn load(dir: &Path) -> Result<AgentConfig, FileError> {
        files::read_json(&dir.join(AGENT_FILE), SCHEMA)
    }

    /// What the text of a file on another machine says.
    pub(super) fn parse(text: &str) -> Result<AgentConfig, FileError> {
        files::parse_json(Path::new(AGENT_FILE), text, SCHEMA)
    }

    /// The text of its file.
    pub(super) fn text(&self) -> Result<Vec<u8>, FileError> {
        files::json_text(Path::new(AGENT_FILE), SCHEMA, self)
    }

    /// Writes it to the host's directory, durably.
    pub fn store(&self, dir: &Path) -> Result<(), FileError> {
        files::write_json(&dir.join(AGENT_FILE), SCHEMA, self)
    }
}
