//! Watching an operation: lines on stderr, and what Ctrl-C means while it runs.

use super::render::{Style, progress};
use super::signals::Signals;
use super::terminal::{Typed, ask};
use crate::cluster::{ContentProgress, Control, Observer, Progressing};
use crate::core::ids::{Content, Dbid};
use crate::core::report::Stage;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::collections::BTreeMap;
use std::io::Write;

/// For batch: no terminal to draw on, nobody to ask. A log wants to know what takes long, so a line is
/// written, unless quiet, when something has gone on for [`WORTH_A_LINE_MS`]; the end tells the rest.
pub struct BatchWatch {
    signals: Signals,
    quiet: bool,
    /// Ctrl-C leaves the operation to whoever began it.
    attached: bool,
    /// That it is cancelled was said.
    told: bool,
    /// What each segment's line was last.
    last: BTreeMap<Dbid, Doing>,
}

/// What goes on, and since when in the operation's own time.
struct Doing {
    line: String,
    since_ms: i64,
    said: bool,
}

/// What is over sooner is not worth a line of a log.
const WORTH_A_LINE_MS: i64 = 3_000;
/// An operation that is over sooner is told by its end alone, also on a terminal.
const WORTH_ITS_STAGES_MS: i64 = 1_000;

impl BatchWatch {
    /// Watches quietly or not.
    pub fn new(signals: Signals, quiet: bool) -> BatchWatch {
        BatchWatch { signals, quiet, attached: false, told: false, last: BTreeMap::new() }
    }

    /// Watches what somebody else began: leaving it cancels nothing.
    pub fn attached(signals: Signals, quiet: bool) -> BatchWatch {
        BatchWatch { attached: true, ..BatchWatch::new(signals, quiet) }
    }

    /// The lines that have become worth writing since the last call.
    fn news(&mut self, now: &Progressing) -> Vec<String> {
        let mut lines = Vec::new();
        for content in now.contents.iter().filter(|c| !c.finished) {
            let line = progress::begins(content);
            let since_ms = now.elapsed_ms;
            let fresh = |line: &str| Doing { line: line.to_string(), since_ms, said: false };
            let doing = self.last.entry(content.dbid).or_insert_with(|| fresh(&line));
            if doing.line != line {
                *doing = fresh(&line);
            }
            if !doing.said && now.elapsed_ms - doing.since_ms >= WORTH_A_LINE_MS {
                doing.said = true;
                lines.push(line);
            }
        }
        lines
    }
}

impl Observer for BatchWatch {
    fn progress(&mut self, now: &Progressing) -> Control {
        let lines = self.news(now);
        if !self.quiet {
            say(&lines);
        }
        if self.signals.interrupted() && self.attached {
            say(&[format!("detached: operation {} goes on at the coordinator", now.op)]);
            return Control::Detach;
        }
        if self.signals.interrupted() {
            if !std::mem::replace(&mut self.told, true) {
                say(&[format!("{}: cancelling operation {}", self.signals.why(), now.op)]);
            }
            return Control::Cancel;
        }
        Control::KeepWatching
    }

    fn note(&mut self, text: &str) {
        if !self.quiet {
            say(&[text.to_owned()]);
        }
    }
}

/// For a command that drives a whole cluster from here, such as `start`: it can't be handed over to
/// the coordinator, and is simply left. Shows what the other watches show.
pub struct CommandWatch {
    signals: Signals,
    shown: Option<Shown>,
    /// Said when it is left.
    farewell: String,
}

/// What runs, as it is shown on this kind of stream.
pub(super) enum Shown {
    Lines(BatchWatch),
    Terminal(TerminalWatch),
}

impl Shown {
    /// Draws on a terminal, or writes lines; nothing when quiet.
    pub(super) fn on(signals: &Signals, terminal: Option<Style>, quiet: bool) -> Option<Shown> {
        match terminal {
            _ if quiet => None,
            Some(style) => Some(Shown::Terminal(TerminalWatch::without_hint(signals.clone(), style))),
            None => Some(Shown::Lines(BatchWatch::new(signals.clone(), quiet))),
        }
    }

    pub(super) fn show(&mut self, now: &Progressing) {
        match self {
            Shown::Lines(lines) => say(&lines.news(now)),
            Shown::Terminal(lines) => now.contents.iter().for_each(|c| lines.show(c, now.elapsed_ms)),
        }
    }

    /// Takes what is drawn off the terminal while a question stands there.
    pub(super) fn suspend<T>(&self, ask: impl FnOnce() -> T) -> T {
        match self {
            Shown::Lines(_) => ask(),
            Shown::Terminal(watch) => watch.lines.suspend(ask),
        }
    }
}

impl CommandWatch {
    /// Draws on a terminal, or writes lines.
    pub fn new(signals: Signals, on_terminal: Option<Style>, quiet: bool, farewell: String) -> CommandWatch {
        let shown = Shown::on(&signals, on_terminal, quiet);
        CommandWatch { signals, shown, farewell }
    }
}

