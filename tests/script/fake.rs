//! A cluster that is a value: changes are the rows that the plan predicts. And a person in front who
//! answers as told.

use segsh::cluster::*;
use segsh::core::ids::{Content, Dbid, Epoch};
use segsh::core::report::StopMode;
use segsh::core::row::{Mode, Role, SegmentRow, Status};
use segsh::script::ui::{Answer, Damage, Renderer, Reply, Ui};
use segsh::script::{Session, SessionConfig};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

/// Four contents on two hosts, all well: primaries 2..5, mirrors 6..9.
pub fn healthy() -> State {
    let row = |dbid: i64, content: i64, role: Role, host: &str| SegmentRow {
        dbid: Dbid(dbid),
        content: Content(content),
        role,
        preferred_role: role,
        mode: Mode::Synchronized,
        status: Status::Up,
        port: 6000 + dbid as u16,
        hostname: host.into(),
        address: "127.0.0.1".into(),
        replication_port: Some(8000 + dbid as u16),
        datadir: format!("/srv/seg/{dbid}"),
    };
    let segment = |row: SegmentRow| Segment {
        alive: Alive { alive: true, pid: Some(1000 + row.dbid.0 as u32), cause: String::new(), age_ms: 300 },
        row,
        free_bytes: Some(100 << 30),
        data_bytes: Some(512 << 20),
        damaged_pages: Some(0),
        release: Some("0.1.0".into()),
        down_since_ms: None,
    };
    let hosts = ["sdw1", "sdw2"];
    let mut segments = Vec::new();
    for n in 0..4 {
        segments.push(segment(row(2 + n, n, Role::Primary, hosts[n as usize / 2])));
    }
    for n in 0..4 {
        segments.push(segment(row(6 + n, n, Role::Mirror, hosts[1 - n as usize / 2])));
    }
    let mut coordinator_row = row(1, -1, Role::Primary, "mdw");
    coordinator_row.replication_port = None;
    State {
        cluster: "demo".into(),
        cluster_id: "c1".into(),
        drill: true,
        coordinator: CoordinatorState {
            host: "mdw".into(),
            port: 5432,
            socket_dir: "/tmp".into(),
            pid: Some(900),
            restricted: false,
        },
        hosts: hosts
            .iter()
            .map(|h| HostState {
                host: (*h).into(),
                address: "127.0.0.1".into(),
                alive: true,
                pid: Some(800),
                cause: String::new(),
                roots: vec![format!("/srv/{h}")],
            })
            .collect(),
        coordinator_row,
        segments,
        contents: (0..4)
            .map(|n| ContentState {
                content: Content(n),
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
            })
            .collect(),
        age_ms: 300,
        time_ms: 1,
        recoveries: Vec::new(),
        warnings: Vec::new(),
        maintenance: Vec::new(),
        left_behind: Vec::new(),
        fts_paused_until_ms: None,
        production: false,
    }
}

/// The transitions that tests need, on the value itself.
pub trait Break {
    fn set_pair(&mut self, content: i64, health: PairHealth, primary: (Mode, Status), mirror: (Mode, Status));
    /// The mirror is lost: p,c,u / m,s,d.
    fn lose_mirror(&mut self, content: i64);
    /// The primary is lost and the mirror takes over: roles exchanged, p,c,u / m,s,d.
    fn fail_over(&mut self, content: i64);
    fn break_both(&mut self, content: i64);
    fn host_down(&mut self, host: &str);
    /// The same contents, with a single copy each.
    fn without_mirrors(&mut self);
    /// The only segment of a content without a mirror is gone.
    fn lose_only(&mut self, content: i64);
    fn swap(&mut self, content: i64);
    fn detail(&mut self, content: i64) -> &mut ContentState;
    fn member(&mut self, content: i64, role: Role) -> &mut Segment;
}

