//! The control connection to one segment: kept open, probed at the interval, read at once.

use super::VerifyRequest;
use crate::core::fts::Failure;
use crate::core::ids::Dbid;
use crate::core::report::{FromSegment, Order, Stage, StopMode, ToSegment};
use crate::net::{Credentials, Endpoint, FrameReceiver, FrameSender, Framed, Identity, NetError, Purpose, connect};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::AbortHandle;
use tokio::time::Instant;

/// How a link is paced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pace {
    pub interval: Duration,
    pub timeout: Duration,
}

/// What a link is told beside its order.
pub(super) enum Tell {
    Drain(oneshot::Sender<Result<(), String>>),
    Stop(StopMode),
    Verify(VerifyRequest),
    /// A drill's hold, or its end.
    Hold(Option<Stage>, oneshot::Sender<Result<(), String>>),
}

/// What a link tells.
pub(super) enum Heard {
    /// `answers` is when the question was put that this answers; what a segment says unasked, may be
    /// older than any question.
    Message { message: Box<FromSegment>, answers: Option<Instant> },
    /// `asked` is when the attempt began: what happened since, it cannot speak of.
    Failed { failure: Failure, why: String, asked: Instant },
    /// This process could not even try, such as for want of file descriptors: that says nothing of the
    /// segment.
    Hindered { why: String, asked: Instant },
}

/// What a link tells, and which link of the segment it was: a segment that is moved gets another one.
pub(super) struct Said {
    pub dbid: Dbid,
    pub link: u64,
    pub what: Heard,
}

/// The near end of a link, which ends with it.
pub(super) struct Link {
    pub number: u64,
    task: AbortHandle,
    pub order: watch::Sender<Option<Order>>,
    pub kick: Arc<Notify>,
    pub tell: mpsc::UnboundedSender<Tell>,
}

/// Fast while it may be about to come up, slower when nobody is there for long.
const RETRY_SOON: Duration = Duration::from_millis(100);
const RETRY_LATER: Duration = Duration::from_millis(500);
const SOON_TIMES: u32 = 30;

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Runner {
    dbid: Dbid,
    number: u64,
    to: Endpoint,
    me: Credentials,
    pace: watch::Receiver<Pace>,
    order: watch::Receiver<Option<Order>>,
    kick: Arc<Notify>,
    told: mpsc::UnboundedReceiver<Tell>,
    heard: mpsc::UnboundedSender<Said>,
    seq: u64,
    /// Who waits for the answer to what was asked under a number.
    awaited: BTreeMap<u64, oneshot::Sender<Result<(), String>>>,
    /// When the segment was last asked anything that has not been answered.
    asked: Instant,
    /// When each probe of this connection was sent that has not been answered, by its number.
    probes: BTreeMap<u64, Instant>,
}

/// Starts the link of this number to a segment on the current runtime.
pub(super) fn start(
    (dbid, number): (Dbid, u64),
    to: Endpoint,
    me: Credentials,
    pace: watch::Receiver<Pace>,
    heard: mpsc::UnboundedSender<Said>,
) -> Link {
    let (order, order_rx) = watch::channel(None);
    let (tell, told) = mpsc::unbounded_channel();
    let kick = Arc::new(Notify::new());
    let runner = Runner {
        dbid,
        number,
        to,
        me,
        pace,
        order: order_rx,
        kick: kick.clone(),
        told,
        heard,
        seq: 0,
        awaited: BTreeMap::new(),
        asked: Instant::now(),
        probes: BTreeMap::new(),
    };
    let task = tokio::spawn(runner.run()).abort_handle();
    Link { number, task, order, kick, tell }
}

