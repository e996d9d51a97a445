//! The filerep backend: a client of our own coordinator.
//!
//! Requests go over the coordinator's control endpoint, SQL over its PostgreSQL front. With the
//! coordinator down the last catalog answers, read-only.

use super::interrupt::Interrupt;
use crate::cluster::request::{Owner, Reply, Request};
use crate::cluster::{
    Acting, AuditLine, AuditQuery, Cluster, ClusterError, Control, Evidence, Fault, HEARTBEAT_EVERY_MS, HostRemoved,
    Intent, InterruptFlag, NewHost, Observer, OperationInfo, Outcome, PingResult, Plan, Progressing, Refusal, Rows,
    SqlTarget, StartHow, State, StopHow, Value,
};
use crate::core::backup::Manifest;
use crate::core::ids::Content;
use crate::core::report::{Stage, StopMode};
use crate::hosts::{Host, HostError};
use crate::net::{self, Credentials, Endpoint, Framed, Identity, NetError, Purpose};
use std::future::Future;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A connection to the coordinator of a running cluster takes a millisecond; this is for a busy one.
const CONNECT_DEADLINE: Duration = Duration::from_secs(3);
/// A request that is answered at once; a probe waits for the slowest segment.
const ANSWER_DEADLINE: Duration = Duration::from_secs(15);
/// How often a follower says that it is there.
const HEARTBEAT_EVERY: Duration = Duration::from_millis(HEARTBEAT_EVERY_MS);
/// How often an observer is called while nothing changes.
const OBSERVE_EVERY: Duration = Duration::from_millis(100);

/// A host's address, and the way to ask it.
pub type AddressedHost = (String, Arc<dyn Host>);

/// What only the cluster's directory knows or may do: it stays with the room that owns directories.
pub trait Local: Send + Sync {
    /// The state by the last catalog, for a coordinator that is down.
    fn last_state(&self) -> Result<State, String>;
    /// Every host with its address and the way to ask it, as of now: they may have changed meanwhile.
    fn hosts(&self) -> Result<Vec<AddressedHost>, String>;
    /// Adds a host to the directory, and brings its agent up.
    fn add_host(&self, host: &NewHost) -> Result<(), ClusterError>;
    fn stop_host(&self, host: &str) -> Result<(), String>;
    fn start_host(&self, host: &str) -> Result<(), String>;
    /// Stops the whole cluster and starts it again, on behalf of `owner`; the start's outcome.
    fn restart_all(&self, mode: StopMode, owner: &Owner, observer: &mut dyn Observer) -> Result<Outcome, ClusterError>;
    /// Stops the whole cluster, or its coordinator.
    fn stop_all(&self, how: &StopHow, owner: &Owner, observer: &mut dyn Observer) -> Result<Outcome, ClusterError>;
    /// Starts what does not run.
    fn start_all(&self, how: &StartHow, owner: &Owner, observer: &mut dyn Observer) -> Result<Outcome, ClusterError>;
}

/// Where a cluster of ours is, and what proves that we belong to it.
#[derive(Clone)]
pub struct Address {
    pub name: String,
    pub dir: PathBuf,
    pub drill: bool,
    pub coordinator: Endpoint,
    pub credentials: Credentials,
    pub socket_dir: PathBuf,
    pub pg_port: u16,
}

/// A cluster with segsh's own engine.
pub struct Filerep {
    address: Address,
    local: Box<dyn Local>,
    owner: Owner,
    /// Which script asks, and how it was confirmed.
    acting: Mutex<Acting>,
    runtime: tokio::runtime::Runtime,
    /// One connection is kept; a call that finds it taken or broken makes another.
    idle: Mutex<Option<Framed>>,
    sql: super::pg::Pg,
    interrupt: Interrupt,
}

