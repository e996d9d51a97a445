//! The whole path, end to end: the real binary, real processes, real signals, Debian's own clients.
//!
//! One module a concern, one test a property; the harness is in `tests/support`. Each test has a cluster
//! of its own in a temporary directory and leaves neither a process nor a file behind.

#[path = "../support/mod.rs"]
mod support;

mod administrators;
mod adopt;
mod automation;
mod backup;
mod clock;
mod confirmations;
mod coordinator;
mod damaged;
mod dead;
mod demo;
mod during_recovery;
mod exit_codes;
mod failover;
mod full_copy;
mod hung;
mod in_flight;
mod interrupts;
mod kill_loop;
mod library;
mod lifecycle;
mod limits;
mod mirrorless;
mod moved;
mod network;
mod newcomer;
mod over_ssh;
mod overrides;
mod pause;
mod postgres;
mod primitives;
mod procedure_table;
mod procedures;
mod proxy;
mod recovery;
mod refusals;
mod shell;
mod terminal;
mod utilities;
mod verify;
