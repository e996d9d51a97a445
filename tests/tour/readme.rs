//! What the README says is typed, and what is printed then.

use crate::patterns::named;

/// Something typed, and the lines printed until the next thing is typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// What stands before the input: `demo> `, `Go on? [y/N] `, `$ `.
    pub prompt: String,
    pub input: String,
    pub output: Vec<String>,
}

pub fn text() -> String {
    document("README.md")
}

/// A document, by its path in the repository.
pub fn document(path: &str) -> String {
    let path = format!("{}/{path}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// The steps of all blocks of a kind, in their order. `prompt` says how much of a line is a prompt.
pub fn steps(text: &str, kind: &str, prompt: impl Fn(&str) -> Option<usize>) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for line in blocks(text, kind) {
        if let Some(end) = prompt(line) {
            let (prompt, input) = line.split_at(end);
            steps.push(Step { prompt: prompt.into(), input: input.into(), output: Vec::new() });
        } else if let Some(step) = steps.last_mut() {
            step.output.push(line.to_owned());
        }
    }
    steps
}

fn blocks<'a>(text: &'a str, kind: &str) -> Vec<&'a str> {
    let mut inside = false;
    let mut lines = Vec::new();
    for line in text.lines() {
        match line.strip_prefix("```") {
            Some(info) => inside = info == kind,
            None if inside => lines.push(line),
            None => {}
        }
    }
    lines
}

/// Columns of blanks that begin a line of a paragraph other than its first.
const HANGING: usize = 8;

/// Paragraphs as one line each: where one wraps depends on how wide an address is.
fn unwrapped(lines: &[String]) -> Vec<String> {
    let mut whole: Vec<String> = Vec::new();
    for line in lines {
        let is_hanging = !line.trim().is_empty() && line.starts_with(&" ".repeat(HANGING));
        match whole.last_mut().filter(|_| is_hanging) {
            Some(before) => {
                before.push(' ');
                before.push_str(line.trim_start());
            }
            None => whole.push(line.clone()),
        }
    }
    whole
}

/// In the README's output: what follows is not shown.
const MORE: &str = "...";

/// Compares what was printed with what the README has, line by line; blank lines don't count.
pub fn difference(step: &Step, printed: &[String]) -> Option<String> {
    let seen = |lines: &[String]| -> Vec<String> {
        unwrapped(lines).iter().map(|l| named(l)).filter(|l| !l.is_empty()).collect()
    };
    let (mut expected, mut found) = (seen(&step.output), seen(printed));
    if expected.last().is_some_and(|line| line == MORE) {
        expected.pop();
        found.truncate(expected.len());
    }
    if expected == found {
        return None;
    }
    let width = expected.len().max(found.len());
    let line = |lines: &[String], i: usize| lines.get(i).cloned().unwrap_or_default();
    let first = (0..width).find(|i| line(&expected, *i) != line(&found, *i)).unwrap_or(0);
    Some(format!(
        "after `{}{}`, line {}\n  written: {}\n  printed: {}\nprinted in full:\n{}",
        step.prompt,
        step.input,
        first + 1,
        line(&expected, first),
        line(&found, first),
        printed.join("\n")
    ))
}

#[test]
fn a_step_is_what_is_typed_and_what_follows() {
    let text = "x\n```segsh\ndemo> a\n1\n2\ndemo [x]> b\n```\n```sh\ndemo> no\n```\n";
    let prompt = |line: &str| line.find("> ").map(|at| at + 2);
    let found = steps(text, "segsh", prompt);
    let step = |prompt: &str, input: &str, output: &[&str]| Step {
        prompt: prompt.into(),
        input: input.into(),
        output: output.iter().map(|l| (*l).to_owned()).collect(),
    };
    assert_eq!(found, [step("demo> ", "a", &["1", "2"]), step("demo [x]> ", "b", &[])]);
    assert!(difference(&found[0], &["1".into(), "".into(), "2".into()]).is_none());
    assert!(difference(&found[0], &["1".into(), "3".into()]).is_some());
    assert_eq!(unwrapped(&["a".into(), "          b".into(), "c".into()]), ["a b", "c"]);
    let more = step("demo> ", "a", &["1", "..."]);
    assert!(difference(&more, &["1".into(), "3".into()]).is_none());
    assert!(difference(&more, &["2".into(), "3".into()]).is_some());
}
