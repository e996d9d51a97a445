//! The pair, model checked: the production machine in a small world, in every order of events.
//!
//! The state ([`world::World`]) holds two production [`Replica`]s on disks of three blocks, the pair's row
//! and what is in flight. What the replicas answer is carried out as the engine does; the row changes only
//! by the production table, by compare-and-set, as the production judge ([`Fts`]) decides on what it is
//! shown. stateright then takes every action in every state within [`world::Bounds`].
//!
//! What is not in this world: time (a deadline is a loss that may come at any moment; read leases are no
//! part of it), lengths of files, full copies, and writes of `main.db` outside a checkpoint.
//!
//! `SEGSH_MODEL=deep` takes larger bounds; `scripts/dev/soak model` does.
//!
//! [`Replica`]: segsh::core::pair::replica::Replica
//! [`Fts`]: segsh::core::fts::Fts

mod action;
mod coordinator;
mod disk;
mod holds;
mod link;
mod mutants;
mod pair;
mod properties;
mod segment;
mod world;
