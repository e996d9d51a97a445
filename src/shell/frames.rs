//! A text that is drawn again and again in one place, for `:watch`.

use super::render::layout::{columns, cut};
use std::io::Write;

/// The size of the terminal that is drawn on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    pub columns: usize,
    pub rows: usize,
}

/// Draws each text over the one before. What stands above the first stays, and so does the last.
#[derive(Debug, Default)]
pub struct Frames {
    /// What the last text took, and on which size.
    last: Option<(usize, Size)>,
}

impl Frames {
    /// The bytes that draw a text; without a size (a pipe, a dumb terminal) one follows the other.
    pub fn draw(&mut self, text: &str, size: Option<Size>) -> String {
        let Some(size) = size else {
            return format!("{text}\n");
        };
        let lines = fitting(text, size);
        let clear = match self.last {
            None => String::new(),
            Some((rows, on)) if on == size && rows > 0 => format!("\x1b[{rows}A\r\x1b[J"),
            Some((_, on)) if on == size => "\r\x1b[J".to_string(),
            // The terminal has broken the lines anew, so nobody knows where the text begins.
            Some(_) => "\x1b[H\x1b[2J".to_string(),
        };
        self.last = Some((lines.len(), size));
        let body: String = lines.iter().map(|line| format!("{line}\n")).collect();
        format!("{clear}{body}")
    }

    /// Writes it, in one piece so that nothing flickers.
    pub fn show(&mut self, text: &str, size: Option<Size>) {
        let drawn = self.draw(text, size);
        let mut stdout = std::io::stdout().lock();
        // A terminal that is gone ends the shell by its signal, not here.
        let _ = stdout.write_all(drawn.as_bytes()).and_then(|()| stdout.flush());
    }
}

/// The lines that fit on the terminal, below which the cursor still has a line of its own.
fn fitting(text: &str, size: Size) -> Vec<String> {
    let room = size.rows.saturating_sub(1).max(1);
    let lines: Vec<&str> = text.lines().collect();
    // A line in colour is longer than it looks; its renderer has kept it within the screen.
    let narrow = |line: &str| if line.contains('\x1b') { line.to_string() } else { cut(line, size.columns) };
    if lines.len() <= room {
        return lines.into_iter().map(narrow).collect();
    }
    let mut kept: Vec<String> = lines[..room - 1].iter().map(|line| narrow(line)).collect();
    kept.push(format!("... {} more lines", lines.len() - kept.len()));
    debug_assert!(kept.iter().all(|l| l.contains('\x1b') || columns(l) <= size.columns.max(24)));
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: Option<Size> = Some(Size { columns: 80, rows: 5 });

    #[test]
    fn a_frame_takes_the_place_of_the_one_before() {
        let mut frames = Frames::default();
        assert_eq!(frames.draw("a\nb\n", SIZE), "a\nb\n");
        assert_eq!(frames.draw("c\n", SIZE), "\x1b[2A\r\x1b[Jc\n");
        assert_eq!(frames.draw("d\n", SIZE), "\x1b[1A\r\x1b[Jd\n");
    }

    #[test]
    fn a_frame_never_scrolls_what_is_above_it_away() {
        let drawn = Frames::default().draw("1\n2\n3\n4\n5\n6\n", SIZE);
        assert_eq!(drawn, "1\n2\n3\n... 3 more lines\n");
        let narrow = Some(Size { columns: 4, rows: 5 });
        assert_eq!(Frames::default().draw("a long line", narrow), "a l~\n");
    }

    #[test]
    fn a_resize_draws_on_an_empty_screen() {
        let mut frames = Frames::default();
        frames.draw("a", SIZE);
        let drawn = frames.draw("b", Some(Size { columns: 60, rows: 5 }));
        assert_eq!(drawn, "\x1b[H\x1b[2Jb\n");
    }

    #[test]
    fn without_a_terminal_frames_follow_each_other() {
        let mut frames = Frames::default();
        assert_eq!(format!("{}{}", frames.draw("a", None), frames.draw("b", None)), "a\nb\n");
    }
}
