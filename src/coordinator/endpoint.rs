//! The control endpoint: requests of clients in, replies out.

use super::Coordinator;
use super::clock::unix_ms;
use super::membership::RemoveHostError;
use super::operations::{Answer, Watching};
use super::store::StoreError;
use crate::cluster::request::{Owner, Reply, Request};
use crate::cluster::{AuditQuery, Outcome, OutcomeStatus, Plan, Progressing, Refusal, done};
use crate::core::ids::{Content, Dbid};
use crate::core::report::{Stage, StopMode};
use crate::net::{Framed, NetError, Purpose, accept};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// How long a client may take to prove itself.
const PROVE_WITHIN: Duration = Duration::from_secs(2);
/// So many operations or lines of the audit log are told at a time.
const TOLD_MAX: usize = 1_000;
/// An acting primary says within this time that it has taken a drill's hold.
const HELD_WITHIN: Duration = Duration::from_secs(3);
/// Watchers are told at most this often.
const TELL_EVERY: Duration = Duration::from_millis(50);

/// Serves clients until the cluster is stopped.
pub(super) async fn serve(coordinator: Arc<Coordinator>, listener: TcpListener) {
    let mut stopped = coordinator.stopped.subscribe();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stopped.wait_for(|stopped| *stopped) => return,
        };
        match accepted {
            Ok((stream, _)) => {
                tokio::spawn(client(coordinator.clone(), stream));
            }
            Err(error) => {
                // Such as no file descriptors: it passes, or the log is full of it.
                tracing::error!(%error, "cannot accept a client");
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
    }
}

async fn client(coordinator: Arc<Coordinator>, stream: TcpStream) {
    let me = coordinator.site.credentials();
    let mut framed = match accept(stream, &me, &[Purpose::Client], PROVE_WITHIN).await {
        Ok((stream, _)) => Framed::new(stream),
        Err(error) => {
            tracing::warn!(%error, "a client was turned away");
            return;
        }
    };
    while let Ok(request) = framed.recv::<Request>().await {
        if coordinator.answer(&mut framed, request).await.is_err() {
            return;
        }
    }
}

impl Coordinator {
    async fn answer(&self, framed: &mut Framed, request: Request) -> Result<(), NetError> {
        let reply = match request {
            Request::State => self.state_reply(),
            Request::Probe => {
                self.probe().await;
                self.state_reply()
            }
            Request::Begin { plan, owner } => self.begin(&plan, &owner),
            Request::Watch { op, owner } => {
                if let Some(owner) = owner {
                    self.operations.hear(op, &owner);
                }
                return self.follow(framed, op).await;
            }
            Request::Alive { op, owner } => {
                self.operations.hear(op, &owner);
                Reply::Ok
            }
            Request::Operations { last, op } => self
                .operations
                .list(last.min(TOLD_MAX), op)
                .map_or_else(failed, |operations| Reply::Operations { operations }),
            Request::Audit { query } => self.audited(query).await,
            Request::Maintenance { host, for_ms, reason, owner } => {
                match self.maintain(&host, for_ms, &reason, &owner) {
                    Ok(()) => self.state_reply(),
                    Err(error) => Reply::Failed { message: error.to_string(), next: error.next() },
                }
            }
            Request::StopAfterSegment { op } => self.flag(op, false),
            Request::Cancel { op } => self.flag(op, true),
            Request::Setting { name, value, owner } => self.setting(&name, value.as_deref(), owner.as_ref()),
            Request::FtsPause { for_ms, owner } => match self.pause_fts(for_ms, &owner).await {
                Ok(()) => self.state_reply(),
                Err(error) => Reply::Failed { message: error.to_string(), next: "fts_pause(\"10m\")".into() },
            },
            Request::FtsResume { owner } => match self.resume_fts(&owner).await {
                Ok(()) => self.state_reply(),
                Err(error) => failed(error),
            },
            Request::Evidence { content } => match self.evidence(content).await {
                Ok(evidence) => Reply::Evidence { evidence: Box::new(evidence) },
                Err(error) => failed(error),
            },
            Request::Kill { dbid, owner } => self.kill(dbid, owner.as_ref()).await,
            Request::Manifest { dir } => described(dir).await,
            Request::Hold { content, stage, owner } => self.hold(content, stage, &owner).await,
            Request::NotDone { outcome, owner } => {
                self.audit.append(0, &owner, unix_ms(), &outcome);
                Reply::Ok
            }
            Request::Start { owner } => return self.start_all(framed, &owner).await,
            Request::Stop { mode, owner, within_ms } => {
                return self.stop_all(framed, mode, within_ms.map(Duration::from_millis), &owner).await;
            }
            Request::StopCoordinator { owner } => return self.stop_alone(framed, &owner).await,
            Request::Sessions => Reply::Sessions { count: i64::try_from(self.sessions().await).unwrap_or(i64::MAX) },
            Request::Reload { owner } => self.reload(&owner),
            Request::HostsChanged { owner } => match self.hosts_changed(&owner).await {
                Ok(()) => self.state_reply(),
                Err(error) => Reply::Failed { message: error.to_string(), next: error.next() },
            },
            Request::RemoveHost { host, owner } => self.host_removed(&host, &owner).await,
        };
        framed.send(&reply).await
    }

