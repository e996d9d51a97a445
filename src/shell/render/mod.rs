//! The five screens: pure functions from a cluster's values to text.
//!
//! One file a screen. A renderer reads no clock, no terminal and no environment: what it needs to
//! know of them is in [`Style`]. Every line holds in [`Style::width`] columns, and nothing needs
//! colour to be understood.

pub mod adopt;
pub mod error;
pub mod format;
pub mod layout;
pub mod lifecycle;
pub mod outcome;
pub mod places;
pub mod plan;
pub mod progress;
pub mod refusal;
pub mod rows;
pub mod screens;
pub mod segments;
pub mod state;
pub mod why;

#[cfg(test)]
pub(crate) mod samples;

pub use screens::Screens;

use nu_ansi_term::{Color, Style as Ansi};

/// How the screens are to look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Style {
    /// Whether escape sequences may be written.
    pub color: bool,
    /// Columns of the terminal; the screens are made for 80.
    pub width: usize,
    /// Seconds to add to UTC for times of day.
    pub utc_offset_s: i64,
    /// Whether the session has `why(...)`; what is not there is not advertised.
    pub evidence: bool,
}

impl Default for Style {
    fn default() -> Self {
        Style { color: false, width: 80, utc_offset_s: 0, evidence: false }
    }
}

/// What a piece of text means. The colour only repeats what the words say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Paint {
    /// No colour.
    #[default]
    Plain,
    /// A heading.
    Strong,
    /// Less important than its surroundings.
    Dim,
    /// As it should be.
    Good,
    /// Needs attention: one copy, a resynchronization.
    Warn,
    /// Broken.
    Bad,
    /// Something that can be typed.
    Code,
}

impl Style {
    /// Wraps `text` in the escape sequences of its meaning, when colour is allowed.
    pub fn paint(&self, paint: Paint, text: &str) -> String {
        if !self.color || text.is_empty() {
            return text.to_string();
        }
        let ansi = match paint {
            Paint::Plain => return text.to_string(),
            Paint::Strong => Ansi::new().bold(),
            Paint::Dim => Ansi::new().dimmed(),
            Paint::Good => Color::Green.normal(),
            Paint::Warn => Color::Yellow.bold(),
            Paint::Bad => Color::Red.bold(),
            Paint::Code => Color::Cyan.normal(),
        };
        ansi.paint(text).to_string()
    }
}
