//! What a script sees: the Rhai engine profile and the API.

pub mod ui;
