//! A list of segments, as `state().down` prints it.

use super::layout::{Cell, Para, Table};
use super::{Paint, Style};
use crate::cluster::Segment;

/// One line a segment, and below them why some are not alive.
pub fn render(segments: &[Segment], style: &Style) -> String {
    if segments.is_empty() {
        return "no segments\n".to_string();
    }
    let mut table = Table::new()
        .column("dbid", 2)
        .column("content", 2)
        .column("role", 2)
        .column("mode", 2)
        .column("status", 2)
        .column("address", 0);
    for segment in segments {
        table.row(line(segment));
    }
    let mut text = table.render(style);
    for segment in segments.iter().filter(|s| !s.alive.cause.is_empty()) {
        let lead = format!(" dbid {}  ", segment.row.dbid);
        let cause = Para::new(&lead, lead.len()).words(&segment.alive.cause);
        text.push_str(&cause.render(style));
    }
    text
}

fn line(segment: &Segment) -> Vec<Cell> {
    let row = &segment.row;
    let star = if segment.is_preferred() { "" } else { " *" };
    let status = match (segment.is_down(), segment.alive.alive) {
        (false, _) => "up".into(),
        (true, true) => Cell::painted("down", Paint::Bad),
        (true, false) => Cell::painted("DOWN", Paint::Bad),
    };
    vec![
        row.dbid.to_string().into(),
        row.content.to_string().into(),
        format!("{}{star}", row.role).into(),
        row.mode.to_string().into(),
        status,
        format!("{}:{}", row.hostname, row.port).into(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shell::render::samples::{broken, plain};

    #[test]
    fn segments_are_a_table() {
        insta::assert_snapshot!(render(&broken().segments, &plain()));
    }

    #[test]
    fn an_empty_list_says_so() {
        assert_eq!(render(&[], &plain()), "no segments\n");
    }
}
