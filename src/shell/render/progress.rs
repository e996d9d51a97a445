//! The lines of a running operation.

use super::format::{count, pause_us, remaining_ms};
use super::layout::{columns, cut};
use super::{Paint, Style};
use crate::cluster::ContentProgress;
use crate::cluster::estimate::left_ms;
use crate::core::ids::Content;
use crate::core::report::{Progress, Stage};

/// Below the lines while Ctrl-C can be answered.
pub const CTRL_C: &str = " Ctrl-C: detach, stop or cancel";

/// What is being done for a content now, in one line.
pub fn now(content: &ContentProgress, style: &Style) -> String {
    let lead = format!(" content {}", content.content);
    let line = |wide| match &content.progress {
        Some(p) if !content.finished => format!("{lead}  {}   {}", stage(p.stage), doing(p, wide)),
        _ => format!("{lead}  {}", content.doing),
    };
    // What is left of the time says more than a wide bar.
    let whole = line(WIDE);
    let fits = columns(whole.trim_end()) <= style.width;
    let shown = if fits { whole } else { line(NARROW) };
    cut(shown.trim_end(), style.width)
}

/// A stage that is over, in one line that stays.
pub fn done(content: Content, over: Stage, p: &Progress, style: &Style) -> String {
    let mut line = format!(" content {content}  {}   done", stage(over));
    let pause = match over {
        Stage::Preparation => p.pause_open_us,
        Stage::FlatFiles => p.pause_claim_us,
        Stage::DataCopy | Stage::Claimed => None,
    };
    if let Some(us) = pause {
        line.push_str(&format!("    paused {} ms", pause_us(us as i64)));
    }
    match over {
        Stage::Preparation if p.files_created + p.files_dropped > 0 => {
            let created = count(p.files_created as usize, "file");
            let dropped = if p.files_dropped > 0 { format!(", {} dropped", p.files_dropped) } else { String::new() };
            line.push_str(&format!("   {created} created{dropped}"));
        }
        Stage::DataCopy => line.push_str(&format!("    {} blocks", p.copied_blocks)),
        _ => {}
    }
    cut(&line, style.width)
}

/// For a log: the stage that begins, without anything that moves.
pub fn begins(content: &ContentProgress) -> String {
    let lead = format!(" content {}", content.content);
    match &content.progress {
        Some(p) if !content.finished => {
            let blocks = match p.stage {
                Stage::DataCopy => format!("  {} blocks", p.total_blocks),
                _ => String::new(),
            };
            format!("{lead}  {}{blocks}", stage(p.stage).trim_end())
        }
        _ => format!("{lead}  {}", content.doing),
    }
}

/// `2/4 data copy  `
fn stage(stage: Stage) -> String {
    format!("{}/4 {:<11}", stage.number(), stage.word())
}

fn doing(p: &Progress, wide: u64) -> String {
    match p.stage {
        Stage::DataCopy => data_copy(p, wide),
        Stage::Preparation | Stage::FlatFiles | Stage::Claimed => String::new(),
    }
}

/// `[=========>..........]  147/307 blocks   1 s left`
fn data_copy(p: &Progress, wide: u64) -> String {
    let bar = bar(p.copied_blocks, p.total_blocks, wide);
    let left = left_ms(p).map(|ms| format!("   {} left", remaining_ms(ms))).unwrap_or_default();
    format!("{bar}  {}/{} blocks{left}", p.copied_blocks, p.total_blocks)
}

/// Columns of a bar between its brackets.
const WIDE: u64 = 20;
const NARROW: u64 = 10;

fn bar(part: u64, whole: u64, wide: u64) -> String {
    let filled = match whole {
        0 => wide,
        _ => (u128::from(part.min(whole)) * u128::from(wide) / u128::from(whole)) as u64,
    };
    let mut bar = "=".repeat(filled as usize);
    if filled < wide {
        bar.push('>');
        bar.push_str(&".".repeat((wide - filled - 1) as usize));
    }
    format!("[{bar}]")
}

/// The hint below the lines.
pub fn hint(style: &Style) -> String {
    style.paint(Paint::Dim, CTRL_C)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::ids::Dbid;
    use crate::shell::render::samples::plain;

    fn at(stage: Stage) -> ContentProgress {
        ContentProgress {
            content: Content(2),
            dbid: Dbid(4),
            doing: "starting the mirror".into(),
            finished: false,
            progress: Some(Progress {
                stage,
                total_blocks: 307,
                copied_blocks: 147,
                files_created: 3,
                files_dropped: 1,
                pause_open_us: Some(1_400),
                pause_claim_us: Some(900),
                elapsed_ms: 900,
                rate_bytes: None,
            }),
        }
    }

    #[test]
    fn progress_shows_the_stages_of_the_documents() {
        let content = at(Stage::DataCopy);
        let p = content.progress.as_ref().expect("the sample has progress");
        let lines = [done(Content(2), Stage::Preparation, p, &plain()), now(&content, &plain()), hint(&plain())];
        insta::assert_snapshot!(lines.join("\n"));
    }

    #[test]
    fn a_content_that_copies_nothing_says_what_is_done() {
        let mut content = at(Stage::Preparation);
        content.progress = None;
        assert_eq!(now(&content, &plain()), " content 2  starting the mirror");
        assert_eq!(begins(&content), " content 2  starting the mirror");
        assert_eq!(begins(&at(Stage::DataCopy)), " content 2  2/4 data copy  307 blocks");
    }

    #[test]
    fn the_bar_is_full_only_at_the_end() {
        assert_eq!(bar(0, 10, WIDE), "[>...................]");
        assert_eq!(bar(999, 1000, WIDE), "[===================>]");
        assert_eq!(bar(10, 10, WIDE), "[====================]");
        assert_eq!(bar(0, 0, WIDE), "[====================]");
    }
}
