//! A primitive as a subcommand: the same call that a script would write, as Rhai.
//!
//! One vocabulary behind every door: `segsh recover --contents 3 --dry-run` is
//! `plan_recover(#{ contents: [3] })`, and the engine checks the one as it checks the other.

use crate::shell::batch::{Judgement, Source};
use crate::shell::confirm::PROCEDURE;
use clap::{Args, ValueEnum};

/// Which segments a call is about.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct Targets {
    /// Contents, by number
    #[arg(long, value_name = "N", value_delimiter = ',', num_args = 1.., visible_alias = "content")]
    pub contents: Vec<i64>,
    /// Segments, by dbid
    #[arg(long, value_name = "N", value_delimiter = ',', num_args = 1.., visible_alias = "dbid")]
    pub dbids: Vec<i64>,
    /// All segments of these hosts
    #[arg(long, value_name = "HOST", value_delimiter = ',', num_args = 1.., visible_alias = "host")]
    pub hosts: Vec<String>,
}

/// How sessions are treated by a restart or a stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    /// Wait until the sessions have ended by themselves
    Smart,
    /// End the sessions, finish what is being synced
    Fast,
    /// Stop at once; the log is replayed at the next start
    Immediate,
}

impl Mode {
    /// The mode as the cluster knows it.
    pub fn stop_mode(self) -> crate::core::report::StopMode {
        use crate::core::report::StopMode;
        match self {
            Mode::Smart => StopMode::Smart,
            Mode::Fast => StopMode::Fast,
            Mode::Immediate => StopMode::Immediate,
        }
    }
}

/// A call of one primitive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// The function: `recover`, `state`, ...
    pub function: String,
    /// Its arguments in their order, each already as Rhai.
    arguments: Vec<String>,
    /// Its options, each already as Rhai.
    options: Vec<(String, String)>,
    /// Only the plan is made and shown.
    pub dry_run: bool,
    /// `state --check`: exit 9 when anything is not as it should be.
    pub check: bool,
    /// The name of the procedure, for `procedure("name", #{ ... })`.
    procedure: Option<String>,
}

impl Call {
    /// A call without options.
    pub fn new(function: &str) -> Call {
        Call {
            function: function.to_string(),
            arguments: Vec::new(),
            options: Vec::new(),
            dry_run: false,
            check: false,
            procedure: None,
        }
    }

    /// `procedure("name", ...)`.
    pub fn procedure(name: &str) -> Call {
        Call { procedure: Some(name.to_string()), ..Call::new(PROCEDURE) }
    }

    /// Adds an argument, already as Rhai.
    #[must_use]
    pub fn argument(mut self, value: String) -> Call {
        self.arguments.push(value);
        self
    }

    /// Adds an option whose value is already Rhai.
    #[must_use]
    pub fn option(mut self, name: &'static str, value: String) -> Call {
        self.options.push((name.to_string(), value));
        self
    }

    /// Adds what was selected.
    #[must_use]
    pub fn targets(mut self, targets: &Targets) -> Call {
        let numbers = |list: &[i64]| {
            let list: Vec<String> = list.iter().map(ToString::to_string).collect();
            format!("[{}]", list.join(", "))
        };
        if !targets.contents.is_empty() {
            self.options.push(("contents".into(), numbers(&targets.contents)));
        }
        if !targets.dbids.is_empty() {
            self.options.push(("dbids".into(), numbers(&targets.dbids)));
        }
        if !targets.hosts.is_empty() {
            let list: Vec<String> = targets.hosts.iter().map(|h| quoted(h)).collect();
            self.options.push(("hosts".into(), format!("[{}]", list.join(", "))));
        }
        self
    }

    /// Adds a procedure's own options, as texts; what is given several times is a list.
    #[must_use]
    pub fn set(mut self, pairs: &[(String, String)]) -> Call {
        for (at, (name, _)) in pairs.iter().enumerate() {
            if pairs[..at].iter().any(|(before, _)| before == name) {
                continue;
            }
            let values: Vec<String> =
                pairs.iter().filter(|(n, _)| n == name).map(|(_, value)| literal(value)).collect();
            let value = match values.as_slice() {
                [one] => one.clone(),
                several => format!("[{}]", several.join(", ")),
            };
            self.options.push((quoted(name), value));
        }
        self
    }

    /// Whether the state that comes out is judged.
    #[must_use]
    pub fn checked(mut self, check: bool) -> Call {
        self.check = check;
        self
    }

