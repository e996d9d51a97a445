//! One session's shell, put together: streams, signals, screens, and the prompt or the batch on top.

use super::batch::Batch;
use super::confirm::YesPolicy;
use super::evaluator::Evaluator;
use super::output::Output;
use super::render::{Screens, Style};
use super::repl::{Repl, ReplConfig, ReplError};
use super::signals::Signals;
use super::terminal::{self, Typed, ask};
use super::ui::{Manner, ShellUi};
use std::io;
use std::rc::Rc;
use std::time::Duration;

/// What the command line says about the shell itself.
#[derive(Debug, Clone, Default)]
pub struct FrontOptions {
    pub json: bool,
    /// Events on stdout instead, one document a line.
    pub ndjson: bool,
    pub quiet: bool,
    pub policy: YesPolicy,
    /// Whether the session has `why(...)`.
    pub evidence: bool,
    /// Nothing is changed; each step is planned on what the one before would leave.
    pub dry_run: bool,
    /// The whole run ends after so long, as Ctrl-C would end it.
    pub time_limit: Option<Duration>,
}

/// The shell of one session.
pub struct Front {
    options: FrontOptions,
    /// What a script sees of it.
    pub ui: Rc<ShellUi>,
    /// The screens of stdout: `print(...)` and rendered values.
    pub out: Screens,
    /// The screens of stderr: errors.
    pub err: Screens,
}

impl Front {
    /// Looks at the streams and takes the signals. `cluster` is what is typed to confirm what
    /// concerns everything.
    pub fn new(cluster: &str, options: FrontOptions) -> io::Result<Front> {
        let style = |style: Style| Style { evidence: options.evidence, ..style };
        let out = Screens::new(style(terminal::stdout_style()), cluster);
        let err = Screens::new(style(terminal::stderr_style()), cluster);
        let manner =
            Manner { interactive: terminal::is_interactive(), quiet: options.quiet, policy: options.policy.clone() };
        let output = match (options.json, options.ndjson) {
            (true, _) => Output::kept(),
            (false, true) => Output::events(),
            (false, false) => Output::to_stdout(),
        };
        let signals = Signals::install()?;
        // From here on Ctrl-C is heard; who reads events may rely on that.
        output.event("start", serde_json::json!({ "cluster": cluster, "dry_run": options.dry_run }));
        if let Some(limit) = options.time_limit {
            signals.end_after(limit)?;
        }
        let ui = ShellUi::new(manner, err.clone(), signals, output);
        Ok(Front { options, ui: Rc::new(ui), out, err })
    }

    /// A run without a prompt.
    pub fn batch(&self) -> Batch {
        Batch { ui: Rc::clone(&self.ui), screens: self.err.clone(), json: self.options.json }
    }

    /// The prompt; its exit code.
    pub fn prompt(&self, config: ReplConfig, evaluator: &mut dyn Evaluator) -> Result<i32, ReplError> {
        Repl::new(config, Rc::clone(&self.ui), self.out.clone(), evaluator)?.run()
    }
}

/// What bare `segsh` says where nobody can be offered anything.
pub const NO_CLUSTER: &str = "\
no cluster is named.
next: segsh -c DIR, or SEGSH_CLUSTER=DIR; `segsh demo` at a terminal for one to try
";

/// Bare `segsh` without a cluster at a terminal.
pub fn offers_demo() -> bool {
    let question = "No cluster is named. Start a demo cluster, gone with this shell? [y/N] ";
    match ask(question) {
        Typed::Line(line) => matches!(line.trim(), "y" | "Y" | "yes"),
        Typed::Interrupted | Typed::Ended => false,
    }
}
