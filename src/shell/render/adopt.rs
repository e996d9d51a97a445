//! What `segsh adopt` found: the rows it would write and why, or everything that does not fit together.

use super::format::count;
use super::layout::{Cell, Para, Table};
use super::{Paint, Style};
use crate::core::adopt::{Complaint, Proven};
use crate::core::ids::Content;
use crate::core::row::{Role, SegmentRow};

/// The rows by content, the reason for each, and what is worth knowing.
pub fn adopted(name: &str, rows: &[SegmentRow], contents: &[Proven], notes: &[String], style: &Style) -> String {
    let mut table = Table::new().column("content", 2).column("epoch", 2).column("primary", 3).column("mirror", 3);
    table = table.column("row", 0);
    for proven in contents {
        let place = |role: Role| place(rows, proven.row.content, role);
        let cells = [
            proven.row.content.to_string(),
            proven.row.epoch.to_string(),
            place(Role::Primary),
            place(Role::Mirror),
            crate::core::transition::letters(&proven.row),
        ];
        table.row(cells.into_iter().map(Cell::from).collect());
    }
    let size = count(contents.len(), "content");
    let mut text = format!("{name}  {size} found by the segments' own records\n\n{}\n", table.render(style));
    for proven in contents {
        let lead = format!(" content {}  ", proven.row.content);
        let mut para = Para::new(&lead, lead.len()).words(&proven.why);
        if proven.must_copy_all {
            para = para.words("; only a full copy can make its mirror equal");
        }
        text.push_str(&para.render(style));
        if !proven.may_be_lost.is_empty() {
            let para = Para::new(&" ".repeat(lead.len()), lead.len());
            text.push_str(&para.unit(0, &format!("MAY BE LOST: {}", proven.may_be_lost), Paint::Bad).render(style));
        }
    }
    for note in notes {
        text.push_str(&Para::new(" note  ", 7).words(note).render(style));
    }
    text
}

fn place(rows: &[SegmentRow], content: Content, role: Role) -> String {
    let row = rows.iter().find(|r| r.content == content && r.role == role);
    row.map_or("none".into(), |r| {
        let star = if r.role == r.preferred_role { "" } else { " *" };
        format!("{} {}:{}{star}", r.dbid, r.hostname, r.port)
    })
}

/// Every reason, with what the records say.
pub fn refused(complaints: &[Complaint], style: &Style) -> String {
    let reasons = count(complaints.len(), "reason");
    let mut text = format!("refused: adopt. Nothing was changed. {reasons}:\n");
    for complaint in complaints {
        text.push_str(&Para::new(" ", 3).words(&complaint.what).render(style));
        for record in &complaint.records {
            text.push_str(&Para::new("   ", 5).words(record).render(style));
        }
        if !complaint.next.is_empty() {
            text.push_str(&Para::new("   next: ", 9).unit(0, &complaint.next, Paint::Code).render(style));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::ids::{CopyId, Dbid, Epoch};
    use crate::core::row::{Member, Mode, PairRow, Status};
    use crate::shell::render::samples::plain;

    fn row(dbid: i64, role: Role, preferred_role: Role) -> SegmentRow {
        SegmentRow {
            dbid: Dbid(dbid),
            content: Content(0),
            role,
            preferred_role,
            mode: Mode::Synchronized,
            status: Status::Up,
            port: 6000,
            hostname: "sdw1".into(),
            address: "127.0.0.1".into(),
            replication_port: None,
            datadir: "/d".into(),
        }
    }

    #[test]
    fn the_rows_their_reason_and_what_may_be_lost_are_shown() {
        let member = |dbid, mode, status| Member { dbid: Dbid(dbid), mode, status };
        let proven = Proven {
            row: PairRow {
                content: Content(0),
                epoch: Epoch(5),
                primary: member(3, Mode::ChangeTracking, Status::Up),
                mirror: Some(member(2, Mode::Resynchronizing, Status::Down)),
            },
            serving_copy: CopyId(3),
            must_copy_all: true,
            why: "override: dbid 3 serves".into(),
            may_be_lost: "7 blocks".into(),
        };
        let rows = [row(3, Role::Primary, Role::Mirror), row(2, Role::Mirror, Role::Primary)];
        let text = adopted("c1", &rows, &[proven], &["the key is lost".into()], &plain());
        for said in [
            "p,c,u / m,r,d",
            "3 sdw1:6000 *",
            "override: dbid 3",
            "MAY BE LOST: 7 blocks",
            "full copy",
            "note  the key",
        ] {
            assert!(text.contains(said), "{said} in\n{text}");
        }
    }

    #[test]
    fn every_reason_comes_with_its_records_and_the_next_step() {
        let complaint = Complaint {
            what: "two copies disagree".into(),
            records: vec!["dbid 2: epoch 5".into()],
            next: "--serve 2".into(),
        };
        let text = refused(&[complaint], &plain());
        assert!(text.starts_with("refused: adopt. Nothing was changed. 1 reason:\n two copies disagree\n"), "{text}");
        assert!(text.contains("dbid 2: epoch 5") && text.contains("next: --serve 2"), "{text}");
    }
}