    /// Begins a plan's operation.
    fn begin(&self, plan: &Plan, owner: &Owner) -> Reply {
        match self.begun(plan, owner) {
            Ok(Answer::Begun { op, joined: true }) => {
                Reply::Begun { op, joined: true, owner: self.operations.owner_of(op) }
            }
            Ok(answer) => Reply::from(answer),
            Err(error) => failed(error),
        }
    }

    /// Begins a plan's operation, by whichever door it was asked for. What is refused here is in the audit log, too.
    pub(super) fn begun(&self, plan: &Plan, owner: &Owner) -> Result<Answer, StoreError> {
        let answer = self.operations.begin(plan, owner)?;
        match &answer {
            Answer::Refused(refusals) => self.note_refused(plan, owner, refusals, String::new()),
            Answer::Locked { message, .. } => self.note_refused(plan, owner, &[], format!("locked: {message}")),
            Answer::Begun { .. } | Answer::NothingToDo => {}
        }
        Ok(answer)
    }

    fn note_refused(&self, plan: &Plan, owner: &Owner, refusals: &[Refusal], message: String) {
        let refusals = refusals.to_vec();
        let outcome = Outcome { status: OutcomeStatus::Refused, refusals, ..done(plan.verb(), message) };
        self.audit.append(0, owner, unix_ms(), &outcome);
    }

    /// The lines of the audit log; read beside the other requests, because it may be long.
    async fn audited(&self, mut query: AuditQuery) -> Reply {
        query.last = query.last.min(TOLD_MAX);
        let audit = self.audit.clone();
        let read = tokio::task::spawn_blocking(move || audit.read(&query)).await;
        match read.map_err(std::io::Error::other).and_then(|lines| lines) {
            Ok(lines) => Reply::Audit { lines },
            Err(error) => {
                let message = format!("the audit log can't be read: {error}");
                Reply::Failed { message, next: "look at the coordinator's log".into() }
            }
        }
    }

    /// Lets a host go. What is refused is in the audit log, too.
    async fn host_removed(&self, host: &str, owner: &Owner) -> Reply {
        let left = match self.remove_host(host, owner).await {
            Ok(left) => left,
            Err(RemoveHostError::InUse(in_use)) => {
                let refusals = vec![in_use.refusal()];
                let refused =
                    Outcome { status: OutcomeStatus::Refused, refusals, ..done("remove_host", String::new()) };
                self.audit.append(0, owner, unix_ms(), &refused);
                return Reply::Refused { refusals: refused.refusals };
            }
            Err(error) => return Reply::Failed { message: error.to_string(), next: error.next() },
        };
        self.state().map_or_else(failed, |state| Reply::HostRemoved { state: Box::new(state), left })
    }

    fn state_reply(&self) -> Reply {
        self.state().map_or_else(failed, |state| Reply::State { state: Box::new(state) })
    }

    fn flag(&self, op: i64, cancel: bool) -> Reply {
        match self.operations.flag(op, cancel) {
            Ok(true) => Reply::Ok,
            Ok(false) => Reply::Failed { message: format!("operation {op} is not running"), next: "state()".into() },
            Err(error) => failed(error),
        }
    }

