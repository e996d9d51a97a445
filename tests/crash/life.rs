//! What a coordinator writes into its catalog in some eventful minutes, one durable call at a time.

use segsh::cluster::request::Owner;
use segsh::cluster::{Outcome, OutcomeStatus};
use segsh::coordinator::store::{Begun, Change, Changed, Store};
use segsh::core::ids::{Content, CopyId, Dbid};
use segsh::core::operation::{Goal, GoalKind, Target};
use segsh::core::row::{Mode, PairRow, Role, SegmentRow, Status};
use segsh::core::transition::{Event, Transition, apply};

/// One call of the store.
#[derive(Debug, Clone, Copy)]
pub enum Step {
    /// The row of a content changes, with its history and its evidence.
    Row(i64, Event),
    /// The same, and the goal that follows is written with it.
    RowAndGoal(i64, Event),
    /// A change from a row that stands no longer: nothing may be written.
    Late(i64, Event),
    Begin(i64),
    Save,
    End,
    Setting(&'static str),
    Note(i64),
    Quarantine(i64),
}

use Event::*;
use Step::*;

pub const LIFE: &[Step] = &[
    Row(0, MirrorLost),
    Begin(0),
    Row(0, RecoveryBegins),
    Save,
    Row(0, InSync),
    End,
    Setting("5s"),
    RowAndGoal(1, LinkLost),
    Late(1, PrimaryLost),
    Row(1, RecoveryBegins),
    Save,
    Row(1, LinkLost),
    Row(1, PrimaryRestarted),
    Row(1, RecoveryBegins),
    Row(1, InSync),
    End,
    Row(0, PrimaryLost),
    Note(0),
    Begin(0),
    Row(0, FullCopyBegins),
    Save,
    Row(0, RecoveryBegins),
    Row(0, InSync),
    End,
    Late(0, PrimaryRestarted),
    RowAndGoal(0, Drained),
    Setting("250ms"),
    Row(0, RecoveryBegins),
    Row(0, InSync),
    End,
    Row(1, DifferenceFound),
    Note(1),
    Quarantine(1),
];

fn row(dbid: i64, content: i64, role: Role) -> SegmentRow {
    SegmentRow {
        dbid: Dbid(dbid),
        content: Content(content),
        role,
        preferred_role: role,
        mode: Mode::Synchronized,
        status: Status::Up,
        port: 6000 + dbid as u16,
        hostname: format!("sdw{dbid}"),
        address: "127.0.0.1".into(),
        replication_port: (content >= 0).then_some(7000),
        datadir: format!("/data/c{content}-{dbid}"),
    }
}

/// A coordinator and two pairs.
pub fn rows() -> Vec<SegmentRow> {
    let (p, m) = (Role::Primary, Role::Mirror);
    vec![row(1, -1, p), row(2, 0, p), row(3, 0, m), row(4, 1, p), row(5, 1, m)]
}

fn owner() -> Owner {
    Owner { user: "u".into(), host: "h".into(), pid: 1, script: "x.rhai:1".into(), ..Owner::default() }
}

/// The pair of a content, which is a legal one.
pub fn pair(store: &Store, content: i64) -> PairRow {
    store.content(Content(content)).expect("a content").pair.expect("a pair")
}

/// The reason that step `n` gives; no other step's reason contains it.
pub fn reason(n: usize) -> String {
    format!("reason {n:03}")
}

fn change(store: &Store, n: usize, transition: &Transition, recover: bool) -> Changed {
    let (owner, reason, evidence) = (owner(), reason(n), vec![format!("seen {n}"), "x".repeat(n * 40)]);
    store
        .change(&Change {
            transition,
            reason: &reason,
            evidence: &evidence,
            recover: transition.recover().filter(|_| recover).map(|dbid| (dbid, &owner)),
            full_copy: n.is_multiple_of(2),
            rate_bytes: Some(1 << 20),
            serving_copy: Some(CopyId(n as u128)),
            copy_rate_bytes: None,
            place: None,
            at_ms: n as i64 * 1000,
        })
        .expect("a change")
}

fn active(store: &Store) -> (i64, Goal) {
    let op = store.active().expect("operations").pop().expect("one goes on");
    (op.id, op.goal)
}

fn outcome(op: i64) -> Outcome {
    Outcome {
        verb: "recover".into(),
        status: OutcomeStatus::Done,
        op: Some(op),
        segments: vec![],
        refusals: vec![],
        elapsed_ms: 1,
        message: "done".into(),
        next: String::new(),
    }
}

/// Makes step `n` of [`LIFE`].
pub fn perform(store: &Store, n: usize) {
    match LIFE[n] {
        Row(content, event) | RowAndGoal(content, event) => {
            let with_goal = matches!(LIFE[n], RowAndGoal(..));
            let transition = apply(&pair(store, content), event).unwrap_or_else(|| panic!("step {n} is not legal"));
            let Changed::Done { row, op } = change(store, n, &transition, with_goal) else { panic!("step {n}") };
            assert_eq!((row, op.is_some()), (transition.after, with_goal), "step {n}");
        }
        Late(content, event) => {
            // The same letters of an older epoch, in which the event would mean something.
            let mut older = pair(store, content);
            older.epoch.0 -= 1;
            older.primary.mode = Mode::Synchronized;
            older.mirror.iter_mut().for_each(|m| (m.mode, m.status) = (Mode::Synchronized, Status::Up));
            let transition = apply(&older, event).unwrap_or_else(|| panic!("step {n} is not legal"));
            assert!(matches!(change(store, n, &transition, false), Changed::Stale { .. }), "step {n}");
        }
        Begin(content) => {
            let dbid = pair(store, content).mirror.expect("a mirror").dbid;
            let kind = GoalKind::Recover { full: n.is_multiple_of(2), in_place: false, rate_bytes: None };
            let goal = Goal::new(kind, vec![Target::new(Content(content), dbid)]);
            assert!(matches!(store.begin(&goal, &owner(), n as i64).expect("begun"), Begun::New(_)), "step {n}");
        }
        Save => {
            let (id, mut goal) = active(store);
            goal.jobs = n;
            store.save_goal(id, &goal).expect("saved");
        }
        End => {
            let (id, goal) = active(store);
            store.end(id, &goal, &outcome(id), n as i64).expect("ended");
        }
        Setting(value) => drop(store.set_setting("gp_fts_probe_interval", value).expect("set")),
        Note(content) => store.note(Content(content), &reason(n), &[], n as i64).expect("noted"),
        Quarantine(content) => store.quarantine(Content(content), &reason(n), &[], n as i64).expect("quarantined"),
    }
}

/// Whether a step leaves the catalog as it was.
pub fn changes_nothing(n: usize) -> bool {
    matches!(LIFE[n], Late(..))
}
