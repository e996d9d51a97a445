//! The extended protocol: messages are gathered up to a Sync or Flush and run as one exchange.

use super::answer::{Answer, Reply};
use super::exchange::{End, Pending};
use super::frame::{Frame, take_cstr};
use super::message;
use super::session::{Ending, Session, Transaction, ends_transaction};
use super::sql::{self, Kind};
use bytes::{Buf, Bytes, BytesMut};
use std::collections::{HashMap, HashSet, VecDeque};

/// Beyond this the gathered messages are sent on without waiting for the client's Sync.
const GATHER: usize = 1024 * 1024;

/// Text of a portal that the gateway has not seen bound; it counts as a write.
const UNSEEN: Bytes = Bytes::from_static(b"?");

/// A message of the extended protocol, as far as the gateway reads it.
#[derive(Debug, Clone)]
enum Message {
    Parse { name: Bytes, text: Bytes },
    Bind { portal: Bytes, statement: Bytes },
    DescribeStatement { name: Bytes },
    DescribePortal { portal: Bytes },
    Execute { portal: Bytes },
    CloseStatement { name: Bytes },
    ClosePortal { portal: Bytes },
    Flush,
    Sync,
}

#[derive(Debug)]
struct Queued {
    frame: Frame,
    message: Message,
}

/// The state of the extended protocol in a session.
#[derive(Debug, Default)]
pub(super) struct Extended {
    queue: VecDeque<Queued>,
    queued_bytes: usize,
    /// What was sent for execution since the last Sync.
    executed: Vec<Bytes>,
    /// Messages were sent upstream and no Sync after them.
    unsynced: bool,
    /// After an error everything up to the next Sync is discarded.
    skipping: bool,
    /// An error that is still to be told, before anything else.
    owed: Option<Reply>,
    /// The text behind each portal.
    portals: HashMap<Bytes, Bytes>,
    session_changed: bool,
}

impl Extended {
    pub fn is_skipping(&self) -> bool {
        self.skipping
    }

    /// The texts that were executed and not synced, when the upstream is lost between messages.
    pub fn take_unsynced(&mut self) -> Option<Vec<Bytes>> {
        let was = std::mem::take(&mut self.unsynced);
        was.then(|| std::mem::take(&mut self.executed))
    }

    pub fn owe(&mut self, reply: Reply) {
        // An error since the last Sync has been told already; there is at most one.
        if !self.skipping {
            self.owed = Some(reply);
        }
    }

    fn fail(&mut self) {
        self.skipping = true;
    }
}

impl Session {
    pub(super) async fn on_extended(&mut self, frame: Frame) -> Result<(), Ending> {
        let Some(message) = read(&frame) else {
            self.run_queue().await?;
            if !self.extended.skipping {
                let reply = Reply::new(Answer::BadMessage, "a message that can't be read");
                self.write_error(&reply).await?;
                self.extended.fail();
            }
            return Ok(());
        };
        let run = match message {
            Message::Sync | Message::Flush => true,
            _ => self.extended.queued_bytes > GATHER,
        };
        if !matches!(message, Message::Flush) {
            self.extended.queued_bytes += frame.raw().len();
            self.extended.queue.push_back(Queued { frame, message });
        }
        if run { self.run_queue().await } else { Ok(()) }
    }

    /// Runs everything gathered so far.
    pub(super) async fn run_queue(&mut self) -> Result<(), Ending> {
        if self.extended.queue.is_empty() && self.extended.owed.is_none() {
            return Ok(());
        }
        self.extended.queued_bytes = 0;
        let mut items = std::mem::take(&mut self.extended.queue);
        let mut out = BytesMut::new();
        self.drop_stale();
        if let Some(reply) = self.extended.owed.take() {
            message::error(&mut out, &reply);
            self.extended.fail();
        }
        while let Some(item) = items.pop_front() {
            let is_sync = matches!(item.message, Message::Sync);
            let asks = self.extended.unsynced && self.upstream.is_some();
            if self.extended.skipping && !is_sync {
                continue;
            }
            if is_sync && !asks {
                self.synced(&mut out);
            } else if matches!(self.transaction, Transaction::Lost(_)) {
                self.run_lost(item, &mut out);
            } else {
                self.flush(&mut out).await?;
                items.push_front(item);
                self.forward(&mut items, &mut out).await?;
            }
        }
        self.flush(&mut out).await
    }

    async fn flush(&mut self, out: &mut BytesMut) -> Result<(), Ending> {
        if !out.is_empty() {
            self.client.write(out).await?;
            out.clear();
        }
        Ok(())
    }

    async fn write_error(&mut self, reply: &Reply) -> Result<(), Ending> {
        let mut out = BytesMut::new();
        message::error(&mut out, reply);
        self.flush(&mut out).await
    }