impl Break for State {
    fn detail(&mut self, content: i64) -> &mut ContentState {
        self.contents.iter_mut().find(|c| c.content.0 == content).expect("content")
    }
    fn member(&mut self, content: i64, role: Role) -> &mut Segment {
        self.segments.iter_mut().find(|s| s.row.content.0 == content && s.row.role == role).expect("member")
    }
    fn set_pair(&mut self, content: i64, health: PairHealth, primary: (Mode, Status), mirror: (Mode, Status)) {
        for (role, (mode, status)) in [(Role::Primary, primary), (Role::Mirror, mirror)] {
            let member = self.member(content, role);
            member.row.mode = mode;
            member.row.status = status;
        }
        self.detail(content).health = health;
        let epoch = self.detail(content).epoch;
        self.detail(content).epoch = epoch.next();
    }
    fn lose_mirror(&mut self, content: i64) {
        let up = (Mode::ChangeTracking, Status::Up);
        self.set_pair(content, PairHealth::ChangeTracking, up, (Mode::Synchronized, Status::Down));
        let mirror = self.member(content, Role::Mirror);
        mirror.alive = Alive { alive: false, pid: None, cause: "process gone".into(), age_ms: 300 };
        self.detail(content).to_copy_blocks = Some(307);
    }
    fn swap(&mut self, content: i64) {
        for segment in self.segments.iter_mut().filter(|s| s.row.content.0 == content) {
            segment.row.role = match segment.row.role {
                Role::Primary => Role::Mirror,
                Role::Mirror => Role::Primary,
            };
        }
    }
    fn fail_over(&mut self, content: i64) {
        self.swap(content);
        self.lose_mirror(content);
    }
    fn break_both(&mut self, content: i64) {
        self.lose_mirror(content);
        let primary = self.member(content, Role::Primary);
        primary.alive = Alive { alive: false, pid: None, cause: "process gone".into(), age_ms: 300 };
        self.detail(content).health = PairHealth::DoubleFault;
    }
    fn without_mirrors(&mut self) {
        self.segments.retain(|s| s.row.role == Role::Primary);
        self.contents.iter_mut().for_each(|c| c.health = PairHealth::NoMirror);
    }
    fn lose_only(&mut self, content: i64) {
        let only = self.member(content, Role::Primary);
        only.alive = Alive { alive: false, pid: None, cause: "process gone".into(), age_ms: 300 };
        self.detail(content).health = PairHealth::Lost;
        self.detail(content).last_event = "not operational: primary is lost; the content has no mirror".into();
    }
    fn host_down(&mut self, host: &str) {
        let host = self.hosts.iter_mut().find(|h| h.host == host).expect("host");
        host.alive = false;
        host.pid = None;
        host.cause = "refused".into();
    }
}

/// The cluster of the tests.
pub struct Fake {
    pub state: Mutex<State>,
    pub calls: Mutex<Vec<String>>,
    /// Clients that are connected.
    pub sessions: AtomicI64,
    /// What `operations()` tells.
    pub running: Mutex<Vec<OperationInfo>>,
    /// Changes that were refused or declined before they were asked for.
    pub not_done: Mutex<Vec<String>>,
    next_op: AtomicI64,
}

impl Fake {
    pub fn new(state: State) -> Arc<Fake> {
        Arc::new(Fake {
            state: Mutex::new(state),
            calls: Mutex::default(),
            sessions: AtomicI64::new(0),
            running: Mutex::default(),
            not_done: Mutex::default(),
            next_op: AtomicI64::new(116),
        })
    }
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("state")
    }
    pub fn calls(&self) -> Vec<String> {
        self.calls.lock().expect("calls").clone()
    }
    fn called(&self, what: String) {
        self.calls.lock().expect("calls").push(what);
    }
    fn outcome(&self, plan: &Plan, status: OutcomeStatus) -> Outcome {
        let part = |s: &PlanStep| SegmentOutcome {
            content: s.content,
            dbid: s.dbid,
            host: plan.place(s.dbid).map(|p| p.host.clone()).unwrap_or_default(),
            status: OutcomeStatus::Done,
            how: "incremental".into(),
            copied_blocks: s.copy_blocks.unwrap_or(0),
            copied_bytes: 0,
            verified_bytes: 0,
            differing_blocks: 0,
            paused_us: vec![1400, 900],
            pair: "synchronized".into(),
            note: String::new(),
        };
        Outcome {
            verb: plan.verb().into(),
            status,
            op: Some(self.next_op.fetch_add(1, Ordering::Relaxed)),
            segments: plan.steps.iter().map(part).collect(),
            refusals: plan.refusals.clone(),
            elapsed_ms: 5,
            message: String::new(),
            next: String::new(),
        }
    }
}