impl Filerep {
    pub fn new(address: Address, local: Box<dyn Local>, owner: Owner) -> std::io::Result<Arc<Filerep>> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let sql = super::pg::Pg::new(address.socket_dir.clone(), address.pg_port);
        let interrupt = Interrupt::default();
        Ok(Arc::new(Filerep {
            address,
            local,
            owner,
            acting: Mutex::default(),
            runtime,
            idle: Mutex::new(None),
            sql,
            interrupt,
        }))
    }

    fn unreachable(&self, cause: &dyn std::fmt::Display) -> ClusterError {
        ClusterError::Unreachable {
            cluster: self.address.name.clone(),
            cause: cause.to_string(),
            next: format!("segsh start {}", self.address.dir.display()),
        }
    }

    async fn connect(&self) -> Result<Framed, ClusterError> {
        let Address { coordinator, credentials, .. } = &self.address;
        let expected = Some(&Identity::Coordinator);
        net::connect(coordinator, credentials, Purpose::Client, expected, CONNECT_DEADLINE)
            .await
            .map(|(stream, _)| Framed::new(stream))
            .map_err(|e| match e {
                NetError::WrongVersion { .. } => self.other_release(&e),
                e => self.unreachable(&e),
            })
    }

    /// What another release's coordinator would say of its cluster is not to be had from its catalog.
    fn other_release(&self, cause: &NetError) -> ClusterError {
        ClusterError::OtherRelease {
            cluster: self.address.name.clone(),
            cause: cause.to_string(),
            next: "use the segsh of the release that runs there, or stop it with that one first".into(),
        }
    }

    /// Who asks now.
    fn owner(&self) -> Owner {
        let acting = self.acting.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Owner { script: acting.script, ..self.owner.clone() }
    }

    /// Who asks for a plan, and how that was confirmed.
    fn owner_of(&self, plan: &str) -> Owner {
        let confirmed = self.acting.lock().unwrap_or_else(PoisonError::into_inner).confirmed.clone();
        Owner { plan: plan.into(), confirmed, ..self.owner() }
    }

    fn take_idle(&self) -> Option<Framed> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn keep(&self, connection: Framed) {
        *self.idle.lock().unwrap_or_else(PoisonError::into_inner) = Some(connection);
    }

    /// One request, one reply. Sent again on a new connection only when the kept one was found dead
    /// before anything was asked of it, or the request changes nothing.
    fn ask(&self, request: &Request) -> Result<Reply, ClusterError> {
        let repeatable = matches!(
            request,
            Request::State
                | Request::Probe
                | Request::Evidence { .. }
                | Request::Operations { .. }
                | Request::Audit { .. }
                | Request::Manifest { .. }
                | Request::Sessions
                | Request::Setting { value: None, .. }
        );
        let answered = self.runtime.block_on(self.interrupt.or(self.exchanged(request, repeatable)));
        answered.unwrap_or_else(|| {
            let left = if repeatable { "" } else { "whether it was done is not known; state() shows what is" };
            Err(ClusterError::Interrupted { left: left.to_owned() })
        })
    }

    async fn exchanged(&self, request: &Request, repeatable: bool) -> Result<Reply, ClusterError> {
        if let Some(mut kept) = self.take_idle().filter(|_| repeatable)
            && let Ok(reply) = within(exchange(&mut kept, request)).await
        {
            self.keep(kept);
            return Ok(reply);
        }
        let mut connection = self.connect().await?;
        let reply = within(exchange(&mut connection, request)).await.map_err(|e| self.unreachable(&e))?;
        self.keep(connection);
        Ok(reply)
    }

    /// A smart stop waits until every session has left: this shell's own would wait for itself.
    fn leave_for(&self, mode: StopMode) {
        if mode == StopMode::Smart {
            self.runtime.block_on(self.sql.end_sessions());
        }
    }

    fn state_from(&self, reply: Reply) -> Result<State, ClusterError> {
        match reply {
            Reply::State { state } => Ok(*state),
            other => Err(unexpected(other)),
        }
    }

    /// What is known of an operation that was begun, and whose coordinator then went away.
    fn unseen(&self, op: i64, elapsed: Duration) -> Outcome {
        Outcome {
            message: format!("the coordinator went away; the end of operation {op} was not seen"),
            next: format!("segsh start {}, then attach({op})", self.address.dir.display()),
            ..empty_outcome(crate::cluster::OutcomeStatus::Unknown, Some(op), elapsed)
        }
    }

    /// Follows a stream of progress to its end, and hands an observer's wish to the coordinator. A stream that is lost
    /// leaves the operation's end unknown, which is not the same as a cluster that was never reached.
    fn follow(&self, first: &Request, op: Option<i64>, observer: &mut dyn Observer) -> Result<Outcome, ClusterError> {
        self.runtime.block_on(async {
            let connection = self.connect().await?;
            let (mut sender, mut receiver) = connection.split();
            sender.send(first).await.map_err(|e| self.unreachable(&e))?;
            let began = Instant::now();
            let mut last = Progressing { op: op.unwrap_or_default(), elapsed_ms: 0, contents: Vec::new() };
            let mut told = None;
            let mut beat = Instant::now();
            // Receiving goes on beside observing: dropping a receive half way could lose half a frame.
            let (replies, mut inbox) = tokio::sync::mpsc::channel(16);
            tokio::spawn(async move {
                loop {
                    let reply = receiver.recv::<Reply>().await;
                    let last = reply.is_err();
                    if replies.send(reply).await.is_err() || last {
                        return;
                    }
                }
            });
            loop {
                match tokio::time::timeout(OBSERVE_EVERY, inbox.recv()).await {
                    Ok(Some(Ok(Reply::Ended { outcome }))) => return Ok(outcome),
                    Ok(Some(Ok(Reply::Ok))) => return Ok(nothing_to_tell(began.elapsed())),
                    Ok(Some(Ok(Reply::Progress { now }))) => last = now,
                    Ok(Some(Ok(other))) => return Err(unexpected(other)),
                    Ok(Some(Err(_)) | None) if last.op != 0 => return Ok(self.unseen(last.op, began.elapsed())),
                    Ok(Some(Err(error))) => return Err(self.unreachable(&error)),
                    Ok(None) => return Err(self.unreachable(&"the connection ended")),
                    Err(_) => last.elapsed_ms = began.elapsed().as_millis() as i64,
                }
                if beat.elapsed() >= HEARTBEAT_EVERY && last.op != 0 {
                    beat = Instant::now();
                    self.beat(last.op).await;
                }
                let wish = observer.progress(&last);
                match wish {
                    Control::KeepWatching => {}
                    Control::Detach => return Ok(started(last.op, began.elapsed())),
                    Control::StopAfterSegment | Control::Cancel if told == Some(wish) => {}
                    Control::StopAfterSegment | Control::Cancel => {
                        match self.steer(last.op, wish).await {
                            // The stream says as much, and with it how the operation stands.
                            Err(ClusterError::Unreachable { .. }) => {}
                            steered => {
                                steered?;
                                told = Some(wish);
                            }
                        }
                    }
                }
            }
        })
    }

    fn hold(&self, content: Content, stage: Option<Stage>) -> Result<(), ClusterError> {
        match self.ask(&Request::Hold { content, stage, owner: self.owner() })? {
            Reply::Ok => Ok(()),
            other => Err(unexpected(other)),
        }
    }

    /// Says that the operation's follower is still there. What fails here is found out by following itself.
    async fn beat(&self, op: i64) {
        let request = Request::Alive { op, owner: self.owner() };
        if let Ok(mut connection) = self.connect().await
            && let Err(error) = within(exchange(&mut connection, &request)).await
        {
            tracing::debug!(op, %error, "a heartbeat was not taken");
        }
    }

    async fn steer(&self, op: i64, wish: Control) -> Result<(), ClusterError> {
        let request = match wish {
            Control::StopAfterSegment => Request::StopAfterSegment { op },
            _ => Request::Cancel { op },
        };
        let mut connection = self.connect().await?;
        match within(exchange(&mut connection, &request)).await.map_err(|e| self.unreachable(&e))? {
            Reply::Ok => Ok(()),
            other => Err(unexpected(other)),
        }
    }
}

