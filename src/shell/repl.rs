//! The prompt: read a line, evaluate it, show its value, again.

use super::evaluator::{Evaluated, Evaluator, Failure};
use super::history;
use super::line::{LineHelper, Name};
use super::prompt;
use super::render::Screens;
use super::ui::ShellUi;
use crate::cluster::State;
use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;
use rustyline::{CompletionType, Config, Editor};
use std::path::PathBuf;
use std::rc::Rc;
use thiserror::Error;

/// Why there is no prompt.
#[derive(Debug, Error)]
pub enum ReplError {
    #[error("the terminal cannot be used for editing: {0}")]
    Editor(#[from] ReadlineError),
}

/// What a prompt needs beside the engine.
pub struct ReplConfig {
    /// The cluster's name as the prompt shows it.
    pub name: String,
    pub drill: bool,
    /// Lines above the first prompt.
    pub greeting: Vec<String>,
    /// API names for completion.
    pub names: Vec<Name>,
    /// Whether an entry needs another line.
    pub is_incomplete: Rc<dyn Fn(&str) -> bool>,
    /// The state behind the prompt's hints; `None` when nobody knows.
    pub state: Rc<dyn Fn() -> Option<State>>,
    /// Asked before leaving; `false` stays.
    pub may_leave: Rc<dyn Fn() -> bool>,
    /// `None` keeps no history.
    pub history: Option<PathBuf>,
}

/// A prompt over an engine.
pub struct Repl<'a> {
    config: ReplConfig,
    ui: Rc<ShellUi>,
    /// The screens of stdout.
    screens: Screens,
    evaluator: &'a mut dyn Evaluator,
    editor: Editor<LineHelper, FileHistory>,
}

/// What a line asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Entry {
    Nothing,
    Leave,
    Evaluate(String),
}

impl<'a> Repl<'a> {
    /// Prepares the editor and the history.
    pub fn new(
        config: ReplConfig,
        ui: Rc<ShellUi>,
        screens: Screens,
        evaluator: &'a mut dyn Evaluator,
    ) -> Result<Repl<'a>, ReplError> {
        let settings = Config::builder()
            .completion_type(CompletionType::List)
            .completion_show_all_if_ambiguous(true)
            .history_ignore_space(true)
            .auto_add_history(false)
            .build();
        let mut editor = Editor::with_history(settings.clone(), FileHistory::with_config(&settings))?;
        editor.set_helper(Some(LineHelper {
            names: config.names.clone(),
            is_incomplete: Rc::clone(&config.is_incomplete),
            style: screens.style().clone(),
        }));
        let mut repl = Repl { config, ui, screens, evaluator, editor };
        repl.load_history();
        Ok(repl)
    }

    /// Reads and evaluates until it is left; the process's exit code.
    pub fn run(&mut self) -> Result<i32, ReplError> {
        for line in &self.config.greeting {
            self.ui.output().write(&format!("{line}\n"));
        }
        loop {
            let prompt = self.prompt();
            let editor = &mut self.editor;
            let read = self.ui.signals().while_idle(|| editor.readline(&prompt));
            let entry = match read {
                Ok(line) => {
                    self.remember(&line);
                    entry(&line)
                }
                Err(ReadlineError::Interrupted) => Entry::Nothing,
                Err(ReadlineError::Eof) => Entry::Leave,
                Err(error) => return Err(error.into()),
            };
            if let Some(code) = self.obey(entry) {
                return Ok(code);
            }
        }
    }

    /// `Some` ends the prompt.
    fn obey(&mut self, entry: Entry) -> Option<i32> {
        match entry {
            Entry::Nothing => None,
            Entry::Leave => (self.config.may_leave)().then_some(0),
            Entry::Evaluate(text) => {
                let code = self.evaluate(&text);
                if self.ui.signals().ending() {
                    return Some(130);
                }
                code.filter(|_| (self.config.may_leave)())
            }
        }
    }

    fn prompt(&self) -> String {
        let state = (self.config.state)();
        prompt::text(&self.config.name, self.config.drill, state.as_ref())
    }

    fn evaluate(&mut self, text: &str) -> Option<i32> {
        self.ui.begin_line();
        let result = self.evaluator.eval_line(text);
        match result {
            Ok(value) => {
                self.show(&value);
                value.exit
            }
            Err(failure) => {
                self.complain(*failure);
                None
            }
        }
    }

    fn show(&self, value: &Evaluated) {
        let shown = value.told && self.ui.has_shown_an_end();
        if let (false, Some(text)) = (shown, &value.text) {
            self.ui.output().write(&ended_line(text));
        }
    }

    /// The end of an operation has said already what an error made of it would repeat.
    fn complain(&self, mut failure: Failure) {
        if self.ui.has_shown_end_of(failure.view.op) {
            return;
        }
        if self.ui.signals().interrupted() {
            // The terminal has just echoed `^C`.
            self.ui.say("");
        }
        failure.view.at_prompt = true;
        self.ui.say(&self.screens.error(&failure.view));
    }

    fn load_history(&mut self) {
        let Some(path) = &self.config.history else {
            return;
        };
        let loaded = history::prepare(path).map_err(ReadlineError::from).and_then(|()| self.editor.load_history(path));
        if let Err(error) = loaded {
            tracing::warn!(%error, path = %path.display(), "no history is kept");
            self.config.history = None;
        }
    }

    /// Each line is written at once, so that a shell that is killed forgets nothing.
    fn remember(&mut self, line: &str) {
        if !history::keeps(line) {
            return;
        }
        let kept = self.editor.add_history_entry(line).and_then(|added| match &self.config.history {
            Some(path) if added => self.editor.append_history(path),
            _ => Ok(()),
        });
        if let Err(error) = kept {
            tracing::warn!(%error, "the line was not written to the history");
        }
    }
}

