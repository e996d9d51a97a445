//! A gateway session: it belongs to the client, and outlives the segments that serve it.
//!
//! The upstream is opened for the next statement, never before. When it is lost, an open transaction
//! has failed, a running statement is answered by what is certain about it, and the next statement
//! finds the next primary. No statement is ever sent twice.

use super::answer::{Answer, Reply};
use super::cancel::{Registration, Target};
use super::exchange::{End, Ended, Exchange, Loss, Pending};
use super::extended::Extended;
use super::frame::{Frame, FrameError, FrameStream};
use super::message;
use super::prepared::Prepared;
use super::sql::{self, Kind, Standing};
use super::startup::Parameters;
use super::upstream::{Opening, Upstream, read_parameter};
use super::{Router, SERVER_PARAMETERS};
use crate::core::ids::Content;
use bytes::{Bytes, BytesMut};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;

/// How much is read ahead of a client that waits for a primary.
const READ_AHEAD: usize = 256 * 1024;

/// A client's stream, whichever socket it came from.
pub(super) type ClientStream = Box<dyn Duplex>;

/// Both directions of a stream.
pub(super) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// Why a session is over.
#[derive(Debug)]
pub(super) enum Ending {
    /// The client left, or its stream failed.
    Gone,
    /// The client is still to be told why.
    Fatal(Reply),
}

impl From<FrameError> for Ending {
    fn from(error: FrameError) -> Ending {
        match error {
            FrameError::Io(_) | FrameError::Truncated => Ending::Gone,
            FrameError::Length(_) => {
                Ending::Fatal(Reply::new(Answer::ProtocolViolation, format!("{error}; 4 to 64 MiB are allowed")))
            }
        }
    }
}

impl From<std::io::Error> for Ending {
    fn from(_: std::io::Error) -> Ending {
        Ending::Gone
    }
}

/// The transaction as the client knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Transaction {
    Idle,
    Open,
    /// It failed, and the segment keeps it so.
    Failed,
    /// It failed with its segment; the gateway keeps it so. How it was lost, in words.
    Lost(String),
}

impl Transaction {
    pub fn status(&self) -> u8 {
        match self {
            Transaction::Idle => b'I',
            Transaction::Open => b'T',
            Transaction::Failed | Transaction::Lost(_) => b'E',
        }
    }

    fn of_status(status: u8) -> Transaction {
        match status {
            b'T' => Transaction::Open,
            b'E' => Transaction::Failed,
            _ => Transaction::Idle,
        }
    }

    fn standing(&self) -> Standing {
        match self {
            Transaction::Idle => Standing::Idle,
            Transaction::Open => Standing::Open,
            Transaction::Failed | Transaction::Lost(_) => Standing::Failed,
        }
    }
}

/// One session on a content.
pub(super) struct Session {
    pub(super) client: FrameStream<ClientStream>,
    router: Arc<dyn Router>,
    content: Content,
    packet: Bytes,
    limit: watch::Receiver<Duration>,
    registration: Registration,
    pub(super) upstream: Option<Upstream>,
    generation: u64,
    pub(super) transaction: Transaction,
    pub(super) prepared: Prepared,
    pub(super) extended: Extended,
    /// What the client was told about the server.
    parameters: BTreeMap<String, String>,
    /// SET statements by the name they set, for the next upstream.
    settings: BTreeMap<String, Bytes>,
}

impl Session {
    pub fn new(
        client: FrameStream<ClientStream>,
        router: Arc<dyn Router>,
        content: Content,
        startup: &Parameters,
        limit: watch::Receiver<Duration>,
        registration: Registration,
    ) -> Session {
        Session {
            client,
            router,
            content,
            packet: startup.packet(),
            limit,
            registration,
            upstream: None,
            generation: 0,
            transaction: Transaction::Idle,
            prepared: Prepared::default(),
            extended: Extended::default(),
            parameters: SERVER_PARAMETERS.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect(),
            settings: BTreeMap::new(),
        }
    }

    /// Serves the client until one side ends.
    pub async fn run(&mut self) -> Ending {
        let ending = match self.serve().await {
            Ok(()) => Ending::Gone,
            Err(ending) => ending,
        };
        self.lose_upstream();
        ending
    }

    /// Tells the client why the session ends. It may be gone: then there is nobody to tell.
    pub async fn end(&mut self, reply: &Reply) {
        let mut out = BytesMut::new();
        message::error(&mut out, reply);
        let _ = self.client.write(&out).await;
        let _ = self.client.shutdown().await;
    }

