//! What a script needs of the person or the batch job in front of it: the shell's answer.
//!
//! Stdout carries data; the plan, the question, the progress and the end go to stderr. Nothing is
//! ever asked where nobody can answer: then `--yes` covers it, or the call is declined.

use super::confirm::{self, YesPolicy};
use super::document;
use super::output::{Output, say};
use super::render::Screens;
use super::restart_watch::RestartWatch;
use super::seat;
use super::signals::Signals;
use super::terminal::{Typed, ask};
use super::watch::{BatchWatch, TerminalWatch};
use crate::cluster::{ContentProgress, Control, Intent, Observer, Outcome, OutcomeStatus, Plan, Progressing, Refusal};
use crate::script::json::{outcome_json, plan_json};
use crate::script::ui::{Answer, Damage, Reply, Seat, Ui};
use std::cell::RefCell;
use std::rc::Rc;

/// How a session treats whoever started it.
#[derive(Debug, Clone, Default)]
pub struct Manner {
    /// A person can be asked.
    pub interactive: bool,
    /// `-q`: no plan, no progress and no good news on stderr.
    pub quiet: bool,
    /// `--yes`.
    pub policy: YesPolicy,
}

/// The shell as a script sees it.
pub struct ShellUi {
    manner: Manner,
    /// The screens of stderr.
    screens: Screens,
    signals: Signals,
    output: Rc<Output>,
    /// The operations of this session, for `--json`.
    outcomes: RefCell<Vec<Outcome>>,
    /// The end that was shown last, so that the same is not shown again as a value or an error.
    shown: RefCell<Option<Outcome>>,
    /// How the last question was answered yes.
    confirmed: RefCell<String>,
}

impl ShellUi {
    /// A shell that writes its screens to stderr and data to `output`.
    pub fn new(manner: Manner, screens: Screens, signals: Signals, output: Output) -> ShellUi {
        let output = Rc::new(output);
        ShellUi {
            manner,
            screens,
            signals,
            output,
            outcomes: RefCell::default(),
            shown: RefCell::default(),
            confirmed: RefCell::default(),
        }
    }

    /// The screens of stderr.
    pub fn screens(&self) -> &Screens {
        &self.screens
    }

    /// Whether a person can be asked.
    pub fn is_interactive(&self) -> bool {
        self.manner.interactive
    }

    /// Stdout.
    pub fn output(&self) -> &Output {
        &self.output
    }

    /// The flags of Ctrl-C.
    pub fn signals(&self) -> &Signals {
        &self.signals
    }

    /// The operations that ended so far, in their order.
    pub fn outcomes(&self) -> Vec<Outcome> {
        self.outcomes.borrow().clone()
    }

    /// Whether the end of an operation was shown since the line began.
    pub fn has_shown_an_end(&self) -> bool {
        self.shown.borrow().is_some()
    }

    /// Whether the end that was shown last was this operation's.
    pub fn has_shown_end_of(&self, op: Option<i64>) -> bool {
        op.is_some() && self.shown.borrow().as_ref().is_some_and(|o| o.op == op)
    }

    /// Whether what was shown last is that nothing was begun, for these reasons.
    pub fn has_shown_refusals(&self, refusals: &[Refusal]) -> bool {
        let is_it = |o: &Outcome| o.op.is_none() && o.refusals == refusals;
        !refusals.is_empty() && self.shown.borrow().as_ref().is_some_and(is_it)
    }

    /// Whether the end that was shown last is that of an operation that was left running.
    pub fn has_left_one_running(&self) -> bool {
        self.shown.borrow().as_ref().is_some_and(|o| o.status == OutcomeStatus::Started)
    }

    /// A new line begins: what was shown before it does not count.
    pub fn begin_line(&self) {
        self.shown.take();
        self.signals.clear();
    }

    /// A line for a person.
    pub fn say(&self, text: &str) {
        say(text);
    }

    fn ask(&self, plan: &Plan, damage: &Damage, hint: &str) -> Answer {
        // Without `-q` the plan stands above already; a question without its plan is no question.
        if self.manner.quiet {
            self.say(&self.screens.question(plan));
        }
        tracing::info!(plan = %plan.id, verb = plan.verb(), hint, "asking for confirmation");
        let typed = self.signals.while_asking(|| ask(&confirm::prompt(damage)));
        match typed {
            Typed::Line(line) if confirm::is_yes(damage, &line) => Answer::Yes,
            Typed::Line(_) | Typed::Ended => Answer::No,
            Typed::Interrupted => Answer::Interrupted,
        }
    }
}

/// Tells `--ndjson` what another observer is shown.
struct Telling {
    inner: Box<dyn Observer>,
    output: Rc<Output>,
    told: Vec<ContentProgress>,
}

impl Observer for Telling {
    fn progress(&mut self, now: &Progressing) -> Control {
        for content in &now.contents {
            // A copy that only grows older is no news.
            let mut news = content.clone();
            if let Some(copy) = &mut news.progress {
                copy.elapsed_ms = 0;
            }
            match self.told.iter_mut().find(|t| (t.content, t.dbid) == (news.content, news.dbid)) {
                Some(told) if *told == news => continue,
                Some(told) => *told = news,
                None => self.told.push(news),
            }
            self.output.event("progress", document::progress(now.op, content));
        }
        self.inner.progress(now)
    }

    fn note(&mut self, text: &str) {
        self.inner.note(text);
    }
}

