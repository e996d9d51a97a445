//! Watching a restart of everything. It is driven from here and not by the coordinator, which ends in
//! the middle of it: so there is no operation to detach from, and little that can be cancelled.

use super::render::Style;
use super::signals::Signals;
use super::terminal::{Typed, ask};
use super::watch::{Shown, say};
use crate::cluster::{Control, Observer, Progressing};

/// Shows the progress, and takes for an answer only what can be done.
pub struct RestartWatch {
    signals: Signals,
    shown: Option<Shown>,
    /// A person can be asked.
    interactive: bool,
    /// The start, if it has not begun, is not wanted any more.
    cancelled: bool,
}

const QUESTION: &str = "(l)eave it alone, (c)ancel: start nothing that has not begun, (k)eep watching? [k] ";
/// Honest about what a cancel can still do: what is being stopped is stopped, what starts has started.
const CANCELLED: &str = "what stops goes on stopping; nothing is started unless its start has begun";

impl RestartWatch {
    /// Draws on a terminal and asks there, or writes lines and asks nobody.
    pub fn new(signals: Signals, on_terminal: Option<Style>, quiet: bool) -> RestartWatch {
        let interactive = on_terminal.is_some();
        let shown = Shown::on(&signals, on_terminal, quiet);
        RestartWatch { signals, shown, interactive, cancelled: false }
    }

    fn decide(&mut self) -> Control {
        // Where nobody answers, or the whole process is to end, the least is begun.
        if !self.interactive || self.signals.ending() || self.signals.timed_out() {
            self.cancelled = true;
            say(&[format!("{}: {CANCELLED}", self.signals.why())]);
            return Control::Cancel;
        }
        let question = || self.signals.while_asking(|| ask(QUESTION));
        let answer = self.shown.as_ref().map_or_else(question, |shown| shown.suspend(question));
        let control = meaning(&answer);
        match control {
            Control::Detach => say(&["left: it goes on as long as this shell does".to_string()]),
            _ => self.signals.clear(),
        }
        if control == Control::Cancel {
            self.cancelled = true;
            say(&[format!("cancelled: {CANCELLED}")]);
        }
        control
    }
}

/// What was meant. A second Ctrl-C cancels; a terminal that went away leaves.
fn meaning(answer: &Typed) -> Control {
    match answer {
        Typed::Interrupted => Control::Cancel,
        Typed::Ended => Control::Detach,
        Typed::Line(line) => match line.trim().to_ascii_lowercase().chars().next() {
            Some('l') => Control::Detach,
            Some('c') => Control::Cancel,
            _ => Control::KeepWatching,
        },
    }
}

impl Observer for RestartWatch {
    fn progress(&mut self, now: &Progressing) -> Control {
        if let Some(shown) = &mut self.shown {
            shown.show(now);
        }
        if self.cancelled {
            return Control::Cancel;
        }
        if self.signals.interrupted() { self.decide() } else { Control::KeepWatching }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nothing_yet() -> Progressing {
        Progressing { op: 0, elapsed_ms: 0, contents: Vec::new() }
    }

    #[test]
    fn without_a_terminal_an_interrupt_asks_for_no_start_and_stays_so() {
        let signals = Signals::unattached();
        let mut watch = RestartWatch::new(signals.clone(), None, true);
        assert_eq!(watch.progress(&nothing_yet()), Control::KeepWatching);
        signals.raise();
        assert_eq!(watch.progress(&nothing_yet()), Control::Cancel);
        signals.clear();
        assert_eq!(watch.progress(&nothing_yet()), Control::Cancel);
    }

    #[test]
    fn nothing_is_promised_that_a_restart_cannot_do() {
        let line = |text: &str| Typed::Line(text.into());
        assert_eq!(meaning(&line("l")), Control::Detach);
        assert_eq!(meaning(&line("Cancel")), Control::Cancel);
        assert_eq!(meaning(&line("s")), Control::KeepWatching, "there is no segment to stop after");
        assert_eq!(meaning(&Typed::Interrupted), Control::Cancel);
        assert_eq!(meaning(&Typed::Ended), Control::Detach);
    }
}