async fn exchange(connection: &mut Framed, request: &Request) -> Result<Reply, net::NetError> {
    connection.send(request).await?;
    connection.recv().await
}

async fn within<T>(work: impl Future<Output = Result<T, net::NetError>>) -> Result<T, net::NetError> {
    let late = net::NetError::Timeout { within: ANSWER_DEADLINE };
    tokio::time::timeout(ANSWER_DEADLINE, work).await.unwrap_or(Err(late))
}

fn unexpected(reply: Reply) -> ClusterError {
    match reply {
        Reply::Failed { message, next } => ClusterError::Invalid { message, next },
        Reply::Locked { op, message, .. } => ClusterError::Locked { message, op },
        other => ClusterError::Invalid {
            message: format!("the coordinator answered out of turn: {other:?}"),
            next: "segsh status".into(),
        },
    }
}

fn empty_outcome(status: crate::cluster::OutcomeStatus, op: Option<i64>, elapsed: Duration) -> Outcome {
    Outcome {
        verb: String::new(),
        status,
        op,
        segments: Vec::new(),
        refusals: Vec::new(),
        elapsed_ms: elapsed.as_millis() as i64,
        message: String::new(),
        next: String::new(),
    }
}

fn started(op: i64, elapsed: Duration) -> Outcome {
    let message = format!("operation {op} goes on at the coordinator");
    Outcome { message, ..empty_outcome(crate::cluster::OutcomeStatus::Started, Some(op), elapsed) }
}

