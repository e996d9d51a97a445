//! The batch examples of the README and of the operations guide, given to a shell.

use crate::readme;
use std::env;
use std::path::Path;
use std::process::Command;

/// Removes what the examples left running, whatever came of them.
struct Workplace {
    dir: tempfile::TempDir,
}

impl Workplace {
    fn run(&self, line: &str) -> Vec<String> {
        let program = Path::new(env!("CARGO_BIN_EXE_segsh"));
        let own = program.parent().expect("a program stands in a directory");
        let path = format!("{}:{}", own.display(), env::var("PATH").unwrap_or_default());
        let output = Command::new("bash")
            .args(["-c", &format!("exec 2>&1\n{line}")])
            .current_dir(self.dir.path())
            .env("PATH", path)
            .env("HOME", self.dir.path())
            .env_remove("SEGSH_CLUSTER")
            .output()
            .expect("bash runs");
        String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
    }
}

impl Drop for Workplace {
    fn drop(&mut self) {
        self.run("for dir in */; do segsh stop \"$dir\" --mode immediate; done");
    }
}

#[test]
fn the_batch_examples_of_the_readme_print_what_the_readme_says() {
    prints_what_it_says(&readme::text());
}

#[test]
fn the_examples_of_the_operations_guide_print_what_the_guide_says() {
    prints_what_it_says(&readme::document("docs/operations.md"));
}

fn prints_what_it_says(text: &str) {
    let steps = readme::steps(text, "console", |line| line.starts_with("$ ").then_some(2));
    assert!(steps.len() > 3, "the batch examples were not recognized: {} steps", steps.len());
    let workplace = Workplace { dir: tempfile::tempdir().expect("a place for a cluster") };
    let differences: Vec<String> =
        steps.iter().filter_map(|step| readme::difference(step, &workplace.run(&step.input))).collect();
    assert!(differences.is_empty(), "{}", differences.join("\n\n"));
}
