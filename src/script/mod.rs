//! What a script sees: the Rhai engine profile and the API.
//!
//! A [`Session`] is one engine on one cluster. It knows the cluster by its trait and the person in
//! front by [`ui::Ui`] and [`ui::Renderer`]; it prints nothing by itself.

mod api;
mod catalog;
mod check;
mod context;
mod engine;
mod entries;
mod error;
mod help;
mod incomplete;
pub mod json;
mod letters;
mod library;
mod modules;
mod near;
mod options;
mod parameters;
mod places;
mod record;
mod reference;
mod rehearsal;
mod scan;
mod sequence;
mod session;
mod thrown;
mod traps;
mod types;
pub mod ui;
mod units;
mod utility;

pub use api::record_docs;
pub use catalog::{Damage as Grade, Entry, catalog, find};
pub use check::{Finding, Severity, is_of_the_language};
pub use context::OpRecord;
pub use error::{ErrorKind, Frame, Pos, ScriptError};
pub use help::{ERROR_CODES, EXIT_CODES, about as help_about, overview as help_overview, subjects as help_subjects};
pub use incomplete::is_incomplete;
pub use library::{LibraryModule, TestFunction};
pub use modules::{procedure_docs, std_docs};
pub use near::near_miss;
pub use options::{Kind, OptionDoc};
pub use record::FieldDoc;
pub use reference::reference;
pub use rehearsal::Rehearsed;
pub use sequence::merged;
pub use session::{ScriptValue, Session, SessionConfig};
pub use thrown::Thrown;
pub use traps::TRAPS;
pub use types::{
    Member, MemberKind, OpenCall, OpenOptions, Type, members, open_call, open_call_in, type_of_chain, type_of_chain_in,
};
pub use units::{UnitError, duration_ms, rate_bytes, size_bytes};