    fn setting(&self, name: &str, value: Option<&str>, owner: Option<&Owner>) -> Reply {
        let result = match value {
            Some(value) => self.set_setting(name, value),
            None => self.store.setting(name),
        };
        if let (Some(_), Some(owner), Ok(value)) = (value, owner, &result) {
            self.audit.append(0, owner, unix_ms(), &done("setting", format!("{name} = {value}")));
        }
        result.map_or_else(failed, |value| Reply::Setting { value })
    }

    async fn kill(&self, dbid: Dbid, owner: Option<&Owner>) -> Reply {
        let next = || "state()".to_string();
        if !self.site.drill {
            let message = "faults are injected only on drill clusters".into();
            return Reply::Failed { message, next: next() };
        }
        let Some(row) = self.places.row(dbid) else {
            return Reply::Failed { message: format!("there is no segment dbid {dbid}"), next: next() };
        };
        let Some(host) = self.places.host(&row.hostname) else {
            return Reply::Failed { message: format!("there is no host {}", row.hostname), next: next() };
        };
        let config = self.site.segment_config(&row);
        for datadir in [config.on_new_copy().datadir, config.datadir] {
            if let Err(error) = host.kill_segment(&datadir).await {
                return Reply::Failed { message: error.to_string(), next: next() };
            }
        }
        if let Some(owner) = owner {
            self.audit.append(0, owner, unix_ms(), &done("kill", format!("dbid {dbid} on {}", row.hostname)));
        }
        self.prober.kick(None);
        Reply::Ok
    }

    /// A drill's hold on the recovery of a content, or its end.
    async fn hold(&self, content: Content, stage: Option<Stage>, owner: &Owner) -> Reply {
        let failed_with = |message: String| Reply::Failed { message, next: "state()".into() };
        if !self.site.drill {
            return failed_with("faults are injected only on drill clusters".into());
        }
        let primary = match self.store.content(content).map(|row| row.pair) {
            Ok(Ok(pair)) => pair.primary.dbid,
            Ok(Err(why)) => return failed_with(why),
            Err(error) => return failed(error),
        };
        let told = tokio::time::timeout(HELD_WITHIN, self.prober.hold_recovery(primary, stage)).await;
        if let Err(why) = told.unwrap_or_else(|_| Err("no answer".into())) {
            return failed_with(format!("acting primary dbid {primary} of content {content} did not take it: {why}"));
        }
        let (verb, what) = match stage {
            Some(stage) => ("hold", format!("content {content}: {}", stage.word())),
            None => ("release", format!("content {content}")),
        };
        self.audit.append(0, owner, unix_ms(), &done(verb, what));
        Reply::Ok
    }

    /// Sends progress until the operation has ended.
    async fn follow(&self, framed: &mut Framed, op: i64) -> Result<(), NetError> {
        let (mut progress, mut outcome) = match self.operations.watch(op) {
            Ok(Watching::Running { progress, outcome }) => (progress, outcome),
            Ok(Watching::Ended(outcome)) => {
                return framed.send(&Reply::Ended { outcome: *outcome }).await;
            }
            Ok(Watching::Unknown) => {
                let message = format!("there is no operation {op}");
                return framed.send(&Reply::Failed { message, next: "state()".into() }).await;
            }
            Err(error) => return framed.send(&failed(error)).await,
        };
        loop {
            let now = progress.borrow_and_update().clone();
            framed.send(&Reply::Progress { now }).await?;
            tokio::time::sleep(TELL_EVERY).await;
            tokio::select! {
                biased;
                ended = end_of(&mut outcome) => {
                    let now = progress.borrow().clone();
                    framed.send(&Reply::Progress { now }).await?;
                    let reply = match ended {
                        Some(outcome) => Reply::Ended { outcome },
                        None => Reply::Failed { message: "its end was not seen".into(), next: "state()".into() },
                    };
                    return framed.send(&reply).await;
                }
                _ = progress.changed() => {}
            }
        }
    }

