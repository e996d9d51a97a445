//! The pure core: what a pair of segments may do, decided without a clock, a socket, a file or a thread.
//!
//! Everything here is `state and event in, new state and effects out`. The segment process, the
//! coordinator, the tests and (later) the simulator run this same code.
//!
//! Invariant: nothing below this module imports another module of the crate, or `std::{fs, net,
//! thread, time::Instant::now, process}`. A test holds that.

pub mod adopt;
pub mod backup;
pub mod calendar;
pub mod format;
pub mod frame;
pub mod fts;
pub mod ids;
pub mod latency;
pub mod operation;
pub mod pace;
pub mod pair;
pub mod report;
pub mod row;
pub mod track;
pub mod transition;
pub mod unsynced;
pub mod verify;
pub mod wal;
