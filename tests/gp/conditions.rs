//! A cluster of four contents on two hosts, in the conditions that an administrator meets.

use segsh::cluster::{Alive, ContentState, CoordinatorState, HostState, PairHealth, Segment, State};
use segsh::core::ids::{Content, Dbid, Epoch};
use segsh::core::report::{Progress, Stage};
use segsh::core::row::{Mode, Role, SegmentRow, Status};

/// 09:14:40 UTC on the 14th of January 2025.
const NOW_MS: i64 = 1_736_846_080_000;

/// Every condition, by the name of its snapshots.
pub fn all() -> Vec<(&'static str, State)> {
    vec![
        ("healthy", healthy()),
        ("host_down", host_down()),
        ("mirror_down", mirror_down()),
        ("switched_tracking", switched_tracking()),
        ("switched_synchronized", switched_synchronized()),
        ("resynchronizing", resynchronizing()),
        ("double_fault", double_fault()),
        ("no_mirrors", no_mirrors()),
        ("no_mirrors_one_lost", no_mirrors_one_lost()),
    ]
}

fn row(dbid: i64, content: i64, role: Role, host: usize) -> SegmentRow {
    let (kind, base) = match role {
        Role::Primary => ("primary", 6000),
        Role::Mirror => ("mirror", 7000),
    };
    let port = (base + 2 + content) as u16;
    SegmentRow {
        dbid: Dbid(dbid),
        content: Content(content),
        role,
        preferred_role: role,
        mode: Mode::Synchronized,
        status: Status::Up,
        port,
        hostname: format!("sdw{host}"),
        address: format!("127.7.3.1{host}"),
        replication_port: Some(port + 2000),
        datadir: format!("/srv/{kind}/c{content}-{dbid}"),
    }
}

fn segment(row: SegmentRow) -> Segment {
    Segment {
        alive: Alive { alive: true, pid: Some(7000 + row.dbid.0 as u32), cause: String::new(), age_ms: 300 },
        row,
        free_bytes: Some(100 << 30),
        data_bytes: Some(512 << 20),
        damaged_pages: Some(0),
        release: Some("1.0.0".into()),
        down_since_ms: None,
    }
}

fn content(number: i64, health: PairHealth) -> ContentState {
    ContentState {
        content: Content(number),
        epoch: Epoch(1),
        health,
        to_copy_blocks: Some(0),
        incremental_impossible: None,
        source_damaged: None,
        progress: None,
        full_copy: false,
        copy_rate_bytes: None,
        operation: None,
        single_copy_since_ms: None,
        last_event: String::new(),
        quarantine: None,
        held: None,
    }
}

pub fn healthy() -> State {
    let host = |n: usize| HostState {
        host: format!("sdw{n}"),
        address: format!("127.7.3.1{n}"),
        alive: true,
        pid: Some(800),
        cause: String::new(),
        roots: vec![format!("/srv/demo/sdw{n}")],
    };
    let primaries = (0..4).map(|n| row(2 + n, n, Role::Primary, 1 + n as usize / 2));
    let mirrors = (0..4).map(|n| row(6 + n, n, Role::Mirror, 2 - n as usize / 2));
    State {
        cluster: "demo".into(),
        cluster_id: "c1".into(),
        drill: true,
        coordinator: CoordinatorState {
            host: "cdw".into(),
            port: 5432,
            socket_dir: "/tmp/demo".into(),
            pid: Some(4410),
            restricted: false,
        },
        hosts: vec![host(1), host(2)],
        coordinator_row: SegmentRow {
            hostname: "cdw".into(),
            address: "127.7.3.1".into(),
            port: 5432,
            replication_port: None,
            datadir: "/srv/demo/coordinator".into(),
            ..row(1, -1, Role::Primary, 0)
        },
        segments: primaries.chain(mirrors).map(segment).collect(),
        contents: (0..4).map(|n| content(n, PairHealth::Synchronized)).collect(),
        recoveries: Vec::new(),
        warnings: Vec::new(),
        maintenance: Vec::new(),
        left_behind: Vec::new(),
        age_ms: 300,
        time_ms: NOW_MS,
        fts_paused_until_ms: None,
        production: false,
    }
}

