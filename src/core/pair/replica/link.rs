//! The primary's end of an open link: what is queued, what is unanswered, and by when.

use super::{ACK_DEADLINE, PING_INTERVAL, QUEUE_BYTES_MAX, READ_LEASE, Time};
use crate::core::frame::Frame;
use crate::core::pair::primary::Barrier;
use std::collections::VecDeque;
use std::time::Duration;

/// A link's number within its process: a thread or a message of an older one is a stranger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct LinkId(pub u64);

/// An open link, as the primary keeps it. It is born in a recovery and never resumed (R6).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Link {
    queue: VecDeque<Frame>,
    queued_bytes: usize,
    opened: Time,
    /// Barriers sent and not answered, with the moment each was queued.
    waiting: VecDeque<(Barrier, Time)>,
    last_ping: Option<Time>,
    /// When the youngest ping that was answered had been sent.
    last_answered_ping: Time,
    /// Silence before this moment is nobody's fault but ours.
    judged_from: Time,
    pub(super) is_consistent: bool,
}

impl Link {
    pub(super) fn new(now: Time) -> Link {
        Link {
            queue: VecDeque::new(),
            queued_bytes: 0,
            opened: now,
            waiting: VecDeque::new(),
            last_ping: None,
            last_answered_ping: now,
            judged_from: now,
            is_consistent: false,
        }
    }

    pub(super) fn push(&mut self, frame: Frame) {
        self.queued_bytes += frame.wire_bytes();
        self.queue.push_back(frame);
    }

    pub(super) fn push_barrier(&mut self, barrier: Barrier, now: Time) {
        self.waiting.push_back((barrier, now));
        self.push(Frame::Barrier(barrier));
    }

    /// Whether one more write may be queued.
    pub fn has_room(&self) -> bool {
        self.queued_bytes < QUEUE_BYTES_MAX
    }

    /// Bytes queued and not yet handed to the network.
    pub fn queued_bytes(&self) -> usize {
        self.queued_bytes
    }

    /// How many barriers the mirror has not answered.
    pub fn unanswered_barriers(&self) -> usize {
        self.waiting.len()
    }

    /// How long the oldest unanswered barrier has waited.
    pub fn oldest_unanswered(&self, now: Time) -> Option<Duration> {
        self.waiting.front().map(|(_, since)| now.saturating_sub(*since))
    }

    /// The mirror can't have been promoted: it answered a ping that was sent less than a lease ago.
    pub(super) fn lease_holds(&self, now: Time) -> bool {
        now.saturating_sub(self.last_answered_ping) < READ_LEASE
    }

    /// The next frame for the network.
    pub(super) fn pop(&mut self) -> Option<Frame> {
        let frame = self.queue.pop_front()?;
        self.queued_bytes -= frame.wire_bytes();
        Some(frame)
    }

    pub(super) fn answered(&mut self, barrier: Barrier) {
        self.waiting.retain(|(b, _)| *b > barrier);
    }

    pub(super) fn ponged(&mut self, sent_us: u64) {
        let sent = self.opened + Duration::from_micros(sent_us);
        self.last_answered_ping = self.last_answered_ping.max(sent);
    }

    /// How long the mirror has been silent, when that is longer than it may be.
    pub(super) fn overdue(&self, now: Time) -> Option<Duration> {
        let silence = now.saturating_sub(self.last_answered_ping.max(self.judged_from));
        self.oldest_unanswered(now).into_iter().chain([silence]).max().filter(|t| *t > ACK_DEADLINE)
    }

    /// Our own clock stood still (the process was stopped, the machine starved): nothing that
    /// happened meanwhile was seen, so nobody is judged by it.
    pub(super) fn restart_deadlines(&mut self, now: Time) {
        self.judged_from = now;
        self.waiting.iter_mut().for_each(|(_, since)| *since = now);
    }

    /// Queues a ping when one is due.
    pub(super) fn ping(&mut self, now: Time) {
        if self.last_ping.is_none_or(|at| now.saturating_sub(at) >= PING_INTERVAL) {
            self.last_ping = Some(now);
            let sent = now.saturating_sub(self.opened);
            self.push(Frame::Ping(u64::try_from(sent.as_micros()).unwrap_or(u64::MAX)));
        }
    }
}