    /// The gateway's own answer to a Sync.
    fn synced(&mut self, out: &mut BytesMut) {
        self.extended.skipping = false;
        self.extended.executed.clear();
        message::ready(out, self.transaction.status());
    }

    /// Sends the items, all of them, and sees to their answer. A Sync that is still to be answered
    /// by the gateway is left in `items`.
    async fn forward(&mut self, items: &mut VecDeque<Queued>, out: &mut BytesMut) -> Result<(), Ending> {
        let fresh = !self.extended.unsynced;
        let mut again = fresh;
        loop {
            if let Err(reply) = self.ensure_upstream().await? {
                message::error(out, &reply);
                self.extended.fail();
                return Ok(());
            }
            let executed_before = self.extended.executed.len();
            let (wire, pending) = self.wire_of(items);
            self.extended.unsynced = true;
            self.extended.skipping = false;
            let (end, session_changed) = self.exchange(wire, pending).await?;
            self.extended.session_changed |= session_changed;
            match end {
                End::Ready(status) => {
                    items.clear();
                    self.ready(status);
                    return Ok(());
                }
                End::Answered { failed } => {
                    items.clear();
                    self.extended.skipping = failed;
                    return Ok(());
                }
                End::Refused => return Err(Ending::Gone),
                End::Lost(loss) if again && self.may_send_again(&loss) => {
                    again = false;
                    self.extended.executed.truncate(executed_before);
                    self.extended.unsynced = false;
                    self.lose_upstream();
                }
                End::Lost(loss) => {
                    self.extended.unsynced = false;
                    let executed = std::mem::take(&mut self.extended.executed);
                    let kinds: Vec<Kind> = executed.iter().flat_map(|t| sql::kinds(t)).collect();
                    let reply = self.judge(&loss, kinds.into_iter());
                    message::error(out, &reply);
                    self.extended.fail();
                    items.retain(|i| matches!(i.message, Message::Sync));
                    return Ok(());
                }
            }
        }
    }

    fn ready(&mut self, status: u8) {
        self.transaction = match status {
            b'T' => Transaction::Open,
            b'E' => Transaction::Failed,
            _ => Transaction::Idle,
        };
        let executed = std::mem::take(&mut self.extended.executed);
        if std::mem::take(&mut self.extended.session_changed) {
            for text in &executed {
                self.keep_settings(text);
            }
        }
        if self.transaction == Transaction::Idle {
            self.extended.portals.clear();
        }
        self.extended.unsynced = false;
        self.extended.skipping = false;
    }

    /// The bytes for the upstream, with a Parse before the first use of each statement it lacks.
    fn wire_of(&mut self, items: &VecDeque<Queued>) -> (BytesMut, VecDeque<Pending>) {
        let mut wire = BytesMut::new();
        let mut pending = VecDeque::new();
        let mut parsed: HashMap<Bytes, Bytes> = HashMap::new();
        let mut again: HashSet<Bytes> = HashSet::new();
        for item in items {
            let used = match &item.message {
                Message::Bind { statement, .. } => Some(statement),
                Message::DescribeStatement { name } => Some(name),
                _ => None,
            };
            if let Some(name) = used.filter(|n| !parsed.contains_key(*n) && !again.contains(*n))
                && let Some(parse) = self.prepared.missing(name, self.current_generation())
            {
                wire.extend_from_slice(parse.raw());
                pending.push_back(Pending::ParseAgain { name: name.clone() });
                again.insert(name.clone());
            }
            pending.extend(self.pending_of(item, &mut parsed));
            wire.extend_from_slice(item.frame.raw());
        }
        if !matches!(pending.back(), Some(Pending::Ready)) {
            wire.extend_from_slice(&message::bare(b'H'));
        }
        (wire, pending)
    }

    fn current_generation(&self) -> u64 {
        self.upstream.as_ref().map_or(0, |u| u.generation)
    }

    fn pending_of(&mut self, item: &Queued, parsed: &mut HashMap<Bytes, Bytes>) -> Option<Pending> {
        Some(match &item.message {
            Message::Parse { name, text } => {
                parsed.insert(name.clone(), text.clone());
                Pending::Parse { name: name.clone(), text: text.clone(), frame: item.frame.clone() }
            }
            Message::Bind { portal, statement } => {
                let text = parsed.get(statement).or_else(|| self.prepared.text(statement));
                let text = text.cloned().unwrap_or(UNSEEN);
                self.extended.portals.insert(portal.clone(), text);
                Pending::Bind
            }
            Message::DescribeStatement { .. } | Message::DescribePortal { .. } => Pending::Describe,
            Message::Execute { portal } => {
                let text = self.extended.portals.get(portal).cloned();
                self.extended.executed.push(text.unwrap_or(UNSEEN));
                Pending::Execute
            }
            Message::CloseStatement { name } => Pending::CloseStatement { name: name.clone() },
            Message::ClosePortal { .. } => Pending::ClosePortal,
            Message::Sync => Pending::Ready,
            Message::Flush => return None,
        })
    }

