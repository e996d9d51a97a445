//! Why a call on a cluster could not even be answered. A refusal is not an error: it is an outcome.

use thiserror::Error;

#[derive(Debug, Error)]
pub enum ClusterError {
    /// Exit 7.
    #[error("cannot connect to cluster {cluster}: {cause}")]
    Unreachable { cluster: String, cause: String, next: String },
    /// Exit 7: what listens there is another release.
    #[error("cluster {cluster}: {cause}")]
    OtherRelease { cluster: String, cause: String, next: String },
    /// Exit 8: another change of the same contents is under way.
    #[error("{message}")]
    Locked { message: String, op: i64 },
    /// An SQL statement failed.
    #[error("{message} (SQLSTATE {sqlstate})")]
    Sql { sqlstate: String, message: String },
    /// A bad argument that only the cluster could judge, such as an unknown setting.
    #[error("{message}")]
    Invalid { message: String, next: String },
    /// A fault function on a cluster that is not for drills.
    #[error("faults are injected only on drill clusters")]
    NotDrill,
    /// The interrupt flag was raised while waiting. `left` says what may go on, and is empty for what
    /// only reads.
    #[error("interrupted{}{left}", if left.is_empty() { "" } else { ": " })]
    Interrupted { left: String },
}
