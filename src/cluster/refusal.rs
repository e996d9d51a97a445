//! Why a change is refused: a documented code, the segment, the cause and the next step.

use crate::core::ids::{Content, Dbid};
use serde::{Deserialize, Serialize};

macro_rules! refusal_codes {
    ($($(#[$doc:meta])* $variant:ident = $code:literal, $explain:literal;)*) => {
        /// Every refusal there is. The code is stable; `help(code)` prints the explanation.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum RefusalCode { $($(#[$doc])* #[serde(rename = $code)] $variant,)* }

        impl RefusalCode {
            pub const ALL: &'static [RefusalCode] = &[$(RefusalCode::$variant),*];
            pub fn code(self) -> &'static str { match self { $(RefusalCode::$variant => $code),* } }
            /// Cause and next step in a sentence or two.
            pub fn explain(self) -> &'static str { match self { $(RefusalCode::$variant => $explain),* } }
            pub fn parse(text: &str) -> Option<RefusalCode> {
                match text { $($code => Some(RefusalCode::$variant),)* _ => None }
            }
        }
    };
}

refusal_codes! {
    SegmentDown = "segment_down",
        "A segment that must be up is down. Recover it first: recover(#{ contents: [N] }).";
    SegmentUp = "segment_up",
        "A full copy, or a move, was asked for a segment that is up. Only a segment that is down can be copied anew; stop it first if that is meant; whether its copy is sound, verify() says.";
    NotSynchronized = "not_synchronized",
        "The pair is still being copied or tracks changes. Wait for it: wait_until(\"synchronized\", #{ contents: [N] }).";
    NoSpace = "no_space",
        "The file system under the target has too little room. Free some, or choose another place; state().segment(N).free_bytes says what there is.";
    HostDown = "host_down",
        "The segment's host does not answer: its agent is not running or not reachable. Bring the host back: `segsh start DIR`, or fault::start_host(\"NAME\") on a drill cluster.";
    HostInUse = "host_in_use",
        "A host leaves the cluster when no segment is on it or on its way there or from there. Where it is gone for good, rebuild its segments elsewhere: procedure(\"replace_host\", #{ host: \"OLD\", to: \"NEW\" }); then remove_host(\"OLD\").";
    DoubleFault = "double_fault",
        "No member of the content can serve, so there is nothing to copy from. Bring the last acting primary back: restart(), then recover(); see procedure recover_double_fault.";
    IncrementalImpossible = "incremental_impossible",
        "What changed since the segment went down is not known for this copy, so only a full copy can make it equal: full_recover(#{ dbids: N }).";
    SourceDamaged = "source_damaged",
        "The acting primary's own data is damaged and must not be copied over the other copy. What is damaged, why(\"content N\") and state() say. Its mirror, though down, holds what it held when the difference was found. Save what the primary still gives; then let the mirror serve, by the typed override that says what may be lost: force_primary(#{ dbids: MIRROR }). What it lacks, load from a backup: psql contentN. Then make the damaged copy anew: full_recover(#{ dbids: FORMER }).";
    Quarantined = "quarantined",
        "The catalog's rows of this content are impossible, or a segment knows a later epoch than the catalog. Nothing is decided for it until a person has looked: state().rows and why(\"content N\"). Then name the copy that shall serve, force_primary(#{ dbids: N }); where the rows themselves are impossible, make them again from the segments' records: segsh stop, move catalog.db away, segsh adopt DIR.";
    NoMirror = "no_mirror",
        "The content has no mirror in this cluster, so there is nothing to recover from or to switch to. When its only segment is down, start that: restart(#{ contents: [N] }).";
    UnknownTarget = "unknown_target",
        "No such content, dbid or host in this cluster. state() lists them.";
    CannotStop = "cannot_stop",
        "The former process of a segment could not be killed, so a new one must not start beside it. End it on its host, or restart the host; ping(\"HOST\") says whether that answers. Then recover().";
    StalePlan = "stale_plan",
        "The cluster changed since the plan was made. Make it again and look at it again: plan_recover(), plan_rebalance() and so on.";
    OtherCluster = "other_cluster",
        "The plan was made for another cluster. Name that one with -c, or make a plan for this one: plan_recover() and so on.";
    Vetoed = "vetoed",
        "A hook of the site has not let the change pass, or has failed: what it said is the cause, and where it stands is the next step. Hooks are registered by before(...), in hooks.rhai of the site's folder too: help(\"before\").";
    InMaintenance = "in_maintenance",
        "Somebody works on the segment's host, so nothing is recovered to it. It ends by itself; maintenance() lists who, why and until when, maintenance(\"HOST\", \"0s\", \"done\") ends it.";
    Stopping = "stopping",
        "The cluster is being stopped, so nothing is begun. Wait for the end, or end the sessions it waits for: segsh stop --mode fast; then segsh start.";
    CoordinatorDown = "coordinator_down",
        "The coordinator does not answer; what is shown is its last catalog. Start it: `segsh start DIR`.";
    BackupDir = "backup_dir",
        "A backup is written into a directory of the coordinator's host: an absolute path, new or empty, whose parent exists: backup(\"/backups/monday\"). What an interrupted backup left there is removed first; nothing else is.";
    BarrierMissed = "barrier_missed",
        "The commits of all contents could not be held at one moment, because one of them did not come to rest within a second: a slow disk, a mirror that is being given up, a failover. Nothing is kept. Run it again: backup(\"/backups/monday\").";
    BackupGaveWay = "backup_gave_way",
        "While a content is read for a backup its log can't be emptied, and it grew towards its limit, at which transactions fail. So the backup gave way, and nothing of it is kept. Run it at a quieter time, or let it read faster: without `rate`, to a faster disk: backup(\"/backups/monday\").";
    BackupDamaged = "backup_damaged",
        "The backup is not what was written: a file is missing, is shorter or longer, or has another checksum, or the manifest does not belong to it or to this cluster. Nothing was changed. `sha256sum -c SHA256SUMS` in its directory names every file that is damaged. Choose another backup: backup_info(\"/backups/monday\").";
    NotEmpty = "not_empty",
        "A restore replaces everything that the contents hold, and one of them holds tables. Restore into a new cluster, made by `segsh init`; or say that what is there may go: overwrite: true.";
    NotDrill = "not_drill",
        "Faults are injected only on demo clusters and those made with `segsh init --drill`. For one to try: `segsh demo`.";
    NotOperational = "not_operational",
        "The content has no mirror, and its only segment does not serve: what it holds is nowhere else. Find out why (ping(\"HOST\"), why(\"content N\")), repair that, then restart(#{ contents: [N] }); see procedure recover_without_mirroring.";
    Colocated = "colocated",
        "The new place is on the host of the other copy: a fault of that host would take both. Name another host, or say that it is meant: recover(#{ dbids: N, to: #{ host: \"HOST\", colocated: true } }).";
    PortTaken = "port_taken",
        "Another segment has the port, or somebody listens on it at the new place. Name another: recover(#{ to: #{ \"N\": #{ host: \"HOST\", port: 7010, replication_port: 9010 } } }).";
    DirTaken = "dir_taken",
        "The directory is another segment's, or somebody's files are in it; nothing of it is touched. Empty it, or name another: recover(#{ to: #{ \"N\": #{ host: \"HOST\", datadir: \"/PATH\" } } }). A segment that is down in its own directory is recovered without `to:`.";
}

/// One reason why something is not done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    pub code: RefusalCode,
    pub content: Option<Content>,
    pub dbid: Option<Dbid>,
    pub host: Option<String>,
    /// The cause, in words, with what was seen.
    pub cause: String,
    /// The next step, as it would be typed.
    pub next: String,
}
