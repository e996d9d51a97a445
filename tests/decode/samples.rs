//! Valid values of every message, with every optional part there once and absent once.

use segsh::cluster::request::{Owner, Reply, Request};
use segsh::cluster::{
    Alive, AuditLine, AuditQuery, ContentProgress, ContentState, CoordinatorState, HostState, Intent, LeftBehind,
    MaintenanceInfo, OperationInfo, Outcome, OutcomeStatus, PairHealth, Plan, Progressing, Recovery, Refusal,
    RefusalCode, Segment, SegmentOutcome, Selection, State, Warning, WarningCode, plan,
};
use segsh::core::backup::{self, BackedUpContent, BackedUpFile, Cause, FromBackup, Image, ToBackup};
use segsh::core::format::{Meta, Stamp, TrackMap};
use segsh::core::frame::{Frame, Manifest, Open};
use segsh::core::ids::{Content, CopyId, Dbid, Epoch};
use segsh::core::operation::{Ended, Goal, GoalKind, Holds, Survey, Target};
use segsh::core::pair::binding::Binding;
use segsh::core::report::{
    CopyState, FromSegment, HeldAt, Lag, MirrorLoss, Order, PeerAddress, Phase, Progress, Report, Soundness, Stage,
    StopMode, ToSegment, Verification, VerifyStage,
};
use segsh::core::row::{Member, Mode, PairRow, Place, Role, SegmentRow, Status};
use segsh::core::track::{DirtyMap, FileId, Run};
use segsh::core::verify::{Chunk, Held};
use segsh::hosts::{Fenced, HostFailure, HostReply, HostRequest, Pong, Running, SegmentConfig};

pub fn copy() -> CopyState {
    CopyState { copy: CopyId(u128::MAX / 3), generation: Epoch(7) }
}

pub fn metas() -> Vec<Meta> {
    let whole = Meta {
        cluster_id: "0f3c".into(),
        dbid: Dbid(4),
        content: Content(2),
        copy: CopyId(9),
        generation: Epoch(3),
        peer: Some(copy()),
        epoch: Epoch(12),
        acted: Epoch(11),
        consistent: true,
        written_outside_checkpoint: false,
        stamps: vec![Stamp {
            name: "main.db".into(),
            inode: 77,
            bytes: 1 << 30,
            changed: (1_700_000_000, 999_999_999),
        }],
        touched: vec!["main.db-wal".into()],
        soundness: Soundness::Damaged { why: "main.db: block 7 fails its checksum".into() },
    };
    let fresh = Meta {
        peer: None,
        stamps: Vec::new(),
        touched: Vec::new(),
        consistent: false,
        soundness: Soundness::Sound,
        ..whole.clone()
    };
    vec![whole, fresh]
}

pub fn maps() -> Vec<TrackMap> {
    let mut dirty = DirtyMap::default();
    let binding = Binding { copy: CopyId(5), generation: Epoch(2), pending_generation: Some(Epoch(4)) };
    let empty = TrackMap { binding, written_in: Epoch(2), dirty: dirty.clone() };
    dirty.mark(Run { file: FileId::Main, first: 3, count: 300 });
    dirty.mark(Run { file: FileId::Wal, first: 0, count: 1 });
    let bound = Binding { pending_generation: None, ..binding };
    vec![empty, TrackMap { binding: bound, written_in: Epoch(3), dirty }]
}

pub fn frames() -> Vec<Frame> {
    let manifest = Manifest {
        copy: copy(),
        lengths: [Some(1 << 31), None],
        contribution: vec![(0, 1, 2), (1, 0, 9)],
        touched: vec!["main.db".into()],
        unusable: None,
    };
    let unusable = Manifest { unusable: Some("no map".into()), contribution: Vec::new(), ..manifest.clone() };
    vec![
        Frame::Open(Open { epoch: Epoch(4), primary: Dbid(2), mirror: Dbid(6), copy: copy() }),
        Frame::Begin,
        Frame::SetLen { file: FileId::Wal, len: 12345 },
        Frame::Data { file: FileId::Main, offset: 4096, bytes: (0..200).collect() },
        Frame::Barrier(9),
        Frame::Consistent { copy: copy() },
        Frame::Ping(u64::MAX),
        Frame::Manifest(manifest),
        Frame::Manifest(unusable),
        Frame::Begun,
        Frame::Synced(9),
        Frame::IsConsistent,
        Frame::Pong(11),
        Frame::Hash(Chunk { file: FileId::Wal, offset: 2 << 20, len: 5000 }),
        Frame::Differs,
        Frame::Hashes {
            file: FileId::Main,
            offset: 3 << 20,
            held: Held { file_len: 9000, hashes: vec![1, u128::MAX] },
        },
        Frame::Failed("no space left on device".into()),
    ]
}