    async fn serve(&mut self) -> Result<(), Ending> {
        self.greet().await?;
        loop {
            // The upstream is looked at first: a connection that has ended already is replaced
            // before the statement is sent, which afterwards would be too late.
            tokio::select! {
                biased;
                frame = next_of(&mut self.upstream) => self.on_upstream(frame).await?,
                frame = self.client.next() => match frame? {
                    None => return Ok(()),
                    Some(frame) if frame.tag() == b'X' => return Ok(()),
                    Some(frame) => self.on_client(frame).await?,
                },
            }
        }
    }

    async fn greet(&mut self) -> Result<(), Ending> {
        let mut out = BytesMut::new();
        message::authentication_ok(&mut out);
        for (name, value) in &self.parameters {
            message::parameter(&mut out, name, value);
        }
        let key = &self.registration;
        message::key_data(&mut out, key.pid, &key.secret);
        message::ready(&mut out, b'I');
        Ok(self.client.write(&out).await?)
    }

    async fn on_client(&mut self, frame: Frame) -> Result<(), Ending> {
        match frame.tag() {
            b'Q' => self.query(frame).await,
            b'P' | b'B' | b'D' | b'E' | b'C' | b'H' | b'S' => self.on_extended(frame).await,
            // What is left of a COPY whose segment was lost.
            b'd' | b'c' | b'f' => Ok(()),
            b'F' => {
                let reply = Reply::new(Answer::NotSupported, "function calls are not offered");
                self.answer_error(&reply).await
            }
            other => Err(Ending::Fatal(Reply::new(
                Answer::ProtocolViolation,
                format!("invalid frontend message type {other}"),
            ))),
        }
    }

    /// Something came from a segment that was asked nothing.
    async fn on_upstream(&mut self, frame: Result<Option<Frame>, FrameError>) -> Result<(), Ending> {
        let frame = match frame {
            Ok(Some(frame)) => frame,
            Ok(None) => {
                self.lose_idle("the segment closed the connection");
                return Ok(());
            }
            Err(error) => {
                self.lose_idle(&error.to_string());
                return Ok(());
            }
        };
        match frame.tag() {
            b'E' => {
                let error = message::read_error(frame.body());
                if matches!(error.code.as_str(), "25P03" | "57P05") || error.is_protocol_violation() {
                    // The session's own time limits end it, and so does a client that breaks the protocol, as
                    // on any PostgreSQL server.
                    self.client.write(frame.raw()).await?;
                    return Err(Ending::Gone);
                }
                self.lose_idle(&error.message);
            }
            b'S' => {
                self.parameters.extend(read_parameter(frame.body()));
                self.client.write(frame.raw()).await?;
            }
            b'N' | b'A' => self.client.write(frame.raw()).await?,
            _ => {}
        }
        Ok(())
    }

    async fn query(&mut self, frame: Frame) -> Result<(), Ending> {
        self.run_queue().await?;
        if self.extended.is_skipping() {
            return Ok(());
        }
        let Some(text) = text_of(&frame) else {
            let reply = Reply::new(Answer::BadMessage, "a query that does not end where it should");
            return self.answer_error(&reply).await;
        };
        self.drop_stale();
        match self.leave_lost_transaction(frame, text).await? {
            Some((frame, text)) => self.forward_query(&frame, &text).await,
            None => Ok(()),
        }
    }

    /// In a transaction that was lost, only its end is taken. What is left to send of the query.
    async fn leave_lost_transaction(&mut self, frame: Frame, text: Bytes) -> Result<Option<(Frame, Bytes)>, Ending> {
        if !matches!(self.transaction, Transaction::Lost(_)) {
            return Ok(Some((frame, text)));
        }
        let mut out = BytesMut::new();
        let mut left = None;
        match sql::statements(&text).next() {
            None => message::put(&mut out, b'I', |_| {}),
            Some(first) if ends_transaction(first.kind) => {
                message::complete(&mut out, "ROLLBACK");
                self.transaction = Transaction::Idle;
                if sql::statements(first.rest).next().is_some() {
                    left = Some(text.slice_ref(first.rest));
                }
            }
            Some(_) => message::error(&mut out, &self.transaction_failed()),
        }
        if left.is_none() {
            message::ready(&mut out, self.transaction.status());
        }
        self.client.write(&out).await?;
        Ok(left.map(|text| (Frame::from_encoded(message::query(&text)), text)))
    }

