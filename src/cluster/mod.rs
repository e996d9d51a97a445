//! What every backend shares: a cluster's state, the plan of a change, its outcome and its refusals,
//! and the one trait, [`Cluster`], that the script API knows.
//!
//! Pure, like the core: values and functions over values. What to do is decided here from a
//! [`State`]; how it is done belongs to a backend.

mod admin;
mod asked;
mod diff;
mod error;
pub mod estimate;
mod evidence;
mod moving;
mod outcome;
mod plan;
mod planning;
mod preconditions;
mod predict;
mod recovery;
mod refusal;
pub mod request;
pub mod saved;
pub mod settings;
mod state;
mod traits;
mod warning;
mod why;
mod work;

pub use admin::{ADMIN_FTS_PAUSE, ADMIN_FTS_RESUME, ADMIN_VERBS, AdminFunction, admin_functions};
pub use asked::{NOTHING_TO_DO, as_planned, without_step};
pub use diff::{Changed, Item, PlanDiff, diff};
pub use error::ClusterError;
pub use evidence::{Decided, Evidence, Observed};
pub use moving::{To, Wanted};
pub use outcome::{ContentProgress, KILLED, NOT_RUNNING, Outcome, OutcomeStatus, Progressing, SegmentOutcome};
pub use plan::{Intent, Joined, OVERRIDE_WORD, Place, Plan, PlanDamage, PlanStep, Selection, StepKind};
pub use planning::{Check, checks, plan, plan_together, state_fingerprint, still_holds};
pub use preconditions::{PRECONDITIONS, Precondition};
pub use predict::state_after;
pub use recovery::{Line, Recovery, recoveries};
pub use refusal::{Refusal, RefusalCode};
pub use state::{Alive, ContentState, CoordinatorState, HostState, LeftBehind, PairHealth, Segment, State};
pub use traits::{
    Acting, Cluster, Control, Fault, HostRemoved, InterruptFlag, NewHost, Observer, OperationId, PingResult, Rows,
    SqlTarget, SshLogin, StartHow, StopHow, Value,
};
pub use warning::{Episode, Thresholds, Warning, WarningCode, warnings};
pub use why::{About, Clue, ClueKind, Part, Tried, WHY_VERBS, Why, why};
pub use work::{
    AuditLine, AuditQuery, HEARTBEAT_EVERY_MS, HEARTBEAT_STALE_MS, MaintenanceInfo, OperationInfo, done, duration,
    step_of,
};
