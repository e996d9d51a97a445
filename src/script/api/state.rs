//! `State` and what it is made of: contents, segments, hosts, the coordinator, the catalog's rows.

use super::binding::api;
use super::segments::Segments;
use crate::cluster::{ContentState, CoordinatorState, HostState, Recovery, Segment, State, Warning};
use crate::core::ids::{Content, Dbid};
use crate::core::row::{Role, SegmentRow};
use crate::script::catalog::{Entry, entry};
use crate::script::context::Context;
use crate::script::json;
use crate::script::near::is_it;
use crate::script::record::{Field, Record, fields, optional, register as register_record};
use crate::script::thrown::{Thrower, Thrown};
use rhai::{Array, Dynamic, ImmutableString, Module};
use serde_json::Value;
use std::rc::Rc;

/// What is bound here.
pub(super) const ENTRIES: &[Entry] = &[
    entry!("state", &[&[]], "State", "What the coordinator knows now.", "state().down"),
    entry!("probe", &[&[]], "State", "FTS looks now; returns the state it saw.", "probe()"),
    entry!(
        "recoveries",
        &[&[]],
        "[Recovery]",
        "Every recovery under way, with its stage, its rate and what is left; those that wait included.",
        "recoveries()"
    ),
    entry!(
        "content", &[&["state: State", "content: int"]], "Content", "A content by its number.",
        "state().content(2).primary", method_of: "State"
    ),
    entry!(
        "segment", &[&["state: State", "dbid: int"]], "Segment", "A segment by its dbid.",
        "state().segment(5).status == \"down\"", method_of: "State"
    ),
    entry!(
        "host", &[&["state: State", "name: string"]], "Host", "A host by its name.",
        "state().host(\"sdw1\").alive", method_of: "State"
    ),
];

pub(super) fn bind_all(module: &mut Module, context: &Rc<Context>) {
    api!(module, context, "state", 0, |c| { Ok(Dynamic::from(StateRecord(Rc::new(c.state()?)))) });
    api!(module, context, "probe", 0, |c| { Ok(Dynamic::from(StateRecord(Rc::new(c.probe()?)))) });
    api!(module, context, "recoveries", 0, |c| { Ok(recoveries(&c.state()?).into()) });
    api!(module, context, "state.content", 0, |_c, s: &mut StateRecord, n: i64| { content(s, n) });
    api!(module, context, "state.segment", 0, |_c, s: &mut StateRecord, n: i64| { segment(s, n) });
    api!(module, context, "state.host", 0, |_c, s: &mut StateRecord, n: ImmutableString| { host(s, &n) });
}

/// A whole cluster at one moment.
#[derive(Clone, PartialEq)]
pub struct StateRecord(pub Rc<State>);

/// One segment: its row, and the truth about its process.
#[derive(Clone, PartialEq)]
pub struct SegmentRecord(pub Rc<Segment>);

/// One content, which finds its segments in the state it came from.
#[derive(Clone, PartialEq)]
pub struct ContentRecord {
    pub state: Rc<State>,
    pub content: Content,
}

/// A host, by its agent.
#[derive(Clone, PartialEq)]
pub struct HostRecord(pub Rc<HostState>);

/// The coordinator.
#[derive(Clone, PartialEq)]
pub struct CoordinatorRecord(pub CoordinatorState);

/// One row of the catalog.
#[derive(Clone, PartialEq)]
pub struct RowRecord(pub Rc<SegmentRow>);

/// One recovery under way.
#[derive(Clone, PartialEq)]
pub struct RecoveryRecord(pub Rc<Recovery>);

/// One thing to look at.
#[derive(Clone, PartialEq)]
pub struct WarningRecord(pub Rc<Warning>);

fn segments<'a>(found: impl IntoIterator<Item = &'a Segment>) -> Segments {
    Segments(Rc::new(found.into_iter().cloned().collect()))
}

fn contents(found: &[Content]) -> Array {
    found.iter().map(|c| c.0.into()).collect()
}

fn text(s: &str) -> ImmutableString {
    s.into()
}

