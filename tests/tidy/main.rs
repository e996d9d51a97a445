//! What holds about the project's own text: which module may know which, what the code never does,
//! and that the documents say what the code says.
//!
//! These tests read files and link nothing of the crate, so they also judge what does not compile
//! yet. Every failure says which property broke, where, and what to do.

mod arrows;
mod codes;
mod constants;
mod documents;
mod files;
mod rules;
mod source;

/// Fails with every finding at once, each on a line of its own.
#[track_caller]
fn expect_none(property: &str, findings: Vec<String>) {
    assert!(findings.is_empty(), "{property}\nbroken {} times:\n  {}", findings.len(), findings.join("\n  "));
}