impl ShellUi {
    fn watch(&self, plan: &Plan) -> Box<dyn Observer> {
        let signals = self.signals.clone();
        if matches!(&plan.intent, Intent::Restart { selection, .. } if selection.is_all()) {
            let terminal = self.manner.interactive.then(|| self.screens.style().clone());
            return Box::new(RestartWatch::new(signals, terminal, self.manner.quiet));
        }
        match self.terminal_watch() {
            Some(watch) => Box::new(watch),
            None => Box::new(BatchWatch::new(signals, self.manner.quiet)),
        }
    }

    /// Where a person sits Ctrl-C is a question, `-q` or not.
    fn terminal_watch(&self) -> Option<TerminalWatch> {
        let (signals, style) = (self.signals.clone(), self.screens.style());
        match (self.manner.interactive, self.manner.quiet) {
            (false, _) => None,
            (true, false) => Some(TerminalWatch::new(signals, style)),
            (true, true) => Some(TerminalWatch::quiet(signals, style)),
        }
    }
}

impl Ui for ShellUi {
    fn confirm(&self, plan: &Plan, damage: &Damage) -> Answer {
        self.output.event("plan", serde_json::json!({ "value": plan_json(plan) }));
        if !self.manner.quiet {
            self.say(&self.screens.question(plan));
        }
        self.confirmed.take();
        match self.manner.policy.covers_plan(plan, damage) {
            Ok(()) => {
                self.confirmed.replace("--yes".into());
                Answer::Yes
            }
            Err(hint) if self.manner.interactive => {
                let answer = self.ask(plan, damage, &hint);
                if answer == Answer::Yes {
                    self.confirmed.replace("typed".into());
                }
                answer
            }
            Err(hint) => Answer::CannotAsk { hint },
        }
    }

    fn observer(&self, plan: &Plan) -> Box<dyn Observer> {
        let inner = self.watch(plan);
        Box::new(Telling { inner, output: Rc::clone(&self.output), told: Vec::new() })
    }

    fn planned(&self, plan: &Plan, shown: &str) {
        self.output.event("plan", serde_json::json!({ "value": plan_json(plan) }));
        self.note(shown);
    }

    fn follower(&self) -> Box<dyn Observer> {
        match self.terminal_watch() {
            Some(watch) => Box::new(watch),
            None => Box::new(BatchWatch::attached(self.signals.clone(), self.manner.quiet)),
        }
    }

    fn confirmed(&self) -> String {
        self.confirmed.borrow().clone()
    }

    fn ended(&self, outcome: &Outcome) {
        self.output.event("outcome", serde_json::json!({ "value": outcome_json(outcome) }));
        self.outcomes.borrow_mut().push(outcome.clone());
        let good = matches!(outcome.status, OutcomeStatus::Done | OutcomeStatus::Started | OutcomeStatus::Planned);
        if self.manner.quiet && good {
            return;
        }
        self.say(&self.screens.outcome(outcome));
        *self.shown.borrow_mut() = Some(outcome.clone());
    }

    fn note(&self, text: &str) {
        if !self.manner.quiet {
            self.say(text);
        }
    }

    fn print(&self, text: &str) {
        self.output.line(text);
    }

    fn seat(&self) -> Seat {
        seat::seat()
    }

    fn ask_line(&self, prompt: &str) -> Reply {
        if !self.manner.interactive {
            return Reply::CannotAsk;
        }
        match self.signals.while_asking(|| ask(prompt)) {
            Typed::Line(line) => Reply::Line(line),
            // The end of input is an answer: not yes.
            Typed::Ended => Reply::Line(String::new()),
            Typed::Interrupted => Reply::Interrupted,
        }
    }

    fn interrupted(&self) -> bool {
        self.signals.interrupted() || self.output.is_gone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shell::render::samples::{done_outcome, full_plan, plain, recover_plan};

    fn batch(policy: YesPolicy) -> ShellUi {
        let manner = Manner { interactive: false, quiet: true, policy };
        let screens = Screens::new(plain(), "demo");
        ShellUi::new(manner, screens, Signals::unattached(), Output::kept())
    }

    #[test]
    fn batch_never_asks() {
        let ui = batch(YesPolicy::default());
        let answer = ui.confirm(&recover_plan(), &Damage::Reversible);
        assert_eq!(answer, Answer::CannotAsk { hint: "--yes".into() });
    }

    #[test]
    fn yes_does_not_cover_a_full_copy_that_nobody_named() {
        let ui = batch(YesPolicy { yes: true, ..YesPolicy::default() });
        assert_eq!(ui.confirm(&recover_plan(), &Damage::Reversible), Answer::Yes);
        let damage = Damage::TypeWord("sdw2".into());
        assert!(matches!(ui.confirm(&full_plan(), &damage), Answer::CannotAsk { .. }));
    }

    #[test]
    fn a_shown_end_is_known_until_a_new_line_begins() {
        let manner = Manner::default();
        let screens = Screens::new(plain(), "demo");
        let ui = ShellUi::new(manner, screens, Signals::unattached(), Output::kept());
        ui.ended(&done_outcome());
        assert!(ui.has_shown_an_end() && ui.has_shown_end_of(Some(118)));
        assert!(!ui.has_shown_end_of(Some(1)) && !ui.has_shown_end_of(None));
        assert!(!ui.has_left_one_running());
        ui.ended(&Outcome { status: OutcomeStatus::Started, ..done_outcome() });
        assert!(ui.has_left_one_running());
        ui.begin_line();
        assert!(!ui.has_shown_an_end());
        assert_eq!(ui.outcomes().len(), 2);
    }

    #[test]
    fn an_interrupt_reaches_the_script_until_a_new_line_begins() {
        let ui = batch(YesPolicy::default());
        ui.signals().raise();
        assert!(ui.interrupted());
        ui.begin_line();
        assert!(!ui.interrupted());
    }
}
