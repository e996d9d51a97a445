//! Plans in a file: kept to be applied later, perhaps by another person.

use super::plan::Plan;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The version of the file: it changes with what a plan holds.
pub const SCHEMA: u64 = 2;
/// The longest file that is read, in bytes.
pub const BYTES_MAX: u64 = 16 << 20;

/// Why a file holds no plans that can be applied.
#[derive(Debug, Error)]
pub enum SavedError {
    /// Another release wrote it.
    #[error("the plan has schema {found}, this release reads schema {SCHEMA}: make it anew, or use that release")]
    OtherSchema {
        /// The schema it was written in.
        found: u64,
    },
    /// It is not what `save` writes.
    #[error("it is no saved plan: {0}")]
    Damaged(String),
}

#[derive(Serialize)]
struct Written<'a> {
    schema: u64,
    plans: &'a [Plan],
}

#[derive(Deserialize)]
struct Read {
    plans: Vec<Plan>,
}

/// Only the schema: it is judged before the rest, which may have changed with it.
#[derive(Deserialize)]
struct OnlySchema {
    schema: u64,
}

/// Plans as the text of a file.
pub fn encode(plans: &[Plan]) -> Result<String, SavedError> {
    let text = serde_json::to_string_pretty(&Written { schema: SCHEMA, plans });
    text.map(|text| text + "\n").map_err(|e| SavedError::Damaged(e.to_string()))
}

/// The plans in the text of a file.
pub fn decode(text: &str) -> Result<Vec<Plan>, SavedError> {
    let damaged = |e: serde_json::Error| SavedError::Damaged(e.to_string());
    let OnlySchema { schema } = serde_json::from_str(text).map_err(damaged)?;
    if schema != SCHEMA {
        return Err(SavedError::OtherSchema { found: schema });
    }
    serde_json::from_str::<Read>(text).map(|read| read.plans).map_err(damaged)
}