impl Record for StateRecord {
    const NAME: &'static str = "State";
    fn fields() -> Vec<Field<Self>> {
        fields! {
            cluster: "string", "the cluster's name" => |s| text(&s.0.cluster);
            cluster_id: "string", "its identity" => |s| text(&s.0.cluster_id);
            operational: "bool", "false when any content has no usable member" => |s| s.0.operational();
            drill: "bool", "faults may be injected" => |s| s.0.drill;
            down: "Segments", "segments the catalog has down or that are not alive" => |s| segments(s.0.down());
            single_copy: "[int]", "contents in change tracking or resynchronizing" => |s| contents(&s.0.single_copy());
            double_fault: "[int]", "contents of which neither member can serve" => |s| contents(&s.0.double_fault());
            lost: "[int]", "contents without a mirror whose only segment does not serve" => |s| contents(&s.0.lost());
            unbalanced: "Segments", "segments that are not in their preferred role" => |s| segments(s.0.unbalanced());
            segments: "Segments", "every segment but the coordinator" => |s| segments(&s.0.segments);
            contents: "[Content]", "every content" => |s| all_contents(&s.0);
            hosts: "[Host]", "every host" => |s| s.0.hosts.iter().map(|h| Dynamic::from(HostRecord(Rc::new(h.clone())))).collect::<Array>();
            coordinator: "Coordinator", "the coordinator" => |s| CoordinatorRecord(s.0.coordinator.clone());
            rows: "[Row]", "exactly the catalog" => |s| s.0.rows().map(|r| Dynamic::from(RowRecord(Rc::new(r.clone())))).collect::<Array>();
            recoveries: "[Recovery]", "every recovery under way, those that wait included" => |s| recoveries(&s.0);
            warnings: "[Warning]", "what should be looked at before it becomes a fault" => |s| warnings(&s.0);
            maintenance: "[Maintenance]", "hosts to which nothing is recovered for a while" => |s| super::maintenance::all(&s.0);
            left_behind: "[map]", "what moves have left at former places: dbid, host, datadir, since_ms" => |s| json::to_dynamic(&json::state_json(&s.0)["left_behind"]);
            age_ms: "int", "age of the last probe" => |s| s.0.age_ms;
            time_ms: "int", "when this was made, Unix milliseconds" => |s| s.0.time_ms;
            fts_paused_until_ms: "int?", "until when FTS is paused, or ()" => |s| optional(s.0.fts_paused_until_ms);
            production: "bool", "marked as one that people depend on, by the setting segsh_production" => |s| s.0.production;
        }
    }
    fn text(&self, context: &Context) -> String {
        context.renderer.state(&self.0)
    }
    fn json(&self) -> Value {
        json::state_json(&self.0)
    }
}

/// Every recovery under way.
pub(super) fn recoveries(state: &State) -> Array {
    state.recoveries.iter().map(|r| Dynamic::from(RecoveryRecord(Rc::new(r.clone())))).collect()
}

fn warnings(state: &State) -> Array {
    state.warnings.iter().map(|w| Dynamic::from(WarningRecord(Rc::new(w.clone())))).collect()
}

fn all_contents(state: &Rc<State>) -> Array {
    let record = |c: &ContentState| Dynamic::from(ContentRecord { state: Rc::clone(state), content: c.content });
    state.contents.iter().map(record).collect()
}

impl Record for SegmentRecord {
    const NAME: &'static str = "Segment";
    fn fields() -> Vec<Field<Self>> {
        fields! {
            dbid: "int", "its number in the cluster" => |s| s.0.row.dbid.0;
            content: "int", "its content" => |s| s.0.row.content.0;
            role: "Role", "what it does now: p or m" => |s| s.0.row.role;
            role_name: "string", "the word of it" => |s| text(s.0.row.role.word());
            preferred_role: "Role", "what it is meant to do: p or m" => |s| s.0.row.preferred_role;
            preferred_role_name: "string", "the word of it" => |s| text(s.0.row.preferred_role.word());
            mode: "Mode", "s, r or c" => |s| s.0.row.mode;
            mode_name: "string", "the word of it" => |s| text(s.0.row.mode.word());
            status: "Status", "what the catalog says: u or d" => |s| s.0.row.status;
            status_name: "string", "the word of it" => |s| text(s.0.row.status.word());
            host: "string", "its host" => |s| text(&s.0.row.hostname);
            address: "string", "the address it listens on" => |s| text(&s.0.row.address);
            port: "int", "its port for clients" => |s| i64::from(s.0.row.port);
            replication_port: "int?", "its port for its peer" => |s| optional(s.0.row.replication_port.map(i64::from));
            datadir: "string", "its directory" => |s| text(&s.0.row.datadir);
            alive: "bool", "whether the last probe found it" => |s| s.0.alive.alive;
            pid: "int?", "its process, or ()" => |s| optional(s.0.alive.pid.map(i64::from));
            cause: "string", "why it is not alive" => |s| text(&s.0.alive.cause);
            age_ms: "int", "age of that knowledge" => |s| s.0.alive.age_ms;
            down: "bool", "catalog down, or not alive" => |s| s.0.is_down();
            preferred: "bool", "whether it is in its preferred role" => |s| s.0.is_preferred();
            free_bytes: "int?", "free where its directory is, or ()" => |s| optional(s.0.free_bytes);
            data_bytes: "int?", "bytes of its replicated files, or ()" => |s| optional(s.0.data_bytes);
            damaged_pages: "int?", "pages that failed their checksum when read since it started, or ()" => |s| optional(s.0.damaged_pages);
            release: "string?", "the release that its process runs, or ()" => |s| optional(s.0.release.as_deref().map(text));
            down_since_ms: "int?", "since when it is down, or ()" => |s| optional(s.0.down_since_ms);
        }
    }
    fn text(&self, context: &Context) -> String {
        context.renderer.segments(std::slice::from_ref(&self.0))
    }
    fn json(&self) -> Value {
        json::segment_json(&self.0)
    }
}

