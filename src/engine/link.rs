//! The primary's end of a replication link: a bounded queue, and the threads that carry it.
//!
//! A link is born in a recovery and ends with the first lost connection; it is never resumed (R6).

use super::state::{ACK_DEADLINE, Engine, Part, READ_LEASE};
use crate::core::frame::{Frame, FrameError, HEADER_BYTES};
use crate::core::pair::primary::Barrier;
use crate::core::report::MirrorLoss;
use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Bytes queued before a writer waits.
const QUEUE_BYTES_MAX: usize = 8 << 20;
const PING_INTERVAL: Duration = Duration::from_millis(200);
/// The clock's step; a step that took longer than [`LATE`] voids the deadlines it would judge.
const CLOCK_STEP: Duration = Duration::from_millis(50);
const LATE: Duration = Duration::from_millis(500);
/// Bytes that one write to the socket carries at most.
const BATCH_BYTES: usize = 1 << 20;

/// The state of an open link, under the engine's lock.
pub(super) struct Link {
    stream: TcpStream,
    queue: VecDeque<Frame>,
    queued_bytes: usize,
    opened: Instant,
    /// Barriers sent and not answered, with the moment each was queued.
    waiting: VecDeque<(Barrier, Instant)>,
    /// When the youngest ping that was answered had been sent.
    last_answered_ping: Instant,
    /// Silence before this moment is nobody's fault but ours.
    judged_from: Instant,
    pub is_consistent: bool,
}

impl Link {
    pub fn new(stream: TcpStream) -> Link {
        let now = Instant::now();
        Link {
            stream,
            queue: VecDeque::new(),
            queued_bytes: 0,
            opened: now,
            waiting: VecDeque::new(),
            last_answered_ping: now,
            judged_from: now,
            is_consistent: false,
        }
    }

    pub fn push(&mut self, frame: Frame) {
        self.queued_bytes += frame.wire_bytes();
        self.queue.push_back(frame);
    }

    pub fn push_barrier(&mut self, barrier: Barrier) {
        self.waiting.push_back((barrier, Instant::now()));
        self.push(Frame::Barrier(barrier));
    }

    pub fn has_room(&self, bytes: usize) -> bool {
        self.queue.is_empty() || self.queued_bytes + bytes <= QUEUE_BYTES_MAX
    }

    pub fn queued_bytes(&self) -> usize {
        self.queued_bytes
    }

    pub fn unanswered_barriers(&self) -> usize {
        self.waiting.len()
    }

    /// The mirror can't have been promoted: it answered a ping that was sent less than a lease ago.
    pub fn lease_holds(&self) -> bool {
        self.last_answered_ping.elapsed() < READ_LEASE
    }

    pub fn close(self) {
        // An error here only says that the connection is gone already.
        let _ = self.stream.shutdown(Shutdown::Both);
    }

    fn take_batch(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        while bytes.len() < BATCH_BYTES {
            let Some(frame) = self.queue.pop_front() else { break };
            self.queued_bytes -= frame.wire_bytes();
            frame.encode(&mut bytes);
        }
        bytes
    }

    fn overdue(&self) -> Option<Duration> {
        let oldest_sync = self.waiting.front().map(|(_, since)| since.elapsed());
        let silence = self.last_answered_ping.max(self.judged_from).elapsed();
        oldest_sync.into_iter().chain([silence]).max().filter(|t| *t > ACK_DEADLINE)
    }

    /// Our own clock stood still (the process was stopped, the machine starved): nothing that
    /// happened meanwhile was seen, so nobody is judged by it.
    fn restart_deadlines(&mut self) {
        let now = Instant::now();
        self.judged_from = now;
        self.waiting.iter_mut().for_each(|(_, since)| *since = now);
    }
}

/// Why reading a frame failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    #[error("the other end is gone")]
    Ended,
    #[error("{0}")]
    Io(io::Error),
    #[error("{0}")]
    Frame(#[from] FrameError),
}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> ReadError {
        use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
        match error.kind() {
            // However the end of a process shows on its connections, it is the same news.
            UnexpectedEof | ConnectionReset | ConnectionAborted | BrokenPipe => ReadError::Ended,
            _ => ReadError::Io(error),
        }
    }
}

pub(super) fn read_frame(stream: &mut impl Read) -> Result<Frame, ReadError> {
    let mut header = [0; HEADER_BYTES];
    stream.read_exact(&mut header)?;
    let header = Frame::header(header)?;
    let mut body = vec![0; header.body_len as usize];
    stream.read_exact(&mut body)?;
    Ok(Frame::decode(header, body)?)
}