impl Cluster for Fake {
    fn name(&self) -> String {
        self.state().cluster.clone()
    }
    fn is_drill(&self) -> bool {
        self.state().drill
    }
    fn state(&self) -> Result<State, ClusterError> {
        Ok(Fake::state(self).clone())
    }
    fn probe(&self) -> Result<State, ClusterError> {
        self.called("probe".into());
        let state = Fake::state(self).clone();
        match state.coordinator.pid {
            Some(_) => Ok(state),
            None => {
                let (cluster, cause, next) = (state.cluster, "nobody answers".into(), "segsh start DIR".into());
                Err(ClusterError::Unreachable { cluster, cause, next })
            }
        }
    }
    fn apply(&self, plan: &Plan, wait: bool, observer: &mut dyn Observer) -> Result<Outcome, ClusterError> {
        let contents: Vec<String> = plan.steps.iter().map(|s| s.content.to_string()).collect();
        self.called(format!("{} {}", plan.verb(), contents.join(",")));
        if !wait {
            return Ok(self.outcome(plan, OutcomeStatus::Started));
        }
        let now = Progressing { op: 1, elapsed_ms: 0, contents: Vec::new() };
        match observer.progress(&now) {
            Control::Detach => return Ok(self.outcome(plan, OutcomeStatus::Started)),
            Control::Cancel => return Ok(self.outcome(plan, OutcomeStatus::Cancelled)),
            _ => {}
        }
        let mut state = Fake::state(self);
        *state = state_after(&state, plan);
        drop(state);
        Ok(self.outcome(plan, plan.predicted()))
    }
    fn sql(&self, target: SqlTarget, text: &str, params: &[Value]) -> Result<Rows, ClusterError> {
        self.called(format!("sql {target:?} {text} {params:?}"));
        assert!(text != "panic", "a defect of the backend");
        if text == "bad" {
            return Err(ClusterError::Sql { sqlstate: "42601".into(), message: "syntax".into() });
        }
        Ok(Rows {
            columns: vec!["id".into(), "case".into()],
            rows: vec![vec![Value::Int(7), Value::Text("x".into())], vec![Value::Int(8), Value::Null]],
            affected: 0,
        })
    }
    fn sql_all(&self, text: &str, params: &[Value]) -> Result<Rows, ClusterError> {
        self.sql(SqlTarget::Catalog, text, params)
    }
    fn ping(&self, host: &str) -> Result<PingResult, ClusterError> {
        let ok = Fake::state(self).host(host).is_some_and(|h| h.alive);
        Ok(PingResult {
            host: host.into(),
            address: "127.0.0.1".into(),
            ok,
            rtt_us: ok.then_some(50),
            cause: if ok { String::new() } else { "refused".into() },
            message: if ok { String::new() } else { "connection refused".into() },
        })
    }
    fn setting(&self, name: &str, value: Option<&str>) -> Result<String, ClusterError> {
        self.called(format!("setting {name} {value:?}"));
        Ok(value.unwrap_or("1s").into())
    }
    fn fts_pause(&self, for_ms: Option<i64>) -> Result<State, ClusterError> {
        self.called(format!("fts_pause {for_ms:?}"));
        let mut state = Fake::state(self);
        state.fts_paused_until_ms = Some(state.time_ms + for_ms.unwrap_or(600_000));
        Ok(state.clone())
    }
    fn fts_resume(&self) -> Result<State, ClusterError> {
        self.called("fts_resume".into());
        let mut state = Fake::state(self);
        state.fts_paused_until_ms = None;
        Ok(state.clone())
    }
    fn evidence(&self, content: Content) -> Result<Evidence, ClusterError> {
        let decided = Decided { time: "then".into(), reason: "because".into(), seen: vec!["dbid 2 was silent".into()] };
        let seen = Observed { age_ms: 5, time_ms: 1, what: "dbid 2: no answer in time".into() };
        Ok(Evidence { content, now: vec!["primary dbid 2".into()], seen: vec![seen], decisions: vec![decided] })
    }
    fn not_done(&self, outcome: &Outcome, plan: &str) {
        assert!(!plan.is_empty(), "a plan has an id");
        self.not_done.lock().expect("not done").push(format!("{} {}", outcome.verb, outcome.status.word()));
    }
    fn operations(&self, _last: usize, op: Option<i64>) -> Result<Vec<OperationInfo>, ClusterError> {
        let running = self.running.lock().expect("operations");
        Ok(running.iter().filter(|info| op.is_none_or(|op| info.id == op)).cloned().collect())
    }
    fn fault(&self, fault: &Fault) -> Result<(), ClusterError> {
        self.called(format!("{fault:?}"));
        Ok(())
    }
    fn pg_endpoint(&self) -> (String, u16) {
        ("127.0.0.1".into(), 0)
    }
    fn sessions(&self) -> Result<i64, ClusterError> {
        Ok(self.sessions.load(Ordering::Relaxed))
    }
    fn reload(&self) -> Result<(), ClusterError> {
        self.called("reload".into());
        Ok(())
    }
    fn stop_all(&self, how: &StopHow, _observer: &mut dyn Observer) -> Result<Outcome, ClusterError> {
        self.called(format!("stop {} {}", how.mode.word(), how.coordinator_only));
        Fake::state(self).coordinator.pid = None;
        Ok(done("stop", String::new()))
    }
    fn start_all(&self, how: &StartHow, _observer: &mut dyn Observer) -> Result<Outcome, ClusterError> {
        self.called(format!("start {} {}", how.coordinator_only, how.restricted));
        Fake::state(self).coordinator.pid = Some(901);
        Ok(done("start", String::new()))
    }
    fn restart_all(&self, mode: StopMode, observer: &mut dyn Observer) -> Result<Outcome, ClusterError> {
        self.called(format!("restart all {}", mode.word()));
        let mut state = Fake::state(self);
        let intent = Intent::Restart { selection: Selection::default(), mode };
        let made = plan(&state, &intent, 0);
        if observer.progress(&Progressing { op: 0, elapsed_ms: 0, contents: Vec::new() }) == Control::Cancel {
            drop(state);
            let message = "the cluster is stopped, and was not started again".into();
            return Ok(Outcome { op: None, message, ..self.outcome(&made, OutcomeStatus::Cancelled) });
        }
        *state = state_after(&state, &made);
        drop(state);
        Ok(self.outcome(&made, OutcomeStatus::Done))
    }
}

