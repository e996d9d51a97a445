//! Connections between processes: ordered, delayed, cut; what is in flight at an end arrives or not.

use crate::random::Random;
use segsh::core::frame::Frame;
use std::collections::VecDeque;

/// An end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    Primary,
    Mirror,
}

/// What arrives.
#[derive(Debug, Clone, PartialEq)]
pub enum Item {
    Frame(Frame),
    /// The other end closed the connection, or its process is gone.
    Closed,
}

/// One direction.
#[derive(Debug, Clone, Default)]
struct Way {
    items: VecDeque<(u64, Item)>,
    last_arrival: u64,
    /// Nothing arrives before this, in microseconds of the world.
    silent_until: u64,
    /// Whoever sends has closed it.
    ended: bool,
    /// Whoever receives has closed it: what is sent is lost, and the sender has not heard of it yet.
    deaf: bool,
}

/// A replication connection. Times are microseconds of the world.
#[derive(Debug, Clone)]
pub struct Connection {
    pub primary: (usize, u32),
    pub mirror: (usize, u32),
    to_primary: Way,
    to_mirror: Way,
}

/// Frames that the network holds for a receiver that does not read.
const CAPACITY: usize = 96;

impl Connection {
    pub fn new(primary: (usize, u32), mirror: (usize, u32), silent_until: u64) -> Connection {
        let way = Way { silent_until, ..Way::default() };
        Connection { primary, mirror, to_primary: way.clone(), to_mirror: way }
    }

    fn way(&mut self, to: End) -> &mut Way {
        match to {
            End::Primary => &mut self.to_primary,
            End::Mirror => &mut self.to_mirror,
        }
    }

    pub fn has_room(&self, to: End) -> bool {
        let way = if to == End::Primary { &self.to_primary } else { &self.to_mirror };
        way.items.len() < CAPACITY
    }

    /// Sends an item; `false` when this way has ended.
    pub fn send(&mut self, to: End, item: Item, now: u64, delay: u64) -> bool {
        let way = self.way(to);
        if way.ended {
            return false;
        }
        way.ended = item == Item::Closed;
        if way.deaf {
            return true;
        }
        way.last_arrival = (now + delay).max(way.last_arrival + 1).max(way.silent_until);
        way.items.push_back((way.last_arrival, item));
        true
    }

    /// When the next item arrives.
    pub fn next_arrival(&self, at: End) -> Option<u64> {
        let way = if at == End::Primary { &self.to_primary } else { &self.to_mirror };
        way.items.front().map(|(at, _)| *at)
    }

    pub fn receive(&mut self, at: End, now: u64) -> Option<Item> {
        let way = self.way(at);
        let arrived = way.items.front().is_some_and(|(at, _)| *at <= now);
        arrived.then(|| way.items.pop_front()).flatten().map(|(_, item)| item)
    }

    /// Everything under way, and what is sent from now on, comes later.
    pub fn silence(&mut self, until: u64) {
        [End::Primary, End::Mirror].into_iter().for_each(|end| self.stick(end, until));
    }

    /// The same, one way only.
    pub fn stick(&mut self, to: End, until: u64) {
        let way = self.way(to);
        way.silent_until = way.silent_until.max(until);
        for (at, _) in &mut way.items {
            *at = (*at).max(until);
        }
        way.last_arrival = way.last_arrival.max(until);
    }

    /// What was held up arrives, one after the other.
    pub fn release(&mut self, to: End, now: u64) {
        let way = self.way(to);
        way.silent_until = now;
        for (number, (at, _)) in way.items.iter_mut().enumerate() {
            *at = (*at).min(now + 1 + number as u64);
        }
        way.last_arrival = way.items.back().map_or(now, |(at, _)| *at);
    }

    /// What has not arrived may be lost from some point on; then this way ends.
    pub fn end_way(&mut self, to: End, now: u64, delay: u64, random: &mut Random) {
        let way = self.way(to);
        if way.ended {
            return;
        }
        let arrived = way.items.iter().filter(|(at, _)| *at <= now).count();
        let kept = arrived + random.below((way.items.len() - arrived) as u64 + 1) as usize;
        way.items.truncate(kept);
        self.send(to, Item::Closed, now, delay);
    }

    /// An end closes the connection: the other hears so, and itself hears nothing that had not arrived.
    pub fn close(&mut self, by: End, now: u64, delay: u64, random: &mut Random) {
        let other = if by == End::Primary { End::Mirror } else { End::Primary };
        self.end_way(other, now, delay, random);
        let mine = self.way(by);
        mine.items.retain(|(at, item)| *at <= now && *item != Item::Closed);
        mine.items.push_back((now, Item::Closed));
        mine.deaf = true;
    }

    /// Planted: what is under way is lost, and nobody is told.
    pub fn drop_quietly(&mut self, now: u64) {
        for way in [&mut self.to_primary, &mut self.to_mirror] {
            way.items.retain(|(at, item)| *at <= now || *item == Item::Closed);
        }
    }

    pub fn is_idle(&self) -> bool {
        self.to_primary.items.is_empty() && self.to_mirror.items.is_empty()
    }
}