pub(super) fn write_frame(stream: &mut impl Write, frame: &Frame) -> io::Result<()> {
    let mut bytes = Vec::new();
    frame.encode(&mut bytes);
    stream.write_all(&bytes)
}

impl Engine {
    /// Starts the threads of the link that was just put into place under `link_id`.
    pub(super) fn run_link(self: &Arc<Engine>, link_id: u64, stream: &TcpStream) -> io::Result<()> {
        let spawn = |name: &str, run: Box<dyn FnOnce() + Send>| {
            std::thread::Builder::new().name(name.to_owned()).spawn(run).map(drop)
        };
        let (engine, mut writer) = (self.clone(), stream.try_clone()?);
        spawn("link-send", Box::new(move || engine.send_frames(link_id, &mut writer)))?;
        let (engine, mut reader) = (self.clone(), stream.try_clone()?);
        spawn("link-receive", Box::new(move || engine.receive_answers(link_id, &mut reader)))?;
        let engine = self.clone();
        spawn("link-clock", Box::new(move || engine.watch_link(link_id)))
    }

    fn send_frames(&self, link_id: u64, stream: &mut TcpStream) {
        loop {
            let mut inner = self.lock();
            let batch = loop {
                if inner.link_id != link_id {
                    return;
                }
                let Part::Acting(acting) = &mut inner.part else { return };
                let Some(link) = &mut acting.link else { return };
                let batch = link.take_batch();
                if !batch.is_empty() {
                    break batch;
                }
                inner = self.wait(inner);
            };
            drop(inner);
            // Room in the queue: writers that waited for it go on.
            self.changed.notify_all();
            if let Err(error) = stream.write_all(&batch) {
                return self.mirror_is_lost(link_id, MirrorLoss::LinkClosed(ReadError::from(error).to_string()));
            }
        }
    }

    fn receive_answers(&self, link_id: u64, stream: &mut TcpStream) {
        loop {
            let frame = match read_frame(stream) {
                Ok(frame) => frame,
                Err(error) => return self.mirror_is_lost(link_id, MirrorLoss::LinkClosed(error.to_string())),
            };
            let mut inner = self.lock();
            if inner.link_id != link_id {
                return;
            }
            let Part::Acting(acting) = &mut inner.part else { return };
            let Some(link) = &mut acting.link else { return };
            match frame {
                Frame::Synced(barrier) => {
                    acting.primary.answered(barrier);
                    link.waiting.retain(|(b, _)| *b > barrier);
                }
                Frame::Pong(sent_us) => {
                    let sent = link.opened + Duration::from_micros(sent_us);
                    link.last_answered_ping = link.last_answered_ping.max(sent);
                }
                Frame::IsConsistent => link.is_consistent = true,
                Frame::Hashes { file, offset, held } => {
                    if let Err(error) = self.take_hashes(&mut inner, file, offset, &held) {
                        drop(inner);
                        return self.mirror_is_lost(link_id, MirrorLoss::LinkClosed(error.to_string()));
                    }
                }
                Frame::Failed(why) => {
                    drop(inner);
                    return self.mirror_is_lost(link_id, MirrorLoss::MirrorDisk(why));
                }
                other => {
                    let why = format!("the mirror broke the protocol with {other:?}");
                    drop(inner);
                    return self.mirror_is_lost(link_id, MirrorLoss::LinkClosed(why));
                }
            }
            drop(inner);
            self.changed.notify_all();
        }
    }

    /// Sends pings and judges deadlines, while the link is ours.
    fn watch_link(&self, link_id: u64) {
        let (mut last_step, mut last_ping) = (Instant::now(), None::<Instant>);
        let mut inner = self.lock();
        loop {
            if inner.link_id != link_id {
                return;
            }
            let Part::Acting(acting) = &mut inner.part else { return };
            let Some(link) = &mut acting.link else { return };
            if last_step.elapsed() > LATE {
                link.restart_deadlines();
            } else if let Some(waited) = link.overdue() {
                drop(inner);
                return self.mirror_is_lost(link_id, MirrorLoss::Silent { waited_ms: waited.as_millis() as u64 });
            }
            last_step = Instant::now();
            if last_ping.is_none_or(|at| at.elapsed() >= PING_INTERVAL) {
                last_ping = Some(last_step);
                let sent_us = link.opened.elapsed().as_micros() as u64;
                link.push(Frame::Ping(sent_us));
                self.changed.notify_all();
            }
            drop(inner);
            std::thread::sleep(CLOCK_STEP);
            inner = self.lock();
        }
    }
}
