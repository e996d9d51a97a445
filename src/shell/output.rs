//! Stdout: data and nothing else. A reader that went away is no failure; data that could not be written is one.

use super::document::event;
use serde_json::Value;
use std::cell::{Cell, RefCell};
use std::io::{self, Write};

/// Exit code of a run whose data could not be written: that of error `io`.
const NOT_WRITTEN: i32 = 1;

/// Where `print(...)` and rendered values go.
#[derive(Debug, Default)]
pub struct Output {
    manner: Manner,
    /// `Some` while lines are held back, to be drawn together with what comes of them.
    held: RefCell<Option<String>>,
    /// Nobody reads any more.
    gone: Cell<bool>,
    /// Why data was lost, though somebody reads.
    failed: RefCell<Option<io::Error>>,
}

/// How data reaches stdout.
#[derive(Debug, Default)]
enum Manner {
    /// As it comes.
    #[default]
    Text,
    /// Lines are kept for the one document of `--json`.
    Kept(RefCell<Vec<String>>),
    /// Everything is an event of `--ndjson`, one document a line.
    Events,
}

impl Output {
    /// Straight to stdout.
    pub fn to_stdout() -> Output {
        Output::default()
    }

    /// Kept until [`Output::take`].
    pub fn kept() -> Output {
        Output { manner: Manner::Kept(RefCell::default()), ..Output::default() }
    }

    /// As events.
    pub fn events() -> Output {
        Output { manner: Manner::Events, ..Output::default() }
    }

    /// Whether the lines are kept.
    pub fn is_kept(&self) -> bool {
        matches!(self.manner, Manner::Kept(_))
    }

    /// Whether a person reads it: neither a document nor events.
    pub fn is_text(&self) -> bool {
        matches!(self.manner, Manner::Text)
    }

    /// What was kept so far.
    pub fn take(&self) -> Vec<String> {
        match &self.manner {
            Manner::Kept(kept) => kept.take(),
            Manner::Text | Manner::Events => Vec::new(),
        }
    }

    /// Holds lines back until [`Output::release`].
    pub fn hold(&self) {
        self.held.replace(Some(String::new()));
    }

    /// What was held back, and no more.
    pub fn release(&self) -> String {
        self.held.take().unwrap_or_default()
    }

    /// One text and a line end; a screen brings its own.
    pub fn line(&self, text: &str) {
        if let Some(held) = self.held.borrow_mut().as_mut() {
            held.push_str(text.trim_end_matches('\n'));
            held.push('\n');
            return;
        }
        match &self.manner {
            Manner::Kept(kept) => kept.borrow_mut().push(text.to_string()),
            Manner::Events => self.event("print", serde_json::json!({ "text": text })),
            Manner::Text if text.ends_with('\n') => self.write(text),
            Manner::Text => self.write(&format!("{text}\n")),
        }
    }

    /// Something that happened, with its fields; only `--ndjson` tells it.
    pub fn event(&self, name: &str, fields: Value) {
        if self.is_events() {
            self.write(&format!("{}\n", event(name, fields)));
        }
    }

    /// Whether events are told.
    pub fn is_events(&self) -> bool {
        matches!(self.manner, Manner::Events)
    }

    /// A screen, which brings its line ends, written even when lines are kept.
    pub fn write(&self, text: &str) {
        // Behind what was lost nothing is written, or a reader would take a part for the whole.
        if self.gone.get() || self.failed.borrow().is_some() {
            return;
        }
        let mut stdout = io::stdout().lock();
        match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => self.gone.set(true),
            Err(error) => drop(self.failed.replace(Some(error))),
        }
    }

    /// Says on stderr that data was lost, if it was. What is written from here on is tried again.
    pub fn complain(&self) -> bool {
        let Some(error) = self.failed.take() else { return false };
        say(&format!("error[io]: stdout can't be written: {error}"));
        true
    }

    /// The exit code of a run that is over: what did all it was asked has failed when its data was lost.
    pub fn judged(&self, exit: i32) -> i32 {
        match (self.complain(), exit) {
            (true, 0) => NOT_WRITTEN,
            (_, exit) => exit,
        }
    }

    /// Whether the reader went away: what runs may end, and that is success.
    pub fn is_gone(&self) -> bool {
        self.gone.get()
    }
}

/// A line for a person, on stderr. Nobody may read it any more, which must not end what runs.
pub fn say(text: &str) {
    let mut stderr = io::stderr().lock();
    let end = if text.ends_with('\n') { "" } else { "\n" };
    let _ = stderr.write_all(format!("{text}{end}").as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn held_lines_are_given_back_in_their_order() {
        let output = Output::to_stdout();
        output.hold();
        output.line("one");
        output.line("two\n");
        assert_eq!(output.release(), "one\ntwo\n");
        assert_eq!(output.release(), "");
    }

    #[test]
    fn kept_lines_are_taken_once() {
        let output = Output::kept();
        output.line("one");
        output.line("two");
        assert_eq!(output.take(), ["one", "two"]);
        assert!(output.take().is_empty());
    }
}
