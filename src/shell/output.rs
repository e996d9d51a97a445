//! Stdout: data and nothing else, and a reader that went away is no failure.

use std::cell::{Cell, RefCell};
use std::io::{self, Write};

/// Where `print(...)` and rendered values go.
#[derive(Debug, Default)]
pub struct Output {
    /// `Some` keeps the lines for the one document of `--json`.
    kept: Option<RefCell<Vec<String>>>,
    /// `Some` while lines are held back, to be drawn together with what comes of them.
    held: RefCell<Option<String>>,
    gone: Cell<bool>,
}

impl Output {
    /// Straight to stdout.
    pub fn to_stdout() -> Output {
        Output::default()
    }

    /// Kept until [`Output::take`].
    pub fn kept() -> Output {
        Output { kept: Some(RefCell::default()), ..Output::default() }
    }

    /// Whether the lines are kept.
    pub fn is_kept(&self) -> bool {
        self.kept.is_some()
    }

    /// What was kept so far.
    pub fn take(&self) -> Vec<String> {
        self.kept.as_ref().map(RefCell::take).unwrap_or_default()
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
        match &self.kept {
            Some(kept) => kept.borrow_mut().push(text.to_string()),
            None if text.ends_with('\n') => self.write(text),
            None => self.write(&format!("{text}\n")),
        }
    }

    /// A screen, which brings its line ends, written even when lines are kept.
    pub fn write(&self, text: &str) {
        if self.gone.get() {
            return;
        }
        let mut stdout = io::stdout().lock();
        let written = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
        if let Err(error) = written {
            if error.kind() != io::ErrorKind::BrokenPipe {
                tracing::warn!(%error, "stdout cannot be written");
            }
            self.gone.set(true);
        }
    }

    /// Whether the reader went away: what runs may end, and that is success.
    pub fn is_gone(&self) -> bool {
        self.gone.get()
    }
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