    /// One message while the transaction is lost: only what ends it is taken, as on any server.
    fn run_lost(&mut self, item: Queued, out: &mut BytesMut) {
        let done = match &item.message {
            Message::Parse { name, text } => self.parse_lost(name, text, &item.frame, out),
            Message::Bind { portal, statement } => self.bind_lost(portal, statement, out),
            Message::DescribeStatement { name } => {
                let text = self.prepared.text(name).cloned();
                self.describe_lost(text, true, out)
            }
            Message::DescribePortal { portal } => {
                let text = self.extended.portals.get(portal).cloned();
                self.describe_lost(text, false, out)
            }
            Message::Execute { portal } => self.execute_lost(portal, out),
            Message::CloseStatement { name } => {
                self.prepared.remove(name);
                message::put(out, b'3', |_| {});
                Ok(())
            }
            Message::ClosePortal { portal } => {
                self.extended.portals.remove(portal);
                message::put(out, b'3', |_| {});
                Ok(())
            }
            Message::Flush | Message::Sync => Ok(()),
        };
        if let Err(reply) = done {
            message::error(out, &reply);
            self.extended.fail();
        }
    }

    fn parse_lost(&mut self, name: &Bytes, text: &Bytes, frame: &Frame, out: &mut BytesMut) -> Result<(), Reply> {
        self.only_an_end(text)?;
        self.prepared.insert(name.clone(), text.clone(), frame.clone(), 0);
        message::put(out, b'1', |_| {});
        Ok(())
    }

    fn bind_lost(&mut self, portal: &Bytes, statement: &Bytes, out: &mut BytesMut) -> Result<(), Reply> {
        let text = self.prepared.text(statement).cloned().ok_or_else(|| {
            let name = String::from_utf8_lossy(statement);
            Reply::new(Answer::UnknownStatement, format!("prepared statement \"{name}\" does not exist"))
        })?;
        self.only_an_end(&text)?;
        self.extended.portals.insert(portal.clone(), text);
        message::put(out, b'2', |_| {});
        Ok(())
    }

    fn describe_lost(&mut self, text: Option<Bytes>, statement: bool, out: &mut BytesMut) -> Result<(), Reply> {
        self.only_an_end(&text.unwrap_or(UNSEEN))?;
        if statement {
            message::put(out, b't', |b| b.extend_from_slice(&[0, 0]));
        }
        message::put(out, b'n', |_| {});
        Ok(())
    }

    fn execute_lost(&mut self, portal: &Bytes, out: &mut BytesMut) -> Result<(), Reply> {
        let text = self.extended.portals.get(portal).cloned().ok_or_else(|| {
            let name = String::from_utf8_lossy(portal);
            Reply::new(Answer::UnknownPortal, format!("portal \"{name}\" does not exist"))
        })?;
        self.only_an_end(&text)?;
        if sql::statements(&text).next().is_some() {
            message::complete(out, "ROLLBACK");
            self.transaction = Transaction::Idle;
            self.extended.portals.clear();
        } else {
            message::put(out, b'I', |_| {});
        }
        Ok(())
    }

    /// Refuses every text but COMMIT, ROLLBACK and nothing at all.
    fn only_an_end(&self, text: &Bytes) -> Result<(), Reply> {
        if sql::kinds(text).all(ends_transaction) { Ok(()) } else { Err(self.transaction_failed()) }
    }
}

fn read(frame: &Frame) -> Option<Message> {
    let mut body = frame.body();
    Some(match frame.tag() {
        b'P' => Message::Parse { name: take_cstr(&mut body)?, text: take_cstr(&mut body)? },
        b'B' => Message::Bind { portal: take_cstr(&mut body)?, statement: take_cstr(&mut body)? },
        b'E' => Message::Execute { portal: take_cstr(&mut body)? },
        tag @ (b'D' | b'C') => {
            let of = body.first().copied()?;
            body.advance(1);
            let name = take_cstr(&mut body)?;
            match (tag, of) {
                (b'D', b'S') => Message::DescribeStatement { name },
                (b'D', b'P') => Message::DescribePortal { portal: name },
                (b'C', b'S') => Message::CloseStatement { name },
                (b'C', b'P') => Message::ClosePortal { portal: name },
                _ => return None,
            }
        }
        b'H' => Message::Flush,
        b'S' => Message::Sync,
        _ => return None,
    })
}
