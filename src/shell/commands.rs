//! The prompt's own commands: lines that begin with a colon, which no Rhai does.

use super::bare::Entry;
use crate::script;
use std::time::Duration;

/// What values look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Shape {
    /// The screen that the value has.
    #[default]
    Screen,
    /// A field a line.
    Vertical,
    Json,
}

/// A command that was understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    Help,
    Leave,
    /// Evaluates again and again, until Ctrl-C.
    Watch {
        every: Duration,
        code: String,
    },
    /// Says after each line how long it took; without a wish the other way round.
    Timing(Option<bool>),
    /// Whether calls are only rehearsed from here on. Without a wish the other way round.
    Dry(Option<bool>),
    /// How every value from here on is shown; again, and it is as before.
    Shape(Shape),
    /// How the value of one line is shown.
    Once(Shape, String),
}

const HELP: &str = "\
:watch 2s CODE    evaluates again and again, until Ctrl-C; 2s is the default
:timing           says how long each line took, or no more
:vertical         a field a line, or no more; `:vertical CODE` for one line
:json             values as JSON, or no more; `:json CODE` for one line
:dry              calls are only rehearsed, or act again
:quit             leaves, as quit and Ctrl-D do
";

/// What a command says of all of them.
pub fn help() -> &'static str {
    HELP
}

/// The names to complete, without their colons.
pub const NAMES: [&str; 7] = ["dry", "help", "json", "quit", "timing", "vertical", "watch"];

const EVERY: Duration = Duration::from_secs(2);
/// More often is a load and no watching.
const EVERY_AT_LEAST: Duration = Duration::from_millis(100);

/// Reads what stands behind the colon; an error says what to write.
pub fn read(text: &str) -> Result<Command, String> {
    let (name, rest) = text.trim().split_once(char::is_whitespace).unwrap_or((text.trim(), ""));
    let rest = rest.trim();
    match (name, rest) {
        ("help" | "h" | "?" | "", _) => Ok(Command::Help),
        ("quit" | "q" | "exit", "") => Ok(Command::Leave),
        ("watch", "") => Err("what shall be watched?\nnext: :watch 2s state()".into()),
        ("watch", _) => watch(rest),
        ("timing", "" | "on" | "off") => Ok(Command::Timing(wish(rest))),
        ("dry", "" | "on" | "off") => Ok(Command::Dry(wish(rest))),
        ("vertical" | "json", "") => Ok(Command::Shape(shape(name))),
        ("vertical" | "json", _) => Ok(Command::Once(shape(name), code(rest))),
        _ => Err(format!("there is no command `:{name}`\n{HELP}")),
    }
}

fn wish(text: &str) -> Option<bool> {
    (!text.is_empty()).then(|| text == "on")
}

/// What a command does, as its line of help has it.
pub fn about(name: &str) -> &'static str {
    let line = HELP.lines().find(|line| line.split_whitespace().next().is_some_and(|first| &first[1..] == name));
    line.and_then(|line| line.split_once("  ")).map_or("", |(_, about)| about.trim_start())
}

fn shape(name: &str) -> Shape {
    if name == "json" { Shape::Json } else { Shape::Vertical }
}

fn watch(text: &str) -> Result<Command, String> {
    let (first, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    if !first.starts_with(|c: char| c.is_ascii_digit()) {
        return Ok(Command::Watch { every: EVERY, code: code(text) });
    }
    let ms = script::duration_ms(first).map_err(|error| format!("{error}\nnext: :watch 2s state()"))?;
    let every = Duration::from_millis(u64::try_from(ms).unwrap_or(0));
    if rest.trim().is_empty() {
        return Err(format!("what shall be watched?\nnext: :watch {first} state()"));
    }
    if every < EVERY_AT_LEAST {
        return Err("every 100ms is the shortest there is".into());
    }
    Ok(Command::Watch { every, code: code(rest) })
}

/// A bare name means behind a command what it means at the prompt, when it only reads.
fn code(text: &str) -> String {
    match super::bare::entry(text, &|_| false) {
        Entry::Evaluate(code) => code,
        _ => text.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watch_has_an_interval_and_something_to_watch() {
        let watch = |ms, code: &str| Ok(Command::Watch { every: Duration::from_millis(ms), code: code.into() });
        assert_eq!(read("watch 5s state()"), watch(5_000, "state()"));
        assert_eq!(read("watch 500ms state"), watch(500, "state()"));
        assert_eq!(read("watch state().down"), watch(2_000, "state().down"));
        for wrong in ["watch", "watch 2s", "watch 2 state()", "watch 1ms state()", "watching"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_shape_is_for_one_line_or_from_here_on() {
        assert_eq!(read("json"), Ok(Command::Shape(Shape::Json)));
        assert_eq!(read("vertical state"), Ok(Command::Once(Shape::Vertical, "state()".into())));
        assert_eq!(read(" timing on "), Ok(Command::Timing(Some(true))));
        assert_eq!(read("timing"), Ok(Command::Timing(None)));
        assert_eq!(read("dry"), Ok(Command::Dry(None)));
        assert_eq!(read("dry off"), Ok(Command::Dry(Some(false))));
        assert!(read("dry run").is_err());
        assert_eq!(read(""), Ok(Command::Help));
        assert_eq!(read("q"), Ok(Command::Leave));
    }

    #[test]
    fn every_command_is_in_the_help() {
        for name in NAMES.iter().filter(|name| **name != "help") {
            assert!(!about(name).is_empty() && HELP.contains(&format!(":{name} ")), "{name}");
        }
        assert_eq!(about("watch"), "evaluates again and again, until Ctrl-C; 2s is the default");
    }
}