/// The person in front.
pub struct Person {
    pub answer: RefCell<Answer>,
    pub asked: RefCell<Vec<Damage>>,
    pub printed: RefCell<Vec<String>>,
    pub noted: RefCell<Vec<String>>,
    pub told: Cell<usize>,
    pub interrupted: Rc<Cell<bool>>,
    /// Ctrl-C comes with the first look at an operation, and means to cancel it.
    pub cancels: Cell<bool>,
    /// Raises the interrupt at this many looks at the flag.
    pub interrupt_at: Cell<Option<usize>>,
    /// What is answered to a utility's questions, in this order; nobody is there once it is used up.
    pub replies: RefCell<Vec<String>>,
    pub lines_asked: RefCell<Vec<String>>,
}

struct Watching {
    cancels: bool,
    interrupted: Rc<Cell<bool>>,
}
impl Observer for Watching {
    fn progress(&mut self, _now: &Progressing) -> Control {
        if self.cancels {
            self.interrupted.set(true);
            return Control::Cancel;
        }
        Control::KeepWatching
    }
}

impl Ui for Person {
    fn confirm(&self, _plan: &Plan, damage: &Damage) -> Answer {
        self.asked.borrow_mut().push(damage.clone());
        self.answer.borrow().clone()
    }
    fn observer(&self, _plan: &Plan) -> Box<dyn Observer> {
        Box::new(Watching { cancels: self.cancels.get(), interrupted: Rc::clone(&self.interrupted) })
    }
    fn follower(&self) -> Box<dyn Observer> {
        Box::new(Watching { cancels: self.cancels.get(), interrupted: Rc::clone(&self.interrupted) })
    }
    fn ended(&self, _outcome: &Outcome) {
        self.told.set(self.told.get() + 1);
    }
    fn print(&self, text: &str) {
        self.printed.borrow_mut().push(text.into());
    }
    fn note(&self, text: &str) {
        self.noted.borrow_mut().push(text.into());
    }
    fn ask_line(&self, prompt: &str) -> Reply {
        self.lines_asked.borrow_mut().push(prompt.into());
        let mut replies = self.replies.borrow_mut();
        if replies.is_empty() { Reply::CannotAsk } else { Reply::Line(replies.remove(0)) }
    }
    fn interrupted(&self) -> bool {
        if let Some(left) = self.interrupt_at.get() {
            self.interrupt_at.set(left.checked_sub(1));
            if left == 0 {
                self.interrupted.set(true);
            }
        }
        self.interrupted.get()
    }
}