impl ContentRecord {
    fn detail(&self) -> Option<&ContentState> {
        self.state.content(self.content)
    }

    fn member(&self, role: Role) -> Dynamic {
        optional(self.state.acting(self.content, role).map(|s| SegmentRecord(Rc::new(s.clone()))))
    }

    fn read<T: Clone + 'static>(&self, read: impl Fn(&ContentState) -> Option<T>) -> Dynamic {
        optional(self.detail().and_then(read))
    }
}

impl Record for ContentRecord {
    const NAME: &'static str = "Content";
    fn fields() -> Vec<Field<Self>> {
        fields! {
            content: "int", "its number" => |c| c.content.0;
            primary: "Segment?", "the acting primary" => |c| c.member(Role::Primary);
            mirror: "Segment?", "the acting mirror, or ()" => |c| c.member(Role::Mirror);
            epoch: "int?", "its fencing number" => |c| c.read(|d| i64::try_from(d.epoch.0).ok());
            health: "string?", "how the pair is doing, in words" => |c| c.read(|d| Some(text(d.health.word())));
            synchronized: "bool", "two equal copies serve" => |c| c.detail().is_some_and(|d| d.health == crate::cluster::PairHealth::Synchronized);
            to_copy_blocks: "int?", "blocks of 4 KiB the mirror lacks, or ()" => |c| c.read(|d| d.to_copy_blocks);
            copied_blocks: "int?", "blocks a running copy has copied, or ()" => |c| c.read(|d| d.progress.as_ref().and_then(|p| i64::try_from(p.copied_blocks).ok()));
            full_copy: "bool", "whether everything is copied, because the mirror is a new copy" => |c| c.detail().is_some_and(|d| d.full_copy);
            copy_rate_bytes: "int?", "bytes per second of its last recovery, or ()" => |c| c.read(|d| d.copy_rate_bytes);
            incremental_impossible: "string?", "why only a full copy helps, or ()" => |c| c.read(|d| d.incremental_impossible.as_deref().map(text));
            source_damaged: "string?", "why it must not be copied from, or ()" => |c| c.read(|d| d.source_damaged.as_deref().map(text));
            operation: "int?", "the operation that works on it, or ()" => |c| c.read(|d| d.operation);
            single_copy_since_ms: "int?", "since when there is one copy, or ()" => |c| c.read(|d| d.single_copy_since_ms);
            last_event: "string?", "what happened last, and how it was seen" => |c| c.read(|d| Some(text(&d.last_event)));
            quarantine: "string?", "why nothing is decided for it, or ()" => |c| c.read(|d| d.quarantine.as_deref().map(text));
            stage: "string?", "the stage of the recovery under way, or ()" => |c| c.read(|d| d.progress.as_ref().map(|p| text(p.stage.word())));
            held: "string?", "the stage at which a drill holds the recovery that has come there, or ()" => |c| c.read(|d| d.held.filter(|h| h.reached).map(|h| text(h.stage.word())));
        }
    }
    fn text(&self, _context: &Context) -> String {
        let health = self.detail().map_or("unknown", |d| d.health.word());
        let member = |role| {
            self.state
                .acting(self.content, role)
                .map_or("-".to_string(), |s| format!("{} {}:{}", s.row.dbid, s.row.hostname, s.row.port))
        };
        format!(
            "content {}  primary {}  mirror {}  {health}",
            self.content,
            member(Role::Primary),
            member(Role::Mirror)
        )
    }
    fn json(&self) -> Value {
        self.detail().map_or(Value::Null, |d| json::content_json(&self.state, d))
    }
}