impl Runner {
    /// Connects, and connects again at once when the connection ends: a refusal is a witness.
    async fn run(mut self) {
        let mut failures = 0;
        loop {
            let timeout = self.pace.borrow().timeout;
            let there = Identity::Segment(self.dbid);
            self.asked = Instant::now();
            let ended = match connect(&self.to, &self.me, Purpose::Control, Some(&there), timeout).await {
                Ok((stream, _)) => {
                    failures = 0;
                    let ended = self.converse(Framed::new(stream)).await;
                    self.leave_untold(&ended);
                    match ended {
                        // An orderly end is judged by what the next attempt meets.
                        NetError::Closed { .. } => continue,
                        other => other,
                    }
                }
                Err(error) => {
                    self.leave_untold(&error);
                    error
                }
            };
            failures += 1;
            let heard = match &ended {
                NetError::Local(why) => Heard::Hindered { why: why.clone(), asked: self.asked },
                other => Heard::Failed { failure: failure(other), why: other.to_string(), asked: self.asked },
            };
            if !self.say(heard) {
                return;
            }
            if matches!(ended, NetError::Timeout { .. }) {
                continue;
            }
            let pause = if failures <= SOON_TIMES { RETRY_SOON } else { RETRY_LATER };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.kick.notified() => {}
            }
        }
    }

    /// What was asked of a process that can't be reached is answered so, and never reaches the next
    /// process of the same name.
    fn leave_untold(&mut self, because: &NetError) {
        while let Ok(tell) = self.told.try_recv() {
            if let Tell::Drain(reply) | Tell::Hold(_, reply) = tell {
                self.seq += 1;
                self.awaited.insert(self.seq, reply);
            }
        }
        self.probes.clear();
        for (_, reply) in std::mem::take(&mut self.awaited) {
            let _ = reply.send(Err(format!("the connection ended: {because}")));
        }
    }

    async fn converse(&mut self, framed: Framed) -> NetError {
        let (mut to, mut from) = framed.split();
        let mut next = Instant::now();
        let mut deadline: Option<Instant> = None;
        let mut pace = self.pace.clone();
        loop {
            let never = Instant::now() + Duration::from_secs(3600);
            // Biased: what has arrived is read before a deadline is judged.
            let sent = tokio::select! {
                biased;
                message = from.recv::<FromSegment>() => match message {
                    Ok(message) => {
                        if matches!(message, FromSegment::Report { .. }) {
                            deadline = None;
                        }
                        self.take(message);
                        Ok(())
                    }
                    Err(error) => Err(error),
                },
                told = self.told.recv() => match told {
                    Some(tell) => self.tell(&mut to, tell).await,
                    None => Err(NetError::Local("the prober has ended".into())),
                },
                _ = self.order.changed() => self.probe(&mut to, &mut next, &mut deadline).await,
                () = self.kick.notified() => self.probe(&mut to, &mut next, &mut deadline).await,
                () = tokio::time::sleep_until(deadline.unwrap_or(never)), if deadline.is_some() => {
                    Err(self.last_look(&mut from).await)
                }
                // A shorter interval counts from now on, not after the longer one has passed.
                Ok(()) = pace.changed() => {
                    next = next.min(Instant::now() + pace.borrow_and_update().interval);
                    Ok(())
                }
                () = tokio::time::sleep_until(next) => self.probe(&mut to, &mut next, &mut deadline).await,
            };
            if let Err(error) = sent {
                return error;
            }
        }
    }

    /// A deadline has passed; an answer that is already here still counts, on the next connection.
    async fn last_look(&mut self, from: &mut FrameReceiver) -> NetError {
        let within = self.pace.borrow().timeout;
        match tokio::time::timeout(Duration::ZERO, from.recv::<FromSegment>()).await {
            Ok(Ok(message)) => {
                self.take(message);
                NetError::Closed { message: "it answered late".into() }
            }
            Ok(Err(error)) => error,
            Err(_) => NetError::Timeout { within },
        }
    }

    async fn probe(
        &mut self,
        to: &mut FrameSender,
        next: &mut Instant,
        deadline: &mut Option<Instant>,
    ) -> Result<(), NetError> {
        self.seq += 1;
        let pace = *self.pace.borrow();
        let order = self.order.borrow_and_update().clone();
        *next = Instant::now() + pace.interval;
        if deadline.is_none() {
            self.asked = Instant::now();
        }
        // A probe that is still unanswered keeps its own deadline.
        deadline.get_or_insert(Instant::now() + pace.timeout);
        self.probes.insert(self.seq, Instant::now());
        self.send(to, &ToSegment::Probe { seq: self.seq, order }).await
    }

    async fn tell(&mut self, to: &mut FrameSender, tell: Tell) -> Result<(), NetError> {
        self.seq += 1;
        let seq = self.seq;
        let message = match tell {
            Tell::Drain(reply) => {
                self.awaited.insert(seq, reply);
                ToSegment::Drain { seq }
            }
            Tell::Stop(mode) => ToSegment::Stop { seq, mode },
            Tell::Verify(VerifyRequest::Begin { op, rate_bytes }) => ToSegment::Verify { seq, op, rate_bytes },
            Tell::Verify(VerifyRequest::End { op }) => ToSegment::EndVerify { seq, op },
            Tell::Verify(VerifyRequest::Judge) => ToSegment::Judge { seq },
            Tell::Hold(stage, reply) => {
                self.awaited.insert(seq, reply);
                ToSegment::Hold { seq, stage }
            }
        };
        self.send(to, &message).await
    }

    async fn send(&self, to: &mut FrameSender, message: &ToSegment) -> Result<(), NetError> {
        let within = self.pace.borrow().timeout;
        tokio::time::timeout(within, to.send(message)).await.unwrap_or(Err(NetError::Timeout { within }))
    }

    fn take(&mut self, message: FromSegment) {
        let mut answers = None;
        match &message {
            FromSegment::Drained { seq } | FromSegment::Held { seq } => {
                if let Some(reply) = self.awaited.remove(seq) {
                    let _ = reply.send(Ok(()));
                }
            }
            FromSegment::Failed { seq, message } => {
                if let Some(reply) = self.awaited.remove(seq) {
                    let _ = reply.send(Err(message.clone()));
                }
            }
            FromSegment::Report { seq: Some(seq), .. } => {
                // Probes are answered in their order; one that found a full outbox never is.
                let later = self.probes.split_off(&(seq + 1));
                answers = std::mem::replace(&mut self.probes, later).remove(seq);
            }
            FromSegment::Report { seq: None, .. } => {}
        }
        // Nobody listens only when the prober has ended.
        let _ = self.say(Heard::Message { message: Box::new(message), answers });
    }

    /// Returns whether somebody listens.
    fn say(&self, what: Heard) -> bool {
        self.heard.send(Said { dbid: self.dbid, link: self.number, what }).is_ok()
    }
}

