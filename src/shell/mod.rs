//! What a person sees: screens, prompt, questions, progress; and what a batch job sees instead.

pub mod batch;
pub mod check;
pub mod confirm;
pub mod document;
pub mod engine;
pub mod evaluator;
pub mod front;
pub mod history;
pub mod line;
pub mod logging;
pub mod output;
pub mod prompt;
pub mod render;
pub mod repl;
pub mod restart_watch;
pub mod run;
pub mod signals;
pub mod terminal;
pub mod ui;
pub mod watch;