impl Record for HostRecord {
    const NAME: &'static str = "Host";
    fn fields() -> Vec<Field<Self>> {
        fields! {
            host: "string", "its name" => |h| text(&h.0.host);
            address: "string", "its address" => |h| text(&h.0.address);
            alive: "bool", "whether its agent answers" => |h| h.0.alive;
            pid: "int?", "its agent's process, or ()" => |h| optional(h.0.pid.map(i64::from));
            cause: "string", "why it does not answer" => |h| text(&h.0.cause);
            roots: "[string]", "the directories in which its segments are, the usual one first" => |h| h.0.roots.iter().map(|r| Dynamic::from(text(r))).collect::<Array>();
        }
    }
    fn text(&self, _context: &Context) -> String {
        let h = &self.0;
        let answers = if h.alive { "answers".into() } else { format!("does not answer: {}", h.cause) };
        format!("host {} {}  {answers}", h.host, h.address)
    }
    fn json(&self) -> Value {
        json::host_json(&self.0)
    }
}

impl Record for CoordinatorRecord {
    const NAME: &'static str = "Coordinator";
    fn fields() -> Vec<Field<Self>> {
        fields! {
            host: "string", "its host" => |c| text(&c.0.host);
            port: "int", "its port for clients" => |c| i64::from(c.0.port);
            socket_dir: "string", "where its socket is" => |c| text(&c.0.socket_dir);
            pid: "int?", "its process, or () when it is down" => |c| optional(c.0.pid.map(i64::from));
            restricted: "bool", "whether it turns clients over TCP away, as gpstart -R asks for" => |c| c.0.restricted;
        }
    }
    fn text(&self, _context: &Context) -> String {
        let c = &self.0;
        let pid = c.pid.map_or("down".to_string(), |p| format!("pid {p}"));
        let restricted = if c.restricted { "  restricted" } else { "" };
        format!("coordinator {}:{}  {}  {pid}{restricted}", c.host, c.port, c.socket_dir)
    }
    fn json(&self) -> Value {
        serde_json::json!({
            "host": self.0.host, "port": self.0.port, "socket_dir": self.0.socket_dir,
            "pid": self.0.pid, "restricted": self.0.restricted,
        })
    }
}

impl Record for RowRecord {
    const NAME: &'static str = "Row";
    fn fields() -> Vec<Field<Self>> {
        fields! {
            dbid: "int", "number in the cluster" => |r| r.0.dbid.0;
            content: "int", "content, -1 for the coordinator" => |r| r.0.content.0;
            role: "Role", "p or m" => |r| r.0.role;
            preferred_role: "Role", "p or m" => |r| r.0.preferred_role;
            mode: "Mode", "s, r or c" => |r| r.0.mode;
            status: "Status", "u or d" => |r| r.0.status;
            port: "int", "port for clients" => |r| i64::from(r.0.port);
            host: "string", "host" => |r| text(&r.0.hostname);
            address: "string", "address" => |r| text(&r.0.address);
            replication_port: "int?", "port for the peer, or ()" => |r| optional(r.0.replication_port.map(i64::from));
            datadir: "string", "directory" => |r| text(&r.0.datadir);
        }
    }
    fn text(&self, _context: &Context) -> String {
        let r = &self.0;
        format!(
            "{} | {} | {} | {} | {} | {} | {} | {} | {} | {}",
            r.dbid,
            r.content,
            r.role.letter(),
            r.preferred_role.letter(),
            r.mode.letter(),
            r.status.letter(),
            r.port,
            r.hostname,
            r.address,
            r.datadir
        )
    }
    fn json(&self) -> Value {
        json::row_json(&self.0)
    }
}

/// `state.content(n)`.
pub(super) fn content(state: &StateRecord, number: i64) -> Thrower {
    let content = Content(number);
    if state.0.content(content).is_none() {
        return Err(unknown(format!("there is no content {number}")));
    }
    Ok(Dynamic::from(ContentRecord { state: Rc::clone(&state.0), content }))
}