pub fn pair() -> PairRow {
    let member = |dbid, status| Member { dbid: Dbid(dbid), mode: Mode::Synchronized, status };
    PairRow {
        content: Content(0),
        epoch: Epoch(5),
        primary: member(2, Status::Up),
        mirror: Some(member(3, Status::Up)),
    }
}

fn progress() -> Progress {
    Progress {
        stage: Stage::DataCopy,
        total_blocks: 100,
        copied_blocks: 40,
        files_created: 0,
        files_dropped: 1,
        pause_open_us: Some(900),
        pause_claim_us: None,
        elapsed_ms: 77,
        rate_bytes: Some(1 << 20),
    }
}

pub fn to_segment() -> Vec<ToSegment> {
    let peer = PeerAddress { dbid: Dbid(3), address: "127.1.2.12".into(), replication_port: 9002 };
    let order = Order { row: pair(), peer: Some(peer), full_copy: true, rate_bytes: Some(1 << 20) };
    vec![
        ToSegment::Probe { seq: 1, order: None },
        ToSegment::Probe { seq: 2, order: Some(order) },
        ToSegment::Drain { seq: 3 },
        ToSegment::Stop { seq: u64::MAX, mode: StopMode::Fast },
        ToSegment::Verify { seq: 4, op: 118, rate_bytes: Some(1 << 20) },
        ToSegment::EndVerify { seq: 5, op: 118 },
        ToSegment::Judge { seq: 6 },
        ToSegment::Hold { seq: 7, stage: Some(Stage::FlatFiles) },
    ]
}

pub fn from_segment() -> Vec<FromSegment> {
    let report = Report {
        dbid: Dbid(2),
        content: Content(0),
        pid: 4711,
        phase: Phase::Resynchronizing,
        epoch: Epoch(5),
        copy: copy(),
        ready: false,
        link: Some(Epoch(5)),
        mirror_lost: Some(MirrorLoss::Silent { waited_ms: 2001 }),
        sick: Some("its disk".into()),
        map_unusable: None,
        map_bound_to: Some(copy()),
        dirty_blocks: 10,
        data_bytes: 1 << 33,
        free_bytes: 1 << 35,
        progress: Some(progress()),
        lag: Some(Lag { queued_bytes: 4096, oldest_sync_ms: 700 }),
        verification: Some(Verification {
            op: 118,
            stage: VerifyStage::Failed { why: "the link to the mirror ended".into() },
            verified_bytes: 1 << 20,
            total_bytes: 1 << 33,
            differing_blocks: 1,
            differing: "main.db block 7".into(),
        }),
        soundness: Soundness::Unjudged,
        damaged_pages: 1,
        held: Some(HeldAt { stage: Stage::Claimed, reached: true }),
        release: "0.1.0".into(),
        sessions: 0,
    };
    vec![
        FromSegment::Report { seq: None, report: Box::new(report) },
        FromSegment::Drained { seq: 4 },
        FromSegment::Held { seq: 6 },
        FromSegment::Failed { seq: 5, message: "not now".into() },
    ]
}

pub fn rows() -> Vec<SegmentRow> {
    let row = |dbid: i64, content: i64, role: Role, host: &str| SegmentRow {
        dbid: Dbid(dbid),
        content: Content(content),
        role,
        preferred_role: role,
        mode: Mode::Synchronized,
        status: Status::Up,
        port: 6000 + dbid as u16,
        hostname: host.into(),
        address: "127.1.2.11".into(),
        replication_port: (content >= 0).then_some(8000 + dbid as u16),
        datadir: format!("/srv/{host}/c{content}-{dbid}"),
    };
    vec![row(1, -1, Role::Primary, "cdw"), row(2, 0, Role::Primary, "sdw1"), row(3, 0, Role::Mirror, "sdw2")]
}

pub fn owner() -> Owner {
    Owner {
        user: "ann".into(),
        host: "mdw".into(),
        pid: 9,
        terminal: "/dev/pts/1".into(),
        script: "a.rhai:3".into(),
        ..Owner::default()
    }
}

