//! `gpstate -m` and `-c`: mirrors and pairs, by their preferred roles.

use super::{View, label};
use crate::cluster::Segment;
use crate::core::row::{Mode, Role, Status};
use crate::gp::line::Level;
use crate::gp::page::{Page, Table, WIDE};

fn heading(view: &View, page: &mut Page) {
    page.rule(WIDE);
    page.info("-Current GPDB mirror list and status");
    page.info(format!("-Type = {}", view.mirror_type()));
    page.rule(WIDE);
}

fn count(page: &mut Page, number: usize, says: &str) {
    if number > 0 {
        page.warn(format!("{number} {says}"));
    }
}

/// `-m`: each mirror with what it does.
pub(super) fn mirrors(view: &View) -> Page {
    let mut page = Page::default();
    if !view.has_mirrors() {
        page.say(Level::Warning, "-".repeat(WIDE));
        page.warn("physical mirroring not used");
        page.say(Level::Warning, "-".repeat(WIDE));
        return page;
    }
    let (mut acting, mut failed, mut tracking) = (0, 0, 0);
    let mut table = Table::with_columns("mirrors", &["Mirror", "Datadir", "Port", "Status", "Data Status"]);
    for mirror in view.preferring(Role::Mirror) {
        let row = &mirror.row;
        let (status, data) = match (row.role, row.status) {
            (Role::Primary, _) => ("Acting as Primary", label(row.mode)),
            (Role::Mirror, Status::Up) => ("Passive", label(row.mode)),
            (Role::Mirror, Status::Down) => ("Failed", ""),
        };
        acting += usize::from(row.role == Role::Primary);
        tracking += usize::from(row.role == Role::Primary && row.mode == Mode::ChangeTracking);
        failed += usize::from(status == "Failed");
        table.row(status == "Failed", &[&row.address, &row.datadir, &row.port.to_string(), status, data]);
    }
    heading(view, &mut page);
    page.table(table);
    page.rule(WIDE);
    count(&mut page, acting, "segment(s) configured as mirror(s) are acting as primaries");
    count(&mut page, failed, "segment(s) configured as mirror(s) have failed");
    count(&mut page, tracking, "mirror segment(s) acting as primaries are in change tracking");
    // A former primary that is down shows only as its mirror's change tracking: it has failed as well.
    page.exit = i32::from(failed + tracking > 0);
    page
}

/// `-c`: each pair with its members in their preferred order.
pub(super) fn map(view: &View) -> Page {
    let mut page = Page::default();
    if !view.has_mirrors() {
        page.rule(WIDE);
        page.info("-Primary list [physical mirroring not used]");
        page.rule(WIDE);
        let mut table = Table::with_columns("primaries", &["Primary", "Datadir", "Port"]);
        for segment in view.segments() {
            table.row(false, &triplet(segment).each_ref().map(String::as_str));
        }
        page.table(table);
        page.rule(WIDE);
        return page;
    }
    let (mut switched, mut tracking) = (0, 0);
    let columns = ["Status", "Data State", "Primary", "Datadir", "Port", "Mirror", "Datadir", "Port"];
    let mut table = Table::with_columns("pairs", &columns);
    for primary in view.preferring(Role::Primary) {
        let content = primary.row.content;
        let mirror = view.preferring(Role::Mirror).into_iter().find(|m| m.row.content == content);
        let acting = view.acting(content, Role::Primary);
        let passive = view.acting(content, Role::Mirror);
        let is_switched = primary.row.role == Role::Mirror;
        let other = if passive.is_some_and(|s| s.row.status == Status::Up) { "Available" } else { "Failed" };
        let status = match is_switched {
            true => format!("Mirror Active, Primary {other}"),
            false => format!("Primary Active, Mirror {other}"),
        };
        let mode = acting.map_or(Mode::Synchronized, |s| s.row.mode);
        let warning = mode == Mode::ChangeTracking;
        switched += usize::from(is_switched);
        tracking += usize::from(warning);
        let places = [Some(primary), mirror].into_iter().flatten().flat_map(triplet);
        let cells: Vec<String> = [status, label(mode).into()].into_iter().chain(places).collect();
        table.row(warning, &cells.iter().map(String::as_str).collect::<Vec<_>>());
    }
    heading(view, &mut page);
    page.table(table);
    page.rule(WIDE);
    count(&mut page, switched, "segment(s) configured as mirror(s) are acting as primaries");
    count(&mut page, tracking, "segment(s) are in change tracking");
    page
}

/// Address, directory and port.
fn triplet(segment: &Segment) -> [String; 3] {
    let row = &segment.row;
    [row.address.clone(), row.datadir.clone(), row.port.to_string()]
}
