//! The script API on a cluster that is a value: plans, the language's traps, procedures, errors.

mod catalog;
mod changes;
mod check;
mod errors;
mod fake;
mod language;
mod modules;
mod plans;
mod procedures;
mod records;