/// A mirror is down.
pub fn state() -> State {
    let mut rows = rows();
    let alive = |alive: bool| Alive { alive, pid: alive.then_some(7), cause: "refused".into(), age_ms: 20 };
    let coordinator_row = rows.remove(0);
    rows[0].mode = Mode::ChangeTracking;
    rows[1].status = Status::Down;
    let segment = |row: SegmentRow| Segment {
        alive: alive(row.status == Status::Up),
        row,
        free_bytes: Some(1 << 40),
        data_bytes: Some(1 << 20),
        damaged_pages: Some(1),
        release: Some("0.1.0".into()),
        down_since_ms: Some(1_700_000_000_000),
    };
    let host = |name: &str| HostState {
        host: name.into(),
        address: "127.1.2.11".into(),
        alive: true,
        pid: Some(3),
        cause: String::new(),
        roots: vec![format!("/srv/{name}")],
    };
    let content = ContentState {
        content: Content(0),
        epoch: Epoch(5),
        health: PairHealth::ChangeTracking,
        to_copy_blocks: Some(4),
        incremental_impossible: None,
        source_damaged: None,
        progress: Some(progress()),
        full_copy: true,
        copy_rate_bytes: Some(50 << 20),
        operation: Some(3),
        single_copy_since_ms: Some(5),
        last_event: "the mirror is gone".into(),
        quarantine: None,
        held: Some(HeldAt { stage: Stage::DataCopy, reached: false }),
    };
    let recovery = Recovery {
        dbid: Dbid(3),
        content: Content(0),
        host: "sdw2".into(),
        stage: 2,
        stage_name: "data copy".into(),
        total_blocks: Some(100),
        copied_blocks: Some(40),
        percent: Some(40),
        rate_bytes: None,
        left_ms: None,
        pause_open_us: Some(900),
        pause_claim_us: None,
        elapsed_ms: 77,
        operation: Some(3),
    };
    let warning = Warning {
        code: WarningCode::DiskLow,
        content: Content(0),
        dbid: Dbid(2),
        host: "sdw1".into(),
        cause: "1.0 MiB free".into(),
        next: "free space".into(),
    };
    State {
        cluster: "c".into(),
        cluster_id: "0f3c".into(),
        drill: true,
        coordinator: CoordinatorState {
            host: "cdw".into(),
            port: 5432,
            socket_dir: "/run/c".into(),
            pid: Some(1),
            restricted: false,
        },
        hosts: vec![host("sdw1"), host("sdw2")],
        coordinator_row,
        segments: rows.into_iter().map(segment).collect(),
        contents: vec![content],
        recoveries: vec![recovery],
        warnings: vec![warning],
        maintenance: vec![maintained()],
        left_behind: vec![LeftBehind {
            dbid: Dbid(3),
            host: "sdw2".into(),
            datadir: "/srv/sdw2/c0-3".into(),
            since_ms: 7,
        }],
        age_ms: 10,
        time_ms: 1_700_000_000_000,
        fts_paused_until_ms: None,
        production: false,
    }
}

pub fn a_plan() -> Plan {
    let selection = Selection { contents: vec![Content(0)], dbids: Vec::new(), hosts: vec!["sdw2".into()] };
    plan(
        &state(),
        &Intent::FullRecover { selection, rate_bytes: Some(1 << 20), jobs: None, in_place: true },
        1_700_000_000_000,
    )
}

fn refusal() -> Refusal {
    Refusal {
        code: RefusalCode::HostDown,
        content: Some(Content(0)),
        dbid: Some(Dbid(3)),
        host: Some("sdw2".into()),
        cause: "it does not answer".into(),
        next: "segsh start c".into(),
    }
}

pub fn outcome() -> Outcome {
    let segment = SegmentOutcome {
        content: Content(0),
        dbid: Dbid(3),
        host: "sdw2".into(),
        status: OutcomeStatus::Done,
        how: "incremental".into(),
        copied_blocks: 4,
        copied_bytes: 16384,
        verified_bytes: 9,
        differing_blocks: 1,
        paused_us: vec![100, 200],
        pair: "p,s,u / m,s,u".into(),
        note: String::new(),
    };
    Outcome {
        verb: "recover".into(),
        status: OutcomeStatus::Partial,
        op: Some(3),
        segments: vec![segment],
        refusals: vec![refusal()],
        elapsed_ms: 12,
        message: "1 of 2".into(),
        next: "recover()".into(),
    }
}

