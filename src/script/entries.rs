//! The entries of a prompt, so that an error in a function names the entry that defined it.
//!
//! All functions of a prompt live in one tree, and Rhai knows their lines but not which text those are of. So each entry that
//! defines a function keeps lines of its own: the next entry is compiled below them.

use super::error::{Pos, ScriptError};

/// What the prompt is called in positions; an earlier entry is `prompt:3`.
pub(super) const PROMPT: &str = "prompt";

/// Rhai counts lines in 16 bits. Far above any session; beyond it an earlier entry's place is no longer told.
const LINES_MAX: usize = 60_000;

/// One text as it was entered.
struct Entry {
    number: usize,
    /// Its first line in the tree.
    first: usize,
    text: String,
}

impl Entry {
    fn lines(&self) -> usize {
        self.text.lines().count().max(1)
    }
}

/// Where every entry that is still needed stands.
#[derive(Default)]
pub(super) struct Entries {
    kept: Vec<Entry>,
    current: Option<Entry>,
    count: usize,
}

impl Entries {
    /// The text to compile for a new entry: below all that are kept, with `prefix` on the line above it.
    pub fn enter(&mut self, prefix: &str, text: &str) -> String {
        self.count += 1;
        let below = self.kept.last().map_or(1, |last| last.first + last.lines());
        // The prefix has a line of its own, so that no column moves.
        let first = if below < LINES_MAX { below + 1 } else { 2 };
        self.current = Some(Entry { number: self.count, first, text: text.to_string() });
        format!("{}{prefix}\n{text}", "\n".repeat(first - 2))
    }

    /// Keeps the current entry's place: it has defined functions.
    pub fn keep(&mut self) {
        if let Some(entry) = self.current.take() {
            self.kept.retain(|e| e.first < entry.first);
            self.kept.push(entry);
        }
    }

    /// Turns the places of an error into those that were typed.
    pub fn mend(&self, error: &mut ScriptError) {
        if let Some(at) = error.position.take() {
            if at.file == PROMPT {
                let found = self.find(at.line);
                error.source_line = found.and_then(|(e, line)| e.text.lines().nth(line - 1).map(str::to_string));
                error.position = found.map(|(e, line)| self.place(e, line, at.col));
            } else {
                error.position = Some(at);
            }
        }
        for frame in &mut error.call_stack {
            let Some(at) = frame.called_at.take_if(|at| at.file == PROMPT) else { continue };
            frame.called_at = self.find(at.line).map(|(e, line)| self.place(e, line, at.col));
        }
    }

    /// The entry that holds a line of the tree, and the line within it.
    fn find(&self, line: usize) -> Option<(&Entry, usize)> {
        let holds = |e: &&Entry| (e.first..e.first + e.lines()).contains(&line);
        let entry = self.current.iter().chain(self.kept.iter().rev()).find(holds)?;
        Some((entry, line - entry.first + 1))
    }

    fn place(&self, entry: &Entry, line: usize, col: usize) -> Pos {
        let file = if entry.number == self.count { PROMPT.into() } else { format!("{PROMPT}:{}", entry.number) };
        Pos { file, line, col }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::error::ErrorKind;
    use crate::script::thrown::Thrown;

    fn mended(entries: &Entries, line: usize) -> (Option<String>, Option<String>) {
        let mut error = ScriptError::new(ErrorKind::Runtime, Thrown::script("x", "x"));
        error.position = Some(Pos { file: PROMPT.into(), line, col: 4 });
        entries.mend(&mut error);
        (error.position.map(|p| p.to_string()), error.source_line)
    }

    #[test]
    fn a_line_of_the_tree_is_one_of_the_entry_it_was_typed_in() {
        let mut entries = Entries::default();
        assert_eq!(entries.enter("", "let x = 5"), "\nlet x = 5");
        assert_eq!(entries.enter("", "fn f() {\n  g()\n}"), "\nfn f() {\n  g()\n}");
        entries.keep();
        let whole = entries.enter("import \"a\" as a; ", "f()");
        assert_eq!(whole.lines().nth(5), Some("f()"), "{whole:?}");
        assert_eq!(mended(&entries, 6), (Some("prompt:1:4".into()), Some("f()".into())));
        assert_eq!(mended(&entries, 3), (Some("prompt:2:2:4".into()), Some("  g()".into())));
        assert_eq!(mended(&entries, 5), (None, None), "the imports are nobody's line");
    }
}
