//! The prepared statements of a session, which outlive the segment that parsed them.

use super::frame::Frame;
use bytes::Bytes;
use std::collections::HashMap;

/// The upstream connections of one session, counted from 1. No upstream is number 0.
pub(super) type Generation = u64;

#[derive(Debug)]
struct Stored {
    parse: Frame,
    text: Bytes,
    /// The upstream that knows it.
    generation: Generation,
}

/// Statements by their name; the unnamed one is among them.
#[derive(Debug, Default)]
pub(super) struct Prepared {
    by_name: HashMap<Bytes, Stored>,
}

impl Prepared {
    /// The text of a statement.
    pub fn text(&self, name: &Bytes) -> Option<&Bytes> {
        self.by_name.get(name).map(|s| &s.text)
    }

    /// The Parse that this upstream needs before the statement can be used on it.
    pub fn missing(&self, name: &Bytes, upstream: Generation) -> Option<&Frame> {
        self.by_name.get(name).filter(|s| s.generation != upstream).map(|s| &s.parse)
    }

    /// The upstream has parsed it.
    pub fn insert(&mut self, name: Bytes, text: Bytes, parse: Frame, generation: Generation) {
        let stored = Stored { parse, text, generation };
        self.by_name.insert(name, stored);
    }

    /// The upstream has parsed it again.
    pub fn parsed_again(&mut self, name: &Bytes, generation: Generation) {
        if let Some(stored) = self.by_name.get_mut(name) {
            stored.generation = generation;
        }
    }

    /// Closed or deallocated.
    pub fn remove(&mut self, name: &[u8]) {
        self.by_name.remove(name);
    }

    /// DEALLOCATE ALL, DISCARD ALL.
    pub fn clear(&mut self) {
        self.by_name.clear();
    }
}