    /// Whether only the plan is made.
    #[must_use]
    pub fn dry(mut self, dry_run: bool) -> Call {
        self.dry_run = dry_run;
        self
    }

    /// Whether an option was given.
    pub fn has(&self, option: &str) -> bool {
        self.options.iter().any(|(name, _)| name == option)
    }

    /// The call as Rhai.
    pub fn source(&self) -> String {
        let options = self.options().unwrap_or_default();
        let mut arguments = self.arguments.clone();
        arguments.extend(self.options());
        let all = arguments.join(", ");
        let name = &self.function;
        match (&self.procedure, self.dry_run) {
            (Some(procedure), true) => {
                let module = quoted(&format!("procedure/{procedure}"));
                let options = if options.is_empty() { "#{}" } else { &options };
                format!("import {module} as the_procedure; the_procedure::plan({options})")
            }
            (Some(procedure), false) if options.is_empty() => {
                format!("{name}({})", quoted(procedure))
            }
            (Some(procedure), false) => format!("{name}({}, {options})", quoted(procedure)),
            (None, true) => format!("plan_{name}({all})"),
            (None, false) => format!("{name}({all})"),
        }
    }

    /// The call as the batch runs it.
    pub fn to_batch(&self) -> Source {
        let judgement = match (self.dry_run, self.check, self.function.as_str()) {
            (true, _, _) => Judgement::DryRun,
            (_, true, _) => Judgement::Check,
            (_, _, "state" | "probe") => Judgement::State,
            _ => Judgement::Success,
        };
        Source::Call { code: self.source(), judgement }
    }

    fn options(&self) -> Option<String> {
        let list: Vec<String> = self.options.iter().map(|(name, value)| format!("{name}: {value}")).collect();
        (!list.is_empty()).then(|| format!("#{{ {} }}", list.join(", ")))
    }
}

/// A value as it is written on a command line: a number or a truth where it reads as one, else a text.
fn literal(text: &str) -> String {
    match (text.parse::<i64>(), text) {
        (Ok(number), _) => number.to_string(),
        (Err(_), "true" | "false") => text.to_string(),
        (Err(_), _) => quoted(text),
    }
}

/// A Rhai string literal.
pub(super) fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => {
                out.push('\\');
                out.push(c);
            }
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() => out.push_str(&format!("\\x{:02x}", u32::from(c) & 0xff)),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_what_a_script_would_write() {
        let targets = Targets { contents: vec![3, 4], hosts: vec!["sdw1".into()], ..Targets::default() };
        let call = Call::new("recover").targets(&targets);
        assert_eq!(call.source(), "recover(#{ contents: [3, 4], hosts: [\"sdw1\"] })");
        assert_eq!(Call::new("state").source(), "state()");
        assert_eq!(Call::procedure("p").source(), "procedure(\"p\")");
        let call = Call::new("sql").argument("2".into()).argument("\"select 1\"".into());
        assert_eq!(call.source(), "sql(2, \"select 1\")");
    }

    #[test]
    fn a_procedure_s_own_options_are_texts_numbers_and_lists() {
        let pairs = [("to", "sdw3"), ("host", "a"), ("jobs", "2"), ("host", "b"), ("x\"y", "true")];
        let pairs = pairs.map(|(name, value)| (name.to_string(), value.to_string()));
        let expected = r#"procedure("p", #{ "to": "sdw3", "host": ["a", "b"], "jobs": 2, "x\"y": true })"#;
        assert_eq!(Call::procedure("p").set(&pairs).source(), expected);
    }

    #[test]
    fn a_dry_run_makes_the_plan() {
        let call = Call::new("recover").option("jobs", "2".into()).dry(true);
        assert_eq!(call.source(), "plan_recover(#{ jobs: 2 })");
        assert_eq!(
            Call::procedure("p").dry(true).source(),
            "import \"procedure/p\" as the_procedure; the_procedure::plan(#{})"
        );
    }

    #[test]
    fn nothing_on_the_command_line_escapes_its_string() {
        let call = Call::new("recover").option("rate", quoted("\"); exit(0); (\"\\\n"));
        let source = call.source();
        let engine = rhai::Engine::new_raw();
        let tree = engine.compile(&source);
        assert!(tree.is_ok(), "{source}");
        assert_eq!(source, r#"recover(#{ rate: "\"); exit(0); (\"\\\n" })"#);
    }
}
