//! The script API on a cluster that is a value: plans, the language's traps, procedures, errors.

mod catalog;
mod changes;
mod check;
mod differences;
mod errors;
mod explanations;
mod fake;
mod hooks;
mod language;
mod modules;
mod moves;
mod outcomes;
mod plans;
mod procedures;
mod records;
mod rehearsals;
mod suite;
mod traps;
mod utilities;