    async fn forward_query(&mut self, frame: &Frame, text: &Bytes) -> Result<(), Ending> {
        let mut again = true;
        loop {
            if let Err(reply) = self.ensure_upstream().await? {
                return self.answer_error(&reply).await;
            }
            let wire = BytesMut::from(&frame.raw()[..]);
            let pending = VecDeque::from([Pending::Ready]);
            let (end, session_changed) = self.exchange(wire, pending).await?;
            match end {
                End::Ready(status) => {
                    self.transaction = Transaction::of_status(status);
                    if session_changed {
                        self.keep_settings(text);
                    }
                    return Ok(());
                }
                End::Lost(loss) if again && self.may_send_again(&loss) => {
                    again = false;
                    self.lose_upstream();
                }
                End::Lost(loss) => {
                    let reply = self.judge(&loss, sql::kinds(text));
                    return self.answer_error(&reply).await;
                }
                End::Refused => return Err(Ending::Gone),
                // A simple query is answered by ReadyForQuery only.
                End::Answered { .. } => return Ok(()),
            }
        }
    }

    /// Runs one exchange on the upstream, which must be there.
    pub(super) async fn exchange(&mut self, wire: BytesMut, pending: VecDeque<Pending>) -> Result<Ended, Ending> {
        let Some(upstream) = self.upstream.as_mut() else {
            let loss =
                Loss { reason: "the segment is not connected".to_owned(), sent: false, certain: true, trouble: true };
            return Ok((End::Lost(loss), false));
        };
        let exchange = Exchange {
            client: &mut self.client,
            upstream,
            router: &*self.router,
            content: self.content,
            prepared: &mut self.prepared,
            pending,
            wire,
        };
        Ok(exchange.run().await?)
    }

    /// Nothing was sent and no transaction is lost with it: then another upstream may have it.
    pub(super) fn may_send_again(&self, loss: &Loss) -> bool {
        !loss.sent && self.transaction == Transaction::Idle
    }

    /// The answer to statements whose segment was lost, and the transaction after it.
    pub(super) fn judge(&mut self, loss: &Loss, kinds: impl Iterator<Item = Kind>) -> Reply {
        let verdict = sql::verdict(self.transaction.standing(), kinds);
        self.lose_upstream();
        if loss.trouble {
            self.router.trouble(self.content);
        }
        self.transaction =
            if verdict.in_transaction { Transaction::Lost(loss.reason.clone()) } else { Transaction::Idle };
        let (answer, outcome) = if verdict.certain || loss.certain {
            (Answer::NothingCommitted, "nothing of it was committed")
        } else {
            (Answer::OutcomeUnknown, "its outcome is unknown")
        };
        let (content, reason) = (self.content, &loss.reason);
        tracing::info!(%content, %reason, sqlstate = answer.sqlstate(), "a statement lost its segment");
        Reply::new(answer, format!("content {content} lost its segment while the statement ran, {outcome}: {reason}"))
    }

    /// The upstream ended while nothing was asked of it.
    fn lose_idle(&mut self, reason: &str) {
        let loss = Loss { reason: reason.to_owned(), sent: true, certain: false, trouble: true };
        self.lose_between(&loss);
    }

    /// An upstream whose process no longer serves is left behind before anything is sent to it.
    pub(super) fn drop_stale(&mut self) {
        let serving = self.router.serving(self.content);
        let stale = self.upstream.as_ref().is_some_and(|u| u.route.serving != serving);
        if stale {
            let loss = Loss {
                reason: "another process became its primary".to_owned(),
                sent: true,
                certain: false,
                trouble: false,
            };
            self.lose_between(&loss);
        }
    }

    fn lose_between(&mut self, loss: &Loss) {
        if let Some(executed) = self.extended.take_unsynced() {
            // Statements were run and not synced yet: the client is owed the answer to them.
            let kinds: Vec<Kind> = executed.iter().flat_map(|t| sql::kinds(t)).collect();
            let reply = self.judge(loss, kinds.into_iter());
            self.extended.owe(reply);
            return;
        }
        self.lose_upstream();
        if loss.trouble {
            self.router.trouble(self.content);
        }
        if self.transaction != Transaction::Idle {
            self.transaction = Transaction::Lost(loss.reason.clone());
        }
    }

    pub(super) fn lose_upstream(&mut self) {
        self.upstream = None;
        self.registration.point.set_target(None);
    }

    /// 25P02, and what happened to the transaction.
    pub(super) fn transaction_failed(&self) -> Reply {
        let reason = match &self.transaction {
            Transaction::Lost(reason) => reason.as_str(),
            _ => "it failed",
        };
        Reply::new(
            Answer::TransactionFailed,
            format!(
                "current transaction is aborted, commands ignored until end of transaction block: \
                 content {} lost the transaction's segment: {reason}",
                self.content
            ),
        )
    }