fn member(state: &mut State, content: i64, role: Role) -> &mut Segment {
    let found = state.segments.iter_mut().find(|s| s.row.content.0 == content && s.row.role == role);
    found.expect("a content has both members")
}

fn detail(state: &mut State, content: i64) -> &mut ContentState {
    state.contents.iter_mut().find(|c| c.content.0 == content).expect("the content is there")
}

fn dies(segment: &mut Segment) {
    segment.alive = Alive { alive: false, pid: None, cause: "process gone".into(), age_ms: 300 };
    segment.release = None;
    segment.free_bytes = None;
}

/// p,c,u / m,s,d.
fn lose_mirror(state: &mut State, content: i64, blocks: i64) {
    let mirror = member(state, content, Role::Mirror);
    mirror.row.status = Status::Down;
    dies(mirror);
    member(state, content, Role::Primary).row.mode = Mode::ChangeTracking;
    let detail = detail(state, content);
    detail.health = PairHealth::ChangeTracking;
    detail.to_copy_blocks = Some(blocks);
}

fn switch(state: &mut State, content: i64) {
    for segment in state.segments.iter_mut().filter(|s| s.row.content.0 == content) {
        segment.row.role = match segment.row.role {
            Role::Primary => Role::Mirror,
            Role::Mirror => Role::Primary,
        };
    }
}

/// Host sdw1 does not answer; what it held is taken over, or down.
pub fn host_down() -> State {
    let mut state = healthy();
    let host = &mut state.hosts[0];
    (host.alive, host.pid, host.cause) = (false, None, "connection refused".into());
    for content in 0..2 {
        switch(&mut state, content);
        lose_mirror(&mut state, content, 32_768);
    }
    for content in 2..4 {
        lose_mirror(&mut state, content, 333);
    }
    state
}

pub fn mirror_down() -> State {
    let mut state = healthy();
    lose_mirror(&mut state, 1, 333);
    state
}

/// The primary of content 1 was lost and its mirror took over.
pub fn switched_tracking() -> State {
    let mut state = healthy();
    switch(&mut state, 1);
    lose_mirror(&mut state, 1, 32_768);
    state
}

pub fn switched_synchronized() -> State {
    let mut state = healthy();
    switch(&mut state, 1);
    state
}

/// Content 1 is copied incrementally, content 2 is about to begin, content 3 is a new copy and about to end.
pub fn resynchronizing() -> State {
    let mut state = healthy();
    let stages =
        [(1, Stage::DataCopy, 65_536, 24_576), (2, Stage::Preparation, 0, 0), (3, Stage::Claimed, 9_000, 9_000)];
    for (content, stage, total_blocks, copied_blocks) in stages {
        for role in [Role::Primary, Role::Mirror] {
            member(&mut state, content, role).row.mode = Mode::Resynchronizing;
        }
        let detail = detail(&mut state, content);
        detail.health = PairHealth::Resynchronizing;
        detail.full_copy = content == 3;
        detail.to_copy_blocks = Some((total_blocks - copied_blocks) as i64);
        detail.progress = Some(Progress {
            stage,
            total_blocks,
            copied_blocks,
            files_created: 0,
            files_dropped: 0,
            pause_open_us: Some(1400),
            pause_claim_us: None,
            elapsed_ms: 36_000,
            rate_bytes: Some(2_796_202),
        });
    }
    state
}

/// Content 1 has lost its mirror, then its acting primary.
pub fn double_fault() -> State {
    let mut state = healthy();
    lose_mirror(&mut state, 1, 333);
    dies(member(&mut state, 1, Role::Primary));
    let detail = detail(&mut state, 1);
    detail.health = PairHealth::DoubleFault;
    detail.to_copy_blocks = None;
    state
}

/// A cluster that was made without mirrors, all well.
pub fn no_mirrors() -> State {
    let mut state = healthy();
    state.segments.retain(|s| s.row.role == Role::Primary);
    state.contents = (0..4).map(|n| content(n, PairHealth::NoMirror)).collect();
    state
}

/// The same, and the only segment of content 1 has died: the catalog never marks an acting primary down.
pub fn no_mirrors_one_lost() -> State {
    let mut state = no_mirrors();
    dies(member(&mut state, 1, Role::Primary));
    let detail = detail(&mut state, 1);
    detail.health = PairHealth::Lost;
    detail.to_copy_blocks = None;
    state
}
