//! What the streams of this process are, and the one way a question is asked.

use super::frames::Size;
use super::render::Style;
use rustix::termios::{QueueSelector, tcflush, tcgetwinsize};
use rustyline::config::Behavior;
use rustyline::error::ReadlineError;
use rustyline::history::MemHistory;
use rustyline::{Config, Editor};
use std::io::{self, IsTerminal};
use std::sync::OnceLock;

/// A person can be asked when their keys arrive here and the question can be seen.
pub fn is_interactive() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// The style of what is written to stdout.
pub fn stdout_style() -> Style {
    style_of(io::stdout().is_terminal(), width(&io::stdout()))
}

/// The style of what is written to stderr.
pub fn stderr_style() -> Style {
    style_of(io::stderr().is_terminal(), width(&io::stderr()))
}

fn style_of(terminal: bool, width: Option<usize>) -> Style {
    Style {
        color: terminal && may_color(),
        // A pipe gets the screens as they are documented; a wide terminal gains nothing from lines
        // that are longer than an eye follows.
        width: legible(width.filter(|_| terminal)),
        utc_offset_s: local_offset_s(),
        evidence: false,
    }
}

/// Columns that screens take on stdout now.
pub fn stdout_width() -> usize {
    let stdout = io::stdout();
    legible(width(&stdout).filter(|_| stdout.is_terminal()))
}

/// Columns that screens take on stderr now.
pub fn stderr_width() -> usize {
    let stderr = io::stderr();
    legible(width(&stderr).filter(|_| stderr.is_terminal()))
}

fn legible(width: Option<usize>) -> usize {
    width.map_or(80, |w| w.clamp(60, 120))
}

/// The size of stdout when it is a terminal on which the cursor can be moved.
pub fn drawable() -> Option<Size> {
    let stdout = io::stdout();
    let can_move = stdout.is_terminal() && std::env::var("TERM").is_ok_and(|term| term != "dumb");
    let size = tcgetwinsize(&stdout).ok().filter(|_| can_move)?;
    let (columns, rows) = (usize::from(size.ws_col), usize::from(size.ws_row));
    (columns > 0 && rows > 0).then_some(Size { columns, rows })
}

/// The conventions of <https://no-color.org> and of dumb terminals.
fn may_color() -> bool {
    let unset = |name: &str| std::env::var_os(name).is_none_or(|v| v.is_empty());
    unset("NO_COLOR") && std::env::var("TERM").is_ok_and(|term| term != "dumb")
}

fn width(stream: &impl std::os::fd::AsFd) -> Option<usize> {
    let size = tcgetwinsize(stream).ok()?;
    (size.ws_col > 0).then_some(usize::from(size.ws_col))
}

/// Seconds that local time was ahead of UTC when this process first asked. The bundled SQLite asks the C
/// library, which spares a time zone crate; UTC when it cannot say.
fn local_offset_s() -> i64 {
    static OFFSET_S: OnceLock<i64> = OnceLock::new();
    let ask = || -> rusqlite::Result<i64> {
        rusqlite::Connection::open_in_memory()?.query_row(
            "select strftime('%s', 'now', 'localtime') - strftime('%s', 'now')",
            [],
            |row| row.get(0),
        )
    };
    *OFFSET_S.get_or_init(|| ask().unwrap_or(0))
}

/// What was typed before a question was there to be read is not an answer to it.
pub fn flush_type_ahead() {
    if let Err(error) = tcflush(io::stdin(), QueueSelector::IFlush) {
        tracing::debug!(%error, "type-ahead could not be flushed");
    }
}

/// A line that was typed, or the key that ended it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Typed {
    Line(String),
    Interrupted,
    Ended,
}

/// Asks on the terminal itself, so that a piped stdout stays data, and keeps no history: what is
/// typed here is an answer, not a command.
pub fn ask(prompt: &str) -> Typed {
    flush_type_ahead();
    let config = Config::builder().behavior(Behavior::PreferTerm).bracketed_paste(false).build();
    let editor = Editor::<(), MemHistory>::with_history(config, MemHistory::new());
    match editor.and_then(|mut editor| editor.readline(prompt)) {
        Ok(line) => Typed::Line(line),
        Err(ReadlineError::Interrupted) => Typed::Interrupted,
        Err(ReadlineError::Eof) => Typed::Ended,
        Err(error) => {
            tracing::warn!(%error, "the question could not be asked");
            Typed::Ended
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_local_offset_is_a_time_zone() {
        assert!((-14 * 3600..=14 * 3600).contains(&local_offset_s()));
    }

    #[test]
    fn a_pipe_gets_plain_text_of_80_columns() {
        let style = style_of(false, Some(200));
        assert!(!style.color);
        assert_eq!(style.width, 80);
    }
}