fn nothing_to_tell(elapsed: Duration) -> Outcome {
    empty_outcome(crate::cluster::OutcomeStatus::Done, None, elapsed)
}

impl Cluster for Filerep {
    fn name(&self) -> String {
        self.address.name.clone()
    }

    fn is_drill(&self) -> bool {
        self.address.drill
    }

    fn state(&self) -> Result<State, ClusterError> {
        match self.ask(&Request::State) {
            Err(ClusterError::Unreachable { .. }) => self.local.last_state().map_err(|e| self.unreachable(&e)),
            answered => self.state_from(answered?),
        }
    }

    /// A login is enough, and its connection is kept for the first request.
    fn reach(&self) -> Result<(), ClusterError> {
        match self.runtime.block_on(self.interrupt.or(self.connect())) {
            None => Err(ClusterError::Interrupted { left: String::new() }),
            Some(Ok(connection)) => {
                self.keep(connection);
                Ok(())
            }
            Some(Err(ClusterError::Unreachable { .. })) => {
                self.local.last_state().map(drop).map_err(|e| self.unreachable(&e))
            }
            Some(Err(error)) => Err(error),
        }
    }

    fn probe(&self) -> Result<State, ClusterError> {
        self.state_from(self.ask(&Request::Probe)?)
    }

    fn apply(&self, plan: &Plan, wait: bool, observer: &mut dyn Observer) -> Result<Outcome, ClusterError> {
        if let Intent::Restart { mode, .. } = &plan.intent {
            self.leave_for(*mode);
        }
        let began = Instant::now();
        let request = Request::Begin { plan: Box::new(plan.clone()), owner: self.owner_of(&plan.id) };
        let op = match self.ask(&request)? {
            Reply::Begun { op, joined, owner } => {
                if let Some(owner) = owner.filter(|_| joined) {
                    observer.note(&format!("joined operation {op} of {}", owner.who()));
                }
                op
            }
            Reply::Refused { refusals } => {
                let message = format!("refused: {}: it changed nothing", plan.verb());
                let next = refusals.first().map(|r| r.next.clone()).unwrap_or_default();
                let refused = empty_outcome(crate::cluster::OutcomeStatus::Refused, None, began.elapsed());
                return Ok(Outcome { verb: plan.verb().into(), refusals, message, next, ..refused });
            }
            other => return Err(unexpected(other)),
        };
        if !wait {
            return Ok(Outcome { verb: plan.verb().into(), ..started(op, began.elapsed()) });
        }
        let watch = Request::Watch { op, owner: Some(self.owner()) };
        let mut outcome = match self.follow(&watch, Some(op), observer) {
            Err(ClusterError::Unreachable { .. }) => self.unseen(op, began.elapsed()),
            followed => followed?,
        };
        if outcome.verb.is_empty() {
            outcome.verb = plan.verb().into();
        }
        Ok(outcome)
    }

    fn sql(&self, target: SqlTarget, text: &str, params: &[Value]) -> Result<Rows, ClusterError> {
        let ran = self.sql.run(&target, text, params, &self.interrupt);
        self.runtime.block_on(ran).map_err(|e| e.into_cluster(self))
    }

    fn sql_all(&self, text: &str, params: &[Value]) -> Result<Rows, ClusterError> {
        // A distributed query triggers a probe, and refuses while a content can't answer.
        let state = self.probe()?;
        if let Some(content) = state.contents.iter().find(|c| c.health.is_unserved()).map(|c| c.content) {
            return Err(ClusterError::Sql {
                sqlstate: "57P03".into(),
                message: format!("content {content} has no segment that can serve; a partial answer is no answer"),
            });
        }
        let mut all = Rows { columns: Vec::new(), rows: Vec::new(), affected: 0 };
        for content in state.contents.iter().map(|c| c.content) {
            let part = self.sql(SqlTarget::Content(content), text, params)?;
            all.columns = std::iter::once("content".to_owned()).chain(part.columns).collect();
            all.affected += part.affected;
            all.rows.extend(part.rows.into_iter().map(|row| {
                let Content(number) = content;
                std::iter::once(Value::Int(number)).chain(row).collect()
            }));
        }
        Ok(all)
    }

