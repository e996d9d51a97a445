//! The values behind the screens of the tests: a cluster of four contents on two hosts.

use super::Style;
use super::error::{Call, Changed, ErrorView, Position};
use crate::cluster::{
    Alive, ContentState, CoordinatorState, HostState, Intent, Joined, Outcome, OutcomeStatus, PairHealth, Place, Plan,
    PlanStep, Refusal, RefusalCode, Segment, SegmentOutcome, Selection, State, StepKind, To,
};
use crate::core::ids::{Content, Dbid, Epoch};
use crate::core::report::{Progress, Stage};
use crate::core::row::{Member, Mode, PairRow, Place as NewPlace, Role, SegmentRow, Status};

/// 03:14:17 UTC on some day, in Unix milliseconds.
pub const NOW: i64 = 1_763_694_857_000;

pub fn plain() -> Style {
    Style { evidence: true, ..Style::default() }
}

fn row(dbid: i64, content: i64, role: Role, host: &str, port: u16) -> SegmentRow {
    SegmentRow {
        dbid: Dbid(dbid),
        content: Content(content),
        role,
        preferred_role: role,
        mode: Mode::Synchronized,
        status: Status::Up,
        port,
        hostname: host.into(),
        address: "127.0.0.2".into(),
        replication_port: Some(port + 1000),
        datadir: format!("/srv/seg/c{content}-{dbid}"),
    }
}

fn segment(row: SegmentRow) -> Segment {
    Segment {
        alive: Alive { alive: true, pid: Some(4000 + row.dbid.0 as u32), cause: String::new(), age_ms: 300 },
        row,
        free_bytes: Some(50 << 30),
        data_bytes: Some(512 << 20),
        damaged_pages: Some(0),
        release: Some("0.1.0".into()),
        down_since_ms: None,
    }
}

/// Everything as it should be.
pub fn healthy() -> State {
    let mut segments = Vec::new();
    for content in 0..4i64 {
        let (a, b) = if content < 2 { ("sdw1", "sdw2") } else { ("sdw2", "sdw1") };
        let port = 6000 + content as u16 + 2;
        segments.push(segment(row(content + 2, content, Role::Primary, a, port)));
        segments.push(segment(row(content + 6, content, Role::Mirror, b, port + 1000)));
    }
    segments.sort_by_key(|s| s.row.dbid);
    let host = |name: &str, address: &str| HostState {
        host: name.into(),
        address: address.into(),
        alive: true,
        pid: Some(3000),
        cause: String::new(),
        roots: vec!["/srv/seg".into()],
    };
    State {
        cluster: "demo".into(),
        cluster_id: "c1".into(),
        drill: true,
        coordinator: CoordinatorState {
            host: "mdw".into(),
            port: 5432,
            socket_dir: "/tmp/demo".into(),
            pid: Some(2999),
            restricted: false,
        },
        hosts: vec![host("sdw1", "127.0.0.2"), host("sdw2", "127.0.0.3")],
        coordinator_row: row(1, -1, Role::Primary, "mdw", 5432),
        segments,
        contents: (0..4).map(synchronized).collect(),
        age_ms: 300,
        time_ms: NOW,
        recoveries: Vec::new(),
        warnings: Vec::new(),
        maintenance: Vec::new(),
        left_behind: Vec::new(),
        fts_paused_until_ms: None,
        production: false,
    }
}

fn synchronized(content: i64) -> ContentState {
    ContentState {
        content: Content(content),
        epoch: Epoch(1),
        health: PairHealth::Synchronized,
        to_copy_blocks: Some(0),
        incremental_impossible: None,
        source_damaged: None,
        progress: None,
        full_copy: false,
        copy_rate_bytes: None,
        operation: None,
        single_copy_since_ms: None,
        held: None,
        last_event: String::new(),
        quarantine: None,
    }
}

pub fn at(state: &mut State, dbid: i64) -> &mut Segment {
    state.segments.iter_mut().find(|s| s.row.dbid == Dbid(dbid)).expect("the sample has this dbid")
}

