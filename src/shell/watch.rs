//! Watching an operation: lines on stderr, and what Ctrl-C means while it runs.

use super::render::{Style, progress};
use super::signals::Signals;
use super::terminal::{Typed, ask};
use crate::cluster::{ContentProgress, Control, Observer, Progressing};
use crate::core::ids::Content;
use crate::core::report::Stage;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::collections::BTreeMap;
use std::io::Write;

/// For batch: no terminal to draw on, nobody to ask. A line when a stage begins, unless quiet.
pub struct BatchWatch {
    signals: Signals,
    quiet: bool,
    /// The last line of each content, so that only changes are written.
    said: BTreeMap<Content, String>,
}

impl BatchWatch {
    /// Watches quietly or not.
    pub fn new(signals: Signals, quiet: bool) -> BatchWatch {
        BatchWatch { signals, quiet, said: BTreeMap::new() }
    }

    /// The lines that are new since the last call.
    fn news(&mut self, now: &Progressing) -> Vec<String> {
        let mut lines = Vec::new();
        for content in &now.contents {
            let line = progress::begins(content);
            if self.said.insert(content.content, line.clone()).as_ref() != Some(&line) {
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
        if self.signals.interrupted() {
            say(&[format!("interrupted: cancelling operation {}", now.op)]);
            return Control::Cancel;
        }
        Control::KeepWatching
    }
}

fn say(lines: &[String]) {
    let mut stderr = std::io::stderr().lock();
    for line in lines {
        // Progress nobody can read is not worth failing for.
        let _ = writeln!(stderr, "{line}");
    }
}

/// For a terminal: a line for each content that is redrawn, above it the stages that are over.
pub struct TerminalWatch {
    signals: Signals,
    style: Style,
    lines: MultiProgress,
    contents: BTreeMap<Content, Line>,
    hint: ProgressBar,
}

struct Line {
    bar: ProgressBar,
    /// The number of the first stage that has not been told to be over.
    next: u8,
}

impl TerminalWatch {
    /// Draws on stderr.
    pub fn new(signals: Signals, style: Style) -> TerminalWatch {
        let lines = MultiProgress::with_draw_target(ProgressDrawTarget::stderr());
        let hint = lines.add(line_bar());
        hint.set_message(progress::hint(&style));
        TerminalWatch { signals, style, lines, contents: BTreeMap::new(), hint }
    }

    fn show(&mut self, content: &ContentProgress) {
        let line = self
            .contents
            .entry(content.content)
            .or_insert_with(|| Line { bar: self.lines.insert_before(&self.hint, line_bar()), next: 1 });
        for done in over(&mut line.next, content) {
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
        let answer = self.lines.suspend(|| self.signals.while_asking(|| ask(QUESTION)));
        let control = meaning(&answer);
        if control == Control::KeepWatching {
            self.signals.clear();
        }
        let said = match control {
            Control::KeepWatching => return control,
            Control::Detach => format!("detached: operation {op} goes on at the coordinator"),
            Control::StopAfterSegment => {
                format!("operation {op} stops after the segment under way")
            }
            Control::Cancel => format!("cancelling operation {op}"),
        };
        let _ = self.lines.println(said);
        control
    }
}

impl Observer for TerminalWatch {
    fn progress(&mut self, now: &Progressing) -> Control {
        for content in &now.contents {
            self.show(content);
        }
        if self.signals.ending() {
            // TERM and HUP: there may be nobody left to ask, and nothing is lost by going on.
            return Control::Detach;
        }
        if self.signals.interrupted() {
            return self.decide(now.op);
        }
        Control::KeepWatching
    }
}

impl Drop for TerminalWatch {
    fn drop(&mut self) {
        // The end of the operation is told by its own screen.
        for line in self.contents.values() {
            line.bar.finish_and_clear();
        }
        self.hint.finish_and_clear();
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
    use crate::core::ids::Dbid;
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
                }),
            }],
        }
    }

    #[test]
    fn batch_says_each_stage_once() {
        let mut watch = BatchWatch::new(Signals::unattached(), false);
        assert_eq!(watch.news(&at(Stage::DataCopy, 1)).len(), 1);
        assert!(watch.news(&at(Stage::DataCopy, 9)).is_empty());
        assert_eq!(watch.news(&at(Stage::FlatFiles, 10)).len(), 1);
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
