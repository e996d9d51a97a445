//! What FTS saw of a content and what it decided from it, for whoever asks why.

use crate::core::ids::Content;
use serde::{Deserialize, Serialize};

/// What is known of a content at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    pub content: Content,
    /// What is known of each member now, in words, with ages.
    pub now: Vec<String>,
    /// What was seen in the last rounds, oldest first. It lives as long as the coordinator does.
    pub seen: Vec<Observed>,
    /// The last decisions, oldest first, from the catalog: they survive the coordinator.
    pub decisions: Vec<Decided>,
}

/// One observation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observed {
    /// How long ago on a clock that nobody sets, in milliseconds.
    pub age_ms: i64,
    /// When by the coordinator's calendar, in Unix milliseconds.
    pub time_ms: i64,
    /// What was seen, in words.
    pub what: String,
}

/// One decision, with what was seen when it was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decided {
    /// When, as the history writes it.
    pub time: String,
    /// Why, in a sentence.
    pub reason: String,
    /// What was known of each member, then what the last rounds had seen.
    pub seen: Vec<String>,
}