/// A text that ends its line.
pub(super) fn ended_line(text: &str) -> String {
    if text.ends_with('\n') { text.to_string() } else { format!("{text}\n") }
}

/// First words that work without parentheses; everything else is Rhai.
fn entry(line: &str) -> Entry {
    let text = line.trim();
    if text.is_empty() {
        return Entry::Nothing;
    }
    if let Some(topic) = text.strip_prefix('?') {
        return Entry::Evaluate(help_call(topic));
    }
    let (first, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    match (first, rest.trim()) {
        ("quit" | "exit" | "quit;" | "exit;" | "quit()" | "exit()", "") => Entry::Leave,
        ("help", topic) if is_topic(topic) => Entry::Evaluate(help_call(topic)),
        _ => Entry::Evaluate(line.to_string()),
    }
}

/// `help recover` is a question; `help == 3` is Rhai that says what is wrong with it.
fn is_topic(text: &str) -> bool {
    text.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | ':' | '(' | ')'))
}

fn help_call(topic: &str) -> String {
    let topic = topic.trim().trim_end_matches("()");
    if topic.is_empty() {
        "help()".to_string()
    } else {
        // Debug quoting is Rhai's own for the characters a topic can have.
        format!("help({topic:?})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_words_work_bare() {
        let evaluates = |text: &str| Entry::Evaluate(text.into());
        assert_eq!(entry("quit"), Entry::Leave);
        assert_eq!(entry(" exit "), Entry::Leave);
        assert_eq!(entry("exit()"), Entry::Leave);
        assert_eq!(entry("?"), evaluates("help()"));
        assert_eq!(entry("? recover"), evaluates("help(\"recover\")"));
        assert_eq!(entry("help"), evaluates("help()"));
        assert_eq!(entry("help recover()"), evaluates("help(\"recover\")"));
        assert_eq!(entry("help fault::kill"), evaluates("help(\"fault::kill\")"));
        assert_eq!(entry("   "), Entry::Nothing);
    }

    #[test]
    fn everything_else_is_rhai() {
        for line in ["exit(3)", "help(\"x\")", "help == 3", "let quit = 1", "recover()"] {
            assert_eq!(entry(line), Entry::Evaluate(line.into()));
        }
    }
}
