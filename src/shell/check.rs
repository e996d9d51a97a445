//! `segsh check`: the findings of scripts that are not run.

use super::output::Output;
use super::render::error::{Position, pointer};
use super::render::layout::Para;
use super::render::{Paint, Screens, Style};
use super::run::site_dirs;
use super::signals::Signals;
use super::terminal;
use super::ui::{Manner, ShellUi};
use crate::script::{Finding, Session, SessionConfig, Severity};
use serde_json::{Value, json};
use std::io;
use std::path::PathBuf;
use std::rc::Rc;

/// What was found in all files.
#[derive(Debug, Default)]
pub struct Checked {
    pub(super) files: usize,
    pub(super) findings: Vec<Finding>,
}

/// Checks every file, each with the modules of its own folder. The first that can't be read ends it.
pub fn check_files(files: &[PathBuf]) -> Result<Checked, (PathBuf, io::Error)> {
    let mut checked = Checked::default();
    for file in files {
        let found = session().check_file(file).map_err(|cause| (file.clone(), cause))?;
        checked.files += 1;
        // A module that two scripts import is reported once.
        let new = found.into_iter().filter(|f| !checked.findings.contains(f)).collect::<Vec<_>>();
        checked.findings.extend(new);
    }
    Ok(checked)
}

/// A session that nothing is run in: it has no cluster, and nobody is asked.
fn session() -> Session {
    let screens = Screens::new(Style::default(), "");
    let ui = ShellUi::new(Manner::default(), screens.clone(), Signals::unattached(), Output::kept());
    let (site_dir, system_dir) = site_dirs();
    Session::new(SessionConfig {
        cluster: None,
        ui: Rc::new(ui),
        renderer: Rc::new(screens),
        site_dir,
        system_dir,
        dry_run: false,
    })
}

impl Checked {
    /// How many findings keep a script from running.
    pub fn errors(&self) -> usize {
        self.findings.iter().filter(|f| f.severity == Severity::Error).count()
    }

    /// `value` of the document.
    pub fn to_json(&self) -> Value {
        json!({
            "files": self.files,
            "errors": self.errors(),
            "warnings": self.findings.len() - self.errors(),
            "findings": self.findings.iter().map(Finding::to_json).collect::<Vec<_>>(),
        })
    }

    /// Every finding with its line, and their number.
    pub fn text(&self) -> String {
        self.rendered(&terminal::stdout_style())
    }

    /// Every finding with its line.
    pub fn findings(&self, style: &Style) -> String {
        self.findings.iter().map(|f| shown(f, style)).collect()
    }

    fn rendered(&self, style: &Style) -> String {
        let mut text = self.findings(style);
        let (errors, warnings) = (self.errors(), self.findings.len() - self.errors());
        let count = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
        let files = count(self.files, "file");
        text.push_str(&match (errors, warnings) {
            (0, 0) => format!("nothing is wrong in {files}\n"),
            (_, 0) => format!("{} in {files}\n", count(errors, "error")),
            (0, _) => format!("{} in {files}\n", count(warnings, "warning")),
            _ => format!("{}, {} in {files}\n", count(errors, "error"), count(warnings, "warning")),
        });
        text
    }
}

fn shown(finding: &Finding, style: &Style) -> String {
    let paint = if finding.severity == Severity::Error { Paint::Bad } else { Paint::Warn };
    let lead = format!("{}[{}]: ", finding.severity.word(), finding.code);
    let body = Para::new(&lead, 2).words(&finding.message).render(style);
    let mut text = match body.strip_prefix(lead.trim_end()) {
        Some(rest) => format!("{}{rest}", style.paint(paint, lead.trim_end())),
        None => body,
    };
    if let Some(at) = &finding.position {
        let at = Position { file: at.file.clone(), line: at.line, column: at.col };
        text.push_str(&pointer(&at, finding.source_line.as_deref(), style));
    }
    let mut notes = Vec::new();
    if !finding.options.is_empty() {
        notes.push(format!("options: {}", finding.options.join(" ")));
    }
    if !finding.next.is_empty() {
        notes.push(format!("next: {}", finding.next));
    }
    for note in notes {
        text.push_str(&Para::new("   = ", 5).words(&note).render(style));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_are_shown_with_their_line_and_counted() -> Result<(), Box<dyn std::error::Error>> {
        let dir = tempfile::tempdir()?;
        let file = dir.path().join("x.rhai");
        std::fs::write(&file, "let x = 1;\nprint(\"${x}\");\nif x == 2 { recover(#{ contens: 1 }) }\n")?;
        let checked = check_files(std::slice::from_ref(&file)).map_err(|(_, cause)| cause)?;
        let text = checked.rendered(&Style::default()).replace(&dir.path().display().to_string(), "DIR");
        let expected = "\
error[unknown_option]: recover() has no option `contens`; is it `contents`?
  --> DIR/x.rhai:3:24
   |
 3 | if x == 2 { recover(#{ contens: 1 }) }
   |                        ^^^^^^^
   = options: contents dbids hosts to wait timeout stall rate jobs raise
   = next: help(\"recover\")
warning[plain_quotes]: \"${x}\" is not replaced in plain quotes; use backticks
  --> DIR/x.rhai:2:7
   |
 2 | print(\"${x}\");
   |       ^
   = next: `like ${this}`
1 error, 1 warning in 1 file
";
        assert_eq!(text, expected);
        assert_eq!(checked.to_json()["errors"], 1);
        Ok(())
    }

    #[test]
    fn a_file_that_cannot_be_read_is_named() {
        let (file, _) = check_files(&[PathBuf::from("/nowhere/x.rhai")]).expect_err("there is no such file");
        assert_eq!(file, PathBuf::from("/nowhere/x.rhai"));
    }
}