    /// Opens the upstream if there is none. The inner error is for the client.
    pub(super) async fn ensure_upstream(&mut self) -> Result<Result<(), Reply>, Ending> {
        if self.upstream.is_some() {
            return Ok(Ok(()));
        }
        let settings = self.settings_text();
        let opening = Opening {
            router: &*self.router,
            content: self.content,
            packet: &self.packet,
            settings: &settings,
            limit: *self.limit.borrow(),
            point: &self.registration.point,
            generation: self.generation + 1,
        };
        // A client that leaves while it waits must not have its statement run half a minute later.
        let opened = tokio::select! {
            opened = opening.run() => opened,
            () = gone(&mut self.client) => return Err(Ending::Gone),
        };
        let mut upstream = match opened {
            Ok(upstream) => upstream,
            Err(reply) => return Ok(Err(reply)),
        };
        self.generation += 1;
        let target = upstream.key.clone().map(|key| Target::Segment(upstream.route.clone(), key));
        self.registration.point.set_target(target);
        let told = self.tell_of(&mut upstream).await;
        self.upstream = Some(upstream);
        told?;
        Ok(Ok(()))
    }

    /// What the client must know of a new upstream: other parameters, and what did not come along.
    async fn tell_of(&mut self, upstream: &mut Upstream) -> Result<(), Ending> {
        let mut out = BytesMut::new();
        for (name, value) in upstream.parameters.drain(..) {
            if self.parameters.get(&name) != Some(&value) {
                message::parameter(&mut out, &name, &value);
                self.parameters.insert(name, value);
            }
        }
        if self.generation > 1 {
            let text = format!(
                "content {} is now served to this session by dbid {}; its temporary tables are gone",
                self.content, upstream.route.dbid
            );
            message::notice(&mut out, "01000", &text);
        }
        if !out.is_empty() {
            self.client.write(&out).await?;
        }
        Ok(())
    }

    fn settings_text(&self) -> Vec<u8> {
        let statements: Vec<&[u8]> = self.settings.values().map(|b| &b[..]).collect();
        statements.join(&b';')
    }

    /// Remembers what a text changed in the session itself.
    pub(super) fn keep_settings(&mut self, text: &Bytes) {
        for statement in sql::statements(text).filter(|s| s.kind == Kind::Session) {
            let (verb, name) = sql::leading_words(statement.text);
            match (verb.as_str(), name.as_str()) {
                ("SET", "LOCAL" | "TRANSACTION" | "CONSTRAINTS") => {}
                ("SET", _) => {
                    self.settings.insert(name, text.slice_ref(statement.text));
                }
                ("RESET", "ALL") => self.settings.clear(),
                ("RESET", _) => {
                    self.settings.remove(&name);
                }
                ("DISCARD", "ALL") => {
                    self.settings.clear();
                    self.prepared.clear();
                }
                ("DEALLOCATE", "ALL") => self.prepared.clear(),
                ("DEALLOCATE", _) => self.prepared.remove(name.to_ascii_lowercase().as_bytes()),
                _ => {}
            }
        }
    }

    /// An error and ReadyForQuery.
    async fn answer_error(&mut self, reply: &Reply) -> Result<(), Ending> {
        let mut out = BytesMut::new();
        message::error(&mut out, reply);
        message::ready(&mut out, self.transaction.status());
        Ok(self.client.write(&out).await?)
    }
}

/// COMMIT and ROLLBACK both end a transaction that has failed.
pub(super) fn ends_transaction(kind: Kind) -> bool {
    matches!(kind, Kind::Commit | Kind::Rollback)
}

fn text_of(frame: &Frame) -> Option<Bytes> {
    let mut body = frame.body();
    let text = super::frame::take_cstr(&mut body)?;
    body.is_empty().then_some(text)
}

/// Resolves when the client's stream has ended. What it sends meanwhile is kept, up to a bound.
async fn gone(client: &mut FrameStream<ClientStream>) {
    while client.unread() < READ_AHEAD {
        if !matches!(client.fill().await, Ok(true)) {
            return;
        }
    }
    std::future::pending().await
}

async fn next_of(upstream: &mut Option<Upstream>) -> Result<Option<Frame>, FrameError> {
    match upstream {
        Some(upstream) => upstream.reader.next().await,
        None => std::future::pending().await,
    }
}
