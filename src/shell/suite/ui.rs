//! In front of a test there is nobody: it is said yes to everything, and what it says is kept.

use crate::cluster::{Observer, Outcome, Plan};
use crate::script::ui::{Answer, Damage, Ui};
use crate::shell::output::Output;
use crate::shell::render::Screens;
use crate::shell::signals::Signals;
use crate::shell::ui::{Manner, ShellUi};

/// The person and the terminal that a test function sees. The cluster is one for drills, so nothing needs a question.
pub struct TestUi(ShellUi);

impl TestUi {
    /// Ctrl-C reaches the test by these signals.
    pub fn new(screens: Screens, signals: Signals) -> TestUi {
        let manner = Manner { interactive: false, quiet: true, ..Manner::default() };
        TestUi(ShellUi::new(manner, screens, signals, Output::kept()))
    }

    /// What was printed and noted so far.
    pub fn take(&self) -> Vec<String> {
        self.0.output().take()
    }
}

impl Ui for TestUi {
    fn confirm(&self, _plan: &Plan, _damage: &Damage) -> Answer {
        Answer::Yes
    }
    fn confirmed(&self) -> String {
        "segsh test".into()
    }
    fn observer(&self, plan: &Plan) -> Box<dyn Observer> {
        self.0.observer(plan)
    }
    fn follower(&self) -> Box<dyn Observer> {
        self.0.follower()
    }
    // A test that expects a refusal is no news for whoever runs it.
    fn ended(&self, _outcome: &Outcome) {}
    fn print(&self, text: &str) {
        self.0.print(text);
    }
    fn note(&self, text: &str) {
        self.0.print(text);
    }
    fn interrupted(&self) -> bool {
        self.0.interrupted()
    }
}