/// The reference screen: content 2 failed over, content 3 is being resynchronized.
pub fn broken() -> State {
    let mut state = healthy();
    let old = at(&mut state, 4);
    old.row.role = Role::Mirror;
    old.row.status = Status::Down;
    old.alive = Alive { alive: false, pid: None, cause: "process gone, host answers".into(), age_ms: 300 };
    old.down_since_ms = Some(NOW - 130_000);
    let new = at(&mut state, 8);
    new.row.role = Role::Primary;
    new.row.mode = Mode::ChangeTracking;
    at(&mut state, 5).row.mode = Mode::Resynchronizing;
    at(&mut state, 9).row.mode = Mode::Resynchronizing;
    state.contents[2] = ContentState {
        health: PairHealth::ChangeTracking,
        to_copy_blocks: Some(307),
        single_copy_since_ms: Some(NOW - 130_000),
        last_event: "dbid 4 on sdw2, process gone, host answers; dbid 8 took over in 0.21 s".into(),
        epoch: Epoch(2),
        ..synchronized(2)
    };
    state.contents[3] = ContentState {
        health: PairHealth::Resynchronizing,
        to_copy_blocks: Some(88 * 256),
        progress: Some(Progress {
            stage: Stage::DataCopy,
            total_blocks: 36_336,
            copied_blocks: 13_808,
            files_created: 0,
            files_dropped: 0,
            pause_open_us: Some(1_400),
            pause_claim_us: None,
            elapsed_ms: 24_500,
            rate_bytes: None,
        }),
        ..synchronized(3)
    };
    state
}

/// Content 2 has lost both its members.
pub fn double_fault() -> State {
    let mut state = broken();
    at(&mut state, 5).row.mode = Mode::Synchronized;
    at(&mut state, 9).row.mode = Mode::Synchronized;
    state.contents[3] = synchronized(3);
    let primary = at(&mut state, 8);
    primary.alive.alive = false;
    primary.alive.pid = None;
    primary.alive.cause = "process gone".into();
    primary.down_since_ms = Some(NOW - 40_000);
    state.contents[2].health = PairHealth::DoubleFault;
    state.contents[2].to_copy_blocks = None;
    state.contents[2].last_event = "dbid 8 on sdw1, process gone, while dbid 4 on sdw2 was down".into();
    state
}

/// What is left to show when the coordinator does not answer.
pub fn coordinator_down() -> State {
    let mut state = healthy();
    state.coordinator.pid = None;
    state.age_ms = 192_000;
    for segment in &mut state.segments {
        segment.alive.alive = false;
        segment.alive.pid = None;
        segment.alive.cause = "the coordinator is down: not probed".into();
    }
    for host in &mut state.hosts {
        host.alive = false;
        host.pid = None;
    }
    state
}

pub fn recover_plan() -> Plan {
    let member = |dbid| Member { dbid: Dbid(dbid), mode: Mode::Synchronized, status: Status::Up };
    Plan {
        id: "9f3c".into(),
        state_id: "a81e".into(),
        cluster_id: "c1".into(),
        made_ms: NOW + 3_000,
        intent: Intent::Recover { selection: Selection::default(), rate_bytes: None, jobs: None },
        steps: vec![PlanStep {
            content: Content(2),
            kind: StepKind::Incremental,
            dbid: Dbid(4),
            source: Dbid(8),
            to: None,
            copy_blocks: Some(307),
            total_bytes: Some(512 << 20),
            about_ms: Some(600),
            about_basis: None,
            about_rate_bytes: None,
            cancels_sessions: false,
        }],
        joined: vec![Joined { content: Content(3), dbid: Dbid(9), percent: Some(38) }],
        refusals: vec![],
        refuses: false,
        epochs: vec![(Content(2), Epoch(2))],
        after: vec![PairRow { content: Content(2), epoch: Epoch(3), primary: member(8), mirror: Some(member(4)) }],
        notes: vec![],
        places: vec![place(4, "sdw2", 6004), place(8, "sdw1", 7004)],
    }
}

fn place(dbid: i64, host: &str, port: u16) -> Place {
    let preferred_role = Some(if dbid < 6 { Role::Primary } else { Role::Mirror });
    Place { dbid: Dbid(dbid), host: host.into(), port, datadir: format!("/srv/seg/{dbid}"), preferred_role }
}