struct Plain;
impl Renderer for Plain {
    fn state(&self, state: &State) -> String {
        format!("state of {}\n", state.cluster)
    }
    fn plan(&self, plan: &Plan) -> String {
        format!("plan {} of {} steps\n", plan.verb(), plan.steps.len())
    }
    fn outcome(&self, outcome: &Outcome) -> String {
        format!("{} {}\n", outcome.verb, outcome.status.word())
    }
    fn refusals(&self, _verb: &str, refusals: &[Refusal]) -> String {
        refusals.iter().map(|r| format!("{} {}\n", r.code.code(), r.cause)).collect()
    }
    fn segments(&self, segments: &[Segment]) -> String {
        segments.iter().map(|s| format!("segment {}\n", s.row.dbid)).collect()
    }
    fn rows(&self, rows: &Rows) -> String {
        format!("{} rows\n", rows.rows.len())
    }
}

/// A session with a cluster and a person who says yes.
pub struct Bench {
    pub fake: Arc<Fake>,
    pub person: Rc<Person>,
    pub session: Session,
}

impl Bench {
    pub fn new(state: State) -> Bench {
        Bench::with(state, None, false)
    }
    pub fn with(state: State, site_dir: Option<std::path::PathBuf>, dry_run: bool) -> Bench {
        let fake = Fake::new(state);
        let person = person();
        let cluster: Arc<dyn Cluster> = fake.clone();
        let session = Session::new(SessionConfig {
            cluster: Some(cluster),
            ui: person.clone(),
            renderer: Rc::new(Plain),
            site_dir,
            system_dir: None,
            dry_run,
        });
        Bench { fake, person, session }
    }
    /// The value of a text, as text.
    pub fn eval(&mut self, text: &str) -> String {
        match self.session.run_source("t.rhai", text) {
            Ok(value) => value.value.to_string(),
            Err(error) => panic!("{text}: {error:?}"),
        }
    }
    pub fn error(&mut self, text: &str) -> segsh::script::ScriptError {
        match self.session.run_source("t.rhai", text) {
            Ok(value) => panic!("{text}: no error but {:?}", value.value),
            Err(error) => *error,
        }
    }
}

pub fn person() -> Rc<Person> {
    Rc::new(Person {
        answer: RefCell::new(Answer::Yes),
        asked: RefCell::default(),
        printed: RefCell::default(),
        noted: RefCell::default(),
        told: Cell::new(0),
        interrupted: Rc::default(),
        cancels: Cell::new(false),
        interrupt_at: Cell::new(None),
        replies: RefCell::default(),
        lines_asked: RefCell::default(),
    })
}

/// A session without a cluster.
pub fn unconnected() -> Session {
    Session::new(SessionConfig {
        cluster: None,
        ui: person(),
        renderer: Rc::new(Plain),
        site_dir: None,
        system_dir: None,
        dry_run: false,
    })
}