/// `state.segment(dbid)`.
pub(super) fn segment(state: &StateRecord, dbid: i64) -> Thrower {
    match state.0.segment(Dbid(dbid)) {
        Some(segment) => Ok(Dynamic::from(SegmentRecord(Rc::new(segment.clone())))),
        None => Err(unknown(format!("there is no segment with dbid {dbid}"))),
    }
}

/// `state.host(name)`.
pub(super) fn host(state: &StateRecord, name: &str) -> Thrower {
    match state.0.host(name) {
        Some(host) => Ok(Dynamic::from(HostRecord(Rc::new(host.clone())))),
        None => {
            let near = is_it(name, state.0.hosts.iter().map(|h| h.host.as_str()));
            Err(unknown(format!("there is no host `{name}`{near}")))
        }
    }
}

fn unknown(message: String) -> Thrown {
    Thrown::script("unknown_target", message).next("state()")
}

impl Record for RecoveryRecord {
    const NAME: &'static str = "Recovery";
    fn fields() -> Vec<Field<Self>> {
        fields! {
            dbid: "int", "the segment that is recovered" => |r| r.0.dbid.0;
            content: "int", "its content" => |r| r.0.content.0;
            host: "string", "its host" => |r| text(&r.0.host);
            stage: "int", "the documented stage, 1 to 4; 0 before the first" => |r| i64::from(r.0.stage);
            stage_name: "string", "the word of it, or what is done before: waiting" => |r| text(&r.0.stage_name);
            total_blocks: "int?", "blocks of 4 KiB to copy, or ()" => |r| optional(r.0.total_blocks);
            copied_blocks: "int?", "blocks copied, or ()" => |r| optional(r.0.copied_blocks);
            percent: "int?", "percent of the blocks, or ()" => |r| optional(r.0.percent);
            rate_bytes: "int?", "bytes per second over the last seconds, or ()" => |r| optional(r.0.rate_bytes);
            left_ms: "int?", "what is left at that rate, or ()" => |r| optional(r.0.left_ms);
            pause_open_us: "int?", "how long the first pause took, or ()" => |r| optional(r.0.pause_open_us);
            pause_claim_us: "int?", "how long the second pause took, or ()" => |r| optional(r.0.pause_claim_us);
            elapsed_ms: "int", "since the link opened; before, since the operation began" => |r| r.0.elapsed_ms;
            operation: "int?", "the operation that works on it, or ()" => |r| optional(r.0.operation);
        }
    }
    fn text(&self, _context: &Context) -> String {
        let r = &self.0;
        let percent = r.percent.map(|p| format!("  {p} %")).unwrap_or_default();
        format!("content {}  dbid {} {}  {}/4 {}{percent}", r.content, r.dbid, r.host, r.stage, r.stage_name)
    }
    fn json(&self) -> Value {
        json::recovery_json(&self.0)
    }
}

impl Record for WarningRecord {
    const NAME: &'static str = "Warning";
    fn fields() -> Vec<Field<Self>> {
        fields! {
            code: "string", "mirror_lag or disk_low" => |w| text(w.0.code.code());
            content: "int", "its content" => |w| w.0.content.0;
            dbid: "int", "the segment to look at" => |w| w.0.dbid.0;
            host: "string", "its host" => |w| text(&w.0.host);
            cause: "string", "what was seen, and the threshold" => |w| text(&w.0.cause);
            next: "string", "the next step" => |w| text(&w.0.next);
        }
    }
    fn text(&self, _context: &Context) -> String {
        let w = &self.0;
        format!(
            "{}  content {}  dbid {} on {}: {}\nnext: {}",
            w.code.code(),
            w.content,
            w.dbid,
            w.host,
            w.cause,
            w.next
        )
    }
    fn json(&self) -> Value {
        json::warning_json(&self.0)
    }
}

/// Registers the records.
pub(super) fn register(module: &mut Module, context: &Rc<Context>) {
    register_record::<StateRecord>(module, context);
    register_record::<SegmentRecord>(module, context);
    register_record::<ContentRecord>(module, context);
    register_record::<HostRecord>(module, context);
    register_record::<CoordinatorRecord>(module, context);
    register_record::<RowRecord>(module, context);
    register_record::<RecoveryRecord>(module, context);
    register_record::<WarningRecord>(module, context);
}
