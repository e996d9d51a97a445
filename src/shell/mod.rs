//! What a person sees: screens, prompt, questions, progress; and what a batch job sees instead.

pub mod bare;
pub mod batch;
pub mod commands;
pub mod complete;
pub mod confirm;
pub mod document;
pub mod engine;
pub mod evaluator;
pub mod frames;
pub mod front;
pub mod highlight;
pub mod hint;
pub mod history;
pub mod line;
pub mod logging;
pub mod notices;
pub mod output;
pub mod prompt;
pub mod render;
pub mod repl;
pub mod run;
pub mod signals;
pub mod snapshot;
pub mod terminal;
pub mod ui;
pub mod watch;