    async fn start_all(&self, framed: &mut Framed, owner: &Owner) -> Result<(), NetError> {
        match self.operations.begin_start(owner) {
            Ok(Answer::Begun { op, .. }) => self.follow(framed, op).await,
            Ok(Answer::NothingToDo) => framed.send(&Reply::Ended { outcome: nothing_to_start() }).await,
            Ok(answer) => framed.send(&Reply::from(answer)).await,
            Err(error) => framed.send(&failed(error)).await,
        }
    }

    /// Stops everything, tells the client, and then the coordinator itself ends.
    async fn stop_all(
        &self,
        framed: &mut Framed,
        mode: StopMode,
        within: Option<Duration>,
        owner: &Owner,
    ) -> Result<(), NetError> {
        let (now, mut progress) = watch::channel(Progressing { op: 0, elapsed_ms: 0, contents: Vec::new() });
        let started_ms = super::clock::unix_ms();
        let mut told = Ok(());
        let mut work = std::pin::pin!(self.operations.stop_all(mode, within, &now));
        let outcome = loop {
            tokio::select! {
                biased;
                outcome = &mut work => break outcome,
                _ = progress.changed(), if told.is_ok() => {
                    let now = progress.borrow_and_update().clone();
                    // A client that went away does not keep the cluster from stopping.
                    told = framed.send(&Reply::Progress { now }).await;
                }
            }
        };
        self.audit.append(0, owner, started_ms, &outcome);
        let told = match told {
            Ok(()) => framed.send(&Reply::Ended { outcome }).await,
            Err(error) => Err(error),
        };
        self.stopped.send_replace(true);
        told
    }
}

/// What a backup says of itself; read beside the other requests, because a disk may be slow.
async fn described(dir: String) -> Reply {
    match tokio::task::spawn_blocking(move || super::operations::manifest(&dir)).await {
        Ok(Ok(manifest)) => Reply::Manifest { manifest: Box::new(manifest) },
        Ok(Err(refusal)) => Reply::Refused { refusals: vec![refusal] },
        Err(gone) => Reply::Failed { message: gone.to_string(), next: "look at the coordinator's log".into() },
    }
}

impl Coordinator {
    /// The coordinator ends and the segments go on. What operations have begun, the next coordinator takes up.
    async fn stop_alone(&self, framed: &mut Framed, owner: &Owner) -> Result<(), NetError> {
        let outcome = done("stop", "the coordinator stops; the segments go on".into());
        self.audit.append(0, owner, unix_ms(), &outcome);
        let told = framed.send(&Reply::Ended { outcome }).await;
        self.stopped.send_replace(true);
        told
    }

    fn reload(&self, owner: &Owner) -> Reply {
        let said = match self.reload_front() {
            Ok(true) => "the password file was read again",
            Ok(false) if !self.has_password_file() => "there is no password file to read",
            Ok(false) => {
                let message = "the password file is not read: it was not there when the coordinator started, so that has \
                               no TCP front";
                let next = "restart the coordinator: gpstop -a -m -M fast, then gpstart -a -m";
                return Reply::Failed { message: message.into(), next: next.into() };
            }
            Err(error) => {
                let message = format!("the password file is as it was: {error}");
                return Reply::Failed { message, next: format!("mend {}", super::front::PASSWORD_FILE) };
            }
        };
        self.audit.append(0, owner, unix_ms(), &done("reload", said.into()));
        Reply::Ok
    }
}

/// The outcome once there is one; `None` when the operation went away without.
async fn end_of(outcome: &mut watch::Receiver<Option<Outcome>>) -> Option<Outcome> {
    outcome.wait_for(Option::is_some).await.ok().and_then(|outcome| outcome.clone())
}

fn failed(error: StoreError) -> Reply {
    let next = match &error {
        StoreError::Setting(_) => "setting(\"NAME\", \"VALUE\")",
        StoreError::NoContent(_) => "state()",
        _ => "look at the coordinator's log",
    };
    Reply::Failed { message: error.to_string(), next: next.into() }
}

fn nothing_to_start() -> Outcome {
    Outcome {
        verb: "start".into(),
        status: OutcomeStatus::Done,
        op: None,
        segments: Vec::new(),
        refusals: Vec::new(),
        elapsed_ms: 0,
        message: "there are no segments".into(),
        next: String::new(),
    }
}