    fn ping(&self, host: &str) -> Result<PingResult, ClusterError> {
        let hosts = self.local.hosts().map_err(|message| ClusterError::Invalid { message, next: "state()".into() })?;
        let Some((address, asked)) = hosts.iter().find(|(_, known)| known.name() == host) else {
            let names: Vec<&str> = hosts.iter().map(|(_, known)| known.name()).collect();
            return Err(ClusterError::Invalid {
                message: format!("there is no host `{host}` in {}", self.address.name),
                next: format!("its hosts are {}", names.join(", ")),
            });
        };
        let began = Instant::now();
        let Some(answered) = self.runtime.block_on(self.interrupt.or(asked.ping())) else {
            return Err(ClusterError::Interrupted { left: String::new() });
        };
        let (ok, cause, message) = match answered {
            Ok(_) => (true, String::new(), "answers".to_owned()),
            Err(HostError::Unreachable { cause, .. }) => (false, cause.cause().to_owned(), cause.to_string()),
            Err(HostError::Failed { failure, .. }) => (false, "stopped".to_owned(), failure.to_string()),
        };
        let rtt_us = ok.then(|| began.elapsed().as_micros() as i64);
        let over_ssh = asked.is_over_ssh();
        Ok(PingResult { host: host.to_owned(), address: address.clone(), over_ssh, ok, rtt_us, cause, message })
    }

    fn setting(&self, name: &str, value: Option<&str>) -> Result<String, ClusterError> {
        let request =
            Request::Setting { name: name.to_owned(), value: value.map(str::to_owned), owner: Some(self.owner()) };
        match self.ask(&request)? {
            Reply::Setting { value } => Ok(value),
            other => Err(unexpected(other)),
        }
    }

    fn fts_pause(&self, for_ms: Option<i64>) -> Result<State, ClusterError> {
        self.state_from(self.ask(&Request::FtsPause { for_ms, owner: self.owner() })?)
    }

    fn fts_resume(&self) -> Result<State, ClusterError> {
        self.state_from(self.ask(&Request::FtsResume { owner: self.owner() })?)
    }

    fn evidence(&self, content: Content) -> Result<Evidence, ClusterError> {
        match self.ask(&Request::Evidence { content })? {
            Reply::Evidence { evidence } => Ok(*evidence),
            other => Err(unexpected(other)),
        }
    }

    fn manifest(&self, dir: &str) -> Result<Result<Manifest, Refusal>, ClusterError> {
        match self.ask(&Request::Manifest { dir: dir.into() })? {
            Reply::Manifest { manifest } => Ok(Ok(*manifest)),
            Reply::Refused { mut refusals } if refusals.len() == 1 => Ok(Err(refusals.remove(0))),
            other => Err(unexpected(other)),
        }
    }

    fn acting_as(&self, acting: Acting) {
        *self.acting.lock().unwrap_or_else(PoisonError::into_inner) = acting;
    }

    fn not_done(&self, outcome: &Outcome, plan: &str) {
        let request = Request::NotDone { outcome: outcome.clone(), owner: self.owner_of(plan) };
        if let Err(error) = self.ask(&request) {
            tracing::warn!(%error, "a call that was not made is not in the audit log");
        }
    }

    fn operations(&self, last: usize, op: Option<i64>) -> Result<Vec<OperationInfo>, ClusterError> {
        match self.ask(&Request::Operations { last, op })? {
            Reply::Operations { operations } => Ok(operations),
            other => Err(unexpected(other)),
        }
    }

    fn attach(&self, op: i64, observer: &mut dyn Observer) -> Result<Outcome, ClusterError> {
        self.follow(&Request::Watch { op, owner: Some(self.owner()) }, Some(op), observer)
    }

    fn audit(&self, query: &AuditQuery) -> Result<Vec<AuditLine>, ClusterError> {
        match self.ask(&Request::Audit { query: query.clone() })? {
            Reply::Audit { lines } => Ok(lines),
            other => Err(unexpected(other)),
        }
    }

