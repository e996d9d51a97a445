//! The prompt: read a line, evaluate it, show its value, again.

use super::bare::{self, Entry, entry};
use super::commands::{self, Command, Shape};
use super::evaluator::{Evaluated, Evaluator, Failure};
use super::frames::Frames;
use super::history;
use super::line::LineHelper;
use super::notices;
use super::prompt::{self, About};
use super::render::format::{clock, elapsed_ms};
use super::render::{Paint, Screens, Style, vertical, would};
use super::snapshot::{Look, Snapshot, Watcher};
use super::terminal;
use super::ui::ShellUi;
use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;
use rustyline::{ColorMode, CompletionType, Config, Editor, ExternalPrinter};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use thiserror::Error;

/// A prompt waits no longer than this for what it shows. A coordinator that answers does so in a
/// millisecond; what does not come in time is shown by the next prompt.
const REFRESH_WITHIN: Duration = Duration::from_millis(250);
/// How often a pause of `:watch` looks for Ctrl-C and for a resize.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Lines of history that are kept.
const HISTORY_LINES: usize = 10_000;

/// Why there is no prompt.
#[derive(Debug, Error)]
pub enum ReplError {
    #[error("the terminal cannot be used for editing: {0}")]
    Editor(#[from] ReadlineError),
    #[error("the cluster cannot be watched: {0}")]
    Watcher(#[from] std::io::Error),
}

/// What a prompt needs beside the engine.
pub struct ReplConfig {
    /// The cluster's name as the prompt shows it.
    pub name: String,
    pub drill: bool,
    /// The whole session is a rehearsal, and stays one.
    pub dry_run: bool,
    /// Lines above the first prompt.
    pub greeting: Vec<String>,
    /// Whether an entry needs another line.
    pub is_incomplete: Rc<dyn Fn(&str) -> bool>,
    /// Looks at the cluster, over a connection that nothing else uses; `None` without a cluster.
    pub look: Option<Look>,
    /// Asked before leaving; `false` stays.
    pub may_leave: Rc<dyn Fn() -> bool>,
    /// `None` keeps no history.
    pub history: Option<PathBuf>,
}

/// A prompt over an engine.
pub struct Repl<'a> {
    config: ReplConfig,
    about: About,
    ui: Rc<ShellUi>,
    /// The screens of stdout.
    screens: Screens,
    evaluator: &'a mut dyn Evaluator,
    editor: Editor<LineHelper, FileHistory>,
    snapshot: Arc<Snapshot>,
    /// Keeps the snapshot fresh while the prompt is there.
    _watcher: Option<Watcher>,
    shape: Shape,
    timing: bool,
}

impl<'a> Repl<'a> {
    /// Prepares the editor and the history, and begins to look at the cluster.
    pub fn new(
        config: ReplConfig,
        ui: Rc<ShellUi>,
        screens: Screens,
        evaluator: &'a mut dyn Evaluator,
    ) -> Result<Repl<'a>, ReplError> {
        let style = screens.style();
        let settings = Config::builder()
            .completion_type(CompletionType::List)
            .completion_show_all_if_ambiguous(true)
            .color_mode(if style.color { ColorMode::Enabled } else { ColorMode::Disabled })
            .history_ignore_space(true)
            .history_ignore_dups(true)?
            .max_history_size(HISTORY_LINES)?
            .auto_add_history(false)
            .build();
        let mut editor = Editor::with_history(settings.clone(), FileHistory::with_config(&settings))?;
        let snapshot = Arc::new(Snapshot::default());
        editor.set_helper(Some(LineHelper::new(
            Rc::clone(&config.is_incomplete),
            Arc::clone(&snapshot),
            style.clone(),
        )));
        let watcher = match &config.look {
            Some(look) => Some(watch(&mut editor, &snapshot, Arc::clone(look), style)?),
            None => None,
        };
        let (name, dry_run) = (config.name.clone(), config.dry_run);
        let about = About { name, drill: config.drill, dry_run, is_watched: watcher.is_some() };
        let (shape, timing) = (Shape::default(), false);
        let mut repl =
            Repl { config, about, ui, screens, evaluator, editor, snapshot, _watcher: watcher, shape, timing };
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
            self.snapshot.end_typing();
            self.measure();
            let entry = match read {
                Ok(line) => {
                    self.remember(&line);
                    self.entry(&line)
                }
                Err(ReadlineError::Interrupted) => Entry::Nothing,
                Err(ReadlineError::Eof) => Entry::Leave,
                Err(error) => return Err(error.into()),
            };
            let code = self.obey(entry);
            // A person reads on, and says what they were to see again.
            self.ui.output().complain();
            if let Some(code) = code {
                return Ok(code);
            }
        }
    }

    fn entry(&self, line: &str) -> Entry {
        let variables = self.evaluator.variables();
        entry(line, &|name| variables.iter().any(|v| v.name == name))
    }

    /// `Some` ends the prompt.
    fn obey(&mut self, entry: Entry) -> Option<i32> {
        let code = match entry {
            Entry::Nothing => None,
            Entry::Leave => return (self.config.may_leave)().then_some(0),
            Entry::Evaluate(text) => self.evaluate(&text, self.shape),
            Entry::Explain { verb, plan } => {
                self.explain(verb, &plan);
                None
            }
            Entry::Say(text) => {
                self.ui.say(&bare::said(&text, &self.ui.screens().style()));
                None
            }
            Entry::Command(command) => self.command(command),
        };
        if self.ui.signals().ending() {
            return Some(130);
        }
        code.filter(|_| (self.config.may_leave)())
    }

    /// Follows a terminal that was resized, in everything that is drawn from here on.
    fn measure(&self) {
        self.screens.resize(terminal::stdout_width());
        self.ui.screens().resize(terminal::stderr_width());
    }

    fn prompt(&mut self) -> String {
        self.measure();
        if let Some(helper) = self.editor.helper() {
            helper.knows(self.evaluator.variables());
        }
        if self.config.look.is_some() {
            self.snapshot.refresh(REFRESH_WITHIN);
        }
        prompt::text(&self.about, self.snapshot.begin_typing().as_ref())
    }

    fn command(&mut self, command: Command) -> Option<i32> {
        match command {
            Command::Help => self.ui.say(commands::help()),
            Command::Leave => return (self.config.may_leave)().then_some(0),
            Command::Watch { every, code } => return self.watch(every, &code),
            Command::Timing(wish) => {
                self.timing = wish.unwrap_or(!self.timing);
                self.ui.say(if self.timing { "timing is on" } else { "timing is off" });
            }
            Command::Dry(wish) => self.rehearse(wish.unwrap_or(!self.about.dry_run)),
            Command::Shape(shape) => {
                self.shape = if self.shape == shape { Shape::Screen } else { shape };
                self.ui.say(match self.shape {
                    Shape::Screen => "values are shown as screens",
                    Shape::Vertical => "values are shown a field a line",
                    Shape::Json => "values are shown as JSON",
                });
            }
            Command::Once(shape, code) => return self.evaluate(&code, shape),
        }
        None
    }

    /// A shell that was started for a rehearsal changes nothing by a slip of the fingers.
    fn rehearse(&mut self, on: bool) {
        if self.config.dry_run && !on {
            return self.ui.say("this shell was started with --dry-run and stays so: quit, and start it without");
        }
        self.about.dry_run = on;
        self.evaluator.rehearse(on);
        self.ui.say(if on {
            "dry run: nothing is changed, and each step is planned on what the one before\n\
             would leave; state() shows that. :dry ends it"
        } else {
            "the dry run is over and forgotten: calls act again"
        });
    }

    fn evaluate(&mut self, text: &str, shape: Shape) -> Option<i32> {
        self.ui.begin_line();
        let begun = Instant::now();
        let result = self.evaluator.eval_line(text);
        let took = begun.elapsed();
        let exit = match result {
            Ok(value) => {
                self.show(&value, shape);
                value.exit
            }
            Err(failure) => {
                self.complain(*failure);
                None
            }
        };
        if self.timing {
            self.ui.say(&self.screens.style().paint(Paint::Dim, &format!("time {}", duration(took))));
        }
        exit
    }

    /// A bare mutating name: its plan is made and shown, and nothing else.
    fn explain(&mut self, verb: &str, plan: &str) {
        self.ui.begin_line();
        match self.evaluator.eval_line(plan) {
            Ok(value) => {
                if let Some(plan) = &value.plan {
                    self.ui.output().write(&would::render(verb, plan, &self.screens.style()));
                }
            }
            Err(failure) => self.complain(*failure),
        }
    }

    fn show(&self, value: &Evaluated, shape: Shape) {
        self.keep_state(value);
        if value.told && self.ui.has_shown_an_end() && shape == Shape::Screen {
            return;
        }
        if let Some(text) = self.shaped(value, shape) {
            self.ui.output().write(&ended_line(&text));
        }
    }

    /// A state that was asked for is what is known from here on; a rehearsed one is nobody's.
    fn keep_state(&self, value: &Evaluated) {
        if let (Some(state), None) = (&value.state, &value.rehearsed) {
            self.snapshot.put(state.clone());
        }
    }

    /// The value as text; `None` for unit, which is silent in every shape.
    fn shaped(&self, value: &Evaluated, shape: Shape) -> Option<String> {
        let screen = value.text.clone()?;
        Some(match shape {
            Shape::Screen => screen,
            Shape::Vertical => vertical::render(&value.json, &self.screens.style()).unwrap_or(screen),
            Shape::Json => serde_json::to_string_pretty(&*value.json).unwrap_or(screen),
        })
    }

    /// The end of an operation has said already what an error made of it would repeat.
    fn complain(&self, mut failure: Failure) {
        let view = &failure.view;
        if self.ui.has_shown_end_of(view.op) || self.ui.has_shown_refusals(&view.refusals) {
            return;
        }
        if failure.view.code == "interrupted" && self.ui.has_left_one_running() {
            // Its screen says that it goes on; an error would say that it was interrupted.
            self.ui.say("what stood behind it in the line was not run");
            return;
        }
        if self.ui.signals().interrupted() {
            // The terminal has just echoed `^C`.
            self.ui.say("");
        }
        failure.view.at_prompt = true;
        self.ui.say(&self.screens.error(&failure.view));
    }

    /// Evaluates again and again in one place, until Ctrl-C, an error, or a call that changes the
    /// cluster: that is not repeated.
    fn watch(&mut self, every: Duration, code: &str) -> Option<i32> {
        self.ui.begin_line();
        let changed = self.ui.outcomes().len();
        let mut frames = Frames::default();
        while !self.ui.signals().interrupted() {
            let begun = Instant::now();
            self.ui.output().hold();
            let result = self.evaluator.eval_line(code);
            let printed = self.ui.output().release();
            match result {
                Ok(value) if value.exit.is_some() => return value.exit,
                Ok(value) => {
                    self.keep_state(&value);
                    let value = self.shaped(&value, self.shape).unwrap_or_default();
                    let head = self.watch_head(every, code);
                    frames.show(&format!("{head}\n{printed}{value}"), terminal::drawable());
                }
                Err(failure) => {
                    self.complain(*failure);
                    return None;
                }
            }
            if self.ui.outcomes().len() != changed {
                self.ui.say("a call that changes the cluster is not repeated");
                return None;
            }
            self.pause_until(begun + every);
        }
        // The terminal has echoed `^C`, and keys that were typed meanwhile were meant for nobody.
        self.ui.say("");
        terminal::flush_type_ahead();
        None
    }

    fn watch_head(&self, every: Duration, code: &str) -> String {
        let style = self.screens.style();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let time = clock(i64::try_from(now.as_millis()).unwrap_or(i64::MAX), &style);
        style.paint(Paint::Dim, &format!("{time}  every {}, until Ctrl-C: {code}", interval(every)))
    }

    /// Ends early at Ctrl-C, and at a resize, which is drawn at once.
    fn pause_until(&self, then: Instant) {
        let size = terminal::drawable();
        while Instant::now() < then && !self.ui.signals().interrupted() {
            std::thread::sleep(LOOK_EVERY.min(then.saturating_duration_since(Instant::now())));
            if terminal::drawable() != size {
                self.measure();
                return;
            }
        }
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

/// Begins to look at the cluster. What changes while a line is typed is said above it, where the
/// terminal can do that; the next prompt says it in any case.
fn watch(
    editor: &mut Editor<LineHelper, FileHistory>,
    snapshot: &Arc<Snapshot>,
    look: Look,
    style: Style,
) -> Result<Watcher, ReplError> {
    let mut printer = editor.create_external_printer().ok();
    let news = move |before: &crate::cluster::State, now: &crate::cluster::State| {
        let style = Style { width: terminal::stdout_width(), ..style.clone() };
        let lines = notices::between(before, now, &style);
        if let (Some(printer), false) = (&mut printer, lines.is_empty())
            && let Err(error) = printer.print(lines.concat())
        {
            tracing::debug!(%error, "a notice could not be shown");
        }
    };
    Ok(Watcher::start(snapshot, look, news)?)
}

/// A text that ends its line.
pub(super) fn ended_line(text: &str) -> String {
    if text.ends_with('\n') { text.to_string() } else { format!("{text}\n") }
}

/// `2 s`, `500 ms`: as it was asked for.
fn interval(every: Duration) -> String {
    match every.as_millis() {
        ms if ms.is_multiple_of(1_000) => format!("{} s", ms / 1_000),
        ms => format!("{ms} ms"),
    }
}

/// How long a line took, finer than a person would say it.
fn duration(took: Duration) -> String {
    match took.as_millis() {
        0..1_000 => format!("{:.1} ms", took.as_secs_f64() * 1_000.0),
        ms => elapsed_ms(i64::try_from(ms).unwrap_or(i64::MAX)),
    }
}