pub fn requests() -> Vec<Request> {
    vec![
        Request::State,
        Request::Probe,
        Request::Begin { plan: Box::new(a_plan()), owner: owner() },
        Request::Watch { op: 3, owner: Some(owner()) },
        Request::Alive { op: 3, owner: owner() },
        Request::Operations { last: 20, op: None },
        Request::Audit { query: AuditQuery { last: 5, ..AuditQuery::default() } },
        Request::Maintenance { host: "sdw2".into(), for_ms: 1, reason: "disk".into(), owner: owner() },
        Request::StopAfterSegment { op: -1 },
        Request::Cancel { op: i64::MAX },
        Request::Setting { name: "gp_fts_probe_interval".into(), value: Some("1s".into()), owner: None },
        Request::Kill { dbid: Dbid(2), owner: Some(owner()) },
        Request::Start { owner: owner() },
        Request::Stop { mode: StopMode::Immediate, owner: owner(), within_ms: Some(120_000) },
        Request::StopCoordinator { owner: owner() },
        Request::Sessions,
        Request::Reload { owner: owner() },
        Request::NotDone { outcome: outcome(), owner: owner() },
        Request::HostsChanged { owner: owner() },
        Request::RemoveHost { host: "sdw2".into(), owner: owner() },
        Request::Hold { content: Content(0), stage: Some(Stage::DataCopy), owner: owner() },
    ]
}

fn maintained() -> MaintenanceInfo {
    MaintenanceInfo { host: "sdw2".into(), since_ms: 1, until_ms: 2, owner: owner(), reason: "disk".into() }
}

fn operation() -> OperationInfo {
    OperationInfo {
        id: 3,
        verb: "recover".into(),
        status: "running".into(),
        contents: vec![Content(0)],
        owner: owner(),
        started_ms: 1,
        elapsed_ms: 2,
        heartbeat_ms: Some(3),
        watchers: 1,
        step: "2/4 data copy".into(),
        percent: Some(4),
        outcome: Some(outcome()),
    }
}

pub fn replies() -> Vec<Reply> {
    let doing = ContentProgress {
        content: Content(0),
        dbid: Dbid(3),
        doing: "data copy".into(),
        finished: false,
        progress: Some(progress()),
    };
    vec![
        Reply::State { state: Box::new(state()) },
        Reply::HostRemoved { state: Box::new(state()), left: "no answer".into() },
        Reply::Begun { op: 3, joined: true, owner: Some(owner()) },
        Reply::Operations { operations: vec![operation()] },
        Reply::Audit { lines: vec![AuditLine::of(3, &owner(), "now".into(), 7, &outcome())] },
        Reply::Refused { refusals: vec![refusal()] },
        Reply::Locked { op: 2, owner: owner(), message: "by ann".into() },
        Reply::Progress { now: Progressing { op: 3, elapsed_ms: 5, contents: vec![doing] } },
        Reply::Ended { outcome: outcome() },
        Reply::Setting { value: "1s".into() },
        Reply::Ok,
        Reply::Failed { message: "no".into(), next: "state()".into() },
    ]
}

pub fn segment_config() -> SegmentConfig {
    SegmentConfig {
        cluster_id: "0f3c".into(),
        cluster: "c".into(),
        dbid: Dbid(2),
        content: Content(0),
        host: "sdw1".into(),
        address: "127.1.2.11".into(),
        port: 6002,
        replication_port: 8002,
        datadir: "/srv/sdw1/c0-2".into(),
        socket_dir: "/run/c".into(),
        key_file: "/srv/key".into(),
        drill: true,
        preferred_role: Some(segsh::core::row::Role::Mirror),
    }
}

pub fn host_requests() -> Vec<HostRequest> {
    let datadir = segment_config().datadir;
    vec![
        HostRequest::Ping,
        HostRequest::StartSegment { config: segment_config() },
        HostRequest::KillSegment { datadir: datadir.clone() },
        HostRequest::FreeBytes { path: datadir.clone() },
        HostRequest::NameCopy { sibling: "/srv/sdw1/c0-2.new".into(), datadir: datadir.clone() },
        HostRequest::ReplaceCopy { sibling: "/srv/sdw1/c0-2.new".into(), datadir: datadir.clone() },
        HostRequest::Stop { kill_segments: true },
        HostRequest::Drill { stopped: true },
        HostRequest::Leave,
        HostRequest::Survey { datadir, dbid: Dbid(2), ports: vec![6002, 8002] },
    ]
}

