//! `segsh status --json`, as far as tests look at it. Reading it demands the documented keys.

use serde::Deserialize;

#[derive(Debug, Clone, Deserialize)]
pub struct Status {
    pub cluster: String,
    pub operational: bool,
    pub fts_paused_until_ms: Option<i64>,
    pub coordinator: Coordinator,
    pub hosts: Vec<Host>,
    pub segments: Vec<Segment>,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Coordinator {
    pub host: String,
    pub port: u16,
    pub socket_dir: String,
    pub pid: Option<u32>,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Host {
    pub host: String,
    pub address: String,
    pub alive: bool,
    pub pid: Option<u32>,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Segment {
    pub dbid: i64,
    pub content: i64,
    pub role: String,
    pub preferred_role: String,
    pub mode: String,
    pub status: String,
    pub alive: bool,
    pub host: String,
    pub address: String,
    pub port: u16,
    pub replication_port: Option<u16>,
    pub datadir: String,
    pub pid: Option<u32>,
}

impl Segment {
    /// The notation of the documents: `p,c,u`.
    pub fn letters(&self) -> String {
        format!("{},{},{}", self.role, self.mode, self.status)
    }

    #[track_caller]
    pub fn running(&self) -> u32 {
        self.pid.unwrap_or_else(|| panic!("dbid {} has no process: {self:?}", self.dbid))
    }
}

/// Both members of a content, by current role.
#[derive(Debug, Clone)]
pub struct Pair {
    pub primary: Segment,
    pub mirror: Segment,
}

impl Pair {
    /// The notation of the documents: `p,s,u / m,s,u`.
    pub fn letters(&self) -> String {
        format!("{} / {}", self.primary.letters(), self.mirror.letters())
    }

    pub fn is_preferred(&self) -> bool {
        [&self.primary, &self.mirror].iter().all(|s| s.role == s.preferred_role)
    }
}

pub const SYNCHRONIZED: &str = "p,s,u / m,s,u";
pub const RESYNCHRONIZING: &str = "p,r,u / m,r,u";
pub const TRACKING: &str = "p,c,u / m,s,d";
/// After the loss of a mirror that was not yet whole again, and during a full copy.
pub const TRACKING_UNFINISHED: &str = "p,c,u / m,r,d";

impl Status {
    #[track_caller]
    pub fn pair(&self, content: i64) -> Pair {
        let member = |role: &str| {
            let found: Vec<_> = self.segments.iter().filter(|s| s.content == content && s.role == role).collect();
            match found[..] {
                [one] => one.clone(),
                _ => panic!("content {content} has {} segments of role {role}: {self:?}", found.len()),
            }
        };
        Pair { primary: member("p"), mirror: member("m") }
    }

    pub fn contents(&self) -> Vec<i64> {
        let mut contents: Vec<i64> = self.segments.iter().map(|s| s.content).collect();
        contents.sort_unstable();
        contents.dedup();
        contents
    }

    #[track_caller]
    pub fn segment(&self, dbid: i64) -> &Segment {
        self.segments.iter().find(|s| s.dbid == dbid).unwrap_or_else(|| panic!("no dbid {dbid}: {self:?}"))
    }

    pub fn is_synchronized(&self) -> bool {
        self.contents().iter().all(|c| self.pair(*c).letters() == SYNCHRONIZED)
    }

    pub fn is_balanced(&self) -> bool {
        self.contents().iter().all(|c| self.pair(*c).is_preferred())
    }

    /// Every process the status names: coordinator first, so that it can't react to the end of the rest.
    pub fn pids(&self) -> Vec<u32> {
        let segments = self.segments.iter().map(|s| s.pid);
        std::iter::once(self.coordinator.pid)
            .chain(self.hosts.iter().map(|h| h.pid))
            .chain(segments)
            .flatten()
            .collect()
    }
}