    fn maintenance(&self, host: &str, for_ms: i64, reason: &str) -> Result<State, ClusterError> {
        let request = Request::Maintenance { host: host.into(), for_ms, reason: reason.into(), owner: self.owner() };
        self.state_from(self.ask(&request)?)
    }

    fn add_host(&self, host: &NewHost) -> Result<State, ClusterError> {
        let added = self.local.add_host(host);
        // Also when the agent did not come up: the host stands in the file, and everybody else reads that.
        let told = match self.ask(&Request::HostsChanged { owner: self.owner() }) {
            Err(ClusterError::Unreachable { .. }) => self.local.last_state().map_err(|e| self.unreachable(&e)),
            answered => answered.and_then(|reply| self.state_from(reply)),
        };
        added.and(told)
    }

    fn remove_host(&self, host: &str) -> Result<Result<HostRemoved, Refusal>, ClusterError> {
        match self.ask(&Request::RemoveHost { host: host.into(), owner: self.owner() })? {
            Reply::HostRemoved { state, left } => Ok(Ok(HostRemoved { state: *state, left })),
            Reply::Refused { refusals } => match refusals.into_iter().next() {
                Some(refusal) => Ok(Err(refusal)),
                None => Err(unexpected(Reply::Refused { refusals: Vec::new() })),
            },
            other => Err(unexpected(other)),
        }
    }

    fn fault(&self, fault: &Fault) -> Result<(), ClusterError> {
        if !self.address.drill {
            return Err(ClusterError::NotDrill);
        }
        let local = |done: Result<(), String>| {
            done.map_err(|message| ClusterError::Invalid { message, next: "state() lists the hosts".into() })
        };
        match fault {
            Fault::StopHost(host) => local(self.local.stop_host(host)),
            Fault::StartHost(host) => local(self.local.start_host(host)),
            Fault::Hold(content, stage) => self.hold(*content, Some(*stage)),
            Fault::Release(content) => self.hold(*content, None),
            Fault::Kill(dbid) => match self.ask(&Request::Kill { dbid: *dbid, owner: Some(self.owner()) })? {
                Reply::Ok => Ok(()),
                other => Err(unexpected(other)),
            },
        }
    }

    fn pg_endpoint(&self) -> (String, u16) {
        (self.address.socket_dir.display().to_string(), self.address.pg_port)
    }

    fn restart_all(&self, mode: StopMode, observer: &mut dyn Observer) -> Result<Outcome, ClusterError> {
        // The connection that is kept leads to a coordinator that is about to end.
        drop(self.take_idle());
        self.leave_for(mode);
        self.local.restart_all(mode, &self.owner_of(""), observer)
    }

    fn stop_all(&self, how: &StopHow, observer: &mut dyn Observer) -> Result<Outcome, ClusterError> {
        drop(self.take_idle());
        // The cluster must not wait for its own shell.
        self.runtime.block_on(self.sql.end_sessions());
        self.local.stop_all(how, &self.owner_of(""), observer)
    }

    fn start_all(&self, how: &StartHow, observer: &mut dyn Observer) -> Result<Outcome, ClusterError> {
        drop(self.take_idle());
        self.local.start_all(how, &self.owner_of(""), observer)
    }

    fn sessions(&self) -> Result<i64, ClusterError> {
        let own = i64::try_from(self.sql.open()).unwrap_or(i64::MAX);
        match self.ask(&Request::Sessions)? {
            Reply::Sessions { count } => Ok(count.saturating_sub(own).max(0)),
            other => Err(unexpected(other)),
        }
    }

    fn reload(&self) -> Result<(), ClusterError> {
        match self.ask(&Request::Reload { owner: self.owner() })? {
            Reply::Ok => Ok(()),
            other => Err(unexpected(other)),
        }
    }

    fn interrupted_by(&self, flag: InterruptFlag) {
        self.interrupt.set(flag);
    }
}

impl super::pg::PgError {
    fn into_cluster(self, cluster: &Filerep) -> ClusterError {
        match self {
            super::pg::PgError::Connect(cause) => cluster.unreachable(&cause),
            super::pg::PgError::Sql { sqlstate, message } => ClusterError::Sql { sqlstate, message },
            super::pg::PgError::Interrupted(left) => ClusterError::Interrupted { left },
        }
    }
}