/// The reference screen: a host is gone, and what can be is rebuilt on another one.
pub fn move_plan() -> Plan {
    let mut plan = full_plan();
    let selection = Selection { hosts: vec!["sdw2".into()], ..Selection::default() };
    plan.intent = Intent::Move { selection, to: To::host("sdw3"), rate_bytes: None, jobs: None };
    for (step, (port, datadir)) in plan.steps.iter_mut().zip([(7002, "c0-6"), (6004, "c2-4")]) {
        step.kind = StepKind::Move;
        step.to = Some(NewPlace {
            hostname: "sdw3".into(),
            address: "127.0.0.4".into(),
            port,
            replication_port: port + 2000,
            datadir: format!("/srv/seg/{datadir}"),
        });
    }
    plan
}

/// Two full copies, and two segments that can't have one.
pub fn full_plan() -> Plan {
    let mut plan = recover_plan();
    plan.intent =
        Intent::FullRecover { selection: Selection::default(), rate_bytes: None, jobs: None, in_place: false };
    plan.joined.clear();
    plan.steps[0].kind = StepKind::Full;
    plan.steps.insert(0, PlanStep { content: Content(0), dbid: Dbid(6), source: Dbid(2), ..plan.steps[0].clone() });
    plan.places.push(place(6, "sdw2", 7002));
    plan.places.push(place(2, "sdw1", 6002));
    plan.after.insert(
        0,
        PairRow {
            content: Content(0),
            primary: Member { dbid: Dbid(2), ..plan.after[0].primary },
            mirror: plan.after[0].mirror.map(|m| Member { dbid: Dbid(6), ..m }),
            ..plan.after[0]
        },
    );
    let refusal = |code, content, cause: &str, next: &str| Refusal {
        code,
        content: Some(Content(content)),
        dbid: None,
        host: None,
        cause: cause.into(),
        next: next.into(),
    };
    plan.refusals = vec![
        refusal(RefusalCode::SourceDamaged, 1, "dbid 3 main.db: block 881 unreadable", ""),
        refusal(RefusalCode::DoubleFault, 3, "dbid 5 and dbid 9 do not answer", "procedure(\"recover_double_fault\")"),
    ];
    plan
}

pub fn rebalance_plan() -> Plan {
    let mut plan = recover_plan();
    plan.intent = Intent::Rebalance { selection: Selection::default() };
    plan.joined.clear();
    plan.steps[0].kind = StepKind::Switch;
    plan.steps[0].copy_blocks = None;
    plan.steps[0].cancels_sessions = true;
    plan
}

pub fn done_outcome() -> Outcome {
    Outcome {
        verb: "recover".into(),
        status: OutcomeStatus::Done,
        op: Some(118),
        segments: vec![SegmentOutcome {
            content: Content(2),
            dbid: Dbid(4),
            host: "sdw2".into(),
            status: OutcomeStatus::Done,
            how: "incremental".into(),
            copied_blocks: 307,
            copied_bytes: 307 * 4096,
            verified_bytes: 0,
            differing_blocks: 0,
            paused_us: vec![1_400, 900],
            pair: "synchronized".into(),
            note: String::new(),
        }],
        refusals: vec![],
        elapsed_ms: 1_900,
        message: "content 2 is not in its preferred roles.".into(),
        next: "rebalance()".into(),
    }
}

pub fn script_error() -> ErrorView {
    let at = |line, column| Position { file: "site/nightly.rhai".into(), line, column };
    let changed = |ago: i64, op, verb: &str| Changed {
        time_ms: NOW - ago,
        op,
        verb: verb.into(),
        what: "content 0".into(),
        status: "done".into(),
    };
    ErrorView {
        code: "unknown_option".into(),
        message: "recover() has no option `contens`; is it `contents`?".into(),
        exit: 1,
        position: Some(at(14, 13)),
        source_line: Some("    recover(opts);".into()),
        notes: vec!["options: contents dbids hosts to wait timeout stall rate jobs raise".into()],
        calls: vec![Call { function: "heal".into(), at: Some(at(31, 5)) }],
        more: "help(\"recover\")".into(),
        changed_before: vec![changed(97_000, 116, "recover"), changed(93_000, 117, "rebalance")],
        ..ErrorView::default()
    }
}