impl Observer for CommandWatch {
    fn progress(&mut self, now: &Progressing) -> Control {
        if self.signals.interrupted() {
            // The lines are taken off the terminal before anything else is said.
            self.shown = None;
            self.signals.leave(&self.farewell)
        }
        if let Some(shown) = &mut self.shown {
            shown.show(now);
        }
        Control::KeepWatching
    }
}

pub(super) fn say(lines: &[String]) {
    let mut stderr = std::io::stderr().lock();
    for line in lines {
        // Progress nobody can read is not worth failing for.
        let _ = writeln!(stderr, "{line}");
    }
}

/// For a terminal: a line for each content that is redrawn, above it the stages that are over. One that is quiet draws
/// nothing, and asks all the same what Ctrl-C means.
pub struct TerminalWatch {
    signals: Signals,
    style: Style,
    lines: MultiProgress,
    contents: BTreeMap<(Content, Dbid), Line>,
    /// The last line, for what Ctrl-C can do.
    hint: Option<ProgressBar>,
}

struct Line {
    bar: ProgressBar,
    /// The number of the first stage that has not been told to be over.
    next: u8,
}

impl TerminalWatch {
    /// Draws on stderr.
    pub fn new(signals: Signals, style: Style) -> TerminalWatch {
        let mut watch = TerminalWatch::without_hint(signals, style);
        let hint = watch.lines.add(line_bar());
        hint.set_message(progress::hint(&watch.style));
        watch.hint = Some(hint);
        watch
    }

    /// Draws nothing: only Ctrl-C is answered.
    pub fn quiet(signals: Signals, style: Style) -> TerminalWatch {
        TerminalWatch::drawn_on(ProgressDrawTarget::hidden(), signals, style)
    }

    fn without_hint(signals: Signals, style: Style) -> TerminalWatch {
        TerminalWatch::drawn_on(ProgressDrawTarget::stderr(), signals, style)
    }

    fn drawn_on(target: ProgressDrawTarget, signals: Signals, style: Style) -> TerminalWatch {
        let lines = MultiProgress::with_draw_target(target);
        TerminalWatch { signals, style, lines, contents: BTreeMap::new(), hint: None }
    }

    /// What became of Ctrl-C is said where nothing is drawn, too.
    fn answer(&self, said: String) {
        if self.lines.is_hidden() {
            return say(&[said]);
        }
        // A terminal that can't be written to loses a line and nothing else.
        let _ = self.lines.println(said);
    }

    fn show(&mut self, content: &ContentProgress, elapsed_ms: i64) {
        let new_line = || match &self.hint {
            Some(hint) => self.lines.insert_before(hint, line_bar()),
            None => self.lines.add(line_bar()),
        };
        let line =
            self.contents.entry((content.content, content.dbid)).or_insert_with(|| Line { bar: new_line(), next: 1 });
        // What is over at a glance needs no line of its own: the end has its figures.
        let told = if elapsed_ms < WORTH_ITS_STAGES_MS { Vec::new() } else { over(&mut line.next, content) };
        for done in told {
            if let Some(p) = &content.progress {
                let text = progress::done(content.content, done, p, &self.style);
                // A terminal that can't be written to loses a line of progress and nothing else.
                let _ = self.lines.println(text);
            }
        }
        line.bar.set_message(progress::now(content, &self.style));
    }

    /// Ctrl-C: the operation goes on at the coordinator while the person decides.
    fn decide(&self, op: i64) -> Control {
        let control = self.lines.suspend(|| {
            let control = meaning(&self.signals.while_asking(|| ask(QUESTION)));
            if control != Control::Detach {
                // It is answered: what is watched on must not ask again unless Ctrl-C comes again. Before the
                // lines are drawn again, because that is when a person may press it again.
                self.signals.clear();
            }
            control
        });
        let said = match control {
            Control::KeepWatching => return control,
            Control::Detach => format!("detached: operation {op} goes on at the coordinator"),
            Control::StopAfterSegment => {
                format!("operation {op} stops after the segment under way")
            }
            Control::Cancel => format!("cancelling operation {op}"),
        };
        self.answer(said);
        control
    }
}

impl Observer for TerminalWatch {
    fn progress(&mut self, now: &Progressing) -> Control {
        for content in &now.contents {
            self.show(content, now.elapsed_ms);
        }
        if self.signals.ending() {
            // TERM and HUP: there may be nobody left to ask, and nothing is lost by going on.
            return Control::Detach;
        }
        if self.signals.timed_out() {
            // Whoever set a limit meant it for what runs, and has said so before.
            return Control::Cancel;
        }
        if self.signals.interrupted() {
            return self.decide(now.op);
        }
        Control::KeepWatching
    }