pub fn host_replies() -> Vec<HostReply> {
    let datadir = segment_config().datadir;
    let failed = |failure| HostReply::Failed { failure };
    vec![
        HostReply::Pong { pong: Pong { pid: 4, running: vec![Running { datadir: datadir.clone(), pid: 5 }] } },
        HostReply::Started { pid: 6 },
        HostReply::Fenced { fenced: Fenced::Killed },
        HostReply::Pid { pid: None },
        HostReply::Bytes { bytes: u64::MAX },
        HostReply::Done,
        HostReply::Surveyed { survey: Survey { free_bytes: 1, holds: Holds::FormerCopy, ports_taken: vec![6002] } },
        failed(HostFailure::CannotKill { datadir: datadir.clone(), pid: 7, why: "it stays".into() }),
        failed(HostFailure::Gone { datadir: datadir.clone() }),
        failed(HostFailure::Io { doing: "make".into(), path: datadir, why: "no space".into() }),
    ]
}

fn place(host: &str) -> Place {
    Place {
        hostname: host.into(),
        address: "127.1.2.3".into(),
        port: 7002,
        replication_port: 9002,
        datadir: format!("/srv/{host}/c1-5"),
    }
}

/// A goal of which much has happened.
pub fn goal() -> Goal {
    let mut target = Target::new(Content(0), Dbid(3));
    target.started.insert(Dbid(3), Err("it did not start".into()));
    target.granted = Some(Epoch(4));
    target.asked_to_stop.push(Dbid(2));
    let mut ended = Target::joined(Content(1), Dbid(5));
    ended.ended = Some(Ended::Failed { cause: "it was cut".into() });
    ended.to = Some(place("sdw3"));
    ended.from = Some(place("sdw2"));
    Goal::new(GoalKind::Recover { full: true, in_place: false, rate_bytes: Some(9) }, vec![target, ended])
}

pub fn image() -> Image {
    Image { copy: CopyId(9), epoch: Epoch(12), main_bytes: 8192, log_frames: 2 }
}

pub fn to_backup() -> Vec<ToBackup> {
    vec![
        ToBackup::Hold,
        ToBackup::Stream { rate_bytes: Some(1 << 20) },
        ToBackup::Take { copy: CopyId(9), epoch: Epoch(5), main_bytes: 8192 },
        ToBackup::File { file: "main.db".into(), bytes: 8192 },
        ToBackup::Chunk,
        ToBackup::Keep,
    ]
}

pub fn from_backup() -> Vec<FromBackup> {
    vec![
        FromBackup::Held { image: image() },
        FromBackup::Released { held_us: 1_900 },
        FromBackup::File { file: "main.db-wal".into(), bytes: 8272 },
        FromBackup::Ended { cause: Cause::GaveWay, message: "the log grew".into() },
    ]
}

pub fn backup_manifests() -> Vec<backup::Manifest> {
    let file = |name: &str, bytes| BackedUpFile { name: name.into(), bytes, sha256: "a5".repeat(32) };
    let content = |n: i64, log_frames, files| BackedUpContent {
        content: Content(n),
        dbid: Dbid(n + 2),
        image: Image { log_frames, ..image() },
        held_us: 900,
        files,
    };
    let whole = backup::Manifest {
        schema: backup::MANIFEST_SCHEMA,
        release: "0.1.0".into(),
        cluster: "demo".into(),
        cluster_id: "0f3c".into(),
        operation: 7,
        made_by: "sam on mdw, pid 4711".into(),
        barrier_ms: 1_700_000_000_000,
        barrier: "2023-11-14 22:13:20.000+00".into(),
        window_us: 2_000,
        tries: 1,
        contents: vec![
            content(0, 0, vec![file("content0/main.db", 8192)]),
            content(1, 2, vec![file("content1/main.db", 8192), file("content1/main.db-wal", 32 + 2 * 4120)]),
        ],
    };
    let one = backup::Manifest { contents: whole.contents[..1].to_vec(), ..whole.clone() };
    vec![whole, one]
}