/// What a network error is as a witness; [`NetError::Local`] is none, and counts as the mildest. A process
/// that answers with another key is not the segment: the port counts as one that resets. One of another
/// release may well be, and is no proof that the segment is gone.
fn failure(error: &NetError) -> Failure {
    match error {
        NetError::Refused { .. } => Failure::Refused,
        NetError::Closed { .. } => Failure::Reset,
        NetError::Name { .. } | NetError::Route { .. } => Failure::HostSilent,
        NetError::Timeout { .. } | NetError::Local(_) => Failure::Timeout,
        NetError::WrongVersion { ours, theirs } => Failure::OtherRelease { theirs: *theirs, ours: *ours },
        NetError::WrongKey | NetError::WrongPeer { .. } | NetError::WrongPurpose { .. } | NetError::BadFrame(_) => {
            Failure::Reset
        }
        // Of hosts alone: no segment is reached over SSH.
        NetError::HostKeyUnknown { .. }
        | NetError::HostKeyChanged { .. }
        | NetError::Login { .. }
        | NetError::NoProgram { .. } => Failure::Reset,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::ClusterKey;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test]
    async fn a_segment_of_another_release_is_heard_as_that_with_both_versions() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let to = Endpoint::new("127.0.0.1", listener.local_addr().expect("an address").port());
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut hello = [0; 64];
                // Whoever asks may have left by now.
                let _ = stream.read(&mut hello).await;
                let _ = stream.write_all(b"\x89segsh\r\n\x09\0\0\0").await;
            }
        });
        let me = Credentials::new(ClusterKey::from_bytes(&[1; 32]), Identity::Coordinator);
        let pace = Pace { interval: Duration::from_secs(1), timeout: Duration::from_secs(20) };
        let (_pace, paced) = watch::channel(pace);
        let (tell, mut heard) = mpsc::unbounded_channel();
        let _link = start((Dbid(2), 0), to, me, paced, tell);
        let Some(Said { what: Heard::Failed { failure, why, .. }, .. }) = heard.recv().await else {
            panic!("it was heard")
        };
        assert_eq!(failure, Failure::OtherRelease { theirs: 9, ours: crate::net::VERSION });
        assert!(why.contains("both sides must be the same release"), "{why}");
    }
}