    fn note(&mut self, text: &str) {
        // A terminal that can't be written to loses a line and nothing else.
        let _ = self.lines.println(text);
    }
}

impl Drop for TerminalWatch {
    fn drop(&mut self) {
        // The end of the operation is told by its own screen.
        for line in self.contents.values() {
            line.bar.finish_and_clear();
        }
        if let Some(hint) = &self.hint {
            hint.finish_and_clear();
        }
    }
}

const QUESTION: &str = "(d)etach, (s)top after this segment, (c)ancel now, (k)eep watching? [k] ";

/// What was meant. A second Ctrl-C cancels; a terminal that went away detaches.
fn meaning(answer: &Typed) -> Control {
    match answer {
        Typed::Interrupted => Control::Cancel,
        Typed::Ended => Control::Detach,
        Typed::Line(line) => match line.trim().to_ascii_lowercase().chars().next() {
            Some('d') => Control::Detach,
            Some('s') => Control::StopAfterSegment,
            Some('c') => Control::Cancel,
            _ => Control::KeepWatching,
        },
    }
}

fn line_bar() -> ProgressBar {
    let style = ProgressStyle::with_template("{msg}").unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new_spinner().with_style(style)
}

/// The stages that ended since the last look; `next` is the number of the first not yet told.
fn over(next: &mut u8, content: &ContentProgress) -> Vec<Stage> {
    const STAGES: [Stage; 4] = [Stage::Preparation, Stage::DataCopy, Stage::FlatFiles, Stage::Claimed];
    let Some(p) = &content.progress else {
        return Vec::new();
    };
    let running = if content.finished { Stage::Claimed.number() + 1 } else { p.stage.number() };
    let told = std::mem::replace(next, running.max(*next));
    STAGES.into_iter().filter(|s| s.number() >= told && s.number() < running).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::report::Progress;

    fn at(stage: Stage, copied: u64) -> Progressing {
        Progressing {
            op: 7,
            elapsed_ms: 10,
            contents: vec![ContentProgress {
                content: Content(2),
                dbid: Dbid(4),
                doing: "data copy".into(),
                finished: false,
                progress: Some(Progress {
                    stage,
                    total_blocks: 10,
                    copied_blocks: copied,
                    files_created: 0,
                    files_dropped: 0,
                    pause_open_us: None,
                    pause_claim_us: None,
                    elapsed_ms: 5,
                    rate_bytes: None,
                }),
            }],
        }
    }

    #[test]
    fn batch_says_once_what_takes_long() {
        let mut watch = BatchWatch::new(Signals::unattached(), false);
        let mut news = |ms, stage, copied| watch.news(&Progressing { elapsed_ms: ms, ..at(stage, copied) });
        assert!(news(10, Stage::Preparation, 0).is_empty());
        assert!(news(900, Stage::DataCopy, 1).is_empty());
        assert_eq!(news(3_950, Stage::DataCopy, 9), [" content 2  2/4 data copy  10 blocks"]);
        assert!(news(9_000, Stage::DataCopy, 10).is_empty());
        assert!(news(9_010, Stage::FlatFiles, 10).is_empty());
    }

    #[test]
    fn without_a_terminal_an_interrupt_cancels() {
        let signals = Signals::unattached();
        let mut watch = BatchWatch::new(signals.clone(), true);
        assert_eq!(watch.progress(&at(Stage::DataCopy, 1)), Control::KeepWatching);
        signals.raise();
        assert_eq!(watch.progress(&at(Stage::DataCopy, 1)), Control::Cancel);
    }

    #[test]
    fn a_skipped_stage_is_still_said_to_be_over_and_none_twice() {
        let mut seen = 1;
        let content = |stage| at(stage, 1).contents.remove(0);
        assert_eq!(over(&mut seen, &content(Stage::DataCopy)), [Stage::Preparation]);
        assert!(over(&mut seen, &content(Stage::DataCopy)).is_empty());
        assert_eq!(over(&mut seen, &content(Stage::Claimed)), [Stage::DataCopy, Stage::FlatFiles]);
        let mut end = content(Stage::Claimed);
        end.finished = true;
        assert_eq!(over(&mut seen, &end), [Stage::Claimed]);
        assert!(over(&mut seen, &end).is_empty());
    }

    #[test]
    fn only_a_clear_answer_changes_what_runs() {
        let line = |text: &str| Typed::Line(text.into());
        assert_eq!(meaning(&line("")), Control::KeepWatching);
        assert_eq!(meaning(&line("what?")), Control::KeepWatching);
        assert_eq!(meaning(&line("Detach")), Control::Detach);
        assert_eq!(meaning(&line("s")), Control::StopAfterSegment);
        assert_eq!(meaning(&line("c")), Control::Cancel);
        assert_eq!(meaning(&Typed::Interrupted), Control::Cancel);
        assert_eq!(meaning(&Typed::Ended), Control::Detach);
    }
}
